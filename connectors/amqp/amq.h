/* amq.h: what the files of this connector share: settings, as the option tables in amqp.c fill them.
 *
 * Prefixes: `amqp_` is rabbitmq-c (the codec of methods), `amq_` is ours.
 */
#ifndef AMQ_H
#define AMQ_H

#include <bailey/connector.h>

enum amq_auth { AMQ_AUTH_PLAIN, AMQ_AUTH_EXTERNAL };
enum amq_persistent { AMQ_PERSISTENT_AS_MESSAGE, AMQ_PERSISTENT_ALWAYS, AMQ_PERSISTENT_NEVER };
enum amq_queue_type { AMQ_QUEUE_QUORUM, AMQ_QUEUE_CLASSIC };

struct amq_broker_settings {
    struct bailey_list urls;
    struct bailey_credential username, password; /* instead of the URL's */
    int auth;                                    /* enum amq_auth */
    int64_t heartbeat_ms;
    int64_t frame_max;        /* bytes we ask for */
    int64_t max_message_size; /* bytes of a body that we accept */
    bool tls_verify;
    const char *tls_ca, *tls_cert, *tls_key;
    struct bailey_credential tls_key_password;
};

struct amq_source_settings {
    const char *queue;
    int64_t prefetch; /* 0: the lane's credit.messages */
    bool exclusive;
    int64_t priority;
    const char *consumer_tag;
    int64_t consumer_timeout_ms;
    int declare;    /* enum bailey_declare; what follows is for `create` */
    int queue_type; /* enum amq_queue_type */
    bool durable, single_active;
    const char *bind_exchange, *bind_routing_key;
    struct bailey_map arguments;
};

struct amq_sink_settings {
    const char *exchange;
    const struct bailey_template *routing_key, *queue;
    int persistent; /* enum amq_persistent */
    int64_t max_unconfirmed;
    struct bailey_list pass_headers;
    int declare; /* enum bailey_declare; what follows is for `create` */
    int queue_type;
    const char *exchange_type;
    bool durable;
    struct bailey_map arguments;
};

/* The descriptor's probe(): probe.c, and keeps_order(): amqp.c. */
void amq_probe(void *broker, const void *end, struct bailey_probe *asked);
bool amq_keeps_order(const void *broker, const void *end, enum bailey_role role, enum bailey_order order,
                     unsigned lanes, struct bailey_error *err);
/* A quorum queue gives out first what came back to it, in the order in which it came back. If a consumer dies that could not take at once
 * all that its predecessor had left, its part comes behind the rest. So where order counts no window outgrows the next one's first. */
bool amq_needs_steady_window(const struct amq_source_settings *s);

enum {
    AMQ_SHORTSTR_MAX = 255,   /* bytes; 0-9-1, 4.2.5.3 */
    AMQ_FRAME_MIN = 4096,     /* bytes; 0-9-1, 4.9: every peer takes frames up to this size */
    AMQ_HANDSHAKE_MS = 10000, /* from TCP being up to connection.open-ok */
    AMQ_CLOSE_MS = 4000,      /* for an orderly close of a channel or connection */
    AMQ_RENEW_MS = 1000,      /* how often the password's file is looked at */
    AMQ_LINGER_MS = 60000,    /* an unused connection is kept this long for endpoints that come back */
};

extern const struct bailey_source amq_source;
extern const struct bailey_sink amq_sink;
extern const struct bailey_source amq_shelf;

#endif
