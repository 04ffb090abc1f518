/* url.h: stomp://login:passcode@host:port, stomp+ssl://, ws://host:port/path, wss://. Pure, any thread. */
#ifndef STOMP_URL_H
#define STOMP_URL_H

#include <bailey/error.h>

#include <stdbool.h>
#include <stdint.h>

struct stomp_url {
    bool tls, websocket;
    bool has_login; /* it had a userinfo */
    uint16_t port;
    char host[256]; /* without the brackets of an IPv6 address */
    char path[512]; /* WebSocket only: begins with /; as it stands, not decoded */
    char login[256];
    char passcode[1024]; /* a secret: wipe the struct after use (stomp_url_wipe) */
};

/* Percent-decodes login and passcode. Default port: 61613, with TLS 61614; ws 80, wss 443. A stomp:// URL has no path. False
 * with a CONFIG error; its text never shows the userinfo. */
bool stomp_url_parse(const char *text, struct stomp_url *url, struct bailey_error *err);

void stomp_url_wipe(struct stomp_url *url);

#endif
