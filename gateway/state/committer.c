/* The committer: one thread that writes what all lanes have gathered (changes of ids, and kept messages), syncs once for all of
 * it in each of the two stores, and answers.
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
    int64_t expire_due_ms, clock_due_ms;
    bool expire_failed;
};

/* ---- Answers ---- */

/* Where a request is told how it went. */
struct told {
    struct bailey_host *host;
    bool *failed;
    struct bailey_error *err;
};

static struct told told_commit(void *request)
{
    struct state_commit *commit = request;

    return (struct told){commit->host, &commit->failed, &commit->err};
}

static struct told told_write(void *request)
{
    struct state_write *write = request;

    return (struct told){write->host, &write->failed, &write->err};
}

static void answer(struct bailey_task *tasks, struct told (*told_of)(void *request), bool ok,
                   const struct bailey_error *err)
{
    for (struct bailey_task *task = tasks, *next; task != NULL; task = next) {
        struct told told = told_of(task->ctx);

        next = task->next;
        *told.failed = !ok;
        if (!ok)
            *told.err = *err;
        bailey_post(told.host, task);
    }
}

/* On the asker's thread. */
static void committed(struct bailey_task *task)
{
    struct state_commit *commit = task->ctx;

    commit->done(commit);
}

static void written(struct bailey_task *task)
{
    struct state_write *write = task->ctx;

    write->done(write);
}

/* ---- Changes of the core as changes of tables ---- */

static bool make_room(struct committer *committer, size_t count, struct bailey_error *err)
{
    if (count <= committer->cap)
        return true;
    struct bailey_store_change *changes = realloc(committer->changes, count * sizeof *changes);
    if (changes == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "no memory for %zu changes", count);
    committer->changes = changes;
    uint8_t(*records)[16] = realloc(committer->records, count * sizeof *records);
    if (records == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "no memory for %zu changes", count);
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

static bool sync_now(struct opened *opened, struct bailey_error *err)
{
    if (!opened->is_dirty)
        return true;
    if (!opened->module->sync(opened->self, err))
        return false;
    opened->is_dirty = false;
    return true;
}

/* As durable as `sync` says. A periodic sync that is overdue, because it failed, is made up for before more is answered. */
static bool make_durable(struct committer *committer, struct opened *opened, struct bailey_error *err)
{
    int64_t sync_ms = committer->store->config->state.sync_ms;

    if (sync_ms == CONFIG_SYNC_NONE || (sync_ms != CONFIG_SYNC_BATCH && state_monotonic_ms() < opened->sync_due_ms))
        return true;
    return sync_now(opened, err);
}

/* The first `count` changes. */
static bool write_changes(struct committer *committer, struct opened *opened, size_t count, struct bailey_error *err)
{
    int64_t sync_ms = committer->store->config->state.sync_ms;

    if (count == 0)
        return true;
    if (!opened->module->write(opened->self, committer->changes, count, err))
        return false;
    if (!opened->is_dirty && sync_ms > 0)
        opened->sync_due_ms = state_monotonic_ms() + sync_ms;
    opened->is_dirty = true;
    return true;
}

static bool commit_all(struct committer *committer, struct bailey_task *tasks, struct bailey_error *err)
{
    struct opened *ids = &committer->store->ids;
    size_t room = 0, count = 0;

    for (struct bailey_task *task = tasks; task != NULL; task = task->next)
        room += 2 * ((struct state_commit *)task->ctx)->count;
    if (!make_room(committer, room, err))
        return false;
    for (struct bailey_task *task = tasks; task != NULL; task = task->next)
        count = translate(committer, count, task->ctx);
    return write_changes(committer, ids, count, err) && make_durable(committer, ids, err);
}

static bool write_all(struct committer *committer, struct bailey_task *tasks, struct bailey_error *err)
{
    struct opened *kept = &committer->store->kept;
    size_t room = 0, count = 0;
    bool is_synced = false;

    for (struct bailey_task *task = tasks; task != NULL; task = task->next)
        room += ((struct state_write *)task->ctx)->count;
    if (!make_room(committer, room, err))
        return false;
    for (struct bailey_task *task = tasks; task != NULL; task = task->next) {
        const struct state_write *write = task->ctx;

        is_synced |= write->is_synced;
        for (size_t i = 0; i < write->count; i++)
            committer->changes[count++] = (struct bailey_store_change){((struct kept_route *)write->table)->rows,
                                                                       write->puts[i].key, write->puts[i].value};
    }
    return write_changes(committer, kept, count, err) &&
           (is_synced ? sync_now(kept, err) : make_durable(committer, kept, err));
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
        if (store->ids.module->expire(scope->ids, before_ms, &err)) {
            scope->expired_ms = before_ms;
            committer->expire_failed = false;
            continue;
        }
        if (!committer->expire_failed)
            bailey_log(BAILEY_LOG_WARN, "state.expire_failed", kv_str("scope", scope->config->name), kv_error(&err));
        committer->expire_failed = true;
    }
}

