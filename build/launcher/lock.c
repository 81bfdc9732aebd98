#define _GNU_SOURCE
#include "lock.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

enum lock_result lock_try(int fd, int operation)
{
    while (flock(fd, operation | LOCK_NB) != 0) {
        switch (errno) {
        case EINTR:
            continue;
        case EWOULDBLOCK:
            return LOCK_OTHERS;
        /* NFS turns these locks into another kind, which folders cannot have (EBADF, EINVAL, EISDIR); others have none. */
        case ENOLCK:
        case EOPNOTSUPP:
        case ENOSYS:
        case EBADF:
        case EINVAL:
        case EISDIR:
            return LOCK_UNSUPPORTED;
        default:
            return LOCK_FAILED;
        }
    }
    return LOCK_HELD;
}

enum lock_result lock_wait(int fd, int operation, unsigned int seconds)
{
    enum { FIRST_MS = 5, LONGEST_MS = 100 };
    const unsigned long limit = seconds * 1000UL;
    unsigned long waited = 0, pause = FIRST_MS;
    for (;;) {
        enum lock_result result = lock_try(fd, operation);
        if (result != LOCK_OTHERS || waited >= limit)
            return result;
        const struct timespec some = {0, (long)pause * 1000000L};
        (void)nanosleep(&some, NULL); /* cut short by a signal is as good */
        waited += pause;
        pause = pause * 2 < LONGEST_MS ? pause * 2 : LONGEST_MS;
    }
}
