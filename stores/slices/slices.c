/* slices: a store for ids of deduplication, on files of its own: aging and live tables. Read it from the bottom up; slices.h has
 * the picture, docs/store-format.md the files, docs/decisions/0030 the reasons. */
#include "slices.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "crc.h"
#include "disk.h"

const struct store_limits store_limits_usual = {
    .memory_bytes = 6 * 1024 * 1024,
    .log_bytes = 64 * 1024 * 1024,
    .runs_at_once = 8,
};

/* ---- The folder: what makes it a store, and who has it open ---- */

enum { STORE_VERSION = 1, STORE_BYTES = 64, STORE_CRC_AT = STORE_BYTES - 4 };

static const char magic[8] = "BSLSTO\r\n";

static bool write_identity(const char *path, uint64_t *id, struct bailey_error *err)
{
    uint8_t bytes[STORE_BYTES] = {0};
    int fd = disk_open(path, O_RDWR | O_CREAT | O_TRUNC, err);
    bool ok = fd >= 0;

    if (ok && getrandom(id, sizeof *id, 0) != sizeof *id)
        ok = disk_fail(err, "draw a random number for", path);
    memcpy(bytes, magic, sizeof magic);
    put_u32(bytes + 8, STORE_VERSION);
    put_u64(bytes + 16, *id);
    put_u32(bytes + STORE_CRC_AT, crc32c(0, bytes, STORE_CRC_AT));
    ok = ok && disk_write(fd, path, bytes, sizeof bytes, 0, err) && disk_sync(fd, path, err);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool read_identity(const char *path, uint64_t *id, struct bailey_error *err)
{
    uint8_t bytes[STORE_BYTES];
    int fd = disk_open(path, O_RDONLY, err);
    bool ok = fd >= 0 && disk_read(fd, path, bytes, sizeof bytes, 0, err);

    if (fd >= 0)
        close(fd);
    if (!ok)
        return false;
    if (memcmp(bytes, magic, sizeof magic) != 0) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%s is not of a store of slices", path);
        return bailey_hint(err, "name a folder that is empty, or that does not exist");
    }
    if (get_u32(bytes + 8) > STORE_VERSION) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%s is of version %u, newer than this gateway's %d", path,
                    get_u32(bytes + 8), STORE_VERSION);
        return bailey_hint(err, "run the newer version of the gateway");
    }
    if (crc32c(0, bytes, STORE_CRC_AT) != get_u32(bytes + STORE_CRC_AT))
        return disk_damaged(err, path, 0, "the checksum is wrong");
    *id = get_u64(bytes + 16);
    return true;
}

/* `*fresh`: nothing is in the folder but what an opening that was cut off leaves. Another program's folder is refused. */
static bool look_at_folder(const char *path, bool *fresh, struct bailey_error *err)
{
    DIR *folder = opendir(path);
    bool store = false, strange = false;

    if (folder == NULL)
        return disk_fail(err, "read the folder", path);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *name = entry->d_name;

        store |= strcmp(name, "store") == 0;
        strange |= strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "lock") != 0 &&
                   strcmp(name, "store.new") != 0;
    }
    closedir(folder);
    *fresh = !store;
    if (store || !strange)
        return true;
    bailey_fail(err, BAILEY_ERR_CONFIG, "%s is not a store: it holds other files", path);
    return bailey_hint(err, "name a folder that is empty, or that does not exist");
}

static bool make_folder(const char *path, struct bailey_error *err)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST || disk_fail(err, "create the folder", path);
}

/* The file `lock` holds the number of the process that has the store open; the lock itself ends with the process. */
static bool lock_folder(struct store *store, struct bailey_error *err)
{
    char *path = disk_path(store->path, "lock");
    char pid[16] = "";
    bool ok;

    if (path == NULL)
        return disk_no_memory(err);
    store->lock_fd = disk_open(path, O_RDWR | O_CREAT, err);
    ok = store->lock_fd >= 0;
    if (ok && flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ok = false;
        if (errno != EWOULDBLOCK)
            disk_fail(err, "lock", path);
        else if (pread(store->lock_fd, pid, sizeof pid - 1, 0) > 0 && atoi(pid) > 0)
            bailey_fail(err, BAILEY_ERR_CONFIG, "process %d has the store %s open", atoi(pid), store->path);
        else
            bailey_fail(err, BAILEY_ERR_CONFIG, "another process has the store %s open", store->path);
        if (errno == EWOULDBLOCK)
            bailey_hint(err, "stop that process, or give this gateway a store of its own");
    }
    free(path);
    return ok;
}

