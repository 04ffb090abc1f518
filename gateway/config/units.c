/* config/units.c: one reader of "digits, then a unit", driven by a table for each kind. */
#include "config/units.h"

#include <stdbool.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit count_units[] = {{"", 1}, {"k", 1000}, {"M", 1000000}, {NULL, 0}};
static const struct unit duration_units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                             {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1},          {"B", 1},         {"KiB", 1 << 10},
                                         {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};

static enum units_result parse(const char *str, const struct unit *units, bool sign, int64_t *value)
{
    const char *digits = str + (sign && *str == '-');
    const char *p = digits;
    int64_t number = 0;
    bool large = false;

    for (; *p >= '0' && *p <= '9'; p++)
        large =
            large || __builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *p - '0', &number);
    if (p == digits)
        return UNITS_NO_NUMBER;
    for (; units->name != NULL; units++)
        if (strcmp(units->name, p) == 0)
            break;
    if (units->name == NULL && *p == '\0' && number == 0 && !large)
        return *value = 0, UNITS_OK;
    if (units->name == NULL)
        return *p == '\0' ? UNITS_NO_UNIT : UNITS_BAD_UNIT;
    if (large || __builtin_mul_overflow(number, units->factor, &number))
        return UNITS_TOO_LARGE;
    *value = digits > str ? -number : number;
    return UNITS_OK;
}

enum units_result units_count(const char *str, int64_t *value)
{
    return parse(str, count_units, true, value);
}

enum units_result units_duration(const char *str, int64_t *ms)
{
    return parse(str, duration_units, false, ms);
}

enum units_result units_size(const char *str, int64_t *bytes)
{
    return parse(str, size_units, false, bytes);
}

static void add(struct text *text, int64_t value, const struct unit *units)
{
    const struct unit *best = &units[0];

    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (value % unit->factor == 0 && value != 0)
            best = unit;
    text_printf(text, "%lld%s", (long long)(value / best->factor), best->name);
}

void units_add_duration(struct text *text, int64_t ms)
{
    add(text, ms, duration_units);
}

void units_add_size(struct text *text, int64_t bytes)
{
    add(text, bytes, size_units + 1);
}
