/* message/value.c: every kind comes back from its text, what is not of the form is refused, and what was accepted can be
 * copied and formatted, whatever it is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "message/pool.h"

static struct bailey_pool *pool;
static struct bailey_message *msg;

static int setup(void **state)
{
    (void)state;
    pool = message_pool_new();
    msg = message_new(pool);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bailey_message_unref(msg);
    message_pool_free(pool);
    return 0;
}

static bool equal(const struct bailey_value *a, const struct bailey_value *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case BAILEY_KIND_NULL:
        return true;
    case BAILEY_KIND_BOOL:
        return a->boolean == b->boolean;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        return bailey_bytes_equal(a->bytes, b->bytes);
    case BAILEY_KIND_F32:
    case BAILEY_KIND_F64:
        return a->f64 == b->f64 || (isnan(a->f64) && isnan(b->f64));
    case BAILEY_KIND_TABLE:
        for (uint32_t i = 0; i < a->count && a->count == b->count; i++)
            if (!bailey_bytes_equal(a->fields[i].name, b->fields[i].name) ||
                !equal(&a->fields[i].value, &b->fields[i].value))
                return false;
        return a->count == b->count;
    case BAILEY_KIND_ARRAY:
        for (uint32_t i = 0; i < a->count && a->count == b->count; i++)
            if (!equal(&a->items[i], &b->items[i]))
                return false;
        return a->count == b->count;
    default:
        return a->u64 == b->u64;
    }
}

static void assert_comes_back(struct bailey_value value)
{
    struct bailey_bytes text = bailey_value_format(msg, &value);
    struct bailey_value back, copy = bailey_value_copy(msg, &value);

    assert_true(bailey_value_parse(msg, value.kind, text, &back));
    assert_true(equal(&value, &back));
    assert_true(equal(&value, &copy));
}

static void assert_text(struct bailey_value value, const char *text)
{
    struct bailey_bytes bytes = bailey_value_format(msg, &value);

    assert_int_equal(bytes.len, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.len);
    assert_comes_back(value);
}

static void scalars_have_an_exact_text(void **state)
{
    (void)state;
    assert_text((struct bailey_value){.kind = BAILEY_KIND_NULL}, "");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_BOOL, .boolean = true}, "true");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_BOOL}, "false");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_I8, .i64 = -128}, "-128");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_U8, .u64 = 255}, "255");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_I16, .i64 = INT16_MIN}, "-32768");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_U16, .u64 = UINT16_MAX}, "65535");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_I32, .i64 = INT32_MAX}, "2147483647");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_U32, .u64 = UINT32_MAX}, "4294967295");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_I64, .i64 = INT64_MIN}, "-9223372036854775808");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_TIMESTAMP, .u64 = UINT64_MAX}, "18446744073709551615");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_DECIMAL, .u64 = (uint64_t)12345 << 8 | 2}, "12345:2");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("text")}, "text");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_BYTES, .bytes = BAILEY_EMPTY_BYTES}, "");
    assert_text((struct bailey_value){.kind = BAILEY_KIND_F64, .f64 = 0.5}, "0.5");
}

static void floats_come_back_bit_by_bit(void **state)
{
    static const double doubles[] = {0.1, -1e308, 5e-324, INFINITY, -INFINITY, NAN, -0.0, 1.0 / 3};

    (void)state;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        assert_comes_back((struct bailey_value){.kind = BAILEY_KIND_F64, .f64 = doubles[i]});
        assert_comes_back((struct bailey_value){.kind = BAILEY_KIND_F32, .f64 = (double)(float)doubles[i]});
    }
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t bits = i * 2654435761u;
        float number;

        memcpy(&number, &bits, sizeof number);
        assert_comes_back((struct bailey_value){.kind = BAILEY_KIND_F32, .f64 = (double)number});
    }
}

static void what_is_not_of_the_form_is_refused(void **state)
{
    static const struct {
        int kind;
        const char *text;
    } wrong[] = {
        {'b', "128"},
        {'b', "-129"},
        {'B', "256"},
        {'B', "-1"},
        {'s', "32768"},
        {'u', "65536"},
        {'I', "2147483648"},
        {'i', "4294967296"},
        {'l', "9223372036854775808"},
        {'T', "18446744073709551616"},
        {'l', ""},
        {'l', " 1"},
        {'l', "+1"},
        {'l', "1 "},
        {'l', "0x10"},
        {'l', "1.0"},
        {'t', "True"},
        {'t', "1"},
        {'t', ""},
        {'D', "1"},
        {'D', "1:256"},
        {'D', "-1:0"},
        {'D', "4294967296:0"},
        {'D', "1:"},
        {'D', ":1"},
        {'D', "1:1x"},
        {'d', ""},
        {'d', "abc"},
        {'d', " 1"},
        {'d', "+1"},
        {'d', "0x1p3"},
        {'f', "nan(1)"},
        {'f', "infinity"},
        {'d', "\v1"},
        {'d', "1x"},
        {'f', "1e39"},
        {'d', "1e999"},
        {'V', "x"},
        {'?', "x"},
        {'F', "abc"},
        {'A', ""},
    };
    struct bailey_value value;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (bailey_value_parse(msg, (enum bailey_kind)wrong[i].kind, bailey_bytes_of(wrong[i].text), &value))
            fail_msg("'%s' was accepted as %c", wrong[i].text, wrong[i].kind);
    assert_false(bailey_value_parse(msg, BAILEY_KIND_I64, (struct bailey_bytes){(const uint8_t *)"1\0", 2}, &value));
    assert_false(bailey_value_parse(msg, BAILEY_KIND_STRING, BAILEY_NULL_BYTES, &value));
    for (int kind = -300; kind < 300; kind++) {
        bool known = kind > 0 && kind < 128 && strchr("VtbBsuIilfdDSxTFA", kind) != NULL;

        assert_int_equal(bailey_kind_valid(kind), known);
    }
}

static void tables_and_arrays_keep_order_names_and_kinds(void **state)
{
    const struct bailey_value items[] = {
        {.kind = BAILEY_KIND_I8, .i64 = -5},
        {.kind = BAILEY_KIND_F32, .f64 = 0.25},
        {.kind = BAILEY_KIND_BYTES, .bytes = {(const uint8_t *)"\0\xff", 2}},
        {.kind = BAILEY_KIND_NULL},
    };
    const struct bailey_header fields[] = {
        {.name = bailey_bytes_of("twice"), .value = {.kind = BAILEY_KIND_ARRAY, .count = 4, .items = items}},
        {.name = bailey_bytes_of("twice"), .value = {.kind = BAILEY_KIND_BOOL, .boolean = true}},
        {.name = BAILEY_EMPTY_BYTES, .value = {.kind = BAILEY_KIND_TABLE}},
    };

    (void)state;
    assert_comes_back((struct bailey_value){.kind = BAILEY_KIND_TABLE, .count = 3, .fields = fields});
    assert_comes_back((struct bailey_value){.kind = BAILEY_KIND_ARRAY, .count = 4, .items = items});
    assert_comes_back((struct bailey_value){.kind = BAILEY_KIND_ARRAY});
}

/* `levels` arrays in one another, in our binary form; the innermost holds a null. */
static struct bailey_bytes nested_arrays(size_t levels)
{
    static uint8_t bytes[5 * 100 + 1];
    size_t len = 0;

