/* The measured time: when it began and ended, and what the server and this process used in it. */
#ifndef LOAD_MEASUREMENT_H
#define LOAD_MEASUREMENT_H

#include <stdint.h>

#include "accounting.h"
#include "histogram.h"

struct measurement {
    struct server *server;
    uint64_t began_ns, ended_ns;
    uint64_t own_cpu_ns;
    uint64_t server_cpu_ns;
    struct server_memory before, after;
};

/* The CPU time of a child that helps is counted as this process' own, as long as it lives. */
void measurement_helper(int child);

/* Find the server's processes and read their memory, before any connection is made. */
void measurement_prepare(struct measurement *measurement, struct server *server);

void measurement_begin(struct measurement *measurement);
void measurement_end(struct measurement *measurement);

double measured_s(const struct measurement *measurement);

/* The result on standard output: a JSON object, written field by field. */
void result_begin(const char *mode, const char *protocol);
void result_count(const char *name, uint64_t value);
void result_number(const char *name, double value);
void result_latency(const char *name, const struct histogram *latency);

/* `name` and `name`_per_s. */
void result_rate(const char *name, uint64_t count, const struct measurement *measurement);

/* The server's and the generator's use; `cost_name` is the server's CPU time for each of `operations`. */
void result_use(const struct measurement *measurement, const char *cost_name, uint64_t operations);

void result_end(void);

#endif
