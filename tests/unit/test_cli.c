/* test_cli.c: arguments, exit codes, what goes to which output; and the URLs of copy. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/url.h"
#include "fake_connector.h"

/* ---- The command line ---- */

static char *out, *err;

static int capture(FILE **file, int fd)
{
    *file = tmpfile();
    assert_non_null(*file);
    int saved = dup(fd);
    assert_true(saved >= 0);
    assert_true(dup2(fileno(*file), fd) == fd);
    return saved;
}

static char *release(FILE *file, int fd, int saved)
{
    static const size_t room = 1 << 16;
    char *data = calloc(1, room);

    assert_non_null(data);
    dup2(saved, fd);
    close(saved);
    rewind(file);
    size_t len = fread(data, 1, room - 1, file);
    data[len] = '\0';
    fclose(file);
    return data;
}

/* Run `bailey ARGUMENTS` (separated by blanks); its exit code. */
static int bailey(const char *arguments)
{
    char line[512], *argv[16], *rest = line;
    FILE *out_file, *err_file;
    int argc = 0;

    snprintf(line, sizeof line, "bailey %s", arguments);
    for (char *word; argc < 15 && (word = strsep(&rest, " ")) != NULL;)
        if (*word != '\0')
            argv[argc++] = word;
    argv[argc] = NULL;
    fflush(stdout);
    fflush(stderr);
    free(out);
    free(err);
    int out_saved = capture(&out_file, STDOUT_FILENO), err_saved = capture(&err_file, STDERR_FILENO);
    int code = cli_main(argc, argv);
    out = release(out_file, STDOUT_FILENO, out_saved);
    err = release(err_file, STDERR_FILENO, err_saved);
    return code;
}

static void says(const char *where, const char *expected)
{
    if (strstr(where, expected) == NULL)
        fail_msg("expected '%s' in '%s'", expected, where);
}

static void help_is_printed(void **state)
{
    (void)state;
    assert_int_equal(bailey("--version"), 0);
    says(out, "bailey 0.");
    assert_int_equal(bailey("help"), 0);
    for (size_t i = 0; commands[i] != NULL; i++)
        says(out, commands[i]->name);
    assert_int_equal(bailey("--help"), 0);
    says(out, "connectors");
    for (size_t i = 0; commands[i] != NULL; i++) {
        char line[64];
        snprintf(line, sizeof line, "help %s", commands[i]->name);
        assert_int_equal(bailey(line), 0);
        says(out, commands[i]->usage);
        snprintf(line, sizeof line, "%s --help", commands[i]->name);
        assert_int_equal(bailey(line), 0);
        says(out, commands[i]->help);
        assert_string_equal(err, "");
    }
}

static void wrong_usage_is_2_and_names_the_nearest(void **state)
{
    (void)state;
    assert_int_equal(bailey(""), 2);
    assert_string_equal(out, "");
    says(err, "connectors");
    assert_int_equal(bailey("chekc x"), 2);
    says(err, "bailey: unknown command chekc; did you mean check?\n");
    assert_int_equal(bailey("--versoin"), 2);
    says(err, "did you mean --version?");
    assert_int_equal(bailey("xyzzy"), 2);
    says(err, "unknown command xyzzy\n");
    assert_int_equal(bailey("help chekc"), 2);
    says(err, "did you mean check?");
    assert_int_equal(bailey("check"), 2);
    says(err, "an argument is missing\n    usage: bailey check FILE");
    assert_int_equal(bailey("check a b"), 2);
    says(err, "one argument too many: b\n");
    assert_int_equal(bailey("check --strcit a"), 2);
    says(err, "unknown flag --strcit; did you mean --strict?");
    assert_int_equal(bailey("check --strict=yes a"), 2);
    says(err, "--strict takes no value");
    assert_int_equal(bailey("copy --count"), 2);
    says(err, "--count needs a value");
    assert_int_equal(bailey("copy a b --count 0"), 2);
    says(err, "--count needs a number");
    assert_int_equal(bailey("copy a b --count=-1"), 2);
    assert_int_equal(bailey("copy a b --idle 5"), 2);
    says(err, "--idle needs a duration");
    assert_int_equal(bailey("copy a b"), 2);
    says(err, "a: this is no URL");
    assert_int_equal(bailey("copy nope://u:geheim@h/x?password=geheim b"), 2);
    says(err, "nope://u:***@h/x: no connector has URLs that begin with nope://");
    assert_null(strstr(err, "geheim"));
    assert_int_equal(bailey("connectors nope"), 2);
    says(err, "there is no connector 'nope'");
    assert_int_equal(bailey("check a://u:geheim@h b://u:geheim@h"), 2);
    assert_null(strstr(err, "geheim"));
}

