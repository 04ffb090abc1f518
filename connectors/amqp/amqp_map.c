/* Envelope → content header. The other direction is amqp_unmap.c.
 *
 * Properties that are too long, and what AMQP has no property for, become fields of the header table; so the table is
 * written first into its place and the flags are filled in at the end.
 */
#include "amqp_map.h"

#include <inttypes.h>
#include <stdio.h>

#include "amqp_fields.h"

enum { EXPIRATION_MAX = INT32_MAX, SECOND_MS = 1000 };

static const char *const steering[] = {"CC", "BCC", "x-death", "x-delay", NULL};

const struct amq_long_property amq_long_properties[AMQ_LONG_PROPERTIES] = {
    {"bailey-content-type", offsetof(struct bailey_message, content_type), AMQ_CONTENT_TYPE},
    {"bailey-content-encoding", offsetof(struct bailey_message, content_encoding), AMQ_CONTENT_ENCODING},
    {"bailey-correlation-id", offsetof(struct bailey_message, correlation_id), AMQ_CORRELATION_ID},
    {"bailey-reply-to", offsetof(struct bailey_message, reply_to), AMQ_REPLY_TO},
    {"bailey-message-id", offsetof(struct bailey_message, message_id), AMQ_MESSAGE_ID},
    {"bailey-type", offsetof(struct bailey_message, type), AMQ_TYPE},
    {"bailey-app-id", offsetof(struct bailey_message, app_id), AMQ_APP_ID},
};

static const char *const own_fields[AMQ_OWN_FIELDS] = {
    [AMQ_OWN_KEY] = AMQ_FIELD_KEY,         [AMQ_OWN_NULL] = AMQ_FIELD_NULL, [AMQ_OWN_TS] = AMQ_FIELD_TS,
    [AMQ_OWN_TST] = AMQ_FIELD_TST,         [AMQ_OWN_HOPS] = AMQ_FIELD_HOPS, [AMQ_OWN_EXPIRES] = AMQ_FIELD_EXPIRES,
    [AMQ_OWN_HEADERS] = AMQ_FIELD_HEADERS,
};

int amq_own_field(struct bailey_bytes name)
{
    if (name.len < 8 || memcmp(name.data, "bailey-", 7) != 0)
        return -1;
    for (int i = 0; i < AMQ_OWN_FIELDS; i++)
        if (bailey_bytes_is(name, own_fields[i]))
            return i;
    for (int i = 0; i < AMQ_LONG_PROPERTIES; i++)
        if (bailey_bytes_is(name, amq_long_properties[i].field))
            return AMQ_OWN_FIELDS + i;
    return -1;
}

static const struct bailey_bytes *long_property(const struct bailey_message *msg, int i)
{
    return (const struct bailey_bytes *)((const char *)msg + amq_long_properties[i].offset);
}

/* ---- Values ---- */

struct encoder {
    struct amq_writer *w;
    const struct bailey_message *msg;
    const struct amq_map_options *options;
    const struct bailey_marks *marks;
    struct bailey_bytes message_id; /* the message's, or the mark's id */
    bool bad_cc;
};

static void write_value(struct encoder *e, const struct bailey_value *value, int depth);

static uint8_t *open_length(struct amq_writer *w)
{
    return amq_write_space(w, 4);
}

static void close_length(struct amq_writer *w, uint8_t *length)
{
    if (length != NULL && !w->full)
        amq_put_uint(length, 4, (uint64_t)(w->at - length - 4));
}

static void write_name(struct amq_writer *w, const char *name)
{
    amq_write_shortstr(w, bailey_bytes_of(name));
}

static void write_text(struct amq_writer *w, char kind, struct bailey_bytes bytes)
{
    amq_write_uint(w, 1, (uint8_t)kind);
    amq_write_longstr(w, bytes);
}

static void write_nested(struct encoder *e, const struct bailey_value *value, int depth)
{
    uint8_t *length = open_length(e->w);

    if (depth >= BAILEY_VALUE_DEPTH_MAX)
        e->w->full = true;
    for (uint32_t i = 0; i < value->count && !e->w->full; i++) {
        if (value->kind == BAILEY_KIND_TABLE) {
            amq_write_shortstr(e->w, value->fields[i].name);
            write_value(e, &value->fields[i].value, depth + 1);
        } else {
            write_value(e, &value->items[i], depth + 1);
        }
    }
    close_length(e->w, length);
}

