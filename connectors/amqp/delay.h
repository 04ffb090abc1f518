/* delay.h: queues in which RabbitMQ holds messages until their time (docs/decisions/0040). Zeroed = none is declared. One thread.
 *
 * A message waits in the queue of its step: delays of up to 1 s, 1.125 s, 1.25 s ... 2 s, 2.25 s and so on, eight to each doubling. Its
 * own expiration ends its wait exactly, unless one that waits longer is before it: of the same step, so by an eighth of its
 * delay at most. Then the queue's dead-letter exchange, the sink's, gets it with its routing key.
 */
#ifndef AMQ_DELAY_H
#define AMQ_DELAY_H

#include "connection.h"

enum { AMQ_DELAY_STEPS = 177 }; /* up to 48 days: RabbitMQ's timers have 32 bits */

struct amq_delay {
    const char *exchange; /* the sink's; "" is the default one */
    uint8_t declared[AMQ_DELAY_STEPS];
    char name[AMQ_SHORTSTR_MAX + 1]; /* of the exchange for the message that was asked about last, and of its queue */
};

/* A channel's life begins, or a queue is gone: declare them anew. */
void amq_delay_forget(struct amq_delay *delay);

/* The smallest step that holds a message for so long. */
unsigned amq_delay_step(int64_t hold_ms);
int64_t amq_delay_step_ms(unsigned step);

/* See to it, on `ch`, that there is a place to hold a message for `hold_ms` > 0: delay->name is the exchange to publish it to. What is sent
 * for that is answered in order, before the confirm. False with `err`. */
bool amq_delay_prepare(struct amq_delay *delay, struct amq_channel *ch, int64_t hold_ms, struct bailey_error *err);

#endif
