/* db.c: RocksDB's options, with their reasons, and its errors.
 *
 * After an error of the disk RocksDB only reads, and its C interface has no way to resume. So it is closed and opened anew, at the next
 * change: what was written is in its log (in the page cache, if a sync failed), is read from there and written to a new file, which is
 * synced: so nothing is believed that a failed sync may have lost. First the disk is tried, so that reading goes on while it is full.
 */
#include "db.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "silence.h"

/* The log is cut at its first torn record, as the promise is "write, sync, then believe". Rows do not compress. It is we who resume after
 * an error, and not RocksDB in its background. */
#define COMMON_OPTIONS                                                                                     \
    "max_open_files=-1;max_background_jobs=2;max_write_buffer_number=3;max_bytes_for_level_base=67108864;" \
    "compression=kNoCompression;wal_recovery_mode=kPointInTimeRecovery;max_bgerror_resume_count=0;"        \
    "stats_dump_period_sec=0;stats_persist_period_sec=0;max_manifest_file_size=4194304;"

/* Rows that are read in their order, in memory that does not grow with their number: buffers are small, there is no filter, and of the
 * index only the top is held, its parts lie in the cache. More files at level 0 make up for the small buffers, as each compaction from
 * there rewrites level 1. */
static const char options_of_scans[] =
    COMMON_OPTIONS "write_buffer_size=4194304;arena_block_size=4194304;level0_file_num_compaction_trigger=8;"
                   "target_file_size_base=33554432;"
                   "block_based_table_factory={index_type=kTwoLevelIndexSearch;metadata_block_size=4096;block_size="
                   "16384;block_cache=8388608;"
                   "cache_index_and_filter_blocks=true;pin_top_level_index_and_filter=true;format_version=5}";

/* Keys that are looked up one by one: index and filters are held outside of the cache, as a small one would read them for each key. */
static const char options_of_lookups[] =
    COMMON_OPTIONS "write_buffer_size=16777216;memtable_whole_key_filtering=true;memtable_prefix_bloom_size_ratio=0.1;"
                   "target_file_size_base=16777216;"
                   "block_based_table_factory={filter_policy=bloomfilter:10:false;block_cache=8388608;"
                   "cache_index_and_filter_blocks=false;format_version=5}";

void put_big_endian(uint8_t *out, uint64_t value, int size)
{
    for (int i = size - 1; i >= 0; i--, value >>= 8)
        out[i] = (uint8_t)value;
}

uint64_t get_big_endian(const uint8_t *in, int size)
{
    uint64_t value = 0;

    for (int i = 0; i < size; i++)
        value = value << 8 | in[i];
    return value;
}

void put_slice(uint8_t *out, int64_t end_ms)
{
    put_big_endian(out, (uint64_t)end_ms ^ UINT64_C(1) << 63, SLICE_SIZE);
}

int64_t get_slice(const uint8_t *in)
{
    return (int64_t)(get_big_endian(in, SLICE_SIZE) ^ UINT64_C(1) << 63);
}

/* ---- Errors ---- */

bool db_fail(const struct db *db, char *message, struct bailey_error *err)
{
    assert(message != NULL);
    bool config = strncmp(message, "Corruption", 10) == 0 || strncmp(message, "Invalid", 7) == 0 ||
                  strncmp(message, "Not implemented", 15) == 0;

    bailey_fail(err, config ? BAILEY_ERR_CONFIG : BAILEY_ERR_TRANSIENT, "store %.80s: %s", db->path, message);
    if (strstr(message, "No space left") != NULL)
        bailey_hint(err, "free space on its disk");
    else if (config)
        bailey_hint(err, "restore a snapshot, or give another folder");
    else
        bailey_hint(err, "look at the disk, and at the system's log");
    rocksdb_free(message);
    return false;
}

/* ---- Options ---- */

static unsigned char has_expired(void *ctx, int level, const char *key, size_t key_len, const char *value,
                                 size_t value_len, char **new_value, size_t *new_value_len,
                                 unsigned char *value_changed)
{
    const struct db *db = ctx;
    const uint8_t *bytes = (const uint8_t *)key;

    (void)level;
    (void)value;
    (void)value_len;
    (void)new_value;
    (void)new_value_len;
    (void)value_changed;
    if (key_len < PREFIX_MAX)
        return 0;
    uint64_t number = get_big_endian(bytes, NUMBER_SIZE);
    if (number > BAILEY_STORE_TABLES_MAX)
        return 0;
    int64_t expired_ms = atomic_load_explicit(&db->expired_ms[number], memory_order_relaxed);
    return expired_ms != NOTHING_EXPIRED && get_slice(bytes + NUMBER_SIZE) <= expired_ms;
}

static void keep_state(void *ctx)
{
    (void)ctx;
}

static const char *filter_name(void *ctx)
{
    (void)ctx;
    return "bailey.expired";
}

