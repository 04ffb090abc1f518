/* state/: the committer, the loader, look-ups, the clock and the secret, over a store that the test holds in its hands. */
#include <endian.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/filter.h"
#include "loop/loop.h"
#include "state/store.h"
#include "state/store_impl.h"

enum { RECORDS_MAX = 4096, DEADLINE_S = 10, LANES = 2, MONTH_MS = 30 * 86400000LL };

/* ---- A store in memory that outlives its opening, and can fail ---- */

struct kept {
    char table[64];
    uint8_t key[16], value[48];
    size_t value_size;
    bool erased;
};

static struct {
    pthread_mutex_t lock;
    struct kept records[RECORDS_MAX];
    size_t count;
    atomic_uint writes, syncs, changes;
    _Atomic int64_t expired_before;
    atomic_bool fails_open, fails_write, fails_sync, fails_scan, fails_get;
    struct table {
        char name[64];
        size_t value_size;
    } tables[8];
    size_t table_count;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool fail_if(bool fails, const char *text, struct bailey_error *err)
{
    return !fails || bailey_fail(err, BAILEY_ERR_TRANSIENT, "%s", text);
}

static bool fake_open(void **store, const char *path, struct bailey_error *err)
{
    (void)path;
    *store = &disk;
    disk.table_count = 0;
    return fail_if(disk.fails_open, "locked by process 7", err);
}

static void fake_close(void *store)
{
    (void)store;
}

static bool fake_table_open(void *store, void **table, const struct bailey_table_options *options,
                            struct bailey_error *err)
{
    struct table *made = &disk.tables[disk.table_count++];

    (void)store, (void)err;
    snprintf(made->name, sizeof made->name, "%s", options->name);
    made->value_size = options->value_size;
    *table = made;
    return true;
}

static struct kept *find_kept(const struct table *table, const uint8_t *key)
{
    for (size_t i = 0; i < disk.count; i++)
        if (strcmp(disk.records[i].table, table->name) == 0 && memcmp(disk.records[i].key, key, 16) == 0)
            return &disk.records[i];
    return NULL;
}

static bool fake_get_many(void *ctx, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                          struct bailey_error *err)
{
    struct table *table = ctx;

    pthread_mutex_lock(&disk.lock);
    for (size_t i = 0; i < count; i++) {
        const struct kept *kept = find_kept(table, keys + 16 * i);

        found[i] = kept != NULL && !kept->erased;
        if (found[i])
            memcpy(values + i * table->value_size, kept->value, table->value_size);
    }
    pthread_mutex_unlock(&disk.lock);
    return fail_if(disk.fails_get, "cannot read", err);
}

static bool fake_write(void *store, const struct bailey_store_change *changes, size_t count, struct bailey_error *err)
{
    (void)store;
    if (!fail_if(disk.fails_write, "no space left", err))
        return false;
    pthread_mutex_lock(&disk.lock);
    disk.writes++;
    disk.changes += count;
    for (size_t i = 0; i < count; i++) {
        const struct table *table = changes[i].table;
        struct kept *kept = find_kept(table, changes[i].key.data);

        if (kept == NULL)
            kept = &disk.records[disk.count++];
        snprintf(kept->table, sizeof kept->table, "%s", table->name);
        memcpy(kept->key, changes[i].key.data, 16);
        kept->erased = changes[i].value.data == NULL;
        if (!kept->erased)
            memcpy(kept->value, changes[i].value.data, changes[i].value.len);
        kept->value_size = changes[i].value.len;
    }
    pthread_mutex_unlock(&disk.lock);
    return true;
}

static bool fake_sync(void *store, struct bailey_error *err)
{
    (void)store;
    if (!fail_if(disk.fails_sync, "input/output error", err))
        return false;
    pthread_mutex_lock(&disk.lock);
    disk.syncs++;
    pthread_mutex_unlock(&disk.lock);
    return true;
}

static bool fake_scan(void *ctx, struct bailey_bytes from,
                      bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value), void *visitor,
                      struct bailey_error *err)
{
    struct table *table = ctx;

