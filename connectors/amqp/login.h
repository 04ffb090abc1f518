/* login.h: who we are to a broker: user and password of the URL, or of the options, read anew for each log-in. */
#ifndef AMQ_LOGIN_H
#define AMQ_LOGIN_H

#include "amq.h"

enum {
    AMQ_USER_MAX = 256,
    AMQ_PASSWORD_MAX = 16 << 10,          /* tokens are long */
    AMQ_UPDATE_SECRET = 10 << 16 | 70,    /* connection.update-secret, an extension of RabbitMQ's */
    AMQ_UPDATE_SECRET_OK = 10 << 16 | 71, /* rabbitmq-c 0.11 does not know them */
};

struct amq_login {
    char user[AMQ_USER_MAX];
    char password[AMQ_PASSWORD_MAX]; /* a secret: wipe the struct after use (amq_login_wipe) */
};

/* As they are now, for the URL of that number. False with a CONFIG error that holds no secret: then there is nothing to
 * wipe. */
bool amq_login_read(const struct amq_broker_settings *settings, size_t url, struct amq_login *login,
                    struct bailey_error *err);
void amq_login_wipe(struct amq_login *login);

/* Bytes of the frame of connection.update-secret, written to `out` (RabbitMQ: new-secret longstr, reason shortstr); 0 if
 * it does not fit into `size`. */
size_t amq_update_secret_frame(uint8_t *out, size_t size, struct bailey_bytes secret, struct bailey_bytes reason);

#endif
