/* The ring of what is ready, and the call of the sink. */
#include "core/outlet.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"

static void grow(struct outlet *outlet)
{
    size_t cap = outlet->cap ? outlet->cap * 2 : 64;
    struct bailey_delivery **ring = malloc(cap * sizeof *ring);

    if (ring == NULL)
        abort(); /* the lane's credit bounds this: the machine is out of memory */
    for (size_t i = 0; i < outlet->len; i++)
        ring[i] = &outlet_at(outlet, i)->pub;
    free(outlet->ready);
    outlet->ready = ring;
    outlet->cap = cap;
    outlet->head = 0;
}

void outlet_push(struct outlet *outlet, struct delivery *dlv, bool in_order)
{
    if (outlet->len == outlet->cap)
        grow(outlet);
    outlet->ready[(outlet->head + outlet->len++) & (outlet->cap - 1)] = &dlv->pub;
    outlet->is_unsorted |= !in_order;
}

static int by_sequence(const void *a, const void *b)
{
    const struct delivery *x = *(struct delivery *const *)a, *y = *(struct delivery *const *)b;

    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

void outlet_rebuild(struct outlet *outlet, bool (*keep)(const struct delivery *dlv))
{
    size_t kept = 0;
    struct bailey_delivery **flat = malloc((outlet->len + 1) * sizeof *flat);

    if (flat == NULL)
        abort();
    for (size_t i = 0; i < outlet->len; i++) {
        struct delivery *dlv = outlet_at(outlet, i);

        if (keep == NULL || keep(dlv))
            flat[kept++] = &dlv->pub;
    }
    if (outlet->is_unsorted && kept > 1)
        qsort(flat, kept, sizeof *flat, by_sequence);
    if (kept > 0)
        memcpy(outlet->ready, flat, kept * sizeof *flat);
    outlet->head = 0;
    outlet->len = kept;
    outlet->is_unsorted = false;
    free(flat);
}

/* ---- Sending ---- */

static void mark(struct bailey_delivery **batch, size_t count, enum delivery_state state)
{
    for (size_t i = 0; i < count; i++)
        ((struct delivery *)batch[i])->state = state;
}

static size_t take(struct outlet *outlet, struct bailey_delivery *batch[static BATCH_MAX],
                   bool (*admit)(struct delivery *dlv))
{
    size_t count = 0;

    while (count < BATCH_MAX && outlet->len > 0 && (!outlet->is_paced || outlet->allowance > (int64_t)count)) {
        struct delivery *dlv = outlet_pop(outlet);

        if (admit == NULL || admit(dlv))
            batch[count++] = &dlv->pub;
    }
    return count;
}

/* Back to where they stood. */
static void put_back(struct outlet *outlet, struct bailey_delivery **batch, size_t count)
{
    mark(batch, count, DELIVERY_READY);
    outlet->out -= (int64_t)count;
    while (outlet->cap - outlet->len < count)
        grow(outlet);
    for (size_t i = count; i-- > 0;) {
        outlet->head = (outlet->head - 1) & (outlet->cap - 1);
        outlet->ready[outlet->head] = batch[i];
        outlet->len++;
    }
}

void outlet_send(struct outlet *outlet, bool (*admit)(struct delivery *dlv))
{
    const struct bailey_sink *sink = outlet->end.kind.sink;
    bool sent = false;

    if (outlet->len == 0 || !outlet_is_up(outlet) || outlet->is_full)
        return;
    if (outlet->is_unsorted)
        outlet_rebuild(outlet, NULL);
    if (outlet->out == 0)
        outlet->last_verdict_ms = bailey_now_ms(outlet->end.port.host); /* none is owed before */
    while (outlet->len > 0 && outlet->end.state == END_UP && !outlet->is_full) {
        struct bailey_delivery *batch[BATCH_MAX]; /* a copy: verdicts inside send() may grow the ring */
        size_t count = take(outlet, batch, admit), taken;

        if (count == 0 && outlet->len > 0)
            break; /* as much as it is allowed */
        if (count == 0)
            continue;
        mark(batch, count, DELIVERY_OUT);
        outlet->out += (int64_t)count;
        taken = sink->send(outlet->end.self, batch, count);
        assert(taken <= count);
        outlet->allowance -= (int64_t)taken;
        sent = true;
        if (taken < count) {
            put_back(outlet, batch + taken, count - taken);
            outlet->is_full = true;
        }
    }
    if (sent && sink->flush != NULL && outlet->end.self != NULL)
        sink->flush(outlet->end.self);
    if (outlet->out > 0)
        CRASH_POINT(after_send, outlet->end.port.route);
}

void outlet_free(struct outlet *outlet)
{
    free(outlet->ready);
}
