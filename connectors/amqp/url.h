/* url.h: amqp://user:password@host:port/vhost (RabbitMQ's URI specification). Pure, any thread. */
#ifndef AMQ_URL_H
#define AMQ_URL_H

#include <bailey/error.h>

#include <stdbool.h>
#include <stdint.h>

struct amq_url {
    bool tls;
    uint16_t port;
    char host[256]; /* without the brackets of an IPv6 address */
    char vhost[256];
    char user[256];
    char password[1024]; /* a secret: wipe the struct after use (amq_url_wipe) */
};

/* Percent-decodes user, password and vhost. Default user and password: guest; port: 5672, with TLS 5671; vhost: /,
 * also for an empty path. False with a CONFIG error; its text never shows the userinfo. */
bool amq_url_parse(const char *text, struct amq_url *url, struct bailey_error *err);

void amq_url_wipe(struct amq_url *url);

#endif
