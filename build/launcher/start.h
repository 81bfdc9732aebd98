/* The last step: this process becomes the program. */
#ifndef BATCHCTL_START_H
#define BATCHCTL_START_H

#include <stdbool.h>
#include <sys/types.h>

#include "say.h"

/* Become TREE/batchctl with `argv` as it was given, the environment plus _BATCHCTL_LAUNCHER="LOCK FILE", and the caller's
 * `mask` for new files. Returns only where that fails: false and why, with everything as it was. `*final` says that no
 * other root would do better. */
bool start(const char *tree, char **argv, int lock, const char *file, mode_t mask, bool *final, struct reason *why);

#endif
