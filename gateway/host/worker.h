/* host/worker.h: a worker: a thread, its loop, its brokers and its lanes.
 *
 * worker_new, worker_add_lane, worker_start, worker_join and worker_free: the main thread. The others: any thread.
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

/* Where a lane's ids are: its shard of the scope of its route. */
struct worker_dedup {
    struct dedup_group *group;
    struct state *state;
    unsigned number; /* of the lane's shard in the group */
};

/* Before worker_start: one more lane. `status` must outlive the worker; so must what `dedup` points to (NULL: the route does not
 * deduplicate), `kept` (NULL: it keeps no messages) and `spill` (NULL: what is held stays in memory). */
void worker_add_lane(struct worker *worker, const struct config_route *route, unsigned lane, struct lane_status *status,
                     const struct worker_dedup *dedup, struct state_table *kept, struct state_table *spill);

bool worker_start(struct worker *worker, struct bailey_error *err);
void worker_drain(struct worker *worker);

/* Close all lanes: what is unsettled stays so at its source. on_lane_ended tells of each. */
void worker_stop(struct worker *worker);

/* End the thread. It serves until then, since lanes of other workers may still ask its shards. */
void worker_end(struct worker *worker);

/* After worker_end: wait for the thread. True if every lane had ended. */
bool worker_join(struct worker *worker);

/* When all workers are joined, all of their lanes have ended, and the state has let go of its requests. */
void worker_free(struct worker *worker);

#endif
