/* table.c: what a table consists of, and how it is read. */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "disk.h"
#include "slices.h"

/* ---- Tables ---- */

bool table_options_valid(const struct bailey_table_options *options, struct bailey_error *err)
{
    if (options->kind != BAILEY_TABLE_ORDERED)
        return bailey_table_options_check(options, err);
    bailey_fail(err, BAILEY_ERR_CONFIG, "table %.128s: slices keeps aging and live tables only", options->name);
    return bailey_hint(err, "use a store that keeps tables in order, such as rocksdb");
}

static struct view *view_new(uint32_t runs, uint32_t parts)
{
    struct view *view = malloc(sizeof *view + ((size_t)runs + parts) * sizeof(void *));

    if (view == NULL)
        return NULL;
    *view = (struct view){.refs = 1, .runs = (struct run **)(view + 1)};
    view->parts = (struct part **)(view->runs + runs);
    return view;
}

struct table *table_new(struct store *store, uint16_t id, const struct bailey_table_options *options,
                        struct bailey_error *err)
{
    struct table *table = calloc(1, sizeof *table);

    if (table == NULL || (table->view = view_new(0, 0)) == NULL) {
        free(table);
        disk_no_memory(err);
        return NULL;
    }
    table->store = store;
    table->id = id;
    table->kind = options->kind;
    table->key_size = options->key_size;
    table->value_size = options->value_size;
    table->slice_ms = options->slice_ms;
    table->slice_records = options->slice_records;
    memcpy(table->name, options->name, strlen(options->name) + 1);
    map_init(&table->live.map, table->key_size, table->value_size);
    return table;
}

void table_free(struct table *table)
{
    if (table == NULL)
        return;
    view_unref(table->store, table->view);
    map_fini(&table->live.map);
    free(table);
}

/* ---- Views ---- */

static void part_unref(struct part *part)
{
    if (--part->refs > 0)
        return;
    map_fini(&part->map);
    free(part);
}

/* The keeper closes and removes: a reader is not held up by that. */
void run_unref(struct store *store, struct run *run)
{
    if (--run->refs > 0)
        return;
    run->next_garbage = store->garbage;
    store->garbage = run;
    pthread_cond_signal(&store->work);
}

struct view *view_ref(struct table *table)
{
    table->view->refs++;
    return table->view;
}

void view_unref(struct store *store, struct view *view)
{
    if (view == NULL || --view->refs > 0)
        return;
    for (uint32_t i = 0; i < view->run_count; i++)
        run_unref(store, view->runs[i]);
    for (uint32_t i = 0; i < view->part_count; i++)
        part_unref(view->parts[i]);
    free(view);
}

struct view *view_copy(const struct view *old, uint32_t more)
{
    struct view *view = view_new(old->run_count + more, old->part_count + more);

    if (view == NULL)
        return NULL;
    for (; view->run_count < old->run_count; view->run_count++) {
        view->runs[view->run_count] = old->runs[view->run_count];
        view->runs[view->run_count]->refs++;
    }
    for (; view->part_count < old->part_count; view->part_count++) {
        view->parts[view->part_count] = old->parts[view->part_count];
        view->parts[view->part_count]->refs++;
    }
    return view;
}

void view_remove_run(struct store *store, struct view *view, uint32_t at)
{
    run_unref(store, view->runs[at]);
    view->run_count--;
    memmove(&view->runs[at], &view->runs[at + 1], (view->run_count - at) * sizeof *view->runs);
}

void view_remove_part(struct view *view, uint32_t at)
{
    part_unref(view->parts[at]);
    view->part_count--;
    memmove(&view->parts[at], &view->parts[at + 1], (view->part_count - at) * sizeof *view->parts);
}

void view_insert_run(struct view *view, uint32_t at, struct run *run)
{
    memmove(&view->runs[at + 1], &view->runs[at], (view->run_count - at) * sizeof *view->runs);
    view->runs[at] = run;
    view->run_count++;
}

void table_show(struct table *table, struct view *view)
{
    view_unref(table->store, table->view);
    table->view = view;
}

/* ---- Where a change goes ---- */

static struct part *last_part(const struct table *table)
{
    const struct view *view = table->view;
    struct part *part = view->part_count == 0 ? NULL : view->parts[view->part_count - 1];

    return part == NULL || part->frozen ? NULL : part;
}

