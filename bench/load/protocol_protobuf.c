/* The protobuf subprotocols of Azure Web PubSub, plain and reliable. */
#define _GNU_SOURCE
#include "protocol_presets.h"

/* A field: its number times eight, plus 2 for what has a length. */
#define FIELD(number) ((char)((number) << 3 | 2))
#define NUMBER(number) ((char)((number) << 3))

/* Of what a client says, */
#define SEND_TO_GROUP 1
#define JOIN_GROUP 6
#define SEQUENCE_ACK 8
/* and of what it is told. */
#define ACK 1
#define SYSTEM 3
#define SEQUENCE_ID 4

static size_t varint_bytes(uint64_t number)
{
    size_t bytes = 1;

    while (number >>= 7)
        bytes++;
    return bytes;
}

static char *put_field(char *at, int field, const char *content, size_t length)
{
    *at++ = FIELD(field);
    at = put_varint(at, length);
    return put(at, content, length);
}

static void await_connected(struct client *client)
{
    /* The server speaks first. */
    (void)client;
}

static void join(struct client *client)
{
    char name[GROUP_NAME_BYTES];
    char message[64];

    for (uint32_t i = 0; i < client->joins; i++) {
        joined_group_name(client, i, name);
        char *at = message;
        *at++ = FIELD(JOIN_GROUP);
        at = put_varint(at, 2 + strlen(name) + 1 + varint_bytes(i + 1));
        at = put_field(at, 1, name, strlen(name));
        *at++ = NUMBER(2);
        at = put_varint(at, i + 1);
        client_send(client, message, (size_t)(at - message));
    }
}

static size_t publication(struct client *client, char *to, const char *group, const char *payload, size_t length)
{
    size_t data = 1 + varint_bytes(length) + length;
    size_t name = strlen(group);
    char *at = to;

    (void)client;
    *at++ = FIELD(SEND_TO_GROUP);
    at = put_varint(at, 2 + name + 1 + varint_bytes(data) + data);
    at = put_field(at, 1, group, name);
    *at++ = FIELD(3);
    at = put_varint(at, data);
    at = put_field(at, 1, payload, length);
    return (size_t)(at - to);
}

/* Anything but a message of a group. */
static void take_other(struct client *client, const char *bytes, size_t length)
{
    static const char success[] = {NUMBER(2), 1};

    if (length && bytes[0] == FIELD(ACK)) {
        if (length > sizeof success && !memcmp(bytes + length - sizeof success, success, sizeof success))
            client_joined(client, 1);
        else
            client_refused(client, bytes, length);
    } else if (length && bytes[0] == FIELD(SYSTEM)) {
        client_greeted(client);
    }
}

static size_t receive(struct client *client, const char *bytes, size_t length)
{
    const char *marker = marker_find(bytes, length, &client->marker_at);

    if (marker)
        client->events->delivered(client, marker);
    else
        take_other(client, bytes, length);
    return length;
}

/* Acknowledge all up to this message. Its number is the last of it. */
static void acknowledge(struct client *client, const char *bytes, size_t length)
{
    char message[16];
    const char *from = bytes + length - 1;
    char *at = message;

    /* All bytes of a varint but its last have their highest bit. */
    while (from > bytes && from[-1] & 0x80)
        from--;
    size_t digits = (size_t)(bytes + length - from);
    if (from == bytes || from[-1] != NUMBER(SEQUENCE_ID) || digits > 10)
        return;
    *at++ = FIELD(SEQUENCE_ACK);
    at = put_varint(at, 1 + digits);
    *at++ = NUMBER(1);
    at = put(at, from, digits);
    client_send(client, message, (size_t)(at - message));
}

static size_t receive_reliable(struct client *client, const char *bytes, size_t length)
{
    const char *marker = marker_find(bytes, length, &client->marker_at);

    if (!marker) {
        take_other(client, bytes, length);
        return length;
    }
    client->events->delivered(client, marker);
    if (++client->unacknowledged >= client->ack_every && client->connection.open) {
        client->unacknowledged = 0;
        acknowledge(client, bytes, length);
    }
    return length;
}

const struct protocol protocol_protobuf = {
    .name = "azure-protobuf",
    .subprotocol = "protobuf.webpubsub.azure.v1",
    .binary = true,
    .confirms_joins = true,
    .greet = await_connected,
    .join = join,
    .publication = publication,
    .receive = receive,
};

const struct protocol protocol_protobuf_reliable = {
    .name = "azure-protobuf-reliable",
    .subprotocol = "protobuf.reliable.webpubsub.azure.v1",
    .publishers = &protocol_protobuf,
    .binary = true,
    .confirms_joins = true,
    .greet = await_connected,
    .join = join,
    .publication = publication,
    .receive = receive_reliable,
};
