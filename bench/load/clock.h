/* Time, always of the monotonic clock and in nanoseconds. */
#ifndef LOAD_CLOCK_H
#define LOAD_CLOCK_H

#include <stddef.h>
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

/* The same for the system's calls. */
static inline struct timespec timespec_of(uint64_t duration_ns)
{
    return (struct timespec){.tv_sec = (time_t)(duration_ns / NS_PER_S), .tv_nsec = (long)(duration_ns % NS_PER_S)};
}

static inline void sleep_ns(uint64_t duration_ns)
{
    struct timespec time = timespec_of(duration_ns);

    nanosleep(&time, NULL);
}

#endif
