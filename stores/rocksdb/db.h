/* db.h: RocksDB as this store uses it: how it is opened, what its errors mean, and how it comes back after one.
 *
 * One key space for all tables: the number of the table (4 bytes, big-endian), in an aging table the end of the slice (8), then the
 * key. Table 0 is ours: the tables by name.
 */
#ifndef ROCKSDB_DB_H
#define ROCKSDB_DB_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include <bailey/store.h>

enum { NUMBER_SIZE = 4, SLICE_SIZE = 8, PREFIX_MAX = NUMBER_SIZE + SLICE_SIZE, WRITE_BUFFER = 16 << 20 };

#define NOTHING_EXPIRED INT64_MIN /* no slice ends there */

struct db {
    /* Held for reading by each call that uses `rocks`, for writing while it is opened anew, or a slice comes or goes. */
    pthread_rwlock_t lock;
    rocksdb_t *rocks; /* NULL: it could not be opened again */
    rocksdb_column_family_handle_t *family;
    atomic_bool is_stale; /* open it anew before the next change */
    bool expects_lookups;

    char *path;
    int mark; /* the locked file */
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read, *scan;
    rocksdb_writeoptions_t *written;
    rocksdb_compactionfilter_t *filter;

    /* By the table's number: slices that end here or before have expired; else, and in other tables, NOTHING_EXPIRED. Read by RocksDB's threads. */
    atomic_int_least64_t expired_ms[BAILEY_STORE_TABLES_MAX + 1];
};

/* Made for tables that are scanned. */
struct db *db_open(const char *path, struct bailey_error *err);
void db_close(struct db *db);

/* It has a table, or will, whose keys are looked up: opened anew for that if it was not yet, for more memory. */
bool db_expect_lookups(struct db *db, struct bailey_error *err);

/* Begin to read: locked, and open, or false with `err`. */
bool db_enter(struct db *db, struct bailey_error *err);
/* Begin a change: the same, after RocksDB was opened anew if the last one failed and the disk is well. */
bool db_enter_change(struct db *db, struct bailey_error *err);
void db_leave(struct db *db);
/* Ends a change: `message`, which it frees, is RocksDB's, or NULL. Returns whether all is well. */
bool db_leave_change(struct db *db, char *message, struct bailey_error *err);
/* Of what changes nothing: false, with RocksDB's message. */
bool db_fail(const struct db *db, char *message, struct bailey_error *err);

void put_big_endian(uint8_t *out, uint64_t value, int size);
uint64_t get_big_endian(const uint8_t *in, int size);
/* The end of a slice as it is in a key: negative ones come first. */
void put_slice(uint8_t *out, int64_t end_ms);
int64_t get_slice(const uint8_t *in);

#endif
