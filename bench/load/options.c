#include "options.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "payload.h"
#include "tls.h"

enum kind { TEXT, COUNT, REAL, CPU, HEADER, PID };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    double low, high;
    const char *meaning;
};

#define AT(field) offsetof(struct options, field)
/* A marker has four digits for a publisher and four for a group. */
#define MARKED 65535
#define MANY 1000000
#define DAY_S 86400

static const struct option known[] = {
    {"address", TEXT, AT(address), 0, 0, "HOST:PORT of the server"},
    {"tls", TEXT, AT(tls), 0, 0, "speak TLS, and trust the certificates in this PEM file"},
    {"protocol", TEXT, AT(protocol_name), 0, 0, "what the server speaks"},
    {"path", TEXT, AT(path), 0, 0, "request target of all connections, or of the calls"},
    {"paths", TEXT, AT(paths_file), 0, 0, "file with a request target a line, used in turn"},
    {"publisher-paths", TEXT, AT(publisher_paths_file), 0, 0, "the same for publishers (default: from the end)"},
    {"requests", TEXT, AT(requests_file), 0, 0, "calls: file with whole requests, each ended by a zero, used in turn"},
    {"header", HEADER, 0, 0, 0, "a line 'K: V' for each call; repeatable"},
    {"members", COUNT, AT(members), 0, MANY, "connections that receive"},
    {"groups", COUNT, AT(groups), 1, MARKED, "groups that they are spread over"},
    {"memberships", COUNT, AT(memberships), 0, MARKED, "groups that each member is in"},
    {"publishers", COUNT, AT(publishers), 1, MARKED, "connections that send"},
    {"idle-readers", COUNT, AT(idle_readers), 0, MANY, "further members that never read"},
    {"connections", COUNT, AT(connections), 1, MANY, "connections, in modes without members"},
    {"concurrency", COUNT, AT(concurrency), 1, MANY, "churn: handshakes at once"},
    {"handler", COUNT, AT(handler_port), 1, 65535, "echo: answer what the server asks its event handler, at this port"},
    {"callers", COUNT, AT(callers), 1, MARKED, "calls: connections that call"},
    {"size", COUNT, AT(size), PAYLOAD_BYTES_MIN, 16 << 20, "bytes of payload; floor: of a send"},
    {"rate", REAL, AT(rate), 0, 1e9, "messages, calls or rounds in a second, whatever the server does"},
    {"answer", COUNT, AT(answer), 0, 4096, "floor: bytes with which each reader answers a send"},
    {"burst", COUNT, AT(burst), 1, MARKED, "messages written at once, with --rate"},
    {"window", COUNT, AT(window), 1, MARKED, "messages in flight, without --rate; publish: of each publisher"},
    {"away", COUNT, AT(away), 0, 1, "publish: members have left before it begins, and only their sessions are there"},
    {"keep-alive-s", COUNT, AT(keep_alive_s), 0, 65535, "mqtt: clients say something each so often; 0: need not"},
    {"filters", COUNT, AT(filters), 0, MQTT_FILTERS, "mqtt: filters of each member: one of all below its group, others of nothing"},
    {"levels", COUNT, AT(levels), 1, MQTT_LEVELS, "mqtt: levels of each topic"},
    {"ack-every", COUNT, AT(ack_every), 1, MANY, "azure-reliable: messages for one sequenceAck"},
    {"warmup-s", REAL, AT(warmup_s), 0, DAY_S, "seconds before the measured time"},
    {"duration-s", REAL, AT(duration_s), 0.01, DAY_S, "the measured time"},
    {"settle-s", REAL, AT(settle_s), 0, DAY_S, "seconds of quiet before and while measuring idle connections"},
    {"limit-s", REAL, AT(limit_s), 0.1, DAY_S, "the run's time limit"},
    {"probe-interval-ms", REAL, AT(probe_interval_ms), 0.1, 1000, "connect, disconnect: between two echoes"},
    {"pid", PID, 0, 0, 0, "a process of the server, measured with all its descendants; repeatable"},
    {"cpu", CPU, AT(cpu), 0, 1023, "run on this CPU"},
    {"sender-cpu", CPU, AT(sender_cpu), 0, 1023, "floor: the sender's CPU"},
    {"reader-cpu", CPU, AT(reader_cpu), 0, 1023, "floor: the reader's CPU"},
};

#define KNOWN (sizeof known / sizeof known[0])

static const struct options defaults = {
    .members = 100,
    .groups = 1,
    .memberships = 1,
    .publishers = 1,
    .connections = 100,
    .concurrency = 32,
    .callers = 8,
    .size = 64,
    .burst = 1,
    .window = 64,
    .ack_every = 100,
    .keep_alive_s = 60,
    .levels = 1,
    .warmup_s = 1,
    .duration_s = 3,
    .settle_s = 2,
    .limit_s = 60,
    .probe_interval_ms = 5,
    .cpu = -1,
    .sender_cpu = 0,
    .reader_cpu = 1,
};

static void print_help(void)
{
    printf("load MODE --address HOST:PORT --protocol NAME [options]\n\n"
           "Modes: fanout, echo, idle, churn, connect, disconnect, calls, publish, floor.\n"
           "Protocols: %s.\n"
           "Prints one JSON object.\n\n",
           protocol_names());
    for (size_t i = 0; i < KNOWN; i++)
        printf("  --%-18s %s\n", known[i].name, known[i].meaning);
}

