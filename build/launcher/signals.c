#define _GNU_SOURCE
#include "signals.h"

#include <errno.h>
#include <time.h>

void signals_hold(struct held *held, int number)
{
    sigset_t waiting, one;
    held->number = 0;
    sigemptyset(&waiting);
    sigemptyset(&one);
    sigaddset(&one, number);
    if (sigpending(&waiting) != 0 || sigprocmask(SIG_BLOCK, &one, &held->before) != 0)
        return;
    held->number = number;
    held->waited = sigismember(&waiting, number) == 1;
}

void signals_release(struct held *held)
{
    int kept = errno;
    if (held->number == 0)
        return;
    if (!held->waited) {
        const struct timespec now = {0, 0};
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, held->number);
        while (sigtimedwait(&one, NULL, &now) < 0 && errno == EINTR)
            ;
    }
    (void)sigprocmask(SIG_SETMASK, &held->before, NULL);
    held->number = 0;
    errno = kept;
}