static void write_float(struct amq_writer *w, const struct bailey_value *value)
{
    if (value->kind == BAILEY_KIND_F32) {
        float f32 = (float)value->f64;
        uint32_t bits;

        memcpy(&bits, &f32, sizeof bits);
        amq_write_uint(w, 4, bits);
    } else {
        uint64_t bits;

        memcpy(&bits, &value->f64, sizeof bits);
        amq_write_uint(w, 8, bits);
    }
}

static void write_value(struct encoder *e, const struct bailey_value *value, int depth)
{
    struct amq_writer *w = e->w;

    if (value->kind == BAILEY_KIND_STRING || value->kind == BAILEY_KIND_BYTES) {
        write_text(w, (char)value->kind, value->bytes);
        return;
    }
    amq_write_uint(w, 1, (uint8_t)value->kind);
    switch (value->kind) {
    case BAILEY_KIND_NULL:
        break;
    case BAILEY_KIND_BOOL:
        amq_write_uint(w, 1, value->boolean);
        break;
    case BAILEY_KIND_F32:
    case BAILEY_KIND_F64:
        write_float(w, value);
        break;
    case BAILEY_KIND_DECIMAL:
        amq_write_uint(w, 1, value->u64 & 255);
        amq_write_uint(w, 4, value->u64 >> 8);
        break;
    case BAILEY_KIND_TABLE:
    case BAILEY_KIND_ARRAY:
        write_nested(e, value, depth);
        break;
    default:
        amq_write_uint(w, (unsigned)amq_kind_width((uint8_t)value->kind), (uint64_t)value->i64);
    }
}

/* ---- The header table ---- */

static bool listed(const struct bailey_list *list, struct bailey_bytes name)
{
    for (size_t i = 0; list != NULL && i < list->count; i++)
        if (bailey_bytes_is(name, list->items[i]))
            return true;
    return false;
}

static bool is_carbon_copy(struct bailey_bytes name)
{
    return bailey_bytes_is(name, "CC") || bailey_bytes_is(name, "BCC");
}

static bool strings_only(const struct bailey_value *value)
{
    if (value->kind != BAILEY_KIND_ARRAY)
        return false;
    for (uint32_t i = 0; i < value->count; i++)
        if (value->items[i].kind != BAILEY_KIND_STRING)
            return false;
    return true;
}

/* True if the header may stand in the table under its own name. */
static bool plain_header(struct encoder *e, const struct bailey_header *header)
{
    struct bailey_bytes name = header->name;

    if (name.len > AMQ_SHORTSTR_MAX || amq_own_field(name) >= 0)
        return false;
    if (name.len < 2 || name.len > 7 || (name.data[0] != 'C' && name.data[0] != 'B' && name.data[0] != 'x'))
        return true;
    for (int i = 0; steering[i] != NULL; i++) {
        if (!bailey_bytes_is(name, steering[i]))
            continue;
        if (!listed(e->options->pass_headers, name))
            return false;
        if (is_carbon_copy(name) && !strings_only(&header->value))
            e->bad_cc = true;
    }
    return true;
}

static void write_odd_header(struct encoder *e, uint32_t index)
{
    const struct bailey_header *header = &e->msg->headers[index];
    struct bailey_value value = bailey_marked_value(e->marks, header);
    uint8_t *length;

    amq_write_uint(e->w, 1, BAILEY_KIND_TABLE);
    length = open_length(e->w);
    write_name(e->w, "i");
    amq_write_uint(e->w, 1, BAILEY_KIND_I32);
    amq_write_uint(e->w, 4, index);
    write_name(e->w, "n");
    write_text(e->w, bailey_utf8_valid(header->name) ? 'S' : 'x', header->name);
    write_name(e->w, "v");
    write_value(e, &value, 3);
    close_length(e->w, length);
}

static void write_headers(struct encoder *e)
{
    const struct bailey_message *msg = e->msg;
    uint8_t *length = NULL;
    uint32_t odd = 0;

    for (uint32_t i = 0; i < msg->header_count && !e->w->full; i++) {
        const struct bailey_header *header = &msg->headers[i];
        struct bailey_value value;

        if (!plain_header(e, header)) {
            odd++;
            continue;
        }
        value = bailey_marked_value(e->marks, header);
        amq_write_shortstr(e->w, header->name);
        write_value(e, &value, 1);
    }
    if (odd == 0)
        return;
    write_name(e->w, AMQ_FIELD_HEADERS);
    amq_write_uint(e->w, 1, BAILEY_KIND_ARRAY);
    length = open_length(e->w);
    for (uint32_t i = 0; i < msg->header_count && !e->w->full; i++)
        if (!plain_header(e, &msg->headers[i]))
            write_odd_header(e, i);
    close_length(e->w, length);
}

