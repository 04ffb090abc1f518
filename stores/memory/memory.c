/* memory.c: the store that keeps nothing: for tests, and where duplicates after a restart do not matter.
 *
 * One lock for all tables: a write takes it once a batch, a get_many too. A scan copies some records at a time, and visits them
 * without the lock, so that a long one holds nobody up, and visit() may call the store.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bailey/store.h>

#include "aging.h"
#include "ordered.h"

enum { SCAN_BYTES = 64 << 10 };

struct table {
    struct memory *memory;
    struct table *next;
    struct bailey_table_options options;
    struct aging *aging;     /* of an aging table, else NULL */
    struct ordered *ordered; /* of the others */
    char name[];
};

struct memory {
    pthread_rwlock_t lock;
    struct table *tables;
    unsigned table_count;
};

static bool out_of_memory(struct bailey_error *err)
{
    return bailey_fail(err, BAILEY_ERR_TRANSIENT, "the memory store is out of memory");
}

/* Writers first: readers never stop coming. */
static bool lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;

    if (pthread_rwlockattr_init(&attributes) != 0)
        return false;
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    bool made = pthread_rwlock_init(lock, &attributes) == 0;
    pthread_rwlockattr_destroy(&attributes);
    return made;
}

static bool memory_open(void **store, const char *path, struct bailey_error *err)
{
    struct memory *memory = calloc(1, sizeof *memory);

    (void)path;
    if (memory == NULL || !lock_init(&memory->lock)) {
        free(memory);
        return out_of_memory(err);
    }
    *store = memory;
    return true;
}

static void table_free(struct table *table)
{
    aging_free(table->aging);
    ordered_free(table->ordered);
    free(table);
}

static void memory_close(void *store)
{
    struct memory *memory = store;

    for (struct table *table; (table = memory->tables) != NULL;) {
        memory->tables = table->next;
        table_free(table);
    }
    pthread_rwlock_destroy(&memory->lock);
    free(memory);
}

static struct table *table_new(struct memory *memory, const struct bailey_table_options *options)
{
    size_t name_size = strlen(options->name) + 1;
    struct table *table = calloc(1, sizeof *table + name_size);

    if (table == NULL)
        return NULL;
    memcpy(table->name, options->name, name_size);
    table->memory = memory;
    table->options = *options;
    table->options.name = table->name;
    if (options->kind == BAILEY_TABLE_AGING)
        table->aging = aging_new(options);
    else
        table->ordered = ordered_new();
    if (table->aging != NULL || table->ordered != NULL)
        return table;
    table_free(table);
    return NULL;
}

static bool memory_table_open(void *store, void **table, const struct bailey_table_options *options,
                              struct bailey_error *err)
{
    struct memory *memory = store;
    struct table *known = memory->tables;

    if (!bailey_table_options_check(options, err))
        return false;
    while (known != NULL && strcmp(known->name, options->name) != 0)
        known = known->next;
    if (known != NULL) {
        *table = known;
        return bailey_table_options_same(&known->options, options, err);
    }
    if (memory->table_count == BAILEY_STORE_TABLES_MAX)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "a store has no more than %d tables", BAILEY_STORE_TABLES_MAX);
    struct table *made = table_new(memory, options);
    if (made == NULL)
        return out_of_memory(err);
    pthread_rwlock_wrlock(&memory->lock);
    made->next = memory->tables;
    memory->tables = made;
    memory->table_count++;
    pthread_rwlock_unlock(&memory->lock);
    *table = made;
    return true;
}

static bool memory_get_many(void *self, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                            struct bailey_error *err)
{
    const struct table *table = self;
    uint32_t key_size = table->options.key_size, value_size = table->options.value_size;

    (void)err;
    assert(key_size > 0);
    pthread_rwlock_rdlock(&table->memory->lock);
    if (table->aging != NULL) {
        aging_get(table->aging, keys, values, found, count);
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct bailey_bytes value = ordered_get(table->ordered, (struct bailey_bytes){keys + i * key_size, key_size});
        found[i] = value.data != NULL;
        if (found[i] && value_size > 0)
            memcpy(values + i * value_size, value.data, value_size);
    }
    pthread_rwlock_unlock(&table->memory->lock);
    return true;
}

/* ---- Writing ---- */

static void check_sizes(const struct table *table, const struct bailey_store_change *change)
{
    assert(change->key.len > 0 && change->key.len <= BAILEY_STORE_KEY_MAX);
    assert(table->options.key_size == 0 || change->key.len == table->options.key_size);
    if (change->value.data == NULL)
        assert(table->aging == NULL);
    else
        assert(table->options.key_size == 0 ? change->value.len <= BAILEY_STORE_VALUE_MAX
                                            : change->value.len == table->options.value_size);
}

static bool prepare(const struct bailey_store_change *change)
{
    const struct table *table = change->table;

    check_sizes(table, change);
    if (table->aging != NULL)
        return aging_prepare(table->aging, change->key.data);
    return change->value.data == NULL || ordered_prepare(table->ordered, change->key, change->value);
}

static void cancel(const struct bailey_store_change *change)
{
    const struct table *table = change->table;

    if (table->aging != NULL)
        aging_cancel(table->aging, change->key.data);
    else
        ordered_cancel(table->ordered);
}

static void apply(const struct bailey_store_change *change)
{
    const struct table *table = change->table;

    if (table->aging != NULL)
        aging_put(table->aging, change->key.data, change->value.data);
    else if (change->value.data == NULL)
        ordered_erase(table->ordered, change->key);
    else
        ordered_put(table->ordered);
}

