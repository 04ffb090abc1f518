/* A byte stream to a broker: name look-up on a thread of its own, non-blocking connect, TLS and a WebSocket where asked for. Its
 * bytes are transport_io.c's.
 *
 *     RESOLVING → CONNECTING → (SECURING) → (UPGRADING) → UP → LOST        any → closed by its owner
 *
 * What the owner closes inside a callback is freed when that callback has returned (`busy`). A loss is told by a task
 * of its own, so never from within a call of the owner's.
 */
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/transport_impl.h"

enum { ATTEMPT_MIN_MS = 1000, NAME_LEN_MAX = 255 };

/* ---- Leaving ---- */

static void free_secret(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

static void transport_free(struct bailey_transport *t)
{
    tls_free(t->tls);
    websocket_free(t->ws);
    output_free(&t->output);
    output_free(&t->wire);
    pins_free(&t->pins);
    free(t->input);
    free((char *)(uintptr_t)t->options.ca);
    free((char *)(uintptr_t)t->options.cert);
    free((char *)(uintptr_t)t->options.key);
    free((char *)(uintptr_t)t->options.broker);
    free((char *)(uintptr_t)t->options.key_password.file);
    free_secret((char *)(uintptr_t)t->options.key_password.value);
    free(t->where);
    free(t->name);
    free(t);
}

void transport_enter(struct bailey_transport *t)
{
    t->busy++;
}

bool transport_leave(struct bailey_transport *t)
{
    t->busy--;
    if (!t->closed)
        return true;
    if (t->busy == 0)
        transport_free(t);
    return false;
}

static void close_socket(struct bailey_transport *t)
{
    bailey_timer_stop(t->loop, &t->attempt_timer);
    bailey_again_stop(t->loop, &t->read_on);
    loop_at_turn_end_stop(t->loop, &t->flush);
    if (t->watch != NULL)
        loop_watch_close(t->watch);
    t->watch = NULL;
    t->fd = -1;
}

/* No callback of socket, timers or look-up comes any more. */
static void disconnect(struct bailey_transport *t)
{
    transport_part(t);
    bailey_timer_stop(t->loop, &t->connect_timer);
    close_socket(t);
    look_up_cancel(t->look_up);
    t->look_up = NULL;
}

bool transport_lose(struct bailey_transport *t)
{
    if (t->state == LOST)
        return false;
    disconnect(t);
    t->state = LOST;
    bailey_again(t->loop, &t->lose);
    return false;
}

/* `error` is the system's; 0: the peer closed it. */
static void say_while(struct bailey_transport *t, const char *what, int error)
{
    bailey_fail_native(&t->reason, BAILEY_ERR_TRANSIENT, "errno", error, "%s %.150s: %s", what, t->where,
                       error ? strerror(error) : "the peer closed the connection");
}

/* Who is silent or hangs up in a handshake may be waiting for another protocol. */
static void hint_at_port(struct bailey_transport *t)
{
    if (t->state == SECURING || t->state == UPGRADING)
        bailey_hint(&t->reason, "Check that the port is the one for %s.", t->state == SECURING ? "TLS" : "WebSockets");
}

bool transport_ended(struct bailey_transport *t, int error)
{
    const char *what = t->state == SECURING    ? "connection lost during the TLS handshake to"
                       : t->state == UPGRADING ? "connection lost during the WebSocket handshake to"
                                               : "connection lost to";

    if (t->state == LOST)
        return false;
    say_while(t, what, error);
    hint_at_port(t);
    return transport_lose(t);
}

bool transport_lost_for(struct bailey_transport *t, const struct bailey_error *err)
{
    if (t->state != LOST) {
        bailey_fail_native(&t->reason, err->kind, err->domain, err->native, "%.100s: %s", t->where, err->text);
        bailey_hint(&t->reason, "%s", err->hint);
    }
    return transport_lose(t);
}

static void tell_lost(struct bailey_task *task)
{
    struct bailey_transport *t = task->ctx;

    transport_enter(t);
    t->ops->on_lost(t->ctx, &t->reason);
    transport_leave(t);
}

void bailey_transport_close(struct bailey_transport *t)
{
    if (t == NULL)
        return;
    assert(!t->closed);
    disconnect(t);
    t->closed = true;
    pins_release(&t->pins, UINT64_MAX);
    bailey_again_stop(t->loop, &t->lose);
    if (t->busy == 0)
        transport_free(t);
}

/* ---- Connecting ---- */

static void try_address(struct bailey_transport *t);

void transport_up(struct bailey_transport *t)
{
    t->state = UP;
    bailey_timer_stop(t->loop, &t->connect_timer);
    t->last_read_ms = t->last_write_ms = bailey_now_ms(t->loop);
    if (t->output.len > 0)
        loop_at_turn_end(t->loop, &t->flush);
    if (t->held)
        loop_watch_hold(t->watch, true);
    t->ops->on_connected(t->ctx);
}

/* TCP and TLS are up. */
static void connected(struct bailey_transport *t)
{
    if (t->ws == NULL) {
        transport_up(t);
        return;
    }
    t->state = UPGRADING;
    websocket_request(t->ws, &t->wire);
    loop_at_turn_end(t->loop, &t->flush);
}

static void secure(struct bailey_transport *t)
{
    struct bailey_error err = {0};

    switch (tls_handshake(t->tls, &err)) {
    case TLS_OK:
        connected(t);
        return;
    case TLS_WANT_READ:
        return;
    case TLS_WANT_WRITE:
        loop_at_turn_end(t->loop, &t->flush);
        return;
    case TLS_CLOSED:
        transport_ended(t, 0);
        return;
    default:
        transport_lost_for(t, &err);
    }
}

static void begin_tls(struct bailey_transport *t)
{
    struct bailey_error err = {0};

    if (t->options.insecure)
        tls_warn_insecure(t->options.broker, t->where);
    t->tls = tls_new(loop_tls_store(t->loop), &t->options, t->name, t->fd, &err);
    if (t->tls == NULL) {
        transport_lost_for(t, &err);
        return;
    }
    t->state = SECURING;
    secure(t);
}

static void cannot_connect(struct bailey_transport *t, int error)
{
    say_while(t, "cannot connect to", error);
    transport_lose(t);
}

/* This address does not answer: the next one, if there is one. */
static void attempt_failed(struct bailey_transport *t, int error)
{
    close_socket(t);
    if (++t->address < t->addresses.count)
        try_address(t);
    else
        cannot_connect(t, error);
}

static void attempt_timed_out(struct bailey_timer *timer)
{
    attempt_failed(timer->ctx, ETIMEDOUT);
}

static int socket_error(const struct bailey_transport *t)
{
    int error = 0;
    socklen_t len = sizeof error;

    getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

static void tcp_connected(struct bailey_transport *t)
{
    int error = socket_error(t);

    bailey_timer_stop(t->loop, &t->attempt_timer);
    if (error != 0)
        attempt_failed(t, error);
    else if (t->options.enabled)
        begin_tls(t);
    else
        connected(t);
}

/* The peer or the kernel ended it; what it sent before is still to be read, and SO_ERROR says why. */
static void ended(struct bailey_transport *t)
{
    if (t->state == UP || t->state == UPGRADING)
        transport_read(t);
    else if (t->state == SECURING)
        secure(t);
    if (t->closed || t->state == LOST)
        return;
    if (t->state == CONNECTING)
        attempt_failed(t, socket_error(t));
    else
        transport_ended(t, socket_error(t));
}

static void on_event(void *ctx, unsigned events)
{
    struct bailey_transport *t = ctx;

    transport_enter(t);
    if (events & LOOP_CLOSED)
        ended(t);
    else if (t->state == CONNECTING)
        tcp_connected(t);
    else if (t->state == SECURING)
        secure(t);
    else if (events & LOOP_WRITABLE)
        transport_writable(t);
    else if (t->state == UP || t->state == UPGRADING)
        transport_read(t);
    if (!t->closed && t->state == UP && t->tls != NULL && t->output.len + t->wire.len > 0)
        loop_at_turn_end(t->loop, &t->flush);
    transport_leave(t);
}

static bool open_socket(struct bailey_transport *t)
{
    const struct address *a = &t->addresses.items[t->address];
    int on = 1;
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

    if (fd < 0)
        return false;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (connect(fd, &a->any, a->len) != 0 && errno != EINPROGRESS) {
        int error = errno;

        close(fd);
        errno = error;
        return false;
    }
    t->watch = loop_watch_open(t->loop, fd, on_event, t);
    if (t->watch == NULL) {
        errno = EMFILE;
        return false;
    }
    t->fd = fd;
    t->state = CONNECTING;
    loop_at_turn_end(t->loop, &t->flush); /* asks for writability there, outside of any callback */
    return true;
}

/* One that hangs must leave time for the next. */
static void bound_attempt(struct bailey_transport *t)
{
    int64_t share_ms = BAILEY_TRANSPORT_CONNECT_MS / (int64_t)t->addresses.count;

    if (t->address + 1 < t->addresses.count)
        bailey_timer_start(t->loop, &t->attempt_timer, share_ms > ATTEMPT_MIN_MS ? share_ms : ATTEMPT_MIN_MS);
}

static void try_address(struct bailey_transport *t)
{
    int error = 0;

    for (; t->address < t->addresses.count; t->address++) {
        if (open_socket(t)) {
            bound_attempt(t);
            return;
        }
        error = errno;
    }
    cannot_connect(t, error);
}

static void looked_up(void *ctx, int error, const struct addresses *found)
{
    struct bailey_transport *t = ctx;

    t->look_up = NULL;
    if (error != 0) {
        bailey_fail_native(&t->reason, BAILEY_ERR_TRANSIENT, "getaddrinfo", error,
                           "cannot resolve the host name %s: %s", t->name, gai_strerror(error));
        transport_lose(t);
        return;
    }
    t->addresses = *found;
    try_address(t);
}

static void connect_timed_out(struct bailey_timer *timer)
{
    struct bailey_transport *t = timer->ctx;
    static const char *const doing[] = {[RESOLVING] = "looking up its name",
                                        [CONNECTING] = "connecting",
                                        [SECURING] = "the TLS handshake",
                                        [UPGRADING] = "the WebSocket handshake"};

    bailey_fail(&t->reason, BAILEY_ERR_TRANSIENT, "cannot connect to %.100s: %s took longer than %d s", t->where,
                doing[t->state], BAILEY_TRANSPORT_CONNECT_MS / 1000);
    hint_at_port(t);
    transport_lose(t);
}

/* ---- Opening ---- */

static char *copy_of(const char *str)
{
    char *copy = str != NULL ? strdup(str) : NULL;

    if (str != NULL && copy == NULL)
        abort();
    return copy;
}

static char *where(const char *name, uint16_t port)
{
    char *text;

    if (asprintf(&text, strchr(name, ':') != NULL ? "[%s]:%u" : "%s:%u", name, port) < 0)
        abort();
    return text;
}

static void begin(struct bailey_transport *t)
{
    bailey_timer_start(t->loop, &t->connect_timer, BAILEY_TRANSPORT_CONNECT_MS);
    if (strlen(t->name) > NAME_LEN_MAX) {
        bailey_fail(&t->reason, BAILEY_ERR_CONFIG, "the host name %.60s... is longer than %d bytes", t->name,
                    NAME_LEN_MAX);
        transport_lose(t);
    } else if (resolve_address(t->name, t->port, &t->addresses)) {
        try_address(t);
    } else {
        t->look_up = look_up_start(t->loop, t->name, t->port, looked_up, t);
    }
}

struct bailey_transport *bailey_transport_open(struct bailey_host *host, const char *name, uint16_t port,
                                               const struct bailey_tls *tls, const struct bailey_websocket *websocket,
                                               const struct bailey_transport_ops *ops, void *ctx)
{
    struct bailey_transport *t = calloc(1, sizeof *t);

    if (t == NULL)
        abort();
    *t = (struct bailey_transport){.loop = host, .ops = ops, .ctx = ctx, .name = copy_of(name), .port = port, .fd = -1};
    t->where = where(name, port);
    if (tls != NULL)
        t->options =
            (struct bailey_tls){.enabled = tls->enabled,
                                .insecure = tls->insecure,
                                .ca = copy_of(tls->ca),
                                .cert = copy_of(tls->cert),
                                .key = copy_of(tls->key),
                                .key_password = {copy_of(tls->key_password.value), copy_of(tls->key_password.file)},
                                .broker = copy_of(tls->broker)};
    if (websocket != NULL)
        t->ws = websocket_new(websocket, name, port, t->options.enabled);
    t->flush = (struct bailey_task){.run = transport_flush, .ctx = t};
    t->lose = (struct bailey_task){.run = tell_lost, .ctx = t};
    t->read_on = (struct bailey_task){.run = transport_read_again, .ctx = t};
    t->connect_timer = (struct bailey_timer){.fire = connect_timed_out, .ctx = t};
    t->attempt_timer = (struct bailey_timer){.fire = attempt_timed_out, .ctx = t};
    begin(t);
    return t;
}

const char *bailey_transport_subprotocol(const struct bailey_transport *t)
{
    return t->ws != NULL ? websocket_subprotocol(t->ws) : "";
}