/* What is overdue; if it fails, the next commit or write says so. */
static void sync_if_due(struct committer *committer, struct opened *opened, int64_t now_ms)
{
    struct bailey_error err;

    if (committer->store->config->state.sync_ms > 0 && opened->is_dirty && now_ms >= opened->sync_due_ms)
        sync_now(opened, &err);
}

static void do_periodic(struct committer *committer)
{
    int64_t now_ms = state_monotonic_ms();
    struct bailey_error err;

    sync_if_due(committer, &committer->store->ids, now_ms);
    sync_if_due(committer, &committer->store->kept, now_ms);
    if (now_ms >= committer->expire_due_ms) {
        committer->expire_due_ms = now_ms + EXPIRE_MS;
        expire(committer);
    }
    if (now_ms >= committer->clock_due_ms) {
        committer->clock_due_ms = now_ms + KEEP_CLOCK_MS;
        if (state_clock_keep(committer->store, &err))
            committer->store->ids.is_dirty = true;
    }
}

/* ---- What the core calls ---- */

static void commit_here(struct state_commit *commit)
{
    struct committer *committer = ((struct scope *)commit->state)->store->writer;

    pthread_mutex_lock(&committer->lock);
    commit->failed = !commit_all(committer, &commit->task, &commit->err);
    note_expiry(&commit->task);
    pthread_mutex_unlock(&committer->lock);
    bailey_again(commit->host, &commit->task);
}

static void write_here(struct state_write *write)
{
    struct committer *committer = ((struct kept_route *)write->table)->store->writer;

    pthread_mutex_lock(&committer->lock);
    write->failed = !write_all(committer, &write->task, &write->err);
    pthread_mutex_unlock(&committer->lock);
    bailey_again(write->host, &write->task);
}

static void hand_over(struct state_store *store, struct mailbox *mailbox, struct bailey_task *task)
{
    if (mailbox_post(mailbox, task))
        sem_post(&store->commits_wait);
}

void committer_commit(struct state *state, struct state_commit *commit)
{
    struct state_store *store = ((struct scope *)state)->store;

    commit->state = state;
    commit->task = (struct bailey_task){.run = committed, .ctx = commit};
    if (state->is_durable)
        hand_over(store, &store->commits, &commit->task);
    else
        commit_here(commit);
}

void committer_write(struct state_table *table, struct state_write *write)
{
    struct state_store *store = ((struct kept_route *)table)->store;

    write->table = table;
    write->task = (struct bailey_task){.run = written, .ctx = write};
    if (table->is_durable)
        hand_over(store, &store->writes, &write->task);
    else
        write_here(write);
}

/* ---- The thread ---- */

/* When a periodic sync is due, if that is earlier than `wait_ms` from now. */
static int64_t patience_for(const struct committer *committer, const struct opened *opened, int64_t wait_ms)
{
    int64_t sync_ms = committer->store->config->state.sync_ms;

    if (!opened->is_dirty || sync_ms <= 0)
        return wait_ms;
    int64_t left_ms = opened->sync_due_ms - state_monotonic_ms();
    if (left_ms < 1)
        left_ms = sync_ms; /* it fails: no hurry */
    return left_ms < wait_ms ? left_ms : wait_ms;
}

static int64_t patience_ms(const struct committer *committer)
{
    const struct state_store *store = committer->store;

    if (store->meta == NULL)
        return EXPIRE_MS; /* in memory: what is dirty may be changed by others now */
    return patience_for(committer, &store->ids, patience_for(committer, &store->kept, EXPIRE_MS));
}

static void commit_waiting(struct committer *committer)
{
    struct bailey_task *commits = mailbox_take(&committer->store->commits);
    struct bailey_task *writes = mailbox_take(&committer->store->writes);
    struct bailey_error err;

    if (commits != NULL) {
        bool ok = commit_all(committer, commits, &err);

        note_expiry(commits);
        answer(commits, told_commit, ok, &err);
    }
    if (writes != NULL) {
        bool ok = write_all(committer, writes, &err);

        answer(writes, told_write, ok, &err);
    }
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
