/* bench/schedule: what it costs to keep messages until their time, without brokers.
 *
 *     schedule [N [PATH]]
 *
 * One lane puts N messages of 256 bytes, due from an hour on over 24 h, into RocksDB, in batches of 256. CPU is that of all threads; peak
 * is the most memory since the start; writes and disk are multiples of the bytes of the rows. Then the process is killed. Another begins
 * anew, and puts one that is due at once: how long until that is taken? At last 5,000 a second are put, due in 2 s, for 10 s: how long
 * until they are on the disk, and how late are they taken?
 */
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "core/schedule.h"
#include "core/schedule_row.h"
#include "host/registry.h"
#include "loop/loop.h"
#include "message/pool.h"
#include "state/store.h"

enum { BATCH = 256, BODY = 256, PLACES = 8192, MS_MAX = 10000, RATE = 5000, SECONDS = 10 };

/* How many took so many milliseconds. */
struct spread {
    uint64_t of[MS_MAX + 1], count;
};

struct place {
    struct schedule_slot slot; /* first */
    int64_t put_ms;
};

static struct bailey_host *loop;
static struct bailey_pool *pool;
static struct bailey_message *message;
static struct state_store *store;
static struct state_table *table;
static struct schedule *schedule;
static struct place places[PLACES], *free_places[PLACES];
static size_t free_count;
static uint64_t put_count;
static struct spread late, kept;
static bool closed;

/* ---- Measures ---- */

/* A number that stands behind `name` in a file of /proc; 0: there is none. */
static double proc_number(const char *path, const char *name)
{
    char line[256];
    double number = 0;
    FILE *file = fopen(path, "r");

    while (file != NULL && number == 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            number = strtod(line + strlen(name), NULL);
    if (file != NULL)
        fclose(file);
    return number;
}

static double memory_mb(const char *name)
{
    return proc_number("/proc/self/status", name) * 1024 / 1e6;
}

static double written_bytes(void)
{
    return proc_number("/proc/self/io", "wchar:");
}

static double folder_bytes;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type == FTW_F)
        folder_bytes += (double)st->st_size;
    return 0;
}

static double disk_bytes(const char *path)
{
    folder_bytes = 0;
    nftw(path, add_file, 16, FTW_PHYS);
    return folder_bytes;
}

static void count_ms(struct spread *spread, int64_t ms)
{
    spread->of[ms < 0 ? 0 : ms < MS_MAX ? ms : MS_MAX]++;
    spread->count++;
}

static int64_t percentile(const struct spread *spread, double part)
{
    uint64_t seen = 0;
    int64_t ms = 0;

    while ((seen += spread->of[ms]) < (uint64_t)((double)spread->count * part) && ms < MS_MAX)
        ms++;
    return ms;
}

/* ---- A lane ---- */

static int64_t now_ms(void)
{
    return (int64_t)(wall_s() * 1e3) + table->clock_ms;
}

static void on_kept(void *ctx, struct schedule_slot *slot)
{
    struct place *place = (struct place *)slot;

    (void)ctx;
    count_ms(&kept, now_ms() - place->put_ms);
    free_places[free_count++] = place;
}

static void on_kept_end(void *ctx)
{
    (void)ctx;
}

static void on_due(void *ctx)
{
    struct bailey_message *due;
    struct schedule_note note;
    struct schedule_entry *entry;

    (void)ctx;
    while ((entry = schedule_take(schedule, &due, &note)) != NULL) {
        count_ms(&late, now_ms() - note.due_ms);
        bailey_message_unref(due);
        schedule_done(schedule, entry);
    }
    schedule_flush(schedule);
}

static void on_trouble(void *ctx, const char *reason)
{
    (void)ctx;
    if (reason[0] != '\0')
        fprintf(stderr, "%s\n", reason);
}

static void on_closed(void *ctx)
{
    (void)ctx;
    closed = true;
}

static void begin(const struct config *config)
{
    static uint8_t body[BODY];
    struct bailey_error err;

    loop = loop_new(&(struct loop_options){0}, &err);
    if (loop == NULL)
        fail(&err);
    pool = message_pool_new();
    message = message_new(pool);
    message->body = bailey_message_copy(message, body, sizeof body);
    for (size_t i = 0; i < PLACES; i++)
        free_places[free_count++] = &places[i];
    store = state_store_open(config, registry_find_store, &err);
    if (store == NULL || !state_store_start(store, &err))
        fail(&err);
    table = state_store_table(store, 0);
    schedule = schedule_new(&(struct schedule_options){.host = loop,
                                                       .table = table,
                                                       .messages = pool,
                                                       .route = "bench",
                                                       .lanes = 1,
                                                       .window_messages = 4096,
                                                       .window_bytes = 4 << 20,
                                                       .on_kept = on_kept,
                                                       .on_kept_end = on_kept_end,
                                                       .on_due = on_due,
                                                       .on_trouble = on_trouble});
}

