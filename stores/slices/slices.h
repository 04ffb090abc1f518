/* slices.h: the store as its files share it. Read slices.c first: it has the calls of the contract.
 *
 *   write → log (one for all tables) → maps in memory → keeper.c: sorted runs, a file each → one run a slice
 *
 * Two threads change it: the committer (who calls write, sync, expire) and the keeper, the store's own. One lock guards what
 * others see, and is never held over a call to the disk. A table's view is what a reader looks at: it takes a reference,
 * lets go of the lock, and reads files that stay as long as the reference does.
 */
#ifndef SLICES_H
#define SLICES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>
#include <bailey/store.h>

#include "log.h"
#include "map.h"
#include "run.h"

enum { TABLE_NAME_MAX = 128 };

/* Records in memory: all of a live table, or some of an aging one, of one slice. */
struct part {
    uint32_t refs;
    bool frozen; /* the keeper writes it to a run; nothing is put in any more */
    struct map map;
    int64_t min_ms, max_ms; /* of the times in it */
};

/* What an aging table consists of: immutable, but for the last part's map. Oldest first; of two records with the same key
 * the one further back counts, and parts stand behind runs. */
struct view {
    uint32_t refs;
    uint32_t run_count, part_count;
    struct run **runs;
    struct part **parts;
};

struct table {
    struct store *store;
    uint16_t id;
    enum bailey_table_kind kind;
    uint32_t key_size, value_size;
    int64_t slice_ms, slice_records;
    struct part live;  /* all of a live table */
    struct view *view; /* all of an aging table */
    /* The slice that is being filled. */
    int64_t slice_min_ms, slice_max_ms;
    int64_t slice_count;
    char name[TABLE_NAME_MAX + 1];
};

struct store_limits {
    size_t memory_bytes;   /* records in memory before they become runs; half as much again while that goes on */
    uint64_t log_bytes;    /* of one log; twice as much while the one before it is still needed */
    uint32_t runs_at_once; /* merged into one */
};

struct store {
    pthread_mutex_t lock, sync_lock; /* sync_lock: one sync of a log at a time, so that its failure is seen by all */
    pthread_cond_t work, progress;   /* for the keeper; by the keeper */
    struct store_limits limits;
    char *path;
    int lock_fd;
    uint64_t id;

    /* Under the lock. */
    struct table *tables[BAILEY_STORE_TABLES_MAX];
    uint32_t table_count;
    struct log *logs, *log;                 /* oldest; newest, to which is written */
    uint64_t sequence;                      /* of the next frame */
    uint64_t synced;                        /* the last frame known to be on the disk */
    bool broken;                            /* a sync failed: no log is believed, the next sync writes a new one */
    uint64_t folder_changes, folder_synced; /* names that came since the opening; of them on the disk */
    size_t active_bytes;                    /* in parts that are not frozen */
    uint64_t flush_through; /* the keeper makes runs of what is in logs up to this one; 0: it has nothing to do */
    uint64_t next_run;
    struct run *garbage; /* runs without a reference */
    bool stopping, keeper_busy;
    struct bailey_error trouble; /* why the keeper could not do its work; tried again every second */

    /* The committer's. */
    uint8_t *frame;
    size_t frame_len, frame_capacity;
    size_t frame_key, frame_key_size; /* where the last key is in the frame; 0: nowhere yet */
    struct part **targets;            /* for each change, where it goes */
    size_t targets_capacity;

    pthread_t keeper;
};

/* ---- table.c: tables and views; under the lock unless said otherwise ---- */

struct table *table_new(struct store *store, uint16_t id, const struct bailey_table_options *options,
                        struct bailey_error *err);
void table_free(struct table *table);

/* What every table must fulfil; from outside, or from a file. */
bool table_options_valid(const struct bailey_table_options *options, struct bailey_error *err);

/* The part that a change of the table belongs to, with room for it (`value` NULL: erase). NULL without memory. */
struct part *table_part(struct table *table, const uint8_t *value);

/* Make the change. */
void table_change(struct table *table, struct part *part, const uint8_t *key, const uint8_t *value);

/* A view with the same items, each with one more reference, and room for `more` runs and parts. NULL without memory. */
struct view *view_copy(const struct view *old, uint32_t more);
void view_remove_run(struct store *store, struct view *view, uint32_t at);
void view_remove_part(struct view *view, uint32_t at);
void view_insert_run(struct view *view, uint32_t at, struct run *run); /* takes the reference */
struct view *view_ref(struct table *table);
void view_unref(struct store *store, struct view *view);
void table_show(struct table *table, struct view *view); /* takes `view` */
void run_unref(struct store *store, struct run *run);

/* Without the lock. */
bool table_get_many(struct table *table, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                    struct bailey_error *err);
bool table_scan(struct table *table, struct bailey_bytes from,
                bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value), void *ctx,
                struct bailey_error *err);

/* ---- journal.c: the logs together; the committer's, without the lock unless said otherwise ---- */

enum {
    ENTRY_PUT = 1,
    ENTRY_ERASE = 2,
    ENTRY_DEFINE = 3,
    ENTRY_SAME_KEY = 0x80, /* with the first two: the key is that of the change before, and is left out */
};

/* Put the store's frame to the end of the log. On failure nothing has changed. */
bool journal_append(struct store *store, struct bailey_error *err);

/* Begin a frame; add to it. False without memory. */
void frame_begin(struct store *store);
bool frame_change(struct store *store, const struct table *table, const uint8_t *key, const uint8_t *value);
bool frame_definition(struct store *store, const struct table *table);

/* Go on in a new log, and let the keeper make runs of what is in memory. */
bool journal_rotate(struct store *store, struct bailey_error *err);

/* All that was written is on the disk. */
bool journal_sync(struct store *store, struct bailey_error *err);

/* Sync all logs up to that number, and the folder; any thread. */
bool journal_sync_through(struct store *store, uint64_t number, struct bailey_error *err);

/* Logs up to that number are not needed any more; any thread. */
void journal_drop(struct store *store, uint64_t number);

void log_unref(struct log *log); /* under the lock; the file stays */

/* ---- keeper.c ---- */

bool keeper_start(struct store *store, struct bailey_error *err);
void keeper_stop(struct store *store);

/* Wait until there is nothing to flush or to merge; false if the keeper is in trouble. For tests and measurements. */
bool keeper_settle(struct store *store);

/* ---- recover.c: from the folder to the store; nothing on the disk is touched if it fails ---- */

bool recover(struct store *store, struct bailey_error *err);
char *run_path(const struct store *store, const struct table *table, uint64_t first, uint64_t last, const char *suffix);
char *log_path(const struct store *store, uint64_t number, const char *suffix);

/* ---- snapshot.c ---- */

bool snapshot_make(struct store *store, const char *path, struct bailey_error *err);

/* ---- slices.c: the contract, and for tests the limits ---- */

extern const struct bailey_store slices_store;
extern const struct store_limits store_limits_usual;
bool store_open(struct store **store, const char *path, const struct store_limits *limits, struct bailey_error *err);

#endif
