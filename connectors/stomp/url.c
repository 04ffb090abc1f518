/* Reads a STOMP URL from left to right: scheme, authority, path. */
#include "url.h"

#include <bailey/url.h>

#include <string.h>
#include <strings.h>

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
    struct bailey_authority authority = {.user = {url->login, sizeof url->login, "login"},
                                         .password = {url->passcode, sizeof url->passcode, "passcode"},
                                         .host = {url->host, sizeof url->host, "host"},
                                         .port = &url->port};
    const char *from, *to;

    *url = (struct stomp_url){0};
    from = parse_scheme(text, url);
    if (from == NULL) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the URL must begin with stomp://, stomp+ssl://, ws:// or wss://");
        return bailey_hint(err, "Write it like stomp://host:61613.");
    }
    to = bailey_url_authority(from, &authority, err);
    if (to == NULL)
        return false;
    url->has_login = authority.has_userinfo;
    return parse_path(to, url, err);
}

void stomp_url_wipe(struct stomp_url *url)
{
    explicit_bzero(url, sizeof *url);
}
