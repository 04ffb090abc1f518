/* kafka_conf.c: from settings to an rd_kafka_conf_t.
 *
 * Order: our defaults for both roles, TLS and SASL, then `librdkafka:`. Properties on which Bailey's guarantees rest, and those
 * that have an option of their own, are refused there with the reason. Values of secret properties are never repeated.
 */
#include "kafka_conf.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "kafka_http.h"

struct owned {
    const char *name;
    const char *reason;
};

#define BY_SETTLING "bailey commits what its sink confirmed, and nothing else"
#define BY_CONFIRMS "bailey settles a source only after all in-sync replicas confirmed"

static const struct owned owned_properties[] = {
    {"enable.auto.commit", BY_SETTLING},
    {"auto.commit.enable", BY_SETTLING},
    {"auto.commit.interval.ms", "use the source's option commit_interval"},
    {"enable.auto.offset.store", BY_SETTLING},
    {"offset.store.method", BY_SETTLING},
    {"offset.store.path", BY_SETTLING},
    {"auto.offset.reset", "use the source's options start and on_offset_lost"},
    {"group.id", "use the source's option group"},
    {"group.instance.id", "it is made from instance, route, lane and topics"},
    {"group.protocol", "bailey depends on the classic protocol with static membership"},
    {"group.remote.assignor", "bailey depends on the classic protocol with static membership"},
    {"partition.assignment.strategy", "use the source's option assignment"},
    {"session.timeout.ms", "use the source's option session_timeout"},
    {"isolation.level", "use the source's option isolation"},
    {"enable.partition.eof", "bailey has no use for it"},
    {"enable.idempotence", BY_CONFIRMS},
    {"acks", BY_CONFIRMS},
    {"request.required.acks", BY_CONFIRMS},
    {"message.timeout.ms", "a sink that is away is no failure of a message: it waits"},
    {"delivery.timeout.ms", "a sink that is away is no failure of a message: it waits"},
    {"message.send.max.retries", "a sink that is away is no failure of a message: it waits"},
    {"retries", "a sink that is away is no failure of a message: it waits"},
    {"transactional.id", "bailey decides about transactions"},
    {"enable.gapless.guarantee", "a refused message must not end the producer"},
    {"delivery.report.only.error", "bailey needs every delivery report"},
    {"dr_cb", "bailey needs every delivery report"},
    {"message.max.bytes", "use the sink's option max_message_size"},
    {"linger.ms", "use the sink's option linger"},
    {"queue.buffering.max.ms", "use the sink's option linger"},
    {"compression.codec", "use the sink's option compression"},
    {"compression.type", "use the sink's option compression"},
    {"partitioner", "use the sink's option partition"},
    {"bootstrap.servers", "use the option bootstrap_servers"},
    {"metadata.broker.list", "use the option bootstrap_servers"},
    {"client.id", "use the option client_id"},
    {"sasl.mechanisms", "use the option sasl"},
    {"sasl.mechanism", "use the option sasl"},
    {"sasl.oauthbearer.config", "use the option sasl"},
    {"sasl.oauthbearer.method", "use the option sasl"},
    {"sasl.oauthbearer.token.endpoint.url", "use the option sasl"},
    {"sasl.oauthbearer.client.id", "use the option sasl"},
    {"sasl.oauthbearer.client.secret", "use the option sasl"},
    {"enable.sasl.oauthbearer.unsecure.jwt", "it is for tests of librdkafka"},
    {"sasl.username", "use the option sasl"},
    {"sasl.password", "use the option sasl"},
    {"ssl.ca.location", "use the option tls"},
    {"ssl.certificate.location", "use the option tls"},
    {"ssl.key.location", "use the option tls"},
    {"ssl.key.password", "use the option tls"},
    {"enable.ssl.certificate.verification", "use the option tls"},
    {"log.queue", "logs are served by the worker"},
    {"test.mock.num.brokers", "it is for tests of librdkafka"},
};

void *kafka_alloc(size_t count, size_t size)
{
    void *memory = calloc(count == 0 ? 1 : count, size);

    if (memory == NULL)
        abort(); /* bounded by the lanes' credit: the machine is out of memory */
    return memory;
}

