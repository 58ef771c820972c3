#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"

int child_start(void)
{
    pid_t parent = getpid();

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
    const struct timespec pause = {.tv_nsec = (long)NS_PER_MS};

    while (!atomic_load(flag)) {
        if (waitpid(child, NULL, WNOHANG) == child && !atomic_load(flag))
            exit(1);
        nanosleep(&pause, NULL);
    }
}

void child_kill(int child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}
