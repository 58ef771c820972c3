/*
 * Somebody else: a process with a connection and a group of its own, which sends itself a message at fixed times,
 * whatever became of the earlier ones. Its latencies tell how long the server leaves others waiting meanwhile.
 */
#ifndef LOAD_PROBE_H
#define LOAD_PROBE_H

#include <stdatomic.h>
#include <stdint.h>

#include "histogram.h"
#include "options.h"

struct probe_board;

struct probe {
    int child;
    /* Shared with the process. */
    struct probe_board *board;
};

/* Start it and wait until its messages come back. */
void probe_start(struct probe *probe, const struct options *options);

/* Count the messages that are due from now on. */
void probe_measure(struct probe *probe);

/* Let it end, after what is in flight. */
void probe_stop(struct probe *probe);

/* Print what it has found, once it has ended. */
void probe_result(const struct probe *probe);

#endif
