/* core/status.h: what a lane shows to other threads: counters, state and the reason for it.
 *
 * Counters are written by the lane's worker only, and read by any thread (relaxed atomics; a reader may see one counter a
 * little ahead of another). The state and its reason change seldom and are guarded by a lock.
 */
#ifndef BAILEY_STATUS_H
#define BAILEY_STATUS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include <bailey/error.h>

/* What a lane does. Ordered: a route shows the worst of its lanes, which is the largest. */
enum lane_state {
    LANE_FINISHED, /* its source has nothing more (generate with a count): drained and closed */
    LANE_STOPPED,  /* drained and closed */
    LANE_RUNNING,  /* both ends are up */
    LANE_DRAINING, /* receives no more, finishes what is in flight */
    LANE_STARTING, /* opened, and not up yet for the first time */
    LANE_STALLED,  /* messages that wait for their next attempt, or behind one that does, fill half of the credit */
    LANE_HELD,     /* the sink cannot take messages now, so the source is held */
    LANE_BLOCKED,  /* a message that will not succeed has nowhere to go: nothing is received */
    LANE_DOWN,     /* an end failed and is opened again after a back-off */
    LANE_STATES
};
extern const char *const lane_state_names[LANE_STATES];

/* Upper bounds of the histogram of bailey_delivery_seconds, in milliseconds; the last bucket is unbounded. */
enum { LATENCY_BUCKETS = 14 };
extern const int64_t latency_bounds_ms[LATENCY_BUCKETS - 1];

struct lane_status {
#define METRIC(name, type, label, help) _Atomic int64_t name;
#include "core/metrics.def"
#undef METRIC
    _Atomic int64_t refused[BAILEY_ERR_KINDS]; /* by enum bailey_error_kind */
    _Atomic int64_t latency_count[LATENCY_BUCKETS];
    _Atomic int64_t latency_sum_ms;
    _Atomic int64_t not_removed; /* what the last opening of a shelf may have left there */

    pthread_mutex_t lock; /* guards what follows */
    enum lane_state state;
    char reason[320]; /* "" when running */
    int64_t since_ms; /* monotonic: when this state began */
};

static inline void status_add(_Atomic int64_t *counter, int64_t change)
{
    /* One writer: a plain add is enough, and costs no locked instruction. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + change, memory_order_relaxed);
}

#endif
