/* Two hash sets, so that forgetting the older half is one free(). */
#include "lost.h"

#include <stdlib.h>

enum { FIRST_CAP = 64, TAKEN = 1 };

static size_t place(const struct stomp_lost_half *half, uint64_t number)
{
    return (size_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (half->cap - 1);
}

static void insert(struct stomp_lost_half *half, uint64_t number)
{
    size_t at = place(half, number);

    while (half->slots[at] != 0 && half->slots[at] != number)
        at = (at + 1) & (half->cap - 1);
    half->used += half->slots[at] == 0;
    half->slots[at] = number;
}

static void grow(struct stomp_lost_half *half)
{
    struct stomp_lost_half bigger = {.cap = half->cap ? half->cap * 2 : FIRST_CAP};

    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        abort();
    for (size_t i = 0; i < half->cap; i++)
        if (half->slots[i] > TAKEN)
            insert(&bigger, half->slots[i]);
    free(half->slots);
    *half = bigger;
}

static bool take(struct stomp_lost_half *half, uint64_t number)
{
    if (half->cap == 0)
        return false;
    for (size_t at = place(half, number); half->slots[at] != 0; at = (at + 1) & (half->cap - 1)) {
        if (half->slots[at] != number)
            continue;
        half->slots[at] = TAKEN;
        return true;
    }
    return false;
}

void stomp_lost_free(struct stomp_lost *lost)
{
    free(lost->young.slots);
    free(lost->old.slots);
    *lost = (struct stomp_lost){0};
}

uint64_t stomp_lost_number(struct bailey_bytes id)
{
    const uint8_t *comma = id.len > 0 ? memchr(id.data, ',', id.len) : NULL, *end = id.data + id.len;
    uint64_t number = 0;

    if (comma == NULL || end - comma < 2 || end - comma > 19)
        return 0;
    for (const uint8_t *at = comma + 1; at < end; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        number = number * 10 + (uint64_t)(*at - '0');
    }
    return number > TAKEN ? number : 0;
}

void stomp_lost_add(struct stomp_lost *lost, uint64_t number)
{
    if (number <= TAKEN)
        return;
    if (lost->young.used >= STOMP_LOST_MAX) {
        free(lost->old.slots);
        lost->old = lost->young;
        lost->young = (struct stomp_lost_half){0};
    }
    if (lost->young.used * 2 >= lost->young.cap)
        grow(&lost->young);
    insert(&lost->young, number);
}

bool stomp_lost_take(struct stomp_lost *lost, uint64_t number)
{
    return number > TAKEN && (take(&lost->young, number) || take(&lost->old, number));
}
