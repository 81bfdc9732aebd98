/* Fuzzing within one process, from a fixed seed: footers, manifests and frames that were changed at random, with the
 * digests made right again so that the parsers behind them are reached. Under the sanitizers any slip ends it; beyond
 * that, whatever is accepted is held against the promises of the headers.
 *
 *     fuzz FOLDER [INPUTS [SEED]]     FOLDER: an empty folder of ours, preferably in memory
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "io.h"
#include "manifest.h"
#include "sweep.h"
#include "unpack.h"

enum { TEXT_MOST = 4096, PACKED_MOST = 3 * TEXT_MOST, LAUNCHER = 64, KINDS = 16 };

static uint64_t state;

static uint64_t dice(uint64_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % sides;
}

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "fuzz: broken: %s\n", what);
    abort();
}

static const char SAMPLE[] =
    "batchctl-tree 1 1.0\n"
    "f 0644 3 00000000000000000000000000000000000000000000000000000000000000aa _internal/a.so\n"
    "f 0755 0 00000000000000000000000000000000000000000000000000000000000000bb _internal/b/c\n"
    "l ../a.so _internal/b/link\n"
    "l b/link _internal/d\n"
    "f 0755 9 00000000000000000000000000000000000000000000000000000000000000cc batchctl\n"
    "f 0644 20 00000000000000000000000000000000000000000000000000000000000000dd z/y/x\n";
enum { SAMPLE_CONTENT = 3 + 0 + 9 + 20 };

static const char *const PIECES[] = {
    "..", "../", "/", "l ", "f ", " ", "\n", "0", "18446744073709551615", "999999999999", "a", "batchctl", "MANIFEST",
    "0755", "4755", ".", "//", "_internal/d/x", "\t", "\\", "l .. a\n", "l b a\n",
};

static size_t put(char *text, size_t length, size_t at, const char *piece, size_t size)
{
    if (length + size > TEXT_MOST)
        return length;
    memmove(text + at + size, text + at, length - at);
    memcpy(text + at, piece, size);
    return length + size;
}

/* One to four changes: a byte, a piece put in, a part taken out, a part doubled. */
static size_t mutate(char *text, size_t length)
{
    for (uint64_t left = 1 + dice(4); left > 0 && length > 1; left--) {
        size_t at = (size_t)dice(length), span = 1 + (size_t)dice(length - at < 90 ? length - at : 90);
        switch (dice(4)) {
        case 0:
            text[at] = (char)dice(256);
            break;
        case 1: {
            const char *piece = PIECES[dice(sizeof PIECES / sizeof *PIECES)];
            length = put(text, length, at, piece, strlen(piece));
            break;
        }
        case 2:
            memmove(text + at, text + at + span, length - at - span);
            length -= span;
            break;
        default: {
            char copy[96];
            memcpy(copy, text + at, span);
            length = put(text, length, (size_t)dice(length), copy, span);
            break;
        }
        }
    }
    return length ? length : 1;
}

static void make_id(struct footer *footer)
{
    size_t used = (size_t)snprintf(footer->build_id, sizeof footer->build_id, "1.0-");
    for (int i = 0; i < 8; i++)
        used += (size_t)snprintf(footer->build_id + used, sizeof footer->build_id - used, "%02x",
                                 footer->manifest_digest[i]);
}

/* A footer that is right for `text`, and mostly for what follows it. */
static void footer_for(struct footer *footer, const char *text, size_t length)
{
    memset(footer, 0, sizeof *footer);
    footer->manifest_length = length;
    for (size_t i = 0; i < length; i++)
        footer->entries += text[i] == '\n';
    footer->entries -= footer->entries > 1;
    if (footer->entries == 0 || dice(50) == 0)
        footer->entries = 1 + (uint32_t)dice(MOST_ENTRIES);
    footer->unpacked_length = length + SAMPLE_CONTENT;
    if (dice(50) == 0)
        footer->unpacked_length = length + dice(MOST_UNPACKED - length);
    blake2b_of(text, length, footer->manifest_digest);
    make_id(footer);
}