/* As much room at once as the part before took: it is only address space until it is used. */
static struct part *part_new(struct table *table)
{
    struct view *view = table->view, *next = view_copy(view, 1);
    struct part *part = malloc(sizeof *part);
    uint32_t before = view->part_count == 0 ? 0 : view->parts[view->part_count - 1]->map.count;

    if (next == NULL || part == NULL) {
        view_unref(table->store, next);
        free(part);
        return NULL;
    }
    *part = (struct part){.refs = 1, .min_ms = INT64_MAX, .max_ms = INT64_MIN};
    map_init(&part->map, table->key_size, table->value_size);
    map_reserve(&part->map, before);
    next->parts[next->part_count++] = part;
    table_show(table, next);
    return part;
}

/* A slice spans at most slice_ms and slice_records: its runs become one, and go as one. A put that fails later has widened it
 * for nothing, which only ends it earlier. */
static struct part *aging_part(struct table *table, int64_t time_ms)
{
    struct part *part = last_part(table);
    int64_t min = time_ms < table->slice_min_ms ? time_ms : table->slice_min_ms;
    int64_t max = time_ms > table->slice_max_ms ? time_ms : table->slice_max_ms;
    bool fits = table->slice_count > 0 && (uint64_t)max - (uint64_t)min <= (uint64_t)table->slice_ms &&
                (table->slice_records == 0 || table->slice_count < table->slice_records);

    if (part == NULL || (!fits && part->map.count + part->map.promised > 0))
        part = part_new(table);
    if (part == NULL)
        return NULL;
    table->slice_min_ms = fits ? min : time_ms;
    table->slice_max_ms = fits ? max : time_ms;
    table->slice_count = fits ? table->slice_count + 1 : 1;
    return part;
}

struct part *table_part(struct table *table, const uint8_t *value)
{
    struct part *part = table->kind == BAILEY_TABLE_LIVE ? &table->live : aging_part(table, bailey_aging_time(value));

    return part != NULL && (value == NULL || map_promise(&part->map)) ? part : NULL;
}

void table_change(struct table *table, struct part *part, const uint8_t *key, const uint8_t *value)
{
    uint32_t before = part->map.count;
    int64_t time;

    if (value == NULL) {
        map_erase(&part->map, key);
        return;
    }
    map_put(&part->map, key, value);
    if (table->kind == BAILEY_TABLE_LIVE)
        return;
    time = bailey_aging_time(value);
    part->min_ms = time < part->min_ms ? time : part->min_ms;
    part->max_ms = time > part->max_ms ? time : part->max_ms;
    table->store->active_bytes += (size_t)(part->map.count - before) * part->map.record_size;
}

/* ---- Reading ---- */

enum { KEYS_AT_ONCE = 256, RECORDS_AT_ONCE = 256 };

static bool find_in_part(const struct part *part, const uint8_t *key, uint8_t *value)
{
    const uint8_t *record = map_find(&part->map, key);

    if (record != NULL)
        memcpy(value, record + part->map.key_size, part->map.record_size - part->map.key_size);
    return record != NULL;
}

/* What is in memory, under the lock: of the view, the newest first. */
static void find_in_memory(const struct table *table, const struct view *view, const uint8_t *keys, uint8_t *values,
                           bool *found, size_t count)
{
    memset(found, 0, count * sizeof *found);
    for (uint32_t i = view->part_count; i-- > 0;) {
        for (size_t k = 0; k < count; k++)
            if (!found[k])
                found[k] = find_in_part(view->parts[i], keys + k * table->key_size, values + k * table->value_size);
    }
}

static bool find_in_runs(const struct table *table, const struct view *view, const uint8_t *keys, uint8_t *values,
                         bool *found, size_t count, struct bailey_error *err)
{
    for (size_t k = 0; k < count; k++) {
        for (uint32_t i = view->run_count; !found[k] && i-- > 0;)
            if (!run_find(view->runs[i], keys + k * table->key_size, values + k * table->value_size, &found[k], err))
                return false;
    }
    return true;
}

