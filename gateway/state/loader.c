/* The loader: a thread that reads, at the start, what an earlier run left: ids for the filters of the shards, and intents. It
 * ends when all is read. Each scope is scanned for all of its shards at once: first to count, then to fill. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bailey/log.h>

#include "core/filter.h"
#include "state/store_impl.h"

enum { RETRY_MS = 1000, STOP_CHECK_MASK = 0xffff };

struct scan {
    struct scope *scope;
    int64_t now_ms;
    bool is_stopped, is_out_of_memory;
    int64_t ids, intents;
};

/* ---- What the core calls: on the main thread, before the loader runs ---- */

void loader_load(struct state *state, struct state_load *load)
{
    ((struct scope *)state)->loads[load->shard] = load;
}

static void loaded(struct bailey_task *task)
{
    struct state_load *load = task->ctx;

    load->done(load);
}

static void waits(struct bailey_task *task)
{
    struct state_load *load = task->ctx;

    load->waiting(load, load->reason);
}

/* ---- Scanning ---- */

static bool goes_on(struct scan *scan, int64_t count)
{
    if ((count & STOP_CHECK_MASK) == 0)
        scan->is_stopped = atomic_load_explicit(&scan->scope->store->stopping, memory_order_relaxed);
    return !scan->is_stopped;
}

static struct state_load *load_of(const struct scan *scan, struct bailey_bytes key, struct id *id)
{
    memcpy(id, key.data, sizeof *id);
    return scan->scope->loads[id_owner(*id, scan->scope->config->lanes)];
}

static bool count_id(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    struct scan *scan = ctx;
    struct id id;

    filter_count(load_of(scan, key, &id)->filter, record_decode(value.data).time_ms, scan->now_ms);
    return goes_on(scan, ++scan->ids);
}

static bool fill_id(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    struct scan *scan = ctx;
    struct id id;

    filter_fill(load_of(scan, key, &id)->filter, id, record_decode(value.data).time_ms, scan->now_ms);
    return goes_on(scan, ++scan->ids);
}

static bool add_intent(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    struct scan *scan = ctx;
    struct id id;
    struct state_load *load = load_of(scan, key, &id);

    (void)value; /* it is in doubt however old: it may have been sent until that run ended */
    if (load->intent_count == load->intent_cap) {
        size_t cap = load->intent_cap ? load->intent_cap * 2 : 256;
        struct id *intents = realloc(load->intents, cap * sizeof *intents);

        if (intents == NULL) {
            scan->is_out_of_memory = true;
            return false;
        }
        load->intents = intents;
        load->intent_cap = cap;
    }
    load->intents[load->intent_count++] = id;
    return goes_on(scan, ++scan->intents);
}

static bool scan_scope(struct scan *scan, struct bailey_error *err)
{
    struct scope *scope = scan->scope;
    const struct bailey_store *module = scope->store->ids.module;
    unsigned shards = scope->config->lanes;

    for (unsigned i = 0; i < shards; i++)
        scope->loads[i]->filter = filter_new(scope->loads[i]->window_ms, scope->loads[i]->max);
    if (!module->scan(scope->ids, BAILEY_NULL_BYTES, count_id, scan, err))
        return false;
    scan->ids = 0;
    for (unsigned i = 0; i < shards; i++)
        filter_counted(scope->loads[i]->filter);
    if (!module->scan(scope->ids, BAILEY_NULL_BYTES, fill_id, scan, err) ||
        !module->scan(scope->intents, BAILEY_NULL_BYTES, add_intent, scan, err))
        return false;
    return !scan->is_out_of_memory || bailey_fail(err, BAILEY_ERR_TRANSIENT, "no memory for the ids in doubt");
}

static void forget(struct state_load *load)
{
    filter_free(load->filter);
    free(load->intents);
    load->filter = NULL;
    load->intents = NULL;
    load->intent_count = load->intent_cap = 0;
}

/* ---- The thread ---- */

static void tell_of_failure(struct scope *scope, const struct bailey_error *err)
{
    bailey_log(BAILEY_LOG_ERROR, "state.load_failed", kv_str("scope", scope->config->name), kv_error(err));
    for (unsigned i = 0; i < scope->config->lanes; i++) {
        struct state_load *load = scope->loads[i];

        snprintf(load->reason, sizeof load->reason, "%s", err->text);
        load->waiting_task = (struct bailey_task){.run = waits, .ctx = load};
        bailey_post(load->host, &load->waiting_task);
    }
}

static void tell_of_success(struct scope *scope, const struct scan *scan, int64_t took_ms)
{
    bailey_log(BAILEY_LOG_INFO, "state.loaded", kv_str("scope", scope->config->name), kv_i64("ids", scan->ids),
               kv_i64("in_doubt", scan->intents), kv_ms("took", took_ms));
    for (unsigned i = 0; i < scope->config->lanes; i++) {
        struct state_load *load = scope->loads[i];

        load->task = (struct bailey_task){.run = loaded, .ctx = load};
        bailey_post(load->host, &load->task);
    }
}

/* False: the gateway stops. */
static bool load_scope(struct scope *scope)
{
    for (bool told = false;; told = true) {
        int64_t began_ms = state_monotonic_ms();
        struct scan scan = {.scope = scope, .now_ms = began_ms + scope->store->clock_ms};
        struct bailey_error err;
        bool ok = scan_scope(&scan, &err);

        if (ok && !scan.is_stopped) {
            tell_of_success(scope, &scan, state_monotonic_ms() - began_ms);
            return true;
        }
        for (unsigned i = 0; i < scope->config->lanes; i++)
            forget(scope->loads[i]);
        if (scan.is_stopped)
            return false;
        if (!told)
            tell_of_failure(scope, &err);
        if (state_wait(&scope->store->loader_stop, RETRY_MS))
            return false; /* the gateway stops */
    }
}

void *loader_run(void *ctx)
{
    struct state_store *store = ctx;

    pthread_setname_np(pthread_self(), "bailey-load");
    for (size_t i = 0; i < store->config->scope_count; i++)
        if (!load_scope(&store->scopes[i]))
            break;
    return NULL;
}
