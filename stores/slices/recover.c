/* recover.c: from the files of a folder to the store. First all is read and judged; only then is something changed on the disk:
 * a torn tail is cut, files that are not needed go. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "disk.h"
#include "slices.h"

char *log_path(const struct store *store, uint64_t number, const char *suffix)
{
    return disk_path(store->path, "%012llu.log%s", (unsigned long long)number, suffix);
}

char *run_path(const struct store *store, const struct table *table, uint64_t first, uint64_t last, const char *suffix)
{
    return disk_path(store->path, "%s.%012llu-%012llu.run%s", table->name, (unsigned long long)first,
                     (unsigned long long)last, suffix);
}

/* ---- What is in the folder ---- */

struct run_name {
    char table[TABLE_NAME_MAX + 1];
    uint64_t first, last;
    struct run *run;
};

struct listing {
    uint64_t *logs; /* rising */
    size_t log_count;
    struct run_name *runs; /* rising */
    size_t run_count;
    char **leftovers; /* names of files that were never finished */
    size_t leftover_count;
};

static void listing_free(struct listing *list)
{
    for (size_t i = 0; i < list->run_count; i++)
        run_free(list->runs[i].run);
    for (size_t i = 0; i < list->leftover_count; i++)
        free(list->leftovers[i]);
    free(list->logs);
    free(list->runs);
    free(list->leftovers);
}

/* Room for one more behind `count` items of `size` bytes; it doubles at powers of two. */
static bool grow(void *items, size_t count, size_t size)
{
    void *grown, **at = items;

    if ((count & (count - 1)) != 0)
        return true;
    grown = realloc(*at, (count == 0 ? 1 : 2 * count) * size);
    if (grown == NULL)
        return false;
    *at = grown;
    return true;
}

static bool number_at(const char *text, size_t len, uint64_t *number)
{
    if (len != 12 || strspn(text, "0123456789") < len)
        return false;
    *number = strtoull(text, NULL, 10);
    return *number > 0;
}

/* TABLE.FIRST-LAST.run */
static bool parse_run(const char *name, struct run_name *run)
{
    enum { TAIL = sizeof ".000000000000-000000000000.run" - 1 };
    size_t len = strlen(name);
    const char *tail = name + len - TAIL;

    if (len <= TAIL || len - TAIL > TABLE_NAME_MAX || tail[0] != '.' || tail[13] != '-' ||
        strcmp(tail + 26, ".run") != 0 || !number_at(tail + 1, 12, &run->first) ||
        !number_at(tail + 14, 12, &run->last))
        return false;
    memcpy(run->table, name, len - TAIL);
    run->table[len - TAIL] = '\0';
    run->run = NULL;
    return run->first <= run->last;
}

static bool list_name(struct listing *list, const char *name)
{
    size_t len = strlen(name);
    struct run_name run;
    uint64_t number;

    if (len == 16 && number_at(name, 12, &number) && strcmp(name + 12, ".log") == 0) {
        if (!grow(&list->logs, list->log_count, sizeof *list->logs))
            return false;
        list->logs[list->log_count++] = number;
    } else if (parse_run(name, &run)) {
        if (!grow(&list->runs, list->run_count, sizeof *list->runs))
            return false;
        list->runs[list->run_count++] = run;
    } else if (len > 4 && strcmp(name + len - 4, ".new") == 0) {
        if (!grow(&list->leftovers, list->leftover_count, sizeof *list->leftovers) ||
            (list->leftovers[list->leftover_count] = strdup(name)) == NULL)
            return false;
        list->leftover_count++;
    }
    return true;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* By first number; of those that begin alike the one that holds more is in front. */
static int compare_runs(const void *a, const void *b)
{
    const struct run_name *x = a, *y = b;

    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->last < y->last) - (x->last > y->last);
}