static void check_reports_a_file(void **state)
{
    char path[] = "/tmp/bailey-cli-XXXXXX", line[128];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "worker: 1\n", 10), 10);
    close(fd);
    snprintf(line, sizeof line, "check %s", path);
    assert_int_equal(bailey(line), 2);
    says(err, ":1:1: error: unknown option 'worker' of the file\n    hint: did you mean 'workers'?\n");
    assert_string_equal(out, "");
    snprintf(line, sizeof line, "check --json -- %s", path);
    assert_int_equal(bailey(line), 2);
    says(out, "{\"version\":1,\"file\":\"/tmp/bailey-cli-");
    says(out,
         "\"valid\":false,\"errors\":3,\"warnings\":0,\"findings\":[{\"severity\":\"error\",\"line\":1,\"column\":1,");
    assert_string_equal(err, "");
    snprintf(line, sizeof line, "explain %s", path);
    assert_int_equal(bailey(line), 2);
    snprintf(line, sizeof line, "run %s", path);
    assert_int_equal(bailey(line), 2);
    unlink(path);
    snprintf(line, sizeof line, "check %s", path);
    assert_int_equal(bailey(line), 2);
    says(err, "cannot read the file: No such file or directory");
}

static void connectors_as_json(void **state)
{
    (void)state;
    assert_int_equal(bailey("connectors --json"), 0);
    says(out, "{\"version\":1,\"connectors\":[");
    assert_int_equal(bailey("connectors --schema"), 0);
    says(out, "\"$schema\": \"https://json-schema.org/draft/2020-12/schema\"");
    assert_int_equal(bailey("connectors --markdown"), 0);
    says(out, "# Options\n");
}

/* ---- URLs ---- */

static const char *const schemes[] = {"fake", NULL};
static struct bailey_url_form form = {.schemes = schemes, .broker_option = "url", .source_path_option = "topic"};
static struct bailey_connector with_urls;

static const struct bailey_connector *find(const char *scheme, size_t len, struct bailey_error *error)
{
    with_urls = fake_connector;
    with_urls.url = &form;
    if (len == 4 && strncmp(scheme, "fake", 4) == 0)
        return &with_urls;
    if (len == 5 && strncmp(scheme, "drain", 5) == 0)
        return &drain_connector;
    bailey_fail(error, BAILEY_ERR_CONFIG, "no such scheme");
    return NULL;
}

static void url_gives(const char *str, enum bailey_role role, const char *end, const char *broker, const char *unused)
{
    struct text yaml = {0}, rest = {0};
    struct bailey_error error = {0};
    struct url url;

    if (!url_parse(&url, str, role, find, &error))
        fail_msg("%s: %s", str, error.text);
    url_add_options(&url, role == BAILEY_SOURCE ? with_urls.source->options : with_urls.sink->options, &yaml);
    url_add_options(&url, with_urls.broker_options, &rest);
    assert_string_equal(yaml.data == NULL ? "" : yaml.data, end);
    assert_string_equal(rest.data == NULL ? "" : rest.data, broker);
    if (unused == NULL)
        assert_null(url_unused(&url));
    else
        assert_string_equal(url_unused(&url), unused);
    text_free(&yaml);
    text_free(&rest);
    url_fini(&url);
}

