/* Envelope → headers of a SEND. The other direction is stomp_unmap.c.
 *
 * A header stands under its own name if a reader without Bailey can make use of it there and no broker is steered by it;
 * the rest goes into bailey-h. Every broker keeps headers in a map, so their order is lost unless bailey-order names it.
 */
#include "stomp_map.h"

#include <inttypes.h>
#include <stdio.h>

#include "base64.h"
#include "duplicate.h"
#include "octets.h"
#include "stomp_fields.h"

enum {
    VALUE_MAX = 4096,   /* bytes of a value outside of bailey-h: escaped, it fits into ActiveMQ's line of 10 KiB */
    NAME_MAX_LEN = 128, /* bytes of a name */
    SHORTSTR_MAX = 255, /* RabbitMQ: bytes of a property */
    PART_BYTES = 6138,  /* of bailey-h in one header: 8184 characters */
    EXPIRATION_MAX = INT32_MAX, /* RabbitMQ's milliseconds; what is later needs bailey-expires */
    JMS_PRIORITY_MAX = 9,
    SECOND_MS = 1000,
    ODD_KEY = STOMP_PROPERTIES, /* its bit in odd_properties */
};

struct exporter {
    struct stomp_writer *w;
    struct bailey_message *msg;
    const struct stomp_map_options *options;
    const struct bailey_marks *marks;
    uint32_t plain[STOMP_PLAIN_MAX]; /* indices of headers that stand under their own name, ascending */
    uint32_t plain_count;
    bool is_typed;           /* one of them is not STRING */
    bool has_id, has_mark;   /* one of them is bailey-id, bailey-possible-duplicate */
    bool is_odd_id;          /* bailey-id goes into bailey-h */
    unsigned odd_properties; /* bits: which cannot be said as text */
};

static void write_own(struct exporter *e, enum stomp_field own, struct bailey_bytes value)
{
    stomp_write_header(e->w, stomp_own_name(own), value);
}

static void write_own_number(struct exporter *e, enum stomp_field own, int64_t value)
{
    stomp_write_number(e->w, stomp_own_name(own), value);
}

/* ---- What may stand as text ---- */

static bool is_name_octet(uint8_t octet)
{
    uint8_t lower = octet | 0x20;

    return (lower >= 'a' && lower <= 'z') || (octet >= '0' && octet <= '9') || octet == '_' || octet == '.' ||
           octet == '-';
}

static bool is_plain_name(struct bailey_bytes name)
{
    if (name.len == 0 || name.len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_octet(name.data[i]))
            return false;
    return true;
}

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t';
}

/* UTF-8 that every broker gives back as it got it under these escapes: no control characters but TAB, LF and, where it surely
 * has an escape, CR; in 1.0, whose readers trim, no blanks at the ends. */
static bool is_plain_text(struct bailey_bytes text, enum stomp_escapes escapes)
{
    bool is_ascii = true;
    size_t i = 0;

    if (text.len > VALUE_MAX)
        return false;
    while (i + sizeof(uint64_t) <= text.len && stomp_is_printable(stomp_load(text.data + i)))
        i += sizeof(uint64_t);
    for (; i < text.len; i++) {
        uint8_t octet = text.data[i];

        if (octet >= ' ' && octet < 0x7f)
            continue;
        if (octet > 0x7f)
            is_ascii = false;
        else if (octet != '\t' && !(octet == '\n' && escapes != STOMP_ESCAPES_NONE) &&
                 !(octet == '\r' && escapes == STOMP_ESCAPES_12))
            return false;
    }
    if (escapes == STOMP_ESCAPES_NONE && text.len > 0 && (is_blank(text.data[0]) || is_blank(text.data[text.len - 1])))
        return false;
    return is_ascii || bailey_utf8_valid(text);
}

/* ---- Properties ---- */

/* `*text` without `prefix`, if it begins with that. */
static bool skip_prefix(struct bailey_bytes *text, const char *prefix)
{
    size_t len = strlen(prefix);

    if (text->len < len || memcmp(text->data, prefix, len) != 0)
        return false;
    text->data += len;
    text->len -= len;
    return true;
}

