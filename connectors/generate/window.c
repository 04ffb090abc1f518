/* A ring of bits. Settling is one bit set, and a walk over those that became contiguous: each number is walked once. */
#include "window.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void window_init(struct window *window, uint64_t low)
{
    *window = (struct window){.low = low};
}

void window_fini(struct window *window)
{
    free(window->bits);
    *window = (struct window){0};
}

static uint64_t *word_of(const struct window *window, uint64_t number)
{
    return &window->bits[(number & (window->cap - 1)) / 64];
}

static void grow(struct window *window, uint64_t number)
{
    struct window grown = {.low = window->low, .cap = window->cap ? window->cap : 1024};

    while (number - grown.low >= grown.cap)
        grown.cap *= 2;
    grown.bits = calloc(grown.cap / 64, sizeof *grown.bits);
    if (grown.bits == NULL)
        abort(); /* 128 KiB at most: the machine is out of memory */
    for (uint64_t i = window->low; i - window->low < window->cap; i++)
        if (*word_of(window, i) >> (i % 64) & 1)
            *word_of(&grown, i) |= UINT64_C(1) << (i % 64);
    free(window->bits);
    *window = grown;
}

void window_settle(struct window *window, uint64_t number)
{
    if (number < window->low)
        return;
    assert(window_has_room(window, number));
    if (number - window->low >= window->cap)
        grow(window, number);
    *word_of(window, number) |= UINT64_C(1) << (number % 64);
    while (*word_of(window, window->low) >> (window->low % 64) & 1) {
        *word_of(window, window->low) &= ~(UINT64_C(1) << (window->low % 64));
        window->low++;
    }
}