/* For the next opening. */
static bool set_options(struct db *db, const char *text, struct bailey_error *err)
{
    rocksdb_options_t *base = rocksdb_options_create();
    char *message = NULL;

    rocksdb_get_options_from_string(base, text, db->options, &message);
    rocksdb_options_destroy(base);
    rocksdb_options_set_compaction_filter(db->options, db->filter);
    options_silence(db->options);
    return message == NULL || db_fail(db, message, err);
}

static bool make_options(struct db *db, struct bailey_error *err)
{
    db->options = rocksdb_options_create();
    db->read = rocksdb_readoptions_create();
    db->scan = rocksdb_readoptions_create();
    db->written = rocksdb_writeoptions_create();
    rocksdb_readoptions_set_fill_cache(db->scan, 0);
    for (size_t i = 0; i <= BAILEY_STORE_TABLES_MAX; i++)
        atomic_init(&db->expired_ms[i], NOTHING_EXPIRED);
    db->filter = rocksdb_compactionfilter_create(db, keep_state, has_expired, filter_name);
    return set_options(db, options_of_scans, err);
}

/* A buffer of tables that are scanned is one piece of memory, which malloc is to map and give back: else pieces stay in the heaps of
 * RocksDB's threads, 10 MB in all. What is smaller is not mapped, and a free MB is kept, so that large messages are as cheap as before. */
static void give_back_buffers(void)
{
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

/* ---- Opening and closing ---- */

static bool open_rocks(struct db *db, struct bailey_error *err)
{
    const char *name = "default";
    const rocksdb_options_t *options = db->options;
    char *message = NULL;

    db->rocks = rocksdb_open_column_families(db->options, db->path, 1, &name, &options, &db->family, &message);
    return message == NULL || db_fail(db, message, err);
}

static void close_rocks(struct db *db)
{
    if (db->rocks == NULL)
        return;
    rocksdb_column_family_handle_destroy(db->family);
    rocksdb_close(db->rocks);
    db->rocks = NULL;
}

struct db *db_open(const char *path, struct bailey_error *err)
{
    struct db *db = calloc(1, sizeof *db);
    bool fresh = false;

    if (db == NULL || (db->path = strdup(path)) == NULL) {
        free(db);
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
        return NULL;
    }
    give_back_buffers();
    db->mark = -1;
    pthread_rwlockattr_t writers_first;
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&db->lock, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
    if ((db->mark = folder_take(path, &fresh, err)) >= 0 && make_options(db, err)) {
        rocksdb_options_set_create_if_missing(db->options, fresh);
        if (open_rocks(db, err)) {
            rocksdb_options_set_create_if_missing(db->options, 0);
            return db;
        }
    }
    db_close(db);
    return NULL;
}

void db_close(struct db *db)
{
    close_rocks(db);
    if (db->options != NULL) {
        rocksdb_writeoptions_destroy(db->written);
        rocksdb_readoptions_destroy(db->scan);
        rocksdb_readoptions_destroy(db->read);
        rocksdb_options_set_compaction_filter(db->options, NULL);
        rocksdb_options_destroy(db->options);
        rocksdb_compactionfilter_destroy(db->filter);
    }
    if (db->mark >= 0)
        close(db->mark);
    pthread_rwlock_destroy(&db->lock);
    free(db->path);
    free(db);
}

static bool open_anew(struct db *db, struct bailey_error *err)
{
    pthread_rwlock_wrlock(&db->lock);
    if (db->is_stale) {
        close_rocks(db);
        db->is_stale = !open_rocks(db, err);
    }
    pthread_rwlock_unlock(&db->lock);
    return !db->is_stale;
}

bool db_expect_lookups(struct db *db, struct bailey_error *err)
{
    if (db->expects_lookups)
        return true;
    db->expects_lookups = true;
    db->is_stale = true;
    return set_options(db, options_of_lookups, err) && open_anew(db, err);
}

bool db_enter(struct db *db, struct bailey_error *err)
{
    pthread_rwlock_rdlock(&db->lock);
    if (db->rocks != NULL)
        return true;
    pthread_rwlock_unlock(&db->lock);
    bailey_fail(err, BAILEY_ERR_TRANSIENT, "store %.80s is closed after a failure of its disk", db->path);
    return bailey_hint(err, "look at the disk, and at the system's log");
}

void db_leave(struct db *db)
{
    pthread_rwlock_unlock(&db->lock);
}

bool db_enter_change(struct db *db, struct bailey_error *err)
{
    if (db->is_stale && (!folder_try(db->path, 2 * WRITE_BUFFER, err) || !open_anew(db, err)))
        return false; /* reading goes on while the disk is tried */
    return db_enter(db, err);
}

bool db_leave_change(struct db *db, char *message, struct bailey_error *err)
{
    if (message != NULL)
        db->is_stale = true;
    db_leave(db);
    return message == NULL || db_fail(db, message, err);
}
