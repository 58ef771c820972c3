#include "payload.h"

#include <ctype.h>

static char *write_hex(char *to, uint64_t value, int digits)
{
    for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
        *to++ = "0123456789abcdef"[value >> shift & 15];
    return to;
}

void marker_write(char *payload, const struct marker *marker)
{
    char *to = payload;

    *to++ = MARKER_EDGE;
    to = write_hex(to, marker->publisher, 4);
    to = write_hex(to, marker->group, 4);
    to = write_hex(to, marker->sequence, 8);
    to = write_hex(to, marker->scheduled_ns, 16);
    to = write_hex(to, marker->flight, 8);
    *to = MARKER_EDGE;
}

static bool is_marker(const char *text)
{
    if (text[0] != MARKER_EDGE || text[MARKER_BYTES - 1] != MARKER_EDGE)
        return false;
    for (int i = 1; i < MARKER_BYTES - 1; i++)
        if (!isxdigit((unsigned char)text[i]) || isupper((unsigned char)text[i]))
            return false;
    return true;
}

const char *marker_search(const char *text, size_t length, uint32_t *offset)
{
    const char *end = text + length;
    const char *at = text;

    while ((at = memchr(at, MARKER_EDGE, (size_t)(end - at))) && end - at >= MARKER_BYTES) {
        if (is_marker(at)) {
            *offset = (uint32_t)(at - text);
            return at;
        }
        at++;
    }
    return NULL;
}
