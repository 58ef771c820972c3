#include "audience.h"
#include "child.h"
#include "clock.h"
#include "fault.h"
#include "handler.h"
#include "measurement.h"
#include "modes.h"
#include "sending.h"

struct echo {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct audience audience;
    struct sending sending;
    bool over;
};

/* Each member is publisher 0 of its group, the number of which is its own. */
static void send_next(struct member *member)
{
    struct echo *echo = (struct echo *)member->audience;
    struct marker marker = {.group = member->client.index, .scheduled_ns = now_ns()};

    sending_publish(&echo->sending, &member->client, &marker);
}

static void arrived(struct member *member, const struct marker *marker)
{
    (void)marker;
    /* What is appended here is sent when all that was read is handled. */
    if (!((struct echo *)member->audience)->over)
        send_next(member);
}

static struct client *owner(struct audience *audience, uint32_t group)
{
    return &audience->members[group].client;
}

void run_echo(struct options *options)
{
    static struct echo echo;
    static struct measurement measurement;
    struct tally tally;
    struct target target;
    struct audience *audience = &echo.audience;
    uint32_t count = options->connections;
    int handler = 0;

    if (count > UINT16_MAX)
        fail("--connections: '%u' is more than there are groups", count);
    if (options->protocol->publishers)
        fail("echo cannot use %s: its members do not publish", options->protocol->name);
    options->memberships = 1;
    if (options->handler_port) {
        handler = handler_start(options->handler_port);
        measurement_helper(handler);
    }
    target_find(&target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    measurement_prepare(&measurement, &options->server);
    audience_make(audience, options, &target, count, count, 1);
    sending_make(&echo.sending, audience, options->size);
    clients_open(&audience->members[0].client, HANDSHAKES_AT_ONCE);
    if (!options->protocol->confirms_joins)
        sending_probe(&echo.sending, owner);

    limit_phase("sending");
    audience->arrived = arrived;
    for (uint32_t i = 0; i < count; i++) {
        send_next(&audience->members[i]);
        connection_flush(&audience->members[i].client.connection);
    }
    loop_until(now_ns() + ns_of(options->warmup_s));

    tally_begin(&tally, &echo.sending, &measurement);
    loop_until(measurement.began_ns + ns_of(options->duration_s));
    tally_end(&tally, &echo.sending, &measurement);
    echo.over = true;
    uint64_t late = sending_drain(&echo.sending);
    if (handler)
        child_kill(handler);
    if (!audience->delivered)
        fail("of %llu messages none came back", (unsigned long long)echo.sending.sent);

    result_begin(options->mode, options->protocol->name);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", count);
    result_count("sent", tally.sent);
    result_count("carried", tally.carried);
    result_count("expected", tally.expected);
    result_rate("deliveries", tally.delivered, &measurement);
    result_count("late", late);
    audience_result(audience);
    result_use(&measurement, "cpu_us_per_delivery", tally.delivered);
    result_latency("latency_us", &audience->latency);
    result_end();
}
