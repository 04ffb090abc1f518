/* table.c: tables by name (table 0), and the slices of an aging table. */
#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_SIZE = 4 + 1 + 4 + 4 }; /* of table 0: number, kind, size of keys and of values */

static struct table *table_new(struct db *db, uint32_t number, const struct bailey_table_options *options,
                               size_t name_len)
{
    struct table *table = calloc(1, sizeof *table + name_len + 1);

    if (table == NULL)
        return NULL;
    memcpy(table->name, options->name, name_len);
    table->db = db;
    table->number = number;
    table->options = *options;
    table->options.name = table->name;
    atomic_init(&table->before_ms, INT64_MIN);
    return table;
}

void tables_free(struct table *tables)
{
    for (struct table *table; (table = tables) != NULL;) {
        tables = table->next;
        free(table->slices);
        free(table);
    }
}

/* ---- Slices ---- */

static bool slice_add(struct table *table, int64_t end_ms)
{
    int64_t *grown = realloc(table->slices, (table->slice_count + 1) * sizeof *grown);

    if (grown == NULL)
        return false;
    table->slices = grown;
    grown[table->slice_count++] = end_ms;
    return true;
}

static int64_t slice_end(int64_t time_ms, int64_t slice_ms)
{
    int64_t past = time_ms % slice_ms, end;

    if (past < 0)
        past += slice_ms;
    return __builtin_add_overflow(time_ms, slice_ms - past, &end) ? INT64_MAX : end;
}

/* Is this slice older than the newest by so little that a clock may have stepped back? Then the newest takes it: of a key that is put again
 * the last must lie in the newest. */
static bool is_just_behind(int64_t end_ms, int64_t newest_ms, int64_t slice_ms)
{
    int64_t behind;

    return !__builtin_sub_overflow(newest_ms, end_ms, &behind) && behind > 0 && behind <= slice_ms;
}

/* The slice for a record; after a jump of the clock one that is there already becomes the newest. */
static bool slice_for(struct table *table, int64_t time_ms, int64_t *end_ms)
{
    int64_t newest = table->slice_count > 0 ? table->slices[table->slice_count - 1] : INT64_MIN;
    bool added = true;

    *end_ms = slice_end(time_ms, table->options.slice_ms);
    if (table->slice_count > 0 && is_just_behind(*end_ms, newest, table->options.slice_ms))
        *end_ms = newest;
    if (table->slice_count > 0 && *end_ms == newest)
        return true;
    pthread_rwlock_wrlock(&table->db->lock);
    size_t at = 0;
    while (at < table->slice_count && table->slices[at] != *end_ms)
        at++;
    if (at < table->slice_count) {
        memmove(&table->slices[at], &table->slices[at + 1], (table->slice_count - at - 1) * sizeof *table->slices);
        table->slices[table->slice_count - 1] = *end_ms;
    } else {
        added = slice_add(table, *end_ms);
    }
    pthread_rwlock_unlock(&table->db->lock);
    return added;
}

/* Find the slices there are: from each, seek behind it. */
static bool slices_load(struct table *table, struct bailey_error *err)
{
    struct db *db = table->db;
    uint8_t key[PREFIX_MAX];
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(db->rocks, db->scan);
    bool enough = true;
    char *message = NULL;

    put_big_endian(key, table->number, NUMBER_SIZE);
    rocksdb_iter_seek(iterator, (const char *)key, NUMBER_SIZE);
    while (enough && rocksdb_iter_valid(iterator)) {
        size_t len;
        const uint8_t *found = (const uint8_t *)rocksdb_iter_key(iterator, &len);
        if (len < PREFIX_MAX || memcmp(found, key, NUMBER_SIZE) != 0)
            break;
        int64_t end_ms = get_slice(found + NUMBER_SIZE);
        enough = slice_add(table, end_ms);
        if (end_ms == INT64_MAX)
            break;
        put_slice(key + NUMBER_SIZE, end_ms + 1);
        rocksdb_iter_seek(iterator, (const char *)key, PREFIX_MAX);
    }
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    if (message != NULL)
        return db_fail(db, message, err);
    return enough || bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
}

/* ---- Tables by name ---- */

static struct table *table_read(struct db *db, const uint8_t *key, size_t key_len, const uint8_t *value,
                                size_t value_len)
{
    char name[BAILEY_STORE_KEY_MAX] = "";
    struct bailey_table_options options = {.name = name};

    if (value_len != RECORD_SIZE || key_len - NUMBER_SIZE >= sizeof name)
        return NULL;
    memcpy(name, key + NUMBER_SIZE, key_len - NUMBER_SIZE);
    options.kind = (enum bailey_table_kind)value[4];
    options.key_size = (uint32_t)get_big_endian(value + 5, 4);
    options.value_size = (uint32_t)get_big_endian(value + 9, 4);
    options.slice_ms = 1; /* given anew at each opening */
    uint64_t number = get_big_endian(value, NUMBER_SIZE);
    if (number == 0 || number > BAILEY_STORE_TABLES_MAX || !bailey_table_options_check(&options, NULL))
        return NULL;
    return table_new(db, (uint32_t)number, &options, key_len - NUMBER_SIZE);
}

static bool prepare(struct db *db, enum bailey_table_kind kind, struct bailey_error *err)
{
    return kind == BAILEY_TABLE_ORDERED || db_expect_lookups(db, err);
}