static bool sign_lock(struct store *store, struct bailey_error *err)
{
    char pid[16];
    int len = snprintf(pid, sizeof pid, "%-10d\n", (int)getpid());

    return disk_write(store->lock_fd, store->path, pid, (size_t)len, 0, err);
}

/* A folder is a store from the moment at which the file `store` is in it. */
static bool create_identity(struct store *store, struct bailey_error *err)
{
    char *path = disk_path(store->path, "store"), *draft = disk_path(store->path, "store.new");
    char *parent = disk_path(store->path, "..");
    bool ok = path != NULL && draft != NULL && parent != NULL;

    if (!ok)
        disk_no_memory(err);
    ok = ok && write_identity(draft, &store->id, err) && disk_rename(draft, path, err) &&
         disk_sync_folder(store->path, err) && disk_sync_folder(parent, err);
    free(path);
    free(draft);
    free(parent);
    return ok;
}

static bool identify(struct store *store, struct bailey_error *err)
{
    char *path = disk_path(store->path, "store");
    bool fresh = false, ok = path != NULL || disk_no_memory(err);

    ok = ok && make_folder(store->path, err) && look_at_folder(store->path, &fresh, err) && lock_folder(store, err) &&
         look_at_folder(store->path, &fresh, err) && /* again: until now another process may have had it */
         (fresh ? create_identity(store, err) : read_identity(path, &store->id, err));
    free(path);
    return ok;
}

/* ---- Opening and closing ---- */

static struct store *store_new(const char *path, const struct store_limits *limits)
{
    struct store *store = calloc(1, sizeof *store);
    pthread_condattr_t monotonic;

    if (store == NULL || (store->path = strdup(path)) == NULL) {
        free(store);
        return NULL;
    }
    store->limits = *limits;
    store->lock_fd = -1;
    store->sequence = 1;
    store->next_run = 1;
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->sync_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->work, &monotonic);
    pthread_cond_init(&store->progress, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return store;
}

static void store_free(struct store *store)
{
    struct log *log;
    struct run *run;

    for (uint32_t i = 0; i < store->table_count; i++)
        table_free(store->tables[i]);
    while ((run = store->garbage) != NULL) {
        store->garbage = run->next_garbage;
        if (run->doomed)
            disk_unlink(run->path, NULL);
        run_free(run);
    }
    while ((log = store->logs) != NULL) {
        store->logs = log->next;
        log_free(log);
    }
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_cond_destroy(&store->work);
    pthread_cond_destroy(&store->progress);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->sync_lock);
    free(store->frame);
    free(store->targets);
    free(store->path);
    free(store);
}

bool store_open(struct store **opened, const char *path, const struct store_limits *limits, struct bailey_error *err)
{
    struct store *store;

    if (path == NULL)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "a store of slices needs a folder");
    store = store_new(path, limits);
    if (store == NULL)
        return disk_no_memory(err);
    if (identify(store, err) && recover(store, err) && sign_lock(store, err) && keeper_start(store, err)) {
        *opened = store;
        return true;
    }
    store_free(store);
    return false;
}

static bool slices_open(void **store, const char *path, struct bailey_error *err)
{
    return store_open((struct store **)store, path, &store_limits_usual, err);
}

static void slices_close(void *store)
{
    keeper_stop(store);
    store_free(store);
}

/* ---- Tables ---- */

static bool log_definition(struct store *store, const struct table *table, struct bailey_error *err)
{
    frame_begin(store);
    return frame_definition(store, table) ? journal_append(store, err) : disk_no_memory(err);
}

static bool table_create(struct store *store, struct table **created, const struct bailey_table_options *options,
                         struct bailey_error *err)
{
    struct table *table;

    if (store->table_count == BAILEY_STORE_TABLES_MAX)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "a store has at most %d tables", BAILEY_STORE_TABLES_MAX);
    table = table_new(store, (uint16_t)store->table_count, options, err);
    if (table == NULL)
        return false;
    if (!log_definition(store, table, err)) {
        table_free(table);
        return false;
    }
    pthread_mutex_lock(&store->lock);
    store->tables[store->table_count++] = table;
    pthread_mutex_unlock(&store->lock);
    *created = table;
    return true;
}

