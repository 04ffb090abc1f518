/* Opens the store and its tables, and answers look-ups. */
#include "state/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/big_endian.h"
#include "loop/thread.h"
#include "state/store_impl.h"

enum {
    SLICES_A_WINDOW = 4, /* records leave by slices of that part of the window */
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* at the start, and little */
    return memory;
}

/* ---- Records ---- */

void record_encode(uint8_t record[static RECORD_SIZE], int64_t time_ms, uint8_t outcome)
{
    big_endian_put(record, (uint64_t)time_ms, 8);
    record[8] = outcome;
}

struct state_found record_decode(const uint8_t record[static RECORD_SIZE])
{
    return (struct state_found){.time_ms = bailey_aging_time(record), .outcome = record[8]};
}

/* ---- Look-ups: on a helper thread ---- */

static void look_up(struct bailey_job *job)
{
    struct state_lookup *lookup = job->ctx;
    struct scope *scope = (struct scope *)lookup->state;
    uint8_t *records = malloc(lookup->count * RECORD_SIZE);
    bool *found = malloc(lookup->count * sizeof *found);

    if (records == NULL || found == NULL) {
        bailey_fail(&lookup->err, BAILEY_ERR_TRANSIENT, "no memory to look up %zu ids", lookup->count);
        lookup->failed = true;
    } else {
        lookup->failed = !scope->store->ids.module->get_many(scope->ids, (const uint8_t *)lookup->ids, records, found,
                                                             lookup->count, &lookup->err);
    }
    for (size_t i = 0; !lookup->failed && i < lookup->count; i++)
        lookup->found[i] = found[i] ? record_decode(records + i * RECORD_SIZE) : (struct state_found){0};
    free(records);
    free(found);
}

static void looked_up(struct bailey_job *job)
{
    struct state_lookup *lookup = job->ctx;

    lookup->done(lookup);
}

static void start_look_up(struct state *state, struct state_lookup *lookup)
{
    lookup->state = state;
    lookup->job = (struct bailey_job){.work = look_up, .done = looked_up, .ctx = lookup};
    bailey_job_start(lookup->host, &lookup->job);
}

/* In memory: nothing blocks. */
static bool peek(struct state *state, struct id id, struct state_found *found)
{
    struct scope *scope = (struct scope *)state;
    uint8_t record[RECORD_SIZE];
    struct bailey_error err;
    bool is_there;

    if (!scope->store->ids.module->get_many(scope->ids, (const uint8_t *)&id, record, &is_there, 1, &err))
        return false;
    *found = is_there ? record_decode(record) : (struct state_found){0};
    return true;
}

/* ---- Meta ---- */

static struct bailey_bytes meta_key(uint8_t key[static META_KEY], const char *name)
{
    memset(key, 0, META_KEY);
    memcpy(key, name, strlen(name));
    return (struct bailey_bytes){key, META_KEY};
}

bool meta_get(struct state_store *store, const char *name, uint8_t value[static META_VALUE], bool *found,
              struct bailey_error *err)
{
    uint8_t key[META_KEY];

    meta_key(key, name);
    return store->ids.module->get_many(store->meta, key, value, found, 1, err);
}

bool meta_put(struct state_store *store, const char *name, const uint8_t value[static META_VALUE],
              struct bailey_error *err)
{
    uint8_t key[META_KEY];
    struct bailey_store_change change = {
        .table = store->meta, .key = meta_key(key, name), .value = {value, META_VALUE}};

    return store->ids.module->write(store->ids.self, &change, 1, err);
}

/* ---- The secret of the ids ---- */

static bool new_secret(struct id_key *secret, struct bailey_error *err)
{
    if (getrandom(secret, sizeof *secret, 0) != sizeof *secret)
        return bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "errno", errno, "the system gives no random numbers");
    return true;
}

