/*
 * The JSON subprotocols of Azure Web PubSub, plain and reliable, and the same messages on a bare WebSocket, so that a
 * server of a few lines can be compared byte for byte.
 */
#define _GNU_SOURCE
#include "protocol_presets.h"

static void await_connected(struct client *client)
{
    /* The server speaks first, with its event "connected". */
    (void)client;
}

static void join(struct client *client)
{
    char name[GROUP_NAME_BYTES];

    for (uint32_t i = 0; i < client->joins; i++) {
        joined_group_name(client, i, name);
        client_send_text(client, "{\"type\":\"joinGroup\",\"group\":\"%s\",\"ackId\":%u}", name, i + 1);
    }
}

static size_t publication(struct client *client, char *to, const char *group, const char *payload, size_t length)
{
    (void)client;
    return enclose(to, "{\"type\":\"sendToGroup\",\"group\":\"%s\",\"dataType\":\"text\",\"data\":\"", group, payload,
                   length, "\"}");
}

/* Anything but a message of a group. */
static void take_other(struct client *client, const char *text, size_t length)
{
    if (contains(text, length, "\"type\":\"ack\"")) {
        if (contains(text, length, "\"success\":true"))
            client_joined(client, 1);
        else
            client_refused(client, text, length);
    } else if (contains(text, length, "\"event\":\"connected\"")) {
        client_greeted(client);
    }
}

static size_t receive(struct client *client, const char *text, size_t length)
{
    const char *marker = marker_find(text, length, &client->marker_at);

    if (marker)
        client->events->delivered(client, marker);
    else
        take_other(client, text, length);
    return length;
}

/* Acknowledge all up to this message. Its number stands before the data, which may be long. */
static void acknowledge(struct client *client, const char *text, size_t length)
{
    static const char name[] = "\"sequenceId\":";
    const char *at = memmem(text, length, name, sizeof name - 1);
    const char *end = text + length;
    unsigned long long sequence_id = 0;

    if (!at)
        return;
    for (at += sizeof name - 1; at < end && *at >= '0' && *at <= '9'; at++)
        sequence_id = sequence_id * 10 + (unsigned long long)(*at - '0');
    client_send_text(client, "{\"type\":\"sequenceAck\",\"sequenceId\":%llu}", sequence_id);
}

static size_t receive_reliable(struct client *client, const char *text, size_t length)
{
    const char *marker = marker_find(text, length, &client->marker_at);

    if (!marker) {
        take_other(client, text, length);
        return length;
    }
    client->events->delivered(client, marker);
    if (++client->unacknowledged >= client->ack_every && client->connection.open) {
        client->unacknowledged = 0;
        acknowledge(client, text, length);
    }
    return length;
}

const struct protocol protocol_azure = {
    .name = "azure",
    .subprotocol = "json.webpubsub.azure.v1",
    .confirms_joins = true,
    .greet = await_connected,
    .join = join,
    .publication = publication,
    .receive = receive,
};

const struct protocol protocol_azure_reliable = {
    .name = "azure-reliable",
    .subprotocol = "json.reliable.webpubsub.azure.v1",
    .publishers = &protocol_azure,
    .confirms_joins = true,
    .greet = await_connected,
    .join = join,
    .publication = publication,
    .receive = receive_reliable,
};

/* The answer of an event handler, as the same message. */
static size_t event(struct client *client, char *to, const char *group, const char *payload, size_t length)
{
    (void)client;
    return enclose(to, "{\"type\":\"event\",\"event\":\"echo\",\"dataType\":\"text\",\"data\":\"", group, payload,
                   length, "\"}");
}

const struct protocol protocol_azure_events = {
    .name = "azure-events",
    .subprotocol = "json.webpubsub.azure.v1",
    .greet = await_connected,
    .publication = event,
    .receive = receive,
};

static void join_plain(struct client *client)
{
    char name[GROUP_NAME_BYTES];

    for (uint32_t i = 0; i < client->joins; i++) {
        joined_group_name(client, i, name);
        client_send_text(client, "{\"type\":\"joinGroup\",\"group\":\"%s\"}", name);
    }
}

static size_t receive_plain(struct client *client, const char *text, size_t length)
{
    const char *marker = marker_find(text, length, &client->marker_at);

    if (marker)
        client->events->delivered(client, marker);
    return length;
}

const struct protocol protocol_plain = {
    .name = "plain",
    .greet = client_greeted,
    .join = join_plain,
    .publication = publication,
    .receive = receive_plain,
};