/* An address that the broker's own reply-to can hold: it parses that header. RabbitMQ closes the connection if it cannot, and
 * makes a queue for /temp-queue/; ActiveMQ makes a temporary destination. */
static bool is_reply_address(struct bailey_bytes address, enum stomp_dialect dialect)
{
    bool is_path = skip_prefix(&address, "/queue/") || skip_prefix(&address, "/topic/");

    if (dialect == STOMP_ACTIVEMQ && !is_path)
        return false;
    if (dialect == STOMP_RABBITMQ && !is_path)
        (void)(skip_prefix(&address, "/amq/queue/") || skip_prefix(&address, "/exchange/"));
    return is_plain_name(address);
}

/* The broker's own header for a property of this value, or NULL. */
static const char *native_name(int property, struct bailey_bytes value, enum stomp_dialect dialect)
{
    bool is_rabbitmq = dialect == STOMP_RABBITMQ;

    if (is_rabbitmq && value.len > SHORTSTR_MAX)
        return NULL;
    switch (property) {
    case STOMP_CONTENT_TYPE:
        return "content-type";
    case STOMP_CONTENT_ENCODING:
        return is_rabbitmq ? "content-encoding" : NULL;
    case STOMP_CORRELATION_ID:
        return "correlation-id";
    case STOMP_REPLY_TO:
        return is_reply_address(value, dialect) ? "reply-to" : NULL;
    case STOMP_MESSAGE_ID:
        return is_rabbitmq ? "amqp-message-id" : NULL; /* message-id is the broker's, everywhere */
    case STOMP_TYPE:
        return "type";
    case STOMP_APP_ID:
        return is_rabbitmq ? "app-id" : NULL;
    default:
        return NULL; /* user-id: never asserted */
    }
}

static void write_properties(struct exporter *e)
{
    for (int i = 0; i < STOMP_PROPERTIES; i++) {
        struct bailey_bytes value = stomp_property_value(e->msg, i);
        const char *native;

        if (value.data == NULL)
            continue;
        if (!is_plain_text(value, e->w->escapes)) {
            e->odd_properties |= 1U << i;
            continue;
        }
        native = native_name(i, value, e->options->dialect);
        stomp_write_header(e->w, native != NULL ? native : stomp_properties[i].own, value);
    }
}

static void write_priority(struct exporter *e)
{
    int16_t priority = e->msg->priority;
    bool is_jms = e->options->dialect == STOMP_ACTIVEMQ || e->options->dialect == STOMP_ARTEMIS;

    if (priority < 0)
        return;
    if (is_jms && priority > JMS_PRIORITY_MAX) {
        stomp_write_number(e->w, "priority", JMS_PRIORITY_MAX);
        write_own_number(e, STOMP_OWN_PRIORITY, priority);
    } else {
        stomp_write_number(e->w, "priority", priority);
    }
}

static bool is_transient(const struct exporter *e)
{
    int persistent = e->options->persistent;

    return persistent == STOMP_PERSISTENT_NEVER ||
           (persistent == STOMP_PERSISTENT_AS_MESSAGE && e->msg->durability == BAILEY_TRANSIENT);
}

/* What the importer will make of it. */
static uint8_t durability_read_back(const struct exporter *e)
{
    if (!is_transient(e))
        return BAILEY_DURABLE;
    return e->options->dialect == STOMP_GENERIC ? BAILEY_DURABILITY_UNKNOWN : BAILEY_TRANSIENT;
}

/* Not persistent is what brokers take it for without the header, but for Artemis. RabbitMQ must not see persistent:false: it
 * would declare the queue as not durable. */
