/* Models of brokers. See stomp_brokers.h. */
#include "stomp_brokers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct bailey_pool *stomp_pool;
static uint8_t wire[1 << 19], delivered[1 << 19];

int stomp_pool_open(void **state)
{
    (void)state;
    stomp_pool = message_pool_new();
    return 0;
}

int stomp_pool_close(void **state)
{
    (void)state;
    message_pool_free(stomp_pool);
    return 0;
}

const struct way ways[WAYS] = {
    {STOMP_ACTIVEMQ, STOMP_ESCAPES_LENIENT, STOMP_PERSISTENT_ALWAYS, NULL, false},
    {STOMP_ACTIVEMQ, STOMP_ESCAPES_LENIENT, STOMP_PERSISTENT_AS_MESSAGE, NULL, false},
    {STOMP_ARTEMIS, STOMP_ESCAPES_12, STOMP_PERSISTENT_ALWAYS, NULL, false},
    {STOMP_ARTEMIS, STOMP_ESCAPES_12, STOMP_PERSISTENT_NEVER, NULL, false},
    {STOMP_RABBITMQ, STOMP_ESCAPES_12, STOMP_PERSISTENT_ALWAYS, NULL, false},
    {STOMP_RABBITMQ, STOMP_ESCAPES_12, STOMP_PERSISTENT_AS_MESSAGE, NULL, false},
    {STOMP_GENERIC, STOMP_ESCAPES_12, STOMP_PERSISTENT_AS_MESSAGE, NULL, false},
    {STOMP_GENERIC, STOMP_ESCAPES_11, STOMP_PERSISTENT_ALWAYS, NULL, false},
    {STOMP_GENERIC, STOMP_ESCAPES_NONE, STOMP_PERSISTENT_NEVER, NULL, false},
};
const struct way *way_of(enum stomp_dialect dialect)
{
    const struct way *way = ways;

    while (way->dialect != dialect)
        way++;
    return way;
}

uint64_t chance_seed = 1;

uint32_t chance(uint32_t below)
{
    chance_seed ^= chance_seed << 13;
    chance_seed ^= chance_seed >> 7;
    chance_seed ^= chance_seed << 17;
    return (uint32_t)((chance_seed * UINT64_C(2685821657736338717)) >> 33) % below;
}

/* ---- Sending ---- */

/* The SEND of `msg`, as the sink writes it. */
struct bailey_bytes send_frame(struct bailey_message *msg, const struct way *way)
{
    struct stomp_map_options options = {way->dialect, way->persistent, way->pass, way->scope};
    struct bailey_marks marks = {way->id, way->doubt};
    struct stomp_writer w = {.at = wire, .end = wire + sizeof wire, .escapes = way->escapes};

    stomp_write_command(&w, "SEND");
    stomp_write_header(&w, "destination", text("/queue/q"));
    stomp_write_number(&w, "receipt", 7);
    if (!stomp_map_is_text(msg, way->dialect))
        stomp_write_number(&w, "content-length", (int64_t)msg->body.len);
    assert_int_equal(stomp_map_export(&w, msg, &options, WALL_MS, &marks), STOMP_MAP_OK);
    stomp_write_end_of_head(&w);
    stomp_write_body(&w, msg->body);
    assert_false(w.full);
    assert_false(w.bad);
    return (struct bailey_bytes){wire, (size_t)(w.at - wire)};
}

struct stomp_parser parse_frame(struct bailey_bytes frame, enum stomp_escapes escapes, struct bailey_bytes *body)
{
    struct stomp_parser parser = {.escapes = escapes, .body_max = 1 << 20};
    size_t head, used;

    assert_int_equal(stomp_parse(&parser, frame.data, frame.len, &head), STOMP_HEAD);
    assert_int_equal(stomp_parse(&parser, frame.data + head, frame.len - head, &used), STOMP_BODY);
    assert_true(parser.last);
    *body = parser.part;
    return parser;
}

/* ---- Brokers ---- */

/* What a broker will send, in no order that anybody may rely on. */
struct outgoing {
    struct stomp_header headers[256];
    size_t count;
};

static void put(struct outgoing *out, struct bailey_bytes name, struct bailey_bytes value)
{
    assert_true(out->count < 256);
    out->headers[out->count++] = (struct stomp_header){name, value};
}

static void put_text(struct outgoing *out, const char *name, const char *value)
{
    put(out, text(name), text(value));
}

/* The frame's header, if it has it. */
static void put_same(struct outgoing *out, const struct stomp_parser *frame, const char *name)
{
    struct bailey_bytes value = stomp_frame_header(frame, name);

    if (value.data != NULL)
        put(out, text(name), value);
}

static void put_or(struct outgoing *out, const struct stomp_parser *frame, const char *name, const char *otherwise)
{
    struct bailey_bytes value = stomp_frame_header(frame, name);

    put(out, text(name), value.data != NULL ? value : text(otherwise));
}

