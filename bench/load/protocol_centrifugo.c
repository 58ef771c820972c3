/* The bidirectional protocol of Centrifugo in JSON: commands, replies and pushes, a line each, many to a frame. */
#define _GNU_SOURCE
#include "protocol_presets.h"

static void greet(struct client *client)
{
    client_send_text(client, "{\"id\":1,\"connect\":{}}");
}

static void join(struct client *client)
{
    char name[GROUP_NAME_BYTES];

    for (uint32_t i = 0; i < client->joins; i++) {
        joined_group_name(client, i, name);
        client_send_text(client, "{\"id\":%u,\"subscribe\":{\"channel\":\"%s\"}}", i + 2, name);
    }
}

static size_t publication(struct client *client, char *to, const char *group, const char *payload, size_t length)
{
    (void)client;
    /* A command needs a number; replies are told apart by what they hold, so that one number will do for all. */
    return enclose(to, "{\"id\":1000000,\"publish\":{\"channel\":\"%s\",\"data\":\"", group, payload, length, "\"}}");
}

static void take_reply(struct client *client, const char *line, size_t length)
{
    if (length == 2 && begins(line, length, "{}"))
        client_send_text(client, "{}");
    else if (contains(line, length, "\"error\":{") || contains(line, length, "\"disconnect\":{"))
        client_refused(client, line, length);
    else if (contains(line, length, "\"connect\":{"))
        client_greeted(client);
    else if (contains(line, length, "\"subscribe\":{"))
        client_joined(client, 1);
}

/* Take lines. Those that begin as `message` does hold one of ours. */
static size_t take_lines(struct client *client, const char *bytes, size_t length, const char *message)
{
    const char *at = bytes;
    const char *end = bytes + length;

    while (at < end && client->connection.open) {
        const char *marker = NULL;
        const char *line_end;

        /* The data stands behind a marker and may be long, what stands before it is short. */
        if (begins(at, (size_t)(end - at), message))
            marker = marker_find(at, (size_t)(end - at), &client->marker_at);
        line_end = memchr(marker ? marker : at, '\n', (size_t)(end - (marker ? marker : at)));
        if (!line_end)
            line_end = end;
        if (marker)
            client->events->delivered(client, marker);
        else
            take_reply(client, at, (size_t)(line_end - at));
        at = line_end + 1;
    }
    return length;
}

static size_t receive(struct client *client, const char *bytes, size_t length)
{
    return take_lines(client, bytes, length, "{\"push\":{");
}

const struct protocol protocol_centrifugo = {
    .name = "centrifugo",
    .confirms_joins = true,
    .greet = greet,
    .join = join,
    .publication = publication,
    .receive = receive,
};

/* A call, which the server passes on to an application's server, and whose answer is that of the call. */
static size_t call(struct client *client, char *to, const char *group, const char *payload, size_t length)
{
    (void)client;
    return enclose(to, "{\"id\":1000000,\"rpc\":{\"method\":\"echo\",\"data\":\"", group, payload, length, "\"}}");
}

static size_t receive_answers(struct client *client, const char *bytes, size_t length)
{
    return take_lines(client, bytes, length, "{\"id\":1000000,\"rpc\":{");
}

const struct protocol protocol_centrifugo_rpc = {
    .name = "centrifugo-rpc",
    .greet = greet,
    .publication = call,
    .receive = receive_answers,
};
