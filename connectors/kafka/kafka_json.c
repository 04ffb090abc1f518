/* One pass over the object's members: a value is jumped over by counting brackets outside of strings. */
#include "kafka_json.h"

#include <ctype.h>
#include <string.h>

struct scan {
    const uint8_t *at, *end;
};

static void blanks(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool take(struct scan *s, char c)
{
    blanks(s);
    if (s->at == s->end || *s->at != (uint8_t)c)
        return false;
    s->at++;
    return true;
}

/* Behind the opening quote: what is between the quotes. */
static bool string(struct scan *s, struct bailey_bytes *inside)
{
    const uint8_t *from = s->at;

    while (s->at < s->end && *s->at != '"')
        s->at += *s->at == '\\' && s->at + 1 < s->end ? 2 : 1;
    if (s->at >= s->end)
        return false;
    *inside = (struct bailey_bytes){from, (size_t)(s->at++ - from)};
    return true;
}

/* An object, array, number or word, as it stands. */
static bool other_value(struct scan *s, struct bailey_bytes *value)
{
    const uint8_t *from = s->at;
    struct bailey_bytes ignored;
    size_t depth = 0;

    for (; s->at < s->end; s->at++) {
        uint8_t c = *s->at;

        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            break;
        if (c == '"') {
            s->at++;
            if (!string(s, &ignored))
                return false;
            s->at--;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
    }
    while (s->at > from && (s->at[-1] == ' ' || s->at[-1] == '\t' || s->at[-1] == '\n' || s->at[-1] == '\r'))
        s->at--;
    *value = (struct bailey_bytes){from, (size_t)(s->at - from)};
    return value->len > 0;
}

static bool find(struct bailey_bytes object, const char *name, struct bailey_bytes *value, bool *is_string)
{
    struct bailey_bytes member;
    struct scan s;

    if (object.len == 0)
        return false;
    s = (struct scan){object.data, object.data + object.len};
    if (!take(&s, '{'))
        return false;
    do {
        if (!take(&s, '"') || !string(&s, &member) || !take(&s, ':'))
            return false;
        *is_string = take(&s, '"');
        if (*is_string ? !string(&s, value) : !other_value(&s, value))
            return false;
        if (bailey_bytes_is(member, name))
            return true;
    } while (take(&s, ','));
    return false;
}

/* ---- Text ---- */

static int hex(const uint8_t *at)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        int c = at[i];

        if (!isxdigit(c))
            return -1;
        value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* UTF-8 of one unit; halves of pairs become `?`: nothing that we look at has them. */
static size_t put_unit(uint8_t out[3], int unit)
{
    if (unit < 0x80) {
        out[0] = (uint8_t)unit;
        return 1;
    }
    if (unit < 0x800) {
        out[0] = (uint8_t)(0xc0 | unit >> 6);
        out[1] = (uint8_t)(0x80 | (unit & 63));
        return 2;
    }
    if (unit >= 0xd800 && unit < 0xe000) {
        out[0] = '?';
        return 1;
    }
    out[0] = (uint8_t)(0xe0 | unit >> 12);
    out[1] = (uint8_t)(0x80 | (unit >> 6 & 63));
    out[2] = (uint8_t)(0x80 | (unit & 63));
    return 3;
}

/* The character behind a backslash, in UTF-8; 0 bytes if it is no escape. `*used`: bytes of the escape. */
static size_t unescape(const uint8_t *at, size_t left, uint8_t out[3], size_t *used)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *known = left > 1 && at[1] != '\0' ? strchr(names, at[1]) : NULL;
    int unit;

    *used = 2;
    if (known != NULL)
        return put_unit(out, values[known - names]);
    if (left < 6 || at[1] != 'u' || (unit = hex(at + 2)) <= 0)
        return 0;
    *used = 6;
    return put_unit(out, unit);
}

bool kafka_json_text(struct bailey_bytes object, const char *name, char *out, size_t size)
{
    struct bailey_bytes value;
    bool is_string;
    size_t len = 0;

    if (!find(object, name, &value, &is_string) || !is_string || memchr(value.data, '\0', value.len) != NULL)
        return false;
    for (size_t i = 0, used; i < value.len; i += used) {
        uint8_t unit[3] = {value.data[i]};
        size_t bytes = 1;

        used = 1;
        if (value.data[i] == '\\')
            bytes = unescape(value.data + i, value.len - i, unit, &used);
        if (bytes == 0 || len + bytes >= size)
            return false;
        memcpy(out + len, unit, bytes);
        len += bytes;
    }
    out[len] = '\0';
    return true;
}

int64_t kafka_json_number(struct bailey_bytes object, const char *name)
{
    struct bailey_bytes value;
    bool is_string;
    int64_t number = 0;
    size_t i = 0;

    if (!find(object, name, &value, &is_string))
        return -1;
    for (; i < value.len && value.data[i] >= '0' && value.data[i] <= '9' && number < INT64_C(100000000000000); i++)
        number = number * 10 + (value.data[i] - '0');
    return i == 0 || (i < value.len && value.data[i] != '.') ? -1 : number;
}

/* ---- JWT ---- */

static int digit64(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' || c == '+' ? 62 : c == '_' || c == '/' ? 63 : -1;
}

struct bailey_bytes kafka_jwt_payload(const char *token, uint8_t *out, size_t size)
{
    const char *from = strchr(token, '.');
    uint32_t bits = 0;
    size_t len = 0;
    int count = 0;

    if (from == NULL || strchr(from + 1, '.') == NULL)
        return BAILEY_NULL_BYTES;
    for (from++; *from != '.' && *from != '='; from++) {
        int digit = digit64(*from);

        if (digit < 0)
            return BAILEY_NULL_BYTES;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count < 8)
            continue;
        count -= 8;
        if (len == size)
            return BAILEY_NULL_BYTES;
        out[len++] = (uint8_t)(bits >> count);
    }
    return (struct bailey_bytes){out, len};
}
