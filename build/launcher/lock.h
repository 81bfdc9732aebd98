/* BSD locks, which end with the last descriptor that holds them, however the process ends. */
#ifndef BATCHCTL_LOCK_H
#define BATCHCTL_LOCK_H

enum lock_result {
    LOCK_HELD,        /* it is ours */
    LOCK_OTHERS,      /* somebody else holds it */
    LOCK_UNSUPPORTED, /* the file system has no such locks */
    LOCK_FAILED,      /* with errno */
};

/* flock(fd, operation) without waiting. */
enum lock_result lock_try(int fd, int operation);

/* The same, tried again and again for up to `seconds`. */
enum lock_result lock_wait(int fd, int operation, unsigned int seconds);

#endif
