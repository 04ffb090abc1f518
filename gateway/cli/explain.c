/* cli/explain.c: `bailey explain FILE`: what each route guarantees, computed from its settings, and which setting
 * decides it.
 *
 * Nothing here is a promise of its own: each sentence says what core/ does today. Whoever changes the core changes
 * these words.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/units.h"

struct fact {
    const char *topic;
    struct text says;
    const char *settings; /* what decides it, or "" */
};

enum { FACTS = 16 };

struct explanation {
    const struct config *config;
    const struct config_route *route;
    const struct config_scope *scope;      /* NULL: no deduplication */
    int64_t credit_messages, credit_bytes; /* of all lanes */
    int64_t commit_ms;                     /* how seldom the source's broker is told; -1: at once */
    int64_t unconfirmed; /* most that are sent and not confirmed, of all lanes; -1: no limit but credit */
    struct fact facts[FACTS];
    size_t count;
};

/* The value of a numeric option that an end may have; `none` if it has no such option. */
static int64_t number_of(const struct bailey_option *option, const void *settings, const char *name, int64_t none)
{
    for (; option != NULL && option->name != NULL; option++)
        if (strcmp(option->name, name) == 0 && (option->type == BAILEY_OPT_DURATION || option->type == BAILEY_OPT_INT))
            return *(const int64_t *)((const char *)settings + option->offset);
    return none;
}

static struct text *say(struct explanation *ex, const char *topic, const char *settings)
{
    struct fact *fact = &ex->facts[ex->count++];

    *fact = (struct fact){.topic = topic, .settings = settings};
    return &fact->says;
}

static bool is_durable(const struct explanation *ex)
{
    return ex->config->state.store == CONFIG_STATE_ROCKSDB;
}

static void say_guarantee(struct explanation *ex)
{
    if (ex->scope == NULL)
        text_add(say(ex, "guarantee", ""), "at-least-once: the source is told that a message is done only after the "
                                           "sink's broker confirmed it; there is no deduplication and no transaction");
    else
        text_add(say(ex, "guarantee", "dedup"),
                 "at-least-once, and once for each id that is recorded: the source is told that a message is done only "
                 "after the sink's broker confirmed it and its id was recorded; what comes later with a recorded id is "
                 "settled, not sent; there is no transaction");
}

static void say_order(struct explanation *ex)
{
    struct text *says = say(ex, "order", "lanes");

    text_add(says, "while nothing is refused, messages arrive in the order in which the source gave them (of a "
                   "partition or queue)");
    if (ex->route->lanes > 1)
        text_printf(says, "; the %" PRId64 " lanes share the work, and between them there is no order",
                    ex->route->lanes);
    text_add(
        says,
        "; a message that the sink refused is sent again after its back-off, and is overtaken by what came after it");
}

static void say_plain_duplicates(struct explanation *ex)
{
    static const char *const settings[2][2] = {
        {"credit.messages, lanes", "credit.messages, lanes, to.max_unconfirmed"},
        {"credit.messages, lanes, from.commit_interval",
         "credit.messages, lanes, from.commit_interval, to.max_unconfirmed"},
    };
    struct text *says = say(ex, "duplicates", settings[ex->commit_ms >= 0][ex->unconfirmed >= 0]);

    text_printf(says,
                "a crash of this process repeats at most the messages that were received and not settled: %" PRId64,
                ex->credit_messages);
    if (ex->commit_ms >= 0) {
        text_add(says, ", and those that were confirmed in the ");
        units_add_duration(says, ex->commit_ms);
        text_add(says, " since the last commit; while a refused message waits, the offset of its partition waits with "
                       "it, and a crash repeats all that were confirmed behind it as well");
    }
    text_add(says, "; a lost connection to the sink repeats those that were sent and not confirmed");
    if (ex->unconfirmed >= 0)
        text_printf(says, " (at most %" PRId64 ")", ex->unconfirmed);
    text_add(says, ", each marked by the header bailey-possible-duplicate");
}

