#define _GNU_SOURCE
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int io_open(int folder, const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = openat(folder, path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    io_close(&fd);
    return higher;
}

void io_close(int *fd)
{
    int kept = errno;
    if (*fd >= 0)
        (void)close(*fd); /* who must know whether it was written closes by himself */
    *fd = -1;
    errno = kept;
}

bool io_read_at(int fd, void *buffer, size_t length, uint64_t offset)
{
    unsigned char *at = buffer;
    while (length > 0) {
        ssize_t got = pread(fd, at, length, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            if (got == 0)
                errno = 0;
            return false;
        }
        at += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return true;
}

bool io_write(int fd, const void *data, size_t length)
{
    const unsigned char *at = data;
    while (length > 0) {
        ssize_t written = write(fd, at, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            if (written == 0)
                errno = ENOSPC;
            return false;
        }
        at += written;
        length -= (size_t)written;
    }
    return true;
}

bool io_read_file(int folder, const char *name, void *buffer, size_t length)
{
    /* O_NONBLOCK: a pipe of that name must not make us wait for its writer. */
    int fd = io_open(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return false;
    struct stat found;
    bool read = fstat(fd, &found) == 0;
    if (read && (!S_ISREG(found.st_mode) || (uint64_t)found.st_size != length)) {
        errno = EINVAL;
        read = false;
    }
    read = read && io_read_at(fd, buffer, length, 0);
    io_close(&fd);
    return read;
}

bool io_short_of_means(void)
{
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM;
}
