/* A byte stream to a broker: name look-up on a helper thread, non-blocking connect, TLS where asked for, reads into the loop's
 * buffer, gathered writes at the end of the turn.
 *
 *     RESOLVING → CONNECTING → (SECURING) → UP → LOST        any → closed by its owner
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

#include <bailey/host.h>

#include "loop/loop.h"
#include "loop/output.h"
#include "loop/tls.h"

enum transport_state { RESOLVING, CONNECTING, SECURING, UP, LOST };
enum { READS_MAX = 4, PIECES_MAX = 64 }; /* a call: so that one fast peer does not starve the others */

/* Outlives the transport if that is closed while the look-up runs. */
struct look_up {
    struct bailey_job job;
    struct bailey_transport *transport; /* NULL: closed meanwhile */
    struct addrinfo *found;
    int error;
    char port[8];
    char name[256];
};

struct bailey_transport {
    struct bailey_host *loop;
    const struct bailey_transport_ops *ops;
    void *ctx;
    char *name;
    uint16_t port;
    struct bailey_tls options;
    enum transport_state state;
    unsigned busy;
    bool closed, was_full, wants_write;

    struct look_up *look_up;
    struct addrinfo *addresses, *address;
    struct loop_watch *watch;
    int fd;
    struct tls *tls;

    uint8_t *input; /* what on_data left */
    size_t input_len, input_cap;
    struct output output;
    int64_t last_read_ms, last_write_ms;

    struct bailey_timer connect_timer;
    struct bailey_task flush, lose, read_on;
    struct bailey_error reason;
};

/* ---- Leaving ---- */

static void transport_free(struct bailey_transport *t)
{
    tls_free(t->tls);
    if (t->addresses != NULL)
        freeaddrinfo(t->addresses);
    output_free(&t->output);
    free(t->input);
    free((char *)(uintptr_t)t->options.ca);
    free((char *)(uintptr_t)t->options.cert);
    free((char *)(uintptr_t)t->options.key);
    free(t->name);
    free(t);
}

static void enter(struct bailey_transport *t)
{
    t->busy++;
}

/* False if the owner has closed it meanwhile: then it is gone. */
static bool leave(struct bailey_transport *t)
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
    bailey_again_stop(t->loop, &t->read_on);
    loop_at_turn_end_stop(t->loop, &t->flush);
    if (t->watch != NULL)
        loop_watch_close(t->watch);
    t->watch = NULL;
}

static void lose(struct bailey_transport *t)
{
    if (t->state == LOST)
        return;
    t->state = LOST;
    bailey_timer_stop(t->loop, &t->connect_timer);
    close_socket(t);
    bailey_again(t->loop, &t->lose);
}

static void tell_lost(struct bailey_task *task)
{
    struct bailey_transport *t = task->ctx;

    enter(t);
    t->ops->on_lost(t->ctx, &t->reason);
    leave(t);
}

void bailey_transport_close(struct bailey_transport *t)
{
    if (t == NULL)
        return;
    assert(!t->closed);
    t->closed = true;
    bailey_timer_stop(t->loop, &t->connect_timer);
    close_socket(t);
    bailey_again_stop(t->loop, &t->lose);
    if (t->look_up != NULL)
        t->look_up->transport = NULL;
    if (t->busy == 0)
        transport_free(t);
}

/* ---- Reading ---- */

static bool keep_input(struct bailey_transport *t, const uint8_t *data, size_t len)
{
    if (len > BAILEY_TRANSPORT_INPUT_MAX) {
        bailey_fail(&t->reason, BAILEY_ERR_PERMANENT, "%s:%u sent a unit of more than %d bytes", t->name, t->port,
                    BAILEY_TRANSPORT_INPUT_MAX);
        lose(t);
        return false;
    }
    if (len > 0 && t->input_cap < len) {
        t->input_cap = len;
        t->input = realloc(t->input, t->input_cap);
        if (t->input == NULL)
            abort();
    }
    if (len > 0)
        memmove(t->input, data, len);
    t->input_len = len;
    return true;
}

/* Where to read to: behind what on_data left, or into the loop's buffer. */
static uint8_t *read_space(struct bailey_transport *t, size_t *space)
{
    *space = LOOP_READ_BUFFER;
    if (t->input_len == 0)
        return loop_read_buffer(t->loop);
    if (t->input_cap < t->input_len + LOOP_READ_BUFFER) {
        t->input_cap = t->input_len + LOOP_READ_BUFFER;
        t->input = realloc(t->input, t->input_cap);
        if (t->input == NULL)
            abort();
    }
    return t->input + t->input_len;
}

