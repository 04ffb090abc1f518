/* state/kept.c and the committer's writes: tables of kept messages on the real stores, over kills, power cuts and a failing disk. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_rig.h"
#include "loop/loop.h"
#include "state/store.h"
#include "store_rig.h"

enum { DEADLINE_S = 20, ROUTES = 2 };

static struct config_route routes[ROUTES];
static struct config config;
static struct bailey_host *loop;
static struct state_store *store;
static struct state_table *table;
static char base[40], folder[64];

static const struct bailey_store *find_module(const char *name, struct bailey_error *err)
{
    (void)err;
    return rig_module(name);
}

#define WAIT_FOR(condition)                      \
    do {                                         \
        time_t until_ = time(NULL) + DEADLINE_S; \
        while (loop_turn(loop, 5), !(condition)) \
            assert_true(time(NULL) <= until_);   \
    } while (0)

static void open_state(int64_t sync_ms)
{
    struct bailey_error err;

    config.state.sync_ms = sync_ms;
    if (config.state.path != NULL)
        disk_rig_watch(config.state.path);
    store = state_store_open(&config, find_module, &err);
    if (store == NULL)
        fail_msg("%s", err.text);
    table = state_store_table(store, 1);
    assert_non_null(table);
    assert_true(state_store_start(store, &err));
}

static void close_state(void)
{
    state_store_stop(store);
    loop_turn(loop, 0);
    state_store_close(store);
    store = NULL;
}

static int set_up(void **unused)
{
    (void)unused;
    memcpy(base, "/dev/shm/bailey-kept-XXXXXX", 28);
    if (mkdtemp(base) == NULL)
        return -1;
    snprintf(folder, sizeof folder, "%s/state", base);
    if (mkdir(folder, 0700) != 0)
        return -1;
    memset(routes, 0, sizeof routes);
    routes[0] = (struct config_route){.name = "quick", .lanes = 1};
    routes[1] = (struct config_route){.name = "later", .lanes = 1, .keeps_messages = true};
    config = (struct config){.routes = routes, .route_count = ROUTES};
    config.state = (struct config_state){.store = CONFIG_STATE_ROCKSDB, .path = folder};
    loop = loop_new(&(struct loop_options){0}, NULL);
    return loop == NULL ? -1 : 0;
}

static int set_up_memory(void **unused)
{
    int failed = set_up(unused);

    config.state = (struct config_state){.store = CONFIG_STATE_MEMORY};
    return failed;
}

static int tear_down(void **unused)
{
    (void)unused;
    if (store != NULL)
        close_state();
    loop_free(loop);
    disk_rig_unwatch();
    disk_rig_remove(base);
    return 0;
}

/* ---- Requests ---- */

struct request {
    struct state_write write;
    struct state_put put;
    char key[16], value[64];
    bool done;
};

static void on_written(struct state_write *write)
{
    ((struct request *)write->ctx)->done = true;
}

/* `value`: NULL erases. */
static void start_write(struct request *request, const char *key, const char *value, bool is_synced)
{
    snprintf(request->key, sizeof request->key, "%s", key);
    snprintf(request->value, sizeof request->value, "%s", value != NULL ? value : "");
    request->put = (struct state_put){.key = bailey_bytes_of(request->key)};
    if (value != NULL)
        request->put.value = bailey_bytes_of(request->value);
    request->write = (struct state_write){
        .puts = &request->put, .count = 1, .is_synced = is_synced, .host = loop, .done = on_written, .ctx = request};
    request->done = false;
    table->write(table, &request->write);
    assert_false(request->done); /* never within the call */
}

static bool put(const char *key, const char *value)
{
    struct request request;

    start_write(&request, key, value, true);
    WAIT_FOR(request.done);
    if (request.write.failed)
        assert_true(request.write.err.text[0] != '\0');
    return !request.write.failed;
}

static void on_read(struct state_read *read)
{
    *(bool *)read->ctx = true;
}

/* As "key=value key=value", then "." if there are no more; or "failed". */
static const char *read_rows(const char *from, const char *until, size_t max, size_t max_bytes)
{
    static char text[4096];
    size_t len = 0;
    bool done = false;
    struct state_read read = {
        .from = bailey_bytes_of(from), .max = max, .max_bytes = max_bytes, .host = loop, .done = on_read, .ctx = &done};

    if (until != NULL)
        read.until = bailey_bytes_of(until);
    table->read(table, &read);
    assert_false(done);
    WAIT_FOR(done);
    if (read.failed) {
        assert_true(read.err.text[0] != '\0' && read.rows == NULL);
        return "failed";
    }
    text[0] = '\0';
    for (size_t i = 0; i < read.count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%.*s=%.*s ", (int)read.rows[i].key.len,
                                (const char *)read.rows[i].key.data, (int)read.rows[i].value.len,
                                (const char *)read.rows[i].value.data);
    if (read.is_end)
        snprintf(text + len, sizeof text - len, ".");
    free(read.rows);
    return text;
}

