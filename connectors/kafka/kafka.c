/* kafka.c: the descriptor of the kafka connector and its option tables. Read it from the bottom up. */
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>

#include "kafka_conf.h"
#include "kafka_probe.h"
#include "kafka_producer.h"
#include "kafka_token.h"

/* ---- Options ---- */

#define BROKER(member) .offset = offsetof(struct kafka_broker_settings, member)
#define SOURCE(member) .offset = offsetof(struct kafka_source_settings, member)
#define SINK(member) .offset = offsetof(struct kafka_sink_settings, member)

static const struct bailey_option tls_options[] = {
    {.name = "enabled",
     .type = BAILEY_OPT_BOOL,
     BROKER(tls.enabled),
     .initial = "false",
     .summary = "Use TLS; any of the files below turns it on too."},
    {.name = "ca",
     .type = BAILEY_OPT_STRING,
     BROKER(tls.ca),
     .flags = BAILEY_OPT_PATH,
     .initial_text = "the system's",
     .summary = "PEM file of the certificate authorities that are trusted, instead of the system's."},
    {.name = "cert",
     .type = BAILEY_OPT_STRING,
     BROKER(tls.cert),
     .flags = BAILEY_OPT_PATH,
     .summary = "PEM file of the client's certificate."},
    {.name = "key",
     .type = BAILEY_OPT_STRING,
     BROKER(tls.key),
     .flags = BAILEY_OPT_PATH,
     .summary = "PEM file of the client's key."},
    {.name = "key_password",
     .type = BAILEY_OPT_CREDENTIAL,
     BROKER(tls.key_password),
     .flags = BAILEY_OPT_SECRET,
     .summary = "Password of the client's key, if that is encrypted."},
    {.name = "verify",
     .type = BAILEY_OPT_BOOL,
     BROKER(tls.verify),
     .initial = "true",
     .summary = "Verify the broker's certificate and name."},
    {0},
};

static const char *const mechanisms[] = {"none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", NULL};
static const char *const client_auths[] = {"basic", "post", NULL};

static const struct bailey_option oauth_options[] = {
    {.name = "token_url",
     .type = BAILEY_OPT_STRING,
     BROKER(oauth.token_url),
     .min = 1,
     .max = 2000,
     .summary = "https:// URL of the server that gives tokens for client credentials."},
    {.name = "client_id",
     .type = BAILEY_OPT_STRING,
     BROKER(oauth.client_id),
     .min = 1,
     .max = 500,
     .summary = "Who asks for the token."},
    {.name = "client_secret",
     .type = BAILEY_OPT_CREDENTIAL,
     BROKER(oauth.client_secret),
     .flags = BAILEY_OPT_SECRET,
     .summary = "Its secret; a !file is read again for each token."},
    {.name = "client_auth",
     .type = BAILEY_OPT_ENUM,
     BROKER(oauth.client_auth),
     .initial = "basic",
     .choices = client_auths,
     .summary = "How they are sent: basic, in the header Authorization, or post, in the body."},
    {.name = "scope",
     .type = BAILEY_OPT_STRING,
     BROKER(oauth.scope),
     .min = 1,
     .max = 2000,
     .summary = "What the token is asked for; names separated by blanks."},
    {.name = "parameters",
     .type = BAILEY_OPT_MAP,
     BROKER(oauth.parameters),
     .summary = "Further parameters of the request, such as audience or resource."},
    {.name = "extensions",
     .type = BAILEY_OPT_MAP,
     BROKER(oauth.extensions),
     .summary = "SASL extensions that the broker is told, such as logicalCluster."},
    {.name = "ca",
     .type = BAILEY_OPT_STRING,
     BROKER(oauth.ca),
     .flags = BAILEY_OPT_PATH,
     .initial_text = "the system's",
     .summary = "PEM file of the authorities that are trusted for token_url, instead of the system's."},
    {0},
};

static const struct bailey_option sasl_options[] = {
    {.name = "mechanism",
     .type = BAILEY_OPT_ENUM,
     BROKER(sasl_mechanism),
     .initial = "none",
     .choices = mechanisms,
     .summary = "How the client proves who it is."},
    {.name = "username", .type = BAILEY_OPT_CREDENTIAL, BROKER(sasl_username), .summary = "User name."},
    {.name = "password",
     .type = BAILEY_OPT_CREDENTIAL,
     BROKER(sasl_password),
     .flags = BAILEY_OPT_SECRET,
     .summary = "Password; a !file is read again for each log-in."},
    {.name = "oauth",
     .type = BAILEY_OPT_GROUP,
     .children = oauth_options,
     .summary = "Where tokens for OAUTHBEARER come from (OIDC client credentials)."},
    {0},
};

