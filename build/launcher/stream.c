#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "io.h"

enum {
    CHUNK = 1 << 18,      /* of the file; what is unpacked from it stays in the processor's cache */
    WINDOW_LOG_MOST = 25, /* level 19 has 23; a frame that wants more memory is not ours */
    HEADER = 5,
    CHECKSUM_FLAG = 1 << 2,
};

struct stream {
    ZSTD_DStream *zstd;
    int fd;
    uint64_t offset, left; /* of the payload in the file */
    bool ended;            /* zstd has seen the end of the frame, checksum included */
    ZSTD_inBuffer in;
    size_t unpacked, used; /* bytes in `out`, and how many of them were given away */
    unsigned char packed[CHUNK];
    unsigned char out[CHUNK];
};

static bool wrong(struct reason *why, const char *what)
{
    because_damaged(why, "it is damaged: its payload %s", what);
    return false;
}

/* Have at least one packed byte at hand unless all were read. */
static bool refill(struct stream *stream, struct reason *why)
{
    if (stream->in.pos < stream->in.size || stream->left == 0)
        return true;
    size_t length = stream->left < CHUNK ? (size_t)stream->left : CHUNK;
    if (!io_read_at(stream->fd, stream->packed, length, stream->offset)) {
        because_damaged(why, "its payload cannot be read: %s", errno ? strerror(errno) : "the file became shorter");
        return false;
    }
    stream->offset += length;
    stream->left -= length;
    stream->in = (ZSTD_inBuffer){stream->packed, length, 0};
    return true;
}

/* Unpack some into the empty `out`; it stays empty only at the end of the frame. */
static bool unpack_some(struct stream *stream, struct reason *why)
{
    stream->used = stream->unpacked = 0;
    while (stream->unpacked == 0 && !stream->ended) {
        if (!refill(stream, why))
            return false;
        ZSTD_outBuffer out = {stream->out, CHUNK, 0};
        bool dry = stream->in.pos == stream->in.size;
        size_t result = ZSTD_decompressStream(stream->zstd, &out, &stream->in);
        if (ZSTD_isError(result) && ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation) {
            because(why, "no memory to unpack"); /* the frame's window is only asked for here */
            return false;
        }
        if (ZSTD_isError(result)) {
            because_damaged(why, "it is damaged: its payload cannot be unpacked: %s", ZSTD_getErrorName(result));
            return false;
        }
        stream->unpacked = out.pos;
        stream->ended = result == 0;
        if (dry && out.pos == 0 && !stream->ended)
            return wrong(why, "ends too early");
    }
    return true;
}

struct stream *stream_begin(int fd, const struct footer *footer, struct reason *why)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream)
        stream->zstd = ZSTD_createDStream();
    if (!stream || !stream->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(stream->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MOST))) {
        because(why, "no memory to unpack");
        stream_free(stream);
        return NULL;
    }
    stream->fd = fd;
    stream->offset = footer->payload_offset;
    stream->left = footer->payload_length;
    static const unsigned char MAGIC[4] = {0x28, 0xb5, 0x2f, 0xfd};
    bool begun = refill(stream, why);
    if (begun && (stream->in.size < HEADER || memcmp(stream->packed, MAGIC, sizeof MAGIC) != 0
                  || !(stream->packed[4] & CHECKSUM_FLAG)))
        begun = wrong(why, "is no zstd frame with a checksum");
    if (begun)
        return stream;
    stream_free(stream);
    return NULL;
}

const void *stream_next(struct stream *stream, uint64_t most, size_t *length, struct reason *why)
{
    if (stream->used == stream->unpacked && !unpack_some(stream, why))
        return NULL;
    size_t there = stream->unpacked - stream->used;
    if (there == 0) {
        wrong(why, "ends too early");
        return NULL;
    }
    *length = there < most ? there : (size_t)most;
    const void *data = stream->out + stream->used;
    stream->used += *length;
    return data;
}

bool stream_read(struct stream *stream, void *buffer, size_t length, struct reason *why)
{
    unsigned char *to = buffer;
    while (length > 0) {
        size_t part;
        const void *data = stream_next(stream, length, &part, why);
        if (!data)
            return false;
        memcpy(to, data, part);
        to += part;
        length -= part;
    }
    return true;
}

bool stream_is_over(struct stream *stream, struct reason *why)
{
    if (stream->used == stream->unpacked && !stream->ended && !unpack_some(stream, why))
        return false;
    if (stream->used != stream->unpacked)
        return wrong(why, "holds more than its list of files says");
    if (!stream->ended || stream->left > 0 || stream->in.pos != stream->in.size)
        return wrong(why, "goes on after its end");
    return true;
}

void stream_free(struct stream *stream)
{
    if (!stream)
        return;
    ZSTD_freeDStream(stream->zstd);
    free(stream);
}