#define ASSERT_ROWS(expected) assert_string_equal(read_rows("", NULL, 100, 4096), expected)

/* ---- Tests ---- */

static void rows_are_read_in_the_order_of_their_keys(void **unused)
{
    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    ASSERT_ROWS(".");
    assert_true(put("c", "3") && put("a", "1") && put("b", "") && put("ab", "12"));
    ASSERT_ROWS("a=1 ab=12 b= c=3 .");
    assert_true(put("ab", NULL) && put("nothing", NULL) && put("a", "one"));
    ASSERT_ROWS("a=one b= c=3 .");
}

static void a_read_keeps_to_its_bounds(void **unused)
{
    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    for (char key[] = "a"; key[0] <= 'f'; key[0]++)
        assert_true(put(key, "123456789"));
    assert_string_equal(read_rows("b", "d", 100, 4096), "b=123456789 c=123456789 .");
    assert_string_equal(read_rows("bb", "d", 100, 4096), "c=123456789 .");
    assert_string_equal(read_rows("d", "d", 100, 4096), ".");
    assert_string_equal(read_rows("x", NULL, 100, 4096), ".");
    assert_string_equal(read_rows("a", NULL, 2, 4096), "a=123456789 b=123456789 ");
    assert_string_equal(read_rows("e", NULL, 2, 4096), "e=123456789 f=123456789 ."); /* it has looked for a third */
    assert_string_equal(read_rows("a", NULL, 100, 29), "a=123456789 b=123456789 ");
    assert_string_equal(read_rows("a", NULL, 100, 1), "a=123456789 "); /* one at least */
}

static void what_is_large_comes_whole(void **unused)
{
    enum { SIZE = 3 << 20 };
    struct request request = {.key = "k"};
    uint8_t *body = malloc(SIZE);
    bool done = false;
    struct state_read read = {.max = 10, .max_bytes = 1, .host = loop, .done = on_read, .ctx = &done};

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (uint8_t)(i * 2654435761u >> 13);
    request.put = (struct state_put){.key = bailey_bytes_of("k"), .value = {body, SIZE}};
    request.write = (struct state_write){
        .puts = &request.put, .count = 1, .is_synced = true, .host = loop, .done = on_written, .ctx = &request};
    table->write(table, &request.write);
    WAIT_FOR(request.done);
    assert_false(request.write.failed);
    table->read(table, &read);
    WAIT_FOR(done);
    assert_int_equal(read.count, 1);
    assert_int_equal(read.rows[0].value.len, SIZE);
    assert_memory_equal(read.rows[0].value.data, body, SIZE);
    free(read.rows);
    free(body);
}

static void changes_of_a_write_are_made_in_their_order(void **unused)
{
    struct state_put puts[] = {
        {bailey_bytes_of("k"), bailey_bytes_of("old")}, {bailey_bytes_of("k"), BAILEY_NULL_BYTES},
        {bailey_bytes_of("k"), bailey_bytes_of("new")}, {bailey_bytes_of("gone"), bailey_bytes_of("x")},
        {bailey_bytes_of("gone"), BAILEY_NULL_BYTES},
    };
    struct request request = {0};

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    request.write = (struct state_write){
        .puts = puts, .count = 5, .is_synced = true, .host = loop, .done = on_written, .ctx = &request};
    table->write(table, &request.write);
    WAIT_FOR(request.done);
    ASSERT_ROWS("k=new .");
}

static size_t syncs_of(size_t writes, bool is_synced)
{
    static struct request requests[200];

    disk_rig_fail((struct disk_fault){.calls = DISK_SYNC, .nth = SIZE_MAX});
    for (size_t i = 0; i < writes; i++) {
        char key[16];

        snprintf(key, sizeof key, "%zu", i);
        start_write(&requests[i], key, "x", is_synced);
    }
    for (size_t i = 0; i < writes; i++) {
        WAIT_FOR(requests[i].done);
        assert_false(requests[i].write.failed);
    }
    return disk_rig_heal();
}

