/* A root on the disk: found, judged, and made where it is missing. */
#ifndef BATCHCTL_PLACE_H
#define BATCHCTL_PLACE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "roots.h"
#include "say.h"

struct place {
    int folder;          /* the root, open for reading; -1 while it does not exist */
    int above;           /* the deepest folder that exists above it (O_PATH) */
    size_t missing;      /* bytes of `path` that exist; what follows the slash there is to be made */
    char path[PATH_MAX]; /* without symbolic links */
};

/* Find `root` and judge it: a folder of `uid`, writable by nobody else, on a file system that runs programs, and with
 * `safe_parents` below folders that nobody else can change. False and why where it is not good. It may not exist yet.
 * Close it either way. Nothing is written. */
bool place_find(struct place *place, const struct root *root, uid_t uid, bool safe_parents, struct reason *why);

/* Make what is missing, each folder 0700, and judge the result. */
bool place_make(struct place *place, uid_t uid, struct reason *why);

void place_close(struct place *place);

#endif
