/* Processes forked by this one, and how both sides meet. */
#ifndef LOAD_CHILD_H
#define LOAD_CHILD_H

#include <stdatomic.h>
#include <stdbool.h>

/*
 * Start a process that does not outlive this one. Returns 0 in it, and in this one its id. It must never return from
 * what it does: it ends by exit(). If it fails it has said why, and this process ends without a word.
 */
int child_start(void);

/* Wait until the child has set a flag in shared memory. */
void child_await(int child, const atomic_bool *flag);

/* Kill it and wait for its end. */
void child_kill(int child);

#endif
