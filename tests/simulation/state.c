/* state.c: one writer, which takes what has gathered, and look-ups beside it. */
#include "state.h"

#include <stdlib.h>
#include <string.h>

#include "core/filter.h"
#include "tables.h"

enum { BUCKETS = 64, SLOW_MS = 3000 };

struct entry {
    struct kept kept;
    struct entry *chain;
    struct store_scope *scope;
};

struct store_scope {
    struct state state; /* first */
    struct store *store;
    unsigned number;
    uint32_t ledger_scope;
    unsigned shards;
    int64_t expire_ms[SHARDS_MAX]; /* INT64_MIN: has not said yet */
    int64_t expired_ms;            /* what is older may be gone, and is not found */
    struct entry *buckets[BUCKETS];
};

/* What an entry was before an unsynced write. */
struct undo {
    struct entry *entry;
    struct kept kept;
    uint64_t write;
    int64_t newest_ms;
};

/* A look-up, or a load. */
struct reading {
    struct event event;
    struct store_scope *scope;
    struct reading *next;
    struct state_lookup *lookup;
    struct state_load *load; /* one of the two */
    struct bailey_task done, waits;
    bool was_waiting;
};

enum { SCOPES_MAX = 4 };

struct store {
    struct sim *sim;
    struct process *process;
    struct store_manner manner;
    struct id_key secret;
    struct store_scope *scopes[SCOPES_MAX];
    unsigned scope_count;
    int64_t clock_ms, newest_ms; /* newest_ms: of all that is written */

    struct state_commit **commits; /* in the order of coming */
    size_t commit_count, commit_cap;
    size_t syncing; /* of the first of them: written, and not synced */
    struct event writer, interval;
    struct undo *undos;
    size_t undo_count, undo_cap;
    uint64_t writes;

    struct reading *readings;
    size_t asked;                                  /* commits and look-ups that are not answered */
    int64_t failing_until_ms[2], hanging_until_ms; /* by enum store_part */
    bool fails_once, is_slow;
    bool was_open; /* since the machine began */
    struct tables *tables;
};

/* ---- Entries ---- */

static struct entry *entry_of(struct store_scope *scope, struct id id)
{
    struct entry **bucket = &scope->buckets[id.word[0] % BUCKETS], *entry = *bucket;

    while (entry != NULL && !id_equal(entry->kept.id, id))
        entry = entry->chain;
    if (entry != NULL)
        return entry;
    entry = world_alloc(1, sizeof *entry);
    *entry = (struct entry){
        .kept = {.id = id, .number = NO_ID, .record_ms = -1, .intent_ms = -1}, .chain = *bucket, .scope = scope};
    *bucket = entry;
    return entry;
}

struct kept *store_find(void *ctx, const char *id)
{
    struct store_scope *scope = ctx;

    return &entry_of(scope, id_of(&scope->state.key, bailey_bytes_of(id)))->kept;
}

static bool has_record(const struct entry *entry)
{
    return entry->kept.record_ms >= 0 && entry->kept.record_ms >= entry->scope->expired_ms;
}

/* ---- Time ---- */

bool store_is_failing(const struct store *store, enum store_part part)
{
    return store->sim->now_ms < store->failing_until_ms[part];
}

/* When something that takes `most_ms` is done. */
static int64_t when(const struct store *store, int64_t most_ms)
{
    struct sim *sim = store->sim;

    return sim->now_ms + dice_between(&sim->dice, 0, store->is_slow ? SLOW_MS : most_ms);
}

/* It hangs: later. */
bool store_is_hanging(const struct store *store, struct event *event)
{
    if (store->sim->now_ms >= store->hanging_until_ms)
        return false;
    sim_plan(store->sim, event, store->hanging_until_ms);
    return true;
}

struct bailey_error store_failure(void)
{
    struct bailey_error err;

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "no space left on device");
    return err;
}

int64_t store_when(const struct store *store)
{
    return when(store, store->manner.write_ms);
}

bool store_syncs(const struct store *store)
{
    return store->manner.sync == SYNC_BATCH;
}

/* ---- Writing ---- */

static void keep_undo(struct store *store, const struct entry *entry)
{
    WORLD_ROOM(store->undos, store->undo_count, store->undo_cap);
    store->undos[store->undo_count++] = (struct undo){.entry = (struct entry *)(uintptr_t)entry,
                                                      .kept = entry->kept,
                                                      .write = store->writes,
                                                      .newest_ms = store->newest_ms};
}

