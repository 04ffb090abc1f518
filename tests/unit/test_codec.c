/* message/codec.c: everything in the envelope comes back; what is damaged is refused, or is another message of bounded size. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fail_alloc.h"
#include "message/codec.h"
#include "message/pool.h"

#define TEXT(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

static struct bailey_pool *pool;

static int set_up(void **state)
{
    (void)state;
    pool = message_pool_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    message_pool_free(pool);
    return 0;
}

/* ---- A message with all there is ---- */

static const struct bailey_value items[] = {
    {.kind = BAILEY_KIND_NULL},
    {.kind = BAILEY_KIND_BOOL, .boolean = true},
    {.kind = BAILEY_KIND_I8, .i64 = INT8_MIN},
    {.kind = BAILEY_KIND_U8, .u64 = UINT8_MAX},
    {.kind = BAILEY_KIND_I16, .i64 = INT16_MIN},
    {.kind = BAILEY_KIND_U16, .u64 = UINT16_MAX},
    {.kind = BAILEY_KIND_I32, .i64 = INT32_MIN},
    {.kind = BAILEY_KIND_U32, .u64 = UINT32_MAX},
    {.kind = BAILEY_KIND_I64, .i64 = INT64_MIN},
    {.kind = BAILEY_KIND_F32, .f64 = 0.1f},
    {.kind = BAILEY_KIND_F64, .f64 = -1e300},
    {.kind = BAILEY_KIND_DECIMAL, .u64 = UINT64_C(4294967295) << 8 | 255},
    {.kind = BAILEY_KIND_STRING, .bytes = TEXT("text")},
    {.kind = BAILEY_KIND_BYTES, .bytes = TEXT("a\0b")},
    {.kind = BAILEY_KIND_TIMESTAMP, .u64 = UINT64_MAX},
};
enum { ITEMS = sizeof items / sizeof *items };

static const struct bailey_header inner[] = {
    {.name = TEXT(""), .value = {.kind = BAILEY_KIND_STRING, .bytes = TEXT("")}},
    {.name = TEXT("all"), .value = {.kind = BAILEY_KIND_ARRAY, .count = ITEMS, .items = items}},
    {.name = TEXT("none"), .value = {.kind = BAILEY_KIND_ARRAY}},
};
static const struct bailey_header headers[] = {
    {.name = TEXT("twice"), .value = {.kind = BAILEY_KIND_I64, .i64 = 1}},
    {.name = TEXT("twice"), .value = {.kind = BAILEY_KIND_NULL}},
    {.name = TEXT("nested"), .value = {.kind = BAILEY_KIND_TABLE, .count = 3, .fields = inner}},
    {.name = TEXT("not \xff UTF-8"), .value = {.kind = BAILEY_KIND_BYTES, .bytes = TEXT("\xff\xfe")}},
};
enum { HEADERS = sizeof headers / sizeof *headers };

static struct bailey_message *whole_message(void)
{
    struct bailey_message *msg = message_new(pool);

    msg->headers = headers;
    msg->header_count = HEADERS;
    msg->priority = 255;
    msg->timestamp_kind = BAILEY_TIMESTAMP_APPEND;
    msg->durability = BAILEY_TRANSIENT;
    msg->redelivered = true;
    msg->hops = 200;
    msg->timestamp_ms = INT64_MIN;
    msg->expires_at_ms = INT64_MAX;
    msg->origin.partition = INT32_MAX;
    msg->origin.offset = INT64_MAX - 1;
    for (size_t i = 0; i < MESSAGE_VIEWS; i++) {
        uint8_t text[] = {'v', (uint8_t)i, 0, 0xff};

        *(struct bailey_bytes *)((char *)msg + message_views[i]) = bailey_message_copy(msg, text, sizeof text);
    }
    msg->reply_to = BAILEY_EMPTY_BYTES;
    msg->app_id = BAILEY_NULL_BYTES;
    return msg;
}

struct bytes {
    uint8_t *data;
    size_t len;
};

static struct bytes encode(const struct bailey_message *msg)
{
    struct bytes bytes = {.len = message_encoded_size(msg)};

    bytes.data = malloc(bytes.len); /* exactly: what is written behind it is seen by the address sanitizer */
    assert_non_null(bytes.data);
    message_encode(msg, bytes.data);
    return bytes;
}

static bool decode(struct bailey_message *msg, const uint8_t *data, size_t len)
{
    struct bailey_error err;

    return message_decode(msg, (struct bailey_bytes){data, len}, &err);
}

static void assert_same(const struct bailey_message *a, const struct bailey_message *b)
{
    struct bytes first = encode(a), second = encode(b);

    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    free(first.data);
    free(second.data);
}

/* ---- Tests ---- */

