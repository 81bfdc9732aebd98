#define _GNU_SOURCE
#include "manifest.h"

#include <stdlib.h>
#include <string.h>

static const char FIRST_LINE[] = "batchctl-tree 1 ";
static const char HEX[] = "0123456789abcdef";
static const char NAME_CHARACTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-@=";
enum { MOST_FILE_DIGITS = 12 };

/* One part of a path: not empty, not "." or "..", of the characters that we allow. */
static bool is_name(const char *part, size_t length)
{
    if (length == 0 || length > MOST_NAME || strspn(part, NAME_CHARACTERS) < length)
        return false;
    return !(part[0] == '.' && (length == 1 || (length == 2 && part[1] == '.')));
}

static bool is_path(const char *path)
{
    if (strlen(path) > MOST_PATH)
        return false;
    for (;;) {
        const char *end = strchrnul(path, '/');
        if (!is_name(path, (size_t)(end - path)))
            return false;
        if (!*end)
            return true;
        path = end + 1;
    }
}

/* A link's target: some "../", not more than the folders above the link, and then a path. The folders above a link are
 * never links themselves, so that counting them is exact. */
static bool stays_inside(const char *path, const char *target)
{
    size_t depth = 0;
    for (const char *c = path; *c; c++)
        depth += *c == '/';
    while (strncmp(target, "../", 3) == 0) {
        if (depth == 0)
            return false;
        depth--;
        target += 3;
    }
    return is_path(target);
}

size_t manifest_folder(const char *path, size_t from)
{
    const char *slash = strchr(path + (from ? from + 1 : 0), '/');
    return slash ? (size_t)(slash - path) : 0;
}

/* Cut the next word off `*rest` at `mark`; NULL when there is no mark. */
static char *word(char **rest, char mark)
{
    char *start = *rest, *end = strchr(start, mark);
    if (!end)
        return NULL;
    *end = '\0';
    *rest = end + 1;
    return start;
}

static bool parse_size(const char *text, uint64_t *size)
{
    size_t length = strlen(text);
    if (length == 0 || length > MOST_FILE_DIGITS || strspn(text, "0123456789") != length || (text[0] == '0' && length > 1))
        return false;
    *size = 0;
    for (; *text; text++)
        *size = *size * 10 + (uint64_t)(*text - '0');
    return true;
}

static bool parse_line(struct entry *entry, char *line)
{
    memset(entry, 0, sizeof *entry);
    const char *kind = word(&line, ' ');
    if (kind && strcmp(kind, "l") == 0) {
        entry->target = word(&line, ' ');
        entry->path = line;
        return entry->target && is_path(line) && stays_inside(line, entry->target);
    }
    if (!kind || strcmp(kind, "f") != 0)
        return false;
    const char *mode = word(&line, ' '), *size = word(&line, ' '), *digest = word(&line, ' ');
    if (!digest || strlen(digest) != 2 * DIGEST_LENGTH || strspn(digest, HEX) != 2 * DIGEST_LENGTH)
        return false;
    if (strcmp(mode, "0755") == 0)
        entry->mode = 0755;
    else if (strcmp(mode, "0644") == 0)
        entry->mode = 0644;
    entry->path = line;
    return entry->mode && parse_size(size, &entry->size) && is_path(line);
}

static int by_path(const void *key, const void *entry)
{
    return strcmp(key, ((const struct entry *)entry)->path);
}

static const struct entry *find(const struct manifest *manifest, const char *path)
{
    return bsearch(path, manifest->entries, manifest->count, sizeof *manifest->entries, by_path);
}

/* What concerns more than one line: nothing is reached through a file or a link, and the program is there. */
static bool fits_together(const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->count; i++) {
        const char *path = manifest->entries[i].path;
        if (strncmp(path, "MANIFEST", 8) == 0 && (path[8] == '\0' || path[8] == '/'))
            return false; /* the name is taken by the manifest itself */
        for (size_t length = 0; (length = manifest_folder(path, length)) > 0;) {
            char folder[MOST_PATH + 1];
            memcpy(folder, path, length);
            folder[length] = '\0';
            if (find(manifest, folder))
                return false;
        }
    }
    const struct entry *program = find(manifest, "batchctl");
    return program && program->mode == 0755;
}

static bool parse_lines(struct manifest *manifest, const struct footer *footer, struct reason *why)
{
    char *rest = manifest->text;
    const char *first = word(&rest, '\n');
    size_t version = strlen(footer->build_id) - 17; /* without the dash and 16 digits */
    if (!first || strncmp(first, FIRST_LINE, sizeof FIRST_LINE - 1) != 0
        || strlen(first) != sizeof FIRST_LINE - 1 + version
        || strncmp(first + sizeof FIRST_LINE - 1, footer->build_id, version) != 0) {
        because_damaged(why, "line 1 of its list of files is not right");
        return false;
    }
    uint64_t total = footer->manifest_length;
    for (size_t i = 0; i < footer->entries; i++) {
        struct entry *entry = &manifest->entries[i];
        char *line = word(&rest, '\n');
        bool right = line && parse_line(entry, line) && (i == 0 || strcmp(entry[-1].path, entry->path) < 0);
        if (!right || entry->size > footer->unpacked_length - total) {
            because_damaged(why, "line %zu of its list of files is not right", i + 2);
            return false;
        }
        total += entry->size;
        manifest->count++;
    }
    if (*rest || rest != manifest->text + footer->manifest_length || total != footer->unpacked_length
        || !fits_together(manifest)) {
        because_damaged(why, "its list of files does not add up");
        return false;
    }
    return true;
}

bool manifest_parse(struct manifest *manifest, const void *text, const struct footer *footer, struct reason *why)
{
    memset(manifest, 0, sizeof *manifest);
    size_t length = (size_t)footer->manifest_length;
    unsigned char digest[DIGEST_LENGTH];
    blake2b_of(text, length, digest);
    if (memcmp(digest, footer->manifest_digest, sizeof digest) != 0) {
        because_damaged(why, "its list of files does not match its digest");
        return false;
    }
    manifest->text = malloc(length + 1);
    manifest->entries = calloc(footer->entries, sizeof *manifest->entries);
    if (!manifest->text || !manifest->entries) {
        because_errno(why, "no room for its list of files");
        return false;
    }
    memcpy(manifest->text, text, length);
    manifest->text[length] = '\0';
    return parse_lines(manifest, footer, why);
}

void manifest_free(struct manifest *manifest)
{
    free(manifest->text);
    free(manifest->entries);
    memset(manifest, 0, sizeof *manifest);
}
