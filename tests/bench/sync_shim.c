/* What durability.py preloads into the coordinator: every sync counted, left out, or made slower.
 *
 * SYNC_SHIM: "real", "off" (a sync returns at once), or microseconds that each takes longer. SYNC_SHIM_LOG: a file to
 * which each adds a line: monotonic ns when it began, ns it took, 1 on the main thread, 1 for a folder, pid.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int shimmed(int fd, const char *name)
{
    const char *how = getenv("SYNC_SHIM"), *path = getenv("SYNC_SHIM_LOG");
    long long began = now();
    int result = 0;
    if (how == NULL || strcmp(how, "off") != 0) {
        int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
        result = real(fd);
        if (how != NULL && strcmp(how, "real") != 0)
            usleep((useconds_t)atol(how));
    }
    if (path != NULL) {
        struct stat found;
        char line[128];
        int log = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        int folder = fstat(fd, &found) == 0 && S_ISDIR(found.st_mode);
        int length = snprintf(line, sizeof line, "%lld %lld %d %d %d\n", began, now() - began,
                              syscall(SYS_gettid) == getpid(), folder, getpid());
        if (log < 0 || write(log, line, (size_t)length) != length)
            abort();
        close(log);
    }
    return result;
}

int fsync(int fd) { return shimmed(fd, "fsync"); }
int fdatasync(int fd) { return shimmed(fd, "fdatasync"); }
