/* Composing messages: who sends the next one to which group, with which number. */
#ifndef LOAD_SENDING_H
#define LOAD_SENDING_H

#include <stdint.h>

#include "audience.h"
#include "measurement.h"

struct sending {
    struct audience *audience;
    char *payload;
    uint32_t size;
    /* The last number of publisher p in group g: sequences[p * groups + g]. */
    uint32_t *sequences;
    uint64_t sent;
};

/* Of the measured time: messages sent, deliveries that these are to lead to, and deliveries. */
struct tally {
    uint64_t sent, expected, delivered;
    /* Deliveries under way when it began. */
    uint64_t carried;
};

void sending_make(struct sending *sending, struct audience *audience, uint32_t size);

/*
 * The payload of the next message of a publisher to a group, entered in the ledger; it holds until the next call.
 * `marker->sequence` is set here, all else by the caller.
 */
const char *sending_compose(struct sending *sending, struct marker *marker);

/* Take it back: the last message of its publisher to its group was not sent, `expected` deliveries will not be. */
void sending_withdraw(struct sending *sending, const struct marker *marker, uint32_t expected);

/* Compose it and append it to what the client is to send. */
void sending_publish(struct sending *sending, struct client *client, struct marker *marker);

/*
 * Where the protocol does not confirm joins: send to all groups until each member has heard each of its groups once.
 * `publisher_of` is the client that may send to a group. Ends the run if that takes longer than ten seconds, or if a
 * member is lost: what it has not heard it will not hear any more.
 */
void sending_probe(struct sending *sending, struct client *(*publisher_of)(struct audience *audience, uint32_t group));

/* Begin and end the measured time. */
void tally_begin(struct tally *tally, struct sending *sending, struct measurement *measurement);
void tally_end(struct tally *tally, struct sending *sending, struct measurement *measurement);

/* Wait for what is in flight: ten seconds, or two in which nothing came. Returns how much did come. */
uint64_t sending_drain(struct sending *sending);

#endif
