/* The envelope as record headers, and back: everything survives A → Kafka → A, nothing is added to a plain record, and
 * headers from outside cannot do more than set what they name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/kafka/kafka_map.h"
#include "message/pool.h"

static const struct bailey_marks in_doubt = {.possible_duplicate = true};
static struct bailey_pool *pool;

static int make_pool(void **state)
{
    (void)state;
    pool = message_pool_new();
    return 0;
}

static int free_pool(void **state)
{
    (void)state;
    message_pool_free(pool);
    return 0;
}

static struct bailey_bytes text(const char *str)
{
    return str == NULL ? BAILEY_NULL_BYTES : bailey_bytes_of(str);
}

/* The record's headers as a broker would keep them: bytes and nulls. */
struct record {
    struct bailey_message *owner;
    struct bailey_header headers[64];
    uint32_t count;
};

static void add(void *ctx, struct bailey_bytes name, struct bailey_bytes value)
{
    struct record *record = ctx;
    struct bailey_header *header = &record->headers[record->count++];

    assert_true(record->count <= 64);
    header->name = bailey_message_copy(record->owner, name.data, name.len);
    if (value.data == NULL)
        header->value = (struct bailey_value){.kind = BAILEY_KIND_NULL};
    else
        header->value = (struct bailey_value){.kind = BAILEY_KIND_BYTES,
                                              .bytes = bailey_message_copy(record->owner, value.data, value.len)};
}

static void export_marked(const struct bailey_message *msg, const struct bailey_marks *marks, struct record *record)
{
    struct bailey_message *scratch = message_new(pool);

    *record = (struct record){.owner = message_new(pool)};
    kafka_map_export(msg, marks, scratch, add, record);
    bailey_message_unref(scratch); /* nothing of it may be needed later */
}

static void export(const struct bailey_message *msg, struct record *record)
{
    export_marked(msg, &(struct bailey_marks){0}, record);
}

static struct bailey_message *import(const struct record *record, uint8_t timestamp_kind, int64_t timestamp_ms)
{
    struct bailey_message *msg = message_new(pool);
    struct bailey_header *headers = bailey_message_alloc(msg, record->count * sizeof *headers + 1);

    memcpy(headers, record->headers, record->count * sizeof *headers);
    msg->timestamp_kind = timestamp_kind;
    msg->timestamp_ms = timestamp_ms;
    kafka_map_import(msg, headers, record->count);
    return msg;
}

static void add_text(struct record *record, const char *name, const char *value)
{
    add(record, text(name), text(value));
}

static bool has_header(const struct record *record, const char *name)
{
    for (uint32_t i = 0; i < record->count; i++)
        if (bailey_bytes_is(record->headers[i].name, name))
            return true;
    return false;
}

static struct bailey_message *plain(void)
{
    struct bailey_message *msg = message_new(pool);

    msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
    msg->timestamp_ms = 1700000000123;
    return msg;
}

static void adds_nothing_to_a_plain_record(void **state)
{
    struct bailey_message *msg = plain();
    struct bailey_header headers[] = {
        {text("a"), {.kind = BAILEY_KIND_BYTES, .bytes = {(const uint8_t *)"\0\xff", 2}}},
        {text("a"), {.kind = BAILEY_KIND_NULL}},
        {text(""), {.kind = BAILEY_KIND_STRING, .bytes = BAILEY_EMPTY_BYTES}},
    };
    struct record record;

    (void)state;
    assert_true(kafka_map_is_bare(msg));
    msg->headers = headers;
    msg->header_count = 3;
    assert_false(kafka_map_is_bare(msg));
    assert_false(kafka_map_is_typed(msg));
    export(msg, &record);
    assert_int_equal(record.count, 3);
    for (int i = 0; i < 3; i++)
        assert_true(bailey_bytes_equal(record.headers[i].name, headers[i].name));
    assert_int_equal(record.headers[0].value.bytes.len, 2);
    assert_int_equal(record.headers[1].value.kind, BAILEY_KIND_NULL);
    assert_int_equal(record.headers[2].value.bytes.len, 0);
    assert_non_null(record.headers[2].value.bytes.data);
    bailey_message_unref(record.owner);
    bailey_message_unref(msg);
}

