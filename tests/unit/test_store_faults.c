/* test_store_faults.c: the first, the second, the third ... call of the disk or of the allocator fails, once or from then on, while a store is
 * opened, written, synced, expired, copied and read. It never crashes and never lies, says what is wrong, and works again once
 * the cause is gone.
 *
 * The allocator is left alone under RocksDB: C++ ends the process when there is no memory.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_rig.h"
#include "fail_alloc.h"
#include "store_rig.h"

enum { TRIES = 5, NTH_MAX = 5000 };

/* RocksDB waits for a second after a background job has failed, and close() with it. It finds this one. */
#pragma GCC visibility push(default)
int usleep(useconds_t us)
{
    (void)us;
    return 0;
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    (void)wanted;
    (void)left;
    return 0;
}
#pragma GCC visibility pop

static const struct step {
    const char *name;
    bool (*make)(struct store_rig *rig, struct bailey_error *err);
} steps[] = {
    {"open", rig_open},         {"write", rig_write},     {"write", rig_write},   {"sync", rig_sync},
    {"write", rig_write},       {"get", rig_check_get},   {"write", rig_write},   {"expire", rig_expire},
    {"snapshot", rig_snapshot}, {"scan", rig_check_scan}, {"write", rig_write},   {"sync", rig_sync},
    {"get", rig_check_get},     {"write", rig_write},     {"expire", rig_expire}, {"write", rig_write},
};

/* What fails: by the disk if `calls`, else by the allocator. */
struct failure {
    const char *name;
    unsigned calls;
    int error;
    bool writes_a_part, lasts;
};

static void begin(const struct failure *failure, size_t nth)
{
    if (failure->calls == 0)
        fail_alloc_arm(nth, failure->lasts);
    else
        disk_rig_fail((struct disk_fault){.calls = failure->calls,
                                          .nth = nth,
                                          .error = failure->error,
                                          .writes_a_part = failure->writes_a_part,
                                          .lasts = failure->lasts});
}

static size_t heal(const struct failure *failure)
{
    return failure->calls == 0 ? fail_alloc_disarm() : disk_rig_heal();
}

/* All steps, each until it is done; what lasts is healed after its second failure. Returns the number of calls there were, or, if one has
 * failed, SIZE_MAX. */
static size_t run_steps(struct store_rig *rig, const struct failure *failure, size_t nth)
{
    struct bailey_error err;
    size_t seen = 0;
    bool failed = false;

    begin(failure, nth);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        for (int tries = 1; memset(&err, 0, sizeof err), !steps[i].make(rig, &err); tries++) {
            failed = true;
            if (err.kind == BAILEY_ERR_NONE || err.text[0] == '\0' || tries > TRIES)
                fail_msg("%s %zu%s: %s, try %d: '%s' (%s)", failure->name, nth, failure->lasts ? " and later" : "",
                         steps[i].name, tries, err.text, err.hint);
            if (tries == 2)
                heal(failure);
        }
    seen = heal(failure);
    return failed || seen >= nth ? SIZE_MAX : seen;
}

/* The nth fails, for all n that there are. */
static void sweep(const struct bailey_store *module, const struct failure *failure)
{
    size_t nth = 1, seen = SIZE_MAX;

    for (; seen == SIZE_MAX; nth++) {
        struct store_rig rig;
        struct bailey_error err = {0};
        assert_true(nth < NTH_MAX);
        rig_start(&rig, module, nth);
        seen = run_steps(&rig, failure, nth);
        if (!rig_check_get(&rig, &err) || !rig_check_scan(&rig, &err))
            fail_msg("%s %zu: %s", failure->name, nth, err.text);
        if ((module->traits & BAILEY_STORE_DURABLE) != 0)
            rig_power_cut(&rig);
        if (!rig_write(&rig, &err) || !rig_sync(&rig, &err) || !rig_check_get(&rig, &err))
            fail_msg("%s %zu, afterwards: %s", failure->name, nth, err.text);
        rig_stop(&rig);
    }
}

static void sweep_disk(const char *name)
{
    static const struct failure failures[] = {
        {.name = "write without room", .calls = DISK_WRITE, .error = ENOSPC, .writes_a_part = true, .lasts = true},
        {.name = "short write", .calls = DISK_WRITE, .error = EIO, .writes_a_part = true},
        {.name = "sync", .calls = DISK_SYNC, .error = EIO},
        {.name = "sync", .calls = DISK_SYNC, .error = EIO, .lasts = true},
        {.name = "open", .calls = DISK_OPEN, .error = EMFILE},
        {.name = "open", .calls = DISK_OPEN, .error = EIO, .lasts = true},
        {.name = "read", .calls = DISK_READ, .error = EIO},
        {.name = "allocate", .calls = DISK_ALLOCATE, .error = ENOSPC},
        {.name = "full disk", .calls = DISK_GROWS, .error = ENOSPC, .lasts = true},
        {.name = "rename or link", .calls = DISK_RENAME | DISK_LINK, .error = EIO},
        {.name = "unlink, truncate or mkdir", .calls = DISK_UNLINK | DISK_TRUNCATE | DISK_MKDIR, .error = EIO},
    };
    const struct bailey_store *module = rig_module(name);

    if (module == NULL)
        skip();
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        sweep(module, &failures[i]);
}

static void sweep_memory(const char *name)
{
    const struct bailey_store *module = rig_module(name);

    if (module == NULL || !fail_alloc_works())
        skip();
    sweep(module, &(struct failure){.name = "malloc"});
    sweep(module, &(struct failure){.name = "malloc", .lasts = true});
}

static void memory_without_memory(void **state)
{
    (void)state;
    sweep_memory("memory");
}

static void slices_without_memory(void **state)
{
    (void)state;
    sweep_memory("slices");
}

static void slices_on_a_bad_disk(void **state)
{
    (void)state;
    sweep_disk("slices");
}

static void rocksdb_on_a_bad_disk(void **state)
{
    (void)state;
    sweep_disk("rocksdb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_without_memory),
        cmocka_unit_test(slices_without_memory),
        cmocka_unit_test(slices_on_a_bad_disk),
        cmocka_unit_test(rocksdb_on_a_bad_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
