/* kafka_client.h: one librdkafka instance (producer or consumer) on a worker's loop.
 *
 * librdkafka's threads do the network's work and put what they found on queues; the queues wake the worker by one eventfd. A
 * client serves them in bounded slices, logs what librdkafka says, knows whether any broker can be reached, and ends the
 * instance on a helper thread, since that blocks. All functions: worker's thread.
 */
#ifndef KAFKA_CLIENT_H
#define KAFKA_CLIENT_H

#include <stdatomic.h>

#include "kafka.h"
#include "kafka_lib.h"

struct kafka_client;

struct kafka_client_ops {
    /* The main queue was served (reports, errors, logs). A consumer serves a slice of its own queue here. True: there may
     * be more, come back in the next turn. */
    bool (*serve)(void *ctx);
    /* No broker can be reached (`reason`), or one can again (NULL). */
    void (*reachable)(void *ctx, const char *reason);
    /* The instance is of no more use: refused credentials, fatal error. Called once. */
    void (*failed)(void *ctx, const struct bailey_error *err);
    /* May be NULL. */
    void (*throttled)(void *ctx, const char *server, int milliseconds);
};

/* An answer of the admin interface that is awaited. done() gets it, unless the request was cancelled before. */
struct kafka_request {
    void (*done)(void *ctx, rd_kafka_event_t *event);
    void *ctx; /* NULL = cancelled */
    struct kafka_request *next, **prev;
};

struct kafka_client {
    rd_kafka_t *rk;
    rd_kafka_queue_t *main;     /* reports, errors, logs: always served, also when no message can be taken */
    rd_kafka_queue_t *consumer; /* messages, rebalances, answers to commits; NULL in a producer */
    rd_kafka_queue_t *results;  /* of admin requests */
    struct bailey_host *host;
    char *broker;               /* its name in `brokers:` */
    const char *const *servers; /* of the settings */
    const struct kafka_client_ops *ops;
    void *ctx; /* NULL once the owner has gone */

    struct bailey_waker waker;
    struct bailey_task again;
    struct bailey_timer probe; /* while no broker can be reached: ask until one answers */
    struct bailey_timer renew; /* credentials that came from files: did these change? */
    struct kafka_request *requests;
    bool counted_up, was_up, away, failed;
    atomic_int verified;    /* what was wrong with a broker's certificate, by OpenSSL's number; 0: nothing */
    char trouble[256];      /* what a broker connection failed of since one worked */
    char disconnected[256]; /* what librdkafka said when it ended: less telling */

    const struct kafka_broker_settings *settings; /* until kafka_client_free() */
    struct bailey_stamp user_stamp, password_stamp;
    char principal[320]; /* who we are to the broker: "User:NAME" */

    struct kafka_tokens *tokens;          /* NULL: not by OAUTHBEARER, or freed */
    struct kafka_client *next_with_token; /* private to kafka_token.c, as are these two */
    bool takes_tokens, waits_for_token;
    int64_t token_until_ms; /* wall clock: the end of the token that it has */

    size_t kept; /* things of the instance that are still in use elsewhere: it ends after the last */
    void (*ended)(void *arg);
    void *ended_arg;
    struct bailey_job end;
};

/* Make an instance. Takes `conf`. NULL with `err` if librdkafka refuses; nothing is kept then. Serving begins in the next
 * turn of the loop. */
struct kafka_client *kafka_client_new(const struct kafka_broker *broker, rd_kafka_conf_t *conf, rd_kafka_type_t type,
                                      const struct kafka_client_ops *ops, void *ctx, struct bailey_error *err);

/* Serve again in the next turn: something may wait that no wake-up will tell. */
void kafka_client_again(struct kafka_client *client);

/* The owner goes: no callback follows. The instance ends when nothing of it is kept any more; then, if it is not NULL,
 * ended(arg). */
void kafka_client_free(struct kafka_client *client, void (*ended)(void *arg), void *arg);

/* Keep the instance for something that was taken out of it (a message); drop gives it back. */
static inline void kafka_client_keep(struct kafka_client *client)
{
    client->kept++;
}
void kafka_client_drop(struct kafka_client *client);

/* Set what an admin request needs so that its answer finds `done`. `timeout_ms` bounds it. */
struct kafka_request *kafka_request_new(struct kafka_client *client, rd_kafka_AdminOptions_t *options, int timeout_ms,
                                        void (*done)(void *ctx, rd_kafka_event_t *event), void *ctx);
/* No answer is wanted any more. NULL is allowed. */
void kafka_request_cancel(struct kafka_request *request);

/* A broker answered a request made after any trouble that we know of: it is up. */
void kafka_client_alive(struct kafka_client *client);
/* The instance is of no more use, for the reason in `err`: the owner's failed(). */
void kafka_client_refuse(struct kafka_client *client, const struct bailey_error *err);
/* librdkafka says that the instance had a fatal error. */
void kafka_client_fatal(struct kafka_client *client);
/* Something came from a broker, perhaps a while ago: it is up, unless we know better. */
void kafka_client_seen(struct kafka_client *client);

#endif