static void end(void)
{
    closed = false;
    schedule_close(schedule, on_closed);
    while (!closed)
        loop_turn(loop, 10);
    schedule_free(schedule);
    state_store_stop(store);
    loop_turn(loop, 0);
    state_store_close(store);
    bailey_message_unref(message);
    message_pool_free(pool);
    loop_free(loop);
}

static void put(int64_t delay_ms)
{
    struct place *place = free_places[--free_count];
    uint64_t number = ++put_count;

    place->put_ms = now_ms();
    place->slot.message = message;
    place->slot.note = (struct schedule_note){.due_ms = place->put_ms + delay_ms,
                                              .unique = {{number * UINT64_C(0x9e3779b97f4a7c15), number}}};
    schedule_put(schedule, &place->slot);
}

/* ---- What is measured ---- */

static void fill(uint64_t count)
{
    static uint64_t drawn = 1;

    while (put_count < count || free_count < PLACES) {
        for (int i = 0; i < BATCH && free_count > 0 && put_count < count; i++) {
            drawn = drawn * UINT64_C(6364136223846793005) + 1442695040888963407u;
            put(3600000 + (int64_t)((drawn >> 33) % 86400000));
        }
        schedule_flush(schedule);
        loop_turn(loop, free_count == 0 || put_count == count ? 10 : 0);
    }
}

static void fill_in_steps(uint64_t count, const char *path)
{
    printf("%12s %10s %12s %8s %8s %9s %7s\n", "messages", "CPU us", "messages/s", "RSS MB", "peak MB", "writes x",
           "disk x");
    for (uint64_t step = count < 100000 ? count : 100000; step <= count; step *= 10) {
        double cpu = cpu_s(), wall = wall_s();
        uint64_t before = put_count;

        fill(step);
        double count_new = (double)(step - before), rows = (double)step * (double)(ROW_KEY + row_size(message));
        printf("%12" PRIu64 " %10.2f %12.0f %8.1f %8.1f %9.2f %7.2f\n", step, (cpu_s() - cpu) / count_new * 1e6,
               count_new / (wall_s() - wall), memory_mb("VmRSS:"), memory_mb("VmHWM:"), written_bytes() / rows,
               disk_bytes(path) / rows);
        fflush(stdout);
    }
}

/* In a process of its own, which is killed. */
static void fill_and_die(const struct config *config, uint64_t count)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        begin(config);
        fill_in_steps(count, config->state.path);
        kill(getpid(), SIGKILL);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        exit(1);
}

static void restart(const struct config *config)
{
    double began = wall_s(), cpu = cpu_s();

    begin(config);
    put(0);
    schedule_flush(schedule);
    while (late.count == 0)
        loop_turn(loop, 10);
    printf("killed and begun anew, the first taken after %.3f s (%.3f s CPU); %" PRId64 " kept, RSS %.1f MB\n",
           wall_s() - began, cpu_s() - cpu, schedule_count(schedule), memory_mb("VmRSS:"));
    fflush(stdout);
}

static void flow(void)
{
    double began = wall_s(), cpu = cpu_s(), written = written_bytes();
    uint64_t first = put_count, last = first + RATE * SECONDS;

    late = kept = (struct spread){0};
    while (late.count < RATE * SECONDS) {
        while (put_count < last && (double)(put_count - first) < (wall_s() - began) * RATE && free_count > 0)
            put(2000);
        schedule_flush(schedule);
        loop_turn(loop, 1);
    }
    printf("%d/s: kept after p50 %" PRId64 " ms, p99 %" PRId64 " ms; late by p50 %" PRId64 " ms, p99 %" PRId64
           " ms, p99.9 %" PRId64 " ms\n",
           RATE, percentile(&kept, 0.5), percentile(&kept, 0.99), percentile(&late, 0.5), percentile(&late, 0.99),
           percentile(&late, 0.999));
    printf("%11s %.1f us CPU a message, %.1f MB written a second, RSS %.1f MB, peak %.1f MB\n", "",
           (cpu_s() - cpu) / (RATE * SECONDS) * 1e6, (written_bytes() - written) / (wall_s() - began) / 1e6,
           memory_mb("VmRSS:"), memory_mb("VmHWM:"));
}

int main(int argc, char **argv)
{
    struct config_route route = {.name = "bench", .lanes = 1, .keeps_messages = true};
    struct config config = {.routes = &route,
                            .route_count = 1,
                            .state = {.store = CONFIG_STATE_ROCKSDB, .path = argc > 2 ? argv[2] : "bench-state"}};

    fill_and_die(&config, argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000);
    restart(&config);
    flow();
    end();
    return 0;
}
