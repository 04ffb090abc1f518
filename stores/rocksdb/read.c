/* read.c: get_many and scan.
 *
 * A scan copies some records at a time with an iterator of its own, and visits them without the lock: so a long one holds up neither
 * writing nor the return from a failure, and visit() may call the store.
 */
#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { GET_MAX = 128, FIRST_BYTES = 16 << 10, SCAN_BYTES = 256 << 10 };

/* ---- get_many ---- */

/* Up to GET_MAX keys that are still looked for, of one prefix. */
struct lookup {
    const struct table *table;
    size_t prefix, key_len, count;
    size_t places[GET_MAX]; /* in the caller's arrays */
    uint8_t keys[GET_MAX][PREFIX_MAX + BAILEY_STORE_KEY_MAX];
};

/* Take the value, if there is one. True if the key need not be looked for any more. */
static bool take(const struct lookup *lookup, const rocksdb_pinnableslice_t *slice, uint8_t *value, bool *found)
{
    const struct bailey_table_options *options = &lookup->table->options;
    size_t len = 0;
    const char *bytes = slice == NULL ? NULL : rocksdb_pinnableslice_value(slice, &len);

    if (bytes == NULL || len != options->value_size)
        return false;
    *found = options->kind != BAILEY_TABLE_AGING ||
             bailey_aging_time((const uint8_t *)bytes) >= atomic_load(&lookup->table->before_ms);
    if (*found && len > 0)
        memcpy(value, bytes, len);
    return true;
}

/* Look for all that is left below one prefix, and keep what was not found. */
static bool look(struct lookup *lookup, uint8_t *values, bool *found, struct bailey_error *err)
{
    struct db *db = lookup->table->db;
    const char *keys[GET_MAX];
    size_t lens[GET_MAX], len = lookup->prefix + lookup->key_len, left = 0;
    rocksdb_pinnableslice_t *slices[GET_MAX];
    char *messages[GET_MAX], *message = NULL;

    for (size_t i = 0; i < lookup->count; i++) {
        keys[i] = (const char *)lookup->keys[i];
        lens[i] = len;
    }
    rocksdb_batched_multi_get_cf(db->rocks, db->read, db->family, lookup->count, keys, lens, slices, messages, false);
    for (size_t i = 0; i < lookup->count; i++) {
        size_t place = lookup->places[i];
        bool done = take(lookup, slices[i], values + place * lookup->table->options.value_size, &found[place]);
        if (slices[i] != NULL)
            rocksdb_pinnableslice_destroy(slices[i]);
        if (messages[i] != NULL && message == NULL)
            message = messages[i];
        else
            rocksdb_free(messages[i]);
        if (!done && left != i)
            memcpy(lookup->keys[left], lookup->keys[i], len);
        lookup->places[left] = place;
        left += !done;
    }
    lookup->count = left;
    return message == NULL || db_fail(db, message, err);
}

static bool get_some(struct lookup *lookup, const uint8_t *keys, uint8_t *values, bool *found, struct bailey_error *err)
{
    const struct table *table = lookup->table;
    bool aging = table->options.kind == BAILEY_TABLE_AGING;

    lookup->prefix = aging ? PREFIX_MAX : NUMBER_SIZE;
    lookup->key_len = table->options.key_size;
    for (size_t i = 0; i < lookup->count; i++) {
        lookup->places[i] = i;
        found[i] = false;
        put_big_endian(lookup->keys[i], table->number, NUMBER_SIZE);
        memcpy(lookup->keys[i] + lookup->prefix, keys + i * lookup->key_len, lookup->key_len);
    }
    if (!aging)
        return look(lookup, values, found, err);
    for (size_t slice = table->slice_count; slice-- > 0 && lookup->count > 0;) {
        for (size_t i = 0; i < lookup->count; i++)
            put_slice(lookup->keys[i] + NUMBER_SIZE, table->slices[slice]);
        if (!look(lookup, values, found, err))
            return false;
    }
    return true;
}

bool table_get_many(void *self, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                    struct bailey_error *err)
{
    struct table *table = self;
    struct lookup lookup = {.table = table};
    bool done = true;

    assert(table->options.key_size > 0);
    if (!db_enter(table->db, err))
        return false;
    for (size_t at = 0; at < count && done; at += lookup.count) {
        size_t some = count - at < GET_MAX ? count - at : GET_MAX;
        lookup.count = some;
        done = get_some(&lookup, keys + at * table->options.key_size, values + at * table->options.value_size,
                        found + at, err);
        lookup.count = some;
    }
    db_leave(table->db);
    return done;
}

/* ---- scan ---- */

struct scan {
    struct table *table;
    size_t prefix;
    struct bailey_bytes from;
    uint8_t next[PREFIX_MAX + BAILEY_STORE_KEY_MAX + 1]; /* the key in RocksDB to go on from */
    size_t next_len;
    uint8_t *buffer; /* records: two lengths, key without its prefix, value */
    size_t size, filled, count;
    bool ended;
};

