/* store_rig.c: keys and values are made from numbers, so that what a store returns tells what it is. */
#include "store_rig.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_rig.h"
#include "fail_alloc.h"
#include "host/registry.h"

enum { STEP_BACK_MS = 5, BATCH_MAX = 12, SMALL = 12, LARGE = 20000, VALUE_MAX = SMALL + LARGE };

const struct bailey_store *rig_module(const char *name)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 32);
    struct bailey_error err = {0};

    assert_true(len > 0);
    path[len] = '\0';
    for (int i = 0; i < 3; i++) /* build/.../tests/unit/test_store → build/.../stores */
        *strrchr(path, '/') = '\0';
    strncat(path, "/stores", 16);
    setenv("BAILEY_STORE_PATH", path, 1);
    return registry_find_store(name, &err);
}

uint64_t rig_draw(struct store_rig *rig, uint64_t below)
{
    uint64_t z = rig->seed += 0x9e3779b97f4a7c15u; /* splitmix64 */

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

/* ---- Keys and values ---- */

static const uint32_t key_sizes[] = {16, 9, 0}, value_sizes[] = {SMALL, SMALL, 0};

/* Those of an ordered table begin alike, and are of many lengths. */
static struct bailey_bytes key_of(unsigned table, unsigned number, uint8_t buffer[BAILEY_STORE_KEY_MAX])
{
    size_t len = table == RIG_ORDERED ? 1 + number * 7 % 40 : key_sizes[table];

    memset(buffer, number % 3 == 0 ? 0 : 'k', BAILEY_STORE_KEY_MAX);
    if (table == RIG_ORDERED && number == RIG_KEYS - 1)
        len = BAILEY_STORE_KEY_MAX;
    buffer[len - 1] = (uint8_t)(number * 6 + 1);
    return (struct bailey_bytes){buffer, len};
}

static unsigned number_of(unsigned table, struct bailey_bytes key)
{
    uint8_t buffer[BAILEY_STORE_KEY_MAX];

    for (unsigned number = 0; number < RIG_KEYS; number++)
        if (bailey_bytes_equal(key, key_of(table, number, buffer)))
            return number;
    fail_msg("table %u has a key that nobody wrote, of %zu bytes", table, key.len);
    return 0;
}

static struct bailey_bytes value_of(unsigned table, const struct rig_record *record, uint8_t buffer[VALUE_MAX])
{
    size_t rest = table != RIG_ORDERED ? 0 : record->unique % 50 == 0 ? LARGE : record->unique * 37 % 300;

    for (int i = 0; i < 8; i++)
        buffer[i] = (uint8_t)((uint64_t)record->time_ms >> (56 - 8 * i));
    for (int i = 0; i < 4; i++)
        buffer[8 + i] = (uint8_t)(record->unique >> (24 - 8 * i));
    memset(buffer + SMALL, (int)(record->unique & 0xff), rest);
    return (struct bailey_bytes){buffer, SMALL + rest};
}

static struct rig_record record_of(unsigned table, struct bailey_bytes value)
{
    static _Thread_local uint8_t buffer[VALUE_MAX];
    struct rig_record record = {.present = true};

    assert_true(value.len >= SMALL);
    record.time_ms = bailey_aging_time(value.data);
    for (int i = 0; i < 4; i++)
        record.unique = record.unique << 8 | value.data[8 + i];
    if (!bailey_bytes_equal(value, value_of(table, &record, buffer)))
        fail_msg("table %u: the value of put %u is not whole", table, record.unique);
    return record;
}

/* ---- What must hold ---- */

static struct rig_state *now(struct store_rig *rig)
{
    return rig->since_count > 0 ? &rig->since[rig->since_count - 1] : &rig->synced;
}

/* NULL, or what is wrong. */
static const char *differs(const struct store_rig *rig, unsigned table, const struct rig_record *got,
                           const struct rig_record *expected)
{
    bool same = got->present == expected->present && (!got->present || got->unique == expected->unique);

    if (table == RIG_AGING && got->present && rig->session_before_ms > 0 &&
        got->time_ms < rig->session_before_ms - RIG_SLICE_MS)
        return "has not gone";
    if (same || (table == RIG_AGING && expected->present && expected->time_ms < rig->before_ms))
        return NULL;
    return !got->present ? "is missing" : expected->present ? "is another" : "should not be there";
}

static unsigned differences(const struct store_rig *rig, const struct rig_state *got, const struct rig_state *expected)
{
    unsigned count = 0;

    for (unsigned table = 0; table < RIG_TABLES; table++)
        for (unsigned key = 0; key < RIG_KEYS; key++)
            count += rig->tables[table] != NULL &&
                     differs(rig, table, &got->of[table][key], &expected->of[table][key]) != NULL;
    return count;
}

static void must_equal(const struct store_rig *rig, unsigned table, unsigned key, const struct rig_record *got,
                       const struct rig_record *expected, const char *call)
{
    const char *what = differs(rig, table, got, expected);

    if (what != NULL)
        fail_msg("%s: table %u, key %u %s: put %u at %lld instead of %u at %lld; expired before %lld", call, table, key,
                 what, got->unique, (long long)got->time_ms, expected->unique, (long long)expected->time_ms,
                 (long long)rig->before_ms);
}

/* ---- Start and end ---- */

void rig_start(struct store_rig *rig, const struct bailey_store *module, uint64_t seed)
{
    *rig = (struct store_rig){.module = module, .seed = seed, .now_ms = 1000000, .before_ms = 0};
    memcpy(rig->base, "/dev/shm/bailey-store-XXXXXX", 29);
    assert_non_null(mkdtemp(rig->base));
    snprintf(rig->folder, sizeof rig->folder, "%s/0", rig->base);
    assert_int_equal(mkdir(rig->folder, 0700), 0);
    disk_rig_watch(rig->folder);
}

void rig_stop(struct store_rig *rig)
{
    disk_rig_heal();
    if (rig->store != NULL)
        rig_close(rig);
    disk_rig_unwatch();
    disk_rig_remove(rig->base);
    free(rig->since);
}

static bool is_durable(const struct store_rig *rig)
{
    return (rig->module->traits & BAILEY_STORE_DURABLE) != 0;
}

static bool open_tables(struct store_rig *rig, void *store, void *tables[RIG_TABLES], struct bailey_error *err)
{
    static const char *const names[] = {"orders.ids", "orders.live", "schedule"};
    static const enum bailey_table_kind kinds[] = {BAILEY_TABLE_AGING, BAILEY_TABLE_LIVE, BAILEY_TABLE_ORDERED};

    for (unsigned i = 0; i < RIG_TABLES; i++) {
        struct bailey_table_options options = {
            .name = names[i], .kind = kinds[i], .key_size = key_sizes[i], .value_size = value_sizes[i]};
        if (kinds[i] == BAILEY_TABLE_AGING)
            options.slice_ms = RIG_SLICE_MS;
        if (kinds[i] == BAILEY_TABLE_ORDERED && (rig->module->traits & BAILEY_STORE_ORDERED) == 0)
            continue;
        if (!rig->module->table_open(store, &tables[i], &options, err))
            return false;
    }
    return true;
}

bool rig_open(struct store_rig *rig, struct bailey_error *err)
{
    char path[80];

    snprintf(path, sizeof path, "%s/store", rig->folder);
    assert_null(rig->store);
    if (!rig->module->open(&rig->store, is_durable(rig) ? path : NULL, err)) {
        rig->store = NULL;
        return false;
    }
    if (open_tables(rig, rig->store, rig->tables, err))
        return true;
    rig_close(rig);
    return false;
}

void rig_close(struct store_rig *rig)
{
    rig->module->close(rig->store);
    rig->store = NULL;
    rig->session_before_ms = 0;
    if (!is_durable(rig)) {
        rig->synced = (struct rig_state){0};
        rig->since_count = 0;
    }
}

/* ---- Changes ---- */

static void apply(struct rig_state *state, unsigned table, unsigned key, const struct rig_record *record)
{
    state->of[table][key] = *record;
}

static void keep(struct store_rig *rig, const struct rig_state *after)
{
    bool was_armed = fail_alloc_pause();

    rig->since = realloc(rig->since, (rig->since_count + 1) * sizeof *rig->since);
    assert_non_null(rig->since);
    rig->since[rig->since_count++] = *after;
    fail_alloc_resume(was_armed);
}

bool rig_write(struct store_rig *rig, struct bailey_error *err)
{
    static uint8_t keys[BATCH_MAX][BAILEY_STORE_KEY_MAX], values[BATCH_MAX][VALUE_MAX];
    struct bailey_store_change changes[BATCH_MAX];
    struct rig_state after = *now(rig);
    size_t count = 1 + rig_draw(rig, BATCH_MAX);

    rig->now_ms += (int64_t)rig_draw(rig, 50);
    for (size_t i = 0; i < count; i++) {
        unsigned table, key = (unsigned)rig_draw(rig, RIG_KEYS);
        do
            table = (unsigned)rig_draw(rig, RIG_TABLES);
        while (rig->tables[table] == NULL);
        struct rig_record record = {.present = table == RIG_AGING || rig_draw(rig, 3) > 0,
                                    .time_ms = rig->now_ms - (int64_t)rig_draw(rig, STEP_BACK_MS),
                                    .unique = ++rig->unique};
        changes[i] = (struct bailey_store_change){.table = rig->tables[table], .key = key_of(table, key, keys[i])};
        if (record.present)
            changes[i].value = value_of(table, &record, values[i]);
        apply(&after, table, key, &record);
    }
    if (!rig->module->write(rig->store, changes, count, err))
        return false;
    keep(rig, &after);
    return true;
}

bool rig_sync(struct store_rig *rig, struct bailey_error *err)
{
    if (!rig->module->sync(rig->store, err))
        return false;
    if (is_durable(rig)) {
        rig->synced = *now(rig);
        rig->since_count = 0;
    }
    return true;
}

bool rig_expire(struct store_rig *rig, struct bailey_error *err)
{
    int64_t before_ms = rig->now_ms - RIG_WINDOW_MS;

    rig->before_ms = before_ms; /* also if it fails: something may have gone */
    if (!rig->module->expire(rig->tables[RIG_AGING], before_ms, err))
        return false;
    rig->session_before_ms = before_ms;
    return true;
}

/* ---- Comparing ---- */

bool rig_check_get(struct store_rig *rig, struct bailey_error *err)
{
    for (unsigned table = 0; table < RIG_ORDERED; table++) {
        uint8_t keys[2 * RIG_KEYS * BAILEY_STORE_KEY_MAX], values[2 * RIG_KEYS * SMALL], key[BAILEY_STORE_KEY_MAX];
        bool found[2 * RIG_KEYS];
        unsigned numbers[2 * RIG_KEYS];
        if (rig->tables[table] == NULL)
            continue;
        for (unsigned i = 0; i < 2 * RIG_KEYS; i++) {
            numbers[i] = i < RIG_KEYS ? i : (unsigned)rig_draw(rig, RIG_KEYS); /* some of them twice */
            memcpy(keys + i * key_sizes[table], key_of(table, numbers[i], key).data, key_sizes[table]);
        }
        if (!rig->module->get_many(rig->tables[table], keys, values, found, 2 * RIG_KEYS, err))
            return false;
        for (unsigned i = 0; i < 2 * RIG_KEYS; i++) {
            struct rig_record got = {0};
            if (found[i])
                got = record_of(table, (struct bailey_bytes){values + i * SMALL, SMALL});
            must_equal(rig, table, numbers[i], &got, &now(rig)->of[table][numbers[i]], "get_many");
        }
    }
    return true;
}

struct visit {
    unsigned table;
    struct rig_state *state;
    uint8_t last[BAILEY_STORE_KEY_MAX];
    size_t last_len;
    struct bailey_bytes from;
    size_t wanted;
};

static int compare(struct bailey_bytes a, struct bailey_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool visit(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    struct visit *visit = ctx;

    assert_true(visit->wanted > 0);
    if (visit->from.data != NULL)
        assert_true(compare(key, visit->from) >= 0);
    if (visit->table == RIG_ORDERED && visit->last_len > 0)
        assert_true(compare((struct bailey_bytes){visit->last, visit->last_len}, key) < 0);
    memcpy(visit->last, key.data, key.len);
    visit->last_len = key.len;
    visit->state->of[visit->table][number_of(visit->table, key)] = record_of(visit->table, value);
    return --visit->wanted > 0;
}

/* All that a store holds. */
static bool dump(const struct store_rig *rig, void *const tables[RIG_TABLES], struct rig_state *state,
                 struct bailey_error *err)
{
    *state = (struct rig_state){0};
    for (unsigned table = 0; table < RIG_TABLES; table++) {
        struct visit all = {.table = table, .state = state, .wanted = SIZE_MAX};
        if (tables[table] != NULL && !rig->module->scan(tables[table], BAILEY_NULL_BYTES, visit, &all, err))
            return false;
    }
    return true;
}

bool rig_check_scan(struct store_rig *rig, struct bailey_error *err)
{
    struct rig_state got;

    if (!dump(rig, rig->tables, &got, err))
        return false;
    for (unsigned table = 0; table < RIG_TABLES; table++) {
        uint8_t from[BAILEY_STORE_KEY_MAX], buffer[BAILEY_STORE_KEY_MAX];
        struct rig_state part = {0};
        struct visit some = {.table = table, .state = &part, .wanted = 1 + rig_draw(rig, 2 * RIG_KEYS)};
        if (rig->tables[table] == NULL)
            continue;
        for (unsigned key = 0; key < RIG_KEYS; key++)
            must_equal(rig, table, key, &got.of[table][key], &now(rig)->of[table][key], "scan");
        some.from = key_of(table, (unsigned)rig_draw(rig, RIG_KEYS), from);
        if (!rig->module->scan(rig->tables[table], some.from, visit, &some, err))
            return false;
        for (unsigned key = 0; key < RIG_KEYS && some.wanted > 0; key++)
            if (compare(key_of(table, key, buffer), some.from) >= 0)
                must_equal(rig, table, key, &part.of[table][key], &now(rig)->of[table][key], "scan from a key");
    }
    return true;
}

bool rig_read(const struct store_rig *rig, struct bailey_error *err)
{
    struct rig_state state;

    for (unsigned table = 0; table < RIG_ORDERED; table++) {
        uint8_t keys[RIG_KEYS * BAILEY_STORE_KEY_MAX], values[RIG_KEYS * SMALL], key[BAILEY_STORE_KEY_MAX];
        bool found[RIG_KEYS];
        for (unsigned i = 0; i < RIG_KEYS; i++)
            memcpy(keys + i * key_sizes[table], key_of(table, i, key).data, key_sizes[table]);
        if (!rig->module->get_many(rig->tables[table], keys, values, found, RIG_KEYS, err))
            return false;
        for (unsigned i = 0; i < RIG_KEYS; i++)
            if (found[i])
                record_of(table, (struct bailey_bytes){values + i * SMALL, SMALL});
    }
    return dump(rig, rig->tables, &state, err);
}

/* What was synced, and the first of the writes since: how many of these? Fails the test if it is no such state. */
static size_t must_be_prefix(struct store_rig *rig, const struct rig_state *got, const char *after)
{
    unsigned least = UINT_MAX;
    size_t nearest = 0;

    for (size_t count = rig->since_count + 1; count-- > 0;) {
        unsigned differ = differences(rig, got, count == 0 ? &rig->synced : &rig->since[count - 1]);
        if (differ == 0)
            return count;
        nearest = differ < least ? count : nearest;
        least = differ < least ? differ : least;
    }
    print_error("nearest to write %zu of %zu since the last sync\n", nearest, rig->since_count);
    const struct rig_state *expected = nearest == 0 ? &rig->synced : &rig->since[nearest - 1];
    for (unsigned table = 0; table < RIG_TABLES; table++)
        for (unsigned key = 0; key < RIG_KEYS; key++)
            if (rig->tables[table] != NULL)
                must_equal(rig, table, key, &got->of[table][key], &expected->of[table][key], after);
    return 0;
}

/* Open the copy, and read it. */
static bool dump_copy(struct store_rig *rig, const char *path, struct rig_state *got, struct bailey_error *err)
{
    void *store, *tables[RIG_TABLES] = {0};

    if (!rig->module->open(&store, path, err))
        return false;
    bool dumped = open_tables(rig, store, tables, err) && dump(rig, tables, got, err);
    rig->module->close(store);
    return dumped;
}

bool rig_snapshot(struct store_rig *rig, struct bailey_error *err)
{
    char path[80];
    struct rig_state got;
    int64_t session = rig->session_before_ms;

    if (!is_durable(rig))
        return true;
    snprintf(path, sizeof path, "%s/snapshot%u", rig->folder, rig->image_count++);
    bool made = rig->module->snapshot(rig->store, path, err) && dump_copy(rig, path, &got, err);
    if (made) {
        rig->session_before_ms = 0;
        must_be_prefix(rig, &got, "snapshot");
        rig->session_before_ms = session;
    }
    disk_rig_remove(path);
    return made;
}

/* The store goes on in `image`. */
static void go_on(struct store_rig *rig, const char *image, const char *after, bool loses)
{
    struct bailey_error err = {0};
    struct rig_state got;

    rig_close(rig);
    snprintf(rig->folder, sizeof rig->folder, "%s", image);
    disk_rig_watch(rig->folder);
    if (!rig_open(rig, &err) || !dump(rig, rig->tables, &got, &err))
        fail_msg("%s: %s (%s)", after, err.text, err.hint);
    size_t count = must_be_prefix(rig, &got, after);
    if (!loses)
        assert_int_equal(count, rig->since_count);
    if (count > 0)
        rig->synced = rig->since[count - 1];
    rig->since_count = 0;
}

void rig_power_cut(struct store_rig *rig)
{
    char image[sizeof rig->folder];

    snprintf(image, sizeof image, "%s/%u", rig->base, ++rig->image_count);
    disk_rig_power_cut(image, rig_draw(rig, UINT64_MAX));
    go_on(rig, image, "power cut", true);
}

void rig_kill(struct store_rig *rig)
{
    char image[sizeof rig->folder];

    snprintf(image, sizeof image, "%s/%u", rig->base, ++rig->image_count);
    disk_rig_kill(image);
    go_on(rig, image, "kill", false);
}
