/* slices_rig.h: a store of slices in a folder of its own, with small limits, so that a test meets runs and merges soon.
 *
 * Keys are 16 bytes drawn from a number, values its time and one more byte. What is not expected ends the test. All of it is here,
 * so that only the programs that test slices are linked with it.
 */
#ifndef BAILEY_TEST_SLICES_RIG_H
#define BAILEY_TEST_SLICES_RIG_H

#include <assert.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "disk_rig.h"
#include "stores/slices/bytes.h"
#include "stores/slices/slices.h"

enum { RIG_KEY_BYTES = 16, RIG_VALUE_BYTES = 9 };

struct slices_rig {
    char folder[64], path[96]; /* the store is in folder/store */
    struct store *store;
    void *seen, *intents; /* an aging and a live table */
    int64_t slice_ms, slice_records;
    struct store_limits limits;
};

static inline const struct bailey_store *slices(void)
{
    return &slices_store;
}

static inline void slices_rig_init(struct slices_rig *rig)
{
    *rig = (struct slices_rig){.folder = "/tmp/bailey-slices-XXXXXX",
                               .slice_ms = 1000,
                               .limits = {.memory_bytes = 25 * 100, .log_bytes = 64 * 1024, .runs_at_once = 4}};
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->path, sizeof rig->path, "%s/store", rig->folder);
}

static inline void slices_rig_close(struct slices_rig *rig)
{
    if (rig->store != NULL)
        slices()->close(rig->store);
    rig->store = NULL;
}

static inline void slices_rig_fini(struct slices_rig *rig)
{
    slices_rig_close(rig);
    disk_rig_remove(rig->folder);
}

static inline void told(bool ok, const struct bailey_error *err)
{
    if (!ok)
        fail_msg("%s", err->text);
}

static inline bool open_tables(struct slices_rig *rig, struct bailey_error *err)
{
    struct bailey_table_options seen = {.name = "orders.seen",
                                        .kind = BAILEY_TABLE_AGING,
                                        .key_size = RIG_KEY_BYTES,
                                        .value_size = RIG_VALUE_BYTES,
                                        .slice_ms = rig->slice_ms,
                                        .slice_records = rig->slice_records};
    struct bailey_table_options intents = {
        .name = "orders.intents", .kind = BAILEY_TABLE_LIVE, .key_size = RIG_KEY_BYTES, .value_size = RIG_VALUE_BYTES};

    return slices()->table_open(rig->store, &rig->seen, &seen, err) &&
           slices()->table_open(rig->store, &rig->intents, &intents, err);
}

static inline bool slices_rig_try_open(struct slices_rig *rig, struct bailey_error *err)
{
    if (!store_open(&rig->store, rig->path, &rig->limits, err)) {
        rig->store = NULL;
        return false;
    }
    if (open_tables(rig, err))
        return true;
    slices_rig_close(rig);
    return false;
}

static inline void slices_rig_open(struct slices_rig *rig)
{
    struct bailey_error err = {0};

    told(slices_rig_try_open(rig, &err), &err);
}

static inline void slices_rig_key(uint8_t key[RIG_KEY_BYTES], uint64_t number)
{
    uint64_t high = (number + 1) * 0x9e3779b97f4a7c15, low = high ^ (high >> 29);

    low *= 0xbf58476d1ce4e5b9;
    low ^= low >> 32;
    put_u64(key, low * 0x94d049bb133111eb);
    put_u64(key + 8, number);
}

static inline bool change(struct slices_rig *rig, void *table, uint64_t first, size_t count, const uint8_t *value,
                          struct bailey_error *err)
{
    struct bailey_store_change *changes = calloc(count, sizeof *changes);
    uint8_t *keys = malloc(count * RIG_KEY_BYTES);
    bool ok;

