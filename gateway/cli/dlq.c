/* cli/dlq.c: `bailey dlq`: looks into the dead letters of a route, sends them again, removes them.
 *
 * It runs a route of its own, from the place where the dead letters lie (the connector's shelf), beside the gateway, which may run or
 * not. What is confirmed at the sink is written down before it is removed from there, so that a replay which is cut
 * off and begun again sends nothing twice.
 */
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/nearest.h"
#include "cli/letter.h"
#include "config/units.h"
#include "core/replay.h"
#include "host/gateway.h"

enum {
    TICK_MS = 100,
    DRAIN_MS = 10000,
    LIST_LIMIT = 100,
    MAX_REPLAYS = 3,
    PATH_LEN_MAX = 4096,
};

#define REMEMBER_MS \
    (INT64_C(30) * 86400000) /* what was replayed: a replay that is cut off is to be begun again within that time */
#define REMEMBER_MAX INT64_C(10000000)

enum verb { LIST, SHOW, REPLAY, PURGE };

struct dlq {
    const struct command *command;
    enum verb verb;
    const char *route;
    const char *file, *to, *state;
    bool json, dry_run, yes;
    int64_t limit; /* 0: none */
    int64_t rate, max_replays;
    struct letter_filter filter;

    /* What the route's thread finds; read by the main thread when it has ended, but for the counters. */
    struct text out;
    bool is_counting;                  /* a purge that asks looks first */
    _Atomic int64_t seen, meant, worn; /* letters, those that match, and those of them that were replayed too often */

    size_t columns; /* of the terminal; 0: none */
    bool progress;
    int64_t began_ms, shown_ms;
    struct route_status status;
};

/* ---- One letter, on the route's thread ---- */

static bool looks_only(const struct dlq *dlq)
{
    return dlq->verb == LIST || dlq->verb == SHOW || dlq->dry_run || dlq->is_counting;
}

static void show(struct dlq *dlq, const struct bailey_message *letter)
{
    bool first = atomic_load(&dlq->meant) == 1;

    if (dlq->json) {
        text_add(&dlq->out, first ? "" : ",");
        letter_add_json(&dlq->out, letter, dlq->verb == SHOW);
    } else if (dlq->verb == SHOW) {
        text_add(&dlq->out, first ? "" : "\n");
        letter_add_all(&dlq->out, letter);
    } else {
        if (first)
            letter_add_titles(&dlq->out);
        letter_add_row(&dlq->out, letter, dlq->columns);
    }
}

static enum config_pick pick(void *ctx, const struct bailey_message *letter)
{
    struct dlq *dlq = ctx;

    atomic_fetch_add(&dlq->seen, 1);
    if (!letter_matches(&dlq->filter, letter))
        return CONFIG_PICK_LEAVE;
    if (dlq->verb == REPLAY && replay_count(letter) >= dlq->max_replays) {
        atomic_fetch_add(&dlq->worn, 1);
        return CONFIG_PICK_LEAVE;
    }
    if (dlq->limit > 0 && atomic_load(&dlq->meant) == dlq->limit)
        return CONFIG_PICK_STOP;
    atomic_fetch_add(&dlq->meant, 1);
    if (!looks_only(dlq))
        return dlq->verb == PURGE ? CONFIG_PICK_REMOVE : CONFIG_PICK_SEND;
    if (!dlq->is_counting)
        show(dlq, letter);
    return CONFIG_PICK_LEAVE;
}

/* ---- A sink for what sends nothing ---- */

static bool nowhere_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                         struct bailey_error *err)
{
    (void)broker, (void)settings, (void)err;
    *self = port;
    bailey_up(port);
    return true;
}

static size_t nowhere_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    (void)self, (void)batch, (void)count;
    assert(false); /* every letter is left or removed */
    return 0;
}

static void nowhere_close(void *self)
{
    bailey_closed(self);
}

static const struct bailey_sink nowhere = {.open = nowhere_open, .send = nowhere_send, .close = nowhere_close};

/* ---- The configuration: the file's, but for what the command does ---- */

static const struct config_route *find_route(struct dlq *dlq, const struct config *config, const char *name)
{
    const char *names[256], *near;
    size_t count = 0;

    for (size_t i = 0; i < config->route_count; i++) {
        if (strcmp(config->routes[i].name, name) == 0)
            return &config->routes[i];
        if (count < 256)
            names[count++] = config->routes[i].name;
    }
    near = nearest_name(name, names, count);
    cli_wrong(dlq->command, "%s has no route '%.100s'%s%s%s", dlq->file, name, near == NULL ? "" : "; did you mean '",
              near == NULL ? "" : near, near == NULL ? "" : "'?");
    return NULL;
}

