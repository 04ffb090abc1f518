/* kafka_map.c: see kafka_map.h for the table of headers.
 *
 * Import works in place: owned headers are taken out of the array, then the rest gets the kinds that bailey-types names.
 * A wrong bailey-types (more kinds than headers, or none of ours) is ignored as a whole, a value that is not of its kind stays bytes.
 */
#include "kafka_map.h"

#include <stdio.h>

#define PREFIX "bailey-"
enum { PREFIX_LEN = sizeof PREFIX - 1 };

struct text_property {
    const char *name; /* behind the prefix */
    size_t offset;    /* of the view in the message */
};

static const struct text_property text_properties[] = {
    {"content-type", offsetof(struct bailey_message, content_type)},
    {"content-encoding", offsetof(struct bailey_message, content_encoding)},
    {"correlation-id", offsetof(struct bailey_message, correlation_id)},
    {"reply-to", offsetof(struct bailey_message, reply_to)},
    {"message-id", offsetof(struct bailey_message, message_id)},
    {"type", offsetof(struct bailey_message, type)},
    {"app-id", offsetof(struct bailey_message, app_id)},
    {"user-id", offsetof(struct bailey_message, user_id)},
};
enum { TEXT_PROPERTIES = sizeof text_properties / sizeof *text_properties };

static struct bailey_bytes *property_of(struct bailey_message *msg, const struct text_property *property)
{
    return (struct bailey_bytes *)((char *)msg + property->offset);
}

static struct bailey_bytes property_value(const struct bailey_message *msg, const struct text_property *property)
{
    return *(const struct bailey_bytes *)((const char *)msg + property->offset);
}

/* A decimal number in the only form that we write: no sign but a leading "-", no leading zero, no blank. */
static bool parse_number(struct bailey_bytes text, int64_t min, int64_t max, int64_t *value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t number = 0;

    if (text.data == NULL || text.len == i || text.len > 20 || (text.data[i] == '0' && text.len > 1))
        return false;
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, text.data[i] - '0', &number))
            return false;
    }
    *value = negative ? -number : number;
    return *value >= min && *value <= max;
}

/* Put an owned header into the envelope. False if the name is not ours: it stays the user's. */
static bool take_owned(struct bailey_message *msg, struct bailey_bytes name, struct bailey_bytes value,
                       struct bailey_bytes *types)
{
    int64_t number;

    name.data += PREFIX_LEN;
    name.len -= PREFIX_LEN;
    if (bailey_bytes_is(name, "hops")) { /* first: nearly every message has it */
        if (parse_number(value, 1, UINT8_MAX, &number))
            msg->hops = (uint8_t)number;
        return true;
    }
    for (size_t i = 0; i < TEXT_PROPERTIES; i++) {
        if (bailey_bytes_is(name, text_properties[i].name)) {
            *property_of(msg, &text_properties[i]) = value;
            return true;
        }
    }
    if (bailey_bytes_is(name, "types")) {
        *types = value;
    } else if (bailey_bytes_is(name, "priority")) {
        if (parse_number(value, 0, 255, &number))
            msg->priority = (int16_t)number;
    } else if (bailey_bytes_is(name, "durable")) {
        if (parse_number(value, 0, 1, &number))
            msg->durability = number == 1 ? BAILEY_DURABLE : BAILEY_TRANSIENT;
    } else if (bailey_bytes_is(name, "expires")) {
        if (parse_number(value, 1, INT64_MAX, &number))
            msg->expires_at_ms = number;
    } else if (bailey_bytes_is(name, "timestamp")) {
        if (parse_number(value, INT64_MIN + 1, 0, &number))
            msg->timestamp_ms = number;
    } else if (bailey_bytes_is(name, "timestamp-kind")) {
        if (bailey_bytes_is(value, "none"))
            msg->timestamp_kind = BAILEY_TIMESTAMP_NONE;
        else if (bailey_bytes_is(value, "append"))
            msg->timestamp_kind = BAILEY_TIMESTAMP_APPEND;
    } else {
        return false;
    }
    return true;
}

