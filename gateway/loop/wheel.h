/* loop/wheel.h: a hierarchical timing wheel.
 *
 * Start and stop are O(1) and allocate nothing; advancing costs O(timers due) plus at most one visit a level for each of
 * them. Resolution is 1 ms. Knows no clock: it is told the time. Not thread-safe: it belongs to one loop.
 */
#ifndef BAILEY_WHEEL_H
#define BAILEY_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include <bailey/host.h>

enum { WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS, WHEEL_LEVELS = 8 };

/* The last time there is, in ms: later ones are cut to it (8,900 years of uptime). */
#define WHEEL_TIME_MAX_MS ((INT64_C(1) << (WHEEL_BITS * WHEEL_LEVELS)) - 1)

struct wheel {
    int64_t now_ms;
    struct bailey_timer *slots[WHEEL_LEVELS][WHEEL_SLOTS];
    uint64_t occupied[WHEEL_LEVELS]; /* a bit a slot; may be set for a slot that has become empty */
    struct bailey_timer *due;        /* expired, to be fired */
};

/* `now_ms` >= 0. */
void wheel_init(struct wheel *wheel, int64_t now_ms);

/* Fire `timer` once at `due_ms` (a past time: at the next advance); restarting moves it. Borrows it. */
void wheel_start(struct wheel *wheel, struct bailey_timer *timer, int64_t due_ms);

/* Stop `timer` if it runs. */
void wheel_stop(struct bailey_timer *timer);

/* True between the start and the stop or firing. */
bool wheel_is_running(const struct bailey_timer *timer);

/* Move to `now_ms` and fire what is due, in order of time; timers may be started and stopped from their callbacks. A time
 * before the wheel's now is ignored. */
void wheel_advance(struct wheel *wheel, int64_t now_ms);

/* When wheel_advance() should be called next: the time of the next timer, or somewhat before it; -1 if none runs. */
int64_t wheel_next_ms(struct wheel *wheel);

#endif
