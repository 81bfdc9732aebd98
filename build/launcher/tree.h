/* A tree in a root: is it there, is it whole, is it ours to run from. */
#ifndef BATCHCTL_TREE_H
#define BATCHCTL_TREE_H

#include <stdint.h>
#include <sys/types.h>

#include "footer.h"
#include "say.h"

enum tree_result {
    TREE_WHOLE,
    TREE_ABSENT,
    TREE_DAMAGED, /* something of that name is there, and it is not the tree: replace it */
    TREE_BUSY,    /* somebody holds it exclusively: a sweep, or a cleaner of temporary files */
    TREE_FAILED,  /* we could not look: it may be whole */
};

#define TREE_MANIFEST "MANIFEST"

/* Look for the footer's tree in the folder `root`, compare every file's kind, size, mode and owner with its manifest, and
 * hold its shared lock: `*lock` is the descriptor that holds it, or -1 where the file system has no locks. Contents are
 * not read. A tree that is used says so by its time of change, once a day. */
enum tree_result tree_take(int root, const struct footer *footer, uid_t uid, int *lock, struct reason *why);

/* The comparison alone, of the open folder `tree`: TREE_WHOLE, TREE_DAMAGED or TREE_FAILED. */
enum tree_result tree_check(int tree, const struct footer *footer, uid_t uid, struct reason *why);

#endif
