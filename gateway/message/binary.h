/* message/binary.h: values as bytes, exactly, with their kinds. A value is its kind's tag, then
 *
 *     integers, TIMESTAMP, DECIMAL, floats   8 bytes, big-endian (floats as IEEE 754 binary64)
 *     BOOL                                   1 byte
 *     STRING, BYTES                          length (4 bytes), bytes
 *     TABLE                                  count (4 bytes), then name length (4), name, value each
 *     ARRAY                                  count (4 bytes), then values
 *
 * Nesting and number are limited in both directions, and nothing is allocated from a declared count that the bytes at hand could
 * not hold.
 */
#ifndef BAILEY_BINARY_H
#define BAILEY_BINARY_H

#include <bailey/message.h>

/* Writes, or only counts when `to` is NULL. */
struct binary_writer {
    uint8_t *to;
    size_t len;
};

void binary_put(struct binary_writer *w, const void *data, size_t len);
void binary_put_uint(struct binary_writer *w, uint64_t value, size_t bytes);
void binary_put_bytes(struct binary_writer *w, struct bailey_bytes bytes); /* length (4 bytes), bytes */
/* The items of a TABLE or ARRAY, without its tag, at a depth that is counted from 0. */
void binary_put_items(struct binary_writer *w, const struct bailey_value *value, int depth);
void binary_put_value(struct binary_writer *w, const struct bailey_value *value, int depth);

/* Results point to the bytes that are read; what they need besides is allocated in `msg`. */
struct binary_reader {
    struct bailey_message *msg;
    const uint8_t *at;
    size_t left;
    unsigned values; /* read so far, of BAILEY_VALUE_COUNT_MAX */
};

bool binary_get_uint(struct binary_reader *r, size_t bytes, uint64_t *value);
bool binary_get_bytes(struct binary_reader *r, struct bailey_bytes *bytes);
/* `value->kind` says what they are of. */
bool binary_get_items(struct binary_reader *r, struct bailey_value *value, int depth);
bool binary_get_value(struct binary_reader *r, struct bailey_value *value, int depth);

/* Is it a number of that kind? (`i64` or `u64` counts.) */
bool binary_in_range(enum bailey_kind kind, int64_t i64, uint64_t u64);

#endif
