#define _GNU_SOURCE
#include "websocket.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Any key will do for a client that talks to a server of its own choice. */
#define KEY "aHVid2lyZSBiZW5jaG1hcg=="

/* Not zero, because a server might take a short cut then; the same for all, because no proxy is there to be fooled. */
static const uint8_t mask[4] = {0x5b, 0xc3, 0x19, 0xe6};

void websocket_request(struct bytes *out, const char *host, const char *path, const char *subprotocol)
{
    static const char form[] = "GET %s HTTP/1.1\r\n"
                               "Host: %s\r\n"
                               "Upgrade: websocket\r\n"
                               "Connection: Upgrade\r\n"
                               "Sec-WebSocket-Key: " KEY "\r\n"
                               "Sec-WebSocket-Version: 13\r\n"
                               "%s%s%s\r\n";
    const char *name = subprotocol ? "Sec-WebSocket-Protocol: " : "";
    const char *value = subprotocol ? subprotocol : "";
    const char *line_end = subprotocol ? "\r\n" : "";
    size_t room = sizeof form + strlen(path) + strlen(host) + strlen(name) + strlen(value);

    out->length += (size_t)snprintf(bytes_room(out, room), room, form, path, host, name, value, line_end);
}

/* The value of a header line in `head`; NULL if there is none. */
static const char *header(const char *head, const char *name, size_t *length)
{
    size_t name_length = strlen(name);

    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_length) || line[name_length] != ':')
            continue;
        const char *value = line + name_length + 1;
        value += strspn(value, " \t");
        *length = strcspn(value, " \t\r");
        return value;
    }
    return NULL;
}

size_t websocket_answer(const char *bytes, size_t length, const char *subprotocol, const char **fault)
{
    static char words[256];
    static char head[16 * 1024];
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    size_t head_length = end ? (size_t)(end - bytes) + 4 : 0;
    size_t chosen_length;

    *fault = NULL;
    if (!end && length < sizeof head)
        return 0;
    if (!end || head_length >= sizeof head) {
        *fault = "the answer to the upgrade has no end";
        return length;
    }
    memcpy(head, bytes, head_length);
    head[head_length] = '\0';

    if (strncmp(head, "HTTP/1.1 101", 12)) {
        snprintf(words, sizeof words, "upgrade refused: %.*s", (int)strcspn(head, "\r\n"), head);
        *fault = words;
        return head_length;
    }
    const char *chosen = header(head, "Sec-WebSocket-Protocol", &chosen_length);
    bool as_asked = chosen && subprotocol && chosen_length == strlen(subprotocol) &&
                    !memcmp(chosen, subprotocol, chosen_length);
    if (subprotocol && !as_asked) {
        snprintf(words, sizeof words, "the server did not accept the subprotocol %s", subprotocol);
        *fault = words;
    }
    return head_length;
}

void websocket_send(struct bytes *out, enum opcode opcode, const void *payload, size_t length)
{
    const uint8_t *from = payload;
    uint8_t *to = (uint8_t *)bytes_room(out, length + 14);
    uint8_t *begin = to;

    *to++ = 0x80 | (uint8_t)opcode;
    if (length < 126) {
        *to++ = 0x80 | (uint8_t)length;
    } else if (length < 65536) {
        *to++ = 0x80 | 126;
        *to++ = (uint8_t)(length >> 8);
        *to++ = (uint8_t)length;
    } else {
        *to++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            *to++ = (uint8_t)((uint64_t)length >> shift);
    }
    memcpy(to, mask, sizeof mask);
    to += sizeof mask;
    /* In this form the compiler turns it into wide instructions. */
    for (size_t i = 0; i < length; i++)
        to[i] = from[i] ^ mask[i & 3];
    out->length += (size_t)(to - begin) + length;
}

const char *websocket_close_reason(const struct frame *frame)
{
    static char words[192];
    const uint8_t *payload = (const uint8_t *)frame->payload;

    if (frame->length < 2)
        return "closed by the server without a code";
    snprintf(words, sizeof words, "closed by the server with code %d: %.*s", payload[0] << 8 | payload[1],
             (int)(frame->length - 2), frame->payload + 2);
    return words;
}