uint32_t kafka_hash(const char *const *texts, size_t count)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < count; i++) {
        if (i > 0) /* "a", "bc" is not "ab", "c" */
            hash *= 16777619u;
        for (const char *p = texts[i]; *p != '\0'; p++)
            hash = (hash ^ (unsigned char)*p) * 16777619u;
    }
    return hash;
}

void kafka_safe_name(char *out, size_t size, const char *text)
{
    enum { HASH_LEN = 9 }; /* "-" and 8 digits */
    bool changed = false;
    size_t len = 0, room = size - 1 - HASH_LEN;

    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        bool good = c < 128 && (isalnum(c) || c == '.' || c == '_' || c == '-');

        changed |= !good || len == room;
        if (len < room)
            out[len++] = good ? (char)c : '_';
    }
    out[len] = '\0';
    if (changed)
        snprintf(out + len, size - len, "-%08x", kafka_hash(&text, 1));
}

bool kafka_topic_name_valid(const char *name, size_t len)
{
    if (len == 0 || len > 249 || (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'))))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c >= 128 || !(isalnum(c) || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

enum bailey_error_kind kafka_error_kind(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return BAILEY_ERR_PERMANENT;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__SSL:
        return BAILEY_ERR_CONFIG;
    default:
        return BAILEY_ERR_TRANSIENT;
    }
}

static bool is_secret(const char *name)
{
    static const char *const parts[] = {"password",           "secret",   ".pem", "token", "jaas",
                                        "oauthbearer.config", "assertion"};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcasestr(name, parts[i]) != NULL)
            return true;
    return false;
}

bool kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct bailey_error *err)
{
    char text[160];

    switch (rd_kafka_conf_set(conf, name, value, text, sizeof text)) {
    case RD_KAFKA_CONF_OK:
        return true;
    case RD_KAFKA_CONF_UNKNOWN:
        bailey_fail(err, BAILEY_ERR_CONFIG, "librdkafka has no property %.80s", name);
        return bailey_hint(err, "its properties are listed in librdkafka's CONFIGURATION.md");
    default:
        if (is_secret(name))
            return bailey_fail(err, BAILEY_ERR_CONFIG, "librdkafka refuses the value of %.80s", name);
        return bailey_fail(err, BAILEY_ERR_CONFIG, "librdkafka refuses %.80s: %s", name, text);
    }
}

bool kafka_conf_set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct bailey_error *err)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)value);
    return kafka_conf_set(conf, name, text, err);
}

bool kafka_conf_default(rd_kafka_conf_t *conf, const struct kafka_broker_settings *settings, const char *name,
                        const char *value, struct bailey_error *err)
{
    for (size_t i = 0; i < settings->librdkafka.count; i++)
        if (strcmp(settings->librdkafka.entries[i].name, name) == 0)
            return true;
    return kafka_conf_set(conf, name, value, err);
}

/* Defaults for both roles. */
static const struct {
    const char *name, *value;
} common_properties[] = {
    {"log.queue", "true"},
    {"socket.keepalive.enable", "true"},
    {"socket.timeout.ms", "30000"},
    {"socket.connection.setup.timeout.ms", "10000"}, /* with TLS and log-in: BAILEY_TRANSPORT_CONNECT_MS */
    {"reconnect.backoff.ms", "250"},
    {"reconnect.backoff.max.ms", "10000"},
    {"enable.metrics.push", "false"},  /* telemetry to the broker: nobody asked for it */
    {"log.connection.close", "false"}, /* idle connections may be closed by the broker */
};

static bool set_servers(rd_kafka_conf_t *conf, const struct bailey_list *servers, struct bailey_error *err)
{
    size_t size = 1, len = 0;
    bool good;
    char *joined;

    for (size_t i = 0; i < servers->count; i++)
        size += strlen(servers->items[i]) + 1;
    joined = kafka_alloc(size, 1);
    for (size_t i = 0; i < servers->count; i++)
        len += (size_t)snprintf(joined + len, size - len, "%s%s", i == 0 ? "" : ",", servers->items[i]);
    good = kafka_conf_set(conf, "bootstrap.servers", joined, err);
    free(joined);
    return good;
}