/* A changed size of its slices counts for what comes from now on. */
static bool table_adopt(struct table *table, const struct bailey_table_options *options, struct bailey_error *err)
{
    int64_t ms = table->slice_ms, records = table->slice_records;

    if (ms == options->slice_ms && records == options->slice_records)
        return true;
    pthread_mutex_lock(&table->store->lock);
    table->slice_ms = options->slice_ms;
    table->slice_records = options->slice_records;
    pthread_mutex_unlock(&table->store->lock);
    if (log_definition(table->store, table, err))
        return true;
    pthread_mutex_lock(&table->store->lock);
    table->slice_ms = ms;
    table->slice_records = records;
    pthread_mutex_unlock(&table->store->lock);
    return false;
}

static bool slices_table_open(void *self, void **table, const struct bailey_table_options *options,
                              struct bailey_error *err)
{
    struct store *store = self;
    struct bailey_table_options was;

    if (!table_options_valid(options, err))
        return false;
    for (uint32_t i = 0; i < store->table_count; i++) {
        if (strcmp(store->tables[i]->name, options->name) != 0)
            continue;
        was = (struct bailey_table_options){.kind = store->tables[i]->kind,
                                            .key_size = store->tables[i]->key_size,
                                            .value_size = store->tables[i]->value_size};
        if (!bailey_table_options_same(&was, options, err))
            return false;
        *table = store->tables[i];
        return table_adopt(*table, options, err);
    }
    return table_create(store, (struct table **)table, options, err);
}

/* ---- Writing ---- */

/* Twice the log, or half as much again in memory: beyond that the committer waits for the keeper. */
static bool is_full(const struct store *store, bool beyond)
{
    const struct store_limits *limits = &store->limits;

    return store->active_bytes >= limits->memory_bytes + (beyond ? limits->memory_bytes / 2 : 0) ||
           store->log->size >= limits->log_bytes * (beyond ? 2 : 1);
}

/* The keeper works, or cannot: then `err`. Under the lock. */
static bool wait_for_keeper(struct store *store, struct bailey_error *err)
{
    if (store->trouble.kind != BAILEY_ERR_NONE) {
        if (err != NULL)
            *err = store->trouble;
        return false;
    }
    pthread_cond_wait(&store->progress, &store->lock);
    return true;
}

/* There is room for a write. A log that cannot be left is filled up to twice its size first. */
static bool make_room(struct store *store, struct bailey_error *err)
{
    bool ok = true, rotates, rewrites;

    pthread_mutex_lock(&store->lock);
    while (ok && store->flush_through != 0 && is_full(store, true) && !store->broken)
        ok = wait_for_keeper(store, err);
    rotates = ok && store->flush_through == 0 && is_full(store, false);
    rewrites = ok && store->broken && is_full(store, true);
    ok = ok && !is_full(store, true);
    pthread_mutex_unlock(&store->lock);
    if (rewrites && !journal_sync(store, err))
        return false;
    if (rotates)
        return journal_rotate(store, ok ? NULL : err) || ok;
    return ok || rewrites;
}

static bool targets_reserve(struct store *store, size_t count)
{
    struct part **grown;

    if (count <= store->targets_capacity)
        return true;
    grown = realloc(store->targets, count * sizeof(struct part *));
    if (grown == NULL)
        return false;
    store->targets = grown;
    store->targets_capacity = count;
    return true;
}

/* Find where each change goes, make room there, and fill the frame: all that can fail but for the log. `*done` targets are set. */
static bool prepare(struct store *store, const struct bailey_store_change *changes, size_t count, size_t *done)
{
    frame_begin(store);
    for (*done = 0; *done < count; ++*done) {
        const struct bailey_store_change *change = &changes[*done];
        struct table *table = change->table;

        assert(change->key.len == table->key_size);
        assert(change->value.data == NULL ? table->kind == BAILEY_TABLE_LIVE : change->value.len == table->value_size);
        store->targets[*done] = table_part(table, change->value.data);
        if (store->targets[*done] == NULL || !frame_change(store, table, change->key.data, change->value.data))
            return false;
    }
    return true;
}

static void apply(struct store *store, const struct bailey_store_change *changes, size_t count)
{
    enum { AHEAD = 8 };

    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            map_prefetch(&store->targets[i + AHEAD]->map, changes[i + AHEAD].key.data);
        table_change(changes[i].table, store->targets[i], changes[i].key.data, changes[i].value.data);
    }
}

static void end_promises(struct store *store, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (store->targets[i] != NULL)
            store->targets[i]->map.promised = 0;
}

