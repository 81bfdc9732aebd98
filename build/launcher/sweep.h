/* What nobody needs any more in a root: half trees of processes that were killed, and trees of builds not used lately. */
#ifndef BATCHCTL_SWEEP_H
#define BATCHCTL_SWEEP_H

#include <stdbool.h>
#include <sys/types.h>

#include "say.h"

enum { TEMPORARY_NAME = 64 };

/* A fresh name ".tmp-PID-RANDOM", or ".tmp-old-PID-RANDOM" for what somebody may still run from. */
void sweep_name(char name[TEMPORARY_NAME], bool old);

/* Remove a file or a folder with all that is in it, through no link. False where something is left. */
bool sweep_remove(int folder, const char *name);

/* Does a process run from the tree `id`, as far as can be told? True where folders cannot be locked. */
bool sweep_is_used(int root, const char *id);

/* Get the entry `id` of `root` out of the way, whatever it is: processes that run from it go on, and a later sweep removes
 * it when they have ended. */
bool sweep_aside(int root, const char *id, struct reason *why);

/* Sweep `root`, but not the tree `keep`. `locked`: we hold .lock, so that nobody else is making a tree. What cannot be
 * removed now is left for the next sweep. */
void sweep_root(int root, const char *keep, uid_t uid, bool locked);

#endif
