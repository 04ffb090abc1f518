/* fleet.c: processes and the lanes in them: begun, drained, stopped, crashed, and begun anew. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "endpoints.h"
#include "scene.h"

/* ---- A lane ---- */

static bool is_there(struct berth *berth, struct bailey_error *err)
{
    struct sim *sim = berth->scene->sim;

    process_step(berth->process);
    if (!sim->is_calm && dice_percent(&sim->dice, 3))
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "cannot connect");
    return true;
}

static bool find_source(void *ctx, void **broker, struct bailey_error *err)
{
    *broker = ctx;
    return is_there(ctx, err);
}

static bool find_sink(void *ctx, void **broker, struct bailey_error *err)
{
    *broker = ctx;
    return is_there(((struct way *)ctx)->berth, err);
}

static void on_ended(struct lane *lane, void *ctx)
{
    struct berth *berth = ctx;
    struct sim *sim = berth->scene->sim;

    (void)lane;
    if (berth->has_ended)
        sim_fail(sim, "lane %u ends twice", berth->slot);
    berth->has_ended = true;
    sim_plan(sim, &berth->event, sim->now_ms);
}

/* In this life of its process. */
static unsigned lanes_of(const struct berth *berth)
{
    return berth->scene->lanes[berth->process->number][berth->route - berth->scene->routes];
}

static const struct lane_dedup_options *dedup_of(struct berth *berth)
{
    struct scope *scope = berth->scope;

    if (scope == NULL)
        return NULL;
    berth->dedup = (struct lane_dedup_options){
        .scope = berth->route->name,
        .id = berth->route->id[berth->route->shaping.has_defaults],
        .group = &scope->group,
        .shard = scope->shards[berth->lane],
        .number = berth->lane,
        .state = scope->state,
        .pass_on_failure = berth->route->dedup.passes,
    };
    return &berth->dedup;
}

static const struct lane_dead_letters *dead_letters_of(struct berth *berth)
{
    struct route *route = berth->route;

    if (!route->refusals.has_dead_letters)
        return NULL;
    berth->dead_letters = (struct lane_dead_letters){
        .sink = &sim_sink,
        .to = {.broker_name = "simulated", .broker = find_sink, .broker_ctx = &berth->ways[TO_DEAD]},
        .templates = route->dead_templates,
        .template_count = route->shaping.names_dead,
    };
    return &berth->dead_letters;
}

static const char *const instances[PROCESSES_MAX] = {"one", "two", "three"};

static struct lane_options options_of(struct berth *berth)
{
    const struct route *route = berth->route;
    bool defaults = route->shaping.has_defaults;

    return (struct lane_options){
        .route = route->name,
        .instance = instances[berth->process->number],
        .lane = berth->lane,
        .lanes = lanes_of(berth),
        .credit_messages = route->credit_messages,
        .credit_bytes = route->credit_bytes,
        .key = route->shaping.sets_key ? route->key[defaults] : NULL,
        .order = route->shaping.order,
        .hops_max = route->shaping.hops_max,
        .retry = route->refusals.retry,
        .parks_in_store = route->shaping.parks,
        .delay = route->shaping.delays == DELAYS_BY ? route->when : NULL,
        .deliver_at = route->shaping.delays == DELAYS_UNTIL ? route->when : NULL,
        .kept = berth->kept,
        .spill = berth->spill,
        .ahead_max = route->ahead_max,
        .expire = route->refusals.expire,
        .unroutable = route->refusals.unroutable,
        .dead_letters = dead_letters_of(berth),
        .dedup = dedup_of(berth),
        .templates = route->templates[defaults],
        .template_count = route->shaping.addresses,
        .source = route->kind == SOURCE_LOG ? &log_source : &queue_source,
        .sink = &sim_sink,
        .from = {.broker_name = "simulated", .broker = find_source, .broker_ctx = berth},
        .to = {.broker_name = "simulated", .broker = find_sink, .broker_ctx = &berth->ways[TO_SINK]},
        .status = berth->status,
        .on_ended = on_ended,
        .ctx = berth,
    };
}

static void begin_lane(void *ctx)
{
    struct berth *berth = ctx;
    struct lane_options options;

    berth->status = calloc(1, sizeof *berth->status);
    pthread_mutex_init(&berth->status->lock, NULL);
    berth->status->state = LANE_STARTING;
    options = options_of(berth);
    if (dice_percent(&berth->scene->sim->dice, 8))
        options.messages_max = dice_between(&berth->scene->sim->dice, 1, 60);
    berth->has_ended = berth->is_draining = false;
    berth->running = lane_new(berth->host, &options);
    ledger_lane_begins(berth->scene->ledger, berth->slot, &options, berth->route->shaping.has_defaults,
                       &berth->process->wall_ms);
    lane_start(berth->running);
}

