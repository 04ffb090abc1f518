/* test_disk_rig.c: the rig under the tests of the stores: it must lose what a disk may lose, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_rig.h"

enum { SEEDS = 100 };

static char base[] = "/dev/shm/bailey-disk-XXXXXX";
static char disk[64], image[64];

static int setup(void **state)
{
    (void)state;
    memcpy(strstr(base, "disk-") + 5, "XXXXXX", 6);
    if (mkdtemp(base) == NULL)
        return -1;
    snprintf(disk, sizeof disk, "%s/disk", base);
    snprintf(image, sizeof image, "%s/image", base);
    if (mkdir(disk, 0700) != 0)
        return -1;
    disk_rig_watch(disk);
    return chdir(disk);
}

static int teardown(void **state)
{
    (void)state;
    disk_rig_unwatch();
    disk_rig_remove(base);
    return chdir("/");
}

static int make(const char *name, const char *text)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void sync_names(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

/* What `name` holds in the image; NULL if it is not there. */
static const char *in_image(const char *name)
{
    static char text[256];
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", image, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_true(n >= 0);
    close(fd);
    text[n] = '\0';
    return memchr(text, 0, (size_t)n) != NULL ? "zeros" : text;
}

/* Cut the power with many seeds: how often does `name` hold `text` (NULL: is missing)? */
static unsigned times(const char *name, const char *text)
{
    unsigned count = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        disk_rig_power_cut(image, seed);
        const char *found = in_image(name);
        count += found == NULL || text == NULL ? found == text : strcmp(found, text) == 0;
        disk_rig_remove(image);
    }
    return count;
}

static void what_was_synced_is_there(void **state)
{
    (void)state;
    int fd = make("a", "first");
    assert_int_equal(fdatasync(fd), 0);
    assert_in_range(times("a", NULL), 1, SEEDS - 1); /* its name is not synced */
    assert_int_equal(times("a", "first") + times("a", NULL), SEEDS);
    sync_names(".");
    assert_int_equal(times("a", "first"), SEEDS);
    close(fd);
    assert_int_equal(times("a", "first"), SEEDS);
}

static void what_was_not_synced_may_be_lost_in_part(void **state)
{
    (void)state;
    int fd = make("a", "first ");
    sync_names(disk);
    assert_int_equal(fsync(fd), 0);
    char sec[] = "sec", ond[] = "ond";
    struct iovec parts[] = {{sec, 3}, {ond, 3}};
    assert_int_equal(writev(fd, parts, 2), 6);
    assert_int_equal(pwrite(fd, "F", 1, 0), 1);
    assert_in_range(times("a", "first "), 1, SEEDS - 1);
    assert_in_range(times("a", "First second"), 1, SEEDS - 1);
    assert_in_range(times("a", "first sec"), 1, SEEDS - 1);
    assert_in_range(times("a", "First "), 1, SEEDS - 1); /* out of order */
    disk_rig_kill(image);
    assert_string_equal(in_image("a"), "First second");
    disk_rig_remove(image);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(times("a", "First second"), SEEDS);
    assert_int_equal(ftruncate(fd, 5), 0);
    assert_in_range(times("a", "First"), 1, SEEDS - 1);
    assert_int_equal(times("a", "First") + times("a", "First second"), SEEDS);
    close(fd);
}

static void pages_come_out_of_order(void **state)
{
    char page[4096];

    (void)state;
    int fd = make("a", "");
    sync_names(".");
    memset(page, 'x', sizeof page);
    for (int i = 0; i < 3; i++)
        assert_int_equal(write(fd, page, sizeof page), sizeof page);
    assert_in_range(times("a", "zeros"), 1, SEEDS - 1); /* the first is missing, a later one is there */
    close(fd);
}

