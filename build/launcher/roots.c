#define _GNU_SOURCE
#include "roots.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* No double slashes and none at the end, so that one folder has one spelling. */
static void tidy(char *path)
{
    char *to = path;
    for (const char *c = path; *c; c++)
        if (*c != '/' || to == path || to[-1] != '/')
            *to++ = *c;
    while (to > path + 1 && to[-1] == '/')
        to--;
    *to = '\0';
}

/* Append BASE/rest; what is before the rest must exist unless `made` says that all of it may be made. */
static struct root *add(struct roots *roots, const char *from, bool made, const char *base, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static struct root *add(struct roots *roots, const char *from, bool made, const char *base, const char *format, ...)
{
    if (roots->count == MOST_ROOTS)
        return NULL;
    struct root *root = &roots->at[roots->count];
    memset(root, 0, sizeof *root);
    root->from = from;
    char rest[64];
    va_list given;
    va_start(given, format);
    int tail = vsnprintf(rest, sizeof rest, format, given);
    va_end(given);
    int length = snprintf(root->path, sizeof root->path, "%s", base);
    tidy(root->path);
    root->base = made ? 0 : strlen(root->path);
    size_t used = strlen(root->path);
    if (length < 0 || tail < 0 || (size_t)length + (size_t)tail + 2 > sizeof root->path)
        root->refuse = "the path is too long";
    else if (base[0] != '/')
        root->refuse = "it is not an absolute path";
    else if (tail > 0)
        snprintf(root->path + used, sizeof root->path - used, "%s%s", used > 1 ? "/" : "", rest);
    for (size_t i = 0; i < roots->count; i++)
        if (strcmp(roots->at[i].path, root->path) == 0)
            return NULL;
    roots->count++;
    return root;
}

/* systemd gives a list with colons when a unit has several; under DynamicUser= each is a link that it made. */
static void add_systemd(struct roots *roots)
{
    const char *list = variable("CACHE_DIRECTORY");
    if (!list)
        return;
    char first[PATH_MAX];
    size_t length = strcspn(list, ":");
    if (length == 0 || length >= sizeof first)
        return;
    memcpy(first, list, length);
    first[length] = '\0';
    struct root *root = add(roots, "CACHE_DIRECTORY", false, first, "%s", "");
    if (root)
        root->follow = true;
}

void roots_list(struct roots *roots, uid_t uid)
{
    roots->count = 0;
    const char *asked = variable("BATCHCTL_CACHE");
    if (asked) {
        struct root *root = add(roots, "BATCHCTL_CACHE", true, asked, "%s", "");
        if (root)
            root->asked = true;
    }
    add_systemd(roots);
    if (uid == 0)
        add(roots, NULL, false, "/var/cache", "batchctl");
    const char *xdg = variable("XDG_CACHE_HOME"), *home = variable("HOME"), *temporary = variable("TMPDIR");
    if (xdg && xdg[0] == '/') /* its specification: a relative one is to be ignored */
        add(roots, "XDG_CACHE_HOME", true, xdg, "batchctl");
    else if (home)
        add(roots, "HOME", false, home, ".cache/batchctl");
    const unsigned long number = (unsigned long)uid;
    add(roots, NULL, false, "/var/tmp", "batchctl-%lu", number);
    if (temporary)
        add(roots, "TMPDIR", false, temporary, "batchctl-%lu", number);
    add(roots, NULL, false, "/tmp", "batchctl-%lu", number);
    add(roots, NULL, false, "/dev/shm", "batchctl-%lu", number);
}

/* A user namespace with one user in it, a plain one outside (unshare -r): the root in it is no superuser, and all that is
 * not his looks as if it belonged to nobody, the system's folders included. */
static bool is_alone(void)
{
    char map[256] = "";
    unsigned long inside, outside, count;
    int end = 0;
    int fd = io_open(AT_FDCWD, "/proc/self/uid_map", O_RDONLY, 0);
    if (fd >= 0)
        (void)io_read_at(fd, map, sizeof map - 1, 0); /* as much as there is */
    io_close(&fd);
    return sscanf(map, "%lu %lu %lu %n", &inside, &outside, &count, &end) == 3 && map[end] == '\0' && outside != 0 && count == 1;
}

bool roots_need_safe_parents(uid_t uid)
{
    if (uid == 0 && is_alone())
        return false;
    struct stat home;
    const char *path = variable("HOME");
    return uid == 0 || (path && stat(path, &home) == 0 && home.st_uid != uid);
}
