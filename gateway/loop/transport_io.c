/* The bytes of a transport.
 *
 *     in:   socket → [TLS] → [answer of the WebSocket, then its frames taken off in place] → on_data
 *     out:  what the owner added → [frames of the WebSocket] → [TLS] → socket
 *
 * Reads go into the loop's buffer, or behind what on_data left; writes are gathered at the end of the turn.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/transport_impl.h"

enum { READS_MAX = 4, PIECES_MAX = 64 }; /* a call: so that one fast peer does not starve the others */

/* ---- Reading ---- */

static void need_input(struct bailey_transport *t, size_t cap)
{
    if (t->input_cap >= cap)
        return;
    t->input_cap = cap;
    t->input = realloc(t->input, cap);
    if (t->input == NULL)
        abort();
}

static bool keep_input(struct bailey_transport *t, const uint8_t *data, size_t len)
{
    if (len > BAILEY_TRANSPORT_INPUT_MAX) {
        bailey_fail(&t->reason, BAILEY_ERR_PERMANENT, "%.100s sent a unit of more than %d bytes", t->where,
                    BAILEY_TRANSPORT_INPUT_MAX);
        return transport_lose(t);
    }
    if (len > 0) {
        need_input(t, len); /* if `data` lies in it, it is large enough already */
        memmove(t->input, data, len);
    }
    t->input_len = len;
    return true;
}

/* Where to read to: behind what was left, or into the loop's buffer. */
static uint8_t *read_space(struct bailey_transport *t)
{
    if (t->input_len == 0)
        return loop_read_buffer(t->loop);
    need_input(t, t->input_len + LOOP_READ_BUFFER);
    return t->input + t->input_len;
}

/* Hand `got` bytes at `data`, with what was left before, to the owner. False if the transport is lost or closed. */
static bool give(struct bailey_transport *t, const uint8_t *data, size_t got)
{
    size_t len = t->input_len + got, used;

    if (len == 0)
        return true;
    if (t->input_len > 0)
        data = t->input;
    if (got > 0)
        t->last_read_ms = bailey_now_ms(t->loop);
    used = t->held ? 0 : t->ops->on_data(t->ctx, data, len);
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

/* Take the frames off what came; whoever is pinged answers. */
static bool unframe(struct bailey_transport *t, uint8_t *data, size_t got)
{
    struct bailey_error err = {0};
    size_t len = websocket_unframe(t->ws, data, got, &err);

    if (len > 0 && !give(t, data, len))
        return false;
    if (err.kind != BAILEY_ERR_NONE)
        return transport_lost_for(t, &err);
    if (websocket_has_output(t->ws) && !t->wants_write)
        loop_at_turn_end(t->loop, &t->flush);
    return true;
}

/* UPGRADING: with what came the answer may be complete; frames may follow at once. */
static bool read_answer(struct bailey_transport *t, uint8_t *data, size_t got)
{
    struct bailey_error err = {0};
    size_t len = t->input_len + got, used = 0;

    if (t->input_len > 0)
        data = t->input;
    switch (websocket_answer(t->ws, data, len, &used, &err)) {
    case WEBSOCKET_INCOMPLETE:
        return keep_input(t, data, len);
    case WEBSOCKET_REFUSED:
        return transport_lost_for(t, &err);
    case WEBSOCKET_AGREED:
        break;
    }
    t->input_len = 0;
    transport_up(t);
    if (t->closed || t->state != UP)
        return false;
    return used == len || unframe(t, data + used, len - used);
}

static bool take(struct bailey_transport *t, uint8_t *data, size_t got)
{
    if (t->state == UPGRADING)
        return read_answer(t, data, got);
    return t->ws != NULL ? unframe(t, data, got) : give(t, data, got);
}

static size_t read_tls(struct bailey_transport *t, uint8_t *data, size_t space)
{
    struct bailey_error err = {0};
    size_t done = 0;

    switch (tls_read(t->tls, data, space, &done, &err)) {
    case TLS_OK:
        return done;
    case TLS_WANT_READ:
        return 0;
    case TLS_WANT_WRITE: /* that the socket is readable says nothing now, and must not wake the loop */
        t->read_blocked = true;
        loop_watch_hold(t->watch, true);
        loop_at_turn_end(t->loop, &t->flush);
        return 0;
    case TLS_CLOSED:
        transport_ended(t, 0);
        return 0;
    default:
        transport_lost_for(t, &err);
        return 0;
    }
}

/* Returns the bytes read; 0: nothing now, or lost (then t->state says so). */
static size_t read_some(struct bailey_transport *t, uint8_t *data, size_t space)
{
    ssize_t got;

    if (t->tls != NULL)
        return read_tls(t, data, space);
    got = recv(t->fd, data, space, 0);
    if (got > 0)
        return (size_t)got;
    if (got == 0)
        transport_ended(t, 0);
    else if (errno != EAGAIN && errno != EINTR)
        transport_ended(t, errno);
    return 0;
}

static bool may_read(const struct bailey_transport *t)
{
    return !t->read_blocked && !(t->held && t->state == UP);
}

void transport_read(struct bailey_transport *t)
{
    for (int i = 0; i < READS_MAX; i++) {
        uint8_t *data = read_space(t);
        size_t got = may_read(t) ? read_some(t, data, LOOP_READ_BUFFER) : 0;

        if (got == 0 || !take(t, data, got))
            return;
        if (got < LOOP_READ_BUFFER && t->tls == NULL)
            return; /* the socket is empty: the next recv would only say so */
    }
    if (t->tls != NULL)
        bailey_again(t->loop, &t->read_on); /* OpenSSL may hold bytes of which poll knows nothing */
}

void transport_writable(struct bailey_transport *t)
{
    loop_at_turn_end(t->loop, &t->flush);
    if (!t->read_blocked)
        return;
    t->read_blocked = false;
    loop_watch_hold(t->watch, t->held && t->state == UP);
    transport_read(t);
}

void transport_read_again(struct bailey_task *task)
{
    struct bailey_transport *t = task->ctx;

    transport_enter(t);
    if (!t->held && (t->state != UP || give(t, t->input, 0)))
        transport_read(t);
    transport_leave(t);
}

void bailey_transport_hold(struct bailey_transport *t, bool held)
{
    if (t->held == held)
        return;
    t->held = held;
    if (t->state != UP) /* a handshake must read */
        return;
    loop_watch_hold(t->watch, held || t->read_blocked);
    if (held)
        return;
    t->last_read_ms = bailey_now_ms(t->loop);
    bailey_again(t->loop, &t->read_on); /* what on_data left, and what OpenSSL holds */
}

/* ---- Writing ---- */

/* The peer has left, maybe not without a word: what it said before (an ERROR, the reason of a WebSocket's close) is worth more
 * than that the pipe is broken. */
static bool write_failed(struct bailey_transport *t, int error)
{
    if (t->state == UP && !t->held)
        transport_read(t);
    return t->closed || t->state == LOST ? false : transport_ended(t, error);
}

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
            return write_failed(t, 0);
        default:
            return transport_lost_for(t, &err);
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
    return write_failed(t, errno);
}