static void say_in_doubt(struct explanation *ex)
{
    struct text *says = say(ex, "duplicates", "credit.messages, lanes, dedup, state.store");

    if (!is_durable(ex)) {
        text_printf(says,
                    "a crash of this process forgets all ids and repeats, without a mark, at most what the source was "
                    "not told yet: %" PRId64 " messages",
                    ex->credit_messages);
        if (ex->commit_ms >= 0) {
            text_add(says, " and those that were confirmed in the ");
            units_add_duration(says, ex->commit_ms);
            text_add(says, " since the last commit");
        }
    } else {
        text_printf(says,
                    "a crash of this process repeats at most what was sent and not recorded: %" PRId64
                    " messages; each was written down before it was sent, and its repetition carries the header "
                    "bailey-possible-duplicate",
                    ex->credit_messages);
    }
    text_add(says, "; a lost connection to the sink repeats those that were sent and not confirmed");
    if (ex->unconfirmed >= 0)
        text_printf(says, " (at most %" PRId64 ")", ex->unconfirmed);
    text_add(says, ", each marked; a repetition can only be told by who reads it, by its id, unless the sink's broker "
                   "knows ids itself (Artemis)");
}

static void say_duplicates(struct explanation *ex)
{
    if (ex->scope == NULL)
        say_plain_duplicates(ex);
    else
        say_in_doubt(ex);
}

static void say_power_cut(struct explanation *ex)
{
    const struct config_state *state = &ex->config->state;

    if (ex->scope == NULL || !is_durable(ex))
        return;
    struct text *says = say(ex, "power cut", "state.sync");
    if (state->sync_ms == CONFIG_SYNC_BATCH) {
        text_add(says, "the same as a crash: what is recorded, and what is about to be sent, is on the disk first");
        return;
    }
    text_add(says, "repeats also, and without a mark, what was recorded or begun in the ");
    if (state->sync_ms == CONFIG_SYNC_NONE) {
        text_add(says, "time that the system keeps writes in memory (half a minute, as a rule)");
    } else {
        units_add_duration(says, state->sync_ms);
        text_add(says, " before it");
    }
    text_add(says, "; a crash of the process alone does not");
}

static void say_ids(struct explanation *ex)
{
    if (ex->scope == NULL)
        return;
    struct text *says = say(ex, "ids", "dedup.id, dedup.window, dedup.max, dedup.scope");
    text_add(says, "are remembered for ");
    units_add_duration(says, ex->scope->window_ms);
    text_printf(says,
                " of this machine's running time, and at most the newest %" PRId64
                "; whose id comes again later is delivered again; a message that cannot fill the id is refused",
                ex->scope->max);
    if (ex->config->state.processes == CONFIG_PROCESSES_ONE)
        return;
    text_add(says,
             "; another process that shares the source has ids of its own: a copy of what it delivered is "
             "delivered here, and what it left in doubt is marked only where a Kafka partition is taken over from it: "
             "the first messages behind its last commit, as many as the credit (not those that it had settled and sent "
             "beyond that)");
}

static void say_store_failure(struct explanation *ex)
{
    if (ex->scope == NULL)
        return;
    text_add(say(ex, "store failure", "dedup.on_store_failure"),
             ex->route->dedup->pass_on_failure
                 ? "messages are delivered and marked as possible duplicates, and their ids are not remembered; a "
                   "store that hangs without an error holds them all the same"
                 : "the source is held, with the reason, until the store works again; nothing is lost or repeated");
}

static void say_failures(struct explanation *ex)
{
    text_add(say(ex, "refused messages", ""), "are sent again for ever, after 1s to 1m, and keep their place "
                                              "unsettled; while the sink is away the source is held, "
                                              "and nothing counts as refused");
}

/* What filter.h keeps of as many ids as the scope may have. */
static int64_t filter_bytes(const struct explanation *ex)
{
    return ex->scope == NULL ? 0 : ex->scope->max * 5 / 2;
}

static void say_memory(struct explanation *ex)
{
    struct text *says = say(ex, "memory",
                            ex->scope == NULL ? "credit.bytes, credit.messages, lanes"
                                              : "credit.bytes, credit.messages, lanes, dedup.max, state.store");

    text_add(says, "at most ");
    units_add_size(says, ex->credit_bytes);
    text_printf(says, " or %" PRId64 " messages in flight, beside the buffers of the client libraries",
                ex->credit_messages);
    if (ex->scope != NULL)
        text_printf(says, "; for ids 2 to 3 bytes each (%" PRId64 " MB for all that may be remembered)%s",
                    (filter_bytes(ex) + 999999) / 1000000,
                    is_durable(ex) ? "" : ", and the ids themselves, some 40 bytes each");
}

