/* test_probe.c: what connectors answer to `bailey check --connect`, and how it is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/connect.h"
#include "host/probe.h"

/* ---- A connector that answers by the name of what is asked for ---- */

struct end_settings {
    const char *name;
};

#define END(member) .offset = offsetof(struct end_settings, member)

static const struct bailey_option end_options[] = {
    {.name = "name", .type = BAILEY_OPT_STRING, END(name), .summary = "What is asked for."},
    {0},
};
static const struct bailey_option no_options[] = {{0}};

static struct {
    int opened, closed;
    bool refuse_broker;
} brokers;

static bool broker_open(void **broker, const void *settings, const char *name, const char *instance,
                        struct bailey_host *host, struct bailey_error *err)
{
    (void)settings, (void)name, (void)instance;
    if (brokers.refuse_broker) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "no such certificate");
        return bailey_hint(err, "Make one.");
    }
    brokers.opened++;
    *broker = host;
    return true;
}

static void broker_close(void *broker)
{
    (void)broker;
    brokers.closed++;
}

struct later {
    struct bailey_timer timer;
    struct bailey_probe *probe;
};

static void answer_later(struct bailey_timer *timer)
{
    struct later *later = timer->ctx;

    later->probe->found(later->probe, &(struct bailey_probe_row){.result = BAILEY_PROBE_OK, .what = "queue later"});
    later->probe->done(later->probe);
    free(later);
}

static void probe(void *broker, const void *end, struct bailey_probe *asked)
{
    const struct end_settings *settings = end;
    struct bailey_probe_row row = {.address = "there:1", .what = settings->name};

    assert_ptr_equal(broker, asked->host);
    if (strcmp(settings->name, "later") == 0) {
        struct later *later = calloc(1, sizeof *later);

        *later = (struct later){.timer = {.fire = answer_later, .ctx = later}, .probe = asked};
        bailey_timer_start(asked->host, &later->timer, 20);
        return;
    }
    if (strcmp(settings->name, "missing") == 0) {
        row.result = BAILEY_PROBE_MISSING;
        row.detail = "\x1b[31mnot there: amqp://u:geheim@h/\n";
        row.hint = "Make it.";
    } else if (strcmp(settings->name, "denied") == 0) {
        row.result = BAILEY_PROBE_DENIED;
        asked->grant(asked, "allow everything");
    }
    asked->found(asked, &row);
    asked->done(asked);
}

static const struct bailey_source source = {.settings_size = sizeof(struct end_settings), .options = end_options};
static const struct bailey_sink sink = {.settings_size = sizeof(struct end_settings), .options = end_options};

static const struct bailey_connector asked_connector = {
    .size = sizeof asked_connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .abi_minor = BAILEY_ABI_MINOR,
    .name = "asked",
    .summary = "A connector for tests.",
    .broker_options = no_options,
    .broker_open = broker_open,
    .broker_close = broker_close,
    .source = &source,
    .sink = &sink,
    .probe = probe,
};

static struct bailey_connector mute_connector;

static const struct bailey_connector *find(const char *name, struct bailey_error *err)
{
    (void)err;
    mute_connector = asked_connector;
    mute_connector.probe = NULL;
    mute_connector.name = "mute";
    return strcmp(name, "mute") == 0 ? &mute_connector : &asked_connector;
}

/* ---- Asking ---- */

static struct probe_report report;
static struct config *config;
static struct text shown;

static void ask(const char *yaml)
{
    struct text findings = {0};
    struct config_counts counts;
    struct bailey_error err = {0};

    brokers.opened = brokers.closed = 0;
    config = config_load_text(yaml, strlen(yaml), "probe.yaml", find, &findings, &counts);
    if (config == NULL)
        fail_msg("%s", findings.data);
    text_free(&findings);
    assert_true(probe_routes(config, &report, &err));
}

static int forget(void **state)
{
    (void)state;
    probe_report_fini(&report);
    config_free(config);
    text_free(&shown);
    brokers.refuse_broker = false;
    config = NULL;
    return 0;
}

#define ROUTE(name, from, to) \
    "  - { name: " name ", from: { broker: a, name: " from " }, to: { broker: a, name: " to " } }\n"
