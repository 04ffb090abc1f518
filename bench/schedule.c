/* bench/schedule: what it costs to keep messages until their time, without brokers.
 *
 *     schedule [N [PATH]]
 *
 * One lane puts N messages of 256 bytes, due from an hour on over 24 h, into RocksDB, in batches of 256. CPU is that of all threads.
 * Then it ends, begins anew, and puts one that is due at once: how long until that is taken? At last 5,000 a second are put, due in
 * 2 s, for 10 s: how late are they taken?
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "core/schedule.h"
#include "host/registry.h"
#include "loop/loop.h"
#include "message/pool.h"
#include "state/store.h"

enum { BATCH = 256, BODY = 256, PLACES = 8192, LATE_MAX = 10000, RATE = 5000, SECONDS = 10 };

static struct bailey_host *loop;
static struct bailey_pool *pool;
static struct state_store *store;
static struct state_table *table;
static struct schedule *schedule;
static struct schedule_slot places[PLACES], *free_places[PLACES];
static size_t free_count;
static uint64_t put_count, taken, late[LATE_MAX + 1];
static bool closed;

static int64_t now_ms(void)
{
    return (int64_t)(wall_s() * 1e3) + table->clock_ms;
}

static void on_kept(void *ctx, struct schedule_slot *slot)
{
    (void)ctx;
    free_places[free_count++] = slot;
}

static void on_kept_end(void *ctx)
{
    (void)ctx;
}

static void on_due(void *ctx)
{
    struct bailey_message *message;
    struct schedule_note note;
    struct schedule_entry *entry;

    (void)ctx;
    while ((entry = schedule_take(schedule, &message, &note)) != NULL) {
        int64_t late_ms = now_ms() - note.due_ms;

        late[late_ms < 0 ? 0 : late_ms < LATE_MAX ? late_ms : LATE_MAX]++;
        taken++;
        bailey_message_unref(message);
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
    struct bailey_error err;

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
}

static void put(struct bailey_message *message, int64_t delay_ms)
{
    struct schedule_slot *slot = free_places[--free_count];
    uint64_t number = ++put_count;

    slot->message = message;
    slot->note = (struct schedule_note){.due_ms = now_ms() + delay_ms,
                                        .unique = {{number * UINT64_C(0x9e3779b97f4a7c15), number}}};
    schedule_put(schedule, slot);
}

static void fill(struct bailey_message *message, uint64_t count)
{
    uint64_t drawn = 1;

    while (put_count < count || free_count < PLACES) {
        for (int i = 0; i < BATCH && free_count > 0 && put_count < count; i++) {
            drawn = drawn * UINT64_C(6364136223846793005) + 1442695040888963407u;
            put(message, 3600000 + (int64_t)((drawn >> 33) % 86400000));
        }
        schedule_flush(schedule);
        loop_turn(loop, free_count == 0 || put_count == count ? 10 : 0);
    }
}

static int64_t percentile(double part)
{
    uint64_t seen = 0;
    int64_t ms = 0;

    while (ms < LATE_MAX && (seen += late[ms]) < (uint64_t)((double)taken * part))
        ms++;
    return ms;
}

static void flow(struct bailey_message *message)
{
    double began = wall_s(), cpu = cpu_s();
    uint64_t first = put_count, last = first + RATE * SECONDS;

    taken = 0;
    memset(late, 0, sizeof late);
    while (taken < RATE * SECONDS) {
        while (put_count < last && (double)(put_count - first) < (wall_s() - began) * RATE && free_count > 0)
            put(message, 2000);
        schedule_flush(schedule);
        loop_turn(loop, 1);
    }
    printf("%d/s: lateness p50 %" PRId64 " ms, p99 %" PRId64 " ms; %.1f us CPU a message, RSS %.1f MB\n", RATE,
           percentile(0.5), percentile(0.99), (cpu_s() - cpu) / (RATE * SECONDS) * 1e6, rss_mb());
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    struct config_route route = {.name = "bench", .lanes = 1, .keeps_messages = true};
    struct config config = {.routes = &route,
                            .route_count = 1,
                            .state = {.store = CONFIG_STATE_ROCKSDB, .path = argc > 2 ? argv[2] : "bench-state"}};
    struct bailey_error err;

    loop = loop_new(&(struct loop_options){0}, &err);
    if (loop == NULL)
        fail(&err);
    pool = message_pool_new();
    for (size_t i = 0; i < PLACES; i++)
        free_places[free_count++] = &places[i];
    struct bailey_message *message = message_new(pool);
    static uint8_t body[BODY];
    message->body = bailey_message_copy(message, body, sizeof body);
    begin(&config);
    printf("%12s %10s %12s %8s\n", "messages", "CPU us", "messages/s", "RSS MB");
    for (uint64_t step = count < 100000 ? count : 100000; step <= count; step *= 10) {
        double cpu = cpu_s(), wall = wall_s();
        uint64_t before = put_count;

        fill(message, step);
        printf("%12" PRIu64 " %10.2f %12.0f %8.1f\n", put_count, (cpu_s() - cpu) / (double)(step - before) * 1e6,
               (double)(step - before) / (wall_s() - wall), rss_mb());
        fflush(stdout);
    }
    end();
    double began = wall_s();
    begin(&config);
    put(message, 0);
    schedule_flush(schedule);
    while (taken == 0)
        loop_turn(loop, 10);
    printf("begun anew, and the first taken after %.3f s; %" PRId64 " kept, RSS %.1f MB\n", wall_s() - began,
           schedule_count(schedule), rss_mb());
    fflush(stdout);
    flow(message);
    end();
    bailey_message_unref(message);
    message_pool_free(pool);
    loop_free(loop);
    return 0;
}