static struct bailey_bytes value_bytes(const struct bailey_value *value)
{
    return value->kind == BAILEY_KIND_NULL ? BAILEY_NULL_BYTES : value->bytes;
}

/* Kafka's headers have no types: text counts as STRING, which is what readers elsewhere expect; the rest is BYTES. */
static enum bailey_kind untyped_kind(struct bailey_bytes value)
{
    if (value.data == NULL)
        return BAILEY_KIND_NULL;
    return bailey_utf8_valid(value) ? BAILEY_KIND_STRING : BAILEY_KIND_BYTES;
}

/* Give the user's headers the kinds they had. */
static void restore_kinds(struct bailey_message *msg, struct bailey_header *headers, uint32_t count,
                          struct bailey_bytes types)
{
    if (types.data == NULL || types.len > count)
        return;
    count = (uint32_t)types.len; /* what others appended on the way has no kind of ours */
    for (uint32_t i = 0; i < count; i++)
        if (!bailey_kind_valid(types.data[i]))
            return;
    for (uint32_t i = 0; i < count; i++) {
        enum bailey_kind kind = (enum bailey_kind)types.data[i];
        struct bailey_value value;

        if (kind == BAILEY_KIND_NULL || headers[i].value.kind == BAILEY_KIND_NULL)
            continue; /* they are what they are */
        if (bailey_value_parse(msg, kind, headers[i].value.bytes, &value))
            headers[i].value = value;
    }
}

void kafka_map_import(struct bailey_message *msg, struct bailey_header *headers, uint32_t count)
{
    struct bailey_bytes types = BAILEY_NULL_BYTES;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct bailey_bytes name = headers[i].name;

        if (name.len > PREFIX_LEN && memcmp(name.data, PREFIX, PREFIX_LEN) == 0 &&
            take_owned(msg, name, value_bytes(&headers[i].value), &types))
            continue;
        if (kept != i)
            headers[kept] = headers[i];
        headers[kept].value.kind = untyped_kind(value_bytes(&headers[kept].value));
        kept++;
    }
    restore_kinds(msg, headers, kept, types);
    msg->headers = headers;
    msg->header_count = kept;
}

bool kafka_map_is_bare(const struct bailey_message *msg)
{
    bool properties = false;

    for (size_t i = 0; i < TEXT_PROPERTIES; i++)
        properties |= property_value(msg, &text_properties[i]).data != NULL;
    return !properties && msg->header_count == 0 && msg->priority < 0 && msg->durability == BAILEY_DURABILITY_UNKNOWN &&
           msg->expires_at_ms == 0 && msg->hops == 0 && msg->timestamp_kind == BAILEY_TIMESTAMP_CREATE &&
           msg->timestamp_ms > 0;
}

bool kafka_map_is_typed(const struct bailey_message *msg)
{
    for (uint32_t i = 0; i < msg->header_count; i++) {
        const struct bailey_value *value = &msg->headers[i].value;
        bool is_untyped = value->kind == BAILEY_KIND_NULL ||
                          ((value->kind == BAILEY_KIND_STRING || value->kind == BAILEY_KIND_BYTES) &&
                           untyped_kind(value->bytes) == value->kind);

        if (!is_untyped)
            return true;
    }
    return false;
}

static void add_number(kafka_map_add *add, void *ctx, const char *name, int64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)number);
    add(ctx, bailey_bytes_of(name), bailey_bytes_of(text));
}

/* Nearly every message has it: no printf. */
static void add_hops(kafka_map_add *add, void *ctx, unsigned hops)
{
    uint8_t text[3];
    size_t at = sizeof text;

    do
        text[--at] = (uint8_t)('0' + hops % 10);
    while ((hops /= 10) > 0);
    add(ctx, bailey_bytes_of(PREFIX "hops"), (struct bailey_bytes){text + at, sizeof text - at});
}

