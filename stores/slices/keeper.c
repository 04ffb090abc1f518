/* keeper.c: the store's own thread. It makes runs of frozen parts, one run of those of a slice, and removes what nobody needs.
 *
 * What it fails at it does again a second later, or as soon as something is dropped; its trouble is told to who must wait for it.
 * A merge looks after each block whether something is to be flushed, so that the committer waits for no merge. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "disk.h"
#include "slices.h"

enum { FLUSH_AGAIN_S = 1, MERGE_AGAIN_S = 60, RUNS_MERGED_MAX = 16, LOOK_AFTER_RECORDS = 4096 };

static bool stopping(struct store *store)
{
    bool stop;

    pthread_mutex_lock(&store->lock);
    stop = store->stopping;
    pthread_mutex_unlock(&store->lock);
    return stop;
}

static bool stopped(struct store *store, struct bailey_error *err)
{
    return bailey_fail(err, BAILEY_ERR_TRANSIENT, "the store in %s is being closed", store->path);
}

/* ---- Writing a run ---- */

static bool writer_begin(struct store *store, const struct table *table, struct run_writer *writer, uint64_t first,
                         uint64_t last, uint64_t expected, struct bailey_error *err)
{
    return run_writer_init(writer, run_path(store, table, first, last, ".new"), store->id, table->key_size,
                           table->value_size, expected, err);
}

/* The run that was written, under its own name; NULL on failure, and then nothing is left of it. Ends the writer. */
static struct run *writer_end(struct store *store, const struct table *table, struct run_writer *writer, uint64_t first,
                              uint64_t last, bool ok, struct bailey_error *err)
{
    char *path = run_path(store, table, first, last, "");
    struct run *run = NULL;

    if (ok && path == NULL)
        ok = disk_no_memory(err);
    ok = ok && run_writer_finish(writer, err) && disk_rename(writer->path, path, err);
    if (!ok)
        disk_unlink(writer->path, NULL);
    run_writer_fini(writer);
    if (ok) {
        char *copy = strdup(path);

        run = run_open(copy, first, last, store->id, table->key_size, table->value_size, err);
        if (run == NULL)
            disk_unlink(path, NULL);
    }
    free(path);
    return run;
}

/* ---- Flushing ---- */

/* The oldest frozen part of the table, with a reference. */
static struct part *next_frozen(struct table *table)
{
    struct part *part = table->view->part_count > 0 ? table->view->parts[0] : NULL;

    if (part == NULL || !part->frozen)
        return NULL;
    part->refs++;
    return part;
}

static struct run *write_part(struct store *store, const struct table *table, const struct part *part, uint64_t number,
                              struct bailey_error *err)
{
    uint32_t *order = map_order(&part->map);
    struct run_writer writer;
    bool ok = order != NULL;
    struct run *run = NULL;

    if (!ok)
        disk_no_memory(err);
    else if (writer_begin(store, table, &writer, number, number, part->map.count, err)) {
        for (uint32_t i = 0; ok && i < part->map.count; i++)
            ok = run_writer_add(&writer, map_record(&part->map, order[i]), err);
        run = writer_end(store, table, &writer, number, number, ok, err);
    }
    free(order);
    return run;
}

/* In the view `run` takes the place of `part`; of one that has expired meanwhile nothing remains. */
static bool show_run(struct table *table, struct part *part, struct run *run, struct bailey_error *err)
{
    struct store *store = table->store;
    struct view *view;

    pthread_mutex_lock(&store->lock);
    store->folder_changes++;
    if (table->view->part_count == 0 || table->view->parts[0] != part) {
        run->doomed = true;
        run_unref(store, run);
    } else if ((view = view_copy(table->view, 1)) != NULL) {
        view_remove_part(view, 0);
        view_insert_run(view, view->run_count, run);
        table_show(table, view);
    } else {
        run->doomed = true;
        run_unref(store, run);
        pthread_mutex_unlock(&store->lock);
        return disk_no_memory(err);
    }
    pthread_mutex_unlock(&store->lock);
    return true;
}

static void release_part(struct store *store, struct part *part)
{
    pthread_mutex_lock(&store->lock);
    if (--part->refs == 0) {
        map_fini(&part->map);
        free(part);
    }
    pthread_mutex_unlock(&store->lock);
}

static bool remove_empty(struct table *table, struct bailey_error *err)
{
    struct view *view;

    pthread_mutex_lock(&table->store->lock);
    view = view_copy(table->view, 0);
    if (view != NULL) {
        view_remove_part(view, 0);
        table_show(table, view);
    }
    pthread_mutex_unlock(&table->store->lock);
    return view != NULL || disk_no_memory(err);
}