static bool slices_write(void *self, const struct bailey_store_change *changes, size_t count, struct bailey_error *err)
{
    struct store *store = self;
    size_t done;
    bool ok;

    if (count == 0)
        return true;
    if (!make_room(store, err))
        return false;
    if (!targets_reserve(store, count))
        return disk_no_memory(err);
    pthread_mutex_lock(&store->lock);
    ok = prepare(store, changes, count, &done);
    pthread_mutex_unlock(&store->lock);

    ok = ok ? journal_append(store, err) : disk_no_memory(err);

    pthread_mutex_lock(&store->lock);
    if (ok)
        apply(store, changes, count);
    end_promises(store, ok ? count : done);
    pthread_mutex_unlock(&store->lock);
    return ok;
}

static bool slices_sync(void *store, struct bailey_error *err)
{
    return journal_sync(store, err);
}

/* ---- Expiring ---- */

static bool has_expired(const struct view *view, int64_t before_ms)
{
    for (uint32_t i = 0; i < view->run_count; i++)
        if (view->runs[i]->max_ms < before_ms)
            return true;
    for (uint32_t i = 0; i < view->part_count; i++)
        if (view->parts[i]->map.count > 0 && view->parts[i]->max_ms < before_ms)
            return true;
    return false;
}

static void drop_expired(struct store *store, struct view *view, int64_t before_ms)
{
    for (uint32_t i = view->run_count; i-- > 0;) {
        if (view->runs[i]->max_ms < before_ms) {
            view->runs[i]->doomed = true;
            view_remove_run(store, view, i);
        }
    }
    for (uint32_t i = view->part_count; i-- > 0;) {
        struct part *part = view->parts[i];

        if (part->map.count == 0 || part->max_ms >= before_ms)
            continue;
        if (!part->frozen)
            store->active_bytes -= (size_t)part->map.count * part->map.record_size;
        view_remove_part(view, i);
    }
}

static bool slices_expire(void *self, int64_t before_ms, struct bailey_error *err)
{
    struct table *table = self;
    struct store *store = table->store;
    struct view *view;
    bool ok = true;

    pthread_mutex_lock(&store->lock);
    if (has_expired(table->view, before_ms)) {
        view = view_copy(table->view, 0);
        ok = view != NULL;
        if (ok) {
            drop_expired(store, view, before_ms);
            table_show(table, view);
        }
    }
    pthread_mutex_unlock(&store->lock);
    return ok || disk_no_memory(err);
}

/* ---- Reading ---- */

static bool slices_get_many(void *table, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                            struct bailey_error *err)
{
    return table_get_many(table, keys, values, found, count, err);
}

static bool slices_scan(void *table, struct bailey_bytes from,
                        bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value), void *ctx,
                        struct bailey_error *err)
{
    return table_scan(table, from, visit, ctx, err);
}

static bool slices_snapshot(void *store, const char *path, struct bailey_error *err)
{
    return snapshot_make(store, path, err);
}

static void slices_stats(void *self, struct bailey_store_stats *stats)
{
    struct store *store = self;

    *stats = (struct bailey_store_stats){.memory_bytes = sizeof *store};
    pthread_mutex_lock(&store->lock);
    for (const struct log *log = store->logs; log != NULL; log = log->next)
        stats->disk_bytes += (int64_t)log->size;
    for (uint32_t i = 0; i < store->table_count; i++) {
        const struct table *table = store->tables[i];

        stats->memory_bytes += (int64_t)(sizeof *table + map_memory(&table->live.map));
        for (uint32_t r = 0; r < table->view->run_count; r++) {
            stats->disk_bytes += (int64_t)table->view->runs[r]->bytes;
            stats->memory_bytes +=
                (int64_t)(sizeof(struct run) + (sizeof(uint32_t) << table->view->runs[r]->index_bits));
        }
        for (uint32_t p = 0; p < table->view->part_count; p++)
            stats->memory_bytes += (int64_t)map_memory(&table->view->parts[p]->map);
    }
    pthread_mutex_unlock(&store->lock);
}

const struct bailey_store slices_store = {
    .size = sizeof slices_store,
    .abi_major = BAILEY_STORE_ABI_MAJOR,
    .abi_minor = BAILEY_STORE_ABI_MINOR,
    .name = "slices",
    .summary = "Ids of deduplication on files of its own: one log, and a sorted file for each slice of time.",
    .traits = BAILEY_STORE_DURABLE,
    .open = slices_open,
    .close = slices_close,
    .table_open = slices_table_open,
    .get_many = slices_get_many,
    .write = slices_write,
    .sync = slices_sync,
    .scan = slices_scan,
    .expire = slices_expire,
    .snapshot = slices_snapshot,
    .stats = slices_stats,
};

const struct bailey_store *bailey_store_entry(void)
{
    return &slices_store;
}
