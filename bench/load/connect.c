#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "client.h"
#include "clock.h"
#include "fault.h"
#include "measurement.h"
#include "memory.h"
#include "modes.h"
#include "probe.h"

/* What was refused or cut is tried again together, after a pause that lets the server work on. */
#define RETRY_NS (10 * NS_PER_MS)
#define STALL_NS (10 * NS_PER_S)

static struct rush {
    uint32_t upgraded, retries, closed;
    /* Those to try again. */
    struct client *again;
    const char *last_why;
} rush;

static void upgraded(struct client *client)
{
    struct tcp_info info;
    socklen_t length = sizeof info;

    rush.upgraded++;
    /* A full backlog drops what asks to connect, and the kernel asks again after a second: that is a retry too. */
    if (!getsockopt(client->connection.fd, IPPROTO_TCP, TCP_INFO, &info, &length))
        rush.retries += info.tcpi_total_retrans;
}

static void lose(struct client *client, const char *why)
{
    static char words[128];

    if (client->phase > CLIENT_UPGRADING) {
        rush.closed++;
        return;
    }
    if (!client->cut)
        client_lost(client, why);
    snprintf(words, sizeof words, "%s", why);
    rush.last_why = words;
    rush.retries++;
    client->next = rush.again;
    rush.again = client;
}

static void try_again(void)
{
    struct client *client = rush.again;

    rush.again = NULL;
    while (client) {
        struct client *next = client->next;

        client_open(client);
        client = next;
    }
}

static void await_all(uint32_t count)
{
    uint64_t retried_ns = now_ns();
    uint64_t progress_ns = retried_ns;
    uint32_t before = 0;

    while (rush.upgraded < count) {
        loop_turn(RETRY_NS);
        uint64_t now = now_ns();
        if (rush.again && now - retried_ns > RETRY_NS) {
            try_again();
            retried_ns = now;
        }
        if (rush.upgraded != before) {
            before = rush.upgraded;
            progress_ns = now;
        } else if (now - progress_ns > STALL_NS) {
            fail("%u of %u connections got no answer for 10 s%s%s", count - rush.upgraded, count,
                 rush.last_why ? "; the last was cut: " : "", rush.last_why ? rush.last_why : "");
        }
    }
}

void run_connect(struct options *options)
{
    static const struct client_events events = {.upgraded = upgraded, .delivered = client_ignore, .closed = lose};
    static struct measurement measurement;
    uint32_t count = options->connections;
    struct client *clients = allocate(count, sizeof *clients);
    struct target target;
    struct probe probe;

    measurement_prepare(&measurement, &options->server);
    limit_phase("starting the probe");
    probe_start(&probe, options);
    target_find(&target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    for (uint32_t i = 0; i < count; i++)
        clients[i] = (struct client){
            .events = &events,
            .protocol = options->protocol,
            .target = &target,
            .path = member_path(options, i),
            .index = i,
        };

    limit_phase("connecting");
    measurement_begin(&measurement);
    probe_measure(&probe);
    for (uint32_t i = 0; i < count; i++)
        client_open(&clients[i]);
    await_all(count);
    measurement_end(&measurement);

    limit_phase("stopping the probe");
    probe_stop(&probe);
    result_begin(options->mode, options->protocol->name);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", count);
    result_rate("handshakes", count, &measurement);
    result_count("retries", rush.retries);
    result_count("closed", rush.closed);
    result_use(&measurement, "cpu_us_per_operation", count);
    probe_result(&probe);
    result_end();
}
