/* dialect.h: the one table of what brokers do differently. docs/stomp.md says each line in prose, with its test. */
#ifndef STOMP_DIALECT_H
#define STOMP_DIALECT_H

#include "frame.h"
#include "stomp.h"

enum stomp_prefetch_unit { STOMP_PREFETCH_NONE, STOMP_PREFETCH_MESSAGES, STOMP_PREFETCH_BYTES };

/* How the id of a delivery, by which it is acknowledged, is told from what a producer has put into the headers. */
enum stomp_ack_form {
    STOMP_ACK_BY_NAME,  /* `ack` (1.2) or message-id: the broker writes it last, over a producer's */
    STOMP_ACK_BY_PLACE, /* the first message-id: all that is the producer's stands behind it */
    STOMP_ACK_BY_SESSION, /* what is made of the `session` of CONNECTED, which no producer knows, and counts without a gap */
};

struct stomp_dialect_row {
    const char *name;   /* as in the option `dialect` */
    const char *server; /* how the `server` header of CONNECTED begins; NULL: any */

    const char *prefetch; /* header of SUBSCRIBE that bounds what is unacknowledged; NULL: none */
    enum stomp_prefetch_unit prefetch_unit;
    int64_t prefetch_most; /* the largest that does no harm; -1: without a bound */
    const char *browser;   /* header of SUBSCRIBE that looks and takes nothing; NULL: none */

    const char *durable;     /* header of SUBSCRIBE that names a durable subscription; NULL: its id is the name ... */
    bool durable_by_headers; /* ... with durable:true and auto-delete:false */
    bool wants_client_id;    /* in CONNECT, for a durable subscription */

    enum stomp_ack_form ack_form;
    enum stomp_length_place length_place; /* which content-length of a MESSAGE is the broker's */

    const char *delay;  /* header of SEND that lets the broker hold the message; NULL: it cannot */
    bool delay_is_time; /* ms since 1970, and not from now */

    const char *exclusive; /* header of SUBSCRIBE by which nobody else gets messages; NULL: none */

    const char *selector; /* header of SUBSCRIBE; NULL: it would be ignored silently, so we refuse it */

    const char *
        reject; /* header of NACK that makes it a dead letter, as "name:value"; "" = NACK alone does; NULL: never NACK */

    bool
        counts_disconnects; /* as a failed delivery of the oldest unacknowledged message; UNSUBSCRIBE before it does not */
    bool hides_redelivery; /* what it gives again is not always marked as redelivered; its ids are those of lost.h */

    bool text_over_websocket; /* takes no binary messages there, and spoils bodies that are not UTF-8 */

    bool reads_escapes_in_connect; /* a backslash in login or passcode must be doubled */
    bool lenient_escapes;          /* unknown escapes in what it sends are text */
    bool needs_version;            /* 1.0 is refused: it lets a producer forge headers */
    bool receipt_proves_route;     /* else a RECEIPT comes for what went nowhere, but for queues by /queue/NAME */
};

/* `dialect` must not be STOMP_AUTO. */
const struct stomp_dialect_row *stomp_dialect_row(enum stomp_dialect dialect);

/* By the `server` header (may be null). */
enum stomp_dialect stomp_dialect_guess(struct bailey_bytes server);

/* Does this broker (by the `server` header) refuse what probe.c rehearses, only after it has looked for permission and queue? */
bool stomp_dialect_rehearses(enum stomp_dialect dialect, const char *server);

/* How headers are escaped in both directions once a version is agreed (10, 11, 12). */
enum stomp_escapes stomp_dialect_escapes(enum stomp_dialect dialect, int version);

/* Can a sink use this destination, so that a RECEIPT means that a queue has the message? False with `err`. */
bool stomp_dialect_takes(enum stomp_dialect dialect, struct bailey_bytes destination, struct bailey_error *err);

#endif
