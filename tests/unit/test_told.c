/* Which failures and recoveries of connections are logged: one event for each that is news. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <bailey/told.h>

static const struct bailey_told_end send_a = {"a", "send"}, receive_a = {"a", "receive"}, send_b = {"b", "send"};

static void what_fails_before_the_login_is_the_brokers(void **state)
{
    struct bailey_told told = {0};

    (void)state;
    assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_BEFORE, "refused"));
    assert_false(bailey_told_failure(&told, send_b, BAILEY_TOLD_BEFORE, "refused"));
    assert_true(bailey_told_failure(&told, send_b, BAILEY_TOLD_BEFORE, "wrong password"));
    assert_false(bailey_told_failure(&told, send_a, BAILEY_TOLD_BEFORE, "refused")); /* in turn: still no news */
    assert_true(bailey_told_connected(&told, receive_a));
    assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_BEFORE, "refused"));
}

static void a_refusal_is_over_when_its_end_works(void **state)
{
    struct bailey_told told = {0};

    (void)state;
    assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, "may not"));
    assert_false(bailey_told_connected(&told, send_a)); /* proves nothing */
    assert_false(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, "may not"));
    assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, "something else"));
    assert_true(bailey_told_connected(&told, receive_a)); /* another end has nothing to do with it */
    bailey_told_works(&told, receive_a);
    bailey_told_works(&told, send_b);
    assert_false(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, "may not"));
    bailey_told_works(&told, send_a);
    assert_true(bailey_told_connected(&told, send_a));
    assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, "may not"));
}

/* The same words for two ends are one event, and neither is told that it is connected. */
static void two_ends_may_be_refused_alike(void **state)
{
    struct bailey_told told = {0};

    (void)state;
    assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, "may not"));
    assert_false(bailey_told_failure(&told, send_b, BAILEY_TOLD_REFUSED, "may not"));
    assert_false(bailey_told_connected(&told, send_b));
}

static void a_loss_is_answered_once(void **state)
{
    struct bailey_told told = {0};

    (void)state;
    assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_BEHIND, "reset"));
    assert_true(bailey_told_connected(&told, send_a));
    assert_false(bailey_told_failure(&told, send_a, BAILEY_TOLD_BEHIND, "reset"));
    assert_false(bailey_told_connected(&told, send_a));
}

static void what_is_remembered_is_bounded(void **state)
{
    struct bailey_told told = {0};
    char text[300];

    (void)state;
    for (int i = 0; i < 3 * BAILEY_TOLD_MAX; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, text));
        assert_false(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, text));
    }
    assert_int_equal(told.count, BAILEY_TOLD_MAX);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_true(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, text));
    assert_false(bailey_told_failure(&told, send_a, BAILEY_TOLD_REFUSED, text)); /* though it does not fit */
    bailey_told_works(&told, send_a);
    assert_int_equal(told.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fails_before_the_login_is_the_brokers),
        cmocka_unit_test(a_refusal_is_over_when_its_end_works),
        cmocka_unit_test(two_ends_may_be_refused_alike),
        cmocka_unit_test(a_loss_is_answered_once),
        cmocka_unit_test(what_is_remembered_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
