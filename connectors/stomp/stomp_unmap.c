/* Headers of a MESSAGE → envelope. The other direction is stomp_map.c.
 *
 * One pass sorts the frame's headers: the first of each name that means something is noted, all others are the user's.
 * Then it is known how much will be kept, and one allocation takes it. Only bailey-h needs a second one.
 */
#include "stomp_map.h"

#include "base64.h"
#include "stomp_fields.h"

enum { SECOND_MS = 1000 };

struct importer {
    struct bailey_message *msg;
    const struct stomp_parser *frame;
    enum stomp_dialect dialect;
    struct bailey_bytes seen[STOMP_FIELDS];     /* the first value of each; null: none. They lie in the frame */
    struct bailey_bytes parts[STOMP_PARTS_MAX]; /* of bailey-h; [0] is in `seen` */
    struct bailey_bytes odd;                    /* bailey-h, decoded */
    uint32_t odd_headers;                       /* in it */
    size_t user_count, user_bytes;
    uint16_t user[STOMP_HEADERS_MAX]; /* where they stand in the frame */
    uint8_t *room;                    /* what is left of the allocation */
};

static void sort_headers(struct importer *in)
{
    for (size_t i = 0; i < in->frame->header_count; i++) {
        const struct stomp_header *header = &in->frame->headers[i];
        enum stomp_field field = stomp_field_of(header->name, in->dialect);
        int part;

        if (field != STOMP_FIELD_USER) {
            if (in->seen[field].data == NULL)
                in->seen[field] = header->value;
            continue;
        }
        part = stomp_part_of(header->name);
        if (part > 0) {
            if (in->parts[part].data == NULL)
                in->parts[part] = header->value;
            continue;
        }
        in->user[in->user_count++] = (uint16_t)i;
        in->user_bytes += header->name.len + header->value.len;
    }
}

/* ---- Single values ---- */

static bool seen_number(const struct importer *in, enum stomp_field field, int64_t min, int64_t max, int64_t *number)
{
    return in->seen[field].data != NULL && stomp_parse_number(in->seen[field], min, max, number);
}

/* True if bailey-none lists `what`. */
static bool is_none(const struct importer *in, const char *what)
{
    struct bailey_bytes list = in->seen[STOMP_OWN_NONE];

    while (list.data != NULL && list.len > 0) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma != NULL ? (size_t)(comma - list.data) : list.len;

        if (bailey_bytes_is((struct bailey_bytes){list.data, len}, what))
            return true;
        list.data += len + (comma != NULL);
        list.len -= len + (comma != NULL);
    }
    return false;
}

static void import_priority(struct importer *in)
{
    int64_t priority;

    if (seen_number(in, STOMP_OWN_PRIORITY, 0, 255, &priority) ||
        (!is_none(in, "priority") && seen_number(in, STOMP_FIELD_PRIORITY, 0, 255, &priority)))
        in->msg->priority = (int16_t)priority;
}

/* Without `persistent`, ActiveMQ and RabbitMQ mean that it is not. */
static void import_durability(struct importer *in)
{
    struct bailey_bytes persistent = in->seen[STOMP_FIELD_PERSISTENT];
    int64_t durable;

    if (seen_number(in, STOMP_OWN_DURABLE, 0, 1, &durable))
        in->msg->durability = durable == 1 ? BAILEY_DURABLE : BAILEY_TRANSIENT;
    else if (is_none(in, "durable"))
        in->msg->durability = BAILEY_DURABILITY_UNKNOWN;
    else if (persistent.data != NULL)
        in->msg->durability = bailey_bytes_is(persistent, "true") ? BAILEY_DURABLE : BAILEY_TRANSIENT;
    else if (in->dialect == STOMP_ACTIVEMQ || in->dialect == STOMP_RABBITMQ)
        in->msg->durability = BAILEY_TRANSIENT;
}

/* RabbitMQ takes `expiration` away from what has become a dead letter: then ours does not count either. */
static void import_expiry(struct importer *in, int64_t wall_ms)
{
    int64_t left_ms;

    if (in->dialect != STOMP_RABBITMQ)
        seen_number(in, STOMP_FIELD_EXPIRES, 1, INT64_MAX, &in->msg->expires_at_ms);
    else if (seen_number(in, STOMP_FIELD_EXPIRATION, 0, INT64_MAX - wall_ms, &left_ms) &&
             !seen_number(in, STOMP_OWN_EXPIRES, 1, INT64_MAX, &in->msg->expires_at_ms))
        in->msg->expires_at_ms = wall_ms + left_ms;
}