/* The store's own, made with it: ids of another secret would match none. */
static bool read_secret(struct state_store *store, struct id_key *secret, struct bailey_error *err)
{
    uint8_t value[META_VALUE] = {0};
    bool found;

    if (store->meta == NULL)
        return new_secret(secret, err);
    if (!meta_get(store, "id.key", value, &found, err))
        return false;
    if (found && value[0] != ID_VERSION) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the ids in %.150s are of version %u, this bailey knows version %u",
                    store->config->state.path, value[0], ID_VERSION);
        return bailey_hint(err, "a newer bailey wrote them: use that one, or another folder");
    }
    if (found) {
        memcpy(secret->bytes, value + 1, sizeof secret->bytes);
        return true;
    }
    value[0] = ID_VERSION;
    if (!new_secret(secret, err))
        return false;
    memcpy(value + 1, secret->bytes, sizeof secret->bytes);
    return meta_put(store, "id.key", value, err) && store->ids.module->sync(store->ids.self, err);
}

/* ---- Opening ---- */

bool state_path(char *path, size_t size, const struct state_store *store, const char *name, struct bailey_error *err)
{
    return snprintf(path, size, "%s/%s", store->config->state.path, name) < (int)size ||
           bailey_fail(err, BAILEY_ERR_CONFIG, "the path of the state is too long");
}

static bool open_module(struct state_store *store, state_store_find *find, struct bailey_error *err)
{
    const struct config_state *state = &store->config->state;
    bool in_memory = state->store == CONFIG_STATE_MEMORY;
    struct opened *ids = &store->ids;
    char path[PATH_LEN_MAX];

    ids->module = find(in_memory ? "memory" : "slices", err);
    if (ids->module == NULL)
        return false;
    if (in_memory)
        return ids->module->open(&ids->self, NULL, err);
    if (mkdir(state->path, 0700) != 0 && errno != EEXIST) {
        bailey_fail_native(err, BAILEY_ERR_CONFIG, "errno", errno, "cannot make the folder %.150s: %s", state->path,
                           strerror(errno));
        return bailey_hint(err, "its parent must exist, and be writable by this user");
    }
    return state_path(path, sizeof path, store, "ids", err) && ids->module->open(&ids->self, path, err);
}

bool state_open_table(const struct opened *opened, void **table, const char *kind, const char *name,
                      struct bailey_table_options options, struct bailey_error *err)
{
    char full[160];

    snprintf(full, sizeof full, "%s.%s", kind, name);
    options.name = full;
    return opened->module->table_open(opened->self, table, &options, err);
}

static bool open_scope(struct state_store *store, struct scope *scope, const struct id_key *secret,
                       struct bailey_error *err)
{
    const struct config_scope *config = scope->config;
    const struct bailey_table_options aging = {
        .kind = BAILEY_TABLE_AGING,
        .key_size = sizeof(struct id),
        .value_size = RECORD_SIZE,
        .slice_ms = config->window_ms / SLICES_A_WINDOW,
        .slice_records = config->max / SLICES_A_WINDOW,
    };
    const struct bailey_table_options live = {
        .kind = BAILEY_TABLE_LIVE, .key_size = sizeof(struct id), .value_size = RECORD_SIZE};

    scope->state.key = id_scope_key(secret, config->name);
    return state_open_table(&store->ids, &scope->ids, "ids", config->name, aging, err) &&
           state_open_table(&store->ids, &scope->intents, "intents", config->name, live, err);
}

static bool open_all(struct state_store *store, state_store_find *find, struct bailey_error *err)
{
    const struct bailey_table_options meta = {
        .name = "meta", .kind = BAILEY_TABLE_LIVE, .key_size = META_KEY, .value_size = META_VALUE};
    struct id_key secret;

    if (!open_module(store, find, err))
        return false;
    if ((store->ids.module->traits & BAILEY_STORE_DURABLE) != 0 &&
        !store->ids.module->table_open(store->ids.self, &store->meta, &meta, err))
        return false;
    if (!read_secret(store, &secret, err) || !state_clock_open(store, err))
        return false;
    for (size_t i = 0; i < store->config->scope_count; i++)
        if (!open_scope(store, &store->scopes[i], &secret, err))
            return false;
    return kept_open(store, find, err);
}

