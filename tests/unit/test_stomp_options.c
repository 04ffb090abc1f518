/* What the option tables of STOMP cannot say: combinations that are refused or warned of, at their place in the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/findings.h"
#include "connectors/stomp/options.h"

static const struct bailey_connector *find(const char *name, struct bailey_error *err)
{
    static struct bailey_connector stomp;

    if (strcmp(name, "stomp") != 0) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "no such connector");
        return NULL;
    }
    stomp = (struct bailey_connector){.size = sizeof stomp,
                                      .abi_major = BAILEY_ABI_MAJOR,
                                      .name = "stomp",
                                      .broker_settings_size = sizeof(struct stomp_broker_settings),
                                      .broker_options = stomp_broker_options,
                                      .source = &stomp_source,
                                      .sink = &stomp_sink,
                                      .check = stomp_check};
    return &stomp;
}

/* A file with one route; `broker`, `from` and `to` are further options, each beginning with a comma, or "". */
static struct config *read_file(const char *broker, const char *from, const char *to, int lanes, struct text *said)
{
    char yaml[2048];
    struct findings findings;
    struct config *config;
    int len = snprintf(yaml, sizeof yaml,
                       "brokers:\n  s: { connector: stomp%s }\nroutes:\n  - { name: r, lanes: %d, from: { broker: s, "
                       "destination: /queue/a%s }, to: { broker: s%s } }\n",
                       broker, lanes, from, to);

    findings_init(&findings, "f.yaml");
    config = config_read_text(yaml, (size_t)len, "f.yaml", find, &findings);
    findings_print(&findings, said);
    findings_fini(&findings);
    return config;
}

static void says(const char *broker, const char *from, const char *to, int lanes, const char *expected)
{
    struct text said = {0};
    struct config *config = read_file(broker, from, to, lanes, &said);

    if (expected == NULL ? said.len > 0 : said.data == NULL || strstr(said.data, expected) == NULL)
        fail_msg("expected '%s', got: %s", expected ? expected : "nothing", said.data ? said.data : "nothing");
    if (said.data != NULL)
        assert_null(strstr(said.data, "SECRET"));
    config_free(config);
    text_free(&said);
}

#define URL ", url: \"stomp://h\""
#define QUEUE ", destination: /queue/b"

static void good_files(void **state)
{
    (void)state;
    says(URL, "", QUEUE, 1, NULL);
    says(", url: [\"stomp://h\", \"stomp+ssl://h2:1\", \"ws://h/ws\", \"wss://h/ws\"], login: u, passcode: SECRET", "",
         QUEUE, 2, NULL);
    says(", url: \"stomp://u:SECRET@h\"", ", subscription: s", QUEUE, 1, NULL);
    says(URL, "", ", destination: \"/queue/${header.where}\", persistent: as_message", 1, NULL);
    says(URL ", dialect: activemq", ", selector: \"a = 1\"", ", destination: /topic/t", 1, NULL);
}

static void brokers_that_are_refused(void **state)
{
    (void)state;
    says(", url: []", "", QUEUE, 1, "url is an empty list");
    says(", url: \"amqp://u:SECRET@h\"", "", QUEUE, 1, "must begin with stomp://");
    says(", url: \"stomp://u:SECRET@h\", login: x", "", QUEUE, 1, "stand in the URL and as options");
    says(URL ", passcode: \"SECRET\\n\"", "", QUEUE, 1, "passcode cannot hold an end of line");
    says(URL ", tls: { cert: a }", "", QUEUE, 1, "tls.cert and tls.key belong together");
    says(URL ", tls: { verify: false }", "", QUEUE, 1, "warning: tls.verify: false accepts any broker");
    says(URL ", heartbeat: 10ms", "", QUEUE, 1, "heartbeat must be between");
}

