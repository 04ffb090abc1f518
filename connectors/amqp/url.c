/* Reads an amqp:// URL from left to right: scheme, authority, path. */
#include "url.h"

#include <bailey/url.h>

#include <string.h>
#include <strings.h>

static const char *parse_scheme(const char *text, struct amq_url *url)
{
    if (strncasecmp(text, "amqp://", 7) == 0)
        return text + 7;
    url->tls = true;
    return strncasecmp(text, "amqps://", 8) == 0 ? text + 8 : NULL;
}

bool amq_url_parse(const char *text, struct amq_url *url, struct bailey_error *err)
{
    const struct bailey_url_part vhost = {url->vhost, sizeof url->vhost, "vhost"};
    struct bailey_authority authority = {.user = {url->user, sizeof url->user, "user"},
                                         .password = {url->password, sizeof url->password, "password"},
                                         .host = {url->host, sizeof url->host, "host"},
                                         .port = &url->port};
    const char *from, *to;

    *url = (struct amq_url){.vhost = "/", .user = "guest", .password = "guest"};
    from = parse_scheme(text, url);
    if (from == NULL) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the URL must begin with amqp:// or amqps://");
        return bailey_hint(err, "Write it like amqp://user:password@host:5672/vhost.");
    }
    url->port = url->tls ? 5671 : 5672;
    to = bailey_url_authority(from, &authority, err);
    if (to == NULL)
        return false;
    if (*to == '/') {
        const char *end = to + 1 + strcspn(to + 1, "?#");

        if (memchr(to + 1, '/', (size_t)(end - to - 1)) != NULL) {
            bailey_fail(err, BAILEY_ERR_CONFIG, "the vhost in the URL holds a /");
            return bailey_hint(err, "Write %%2f for a / inside of a vhost's name.");
        }
        if (end > to + 1 && !bailey_url_decode(to + 1, end, &vhost, err))
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
