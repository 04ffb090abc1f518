/* core/moment.c: moments as they are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/moment.h"

static void these_are_moments(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } moments[] = {
        {"0", 0},
        {"1764370800123", 1764370800123},
        {"1970-01-01T00:00:00Z", 0},
        {"2025-11-28T23:00:00Z", 1764370800000},
        {"2025-11-28t23:00:00z", 1764370800000},
        {"2025-11-28 23:00:00.5Z", 1764370800500},
        {"2025-11-28T23:00:00.123456789Z", 1764370800123},
        {"2025-11-29T00:30:00+01:30", 1764370800000},
        {"2025-11-28T18:00:00-05:00", 1764370800000},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2016-12-31T23:59:60Z", 1483228800000}, /* a leap second */
        {"9999-12-31T23:59:59Z", 253402300799000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        int64_t ms = -1;

        if (!moment_parse(bailey_bytes_of(moments[i].text), &ms) || ms != moments[i].ms)
            fail_msg("%s is %lld", moments[i].text, (long long)ms);
    }
}

static void these_are_none(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "-1",
        "1e9",
        "12 ",
        "tomorrow",
        "2025-11-28",
        "2025-11-28T23:00:00",
        "2025-11-28T23:00Z",
        "2025-11-28T23:00:00.Z",
        "2025-11-28T23:00:00+1:00",
        "2025-11-28T23:00:00+24:00",
        "2025-11-28T24:00:00Z",
        "2025-11-28T23:60:00Z",
        "2025-11-28T23:00:61Z",
        "2025-13-01T00:00:00Z",
        "2025-00-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2025-04-31T00:00:00Z",
        "2025-01-00T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "99999999999999999999",
        "253402300800000",
        "2025-11-28T23:00:00ZZ",
        "2025-11-28T23:00:00Z 1234567890123456789012345678901234567890123456789012345678901234567890",
    };
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (moment_parse(bailey_bytes_of(texts[i]), &ms))
            fail_msg("\"%s\" is no moment", texts[i]);
    assert_false(moment_parse(BAILEY_NULL_BYTES, &ms));
    assert_false(moment_parse((struct bailey_bytes){(const uint8_t *)"0\0", 2}, &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(these_are_moments),
        cmocka_unit_test(these_are_none),
    };

    return cmocka_run_group_tests_name("moments", tests, NULL, NULL);
}
