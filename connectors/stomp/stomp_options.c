/* The options of STOMP brokers and ends, and what the tables cannot say. */
#include "options.h"

#include <string.h>

#include "dialect.h"
#include "url.h"

/* ---- Options ---- */

#define BROKER(member) .offset = offsetof(struct stomp_broker_settings, member)
#define SOURCE(member) .offset = offsetof(struct stomp_source_settings, member)
#define SINK(member) .offset = offsetof(struct stomp_sink_settings, member)

static const char *const dialect_names[] = {"auto", "activemq", "artemis", "rabbitmq", "generic", NULL};
static const char *const persistent_names[] = {"true", "as_message", "false", NULL};
static const char *const unroutable_names[] = {"refuse", "accept", NULL};

static const struct bailey_option tls_options[] = {
    {.name = "ca",
     .type = BAILEY_OPT_STRING,
     .flags = BAILEY_OPT_PATH,
     BROKER(tls_ca),
     .summary = "PEM file with the authorities that are trusted, instead of the system's."},
    {.name = "cert",
     .type = BAILEY_OPT_STRING,
     .flags = BAILEY_OPT_PATH,
     BROKER(tls_cert),
     .summary = "PEM file with the client's certificate."},
    {.name = "key",
     .type = BAILEY_OPT_STRING,
     .flags = BAILEY_OPT_PATH,
     BROKER(tls_key),
     .summary = "PEM file with the client's private key."},
    {.name = "key_password",
     .type = BAILEY_OPT_CREDENTIAL,
     .flags = BAILEY_OPT_SECRET,
     BROKER(tls_key_password),
     .summary = "Password of the client's key, if that is encrypted."},
    {.name = "verify",
     .type = BAILEY_OPT_BOOL,
     BROKER(tls_verify),
     .initial = "true",
     .summary = "Check the broker's certificate and its host name."},
    {0},
};

const struct bailey_option stomp_broker_options[] = {
    {.name = "url",
     .type = BAILEY_OPT_LIST,
     .flags = BAILEY_OPT_REQUIRED | BAILEY_OPT_URL | BAILEY_OPT_SECRET,
     BROKER(urls),
     .summary = "stomp://, stomp+ssl://, ws:// or wss:// URL of the broker; of a list each is tried in turn."},
    {.name = "login",
     .type = BAILEY_OPT_CREDENTIAL,
     BROKER(login),
     .max = STOMP_LOGIN_MAX - 1,
     .summary = "User name; instead of one in the URL. From a !file it is read again for each connection."},
    {.name = "passcode",
     .type = BAILEY_OPT_CREDENTIAL,
     .flags = BAILEY_OPT_SECRET,
     BROKER(passcode),
     .max = STOMP_LOGIN_MAX - 1,
     .summary = "Password; instead of one in the URL. From a !file it is read again for each connection."},
    {.name = "vhost",
     .type = BAILEY_OPT_STRING,
     BROKER(vhost),
     .initial = "/",
     .min = 1,
     .max = 255,
     .summary = "Virtual host (the header `host` of CONNECT); ActiveMQ and Artemis ignore it."},
    {.name = "dialect",
     .type = BAILEY_OPT_ENUM,
     BROKER(dialect),
     .initial = "auto",
     .choices = dialect_names,
     .summary = "How the broker speaks STOMP; auto goes by what it says of itself. Only generic allows STOMP 1.0."},
    {.name = "heartbeat",
     .type = BAILEY_OPT_DURATION,
     BROKER(heartbeat_ms),
     .initial = "10s",
     .min = 1000,
     .max = 600000,
     .summary = "Heart-beats both ways; a broker that is silent for twice this long counts as lost."},
    {.name = "receipt_timeout",
     .type = BAILEY_OPT_DURATION,
     BROKER(receipt_timeout_ms),
     .initial = "30s",
     .min = 1000,
     .max = 3600000,
     .summary = "A message without a RECEIPT for so long is in doubt: the connection is renewed, and it is sent again, "
                "marked."},
    {.name = "tls",
     .type = BAILEY_OPT_GROUP,
     .children = tls_options,
     .summary = "TLS for stomp+ssl:// and wss:// URLs."},
    {.name = "max_message_size",
     .type = BAILEY_OPT_SIZE,
     BROKER(max_message_size),
     .initial = "128MiB",
     .min = 1024,
     .max = 2147483647,
     .flags = BAILEY_OPT_ADVANCED,
     .summary = "Larger messages are not received: they stay at the broker, and an error is logged."},
    {0},
};

