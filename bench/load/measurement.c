#include "measurement.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "clock.h"

static bool helped;
static clockid_t helper_clock;

void measurement_helper(int child)
{
    helped = !clock_getcpuclockid(child, &helper_clock);
}

static uint64_t generator_cpu_ns(void)
{
    return own_cpu_ns() + (helped ? clock_read(helper_clock) : 0);
}

void measurement_prepare(struct measurement *measurement, struct server *server)
{
    measurement->server = server;
    server_find(server);
    server_forget_peak(server);
    measurement->before = server_memory(server);
}

void measurement_begin(struct measurement *measurement)
{
    server_find(measurement->server);
    measurement->server_cpu_ns = server_cpu_ns(measurement->server, 0);
    measurement->own_cpu_ns = generator_cpu_ns();
    measurement->began_ns = now_ns();
}

void measurement_end(struct measurement *measurement)
{
    struct server *server = measurement->server;
    uint64_t server_cpu = server_cpu_ns(server, 0);
    size_t known = server->process_count;

    measurement->ended_ns = now_ns();
    measurement->own_cpu_ns = generator_cpu_ns() - measurement->own_cpu_ns;
    /* What began meanwhile belongs to it; looked for when all else is read, because that takes its time. */
    server_find(server);
    server_cpu += server_cpu_ns(server, known);
    /* Less than before, if a process of the server has ended and taken its share along. */
    measurement->server_cpu_ns =
        server_cpu > measurement->server_cpu_ns ? server_cpu - measurement->server_cpu_ns : 0;
    measurement->after = server_memory(server);
}

double measured_s(const struct measurement *measurement)
{
    return (double)(measurement->ended_ns - measurement->began_ns) / 1e9;
}

void result_begin(const char *mode, const char *protocol)
{
    printf("{\"mode\": \"%s\"", mode);
    if (protocol)
        printf(", \"protocol\": \"%s\"", protocol);
}

void result_count(const char *name, uint64_t value)
{
    printf(", \"%s\": %" PRIu64, name, value);
}

void result_number(const char *name, double value)
{
    printf(", \"%s\": %.4f", name, value);
}

void result_rate(const char *name, uint64_t count, const struct measurement *measurement)
{
    result_count(name, count);
    printf(", \"%s_per_s\": %.1f", name, (double)count / measured_s(measurement));
}

void result_latency(const char *name, const struct histogram *latency)
{
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

    printf(", \"%s\": {", name);
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        printf("\"%s\": %.1f, ", quantiles[i].name, histogram_quantile_us(latency, quantiles[i].share));
    printf("\"max\": %.1f, \"count\": %" PRIu64 "}", (double)latency->max_ns / 1e3, latency->count);
}

void result_use(const struct measurement *measurement, const char *cost_name, uint64_t operations)
{
    if (measurement->server->root_count) {
        result_number("server_cpu_us", (double)measurement->server_cpu_ns / 1e3);
        if (operations)
            result_number(cost_name, (double)measurement->server_cpu_ns / 1e3 / (double)operations);
        result_count("rss_before_kib", measurement->before.resident_kib);
        result_count("rss_after_kib", measurement->after.resident_kib);
        result_count("rss_peak_kib", measurement->after.peak_kib);
    }
    result_number("generator_cpu", (double)measurement->own_cpu_ns / 1e9 / measured_s(measurement));
}

void result_end(void)
{
    printf("}\n");
    fflush(stdout);
}