static void write_persistent(struct exporter *e)
{
    uint8_t durability = e->msg->durability;

    if (!is_transient(e))
        stomp_write_header(e->w, "persistent", bailey_bytes_of("true"));
    else if (e->options->dialect == STOMP_ARTEMIS)
        stomp_write_header(e->w, "persistent", bailey_bytes_of("false"));
    if (durability != BAILEY_DURABILITY_UNKNOWN && durability != durability_read_back(e))
        write_own_number(e, STOMP_OWN_DURABLE, durability == BAILEY_DURABLE);
}

static void write_expiry(struct exporter *e, int64_t wall_ms)
{
    int64_t at_ms = e->msg->expires_at_ms;

    if (at_ms == 0)
        return;
    if (e->options->dialect != STOMP_RABBITMQ) {
        stomp_write_number(e->w, "expires", at_ms);
        return;
    }
    stomp_write_number(e->w, "expiration", at_ms - wall_ms < EXPIRATION_MAX ? at_ms - wall_ms : EXPIRATION_MAX);
    write_own_number(e, STOMP_OWN_EXPIRES, at_ms); /* a queue must not prolong it */
}

/* RabbitMQ's is in seconds, as AMQP readers expect. Artemis ignores the sender's and gives its own. */
static void write_timestamp(struct exporter *e)
{
    enum stomp_dialect dialect = e->options->dialect;
    int64_t at_ms = e->msg->timestamp_ms;

    if (e->msg->timestamp_kind == BAILEY_TIMESTAMP_NONE) {
        if (dialect != STOMP_RABBITMQ)
            write_own(e, STOMP_OWN_TIMESTAMP_KIND, bailey_bytes_of("none"));
        return;
    }
    if (dialect == STOMP_RABBITMQ && at_ms >= 0)
        stomp_write_number(e->w, "timestamp", at_ms / SECOND_MS);
    if ((dialect == STOMP_ACTIVEMQ || dialect == STOMP_GENERIC) && at_ms > 0)
        stomp_write_number(e->w, "timestamp", at_ms);
    else if (dialect != STOMP_RABBITMQ || at_ms < 0 || at_ms % SECOND_MS != 0)
        write_own_number(e, STOMP_OWN_TIMESTAMP, at_ms);
    if (e->msg->timestamp_kind == BAILEY_TIMESTAMP_APPEND)
        write_own(e, STOMP_OWN_TIMESTAMP_KIND, bailey_bytes_of("append"));
}

static void add_none(struct exporter *e, bool *is_open, const char *name)
{
    if (*is_open)
        stomp_write_part(e->w, bailey_bytes_of(","));
    else
        stomp_write_open(e->w, bailey_bytes_of(stomp_own_name(STOMP_OWN_NONE)));
    *is_open = true;
    stomp_write_part(e->w, bailey_bytes_of(name));
}

/* What the message does not have, and the broker will give it. */
static void write_none(struct exporter *e)
{
    enum stomp_dialect dialect = e->options->dialect;
    bool is_open = false;

    if (e->msg->durability == BAILEY_DURABILITY_UNKNOWN && durability_read_back(e) != BAILEY_DURABILITY_UNKNOWN)
        add_none(e, &is_open, "durable");
    if (e->msg->priority < 0 && dialect != STOMP_RABBITMQ)
        add_none(e, &is_open, "priority");
    if (e->msg->message_id.data == NULL && dialect == STOMP_ACTIVEMQ)
        add_none(e, &is_open, "message-id");
    if (is_open)
        stomp_write_close(e->w);
}

static void write_base64(struct stomp_writer *w, const char *name, struct bailey_bytes bytes)
{
    char text[(PART_BYTES + 2) / 3 * 4];

    stomp_base64_encode(bytes, text);
    stomp_write_header(w, name, (struct bailey_bytes){(const uint8_t *)text, stomp_base64_len(bytes.len)});
}

static void write_key(struct exporter *e)
{
    struct bailey_bytes key = e->msg->key;

    if (key.data == NULL)
        return;
    if (is_plain_text(key, STOMP_ESCAPES_NONE))
        write_own(e, STOMP_OWN_KEY, key);
    else if (key.len <= VALUE_MAX)
        write_base64(e->w, stomp_own_name(STOMP_OWN_KEY_B64), key);
    else
        e->odd_properties |= 1U << ODD_KEY;
}