static void export_user_headers(const struct bailey_message *msg, const struct bailey_marks *marks,
                                struct bailey_message *scratch, kafka_map_add *add, void *ctx)
{
    if (!kafka_map_is_typed(msg)) {
        for (uint32_t i = 0; i < msg->header_count; i++) {
            struct bailey_value value = bailey_marked_value(marks, &msg->headers[i]);

            add(ctx, msg->headers[i].name, value_bytes(&value));
        }
        return;
    }

    struct bailey_bytes types = {bailey_message_alloc(scratch, msg->header_count), msg->header_count};
    for (uint32_t i = 0; i < msg->header_count; i++) {
        struct bailey_value value = bailey_marked_value(marks, &msg->headers[i]);

        ((uint8_t *)types.data)[i] = (uint8_t)value.kind;
        add(ctx, msg->headers[i].name,
            value.kind == BAILEY_KIND_NULL ? BAILEY_NULL_BYTES : bailey_value_format(scratch, &value));
    }
    add(ctx, bailey_bytes_of(PREFIX "types"), types);
}

static void export_timestamp(const struct bailey_message *msg, kafka_map_add *add, void *ctx)
{
    if (msg->timestamp_kind == BAILEY_TIMESTAMP_NONE)
        add(ctx, bailey_bytes_of(PREFIX "timestamp-kind"), bailey_bytes_of("none"));
    else if (msg->timestamp_kind == BAILEY_TIMESTAMP_APPEND)
        add(ctx, bailey_bytes_of(PREFIX "timestamp-kind"), bailey_bytes_of("append"));
    if (msg->timestamp_kind != BAILEY_TIMESTAMP_NONE && msg->timestamp_ms <= 0)
        add_number(add, ctx, PREFIX "timestamp", msg->timestamp_ms);
}

static bool lacks(const struct bailey_message *msg, const char *name)
{
    return bailey_message_header(msg, bailey_bytes_of(name)) == NULL;
}

static void export_marks(const struct bailey_message *msg, const struct bailey_marks *marks, kafka_map_add *add,
                         void *ctx)
{
    if (marks->id.data != NULL && lacks(msg, BAILEY_HEADER_ID))
        add(ctx, bailey_bytes_of(BAILEY_HEADER_ID), marks->id);
    if (marks->possible_duplicate && lacks(msg, BAILEY_HEADER_DUPLICATE))
        add(ctx, bailey_bytes_of(BAILEY_HEADER_DUPLICATE), bailey_duplicate_value().bytes);
}

void kafka_map_export(const struct bailey_message *msg, const struct bailey_marks *marks,
                      struct bailey_message *scratch, kafka_map_add *add, void *ctx)
{
    export_user_headers(msg, marks, scratch, add, ctx);
    for (size_t i = 0; i < TEXT_PROPERTIES; i++) {
        struct bailey_bytes value = property_value(msg, &text_properties[i]);
        char name[PREFIX_LEN + 24];

        if (value.data == NULL)
            continue;
        snprintf(name, sizeof name, PREFIX "%s", text_properties[i].name);
        add(ctx, bailey_bytes_of(name), value);
    }
    if (msg->priority >= 0)
        add_number(add, ctx, PREFIX "priority", msg->priority);
    if (msg->durability != BAILEY_DURABILITY_UNKNOWN)
        add_number(add, ctx, PREFIX "durable", msg->durability == BAILEY_DURABLE);
    if (msg->expires_at_ms > 0)
        add_number(add, ctx, PREFIX "expires", msg->expires_at_ms);
    if (msg->hops > 0)
        add_hops(add, ctx, msg->hops);
    export_timestamp(msg, add, ctx);
    export_marks(msg, marks, add, ctx);
}

int64_t kafka_map_timestamp(const struct bailey_message *msg)
{
    if (msg->timestamp_kind == BAILEY_TIMESTAMP_NONE)
        return 0;
    return msg->timestamp_ms > 0 ? msg->timestamp_ms : 1; /* librdkafka: 0 is the present, -1 none */
}
