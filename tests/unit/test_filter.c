/* core/filter.h and core/id.h: what is remembered, for how long, and how often a new id looks known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/filter.h"

static const struct id_key key = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

static struct id id_number(uint64_t number)
{
    return id_of(&key, (struct bailey_bytes){(const uint8_t *)&number, sizeof number});
}

static size_t known(const struct filter *filter, uint64_t from, uint64_t to)
{
    size_t count = 0;

    for (uint64_t i = from; i < to; i++)
        count += filter_may_have(filter, id_number(i));
    return count;
}

/* ---- Ids ---- */

static void the_hash_is_siphash_2_4_with_128_bits(void **state)
{
    /* The first two vectors of the reference implementation (vectors_sip128: inputs of length 0 and 1, key 00..0f). */
    static const uint8_t expected[2][16] = {
        {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93},
        {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45},
    };

    (void)state;
    for (size_t len = 0; len < 2; len++) {
        struct id id = id_of(&key, (struct bailey_bytes){(const uint8_t *)"", len});

        assert_memory_equal(&id, expected[len], sizeof id);
    }
}

static void scopes_do_not_share_ids(void **state)
{
    struct id_key a = id_scope_key(&key, "route.a"), b = id_scope_key(&key, "route.b"),
                  again = id_scope_key(&key, "route.a");
    struct bailey_bytes text = bailey_bytes_of("42");

    (void)state;
    assert_false(id_equal(id_of(&a, text), id_of(&b, text)));
    assert_true(id_equal(id_of(&a, text), id_of(&again, text)));
    assert_false(id_equal(id_of(&a, text), id_of(&a, bailey_bytes_of("43"))));
}

static void owners_share_the_ids_evenly(void **state)
{
    enum { OWNERS = 7, IDS = 70000 };
    size_t owned[OWNERS] = {0};

    (void)state;
    for (uint64_t i = 0; i < IDS; i++)
        owned[id_owner(id_number(i), OWNERS)]++;
    for (int i = 0; i < OWNERS; i++)
        assert_in_range(owned[i], IDS / OWNERS * 9 / 10, IDS / OWNERS * 11 / 10);
    assert_int_equal(id_owner(id_number(1), 1), 0);
}

/* ---- The filter ---- */

static void what_was_added_is_known_and_little_else(void **state)
{
    enum { IDS = 200000 };
    struct filter *filter = filter_new(86400000, 1000000);

    (void)state;
    assert_int_equal(known(filter, 0, 1000), 0);
    for (uint64_t i = 0; i < IDS; i++)
        filter_add(filter, id_number(i), 1000);
    assert_int_equal(known(filter, 0, IDS), IDS);
    assert_true(known(filter, IDS, 2 * IDS) < IDS / 100);
    assert_true(filter_size(filter) < IDS * 4); /* bytes: 2 an id, and what the last generation has left */
    filter_free(filter);
}

static void an_id_is_known_for_the_window_and_a_quarter_longer_at_most(void **state)
{
    enum { WINDOW = 1000, STEPS = 5000 };
    struct filter *filter = filter_new(WINDOW, 1000000);

    (void)state;
    for (int64_t now = 0; now < STEPS; now++) {
        filter_expire(filter, now);
        filter_add(filter, id_number((uint64_t)now), now);
        for (int64_t age = 0; age <= WINDOW && age <= now; age += 50)
            assert_true(filter_may_have(filter, id_number((uint64_t)(now - age))));
        if (now > 3 * WINDOW)
            assert_in_range(filter_expire(filter, now), now - WINDOW - WINDOW / 4 - 1, now);
    }
    assert_true(known(filter, 0, STEPS - WINDOW - WINDOW / 4 - 2) < 200);
    assert_int_equal(filter_expire(filter, STEPS + 2 * WINDOW), -1);
    assert_int_equal(known(filter, 0, STEPS), 0);
    filter_free(filter);
}

