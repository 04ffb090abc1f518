/* window.h: what a sink has sent and the broker gave no RECEIPT for: a ring by receipt number, with the time of each. Numbers
 * count from 1 within a connection's life; receipts may come in any order. Pure, one thread.
 */
#ifndef STOMP_WINDOW_H
#define STOMP_WINDOW_H

#include <stddef.h>
#include <stdint.h>

struct bailey_delivery;

struct stomp_sent {
    struct bailey_delivery *delivery; /* NULL: a hole, its receipt came out of order */
    int64_t sent_ms;                  /* monotonic */
};

struct stomp_window {
    struct stomp_sent *ring;
    size_t cap;          /* power of two, or 0 */
    uint64_t base, next; /* numbers [base, next) */
    size_t count;        /* without the holes */
};

void stomp_window_reset(
    struct stomp_window *window); /* a connection's life begins; must be empty; zeroed before the first */
void stomp_window_free(struct stomp_window *window);

/* The delivery is sent with the receipt number window->next. */
void stomp_window_push(struct stomp_window *window, struct bailey_delivery *delivery, int64_t now_ms);

/* Take the delivery out; NULL if that number is not out: never sent, or its receipt has come already. */
struct bailey_delivery *stomp_window_take(struct stomp_window *window, uint64_t number);

/* When the oldest was sent. Must not be empty. */
int64_t stomp_window_oldest_ms(const struct stomp_window *window);

#endif
