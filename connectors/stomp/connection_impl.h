/* connection_impl.h: what connection.c (dialing, frames, heart-beats) and handshake.c (CONNECT, CONNECTED) share. */
#ifndef STOMP_CONNECTION_IMPL_H
#define STOMP_CONNECTION_IMPL_H

#include <bailey/told.h>

#include "connection.h"
#include "url.h"

enum stomp_frame_kind { STOMP_FRAME_OTHER, STOMP_FRAME_MESSAGE, STOMP_FRAME_ERROR };

struct stomp_broker {
    const struct stomp_broker_settings *settings;
    const char *name, *instance;
    struct bailey_host *host;
    size_t url_index;        /* whose turn it is */
    bool escapes_in_connect; /* the last log-in that succeeded used them */
    bool receipts_late;      /* see stomp_broker_receipts_late() */
    unsigned vacant;         /* connections that count as expected and wait for their end to be opened anew */
    uint32_t last_group;
    struct stomp_lost lost;
    struct bailey_told told;
};

/* connection.c: give it up when the callback that runs has returned, for a reason in which the address stands already. */
void stomp_connection_give_up(struct stomp_connection *conn, const struct bailey_error *why);
void stomp_connection_opened(struct stomp_connection *conn); /* HANDSHAKE → OPEN */

/* handshake.c */
void stomp_handshake_prepare(struct stomp_connection *conn);   /* before the first dial of a life */
void stomp_handshake_begin(struct stomp_connection *conn);     /* the transport is up: CONNECT */
void stomp_handshake_connected(struct stomp_connection *conn); /* CONNECTED came; its head is in conn->parser */
/* The broker refused CONNECT, or hung up behind it. True, once, if CONNECT has another form to try: then dial again. */
bool stomp_handshake_other_form(struct stomp_connection *conn);
/* Mask the passcode in `text`: a broker may repeat what it was sent. */
void stomp_handshake_mask(const struct stomp_connection *conn, char *text);

/* stomp.connected, unless nothing has changed since it was logged last. */
void stomp_handshake_tell(struct stomp_connection *conn);

/* reply.c: what an ERROR frame says, as an error; all texts come from outside. */
void stomp_reply_error(struct bailey_error *err, const char *address, const char *message, const char *body);

#endif
