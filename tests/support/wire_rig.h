/* wire_rig.h: a transport on one side, a listener that says only what a test tells it to on the other, on the loopback. All on
 * the test's thread: what waits drives the loop, and fails the test after ten seconds (by time(3), so a test may have a
 * clock of its own).
 */
#ifndef BAILEY_TEST_WIRE_RIG_H
#define BAILEY_TEST_WIRE_RIG_H

#include <time.h>

#include "loop/loop.h"

enum { WIRE_SECONDS = 10 };

extern struct bailey_host *wire_loop;
int wire_setup(void **state);    /* a loop for each test */
int wire_teardown(void **state); /* and its end, with no job left */

#define WIRE_UNTIL(...)                                                    \
    for (time_t until_ = time(NULL) + WIRE_SECONDS + 1; !(__VA_ARGS__);) { \
        assert_true(time(NULL) < until_);                                  \
        loop_turn(wire_loop, 5);                                           \
    }

/* A few turns: enough for what is there already. */
void wire_turn(void);

/* ---- The side of the transport ---- */

struct wire_client {
    struct bailey_transport *transport;
    unsigned connected, lost, writable, calls;
    bool keeps;        /* on_data consumes nothing */
    size_t hold_after; /* on_data holds when so many bytes are there; 0: never */
    uint8_t *data;     /* what came, ended by a zero byte */
    size_t len;
    struct bailey_error err;
};

extern const struct bailey_transport_ops wire_ops; /* their context is a wire_client */

/* Connect to 127.0.0.1. `tls` and `websocket` may be NULL. */
void wire_open(struct wire_client *client, uint16_t port, const struct bailey_tls *tls,
               const struct bailey_websocket *websocket);
/* Close the transport, if it is not yet, and forget all. */
void wire_close(struct wire_client *client);
/* Wait for its loss, which must be told with `text` in it. */
void wire_lost(struct wire_client *client, const char *text);

/* ---- The side of the listener ---- */

struct wire_server {
    int listener, fd; /* fd: the connection; -1: none */
    uint16_t port;
    uint8_t *in; /* what came and was not taken */
    size_t len, cap;
    bool ended; /* the peer has closed */
};

void wire_listen(struct wire_server *server);
void wire_accept(struct wire_server *server);
void wire_send(struct wire_server *server, const void *data, size_t len);
/* Wait until so many bytes are in `in`. */
void wire_expect(struct wire_server *server, size_t len);
/* The first `len` bytes of `in` are done with. */
void wire_take(struct wire_server *server, size_t len);
/* Wait until the peer has closed. */
void wire_expect_end(struct wire_server *server);
void wire_hang_up(struct wire_server *server);
void wire_stop(struct wire_server *server);

/* Read a WebSocket's request; its answer but for the empty line, as it should be: into `answer`. */
void wire_read_request(struct wire_server *server, char *request, size_t request_size, char *answer,
                       size_t answer_size);
/* Accept the connection, and the handshake. */
void wire_upgrade(struct wire_server *server);

#endif