const struct bailey_option stomp_source_options[] = {
    {.name = "destination",
     .type = BAILEY_OPT_STRING,
     .flags = BAILEY_OPT_REQUIRED,
     SOURCE(destination),
     .min = 1,
     .max = 4096,
     .summary = "Queue or topic to subscribe to, such as /queue/orders."},
    {.name = "selector",
     .type = BAILEY_OPT_STRING,
     SOURCE(selector),
     .min = 1,
     .max = 8192,
     .summary = "Only messages whose headers fulfil this condition (SQL-92 as in JMS); RabbitMQ has none."},
    {.name = "prefetch",
     .type = BAILEY_OPT_INT,
     SOURCE(prefetch),
     .initial_text = "credit.messages",
     .min = 1,
     .max = 65535,
     .unit = "messages",
     .summary = "At most so many unacknowledged messages; to Artemis, which counts bytes, so many times 1 KiB."},
    {.name = "subscription",
     .type = BAILEY_OPT_STRING,
     SOURCE(subscription),
     .min = 1,
     .max = 128,
     .summary = "Name of a durable subscription to a topic: what is sent while Bailey is away is kept for it."},
    {.name = "exclusive",
     .type = BAILEY_OPT_BOOL,
     SOURCE(exclusive),
     .initial = "false",
     .summary = "Nobody else gets messages meanwhile: ActiveMQ sees to it. Artemis and RabbitMQ do if the queue is "
                "exclusive or single-active there: then say so, for an `order`."},
    {.name = "client_id",
     .type = BAILEY_OPT_STRING,
     .flags = BAILEY_OPT_ADVANCED,
     SOURCE(client_id),
     .initial_text = "bailey.INSTANCE.ROUTE with a subscription, else none",
     .min = 1,
     .max = 250,
     .summary = "Client id, to which a durable subscription belongs."},
    {.name = "headers",
     .type = BAILEY_OPT_MAP,
     .flags = BAILEY_OPT_ADVANCED,
     SOURCE(headers),
     .summary = "Further headers of SUBSCRIBE, such as activemq.exclusive, or x-queue-type on RabbitMQ."},
    {0},
};

const struct bailey_option stomp_sink_options[] = {
    {.name = "destination",
     .type = BAILEY_OPT_TEMPLATE,
     .flags = BAILEY_OPT_REQUIRED,
     SINK(destination),
     .summary = "Queue or topic of each message, such as /queue/orders; on RabbitMQ /queue/NAME only."},
    {.name = "persistent",
     .type = BAILEY_OPT_ENUM,
     SINK(persistent),
     .initial = "true",
     .choices = persistent_names,
     .summary = "Store messages: always (true), as each says (persistent if it says nothing), or never (false)."},
    {.name = "unroutable",
     .type = BAILEY_OPT_ENUM,
     SINK(unroutable),
     .initial = "refuse",
     .choices = unroutable_names,
     .summary =
         "Destinations of RabbitMQ's for which a RECEIPT proves no route: refuse them, or accept and lose what no "
         "queue takes."},
    {.name = "max_unconfirmed",
     .type = BAILEY_OPT_INT,
     .flags = BAILEY_OPT_ADVANCED,
     SINK(max_unconfirmed),
     .initial_text = "credit.messages",
     .min = 1,
     .max = 1000000,
     .unit = "messages",
     .summary = "At most so many sent and unconfirmed: the bound of what a lost connection can duplicate."},
    {.name = "pass_headers",
     .type = BAILEY_OPT_LIST,
     .flags = BAILEY_OPT_ADVANCED,
     SINK(pass_headers),
     .summary =
         "Headers that steer a broker (AMQ_SCHEDULED_DELAY, JMSXGroupID, _AMQ_DUPL_ID ...) and are sent as such; "
         "others travel in headers of ours."},
    {.name = "headers",
     .type = BAILEY_OPT_MAP,
     .flags = BAILEY_OPT_ADVANCED,
     SINK(headers),
     .summary = "Further headers of each SEND, such as x-queue-type: quorum for a queue that RabbitMQ creates."},
    {0},
};

/* ---- What the tables cannot say ---- */

static bool has_line_end(const char *text)
{
    return text != NULL && strpbrk(text, "\r\n") != NULL;
}

static void check_url(const struct stomp_broker_settings *s, const char *text, struct bailey_report *report)
{
    struct bailey_error err = {0};
    struct stomp_url url;

    if (!stomp_url_parse(text, &url, &err))
        bailey_report_error(report, "url", "%s%s%s", err.text, err.hint[0] ? ". " : "", err.hint);
    else if (url.has_login && (s->login.value != NULL || s->passcode.value != NULL))
        bailey_report_error(report, "url", "login and passcode stand in the URL and as options");
    else if (has_line_end(url.login) || has_line_end(url.passcode))
        bailey_report_error(report, "url", "login and passcode cannot hold an end of line");
    stomp_url_wipe(&url);
}

