/* run.h: a run: the records of a span of time in one file, sorted by key, never changed. docs/store-format.md has the layout.
 *
 * In memory it holds 4 bytes for each 128 to 256 records: where each share of the keys begins. Reading is for any thread, writing for one.
 */
#ifndef SLICES_RUN_H
#define SLICES_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>

enum {
    RUN_VERSION = 1,
    RUN_HEADER_BYTES = 128,
    RUN_BLOCK_BYTES = 64 * 1024, /* of records, under one checksum */
    RUN_SHARE_RECORDS = 256,     /* at most, on the average, between two entries of the index */
    RUN_RECORD_MAX = 256 + 64,   /* bytes */
};

struct run {
    uint32_t refs; /* under the store's lock */
    bool doomed;   /* the file goes with the last reference; under the store's lock */
    struct run *next_garbage;
    char *path;
    int fd;
    uint64_t first, last;           /* numbers of the flushes that it holds: of two runs the later one counts */
    uint32_t key_size, record_size; /* bytes */
    uint64_t count;                 /* records */
    int64_t min_ms, max_ms;         /* times in them */
    uint64_t bytes;                 /* of the file */
    unsigned index_bits;            /* the index has an entry for each value of that many first bits of a key, */
    uint32_t *index;                /* the number of its first record, and one more: the count */
};

/* The file `path` as a run, with one reference. Takes `path` in any case. */
struct run *run_open(char *path, uint64_t first, uint64_t last, uint64_t store_id, uint32_t key_size,
                     uint32_t value_size, struct bailey_error *err);

/* Close the file and free the run. */
void run_free(struct run *run);

/* Copy the value of `key` to `value` if the run has it. */
bool run_find(const struct run *run, const uint8_t *key, uint8_t *value, bool *found, struct bailey_error *err);

/* ---- One record after the other; checksums are verified ---- */

struct run_reader {
    const struct run *run;
    uint64_t done;       /* records given out */
    uint64_t next_block; /* number of the block to read next */
    size_t at, len;      /* unread bytes in the buffer */
    uint8_t *buffer;
    uint32_t *checksums; /* of all blocks */
};

bool run_reader_init(struct run_reader *reader, const struct run *run, struct bailey_error *err);
void run_reader_fini(struct run_reader *reader);

/* `*record` is valid until the next call; NULL at the end. */
bool run_reader_next(struct run_reader *reader, const uint8_t **record, struct bailey_error *err);

/* ---- Writing ---- */

struct run_writer {
    char *path; /* under which it is written */
    int fd;
    uint64_t store_id;
    uint32_t key_size, record_size;
    uint64_t count, expected;
    int64_t min_ms, max_ms;
    uint64_t written; /* bytes of records in the file */
    uint64_t synced;  /* of them on the disk */
    size_t len;       /* bytes in the buffer */
    uint8_t *buffer;  /* RUN_BLOCK_BYTES */
    unsigned index_bits;
    uint32_t *index;
    size_t next_share; /* first entry of the index that is not set yet */
    uint32_t *checksums;
    size_t blocks;
};

/* Write to `path` (taken in any case) at most `expected` records. */
bool run_writer_init(struct run_writer *writer, char *path, uint64_t store_id, uint32_t key_size, uint32_t value_size,
                     uint64_t expected, struct bailey_error *err);

/* The keys rise. */
bool run_writer_add(struct run_writer *writer, const uint8_t *record, struct bailey_error *err);

/* All of it is on the disk then, under its path. */
bool run_writer_finish(struct run_writer *writer, struct bailey_error *err);

/* Free what it holds; the file stays. */
void run_writer_fini(struct run_writer *writer);

#endif
