/* stores/slices: what it opens, what it refuses and leaves alone, and what it says then. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "slices_rig.h"
#include "stores/slices/crc.h"

static struct slices_rig rig;

static int setup(void **state)
{
    (void)state;
    slices_rig_init(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    slices_rig_fini(&rig);
    return 0;
}

/* Some runs, and a log with several frames that were synced one after the other. */
static void fill(void)
{
    slices_rig_open(&rig);
    for (uint64_t i = 0; i < 40; i++)
        slices_rig_put(&rig, rig.seen, i * 50, 50, (int64_t)i * 200, 'a');
    assert_true(keeper_settle(rig.store));
    for (uint64_t i = 0; i < 5; i++) {
        slices_rig_put(&rig, rig.seen, 2000 + i, 1, 8000, 'b');
        slices_rig_sync(&rig);
    }
    assert_true(keeper_settle(rig.store));
    slices_rig_close(&rig);
}

/* ---- Files as they are ---- */

static char *newest_log(void)
{
    char *first = slices_rig_file(&rig, ".log"), *path = NULL;
    uint64_t number = strtoull(strrchr(first, '/') + 1, NULL, 10) + slices_rig_files(&rig, ".log") - 1;

    free(first);
    assert_true(asprintf(&path, "%s/%012llu.log", rig.path, (unsigned long long)number) > 0);
    return path;
}

static uint32_t sum_of(const char *path)
{
    int fd = open(path, O_RDONLY);
    uint8_t bytes[4096];
    uint32_t sum = 0;
    ssize_t n;

    assert_true(fd >= 0);
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        sum = crc32c(sum, bytes, (size_t)n);
    close(fd);
    return sum;
}

/* Of names and contents of all files but the lock. */
static uint32_t sum_of_folder(void)
{
    DIR *folder = opendir(rig.path);
    uint32_t sum = 0;

    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[512];

        snprintf(path, sizeof path, "%s/%s", rig.path, entry->d_name);
        if (entry->d_type == DT_REG && strcmp(entry->d_name, "lock") != 0)
            sum += crc32c(sum_of(path), entry->d_name, strlen(entry->d_name)); /* in whichever order */
    }
    closedir(folder);
    return sum;
}

