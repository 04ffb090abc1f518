/* core/outlet.h: one way out of a lane: a sink, and the deliveries that are ready for it, in the order of receiving.
 *
 * A lane has one to its route's sink and, if the route names one, one to its dead letters.
 */
#ifndef BAILEY_OUTLET_H
#define BAILEY_OUTLET_H

#include "core/delivery.h"
#include "core/end.h"

struct outlet {
    struct end end; /* first: a sink's port is its end, and its end is its outlet */

    struct bailey_delivery **ready; /* ring of `cap` (a power of two) */
    size_t cap, head, len;
    bool is_unsorted; /* handed-back ones stand behind newer ones */

    int64_t out;  /* sent, and without a verdict */
    bool is_full; /* send() took less than it was given */
    int64_t last_verdict_ms;
    bool is_paced;     /* sends no more than `allowance`, which whoever paces it renews */
    int64_t allowance; /* messages */
};

/* It is ready, at its place among the others if `in_order` (it was received after all that are there). */
void outlet_push(struct outlet *outlet, struct delivery *dlv, bool in_order);

/* Take out what `keep` refuses (NULL: nothing), and restore the order of receiving. */
void outlet_rebuild(struct outlet *outlet, bool (*keep)(const struct delivery *dlv));

/* Send what is ready, as far as the sink takes it. `admit` (or NULL) is asked for each before: false, if it has seen to it
 * otherwise. */
void outlet_send(struct outlet *outlet, bool (*admit)(struct delivery *dlv));

static inline struct delivery *outlet_at(const struct outlet *outlet, size_t index)
{
    return (struct delivery *)outlet->ready[(outlet->head + index) & (outlet->cap - 1)];
}

static inline struct delivery *outlet_pop(struct outlet *outlet)
{
    struct delivery *dlv = outlet_at(outlet, 0);

    outlet->head = (outlet->head + 1) & (outlet->cap - 1);
    outlet->len--;
    return dlv;
}

static inline bool outlet_is_up(const struct outlet *outlet)
{
    return outlet->end.state == END_UP && outlet->end.self != NULL;
}

void outlet_free(struct outlet *outlet);

#endif