static const struct bailey_option broker_options[] = {
    {.name = "bootstrap_servers",
     .type = BAILEY_OPT_LIST,
     BROKER(bootstrap_servers),
     .flags = BAILEY_OPT_REQUIRED,
     .summary = "One or more host:port from which the client learns the others."},
    {.name = "client_id",
     .type = BAILEY_OPT_STRING,
     BROKER(client_id),
     .initial = "bailey",
     .min = 1,
     .max = 200,
     .summary = "Name by which the broker's logs and quotas know the client."},
    {.name = "tls", .type = BAILEY_OPT_GROUP, .children = tls_options, .summary = "Encryption."},
    {.name = "sasl", .type = BAILEY_OPT_GROUP, .children = sasl_options, .summary = "Authentication."},
    {.name = "librdkafka",
     .type = BAILEY_OPT_MAP,
     BROKER(librdkafka),
     .flags = BAILEY_OPT_ADVANCED | BAILEY_OPT_SECRET,
     .summary = "Properties of librdkafka by their own names, where Bailey has no option for them."},
    {0},
};

#define DECLARE_ROWS(PLACE)                                  \
    {.name = "partitions",                                   \
     .type = BAILEY_OPT_INT,                                 \
     PLACE(declare.partitions),                              \
     .initial_text = "the broker's",                         \
     .min = 1,                                               \
     .max = 100000,                                          \
     .unit = "partitions",                                   \
     .summary = "Partitions of a topic that is created."},   \
        {.name = "replication_factor",                       \
         .type = BAILEY_OPT_INT,                             \
         PLACE(declare.replication_factor),                  \
         .initial_text = "the broker's",                     \
         .min = 1,                                           \
         .max = 1000,                                        \
         .unit = "replicas",                                 \
         .summary = "Replicas of a topic that is created."}, \
        {.name = "config",                                   \
         .type = BAILEY_OPT_MAP,                             \
         PLACE(declare.config),                              \
         .summary = "Settings of a topic that is created, by Kafka's names."},

static const struct bailey_option source_declare_options[] = {DECLARE_ROWS(SOURCE){0}};
static const struct bailey_option sink_declare_options[] = {DECLARE_ROWS(SINK){0}};

static const char *const starts[] = {"earliest", "latest", NULL};
static const char *const losts[] = {"stop", "earliest", "latest", NULL};
static const char *const assignments[] = {"eager", "cooperative", NULL};
static const char *const isolations[] = {"read_committed", "read_uncommitted", NULL};

const struct bailey_option kafka_source_options[] = {
    {.name = "topic",
     .type = BAILEY_OPT_LIST,
     SOURCE(topics),
     .flags = BAILEY_OPT_REQUIRED,
     .summary = "Topics to consume: a name, a list of names, or ^ and a regular expression."},
    {.name = "group",
     .type = BAILEY_OPT_STRING,
     SOURCE(group),
     .initial_text = "bailey-ROUTE",
     .min = 1,
     .max = 255,
     .summary = "Consumer group; its members, of all processes, share the partitions."},
    {.name = "start",
     .type = BAILEY_OPT_ENUM,
     SOURCE(start),
     .initial = "earliest",
     .choices = starts,
     .summary = "Where to begin in a partition for which the group has no offset yet."},
    {.name = "on_offset_lost",
     .type = BAILEY_OPT_ENUM,
     SOURCE(on_offset_lost),
     .initial = "stop",
     .choices = losts,
     .summary = "What to do when the group's offset does not exist any more: stop and say what was lost, or go on."},
    {.name = "isolation",
     .type = BAILEY_OPT_ENUM,
     SOURCE(isolation),
     .initial = "read_committed",
     .choices = isolations,
     .summary = "Whether messages of open and aborted transactions are read."},
    {.name = "commit_interval",
     .type = BAILEY_OPT_DURATION,
     SOURCE(commit_interval_ms),
     .initial = "1s",
     .min = 100,
     .max = 60000,
     .summary = "How often offsets are committed: what a crash can repeat."},
    {.name = "session_timeout",
     .type = BAILEY_OPT_DURATION,
     SOURCE(session_timeout_ms),
     .initial = "10s",
     .min = 1000,
     .max = 300000,
     .summary = "Silence after which the group gives a member's partitions to others."},
    {.name = "assignment",
     .type = BAILEY_OPT_ENUM,
     SOURCE(assignment),
     .initial = "eager",
     .choices = assignments,
     .summary =
         "How the group shares its partitions; all its members must agree. Cooperative moves only what must move."},
    {.name = "declare",
     .type = BAILEY_OPT_DECLARE,
     SOURCE(declare.mode),
     .initial = "assert",
     .children = source_declare_options,
     .summary = "What to do about topics that do not exist."},
    {0},
};

