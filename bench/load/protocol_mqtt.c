/*
 * MQTT 3.1.1 and 5.0 over WebSocket, at quality of service 0 or 1: a stream of packets, whatever the frames. Sections
 * are those of MQTT 5.0. Sessions end with their connections, clean and without an expiry interval, unless they are kept.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "protocol_presets.h"

enum packet_type {
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH = 0x30,
    PUBACK = 0x40,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
    PINGREQ = 0xc0,
    PINGRESP = 0xd0,
    DISCONNECT = 0xe0,
};

/* In reason codes, and in the return codes of SUBACK of 3.1.1. */
#define REFUSED 0x80

#define CLEAN 2

/* With its length and its options: two names of groups, and two bytes for each level. */
#define FILTER_BYTES (2 + 2 * GROUP_NAME_BYTES + 2 * MQTT_LEVELS + 1)

static struct {
    uint32_t filters, levels;
} shape = {.levels = 1};

/* A part of a packet that is being read. What lies behind its end is not there. */
struct part {
    const uint8_t *at;
    const uint8_t *end;
    bool broken;
};

static const uint8_t *take(struct part *part, size_t length)
{
    const uint8_t *taken = part->at;

    if ((size_t)(part->end - part->at) < length) {
        part->broken = true;
        part->at = part->end;
        return NULL;
    }
    part->at += length;
    return taken;
}

