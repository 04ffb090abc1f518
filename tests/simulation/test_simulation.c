/* test_simulation.c: play seeds.
 *
 *     test_simulation                                the unit test: 20,000 seeds, TAP
 *     test_simulation --seed N [--trace]             one seed, and with --trace all that happens in it
 *     test_simulation --seed N --runs M [--jobs J]   the seeds N .. N+M-1, in J processes, and how many a second
 *
 * A seed that fails is named, with the command to replay it. Exit code: 0 if all passed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "play.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1, UNIT_SEEDS = 1000 }; /* it makes them slow, and finds its own kind of mistake in few */
#else
enum { IS_SANITIZED = 0, UNIT_SEEDS = 20000 };
#endif
enum { UNIT_CASES = 20, TWICE = 25, JOBS_MAX = 64 };

struct options {
    uint64_t seed, runs, jobs;
    bool trace;
};

static void tell_failure(uint64_t seed, const char *why)
{
    printf("seed %" PRIu64 ": %s\nreplay: make sim SEED=%" PRIu64 "\n", seed, why, seed);
    fflush(stdout);
}

/* An assert of the core, a fault, or no end. */
static void on_signal(int number)
{
    char text[160];
    uint64_t seed = play_current();
    int len = snprintf(text, sizeof text, "seed %" PRIu64 ": signal %d\nreplay: make sim SEED=%" PRIu64 "\n", seed,
                       number, seed);

    if (write(STDOUT_FILENO, text, (size_t)len) < 0)
        _exit(2);
    _exit(1);
}

/* Every `step`-th seed; stops at the first that fails. */
static bool play_some(uint64_t first, uint64_t count, uint64_t step, bool trace, struct totals *totals)
{
    for (uint64_t i = 0; i < count; i++) {
        struct verdict verdict = play_seed(first + i * step, trace, totals);

        if (verdict.passed)
            continue;
        tell_failure(first + i * step, verdict.why);
        return false;
    }
    return true;
}

/* ---- Several processes ---- */

static void child(const struct options *options, uint64_t number, int fd)
{
    uint64_t count = options->runs / options->jobs + (number < options->runs % options->jobs);
    struct totals totals = {0};
    bool passed = play_some(options->seed + number, count, options->jobs, options->trace, &totals);

    if (write(fd, &totals, sizeof totals) != sizeof totals)
        passed = false;
    fflush(stdout);
    _exit(!passed);
}

static void add(struct totals *sum, const struct totals *part)
{
    sum->seeds += part->seeds;
    sum->messages += part->messages;
    sum->faults += part->faults;
    sum->crashes += part->crashes;
    sum->duplicates += part->duplicates;
    sum->marked += part->marked;
    sum->swallowed += part->swallowed;
    sum->events += part->events;
}

static bool play_side_by_side(const struct options *options, struct totals *totals)
{
    pid_t pids[JOBS_MAX];
    struct totals part;
    bool passed = true;
    int pipes[2], status;

    if (pipe(pipes) != 0)
        return false;
    fflush(stdout);
    for (uint64_t i = 0; i < options->jobs; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            child(options, i, pipes[1]);
    }
    close(pipes[1]);
    for (uint64_t i = 0; i < options->jobs; i++)
        passed &= pids[i] > 0 && waitpid(pids[i], &status, 0) == pids[i] && status == 0;
    while (read(pipes[0], &part, sizeof part) == sizeof part)
        add(totals, &part);
    close(pipes[0]);
    return passed;
}

static double seconds_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool simulate(const struct options *options)
{
    struct totals totals = {0};
    double began = seconds_now();
    bool passed;

    if (options->jobs > 1 && options->runs > 1)
        passed = play_side_by_side(options, &totals);
    else
        passed = play_some(options->seed, options->runs, 1, options->trace, &totals);
    printf("%" PRIu64 " seeds from %" PRIu64 ", %.0f a second: %" PRIu64 " messages, %" PRIu64 " faults, %" PRIu64
           " crashes, %" PRIu64 " duplicates, %" PRIu64 " of them marked, %" PRIu64 " dropped by their id; %" PRIu64
           " events\n",
           totals.seeds, options->seed, (double)totals.seeds / (seconds_now() - began), totals.messages, totals.faults,
           totals.crashes, totals.duplicates, totals.marked, totals.swallowed, totals.events);
    return passed;
}

/* ---- The unit test ---- */

static bool is_the_same_twice(uint64_t seed)
{
    struct totals totals = {0};
    struct verdict one = play_seed(seed, false, &totals), two = play_seed(seed, false, &totals);

    if (one.digest != two.digest)
        tell_failure(seed, "it is not the same when it is played again");
    return one.digest == two.digest;
}

static bool unit(void)
{
    uint64_t each = UNIT_SEEDS / UNIT_CASES, first = 1;
    bool passed = true, same = true;
    struct totals totals = {0};

    printf("1..%d\n", UNIT_CASES + 1);
    for (int i = 1; i <= UNIT_CASES; i++, first += each) {
        bool ok = play_some(first, each, 1, false, &totals);

        printf("%s %d - seeds %" PRIu64 " to %" PRIu64 "\n", ok ? "ok" : "not ok", i, first, first + each - 1);
        fflush(stdout);
        passed &= ok;
    }
    for (uint64_t seed = 1; seed <= TWICE; seed++)
        same &= is_the_same_twice(seed);
    printf("%s %d - a seed is the same when it is played again\n", same ? "ok" : "not ok", UNIT_CASES + 1);
    return passed && same;
}

static bool parse(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *name;
            uint64_t *value;
        } numbers[] = {{"--seed", &options->seed}, {"--runs", &options->runs}, {"--jobs", &options->jobs}};
        bool known = strcmp(argv[i], "--trace") == 0;

        options->trace |= known;
        for (size_t n = 0; n < 3 && !known && i + 1 < argc; n++) {
            known = strcmp(argv[i], numbers[n].name) == 0;
            if (known)
                *numbers[n].value = strtoull(argv[++i], NULL, 10);
        }
        if (!known)
            return false;
    }
    return options->jobs >= 1 && options->jobs <= JOBS_MAX;
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1, .runs = 1, .jobs = 1};

    if (!parse(&options, argc, argv)) {
        fprintf(stderr, "usage: %s [--seed N] [--runs M] [--jobs J] [--trace]\n", argv[0]);
        return 2;
    }
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    if (!IS_SANITIZED) /* which has more to say about it */
        signal(SIGSEGV, on_signal);
    log_set_level((enum bailey_log_level)LOG_LEVEL_NONE);
    return !(argc > 1 ? simulate(&options) : unit());
}
