/* A ring of ids by position. What is done closes when the base reaches it. */
#include "acks.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_CAP = 64 };

static struct stomp_ack *slot(const struct stomp_acks *acks, uint64_t position)
{
    return &acks->ring[position & (acks->cap - 1)];
}

static bool is_out(const struct stomp_acks *acks, uint64_t position)
{
    return position >= acks->base && position < acks->next && slot(acks, position)->out;
}

static void take(struct stomp_acks *acks, uint64_t position)
{
    struct stomp_ack *ack = slot(acks, position);

    if (ack->len > STOMP_ACK_INLINE)
        free(ack->large);
    ack->out = false;
    acks->count--;
}

void stomp_acks_reset(struct stomp_acks *acks)
{
    for (uint64_t position = acks->base; position < acks->next; position++)
        if (slot(acks, position)->out)
            take(acks, position);
    assert(acks->count == 0);
    acks->base = acks->next = 1;
}

void stomp_acks_free(struct stomp_acks *acks)
{
    stomp_acks_reset(acks);
    free(acks->ring);
    *acks = (struct stomp_acks){0};
}

static void grow(struct stomp_acks *acks)
{
    struct stomp_acks bigger = *acks;

    bigger.cap = acks->cap ? acks->cap * 2 : FIRST_CAP;
    bigger.ring = malloc(bigger.cap * sizeof *bigger.ring);
    if (bigger.ring == NULL)
        abort();
    for (uint64_t position = acks->base; position < acks->next; position++)
        *slot(&bigger, position) = *slot(acks, position);
    free(acks->ring);
    *acks = bigger;
}

uint64_t stomp_acks_deliver(struct stomp_acks *acks, struct bailey_bytes id)
{
    struct stomp_ack *ack;
    uint8_t *at;

    if (acks->next - acks->base == acks->cap)
        grow(acks);
    ack = slot(acks, acks->next);
    ack->len = (uint32_t)id.len;
    ack->out = true;
    at = ack->small;
    if (id.len > STOMP_ACK_INLINE)
        at = ack->large = malloc(id.len);
    if (at == NULL)
        abort();
    if (id.len > 0)
        memcpy(at, id.data, id.len);
    acks->count++;
    return acks->next++;
}

struct bailey_bytes stomp_acks_id(const struct stomp_acks *acks, uint64_t position)
{
    const struct stomp_ack *ack;

    if (!is_out(acks, position))
        return BAILEY_NULL_BYTES;
    ack = slot(acks, position);
    return (struct bailey_bytes){ack->len > STOMP_ACK_INLINE ? ack->large : ack->small, ack->len};
}

void stomp_acks_done(struct stomp_acks *acks, uint64_t position)
{
    if (!is_out(acks, position))
        return;
    take(acks, position);
    while (acks->base < acks->next && !slot(acks, acks->base)->out)
        acks->base++;
}
