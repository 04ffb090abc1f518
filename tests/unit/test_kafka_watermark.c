/* The watermark of a partition: against a model that is too simple to be wrong, with gaps, settlement in any order, and
 * partitions that change hands. What must never happen is that something is committed that was not settled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/kafka/watermark.h"

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

static void starts_unknown_or_known(void **state)
{
    struct watermark mark;

    (void)state;
    watermark_init(&mark, WATERMARK_UNKNOWN);
    assert_int_equal(mark.low, WATERMARK_UNKNOWN);
    assert_true(watermark_add(&mark, 7));
    assert_int_equal(mark.low, WATERMARK_UNKNOWN); /* nothing is settled: nothing may be committed */
    assert_true(watermark_settle(&mark, 7));
    assert_int_equal(mark.low, 8);
    watermark_fini(&mark);

    watermark_init(&mark, 100);
    assert_int_equal(mark.low, 100);
    assert_false(watermark_add(&mark, 99)); /* below the start */
    watermark_fini(&mark);
}

static void ignores_what_it_does_not_know(void **state)
{
    struct watermark mark;

    (void)state;
    watermark_init(&mark, 0);
    assert_false(watermark_settle(&mark, 0));
    assert_true(watermark_add(&mark, 5));
    assert_true(watermark_add(&mark, 9));
    assert_false(watermark_add(&mark, 9)); /* twice */
    assert_false(watermark_add(&mark, 6)); /* backwards */
    assert_false(watermark_settle(&mark, 4));
    assert_false(watermark_settle(&mark, 7)); /* in a gap */
    assert_false(watermark_settle(&mark, 10));
    assert_false(watermark_settle(&mark, -1));
    assert_true(watermark_settle(&mark, 9));
    assert_false(watermark_settle(&mark, 9)); /* once only */
    assert_int_equal(mark.low, 0);
    assert_true(watermark_settle(&mark, 5));
    assert_int_equal(mark.low, 10);
    assert_false(watermark_settle(&mark, 5));
    watermark_fini(&mark);
}

static void refuses_offsets_that_cannot_be(void **state)
{
    struct watermark mark;

    (void)state;
    watermark_init(&mark, 0);
    assert_false(watermark_add(&mark, INT64_MAX));
    assert_false(watermark_add(&mark, -5));
    assert_true(watermark_add(&mark, INT64_MAX / 2));
    assert_true(watermark_settle(&mark, INT64_MAX / 2));
    watermark_fini(&mark);
}

static void settles_backwards(void **state)
{
    enum { COUNT = 10000 };
    struct watermark mark;

    (void)state;
    watermark_init(&mark, 0);
    for (int64_t i = 0; i < COUNT; i++)
        assert_true(watermark_add(&mark, i));
    for (int64_t i = COUNT - 1; i > 0; i--) {
        assert_true(watermark_settle(&mark, i));
        assert_int_equal(mark.low, 0);
    }
    assert_true(watermark_settle(&mark, 0));
    assert_int_equal(mark.low, COUNT);
    assert_int_equal(mark.count, 0);
    watermark_fini(&mark);
}

/* ---- Against a model ---- */

enum { LOG = 3000, WINDOW = 200 };

struct model {
    bool exists[LOG]; /* a record has this offset; the rest are gaps */
    bool out[LOG];
    bool settled[LOG];
};

/* The first offset that is out and not settled, or `next`. */
static int64_t model_low(const struct model *model, int64_t start, int64_t next)
{
    int64_t low = start;

    for (int64_t i = start; i < next; i++) {
        if (model->out[i] && !model->settled[i])
            break;
        if (model->out[i])
            low = i + 1;
    }
    return low;
}

static void agrees_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct model model = {0};
        struct watermark mark;
        int64_t next = 0, before = 0;
        uint32_t gap = draw(10), left = 0;

        random_state = seed;
        for (int i = 0; i < LOG; i++)
            model.exists[i] = draw(10) >= gap;
        watermark_init(&mark, 0);
        while (next < LOG || left > 0) {
            if (next < LOG && left < WINDOW && draw(2) == 0) {
                if (model.exists[next]) {
                    assert_true(watermark_add(&mark, next));
                    model.out[next] = true;
                    left++;
                }
                next++;
            } else if (left > 0) {
                int64_t any = next - 1 - draw((uint32_t)(next < 2 * WINDOW ? next : 2 * WINDOW));
                bool is_out = model.out[any] && !model.settled[any];

                if (!is_out && draw(4) > 0) /* often the oldest: else the window hardly moves */
                    for (any = before; !(model.out[any] && !model.settled[any]); any++)
                        ;
                is_out = model.out[any] && !model.settled[any];
                assert_int_equal(watermark_settle(&mark, any), is_out);
                model.settled[any] |= is_out;
                left -= is_out;
            }
            assert_int_equal(mark.low, model_low(&model, 0, next));
            assert_true(mark.low >= before); /* never backwards */
            before = mark.low;
        }
        watermark_fini(&mark);
    }
}

/* A partition goes from owner to owner; each begins at the offset committed last, may commit at any time, settles in any
 * order, and loses the partition at any time, sometimes without a last commit. */
static void survives_rebalances(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct model model = {0};
        int64_t committed = 0, last = 0;

        random_state = seed * 77;
        for (int i = 0; i < LOG; i++) {
            model.exists[i] = draw(5) > 0;
            if (model.exists[i])
                last = i + 1;
        }
        for (int owner = 0; committed < last && owner < 100000; owner++) {
            struct watermark mark;
            int64_t next = committed;
            int64_t window[WINDOW];
            uint32_t count = 0, steps = draw(400);

            watermark_init(&mark, committed);
            while (steps-- > 0) {
                if (next < LOG && count < WINDOW && draw(2) == 0) {
                    if (model.exists[next]) {
                        assert_true(watermark_add(&mark, next));
                        window[count++] = next;
                    }
                    next++;
                } else if (count > 0) {
                    uint32_t pick = draw(3) > 0 ? 0 : draw(count);

                    model.settled[window[pick]] = true;
                    assert_true(watermark_settle(&mark, window[pick]));
                    window[pick] = window[--count];
                }
                if (draw(20) == 0 && mark.low > committed)
                    committed = mark.low;
                for (int64_t i = 0; i < committed; i++) /* the promise */
                    assert_true(!model.exists[i] || model.settled[i]);
            }
            if (draw(2) == 0 && mark.low > committed) /* revoked in good order: a last commit */
                committed = mark.low;
            watermark_fini(&mark);
        }
        assert_int_equal(committed, last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_unknown_or_known),        cmocka_unit_test(ignores_what_it_does_not_know),
        cmocka_unit_test(refuses_offsets_that_cannot_be), cmocka_unit_test(settles_backwards),
        cmocka_unit_test(agrees_with_the_model),          cmocka_unit_test(survives_rebalances),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
