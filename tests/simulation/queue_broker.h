/* queue_broker.h: a simulated queue with competing consumers, as RabbitMQ's: what is delivered stays the queue's until it is
 * acknowledged by its tag; what a consumer leaves unacknowledged returns, marked as redelivered, to its old place or to any.
 */
#ifndef BAILEY_SIM_QUEUE_BROKER_H
#define BAILEY_SIM_QUEUE_BROKER_H

#include "ledger.h"
#include "link.h"

/* Frames; b: which life of the channel, d: delivery tag, from 1 in each life. */
enum queue_frame {
    QUEUE_CONSUME,  /* to the broker. c: how many may be unacknowledged */
    QUEUE_CANCEL,   /* no more deliveries */
    QUEUE_ACK,      /* flags: 1 if all up to that tag are meant */
    QUEUE_RENEW,    /* close the channel, and open another: its next life */
    QUEUE_OPENED,   /* to the client */
    QUEUE_STARTED,  /* answers CONSUME */
    QUEUE_CANCELED, /* answers CANCEL */
    QUEUE_DELIVER,  /* a: message; flags: 1 if it is redelivered */
};

struct queue_broker;

/* `is_exclusive`: one session consumes, until it is gone. */
struct queue_broker *queue_broker_new(struct sim *sim, bool shuffles, bool is_exclusive);
void queue_broker_append(struct queue_broker *broker, uint32_t number);

/* From within a worker. */
struct link *queue_broker_connect(struct queue_broker *broker, struct bailey_host *host, const struct link_client *ops,
                                  void *client);

#endif
