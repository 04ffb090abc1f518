/* Which record of a key counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "connectors/kafka/newest.h"

static void the_newest_counts(void **state)
{
    struct newest newest = {0};
    struct bailey_bytes a = bailey_bytes_of("a");

    (void)state;
    assert_false(newest_is(&newest, 0, a, 0));
    assert_true(newest_note(&newest, 0, a, 0, false));
    assert_true(newest_note(&newest, 0, a, 5, false));
    assert_true(newest_note(&newest, 0, a, 3, true)); /* read again */
    assert_false(newest_is(&newest, 0, a, 0));
    assert_true(newest_is(&newest, 0, a, 5));
    assert_int_equal(newest.live, 1);
    newest_clear(&newest);
}

static void a_tombstone_removes_until_the_key_comes_again(void **state)
{
    struct newest newest = {0};
    struct bailey_bytes a = bailey_bytes_of("a");

    (void)state;
    assert_true(newest_note(&newest, 0, a, 0, false));
    assert_true(newest_note(&newest, 0, a, 1, true));
    assert_false(newest_is(&newest, 0, a, 0));
    assert_false(newest_is(&newest, 0, a, 1));
    assert_int_equal(newest.live, 0);
    assert_true(newest_note(&newest, 0, a, INT64_MAX - 1, false));
    assert_true(newest_is(&newest, 0, a, INT64_MAX - 1));
    assert_int_equal(newest.live, 1);
    newest_clear(&newest);
}

static void each_partition_is_a_log_of_its_own(void **state)
{
    struct newest newest = {0};

    (void)state;
    assert_true(newest_note(&newest, 0, BAILEY_EMPTY_BYTES, 0, false));
    assert_true(newest_note(&newest, 1, BAILEY_EMPTY_BYTES, 0, true));
    assert_true(newest_is(&newest, 0, BAILEY_EMPTY_BYTES, 0));
    assert_int_equal(newest.live, 1);
    newest_clear(&newest);
}

static struct bailey_bytes key_of(int number, char text[static 16])
{
    snprintf(text, 16, "%d", number);
    return bailey_bytes_of(text);
}

static void it_holds_many_and_refuses_too_many(void **state)
{
    struct newest newest = {0};
    char text[16];
    int wrong = 0;

    (void)state;
    for (int i = 0; i < NEWEST_MAX; i++)
        wrong += !newest_note(&newest, 0, key_of(i, text), i, i % 2 == 1);
    assert_int_equal(wrong, 0);
    for (int i = 0; i < NEWEST_MAX; i += 97)
        wrong += newest_is(&newest, 0, key_of(i, text), i) != (i % 2 == 0);
    assert_int_equal(wrong, 0);
    assert_int_equal(newest.live, NEWEST_MAX / 2);
    assert_true(newest_note(&newest, 0, key_of(7, text), NEWEST_MAX, false)); /* known: there is room for it */
    assert_false(newest_note(&newest, 0, bailey_bytes_of("one more"), 0, false));
    newest_clear(&newest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_counts),
        cmocka_unit_test(a_tombstone_removes_until_the_key_comes_again),
        cmocka_unit_test(each_partition_is_a_log_of_its_own),
        cmocka_unit_test(it_holds_many_and_refuses_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
