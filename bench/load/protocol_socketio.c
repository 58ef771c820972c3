/* Socket.IO 5 on the WebSocket of Engine.IO 4; the server joins rooms by the event "join" and sends by "send". */
#define _GNU_SOURCE
#include "protocol_presets.h"

static void await_open(struct client *client)
{
    /* The server speaks first, with the packet "open" of Engine.IO. */
    (void)client;
}

static void join(struct client *client)
{
    char name[GROUP_NAME_BYTES];

    for (uint32_t i = 0; i < client->joins; i++) {
        joined_group_name(client, i, name);
        client_send_text(client, "42[\"join\",\"%s\"]", name);
    }
}

static size_t publication(struct client *client, char *to, const char *group, const char *payload, size_t length)
{
    (void)client;
    return enclose(to, "42[\"send\",\"%s\",\"", group, payload, length, "\"]");
}

/* Packets of Engine.IO: 0 open, 1 close, 2 ping; 4 holds one of Socket.IO: 0 connected, 1 left, 4 refused. */
static void take_packet(struct client *client, const char *text, size_t length)
{
    if (begins(text, length, "0"))
        client_send_text(client, "40");
    else if (begins(text, length, "2"))
        client_send_text(client, "3");
    else if (begins(text, length, "40"))
        client_greeted(client);
    else if (begins(text, length, "41") || begins(text, length, "44") || begins(text, length, "1"))
        client_refused(client, text, length);
}

static size_t receive(struct client *client, const char *text, size_t length)
{
    const char *marker = marker_find(text, length, &client->marker_at);

    if (marker)
        client->events->delivered(client, marker);
    else
        take_packet(client, text, length);
    return length;
}

const struct protocol protocol_socketio = {
    .name = "socketio",
    .greet = await_open,
    .join = join,
    .publication = publication,
    .receive = receive,
};
