/* bench/bench.h: what the programs that measure without brokers share: time, CPU of all threads, memory, and the end by an error. */
#ifndef BAILEY_BENCH_H
#define BAILEY_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <bailey/error.h>

static inline double bench_clock_s(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline double wall_s(void)
{
    return bench_clock_s(CLOCK_MONOTONIC);
}

static inline double cpu_s(void)
{
    return bench_clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

static inline double rss_mb(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (file != NULL)
        fclose(file);
    return (double)resident * 4096 / 1e6;
}

static inline void fail(const struct bailey_error *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

#endif
