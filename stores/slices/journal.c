/* journal.c: the logs together: how they follow each other, and what a sync does.
 *
 * A log is left for the next when enough is in memory. The new one begins with all definitions and all live records, so that the
 * old one is needed only until the keeper has made runs of the aging records. Where a sync has failed no byte of any log is
 * believed (a failed fsync drops what it could not write, and the next one knows nothing of it): all that is in memory goes to a
 * new log, which counts from the moment at which it is renamed into place, whole and synced. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "disk.h"
#include "slices.h"

enum {
    PIECE_BYTES = 256 * 1024, /* of what is written again, a frame */
    FRAME_KEEP_BYTES = 1024 * 1024,
};

/* ---- Frames ---- */

void frame_begin(struct store *store)
{
    if (store->frame_capacity > FRAME_KEEP_BYTES) { /* of one large write */
        free(store->frame);
        store->frame = NULL;
        store->frame_capacity = 0;
    }
    store->frame_len = LOG_FRAME_BYTES;
    store->frame_key = 0;
}

static uint8_t *frame_room(struct store *store, size_t len)
{
    if (store->frame_len + len > store->frame_capacity) {
        size_t capacity = (store->frame_len + len) * 2;
        uint8_t *grown = capacity > LOG_PAYLOAD_MAX ? NULL : realloc(store->frame, capacity);

        if (grown == NULL)
            return NULL;
        store->frame = grown;
        store->frame_capacity = capacity;
    }
    store->frame_len += len;
    return store->frame + store->frame_len - len;
}

bool frame_change(struct store *store, const struct table *table, const uint8_t *key, const uint8_t *value)
{
    size_t key_size = table->key_size, last = store->frame_key;
    bool same = last > 0 && store->frame_key_size == key_size && memcmp(store->frame + last, key, key_size) == 0;
    uint8_t *at = frame_room(store, 3 + (same ? 0 : key_size) + (value == NULL ? 0 : table->value_size));

    if (at == NULL)
        return false;
    at[0] = (value == NULL ? ENTRY_ERASE : ENTRY_PUT) | (same ? ENTRY_SAME_KEY : 0);
    put_u16(at + 1, table->id);
    at += 3;
    if (!same) {
        memcpy(at, key, key_size);
        store->frame_key = (size_t)(at - store->frame);
        store->frame_key_size = key_size;
        at += key_size;
    }
    if (value != NULL)
        memcpy(at, value, table->value_size);
    return true;
}

bool frame_definition(struct store *store, const struct table *table)
{
    size_t len = strlen(table->name);
    uint8_t *at = frame_room(store, 29 + len);

    if (at == NULL)
        return false;
    at[0] = ENTRY_DEFINE;
    put_u16(at + 1, table->id);
    at[3] = table->kind == BAILEY_TABLE_LIVE;
    put_u32(at + 4, table->key_size);
    put_u32(at + 8, table->value_size);
    put_u64(at + 12, (uint64_t)table->slice_ms);
    put_u64(at + 20, (uint64_t)table->slice_records);
    at[28] = (uint8_t)len;
    memcpy(at + 29, table->name, len);
    return true;
}

/* The frame, if it has something in it, to the end of `log`. */
static bool append(struct store *store, struct log *log, uint64_t *sequence, struct bailey_error *err)
{
    if (store->frame_len == LOG_FRAME_BYTES)
        return true;
    if (!log_append(log, store->frame, store->frame_len - LOG_FRAME_BYTES, *sequence, store->synced, err))
        return false;
    pthread_mutex_lock(&store->lock);
    log->size += store->frame_len;
    ++*sequence;
    pthread_mutex_unlock(&store->lock);
    return true;
}

bool journal_append(struct store *store, struct bailey_error *err)
{
    return append(store, store->log, &store->sequence, err);
}

/* ---- A new log ---- */

static bool copy_map(struct store *store, const struct table *table, const struct map *map, struct log *log,
                     uint64_t *sequence, struct bailey_error *err)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const uint8_t *record = map_record(map, i);

        if (!frame_change(store, table, record, record + map->key_size))
            return disk_no_memory(err);
        if (store->frame_len > PIECE_BYTES) {
            if (!append(store, log, sequence, err))
                return false;
            frame_begin(store);
        }
    }
    return true;
}

