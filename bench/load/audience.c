#include "audience.h"

#include <stdio.h>

#include "fault.h"
#include "measurement.h"
#include "memory.h"

static void hear_probe(struct member *member, uint32_t place)
{
    uint8_t bit = (uint8_t)(1u << place % 8);

    if (member->probed[place / 8] & bit)
        return;
    member->probed[place / 8] |= bit;
    member->audience->unprobed--;
}

/* A number that is not the next one. Returns whether it comes for the first time. */
static bool take_out_of_order(struct member *member, struct stream *stream, const struct marker *marker)
{
    struct audience *audience = member->audience;

    if (marker->sequence > stream->last) {
        uint32_t skipped = marker->sequence - stream->last - 1;
        uint32_t first = stream->last + 1;

        audience->gaps += skipped;
        stream->missing = skipped >= 63 ? ~1ull : (stream->missing << (skipped + 1)) | ((1ull << skipped) - 1) << 1;
        stream->last = marker->sequence;
        if (audience->skipped)
            audience->skipped(member, marker, first);
        if (audience->arrived)
            audience->arrived(member, marker);
        return true;
    }

    uint32_t age = stream->last - marker->sequence;
    if (age < 64 && stream->missing >> age & 1) {
        stream->missing &= ~(1ull << age);
        audience->reordered++;
        return true;
    }
    audience->duplicates++;
    return false;
}

static void take(struct client *client, const char *text)
{
    struct member *member = (struct member *)client;
    struct audience *audience = member->audience;
    struct marker marker;

    marker_read(text, &marker);
    uint32_t place = membership(member, marker.group);
    if (place >= audience->memberships || marker.publisher >= audience->publishers) {
        audience->errors++;
        return;
    }
    if (marker.sequence == SEQUENCE_PROBE) {
        hear_probe(member, place);
        return;
    }

    struct stream *stream = &member->streams[marker.publisher * audience->memberships + place];
    if (__builtin_expect(marker.sequence == stream->last + 1, 1)) {
        stream->last = marker.sequence;
        stream->missing <<= 1;
        if (audience->arrived)
            audience->arrived(member, &marker);
    } else if (!take_out_of_order(member, stream, &marker)) {
        return;
    }
    audience->delivered++;
    if (marker.scheduled_ns >= audience->measured_from_ns)
        histogram_record(&audience->latency, read_at_ns > marker.scheduled_ns ? read_at_ns - marker.scheduled_ns : 0);
}

static void lose(struct client *client, const char *why)
{
    struct member *member = (struct member *)client;
    struct audience *audience = member->audience;

    if (client->phase != CLIENT_READY)
        client_lost(client, why);
    if (!audience->closed)
        snprintf(audience->first_loss, sizeof audience->first_loss, "number %u, %s", client->index, why);
    if (++audience->closed == audience->count)
        fail("%s: %s", audience->count > 1 ? "all members were lost, first" : "the only member was lost",
             audience->first_loss);
    for (uint32_t i = 0; i < client->joins; i++)
        audience->group_sizes[(client->first_group + i) % client->groups]--;
    if (audience->left)
        audience->left(member);
}

void audience_make(struct audience *audience, const struct options *options, const struct target *target,
                   uint32_t count, uint32_t groups, uint32_t publishers)
{
    static const struct client_events events = {.delivered = take, .closed = lose};
    uint32_t memberships = options->memberships;
    size_t streams = (size_t)publishers * memberships;
    struct stream *all_streams = allocate(count * streams, sizeof *all_streams);
    size_t probe_bytes = (memberships + 7) / 8;
    uint8_t *all_probed = allocate(count, probe_bytes);

    audience->members = allocate(count, sizeof *audience->members);
    audience->count = count;
    audience->groups = groups;
    audience->memberships = memberships;
    audience->publishers = publishers;
    audience->group_sizes = allocate(groups, sizeof *audience->group_sizes);
    audience->unprobed = (uint64_t)count * memberships;
    audience->measured_from_ns = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        struct member *member = &audience->members[i];

        member->audience = audience;
        member->streams = all_streams + i * streams;
        member->probed = all_probed + i * probe_bytes;
        member->client = (struct client){
            .events = &events,
            .protocol = options->protocol,
            .target = target,
            .path = member_path(options, i),
            .next = i + 1 < count ? &member[1].client : NULL,
            .index = i,
            .first_group = i % groups,
            .groups = groups,
            .joins = memberships,
            .ack_every = options->ack_every,
        };
        for (uint32_t k = 0; k < memberships; k++)
            audience->group_sizes[(i + k) % groups]++;
    }
}

uint32_t audience_expect(struct audience *audience, uint32_t group)
{
    audience->expected += audience->group_sizes[group];
    return audience->group_sizes[group];
}

void audience_result(const struct audience *audience)
{
    if (audience->closed)
        notice("%llu members were lost, first: %s", (unsigned long long)audience->closed, audience->first_loss);
    result_count("lost", audience->expected - audience->delivered);
    result_count("gaps", audience->gaps);
    result_count("duplicates", audience->duplicates);
    result_count("reordered", audience->reordered);
    result_count("errors", audience->errors);
    result_count("closed", audience->closed);
}
