/* Where this process runs. */
#ifndef LOAD_CPU_H
#define LOAD_CPU_H

#include <stdint.h>

/* Run on this CPU alone from now on; anywhere if it is -1. Ends the run if there is no such CPU. */
void run_on_cpu(int32_t cpu);

/* Be run before others as soon as there is work, as far as the system allows it. */
void run_first(void);

#endif
