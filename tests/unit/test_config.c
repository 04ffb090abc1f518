/* test_config.c: every mistake that a file can hold, with the place that the message must name. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/findings.h"
#include "fail_alloc.h"
#include "fake_connector.h"

#define BROKERS "brokers:\n  a: { connector: fake, url: \"fake://h\" }\n"
#define ROUTES "routes:\n  - { name: r, from: { broker: a, topic: t }, to: { broker: a } }\n"
#define GOOD BROKERS ROUTES
/* Two lines; the third is the route's, whose `to:` begins at column 55. */
#define TO(options) BROKERS "routes:\n  - { name: r, from: { broker: a, topic: t }, to: { broker: a, " options " } }\n"

#define DEDUP(options, state)                                                                                   \
    BROKERS "routes:\n  - { name: r, dedup: { " options " }, from: { broker: a, topic: t }, to: { broker: a } " \
            "}\n" state
#define MEMORY "state: { store: memory, processes: one }\n"
#define SHARED(first, second)                                                                                \
    BROKERS "routes:\n  - { name: r, dedup: { id: \"${key}\", " first                                        \
            " }, from: { broker: a, topic: t }, to: { broker: a } }\n  - { name: q, lanes: 2, dedup: { id: " \
            "\"${topic}\", " second " }, from: { broker: a, topic: t }, to: { broker: a } }\n" MEMORY

static struct text report;
static struct config_counts counts;

static struct config *load_len(const char *yaml, size_t len)
{
    text_free(&report);
    return config_load_text(yaml, len, "f.yaml", fake_find, &report, &counts);
}

static struct config *load(const char *yaml)
{
    return load_len(yaml, strlen(yaml));
}

static void must_say(const char *expected)
{
    if (report.data == NULL || strstr(report.data, expected) == NULL)
        fail_msg("expected: %s\n     got: %s", expected, report.data == NULL ? "" : report.data);
}

static void must_load(const char *yaml)
{
    struct config *config = load(yaml);

    if (config == NULL)
        fail_msg("%s\n%s", yaml, report.data);
    assert_int_equal(counts.errors, 0);
    config_free(config);
}

struct mistake {
    const char *yaml, *says;
};

