/* replayer.c: runs of a lane whose source is a shelf. */
#include "replayer.h"

#include <stdlib.h>

#include "core/replay.h"
#include "endpoints.h"
#include "sink_broker.h"

/* As the command's. */
#define REMEMBER_MS (INT64_C(30) * 86400000)
#define REMEMBER_MAX INT64_C(10000000)

struct replayer {
    struct scene *scene;
    struct process process;
    struct store *store;
    struct store_scope *scope;
    struct state *state;
    struct dedup_group group;
    struct dedup_shard *shard;
    struct berth berth;
    struct lane_dead_reader reader;
    struct event event; /* the next run, or the end of this one */
};

/* ---- A lane ---- */

static bool find_end(void *ctx, void **broker, struct bailey_error *err)
{
    (void)err;
    *broker = ctx;
    return true;
}

static enum lane_pick pick(void *ctx, const struct bailey_message *letter)
{
    (void)ctx;
    return replay_count(letter) >= LEDGER_REPLAYS_MAX ? LANE_PICK_LEAVE : LANE_PICK_SEND;
}

static void on_ended(struct lane *lane, void *ctx)
{
    struct replayer *replayer = ctx;

    (void)lane;
    replayer->berth.has_ended = true;
    sim_plan(replayer->scene->sim, &replayer->event, replayer->scene->sim->now_ms);
}

/* The route's, but for what the command does otherwise (gateway/cli/dlq.c). */
static struct lane_options options_of(struct replayer *replayer)
{
    struct berth *berth = &replayer->berth;
    const struct route *route = berth->route;
    bool defaults = route->shaping.has_defaults;

    berth->dedup = (struct lane_dedup_options){.scope = "replay",
                                               .id = route->shaping.dedups ? route->id[defaults] : NULL,
                                               .group = &replayer->group,
                                               .shard = replayer->shard,
                                               .state = replayer->state};
    berth->dead_letters = (struct lane_dead_letters){
        .sink = &sim_sink,
        .to = {.broker_name = "simulated", .broker = find_end, .broker_ctx = &berth->ways[TO_DEAD]},
        .templates = (struct template *const *)route->dead_templates,
        .template_count = route->shaping.names_dead,
    };
    return (struct lane_options){
        .route = route->name,
        .instance = "replayer",
        .lanes = 1,
        .credit_messages = route->credit_messages,
        .credit_bytes = route->credit_bytes,
        .reader = &replayer->reader,
        .key = route->shaping.sets_key ? route->key[defaults] : NULL,
        .order = route->shaping.order == BAILEY_ORDER_NONE ? BAILEY_ORDER_KEY : route->shaping.order,
        .retry = route->refusals.retry,
        .expire = route->refusals.expire,
        .unroutable = route->refusals.unroutable,
        .dead_letters = &berth->dead_letters,
        .dedup = &berth->dedup,
        .templates = (struct template *const *)route->templates[defaults],
        .template_count = route->shaping.addresses,
        .source = &shelf_source,
        .sink = &sim_sink,
        .from = {.broker_name = "simulated", .broker = find_end, .broker_ctx = berth},
        .to = {.broker_name = "simulated", .broker = find_end, .broker_ctx = &berth->ways[TO_SINK]},
        .status = berth->status,
        .on_ended = on_ended,
        .ctx = replayer,
    };
}

static void begin_lane(void *ctx)
{
    struct replayer *replayer = ctx;
    struct berth *berth = &replayer->berth;
    struct lane_options options;

    replayer->shard = dedup_shard_new(&(struct dedup_shard_options){.host = berth->host,
                                                                    .route = berth->route->name,
                                                                    .group = &replayer->group,
                                                                    .state = replayer->state,
                                                                    .window_ms = REMEMBER_MS,
                                                                    .max = REMEMBER_MAX});
    berth->status = calloc(1, sizeof *berth->status);
    pthread_mutex_init(&berth->status->lock, NULL);
    berth->status->state = LANE_STARTING;
    options = options_of(replayer);
    berth->running = lane_new(berth->host, &options);
    ledger_lane_begins(replayer->scene->ledger, berth->slot, &options, berth->route->shaping.has_defaults,
                       &replayer->process.wall_ms);
    lane_start(berth->running);
}

static void free_lane(void *ctx)
{
    struct replayer *replayer = ctx;
    struct berth *berth = &replayer->berth;

    ledger_lane_ends(replayer->scene->ledger, berth->slot);
    lane_free(berth->running);
    pthread_mutex_destroy(&berth->status->lock);
    free(berth->status);
    berth->running = NULL;
    berth->status = NULL;
}