static void free_lane(void *ctx)
{
    struct berth *berth = ctx;

    ledger_lane_ends(berth->scene->ledger, berth->slot);
    lane_free(berth->running);
    pthread_mutex_destroy(&berth->status->lock);
    free(berth->status);
    berth->running = NULL;
    berth->status = NULL;
    berth->has_ended = false;
}

static void drain_lane(void *ctx)
{
    lane_drain(((struct berth *)ctx)->running);
}

static void stop_lane(void *ctx)
{
    lane_stop(((struct berth *)ctx)->running);
}

void berth_drain(struct berth *berth)
{
    if (berth->running == NULL)
        return;
    sim_note(berth->scene->sim, "lane %llu: is to drain", berth->slot, 0);
    process_run(berth->host, drain_lane, berth);
}

void berth_stop(struct berth *berth)
{
    if (berth->running == NULL)
        return;
    sim_note(berth->scene->sim, "lane %llu: is to stop", berth->slot, 0);
    process_run(berth->host, stop_lane, berth);
}

/* ---- A process ---- */

static bool is_empty(const struct process *process)
{
    const struct scene *scene = process->ctx;

    for (size_t i = 0; i < scene->berth_count; i++)
        if (scene->berths[i].process == process && scene->berths[i].running != NULL)
            return false;
    return true;
}

static void plan_restart(struct process *process)
{
    struct scene *scene = process->ctx;

    if (!scene->is_over)
        sim_plan(scene->sim, &scene->restarts[process->number],
                 scene->sim->now_ms + dice_between(&scene->sim->dice, 10, 3000));
}

static void free_shard(void *ctx)
{
    struct dedup_shard **shard = ctx, *old = *shard;

    *shard = NULL;
    dedup_shard_free(old);
}

static void free_shards(struct process *process)
{
    struct scene *scene = process->ctx;

    for (size_t i = 0; i < scene->berth_count; i++) {
        struct berth *berth = &scene->berths[i];

        if (berth->process == process && berth->scope != NULL && berth->scope->shards[berth->lane] != NULL)
            process_run(berth->host, free_shard, &berth->scope->shards[berth->lane]);
    }
}

/* Its lanes have ended: it ends when its store has done what it was asked for. */
static void end_if_empty(struct process *process)
{
    struct scene *scene = process->ctx;
    struct store *store = scene->stores[process->number];

    if (!process->is_alive || !scene->ends[process->number] || !is_empty(process))
        return;
    store_stop_loading(store);
    if (process_has_mail(process) || !store_is_idle(store)) {
        sim_plan(scene->sim, &scene->closings[process->number], scene->sim->now_ms + 5);
        return;
    }
    free_shards(process);
    if (!process->is_alive) /* it has crashed in there */
        return;
    store_closed(store);
    process_end(process);
    plan_restart(process);
}

static void closing_due(struct event *event)
{
    end_if_empty(event->ctx);
}

/* A lane has ended: free it, and begin a new one some time. Or it is time for that. */
static void berth_due(struct event *event)
{
    struct berth *berth = event->ctx;
    struct scene *scene = berth->scene;
    struct process *process = berth->process;

    if (berth->has_ended) {
        process_run(berth->host, free_lane, berth);
        end_if_empty(process);
        if (process->is_alive && !scene->is_over && !scene->ends[process->number])
            sim_plan(scene->sim, event, scene->sim->now_ms + dice_between(&scene->sim->dice, 0, 3000));
    } else if (process->is_alive && !scene->is_over && !scene->ends[process->number]) {
        sim_note(scene->sim, "lane %llu: begins", berth->slot, 0);
        process_run(berth->host, begin_lane, berth);
    }
}

static void on_crash(struct process *process)
{
    struct scene *scene = process->ctx;

    scene->crashes++;
    store_closed(scene->stores[process->number]); /* what it had handed over is written in part */
    for (size_t i = 0; i < scene->berth_count; i++) {
        struct berth *berth = &scene->berths[i];

        if (berth->process != process)
            continue;
        ledger_lane_crashes(scene->ledger, berth->slot);
        sim_cancel(scene->sim, &berth->event);
        berth->has_ended = false;
        berth->running = NULL;
        berth->status = NULL;
    }
    for (size_t i = 0; i < scene->route_count; i++)
        if (scene->routes[i].shaping.dedups)
            ledger_scope_crashes(scene->ledger, scene->scopes[process->number][i].number);
    sim_cancel(scene->sim, &scene->closings[process->number]);
    plan_restart(process);
}

static void on_idle(struct process *process, struct bailey_host *host)
{
    const struct scene *scene = process->ctx;

    for (size_t i = 0; i < scene->berth_count; i++)
        if (scene->berths[i].host == host)
            ledger_check_gauges(scene->ledger, scene->berths[i].slot);
}

static void begin_shard(void *ctx)
{
    struct berth *berth = ctx;
    const struct dedup_manner *manner = &berth->route->dedup;

    berth->scope->shards[berth->lane] = dedup_shard_new(&(struct dedup_shard_options){
        .host = berth->host,
        .route = berth->route->name,
        .group = &berth->scope->group,
        .number = berth->lane,
        .state = berth->scope->state,
        .window_ms = manner->window_ms,
        .max = manner->max,
        .pass_on_failure = manner->passes,
    });
}