static bool get_some(struct table *table, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                     struct bailey_error *err)
{
    struct store *store = table->store;
    struct view *view;
    bool ok;

    pthread_mutex_lock(&store->lock);
    if (table->kind == BAILEY_TABLE_LIVE) {
        for (size_t k = 0; k < count; k++)
            found[k] = find_in_part(&table->live, keys + k * table->key_size, values + k * table->value_size);
        pthread_mutex_unlock(&store->lock);
        return true;
    }
    view = view_ref(table);
    find_in_memory(table, view, keys, values, found, count);
    pthread_mutex_unlock(&store->lock);

    ok = find_in_runs(table, view, keys, values, found, count, err);

    pthread_mutex_lock(&store->lock);
    view_unref(store, view);
    pthread_mutex_unlock(&store->lock);
    return ok;
}

bool table_get_many(struct table *table, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                    struct bailey_error *err)
{
    for (size_t done = 0; done < count; done += KEYS_AT_ONCE) {
        size_t some = count - done < KEYS_AT_ONCE ? count - done : KEYS_AT_ONCE;

        if (!get_some(table, keys + done * table->key_size, values + done * table->value_size, found + done, some, err))
            return false;
    }
    return true;
}

struct visitor {
    bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value);
    void *ctx;
    const struct table *table;
    struct bailey_bytes from;
};

/* Is the key before `from`, as memcmp orders them? */
static bool is_before(const uint8_t *key, size_t len, struct bailey_bytes from)
{
    int order = memcmp(key, from.data, len < from.len ? len : from.len);

    return order < 0 || (order == 0 && len < from.len);
}

static bool visit_record(const struct visitor *visitor, const uint8_t *record)
{
    uint32_t key_size = visitor->table->key_size;

    if (visitor->from.len > 0 && is_before(record, key_size, visitor->from))
        return true;
    return visitor->visit(visitor->ctx, (struct bailey_bytes){record, key_size},
                          (struct bailey_bytes){record + key_size, visitor->table->value_size});
}

/* From the last to the first, some at a time copied out under the lock: an erase moves the last into the gap, where it is met
 * again, or was met already. */
static bool scan_part(const struct visitor *visitor, const struct part *part, bool *going, struct bailey_error *err)
{
    struct store *store = visitor->table->store;
    uint32_t size = part->map.record_size, left = UINT32_MAX, some;
    uint8_t *copy = malloc((size_t)RECORDS_AT_ONCE * size);

    if (copy == NULL)
        return disk_no_memory(err);
    while (*going) {
        pthread_mutex_lock(&store->lock);
        left = part->map.count < left ? part->map.count : left;
        some = left < RECORDS_AT_ONCE ? left : RECORDS_AT_ONCE;
        left -= some;
        if (some > 0)
            memcpy(copy, map_record(&part->map, left), (size_t)some * size);
        pthread_mutex_unlock(&store->lock);
        for (uint32_t i = some; *going && i-- > 0;)
            *going = visit_record(visitor, copy + (size_t)i * size);
        if (some == 0)
            break;
    }
    free(copy);
    return true;
}

static bool scan_run(const struct visitor *visitor, const struct run *run, bool *going, struct bailey_error *err)
{
    struct run_reader reader;
    const uint8_t *record;
    bool ok = run_reader_init(&reader, run, err);

    while (ok && *going && (ok = run_reader_next(&reader, &record, err)) && record != NULL)
        *going = visit_record(visitor, record);
    run_reader_fini(&reader);
    return ok;
}

static bool scan_view(const struct visitor *visitor, const struct view *view, struct bailey_error *err)
{
    bool going = true, ok = true;

    for (uint32_t i = 0; ok && going && i < view->run_count; i++)
        ok = scan_run(visitor, view->runs[i], &going, err);
    for (uint32_t i = 0; ok && going && i < view->part_count; i++)
        ok = scan_part(visitor, view->parts[i], &going, err);
    return ok;
}

bool table_scan(struct table *table, struct bailey_bytes from,
                bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value), void *ctx,
                struct bailey_error *err)
{
    struct visitor visitor = {visit, ctx, table, from};
    struct view *view;
    bool going = true, ok;

    if (table->kind == BAILEY_TABLE_LIVE)
        return scan_part(&visitor, &table->live, &going, err);
    pthread_mutex_lock(&table->store->lock);
    view = view_ref(table);
    pthread_mutex_unlock(&table->store->lock);
    ok = scan_view(&visitor, view, err);
    pthread_mutex_lock(&table->store->lock);
    view_unref(table->store, view);
    pthread_mutex_unlock(&table->store->lock);
    return ok;
}
