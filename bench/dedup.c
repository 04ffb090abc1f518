/* bench/dedup: what deduplication costs, from 10^4 to 5·10^7 ids in the window, without brokers.
 *
 *     dedup STORE [IDS [PATH [SYNC_MS]]]     STORE: memory or rocksdb; SYNC_MS: 0 batch, -1 none
 *
 * One lane asks for new ids in batches of 256, up to 8,192 of them unsettled, and finishes each when it may go: the way of a
 * message through core/dedup.c and state/, with nothing around it. CPU is that of all threads of the process. One id in a
 * hundred is a copy of an old one, and must be found. At the end the process's state is opened anew, as after a restart.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "core/dedup.h"
#include "host/registry.h"
#include "loop/loop.h"
#include "state/store.h"

enum { BATCH = 256, CREDIT = 8192, COPY_EVERY = 100 };

struct place {
    struct dedup_slot slot;
    uint64_t number;
};

static struct bailey_host *loop;
static struct state *state;
static struct dedup_client *client;
static struct place places[CREDIT];
static struct place *free_places[CREDIT];
static size_t free_count;
static uint64_t asked, recorded, duplicates, marked;

static struct id id_number(uint64_t number)
{
    return id_of(&state->key, (struct bailey_bytes){(const uint8_t *)&number, sizeof number});
}

static void on_answer(void *ctx, struct dedup_slot *slot, enum dedup_answer answer)
{
    (void)ctx;
    switch (answer) {
    case DEDUP_GO_MARKED:
        marked++;
        dedup_finish(client, slot, ID_CONFIRMED);
        return;
    case DEDUP_GO:
        dedup_finish(client, slot, ID_CONFIRMED);
        return;
    case DEDUP_RECORDED:
        recorded++;
        break;
    case DEDUP_DUPLICATE:
        duplicates++;
        break;
    case DEDUP_FOLLOWS:
        return;
    case DEDUP_WITHDRAWN:
        break;
    }
    free_places[free_count++] = (struct place *)slot;
}

static void on_answers_end(void *ctx)
{
    (void)ctx;
    dedup_flush(client);
}

static void ask_batch(uint64_t until)
{
    struct dedup_slot *slots[BATCH];
    size_t count = 0;

    for (; count < BATCH && free_count > 0 && asked < until; count++) {
        struct place *place = free_places[--free_count];
        uint64_t number = asked++;

        if (number % COPY_EVERY == COPY_EVERY - 1 && number > CREDIT)
            number = number * 2654435761u % (number - CREDIT) / COPY_EVERY * COPY_EVERY;
        place->slot.id = id_number(number);
        dedup_prefetch(client, place->slot.id);
        slots[count] = &place->slot;
    }
    for (size_t i = 0; i < count; i++)
        if (dedup_ask(client, slots[i]))
            dedup_finish(client, slots[i], ID_CONFIRMED);
    dedup_flush(client);
}

static struct state_store *open_state(const struct config *config, struct dedup_group *group,
                                      struct dedup_shard **shard)
{
    struct bailey_error err;
    struct state_store *store = state_store_open(config, registry_find_store, &err);

    if (store == NULL)
        fail(&err);
    state = state_store_scope(store, 0);
    *shard = dedup_shard_new(&(struct dedup_shard_options){
        .host = loop,
        .route = "bench",
        .group = group,
        .state = state,
        .window_ms = config->scopes[0].window_ms,
        .max = config->scopes[0].max,
    });
    if (!state_store_start(store, &err))
        fail(&err);
    while (dedup_shard_trouble(*shard)[0] != '\0')
        loop_turn(loop, 10);
    return store;
}

static void run(uint64_t until)
{
    double cpu = cpu_s(), wall = wall_s();
    uint64_t before = asked;

    while (asked < until || free_count < CREDIT) {
        ask_batch(until);
        loop_turn(loop, free_count == 0 || asked == until ? 10 : 0);
    }
    double count = (double)(asked - before);

    printf("%12" PRIu64 " %10.2f %12.0f %8.0f %12" PRIu64 "\n", asked, (cpu_s() - cpu) / count * 1e6,
           count / (wall_s() - wall), rss_mb(), duplicates);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    bool in_memory = argc < 2 || strcmp(argv[1], "memory") == 0;
    uint64_t ids = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
    struct config_scope scope = {.name = "bench", .window_ms = 86400000, .max = (int64_t)ids + 1000, .lanes = 1};
    struct config config = {
        .scopes = &scope,
        .scope_count = 1,
        .state = {.store = in_memory ? CONFIG_STATE_MEMORY : CONFIG_STATE_ROCKSDB,
                  .path = argc > 3 ? argv[3] : "bench-state",
                  .sync_ms = argc > 4 ? atoi(argv[4]) : CONFIG_SYNC_BATCH},
    };
    struct dedup_shard *shards[1], *shard;
    struct dedup_group group = {.count = 1, .shards = shards};
    struct bailey_error err;

    loop = loop_new(&(struct loop_options){0}, &err);
    if (loop == NULL)
        fail(&err);
    struct state_store *store = open_state(&config, &group, &shard);
    client = dedup_client_new(&(struct dedup_client_options){
        .host = loop, .group = &group, .on_answer = on_answer, .on_answers_end = on_answers_end});
    for (size_t i = 0; i < CREDIT; i++)
        free_places[free_count++] = &places[i];
    printf("%12s %10s %12s %8s %12s\n", "ids", "CPU us", "ids/s", "RSS MB", "duplicates");
    for (uint64_t step = 10000; step < ids; step *= 10) {
        run(step);
        run(step + step / 10); /* at this size, without what comes before */
    }
    run(ids - ids / 10);
    run(ids);
    printf("recorded %" PRIu64 ", duplicates %" PRIu64 ", marked %" PRIu64 "\n", recorded, duplicates, marked);
    state_store_stop(store);
    loop_turn(loop, 0);
    dedup_client_free(client);
    dedup_shard_free(shard);
    state_store_close(store);
    if (!in_memory) {
        double began = wall_s();

        store = open_state(&config, &group, &shard);
        printf("opened again in %.2f s, RSS %.0f MB\n", wall_s() - began, rss_mb());
        state_store_stop(store);
        loop_turn(loop, 0);
        dedup_shard_free(shard);
        state_store_close(store);
    }
    loop_free(loop);
    return 0;
}
