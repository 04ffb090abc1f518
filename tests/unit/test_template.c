/* test_template.c: what a template is filled with, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "message/pool.h"
#include "message/template.h"

static struct arena *arena;
static struct bailey_pool *pool;
static struct bailey_message *msg;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    pool = message_pool_new();
    msg = message_new(pool);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    bailey_message_unref(msg);
    message_pool_free(pool);
    arena_free(arena);
    return 0;
}

static struct template *parse(const char *text)
{
    struct bailey_error err = {0};
    struct template *tmpl = template_parse(arena, text, NULL, &err);

    if (tmpl == NULL)
        fail_msg("%s: %s", text, err.text);
    return tmpl;
}

static struct bailey_bytes fill(const char *text)
{
    struct bailey_error err = {0};
    struct bailey_bytes result = BAILEY_NULL_BYTES;

    if (!template_fill(parse(text), msg, "orders", &result, &err))
        fail_msg("%s: %s", text, err.text);
    return result;
}

static void gives(const char *text, const char *expected)
{
    struct bailey_bytes result = fill(text);

    if (!bailey_bytes_is(result, expected))
        fail_msg("%s gave '%.*s', not '%s'", text, (int)result.len, (const char *)result.data, expected);
}

static void fails(const char *text, const char *expected)
{
    struct bailey_error err = {0};
    struct bailey_bytes result;

    assert_false(template_fill(parse(text), msg, "orders", &result, &err));
    assert_int_equal(err.kind, BAILEY_ERR_PERMANENT);
    if (strstr(err.text, expected) == NULL)
        fail_msg("%s: expected '%s', got '%s'", text, expected, err.text);
}

static void refused(const char *text, size_t at, const char *expected, const char *hint)
{
    struct bailey_error err = {0};
    size_t error_at = 999;

    assert_null(template_parse(arena, text, &error_at, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    assert_int_equal(error_at, at);
    if (strstr(err.text, expected) == NULL || strstr(err.hint, hint) == NULL)
        fail_msg("%s: expected '%s' (%s), got '%s' (%s)", text, expected, hint, err.text, err.hint);
}

static void set_headers(struct bailey_header *headers, uint32_t count)
{
    msg->headers = headers;
    msg->header_count = count;
}

static struct bailey_header header(const char *name, struct bailey_value value)
{
    return (struct bailey_header){.name = bailey_bytes_of(name), .value = value};
}

static void constants_need_no_message(void **state)
{
    (void)state;
    assert_true(template_is_constant(parse("")));
    assert_true(bailey_bytes_is(template_constant(parse("")), ""));
    assert_true(bailey_bytes_is(template_constant(parse("orders.$.{}$")), "orders.$.{}$"));
    assert_true(bailey_bytes_is(template_constant(parse("$${key}-$${")), "${key}-${"));
    assert_true(bailey_bytes_is(template_constant(parse("\x01{key}")), "${key}"));
    assert_int_equal(template_public(parse("x"))->slot, -1);
    assert_false(template_is_constant(parse("${route}")));
}

static void the_public_part_leads_back(void **state)
{
    struct template *tmpl = parse("${key}");

    (void)state;
    assert_ptr_equal(template_of(template_public(tmpl)), tmpl);
}

static void a_single_value_is_not_copied(void **state)
{
    (void)state;
    msg->key = bailey_message_copy(msg, "k-1", 3);
    assert_ptr_equal(fill("${key}").data, msg->key.data);
    gives("${key}", "k-1");
}

static void every_name_gives_its_value(void **state)
{
    (void)state;
    msg->key = bailey_bytes_of("k");
    msg->body = bailey_bytes_of("abc");
    msg->message_id = bailey_bytes_of("m-7");
    msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
    msg->timestamp_ms = 1700000000123;
    msg->position = 99;
    gives("${source.position}", "99");
    msg->origin = (struct bailey_origin){.topic = bailey_bytes_of("t"),
                                         .queue = bailey_bytes_of("q"),
                                         .exchange = BAILEY_EMPTY_BYTES,
                                         .routing_key = bailey_bytes_of("r.k"),
                                         .destination = bailey_bytes_of("/queue/d"),
                                         .partition = 0,
                                         .offset = 4294967296};
    gives("${key}|${topic}|${partition}|${offset}", "k|t|0|4294967296");
    gives("${queue}|${exchange}|${routing_key}|${destination}", "q||r.k|/queue/d");
    gives("${timestamp}|${message_id}|${route}", "1700000000123|m-7|orders");
    gives("${body.sha256}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    gives("${body.sha256}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    gives("${source.position}", "t-0-4294967296");
    assert_true(template_uses_position(parse("a${source.position}")));
    assert_false(template_uses_position(parse("${offset}")));
}

static void what_is_missing_needs_a_default(void **state)
{
    static const char *const names[] = {"key",       "topic",      "partition",   "offset",
                                        "queue",     "exchange",   "routing_key", "destination",
                                        "timestamp", "message_id", "body.sha256", "header.x"};
    char text[64];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, "${%s}", names[i]);
        fails(text, text);
        snprintf(text, sizeof text, "<${%s}>", names[i]);
        fails(text, "the message has no ");
        snprintf(text, sizeof text, "${%s:-none}", names[i]);
        gives(text, "none");
        snprintf(text, sizeof text, "<${%s:-}>", names[i]);
        gives(text, "<>");
    }
    msg->key = BAILEY_EMPTY_BYTES; /* empty is not missing */
    gives("${key:-none}", "");
}

