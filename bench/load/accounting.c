#include "accounting.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"

/* A whole small file of /proc, as text; false if it is gone, as files of a process may be at any time. */
static bool read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");

    if (!file)
        return false;
    size_t length = fread(text, 1, size - 1, file);
    fclose(file);
    text[length] = '\0';
    return length > 0;
}

/* The fields of /proc/PID/stat from the third on: the second, the name, may hold spaces and parentheses itself. */
static bool read_stat(pid_t process, char *text, size_t size, const char **fields)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    if (!read_text(path, text, size))
        return false;
    char *name_end = strrchr(text, ')');
    if (!name_end)
        return false;
    *fields = name_end + 1;
    return true;
}

static pid_t parent_of(pid_t process)
{
    char text[1024];
    const char *fields;
    int parent;

    if (!read_stat(process, text, sizeof text, &fields) || sscanf(fields, " %*c %d", &parent) != 1)
        return 0;
    return parent;
}

static bool runs(pid_t process)
{
    char text[1024];
    const char *fields;
    char state;

    return read_stat(process, text, sizeof text, &fields) && sscanf(fields, " %c", &state) == 1 && state != 'Z';
}

static bool known(const struct server *server, pid_t process)
{
    for (size_t i = 0; i < server->process_count; i++)
        if (server->processes[i] == process)
            return true;
    return false;
}

/* Adds the children of known processes; tells whether there were any new ones, which may have children themselves. */
static bool add_children(struct server *server)
{
    bool added = false;
    DIR *directory = opendir("/proc");
    struct dirent *entry;

    while (directory && (entry = readdir(directory))) {
        pid_t process = atoi(entry->d_name);

        if (process <= 0 || known(server, process) || !known(server, parent_of(process)))
            continue;
        if (server->process_count == ACCOUNTING_PROCESSES)
            fail("the server has more than %d processes", ACCOUNTING_PROCESSES);
        server->processes[server->process_count++] = process;
        added = true;
    }
    if (directory)
        closedir(directory);
    return added;
}

void server_find(struct server *server)
{
    for (size_t i = 0; i < server->root_count; i++) {
        bool before = known(server, server->roots[i]);

        if (!runs(server->roots[i]))
            fail("the server's process %d does not run%s", (int)server->roots[i], before ? " any more" : "");
        if (!before)
            server->processes[server->process_count++] = server->roots[i];
    }
    if (server->root_count)
        while (add_children(server)) {
        }
}

/* Of all threads that live, to the nanosecond. */
static uint64_t live_threads_cpu_ns(pid_t process)
{
    char path[320];
    char text[256];
    uint64_t total = 0;
    struct dirent *entry;

    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *directory = opendir(path);
    while (directory && (entry = readdir(directory))) {
        unsigned long long used;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)process, entry->d_name);
        if (read_text(path, text, sizeof text) && sscanf(text, "%llu", &used) == 1)
            total += used;
    }
    if (directory)
        closedir(directory);
    return total;
}

/* Of all threads that ever were, but in ticks of 10 ms. */
static uint64_t all_threads_cpu_ns(pid_t process)
{
    char text[1024];
    const char *fields;
    unsigned long long user, kernel;

    if (!read_stat(process, text, sizeof text, &fields))
        return 0;
    if (sscanf(fields, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &kernel) != 2)
        return 0;
    return (user + kernel) * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t process_cpu_ns(pid_t process)
{
    uint64_t exact = live_threads_cpu_ns(process);
    uint64_t coarse = all_threads_cpu_ns(process);

    /* More than two ticks ahead: threads have ended, or this kernel keeps no schedstat. */
    return coarse > exact + NS_PER_S / 50 ? coarse : exact;
}

uint64_t server_cpu_ns(const struct server *server, size_t first)
{
    uint64_t total = 0;

    for (size_t i = first; i < server->process_count; i++)
        total += process_cpu_ns(server->processes[i]);
    return total;
}

void server_forget_peak(const struct server *server)
{
    for (size_t i = 0; i < server->process_count; i++) {
        char path[64];

        snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)server->processes[i]);
        FILE *file = fopen(path, "we");
        if (!file)
            continue;
        /* proc(5): 5 resets the peak and touches nothing else. Without the right to it the peak is the process'. */
        fputs("5\n", file);
        fclose(file);
    }
}

static uint64_t field_kib(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

struct server_memory server_memory(const struct server *server)
{
    struct server_memory memory = {0};

    for (size_t i = 0; i < server->process_count; i++) {
        char path[64];
        char text[4096];

        snprintf(path, sizeof path, "/proc/%d/status", (int)server->processes[i]);
        if (!read_text(path, text, sizeof text))
            continue;
        memory.resident_kib += field_kib(text, "\nVmRSS:");
        memory.peak_kib += field_kib(text, "\nVmHWM:");
    }
    return memory;
}
