/* host/registry.h: finds connectors and stores (shared objects) and checks that they speak our ABI.
 *
 * Searched in turn, the first NAME.so counts: $BAILEY_CONNECTOR_PATH (colon separated), `connectors/` beside the program,
 * PREFIX/lib/bailey/connectors seen from PREFIX/bin/bailey; for stores $BAILEY_STORE_PATH and `stores`. Loaded once, never
 * unloaded. Main thread only.
 */
#ifndef BAILEY_REGISTRY_H
#define BAILEY_REGISTRY_H

#include <stddef.h>

#include <bailey/connector.h>
#include <bailey/store.h>

/* The connector called `name`, loaded on first use; NULL with `err` (hint: nearest name) if there is none, or it is
 * not admitted. */
const struct bailey_connector *registry_find(const char *name, struct bailey_error *err);

/* The same for a store. */
const struct bailey_store *registry_find_store(const char *name, struct bailey_error *err);

/* Names of all connectors that can be found, sorted. Returns their number; `*names` lives until the process ends. */
size_t registry_names(const char *const **names);

/* Copy `in` into `out`: accept older and newer minors (callbacks unknown to it stay NULL), refuse other majors. */
bool registry_admit(struct bailey_connector *out, const struct bailey_connector *in, struct bailey_error *err);

/* The same for a store, which must have all callbacks (snapshot() only if it is durable). */
bool registry_admit_store(struct bailey_store *out, const struct bailey_store *in, struct bailey_error *err);

#endif