static void a_failed_sync_loses_the_bytes_for_good(void **state)
{
    (void)state;
    int fd = make("a", "first");
    sync_names(".");
    disk_rig_fail((struct disk_fault){.calls = DISK_SYNC, .nth = 1, .error = EIO});
    assert_int_equal(fsync(fd), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(disk_rig_heal(), 2);
    assert_int_equal(times("a", ""), SEEDS);
    assert_int_equal(pwrite(fd, "again", 5, 0), 5);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(times("a", "again"), SEEDS);
    close(fd);
}

static void names_are_lost_with_their_folder(void **state)
{
    (void)state;
    int fd = make("old", "new"), other = make("current", "old");
    assert_int_equal(fsync(fd) + fsync(other), 0);
    sync_names(".");
    assert_int_equal(rename("old", "./current"), 0);
    assert_in_range(times("current", "new"), 1, SEEDS - 1);
    assert_int_equal(times("current", "new") + times("current", "old"), SEEDS);
    sync_names(".");
    assert_int_equal(times("current", "new"), SEEDS);
    assert_int_equal(times("old", NULL), SEEDS);

    assert_int_equal(mkdir("below", 0700), 0);
    assert_int_equal(link("current", "below/link"), 0);
    sync_names("below");
    assert_in_range(times("below/link", "new"), 1, SEEDS - 1); /* the folder itself may be lost */
    sync_names(".");
    assert_int_equal(times("below/link", "new"), SEEDS);
    assert_int_equal(rename("below", "above"), 0);
    assert_in_range(times("above/link", "new"), 1, SEEDS - 1);
    assert_int_equal(times("below/link", "new") + times("above/link", "new"), SEEDS);
    assert_int_equal(unlink("current"), 0);
    assert_in_range(times("current", "new"), 1, SEEDS - 1);
    sync_names(disk);
    assert_int_equal(times("current", NULL), SEEDS);
    assert_int_equal(times("above/link", "new"), SEEDS);
    close(fd);
    close(other);
}

static void what_was_there_counts_as_synced(void **state)
{
    (void)state;
    close(make("a", "first"));
    assert_int_equal(mkdir("b", 0700), 0);
    close(make("b/c", "second"));
    disk_rig_watch(disk);
    assert_int_equal(times("b/c", "second"), SEEDS);
    assert_int_equal(times("a", "first"), SEEDS);
    int fd = open("a", O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, " more", 5), 5);
    assert_in_range(times("a", "first"), 1, SEEDS - 1);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    assert_int_equal(times("a", "first more"), SEEDS);
}

static void calls_fail_as_told(void **state)
{
    (void)state;
    int fd = make("a", "");
    disk_rig_fail(
        (struct disk_fault){.calls = DISK_WRITE, .nth = 2, .error = ENOSPC, .writes_a_part = true, .lasts = true});
    assert_int_equal(write(fd, "12345678", 8), 8);
    assert_int_equal(write(fd, "abcdefgh", 8), 4);
    assert_int_equal(write(fd, "efgh", 4), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(write(STDOUT_FILENO, "", 0), 0); /* none of its business */
    assert_int_equal(write(fd, "efgh", 4), -1);
    assert_int_equal(disk_rig_heal(), 4);
    assert_int_equal(write(fd, "efgh", 4), 4);
    assert_int_equal(fsync(fd), 0);
    sync_names(".");
    assert_int_equal(times("a", "12345678abcdefgh"), SEEDS);

    close(fd);
}

static int open_new(int fd)
{
    (void)fd;
    int made = open("new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return made < 0 ? -1 : close(made);
}

static int rename_a(int fd)
{
    (void)fd;
    return rename("a", "b");
}

static int unlink_a(int fd)
{
    (void)fd;
    return unlink("a");
}

static int link_a(int fd)
{
    (void)fd;
    return link("a", "c");
}

static int mkdir_d(int fd)
{
    (void)fd;
    return mkdir("d", 0700);
}

static int cut(int fd)
{
    return ftruncate(fd, 3);
}

static int read_a(int fd)
{
    char byte;

    return (int)pread(fd, &byte, 1, 0) - 1;
}

static int allocate(int fd)
{
    return fallocate(fd, 0, 0, 100);
}

static void each_call_fails_once_and_changes_nothing(void **state)
{
    static const struct {
        enum disk_call call;
        int (*make)(int fd);
    } calls[] = {{DISK_OPEN, open_new}, {DISK_READ, read_a},       {DISK_TRUNCATE, cut},    {DISK_LINK, link_a},
                 {DISK_MKDIR, mkdir_d}, {DISK_ALLOCATE, allocate}, {DISK_UNLINK, unlink_a}, {DISK_RENAME, rename_a}};

    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        int fd = make("a", "12345678");
        disk_rig_fail((struct disk_fault){.calls = calls[i].call, .nth = 1, .error = EIO});
        assert_true(calls[i].make(fd) < 0);
        assert_int_equal(errno, EIO);
        disk_rig_kill(image);
        assert_string_equal(in_image("a"), "12345678");
        assert_null(in_image(i == 0 ? "new" : "b"));
        disk_rig_remove(image);
        assert_int_equal(calls[i].make(fd), 0);
        assert_int_equal(disk_rig_heal(), 2);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_synced_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_synced_may_be_lost_in_part, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_come_out_of_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_sync_loses_the_bytes_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_lost_with_their_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_there_counts_as_synced, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_fail_as_told, setup, teardown),
        cmocka_unit_test_setup_teardown(each_call_fails_once_and_changes_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
