#include "probe.h"

#include <stdlib.h>

#include "audience.h"
#include "child.h"
#include "clock.h"
#include "cpu.h"
#include "measurement.h"
#include "memory.h"
#include "sending.h"

/* Where both processes write what the other one reads. */
struct probe_board {
    atomic_bool ready, stop, done;
    _Atomic uint64_t measured_from_ns;
    /* Written before `done`. */
    uint64_t lost;
    struct histogram latency;
};

static struct client *only_member(struct audience *audience, uint32_t group)
{
    (void)group;
    return &audience->members[0].client;
}

/* An audience of one, in the group behind those of the others. */
static void make_audience(struct audience *audience, const struct options *options, const struct target *target)
{
    struct options own = *options;
    uint32_t group = options->groups;

    own.memberships = 1;
    own.protocol = publisher_protocol(options);
    audience_make(audience, &own, target, 1, group + 1, 1);
    audience->group_sizes[0] = 0;
    audience->group_sizes[group] = 1;
    audience->members[0].client.first_group = group;
    audience->members[0].client.path = publisher_path(options, 0);
}

static void send_until_stopped(struct sending *sending, struct probe_board *board, uint64_t interval_ns)
{
    struct audience *audience = sending->audience;
    struct client *client = &audience->members[0].client;
    struct marker marker = {.group = audience->groups - 1, .scheduled_ns = now_ns()};

    while (!atomic_load(&board->stop)) {
        uint64_t now = now_ns();

        audience->measured_from_ns = atomic_load(&board->measured_from_ns);
        if (marker.scheduled_ns > now) {
            loop_turn(marker.scheduled_ns - now);
            continue;
        }
        sending_publish(sending, client, &marker);
        connection_flush(&client->connection);
        marker.scheduled_ns += interval_ns;
    }
}

static void run_probe(struct probe_board *board, const struct options *options)
{
    static struct audience audience;
    static struct sending sending;
    struct target target;

    target_find(&target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    make_audience(&audience, options, &target);
    sending_make(&sending, &audience, options->size);
    clients_open(&audience.members[0].client, 1);
    sending_probe(&sending, only_member);
    /* What is measured is the server: not how the system shares a core between the crowd and us. */
    run_first();
    atomic_store(&board->ready, true);
    send_until_stopped(&sending, board, ns_of(options->probe_interval_ms / 1e3));
    sending_drain(&sending);
    board->lost = audience.expected - audience.delivered;
    board->latency = audience.latency;
    atomic_store(&board->done, true);
    exit(0);
}

void probe_start(struct probe *probe, const struct options *options)
{
    probe->board = allocate_shared(sizeof *probe->board);
    atomic_store(&probe->board->measured_from_ns, UINT64_MAX);
    probe->child = child_start();
    if (probe->child == 0)
        run_probe(probe->board, options);
    child_await(probe->child, &probe->board->ready);
}

void probe_measure(struct probe *probe)
{
    atomic_store(&probe->board->measured_from_ns, now_ns());
}

void probe_stop(struct probe *probe)
{
    atomic_store(&probe->board->stop, true);
    child_await(probe->child, &probe->board->done);
}

void probe_result(const struct probe *probe)
{
    const struct probe_board *board = probe->board;

    result_count("lost", board->lost);
    result_latency("latency_us", &board->latency);
}
