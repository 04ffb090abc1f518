/* core/state.h: what the core asks of the state store. The gateway answers with a committer's thread (gateway/state), a
 * simulation or a test by itself.
 *
 * A request belongs to who made it, stays in place until done() was called, and is answered once: on the thread of its
 * `host`, never within the call. Nothing here blocks.
 */
#ifndef BAILEY_STATE_H
#define BAILEY_STATE_H

#include <bailey/host.h>

#include "core/id.h"

struct filter;
struct state;
struct state_table;

/* What is kept of an id. */
enum id_outcome {
    ID_UNKNOWN,
    ID_CONFIRMED, /* the sink has the message */
    ID_DEAD,      /* it went to the dead letters */
    ID_WAITING,   /* it is scheduled */
};

enum state_change_kind {
    STATE_INTEND, /* a message with this id is about to be sent */
    STATE_RECORD, /* `outcome` is known; takes the intent away */
    STATE_FORGET, /* take the intent away: it was not sent, or is too old to matter */
};

struct state_change {
    struct id id;
    int64_t time_ms; /* of the state's clock */
    uint8_t kind;    /* enum state_change_kind */
    uint8_t outcome; /* enum id_outcome, of STATE_RECORD */
};

/* All changes, in their order, as durable as the settings say (`sync`) when it is done. If it failed, nothing of it is there,
 * and it may be made again. */
struct state_commit {
    const struct state_change *changes;
    size_t count;
    int64_t expire_ms; /* the state's clock: what was recorded before is not asked for any more */
    unsigned shard;    /* who asks: records go when no shard asks for them */
    struct bailey_host *host;
    void (*done)(struct state_commit *commit);
    void *ctx;
    bool failed;
    struct bailey_error err;
    struct bailey_task task; /* private from here on */
    struct state *state;
};

struct state_found {
    int64_t time_ms;
    uint8_t outcome; /* enum id_outcome; ID_UNKNOWN: there is no record */
};

/* What is recorded of each of `ids`. */
struct state_lookup {
    const struct id *ids;
    struct state_found *found;
    size_t count;
    struct bailey_host *host;
    void (*done)(struct state_lookup *lookup);
    void *ctx;
    bool failed;
    struct bailey_error err;
    struct bailey_job job; /* private from here on */
    struct state *state;
};

/* What an earlier life left to shard `shard` of `shards` (id_owner): asked once, at the start. Never fails: it takes until the
 * store can be read; `waiting` is called (once at most) with the reason if that fails for now. */
struct state_load {
    unsigned shard, shards;
    int64_t window_ms, max; /* of the filter: filter.h */
    struct bailey_host *host;
    void (*waiting)(struct state_load *load, const char *reason);
    void (*done)(struct state_load *load);
    void *ctx;
    struct filter *filter; /* answer: of all that is recorded and in the window; the asker's */
    struct id *intents;    /* answer: in doubt; by malloc, the asker's */
    size_t intent_count;
    struct bailey_task task, waiting_task; /* private from here on */
    char reason[240];
    size_t intent_cap;
};

/* ---- Messages that are kept: an ordered table of one route (core/schedule.h) ---- */

/* One change. `value.data == NULL` erases the key. */
struct state_put {
    struct bailey_bytes key, value; /* key: 1 to BAILEY_STORE_KEY_MAX bytes */
};

/* All changes, in their order, or none; synced before it is done, whatever `sync` says, if `is_synced`. If it failed, nothing of it
 * is there, and it may be made again. Borrows what it points to until done(). */
struct state_write {
    const struct state_put *puts;
    size_t count;
    bool is_synced;
    struct bailey_host *host;
    void (*done)(struct state_write *write);
    void *ctx;
    bool failed;
    struct bailey_error err;
    struct bailey_task task; /* private from here on */
    struct state_table *table;
};

struct state_row {
    struct bailey_bytes key, value; /* in memory of the answer */
};

/* The rows from `from` on (inclusive) and before `until` (null: to the end), in the order of their keys: as many as `max` and
 * `max_bytes` allow, but one at least if there is one. Sees every write that was done before it was asked. */
struct state_read {
    struct bailey_bytes from, until;
    size_t max, max_bytes;
    struct bailey_host *host;
    void (*done)(struct state_read *read);
    void *ctx;
    struct state_row
        *rows; /* answer: one block by malloc with all that the rows point to, the asker's to free; or NULL */
    size_t count;
    bool is_end; /* answer: there are no more before `until` */
    bool failed;
    struct bailey_error err;
    struct bailey_job job; /* private from here on */
    struct state_table *table;
};

/* An ordered table. Requests are as above: answered once, on the thread of their `host`, never within the call. */
struct state_table {
    void (*write)(struct state_table *table, struct state_write *write);
    void (*read)(struct state_table *table, struct state_read *read);
    bool is_durable;  /* false: it is gone with the process */
    int64_t clock_ms; /* as in struct state */
};

/* The state of one scope. */
struct state {
    void (*commit)(struct state *state, struct state_commit *commit);
    void (*look_up)(struct state *state, struct state_lookup *lookup);
    /* Of a store in memory: what look_up() would find of one id, here and now. NULL, or false: ask by look_up(). */
    bool (*peek)(struct state *state, struct id id, struct state_found *found);
    void (*load)(struct state *state, struct state_load *load);
    bool is_durable; /* false: nothing of it outlives the process, so intents are pointless */
    int64_t
        clock_ms; /* what bailey_now_ms() lacks to the state's clock, which never runs back, not over a restart either */
    struct id_key key;
};

#endif
