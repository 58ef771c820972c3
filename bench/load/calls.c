#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audience.h"
#include "clock.h"
#include "fault.h"
#include "http.h"
#include "measurement.h"
#include "memory.h"
#include "modes.h"
#include "sending.h"

#define TURN_NS (100 * NS_PER_MS)
#define DRAIN_NS (10 * NS_PER_S)
#define CONNECT_NS (10 * NS_PER_S)

/* A kept-alive connection with at most one call in flight; publisher of what it sends. */
struct caller {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct connection connection;
    struct calls *calls;
    uint32_t index;
    bool calling;
    struct marker marker;
    /* Deliveries that the call in flight is to lead to. */
    uint32_t expected;
};

struct calls {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct audience audience;
    struct sending sending;
    const struct options *options;
    struct target target;
    /* The request without its body, the same for all. */
    struct bytes head;
    struct caller *callers;
    /* Callers without a call, the longest idle last: they wait for a call to be due. */
    struct caller **idle;
    uint32_t idle_count;
    bool over;
    /* Open loop: when it began, and the calls made since. */
    uint64_t began_ns, made;
    /* Of the requests that were given, sent so far. */
    uint64_t requested;
    uint64_t answered, cut;
    struct histogram latency;
    char first_error[256];
};

/* What is sent for a call: the next one of the requests that were given, or ours with the payload for all members. */
static void append_request(struct caller *caller)
{
    struct calls *calls = caller->calls;
    const struct paths *requests = &calls->options->requests;
    struct bytes *unsent = &caller->connection.unsent;

    if (requests->count) {
        const char *request = requests->lines[calls->requested++ % requests->count];

        bytes_append(unsent, request, strlen(request));
        return;
    }
    bytes_append(unsent, calls->head.data, calls->head.length);
    bytes_append(unsent, sending_compose(&calls->sending, &caller->marker), calls->sending.size);
}

static void call(struct caller *caller, uint64_t scheduled_ns)
{
    caller->calling = true;
    caller->expected = caller->calls->audience.group_sizes[0];
    caller->marker = (struct marker){.publisher = caller->index, .scheduled_ns = scheduled_ns};
    append_request(caller);
    connection_flush(&caller->connection);
}

/* Make the calls that are due, as far as there are idle callers. Returns when the next one is. */
static uint64_t make_calls(struct calls *calls, uint64_t now)
{
    double interval_ns = 1e9 / calls->options->rate;
    uint64_t due_ns;

    while ((due_ns = calls->began_ns + (uint64_t)((double)calls->made * interval_ns)) <= now && calls->idle_count) {
        call(calls->idle[--calls->idle_count], due_ns);
        calls->made++;
    }
    return due_ns > now ? due_ns : now + TURN_NS;
}

/* Without a rate the next call follows at once. */
static void become_idle(struct caller *caller)
{
    struct calls *calls = caller->calls;

    caller->calling = false;
    if (calls->over || calls->began_ns == 0)
        calls->idle[calls->idle_count++] = caller;
    else if (calls->options->rate == 0)
        call(caller, now_ns());
    else {
        calls->idle[calls->idle_count++] = caller;
        make_calls(calls, now_ns());
    }
}

static void count_error(struct caller *caller, const char *what, size_t length)
{
    struct calls *calls = caller->calls;

    calls->audience.errors++;
    if (!calls->first_error[0])
        snprintf(calls->first_error, sizeof calls->first_error, "%.*s", (int)length, what);
    if (!calls->options->requests.count)
        sending_withdraw(&calls->sending, &caller->marker, caller->expected);
}

/*
 * The length of an answer, 0 if it has not come whole yet. Only what a server answers to a call is understood: a body
 * of a length that is told, or none.
 */
static size_t answer_length(const char *bytes, size_t length, int *status)
{
    struct http_head head;

    if (!http_read_head(bytes, length, &head))
        return 0;
    if (strncmp(bytes, "HTTP/1.", 7) || head.length < 16)
        fail("the answer to a call is not of HTTP/1.1");
    *status = atoi(bytes + 9);
    if (!head.body_told && *status != 204 && *status != 202)
        fail("the answer to a call, status %d, does not tell its length", *status);
    size_t total = head.length + head.body_length;
    return total <= length ? total : 0;
}

static size_t hear(struct connection *connection, const char *bytes, size_t length)
{
    struct caller *caller = (struct caller *)connection;
    struct calls *calls = caller->calls;
    int status = 0;
    size_t used = answer_length(bytes, length, &status);

    if (!used)
        return 0;
    if (!caller->calling)
        fail("the server answered a call that was not made, with status %d", status);
    if (status / 100 == 2) {
        calls->answered++;
        if (caller->marker.scheduled_ns >= calls->audience.measured_from_ns)
            histogram_record(&calls->latency, read_at_ns - caller->marker.scheduled_ns);
    } else {
        count_error(caller, bytes, strcspn(bytes, "\r"));
    }
    become_idle(caller);
    return used;
}

static void connect_caller(struct caller *caller);

static void connected(struct connection *connection)
{
    become_idle((struct caller *)connection);
}

