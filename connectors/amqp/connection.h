/* connection.h: connections to one broker, and the channels that endpoints have on them.
 *
 * A broker of a worker has one connection for publishing and one for consuming (an alarm stops RabbitMQ from reading
 * a publishing connection), one for shelves (RabbitMQ may end it), and more only when channel_max is reached. A connection is dialed when its first channel
 * is wanted and kept for AMQ_LINGER_MS after the last; it redials by itself, with its own back-off.
 *
 *     DOWN → DIALING → HANDSHAKE → OPEN → CLOSING → DOWN
 *
 * Worker's thread. Channels belong to their endpoints, which embed a struct amq_channel; callbacks may do anything to
 * their own channel, and never free it: endpoints are freed by a task of their own.
 */
#ifndef AMQ_CONNECTION_H
#define AMQ_CONNECTION_H

#include <amqp.h>
#include <amqp_framing.h>

#include "amq.h"
#include "frame.h"
#include "wire.h"

struct amq_broker;
struct amq_connection;
struct amq_channel;

enum amq_role { AMQ_PUBLISH, AMQ_CONSUME, AMQ_BROWSE };

struct amq_channel_ops {
    /* The channel is open on the broker; may come again after amq_channel_renew(). */
    void (*opened)(struct amq_channel *ch);
    /* A method other than channel.*: `id` is class << 16 | method, `args` what follows. */
    void (*method)(struct amq_channel *ch, uint32_t id, struct bailey_bytes args);
    /* Content that follows basic.deliver and basic.return. `props`: flags and properties. */
    void (*header)(struct amq_channel *ch, uint64_t body_size, struct bailey_bytes props);
    /* A part of the body; `last`: now it is whole. Comes once with no bytes for an empty body. */
    void (*body)(struct amq_channel *ch, struct bailey_bytes part, bool last);
    /* All of what was read at once is dispatched: hand on what was gathered. */
    void (*input_end)(struct amq_channel *ch);
    /* The connection's output has room again. May be NULL. */
    void (*writable)(struct amq_channel *ch);
    /* connection.blocked (channel.flow): `reason`; NULL: no longer. May be NULL: alarms stop publishers only. */
    void (*blocked)(struct amq_channel *ch, const char *reason);
    /* The broker closed the channel (`connection` = false: the connection goes on, amq_channel_renew() is possible),
     * or the connection is gone or could not be made: then the channel belongs to no connection any more. */
    void (*lost)(struct amq_channel *ch, const struct bailey_error *err, bool connection);
    /* amq_channel_close() is done. */
    void (*closed)(struct amq_channel *ch);
};

enum amq_channel_state {
    AMQ_CHANNEL_NONE,
    AMQ_CHANNEL_WAITING,
    AMQ_CHANNEL_OPENING,
    AMQ_CHANNEL_OPEN,
    AMQ_CHANNEL_CLOSING
};
enum amq_expect { AMQ_EXPECT_METHOD, AMQ_EXPECT_HEADER, AMQ_EXPECT_BODY };

struct amq_channel {
    const struct amq_channel_ops *ops; /* set by the endpoint; all else is private, but may be read */
    struct amq_connection *conn;       /* NULL: on none */
    struct amq_channel *next, **prev;
    struct amq_channel *dirty_next;
    uint64_t body_left;
    uint16_t id; /* 0: none */
    uint8_t state, expect;
    bool dirty;
};

/* ---- Broker ---- */

bool amq_broker_open(void **broker, const void *settings, const char *name, const char *instance,
                     struct bailey_host *host, struct bailey_error *err);
void amq_broker_close(void *broker);
struct bailey_host *amq_broker_host(const struct amq_broker *broker);
const struct amq_broker_settings *amq_broker_settings(const struct amq_broker *broker);

/* A number that no other channel's life of this broker and worker had: the `group` of its deliveries. Never 0. */
uint32_t amq_broker_next_group(struct amq_broker *broker);

/* ---- Channels ---- */

/* Want a channel: opened() or lost() answers, never from within. `ch->state` must be NONE. */
void amq_channel_attach(struct amq_broker *broker, enum amq_role role, struct amq_channel *ch);

/* Give up this channel, unacknowledged deliveries with it, and open a new one on the same connection; after
 * lost(connection = false) or at any time while it is on a connection. */
void amq_channel_renew(struct amq_channel *ch);

/* Close in order: closed() comes when the broker said so, which proves that it has read all that was sent before, or
 * lost(). If it was the last one, the connection is closed with it. `ch->state` must be OPEN. */
void amq_channel_close(struct amq_channel *ch);

/* Leave at once, in any state; no callback follows. */
void amq_channel_detach(struct amq_channel *ch);

/* Call ops->input_end() when this input is dispatched. */
void amq_channel_dirty(struct amq_channel *ch);

/* Send a method, encoded by rabbitmq-c. False: it does not fit into a frame. */
bool amq_channel_send(struct amq_channel *ch, amqp_method_number_t id, void *method);

/* Decode the arguments of a method by rabbitmq-c: valid until the next call. NULL: malformed, and the connection is
 * given up (when the callback has returned). Only for methods without tables (amq_method_expected()). */
void *amq_channel_decode(struct amq_channel *ch, uint32_t id, struct bailey_bytes args);

/* Add to a refused access which permission would allow it: "read", "write", "configure". RabbitMQ itself names user and
 * resource only. Changes nothing else. */
void amq_name_permission(struct bailey_error *err, const char *permission);

/* ---- The connection of a channel ---- */

/* Give the connection up, when the callback that runs has returned: the peer broke the protocol, or is stuck. */
void amq_connection_break(struct amq_connection *conn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

uint32_t amq_connection_frame_max(const struct amq_connection *conn);
const char *amq_connection_address(const struct amq_connection *conn); /* host:port of the last dial */
bool amq_connection_is_rabbitmq(const struct amq_connection *conn);    /* by its own word */
const char *amq_connection_blocked(const struct amq_connection *conn); /* reason, or NULL */

/* Output, as bailey_transport_* of host.h. Offsets count bytes from the connection's begin. */
uint8_t *amq_connection_reserve(struct amq_connection *conn, size_t len);
void amq_connection_commit(struct amq_connection *conn, size_t len);
/* By reference, if long: then follow with amq_connection_pin() of the message that holds the bytes. */
void amq_connection_append(struct amq_connection *conn, const void *data, size_t len);
/* Keep `msg` alive until all that was appended so far is written: whatever the peer says meanwhile (an ack for what
 * it cannot have read, a channel.close) must not free bytes that the output refers to. */
void amq_connection_pin(struct amq_connection *conn, struct bailey_message *msg);
bool amq_connection_full(const struct amq_connection *conn);
uint64_t amq_connection_appended(const struct amq_connection *conn);
uint64_t amq_connection_written(const struct amq_connection *conn); /* also inside of lost() */

#endif