static void import_timestamp(struct importer *in)
{
    struct bailey_bytes kind = in->seen[STOMP_OWN_TIMESTAMP_KIND];
    bool is_rabbitmq = in->dialect == STOMP_RABBITMQ;
    int64_t at;

    if (kind.data != NULL && bailey_bytes_is(kind, "none"))
        return;
    if (seen_number(in, STOMP_OWN_TIMESTAMP, INT64_MIN + 1, INT64_MAX, &at))
        in->msg->timestamp_ms = at;
    else if (is_rabbitmq && seen_number(in, STOMP_FIELD_TIMESTAMP, 0, INT64_MAX / SECOND_MS, &at))
        in->msg->timestamp_ms = at * SECOND_MS;
    else if (!is_rabbitmq && seen_number(in, STOMP_FIELD_TIMESTAMP, 1, INT64_MAX, &at))
        in->msg->timestamp_ms = at;
    else
        return;
    in->msg->timestamp_kind =
        kind.data != NULL && bailey_bytes_is(kind, "append") ? BAILEY_TIMESTAMP_APPEND : BAILEY_TIMESTAMP_CREATE;
}

static void import_numbers(struct importer *in, int64_t wall_ms)
{
    struct bailey_bytes redelivered = in->seen[STOMP_FIELD_REDELIVERED];
    int64_t hops;

    in->msg->redelivered = redelivered.data != NULL && bailey_bytes_is(redelivered, "true");
    import_priority(in);
    import_durability(in);
    import_expiry(in, wall_ms);
    import_timestamp(in);
    if (seen_number(in, STOMP_OWN_HOPS, 1, UINT8_MAX, &hops))
        in->msg->hops = (uint8_t)hops;
}

/* ---- bailey-h ---- */

struct cursor {
    const uint8_t *at, *end;
};

struct odd {
    uint8_t tag;
    struct bailey_bytes name, value;
};

static bool get_bytes(struct cursor *c, struct bailey_bytes *bytes)
{
    size_t len = 0;

    for (unsigned shift = 0; shift < 28; shift += 7) { /* longer than any head */
        if (c->at == c->end)
            return false;
        len |= (size_t)(*c->at & 127) << shift;
        if (*c->at++ < 128) {
            if (len > (size_t)(c->end - c->at))
                return false;
            *bytes = (struct bailey_bytes){c->at, len};
            c->at += len;
            return true;
        }
    }
    return false;
}

static bool get_odd(struct cursor *c, struct odd *odd)
{
    if (c->at == c->end)
        return false;
    odd->tag = *c->at++;
    return (odd->tag == STOMP_ODD_PROPERTY || bailey_kind_valid(odd->tag)) && get_bytes(c, &odd->name) &&
           get_bytes(c, &odd->value);
}

/* Count its headers; forget it as a whole if it is not of our form. */
static void check_odd(struct importer *in)
{
    struct cursor c = {in->odd.data, in->odd.data + in->odd.len};
    struct odd odd;

    while (c.at < c.end) {
        if (!get_odd(&c, &odd) || in->odd_headers == STOMP_ODD_MAX) {
            in->odd = BAILEY_EMPTY_BYTES;
            in->odd_headers = 0;
            return;
        }
        in->odd_headers += odd.tag != STOMP_ODD_PROPERTY;
    }
}

static void decode_odd(struct importer *in)
{
    size_t room = 0, len = 0, got;
    uint8_t *bytes;
    int count = 0;

    in->parts[0] = in->seen[STOMP_OWN_HEADERS];
    while (count < STOMP_PARTS_MAX && in->parts[count].data != NULL)
        room += in->parts[count++].len / 4 * 3;
    if (room == 0)
        return;
    bytes = bailey_message_alloc(in->msg, room);
    for (int i = 0; i < count; i++) {
        if (!stomp_base64_decode(in->parts[i], bytes + len, &got))
            return;
        len += got;
    }
    in->odd = (struct bailey_bytes){bytes, len};
    check_odd(in);
}

/* Properties in bailey-h: as if they stood under the names of ours. They lie in `msg` already. */
static void take_odd_properties(struct importer *in)
{
    struct cursor c = {in->odd.data, in->odd.data + in->odd.len};
    struct odd odd;

    while (c.at < c.end && get_odd(&c, &odd)) {
        enum stomp_field field;

        if (odd.tag != STOMP_ODD_PROPERTY)
            continue;
        field = stomp_field_of(odd.name, in->dialect);
        if ((field == STOMP_OWN_KEY || (field >= STOMP_OWN_PROPERTY && field < STOMP_OWN_PRIORITY)) &&
            in->seen[field].data == NULL)
            in->seen[field] = odd.value;
    }
}