static bool tls_wanted(const struct kafka_tls *tls)
{
    return tls->enabled || tls->ca != NULL || tls->cert != NULL || tls->key != NULL;
}

/* Whether a credential is read from its file now, or taken as it was when the configuration was read. */
enum freshness { AS_CONFIGURED, AS_IS_NOW };

static bool set_credential(rd_kafka_conf_t *conf, const char *name, const struct bailey_credential *credential,
                           enum freshness freshness, struct bailey_error *err)
{
    char text[KAFKA_CREDENTIAL_MAX];
    bool good;

    if (credential->value == NULL && credential->file == NULL)
        return true;
    if (freshness == AS_CONFIGURED)
        return kafka_conf_set(conf, name, credential->value != NULL ? credential->value : "", err);
    good = bailey_credential_read(credential, text, sizeof text, err) && kafka_conf_set(conf, name, text, err);
    explicit_bzero(text, sizeof text);
    return good;
}

static bool set_tls(rd_kafka_conf_t *conf, const struct kafka_tls *tls, enum freshness freshness,
                    struct bailey_error *err)
{
    if (!tls_wanted(tls))
        return true;
    return (tls->ca == NULL || kafka_conf_set(conf, "ssl.ca.location", tls->ca, err)) &&
           (tls->cert == NULL || kafka_conf_set(conf, "ssl.certificate.location", tls->cert, err)) &&
           (tls->key == NULL || kafka_conf_set(conf, "ssl.key.location", tls->key, err)) &&
           set_credential(conf, "ssl.key.password", &tls->key_password, freshness, err) &&
           kafka_conf_set(conf, "enable.ssl.certificate.verification", tls->verify ? "true" : "false", err);
}

static bool set_sasl(rd_kafka_conf_t *conf, const struct kafka_broker_settings *settings, enum freshness freshness,
                     struct bailey_error *err)
{
    static const char *const names[] = {NULL, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"};

    if (settings->sasl_mechanism == KAFKA_SASL_NONE)
        return true;
    if (!kafka_conf_set(conf, "sasl.mechanism", names[settings->sasl_mechanism], err))
        return false;
    return settings->sasl_mechanism == KAFKA_SASL_OAUTHBEARER ||
           (set_credential(conf, "sasl.username", &settings->sasl_username, freshness, err) &&
            set_credential(conf, "sasl.password", &settings->sasl_password, freshness, err));
}

static bool set_protocol(rd_kafka_conf_t *conf, const struct kafka_broker_settings *settings, struct bailey_error *err)
{
    static const char *const names[2][2] = {{"plaintext", "ssl"}, {"sasl_plaintext", "sasl_ssl"}};

    return kafka_conf_set(conf, "security.protocol",
                          names[settings->sasl_mechanism != KAFKA_SASL_NONE][tls_wanted(&settings->tls)], err);
}

static bool set_by_name(rd_kafka_conf_t *conf, const char *name, const char *value, struct bailey_error *err)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof owned_properties / sizeof *owned_properties; i++)
        if (strcasecmp(owned_properties[i].name, name) == 0)
            return bailey_fail(err, BAILEY_ERR_CONFIG, "%s cannot be set: %s", owned_properties[i].name,
                               owned_properties[i].reason);
    if ((len > 3 && strcmp(name + len - 3, "_cb") == 0) || strcmp(name, "opaque") == 0 ||
        strcmp(name, "default_topic_conf") == 0 || strcmp(name, "interceptors") == 0)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "%s cannot be set: it is no text", name);
    return kafka_conf_set(conf, name, value, err);
}

/* Everything but `librdkafka:`; `*option` names what is at fault. */
static bool set_own_options(rd_kafka_conf_t *conf, const struct kafka_broker_settings *settings,
                            enum freshness freshness, const char **option, struct bailey_error *err)
{
    *option = "";
    for (size_t i = 0; i < sizeof common_properties / sizeof *common_properties; i++)
        if (!kafka_conf_set(conf, common_properties[i].name, common_properties[i].value, err))
            return false;
    *option = "bootstrap_servers";
    if (!set_servers(conf, &settings->bootstrap_servers, err))
        return false;
    *option = "client_id";
    if (!kafka_conf_set(conf, "client.id", settings->client_id, err))
        return false;
    *option = "tls";
    if (!set_tls(conf, &settings->tls, freshness, err))
        return false;
    *option = "sasl";
    return set_sasl(conf, settings, freshness, err) && set_protocol(conf, settings, err);
}