static void untyped_headers_are_text_where_they_can(void **state)
{
    static const struct {
        const char *value;
        size_t len;
        enum bailey_kind kind;
    } values[] = {{"gr\303\274n", 5, BAILEY_KIND_STRING},
                  {"", 0, BAILEY_KIND_STRING},
                  {"\xff", 1, BAILEY_KIND_BYTES},
                  {"\xed\xa0\x80", 3, BAILEY_KIND_BYTES}, /* half of a surrogate pair */
                  {NULL, 0, BAILEY_KIND_NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct record record = {.owner = message_new(pool)};
        struct bailey_message *msg;

        add(&record, text("h"), (struct bailey_bytes){(const uint8_t *)values[i].value, values[i].len});
        msg = import(&record, BAILEY_TIMESTAMP_CREATE, 9);
        assert_int_equal(msg->headers[0].value.kind, values[i].kind);
        bailey_message_unref(msg);
        bailey_message_unref(record.owner);
    }
}

/* What looks like the other kind must be named, or it would come back as that. */
static void kinds_that_would_be_guessed_wrong_are_named(void **state)
{
    static const struct bailey_value values[] = {
        {.kind = BAILEY_KIND_BYTES, .bytes = {(const uint8_t *)"text", 4}},
        {.kind = BAILEY_KIND_STRING, .bytes = {(const uint8_t *)"\xff", 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct bailey_message *msg = plain(), *back;
        struct bailey_header header = {text("h"), values[i]};
        struct record record;

        msg->headers = &header;
        msg->header_count = 1;
        assert_true(kafka_map_is_typed(msg));
        export(msg, &record);
        assert_true(has_header(&record, "bailey-types"));
        back = import(&record, BAILEY_TIMESTAMP_CREATE, msg->timestamp_ms);
        assert_int_equal(back->header_count, 1);
        assert_int_equal(back->headers[0].value.kind, values[i].kind);
        bailey_message_unref(back);
        bailey_message_unref(record.owner);
        bailey_message_unref(msg);
    }
}

static void carries_the_envelope_through(void **state)
{
    struct bailey_message *msg = plain(), *back;
    struct bailey_header headers[] = {
        {text("t"), {.kind = BAILEY_KIND_BOOL, .boolean = true}},
        {text("n"), {.kind = BAILEY_KIND_I64, .i64 = INT64_MIN}},
        {text("s"), {.kind = BAILEY_KIND_STRING, .bytes = text("text")}},
        {text("x"), {.kind = BAILEY_KIND_BYTES, .bytes = text("raw")}},
        {text("v"), {.kind = BAILEY_KIND_NULL}},
        {text("d"), {.kind = BAILEY_KIND_F64, .f64 = 0.1}},
        {text("T"), {.kind = BAILEY_KIND_TIMESTAMP, .u64 = 1700000000}},
    };
    struct bailey_value items[] = {{.kind = BAILEY_KIND_U8, .u64 = 255},
                                   {.kind = BAILEY_KIND_STRING, .bytes = text("")}};
    struct bailey_header nested[] = {{text("list"), {.kind = BAILEY_KIND_ARRAY, .count = 2, .items = items}}};
    struct bailey_header all[8];
    struct record record;

    (void)state;
    memcpy(all, headers, sizeof headers);
    all[7] = (struct bailey_header){text("F"), {.kind = BAILEY_KIND_TABLE, .count = 1, .fields = nested}};
    msg->headers = all;
    msg->header_count = 8;
    msg->priority = 200;
    msg->hops = 207;
    msg->durability = BAILEY_TRANSIENT;
    msg->expires_at_ms = 1800000000000;
    msg->content_type = text("application/json");
    msg->content_encoding = text("");
    msg->correlation_id = text("c");
    msg->reply_to = text("r");
    msg->message_id = text("m");
    msg->type = text("ty");
    msg->app_id = text("app");
    msg->user_id = text("u");
    msg->timestamp_kind = BAILEY_TIMESTAMP_NONE;
    export_marked(msg, &in_doubt, &record);
    assert_true(has_header(&record, "bailey-types"));

    back = import(&record, BAILEY_TIMESTAMP_CREATE, 5);
    assert_int_equal(back->header_count, 9); /* the mark stays a header */
    assert_true(bailey_bytes_is(back->headers[8].name, "bailey-possible-duplicate"));
    assert_int_equal(back->priority, 200);
    assert_int_equal(back->hops, 207);
    assert_int_equal(back->durability, BAILEY_TRANSIENT);
    assert_int_equal(back->expires_at_ms, 1800000000000);
    assert_int_equal(back->timestamp_kind, BAILEY_TIMESTAMP_NONE);
    assert_true(bailey_bytes_equal(back->content_type, msg->content_type));
    assert_true(bailey_bytes_equal(back->content_encoding, msg->content_encoding)); /* empty, not null */
    assert_true(bailey_bytes_equal(back->correlation_id, msg->correlation_id));
    assert_true(bailey_bytes_equal(back->reply_to, msg->reply_to));
    assert_true(bailey_bytes_equal(back->message_id, msg->message_id));
    assert_true(bailey_bytes_equal(back->type, msg->type));
    assert_true(bailey_bytes_equal(back->app_id, msg->app_id));
    assert_true(bailey_bytes_equal(back->user_id, msg->user_id));
    for (int i = 0; i < 8; i++)
        assert_int_equal(back->headers[i].value.kind, all[i].value.kind);
    assert_true(back->headers[0].value.boolean);
    assert_true(back->headers[1].value.i64 == INT64_MIN);
    assert_true(back->headers[5].value.f64 == 0.1);
    assert_int_equal(back->headers[6].value.u64, 1700000000);
    assert_int_equal(back->headers[7].value.fields[0].value.items[0].u64, 255);
    bailey_message_unref(back);
    bailey_message_unref(record.owner);
    bailey_message_unref(msg);
}

static void keeps_timestamps_that_a_record_cannot_hold(void **state)
{
    static const int64_t odd[] = {0, -1, -5000000000, INT64_MIN + 1};
    struct bailey_message *msg = plain(), *back;
    struct record record;

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        msg->timestamp_ms = odd[i];
        assert_false(kafka_map_is_bare(msg));
        assert_int_equal(kafka_map_timestamp(msg), 1);
        export(msg, &record);
        back = import(&record, BAILEY_TIMESTAMP_CREATE, 1);
        assert_true(back->timestamp_ms == odd[i]);
        bailey_message_unref(back);
        bailey_message_unref(record.owner);
    }
    msg->timestamp_kind = BAILEY_TIMESTAMP_NONE;
    assert_int_equal(kafka_map_timestamp(msg), 0);
    msg->timestamp_kind = BAILEY_TIMESTAMP_APPEND;
    msg->timestamp_ms = 77;
    export(msg, &record);
    assert_int_equal(kafka_map_timestamp(msg), 77);
    back = import(&record, BAILEY_TIMESTAMP_CREATE, 77);
    assert_int_equal(back->timestamp_kind, BAILEY_TIMESTAMP_APPEND);
    bailey_message_unref(back);
    bailey_message_unref(record.owner);
    bailey_message_unref(msg);
}

static void marks_a_possible_duplicate_once(void **state)
{
    struct bailey_message *msg = plain(), *back;
    struct record record;

    (void)state;
    export_marked(msg, &in_doubt, &record);
    assert_int_equal(record.count, 1);
    back = import(&record, BAILEY_TIMESTAMP_CREATE, 1);
    bailey_message_unref(record.owner);
    export_marked(back, &in_doubt, &record);
    assert_int_equal(record.count, 1);
    bailey_message_unref(record.owner);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

static void assert_text(const struct bailey_header *header, const char *name, const char *value)
{
    assert_true(bailey_bytes_is(header->name, name));
    assert_true(bailey_bytes_is(header->value.bytes, value));
}

/* As text, which a reader finds without knowing Kafka's types; beside message-id, which stays what it was. */
static void adds_the_id_of_a_route_with_dedup(void **state)
{
    struct bailey_marks marks = {.id = text("order-7"), .possible_duplicate = true};
    struct bailey_message *msg = plain(), *back;
    struct record record;

    (void)state;
    msg->message_id = text("m-1");
    export_marked(msg, &marks, &record);
    assert_int_equal(record.count, 3);
    assert_text(&record.headers[1], "bailey-id", "order-7");
    assert_text(&record.headers[2], "bailey-possible-duplicate", "1");
    back = import(&record, BAILEY_TIMESTAMP_CREATE, 1);
    assert_true(bailey_bytes_is(back->message_id, "m-1"));
    assert_int_equal(back->header_count, 2);
    assert_int_equal(back->headers[0].value.kind, BAILEY_KIND_STRING);
    bailey_message_unref(back);
    bailey_message_unref(record.owner);
    bailey_message_unref(msg);
}

/* Each where it stood: what is in bailey-types goes by place. Without an id they are headers like any other. */
static void replaces_marks_from_outside(void **state)
{
    struct bailey_marks marks = {.id = {(const uint8_t *)"\xff\0", 2}, .possible_duplicate = true};
    struct bailey_header headers[] = {
        {text("bailey-id"), {.kind = BAILEY_KIND_I64, .i64 = 7}},
        {text("bailey-possible-duplicate"), {.kind = BAILEY_KIND_NULL}},
        {text("n"), {.kind = BAILEY_KIND_I32, .i64 = 8}},
        {text("bailey-id"), {.kind = BAILEY_KIND_STRING, .bytes = text("theirs")}},
    };
    struct bailey_message *msg = plain(), *back;
    struct record record;

    (void)state;
    msg->headers = headers;
    msg->header_count = 4;
    export(msg, &record);
    assert_int_equal(record.count, 5); /* with bailey-types */
    assert_text(&record.headers[0], "bailey-id", "7");
    assert_text(&record.headers[3], "bailey-id", "theirs");
    bailey_message_unref(record.owner);

    export_marked(msg, &marks, &record);
    assert_int_equal(record.count, 5);
    back = import(&record, BAILEY_TIMESTAMP_CREATE, 1);
    assert_int_equal(back->header_count, 4);
    for (int i = 0; i < 4; i += 3) {
        assert_int_equal(back->headers[i].value.kind, BAILEY_KIND_BYTES);
        assert_true(bailey_bytes_equal(back->headers[i].value.bytes, marks.id));
    }
    assert_text(&back->headers[1], "bailey-possible-duplicate", "1");
    assert_int_equal(back->headers[2].value.i64, 8);
    bailey_message_unref(back);
    bailey_message_unref(record.owner);
    bailey_message_unref(msg);
}

static void counts_the_hops(void **state)
{
    static const struct {
        uint8_t hops;
        const char *text;
    } rows[] = {{1, "1"}, {9, "9"}, {10, "10"}, {99, "99"}, {100, "100"}, {255, "255"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bailey_message *msg = message_new(pool), *back;
        struct record record;

        msg->hops = rows[i].hops;
        msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
        msg->timestamp_ms = 9;
        assert_false(kafka_map_is_bare(msg));
        export(msg, &record);
        assert_int_equal(record.count, 1);
        assert_true(bailey_bytes_is(record.headers[0].name, "bailey-hops"));
        assert_true(bailey_bytes_is(record.headers[0].value.bytes, rows[i].text));
        back = import(&record, BAILEY_TIMESTAMP_CREATE, 9);
        assert_int_equal(back->hops, rows[i].hops);
        assert_int_equal(back->header_count, 0);
        bailey_message_unref(back);
        bailey_message_unref(record.owner);
        bailey_message_unref(msg);
    }
}

static void believes_no_hostile_header(void **state)
{
    static const struct {
        const char *name, *value;
    } hostile[] = {
        {"bailey-priority", "256"},
        {"bailey-priority", "-1"},
        {"bailey-priority", ""},
        {"bailey-priority", "007"},
        {"bailey-priority", " 1"},
        {"bailey-priority", "1x"},
        {"bailey-priority", NULL},
        {"bailey-hops", "256"},
        {"bailey-hops", "0"},
        {"bailey-hops", "-1"},
        {"bailey-hops", "01"},
        {"bailey-hops", NULL},
        {"bailey-durable", "2"},
        {"bailey-durable", "true"},
        {"bailey-expires", "0"},
        {"bailey-expires", "-7"},
        {"bailey-expires", "9223372036854775808"},
        {"bailey-expires", "99999999999999999999999"},
        {"bailey-timestamp", "5"},
        {"bailey-timestamp", "-"},
        {"bailey-timestamp", "--1"},
        {"bailey-timestamp-kind", "bogus"},
        {"bailey-timestamp-kind", ""},
        {"bailey-types", "\x01"},
        {"bailey-types", ""},
        {"bailey-types", NULL},
        {"bailey-types", "SSSSSSSSSSSSSSSSSS"},
    };
    struct bailey_message *msg;

    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct record record = {.owner = message_new(pool)};

        add_text(&record, hostile[i].name, hostile[i].value);
        add_text(&record, "user", "value");
        msg = import(&record, BAILEY_TIMESTAMP_CREATE, 9);
        assert_int_equal(msg->header_count, 1); /* ours are taken out, good or bad */
        assert_true(bailey_bytes_is(msg->headers[0].value.bytes, "value"));
        assert_int_equal(msg->headers[0].value.kind, BAILEY_KIND_STRING);
        assert_int_equal(msg->priority, -1);
        assert_int_equal(msg->hops, 0);
        assert_int_equal(msg->durability, BAILEY_DURABILITY_UNKNOWN);
        assert_int_equal(msg->expires_at_ms, 0);
        assert_int_equal(msg->timestamp_ms, 9);
        assert_int_equal(msg->timestamp_kind, BAILEY_TIMESTAMP_CREATE);
        bailey_message_unref(msg);
        bailey_message_unref(record.owner);
    }
}

static void leaves_bytes_that_are_not_of_their_kind(void **state)
{
    static const char *const values[] = {"maybe", "12x", "1e", "\x7f\x7f\x7f\x7f", ""};
    static const char kinds[] = {'t', 'l', 'd', 'F', 'A'};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct record record = {.owner = message_new(pool)};
        char types[2] = {kinds[i], '\0'};
        struct bailey_message *msg;

        add_text(&record, "h", values[i]);
        add_text(&record, "bailey-types", types);
        msg = import(&record, BAILEY_TIMESTAMP_CREATE, 9);
        assert_int_equal(msg->header_count, 1);
        if (msg->headers[0].value.kind == BAILEY_KIND_ARRAY) { /* an empty one is a value */
            assert_int_equal(kinds[i], 'A');
        } else {
            assert_int_equal(msg->headers[0].value.kind, BAILEY_KIND_STRING);
            assert_true(bailey_bytes_is(msg->headers[0].value.bytes, values[i]));
        }
        bailey_message_unref(msg);
        bailey_message_unref(record.owner);
    }
}

static void leaves_names_that_are_not_ours(void **state)
{
    static const char *const names[] = {"bailey-",    "bailey",        "Bailey-type",
                                        "bailey-typ", "bailey-types2", "bailey-key"};
    struct record record = {.owner = message_new(pool)};
    struct bailey_message *msg;

    (void)state;
    for (size_t i = 0; i < 6; i++)
        add_text(&record, names[i], "1");
    msg = import(&record, BAILEY_TIMESTAMP_CREATE, 9);
    assert_int_equal(msg->header_count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_true(bailey_bytes_is(msg->headers[i].name, names[i]));
    bailey_message_unref(msg);
    bailey_message_unref(record.owner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_nothing_to_a_plain_record),
        cmocka_unit_test(untyped_headers_are_text_where_they_can),
        cmocka_unit_test(kinds_that_would_be_guessed_wrong_are_named),
        cmocka_unit_test(carries_the_envelope_through),
        cmocka_unit_test(keeps_timestamps_that_a_record_cannot_hold),
        cmocka_unit_test(marks_a_possible_duplicate_once),
        cmocka_unit_test(adds_the_id_of_a_route_with_dedup),
        cmocka_unit_test(replaces_marks_from_outside),
        cmocka_unit_test(counts_the_hops),
        cmocka_unit_test(believes_no_hostile_header),
        cmocka_unit_test(leaves_bytes_that_are_not_of_their_kind),
        cmocka_unit_test(leaves_names_that_are_not_ours),
    };

    return cmocka_run_group_tests(tests, make_pool, free_pool);
}
