/* tables.h: a simulated ordered store behind core/state.h, of one process, on its machine's disk: messages that are kept until their time.
 *
 * It is a store of its own beside that of the ids (state.h): what is written, and synced, in the one says nothing of the other. A
 * write is there as a whole or not at all; one that failed may be there; a crash of the machine loses all that was not synced from
 * some write on.
 */
#ifndef BAILEY_SIM_TABLES_H
#define BAILEY_SIM_TABLES_H

#include "state.h"

struct tables;

/* `store`: that of the ids, whose disk it shares: both fail, hang and are slow together. */
struct tables *tables_new(struct sim *sim, struct process *process, const struct store *store);

/* The messages of a route. */
struct state_table *tables_add(struct tables *tables, uint32_t ledger_table);

/* ---- A life of the process: as with a store ---- */
void tables_open(struct tables *tables, int64_t clock_ms);
bool tables_are_idle(const struct tables *tables);
void tables_closed(struct tables *tables);
void tables_crashed(struct tables *tables);
/* The interval at which all is synced. */
void tables_sync(struct tables *tables);

/* A write fails: nothing of it is there, or all, and not on the disk. */
void tables_fail_once(struct tables *tables);

#endif