static void init_scope(struct state_store *store, size_t i)
{
    struct scope *scope = &store->scopes[i];

    scope->store = store;
    scope->config = &store->config->scopes[i];
    scope->expire_ms = must(calloc(scope->config->lanes, sizeof *scope->expire_ms));
    scope->loads = must(calloc(scope->config->lanes, sizeof(struct state_load *)));
    for (unsigned k = 0; k < scope->config->lanes; k++)
        scope->expire_ms[k] = INT64_MIN;
    scope->state.commit = committer_commit;
    scope->state.look_up = start_look_up;
    scope->state.load = loader_load;
}

struct state_store *state_store_open(const struct config *config, state_store_find *find, struct bailey_error *err)
{
    struct state_store *store = must(calloc(1, sizeof *store));

    store->config = config;
    store->scopes = must(calloc(config->scope_count + 1, sizeof *store->scopes));
    store->tables = must(calloc(config->route_count + 1, sizeof *store->tables));
    store->spills = must(calloc(config->route_count + 1, sizeof *store->spills));
    store->writer = committer_new(store);
    sem_init(&store->commits_wait, 0, 0);
    sem_init(&store->loader_stop, 0, 0);
    for (size_t i = 0; i < config->scope_count; i++)
        init_scope(store, i);
    if (!open_all(store, find, err)) {
        state_store_close(store);
        return NULL;
    }
    for (size_t i = 0; i < config->scope_count; i++) {
        store->scopes[i].state.is_durable = (store->ids.module->traits & BAILEY_STORE_DURABLE) != 0;
        store->scopes[i].state.peek = store->scopes[i].state.is_durable ? NULL : peek;
        store->scopes[i].state.clock_ms = store->clock_ms;
    }
    return store;
}

struct state *state_store_scope(struct state_store *store, size_t scope)
{
    return &store->scopes[scope].state;
}

struct state_table *state_store_table(struct state_store *store, size_t route)
{
    return store->tables[route].rows == NULL ? NULL : &store->tables[route].table;
}

struct state_table *state_store_spill(struct state_store *store, size_t route)
{
    return store->spills[route].rows == NULL ? NULL : &store->spills[route].table;
}

/* ---- Threads ---- */

static bool start_thread(pthread_t *thread, void *(*run)(void *), struct state_store *store, struct bailey_error *err)
{
    int failed = thread_start_joinable(thread, run, store);

    if (failed)
        return bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "errno", failed, "cannot start a thread: %s",
                                  strerror(failed));
    return true;
}

bool state_store_start(struct state_store *store, struct bailey_error *err)
{
    store->committer_runs = start_thread(&store->committer, committer_run, store, err);
    store->loader_runs = store->committer_runs && start_thread(&store->loader, loader_run, store, err);
    return store->loader_runs;
}

void state_store_stop(struct state_store *store)
{
    atomic_store(&store->stopping, true);
    sem_post(&store->commits_wait);
    sem_post(&store->loader_stop);
    if (store->committer_runs)
        pthread_join(store->committer, NULL);
    if (store->loader_runs)
        pthread_join(store->loader, NULL);
    store->committer_runs = store->loader_runs = false;
}

void state_store_close(struct state_store *store)
{
    if (store == NULL)
        return;
    if (store->kept.self != NULL && store->kept.self != store->ids.self)
        store->kept.module->close(store->kept.self);
    if (store->ids.self != NULL)
        store->ids.module->close(store->ids.self);
    for (size_t i = 0; i < store->config->scope_count; i++) {
        free(store->scopes[i].expire_ms);
        free(store->scopes[i].loads);
    }
    committer_free(store->writer);
    sem_destroy(&store->commits_wait);
    sem_destroy(&store->loader_stop);
    free(store->scopes);
    free(store->tables);
    free(store->spills);
    free(store);
}