static void sources_that_are_refused(void **state)
{
    (void)state;
    says(URL, ", subscription: s", QUEUE, 2, "a durable subscription has one subscriber, the route has 2 lanes");
    says(URL, ", client_id: c", QUEUE, 2, "a client id belongs to one connection");
    says(URL ", dialect: rabbitmq", ", selector: x", QUEUE, 1, "rabbitmq has no selectors");
    says(URL, ", headers: { ack: auto }", QUEUE, 1, "the header ack cannot be given here");
}

static void sinks_that_are_refused(void **state)
{
    (void)state;
    says(URL, "", ", destination: \"\"", 1, "destination is empty");
    says(URL ", dialect: rabbitmq", "", ", destination: /topic/t", 1, "proves no route for /topic/t");
    says(URL ", dialect: rabbitmq", "", ", destination: /amq/queue/q", 1, "proves no route for /amq/queue/q");
    says(URL ", dialect: rabbitmq", "", ", destination: /queue/a/b", 1, "is no destination of RabbitMQ's");
    says(URL, "", QUEUE ", headers: { receipt: x }", 1, "the header receipt cannot be given here");
    says(URL, "", QUEUE ", persistent: false", 1, "warning: persistent: false loses confirmed messages");
}

/* `bailey explain` prints it as a part of what the route gives. */
static void what_is_given_away_is_kept_for_explain(void **state)
{
    struct text said = {0};
    struct config *config;

    (void)state;
    config = read_file(URL, "", ", destination: /topic/t, unroutable: accept, persistent: false", 1, &said);
    assert_non_null(config);
    assert_null(config->routes[0].from.warnings);
    assert_non_null(strstr(config->routes[0].to.warnings, "persistent: false loses confirmed messages"));
    assert_non_null(strstr(config->routes[0].to.warnings,
                           "; unroutable: accept counts messages as delivered that RabbitMQ routed to no queue"));
    config_free(config);
    text_free(&said);
}

static const struct bailey_map_entry exclusive = {"activemq.exclusive", "true"};

static void an_order_needs_a_single_consumer(void **state)
{
    static const struct {
        struct stomp_source_settings settings;
        unsigned lanes;
        const char *reason, *hint; /* NULL: it has an order */
    } cases[] = {
        {{.destination = "/queue/q", .exclusive = true}, 1, NULL, NULL},
        {{.destination = "/queue/q", .headers = {&exclusive, 1}}, 1, NULL, NULL},
        {{.destination = "/queue/q?consumer.exclusive=true"}, 1, NULL, NULL},
        {{.destination = "/topic/t", .subscription = "s"}, 1, NULL, NULL},
        {{.destination = "/queue/q", .exclusive = true}, 3, "3 lanes", "lanes: 1"},
        {{.destination = "/queue/q"}, 1, "other consumers", "exclusive: true"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int order = BAILEY_ORDER_KEY; order <= BAILEY_ORDER_STRICT; order++) {
            struct bailey_error err = {0};
            bool kept = stomp_keeps_order(NULL, &cases[i].settings, BAILEY_SOURCE, (enum bailey_order)order,
                                          cases[i].lanes, &err);

            assert_int_equal(kept, cases[i].reason == NULL);
            assert_true(kept || (strstr(err.text, cases[i].reason) != NULL && strstr(err.hint, cases[i].hint) != NULL));
        }
        assert_true(
            stomp_keeps_order(NULL, &cases[i].settings, BAILEY_SOURCE, BAILEY_ORDER_NONE, cases[i].lanes, NULL));
    }
    assert_true(stomp_keeps_order(NULL, NULL, BAILEY_SINK, BAILEY_ORDER_STRICT, 4, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files),
        cmocka_unit_test(brokers_that_are_refused),
        cmocka_unit_test(sources_that_are_refused),
        cmocka_unit_test(sinks_that_are_refused),
        cmocka_unit_test(what_is_given_away_is_kept_for_explain),
        cmocka_unit_test(an_order_needs_a_single_consumer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
