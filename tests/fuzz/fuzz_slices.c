/* fuzz_slices.c: the files that a store of slices reads when it is opened. The first byte chooses which of them the rest is: the log's
 * frames (their checksums are made right, or nothing would come further), the log as it is, a run (its checksums too), or the
 * file that names the store. It is opened or refused with a reason; what was opened is read and written, and opened again. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_rig.h"
#include "stores/slices/bytes.h"
#include "stores/slices/crc.h"
#include "stores/slices/disk.h"
#include "stores/slices/slices.h"

enum { KEY = 4, VALUE = 9, STORE_ID = 7 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], path[80];

static void put_file(const char *name, const uint8_t *data, size_t size)
{
    char file[160];
    int fd;

    snprintf(file, sizeof file, "%s/%s", path, name);
    fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    close(fd);
}

static void put_identity(void)
{
    uint8_t bytes[64] = "BSLSTO\r\n";

    put_u32(bytes + 8, 1);
    put_u64(bytes + 16, STORE_ID);
    put_u32(bytes + 60, crc32c(0, bytes, 60));
    put_file("store", bytes, sizeof bytes);
}

/* Frames of the pieces of `data`, each behind its length in two bytes. */
static void put_log(const uint8_t *data, size_t size)
{
    struct log_header header = {.store_id = STORE_ID, .number = 1, .sequence = 1};
    struct log *log = log_create(disk_path(path, "000000000001.log"), &header, NULL);
    uint64_t sequence = 1;

    assert(log != NULL);
    while (size >= 2) {
        size_t len = get_u16(data) < size - 2 ? get_u16(data) : size - 2;
        uint8_t *frame = malloc(LOG_FRAME_BYTES + len);

        assert(frame != NULL);
        memcpy(frame + LOG_FRAME_BYTES, data + 2, len);
        assert(log_append(log, frame, len, sequence, sequence - 1, NULL));
        log->size += LOG_FRAME_BYTES + len;
        sequence++;
        free(frame);
        data += 2 + len;
        size -= 2 + len;
    }
    assert(ftruncate(log->fd, (off_t)log->size) == 0); /* without what is allocated ahead */
    log_free(log);
}

static const uint8_t definition[] = {
    30, 0, ENTRY_DEFINE, 0, 0, 0, KEY, 0, 0, 0, VALUE, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0,  1, 't'};

static void put_run(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + !size);

    assert(bytes != NULL);
    memcpy(bytes, data, size);
    if (size >= RUN_HEADER_BYTES + 4) {
        uint64_t records = get_u64(bytes + 32) * (KEY + VALUE),
                 entries = (UINT64_C(1) << (get_u32(bytes + 20) & 31)) + 1;

        put_u32(bytes + RUN_HEADER_BYTES - 4, crc32c(0, bytes, RUN_HEADER_BYTES - 4));
        if (records < size && entries * 4 < size && RUN_HEADER_BYTES + records + entries * 4 + 4 <= size)
            put_u32(bytes + size - 4, crc32c(0, bytes + RUN_HEADER_BYTES + records, entries * 4));
    }
    put_log(definition, sizeof definition);
    put_file("t.000000000001-000000000002.run", bytes, size);
    free(bytes);
}

static bool look(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < key.len; i++)
        sum ^= key.data[i];
    for (size_t i = 0; i < value.len; i++)
        sum ^= value.data[i];
    *(volatile uint8_t *)ctx = sum;
    return true;
}

static void use(struct store *store)
{
    static const uint8_t keys[8][BAILEY_STORE_KEY_MAX] = {{0}, {255, 255, 255}, {'k'}, {128}};
    uint8_t values[8 * 64], seen;
    bool found[8];

    for (uint32_t i = 0; i < store->table_count; i++) {
        struct table *table = store->tables[i];
        struct bailey_store_change change = {
            table, {keys[i % 8], table->key_size}, {(const uint8_t *)keys, table->value_size}};
        struct bailey_error err = {0};

        if (!slices_store.get_many(table, (const uint8_t *)keys, values, found, 8, &err) ||
            !slices_store.scan(table, BAILEY_NULL_BYTES, look, &seen, &err))
            assert(err.kind != BAILEY_ERR_NONE);
        assert(slices_store.write(store, &change, 1, NULL));
        if (table->kind == BAILEY_TABLE_AGING)
            assert(slices_store.expire(table, i, NULL));
    }
}

static bool open_and_use(void)
{
    struct bailey_error err = {0};
    struct store *store;

    if (!store_open(&store, path, &store_limits_usual, &err)) {
        assert(err.kind != BAILEY_ERR_NONE && err.text[0] != '\0');
        return false;
    }
    use(store);
    slices_store.close(store);
    return true;
}

static void clear(void)
{
    disk_rig_remove(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (folder[0] == '\0') {
        /* In memory, if there is such a place: a sync would be most of the time. */
        snprintf(folder, sizeof folder, "%s/bailey-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        assert(mkdtemp(folder) != NULL);
        snprintf(path, sizeof path, "%s/store", folder);
        atexit(clear);
    }
    disk_rig_remove(path);
    assert(mkdir(path, 0700) == 0);
    put_identity();
    switch (data[0] & 3) {
    case 0:
        put_log(data + 1, size - 1);
        break;
    case 1:
        put_file("000000000001.log", data + 1, size - 1);
        break;
    case 2:
        put_run(data + 1, size - 1);
        break;
    default:
        put_log(definition, sizeof definition);
        put_file("store", data + 1, size - 1);
    }
    if (open_and_use())
        assert(open_and_use());
    return 0;
}