/* One write of the oldest bytes. False if the connection was lost by it. */
static bool write_some(struct bailey_transport *t, struct output *from, size_t *written)
{
    struct iovec iov[PIECES_MAX];
    int count = output_peek(from, iov, PIECES_MAX);

    *written = 0;
    if (!(t->tls != NULL ? write_tls(t, iov, count, written) : write_plain(t, iov, count, written)))
        return false;
    output_written(from, *written);
    return true;
}

bool transport_write(struct bailey_transport *t)
{
    struct output *from = t->ws != NULL ? &t->wire : &t->output;
    size_t written = 1;

    for (t->wants_write = false; written > 0 && !t->wants_write;) {
        if (t->ws != NULL && t->state == UP && websocket_frame(t->ws, &t->output, &t->wire))
            t->last_write_ms = bailey_now_ms(t->loop);
        if (from->len == 0)
            break;
        if (!write_some(t, from, &written))
            return false;
        if (written > 0 && t->ws == NULL)
            t->last_write_ms = bailey_now_ms(t->loop);
    }
    pins_release(&t->pins, t->added - t->output.len);
    if (t->wants_write || t->read_blocked)
        loop_watch_writable(t->watch);
    return true;
}

void transport_flush(struct bailey_task *task)
{
    struct bailey_transport *t = task->ctx;

    if (t->watch == NULL)
        return;
    if (t->state < UPGRADING) { /* still connecting: just wait for the socket */
        loop_watch_writable(t->watch);
        return;
    }
    transport_enter(t);
    if (transport_write(t) && t->was_full && t->output.len < BAILEY_TRANSPORT_BACKLOG / 2) {
        t->was_full = false;
        if (t->ops->on_writable != NULL)
            t->ops->on_writable(t->ctx);
    }
    transport_leave(t);
}

void transport_part(struct bailey_transport *t)
{
    size_t written;

    if (t->ws == NULL || t->state != UP || t->fd < 0)
        return;
    websocket_close(t->ws, &t->wire);
    t->state = LOST; /* what fails now is no news */
    if (t->wire.len > 0 && t->wire.len < WEBSOCKET_WIRE_MAX)
        write_some(t, &t->wire, &written);
    t->state = UP;
}

/* ---- What the owner adds ---- */

static void added(struct bailey_transport *t, size_t len)
{
    t->added += len;
    if (t->output.len >= BAILEY_TRANSPORT_BACKLOG)
        t->was_full = true;
    if (t->state == UP && !t->wants_write)
        loop_at_turn_end(t->loop, &t->flush);
}

uint8_t *bailey_transport_reserve(struct bailey_transport *t, size_t len)
{
    return output_reserve(&t->output, len);
}

void bailey_transport_commit(struct bailey_transport *t, size_t len)
{
    output_commit(&t->output, len);
    added(t, len);
}

void bailey_transport_append(struct bailey_transport *t, const void *data, size_t len)
{
    output_append(&t->output, data, len);
    added(t, len);
}

void bailey_transport_pin(struct bailey_transport *t, struct bailey_message *msg)
{
    pins_add(&t->pins, msg, t->added);
}

void bailey_transport_end_message(struct bailey_transport *t, bool text)
{
    if (t->ws != NULL)
        websocket_end_message(t->ws, &t->output, text);
    added(t, 0);
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