/* `value`, of which `bytes` hold a text of `kind`; STRING or BYTES if they do not. */
static struct bailey_value value_of(struct importer *in, enum bailey_kind kind, struct bailey_bytes bytes)
{
    struct bailey_value value;

    if (kind == BAILEY_KIND_NULL)
        return (struct bailey_value){.kind = kind};
    if (kind == BAILEY_KIND_STRING || kind == BAILEY_KIND_BYTES)
        return (struct bailey_value){.kind = kind, .bytes = bytes};
    if (bailey_value_parse(in->msg, kind, bytes, &value))
        return value;
    return (struct bailey_value){.kind = bailey_utf8_valid(bytes) ? BAILEY_KIND_STRING : BAILEY_KIND_BYTES,
                                 .bytes = bytes};
}

/* ---- Order ---- */

/* Headers as they become the message's: `plain` are those of the frame that are not placed yet, `odd` those of bailey-h. */
struct arrangement {
    struct importer *in;
    struct bailey_header *plain, *out;
    uint32_t plain_left, odd_left, count;
    struct cursor odd;
};

static void place_odd(struct arrangement *a, uint32_t wanted)
{
    struct odd odd;

    for (; wanted > 0 && a->odd_left > 0 && get_odd(&a->odd, &odd);) {
        if (odd.tag == STOMP_ODD_PROPERTY)
            continue;
        a->out[a->count++] = (struct bailey_header){odd.name, value_of(a->in, (enum bailey_kind)odd.tag, odd.value)};
        a->odd_left--;
        wanted--;
    }
}

/* The first header of that name; the others keep their order. */
static void place_plain(struct arrangement *a, struct bailey_bytes name, enum bailey_kind kind)
{
    for (uint32_t i = 0; i < a->plain_left; i++) {
        struct bailey_header header = a->plain[i];

        if (!bailey_bytes_equal(header.name, name))
            continue;
        memmove(a->plain + 1, a->plain, i * sizeof *a->plain);
        a->plain++;
        a->plain_left--;
        if (kind != BAILEY_KIND_STRING)
            header.value = value_of(a->in, kind, header.value.bytes);
        a->out[a->count++] = header;
        return;
    }
}

/* name, name=KIND, * or *N. What is none of these, or names no header of the frame, is passed over. */
static void place_item(struct arrangement *a, struct bailey_bytes item)
{
    enum bailey_kind kind = BAILEY_KIND_STRING;
    int64_t wanted = 1;

    if (item.len > 0 && item.data[0] == '*') {
        item.data++;
        item.len--;
        if (item.len == 0 || stomp_parse_number(item, 1, STOMP_ODD_MAX, &wanted))
            place_odd(a, (uint32_t)wanted);
        return;
    }
    if (item.len > 2 && item.data[item.len - 2] == '=') {
        kind = (enum bailey_kind)item.data[item.len - 1];
        item.len -= 2;
        if (!bailey_kind_valid((int)kind) || kind == BAILEY_KIND_NULL)
            kind = BAILEY_KIND_STRING;
    }
    place_plain(a, item, kind);
}

static void place_listed(struct arrangement *a, struct bailey_bytes order)
{
    for (unsigned items = 0; order.len > 0 && items < 2 * STOMP_PLAIN_MAX; items++) { /* as many as we write */
        const uint8_t *comma = memchr(order.data, ',', order.len);
        size_t len = comma != NULL ? (size_t)(comma - order.data) : order.len;

        place_item(a, (struct bailey_bytes){order.data, len});
        order.data += len + (comma != NULL);
        order.len -= len + (comma != NULL);
    }
}

/* Without bailey-order they stay as they are, those of bailey-h behind them: either there is one header of the frame's
 * at most, or no Bailey wrote it. */
static void arrange(struct importer *in, struct bailey_header *plain, uint32_t count)
{
    struct bailey_bytes order = in->seen[STOMP_OWN_ORDER];
    struct arrangement a = {in, plain, plain, count, in->odd_headers, 0, {in->odd.data, in->odd.data + in->odd.len}};

    if (in->odd_headers > 0)
        a.out = bailey_message_alloc(in->msg, (count + in->odd_headers + 1) * sizeof *a.out);
    if (order.data != NULL)
        place_listed(&a, order);
    if (a.plain_left > 0 && a.out + a.count != a.plain)
        memmove(a.out + a.count, a.plain, a.plain_left * sizeof *a.plain);
    a.count += a.plain_left;
    place_odd(&a, a.odd_left);
    in->msg->headers = a.out;
    in->msg->header_count = a.count;
}

/* ---- What is kept ---- */

