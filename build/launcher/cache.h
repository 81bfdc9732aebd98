/* One root, from looking at it to a tree that can be run: the fast way, and the slow one under the lock. */
#ifndef BATCHCTL_CACHE_H
#define BATCHCTL_CACHE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "footer.h"
#include "roots.h"
#include "say.h"

/* How long another process may unpack before we go elsewhere. */
#ifndef LOCK_WAIT_SECONDS
#define LOCK_WAIT_SECONDS 120
#endif

/* Our own file, and who runs it. */
struct own {
    int exe; /* open for reading */
    struct footer footer;
    bool verified; /* launcher and payload were compared with their digests */
    uid_t uid;
    bool safe_parents;
};

/* Find the tree in `root`, or make it. True: `tree` is its path and `*lock` the descriptor of its shared lock, or -1.
 * False: `why`; where why->damaged, nothing was unpacked and no other root will do. */
bool cache_use(struct own *own, const struct root *root, char tree[PATH_MAX], int *lock, struct reason *why);

#endif
