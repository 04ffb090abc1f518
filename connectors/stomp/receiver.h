/* receiver.h: what the two ends that receive (a subscriber, a shelf) have in common on their connection: messages from MESSAGE frames,
 * which wait for room in the lane, and ACKs that follow its settlements. Worker's thread.
 */
#ifndef STOMP_RECEIVER_H
#define STOMP_RECEIVER_H

#include "acks.h"
#include "assembly.h"
#include "connection.h"

struct stomp_receiver {
    struct stomp_connection conn; /* first; its ops, purpose and client_id are set by the end */
    struct stomp_broker *broker;
    struct bailey_host *host;
    struct bailey_port *port;
    const char *destination, *subscription; /* what SUBSCRIBE names, and its id */
    bool leaves;                            /* what comes from now on is dropped: it stays unacknowledged */
    uint32_t group;                         /* this connection's life */
    uint64_t browsed;                       /* messages of a browser so far */

    /* Private from here on. */
    struct stomp_ackid ids; /* where the broker's id of a message stands */
    bool forged_told;
    struct stomp_acks acks;
    uint64_t *recent; /* ring of numbers of those acknowledged last, if the broker hides what it repeats */
    size_t acked;
    struct stomp_assembly assembly;
    struct bailey_message **waiting; /* [first_waiting, waiting_count): for room in the lane */
    size_t first_waiting, waiting_count, waiting_cap;
};

/* Zeroed but for the connection's ops and purpose; the texts must outlive it. Then dial. */
void stomp_receiver_init(struct stomp_receiver *in, struct stomp_broker *broker, struct bailey_port *port,
                         const char *destination, const char *subscription);
/* `comes_back`: as of stomp_connection_fini(). */
void stomp_receiver_fini(struct stomp_receiver *in, bool comes_back);

/* CONNECTED came: SUBSCRIBE, with a RECEIPT; `more` adds headers. False with `err`: it cannot be expressed. */
bool stomp_receiver_subscribe(struct stomp_receiver *in, const char *ack,
                              void (*more)(void *ctx, struct stomp_writer *w), void *ctx, struct bailey_error *err);
bool stomp_receiver_is_subscribed(struct bailey_bytes receipt); /* the RECEIPT of it */
/* Say in `err` if it is about the subscription, by the receipt that an ERROR named. */
void stomp_receiver_explain(struct bailey_error *err, struct bailey_bytes receipt);

/* A message by which nothing is acknowledged (of a browser): at its head, instead of stomp_receiver_message(). */
void stomp_receiver_browse(struct stomp_receiver *in, const struct stomp_parser *frame);
/* Ops of the connection. What is larger than max_message_size, or has no id that can be believed, stays unacknowledged. */
void stomp_receiver_message(struct stomp_connection *conn, const struct stomp_parser *frame);
void stomp_receiver_body(struct stomp_connection *conn, struct bailey_bytes part, bool last);

/* As much as there is room for; what is left holds the connection. At input_end, and when there is room again. */
void stomp_receiver_hand_over(struct stomp_receiver *in);
bool stomp_receiver_waits(const struct stomp_receiver *in); /* something is left */
/* Drop what waits, or comes just now, and leave it to the broker. */
void stomp_receiver_leave(struct stomp_receiver *in);

/* One ACK for each that was accepted, NACK for each that was rejected (if it `rejects`, and the broker makes a dead letter of it). All
 * others stay unacknowledged, and return with the disconnect. */
void stomp_receiver_settle(struct stomp_receiver *in, const struct bailey_settlement *ended, size_t count,
                           bool rejects);

/* Messages that the broker counts as unacknowledged. */
uint64_t stomp_receiver_unacknowledged(const struct stomp_receiver *in);

/* The connection is gone: its messages are forgotten (bailey_revoke), another life begins. */
void stomp_receiver_forget(struct stomp_receiver *in);

/* Leave in order, as stomp_connection_close(). `is_up`: the subscription stands. */
void stomp_receiver_close(struct stomp_receiver *in, bool is_up);

#endif