static void headers_by_name(void **state)
{
    struct bailey_header headers[] = {
        header("id", (struct bailey_value){.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("first")}),
        header("id", (struct bailey_value){.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("second")}),
        header("n", (struct bailey_value){.kind = BAILEY_KIND_I64, .i64 = -42}),
        header("u", (struct bailey_value){.kind = BAILEY_KIND_U8, .u64 = 200}),
        header("b", (struct bailey_value){.kind = BAILEY_KIND_BOOL, .boolean = true}),
        header("nil", (struct bailey_value){.kind = BAILEY_KIND_NULL}),
        header("tab", (struct bailey_value){.kind = BAILEY_KIND_TABLE}),
        header("a.b:c", (struct bailey_value){.kind = BAILEY_KIND_BYTES, .bytes = bailey_bytes_of("odd")}),
    };

    (void)state;
    set_headers(headers, sizeof headers / sizeof *headers);
    gives("${header.id}", "first");
    gives("${header.n}/${header.u}/${header.b}", "-42/200/true");
    gives("${header.a.b:c}", "odd");
    fails("${header.nil}", "the message has no ${header.nil}");
    fails("${header.tab}", "the message has no ${header.tab}");
    gives("${header.nil:-x}", "x");
    fails("${header.ID}", "the message has no ${header.ID}");
}

static void values_that_are_not_utf8_are_refused(void **state)
{
    (void)state;
    msg->key = (struct bailey_bytes){(const uint8_t *)"\xff\xfe", 2};
    fails("${key}", "${key} of the message is not UTF-8");
    fails("a${key}", "${key} of the message is not UTF-8");
    msg->key = (struct bailey_bytes){(const uint8_t *)"\xed\xa0\x80", 3};
    fails("${key:-x}", "not UTF-8");
}

static void results_have_a_limit(void **state)
{
    static uint8_t large[TEMPLATE_RESULT_MAX + 1];

    (void)state;
    memset(large, 'x', sizeof large);
    msg->key = (struct bailey_bytes){large, TEMPLATE_RESULT_MAX};
    assert_int_equal(fill("${key}").len, TEMPLATE_RESULT_MAX);
    fails("a${key}", "longer than 65536 bytes");
    msg->key.len++;
    fails("${key}", "longer than 65536 bytes");
}

static void mistakes_are_found_when_parsing(void **state)
{
    char longest[TEMPLATE_LEN_MAX + 2];
    struct text many = {0};

    (void)state;
    refused("ab${kye}", 2, "${kye} is no value of a message", "did you mean ${key}?");
    refused("${body.sha265}", 0, "is no value", "did you mean ${body.sha256}?");
    refused("${zzzzzzzzzzzz}", 0, "is no value", "there are key, header.NAME");
    refused("${header.}", 0, "is no value", "header.NAME");
    refused("${}", 0, "is no value", "there are");
    refused("x${key", 1, "${ without its }", "$${");
    refused("${key}${", 6, "${ without its }", "$${");

    memset(longest, 'a', sizeof longest);
    longest[TEMPLATE_LEN_MAX + 1] = '\0';
    refused(longest, 0, "longer than 4096 bytes", "");
    longest[TEMPLATE_LEN_MAX] = '\0';
    assert_int_equal(template_constant(parse(longest)).len, TEMPLATE_LEN_MAX);

    for (int i = 0; i < TEMPLATE_PARTS_MAX; i++)
        text_add(&many, "${key}");
    assert_false(template_is_constant(parse(many.data)));
    text_add(&many, "${key}");
    refused(many.data, 6 * TEMPLATE_PARTS_MAX, "more than 64 parts", "");
    text_free(&many);
}

static void placeholders_are_seen(void **state)
{
    (void)state;
    assert_true(template_present("a${key}"));
    assert_true(template_present("$${key}${topic}"));
    assert_false(template_present("a$${key}"));
    assert_false(template_present("${KEY}"));
    assert_false(template_present("$key {key}"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(constants_need_no_message),
        TEST(the_public_part_leads_back),
        TEST(a_single_value_is_not_copied),
        TEST(every_name_gives_its_value),
        TEST(what_is_missing_needs_a_default),
        TEST(headers_by_name),
        TEST(values_that_are_not_utf8_are_refused),
        TEST(results_have_a_limit),
        TEST(mistakes_are_found_when_parsing),
        TEST(placeholders_are_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
