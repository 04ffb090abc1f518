/* RFC 3339, read strictly: digits where it wants digits. */
#include "core/moment.h"

#include <string.h>
#include <time.h>

enum { TEXT_MAX = 64 };

#define MOMENT_MAX_MS INT64_C(253402300799999) /* the end of 9999 */

/* `count` digits; false if there are others. */
static bool digits(const char **at, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *value = *value * 10 + (**at - '0');
    }
    return true;
}

static bool one(const char **at, const char *of)
{
    if (**at == '\0' || strchr(of, **at) == NULL)
        return false;
    (*at)++;
    return true;
}

static bool fraction(const char **at, int *ms)
{
    int digit, scale = 100, count = 0;

    *ms = 0;
    if (**at != '.')
        return true;
    (*at)++;
    for (; digits(at, 1, &digit); count++, scale /= 10)
        *ms += digit * scale;
    return count > 0;
}

/* Minutes east of Greenwich. */
static bool offset(const char **at, int *minutes)
{
    int hour, minute, sign = **at == '-' ? -1 : 1;

    *minutes = 0;
    if (one(at, "Zz"))
        return true;
    if (!one(at, "+-") || !digits(at, 2, &hour) || !one(at, ":") || !digits(at, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *minutes = sign * (hour * 60 + minute);
    return true;
}

static bool parse_rfc3339(const char *at, int64_t *wall_ms)
{
    struct tm tm = {0}, day;
    int ms, east;

    if (!digits(&at, 4, &tm.tm_year) || !one(&at, "-") || !digits(&at, 2, &tm.tm_mon) || !one(&at, "-") ||
        !digits(&at, 2, &tm.tm_mday) || !one(&at, "Tt ") || !digits(&at, 2, &tm.tm_hour) || !one(&at, ":") ||
        !digits(&at, 2, &tm.tm_min) || !one(&at, ":") || !digits(&at, 2, &tm.tm_sec) || !fraction(&at, &ms) ||
        !offset(&at, &east) || *at != '\0' || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    day = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday};
    int64_t seconds = (int64_t)timegm(&day) + tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;

    if (day.tm_mon != tm.tm_mon || day.tm_mday != tm.tm_mday) /* 30 February */
        return false;
    *wall_ms = (seconds - east * 60) * 1000 + ms;
    return *wall_ms >= 0;
}

static bool parse_number(const char *at, int64_t *wall_ms)
{
    int64_t value = 0;

    for (; *at >= '0' && *at <= '9' && value <= MOMENT_MAX_MS; at++)
        value = value * 10 + (*at - '0');
    *wall_ms = value;
    return *at == '\0' && value <= MOMENT_MAX_MS;
}

bool moment_parse(struct bailey_bytes text, int64_t *wall_ms)
{
    char copy[TEXT_MAX];

    if (text.data == NULL || text.len == 0 || text.len >= sizeof copy || memchr(text.data, '\0', text.len) != NULL)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return parse_number(copy, wall_ms) || parse_rfc3339(copy, wall_ms);
}
