/* Connections without messages: many that stay (idle), and ones that come and go (churn). */
#include <stdio.h>

#include "client.h"
#include "clock.h"
#include "fault.h"
#include "measurement.h"
#include "memory.h"
#include "modes.h"
#include "websocket.h"

static uint32_t idle_count, idle_closed;
static char first_loss[256];

static void lose(struct client *client, const char *why)
{
    if (client->phase != CLIENT_READY)
        client_lost(client, why);
    if (!idle_closed)
        snprintf(first_loss, sizeof first_loss, "number %u, %s", client->index, why);
    if (++idle_closed == idle_count)
        fail("all %u connections were lost, first: %s", idle_count, first_loss);
}

void run_idle(struct options *options)
{
    static const struct client_events events = {.delivered = client_ignore, .closed = lose};
    static struct measurement measurement;
    struct target target;
    struct client *clients = allocate(options->connections, sizeof *clients);

    target_find(&target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    measurement_prepare(&measurement, &options->server);
    idle_count = options->connections;
    for (uint32_t i = 0; i < idle_count; i++)
        clients[i] = (struct client){
            .events = &events,
            .protocol = options->protocol,
            .target = &target,
            .path = member_path(options, i),
            .next = i + 1 < idle_count ? &clients[i + 1] : NULL,
            .index = i,
        };
    clients_open(clients, HANDSHAKES_AT_ONCE);

    limit_phase("settling");
    measurement_begin(&measurement);
    loop_until(measurement.began_ns + ns_of(options->settle_s));
    measurement_end(&measurement);
    if (idle_closed)
        notice("%u connections were lost, first: %s", idle_closed, first_loss);

    result_begin(options->mode, options->protocol->name);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", idle_count);
    result_count("closed", idle_closed);
    result_use(&measurement, NULL, 0);
    result_end();
}

/* One that comes, is let in, and goes. */
struct visitor {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct connection connection;
    struct churn *churn;
    uint32_t index;
    bool leaving;
};

struct churn {
    const struct options *options;
    struct target target;
    uint32_t opened;
    uint64_t handshakes;
};

static void come(struct visitor *visitor);

static void ask(struct connection *connection)
{
    struct churn *churn = ((struct visitor *)connection)->churn;
    const struct options *options = churn->options;
    const char *path = member_path(options, ((struct visitor *)connection)->index);

    websocket_request(&connection->unsent, churn->target.text, path, options->protocol->subprotocol);
}

static size_t hear(struct connection *connection, const char *bytes, size_t length)
{
    struct visitor *visitor = (struct visitor *)connection;
    struct churn *churn = visitor->churn;
    const char *fault;

    /* What the server says meanwhile is read up: else the kernel would cut the connection instead of closing it. */
    if (visitor->leaving)
        return length;
    size_t used = websocket_answer(bytes, length, churn->options->protocol->subprotocol, &fault);
    if (fault)
        fail("connection to %s, during the handshake: %s", churn->target.text, fault);
    if (used) {
        churn->handshakes++;
        visitor->leaving = true;
        connection_finish(connection);
        return length;
    }
    return 0;
}

static void gone(struct connection *connection, const char *why)
{
    struct visitor *visitor = (struct visitor *)connection;

    if (!visitor->leaving)
        fail("connection to %s, before the end of the handshake: %s", visitor->churn->target.text, why);
    come(visitor);
}

static void come(struct visitor *visitor)
{
    static const struct connection_events events = {ask, hear, gone};

    visitor->leaving = false;
    visitor->index = visitor->churn->opened++;
    connection_open(&visitor->connection, &visitor->churn->target, visitor->index, &events);
}

void run_churn(struct options *options)
{
    static struct measurement measurement;
    struct churn churn = {.options = options};
    struct visitor *visitors = allocate(options->concurrency, sizeof *visitors);

    target_find(&churn.target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    measurement_prepare(&measurement, &options->server);

    limit_phase("connecting and leaving");
    for (uint32_t i = 0; i < options->concurrency; i++) {
        visitors[i].churn = &churn;
        come(&visitors[i]);
    }
    loop_until(now_ns() + ns_of(options->warmup_s));
    measurement_begin(&measurement);
    uint64_t handshakes = churn.handshakes;
    loop_until(measurement.began_ns + ns_of(options->duration_s));
    handshakes = churn.handshakes - handshakes;
    measurement_end(&measurement);
    if (!handshakes)
        fail("no handshake was completed in the measured time");

    result_begin(options->mode, options->protocol->name);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", options->concurrency);
    result_rate("handshakes", handshakes, &measurement);
    result_use(&measurement, "cpu_us_per_operation", handshakes);
    result_end();
}
