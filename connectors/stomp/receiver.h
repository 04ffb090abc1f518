/* receiver.h: what the two ends that receive (a subscriber, a shelf) have in common on their connection: messages from MESSAGE frames,
 * which wait for room in the lane, ACKs that follow its settlements, and how they end. Worker's thread.
 */
#ifndef STOMP_RECEIVER_H
#define STOMP_RECEIVER_H

#include "acks.h"
#include "assembly.h"
#include "connection.h"

struct stomp_receiver {
    /* Set by the end. */
    struct stomp_connection conn;                /* first; its ops, purpose and client_id */
    void (*free_end)(struct stomp_receiver *in); /* it is closed: free the end, after stomp_receiver_fini() */

    struct stomp_broker *broker;
    struct bailey_host *host;
    struct bailey_port *port;
    const char *destination, *subscription; /* what SUBSCRIBE names, and its id */
    bool is_up;                             /* the subscription stands */
    bool leaves;                            /* what comes from now on is dropped: it stays unacknowledged */
    bool failed;
    uint32_t group;   /* this connection's life */
    uint64_t browsed; /* messages of a browser so far */

    /* Private from here on. */
    struct bailey_task end_task;
    bool draining, closing;
    bool drained, closed;   /* to be told */
    struct stomp_ackid ids; /* where the broker's id of a message stands */
    bool forged_told;
    struct stomp_acks acks;
    uint64_t *recent; /* ring of numbers of those acknowledged last, if the broker hides what it repeats */
    size_t acked;
    struct stomp_assembly assembly;
    struct bailey_message **waiting; /* [first_waiting, waiting_count): for room in the lane */
    size_t first_waiting, waiting_count, waiting_cap;
};

/* Zeroed but for what the end sets; the texts must outlive it. Then dial. */
void stomp_receiver_init(struct stomp_receiver *in, struct stomp_broker *broker, struct bailey_port *port,
                         const char *destination, const char *subscription);
void stomp_receiver_fini(struct stomp_receiver *in);

/* CONNECTED came: SUBSCRIBE, with a RECEIPT; `more` adds headers. False with `err`: it cannot be expressed. */
bool stomp_receiver_subscribe(struct stomp_receiver *in, const char *ack,
                              void (*more)(void *ctx, struct stomp_writer *w), void *ctx, struct bailey_error *err);
/* Its RECEIPT came: it is up. False: it is another one, for which the connection is given up. */
bool stomp_receiver_subscribed(struct stomp_receiver *in, struct bailey_bytes receipt);

/* A message by which nothing is acknowledged (of a browser): at its head, instead of stomp_receiver_message(). */
void stomp_receiver_browse(struct stomp_receiver *in, const struct stomp_parser *frame);
/* Ops of the connection. What is larger than max_message_size, or has no id that can be believed, stays unacknowledged. */
void stomp_receiver_message(struct stomp_connection *conn, const struct stomp_parser *frame);
void stomp_receiver_body(struct stomp_connection *conn, struct bailey_bytes part, bool last);

/* As much as there is room for; what is left holds the connection. At input_end, and when there is room again. */
void stomp_receiver_hand_over(struct stomp_receiver *in);
bool stomp_receiver_waits(const struct stomp_receiver *in); /* something is left */

/* One ACK for each that was accepted, NACK for each that was rejected (if it `rejects`, and the broker makes a dead letter of it). All
 * others stay unacknowledged, and return with the disconnect. */
void stomp_receiver_settle(struct stomp_receiver *in, const struct bailey_settlement *ended, size_t count,
                           bool rejects);

/* Messages that the broker counts as unacknowledged. */
uint64_t stomp_receiver_unacknowledged(const struct stomp_receiver *in);

/* The end is down (bailey_down), or has closed by that. */
void stomp_receiver_fail(struct stomp_receiver *in, const struct bailey_error *err);

/* Ops of the connection. */
void stomp_receiver_lost(struct stomp_connection *conn, const struct bailey_error *err, struct bailey_bytes receipt);
void stomp_receiver_closed(struct stomp_connection *conn);

/* Ops of an end (`self`): what comes from now on is dropped, and stays unacknowledged. */
void stomp_receiver_drain(void *self);
void stomp_receiver_close(void *self);

#endif
