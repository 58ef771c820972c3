/* MQTT 3.1.1 over WebSocket, quality of service 0: a stream of packets, whatever the frames. */
#define _GNU_SOURCE
#include <unistd.h>

#include "protocol_presets.h"

enum packet_type {
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH = 0x30,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
};

/* Section 2.2.3: seven bits a byte, the lowest first; the highest bit says that another byte follows. */
static char *put_length(char *to, size_t length)
{
    do {
        *to++ = (char)(length % 128 | (length > 127 ? 128 : 0));
        length /= 128;
    } while (length);
    return to;
}

static char *put_string(char *to, const char *text)
{
    size_t length = strlen(text);

    *to++ = (char)(length >> 8);
    *to++ = (char)length;
    return put(to, text, length);
}

static void greet(struct client *client)
{
    static const char head[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 2 /* clean session */, 0, 0 /* no keep-alive */};
    char packet[128];
    char id[32];

    snprintf(id, sizeof id, "load-%d-%u", (int)getpid(), client->index);
    char *at = packet;
    *at++ = CONNECT;
    at = put_length(at, sizeof head + 2 + strlen(id));
    at = put(at, head, sizeof head);
    at = put_string(at, id);
    client_send(client, packet, (size_t)(at - packet));
}

static void join(struct client *client)
{
    char name[GROUP_NAME_BYTES];
    char packet[64];

    for (uint32_t i = 0; i < client->joins; i++) {
        joined_group_name(client, i, name);
        char *at = packet;
        *at++ = (char)SUBSCRIBE;
        at = put_length(at, 2 + 2 + strlen(name) + 1);
        *at++ = (char)((i + 1) >> 8);
        *at++ = (char)(i + 1);
        at = put_string(at, name);
        *at++ = 0;
        client_send(client, packet, (size_t)(at - packet));
    }
}

static size_t publication(char *to, const char *group, const char *payload, size_t length)
{
    char *at = to;

    *at++ = PUBLISH;
    at = put_length(at, 2 + strlen(group) + length);
    at = put_string(at, group);
    at = put(at, payload, length);
    return (size_t)(at - to);
}

static void take_publication(struct client *client, const char *body, size_t length)
{
    uint32_t offset = length < 2 ? 0 : 2 + ((uint32_t)(uint8_t)body[0] << 8 | (uint8_t)body[1]);
    const char *marker = marker_find(body, length, &offset);

    if (marker)
        client->events->delivered(client, marker);
}

static void take_packet(struct client *client, uint8_t head, const char *body, size_t length)
{
    char why[64];

    if (head >> 4 == PUBLISH >> 4) {
        take_publication(client, body, length);
    } else if (head == CONNACK && length == 2 && body[1] == 0) {
        client_greeted(client);
    } else if (head == SUBACK && length == 3 && (uint8_t)body[2] < 0x80) {
        client_joined(client, 1);
    } else if (head == CONNACK || head == SUBACK) {
        int code = length ? (uint8_t)body[length - 1] : -1;

        snprintf(why, sizeof why, "%s %d", head == CONNACK ? "CONNACK" : "SUBACK", code);
        client_refused(client, why, strlen(why));
    }
}

/* The length of a packet's head, and in `*body` that of the rest; 0 if the head has not come whole yet. */
static size_t read_head(const uint8_t *bytes, size_t length, size_t *body)
{
    *body = 0;
    for (size_t i = 1; i < length && i < 5; i++) {
        *body |= (size_t)(bytes[i] & 0x7f) << 7 * (i - 1);
        if (!(bytes[i] & 0x80))
            return i + 1;
    }
    return 0;
}

static size_t receive(struct client *client, const char *bytes, size_t length)
{
    size_t used = 0;
    size_t head, body;

    while (client->connection.open && (head = read_head((const uint8_t *)bytes + used, length - used, &body))) {
        if (length - used - head < body)
            break;
        take_packet(client, (uint8_t)bytes[used], bytes + used + head, body);
        used += head + body;
    }
    return used;
}

const struct protocol protocol_mqtt = {
    .name = "mqtt",
    .subprotocol = "mqtt",
    .binary = true,
    .stream = true,
    .confirms_joins = true,
    .greet = greet,
    .join = join,
    .publication = publication,
    .receive = receive,
};