#define ONE_BROKER "brokers: { a: { connector: asked } }\nroutes:\n"

static void rows_stand_in_the_order_of_the_file(void **state)
{
    (void)state;
    ask(ONE_BROKER ROUTE("zebra", "later", "one") ROUTE("ant", "two", "later"));
    assert_int_equal(report.count, 4);
    assert_string_equal(report.rows[0].what, "queue later");
    assert_string_equal(report.rows[0].route->name, "zebra");
    assert_string_equal(report.rows[0].end_name, "from");
    assert_string_equal(report.rows[1].what, "one");
    assert_string_equal(report.rows[2].what, "two");
    assert_string_equal(report.rows[3].what, "queue later");
    assert_true(probe_report_good(&report));
    assert_int_equal(brokers.opened, 1); /* one broker, one connection */
    assert_int_equal(brokers.closed, 1);
}

static void what_is_missing_is_told_with_its_reason(void **state)
{
    (void)state;
    ask(ONE_BROKER ROUTE("r", "fine", "missing"));
    assert_false(probe_report_good(&report));
    assert_string_equal(report.rows[1].detail, "?[31mnot there: amqp://u:***@h/?");
    connect_add_table(&shown, &report);
    assert_string_equal(shown.data, "ROUTE  END   BROKER  ADDRESS  WHAT     RESULT   DETAIL\n"
                                    "r      from  a       there:1  fine     ok\n"
                                    "r      to    a       there:1  missing  missing  ?[31mnot there: amqp://u:***@h/?\n"
                                    "    hint: Make it.\n"
                                    "1 ok, 1 missing\n");
}

static void equal_grants_are_shown_once(void **state)
{
    (void)state;
    ask(ONE_BROKER ROUTE("r", "denied", "denied"));
    assert_int_equal(report.grant_count, 1);
    connect_add_json(&shown, &report);
    assert_non_null(strstr(shown.data,
                           ",\"connected\":false,\"ends\":[{\"route\":\"r\",\"end\":\"from\",\"broker\":\"a\","
                           "\"connector\":\"asked\",\"address\":\"there:1\",\"what\":\"denied\","
                           "\"result\":\"denied\",\"detail\":\"\",\"hint\":\"\"},"));
    assert_non_null(strstr(shown.data, "],\"grants\":[\"allow everything\"]"));
}

static void dead_letters_are_asked_about_too(void **state)
{
    (void)state;
    ask(ONE_BROKER "  - { name: r, from: { broker: a, name: in }, to: { broker: a, name: out }, dead_letter: { broker: "
                   "a, name: dead } }\n");
    assert_int_equal(report.count, 3);
    assert_string_equal(report.rows[2].end_name, "dead_letter");
    assert_string_equal(report.rows[2].what, "dead");
}

static void a_connector_that_cannot_tell_is_no_failure(void **state)
{
    (void)state;
    ask("brokers: { a: { connector: mute } }\nroutes:\n" ROUTE("r", "x", "y"));
    assert_int_equal(report.rows[0].result, BAILEY_PROBE_UNCHECKED);
    assert_true(probe_report_good(&report));
    assert_int_equal(brokers.opened, 0);
}

static void a_broker_that_cannot_be_set_up_is_refused(void **state)
{
    (void)state;
    brokers.refuse_broker = true;
    ask(ONE_BROKER ROUTE("r", "x", "y"));
    assert_int_equal(report.count, 2);
    assert_int_equal(report.rows[1].result, BAILEY_PROBE_REFUSED);
    assert_string_equal(report.rows[1].detail, "no such certificate");
    assert_string_equal(report.rows[1].hint, "Make one.");
    assert_int_equal(brokers.closed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(rows_stand_in_the_order_of_the_file, forget),
        cmocka_unit_test_teardown(dead_letters_are_asked_about_too, forget),
        cmocka_unit_test_teardown(what_is_missing_is_told_with_its_reason, forget),
        cmocka_unit_test_teardown(equal_grants_are_shown_once, forget),
        cmocka_unit_test_teardown(a_connector_that_cannot_tell_is_no_failure, forget),
        cmocka_unit_test_teardown(a_broker_that_cannot_be_set_up_is_refused, forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
