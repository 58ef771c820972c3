/*
 * WebSocket (RFC 6455) as a client needs it: the request that asks for it, the answer, and frames in both directions.
 * Bytes in, values out; nothing here knows of sockets.
 */
#ifndef LOAD_WEBSOCKET_H
#define LOAD_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

enum opcode {
    OPCODE_CONTINUATION = 0,
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9,
    OPCODE_PONG = 10,
};

struct frame {
    bool final;
    enum opcode opcode;
    const char *payload;
    size_t length;
};

/* Append the request for an upgrade. `subprotocol` may be NULL. */
void websocket_request(struct bytes *out, const char *host, const char *path, const char *subprotocol);

/*
 * Judge the head of the answer. Returns its length, 0 if it has not come whole yet. `*fault` is NULL if it is an
 * upgrade with that subprotocol, else says in words what it is instead; the words hold until the next call.
 */
size_t websocket_answer(const char *bytes, size_t length, const char *subprotocol, const char **fault);

/* Append one whole masked frame. */
void websocket_send(struct bytes *out, enum opcode opcode, const void *payload, size_t length);

/* The code and reason of a close frame, in words that hold until the next call. */
const char *websocket_close_reason(const struct frame *frame);

/* Take the frame that begins at `bytes`. Returns its whole length, 0 if it has not come whole yet. */
static inline size_t websocket_next(const char *bytes, size_t length, struct frame *frame)
{
    const uint8_t *head = (const uint8_t *)bytes;
    size_t head_length = 2;
    uint64_t payload_length;

    if (length < 2)
        return 0;
    payload_length = head[1] & 0x7f;
    if (payload_length == 126) {
        head_length = 4;
        if (length < head_length)
            return 0;
        payload_length = (uint64_t)head[2] << 8 | head[3];
    } else if (payload_length == 127) {
        head_length = 10;
        if (length < head_length)
            return 0;
        payload_length = 0;
        for (int i = 2; i < 10; i++)
            payload_length = payload_length << 8 | head[i];
    }
    if (payload_length > length - head_length)
        return 0;
    frame->final = head[0] & 0x80;
    frame->opcode = (enum opcode)(head[0] & 0x0f);
    frame->payload = bytes + head_length;
    frame->length = (size_t)payload_length;
    return head_length + frame->length;
}

#endif
