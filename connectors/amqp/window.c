/* The ring of unconfirmed deliveries. Holes are closed when the base reaches them. */
#include "window.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_CAP = 64 };

static size_t slot(const struct amq_window *window, uint64_t tag)
{
    return tag & (window->cap - 1);
}

void amq_window_reset(struct amq_window *window)
{
    assert(window->count == 0);
    window->base = window->next = window->return_from = 1;
}

void amq_window_free(struct amq_window *window)
{
    free(window->ring);
    free(window->returned);
    *window = (struct amq_window){0};
}

static void grow(struct amq_window *window)
{
    struct amq_window bigger = *window;

    bigger.cap = window->cap ? window->cap * 2 : FIRST_CAP;
    bigger.ring = calloc(bigger.cap, sizeof *bigger.ring);
    bigger.returned = calloc(bigger.cap, sizeof *bigger.returned);
    if (bigger.ring == NULL || bigger.returned == NULL)
        abort();
    for (uint64_t tag = window->base; tag < window->next; tag++) {
        bigger.ring[slot(&bigger, tag)] = window->ring[slot(window, tag)];
        bigger.returned[slot(&bigger, tag)] = window->returned[slot(window, tag)];
    }
    free(window->ring);
    free(window->returned);
    *window = bigger;
}

void amq_window_push(struct amq_window *window, struct bailey_delivery *delivery)
{
    if (window->next - window->base == window->cap)
        grow(window);
    window->ring[slot(window, window->next)] = delivery;
    window->returned[slot(window, window->next)] = false;
    window->next++;
    window->count++;
}

bool amq_window_range(const struct amq_window *window, uint64_t tag, bool multiple, uint64_t *first, uint64_t *last)
{
    if (tag == 0 && multiple) /* 0-9-1, basic.ack: all outstanding */
        tag = window->next - 1;
    if (tag >= window->next || (tag < window->base && !multiple))
        return false;
    *first = multiple ? window->base : tag;
    *last = tag;
    return true;
}

struct bailey_delivery *amq_window_take(struct amq_window *window, uint64_t tag, bool *returned)
{
    struct bailey_delivery *delivery;

    if (tag < window->base || tag >= window->next)
        return NULL;
    delivery = window->ring[slot(window, tag)];
    *returned = window->returned[slot(window, tag)];
    window->ring[slot(window, tag)] = NULL;
    if (delivery != NULL)
        window->count--;
    while (window->base < window->next && window->ring[slot(window, window->base)] == NULL)
        window->base++;
    return delivery;
}

struct bailey_delivery *amq_window_at(const struct amq_window *window, uint64_t tag)
{
    return tag >= window->base && tag < window->next ? window->ring[slot(window, tag)] : NULL;
}

bool amq_window_is_returned(const struct amq_window *window, uint64_t tag)
{
    return window->returned[slot(window, tag)];
}

void amq_window_mark_returned(struct amq_window *window, uint64_t tag)
{
    assert(amq_window_at(window, tag) != NULL);
    window->returned[slot(window, tag)] = true;
    window->return_from = tag + 1;
}
