#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"

/* The one that is being killed by us. */
static volatile sig_atomic_t doomed;

/* A child that fails has said why: the run is over, wherever this process is. */
static void child_ended(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)context;
    if (info->si_pid != doomed && !(info->si_code == CLD_EXITED && info->si_status == 0))
        _exit(1);
}

int child_start(void)
{
    pid_t parent = getpid();
    struct sigaction action = {.sa_sigaction = child_ended, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP};

    sigaction(SIGCHLD, &action, NULL);
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        fail("fork: %s", strerror(errno));
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* The parent may have ended before the line above took effect. */
        if (getppid() != parent)
            _exit(1);
    }
    return child;
}

void child_await(int child, const atomic_bool *flag)
{
    while (!atomic_load(flag)) {
        /* The signal tells of one child when several end at once. */
        if (waitpid(child, NULL, WNOHANG) == child && !atomic_load(flag))
            exit(1);
        sleep_ns(NS_PER_MS);
    }
}

void child_kill(int child)
{
    doomed = child;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}
