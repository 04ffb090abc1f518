/* Reads an amqp:// URL from left to right: scheme, authority, path. No part of it is echoed in an error before it is
 * sure that no password can be in it. */
#include "url.h"

#include <string.h>
#include <strings.h>

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

/* Percent-decode [from, to) into `out`. `what` names the part in an error. */
static bool decode(const char *from, const char *to, char *out, size_t size, const char *what, struct bailey_error *err)
{
    size_t len = 0;

    while (from < to) {
        char c = *from++;

        if (c == '%') {
            int high = to - from >= 2 ? hex_digit(from[0]) : -1, low = high >= 0 ? hex_digit(from[1]) : -1;

            if (low < 0)
                return bailey_fail(err, BAILEY_ERR_CONFIG, "malformed %%-escape in the %s of the URL", what);
            c = (char)(high << 4 | low);
            from += 2;
        }
        if (c == '\0')
            return bailey_fail(err, BAILEY_ERR_CONFIG, "%%00 in the %s of the URL", what);
        if (len + 1 >= size)
            return bailey_fail(err, BAILEY_ERR_CONFIG, "the %s of the URL is longer than %zu bytes", what, size - 1);
        out[len++] = c;
    }
    out[len] = '\0';
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

static bool parse_host(const char *from, const char *to, struct amq_url *url, struct bailey_error *err)
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
    if (!decode(from, end, url->host, sizeof url->host, "host", err))
        return false;
    return colon == NULL || parse_port(colon + 1, to, &url->port, err);
}

static bool parse_userinfo(const char *from, const char *to, struct amq_url *url, struct bailey_error *err)
{
    const char *colon = memchr(from, ':', (size_t)(to - from));

    if (!decode(from, colon != NULL ? colon : to, url->user, sizeof url->user, "user", err))
        return false;
    return colon == NULL || decode(colon + 1, to, url->password, sizeof url->password, "password", err);
}

static const char *parse_scheme(const char *text, struct amq_url *url)
{
    if (strncasecmp(text, "amqp://", 7) == 0)
        return text + 7;
    url->tls = true;
    return strncasecmp(text, "amqps://", 8) == 0 ? text + 8 : NULL;
}

bool amq_url_parse(const char *text, struct amq_url *url, struct bailey_error *err)
{
    const char *from, *to, *at = NULL;

    *url = (struct amq_url){.vhost = "/", .user = "guest", .password = "guest"};
    from = parse_scheme(text, url);
    if (from == NULL) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the URL must begin with amqp:// or amqps://");
        return bailey_hint(err, "Write it like amqp://user:password@host:5672/vhost.");
    }
    url->port = url->tls ? 5671 : 5672;
    to = from + strcspn(from, "/?#");
    for (const char *c = from; c < to; c++)
        at = *c == '@' ? c : at; /* the last one: a password may hold an unescaped @ */
    if (at != NULL && !parse_userinfo(from, at, url, err))
        return false;
    if (!parse_host(at != NULL ? at + 1 : from, to, url, err))
        return false;
    if (*to == '/') {
        const char *end = to + 1 + strcspn(to + 1, "?#");

        if (memchr(to + 1, '/', (size_t)(end - to - 1)) != NULL) {
            bailey_fail(err, BAILEY_ERR_CONFIG, "the vhost in the URL holds a /");
            return bailey_hint(err, "Write %%2f for a / inside of a vhost's name.");
        }
        if (end > to + 1 && !decode(to + 1, end, url->vhost, sizeof url->vhost, "vhost", err))
            return false;
        to = end;
    }
    if (*to != '\0') {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has a query or fragment");
        return bailey_hint(err,
                           "Give options such as heartbeat in the broker's entry; write %%3f for a ? in a password.");
    }
    return true;
}

void amq_url_wipe(struct amq_url *url)
{
    explicit_bzero(url, sizeof *url);
}
