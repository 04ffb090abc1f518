/* config/tables.c: what may stand at the top of the file and in a route. */
#include "config/tables.h"

#include "config/config.h"

const char *const top_others[] = {"brokers", "routes", NULL};
const char *const route_others[] = {"from", "to", "dead_letter", NULL};
const char *const route_required[] = {"from", "to", NULL};
const char *const broker_others[] = {"connector", NULL};
const char *const end_others[] = {"broker", NULL};

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

#define FIELD(member) .offset = offsetof(struct top_settings, member)

static const struct bailey_option admin_options[] = {
    {.name = "listen",
     .type = BAILEY_OPT_STRING,
     FIELD(listen),
     .flags = BAILEY_OPT_REQUIRED,
     .summary = "Address and port of /metrics, /healthz and /readyz, such as 127.0.0.1:8080; port 0 is any free one."},
    {0},
};

static const struct bailey_option log_options[] = {
    {.name = "level",
     .type = BAILEY_OPT_ENUM,
     FIELD(log_level),
     .initial = "info",
     .choices = log_levels,
     .summary = "The least severe events that are printed."},
    {.name = "format",
     .type = BAILEY_OPT_ENUM,
     FIELD(log_format),
     .initial = "text",
     .choices = log_formats,
     .summary = "How events are printed: key=value text, or one JSON object a line."},
    {0},
};

static const char *const stores[] = {"memory", "rocksdb", NULL};

static const char *const processes[] = {"unknown", "one", "several", NULL};

static const struct bailey_option state_options[] = {
    {.name = "store",
     .type = BAILEY_OPT_ENUM,
     FIELD(state_store),
     .flags = BAILEY_OPT_REQUIRED,
     .choices = stores,
     .summary = "Where ids are kept: rocksdb is this machine's disk, memory is forgotten when the process ends."},
    {.name = "path",
     .type = BAILEY_OPT_STRING,
     FIELD(state_path),
     .flags = BAILEY_OPT_PATH,
     .initial_text = "none",
     .summary = "Folder of the store; it is created, its parent must exist. One process uses it at a time."},
    {.name = "sync",
     .type = BAILEY_OPT_STRING,
     FIELD(state_sync),
     .initial = "batch",
     .summary =
         "When what was written survives a power cut: batch (before the source is told), every so often (100ms), "
         "or none (when the system likes)."},
    {.name = "processes",
     .type = BAILEY_OPT_ENUM,
     FIELD(state_processes),
     .initial = "unknown",
     .choices = processes,
     .summary = "How many processes share the sources. Each knows its own ids only: check warns until this is said."},
    {0},
};

const struct bailey_option top_options[] = {
    {.name = "instance",
     .type = BAILEY_OPT_STRING,
     FIELD(instance),
     .initial_text = "host name and file name",
     .summary = "Name of this process, the same after a restart: brokers know its consumers by it."},
    {.name = "workers",
     .type = BAILEY_OPT_INT,
     FIELD(workers),
     .initial_text = "one a core",
     .min = 1,
     .max = 256,
     .unit = "threads",
     .summary = "Threads that run the routes."},
    {.name = "admin",
     .type = BAILEY_OPT_GROUP,
     .children = admin_options,
     .summary = "The HTTP server for metrics and health; off when absent."},
    {.name = "log", .type = BAILEY_OPT_GROUP, .children = log_options, .summary = "The log, on standard error."},
    {.name = "drain_timeout",
     .type = BAILEY_OPT_DURATION,
     FIELD(drain_timeout_ms),
     .initial = "10s",
     .min = 0,
     .max = 3600000, /* ms */
     .summary = "How long SIGTERM may take to finish what is in flight."},
    {.name = "state",
     .type = BAILEY_OPT_GROUP,
     .children = state_options,
     .summary = "The store of what must outlive the process: needed by routes with dedup."},
    {0},
};
#undef FIELD

#define FIELD(member) .offset = offsetof(struct route_settings, member)

static const struct bailey_option credit_options[] = {
    {.name = "messages",
     .type = BAILEY_OPT_INT,
     FIELD(credit_messages),
     .initial = "10000",
     .min = 1,
     .max = 10000000,
     .unit = "messages",
     .summary = "Most messages that a lane has received and not settled."},
    {.name = "bytes",
     .type = BAILEY_OPT_SIZE,
     FIELD(credit_bytes),
     .initial = "16MiB",
     .min = 4096,
     .max = INT64_C(64) << 30, /* bytes */
     .summary = "Most bytes that a lane has received and not settled."},
    {0},
};

static const char *const failure_policies[] = {"stop", "pass", NULL};

static const struct bailey_option dedup_options[] = {
    {.name = "id",
     .type = BAILEY_OPT_TEMPLATE,
     FIELD(dedup_id),
     .flags = BAILEY_OPT_REQUIRED,
     .summary =
         "What tells one message from another, such as ${header.idempotency-key}; one that cannot fill it is refused."},
    {.name = "window",
     .type = BAILEY_OPT_DURATION,
     FIELD(dedup_window_ms),
     .initial = "24h",
     .min = 1000,
     .max = INT64_C(366) * 86400000, /* ms */
     .summary = "How long an id is remembered."},
    {.name = "max",
     .type = BAILEY_OPT_INT,
     FIELD(dedup_max),
     .initial = "10M",
     .min = 1000,
     .max = 1000000000,
     .unit = "ids",
     .summary = "How many ids are remembered at most: 2 to 3 bytes of memory each."},
    {.name = "scope",
     .type = BAILEY_OPT_STRING,
     FIELD(dedup_scope),
     .initial = "route",
     .summary = "Whose ids they are: the route's, or those of all routes that give this name."},
    {.name = "on_store_failure",
     .type = BAILEY_OPT_ENUM,
     FIELD(dedup_on_failure),
     .initial = "stop",
     .choices = failure_policies,
     .summary = "While the store fails: stop holds the source, pass delivers and marks as possible duplicates."},
    {0},
};

