/* The connector of docs/connector-guide.md: compiled as the guide says, loaded and run by a real gateway; and the guide's
 * excerpts are what is compiled. Runs in the source folder, as `make unit` does. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/gateway.h"
#include "host/registry.h"

#define SOURCE "docs/example-connector/lines.c"
#define GUIDE "docs/connector-guide.md"

enum { DEADLINE_MS = 20000, PATH_LEN = 512 };

static char folder[PATH_LEN];

static const char *in_folder(char path[static PATH_LEN], const char *name)
{
    snprintf(path, PATH_LEN, "%.400s/%.100s", folder, name);
    return path;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- Files ---- */

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    struct stat st;
    char *text;

    if (file == NULL)
        fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fstat(fileno(file), &st), 0);
    text = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)st.st_size, file), st.st_size);
    fclose(file);
    return text;
}

static void append(const char *name, const char *text)
{
    char path[PATH_LEN];
    FILE *file = fopen(in_folder(path, name), "a");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_content(const char *name, const char *expected)
{
    char path[PATH_LEN], *text = read_whole(in_folder(path, name));

    assert_string_equal(text, expected);
    free(text);
}

static bool exists(const char *name)
{
    char path[PATH_LEN];

    return access(in_folder(path, name), F_OK) == 0;
}

/* ---- A gateway ---- */

struct run {
    struct config *config;
    struct gateway *gateway;
};

static void run_start(struct run *run, const char *routes)
{
    struct text yaml = {0}, report = {0};
    struct config_counts counts = {0};
    struct bailey_error err = {0};
    char path[PATH_LEN];

    text_printf(&yaml, "workers: 1\nbrokers:\n  l: { connector: lines }\n  g: { connector: generate }\nroutes:\n%s",
                routes);
    run->config =
        config_load_text(yaml.data, yaml.len, in_folder(path, "bailey.yaml"), registry_find, &report, &counts);
    if (run->config == NULL)
        fail_msg("%s", report.data);
    run->gateway = gateway_start(run->config, &err);
    if (run->gateway == NULL)
        fail_msg("%s", err.text);
    text_free(&yaml);
    text_free(&report);
}

static void wait_until_done(struct run *run)
{
    struct pollfd done = {.fd = gateway_done_fd(run->gateway), .events = POLLIN};

    assert_int_equal(poll(&done, 1, DEADLINE_MS), 1);
}

static void run_stop(struct run *run, bool expected)
{
    assert_int_equal(gateway_stop(run->gateway), expected);
    config_free(run->config);
}

static struct route_status status_of(struct run *run, size_t route)
{
    struct route_status status;

    gateway_status(run->gateway, route, &status);
    return status;
}

#define UNTIL(condition)                            \
    do {                                            \
        int64_t deadline_ = now_ms() + DEADLINE_MS; \
        while (!(condition)) {                      \
            assert_true(now_ms() < deadline_);      \
            poll(NULL, 0, 5);                       \
        }                                           \
    } while (0)

static void copy_once(void)
{
    struct run run;

    run_start(&run, "  - { name: copy, from: { broker: l, file: in }, to: { broker: l, file: out } }\n");
    wait_until_done(&run);
    assert_int_equal(status_of(&run, 0).state, LANE_FINISHED);
    run_stop(&run, true);
}

/* ---- Tests ---- */

static void test_it_copies_every_line_in_order(void **state)
{
    struct text expected = {0};

    (void)state;
    for (int i = 0; i < 10000; i++)
        text_printf(&expected, "line %d%s\n", i, i % 7 ? "" : " with more behind it");
    text_add(&expected, "\n\nthe last line is a line, too");
    append("in", expected.data);
    copy_once();
    text_add(&expected, "\n");
    assert_content("out", expected.data);
    text_free(&expected);
}

static void test_it_goes_on_where_it_was(void **state)
{
    (void)state;
    append("in", "a\nb\n");
    copy_once();
    copy_once();
    assert_content("out", "a\nb\n");
    append("in", "c\n");
    copy_once();
    assert_content("out", "a\nb\nc\n");
}

static void test_what_is_no_line_is_refused(void **state)
{
    struct run run;

    (void)state;
    run_start(&run, "  - { name: refused, from: { broker: g, count: 3 }, to: { broker: l, file: out } }\n");
    UNTIL(status_of(&run, 0).refused[BAILEY_ERR_PERMANENT] >= 3);
    assert_int_equal(status_of(&run, 0).delivered, 0);
    assert_int_equal(status_of(&run, 0).unsettled, 3);
    gateway_drain(run.gateway);
    wait_until_done(&run);
    run_stop(&run, true);
    assert_content("out", "");
}

static void test_failures_are_told_and_lose_nothing(void **state)
{
    struct run run;

    (void)state;
    append("in", "a\nb\n");
    append("other", "x\n");
    run_start(&run, "  - { name: missing, from: { broker: l, file: none }, to: { broker: l, file: out } }\n"
                    "  - { name: full, from: { broker: l, file: in }, to: { broker: l, file: /dev/full } }\n"
                    "  - { name: good, from: { broker: l, file: other }, to: { broker: l, file: out } }\n");
    UNTIL(status_of(&run, 2).state == LANE_FINISHED);
    UNTIL(status_of(&run, 1).in_doubt == 4); /* once and again: it was opened anew */
    assert_int_equal(status_of(&run, 0).state, LANE_DOWN);
    assert_non_null(strstr(status_of(&run, 0).reason, "none: No such file"));
    assert_int_equal(status_of(&run, 1).delivered, 0);
    run_stop(&run, false);
    assert_content("in.done", ""); /* nothing was settled */
    assert_content("out", "x\n");
    copy_once();
    assert_content("out", "x\na\nb\n");
    assert_true(exists("in.done"));
}

/* Every block ```c of the guide stands in the source, word by word. */
static void test_the_guide_shows_what_is_compiled(void **state)
{
    char *guide = read_whole(GUIDE), *source = read_whole(SOURCE);
    int blocks = 0;

    (void)state;
    for (char *at = guide, *end; (at = strstr(at, "\n```c\n")) != NULL; at = end + 1) {
        at += strlen("\n```c\n");
        end = strstr(at, "\n```\n");
        assert_non_null(end);
        *end = '\0';
        if (strstr(source, at) == NULL)
            fail_msg("not in " SOURCE ":\n%s", at);
        blocks++;
    }
    assert_true(blocks >= 5);
    free(guide);
    free(source);
}

/* ---- Set-up ---- */

static int remove_files(void)
{
    static const char *const names[] = {"in", "in.done", "out", "out.done", "other", "other.done", "none.done"};
    char path[PATH_LEN];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_folder(path, names[i]));
    return 0;
}