static bool has_disk(const struct explanation *ex)
{
    return ex->scope != NULL && is_durable(ex);
}

static void say_disk(struct explanation *ex)
{
    struct text *says = say(ex, "on this machine's disk", has_disk(ex) ? "state.path" : "");

    if (has_disk(ex))
        text_printf(says, "ids, in %s: losing them loses no message, and repeats without a mark what was in doubt",
                    ex->config->state.path);
    else
        text_add(says, "nothing: what is in flight is still at the source's broker, so that losing this machine loses "
                       "no message");
}

/* What the connectors say that these settings give away. */
static void say_warnings(struct explanation *ex)
{
    if (ex->route->from.warnings != NULL)
        text_add(say(ex, "warning", "from"), ex->route->from.warnings);
    if (ex->route->to.warnings != NULL)
        text_add(say(ex, "warning", "to"), ex->route->to.warnings);
}

static void explain(struct explanation *ex, const struct config *config, const struct config_route *route)
{
    const struct bailey_option *source = route->from.broker->connector->source->options;
    const struct bailey_option *sink = route->to.broker->connector->sink->options;
    int64_t unconfirmed = number_of(sink, route->to.settings, "max_unconfirmed", -1);

    *ex = (struct explanation){.config = config,
                               .route = route,
                               .scope = route->dedup == NULL ? NULL : &config->scopes[route->dedup->scope],
                               .credit_messages = route->credit_messages * route->lanes,
                               .credit_bytes = route->credit_bytes * route->lanes,
                               .commit_ms = number_of(source, route->from.settings, "commit_interval", -1),
                               .unconfirmed = -1};
    if (unconfirmed > 0)
        ex->unconfirmed = route->lanes * (unconfirmed < route->credit_messages ? unconfirmed : route->credit_messages);
    say_guarantee(ex);
    say_order(ex);
    say_duplicates(ex);
    say_power_cut(ex);
    say_ids(ex);
    say_store_failure(ex);
    say_failures(ex);
    say_memory(ex);
    say_disk(ex);
    say_warnings(ex);
}

static void add_text(struct text *out, const struct explanation *ex)
{
    const struct config_route *route = ex->route;

    text_printf(out, "route %s: from %s (%s) to %s (%s), %" PRId64 " lane%s\n", route->name, route->from.broker->name,
                route->from.broker->connector->name, route->to.broker->name, route->to.broker->connector->name,
                route->lanes, route->lanes == 1 ? "" : "s");
    for (size_t i = 0; i < ex->count; i++) {
        text_printf(out, "  %s: %s", ex->facts[i].topic, ex->facts[i].says.data);
        text_printf(out, ex->facts[i].settings[0] == '\0' ? ".\n" : ". [%s]\n", ex->facts[i].settings);
    }
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
                ex->scope->max, is_durable(ex) ? "true" : "false");
    if (ex->config->state.sync_ms == CONFIG_SYNC_NONE)
        text_add(out, "null");
    else
        text_printf(out, "%" PRId64, ex->config->state.sync_ms);
    text_printf(out, ",\"on_store_failure\":\"%s\"}", ex->route->dedup->pass_on_failure ? "pass" : "stop");
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
    text_printf(out, ",\"memory_bytes\":%" PRId64 ",\"on_disk\":[", ex->credit_bytes + filter_bytes(ex));
    if (has_disk(ex))
        text_add_json(out, ex->config->state.path, strlen(ex->config->state.path));
    text_add(out, "]");
    add_dedup(out, ex);
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

    switch (cli_parse(command, argc, argv, flags, 1, 1, &path)) {
    case CLI_DONE:
        return CLI_OK;
    case CLI_WRONG:
        return CLI_USAGE;
    case CLI_GO:
        break;
    }
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
        explain(&ex, config, &config->routes[i]);
        text_add(&out, i == 0 ? "" : json ? "," : "\n");
        (json ? add_json : add_text)(&out, &ex);
        for (size_t k = 0; k < ex.count; k++)
            text_free(&ex.facts[k].says);
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
