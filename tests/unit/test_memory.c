/* connectors/memory: copies that belong to nobody's lane, queues that keep their order, count their places and wake who waits.
 * What its ends do is tested by the rules for all connectors (tests/conformance). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/memory/queue.h"
#include "loop/loop.h"
#include "message/pool.h"

static const struct bailey_marks no_marks, in_doubt = {.possible_duplicate = true};
static struct bailey_pool *pool;
static struct queue *queue;
static struct queue_waiter waiter; /* never told: nothing arms it and wakes it in these tests, unless they say so */

static int setup(void **state)
{
    static unsigned number;
    char name[32];

    (void)state;
    snprintf(name, sizeof name, "queue-%u", ++number);
    pool = message_pool_new();
    queue = queue_find(name);
    waiter = (struct queue_waiter){0};
    return 0;
}

static int teardown(void **state)
{
    struct record *left;

    (void)state;
    while (queue_take(queue, &left, 1, NULL) == 1)
        queue_remove(queue, &left, 1);
    message_pool_free(pool);
    return 0;
}

static struct record *record_of(const char *body)
{
    struct bailey_message *msg = message_new(pool);
    struct record *record;

    msg->body = bailey_bytes_of(body);
    record = record_new(msg, &no_marks);
    bailey_message_unref(msg);
    return record;
}

static void append(const char *body)
{
    assert_int_equal(queue_claim(queue, 1, SIZE_MAX, &waiter), 1);
    queue_append(queue, record_of(body), 0);
}

/* Take all and compare with the words of `expected`. */
static void assert_holds(const char *expected)
{
    struct record *records[32];
    size_t count = queue_take(queue, records, 32, NULL), len = 0;
    char text[256] = "";

    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s%s", i > 0 ? " " : "",
                                (int)records[i]->envelope.body.len, (const char *)records[i]->envelope.body.data,
                                records[i]->redelivered ? "!" : "");
    queue_remove(queue, records, count);
    assert_string_equal(text, expected);
}

static void a_copy_holds_all_that_is_carried_and_nothing_of_the_original(void **state)
{
    char text[] = "keybodynamevalue";
    struct bailey_value item = {.kind = BAILEY_KIND_STRING, .bytes = {(uint8_t *)text + 11, 5}};
    struct bailey_header field = {.name = {(uint8_t *)text + 7, 4}, .value = item};
    struct bailey_value array[] = {item, {.kind = BAILEY_KIND_TABLE, .count = 1, .fields = &field}};
    struct bailey_header headers[] = {
        {.name = {(uint8_t *)text + 7, 4}, .value = {.kind = BAILEY_KIND_ARRAY, .count = 2, .items = array}},
        {.name = BAILEY_EMPTY_BYTES, .value = {.kind = BAILEY_KIND_F64, .f64 = 0.5}},
    };
    struct bailey_message *msg = message_new(pool), *shown = message_new(pool);
    struct record *record;

    (void)state;
    msg->key = (struct bailey_bytes){(uint8_t *)text, 3};
    msg->body = (struct bailey_bytes){(uint8_t *)text + 3, 4};
    msg->reply_to = BAILEY_EMPTY_BYTES;
    msg->headers = headers;
    msg->header_count = 2;
    msg->priority = 3;
    msg->hops = 2;
    msg->expires_at_ms = 99;
    msg->origin.topic = bailey_bytes_of("elsewhere");
    record = record_new(msg, &in_doubt);
    memset(text, '#', sizeof text);
    memset(headers, 0, sizeof headers);
    bailey_message_unref(msg);
    record_show(record, shown);
    record_unref(record); /* the message keeps it */
    assert_true(bailey_bytes_is(shown->key, "key"));
    assert_true(bailey_bytes_is(shown->body, "body"));
    assert_true(bailey_bytes_is(shown->reply_to, ""));
    assert_null(shown->content_type.data);
    assert_null(shown->origin.topic.data);
    assert_int_equal(shown->priority, 3);
    assert_int_equal(shown->hops, 2);
    assert_int_equal(shown->expires_at_ms, 99);
    assert_int_equal(shown->header_count, 3);
    assert_true(bailey_bytes_is(shown->headers[0].name, "name"));
    assert_true(bailey_bytes_is(shown->headers[0].value.items[0].bytes, "value"));
    assert_true(bailey_bytes_is(shown->headers[0].value.items[1].fields[0].value.bytes, "value"));
    assert_true(bailey_bytes_is(shown->headers[2].name, "bailey-possible-duplicate"));
    bailey_message_unref(shown);
}

