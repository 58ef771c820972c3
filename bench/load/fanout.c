#include "audience.h"
#include "clock.h"
#include "fault.h"
#include "measurement.h"
#include "memory.h"
#include "modes.h"
#include "sending.h"

/* What a publisher puts into one write, in a closed loop. */
#define WRITTEN_AT_ONCE 16

/* Without anything to send, the loop waits for events this long at most. */
#define REST_NS (100 * NS_PER_MS)

/* What has been delivered is acknowledged by then. */
#define ACKNOWLEDGE_NS (5 * NS_PER_S)

/* A message of the closed loop that some members have not got yet. */
struct flight {
    uint32_t publisher, group, sequence;
    uint32_t missing;
};

struct fanout {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct audience audience;
    struct sending sending;
    const struct options *options;
    struct client *publishers;
    struct client *idle_readers;
    uint32_t next_publisher, next_group;
    /* Open loop: when it began, and the bursts sent since. */
    uint64_t began_ns, bursts;
    /* Closed loop: places for messages in flight, and those of them that are free. */
    struct flight *flights;
    uint32_t *free;
    uint32_t free_count;
};

static struct fanout *fanout_of(struct audience *audience)
{
    return (struct fanout *)audience;
}

static void land(struct fanout *fanout, struct flight *flight)
{
    if (--flight->missing == 0)
        fanout->free[fanout->free_count++] = (uint32_t)(flight - fanout->flights);
}

static void arrived(struct member *member, const struct marker *marker)
{
    struct fanout *fanout = fanout_of(member->audience);

    if (marker->flight < fanout->options->window)
        land(fanout, &fanout->flights[marker->flight]);
}

static void skipped(struct member *member, const struct marker *marker, uint32_t first)
{
    struct fanout *fanout = fanout_of(member->audience);

    for (uint32_t i = 0; i < fanout->options->window; i++) {
        struct flight *flight = &fanout->flights[i];

        if (flight->missing && flight->publisher == marker->publisher && flight->group == marker->group &&
            flight->sequence >= first && flight->sequence < marker->sequence)
            land(fanout, flight);
    }
}

static void left(struct member *member)
{
    struct fanout *fanout = fanout_of(member->audience);
    uint32_t memberships = fanout->audience.memberships;

    for (uint32_t i = 0; i < fanout->options->window; i++) {
        struct flight *flight = &fanout->flights[i];
        uint32_t place = membership(member, flight->group);

        if (flight->missing && place < memberships &&
            member->streams[flight->publisher * memberships + place].last < flight->sequence)
            land(fanout, flight);
    }
}

/* The next group in turn that still has members: while there are any at all, there is one. */
static uint32_t choose_group(struct fanout *fanout)
{
    uint32_t group;

    do {
        group = fanout->next_group;
        fanout->next_group = (group + 1) % fanout->audience.groups;
    } while (!fanout->audience.group_sizes[group]);
    return group;
}

static uint32_t choose_publisher(struct fanout *fanout)
{
    uint32_t publisher = fanout->next_publisher;

    fanout->next_publisher = (publisher + 1) % fanout->options->publishers;
    return publisher;
}

/* Send what is due. Returns when the next burst is. */
static uint64_t send_paced(struct fanout *fanout, uint64_t now)
{
    double interval_ns = 1e9 * fanout->options->burst / fanout->options->rate;
    uint64_t due_ns;

    while ((due_ns = fanout->began_ns + (uint64_t)((double)fanout->bursts * interval_ns)) <= now) {
        struct marker marker = {.publisher = choose_publisher(fanout), .scheduled_ns = due_ns};
        struct client *publisher = &fanout->publishers[marker.publisher];

        for (uint32_t i = 0; i < fanout->options->burst; i++) {
            marker.group = choose_group(fanout);
            sending_publish(&fanout->sending, publisher, &marker);
        }
        connection_flush(&publisher->connection);
        fanout->bursts++;
    }
    return due_ns;
}

static void send_some(struct fanout *fanout, uint32_t count)
{
    struct marker marker = {.publisher = choose_publisher(fanout), .scheduled_ns = now_ns()};
    struct client *publisher = &fanout->publishers[marker.publisher];

    for (uint32_t i = 0; i < count; i++) {
        marker.flight = fanout->free[--fanout->free_count];
        marker.group = choose_group(fanout);
        sending_publish(&fanout->sending, publisher, &marker);
        fanout->flights[marker.flight] = (struct flight){
            .publisher = marker.publisher,
            .group = marker.group,
            .sequence = marker.sequence,
            .missing = fanout->audience.group_sizes[marker.group],
        };
    }
    connection_flush(&publisher->connection);
}

/* Fill the window. Returns when to look again; events come first. */
static uint64_t send_windowed(struct fanout *fanout, uint64_t now)
{
    while (fanout->free_count) {
        /* An equal share of what is free: with many publishers messages come singly, and not all from one. */
        uint32_t share = (fanout->free_count + fanout->options->publishers - 1) / fanout->options->publishers;

        send_some(fanout, share < WRITTEN_AT_ONCE ? share : WRITTEN_AT_ONCE);
    }
    return now + REST_NS;
}