    for (size_t i = 0; i < levels; i++) {
        memcpy(bytes + len, "\0\0\0\1A", 5);
        len += 5;
    }
    bytes[len - 1] = 'V';
    return (struct bailey_bytes){bytes, len};
}

static void nesting_ends_at_the_limit_and_all_below_it_can_be_copied(void **state)
{
    struct bailey_value value, copy;

    (void)state;
    for (size_t levels = 1; levels <= 100; levels++) {
        struct bailey_bytes bytes = nested_arrays(levels);
        bool accepted = bailey_value_parse(msg, BAILEY_KIND_ARRAY, bytes, &value);

        assert_int_equal(accepted, levels <= BAILEY_VALUE_DEPTH_MAX);
        if (!accepted)
            continue;
        copy = bailey_value_copy(msg, &value);
        assert_true(equal(&copy, &value));
        assert_true(bailey_bytes_equal(bailey_value_format(msg, &copy), bytes));
        struct bailey_header header = {.name = bailey_bytes_of("x"), .value = value};

        msg->headers = &header;
        msg->header_count = 1;
        assert_true(message_size(msg) > 0);
        msg->header_count = 0;
    }
}

static void a_declared_count_beyond_the_bytes_or_the_limit_is_refused(void **state)
{
    static uint8_t many[4 + BAILEY_VALUE_COUNT_MAX + 1];
    struct bailey_value value;

    (void)state;
    assert_false(bailey_value_parse(msg, BAILEY_KIND_ARRAY,
                                    (struct bailey_bytes){(const uint8_t *)"\xff\xff\xff\xff", 4}, &value));
    memset(many, 'V', sizeof many);
    memcpy(many, "\0\0\x10\0", 4); /* 4096 */
    assert_true(bailey_value_parse(msg, BAILEY_KIND_ARRAY, (struct bailey_bytes){many, 4 + 4096}, &value));
    memcpy(many, "\0\0\x10\1", 4);
    assert_false(bailey_value_parse(msg, BAILEY_KIND_ARRAY, (struct bailey_bytes){many, 4 + 4097}, &value));
    memcpy(many, "\0\0\0\1", 4); /* bytes after the end */
    assert_false(bailey_value_parse(msg, BAILEY_KIND_ARRAY, (struct bailey_bytes){many, 6}, &value));
}

