/* fake_connector.c: see the header. Nothing here is ever opened. */
#include "fake_connector.h"

#include <string.h>

#define BROKER(member) .offset = offsetof(struct fake_broker, member)
#define SOURCE(member) .offset = offsetof(struct fake_source, member)
#define SINK(member) .offset = offsetof(struct fake_sink, member)

static const struct bailey_option broker_options[] = {
    {.name = "url",
     .type = BAILEY_OPT_STRING,
     BROKER(url),
     .flags = BAILEY_OPT_REQUIRED | BAILEY_OPT_URL,
     .summary = "Address of the broker."},
    {.name = "password",
     .type = BAILEY_OPT_CREDENTIAL,
     BROKER(password),
     .flags = BAILEY_OPT_SECRET,
     .min = 0,
     .max = 20,
     .summary = "Password of the user."},
    {.name = "ca", .type = BAILEY_OPT_STRING, BROKER(ca), .flags = BAILEY_OPT_PATH, .summary = "File of authorities."},
    {.name = "heartbeat",
     .type = BAILEY_OPT_DURATION,
     BROKER(heartbeat_ms),
     .initial = "30s",
     .min = 1000,
     .max = 600000,
     .summary = "Silence after which the connection counts as lost."},
    {.name = "extra", .type = BAILEY_OPT_MAP, BROKER(extra), .summary = "Options of the library."},
    {0},
};

static const char *const starts[] = {"earliest", "latest", NULL};
static const struct bailey_option source_options[] = {
    {.name = "topic",
     .type = BAILEY_OPT_LIST,
     SOURCE(topic),
     .flags = BAILEY_OPT_REQUIRED,
     .summary = "Topics to read."},
    {.name = "start",
     .type = BAILEY_OPT_ENUM,
     SOURCE(start),
     .initial = "earliest",
     .choices = starts,
     .summary = "Where a new group begins."},
    {.name = "prefetch",
     .type = BAILEY_OPT_INT,
     SOURCE(prefetch),
     .initial = "256",
     .min = 1,
     .max = 65535,
     .unit = "messages",
     .summary = "Unsettled messages the broker may have outstanding."},
    {0},
};

static const struct bailey_option create_options[] = {
    {.name = "queue_type",
     .type = BAILEY_OPT_STRING,
     SINK(queue_type),
     .initial = "quorum",
     .summary = "Kind of the queue."},
    {.name = "partitions",
     .type = BAILEY_OPT_INT,
     SINK(partitions),
     .initial = "3",
     .min = 1,
     .max = 100,
     .unit = "partitions",
     .summary = "Partitions of a new topic."},
    {0},
};
static const struct bailey_option sink_options[] = {
    {.name = "exchange", .type = BAILEY_OPT_STRING, SINK(exchange), .initial = "", .summary = "Exchange to send to."},
    {.name = "routing_key",
     .type = BAILEY_OPT_TEMPLATE,
     SINK(routing_key),
     .initial = "${key:-}",
     .summary = "Routing key of each message."},
    {.name = "type", .type = BAILEY_OPT_TEMPLATE, SINK(type), .summary = "Type of each message."},
    {.name = "persistent",
     .type = BAILEY_OPT_BOOL,
     SINK(persistent),
     .initial = "true",
     .summary = "Whether messages are stored."},
    {.name = "max_size",
     .type = BAILEY_OPT_SIZE,
     SINK(max_size),
     .initial = "16MiB",
     .min = 1024,
     .max = 1 << 30,
     .summary = "Largest message."},
    {.name = "declare",
     .type = BAILEY_OPT_DECLARE,
     SINK(declare),
     .children = create_options,
     .summary = "What to do about the queue."},
    {0},
};

/* Two rules that tables cannot say, one of each severity. */
static void fake_check(const void *broker, const void *end, enum bailey_role role, unsigned lanes,
                       struct bailey_report *report)
{
    const struct fake_broker *settings = broker;
    const struct fake_sink *sink = role == BAILEY_SINK ? end : NULL;

    if (end == NULL && strncmp(settings->url, "fake://", 7) != 0)
        bailey_report_error(report, "url", "the url '%s' must begin with fake://", settings->url);
    if (sink != NULL && sink->exchange[0] == '\0' && sink->declare == BAILEY_DECLARE_CREATE && sink->partitions > 50)
        bailey_report_error(report, "declare", "too many partitions");
    if (end != NULL && role == BAILEY_SOURCE && lanes > 8)
        bailey_report_warning(report, "", "more lanes than the fake can feed");
}

static const struct bailey_source source = {.settings_size = sizeof(struct fake_source), .options = source_options};
static const struct bailey_sink sink = {.settings_size = sizeof(struct fake_sink), .options = sink_options};
static const struct bailey_sink drain = {0};

const struct bailey_connector fake_connector = {
    .size = sizeof fake_connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .abi_minor = BAILEY_ABI_MINOR,
    .name = "fake",
    .summary = "A connector for tests.",
    .broker_settings_size = sizeof(struct fake_broker),
    .broker_options = broker_options,
    .source = &source,
    .sink = &sink,
    .check = fake_check,
};

const struct bailey_connector drain_connector = {
    .size = sizeof drain_connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .name = "drain",
    .summary = "A sink without options.",
    .traits = BAILEY_HAS_POSITIONS,
    .sink = &drain,
};

const struct bailey_connector *fake_find(const char *name, struct bailey_error *err)
{
    if (strcmp(name, "fake") == 0)
        return &fake_connector;
    if (strcmp(name, "drain") == 0)
        return &drain_connector;
    bailey_fail(err, BAILEY_ERR_CONFIG, "there is no connector '%s'", name);
    bailey_hint(err, "did you mean 'fake'?");
    return NULL;
}
