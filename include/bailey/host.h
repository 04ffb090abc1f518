/* bailey/host.h: what the gateway lends to a connector.
 *
 * A `struct bailey_host` is one worker: one thread with one event loop. Everything a connector owns belongs to one
 * worker; all functions here are called on that worker's thread, but for bailey_post(), marked "any thread".
 * Nothing here blocks.
 */
#ifndef BAILEY_HOST_H
#define BAILEY_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>
#include <bailey/message.h>
#include <bailey/option.h>

struct bailey_host;

/* ---- Time and chance ---- */

/* Monotonic milliseconds, read once a turn of the loop: cheap. */
int64_t bailey_now_ms(const struct bailey_host *host);

/* Wall clock in milliseconds since 1970: for what people and messages read, never for timers. */
int64_t bailey_wall_ms(const struct bailey_host *host);

/* The next number of the worker's seeded generator (not for secrets). */
uint64_t bailey_random(struct bailey_host *host);

/* ---- Timers ---- */

/* Belongs to the connector; zeroed before first use; must stay in place while it runs. */
struct bailey_timer {
    void (*fire)(struct bailey_timer *timer); /* set by the owner, with `ctx`, before the start */
    void *ctx;
    struct bailey_timer *next, **prev; /* private from here on */
    int64_t due_ms;
};

/* Fire once, `delay_ms` (>= 0) from now: never early, at most 10 ms late on an idle worker. Restarting moves it. */
void bailey_timer_start(struct bailey_host *host, struct bailey_timer *timer, int64_t delay_ms);

/* Stop it if it runs. */
void bailey_timer_stop(struct bailey_host *host, struct bailey_timer *timer);

/* Exponential back-off with jitter: zero it to begin, ask for each next delay, zero it again after a success.
 * Returns milliseconds: min, 2 min, 4 min ... max, each times 0.8 to 1.2. */
struct bailey_backoff {
    unsigned failures;
};
int64_t bailey_backoff_next(struct bailey_host *host, struct bailey_backoff *backoff, int64_t min_ms, int64_t max_ms);

enum { BAILEY_RECONNECT_MIN_MS = 250, BAILEY_RECONNECT_MAX_MS = 30000 };

/* ---- Tasks and jobs ---- */

/* A piece of work of the worker's thread. Belongs to the connector, stays in place until it ran. */
struct bailey_task {
    void (*run)(struct bailey_task *task);
    void *ctx;
    struct bailey_task *next; /* private */
    bool queued;              /* private */
};

/* Run `task` in the next turn of the loop, after pending I/O: how to go on later without starving others.
 * A task that is already queued stays queued once. */
void bailey_again(struct bailey_host *host, struct bailey_task *task);

/* Take a queued task back. */
void bailey_again_stop(struct bailey_host *host, struct bailey_task *task);

/* Any thread: run `task` on the worker's thread soon. Never blocks, never fails; `task` must not be queued already. */
void bailey_post(struct bailey_host *host, struct bailey_task *task);

/* Blocking work: `work` runs on a helper thread, then `done` on the worker's thread. At most a few run at once, the
 * others wait their turn: bound every call inside by a time-out. Stays in place until `done`. */
struct bailey_job {
    void (*work)(struct bailey_job *job);
    void (*done)(struct bailey_job *job);
    void *ctx;
    struct bailey_task task; /* private from here on */
    struct bailey_host *host;
    struct bailey_job *next;
};
void bailey_job_start(struct bailey_host *host, struct bailey_job *job);

/* ---- Wake-ups of a client library ---- */

/* An eventfd that the loop watches: give `fd` to the library (rd_kafka_queue_io_event_enable with an 8-byte payload of
 * the integer 1), get `on_wake` on the worker's thread. It is reset before on_wake: drain, or come back by yourself. */
struct bailey_waker {
    int fd;
    void (*on_wake)(struct bailey_waker *waker);
    void *ctx;
    struct loop_watch *watch; /* private */
};
bool bailey_waker_open(struct bailey_host *host, struct bailey_waker *waker, struct bailey_error *err);
void bailey_waker_close(struct bailey_waker *waker); /* also on one that is not open (watch == NULL) */