static void every_truncation_is_refused(void **state)
{
    const struct bailey_value inner[] = {{.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("value")},
                                         {.kind = BAILEY_KIND_I64, .i64 = 7},
                                         {.kind = BAILEY_KIND_BOOL, .boolean = true}};
    const struct bailey_header field = {.name = bailey_bytes_of("name"),
                                        .value = {.kind = BAILEY_KIND_ARRAY, .count = 3, .items = inner}};
    const struct bailey_value table = {.kind = BAILEY_KIND_TABLE, .count = 1, .fields = &field};
    struct bailey_bytes whole = bailey_value_format(msg, &table);
    struct bailey_value value;

    (void)state;
    for (size_t len = 0; len < whole.len; len++) {
        uint8_t *part = malloc(len + 1); /* of its own, so that a sanitizer sees what is read beyond it */

        memcpy(part, whole.data, len);
        assert_false(bailey_value_parse(msg, BAILEY_KIND_TABLE, (struct bailey_bytes){part, len}, &value));
        free(part);
    }
    assert_true(bailey_value_parse(msg, BAILEY_KIND_TABLE, whole, &value));
}

static void utf8_follows_rfc_3629(void **state)
{
    static const char *const good[] = {"",
                                       "ascii",
                                       "12345678",
                                       "caf\xc3\xa9 and more",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",         "\xc0\xaf",         "\xc1\xbf",         "\xe0\x9f\xbf",
                                      "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                                      "\xc3",         "\xe2\x82",         "12345678\xff",     "\xff\xfe"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(bailey_utf8_valid(bailey_bytes_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(bailey_utf8_valid(bailey_bytes_of(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scalars_have_an_exact_text, setup, teardown),
        cmocka_unit_test_setup_teardown(floats_come_back_bit_by_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_of_the_form_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_and_arrays_keep_order_names_and_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(nesting_ends_at_the_limit_and_all_below_it_can_be_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(a_declared_count_beyond_the_bytes_or_the_limit_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_truncation_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(utf8_follows_rfc_3629, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
