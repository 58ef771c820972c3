/* Time, always of the monotonic clock and in nanoseconds. */
#ifndef LOAD_CLOCK_H
#define LOAD_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

static inline uint64_t clock_read(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static inline uint64_t now_ns(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

/* CPU time that this process has used so far. */
static inline uint64_t own_cpu_ns(void)
{
    return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

static inline uint64_t ns_of(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

#endif
