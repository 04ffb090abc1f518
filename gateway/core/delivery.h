/* core/delivery.h: the core's own part of a delivery, and the steps that a batch of them goes through.
 *
 *     [HELD →] [ASKING → GRANTED →] READY ──send──→ OUT ──confirmed──→ [RECORDING ──→] settled
 *                                     ↑              ├──handed back──→ READY
 *                                     └──back-off── WAITING ←──refused─┤
 *                                     └──(as a dead letter, to the other outlet) ←── hopeless
 *
 * One that is to wait long is KEEPING until the schedule has it; then it is settled, and comes back as another delivery, of the
 * schedule's, when its time has come.
 *
 * One that is HELD may lie on disk meanwhile (lane_spill.c); it is LOADING when its turn comes before its message is there again.
 *
 * In brackets: where the route keeps an order, and where it deduplicates. What is let go of before its end is LEAVING until
 * its id is given back.
 */
#ifndef BAILEY_CORE_DELIVERY_H
#define BAILEY_CORE_DELIVERY_H

#include <bailey/delivery.h>
#include <bailey/host.h>

#include "core/dedup.h"
#include "message/template.h"

struct lane_options;
struct order_key;
struct schedule_entry;

enum delivery_state {
    DELIVERY_READY,
    DELIVERY_ASKING,  /* for its id: may it go on? */
    DELIVERY_GRANTED, /* it may, behind those that asked before it */
    DELIVERY_HELD,    /* behind another one of its key (order.h) */
    DELIVERY_LOADING, /* it has its turn; its message is being read back */
    DELIVERY_KEEPING, /* being written to the schedule */
    DELIVERY_OUT,
    DELIVERY_WAITING,
    DELIVERY_RECORDING, /* confirmed; its id is being recorded */
    DELIVERY_LEAVING,   /* let go of; its id is being given back */
};

/* Where the message of one that is held is (lane_spill.c). */
enum delivery_spill {
    SPILL_NONE,     /* in memory */
    SPILL_GATHERED, /* in memory; goes to disk with the next write */
    SPILL_WRITING,
    SPILL_STORED,  /* on disk only */
    SPILL_WANTED,  /* the same; its turn has come */
    SPILL_READING, /* on disk, on its way back */
};

enum { DELIVERY_ADDRESSES = 2 }; /* inline; more are allocated in the message */

struct delivery {
    struct bailey_delivery pub; /* first: a sink's `struct bailey_delivery *` is a `struct delivery *` */
    struct lane *lane;
    struct delivery *next, *prev; /* all of the lane, in the order of receiving */
    struct bailey_settlement settlement;
    struct schedule_entry *entry; /* what it came from, instead of the source; or NULL */
    uint32_t epoch;               /* which opening of the source it came from */
    uint8_t state;                /* enum delivery_state */
    bool is_prepared;             /* went through all steps */
    bool is_orphan;               /* its source has lost it: not to be sent again */
    bool is_detached;             /* the message owns its bytes */
    bool holds_slot;              /* a shard has `slot` */
    bool is_in_doubt;             /* was sent and handed back without a verdict at least once */
    bool is_dead;                 /* hopeless: on its way to the dead letters, and its message says why */
    uint32_t counted;             /* refusals that count against the route's `attempts` */
    uint32_t given_up_after;      /* of a dead letter: refusals of its message */
    bool is_timed;                /* the route's delay was read: its time has come */
    bool is_keyed;                /* its key is the one that the route sets */
    uint8_t replays;              /* times that it was replayed as a dead letter */
    bool is_blocking;             /* hopeless, and has nowhere to go: the lane receives no more */
    uint64_t sequence;            /* order of receiving in the lane */
    int64_t received_ms;
    size_t size;
    struct bailey_timer retry;
    struct dedup_slot slot;
    struct delivery *asked_next, *asked_prev; /* those whose answer others wait for, in the order of asking; or NULL */
    struct order_key *turn;                   /* whose turn it has or waits for; NULL: none */
    struct delivery *held_next, *held_prev;
    struct delivery *spill_next, *spill_prev; /* of a ring of lane_spill.c, by `spill`; or NULL */
    uint32_t spill_stamp;                     /* of its row */
    uint8_t spill;                            /* enum delivery_spill */
    struct id kept_as; /* of one from the schedule: its entry's name; of a replayed one: the dead letter that it was */
    int64_t first_failed_ms, last_failed_ms; /* wall clock; 0: never */
    uint64_t mark;                           /* of one that was refused: recall_mark() of what came */
    int64_t rest_until_ms;                   /* of bailey_now_ms(): its back-off, that of its last life included */
    struct bailey_bytes address[DELIVERY_ADDRESSES];
};

enum { BATCH_MAX = 256 };

/* What moves through the steps. A step takes out what it cannot pass on, and says why. */
struct batch {
    size_t count;
    struct delivery *items[BATCH_MAX];
};

/* A step of a route: only those that the route configures exist. */
struct step {
    void (*run)(const struct step *step, struct batch *batch);
    const struct lane_options *options;
};

enum { STEPS_MAX = 8 };

/* Fill `steps` with what `options` ask for; returns how many. */
size_t steps_build(struct step steps[STEPS_MAX], const struct lane_options *options);

/* From the step that knows the ids: takes out of `batch` those that have to ask for theirs, and asks. */
void lane_ask(struct batch *batch);

/* From the step that knows the time: takes out of `batch` those whose time has not come, and keeps them until then. */
void lane_delay(struct batch *batch);

/* From the step that keeps the order: takes out of `batch` those whose turn has not come. */
void lane_line_up(struct batch *batch);

/* From a step (the caller takes it out of its batch), or by the sink: this one cannot go on, for the reason `err`. */
void lane_refuse(struct lane *lane, struct delivery *dlv, const struct bailey_error *err);

/* Where a message goes: the texts of a sink's options, `count` of them. */
bool address_fill(struct delivery *dlv, struct template *const *templates, size_t count, const char *route,
                  struct bailey_error *err);

#endif
