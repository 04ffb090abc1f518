/* connection.h: the one connection of an end to its broker.
 *
 * STOMP has no channels: what is unsettled is only given back by hanging up, and an ERROR frame ends everything that shares
 * the connection. So each end has one of its own (docs/decisions/0005-a-stomp-connection-for-each-end.md).
 *
 *     NONE → DIALING → HANDSHAKE → OPEN → CLOSING → NONE
 *
 * It does not redial by itself: the end decides, mostly by failing as a whole (bailey_down). The broker remembers which URL's
 * turn it is, and what was logged. Worker's thread. Callbacks may do anything to their own connection but free it.
 */
#ifndef STOMP_CONNECTION_H
#define STOMP_CONNECTION_H

#include "ackid.h"
#include "frame.h"
#include "lost.h"
#include "stomp.h"
#include "write.h"

struct stomp_broker;
struct stomp_connection;

struct stomp_connection_ops {
    /* CONNECTED came: dialect, version and escapes are known. */
    void (*opened)(struct stomp_connection *conn);
    /* The head of a MESSAGE; its body follows. */
    void (*message)(struct stomp_connection *conn, const struct stomp_parser *frame);
    void (*body)(struct stomp_connection *conn, struct bailey_bytes part, bool last);
    /* A RECEIPT; `id` as we gave it, if the broker is honest. */
    void (*receipt)(struct stomp_connection *conn, struct bailey_bytes id);
    /* All of what was read at once is dispatched: hand on what was gathered. */
    void (*input_end)(struct stomp_connection *conn);
    /* The output has room again. May be NULL. */
    void (*writable)(struct stomp_connection *conn);
    /* It is gone, or could not be made: its state is NONE. `receipt`: not null if it was by an ERROR frame; then the receipt-id
     * which that named, or empty. */
    void (*lost)(struct stomp_connection *conn, const struct bailey_error *err, struct bailey_bytes receipt);
    /* stomp_connection_close() is done. */
    void (*closed)(struct stomp_connection *conn);
};

enum stomp_connection_state { STOMP_NONE, STOMP_DIALING, STOMP_HANDSHAKE, STOMP_OPEN, STOMP_CLOSING };

/* An ERROR frame: as much of it as is for people, and the receipt-id. */
struct stomp_error {
    char message[512], body[512], receipt[32]; /* texts, cut */
    size_t body_len;
};

struct stomp_connection {
    /* These six are set by the end; all else is private, but may be read. */
    const struct stomp_connection_ops *ops;
    struct stomp_broker *broker;
    const char *route;     /* its name */
    const char *purpose;   /* for people: "send" or "receive" */
    const char *client_id; /* or NULL */
    int64_t body_max;      /* of a frame that comes: more is a protocol error */

    enum stomp_connection_state state;
    enum stomp_dialect dialect;
    int version; /* 10, 11, 12 */
    enum stomp_escapes escapes;
    char address[300];               /* host:port, for people */
    char session[STOMP_SESSION_MAX]; /* of CONNECTED; empty: none, or too long to be one */
    char server[80];                 /* likewise, for people */

    struct bailey_transport *transport;
    struct stomp_parser parser;
    bool is_websocket, is_held;
    bool is_told, works; /* stomp.connected was logged; a RECEIPT or a MESSAGE came, or it holds for a while */
    int64_t opened_ms;
    uint8_t frame;                                        /* the kind of the frame whose body comes */
    bool connect_sent, connect_escaped, other_form_tried; /* handshake.c */
    size_t url_index;
    int64_t send_ms, receive_ms; /* heart-beats agreed; 0: none */
    unsigned life;               /* counts transports */
    struct bailey_timer timer;   /* HANDSHAKE, CLOSING: limit; OPEN: heart-beat */
    struct bailey_task breaking;
    struct bailey_error broken; /* kind NONE: not */

    struct stomp_error *error; /* an ERROR frame that comes */

    uint64_t appended, written_at_loss;
};

/* ---- Broker ---- */

bool stomp_broker_open(void **broker, const void *settings, const char *name, const char *instance,
                       struct bailey_host *host, struct bailey_error *err);
void stomp_broker_close(void *broker);
struct bailey_host *stomp_broker_host(const struct stomp_broker *broker);
const struct stomp_broker_settings *stomp_broker_settings(const struct stomp_broker *broker);

/* A number that no other connection's life of this broker and worker had: the `group` of its messages. Never 0. */
uint32_t stomp_broker_next_group(struct stomp_broker *broker);

/* Ids of messages that were unsettled when an end of this broker's lost its connection. */
struct stomp_lost *stomp_broker_lost(struct stomp_broker *broker);

/* A RECEIPT did not come in time, or now one came. */
void stomp_broker_receipts_late(struct stomp_broker *broker, bool late);
bool stomp_broker_is_late(const struct stomp_broker *broker);

/* ---- Life ---- */

/* Zeroed, ops and the fields behind it set. Counts as a connection that there should be. */
void stomp_connection_init(struct stomp_connection *conn);

/* Begin to connect; opened() or lost() answers, never from within. The state must be NONE. */
void stomp_connection_dial(struct stomp_connection *conn);

/* Leave in order: DISCONNECT, whose RECEIPT proves that all that was sent before has been read; then closed(), at the latest
 * after STOMP_CLOSE_MS; never from within. The state must be OPEN. */
void stomp_connection_close(struct stomp_connection *conn);

/* Hang up at once, in any state; no callback follows. */
void stomp_connection_drop(struct stomp_connection *conn);

/* Drop it and free what it holds. `comes_back`: another end will take its place (it failed). */
void stomp_connection_fini(struct stomp_connection *conn, bool comes_back);

/* Give it up, when the callback that runs has returned: the peer broke the protocol, or is stuck. */
void stomp_connection_break(struct stomp_connection *conn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An ERROR of this text, if it is about a SEND, says that there is nothing that takes the message (reply.c). */
bool stomp_reply_is_unroutable(const struct bailey_error *err);

/* ---- Output ---- */

/* As bailey_transport_* of host.h. Offsets count bytes from the connection's begin. */
struct stomp_writer stomp_connection_reserve(struct stomp_connection *conn, size_t len);
/* Keep what was written; a frame is whole with stomp_connection_end_frame(). */
void stomp_connection_commit(struct stomp_connection *conn, const uint8_t *from, const struct stomp_writer *w);
/* Over WebSocket a frame is a message, of text if it is UTF-8 (ActiveMQ takes no others), else binary. */
void stomp_connection_end_frame(struct stomp_connection *conn, bool text);
/* By reference, if long: then follow with stomp_connection_pin() of the message that holds the bytes. */
void stomp_connection_append(struct stomp_connection *conn, struct bailey_bytes bytes);
/* Keep `msg` alive until all that was appended so far is written: whatever the peer says meanwhile (a RECEIPT for what it
 * cannot have read, an ERROR) must not free bytes that the output refers to. */
void stomp_connection_pin(struct stomp_connection *conn, struct bailey_message *msg);
bool stomp_connection_full(const struct stomp_connection *conn);
uint64_t stomp_connection_appended(const struct stomp_connection *conn);
uint64_t stomp_connection_written(const struct stomp_connection *conn); /* also inside of lost() */

/* Read nothing more for now, or read on: what is sent meanwhile waits in the network and at the broker. */
void stomp_connection_hold(struct stomp_connection *conn, bool held);

/* A receipt's number. False if it is none that we can have given. */
bool stomp_receipt_number(struct bailey_bytes id, uint64_t *number);

#endif
