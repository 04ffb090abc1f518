/* A ring of states by delivery tag.
 *
 * RabbitMQ demands that the tag of an ack with `multiple` is itself outstanding: so the prefix is told by its highest
 * tag that was not acknowledged singly before, and if there is none, by nothing.
 */
#include "acks.h"

#include <assert.h>
#include <stdlib.h>

enum state { OUT, SETTLED, REJECTED, TOLD };
enum { FIRST_CAP = 256 };

static uint32_t *slot(const struct amq_acks *acks, uint64_t tag)
{
    return &acks->ring[tag & (acks->cap - 1)];
}

static enum state state_of(const struct amq_acks *acks, uint64_t tag)
{
    return (enum state)(*slot(acks, tag) & 3);
}

static void set_state(struct amq_acks *acks, uint64_t tag, enum state state)
{
    *slot(acks, tag) = (*slot(acks, tag) & ~3u) | (uint32_t)state;
}

void amq_acks_reset(struct amq_acks *acks)
{
    acks->base = acks->next = acks->scan = 1;
    acks->acked_ahead = 0;
    acks->settled = acks->rejected = 0;
    acks->mark = 1;
    acks->before_mark = 0;
}

void amq_acks_free(struct amq_acks *acks)
{
    free(acks->ring);
    *acks = (struct amq_acks){0};
}

static void grow(struct amq_acks *acks)
{
    struct amq_acks bigger = *acks;

    bigger.cap = acks->cap ? acks->cap * 2 : FIRST_CAP;
    bigger.ring = malloc(bigger.cap * sizeof *bigger.ring);
    if (bigger.ring == NULL)
        abort();
    for (uint64_t tag = acks->base; tag < acks->next; tag++)
        *slot(&bigger, tag) = *slot(acks, tag);
    free(acks->ring);
    *acks = bigger;
}

void amq_acks_deliver(struct amq_acks *acks, uint32_t second)
{
    if (acks->next - acks->base == acks->cap)
        grow(acks);
    *slot(acks, acks->next++) = second << 2 | OUT;
}

void amq_acks_settle(struct amq_acks *acks, uint64_t tag, enum amq_settled how)
{
    if (tag < acks->base || tag >= acks->next || state_of(acks, tag) != OUT)
        return;
    if (how == AMQ_SETTLED_REJECT) {
        set_state(acks, tag, REJECTED);
        acks->rejected++;
    } else {
        set_state(acks, tag, SETTLED);
        acks->settled++;
    }
    if (tag < acks->scan)
        acks->scan = tag;
}

/* Move base over what is told. */
static void advance(struct amq_acks *acks)
{
    while (acks->base < acks->next && state_of(acks, acks->base) == TOLD) {
        acks->base++;
        acks->acked_ahead--;
    }
    if (acks->scan < acks->base)
        acks->scan = acks->base;
}

static void told(struct amq_acks *acks, uint64_t tag, size_t *of)
{
    --*of;
    if (tag < acks->mark)
        acks->before_mark--;
}

static bool next_prefix(struct amq_acks *acks, struct amq_ack *ack)
{
    uint64_t last = 0;

    for (uint64_t tag = acks->base; tag < acks->next; tag++) {
        enum state state = state_of(acks, tag);

        if (state != SETTLED && state != TOLD)
            break;
        if (state == SETTLED)
            last = tag;
    }
    if (last == 0)
        return false;
    *ack = (struct amq_ack){.tag = last, .multiple = last > acks->base};
    for (; acks->base <= last; acks->base++) {
        if (state_of(acks, acks->base) == TOLD)
            acks->acked_ahead--; /* long ago */
        else
            told(acks, acks->base, &acks->settled);
    }
    return true;
}

static bool next_single(struct amq_acks *acks, bool singly, struct amq_ack *ack)
{
    for (uint64_t tag = singly ? acks->scan : acks->base; tag < acks->next; tag++) {
        enum state state = state_of(acks, tag);

        if (state != REJECTED && (state != SETTLED || !singly))
            continue;
        *ack = (struct amq_ack){.tag = tag, .reject = state == REJECTED};
        told(acks, tag, state == REJECTED ? &acks->rejected : &acks->settled);
        set_state(acks, tag, TOLD);
        acks->acked_ahead++;
        if (singly)
            acks->scan = tag + 1; /* all before are told */
        return true;
    }
    return false;
}

bool amq_acks_next(struct amq_acks *acks, bool singly, struct amq_ack *ack)
{
    bool found = false;

    advance(acks);
    if (acks->settled > 0)
        found = next_prefix(acks, ack);
    if (!found && (acks->rejected > 0 || (singly && acks->settled > 0)))
        found = next_single(acks, singly, ack);
    advance(acks);
    return found;
}

bool amq_acks_waiting(const struct amq_acks *acks)
{
    return acks->settled > 0;
}

uint64_t amq_acks_outstanding(const struct amq_acks *acks)
{
    return acks->next - acks->base - acks->acked_ahead;
}

void amq_acks_mark(struct amq_acks *acks)
{
    acks->mark = acks->next;
    acks->before_mark = amq_acks_outstanding(acks);
}

uint64_t amq_acks_since_mark(const struct amq_acks *acks)
{
    return amq_acks_outstanding(acks) - acks->before_mark;
}

bool amq_acks_oldest(const struct amq_acks *acks, uint32_t *second)
{
    if (acks->base == acks->next)
        return false;
    *second = *slot(acks, acks->base) >> 2;
    return true;
}
