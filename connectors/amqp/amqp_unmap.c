/* Content header → envelope. The other direction is amqp_map.c.
 *
 * One pass over bytes that nobody has checked: every read is bounded, nesting and the number of values are limited,
 * and what is allocated is in proportion to what has arrived. Strings stay where they are; only arrays of headers are
 * allocated.
 */
#include "amqp_map.h"

#include "amqp_fields.h"

enum { SECOND_MS = 1000 };

struct decoder {
    struct bailey_message *msg;
    unsigned budget; /* values still allowed */
    bool *null_body;
    struct bailey_value odd; /* bailey-h: a copy, since the fields behind it move up; kind NULL: none */
};

static bool read_value(struct decoder *d, struct amq_reader *r, struct bailey_value *value, int depth);

/* The entries of a table or array, each one skipped by its length; false if that does not come out even. */
static bool count_entries(struct amq_reader r, bool named, unsigned limit, uint32_t *count)
{
    *count = 0;
    while (amq_left(&r) > 0) {
        if (*count == limit)
            return false;
        if (named)
            amq_read_shortstr(&r);
        int width = amq_kind_width(amq_read_u8(&r));

        if (width == -2)
            return false;
        if (width == -1)
            amq_read_longstr(&r);
        else
            amq_read_bytes(&r, (size_t)width);
        if (r.bad)
            return false;
        ++*count;
    }
    return true;
}

static bool read_fields(struct decoder *d, struct bailey_bytes bytes, int depth, const struct bailey_header **fields,
                        uint32_t *count)
{
    struct amq_reader r = {bytes.data, bytes.data + bytes.len, false};
    struct bailey_header *out;

    if (depth > BAILEY_VALUE_DEPTH_MAX || !count_entries(r, true, d->budget, count))
        return false;
    d->budget -= *count;
    out = bailey_message_alloc(d->msg, *count * sizeof *out);
    for (uint32_t i = 0; i < *count; i++) {
        out[i].name = amq_read_shortstr(&r);
        if (!read_value(d, &r, &out[i].value, depth))
            return false;
    }
    *fields = out;
    return true;
}

static bool read_items(struct decoder *d, struct bailey_bytes bytes, int depth, struct bailey_value *value)
{
    struct amq_reader r = {bytes.data, bytes.data + bytes.len, false};
    struct bailey_value *out;

    if (depth > BAILEY_VALUE_DEPTH_MAX || !count_entries(r, false, d->budget, &value->count))
        return false;
    d->budget -= value->count;
    out = bailey_message_alloc(d->msg, value->count * sizeof *out);
    for (uint32_t i = 0; i < value->count; i++)
        if (!read_value(d, &r, &out[i], depth))
            return false;
    value->items = out;
    return true;
}

static int64_t sign_extend(uint64_t raw, unsigned width)
{
    unsigned shift = 64 - 8 * width;

    return (int64_t)(raw << shift) >> shift;
}

static void read_number(struct amq_reader *r, struct bailey_value *value, uint8_t kind)
{
    unsigned width = (unsigned)amq_kind_width(kind);
    uint64_t raw;

    if (kind == 'D') {
        uint8_t scale = amq_read_u8(r);

        value->u64 = (uint64_t)amq_read_u32(r) << 8 | scale;
        return;
    }
    raw = amq_read_uint(r, width);
    if (kind == 'f') {
        uint32_t bits = (uint32_t)raw;
        float f32;

        memcpy(&f32, &bits, sizeof f32);
        value->f64 = (double)f32;
    } else if (kind == 'd') {
        memcpy(&value->f64, &raw, sizeof raw);
    } else if (kind == 'b' || kind == 's' || kind == 'I' || kind == 'l') {
        value->i64 = sign_extend(raw, width);
    } else {
        value->u64 = raw;
    }
}

static bool read_value(struct decoder *d, struct amq_reader *r, struct bailey_value *value, int depth)
{
    uint8_t kind = amq_read_u8(r);

    if (kind == 'L')
        kind = 'l'; /* RabbitMQ reads and writes it as signed */
    *value = (struct bailey_value){.kind = (enum bailey_kind)kind};
    switch (amq_kind_width(kind)) {
    case -2:
        return false;
    case -1:
        value->bytes = amq_read_longstr(r);
        break;
    case 0:
        break;
    default:
        if (kind == 't')
            value->boolean = amq_read_u8(r) != 0;
        else
            read_number(r, value, kind);
    }
    if (r->bad)
        return false;
    if (kind == 'F')
        return read_fields(d, value->bytes, depth + 1, &value->fields, &value->count);
    return kind != 'A' || read_items(d, value->bytes, depth + 1, value);
}

