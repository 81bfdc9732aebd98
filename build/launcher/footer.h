/* The last 256 bytes of the file: where everything is, and the digests. Its bytes are in docs/executable.md. */
#ifndef BATCHCTL_FOOTER_H
#define BATCHCTL_FOOTER_H

#include <stdbool.h>
#include <stdint.h>

#include "blake2b.h"
#include "say.h"

enum { FOOTER_LENGTH = 256, BUILD_ID_LENGTH = 64 };

/* More than any build of ours; what claims more is damaged, and nothing is allocated for it. */
#define MOST_LAUNCHER (UINT64_C(1) << 26)
#define MOST_PAYLOAD (UINT64_C(1) << 32)
#define MOST_UNPACKED (UINT64_C(1) << 33)
#define MOST_MANIFEST (UINT64_C(1) << 23)
#define MOST_ENTRIES 65536u

struct footer {
    uint64_t payload_offset; /* the launcher's length */
    uint64_t payload_length;
    uint64_t unpacked_length; /* the manifest and all files */
    uint64_t manifest_length;
    uint32_t entries;
    unsigned char payload_digest[DIGEST_LENGTH];
    unsigned char manifest_digest[DIGEST_LENGTH];
    unsigned char launcher_digest[DIGEST_LENGTH];
    char build_id[BUILD_ID_LENGTH + 1];
};

/* What `raw` says of a file of `size` bytes, or false and why it cannot be true. */
bool footer_parse(struct footer *footer, const unsigned char raw[FOOTER_LENGTH], uint64_t size, struct reason *why);

/* Read and parse the footer of the open file `fd`; where there is none, `why` tells a file that was cut short from a
 * damaged one. */
bool footer_read(struct footer *footer, int fd, struct reason *why);

/* Compare the launcher and the payload with their digests. This reads the whole file. */
bool footer_verify(const struct footer *footer, int fd, struct reason *why);

/* `id` is a name that a tree may have: VERSION-0123456789abcdef, safe as the name of a folder. */
bool footer_is_build_id(const char *id);

/* `digest` begins with the 16 hex digits that `id` ends with. */
bool footer_id_matches(const char *id, const unsigned char digest[DIGEST_LENGTH]);

#endif
