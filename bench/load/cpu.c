#define _GNU_SOURCE
#include "cpu.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "fault.h"

void run_on_cpu(int32_t cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        fail("CPU %d: %s", (int)cpu, strerror(errno));
}

void run_first(void)
{
    struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};

    /* Only for those who may; else it waits for its turn like everyone. */
    (void)sched_setscheduler(0, SCHED_FIFO, &lowest);
}
