/* rocksdb.c: the store on RocksDB: all kinds of tables, in a folder of this machine. */
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "table.h"

struct rocksdb {
    struct db *db;
    struct table *tables; /* all that the folder has */
};

static void rocksdb_store_close(void *store)
{
    struct rocksdb *rocksdb = store;

    tables_free(rocksdb->tables);
    db_close(rocksdb->db);
    free(rocksdb);
}

static bool rocksdb_store_open(void **store, const char *path, struct bailey_error *err)
{
    struct rocksdb *rocksdb = calloc(1, sizeof *rocksdb);

    if (rocksdb == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    if ((rocksdb->db = db_open(path, err)) == NULL) {
        free(rocksdb);
        return false;
    }
    if (!tables_load(rocksdb->db, &rocksdb->tables, err)) {
        rocksdb_store_close(rocksdb);
        return false;
    }
    *store = rocksdb;
    return true;
}

static bool rocksdb_table_open(void *store, void **out, const struct bailey_table_options *options,
                               struct bailey_error *err)
{
    struct rocksdb *rocksdb = store;
    struct table *table = rocksdb->tables;
    uint32_t last = 0;

    if (!bailey_table_options_check(options, err))
        return false;
    for (const struct table *each = rocksdb->tables; each != NULL; each = each->next)
        last = each->number > last ? each->number : last;
    while (table != NULL && strcmp(table->name, options->name) != 0)
        table = table->next;
    if (table == NULL) {
        if (last == BAILEY_STORE_TABLES_MAX)
            return bailey_fail(err, BAILEY_ERR_CONFIG, "a store has no more than %d tables", BAILEY_STORE_TABLES_MAX);
        if ((table = table_create(rocksdb->db, last + 1, options, err)) == NULL)
            return false;
        table->next = rocksdb->tables;
        rocksdb->tables = table;
    }
    if (!bailey_table_options_same(&table->options, options, err))
        return false;
    table->options.slice_ms = options->slice_ms;
    *out = table;
    return true;
}

static bool rocksdb_store_write(void *store, const struct bailey_store_change *changes, size_t count,
                                struct bailey_error *err)
{
    struct db *db = ((struct rocksdb *)store)->db;
    char *message = NULL;
    bool enough = true, written = false;

    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (size_t i = 0; i < count && enough; i++) {
        const struct bailey_store_change *change = &changes[i];
        uint8_t key[PREFIX_MAX + BAILEY_STORE_KEY_MAX];
        size_t len = table_key(change->table, change, key);
        enough = len > 0;
        if (enough && change->value.data == NULL)
            rocksdb_writebatch_delete(batch, (const char *)key, len);
        else if (enough)
            rocksdb_writebatch_put(batch, (const char *)key, len, (const char *)change->value.data, change->value.len);
    }
    if (!enough) {
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    } else if (db_enter_change(db, err)) {
        rocksdb_write(db->rocks, db->written, batch, &message);
        written = db_leave_change(db, message, err);
    }
    rocksdb_writebatch_destroy(batch);
    return written;
}

static bool rocksdb_store_sync(void *store, struct bailey_error *err)
{
    struct db *db = ((struct rocksdb *)store)->db;
    char *message = NULL;

    if (!db_enter_change(db, err))
        return false;
    rocksdb_flush_wal(db->rocks, 1, &message);
    return db_leave_change(db, message, err);
}

static bool rocksdb_store_snapshot(void *store, const char *path, struct bailey_error *err)
{
    struct db *db = ((struct rocksdb *)store)->db;
    char *message = NULL;

    if (!db_enter_change(db, err))
        return false;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(db->rocks, &message);
    if (checkpoint != NULL) {
        rocksdb_checkpoint_create(checkpoint, path, 0, &message); /* 0: what is in memory goes to a file first */
        rocksdb_checkpoint_object_destroy(checkpoint);
    }
    if (!db_leave_change(db, message, err))
        return false;
    if (folder_mark(path, err))
        return true;
    rocksdb_destroy_db(db->options, path, &message);
    rocksdb_free(message);
    return false;
}

static void rocksdb_store_stats(void *store, struct bailey_store_stats *stats)
{
    static const char *const parts[] = {"rocksdb.cur-size-all-mem-tables", "rocksdb.estimate-table-readers-mem",
                                        "rocksdb.block-cache-usage"};
    struct db *db = ((struct rocksdb *)store)->db;

    *stats = (struct bailey_store_stats){.disk_bytes = folder_bytes(db->path)};
    if (!db_enter(db, NULL))
        return;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        uint64_t bytes = 0;
        if (rocksdb_property_int(db->rocks, parts[i], &bytes) == 0)
            stats->memory_bytes += (int64_t)bytes;
    }
    db_leave(db);
}

static const struct bailey_store rocksdb_store = {
    .size = sizeof rocksdb_store,
    .abi_major = BAILEY_STORE_ABI_MAJOR,
    .abi_minor = BAILEY_STORE_ABI_MINOR,
    .name = "rocksdb",
    .summary = "In a folder of this machine's disk, by RocksDB.",
    .library = "RocksDB",
    .traits = BAILEY_STORE_DURABLE | BAILEY_STORE_ORDERED,
    .open = rocksdb_store_open,
    .close = rocksdb_store_close,
    .table_open = rocksdb_table_open,
    .get_many = table_get_many,
    .write = rocksdb_store_write,
    .sync = rocksdb_store_sync,
    .scan = table_scan,
    .expire = table_expire,
    .snapshot = rocksdb_store_snapshot,
    .stats = rocksdb_store_stats,
};

const struct bailey_store *bailey_store_entry(void)
{
    return &rocksdb_store;
}
