#define _GNU_SOURCE
#include "footer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"

static const char MAGIC[] = "BATCHCTL-FOOTER1";
enum {
    MAGIC_LENGTH = 16,
    DIGESTED = 224, /* the footer's own digest is of these */
    ID_DIGITS = 16,
    CHUNK = 1 << 20,
    SEARCHED = 1 << 16, /* how far before the end a footer is looked for, to explain what was appended */
};

static uint64_t number(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static bool id_character(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '+' || c == '-';
}

bool footer_is_build_id(const char *id)
{
    size_t length = strlen(id);
    if (length < 1 + 1 + ID_DIGITS || length > BUILD_ID_LENGTH || id[0] == '.' || id[length - ID_DIGITS - 1] != '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!id_character(id[i]))
            return false;
    return strspn(id + length - ID_DIGITS, "0123456789abcdef") == ID_DIGITS;
}

bool footer_id_matches(const char *id, const unsigned char digest[DIGEST_LENGTH])
{
    static const char DIGITS[] = "0123456789abcdef";
    const char *end = id + strlen(id) - ID_DIGITS;
    for (int i = 0; i < ID_DIGITS / 2; i++)
        if (end[2 * i] != DIGITS[digest[i] >> 4] || end[2 * i + 1] != DIGITS[digest[i] & 15])
            return false;
    return true;
}

static bool digest_is_right(const unsigned char raw[FOOTER_LENGTH])
{
    unsigned char digest[DIGEST_LENGTH];
    blake2b_of(raw, DIGESTED, digest);
    return memcmp(digest, raw + DIGESTED, sizeof digest) == 0;
}

bool footer_parse(struct footer *footer, const unsigned char raw[FOOTER_LENGTH], uint64_t size, struct reason *why)
{
    if (memcmp(raw, MAGIC, MAGIC_LENGTH) != 0 || !digest_is_right(raw)) {
        because_damaged(why, "its last 256 bytes do not match their digest");
        return false;
    }
    memset(footer, 0, sizeof *footer);
    footer->payload_offset = number(raw + 16, 8);
    footer->payload_length = number(raw + 24, 8);
    footer->unpacked_length = number(raw + 32, 8);
    footer->manifest_length = number(raw + 40, 8);
    footer->entries = (uint32_t)number(raw + 48, 4);
    memcpy(footer->payload_digest, raw + 56, DIGEST_LENGTH);
    memcpy(footer->manifest_digest, raw + 88, DIGEST_LENGTH);
    memcpy(footer->build_id, raw + 120, BUILD_ID_LENGTH);
    memcpy(footer->launcher_digest, raw + 184, DIGEST_LENGTH);
    if (footer->payload_offset == 0 || footer->payload_offset > MOST_LAUNCHER || footer->payload_length == 0
        || footer->payload_length > MOST_PAYLOAD || footer->unpacked_length > MOST_UNPACKED || footer->manifest_length == 0
        || footer->manifest_length > MOST_MANIFEST || footer->manifest_length > footer->unpacked_length
        || footer->entries == 0 || footer->entries > MOST_ENTRIES || number(raw + 52, 4) != 0 || number(raw + 216, 8) != 0) {
        because_damaged(why, "its footer holds numbers that cannot be true");
        return false;
    }
    /* The caps above keep the sum from wrapping round. */
    uint64_t whole = footer->payload_offset + footer->payload_length + FOOTER_LENGTH;
    if (whole != size) {
        because_damaged(why, "it has %" PRIu64 " bytes and should have %" PRIu64, size, whole);
        return false;
    }
    size_t length = strlen(footer->build_id);
    bool padded = true;
    for (size_t i = length; i < BUILD_ID_LENGTH; i++)
        padded = padded && raw[120 + i] == 0;
    if (!padded || !footer_is_build_id(footer->build_id) || !footer_id_matches(footer->build_id, footer->manifest_digest)) {
        because_damaged(why, "its footer holds a build id that cannot be true");
        return false;
    }
    return true;
}

/* The end of the file is no footer: say whether bytes are missing, wrong or too many. */
static void explain(int fd, const unsigned char raw[FOOTER_LENGTH], uint64_t size, struct reason *why)
{
    int alike = 0;
    for (int i = 0; i < MAGIC_LENGTH; i++)
        alike += raw[i] == (unsigned char)MAGIC[i];
    if (alike >= MAGIC_LENGTH - 4) {
        because_damaged(why, "it is damaged: its last 256 bytes do not match their digest");
        return;
    }
    because_damaged(why, "it was not copied whole: its end is missing");
    size_t length = size < SEARCHED ? (size_t)size : SEARCHED;
    unsigned char *end = malloc(length);
    if (end && io_read_at(fd, end, length, size - length))
        for (size_t at = length - FOOTER_LENGTH; at > 0; at--)
            if (memcmp(end + at - 1, MAGIC, MAGIC_LENGTH) == 0 && digest_is_right(end + at - 1)) {
                because_damaged(why, "it is damaged: %zu bytes follow its end", length - FOOTER_LENGTH - (at - 1));
                break;
            }
    free(end);
}

bool footer_read(struct footer *footer, int fd, struct reason *why)
{
    struct stat found;
    if (fstat(fd, &found) != 0) {
        because_errno(why, "it cannot be read");
        return false;
    }
    uint64_t size = (uint64_t)found.st_size;
    unsigned char raw[FOOTER_LENGTH];
    if (size < FOOTER_LENGTH) {
        because_damaged(why, "it was not copied whole: its end is missing");
        return false;
    }
    if (!io_read_at(fd, raw, sizeof raw, size - FOOTER_LENGTH)) {
        because_errno(why, "it cannot be read");
        return false;
    }
    if (memcmp(raw, MAGIC, MAGIC_LENGTH) != 0) {
        explain(fd, raw, size, why);
        return false;
    }
    struct reason wrong;
    if (footer_parse(footer, raw, size, &wrong))
        return true;
    because_damaged(why, "it is damaged: %.200s", wrong.text);
    return false;
}

static bool part_matches(int fd, uint64_t offset, uint64_t length, const unsigned char *digest, const char *part,
                         struct reason *why)
{
    unsigned char *chunk = malloc(CHUNK);
    if (!chunk) {
        because_errno(why, "no memory to check its digest");
        return false;
    }
    struct blake2b hash;
    blake2b_begin(&hash);
    while (length > 0) {
        size_t now = length < CHUNK ? (size_t)length : CHUNK;
        if (!io_read_at(fd, chunk, now, offset)) {
            because_damaged(why, "its %s cannot be read: %s", part, errno ? strerror(errno) : "the file became shorter");
            free(chunk);
            return false;
        }
        blake2b_add(&hash, chunk, now);
        offset += now;
        length -= now;
    }
    free(chunk);
    unsigned char found[DIGEST_LENGTH];
    blake2b_end(&hash, found);
    if (memcmp(found, digest, sizeof found) == 0)
        return true;
    because_damaged(why, "it is damaged: its %s does not match its digest", part);
    return false;
}

bool footer_verify(const struct footer *footer, int fd, struct reason *why)
{
    return part_matches(fd, 0, footer->payload_offset, footer->launcher_digest, "launcher", why)
        && part_matches(fd, footer->payload_offset, footer->payload_length, footer->payload_digest, "payload", why);
}