/* ---- Headers under their own names ---- */

static bool is_listed(const struct bailey_list *list, struct bailey_bytes name)
{
    for (size_t i = 0; list != NULL && i < list->count; i++)
        if (bailey_bytes_is(name, list->items[i]))
            return true;
    return false;
}

static bool is_repeated(const struct exporter *e, struct bailey_bytes name)
{
    for (uint32_t i = 0; i < e->plain_count; i++)
        if (bailey_bytes_equal(e->msg->headers[e->plain[i]].name, name))
            return true;
    return false;
}

static bool has_plain_value(const struct exporter *e, const struct bailey_value *value)
{
    switch (value->kind) {
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        return is_plain_text(value->bytes, e->w->escapes);
    case BAILEY_KIND_NULL:
    case BAILEY_KIND_TABLE:
    case BAILEY_KIND_ARRAY:
        return false;
    default:
        return true;
    }
}

/* Does it get an id by which Artemis drops a copy? */
static bool has_duplicate_id(const struct exporter *e)
{
    return e->options->dialect == STOMP_ARTEMIS && e->options->dedup_scope != NULL && e->marks->id.data != NULL;
}

static void write_duplicate_id(const struct exporter *e)
{
    uint8_t text[STOMP_DUPLICATE_ID_MAX];

    if (has_duplicate_id(e))
        stomp_write_header(e->w, STOMP_DUPLICATE_ID, stomp_duplicate_id(text, e->options->dedup_scope, e->marks->id));
}

/* May a header of that name do what it does at the broker? */
static bool may_steer(const struct exporter *e, struct bailey_bytes name)
{
    return is_listed(e->options->pass_headers, name) &&
           !(has_duplicate_id(e) && bailey_bytes_is(name, STOMP_DUPLICATE_ID));
}

static struct bailey_header header_at(const struct exporter *e, uint32_t index)
{
    const struct bailey_header *header = &e->msg->headers[index];

    return (struct bailey_header){header->name, bailey_marked_value(e->marks, header)};
}

static bool is_plain(const struct exporter *e, const struct bailey_header *header)
{
    return e->plain_count < STOMP_PLAIN_MAX && is_plain_name(header->name) && has_plain_value(e, &header->value) &&
           stomp_field_of(header->name, e->options->dialect) == STOMP_FIELD_USER && stomp_part_of(header->name) == 0 &&
           (!stomp_name_steers(header->name) || may_steer(e, header->name)) && !is_repeated(e, header->name);
}

static void write_plain_headers(struct exporter *e)
{
    for (uint32_t i = 0; i < e->msg->header_count; i++) {
        struct bailey_header header = header_at(e, i);

        if (!is_plain(e, &header))
            continue;
        stomp_write_header_named(e->w, header.name, bailey_value_format(e->msg, &header.value));
        e->plain[e->plain_count++] = i;
        e->is_typed |= header.value.kind != BAILEY_KIND_STRING;
        e->has_id |= bailey_bytes_is(header.name, BAILEY_HEADER_ID);
        e->has_mark |= bailey_bytes_is(header.name, BAILEY_HEADER_DUPLICATE);
    }
}

static void write_order_gap(struct stomp_writer *w, uint32_t gap)
{
    char text[16];
    int len;

    if (gap == 0)
        return;
    len = snprintf(text, sizeof text, gap == 1 ? "*," : "*%" PRIu32 ",", gap);
    stomp_write_part(w, (struct bailey_bytes){(const uint8_t *)text, (size_t)len});
}