static void change_byte(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Right but for what is wrong with it: put a number into a header, and its checksum. */
static void set_u32(const char *path, size_t header_bytes, off_t at, uint32_t value)
{
    int fd = open(path, O_RDWR);
    uint8_t header[256];

    assert_true(fd >= 0 && pread(fd, header, header_bytes, 0) == (ssize_t)header_bytes);
    put_u32(header + at, value);
    put_u32(header + header_bytes - 4, crc32c(0, header, header_bytes - 4));
    assert_int_equal(pwrite(fd, header, header_bytes, 0), header_bytes);
    close(fd);
}

static void refused(const char *says, const char *hints)
{
    struct bailey_error err = {0};
    uint32_t before = sum_of_folder();

    assert_false(slices_rig_try_open(&rig, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    if (strstr(err.text, says) == NULL || strstr(err.hint, hints) == NULL)
        fail_msg("%s (%s)", err.text, err.hint);
    assert_int_equal(sum_of_folder(), before);
}

/* ---- Tests ---- */

static void a_second_process_is_refused_and_told_which_is_first(void **state)
{
    char says[80];
    int status;
    pid_t child;

    (void)state;
    slices_rig_open(&rig);
    snprintf(says, sizeof says, "process %d has", (int)getpid());
    child = fork();
    if (child == 0) {
        struct slices_rig other = rig;
        struct bailey_error err = {0};
        bool opened = slices_rig_try_open(&other, &err);

        _exit(!opened && err.kind == BAILEY_ERR_CONFIG && strstr(err.text, says) != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    slices_rig_close(&rig);
    slices_rig_open(&rig);
}

static void a_folder_of_others_is_left_alone(void **state)
{
    char path[128];
    int fd;

    (void)state;
    assert_int_equal(mkdir(rig.path, 0700), 0);
    snprintf(path, sizeof path, "%s/CURRENT", rig.path);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    refused("not a store", "empty");
    assert_int_equal(slices_rig_files(&rig, "lock"), 0);
}

static void what_an_opening_that_was_cut_off_left_is_an_empty_store(void **state)
{
    char path[128];

    (void)state;
    assert_int_equal(mkdir(rig.path, 0700), 0);
    snprintf(path, sizeof path, "%s/store.new", rig.path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    slices_rig_open(&rig);
    slices_rig_put(&rig, rig.seen, 0, 1, 1, 'a');
    slices_rig_close(&rig);
    assert_int_equal(slices_rig_files(&rig, ".new"), 0);
    slices_rig_open(&rig);
    assert_int_equal(slices_rig_count(rig.seen, 0, 1, 'a'), 1);
}

static void a_folder_that_cannot_be_made_is_the_operators_matter(void **state)
{
    struct bailey_error err = {0};

    (void)state;
    snprintf(rig.path, sizeof rig.path, "%s/missing/store", rig.folder);
    assert_false(slices_rig_try_open(&rig, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    assert_non_null(strstr(err.text, rig.path));
}

static void a_folder_without_permission_is_named(void **state)
{
    struct bailey_error err = {0};

    (void)state;
    fill();
    disk_rig_watch(rig.folder);
    disk_rig_fail((struct disk_fault){.calls = DISK_OPEN, .nth = 1, .error = EACCES, .lasts = true});
    assert_false(slices_rig_try_open(&rig, &err));
    disk_rig_unwatch();
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    assert_non_null(strstr(err.text, rig.path));
    assert_non_null(strstr(err.hint, "write"));
}

static void a_newer_version_is_refused(void **state)
{
    char *run, *log, identity[128];

    (void)state;
    fill();
    log = newest_log();
    run = slices_rig_file(&rig, ".run");
    snprintf(identity, sizeof identity, "%s/store", rig.path);
    set_u32(identity, 64, 8, 2);
    refused("newer", "newer version");
    set_u32(identity, 64, 8, 1);
    set_u32(log, LOG_HEADER_BYTES, 8, 2);
    refused("newer", "newer version");
    set_u32(log, LOG_HEADER_BYTES, 8, 1);
    set_u32(run, RUN_HEADER_BYTES, 8, 2);
    refused("newer", "newer version");
    set_u32(run, RUN_HEADER_BYTES, 8, 1);
    slices_rig_open(&rig);
    free(log);
    free(run);
}

/* The file's size without what was allocated ahead. */
static off_t last_byte(const char *path)
{
    int fd = open(path, O_RDONLY);
    uint8_t byte = 0;
    off_t at = lseek(fd, 0, SEEK_END);

    while (at > 0 && byte == 0)
        assert_int_equal(pread(fd, &byte, 1, --at), 1);
    close(fd);
    return at;
}

static void a_torn_tail_is_cut(void **state)
{
    char *log;

    (void)state;
    fill();
    log = newest_log();
    assert_int_equal(truncate(log, last_byte(log) - 3), 0);
    slices_rig_open(&rig);
    assert_int_equal(slices_rig_count(rig.seen, 0, 2000, 'a'), 2000);
    assert_int_equal(slices_rig_count(rig.seen, 2000, 5, 'b'), 4);
    slices_rig_put(&rig, rig.seen, 2004, 1, 8000, 'c');
    slices_rig_close(&rig);
    slices_rig_open(&rig);
    assert_int_equal(slices_rig_count(rig.seen, 2000, 5, 'b'), 4);
    assert_int_equal(slices_rig_count(rig.seen, 2000, 5, 'c'), 1);
    free(log);
}

static void damage_in_the_middle_of_a_log_is_refused(void **state)
{
    char *log;
    off_t last;

    (void)state;
    fill();
    log = newest_log();
    last = last_byte(log);
    for (off_t back = 90; back < 200; back += 7) {
        change_byte(log, last - back);
        refused(log, "copy");
        change_byte(log, last - back);
    }
    change_byte(log, 20); /* the header */
    refused(log, "copy");
    change_byte(log, 20);
    slices_rig_open(&rig);
    free(log);
}

/* Nothing was synced but by the opening. */
static void what_an_opening_found_counts_as_synced(void **state)
{
    char *log;

    (void)state;
    for (uint64_t i = 0; i < 2; i++) {
        slices_rig_open(&rig);
        slices_rig_put(&rig, rig.seen, i, 1, 5, 'a');
        slices_rig_close(&rig);
    }
    log = newest_log();
    change_byte(log, LOG_HEADER_BYTES + 40); /* the first frame */
    refused(log, "copy");
    free(log);
}

static void a_missing_log_is_refused(void **state)
{
    char *log;

    (void)state;
    fill();
    log = newest_log();
    assert_int_equal(slices_rig_files(&rig, ".log"), 1);
    assert_int_equal(unlink(log), 0);
    refused("no log defines", "copy");
    free(log);
}

static void damage_in_a_run_is_found(void **state)
{
    struct stat status;
    char *run;

    (void)state;
    fill();
    run = slices_rig_file(&rig, ".run");
    assert_int_equal(stat(run, &status), 0);
    change_byte(run, 50);
    refused(run, "copy");
    change_byte(run, 50);
    change_byte(run, status.st_size - 12); /* the index, or its checksum */
    refused(run, "copy");
    change_byte(run, status.st_size - 12);
    assert_int_equal(truncate(run, status.st_size - 1), 0);
    refused(run, "copy");
    free(run);
}

static void damage_in_a_record_is_found_by_a_scan(void **state)
{
    struct bailey_error err = {0};
    size_t count = 0;
    char *run;

    (void)state;
    fill();
    run = slices_rig_file(&rig, ".run");
    change_byte(run, RUN_HEADER_BYTES + 30);
    slices_rig_open(&rig);
    assert_false(slices()->scan(rig.seen, BAILEY_NULL_BYTES, slices_rig_count_visit, &count, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    assert_non_null(strstr(err.text, run));
    free(run);
}

static void a_table_cannot_change_but_in_its_slices(void **state)
{
    struct bailey_table_options options = {.name = "orders.seen",
                                           .kind = BAILEY_TABLE_AGING,
                                           .key_size = RIG_KEY_BYTES,
                                           .value_size = RIG_VALUE_BYTES,
                                           .slice_ms = 77,
                                           .slice_records = 3};
    struct bailey_error err = {0};
    void *table;

    (void)state;
    slices_rig_open(&rig);
    assert_true(slices()->table_open(rig.store, &table, &options, &err));
    assert_ptr_equal(table, rig.seen);
    options.key_size = 20;
    assert_false(slices()->table_open(rig.store, &table, &options, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    options.name = "ordered";
    options.kind = BAILEY_TABLE_ORDERED;
    assert_false(slices()->table_open(rig.store, &table, &options, &err));
    assert_non_null(strstr(err.hint, "rocksdb"));
    options.kind = BAILEY_TABLE_AGING;
    options.name = "../up";
    assert_false(slices()->table_open(rig.store, &table, &options, &err));
    options.name = "fine";
    options.value_size = 7;
    assert_false(slices()->table_open(rig.store, &table, &options, &err));
}

static void a_snapshot_is_a_store_of_that_moment(void **state)
{
    struct bailey_error err = {0};
    struct slices_rig copy;

    (void)state;
    fill();
    slices_rig_open(&rig);
    copy = rig;
    copy.store = NULL;
    snprintf(copy.path, sizeof copy.path, "%s/copy", rig.folder);
    if (!slices()->snapshot(rig.store, copy.path, &err))
        fail_msg("%s", err.text);
    assert_false(slices()->snapshot(rig.store, copy.path, &err));
    assert_int_equal(err.native, EEXIST);
    slices_rig_put(&rig, rig.seen, 5000, 1000, 9000, 'n');
    assert_true(slices()->expire(rig.seen, 8500, &err));
    assert_true(keeper_settle(rig.store));
    slices_rig_open(&copy);
    assert_int_equal(slices_rig_count(copy.seen, 0, 7000, -1), 2005);
    slices_rig_put(&copy, copy.seen, 6000, 1000, 9000, 'n');
    assert_true(keeper_settle(copy.store));
    slices_rig_close(&copy);
    assert_int_equal(slices_rig_count(rig.seen, 5000, 2000, 'n'), 1000);
}

static void a_snapshot_that_fails_leaves_nothing(void **state)
{
    struct bailey_error err = {0};
    char path[128];

    (void)state;
    fill();
    slices_rig_open(&rig);
    disk_rig_watch(rig.folder);
    snprintf(path, sizeof path, "%s/copy", rig.folder);
    for (size_t nth = 1;; nth++) {
        bool ok;

        disk_rig_fail((struct disk_fault){.calls = DISK_LINK | DISK_GROWS | DISK_SYNC | DISK_OPEN | DISK_READ,
                                          .nth = nth,
                                          .error = EIO,
                                          .lasts = true});
        ok = slices()->snapshot(rig.store, path, &err);
        disk_rig_heal();
        if (ok)
            break;
        assert_int_equal(access(path, F_OK), -1);
    }
    disk_rig_unwatch();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_second_process_is_refused_and_told_which_is_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_of_others_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(what_an_opening_that_was_cut_off_left_is_an_empty_store, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_that_cannot_be_made_is_the_operators_matter, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_without_permission_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_tail_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_in_the_middle_of_a_log_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_an_opening_found_counts_as_synced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_log_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_in_a_run_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_in_a_record_is_found_by_a_scan, setup, teardown),
        cmocka_unit_test_setup_teardown(a_table_cannot_change_but_in_its_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_is_a_store_of_that_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_that_fails_leaves_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
