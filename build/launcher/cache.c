#define _GNU_SOURCE
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "io.h"
#include "lock.h"
#include "place.h"
#include "sweep.h"
#include "tree.h"
#include "unpack.h"

static const char LOCK_NAME[] = ".lock";

/* The whole file against its digests: once, and only by a process that is going to unpack. */
static bool verify(struct own *own, struct reason *why)
{
    own->verified = own->verified || footer_verify(&own->footer, own->exe, why);
    return own->verified;
}

static bool was_used_before(int folder)
{
    struct stat found;
    return fstatat(folder, LOCK_NAME, &found, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Before the first thing is written: a damaged file, or a root without room, leaves no trace. */
static bool worth_writing(struct own *own, const struct place *place, struct reason *why)
{
    if (place->folder >= 0 && was_used_before(place->folder))
        return true; /* the room is counted after the sweep */
    return unpack_has_room(place->folder >= 0 ? place->folder : place->above, &own->footer, why) && verify(own, why);
}

/* Whoever clears the folder away takes .lock along, and a lock on a file without a name excludes nobody. */
static bool is_still_the_lock(int folder, int fd)
{
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && fstatat(folder, LOCK_NAME, &named, AT_SYMLINK_NOFOLLOW) == 0
        && opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* One attempt of hold_root; `*again` says that .lock became another file while we waited. */
static int hold_once(int folder, uid_t uid, bool *locked, bool *again, struct reason *why)
{
    *again = false;
    int fd = io_open(folder, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    struct stat found;
    if (fd < 0 || fstat(fd, &found) != 0) {
        because_errno(why, "its .lock cannot be opened");
        io_close(&fd);
        return -1;
    }
    if (!S_ISREG(found.st_mode) || found.st_uid != uid) {
        because(why, "its .lock is not a file of ours");
        io_close(&fd);
        return -1;
    }
    enum lock_result result = lock_wait(fd, LOCK_EX, LOCK_WAIT_SECONDS);
    *locked = result == LOCK_HELD;
    *again = result == LOCK_HELD && !is_still_the_lock(folder, fd);
    if ((result == LOCK_HELD && !*again) || result == LOCK_UNSUPPORTED)
        return fd;
    if (*again)
        because(why, "its .lock is removed again and again");
    else if (result == LOCK_OTHERS)
        because(why, "another process has held its .lock for %d s", LOCK_WAIT_SECONDS);
    else
        because_errno(why, "its .lock cannot be locked");
    io_close(&fd);
    return -1;
}

/* Hold ROOT/.lock: its descriptor, or -1 and why. `*locked` is false where the file system has no locks. */
static int hold_root(int folder, uid_t uid, bool *locked, struct reason *why)
{
    bool again = true;
    int fd = -1;
    for (int tries = 0; again && tries < 8; tries++)
        fd = hold_once(folder, uid, locked, &again, why);
    return fd;
}

static bool take_or_make(struct own *own, int folder, bool locked, int *lock, struct reason *why)
{
    const char *id = own->footer.build_id;
    bool replace = false;
    switch (tree_take(folder, &own->footer, own->uid, lock, why)) {
    case TREE_WHOLE: /* somebody made it while we waited for the lock */
        return true;
    case TREE_BUSY: /* a cleaner of temporary files is in it: what it leaves is unknown, and it does not see a new tree */
    case TREE_DAMAGED:
        replace = true;
        break;
    case TREE_FAILED:
        return false;
    case TREE_ABSENT:
        break;
    }
    if (!verify(own, why)) /* before anything there is touched */
        return false;
    /* What nobody runs from goes first, for its room; what is in use stays in its place until it can be replaced. */
    if (replace && !sweep_is_used(folder, id)) {
        if (!sweep_aside(folder, id, why))
            return false;
        replace = false;
    }
    sweep_root(folder, id, own->uid, locked);
    if (!unpack_has_room(folder, &own->footer, why))
        return false;
    if (unpack_tree(folder, own->exe, &own->footer, own->uid, replace, lock, why))
        return true;
    /* Where there are no locks, or somebody removed .lock, another process may have been faster with the same tree. */
    struct reason ignored;
    return !why->damaged && tree_take(folder, &own->footer, own->uid, lock, &ignored) == TREE_WHOLE;
}

static bool use_place(struct own *own, struct place *place, int *lock, struct reason *why)
{
    if (place->folder >= 0) {
        enum tree_result found = tree_take(place->folder, &own->footer, own->uid, lock, why);
        if (found == TREE_WHOLE)
            return true;
        if (found == TREE_FAILED)
            return false;
    }
    if (!worth_writing(own, place, why))
        return false;
    if (place->folder < 0 && !place_make(place, own->uid, why))
        return false;
    bool locked;
    int held = hold_root(place->folder, own->uid, &locked, why);
    if (held < 0)
        return false;
    bool used = take_or_make(own, place->folder, locked, lock, why);
    io_close(&held); /* the tree's own lock is held by now */
    return used;
}

bool cache_use(struct own *own, const struct root *root, char tree[PATH_MAX], int *lock, struct reason *why)
{
    struct place place;
    *lock = -1;
    bool used = place_find(&place, root, own->uid, own->safe_parents, why) && use_place(own, &place, lock, why);
    if (used) {
        int length = snprintf(tree, PATH_MAX, "%s/%s", place.path, own->footer.build_id);
        if (length < 0 || length >= PATH_MAX) {
            because(why, "the path is too long");
            io_close(lock);
            used = false;
        }
    }
    place_close(&place);
    return used;
}