static bool list_folder(const char *path, struct listing *list, struct bailey_error *err)
{
    DIR *folder = opendir(path);
    bool ok = true;

    if (folder == NULL)
        return disk_fail(err, "read the folder", path);
    for (struct dirent *entry; ok && (errno = 0, entry = readdir(folder)) != NULL;)
        ok = list_name(list, entry->d_name);
    if (ok && errno != 0) {
        disk_fail(err, "read the folder", path);
        closedir(folder);
        return false;
    }
    closedir(folder);
    if (list->log_count > 0)
        qsort(list->logs, list->log_count, sizeof *list->logs, compare_numbers);
    if (list->run_count > 0)
        qsort(list->runs, list->run_count, sizeof *list->runs, compare_runs);
    return ok || disk_no_memory(err);
}

/* ---- Frames ---- */

struct replay {
    struct store *store;
    const char *path;
    const uint8_t *at, *end;
    const uint8_t *key; /* of the change before, in this frame; NULL: none */
    uint32_t key_size;
    uint64_t offset; /* of `end` in the file */
};

static uint64_t offset_of(const struct replay *replay, const uint8_t *at)
{
    return replay->offset - (uint64_t)(replay->end - at);
}

static bool damaged(const struct replay *replay, const uint8_t *at, const char *what, struct bailey_error *err)
{
    return disk_damaged(err, replay->path, offset_of(replay, at), what);
}

static bool same_table(const struct table *table, const struct bailey_table_options *options)
{
    return strcmp(table->name, options->name) == 0 && table->kind == options->kind &&
           table->key_size == options->key_size && table->value_size == options->value_size;
}

static bool define(struct store *store, uint16_t id, const struct bailey_table_options *options,
                   struct bailey_error *err)
{
    struct table *table;

    for (uint32_t i = 0; i < store->table_count; i++)
        if (i != id && strcmp(store->tables[i]->name, options->name) == 0)
            return bailey_fail(err, BAILEY_ERR_CONFIG, "two tables are called %s", options->name);
    if (id < store->table_count) {
        table = store->tables[id];
        if (!same_table(table, options))
            return bailey_fail(err, BAILEY_ERR_CONFIG, "table %u is defined in two ways", id);
        table->slice_ms = options->slice_ms;
        table->slice_records = options->slice_records;
        return true;
    }
    if (id != store->table_count || id >= BAILEY_STORE_TABLES_MAX)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "table %u is out of turn", id);
    table = table_new(store, id, options, err);
    if (table != NULL)
        store->tables[store->table_count++] = table;
    return table != NULL;
}

static bool replay_definition(struct replay *replay, uint16_t id, struct bailey_error *err)
{
    const uint8_t *at = replay->at;
    char name[TABLE_NAME_MAX + 1];
    struct bailey_table_options options = {.name = name};
    struct bailey_error why;

    if (replay->end - at < 29 || at[28] > TABLE_NAME_MAX || replay->end - at - 29 < at[28])
        return damaged(replay, at, "a definition is cut off", err);
    memcpy(name, at + 29, at[28]);
    name[at[28]] = '\0';
    options.kind = at[3] == 0 ? BAILEY_TABLE_AGING : BAILEY_TABLE_LIVE;
    options.key_size = get_u32(at + 4);
    options.value_size = get_u32(at + 8);
    options.slice_ms = (int64_t)get_u64(at + 12);
    options.slice_records = (int64_t)get_u64(at + 20);
    if (!table_options_valid(&options, &why) || !define(replay->store, id, &options, &why)) {
        if (why.kind == BAILEY_ERR_CONFIG)
            return damaged(replay, at, why.text, err);
        return disk_no_memory(err);
    }
    replay->at += 29 + at[28];
    return true;
}

/* The key of the change at replay->at; NULL: damaged. */
static const uint8_t *replay_key(struct replay *replay, const struct table *table, struct bailey_error *err)
{
    const uint8_t *key = replay->at + 3;

    if ((replay->at[0] & ENTRY_SAME_KEY) != 0) {
        if (replay->key != NULL && replay->key_size == table->key_size)
            return replay->key;
        damaged(replay, replay->at, "a change has the key of none before it", err);
        return NULL;
    }
    if ((size_t)(replay->end - key) < table->key_size) {
        damaged(replay, replay->at, "a change is cut off", err);
        return NULL;
    }
    replay->key = key;
    replay->key_size = table->key_size;
    return key;
}

