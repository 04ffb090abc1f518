/* Reads from left to right. Nothing is echoed in an error before it is sure that no password can be in it. */
#include <bailey/url.h>

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool bailey_url_decode(const char *from, const char *to, const struct bailey_url_part *part, struct bailey_error *err)
{
    size_t len = 0;

    while (from < to) {
        char c = *from++;

        if (c == '%') {
            int high = to - from >= 2 ? hex_digit(from[0]) : -1, low = high >= 0 ? hex_digit(from[1]) : -1;

            if (low < 0)
                return bailey_fail(err, BAILEY_ERR_CONFIG, "malformed %%-escape in the %s of the URL", part->word);
            c = (char)(high << 4 | low);
            from += 2;
        }
        if (c == '\0')
            return bailey_fail(err, BAILEY_ERR_CONFIG, "%%00 in the %s of the URL", part->word);
        if (len + 1 >= part->size)
            return bailey_fail(err, BAILEY_ERR_CONFIG, "the %s of the URL is longer than %zu bytes", part->word,
                               part->size - 1);
        part->out[len++] = c;
    }
    part->out[len] = '\0';
    return true;
}

static bool parse_port(const char *from, const char *to, uint16_t *port, struct bailey_error *err)
{
    unsigned long value = 0;
    bool digits = from < to && to - from <= 5;

    for (const char *c = from; digits && c < to; c++) {
        digits = *c >= '0' && *c <= '9';
        value = value * 10 + (unsigned long)(*c - '0');
    }
    if (!digits || value == 0 || value > 65535)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the port in the URL must be between 1 and 65535");
    *port = (uint16_t)value;
    return true;
}

static bool parse_host(const char *from, const char *to, const struct bailey_authority *authority,
                       struct bailey_error *err)
{
    const char *end = to, *colon;

    if (from < to && *from == '[') {
        end = memchr(from, ']', (size_t)(to - from));
        if (end == NULL)
            return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has a [ without its ]");
        from++;
        colon = end + 1 < to ? end + 1 : NULL;
        if (colon != NULL && *colon != ':')
            return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has text between ] and the port");
    } else {
        colon = memchr(from, ':', (size_t)(to - from));
        end = colon != NULL ? colon : to;
    }
    if (from == end)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has no host");
    if (!bailey_url_decode(from, end, &authority->host, err))
        return false;
    return colon == NULL || parse_port(colon + 1, to, authority->port, err);
}

static bool parse_userinfo(const char *from, const char *to, const struct bailey_authority *authority,
                           struct bailey_error *err)
{
    const char *colon = memchr(from, ':', (size_t)(to - from));

    if (!bailey_url_decode(from, colon != NULL ? colon : to, &authority->user, err))
        return false;
    return colon == NULL || bailey_url_decode(colon + 1, to, &authority->password, err);
}

const char *bailey_url_authority(const char *text, struct bailey_authority *authority, struct bailey_error *err)
{
    const char *end = text + strcspn(text, "/?#"), *at = NULL;

    for (const char *c = text; c < end; c++)
        at = *c == '@' ? c : at;
    authority->has_userinfo = at != NULL;
    if (at != NULL && !parse_userinfo(text, at, authority, err))
        return NULL;
    return parse_host(at != NULL ? at + 1 : text, end, authority, err) ? end : NULL;
}
