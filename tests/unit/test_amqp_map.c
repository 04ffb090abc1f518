/* The envelope as AMQP properties and header table, and back: nothing is lost, rabbitmq-c reads the same, and no
 * bytes from outside do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <amqp.h>
#include <amqp_framing.h>

#include "connectors/amqp/amqp_fields.h"
#include "connectors/amqp/amqp_map.h"
#include "message/pool.h"

enum { WALL_MS = 1700000000 };

static const struct amq_map_options options;
static const struct bailey_marks no_marks, in_doubt = {.possible_duplicate = true};
static uint8_t wire[1 << 17];

static int open_pool(void **state)
{
    *state = message_pool_new();
    return 0;
}

static int close_pool(void **state)
{
    message_pool_free(*state);
    return 0;
}

static struct bailey_bytes encode_marked(const struct bailey_message *msg, const struct amq_map_options *with,
                                         const struct bailey_marks *marks)
{
    struct amq_writer w = {wire, wire + sizeof wire, false};

    assert_int_equal(amq_map_encode(&w, msg, with, WALL_MS, marks), AMQ_MAP_OK);
    return (struct bailey_bytes){wire, (size_t)(w.at - wire)};
}

static struct bailey_bytes encode_with(const struct bailey_message *msg, const struct amq_map_options *with)
{
    return encode_marked(msg, with, &no_marks);
}

static struct bailey_message *decode(void **state, struct bailey_bytes props)
{
    struct bailey_message *msg = message_new(*state);
    bool null_body;

    assert_int_not_equal(amq_map_decode(msg, bailey_message_copy(msg, props.data, props.len), WALL_MS, &null_body),
                         AMQ_UNMAP_BAD);
    msg->body = null_body ? BAILEY_NULL_BYTES : BAILEY_EMPTY_BYTES;
    return msg;
}

static struct bailey_message *there_and_back(void **state, const struct bailey_message *msg)
{
    return decode(state, encode_with(msg, &options));
}

static void assert_bytes(struct bailey_bytes a, struct bailey_bytes b)
{
    assert_true(bailey_bytes_equal(a, b));
}

static void assert_value(const struct bailey_value *a, const struct bailey_value *b)
{
    assert_int_equal(a->kind, b->kind);
    switch (a->kind) {
    case BAILEY_KIND_NULL:
        break;
    case BAILEY_KIND_BOOL:
        assert_int_equal(a->boolean, b->boolean);
        break;
    case BAILEY_KIND_F32:
    case BAILEY_KIND_F64:
        assert_memory_equal(&a->f64, &b->f64, sizeof a->f64);
        break;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        assert_bytes(a->bytes, b->bytes);
        break;
    case BAILEY_KIND_TABLE:
        assert_int_equal(a->count, b->count);
        for (uint32_t i = 0; i < a->count; i++) {
            assert_bytes(a->fields[i].name, b->fields[i].name);
            assert_value(&a->fields[i].value, &b->fields[i].value);
        }
        break;
    case BAILEY_KIND_ARRAY:
        assert_int_equal(a->count, b->count);
        for (uint32_t i = 0; i < a->count; i++)
            assert_value(&a->items[i], &b->items[i]);
        break;
    default:
        assert_int_equal(a->u64, b->u64);
    }
}

static void assert_same(const struct bailey_message *a, const struct bailey_message *b)
{
    assert_bytes(a->key, b->key);
    assert_int_equal(a->body.data == NULL, b->body.data == NULL);
    assert_int_equal(a->header_count, b->header_count);
    for (uint32_t i = 0; i < a->header_count; i++) {
        assert_bytes(a->headers[i].name, b->headers[i].name);
        assert_value(&a->headers[i].value, &b->headers[i].value);
    }
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->timestamp_kind, b->timestamp_kind);
    assert_int_equal(a->timestamp_ms, b->timestamp_ms);
    assert_int_equal(a->durability, b->durability);
    assert_int_equal(a->expires_at_ms, b->expires_at_ms);
    assert_int_equal(a->hops, b->hops);
    assert_bytes(a->content_type, b->content_type);
    assert_bytes(a->content_encoding, b->content_encoding);
    assert_bytes(a->correlation_id, b->correlation_id);
    assert_bytes(a->reply_to, b->reply_to);
    assert_bytes(a->message_id, b->message_id);
    assert_bytes(a->type, b->type);
    assert_bytes(a->app_id, b->app_id);
}

static struct bailey_bytes text(const char *str)
{
    return bailey_bytes_of(str);
}

static struct bailey_value string(const char *str)
{
    return (struct bailey_value){.kind = BAILEY_KIND_STRING, .bytes = text(str)};
}

static struct bailey_message *new_message(void **state)
{
    struct bailey_message *msg = message_new(*state);

    msg->body = BAILEY_EMPTY_BYTES;
    msg->durability = BAILEY_DURABLE;
    return msg;
}

static void all_properties_come_back(void **state)
{
    struct bailey_message *msg = new_message(state), *back;

    msg->key = (struct bailey_bytes){(const uint8_t *)"k\0\xff", 3};
    msg->priority = 200;
    msg->timestamp_kind = BAILEY_TIMESTAMP_APPEND;
    msg->timestamp_ms = 1234567;
    msg->expires_at_ms = WALL_MS + 5000;
    msg->hops = 3;
    msg->content_type = text("text/plain");
    msg->content_encoding = text("gzip");
    msg->correlation_id = text("c");
    msg->reply_to = text("r");
    msg->message_id = text("m");
    msg->type = BAILEY_EMPTY_BYTES;
    msg->app_id = text("a");
    back = there_and_back(state, msg);
    assert_same(msg, back);
    assert_int_equal(back->header_count, 0); /* none of our own fields is left over */
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static void bare_and_null_messages_come_back(void **state)
{
    struct bailey_message *msg = new_message(state), *back = there_and_back(state, msg);

    assert_same(msg, back);
    bailey_message_unref(back);
    msg->body = BAILEY_NULL_BYTES;
    msg->key = BAILEY_EMPTY_BYTES;
    msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
    msg->timestamp_ms = -5;
    msg->durability = BAILEY_TRANSIENT;
    msg->expires_at_ms = WALL_MS + ((int64_t)1 << 40); /* beyond what `expiration` can say */
    back = there_and_back(state, msg);
    assert_same(msg, back);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static void long_properties_travel_as_fields(void **state)
{
    static char bytes[3000];
    struct bailey_message *msg = new_message(state), *back;
    struct bailey_bytes view = {(const uint8_t *)bytes, sizeof bytes};

    memset(bytes, 'p', sizeof bytes);
    msg->content_type = msg->content_encoding = msg->correlation_id = msg->reply_to = msg->message_id = view;
    msg->type = (struct bailey_bytes){view.data, 255};
    msg->app_id = (struct bailey_bytes){view.data, 256};
    back = there_and_back(state, msg);
    assert_same(msg, back);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static bool has_reply_to(const struct bailey_message *msg)
{
    struct bailey_bytes encoded = encode_with(msg, &options); /* begins with the flags */

    return ((unsigned)encoded.data[0] << 8 & AMQ_REPLY_TO) != 0;
}

/* RabbitMQ closes a channel that publishes it without a consumer of its own: any producer of a source could stop a route. */
static void a_direct_reply_to_is_no_property(void **state)
{
    struct bailey_message *msg = new_message(state), *back;

    msg->reply_to = text("amq.rabbitmq.reply-to.g2dkAA");
    assert_true(has_reply_to(msg));
    msg->reply_to = text("amq.rabbitmq.reply-to");
    assert_false(has_reply_to(msg));
    back = there_and_back(state, msg);
    assert_same(msg, back);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static const struct bailey_value array_items[] = {
    {.kind = BAILEY_KIND_I8, .i64 = -128},
    {.kind = BAILEY_KIND_NULL},
    {.kind = BAILEY_KIND_ARRAY, .count = 0, .items = NULL},
};

static const struct bailey_header table_fields[] = {
    {{(const uint8_t *)"a", 1}, {.kind = BAILEY_KIND_ARRAY, .count = 3, .items = array_items}},
    {{(const uint8_t *)"a", 1}, {.kind = BAILEY_KIND_U8, .u64 = 255}},
    {{(const uint8_t *)"", 0}, {.kind = BAILEY_KIND_BOOL, .boolean = true}},
};

static void every_kind_comes_back(void **state)
{
    struct bailey_header headers[] = {
        {text("null"), {.kind = BAILEY_KIND_NULL}},
        {text("bool"), {.kind = BAILEY_KIND_BOOL, .boolean = true}},
        {text("i8"), {.kind = BAILEY_KIND_I8, .i64 = -1}},
        {text("u8"), {.kind = BAILEY_KIND_U8, .u64 = 200}},
        {text("i16"), {.kind = BAILEY_KIND_I16, .i64 = INT16_MIN}},
        {text("u16"), {.kind = BAILEY_KIND_U16, .u64 = UINT16_MAX}},
        {text("i32"), {.kind = BAILEY_KIND_I32, .i64 = INT32_MIN}},
        {text("u32"), {.kind = BAILEY_KIND_U32, .u64 = UINT32_MAX}},
        {text("i64"), {.kind = BAILEY_KIND_I64, .i64 = INT64_MIN}},
        {text("f32"), {.kind = BAILEY_KIND_F32, .f64 = (double)1.5f}},
        {text("f64"), {.kind = BAILEY_KIND_F64, .f64 = -0.1}},
        {text("dec"), {.kind = BAILEY_KIND_DECIMAL, .u64 = (uint64_t)UINT32_MAX << 8 | 17}},
        {text("str"), string("grün")},
        {text("bytes"), {.kind = BAILEY_KIND_BYTES, .bytes = text("text, yet bytes")}},
        {text("time"), {.kind = BAILEY_KIND_TIMESTAMP, .u64 = UINT64_MAX}},
        {text("table"), {.kind = BAILEY_KIND_TABLE, .count = 3, .fields = table_fields}},
        {text("str"), string("")},
        {text(""), string("a name that is empty")},
        {text("not\xffutf-8"), string("\xff")},
    };
    struct bailey_message *msg = new_message(state), *back;

    msg->headers = headers;
    msg->header_count = sizeof headers / sizeof *headers;
    back = there_and_back(state, msg);
    assert_same(msg, back);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static void odd_names_keep_their_place_and_steer_nothing(void **state)
{
    static char long_name[600];
    struct bailey_message *msg = new_message(state), *back;
    amqp_pool_t pool;
    void *decoded;

    memset(long_name, 'n', sizeof long_name);
    struct bailey_header headers[] = {
        {text("CC"), string("steers")},
        {text("first"), string("1")},
        {{(const uint8_t *)long_name, sizeof long_name}, {.kind = BAILEY_KIND_I64, .i64 = 5}},
        {text("BCC"), {.kind = BAILEY_KIND_ARRAY, .count = 3, .items = array_items}},
        {text("bailey-key"), string("somebody's own header")},
        {text("x-death"), string("x")},
        {text("last"), string("2")},
        {text("bailey-h"), string("3")},
    };

    msg->headers = headers;
    msg->header_count = sizeof headers / sizeof *headers;
    struct bailey_bytes props = encode_with(msg, &options);

    init_amqp_pool(&pool, 4096);
    assert_int_equal(amqp_decode_properties(60, &pool, (amqp_bytes_t){props.len, wire}, &decoded), AMQP_STATUS_OK);
    amqp_table_t *table = &((amqp_basic_properties_t *)decoded)->headers;

    assert_int_equal(table->num_entries, 3); /* first, last, bailey-h */
    assert_memory_equal(table->entries[2].key.bytes, "bailey-h", 8);
    empty_amqp_pool(&pool);
    back = decode(state, props);
    assert_same(msg, back);
    assert_null(back->key.data);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

/* A mark stands behind bailey-h, in which the others lie. */
static void odd_names_survive_a_mark(void **state)
{
    struct bailey_header headers[] = {{text("CC"), string("steers")}};
    struct bailey_message *msg = new_message(state), *back;

    msg->headers = headers;
    msg->header_count = 1;
    back = decode(state, encode_marked(msg, &options, &in_doubt));
    assert_int_equal(back->header_count, 2);
    assert_true(bailey_bytes_is(back->headers[0].name, "CC"));
    assert_true(bailey_bytes_is(back->headers[0].value.bytes, "steers"));
    assert_true(bailey_bytes_is(back->headers[1].name, BAILEY_HEADER_DUPLICATE));
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static void listed_headers_pass_if_they_are_legal(void **state)
{
    static const char *const names[] = {"CC", "x-death"};
    struct bailey_list list = {names, 2};
    struct amq_map_options with = {.pass_headers = &list};
    struct bailey_value strings[] = {string("q1"), string("q2")};
    struct bailey_header headers[] = {{text("CC"), {.kind = BAILEY_KIND_ARRAY, .count = 2, .items = strings}}};
    struct bailey_message *msg = new_message(state);
    struct amq_writer w = {wire, wire + sizeof wire, false};

    msg->headers = headers;
    msg->header_count = 1;
    encode_with(msg, &with);
    assert_memory_equal(wire + 6, "\2CCA", 4);
    headers[0].value = string("a string closes the channel");
    assert_int_equal(amq_map_encode(&w, msg, &with, WALL_MS, &no_marks), AMQ_MAP_BAD_CC);
    bailey_message_unref(msg);
}

/* Kafka's headers got their kinds when they were read: what is BYTES here is meant so, even if it looks like text. */
static void text_and_bytes_stay_apart(void **state)
{
    struct bailey_header headers[] = {
        {text("a"), {.kind = BAILEY_KIND_BYTES, .bytes = text("gr\303\274n")}},
        {text("b"), {.kind = BAILEY_KIND_STRING, .bytes = text("\xff")}},
    };
    struct bailey_message *msg = new_message(state), *back;

    msg->headers = headers;
    msg->header_count = 2;
    msg->origin.topic = text("orders");
    back = there_and_back(state, msg);
    assert_int_equal(back->headers[0].value.kind, BAILEY_KIND_BYTES);
    assert_int_equal(back->headers[1].value.kind, BAILEY_KIND_STRING);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static void a_message_in_doubt_is_marked_once(void **state)
{
    struct bailey_message *msg = new_message(state), *once, *twice;

    once = decode(state, encode_marked(msg, &options, &in_doubt));
    assert_int_equal(once->header_count, 1);
    assert_true(bailey_bytes_is(once->headers[0].name, "bailey-possible-duplicate"));
    assert_true(bailey_bytes_is(once->headers[0].value.bytes, "1"));
    twice = decode(state, encode_marked(once, &options, &in_doubt));
    assert_int_equal(twice->header_count, 1);
    bailey_message_unref(twice);
    bailey_message_unref(once);
    bailey_message_unref(msg);
}

/* Somebody wrote it by hand, or a mark of long ago was taken for one of now. */
static void a_stale_mark_does_not_hide_the_doubt(void **state)
{
    struct bailey_header headers[] = {{text("bailey-possible-duplicate"), string("0")}, {text("n"), string("v")}};
    struct bailey_message *msg = new_message(state), *back;

    msg->headers = headers;
    msg->header_count = 2;
    back = there_and_back(state, msg);
    assert_true(bailey_bytes_is(back->headers[0].value.bytes, "0"));
    bailey_message_unref(back);
    back = decode(state, encode_marked(msg, &options, &in_doubt));
    assert_int_equal(back->header_count, 2);
    assert_true(bailey_bytes_is(back->headers[0].value.bytes, "1"));
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

/* ---- Ids ---- */

static void an_id_becomes_the_message_id_where_that_can_hold_it(void **state)
{
    static uint8_t longest[256];
    const struct {
        const char *message_id;
        struct bailey_bytes id;
        const char *expected;    /* message-id; NULL: the id */
        enum bailey_kind header; /* of bailey-id; 0: none */
    } rows[] = {
        {NULL, text("order-7"), NULL, 0},
        {NULL, {longest, 255}, NULL, 0},
        {NULL, {longest, 256}, "", BAILEY_KIND_STRING},
        {NULL, text("gr\303\274n"), NULL, 0},
        {NULL, text("\377"), "", BAILEY_KIND_BYTES},
        {NULL, {(const uint8_t *)"a\0b", 3}, "", BAILEY_KIND_STRING},
        {"m-1", text("order-7"), "m-1", BAILEY_KIND_STRING},
        {"order-7", text("order-7"), "order-7", 0},
    };

    memset(longest, 'i', sizeof longest);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bailey_message *msg = new_message(state), *back;
        struct bailey_marks marks = {.id = rows[i].id};
        struct bailey_bytes expected = rows[i].expected == NULL      ? rows[i].id
                                       : rows[i].expected[0] == '\0' ? BAILEY_NULL_BYTES
                                                                     : text(rows[i].expected);

        msg->message_id = rows[i].message_id == NULL ? BAILEY_NULL_BYTES : text(rows[i].message_id);
        back = decode(state, encode_marked(msg, &options, &marks));
        assert_bytes(back->message_id, expected);
        assert_int_equal(back->header_count, rows[i].header != 0);
        if (rows[i].header != 0) {
            assert_true(bailey_bytes_is(back->headers[0].name, "bailey-id"));
            assert_int_equal(back->headers[0].value.kind, rows[i].header);
            assert_bytes(back->headers[0].value.bytes, rows[i].id);
        }
        bailey_message_unref(back);
        bailey_message_unref(msg);
    }
}

static void an_id_from_outside_is_replaced_where_it_stands(void **state)
{
    struct bailey_marks marks = {.id = text("ours")};
    struct bailey_header headers[] = {{text("bailey-id"), string("theirs")},
                                      {text("CC"), string("odd")},
                                      {text("n"), string("v")},
                                      {text("bailey-id"), {.kind = BAILEY_KIND_I64, .i64 = 7}}};
    struct bailey_message *msg = new_message(state), *back;

    msg->headers = headers;
    msg->header_count = 4;
    msg->message_id = text("m");
    back = there_and_back(state, msg);
    assert_same(msg, back);
    bailey_message_unref(back);
    back = decode(state, encode_marked(msg, &options, &marks));
    headers[0].value = headers[3].value = string("ours");
    assert_same(msg, back);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static void what_is_expired_is_not_sent(void **state)
{
    struct bailey_message *msg = new_message(state);
    struct amq_writer w = {wire, wire + sizeof wire, false};

    msg->expires_at_ms = WALL_MS;
    assert_int_equal(amq_map_encode(&w, msg, &options, WALL_MS, &no_marks), AMQ_MAP_EXPIRED);
    bailey_message_unref(msg);
}

static void delivery_mode_follows_the_option(void **state)
{
    static const struct {
        int durability, option, mode;
    } rows[] = {
        {BAILEY_DURABILITY_UNKNOWN, AMQ_PERSISTENT_AS_MESSAGE, 2},
        {BAILEY_TRANSIENT, AMQ_PERSISTENT_AS_MESSAGE, 1},
        {BAILEY_DURABLE, AMQ_PERSISTENT_AS_MESSAGE, 2},
        {BAILEY_TRANSIENT, AMQ_PERSISTENT_ALWAYS, 2},
        {BAILEY_DURABLE, AMQ_PERSISTENT_NEVER, 1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bailey_message *msg = new_message(state);
        struct amq_map_options with = {.persistent = rows[i].option};

        msg->durability = (uint8_t)rows[i].durability;
        encode_with(msg, &with);
        assert_int_equal(wire[2], rows[i].mode);
        bailey_message_unref(msg);
    }
}

static void every_buffer_too_small_is_noticed(void **state)
{
    struct bailey_header headers[] = {{text("table"), {.kind = BAILEY_KIND_TABLE, .count = 3, .fields = table_fields}},
                                      {text("CC"), string("odd")}};
    struct bailey_message *msg = new_message(state);
    size_t len;

    msg->headers = headers;
    msg->header_count = 2;
    msg->key = msg->message_id = text("key");
    len = encode_marked(msg, &options, &in_doubt).len;
    for (size_t room = 0; room < len; room++) {
        uint8_t *exact = malloc(room + 1); /* so that the sanitizer sees a byte too much */
        struct amq_writer w = {exact, exact + room, false};

        assert_non_null(exact);
        assert_int_equal(amq_map_encode(&w, msg, &options, WALL_MS, &in_doubt), AMQ_MAP_FULL);
        free(exact);
    }
    bailey_message_unref(msg);
}

/* What rabbitmq-c writes we read, and what we write it reads. */
static void rabbitmq_c_agrees(void **state)
{
    amqp_table_entry_t entries[] = {
        {amqp_cstring_bytes("n"), {.kind = AMQP_FIELD_KIND_I64, .value.i64 = -7}},
        {amqp_cstring_bytes("big"), {.kind = AMQP_FIELD_KIND_U64, .value.u64 = UINT64_MAX}},
        {amqp_cstring_bytes("f"), {.kind = AMQP_FIELD_KIND_F64, .value.f64 = 2.5}},
        {amqp_cstring_bytes("d"), {.kind = AMQP_FIELD_KIND_DECIMAL, .value.decimal = {2, 314}}},
    };
    amqp_basic_properties_t props = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_PRIORITY_FLAG |
                  AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_USER_ID_FLAG | AMQP_BASIC_EXPIRATION_FLAG |
                  AMQP_BASIC_CLUSTER_ID_FLAG,
        .content_type = amqp_cstring_bytes("ct"),
        .headers = {4, entries},
        .priority = 9,
        .timestamp = 1000,
        .user_id = amqp_cstring_bytes("guest"),
        .expiration = amqp_cstring_bytes("250"),
        .cluster_id = amqp_cstring_bytes("old"),
    };
    int len = amqp_encode_properties(60, &props, (amqp_bytes_t){sizeof wire, wire});
    struct bailey_message *msg;

    assert_true(len > 0);
    msg = decode(state, (struct bailey_bytes){wire, (size_t)len});
    assert_bytes(msg->content_type, text("ct"));
    assert_bytes(msg->user_id, text("guest"));
    assert_int_equal(msg->priority, 9);
    assert_int_equal(msg->timestamp_ms, 1000000);
    assert_int_equal(msg->expires_at_ms, WALL_MS + 250);
    assert_int_equal(msg->header_count, 4);
    assert_int_equal(msg->headers[0].value.i64, -7);
    assert_int_equal(msg->headers[1].value.kind, BAILEY_KIND_I64); /* RabbitMQ's L is signed */
    assert_int_equal(msg->headers[1].value.i64, -1);
    assert_true(msg->headers[2].value.f64 > 2.4 && msg->headers[2].value.f64 < 2.6);
    assert_int_equal(msg->headers[3].value.u64, 314 << 8 | 2);
    bailey_message_unref(msg);
}

static struct bailey_bytes with_table(const uint8_t *table, size_t len)
{
    amq_put_uint(wire, 2, 1 << 13);
    memcpy(wire + 2, table, len);
    return (struct bailey_bytes){wire, len + 2};
}

/* A table whose one field holds containers of `kind` in each other, `levels` of them. Returns its length. */
static size_t nest(uint8_t *at, uint8_t kind, size_t levels)
{
    size_t len = 7 + (levels - 1) * (kind == 'F' ? 7 : 5), left = len;

    amq_put_uint(at, 4, left);
    at += 4;
    for (size_t level = 0; level < levels; level++) {
        if (level == 0 || kind == 'F') {
            *at++ = 1;
            *at++ = 'k';
            left -= 2;
        }
        *at++ = kind;
        left -= 5;
        amq_put_uint(at, 4, left);
        at += 4;
    }
    return len + 4;
}

static void assert_opaque(void **state, const uint8_t *table, size_t len)
{
    struct bailey_message *msg = decode(state, with_table(table, len));

    assert_int_equal(msg->header_count, 1);
    assert_true(bailey_bytes_is(msg->headers[0].name, "bailey-amqp-table"));
    assert_int_equal(msg->headers[0].value.bytes.len, len - 4);
    bailey_message_unref(msg);
}

/* A table that nobody may decode comes as one opaque header; the message does not stop its queue. */
static void a_table_beyond_the_limits_is_carried_opaque(void **state)
{
    static const uint8_t lying_length[] = "\0\0\0\x08\1kS\0\0\0\xffx", unknown_kind[] = "\0\0\0\x03\1k?";
    static const char kinds[] = {'A', 'F'};
    uint8_t table[8000];

    assert_opaque(state, lying_length, sizeof lying_length - 1);
    assert_opaque(state, unknown_kind, sizeof unknown_kind - 1);
    for (size_t i = 0; i < sizeof kinds; i++) {
        size_t len = nest(table, (uint8_t)kinds[i], BAILEY_VALUE_DEPTH_MAX - 1); /* and the table itself */
        struct bailey_message *msg = decode(state, with_table(table, len));

        assert_int_equal(msg->headers[0].value.kind, kinds[i]); /* as deep as allowed */
        bailey_message_unref(msg);
        assert_opaque(state, table, nest(table, (uint8_t)kinds[i], BAILEY_VALUE_DEPTH_MAX));
    }
}

static void cut_and_twisted_properties_do_no_harm(void **state)
{
    struct bailey_header headers[] = {{text("table"), {.kind = BAILEY_KIND_TABLE, .count = 3, .fields = table_fields}},
                                      {text("CC"), string("odd")}};
    struct bailey_message *msg = new_message(state);
    uint8_t good[512];
    size_t len;

    msg->headers = headers;
    msg->header_count = 2;
    msg->key = msg->message_id = msg->content_type = text("key");
    len = encode_marked(msg, &options, &in_doubt).len;
    assert_true(len <= sizeof good);
    memcpy(good, wire, len);
    bailey_message_unref(msg);
    for (size_t cut = 0; cut < len; cut++) {
        bool null_body;

        msg = message_new(*state);
        assert_int_equal(amq_map_decode(msg, bailey_message_copy(msg, good, cut), WALL_MS, &null_body), AMQ_UNMAP_BAD);
        bailey_message_unref(msg);
    }
    for (size_t i = 0; i < len * 255; i++) {
        uint8_t *twisted = malloc(len);
        bool null_body;

        assert_non_null(twisted);
        memcpy(twisted, good, len);
        twisted[i % len] = (uint8_t)(twisted[i % len] + 1 + i / len);
        msg = message_new(*state);
        amq_map_decode(msg, (struct bailey_bytes){twisted, len}, WALL_MS, &null_body);
        bailey_message_unref(msg);
        free(twisted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_properties_come_back),
        cmocka_unit_test(bare_and_null_messages_come_back),
        cmocka_unit_test(long_properties_travel_as_fields),
        cmocka_unit_test(a_direct_reply_to_is_no_property),
        cmocka_unit_test(every_kind_comes_back),
        cmocka_unit_test(odd_names_keep_their_place_and_steer_nothing),
        cmocka_unit_test(odd_names_survive_a_mark),
        cmocka_unit_test(listed_headers_pass_if_they_are_legal),
        cmocka_unit_test(text_and_bytes_stay_apart),
        cmocka_unit_test(a_message_in_doubt_is_marked_once),
        cmocka_unit_test(a_stale_mark_does_not_hide_the_doubt),
        cmocka_unit_test(an_id_becomes_the_message_id_where_that_can_hold_it),
        cmocka_unit_test(an_id_from_outside_is_replaced_where_it_stands),
        cmocka_unit_test(what_is_expired_is_not_sent),
        cmocka_unit_test(delivery_mode_follows_the_option),
        cmocka_unit_test(every_buffer_too_small_is_noticed),
        cmocka_unit_test(rabbitmq_c_agrees),
        cmocka_unit_test(a_table_beyond_the_limits_is_carried_opaque),
        cmocka_unit_test(cut_and_twisted_properties_do_no_harm),
    };

    return cmocka_run_group_tests(tests, open_pool, close_pool);
}