static bool make_folder(char *path)
{
    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *at = '/';
        if (!made)
            return false;
    }
    return true;
}

/* Where it is written down what was replayed: beside the state of the gateway, or in the user's. */
static bool place_state(struct dlq *dlq, const struct config *config, char path[static PATH_LEN_MAX])
{
    const char *home = getenv("XDG_STATE_HOME"), *user = getenv("HOME");

    if (dlq->state != NULL)
        snprintf(path, PATH_LEN_MAX, "%s", dlq->state);
    else if (config->state.path != NULL)
        snprintf(path, PATH_LEN_MAX, "%s/replay/%s", config->state.path, dlq->route);
    else if (home != NULL && home[0] == '/')
        snprintf(path, PATH_LEN_MAX, "%s/bailey/replay/%s/%s", home, config->instance, dlq->route);
    else
        snprintf(path, PATH_LEN_MAX, "%s/.local/state/bailey/replay/%s/%s", user == NULL ? "" : user, config->instance,
                 dlq->route);
    if (make_folder(path))
        return true;
    cli_wrong(dlq->command, "cannot make the folder %.300s: %s; say --state FOLDER", path, strerror(errno));
    return false;
}

struct plan {
    struct config config;
    struct config_route route;
    struct config_dedup dedup;
    struct config_scope scope;
    struct config_dead_reader reader;
    char scope_name[160], path[PATH_LEN_MAX];
};

/* Replays are remembered, each dead letter by what names it. */
static void remember(struct plan *plan, const struct config_route *route)
{
    snprintf(plan->scope_name, sizeof plan->scope_name, "replay.%s", route->name);
    plan->scope =
        (struct config_scope){.name = plan->scope_name, .window_ms = REMEMBER_MS, .max = REMEMBER_MAX, .lanes = 1};
    plan->dedup = (struct config_dedup){.id = route->dedup == NULL ? NULL : route->dedup->id};
    plan->route.dedup = &plan->dedup;
    plan->config.scopes = &plan->scope;
    plan->config.scope_count = 1;
    plan->config.state = (struct config_state){.store = CONFIG_STATE_ROCKSDB, .path = plan->path};
}

static bool make_plan(struct dlq *dlq, const struct config *config, const struct config_route *route, struct plan *plan)
{
    const struct config_route *target = dlq->to == NULL ? route : find_route(dlq, config, dlq->to);

    if (target == NULL)
        return false;
    plan->config = *config;
    plan->route = *route;
    plan->reader = (struct config_dead_reader){
        .pick = pick,
        .ctx = dlq,
        .only_looks = looks_only(dlq),
        .rate = dlq->rate,
        .sink = looks_only(dlq) || dlq->verb == PURGE ? &nowhere : NULL,
    };
    plan->route.from = *route->dead_letter;
    plan->route.to = target->to;
    plan->route.lanes = 1;
    plan->route.dedup = NULL;
    plan->route.delay = (struct config_delay){.delay = NULL};
    plan->route.keeps_messages = plan->route.spills = false;
    plan->route.retry.parks_in_store = false;
    plan->route.retry.hold = 0;
    plan->route.max_hops = 0;
    plan->route.order = route->order == BAILEY_ORDER_NONE ? BAILEY_ORDER_KEY : route->order;
    plan->route.dead_reader = &plan->reader;
    plan->config.routes = &plan->route;
    plan->config.route_count = 1;
    plan->config.workers = 1;
    plan->config.scope_count = 0;
    plan->config.state = (struct config_state){.store = CONFIG_STATE_NONE};
    if (plan->reader.sink != NULL) {
        plan->route.dead_letter =
            NULL; /* none can become one again: that end would be opened, and may make its queue */
        return true;
    }
    remember(plan, route);
    return place_state(dlq, config, plan->path);
}

/* ---- Running ---- */

static void show_progress(struct dlq *dlq, bool last)
{
    const struct route_status *status = &dlq->status;
    int64_t done = status->delivered + status->dead_lettered + status->duplicates;
    int64_t ms = cli_now_ms() - dlq->began_ms, meant = atomic_load(&dlq->meant);
    struct text out = {0};

    if (!dlq->progress || looks_only(dlq) || (!last && cli_now_ms() - dlq->shown_ms < TICK_MS))
        return;
    dlq->shown_ms = cli_now_ms();
    if (dlq->verb == PURGE) {
        text_printf(&out, "\r%" PRId64 " removed", atomic_load(&dlq->meant));
    } else {
        enum { BAR = 30 };
        int64_t filled =
            meant > 0 ? done * BAR / meant : 0; /* of those that were found so far: the reader is far ahead */

        text_add(&out, "\r[");
        for (int64_t i = 0; i < BAR; i++)
            text_add(&out, i < filled ? "#" : ".");
        text_printf(&out, "] %" PRId64 " of %" PRId64 " done, %" PRId64 "/s", done, meant,
                    ms > 0 ? done * 1000 / ms : 0);
    }
    if (!last && status->state != LANE_RUNNING && status->state != LANE_DRAINING)
        text_printf(&out, ", %s: %.100s", lane_state_names[status->state], status->reason);
    text_add(&out, "\x1b[K");
    text_add(&out, last ? "\n" : "");
    cli_complain(&out);
}