static void run_until(struct fanout *fanout, uint64_t end_ns)
{
    bool paced = fanout->options->rate > 0;
    uint64_t now;

    while ((now = now_ns()) < end_ns) {
        uint64_t next_ns = paced ? send_paced(fanout, now) : send_windowed(fanout, now);

        loop_turn((next_ns < end_ns ? next_ns : end_ns) - now);
    }
}

static uint64_t count_under_way(const struct fanout *fanout)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < fanout->options->publishers; i++)
        count += fanout->publishers[i].under_way;
    return count;
}

/* Wait for the deliveries in flight, and for acknowledgements that are still due. Returns how many deliveries came. */
static uint64_t drain(struct fanout *fanout)
{
    uint64_t late = sending_drain(&fanout->sending);
    uint64_t end_ns = now_ns() + ACKNOWLEDGE_NS;

    while (count_under_way(fanout) && now_ns() < end_ns)
        loop_turn(REST_NS);
    return late;
}

static struct client *first_publisher(struct audience *audience, uint32_t group)
{
    (void)group;
    return &fanout_of(audience)->publishers[0];
}

/* They may well be cut; not all of it can be seen, since what the server says last stands behind what is not read. */
static void lose_idle_reader(struct client *client, const char *why)
{
    if (client->phase != CLIENT_READY)
        client_lost(client, why);
}

static void stop_reading(struct client *client)
{
    connection_stop_reading(&client->connection);
}

/* Make the publishers and the members that never read, and put them before the members in the list to open. */
static struct client *make_others(struct fanout *fanout, const struct target *target)
{
    static const struct client_events publisher_events = {.delivered = client_ignore, .closed = client_lost};
    static const struct client_events idle_reader_events = {
        .ready = stop_reading, .delivered = client_ignore, .closed = lose_idle_reader};
    const struct options *options = fanout->options;
    struct client *list = &fanout->audience.members[0].client;

    fanout->publishers = allocate(options->publishers, sizeof *fanout->publishers);
    for (uint32_t i = options->publishers; i-- > 0;) {
        fanout->publishers[i] = (struct client){
            .events = &publisher_events,
            .protocol = publisher_protocol(options),
            .target = target,
            .path = publisher_path(options, i),
            .next = list,
            .index = options->members + options->idle_readers + i,
        };
        list = &fanout->publishers[i];
    }
    fanout->idle_readers = allocate(options->idle_readers, sizeof *fanout->idle_readers);
    for (uint32_t i = options->idle_readers; i-- > 0;) {
        fanout->idle_readers[i] = (struct client){
            .events = &idle_reader_events,
            .protocol = options->protocol,
            .target = target,
            .path = member_path(options, options->members + i),
            .next = list,
            .index = options->members + i,
            .first_group = i % options->groups,
            .groups = options->groups,
            .joins = options->memberships,
        };
        list = &fanout->idle_readers[i];
    }
    return list;
}

static void make_window(struct fanout *fanout)
{
    uint32_t window = fanout->options->window;

    fanout->flights = allocate(window, sizeof *fanout->flights);
    fanout->free = allocate(window, sizeof *fanout->free);
    for (uint32_t i = 0; i < window; i++)
        fanout->free[fanout->free_count++] = window - 1 - i;
    fanout->audience.arrived = arrived;
    fanout->audience.skipped = skipped;
    fanout->audience.left = left;
}

static void check(const struct options *options)
{
    if (!options->members || !options->memberships)
        fail("--members, --memberships: somebody must be in a group");
    if (options->groups > options->members + options->memberships - 1)
        fail("--groups: %u members in %u groups each cannot fill %u groups", options->members, options->memberships,
             options->groups);
}

void run_fanout(struct options *options)
{
    static struct fanout fanout;
    static struct measurement measurement;
    struct tally tally;
    struct target target;
    struct audience *audience = &fanout.audience;

    check(options);
    fanout.options = options;
    target_find(&target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    measurement_prepare(&measurement, &options->server);
    audience_make(audience, options, &target, options->members, options->groups, options->publishers);
    sending_make(&fanout.sending, audience, options->size);
    clients_open(make_others(&fanout, &target), HANDSHAKES_AT_ONCE);
    if (!options->protocol->confirms_joins)
        sending_probe(&fanout.sending, first_publisher);

    limit_phase("sending");
    if (options->rate == 0)
        make_window(&fanout);
    fanout.began_ns = now_ns();
    run_until(&fanout, fanout.began_ns + ns_of(options->warmup_s));

    tally_begin(&tally, &fanout.sending, &measurement);
    run_until(&fanout, measurement.began_ns + ns_of(options->duration_s));
    tally_end(&tally, &fanout.sending, &measurement);
    uint64_t late = drain(&fanout);
    if (!audience->delivered)
        fail("of %llu messages none was delivered", (unsigned long long)fanout.sending.sent);

    result_begin(options->mode, options->protocol->name);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", options->members);
    result_count("publishers", options->publishers);
    result_count("sent", tally.sent);
    result_count("carried", tally.carried);
    result_count("expected", tally.expected);
    result_rate("deliveries", tally.delivered, &measurement);
    result_count("late", late);
    result_count("unacknowledged", count_under_way(&fanout));
    audience_result(audience);
    result_use(&measurement, "cpu_us_per_delivery", tally.delivered);
    result_latency("latency_us", &audience->latency);
    result_end();
}