static const char *const orders[] = {"none", "key", "partition", "strict", NULL};
static const char *const expiries[] = {"dead-letter", "drop", NULL};
static const char *const unroutables[] = {"dead-letter", "retry", "accept", NULL};
static const char *const parks[] = {"hold", "store", NULL};

static const struct bailey_option retry_options[] = {
    {.name = "attempts",
     .type = BAILEY_OPT_INT,
     FIELD(attempts),
     .initial_text = "for ever",
     .min = 1,
     .max = 1000000,
     .unit = "refusals",
     .summary = "Refusals of one message that make it hopeless. A sink that is away refuses nothing."},
    {.name = "backoff",
     .type = BAILEY_OPT_STRING,
     FIELD(backoff),
     .initial = "1s..1m",
     .summary = "The first and the longest wait between two attempts: MIN..MAX, such as 1s..5m."},
    {.name = "multiplier",
     .type = BAILEY_OPT_STRING,
     FIELD(multiplier),
     .initial = "2",
     .summary = "How much longer each wait is than the one before, from 1 to 10; decimals are allowed."},
    {.name = "jitter",
     .type = BAILEY_OPT_STRING,
     FIELD(jitter),
     .initial = "0.2",
     .summary =
         "What part of a wait is at random, from 0 to 1: so that those refused together do not come back together."},
    {.name = "park",
     .type = BAILEY_OPT_ENUM,
     FIELD(park),
     .initial = "hold",
     .choices = parks,
     .summary =
         "Where a refused message waits: hold keeps it unsettled at its source, store settles it and keeps it on "
         "this machine's disk."},
    {.name = "hold",
     .type = BAILEY_OPT_INT,
     FIELD(hold),
     .initial = "100000",
     .min = 1,
     .max = 10000000,
     .unit = "messages",
     .summary = "From Kafka: most that is received behind a message that is not settled (at least credit.messages). "
                "With an order "
                "and a store on disk, those that must wait lie there, outside of the credit."},
    {0},
};

const struct bailey_option route_options[] = {
    {.name = "name",
     .type = BAILEY_OPT_STRING,
     FIELD(name),
     .flags = BAILEY_OPT_REQUIRED,
     .summary = "Name of the route: in the log, in metrics, and for the brokers."},
    {.name = "lanes",
     .type = BAILEY_OPT_INT,
     FIELD(lanes),
     .initial = "1",
     .min = 1,
     .max = CONFIG_LANES_MAX,
     .unit = "lanes",
     .summary = "Parallel shares of the route: members of a Kafka group, competing AMQP consumers."},
    {.name = "credit",
     .type = BAILEY_OPT_GROUP,
     .children = credit_options,
     .summary = "How much a lane holds in memory at most."},
    {.name = "key",
     .type = BAILEY_OPT_TEMPLATE,
     FIELD(key),
     .initial_text = "the message's own",
     .summary = "Sets the key of each message."},
    {.name = "dedup",
     .type = BAILEY_OPT_GROUP,
     .children = dedup_options,
     .summary = "Deliver a message once: a second one with the same id is settled, not sent."},
    {.name = "order",
     .type = BAILEY_OPT_ENUM,
     FIELD(order),
     .initial = "none",
     .choices = orders,
     .summary = "What must not overtake a refused message: nothing, messages of its key, of its partition, or all of "
                "its lane."},
    {.name = "delay",
     .type = BAILEY_OPT_TEMPLATE,
     FIELD(delay),
     .initial_text = "none",
     .summary = "Deliver a message so much later, such as ${header.x-delay:-0}ms."},
    {.name = "deliver_at",
     .type = BAILEY_OPT_TEMPLATE,
     FIELD(deliver_at),
     .initial_text = "at once",
     .summary = "Deliver a message at that moment: ms since 1970, or RFC 3339; such as ${header.deliver-at:-0}."},
    {.name = "delay_native",
     .type = BAILEY_OPT_BOOL,
     FIELD(delay_native),
     .initial = "false",
     .summary = "Let the sink's broker hold delayed messages, if it can, instead of this machine's disk."},
    {.name = "retry",
     .type = BAILEY_OPT_GROUP,
     .children = retry_options,
     .summary = "What becomes of a message that the sink refuses for a reason that may pass."},
    {.name = "expire",
     .type = BAILEY_OPT_ENUM,
     FIELD(expire),
     .initial = "dead-letter",
     .choices = expiries,
     .summary = "What becomes of a message that is past its expiry before it could be sent."},
    {.name = "unroutable",
     .type = BAILEY_OPT_ENUM,
     FIELD(unroutable),
     .initial = "dead-letter",
     .choices = unroutables,
     .summary =
         "What becomes of a message that nobody at the sink takes (AMQP: no queue is bound for it); accept drops it."},
    {.name = "max_hops",
     .type = BAILEY_OPT_INT,
     FIELD(max_hops),
     .initial = "8",
     .min = 0,
     .max = 254,
     .unit = "gateways",
     .summary = "A message that has passed more gateways goes in a circle: it is hopeless. 0: no limit."},
    {0},
};
