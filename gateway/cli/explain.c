/* cli/explain.c: `bailey explain FILE`: what each route guarantees, computed from its settings (explain_facts.h), as text or
 * JSON. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/explain_facts.h"

/* No line is longer than `columns` (0: any length); all but the first begin with `indent` spaces. */
static void add_wrapped(struct text *out, const char *text, int indent, size_t columns)
{
    size_t column = 0;

    for (;;) {
        size_t word = strcspn(text, " ");

        text_add_len(out, text, word);
        column += word;
        text += word;
        if (*text == '\0')
            return;
        text++;
        if (columns > 0 && column + 1 + strcspn(text, " ") > columns) {
            text_printf(out, "\n%*s", indent, "");
            column = (size_t)indent;
        } else {
            text_add(out, " ");
            column++;
        }
    }
}

static void add_fact(struct text *out, const struct fact *fact, size_t columns)
{
    struct text line = {0};

    text_printf(&line, "  %s: %s", fact->topic, fact->says.data);
    text_printf(&line, fact->settings[0] == '\0' ? "." : ". [%s]", fact->settings);
    add_wrapped(out, line.data, 4, columns);
    text_add(out, "\n");
    text_free(&line);
}

static void add_text(struct text *out, const struct explanation *ex)
{
    const struct config_route *route = ex->route;

    text_printf(out, "route %s: from %s (%s) to %s (%s), %" PRId64 " lane%s\n", route->name, route->from.broker->name,
                route->from.broker->connector->name, route->to.broker->name, route->to.broker->connector->name,
                route->lanes, route->lanes == 1 ? "" : "s");
    for (size_t i = 0; i < ex->count; i++)
        add_fact(out, &ex->facts[i], cli_columns());
}

static void add_string(struct text *out, const char *name, const char *value)
{
    text_printf(out, "\"%s\":", name);
    text_add_json(out, value, strlen(value));
}

static void add_end(struct text *out, const char *name, const struct config_end *end)
{
    text_printf(out, ",\"%s\":{", name);
    add_string(out, "broker", end->broker->name);
    text_add(out, ",");
    add_string(out, "connector", end->broker->connector->name);
    text_add(out, "}");
}

static void add_dedup(struct text *out, const struct explanation *ex)
{
    if (ex->scope == NULL) {
        text_add(out, ",\"dedup\":null");
        return;
    }
    text_add(out, ",\"dedup\":{");
    add_string(out, "scope", ex->scope->name);
    text_printf(out, ",\"window_ms\":%" PRId64 ",\"max\":%" PRId64 ",\"durable\":%s,\"sync_ms\":", ex->scope->window_ms,
                ex->scope->max, explain_is_durable(ex) ? "true" : "false");
    if (ex->config->state.sync_ms == CONFIG_SYNC_NONE)
        text_add(out, "null");
    else
        text_printf(out, "%" PRId64, ex->config->state.sync_ms);
    text_printf(out, ",\"on_store_failure\":\"%s\"}", ex->route->dedup->pass_on_failure ? "pass" : "stop");
}

static void add_refused(struct text *out, const struct explanation *ex)
{
    static const char *const orders[] = {"none", "key", "partition", "strict"};
    static const char *const unroutables[] = {"dead-letter", "retry", "accept"};
    const struct config_route *route = ex->route;
    const struct config_retry *retry = &route->retry;

    text_printf(out,
                ",\"order\":\"%s\",\"retry\":{\"attempts\":%" PRId64 ",\"min_ms\":%" PRId64 ",\"max_ms\":%" PRId64
                ",\"park\":\"%s\",\"hold\":%" PRId64 "},\"unroutable\":\"%s\",\"expire\":\"%s\",\"max_hops\":%" PRId64
                ",\"keeps_messages\":%s,\"spills\":%s",
                orders[route->order], retry->attempts, retry->min_ms, retry->max_ms,
                retry->parks_in_store ? "store" : "hold", retry->hold, unroutables[route->unroutable],
                route->expire == CONFIG_EXPIRE_DROP ? "drop" : "dead-letter", route->max_hops,
                route->keeps_messages ? "true" : "false", route->spills ? "true" : "false");
    if (route->dead_letter == NULL)
        text_add(out, ",\"dead_letter\":null");
    else
        add_end(out, "dead_letter", route->dead_letter);
}

static void add_json(struct text *out, const struct explanation *ex)
{
    text_add(out, "{");
    add_string(out, "name", ex->route->name);
    add_end(out, "from", &ex->route->from);
    add_end(out, "to", &ex->route->to);
    text_printf(out,
                ",\"lanes\":%" PRId64
                ",\"guarantee\":\"at-least-once\",\"deduplicated\":%s,\"duplicates_at_crash\":%" PRId64
                ",\"commit_interval_ms\":",
                ex->route->lanes, ex->scope == NULL ? "false" : "true", ex->credit_messages);
    if (ex->commit_ms < 0)
        text_add(out, "null");
    else
        text_printf(out, "%" PRId64, ex->commit_ms);
    text_add(out, ",\"unconfirmed_at_most\":");
    text_printf(out, "%" PRId64, ex->unconfirmed < 0 ? ex->credit_messages : ex->unconfirmed);
    text_printf(out, ",\"memory_bytes\":%" PRId64 ",\"on_disk\":[", ex->credit_bytes + explain_filter_bytes(ex));
    if (explain_has_disk(ex))
        text_add_json(out, ex->config->state.path, strlen(ex->config->state.path));
    text_add(out, "]");
    add_dedup(out, ex);
    add_refused(out, ex);
    text_add(out, ",\"facts\":[");
    for (size_t i = 0; i < ex->count; i++) {
        text_add(out, i == 0 ? "{" : ",{");
        add_string(out, "topic", ex->facts[i].topic);
        text_add(out, ",");
        add_string(out, "text", ex->facts[i].says.data);
        text_add(out, ",");
        add_string(out, "settings", ex->facts[i].settings);
        text_add(out, "}");
    }
    text_add(out, "]}");
}

static int run(const struct command *command, int argc, char **argv)
{
    bool json = false;
    const struct cli_flag flags[] = {{.name = "--json", .set = &json}, {0}};
    struct text out = {0};
    const char *path;
    int parsed = cli_parse(command, argc, argv, flags, 1, 1, &path);

    if (parsed != CLI_GO)
        return parsed;
    struct config *config = cli_load(path);
    if (config == NULL)
        return CLI_USAGE;
    if (json) {
        text_printf(&out, "{\"version\":%d,", CLI_JSON_VERSION);
        add_string(&out, "file", path);
        text_add(&out, ",");
        add_string(&out, "instance", config->instance);
        text_add(&out, ",\"routes\":[");
    }
    for (size_t i = 0; i < config->route_count; i++) {
        struct explanation ex;
        explain_route(&ex, config, &config->routes[i]);
        text_add(&out, i == 0 ? "" : json ? "," : "\n");
        (json ? add_json : add_text)(&out, &ex);
        explain_free(&ex);
    }
    if (json)
        text_add(&out, "]}\n");
    config_free(config);
    return cli_print(&out);
}

const struct command explain_command = {
    .name = "explain",
    .usage = "FILE [--json]",
    .summary = "Say what each route guarantees, and which setting decides it.",
    .help = "For each route: the guarantee, the order, how many duplicates a crash can cause, what is kept where. The "
            "settings\n"
            "that decide it stand in brackets. Nothing is connected to.\n\n"
            "  --json     the same as JSON\n",
    .run = run,
};
