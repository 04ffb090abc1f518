/* Header values: deep copy, and an exact form as text or bytes for protocols whose headers have no types.
 *
 * Scalars are text. A TABLE or ARRAY is in the form of binary.h, but for the tag of the outermost: its kind stands beside it (in
 * `bailey-types`).
 */
#include <bailey/message.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message/binary.h"

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

static struct bailey_bytes format_nested(struct bailey_message *scratch, const struct bailey_value *value)
{
    struct binary_writer w = {0};

    binary_put_items(&w, value, 0);
    w.to = bailey_message_alloc(scratch, w.len);
    w.len = 0;
    binary_put_items(&w, value, 0);
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

static bool parse_nested(struct bailey_message *msg, struct bailey_bytes bytes, struct bailey_value *value)
{
    struct binary_reader r = {.msg = msg, .at = bytes.data, .left = bytes.len};

    return binary_get_items(&r, value, 0) && r.left == 0;
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
    return errno == 0 && end != text && *end == '\0' && binary_in_range(kind, value->i64, value->u64);
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
