/* Header values: deep copy, and an exact form as text or bytes for protocols whose headers have no types.
 *
 * Scalars are text. A TABLE or ARRAY is a compact binary form: a value is its kind's tag, then
 *     integers, TIMESTAMP, DECIMAL, floats   8 bytes, big-endian (floats as IEEE 754 binary64)
 *     BOOL                                   1 byte
 *     STRING, BYTES                          length (4 bytes), bytes
 *     TABLE                                  count (4 bytes), then name length (4), name, value each
 *     ARRAY                                  count (4 bytes), then values
 * The outermost value has no tag: its kind stands beside it (in `bailey-types`). Nesting and number are limited in both
 * directions, and nothing is allocated from a declared count that the bytes at hand could not hold.
 */
#include <bailey/message.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCALAR_TEXT_MAX = 64 };

bool bailey_kind_valid(int kind)
{
    return kind > 0 && kind < 128 && strchr("VtbBsuIilfdDSxTFA", kind) != NULL;
}

/* ---- Copy ---- */

static struct bailey_value copy_value(struct bailey_message *msg, const struct bailey_value *value, int depth);

static struct bailey_value copy_table(struct bailey_message *msg, const struct bailey_value *value, int depth)
{
    struct bailey_header *fields = value->count ? bailey_message_alloc(msg, value->count * sizeof *fields) : NULL;
    struct bailey_value copy = {.kind = BAILEY_KIND_TABLE, .count = value->count, .fields = fields};

    for (uint32_t i = 0; i < value->count; i++) {
        fields[i].name = bailey_message_copy(msg, value->fields[i].name.data, value->fields[i].name.len);
        fields[i].value = copy_value(msg, &value->fields[i].value, depth + 1);
    }
    return copy;
}

static struct bailey_value copy_array(struct bailey_message *msg, const struct bailey_value *value, int depth)
{
    struct bailey_value *items = value->count ? bailey_message_alloc(msg, value->count * sizeof *items) : NULL;
    struct bailey_value copy = {.kind = BAILEY_KIND_ARRAY, .count = value->count, .items = items};

    for (uint32_t i = 0; i < value->count; i++)
        items[i] = copy_value(msg, &value->items[i], depth + 1);
    return copy;
}

static struct bailey_value copy_value(struct bailey_message *msg, const struct bailey_value *value, int depth)
{
    struct bailey_value copy = *value;

    assert(depth <= BAILEY_VALUE_DEPTH_MAX); /* who decoded it has checked */
    switch (value->kind) {
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        copy.bytes = bailey_message_copy(msg, value->bytes.data, value->bytes.len);
        return copy;
    case BAILEY_KIND_TABLE:
        return copy_table(msg, value, depth);
    case BAILEY_KIND_ARRAY:
        return copy_array(msg, value, depth);
    default:
        return copy;
    }
}

struct bailey_value bailey_value_copy(struct bailey_message *msg, const struct bailey_value *value)
{
    return copy_value(msg, value, 0);
}

/* ---- Format ---- */

/* Writes, or only counts when `to` is NULL. */
struct writer {
    uint8_t *to;
    size_t len;
};

static void put(struct writer *w, const void *data, size_t len)
{
    if (w->to != NULL && len > 0)
        memcpy(w->to + w->len, data, len);
    w->len += len;
}