static void the_newest_max_ids_are_known_and_a_quarter_more_at_most(void **state)
{
    enum { MAX = 40000, IDS = 300000 };
    struct filter *filter = filter_new(86400000, MAX);

    (void)state;
    for (uint64_t i = 0; i < IDS; i++) {
        filter_add(filter, id_number(i), (int64_t)i);
        filter_expire(filter, (int64_t)i);
        if (i % 1000 == 999 && i >= MAX)
            assert_int_equal(known(filter, i + 1 - MAX, i + 1), MAX);
    }
    int64_t oldest = filter_expire(filter, IDS);
    assert_in_range(oldest, IDS - MAX - MAX / 4 - 1, IDS - MAX);
    assert_true(known(filter, 0, (uint64_t)oldest) < IDS / 50);
    assert_true(filter_size(filter) < MAX * 4);
    filter_free(filter);
}

/* Bursts between quiet times: generations of all sizes, and nothing is forgotten early. */
static void bursts_forget_nothing(void **state)
{
    enum { WINDOW = 4000, MAX = 200000, ROUNDS = 60 };
    struct filter *filter = filter_new(WINDOW, MAX);
    uint64_t next = 0, first_of[ROUNDS + 1];
    int64_t now = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++, now += 500) {
        size_t burst = round % 3 == 0 ? 11000 : round % 7 == 0 ? 0 : 10;

        first_of[round] = next;
        for (size_t i = 0; i < burst; i++)
            filter_add(filter, id_number(next++), now);
        filter_expire(filter, now);
        int oldest = round - WINDOW / 500 < 0 ? 0 : round - WINDOW / 500; /* added within the window */
        assert_int_equal(known(filter, first_of[oldest], next), next - first_of[oldest]);
    }
    filter_free(filter);
}

static void a_filled_filter_knows_what_the_old_one_knew(void **state)
{
    enum { WINDOW = 100000, IDS = 100000, NOW = 150000 };
    struct filter *filter = filter_new(WINDOW, 1000000);

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < IDS; i++) { /* in an order that has nothing to do with their time: 0 ... 99,999 */
            uint64_t number = i * 7919 % IDS;

            if (round == 0)
                filter_count(filter, (int64_t)number, NOW);
            else
                filter_fill(filter, id_number(number), (int64_t)number, NOW);
        }
        if (round == 0)
            filter_counted(filter);
    }
    assert_int_equal(known(filter, NOW - WINDOW, IDS), IDS - (NOW - WINDOW));
    assert_true(known(filter, 0, NOW - WINDOW) < 1000); /* too old */
    assert_in_range(filter_expire(filter, NOW), NOW - WINDOW, NOW - WINDOW + WINDOW / 4);
    for (uint64_t i = 0; i < 1000; i++)
        filter_add(filter, id_number(IDS + i), NOW);
    assert_int_equal(known(filter, IDS, IDS + 1000), 1000);
    assert_int_equal(known(filter, NOW - WINDOW, IDS), IDS - (NOW - WINDOW));
    filter_expire(filter, NOW + WINDOW / 2);
    assert_int_equal(known(filter, NOW - WINDOW / 2, IDS), IDS - (NOW - WINDOW / 2));
    assert_true(known(filter, NOW - WINDOW, NOW - WINDOW + WINDOW / 4) < 1000);
    filter_free(filter);
}

static void tiny_windows_and_counts_work(void **state)
{
    struct filter *filter = filter_new(1, 1);

    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        filter_add(filter, id_number(i), (int64_t)i / 10);
        assert_true(filter_may_have(filter, id_number(i)));
        filter_expire(filter, (int64_t)i / 10);
    }
    assert_true(filter_size(filter) < 1 << 20);
    filter_free(filter);
    filter_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_siphash_2_4_with_128_bits),
        cmocka_unit_test(scopes_do_not_share_ids),
        cmocka_unit_test(owners_share_the_ids_evenly),
        cmocka_unit_test(what_was_added_is_known_and_little_else),
        cmocka_unit_test(an_id_is_known_for_the_window_and_a_quarter_longer_at_most),
        cmocka_unit_test(the_newest_max_ids_are_known_and_a_quarter_more_at_most),
        cmocka_unit_test(bursts_forget_nothing),
        cmocka_unit_test(a_filled_filter_knows_what_the_old_one_knew),
        cmocka_unit_test(tiny_windows_and_counts_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
