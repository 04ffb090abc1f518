/* core/replay.h: the message that a dead letter was, and what names the letter while it is replayed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/replay.h"
#include "message/pool.h"

#define MONDAY "2026-01-05T00:00:00.000Z"
#define TUESDAY "2026-01-06T00:00:00.000Z"

static struct bailey_pool *pool;

static int setup(void **state)
{
    (void)state;
    pool = message_pool_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    message_pool_free(pool);
    return 0;
}

/* A dead letter that failed then and has one header more, unwrapped. The message is to be unreferenced. */
static struct delivery unwrapped(const char *last_failed, const char *name, const char *value)
{
    struct bailey_message *msg = message_new(pool);
    const char *const texts[][2] = {{"bailey-dlq-id", "0123"},
                                    {"bailey-dlq-last-failed", last_failed},
                                    {"bailey-dlq-key", "its own"},
                                    {name, value}};
    struct bailey_header headers[4];
    struct delivery dlv = {.pub.possible_duplicate = true};

    for (size_t i = 0; i < 4; i++)
        headers[i] = (struct bailey_header){
            bailey_bytes_of(texts[i][0]),
            {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of(texts[i][1])},
        };
    dlv.pub.message = message_with_headers(msg, bailey_bytes_of("0123"), "bailey-dlq-", headers, 4);
    bailey_message_unref(msg);
    replay_unwrap(NULL, NULL, &dlv);
    return dlv;
}

static struct id name_of(const char *last_failed, const char *name, const char *value)
{
    struct delivery dlv = unwrapped(last_failed, name, value);

    bailey_message_unref(dlv.pub.message);
    return dlv.kept_as;
}

static bool is_same(struct id a, struct id b)
{
    return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

static void it_is_the_message_again(void **state)
{
    struct delivery dlv = unwrapped(MONDAY, "to", "there");
    const struct bailey_message *msg = dlv.pub.message;

    (void)state;
    assert_true(bailey_bytes_is(msg->key, "its own"));
    assert_int_equal(msg->header_count, 1);
    assert_true(bailey_bytes_is(msg->headers[0].name, "to"));
    assert_false(dlv.pub.possible_duplicate);
    assert_false(dlv.is_keyed);
    assert_int_equal(dlv.replays, 1);
    bailey_message_unref(dlv.pub.message);
}

static void a_letter_keeps_its_name(void **state)
{
    (void)state;
    assert_true(is_same(name_of(MONDAY, "x", "y"), name_of(MONDAY, "x", "z")));
}

static void one_that_died_again_is_another(void **state)
{
    (void)state;
    assert_false(is_same(name_of(MONDAY, "x", "y"), name_of(MONDAY, "bailey-dlq-replays", "1")));
}

/* An id may be used again when its window is over, a position when its topic was made anew or its group was set back. Under one
 * name the later letter would be removed without having been sent. */
static void one_that_died_at_another_time_is_another_under_the_same_id(void **state)
{
    (void)state;
    assert_false(is_same(name_of(MONDAY, "x", "y"), name_of(TUESDAY, "x", "y")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_the_message_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_letter_keeps_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_died_again_is_another, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_died_at_another_time_is_another_under_the_same_id, setup, teardown),
    };

    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