static void everything_comes_back(void **state)
{
    struct bailey_message *msg = whole_message(), *back = message_new(pool);
    struct bytes bytes = encode(msg);

    (void)state;
    assert_true(decode(back, bytes.data, bytes.len));
    memset(bytes.data, '#', bytes.len); /* it holds its own copy */
    free(bytes.data);
    assert_int_equal(back->priority, 255);
    assert_int_equal(back->timestamp_kind, BAILEY_TIMESTAMP_APPEND);
    assert_int_equal(back->durability, BAILEY_TRANSIENT);
    assert_true(back->redelivered);
    assert_int_equal(back->hops, 200);
    assert_true(back->timestamp_ms == INT64_MIN && back->expires_at_ms == INT64_MAX);
    assert_true(back->origin.partition == INT32_MAX && back->origin.offset == INT64_MAX - 1);
    assert_int_equal(back->size, message_size(msg));
    for (size_t i = 0; i < MESSAGE_VIEWS; i++) {
        const struct bailey_bytes *was = (const void *)((const char *)msg + message_views[i]);
        const struct bailey_bytes *is = (const void *)((const char *)back + message_views[i]);

        assert_true(bailey_bytes_equal(*was, *is));
    }
    assert_int_equal(back->header_count, HEADERS);
    for (uint32_t i = 0; i < HEADERS; i++) {
        assert_true(bailey_bytes_equal(back->headers[i].name, headers[i].name));
        assert_int_equal(back->headers[i].value.kind, headers[i].value.kind);
        assert_true(bailey_bytes_equal(bailey_value_format(back, &back->headers[i].value),
                                       bailey_value_format(msg, &headers[i].value)));
    }
    assert_same(msg, back);
    bailey_message_unref(msg);
    bailey_message_unref(back);
}

static void null_and_empty_stay_apart(void **state)
{
    static const struct bailey_bytes kinds[] = {{NULL, 0}, {(const uint8_t *)"", 0}, {(const uint8_t *)"x", 1}};

    (void)state;
    for (size_t i = 0; i < MESSAGE_VIEWS; i++)
        for (size_t k = 0; k < 3; k++) {
            struct bailey_message *msg = message_new(pool), *back = message_new(pool);
            struct bailey_bytes *view = (struct bailey_bytes *)((char *)back + message_views[i]);

            *(struct bailey_bytes *)((char *)msg + message_views[i]) = kinds[k];
            struct bytes bytes = encode(msg);
            assert_true(decode(back, bytes.data, bytes.len));
            free(bytes.data);
            assert_true(bailey_bytes_equal(*view, kinds[k]));
            *view = BAILEY_NULL_BYTES;
            for (size_t other = 0; other < MESSAGE_VIEWS; other++)
                assert_null(((const struct bailey_bytes *)((char *)back + message_views[other]))->data);
            bailey_message_unref(msg);
            bailey_message_unref(back);
        }
}

static void a_new_message_comes_back_as_new(void **state)
{
    struct bailey_message *msg = message_new(pool), *back = message_new(pool);
    struct bytes bytes = encode(msg);

    (void)state;
    back->priority = 7;
    assert_true(decode(back, bytes.data, bytes.len));
    assert_true(back->priority == -1 && back->origin.partition == -1 && back->origin.offset == -1);
    assert_true(back->headers == NULL && back->header_count == 0 && !back->redelivered);
    free(bytes.data);
    bailey_message_unref(msg);
    bailey_message_unref(back);
}

/* The form is written down: what an older bailey kept must be read. */
static void version_1_is_read(void **state)
{
    static const uint8_t old[] = {
        1,    1, 2, 1,    1,                   /* version, redelivered, hops, a producer's time, durable */
        0,    4,                               /* priority */
        0,    0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, /* 1700000000000 */
        0,    0, 0, 0,    0,    0,    0,    0, /* never expires */
        0,    0, 0, 3,                         /* partition */
        0,    0, 0, 0,    0,    0,    1,    0, /* offset */
        0x04, 2,                               /* body and topic: bits 1 and 10 */
        0,    0, 0, 2,    'h',  'i',           /* */
        0,    0, 0, 1,    't',                 /* */
        0,    0, 0, 1,                         /* a header */
        0,    0, 0, 1,    'n',  'S',  0,    0, 0, 1, 'v',
    };
    struct bailey_message *msg = message_new(pool);

    (void)state;
    assert_true(decode(msg, old, sizeof old));
    assert_true(msg->redelivered && msg->hops == 2 && msg->priority == 4 && msg->durability == BAILEY_DURABLE);
    assert_int_equal(msg->timestamp_ms, 1700000000000);
    assert_true(msg->origin.partition == 3 && msg->origin.offset == 256);
    assert_true(bailey_bytes_is(msg->body, "hi") && bailey_bytes_is(msg->origin.topic, "t"));
    assert_true(msg->header_count == 1 && bailey_bytes_is(msg->headers[0].value.bytes, "v"));
    struct bytes bytes = encode(msg);
    assert_int_equal(bytes.len, sizeof old);
    assert_memory_equal(bytes.data, old, sizeof old);
    free(bytes.data);
    bailey_message_unref(msg);
}

