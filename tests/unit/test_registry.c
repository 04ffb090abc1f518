/* test_registry.c: which descriptors of connectors and stores are admitted, and what is said about what is not found. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_connector.h"
#include "host/registry.h"

static void another_major_is_refused(void **state)
{
    struct bailey_connector in = fake_connector, out;
    struct bailey_error err = {0};

    (void)state;
    in.abi_major = BAILEY_ABI_MAJOR + 1;
    assert_false(registry_admit(&out, &in, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    assert_string_equal(err.text, "the connector speaks ABI 2, this gateway speaks 1");
}

static void an_older_minor_has_null_callbacks(void **state)
{
    struct bailey_connector in = fake_connector, out;

    (void)state;
    memset(&out, 0xff, sizeof out);
    in.size = offsetof(struct bailey_connector, url); /* built before `url`, `check` and `probe` were added */
    assert_true(registry_admit(&out, &in, NULL));
    assert_string_equal(out.name, "fake");
    assert_ptr_equal(out.sink, in.sink);
    assert_null(out.url);
    assert_null(out.check);
    assert_null(out.probe);
    in.size = offsetof(struct bailey_connector, probe); /* a descriptor of ABI 1.0 */
    in.abi_minor = 0;
    assert_true(registry_admit(&out, &in, NULL));
    assert_ptr_equal(out.check, fake_connector.check);
    assert_null(out.probe);
}

static void a_newer_minor_is_cut(void **state)
{
    struct {
        struct bailey_connector known;
        void *unknown;
    } in = {.known = fake_connector, .unknown = &in};
    struct {
        struct bailey_connector out;
        unsigned char guard[8];
    } room;

    (void)state;
    memset(&room, 0x5a, sizeof room);
    in.known.size = sizeof in;
    in.known.abi_minor = BAILEY_ABI_MINOR + 1;
    assert_true(registry_admit(&room.out, &in.known, NULL));
    assert_ptr_equal(room.out.check, fake_connector.check);
    for (size_t i = 0; i < sizeof room.guard; i++)
        assert_int_equal(room.guard[i], 0x5a);
}

/* ---- Stores ---- */

static bool open_store(void **store, const char *path, struct bailey_error *err)
{
    (void)store;
    (void)path;
    return bailey_fail(err, BAILEY_ERR_CONFIG, "a store of paper");
}

static void store_end(void *store)
{
    (void)store;
}

static bool table_open(void *store, void **table, const struct bailey_table_options *options, struct bailey_error *err)
{
    (void)table;
    (void)options;
    return open_store(store, NULL, err);
}

static bool get_many(void *table, const uint8_t *keys, uint8_t *values, bool *found, size_t count,
                     struct bailey_error *err)
{
    (void)keys;
    (void)values;
    (void)found;
    (void)count;
    return open_store(table, NULL, err);
}

static bool store_write(void *store, const struct bailey_store_change *changes, size_t count, struct bailey_error *err)
{
    (void)changes;
    (void)count;
    return open_store(store, NULL, err);
}

static bool store_sync(void *store, struct bailey_error *err)
{
    return open_store(store, NULL, err);
}

static bool scan(void *table, struct bailey_bytes from,
                 bool (*visit)(void *ctx, struct bailey_bytes key, struct bailey_bytes value), void *ctx,
                 struct bailey_error *err)
{
    (void)from;
    (void)visit;
    (void)ctx;
    return open_store(table, NULL, err);
}

static bool expire(void *table, int64_t before_ms, struct bailey_error *err)
{
    (void)before_ms;
    return open_store(table, NULL, err);
}

static bool snapshot(void *store, const char *path, struct bailey_error *err)
{
    return open_store(store, path, err);
}

static void stats(void *store, struct bailey_store_stats *stats)
{
    (void)store;
    *stats = (struct bailey_store_stats){0};
}

static const struct bailey_store paper = {
    .size = sizeof paper,
    .abi_major = BAILEY_STORE_ABI_MAJOR,
    .abi_minor = BAILEY_STORE_ABI_MINOR,
    .name = "paper",
    .summary = "A store that keeps nothing.",
    .traits = BAILEY_STORE_DURABLE,
    .open = open_store,
    .close = store_end,
    .table_open = table_open,
    .get_many = get_many,
    .write = store_write,
    .sync = store_sync,
    .scan = scan,
    .expire = expire,
    .snapshot = snapshot,
    .stats = stats,
};