static void free_shard(void *ctx)
{
    struct replayer *replayer = ctx;

    dedup_shard_free(replayer->shard);
    replayer->shard = NULL;
}

/* ---- A run ---- */

static void plan_next(struct replayer *replayer)
{
    struct sim *sim = replayer->scene->sim;

    sim_plan(sim, &replayer->event, sim->now_ms + dice_between(&sim->dice, 100, 5000));
}

static void begin(struct replayer *replayer)
{
    struct scene *scene = replayer->scene;

    if (scene->is_over || sink_broker_unreplayed(replayer->berth.route->sinks[TO_DEAD]) == 0) {
        if (!scene->is_over)
            plan_next(replayer);
        return;
    }
    process_begin(&replayer->process, 1);
    replayer->process.wall_ms = WALL_MS;
    replayer->berth.host = &replayer->process.workers[0];
    store_open(replayer->store, WALL_MS + scene->sim->now_ms);
    replayer->state = store_state(replayer->scope, 1);
    process_run(replayer->berth.host, begin_lane, replayer);
}

static void end(struct replayer *replayer)
{
    struct sim *sim = replayer->scene->sim;

    if (replayer->berth.running != NULL)
        process_run(replayer->berth.host, free_lane, replayer);
    store_stop_loading(replayer->store);
    if (process_has_mail(&replayer->process) || !store_is_idle(replayer->store)) {
        sim_plan(sim, &replayer->event, sim->now_ms + 5);
        return;
    }
    process_run(replayer->berth.host, free_shard, replayer);
    if (!replayer->process.is_alive) /* it has crashed in there */
        return;
    store_closed(replayer->store);
    process_end(&replayer->process);
    replayer->berth.has_ended = false;
    plan_next(replayer);
}

static void due(struct event *event)
{
    struct replayer *replayer = event->ctx;

    if (replayer->berth.has_ended)
        end(replayer);
    else if (!replayer->process.is_alive)
        begin(replayer);
}

static void on_crash(struct process *process)
{
    struct replayer *replayer = process->ctx;

    replayer->scene->crashes++;
    store_closed(replayer->store);
    ledger_lane_crashes(replayer->scene->ledger, replayer->berth.slot);
    replayer->berth.has_ended = false;
    replayer->berth.running = NULL;
    replayer->berth.status = NULL;
    plan_next(replayer);
}

static void on_idle(struct process *process, struct bailey_host *host)
{
    const struct replayer *replayer = process->ctx;

    (void)host;
    ledger_check_gauges(replayer->scene->ledger, replayer->berth.slot);
}

/* ---- Making ---- */

struct process *replayer_process(struct replayer *replayer)
{
    return &replayer->process;
}

bool replayer_is_done(const struct replayer *replayer)
{
    return !replayer->process.is_alive && sink_broker_unreplayed(replayer->berth.route->sinks[TO_DEAD]) == 0;
}

struct replayer *replayer_new(struct scene *scene, struct route *route)
{
    struct replayer *replayer = world_alloc(1, sizeof *replayer);
    struct store_manner manner = {
        .is_durable = true, .sync = SYNC_BATCH, .write_ms = 20, .look_up_ms = 5, .load_ms = 20};
    struct berth *berth = &replayer->berth;

    replayer->scene = scene;
    replayer->process = (struct process){
        .sim = scene->sim, .number = PROCESSES_MAX, .on_crash = on_crash, .on_idle = on_idle, .ctx = replayer};
    replayer->store = store_new(scene->sim, &replayer->process, &manner);
    replayer->scope = store_scope(replayer->store, store_add_scope(replayer->store, "replay"));
    store_tell(replayer->scope, NO_SCOPE);
    replayer->group = (struct dedup_group){.count = 1, .shards = &replayer->shard};
    replayer->reader = (struct lane_dead_reader){.pick = pick};
    replayer->event = (struct event){.run = due, .ctx = replayer};
    *berth = (struct berth){.scene = scene, .process = &replayer->process, .route = route};
    for (int outlet = 0; outlet < OUTLETS; outlet++)
        berth->ways[outlet] = (struct way){berth, (enum outlet)outlet};
    berth->slot = ledger_add_slot(scene->ledger, route->credit_messages, route->credit_bytes, false, NO_SCOPE);
    ledger_is_replayer(scene->ledger, berth->slot);
    plan_next(replayer);
    return replayer;
}
