/* admin_rig.h: a real admin server with a real gateway behind it, and clients on raw sockets. All of it fails
 * the test that calls it when something does not go as it should, within RIG_DEADLINE_MS at most.
 */
#ifndef BAILEY_TEST_ADMIN_RIG_H
#define BAILEY_TEST_ADMIN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/http.h"
#include "base/text.h"

enum { RIG_DEADLINE_MS = 20000 };

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

/* ---- The server ---- */

struct server {
    struct config *config;
    struct gateway *gateway;
    struct admin *admin;
};

/* Both ends of all routes are up; or cannot be opened: `there is no "queue"`. */
extern atomic_bool rig_healthy;

/* `listen` as in the configuration. Routes are called route-0000 and so on, the broker b, the instance gw-1. */
void server_start(struct server *server, const char *listen, int routes);
void server_stop(struct server *server);

int64_t now_ms(void); /* monotonic */

/* ---- A client ---- */

/* Connect on 127.0.0.1; with a receive buffer as small as `receive_buffer` allows (0: the usual one). */
int open_to(const struct admin *admin);
int open_to_with(const struct admin *admin, int receive_buffer);

void say(int fd, const char *data, size_t len);
void ask(int fd, const char *data);

struct answer {
    int status;
    char head[2048];
    struct text body;
    size_t length; /* as Content-Length says */
};

/* Exactly the head, byte by byte: what follows belongs to the body or the next answer. */
void read_head(int fd, struct answer *answer);
void read_body(int fd, struct answer *answer, size_t piece);
void read_answer(int fd, struct answer *answer);
void answer_free(struct answer *answer);

/* The peer closes, in good order. */
void must_end(int fd);

/* Ask, and get this status and a body that holds `body`. */
void must_answer(int fd, const char *request, int status, const char *body);

/* A whole page of metrics: all `routes`, and the last line. */
void must_be_metrics(const struct answer *answer, int routes);

#endif