/* ---- Transport: a byte stream to a broker ---- */

struct bailey_transport;

/* The files are read when a connection is made and they have changed since; a worker's connections with the same settings
 * share what was read. */
struct bailey_tls {
    bool enabled;
    bool insecure;    /* do not verify the peer: an event tls.not_verified warns of it, once for each address */
    const char *ca;   /* PEM file; NULL = the system's trust. Replaces it, does not add to it */
    const char *cert; /* PEM files of the client's certificate and key, or NULL */
    const char *key;
    struct bailey_credential key_password; /* of an encrypted key, else {0} */
    const char *broker;                    /* name in `brokers:`, for that warning; or NULL */
};

/* A WebSocket (RFC 6455) on the connection: the byte stream travels in its messages. Incoming ones are joined; outgoing
 * ones end where bailey_transport_end_message() says. Pings are answered, no extension is offered. */
struct bailey_websocket {
    const char *path;      /* of the request, with its query: "/ws"; NULL = "/" */
    const char *protocols; /* sub-protocols to offer, the best first: "v12.stomp, v11.stomp"; NULL = none. The peer must
                            * choose one of them */
};

struct bailey_transport_ops {
    /* TCP (and TLS, and the WebSocket) is up. */
    void (*on_connected)(void *ctx);
    /* Bytes came, valid during the call. Return how many were consumed: the rest is given again with what follows
     * (at most BAILEY_TRANSPORT_INPUT_MAX in all: a protocol's largest indivisible unit must fit). */
    size_t (*on_data)(void *ctx, const uint8_t *data, size_t len);
    /* The backlog (below) fell under half of BAILEY_TRANSPORT_BACKLOG after it had reached it. */
    void (*on_writable)(void *ctx);
    /* The connection is gone, or could not be made, for the reason in `err`; called once, never from within a call into the
     * transport. The transport is closed by the owner afterwards. */
    void (*on_lost)(void *ctx, const struct bailey_error *err);
};

enum {
    BAILEY_TRANSPORT_INPUT_MAX = 1 << 20, /* bytes of unconsumed input */
    BAILEY_TRANSPORT_BACKLOG = 1 << 20,   /* bytes of unwritten output at which a sender should stop */
    BAILEY_TRANSPORT_CONNECT_MS = 10000,  /* name look-up, connect, TLS and WebSocket handshake together */
};

/* Begin to connect to host:port; answers by on_connected or on_lost, within BAILEY_TRANSPORT_CONNECT_MS. Name look-up runs
 * on a thread of its own. `tls` and `websocket` may be NULL: without. Strings are copied. Never NULL. */
struct bailey_transport *bailey_transport_open(struct bailey_host *host, const char *name, uint16_t port,
                                               const struct bailey_tls *tls, const struct bailey_websocket *websocket,
                                               const struct bailey_transport_ops *ops, void *ctx);

/* From on_connected on: the sub-protocol that the peer chose; "" if none was offered. */
const char *bailey_transport_subprotocol(const struct bailey_transport *transport);

/* Close at once; unwritten output is lost; no callback follows. Allowed in every callback. NULL is allowed. (A WebSocket's
 * close frame is sent if that is possible at once.) */
void bailey_transport_close(struct bailey_transport *transport);

/* Output is gathered and written at the end of the loop's turn, many frames by one system call.
 * Space for `len` bytes at the end of the output, to be encoded in place; valid until the next call. */
uint8_t *bailey_transport_reserve(struct bailey_transport *transport, size_t len);
/* Keep the first `len` bytes of what was reserved last. */
void bailey_transport_commit(struct bailey_transport *transport, size_t len);
/* Append bytes: copied if short, else by reference; then they must stay until they are written or the transport is closed:
 * follow with bailey_transport_pin(). */
void bailey_transport_append(struct bailey_transport *transport, const void *data, size_t len);
/* Keep `msg` alive until all that was added so far is written, or the transport is closed: whatever the peer says meanwhile (a
 * confirm for what it cannot have read) must not free bytes that the output refers to. */
void bailey_transport_pin(struct bailey_transport *transport, struct bailey_message *msg);

