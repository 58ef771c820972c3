#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "clock.h"
#include "cpu.h"
#include "fault.h"
#include "measurement.h"
#include "memory.h"
#include "modes.h"

/* Half a megabyte more than two rounds may be under way: so the reader always has work, and no send is cut short. */
#define UNDER_WAY_BYTES (512 * 1024)
#define READ_BYTES (256 * 1024)
#define EVENTS_AT_ONCE 256

struct pairs {
    int *senders;
    int *readers;
    uint32_t count;
};

static void make_pair(int listener, const struct sockaddr_in *address, int *sender, int *reader)
{
    int yes = 1;

    *reader = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*reader < 0 || connect(*reader, (const struct sockaddr *)address, sizeof *address))
        fail("connect: %s", strerror(errno));
    *sender = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (*sender < 0)
        fail("accept: %s", strerror(errno));
    setsockopt(*sender, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static struct pairs make_pairs(uint32_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct pairs pairs = {.count = count};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        fail("listen: %s", strerror(errno));
    pairs.senders = allocate(count, sizeof *pairs.senders);
    pairs.readers = allocate(count, sizeof *pairs.readers);
    for (uint32_t i = 0; i < count; i++)
        make_pair(listener, &address, &pairs.senders[i], &pairs.readers[i]);
    close(listener);
    return pairs;
}

/* Wait for these sockets; which one it is tells `data.u32`, its place. */
static int watch_all(const int *sockets, uint32_t count)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll < 0)
        fail("epoll: %s", strerror(errno));
    for (uint32_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event))
            fail("epoll: %s", strerror(errno));
    }
    return epoll;
}

static void answer(int reader, const char *text, uint32_t size, uint64_t count)
{
    while (count--)
        if (send(reader, text, size, MSG_NOSIGNAL) != (ssize_t)size)
            fail("answer: %s", strerror(errno));
}

/* Read all that comes, until killed, tell how much that was, and answer each send if that is wanted. */
static void read_forever(const struct pairs *pairs, const struct options *options, _Atomic uint64_t *bytes_read)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    char *buffer = allocate(READ_BYTES, 1);
    char *text = allocate(options->answer, 1);
    uint64_t *received = allocate(pairs->count, sizeof *received);
    int epoll = watch_all(pairs->readers, pairs->count);

    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_AT_ONCE, -1);

        for (int i = 0; i < count; i++) {
            uint32_t place = events[i].data.u32;
            ssize_t length = recv(pairs->readers[place], buffer, READ_BYTES, MSG_DONTWAIT);

            if (length <= 0)
                continue;
            uint64_t before = received[place] / options->size;
            received[place] += (uint64_t)length;
            atomic_fetch_add_explicit(bytes_read, (uint64_t)length, memory_order_relaxed);
            if (options->answer)
                answer(pairs->readers[place], text, options->answer, received[place] / options->size - before);
        }
    }
}

/* The sender's part of what readers answer. */
struct answers {
    /* -1 if they do not answer. */
    int epoll;
    uint64_t bytes;
};

/* Wait for some time, and read what is answered: once at least. */
static void pass_time(const struct pairs *pairs, struct answers *answers, uint64_t duration_ns)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    char buffer[4096];
    uint64_t now = now_ns();
    uint64_t end_ns = now + duration_ns;

    if (answers->epoll < 0) {
        sleep_ns(duration_ns);
        return;
    }
    do {
        struct timespec timeout = timespec_of(end_ns - now);
        int count = epoll_pwait2(answers->epoll, events, EVENTS_AT_ONCE, &timeout, NULL);

        for (int i = 0; i < count; i++) {
            ssize_t length = recv(pairs->senders[events[i].data.u32], buffer, sizeof buffer, MSG_DONTWAIT);

            if (length > 0)
                answers->bytes += (uint64_t)length;
        }
    } while ((now = now_ns()) < end_ns);
}

static void send_round(const struct pairs *pairs, const char *payload, uint32_t size)
{
    for (uint32_t i = 0; i < pairs->count; i++) {
        ssize_t sent = send(pairs->senders[i], payload, size, MSG_NOSIGNAL);

        if (sent != (ssize_t)size)
            fail("send: %s", sent < 0 ? strerror(errno) : "cut short");
    }
}

/* Send round after round until `end_ns`. Returns how many. */
static uint64_t send_rounds(const struct pairs *pairs, const struct options *options, uint64_t end_ns,
                            uint64_t *bytes_sent, _Atomic uint64_t *bytes_read, struct answers *answers)
{
    char *payload = allocate(options->size, 1);
    uint64_t round_bytes = (uint64_t)pairs->count * options->size;
    uint64_t began_ns = now_ns();
    uint64_t rounds = 0;
    uint64_t now;

    memset(payload, 'x', options->size);
    while ((now = now_ns()) < end_ns) {
        uint64_t due_ns = options->rate > 0 ? began_ns + (uint64_t)((double)rounds * 1e9 / options->rate) : 0;

        if (due_ns > now) {
            pass_time(pairs, answers, (due_ns < end_ns ? due_ns : end_ns) - now);
            continue;
        }
        if (*bytes_sent - atomic_load(bytes_read) > 2 * round_bytes + UNDER_WAY_BYTES) {
            pass_time(pairs, answers, NS_PER_MS / 10);
            continue;
        }
        send_round(pairs, payload, options->size);
        *bytes_sent += round_bytes;
        rounds++;
        if (answers->epoll >= 0)
            pass_time(pairs, answers, 0);
    }
    free(payload);
    return rounds;
}

void run_floor(struct options *options)
{
    static struct measurement measurement;
    _Atomic uint64_t *bytes_read = allocate_shared(sizeof *bytes_read);
    struct pairs pairs = make_pairs(options->connections);
    struct answers answers = {.epoll = -1};
    uint64_t bytes_sent = 0;

    limit_phase("sending to sockets");
    if (child_start() == 0) {
        run_on_cpu(options->reader_cpu);
        read_forever(&pairs, options, bytes_read);
    }
    run_on_cpu(options->sender_cpu);
    if (options->answer)
        answers.epoll = watch_all(pairs.senders, pairs.count);
    send_rounds(&pairs, options, now_ns() + ns_of(options->warmup_s), &bytes_sent, bytes_read, &answers);

    measurement_prepare(&measurement, &options->server);
    measurement_begin(&measurement);
    uint64_t rounds =
        send_rounds(&pairs, options, measurement.began_ns + ns_of(options->duration_s), &bytes_sent, bytes_read,
                    &answers);
    measurement_end(&measurement);
    if (!rounds)
        fail("not even one round was sent in the measured time");
    if (options->answer && !answers.bytes)
        fail("nothing was answered");

    uint64_t sends = rounds * pairs.count;
    result_begin(options->mode, NULL);
    result_number("seconds", measured_s(&measurement));
    result_count("connections", pairs.count);
    result_count("sent", sends);
    if (options->answer)
        result_count("answered", answers.bytes / options->answer);
    result_number("cpu_us_per_operation", (double)measurement.own_cpu_ns / 1e3 / (double)sends);
    result_number("generator_cpu", (double)measurement.own_cpu_ns / 1e9 / measured_s(&measurement));
    result_end();
}