static bool copy_definitions(struct store *store, struct log *log, uint64_t *sequence, struct bailey_error *err)
{
    frame_begin(store);
    for (uint32_t i = 0; i < store->table_count; i++) {
        const struct table *table = store->tables[i];

        if (!frame_definition(store, table))
            return disk_no_memory(err);
        if (!copy_map(store, table, &table->live.map, log, sequence, err))
            return false;
    }
    return append(store, log, sequence, err);
}

/* The aging records in memory. The keeper may turn some into runs meanwhile. */
static bool copy_parts(struct store *store, struct log *log, uint64_t *sequence, struct bailey_error *err)
{
    bool ok = true;

    frame_begin(store);
    for (uint32_t i = 0; ok && i < store->table_count; i++) {
        struct view *view;

        pthread_mutex_lock(&store->lock);
        view = view_ref(store->tables[i]);
        pthread_mutex_unlock(&store->lock);
        for (uint32_t p = 0; ok && p < view->part_count; p++)
            ok = copy_map(store, store->tables[i], &view->parts[p]->map, log, sequence, err);
        pthread_mutex_lock(&store->lock);
        view_unref(store, view);
        pthread_mutex_unlock(&store->lock);
    }
    return ok && append(store, log, sequence, err);
}

static struct log *new_log(struct store *store, bool anew, struct bailey_error *err)
{
    struct log_header header = {
        .store_id = store->id, .number = store->log->number + 1, .sequence = store->sequence, .anew = anew};

    return log_create(log_path(store, header.number, anew ? ".new" : ""), &header, err);
}

static void give_up(struct log *log)
{
    disk_unlink(log->path, NULL);
    log_free(log);
}

/* From now on `log` is written to. Under the lock. */
static void go_on_in(struct store *store, struct log *log, uint64_t sequence)
{
    log->head = log->size;
    store->log->next = log;
    store->log = log;
    store->sequence = sequence;
    store->folder_changes++;
}

static void freeze(struct store *store)
{
    for (uint32_t i = 0; i < store->table_count; i++)
        for (uint32_t p = 0; p < store->tables[i]->view->part_count; p++)
            store->tables[i]->view->parts[p]->frozen = true;
    store->active_bytes = 0;
    pthread_cond_signal(&store->work);
}

bool journal_rotate(struct store *store, struct bailey_error *err)
{
    uint64_t sequence = store->sequence;
    struct log *log = new_log(store, false, err);

    if (log == NULL)
        return false;
    if (!copy_definitions(store, log, &sequence, err)) {
        give_up(log);
        return false;
    }
    pthread_mutex_lock(&store->lock);
    store->flush_through = store->log->number;
    go_on_in(store, log, sequence);
    freeze(store);
    pthread_mutex_unlock(&store->lock);
    return true;
}

/* ---- Letting go of logs ---- */

void log_unref(struct log *log)
{
    if (--log->refs == 0)
        log_free(log);
}

/* The oldest log up to `number` but the one that is written to, with a reference. What is in it is on the disk elsewhere. */
static struct log *next_unneeded(struct store *store, uint64_t number)
{
    struct log *log;

    pthread_mutex_lock(&store->lock);
    log = store->logs != store->log && store->logs->number <= number ? store->logs : NULL;
    if (log != NULL) {
        log->synced = log->size;
        log->refs++;
    }
    pthread_mutex_unlock(&store->lock);
    return log;
}

/* One that cannot be removed stays for the next time, and all newer ones with it: none may be missing in between. */
void journal_drop(struct store *store, uint64_t number)
{
    struct log *log;
    bool going = true;

    while (going && (log = next_unneeded(store, number)) != NULL) {
        going = disk_unlink(log->path, NULL);
        pthread_mutex_lock(&store->lock);
        if (going && store->logs == log) {
            store->logs = log->next;
            log_unref(log);
        }
        log_unref(log);
        pthread_mutex_unlock(&store->lock);
    }
}

/* ---- Syncing ---- */

static bool sync_folder(struct store *store, struct bailey_error *err)
{
    uint64_t changes;
    bool needed, ok;

    pthread_mutex_lock(&store->lock);
    changes = store->folder_changes;
    needed = changes != store->folder_synced;
    pthread_mutex_unlock(&store->lock);
    ok = !needed || disk_sync_folder(store->path, err);
    pthread_mutex_lock(&store->lock);
    if (ok)
        store->folder_synced = changes;
    store->broken |= !ok;
    pthread_mutex_unlock(&store->lock);
    return ok;
}

