/* scene.c: who takes part, drawn from the seed. */
#include "scene.h"

#include <stdio.h>

#include "log_broker.h"
#include "queue_broker.h"
#include "replayer.h"
#include "sink_broker.h"

/* ---- Messages ---- */

/* Without dead letters, some can only be helped by another configuration. */
static bool may_be(const struct route *route, enum nature nature)
{
    const struct scene *scene = route->scene;

    if (nature >= NATURE_SHAPELESS)
        return scene->has_shapeless;
    if (nature == NATURE_TIMELESS)
        return route->shaping.delays != DELAYS_NOTHING && route->refusals.has_dead_letters;
    if (nature == NATURE_LOOPING || (nature == NATURE_EXPIRING && route->refusals.expire != LANE_EXPIRE_DROP))
        return scene->has_shapeless || route->refusals.has_dead_letters;
    return true;
}

static enum nature some_nature(struct route *route)
{
    static const unsigned permille[NATURES] = {
        [NATURE_FLAKY] = 50,  [NATURE_UNROUTABLE] = 10, [NATURE_UNSAYABLE] = 5,  [NATURE_EXPIRING] = 15,
        [NATURE_LOOPING] = 5, [NATURE_TIMELESS] = 10,   [NATURE_SHAPELESS] = 10, [NATURE_NAMELESS] = 10};
    struct dice *dice = &route->scene->sim->dice;
    unsigned drawn = (unsigned)dice_below(dice, 1000), poison = route->refusals.poison;

    if (drawn < poison)
        return dice_percent(dice, 50) ? NATURE_POISON : NATURE_STUBBORN;
    drawn -= poison;
    for (int nature = NATURE_FLAKY; nature < NATURES; nature++) {
        if (drawn < permille[nature])
            return may_be(route, (enum nature)nature) ? (enum nature)nature : NATURE_PLAIN;
        drawn -= permille[nature];
    }
    return NATURE_PLAIN;
}

/* A new one; or that of an earlier message, which was produced just now or long ago. */
static uint32_t some_id(struct route *route)
{
    struct scene *scene = route->scene;
    struct dice *dice = &scene->sim->dice;
    uint32_t back = dice_percent(dice, 50) && route->id_count > 5 ? 5 : route->id_count;

    if (back > 0 && dice_percent(dice, route->dedup.repeats))
        return route->ids[route->id_count - 1 - dice_below(dice, back)];
    WORLD_ROOM(route->ids, route->id_count, route->id_cap);
    route->ids[route->id_count] = ledger_new_id(scene->ledger);
    return route->ids[route->id_count++];
}

static void produce(struct scene *scene)
{
    struct dice *dice = &scene->sim->dice;
    struct route *route = &scene->routes[dice_below(dice, scene->route_count)];
    enum nature nature = some_nature(route);
    uint32_t id = nature == NATURE_NAMELESS ? route->nameless : some_id(route);
    uint32_t number = ledger_produced(scene->ledger, nature, (uint16_t)dice_below(dice, route->len_max),
                                      &route->shaping, (uint32_t)(route - scene->routes), id);

    if (route->kind == SOURCE_LOG)
        log_broker_append(route->log, number);
    else
        queue_broker_append(route->queue, number);
    scene->to_produce--;
}

/* A burst, and a pause. */
static void producer_due(struct event *event)
{
    struct scene *scene = event->ctx;
    struct dice *dice = &scene->sim->dice;
    uint64_t burst = dice_percent(dice, 20) ? 40 : 5;

    for (uint64_t count = 1 + dice_below(dice, burst); count > 0 && scene->to_produce > 0; count--)
        produce(scene);
    if (scene->to_produce > 0)
        sim_plan(scene->sim, event, scene->sim->now_ms + dice_between(dice, 0, 400));
}

static void faults_due(struct event *event)
{
    struct scene *scene = event->ctx;
    struct sim *sim = scene->sim;

    if (sim->now_ms >= scene->faults_until_ms) {
        fault_cease(scene);
        return;
    }
    fault_strike(scene);
    sim_plan(sim, event, sim->now_ms + dice_between(&sim->dice, 0, 2 * scene->fault_every_ms));
}

/* ---- Routes ---- */

static struct template *parse(struct scene *scene, const char *text)
{
    struct bailey_error err;
    struct template *tmpl = template_parse(scene->arena, text, NULL, &err);