static const char *const compressions[] = {"none", "gzip", "snappy", "lz4", "zstd", NULL};
static const char *const partitions[] = {"key", "source", NULL};

const struct bailey_option kafka_sink_options[] = {
    {.name = "topic",
     .type = BAILEY_OPT_TEMPLATE,
     SINK(topic),
     .flags = BAILEY_OPT_REQUIRED,
     .summary = "Topic to produce to; may name parts of the message."},
    {.name = "compression",
     .type = BAILEY_OPT_ENUM,
     SINK(compression),
     .initial = "none",
     .choices = compressions,
     .summary = "Compression of the batches."},
    {.name = "partition",
     .type = BAILEY_OPT_ENUM,
     SINK(partition),
     .initial = "key",
     .choices = partitions,
     .summary = "key: by murmur2 of the key, as Java's clients do, at random without one; source: the number it was "
                "read from."},
    {.name = "linger",
     .type = BAILEY_OPT_DURATION,
     SINK(linger_ms),
     .initial = "5ms",
     .min = 0,
     .max = 10000,
     .summary = "How long a message may wait for others to fill a batch."},
    {.name = "max_message_size",
     .type = BAILEY_OPT_SIZE,
     SINK(max_message_size),
     .initial = "8MiB",
     .min = 1000,
     .max = 32 << 20,
     .summary = "Larger messages are refused here; the broker has a limit of its own."},
    {.name = "declare",
     .type = BAILEY_OPT_DECLARE,
     SINK(declare.mode),
     .initial = "assert",
     .children = sink_declare_options,
     .summary = "What to do about a topic that does not exist."},
    {0},
};

/* ---- Broker ---- */

static bool broker_open(void **self, const void *settings, const char *name, const char *instance,
                        struct bailey_host *host, struct bailey_error *err)
{
    struct kafka_broker *broker = kafka_alloc(1, sizeof *broker);

    (void)err;
    *broker = (struct kafka_broker){.settings = settings, .name = name, .instance = instance, .host = host};
    if (broker->settings->sasl_mechanism == KAFKA_SASL_OAUTHBEARER)
        broker->tokens = kafka_tokens_new(broker);
    *self = broker;
    return true;
}

static void broker_close(void *self)
{
    struct kafka_broker *broker = self;

    while (broker->producers != NULL)
        kafka_producer_free(broker->producers); /* takes itself out of the list; ends on a helper thread */
    kafka_probing_free(broker->probing);
    kafka_tokens_free(broker->tokens);
    free(broker);
}

/* ---- Descriptor ---- */

static const char *const schemes[] = {"kafka", NULL};

static const struct bailey_url_form url_form = {
    .schemes = schemes,
    .broker_option = "bootstrap_servers",
    .source_path_option = "topic",
    .sink_path_option = "topic",
    .example = "kafka://localhost:9092/orders",
};

static char library[48];

const struct bailey_connector kafka_connector = {
    .size = sizeof kafka_connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .abi_minor = BAILEY_ABI_MINOR,
    .name = "kafka",
    .summary = "Apache Kafka topics.",
    .library = library,
    .traits = BAILEY_HAS_POSITIONS | BAILEY_COMMITS_POSITIONS,
    .broker_settings_size = sizeof(struct kafka_broker_settings),
    .broker_options = broker_options,
    .broker_open = broker_open,
    .broker_close = broker_close,
    .source = &kafka_source,
    .sink = &kafka_sink,
    .url = &url_form,
    .check = kafka_check,
    .probe = kafka_probe,
    .shelf = &kafka_shelf,
    .keeps_order = kafka_keeps_order,
};

__attribute__((visibility("default"))) const struct bailey_connector *bailey_connector_entry(void)
{
    snprintf(library, sizeof library, "librdkafka %s", rd_kafka_version_str());
    return &kafka_connector;
}
