/* The presets, each in the file of its family, and what these files share. */
#ifndef LOAD_PROTOCOL_PRESETS_H
#define LOAD_PROTOCOL_PRESETS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "payload.h"
#include "protocols.h"

extern const struct protocol protocol_azure;
extern const struct protocol protocol_azure_reliable;
extern const struct protocol protocol_azure_events;
extern const struct protocol protocol_protobuf;
extern const struct protocol protocol_protobuf_reliable;
extern const struct protocol protocol_plain;
extern const struct protocol protocol_nats;
extern const struct protocol protocol_centrifugo;
extern const struct protocol protocol_centrifugo_rpc;
extern const struct protocol protocol_socketio;
extern const struct protocol protocol_mqtt;
extern const struct protocol protocol_mqtt_qos1;
extern const struct protocol protocol_mqtt5;
extern const struct protocol protocol_mqtt5_qos1;
extern const struct protocol protocol_mqtt_kept;

/* The name of the client's group number `ordinal`, counted from 0. */
static inline void joined_group_name(const struct client *client, uint32_t ordinal, char name[GROUP_NAME_BYTES])
{
    group_name(name, (client->first_group + ordinal) % client->groups);
}

static inline bool contains(const char *text, size_t length, const char *part)
{
    return memmem(text, length, part, strlen(part)) != NULL;
}

static inline bool begins(const char *text, size_t length, const char *part)
{
    return length >= strlen(part) && !memcmp(text, part, strlen(part));
}

static inline char *put(char *to, const void *from, size_t length)
{
    memcpy(to, from, length);
    return to + length;
}

/* A whole number, seven bits in each byte, the lowest first: a length of MQTT, and any number of protobuf. */
static inline char *put_varint(char *to, uint64_t number)
{
    for (; number > 0x7f; number >>= 7)
        *to++ = (char)(number | 0x80);
    *to++ = (char)number;
    return to;
}

/* Write what stands before the payload (with the group's name for %s), the payload, and what stands behind it. */
static inline size_t enclose(char *to, const char *format, const char *group, const char *payload, size_t length,
                             const char *after)
{
    /* The callers' formats and names are far shorter than PUBLICATION_BYTES_MORE. */
    char *at = to + sprintf(to, format, group);

    at = put(at, payload, length);
    at = put(at, after, strlen(after));
    return (size_t)(at - to);
}

#endif