static bool flush_part(struct table *table, struct part *part, struct bailey_error *err)
{
    struct store *store = table->store;
    struct run *run;
    uint64_t number;

    if (part->map.count == 0)
        return remove_empty(table, err);
    pthread_mutex_lock(&store->lock);
    number = store->next_run++;
    pthread_mutex_unlock(&store->lock);
    run = write_part(store, table, part, number, err);
    return run != NULL && show_run(table, part, run, err);
}

static bool flush_table(struct table *table, struct bailey_error *err)
{
    struct store *store = table->store;
    bool ok = true;

    while (ok) {
        struct part *part;

        if (stopping(store))
            return stopped(store, err);
        pthread_mutex_lock(&store->lock);
        part = next_frozen(table);
        pthread_mutex_unlock(&store->lock);
        if (part == NULL)
            break;
        ok = flush_part(table, part, err);
        release_part(store, part);
    }
    return ok;
}

/* The old logs first: a run holds nothing of which a crash could take the other half. Then the new one: its head stands for what
 * was alive in the old ones. */
static bool flush_tables(struct store *store, uint64_t through, struct bailey_error *err)
{
    uint32_t count;
    bool ok = journal_sync_through(store, through, err);

    pthread_mutex_lock(&store->lock);
    count = store->table_count;
    pthread_mutex_unlock(&store->lock);
    for (uint32_t i = 0; ok && i < count; i++)
        ok = flush_table(store->tables[i], err);
    if (!ok || !journal_sync_through(store, UINT64_MAX, err))
        return false;
    journal_drop(store, through);
    return true;
}

static bool flush(struct store *store)
{
    struct bailey_error err = {0};
    uint64_t through;
    bool ok;

    pthread_mutex_lock(&store->lock);
    through = store->flush_through;
    pthread_mutex_unlock(&store->lock);
    ok = through == 0 || flush_tables(store, through, &err);
    pthread_mutex_lock(&store->lock);
    if (ok)
        store->flush_through = 0;
    store->trouble = err;
    pthread_cond_broadcast(&store->progress);
    pthread_mutex_unlock(&store->lock);
    return ok;
}

/* ---- Merging ---- */

struct merge {
    struct table *table;
    struct run *runs[RUNS_MERGED_MAX]; /* oldest first; neighbours in the view */
    uint32_t count;
};

/* Runs of about one size: a factor of 8. */
static unsigned tier_of(const struct run *run)
{
    return (64 - (unsigned)__builtin_clzll(run->bytes)) / 3;
}

struct span {
    uint32_t begin, end;
    bool closed; /* nothing can join it any more */
};

/* The slice of the runs from `begin` on. */
static struct span span_from(const struct table *table, uint32_t begin)
{
    const struct view *view = table->view;
    int64_t min = view->runs[begin]->min_ms, max = view->runs[begin]->max_ms;
    uint64_t count = view->runs[begin]->count;
    struct span span = {.begin = begin, .end = begin + 1};

    for (; span.end < view->run_count; span.end++) {
        const struct run *run = view->runs[span.end];
        int64_t low = run->min_ms < min ? run->min_ms : min, high = run->max_ms > max ? run->max_ms : max;

        if ((uint64_t)high - (uint64_t)low > (uint64_t)table->slice_ms ||
            (table->slice_records > 0 && count + run->count > (uint64_t)table->slice_records))
            break;
        min = low;
        max = high;
        count += run->count;
    }
    span.closed = span.end < view->run_count || (table->slice_count > 0 && table->slice_min_ms > max);
    return span;
}

/* Of a slice that is being filled: the last runs, if enough of them are of the last one's size or smaller. */
static struct span small_ones(const struct table *table, struct span span)
{
    const struct view *view = table->view;
    uint32_t begin = span.end - 1;

    while (begin > span.begin && tier_of(view->runs[begin - 1]) <= tier_of(view->runs[span.end - 1]))
        begin--;
    span.begin = span.end - begin >= table->store->limits.runs_at_once ? begin : span.end;
    return span;
}

static bool pick_of(struct table *table, struct merge *merge)
{
    struct span span;

    for (uint32_t begin = 0; begin < table->view->run_count; begin = span.end) {
        struct span some = span = span_from(table, begin);

        if (!span.closed)
            some = small_ones(table, span);
        if (some.end - some.begin < 2)
            continue;
        if (some.end - some.begin > RUNS_MERGED_MAX)
            some.end = some.begin + RUNS_MERGED_MAX;
        *merge = (struct merge){.table = table};
        for (uint32_t i = some.begin; i < some.end; i++) {
            merge->runs[merge->count++] = table->view->runs[i];
            table->view->runs[i]->refs++;
        }
        return true;
    }
    return false;
}

