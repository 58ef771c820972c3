/*
 * A load generator for servers of groups and messages over WebSocket: one thread, one epoll, so that it costs little
 * beside the server that it measures. What it can do and what it prints is told by --help and in docs/performance.md.
 */
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "client.h"
#include "cpu.h"
#include "fault.h"
#include "modes.h"
#include "options.h"

static const struct mode {
    const char *name;
    void (*run)(struct options *options);
    bool needs_server;
} modes[] = {
    {"fanout", run_fanout, true}, {"echo", run_echo, true},
    {"idle", run_idle, true},     {"churn", run_churn, true},
    {"connect", run_connect, true}, {"disconnect", run_disconnect, true},
    {"calls", run_calls, true},   {"publish", run_publish, true},
    {"floor", run_floor, false},
};

static const struct mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (!strcmp(modes[i].name, name))
            return &modes[i];
    fail("there is no mode '%s'; --help shows what there is", name);
}

static void allow_many_files(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int count, char **arguments)
{
    static struct options options;

    options_read(&options, count, arguments);
    const struct mode *mode = find_mode(options.mode);
    if (mode->needs_server && !options.address)
        fail("%s needs --address HOST:PORT", mode->name);
    if (mode->needs_server && !options.protocol)
        fail("%s needs --protocol, one of %s", mode->name, protocol_names());

    limit_begin(options.limit_s);
    clients_keep_alive(options.keep_alive_s);
    allow_many_files();
    /* Else the kernel may wake us 50 us after a message was due. */
    prctl(PR_SET_TIMERSLACK, 1);
    run_on_cpu(options.cpu);
    mode->run(&options);
    return 0;
}
