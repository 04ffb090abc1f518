/* test_store_upgrade.c: what an earlier version has written is read. The folders in tests/fixtures/stores were made by
 *
 *     build/release/tests/unit/test_store_upgrade --make rocksdb tests/fixtures/stores/rocksdb-1
 *
 * at version 1 of the store (of slices' log the zeros behind its end were cut off), and are not made again: a new version of a store adds
 * a folder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_rig.h"
#include "store_rig.h"

enum { RECORDS = 300, AGING_VALUE = 12, LIVE_VALUE = 8 };

static const struct bailey_table_options tables[] = {
    {.name = "orders.ids", .kind = BAILEY_TABLE_AGING, .key_size = 16, .value_size = AGING_VALUE, .slice_ms = 60000},
    {.name = "orders.live", .kind = BAILEY_TABLE_LIVE, .key_size = 16, .value_size = LIVE_VALUE},
    {.name = "schedule", .kind = BAILEY_TABLE_ORDERED},
};

enum { TABLES = sizeof tables / sizeof *tables };

/* Record i of a table: every third live one was erased, and every fifth of the schedule. */
static bool is_there(unsigned table, unsigned i)
{
    return table == 0 || (table == 1 ? i % 3 != 0 : i % 5 != 0);
}

static struct bailey_bytes key_of(unsigned i, uint8_t key[16])
{
    memset(key, (int)(i * 7), 16);
    key[0] = (uint8_t)(i >> 8);
    key[1] = (uint8_t)i;
    return (struct bailey_bytes){key, 16};
}

static struct bailey_bytes value_of(unsigned table, unsigned i, uint8_t value[512])
{
    int64_t time_ms = INT64_C(1700000000000) + i * 1000;

    memset(value, (int)(i + table), 512);
    for (int at = 0; at < 8; at++)
        value[at] = (uint8_t)(time_ms >> (56 - 8 * at));
    return (struct bailey_bytes){value, table == 0 ? AGING_VALUE : table == 1 ? LIVE_VALUE : 8 + i};
}

static void must(bool done, const struct bailey_error *err)
{
    if (!done)
        fail_msg("%s (%s)", err->text, err->hint);
}

static void open_store(const struct bailey_store *module, const char *path, void **store, void *handles[TABLES])
{
    struct bailey_error err = {0};

    must(module->open(store, path, &err), &err);
    for (unsigned table = 0; table < TABLES; table++) {
        handles[table] = NULL;
        if (tables[table].kind != BAILEY_TABLE_ORDERED || (module->traits & BAILEY_STORE_ORDERED) != 0)
            must(module->table_open(*store, &handles[table], &tables[table], &err), &err);
    }
}

static void write_record(const struct bailey_store *module, void *store, void *handle, unsigned table, unsigned i,
                         bool erases)
{
    uint8_t key[16], value[512];
    struct bailey_error err = {0};
    struct bailey_store_change change = {.table = handle, .key = key_of(i, key)};

    if (!erases)
        change.value = value_of(table, i, value);
    must(module->write(store, &change, 1, &err), &err);
}

/* Two thirds, a restart, the rest: so that there are records in all the places that a store has. */
static int make(const char *name, const char *path)
{
    const struct bailey_store *module = rig_module(name);

    if (module == NULL)
        return 1;
    for (unsigned part = 0; part < 3; part++) {
        void *store, *handles[TABLES];
        struct bailey_error err = {0};
        open_store(module, path, &store, handles);
        for (unsigned i = part * RECORDS / 3; i < (part + 1) * RECORDS / 3; i++)
            for (unsigned table = 0; table < TABLES; table++)
                if (handles[table] != NULL) {
                    write_record(module, store, handles[table], table, i, false);
                    if (!is_there(table, i))
                        write_record(module, store, handles[table], table, i, true);
                }
        must(module->sync(store, &err), &err);
        module->close(store);
    }
    return 0;
}

struct seen {
    unsigned table, count;
};

static bool see(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    struct seen *seen = ctx;
    unsigned i = (unsigned)key.data[0] << 8 | key.data[1];
    uint8_t expected_key[16], expected[512];

    assert_true(i < RECORDS && is_there(seen->table, i));
    assert_true(bailey_bytes_equal(key, key_of(i, expected_key)));
    assert_true(bailey_bytes_equal(value, value_of(seen->table, i, expected)));
    seen->count++;
    return true;
}

static void all_is_there(const struct bailey_store *module, void *handle, unsigned table)
{
    struct seen seen = {.table = table};
    struct bailey_error err = {0};
    unsigned expected = 0;

    must(module->scan(handle, BAILEY_NULL_BYTES, see, &seen, &err), &err);
    for (unsigned i = 0; i < RECORDS; i++)
        expected += is_there(table, i);
    assert_int_equal(seen.count, expected);
    for (unsigned i = 0; i < RECORDS && table < 2; i++) {
        uint8_t key[16], value[AGING_VALUE], expected_value[512];
        bool found;
        must(module->get_many(handle, key_of(i, key).data, value, &found, 1, &err), &err);
        assert_int_equal(found, is_there(table, i));
        if (found)
            assert_memory_equal(value, value_of(table, i, expected_value).data, tables[table].value_size);
    }
}

/* A copy of the fixture, as opening may change it. */
static void copy(const char *from, const char *to)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        execlp("cp", "cp", "-r", from, to, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void is_read(const char *name, const char *fixture)
{
    const struct bailey_store *module = rig_module(name);
    char base[] = "/dev/shm/bailey-upgrade-XXXXXX", path[64];
    void *store, *handles[TABLES];

    if (module == NULL)
        skip();
    assert_non_null(mkdtemp(base));
    snprintf(path, sizeof path, "%s/store", base);
    copy(fixture, path);
    for (int times = 0; times < 2; times++) { /* the second time as it was written by this version */
        open_store(module, path, &store, handles);
        for (unsigned table = 0; table < TABLES; table++)
            if (handles[table] != NULL)
                all_is_there(module, handles[table], table);
        module->close(store);
    }
    disk_rig_remove(base);
}

static void version_1_of_rocksdb_is_read(void **state)
{
    (void)state;
    is_read("rocksdb", "tests/fixtures/stores/rocksdb-1");
}

static void version_1_of_slices_is_read(void **state)
{
    (void)state;
    is_read("slices", "tests/fixtures/stores/slices-1");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_of_rocksdb_is_read),
        cmocka_unit_test(version_1_of_slices_is_read),
    };

    if (argc == 4 && strcmp(argv[1], "--make") == 0)
        return make(argv[2], argv[3]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
