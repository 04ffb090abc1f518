/* log.c: a frame is believed if its checksums are right. They are salted with the store's random id and the log's number: what
 * was left in the file by another log, or was put into a key or a value by somebody who likes to harm, is no frame. */
#include "log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "crc.h"
#include "disk.h"

static const char magic[8] = "BSLLOG\r\n";

enum {
    HEADER_CRC_AT = LOG_HEADER_BYTES - 4,
    ALLOCATE_BYTES = 4 * 1024 * 1024, /* at once: a sync of bytes that have their place is cheaper */
    FLAG_ANEW = 1,
};

static uint32_t seed_of(uint64_t store_id, uint64_t number)
{
    uint8_t salt[16];

    put_u64(salt, store_id);
    put_u64(salt + 8, number);
    return crc32c(0, salt, sizeof salt);
}

static void log_new_fields(struct log *log, char *path, uint64_t number, uint64_t store_id)
{
    *log = (struct log){.refs = 1, .path = path, .fd = -1, .number = number, .seed = seed_of(store_id, number)};
}

void log_free(struct log *log)
{
    if (log == NULL)
        return;
    if (log->fd >= 0)
        close(log->fd);
    free(log->path);
    free(log);
}

static struct log *log_new(char *path, uint64_t number, uint64_t store_id, struct bailey_error *err)
{
    struct log *log = path == NULL ? NULL : malloc(sizeof *log);

    if (log == NULL) {
        free(path);
        disk_no_memory(err);
        return NULL;
    }
    log_new_fields(log, path, number, store_id);
    return log;
}

struct log *log_create(char *path, const struct log_header *header, struct bailey_error *err)
{
    struct log *log = log_new(path, header->number, header->store_id, err);
    uint8_t bytes[LOG_HEADER_BYTES] = {0};

    if (log == NULL)
        return NULL;
    memcpy(bytes, magic, sizeof magic);
    put_u32(bytes + 8, LOG_VERSION);
    put_u32(bytes + 12, header->anew ? FLAG_ANEW : 0);
    put_u64(bytes + 16, header->store_id);
    put_u64(bytes + 24, header->number);
    put_u64(bytes + 32, header->sequence);
    put_u32(bytes + HEADER_CRC_AT, crc32c(0, bytes, HEADER_CRC_AT));
    log->anew = header->anew;
    log->size = LOG_HEADER_BYTES;
    log->fd = disk_open(log->path, O_RDWR | O_CREAT | O_TRUNC, err);
    if (log->fd >= 0 && disk_write(log->fd, log->path, bytes, sizeof bytes, 0, err))
        return log;
    if (log->fd >= 0)
        disk_unlink(log->path, NULL);
    log_free(log);
    return NULL;
}

struct log *log_open(char *path, uint64_t number, uint64_t store_id, uint64_t size, struct bailey_error *err)
{
    struct log *log = log_new(path, number, store_id, err);

    if (log == NULL)
        return NULL;
    log->size = size;
    log->fd = disk_open(log->path, O_RDWR, err);
    if (log->fd >= 0)
        return log;
    log_free(log);
    return NULL;
}

/* The place of the next bytes, ahead. A file system that cannot do it, or is full, shows it (or not) in the write itself. */
static void allocate(struct log *log, uint64_t end)
{
    if (end <= log->allocated)
        return;
    log->allocated = (end / ALLOCATE_BYTES + 1) * ALLOCATE_BYTES;
    (void)!fallocate(log->fd, 0, (off_t)log->size, (off_t)(log->allocated - log->size));
}

bool log_append(struct log *log, uint8_t *frame, size_t len, uint64_t sequence, uint64_t synced,
                struct bailey_error *err)
{
    assert(len <= LOG_PAYLOAD_MAX);
    put_u32(frame + 4, crc32c(log->seed, frame + LOG_FRAME_BYTES, len));
    put_u64(frame + 8, len);
    put_u64(frame + 16, sequence);
    put_u64(frame + 24, synced);
    put_u32(frame, crc32c(log->seed, frame + 4, LOG_FRAME_BYTES - 4));
    allocate(log, log->size + LOG_FRAME_BYTES + len);
    if (disk_write(log->fd, log->path, frame, LOG_FRAME_BYTES + len, log->size, err))
        return true;
    log->allocated = log->size;
    (void)!ftruncate(log->fd, (off_t)log->size);
    return false;
}

/* ---- Reading ---- */

enum log_verdict log_read_header(int fd, const char *path, uint64_t number, uint64_t store_id,
                                 struct log_header *header, struct bailey_error *err)
{
    uint8_t bytes[LOG_HEADER_BYTES];
    uint64_t size;

