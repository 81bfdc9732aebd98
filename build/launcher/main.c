/* The launcher: the first part of the one file. It finds or makes the tree that is packed behind it, and becomes the
 * program in there. docs/executable.md says what it promises; the order of the steps is this file. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "io.h"
#include "privilege.h"
#include "start.h"

static const char OWN_FILE[] = "/proc/self/exe";

static int fail(int code, const char *what, const char *file, const char *fix)
{
    char shown[1024];
    say("batchctl: error: %s\n  where: %s\n  fix: %s\n", what, printable(shown, sizeof shown, file), fix);
    return code;
}

static int fail_damaged(const struct reason *why, const char *file)
{
    char what[500];
    snprintf(what, sizeof what, "this file cannot be used: %s", why->text);
    return fail(EXIT_DAMAGED, what, file, "copy it again and compare its SHA-256 with the published one");
}

/* The path of our own file, for messages and for whoever starts it again. */
static void name_own_file(char path[PATH_MAX], int exe)
{
    static const char DELETED[] = " (deleted)";
    const char *given = (const char *)getauxval(AT_EXECFN); /* NOLINT: the kernel hands an address over as a number */
    ssize_t length = readlink(OWN_FILE, path, PATH_MAX - 1);
    if (length <= 0) {
        snprintf(path, PATH_MAX, "%s", given ? given : "batchctl");
        return;
    }
    path[length] = '\0';
    struct stat opened, named;
    size_t kept = (size_t)length - (sizeof DELETED - 1);
    if ((size_t)length < sizeof DELETED || strcmp(path + kept, DELETED) != 0)
        return;
    /* The kernel's remark, unless a file is really called that. */
    bool really = stat(path, &named) == 0 && fstat(exe, &opened) == 0 && named.st_dev == opened.st_dev
               && named.st_ino == opened.st_ino;
    if (!really)
        path[kept] = '\0';
}

static int open_own_file(char path[PATH_MAX], int *exe)
{
    *exe = io_open(AT_FDCWD, OWN_FILE, O_RDONLY, 0);
    int error = errno;
    name_own_file(path, *exe);
    if (*exe >= 0)
        return 0;
    struct stat proc;
    if (lstat("/proc/self", &proc) != 0)
        return fail(EXIT_NO_ROOT, "/proc is not mounted, and batchctl needs it", path, "mount -t proc proc /proc");
    char what[200];
    snprintf(what, sizeof what, "batchctl cannot read its own file: %s", strerror(error));
    return fail(EXIT_NO_ROOT, what, path, "chmod a+rx on it; a file that may only be executed is not enough");
}

/* One line on a root that somebody asked for and does not get. */
static void warn(const struct root *root, const struct reason *why)
{
    char shown[1024];
    say("batchctl: warning: %s=%s is not used: %s\n", root->from, printable(shown, sizeof shown, root->path), why->text);
}

static int fail_everywhere(const struct roots *roots, const struct reason *why, size_t tried, const struct own *own,
                           const char *file)
{
    char text[12288], shown[600];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < tried && used < sizeof text; i++) {
        const struct root *root = &roots->at[i];
        int length = snprintf(text + used, sizeof text - used, "    %s%s%s%s: %s\n",
                              printable(shown, sizeof shown, root->path), root->from ? " (" : "",
                              root->from ? root->from : "", root->from ? ")" : "", why[i].text);
        if (length > 0)
            used += (size_t)length;
    }
    char name[1024];
    say("batchctl: error: no folder will do to unpack into\n  where: %s\n%s"
        "  fix: set BATCHCTL_CACHE to a folder of yours with %" PRIu64 " MB free, where programs may run\n",
        printable(name, sizeof name, file), text, own->footer.unpacked_length / 1000000 + 10);
    return EXIT_NO_ROOT;
}

/* Roots in their order; the first in which the program starts ends this process's life as a launcher. */
static int run(struct own *own, char **argv, const char *file, mode_t mask)
{
    static struct roots roots;
    static struct reason why[MOST_ROOTS];
    static char tree[PATH_MAX];
    roots_list(&roots, own->uid);
    own->safe_parents = roots_need_safe_parents(own->uid);
    bool final = false;
    size_t tried = 0;
    for (; tried < roots.count && !final; tried++) {
        int lock;
        if (cache_use(own, &roots.at[tried], tree, &lock, &why[tried])) {
            for (size_t i = 0; i < tried; i++)
                if (roots.at[i].asked)
                    warn(&roots.at[i], &why[i]);
            (void)start(tree, argv, lock, file, mask, &final, &why[tried]);
            io_close(&lock);
        } else if (why[tried].damaged) {
            return fail_damaged(&why[tried], file);
        }
    }
    return fail_everywhere(&roots, why, tried, own, file);
}

int main(int argc, char **argv)
{
    static struct own own;
    static char file[PATH_MAX];
    (void)argc;
    if (privilege_was_raised()) {
        const char *given = (const char *)getauxval(AT_EXECFN); /* NOLINT: as above */
        return fail(EXIT_NO_ROOT, "batchctl does not run setuid, setgid or with file capabilities",
                    given ? given : "batchctl", "chmod u-s,g-s on it, setcap -r on it; run it as the user who is to own the job");
    }
    mode_t mask = umask(077);
    int code = open_own_file(file, &own.exe);
    if (code != 0)
        return code;
    struct reason why;
    if (!footer_read(&own.footer, own.exe, &why))
        return fail_damaged(&why, file);
    own.uid = geteuid();
    return run(&own, argv, file, mask);
}
