/* admin/http.h: the administration server: /metrics, /healthz and /readyz over HTTP/1.1, read only.
 *
 * It has no login and no TLS: let it listen on a loopback address, or behind something that has both. One thread of its
 * own; the gateway is only read, by the functions that any thread may call. Functions here: the main thread.
 */
#ifndef BAILEY_HTTP_H
#define BAILEY_HTTP_H

#include "host/gateway.h"

struct admin;

/* Listen on config->admin_address and serve; logs `admin.listening address=IP:PORT`. `gateway` and `config` must
 * outlive it. NULL with `err` if it cannot listen; NULL with `err` untouched if the configuration wants no server. */
struct admin *admin_start(struct gateway *gateway, const struct config *config, struct bailey_error *err);

/* The port that it listens on (the one chosen, if 0 was configured). */
uint16_t admin_port(const struct admin *admin);

/* Close all connections, also those with a request in work, and end the thread. NULL is allowed. To be called before
 * gateway_stop(); during the drain it may serve on. */
void admin_stop(struct admin *admin);

enum {
    ADMIN_CLIENTS_MAX = 64,      /* simultaneous connections; more wait in the system's queue */
    ADMIN_HEAD_S = 10,           /* for a request's head to come, also the first byte of the next one */
    ADMIN_HURRY_S = 1,           /* the same, while all places are taken */
    ADMIN_ANSWER_S = 30,         /* for an answer to be taken */
    ADMIN_LINGER_S = 2,          /* for the peer to close after us */
    ADMIN_REQUESTS_MAX = 100,    /* of one connection */
    ADMIN_BODIES_MAX = 32 << 20, /* bytes of answers in work, before /metrics and /readyz are refused with 503 */
};

#endif
