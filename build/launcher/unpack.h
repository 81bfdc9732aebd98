/* Making a tree: unpacked beside its place, checked, on the disk, and only then given its name. */
#ifndef BATCHCTL_UNPACK_H
#define BATCHCTL_UNPACK_H

#include <stdbool.h>
#include <sys/types.h>

#include "footer.h"
#include "say.h"

/* Unpack the payload of the open file `exe` into `root` as the footer's tree. True: it is whole, durable, and its shared
 * lock is held by `*lock` (-1 where there are no locks). False: `why`, and nothing is left of it; why->damaged says that
 * the file is at fault. `replace`: what has the tree's name now goes aside once the new one is ready, and not before: a
 * process that runs from it loads from there. The caller holds .lock and has compared the payload with its digest. */
bool unpack_tree(int root, int exe, const struct footer *footer, uid_t uid, bool replace, int *lock, struct reason *why);

/* Room for a tree on the file system of `folder`: bytes and inodes. */
bool unpack_has_room(int folder, const struct footer *footer, struct reason *why);

#endif
