/*
 * The members of groups, and the ledger of what they must receive and have received. Each member checks, for each
 * publisher and group by itself, that no sequence number is missing, comes twice or comes late.
 */
#ifndef LOAD_AUDIENCE_H
#define LOAD_AUDIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "histogram.h"
#include "options.h"
#include "payload.h"

/* What a member has heard of one publisher in one group. */
struct stream {
    uint32_t last;
    /* Bit n: the number `last` - n has not come. */
    uint64_t missing;
};

struct member {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct client client;
    struct audience *audience;
    /* Of publisher p in the member's k-th group: streams[p * memberships + k]. */
    struct stream *streams;
    /* Of its groups, those in which it has heard a probe: bit k of byte k / 8. */
    uint8_t *probed;
};

struct audience {
    struct member *members;
    uint32_t count, groups, memberships, publishers;
    /* Living members of each group. */
    uint32_t *group_sizes;
    /* Memberships in which no probe was heard yet. */
    uint64_t unprobed;

    /* Deliveries of all messages so far: that there must be, and that there were. */
    uint64_t expected, delivered;
    /* Numbers skipped when a later one came; numbers that came twice; skipped ones that came after all. */
    uint64_t gaps, duplicates, reordered;
    /* Messages that went to someone who is not in the group, or are none of ours; calls that failed. */
    uint64_t errors;
    uint64_t closed;
    /* Why the first of them was. */
    char first_loss[256];
    /* Of messages scheduled at this time or later. */
    uint64_t measured_from_ns;
    struct histogram latency;

    /* What a mode wants to know; each may be NULL. A message has come to a member, the next one of its stream. */
    void (*arrived)(struct member *member, const struct marker *marker);
    /* The numbers from `first` to the one before marker's were skipped, or will not come: the member has left. */
    void (*skipped)(struct member *member, const struct marker *marker, uint32_t first);
    void (*left)(struct member *member);
};

/* Make `count` members, not yet connected; first in the list of those to open. */
void audience_make(struct audience *audience, const struct options *options, const struct target *target,
                   uint32_t count, uint32_t groups, uint32_t publishers);

/* Tell the ledger that a message to a group was sent. Returns how many members it must reach. */
uint32_t audience_expect(struct audience *audience, uint32_t group);

/* The place of a group among those of a member; `memberships` or more if it is not in it. */
static inline uint32_t membership(const struct member *member, uint32_t group)
{
    uint32_t groups = member->client.groups;

    return group >= member->client.first_group ? group - member->client.first_group
                                               : group + groups - member->client.first_group;
}

/* Print what the ledger holds. `late` came after the measured time. */
void audience_result(const struct audience *audience);

#endif
