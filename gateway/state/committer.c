/* The committer: one thread that writes what all lanes have gathered, syncs once for all of it, and answers.
 *
 * It takes whatever waits, so that batches grow with the load and with the delay of the disk. What fails is answered as
 * failed: the shards make it again. A store in memory blocks nobody: there the asking thread writes by itself, and two changes of
 * threads are saved.
 */
#include <stdlib.h>

#include <bailey/log.h>

#include "state/store_impl.h"

enum {
    EXPIRE_MS = 1000, /* how often tables are told what has expired */
    KEEP_CLOCK_MS = 60000,
};

struct committer {
    struct state_store *store;
    pthread_mutex_t lock; /* of all that follows */
    struct bailey_store_change *changes;
    uint8_t (*records)[16]; /* encoded; one a change */
    size_t cap;
    bool is_dirty; /* written since the last good sync */
    int64_t sync_due_ms, expire_due_ms, clock_due_ms;
    bool expire_failed;
};

/* ---- Answers ---- */

static void answered(struct bailey_task *task)
{
    struct state_commit *commit = task->ctx;

    commit->done(commit);
}

static void answer(struct bailey_task *tasks, bool failed, const struct bailey_error *err)
{
    while (tasks != NULL) {
        struct state_commit *commit = tasks->ctx;

        tasks = tasks->next;
        commit->failed = failed;
        if (failed)
            commit->err = *err;
        commit->task = (struct bailey_task){.run = answered, .ctx = commit};
        bailey_post(commit->host, &commit->task);
    }
}

/* ---- Changes of the core as changes of tables ---- */

static bool make_room(struct committer *committer, size_t count)
{
    if (count <= committer->cap)
        return true;
    struct bailey_store_change *changes = realloc(committer->changes, count * sizeof *changes);
    if (changes == NULL)
        return false;
    committer->changes = changes;
    uint8_t(*records)[16] = realloc(committer->records, count * sizeof *records);
    if (records == NULL)
        return false;
    committer->records = records;
    committer->cap = count;
    return true;
}

/* Behind the first `count` changes. Returns how many there are then: two a change of the core at most. */
static size_t translate(struct committer *committer, size_t count, const struct state_commit *commit)
{
    struct scope *scope = (struct scope *)commit->state;

    for (size_t i = 0; i < commit->count; i++) {
        const struct state_change *change = &commit->changes[i];
        struct bailey_bytes key = {(const uint8_t *)&change->id, sizeof change->id};
        struct bailey_bytes value = {committer->records[count], RECORD_SIZE};

        record_encode(committer->records[count], change->time_ms, change->outcome);
        if (change->kind == STATE_INTEND) {
            committer->changes[count++] = (struct bailey_store_change){scope->intents, key, value};
            continue;
        }
        if (change->kind == STATE_RECORD)
            committer->changes[count++] = (struct bailey_store_change){scope->ids, key, value};
        if (scope->state.is_durable) /* else there is no intent */
            committer->changes[count++] = (struct bailey_store_change){scope->intents, key, BAILEY_NULL_BYTES};
    }
    return count;
}

static bool sync_now(struct committer *committer, struct bailey_error *err)
{
    struct state_store *store = committer->store;

    if (!committer->is_dirty)
        return true;
    if (!store->module->sync(store->self, err))
        return false;
    committer->is_dirty = false;
    return true;
}

/* As durable as `sync` says. A periodic sync that is overdue, because it failed, is made up for before more is answered. */
static bool make_durable(struct committer *committer, struct bailey_error *err)
{
    int64_t sync_ms = committer->store->config->state.sync_ms;

    if (sync_ms == CONFIG_SYNC_NONE || (sync_ms != CONFIG_SYNC_BATCH && state_monotonic_ms() < committer->sync_due_ms))
        return true;
    return sync_now(committer, err);
}

static bool write_all(struct committer *committer, struct bailey_task *tasks, struct bailey_error *err)
{
    struct state_store *store = committer->store;
    size_t room = 0, count = 0;

    for (struct bailey_task *task = tasks; task != NULL; task = task->next)
        room += 2 * ((struct state_commit *)task->ctx)->count;
    if (!make_room(committer, room))
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "no memory for %zu changes", room);
    for (struct bailey_task *task = tasks; task != NULL; task = task->next)
        count = translate(committer, count, task->ctx);
    if (count > 0) {
        if (!store->module->write(store->self, committer->changes, count, err))
            return false;
        if (!committer->is_dirty && store->config->state.sync_ms > 0)
            committer->sync_due_ms = state_monotonic_ms() + store->config->state.sync_ms;
        committer->is_dirty = true;
    }
    return make_durable(committer, err);
}

/* ---- Expiry ---- */