rd_kafka_conf_t *kafka_conf_new(const struct kafka_broker_settings *settings, struct bailey_error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *option;

    if (!set_own_options(conf, settings, AS_IS_NOW, &option, err))
        goto failed;
    for (size_t i = 0; i < settings->librdkafka.count; i++)
        if (!set_by_name(conf, settings->librdkafka.entries[i].name, settings->librdkafka.entries[i].value, err))
            goto failed;
    return conf;

failed:
    rd_kafka_conf_destroy(conf);
    return NULL;
}

static void report_error(struct bailey_report *report, const char *option, const struct bailey_error *err)
{
    if (err->hint[0] != '\0')
        bailey_report_error(report, option, "%s (%s)", err->text, err->hint);
    else
        bailey_report_error(report, option, "%s", err->text);
}

/* What librdkafka says to each value. */
static void check_properties(const struct kafka_broker_settings *settings, struct bailey_report *report)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *option;
    struct bailey_error err;

    if (!set_own_options(conf, settings, AS_CONFIGURED, &option, &err))
        report_error(report, option, &err);
    for (size_t i = 0; i < settings->librdkafka.count; i++)
        if (!set_by_name(conf, settings->librdkafka.entries[i].name, settings->librdkafka.entries[i].value, &err))
            report_error(report, "librdkafka", &err);
    rd_kafka_conf_destroy(conf);
}

static bool is_given(const struct bailey_credential *credential)
{
    return credential->value != NULL;
}

static bool any_oauth(const struct kafka_oauth *oauth)
{
    return oauth->token_url != NULL || oauth->client_id != NULL || is_given(&oauth->client_secret) ||
           oauth->scope != NULL || oauth->parameters.count > 0 || oauth->extensions.count > 0;
}

static void check_oauth(const struct kafka_broker_settings *settings, struct bailey_report *report)
{
    const struct kafka_oauth *oauth = &settings->oauth;
    struct kafka_url url;
    struct bailey_error err = {0};

    if (oauth->token_url == NULL || oauth->client_id == NULL || !is_given(&oauth->client_secret)) {
        bailey_report_error(report, "sasl",
                            "OAUTHBEARER needs oauth.token_url, oauth.client_id and oauth.client_secret");
        return;
    }
    if (is_given(&settings->sasl_username) || is_given(&settings->sasl_password))
        bailey_report_error(report, "sasl", "OAUTHBEARER has no username and password, but oauth");
    if (!kafka_url_parse(oauth->token_url, &url, &err))
        bailey_report_error(report, "sasl", "oauth.token_url: %s", err.text);
    else if (!url.tls)
        bailey_report_warning(report, "sasl", "the client's secret travels unencrypted: oauth.token_url without https");
    if (!tls_wanted(&settings->tls))
        bailey_report_warning(report, "sasl", "the token travels unencrypted: mechanism OAUTHBEARER without tls");
}

static void check_sasl(const struct kafka_broker_settings *settings, struct bailey_report *report)
{
    bool none = settings->sasl_mechanism == KAFKA_SASL_NONE, oauth = settings->sasl_mechanism == KAFKA_SASL_OAUTHBEARER;

    if (none && (is_given(&settings->sasl_username) || any_oauth(&settings->oauth)))
        bailey_report_error(report, "sasl", "%s is given, and mechanism is not",
                            is_given(&settings->sasl_username) ? "username" : "oauth");
    else if (oauth)
        check_oauth(settings, report);
    else if (!none && (!is_given(&settings->sasl_username) || !is_given(&settings->sasl_password)))
        bailey_report_error(report, "sasl", "the mechanism needs username and password");
    else if (!none && any_oauth(&settings->oauth))
        bailey_report_error(report, "sasl", "oauth is only of use with the mechanism OAUTHBEARER");
    if (settings->sasl_mechanism == KAFKA_SASL_PLAIN && !tls_wanted(&settings->tls))
        bailey_report_warning(report, "sasl", "the password travels unencrypted: mechanism PLAIN without tls");
}