    assert_true(changes != NULL && keys != NULL);
    for (size_t i = 0; i < count; i++) {
        slices_rig_key(keys + i * RIG_KEY_BYTES, first + i);
        changes[i] = (struct bailey_store_change){.table = table,
                                                  .key = {keys + i * RIG_KEY_BYTES, RIG_KEY_BYTES},
                                                  .value = {value, value == NULL ? 0 : RIG_VALUE_BYTES}};
    }
    ok = slices()->write(rig->store, changes, count, err);
    free(changes);
    free(keys);
    return ok;
}

/* Put the ids first ... first + count - 1, each with the time `ms` and the byte `mark`, by one write. */
static inline bool slices_rig_try_put(struct slices_rig *rig, void *table, uint64_t first, size_t count, int64_t ms,
                                      uint8_t mark, struct bailey_error *err)
{
    uint8_t value[RIG_VALUE_BYTES];
    uint64_t time = htobe64((uint64_t)ms);

    memcpy(value, &time, sizeof time);
    value[8] = mark;
    return change(rig, table, first, count, value, err);
}

static inline void slices_rig_put(struct slices_rig *rig, void *table, uint64_t first, size_t count, int64_t ms,
                                  uint8_t mark)
{
    struct bailey_error err = {0};

    told(slices_rig_try_put(rig, table, first, count, ms, mark, &err), &err);
}

static inline void slices_rig_erase(struct slices_rig *rig, void *table, uint64_t first, size_t count)
{
    struct bailey_error err = {0};

    told(change(rig, table, first, count, NULL, &err), &err);
}

static inline void slices_rig_sync(struct slices_rig *rig)
{
    struct bailey_error err = {0};

    told(slices()->sync(rig->store, &err), &err);
}

/* How many of the ids are there; with the byte `mark`, if that is not negative. */
static inline size_t slices_rig_count(void *table, uint64_t first, size_t count, int mark)
{
    uint8_t *keys = malloc(count * RIG_KEY_BYTES), *values = malloc(count * RIG_VALUE_BYTES);
    bool *found = malloc(count * sizeof *found);
    struct bailey_error err = {0};
    size_t sum = 0;

    assert_true(keys != NULL && values != NULL && found != NULL);
    for (size_t i = 0; i < count; i++)
        slices_rig_key(keys + i * RIG_KEY_BYTES, first + i);
    told(slices()->get_many(table, keys, values, found, count, &err), &err);
    for (size_t i = 0; i < count; i++)
        sum += found[i] && (mark < 0 || values[i * RIG_VALUE_BYTES + 8] == mark);
    free(keys);
    free(values);
    free(found);
    return sum;
}

static inline bool slices_rig_count_visit(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    assert_int_equal(key.len, RIG_KEY_BYTES);
    assert_int_equal(value.len, RIG_VALUE_BYTES);
    ++*(size_t *)ctx;
    return true;
}

/* Visits of a scan of all. */
static inline size_t slices_rig_scan(void *table)
{
    struct bailey_error err = {0};
    size_t count = 0;

    told(slices()->scan(table, BAILEY_NULL_BYTES, slices_rig_count_visit, &count, &err), &err);
    return count;
}

static inline bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), tail = strlen(suffix);

    return len >= tail && strcmp(name + len - tail, suffix) == 0;
}

static inline size_t look(const struct slices_rig *rig, const char *suffix, char *first, size_t size)
{
    DIR *folder = opendir(rig->path);
    size_t count = 0;

    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (!ends_with(entry->d_name, suffix))
            continue;
        if (count++ == 0 || strcmp(entry->d_name, first) < 0)
            snprintf(first, size, "%s", entry->d_name);
    }
    closedir(folder);
    return count;
}

/* Files in the folder whose name ends so. */
static inline size_t slices_rig_files(const struct slices_rig *rig, const char *suffix)
{
    char first[256];

    return look(rig, suffix, first, sizeof first);
}

/* The path of the one that comes first by its name; to be freed. */
static inline char *slices_rig_file(const struct slices_rig *rig, const char *suffix)
{
    char first[256], *path = NULL;

    assert_true(look(rig, suffix, first, sizeof first) > 0);
    assert_true(asprintf(&path, "%s/%s", rig->path, first) > 0);
    return path;
}

#endif