/* A server may end a kept-alive connection; not one that it has never answered, and not with a call in it. */
static void lose(struct connection *connection, const char *why)
{
    struct caller *caller = (struct caller *)connection;
    struct calls *calls = caller->calls;

    if (connection->connecting || !calls->answered)
        fail("caller %u to %s: %s", caller->index, calls->target.text, why);
    calls->cut++;
    if (caller->calling) {
        count_error(caller, why, strlen(why));
    } else {
        for (uint32_t i = 0; i < calls->idle_count; i++)
            if (calls->idle[i] == caller) {
                calls->idle[i] = calls->idle[--calls->idle_count];
                break;
            }
    }
    connect_caller(caller);
}

static void connect_caller(struct caller *caller)
{
    static const struct connection_events events = {connected, hear, lose};

    connection_open(&caller->connection, &caller->calls->target, caller->index, &events);
}

static void make_head(struct calls *calls)
{
    const struct options *options = calls->options;
    char text[512];
    const char *path = options->path ? options->path : "/";

    bytes_append(&calls->head, "POST ", 5);
    bytes_append(&calls->head, path, strlen(path));
    int length = snprintf(text, sizeof text,
                          " HTTP/1.1\r\nHost: %.200s\r\nContent-Type: text/plain\r\nContent-Length: %u\r\n",
                          calls->target.text, options->size);
    bytes_append(&calls->head, text, (size_t)length);
    for (uint32_t i = 0; i < options->header_count; i++) {
        bytes_append(&calls->head, options->headers[i], strlen(options->headers[i]));
        bytes_append(&calls->head, "\r\n", 2);
    }
    bytes_append(&calls->head, "\r\n", 2);
}

static void make_callers(struct calls *calls)
{
    uint32_t count = calls->options->callers;
    uint64_t end_ns = now_ns() + CONNECT_NS;

    calls->callers = allocate(count, sizeof *calls->callers);
    calls->idle = allocate(count, sizeof(struct caller *));
    for (uint32_t i = 0; i < count; i++) {
        calls->callers[i] = (struct caller){.calls = calls, .index = i};
        connect_caller(&calls->callers[i]);
    }
    while (calls->idle_count < count) {
        if (now_ns() > end_ns)
            fail("%u callers could not connect within 10 s", count - calls->idle_count);
        loop_turn(TURN_NS);
    }
}

static void run_until(struct calls *calls, uint64_t end_ns)
{
    uint64_t now;

    while ((now = now_ns()) < end_ns) {
        uint64_t next_ns = calls->options->rate > 0 ? make_calls(calls, now) : now + TURN_NS;

        loop_turn((next_ns < end_ns ? next_ns : end_ns) - now);
    }
}

static void begin(struct calls *calls)
{
    calls->began_ns = now_ns();
    if (calls->options->rate == 0)
        while (calls->idle_count)
            call(calls->idle[--calls->idle_count], now_ns());
}

/* Wait for the answers to the calls in flight, and then for their messages. Returns how many of these came. */
static uint64_t drain(struct calls *calls)
{
    uint64_t delivered = calls->audience.delivered;
    uint64_t end_ns = now_ns() + DRAIN_NS;

    calls->over = true;
    while (calls->idle_count < calls->options->callers && now_ns() < end_ns)
        loop_turn(TURN_NS / 10);
    sending_drain(&calls->sending);
    return calls->audience.delivered - delivered;
}

void run_calls(struct options *options)
{
    static struct calls calls;
    static struct measurement measurement;
    struct tally tally;
    struct audience *audience = &calls.audience;

    if (options->members && !options->protocol->confirms_joins)
        fail("calls cannot use %s: it does not tell when a member hears its group", options->protocol->name);
    if (options->requests.count && options->members)
        fail("--requests are heard by no members");
    options->groups = options->memberships = 1;
    calls.options = options;
    target_find(&calls.target, options->address);
    loop_begin(options->size + PUBLICATION_BYTES_MORE);
    make_head(&calls);
    measurement_prepare(&measurement, &options->server);
    audience_make(audience, options, &calls.target, options->members, 1, options->callers);
    sending_make(&calls.sending, audience, options->size);
    clients_open(options->members ? &audience->members[0].client : NULL, HANDSHAKES_AT_ONCE);
    limit_phase("connecting the callers");
    make_callers(&calls);

    limit_phase("calling");
    begin(&calls);
    run_until(&calls, calls.began_ns + ns_of(options->warmup_s));
    tally_begin(&tally, &calls.sending, &measurement);
    uint64_t answered = calls.answered;
    run_until(&calls, measurement.began_ns + ns_of(options->duration_s));
    answered = calls.answered - answered;
    tally_end(&tally, &calls.sending, &measurement);
    uint64_t late = drain(&calls);

    if (!calls.answered)
        fail("no call succeeded, the first with: %s", calls.first_error[0] ? calls.first_error : "no answer");
    if (calls.first_error[0])
        notice("the first call that failed: %s", calls.first_error);
    result_begin(options->mode, options->protocol->name);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", options->members);
    result_rate("calls", answered, &measurement);
    result_count("carried", tally.carried);
    result_count("expected", tally.expected);
    result_rate("deliveries", tally.delivered, &measurement);
    result_count("late", late);
    result_count("callers_cut", calls.cut);
    audience_result(audience);
    result_use(&measurement, "cpu_us_per_operation", answered);
    result_latency("latency_us", &calls.latency);
    result_latency("delivery_latency_us", &audience->latency);
    result_end();
}