/* Hand `got` bytes at `data`, with what was left before, to the owner. False if the transport is lost or closed. */
static bool give(struct bailey_transport *t, const uint8_t *data, size_t got)
{
    size_t len = t->input_len + got, used;

    if (t->input_len > 0)
        data = t->input;
    t->last_read_ms = bailey_now_ms(t->loop);
    used = t->ops->on_data(t->ctx, data, len);
    if (t->closed || t->state != UP)
        return false;
    assert(used <= len);
    if (used == len && t->input_cap > LOOP_READ_BUFFER) { /* nothing is left: an idle connection keeps no buffer */
        free(t->input);
        t->input = NULL;
        t->input_cap = 0;
    }
    return keep_input(t, data + used, len - used);
}

static bool lost_while(struct bailey_transport *t, const char *what, int error)
{
    bailey_fail_native(&t->reason, BAILEY_ERR_TRANSIENT, "errno", error, "%s %s:%u: %s", what, t->name, t->port,
                       error ? strerror(error) : "the peer closed the connection");
    lose(t);
    return false;
}

/* Returns the bytes read; 0: nothing now, or lost (then t->state says so). */
static size_t read_some(struct bailey_transport *t, uint8_t *data, size_t space)
{
    struct bailey_error err = {0};
    size_t done = 0;

    if (t->tls != NULL) {
        switch (tls_read(t->tls, data, space, &done, &err)) {
        case TLS_OK:
            return done;
        case TLS_WANT_READ:
            return 0;
        case TLS_WANT_WRITE:
            t->wants_write = true;
            loop_at_turn_end(t->loop, &t->flush);
            return 0;
        case TLS_CLOSED:
            lost_while(t, "connection lost to", 0);
            return 0;
        default:
            t->reason = err;
            lose(t);
            return 0;
        }
    }
    ssize_t got = recv(t->fd, data, space, 0);

    if (got > 0)
        return (size_t)got;
    if (got == 0)
        lost_while(t, "connection lost to", 0);
    else if (errno != EAGAIN && errno != EINTR)
        lost_while(t, "connection lost to", errno);
    return 0;
}

static void read_input(struct bailey_transport *t)
{
    for (int i = 0; i < READS_MAX; i++) {
        size_t space, got;
        uint8_t *data = read_space(t, &space);

        got = read_some(t, data, space);
        if (got == 0 || !give(t, data, got))
            return;
        if (got < space && t->tls == NULL)
            return; /* the socket is empty: the next recv would only say so */
    }
    if (t->tls != NULL)
        bailey_again(t->loop, &t->read_on); /* OpenSSL may hold bytes of which poll knows nothing */
}

static void read_again(struct bailey_task *task)
{
    struct bailey_transport *t = task->ctx;

    enter(t);
    read_input(t);
    leave(t);
}

/* ---- Writing ---- */

static bool write_tls(struct bailey_transport *t, const struct iovec *iov, int count, size_t *written)
{
    struct bailey_error err = {0};

    for (int i = 0; i < count; i++) {
        size_t done = 0;

        switch (tls_write(t->tls, iov[i].iov_base, iov[i].iov_len, &done, &err)) {
        case TLS_OK:
            *written += done;
            if (done < iov[i].iov_len)
                return true;
            break;
        case TLS_WANT_READ:
            return true; /* the next readable event flushes again */
        case TLS_WANT_WRITE:
            t->wants_write = true;
            return true;
        case TLS_CLOSED:
            return lost_while(t, "connection lost to", 0);
        default:
            t->reason = err;
            lose(t);
            return false;
        }
    }
    return true;
}

static bool write_plain(struct bailey_transport *t, struct iovec *iov, int count, size_t *written)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(t->fd, &msg, MSG_NOSIGNAL);

    if (sent >= 0) {
        *written = (size_t)sent;
        return true;
    }
    if (errno == EAGAIN || errno == EINTR) {
        t->wants_write = true;
        return true;
    }
    return lost_while(t, "connection lost to", errno);
}

static bool write_output(struct bailey_transport *t)
{
    struct iovec iov[PIECES_MAX];

    t->wants_write = false;
    while (t->output.len > 0 && !t->wants_write) {
        int count = output_peek(&t->output, iov, PIECES_MAX);
        size_t written = 0;

        if (!(t->tls != NULL ? write_tls(t, iov, count, &written) : write_plain(t, iov, count, &written)))
            return false;
        if (written == 0)
            break;
        output_written(&t->output, written);
        t->last_write_ms = bailey_now_ms(t->loop);
    }
    if (t->wants_write)
        loop_watch_writable(t->watch);
    return true;
}