static void check_broker(const struct stomp_broker_settings *s, struct bailey_report *report)
{
    if (s->urls.count == 0)
        bailey_report_error(report, "url", "url is an empty list");
    for (size_t i = 0; i < s->urls.count; i++)
        check_url(s, s->urls.items[i], report);
    if (has_line_end(s->login.value))
        bailey_report_error(report, "login", "login cannot hold an end of line");
    if (has_line_end(s->passcode.value))
        bailey_report_error(report, "passcode", "passcode cannot hold an end of line");
    if ((s->tls_cert == NULL) != (s->tls_key == NULL))
        bailey_report_error(report, "tls", "tls.cert and tls.key belong together");
    if (s->tls_key != NULL)
        bailey_report_key(report, "tls", s->tls_key, &s->tls_key_password);
    if (!s->tls_verify)
        bailey_report_warning(report, "tls", "tls.verify: false accepts any broker, also one in the middle");
}

/* Headers that are ours to set. */
static void check_headers(const struct bailey_map *headers, const char *const *ours, struct bailey_report *report)
{
    for (size_t i = 0; i < headers->count; i++)
        for (const char *const *name = ours; *name != NULL; name++)
            if (strcmp(headers->entries[i].name, *name) == 0)
                bailey_report_error(report, "headers", "the header %s cannot be given here", *name);
}

static void check_source(const struct stomp_broker_settings *broker, const struct stomp_source_settings *s,
                         unsigned lanes, struct bailey_report *report)
{
    static const char *const ours[] = {"id", "destination", "ack", "receipt", "selector", "content-length", NULL};

    check_headers(&s->headers, ours, report);
    if (s->subscription != NULL && lanes > 1)
        bailey_report_error(report, "subscription", "a durable subscription has one subscriber, the route has %u lanes",
                            lanes);
    if (s->client_id != NULL && lanes > 1)
        bailey_report_error(report, "client_id", "a client id belongs to one connection, the route has %u lanes",
                            lanes);
    if (s->selector != NULL && broker->dialect != STOMP_AUTO &&
        stomp_dialect_row((enum stomp_dialect)broker->dialect)->selector == NULL)
        bailey_report_error(report, "selector", "%s has no selectors: it would ignore this one",
                            dialect_names[broker->dialect]);
}

static void check_destination(const struct stomp_broker_settings *broker, const struct stomp_sink_settings *s,
                              struct bailey_report *report)
{
    struct bailey_error err = {0};
    enum stomp_dialect dialect = broker->dialect == STOMP_AUTO ? STOMP_GENERIC : (enum stomp_dialect)broker->dialect;

    if (s->destination->slot >= 0)
        return;
    if (s->destination->constant.len == 0)
        bailey_report_error(report, "destination", "destination is empty");
    else if (s->unroutable == STOMP_UNROUTABLE_REFUSE && !stomp_dialect_takes(dialect, s->destination->constant, &err))
        bailey_report_error(report, "destination", "%s. %s", err.text, err.hint);
}

static void check_sink(const struct stomp_broker_settings *broker, const struct stomp_sink_settings *s,
                       struct bailey_report *report)
{
    static const char *const ours[] = {"destination", "receipt", "content-length", "transaction", "persistent", NULL};

    check_headers(&s->headers, ours, report);
    check_destination(broker, s, report);
    if (s->persistent == STOMP_PERSISTENT_NEVER)
        bailey_report_warning(report, "persistent",
                              "persistent: false loses confirmed messages when the broker restarts");
    if (s->unroutable == STOMP_UNROUTABLE_ACCEPT)
        bailey_report_warning(
            report, "unroutable",
            "unroutable: accept counts messages as delivered that RabbitMQ routed to no queue: they are lost");
}

static bool map_has(const struct bailey_map *map, const char *name, const char *value)
{
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->entries[i].name, name) == 0)
            return strcmp(map->entries[i].value, value) == 0;
    return false;
}

/* A durable subscription has one subscriber at a time; ActiveMQ knows exclusive consumers by a header, or in the destination. */
static bool is_only_consumer(const struct stomp_source_settings *s)
{
    return s->exclusive || s->subscription != NULL || map_has(&s->headers, "activemq.exclusive", "true") ||
           strstr(s->destination, "consumer.exclusive=true") != NULL;
}

bool stomp_keeps_order(const void *broker, const void *end, enum bailey_role role, enum bailey_order order,
                       unsigned lanes, struct bailey_error *err)
{
    (void)broker;
    if (order == BAILEY_ORDER_NONE || role == BAILEY_SINK)
        return true;
    if (lanes > 1) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%u lanes take the queue's messages in turn", lanes);
        return bailey_hint(err, "Set lanes: 1.");
    }
    if (is_only_consumer(end))
        return true;
    bailey_fail(err, BAILEY_ERR_CONFIG, "other consumers of the queue may take messages in between");
    return bailey_hint(err, "Set exclusive: true; on Artemis and RabbitMQ the queue itself must see to it, too.");
}

void stomp_check(const void *broker, const void *end, enum bailey_role role, unsigned lanes,
                 struct bailey_report *report)
{
    if (end == NULL)
        check_broker(broker, report);
    else if (role == BAILEY_SOURCE)
        check_source(broker, end, lanes, report);
    else
        check_sink(broker, end, report);
}
