/* Reads a STOMP URL from left to right: scheme, authority, path. No part of it is echoed in an error before it is
 * sure that no passcode can be in it. */
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

static bool parse_host(const char *from, const char *to, struct stomp_url *url, struct bailey_error *err)
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

static bool parse_userinfo(const char *from, const char *to, struct stomp_url *url, struct bailey_error *err)
{
    const char *colon = memchr(from, ':', (size_t)(to - from));

    if (!decode(from, colon != NULL ? colon : to, url->login, sizeof url->login, "login", err))
        return false;
    return colon == NULL || decode(colon + 1, to, url->passcode, sizeof url->passcode, "passcode", err);
}

static const char *parse_scheme(const char *text, struct stomp_url *url)
{
    static const struct scheme {
        const char *prefix;
        uint16_t port;
        bool tls, websocket;
    } schemes[] = {
        {"stomp://", 61613, false, false},
        {"stomp+ssl://", 61614, true, false},
        {"ws://", 80, false, true},
        {"wss://", 443, true, true},
    };

    for (const struct scheme *s = schemes; s < schemes + sizeof schemes / sizeof *schemes; s++) {
        size_t len = strlen(s->prefix);

        if (strncasecmp(text, s->prefix, len) != 0)
            continue;
        url->port = s->port;
        url->tls = s->tls;
        url->websocket = s->websocket;
        return text + len;
    }
    return NULL;
}

/* What follows the authority. A WebSocket's path may have a query; it goes into a request line as it stands. */
static bool parse_path(const char *from, struct stomp_url *url, struct bailey_error *err)
{
    size_t len = strlen(from);

    if (!url->websocket) {
        if (len == 0 || strcmp(from, "/") == 0)
            return true;
        bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has a path, query or fragment");
        return bailey_hint(err, "Give the destination in the route's end, options such as heartbeat in the broker's "
                                "entry; write %%2f for a / in a passcode.");
    }
    if (*from == '#' || strchr(from, '#') != NULL)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has a fragment");
    for (const char *c = from; *c != '\0'; c++)
        if (*c <= ' ' || *c == 0x7f)
            return bailey_fail(err, BAILEY_ERR_CONFIG, "the path of the URL holds a space or control character");
    if (len + 2 > sizeof url->path)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the path of the URL is longer than %zu bytes",
                           sizeof url->path - 2);
    url->path[0] = '/';
    memcpy(url->path + (*from != '/'), from, len + (len > 0));
    return true;
}

bool stomp_url_parse(const char *text, struct stomp_url *url, struct bailey_error *err)
{
    const char *from, *to, *at = NULL;

    *url = (struct stomp_url){0};
    from = parse_scheme(text, url);
    if (from == NULL) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the URL must begin with stomp://, stomp+ssl://, ws:// or wss://");
        return bailey_hint(err, "Write it like stomp://host:61613.");
    }
    to = from + strcspn(from, "/?#");
    for (const char *c = from; c < to; c++)
        at = *c == '@' ? c : at; /* the last one: a passcode may hold an unescaped @ */
    url->has_login = at != NULL;
    if (at != NULL && !parse_userinfo(from, at, url, err))
        return false;
    if (!parse_host(at != NULL ? at + 1 : from, to, url, err))
        return false;
    return parse_path(to, url, err);
}

void stomp_url_wipe(struct stomp_url *url)
{
    explicit_bzero(url, sizeof *url);
}
