/*
 * Publishers that each wait for what the server says to their publications. What counts is how many it acknowledges,
 * and how long that takes; that the members get them is looked at as well.
 */
#include "audience.h"
#include "clock.h"
#include "fault.h"
#include "measurement.h"
#include "memory.h"
#include "modes.h"
#include "sending.h"

#define TURN_NS (20 * NS_PER_MS)
#define DRAIN_NS (10 * NS_PER_S)

struct publisher {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct client client;
    struct publishing *publishing;
    uint32_t number;
    /* When those under way were sent, in a ring, and the place of the oldest. */
    uint64_t *sent_ns;
    uint32_t oldest;
};

struct publishing {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct audience audience;
    struct sending sending;
    const struct options *options;
    struct publisher *publishers;
    bool over;
    uint64_t acknowledged;
    struct histogram latency;
};

static void publish(struct publisher *publisher)
{
    struct publishing *publishing = publisher->publishing;
    uint32_t place = (publisher->oldest + publisher->client.under_way) % publishing->options->window;
    struct marker marker = {.publisher = publisher->number, .scheduled_ns = now_ns()};

    marker.group = publisher->number % publishing->audience.groups;
    publisher->sent_ns[place] = marker.scheduled_ns;
    sending_publish(&publishing->sending, &publisher->client, &marker);
}

static void acknowledged(struct client *client)
{
    struct publisher *publisher = (struct publisher *)client;
    struct publishing *publishing = publisher->publishing;
    uint64_t sent_ns = publisher->sent_ns[publisher->oldest];

    publisher->oldest = (publisher->oldest + 1) % publishing->options->window;
    publishing->acknowledged++;
    if (sent_ns >= publishing->audience.measured_from_ns)
        histogram_record(&publishing->latency, read_at_ns - sent_ns);
    /* What is appended here is sent when all that was read is handled. */
    if (!publishing->over)
        publish(publisher);
}

static void make_publishers(struct publishing *publishing, const struct target *target)
{
    static const struct client_events events = {
        .delivered = client_ignore, .acknowledged = acknowledged, .closed = client_lost};
    const struct options *options = publishing->options;
    uint64_t *all_sent_ns = allocate((size_t)options->publishers * options->window, sizeof *all_sent_ns);

    publishing->publishers = allocate(options->publishers, sizeof *publishing->publishers);
    for (uint32_t i = 0; i < options->publishers; i++)
        publishing->publishers[i] = (struct publisher){
            .client =
                {
                    .events = &events,
                    .protocol = publisher_protocol(options),
                    .target = target,
                    .path = publisher_path(options, i),
                    .next = i + 1 < options->publishers ? &publishing->publishers[i + 1].client : NULL,
                    .index = options->members + i,
                },
            .publishing = publishing,
            .number = i,
            .sent_ns = all_sent_ns + (size_t)i * options->window,
        };
}

static uint64_t count_under_way(const struct publishing *publishing)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < publishing->options->publishers; i++)
        count += publishing->publishers[i].client.under_way;
    return count;
}

/* Wait for what is under way, and then for its deliveries. Returns how many of these came. */
static uint64_t drain(struct publishing *publishing)
{
    uint64_t delivered = publishing->audience.delivered;
    uint64_t end_ns = now_ns() + DRAIN_NS;

    publishing->over = true;
    limit_phase("waiting for acknowledgements");
    while (count_under_way(publishing) && now_ns() < end_ns)
        loop_turn(TURN_NS);
    sending_drain(&publishing->sending);
    return publishing->audience.delivered - delivered;
}

/* All members go, and nothing is expected of them; what is sent to them waits with the server. */
static void leave(struct audience *audience)
{
    for (uint32_t i = 0; i < audience->count; i++)
        connection_close(&audience->members[i].client.connection);
    for (uint32_t i = 0; i < audience->groups; i++)
        audience->group_sizes[i] = 0;
}

static void check(const struct options *options)
{
    if (options->away && !options->protocol->kept)
        fail("--away: sessions of %s end with their connections", options->protocol->name);
    if (!publisher_protocol(options)->confirms_publications)
        fail("publish cannot use %s: it does not acknowledge what is published", options->protocol->name);
    if (options->rate > 0)
        fail("--rate: publish has no open loop");
    if (options->members && options->groups > options->members)
        fail("--groups: %u members cannot fill %u groups", options->members, options->groups);
}

void run_publish(struct options *options)
{
    static struct publishing publishing;
    static struct measurement measurement;
    struct tally tally;
    struct target target;
    struct audience *audience = &publishing.audience;

    check(options);
    options->memberships = 1;
    publishing.options = options;
    target_find(&target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    measurement_prepare(&measurement, &options->server);
    audience_make(audience, options, &target, options->members, options->groups, options->publishers);
    sending_make(&publishing.sending, audience, options->size);
    make_publishers(&publishing, &target);
    clients_open(options->members ? &audience->members[0].client : NULL, HANDSHAKES_AT_ONCE);
    if (options->away)
        leave(audience);
    clients_open(&publishing.publishers[0].client, HANDSHAKES_AT_ONCE);

    limit_phase("publishing");
    for (uint32_t i = 0; i < options->publishers; i++) {
        for (uint32_t k = 0; k < options->window; k++)
            publish(&publishing.publishers[i]);
        connection_flush(&publishing.publishers[i].client.connection);
    }
    loop_until(now_ns() + ns_of(options->warmup_s));
    tally_begin(&tally, &publishing.sending, &measurement);
    uint64_t acknowledged_before = publishing.acknowledged;
    loop_until(measurement.began_ns + ns_of(options->duration_s));
    uint64_t count = publishing.acknowledged - acknowledged_before;
    tally_end(&tally, &publishing.sending, &measurement);
    uint64_t late = drain(&publishing);

    if (!publishing.acknowledged)
        fail("of %llu publications none was acknowledged", (unsigned long long)publishing.sending.sent);
    result_begin(options->mode, options->protocol->name);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", options->members + options->publishers);
    result_count("publishers", options->publishers);
    result_count("sent", tally.sent);
    result_rate("operations", count, &measurement);
    result_count("carried", tally.carried);
    result_count("expected", tally.expected);
    result_rate("deliveries", tally.delivered, &measurement);
    result_count("late", late);
    result_count("unacknowledged", count_under_way(&publishing));
    audience_result(audience);
    result_use(&measurement, "cpu_us_per_operation", count);
    result_latency("latency_us", &publishing.latency);
    result_latency("delivery_latency_us", &audience->latency);
    result_end();
}
