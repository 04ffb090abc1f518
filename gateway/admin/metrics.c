/* The page /metrics.
 *
 * The format wants all lines of a metric together, under one HELP and TYPE: so each metric walks all routes. Metrics that
 * only have the label `route` come from core/metrics.def; the others, and those of brokers and the process, are below.
 */
#include "admin/metrics.h"

#include <inttypes.h>
#include <string.h>

static const char COUNTER[] = "counter", GAUGE[] = "gauge", HISTOGRAM[] = "histogram";

/* HELP escapes backslash and line feed; a label's value also the quote. What is not UTF-8 is replaced: one such byte
 * would make a scraper refuse the whole page. */
static void add_escaped(struct text *out, const char *str, bool quotes)
{
    size_t left = strlen(str), len;

    for (; left > 0; str += len, left -= len) {
        len = text_utf8(str, left);
        if (len == 0)
            text_add(out, "\xef\xbf\xbd");
        else if (*str == '\n')
            text_add(out, "\\n");
        else if (*str == '\\' || (quotes && *str == '"'))
            text_printf(out, "\\%c", *str);
        else
            text_add_len(out, str, len);
        len += len == 0;
    }
}

static void add_head(struct text *out, const char *name, const char *type, const char *help)
{
    text_printf(out, "# HELP %s ", name);
    add_escaped(out, help, false);
    text_printf(out, "\n# TYPE %s %s\n", name, type);
}

/* `name{label="value"`: more labels may follow before the brace is closed. */
static void open_labels(struct text *out, const char *name, const char *label, const char *value)
{
    text_printf(out, "%s{%s=\"", name, label);
    add_escaped(out, value, true);
    text_add(out, "\"");
}

static void add_route_value(struct text *out, const char *name, const struct route_status *route, int64_t value)
{
    open_labels(out, name, "route", route->name);
    text_printf(out, "} %" PRId64 "\n", value);
}

static void add_plain_metrics(struct text *out, const struct snapshot *snapshot)
{
#define METRIC(field, type, name, help)                \
    add_head(out, name, type, help);                   \
    for (size_t i = 0; i < snapshot->route_count; i++) \
        add_route_value(out, name, &snapshot->routes[i], snapshot->routes[i].field);
#include "core/metrics.def"
#undef METRIC
}

static void add_refused(struct text *out, const struct snapshot *snapshot)
{
    static const char name[] = "bailey_messages_refused_total";

    add_head(out, name, COUNTER, "Messages that the sink refused, by class of the error.");
    for (size_t i = 0; i < snapshot->route_count; i++) {
        for (int kind = BAILEY_ERR_TRANSIENT; kind <= BAILEY_ERR_CONFIG; kind++) {
            open_labels(out, name, "route", snapshot->routes[i].name);
            text_printf(out, ",class=\"%s\"} %" PRId64 "\n", bailey_error_kind_name((enum bailey_error_kind)kind),
                        snapshot->routes[i].refused[kind]);
        }
    }
}

static void add_states(struct text *out, const struct snapshot *snapshot)
{
    static const char name[] = "bailey_route_state";

    add_head(out, name, GAUGE, "1 for the state that the route is in, 0 for the others.");
    for (size_t i = 0; i < snapshot->route_count; i++) {
        for (int state = 0; state < LANE_STATES; state++) {
            open_labels(out, name, "route", snapshot->routes[i].name);
            text_printf(out, ",state=\"%s\"} %d\n", lane_state_names[state], (int)snapshot->routes[i].state == state);
        }
    }
}

/* Milliseconds as seconds: 2500 → "2.5", 60000 → "60". */
static void add_seconds(struct text *out, int64_t ms)
{
    text_printf(out, "%" PRId64, ms / 1000);
    if (ms % 1000 == 0)
        return;
    text_printf(out, ".%03d", (int)(ms % 1000));
    while (out->data[out->len - 1] == '0')
        out->data[--out->len] = '\0';
}

static void add_buckets(struct text *out, const char *name, const struct route_status *route)
{
    int64_t count = 0;

    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        count += route->latency_count[i];
        open_labels(out, name, "route", route->name);
        text_add(out, ",le=\"");
        if (i < LATENCY_BUCKETS - 1)
            add_seconds(out, latency_bounds_ms[i]);
        else
            text_add(out, "+Inf");
        text_printf(out, "\"} %" PRId64 "\n", count);
    }
    open_labels(out, "bailey_delivery_seconds_sum", "route", route->name);
    text_add(out, "} ");
    add_seconds(out, route->latency_sum_ms);
    text_add(out, "\n");
    add_route_value(out, "bailey_delivery_seconds_count", route, count);
}

static void add_histogram(struct text *out, const struct snapshot *snapshot)
{
    add_head(out, "bailey_delivery_seconds", HISTOGRAM, "Time from receiving a message to the sink's confirm.");
    for (size_t i = 0; i < snapshot->route_count; i++)
        add_buckets(out, "bailey_delivery_seconds_bucket", &snapshot->routes[i]);
}

static void add_brokers(struct text *out, const struct snapshot *snapshot)
{
    add_head(out, "bailey_connection_up", GAUGE, "1 if every connection to the broker that there should be is up.");
    for (size_t i = 0; i < snapshot->broker_count; i++) {
        const struct connection_status *broker = &snapshot->brokers[i];

        open_labels(out, "bailey_connection_up", "broker", broker->broker);
        text_printf(out, "} %d\n", broker->expected > 0 && broker->up >= broker->expected);
    }
    add_head(out, "bailey_connections", GAUGE, "Connections to the broker that are up.");
    for (size_t i = 0; i < snapshot->broker_count; i++) {
        open_labels(out, "bailey_connections", "broker", snapshot->brokers[i].broker);
        text_printf(out, "} %" PRId64 "\n", snapshot->brokers[i].up);
    }
}

static void add_process(struct text *out, const struct snapshot *snapshot)
{
    add_head(out, "bailey_build_info", GAUGE, "Always 1; the label says which version runs.");
    open_labels(out, "bailey_build_info", "version", snapshot->version);
    text_add(out, "} 1\n");
    add_head(out, "process_cpu_seconds_total", COUNTER, "User and system CPU time of the process, in seconds.");
    text_printf(out, "process_cpu_seconds_total %" PRId64 ".%06d\n", snapshot->cpu_us / 1000000,
                (int)(snapshot->cpu_us % 1000000));
    if (snapshot->resident_bytes >= 0) {
        add_head(out, "process_resident_memory_bytes", GAUGE, "Resident memory of the process, in bytes.");
        text_printf(out, "process_resident_memory_bytes %" PRId64 "\n", snapshot->resident_bytes);
    }
    if (snapshot->open_fds >= 0) {
        add_head(out, "process_open_fds", GAUGE, "Open file descriptors of the process.");
        text_printf(out, "process_open_fds %" PRId64 "\n", snapshot->open_fds);
    }
}

void metrics_render(struct text *out, const struct snapshot *snapshot)
{
    add_plain_metrics(out, snapshot);
    add_refused(out, snapshot);
    add_states(out, snapshot);
    add_histogram(out, snapshot);
    add_brokers(out, snapshot);
    add_process(out, snapshot);
}