    if (tmpl == NULL)
        sim_fail(scene->sim, "%s: %s", text, err.text);
    return tmpl;
}

static void shape(struct scene *scene, struct route *route)
{
    static const size_t addresses[] = {0, 0, 1, 1, 3};
    struct dice *dice = &scene->sim->dice;

    route->shaping.sets_key = dice_percent(dice, 20);
    route->shaping.addresses = addresses[dice_below(dice, 5)];
    route->shaping.names_dead = dice_percent(dice, 50);
    route->dead_templates[0] = parse(scene, shaping_dead);
    for (int defaults = 0; defaults < 2; defaults++) {
        route->key[defaults] = parse(scene, shaping_key[defaults]);
        route->id[defaults] = parse(scene, shaping_id[defaults]);
        for (int i = 0; i < ADDRESSES_MAX; i++)
            route->templates[defaults][i] = parse(scene, shaping_texts[defaults][i]);
    }
}

static void draw_sink(struct dice *dice, struct sink_manner *manner)
{
    static const size_t windows[] = {1, 3, 20, 300};

    manner->window = windows[dice_below(dice, 4)];
    manner->written_a_time = dice_percent(dice, 50) ? 1000 : 1 + (size_t)dice_below(dice, 8);
    manner->gathers = dice_percent(dice, 50);
    manner->in_order = dice_percent(dice, 60);
    manner->confirm_ms = dice_percent(dice, 20) ? 500 : dice_between(dice, 0, 10);
    manner->refuses = dice_percent(dice, 30) ? 5 : 0;
}

/* Where dead letters go some are refused, too. */
static void draw_dead_sink(struct dice *dice, struct sink_manner *manner)
{
    draw_sink(dice, manner);
    manner->refuses = dice_percent(dice, 30) ? 20 : 0;
    manner->rejects = dice_percent(dice, 15) ? 30 : 0;
}

static void draw_refusals(struct dice *dice, struct refusal_manner *manner)
{
    static const uint32_t attempts[] = {0, 0, 1, 2, 3, 6};
    static const enum lane_unroutable policies[] = {LANE_UNROUTABLE_DEAD_LETTER, LANE_UNROUTABLE_DEAD_LETTER,
                                                    LANE_UNROUTABLE_RETRY, LANE_UNROUTABLE_ACCEPT};
    static const unsigned poison[] = {1, 10, 10, 30, 100};

    manner->retry = LANE_RETRY_DEFAULT;
    if (dice_percent(dice, 60))
        manner->retry = (struct lane_retry){.min_ms = dice_between(dice, 1, 1000),
                                            .max_ms = dice_between(dice, 1000, 10000),
                                            .multiplier = 1 + (double)dice_below(dice, 3),
                                            .jitter = (double)dice_below(dice, 11) / 10};
    manner->retry.attempts = attempts[dice_below(dice, 6)];
    manner->expire = dice_percent(dice, 40) ? LANE_EXPIRE_DROP : LANE_EXPIRE_DEAD_LETTER;
    manner->unroutable = policies[dice_below(dice, 4)];
    manner->has_dead_letters = dice_percent(dice, 80);
    manner->poison = poison[dice_below(dice, manner->has_dead_letters ? 5 : 2)];
}

/* A queue has an order only for one consumer. */
static void draw_order(struct dice *dice, struct route *route)
{
    static const enum bailey_order orders[] = {BAILEY_ORDER_NONE,      BAILEY_ORDER_NONE,  BAILEY_ORDER_KEY,
                                               BAILEY_ORDER_KEY,       BAILEY_ORDER_KEY,   BAILEY_ORDER_KEY,
                                               BAILEY_ORDER_PARTITION, BAILEY_ORDER_STRICT};

    route->shaping.order = orders[dice_below(dice, 8)];
    if (route->shaping.order == BAILEY_ORDER_NONE)
        return;
    if (route->kind == SOURCE_LOG)
        return;
    route->lanes = 1;
    route->source_manner.shuffles = false;
}

/* What waits behind a refused one, outside of the credit. */
static void draw_ahead(struct dice *dice, struct route *route)
{
    if (route->kind != SOURCE_LOG || dice_percent(dice, 50))
        return;
    route->ahead_max = route->credit_messages + dice_between(dice, 0, 100);
    route->spills = (route->shaping.order == BAILEY_ORDER_KEY || route->shaping.order == BAILEY_ORDER_PARTITION) &&
                    dice_percent(dice, 80);
}

