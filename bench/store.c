/* bench/store.c: what a state store costs that keeps ids of deduplication, through include/bailey/store.h alone.
 *
 *     store FOLDER IDS[,IDS...] MODULE.so...
 *
 * Each row is a process of its own, with a new store in FOLDER/bench-store. A message is one intent put into a live table, later one
 * record put into an aging table and the intent erased, as the gateway does it, in batches of 256. CPU is that of the whole process,
 * with all threads of the store, until they have come to rest.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <endian.h>
#include <errno.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bailey/store.h>

#include "bench.h"

enum {
    BATCH = 256,
    KEY = 16,
    VALUE = 9,
    MESSAGE = 3 * KEY + 2 * VALUE, /* bytes that a message hands to the store */
    SLICES = 4,                    /* in the time that the run spans */
    SLICE_MS = 3600 * 1000,
    SYNCED_BATCHES = 400, /* with a sync each, at the end of a run */
    SYNC_EVERY = 64,      /* batches, before */
    LOOKUPS = 200 * 1024,
};

static const struct bailey_store *module;
static void *store, *seen, *intents;
static uint64_t total;

static void check(bool ok, const struct bailey_error *err)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", module->name, err->text);
    exit(1);
}

/* ---- Counters ---- */

/* The number behind `name` in a file of /proc/self. */
static double number_in(const char *path, const char *name)
{
    FILE *file = fopen(path, "r");
    char line[256];
    double number = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            number = strtod(line + strlen(name), NULL);
    if (file != NULL)
        fclose(file);
    return number;
}

/* Until the store's own threads have had nothing to do for half a second. */
static void wait_for_rest(void)
{
    double deadline = wall_s() + 300, before;

    do {
        before = cpu_s();
        usleep(500 * 1000);
    } while (cpu_s() - before > 0.001 && wall_s() < deadline);
}

/* ---- Messages ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static void id_of(uint64_t number, uint8_t id[KEY])
{
    uint64_t halves[2] = {mix(number * 2 + 1), mix(number * 2 + 2)};

    memcpy(id, halves, KEY);
}

static void write_batch(uint64_t first, bool sync)
{
    static uint8_t ids[BATCH][KEY];
    static struct bailey_store_change changes[2 * BATCH];
    struct bailey_error err = {0};
    uint64_t time =
        htobe64(1700000000000 + first * SLICES / total * SLICE_MS + first * SLICES % total * SLICE_MS / total);
    uint8_t value[VALUE] = {0};

    memcpy(value, &time, sizeof time);
    for (uint64_t i = 0; i < BATCH; i++) {
        id_of(first + i, ids[i]);
        changes[i] = (struct bailey_store_change){intents, {ids[i], KEY}, {value, VALUE}};
    }
    check(module->write(store, changes, BATCH, &err), &err);
    value[8] = 1;
    for (size_t i = 0; i < BATCH; i++) {
        changes[2 * i] = (struct bailey_store_change){seen, {ids[i], KEY}, {value, VALUE}};
        changes[2 * i + 1] = (struct bailey_store_change){intents, {ids[i], KEY}, BAILEY_NULL_BYTES};
    }
    check(module->write(store, changes, 2 * BATCH, &err), &err);
    if (sync)
        check(module->sync(store, &err), &err);
}

struct cost {
    double cpu_us, wall_us; /* an id */
};

static struct cost since(double cpu, double wall, double ids)
{
    return (struct cost){(cpu_s() - cpu) / ids * 1e6, (wall_s() - wall) / ids * 1e6};
}

static struct cost fill(uint64_t first, uint64_t end, unsigned sync_every, double *slowest_ms)
{
    double cpu = cpu_s(), wall = wall_s();
    struct cost cost;

    *slowest_ms = 0;
    for (uint64_t i = first; i < end; i += BATCH) {
        double begin = wall_s(), took;

        write_batch(i, false);
        took = (wall_s() - begin) * 1e3;
        *slowest_ms = took > *slowest_ms ? took : *slowest_ms;
        if (i / BATCH % sync_every == sync_every - 1) {
            struct bailey_error err = {0};

            check(module->sync(store, &err), &err);
        }
    }
    cost = since(cpu, wall, (double)(end - first));
    wait_for_rest();
    cost.cpu_us = since(cpu, wall, (double)(end - first)).cpu_us;
    return cost;
}

/* Ids drawn from `first` on; all must be found, or none. */
static struct cost look_up(uint64_t first, uint64_t count, bool expected)
{
    static uint8_t ids[BATCH * KEY], values[BATCH * VALUE];
    static bool found[BATCH];
    struct bailey_error err = {0};
    double cpu = cpu_s(), wall = wall_s();