static void the_mark_of_a_possible_duplicate_is_set_once(void **state)
{
    struct bailey_header mark = {.name = bailey_bytes_of("bailey-possible-duplicate"),
                                 .value = {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("1")}};
    struct bailey_message *msg = message_new(pool);
    struct record *record;

    (void)state;
    msg->headers = &mark;
    msg->header_count = 1;
    record = record_new(msg, &in_doubt);
    assert_int_equal(record->envelope.header_count, 1);
    record_unref(record);
    bailey_message_unref(msg);
}

static void an_id_is_added_or_replaced(void **state)
{
    struct bailey_marks marks = {.id = bailey_bytes_of("ours")};
    struct bailey_header theirs = {.name = bailey_bytes_of("bailey-id"), .value = {.kind = BAILEY_KIND_NULL}};
    struct bailey_message *msg = message_new(pool);

    (void)state;
    for (msg->headers = &theirs; msg->header_count < 2; msg->header_count++) {
        struct record *record = record_new(msg, &marks);

        assert_int_equal(record->envelope.header_count, 1);
        assert_true(bailey_bytes_is(record->envelope.headers[0].name, "bailey-id"));
        assert_int_equal(record->envelope.headers[0].value.kind, BAILEY_KIND_STRING);
        assert_true(bailey_bytes_is(record->envelope.headers[0].value.bytes, "ours"));
        record_unref(record);
    }
    bailey_message_unref(msg);
}

static void what_comes_back_stands_where_it_stood(void **state)
{
    struct record *taken[4], *back[2];

    (void)state;
    for (const char *word = "a\0b\0c\0d\0e\0f\0"; *word != '\0'; word += 2)
        append(word);
    assert_int_equal(queue_take(queue, taken, 4, NULL), 4);
    append("g");
    back[0] = taken[2]; /* in any order */
    back[1] = taken[0];
    queue_return(queue, back, 2);
    assert_int_equal(queue_depth(queue), 5);
    back[0] = taken[3];
    queue_return(queue, back, 1);
    queue_remove(queue, &taken[1], 1);
    assert_holds("a! c! d! e f g");
    append("h"); /* the end of the list is where it should be */
    assert_holds("h");
}

static void the_last_one_back_is_the_end(void **state)
{
    struct record *taken[2];

    (void)state;
    append("a");
    append("b");
    assert_int_equal(queue_take(queue, taken, 2, NULL), 2);
    queue_return(queue, taken, 2);
    append("c");
    assert_holds("a! b! c");
}

static void places_count_until_they_are_settled(void **state)
{
    struct record *taken;

    (void)state;
    assert_int_equal(queue_claim(queue, 2, 3, &waiter), 2);
    assert_int_equal(queue_claim(queue, 2, 3, &waiter), 1); /* not all: it would be told */
    assert_true(waiter.is_armed);
    queue_append(queue, record_of("a"), 2); /* one used, two given back */
    assert_int_equal(queue_take(queue, &taken, 1, NULL), 1);
    assert_int_equal(queue_claim(queue, 9, 3, &waiter), 2); /* what is out still has its place */
    queue_append(queue, NULL, 2);
    queue_remove(queue, &taken, 1);
    assert_int_equal(queue_claim(queue, 9, 3, &waiter), 3);
    queue_append(queue, NULL, 3);
}

static int woken;

static void note_woken(struct bailey_task *task)
{
    struct queue_waiter *self = task->ctx;

    queue_woken(queue, self);
    woken++;
}

static void who_asked_in_vain_is_told_once(void **state)
{
    struct bailey_error err = {0};
    struct bailey_host *loop = loop_new(&(struct loop_options){.fds_max = 16}, &err);
    struct queue_waiter source = {.host = loop, .task = {.run = note_woken, .ctx = &source}};
    struct record *taken;

    (void)state;
    assert_non_null(loop);
    woken = 0;
    queue_join(queue, &source, false);
    append("nobody has asked");
    loop_turn(loop, 0);
    assert_int_equal(woken, 0);
    assert_int_equal(queue_take(queue, &taken, 1, &source), 1);
    queue_remove(queue, &taken, 1);
    assert_int_equal(queue_take(queue, &taken, 1, &source), 0);
    append("one");
    append("two");
    for (int i = 0; i < 100 && woken == 0; i++)
        loop_turn(loop, 10);
    loop_turn(loop, 0);
    assert_int_equal(woken, 1);
    assert_int_equal(queue_take(queue, &taken, 1, &source), 1);
    queue_remove(queue, &taken, 1);
    assert_false(queue_leave(queue, &source));
    append("three"); /* it has left: nobody is told */
    loop_turn(loop, 0);
    assert_int_equal(woken, 1);
    loop_free(loop);
}

