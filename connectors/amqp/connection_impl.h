/* connection_impl.h: what connection.c (dialing, heart-beats), handshake.c (channel 0) and channel.c (multiplexing)
 * share. */
#ifndef AMQ_CONNECTION_IMPL_H
#define AMQ_CONNECTION_IMPL_H

#include <bailey/told.h>

#include "connection.h"
#include "url.h"

enum connection_state { CONN_DOWN, CONN_DIALING, CONN_HANDSHAKE, CONN_OPEN, CONN_CLOSING };

struct channel_slot {
    struct amq_channel *ch; /* NULL with `used`: closed by us, close-ok not seen yet */
    bool used;
};

struct amq_connection {
    struct amq_broker *broker;
    struct amq_connection *next;
    enum amq_role role;
    enum connection_state state;
    amqp_method_number_t expected; /* HANDSHAKE: the method that must come next */
    bool backing_off;              /* DOWN: the timer runs towards the next dial */
    bool counted;                  /* by bailey_connection_expected */
    size_t url_index;
    char address[300]; /* host:port, for people */
    struct bailey_transport *transport;
    struct bailey_backoff backoff;
    struct bailey_timer timer;  /* DOWN: redial; HANDSHAKE, CLOSING: limit; OPEN: heart-beat */
    struct bailey_timer linger; /* no channel wants it */
    int64_t wanted_until_ms;    /* it redials until then, even if no channel waits */
    int64_t redial_ms;          /* CLOSING: dial so long afterwards; -1: only if a channel waits */
    struct bailey_timer renew;  /* OPEN, with a password of a !file: has that changed? */
    struct bailey_stamp secret; /* the version of it that the broker knows */
    bool is_renewing;           /* connection.update-secret was sent */
    struct bailey_task breaking;
    struct bailey_error broken; /* kind NONE: not */
    unsigned life;              /* counts transports */
    bool is_told, works;        /* amqp.connected was logged; a message or a confirm came, or it holds for a while */
    int64_t opened_ms;

    bool is_rabbitmq; /* the broker says so */
    uint32_t frame_max;
    uint16_t channel_max;
    int64_t heartbeat_ms; /* 0: none */
    bool is_blocked;
    char blocked[160];

    struct amq_channel *channels; /* all that want it */
    size_t attached;
    struct amq_channel *closing_for; /* the last one, whose closed() waits for the connection's end */
    struct channel_slot *slots;      /* by channel number */
    size_t slot_count, used;
    struct amq_channel *dirty;

    uint64_t appended, written_at_loss;
    amqp_pool_t pool;
};

struct amq_broker {
    const struct amq_broker_settings *settings;
    const char *name, *instance;
    struct bailey_host *host;
    struct amq_connection *connections;
    struct amq_probing *probing; /* check --connect, else NULL */
    uint32_t last_group;
    struct bailey_told told; /* of both connections */
};

/* Fill `err` from a reply code and text of the broker. Always returns false. */
bool amq_reply_error(struct bailey_error *err, unsigned code, amqp_bytes_t text);

/* connection.c */
struct amq_connection *amq_connection_pick(struct amq_broker *broker, enum amq_role role);
void amq_connection_want(struct amq_connection *conn);   /* a channel waits: dial, if nothing stands against it */
void amq_connection_unwant(struct amq_connection *conn); /* a channel left */
void amq_connection_close(struct amq_connection *conn);  /* in order; state must be OPEN */
bool amq_connection_send(struct amq_connection *conn, uint16_t channel, amqp_method_number_t id, void *method);
void *amq_connection_decode(struct amq_connection *conn, uint32_t id, struct bailey_bytes args);

int64_t amq_connection_next_delay(struct amq_connection *conn); /* back-off; the next URL's turn */
void amq_connection_log_failure(struct amq_connection *conn, const struct bailey_error *why, int64_t delay_ms);
struct bailey_told_end amq_connection_end(const struct amq_connection *conn);
void amq_connection_works(struct amq_connection *conn); /* what came is no mistake: what it met before is over */
/* → CLOSING, for at most limit_ms; then dial after redial_ms (-1: only if a channel waits). */
void amq_connection_begin_closing(struct amq_connection *conn, int64_t redial_ms, int64_t limit_ms);
void amq_connection_closed(struct amq_connection *conn); /* CLOSING is over */

/* handshake.c */
void amq_handshake_tell(struct amq_connection *conn); /* amqp.connected, once for each life */
void amq_connection_frame(struct amq_connection *conn, const struct amq_frame *frame);
void amq_connection_not_amqp(struct amq_connection *conn, const uint8_t *data, size_t len); /* the first bytes say so */

/* renew.c */
void amq_renew_start(struct amq_connection *conn); /* the connection is open now */
void amq_renew_stop(struct amq_connection *conn);
void amq_renew_done(struct amq_connection *conn); /* connection.update-secret-ok */

/* probe.c */
void amq_probing_free(struct amq_probing *probing); /* NULL is allowed */

/* channel.c */
void amq_channels_open(struct amq_connection *conn);                                 /* the connection is open now */
void amq_channels_lost(struct amq_connection *conn, const struct bailey_error *err); /* of no use any more */
void amq_channels_forget_numbers(struct amq_connection *conn);                       /* with the transport */
void amq_channel_gone(struct amq_channel *ch); /* the connection was closed for its sake: closed() */
void amq_channels_blocked(struct amq_connection *conn, const char *reason);
void amq_channels_writable(struct amq_connection *conn);
void amq_channels_input_end(struct amq_connection *conn);
void amq_channel_frame(struct amq_connection *conn, const struct amq_frame *frame);

#endif
