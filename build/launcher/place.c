#define _GNU_SOURCE
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io.h"

enum {
    OTHERS_WRITE = S_IWGRP | S_IWOTH,
    MOST_ROOT_PATH = PATH_MAX - 512, /* what is in the tree must have a path too */
};

static bool is_ours(const struct stat *found, uid_t uid, struct reason *why)
{
    if (S_ISLNK(found->st_mode))
        because(why, "it is a symbolic link");
    else if (!S_ISDIR(found->st_mode))
        because(why, "it is not a folder");
    else if (found->st_uid != uid)
        because(why, "it belongs to uid %lu, not to uid %lu", (unsigned long)found->st_uid, (unsigned long)uid);
    else if (found->st_mode & OTHERS_WRITE)
        because(why, "others may write to it (mode %04o)", (unsigned)(found->st_mode & 07777));
    else
        return true;
    return false;
}

static bool runs_programs(int folder, struct reason *why)
{
    struct statvfs system;
    if (fstatvfs(folder, &system) != 0) {
        because_errno(why, "its file system does not answer");
        return false;
    }
    if (system.f_flag & ST_NOEXEC) {
        because(why, "its file system is mounted noexec");
        return false;
    }
    return true;
}

static bool is_safe_parent(int folder, const char *path, size_t length, uid_t uid, struct reason *why)
{
    struct stat found;
    char shown[200], name[PATH_MAX];
    snprintf(name, sizeof name, "%.*s", length ? (int)length : 1, path);
    printable(shown, sizeof shown, name);
    if (fstat(folder, &found) != 0)
        because(why, "%s: %s", shown, strerror(errno));
    else if (found.st_uid != 0 && found.st_uid != uid)
        because(why, "%s above it belongs to uid %lu", shown, (unsigned long)found.st_uid);
    else if ((found.st_mode & OTHERS_WRITE) && !(found.st_mode & S_ISVTX))
        because(why, "others may write to %s above it (mode %04o)", shown, (unsigned)(found.st_mode & 07777));
    else
        return true;
    return false;
}

/* Open PATH's first `length` bytes from / on, one folder at a time and through no link: `path` was resolved, so a link
 * now means that somebody is moving things under us. With `safe` each folder on the way is judged by its descriptor. */