static void a_later_version_is_refused_by_name(void **state)
{
    struct bailey_message *msg = message_new(pool);
    struct bytes bytes = encode(msg);
    struct bailey_error err;

    (void)state;
    bytes.data[0] = CODEC_VERSION + 1;
    assert_false(message_decode(msg, (struct bailey_bytes){bytes.data, bytes.len}, &err));
    assert_int_equal(err.kind, BAILEY_ERR_PERMANENT);
    assert_string_equal(err.text, "a kept message is of version 2, this bailey knows version 1");
    free(bytes.data);
    bailey_message_unref(msg);
}

static void whatever_is_cut_off_is_refused(void **state)
{
    struct bailey_message *msg = whole_message();
    struct bytes bytes = encode(msg);

    (void)state;
    for (size_t len = 0; len < bytes.len; len++) {
        struct bailey_message *back = message_new(pool);
        uint8_t *cut = malloc(len + 1); /* the sanitizer sees what is read behind it */

        memcpy(cut, bytes.data, len);
        cut = realloc(cut, len > 0 ? len : 1);
        assert_false(decode(back, cut, len));
        free(cut);
        bailey_message_unref(back);
    }
    struct bailey_message *back = message_new(pool);
    bytes.data = realloc(bytes.data, bytes.len + 1);
    bytes.data[bytes.len] = 0;
    assert_false(decode(back, bytes.data, bytes.len + 1)); /* nor is anything behind it */
    free(bytes.data);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

/* What is accepted has one form only: nothing of the input was passed over. */
static void a_changed_byte_is_refused_or_is_another_message(void **state)
{
    struct bailey_message *msg = whole_message();
    struct bytes bytes = encode(msg);
    size_t refused = 0;

    (void)state;
    for (size_t i = 0; i < bytes.len; i++)
        for (unsigned change = 1; change < 256; change++) {
            struct bailey_message *back = message_new(pool);

            bytes.data[i] ^= (uint8_t)change;
            if (decode(back, bytes.data, bytes.len)) {
                struct bytes again = encode(back);

                assert_int_equal(again.len, bytes.len);
                assert_memory_equal(again.data, bytes.data, bytes.len);
                free(again.data);
            } else {
                refused++;
            }
            bytes.data[i] ^= (uint8_t)change;
            bailey_message_unref(back);
        }
    assert_true(refused > 0);
    free(bytes.data);
    bailey_message_unref(msg);
}

static void its_bytes_are_one_allocation(void **state)
{
    struct bailey_message *msg = whole_message(), *back = message_new(pool);

    (void)state;
    msg->headers = NULL;
    msg->header_count = 0;
    msg->body = (struct bailey_bytes){calloc(1, 100000), 100000};
    struct bytes bytes = encode(msg);
    if (fail_alloc_works()) {
        fail_alloc_arm(0, false);
        assert_true(decode(back, bytes.data, bytes.len));
        assert_int_equal(fail_alloc_disarm(), 1);
    }
    free(bytes.data);
    free((void *)msg->body.data);
    bailey_message_unref(msg);
    bailey_message_unref(back);
}

/* Counts that promise more than the bytes could hold take no memory: 10 headers' worth for a byte, and one tree of values. */
static void what_it_allocates_is_bounded_by_what_it_is_given(void **state)
{
    static uint8_t lies[65536];
    struct bailey_message *msg = message_new(pool);
    size_t len = message_encoded_size(msg);

    (void)state;
    if (!fail_alloc_works())
        skip();
    for (unsigned tag = 0; tag < 256; tag++) {
        struct bailey_message *back = message_new(pool);

        memset(lies, (int)tag, sizeof lies); /* every count and every tag is this byte */
        message_encode(msg, lies);
        size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
        decode(back, lies, sizeof lies);
        memset(lies + len - 4, 0, 2); /* as many headers as there may be, or fewer */
        decode(back, lies, sizeof lies);
        size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
        assert_true(after - before < 2 * (sizeof lies + sizeof lies / 5 * sizeof(struct bailey_header) +
                                          BAILEY_VALUE_COUNT_MAX * sizeof(struct bailey_header) + 65536));
        bailey_message_unref(back);
    }
    bailey_message_unref(msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(everything_comes_back),
        TEST(null_and_empty_stay_apart),
        TEST(a_new_message_comes_back_as_new),
        TEST(version_1_is_read),
        TEST(a_later_version_is_refused_by_name),
        TEST(whatever_is_cut_off_is_refused),
        TEST(a_changed_byte_is_refused_or_is_another_message),
        TEST(its_bytes_are_one_allocation),
        TEST(what_it_allocates_is_bounded_by_what_it_is_given),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