static void note_expiry(struct bailey_task *tasks)
{
    for (; tasks != NULL; tasks = tasks->next) {
        const struct state_commit *commit = tasks->ctx;

        ((struct scope *)commit->state)->expire_ms[commit->shard] = commit->expire_ms;
    }
}

/* What no shard of the scope asks for any more. */
static int64_t expired_before(const struct scope *scope)
{
    int64_t before_ms = INT64_MAX;

    for (unsigned i = 0; i < scope->config->lanes; i++)
        if (scope->expire_ms[i] < before_ms)
            before_ms = scope->expire_ms[i];
    return before_ms;
}

static void expire(struct committer *committer)
{
    struct state_store *store = committer->store;

    for (size_t i = 0; i < store->config->scope_count; i++) {
        struct scope *scope = &store->scopes[i];
        int64_t before_ms = expired_before(scope);
        struct bailey_error err;

        if (before_ms <= scope->expired_ms)
            continue;
        if (store->module->expire(scope->ids, before_ms, &err)) {
            scope->expired_ms = before_ms;
            committer->expire_failed = false;
            continue;
        }
        if (!committer->expire_failed)
            bailey_log(BAILEY_LOG_WARN, "state.expire_failed", kv_str("scope", scope->config->name), kv_error(&err));
        committer->expire_failed = true;
    }
}

static void do_periodic(struct committer *committer)
{
    int64_t now = state_monotonic_ms();
    struct bailey_error err;

    if (committer->store->config->state.sync_ms > 0 && committer->is_dirty && now >= committer->sync_due_ms)
        sync_now(committer, &err); /* if it fails, the next commit says so */
    if (now >= committer->expire_due_ms) {
        committer->expire_due_ms = now + EXPIRE_MS;
        expire(committer);
    }
    if (now >= committer->clock_due_ms) {
        committer->clock_due_ms = now + KEEP_CLOCK_MS;
        if (state_clock_keep(committer->store, &err))
            committer->is_dirty = true;
    }
}

/* ---- What the core calls ---- */

static void commit_here(struct state_commit *commit)
{
    struct committer *committer = ((struct scope *)commit->state)->store->writer;

    pthread_mutex_lock(&committer->lock);
    commit->failed = !write_all(committer, &commit->task, &commit->err);
    note_expiry(&commit->task);
    pthread_mutex_unlock(&committer->lock);
    commit->task = (struct bailey_task){.run = answered, .ctx = commit};
    bailey_again(commit->host, &commit->task);
}

void committer_commit(struct state *state, struct state_commit *commit)
{
    struct state_store *store = ((struct scope *)state)->store;

    commit->state = state;
    commit->task = (struct bailey_task){.ctx = commit};
    if (!state->is_durable)
        commit_here(commit);
    else if (mailbox_post(&store->commits, &commit->task))
        sem_post(&store->commits_wait);
}

/* ---- The thread ---- */

static int64_t patience_ms(const struct committer *committer)
{
    int64_t sync_ms = committer->store->config->state.sync_ms, wait_ms = EXPIRE_MS;

    if (committer->store->meta != NULL && committer->is_dirty &&
        sync_ms > 0) { /* durable: then it is this thread's alone */
        wait_ms = committer->sync_due_ms - state_monotonic_ms();
        if (wait_ms < 1)
            wait_ms = sync_ms; /* it fails: no hurry */
    }
    return wait_ms < EXPIRE_MS ? wait_ms : EXPIRE_MS;
}

static void commit_waiting(struct committer *committer)
{
    struct bailey_task *tasks = mailbox_take(&committer->store->commits);
    struct bailey_error err;

    if (tasks == NULL)
        return;
    bool ok = write_all(committer, tasks, &err);

    note_expiry(tasks);
    answer(tasks, !ok, &err);
}

void *committer_run(void *ctx)
{
    struct state_store *store = ctx;
    struct committer *committer = store->writer;

    pthread_setname_np(pthread_self(), "bailey-state");
    while (!atomic_load(&store->stopping)) {
        state_wait(&store->commits_wait, patience_ms(committer));
        pthread_mutex_lock(&committer->lock);
        commit_waiting(committer);
        do_periodic(committer);
        pthread_mutex_unlock(&committer->lock);
    }
    return NULL;
}

struct committer *committer_new(struct state_store *store)
{
    struct committer *committer = calloc(1, sizeof *committer);

    if (committer == NULL)
        abort(); /* at the start */
    committer->store = store;
    committer->clock_due_ms = state_monotonic_ms() + KEEP_CLOCK_MS;
    pthread_mutex_init(&committer->lock, NULL);
    return committer;
}

void committer_free(struct committer *committer)
{
    pthread_mutex_destroy(&committer->lock);
    free(committer->changes);
    free(committer->records);
    free(committer);
}
