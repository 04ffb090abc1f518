/* wire.h: reading and writing AMQP's big-endian fields within bounds.
 *
 * Both stop at the end instead of passing it and remember that (`bad`, `full`): a caller checks once, after a row of
 * fields. 0-9-1, 4.2.5.
 */
#ifndef AMQ_WIRE_H
#define AMQ_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <bailey/message.h>

struct amq_reader {
    const uint8_t *at, *end;
    bool bad; /* something was read beyond the end: all that was read since is 0 or empty */
};

struct amq_writer {
    uint8_t *at, *end;
    bool full; /* something did not fit: what was written is worthless */
};

static inline size_t amq_left(const struct amq_reader *r)
{
    return (size_t)(r->end - r->at);
}

/* The next `len` bytes as a view, never null. */
static inline struct bailey_bytes amq_read_bytes(struct amq_reader *r, size_t len)
{
    const uint8_t *at = r->at;

    if (r->bad || amq_left(r) < len) {
        r->bad = true;
        return BAILEY_EMPTY_BYTES;
    }
    r->at += len;
    return (struct bailey_bytes){at, len};
}

/* An unsigned integer of `len` bytes, 1 to 8. */
static inline uint64_t amq_read_uint(struct amq_reader *r, unsigned len)
{
    uint64_t value = 0;

    if (r->bad || amq_left(r) < len) {
        r->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < len; i++)
        value = value << 8 | r->at[i];
    r->at += len;
    return value;
}

static inline uint8_t amq_read_u8(struct amq_reader *r)
{
    return (uint8_t)amq_read_uint(r, 1);
}
static inline uint16_t amq_read_u16(struct amq_reader *r)
{
    return (uint16_t)amq_read_uint(r, 2);
}
static inline uint32_t amq_read_u32(struct amq_reader *r)
{
    return (uint32_t)amq_read_uint(r, 4);
}
static inline uint64_t amq_read_u64(struct amq_reader *r)
{
    return amq_read_uint(r, 8);
}
static inline struct bailey_bytes amq_read_shortstr(struct amq_reader *r)
{
    return amq_read_bytes(r, amq_read_u8(r));
}
static inline struct bailey_bytes amq_read_longstr(struct amq_reader *r)
{
    return amq_read_bytes(r, amq_read_u32(r));
}

static inline void amq_put_uint(uint8_t *at, unsigned len, uint64_t value)
{
    for (unsigned i = len; i-- > 0; value >>= 8)
        at[i] = (uint8_t)value;
}

/* Space for `len` bytes, or NULL. */
static inline uint8_t *amq_write_space(struct amq_writer *w, size_t len)
{
    uint8_t *at = w->at;

    if (w->full || (size_t)(w->end - w->at) < len) {
        w->full = true;
        return NULL;
    }
    w->at += len;
    return at;
}

static inline void amq_write_uint(struct amq_writer *w, unsigned len, uint64_t value)
{
    uint8_t *at = amq_write_space(w, len);

    if (at != NULL)
        amq_put_uint(at, len, value);
}

static inline void amq_write_bytes(struct amq_writer *w, const void *data, size_t len)
{
    uint8_t *at = amq_write_space(w, len);

    if (at != NULL && len > 0)
        memcpy(at, data, len);
}

/* `bytes` must not be longer than 255: longer ones count as not fitting. */
static inline void amq_write_shortstr(struct amq_writer *w, struct bailey_bytes bytes)
{
    if (bytes.len > 255) {
        w->full = true;
        return;
    }
    amq_write_uint(w, 1, bytes.len);
    amq_write_bytes(w, bytes.data, bytes.len);
}

static inline void amq_write_longstr(struct amq_writer *w, struct bailey_bytes bytes)
{
    if (bytes.len > UINT32_MAX) {
        w->full = true;
        return;
    }
    amq_write_uint(w, 4, bytes.len);
    amq_write_bytes(w, bytes.data, bytes.len);
}

#endif