static void put_uint(struct writer *w, uint64_t value, size_t bytes)
{
    uint8_t big[8];

    for (size_t i = 0; i < bytes; i++)
        big[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    put(w, big, bytes);
}

static void put_bytes(struct writer *w, struct bailey_bytes bytes)
{
    put_uint(w, bytes.len, 4);
    put(w, bytes.data, bytes.len);
}

static void put_value(struct writer *w, const struct bailey_value *value, int depth);

static void put_items(struct writer *w, const struct bailey_value *value, int depth)
{
    assert(depth < BAILEY_VALUE_DEPTH_MAX); /* who decoded it has checked */
    put_uint(w, value->count, 4);
    for (uint32_t i = 0; i < value->count; i++) {
        if (value->kind == BAILEY_KIND_TABLE) {
            put_bytes(w, value->fields[i].name);
            put_value(w, &value->fields[i].value, depth + 1);
        } else {
            put_value(w, &value->items[i], depth + 1);
        }
    }
}

static void put_value(struct writer *w, const struct bailey_value *value, int depth)
{
    uint64_t bits;

    put_uint(w, (uint64_t)value->kind, 1);
    switch (value->kind) {
    case BAILEY_KIND_NULL:
        return;
    case BAILEY_KIND_BOOL:
        put_uint(w, value->boolean, 1);
        return;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        put_bytes(w, value->bytes);
        return;
    case BAILEY_KIND_TABLE:
    case BAILEY_KIND_ARRAY:
        put_items(w, value, depth);
        return;
    case BAILEY_KIND_F32:
    case BAILEY_KIND_F64:
        memcpy(&bits, &value->f64, sizeof bits);
        put_uint(w, bits, 8);
        return;
    default:
        put_uint(w, value->u64, 8); /* i64 has the same bits */
    }
}

static struct bailey_bytes format_nested(struct bailey_message *scratch, const struct bailey_value *value)
{
    struct writer w = {0};

    put_items(&w, value, 0);
    w.to = bailey_message_alloc(scratch, w.len);
    w.len = 0;
    put_items(&w, value, 0);
    return (struct bailey_bytes){w.to, w.len};
}

static int format_scalar(char text[static SCALAR_TEXT_MAX], const struct bailey_value *value)
{
    switch (value->kind) {
    case BAILEY_KIND_BOOL:
        return snprintf(text, SCALAR_TEXT_MAX, "%s", value->boolean ? "true" : "false");
    case BAILEY_KIND_I8:
    case BAILEY_KIND_I16:
    case BAILEY_KIND_I32:
    case BAILEY_KIND_I64:
        return snprintf(text, SCALAR_TEXT_MAX, "%" PRId64, value->i64);
    case BAILEY_KIND_F32:
        return snprintf(text, SCALAR_TEXT_MAX, "%.9g", value->f64);
    case BAILEY_KIND_F64:
        return snprintf(text, SCALAR_TEXT_MAX, "%.17g", value->f64);
    case BAILEY_KIND_DECIMAL:
        return snprintf(text, SCALAR_TEXT_MAX, "%" PRIu64 ":%u", value->u64 >> 8, (unsigned)(value->u64 & 255));
    default:
        return snprintf(text, SCALAR_TEXT_MAX, "%" PRIu64, value->u64);
    }
}

struct bailey_bytes bailey_value_format(struct bailey_message *scratch, const struct bailey_value *value)
{
    char text[SCALAR_TEXT_MAX];

    switch (value->kind) {
    case BAILEY_KIND_NULL:
        return BAILEY_EMPTY_BYTES;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        return value->bytes;
    case BAILEY_KIND_TABLE:
    case BAILEY_KIND_ARRAY:
        return format_nested(scratch, value);
    default:
        return bailey_message_copy(scratch, text, (size_t)format_scalar(text, value));
    }
}

/* ---- Parse ---- */

struct reader {
    struct bailey_message *msg;
    const uint8_t *at;
    size_t left;
    unsigned values; /* read so far, of BAILEY_VALUE_COUNT_MAX */
};

static bool get_uint(struct reader *r, size_t bytes, uint64_t *value)
{
    if (r->left < bytes)
        return false;
    *value = 0;
    for (size_t i = 0; i < bytes; i++)
        *value = *value << 8 | r->at[i];
    r->at += bytes;
    r->left -= bytes;
    return true;
}

static bool get_bytes(struct reader *r, struct bailey_bytes *bytes)
{
    uint64_t len;

    if (!get_uint(r, 4, &len) || len > r->left)
        return false;
    *bytes = (struct bailey_bytes){len ? r->at : BAILEY_EMPTY_BYTES.data, (size_t)len};
    r->at += len;
    r->left -= len;
    return true;
}

static bool in_range(enum bailey_kind kind, int64_t i64, uint64_t u64)
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

static bool get_value(struct reader *r, struct bailey_value *value, int depth);

static bool get_items(struct reader *r, struct bailey_value *value, int depth)
{
    uint64_t count;

    if (depth >= BAILEY_VALUE_DEPTH_MAX || !get_uint(r, 4, &count))
        return false;
    if (count > r->left || count > BAILEY_VALUE_COUNT_MAX - r->values) /* an item has one byte at least */
        return false;
    r->values += (unsigned)count;
    value->count = (uint32_t)count;
    if (value->kind == BAILEY_KIND_TABLE) {
        struct bailey_header *fields = bailey_message_alloc(r->msg, count * sizeof *fields);

        value->fields = fields;
        for (uint64_t i = 0; i < count; i++)
            if (!get_bytes(r, &fields[i].name) || !get_value(r, &fields[i].value, depth + 1))
                return false;
    } else {
        struct bailey_value *items = bailey_message_alloc(r->msg, count * sizeof *items);

        value->items = items;
        for (uint64_t i = 0; i < count; i++)
            if (!get_value(r, &items[i], depth + 1))
                return false;
    }
    return true;
}

static bool get_value(struct reader *r, struct bailey_value *value, int depth)
{
    uint64_t tag, bits;

    if (!get_uint(r, 1, &tag) || !bailey_kind_valid((int)tag))
        return false;
    *value = (struct bailey_value){.kind = (enum bailey_kind)tag};
    switch (value->kind) {
    case BAILEY_KIND_NULL:
        return true;
    case BAILEY_KIND_BOOL:
        if (!get_uint(r, 1, &bits) || bits > 1)
            return false;
        value->boolean = bits;
        return true;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        return get_bytes(r, &value->bytes);
    case BAILEY_KIND_TABLE:
    case BAILEY_KIND_ARRAY:
        return get_items(r, value, depth);
    default: /* eight bytes, as a float or an integer of either sign */
        if (!get_uint(r, 8, &bits))
            return false;
        memcpy(&value->u64, &bits, sizeof bits);
        return value->kind == BAILEY_KIND_F32 || value->kind == BAILEY_KIND_F64 ||
               in_range(value->kind, value->i64, value->u64);
    }
}

static bool parse_nested(struct bailey_message *msg, struct bailey_bytes bytes, struct bailey_value *value)
{
    struct reader r = {.msg = msg, .at = bytes.data, .left = bytes.len};

    return get_items(&r, value, 0) && r.left == 0;
}

static bool parse_number(enum bailey_kind kind, const char *text, struct bailey_value *value)
{
    bool is_signed =
        kind == BAILEY_KIND_I8 || kind == BAILEY_KIND_I16 || kind == BAILEY_KIND_I32 || kind == BAILEY_KIND_I64;
    char *end;

    if (text[0] != '-' && (text[0] < '0' || text[0] > '9'))
        return false; /* strtoll would skip blanks and a plus */
    if (!is_signed && text[0] == '-')
        return false;
    errno = 0;
    if (is_signed)
        value->i64 = strtoll(text, &end, 10);
    else
        value->u64 = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && in_range(kind, value->i64, value->u64);
}

static bool parse_decimal(const char *text, struct bailey_value *value)
{
    char *end;
    unsigned long long unscaled, scale;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unscaled = strtoull(text, &end, 10);
    if (errno != 0 || unscaled > UINT32_MAX || end[0] != ':' || end[1] < '0' || end[1] > '9')
        return false;
    scale = strtoull(end + 1, &end, 10);
    value->u64 = unscaled << 8 | scale;
    return errno == 0 && *end == '\0' && scale <= 255;
}

/* As "%.9g" and "%.17g" write it. A number beyond the type's range is refused, not made infinite. */
static bool parse_float(enum bailey_kind kind, const char *text, struct bailey_value *value)
{
    const char *digits = text + (text[0] == '-');
    char *end;

    bool is_number = digits[0] != '+' && digits[strspn(digits, "0123456789.e+-")] == '\0';

    if (!is_number && strcmp(digits, "inf") != 0 && strcmp(digits, "nan") != 0)
        return false; /* strtod would also take blanks, hexadecimal and more */
    value->f64 = kind == BAILEY_KIND_F32 ? (double)strtof(text, &end) : strtod(text, &end);
    return end != text && *end == '\0' && (!isinf(value->f64) || digits[0] == 'i');
}

static bool parse_scalar(enum bailey_kind kind, struct bailey_bytes bytes, struct bailey_value *value)
{
    char text[SCALAR_TEXT_MAX];

    if (bytes.len == 0 || bytes.len >= sizeof text || memchr(bytes.data, '\0', bytes.len) != NULL)
        return false;
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    switch (kind) {
    case BAILEY_KIND_BOOL:
        value->boolean = strcmp(text, "true") == 0;
        return value->boolean || strcmp(text, "false") == 0;
    case BAILEY_KIND_F32:
    case BAILEY_KIND_F64:
        return parse_float(kind, text, value);
    case BAILEY_KIND_DECIMAL:
        return parse_decimal(text, value);
    default:
        return parse_number(kind, text, value);
    }
}

bool bailey_value_parse(struct bailey_message *msg, enum bailey_kind kind, struct bailey_bytes bytes,
                        struct bailey_value *value)
{
    *value = (struct bailey_value){.kind = kind};
    if (!bailey_kind_valid((int)kind))
        return false;
    if (kind == BAILEY_KIND_NULL)
        return bytes.len == 0;
    if (bytes.data == NULL)
        return false;
    switch (kind) {
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        value->bytes = bytes;
        return true;
    case BAILEY_KIND_TABLE:
    case BAILEY_KIND_ARRAY:
        return parse_nested(msg, bytes, value);
    default:
        return parse_scalar(kind, bytes, value);
    }
}