/* Until all is read and sent; false: it could not begin, is blocked, or was interrupted. */
static bool watch(struct dlq *dlq, struct gateway *gateway, int signals)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = gateway_done_fd(gateway), .events = POLLIN}};

    for (;;) {
        int ready = poll(fds, 2, TICK_MS);

        gateway_status(gateway, 0, &dlq->status);
        show_progress(dlq, false);
        if (ready > 0 && fds[1].revents != 0)
            return true;
        if (dlq->status.state == LANE_BLOCKED ||
            (atomic_load(&dlq->seen) == 0 && cli_start_is_hopeless(&dlq->status, dlq->began_ms)))
            return false;
        if (ready > 0 && fds[0].revents != 0 && cli_signals_first(signals) != 0)
            return false;
    }
}

static bool run_plan(struct dlq *dlq, const struct plan *plan)
{
    struct bailey_error err = {0};
    int signals = cli_signals_open();
    struct gateway *gateway = signals < 0 ? NULL : gateway_start(&plan->config, &err);
    struct text out = {0};

    if (gateway == NULL) {
        text_printf(&out, "bailey dlq: %s\n", err.text);
        if (err.hint[0] != '\0')
            text_printf(&out, "    hint: %s\n", err.hint);
        cli_complain(&out);
        return false;
    }
    dlq->began_ms = cli_now_ms();
    bool finished = watch(dlq, gateway, signals);
    char reason[sizeof dlq->status.reason];

    snprintf(reason, sizeof reason, "%s", dlq->status.reason);
    if (!finished)
        cli_drain(gateway, DRAIN_MS);
    gateway_status(gateway, 0, &dlq->status);
    bool drained = gateway_stop(gateway);
    show_progress(dlq, true);
    if (!finished && reason[0] != '\0')
        text_printf(&out, "bailey dlq: %s\n", reason);
    cli_complain(&out);
    cli_signals_close(signals); /* a question may follow, and Ctrl-C is an answer to it */
    return finished && drained;
}

static bool run_once(struct dlq *dlq, const struct config *config, const struct config_route *route)
{
    struct plan *plan = calloc(1, sizeof *plan);
    bool done = plan != NULL && make_plan(dlq, config, route, plan) && run_plan(dlq, plan);

    free(plan);
    return done;
}

/* ---- The verbs ---- */

static void add_summary(const struct dlq *dlq, struct text *out)
{
    const struct route_status *status = &dlq->status;

    if (dlq->verb == PURGE)
        text_printf(out, "%" PRId64 " removed\n", atomic_load(&dlq->meant) - status->not_removed);
    else
        text_printf(out, "%" PRId64 " replayed, %" PRId64 " had been before, %" PRId64 " are dead letters again\n",
                    status->delivered, status->duplicates, status->dead_lettered);
    if (status->not_removed > 0)
        text_printf(out, "%" PRId64 " may lie there still: %s again removes them%s\n", status->not_removed,
                    dlq->verb == PURGE ? "purge" : "replay", dlq->verb == PURGE ? "" : ", and sends none twice");
    if (atomic_load(&dlq->worn) > 0)
        text_printf(out, "%" PRId64 " left: they were replayed %" PRId64 " times (--max-replays)\n",
                    atomic_load(&dlq->worn), dlq->max_replays);
}

static void add_json_summary(const struct dlq *dlq, struct text *out)
{
    text_printf(out, "{\"version\":%d,\"route\":", CLI_JSON_VERSION);
    text_add_json(out, dlq->route, strlen(dlq->route));
    if (looks_only(dlq)) {
        text_add(out, ",\"letters\":[");
        text_add(out, dlq->out.data == NULL ? "" : dlq->out.data);
        text_printf(out, "],\"read\":%" PRId64 "}\n", atomic_load(&dlq->seen));
    } else if (dlq->verb == PURGE) {
        text_printf(out, ",\"removed\":%" PRId64 ",\"not_removed\":%" PRId64 "}\n",
                    atomic_load(&dlq->meant) - dlq->status.not_removed, dlq->status.not_removed);
    } else {
        text_printf(out,
                    ",\"replayed\":%" PRId64 ",\"replayed_before\":%" PRId64 ",\"dead_again\":%" PRId64
                    ",\"replayed_too_often\":%" PRId64 ",\"not_removed\":%" PRId64 "}\n",
                    dlq->status.delivered, dlq->status.duplicates, dlq->status.dead_lettered, atomic_load(&dlq->worn),
                    dlq->status.not_removed);
    }
}

