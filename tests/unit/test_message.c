/* message/message.c: references, what a message owns and what it only shows, and the pool they come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "message/pool.h"

static struct bailey_pool *pool;
static int released;

static int setup(void **state)
{
    (void)state;
    pool = message_pool_new();
    released = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    message_pool_free(pool);
    return 0;
}

/* The buffer of a connector: overwritten when it is released, so that who still looks at it sees garbage. */
static void release(void *owner, void *cookie)
{
    memset(owner, '#', (size_t)(uintptr_t)cookie);
    released++;
}

static void a_new_message_is_empty(void **state)
{
    struct bailey_message *msg = message_new(pool);

    (void)state;
    assert_null(msg->key.data);
    assert_null(msg->body.data);
    assert_null(msg->user_id.data);
    assert_int_equal(msg->header_count, 0);
    assert_int_equal(msg->priority, -1);
    assert_int_equal(msg->origin.partition, -1);
    assert_int_equal(msg->origin.offset, -1);
    assert_int_equal(msg->timestamp_kind, BAILEY_TIMESTAMP_NONE);
    assert_false(msg->redelivered);
    bailey_message_unref(msg);
}

static void the_buffer_is_released_with_the_last_reference(void **state)
{
    static char buffer[] = "body";
    struct bailey_message *msg = message_new(pool);

    (void)state;
    msg->body = bailey_bytes_of(buffer);
    bailey_message_keep(msg, release, buffer, (void *)(uintptr_t)4);
    assert_ptr_equal(bailey_message_ref(msg), msg);
    bailey_message_unref(msg);
    assert_int_equal(released, 0);
    bailey_message_unref(msg);
    assert_int_equal(released, 1);
    bailey_message_unref(NULL);
}

static void null_and_empty_stay_apart(void **state)
{
    struct bailey_message *msg = message_new(pool);
    struct bailey_bytes null = bailey_message_copy(msg, NULL, 0), empty = bailey_message_copy(msg, "", 0);

    (void)state;
    assert_null(null.data);
    assert_non_null(empty.data);
    assert_int_equal(empty.len, 0);
    assert_false(bailey_bytes_equal(null, empty));
    assert_false(bailey_bytes_is(null, ""));
    assert_true(bailey_bytes_is(empty, ""));
    bailey_message_unref(msg);
}