static bool replay_change(struct replay *replay, struct table *table, bool put, struct bailey_error *err)
{
    const uint8_t *key = replay_key(replay, table, err);
    const uint8_t *value = replay->at + 3 + ((replay->at[0] & ENTRY_SAME_KEY) != 0 ? 0 : table->key_size);
    struct part *part;

    if (key == NULL)
        return false;
    if (put && (size_t)(replay->end - value) < table->value_size)
        return damaged(replay, replay->at, "a change is cut off", err);
    if (!put && table->kind == BAILEY_TABLE_AGING)
        return damaged(replay, replay->at, "a change erases what only ages", err);
    part = table_part(table, put ? value : NULL);
    if (part == NULL)
        return disk_no_memory(err);
    table_change(table, part, key, put ? value : NULL);
    part->map.promised = 0;
    replay->at = value + (put ? table->value_size : 0);
    return true;
}

static bool replay_frame(void *ctx, const uint8_t *payload, size_t len, uint64_t offset, struct bailey_error *err)
{
    struct replay *replay = ctx;
    struct store *store = replay->store;
    bool ok = true;

    if (len == 0)
        return true;
    replay->at = payload;
    replay->end = payload + len;
    replay->offset = offset + len;
    replay->key = NULL;
    while (ok && replay->at < replay->end) {
        unsigned kind = replay->at[0] & ~(unsigned)ENTRY_SAME_KEY;
        unsigned id = replay->end - replay->at < 3 ? UINT16_MAX : get_u16(replay->at + 1);

        if (replay->at[0] == ENTRY_DEFINE)
            ok = replay_definition(replay, (uint16_t)id, err);
        else if ((kind != ENTRY_PUT && kind != ENTRY_ERASE) || id >= store->table_count)
            ok = damaged(replay, replay->at, "a change of no known kind or table", err);
        else
            ok = replay_change(replay, store->tables[id], kind == ENTRY_PUT, err);
    }
    return ok;
}

/* ---- Logs ---- */

struct found_log {
    char *path;
    int fd;
    uint64_t number;
    struct log_header header;
    bool torn; /* its header */
};

struct history {
    struct found_log *logs; /* without a gap, the oldest first */
    size_t count;
    size_t good;  /* of them, which stay */
    uint64_t end; /* where the last good one is cut */
};

static void history_free(struct history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        if (history->logs[i].fd >= 0)
            close(history->logs[i].fd);
        free(history->logs[i].path);
    }
    free(history->logs);
}

static bool find_log(struct store *store, struct found_log *log, uint64_t number, struct bailey_error *err)
{
    enum log_verdict verdict;

    *log = (struct found_log){.path = log_path(store, number, ""), .fd = -1, .number = number};
    if (log->path == NULL)
        return disk_no_memory(err);
    log->fd = disk_open(log->path, O_RDONLY, err);
    if (log->fd < 0)
        return false;
    verdict = log_read_header(log->fd, log->path, number, store->id, &log->header, err);
    log->torn = verdict == LOG_TORN;
    return verdict != LOG_FAILED;
}

/* The logs that count: from the last that begins anew, else all; none is missing between them. */
static bool find_logs(struct store *store, const struct listing *list, struct history *history,
                      struct bailey_error *err)
{
    size_t first = 0;

    history->logs = calloc(list->log_count + 1, sizeof *history->logs);
    if (history->logs == NULL)
        return disk_no_memory(err);
    for (size_t i = 0; i < list->log_count; i++) {
        struct found_log *log = &history->logs[history->count++];

        if (!find_log(store, log, list->logs[i], err))
            return false;
        if (!log->torn && log->header.anew)
            first = i;
    }
    for (size_t i = 0; i < first; i++) {
        close(history->logs[i].fd);
        free(history->logs[i].path);
    }
    history->count -= first;
    memmove(history->logs, history->logs + first, history->count * sizeof *history->logs);
    for (size_t i = 1; i < history->count; i++) {
        if (history->logs[i].number != history->logs[i - 1].number + 1) {
            bailey_fail(err, BAILEY_ERR_CONFIG, "%s/%012llu.log is missing", store->path,
                        (unsigned long long)history->logs[i - 1].number + 1);
            return bailey_hint(err, "restore the folder from a copy");
        }
    }
    return true;
}