    for (uint64_t i = 0; i < LOOKUPS; i += BATCH) {
        for (uint64_t k = 0; k < BATCH; k++)
            id_of(first + mix(i + k) % count, ids + k * KEY);
        check(module->get_many(seen, ids, values, found, BATCH, &err), &err);
        for (size_t k = 0; k < BATCH; k++)
            if (found[k] != expected) {
                fprintf(stderr, "%s: an id is %s\n", module->name, expected ? "lost" : "found that was never put");
                exit(1);
            }
    }
    return since(cpu, wall, LOOKUPS);
}

static bool count_visit(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    *(uint64_t *)ctx += key.len == KEY && value.len == VALUE;
    return true;
}

static double scan_s(void)
{
    struct bailey_error err = {0};
    double begin = wall_s();
    uint64_t count = 0;

    check(module->scan(seen, BAILEY_NULL_BYTES, count_visit, &count, &err), &err);
    if (count < total) {
        fprintf(stderr, "%s: the scan met %llu ids\n", module->name, (unsigned long long)count);
        exit(1);
    }
    return wall_s() - begin;
}

/* ---- One row ---- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void open_store(const char *path)
{
    struct bailey_table_options options[] = {
        {.name = "seen", .kind = BAILEY_TABLE_AGING, .key_size = KEY, .value_size = VALUE, .slice_ms = SLICE_MS},
        {.name = "intents", .kind = BAILEY_TABLE_LIVE, .key_size = KEY, .value_size = VALUE},
    };
    struct bailey_error err = {0};

    check(module->open(&store, path, &err), &err);
    check(module->table_open(store, &seen, &options[0], &err), &err);
    check(module->table_open(store, &intents, &options[1], &err), &err);
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct bailey_store *(*entry)(void) = NULL;
    void *symbol = library == NULL ? NULL : dlsym(library, "bailey_store_entry");

    if (symbol == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    memcpy(&entry, &symbol, sizeof entry);
    module = entry();
}

static void row(const char *library, const char *folder, uint64_t ids)
{
    uint64_t synced = ids / BATCH / 2 < SYNCED_BATCHES ? ids / BATCH / 2 * BATCH : SYNCED_BATCHES * BATCH;
    double slowest, ignored, written, opened;
    struct cost put, put_synced, known, fresh;
    struct bailey_store_stats stats;
    char path[4096];

    snprintf(path, sizeof path, "%s/bench-store", folder);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    load(library);
    total = ids / BATCH * BATCH;
    open_store(path);
    written = number_in("/proc/self/io", "wchar:");
    put = fill(0, total - synced, SYNC_EVERY, &ignored);
    put_synced = fill(total - synced, total, 1, &slowest);
    written = number_in("/proc/self/io", "wchar:") - written;
    known = look_up(0, total, true);
    fresh = look_up(UINT64_C(1) << 40, UINT64_C(1) << 40, false);
    printf("%-8s %9llu %7.2f %9.0f %7.2f %9.0f %8.0f %7.2f %7.2f %7.2f", module->name, (unsigned long long)total,
           put.cpu_us, 1e6 / put.wall_us, put_synced.cpu_us, 1e6 / put_synced.wall_us, slowest, fresh.cpu_us,
           known.cpu_us, scan_s());
    module->stats(store, &stats);
    printf(" %6.1f %6.1f %6.2f %6.2f", number_in("/proc/self/status", "VmRSS:") / 1024,
           number_in("/proc/self/status", "VmHWM:") / 1024, written / (double)MESSAGE / (double)total,
           (double)stats.disk_bytes / (double)(KEY + VALUE) / (double)total);
    module->close(store);
    opened = wall_s();
    open_store(path);
    printf(" %6.2f\n", wall_s() - opened);
    fflush(stdout);
    module->close(store);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void heading(void)
{
    printf("batches of %d; µs are CPU of the whole process for an id\n", BATCH);
    printf("%-8s %9s %7s %9s %7s %9s %8s %7s %7s %7s %6s %6s %6s %6s %6s\n", "store", "ids", "write", "ids/s", "synced",
           "ids/s", "slowest", "new", "known", "scan", "RSS", "peak", "write", "disk", "open");
    printf("%-8s %9s %7s %9s %7s %9s %8s %7s %7s %7s %6s %6s %6s %6s %6s\n", "", "", "µs ", "", "µs ", "", "ms", "µs ",
           "µs ", "s", "MB", "MB", "ampl.", "ampl.", "s");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int failed = 0;

    if (argc < 4) {
        fprintf(stderr, "usage: store FOLDER IDS[,IDS...] MODULE.so...\n");
        return 2;
    }
    heading();
    for (char *ids = strtok_r(argv[2], ",", &argv[2]); ids != NULL; ids = strtok_r(NULL, ",", &argv[2])) {
        for (int i = 3; i < argc; i++) {
            int status = 0;
            pid_t child = fork();

            if (child == 0) {
                row(argv[i], argv[1], strtoull(ids, NULL, 10));
                exit(0);
            }
            failed |= child < 0 || waitpid(child, &status, 0) != child || status != 0;
        }
    }
    return failed;
}