static void write_change(struct store_scope *scope, const struct state_change *change)
{
    struct store *store = scope->store;
    struct entry *entry = entry_of(scope, change->id);
    struct kept *kept = &entry->kept;
    bool is_safe = store->manner.sync != SYNC_BATCH || !store->manner.is_durable;

    if (change->time_ms > store->sim->now_ms + store->clock_ms || change->time_ms < 0)
        sim_fail(store->sim, "a change of the time %lld, and it is %lld", (long long)change->time_ms,
                 (long long)(store->sim->now_ms + store->clock_ms));
    keep_undo(store, entry);
    if (scope->ledger_scope != NO_SCOPE)
        ledger_written(store->sim->ledger, scope->ledger_scope, kept, change);
    switch ((enum state_change_kind)change->kind) {
    case STATE_INTEND:
        kept->intent_ms = change->time_ms;
        kept->is_intent_safe = is_safe;
        break;
    case STATE_RECORD:
        kept->record_ms = change->time_ms;
        kept->is_record_safe = is_safe;
        kept->outcome = change->outcome;
        kept->intent_ms = -1;
        break;
    case STATE_FORGET:
        kept->intent_ms = -1;
        break;
    }
    if (change->time_ms > store->newest_ms)
        store->newest_ms = change->time_ms;
}

/* Records go when no shard asks for them. */
static void expire(struct store_scope *scope, const struct state_commit *commit)
{
    int64_t least_ms = commit->expire_ms;

    if (scope->ledger_scope != NO_SCOPE)
        ledger_expired(scope->store->sim->ledger, scope->ledger_scope, commit->shard, commit->expire_ms);
    scope->expire_ms[commit->shard] = commit->expire_ms;
    for (unsigned i = 0; i < scope->shards; i++)
        least_ms = scope->expire_ms[i] < least_ms ? scope->expire_ms[i] : least_ms;
    if (least_ms > scope->expired_ms && dice_percent(&scope->store->sim->dice, 50)) /* or in a while: whole files go */
        scope->expired_ms = least_ms;
}

/* The first `count` that wait, by one write. */
static void write_some(struct store *store, size_t count)
{
    store->writes++;
    for (size_t i = 0; i < count; i++) {
        const struct state_commit *commit = store->commits[i];
        struct store_scope *scope = (struct store_scope *)commit->state;

        for (size_t k = 0; k < commit->count; k++)
            write_change(scope, &commit->changes[k]);
        expire(scope, commit);
    }
}

/* All that is written is on the disk. */
static void sync_all(struct store *store)
{
    for (size_t i = 0; i < store->undo_count; i++)
        store->undos[i].entry->kept.is_record_safe = store->undos[i].entry->kept.is_intent_safe = true;
    store->undo_count = 0;
}

/* ---- Commits ---- */

static void plan_write(struct store *store)
{
    if (store->commit_count > 0 && store->writer.place == 0)
        sim_plan(store->sim, &store->writer, when(store, store->manner.write_ms));
}

static void commit_done(struct bailey_task *task)
{
    struct state_commit *commit = task->ctx;
    struct store_scope *scope = (struct store_scope *)commit->state;

    scope->store->asked--;
    if (commit->failed && scope->ledger_scope != NO_SCOPE)
        ledger_failed(scope->store->sim->ledger, scope->ledger_scope);
    for (size_t i = 0; i < commit->count && !commit->failed && scope->ledger_scope != NO_SCOPE; i++)
        if (commit->changes[i].kind == STATE_RECORD)
            ledger_answered(scope->store->sim->ledger, scope->ledger_scope,
                            &entry_of(scope, commit->changes[i].id)->kept);
    commit->done(commit);
}

static void answer_commits(struct store *store, size_t count, bool failed)
{
    for (size_t i = 0; i < count; i++) {
        struct state_commit *commit = store->commits[i];

        commit->failed = failed;
        if (failed)
            commit->err = store_failure();
        commit->task = (struct bailey_task){.run = commit_done, .ctx = commit};
        process_mail(commit->host, &commit->task, store);
    }
    store->commit_count -= count;
    memmove(store->commits, store->commits + count, store->commit_count * sizeof *store->commits);
}