/* The property's value: ours, else the broker's. */
static struct bailey_bytes property_seen(const struct importer *in, int property)
{
    struct bailey_bytes own = in->seen[STOMP_OWN_PROPERTY + property], native = in->seen[property];

    if (own.data != NULL)
        return own;
    if (property == STOMP_MESSAGE_ID && is_none(in, "message-id"))
        return BAILEY_NULL_BYTES;
    if (property == STOMP_REPLY_TO && in->dialect == STOMP_RABBITMQ && native.data != NULL &&
        native.len >= sizeof STOMP_REPLY_QUEUE - 1 &&
        memcmp(native.data, STOMP_REPLY_QUEUE, sizeof STOMP_REPLY_QUEUE - 1) == 0) {
        native.data += sizeof STOMP_REPLY_QUEUE - 1;
        native.len -= sizeof STOMP_REPLY_QUEUE - 1;
    }
    return native;
}

static struct bailey_bytes keep(struct importer *in, struct bailey_bytes bytes)
{
    uint8_t *at = in->room;

    if (bytes.data == NULL)
        return BAILEY_NULL_BYTES;
    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    in->room += bytes.len;
    return (struct bailey_bytes){at, bytes.len};
}

static void keep_key(struct importer *in)
{
    struct bailey_bytes text = in->seen[STOMP_OWN_KEY], base64 = in->seen[STOMP_OWN_KEY_B64];
    size_t len;

    if (text.data != NULL) {
        in->msg->key = keep(in, text);
    } else if (base64.data != NULL && stomp_base64_decode(base64, in->room, &len)) {
        in->msg->key = (struct bailey_bytes){in->room, len};
        in->room += len;
    }
}

/* A body without a length is a TextMessage's on ActiveMQ; one that was forced to be text has both. */
static void mark_text(struct importer *in)
{
    struct bailey_bytes forced = in->seen[STOMP_FIELD_TEXT];
    struct bailey_header *headers = (struct bailey_header *)(uintptr_t)in->msg->headers; /* with room for one more */

    if (in->dialect != STOMP_ACTIVEMQ || bailey_message_header(in->msg, bailey_bytes_of(STOMP_TEXT)) != NULL)
        return;
    if (!in->frame->has_length || (forced.data != NULL && bailey_bytes_is(forced, "text")))
        headers[in->msg->header_count++] = (struct bailey_header){
            bailey_bytes_of(STOMP_TEXT), {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("1")}};
}

static void keep_headers(struct importer *in, struct bailey_header *headers)
{
    uint32_t count = 0;

    for (; count < in->user_count; count++) {
        const struct stomp_header *header = &in->frame->headers[in->user[count]];

        headers[count].name = keep(in, header->name);
        headers[count].value = (struct bailey_value){.kind = BAILEY_KIND_STRING, .bytes = keep(in, header->value)};
    }
    arrange(in, headers, count);
    mark_text(in);
}

static void keep_all(struct importer *in)
{
    struct bailey_bytes properties[STOMP_PROPERTIES];
    size_t headers = (in->user_count + 1) * sizeof(struct bailey_header);
    size_t room = in->user_bytes + in->seen[STOMP_FIELD_DESTINATION].len + in->seen[STOMP_OWN_KEY].len +
                  in->seen[STOMP_OWN_KEY_B64].len;
    uint8_t *block;

    for (int i = 0; i < STOMP_PROPERTIES; i++) {
        properties[i] = property_seen(in, i);
        room += properties[i].len;
    }
    block = bailey_message_alloc(in->msg, headers + room);
    in->room = block + headers;
    for (int i = 0; i < STOMP_PROPERTIES; i++)
        *(struct bailey_bytes *)((char *)in->msg + stomp_properties[i].offset) = keep(in, properties[i]);
    in->msg->origin.destination = keep(in, in->seen[STOMP_FIELD_DESTINATION]);
    keep_key(in);
    keep_headers(in, (struct bailey_header *)(void *)block);
}

void stomp_map_import(struct bailey_message *msg, const struct stomp_parser *frame, enum stomp_dialect dialect,
                      int64_t wall_ms, bool *null_body)
{
    struct importer in;

    memset(&in, 0, offsetof(struct importer, user));
    in.msg = msg;
    in.frame = frame;
    in.dialect = dialect;
    in.odd = BAILEY_EMPTY_BYTES;
    sort_headers(&in);
    if (in.seen[STOMP_OWN_HEADERS].data != NULL) {
        decode_odd(&in);
        take_odd_properties(&in);
    }
    import_numbers(&in, wall_ms);
    keep_all(&in);
    *null_body = in.seen[STOMP_OWN_NULL].data != NULL && bailey_bytes_is(in.seen[STOMP_OWN_NULL], "1");
}