/* With an order, what is refused waits in its lane. */
static void draw_delay(struct dice *dice, struct route *route)
{
    struct shaping *shaping = &route->shaping;

    if (!route->scene->keeps || dice_percent(dice, 20))
        return;
    shaping->delays = (enum delays)dice_below(dice, DELAYS_UNTIL + 1);
    shaping->parks =
        shaping->order == BAILEY_ORDER_NONE && (shaping->delays == DELAYS_NOTHING || dice_percent(dice, 40));
    if (shaping->delays == DELAYS_NOTHING)
        return;
    route->when = parse(route->scene, shaping_when[shaping->delays]);
}

static void draw_source(struct dice *dice, struct source_manner *manner)
{
    manner->slice = 1 + (size_t)dice_below(dice, 64);
    manner->commit_ms = dice_percent(dice, 50) ? 1000 : dice_between(dice, 20, 1000);
    manner->shuffles = dice_percent(dice, 30);
    manner->patience_ms = dice_percent(dice, 30) ? dice_between(dice, 500, 8000) : 0;
    manner->pins = dice_percent(dice, 60);
    manner->begins_unknown = dice_percent(dice, 30);
}

static void draw_dedup(struct dice *dice, struct dedup_manner *manner)
{
    static const int64_t windows[] = {800, 4000, 30000, 3600000, 3600000};
    static const unsigned repeats[] = {0, 5, 30};

    manner->window_ms = windows[dice_below(dice, 5)];
    manner->max = dice_percent(dice, 15) ? dice_between(dice, 1, 40) : 1000000;
    manner->passes = dice_percent(dice, 30);
    manner->repeats = repeats[dice_below(dice, 3)];
}

static void draw_route(struct scene *scene, struct route *route)
{
    struct dice *dice = &scene->sim->dice;
    uint32_t number = (uint32_t)(route - scene->routes);

    route->scene = scene;
    snprintf(route->name, sizeof route->name, "route%u", number);
    route->kind = (enum source_kind)dice_below(dice, SOURCE_KINDS);
    draw_sink(dice, &route->sink_manners[TO_SINK]);
    draw_dead_sink(dice, &route->sink_manners[TO_DEAD]);
    draw_refusals(dice, &route->refusals);
    draw_source(dice, &route->source_manner);
    shape(scene, route);
    route->shaping.dedups = dice_percent(dice, 50);
    route->shaping.hops_max = dice_percent(dice, 20) ? 0 : HOPS_MAX;
    draw_dedup(dice, &route->dedup);
    route->nameless = ledger_new_id(scene->ledger);
    route->lanes = 1 + (unsigned)dice_below(dice, LANES_MAX);
    route->credit_messages = dice_percent(dice, 20) ? 1000 : dice_between(dice, 1, 50);
    route->credit_bytes = dice_percent(dice, 30) ? 4000 : 1 << 20;
    route->len_max = dice_percent(dice, 10) ? 3000 : 200;
    draw_order(dice, route);
    draw_delay(dice, route);
    draw_ahead(dice, route);
    for (int outlet = 0; outlet < OUTLETS; outlet++)
        route->sinks[outlet] = sink_broker_new(scene->sim, number, (enum outlet)outlet);
    route->log = log_broker_new(scene->sim, route->name, 1 + (unsigned)dice_below(dice, LOG_PARTITIONS_MAX),
                                route->source_manner.begins_unknown);
    route->queue =
        queue_broker_new(scene->sim, route->source_manner.shuffles, route->shaping.order != BAILEY_ORDER_NONE);
}

static struct scope *add_scope(struct scene *scene, size_t process, struct route *route)
{
    struct scope *scope = &scene->scopes[process][route - scene->routes];
    struct store *store = scene->stores[process];

    scope->store = store_scope(store, store_add_scope(store, route->name));
    scope->group.shards = scope->shards;
    scope->number = ledger_add_scope(scene->ledger, &(struct ledger_scope){.window_ms = route->dedup.window_ms,
                                                                           .max = route->dedup.max,
                                                                           .is_durable = store_is_durable(store),
                                                                           .passes = route->dedup.passes,
                                                                           .find = store_find,
                                                                           .ctx = scope->store});
    store_tell(scope->store, scope->number);
    return scope;
}

