/* kafka.h: what the files of this connector share: settings (filled from the tables in kafka.c) and the broker.
 *
 * kafka.c         option tables, descriptor
 * kafka_conf.c    settings → librdkafka configuration; validation
 * kafka_token.c   tokens for OAUTHBEARER; kafka_http.c, kafka_json.c what its server says
 * kafka_acl.c     who we are to the broker, what we may not do, and what would allow it
 * kafka_probe.c   `bailey check --connect`
 * kafka_client.c  one librdkafka instance on the worker's loop: wake-ups, errors, logs, requests, end
 * kafka_reason.c  what librdkafka's words for a failed connection mean
 * kafka_topics.c  do the topics exist? create them
 * kafka_source.c  consumer of a lane; kafka_assign.c its partitions: assignment, commits, lost offsets
 * kafka_sink.c    sink of a lane; kafka_producer.c the producer that the sinks of a worker share
 * kafka_shelf.c   reads back what lies in a sink's topic; newest.c which records of it are removed
 * kafka_record.c  a fetched record as a message
 * kafka_map.c     envelope ↔ record headers; watermark.c how far may be committed
 */
#ifndef KAFKA_H
#define KAFKA_H

#include <bailey/connector.h>

struct kafka_tls {
    bool enabled;
    const char *ca, *cert, *key; /* PEM files; NULL = none */
    struct bailey_credential key_password;
    bool verify;
};

enum kafka_mechanism {
    KAFKA_SASL_NONE,
    KAFKA_SASL_PLAIN,
    KAFKA_SASL_SCRAM_256,
    KAFKA_SASL_SCRAM_512,
    KAFKA_SASL_OAUTHBEARER,
};

enum kafka_client_auth { KAFKA_CLIENT_BASIC, KAFKA_CLIENT_POST };

/* `sasl.oauth`: where tokens come from (RFC 6749, 4.4: client credentials). */
struct kafka_oauth {
    const char *token_url, *client_id, *scope, *ca; /* NULL = none */
    struct bailey_credential client_secret;
    int client_auth;              /* enum kafka_client_auth */
    struct bailey_map parameters; /* of the request: audience, resource */
    struct bailey_map extensions; /* of SASL, to the broker (RFC 7628, 3.1) */
};

struct kafka_broker_settings {
    struct bailey_list bootstrap_servers;
    const char *client_id;
    struct kafka_tls tls;
    int sasl_mechanism; /* enum kafka_mechanism */
    struct bailey_credential sasl_username, sasl_password;
    struct kafka_oauth oauth;
    struct bailey_map librdkafka;
};

/* `declare:` of either end. */
struct kafka_declare {
    int mode;           /* enum bailey_declare */
    int64_t partitions; /* 0: the broker's default, as below */
    int64_t replication_factor;
    struct bailey_map config;
};

enum kafka_start { KAFKA_START_EARLIEST, KAFKA_START_LATEST };
enum kafka_lost { KAFKA_LOST_STOP, KAFKA_LOST_EARLIEST, KAFKA_LOST_LATEST };
enum kafka_assignment { KAFKA_EAGER, KAFKA_COOPERATIVE };
enum kafka_isolation { KAFKA_READ_COMMITTED, KAFKA_READ_UNCOMMITTED };

struct kafka_source_settings {
    struct bailey_list topics; /* names, or ^regular expressions */
    const char *group;         /* NULL: bailey-ROUTE */
    int start;                 /* enum kafka_start */
    int on_offset_lost;        /* enum kafka_lost */
    int64_t session_timeout_ms;
    int64_t commit_interval_ms;
    int assignment; /* enum kafka_assignment */
    int isolation;  /* enum kafka_isolation */
    struct kafka_declare declare;
};

enum kafka_compression { KAFKA_PLAIN, KAFKA_GZIP, KAFKA_SNAPPY, KAFKA_LZ4, KAFKA_ZSTD };
enum kafka_partition { KAFKA_BY_KEY, KAFKA_BY_SOURCE };

struct kafka_sink_settings {
    const struct bailey_template *topic;
    int compression; /* enum kafka_compression */
    int partition;   /* enum kafka_partition */
    int64_t linger_ms;
    int64_t max_message_size;
    struct kafka_declare declare;
};

struct kafka_producer;
struct kafka_probing;
struct kafka_tokens;

/* One broker of one worker. */
struct kafka_broker {
    const struct kafka_broker_settings *settings;
    const char *name, *instance;
    struct bailey_host *host;
    struct kafka_producer *producers; /* one for each distinct set of producer settings: usually one */
    struct kafka_tokens *tokens;      /* for OAUTHBEARER, else NULL */
    struct kafka_probing *probing;    /* check --connect, else NULL */
};

extern const struct bailey_connector kafka_connector;
extern const struct bailey_source kafka_source, kafka_shelf;
extern const struct bailey_sink kafka_sink;
extern const struct bailey_option kafka_source_options[], kafka_sink_options[];

/* The descriptor's keeps_order(): kafka_conf.c. */
bool kafka_keeps_order(const void *broker, const void *end, enum bailey_role role, enum bailey_order order,
                       unsigned lanes, struct bailey_error *err);

/* Zeroed memory; the process ends when there is none. */
void *kafka_alloc(size_t count, size_t size);

/* Tells lists of texts apart; the same on every machine. Not against somebody who wants two to be alike. */
uint32_t kafka_hash(const char *const *texts, size_t count);

/* `text` as a name that Kafka accepts ([a-zA-Z0-9._-]); a changed or shortened one gets a hash of the whole, so that
 * different texts stay different. `out` has room for `size` >= 32 bytes. */
void kafka_safe_name(char *out, size_t size, const char *text);

#endif