static void write_due(struct event *event)
{
    struct store *store = event->ctx;
    struct dice *dice = &store->sim->dice;
    size_t count, good;

    if (store_is_hanging(store, event))
        return;
    if (store->syncing > 0) {
        count = store->syncing;
        store->syncing = 0;
        sync_all(store);
        answer_commits(store, count, false);
        plan_write(store);
        return;
    }
    count = good = 1 + (size_t)dice_below(dice, store->commit_count);
    if (store_is_failing(store, STORE_WRITES) || store->fails_once) {
        good = store->fails_once ? (size_t)dice_below(dice, count) : 0;
        store->fails_once = false;
        sim_note(store->sim, "store %llu: fails after %llu", store->process->number, good);
    }
    if (good > 0)
        write_some(store, good);
    if (good > 0 && store->manner.sync == SYNC_BATCH && store->manner.is_durable) {
        store->syncing = good; /* what fails, fails when its turn comes */
        store->fails_once = good < count;
    } else {
        answer_commits(store, good, false);
        answer_commits(store, count - good, true);
    }
    plan_write(store);
}

static void sync_both(struct store *store)
{
    sync_all(store);
    tables_sync(store->tables);
}

static void interval_due(struct event *event)
{
    struct store *store = event->ctx;

    if (store_is_hanging(store, event))
        return;
    if (!store_is_failing(store, STORE_WRITES))
        sync_both(store);
    sim_plan(store->sim, event, store->sim->now_ms + store->manner.interval_ms);
}

static void commit(struct state *state, struct state_commit *commit)
{
    struct store *store = ((struct store_scope *)state)->store;

    process_step(store->process);
    commit->state = state;
    WORLD_ROOM(store->commits, store->commit_count, store->commit_cap);
    store->commits[store->commit_count++] = commit;
    store->asked++;
    plan_write(store);
}

/* ---- Look-ups ---- */

static void reading_free(struct reading *reading)
{
    struct store *store = reading->scope->store;
    struct reading **at = &store->readings;

    while (*at != reading)
        at = &(*at)->next;
    *at = reading->next;
    sim_cancel(store->sim, &reading->event);
    free(reading);
}

static void begin_reading(struct reading init, void (*run)(struct event *), int64_t most_ms)
{
    struct reading *reading = world_alloc(1, sizeof *reading);
    struct store *store = init.scope->store;

    process_step(store->process);
    *reading = init;
    reading->event = (struct event){.run = run, .ctx = reading};
    reading->next = store->readings;
    store->readings = reading;
    sim_plan(store->sim, &reading->event, when(store, most_ms));
}

static void lookup_done(struct bailey_task *task)
{
    struct reading *reading = task->ctx;
    struct state_lookup *lookup = reading->lookup;
    struct store_scope *scope = reading->scope;

    scope->store->asked--;
    if (lookup->failed && scope->ledger_scope != NO_SCOPE)
        ledger_failed(scope->store->sim->ledger, scope->ledger_scope);
    reading_free(reading);
    lookup->done(lookup);
}

static void find(struct store_scope *scope, struct id id, struct state_found *found)
{
    const struct entry *entry = entry_of(scope, id);

    *found = (struct state_found){entry->kept.record_ms, has_record(entry) ? entry->kept.outcome : (uint8_t)ID_UNKNOWN};
}

static void lookup_due(struct event *event)
{
    struct reading *reading = event->ctx;
    struct store *store = reading->scope->store;
    struct state_lookup *lookup = reading->lookup;

    if (store_is_hanging(store, event))
        return;
    lookup->failed = store_is_failing(store, STORE_READS);
    if (lookup->failed)
        lookup->err = store_failure();
    for (size_t i = 0; i < lookup->count && !lookup->failed; i++)
        find(reading->scope, lookup->ids[i], &lookup->found[i]);
    reading->done = (struct bailey_task){.run = lookup_done, .ctx = reading};
    process_mail(lookup->host, &reading->done, reading);
}

static bool peek(struct state *state, struct id id, struct state_found *found)
{
    struct store_scope *scope = (struct store_scope *)state;

    process_step(scope->store->process);
    if (store_is_failing(scope->store, STORE_READS))
        return false;
    find(scope, id, found);
    return true;
}

static void look_up(struct state *state, struct state_lookup *lookup)
{
    struct store_scope *scope = (struct store_scope *)state;

    begin_reading((struct reading){.scope = scope, .lookup = lookup}, lookup_due, scope->store->manner.look_up_ms);
    scope->store->asked++;
}

/* ---- Loading ---- */

static int64_t now_of(const struct reading *reading)
{
    return bailey_now_ms(reading->load->host) + reading->scope->store->clock_ms;
}

static void each_entry(const struct reading *reading, void (*visit)(const struct reading *, const struct entry *))
{
    const struct state_load *load = reading->load;

    for (int i = 0; i < BUCKETS; i++)
        for (const struct entry *entry = reading->scope->buckets[i]; entry != NULL; entry = entry->chain)
            if (id_owner(entry->kept.id, load->shards) == load->shard)
                visit(reading, entry);
}