static void a_store_is_admitted_whole(void **state)
{
    struct bailey_store in = paper, out;
    struct bailey_error err = {0};

    (void)state;
    assert_true(registry_admit_store(&out, &in, &err));
    assert_memory_equal(&out, &paper, sizeof out);
    in.abi_major = BAILEY_STORE_ABI_MAJOR + 1;
    assert_false(registry_admit_store(&out, &in, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    assert_string_equal(err.text, "the store speaks ABI 2, this gateway speaks 1");
    in = paper;
    in.size = offsetof(struct bailey_store, stats); /* the last callback lies behind its end */
    assert_false(registry_admit_store(&out, &in, &err));
    assert_string_equal(err.text, "the store lacks stats()");
}

static void a_store_that_lacks_a_callback_is_refused(void **state)
{
    static const size_t callbacks[] = {
        offsetof(struct bailey_store, open),       offsetof(struct bailey_store, close),
        offsetof(struct bailey_store, table_open), offsetof(struct bailey_store, get_many),
        offsetof(struct bailey_store, write),      offsetof(struct bailey_store, sync),
        offsetof(struct bailey_store, scan),       offsetof(struct bailey_store, expire),
        offsetof(struct bailey_store, snapshot),   offsetof(struct bailey_store, stats)};
    struct bailey_store out;

    (void)state;
    for (size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++) {
        struct bailey_store in = paper;
        struct bailey_error err = {0};
        memset((char *)&in + callbacks[i], 0, sizeof(void (*)(void)));
        assert_false(registry_admit_store(&out, &in, &err));
        assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
        assert_non_null(strstr(err.text, "the store lacks "));
        in.traits = 0;
        assert_int_equal(registry_admit_store(&out, &in, &err), in.snapshot == NULL);
    }
}

/* ---- Finding ---- */

static char folder[] = "/tmp/bailey-registry-XXXXXX";

static void put_file(const char *name, const char *content)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (content == NULL) {
        unlink(path);
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

/* A link to what was built: build/.../tests/unit/test_registry → build/.../MODULE */
static void put_built(const char *module, const char *name)
{
    char program[4096], path[4096 + 32], link[128];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);

    assert_true(len > 0);
    program[len] = '\0';
    for (int i = 0; i < 3; i++)
        *strrchr(program, '/') = '\0';
    snprintf(path, sizeof path, "%s/%s", program, module);
    snprintf(link, sizeof link, "%s/%s", folder, name);
    assert_int_equal(symlink(path, link), 0);
}

static int make_folder(void **state)
{
    char path[128];

    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, ":/nonexistent::%s:%s", folder, folder);
    setenv("BAILEY_CONNECTOR_PATH", path, 1);
    setenv("BAILEY_STORE_PATH", path, 1);
    put_file("broken.so", "this is no shared object");
    put_built("connectors/memory.so", "memory.so");
    put_built("stores/memory.so", "renamed.so");
    put_file("Odd Name.so", "x");
    put_file("readme.txt", "x");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    put_file("broken.so", NULL);
    put_file("memory.so", NULL);
    put_file("renamed.so", NULL);
    put_file("Odd Name.so", NULL);
    put_file("readme.txt", NULL);
    return rmdir(folder);
}

static void is_explained(const void *found, const char *name, const struct bailey_error *err, const char *text,
                         const char *hint)
{
    assert_null(found);
    assert_int_equal(err->kind, BAILEY_ERR_CONFIG);
    if (strstr(err->text, text) == NULL || strstr(err->hint, hint) == NULL)
        fail_msg("%s: got '%s' (%s)", name, err->text, err->hint);
}

static void finds_nothing(const char *name, const char *text, const char *hint)
{
    struct bailey_error err = {0};

    is_explained(registry_find(name, &err), name, &err, text, hint);
}

static void finds_no_store(const char *name, const char *text, const char *hint)
{
    struct bailey_error err = {0};

    is_explained(registry_find_store(name, &err), name, &err, text, hint);
}

static void what_is_not_found_is_explained(void **state)
{
    (void)state;
    finds_nothing("brokn", "there is no connector 'brokn'", "did you mean 'broken'?");
    finds_nothing("quite-different", "there is no connector", "there are broken, memory, renamed");
    finds_nothing("../broken", "there is no connector '../broken'", "");
    finds_nothing("", "there is no connector ''", "");
    finds_nothing("broken", "cannot load the connector 'broken': ", "");
    finds_nothing("Odd Name", "there is no connector 'Odd Name'", "");
}

static void a_store_that_is_not_found_is_explained(void **state)
{
    (void)state;
    finds_no_store("brokn", "there is no store 'brokn'", "did you mean 'broken'?");
    finds_no_store("quite-different", "there is no store", "there are broken, memory, renamed");
    finds_no_store("../broken", "there is no store '../broken'", "");
    finds_no_store("broken", "cannot load the store 'broken': ", "");
    finds_no_store("renamed", "renamed.so says that its name is 'memory'", "");
    finds_no_store("memory", "memory.so is no store: it has no bailey_store_entry", "");
}

static void names_are_sorted_and_single(void **state)
{
    const char *const *names;
    size_t count = registry_names(&names), seen = 0;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        seen += strcmp(names[i], "broken") == 0;
        if (i > 0)
            assert_true(strcmp(names[i - 1], names[i]) < 0);
        assert_null(strchr(names[i], ' '));
    }
    assert_int_equal(seen, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_major_is_refused),
        cmocka_unit_test(an_older_minor_has_null_callbacks),
        cmocka_unit_test(a_newer_minor_is_cut),
        cmocka_unit_test(what_is_not_found_is_explained),
        cmocka_unit_test(names_are_sorted_and_single),
        cmocka_unit_test(a_store_is_admitted_whole),
        cmocka_unit_test(a_store_that_lacks_a_callback_is_refused),
        cmocka_unit_test(a_store_that_is_not_found_is_explained),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