static void a_write_that_is_to_be_synced_is_whatever_the_setting_says(void **unused)
{
    (void)unused;
    open_state(CONFIG_SYNC_NONE);
    assert_int_equal(syncs_of(1, false), 0);
    assert_true(syncs_of(1, true) > 0);
    close_state();
    open_state(CONFIG_SYNC_BATCH);
    assert_true(syncs_of(1, false) > 0);
}

static void a_periodic_sync_comes_by_itself(void **unused)
{
    struct request request;

    (void)unused;
    open_state(30);
    for (size_t calls = 0; calls == 0; calls = disk_rig_heal()) {
        disk_rig_fail((struct disk_fault){.calls = DISK_SYNC, .nth = 1, .error = EIO});
        start_write(&request, "k", "w", false);
        WAIT_FOR(request.done);
        loop_turn(loop, 100);
    }
    assert_true(put("l", "x")); /* it has recovered */
    ASSERT_ROWS("k=w l=x .");
}

static void what_comes_together_is_synced_once(void **unused)
{
    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    assert_in_range(syncs_of(200, true), 1, 199);
}

/* The state as the death of the process, or a power cut, leaves it. */
static void go_on_with_an_image(bool is_power_cut, uint64_t seed)
{
    static char image[64];

    snprintf(image, sizeof image, "%s/image%d", base, (int)seed);
    if (is_power_cut)
        disk_rig_power_cut(image, seed);
    else
        disk_rig_kill(image);
    close_state();
    config.state.path = image;
    open_state(CONFIG_SYNC_NONE);
}

static void what_was_written_outlives_the_process_and_what_was_synced_a_power_cut(void **unused)
{
    struct request request;

    (void)unused;
    open_state(CONFIG_SYNC_NONE);
    assert_true(put("a", "synced"));
    start_write(&request, "b", "written", false);
    WAIT_FOR(request.done);
    go_on_with_an_image(false, 1);
    ASSERT_ROWS("a=synced b=written .");
    for (uint64_t seed = 2; seed < 12; seed++) {
        start_write(&request, "c", "written", false);
        WAIT_FOR(request.done);
        go_on_with_an_image(true, seed);
        const char *rows = read_rows("", NULL, 100, 4096);
        assert_non_null(strstr(rows, "a=synced "));
        start_write(&request, "c", NULL, false);
        WAIT_FOR(request.done);
    }
}

static void a_failing_disk_is_answered_and_no_more(void **unused)
{
    static const struct disk_fault faults[] = {
        {.calls = DISK_WRITE, .nth = 1, .error = ENOSPC, .lasts = true},
        {.calls = DISK_SYNC, .nth = 1, .error = EIO, .lasts = true},
        {.calls = DISK_SYNC, .nth = 1, .error = EIO},
        {.calls = DISK_WRITE, .nth = 1, .error = ENOSPC, .writes_a_part = true, .lasts = true},
    };

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    assert_true(put("kept", "1"));
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        disk_rig_fail(faults[i]);
        assert_false(put("a", "1"));
        disk_rig_heal();
        assert_true(put("a", "2")); /* made again */
        ASSERT_ROWS("a=2 kept=1 .");
        assert_true(put("a", NULL));
    }
    go_on_with_an_image(true, 1);
    ASSERT_ROWS("kept=1 .");
}

static void what_cannot_be_read_is_answered(void **unused)
{
    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    for (int i = 0; i < 100; i++) {
        char key[16];

        snprintf(key, sizeof key, "%03d", i);
        assert_true(put(key, "0123456789012345678901234567890123456789"));
    }
    close_state(); /* so that the rows are in a file */
    open_state(CONFIG_SYNC_BATCH);
    close_state();
    open_state(CONFIG_SYNC_BATCH);
    disk_rig_fail((struct disk_fault){.calls = DISK_READ, .nth = 1, .error = EIO, .lasts = true});
    assert_string_equal(read_rows("", NULL, 1, 4096), "failed");
    disk_rig_heal();
    assert_string_equal(read_rows("", "001", 1, 4096), "000=0123456789012345678901234567890123456789 .");
}

static bool exists(const char *below)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, below);
    return access(path, F_OK) == 0;
}

