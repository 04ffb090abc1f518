/* test_units.c: numbers with units, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "config/units.h"

struct sample {
    const char *str;
    enum units_result result;
    int64_t value;
};

static void check(enum units_result (*parse)(const char *, int64_t *), const struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = -7;
        enum units_result result = parse(samples[i].str, &value);
        if (result != samples[i].result || (result == UNITS_OK && value != samples[i].value))
            fail_msg("'%s' gave %d, %lld", samples[i].str, (int)result, (long long)value);
    }
}

static void counts(void **state)
{
    static const struct sample samples[] = {
        {"0", UNITS_OK, 0},
        {"10k", UNITS_OK, 10000},
        {"2M", UNITS_OK, 2000000},
        {"-5", UNITS_OK, -5},
        {"9223372036854775807", UNITS_OK, INT64_MAX},
        {"9223372036854775808", UNITS_TOO_LARGE, 0},
        {"9223372036854775807k", UNITS_TOO_LARGE, 0},
        {"", UNITS_NO_NUMBER, 0},
        {"-", UNITS_NO_NUMBER, 0},
        {"k", UNITS_NO_NUMBER, 0},
        {"+5", UNITS_NO_NUMBER, 0},
        {" 5", UNITS_NO_NUMBER, 0},
        {"5 ", UNITS_BAD_UNIT, 0},
        {"5K", UNITS_BAD_UNIT, 0},
        {"5m", UNITS_BAD_UNIT, 0},
        {"1.5k", UNITS_BAD_UNIT, 0},
        {"0x10", UNITS_BAD_UNIT, 0},
        {"1e3", UNITS_BAD_UNIT, 0},
    };

    (void)state;
    check(units_count, samples, sizeof samples / sizeof *samples);
}

static void durations(void **state)
{
    static const struct sample samples[] = {
        {"0", UNITS_OK, 0},
        {"250ms", UNITS_OK, 250},
        {"30s", UNITS_OK, 30000},
        {"5m", UNITS_OK, 300000},
        {"24h", UNITS_OK, 86400000},
        {"7d", UNITS_OK, 604800000},
        {"30", UNITS_NO_UNIT, 0},
        {"-1s", UNITS_NO_NUMBER, 0},
        {"1h30m", UNITS_BAD_UNIT, 0},
        {"1 s", UNITS_BAD_UNIT, 0},
        {"1us", UNITS_BAD_UNIT, 0},
        {"1S", UNITS_BAD_UNIT, 0},
        {"106751991168d", UNITS_TOO_LARGE, 0},
    };

    (void)state;
    check(units_duration, samples, sizeof samples / sizeof *samples);
}

static void sizes(void **state)
{
    static const struct sample samples[] = {
        {"0", UNITS_OK, 0},          {"1024", UNITS_OK, 1024},      {"7B", UNITS_OK, 7},
        {"64KiB", UNITS_OK, 65536},  {"16MiB", UNITS_OK, 16 << 20}, {"2GiB", UNITS_OK, INT64_C(2) << 30},
        {"16MB", UNITS_BAD_UNIT, 0}, {"16M", UNITS_BAD_UNIT, 0},    {"9999999999GiB", UNITS_TOO_LARGE, 0},
        {"KiB", UNITS_NO_NUMBER, 0},
    };

    (void)state;
    check(units_size, samples, sizeof samples / sizeof *samples);
}

static void formatted_as_one_would_write_them(void **state)
{
    struct text text = {0};

    (void)state;
    units_add_duration(&text, 0);
    text_add(&text, " ");
    units_add_duration(&text, 250);
    text_add(&text, " ");
    units_add_duration(&text, 90000);
    text_add(&text, " ");
    units_add_duration(&text, 86400000);
    text_add(&text, " ");
    units_add_size(&text, 0);
    text_add(&text, " ");
    units_add_size(&text, 1000);
    text_add(&text, " ");
    units_add_size(&text, 3 << 20);
    assert_string_equal(text.data, "0ms 250ms 90s 1d 0B 1000B 3MiB");
    text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(formatted_as_one_would_write_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