static void count_entry(const struct reading *reading, const struct entry *entry)
{
    struct state_load *load = reading->load;

    if (has_record(entry))
        filter_count(load->filter, entry->kept.record_ms, now_of(reading));
    load->intent_count += entry->kept.intent_ms >= 0;
}

static void fill_entry(const struct reading *reading, const struct entry *entry)
{
    struct state_load *load = reading->load;

    if (has_record(entry))
        filter_fill(load->filter, entry->kept.id, entry->kept.record_ms, now_of(reading));
    if (entry->kept.intent_ms >= 0)
        load->intents[load->intent_count++] = entry->kept.id;
}

/* In the process: what it makes is the process's. */
static void load_done(struct bailey_task *task)
{
    struct reading *reading = task->ctx;
    struct state_load *load = reading->load;

    load->filter = filter_new(load->window_ms, load->max);
    load->intent_count = 0;
    each_entry(reading, count_entry);
    filter_counted(load->filter);
    load->intents = malloc((load->intent_count + 1) * sizeof *load->intents);
    load->intent_count = 0;
    each_entry(reading, fill_entry);
    reading_free(reading);
    load->done(load);
}

static void load_waits(struct bailey_task *task)
{
    struct reading *reading = task->ctx;

    reading->load->waiting(reading->load, "no space left on device");
}

static void load_due(struct event *event)
{
    struct reading *reading = event->ctx;
    struct store *store = reading->scope->store;

    if (store_is_hanging(store, event))
        return;
    if (!store_is_failing(store, STORE_READS)) {
        process_mail(reading->load->host, &reading->done, reading);
        return;
    }
    if (!reading->was_waiting)
        process_mail(reading->load->host, &reading->waits, reading);
    reading->was_waiting = true;
    sim_plan(store->sim, event, when(store, 1000));
}

static void load(struct state *state, struct state_load *load)
{
    struct store_scope *scope = (struct store_scope *)state;

    begin_reading((struct reading){.scope = scope, .load = load}, load_due, scope->store->manner.load_ms);
    scope->store->readings->done = (struct bailey_task){.run = load_done, .ctx = scope->store->readings};
    scope->store->readings->waits = (struct bailey_task){.run = load_waits, .ctx = scope->store->readings};
}

/* But for one whose answer is on its way. */
void store_stop_loading(struct store *store)
{
    for (struct reading *reading = store->readings, *next; reading != NULL; reading = next) {
        next = reading->next;
        if (reading->load != NULL && reading->event.place != 0)
            sim_cancel(store->sim, &reading->event);
    }
}

/* ---- A life of the process ---- */

bool store_is_idle(const struct store *store)
{
    return store->asked == 0 && tables_are_idle(store->tables);
}

/* Opening syncs what an earlier process wrote. The state's clock goes on with the monotonic one as long as the machine runs. Then
 * the wall clock says how much time went by, or the last that is in the store, whichever is later. */
void store_open(struct store *store, int64_t wall_ms)
{
    int64_t begins_ms = wall_ms > store->newest_ms ? wall_ms : store->newest_ms;

    if (store->was_open && store->manner.is_durable)
        begins_ms = store->sim->now_ms + store->clock_ms;
    store->was_open = true;
    sync_all(store);
    store->clock_ms = begins_ms - store->sim->now_ms;
    store->newest_ms = begins_ms > store->newest_ms ? begins_ms : store->newest_ms; /* that is written down */
    tables_open(store->tables, store->clock_ms);
    if (store->manner.is_durable && store->manner.sync == SYNC_INTERVAL)
        sim_plan(store->sim, &store->interval, store->sim->now_ms + store->manner.interval_ms);
    sim_note(store->sim, "store %llu: is opened at %llu", store->process->number, (uint64_t)begins_ms);
}

struct state *store_state(struct store_scope *scope, unsigned shards)
{
    scope->state.clock_ms = scope->store->clock_ms;
    scope->state.is_durable = scope->store->manner.is_durable;
    scope->state.peek = scope->state.is_durable ? NULL : peek;
    scope->shards = shards;
    for (unsigned i = 0; i < SHARDS_MAX; i++)
        scope->expire_ms[i] = INT64_MIN;
    if (scope->ledger_scope != NO_SCOPE)
        ledger_scope_begins(scope->store->sim->ledger, scope->ledger_scope, shards, scope->store->clock_ms);
    return &scope->state;
}

static void undo(struct store *store, const struct undo *last)
{
    uint32_t number = last->entry->kept.number;

    last->entry->kept = last->kept;
    last->entry->kept.number = number;
    store->newest_ms = last->newest_ms;
}

