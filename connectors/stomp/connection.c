/* The life of a connection: dial, frames, heart-beats, leave. What it says first is handshake.c.
 *
 * Whatever ends a connection ends in lost() or closed_now(): the transport is closed, the broker's next URL has its turn, the
 * end is told.
 */
#include "connection_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDLE_TICK_MS = 10000 };

static const char bye[] = "bye"; /* the receipt of DISCONNECT */

static struct bailey_host *host_of(const struct stomp_connection *conn)
{
    return conn->broker->host;
}

/* ---- Broker ---- */

bool stomp_broker_open(void **broker, const void *settings, const char *name, const char *instance,
                       struct bailey_host *host, struct bailey_error *err)
{
    struct stomp_broker *b = calloc(1, sizeof *b);

    if (b == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    *b = (struct stomp_broker){.settings = settings, .name = name, .instance = instance, .host = host};
    b->last_group = (uint32_t)bailey_random(host); /* so that a group of a former life is not met again */
    *broker = b;
    return true;
}

void stomp_broker_close(void *broker)
{
    struct stomp_broker *b = broker;

    bailey_connection_expected(b->host, b->name, -(int)b->vacant);
    stomp_lost_free(&b->lost);
    free(b);
}

struct bailey_host *stomp_broker_host(const struct stomp_broker *broker)
{
    return broker->host;
}

const struct stomp_broker_settings *stomp_broker_settings(const struct stomp_broker *broker)
{
    return broker->settings;
}

uint32_t stomp_broker_next_group(struct stomp_broker *broker)
{
    if (++broker->last_group == 0)
        broker->last_group = 1;
    return broker->last_group;
}

struct stomp_lost *stomp_broker_lost(struct stomp_broker *broker)
{
    return &broker->lost;
}

void stomp_broker_receipts_late(struct stomp_broker *broker, bool late)
{
    broker->receipts_late = late;
}

bool stomp_broker_is_late(const struct stomp_broker *broker)
{
    return broker->receipts_late;
}

/* ---- Output ---- */

struct stomp_writer stomp_connection_reserve(struct stomp_connection *conn, size_t len)
{
    uint8_t *at = bailey_transport_reserve(conn->transport, len);

