/* The client protocol of NATS, over WebSocket: a stream of lines and payloads, whatever the frames. */
#define _GNU_SOURCE
#include "protocol_presets.h"

static void greet(struct client *client)
{
    /* The PONG comes behind all that was asked before it. */
    client_send_text(client, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\","
                             "\"protocol\":1,\"echo\":true}\r\nPING\r\n");
}

static void join(struct client *client)
{
    char name[GROUP_NAME_BYTES];

    for (uint32_t i = 0; i < client->joins; i++) {
        joined_group_name(client, i, name);
        client_send_text(client, "SUB %s %u\r\n", name, i + 1);
    }
    client_send_text(client, "PING\r\n");
}

static size_t publication(struct client *client, char *to, const char *group, const char *payload, size_t length)
{
    (void)client;
    char *at = to + sprintf(to, "PUB %s %zu\r\n", group, length);

    at = put(at, payload, length);
    at = put(at, "\r\n", 2);
    return (size_t)(at - to);
}

static void take_line(struct client *client, const char *line, size_t length)
{
    if (begins(line, length, "PING")) {
        client_send_text(client, "PONG\r\n");
    } else if (begins(line, length, "PONG")) {
        if (client->phase == CLIENT_GREETING)
            client_greeted(client);
        else
            client_joined(client, client->joins);
    } else if (begins(line, length, "-ERR")) {
        client_refused(client, line, length);
    }
}

/* The number at the end of `MSG subject sid size`. */
static size_t payload_length(const char *line, const char *end)
{
    const char *at = end;
    size_t length = 0;

    if (at > line && at[-1] == '\r')
        at--;
    for (size_t place = 1; at > line && at[-1] >= '0' && at[-1] <= '9' && place < 1000000000; place *= 10)
        length += (size_t)(*--at - '0') * place;
    return length;
}

static size_t receive(struct client *client, const char *bytes, size_t length)
{
    const char *at = bytes;
    const char *end = bytes + length;
    const char *line_end;

    while (client->connection.open && (line_end = memchr(at, '\n', (size_t)(end - at)))) {
        const char *next = line_end + 1;

        if (begins(at, (size_t)(end - at), "MSG ")) {
            size_t size = payload_length(at, line_end);
            uint32_t offset = 0;

            if ((size_t)(end - next) < size + 2)
                break;
            const char *marker = marker_find(next, size, &offset);
            if (marker)
                client->events->delivered(client, marker);
            next += size + 2;
        } else {
            take_line(client, at, (size_t)(line_end - at));
        }
        at = next;
    }
    return (size_t)(at - bytes);
}

const struct protocol protocol_nats = {
    .name = "nats",
    .binary = true,
    .stream = true,
    .confirms_joins = true,
    .greet = greet,
    .join = join,
    .publication = publication,
    .receive = receive,
};
