/* loop/output.h: bytes that wait to be written: short ones gathered in chunks, long ones by reference.
 *
 * Belongs to one transport. Never fails: the process ends when memory is exhausted; who adds watches output_len().
 */
#ifndef BAILEY_OUTPUT_H
#define BAILEY_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { OUTPUT_CHUNK = 32 << 10, OUTPUT_COPY_MAX = 2048 }; /* longer ones are referred to, not copied */

struct output_chunk;

struct output_piece {
    const uint8_t *data;
    size_t len;
    struct output_chunk *chunk; /* that holds it; NULL: referred to */
};

struct output {
    struct output_piece *pieces; /* [first, last) wait */
    size_t first, last, cap;
    struct output_chunk *current; /* is filled; NULL while nothing waits */
    size_t len;                   /* bytes that wait */
};

/* Space for `len` bytes; valid until the next call. */
uint8_t *output_reserve(struct output *output, size_t len);
/* Keep the first `len` bytes of what was reserved. */
void output_commit(struct output *output, size_t len);
/* Add `data`: copied up to OUTPUT_COPY_MAX bytes, else it must stay until it is written. */
void output_append(struct output *output, const void *data, size_t len);
/* The oldest bytes, as at most `max` pieces; returns how many. */
int output_peek(const struct output *output, struct iovec *iov, int max);
/* The oldest `len` bytes are written. */
void output_written(struct output *output, size_t len);
void output_free(struct output *output);

#endif
