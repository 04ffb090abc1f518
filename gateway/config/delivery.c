/* config/delivery.c: what a route does with messages that cannot go now, or not at all, and which order it keeps. */
#include <stdlib.h>
#include <string.h>

#include "config/loader.h"
#include "config/tables.h"
#include "config/units.h"

enum { NUMBER_LEN_MAX = 16 };

/* ---- Retry ---- */

/* A decimal number within bounds, with nothing behind it. */
static void read_decimal(struct loader *ld, const struct yaml_node *node, const char *option, const char *text,
                         double min, double max, double *value)
{
    char *end;

    if (text == NULL)
        return;
    *value = strtod(text, &end);
    if (strlen(text) <= NUMBER_LEN_MAX && text[strspn(text, "0123456789.")] == '\0' && end != text && *end == '\0' &&
        *value >= min && *value <= max)
        return;
    findings_error(ld->findings, option_place(node, option), "%s must be a number from %g to %g", option, min, max);
    *value = min;
}

static bool read_duration(const char *text, size_t len, int64_t *ms)
{
    char copy[NUMBER_LEN_MAX + 1];

    if (len == 0 || len > NUMBER_LEN_MAX)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return units_duration(copy, ms) == UNITS_OK && *ms >= 1;
}

static void read_backoff(struct loader *ld, const struct yaml_node *node, const char *text, struct config_retry *retry)
{
    const char *dots = text == NULL ? NULL : strstr(text, "..");

    if (text == NULL)
        return;
    if (dots != NULL && read_duration(text, (size_t)(dots - text), &retry->min_ms) &&
        read_duration(dots + 2, strlen(dots + 2), &retry->max_ms) && retry->min_ms <= retry->max_ms &&
        retry->max_ms <= INT64_C(7) * 86400000)
        return;
    findings_hint(ld->findings,
                  findings_error(ld->findings, option_place(node, "retry.backoff"),
                                 "retry.backoff must be two durations, the shorter one first, of 7d at most"),
                  "as in backoff: 1s..5m");
    retry->min_ms = retry->max_ms = 1000;
}

static void read_retry(struct loader *ld, const struct yaml_node *node, const struct route_settings *settings,
                       struct config_route *route)
{
    struct config_retry *retry = &route->retry;

    retry->is_given = yaml_child(node, "retry") != NULL;
    retry->attempts = settings->attempts;
    retry->parks_in_store = settings->park == 1;
    retry->hold = settings->hold;
    read_backoff(ld, node, settings->backoff, retry);
    read_decimal(ld, node, "retry.multiplier", settings->multiplier, 1, 10, &retry->multiplier);
    read_decimal(ld, node, "retry.jitter", settings->jitter, 0, 1, &retry->jitter);
    if (retry->parks_in_store && route->order != BAILEY_ORDER_NONE)
        findings_hint(
            ld->findings,
            findings_error(ld->findings, option_place(node, "retry.park"),
                           "a message that is parked in the store is settled at its source: whoever reads there next "
                           "would not wait for it"),
            "with an order, messages wait in their lane: park: hold");
}

/* ---- Order ---- */

static void check_order_at(struct loader *ld, const struct yaml_node *node, const struct config_end *end,
                           enum bailey_role role, const struct config_route *route)
{
    const struct bailey_connector *connector = end->broker == NULL ? NULL : end->broker->connector;
    struct bailey_error err = {0};

    if (connector == NULL || end->settings == NULL || end->broker->settings == NULL || connector->keeps_order == NULL ||
        connector->keeps_order(end->broker->settings, end->settings, role, route->order, (unsigned)route->lanes, &err))
        return;
    findings_hint(ld->findings, findings_error(ld->findings, option_place(node, "order"), "%s", err.text), "%s",
                  err.hint);
}

static void read_order(struct loader *ld, const struct yaml_node *node, const struct route_settings *settings,
                       struct config_route *route)
{
    route->order = (enum bailey_order)settings->order;
    if (route->order == BAILEY_ORDER_NONE)
        return;
    check_order_at(ld, node, &route->from, BAILEY_SOURCE, route);
    check_order_at(ld, node, &route->to, BAILEY_SINK, route);
}

/* ---- Delay ---- */

static void read_delay(struct loader *ld, const struct yaml_node *node, const struct route_settings *settings,
                       struct config_route *route)
{
    const struct bailey_connector *to = route->to.broker == NULL ? NULL : route->to.broker->connector;

    route->delay = (struct config_delay){
        .delay = settings->delay == NULL ? NULL : template_of(settings->delay),
        .deliver_at = settings->deliver_at == NULL ? NULL : template_of(settings->deliver_at),
        .is_native = settings->delay_native,
    };
    if (settings->delay != NULL && settings->deliver_at != NULL)
        findings_error(ld->findings, option_place(node, "deliver_at"),
                       "delay and deliver_at say the same in two ways: give one of them");
    if (settings->delay_native && settings->delay == NULL && settings->deliver_at == NULL)
        findings_error(ld->findings, option_place(node, "delay_native"),
                       "delay_native says how to delay: it needs delay or deliver_at");
    if (settings->delay_native && to != NULL && !(to->traits & BAILEY_DELAYS))
        findings_hint(ld->findings,
                      findings_error(ld->findings, option_place(node, "delay_native"),
                                     "the broker behind the connector %s cannot hold messages", to->name),
                      "without delay_native the state store holds them, for any sink");
}

/* Messages that are settled at their source must lie somewhere else. */
static void check_store(struct loader *ld, const struct yaml_node *node, struct config_route *route)
{
    bool delays = route->delay.delay != NULL || route->delay.deliver_at != NULL;
    const char *option = delays && !route->delay.is_native ? "delay" : "retry.park";

    route->keeps_messages = (delays && !route->delay.is_native) || route->retry.parks_in_store;
    if (!route->keeps_messages || ld->config->state.store == CONFIG_STATE_ROCKSDB)
        return;
    if (route->delay.deliver_at != NULL && delays)
        option = "deliver_at";
    findings_hint(ld->findings,
                  findings_error(ld->findings, option_place(node, option),
                                 "messages that wait are settled at their source, and need a store on disk"),
                  "as in state: { store: rocksdb, path: ./state } at the top of the file");
}

/* Where the source has no limit to what is unsettled behind an older message: how much that may be, and may it wait on disk? */
static void read_hold(struct loader *ld, struct config_route *route)
{
    const struct bailey_connector *from = route->from.broker == NULL ? NULL : route->from.broker->connector;

    if (from == NULL || !(from->traits & BAILEY_COMMITS_POSITIONS)) {
        route->retry.hold = 0;
        return;
    }
    if (route->retry.hold < route->credit_messages)
        route->retry.hold = route->credit_messages;
    route->spills = (route->order == BAILEY_ORDER_KEY || route->order == BAILEY_ORDER_PARTITION) &&
                    ld->config->state.store == CONFIG_STATE_ROCKSDB && route->retry.hold > route->credit_messages;
}

void loader_read_delivery(struct loader *ld, const struct yaml_node *node, const struct route_settings *settings,
                          struct config_route *route)
{
    route->expire = (enum config_expire)settings->expire;
    route->unroutable = (enum config_unroutable)settings->unroutable;
    route->max_hops = settings->max_hops;
    read_order(ld, node, settings, route);
    read_retry(ld, node, settings, route);
    read_delay(ld, node, settings, route);
    check_store(ld, node, route);
    read_hold(ld, route);
}