static uint32_t take_number(struct part *part, size_t length)
{
    const uint8_t *bytes = take(part, length);
    uint32_t number = 0;

    for (size_t i = 0; bytes && i < length; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* Section 1.5.5: seven bits a byte, the lowest first; the highest bit says that another byte follows. */
static uint32_t take_length(struct part *part)
{
    uint32_t length = 0;

    for (uint32_t i = 0; i < 4; i++) {
        const uint8_t *byte = take(part, 1);

        if (!byte)
            return 0;
        length |= (uint32_t)(*byte & 0x7f) << 7 * i;
        if (!(*byte & 0x80))
            return length;
    }
    part->broken = true;
    return 0;
}

static char *put_number(char *to, uint32_t number)
{
    *to++ = (char)(number >> 8);
    *to++ = (char)number;
    return to;
}

static char *put_string(char *to, const char *text)
{
    size_t length = strlen(text);

    return put(put_number(to, (uint32_t)length), text, length);
}

/* Properties, which 3.1.1 does not have: none. */
static char *put_properties(char *to, const struct protocol *protocol)
{
    if (protocol->level == 5)
        *to++ = 0;
    return to;
}

static size_t properties_length(const struct protocol *protocol)
{
    return protocol->level == 5 ? 1 : 0;
}

static void greet(struct client *client)
{
    const struct protocol *protocol = client->protocol;
    char packet[128];
    char id[32];

    /* Letters and digits are what all servers take. */
    snprintf(id, sizeof id, "load%dx%u", (int)getpid(), client->index);
    char *at = packet;
    *at++ = CONNECT;
    at = put_varint(at, 6 + 1 + 1 + 2 + properties_length(protocol) + 2 + strlen(id));
    at = put_string(at, "MQTT");
    *at++ = (char)protocol->level;
    *at++ = protocol->kept ? 0 : CLEAN;
    at = put_number(at, client->keep_alive_s);
    at = put_properties(at, protocol);
    at = put_string(at, id);
    client_send(client, packet, (size_t)(at - packet));
}

void mqtt_shape(uint32_t filters, uint32_t levels)
{
    shape.filters = filters;
    shape.levels = levels;
}

/* The name of a group, or what stands for it, with as many levels as topics have. */
static char *put_topic(char *to, const char *group, const char *below)
{
    to = put(to, group, strlen(group));
    for (uint32_t i = 1; i < shape.levels; i++)
        to = put(to, "/l", 2);
    return put(to, below, strlen(below));
}

static char *put_filter(char *to, const struct protocol *protocol, const char *group, const char *below)
{
    char *end = put_topic(to + 2, group, below);

    put_number(to, (uint32_t)(end - to - 2));
    *end++ = (char)protocol->qos;
    return end;
}

static void join(struct client *client)
{
    static char filters[MQTT_FILTERS * FILTER_BYTES];
    static char packet[sizeof filters + 16];
    const struct protocol *protocol = client->protocol;
    char name[GROUP_NAME_BYTES];
    char below[GROUP_NAME_BYTES];

    for (uint32_t i = 0; i < client->joins; i++) {
        joined_group_name(client, i, name);
        char *end = put_filter(filters, protocol, name, shape.filters ? "/#" : "");
        for (uint32_t j = 1; j < shape.filters; j++) {
            snprintf(below, sizeof below, "/n%u", client->index * shape.filters + j);
            end = put_filter(end, protocol, "+", below);
        }
        char *at = packet;
        *at++ = (char)SUBSCRIBE;
        at = put_varint(at, 2 + properties_length(protocol) + (size_t)(end - filters));
        at = put_number(at, i + 1);
        at = put_properties(at, protocol);
        at = put(at, filters, (size_t)(end - filters));
        client_send(client, packet, (size_t)(at - packet));
    }
}

static size_t publication(struct client *client, char *to, const char *group, const char *payload, size_t length)
{
    const struct protocol *protocol = client->protocol;
    size_t topic = strlen(group) + 2 * (shape.levels - 1);
    char *at = to;

    *at++ = (char)(PUBLISH | protocol->qos << 1);
    at = put_varint(at, 2 + topic + (protocol->qos ? 2 : 0) + properties_length(protocol) + length);
    at = put_number(at, (uint32_t)topic);
    at = put_topic(at, group, "");
    if (protocol->qos)
        at = put_number(at, client_next_publication(client));
    at = put_properties(at, protocol);
    at = put(at, payload, length);
    return (size_t)(at - to);
}

static void ping(struct client *client)
{
    static const char packet[] = {(char)PINGREQ, 0};

    client_send(client, packet, sizeof packet);
}

static void refuse(struct client *client, const char *what, uint32_t code)
{
    char why[64];

    snprintf(why, sizeof why, "%s %u", what, code);
    client_refused(client, why, strlen(why));
}

static void acknowledge(struct client *client, uint32_t packet_id)
{
    const char packet[] = {PUBACK, 2, (char)(packet_id >> 8), (char)packet_id};

    client_send(client, packet, sizeof packet);
}

static void take_publication(struct client *client, uint8_t head, struct part *part)
{
    uint8_t qos = head >> 1 & 3;
    uint32_t packet_id = 0;
    uint32_t offset = 0;

    take(part, take_number(part, 2));
    if (qos)
        packet_id = take_number(part, 2);
    if (client->protocol->level == 5)
        take(part, take_length(part));
    if (part->broken || (qos && !packet_id)) {
        refuse(client, "PUBLISH is broken, with the first byte", head);
        return;
    }
    /* Else less would be measured than was asked for. */
    if (qos != client->protocol->qos) {
        refuse(client, "PUBLISH of quality of service", qos);
        return;
    }
    const char *marker = marker_find((const char *)part->at, (size_t)(part->end - part->at), &offset);
    if (marker)
        client->events->delivered(client, marker);
    if (qos && client->connection.open)
        acknowledge(client, packet_id);
}

/* Section 2.2.2.2: how long the value of a property is, as far as CONNACK has it. */
static size_t value_length(struct part *part, uint8_t property)
{
    switch (property) {
    case 0x24: case 0x25: case 0x28: case 0x29: case 0x2a:
        return 1;
    case 0x13: case 0x21: case 0x22:
        return 2;
    case 0x11: case 0x27:
        return 4;
    case 0x26:
        take(part, take_number(part, 2));
        return take_number(part, 2);
    case 0x12: case 0x15: case 0x16: case 0x1a: case 0x1c: case 0x1f:
        return take_number(part, 2);
    default:
        part->broken = true;
        return 0;
    }
}

/* What the server wants of its clients: Server Keep Alive and Receive Maximum. */
static void take_terms(struct client *client, struct part *part)
{
    if (take_length(part) != (size_t)(part->end - part->at))
        part->broken = true;
    while (part->at < part->end && !part->broken) {
        uint8_t property = (uint8_t)take_number(part, 1);

        if (property == 0x13)
            client->keep_alive_s = take_number(part, 2);
        else if (property == 0x21)
            client->under_way_limit = take_number(part, 2);
        else
            take(part, value_length(part, property));
    }
}

static void take_welcome(struct client *client, struct part *part)
{
    take_number(part, 1);
    uint32_t code = take_number(part, 1);

    if (part->broken || code) {
        refuse(client, "CONNACK", code);
        return;
    }
    if (client->protocol->level == 5)
        take_terms(client, part);
    if (part->broken)
        refuse(client, "CONNACK is broken, with code", code);
    else
        client_greeted(client);
}

static void take_subscription(struct client *client, struct part *part)
{
    take_number(part, 2);
    if (client->protocol->level == 5)
        take(part, take_length(part));
    uint32_t code = client->protocol->qos;
    uint32_t codes = 0;

    for (; part->at < part->end && code == client->protocol->qos; codes++)
        code = take_number(part, 1);
    if (part->broken || code != client->protocol->qos || codes != (shape.filters ? shape.filters : 1))
        refuse(client, "SUBACK", code);
    else
        client_joined(client, 1);
}

static void take_acknowledgement(struct client *client, struct part *part)
{
    uint32_t packet_id = take_number(part, 2);
    uint32_t code = part->at < part->end ? take_number(part, 1) : 0;

    if (part->broken || code >= REFUSED)
        refuse(client, "PUBACK", code);
    else
        client_acknowledged(client, (uint16_t)packet_id);
}

static void take_packet(struct client *client, uint8_t head, struct part *part)
{
    if ((head & 0xf0) == PUBLISH)
        take_publication(client, head, part);
    else if (head == PUBACK)
        take_acknowledgement(client, part);
    else if (head == PINGRESP)
        client_alive(client);
    else if (head == CONNACK)
        take_welcome(client, part);
    else if (head == SUBACK)
        take_subscription(client, part);
    else if (head == DISCONNECT)
        refuse(client, "DISCONNECT", part->at < part->end ? *part->at : 0);
    else
        refuse(client, "a packet that was not asked for, with the first byte", head);
}

static size_t receive(struct client *client, const char *bytes, size_t length)
{
    struct part stream = {.at = (const uint8_t *)bytes, .end = (const uint8_t *)bytes + length};
    size_t used = 0;

    while (client->connection.open && stream.at < stream.end) {
        uint8_t head = (uint8_t)take_number(&stream, 1);
        struct part packet = {.at = take(&stream, take_length(&stream)), .end = stream.at};

        /* The rest has not come yet. */
        if (stream.broken)
            break;
        used = (size_t)(stream.at - (const uint8_t *)bytes);
        take_packet(client, head, &packet);
    }
    return used;
}

/* The presets differ in the version of the protocol, in the quality of service, at which all is sent and taken, and in
   what becomes of sessions. */
#define PRESET(name_, level_, qos_, kept_, publishers_) \
    {                                         \
        .name = name_,                        \
        .subprotocol = "mqtt",                \
        .binary = true,                       \
        .stream = true,                       \
        .confirms_joins = true,               \
        .confirms_publications = (qos_) > 0,  \
        .level = level_,                      \
        .qos = qos_,                          \
        .kept = kept_,                        \
        .publishers = publishers_,            \
        .greet = greet,                       \
        .join = join,                         \
        .publication = publication,           \
        .receive = receive,                   \
        .ping = ping,                         \
    }

const struct protocol protocol_mqtt = PRESET("mqtt", 4, 0, false, NULL);
const struct protocol protocol_mqtt_qos1 = PRESET("mqtt-qos1", 4, 1, false, NULL);
const struct protocol protocol_mqtt5 = PRESET("mqtt5", 5, 0, false, NULL);
const struct protocol protocol_mqtt5_qos1 = PRESET("mqtt5-qos1", 5, 1, false, NULL);
const struct protocol protocol_mqtt_kept = PRESET("mqtt-kept", 4, 1, true, &protocol_mqtt_qos1);
