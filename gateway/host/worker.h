/* host/worker.h: a worker: a thread, its loop, its brokers and its lanes.
 *
 * worker_new, worker_start, worker_join and worker_free: the main thread. worker_drain, worker_stop: any thread.
 */
#ifndef BAILEY_WORKER_H
#define BAILEY_WORKER_H

#include "config/config.h"
#include "core/lane.h"
#include "core/status.h"

struct worker;

/* Connections of a broker, summed over the workers. */
struct broker_gauge {
    _Atomic int64_t expected, up;
};

struct worker_options {
    const struct config *config;
    struct broker_gauge *gauges;      /* one a broker of the configuration */
    unsigned lanes_max;               /* lanes that it will get */
    void (*on_lane_ended)(void *ctx); /* on the worker's thread, once a lane */
    void *ctx;
};

struct worker *worker_new(const struct worker_options *options, struct bailey_error *err);

/* Before worker_start: one more lane. `status` must outlive the worker. */
void worker_add_lane(struct worker *worker, const struct config_route *route, unsigned lane,
                     struct lane_status *status);

bool worker_start(struct worker *worker, struct bailey_error *err);
void worker_drain(struct worker *worker);

/* Close all lanes, then end the thread; it ends by itself WORKER_STOP_MS later if an end does not close. */
enum { WORKER_STOP_MS = 6000 };
void worker_stop(struct worker *worker);

/* Wait for the thread. True if every lane had ended. A worker whose lanes have not ended is leaked on purpose: library
 * threads may still refer to it. */
bool worker_join_and_free(struct worker *worker);

#endif