static void a_route_that_keeps_nothing_opens_nothing(void **unused)
{
    struct bailey_error err;

    (void)unused;
    routes[1].keeps_messages = false;
    store = state_store_open(&config, find_module, &err);
    assert_non_null(store);
    assert_null(state_store_table(store, 0));
    assert_null(state_store_table(store, 1));
    assert_false(exists("kept"));
    close_state();
    routes[1].keeps_messages = true;
    open_state(CONFIG_SYNC_BATCH);
    assert_null(state_store_table(store, 0));
    assert_true(exists("kept/CURRENT") && table->is_durable && table->clock_ms != 0);
}

static void routes_do_not_see_each_others_rows(void **unused)
{
    (void)unused;
    routes[0].keeps_messages = true;
    open_state(CONFIG_SYNC_BATCH);
    assert_true(put("k", "later"));
    table = state_store_table(store, 0);
    ASSERT_ROWS(".");
    assert_true(put("k", "quick"));
    ASSERT_ROWS("k=quick .");
    table = state_store_table(store, 1);
    ASSERT_ROWS("k=later .");
}

static void assert_refused(const char *what)
{
    struct bailey_error err = {0};

    assert_null(state_store_open(&config, find_module, &err));
    if (strstr(err.text, what) == NULL || err.hint[0] == '\0')
        fail_msg("'%s' (%s)", err.text, err.hint);
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
}

static void one_that_another_process_has_is_refused(void **unused)
{
    int ready[2];
    char byte;

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    assert_true(put("k", "v"));
    close_state();
    /* Only its mark is held: the folder of the ids, which is opened first, is free. */
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        char mark[128];
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

        snprintf(mark, sizeof mark, "%s/kept/BAILEY", folder);
        int fd = open(mark, O_RDWR);
        if (fd < 0 || fcntl(fd, F_SETLK, &whole) != 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_refused("is in use by process");
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
    open_state(CONFIG_SYNC_BATCH);
    ASSERT_ROWS("k=v .");
}

static void write_mark(const char *text)
{
    char mark[128];

    snprintf(mark, sizeof mark, "%s/kept/BAILEY", folder);
    FILE *file = fopen(mark, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void one_that_is_newer_or_damaged_is_refused_and_left_as_it_was(void **unused)
{
    char current[128], away[128];

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    assert_true(put("k", "v"));
    close_state();
    write_mark("bailey rocksdb store, version 2\n");
    assert_refused("is of version 2, this bailey knows version 1");
    write_mark("something else\n");
    assert_refused("is damaged");
    write_mark("bailey rocksdb store, version 1\n");
    snprintf(current, sizeof current, "%s/kept/CURRENT", folder);
    snprintf(away, sizeof away, "%s/CURRENT", folder);
    assert_int_equal(rename(current, away), 0);
    assert_refused("is damaged");
    assert_int_equal(rename(away, current), 0);
    open_state(CONFIG_SYNC_BATCH);
    ASSERT_ROWS("k=v .");
}

static void what_is_asked_after_the_stop_is_let_go(void **unused)
{
    struct request request;

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    state_store_stop(store);
    start_write(&request, "k", "v", true);
    loop_turn(loop, 20);
    assert_false(request.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define IN_MEMORY(name) {"memory: " #name, name, set_up_memory, tear_down, NULL}
        TEST(rows_are_read_in_the_order_of_their_keys),
        TEST(a_read_keeps_to_its_bounds),
        TEST(what_is_large_comes_whole),
        TEST(changes_of_a_write_are_made_in_their_order),
        TEST(a_write_that_is_to_be_synced_is_whatever_the_setting_says),
        TEST(a_periodic_sync_comes_by_itself),
        TEST(what_comes_together_is_synced_once),
        TEST(what_was_written_outlives_the_process_and_what_was_synced_a_power_cut),
        TEST(a_failing_disk_is_answered_and_no_more),
        TEST(what_cannot_be_read_is_answered),
        TEST(a_route_that_keeps_nothing_opens_nothing),
        TEST(routes_do_not_see_each_others_rows),
        TEST(one_that_another_process_has_is_refused),
        TEST(one_that_is_newer_or_damaged_is_refused_and_left_as_it_was),
        TEST(what_is_asked_after_the_stop_is_let_go),
        IN_MEMORY(rows_are_read_in_the_order_of_their_keys),
        IN_MEMORY(a_read_keeps_to_its_bounds),
        IN_MEMORY(what_is_large_comes_whole),
        IN_MEMORY(changes_of_a_write_are_made_in_their_order),
        IN_MEMORY(routes_do_not_see_each_others_rows),
#undef TEST
#undef IN_MEMORY
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
