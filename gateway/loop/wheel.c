/* Hierarchical timing wheel.
 *
 * A time is a number of WHEEL_LEVELS digits in base 64. A timer stands in the level of the highest digit in which its due
 * time differs from now, in the slot of that digit. When now reaches the slot's first millisecond, its timers are spread
 * over the levels below; those of level 0 fire. So a timer moves at most once a level, and one that is alone in its slot not at
 * all. A word of bits a level finds the next occupied slot without walking; a bit may be stale, as stopping a timer does not
 * look which slot it leaves.
 */
#include "loop/wheel.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static unsigned digit(int64_t time_ms, unsigned level)
{
    return (unsigned)((uint64_t)time_ms >> (level * WHEEL_BITS)) & (WHEEL_SLOTS - 1);
}

static void link_timer(struct bailey_timer **head, struct bailey_timer *timer)
{
    timer->next = *head;
    timer->prev = head;
    if (*head != NULL)
        (*head)->prev = &timer->next;
    *head = timer;
}

static void place(struct wheel *wheel, struct bailey_timer *timer)
{
    uint64_t differs = (uint64_t)timer->due_ms ^ (uint64_t)wheel->now_ms;

    if (timer->due_ms <= wheel->now_ms) {
        link_timer(&wheel->due, timer);
        return;
    }
    unsigned level = (63u - (unsigned)__builtin_clzll(differs)) / WHEEL_BITS;
    unsigned slot = digit(timer->due_ms, level);

    assert(level < WHEEL_LEVELS);
    link_timer(&wheel->slots[level][slot], timer);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void wheel_init(struct wheel *wheel, int64_t now_ms)
{
    assert(now_ms >= 0);
    memset(wheel, 0, sizeof *wheel);
    wheel->now_ms = now_ms;
}

void wheel_start(struct wheel *wheel, struct bailey_timer *timer, int64_t due_ms)
{
    assert(timer->fire != NULL);
    wheel_stop(timer);
    timer->due_ms = due_ms < WHEEL_TIME_MAX_MS ? due_ms : WHEEL_TIME_MAX_MS;
    place(wheel, timer);
}

void wheel_stop(struct bailey_timer *timer)
{
    if (timer->prev == NULL)
        return;
    *timer->prev = timer->next;
    if (timer->next != NULL)
        timer->next->prev = timer->prev;
    timer->next = NULL;
    timer->prev = NULL;
}

bool wheel_is_running(const struct bailey_timer *timer)
{
    return timer->prev != NULL;
}

/* The next occupied slot after now: the lowest level that has one holds it. False if there is none. */
static bool next_slot(struct wheel *wheel, unsigned *level, unsigned *slot)
{
    for (*level = 0; *level < WHEEL_LEVELS; (*level)++) {
        unsigned here = digit(wheel->now_ms, *level);
        uint64_t ahead = here == WHEEL_SLOTS - 1 ? 0 : wheel->occupied[*level] & ~UINT64_C(0) << (here + 1);

        while (ahead != 0) {
            *slot = (unsigned)__builtin_ctzll(ahead);
            if (wheel->slots[*level][*slot] != NULL)
                return true;
            wheel->occupied[*level] &= ~(UINT64_C(1) << *slot);
            ahead &= ahead - 1;
        }
    }
    return false;
}

/* The first millisecond of that slot. */
static int64_t slot_time(const struct wheel *wheel, unsigned level, unsigned slot)
{
    unsigned shift = level * WHEEL_BITS;
    uint64_t upper = (uint64_t)wheel->now_ms >> (shift + WHEEL_BITS) << (shift + WHEEL_BITS);

    return (int64_t)(upper | (uint64_t)slot << shift);
}

/* When something is to be done about that slot at the earliest: one that is alone in it waits for its own time. */
static int64_t next_time(const struct wheel *wheel, unsigned level, unsigned slot)
{
    const struct bailey_timer *first = wheel->slots[level][slot];

    return first->next == NULL ? first->due_ms : slot_time(wheel, level, slot);
}

/* Fire what is due. What a callback starts without delay is left for the next call, so that it cannot loop for ever. */
static void fire_due(struct wheel *wheel)
{
    struct bailey_timer *batch = wheel->due, *timer;

    wheel->due = NULL;
    if (batch != NULL)
        batch->prev = &batch; /* the list has moved to this head */
    while ((timer = batch) != NULL) {
        wheel_stop(timer);
        timer->fire(timer);
    }
}

static void spread(struct wheel *wheel, unsigned level, unsigned slot)
{
    struct bailey_timer *timer;

    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    while ((timer = wheel->slots[level][slot]) != NULL) {
        wheel_stop(timer);
        place(wheel, timer);
    }
}

void wheel_advance(struct wheel *wheel, int64_t now_ms)
{
    unsigned level, slot;

    fire_due(wheel);
    while (next_slot(wheel, &level, &slot)) {
        int64_t begins_ms = slot_time(wheel, level, slot), next_ms = next_time(wheel, level, slot);

        if (begins_ms > now_ms)
            break;
        wheel->now_ms = next_ms <= now_ms ? next_ms : begins_ms; /* now may not pass what stands in a slot */
        spread(wheel, level, slot);
        fire_due(wheel);
    }
    if (now_ms > wheel->now_ms)
        wheel->now_ms = now_ms;
}

int64_t wheel_next_ms(struct wheel *wheel)
{
    unsigned level, slot;

    if (wheel->due != NULL)
        return wheel->now_ms;
    return next_slot(wheel, &level, &slot) ? next_time(wheel, level, slot) : -1;
}
