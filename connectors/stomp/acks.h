/* acks.h: how to acknowledge what a subscription gave: a ring from a message's position to the id that its ACK names.
 *
 * Positions of a connection's life are 1, 2, 3, ...; each is taken out once, in any order. Pure, one thread.
 */
#ifndef STOMP_ACKS_H
#define STOMP_ACKS_H

#include <bailey/message.h>

enum { STOMP_ACK_INLINE = 52 }; /* bytes of an id that need no memory of their own: those of the three brokers do not */

struct stomp_ack {
    uint32_t len;
    bool out; /* not acknowledged */
    union {
        uint8_t small[STOMP_ACK_INLINE];
        uint8_t *large;
    };
};

struct stomp_acks {
    struct stomp_ack *ring;
    size_t cap;          /* power of two, or 0 */
    uint64_t base, next; /* positions [base, next) */
    size_t count;        /* of them not acknowledged */
};

/* A connection's life begins: forgets what is out. Zeroed before the first call. */
void stomp_acks_reset(struct stomp_acks *acks);
void stomp_acks_free(struct stomp_acks *acks);

/* A message came; returns its position. `id` is copied. */
uint64_t stomp_acks_deliver(struct stomp_acks *acks, struct bailey_bytes id);

/* The id of a message that is out, or null. */
struct bailey_bytes stomp_acks_id(const struct stomp_acks *acks, uint64_t position);

/* It is acknowledged, or given up: no longer out. A position that is not out is ignored. */
void stomp_acks_done(struct stomp_acks *acks, uint64_t position);

#endif
