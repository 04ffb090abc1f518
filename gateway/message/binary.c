/* binary.c: see the header. */
#include "message/binary.h"

#include <assert.h>
#include <string.h>

#include "base/big_endian.h"

/* ---- Writing ---- */

void binary_put(struct binary_writer *w, const void *data, size_t len)
{
    if (w->to != NULL && len > 0)
        memcpy(w->to + w->len, data, len);
    w->len += len;
}

void binary_put_uint(struct binary_writer *w, uint64_t value, size_t bytes)
{
    uint8_t big[8];

    big_endian_put(big, value, bytes);
    binary_put(w, big, bytes);
}

void binary_put_bytes(struct binary_writer *w, struct bailey_bytes bytes)
{
    binary_put_uint(w, bytes.len, 4);
    binary_put(w, bytes.data, bytes.len);
}

void binary_put_items(struct binary_writer *w, const struct bailey_value *value, int depth)
{
    assert(depth < BAILEY_VALUE_DEPTH_MAX); /* who decoded it has checked */
    binary_put_uint(w, value->count, 4);
    for (uint32_t i = 0; i < value->count; i++) {
        if (value->kind == BAILEY_KIND_TABLE) {
            binary_put_bytes(w, value->fields[i].name);
            binary_put_value(w, &value->fields[i].value, depth + 1);
        } else {
            binary_put_value(w, &value->items[i], depth + 1);
        }
    }
}

void binary_put_value(struct binary_writer *w, const struct bailey_value *value, int depth)
{
    uint64_t bits;

    binary_put_uint(w, (uint64_t)value->kind, 1);
    switch (value->kind) {
    case BAILEY_KIND_NULL:
        return;
    case BAILEY_KIND_BOOL:
        binary_put_uint(w, value->boolean, 1);
        return;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        binary_put_bytes(w, value->bytes);
        return;
    case BAILEY_KIND_TABLE:
    case BAILEY_KIND_ARRAY:
        binary_put_items(w, value, depth);
        return;
    case BAILEY_KIND_F32:
    case BAILEY_KIND_F64:
        memcpy(&bits, &value->f64, sizeof bits);
        binary_put_uint(w, bits, 8);
        return;
    default:
        binary_put_uint(w, value->u64, 8); /* i64 has the same bits */
    }
}

/* ---- Reading ---- */

bool binary_get_uint(struct binary_reader *r, size_t bytes, uint64_t *value)
{
    if (r->left < bytes)
        return false;
    *value = big_endian_get(r->at, bytes);
    r->at += bytes;
    r->left -= bytes;
    return true;
}

bool binary_get_bytes(struct binary_reader *r, struct bailey_bytes *bytes)
{
    uint64_t len;

    if (!binary_get_uint(r, 4, &len) || len > r->left)
        return false;
    *bytes = (struct bailey_bytes){len ? r->at : BAILEY_EMPTY_BYTES.data, (size_t)len};
    r->at += len;
    r->left -= len;
    return true;
}

bool binary_in_range(enum bailey_kind kind, int64_t i64, uint64_t u64)
{
    switch (kind) {
    case BAILEY_KIND_I8:
        return i64 >= INT8_MIN && i64 <= INT8_MAX;
    case BAILEY_KIND_I16:
        return i64 >= INT16_MIN && i64 <= INT16_MAX;
    case BAILEY_KIND_I32:
        return i64 >= INT32_MIN && i64 <= INT32_MAX;
    case BAILEY_KIND_U8:
        return u64 <= UINT8_MAX;
    case BAILEY_KIND_U16:
        return u64 <= UINT16_MAX;
    case BAILEY_KIND_U32:
        return u64 <= UINT32_MAX;
    case BAILEY_KIND_DECIMAL:
        return u64 >> 8 <= UINT32_MAX;
    default:
        return true;
    }
}

bool binary_get_items(struct binary_reader *r, struct bailey_value *value, int depth)
{
    uint64_t count;

    if (depth >= BAILEY_VALUE_DEPTH_MAX || !binary_get_uint(r, 4, &count))
        return false;
    if (count > r->left || count > BAILEY_VALUE_COUNT_MAX - r->values) /* an item has one byte at least */
        return false;
    r->values += (unsigned)count;
    value->count = (uint32_t)count;
    if (value->kind == BAILEY_KIND_TABLE) {
        struct bailey_header *fields = bailey_message_alloc(r->msg, count * sizeof *fields);

        value->fields = fields;
        for (uint64_t i = 0; i < count; i++)
            if (!binary_get_bytes(r, &fields[i].name) || !binary_get_value(r, &fields[i].value, depth + 1))
                return false;
    } else {
        struct bailey_value *items = bailey_message_alloc(r->msg, count * sizeof *items);

        value->items = items;
        for (uint64_t i = 0; i < count; i++)
            if (!binary_get_value(r, &items[i], depth + 1))
                return false;
    }
    return true;
}

bool binary_get_value(struct binary_reader *r, struct bailey_value *value, int depth)
{
    uint64_t tag, bits;

    if (!binary_get_uint(r, 1, &tag) || !bailey_kind_valid((int)tag))
        return false;
    *value = (struct bailey_value){.kind = (enum bailey_kind)tag};
    switch (value->kind) {
    case BAILEY_KIND_NULL:
        return true;
    case BAILEY_KIND_BOOL:
        if (!binary_get_uint(r, 1, &bits) || bits > 1)
            return false;
        value->boolean = bits;
        return true;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        return binary_get_bytes(r, &value->bytes);
    case BAILEY_KIND_TABLE:
    case BAILEY_KIND_ARRAY:
        return binary_get_items(r, value, depth);
    default: /* eight bytes, as a float or an integer of either sign */
        if (!binary_get_uint(r, 8, &bits))
            return false;
        memcpy(&value->u64, &bits, sizeof bits);
        return value->kind == BAILEY_KIND_F32 || value->kind == BAILEY_KIND_F64 ||
               binary_in_range(value->kind, value->i64, value->u64);
    }
}
