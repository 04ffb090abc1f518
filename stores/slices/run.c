/* run.c: header, records, index, checksums of the blocks: a reader needs one read of some 1.5 kB to find a key. */
#include "run.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bailey/store.h>

#include "bytes.h"
#include "crc.h"
#include "disk.h"

static const char magic[8] = "BSLRUN\r\n";

enum {
    SHARES_BITS_MAX = 24,
    WINDOW_BYTES = 8 * 1024,             /* read at once by run_find */
    SYNC_BYTES = 4 * 1024 * 1024,        /* so that a large run does not hold up the log's own syncs */
    HEADER_CRC_AT = RUN_HEADER_BYTES - 4 /* of the bytes before it */
};

static size_t blocks_of(uint64_t record_bytes)
{
    return (size_t)((record_bytes + RUN_BLOCK_BYTES - 1) / RUN_BLOCK_BYTES);
}

static size_t share_of(const uint8_t *key, uint32_t key_size, unsigned bits)
{
    return bits == 0 ? 0 : (size_t)(prefix_of(key, key_size) >> (64 - bits));
}

/* ---- Opening ---- */

void run_free(struct run *run)
{
    if (run == NULL)
        return;
    if (run->fd >= 0)
        close(run->fd);
    free(run->index);
    free(run->path);
    free(run);
}

static bool read_header(struct run *run, uint64_t store_id, struct bailey_error *err)
{
    uint8_t header[RUN_HEADER_BYTES];

    if (!disk_read(run->fd, run->path, header, sizeof header, 0, err))
        return false;
    if (memcmp(header, magic, sizeof magic) != 0)
        return disk_damaged(err, run->path, 0, "it does not begin as a run");
    if (get_u32(header + 8) > RUN_VERSION) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%s is of version %u, newer than this gateway's %d", run->path,
                    get_u32(header + 8), RUN_VERSION);
        return bailey_hint(err, "run the newer version of the gateway");
    }
    if (crc32c(0, header, HEADER_CRC_AT) != get_u32(header + HEADER_CRC_AT))
        return disk_damaged(err, run->path, 0, "the checksum of the header is wrong");
    if (get_u64(header + 24) != store_id)
        return disk_damaged(err, run->path, 24, "it belongs to another store");
    if (get_u32(header + 12) != run->key_size || get_u32(header + 16) != run->record_size - run->key_size)
        return disk_damaged(err, run->path, 12, "its records are not as large as those of its table");
    run->index_bits = get_u32(header + 20);
    run->count = get_u64(header + 32);
    run->min_ms = (int64_t)get_u64(header + 40);
    run->max_ms = (int64_t)get_u64(header + 48);
    if (run->index_bits > SHARES_BITS_MAX || run->count > UINT32_MAX)
        return disk_damaged(err, run->path, 20, "no run is that large");
    return true;
}

static bool check_size(const struct run *run, struct bailey_error *err)
{
    uint64_t records = run->count * run->record_size;
    uint64_t size =
        RUN_HEADER_BYTES + records + (((uint64_t)1 << run->index_bits) + 1) * 4 + blocks_of(records) * 4 + 4;

    if (run->bytes != size)
        return disk_damaged(err, run->path, run->bytes < size ? run->bytes : size, "the file has not the right size");
    return true;
}

static bool read_index(struct run *run, struct bailey_error *err)
{
    size_t entries = ((size_t)1 << run->index_bits) + 1;
    uint64_t offset = RUN_HEADER_BYTES + run->count * run->record_size;
    uint8_t sum[4];

    run->index = malloc(entries * sizeof *run->index);
    if (run->index == NULL)
        return disk_no_memory(err);
    if (!disk_read(run->fd, run->path, run->index, entries * 4, offset, err) ||
        !disk_read(run->fd, run->path, sum, sizeof sum, run->bytes - 4, err))
        return false;
    if (crc32c(0, run->index, entries * 4) != get_u32(sum))
        return disk_damaged(err, run->path, offset, "the checksum of the index is wrong");
    for (size_t i = 0; i < entries; i++) {
        run->index[i] = get_u32((const uint8_t *)&run->index[i]);
        if (run->index[i] > run->count || (i > 0 && run->index[i] < run->index[i - 1]))
            return disk_damaged(err, run->path, offset + 4 * i, "the index is not in order");
    }
    if (run->index[0] != 0 || run->index[entries - 1] != run->count)
        return disk_damaged(err, run->path, offset, "the index does not hold all records");
    return true;
}

struct run *run_open(char *path, uint64_t first, uint64_t last, uint64_t store_id, uint32_t key_size,
                     uint32_t value_size, struct bailey_error *err)
{
    struct run *run = path == NULL ? NULL : calloc(1, sizeof *run);

    if (run == NULL) {
        free(path);
        disk_no_memory(err);
        return NULL;
    }
    *run = (struct run){.refs = 1,
                        .path = path,
                        .first = first,
                        .last = last,
                        .key_size = key_size,
                        .record_size = key_size + value_size};
    run->fd = disk_open(path, O_RDONLY, err);
    if (run->fd >= 0 && disk_size(run->fd, path, &run->bytes, err) && read_header(run, store_id, err) &&
        check_size(run, err) && read_index(run, err))
        return run;
    run_free(run);
    return NULL;
}

