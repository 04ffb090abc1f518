/* stores/slices: after a power cut at any moment exactly the first writes are there, as many as were synced at least; and a call
 * that fails changes nothing. The disk is that of disk_rig. */
#include <errno.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "slices_rig.h"

static struct slices_rig rig;

static int setup(void **state)
{
    (void)state;
    slices_rig_init(&rig);
    rig.limits.log_bytes = 16 * 1024;
    disk_rig_watch(rig.folder);
    slices_rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    disk_rig_heal();
    slices_rig_fini(&rig);
    disk_rig_unwatch();
    return 0;
}

/* Write n, for n = 0, 1, ...: 8 ids become intents, and those of the write before become seen; all by one write. So any state that is
 * not one of those between two writes is recognised. */
enum { BATCH = 8 };

static bool try_write(uint64_t n, struct bailey_error *err)
{
    struct bailey_store_change changes[3 * BATCH];
    uint8_t keys[2 * BATCH][RIG_KEY_BYTES], value[RIG_VALUE_BYTES] = {0};
    uint64_t time = htobe64(n * 20);
    size_t count = 0;

    memcpy(value, &time, sizeof time);
    value[8] = (uint8_t)n;
    for (uint64_t i = 0; i < 2 * BATCH; i++)
        slices_rig_key(keys[i], n * BATCH + i);
    for (int i = 0; i < BATCH; i++) {
        struct bailey_bytes before = {keys[i], RIG_KEY_BYTES}, now = {keys[BATCH + i], RIG_KEY_BYTES};

        changes[count++] = (struct bailey_store_change){rig.seen, before, {value, sizeof value}};
        changes[count++] = (struct bailey_store_change){rig.intents, before, BAILEY_NULL_BYTES};
        changes[count++] = (struct bailey_store_change){rig.intents, now, {value, sizeof value}};
    }
    return slices()->write(rig.store, changes, count, err);
}

/* The number of writes that are there: each wholly, and none after one that is not. */
static uint64_t writes_there(uint64_t most)
{
    uint64_t seen = slices_rig_count(rig.seen, 0, (most + 2) * BATCH, -1);

    assert_int_equal(seen % BATCH, 0);
    assert_int_equal(slices_rig_count(rig.seen, 0, seen, -1), seen);
    for (uint64_t n = 0; n < seen / BATCH; n++)
        assert_int_equal(slices_rig_count(rig.seen, n * BATCH, BATCH, (uint8_t)n), BATCH);
    assert_int_equal(slices_rig_count(rig.intents, 0, (most + 2) * BATCH, -1), seen == 0 ? 0 : BATCH);
    assert_int_equal(slices_rig_count(rig.intents, seen, BATCH, -1), seen == 0 ? 0 : BATCH);
    return seen / BATCH;
}

/* The store that a power cut at this moment leaves, whatever the keeper is doing. */
static void look_after_power_cut(uint64_t seed, uint64_t synced, uint64_t written)
{
    struct slices_rig kept = rig;
    struct bailey_error err = {0};
    char image[sizeof rig.folder + 8];

    snprintf(image, sizeof image, "%s-cut", rig.folder);
    disk_rig_power_cut(image, seed);
    snprintf(rig.path, sizeof rig.path, "%s/store", image);
    if (!slices_rig_try_open(&rig, &err))
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
    assert_in_range(writes_there(written), synced, written);
    slices_rig_close(&rig);
    disk_rig_remove(image);
    rig = kept;
}

/* Go on with it. */
static void cut_power(uint64_t seed, uint64_t synced, uint64_t written)
{
    struct bailey_error err = {0};
    char image[sizeof rig.folder + 8];

    snprintf(image, sizeof image, "%s-cut", rig.folder);
    disk_rig_power_cut(image, seed);
    slices_rig_close(&rig);
    disk_rig_unwatch();
    disk_rig_remove(rig.folder);
    assert_int_equal(rename(image, rig.folder), 0);
    disk_rig_watch(rig.folder);
    if (!slices_rig_try_open(&rig, &err))
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
    assert_in_range(writes_there(written), synced, written);
}

static void begin_anew(void)
{
    slices_rig_close(&rig);
    disk_rig_unwatch();
    disk_rig_remove(rig.path);
    disk_rig_watch(rig.folder);
    slices_rig_open(&rig);
}