static void write_i64(struct amq_writer *w, const char *name, int64_t value)
{
    write_name(w, name);
    amq_write_uint(w, 1, BAILEY_KIND_I64);
    amq_write_uint(w, 8, (uint64_t)value);
}

static void write_timestamp_fields(struct amq_writer *w, const struct bailey_message *msg)
{
    if (msg->timestamp_kind == BAILEY_TIMESTAMP_NONE)
        return;
    if (msg->timestamp_ms < 0 || msg->timestamp_ms % SECOND_MS != 0)
        write_i64(w, AMQ_FIELD_TS, msg->timestamp_ms);
    if (msg->timestamp_kind == BAILEY_TIMESTAMP_APPEND) {
        write_name(w, AMQ_FIELD_TST);
        write_text(w, 'S', bailey_bytes_of("append"));
    }
}

/* A reply-to of that name means the publishing channel's own consumer: without one RabbitMQ closes the channel. */
static bool fits_property(struct bailey_bytes value)
{
    return value.len <= AMQ_SHORTSTR_MAX && !bailey_bytes_is(value, "amq.rabbitmq.reply-to");
}

static void write_own_fields(struct encoder *e)
{
    const struct bailey_message *msg = e->msg;
    struct amq_writer *w = e->w;

    if (msg->key.data != NULL) {
        write_name(w, AMQ_FIELD_KEY);
        write_text(w, 'x', msg->key);
    }
    if (msg->body.data == NULL) {
        write_name(w, AMQ_FIELD_NULL);
        amq_write_uint(w, 1, BAILEY_KIND_BOOL);
        amq_write_uint(w, 1, 1);
    }
    write_timestamp_fields(w, msg);
    if (msg->hops > 0) {
        write_name(w, AMQ_FIELD_HOPS);
        amq_write_uint(w, 1, BAILEY_KIND_I32);
        amq_write_uint(w, 4, msg->hops);
    }
    for (int i = 0; i < AMQ_LONG_PROPERTIES; i++) {
        const struct bailey_bytes *value = long_property(msg, i);

        if (value->data != NULL && !fits_property(*value)) {
            write_name(w, amq_long_properties[i].field);
            write_text(w, 'x', *value);
        }
    }
}

static void write_mark(struct encoder *e, const char *name, struct bailey_value value)
{
    if (bailey_message_header(e->msg, bailey_bytes_of(name)) != NULL)
        return; /* and has this value */
    write_name(e->w, name);
    write_text(e->w, (char)value.kind, value.bytes);
}

/* The property is the usual place of an id; the field serves where it holds another, or cannot hold this one. */
static void write_marks(struct encoder *e)
{
    if (e->marks->id.data != NULL && !bailey_bytes_equal(e->marks->id, e->message_id))
        write_mark(e, BAILEY_HEADER_ID, bailey_id_value(e->marks->id));
    if (e->marks->possible_duplicate)
        write_mark(e, BAILEY_HEADER_DUPLICATE, bailey_duplicate_value());
}

/* True if there is anything in the table. */
static bool write_table(struct encoder *e, int64_t left_ms)
{
    uint8_t *start = e->w->at, *length = open_length(e->w);

    write_headers(e);
    write_own_fields(e);
    if (left_ms > EXPIRATION_MAX || (left_ms > 0 && e->options->hold_ms > 0))
        write_i64(e->w, AMQ_FIELD_EXPIRES, e->msg->expires_at_ms);
    write_marks(e);
    if (!e->w->full && e->w->at == start + 4) {
        e->w->at = start; /* empty: leave it away */
        return false;
    }
    close_length(e->w, length);
    return true;
}

/* ---- Properties ---- */

static unsigned write_property(struct amq_writer *w, struct bailey_bytes value, unsigned flag)
{
    if (value.data == NULL || !fits_property(value))
        return 0;
    amq_write_shortstr(w, value);
    return flag;
}

