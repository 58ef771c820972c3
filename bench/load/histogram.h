/*
 * Latencies, counted in buckets whose width grows with the value: 64 to each power of two, so that a percentile is
 * at most 0.8 % off, from one nanosecond to centuries, without a range to choose beforehand.
 */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 6
#define HISTOGRAM_STEPS (1u << HISTOGRAM_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) * HISTOGRAM_STEPS)

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

/* In the header because it is called once for every message delivered. */
static inline void histogram_record(struct histogram *histogram, uint64_t value_ns)
{
    uint32_t bucket = (uint32_t)value_ns;

    if (value_ns >= HISTOGRAM_STEPS) {
        uint32_t shift = 63u - HISTOGRAM_BITS - (uint32_t)__builtin_clzll(value_ns);

        bucket = (shift + 1) * HISTOGRAM_STEPS + (uint32_t)(value_ns >> shift) % HISTOGRAM_STEPS;
    }
    histogram->buckets[bucket]++;
    histogram->count++;
    if (value_ns > histogram->max_ns)
        histogram->max_ns = value_ns;
}

/* The value, in µs, that `share` (0 to 1) of all values do not exceed; 0 if nothing was recorded. */
double histogram_quantile_us(const struct histogram *histogram, double share);

#endif