static bool is_before(const uint8_t *key, size_t key_len, struct bailey_bytes from)
{
    int order = from.data == NULL ? 1 : memcmp(key, from.data, key_len < from.len ? key_len : from.len);

    return order < 0 || (order == 0 && key_len < from.len);
}

/* Is it to be shown? */
static bool is_wanted(const struct scan *scan, const uint8_t *key, size_t key_len, const uint8_t *value,
                      size_t value_len)
{
    const struct bailey_table_options *options = &scan->table->options;

    if (options->kind != BAILEY_TABLE_ORDERED && (key_len != options->key_size || value_len != options->value_size))
        return false;
    return !is_before(key, key_len, scan->from) &&
           (options->kind != BAILEY_TABLE_AGING || bailey_aging_time(value) >= atomic_load(&scan->table->before_ms));
}

static bool make_room(struct scan *scan, size_t needed)
{
    if (needed <= scan->size)
        return true;
    uint8_t *grown = realloc(scan->buffer, needed);
    if (grown == NULL)
        return false;
    scan->buffer = grown;
    scan->size = needed;
    return true;
}

/* Copy the record under the iterator. False if the buffer is full, or (with nothing in it) cannot be had. */
static bool copy_record(struct scan *scan, const rocksdb_iterator_t *iterator)
{
    size_t key_len, value_len;
    const uint8_t *key = (const uint8_t *)rocksdb_iter_key(iterator, &key_len);
    const uint8_t *value = (const uint8_t *)rocksdb_iter_value(iterator, &value_len);
    size_t lens[] = {key_len - scan->prefix, value_len}, needed = sizeof lens + lens[0] + lens[1];

    if (!is_wanted(scan, key + scan->prefix, lens[0], value, value_len))
        return true;
    if (needed > scan->size - scan->filled && (scan->count > 0 || !make_room(scan, needed)))
        return false;
    uint8_t *at = scan->buffer + scan->filled;
    memcpy(at, lens, sizeof lens);
    memcpy(at + sizeof lens, key + scan->prefix, lens[0]);
    memcpy(at + sizeof lens + lens[0], value, lens[1]);
    scan->filled += needed;
    scan->count++;
    return true;
}

static void go_behind(struct scan *scan, const uint8_t *key, size_t len)
{
    memcpy(scan->next, key, len);
    scan->next[len] = 0;
    scan->next_len = len + 1;
}

/* Fill the buffer. */
static bool copy_some(struct scan *scan, struct bailey_error *err)
{
    struct db *db = scan->table->db;
    char *message = NULL;
    bool more = true;

    scan->filled = scan->count = 0;
    if (!db_enter(db, err))
        return false;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(db->rocks, db->scan);
    for (rocksdb_iter_seek(iterator, (const char *)scan->next, scan->next_len); more; rocksdb_iter_next(iterator)) {
        size_t len = 0;
        const uint8_t *key = rocksdb_iter_valid(iterator) ? (const uint8_t *)rocksdb_iter_key(iterator, &len) : NULL;
        scan->ended =
            key == NULL || len <= scan->prefix || len >= sizeof scan->next || memcmp(key, scan->next, NUMBER_SIZE) != 0;
        if (scan->ended || !(more = copy_record(scan, iterator)))
            break;
        go_behind(scan, key, len);
    }
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    db_leave(db);
    if (message != NULL)
        return db_fail(db, message, err);
    return more || scan->count > 0 || bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
}

bool table_scan(void *self, struct bailey_bytes from,
                bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value), void *ctx,
                struct bailey_error *err)
{
    struct table *table = self;
    struct scan scan = {.table = table, .from = from, .next_len = NUMBER_SIZE};
    bool wants_more = true,
         done = make_room(&scan, FIRST_BYTES) || bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");

    scan.prefix = table->options.kind == BAILEY_TABLE_AGING ? PREFIX_MAX : NUMBER_SIZE;
    put_big_endian(scan.next, table->number, NUMBER_SIZE);
    if (table->options.kind == BAILEY_TABLE_AGING) { /* not through what waits for its compaction */
        put_slice(scan.next + NUMBER_SIZE, atomic_load(&table->db->expired_ms[table->number]));
        scan.next_len = PREFIX_MAX;
    } else if (from.data != NULL) {
        memcpy(scan.next + NUMBER_SIZE, from.data, from.len);
        scan.next_len += from.len;
    }
    while (done && wants_more && !scan.ended && (done = copy_some(&scan, err))) {
        const uint8_t *at = scan.buffer;
        for (size_t i = 0, lens[2]; i < scan.count && wants_more; i++, at += sizeof lens + lens[0] + lens[1]) {
            memcpy(lens, at, sizeof lens);
            wants_more = visit(ctx, (struct bailey_bytes){at + sizeof lens, lens[0]},
                               (struct bailey_bytes){at + sizeof lens + lens[0], lens[1]});
        }
        make_room(&scan, SCAN_BYTES); /* it was not content with little; if there is no memory, little it is */
    }
    free(scan.buffer);
    return done;
}