static unsigned write_delivery_mode(struct amq_writer *w, const struct bailey_message *msg, int persistent)
{
    bool transient = persistent == AMQ_PERSISTENT_NEVER ||
                     (persistent == AMQ_PERSISTENT_AS_MESSAGE && msg->durability == BAILEY_TRANSIENT);

    amq_write_uint(w, 1, transient ? 1 : 2);
    return AMQ_DELIVERY_MODE;
}

/* `ms` 0: none. */
static unsigned write_expiration(struct amq_writer *w, int64_t ms)
{
    char text[24];
    int len;

    if (ms == 0)
        return 0;
    len = snprintf(text, sizeof text, "%" PRId64, ms);
    amq_write_shortstr(w, (struct bailey_bytes){(const uint8_t *)text, (size_t)len});
    return AMQ_EXPIRATION;
}

/* A short string is UTF-8 without NUL. */
static bool fits_message_id(struct bailey_bytes id)
{
    return id.data != NULL && id.len <= AMQ_SHORTSTR_MAX && memchr(id.data, 0, id.len) == NULL && bailey_utf8_valid(id);
}

static struct bailey_bytes message_id_of(const struct bailey_message *msg, struct bailey_bytes id)
{
    return msg->message_id.data == NULL && fits_message_id(id) ? id : msg->message_id;
}

enum amq_map_result amq_map_encode(struct amq_writer *w, const struct bailey_message *msg,
                                   const struct amq_map_options *options, int64_t wall_ms,
                                   const struct bailey_marks *marks)
{
    struct encoder e = {w, msg, options, marks, message_id_of(msg, marks->id), false};
    int64_t left_ms = msg->expires_at_ms != 0 ? msg->expires_at_ms - wall_ms : 0;
    uint8_t *flags_at = amq_write_space(w, 2);
    unsigned flags = 0;

    if (msg->expires_at_ms != 0 && left_ms <= options->hold_ms)
        return AMQ_MAP_EXPIRED;
    if (flags_at == NULL)
        return AMQ_MAP_FULL;
    flags |= write_property(w, msg->content_type, AMQ_CONTENT_TYPE);
    flags |= write_property(w, msg->content_encoding, AMQ_CONTENT_ENCODING);
    flags |= write_table(&e, left_ms) ? AMQ_HEADERS : 0;
    flags |= write_delivery_mode(w, msg, options->persistent);
    if (msg->priority >= 0) {
        amq_write_uint(w, 1, msg->priority < 255 ? (unsigned)msg->priority : 255);
        flags |= AMQ_PRIORITY;
    }
    flags |= write_property(w, msg->correlation_id, AMQ_CORRELATION_ID);
    flags |= write_property(w, msg->reply_to, AMQ_REPLY_TO);
    flags |= write_expiration(w, options->hold_ms > 0       ? options->hold_ms
                                 : left_ms < EXPIRATION_MAX ? left_ms
                                                            : EXPIRATION_MAX);
    flags |= write_property(w, e.message_id, AMQ_MESSAGE_ID);
    if (msg->timestamp_kind != BAILEY_TIMESTAMP_NONE && msg->timestamp_ms >= 0) {
        amq_write_uint(w, 8, (uint64_t)msg->timestamp_ms / SECOND_MS);
        flags |= AMQ_TIMESTAMP;
    }
    flags |= write_property(w, msg->type, AMQ_TYPE);
    flags |= write_property(w, msg->app_id, AMQ_APP_ID);
    amq_put_uint(flags_at, 2, flags);
    if (e.bad_cc)
        return AMQ_MAP_BAD_CC;
    return w->full ? AMQ_MAP_FULL : AMQ_MAP_OK;
}

size_t amq_map_guess(const struct bailey_message *msg, const struct bailey_marks *marks)
{
    size_t size = 256 + msg->key.len + marks->id.len;

    for (uint32_t i = 0; i < msg->header_count; i++) {
        const struct bailey_value *value = &msg->headers[i].value;
        bool bytes = value->kind == BAILEY_KIND_STRING || value->kind == BAILEY_KIND_BYTES;

        size += msg->headers[i].name.len + 16 + (bytes ? value->bytes.len : 0);
    }
    for (int i = 0; i < AMQ_LONG_PROPERTIES; i++)
        size += long_property(msg, i)->len;
    return size;
}
