/* One loop, every broker that a route uses opened once on it, and one struct end for each end of a route. Connectors answer
 * by the callbacks of struct bailey_probe; the rows are sorted when all have come. */
#include "host/probe.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"

enum { SHOWN_MAX = 600, TURN_MS = 20, CLOSE_TURNS = 300 };

struct probe_end {
    struct bailey_probe probe; /* first */
    struct probing *probing;
    const struct config_route *route;
    const struct config_end *config;
    const char *name;
    bool done;
};

struct probe_broker {
    void *self;
    bool open;
    struct bailey_error failure;
};

struct probing {
    const struct config *config;
    struct probe_report *report;
    struct bailey_host *loop;
    struct probe_broker *brokers; /* by config_broker.index */
    struct probe_end *ends;
    size_t end_count, waiting;
    struct bailey_timer late;
    bool is_late;
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* a command that ends soon */
    return memory;
}

/* ---- What is found ---- */

static char *shown(const char *str)
{
    char out[SHOWN_MAX];

    text_mask(out, sizeof out, str != NULL ? str : "");
    return must(strdup(out));
}

static void on_found(struct bailey_probe *probe, const struct bailey_probe_row *row)
{
    struct probe_end *end = (struct probe_end *)probe;
    struct probe_report *report = end->probing->report;

    assert(!end->done && loop_is_current(end->probing->loop));
    if (report->count == PROBE_ROWS_MAX)
        return;
    if ((report->count & (report->count - 1)) == 0)
        report->rows =
            must(reallocarray(report->rows, report->count == 0 ? 1 : report->count * 2, sizeof *report->rows));
    report->rows[report->count++] = (struct probe_row){
        .route = end->route,
        .end = end->config,
        .end_name = end->name,
        .result = row->result,
        .address = shown(row->address),
        .what = shown(row->what),
        .detail = shown(row->detail),
        .hint = shown(row->hint),
    };
}

static void on_grant(struct bailey_probe *probe, const char *command)
{
    struct probe_report *report = ((struct probe_end *)probe)->probing->report;

    for (size_t i = 0; i < report->grant_count; i++)
        if (strcmp(report->grants[i], command) == 0)
            return;
    report->grants = must(reallocarray(report->grants, report->grant_count + 1, sizeof *report->grants));
    report->grants[report->grant_count++] = must(strdup(command));
}

static void on_done(struct bailey_probe *probe)
{
    struct probe_end *end = (struct probe_end *)probe;

    assert(!end->done);
    end->done = true;
    end->probing->waiting--;
}

/* The gateway's own word on an end. */
static void say(struct probe_end *end, enum bailey_probe_result result, const char *detail, const char *hint)
{
    on_found(&end->probe, &(struct bailey_probe_row){.result = result, .detail = detail, .hint = hint});
    on_done(&end->probe);
}

/* ---- Asking ---- */

static void open_broker(struct probing *probing, const struct config_broker *config)
{
    struct probe_broker *broker = &probing->brokers[config->index];

    if (broker->open || broker->failure.kind != BAILEY_ERR_NONE || config->connector->probe == NULL)
        return;
    broker->open = config->connector->broker_open(&broker->self, config->settings, config->name,
                                                  probing->config->instance, probing->loop, &broker->failure);
}

static void ask(struct probing *probing, struct probe_end *end)
{
    const struct config_end *config = end->config;
    const struct bailey_connector *connector = config->broker->connector;
    const struct probe_broker *broker = &probing->brokers[config->broker->index];

    open_broker(probing, config->broker);
    if (connector->probe == NULL)
        say(end, BAILEY_PROBE_UNCHECKED, "the connector cannot tell", NULL);
    else if (!broker->open)
        say(end, BAILEY_PROBE_REFUSED, broker->failure.text, broker->failure.hint);
    else
        connector->probe(broker->self, config->settings, &end->probe);
}

static void add_end(struct probing *probing, const struct config_route *route, enum bailey_role role, const char *name,
                    const struct config_end *config)
{
    probing->ends[probing->end_count++] = (struct probe_end){
        .probe = {.host = probing->loop,
                  .route = route->name,
                  .instance = probing->config->instance,
                  .role = role,
                  .lanes = (unsigned)route->lanes,
                  .timeout_ms = PROBE_MS,
                  .found = on_found,
                  .grant = on_grant,
                  .done = on_done},
        .probing = probing,
        .route = route,
        .config = config,
        .name = name,
    };
    probing->waiting++;
}

static void too_late(struct bailey_timer *timer)
{
    ((struct probing *)timer->ctx)->is_late = true;
}

