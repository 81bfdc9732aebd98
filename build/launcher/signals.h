/* Signals that a failing write brings: held back while we write, so that the error is what we learn. */
#ifndef BATCHCTL_SIGNALS_H
#define BATCHCTL_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

struct held {
    int number; /* 0: nothing is held */
    bool waited; /* the caller had one waiting already: it stays */
    sigset_t before;
};

/* Hold `number` back until signals_release, which takes one that came out of the queue. Dispositions are not touched. */
void signals_hold(struct held *held, int number);
void signals_release(struct held *held);

#endif