bool tables_load(struct db *db, struct table **tables, struct bailey_error *err)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(db->rocks, db->scan);
    const uint8_t zero[NUMBER_SIZE] = {0};
    char *message = NULL;
    bool loaded = true;

    *tables = NULL;
    rocksdb_iter_seek_to_first(iterator);
    for (; loaded && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t key_len, value_len;
        const uint8_t *key = (const uint8_t *)rocksdb_iter_key(iterator, &key_len);
        if (key_len < NUMBER_SIZE || memcmp(key, zero, NUMBER_SIZE) != 0)
            break;
        const uint8_t *value = (const uint8_t *)rocksdb_iter_value(iterator, &value_len);
        struct table *table = table_read(db, key, key_len, value, value_len);
        if (table == NULL) {
            bailey_fail(err, BAILEY_ERR_CONFIG, "%.150s is damaged: its list of tables", db->path);
            loaded = bailey_hint(err, "restore a snapshot, or give another folder");
            break;
        }
        table->next = *tables;
        *tables = table;
        loaded = table->options.kind != BAILEY_TABLE_AGING || slices_load(table, err);
    }
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    if (message != NULL)
        return db_fail(db, message, err);
    for (const struct table *table = *tables; table != NULL; table = table->next)
        loaded = loaded && prepare(db, table->options.kind, err);
    return loaded;
}

struct table *table_create(struct db *db, uint32_t number, const struct bailey_table_options *options,
                           struct bailey_error *err)
{
    uint8_t key[NUMBER_SIZE + BAILEY_STORE_KEY_MAX] = {0}, value[RECORD_SIZE];
    size_t name_len = strlen(options->name);
    struct table *table = table_new(db, number, options, name_len);
    char *message = NULL;

    if (table == NULL) {
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
        return NULL;
    }
    if (!prepare(db, options->kind, err) || !db_enter_change(db, err)) {
        free(table);
        return NULL;
    }
    memcpy(key + NUMBER_SIZE, options->name, name_len);
    put_big_endian(value, number, 4);
    value[4] = (uint8_t)options->kind;
    put_big_endian(value + 5, options->key_size, 4);
    put_big_endian(value + 9, options->value_size, 4);
    rocksdb_put(db->rocks, db->written, (const char *)key, NUMBER_SIZE + name_len, (const char *)value, sizeof value,
                &message);
    if (db_leave_change(db, message, err))
        return table;
    free(table);
    return NULL;
}

/* ---- Keys ---- */

size_t table_key(struct table *table, const struct bailey_store_change *change,
                 uint8_t out[PREFIX_MAX + BAILEY_STORE_KEY_MAX])
{
    size_t prefix = NUMBER_SIZE;
    int64_t end_ms;

    assert(change->key.len > 0 && change->key.len <= BAILEY_STORE_KEY_MAX);
    assert(table->options.key_size == 0 || change->key.len == table->options.key_size);
    assert(change->value.data == NULL || table->options.key_size == 0 ||
           change->value.len == table->options.value_size);
    put_big_endian(out, table->number, NUMBER_SIZE);
    if (table->options.kind == BAILEY_TABLE_AGING) {
        assert(change->value.data != NULL);
        if (!slice_for(table, bailey_aging_time(change->value.data), &end_ms))
            return 0;
        put_slice(out + NUMBER_SIZE, end_ms);
        prefix = PREFIX_MAX;
    }
    memcpy(out + prefix, change->key.data, change->key.len);
    return prefix + change->key.len;
}

/* ---- Expiry ---- */

static bool drop_files(struct table *table, int64_t last_ms, struct bailey_error *err)
{
    uint8_t from[PREFIX_MAX], to[PREFIX_MAX + 1];
    char *message = NULL;

    if (!db_enter_change(table->db, err))
        return false;
    put_big_endian(from, table->number, NUMBER_SIZE);
    put_slice(from + NUMBER_SIZE, INT64_MIN);
    put_big_endian(to, table->number, NUMBER_SIZE);
    put_slice(to + NUMBER_SIZE, last_ms);
    to[PREFIX_MAX] = 0xff;
    rocksdb_delete_file_in_range(table->db->rocks, (const char *)from, sizeof from, (const char *)to, sizeof to,
                                 &message);
    if (message == NULL)
        rocksdb_suggest_compact_range(table->db->rocks, (const char *)from, sizeof from, (const char *)to, sizeof to,
                                      &message);
    return db_leave_change(table->db, message, err);
}

/* Whole files go at once; what lies in a file with others, as it is compacted. The time in `before_ms` hides both. */
bool table_expire(void *self, int64_t before_ms, struct bailey_error *err)
{
    struct table *table = self;
    int64_t last_ms = INT64_MIN;
    size_t kept = 0;

    assert(table->options.kind == BAILEY_TABLE_AGING);
    if (before_ms > atomic_load(&table->before_ms))
        atomic_store(&table->before_ms, before_ms);
    for (size_t i = 0; i < table->slice_count; i++)
        if (table->slices[i] <= before_ms && table->slices[i] > last_ms)
            last_ms = table->slices[i];
    if (last_ms == INT64_MIN)
        return true;
    atomic_store(&table->db->expired_ms[table->number], last_ms);
    if (!drop_files(table, last_ms, err))
        return false;
    pthread_rwlock_wrlock(&table->db->lock);
    for (size_t i = 0; i < table->slice_count; i++)
        if (table->slices[i] > last_ms)
            table->slices[kept++] = table->slices[i];
    table->slice_count = kept;
    pthread_rwlock_unlock(&table->db->lock);
    return true;
}
