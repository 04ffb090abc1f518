/* kafka_reason.h: what librdkafka's words for a connection or a log-in that failed mean, and what to do about it.
 *
 * librdkafka has few codes for these: what happened stands in its text.
 */
#ifndef KAFKA_REASON_H
#define KAFKA_REASON_H

#include <stdbool.h>
#include <stddef.h>

/* What may be hidden in an error of the log-in. */
enum kafka_login_failure {
    KAFKA_LOGIN_REFUSED, /* the operator must change something */
    KAFKA_LOGIN_CUT_OFF, /* the connection broke in the middle */
    KAFKA_LOGIN_AGAIN, /* it says nothing against the log-in: librdkafka does it again by itself, and it will succeed */
};

/* `works`: another connection of the client works. `token_ended`: the token that it had is at its end, or nearly. */
enum kafka_login_failure kafka_login_failure(const char *text, bool works, bool token_ended);

/* Of a connection that failed in the transport: does TLS stand against it, and would again? `works`: another one works;
 * `worked`: one did. */
bool kafka_reason_is_tls(const char *text, bool works, bool worked);

/* Its words without what is different each time, and without advice in terms of librdkafka's own. `verified` is what OpenSSL
 * found wrong with the broker's certificate (X509_V_ERR_...), or 0: librdkafka does not say it. */
void kafka_reason_text(char *out, size_t size, const char *text, int verified);

/* What to do about it: a sentence. `code` is librdkafka's. */
const char *kafka_reason_hint(int code, const char *text, int verified);

#endif
