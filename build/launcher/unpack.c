#define _GNU_SOURCE
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io.h"
#include "lock.h"
#include "manifest.h"
#include "signals.h"
#include "stream.h"
#include "sweep.h"
#include "tree.h"

enum {
    LARGE = 1 << 20,       /* from here on a file's way to the disk begins before all are written */
    PER_FILE = 4096,       /* what a file costs beyond its content, about */
    SPARE = 4 * (1 << 20), /* for the folders, and to leave a little */
};

bool unpack_has_room(int folder, const struct footer *footer, struct reason *why)
{
    struct statvfs system;
    if (fstatvfs(folder, &system) != 0) {
        because_errno(why, "its file system does not answer");
        return false;
    }
    uint64_t needed = footer->unpacked_length + (uint64_t)footer->entries * PER_FILE + SPARE;
    uint64_t there = (uint64_t)system.f_bavail * system.f_frsize;
    if (there < needed) {
        because(why, "%" PRIu64 " MB are free and %" PRIu64 " MB are needed", there / 1000000, needed / 1000000 + 1);
        return false;
    }
    /* File systems that make inodes as they go say 0 of 0. */
    if (system.f_files > 0 && system.f_favail < (uint64_t)footer->entries * 5 / 4 + 16) {
        because(why, "%" PRIu64 " inodes are free and it has %" PRIu32 " files", (uint64_t)system.f_favail, footer->entries);
        return false;
    }
    return true;
}

static bool failed_at(struct reason *why, const char *path)
{
    char what[300], shown[200];
    int kept = errno;
    (void)strcpy(what, "unpacking ");
    (void)strcat(what, printable(shown, sizeof shown, path));
    errno = kept;
    because_errno(why, what);
    return false;
}

/* Make the folders of `path` that the path before it did not have. */
static bool make_folders(int tree, const char *path, const char *before, struct reason *why)
{
    for (size_t length = 0; (length = manifest_folder(path, length)) > 0;) {
        if (strncmp(path, before, length + 1) == 0)
            continue;
        char folder[MOST_PATH + 1];
        memcpy(folder, path, length);
        folder[length] = '\0';
        if (mkdirat(tree, folder, 0700) != 0 && errno != EEXIST) /* a sorted list leaves a folder and comes back: a.b, a/c */
            return failed_at(why, folder);
    }
    return true;
}

