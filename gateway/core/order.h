/* core/order.h: whose turn it is, in a lane that keeps an order.
 *
 * Deliveries with the same key (the message's, its partition, or one for all: `order:`) go one behind the other. One that was
 * refused holds back those behind it; other keys go on.
 *
 *     enter ──→ has its turn ──(sent, confirmed)──→ leave ──→ the next one
 *       └─→ held ──────────────(its turn has come)──↗
 *
 * To a sink that keeps order over a refusal (BAILEY_KEEPS_ORDER_ON_REFUSAL) any number of a key may have their turn at once; to
 * any other one at a time. Keys are told apart by a keyed hash of 64 bits: two keys that share one wait for each other, no more.
 */
#ifndef BAILEY_ORDER_H
#define BAILEY_ORDER_H

#include "core/delivery.h"

struct order;

/* `kind` is not BAILEY_ORDER_NONE. `pipelines`: the sink keeps order over a refusal. Never NULL. */
struct order *order_new(enum bailey_order kind, bool pipelines, struct bailey_host *host);
void order_free(struct order *order);

/* It has a key, and has not entered yet. */
bool order_is_new(const struct order *order, const struct delivery *dlv);

/* It may go on. False: it is held until order_next() gives it. */
bool order_enter(struct order *order, struct delivery *dlv);

/* It was refused. True: it keeps its turn, and those behind it wait. False: one of its key was refused before, while it was on its
 * way, and that is why; it is held until it is its turn again. */
bool order_refused(struct order *order, struct delivery *dlv);

/* Has one in front of it been refused, since it had its turn? */
bool order_is_behind(const struct delivery *dlv);

/* Must what has its turn, and has not been sent, wait all the same, because one before it was refused? Then it is held. */
bool order_hold(struct order *order, struct delivery *dlv);

/* The sink has it, or it is let go of. Allowed for one that never entered. */
void order_leave(struct order *order, struct delivery *dlv);

/* Of one that has its turn or is held. Is its key held up by one that was refused, and is not through? */
bool order_is_stuck(const struct delivery *dlv);
/* Its key, as a number. */
uint64_t order_key_number(const struct delivery *dlv);
/* The first that is held of its key, and from there on by held_next; NULL: none. */
struct delivery *order_first_held(const struct delivery *dlv);

/* One whose turn has come; NULL: none (more). */
struct delivery *order_next(struct order *order);

/* How many are held. */
int64_t order_held(const struct order *order);
/* Of those: in memory, and behind one that was refused. */
int64_t order_stuck(const struct order *order);
/* One that is held goes to disk (lane_spill.c), or is in memory again. */
void order_moved(struct order *order, const struct delivery *dlv, bool is_here);

#endif