static int report(struct dlq *dlq, bool done)
{
    struct text out = {0};

    if (dlq->json) {
        add_json_summary(dlq, &out);
    } else if (looks_only(dlq)) {
        if (atomic_load(&dlq->meant) == 0)
            text_printf(&out, "no dead letters of %s%s\n", dlq->route,
                        atomic_load(&dlq->seen) > 0 ? " that match" : "");
        else
            text_add(&out, dlq->out.data);
        if (dlq->limit > 0 && atomic_load(&dlq->meant) == dlq->limit && atomic_load(&dlq->seen) > dlq->limit)
            text_printf(&out, "... and perhaps more: --limit %" PRId64 " was reached\n", dlq->limit);
        if (dlq->dry_run)
            text_printf(&out, "%" PRId64 " would be %s\n", atomic_load(&dlq->meant),
                        dlq->verb == PURGE ? "removed" : "replayed");
        if (dlq->dry_run && atomic_load(&dlq->worn) > 0)
            text_printf(&out, "%" PRId64 " more were replayed %" PRId64 " times and would be left\n",
                        atomic_load(&dlq->worn), dlq->max_replays);
    } else {
        add_summary(dlq, &out);
    }
    text_free(&dlq->out);
    int printed = cli_print(&out);

    return done && dlq->status.dead_lettered == 0 && dlq->status.not_removed == 0 ? printed : CLI_FAILED;
}

