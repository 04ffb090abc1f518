/* The sentences of `bailey explain`. */
#include "cli/explain_facts.h"

#include <inttypes.h>
#include <string.h>

#include "config/units.h"

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

bool explain_is_durable(const struct explanation *ex)
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

/* Who shares a queue, be it with the consumer that died before him, gets what lies behind the messages that come back from that one. */
static void say_other_consumers(struct text *says, const struct config_route *route)
{
    const struct bailey_connector *connector = route->from.broker->connector;
    struct bailey_error err = {0};

    if (connector->keeps_order == NULL || connector->keeps_order(route->from.broker->settings, route->from.settings,
                                                                 BAILEY_SOURCE, BAILEY_ORDER_STRICT, 1, &err))
        return;
    text_printf(says, "; %s, also when what was unsettled comes back after a crash or a lost connection (%.*s)",
                err.text, (int)strcspn(err.hint, "."), err.hint);
}

static void say_order(struct explanation *ex)
{
    static const char *const what[] = {
        [BAILEY_ORDER_NONE] = "",
        [BAILEY_ORDER_KEY] =
            "messages with one key stay in their order, over refusals, retries and lost connections: those "
            "behind a refused one wait for it, other keys go on (messages without a key have no order)",
        [BAILEY_ORDER_PARTITION] =
            "messages of one partition of the source stay in their order: those behind a refused "
            "one wait for it, other partitions go on",
        [BAILEY_ORDER_STRICT] = "all messages of a lane stay in their order: all wait for a refused one",
    };
    struct text *says =
        say(ex, "order", ex->route->order == BAILEY_ORDER_NONE ? "order, lanes, from" : "order, lanes, to");

    if (ex->route->order == BAILEY_ORDER_NONE)
        text_add(says, "while nothing is refused, messages arrive in the order in which the source gave them (of a "
                       "partition or queue)");
    else
        text_add(says, what[ex->route->order]);
    if (ex->route->lanes > 1)
        text_printf(says, "; the %" PRId64 " lanes share the work, and between them there is no order",
                    ex->route->lanes);
    if (ex->route->order == BAILEY_ORDER_NONE) {
        text_add(says,
                 "; a message that the sink refused is sent again after its back-off, and is overtaken by what came "
                 "after it");
        say_other_consumers(says, ex->route);
    } else {
        text_add(says, "; one of them is under way at a time");
    }
}

static void say_plain_duplicates(struct explanation *ex)
{
    static const char *const settings[2][2] = {
        {"credit.messages, lanes", "credit.messages, lanes, to.max_unconfirmed"},
        {"credit.messages, lanes, from.commit_interval, retry.hold",
         "credit.messages, lanes, from.commit_interval, retry.hold, to.max_unconfirmed"},
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
        if (ex->route->retry.hold > 0)
            text_printf(says, ": %" PRId64 " at most, in each lane", ex->route->retry.hold);
    }
    if (ex->route->keeps_messages)
        text_add(says,
                 "; what had waited on this machine's disk is repeated, too, if it was sent and its removal was not "
                 "written (at a power cut: synced)");
    text_add(says, "; a lost connection to the sink repeats those that were sent and not confirmed");
    if (ex->unconfirmed >= 0)
        text_printf(says, " (at most %" PRId64 ")", ex->unconfirmed);
    text_add(says, ", each marked by the header bailey-possible-duplicate");
}