static bool sync_log(struct store *store, struct log *log, struct bailey_error *err)
{
    uint64_t size;
    bool needed, ok;

    pthread_mutex_lock(&store->lock);
    size = log->size;
    needed = log->synced < size;
    pthread_mutex_unlock(&store->lock);
    ok = !needed || disk_sync(log->fd, log->path, err);
    pthread_mutex_lock(&store->lock);
    if (ok && size > log->synced)
        log->synced = size;
    store->broken |= !ok;
    pthread_mutex_unlock(&store->lock);
    return ok;
}

/* The oldest log that is not on the disk, with a reference; NULL: none up to `number`. */
static struct log *next_unsynced(struct store *store, uint64_t number)
{
    struct log *log = store->logs;

    while (log != NULL && log->number <= number && log->synced == log->size)
        log = log->next;
    if (log == NULL || log->number > number)
        return NULL;
    log->refs++;
    return log;
}

static bool sync_through(struct store *store, uint64_t number, struct bailey_error *err)
{
    bool ok = true, broken;

    while (ok) {
        struct log *log;

        pthread_mutex_lock(&store->lock);
        broken = store->broken;
        log = broken ? NULL : next_unsynced(store, number);
        pthread_mutex_unlock(&store->lock);
        if (broken)
            return bailey_fail(err, BAILEY_ERR_TRANSIENT, "an earlier sync of the logs in %s failed", store->path);
        if (log == NULL)
            break;
        ok = sync_log(store, log, err);
        pthread_mutex_lock(&store->lock);
        log_unref(log);
        pthread_mutex_unlock(&store->lock);
    }
    return ok && sync_folder(store, err);
}

bool journal_sync_through(struct store *store, uint64_t number, struct bailey_error *err)
{
    bool ok;

    pthread_mutex_lock(&store->sync_lock);
    ok = sync_through(store, number, err);
    pthread_mutex_unlock(&store->sync_lock);
    return ok;
}

/* All that is in memory, in a log that stands for itself. */
static struct log *rewrite(struct store *store, uint64_t *sequence, struct bailey_error *err)
{
    struct log *log = new_log(store, true, err);
    char *path = log == NULL ? NULL : log_path(store, log->number, "");

    if (log == NULL)
        return NULL;
    *sequence = store->sequence;
    if (path == NULL)
        disk_no_memory(err);
    if (path != NULL && copy_definitions(store, log, sequence, err) && copy_parts(store, log, sequence, err) &&
        disk_sync(log->fd, log->path, err) && disk_rename(log->path, path, err)) {
        free(log->path);
        log->path = path;
        return log;
    }
    free(path);
    give_up(log);
    return NULL;
}

static bool sync_anew(struct store *store, struct bailey_error *err)
{
    uint64_t sequence, changes;
    struct log *log = rewrite(store, &sequence, err);

    if (log == NULL)
        return false;
    pthread_mutex_lock(&store->lock);
    go_on_in(store, log, sequence);
    log->synced = log->size;
    changes = store->folder_changes;
    pthread_mutex_unlock(&store->lock);
    if (!disk_sync_folder(store->path, err))
        return false; /* it is still broken, and written once more */
    pthread_mutex_lock(&store->lock);
    store->folder_synced = changes;
    store->broken = false;
    pthread_mutex_unlock(&store->lock);
    journal_drop(store, log->number - 1);
    return true;
}

bool journal_sync(struct store *store, struct bailey_error *err)
{
    uint64_t last = store->sequence - 1;
    bool broken, ok;

    pthread_mutex_lock(&store->sync_lock);
    pthread_mutex_lock(&store->lock);
    broken = store->broken;
    pthread_mutex_unlock(&store->lock);
    ok = broken ? sync_anew(store, err) : sync_through(store, UINT64_MAX, err);
    if (broken && ok)
        last = store->sequence - 1;
    if (ok) {
        pthread_mutex_lock(&store->lock);
        store->synced = last;
        pthread_cond_signal(&store->work);
        pthread_mutex_unlock(&store->lock);
    }
    pthread_mutex_unlock(&store->sync_lock);
    return ok;
}