static bool memory_write(void *store, const struct bailey_store_change *changes, size_t count, struct bailey_error *err)
{
    struct memory *memory = store;
    size_t prepared = 0;
    bool enough;

    pthread_rwlock_wrlock(&memory->lock);
    while (prepared < count && prepare(&changes[prepared]))
        prepared++;
    enough = prepared == count;
    for (size_t i = 0; i < prepared; i++)
        (enough ? apply : cancel)(&changes[i]);
    pthread_rwlock_unlock(&memory->lock);
    return enough || out_of_memory(err);
}

static bool memory_sync(void *store, struct bailey_error *err)
{
    (void)store;
    (void)err;
    return true;
}

/* ---- Scanning ---- */

typedef bool visitor(void *ctx, struct bailey_bytes key, struct bailey_bytes value);

static bool is_before(const uint8_t *key, uint32_t key_size, struct bailey_bytes from)
{
    int order = from.data == NULL ? 1 : memcmp(key, from.data, key_size < from.len ? key_size : from.len);

    return order < 0 || (order == 0 && key_size < from.len);
}

static bool scan_aging(const struct table *table, struct bailey_bytes from, visitor *visit, void *ctx,
                       struct bailey_error *err)
{
    uint32_t key_size = table->options.key_size, record_size = key_size + table->options.value_size;
    uint8_t *records = malloc(SCAN_BYTES);
    bool wants_more = records != NULL;
    size_t count = 1;

    for (uint64_t next = 0; wants_more && count > 0;) {
        pthread_rwlock_rdlock(&table->memory->lock);
        count = aging_copy(table->aging, &next, records, SCAN_BYTES / record_size);
        pthread_rwlock_unlock(&table->memory->lock);
        for (size_t i = 0; i < count && wants_more; i++) {
            const uint8_t *record = records + i * record_size;
            if (!is_before(record, key_size, from))
                wants_more = visit(ctx, (struct bailey_bytes){record, key_size},
                                   (struct bailey_bytes){record + key_size, table->options.value_size});
        }
    }
    free(records);
    return records != NULL || out_of_memory(err);
}

/* Visit what ordered_copy() wrote; the last key goes to `last`. */
static bool visit_copied(const uint8_t *at, size_t count, visitor *visit, void *ctx, uint8_t last[BAILEY_STORE_KEY_MAX],
                         size_t *last_len)
{
    bool wants_more = true;

    for (size_t i = 0, lens[2]; i < count && wants_more; i++) {
        memcpy(lens, at, sizeof lens);
        struct bailey_bytes key = {at + sizeof lens, lens[0]};
        memcpy(last, key.data, key.len);
        *last_len = key.len;
        wants_more = visit(ctx, key, (struct bailey_bytes){key.data + key.len, lens[1]});
        at = key.data + key.len + lens[1];
    }
    return wants_more;
}

static bool scan_ordered(const struct table *table, struct bailey_bytes from, visitor *visit, void *ctx,
                         struct bailey_error *err)
{
    uint8_t last[BAILEY_STORE_KEY_MAX], *buffer = NULL;
    size_t size = SCAN_BYTES, needed = size, last_len = 0;
    bool wants_more = true, enough = true;

    while (wants_more && needed > 0) {
        uint8_t *grown = buffer == NULL || needed > size ? realloc(buffer, needed) : buffer;
        enough = grown != NULL;
        if (!enough)
            break;
        buffer = grown;
        size = needed > size ? needed : size;
        needed = size;
        pthread_rwlock_rdlock(&table->memory->lock);
        size_t count = ordered_copy(table->ordered, last_len > 0 ? (struct bailey_bytes){last, last_len} : from,
                                    last_len > 0, buffer, &needed);
        pthread_rwlock_unlock(&table->memory->lock);
        wants_more = visit_copied(buffer, count, visit, ctx, last, &last_len);
    }
    free(buffer);
    return enough || out_of_memory(err);
}

static bool memory_scan(void *self, struct bailey_bytes from, visitor *visit, void *ctx, struct bailey_error *err)
{
    const struct table *table = self;

    return (table->aging != NULL ? scan_aging : scan_ordered)(table, from, visit, ctx, err);
}

/* ---- The rest ---- */

static bool memory_expire(void *self, int64_t before_ms, struct bailey_error *err)
{
    const struct table *table = self;

    (void)err;
    assert(table->aging != NULL);
    pthread_rwlock_wrlock(&table->memory->lock);
    aging_expire(table->aging, before_ms);
    pthread_rwlock_unlock(&table->memory->lock);
    return true;
}

static void memory_stats(void *store, struct bailey_store_stats *stats)
{
    struct memory *memory = store;

    *stats = (struct bailey_store_stats){.memory_bytes = sizeof *memory};
    pthread_rwlock_rdlock(&memory->lock);
    for (const struct table *table = memory->tables; table != NULL; table = table->next)
        stats->memory_bytes +=
            (int64_t)sizeof *table + (table->aging != NULL ? aging_bytes(table->aging) : ordered_bytes(table->ordered));
    pthread_rwlock_unlock(&memory->lock);
}

static const struct bailey_store memory_store = {
    .size = sizeof memory_store,
    .abi_major = BAILEY_STORE_ABI_MAJOR,
    .abi_minor = BAILEY_STORE_ABI_MINOR,
    .name = "memory",
    .summary = "In memory only: nothing is left after a restart.",
    .traits = BAILEY_STORE_ORDERED,
    .open = memory_open,
    .close = memory_close,
    .table_open = memory_table_open,
    .get_many = memory_get_many,
    .write = memory_write,
    .sync = memory_sync,
    .scan = memory_scan,
    .expire = memory_expire,
    .stats = memory_stats,
};

const struct bailey_store *bailey_store_entry(void)
{
    return &memory_store;
}