static int walk(const char *path, size_t length, uid_t uid, bool safe, struct reason *why)
{
    int at = io_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    size_t done = 0;
    for (;;) {
        if (at < 0) {
            because(why, "a folder above it: %s", strerror(errno));
            return -1;
        }
        if (safe && !is_safe_parent(at, path, done, uid, why)) {
            io_close(&at);
            return -1;
        }
        if (done >= length)
            return at;
        const char *name = path + done + 1, *end = strchrnul(name, '/');
        char part[NAME_MAX + 1];
        if ((size_t)(end - name) > NAME_MAX) {
            because(why, "a part of its path is too long");
            io_close(&at);
            return -1;
        }
        memcpy(part, name, (size_t)(end - name));
        part[end - name] = '\0';
        int next = io_open(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
        io_close(&at);
        at = next;
        done = (size_t)(end - path);
    }
}

/* Open and judge `name` of `above`; -1 with errno ENOENT where it does not exist, else with a reason. */
static int open_ours(int above, const char *name, uid_t uid, struct reason *why)
{
    struct stat found;
    if (fstatat(above, name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            because(why, "%s", strerror(errno));
        return -1;
    }
    int fd = -1;
    if (is_ours(&found, uid, why)) {
        fd = io_open(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (fd < 0 || fstat(fd, &found) != 0)
            because(why, "it cannot be opened: %s", strerror(errno));
        else if (is_ours(&found, uid, why)) /* again, of what was opened */
            return fd;
    }
    io_close(&fd);
    errno = EPERM;
    return -1;
}

static bool has_dots(const char *parts)
{
    for (;;) {
        const char *end = strchrnul(parts, '/');
        size_t length = (size_t)(end - parts);
        if (length > 0 && length <= 2 && strspn(parts, ".") >= length)
            return true;
        if (!*end)
            return false;
        parts = end + 1;
    }
}

/* The loaders of the program that we start split and expand the path of its libraries, and Python wants text. */
static bool can_be_loaded_from(const char *path, struct reason *why)
{
    if (strpbrk(path, ":;$"))
        because(why, "its path holds one of : ; $, which the loader of libraries takes for its own");
    else if (!is_utf8(path))
        because(why, "its path is not UTF-8");
    else if (strlen(path) > MOST_ROOT_PATH)
        because(why, "the path is too long");
    else
        return true;
    return false;
}

/* Write into place->path the resolved name of the deepest folder that exists above `root`, and the rest behind it. */
static bool resolve(struct place *place, const struct root *root, struct reason *why)
{
    char path[PATH_MAX], real[PATH_MAX];
    if (root->follow) {
        if (!realpath(root->path, path)) {
            because(why, "%s", strerror(errno));
            return false;
        }
    } else {
        memcpy(path, root->path, sizeof path);
    }
    size_t cut = (size_t)(strrchr(path, '/') - path);
    const char *rest = path + cut + 1;
    if (!*rest || has_dots(rest)) {
        because(why, "its last part is no name");
        return false;
    }
    for (;;) {
        path[cut] = '\0';
        if (realpath(cut ? path : "/", real))
            break;
        if (errno != ENOENT || cut == 0 || cut <= (root->follow ? 0 : root->base)) {
            char shown[200];
            because(why, "%s: %s", printable(shown, sizeof shown, path), strerror(errno));
            return false;
        }
        path[cut] = '/';
        cut = (size_t)((char *)memrchr(path, '/', cut) - path);
        rest = path + cut + 1;
    }
    if (has_dots(rest)) {
        because(why, "its path has . or .. behind a folder that does not exist");
        return false;
    }
    place->missing = strcmp(real, "/") == 0 ? 0 : strlen(real);
    int length = snprintf(place->path, sizeof place->path, "%s/%s", place->missing ? real : "", rest);
    if (length < 0 || (size_t)length >= sizeof place->path) {
        because(why, "the path is too long");
        return false;
    }
    return can_be_loaded_from(place->path, why);
}

bool place_find(struct place *place, const struct root *root, uid_t uid, bool safe_parents, struct reason *why)
{
    place->folder = place->above = -1;
    if (root->refuse) {
        because(why, "%s", root->refuse);
        return false;
    }
    if (!resolve(place, root, why))
        return false;
    place->above = walk(place->path, place->missing, uid, safe_parents, why);
    if (place->above < 0)
        return false;
    if (!strchr(place->path + place->missing + 1, '/')) {
        place->folder = open_ours(place->above, place->path + place->missing + 1, uid, why);
        if (place->folder < 0 && errno != ENOENT)
            return false;
    }
    return runs_programs(place->folder >= 0 ? place->folder : place->above, why);
}

bool place_make(struct place *place, uid_t uid, struct reason *why)
{
    char path[PATH_MAX];
    memcpy(path, place->path, sizeof path);
    char *name = path + place->missing + 1;
    int at = fcntl(place->above, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (at < 0) {
        because_errno(why, "it cannot be made");
        return false;
    }
    for (;;) {
        char *end = strchrnul(name, '/');
        bool last = !*end;
        *end = '\0';
        bool made = mkdirat(at, name, 0700) == 0;
        if (!made && errno != EEXIST) { /* another process may have been faster */
            because_errno(why, "it cannot be made");
            break;
        }
        int next = open_ours(at, name, uid, why);
        if (next < 0) {
            if (errno == ENOENT)
                because(why, "it was removed while we made it");
            if (made) /* a server that gives our folders to somebody else (NFS, root_squash) */
                (void)unlinkat(at, name, AT_REMOVEDIR);
            break;
        }
        io_close(&at);
        at = next;
        if (last) {
            place->folder = at;
            return true;
        }
        *end = '/';
        name = end + 1;
    }
    io_close(&at);
    return false;
}

void place_close(struct place *place)
{
    io_close(&place->folder);
    io_close(&place->above);
}