    (void)from;
    if (!fail_if(disk.fails_scan, "cannot read run 3", err))
        return false;
    for (size_t i = 0; i < disk.count; i++)
        if (strcmp(disk.records[i].table, table->name) == 0 && !disk.records[i].erased)
            visit(visitor, (struct bailey_bytes){disk.records[i].key, 16},
                  (struct bailey_bytes){disk.records[i].value, table->value_size});
    return true;
}

static bool fake_expire(void *table, int64_t before_ms, struct bailey_error *err)
{
    (void)table, (void)err;
    pthread_mutex_lock(&disk.lock);
    disk.expired_before = before_ms;
    pthread_mutex_unlock(&disk.lock);
    return true;
}

static struct bailey_store module = {
    .size = sizeof module,
    .name = "fake",
    .traits = BAILEY_STORE_DURABLE,
    .open = fake_open,
    .close = fake_close,
    .table_open = fake_table_open,
    .get_many = fake_get_many,
    .write = fake_write,
    .sync = fake_sync,
    .scan = fake_scan,
    .expire = fake_expire,
};

static const struct bailey_store *find_module(const char *name, struct bailey_error *err)
{
    (void)err;
    assert_string_equal(name, (module.traits & BAILEY_STORE_DURABLE) != 0 ? "slices" : "memory");
    return &module;
}

/* ---- A rig ---- */

static struct config_scope scope;
static struct config config;
static struct bailey_host *loop;
static struct state_store *store;
static struct state *state;
static struct state_load loads[LANES];
static unsigned loaded, waiting;

static void on_loaded(struct state_load *load)
{
    (void)load;
    loaded++;
}

static void on_waiting(struct state_load *load, const char *reason)
{
    (void)load;
    assert_string_equal(reason, "cannot read run 3");
    waiting++;
}

static bool reached(time_t until)
{
    return time(NULL) > until;
}

#define WAIT_FOR(condition)                      \
    do {                                         \
        time_t until_ = time(NULL) + DEADLINE_S; \
        while (loop_turn(loop, 5), !(condition)) \
            assert_false(reached(until_));       \
    } while (0)

static void open_state(int64_t sync_ms)
{
    struct bailey_error err;

    config.state.sync_ms = sync_ms;
    store = state_store_open(&config, find_module, &err);
    if (store == NULL)
        fail_msg("%s", err.text);
    state = state_store_scope(store, 0);
    loaded = waiting = 0;
    for (unsigned i = 0; i < LANES; i++) {
        loads[i] = (struct state_load){.shard = i,
                                       .shards = LANES,
                                       .window_ms = MONTH_MS,
                                       .max = 100000,
                                       .host = loop,
                                       .done = on_loaded,
                                       .waiting = on_waiting};
        state->load(state, &loads[i]);
    }
    assert_true(state_store_start(store, &err));
}

static void close_state(void)
{
    state_store_stop(store);
    loop_turn(loop, 0);
    for (unsigned i = 0; i < LANES; i++) {
        filter_free(loads[i].filter);
        free(loads[i].intents);
        loads[i].filter = NULL;
        loads[i].intents = NULL;
    }
    state_store_close(store);
    store = NULL;
}

static int set_up(void **unused)
{
    (void)unused;
    memset(disk.records, 0, sizeof disk.records);
    disk.count = disk.writes = disk.syncs = disk.changes = 0;
    disk.fails_open = disk.fails_write = disk.fails_sync = disk.fails_scan = disk.fails_get = false;
    disk.expired_before = 0;
    scope = (struct config_scope){.name = "route.r", .window_ms = MONTH_MS, .max = 100000, .lanes = LANES};
    config = (struct config){.scopes = &scope, .scope_count = 1};
    config.state = (struct config_state){.store = CONFIG_STATE_ROCKSDB, .path = "/tmp"};
    module.traits = BAILEY_STORE_DURABLE;
    loop = loop_new(&(struct loop_options){0}, NULL);
    return loop == NULL ? -1 : 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    if (store != NULL)
        close_state();
    loop_free(loop);
    return 0;
}

