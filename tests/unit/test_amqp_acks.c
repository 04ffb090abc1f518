/* Acknowledgements in as few frames as the order allows, checked against a model of RabbitMQ's channel; and the
 * window of what is published and unconfirmed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/amqp/acks.h"
#include "connectors/amqp/window.h"

enum { TAGS = 3000 };

static void deliver(struct amq_acks *acks, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        amq_acks_deliver(acks, 7);
}

static void a_settled_prefix_is_one_frame(void **state)
{
    struct amq_acks acks = {0};
    struct amq_ack ack;

    (void)state;
    amq_acks_reset(&acks);
    deliver(&acks, 1000);
    for (uint64_t tag = 600; tag >= 1; tag--)
        amq_acks_settle(&acks, tag, AMQ_SETTLED_ACK);
    assert_true(amq_acks_next(&acks, false, &ack));
    assert_int_equal(ack.tag, 600);
    assert_true(ack.multiple);
    assert_false(amq_acks_next(&acks, false, &ack));
    assert_int_equal(amq_acks_outstanding(&acks), 400);
    amq_acks_free(&acks);
}

static void beyond_a_hole_singly_and_only_when_asked(void **state)
{
    struct amq_acks acks = {0};
    struct amq_ack ack;

    (void)state;
    amq_acks_reset(&acks);
    deliver(&acks, 5);
    amq_acks_settle(&acks, 2, AMQ_SETTLED_ACK);
    amq_acks_settle(&acks, 4, AMQ_SETTLED_ACK);
    assert_false(amq_acks_next(&acks, false, &ack));
    assert_true(amq_acks_waiting(&acks));
    assert_true(amq_acks_next(&acks, true, &ack));
    assert_int_equal(ack.tag, 2);
    assert_false(ack.multiple);
    assert_true(amq_acks_next(&acks, true, &ack));
    assert_int_equal(ack.tag, 4);
    assert_false(amq_acks_next(&acks, true, &ack));
    assert_int_equal(amq_acks_outstanding(&acks), 3);

    /* 1 and 3 close the holes: `multiple` must name 3, for 4 is told already. */
    amq_acks_settle(&acks, 1, AMQ_SETTLED_ACK);
    amq_acks_settle(&acks, 3, AMQ_SETTLED_ACK);
    assert_true(amq_acks_next(&acks, false, &ack));
    assert_int_equal(ack.tag, 3);
    assert_true(ack.multiple);
    assert_int_equal(amq_acks_outstanding(&acks), 1);
    amq_acks_free(&acks);
}

static void a_rejected_one_is_told_by_itself(void **state)
{
    struct amq_acks acks = {0};
    struct amq_ack ack;

    (void)state;
    amq_acks_reset(&acks);
    deliver(&acks, 3);
    amq_acks_settle(&acks, 1, AMQ_SETTLED_ACK);
    amq_acks_settle(&acks, 2, AMQ_SETTLED_REJECT);
    amq_acks_settle(&acks, 3, AMQ_SETTLED_ACK);
    assert_true(amq_acks_next(&acks, false, &ack));
    assert_true(ack.tag == 1 && !ack.multiple && !ack.reject);
    assert_true(amq_acks_next(&acks, false, &ack));
    assert_true(ack.tag == 2 && ack.reject);
    assert_true(amq_acks_next(&acks, false, &ack));
    assert_true(ack.tag == 3 && !ack.reject);
    assert_false(amq_acks_next(&acks, true, &ack));
    assert_int_equal(amq_acks_outstanding(&acks), 0);
    amq_acks_free(&acks);
}

static void strange_settlements_are_ignored(void **state)
{
    struct amq_acks acks = {0};
    struct amq_ack ack;
    uint32_t second;

    (void)state;
    amq_acks_reset(&acks);
    amq_acks_settle(&acks, 1, AMQ_SETTLED_ACK);
    assert_false(amq_acks_oldest(&acks, &second));
    deliver(&acks, 2);
    assert_true(amq_acks_oldest(&acks, &second));
    assert_int_equal(second, 7);
    amq_acks_settle(&acks, 0, AMQ_SETTLED_ACK);
    amq_acks_settle(&acks, 3, AMQ_SETTLED_ACK);
    assert_false(amq_acks_next(&acks, true, &ack));
    amq_acks_settle(&acks, 1, AMQ_SETTLED_ACK);
    amq_acks_settle(&acks, 1, AMQ_SETTLED_REJECT);
    assert_true(amq_acks_next(&acks, true, &ack));
    assert_false(amq_acks_next(&acks, true, &ack));
    amq_acks_settle(&acks, 1, AMQ_SETTLED_ACK);
    assert_false(amq_acks_next(&acks, true, &ack));
    amq_acks_free(&acks);
}

/* RabbitMQ's side: a tag that is named must be outstanding, with or without `multiple`. */
struct model {
    bool outstanding[TAGS + 1], settled[TAGS + 1];
};

