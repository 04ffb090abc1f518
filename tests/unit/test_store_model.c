/* test_store_model.c: each store against a model, with operations from a seed; and the promises about threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_holds_what_the_model_holds),
        cmocka_unit_test(rocksdb_holds_what_the_model_holds),
        cmocka_unit_test(slices_holds_what_the_model_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