static void a_power_cut_loses_only_what_was_not_synced(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        uint64_t synced = 0, most = 100 + seed * 37 % 100;

        for (uint64_t n = 0; n < most; n++) {
            struct bailey_error err = {0};

            if (!try_write(n, &err))
                fail_msg("%s", err.text);
            if ((n * 2654435761u >> 7) % 16 == seed) {
                slices_rig_sync(&rig);
                synced = n + 1;
            }
            if (n % 12 == seed)
                look_after_power_cut(seed * 1000 + n, synced, n + 1);
        }
        cut_power(seed, synced, most);
        begin_anew();
    }
}

static void go_on(uint64_t *next, uint64_t *synced, bool *failed)
{
    struct bailey_error err = {0};

    *failed |= !try_write(*next, &err);
    if (*failed)
        return;
    ++*next;
    *failed = !slices()->sync(rig.store, &err);
    if (!*failed)
        *synced = *next;
}

/* Each call of a kind fails in its turn; the same is done again; then the power is cut. */
static void fail_each(unsigned calls, int error, bool half, size_t most, int writes)
{
    for (size_t nth = 1; nth <= most; nth += nth < 8 ? 1 : 7) {
        uint64_t next = 0, synced = 0;

        disk_rig_fail((struct disk_fault){.calls = calls, .nth = nth, .error = error, .writes_a_part = half});
        for (int n = 0; n < writes; n++) {
            bool failed = false;

            go_on(&next, &synced, &failed);
            if (failed || n % 16 == 0)
                assert_int_equal(writes_there(next + 1), next);
        }
        disk_rig_heal();
        if (nth % 2 == 0) {
            slices_rig_sync(&rig);
            synced = next;
        }
        cut_power(nth, synced, next);
        begin_anew();
    }
}

static void a_failed_write_changes_nothing(void **state)
{
    (void)state;
    fail_each(DISK_WRITE, EIO, false, 80, 32);
    fail_each(DISK_WRITE | DISK_ALLOCATE, ENOSPC, true, 80, 32);
}

static void a_failed_sync_is_written_anew(void **state)
{
    (void)state;
    fail_each(DISK_SYNC, EIO, false, 80, 32);
}

static void names_that_cannot_be_changed_are_tried_again(void **state)
{
    (void)state;
    fail_each(DISK_OPEN | DISK_RENAME | DISK_TRUNCATE, EIO, false, 50, 32);
    fail_each(DISK_UNLINK, EIO, false, 4, 80); /* a log that stays must not leave a gap behind it */
}

static void a_full_disk_stops_writes_until_there_is_room(void **state)
{
    struct bailey_error err = {0};
    uint64_t next = 0, synced = 0;
    bool failed = false;

    (void)state;
    go_on(&next, &synced, &failed);
    disk_rig_fail((struct disk_fault){.calls = DISK_GROWS, .nth = 1, .error = ENOSPC, .lasts = true});
    for (int i = 0; i < 20; i++) {
        assert_false(try_write(next, &err));
        assert_int_equal(err.kind, BAILEY_ERR_TRANSIENT);
        assert_int_equal(err.native, ENOSPC);
        assert_non_null(strstr(err.text, ".log"));
        assert_non_null(strstr(err.hint, "room"));
        assert_int_equal(writes_there(next + 1), next);
    }
    disk_rig_heal();
    go_on(&next, &synced, &failed);
    assert_false(failed);
    assert_int_equal(writes_there(next), 2);
}

static void without_memory_a_call_changes_nothing(void **state)
{
    uint64_t next = 0;

    (void)state;
    if (!fail_alloc_works())
        skip();
    for (size_t nth = 1; next < 150; nth = nth % 12 + 1) {
        struct bailey_error err = {0};
        bool ok;

        fail_alloc_arm(nth, false);
        ok = try_write(next, &err);
        fail_alloc_disarm();
        assert_true(ok || err.kind == BAILEY_ERR_TRANSIENT);
        next += ok;
        assert_int_equal(writes_there(next + 1), next);
    }
    slices_rig_sync(&rig);
    cut_power(1, next, next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_power_cut_loses_only_what_was_not_synced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_sync_is_written_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_cannot_be_changed_are_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_stops_writes_until_there_is_room, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_a_call_changes_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