static void put_others(struct outgoing *out, const struct stomp_parser *frame, const char *const *handled)
{
    for (size_t i = 0; i < frame->header_count; i++)
        if (!is_one_of(frame->headers[i].name, handled))
            put(out, frame->headers[i].name, frame->headers[i].value);
}

static void shuffle(struct outgoing *out, size_t from)
{
    for (size_t i = out->count; i > from + 1; i--) {
        size_t j = from + chance((uint32_t)(i - from));
        struct stomp_header swap = out->headers[i - 1];

        out->headers[i - 1] = out->headers[j];
        out->headers[j] = swap;
    }
}

/* FrameTranslator.java: a HashMap; properties are whatever is left, but for JMS's own names. */
static void through_activemq(struct outgoing *out, const struct stomp_parser *frame)
{
    static const char *const handled[] = {"destination", "correlation-id", "expires",    "timestamp",      "priority",
                                          "type",        "reply-to",       "persistent", "receipt",        "message-id",
                                          "redelivered", "subscription",   "JMSXUserID", "content-length", NULL};

    put_same(out, frame, "destination");
    put_text(out, "message-id", "ID:host-1:1:-1:1:1");
    put_text(out, "subscription", "0");
    put_text(out, "ack", "ID:host-2:1");
    put_same(out, frame, "correlation-id");
    put_or(out, frame, "expires", "0");
    put_or(out, frame, "priority", "4");
    put_or(out, frame, "timestamp", "1699999999999");
    put_same(out, frame, "type");
    put_same(out, frame, "reply-to");
    if (bailey_bytes_is(stomp_frame_header(frame, "persistent"), "true"))
        put_text(out, "persistent", "true");
    put_same(out, frame, "content-length");
    put_others(out, frame, handled);
    shuffle(out, 0);
}

/* StompUtils.java: the standard headers, then all properties, then ack. */
static void through_artemis(struct outgoing *out, const struct stomp_parser *frame)
{
    static const char *const handled[] = {"destination", "correlation-id", "expires",      "priority",       "type",
                                          "reply-to",    "persistent",     "content-type", "content-length", NULL};
    size_t properties;

    put_text(out, "subscription", "0");
    put_same(out, frame, "content-length");
    put_text(out, "message-id", "4,123");
    put_same(out, frame, "destination");
    put_same(out, frame, "correlation-id");
    put_or(out, frame, "expires", "0");
    put_text(out, "redelivered", "false");
    put_or(out, frame, "priority", "4");
    put_or(out, frame, "persistent", "true");
    put_same(out, frame, "reply-to");
    put_text(out, "timestamp", "1699999999999");
    put_same(out, frame, "type");
    put_same(out, frame, "content-type");
    put_text(out, "destination-type", "ANYCAST");
    properties = out->count;
    put_others(out, frame, handled); /* receipt among them */
    shuffle(out, properties);
    put_text(out, "ack", "4,123");
}

static bool begins_with(struct bailey_bytes bytes, const char *prefix)
{
    return bytes.len >= strlen(prefix) && memcmp(bytes.data, prefix, strlen(prefix)) == 0;
}

/* rabbit_stomp_util.erl: what is no property of basic is a longstr; all of it comes back, receipt too. */
static void through_rabbitmq(struct outgoing *out, const struct stomp_parser *frame)
{
    static const char *const handled[] = {"destination", "persistent", "reply-to", "content-length", NULL};
    static const char *const addresses[] = {"/exchange", "/topic", "/queue", "/amq/queue", "/reply-queue/"};
    static uint8_t reply[512];
    struct bailey_bytes reply_to = stomp_frame_header(frame, "reply-to");
    bool has_prefix = false;

    put_text(out, "subscription", "0");
    put_same(out, frame, "destination");
    put_text(out, "message-id", "T_0@@session-x@@1");
    put_text(out, "ack", "T_0@@session-x@@1");
    put_text(out, "redelivered", "false");
    if (bailey_bytes_is(stomp_frame_header(frame, "persistent"), "true"))
        put_text(out, "persistent", "true");
    for (size_t i = 0; i < 5; i++)
        has_prefix |= reply_to.data != NULL && begins_with(reply_to, addresses[i]);
    if (reply_to.data != NULL && !has_prefix) {
        int len = snprintf((char *)reply, sizeof reply, "/reply-queue/%.*s", (int)reply_to.len, (char *)reply_to.data);

        put(out, text("reply-to"), (struct bailey_bytes){reply, (size_t)len});
    } else if (reply_to.data != NULL) {
        put(out, text("reply-to"), reply_to);
    }
    if (frame->length > 0)
        put_same(out, frame, "content-length");
    put_others(out, frame, handled);
    shuffle(out, 0);
}

static void through_generic(struct outgoing *out, const struct stomp_parser *frame)
{
    static const char *const handled[] = {"receipt", NULL};

    put_text(out, "subscription", "0");
    put_text(out, "message-id", "m-1");
    put_text(out, "ack", "m-1");
    put_others(out, frame, handled);
    shuffle(out, 0);
}

