/* window.h: what a publishing channel has sent and the broker has not confirmed: a ring by delivery tag. 0-9-1 has
 * none of this; see RabbitMQ's publisher confirms. Tags count from 1 after confirm.select. Pure, one thread.
 */
#ifndef AMQ_WINDOW_H
#define AMQ_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bailey_delivery;

struct amq_window {
    struct bailey_delivery **ring; /* NULL: a hole, confirmed out of order */
    uint8_t *returned;             /* by slot: basic.return came, its ack will follow */
    size_t cap;                    /* power of two, or 0 */
    uint64_t base, next;           /* tags [base, next) */
    size_t count;                  /* without the holes */
    uint64_t return_from;          /* returns come in order: no candidate lies before this tag */
};

void amq_window_reset(struct amq_window *window); /* a channel's life begins; must be empty; zeroed before the first */
void amq_window_free(struct amq_window *window);

/* The delivery is published with tag window->next. */
void amq_window_push(struct amq_window *window, struct bailey_delivery *delivery);

/* The tags that an ack or nack names: [*first, *last]. False if the broker cannot mean this (a protocol error). */
bool amq_window_range(const struct amq_window *window, uint64_t tag, bool multiple, uint64_t *first, uint64_t *last);

/* Take the delivery out; NULL for a hole. */
struct bailey_delivery *amq_window_take(struct amq_window *window, uint64_t tag, bool *returned);

/* Look, without taking. */
struct bailey_delivery *amq_window_at(const struct amq_window *window, uint64_t tag);
bool amq_window_is_returned(const struct amq_window *window, uint64_t tag);
void amq_window_mark_returned(struct amq_window *window, uint64_t tag);

#endif