static struct id id_number(uint64_t number)
{
    return id_of(&state->key, (struct bailey_bytes){(const uint8_t *)&number, sizeof number});
}

struct request {
    struct state_commit commit;
    struct state_change changes[4];
    bool done;
};

static void on_committed(struct state_commit *commit)
{
    ((struct request *)commit->ctx)->done = true;
}

static void commit_one(struct request *request, enum state_change_kind kind, uint64_t number)
{
    request->changes[0] = (struct state_change){.id = id_number(number),
                                                .time_ms = bailey_now_ms(loop) + state->clock_ms,
                                                .kind = (uint8_t)kind,
                                                .outcome = ID_CONFIRMED};
    request->commit = (struct state_commit){
        .changes = request->changes, .count = 1, .expire_ms = 1, .host = loop, .done = on_committed, .ctx = request};
    request->done = false;
    state->commit(state, &request->commit);
}

static void commit_and_wait(enum state_change_kind kind, uint64_t number)
{
    struct request request;

    commit_one(&request, kind, number);
    WAIT_FOR(request.done);
    assert_false(request.commit.failed);
}

static void on_looked_up(struct state_lookup *lookup)
{
    *(bool *)lookup->ctx = true;
}

static struct state_found look_up(uint64_t number, bool fails)
{
    struct id id = id_number(number);
    struct state_found found = {0};
    bool done = false;
    struct state_lookup lookup = {
        .ids = &id, .found = &found, .count = 1, .host = loop, .done = on_looked_up, .ctx = &done};

    state->look_up(state, &lookup);
    WAIT_FOR(done);
    assert_int_equal(lookup.failed, fails);
    return found;
}

static void a_store_in_memory_answers_at_once(void **unused)
{
    struct state_found found;

    (void)unused;
    config.state.store = CONFIG_STATE_MEMORY;
    module.traits = 0;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    assert_true(state->peek(state, id_number(1), &found));
    assert_int_equal(found.outcome, ID_UNKNOWN);
    commit_and_wait(STATE_RECORD, 1);
    assert_true(state->peek(state, id_number(1), &found));
    assert_int_equal(found.outcome, ID_CONFIRMED);
    assert_int_equal(found.time_ms, look_up(1, false).time_ms);
    disk.fails_get = true;
    assert_false(state->peek(state, id_number(1), &found));
    look_up(1, true);
}

static void a_store_on_a_disk_is_never_read_on_a_worker(void **unused)
{
    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    assert_null(state->peek);
}

/* ---- Commits ---- */

static void what_is_committed_is_synced_before_it_is_answered(void **unused)
{
    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    unsigned before = disk.syncs;
    commit_and_wait(STATE_INTEND, 1);
    assert_int_equal(disk.syncs, before + 1);
    commit_and_wait(STATE_RECORD, 1);
    assert_int_equal(disk.syncs, before + 2);
    assert_int_equal(look_up(1, false).outcome, ID_CONFIRMED);
    assert_int_equal(look_up(2, false).outcome, ID_UNKNOWN);
}

static void what_comes_together_is_written_and_synced_once(void **unused)
{
    enum { REQUESTS = 200 };
    static struct request requests[REQUESTS];

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    unsigned before = disk.syncs;
    pthread_mutex_lock(&disk.lock); /* the committer is busy with the first */
    for (uint64_t i = 0; i < REQUESTS; i++)
        commit_one(&requests[i], STATE_RECORD, i);
    pthread_mutex_unlock(&disk.lock);
    for (int i = 0; i < REQUESTS; i++)
        WAIT_FOR(requests[i].done);
    assert_in_range(disk.syncs - before, 1, 20);
}

static void without_sync_nothing_is_synced(void **unused)
{
    (void)unused;
    open_state(CONFIG_SYNC_NONE);
    WAIT_FOR(loaded == LANES);
    unsigned before = disk.syncs;
    for (uint64_t i = 0; i < 20; i++)
        commit_and_wait(STATE_RECORD, i);
    assert_int_equal(disk.syncs, before);
}