static void add_berths(struct scene *scene, struct route *route)
{
    for (size_t p = 0; p < scene->process_count; p++) {
        struct scope *scope = route->shaping.dedups ? add_scope(scene, p, route) : NULL;
        uint32_t table = NO_TABLE;
        struct state_table *kept = NULL;
        struct state_table *spill = route->spills ? tables_add_spill(store_tables(scene->stores[p])) : NULL;

        if (shaping_keeps(&route->shaping)) {
            table = ledger_add_table(scene->ledger, &scene->processes[p].wall_ms);
            kept = tables_add(store_tables(scene->stores[p]), table);
        }

        for (unsigned lane = 0; lane < route->lanes; lane++) {
            struct berth *berth = &scene->berths[scene->berth_count++];

            *berth = (struct berth){.scene = scene,
                                    .process = &scene->processes[p],
                                    .route = route,
                                    .scope = scope,
                                    .kept = kept,
                                    .spill = spill,
                                    .lane = lane};
            for (int outlet = 0; outlet < OUTLETS; outlet++)
                berth->ways[outlet] = (struct way){berth, (enum outlet)outlet};
            berth->slot = ledger_add_slot(scene->ledger, route->credit_messages, route->credit_bytes,
                                          route->kind != SOURCE_LOG, scope != NULL ? scope->number : NO_SCOPE);
            ledger_keeps(scene->ledger, berth->slot, table);
        }
    }
}

/* ---- Processes ---- */

static void draw_store(struct dice *dice, struct store_manner *manner)
{
    static const enum sync_policy policies[] = {SYNC_BATCH, SYNC_BATCH, SYNC_INTERVAL, SYNC_NONE};

    manner->is_durable = !dice_percent(dice, 20);
    manner->sync = policies[dice_below(dice, 4)];
    manner->interval_ms = dice_between(dice, 50, 1000);
    manner->write_ms = dice_percent(dice, 20) ? 200 : dice_between(dice, 0, 10);
    manner->look_up_ms = dice_percent(dice, 20) ? 200 : dice_between(dice, 0, 5);
    manner->load_ms = dice_percent(dice, 20) ? 2000 : 20;
}

static void draw_processes(struct scene *scene)
{
    struct dice *dice = &scene->sim->dice;

    scene->process_count = 1 + (size_t)dice_below(dice, PROCESSES_MAX);
    for (size_t i = 0; i < scene->process_count; i++) {
        struct store_manner manner;

        draw_store(dice, &manner);
        manner.is_durable |= scene->keeps;
        scene->machine[i] = (unsigned)dice_below(dice, scene->process_count);
        scene->wall_ms[i] = WALL_MS;
        scene->stores[i] = store_new(scene->sim, &scene->processes[i], &manner);
    }
}

static void draw_replayer(struct scene *scene)
{
    struct dice *dice = &scene->sim->dice;
    struct route *route = &scene->routes[dice_below(dice, scene->route_count)];

    route->is_replayed = route->refusals.has_dead_letters && dice_percent(dice, 50);
    if (route->is_replayed)
        scene->replayer = replayer_new(scene, route);
}

struct scene *scene_new(struct sim *sim)
{
    struct scene *scene = world_alloc(1, sizeof *scene);
    struct dice *dice = &sim->dice;

    scene->sim = sim;
    scene->ledger = sim->ledger = ledger_new(sim);
    scene->arena = arena_new();
    scene->keeps = dice_percent(dice, 40);
    draw_processes(scene);
    scene->route_count = 1 + (size_t)dice_below(dice, ROUTES_MAX);
    for (size_t i = 0; i < scene->route_count; i++) {
        draw_route(scene, &scene->routes[i]);
        add_berths(scene, &scene->routes[i]);
    }
    scene->to_produce = (uint32_t)dice_between(dice, 20, 300);
    scene->faults_until_ms = sim->now_ms + dice_between(dice, 1000, 30000);
    scene->fault_every_ms = 50u << dice_below(dice, 8); /* 50 ms to 6.4 s */
    scene->has_shapeless = dice_percent(dice, 15);
    scene->producer = (struct event){.run = producer_due, .ctx = scene};
    scene->faults = (struct event){.run = faults_due, .ctx = scene};
    draw_replayer(scene);
    fleet_begin(scene);
    sim_plan(sim, &scene->producer, sim->now_ms);
    sim_plan(sim, &scene->faults, sim->now_ms + dice_between(dice, 0, 2 * scene->fault_every_ms));
    return scene;
}