    return (struct stomp_writer){.at = at, .end = at + len, .escapes = conn->escapes};
}

void stomp_connection_commit(struct stomp_connection *conn, const uint8_t *from, const struct stomp_writer *w)
{
    size_t len = (size_t)(w->at - from);

    bailey_transport_commit(conn->transport, len);
    conn->appended += len;
}

void stomp_connection_end_frame(struct stomp_connection *conn, bool text)
{
    bailey_transport_end_message(conn->transport, text);
}

void stomp_connection_append(struct stomp_connection *conn, struct bailey_bytes bytes)
{
    bailey_transport_append(conn->transport, bytes.data, bytes.len);
    conn->appended += bytes.len;
}

uint64_t stomp_connection_appended(const struct stomp_connection *conn)
{
    return conn->appended;
}

uint64_t stomp_connection_written(const struct stomp_connection *conn)
{
    return conn->transport == NULL ? conn->written_at_loss : conn->appended - bailey_transport_backlog(conn->transport);
}

bool stomp_connection_full(const struct stomp_connection *conn)
{
    return bailey_transport_backlog(conn->transport) >= BAILEY_TRANSPORT_BACKLOG;
}

void stomp_connection_pin(struct stomp_connection *conn, struct bailey_message *msg)
{
    bailey_transport_pin(conn->transport, msg);
}

void stomp_connection_hold(struct stomp_connection *conn, bool held)
{
    if (conn->transport == NULL || conn->is_held == held)
        return;
    conn->is_held = held;
    bailey_transport_hold(conn->transport, held);
}

bool stomp_receipt_number(struct bailey_bytes id, uint64_t *number)
{
    *number = 0;
    if (id.len == 0 || id.len > 18 || id.data[0] == '0')
        return false;
    for (size_t i = 0; i < id.len; i++) {
        if (id.data[i] < '0' || id.data[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(id.data[i] - '0');
    }
    return true;
}

/* ---- Down ---- */

static void dial(struct stomp_connection *conn);

static void drop_transport(struct stomp_connection *conn)
{
    if (conn->state == STOMP_OPEN)
        bailey_connection_up(host_of(conn), conn->broker->name, -1);
    conn->state = STOMP_NONE;
    if (conn->transport == NULL)
        return;
    conn->written_at_loss = stomp_connection_written(conn);
    bailey_transport_close(conn->transport);
    conn->transport = NULL;
    conn->is_held = false;
    conn->life++;
    bailey_timer_stop(host_of(conn), &conn->timer);
    bailey_again_stop(host_of(conn), &conn->breaking);
    conn->broken = (struct bailey_error){0};
    free(conn->error);
    conn->error = NULL;
    stomp_parser_fini(&conn->parser);
}

void stomp_connection_drop(struct stomp_connection *conn)
{
    drop_transport(conn);
}

static struct bailey_told_end end_of(const struct stomp_connection *conn)
{
    return (struct bailey_told_end){conn->route, conn->purpose};
}

static void log_loss(struct stomp_connection *conn, enum bailey_told_phase phase, const struct bailey_error *why)
{
    if (!bailey_told_failure(&conn->broker->told, end_of(conn), phase, why->text))
        return;
    bailey_log(why->kind == BAILEY_ERR_CONFIG ? BAILEY_LOG_ERROR : BAILEY_LOG_WARN,
               phase == BAILEY_TOLD_REFUSED ? "stomp.error" : "stomp.connection_failed",
               kv_str("broker", conn->broker->name), kv_str("address", conn->address), kv_str("for", conn->purpose),
               kv_error(why));
}

/* What came is no mistake: what this end met before is over. */
static void mark_working(struct stomp_connection *conn)
{
    if (conn->works || conn->state != STOMP_OPEN || conn->broken.kind != BAILEY_ERR_NONE)
        return;
    conn->works = true;
    bailey_told_works(&conn->broker->told, end_of(conn));
    stomp_handshake_tell(conn);
}

/* It could not be made, or was lost. `receipt`: see ops->lost. */
static void lost(struct stomp_connection *conn, const struct bailey_error *why, struct bailey_bytes receipt)
{
    struct bailey_error err = *why;
    struct stomp_broker *broker = conn->broker;
    bool was_open = conn->state == STOMP_OPEN, was_closing = conn->state == STOMP_CLOSING;
    char receipt_id[sizeof conn->error->receipt];

    if (receipt.data != NULL) {
        memcpy(receipt_id, receipt.data, receipt.len);
        receipt.data = (const uint8_t *)receipt_id;
    }
    drop_transport(conn);
    if (was_closing) {
        conn->ops->closed(conn);
        return;
    }
    if (broker->url_index == conn->url_index)
        broker->url_index = (broker->url_index + 1) % broker->settings->urls.count;
    log_loss(conn,
             !was_open              ? BAILEY_TOLD_BEFORE
             : receipt.data != NULL ? BAILEY_TOLD_REFUSED
                                    : BAILEY_TOLD_BEHIND,
             &err);
    conn->ops->lost(conn, &err, receipt);
}

static void break_now(struct bailey_task *task)
{
    struct stomp_connection *conn = task->ctx;

    if (conn->broken.kind != BAILEY_ERR_NONE && conn->transport != NULL)
        lost(conn, &conn->broken, BAILEY_NULL_BYTES);
}

void stomp_connection_give_up(struct stomp_connection *conn, const struct bailey_error *why)
{
    if (conn->broken.kind != BAILEY_ERR_NONE || conn->transport == NULL)
        return;
    conn->broken = *why;
    bailey_again(host_of(conn), &conn->breaking);
}

void stomp_connection_break(struct stomp_connection *conn, const char *fmt, ...)
{
    struct bailey_error err = {0};
    char text[160];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "%.60s: %s", conn->address, text);
    stomp_connection_give_up(conn, &err);
}

/* The broker refused CONNECT by `why`, or hung up behind it; true if another form of it is tried now. */
static bool tries_again(struct stomp_connection *conn)
{
    if (conn->state != STOMP_HANDSHAKE || !stomp_handshake_other_form(conn))
        return false;
    drop_transport(conn);
    dial(conn);
    return true;
}

/* ---- Leaving in order ---- */

void stomp_connection_close(struct stomp_connection *conn)
{
    enum { ROOM = 64 };
    struct stomp_writer w = stomp_connection_reserve(conn, ROOM);
    const uint8_t *from = w.at;

    assert(conn->state == STOMP_OPEN);
    stomp_write_command(&w, "DISCONNECT");
    stomp_write_header(&w, "receipt", bailey_bytes_of(bye));
    stomp_write_end_of_head(&w);
    stomp_write_body(&w, BAILEY_EMPTY_BYTES);
    stomp_connection_commit(conn, from, &w);
    stomp_connection_end_frame(conn, true);
    stomp_connection_hold(conn, false);
    bailey_connection_up(host_of(conn), conn->broker->name, -1);
    conn->state = STOMP_CLOSING;
    bailey_timer_start(host_of(conn), &conn->timer, STOMP_CLOSE_MS);
}

static void closed_now(struct stomp_connection *conn)
{
    drop_transport(conn);
    conn->ops->closed(conn);
}

/* ---- Frames ---- */

static void keep_text(char *out, size_t size, struct bailey_bytes text)
{
    size_t len = text.len < size ? text.len : size - 1;

    if (len > 0)
        memcpy(out, text.data, len);
    out[len] = '\0';
}

static void begin_error(struct stomp_connection *conn)
{
    conn->frame = STOMP_FRAME_ERROR;
    conn->error = calloc(1, sizeof *conn->error);
    if (conn->error == NULL)
        abort();
    keep_text(conn->error->message, sizeof conn->error->message, stomp_frame_header(&conn->parser, "message"));
    keep_text(conn->error->receipt, sizeof conn->error->receipt, stomp_frame_header(&conn->parser, "receipt-id"));
}

static void add_error_body(struct stomp_connection *conn, struct bailey_bytes part)
{
    struct stomp_error *error = conn->error;
    size_t room = sizeof error->body - 1 - error->body_len, len = part.len < room ? part.len : room;

    if (len > 0)
        memcpy(error->body + error->body_len, part.data, len);
    error->body_len += len;
}

/* The ERROR frame is there, or as much of it as came before the broker hung up: nothing that follows counts. */
static void error_came(struct stomp_connection *conn)
{
    struct bailey_error err = {0};

    if (tries_again(conn))
        return;
    stomp_handshake_mask(conn, conn->error->message);
    stomp_handshake_mask(conn, conn->error->body);
    stomp_reply_error(&err, conn->address, conn->error->message, conn->error->body);
    if (conn->state == STOMP_HANDSHAKE && err.kind == BAILEY_ERR_CONFIG)
        bailey_hint(&err, "The broker refused the log-in: check login, passcode and vhost.");
    lost(conn, &err, bailey_bytes_of(conn->error->receipt));
}

static void unexpected(struct stomp_connection *conn)
{
    struct bailey_bytes command = conn->parser.command;

    stomp_connection_break(conn, "unexpected frame %.*s%s", (int)command.len, (const char *)command.data,
                           conn->state == STOMP_HANDSHAKE ? " during the handshake" : "");
}

static void frame_begins(struct stomp_connection *conn)
{
    const struct stomp_parser *frame = &conn->parser;
    struct bailey_bytes receipt;

    conn->frame = STOMP_FRAME_OTHER;
    if (bailey_bytes_is(frame->command, "ERROR")) {
        begin_error(conn);
    } else if (conn->state == STOMP_HANDSHAKE) {
        if (bailey_bytes_is(frame->command, "CONNECTED"))
            stomp_handshake_connected(conn);
        else
            unexpected(conn);
    } else if (bailey_bytes_is(frame->command, "MESSAGE")) {
        conn->frame = conn->state == STOMP_OPEN ? STOMP_FRAME_MESSAGE : STOMP_FRAME_OTHER;
        if (conn->state == STOMP_OPEN)
            conn->ops->message(conn, frame);
        mark_working(conn);
    } else if (bailey_bytes_is(frame->command, "RECEIPT")) {
        receipt = stomp_frame_header(frame, "receipt-id");
        if (conn->state == STOMP_OPEN) {
            conn->ops->receipt(conn, receipt);
            mark_working(conn);
        } else if (bailey_bytes_is(receipt, bye)) {
            closed_now(conn);
        }
    } else {
        unexpected(conn);
    }
}

static void frame_body(struct stomp_connection *conn)
{
    struct bailey_bytes part = conn->parser.part;
    bool last = conn->parser.last;

    if (conn->frame == STOMP_FRAME_MESSAGE && conn->state == STOMP_OPEN) {
        conn->ops->body(conn, part, last);
    } else if (conn->frame == STOMP_FRAME_ERROR) {
        add_error_body(conn, part);
        if (last)
            error_came(conn);
    }
}

static void malformed(struct stomp_connection *conn)
{
    struct bailey_error err = {0};

    if (conn->state != STOMP_HANDSHAKE) {
        stomp_connection_break(conn, "malformed frame: %s", conn->parser.why);
        return;
    }
    bailey_fail(&err, BAILEY_ERR_CONFIG, "%.60s: what answers does not speak STOMP: %s", conn->address,
                conn->parser.why);
    bailey_hint(&err, "Check the port in the URL; use stomp+ssl:// if the broker expects TLS there.");
    stomp_connection_give_up(conn, &err);
}

/* Takes frames, and parts of them, as long as the connection lives. */
static size_t on_data(void *ctx, const uint8_t *data, size_t len)
{
    struct stomp_connection *conn = ctx;
    unsigned life = conn->life;
    size_t used = 0, took;

    while (conn->broken.kind == BAILEY_ERR_NONE) {
        enum stomp_event event = stomp_parse(&conn->parser, data + used, len - used, &took);

        used += took;
        if (event == STOMP_MORE)
            break;
        if (event == STOMP_BAD)
            malformed(conn);
        else if (event == STOMP_HEAD)
            frame_begins(conn);
        else if (event == STOMP_BODY)
            frame_body(conn);
        if (conn->life != life)
            return len; /* gone */
    }
    if (conn->state == STOMP_OPEN)
        conn->ops->input_end(conn);
    return conn->life == life && conn->broken.kind == BAILEY_ERR_NONE ? used : len;
}

/* ---- What the transport says ---- */

static void on_connected(void *ctx)
{
    struct stomp_connection *conn = ctx;

    conn->state = STOMP_HANDSHAKE;
    bailey_timer_start(host_of(conn), &conn->timer, STOMP_HANDSHAKE_MS);
    stomp_handshake_begin(conn);
}

static void on_writable(void *ctx)
{
    struct stomp_connection *conn = ctx;

    if (conn->state == STOMP_OPEN && conn->ops->writable != NULL)
        conn->ops->writable(conn);
}

static void on_lost(void *ctx, const struct bailey_error *why)
{
    struct stomp_connection *conn = ctx;
    struct bailey_error err = *why;

    if (conn->error != NULL) { /* the broker hung up within its last words */
        error_came(conn);
        return;
    }
    if (tries_again(conn))
        return;
    if (conn->state == STOMP_HANDSHAKE)
        bailey_hint(&err, "It hung up before CONNECTED: check the port, login, passcode, and whether it expects "
                          "stomp+ssl://.");
    lost(conn, &err, BAILEY_NULL_BYTES);
}

/* ---- Time ---- */

static int64_t tick_ms(const struct stomp_connection *conn)
{
    int64_t tick = IDLE_TICK_MS;

    if (conn->send_ms > 0 && conn->send_ms / 4 < tick)
        tick = conn->send_ms / 4;
    if (conn->receive_ms > 0 && conn->receive_ms / 4 < tick)
        tick = conn->receive_ms / 4;
    return tick;
}

/* We send within half of what was agreed, and bear twice of it. A broker that we do not read is not judged. */
static void beat(struct stomp_connection *conn)
{
    int64_t now = bailey_now_ms(host_of(conn));

    if (conn->receive_ms > 0 && !conn->is_held &&
        now - bailey_transport_last_read_ms(conn->transport) >= 2 * conn->receive_ms) {
        struct bailey_error err = {0};

        bailey_fail(&err, BAILEY_ERR_TRANSIENT, "%.60s: silent for %lld ms, twice the heart-beat", conn->address,
                    2 * (long long)conn->receive_ms);
        lost(conn, &err, BAILEY_NULL_BYTES);
        return;
    }
    if (now - conn->opened_ms >= BAILEY_TOLD_HOLDS_MS)
        mark_working(conn);
    if (conn->send_ms > 0 && now - bailey_transport_last_write_ms(conn->transport) >= conn->send_ms / 4 &&
        bailey_transport_backlog(conn->transport) == 0) {
        stomp_connection_append(conn, bailey_bytes_of("\n"));
        stomp_connection_end_frame(conn, true);
    }
    bailey_timer_start(host_of(conn), &conn->timer, tick_ms(conn));
}

static void on_timer(struct bailey_timer *timer)
{
    struct stomp_connection *conn = timer->ctx;
    struct bailey_error err = {0};

    switch (conn->state) {
    case STOMP_OPEN:
        beat(conn);
        break;
    case STOMP_CLOSING:
        closed_now(conn);
        break;
    default:
        bailey_fail(&err, BAILEY_ERR_TRANSIENT, "%.60s: the handshake took longer than %d s", conn->address,
                    STOMP_HANDSHAKE_MS / 1000);
        lost(conn, &err, BAILEY_NULL_BYTES);
    }
}

void stomp_connection_opened(struct stomp_connection *conn)
{
    struct stomp_broker *broker = conn->broker;

    conn->state = STOMP_OPEN;
    conn->works = conn->is_told = false;
    conn->opened_ms = bailey_now_ms(broker->host);
    if (bailey_told_connected(&broker->told, end_of(conn)))
        stomp_handshake_tell(conn);
    bailey_connection_up(broker->host, broker->name, 1);
    bailey_timer_start(broker->host, &conn->timer, tick_ms(conn));
    conn->ops->opened(conn);
}

/* ---- Dialing ---- */

static const struct bailey_transport_ops transport_ops = {
    .on_connected = on_connected,
    .on_data = on_data,
    .on_writable = on_writable,
    .on_lost = on_lost,
};

static void dial(struct stomp_connection *conn)
{
    const struct stomp_broker_settings *settings = conn->broker->settings;
    struct bailey_tls tls = {.insecure = !settings->tls_verify,
                             .ca = settings->tls_ca,
                             .cert = settings->tls_cert,
                             .key = settings->tls_key,
                             .key_password = settings->tls_key_password,
                             .broker = conn->broker->name};
    struct bailey_websocket websocket = {
        .protocols = settings->dialect == STOMP_GENERIC ? "v12.stomp, v11.stomp, v10.stomp" : "v12.stomp, v11.stomp"};
    struct stomp_url url;

    assert(conn->state == STOMP_NONE && conn->transport == NULL);
    conn->url_index = conn->broker->url_index;
    if (!stomp_url_parse(settings->urls.items[conn->url_index], &url, NULL)) /* check() has refused such a file */
        return;
    tls.enabled = url.tls;
    snprintf(conn->address, sizeof conn->address, strchr(url.host, ':') ? "[%s]:%u" : "%s:%u", url.host, url.port);
    conn->state = STOMP_DIALING;
    conn->appended = 0;
    /* Of an ERROR before CONNECTED nobody knows the version; CONNECTED itself is read without escapes. */
    conn->parser = (struct stomp_parser){.escapes = STOMP_ESCAPES_LENIENT, .body_max = conn->body_max};
    conn->frame = STOMP_FRAME_OTHER;
    conn->connect_sent = false;
    websocket.path = url.path;
    conn->is_websocket = url.websocket;
    conn->transport = bailey_transport_open(host_of(conn), url.host, url.port, &tls, url.websocket ? &websocket : NULL,
                                            &transport_ops, conn);
    stomp_url_wipe(&url);
}

void stomp_connection_dial(struct stomp_connection *conn)
{
    stomp_handshake_prepare(conn);
    dial(conn);
}

void stomp_connection_init(struct stomp_connection *conn)
{
    struct stomp_broker *broker = conn->broker;

    conn->timer = (struct bailey_timer){.fire = on_timer, .ctx = conn};
    conn->breaking = (struct bailey_task){.run = break_now, .ctx = conn};
    if (broker->vacant > 0)
        broker->vacant--;
    else
        bailey_connection_expected(broker->host, broker->name, 1);
}

void stomp_connection_fini(struct stomp_connection *conn, bool comes_back)
{
    struct stomp_broker *broker = conn->broker;

    drop_transport(conn);
    if (comes_back)
        broker->vacant++;
    else
        bailey_connection_expected(broker->host, broker->name, -1);
}