static void apply(struct model *model, const struct amq_ack *ack)
{
    assert_true(model->outstanding[ack->tag]);
    for (uint64_t tag = ack->multiple ? 1 : ack->tag; tag <= ack->tag; tag++) {
        if (!model->outstanding[tag])
            continue;
        assert_true(model->settled[tag]);
        model->outstanding[tag] = false;
    }
}

static void in_any_order_every_settled_one_is_told_once(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        static struct model model;
        struct amq_acks acks = {0};
        struct amq_ack ack;
        unsigned delivered = 0, random = seed, left = 0;

        memset(&model, 0, sizeof model);
        amq_acks_reset(&acks);
        for (int step = 0; step < 6000; step++) {
            random = random * 1664525 + 1013904223;
            unsigned dice = random >> 16;

            if (dice % 3 == 0 && delivered < TAGS) {
                amq_acks_deliver(&acks, 0);
                model.outstanding[++delivered] = true;
            } else if (dice % 3 == 1 && delivered > 0) {
                unsigned tag = 1 + dice / 3 % delivered;

                if (tag % 97 != 0) { /* those are never settled */
                    amq_acks_settle(&acks, tag, tag % 31 == 0 ? AMQ_SETTLED_REJECT : AMQ_SETTLED_ACK);
                    model.settled[tag] = true;
                }
            } else if (amq_acks_next(&acks, dice % 7 == 0, &ack)) {
                assert_int_equal(ack.reject, ack.tag % 31 == 0);
                apply(&model, &ack);
            }
        }
        while (amq_acks_next(&acks, true, &ack))
            apply(&model, &ack);
        for (unsigned tag = 1; tag <= delivered; tag++) {
            assert_int_equal(model.outstanding[tag], !model.settled[tag]);
            left += model.outstanding[tag];
        }
        assert_int_equal(amq_acks_outstanding(&acks), left);
        amq_acks_free(&acks);
    }
}

/* ---- The window ---- */

static struct bailey_delivery *fake(uintptr_t number)
{
    return (struct bailey_delivery *)number;
}

static void the_window_names_the_tags_of_a_confirm(void **state)
{
    struct amq_window window = {0};
    uint64_t first, last;
    bool returned;

    (void)state;
    amq_window_reset(&window);
    assert_false(amq_window_range(&window, 1, false, &first, &last));
    assert_false(amq_window_range(&window, 1, true, &first, &last));
    for (uintptr_t i = 1; i <= 1000; i++)
        amq_window_push(&window, fake(i));
    assert_true(amq_window_range(&window, 500, false, &first, &last));
    assert_true(first == 500 && last == 500);
    assert_ptr_equal(amq_window_take(&window, 500, &returned), fake(500));
    assert_null(amq_window_take(&window, 500, &returned));
    assert_int_equal(window.base, 1);
    assert_true(amq_window_range(&window, 700, true, &first, &last));
    assert_true(first == 1 && last == 700);
    for (uint64_t tag = first; tag <= last; tag++)
        amq_window_take(&window, tag, &returned);
    assert_int_equal(window.base, 701);
    assert_int_equal(window.count, 300);
    assert_false(amq_window_range(&window, 700, false, &first, &last)); /* twice */
    assert_false(amq_window_range(&window, 1001, true, &first, &last)); /* never sent */
    assert_true(amq_window_range(&window, 0, true, &first, &last));
    assert_true(first == 701 && last == 1000);
    for (uint64_t tag = first; tag <= last; tag++)
        amq_window_take(&window, tag, &returned);
    assert_int_equal(window.count, 0);
    amq_window_free(&window);
}

static void a_returned_one_stays_marked_while_the_window_grows(void **state)
{
    struct amq_window window = {0};
    bool returned;

    (void)state;
    amq_window_reset(&window);
    for (uintptr_t i = 1; i <= 50; i++)
        amq_window_push(&window, fake(i));
    amq_window_mark_returned(&window, 7);
    assert_int_equal(window.return_from, 8);
    for (uintptr_t i = 51; i <= 500; i++)
        amq_window_push(&window, fake(i));
    assert_true(amq_window_is_returned(&window, 7));
    amq_window_take(&window, 6, &returned);
    assert_false(returned);
    amq_window_take(&window, 7, &returned);
    assert_true(returned);
    for (uint64_t tag = 1; tag <= 500; tag++)
        amq_window_take(&window, tag, &returned);
    amq_window_free(&window);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_settled_prefix_is_one_frame),
        cmocka_unit_test(beyond_a_hole_singly_and_only_when_asked),
        cmocka_unit_test(a_rejected_one_is_told_by_itself),
        cmocka_unit_test(strange_settlements_are_ignored),
        cmocka_unit_test(in_any_order_every_settled_one_is_told_once),
        cmocka_unit_test(the_window_names_the_tags_of_a_confirm),
        cmocka_unit_test(a_returned_one_stays_marked_while_the_window_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
