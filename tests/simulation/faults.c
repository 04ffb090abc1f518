/* faults.c: what goes wrong. */
#include "log_broker.h"
#include "replayer.h"
#include "scene.h"
#include "sink_broker.h"

/* One of the gateway's, or that of a replay. */
static struct process *any_process(struct scene *scene)
{
    struct dice *dice = &scene->sim->dice;

    if (scene->replayer != NULL && dice_percent(dice, 30))
        return replayer_process(scene->replayer);
    return &scene->processes[dice_below(dice, scene->process_count)];
}

static struct process *some_process(struct scene *scene)
{
    return &scene->processes[dice_below(&scene->sim->dice, scene->process_count)];
}

static struct route *some_route(struct scene *scene)
{
    return &scene->routes[dice_below(&scene->sim->dice, scene->route_count)];
}

static struct berth *some_berth(struct scene *scene)
{
    return &scene->berths[dice_below(&scene->sim->dice, scene->berth_count)];
}

/* At some step of what it does next, or at once. */
static void crash(struct scene *scene)
{
    struct process *process = any_process(scene);

    if (dice_percent(&scene->sim->dice, 80))
        process_crash_after(process, 1 + dice_below(&scene->sim->dice, 400));
    else
        process_crash(process);
}

static struct link *some_link(struct scene *scene)
{
    struct link *link = any_process(scene)->links;

    for (uint64_t skip = dice_below(&scene->sim->dice, 6); skip > 0 && link != NULL && link_next(link) != NULL; skip--)
        link = link_next(link);
    return link;
}

static void cut(struct scene *scene)
{
    struct link *link = some_link(scene);

    if (link != NULL && !link_is_cut(link)) {
        sim_note(scene->sim, "a link is cut", 0, 0);
        link_cut(link);
    }
}

static void slow_down(struct scene *scene)
{
    struct link *link = some_link(scene);

    if (link != NULL)
        link_set_delay(link, dice_percent(&scene->sim->dice, 50) ? 400 : 2);
}

static void rebalance(struct scene *scene)
{
    struct route *route = some_route(scene);

    if (route->kind == SOURCE_LOG)
        log_broker_rebalance(route->log, dice_percent(&scene->sim->dice, 60));
}

static void stall(struct scene *scene)
{
    struct process *process = some_process(scene);
    struct dice *dice = &scene->sim->dice;
    int64_t until_ms = scene->sim->now_ms + dice_between(dice, 10, 15000);
    bool all = dice_percent(dice, 60);
    unsigned one = (unsigned)dice_below(dice, WORKERS_MAX);

    for (unsigned i = 0; i < process->worker_count; i++)
        if (all || i == one)
            process->workers[i].stalled_until_ms = until_ms;
    sim_note(scene->sim, "process %llu: stalls until %llu", process->number, (uint64_t)until_ms);
}

static struct sink_broker *some_sink(struct scene *scene)
{
    return some_route(scene)->sinks[dice_percent(&scene->sim->dice, 30) ? TO_DEAD : TO_SINK];
}

static void block(struct scene *scene)
{
    struct sink_broker *sink = some_sink(scene);

    sink_broker_block(sink, dice_percent(&scene->sim->dice, 50));
}

static void slow_sink(struct scene *scene)
{
    struct sink_broker *sink = some_sink(scene);

    sink_broker_slow(sink, dice_percent(&scene->sim->dice, 50));
}

static void end_lane(struct scene *scene)
{
    if (dice_percent(&scene->sim->dice, 60))
        berth_drain(some_berth(scene));
    else
        berth_stop(some_berth(scene));
}

static void end_process(struct scene *scene)
{
    fleet_end(scene, some_process(scene), dice_percent(&scene->sim->dice, 60));
}

static struct store *some_store(struct scene *scene)
{
    return scene->stores[dice_below(&scene->sim->dice, scene->process_count)];
}

/* The disk is full for a while, or fails once; or nothing comes from it; or all is slow. */
static void break_store(struct scene *scene)
{
    struct dice *dice = &scene->sim->dice;
    struct store *store = some_store(scene);
    int64_t until_ms = scene->sim->now_ms + dice_between(dice, 1, 8000);

    sim_note(scene->sim, "a store breaks until %llu", (uint64_t)until_ms, 0);
    switch (dice_below(dice, 4)) {
    case 0:
        if (dice_percent(dice, 80))
            store_fail(store, STORE_WRITES, until_ms);
        if (dice_percent(dice, 50))
            store_fail(store, STORE_READS, until_ms);
        break;
    case 1:
        store_fail_once(store);
        break;
    case 2:
        store_hang(store, until_ms);
        break;
    default:
        store_slow(store, dice_percent(dice, 50));
        break;
    }
}

static void crash_machine(struct scene *scene)
{
    fleet_crash_machine(scene, (unsigned)dice_below(&scene->sim->dice, scene->process_count));
}

static void set_clock(struct scene *scene)
{
    struct dice *dice = &scene->sim->dice;

    fleet_set_clock(scene, (unsigned)dice_below(dice, scene->process_count), dice_between(dice, -3600000, 3600000));
}

static const struct {
    unsigned weight;
    void (*strike)(struct scene *scene);
} faults[] = {
    {10, crash},    {24, cut},     {8, slow_down},   {13, rebalance},  {5, stall},         {10, block},
    {6, slow_sink}, {7, end_lane}, {5, end_process}, {8, break_store}, {2, crash_machine}, {2, set_clock},
};

void fault_strike(struct scene *scene)
{
    unsigned drawn = (unsigned)dice_below(&scene->sim->dice, 100), i = 0;

    for (; drawn >= faults[i].weight; i++)
        drawn -= faults[i].weight;
    scene->fault_count++;
    faults[i].strike(scene);
}

void fault_cease(struct scene *scene)
{
    sim_note(scene->sim, "the faults are over", 0, 0);
    scene->sim->is_calm = true;
    if (scene->keeps) /* what waits for a moment comes when it does */
        fleet_mend_clocks(scene);
    for (size_t i = 0; i < scene->route_count; i++) {
        for (int outlet = 0; outlet < OUTLETS; outlet++) {
            sink_broker_block(scene->routes[i].sinks[outlet], false);
            sink_broker_slow(scene->routes[i].sinks[outlet], false);
        }
        scene->routes[i].shaping.has_defaults = scene->has_shapeless;
        scene->routes[i].refusals.has_dead_letters |= scene->has_shapeless;
    }
    if (scene->replayer != NULL)
        replayer_process(scene->replayer)->steps_to_crash = 0;
    for (size_t i = 0; i < scene->process_count; i++) {
        struct process *process = &scene->processes[i];

        store_recover(scene->stores[i]);
        process->steps_to_crash = 0;
        for (unsigned w = 0; w < process->worker_count; w++)
            process->workers[w].stalled_until_ms = 0;
        for (struct link *link = process->links; link != NULL; link = link_next(link))
            link_set_delay(link, 2);
        if (scene->has_shapeless) /* a new configuration needs it; else what is there must recover by itself */
            fleet_end(scene, process, dice_percent(&scene->sim->dice, 60));
    }
}
