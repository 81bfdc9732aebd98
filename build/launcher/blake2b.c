#include "blake2b.h"

#include <stdbool.h>
#include <string.h>

static const uint64_t START[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b), UINT64_C(0x3c6ef372fe94f82b),
    UINT64_C(0xa54ff53a5f1d36f1), UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f),
    UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179),
};

static uint64_t load64(const unsigned char *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static inline uint64_t turn(uint64_t value, int by)
{
    return value >> by | value << (64 - by);
}

#define MIX(a, b, c, d, x, y)            \
    do {                                 \
        v[a] = v[a] + v[b] + (x);        \
        v[d] = turn(v[d] ^ v[a], 32);    \
        v[c] = v[c] + v[d];              \
        v[b] = turn(v[b] ^ v[c], 24);    \
        v[a] = v[a] + v[b] + (y);        \
        v[d] = turn(v[d] ^ v[a], 16);    \
        v[c] = v[c] + v[d];              \
        v[b] = turn(v[b] ^ v[c], 63);    \
    } while (0)

/* The order of the message words is spelled out per round: with a table the indices stay in memory, at half the speed. */
#define ROUND(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \
    do {                                                      \
        MIX(0, 4, 8, 12, w[a], w[b]);                         \
        MIX(1, 5, 9, 13, w[c], w[d]);                         \
        MIX(2, 6, 10, 14, w[e], w[f]);                        \
        MIX(3, 7, 11, 15, w[g], w[h]);                        \
        MIX(0, 5, 10, 15, w[i], w[j]);                        \
        MIX(1, 6, 11, 12, w[k], w[l]);                        \
        MIX(2, 7, 8, 13, w[m], w[n]);                         \
        MIX(3, 4, 9, 14, w[o], w[p]);                         \
    } while (0)

static void compress(struct blake2b *hash, const unsigned char *block, bool last)
{
    uint64_t v[16], w[16];
    for (int i = 0; i < 16; i++)
        w[i] = load64(block + 8 * i);
    for (int i = 0; i < 8; i++) {
        v[i] = hash->state[i];
        v[i + 8] = START[i];
    }
    v[12] ^= hash->total;
    if (last)
        v[14] = ~v[14];
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    for (int i = 0; i < 8; i++)
        hash->state[i] ^= v[i] ^ v[i + 8];
}

void blake2b_begin(struct blake2b *hash)
{
    memset(hash, 0, sizeof *hash);
    memcpy(hash->state, START, sizeof START);
    hash->state[0] ^= UINT64_C(0x01010000) ^ DIGEST_LENGTH; /* fan-out 1, depth 1, no key */
}

void blake2b_add(struct blake2b *hash, const void *data, size_t length)
{
    const unsigned char *at = data;
    while (length > 0) {
        /* A full block waits until more comes: the last one is compressed differently. */
        if (hash->held == BLAKE2B_BLOCK) {
            hash->total += BLAKE2B_BLOCK;
            compress(hash, hash->block, false);
            hash->held = 0;
        }
        while (hash->held == 0 && length > BLAKE2B_BLOCK) {
            hash->total += BLAKE2B_BLOCK;
            compress(hash, at, false);
            at += BLAKE2B_BLOCK;
            length -= BLAKE2B_BLOCK;
        }
        size_t part = BLAKE2B_BLOCK - hash->held;
        if (part > length)
            part = length;
        memcpy(hash->block + hash->held, at, part);
        hash->held += part;
        at += part;
        length -= part;
    }
}

void blake2b_end(struct blake2b *hash, unsigned char digest[DIGEST_LENGTH])
{
    hash->total += hash->held;
    memset(hash->block + hash->held, 0, BLAKE2B_BLOCK - hash->held);
    compress(hash, hash->block, true);
    for (int i = 0; i < DIGEST_LENGTH; i++)
        digest[i] = (unsigned char)(hash->state[i / 8] >> (8 * (i % 8)));
}

void blake2b_of(const void *data, size_t length, unsigned char digest[DIGEST_LENGTH])
{
    struct blake2b hash;
    blake2b_begin(&hash);
    blake2b_add(&hash, data, length);
    blake2b_end(&hash, digest);
}
