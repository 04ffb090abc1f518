/* log.h: one file of the write-ahead log: a header, then frames, each a write() as a whole. docs/store-format.md has the layout.
 *
 * Logs are numbered without a gap, frames too, over all of them. A frame also says which frame was the last one known to be on
 * the disk when it was written: so that damage can be told from the end that a crash leaves.
 */
#ifndef SLICES_LOG_H
#define SLICES_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>

enum { LOG_VERSION = 1, LOG_HEADER_BYTES = 64, LOG_FRAME_BYTES = 32 };
#define LOG_PAYLOAD_MAX (UINT32_C(1) << 30)

struct log {
    struct log *next; /* newer */
    uint32_t refs;    /* under the store's lock */
    bool anew;        /* holds all that was alive: older logs do not count */
    char *path;
    int fd;
    uint64_t number;
    uint64_t size;      /* bytes up to the end of the last frame; under the store's lock */
    uint64_t head;      /* bytes that must be on the disk before older logs may go */
    uint64_t synced;    /* bytes on the disk; under the store's lock */
    uint64_t allocated; /* bytes that the file has room for */
    uint32_t seed;      /* of the checksums of its frames */
};

/* What a log says of itself. */
struct log_header {
    uint64_t store_id, number;
    uint64_t sequence; /* of its first frame */
    bool anew;
};

/* A new file with a header and nothing more. Takes `path` in any case. NULL on failure; no file is left then. */
struct log *log_create(char *path, const struct log_header *header, struct bailey_error *err);
/* A file that is there, of which `size` bytes are good. Takes `path` in any case. */
struct log *log_open(char *path, uint64_t number, uint64_t store_id, uint64_t size, struct bailey_error *err);
/* Close and free; the file stays. */
void log_free(struct log *log);

/* `frame` has LOG_FRAME_BYTES of room, then `len` bytes of payload. On failure the log is as before: what may have come into
 * the file is no frame, or written over by the next. The caller adds to log->size. */
bool log_append(struct log *log, uint8_t *frame, size_t len, uint64_t sequence, uint64_t synced,
                struct bailey_error *err);

/* ---- Reading ---- */

enum log_verdict {
    LOG_FAILED, /* `err` */
    LOG_GOOD,
    LOG_TORN, /* the header is not (wholly) there */
};

enum log_verdict log_read_header(int fd, const char *path, uint64_t number, uint64_t store_id,
                                 struct log_header *header, struct bailey_error *err);

/* Each frame from the first on, the first with the number `*sequence`, as long as they are whole and follow each other; at
 * `*end` the next would begin, with the number `*sequence`. False: visit() failed, or the disk. */
bool log_read(int fd, const char *path, uint64_t number, uint64_t store_id, uint64_t *sequence, uint64_t *end,
              bool (*visit)(void *ctx, const uint8_t *payload, size_t len, uint64_t offset, struct bailey_error *err),
              void *ctx, struct bailey_error *err);

/* Is there, at `from` or later, a frame that was written when frame `sequence` was known to be on the disk? */
bool log_proves(int fd, const char *path, uint64_t number, uint64_t store_id, uint64_t from, uint64_t sequence,
                bool *proven, struct bailey_error *err);

#endif
