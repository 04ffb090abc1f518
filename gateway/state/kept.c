/* kept.c: the tables of messages: opening them, and reading. (Writing: committer.c.) */
#include <stdlib.h>
#include <string.h>

#include "state/store_impl.h"

enum { ERASED_AT_ONCE = 1024 };

/* ---- Reading: on a helper thread ---- */

/* Rows are gathered with the lengths of their keys and values only; their bytes, one behind the other, apart. */
struct gathering {
    struct state_read *read;
    struct state_row *rows;
    uint8_t *bytes;
    size_t rows_cap, len, cap;
    bool is_full, is_out_of_memory;
};

static int compare(struct bailey_bytes a, struct bailey_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Room for `needed` of `size` bytes each. */
static bool grow(void *block, size_t *cap, size_t needed, size_t size)
{
    void *was, *grown;
    size_t to = *cap * 2 > needed ? *cap * 2 : needed;

    if (needed <= *cap)
        return true;
    memcpy(&was, block, sizeof was);
    grown = realloc(was, to * size);
    if (grown == NULL)
        return false;
    memcpy(block, &grown, sizeof grown);
    *cap = to;
    return true;
}

static bool gather(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    struct gathering *g = ctx;
    struct state_read *read = g->read;
    size_t len = g->len + key.len + value.len;

    if (read->until.data != NULL && compare(key, read->until) >= 0)
        return false;
    g->is_full = read->count > 0 && (read->count >= read->max || len > read->max_bytes);
    if (g->is_full)
        return false;
    g->is_out_of_memory =
        !grow(&g->rows, &g->rows_cap, read->count + 1, sizeof *g->rows) || !grow(&g->bytes, &g->cap, len, 1);
    if (g->is_out_of_memory)
        return false;
    memcpy(g->bytes + g->len, key.data, key.len);
    if (value.len > 0)
        memcpy(g->bytes + g->len + key.len, value.data, value.len);
    g->rows[read->count++] = (struct state_row){.key.len = key.len, .value.len = value.len};
    g->len = len;
    return true;
}

/* All in one block. */
static bool join(struct gathering *g)
{
    struct state_read *read = g->read;
    size_t rows_size = read->count * sizeof *g->rows;

    if (read->count == 0)
        return true;
    struct state_row *rows = malloc(rows_size + g->len);
    if (rows == NULL)
        return false;
    memcpy(rows, g->rows, rows_size);
    uint8_t *at = memcpy((uint8_t *)rows + rows_size, g->bytes, g->len);
    for (size_t i = 0; i < read->count; i++) {
        rows[i].key.data = at;
        rows[i].value.data = at += rows[i].key.len;
        at += rows[i].value.len;
    }
    read->rows = rows;
    return true;
}

static void read_rows(struct bailey_job *job)
{
    struct state_read *read = job->ctx;
    struct kept_route *kept = (struct kept_route *)read->table;
    struct gathering g = {.read = read};

    read->rows = NULL;
    read->count = 0;
    read->failed = !kept->store->kept.module->scan(kept->rows, read->from, gather, &g, &read->err);
    if (!read->failed && (g.is_out_of_memory || !join(&g)))
        read->failed = !bailey_fail(&read->err, BAILEY_ERR_TRANSIENT, "no memory for kept messages");
    if (read->failed)
        read->count = 0;
    read->is_end = !read->failed && !g.is_full;
    free(g.rows);
    free(g.bytes);
}

static void has_read(struct bailey_job *job)
{
    struct state_read *read = job->ctx;

    read->done(read);
}

static void has_read_here(struct bailey_task *task)
{
    has_read(&((struct state_read *)task->ctx)->job);
}

static void start_read(struct state_table *table, struct state_read *read)
{
    read->table = table;
    read->job = (struct bailey_job){.work = read_rows, .done = has_read, .ctx = read};
    if (table->is_durable) {
        bailey_job_start(read->host, &read->job);
        return;
    }
    read_rows(&read->job); /* in memory: nothing blocks */
    read->job.task = (struct bailey_task){.run = has_read_here, .ctx = read};
    bailey_again(read->host, &read->job.task);
}

/* ---- Opening ---- */

static bool open_store(struct state_store *store, state_store_find *find, struct bailey_error *err)
{
    char path[PATH_LEN_MAX];

    if (store->config->state.store == CONFIG_STATE_MEMORY) {
        store->kept = store->ids;
        return true;
    }
    store->kept.module = find("rocksdb", err);
    return store->kept.module != NULL && state_path(path, sizeof path, store, "kept", err) &&
           store->kept.module->open(&store->kept.self, path, err);
}

/* The first keys of a table, copied. */
struct first_keys {
    struct bailey_store_change changes[ERASED_AT_ONCE];
    uint8_t keys[ERASED_AT_ONCE][BAILEY_STORE_KEY_MAX];
    size_t count;
};

static bool note_key(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    struct first_keys *first = ctx;

    (void)value;
    memcpy(first->keys[first->count], key.data, key.len);
    first->changes[first->count].key = (struct bailey_bytes){first->keys[first->count], key.len};
    return ++first->count < ERASED_AT_ONCE;
}

static bool erase_first(struct opened *opened, void *rows, struct first_keys *first, struct bailey_error *err)
{
    for (size_t i = 0; i < ERASED_AT_ONCE; i++)
        first->changes[i] = (struct bailey_store_change){.table = rows};
    first->count = 0;
    return opened->module->scan(rows, BAILEY_NULL_BYTES, note_key, first, err) &&
           (first->count == 0 || opened->module->write(opened->self, first->changes, first->count, err));
}

static bool erase_all(struct opened *opened, void *rows, struct bailey_error *err)
{
    struct first_keys *first = malloc(sizeof *first);
    bool works;

    if (first == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "no memory to empty a table");
    do
        works = erase_first(opened, rows, first, err);
    while (works && first->count == ERASED_AT_ONCE);
    free(first);
    return works;
}

static bool open_table(struct state_store *store, struct kept_route *kept, const char *kind, const char *route,
                       struct bailey_error *err)
{
    if (!state_open_table(&store->kept, &kept->rows, kind, route,
                          (struct bailey_table_options){.kind = BAILEY_TABLE_ORDERED}, err))
        return false;
    kept->store = store;
    kept->table = (struct state_table){
        .write = committer_write,
        .read = start_read,
        .is_durable = (store->kept.module->traits & BAILEY_STORE_DURABLE) != 0,
        .clock_ms = store->clock_ms,
    };
    return true;
}

static bool open_tables(struct state_store *store, size_t number, struct bailey_error *err)
{
    const struct config_route *route = &store->config->routes[number];
    struct kept_route *spill = &store->spills[number];

    if (route->keeps_messages && !open_table(store, &store->tables[number], "kept", route->name, err))
        return false;
    return !route->spills ||
           (open_table(store, spill, "spill", route->name, err) && erase_all(&store->kept, spill->rows, err));
}

bool kept_open(struct state_store *store, state_store_find *find, struct bailey_error *err)
{
    for (size_t i = 0; i < store->config->route_count; i++) {
        if (!store->config->routes[i].keeps_messages && !store->config->routes[i].spills)
            continue;
        if (store->kept.self == NULL && !open_store(store, find, err))
            return false;
        if (!open_tables(store, i, err))
            return false;
    }
    return true;
}
