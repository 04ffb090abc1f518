/* stores/slices: what is put is found again, from memory, from runs, from merged runs, after an opening; and it expires. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "slices_rig.h"

static struct slices_rig rig;

static int setup(void **state)
{
    (void)state;
    slices_rig_init(&rig);
    slices_rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    slices_rig_fini(&rig);
    return 0;
}

static void reopen(void)
{
    slices_rig_close(&rig);
    slices_rig_open(&rig);
}

static void what_is_put_is_found(void **state)
{
    (void)state;
    slices_rig_put(&rig, rig.seen, 0, 10, 5, 'a');
    slices_rig_put(&rig, rig.intents, 100, 10, 5, 'i');
    assert_int_equal(slices_rig_count(rig.seen, 0, 20, 'a'), 10);
    assert_int_equal(slices_rig_count(rig.intents, 90, 30, 'i'), 10);
    assert_int_equal(slices_rig_count(rig.seen, 100, 10, -1), 0);
    slices_rig_erase(&rig, rig.intents, 100, 4);
    assert_int_equal(slices_rig_count(rig.intents, 100, 10, 'i'), 6);
    assert_int_equal(slices_rig_scan(rig.intents), 6);
    assert_int_equal(slices_rig_scan(rig.seen), 10);
}

static void it_is_there_after_an_opening_without_a_sync(void **state)
{
    (void)state;
    slices_rig_put(&rig, rig.seen, 0, 10, 5, 'a');
    slices_rig_put(&rig, rig.seen, 5, 10, 6, 'b');
    slices_rig_put(&rig, rig.intents, 0, 10, 5, 'i');
    slices_rig_erase(&rig, rig.intents, 0, 9);
    for (int i = 0; i < 3; i++) {
        reopen();
        assert_int_equal(slices_rig_count(rig.seen, 0, 20, 'a'), 5);
        assert_int_equal(slices_rig_count(rig.seen, 0, 20, 'b'), 10);
        assert_int_equal(slices_rig_count(rig.intents, 0, 20, 'i'), 1);
    }
}

/* 20 slices of 500 records, in memory 100 of them. */
static void fill(uint64_t first, int64_t begin_ms, uint8_t mark)
{
    for (uint64_t i = 0; i < 10000; i += 50)
        slices_rig_put(&rig, rig.seen, first + i, 50, begin_ms + (int64_t)i * 2, mark);
}

static void memory_becomes_runs_and_runs_of_a_slice_become_one(void **state)
{
    struct bailey_store_stats stats;

    (void)state;
    fill(0, 0, 'a');
    slices_rig_put(&rig, rig.intents, 0, 10, 5, 'i');
    assert_true(keeper_settle(rig.store));
    assert_int_equal(slices_rig_count(rig.seen, 0, 11000, 'a'), 10000);
    assert_int_equal(slices_rig_scan(rig.seen), 10000);
    assert_in_range(slices_rig_files(&rig, ".run"), 15, 24 + 4);
    assert_in_range(slices_rig_files(&rig, ".log"), 1, 2);
    assert_int_equal(slices_rig_files(&rig, ".new"), 0);
    slices()->stats(rig.store, &stats);
    assert_in_range(stats.disk_bytes, 25 * 10000, 25 * 10000 * 3 / 2);
    assert_in_range(stats.memory_bytes, 25 * 100, 128 * 1024);
    reopen();
    assert_int_equal(slices_rig_count(rig.seen, 0, 11000, 'a'), 10000);
    assert_int_equal(slices_rig_count(rig.intents, 0, 20, 'i'), 10);
}

static void the_last_of_several_counts(void **state)
{
    (void)state;
    fill(0, 0, 'a');
    fill(2500, 20000, 'b');
    slices_rig_put(&rig, rig.seen, 0, 10, 40000, 'c');
    for (int i = 0; i < 2; i++) {
        assert_true(keeper_settle(rig.store));
        assert_int_equal(slices_rig_count(rig.seen, 0, 20000, 'a'), 2490);
        assert_int_equal(slices_rig_count(rig.seen, 0, 20000, 'b'), 10000);
        assert_int_equal(slices_rig_count(rig.seen, 0, 20000, 'c'), 10);
        reopen();
    }
}

static void expire(int64_t before_ms)
{
    struct bailey_error err = {0};

    assert_true(slices()->expire(rig.seen, before_ms, &err));
}

static void what_is_older_than_a_slice_more_is_gone(void **state)
{
    size_t runs;

    (void)state;
    fill(0, 0, 'a'); /* 500 a second */
    assert_true(keeper_settle(rig.store));
    runs = slices_rig_files(&rig, ".run");
    expire(10000);
    assert_int_equal(slices_rig_count(rig.seen, 0, 4500, -1), 0);
    assert_int_equal(slices_rig_count(rig.seen, 5000, 5000, 'a'), 5000);
    assert_true(keeper_settle(rig.store));
    assert_in_range(slices_rig_files(&rig, ".run"), 5, runs - 7);
    expire(20000); /* all, also what is in memory; only a slice that reaches beyond may stay */
    assert_int_equal(slices_rig_count(rig.seen, 0, 9500, -1), 0);
    expire(21000);
    assert_int_equal(slices_rig_count(rig.seen, 0, 10000, -1), 0);
    assert_int_equal(slices_rig_scan(rig.seen), 0);
    assert_true(keeper_settle(rig.store));
    assert_int_equal(slices_rig_files(&rig, ".run"), 0);
}

