/* test_option.c: option tables by themselves: what makes a table wrong, and that no table of ours is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/option.h"
#include "config/schema.h"
#include "config/tables.h"
#include "fake_connector.h"
#include "host/registry.h"

static void table_is_wrong(struct bailey_option row, size_t size, bool templates, const char *expected)
{
    const struct bailey_option table[] = {row, {0}};
    struct bailey_error err = {0};

    if (option_table_check(table, size, templates, &err))
        fail_msg("accepted: %s", expected);
    if (strstr(err.text, expected) == NULL)
        fail_msg("expected '%s', got '%s'", expected, err.text);
}

static void a_wrong_row_is_found(void **state)
{
    static const char *const none[] = {NULL};
    static const struct bailey_option inner[] = {{.name = "i", .type = BAILEY_OPT_INT, .summary = "Inner."}, {0}};
    struct bailey_option good = {.name = "x", .type = BAILEY_OPT_INT, .unit = "things", .summary = "A thing."}, row;

    (void)state;
    assert_true(option_table_check((struct bailey_option[]){good, {0}}, 8, false, NULL));
    assert_true(option_table_check(NULL, 0, false, NULL));

    row = good, row.type = 0;
    table_is_wrong(row, 8, false, "unknown type");
    row = good, row.type = 99;
    table_is_wrong(row, 8, false, "unknown type");
    row = good, row.offset = 1;
    table_is_wrong(row, 8, false, "outside of the settings");
    row = good, row.offset = (size_t)-4;
    table_is_wrong(row, 8, false, "outside of the settings");
    row = good, row.summary = NULL;
    table_is_wrong(row, 8, false, "needs a summary");
    row = good, row.summary = "no full stop";
    table_is_wrong(row, 8, false, "needs a summary");
    row = good, row.unit = NULL;
    table_is_wrong(row, 8, false, "a number needs a unit");
    row = good, row.initial = "5s";
    table_is_wrong(row, 8, false, "its default is no valid value");
    row = good, row.initial = "5", row.min = 6, row.max = 9;
    table_is_wrong(row, 8, false, "its default is no valid value");
    row = good, row.min = 9, row.max = 6;
    table_is_wrong(row, 8, false, "min is above max");
    row = good, row.initial = "5", row.flags = BAILEY_OPT_REQUIRED;
    table_is_wrong(row, 8, false, "a required option with a default");
    row = good, row.type = BAILEY_OPT_ENUM;
    table_is_wrong(row, 8, false, "without choices");
    row.choices = none;
    table_is_wrong(row, 8, false, "without choices");
    row = good, row.type = BAILEY_OPT_TEMPLATE;
    table_is_wrong(row, 8, false, "templates are for sinks");
    row.initial = "${nope}";
    table_is_wrong(row, 8, true, "its default is no valid value");
    row = good, row.type = BAILEY_OPT_GROUP;
    table_is_wrong(row, 8, false, "a group without options");
    row.children = inner;
    table_is_wrong(row, 8, false, "option 'i': a number needs a unit");

    struct bailey_error err = {0};
    assert_false(option_table_check((struct bailey_option[]){good, good, {0}}, 8, false, &err));
    assert_non_null(strstr(err.text, "twice"));
}

static void must_be_sound(const struct bailey_option *table, size_t size, bool templates, const char *what)
{
    struct bailey_error err = {0};

    if (!option_table_check(table, size, templates, &err))
        fail_msg("%s: %s", what, err.text);
}

static void connector_is_sound(const struct bailey_connector *c)
{
    must_be_sound(c->broker_options, c->broker_settings_size, false, c->name);
    if (c->source != NULL)
        must_be_sound(c->source->options, c->source->settings_size, false, c->name);
    if (c->sink != NULL)
        must_be_sound(c->sink->options, c->sink->settings_size, true, c->name);
    assert_non_null(c->summary);
    assert_true(c->source != NULL || c->sink != NULL);
}

static void our_own_tables_are_sound(void **state)
{
    (void)state;
    must_be_sound(top_options, sizeof(struct top_settings), false, "the file");
    must_be_sound(route_options, sizeof(struct route_settings), true, "a route");
    connector_is_sound(&fake_connector);
    connector_is_sound(&drain_connector);
}

/* build/.../tests/unit/test_option → build/.../connectors */
static void use_built_connectors(void)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 32);

    assert_true(len > 0);
    path[len] = '\0';
    for (int i = 0; i < 3; i++)
        if (strrchr(path, '/') != NULL)
            *strrchr(path, '/') = '\0';
    strncat(path, "/connectors", 16);
    setenv("BAILEY_CONNECTOR_PATH", path, 1);
}