static void check_manifest(const struct manifest *manifest, const struct footer *footer)
{
    uint64_t total = footer->manifest_length;
    must(manifest->count == footer->entries, "the number of entries");
    for (size_t i = 0; i < manifest->count; i++) {
        const struct entry *entry = &manifest->entries[i];
        char slashed[MOST_PATH + 3];
        must(strlen(entry->path) <= MOST_PATH, "the length of a path");
        snprintf(slashed, sizeof slashed, "/%s/", entry->path);
        must(!strstr(slashed, "//") && !strstr(slashed, "/./") && !strstr(slashed, "/../"), "a path stays inside");
        must(i == 0 || strcmp(entry[-1].path, entry->path) < 0, "paths are sorted");
        must(entry->target ? entry->size == 0 : entry->mode == 0644 || entry->mode == 0755, "modes");
        must(!entry->target || (entry->target[0] != '/' && strcmp(entry->target, "..") != 0), "links are relative");
        total += entry->size;
        for (size_t j = 0; j < manifest->count; j++) {
            size_t above = strlen(manifest->entries[j].path);
            must(strncmp(entry->path, manifest->entries[j].path, above) != 0 || entry->path[above] != '/',
                 "nothing is reached through a file or a link");
        }
    }
    must(total == footer->unpacked_length, "the sum of the sizes");
}

static uint64_t fuzz_manifest(void)
{
    char text[TEXT_MOST];
    size_t length = sizeof SAMPLE - 1;
    memcpy(text, SAMPLE, length);
    if (dice(100) != 0)
        length = mutate(text, length);
    struct footer footer;
    footer_for(&footer, text, length);
    struct manifest manifest;
    struct reason why;
    bool accepted = manifest_parse(&manifest, text, &footer, &why);
    if (accepted)
        check_manifest(&manifest, &footer);
    manifest_free(&manifest);
    return accepted;
}

