/*
 * What a payload says. It begins with a marker of fixed width, in characters that every protocol leaves alone:
 *
 *     ~ PPPP GGGG SSSSSSSS TTTTTTTTTTTTTTTT FFFFFFFF ~      (without the spaces, in hexadecimal)
 *
 * publisher, group, sequence number of that publisher in that group, scheduled send time in ns of the monotonic
 * clock, and a number that the sender chose for itself. The rest, up to the size wanted, are filling letters.
 */
#ifndef LOAD_PAYLOAD_H
#define LOAD_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MARKER_BYTES 42
#define MARKER_EDGE '~'
#define PAYLOAD_BYTES_MIN 48

/* Sequence numbers count from 1. This one is for a message that only asks whether a member hears its group. */
#define SEQUENCE_PROBE 0

struct marker {
    uint32_t publisher;
    uint32_t group;
    uint32_t sequence;
    uint32_t flight;
    uint64_t scheduled_ns;
};

/* Write the marker over the beginning of a payload. */
void marker_write(char *payload, const struct marker *marker);

/* Find a marker in text that holds none at `*offset`; NULL if there is none, else `*offset` says where it is. */
const char *marker_search(const char *text, size_t length, uint32_t *offset);

/*
 * The marker in the message `text`, which is expected where the last one was; NULL if there is none. A look at both
 * its edges is enough there: the search, which sets the place, has looked at each character.
 */
static inline const char *marker_find(const char *text, size_t length, uint32_t *offset)
{
    const char *at = text + *offset;

    if (*offset + MARKER_BYTES <= length && at[0] == MARKER_EDGE && at[MARKER_BYTES - 1] == MARKER_EDGE)
        return at;
    return marker_search(text, length, offset);
}

/* Eight hexadecimal digits in lower case, in one go. */
static inline uint32_t hex8(const char *digits)
{
    uint64_t word;

    memcpy(&word, digits, sizeof word);
    /* A digit's value is its lower half byte, and 9 more for a letter, which bit 6 tells. */
    word = (word & 0x0f0f0f0f0f0f0f0full) + 9 * (word >> 6 & 0x0101010101010101ull);
    /* The first digit has the lowest address: it goes to the highest place, and then each two neighbours join. */
    word = __builtin_bswap64(word);
    word = (word | word >> 4) & 0x00ff00ff00ff00ffull;
    word = (word | word >> 8) & 0x0000ffff0000ffffull;
    return (uint32_t)(word | word >> 16);
}

static inline void marker_read(const char *text, struct marker *marker)
{
    uint32_t source = hex8(text + 1);

    marker->publisher = source >> 16;
    marker->group = source & 0xffff;
    marker->sequence = hex8(text + 9);
    marker->scheduled_ns = (uint64_t)hex8(text + 17) << 32 | hex8(text + 25);
    marker->flight = hex8(text + 33);
}

#endif