    if (!disk_size(fd, path, &size, err))
        return LOG_FAILED;
    if (size < sizeof bytes)
        return LOG_TORN;
    if (!disk_read(fd, path, bytes, sizeof bytes, 0, err))
        return LOG_FAILED;
    if (crc32c(0, bytes, HEADER_CRC_AT) != get_u32(bytes + HEADER_CRC_AT) || memcmp(bytes, magic, sizeof magic) != 0)
        return LOG_TORN;
    if (get_u32(bytes + 8) > LOG_VERSION) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%s is of version %u, newer than this gateway's %d", path,
                    get_u32(bytes + 8), LOG_VERSION);
        bailey_hint(err, "run the newer version of the gateway");
        return LOG_FAILED;
    }
    *header = (struct log_header){.store_id = get_u64(bytes + 16),
                                  .number = get_u64(bytes + 24),
                                  .sequence = get_u64(bytes + 32),
                                  .anew = (get_u32(bytes + 12) & FLAG_ANEW) != 0};
    if (header->store_id != store_id || header->number != number) {
        disk_damaged(err, path, 16, "it belongs to another store or has another name");
        return LOG_FAILED;
    }
    return LOG_GOOD;
}

/* The frame's header at `bytes`: right, and with its payload within `room` bytes. */
static bool frame_header(const uint8_t *bytes, uint32_t seed, uint64_t room)
{
    return get_u64(bytes + 8) <= LOG_PAYLOAD_MAX && get_u64(bytes + 8) <= room - LOG_FRAME_BYTES &&
           crc32c(seed, bytes + 4, LOG_FRAME_BYTES - 4) == get_u32(bytes);
}

struct payload {
    uint8_t *data;
    size_t capacity;
};

/* The payload of the frame at `offset`; `*len` SIZE_MAX if there is no such frame. */
static bool read_frame(int fd, const char *path, uint32_t seed, uint64_t sequence, uint64_t offset, uint64_t size,
                       struct payload *payload, size_t *len, struct bailey_error *err)
{
    uint8_t header[LOG_FRAME_BYTES];

    *len = SIZE_MAX;
    if (size - offset < sizeof header)
        return true;
    if (!disk_read(fd, path, header, sizeof header, offset, err))
        return false;
    if (get_u64(header + 16) != sequence || !frame_header(header, seed, size - offset))
        return true;
    if (get_u64(header + 8) > payload->capacity) {
        uint8_t *grown = realloc(payload->data, get_u64(header + 8));

        if (grown == NULL)
            return disk_no_memory(err);
        *payload = (struct payload){grown, get_u64(header + 8)};
    }
    if (!disk_read(fd, path, payload->data, get_u64(header + 8), offset + sizeof header, err))
        return false;
    if (crc32c(seed, payload->data, get_u64(header + 8)) == get_u32(header + 4))
        *len = get_u64(header + 8);
    return true;
}

bool log_read(int fd, const char *path, uint64_t number, uint64_t store_id, uint64_t *sequence, uint64_t *end,
              bool (*visit)(void *ctx, const uint8_t *payload, size_t len, uint64_t offset, struct bailey_error *err),
              void *ctx, struct bailey_error *err)
{
    uint32_t seed = seed_of(store_id, number);
    struct payload payload = {0};
    uint64_t size;
    size_t len;
    bool ok;

    *end = LOG_HEADER_BYTES;
    for (ok = disk_size(fd, path, &size, err);
         ok && (ok = read_frame(fd, path, seed, *sequence, *end, size, &payload, &len, err)) && len != SIZE_MAX;) {
        ok = visit(ctx, payload.data, len, *end + LOG_FRAME_BYTES, err);
        *end += LOG_FRAME_BYTES + len;
        ++*sequence;
    }
    free(payload.data);
    return ok;
}

bool log_proves(int fd, const char *path, uint64_t number, uint64_t store_id, uint64_t from, uint64_t sequence,
                bool *proven, struct bailey_error *err)
{
    enum { PIECE = 1024 * 1024 };
    uint32_t seed = seed_of(store_id, number);
    uint8_t *bytes;
    uint64_t size;
    bool ok = true;

    *proven = false;
    if (!disk_size(fd, path, &size, err))
        return false;
    bytes = malloc(PIECE);
    if (bytes == NULL)
        return disk_no_memory(err);
    for (; !*proven && from + LOG_FRAME_BYTES <= size; from += PIECE - LOG_FRAME_BYTES + 1) {
        size_t len = size - from < PIECE ? (size_t)(size - from) : PIECE;

        ok = disk_read(fd, path, bytes, len, from, err);
        for (size_t i = 0; ok && !*proven && i + LOG_FRAME_BYTES <= len; i++)
            *proven = get_u64(bytes + i + 24) >= sequence && get_u64(bytes + i + 16) > get_u64(bytes + i + 24) &&
                      frame_header(bytes + i, seed, size - from - i);
        if (!ok)
            break;
    }
    free(bytes);
    return ok;
}