/* The next runs that should be one. Under the lock. */
static bool pick(struct store *store, struct merge *merge)
{
    for (uint32_t i = 0; i < store->table_count; i++)
        if (store->tables[i]->kind == BAILEY_TABLE_AGING && pick_of(store->tables[i], merge))
            return true;
    return false;
}

struct source {
    struct run_reader reader;
    const uint8_t *record; /* NULL: at its end */
    uint64_t prefix;       /* of its key */
};

static bool step(const struct table *table, struct source *source, struct bailey_error *err)
{
    if (!run_reader_next(&source->reader, &source->record, err))
        return false;
    if (source->record != NULL)
        source->prefix = prefix_of(source->record, table->key_size);
    return true;
}

/* The source with the lowest key; of equal keys the newest, and the older ones are left behind. NULL: all are at their end. */
static struct source *lowest(const struct table *table, struct source *sources, uint32_t count, bool *ok,
                             struct bailey_error *err)
{
    struct source *best = NULL;

    for (uint32_t i = count; *ok && i-- > 0;) {
        struct source *source = &sources[i];
        int order;

        if (source->record == NULL)
            continue;
        if (best == NULL || source->prefix < best->prefix) {
            best = source;
            continue;
        }
        if (source->prefix > best->prefix)
            continue;
        order = memcmp(source->record, best->record, table->key_size);
        if (order < 0)
            best = source;
        else if (order == 0)
            *ok = step(table, source, err);
    }
    return best;
}

/* What waits longer than a merge may take. */
static bool look_around(struct store *store, struct bailey_error *err)
{
    bool stop, wanted;

    pthread_mutex_lock(&store->lock);
    stop = store->stopping;
    wanted = store->flush_through != 0;
    pthread_mutex_unlock(&store->lock);
    if (stop)
        return stopped(store, err);
    return !wanted || flush(store) || bailey_fail(err, BAILEY_ERR_TRANSIENT, "a flush in between failed");
}

static bool merge_sources(const struct merge *merge, struct source *sources, struct run_writer *writer,
                          struct bailey_error *err)
{
    bool ok = true;

    for (uint32_t i = 0; ok && i < merge->count; i++)
        ok = step(merge->table, &sources[i], err);
    for (uint64_t done = 0; ok; done++) {
        struct source *source = lowest(merge->table, sources, merge->count, &ok, err);

        if (source == NULL || !ok)
            break;
        ok = run_writer_add(writer, source->record, err) && step(merge->table, source, err) &&
             ((done + 1) % LOOK_AFTER_RECORDS != 0 || look_around(merge->table->store, err));
    }
    return ok;
}

static struct run *write_merged(const struct merge *merge, struct bailey_error *err)
{
    struct store *store = merge->table->store;
    uint64_t first = merge->runs[0]->first, last = merge->runs[merge->count - 1]->last, expected = 0;
    struct source *sources = calloc(merge->count, sizeof *sources);
    struct run_writer writer;
    struct run *run = NULL;
    bool ok = true;

    if (sources == NULL) {
        disk_no_memory(err);
        return NULL;
    }
    for (uint32_t i = 0; ok && i < merge->count; i++) {
        expected += merge->runs[i]->count;
        ok = run_reader_init(&sources[i].reader, merge->runs[i], err);
    }
    if (ok && writer_begin(store, merge->table, &writer, first, last, expected, err)) {
        ok = merge_sources(merge, sources, &writer, err);
        run = writer_end(store, merge->table, &writer, first, last, ok, err);
    }
    for (uint32_t i = 0; i < merge->count; i++)
        run_reader_fini(&sources[i].reader);
    free(sources);
    return run;
}

/* Where the runs are in the view, if they are all there still: some may have expired. */
static bool find_runs(const struct merge *merge, uint32_t *at)
{
    const struct view *view = merge->table->view;

    for (*at = 0; *at + merge->count <= view->run_count; ++*at)
        if (memcmp(&view->runs[*at], merge->runs, merge->count * sizeof(struct run *)) == 0)
            return true;
    return false;
}

static bool show_merged(const struct merge *merge, struct run *run)
{
    struct store *store = merge->table->store;
    struct view *view = NULL;
    uint32_t at;

    if (find_runs(merge, &at))
        view = view_copy(merge->table->view, 1);
    if (view == NULL) {
        run->doomed = true;
        run_unref(store, run);
        return false;
    }
    for (uint32_t i = 0; i < merge->count; i++)
        view_remove_run(store, view, at);
    view_insert_run(view, at, run);
    table_show(merge->table, view);
    return true;
}

