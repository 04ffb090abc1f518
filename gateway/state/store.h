/* state/store.h: the state of a running gateway: its store, the tables in it, and the threads that use them.
 *
 * What the core asks for (core/state.h) is answered here: commits and writes by one thread for all lanes (committer.c), look-ups
 * and reads by the loops' helper threads, the loading of what an earlier run left by a thread that ends with it (loader.c).
 *
 *     PATH/ids    ids of deduplication, and the clock: module `slices`
 *     PATH/kept   messages that wait, if a route keeps or spills any: module `rocksdb`
 *
 * In memory all is in one, of the module `memory`.
 *
 * Called from the main thread.
 */
#ifndef BAILEY_STATE_STORE_H
#define BAILEY_STATE_STORE_H

#include <bailey/store.h>

#include "config/config.h"
#include "core/state.h"

struct state_store;

/* Finds a module of a store by its name: the registry of the host, or a test's own. */
typedef const struct bailey_store *state_store_find(const char *name, struct bailey_error *err);

/* Open what the routes of `config` need. NULL with `err`: locked by another process, damaged, of a newer version, not to be
 * opened; then nothing was touched. `config` must outlive it. */
struct state_store *state_store_open(const struct config *config, state_store_find *find, struct bailey_error *err);

/* The state of config->scopes[scope]. */
struct state *state_store_scope(struct state_store *store, size_t scope);

/* The messages that config->routes[route] keeps; NULL if it keeps none. */
struct state_table *state_store_table(struct state_store *store, size_t route);

/* For messages of config->routes[route] that wait behind a refused one; empty at the start; NULL if they stay in memory. */
struct state_table *state_store_spill(struct state_store *store, size_t route);

/* Start the threads: after every shard has asked to be loaded. False with `err` if there can be none. */
bool state_store_start(struct state_store *store, struct bailey_error *err);

/* End the threads: what is asked from now on, or is not answered yet, never is. What was answered stays as durable as it was. */
void state_store_stop(struct state_store *store);

/* After state_store_stop(), and when the loops have ended (helper threads may be reading until then). NULL is allowed. */
void state_store_close(struct state_store *store);

#endif