static void store(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

static void write_footer(unsigned char raw[FOOTER_LENGTH], const struct footer *footer)
{
    memset(raw, 0, FOOTER_LENGTH);
    memcpy(raw, "BATCHCTL-FOOTER1", 16);
    store(raw + 16, footer->payload_offset, 8);
    store(raw + 24, footer->payload_length, 8);
    store(raw + 32, footer->unpacked_length, 8);
    store(raw + 40, footer->manifest_length, 8);
    store(raw + 48, footer->entries, 4);
    memcpy(raw + 56, footer->payload_digest, DIGEST_LENGTH);
    memcpy(raw + 88, footer->manifest_digest, DIGEST_LENGTH);
    memcpy(raw + 120, footer->build_id, BUILD_ID_LENGTH);
    memcpy(raw + 184, footer->launcher_digest, DIGEST_LENGTH);
    blake2b_of(raw, 224, raw + 224);
}

static uint64_t fuzz_footer(void)
{
    struct footer footer, parsed;
    footer_for(&footer, SAMPLE, sizeof SAMPLE - 1);
    footer.payload_offset = LAUNCHER;
    footer.payload_length = 1 + dice(1000);
    uint64_t size = LAUNCHER + footer.payload_length + FOOTER_LENGTH;
    unsigned char raw[FOOTER_LENGTH];
    write_footer(raw, &footer);
    for (uint64_t left = dice(4); left > 0; left--) {
        size_t at = (size_t)dice(FOOTER_LENGTH);
        raw[at] = dice(3) ? (unsigned char)dice(256) : dice(2) ? 0xff : 0;
    }
    if (dice(8) != 0)
        blake2b_of(raw, 224, raw + 224);
    struct reason why;
    bool accepted = footer_parse(&parsed, raw, dice(20) ? size : dice(UINT64_MAX), &why);
    if (accepted) {
        must(parsed.payload_offset + parsed.payload_length + FOOTER_LENGTH == size, "lengths add up");
        must(parsed.manifest_length <= MOST_MANIFEST && parsed.entries <= MOST_ENTRIES, "caps");
        must(footer_is_build_id(parsed.build_id) && !strchr(parsed.build_id, '/'), "the build id is a name");
    }
    return accepted;
}

/* The folder holds nothing, or the tree and nothing else. */
static void check_folder(int folder, const char *tree)
{
    int fd = io_open(folder, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *list = fdopendir(fd);
    must(list != NULL, "the folder can be read");
    for (struct dirent *entry; (entry = readdir(list)) != NULL;)
        must(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0
                 || (tree && strcmp(entry->d_name, tree) == 0),
             "nothing is left beside the tree");
    (void)closedir(list);
}

static uint64_t fuzz_frame(int folder, int file)
{
    char raw[TEXT_MOST + SAMPLE_CONTENT];
    unsigned char packed[PACKED_MOST];
    size_t length = sizeof SAMPLE - 1;
    memcpy(raw, SAMPLE, length);
    if (dice(3) == 0)
        length = mutate(raw, length);
    struct footer footer;
    footer_for(&footer, raw, length);
    size_t content = dice(8) ? SAMPLE_CONTENT : (size_t)dice(SAMPLE_CONTENT);
    memset(raw + length, 'x', content);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    must(zstd != NULL, "memory");
    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, dice(30) != 0);
    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, dice(2) != 0);
    size_t size = ZSTD_compress2(zstd, packed, sizeof packed / 2, raw, length + content);
    must(!ZSTD_isError(size), "the sample can be packed");
    (void)ZSTD_freeCCtx(zstd);
    for (uint64_t left = dice(3); left > 0; left--)
        packed[dice(size)] = (unsigned char)dice(256);
    if (dice(10) == 0)
        size = 1 + (size_t)dice(size);
    else if (dice(10) == 0)
        packed[size++] = (unsigned char)dice(256);
    footer.payload_offset = LAUNCHER;
    footer.payload_length = size;
    must(ftruncate(file, 0) == 0 && pwrite(file, packed, size, LAUNCHER) == (ssize_t)size, "the file can be written");
    int lock;
    struct reason why;
    bool made = unpack_tree(folder, file, &footer, geteuid(), false, &lock, &why);
    check_folder(folder, made ? footer.build_id : NULL);
    must(made || why.damaged, "a failure is the file's fault");
    if (made)
        must(sweep_remove(folder, footer.build_id), "the tree can be removed");
    io_close(&lock);
    return made;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fputs("fuzz FOLDER [INPUTS [SEED]]\n", stderr);
        return 64;
    }
    uint64_t inputs = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
    state = (argc > 3 ? strtoull(argv[3], NULL, 10) : 1) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    int folder = io_open(AT_FDCWD, argv[1], O_RDONLY | O_DIRECTORY, 0);
    int file = memfd_create("fuzz", MFD_CLOEXEC);
    must(folder >= 0 && file >= 0, "a folder and a file to work with");
    uint64_t accepted[3] = {0, 0, 0}, tried[3] = {0, 0, 0};
    for (uint64_t i = 0; i < inputs; i++) {
        uint64_t kind = dice(KINDS), which = kind == 0 ? 2 : kind <= 5;
        tried[which]++;
        accepted[which] += which == 2 ? fuzz_frame(folder, file) : which == 1 ? fuzz_footer() : fuzz_manifest();
    }
    printf("manifests %" PRIu64 "/%" PRIu64 " footers %" PRIu64 "/%" PRIu64 " frames %" PRIu64 "/%" PRIu64 " accepted\n",
           accepted[0], tried[0], accepted[1], tried[1], accepted[2], tried[2]);
    io_close(&folder);
    io_close(&file);
    return 0;
}