static int create(int tree, const char *path)
{
    return io_open(tree, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
}

/* The last steps of a new file, whose content `written` says is there. A file system that keeps no modes would have us
 * unpack all of it at every start only to find that out: the first file tells. */
static bool finish(int *fd, const char *path, unsigned int mode, bool written, struct reason *why)
{
    struct stat made;
    if (written && fchmod(*fd, mode) == 0 && fstat(*fd, &made) == 0) {
        if ((made.st_mode & 07777) != mode) {
            because(why, "its file system does not keep the modes of files");
            io_close(fd);
            return false;
        }
        int closed = close(*fd); /* where quotas speak up late (NFS), it is here */
        *fd = -1;
        if (closed == 0)
            return true;
    }
    failed_at(why, path);
    io_close(fd);
    return false;
}

static bool make_file(int tree, const struct entry *entry, struct stream *stream, struct reason *why)
{
    int fd = create(tree, entry->path);
    if (fd < 0)
        return failed_at(why, entry->path);
    bool written = true;
    for (uint64_t left = entry->size; left > 0 && written;) {
        size_t length;
        const void *data = stream_next(stream, left, &length, why);
        if (!data) {
            io_close(&fd);
            return false;
        }
        written = io_write(fd, data, length);
        left -= length;
    }
    if (written && entry->size >= LARGE)
        (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a hint: syncfs below is what counts */
    return finish(&fd, entry->path, entry->mode, written, why);
}

static bool make_manifest(int tree, const void *text, size_t length, struct reason *why)
{
    int fd = create(tree, TREE_MANIFEST);
    if (fd < 0)
        return failed_at(why, TREE_MANIFEST);
    return finish(&fd, TREE_MANIFEST, 0644, io_write(fd, text, length), why);
}

static bool make_entries(int tree, const struct manifest *manifest, struct stream *stream, struct reason *why)
{
    const char *before = "";
    for (size_t i = 0; i < manifest->count; i++) {
        const struct entry *entry = &manifest->entries[i];
        if (!make_folders(tree, entry->path, before, why))
            return false;
        before = entry->path;
        if (!entry->target) {
            if (!make_file(tree, entry, stream, why))
                return false;
        } else if (symlinkat(entry->target, tree, entry->path) != 0) {
            return failed_at(why, entry->path);
        }
    }
    return stream_is_over(stream, why);
}

static bool put_on_disk(int tree, struct reason *why)
{
    if (syncfs(tree) == 0)
        return true;
    if (errno == ENOSYS || errno == EOPNOTSUPP) {
        sync();
        return true;
    }
    because_errno(why, "the disk did not take the tree");
    return false;
}

/* A new folder under a name that nobody looks for, with our shared lock on it: the lock stays with it when it is renamed. */
static int make_temporary(int root, char name[TEMPORARY_NAME], bool *locked, struct reason *why)
{
    int tree = -1;
    for (int tries = 0; tries < 16; tries++) {
        sweep_name(name, false);
        if (mkdirat(root, name, 0700) == 0) {
            tree = io_open(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
            break;
        }
        if (errno != EEXIST)
            break;
    }
    if (tree < 0) {
        because_errno(why, "no folder can be made in it");
        (void)unlinkat(root, name, AT_REMOVEDIR);
        return -1;
    }
    *locked = lock_try(tree, LOCK_SH) == LOCK_HELD;
    return tree;
}

/* The file system did what it said: some keep no modes or owners, and would have us unpack at every start. */
static bool kept_as_made(int tree, const struct footer *footer, uid_t uid, struct reason *why)
{
    struct reason found;
    if (tree_check(tree, footer, uid, &found) == TREE_WHOLE)
        return true;
    because(why, "its file system does not keep what was unpacked: %.200s", found.text);
    return false;
}

static bool give_name(int root, const char *name, const char *id, bool replace, struct reason *why)
{
    if (replace && !sweep_aside(root, id, why))
        return false;
    if (renameat(root, name, root, id) == 0)
        return true;
    because_errno(why, "the new tree cannot be given its name");
    return false;
}

static bool make_tree(int root, const struct footer *footer, uid_t uid, const struct manifest *manifest, const void *text,
                      struct stream *stream, bool replace, int *lock, struct reason *why)
{
    char name[TEMPORARY_NAME];
    bool locked;
    int tree = make_temporary(root, name, &locked, why);
    if (tree < 0)
        return false;
    bool made = make_entries(tree, manifest, stream, why)
             && make_manifest(tree, text, (size_t)footer->manifest_length, why) && kept_as_made(tree, footer, uid, why)
             && put_on_disk(tree, why) && give_name(root, name, footer->build_id, replace, why);
    if (!made) {
        (void)sweep_remove(root, name); /* what is left of it now is the next sweep's */
    } else {
        /* Only whether the name outlives a power cut hangs on this, and without it the next start unpacks again. */
        (void)fsync(root);
    }
    if (made && locked)
        *lock = tree;
    else
        io_close(&tree);
    return made;
}

bool unpack_tree(int root, int exe, const struct footer *footer, uid_t uid, bool replace, int *lock, struct reason *why)
{
    struct manifest manifest = {0};
    struct held size;
    *lock = -1;
    size_t length = (size_t)footer->manifest_length;
    struct stream *stream = stream_begin(exe, footer, why);
    if (!stream)
        return false;
    char *text = malloc(length);
    bool made = false;
    signals_hold(&size, SIGXFSZ); /* a limit of the size of files is an error like any other */
    if (!text)
        because_errno(why, "no memory to unpack");
    else
        made = stream_read(stream, text, length, why) && manifest_parse(&manifest, text, footer, why)
            && make_tree(root, footer, uid, &manifest, text, stream, replace, lock, why);
    signals_release(&size);
    manifest_free(&manifest);
    free(text);
    stream_free(stream);
    return made;
}