static void flush(struct bailey_task *task)
{
    struct bailey_transport *t = task->ctx;

    if (t->watch == NULL)
        return;
    if (t->state != UP) { /* still connecting: just wait for the socket */
        loop_watch_writable(t->watch);
        return;
    }
    enter(t);
    if (write_output(t) && t->was_full && t->output.len < BAILEY_TRANSPORT_BACKLOG / 2) {
        t->was_full = false;
        if (t->ops->on_writable != NULL)
            t->ops->on_writable(t->ctx);
    }
    leave(t);
}

uint8_t *bailey_transport_reserve(struct bailey_transport *t, size_t len)
{
    return output_reserve(&t->output, len);
}

static void added(struct bailey_transport *t)
{
    if (t->output.len >= BAILEY_TRANSPORT_BACKLOG)
        t->was_full = true;
    if (t->state == UP && !t->wants_write)
        loop_at_turn_end(t->loop, &t->flush);
}

void bailey_transport_commit(struct bailey_transport *t, size_t len)
{
    output_commit(&t->output, len);
    added(t);
}

void bailey_transport_append(struct bailey_transport *t, const void *data, size_t len)
{
    output_append(&t->output, data, len);
    added(t);
}

size_t bailey_transport_backlog(const struct bailey_transport *t)
{
    return t->output.len;
}

int64_t bailey_transport_last_read_ms(const struct bailey_transport *t)
{
    return t->last_read_ms;
}

int64_t bailey_transport_last_write_ms(const struct bailey_transport *t)
{
    return t->last_write_ms;
}

/* ---- Connecting ---- */

static void try_next_address(struct bailey_transport *t);

static void up(struct bailey_transport *t)
{
    t->state = UP;
    bailey_timer_stop(t->loop, &t->connect_timer);
    t->last_read_ms = t->last_write_ms = bailey_now_ms(t->loop);
    if (t->output.len > 0)
        loop_at_turn_end(t->loop, &t->flush);
    t->ops->on_connected(t->ctx);
}

static void secure(struct bailey_transport *t)
{
    struct bailey_error err = {0};

    switch (tls_handshake(t->tls, &err)) {
    case TLS_OK:
        up(t);
        return;
    case TLS_WANT_READ:
        return;
    case TLS_WANT_WRITE:
        loop_at_turn_end(t->loop, &t->flush);
        return;
    case TLS_CLOSED:
        lost_while(t, "connection closed during the TLS handshake by", 0);
        return;
    default:
        bailey_fail_native(&t->reason, err.kind, err.domain, err.native, "%s:%u: %.180s", t->name, t->port, err.text);
        lose(t);
    }
}

static void connected(struct bailey_transport *t)
{
    int error = 0;
    socklen_t len = sizeof error;

    getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        lost_while(t, "cannot connect to", error);
        return;
    }
    if (!t->options.enabled) {
        up(t);
        return;
    }
    t->tls = tls_new(&t->options, t->name, t->fd, &t->reason);
    if (t->tls == NULL) {
        lose(t);
        return;
    }
    t->state = SECURING;
    secure(t);
}

/* The peer or the kernel ended it; what it sent before is still to be read, and SO_ERROR says why. */
static void ended(struct bailey_transport *t)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (t->state == UP)
        read_input(t);
    if (t->closed || t->state == LOST)
        return;
    getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (t->state == CONNECTING && t->address->ai_next != NULL) {
        close_socket(t);
        t->address = t->address->ai_next;
        try_next_address(t);
        return;
    }
    lost_while(t, t->state == CONNECTING ? "cannot connect to" : "connection lost to", error);
}

static void on_event(void *ctx, unsigned events)
{
    struct bailey_transport *t = ctx;

    enter(t);
    if (events & LOOP_CLOSED)
        ended(t);
    else if (t->state == CONNECTING)
        connected(t);
    else if (t->state == SECURING)
        secure(t);
    else if (events & LOOP_WRITABLE)
        loop_at_turn_end(t->loop, &t->flush);
    else if (t->state == UP)
        read_input(t);
    if (!t->closed && t->state == UP && t->tls != NULL && t->output.len > 0)
        loop_at_turn_end(t->loop, &t->flush);
    leave(t);
}

