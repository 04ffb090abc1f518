/* snapshot.c: a copy of the folder at one moment. Runs never change, so a hard link is a copy; logs are copied up to where they
 * were. What is seen at that moment is held by references: its files stay, whatever the others do. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "slices.h"

struct moment {
    struct view *views[BAILEY_STORE_TABLES_MAX];
    uint32_t tables;
    struct kept_log {
        struct log *log;
        uint64_t size;
    } * logs;
    size_t log_count;
};

static bool moment_take(struct store *store, struct moment *moment)
{
    size_t count = 1; /* as much room as is needed, and never none */

    pthread_mutex_lock(&store->lock);
    for (struct log *log = store->logs; log != NULL; log = log->next)
        count++;
    moment->logs = malloc(count * sizeof *moment->logs);
    if (moment->logs != NULL) {
        for (struct log *log = store->logs; log != NULL; log = log->next) {
            moment->logs[moment->log_count++] = (struct kept_log){log, log->size};
            log->refs++;
        }
        for (; moment->tables < store->table_count; moment->tables++)
            moment->views[moment->tables] = view_ref(store->tables[moment->tables]);
    }
    pthread_mutex_unlock(&store->lock);
    return moment->logs != NULL;
}

static void moment_end(struct store *store, struct moment *moment)
{
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < moment->log_count; i++)
        log_unref(moment->logs[i].log);
    for (uint32_t i = 0; i < moment->tables; i++)
        view_unref(store, moment->views[i]);
    pthread_mutex_unlock(&store->lock);
    free(moment->logs);
}

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

static bool copy_bytes(int from, const char *from_path, int to, const char *to_path, uint64_t size,
                       struct bailey_error *err)
{
    enum { PIECE = 256 * 1024 };
    uint8_t *piece = malloc(PIECE);
    bool ok = piece != NULL || disk_no_memory(err);

    for (uint64_t done = 0; ok && done < size;) {
        size_t len = size - done < PIECE ? (size_t)(size - done) : PIECE;

        ok = disk_read(from, from_path, piece, len, done, err) && disk_write(to, to_path, piece, len, done, err);
        done += len;
    }
    free(piece);
    return ok;
}

/* `size` bytes of the open file, as PATH/name, on the disk. */
static bool copy_file(int fd, const char *from, uint64_t size, const char *path, const char *name,
                      struct bailey_error *err)
{
    char *to = disk_path(path, "%s", name);
    int copy = to == NULL ? -1 : disk_open(to, O_RDWR | O_CREAT | O_EXCL, err);
    bool ok = to != NULL || disk_no_memory(err);

    ok = ok && copy >= 0 && copy_bytes(fd, from, copy, to, size, err) && disk_sync(copy, to, err);
    if (copy >= 0)
        close(copy);
    free(to);
    return ok;
}

static bool link_run(const struct run *run, const char *path, struct bailey_error *err)
{
    char *to = disk_path(path, "%s", name_of(run->path));
    bool linked = to != NULL && link(run->path, to) == 0;

    if (to == NULL)
        return disk_no_memory(err);
    free(to);
    return linked || copy_file(run->fd, run->path, run->bytes, path, name_of(run->path), err);
}

static bool copy_identity(const struct store *store, const char *path, struct bailey_error *err)
{
    char *from = disk_path(store->path, "store");
    int fd = from == NULL ? -1 : disk_open(from, O_RDONLY, err);
    uint64_t size;
    bool ok = from != NULL || disk_no_memory(err);

    ok = ok && fd >= 0 && disk_size(fd, from, &size, err) && copy_file(fd, from, size, path, "store", err);
    if (fd >= 0)
        close(fd);
    free(from);
    return ok;
}

/* The identity comes last: without it a folder is no store. */
static bool copy_moment(const struct store *store, const struct moment *moment, const char *path,
                        struct bailey_error *err)
{
    bool ok = true;

    for (uint32_t i = 0; ok && i < moment->tables; i++)
        for (uint32_t r = 0; ok && r < moment->views[i]->run_count; r++)
            ok = link_run(moment->views[i]->runs[r], path, err);
    for (size_t i = 0; ok && i < moment->log_count; i++) {
        const struct kept_log *kept = &moment->logs[i];

        ok = copy_file(kept->log->fd, kept->log->path, kept->size, path, name_of(kept->log->path), err);
    }
    return ok && disk_sync_folder(path, err) && copy_identity(store, path, err) && disk_sync_folder(path, err);
}

static void remove_copy(const struct moment *moment, const char *path)
{
    char *file = disk_path(path, "store");

    for (uint32_t i = 0; i < moment->tables; i++) {
        for (uint32_t r = 0; r < moment->views[i]->run_count && file != NULL; r++) {
            disk_unlink(file, NULL);
            free(file);
            file = disk_path(path, "%s", name_of(moment->views[i]->runs[r]->path));
        }
    }
    for (size_t i = 0; i < moment->log_count && file != NULL; i++) {
        disk_unlink(file, NULL);
        free(file);
        file = disk_path(path, "%s", name_of(moment->logs[i].log->path));
    }
    if (file != NULL)
        disk_unlink(file, NULL);
    free(file);
    rmdir(path);
}

bool snapshot_make(struct store *store, const char *path, struct bailey_error *err)
{
    struct moment *moment = calloc(1, sizeof *moment);
    char *parent = disk_path(path, "..");
    bool ok = moment != NULL && parent != NULL && moment_take(store, moment);

    if (!ok)
        disk_no_memory(err);
    else if (mkdir(path, 0700) != 0)
        ok = disk_fail(err, "create the folder", path);
    else if (!(ok = copy_moment(store, moment, path, err) && disk_sync_folder(parent, err)))
        remove_copy(moment, path);
    if (moment != NULL && moment->logs != NULL)
        moment_end(store, moment);
    free(moment);
    free(parent);
    return ok;
}