static const struct mistake mistakes[] = {
    /* the file as a whole */
    {"", "f.yaml:1:1: error: the file is empty\n    hint: it needs brokers: and routes:\n"},
    {"# only a comment\n", "f.yaml:1:1: error: the file is empty"},
    {"---\n...\n", "f.yaml:1:1: error: the file is empty"},
    {"\xef\xbb\xbf" GOOD, "f.yaml:1:1: error: the file begins with a byte order mark\n"},
    {"\xff\xfe" GOOD, "f.yaml:1:1: error: the file begins with a byte order mark of UTF-16\n"},
    {"just words\n", "f.yaml:1:1: error: the file is a text, not a mapping of options"},
    {"- a\n- b\n", "f.yaml:1:1: error: the file is a list, not a mapping of options"},
    {"workers: 2\n\x7f"
     "ELF\x01\n",
     "f.yaml:2:1: error: not YAML: "},
    {"workers: \"\xff\"\n", "f.yaml:1:11: error: not YAML: invalid leading UTF-8 octet"},
    {"workers: [1, 2\nbrokers: x\n", "f.yaml:2:8: error: not YAML: did not find expected ',' or ']'"},
    {"workers: 1\n\tlog: x\n", "f.yaml:2:1: error: a tab where YAML allows none\n    hint: indent with spaces"},
    {"log:\n\tlevel: info\n", "f.yaml:2:1: error: a tab where YAML allows none"},
    {GOOD "---\nworkers: 1\n", "f.yaml:5:1: error: a second document (---) in the file"},
    {"workers: 2\nworkers: 3\n" GOOD, "f.yaml:2:1: error: workers is given twice\n    hint: the first is at line 1\n"},
    {BROKERS "  a: { connector: fake, url: \"fake://i\" }\n" ROUTES, "f.yaml:3:3: error: a is given twice"},
    {"<<: { workers: 1 }\n" GOOD, "f.yaml:1:1: error: merge keys (<<) are not supported"},
    {"? [a]\n: 1\n" GOOD, "f.yaml:1:3: error: a name must be a text"},
    {"workers: !!int 3\n" GOOD, "f.yaml:1:10: error: unknown tag tag:yaml.org,2002:int"},
    {"workers: !x 3\n" GOOD, "f.yaml:1:10: error: unknown tag !x"},
    {"workers: *w\n" GOOD, "f.yaml:1:10: error: there is no anchor &w before this alias"},
    {"admin: &a { listen: [*a] }\n", "f.yaml:1:22: error: *a contains itself"},
    {"instance: \"a\\0b\"\n" GOOD, "f.yaml:1:11: error: a control character in a text"},
    {ROUTES, "f.yaml:1:1: error: the file needs 'brokers'"},
    {BROKERS, "f.yaml:1:1: error: the file needs 'routes'"},
    {"brokers:\n" ROUTES, "f.yaml:1:9: error: brokers must be a mapping, not empty"},
    {"brokers: [a]\n" ROUTES, "f.yaml:1:10: error: brokers must be a mapping, not a list"},
    {BROKERS "routes: {}\n", "f.yaml:3:9: error: routes must be a list, not a mapping"},
    {BROKERS "routes: []\n", "f.yaml:3:9: error: routes must be a list, not empty"},
    {BROKERS "routes: [1]\n", "f.yaml:3:10: error: a route must be a mapping of options"},

    /* the top */
    {"wokers: 2\n" GOOD, "f.yaml:1:1: error: unknown option 'wokers' of the file\n    hint: did you mean 'workers'?\n"},
    {"zzzzzzzz: 2\n" GOOD, "hint: there are brokers, routes, instance, workers, admin, log, drain_timeout, state\n"},
    {"workers: 0\n" GOOD,
     "f.yaml:1:10: error: workers must be between 1 and 256, got '0'\n    hint: remove the line to use "
     "the default, one a core\n"},
    {"workers: two\n" GOOD, "f.yaml:1:10: error: workers must be a whole number, got 'two'"},
    {"workers: 2x\n" GOOD, "f.yaml:1:10: error: workers must be a whole number, got '2x'\n    hint: units are k"},
    {"workers: 99999999999999999999\n" GOOD, "f.yaml:1:10: error: workers is too large for a whole number"},
    {"workers: [2]\n" GOOD, "f.yaml:1:10: error: workers must be a single value, not a list"},
    {"workers:\n" GOOD, "f.yaml:1:9: error: workers has no value"},
    {"workers: ~\n" GOOD, "f.yaml:1:10: error: workers has no value"},
    {"drain_timeout: 10\n" GOOD,
     "f.yaml:1:16: error: drain_timeout must be a duration, got '10'\n    hint: give a unit: ms, s, m, h or d"},
    {"drain_timeout: 10 s\n" GOOD, "f.yaml:1:16: error: drain_timeout must be a duration, got '10 s'\n    hint: units"},
    {"drain_timeout: -1s\n" GOOD, "f.yaml:1:16: error: drain_timeout must be a duration, got '-1s'"},
    {"drain_timeout: 2h\n" GOOD, "f.yaml:1:16: error: drain_timeout must be between 0ms and 1h, got '2h'"},
    {"instance: a b\n" GOOD, "f.yaml:1:11: error: instance is no valid name"},
    {"admin: {}\n" GOOD, "f.yaml:1:8: error: admin needs the option 'listen'"},
    {"admin:\n" GOOD, "f.yaml:1:7: error: admin must be a mapping of options, not empty"},
    {"admin: { listen: localhost }\n" GOOD, "f.yaml:1:18: error: listen must be ADDRESS:PORT"},
    {"admin: { listen: \":80\" }\n" GOOD, "f.yaml:1:18: error: listen must be ADDRESS:PORT"},
    {"admin: { listen: \"h:66000\" }\n" GOOD, "f.yaml:1:18: error: listen must be ADDRESS:PORT"},
    {"admin: { listen: \"::1:80\" }\n" GOOD, "f.yaml:1:18: error: listen must be ADDRESS:PORT"},
    {"admin: { listen: \"[::1:80\" }\n" GOOD, "f.yaml:1:18: error: listen must be ADDRESS:PORT"},
    {"log: { level: inof }\n" GOOD, "f.yaml:1:15: error: level must be debug, info, warn or error, got 'inof'\n"
                                    "    hint: did you mean info?\n"},
    {"log: { format: xml }\n" GOOD, "f.yaml:1:16: error: format must be text or json, got 'xml'"},
    {"log: text\n" GOOD, "f.yaml:1:6: error: log must be a mapping of options, not a text"},
    {"log: { colour: red }\n" GOOD, "f.yaml:1:8: error: unknown option 'colour' of log"},

    /* brokers */
    {"brokers:\n  a b: { connector: fake, url: \"fake://h\" }\n" ROUTES,
     "f.yaml:2:3: error: the broker's name is no valid"},
    {"brokers:\n  a: fake\n" ROUTES, "f.yaml:2:6: error: broker 'a' must be a mapping of options"},
    {"brokers:\n  a: { url: \"fake://h\" }\n" ROUTES, "f.yaml:2:6: error: broker 'a' needs the option 'connector'"},
    {"brokers:\n  a: { connector: fkae, url: \"fake://h\" }\n" ROUTES,
     "f.yaml:2:19: error: there is no connector 'fkae'\n    hint: did you mean 'fake'?\n"},
    {"brokers:\n  a: { connector: [fake], url: \"fake://h\" }\n" ROUTES,
     "f.yaml:2:19: error: connector must be a name"},
    {"brokers:\n  a: { connector: fake }\n" ROUTES,
     "f.yaml:2:6: error: broker 'a' needs the option 'url'\n    hint: Address"},
    {"brokers:\n  a: { connector: fake, url: \"fake://h\", hartbeat: 1s }\n" ROUTES,
     "f.yaml:2:42: error: unknown option 'hartbeat' of broker 'a'\n    hint: did you mean 'heartbeat'?"},
    {"brokers:\n  a: { connector: fake, url: \"fake://h\", heartbeat: 500ms }\n" ROUTES,
     "f.yaml:2:53: error: heartbeat must be between 1s and 10m, got '500ms'\n    hint: remove the line to use the "
     "default, "
     "30s\n"},
    {"brokers:\n  a: { connector: fake, url: \"${key}\" }\n" ROUTES, "f.yaml:2:31: error: url takes no template"},
    {"brokers:\n  a: { connector: fake, url: \"http://u:geheim@h\" }\n" ROUTES,
     "f.yaml:2:30: error: the url 'http://u:***@h' must begin with fake://"},
    {"brokers:\n  a: { connector: fake, url: \"fake://h\", extra: [x] }\n" ROUTES,
     "f.yaml:2:49: error: extra must be a mapping of names to values, not a list"},
    {"brokers:\n  a: { connector: fake, url: \"fake://h\", extra: { x.y: [1] } }\n" ROUTES,
     "f.yaml:2:56: error: x.y must be a single value, not a list"},
    {"brokers:\n  a: { connector: fake, url: \"fake://h\", password: aaaaaaaaaaaaaaaaaaaaaaa }\n" ROUTES,
     "f.yaml:2:52: error: password must have 0 to 20 characters, has 23"},

    /* the environment and files */
    {"instance: ${BAILEY_TEST_UNSET}\n" GOOD, "f.yaml:1:11: error: ${BAILEY_TEST_UNSET} is not set in the environment\n"
                                              "    hint: set it, or give a default: ${BAILEY_TEST_UNSET:-default}\n"},
    {"instance: \"gw-${BAILEY_TEST_UNSET}\"\n" GOOD, "f.yaml:1:15: error: ${BAILEY_TEST_UNSET} is not set"},
    {"instance: ${BAILEY\n" GOOD, "f.yaml:1:11: error: ${ without its }"},
    {"instance: ${9}\n" GOOD, "f.yaml:1:11: error: ${ is followed by no name"},
    {"instance: ${Bailey}\n" GOOD, "f.yaml:1:11: error: ${Bailey} is no name of the environment"},
    {"instance: !file /nonexistent/secret\n" GOOD,
     "f.yaml:1:11: error: cannot read !file /nonexistent/secret: No such file or directory"},
    {"instance: !file /\n" GOOD, "f.yaml:1:11: error: cannot read !file /: not a regular file"},
    {"instance: !file\n" GOOD, "f.yaml:1:11: error: cannot read !file : no path"},

    /* routes */
    {BROKERS "routes:\n  - { from: { broker: a, topic: t }, to: { broker: a } }\n",
     "f.yaml:4:5: error: the route needs the option 'name'"},
    {BROKERS "routes:\n  - { name: \"a/b\", from: { broker: a, topic: t }, to: { broker: a } }\n",
     "f.yaml:4:13: error: the route's name is no valid name"},
    {BROKERS "routes:\n  - name: r\n    from: { broker: a, topic: t }\n",
     "f.yaml:4:5: error: route 'r' has no 'to'\n    hint: as in to: { broker: NAME, ... }\n"},
    {BROKERS "routes:\n  - name: r\n    to: { broker: a }\n", "f.yaml:4:5: error: route 'r' has no 'from'"},
    {BROKERS "routes:\n  - { name: r, from: a, to: { broker: a } }\n", "f.yaml:4:22: error: from must be a mapping"},
    {BROKERS "routes:\n  - { name: r, from: { topic: t }, to: { broker: a } }\n",
     "f.yaml:4:22: error: 'from' of route 'r' needs the option 'broker'"},
    {GOOD "  - { name: r, from: { broker: a, topic: t }, to: { broker: a } }\n",
     "f.yaml:5:13: error: two routes are called 'r'\n    hint: the first is at line 4\n"},
    {BROKERS "routes:\n  - { name: r, from: { broker: aa, topic: t }, to: { broker: a } }\n",
     "f.yaml:4:32: error: there is no broker 'aa'"},
    {BROKERS "  shop: { connector: fake, url: \"fake://h\" }\nroutes:\n"
             "  - { name: r, from: { broker: shpo, topic: t }, to: { broker: a } }\n",
     "f.yaml:5:32: error: there is no broker 'shpo'\n    hint: did you mean 'shop'?\n"},
    {BROKERS "  d: { connector: drain }\nroutes:\n  - { name: r, from: { broker: d }, to: { broker: a } }\n",
     "f.yaml:5:32: error: the connector drain cannot receive"},
    {BROKERS "routes:\n  - { name: r, from: { broker: a }, to: { broker: a } }\n",
     "f.yaml:4:22: error: 'from' of route 'r' needs the option 'topic'"},
    {BROKERS "routes:\n  - { name: r, from: { broker: a, topic: [] }, to: { broker: a } }\n",
     "f.yaml:4:42: error: topic is an empty list"},
    {BROKERS "routes:\n  - { name: r, from: { broker: a, topic: \"${header.x}\" }, to: { broker: a } }\n",
     "f.yaml:4:43: error: topic takes no template"},
    {BROKERS "routes:\n  - { name: r, lanes: 5000, from: { broker: a, topic: t }, to: { broker: a } }\n",
     "f.yaml:4:23: error: lanes must be between 1 and 4096, got '5000'"},
    {BROKERS "routes:\n  - { name: r, credit: { bytes: 16MB }, from: { broker: a, topic: t }, to: { broker: a } }\n",
     "f.yaml:4:33: error: bytes must be a size, got '16MB'\n    hint: units are B, KiB, MiB or GiB"},
    {BROKERS "routes:\n  - { name: r, key: \"x${nope}\", from: { broker: a, topic: t }, to: { broker: a } }\n",
     "f.yaml:4:23: error: key: ${nope} is no value of a message"},
    {TO("routing_key: \"${topci}\""), "f.yaml:4:78: error: routing_key: ${topci} is no value of a message\n"
                                      "    hint: did you mean ${topic}?\n"},
    {TO("routing_key: \"${key\""), "f.yaml:4:78: error: routing_key: ${ without its }"},
    {TO("routing_key: \"${source.position}\""),
     "f.yaml:4:77: error: routing_key: messages of the connector fake have no ${source.position}"},
    {TO("exchange: \"x.${key}\""), "f.yaml:4:77: error: exchange takes no template"},
    {TO("persistent: yes"), "f.yaml:4:76: error: persistent must be true or false, got 'yes'"},
    {TO("max_size: 1"), "f.yaml:4:74: error: max_size must be between 1KiB and 1GiB, got '1'"},
    {TO("declare: maybe"), "f.yaml:4:73: error: declare must be assert, never or create, got 'maybe'"},
    {TO("declare: { never: {} }"), "f.yaml:4:75: error: declare must be assert, never, create, or create with arg"},
    {TO("declare: { create: { partition: 1 } }"), "f.yaml:4:85: error: unknown option 'partition' of create\n"
                                                  "    hint: did you mean 'partitions'?"},
    {TO("declare: { create: { partitions: 60 } }"), "f.yaml:4:73: error: too many partitions"},

    /* state and dedup */
    {GOOD "state: {}\n", "f.yaml:5:8: error: state needs the option 'store'"},
    {GOOD "state: { store: disk }\n", "error: store must be memory or rocksdb, got 'disk'"},
    {GOOD "state: { store: rocksdb }\n",
     "f.yaml:5:8: error: state needs the option 'path'\n    hint: as in state: { store: rocksdb, path: ./state }\n"},
    {GOOD "state: { store: memory, path: x }\n", "f.yaml:5:31: error: a store in memory has no path"},
    {GOOD "state: { store: memory, sync: often }\n", "f.yaml:5:31: error: sync is none of its values\n    hint: batch, "
                                                     "none, or a duration of 1ms to 60s such as 100ms\n"},
    {GOOD "state: { store: memory, sync: 2m }\n", "f.yaml:5:31: error: sync is none of its values"},
    {GOOD "state: { store: memory, processes: 2 }\n", "error: processes must be unknown, one or several, got '2'"},
    {DEDUP("id: \"${key}\"", ""),
     "f.yaml:4:23: error: dedup needs a store for its ids\n    hint: as in state: { store: "
     "rocksdb, path: ./state } at the top of the file\n"},
    {DEDUP("window: 1h", MEMORY), "error: "},
    {DEDUP("id: same", MEMORY), "f.yaml:4:29: error: this id is the same for all messages"},
    {DEDUP("id: \"${source.position}\"", MEMORY),
     "error: id: messages of the connector fake have no ${source.position}"},
    {DEDUP("id: \"${kye}\"", MEMORY), "error: id: ${kye} is no value of a message"},
    {DEDUP("id: \"${key}\", window: 1ms", MEMORY), "error: window must be between 1s and 366d, got '1ms'"},
    {DEDUP("id: \"${key}\", max: 10", MEMORY), "error: max must be between 1000 and 1000000000, got '10'"},
    {DEDUP("id: \"${key}\", scope: a/b", MEMORY), "error: the scope is no valid name"},
    {DEDUP("id: \"${key}\", on_store_failure: wait", MEMORY),
     "error: on_store_failure must be stop or pass, got 'wait'"},
    {SHARED("scope: s", "scope: s, window: 1h"), "error: another route has this scope with another window or max"},
};

