/* The payload, unpacked as it is read: one zstd frame with a checksum, of exactly the length that the footer says. */
#ifndef BATCHCTL_STREAM_H
#define BATCHCTL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "footer.h"
#include "say.h"

struct stream;

/* Begin at the payload of the open file `fd`; NULL and why. */
struct stream *stream_begin(int fd, const struct footer *footer, struct reason *why);

/* The next bytes, at most `most`, in a buffer that is good until the next call. NULL and why where the frame ends early
 * or is damaged. */
const void *stream_next(struct stream *stream, uint64_t most, size_t *length, struct reason *why);

/* The next `length` bytes, all of them. */
bool stream_read(struct stream *stream, void *buffer, size_t length, struct reason *why);

/* The frame is over: nothing is left to unpack, nothing follows it, and its checksum is right. */
bool stream_is_over(struct stream *stream, struct reason *why);

void stream_free(struct stream *stream);

#endif
