#define _GNU_SOURCE
#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "footer.h"
#include "io.h"
#include "lock.h"

enum { DAY = 86400, UNUSED_DAYS = 14, RANDOM_DIGITS = 16, DEEPEST = 64 };
static const char PREFIX[] = ".tmp-", OLD[] = "old-", MANIFEST_START[] = "batchctl-tree ";

void sweep_name(char name[TEMPORARY_NAME], bool old)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) {
        /* Early in boot, or an old kernel. The name must be new, not secret: it is made with O_EXCL's like. */
        struct timespec now = {0, 0};
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        random = (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec;
    }
    snprintf(name, TEMPORARY_NAME, "%s%s%ld-%016llx", PREFIX, old ? OLD : "", (long)getpid(), (unsigned long long)random);
}

/* `name` is one of sweep_name's; a folder that somebody else calls .tmp-something is none of our business. */
static bool is_temporary(const char *name, bool *old)
{
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0)
        return false;
    name += sizeof PREFIX - 1;
    *old = strncmp(name, OLD, sizeof OLD - 1) == 0;
    if (*old)
        name += sizeof OLD - 1;
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || name[digits] != '-')
        return false;
    name += digits + 1;
    return strlen(name) == RANDOM_DIGITS && strspn(name, "0123456789abcdef") == RANDOM_DIGITS;
}

static DIR *open_folder(int folder, const char *name)
{
    enum { FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW };
    int fd = io_open(folder, name, FLAGS, 0);
    struct stat found;
    if (fd < 0 && errno == EACCES && fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(found.st_mode)
        && fchmodat(folder, name, 0700, 0) == 0)
        fd = io_open(folder, name, FLAGS, 0); /* somebody took our permission away; it is ours to take back */
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list)
        io_close(&fd);
    return list;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool remove_below(int folder, const char *name, int depth)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return true;
    if ((errno != EISDIR && errno != EPERM && errno != EACCES) || depth == 0)
        return false;
    DIR *list = open_folder(folder, name);
    if (!list)
        return false;
    struct stat found;
    if (fstat(dirfd(list), &found) == 0 && (found.st_mode & 0700) != 0700)
        (void)fchmod(dirfd(list), 0700); /* without it nothing can be removed in there, and then we say so */
    bool removed = true;
    for (struct dirent *entry; (entry = readdir(list)) != NULL;)
        if (!is_dots(entry->d_name))
            removed = remove_below(dirfd(list), entry->d_name, depth - 1) && removed;
    (void)closedir(list);
    return removed && unlinkat(folder, name, AT_REMOVEDIR) == 0;
}

bool sweep_remove(int folder, const char *name)
{
    return remove_below(folder, name, DEEPEST);
}

bool sweep_is_used(int root, const char *id)
{
    int fd = io_open(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    bool used = fd >= 0 && lock_try(fd, LOCK_EX) != LOCK_HELD;
    io_close(&fd);
    return used;
}

bool sweep_aside(int root, const char *id, struct reason *why)
{
    char name[TEMPORARY_NAME];
    sweep_name(name, true);
    /* Where folders cannot be locked, the sweep leaves it alone for some days from now on. */
    (void)utimensat(root, id, NULL, AT_SYMLINK_NOFOLLOW);
    if (renameat(root, id, root, name) == 0 || errno == ENOENT)
        return true;
    because_errno(why, "the damaged tree there cannot be moved out of the way");
    return false;
}

static bool unused_for(const struct stat *found, int days)
{
    return time(NULL) - found->st_mtime > (time_t)days * DAY;
}

static void sweep_temporary(int root, const char *name, const struct stat *found, bool old, bool locked)
{
    int fd = -1;
    bool removed = false;
    if (S_ISDIR(found->st_mode))
        fd = io_open(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    else
        old = false; /* nobody runs from a file */
    switch (fd >= 0 ? lock_try(fd, LOCK_EX) : LOCK_UNSUPPORTED) {
    case LOCK_HELD:
        removed = locked || unused_for(found, 1);
        break;
    case LOCK_UNSUPPORTED: /* nobody can say whether it is in use: a half tree is not, once we hold .lock */
        removed = old ? unused_for(found, UNUSED_DAYS) : locked || unused_for(found, 1);
        break;
    case LOCK_OTHERS:
    case LOCK_FAILED:
        break;
    }
    if (removed)
        (void)sweep_remove(root, name);
    io_close(&fd);
}

/* `name` is a tree that some launcher made: it has its form, and it ends with the digest of its own manifest. A folder
 * that a user keeps in the same place is not. */
static bool is_tree(int tree, const char *name)
{
    struct stat found;
    bool ours = false;
    if (!footer_is_build_id(name) || fstatat(tree, "MANIFEST", &found, AT_SYMLINK_NOFOLLOW) != 0
        || !S_ISREG(found.st_mode) || found.st_size < (off_t)sizeof MANIFEST_START || (uint64_t)found.st_size > MOST_MANIFEST)
        return false;
    size_t length = (size_t)found.st_size;
    char *text = malloc(length);
    if (text && io_read_file(tree, "MANIFEST", text, length)) {
        unsigned char digest[DIGEST_LENGTH];
        blake2b_of(text, length, digest);
        ours = memcmp(text, MANIFEST_START, sizeof MANIFEST_START - 1) == 0 && footer_id_matches(name, digest);
    }
    free(text);
    return ours;
}

/* Remove another build's tree. Without locks a job of three weeks could be running from it, so it stays. */
static void sweep_tree(int root, const char *name)
{
    int tree = io_open(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    char aside[TEMPORARY_NAME];
    sweep_name(aside, true);
    /* Renamed first: whoever looks for it meanwhile finds a whole tree or none. */
    if (tree >= 0 && is_tree(tree, name) && lock_try(tree, LOCK_EX) == LOCK_HELD && renameat(root, name, root, aside) == 0)
        (void)sweep_remove(root, aside);
    io_close(&tree);
}

void sweep_root(int root, const char *keep, uid_t uid, bool locked)
{
    DIR *list = open_folder(root, ".");
    if (!list)
        return;
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        const char *name = entry->d_name;
        struct stat found;
        bool old;
        if (is_dots(name) || fstatat(root, name, &found, AT_SYMLINK_NOFOLLOW) != 0 || found.st_uid != uid)
            continue;
        if (is_temporary(name, &old))
            sweep_temporary(root, name, &found, old, locked);
        else if (locked && S_ISDIR(found.st_mode) && strcmp(name, keep) != 0 && unused_for(&found, UNUSED_DAYS))
            sweep_tree(root, name);
    }
    (void)closedir(list);
}