static bool open_socket(struct bailey_transport *t)
{
    const struct addrinfo *a = t->address;
    int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);

    if (fd < 0)
        return false;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS) {
        int error = errno;

        close(fd);
        errno = error;
        return false;
    }
    t->fd = fd;
    t->watch = loop_watch_open(t->loop, fd, on_event, t);
    if (t->watch == NULL) {
        errno = EMFILE;
        return false;
    }
    t->state = CONNECTING;
    loop_at_turn_end(t->loop, &t->flush); /* asks for writability there, outside of any callback */
    return true;
}

static void try_next_address(struct bailey_transport *t)
{
    for (;;) {
        if (open_socket(t))
            return;
        int error = errno;

        if (t->address->ai_next == NULL) {
            lost_while(t, "cannot connect to", error);
            return;
        }
        t->address = t->address->ai_next;
    }
}

static void look_up_work(struct bailey_job *job)
{
    struct look_up *look_up = job->ctx;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

    look_up->error = getaddrinfo(look_up->name, look_up->port, &hints, &look_up->found);
}

static void look_up_done(struct bailey_job *job)
{
    struct look_up *look_up = job->ctx;
    struct bailey_transport *t = look_up->transport;

    if (t == NULL || t->state == LOST) {
        if (look_up->error == 0)
            freeaddrinfo(look_up->found);
        if (t != NULL)
            t->look_up = NULL;
        free(look_up);
        return;
    }
    t->look_up = NULL;
    if (look_up->error != 0) {
        bailey_fail_native(&t->reason, BAILEY_ERR_TRANSIENT, "getaddrinfo", look_up->error,
                           "cannot resolve the host name %s: %s", t->name, gai_strerror(look_up->error));
        lose(t);
    } else {
        t->addresses = t->address = look_up->found;
        try_next_address(t);
    }
    free(look_up);
}

static void start_look_up(struct bailey_transport *t)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    char port[8];

    snprintf(port, sizeof port, "%u", t->port);
    if (getaddrinfo(t->name, port, &hints, &t->addresses) == 0) { /* an address: nothing to look up */
        t->address = t->addresses;
        try_next_address(t);
        return;
    }
    t->addresses = NULL;
    struct look_up *look_up = calloc(1, sizeof *look_up);

    if (look_up == NULL)
        abort();
    look_up->transport = t;
    snprintf(look_up->name, sizeof look_up->name, "%s", t->name);
    memcpy(look_up->port, port, sizeof port);
    look_up->job = (struct bailey_job){.work = look_up_work, .done = look_up_done, .ctx = look_up};
    t->look_up = look_up;
    bailey_job_start(t->loop, &look_up->job);
}

static void connect_timed_out(struct bailey_timer *timer)
{
    struct bailey_transport *t = timer->ctx;
    static const char *const doing[] = {
        [RESOLVING] = "looking up its name", [CONNECTING] = "connecting", [SECURING] = "the TLS handshake"};

    bailey_fail(&t->reason, BAILEY_ERR_TRANSIENT, "cannot connect to %s:%u: %s took longer than %d s", t->name, t->port,
                doing[t->state], BAILEY_TRANSPORT_CONNECT_MS / 1000);
    lose(t);
}

static char *copy_of(const char *str)
{
    char *copy = str != NULL ? strdup(str) : NULL;

    if (str != NULL && copy == NULL)
        abort();
    return copy;
}

struct bailey_transport *bailey_transport_open(struct bailey_host *host, const char *name, uint16_t port,
                                               const struct bailey_tls *tls, const struct bailey_transport_ops *ops,
                                               void *ctx)
{
    struct bailey_transport *t = calloc(1, sizeof *t);

    if (t == NULL)
        abort();
    *t = (struct bailey_transport){.loop = host, .ops = ops, .ctx = ctx, .name = copy_of(name), .port = port, .fd = -1};
    if (tls != NULL)
        t->options =
            (struct bailey_tls){tls->enabled, tls->insecure, copy_of(tls->ca), copy_of(tls->cert), copy_of(tls->key)};
    t->flush = (struct bailey_task){.run = flush, .ctx = t};
    t->lose = (struct bailey_task){.run = tell_lost, .ctx = t};
    t->read_on = (struct bailey_task){.run = read_again, .ctx = t};
    t->connect_timer = (struct bailey_timer){.fire = connect_timed_out, .ctx = t};
    bailey_timer_start(host, &t->connect_timer, BAILEY_TRANSPORT_CONNECT_MS);
    start_look_up(t);
    return t;
}