static void a_periodic_sync_comes_by_itself(void **unused)
{
    struct request request;

    (void)unused;
    open_state(30);
    WAIT_FOR(loaded == LANES);
    unsigned before = disk.syncs;
    commit_and_wait(STATE_RECORD, 1);
    WAIT_FOR(disk.syncs > before); /* without another commit */
    disk.fails_sync = true;
    commit_and_wait(STATE_RECORD, 2);
    for (;;) { /* once it is overdue, commits fail */
        commit_one(&request, STATE_RECORD, 3);
        WAIT_FOR(request.done);
        if (request.commit.failed)
            break;
    }
    assert_string_equal(request.commit.err.text, "input/output error");
    disk.fails_sync = false;
    commit_and_wait(STATE_RECORD, 3);
}

static void what_fails_is_answered_and_can_be_made_again(void **unused)
{
    struct request request;

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    disk.fails_write = true;
    commit_one(&request, STATE_RECORD, 1);
    WAIT_FOR(request.done);
    assert_true(request.commit.failed);
    assert_string_equal(request.commit.err.text, "no space left");
    disk.fails_write = false;
    disk.fails_sync = true;
    commit_one(&request, STATE_RECORD, 1);
    WAIT_FOR(request.done);
    assert_true(request.commit.failed);
    disk.fails_sync = false;
    commit_and_wait(STATE_RECORD, 1);
    disk.fails_get = true;
    look_up(1, true);
    disk.fails_get = false;
    assert_int_equal(look_up(1, false).outcome, ID_CONFIRMED);
}

static void a_table_is_told_what_no_shard_asks_for(void **unused)
{
    struct request requests[LANES];

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    for (unsigned i = 0; i < LANES; i++) {
        requests[i].commit = (struct state_commit){
            .expire_ms = 1000 + 500 * (int64_t)i, .shard = i, .host = loop, .done = on_committed, .ctx = &requests[i]};
        requests[i].done = false;
        state->commit(state, &requests[i].commit);
        WAIT_FOR(requests[i].done);
        if (i == 0)
            assert_int_equal(disk.expired_before, 0); /* the other one has not spoken yet */
    }
    WAIT_FOR(disk.expired_before == 1000);
}

/* ---- Loading ---- */

static void an_earlier_run_is_loaded_shard_by_shard(void **unused)
{
    enum { IDS = 100 };

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    for (uint64_t i = 0; i < IDS; i++)
        commit_and_wait(STATE_INTEND, i);
    for (uint64_t i = 0; i < IDS / 2; i++)
        commit_and_wait(STATE_RECORD, i);
    commit_and_wait(STATE_FORGET, IDS - 1);
    close_state();

    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    size_t intents = 0;
    for (unsigned shard = 0; shard < LANES; shard++) {
        intents += loads[shard].intent_count;
        for (size_t i = 0; i < loads[shard].intent_count; i++)
            assert_int_equal(id_owner(loads[shard].intents[i], LANES), shard);
    }
    assert_int_equal(intents, IDS / 2 - 1);
    for (uint64_t i = 0; i < IDS / 2; i++) /* the secret is the same: so are the ids */
        assert_true(filter_may_have(loads[id_owner(id_number(i), LANES)].filter, id_number(i)));
}

static void loading_waits_until_the_store_can_be_read(void **unused)
{
    (void)unused;
    disk.fails_scan = true;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(waiting == LANES);
    assert_int_equal(loaded, 0);
    disk.fails_scan = false;
    WAIT_FOR(loaded == LANES);
    assert_int_equal(waiting, LANES); /* once each */
}

static void stopping_does_not_wait_for_a_store_that_cannot_be_read(void **unused)
{
    (void)unused;
    disk.fails_scan = true;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(waiting == LANES);
    close_state();
}

static void what_is_asked_after_the_stop_is_let_go(void **unused)
{
    struct request request;

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    state_store_stop(store);
    commit_one(&request, STATE_RECORD, 1);
    loop_turn(loop, 20);
    assert_false(request.done);
}

