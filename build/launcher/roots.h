/* Where a tree may live: the candidates of docs/executable.md, in their order, from the environment alone. */
#ifndef BATCHCTL_ROOTS_H
#define BATCHCTL_ROOTS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { MOST_ROOTS = 8 };

struct root {
    const char *from;   /* the variable that names it; NULL where it is built in */
    const char *refuse; /* why it is not even looked at, or NULL */
    bool asked;         /* BATCHCTL_CACHE: somebody wants this one, and is told when it is not used */
    bool follow;        /* the folder itself may be a symbolic link */
    size_t base;        /* so many leading bytes of the path must exist; the rest is made where it is missing */
    char path[PATH_MAX];
};

struct roots {
    struct root at[MOST_ROOTS];
    size_t count;
};

/* Fill `roots` for the effective user `uid`; a folder that is named twice is listed once. */
void roots_list(struct roots *roots, uid_t uid);

/* Whoever else may write to a folder above a root could swap the tree in it. This says whether that matters: for the
 * superuser, and for somebody who runs with another's HOME (sudo). */
bool roots_need_safe_parents(uid_t uid);

#endif