static void memory_alone_expires_too(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        slices_rig_put(&rig, rig.seen, (uint64_t)i, 1, i * 500, 'a');
    expire(10000);
    assert_int_equal(slices_rig_count(rig.seen, 0, 18, -1), 0);
    assert_int_equal(slices_rig_count(rig.seen, 20, 20, -1), 20);
    assert_int_equal(slices_rig_files(&rig, ".run"), 0);
}

static void a_slice_has_no_more_records_than_wanted(void **state)
{
    (void)state;
    slices_rig_close(&rig);
    rig.slice_ms = INT64_MAX;
    rig.slice_records = 300;
    slices_rig_open(&rig);
    fill(0, 0, 'a');
    assert_true(keeper_settle(rig.store));
    expire(10000);
    assert_in_range(slices_rig_count(rig.seen, 0, 5000, -1), 0, 300);
    assert_int_equal(slices_rig_count(rig.seen, 5000, 5000, 'a'), 5000);
}

static void a_clock_that_steps_back_loses_nothing(void **state)
{
    (void)state;
    fill(0, 50000, 'a');
    fill(10000, 0, 'b');
    fill(5000, 49990, 'c');
    assert_true(keeper_settle(rig.store));
    assert_int_equal(slices_rig_count(rig.seen, 0, 5000, 'a'), 5000);
    assert_int_equal(slices_rig_count(rig.seen, 5000, 10000, 'c'), 10000);
    assert_int_equal(slices_rig_count(rig.seen, 15000, 5000, 'b'), 5000);
}

static void a_write_larger_than_all_limits_is_taken(void **state)
{
    (void)state;
    slices_rig_put(&rig, rig.seen, 0, 20000, 5, 'a');
    slices_rig_put(&rig, rig.intents, 0, 20000, 5, 'i');
    slices_rig_put(&rig, rig.seen, 20000, 1, 5, 'a');
    assert_true(keeper_settle(rig.store));
    reopen();
    assert_int_equal(slices_rig_count(rig.seen, 0, 30000, 'a'), 20001);
    assert_int_equal(slices_rig_scan(rig.intents), 20000);
}

/* ---- Threads ---- */

enum { WRITES = 400, PER_WRITE = 25 };

static _Atomic uint64_t written;
static _Atomic bool writing;

static size_t count_of(uint64_t first, size_t count)
{
    uint8_t keys[PER_WRITE * RIG_KEY_BYTES], values[PER_WRITE * RIG_VALUE_BYTES];
    bool found[PER_WRITE];
    size_t sum = 0;

    for (size_t i = 0; i < count; i++)
        slices_rig_key(keys + i * RIG_KEY_BYTES, first + i);
    if (!slices()->get_many(rig.seen, keys, values, found, count, NULL))
        return 0;
    for (size_t i = 0; i < count; i++)
        sum += found[i];
    return sum;
}

/* What was written before the look is found by it, wherever it is by now. Counts what is missing. */
static void *get_all_the_time(void *missing)
{
    for (uint64_t turn = 1; atomic_load(&writing); turn++) {
        uint64_t there = atomic_load(&written);

        if (there > 0)
            *(size_t *)missing += PER_WRITE - count_of(turn * 2654435761 % there * PER_WRITE, PER_WRITE);
    }
    return NULL;
}

static bool count_one(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    (void)key, (void)value;
    ++*(size_t *)ctx;
    return true;
}

static void *scan_all_the_time(void *missing)
{
    struct bailey_store_stats stats;

    while (atomic_load(&writing)) {
        size_t there = atomic_load(&written) * PER_WRITE, seen = 0;

        if (!slices()->scan(rig.seen, BAILEY_NULL_BYTES, count_one, &seen, NULL) || seen < there)
            ++*(size_t *)missing;
        slices()->stats(rig.store, &stats);
    }
    return NULL;
}

static void *copy_all_the_time(void *failed)
{
    while (atomic_load(&writing)) {
        char path[96];

        snprintf(path, sizeof path, "%s/copy", rig.folder);
        if (!slices()->snapshot(rig.store, path, NULL))
            ++*(size_t *)failed;
        disk_rig_remove(path);
    }
    return NULL;
}

static void readers_see_all_while_runs_come_and_go(void **state)
{
    void *(*const tasks[])(void *) = {get_all_the_time, scan_all_the_time, copy_all_the_time};
    size_t missing[3] = {0};
    pthread_t threads[3];

    (void)state;
    atomic_store(&written, 0);
    atomic_store(&writing, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, tasks[i], &missing[i]), 0);
    for (uint64_t n = 0; n < WRITES; n++) {
        slices_rig_put(&rig, rig.seen, n * PER_WRITE, PER_WRITE, (int64_t)n * 40, 'a');
        slices_rig_put(&rig, rig.intents, n, 1, 1, 'i');
        if (n % 16 == 0)
            slices_rig_sync(&rig);
        atomic_store(&written, n + 1);
    }
    atomic_store(&writing, false);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(missing[i], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_put_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_there_after_an_opening_without_a_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_becomes_runs_and_runs_of_a_slice_become_one, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_of_several_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_older_than_a_slice_more_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_alone_expires_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slice_has_no_more_records_than_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_steps_back_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_write_larger_than_all_limits_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_see_all_while_runs_come_and_go, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