/* name, name=kind, * for one of bailey-h, *N for N of them: as far as the last that stands under its own name. */
static void write_order(struct exporter *e)
{
    bool has_odd = e->plain_count < e->msg->header_count;
    uint32_t next = 0;

    if (e->plain_count == 0 || (e->plain_count == 1 && !e->is_typed && !has_odd))
        return;
    stomp_write_open(e->w, bailey_bytes_of(stomp_own_name(STOMP_OWN_ORDER)));
    for (uint32_t i = 0; i < e->plain_count; i++) {
        struct bailey_header header = header_at(e, e->plain[i]);
        char kind[2] = {'=', (char)header.value.kind};

        if (i > 0)
            stomp_write_part(e->w, bailey_bytes_of(","));
        write_order_gap(e->w, e->plain[i] - next);
        stomp_write_part(e->w, header.name);
        if (header.value.kind != BAILEY_KIND_STRING)
            stomp_write_part(e->w, (struct bailey_bytes){(const uint8_t *)kind, sizeof kind});
        next = e->plain[i] + 1;
    }
    stomp_write_close(e->w);
}

/* ---- bailey-h ---- */

/* An entry: tag, then name and value, each behind its length (7 bits a byte, the lowest first, 128 set if more follow). */
struct odd {
    uint8_t tag; /* a kind, or STOMP_ODD_PROPERTY */
    struct bailey_bytes name, value;
};

static uint8_t *put_length(uint8_t *at, size_t len)
{
    for (; len >= 128; len >>= 7)
        *at++ = (uint8_t)(len | 128);
    *at++ = (uint8_t)len;
    return at;
}