static void begin_state(struct scene *scene, struct process *process)
{
    unsigned number = process->number;

    process->wall_ms = scene->wall_ms[scene->machine[number]];
    store_open(scene->stores[number], process->wall_ms + scene->sim->now_ms);
    for (size_t i = 0; i < scene->route_count; i++) {
        struct scope *scope = &scene->scopes[number][i];
        unsigned lanes = scene->routes[i].lanes;

        if (dice_percent(&scene->sim->dice, 15)) /* it is configured anew */
            lanes = 1 + (unsigned)dice_below(&scene->sim->dice, lanes);
        scene->lanes[number][i] = scope->group.count = lanes;
        memset(scope->shards, 0, sizeof scope->shards); /* of a life that crashed */
        if (scope->store != NULL)
            scope->state = store_state(scope->store, lanes);
    }
}

static void begin_berth(struct berth *berth)
{
    struct process *process = berth->process;

    sim_cancel(berth->scene->sim, &berth->event);
    berth->host = &process->workers[berth->lane % process->worker_count];
    if (berth->scope != NULL && berth->lane < lanes_of(berth))
        process_run(berth->host, begin_shard, berth);
}

static bool is_of(const struct berth *berth, const struct process *process)
{
    return berth->process == process && berth->lane < lanes_of(berth);
}

static void restart_due(struct event *event)
{
    struct process *process = event->ctx;
    struct scene *scene = process->ctx;

    if (scene->is_over)
        return;
    scene->ends[process->number] = false;
    process_begin(process, 1 + (unsigned)dice_below(&scene->sim->dice, WORKERS_MAX));
    begin_state(scene, process);
    for (size_t i = 0; i < scene->berth_count; i++)
        if (scene->berths[i].process == process)
            begin_berth(&scene->berths[i]);
    for (size_t i = 0; i < scene->berth_count; i++)
        if (is_of(&scene->berths[i], process))
            process_run(scene->berths[i].host, begin_lane, &scene->berths[i]);
}

void fleet_crash_machine(struct scene *scene, unsigned machine)
{
    sim_note(scene->sim, "machine %llu: goes down", machine, 0);
    for (size_t i = 0; i < scene->process_count; i++)
        if (scene->machine[i] == machine) {
            process_crash(&scene->processes[i]);
            store_crashed(scene->stores[i]);
        }
}

void fleet_set_clock(struct scene *scene, unsigned machine, int64_t change_ms)
{
    sim_note(scene->sim, "machine %llu: its clock is set by %llu", machine, (uint64_t)change_ms);
    for (size_t i = 0; i < scene->berth_count; i++)
        ledger_clock_set(scene->ledger, scene->berths[i].slot);
    scene->wall_ms[machine] += change_ms;
    for (size_t i = 0; i < scene->process_count; i++)
        if (scene->machine[i] == machine)
            scene->processes[i].wall_ms = scene->wall_ms[machine];
}

/* At the end somebody sees to it. */
void fleet_mend_clocks(struct scene *scene)
{
    for (unsigned machine = 0; machine < scene->process_count; machine++)
        if (scene->wall_ms[machine] != WALL_MS)
            fleet_set_clock(scene, machine, WALL_MS - scene->wall_ms[machine]);
}

void fleet_end(struct scene *scene, struct process *process, bool drain)
{
    if (!process->is_alive)
        return;
    sim_note(scene->sim, drain ? "process %llu: is to drain" : "process %llu: is to stop", process->number, 0);
    scene->ends[process->number] = true;
    for (size_t i = 0; i < scene->berth_count; i++) {
        if (scene->berths[i].process != process)
            continue;
        if (drain)
            berth_drain(&scene->berths[i]);
        else
            berth_stop(&scene->berths[i]);
    }
    end_if_empty(process);
}

void fleet_begin(struct scene *scene)
{
    for (size_t i = 0; i < scene->process_count; i++) {
        struct process *process = &scene->processes[i];

        *process = (struct process){
            .sim = scene->sim, .number = (unsigned)i, .on_crash = on_crash, .on_idle = on_idle, .ctx = scene};
        scene->restarts[i] = (struct event){.run = restart_due, .ctx = process};
        scene->closings[i] = (struct event){.run = closing_due, .ctx = process};
        sim_plan(scene->sim, &scene->restarts[i], scene->sim->now_ms + dice_between(&scene->sim->dice, 0, 100));
    }
    for (size_t i = 0; i < scene->berth_count; i++)
        scene->berths[i].event = (struct event){.run = berth_due, .ctx = &scene->berths[i]};
}

bool fleet_is_gone(const struct scene *scene)
{
    for (size_t i = 0; i < scene->process_count; i++)
        if (scene->processes[i].is_alive)
            return false;
    return true;
}
