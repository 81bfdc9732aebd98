/* Descriptors. None of ours is ever 0, 1 or 2, which the caller may have closed, and none outlives exec unless told to. */
#ifndef BATCHCTL_IO_H
#define BATCHCTL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* openat with O_CLOEXEC; -1 with errno. `mode` matters with O_CREAT only. */
int io_open(int folder, const char *path, int flags, mode_t mode);

/* Close if open, keep errno, and forget the number. */
void io_close(int *fd);

/* All `length` bytes at `offset`, or false with errno (0: the file ends before). */
bool io_read_at(int fd, void *buffer, size_t length, uint64_t offset);

/* All of it, or false with errno. */
bool io_write(int fd, const void *data, size_t length);

/* Read all of the regular file `name` of `folder`, which must hold exactly `length` bytes, into `buffer`. */
bool io_read_file(int folder, const char *name, void *buffer, size_t length);

/* errno says that this process lacks something (descriptors, memory), not that the file is at fault. */
bool io_short_of_means(void);

#endif
