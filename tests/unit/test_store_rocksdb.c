/* test_store_rocksdb.c: which folders the store rocksdb opens, what it says of the others, and how much of the disk it takes. */
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_rig.h"
#include "store_rig.h"

static const struct bailey_store *rocksdb;
static char base[40], path[64];

static int setup(void **state)
{
    (void)state;
    rocksdb = rig_module("rocksdb");
    memcpy(base, "/dev/shm/bailey-rocksdb-XXXXXX", 31);
    if (rocksdb == NULL || mkdtemp(base) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/store", base);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    disk_rig_remove(base);
    return 0;
}

static void must(bool done, const struct bailey_error *err)
{
    if (!done)
        fail_msg("%s (%s)", err->text, err->hint);
}

static const struct bailey_table_options ids = {
    .name = "ids", .kind = BAILEY_TABLE_AGING, .key_size = 16, .value_size = 8, .slice_ms = 1000};

static void *open_store(void)
{
    struct bailey_error err = {0};
    void *store;

    must(rocksdb->open(&store, path, &err), &err);
    return store;
}

static void *open_table(void *store)
{
    struct bailey_error err = {0};
    void *table;

    must(rocksdb->table_open(store, &table, &ids, &err), &err);
    return table;
}

/* `count` ids, the first with the number `first`, at `time_ms`. */
static void write_ids(void *store, void *table, unsigned first, unsigned count, int64_t time_ms)
{
    static struct {
        uint8_t key[16], value[8];
    } records[1000];
    static struct bailey_store_change changes[1000];
    struct bailey_error err = {0};

    assert_true(count <= 1000);
    for (unsigned i = 0; i < count; i++) {
        uint64_t words[2] = {(first + i + 1) * 0x9e3779b97f4a7c15u, (first + i + 1) * 0xbf58476d1ce4e5b9u};
        memcpy(records[i].key, words, 16);
        for (int at = 0; at < 8; at++)
            records[i].value[at] = (uint8_t)((uint64_t)time_ms >> (56 - 8 * at));
        changes[i] = (struct bailey_store_change){table, {records[i].key, 16}, {records[i].value, 8}};
    }
    must(rocksdb->write(store, changes, count, &err), &err);
}

static void make_store(void)
{
    struct bailey_error err = {0};
    void *store = open_store();

    write_ids(store, open_table(store), 0, 100, 1000);
    must(rocksdb->sync(store, &err), &err);
    rocksdb->close(store);
}

static void put_file(const char *name, const char *content, int flags)
{
    char file[128];

    snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static void is_refused(const char *text)
{
    struct bailey_error err = {0};
    void *store;

    assert_false(rocksdb->open(&store, path, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    if (strstr(err.text, text) == NULL || strstr(err.text, path) == NULL || err.hint[0] == '\0')
        fail_msg("instead of '%s': %s (%s)", text, err.text, err.hint);
}

static void a_new_folder_is_private(void **state)
{
    struct stat st;

    (void)state;
    make_store();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void another_process_has_it(void **state)
{
    int pipes[2];
    char byte;
    char expected[64];

    (void)state;
    make_store();
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        void *store = open_store();
        assert_int_equal(write(pipes[1], "", 1), 1);
        pause();
        rocksdb->close(store);
        _exit(0);
    }
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    snprintf(expected, sizeof expected, "is in use by process %d", (int)child);
    is_refused(expected);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    rocksdb->close(open_store());
    close(pipes[0]);
    close(pipes[1]);
}

static void it_cannot_be_opened_twice(void **state)
{
    struct bailey_error err = {0};
    void *again;

    (void)state;
    void *store = open_store();
    assert_false(rocksdb->open(&again, path, &err));
    assert_non_null(strstr(err.text, "lock"));
    rocksdb->close(store);
    rocksdb->close(open_store());
}

static void a_newer_version_is_refused(void **state)
{
    (void)state;
    make_store();
    put_file("BAILEY", "bailey rocksdb store, version 2\n", O_TRUNC);
    is_refused("is of version 2, this bailey knows version 1");
}

static void other_folders_are_refused_untouched(void **state)
{
    char file[128];
    struct stat st;

    (void)state;
    assert_int_equal(mkdir(path, 0755), 0);
    put_file("letter.txt", "Dear", 0);
    is_refused("is no store: it holds other files");
    snprintf(file, sizeof file, "%s/BAILEY", path);
    assert_int_not_equal(stat(file, &st), 0);
    snprintf(path, sizeof path, "%s/store/letter.txt", base);
    is_refused("cannot use");
    snprintf(path, sizeof path, "%s/nowhere/store", base);
    is_refused("cannot create");
}

static void damage_is_named(void **state)
{
    char pattern[128];
    glob_t found;

    (void)state;
    make_store();
    put_file("BAILEY", "bailey rocksdb store, version 1\nand more", O_TRUNC);
    is_refused("is damaged: it does not say what it is");
    put_file("BAILEY", "bailey rocksdb store, version 1\n", O_TRUNC);
    rocksdb->close(open_store());
    snprintf(pattern, sizeof pattern, "%s/MANIFEST-*", path);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    int fd = open(found.gl_pathv[0], O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "damage!", 7, 30), 7);
    close(fd);
    globfree(&found);
    is_refused("Corruption");
    snprintf(pattern, sizeof pattern, "%s/CURRENT", path);
    assert_int_equal(unlink(pattern), 0);
    is_refused("is damaged: the file CURRENT is missing");
}

static void a_table_keeps_its_sizes(void **state)
{
    struct bailey_table_options other = ids;
    struct bailey_error err = {0};
    void *table, *same;

    (void)state;
    make_store();
    void *store = open_store();
    table = open_table(store);
    assert_true(rocksdb->table_open(store, &same, &ids, &err));
    assert_ptr_equal(table, same);
    other.slice_ms = 5;
    assert_true(rocksdb->table_open(store, &same, &other, &err));
    other.value_size = 9;
    assert_false(rocksdb->table_open(store, &same, &other, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    assert_non_null(strstr(err.text, "keys of 16 and values of 8 bytes"));
    other.name = "..";
    assert_false(rocksdb->table_open(store, &same, &other, &err));
    rocksdb->close(store);
}

static void a_snapshot_does_not_replace(void **state)
{
    struct bailey_error err = {0};
    char copy[64];

    (void)state;
    make_store();
    void *store = open_store();
    snprintf(copy, sizeof copy, "%s/copy", base);
    must(rocksdb->snapshot(store, copy, &err), &err);
    assert_false(rocksdb->snapshot(store, copy, &err));
    rocksdb->close(store);
    snprintf(path, sizeof path, "%s/copy", base);
    rocksdb->close(open_store());
}

/* Eight windows of 300,000 ids: what lies on the disk stays within half a window more than one, but for the log and what is
 * written to it before it becomes files. */
static void the_disk_does_not_grow_with_time(void **state)
{
    enum { WINDOWS = 8, WINDOW = 300, WINDOW_MS = 8000, RECORD = 40, WRITE_BUFFERS = 3 * (16 << 20) };
    struct bailey_store_stats stats;
    struct bailey_error err = {0};

    (void)state;
    void *store = open_store(), *table = open_table(store);
    for (unsigned batch = 0; batch < WINDOWS * WINDOW; batch++) {
        int64_t now_ms = (int64_t)batch * WINDOW_MS / WINDOW;
        write_ids(store, table, batch * 1000, 1000, now_ms);
        if (batch % 10 == 0)
            must(rocksdb->expire(table, now_ms - WINDOW_MS, &err), &err);
    }
    rocksdb->stats(store, &stats);
    assert_in_range(stats.disk_bytes, 1, 3 * INT64_C(500) * WINDOW * RECORD + WRITE_BUFFERS);
    assert_in_range(stats.memory_bytes, 1, 128 << 20);
    rocksdb->close(store);
}

/* ---- Rows in their order, alone and beside ids ---- */

enum { ROWS = 1500, ROW = 16 << 10, SMALL_BUFFERS = 3 * (4 << 20) };

/* Scattered, so that they do not lie in files one after the other. Returns the most memory that the store took. */
static int64_t write_rows(void *store, void *table)
{
    static const uint8_t value[ROW];
    struct bailey_store_stats stats;
    struct bailey_error err = {0};
    int64_t most = 0;

    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t key = i * 0x9e3779b9u;
        struct bailey_store_change change = {table, {(uint8_t *)&key, sizeof key}, {value, sizeof value}};
        must(rocksdb->write(store, &change, 1, &err), &err);
        rocksdb->stats(store, &stats);
        most = stats.memory_bytes > most ? stats.memory_bytes : most;
    }
    return most;
}

static bool count_row(void *ctx, struct bailey_bytes key, struct bailey_bytes value)
{
    (void)key;
    *(unsigned *)ctx += value.len == ROW;
    return true;
}

static void ordered_rows_take_little_memory_and_stay_when_ids_join_them(void **state)
{
    static const struct bailey_table_options rows = {.name = "rows", .kind = BAILEY_TABLE_ORDERED};
    struct bailey_error err = {0};
    void *table, *store = open_store();

    (void)state;
    must(rocksdb->table_open(store, &table, &rows, &err), &err);
    assert_in_range(write_rows(store, table), 1, SMALL_BUFFERS + (1 << 20));
    write_ids(store, open_table(store), 0, 100, 1000);
    for (int life = 0; life < 2; life++) {
        uint8_t key[16], value[8];
        bool found = false;
        unsigned count = 0;
        uint64_t words[2] = {0x9e3779b97f4a7c15u, 0xbf58476d1ce4e5b9u};
        must(rocksdb->scan(table, BAILEY_NULL_BYTES, count_row, &count, &err), &err);
        assert_int_equal(count, ROWS);
        memcpy(key, words, sizeof key);
        must(rocksdb->get_many(open_table(store), key, value, &found, 1, &err), &err);
        assert_true(found);
        rocksdb->close(store);
        store = open_store();
        must(rocksdb->table_open(store, &table, &rows, &err), &err);
    }
    rocksdb->close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_folder_is_private, setup, teardown),
        cmocka_unit_test_setup_teardown(another_process_has_it, setup, teardown),
        cmocka_unit_test_setup_teardown(it_cannot_be_opened_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(other_folders_are_refused_untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_table_keeps_its_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_does_not_replace, setup, teardown),
        cmocka_unit_test_setup_teardown(the_disk_does_not_grow_with_time, setup, teardown),
        cmocka_unit_test_setup_teardown(ordered_rows_take_little_memory_and_stay_when_ids_join_them, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