static int after_test(void **state)
{
    (void)state;
    return remove_files();
}

/* Compile the connector into a folder of our own, and look for connectors there and in this build. */
static int build_example(void **state)
{
    const char *cc = getenv("CC"), *tmp = getenv("TMPDIR");
    char command[2 * PATH_LEN], paths[4 * PATH_LEN], program[PATH_LEN] = "";
    char *slash;

    (void)state;
    snprintf(folder, sizeof folder, "%.300s/bailey-example-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    if (mkdtemp(folder) == NULL || readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        return -1;
    snprintf(
        command, sizeof command,
        "%.100s -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -fPIC -shared -Iinclude -o '%.400s/lines.so' " SOURCE,
        cc == NULL || *cc == '\0' ? "cc" : cc, folder);
    if (system(command) != 0)
        return -1;
    for (int i = 0; i < 3; i++) /* BUILD/tests/unit/test_example → BUILD */
        if ((slash = strrchr(program, '/')) != NULL)
            *slash = '\0';
    snprintf(paths, sizeof paths, "%s:%s/connectors", folder, program);
    return setenv("BAILEY_CONNECTOR_PATH", paths, 1);
}

static int remove_example(void **state)
{
    char path[PATH_LEN];

    (void)state;
    unlink(in_folder(path, "lines.so"));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_it_copies_every_line_in_order, after_test),
        cmocka_unit_test_teardown(test_it_goes_on_where_it_was, after_test),
        cmocka_unit_test_teardown(test_what_is_no_line_is_refused, after_test),
        cmocka_unit_test_teardown(test_failures_are_told_and_lose_nothing, after_test),
        cmocka_unit_test(test_the_guide_shows_what_is_compiled),
    };

    return cmocka_run_group_tests(tests, build_example, remove_example);
}