static void every_mistake_names_its_place(void **state)
{
    size_t wrong = 0;

    (void)state;
    unsetenv("BAILEY_TEST_UNSET");
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct config *config = load(mistakes[i].yaml);
        if (config == NULL && counts.errors > 0 && strstr(report.data, mistakes[i].says) != NULL)
            continue;
        print_error("for:\n%sexpected: %s\ngot: %s\n", mistakes[i].yaml, mistakes[i].says,
                    config != NULL ? "it was accepted" : report.data);
        config_free(config);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

static void all_mistakes_are_reported_in_one_run_and_in_their_order(void **state)
{
    (void)state;
    assert_null(load("workers: 0\nadmni: {}\nbrokers:\n  a: { connector: fake }\n  b: { connector: nope }\n"
                     "routes:\n  - { name: r, from: { broker: x }, to: { broker: b, foo: 1 } }\n  - { name: r }\n"));
    assert_string_equal(report.data,
                        "f.yaml:1:10: error: workers must be between 1 and 256, got '0'\n"
                        "    hint: remove the line to use the default, one a core\n"
                        "f.yaml:2:1: error: unknown option 'admni' of the file\n    hint: did you mean 'admin'?\n"
                        "f.yaml:4:3: warning: no route uses the broker 'a'\n    hint: it is not connected to\n"
                        "f.yaml:4:6: error: broker 'a' needs the option 'url'\n    hint: Address of the broker.\n"
                        "f.yaml:5:19: error: there is no connector 'nope'\n    hint: did you mean 'fake'?\n"
                        "f.yaml:7:32: error: there is no broker 'x'\n    hint: it must be one of those under brokers:\n"
                        "f.yaml:8:5: error: route 'r' has no 'from'\n    hint: as in from: { broker: NAME, ... }\n"
                        "f.yaml:8:5: error: route 'r' has no 'to'\n    hint: as in to: { broker: NAME, ... }\n"
                        "f.yaml:8:13: error: two routes are called 'r'\n    hint: the first is at line 7\n");
    assert_int_equal(counts.errors, 8);
    assert_int_equal(counts.warnings, 1);
}

static void a_thousand_mistakes_are_counted_and_not_all_shown(void **state)
{
    struct text yaml = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        text_printf(&yaml, "x%d: 1\n", i);
    text_add(&yaml, GOOD);
    assert_null(load(yaml.data));
    assert_int_equal(counts.errors, 1000);
    must_say("f.yaml: 800 more findings are not shown\n");
    text_free(&yaml);
}

/* ---- Limits ---- */

static void a_file_over_16_mib_is_refused(void **state)
{
    size_t len = CONFIG_FILE_MAX + 1;
    char *yaml = malloc(len);

    (void)state;
    assert_non_null(yaml);
    memset(yaml, '#', len);
    assert_null(load_len(yaml, len));
    must_say("f.yaml:1:1: error: the file is larger than 16 MiB\n");
    free(yaml);
}

static void depth_ends_at_64(void **state)
{
    struct text yaml = {0};

    (void)state;
    for (int depth = 64; depth <= 65; depth++) { /* the file's own mapping is one level */
        text_add(&yaml, "x: ");
        for (int i = 1; i < depth; i++)
            text_add(&yaml, "[");
        for (int i = 1; i < depth; i++)
            text_add(&yaml, "]");
        text_add(&yaml, "\n" GOOD);
        assert_null(load(yaml.data));
        must_say(depth == 64 ? "f.yaml:1:1: error: unknown option 'x'"
                             : "f.yaml:1:67: error: nested deeper than 64 levels");
        text_free(&yaml);
    }
}

static void aliases_count_for_the_depth(void **state)
{
    struct text yaml = {0};

    (void)state;
    text_add(&yaml, "x: &x ");
    for (int i = 0; i < 40; i++)
        text_add(&yaml, "[");
    for (int i = 0; i < 40; i++)
        text_add(&yaml, "]");
    text_add(&yaml, "\ny: ");
    for (int i = 0; i < 40; i++)
        text_add(&yaml, "[");
    text_add(&yaml, "*x");
    for (int i = 0; i < 40; i++)
        text_add(&yaml, "]");
    text_add(&yaml, "\n");
    assert_null(load(yaml.data));
    must_say("f.yaml:2:44: error: nested deeper than 64 levels");
    text_free(&yaml);
}

static void an_alias_bomb_is_refused(void **state)
{
    (void)state;
    assert_null(load("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                     "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                     "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"));
    must_say("f.yaml:5:29: error: more than 100000 values, aliases counted as written out\n");
}

static void what_the_environment_adds_is_bounded(void **state)
{
    static char large[65536];
    struct text yaml = {0};

    (void)state;
    memset(large, 'x', sizeof large - 1);
    setenv("BAILEY_TEST_LARGE", large, 1);
    text_add(&yaml, "x: ");
    for (int i = 0; i < 17; i++)
        text_add(&yaml, "${BAILEY_TEST_LARGE}");
    text_add(&yaml, "\n");
    assert_null(load(yaml.data));
    must_say("f.yaml:1:324: error: with the value of ${BAILEY_TEST_LARGE} the text is longer than 1 MiB\n");
    text_free(&yaml);

    text_add(&yaml, "x:\n");
    for (int i = 0; i < 1025; i++)
        text_add(&yaml, "  - ${BAILEY_TEST_LARGE}\n");
    assert_null(load(yaml.data));
    must_say("f.yaml:1026:5: error: the environment and files (!file) give more than 64 MiB\n");
    text_free(&yaml);
    unsetenv("BAILEY_TEST_LARGE");
}

static void too_many_nodes_are_refused(void **state)
{
    struct text yaml = {0};

    (void)state;
    text_add(&yaml, "x: [");
    for (int i = 0; i < 100001; i++)
        text_add(&yaml, "1,");
    text_add(&yaml, "1]\n");
    assert_null(load(yaml.data));
    must_say("error: more than 100000 values");
    text_free(&yaml);
}

/* ---- What is read ---- */

static void defaults_are_those_of_the_tables(void **state)
{
    struct config *config = load(GOOD);

    (void)state;
    assert_non_null(config);
    assert_null(report.data == NULL || report.data[0] == '\0' ? NULL : report.data);
    assert_int_equal(config->drain_timeout_ms, 10000);
    assert_int_equal(config->log_level, BAILEY_LOG_INFO);
    assert_int_equal(config->log_format, CONFIG_LOG_TEXT);
    assert_null(config->admin_address);
    assert_true(config->workers >= 1);
    assert_string_equal(config->instance + strlen(config->instance) - 2, "-f");
    assert_int_equal(config->broker_count, 1);
    assert_int_equal(config->route_count, 1);

    const struct config_route *route = &config->routes[0];
    assert_string_equal(route->name, "r");
    assert_int_equal(route->lanes, 1);
    assert_int_equal(route->credit_messages, 10000);
    assert_int_equal(route->credit_bytes, 16 << 20);
    assert_null(route->key);
    assert_ptr_equal(route->from.broker, &config->brokers[0]);

    const struct fake_broker *broker = config->brokers[0].settings;
    assert_int_equal(broker->heartbeat_ms, 30000);
    const struct fake_source *source = route->from.settings;
    assert_int_equal(source->prefetch, 256);
    assert_int_equal(source->topic.count, 1);
    assert_string_equal(source->topic.items[0], "t");
    const struct fake_sink *sink = route->to.settings;
    assert_true(sink->persistent);
    assert_int_equal(sink->declare, BAILEY_DECLARE_ASSERT);
    assert_int_equal(sink->partitions, 3);
    assert_int_equal(sink->routing_key->slot, 0);
    assert_null(sink->type);
    assert_int_equal(route->to.template_count, 1);
    assert_ptr_equal(template_public(route->to.templates[0]), sink->routing_key);
    config_free(config);
}

static void every_value_arrives(void **state)
{
    struct config *config =
        load("instance: gw-1\nworkers: 3\nadmin: { listen: \"[::1]:0\" }\nlog: { level: debug, format: json }\n"
             "drain_timeout: 1500ms\nbrokers:\n"
             "  a: { connector: fake, url: \"fake://h\", heartbeat: 2m, ca: tls/ca.pem, extra: { a.b: 1, c: x } }\n"
             "routes:\n  - name: r\n    lanes: 2\n    credit: { messages: 5k, bytes: 1MiB }\n    key: "
             "\"${header.order-id}\"\n"
             "    from: { broker: a, topic: [t, \"^u.*\"], start: latest, prefetch: 7 }\n"
             "    to: { broker: a, exchange: x, routing_key: fixed, type: \"${topic}/${key}\", persistent: false,\n"
             "          max_size: 2048, declare: { create: { queue_type: classic } } }\n");

    (void)state;
    if (config == NULL)
        fail_msg("%s", report.data);
    assert_string_equal(config->instance, "gw-1");
    assert_int_equal(config->workers, 3);
    assert_string_equal(config->admin_address, "::1");
    assert_int_equal(config->admin_port, 0);
    assert_int_equal(config->log_level, BAILEY_LOG_DEBUG);
    assert_int_equal(config->log_format, CONFIG_LOG_JSON);
    assert_int_equal(config->drain_timeout_ms, 1500);

    const struct fake_broker *broker = config->brokers[0].settings;
    char folder[4096], path[4200];
    assert_non_null(getcwd(folder, sizeof folder));
    snprintf(path, sizeof path, "%s/tls/ca.pem", folder);
    assert_string_equal(broker->ca, path);
    assert_int_equal(broker->heartbeat_ms, 120000);
    assert_int_equal(broker->extra.count, 2);
    assert_string_equal(broker->extra.entries[0].name, "a.b");
    assert_string_equal(broker->extra.entries[1].value, "x");

    const struct config_route *route = &config->routes[0];
    assert_int_equal(route->credit_messages, 5000);
    assert_int_equal(route->credit_bytes, 1 << 20);
    assert_non_null(route->key);
    assert_false(template_is_constant(route->key));
    const struct fake_source *source = route->from.settings;
    assert_int_equal(source->start, 1);
    assert_string_equal(source->topic.items[1], "^u.*");
    const struct fake_sink *sink = route->to.settings;
    assert_true(bailey_bytes_is(sink->routing_key->constant, "fixed"));
    assert_int_equal(sink->routing_key->slot, -1);
    assert_int_equal(sink->type->slot, 0);
    assert_int_equal(route->to.template_count, 1);
    assert_false(sink->persistent);
    assert_int_equal(sink->declare, BAILEY_DECLARE_CREATE);
    assert_string_equal(sink->queue_type, "classic");
    assert_int_equal(sink->partitions, 3);
    config_free(config);
}

static void positions_are_allowed_where_the_source_has_them(void **state)
{
    (void)state;
    assert_null(load(BROKERS "  d: { connector: drain }\nroutes:\n  - { name: r, from: { broker: a, topic: t }, "
                             "key: \"${source.position}\", to: { broker: d } }\n"));
    must_say("f.yaml:5:52: error: key: messages of the connector fake have no ${source.position}");
}

static void aliases_share_values(void **state)
{
    struct config *config =
        load(BROKERS "routes:\n  - { name: r, from: &f { broker: a, topic: t }, to: { broker: a } }\n"
                     "  - { name: s, from: *f, to: { broker: a } }\n");

    (void)state;
    if (config == NULL)
        fail_msg("%s", report.data);
    const struct fake_source *source = config->routes[1].from.settings;
    assert_string_equal(source->topic.items[0], "t");
    config_free(config);
}

static void warnings_do_not_stop(void **state)
{
    struct config *config =
        load(BROKERS "  d: { connector: drain }\nroutes:\n"
                     "  - { name: r, lanes: 9, from: { broker: a, topic: t }, to: { broker: a } }\n");

    (void)state;
    assert_non_null(config);
    assert_int_equal(counts.errors, 0);
    assert_int_equal(counts.warnings, 2);
    must_say("f.yaml:3:3: warning: no route uses the broker 'd'");
    must_say("f.yaml:5:32: warning: more lanes than the fake can feed");
    config_free(config);
}

static void dedup_has_its_defaults_and_says_what_it_gives_away(void **state)
{
    struct config *config = load(DEDUP("id: \"${key}\"", "state: { store: memory }\n"));

    (void)state;
    assert_non_null(config);
    must_say("warning: the ids of 'r' are in memory: they are forgotten when the process ends");
    must_say("warning: the ids of 'r' are known to this process only");
    assert_int_equal(counts.warnings, 2);
    assert_int_equal(config->scope_count, 1);
    assert_string_equal(config->scopes[0].name, "route.r");
    assert_int_equal(config->scopes[0].window_ms, 86400000);
    assert_int_equal(config->scopes[0].max, 10000000);
    assert_false(config->routes[0].dedup->pass_on_failure);
    config_free(config);

    config = load(DEDUP("id: \"${key}\", on_store_failure: pass",
                        "state: { store: rocksdb, path: s, sync: 100ms, processes: several }\n"));
    assert_non_null(config);
    assert_int_equal(counts.warnings, 0);
    assert_int_equal(config->state.store, CONFIG_STATE_ROCKSDB);
    assert_int_equal(config->state.path[0], '/');
    assert_int_equal(config->state.sync_ms, 100);
    assert_int_equal(config->state.processes, CONFIG_PROCESSES_SEVERAL);
    assert_true(config->routes[0].dedup->pass_on_failure);
    config_free(config);
}

static void routes_share_a_scope_by_its_name(void **state)
{
    struct config *config = load(SHARED("scope: s", "scope: s"));

    (void)state;
    assert_non_null(config);
    assert_int_equal(config->scope_count, 1);
    assert_string_equal(config->scopes[0].name, "scope.s");
    assert_int_equal(config->scopes[0].lanes, 3);
    config_free(config);
    config = load(SHARED("scope: q", "window: 1h")); /* the second route's own is another one, whatever it is called */
    assert_non_null(config);
    assert_int_equal(config->scope_count, 2);
    assert_int_equal(config->routes[1].dedup->scope, 1);
    config_free(config);
}

/* ---- The environment and secrets ---- */

static void the_environment_is_substituted_once(void **state)
{
    setenv("BAILEY_TEST_A", "${key}$${BAILEY_TEST_B}", 1);
    setenv("BAILEY_TEST_EMPTY", "", 1);
    struct config *config = load("instance: a${BAILEY_TEST_UNSET:-b}${BAILEY_TEST_EMPTY:-c}${BAILEY_TEST_EMPTY}\n" TO(
        "exchange: \"${BAILEY_TEST_A}-$${x}-$\", routing_key: \"${BAILEY_TEST_A}\", type: "
        "\"$${y}${key:-${BAILEY_TEST_UNSET:-z}}\""));

    (void)state;
    if (config == NULL)
        fail_msg("%s", report.data);
    assert_string_equal(config->instance, "abc");
    const struct fake_sink *sink = config->routes[0].to.settings;
    assert_string_equal(sink->exchange, "${key}$${BAILEY_TEST_B}-${x}-$");
    assert_true(bailey_bytes_is(sink->routing_key->constant, "${key}$${BAILEY_TEST_B}"));
    assert_int_equal(sink->type->slot, 0);
    config_free(config);
}

static void what_the_environment_gives_is_never_printed(void **state)
{
    (void)state;
    setenv("BAILEY_TEST_SECRET", "hunter2", 1);
    assert_null(load("workers: ${BAILEY_TEST_SECRET}\nlog: { level: \"${BAILEY_TEST_SECRET}\" }\n"
                     "brokers:\n  a: { connector: \"${BAILEY_TEST_SECRET}\", url: \"fake://h\" }\n"
                     "  b: { connector: fake, url: \"http://user:hun/t@er2${BAILEY_TEST_SECRET}@host\" }\n"
                     "  c: { connector: fake, url: \"fake://h\", password: [hunter2] }\n"
                     "  d: { connector: fake, url: \"fake://h\", heartbeat: \"${BAILEY_TEST_SECRET}\" }\n"
                     "routes:\n  - { name: \"${BAILEY_TEST_SECRET}!\", from: { broker: \"${BAILEY_TEST_SECRET}\" },\n"
                     "      to: { broker: c, routing_key: \"${x}${BAILEY_TEST_SECRET}\" } }\n"));
    must_say("f.yaml:1:10: error: workers must be a whole number, got '${BAILEY_TEST_SECRET}'");
    if (strstr(report.data, "hunter2") != NULL || strstr(report.data, "er2") != NULL)
        fail_msg("a secret in: %s", report.data);
}

static void write_file(const char *path, const char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static void files_are_read_beside_the_configuration(void **state)
{
    char folder[] = "/tmp/bailey-test-XXXXXX", path[64], secret[64], large[64];

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/b.yaml", folder);
    snprintf(secret, sizeof secret, "%s/secret", folder);
    snprintf(large, sizeof large, "%s/large", folder);
    write_file(secret, "pa$${ss}\r\n\n", 11);
    const char *yaml = "brokers:\n  a: { connector: fake, url: \"fake://h\", password: !file secret }\n" ROUTES;
    write_file(path, yaml, strlen(yaml));

    text_free(&report);
    struct config *config = config_load(path, fake_find, &report, &counts);
    if (config == NULL)
        fail_msg("%s", report.data);
    const struct fake_broker *broker = config->brokers[0].settings;
    assert_string_equal(broker->password.value, "pa$${ss}\r\n"); /* one newline less, and nothing expanded */
    assert_int_equal(strcmp(config->instance + strlen(config->instance) - 2, "-b"), 0);
    config_free(config);

    char *megabyte = calloc(1, (1 << 20) + 1);
    memset(megabyte, 'x', (1 << 20) + 1);
    write_file(large, megabyte, (1 << 20) + 1);
    free(megabyte);
    yaml = "instance: !file large\nworkers: !file secret\n" GOOD;
    write_file(path, yaml, strlen(yaml));
    text_free(&report);
    assert_null(config_load(path, fake_find, &report, &counts));
    must_say(":1:11: error: cannot read !file large: larger than 1 MiB");
    must_say(":2:10: error: workers must be a whole number, got 'secret'");
    assert_null(strstr(report.data, "pa$"));
    unlink(large);
    unlink(secret);
    unlink(path);
    rmdir(folder);
}

static void a_file_that_cannot_be_read_is_reported(void **state)
{
    (void)state;
    text_free(&report);
    assert_null(config_load("/nonexistent/x.yaml", fake_find, &report, &counts));
    must_say("/nonexistent/x.yaml: error: cannot read the file: No such file or directory\n");
    text_free(&report);
    assert_null(config_load("/", fake_find, &report, &counts));
    must_say("/: error: cannot read the file: Is a directory\n");
}

static void findings_as_json(void **state)
{
    struct findings findings;
    struct text json = {0};

    (void)state;
    findings_init(&findings, "f.yaml");
    assert_null(config_read_text("workers: \"\\\"\"\n" GOOD, strlen("workers: \"\\\"\"\n" GOOD), "f.yaml", fake_find,
                                 &findings));
    findings_json(&findings, &json);
    assert_string_equal(json.data,
                        "[{\"severity\":\"error\",\"line\":1,\"column\":10,\"text\":\"workers must be a whole "
                        "number, got '\\\"'\",\"hint\":\"remove the line to use the default, one a core\"}]");
    text_free(&json);
    findings_fini(&findings);
}

/* ---- Memory ---- */

static const char all_at_once[] =
    "instance: x${BAILEY_TEST_UNSET:-y}\nadmin: { listen: \"127.0.0.1:0\" }\nbrokers:\n"
    "  a: &a { connector: fake, url: \"fake://h\", ca: c.pem, extra: { k: v } }\n  b: *a\n"
    "routes:\n  - { name: r, key: \"${key:-x}\", from: { broker: a, topic: [t, u] },\n"
    "      to: { broker: b, type: \"${key}$${${topic}\", routing_key: \"${route}\" } }\n"
    "  - { name: s, from: { broker: a, topic: t }, to: { broker: b } }\n";

static void every_allocation_fails_in_turn(const char *yaml, bool all_after)
{
    struct text room = {0};
    size_t nth, total;

    assert_true(text_reserve(&room, 1 << 16)); /* so that only the loading itself allocates */
    fail_alloc_arm(0, false);
    struct config *config = config_load_text(yaml, strlen(yaml), "f.yaml", fake_find, &room, &counts);
    total = fail_alloc_disarm();
    bool valid = config != NULL;
    config_free(config);
    assert_true(total > 10);

    for (nth = 1; nth <= total; nth++) {
        room.len = 0;
        fail_alloc_arm(nth, all_after);
        config = config_load_text(yaml, strlen(yaml), "f.yaml", fake_find, &room, &counts);
        config_free(config);
        size_t seen = fail_alloc_disarm();
        if (fail_alloc_balance() != 0)
            fail_msg("allocation %zu of %zu: %ld blocks leaked", nth, total, fail_alloc_balance());
        assert_true(seen >= nth);
        if (valid && config != NULL)
            continue; /* libc went on without, as qsort does */
        assert_true(counts.errors > 0);
        room.data[room.len] = '\0';
        assert_non_null(strstr(room.data, "error: "));
    }
    text_free(&room);
}

static void loading_survives_every_lack_of_memory(void **state)
{
    (void)state;
    if (!fail_alloc_works())
        skip();
    must_load(all_at_once);
    every_allocation_fails_in_turn(all_at_once, false);
    every_allocation_fails_in_turn(all_at_once, true);
    every_allocation_fails_in_turn(SHARED("scope: s", "scope: s"), false);
    every_allocation_fails_in_turn("workers: 0\nwokers: 1\nlog: { level: x }\n" GOOD, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_names_its_place),
        cmocka_unit_test(all_mistakes_are_reported_in_one_run_and_in_their_order),
        cmocka_unit_test(a_thousand_mistakes_are_counted_and_not_all_shown),
        cmocka_unit_test(a_file_over_16_mib_is_refused),
        cmocka_unit_test(depth_ends_at_64),
        cmocka_unit_test(aliases_count_for_the_depth),
        cmocka_unit_test(an_alias_bomb_is_refused),
        cmocka_unit_test(too_many_nodes_are_refused),
        cmocka_unit_test(what_the_environment_adds_is_bounded),
        cmocka_unit_test(defaults_are_those_of_the_tables),
        cmocka_unit_test(every_value_arrives),
        cmocka_unit_test(positions_are_allowed_where_the_source_has_them),
        cmocka_unit_test(aliases_share_values),
        cmocka_unit_test(warnings_do_not_stop),
        cmocka_unit_test(dedup_has_its_defaults_and_says_what_it_gives_away),
        cmocka_unit_test(routes_share_a_scope_by_its_name),
        cmocka_unit_test(the_environment_is_substituted_once),
        cmocka_unit_test(what_the_environment_gives_is_never_printed),
        cmocka_unit_test(files_are_read_beside_the_configuration),
        cmocka_unit_test(a_file_that_cannot_be_read_is_reported),
        cmocka_unit_test(findings_as_json),
        cmocka_unit_test(loading_survives_every_lack_of_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    text_free(&report);
    return failed;
}