/* ---- Our own fields ---- */

static bool is_integer(const struct bailey_value *value)
{
    return value->kind == BAILEY_KIND_I64 || value->kind == BAILEY_KIND_I32;
}

static bool is_bytes(const struct bailey_value *value)
{
    return value->kind == BAILEY_KIND_BYTES || value->kind == BAILEY_KIND_STRING;
}

/* Restore what field `own` holds; false if it is not of the form that we write: then it is somebody's ordinary
 * header. */
static bool restore(struct decoder *d, int own, const struct bailey_value *value)
{
    struct bailey_message *msg = d->msg;

    switch (own) {
    case AMQ_OWN_KEY:
        if (is_bytes(value))
            msg->key = value->bytes;
        return is_bytes(value);
    case AMQ_OWN_NULL:
        *d->null_body |= value->kind == BAILEY_KIND_BOOL && value->boolean;
        return value->kind == BAILEY_KIND_BOOL;
    case AMQ_OWN_TS:
        if (!is_integer(value))
            return false;
        msg->timestamp_ms = value->i64;
        if (msg->timestamp_kind == BAILEY_TIMESTAMP_NONE)
            msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
        return true;
    case AMQ_OWN_TST:
        if (!is_bytes(value) || !bailey_bytes_is(value->bytes, "append"))
            return false;
        msg->timestamp_kind = BAILEY_TIMESTAMP_APPEND;
        return true;
    case AMQ_OWN_HOPS:
        if (!is_integer(value) || value->i64 < 0 || value->i64 > 255)
            return false;
        msg->hops = (uint8_t)value->i64;
        return true;
    case AMQ_OWN_EXPIRES:
        if (!is_integer(value) || value->i64 <= 0)
            return false;
        msg->expires_at_ms = value->i64;
        return true;
    case AMQ_OWN_HEADERS:
        if (value->kind != BAILEY_KIND_ARRAY)
            return false;
        d->odd = *value;
        return true;
    default:
        if (is_bytes(value))
            *(struct bailey_bytes *)((char *)msg + amq_long_properties[own - AMQ_OWN_FIELDS].offset) = value->bytes;
        return is_bytes(value);
    }
}

/* Take our fields out of `headers`; returns how many stay. */
static uint32_t take_own_fields(struct decoder *d, struct bailey_header *headers, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        int own = amq_own_field(headers[i].name);

        if (own < 0 || !restore(d, own, &headers[i].value))
            headers[kept++] = headers[i];
    }
    return kept;
}

/* An entry of bailey-h: {i: index, n: name, v: value}. */
static bool odd_header(const struct bailey_value *entry, uint32_t *index, struct bailey_header *header)
{
    const struct bailey_header *f = entry->fields;

    if (entry->kind != BAILEY_KIND_TABLE || entry->count != 3 || !bailey_bytes_is(f[0].name, "i") ||
        !bailey_bytes_is(f[1].name, "n") || !bailey_bytes_is(f[2].name, "v") || !is_integer(&f[0].value) ||
        f[0].value.i64 < 0 || f[0].value.i64 > UINT32_MAX || !is_bytes(&f[1].value))
        return false;
    *index = (uint32_t)f[0].value.i64;
    *header = (struct bailey_header){f[1].value.bytes, f[2].value};
    return true;
}

/* Put the headers of bailey-h back at their places among the others. */
static void merge_odd_headers(struct decoder *d, const struct bailey_header *plain, uint32_t plain_count)
{
    uint32_t total = plain_count + d->odd.count, out = 0, next_plain = 0;
    struct bailey_header *headers = bailey_message_alloc(d->msg, total * sizeof *headers);

    for (uint32_t i = 0; i < d->odd.count; i++) {
        struct bailey_header header;
        uint32_t index;

        if (!odd_header(&d->odd.items[i], &index, &header))
            continue;
        while (out < index && next_plain < plain_count)
            headers[out++] = plain[next_plain++];
        headers[out++] = header;
    }
    while (next_plain < plain_count)
        headers[out++] = plain[next_plain++];
    d->msg->headers = headers;
    d->msg->header_count = out;
}

