#include "fake_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- Rows ---- */

static int compare(struct bailey_bytes a, struct bailey_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static size_t place_of(const struct fake_rows *rows, struct bailey_bytes key)
{
    size_t low = 0, high = rows->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare(rows->rows[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_at(const struct fake_rows *rows, size_t place, struct bailey_bytes key)
{
    return place < rows->count && compare(rows->rows[place].key, key) == 0;
}

static struct state_row copy_row(struct bailey_bytes key, struct bailey_bytes value)
{
    uint8_t *bytes = malloc(key.len + value.len + 1);

    assert_non_null(bytes);
    memcpy(bytes, key.data, key.len);
    if (value.len > 0)
        memcpy(bytes + key.len, value.data, value.len);
    return (struct state_row){{bytes, key.len}, {bytes + key.len, value.len}};
}

static void rows_erase(struct fake_rows *rows, struct bailey_bytes key)
{
    size_t place = place_of(rows, key);

    if (!has_at(rows, place, key))
        return;
    free((void *)rows->rows[place].key.data);
    rows->count--;
    memmove(rows->rows + place, rows->rows + place + 1, (rows->count - place) * sizeof *rows->rows);
}

static void rows_put(struct fake_rows *rows, struct bailey_bytes key, struct bailey_bytes value)
{
    struct state_row row = copy_row(key, value);

    rows_erase(rows, key);
    size_t place = place_of(rows, key);
    if (rows->count == rows->cap) {
        rows->cap = rows->cap > 0 ? 2 * rows->cap : 64;
        rows->rows = realloc(rows->rows, rows->cap * sizeof *rows->rows);
        assert_non_null(rows->rows);
    }
    memmove(rows->rows + place + 1, rows->rows + place, (rows->count - place) * sizeof *rows->rows);
    rows->rows[place] = row;
    rows->count++;
}

static void rows_free(struct fake_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        free((void *)rows->rows[i].key.data);
    free(rows->rows);
    *rows = (struct fake_rows){0};
}

static void rows_copy(struct fake_rows *to, const struct fake_rows *from)
{
    rows_free(to);
    if (from->count == 0)
        return;
    to->rows = malloc(from->count * sizeof *to->rows);
    assert_non_null(to->rows);
    to->count = to->cap = from->count;
    for (size_t i = 0; i < from->count; i++)
        to->rows[i] = copy_row(from->rows[i].key, from->rows[i].value);
}

/* ---- Requests ---- */

static void answer(struct fake_table *fake, struct bailey_host *host, struct bailey_task *task)
{
    assert_true(fake->answered_count < FAKE_TABLE_REQUESTS);
    fake->answered[fake->answered_count++] = task;
    bailey_again(host, task);
}

static void answered(struct fake_table *fake, const struct bailey_task *task)
{
    size_t i = 0;

    while (fake->answered[i] != task)
        i++;
    fake->answered[i] = fake->answered[--fake->answered_count];
}

static void write_done(struct bailey_task *task)
{
    struct state_write *write = task->ctx;

    answered((struct fake_table *)write->table, task);
    write->done(write);
}

static void make_write(struct fake_table *fake, struct state_write *write)
{
    write->failed = fake->fails_writes;
    for (size_t i = 0; i < write->count && !write->failed; i++) {
        if (write->puts[i].value.data == NULL)
            rows_erase(&fake->now, write->puts[i].key);
        else
            rows_put(&fake->now, write->puts[i].key, write->puts[i].value);
    }
    write->failed |= write->is_synced && fake->fails_syncs;
    if (write->failed)
        bailey_fail(&write->err, BAILEY_ERR_TRANSIENT, "no space left");
    else if (write->is_synced)
        rows_copy(&fake->synced, &fake->now);
    answer(fake, write->host, &write->task);
}

static void read_done(struct bailey_task *task)
{
    struct state_read *read = task->ctx;

    answered((struct fake_table *)read->table, task);
    read->done(read);
}

/* How many rows from `place` on it may have. */
static size_t count_rows(const struct fake_rows *rows, size_t place, const struct state_read *read, size_t *bytes)
{
    size_t count = 0;

    *bytes = 0;
    for (; place + count < rows->count; count++) {
        const struct state_row *row = &rows->rows[place + count];
        size_t size = row->key.len + row->value.len;

        if (read->until.data != NULL && compare(row->key, read->until) >= 0)
            break;
        if (count > 0 && (count >= read->max || *bytes + size > read->max_bytes))
            break;
        *bytes += size;
    }
    return count;
}

static void make_read(struct fake_table *fake, struct state_read *read)
{
    const struct fake_rows *rows = &fake->now;
    size_t place = read->from.data == NULL ? 0 : place_of(rows, read->from), bytes = 0, end;

    read->rows = NULL;
    read->count = 0;
    read->failed = fake->fails_reads;
    if (read->failed) {
        bailey_fail(&read->err, BAILEY_ERR_TRANSIENT, "input/output error");
    } else {
        read->count = count_rows(rows, place, read, &bytes);
        end = place + read->count;
        read->is_end =
            end == rows->count || (read->until.data != NULL && compare(rows->rows[end].key, read->until) >= 0);
        fake->rows_read += read->count;
    }
    if (read->count > 0) {
        read->rows = malloc(read->count * sizeof *read->rows + bytes);
        assert_non_null(read->rows);
        uint8_t *at = (uint8_t *)(read->rows + read->count);
        for (size_t i = 0; i < read->count; i++) {
            const struct state_row *row = &rows->rows[place + i];

            read->rows[i].key = (struct bailey_bytes){memcpy(at, row->key.data, row->key.len), row->key.len};
            at += row->key.len;
            read->rows[i].value = (struct bailey_bytes){memcpy(at, row->value.data, row->value.len), row->value.len};
            at += row->value.len;
        }
    }
    answer(fake, read->host, &read->job.task);
}

static void make(struct fake_table *fake, struct bailey_task *task)
{
    if (task->run == write_done)
        make_write(fake, task->ctx);
    else
        make_read(fake, task->ctx);
}

static void ask(struct fake_table *fake, struct bailey_task *task)
{
    if (!fake->holds) {
        make(fake, task);
        return;
    }
    assert_true(fake->held_count < FAKE_TABLE_REQUESTS);
    fake->held[fake->held_count++] = task;
}

static void start_write(struct state_table *table, struct state_write *write)
{
    struct fake_table *fake = (struct fake_table *)table;

    fake->writes++;
    fake->puts += write->count;
    fake->syncs += write->is_synced;
    write->table = table;
    write->task = (struct bailey_task){.run = write_done, .ctx = write};
    ask(fake, &write->task);
}

static void start_read(struct state_table *table, struct state_read *read)
{
    struct fake_table *fake = (struct fake_table *)table;

    fake->reads++;
    read->table = table;
    read->job.task = (struct bailey_task){.run = read_done, .ctx = read};
    ask(fake, &read->job.task);
}

void fake_table_init(struct fake_table *fake)
{
    *fake = (struct fake_table){
        .table = {.write = start_write, .read = start_read, .is_durable = true, .clock_ms = INT64_C(1700000000000)}};
}

void fake_table_free(struct fake_table *fake)
{
    rows_free(&fake->now);
    rows_free(&fake->synced);
}

void fake_table_release(struct fake_table *fake, size_t count)
{
    struct bailey_task *held[FAKE_TABLE_REQUESTS];

    if (count > fake->held_count)
        count = fake->held_count;
    memcpy(held, fake->held, count * sizeof(struct bailey_task *));
    fake->held_count -= count;
    memmove(fake->held, fake->held + count, fake->held_count * sizeof(struct bailey_task *));
    for (size_t i = 0; i < count; i++)
        make(fake, held[i]);
}

void fake_table_kill(struct fake_table *fake)
{
    fake->held_count = 0;
    while (fake->answered_count > 0) {
        struct bailey_task *task = fake->answered[--fake->answered_count];

        if (task->run == write_done) {
            bailey_again_stop(((struct state_write *)task->ctx)->host, task);
        } else {
            struct state_read *read = task->ctx;

            bailey_again_stop(read->host, task);
            free(read->rows);
        }
    }
}

void fake_table_power_cut(struct fake_table *fake)
{
    fake_table_kill(fake);
    rows_copy(&fake->now, &fake->synced);
}

struct state_row *fake_table_row(struct fake_table *fake, struct bailey_bytes prefix, size_t nth)
{
    size_t place = place_of(&fake->now, prefix) + nth;
    struct state_row *row = place < fake->now.count ? &fake->now.rows[place] : NULL;

    if (row == NULL || row->key.len < prefix.len || memcmp(row->key.data, prefix.data, prefix.len) != 0)
        return NULL;
    return row;
}

void fake_table_put(struct fake_table *fake, struct bailey_bytes key, struct bailey_bytes value)
{
    rows_put(&fake->now, key, value);
}
