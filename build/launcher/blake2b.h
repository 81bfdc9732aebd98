/* BLAKE2b (RFC 7693) without a key, with a result of 32 bytes: the digest of docs/executable.md. */
#ifndef BATCHCTL_BLAKE2B_H
#define BATCHCTL_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_LENGTH = 32, BLAKE2B_BLOCK = 128 };

struct blake2b {
    uint64_t state[8];
    uint64_t total; /* bytes compressed so far; 2^64 are not reached */
    size_t held;
    unsigned char block[BLAKE2B_BLOCK];
};

void blake2b_begin(struct blake2b *hash);
void blake2b_add(struct blake2b *hash, const void *data, size_t length);
void blake2b_end(struct blake2b *hash, unsigned char digest[DIGEST_LENGTH]);
void blake2b_of(const void *data, size_t length, unsigned char digest[DIGEST_LENGTH]);

#endif
