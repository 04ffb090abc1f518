/* table.h: the tables of a store: their numbers and keys, the slices of an aging one, and reading.
 *
 * An aging table keeps its records by slices, each named by the end of its time: the newest holds what is written. A key is looked up from
 * the newest slice to the oldest, at the price of a filter's look a slice. What has expired are whole slices, in files of their own.
 */
#ifndef ROCKSDB_TABLE_H
#define ROCKSDB_TABLE_H

#include "db.h"

struct table {
    struct db *db;
    struct table *next;
    struct bailey_table_options options;
    uint32_t number;
    int64_t *slices; /* their ends, the newest last; under the db's lock */
    size_t slice_count;
    atomic_int_least64_t before_ms; /* what is older is not shown */
    char name[];
};

/* The tables that the store knows, linked; false with `err` (and what was read, to be freed). */
bool tables_load(struct db *db, struct table **tables, struct bailey_error *err);
void tables_free(struct table *tables);

/* A new one; written to the store. NULL with `err`. */
struct table *table_create(struct db *db, uint32_t number, const struct bailey_table_options *options,
                           struct bailey_error *err);

/* The key in RocksDB of a change, in `out`; its length, or 0 if there is no memory for a slice. */
size_t table_key(struct table *table, const struct bailey_store_change *change,
                 uint8_t out[PREFIX_MAX + BAILEY_STORE_KEY_MAX]);

bool table_get_many(void *table, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                    struct bailey_error *err);
bool table_scan(void *table, struct bailey_bytes from,
                bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value), void *ctx,
                struct bailey_error *err);
bool table_expire(void *table, int64_t before_ms, struct bailey_error *err);

#endif
