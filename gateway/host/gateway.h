/* host/gateway.h: a running gateway: workers, brokers, lanes.
 *
 * Called from the main thread, but for gateway_status, gateway_connections and gateway_ready (any thread).
 */
#ifndef BAILEY_GATEWAY_H
#define BAILEY_GATEWAY_H

#include "config/config.h"
#include "core/status.h"

struct gateway;

/* Start threads and routes; returns at once. `config` must outlive it. NULL with `err` if a thread or loop cannot be made
 * (never because of a route: those are retried). */
struct gateway *gateway_start(const struct config *config, struct bailey_error *err);

/* Stop receiving, finish what is in flight, settle, close. Returns at once. */
void gateway_drain(struct gateway *gateway);

/* An eventfd that becomes readable when every lane is stopped or finished. */
int gateway_done_fd(const struct gateway *gateway);

/* Ends the threads and frees all: after the drain, or instead of it (what is unsettled stays so at its source).
 * Returns true if every lane had been drained. */
bool gateway_stop(struct gateway *gateway);

/* The state of a route, summed over its lanes. */
struct route_status {
    const char *name;
    enum lane_state state; /* the worst of its lanes */
    char reason[320];
    int64_t since_ms; /* how long it has been in this state */
    int64_t refused[BAILEY_ERR_KINDS];
    int64_t latency_count[LATENCY_BUCKETS];
    int64_t latency_sum_ms;
    int64_t not_removed; /* of a shelf: what it was told to remove, and may lie there still */
#define METRIC(name, type, label, help) int64_t name;
#include "core/metrics.def"
#undef METRIC
};
size_t gateway_route_count(const struct gateway *gateway);
void gateway_status(struct gateway *gateway, size_t route, struct route_status *status);

struct connection_status {
    const char *broker;
    int64_t expected, up; /* connections that there should be, and that there are */
};
size_t gateway_broker_count(const struct gateway *gateway);
void gateway_connection(struct gateway *gateway, size_t broker, struct connection_status *status);

/* True if every route runs (or is finished). */
bool gateway_ready(struct gateway *gateway);

#endif
