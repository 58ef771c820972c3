#include "client.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "fault.h"
#include "websocket.h"

/* How long nothing at all may happen while clients are opened. */
#define STALL_NS (10 * NS_PER_S)

/* How often clients look whether a ping is due. */
#define PING_LOOK_NS (20 * NS_PER_MS)

static uint32_t opening;
static uint64_t steps;
static struct bytes scratch;
static uint32_t keep_alive_s;

/* Clients that will ping, the next one first: all of a server have the same interval, so that each goes to the end. */
static struct {
    struct client *first, *last;
} pings;

void group_name(char name[GROUP_NAME_BYTES], uint32_t group)
{
    snprintf(name, GROUP_NAME_BYTES, "g%u", group);
}

static bool on_its_way(const struct client *client)
{
    return client->phase > CLIENT_NEW && client->phase < CLIENT_READY;
}

static void enter(struct client *client, enum client_phase phase)
{
    bool before = on_its_way(client);

    client->phase = phase;
    opening = opening + on_its_way(client) - before;
    steps++;
}

static void close_client(struct client *client, const char *why)
{
    connection_close(&client->connection);
    bytes_free(&client->carried);
    if (client->phase == CLIENT_CLOSED)
        return;
    client->events->closed(client, why);
    /* The event may have opened it anew. */
    if (!client->connection.open)
        enter(client, CLIENT_CLOSED);
}

static void become_ready(struct client *client)
{
    enter(client, CLIENT_READY);
    if (client->events->ready)
        client->events->ready(client);
}

static void ping_later(struct client *client)
{
    /* Well before the server would lose patience: that is after one and a half of the interval. */
    client->ping_ns = now_ns() + client->keep_alive_s * NS_PER_S / 4 * 3;
    if (client->in_ping_queue)
        return;
    client->in_ping_queue = true;
    client->next_to_ping = NULL;
    if (pings.first)
        pings.last->next_to_ping = client;
    else
        pings.first = client;
    pings.last = client;
}

static void ping(struct client *client)
{
    static const char why[] = "no answer to the last ping";

    if (client->phase != CLIENT_JOINING && client->phase != CLIENT_READY)
        return;
    if (client->pinging) {
        close_client(client, why);
        return;
    }
    client->pinging = true;
    client->protocol->ping(client);
    connection_flush(&client->connection);
    ping_later(client);
}

static void ping_those_due(void)
{
    uint64_t now = now_ns();

    while (pings.first && pings.first->ping_ns <= now) {
        struct client *client = pings.first;

        pings.first = client->next_to_ping;
        client->in_ping_queue = false;
        ping(client);
    }
}

void clients_keep_alive(uint32_t seconds)
{
    keep_alive_s = seconds;
    if (seconds)
        loop_every(PING_LOOK_NS, ping_those_due);
}

void client_alive(struct client *client)
{
    client->pinging = false;
}

void client_greeted(struct client *client)
{
    if (client->phase != CLIENT_GREETING)
        return;
    enter(client, CLIENT_JOINING);
    if (client->protocol->ping && client->keep_alive_s)
        ping_later(client);
    if (client->joins && client->protocol->join)
        client->protocol->join(client);
    if (!client->joins || !client->protocol->confirms_joins)
        become_ready(client);
}

void client_joined(struct client *client, uint32_t count)
{
    if (client->phase != CLIENT_JOINING)
        return;
    steps++;
    client->joins_confirmed += count;
    if (client->joins_confirmed >= client->joins)
        become_ready(client);
}

void client_refused(struct client *client, const char *text, size_t length)
{
    char why[256];

    snprintf(why, sizeof why, "refused by the server: %.*s", (int)(length < 200 ? length : 200), text);
    close_client(client, why);
}

uint16_t client_next_publication(struct client *client)
{
    if (client->under_way_limit && client->under_way == client->under_way_limit)
        fail("the server takes no more than %u publications of a client under way", client->under_way_limit);
    client->under_way++;
    /* 0 is no number. */
    client->published_id = client->published_id == UINT16_MAX ? 1 : client->published_id + 1;
    return client->published_id;
}

void client_acknowledged(struct client *client, uint16_t id)
{
    char why[64];
    uint16_t due = client->acknowledged_id == UINT16_MAX ? 1 : client->acknowledged_id + 1;

    /* In the order in which they were sent, as every server does that is compared here. */
    if (!client->under_way || id != due) {
        snprintf(why, sizeof why, "acknowledged %u, with %u under way from %u", id, client->under_way, due);
        close_client(client, why);
        return;
    }
    client->acknowledged_id = id;
    client->under_way--;
    if (client->events->acknowledged)
        client->events->acknowledged(client);
}

void client_send(struct client *client, const char *text, size_t length)
{
    websocket_send(&client->connection.unsent, client->protocol->binary ? OPCODE_BINARY : OPCODE_TEXT, text, length);
}

