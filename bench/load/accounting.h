/* What the server costs: CPU time and memory of its process and all its descendants, as the kernel counts them. */
#ifndef LOAD_ACCOUNTING_H
#define LOAD_ACCOUNTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ACCOUNTING_ROOTS 16
#define ACCOUNTING_PROCESSES 256

struct server {
    pid_t roots[ACCOUNTING_ROOTS];
    size_t root_count;
    pid_t processes[ACCOUNTING_PROCESSES];
    size_t process_count;
};

struct server_memory {
    uint64_t resident_kib;
    uint64_t peak_kib;
};

/* Look for descendants of the roots that are not known yet; takes milliseconds. Ends the run if a root does not run. */
void server_find(struct server *server);

/* CPU time of the known processes from the `first` on, since each began; one that has ended counts no more. */
uint64_t server_cpu_ns(const struct server *server, size_t first);

/* Let the peak of memory begin again at what is resident now. */
void server_forget_peak(const struct server *server);

struct server_memory server_memory(const struct server *server);

#endif
