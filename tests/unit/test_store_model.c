/* test_store_model.c: each store against a model, with operations from a seed; and the promises about threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "disk_rig.h"
#include "store_rig.h"

enum { OPERATIONS = 200 };

static void must(bool done, const char *what, const struct bailey_error *err)
{
    if (!done)
        fail_msg("%s: %s (%s)", what, err->text, err->hint);
}

static void one_operation(struct store_rig *rig)
{
    struct bailey_error err = {0};
    bool durable = (rig->module->traits & BAILEY_STORE_DURABLE) != 0;

    switch (rig_draw(rig, durable ? 40 : 36)) {
    case 0 ... 23:
        must(rig_write(rig, &err), "write", &err);
        break;
    case 24 ... 26:
        must(rig_check_get(rig, &err), "get_many", &err);
        break;
    case 27 ... 29:
        must(rig_check_scan(rig, &err), "scan", &err);
        break;
    case 30 ... 31:
        must(rig_expire(rig, &err), "expire", &err);
        break;
    case 32 ... 34:
        must(rig_sync(rig, &err), "sync", &err);
        break;
    case 35:
        rig_close(rig);
        must(rig_open(rig, &err), "open", &err);
        break;
    case 36:
        must(rig_snapshot(rig, &err), "snapshot", &err);
        break;
    case 37:
        rig_kill(rig);
        break;
    default:
        rig_power_cut(rig);
    }
}

static void holds_what_the_model_holds(const char *name, unsigned seeds)
{
    const struct bailey_store *module = rig_module(name);
    const char *only = getenv("SEED");
    struct bailey_error err = {0};

    if (module == NULL)
        skip();
    for (uint64_t seed = only == NULL ? 1 : strtoull(only, NULL, 10); seeds > 0; seed++, seeds--) {
        struct store_rig rig;
        if (only != NULL)
            seeds = 1;
        rig_start(&rig, module, seed * 1000003);
        must(rig_open(&rig, &err), "open", &err);
        for (int i = 0; i < OPERATIONS; i++)
            one_operation(&rig);
        must(rig_check_get(&rig, &err) && rig_check_scan(&rig, &err), "at the end", &err);
        rig_stop(&rig);
    }
}

static void memory_holds_what_the_model_holds(void **state)
{
    (void)state;
    holds_what_the_model_holds("memory", 100);
}

static void rocksdb_holds_what_the_model_holds(void **state)
{
    (void)state;
    holds_what_the_model_holds("rocksdb", 6);
}

static void slices_holds_what_the_model_holds(void **state)
{
    (void)state;
    holds_what_the_model_holds("slices", 20);
}

/* ---- Threads ---- */

enum { READERS = 2, BATCHES = 300 };

struct readers {
    struct store_rig *rig;
    atomic_bool stop;
    atomic_uint rounds, failures, snapshots;
};

static void *read_on(void *ctx)
{
    struct readers *readers = ctx;
    struct bailey_store_stats stats;

    while (!atomic_load(&readers->stop)) {
        atomic_fetch_add(&readers->failures, !rig_read(readers->rig, NULL));
        readers->rig->module->stats(readers->rig->store, &stats);
        atomic_fetch_add(&readers->rounds, 1);
    }
    return NULL;
}

static void *copy_on(void *ctx)
{
    struct readers *readers = ctx;
    char path[96];

    while (!atomic_load(&readers->stop)) {
        snprintf(path, sizeof path, "%s/copy", readers->rig->folder);
        atomic_fetch_add(&readers->failures, !readers->rig->module->snapshot(readers->rig->store, path, NULL));
        disk_rig_remove(path);
        atomic_fetch_add(&readers->snapshots, 1);
    }
    return NULL;
}

static void others_read_while_one_writes(const char *name)
{
    const struct bailey_store *module = rig_module(name);
    struct store_rig rig;
    struct readers readers = {.rig = &rig};
    pthread_t threads[READERS], copier;
    struct bailey_error err = {0};

    if (module == NULL)
        skip();
    bool durable = (module->traits & BAILEY_STORE_DURABLE) != 0;
    rig_start(&rig, module, 1);
    must(rig_open(&rig, &err), "open", &err);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers), 0);
    if (durable)
        assert_int_equal(pthread_create(&copier, NULL, copy_on, &readers), 0);
    for (int i = 0; i < BATCHES || atomic_load(&readers.rounds) < 4 || (durable && atomic_load(&readers.snapshots) < 2);
         i++) {
        must(rig_write(&rig, &err), "write", &err);
        if (i % 8 == 0)
            must(rig_sync(&rig, &err), "sync", &err);
        if (i % 16 == 0)
            must(rig_expire(&rig, &err), "expire", &err);
    }
    atomic_store(&readers.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    if (durable)
        pthread_join(copier, NULL);
    assert_int_equal(atomic_load(&readers.failures), 0);
    must(rig_check_get(&rig, &err) && rig_check_scan(&rig, &err), "at the end", &err);
    rig_stop(&rig);
}

static void memory_is_read_while_it_is_written(void **state)
{
    (void)state;
    others_read_while_one_writes("memory");
}

static void rocksdb_is_read_while_it_is_written(void **state)
{
    (void)state;
    others_read_while_one_writes("rocksdb");
}

static void slices_is_read_while_it_is_written(void **state)
{
    (void)state;
    others_read_while_one_writes("slices");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_holds_what_the_model_holds),   cmocka_unit_test(rocksdb_holds_what_the_model_holds),
        cmocka_unit_test(slices_holds_what_the_model_holds),   cmocka_unit_test(memory_is_read_while_it_is_written),
        cmocka_unit_test(rocksdb_is_read_while_it_is_written), cmocka_unit_test(slices_is_read_while_it_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
