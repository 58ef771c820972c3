#include <stdatomic.h>

#include "audience.h"
#include "child.h"
#include "clock.h"
#include "fault.h"
#include "measurement.h"
#include "memory.h"
#include "modes.h"
#include "probe.h"

/* The server is quiet when it uses less than this share of a core, in this time, beyond what the probe costs it. */
#define QUIET_SHARE 0.02
#define QUIET_NS (200 * NS_PER_MS)
#define BASELINE_NS (500 * NS_PER_MS)

/* Be the members until killed. */
static void hold_members(const struct options *options, atomic_bool *ready)
{
    static struct audience audience;
    struct target target;

    target_find(&target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    audience_make(&audience, options, &target, options->connections, options->groups, 1);
    clients_open(&audience.members[0].client, HANDSHAKES_AT_ONCE);
    atomic_store(ready, true);
    for (;;)
        loop_turn(NS_PER_S);
}

/* The share of a core that the server uses over some time. */
static double server_share(const struct server *server, uint64_t duration_ns)
{
    uint64_t cpu_ns = server_cpu_ns(server, 0);
    uint64_t began_ns = now_ns();

    sleep_ns(duration_ns);
    /* Never less than before, unless one of its processes has ended meanwhile. */
    double used_ns = (double)server_cpu_ns(server, 0) - (double)cpu_ns;
    return used_ns / (double)(now_ns() - began_ns);
}

/* Returns when it began to be quiet. */
static uint64_t await_quiet(const struct server *server, double baseline)
{
    uint64_t since_ns;

    do
        since_ns = now_ns();
    while (server_share(server, QUIET_NS) - baseline >= QUIET_SHARE);
    return since_ns;
}

void run_disconnect(struct options *options)
{
    static struct measurement measurement;
    atomic_bool *ready = allocate_shared(sizeof *ready);
    struct probe probe;

    if (!options->server.root_count)
        fail("disconnect needs --pid: it ends when the server is quiet");
    measurement_prepare(&measurement, &options->server);
    limit_phase("connecting and joining");
    int holder = child_start();
    if (holder == 0)
        hold_members(options, ready);
    child_await(holder, ready);

    limit_phase("starting the probe");
    probe_start(&probe, options);
    sleep_ns(ns_of(options->settle_s));
    double baseline = server_share(&options->server, BASELINE_NS);

    limit_phase("waiting until the server is quiet");
    measurement_begin(&measurement);
    probe_measure(&probe);
    child_kill(holder);
    uint64_t quiet_ns = await_quiet(&options->server, baseline);
    measurement_end(&measurement);
    double probe_cpu_ns = baseline * (double)(measurement.ended_ns - measurement.began_ns);
    double crowd_cpu_ns = (double)measurement.server_cpu_ns - probe_cpu_ns;
    measurement.server_cpu_ns = crowd_cpu_ns > 0 ? (uint64_t)crowd_cpu_ns : 0;
    measurement.ended_ns = quiet_ns;

    limit_phase("stopping the probe");
    probe_stop(&probe);
    result_begin(options->mode, options->protocol->name);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", options->connections);
    result_use(&measurement, "cpu_us_per_operation", options->connections);
    probe_result(&probe);
    result_end();
}
