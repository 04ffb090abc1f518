/* test_registry.c: which descriptors are admitted, and what is said about what is not found. */
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

static int make_folder(void **state)
{
    char path[128];

    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, ":/nonexistent::%s:%s", folder, folder);
    setenv("BAILEY_CONNECTOR_PATH", path, 1);
    put_file("broken.so", "this is no shared object");
    put_file("Odd Name.so", "x");
    put_file("readme.txt", "x");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    put_file("broken.so", NULL);
    put_file("Odd Name.so", NULL);
    put_file("readme.txt", NULL);
    return rmdir(folder);
}

static void finds_nothing(const char *name, const char *text, const char *hint)
{
    struct bailey_error err = {0};

    assert_null(registry_find(name, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    if (strstr(err.text, text) == NULL || strstr(err.hint, hint) == NULL)
        fail_msg("%s: got '%s' (%s)", name, err.text, err.hint);
}

static void what_is_not_found_is_explained(void **state)
{
    (void)state;
    finds_nothing("brokn", "there is no connector 'brokn'", "did you mean 'broken'?");
    finds_nothing("quite-different", "there is no connector", "there are broken");
    finds_nothing("../broken", "there is no connector '../broken'", "");
    finds_nothing("", "there is no connector ''", "");
    finds_nothing("broken", "cannot load the connector 'broken': ", "");
    finds_nothing("Odd Name", "there is no connector 'Odd Name'", "");
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
        cmocka_unit_test(another_major_is_refused),    cmocka_unit_test(an_older_minor_has_null_callbacks),
        cmocka_unit_test(a_newer_minor_is_cut),        cmocka_unit_test(what_is_not_found_is_explained),
        cmocka_unit_test(names_are_sorted_and_single),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