static void say_in_doubt(struct explanation *ex)
{
    struct text *says = say(ex, "duplicates", "credit.messages, lanes, dedup, state.store");

    if (!explain_is_durable(ex)) {
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

    if (ex->scope == NULL || !explain_is_durable(ex))
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
    if (ex->route->keeps_messages)
        text_add(says, "; a message that waits on disk is known by its id until it is sent, however long: a later copy "
                       "takes its place");
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

static void say_refused(struct explanation *ex)
{
    const struct config_retry *retry = &ex->route->retry;
    struct text *says =
        say(ex, "refused messages", ex->route->spills ? "retry, retry.hold, credit, state.path" : "retry");

    text_add(says, "are sent again, alone, after ");
    units_add_duration(says, retry->min_ms);
    text_add(says, " to ");
    units_add_duration(says, retry->max_ms);
    if (retry->attempts > 0)
        text_printf(says, ", and are hopeless when they were refused %" PRId64 " times", retry->attempts);
    else
        text_add(says, ", for ever");
    text_add(says, retry->parks_in_store
                       ? "; meanwhile they lie in the store, and are settled at their source"
                       : "; meanwhile they stay unsettled at their source, and take credit: when they, and what waits "
                         "behind them, fill half of it, the route shows stalled");
    if (ex->route->spills)
        text_printf(says,
                    "; those that wait behind them for their order, and would fill more than a quarter of the credit, "
                    "wait on this machine's disk instead, as copies: up to %" PRId64
                    " messages are received behind one that is not settled",
                    ex->route->retry.hold);
    text_add(says,
             "; while the sink is away or blocked the source is held, and nothing counts as refused; nor does what "
             "the operator must change at a place that all messages go to (a missing topic, a permission)");
}

static void say_hopeless(struct explanation *ex)
{
    static const char *const unroutable[] = {
        [CONFIG_UNROUTABLE_DEAD_LETTER] = "what nobody at the sink takes (no queue is bound for it) is hopeless, too",
        [CONFIG_UNROUTABLE_RETRY] =
            "what nobody at the sink takes (no queue is bound for it) is tried again like what is refused",
        [CONFIG_UNROUTABLE_ACCEPT] = "what nobody at the sink takes (no queue is bound for it) is dropped and counted",
    };
    const struct config_end *dead = ex->route->dead_letter;
    struct text *says = say(ex, "hopeless messages", "dead_letter, unroutable, expire, max_hops");

    text_add(says, "what is refused for good (too large, an illegal property, a template that it cannot fill) is "
                   "hopeless at once: ");
    if (dead != NULL)
        text_printf(says,
                    "it goes to the dead letters (%s), with the reason, and is settled when they have it; if they "
                    "refuse it, the lane receives "
                    "nothing until they take it",
                    dead->broker->name);
    else
        text_add(says, "there are no dead letters, so its lane receives nothing more, and tries it again after the "
                       "longest wait, until it is "
                       "delivered or the route has a dead_letter");
    text_printf(says, "; %s; what is past its expiry before it could be sent is %s", unroutable[ex->route->unroutable],
                ex->route->expire == CONFIG_EXPIRE_DROP ? "dropped and counted" : "hopeless");
    if (ex->route->max_hops > 0)
        text_printf(says, "; what has passed more than %" PRId64 " gateways goes in a circle, and is hopeless",
                    ex->route->max_hops);
}

static void say_delay(struct explanation *ex)
{
    const struct config_delay *delay = &ex->route->delay;

    if (delay->delay == NULL && delay->deliver_at == NULL)
        return;
    text_add(say(ex, "delay", delay->is_native ? "delay, deliver_at, delay_native" : "delay, deliver_at, state.path"),
             delay->is_native ? "messages are sent at once, and the sink's broker holds them until their time"
                              : "messages are settled at their source when they are on this machine's disk, and sent "
                                "when their time has come; after "
                                "a crash those that were due by then are marked as possible duplicates; a message "
                                "whose time cannot be read is "
                                "hopeless");
}

/* What filter.h keeps of as many ids as the scope may have. */
int64_t explain_filter_bytes(const struct explanation *ex)
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
                    (explain_filter_bytes(ex) + 999999) / 1000000,
                    explain_is_durable(ex) ? "" : ", and the ids themselves, some 40 bytes each");
}

bool explain_has_disk(const struct explanation *ex)
{
    return (ex->scope != NULL && explain_is_durable(ex)) || ex->route->keeps_messages || ex->route->spills;
}

static void say_disk(struct explanation *ex)
{
    struct text *says = say(ex, "on this machine's disk",
                            ex->route->keeps_messages ? "state.path, delay, deliver_at, retry.park"
                            : ex->route->spills       ? "state.path, order, retry.hold"
                            : explain_has_disk(ex)    ? "state.path"
                                                      : "");

    if (!explain_has_disk(ex)) {
        text_add(says, "nothing: what is in flight is still at the source's broker, so that losing this machine loses "
                       "no message");
        return;
    }
    text_printf(says, "in %s: ", ex->config->state.path);
    if (ex->route->keeps_messages)
        text_add(
            says,
            "messages that wait for their time; they are settled at their source, and losing this disk loses them");
    if (ex->route->keeps_messages && ex->route->spills)
        text_add(says, "; ");
    if (ex->route->spills)
        text_add(says, "copies of messages that wait behind a refused one: the source still has those");
    if (ex->scope != NULL && (ex->route->keeps_messages || ex->route->spills))
        text_add(says, "; and ");
    if (ex->scope != NULL)
        text_add(says, "ids: losing them loses no message, and repeats without a mark what was in doubt");
}

/* What the connectors say that these settings give away. */
static void say_warnings(struct explanation *ex)
{
    if (ex->route->from.warnings != NULL)
        text_add(say(ex, "warning", "from"), ex->route->from.warnings);
    if (ex->route->to.warnings != NULL)
        text_add(say(ex, "warning", "to"), ex->route->to.warnings);
}

/* How often the credit of a lane may be in flight: a broker that pushes gives it as much, whatever was taken from the store meanwhile. */
static int64_t fillings(const struct config_route *route)
{
    bool is_pushed = (route->from.broker->connector->traits & BAILEY_COMMITS_POSITIONS) == 0;

    return route->keeps_messages && is_pushed ? 2 : 1;
}

void explain_route(struct explanation *ex, const struct config *config, const struct config_route *route)
{
    const struct bailey_option *source = route->from.broker->connector->source->options;
    const struct bailey_option *sink = route->to.broker->connector->sink->options;
    int64_t unconfirmed = number_of(sink, route->to.settings, "max_unconfirmed", -1);

    *ex = (struct explanation){.config = config,
                               .route = route,
                               .scope = route->dedup == NULL ? NULL : &config->scopes[route->dedup->scope],
                               .credit_messages = route->credit_messages * route->lanes * fillings(route),
                               .credit_bytes = route->credit_bytes * route->lanes * fillings(route),
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
    say_delay(ex);
    say_refused(ex);
    say_hopeless(ex);
    say_memory(ex);
    say_disk(ex);
    say_warnings(ex);
}

void explain_free(struct explanation *ex)
{
    for (size_t i = 0; i < ex->count; i++)
        text_free(&ex->facts[i].says);
}