/* True: the user said yes. */
static bool ask(const struct dlq *dlq)
{
    struct text out = {0};
    char answer[16] = "";

    text_printf(&out, "Remove %" PRId64 " dead letter%s of %s for good? [y/N] ", atomic_load(&dlq->meant),
                atomic_load(&dlq->meant) == 1 ? "" : "s", dlq->route);
    cli_complain(&out);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Counts first, and asks: then no more than that are removed. */
static int purge(struct dlq *dlq, const struct config *config, const struct config_route *route)
{
    if (!dlq->yes && !dlq->dry_run) {
        if (isatty(STDIN_FILENO) != 1)
            return cli_wrong(dlq->command,
                             "purge removes dead letters for good: it asks on a terminal, or wants --yes");
        dlq->is_counting = true;
        if (!run_once(dlq, config, route))
            return CLI_FAILED;
        dlq->is_counting = false;
        if (atomic_load(&dlq->meant) == 0)
            return report(dlq, true);
        if (!ask(dlq))
            return CLI_FAILED;
        dlq->limit = atomic_load(&dlq->meant);
        atomic_store(&dlq->meant, 0);
        atomic_store(&dlq->seen, 0);
    }
    bool done = run_once(dlq, config, route);

    return report(dlq, done);
}

static int work(struct dlq *dlq, const struct config *config)
{
    const struct config_route *route = find_route(dlq, config, dlq->route);

    if (route == NULL)
        return CLI_USAGE;
    if (route->dead_letter == NULL)
        return cli_wrong(dlq->command, "the route '%s' has no dead_letter", dlq->route);
    if (route->dead_letter->broker->connector->shelf == NULL)
        return cli_wrong(dlq->command, "the connector %s cannot read dead letters back",
                         route->dead_letter->broker->connector->name);
    dlq->filter.route = dlq->route;
    if (dlq->verb == PURGE)
        return purge(dlq, config, route);
    bool done = run_once(dlq, config, route);

    return report(dlq, done);
}

/* ---- The command line ---- */

static bool read_verb(struct dlq *dlq, const char *word)
{
    static const char *const verbs[] = {[LIST] = "list", [SHOW] = "show", [REPLAY] = "replay", [PURGE] = "purge"};
    enum { VERBS = sizeof verbs / sizeof *verbs };

    for (int i = 0; i < VERBS; i++) {
        if (strcmp(word, verbs[i]) != 0)
            continue;
        dlq->verb = (enum verb)i;
        return true;
    }
    const char *near = nearest_name(word, verbs, VERBS);

    cli_wrong(dlq->command, "%.60s is not list, show, replay or purge%s%s%s", word,
              near == NULL ? "" : "; did you mean ", near == NULL ? "" : near, near == NULL ? "" : "?");
    return false;
}

static bool read_count(struct dlq *dlq, const char *flag, const char *text, int64_t *count)
{
    if (text == NULL || (units_count(text, count) == UNITS_OK && *count >= 1))
        return true;
    cli_wrong(dlq->command, "%s needs a number from 1 on, such as 100 or 10k", flag);
    return false;
}

static const char *default_file(void)
{
    const char *given = getenv("BAILEY_CONFIG");

    if (given != NULL && given[0] != '\0')
        return given;
    return access("bailey.yaml", R_OK) == 0 ? "bailey.yaml" : "/etc/bailey/bailey.yaml";
}

static int run(const struct command *command, int argc, char **argv)
{
    struct dlq dlq = {.command = command,
                      .max_replays = MAX_REPLAYS,
                      .columns = cli_columns(),
                      .progress = isatty(STDERR_FILENO) == 1};
    const char *words[2], *filter = NULL, *limit = NULL, *rate = NULL, *max_replays = NULL;
    struct bailey_error err = {0};
    const struct cli_flag flags[] = {
        {.name = "--config", .value = &dlq.file},
        {.name = "--filter", .value = &filter},
        {.name = "--id", .value = &dlq.filter.id},
        {.name = "--limit", .value = &limit},
        {.name = "--rate", .value = &rate},
        {.name = "--to", .value = &dlq.to},
        {.name = "--max-replays", .value = &max_replays},
        {.name = "--state", .value = &dlq.state},
        {.name = "--dry-run", .set = &dlq.dry_run},
        {.name = "--yes", .set = &dlq.yes},
        {.name = "--json", .set = &dlq.json},
        {0},
    };
    int parsed = cli_parse(command, argc, argv, flags, 2, 2, words);

    if (parsed != CLI_GO)
        return parsed;
    dlq.route = words[1];
    if (!read_verb(&dlq, words[0]) || !read_count(&dlq, "--limit", limit, &dlq.limit) ||
        !read_count(&dlq, "--rate", rate, &dlq.rate) ||
        !read_count(&dlq, "--max-replays", max_replays, &dlq.max_replays))
        return CLI_USAGE;
    if (!letter_filter_read(&dlq.filter, filter, &err))
        return cli_wrong(command, "%s%s%s", err.text, err.hint[0] == '\0' ? "" : "; ", err.hint);
    if (dlq.limit == 0 && dlq.verb == LIST)
        dlq.limit = LIST_LIMIT;
    if (dlq.limit == 0 && dlq.verb == SHOW)
        dlq.limit = 1;
    if (dlq.file == NULL)
        dlq.file = default_file();
    log_set_level(BAILEY_LOG_WARN);
    struct config *config = cli_load(dlq.file);
    int result = config == NULL ? CLI_USAGE : work(&dlq, config);

    config_free(config);
    return result;
}

const struct command dlq_command = {
    .name = "dlq",
    .usage = "list|show|replay|purge ROUTE [--config FILE] [...]",
    .summary = "Look into the dead letters of a route, send them again, remove them.",
    .help =
        "It works while the gateway runs, and without it. ROUTE is a route of the file that has a dead_letter.\n\n"
        "  list    one line for each dead letter, the oldest first (--limit 100)\n"
        "  show    all of one: why, headers, body (--limit 1)\n"
        "  replay  send them through the route again, as they were, and remove those that its sink has confirmed; "
        "what fails again\n"
        "          is a dead letter again, and the exit code is 1\n"
        "  purge   remove them for good; asks, or wants --yes\n\n"
        "  --config FILE      default: $BAILEY_CONFIG, ./bailey.yaml, /etc/bailey/bailey.yaml\n"
        "  --id ID            this one only\n"
        "  --filter TESTS     those that pass all of them, with commas between: NAME=VALUE is equal, NAME~TEXT "
        "contains; NAME is id,\n"
        "                     class, code, reason, source, sink, attempts, replays, first-failed, last-failed, key, or "
        "header.NAME\n"
        "  --limit N          so many at most\n"
        "  --rate N           replay: so many a second at most\n"
        "  --to ROUTE         replay: to the sink of another route of the file\n"
        "  --max-replays N    replay: leave what was replayed so often (3)\n"
        "  --dry-run          show what would be replayed or removed\n"
        "  --state FOLDER     replay: where it is written down what was sent, so that a replay that is cut off can be "
        "begun again\n"
        "                     without a second copy; default: in the state of the gateway, or of the user\n"
        "  --json             the same as JSON\n",
    .run = run,
};
