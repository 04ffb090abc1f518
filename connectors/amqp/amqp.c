/* AMQP 0-9-1 (RabbitMQ): option tables, what they cannot say, and the descriptor.
 *
 * rabbitmq-c is the codec of methods only; connections, frames, time and flow are ours (connection.c, channel.c,
 * frame.c), over the gateway's transport. The ends are amqp_source.c and amqp_sink.c, the mapping of messages
 * amqp_map.c and amqp_unmap.c.
 */
#include "amq.h"

#include <amqp.h>
#include <string.h>

#include "connection.h"
#include "login.h"
#include "url.h"

/* ---- Options ---- */

#define BROKER(member) .offset = offsetof(struct amq_broker_settings, member)
#define SOURCE(member) .offset = offsetof(struct amq_source_settings, member)
#define SINK(member) .offset = offsetof(struct amq_sink_settings, member)

static const char *const auth_names[] = {"plain", "external", NULL};
static const char *const persistent_names[] = {"as_message", "always", "never", NULL};
static const char *const queue_types[] = {"quorum", "classic", NULL};

static const struct bailey_option tls_options[] = {
    {.name = "ca",
     .type = BAILEY_OPT_STRING,
     BROKER(tls_ca),
     .flags = BAILEY_OPT_PATH,
     .summary = "PEM file with the authorities that are trusted, instead of the system's."},
    {.name = "cert",
     .type = BAILEY_OPT_STRING,
     BROKER(tls_cert),
     .flags = BAILEY_OPT_PATH,
     .summary = "PEM file with the client's certificate."},
    {.name = "key",
     .type = BAILEY_OPT_STRING,
     BROKER(tls_key),
     .flags = BAILEY_OPT_PATH,
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

static const struct bailey_option broker_options[] = {
    {.name = "url",
     .type = BAILEY_OPT_LIST,
     .flags = BAILEY_OPT_REQUIRED | BAILEY_OPT_URL | BAILEY_OPT_SECRET,
     BROKER(urls),
     .summary = "amqp:// or amqps:// URL of the broker; of a list each is tried in turn."},
    {.name = "username",
     .type = BAILEY_OPT_CREDENTIAL,
     BROKER(username),
     .initial_text = "the URL's",
     .min = 1,
     .max = AMQ_USER_MAX - 1,
     .summary = "User name, instead of the one in the URL."},
    {.name = "password",
     .type = BAILEY_OPT_CREDENTIAL,
     .flags = BAILEY_OPT_SECRET,
     BROKER(password),
     .initial_text = "the URL's",
     .summary = "Password or token, instead of the one in the URL; when its !file changes, open connections are told."},
    {.name = "auth",
     .type = BAILEY_OPT_ENUM,
     BROKER(auth),
     .initial = "plain",
     .choices = auth_names,
     .summary = "Log-in by user and password, or by the client's certificate (external)."},
    {.name = "heartbeat",
     .type = BAILEY_OPT_DURATION,
     BROKER(heartbeat_ms),
     .initial = "30s",
     .min = 1000,
     .max = 600000,
     .summary = "A broker that is silent for twice this long counts as lost; the broker may lower it."},
    {.name = "tls", .type = BAILEY_OPT_GROUP, .children = tls_options, .summary = "TLS for amqps:// URLs."},
    {.name = "max_message_size",
     .type = BAILEY_OPT_SIZE,
     BROKER(max_message_size),
     .initial = "128MiB",
     .min = 1024,
     .max = 2147483647,
     .flags = BAILEY_OPT_ADVANCED,
     .summary = "Larger messages are not received: they stay in their queue, and an error is logged."},
    {.name = "frame_max",
     .type = BAILEY_OPT_SIZE,
     BROKER(frame_max),
     .initial = "128KiB",
     .min = AMQ_FRAME_MIN,
     .max = 512 << 10,
     .flags = BAILEY_OPT_ADVANCED,
     .summary = "Largest frame to ask for; the broker may lower it."},
    {0},
};

static const struct bailey_option source_create_options[] = {
    {.name = "queue_type",
     .type = BAILEY_OPT_ENUM,
     SOURCE(queue_type),
     .initial = "quorum",
     .choices = queue_types,
     .summary = "Type of the queue that is created."},
    {.name = "durable",
     .type = BAILEY_OPT_BOOL,
     SOURCE(durable),
     .initial = "true",
     .summary = "The queue survives a restart of the broker."},
    {.name = "single_active",
     .type = BAILEY_OPT_BOOL,
     SOURCE(single_active),
     .initial = "false",
     .summary = "One consumer at a time gets messages, so that their order is kept."},
    {.name = "exchange",
     .type = BAILEY_OPT_STRING,
     SOURCE(bind_exchange),
     .min = 1,
     .max = AMQ_SHORTSTR_MAX,
     .summary = "Exchange to bind the queue to; it must exist."},
    {.name = "routing_key",
     .type = BAILEY_OPT_STRING,
     SOURCE(bind_routing_key),
     .initial = "",
     .min = 0,
     .max = AMQ_SHORTSTR_MAX,
     .summary = "Routing key of that binding."},
    {.name = "arguments",
     .type = BAILEY_OPT_MAP,
     SOURCE(arguments),
     .summary = "Further arguments such as x-max-length; integers, true and false are sent as such, the rest as text."},
    {0},
};

extern const struct bailey_option amq_source_options[];
const struct bailey_option amq_source_options[] = {
    {.name = "queue",
     .type = BAILEY_OPT_STRING,
     .flags = BAILEY_OPT_REQUIRED,
     SOURCE(queue),
     .min = 1,
     .max = AMQ_SHORTSTR_MAX,
     .summary = "Queue to consume from."},
    {.name = "prefetch",
     .type = BAILEY_OPT_INT,
     SOURCE(prefetch),
     .initial_text = "credit.messages",
     .min = 1,
     .max = 65535,
     .unit = "messages",
     .summary = "At most so many unacknowledged messages; it begins lower until their size is known, to keep within "
                "credit.bytes."},
    {.name = "exclusive",
     .type = BAILEY_OPT_BOOL,
     SOURCE(exclusive),
     .initial = "false",
     .summary = "Begin only when the queue has no other consumer, and refuse others meanwhile; quorum queues do not "
                "refuse them."},
    {.name = "declare",
     .type = BAILEY_OPT_DECLARE,
     SOURCE(declare),
     .initial = "assert",
     .children = source_create_options,
     .summary = "What to do about the queue: assert that it exists, never look, or create it."},
    {.name = "priority",
     .type = BAILEY_OPT_INT,
     .flags = BAILEY_OPT_ADVANCED,
     SOURCE(priority),
     .initial = "0",
     .min = 0,
     .max = 255,
     .unit = "level",
     .summary = "Consumer priority: higher ones are served first."},
    {.name = "consumer_tag",
     .type = BAILEY_OPT_STRING,
     .flags = BAILEY_OPT_ADVANCED,
     SOURCE(consumer_tag),
     .initial = "bailey",
     .min = 1,
     .max = 64,
     .summary = "First part of the consumer's tag; route, lane and a number follow."},
    {.name = "consumer_timeout",
     .type = BAILEY_OPT_DURATION,
     .flags = BAILEY_OPT_ADVANCED,
     SOURCE(consumer_timeout_ms),
     .initial = "30m",
     .min = 10000,
     .max = 604800000,
     .summary = "The broker's consumer_timeout: what is unsettled for 80 % of it is handed back and consumed again."},
    {0},
};

static const struct bailey_option sink_create_options[] = {
    {.name = "queue_type",
     .type = BAILEY_OPT_ENUM,
     SINK(queue_type),
     .initial = "quorum",
     .choices = queue_types,
     .summary = "Type of the queue that is created."},
    {.name = "exchange_type",
     .type = BAILEY_OPT_STRING,
     SINK(exchange_type),
     .initial = "topic",
     .min = 1,
     .max = AMQ_SHORTSTR_MAX,
     .summary = "Type of the exchange that is created."},
    {.name = "durable",
     .type = BAILEY_OPT_BOOL,
     SINK(durable),
     .initial = "true",
     .summary = "Queue or exchange survive a restart of the broker."},
    {.name = "arguments",
     .type = BAILEY_OPT_MAP,
     SINK(arguments),
     .summary = "Further arguments such as x-max-length; integers, true and false are sent as such, the rest as text."},
    {0},
};

extern const struct bailey_option amq_sink_options[];
const struct bailey_option amq_sink_options[] = {
    {.name = "exchange",
     .type = BAILEY_OPT_STRING,
     SINK(exchange),
     .min = 0,
     .max = AMQ_SHORTSTR_MAX,
     .summary = "Exchange to publish to; empty is the default exchange."},
    {.name = "routing_key",
     .type = BAILEY_OPT_TEMPLATE,
     SINK(routing_key),
     .summary = "Routing key of each message; empty when absent."},
    {.name = "queue",
     .type = BAILEY_OPT_TEMPLATE,
     SINK(queue),
     .summary = "Queue to send to, through the default exchange; instead of exchange and routing_key."},
    {.name = "persistent",
     .type = BAILEY_OPT_ENUM,
     SINK(persistent),
     .initial = "as_message",
     .choices = persistent_names,
     .summary = "Delivery mode: as the message says (persistent if it says nothing), always or never persistent."},
    {.name = "declare",
     .type = BAILEY_OPT_DECLARE,
     SINK(declare),
     .initial = "assert",
     .children = sink_create_options,
     .summary =
         "What to do about the exchange, or a queue without ${...}: assert that it exists, never look, or create "
         "it."},
    {.name = "pass_headers",
     .type = BAILEY_OPT_LIST,
     .flags = BAILEY_OPT_ADVANCED,
     SINK(pass_headers),
     .summary = "Headers that steer RabbitMQ (CC, BCC, x-death, x-delay) and are sent as such; others travel in "
                "bailey-h."},
    {.name = "max_unconfirmed",
     .type = BAILEY_OPT_INT,
     .flags = BAILEY_OPT_ADVANCED,
     SINK(max_unconfirmed),
     .initial = "10k",
     .min = 1,
     .max = 1000000,
     .unit = "messages",
     .summary = "At most so many published and unconfirmed: the bound of what a lost connection can duplicate."},
    {0},
};

/* ---- What the tables cannot say ---- */

static void check_broker(const struct amq_broker_settings *s, struct bailey_report *report)
{
    if (s->urls.count == 0)
        bailey_report_error(report, "url", "url is an empty list");
    for (size_t i = 0; i < s->urls.count; i++) {
        struct bailey_error err = {0};
        struct amq_url url;

        if (!amq_url_parse(s->urls.items[i], &url, &err))
            bailey_report_error(report, "url", "%s%s%s", err.text, err.hint[0] ? ". " : "", err.hint);
        else if (s->auth == AMQ_AUTH_EXTERNAL && !url.tls)
            bailey_report_error(report, "auth", "auth: external needs an amqps:// URL");
        amq_url_wipe(&url);
    }
    if ((s->tls_cert == NULL) != (s->tls_key == NULL))
        bailey_report_error(report, "tls", "tls.cert and tls.key belong together");
    if (s->tls_key != NULL)
        bailey_report_key(report, "tls", s->tls_key, &s->tls_key_password);
    if (s->auth == AMQ_AUTH_EXTERNAL && (s->username.value != NULL || s->password.value != NULL))
        bailey_report_error(report, "auth",
                            "auth: external has no username and password: the certificate says who it is");
    if (s->auth == AMQ_AUTH_EXTERNAL && s->tls_cert == NULL)
        bailey_report_error(report, "auth", "auth: external needs tls.cert and tls.key");
}

static const char *argument(const struct bailey_map *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->count; i++)
        if (strcmp(arguments->entries[i].name, name) == 0)
            return arguments->entries[i].value;
    return NULL;
}

static bool makes_quorum_queue(const struct amq_source_settings *s)
{
    const char *type = argument(&s->arguments, "x-queue-type");

    return s->declare == BAILEY_DECLARE_CREATE &&
           (type != NULL ? strcmp(type, "quorum") == 0 : s->queue_type == AMQ_QUEUE_QUORUM);
}

static bool makes_single_active(const struct amq_source_settings *s)
{
    const char *single_active = argument(&s->arguments, "x-single-active-consumer");

    return s->declare == BAILEY_DECLARE_CREATE &&
           (s->single_active || (single_active != NULL && strcmp(single_active, "true") == 0));
}

bool amq_needs_steady_window(const struct amq_source_settings *s)
{
    return makes_quorum_queue(s) && makes_single_active(s);
}

static void check_source(const struct amq_source_settings *s, unsigned lanes, struct bailey_report *report)
{
    if (s->exclusive && lanes > 1)
        bailey_report_error(report, "exclusive", "only one lane can consume exclusively, the route has %u", lanes);
    if (s->exclusive && makes_single_active(s))
        bailey_report_error(report, "exclusive", "a queue with a single active consumer has no exclusive one");
    if (s->bind_routing_key != NULL && s->bind_routing_key[0] != '\0' && s->bind_exchange == NULL)
        bailey_report_error(report, "declare", "declare.create has a routing_key and no exchange to bind to");
    if (s->declare == BAILEY_DECLARE_CREATE && s->queue_type == AMQ_QUEUE_QUORUM && !s->durable)
        bailey_report_error(report, "declare", "a quorum queue is always durable");
}

static void check_sink(const struct amq_sink_settings *s, struct bailey_report *report)
{
    if (s->queue != NULL && (s->exchange != NULL || s->routing_key != NULL))
        bailey_report_error(report, "queue", "queue excludes exchange and routing_key");
    else if (s->queue == NULL && s->exchange == NULL)
        bailey_report_error(report, "", "needs an exchange (with routing_key), or a queue");
    else if (s->queue == NULL && s->exchange[0] == '\0' && s->routing_key == NULL)
        bailey_report_error(report, "routing_key", "the default exchange needs a routing_key: the queue's name");
    if (s->queue != NULL && s->queue->slot < 0 &&
        (s->queue->constant.len == 0 || s->queue->constant.len > AMQ_SHORTSTR_MAX))
        bailey_report_error(report, "queue", "a queue's name has 1 to %d bytes", AMQ_SHORTSTR_MAX);
    if (s->routing_key != NULL && s->routing_key->slot < 0 && s->routing_key->constant.len > AMQ_SHORTSTR_MAX)
        bailey_report_error(report, "routing_key", "a routing key has at most %d bytes", AMQ_SHORTSTR_MAX);
    if (s->declare == BAILEY_DECLARE_CREATE && s->queue != NULL && s->queue_type == AMQ_QUEUE_QUORUM && !s->durable)
        bailey_report_error(report, "declare", "a quorum queue is always durable");
    if (s->persistent == AMQ_PERSISTENT_NEVER)
        bailey_report_warning(report, "persistent",
                              "persistent: never loses confirmed messages when the broker restarts");
}

static void amqp_check(const void *broker, const void *end, enum bailey_role role, unsigned lanes,
                       struct bailey_report *report)
{
    if (end == NULL)
        check_broker(broker, report);
    else if (role == BAILEY_SOURCE)
        check_source(end, lanes, report);
    else
        check_sink(end, report);
}

/* ---- Order ---- */

static bool is_only_consumer(const struct amq_source_settings *s)
{
    return makes_single_active(s) || (s->exclusive && !makes_quorum_queue(s));
}

/* A queue gives its messages to all who consume, in turn; a sink's channel is in order. */
bool amq_keeps_order(const void *broker, const void *end, enum bailey_role role, enum bailey_order order,
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
    return bailey_hint(err, makes_quorum_queue(end)
                                ? "Set declare: { create: { single_active: true } }; quorum queues ignore exclusive."
                                : "Set exclusive: true for a classic queue, or use one with a single active consumer.");
}

/* ---- The descriptor ---- */

static const char *const schemes[] = {"amqp", "amqps", NULL};

static const struct bailey_url_form url_form = {
    .schemes = schemes,
    .broker_option = "url",
    .whole_url = true,
    .example = "amqp://guest:guest@localhost:5672/%2f?queue=orders",
};

static const struct bailey_connector amqp_connector = {
    .size = sizeof amqp_connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .abi_minor = BAILEY_ABI_MINOR,
    .name = "amqp",
    .summary = "AMQP 0-9-1 queues and exchanges (RabbitMQ).",
    .traits = BAILEY_DELAYS,
    .library = "rabbitmq-c " AMQP_VERSION_STRING " (codec)",
    .broker_settings_size = sizeof(struct amq_broker_settings),
    .broker_options = broker_options,
    .broker_open = amq_broker_open,
    .broker_close = amq_broker_close,
    .source = &amq_source,
    .sink = &amq_sink,
    .url = &url_form,
    .check = amqp_check,
    .probe = amq_probe,
    .shelf = &amq_shelf,
    .keeps_order = amq_keeps_order,
};

const struct bailey_connector *bailey_connector_entry(void)
{
    return &amqp_connector;
}