/* ---- Finding ---- */

static uint64_t offset_of(const struct run *run, uint64_t number)
{
    return RUN_HEADER_BYTES + number * run->record_size;
}

/* Where `key` is among `count` records, or would be. */
static size_t search(const struct run *run, const uint8_t *records, size_t count, const uint8_t *key, bool *found)
{
    size_t low = 0, high = count;

    *found = false;
    while (low < high && !*found) {
        size_t middle = (low + high) / 2;
        int order = memcmp(key, records + middle * run->record_size, run->key_size);

        if (order > 0)
            low = middle + 1;
        else
            high = middle;
        *found = order == 0;
    }
    return high;
}

/* Records [low, high) of the file, and those of them between which `key` is if it is there. */
struct range {
    uint64_t low, high;
};

/* Keys are hashes, mostly: then so many records before and after the place where a share should have the key are enough. */
static struct range guess(const struct run *run, const uint8_t *key, struct range range)
{
    uint64_t count = range.high - range.low, around = 4, place;

    while (around * around < 3 * count) /* three and a half times the standard deviation, or a little more */
        around += around / 4 + 1;
    place = (uint64_t)((double)(prefix_of(key, run->key_size) << run->index_bits) * 0x1p-64 * (double)count);
    return (struct range){range.low + (place > around ? place - around : 0),
                          range.low + (place + around < count ? place + around : count)};
}

bool run_find(const struct run *run, const uint8_t *key, uint8_t *value, bool *found, struct bailey_error *err)
{
    uint8_t window[WINDOW_BYTES];
    size_t share = share_of(key, run->key_size, run->index_bits), most = sizeof window / run->record_size;
    struct range range = {run->index[share], run->index[share + 1]}, next = guess(run, key, range);

    *found = false;
    while (range.low < range.high && !*found) {
        size_t at, count = next.high - next.low < most ? (size_t)(next.high - next.low) : most;

        if (!disk_read(run->fd, run->path, window, count * run->record_size, offset_of(run, next.low), err))
            return false;
        at = search(run, window, count, key, found);
        if (*found)
            memcpy(value, window + at * run->record_size + run->key_size, run->record_size - run->key_size);
        if (at > 0)
            range.low = at < count ? range.high : next.low + count; /* between two that were read: it is not there */
        else
            range.high = next.low;
        next = range;
        next.low += next.high - next.low > most ? (next.high - next.low - most) / 2 : 0;
    }
    return true;
}

/* ---- Reading all ---- */

bool run_reader_init(struct run_reader *reader, const struct run *run, struct bailey_error *err)
{
    uint64_t records = run->count * run->record_size;
    size_t blocks = blocks_of(records);

    *reader = (struct run_reader){.run = run};
    reader->buffer = malloc(RUN_RECORD_MAX + RUN_BLOCK_BYTES);
    reader->checksums = malloc(blocks * 4 + 1);
    if (reader->buffer == NULL || reader->checksums == NULL) {
        run_reader_fini(reader);
        return disk_no_memory(err);
    }
    if (disk_read(run->fd, run->path, reader->checksums, blocks * 4, run->bytes - 4 - blocks * 4, err))
        return true;
    run_reader_fini(reader);
    return false;
}

void run_reader_fini(struct run_reader *reader)
{
    free(reader->buffer);
    free(reader->checksums);
    *reader = (struct run_reader){0};
}

/* The next block, behind what is left of the one before. */
static bool fill(struct run_reader *reader, struct bailey_error *err)
{
    const struct run *run = reader->run;
    uint64_t begin = reader->next_block * RUN_BLOCK_BYTES, end = run->count * run->record_size;
    size_t len = end - begin < RUN_BLOCK_BYTES ? (size_t)(end - begin) : RUN_BLOCK_BYTES;
    uint8_t *block;

    memmove(reader->buffer, reader->buffer + reader->at, reader->len);
    reader->at = 0;
    block = reader->buffer + reader->len;
    if (!disk_read(run->fd, run->path, block, len, RUN_HEADER_BYTES + begin, err))
        return false;
    if (crc32c(0, block, len) != get_u32((const uint8_t *)&reader->checksums[reader->next_block]))
        return disk_damaged(err, run->path, RUN_HEADER_BYTES + begin, "the checksum of the records is wrong");
    reader->len += len;
    reader->next_block++;
    return true;
}

bool run_reader_next(struct run_reader *reader, const uint8_t **record, struct bailey_error *err)
{
    size_t size = reader->run->record_size;

    *record = NULL;
    if (reader->done == reader->run->count)
        return true;
    if (reader->len < size && !fill(reader, err))
        return false;
    *record = reader->buffer + reader->at;
    reader->at += size;
    reader->len -= size;
    reader->done++;
    return true;
}

/* ---- Writing ---- */

