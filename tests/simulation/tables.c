/* tables.c: rows in the order of their keys, one writer, and reads beside it. */
#include "tables.h"

#include <stdlib.h>
#include <string.h>

#include "core/schedule_row.h"
#include "message/codec.h"
#include "message/pool.h"

enum { TABLES_MAX = 4 };

/* Never changed: a put makes another one. */
struct row {
    struct bailey_bytes key, value; /* behind it */
    bool is_message;
    struct ledger_kept kept;
};

struct table {
    struct state_table state; /* first */
    struct tables *tables;
    uint32_t ledger_table;
    struct row **rows;
    size_t count, cap;
};

/* What an unsynced write changed: one of the two may be NULL. */
struct undo {
    struct table *table;
    struct row *was, *is;
    uint64_t write;
};

/* A read, and its answer: bytes as they were when it was made. */
struct reading {
    struct event event;
    struct bailey_task done;
    struct table *table;
    struct state_read *read;
    struct reading *next;
    size_t *lens; /* of key and value, by turns */
    uint8_t *bytes;
    size_t count, size;
    bool is_end, failed;
};

struct tables {
    struct sim *sim;
    struct process *process;
    const struct store *store;
    struct table *tables[TABLES_MAX];
    unsigned count;
    struct bailey_pool *pool; /* to look into rows */

    struct state_write **waiting; /* in the order of coming */
    size_t waiting_count, waiting_cap;
    size_t syncing; /* of the first of them: written, and not synced */
    struct event writer;
    struct undo *undos;
    size_t undo_count, undo_cap;
    uint64_t writes;
    struct reading *readings;
    size_t asked; /* requests that are not answered */
    bool fails_once;
};

/* ---- Rows ---- */

/* What it keeps, as whoever looks at the disk sees it. */
static void look_into(struct table *table, struct row *row)
{
    struct tables *tables = table->tables;
    struct schedule_note note;
    struct bailey_bytes bytes;
    struct bailey_error err;
    struct row_key key;
    uint32_t number, handout;

    if (!row_key_decode(row->key, &key) || key.lane >= ROW_RECENT)
        return;
    struct bailey_message *msg = message_new(tables->pool);
    if (!row_decode(row->value, &note, &bytes, &err) || !message_decode(msg, bytes, &err) ||
        !content_number(msg, &number, &handout))
        sim_fail(tables->sim, "a row of no message is written: %s", err.text);
    bailey_message_unref(msg);
    row->is_message = true;
    row->kept =
        (struct ledger_kept){.handout = handout, .table = table->ledger_table, .line = key.line, .due_ms = key.due_ms};
}

static struct row *row_new(struct table *table, const struct state_put *put)
{
    struct row *row = world_alloc(1, sizeof *row + put->key.len + put->value.len);
    uint8_t *bytes = (uint8_t *)(row + 1);

    memcpy(bytes, put->key.data, put->key.len);
    if (put->value.len > 0)
        memcpy(bytes + put->key.len, put->value.data, put->value.len);
    row->key = (struct bailey_bytes){bytes, put->key.len};
    row->value = (struct bailey_bytes){bytes + put->key.len, put->value.len};
    look_into(table, row);
    return row;
}