void client_send_text(struct client *client, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    client_send(client, text, (size_t)length);
}

void client_publish(struct client *client, uint32_t group, const char *payload, size_t length)
{
    char name[GROUP_NAME_BYTES];

    group_name(name, group);
    scratch.length = 0;
    bytes_room(&scratch, length + PUBLICATION_BYTES_MORE);
    client_send(client, scratch.data, client->protocol->publication(client, scratch.data, name, payload, length));
}

/* Bytes of the protocol, from one frame or put together from several; keeps what is not used up. */
static void take_carried(struct client *client, const struct frame *frame)
{
    bytes_append(&client->carried, frame->payload, frame->length);
    /* A stream does not care about the ends of frames, a message ends with the last of its frames. */
    if (!client->protocol->stream && !frame->final)
        return;
    size_t used = client->protocol->receive(client, client->carried.data, client->carried.length);
    if (client->connection.open)
        bytes_drop(&client->carried, used);
}

static void take_data(struct client *client, const struct frame *frame)
{
    if (client->carried.length || !frame->final) {
        take_carried(client, frame);
        return;
    }
    size_t used = client->protocol->receive(client, frame->payload, frame->length);
    if (used < frame->length && client->connection.open)
        bytes_append(&client->carried, frame->payload + used, frame->length - used);
}

static void take_frame(struct client *client, const struct frame *frame)
{
    switch (frame->opcode) {
    case OPCODE_CONTINUATION:
    case OPCODE_TEXT:
    case OPCODE_BINARY:
        take_data(client, frame);
        break;
    case OPCODE_PING:
        websocket_send(&client->connection.unsent, OPCODE_PONG, frame->payload, frame->length);
        break;
    case OPCODE_CLOSE:
        close_client(client, websocket_close_reason(frame));
        break;
    case OPCODE_PONG:
        break;
    default:
        close_client(client, "the server sent a frame that WebSocket does not have");
    }
}

static size_t take_answer(struct client *client, const char *bytes, size_t length)
{
    const char *fault;
    size_t used = websocket_answer(bytes, length, client->protocol->subprotocol, &fault);

    if (fault) {
        close_client(client, fault);
    } else if (used) {
        enter(client, CLIENT_GREETING);
        if (client->events->upgraded)
            client->events->upgraded(client);
        client->protocol->greet(client);
    }
    return used;
}

static size_t received(struct connection *connection, const char *bytes, size_t length)
{
    struct client *client = (struct client *)connection;
    struct frame frame;
    size_t used = 0;
    size_t taken;

    if (client->phase == CLIENT_UPGRADING) {
        used = take_answer(client, bytes, length);
        if (!used)
            return 0;
    }
    while (connection->open && (taken = websocket_next(bytes + used, length - used, &frame))) {
        used += taken;
        take_frame(client, &frame);
    }
    return used;
}

static void opened(struct connection *connection)
{
    struct client *client = (struct client *)connection;

    enter(client, CLIENT_UPGRADING);
    websocket_request(&connection->unsent, client->target->text, client->path, client->protocol->subprotocol);
}

static void ended(struct connection *connection, const char *why)
{
    struct client *client = (struct client *)connection;

    client->cut = true;
    close_client(client, why);
}

void client_open(struct client *client)
{
    static const struct connection_events events = {opened, received, ended};

    client->joins_confirmed = 0;
    client->published_id = client->acknowledged_id = 0;
    client->under_way = 0;
    client->keep_alive_s = keep_alive_s;
    client->pinging = false;
    client->cut = false;
    enter(client, CLIENT_CONNECTING);
    connection_open(&client->connection, client->target, client->index, &events);
}

uint32_t clients_opening(void)
{
    return opening;
}

void clients_open(struct client *list, uint32_t at_once)
{
    uint64_t last_steps = steps;
    uint64_t last_ns = now_ns();

    limit_phase("connecting and joining");
    while (list || opening) {
        for (; list && opening < at_once; list = list->next)
            client_open(list);
        loop_turn(NS_PER_S / 10);
        if (steps != last_steps) {
            last_steps = steps;
            last_ns = now_ns();
        } else if (now_ns() - last_ns > STALL_NS) {
            fail("%u connections got no answer for 10 s: does the server speak this protocol?", opening);
        }
    }
}

void client_ignore(struct client *client, const char *marker)
{
    (void)client;
    (void)marker;
}

void client_lost(struct client *client, const char *why)
{
    static const char *const when[] = {
        [CLIENT_NEW] = "before connecting",
        [CLIENT_CONNECTING] = "while connecting",
        [CLIENT_UPGRADING] = "during the handshake",
        [CLIENT_GREETING] = "after the handshake",
        [CLIENT_JOINING] = "while joining",
        [CLIENT_READY] = "during the run",
        [CLIENT_CLOSED] = "after its end",
    };

    fail("connection %u to %s, %s: %s", client->index, client->target->text, when[client->phase], why);
}
