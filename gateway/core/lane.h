/* core/lane.h: a lane: one share of one route, touched by its worker's thread only.
 *
 * It receives from its source while there is credit, runs the route's steps, sends to its sink, and settles a delivery at
 * the source only after the sink's verdict. It opens its two ends, and opens them anew when they fail.
 * It calls no clock, random generator, disk or socket but through its host.
 */
#ifndef BAILEY_LANE_H
#define BAILEY_LANE_H

#include <bailey/connector.h>

#include "core/status.h"
#include "message/template.h"

struct dedup_group;
struct state_table;
struct dedup_shard;
struct lane;
struct state;

struct lane_end_options {
    const char *broker_name;
    const void *settings;
    /* The worker's broker object, opened on first use. False with `err`: tried again later. */
    bool (*broker)(void *ctx, void **broker, struct bailey_error *err);
    void *broker_ctx;
};

/* Deduplication by an id (dedup.h). */
struct lane_dedup_options {
    const char *scope;         /* its name */
    const struct template *id; /* NULL: messages have none of their own (a reader of dead letters) */
    struct dedup_group *group; /* of the route's scope */
    struct dedup_shard *shard; /* the lane's own: on the same worker */
    unsigned number;           /* of that shard in the group */
    const struct state *state; /* the scope's */
    bool pass_on_failure;      /* while the store fails: go on, marked */
};

/* What becomes of a message that was refused for a reason that may pass. */
struct lane_retry {
    uint32_t attempts; /* refusals of one message, of which the last makes it hopeless; 0: try for ever */
    int64_t min_ms, max_ms;
    double multiplier; /* of the wait, from one attempt to the next; >= 1 */
    double jitter;     /* 0 .. 1: a wait is that part longer or shorter, at random */
};
#define LANE_RETRY_DEFAULT ((struct lane_retry){.min_ms = 1000, .max_ms = 60000, .multiplier = 2, .jitter = 0.2})

/* What becomes of a message past its expiry. */
enum lane_expire {
    LANE_EXPIRE_DEAD_LETTER, /* it is hopeless */
    LANE_EXPIRE_DROP,        /* settled: it is gone, and counted */
};

/* What becomes of a message that nobody at the sink takes (BAILEY_ERR_UNROUTABLE). */
enum lane_unroutable {
    LANE_UNROUTABLE_DEAD_LETTER, /* hopeless */
    LANE_UNROUTABLE_RETRY,       /* refused for a reason that may pass */
    LANE_UNROUTABLE_ACCEPT,      /* settled: it is gone, and counted */
};

/* Where hopeless messages go. */
struct lane_dead_letters {
    const struct bailey_sink *sink;
    struct lane_end_options to;
    struct template *const *templates; /* of the sink's options, by slot */
    size_t template_count;
};

enum lane_pick { LANE_PICK_SEND, LANE_PICK_LEAVE, LANE_PICK_REMOVE, LANE_PICK_STOP };

/* A lane that reads dead letters back: its source is a shelf (connector.h). What it sends is the message as it was before it became
 * a dead letter; if it fails again, the new dead letter tells how often. */
struct lane_dead_reader {
    enum lane_pick (*pick)(void *ctx, const struct bailey_message *letter);
    void *ctx;
    bool only_looks;
    int64_t rate; /* sends a second at most; 0: no limit */
};

/* All pointers must outlive the lane. */
struct lane_options {
    const char *route, *instance;
    unsigned lane, lanes;
    int64_t credit_messages, credit_bytes;
    const struct lane_dead_reader *reader; /* NULL: an ordinary lane */
    int64_t ahead_max;                     /* receive no more behind the oldest unsettled one; 0: no limit but credit */
    int64_t messages_max;                  /* finish after so many; 0: go on for ever */
    const struct template *key;            /* or NULL */
    enum bailey_order order;
    unsigned hops_max; /* a message that has passed more gateways is hopeless; 0: no limit */
    struct lane_retry retry;
    bool parks_in_store;                       /* what was refused waits in `kept` */
    const struct template *delay, *deliver_at; /* when a message may go: one of them, or NULL */
    bool delays_natively;                      /* the sink's broker holds it, instead of `kept` */
    struct state_table *kept;                  /* messages that wait in the store; NULL: none ever do */
    struct state_table *spill;                 /* for those that wait behind a refused one; NULL: they stay in memory */
    enum lane_expire expire;
    enum lane_unroutable unroutable;
    const struct lane_dead_letters *dead_letters; /* NULL: a hopeless message blocks its lane */
    const struct lane_dedup_options *dedup;       /* or NULL */
    struct template *const *templates;            /* of the sink's options, by slot */
    size_t template_count;
    const struct bailey_source *source;
    const struct bailey_sink *sink;
    struct lane_end_options from, to;
    struct lane_status *status;
    void (*on_ended)(struct lane *lane, void *ctx); /* drained, finished or stopped: both ends are closed */
    void *ctx;
};

/* Copies `options`. Never NULL. */
struct lane *lane_new(struct bailey_host *host, const struct lane_options *options);

/* Open both ends. */
void lane_start(struct lane *lane);

/* Stop receiving, finish what is in flight, close: then on_ended. What was refused and waits is left to its source. */
void lane_drain(struct lane *lane);

/* Close now; what is unsettled stays so at its source. Then on_ended. */
void lane_stop(struct lane *lane);

bool lane_is_ended(const struct lane *lane);

/* After on_ended. */
void lane_free(struct lane *lane);

#endif