/* A merge is not worth the last of the disk, which the log needs. */
static bool is_room(const struct merge *merge)
{
    struct statvfs disk;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < merge->count; i++)
        bytes += merge->runs[i]->bytes;
    return statvfs(merge->table->store->path, &disk) != 0 || (uint64_t)disk.f_bavail * disk.f_frsize / 2 > bytes;
}

static bool merge_runs(struct merge *merge)
{
    struct store *store = merge->table->store;
    struct bailey_error err = {0};
    struct run *run = is_room(merge) ? write_merged(merge, &err) : NULL;
    bool ok = run != NULL && disk_sync_folder(store->path, &err), shown = false;

    pthread_mutex_lock(&store->lock);
    if (ok) {
        shown = show_merged(merge, run);
    } else if (run != NULL) {
        run->doomed = true;
        run_unref(store, run);
    }
    for (uint32_t i = 0; i < merge->count; i++) {
        merge->runs[i]->doomed |= shown;
        run_unref(store, merge->runs[i]);
    }
    pthread_mutex_unlock(&store->lock);
    return ok;
}

/* ---- The thread ---- */

static void remove_garbage(struct store *store)
{
    for (;;) {
        struct run *run;

        pthread_mutex_lock(&store->lock);
        run = store->garbage;
        if (run != NULL)
            store->garbage = run->next_garbage;
        pthread_mutex_unlock(&store->lock);
        if (run == NULL)
            return;
        if (run->doomed)
            disk_unlink(run->path, NULL); /* one that stays is found at the next opening */
        run_free(run);
    }
}

static bool is_past(const struct timespec *time)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > time->tv_sec || (now.tv_sec == time->tv_sec && now.tv_nsec >= time->tv_nsec);
}

static struct timespec in_s(time_t seconds)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += seconds;
    return time;
}

enum work { WORK_WAIT, WORK_STOP, WORK_REMOVE, WORK_FLUSH, WORK_MERGE };

static enum work due_work(struct store *store, bool may_flush, bool may_merge, struct merge *merge)
{
    if (store->stopping)
        return WORK_STOP;
    if (store->garbage != NULL)
        return WORK_REMOVE;
    if (may_flush && store->flush_through != 0)
        return WORK_FLUSH;
    if (may_merge && pick(store, merge))
        return WORK_MERGE;
    return WORK_WAIT;
}

/* Wait until something is due; what failed is due again at its time. Under the lock. */
static enum work wait_for_work(struct store *store, const struct timespec *flush_at, const struct timespec *merge_at,
                               struct merge *merge)
{
    enum work work;

    while ((work = due_work(store, is_past(flush_at), is_past(merge_at), merge)) == WORK_WAIT) {
        bool waits_to_flush = store->flush_through != 0;

        store->keeper_busy = waits_to_flush;
        pthread_cond_broadcast(&store->progress);
        if (waits_to_flush)
            pthread_cond_timedwait(&store->work, &store->lock, flush_at);
        else if (!is_past(merge_at))
            pthread_cond_timedwait(&store->work, &store->lock, merge_at);
        else
            pthread_cond_wait(&store->work, &store->lock);
        store->keeper_busy = true;
    }
    return work;
}

static void *keep(void *self)
{
    struct store *store = self;
    struct timespec flush_at = {0}, merge_at = {0};
    struct merge merge;

    for (;;) {
        enum work work;

        pthread_mutex_lock(&store->lock);
        work = wait_for_work(store, &flush_at, &merge_at, &merge);
        pthread_mutex_unlock(&store->lock);
        if (work == WORK_STOP)
            return NULL;
        if (work == WORK_REMOVE) {
            remove_garbage(store);
            flush_at = (struct timespec){0}; /* there may be room now */
        }
        if (work == WORK_FLUSH && !flush(store))
            flush_at = in_s(FLUSH_AGAIN_S);
        if (work == WORK_MERGE && !merge_runs(&merge))
            merge_at = in_s(MERGE_AGAIN_S);
    }
}

bool keeper_start(struct store *store, struct bailey_error *err)
{
    sigset_t all, before;
    int code;

    store->keeper_busy = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&store->keeper, NULL, keep, store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 || bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "errno", code, "cannot start a thread");
}

void keeper_stop(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    pthread_cond_signal(&store->work);
    pthread_mutex_unlock(&store->lock);
    pthread_join(store->keeper, NULL);
}

bool keeper_settle(struct store *store)
{
    bool ok;

    pthread_mutex_lock(&store->lock);
    pthread_cond_signal(&store->work);
    store->keeper_busy = true;
    while (store->keeper_busy && store->trouble.kind == BAILEY_ERR_NONE)
        pthread_cond_wait(&store->progress, &store->lock);
    ok = store->trouble.kind == BAILEY_ERR_NONE;
    pthread_mutex_unlock(&store->lock);
    return ok;
}
