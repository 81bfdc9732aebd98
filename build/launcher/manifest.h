/* The list of a tree's files: text that becomes records, or a reason. Its lines are in docs/executable.md. */
#ifndef BATCHCTL_MANIFEST_H
#define BATCHCTL_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "footer.h"
#include "say.h"

enum { MOST_PATH = 1024, MOST_NAME = 255 };

/* One file or symbolic link. Its strings point into the manifest's text. */
struct entry {
    const char *path;
    const char *target; /* of a link; NULL for a file */
    uint64_t size;
    unsigned int mode; /* 0755 or 0644 */
};

struct manifest {
    char *text; /* a copy, with zeros at the ends of strings */
    struct entry *entries;
    size_t count;
};

/* Parse the manifest that `footer` speaks of. Once true: the digest is right, paths are relative, sorted, unique and
 * inside the tree, no path goes through a link or a file, links stay inside, sizes add up to the unpacked length, and
 * there is a `batchctl` to start. Free it either way. */
bool manifest_parse(struct manifest *manifest, const void *text, const struct footer *footer, struct reason *why);

void manifest_free(struct manifest *manifest);

/* Length of the next leading folder of `path` after `from` bytes ("a", then "a/b" of "a/b/c"); 0 when there is none. */
size_t manifest_folder(const char *path, size_t from);

#endif