/* ---- Opening ---- */

static void a_store_that_cannot_be_opened_is_an_error(void **unused)
{
    struct bailey_error err;

    (void)unused;
    disk.fails_open = true;
    assert_null(state_store_open(&config, find_module, &err));
    assert_string_equal(err.text, "locked by process 7");
}

static struct kept *meta(const char *name)
{
    for (size_t i = 0; i < disk.count; i++)
        if (strcmp(disk.records[i].table, "meta") == 0 && strcmp((char *)disk.records[i].key, name) == 0)
            return &disk.records[i];
    fail_msg("no meta record %s", name);
    return NULL;
}

static void ids_of_a_newer_version_are_refused(void **unused)
{
    struct bailey_error err;

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    close_state();
    meta("id.key")->value[0] = ID_VERSION + 1;
    assert_null(state_store_open(&config, find_module, &err));
    assert_non_null(strstr(err.text, "are of version 2, this bailey knows version 1"));
    assert_true(err.kind == BAILEY_ERR_CONFIG && err.hint[0] != '\0');
}

/* ---- The clock: the anchor is rewritten as if it came from another time ---- */

static int64_t clock_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + state->clock_ms;
}

static int64_t get_big(const uint8_t *at)
{
    uint64_t big;

    memcpy(&big, at, sizeof big);
    return (int64_t)be64toh(big);
}

static void put_big(uint8_t *at, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);

    memcpy(at, &big, sizeof big);
}

static void the_clock_goes_on_over_a_restart(void **unused)
{
    int64_t before, shift = 7 * 3600000;
    struct kept *anchor;

    (void)unused;
    open_state(CONFIG_SYNC_BATCH);
    WAIT_FOR(loaded == LANES);
    before = clock_now();
    close_state();
    open_state(CONFIG_SYNC_BATCH);
    assert_in_range(clock_now() - before, 0, 5000);
    WAIT_FOR(loaded == LANES);
    close_state();

    /* The wall clock was 7 h ahead when the store was made: the same boot, so only the monotonic clock counts. */
    anchor = meta("clock");
    put_big(anchor->value + 25, get_big(anchor->value + 25) + shift);
    open_state(CONFIG_SYNC_BATCH);
    assert_in_range(clock_now() - before - shift, 0, 10000);
    WAIT_FOR(loaded == LANES);
    close_state();

    /* Another boot, and the wall clock is 7 h behind: time stands still, it does not run back. */
    anchor = meta("clock");
    anchor->value[1] ^= 0xff;
    int64_t kept = get_big(anchor->value + 25);
    open_state(CONFIG_SYNC_BATCH);
    assert_in_range(clock_now() - kept, 0, 5000);
    WAIT_FOR(loaded == LANES);
    close_state();

    /* Another boot, and the wall clock is ahead: it says how long that took. */
    anchor = meta("clock");
    anchor->value[1] ^= 0xff;
    put_big(anchor->value + 25, before - 3600000);
    open_state(CONFIG_SYNC_BATCH);
    assert_in_range(clock_now() - before, 0, 15000);
    WAIT_FOR(loaded == LANES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_store_in_memory_answers_at_once),
        TEST(a_store_on_a_disk_is_never_read_on_a_worker),
        TEST(what_is_committed_is_synced_before_it_is_answered),
        TEST(what_comes_together_is_written_and_synced_once),
        TEST(without_sync_nothing_is_synced),
        TEST(a_periodic_sync_comes_by_itself),
        TEST(what_fails_is_answered_and_can_be_made_again),
        TEST(a_table_is_told_what_no_shard_asks_for),
        TEST(an_earlier_run_is_loaded_shard_by_shard),
        TEST(loading_waits_until_the_store_can_be_read),
        TEST(stopping_does_not_wait_for_a_store_that_cannot_be_read),
        TEST(what_is_asked_after_the_stop_is_let_go),
        TEST(a_store_that_cannot_be_opened_is_an_error),
        TEST(ids_of_a_newer_version_are_refused),
        TEST(the_clock_goes_on_over_a_restart),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
