/* The page /metrics.
 *
 * The format wants all lines of a metric together, under one HELP and TYPE: so each metric walks all routes. Metrics
 * that only have the label `route` come from core/metrics.def, the others from admin/metrics.def, with functions below.
 */
#include "admin/metrics.h"

#include <inttypes.h>
#include <string.h>

static const char COUNTER[] = "counter", GAUGE[] = "gauge", HISTOGRAM[] = "histogram";

enum labelled {
#define LABELLED(id, type, name, labels, help) id,
#include "admin/metrics.def"
#undef LABELLED
};

static const struct {
    const char *name, *type, *help;
} labelled[] = {
#define LABELLED(id, type, name, labels, help) [id] = {name, type, help},
#include "admin/metrics.def"
#undef LABELLED
};

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

/* The head of a metric of admin/metrics.def. Returns its name. */
static const char *begin(struct text *out, enum labelled id)
{
    add_head(out, labelled[id].name, labelled[id].type, labelled[id].help);
    return labelled[id].name;
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
    const char *name = begin(out, REFUSED);

    for (size_t i = 0; i < snapshot->route_count; i++) {
        for (int kind = BAILEY_ERR_TRANSIENT; kind < BAILEY_ERR_KINDS; kind++) {
            open_labels(out, name, "route", snapshot->routes[i].name);
            text_printf(out, ",class=\"%s\"} %" PRId64 "\n", bailey_error_kind_name((enum bailey_error_kind)kind),
                        snapshot->routes[i].refused[kind]);
        }
    }
}

static void add_states(struct text *out, const struct snapshot *snapshot)
{
    const char *name = begin(out, STATE);

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

/* The buckets of a route count up: each holds those before it. */
static void add_buckets(struct text *out, const struct route_status *route)
{
    int64_t count = 0;

    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        count += route->latency_count[i];
        open_labels(out, "bailey_delivery_seconds_bucket", "route", route->name);
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
    begin(out, DELIVERY);
    for (size_t i = 0; i < snapshot->route_count; i++)
        add_buckets(out, &snapshot->routes[i]);
}

static void add_broker_value(struct text *out, const char *name, const struct connection_status *broker, int64_t value)
{
    open_labels(out, name, "broker", broker->broker);
    text_printf(out, "} %" PRId64 "\n", value);
}

static void add_brokers(struct text *out, const struct snapshot *snapshot)
{
    const struct connection_status *broker = snapshot->brokers, *end = broker + snapshot->broker_count;
    const char *name = begin(out, CONNECTION_UP);

    for (; broker < end; broker++)
        add_broker_value(out, name, broker, broker->expected > 0 && broker->up >= broker->expected);
    name = begin(out, CONNECTIONS);
    for (broker = snapshot->brokers; broker < end; broker++)
        add_broker_value(out, name, broker, broker->up);
}

static void add_process(struct text *out, const struct snapshot *snapshot)
{
    const char *name = begin(out, BUILD);

    open_labels(out, name, "version", snapshot->version);
    text_add(out, "} 1\n");
    name = begin(out, CPU);
    text_printf(out, "%s %" PRId64 ".%06d\n", name, snapshot->cpu_us / 1000000, (int)(snapshot->cpu_us % 1000000));
    if (snapshot->resident_bytes >= 0) {
        name = begin(out, RESIDENT);
        text_printf(out, "%s %" PRId64 "\n", name, snapshot->resident_bytes);
    }
    if (snapshot->open_fds >= 0) {
        name = begin(out, FDS);
        text_printf(out, "%s %" PRId64 "\n", name, snapshot->open_fds);
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
