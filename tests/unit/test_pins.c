/* loop/pins: a message lives exactly as long as bytes of it may be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loop/pins.h"
#include "message/pool.h"

enum { MANY = 1000 };

static struct bailey_pool *pool;
static unsigned released; /* messages whose last reference has gone */

static void note_release(void *owner, void *cookie)
{
    (void)owner;
    assert_int_equal((uintptr_t)cookie, released); /* in order */
    released++;
}

/* Only the pins hold it. */
static void pin_one(struct pins *pins, unsigned number, uint64_t end)
{
    struct bailey_message *msg = message_new(pool);

    bailey_message_keep(msg, note_release, NULL, (void *)(uintptr_t)number);
    pins_add(pins, msg, end);
    bailey_message_unref(msg);
}

static int begin(void **state)
{
    (void)state;
    pool = message_pool_new();
    released = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    message_pool_free(pool);
    return 0;
}

static void a_message_is_let_go_with_its_last_byte(void **state)
{
    struct pins pins = {0};

    (void)state;
    pin_one(&pins, 0, 100);
    pin_one(&pins, 1, 100);
    pin_one(&pins, 2, 250);
    pins_release(&pins, 99);
    assert_int_equal(released, 0);
    pins_release(&pins, 100);
    assert_int_equal(released, 2);
    pins_release(&pins, 249);
    assert_int_equal(released, 2);
    pins_release(&pins, UINT64_MAX);
    assert_int_equal(released, 3);
    pins_free(&pins);
}

/* Under load something always waits: what has left must not pile up. */
static void what_has_left_takes_no_room(void **state)
{
    struct pins pins = {0};

    (void)state;
    pin_one(&pins, 0, 1);
    for (unsigned i = 1; i < MANY; i++) {
        pin_one(&pins, i, i + 1);
        pins_release(&pins, i);
        assert_int_equal(released, i);
    }
    assert_in_range(pins.cap, 2, 256);
    pins_release(&pins, MANY);
    assert_int_equal(released, MANY);
    pins_free(&pins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_is_let_go_with_its_last_byte, begin, end),
        cmocka_unit_test_setup_teardown(what_has_left_takes_no_room, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