static void memory_is_aligned_apart_and_survives_to_the_end(void **state)
{
    enum { PIECES = 300 };
    struct bailey_message *msg = message_new(pool);
    unsigned char *pieces[PIECES];
    size_t sizes[PIECES];

    (void)state;
    for (size_t i = 0; i < PIECES; i++) {
        sizes[i] = i * i % 1777;
        pieces[i] = bailey_message_alloc(msg, sizes[i]);
        assert_int_equal((uintptr_t)pieces[i] % 8, 0);
        memset(pieces[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], (unsigned char)i);
    bailey_message_unref(msg);
}

static void a_detached_message_has_left_its_buffer(void **state)
{
    static char buffer[] = "keybodynamevaluequeue";
    struct bailey_value item = {.kind = BAILEY_KIND_STRING, .bytes = {(const uint8_t *)buffer + 11, 5}};
    struct bailey_header headers[] = {
        {.name = {(const uint8_t *)buffer + 7, 4}, .value = {.kind = BAILEY_KIND_ARRAY, .count = 1, .items = &item}},
        {.name = BAILEY_EMPTY_BYTES, .value = {.kind = BAILEY_KIND_I64, .i64 = -7}},
    };
    struct bailey_message *msg = message_new(pool);

    (void)state;
    msg->key = (struct bailey_bytes){(const uint8_t *)buffer, 3};
    msg->body = (struct bailey_bytes){(const uint8_t *)buffer + 3, 4};
    msg->origin.queue = (struct bailey_bytes){(const uint8_t *)buffer + 16, 5};
    msg->headers = headers;
    msg->header_count = 2;
    msg->priority = 9;
    msg->group = 3;
    msg->position = 42;
    msg->size = 77;
    bailey_message_keep(msg, release, buffer, (void *)(uintptr_t)(sizeof buffer - 1));

    struct bailey_message *own = bailey_message_detach(msg);

    memset(headers, 0, sizeof headers);
    assert_int_equal(released, 1);
    assert_true(bailey_bytes_is(own->key, "key"));
    assert_true(bailey_bytes_is(own->body, "body"));
    assert_true(bailey_bytes_is(own->origin.queue, "queue"));
    assert_null(own->origin.topic.data);
    assert_true(bailey_bytes_is(own->headers[0].name, "name"));
    assert_true(bailey_bytes_is(own->headers[0].value.items[0].bytes, "value"));
    assert_int_equal(own->headers[1].value.i64, -7);
    assert_int_equal(own->priority, 9);
    assert_int_equal(own->group, 3);
    assert_int_equal(own->position, 42);
    assert_int_equal(own->size, 77);
    assert_ptr_equal(bailey_message_detach(own), own); /* nothing left to leave */
    bailey_message_unref(own);
}

static void detaching_leaves_other_references_their_message(void **state)
{
    static char buffer[] = "body";
    struct bailey_message *msg = message_new(pool), *own;

    (void)state;
    msg->body = bailey_bytes_of(buffer);
    bailey_message_keep(msg, release, buffer, (void *)(uintptr_t)4);
    bailey_message_ref(msg);
    own = bailey_message_detach(msg);
    assert_int_equal(released, 0);
    assert_true(bailey_bytes_is(msg->body, "body"));
    bailey_message_unref(msg);
    assert_int_equal(released, 1);
    assert_true(bailey_bytes_is(own->body, "body"));
    bailey_message_unref(own);
}

static void another_key_shares_all_else(void **state)
{
    static char buffer[] = "body";
    struct bailey_message *msg = message_new(pool), *keyed;
    char key[] = "new";

    (void)state;
    msg->body = bailey_bytes_of(buffer);
    msg->key = bailey_bytes_of("old");
    msg->position = 5;
    bailey_message_keep(msg, release, buffer, (void *)(uintptr_t)4);
    keyed = bailey_message_with_key(msg, bailey_bytes_of(key));
    memset(key, '?', 3);
    bailey_message_unref(msg);
    assert_int_equal(released, 0); /* held by the new one */
    assert_ptr_equal(keyed->body.data, buffer);
    assert_true(bailey_bytes_is(keyed->key, "new"));
    assert_int_equal(keyed->position, 5);
    keyed = bailey_message_detach(keyed);
    assert_int_equal(released, 1);
    assert_true(bailey_bytes_is(keyed->body, "body"));
    assert_true(bailey_bytes_is(keyed->key, "new"));
    bailey_message_unref(keyed);
}

static void of_repeated_headers_the_first_is_found(void **state)
{
    struct bailey_header headers[] = {
        {.name = bailey_bytes_of("a"), .value = {.kind = BAILEY_KIND_I64, .i64 = 1}},
        {.name = bailey_bytes_of("b"), .value = {.kind = BAILEY_KIND_I64, .i64 = 2}},
        {.name = bailey_bytes_of("b"), .value = {.kind = BAILEY_KIND_I64, .i64 = 3}},
    };
    struct bailey_message *msg = message_new(pool);

    (void)state;
    msg->headers = headers;
    msg->header_count = 3;
    assert_int_equal(bailey_message_header(msg, bailey_bytes_of("b"))->value.i64, 2);
    assert_null(bailey_message_header(msg, bailey_bytes_of("B")));
    assert_null(bailey_message_header(msg, BAILEY_EMPTY_BYTES));
    bailey_message_unref(msg);
}

static void its_size_counts_key_body_and_headers(void **state)
{
    struct bailey_header header = {.name = bailey_bytes_of("name"),
                                   .value = {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("value")}};
    struct bailey_message *msg = message_new(pool);
    size_t bare = message_size(msg);

    (void)state;
    msg->key = bailey_bytes_of("key");
    msg->body = bailey_bytes_of("body");
    msg->headers = &header;
    msg->header_count = 1;
    assert_int_equal(message_size(msg) - bare, 3 + 4 + 4 + 5);
    bailey_message_unref(msg);
}

static void the_pool_outlives_its_lane_until_the_last_message_is_gone(void **state)
{
    struct bailey_pool *own = message_pool_new();
    struct bailey_message *first = message_new(own), *second = message_new(own);

    (void)state;
    message_pool_free(own);
    bailey_message_unref(first);
    second->key = bailey_message_copy(second, "still here", 10);
    assert_true(bailey_bytes_is(second->key, "still here"));
    bailey_message_unref(second); /* a sanitizer sees what would be left */
    message_pool_free(NULL);
}

static void blocks_are_used_again(void **state)
{
    enum { MANY = 1000 };
    static struct bailey_message *messages[MANY];
    struct bailey_message *lowest = (struct bailey_message *)UINTPTR_MAX, *highest = NULL;

    (void)state;
    for (int i = 0; i < MANY; i++)
        messages[i] = message_new(pool);
    for (int i = 0; i < MANY; i++) {
        lowest = messages[i] < lowest ? messages[i] : lowest;
        highest = messages[i] > highest ? messages[i] : highest;
        bailey_message_unref(messages[i]);
    }
    for (int round = 0; round < 10; round++) { /* no more slabs, however often */
        for (int i = 0; i < MANY; i++) {
            messages[i] = message_new(pool);
            assert_true(messages[i] >= lowest && messages[i] <= highest);
        }
        for (int i = MANY; i-- > 0;)
            bailey_message_unref(messages[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_message_is_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(the_buffer_is_released_with_the_last_reference, setup, teardown),
        cmocka_unit_test_setup_teardown(null_and_empty_stay_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_aligned_apart_and_survives_to_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_detached_message_has_left_its_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(detaching_leaves_other_references_their_message, setup, teardown),
        cmocka_unit_test_setup_teardown(another_key_shares_all_else, setup, teardown),
        cmocka_unit_test_setup_teardown(of_repeated_headers_the_first_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(its_size_counts_key_body_and_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(the_pool_outlives_its_lane_until_the_last_message_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(blocks_are_used_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
