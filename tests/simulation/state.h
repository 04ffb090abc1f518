/* state.h: a simulated state store behind core/state.h: one process's, on its machine's disk.
 *
 * What is written belongs to the world. A crash of the process keeps it (the system's cache); one of the machine loses what was
 * not synced: from some write on, each write whole or not at all. A store that is not durable is empty with each process.
 */
#ifndef BAILEY_SIM_STATE_H
#define BAILEY_SIM_STATE_H

#include "core/state.h"
#include "ledger.h"
#include "process.h"

enum sync_policy { SYNC_BATCH, SYNC_INTERVAL, SYNC_NONE };

struct store_manner {
    bool is_durable;
    enum sync_policy sync;
    int64_t interval_ms;
    int64_t write_ms, look_up_ms, load_ms; /* at most */
};

struct store;
struct tables;

struct store *store_new(struct sim *sim, struct process *process, const struct store_manner *manner);

/* Messages that are kept lie beside it. */
struct tables *store_tables(const struct store *store);

bool store_is_durable(const struct store *store);
/* Ids of a route; `name` makes the key. Its number in the store. */
unsigned store_add_scope(struct store *store, const char *name);
/* As the ledger's: a struct store_scope is ctx. */
struct store_scope *store_scope(struct store *store, unsigned number);
struct kept *store_find(void *scope, const char *id);
/* NO_SCOPE: it is not told of this one. */
void store_tell(struct store_scope *scope, uint32_t ledger_scope);

/* ---- A life of the process ---- */

/* It is opened, at the wall clock's time: the state's clock goes on from there, or from the last that is in the store. */
void store_open(struct store *store, int64_t wall_ms);
/* For so many shards. */
struct state *store_state(struct store_scope *scope, unsigned shards);
/* What is being loaded is let go. */
void store_stop_loading(struct store *store);
/* Nothing of the process is in its hands. */
bool store_is_idle(const struct store *store);
/* The process is gone, in order or not. What it had handed over may be written. */
void store_closed(struct store *store);
/* The machine is gone. */
void store_crashed(struct store *store);

/* ---- Its disk, for what else lies there (tables.h) ---- */

enum store_part { STORE_WRITES, STORE_READS };
bool store_is_failing(const struct store *store, enum store_part part);
/* It hangs: `event` is planned anew. */
bool store_is_hanging(const struct store *store, struct event *event);
/* Is all that is written synced, too? */
bool store_syncs(const struct store *store);
/* When something that begins now is done. */
int64_t store_when(const struct store *store);
struct bailey_error store_failure(void);

/* ---- Faults ---- */

/* The disk is full, or broken: what is asked for fails until then. */
void store_fail(struct store *store, enum store_part part, int64_t until_ms);
/* It fails in the midst of what it has at hand. */
void store_fail_once(struct store *store);
/* It does not answer until then. */
void store_hang(struct store *store, int64_t until_ms);
void store_slow(struct store *store, bool slow);
void store_recover(struct store *store);

#endif
