/* core/delivery.h: the core's own part of a delivery, and the steps that a batch of them goes through.
 *
 *     [ASKING → GRANTED →] READY ──send──→ OUT ──confirmed──→ [RECORDING ──→] settled
 *                            ↑              ├──handed back──→ READY
 *                            └──back-off── WAITING ←──refused┘
 *
 * In brackets: where the route deduplicates. What is let go of before its end is LEAVING until its id is given back.
 */
#ifndef BAILEY_CORE_DELIVERY_H
#define BAILEY_CORE_DELIVERY_H

#include <bailey/delivery.h>
#include <bailey/host.h>

#include "core/dedup.h"

struct lane_options;

enum delivery_state {
    DELIVERY_READY,
    DELIVERY_ASKING,  /* for its id: may it go on? */
    DELIVERY_GRANTED, /* it may, behind those that asked before it */
    DELIVERY_OUT,
    DELIVERY_WAITING,
    DELIVERY_RECORDING, /* confirmed; its id is being recorded */
    DELIVERY_LEAVING,   /* let go of; its id is being given back */
};

enum { DELIVERY_ADDRESSES = 2 }; /* inline; more are allocated in the message */

struct delivery {
    struct bailey_delivery pub; /* first: a sink's `struct bailey_delivery *` is a `struct delivery *` */
    struct lane *lane;
    struct delivery *next, *prev; /* all of the lane, in the order of receiving */
    struct bailey_settlement settlement;
    uint32_t epoch;    /* which opening of the source it came from */
    uint8_t state;     /* enum delivery_state */
    bool is_prepared;  /* went through all steps */
    bool is_orphan;    /* its source has lost it: not to be sent again */
    bool is_detached;  /* the message owns its bytes */
    bool holds_slot;   /* a shard has `slot` */
    bool is_in_doubt;  /* was sent and handed back without a verdict at least once */
    uint64_t sequence; /* order of receiving in the lane */
    int64_t received_ms;
    size_t size;
    struct bailey_timer retry;
    struct dedup_slot slot;
    struct delivery *asked_next, *asked_prev; /* those whose answer others wait for, in the order of asking; or NULL */
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

/* From a step: this one cannot go on, for the reason `err`; the caller takes it out of its batch. */
void lane_refuse(struct lane *lane, struct delivery *dlv, const struct bailey_error *err);

#endif