static void clear_scope(struct store_scope *scope)
{
    for (int i = 0; i < BUCKETS; i++)
        for (struct entry *entry = scope->buckets[i]; entry != NULL; entry = entry->chain)
            entry->kept.record_ms = entry->kept.intent_ms = -1;
    scope->expired_ms = INT64_MIN;
}

/* What has expired stays so, though the clock may stand before it now. */
static void drop_expired(struct store_scope *scope)
{
    for (int i = 0; i < BUCKETS; i++)
        for (struct entry *entry = scope->buckets[i]; entry != NULL; entry = entry->chain)
            if (entry->kept.record_ms < scope->expired_ms)
                entry->kept.record_ms = -1;
    scope->expired_ms = INT64_MIN;
}

void store_closed(struct store *store)
{
    struct dice *dice = &store->sim->dice;
    size_t waiting = store->commit_count - store->syncing;

    if (waiting > 0 && !store_is_failing(store, STORE_WRITES) && dice_percent(dice, 50)) {
        memmove(store->commits, store->commits + store->syncing, waiting * sizeof *store->commits);
        write_some(store, (size_t)dice_below(dice, waiting + 1));
    }
    store->commit_count = store->syncing = store->asked = 0;
    while (store->readings != NULL)
        reading_free(store->readings);
    sim_cancel(store->sim, &store->writer);
    sim_cancel(store->sim, &store->interval);
    tables_closed(store->tables);
    if (store->manner.is_durable)
        return;
    store->undo_count = 0;
    store->newest_ms = 0;
    for (unsigned i = 0; i < store->scope_count; i++)
        clear_scope(store->scopes[i]);
}

/* What was written after some write is gone. */
void store_crashed(struct store *store)
{
    uint64_t first = store->undo_count > 0 ? store->undos[0].write : 0;
    uint64_t kept = first + dice_below(&store->sim->dice, store->writes - first + 2);

    sim_note(store->sim, "store %llu: loses what was written after %llu", store->process->number, kept);
    while (store->undo_count > 0 && store->undos[store->undo_count - 1].write >= kept)
        undo(store, &store->undos[--store->undo_count]);
    sync_all(store); /* the rest was on the disk */
    tables_crashed(store->tables);
    store->was_open = false;
    for (unsigned i = 0; i < store->scope_count; i++)
        drop_expired(store->scopes[i]);
}

/* ---- Faults ---- */

void store_fail(struct store *store, enum store_part part, int64_t until_ms)
{
    store->failing_until_ms[part] = until_ms;
}

void store_fail_once(struct store *store)
{
    if (dice_percent(&store->sim->dice, 50))
        store->fails_once = true;
    else
        tables_fail_once(store->tables);
}

void store_hang(struct store *store, int64_t until_ms)
{
    store->hanging_until_ms = until_ms;
}

void store_slow(struct store *store, bool slow)
{
    store->is_slow = slow;
}

void store_recover(struct store *store)
{
    store->failing_until_ms[STORE_WRITES] = store->failing_until_ms[STORE_READS] = store->hanging_until_ms = 0;
    store->fails_once = store->is_slow = false;
}

/* ---- Making ---- */

struct tables *store_tables(const struct store *store)
{
    return store->tables;
}

bool store_is_durable(const struct store *store)
{
    return store->manner.is_durable;
}

struct store *store_new(struct sim *sim, struct process *process, const struct store_manner *manner)
{
    struct store *store = world_alloc(1, sizeof *store);

    *store = (struct store){.sim = sim, .process = process, .manner = *manner};
    store->tables = tables_new(sim, process, store);
    store->writer = (struct event){.run = write_due, .ctx = store};
    store->interval = (struct event){.run = interval_due, .ctx = store};
    for (size_t i = 0; i < sizeof store->secret.bytes; i++)
        store->secret.bytes[i] = (uint8_t)dice_below(&sim->dice, 256);
    return store;
}

unsigned store_add_scope(struct store *store, const char *name)
{
    struct store_scope *scope = world_alloc(1, sizeof *scope);

    *scope = (struct store_scope){.state = {.commit = commit, .look_up = look_up, .load = load},
                                  .store = store,
                                  .number = store->scope_count,
                                  .expired_ms = INT64_MIN};
    scope->state.key = id_scope_key(&store->secret, name);
    store->scopes[store->scope_count] = scope;
    return store->scope_count++;
}

struct store_scope *store_scope(struct store *store, unsigned number)
{
    return store->scopes[number];
}

void store_tell(struct store_scope *scope, uint32_t ledger_scope)
{
    scope->ledger_scope = ledger_scope;
}
