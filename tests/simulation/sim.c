/* sim.c: a binary heap of events, and a generator. */
#include "sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Chance ---- */

uint64_t dice_next(struct dice *dice)
{
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 (Steele, Lea, Flood 2014) */

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t dice_below(struct dice *dice, uint64_t limit)
{
    assert(limit > 0);
    return (uint64_t)(((unsigned __int128)dice_next(dice) * limit) >> 64);
}

int64_t dice_between(struct dice *dice, int64_t least, int64_t most)
{
    return least + (int64_t)dice_below(dice, (uint64_t)(most - least) + 1);
}

bool dice_percent(struct dice *dice, unsigned percent)
{
    return dice_below(dice, 100) < percent;
}

/* ---- Time ---- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->due_ms < b->due_ms || (a->due_ms == b->due_ms && a->order < b->order);
}

static void put(struct sim *sim, size_t place, struct event *event)
{
    sim->heap[place] = event;
    event->place = place;
}

static void sift_up(struct sim *sim, size_t place, struct event *event)
{
    while (place > 1 && is_before(event, sim->heap[place / 2])) {
        put(sim, place, sim->heap[place / 2]);
        place /= 2;
    }
    put(sim, place, event);
}

static void sift_down(struct sim *sim, size_t place, struct event *event)
{
    for (;;) {
        size_t child = place * 2;

        if (child < sim->heap_count && is_before(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (child > sim->heap_count || !is_before(sim->heap[child], event))
            break;
        put(sim, place, sim->heap[child]);
        place = child;
    }
    put(sim, place, event);
}

void sim_cancel(struct sim *sim, struct event *event)
{
    size_t place = event->place;

    if (place == 0)
        return;
    event->place = 0;
    struct event *last = sim->heap[sim->heap_count--];

    if (last == event)
        return;
    if (place > 1 && is_before(last, sim->heap[place / 2]))
        sift_up(sim, place, last);
    else
        sift_down(sim, place, last);
}

void sim_plan(struct sim *sim, struct event *event, int64_t due_ms)
{
    sim_cancel(sim, event);
    if (sim->heap_count + 1 >= sim->heap_cap) {
        sim->heap_cap = sim->heap_cap ? sim->heap_cap * 2 : 64;
        sim->heap = world_grow(sim->heap, sim->heap_cap, sizeof *sim->heap);
    }
    event->due_ms = due_ms < sim->now_ms ? sim->now_ms : due_ms;
    event->order = dice_next(&sim->dice);
    sim->heap_count++;
    sift_up(sim, sim->heap_count, event);
}

bool sim_next(struct sim *sim, int64_t until_ms)
{
    struct event *event = sim->heap_count > 0 ? sim->heap[1] : NULL;

    if (event == NULL || event->due_ms > until_ms) {
        sim->now_ms = until_ms;
        return false;
    }
    sim_cancel(sim, event);
    sim->now_ms = event->due_ms;
    sim->events++;
    event->run(event);
    return true;
}

/* ---- What happened ---- */

void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b)
{
    uint64_t z = sim->digest ^ (uint64_t)sim->now_ms ^ a << 20 ^ b << 40 ^ (uint64_t)(unsigned char)what[0] << 56;

    sim->digest = (z ^ z >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    if (!sim->trace)
        return;
    printf("%9lld ms  ", (long long)sim->now_ms);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    printf(what, (unsigned long long)a, (unsigned long long)b);
#pragma GCC diagnostic pop
    putchar('\n');
}

void sim_fail(struct sim *sim, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(sim->why, sizeof sim->why, fmt, args);
    va_end(args);
    longjmp(sim->broken, 1);
}