static int compare(struct bailey_bytes a, struct bailey_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The first that is not before `key`. */
static size_t place_of(const struct table *table, struct bailey_bytes key)
{
    size_t low = 0, high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(table->rows[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct row *row_at(const struct table *table, size_t place, struct bailey_bytes key)
{
    return place < table->count && compare(table->rows[place]->key, key) == 0 ? table->rows[place] : NULL;
}

/* `row` is where `was` was; one of the two may be NULL. */
static void replace(struct table *table, size_t place, const struct row *was, struct row *row)
{
    if (was == NULL && row != NULL) {
        WORLD_ROOM(table->rows, table->count, table->cap);
        memmove(table->rows + place + 1, table->rows + place, (table->count - place) * sizeof(struct row *));
        table->count++;
    } else if (was != NULL && row == NULL) {
        memmove(table->rows + place, table->rows + place + 1, (--table->count - place) * sizeof(struct row *));
    }
    if (row != NULL)
        table->rows[place] = row;
}

/* ---- Writing ---- */

static void put(struct table *table, const struct state_put *change)
{
    struct tables *tables = table->tables;
    size_t place = place_of(table, change->key);
    struct row *was = row_at(table, place, change->key);
    struct row *row = change->value.data != NULL ? row_new(table, change) : NULL;

    if (was == NULL && row == NULL)
        return;
    WORLD_ROOM(tables->undos, tables->undo_count, tables->undo_cap);
    tables->undos[tables->undo_count++] = (struct undo){table, was, row, tables->writes};
    replace(table, place, was, row);
    if (was != NULL && was->is_message)
        ledger_erased(tables->sim->ledger, &was->kept);
    if (row != NULL && row->is_message)
        ledger_put(tables->sim->ledger, &row->kept);
}

/* The first `count` that wait, by one write. */
static void write_some(struct tables *tables, size_t count)
{
    tables->writes++;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < tables->waiting[i]->count; k++)
            put((struct table *)tables->waiting[i]->table, &tables->waiting[i]->puts[k]);
    ledger_put_all(tables->sim->ledger);
}

void tables_sync(struct tables *tables)
{
    for (size_t i = 0; i < tables->undo_count; i++) {
        struct undo *undo = &tables->undos[i];

        if (undo->is != NULL)
            undo->is->kept.is_safe = true;
        free(undo->was);
    }
    tables->undo_count = 0;
}

static void plan_write(struct tables *tables)
{
    if (tables->waiting_count > 0 && tables->writer.place == 0)
        sim_plan(tables->sim, &tables->writer, store_when(tables->store));
}

static void write_done(struct bailey_task *task)
{
    struct state_write *write = task->ctx;

    ((struct table *)write->table)->tables->asked--;
    write->done(write);
}

static void answer(struct tables *tables, size_t count, bool failed)
{
    for (size_t i = 0; i < count; i++) {
        struct state_write *write = tables->waiting[i];

        write->failed = failed;
        if (failed)
            write->err = store_failure();
        write->task = (struct bailey_task){.run = write_done, .ctx = write};
        process_mail(write->host, &write->task, tables);
    }
    tables->waiting_count -= count;
    memmove(tables->waiting, tables->waiting + count, tables->waiting_count * sizeof *tables->waiting);
}

static bool wants_sync(const struct tables *tables, size_t count)
{
    bool is_synced = store_syncs(tables->store);

    for (size_t i = 0; i < count; i++)
        is_synced |= tables->waiting[i]->is_synced;
    return is_synced;
}

static bool is_failing(struct tables *tables)
{
    bool fails = tables->fails_once || store_is_failing(tables->store, STORE_WRITES);

    tables->fails_once = false;
    return fails;
}

static void sync_due(struct tables *tables)
{
    size_t count = tables->syncing;
    bool fails = is_failing(tables);

    tables->syncing = 0;
    if (!fails)
        tables_sync(tables);
    answer(tables, count, fails);
}

static void write_due(struct event *event)
{
    struct tables *tables = event->ctx;

    if (store_is_hanging(tables->store, event))
        return;
    if (tables->syncing > 0) {
        sync_due(tables);
    } else {
        size_t count = 1 + (size_t)dice_below(&tables->sim->dice, tables->waiting_count);
        bool fails = is_failing(tables);

        if (!fails)
            write_some(tables, count);
        if (!fails && wants_sync(tables, count))
            tables->syncing = count;
        else
            answer(tables, count, fails);
    }
    plan_write(tables);
}

static void start_write(struct state_table *table, struct state_write *write)
{
    struct tables *tables = ((struct table *)table)->tables;

    process_step(tables->process);
    write->table = table;
    WORLD_ROOM(tables->waiting, tables->waiting_count, tables->waiting_cap);
    tables->waiting[tables->waiting_count++] = write;
    tables->asked++;
    plan_write(tables);
}

/* ---- Reading ---- */

static void reading_free(struct reading *reading)
{
    struct tables *tables = reading->table->tables;
    struct reading **at = &tables->readings;

    while (*at != reading)
        at = &(*at)->next;
    *at = reading->next;
    sim_cancel(tables->sim, &reading->event);
    free(reading->lens);
    free(reading->bytes);
    free(reading);
}

/* In the process: one block with all that the rows point to. */
static void give(const struct reading *reading)
{
    struct state_read *read = reading->read;

    read->rows = NULL;
    read->count = reading->count;
    read->is_end = reading->is_end;
    read->failed = reading->failed;
    if (read->failed)
        read->err = store_failure();
    if (read->count == 0)
        return;
    read->rows = malloc(read->count * sizeof *read->rows + reading->size);
    uint8_t *at = memcpy(read->rows + read->count, reading->bytes, reading->size);
    for (size_t i = 0; i < read->count; i++) {
        read->rows[i].key = (struct bailey_bytes){at, reading->lens[2 * i]};
        at += reading->lens[2 * i];
        read->rows[i].value = (struct bailey_bytes){at, reading->lens[2 * i + 1]};
        at += reading->lens[2 * i + 1];
    }
}

static void read_done(struct bailey_task *task)
{
    struct reading *reading = task->ctx;
    struct state_read *read = reading->read;

    reading->table->tables->asked--;
    give(reading);
    reading_free(reading);
    read->done(read);
}

static bool is_before_end(const struct table *table, const struct state_read *read, size_t place)
{
    return place < table->count && (read->until.data == NULL || compare(table->rows[place]->key, read->until) < 0);
}

static size_t size_at(const struct table *table, size_t place)
{
    return table->rows[place]->key.len + table->rows[place]->value.len;
}

static void copy_rows(struct reading *reading, size_t first)
{
    const struct table *table = reading->table;
    uint8_t *at = reading->bytes = world_alloc(1, reading->size + 1);

    reading->lens = world_alloc(2 * reading->count + 1, sizeof *reading->lens);
    for (size_t i = 0; i < reading->count; i++) {
        const struct row *row = table->rows[first + i];

        memcpy(at, row->key.data, row->key.len + row->value.len);
        at += row->key.len + row->value.len;
        reading->lens[2 * i] = row->key.len;
        reading->lens[2 * i + 1] = row->value.len;
    }
}

static void read_rows(struct reading *reading)
{
    const struct table *table = reading->table;
    const struct state_read *read = reading->read;
    size_t first = place_of(table, read->from), place = first;

    for (; is_before_end(table, read, place); place++) {
        size_t size = reading->size + size_at(table, place);

        if (place > first && (place - first >= read->max || size > read->max_bytes))
            break;
        reading->size = size;
    }
    reading->count = place - first;
    reading->is_end = !is_before_end(table, read, place);
    copy_rows(reading, first);
}

static void read_due(struct event *event)
{
    struct reading *reading = event->ctx;
    struct tables *tables = reading->table->tables;

    if (store_is_hanging(tables->store, event))
        return;
    reading->failed = store_is_failing(tables->store, STORE_READS);
    if (!reading->failed)
        read_rows(reading);
    process_mail(reading->read->host, &reading->done, reading);
}

static void start_read(struct state_table *state, struct state_read *read)
{
    struct table *table = (struct table *)state;
    struct tables *tables = table->tables;
    struct reading *reading = world_alloc(1, sizeof *reading);

    process_step(tables->process);
    *reading = (struct reading){.table = table, .read = read, .next = tables->readings};
    reading->event = (struct event){.run = read_due, .ctx = reading};
    reading->done = (struct bailey_task){.run = read_done, .ctx = reading};
    tables->readings = reading;
    tables->asked++;
    sim_plan(tables->sim, &reading->event, store_when(tables->store));
}

/* ---- A life of the process ---- */

void tables_open(struct tables *tables, int64_t clock_ms)
{
    tables_sync(tables);
    for (unsigned i = 0; i < tables->count; i++) {
        tables->tables[i]->state.clock_ms = clock_ms;
        ledger_table_begins(tables->sim->ledger, tables->tables[i]->ledger_table, clock_ms);
    }
}

bool tables_are_idle(const struct tables *tables)
{
    return tables->asked == 0;
}

void tables_closed(struct tables *tables)
{
    struct dice *dice = &tables->sim->dice;
    size_t waiting = tables->waiting_count - tables->syncing;

    if (waiting > 0 && !store_is_failing(tables->store, STORE_WRITES) && dice_percent(dice, 50)) {
        memmove(tables->waiting, tables->waiting + tables->syncing, waiting * sizeof *tables->waiting);
        write_some(tables, (size_t)dice_below(dice, waiting + 1));
    }
    tables->waiting_count = tables->syncing = tables->asked = 0;
    while (tables->readings != NULL)
        reading_free(tables->readings);
    sim_cancel(tables->sim, &tables->writer);
}

static void undo(struct tables *tables, const struct undo *last)
{
    struct bailey_bytes key = last->is != NULL ? last->is->key : last->was->key;

    replace(last->table, place_of(last->table, key), last->is, last->was);
    if (last->is != NULL && last->is->is_message)
        ledger_unput(tables->sim->ledger, &last->is->kept);
    if (last->was != NULL && last->was->is_message)
        ledger_unerased(tables->sim->ledger, &last->was->kept);
    free(last->is);
}

/* What was written after some write is gone. */
void tables_crashed(struct tables *tables)
{
    uint64_t first = tables->undo_count > 0 ? tables->undos[0].write : 0;
    uint64_t kept = first + dice_below(&tables->sim->dice, tables->writes - first + 2);

    while (tables->undo_count > 0 && tables->undos[tables->undo_count - 1].write >= kept)
        undo(tables, &tables->undos[--tables->undo_count]);
    tables_sync(tables); /* the rest was on the disk */
}

void tables_fail_once(struct tables *tables)
{
    tables->fails_once = true;
}

/* ---- Making ---- */

struct tables *tables_new(struct sim *sim, struct process *process, const struct store *store)
{
    struct tables *tables = world_alloc(1, sizeof *tables);

    *tables = (struct tables){.sim = sim, .process = process, .store = store, .pool = message_pool_new()};
    tables->writer = (struct event){.run = write_due, .ctx = tables};
    return tables;
}

struct state_table *tables_add(struct tables *tables, uint32_t ledger_table)
{
    struct table *table = world_alloc(1, sizeof *table);

    *table = (struct table){.state = {.write = start_write, .read = start_read, .is_durable = true},
                            .tables = tables,
                            .ledger_table = ledger_table};
    tables->tables[tables->count++] = table;
    return &table->state;
}
