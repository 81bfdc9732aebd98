#define _GNU_SOURCE
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io.h"
#include "lock.h"
#include "manifest.h"

enum { DAY = 86400, OTHERS_WRITE = S_IWGRP | S_IWOTH };

static bool folders_are_right(int tree, const char *path, const char *before, uid_t uid)
{
    for (size_t length = 0; (length = manifest_folder(path, length)) > 0;) {
        if (strncmp(path, before, length + 1) == 0)
            continue; /* looked at for the file before */
        char folder[MOST_PATH + 1];
        memcpy(folder, path, length);
        folder[length] = '\0';
        struct stat found;
        if (fstatat(tree, folder, &found, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(found.st_mode) || found.st_uid != uid
            || (found.st_mode & OTHERS_WRITE))
            return false;
    }
    return true;
}

static bool entry_is_right(int tree, const struct entry *entry, uid_t uid)
{
    struct stat found;
    if (fstatat(tree, entry->path, &found, AT_SYMLINK_NOFOLLOW) != 0 || found.st_uid != uid)
        return false;
    if (!entry->target)
        return S_ISREG(found.st_mode) && (uint64_t)found.st_size == entry->size && (found.st_mode & 07777) == entry->mode;
    char target[MOST_PATH + 2];
    ssize_t length = S_ISLNK(found.st_mode) ? readlinkat(tree, entry->path, target, sizeof target) : -1;
    return length == (ssize_t)strlen(entry->target) && memcmp(target, entry->target, (size_t)length) == 0;
}

static enum tree_result damaged(struct reason *why, const char *what)
{
    char shown[200];
    because(why, "%s is missing or not as it was made", printable(shown, sizeof shown, what));
    return TREE_DAMAGED;
}

enum tree_result tree_check(int tree, const struct footer *footer, uid_t uid, struct reason *why)
{
    struct manifest manifest = {0};
    enum tree_result result = TREE_WHOLE;
    char *text = malloc((size_t)footer->manifest_length);
    if (!text) {
        because_errno(why, "the tree there cannot be checked");
        return TREE_FAILED;
    }
    if (!io_read_file(tree, TREE_MANIFEST, text, (size_t)footer->manifest_length)) {
        result = io_short_of_means() ? TREE_FAILED : TREE_DAMAGED;
        because_errno(why, TREE_MANIFEST);
    } else if (!manifest_parse(&manifest, text, footer, why)) {
        result = why->damaged ? damaged(why, TREE_MANIFEST) : TREE_FAILED;
    }
    const char *before = "";
    for (size_t i = 0; i < manifest.count && result == TREE_WHOLE; i++) {
        const char *path = manifest.entries[i].path;
        errno = 0; /* what is merely wrong sets none */
        if (!folders_are_right(tree, path, before, uid) || !entry_is_right(tree, &manifest.entries[i], uid))
            result = io_short_of_means() ? TREE_FAILED : damaged(why, path);
        before = path;
    }
    manifest_free(&manifest);
    free(text);
    return result;
}

static enum tree_result open_tree(int root, const char *id, uid_t uid, int *tree, struct reason *why)
{
    struct stat found;
    *tree = io_open(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (*tree < 0 || fstat(*tree, &found) != 0) {
        because_errno(why, "the tree there cannot be opened");
        return errno == ENOENT ? TREE_ABSENT : io_short_of_means() ? TREE_FAILED : TREE_DAMAGED;
    }
    if (found.st_uid != uid || (found.st_mode & OTHERS_WRITE))
        return damaged(why, id);
    return TREE_WHOLE;
}

/* Between open and lock a sweep may have renamed the folder: is the name still this one? */
static bool still_there(int root, const char *id, int tree)
{
    struct stat opened, named;
    return fstat(tree, &opened) == 0 && fstatat(root, id, &named, AT_SYMLINK_NOFOLLOW) == 0
        && opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* The sweep of another build asks how long ago this was. On a file system for reading only there is no sweep either. */
static void note_use(int tree)
{
    struct stat found;
    time_t now = time(NULL);
    if (fstat(tree, &found) == 0 && (now < found.st_mtime || now - found.st_mtime > DAY))
        (void)futimens(tree, NULL);
}

enum tree_result tree_take(int root, const struct footer *footer, uid_t uid, int *lock, struct reason *why)
{
    int tree = -1;
    *lock = -1;
    enum tree_result result = open_tree(root, footer->build_id, uid, &tree, why);
    enum lock_result locked = result == TREE_WHOLE ? lock_try(tree, LOCK_SH) : LOCK_UNSUPPORTED;
    if (locked == LOCK_OTHERS) {
        because(why, "another process holds the lock of the tree there");
        result = TREE_BUSY;
    } else if (locked == LOCK_FAILED) {
        because_errno(why, "the tree there cannot be locked");
        result = TREE_FAILED;
    } else if (result == TREE_WHOLE && !still_there(root, footer->build_id, tree)) {
        result = TREE_ABSENT;
    }
    if (result == TREE_WHOLE)
        result = tree_check(tree, footer, uid, why);
    if (result == TREE_WHOLE)
        note_use(tree);
    if (result == TREE_WHOLE && locked == LOCK_HELD)
        *lock = tree;
    else
        io_close(&tree);
    return result;
}