static void opaque_table(struct bailey_message *msg, struct bailey_bytes table)
{
    struct bailey_header *header = bailey_message_alloc(msg, sizeof *header);

    *header = (struct bailey_header){bailey_bytes_of(AMQ_FIELD_TABLE), {.kind = BAILEY_KIND_BYTES, .bytes = table}};
    msg->headers = header;
    msg->header_count = 1;
}

static bool read_headers(struct decoder *d, struct bailey_bytes table)
{
    const struct bailey_header *headers;
    uint32_t count;

    if (!read_fields(d, table, 1, &headers, &count)) {
        opaque_table(d->msg, table);
        return false;
    }
    count = take_own_fields(d, (struct bailey_header *)(uintptr_t)headers, count);
    if (d->odd.kind == BAILEY_KIND_ARRAY) {
        merge_odd_headers(d, headers, count);
    } else {
        d->msg->headers = headers;
        d->msg->header_count = count;
    }
    return true;
}

/* ---- Properties ---- */

static void read_expiration(struct bailey_message *msg, struct bailey_bytes text, int64_t wall_ms)
{
    int64_t left_ms = 0;

    if (text.len == 0 || text.len > 12)
        return;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return;
        left_ms = left_ms * 10 + (text.data[i] - '0');
    }
    msg->expires_at_ms = wall_ms + left_ms;
}

static void read_timestamp(struct bailey_message *msg, uint64_t seconds)
{
    if (seconds > INT64_MAX / SECOND_MS)
        return;
    msg->timestamp_ms = (int64_t)seconds * SECOND_MS;
    msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
}

static struct bailey_bytes read_property(struct amq_reader *r, unsigned flags, unsigned flag)
{
    return flags & flag ? amq_read_shortstr(r) : BAILEY_NULL_BYTES;
}

enum amq_unmap_result amq_map_decode(struct bailey_message *msg, struct bailey_bytes props, int64_t wall_ms,
                                     bool *null_body)
{
    struct decoder d = {.msg = msg, .budget = BAILEY_VALUE_COUNT_MAX, .null_body = null_body};
    struct amq_reader r = {props.data, props.data + props.len, false};
    unsigned flags = amq_read_u16(&r);
    struct bailey_bytes table = BAILEY_NULL_BYTES, expiration;

    *null_body = false;
    if (flags & AMQ_FLAGS_UNKNOWN)
        return AMQ_UNMAP_BAD;
    msg->content_type = read_property(&r, flags, AMQ_CONTENT_TYPE);
    msg->content_encoding = read_property(&r, flags, AMQ_CONTENT_ENCODING);
    if (flags & AMQ_HEADERS)
        table = amq_read_longstr(&r);
    if (flags & AMQ_DELIVERY_MODE)
        msg->durability = amq_read_u8(&r) == 2 ? BAILEY_DURABLE : BAILEY_TRANSIENT;
    if (flags & AMQ_PRIORITY)
        msg->priority = amq_read_u8(&r);
    msg->correlation_id = read_property(&r, flags, AMQ_CORRELATION_ID);
    msg->reply_to = read_property(&r, flags, AMQ_REPLY_TO);
    expiration = read_property(&r, flags, AMQ_EXPIRATION);
    msg->message_id = read_property(&r, flags, AMQ_MESSAGE_ID);
    if (flags & AMQ_TIMESTAMP)
        read_timestamp(msg, amq_read_u64(&r));
    msg->type = read_property(&r, flags, AMQ_TYPE);
    msg->user_id = read_property(&r, flags, AMQ_USER_ID);
    msg->app_id = read_property(&r, flags, AMQ_APP_ID);
    read_property(&r, flags, AMQ_CLUSTER_ID);
    if (r.bad || amq_left(&r) > 0)
        return AMQ_UNMAP_BAD;
    if (expiration.data != NULL)
        read_expiration(msg, expiration, wall_ms);
    return table.data == NULL || read_headers(&d, table) ? AMQ_UNMAP_OK : AMQ_UNMAP_OPAQUE;
}