static void ask_all(struct probing *probing)
{
    const struct config *config = probing->config;

    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];

        add_end(probing, route, BAILEY_SOURCE, "from", &route->from);
        add_end(probing, route, BAILEY_SINK, "to", &route->to);
        if (route->dead_letter != NULL)
            add_end(probing, route, BAILEY_SINK, "dead_letter", route->dead_letter);
    }
    loop_turn(probing->loop, 0); /* the loop learns its thread and the time */
    probing->late = (struct bailey_timer){.fire = too_late, .ctx = probing};
    bailey_timer_start(probing->loop, &probing->late, PROBE_LATE_MS);
    for (size_t i = 0; i < probing->end_count; i++)
        ask(probing, &probing->ends[i]);
    while (probing->waiting > 0 && !probing->is_late)
        loop_turn(probing->loop, TURN_MS);
    bailey_timer_stop(probing->loop, &probing->late);
}

/* ---- The end ---- */

/* What has not answered may still hold memory of ours: then all of it is left to the end of the process. */
static void give_up(struct probing *probing)
{
    for (size_t i = 0; i < probing->end_count; i++)
        if (!probing->ends[i].done)
            say(&probing->ends[i], BAILEY_PROBE_UNREACHABLE, "no answer in time", NULL);
}

static void close_brokers(struct probing *probing)
{
    for (size_t i = 0; i < probing->config->broker_count; i++)
        if (probing->brokers[i].open)
            probing->config->brokers[i].connector->broker_close(probing->brokers[i].self);
    for (int i = 0; i < CLOSE_TURNS && loop_jobs(probing->loop) > 0; i++)
        loop_turn(probing->loop, TURN_MS);
    for (int i = 0; i < 3; i++)
        loop_turn(probing->loop, 0);
    if (loop_jobs(probing->loop) > 0)
        return; /* a library call hangs: its memory must stay */
    loop_free(probing->loop);
    free(probing->brokers);
    free(probing->ends);
    free(probing);
}

static int place(const struct probe_row *row)
{
    return row->end == &row->route->from ? 0 : row->end == &row->route->to ? 1 : 2;
}

static int compare_rows(const void *a, const void *b)
{
    const struct probe_row *left = a, *right = b;

    if (left->route != right->route)
        return left->route < right->route ? -1 : 1; /* they lie in one array, in the order of the file */
    if (left->end != right->end)
        return place(left) - place(right);
    return strcmp(left->what, right->what);
}

bool probe_routes(const struct config *config, struct probe_report *report, struct bailey_error *err)
{
    struct probing *probing = must(calloc(1, sizeof *probing));
    unsigned fds = 256 + (unsigned)(config->route_count * 6 + config->broker_count * 8);

    *report = (struct probe_report){0};
    *probing = (struct probing){.config = config, .report = report};
    probing->loop = loop_new(&(struct loop_options){.fds_max = fds}, err);
    if (probing->loop == NULL) {
        free(probing);
        return false;
    }
    probing->brokers = must(calloc(config->broker_count + 1, sizeof *probing->brokers));
    probing->ends = must(calloc(config->route_count * 3 + 1, sizeof *probing->ends));
    ask_all(probing);
    if (probing->waiting > 0)
        give_up(probing);
    else
        close_brokers(probing);
    if (report->count > 0)
        qsort(report->rows, report->count, sizeof *report->rows, compare_rows);
    return true;
}

void probe_report_fini(struct probe_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->rows[i].address);
        free(report->rows[i].what);
        free(report->rows[i].detail);
        free(report->rows[i].hint);
    }
    for (size_t i = 0; i < report->grant_count; i++)
        free(report->grants[i]);
    free(report->rows);
    free(report->grants);
    *report = (struct probe_report){0};
}

bool probe_report_good(const struct probe_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        if (report->rows[i].result != BAILEY_PROBE_OK && report->rows[i].result != BAILEY_PROBE_UNCHECKED)
            return false;
    return true;
}

const char *probe_result_name(enum bailey_probe_result result)
{
    static const char *const names[] = {
        [BAILEY_PROBE_OK] = "ok",
        [BAILEY_PROBE_MISSING] = "missing",
        [BAILEY_PROBE_DENIED] = "denied",
        [BAILEY_PROBE_REFUSED] = "refused",
        [BAILEY_PROBE_UNREACHABLE] = "unreachable",
        [BAILEY_PROBE_UNCHECKED] = "not checked",
    };

    return (unsigned)result < sizeof names / sizeof *names ? names[result] : "not checked";
}