static void check_broker(const struct kafka_broker_settings *settings, struct bailey_report *report)
{
    for (size_t i = 0; i < settings->bootstrap_servers.count; i++)
        if (settings->bootstrap_servers.items[i][0] == '\0')
            bailey_report_error(report, "bootstrap_servers", "a server's name is empty");
    if ((settings->tls.cert == NULL) != (settings->tls.key == NULL))
        bailey_report_error(report, "tls", "cert and key are only of use together");
    if (settings->tls.key != NULL)
        bailey_report_key(report, "tls", settings->tls.key, &settings->tls.key_password);
    if (!settings->tls.verify && tls_wanted(&settings->tls))
        bailey_report_warning(report, "tls", "verify: false lets anybody pretend to be the broker");
    check_sasl(settings, report);
    check_properties(settings, report);
}

static void check_pattern(const char *pattern, struct bailey_report *report)
{
    char text[100];
    regex_t regex;
    int code = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB); /* as librdkafka does */

    if (code == 0) {
        regfree(&regex);
        return;
    }
    regerror(code, &regex, text, sizeof text);
    bailey_report_error(report, "topic", "%.80s is no regular expression: %s", pattern, text);
}

static void check_source(const struct kafka_source_settings *settings, struct bailey_report *report)
{
    bool pattern = false;

    if (settings->topics.count == 0)
        bailey_report_error(report, "topic", "no topic is named");
    for (size_t i = 0; i < settings->topics.count; i++) {
        const char *topic = settings->topics.items[i];

        if (topic[0] == '^') {
            pattern = true;
            check_pattern(topic, report);
        } else if (!kafka_topic_name_valid(topic, strlen(topic))) {
            bailey_report_error(report, "topic", "%.80s is no topic name (letters, digits, '.', '_', '-'; at most 249)",
                                topic);
        }
        for (size_t j = 0; j < i; j++)
            if (strcmp(settings->topics.items[j], topic) == 0)
                bailey_report_error(report, "topic", "%.80s is named twice", topic);
    }
    if (pattern && settings->declare.mode == BAILEY_DECLARE_CREATE)
        bailey_report_error(report, "declare", "topics of a regular expression cannot be created");
}

static void check_sink(const struct kafka_sink_settings *settings, struct bailey_report *report)
{
    const struct bailey_template *topic = settings->topic;

    if (topic == NULL)
        return; /* required: reported by the table */
    if (topic->slot < 0 && !kafka_topic_name_valid((const char *)topic->constant.data, topic->constant.len))
        bailey_report_error(report, "topic", "%.*s is no topic name (letters, digits, '.', '_', '-'; at most 249)",
                            (int)(topic->constant.len < 80 ? topic->constant.len : 80),
                            (const char *)topic->constant.data);
    if (topic->slot >= 0 && settings->declare.mode == BAILEY_DECLARE_CREATE &&
        (settings->declare.partitions > 0 || settings->declare.replication_factor > 0 ||
         settings->declare.config.count > 0))
        bailey_report_error(report, "declare",
                            "arguments of create need a topic without ${...}: those of a template are "
                            "created by the broker with its defaults");
}

void kafka_check(const void *broker, const void *end, enum bailey_role role, unsigned lanes,
                 struct bailey_report *report)
{
    (void)lanes; /* how many partitions there are is known to the broker only */
    if (end == NULL)
        check_broker(broker, report);
    else if (role == BAILEY_SOURCE)
        check_source(end, report);
    else
        check_sink(end, report);
}

bool kafka_keeps_order(const void *broker, const void *end, enum bailey_role role, enum bailey_order order,
                       unsigned lanes, struct bailey_error *err)
{
    const struct kafka_sink_settings *sink = end;

    (void)broker, (void)lanes; /* the group gives each partition to one lane */
    if (role == BAILEY_SOURCE || order != BAILEY_ORDER_PARTITION || sink->partition == KAFKA_BY_SOURCE)
        return true;
    bailey_fail(err, BAILEY_ERR_CONFIG, "by their keys, the messages of one partition go to several");
    return bailey_hint(err, "set partition: source at the sink, or order: key");
}
