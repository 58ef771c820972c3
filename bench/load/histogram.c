#include "histogram.h"

/* The middle of a bucket's values. */
static double value_of(uint32_t bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;

    uint32_t shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t low = (uint64_t)(HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS) << shift;

    return (double)low + (double)((1ull << shift) - 1) / 2;
}

double histogram_quantile_us(const struct histogram *histogram, double share)
{
    /* The count of values up to the wanted one, itself included. */
    uint64_t wanted = (uint64_t)(share * (double)histogram->count + 0.999999);
    uint64_t seen = 0;

    if (wanted == 0)
        wanted = 1;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= wanted) {
            double value = value_of(bucket);

            return (value < (double)histogram->max_ns ? value : (double)histogram->max_ns) / 1e3;
        }
    }
    return 0;
}
