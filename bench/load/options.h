/* The command line. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <stdint.h>

#include "accounting.h"
#include "protocols.h"

#define OPTION_HEADERS 16

/* Request targets, one for each line of a file; or whole requests, each ended by a zero. */
struct paths {
    char **lines;
    uint32_t count;
};

struct options {
    const char *mode;
    const char *address;
    const char *tls;
    const char *protocol_name;
    const struct protocol *protocol;
    const char *path;
    const char *paths_file;
    const char *publisher_paths_file;
    const char *requests_file;
    struct paths paths;
    struct paths publisher_paths;
    struct paths requests;
    const char *headers[OPTION_HEADERS];
    uint32_t header_count;
    /* Numbers of things. */
    uint32_t members, groups, memberships, publishers, idle_readers, connections, concurrency, callers, handler_port;
    uint32_t size, burst, window, ack_every, keep_alive_s, answer, away;
    uint32_t filters, levels;
    /* Messages, calls or rounds in a second; 0: not paced. */
    double rate;
    double warmup_s, duration_s, settle_s, limit_s, probe_interval_ms;
    /* -1: wherever the system likes. */
    int32_t cpu, sender_cpu, reader_cpu;
    struct server server;
};

/* Read the command line; ends the run with a line that names what is wrong. */
void options_read(struct options *options, int count, char **arguments);

/* The request target of the connection `index`, and of the publisher `index`. */
const char *member_path(const struct options *options, uint32_t index);
const char *publisher_path(const struct options *options, uint32_t index);

/* The protocol that publishers speak. */
const struct protocol *publisher_protocol(const struct options *options);

#endif