/* The frames end at `offset` of log `at`, before frame `sequence`. Was that one ever on the disk? */
static bool is_damage(const struct store *store, const struct history *history, size_t at, uint64_t offset,
                      uint64_t sequence, bool *proven, struct bailey_error *err)
{
    *proven = false;
    for (size_t i = at; !*proven && i < history->count; i++) {
        const struct found_log *log = &history->logs[i];

        if (!log_proves(log->fd, log->path, log->number, store->id, i == at ? offset : 0, sequence, proven, err))
            return false;
    }
    return true;
}

static bool replay_logs(struct store *store, struct history *history, struct bailey_error *err)
{
    const struct found_log *logs = history->logs;
    uint64_t sequence = history->count > 0 && !logs[0].torn ? logs[0].header.sequence : 1;
    bool proven, follows;

    for (size_t i = 0; i < history->count; i++) {
        struct replay replay = {.store = store, .path = logs[i].path};
        uint64_t end = 0;

        if (!logs[i].torn &&
            !log_read(logs[i].fd, logs[i].path, logs[i].number, store->id, &sequence, &end, replay_frame, &replay, err))
            return false;
        if (!logs[i].torn) {
            history->good = i + 1;
            history->end = end;
        }
        follows =
            i + 1 < history->count && !logs[i].torn && !logs[i + 1].torn && logs[i + 1].header.sequence == sequence;
        if (follows)
            continue;
        if (!is_damage(store, history, i, end, sequence, &proven, err))
            return false;
        if (proven || (i == 0 && logs[i].torn && logs[i].number > 1))
            return disk_damaged(err, logs[i].path, end, "a frame that was on the disk is not there");
        break;
    }
    store->sequence = sequence;
    store->synced = sequence - 1;
    return true;
}

/* ---- Runs ---- */

static struct table *table_named(const struct store *store, const char *name)
{
    for (uint32_t i = 0; i < store->table_count; i++)
        if (strcmp(store->tables[i]->name, name) == 0)
            return store->tables[i];
    return NULL;
}

/* A run whose numbers are within those of another of its table was merged into it. */
static bool superseded(const struct listing *list, size_t at)
{
    const struct run_name *run = &list->runs[at];

    for (size_t i = 0; i < list->run_count && list->runs[i].first <= run->first; i++) {
        const struct run_name *other = &list->runs[i];

        if (i != at && other->last >= run->last && strcmp(other->table, run->table) == 0)
            return true;
    }
    return false;
}

static bool show_found(struct table *table, struct run *run)
{
    struct view *view = view_copy(table->view, 1);

    if (view == NULL)
        return false;
    view_insert_run(view, view->run_count, run);
    table_show(table, view);
    return true;
}

static bool find_runs(struct store *store, struct listing *list, struct bailey_error *err)
{
    store->next_run = 1;
    for (size_t i = 0; i < list->run_count; i++) {
        struct run_name *name = &list->runs[i];
        struct table *table = table_named(store, name->table);
        struct run *run;

        if (name->last >= store->next_run)
            store->next_run = name->last + 1;
        if (table == NULL || table->kind != BAILEY_TABLE_AGING) {
            bailey_fail(err, BAILEY_ERR_CONFIG, "%s has runs of table %s, but no log defines it", store->path,
                        name->table);
            return bailey_hint(err, "restore the logs (*.log) from a copy of the folder");
        }
        if (superseded(list, i))
            continue;
        run = run_open(run_path(store, table, name->first, name->last, ""), name->first, name->last, store->id,
                       table->key_size, table->value_size, err);
        if (run == NULL)
            return false;
        if (!show_found(table, run)) {
            run_free(run);
            return disk_no_memory(err);
        }
    }
    return true;
}

/* ---- All is well: now the disk may be changed ---- */