/* The MESSAGE that the broker makes of a SEND. */
struct bailey_bytes message_frame(struct bailey_bytes sent, const struct way *way)
{
    static struct outgoing out;
    struct stomp_writer w = {.at = delivered, .end = delivered + sizeof delivered, .escapes = way->escapes};
    struct bailey_bytes body;
    struct stomp_parser parser = parse_frame(sent, way->escapes, &body);

    out.count = 0;
    if (way->dialect == STOMP_ACTIVEMQ)
        through_activemq(&out, &parser);
    else if (way->dialect == STOMP_ARTEMIS)
        through_artemis(&out, &parser);
    else if (way->dialect == STOMP_RABBITMQ)
        through_rabbitmq(&out, &parser);
    else
        through_generic(&out, &parser);
    stomp_write_command(&w, "MESSAGE");
    for (size_t i = 0; i < out.count; i++)
        stomp_write_header_named(&w, out.headers[i].name, out.headers[i].value);
    stomp_write_end_of_head(&w);
    stomp_write_body(&w, body);
    assert_false(w.full || w.bad);
    stomp_parser_fini(&parser);
    return (struct bailey_bytes){delivered, (size_t)(w.at - delivered)};
}

/* ---- Receiving ---- */

/* The envelope of a MESSAGE; its body is as the source takes it. */
struct bailey_message *receive_frame(struct bailey_bytes frame, const struct way *way)
{
    uint8_t *copy = malloc(frame.len);
    struct bailey_message *msg = message_new(stomp_pool);
    struct stomp_parser parser;
    struct bailey_bytes body;
    bool null_body;

    assert_non_null(copy);
    memcpy(copy, frame.data, frame.len);
    parser = parse_frame((struct bailey_bytes){copy, frame.len}, way->escapes, &body);
    stomp_map_import(msg, &parser, way->dialect, WALL_MS, &null_body);
    msg->body = null_body && body.len == 0 ? BAILEY_NULL_BYTES : bailey_message_copy(msg, body.data, body.len);
    stomp_parser_fini(&parser);
    free(copy); /* nothing of it may be needed later */
    return msg;
}

struct bailey_message *there_and_back(struct bailey_message *msg, const struct way *way)
{
    return receive_frame(message_frame(send_frame(msg, way), way), way);
}

/* ---- Comparing ---- */

static bool same_value(const struct bailey_value *a, const struct bailey_value *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case BAILEY_KIND_NULL:
        return true;
    case BAILEY_KIND_BOOL:
        return a->boolean == b->boolean;
    case BAILEY_KIND_F32:
    case BAILEY_KIND_F64:
        return memcmp(&a->f64, &b->f64, sizeof a->f64) == 0;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        return bailey_bytes_equal(a->bytes, b->bytes);
    case BAILEY_KIND_TABLE:
        for (uint32_t i = 0; a->count == b->count && i < a->count; i++)
            if (!bailey_bytes_equal(a->fields[i].name, b->fields[i].name) ||
                !same_value(&a->fields[i].value, &b->fields[i].value))
                return false;
        return a->count == b->count;
    case BAILEY_KIND_ARRAY:
        for (uint32_t i = 0; a->count == b->count && i < a->count; i++)
            if (!same_value(&a->items[i], &b->items[i]))
                return false;
        return a->count == b->count;
    default:
        return a->u64 == b->u64;
    }
}

/* The name of what differs, or NULL. */
const char *message_difference(const struct bailey_message *a, const struct bailey_message *b)
{
    static char name[64];

    if (a->header_count != b->header_count)
        return "header_count";
    for (uint32_t i = 0; i < a->header_count; i++) {
        if (bailey_bytes_equal(a->headers[i].name, b->headers[i].name) &&
            same_value(&a->headers[i].value, &b->headers[i].value))
            continue;
        snprintf(name, sizeof name, "header %u", i);
        return name;
    }
#define SAME_BYTES(member)                         \
    if (!bailey_bytes_equal(a->member, b->member)) \
        return #member;
#define SAME_NUMBER(member)     \
    if (a->member != b->member) \
        return #member;
    SAME_BYTES(key)
    SAME_BYTES(body)
    SAME_BYTES(content_type)
    SAME_BYTES(content_encoding)
    SAME_BYTES(correlation_id)
    SAME_BYTES(reply_to)
    SAME_BYTES(message_id)
    SAME_BYTES(type)
    SAME_BYTES(app_id)
    SAME_BYTES(user_id)
    SAME_NUMBER(priority)
    SAME_NUMBER(timestamp_kind)
    SAME_NUMBER(timestamp_ms)
    SAME_NUMBER(durability)
    SAME_NUMBER(expires_at_ms)
    SAME_NUMBER(hops)
    return NULL;
}
