/* acks.h: which deliveries of a consuming channel are settled, and the fewest frames that tell the broker so.
 *
 * Delivery tags of a channel are 1, 2, 3, ...: a ring from the oldest that is not acknowledged, one word each. Pure:
 * it holds no channel; amq_acks_next() says what to send. One thread.
 */
#ifndef AMQ_ACKS_H
#define AMQ_ACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amq_acks {
    uint32_t *ring;           /* second of receipt << 2 | state */
    size_t cap;               /* power of two, or 0 */
    uint64_t base;            /* oldest tag that is not acknowledged */
    uint64_t next;            /* tag of the next delivery */
    uint64_t acked_ahead;     /* tags beyond base that are acknowledged */
    uint64_t scan;            /* none that is settled and not told lies before it, but for the prefix */
    size_t settled, rejected; /* not told yet */
    uint64_t mark;            /* first tag of the current consumer */
    uint64_t before_mark;     /* unacknowledged ones of earlier consumers */
};

enum amq_settled { AMQ_SETTLED_ACK, AMQ_SETTLED_REJECT };

/* A channel's life begins: its first delivery has tag 1. Zeroed before the first call. */
void amq_acks_reset(struct amq_acks *acks);
void amq_acks_free(struct amq_acks *acks);

/* A delivery came; its tag is acks->next. `second`: monotonic, for amq_acks_oldest. */
void amq_acks_deliver(struct amq_acks *acks, uint32_t second);

/* `tag` is settled. A tag that is not outstanding, or already settled, is ignored. */
void amq_acks_settle(struct amq_acks *acks, uint64_t tag, enum amq_settled how);

struct amq_ack {
    uint64_t tag;
    bool multiple; /* all up to `tag` */
    bool reject;
};

/* The next frame to send; false: none. First the settled prefix, by one frame with `multiple`; then, if `singly`,
 * those beyond a hole one by one. Rejected ones are told singly, always. */
bool amq_acks_next(struct amq_acks *acks, bool singly, struct amq_ack *ack);

/* True if something is settled that amq_acks_next(singly = false) does not tell, because an older one is not. */
bool amq_acks_waiting(const struct amq_acks *acks);

/* Deliveries that the broker counts as unacknowledged. */
uint64_t amq_acks_outstanding(const struct amq_acks *acks);

/* From here on deliveries are a new consumer's: RabbitMQ counts prefetch for each consumer by itself. */
void amq_acks_mark(struct amq_acks *acks);
/* Unacknowledged deliveries since the mark. */
uint64_t amq_acks_since_mark(const struct amq_acks *acks);

/* When the oldest unacknowledged delivery came; false if there is none. */
bool amq_acks_oldest(const struct amq_acks *acks, uint32_t *second);

#endif
