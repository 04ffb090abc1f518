/* transport_impl.h: what transport.c (connecting, leaving) and transport_io.c (reading, writing) share. */
#ifndef BAILEY_TRANSPORT_IMPL_H
#define BAILEY_TRANSPORT_IMPL_H

#include <bailey/host.h>

#include "loop/loop.h"
#include "loop/output.h"
#include "loop/pins.h"
#include "loop/resolve.h"
#include "loop/tls.h"
#include "loop/websocket.h"

enum transport_state { RESOLVING, CONNECTING, SECURING, UPGRADING, UP, LOST };

struct bailey_transport {
    struct bailey_host *loop;
    const struct bailey_transport_ops *ops;
    void *ctx;
    char *name;
    char *where; /* host:port, for people */
    uint16_t port;
    struct bailey_tls options;
    enum transport_state state;
    unsigned busy;
    bool closed, was_full, wants_write, held;
    bool read_blocked; /* TLS must write an answer of its own before it reads on */

    struct look_up *look_up;
    struct addresses addresses;
    size_t address; /* that is tried */
    struct loop_watch *watch;
    int fd;
    struct tls *tls;
    struct websocket *ws; /* NULL: the stream is what the connection carries */

    uint8_t *input; /* what on_data, or the handshake of the WebSocket, left */
    size_t input_len, input_cap;
    struct output output; /* what the owner added */
    struct output wire;   /* WebSocket: what is written, made of that */
    uint64_t added;       /* bytes that the owner has added so far */
    struct pins pins;     /* messages that `output` refers to */
    int64_t last_read_ms, last_write_ms;

    struct bailey_timer connect_timer, attempt_timer;
    struct bailey_task flush, lose, read_on;
    struct bailey_error reason;
};

/* Every callback of the loop stands between these. leave(): false if the owner has closed the transport meanwhile: then it is
 * gone. */
void transport_enter(struct bailey_transport *t);
bool transport_leave(struct bailey_transport *t);

/* It is over, for t->reason; the owner is told by a task of its own. Returns false. */
bool transport_lose(struct bailey_transport *t);
/* The same, as the connection ended: for the system's `error`; 0: the peer closed it. */
bool transport_ended(struct bailey_transport *t, int error);
/* The same, for `err`, which names no address. */
bool transport_lost_for(struct bailey_transport *t, const struct bailey_error *err);

/* The connection carries the owner's bytes from now on. */
void transport_up(struct bailey_transport *t);

/* Read what there is, and hand it over. */
void transport_read(struct bailey_transport *t);
void transport_read_again(struct bailey_task *task);

/* The socket takes bytes again. */
void transport_writable(struct bailey_transport *t);

/* Write what waits, as much as the socket takes. False if the connection was lost by it. */
bool transport_write(struct bailey_transport *t);
void transport_flush(struct bailey_task *task);
/* WebSocket: say good-bye, if one write without waiting does it. */
void transport_part(struct bailey_transport *t);

#endif
