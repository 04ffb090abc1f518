/* The ring of unconfirmed deliveries. Holes are closed when the base reaches them. */
#include "window.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_CAP = 64 };

static struct stomp_sent *slot(const struct stomp_window *window, uint64_t number)
{
    return &window->ring[number & (window->cap - 1)];
}

void stomp_window_reset(struct stomp_window *window)
{
    assert(window->count == 0);
    window->base = window->next = 1;
}

void stomp_window_free(struct stomp_window *window)
{
    free(window->ring);
    *window = (struct stomp_window){0};
}

static void grow(struct stomp_window *window)
{
    struct stomp_window bigger = *window;

    bigger.cap = window->cap ? window->cap * 2 : FIRST_CAP;
    bigger.ring = calloc(bigger.cap, sizeof *bigger.ring);
    if (bigger.ring == NULL)
        abort();
    for (uint64_t number = window->base; number < window->next; number++)
        *slot(&bigger, number) = *slot(window, number);
    free(window->ring);
    *window = bigger;
}

void stomp_window_push(struct stomp_window *window, struct bailey_delivery *delivery, int64_t now_ms)
{
    if (window->next - window->base == window->cap)
        grow(window);
    *slot(window, window->next++) = (struct stomp_sent){delivery, now_ms};
    window->count++;
}

struct bailey_delivery *stomp_window_take(struct stomp_window *window, uint64_t number)
{
    struct bailey_delivery *delivery;

    if (number < window->base || number >= window->next)
        return NULL;
    delivery = slot(window, number)->delivery;
    slot(window, number)->delivery = NULL;
    if (delivery != NULL)
        window->count--;
    while (window->base < window->next && slot(window, window->base)->delivery == NULL)
        window->base++;
    return delivery;
}

int64_t stomp_window_oldest_ms(const struct stomp_window *window)
{
    assert(window->count > 0);
    return slot(window, window->base)->sent_ms;
}
