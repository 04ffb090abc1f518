/* harness.h: a whole gateway inside a test, with memory queues at its outer ends.
 *
 * Real loops, lanes and connectors: nothing is faked. A test puts messages into a memory queue, lets routes carry them, and looks
 * at what came out of another. Main thread only. A failing assertion leaves the gateway running: the process ends soon.
 */
#ifndef BAILEY_TEST_HARNESS_H
#define BAILEY_TEST_HARNESS_H

#include "connectors/memory/memory.h"
#include "host/gateway.h"

/* The queues of the memory connector; set by harness_begin(). */
extern const struct memory_api *memory_queues;

/* Once, before all else: finds the connectors that were built with this test. The log goes nowhere unless BAILEY_TEST_LOG is
 * set. */
void harness_begin(void);

struct bridge {
    struct config *config;
    struct gateway *gateway;
};

/* Start a gateway; the test fails, with the findings, if the configuration has errors. */
struct bridge bridge_start(const char *yaml);

/* Same, with connectors found by `find`: to put something between a connector and the core. */
struct bridge bridge_start_with(const char *yaml, config_find *find);

/* The route called `name`. */
struct route_status bridge_status(const struct bridge *bridge, const char *name);

/* Drain and wait for the end; false if it took longer. The statuses can still be read. */
bool bridge_drain(const struct bridge *bridge, int timeout_ms);

/* End by itself (a source that finishes) within the time? */
bool bridge_wait_finished(const struct bridge *bridge, int timeout_ms);

/* Stop at once, or after a drain, and free all. */
void bridge_stop(struct bridge *bridge);

/* Wait until `holds` says so, looking every millisecond; false after `timeout_ms`. */
bool wait_until(bool (*holds)(void *ctx), void *ctx, int timeout_ms);

/* Wait until the route has delivered that many, or is in that state. */
bool bridge_wait_delivered(const struct bridge *bridge, const char *route, int64_t count, int timeout_ms);
bool bridge_wait_state(const struct bridge *bridge, const char *route, enum lane_state state, int timeout_ms);

int64_t monotonic_ms(void);

#endif