static uint8_t *put_bytes(uint8_t *at, struct bailey_bytes bytes)
{
    at = put_length(at, bytes.len);
    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

enum { ODD_OVERHEAD = 1 + 10 + 10 }; /* bytes of an entry besides name and value, at most */

static uint32_t list_odd_headers(struct exporter *e, struct odd *list)
{
    uint32_t count = 0, plain = 0;

    for (uint32_t i = 0; i < e->msg->header_count; i++) {
        struct bailey_header header = header_at(e, i);

        if (plain < e->plain_count && e->plain[plain] == i)
            plain++;
        else
            list[count++] =
                (struct odd){(uint8_t)header.value.kind, header.name, bailey_value_format(e->msg, &header.value)};
    }
    if (e->is_odd_id) {
        struct bailey_value id = bailey_id_value(e->marks->id);

        list[count++] = (struct odd){(uint8_t)id.kind, bailey_bytes_of(BAILEY_HEADER_ID), id.bytes};
    }
    return count;
}

static uint32_t list_odd_properties(const struct exporter *e, struct odd *list)
{
    uint32_t count = 0;

    for (int i = 0; i < STOMP_PROPERTIES; i++)
        if (e->odd_properties & 1U << i)
            list[count++] = (struct odd){STOMP_ODD_PROPERTY, bailey_bytes_of(stomp_properties[i].own),
                                         stomp_property_value(e->msg, i)};
    if (e->odd_properties & 1U << ODD_KEY)
        list[count++] = (struct odd){STOMP_ODD_PROPERTY, bailey_bytes_of(stomp_own_name(STOMP_OWN_KEY)), e->msg->key};
    return count;
}

/* bailey-h, bailey-h-1, ...: each a multiple of three bytes but the last, so that each decodes by itself. */
static void write_parts(struct stomp_writer *w, struct bailey_bytes bytes)
{
    for (unsigned part = 0; bytes.len > 0 && !w->full; part++) {
        struct bailey_bytes piece = {bytes.data, bytes.len < PART_BYTES ? bytes.len : PART_BYTES};
        char name[24];

        if (part == STOMP_PARTS_MAX) {
            w->full = true;
            return;
        }
        snprintf(name, sizeof name, part == 0 ? "%s" : "%s-%u", stomp_own_name(STOMP_OWN_HEADERS), part);
        write_base64(w, name, piece);
        bytes.data += piece.len;
        bytes.len -= piece.len;
    }
}

static void write_odd(struct exporter *e)
{
    uint32_t count = e->msg->header_count - e->plain_count + e->is_odd_id;
    size_t room = 0;
    struct odd *list;
    uint8_t *bytes, *at;

    if (count == 0 && e->odd_properties == 0)
        return;
    if (count > STOMP_ODD_MAX) {
        e->w->full = true;
        return;
    }
    list = bailey_message_alloc(e->msg, (count + STOMP_PROPERTIES + 1) * sizeof *list);
    count = list_odd_headers(e, list);
    count += list_odd_properties(e, list + count);
    for (uint32_t i = 0; i < count; i++)
        room += list[i].name.len + list[i].value.len + ODD_OVERHEAD;
    if (room > STOMP_HEAD_MAX) {
        e->w->full = true;
        return;
    }
    at = bytes = bailey_message_alloc(e->msg, room);
    for (uint32_t i = 0; i < count; i++) {
        *at++ = list[i].tag;
        at = put_bytes(at, list[i].name);
        at = put_bytes(at, list[i].value);
    }
    write_parts(e->w, (struct bailey_bytes){bytes, (size_t)(at - bytes)});
}

/* ---- Marks ---- */

/* What the message has no header for yet: behind its own. */
static void write_marks(struct exporter *e)
{
    if (e->marks->possible_duplicate && !e->has_mark)
        stomp_write_header(e->w, BAILEY_HEADER_DUPLICATE, bailey_duplicate_value().bytes);
    if (e->marks->id.data == NULL || e->has_id)
        return;
    if (is_plain_text(e->marks->id, e->w->escapes))
        stomp_write_header(e->w, BAILEY_HEADER_ID, e->marks->id);
    else
        e->is_odd_id = bailey_message_header(e->msg, bailey_bytes_of(BAILEY_HEADER_ID)) == NULL;
}

/* ---- Entry points ---- */

enum stomp_map_result stomp_map_export(struct stomp_writer *w, struct bailey_message *msg,
                                       const struct stomp_map_options *options, int64_t wall_ms,
                                       const struct bailey_marks *marks)
{
    struct exporter e = {.w = w, .msg = msg, .options = options, .marks = marks};

    if (msg->expires_at_ms != 0 && msg->expires_at_ms <= wall_ms)
        return STOMP_MAP_EXPIRED;
    write_properties(&e);
    write_priority(&e);
    write_persistent(&e);
    write_expiry(&e, wall_ms);
    write_timestamp(&e);
    write_key(&e);
    if (msg->body.data == NULL)
        write_own_number(&e, STOMP_OWN_NULL, 1);
    if (msg->hops > 0)
        write_own_number(&e, STOMP_OWN_HOPS, msg->hops);
    write_none(&e);
    write_duplicate_id(&e);
    write_plain_headers(&e);
    write_order(&e);
    write_marks(&e);
    write_odd(&e);
    return STOMP_MAP_OK;
}

bool stomp_map_is_text(const struct bailey_message *msg, enum stomp_dialect dialect)
{
    if (dialect != STOMP_ACTIVEMQ && dialect != STOMP_ARTEMIS)
        return false;
    if (msg->body.data == NULL || bailey_message_header(msg, bailey_bytes_of(STOMP_TEXT)) == NULL)
        return false;
    return memchr(msg->body.data, '\0', msg->body.len) == NULL && bailey_utf8_valid(msg->body);
}

size_t stomp_map_guess(const struct bailey_message *msg, const struct bailey_marks *marks)
{
    size_t size = 512 + 2 * msg->key.len + (marks->id.data != NULL ? 2 * (marks->id.len + STOMP_DUPLICATE_ID_MAX) : 0);

    for (int i = 0; i < STOMP_PROPERTIES; i++)
        size += 2 * stomp_property_value(msg, i).len;
    for (uint32_t i = 0; i < msg->header_count; i++) {
        const struct bailey_value *value = &msg->headers[i].value;
        bool is_bytes = value->kind == BAILEY_KIND_STRING || value->kind == BAILEY_KIND_BYTES;

        size += 2 * msg->headers[i].name.len + 32 + (is_bytes ? 2 * value->bytes.len : 0);
    }
    return size;
}
