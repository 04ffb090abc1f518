/* virtual_clock.h: time that stands still until a test moves it on. Included by one file of a test program.
 *
 * It gives the program a clock_gettime() of its own, which the loop gets too: so back-offs of seconds take no time, and can be
 * measured to the millisecond. Only for programs that turn their loops themselves (loop_turn with a wait of 0).
 */
#ifndef BAILEY_TEST_VIRTUAL_CLOCK_H
#define BAILEY_TEST_VIRTUAL_CLOCK_H

#include <stdint.h>
#include <time.h>

static int64_t time_ms = 1000000;
static int64_t wall_ahead_ms; /* what the wall clock is ahead of the monotonic one: a test may make it jump */

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int64_t now_ms = time_ms + (clock == CLOCK_REALTIME ? wall_ahead_ms : 0);

    *ts = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

enum { VIRTUAL_DEADLINE_MS = 10000 };

/* Turn `loop`, and move time on, until `condition` holds; fails the test at the deadline. */
#define UNTIL(loop, condition)                                \
    do {                                                      \
        int64_t deadline_ms_ = time_ms + VIRTUAL_DEADLINE_MS; \
        while (loop_turn(loop, 0), !(condition)) {            \
            assert_true(time_ms < deadline_ms_);              \
            time_ms++;                                        \
        }                                                     \
    } while (0)

#endif
