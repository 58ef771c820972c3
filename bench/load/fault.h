/*
 * How a run that cannot take place ends: with one line on standard error and exit code 1, whatever the reason,
 * and never later than its time limit.
 */
#ifndef LOAD_FAULT_H
#define LOAD_FAULT_H

#include <stdnoreturn.h>

/* End the run: one line on standard error, exit code 1. Of several processes of a run only the first one speaks. */
noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One line on standard error; the run goes on. */
void notice(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* End the run with one line and exit code 1 if it still goes on after `seconds`. To be called before all else. */
void limit_begin(double seconds);

/* Name what is going on now, for the line that tells that the time limit was reached. `what` must live on. */
void limit_phase(const char *what);

#endif