static double read_number(const struct option *option, const char *text, bool whole)
{
    char *end;

    errno = 0;
    double value = strtod(text, &end);
    bool number = end != text && *end == '\0' && !errno && (!whole || value == (double)(int64_t)value);
    if (!number || !(value >= option->low && value <= option->high))
        fail("--%s: '%s' is not a %snumber from %.10g to %.10g", option->name, text, whole ? "whole " : "", option->low,
             option->high);
    return value;
}

static void add_pid(struct options *options, const char *text)
{
    struct server *server = &options->server;
    char *end;
    long pid = strtol(text, &end, 10);

    if (end == text || *end || pid <= 0)
        fail("--pid: '%s' is not a process", text);
    if (server->root_count == ACCOUNTING_ROOTS)
        fail("--pid: no more than %d", ACCOUNTING_ROOTS);
    server->roots[server->root_count++] = (pid_t)pid;
}

static void add_header(struct options *options, const char *text)
{
    /* Not shown: it may be a secret. */
    if (!strchr(text, ':') || strpbrk(text, "\r\n"))
        fail("--header: not a line 'K: V'");
    if (options->header_count == OPTION_HEADERS)
        fail("--header: no more than %d", OPTION_HEADERS);
    options->headers[options->header_count++] = text;
}

static void set(struct options *options, const struct option *option, const char *text)
{
    void *field = (char *)options + option->offset;

    switch (option->kind) {
    case TEXT:
        *(const char **)field = text;
        break;
    case COUNT:
        *(uint32_t *)field = (uint32_t)read_number(option, text, true);
        break;
    case CPU:
        *(int32_t *)field = (int32_t)read_number(option, text, true);
        break;
    case REAL:
        *(double *)field = read_number(option, text, false);
        break;
    case HEADER:
        add_header(options, text);
        break;
    case PID:
        add_pid(options, text);
        break;
    }
}

static const struct option *find(const char *argument)
{
    if (!strncmp(argument, "--", 2))
        for (size_t i = 0; i < KNOWN; i++)
            if (!strcmp(argument + 2, known[i].name))
                return &known[i];
    fail("there is no option '%s'; --help shows what there is", argument);
}

/* Is it what the file is to hold. */
static bool fits(const char *line, char end)
{
    return end == '\n' ? line[0] == '/' : strstr(line, " HTTP/1.1\r\n") != NULL;
}

static void read_paths(struct paths *paths, const char *file_name, char end)
{
    FILE *file = fopen(file_name, "re");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;

    if (!file)
        fail("%s: %s", file_name, strerror(errno));
    while ((length = getdelim(&line, &capacity, end, file)) > 0) {
        if (end == '\n')
            line[strcspn(line, "\r\n")] = '\0';
        if (!line[0])
            continue;
        if (!fits(line, end))
            fail("%s: %s %u is not a request%s", file_name, end ? "line" : "part", paths->count + 1,
                 end ? " target" : "");
        /* Doubled whenever full: the count is a power of two. */
        if (!(paths->count & (paths->count - 1)))
            paths->lines = realloc(paths->lines, (paths->count ? paths->count * 2 : 1) * sizeof *paths->lines);
        if (paths->lines)
            paths->lines[paths->count++] = strdup(line);
        if (!paths->lines || !paths->lines[paths->count - 1])
            fail("no memory for %s", file_name);
    }
    free(line);
    fclose(file);
    if (!paths->count)
        fail("%s holds no request%s", file_name, end ? " target" : "");
}

void options_read(struct options *options, int count, char **arguments)
{
    *options = defaults;
    if (count < 2 || !strcmp(arguments[1], "--help")) {
        print_help();
        exit(count < 2);
    }
    options->mode = arguments[1];
    for (int i = 2; i < count; i += 2) {
        const struct option *option = find(arguments[i]);

        if (i + 1 == count)
            fail("%s needs a value", arguments[i]);
        set(options, option, arguments[i + 1]);
    }
    if (options->protocol_name) {
        options->protocol = protocol_find(options->protocol_name);
        if (!options->protocol)
            fail("there is no protocol '%s', but %s", options->protocol_name, protocol_names());
    }
    mqtt_shape(options->filters, options->levels);
    if (options->tls)
        tls_trust(options->tls);
    if (options->memberships > options->groups)
        fail("--memberships: a member cannot be in %u of %u groups", options->memberships, options->groups);
    if (options->paths_file)
        read_paths(&options->paths, options->paths_file, '\n');
    if (options->publisher_paths_file)
        read_paths(&options->publisher_paths, options->publisher_paths_file, '\n');
    if (options->requests_file)
        read_paths(&options->requests, options->requests_file, '\0');
}

static const char *single_path(const struct options *options)
{
    return options->path ? options->path : "/";
}

const char *member_path(const struct options *options, uint32_t index)
{
    const struct paths *paths = &options->paths;

    return paths->count ? paths->lines[index % paths->count] : single_path(options);
}

const char *publisher_path(const struct options *options, uint32_t index)
{
    const struct paths *own = &options->publisher_paths;
    const struct paths *shared = &options->paths;

    if (own->count)
        return own->lines[index % own->count];
    return shared->count ? shared->lines[shared->count - 1 - index % shared->count] : single_path(options);
}

const struct protocol *publisher_protocol(const struct options *options)
{
    const struct protocol *own = options->protocol->publishers;

    return own ? own : options->protocol;
}
