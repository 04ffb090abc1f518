/* bailey/store.h: a state store: what must outlive the process (ids of deduplication, scheduled deliveries).
 *
 * A store is a shared object NAME.so in a folder `stores/` that exports bailey_store_entry(). It sees nothing else of the
 * gateway than include/bailey, and is loaded only when a route needs it. Strings of the descriptor are static.
 *
 * A store holds tables. All calls may block, so the gateway makes them on threads of its own, never on a worker:
 *
 *   open, close, table_open, write, sync, expire   by one thread at a time (the committer's);
 *   get_many, scan, snapshot, stats                by any thread, also while the others run.
 *
 * A call that fails changes nothing: the gateway makes it again later, with the same arguments, and a store works again
 * once the cause (a full disk) is gone. After a failed sync() nothing that was written since the last good one may be
 * believed to be on the disk, whatever the system says later (a failed fsync drops dirty pages): the next sync() writes
 * it anew. Errors are TRANSIENT (the disk) or CONFIG (the operator must act); they name the file and say what to do.
 *
 * ABI diary: 1.0 first version. Append only, as in connector.h.
 */
#ifndef BAILEY_STORE_H
#define BAILEY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>
#include <bailey/message.h>

enum { BAILEY_STORE_ABI_MAJOR = 1, BAILEY_STORE_ABI_MINOR = 0 };

enum bailey_store_traits {
    BAILEY_STORE_DURABLE = 1u << 0, /* what was synced is there after a restart */
    BAILEY_STORE_ORDERED = 1u << 1, /* offers BAILEY_TABLE_ORDERED */
};

enum bailey_table_kind {
    /* Keys and values of fixed size. A record is put once or a few times (the last counts), is never erased, and leaves by
     * expire(). Its value begins with its time: 8 bytes, big-endian, ms of the caller's own clock; times rise, but for
     * little steps back. May hold 100 million records. */
    BAILEY_TABLE_AGING,
    /* Keys and values of fixed size, put and erased; few at a time (some 100,000), so they may live in memory. */
    BAILEY_TABLE_LIVE,
    /* Keys and values of any size, kept in the order of their keys (memcmp); put and erased. */
    BAILEY_TABLE_ORDERED,
};

enum {
    BAILEY_STORE_KEY_MAX = 256,       /* bytes */
    BAILEY_STORE_VALUE_MAX = 1 << 30, /* bytes, of an ordered table; 64 of the others */
    BAILEY_STORE_TABLES_MAX = 4096,
};

struct bailey_table_options {
    const char *name; /* unique in the store: 1 to 128 of a-z A-Z 0-9 . _ - ; not "." or ".." */
    enum bailey_table_kind kind;
    uint32_t key_size, value_size; /* bytes; 0 in an ordered table: any */
    int64_t slice_ms;      /* aging: expire() may keep records for that much longer, so that it can drop whole files */
    int64_t slice_records; /* aging: and that many more; 0: no such limit */
};

/* One change. `value.data == NULL` erases the key (not in an aging table). */
struct bailey_store_change {
    void *table;
    struct bailey_bytes key, value;
};

struct bailey_store_stats {
    int64_t disk_bytes;   /* in files; 0 in memory */
    int64_t memory_bytes; /* held by the store itself, about */
};

struct bailey_store {
    uint32_t size;                 /* sizeof(struct bailey_store) when built */
    uint16_t abi_major, abi_minor; /* BAILEY_STORE_ABI_MAJOR, BAILEY_STORE_ABI_MINOR when built */
    const char *name;              /* the file's name */
    const char *summary;           /* one sentence for people */
    const char *library;           /* library and version, or NULL */
    uint32_t traits;               /* enum bailey_store_traits */

    /* Open the store in the folder `path` (created with mode 0700 if it is missing, its parent must exist; NULL for a store that
     * is not durable). False with `err`, and nothing on the disk touched: another process has it open (says which), no
     * permission, not a store, of a newer version, or damaged. A torn tail, as a crash leaves it, is no damage: it is cut off. */
    bool (*open)(void **store, const char *path, struct bailey_error *err);

    /* Nothing more is synced here. All tables are closed with it. */
    void (*close)(void *store);

    /* Open or create a table. The same options at each opening but for slice_ms and slice_records, else false with `err`. */
    bool (*table_open)(void *store, void **table, const struct bailey_table_options *options, struct bailey_error *err);

    /* Aging and live tables: `keys` holds count keys, one behind the other; fills `found`, and `values` where found. Expired
     * records may still be found. */
    bool (*get_many)(void *table, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                     struct bailey_error *err);

    /* All of `changes`, or nothing; visible to get_many and scan when it returns. After a crash of the process they are
     * there, after one of the machine only if sync() followed. */
    bool (*write)(void *store, const struct bailey_store_change *changes, size_t count, struct bailey_error *err);

    /* All that was written is on the disk. */
    bool (*sync)(void *store, struct bailey_error *err);

    /* Each record with a key >= `from` (null: all); in the order of keys in an ordered table. A key of another kind of table may
     * be visited more than once (the last visit counts). Until visit() returns false. What is written meanwhile may be seen or
     * not. Views live during the visit. */
    bool (*scan)(void *table, struct bailey_bytes from,
                 bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value), void *ctx,
                 struct bailey_error *err);

    /* Aging: records with a time before `before_ms` may go: all of them are gone when they are slice_ms or slice_records
     * older. Cheap when there is nothing to drop: it is called every second. */
    bool (*expire)(void *table, int64_t before_ms, struct bailey_error *err);

    /* A copy of the store as it is on the disk at this moment (all that was synced, at least) in the folder `path`, which must
     * not exist; by hard links where that is possible. Can be opened as a store. NULL: not durable. */
    bool (*snapshot)(void *store, const char *path, struct bailey_error *err);

    void (*stats)(void *store, struct bailey_store_stats *stats);
};

/* ---- What the gateway lends to a store ---- */

/* The time at the begin of an aging table's value. */
static inline int64_t bailey_aging_time(const uint8_t *value)
{
    uint64_t time = 0;

    for (int i = 0; i < 8; i++)
        time = time << 8 | value[i];
    return (int64_t)time;
}

/* Is the name legal, are the sizes within their limits? Else false with `err`. */
bool bailey_table_options_check(const struct bailey_table_options *options, struct bailey_error *err);

/* May a table that was created with `was` be opened with `options`? Else false with `err`. */
bool bailey_table_options_same(const struct bailey_table_options *was, const struct bailey_table_options *options,
                               struct bailey_error *err);

/* The one symbol that a store's shared object exports. */
__attribute__((visibility("default"))) const struct bailey_store *bailey_store_entry(void);

#endif