bool run_writer_init(struct run_writer *writer, char *path, uint64_t store_id, uint32_t key_size, uint32_t value_size,
                     uint64_t expected, struct bailey_error *err)
{
    unsigned bits = 0;

    while (bits < SHARES_BITS_MAX && (expected >> bits) > RUN_SHARE_RECORDS)
        bits++;
    *writer = (struct run_writer){.path = path,
                                  .fd = -1,
                                  .store_id = store_id,
                                  .key_size = key_size,
                                  .record_size = key_size + value_size,
                                  .expected = expected,
                                  .min_ms = INT64_MAX,
                                  .max_ms = INT64_MIN,
                                  .index_bits = bits};
    writer->buffer = malloc(RUN_BLOCK_BYTES);
    writer->index = malloc((((size_t)1 << bits) + 1) * sizeof *writer->index);
    writer->checksums = malloc(blocks_of(expected * writer->record_size) * 4 + 1);
    if (path == NULL || writer->buffer == NULL || writer->index == NULL || writer->checksums == NULL) {
        run_writer_fini(writer);
        return disk_no_memory(err);
    }
    writer->fd = disk_open(path, O_RDWR | O_CREAT | O_TRUNC, err);
    if (writer->fd < 0)
        run_writer_fini(writer);
    return writer->fd >= 0;
}

void run_writer_fini(struct run_writer *writer)
{
    if (writer->fd >= 0)
        close(writer->fd);
    free(writer->path);
    free(writer->buffer);
    free(writer->index);
    free(writer->checksums);
    *writer = (struct run_writer){.fd = -1};
}

static bool flush(struct run_writer *writer, struct bailey_error *err)
{
    if (writer->len == 0)
        return true;
    if (!disk_write(writer->fd, writer->path, writer->buffer, writer->len, RUN_HEADER_BYTES + writer->written, err))
        return false;
    put_u32((uint8_t *)&writer->checksums[writer->blocks++], crc32c(0, writer->buffer, writer->len));
    writer->written += writer->len;
    writer->len = 0;
    if (writer->written - writer->synced < SYNC_BYTES)
        return true;
    writer->synced = writer->written;
    return disk_sync(writer->fd, writer->path, err);
}

/* All shares up to `share` begin here at the latest. */
static void index_up_to(struct run_writer *writer, size_t share)
{
    while (writer->next_share <= share)
        put_u32((uint8_t *)&writer->index[writer->next_share++], (uint32_t)writer->count);
}

bool run_writer_add(struct run_writer *writer, const uint8_t *record, struct bailey_error *err)
{
    int64_t time = bailey_aging_time(record + writer->key_size);
    size_t done = 0;

    assert(writer->count < writer->expected);
    index_up_to(writer, share_of(record, writer->key_size, writer->index_bits));
    writer->min_ms = time < writer->min_ms ? time : writer->min_ms;
    writer->max_ms = time > writer->max_ms ? time : writer->max_ms;
    writer->count++;
    while (done < writer->record_size) {
        size_t room = RUN_BLOCK_BYTES - writer->len, left = writer->record_size - done;
        size_t len = left < room ? left : room;

        memcpy(writer->buffer + writer->len, record + done, len);
        writer->len += len;
        done += len;
        if (writer->len == RUN_BLOCK_BYTES && !flush(writer, err))
            return false;
    }
    return true;
}

static void fill_header(const struct run_writer *writer, uint8_t header[RUN_HEADER_BYTES])
{
    memset(header, 0, RUN_HEADER_BYTES);
    memcpy(header, magic, sizeof magic);
    put_u32(header + 8, RUN_VERSION);
    put_u32(header + 12, writer->key_size);
    put_u32(header + 16, writer->record_size - writer->key_size);
    put_u32(header + 20, writer->index_bits);
    put_u64(header + 24, writer->store_id);
    put_u64(header + 32, writer->count);
    put_u64(header + 40, (uint64_t)writer->min_ms);
    put_u64(header + 48, (uint64_t)writer->max_ms);
    put_u32(header + HEADER_CRC_AT, crc32c(0, header, HEADER_CRC_AT));
}

bool run_writer_finish(struct run_writer *writer, struct bailey_error *err)
{
    size_t entries = ((size_t)1 << writer->index_bits) + 1;
    uint8_t header[RUN_HEADER_BYTES], sum[4];
    uint64_t at;

    if (!flush(writer, err))
        return false;
    index_up_to(writer, entries - 1);
    fill_header(writer, header);
    put_u32(sum, crc32c(0, writer->index, entries * 4));
    at = RUN_HEADER_BYTES + writer->written;
    return disk_write(writer->fd, writer->path, header, sizeof header, 0, err) &&
           disk_write(writer->fd, writer->path, writer->index, entries * 4, at, err) &&
           disk_write(writer->fd, writer->path, writer->checksums, writer->blocks * 4, at + entries * 4, err) &&
           disk_write(writer->fd, writer->path, sum, sizeof sum, at + entries * 4 + writer->blocks * 4, err) &&
           disk_sync(writer->fd, writer->path, err);
}
