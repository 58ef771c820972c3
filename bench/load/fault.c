#include "fault.h"

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "memory.h"

static const char *volatile phase = "starting";
static char limit_text[32];

/* Shared by all processes of the run: one of them has said why it ends. */
static atomic_flag before_sharing = ATOMIC_FLAG_INIT;
static atomic_flag *said = &before_sharing;

static void print_line(const char *format, va_list arguments)
{
    char line[1024];

    vsnprintf(line, sizeof line, format, arguments);
    /* Part of it may be a server's words: nothing of theirs may break the one line or play with a terminal. */
    for (char *at = line; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    fprintf(stderr, "load: %s\n", line);
}

void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (!atomic_flag_test_and_set(said))
        print_line(format, arguments);
    va_end(arguments);
    exit(1);
}

void notice(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
}

void limit_phase(const char *what)
{
    phase = what;
}

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));

    (void)ignored;
}

/* Whatever hangs hangs in a loop of ours: so the limit is a signal, and its handler uses only what handlers may. */
static void limit_reached(int signal_number)
{
    (void)signal_number;
    if (atomic_flag_test_and_set(said))
        _exit(1);
    say("load: the time limit of ");
    say(limit_text);
    say(" s was reached while ");
    say(phase);
    say("\n");
    _exit(1);
}

void limit_begin(double seconds)
{
    struct sigaction action = {.sa_handler = limit_reached};
    struct itimerval timer = {.it_value = {.tv_sec = (time_t)seconds, .tv_usec = (long)(seconds * 1e6) % 1000000}};

    said = allocate_shared(sizeof *said);
    snprintf(limit_text, sizeof limit_text, "%g", seconds);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}