static void urls_become_options(void **state)
{
    (void)state;
    form.whole_url = false;
    url_gives("fake://h:1,i:2/t%20x", BAILEY_SOURCE, ", topic: \"t x\"", ", url: \"h:1,i:2\"", NULL);
    url_gives("fake://h", BAILEY_SINK, "", ", url: \"h\"", NULL);
    url_gives("fake://h/?topic=a&topic=b&start=latest", BAILEY_SOURCE, ", topic: [\"a\", \"b\"], start: \"latest\"",
              ", url: \"h\"", NULL);
    url_gives("fake://h?routing_key=%24%7Bkey%7D&exchange=a%22%0A%5C%2B+&password=p%26q%3D", BAILEY_SINK,
              ", exchange: \"a\\\"\\u000a\\\\++\", routing_key: \"${key}\"", ", url: \"h\", password: \"p&q=\"", NULL);
    url_gives("fake://h?extra.a.b=1&extra.c=2", BAILEY_SINK, "",
              ", url: \"h\", extra: { \"a.b\": \"1\", \"c\": \"2\" }", NULL);
    url_gives("fake://h?declare=create", BAILEY_SINK, ", declare: \"create\"", ", url: \"h\"", NULL);
    url_gives("fake://h?declare=create&declare.queue_type=classic&declare.partitions=5", BAILEY_SINK,
              ", declare: { create: { \"queue_type\": \"classic\", \"partitions\": \"5\" } }", ", url: \"h\"", NULL);
    url_gives("fake://h?nope=1&extra=", BAILEY_SINK, "", ", url: \"h\", extra: \"\"", "nope");
    form.whole_url = true;
    url_gives("fake://u:p%40@h:5/%2f?exchange=e", BAILEY_SINK, ", exchange: \"e\"", ", url: \"fake://u:p%40@h:5/%2f\"",
              NULL);
    url_gives("fake://u:p%40@h:5/a/b%20c?start=latest", BAILEY_SOURCE, ", topic: \"/a/b c\", start: \"latest\"",
              ", url: \"fake://u:p%40@h:5\"", NULL);
    url_gives("fake://h/?topic=t", BAILEY_SOURCE, ", topic: \"t\"", ", url: \"fake://h/\"", NULL);
    form.whole_url = false;
}

static void url_fails(const char *str, enum bailey_role role, const char *expected)
{
    struct bailey_error error = {0};
    struct url url;

    if (url_parse(&url, str, role, find, &error))
        fail_msg("accepted: %s", str);
    if (strstr(error.text, expected) == NULL)
        fail_msg("%s: expected '%s', got '%s'", str, expected, error.text);
    url_fini(&url);
}

static void wrong_urls_are_refused(void **state)
{
    struct text many = {0};

    (void)state;
    url_fails("", BAILEY_SOURCE, "this is no URL");
    url_fails("://h", BAILEY_SOURCE, "this is no URL");
    url_fails("fake:h", BAILEY_SOURCE, "this is no URL");
    url_fails("other://h", BAILEY_SOURCE, "no such scheme");
    url_fails("drain://h", BAILEY_SOURCE, "the connector drain cannot receive");
    url_fails("fake://h?x", BAILEY_SINK, "has no value");
    url_fails("fake://h?=x", BAILEY_SINK, "has no value");
    url_fails("fake://h?x=%4", BAILEY_SINK, "% without two digits");
    url_fails("fake://h?x=%zz", BAILEY_SINK, "% without two digits");
    url_fails("fake://h?x=%00", BAILEY_SINK, "% without two digits");
    url_fails("fake://h/%", BAILEY_SOURCE, "% without two digits");
    form.whole_url = true;
    url_fails("fake://h/%", BAILEY_SOURCE, "% without two digits");
    form.whole_url = false;
    url_fails("fake://h/t", BAILEY_SINK, "has no path");
    text_add(&many, "fake://h?a=1");
    for (int i = 0; i < URL_OPTIONS_MAX; i++)
        text_add(&many, "&a=1");
    url_fails(many.data, BAILEY_SINK, "more than 64 options");
    for (int i = 0; i < URL_LEN_MAX; i++)
        text_add(&many, "x");
    url_fails(many.data, BAILEY_SINK, "longer than 8192 bytes");
    text_free(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_is_printed),      cmocka_unit_test(wrong_usage_is_2_and_names_the_nearest),
        cmocka_unit_test(check_reports_a_file), cmocka_unit_test(connectors_as_json),
        cmocka_unit_test(urls_become_options),  cmocka_unit_test(wrong_urls_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(out);
    free(err);
    return failed;
}