/* What was added since the last call is one message of the WebSocket, all of which is added before a byte of it is sent:
 * without this call nothing is. `text`: it is UTF-8, which a peer may check; else binary. Does nothing where there is no
 * WebSocket, and if nothing was added. */
void bailey_transport_end_message(struct bailey_transport *transport, bool text);

/* Unwritten bytes. A sender stops at BAILEY_TRANSPORT_BACKLOG and waits for on_writable. (On a WebSocket up to 64 KiB more may
 * lie in frames that are ready to be written; they are copied, what was appended by reference is done with.) */
size_t bailey_transport_backlog(const struct bailey_transport *transport);

/* Stop reading, or read on: the back-pressure of protocols that have no credit. Allowed at any time, in every callback, too; what
 * on_data leaves unconsumed then is given again when reading goes on. While held, nothing that the peer does is noticed but
 * a reset of the connection, in front of which unread bytes are lost; that it closed in order is told when reading goes on,
 * and a WebSocket's pings stay unanswered. So the owner must not judge a held peer by its silence (heart-beats lie unread in
 * the socket), goes on sending its own heart-beats, and holds no longer than the peer's patience. Letting go sets
 * bailey_transport_last_read_ms() to now. */
void bailey_transport_hold(struct bailey_transport *transport, bool held);

/* Monotonic ms of the last byte read and the last byte written: for heart-beats. A WebSocket's control frames do not count. */
int64_t bailey_transport_last_read_ms(const struct bailey_transport *transport);
int64_t bailey_transport_last_write_ms(const struct bailey_transport *transport);

/* ---- What a port knows ---- */

/* One end (source or sink) of one lane. The gateway's own part follows behind; a connector reads these. */
struct bailey_port {
    struct bailey_host *host;
    const char *route;    /* name of the route */
    const char *broker;   /* name in `brokers:` */
    const char *instance; /* `instance:` of the gateway */
    unsigned lane;        /* 0 .. lanes-1 */
    unsigned lanes;
    int64_t credit_messages; /* the lane's `credit:` */
    int64_t credit_bytes;
    const char *dedup_scope; /* 1.2: whose ids the route's are (unique in the gateway); NULL: it does not deduplicate */
    uint8_t order;           /* 1.3: enum bailey_order, of the route */
    bool only_looks;         /* 1.3: of a shelf (connector.h) */
};

/* State of an end. Called by the connector; each changes /readyz, the metrics and the log.
 * up:   it works (a source consumes, a sink accepts); again after held.
 * held: it cannot take messages now, for a reason that is no error of the configuration (alarm, throttled, broker away and
 *       being reconnected by the library); a sink gets no send() until up. `reason` is copied.
 * down: it is finished: the gateway calls close(), waits by its back-off, and opens it anew. A sink hands back what it holds
 *       first. Never from within open(): return false there. */
void bailey_up(struct bailey_port *port);
void bailey_held(struct bailey_port *port, const char *reason);
void bailey_down(struct bailey_port *port, const struct bailey_error *err);

/* Sink: send() took less than it was given; now it would take more. */
void bailey_writable(struct bailey_port *port);

/* drain() is done: the source will not push any more (see connector.h). */
void bailey_drained(struct bailey_port *port);

/* Source: there is nothing more to come, ever (generate with a count). The route drains; `copy` ends. */
void bailey_finished(struct bailey_port *port);

/* close() is done: nothing of the endpoint is left, its settings may be freed. */
void bailey_closed(struct bailey_port *port);

/* Source: how many messages wait behind this lane at the broker, if it is known: the gauge bailey_source_lag. */
void bailey_lag(struct bailey_port *port, int64_t messages);

/* 1.3: Shelf: so many messages that it was told to remove may lie there still; the last word before bailey_closed() counts. Not
 * called: none. */
void bailey_not_removed(struct bailey_port *port, int64_t messages);

/* Broker: a connection of the broker is up, or gone: the gauge bailey_connection_up{broker}. `broker` is the name given
 * to broker_open. Count each connection: up adds one, down takes one off; expected says how many there should be. */
void bailey_connection_expected(struct bailey_host *host, const char *broker, int change);
void bailey_connection_up(struct bailey_host *host, const char *broker, int change);

#endif