static bool remove_file(char *path, struct bailey_error *err)
{
    bool ok = path == NULL ? disk_no_memory(err) : disk_unlink(path, err);

    free(path);
    return ok;
}

static bool remove_leftovers(struct store *store, const struct listing *list, const struct history *history,
                             struct bailey_error *err)
{
    uint64_t first = history->good == 0 ? UINT64_MAX : history->logs[0].number;
    bool ok = true;

    for (size_t i = 0; ok && i < list->leftover_count; i++)
        ok = remove_file(disk_path(store->path, "%s", list->leftovers[i]), err);
    for (size_t i = 0; ok && i < list->run_count; i++) {
        const struct run_name *run = &list->runs[i];

        if (superseded(list, i))
            ok = remove_file(run_path(store, table_named(store, run->table), run->first, run->last, ""), err);
    }
    for (size_t i = list->log_count; ok && i-- > 0;) /* the newest first, so that never one is missing between two */
        if (list->logs[i] < first || list->logs[i] > history->logs[history->good - 1].number)
            ok = remove_file(log_path(store, list->logs[i], ""), err);
    return ok;
}

static bool attach_logs(struct store *store, const struct history *history, struct bailey_error *err)
{
    struct log **next = &store->logs;

    for (size_t i = 0; i < history->good; i++) {
        const struct found_log *found = &history->logs[i];
        bool is_last = i + 1 == history->good;
        char *path = strdup(found->path);
        uint64_t size = history->end;

        if (!is_last && !disk_size(found->fd, found->path, &size, err)) {
            free(path);
            return false;
        }
        *next = log_open(path, found->number, store->id, size, err);
        if (*next == NULL)
            return false;
        store->log = *next;
        next = &store->log->next;
    }
    return true;
}

static bool begin_log(struct store *store, struct bailey_error *err)
{
    struct log_header header = {.store_id = store->id, .number = 1, .sequence = store->sequence};

    store->logs = store->log = log_create(log_path(store, 1, ""), &header, err);
    return store->log != NULL;
}

static bool cut_tail(struct store *store, struct bailey_error *err)
{
    if (ftruncate(store->log->fd, (off_t)store->log->size) != 0)
        return disk_fail(err, "cut", store->log->path);
    return true;
}

/* A sync that failed before the store was opened has dropped what it could not write, which is still read from memory, and the next sync knows
 * nothing of it: so only bytes that are written anew are sure to come to the disk. */
static bool write_anew(const struct log *log, struct bailey_error *err)
{
    uint8_t bytes[16384];
    bool ok = true;

    for (uint64_t at = 0; ok && at < log->size; at += sizeof bytes) {
        size_t len = log->size - at < sizeof bytes ? (size_t)(log->size - at) : sizeof bytes;
        ok = disk_read(log->fd, log->path, bytes, len, at, err) && disk_write(log->fd, log->path, bytes, len, at, err);
    }
    return ok;
}

/* What was written before the process ended is believed from now on: so it must be on the disk. */
static bool sync_all(struct store *store, struct bailey_error *err)
{
    for (struct log *log = store->logs; log != NULL; log = log->next) {
        if (!write_anew(log, err) || !disk_sync(log->fd, log->path, err))
            return false;
        log->synced = log->head = log->size;
    }
    return disk_sync_folder(store->path, err);
}

static bool settle(struct store *store, const struct listing *list, const struct history *history,
                   struct bailey_error *err)
{
    if (history->good == 0)
        return remove_leftovers(store, list, history, err) && begin_log(store, err) && sync_all(store, err);
    return attach_logs(store, history, err) && remove_leftovers(store, list, history, err) && cut_tail(store, err) &&
           sync_all(store, err);
}

bool recover(struct store *store, struct bailey_error *err)
{
    struct listing list = {0};
    struct history history = {0};
    bool ok = list_folder(store->path, &list, err) && find_logs(store, &list, &history, err) &&
              replay_logs(store, &history, err) && find_runs(store, &list, err) && settle(store, &list, &history, err);

    history_free(&history);
    listing_free(&list);
    return ok;
}