static void every_connectors_tables_are_sound(void **state)
{
    const char *const *names;

    (void)state;
    use_built_connectors();
    size_t count = registry_names(&names);
    if (count == 0)
        skip(); /* none is built yet */
    for (size_t i = 0; i < count; i++) {
        struct bailey_error err = {0};
        const struct bailey_connector *connector = registry_find(names[i], &err);
        if (connector == NULL)
            fail_msg("%s", err.text);
        assert_ptr_equal(registry_find(names[i], &err), connector);
        connector_is_sound(connector);
    }
}

static void the_reference_names_every_option(void **state)
{
    static const struct bailey_connector *const connectors[] = {&fake_connector, &drain_connector};
    static const char *const expected[] = {
        "| `drain_timeout` | duration between 0ms and 1h, default 10s | ",
        "| `log.level` | one of debug, info, warn, error, default info | ",
        "| `credit.bytes` | size between 4KiB and 64GiB, default 16MiB | ",
        "\n## fake\n\nA connector for tests.\n",
        "| `password` | text between 0 and 20 characters, secret, a !file is read again for each connection | ",
        "| `ca` | text, relative to the folder of the configuration | ",
        "| `declare.create.partitions` | number of partitions between 1 and 100, default 3 | ",
        "\n## drain\n",
    };
    struct text markdown = {0}, text = {0}, json = {0};

    (void)state;
    schema_add_markdown(&markdown, connectors, 2);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (strstr(markdown.data, expected[i]) == NULL)
            fail_msg("not in the reference: %s", expected[i]);
    schema_add_connector(&text, &fake_connector);
    assert_non_null(strstr(text.data, "  heartbeat: duration between 1s and 10m, default 30s\n"
                                      "      Silence after which the connection counts as lost.\n"));
    schema_add_connector_json(&json, &fake_connector);
    assert_non_null(strstr(json.data,
                           "{\"name\":\"start\",\"type\":\"choice\",\"required\":false,\"secret\":false,"
                           "\"advanced\":false,\"default\":\"earliest\",\"choices\":[\"earliest\",\"latest\"],"));
    text_free(&markdown);
    text_free(&text);
    text_free(&json);
}

/* Brackets that close in their order, outside of strings: what a generator gets wrong first. */
static void must_be_balanced(const char *json)
{
    char open[64];
    size_t depth = 0;
    bool string = false;

    for (const char *p = json; *p != '\0'; p++) {
        if (string) {
            p += *p == '\\';
            string = *p != '"';
            continue;
        }
        string = *p == '"';
        if (*p == '{' || *p == '[') {
            assert_true(depth < sizeof open);
            open[depth++] = *p;
        } else if (*p == '}' || *p == ']') {
            assert_true(depth > 0 && open[--depth] == (*p == '}' ? '{' : '['));
        } else if (*p == ',') {
            p += strspn(p + 1, " \n");
            assert_true(p[1] == '"' || p[1] == '{' || p[1] == '[');
        }
    }
    assert_int_equal(depth, 0);
    assert_false(string);
}

static void the_schema_holds_every_option(void **state)
{
    static const struct bailey_connector *const connectors[] = {&fake_connector, &drain_connector};
    static const char *const expected[] = {
        "\"title\": \"fake\"",
        "\"heartbeat\": {",
        "\"const\": \"drain\"",
        "\"partitions\": {",
        "\"minimum\": 1",
        "\"required\": [\"connector\", \"url\"]",
        "\"required\": [\"broker\", \"topic\"]",
        "\"required\": [\"from\", \"to\", \"name\"]",
        "\"required\": [\"brokers\", \"routes\"]",
    };
    struct text schema = {0};

    (void)state;
    schema_add_json(&schema, connectors, 2);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (strstr(schema.data, expected[i]) == NULL)
            fail_msg("not in the schema: %s", expected[i]);
    must_be_balanced(schema.data);
    text_free(&schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_row_is_found),
        cmocka_unit_test(our_own_tables_are_sound),
        cmocka_unit_test(every_connectors_tables_are_sound),
        cmocka_unit_test(the_reference_names_every_option),
        cmocka_unit_test(the_schema_holds_every_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
