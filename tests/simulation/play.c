/* play.c: faults, then calm, then the end. After the faults everything must be done within a bounded time, at the end nothing
 * may be left.
 */
#include "play.h"

#include <string.h>
#include <unistd.h>

#include "replayer.h"

enum {
    CALM_MS = 600000, /* back-offs reach 72 s for a message, and 36 s for an end */
    END_MS = 120000,
    EVENTS_MAX = 1000000, /* some hundred times the usual: it goes round and round */
    ALARM_S = 60,         /* real time: a loop without an event in it */
};

static struct sim sim; /* not on the stack: it is read after a longjmp */
static struct scene *scene;
static uint64_t current;

static bool is_done(void)
{
    return sim.is_calm && scene->to_produce == 0 && ledger_is_complete(scene->ledger) &&
           (scene->replayer == NULL || replayer_is_done(scene->replayer));
}

static bool is_gone(void)
{
    return fleet_is_gone(scene);
}

static void run_until(bool (*reached)(void), int64_t limit_ms, const char *what)
{
    while (!reached()) {
        if (!sim_next(&sim, limit_ms))
            sim_fail(&sim, "%s", what);
        if (sim.events > EVENTS_MAX)
            sim_fail(&sim, "no end: %d events", EVENTS_MAX);
    }
}

static void play(struct totals *totals)
{
    scene = scene_new(&sim);
    run_until(is_done, scene->faults_until_ms + CALM_MS, "no progress: messages are left after the faults");
    scene->is_over = true;
    for (size_t i = 0; i < scene->process_count; i++)
        fleet_end(scene, &scene->processes[i], dice_percent(&sim.dice, 70));
    run_until(is_gone, sim.now_ms + END_MS, "a process does not end");
    totals->seeds++;
    totals->messages += scene->ledger->message_count;
    totals->faults += scene->fault_count;
    totals->crashes += scene->crashes;
    totals->duplicates += scene->ledger->duplicates;
    totals->marked += scene->ledger->marked;
    totals->swallowed += scene->ledger->swallowed;
    totals->events += sim.events;
}

struct verdict play_seed(uint64_t seed, bool trace, struct totals *totals)
{
    struct verdict verdict;

    current = seed;
    scene = NULL;
    alarm(ALARM_S);
    sim = (struct sim){.now_ms = 1000, .dice = {seed}, .trace = trace};
    if (setjmp(sim.broken) == 0)
        play(totals);
    alarm(0);
    memory_of(NULL);
    if (scene != NULL && scene->replayer != NULL)
        memory_drop(&replayer_process(scene->replayer)->memory);
    for (size_t i = 0; scene != NULL && i < scene->process_count; i++)
        memory_drop(&scene->processes[i].memory);
    memory_drop(NULL);
    verdict = (struct verdict){.passed = sim.why[0] == '\0', .digest = sim.digest};
    memcpy(verdict.why, sim.why, sizeof verdict.why);
    return verdict;
}

uint64_t play_current(void)
{
    return current;
}
