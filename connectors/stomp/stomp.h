/* stomp.h: what the files of this connector share: dialects, and settings as the option tables in stomp.c fill them. */
#ifndef STOMP_H
#define STOMP_H

#include <bailey/connector.h>

/* How a broker speaks STOMP, where it differs from the specification; dialect.c has the table. */
enum stomp_dialect {
    STOMP_AUTO, /* by the `server` header of CONNECTED; never on an open connection */
    STOMP_ACTIVEMQ,
    STOMP_ARTEMIS,
    STOMP_RABBITMQ,
    STOMP_GENERIC,
};

enum stomp_persistent { STOMP_PERSISTENT_ALWAYS, STOMP_PERSISTENT_AS_MESSAGE, STOMP_PERSISTENT_NEVER };
enum stomp_unroutable { STOMP_UNROUTABLE_REFUSE, STOMP_UNROUTABLE_ACCEPT };

struct stomp_broker_settings {
    struct bailey_list urls;
    struct bailey_credential login, passcode; /* absent: those of the URL, or none */
    const char *vhost;
    int dialect; /* enum stomp_dialect */
    int64_t heartbeat_ms, receipt_timeout_ms;
    int64_t max_message_size; /* bytes of a body that we accept */
    bool tls_verify;
    const char *tls_ca, *tls_cert, *tls_key;
    struct bailey_credential tls_key_password;
};

struct stomp_source_settings {
    const char *destination, *selector;
    int64_t prefetch;         /* 0: the lane's credit.messages */
    const char *subscription; /* name of a durable one, or NULL */
    const char *client_id;    /* NULL: from instance, route and lane */
    bool exclusive;
    struct bailey_map headers;
};

struct stomp_sink_settings {
    const struct bailey_template *destination;
    int persistent;          /* enum stomp_persistent */
    int unroutable;          /* enum stomp_unroutable */
    int64_t max_unconfirmed; /* 0: the lane's credit.messages */
    struct bailey_list pass_headers;
    struct bailey_map headers;
};

enum {
    STOMP_HANDSHAKE_MS = 10000, /* from the transport being up to CONNECTED */
    STOMP_CLOSE_MS = 4000,      /* from DISCONNECT to its RECEIPT */
    STOMP_COPY_MAX = 2048,      /* bytes of a body that is copied into the output; a longer one is referred to */
    STOMP_LOGIN_MAX = 1024,     /* bytes of login and of passcode */
};

extern const struct bailey_source stomp_source;
extern const struct bailey_sink stomp_sink;
extern const struct bailey_source stomp_shelf;

#endif
