/* bench/wheel: what a timer costs: to start, to cancel, to expire.
 *
 *     wheel [N]
 *
 * N timers, due within a minute and within a day: each started, each cancelled; then each started again, and the time turned until all have
 * fired, a millisecond at a time. The least of some rounds counts: this machine has other work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "loop/wheel.h"

enum { ROUNDS = 7 };

struct cost {
    double start, cancel, expire; /* ns */
};

static struct wheel wheel;
static uint64_t fired;

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void fire(struct bailey_timer *timer)
{
    (void)timer;
    fired++;
}

static void start_all(struct bailey_timer *timers, const int64_t *delays, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wheel_start(&wheel, &timers[i], wheel.now_ms + delays[i]);
}

static void keep_least(double *least, double began_ns, size_t count)
{
    double ns = (now_ns() - began_ns) / (double)count;

    if (*least == 0 || ns < *least)
        *least = ns;
}

static void measure(struct cost *cost, struct bailey_timer *timers, const int64_t *delays, size_t count)
{
    double began = now_ns();

    start_all(timers, delays, count);
    keep_least(&cost->start, began, count);
    began = now_ns();
    for (size_t i = 0; i < count; i++)
        wheel_stop(&timers[i]);
    keep_least(&cost->cancel, began, count);
    start_all(timers, delays, count);
    began = now_ns();
    for (fired = 0; fired < count;) {
        int64_t next_ms = wheel_next_ms(&wheel);

        wheel_advance(&wheel, next_ms);
    }
    keep_least(&cost->expire, began, count);
}

static void measure_within(int64_t within_ms, size_t count)
{
    struct bailey_timer *timers = calloc(count, sizeof *timers);
    int64_t *delays = calloc(count, sizeof *delays);
    struct cost cost = {0};
    uint64_t drawn = 1;

    if (timers == NULL || delays == NULL)
        exit(1);
    for (size_t i = 0; i < count; i++) {
        drawn = drawn * UINT64_C(6364136223846793005) + 1442695040888963407u;
        delays[i] = 1 + (int64_t)((drawn >> 33) % (uint64_t)within_ms);
        timers[i].fire = fire;
    }
    wheel_init(&wheel, 1000);
    for (int i = 0; i < ROUNDS; i++)
        measure(&cost, timers, delays, count);
    printf("%10zu %12" PRId64 " %9.1f %9.1f %9.1f\n", count, within_ms / 1000, cost.start, cost.cancel, cost.expire);
    free(timers);
    free(delays);
}

int main(int argc, char **argv)
{
    size_t most = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;

    printf("%10s %12s %9s %9s %9s\n", "timers", "due within s", "start ns", "cancel ns", "expire ns");
    for (size_t count = 1000; count <= most; count *= 10)
        for (int64_t within_ms = 60000; within_ms <= 86400000; within_ms *= 1440)
            measure_within(within_ms, count);
    return 0;
}