static void leaving_says_whether_a_wake_up_is_on_its_way(void **state)
{
    struct bailey_error err = {0};
    struct bailey_host *loop = loop_new(&(struct loop_options){.fds_max = 16}, &err);
    struct queue_waiter source = {.host = loop, .task = {.run = note_woken, .ctx = &source}};
    struct record *taken;

    (void)state;
    assert_non_null(loop);
    woken = 0;
    queue_join(queue, &source, false);
    assert_int_equal(queue_take(queue, &taken, 1, &source), 0);
    append("a");
    assert_true(queue_leave(queue, &source));
    for (int i = 0; i < 100 && woken == 0; i++)
        loop_turn(loop, 10);
    assert_int_equal(woken, 1);
    loop_free(loop);
}

static void scripted_events_happen_as_often_as_asked(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(queue_event_happens(queue, QUEUE_SINK_LOST, 3), i < 3);
    assert_false(queue_event_happens(queue, QUEUE_SINK_HELD, 0));
    queue_forget_events(queue);
    assert_true(queue_event_happens(queue, QUEUE_SINK_LOST, 1));
}

static void a_wait_ends_when_enough_is_there_or_time_is_over(void **state)
{
    (void)state;
    assert_false(queue_wait(queue, 1, 20));
    append("a");
    assert_true(queue_wait(queue, 1, 0));
    assert_false(queue_wait(queue, 2, 0));
}

/* ---- Many threads ---- */

enum { THREADS = 4, EACH = 20000 };
static _Atomic int settled[THREADS * EACH];

static void *put_many(void *ctx)
{
    int thread = (int)(intptr_t)ctx;
    struct bailey_pool *own = message_pool_new();

    for (int i = 0; i < EACH; i++) {
        struct bailey_message *msg = message_new(own);
        char text[16];

        msg->body = bailey_message_copy(msg, text, (size_t)snprintf(text, sizeof text, "%d", thread * EACH + i));
        queue_claim(queue, 1, SIZE_MAX, &waiter);
        queue_append(queue, record_new(msg, &no_marks), 0);
        bailey_message_unref(msg);
    }
    message_pool_free(own);
    return NULL;
}

/* Returns every third batch once, keeps the rest. */
static void *take_many(void *ctx)
{
    _Atomic int *left = ctx;

    for (int round = 0; *left > 0; round++) {
        struct record *records[16];
        size_t count = queue_take(queue, records, 16, NULL);

        if (count > 0 && round % 3 == 0) {
            queue_return(queue, records, count);
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            char text[16] = "";

            memcpy(text, records[i]->envelope.body.data, records[i]->envelope.body.len);
            settled[atoi(text)]++;
        }
        *left -= (int)count;
        queue_remove(queue, records, count);
    }
    return NULL;
}

static void each_goes_to_one_taker_whatever_the_threads(void **state)
{
    pthread_t threads[2 * THREADS];
    _Atomic int left = THREADS * EACH;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, put_many, (void *)(intptr_t)i);
        pthread_create(&threads[THREADS + i], NULL, take_many, &left);
    }
    for (int i = 0; i < 2 * THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS * EACH; i++)
        assert_int_equal(settled[i], 1);
    assert_int_equal(queue_claim(queue, 1, 1, &waiter), 1); /* every place is free again */
    queue_append(queue, NULL, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_copy_holds_all_that_is_carried_and_nothing_of_the_original, setup, teardown),
        cmocka_unit_test_setup_teardown(the_mark_of_a_possible_duplicate_is_set_once, setup, teardown),
        cmocka_unit_test_setup_teardown(an_id_is_added_or_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_back_stands_where_it_stood, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_one_back_is_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(places_count_until_they_are_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(who_asked_in_vain_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(leaving_says_whether_a_wake_up_is_on_its_way, setup, teardown),
        cmocka_unit_test_setup_teardown(scripted_events_happen_as_often_as_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wait_ends_when_enough_is_there_or_time_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(each_goes_to_one_taker_whatever_the_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
