/* core/order.h: whose turn it is, in a lane that keeps an order.
 *
 * Deliveries with the same key (the message's, its partition, or one for all: `order:`) go one behind the other: one has its turn,
 * those behind it are held. It keeps its turn when it is refused or handed back; other keys go on.
 *
 *     enter ──→ has its turn ──(sent, confirmed)──→ leave ──→ the next one
 *       └─→ held ──────────────(its turn has come)──↗
 *
 * Keys are told apart by a keyed hash of 64 bits: two keys that share one wait for each other, no more.
 */
#ifndef BAILEY_ORDER_H
#define BAILEY_ORDER_H

#include "core/delivery.h"

struct order;

/* `kind` is not BAILEY_ORDER_NONE. Never NULL. */
struct order *order_new(enum bailey_order kind, struct bailey_host *host);
void order_free(struct order *order);

/* It has a key, and has not entered yet. */
bool order_is_new(const struct order *order, const struct delivery *dlv);

/* It may go on. False: it is held until order_next() gives it. */
bool order_enter(struct order *order, struct delivery *dlv);

/* It was refused, and keeps its turn: its key is stuck until it leaves. Allowed for one that never entered. */
void order_refused(struct order *order, const struct delivery *dlv);

/* The sink has it, or it is let go of. Allowed for one that never entered. */
void order_leave(struct order *order, struct delivery *dlv);

/* One whose turn has come; NULL: none (more). */
struct delivery *order_next(struct order *order);

/* ---- Of one that has its turn or is held ---- */

/* Is its key held up by one that was refused, and is not through? */
bool order_is_stuck(const struct delivery *dlv);
/* Its key, as a number. */
uint64_t order_key_number(const struct delivery *dlv);
/* The first that is held of its key, and from there on by held_next; NULL: none. */
struct delivery *order_first_held(const struct delivery *dlv);
/* It is held, and goes to disk (lane_spill.c), or is in memory again. */
void order_moved(struct order *order, const struct delivery *dlv, bool is_here);

/* ---- Counts; 0 without an order ---- */

/* How many are held. */
int64_t order_held(const struct order *order);
/* Of those: in memory, and behind one that was refused. */
int64_t order_stuck(const struct order *order);

#endif
