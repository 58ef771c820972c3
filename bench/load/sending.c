#include "sending.h"

#include <string.h>

#include "clock.h"
#include "fault.h"
#include "memory.h"

#define PROBE_NS (10 * NS_PER_S)
#define DRAIN_NS (10 * NS_PER_S)
#define SILENCE_NS (2 * NS_PER_S)
#define TURN_NS (20 * NS_PER_MS)

void sending_make(struct sending *sending, struct audience *audience, uint32_t size)
{
    *sending = (struct sending){.audience = audience, .size = size};
    sending->payload = allocate(size, 1);
    memset(sending->payload, 'x', size);
    sending->sequences = allocate((size_t)audience->publishers * audience->groups, sizeof *sending->sequences);
}

const char *sending_compose(struct sending *sending, struct marker *marker)
{
    struct audience *audience = sending->audience;

    marker->sequence = ++sending->sequences[marker->publisher * audience->groups + marker->group];
    marker_write(sending->payload, marker);
    audience_expect(audience, marker->group);
    sending->sent++;
    return sending->payload;
}

void sending_withdraw(struct sending *sending, const struct marker *marker, uint32_t expected)
{
    sending->sequences[marker->publisher * sending->audience->groups + marker->group]--;
    sending->audience->expected -= expected;
    sending->sent--;
}

void sending_publish(struct sending *sending, struct client *client, struct marker *marker)
{
    client_publish(client, marker->group, sending_compose(sending, marker), sending->size);
}

static void probe_once(struct sending *sending, struct client *(*publisher_of)(struct audience *, uint32_t))
{
    for (uint32_t group = 0; group < sending->audience->groups; group++) {
        struct client *publisher = publisher_of(sending->audience, group);

        marker_write(sending->payload, &(struct marker){.group = group, .sequence = SEQUENCE_PROBE});
        client_publish(publisher, group, sending->payload, sending->size);
        connection_flush(&publisher->connection);
    }
}

void sending_probe(struct sending *sending, struct client *(*publisher_of)(struct audience *audience, uint32_t group))
{
    struct audience *audience = sending->audience;
    uint64_t end_ns = now_ns() + PROBE_NS;

    limit_phase("waiting until all members hear their groups");
    while (audience->unprobed) {
        uint64_t again_ns = now_ns() + NS_PER_S / 2;

        if (audience->closed)
            fail("a member was lost before it heard all of its groups: %s", audience->first_loss);
        if (now_ns() > end_ns)
            fail("%llu memberships heard nothing for 10 s: does the server speak this protocol?",
                 (unsigned long long)audience->unprobed);
        probe_once(sending, publisher_of);
        while (audience->unprobed && !audience->closed && now_ns() < again_ns)
            loop_turn(TURN_NS);
    }
}

void tally_begin(struct tally *tally, struct sending *sending, struct measurement *measurement)
{
    struct audience *audience = sending->audience;

    measurement_begin(measurement);
    audience->measured_from_ns = measurement->began_ns;
    tally->sent = sending->sent;
    tally->expected = audience->expected;
    tally->delivered = audience->delivered;
    tally->carried = audience->expected - audience->delivered;
}

void tally_end(struct tally *tally, struct sending *sending, struct measurement *measurement)
{
    tally->sent = sending->sent - tally->sent;
    tally->expected = sending->audience->expected - tally->expected;
    tally->delivered = sending->audience->delivered - tally->delivered;
    measurement_end(measurement);
}

uint64_t sending_drain(struct sending *sending)
{
    struct audience *audience = sending->audience;
    uint64_t before = audience->delivered;
    uint64_t seen = before;
    uint64_t began_ns = now_ns();
    uint64_t heard_ns = began_ns;

    limit_phase("waiting for what is in flight");
    while (audience->delivered < audience->expected) {
        uint64_t now = now_ns();

        if (audience->delivered != seen) {
            seen = audience->delivered;
            heard_ns = now;
        }
        if (now - began_ns > DRAIN_NS || now - heard_ns > SILENCE_NS)
            break;
        loop_turn(TURN_NS);
    }
    return audience->delivered - before;
}
