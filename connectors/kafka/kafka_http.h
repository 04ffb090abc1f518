/* kafka_http.h: as much of HTTP/1.1 (RFC 9112) as asking for a token needs: one request, one answer. Pure, any thread.
 *
 * The answer is hostile input: nothing is read beyond `len`, and everything has a limit.
 */
#ifndef KAFKA_HTTP_H
#define KAFKA_HTTP_H

#include "kafka.h"

struct kafka_url {
    bool tls;
    uint16_t port;
    char host[256];      /* without the brackets of an IPv6 address */
    char authority[300]; /* host[:port] as it was written: for the header Host, and for people */
    const char *path;    /* in the URL's text, with its query; "/" for none */
};

/* http:// or https://, without user and fragment. False with a CONFIG error. */
bool kafka_url_parse(const char *text, struct kafka_url *url, struct bailey_error *err);

/* A growing text that is wiped when it is freed, for what holds secrets. Zeroed = empty. Never fails: the process ends
 * when there is no memory. */
struct kafka_secret {
    char *data; /* NUL-terminated once something was added */
    size_t len, cap;
};
void kafka_secret_add(struct kafka_secret *secret, const void *data, size_t len);
void kafka_secret_print(struct kafka_secret *secret, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void kafka_secret_free(struct kafka_secret *secret);

/* Append the request for a token (RFC 6749, 4.4.2) to `out`. */
void kafka_http_request(struct kafka_secret *out, const struct kafka_url *url, const struct kafka_oauth *oauth,
                        const char *client_secret);

enum { KAFKA_HTTP_HEAD_MAX = 16 << 10, KAFKA_HTTP_MAX = 256 << 10 /* bytes of an answer */ };
enum kafka_http_state { KAFKA_HTTP_MORE, KAFKA_HTTP_WHOLE, KAFKA_HTTP_BAD };

struct kafka_http_answer {
    int status;
    struct bailey_bytes body; /* in `data` */
};

/* Look at what came so far. `closed`: no more will come. A chunked body is joined in place, once it is whole. */
enum kafka_http_state kafka_http_parse(uint8_t *data, size_t len, bool closed, struct kafka_http_answer *answer);

#endif
