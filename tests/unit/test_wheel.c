/* loop/wheel.c: order, precision, and a comparison with a plain list over random starts, stops and steps of time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "loop/wheel.h"

enum { TIMERS = 64 };

static struct wheel wheel;
static int fired[256], fired_count;
static int64_t fired_at[256];

static void note(struct bailey_timer *timer)
{
    fired_at[fired_count] = wheel.now_ms;
    fired[fired_count++] = (int)(intptr_t)timer->ctx;
}

static struct bailey_timer a_timer(int number)
{
    return (struct bailey_timer){.fire = note, .ctx = (void *)(intptr_t)number};
}

static int begin_at_seventy_seconds(void **state)
{
    (void)state;
    wheel_init(&wheel, 70000);
    fired_count = 0;
    return 0;
}

static void a_timer_fires_at_its_millisecond_and_not_before(void **state)
{
    static const int64_t delays[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 262143, 262144, 3600000, 86400000};

    (void)state;
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        struct bailey_timer timer = a_timer(1);
        int64_t due_ms = wheel.now_ms + delays[i];

        fired_count = 0;
        wheel_start(&wheel, &timer, due_ms);
        wheel_advance(&wheel, due_ms - 1);
        assert_int_equal(fired_count, 0);
        wheel_advance(&wheel, due_ms);
        assert_int_equal(fired_count, 1);
    }
}

static void timers_fire_in_order_of_time_whatever_the_order_of_starting(void **state)
{
    struct bailey_timer timers[4] = {a_timer(0), a_timer(1), a_timer(2), a_timer(3)};

    (void)state;
    wheel_start(&wheel, &timers[3], 70000 + 5000);
    wheel_start(&wheel, &timers[1], 70000 + 90);
    wheel_start(&wheel, &timers[2], 70000 + 91);
    wheel_start(&wheel, &timers[0], 70000 + 3);
    wheel_advance(&wheel, 80000);
    assert_int_equal(fired_count, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fired[i], i);
}

static void a_stopped_timer_does_not_fire_and_a_restarted_one_moves(void **state)
{
    struct bailey_timer stopped = a_timer(1), moved = a_timer(2);

    (void)state;
    wheel_start(&wheel, &stopped, 70010);
    wheel_start(&wheel, &moved, 70010);
    wheel_stop(&stopped);
    assert_false(wheel_is_running(&stopped));
    wheel_start(&wheel, &moved, 70500);
    wheel_advance(&wheel, 70499);
    assert_int_equal(fired_count, 0);
    wheel_advance(&wheel, 70500);
    assert_int_equal(fired_count, 1);
    assert_int_equal(fired[0], 2);
}

static struct bailey_timer again;

static void start_again(struct bailey_timer *timer)
{
    fired_count++;
    wheel_start(&wheel, timer, wheel.now_ms);
}

static void a_timer_without_delay_from_its_own_callback_waits_for_the_next_advance(void **state)
{
    (void)state;
    again = (struct bailey_timer){.fire = start_again};
    wheel_start(&wheel, &again, 70001);
    wheel_advance(&wheel, 70001);
    assert_int_equal(fired_count, 1);
    assert_int_equal(wheel_next_ms(&wheel), 70001);
    wheel_advance(&wheel, 70001);
    assert_int_equal(fired_count, 2);
}

static void the_next_time_is_never_after_the_first_timer(void **state)
{
    struct bailey_timer timer = a_timer(1);

    (void)state;
    assert_int_equal(wheel_next_ms(&wheel), -1);
    wheel_start(&wheel, &timer, 70000 + 100000);
    while (fired_count == 0) {
        int64_t next_ms = wheel_next_ms(&wheel);

        assert_true(next_ms > wheel.now_ms || fired_count > 0);
        assert_true(next_ms <= 170000);
        wheel_advance(&wheel, next_ms);
    }
    assert_int_equal(wheel.now_ms, 170000);
    assert_int_equal(wheel_next_ms(&wheel), -1);
}

static int64_t up_to_bits(int bits)
{
    return ((int64_t)rand() << 31 | rand()) & ((INT64_C(1) << rand() % bits) - 1);
}

/* When the first of these fires; INT64_MAX: none runs. */
static int64_t first_of(const int64_t due[TIMERS])
{
    int64_t first = INT64_MAX;

    for (int i = 0; i < TIMERS; i++)
        if (due[i] >= 0 && due[i] < first)
            first = due[i];
    return first;
}

static void must_fire_those_due(int64_t due[TIMERS], int64_t now_ms)
{
    fired_count = 0;
    wheel_advance(&wheel, now_ms);
    assert_int_equal(wheel.now_ms, now_ms);
    for (int i = 0; i < fired_count; i++) {
        assert_int_equal(fired_at[i], due[fired[i]]);
        assert_int_equal(due[fired[i]], first_of(due)); /* in order */
        due[fired[i]] = -1;
    }
    assert_true(first_of(due) > now_ms); /* none is left */
}

/* The same steps on the wheel and on an array of due times. */
static void it_agrees_with_a_plain_list_on_random_steps(void **state)
{
    static struct bailey_timer timers[TIMERS];
    int64_t due[TIMERS];

    (void)state;
    srand(7);
    for (int i = 0; i < TIMERS; i++) {
        timers[i] = a_timer(i);
        due[i] = -1;
    }
    for (int step = 0; step < 1000000; step++) {
        int i = rand() % TIMERS;

        if (rand() % 3) {
            due[i] = wheel.now_ms + 1 + up_to_bits(36);
            wheel_start(&wheel, &timers[i], due[i]);
        } else {
            due[i] = -1;
            wheel_stop(&timers[i]);
        }
        int64_t next_ms = wheel_next_ms(&wheel), first_ms = first_of(due);
        assert_true(first_ms == INT64_MAX ? next_ms == -1 : next_ms > wheel.now_ms && next_ms <= first_ms);
        if (rand() % 4 == 0)
            must_fire_those_due(due, wheel.now_ms + up_to_bits(32));
        else if (next_ms > 0 && rand() % 4 == 0)
            must_fire_those_due(due, next_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_timer_fires_at_its_millisecond_and_not_before, begin_at_seventy_seconds),
        cmocka_unit_test_setup(timers_fire_in_order_of_time_whatever_the_order_of_starting, begin_at_seventy_seconds),
        cmocka_unit_test_setup(a_stopped_timer_does_not_fire_and_a_restarted_one_moves, begin_at_seventy_seconds),
        cmocka_unit_test_setup(a_timer_without_delay_from_its_own_callback_waits_for_the_next_advance,
                               begin_at_seventy_seconds),
        cmocka_unit_test_setup(the_next_time_is_never_after_the_first_timer, begin_at_seventy_seconds),
        cmocka_unit_test_setup(it_agrees_with_a_plain_list_on_random_steps, begin_at_seventy_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
