/* A sender: one connection, a RECEIPT for every message, a window of what has none yet, one verdict for each delivery.
 *
 *     dial → CONNECTED: up → ... → ERROR because of a message: held → dial → suspects alone → up
 *
 * No RECEIPT within receipt_timeout: the oldest is in doubt, and with it all that were sent after it; the connection is given
 * up. The time counts from when a SEND became the oldest: by itself, or by the RECEIPT of the one before it. So a broker that is
 * slow but steady keeps its connection, and one that never tells of a message does not hold it behind others for ever. ERROR ends the connection. If it names the receipt of a message (ActiveMQ, Artemis), that one is refused and the others
 * are sent again, marked. If it names none (RabbitMQ), all that were unconfirmed are suspects, and are sent again one at a time
 * until the culprit has ended a connection alone. When the lane tries a known culprit again, it is sent while nothing else is
 * unconfirmed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "connection.h"
#include "options.h"
#include "send.h"
#include "window.h"

enum {
    BATCH_MAX = 256,          /* verdicts given at once */
    CULPRITS_MAX = 32,        /* that are remembered */
    INPUT_BODY_MAX = 1 << 20, /* of what a broker says to a sender: RECEIPT has none, ERROR a stack trace */
};

struct sink {
    struct stomp_connection conn; /* first */
    struct stomp_broker *broker;
    struct bailey_host *host;
    struct bailey_port *port;
    const struct stomp_sink_settings *settings;
    size_t max_unconfirmed;
    struct bailey_task later;
    struct bailey_timer receipt; /* when the oldest must have its RECEIPT */
    int64_t wall_ms, now_ms;     /* of this call of send() */

    bool is_starved; /* send() took less than it was given */
    bool failed, closing;
    struct stomp_window window;
    int64_t advanced_ms; /* when a RECEIPT last made another one the oldest */

    struct bailey_delivery *confirmed[BATCH_MAX]; /* gathered in this turn */
    size_t confirmed_count;

    struct bailey_delivery **suspects; /* [next_suspect, suspect_count) */
    size_t next_suspect, suspect_count;
    bool is_probing;                    /* the next suspect is out, alone */
    const void *culprits[CULPRITS_MAX]; /* addresses of deliveries, to be compared only: one may be of another by now */
    unsigned next_culprit;
    bool wants_empty; /* a known culprit waits until nothing is unconfirmed */
    bool is_alone;    /* it is out, and nothing else may be */
};

/* ---- Verdicts ---- */

static void confirm_gathered(struct sink *sink)
{
    size_t count = sink->confirmed_count;

    sink->confirmed_count = 0;
    if (count > 0)
        bailey_confirm(sink->port, sink->confirmed, count);
}

static void gather_confirm(struct sink *sink, struct bailey_delivery *delivery)
{
    sink->confirmed[sink->confirmed_count++] = delivery;
    if (sink->confirmed_count == BATCH_MAX)
        confirm_gathered(sink);
}

static bool has_suspects(const struct sink *sink)
{
    return sink->next_suspect < sink->suspect_count;
}

static void on_receipt(struct stomp_connection *conn, struct bailey_bytes id)
{
    struct sink *sink = (struct sink *)conn;
    struct bailey_delivery *delivery = NULL;
    uint64_t number, oldest = sink->window.base;

    if (stomp_receipt_number(id, &number))
        delivery = stomp_window_take(&sink->window, number);
    if (delivery == NULL) {
        stomp_connection_break(conn, "a RECEIPT for nothing that was sent");
        return;
    }
    if (sink->window.base != oldest)
        sink->advanced_ms = bailey_now_ms(sink->host);
    if (sink->is_probing) {
        sink->is_probing = false;
        sink->next_suspect++;
    }
    stomp_broker_receipts_late(sink->broker, false);
    gather_confirm(sink, delivery);
}

static bool was_written(const struct sink *sink, const struct bailey_delivery *delivery)
{
    return delivery->sink_tag < stomp_connection_written(&sink->conn);
}

/* Hand back what is unconfirmed: in doubt, if a byte of it may have left; those not written at all are the newest. */
static void hand_back_window(struct sink *sink)
{
    struct bailey_delivery *batch[BATCH_MAX];
    bool in_doubt = true;
    size_t count = 0;

    for (uint64_t number = sink->window.base, end = sink->window.next; number < end; number++) {
        struct bailey_delivery *delivery = stomp_window_take(&sink->window, number);

        if (delivery == NULL)
            continue;
        if (count == BATCH_MAX || (count > 0 && in_doubt != was_written(sink, delivery))) {
            bailey_hand_back(sink->port, batch, count, in_doubt);
            count = 0;
        }
        in_doubt = was_written(sink, delivery);
        batch[count++] = delivery;
    }
    if (count > 0)
        bailey_hand_back(sink->port, batch, count, in_doubt);
}

static void hand_back_suspects(struct sink *sink)
{
    struct bailey_delivery **suspects = sink->suspects + sink->next_suspect;
    size_t count = sink->suspect_count - sink->next_suspect;

    if (sink->is_probing) /* it is in the window too */
        stomp_window_take(&sink->window, sink->window.base);
    sink->is_probing = false;
    sink->next_suspect = sink->suspect_count = 0;
    if (count > 0)
        bailey_hand_back(sink->port, suspects, count, true);
}

static void hand_back_all(struct sink *sink)
{
    confirm_gathered(sink);
    hand_back_suspects(sink);
    hand_back_window(sink);
}

/* ---- Sending ---- */

static bool may_go(const struct sink *sink, struct bailey_bytes destination, struct bailey_error *err)
{
    if (destination.len > 0 && sink->settings->unroutable == STOMP_UNROUTABLE_ACCEPT)
        return true;
    return stomp_dialect_takes(sink->conn.dialect, destination, err);
}

/* How long the oldest may still wait for its RECEIPT. The window must not be empty. */
static int64_t patience_left_ms(const struct sink *sink)
{
    int64_t sent_ms = stomp_window_oldest_ms(&sink->window);
    int64_t since_ms = sent_ms > sink->advanced_ms ? sent_ms : sink->advanced_ms;

    return since_ms + stomp_broker_settings(sink->broker)->receipt_timeout_ms - bailey_now_ms(sink->host);
}

static void watch_receipts(struct sink *sink)
{
    int64_t left_ms = patience_left_ms(sink);

    bailey_timer_start(sink->host, &sink->receipt, left_ms > 0 ? left_ms : 0);
}

/* False: refused. */
static bool send_one(struct sink *sink, struct bailey_delivery *delivery, bool again)
{
    struct bailey_error err = {0};
    uint64_t start = stomp_connection_appended(&sink->conn);
    struct stomp_send send = {
        .destination = bailey_delivery_text(delivery, sink->settings->destination),
        .receipt = sink->window.next,
        .headers = &sink->settings->headers,
        .map = {sink->conn.dialect, sink->settings->persistent, &sink->settings->pass_headers, sink->port->dedup_scope},
        .wall_ms = sink->wall_ms,
        .deliver_at_ms = delivery->deliver_at_ms,
        .marks = {delivery->id, again || delivery->possible_duplicate},
    };

    if (!may_go(sink, send.destination, &err) || !stomp_send(&sink->conn, delivery->message, &send, &err)) {
        bailey_refuse(sink->port, delivery, &err);
        return false;
    }
    delivery->sink_tag = start;
    stomp_window_push(&sink->window, delivery, sink->now_ms);
    if (sink->window.count == 1)
        watch_receipts(sink);
    return true;
}

/* A broker that gave no RECEIPT in time (RabbitMQ under an alarm stops reading) gets one message until it gives one: each
 * that it has and does not confirm may arrive again. */
static bool has_room(const struct sink *sink)
{
    size_t max = stomp_broker_is_late(sink->broker) ? 1 : sink->max_unconfirmed;

    return sink->window.count < max && !stomp_connection_full(&sink->conn);
}

static bool takes(const struct sink *sink)
{
    return sink->conn.state == STOMP_OPEN && !sink->is_alone && !has_suspects(sink);
}

static bool is_known_culprit(const struct sink *sink, const struct bailey_delivery *delivery)
{
    for (size_t i = 0; delivery->attempts > 0 && i < CULPRITS_MAX; i++)
        if (sink->culprits[i] == delivery)
            return true;
    return false;
}

static void read_clocks(struct sink *sink)
{
    sink->wall_ms = bailey_wall_ms(sink->host);
    sink->now_ms = bailey_now_ms(sink->host);
}

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct sink *sink = self;
    size_t taken = 0;

    read_clocks(sink);
    sink->wants_empty = false;
    while (taken < count && takes(sink) && has_room(sink)) {
        bool alone = is_known_culprit(sink, batch[taken]);

        sink->wants_empty = alone && sink->window.count > 0;
        if (sink->wants_empty)
            break;
        sink->is_alone = send_one(sink, batch[taken++], false) && alone;
    }
    sink->is_starved = taken < count;
    return taken;
}

static void feed(struct sink *sink)
{
    if (sink->window.count == 0)
        sink->is_alone = sink->wants_empty = false;
    if (!sink->is_starved || sink->wants_empty || !takes(sink) || !has_room(sink))
        return;
    sink->is_starved = false;
    bailey_writable(sink->port);
}

/* ---- The culprit ---- */

/* Send the next suspect, alone. */
static void probe(struct sink *sink)
{
    if (sink->conn.state != STOMP_OPEN || sink->is_probing || sink->suspect_count == 0)
        return;
    read_clocks(sink);
    while (has_suspects(sink) && !sink->is_probing) {
        sink->is_probing = true;
        if (!send_one(sink, sink->suspects[sink->next_suspect], true)) { /* expired meanwhile */
            sink->is_probing = false;
            sink->next_suspect++;
        }
    }
    if (has_suspects(sink))
        return;
    sink->next_suspect = sink->suspect_count = 0;
    bailey_up(sink->port);
}

static void refuse_culprit(struct sink *sink, struct bailey_delivery *delivery, const struct bailey_error *why)
{
    struct bailey_error err = *why;

    err.kind = stomp_reply_is_unroutable(why) ? BAILEY_ERR_UNROUTABLE : BAILEY_ERR_PERMANENT;
    sink->culprits[sink->next_culprit++ % CULPRITS_MAX] = delivery;
    bailey_refuse(sink->port, delivery, &err);
}

/* All that are unconfirmed become suspects: those that wait already stay behind them. */
static void suspect_window(struct sink *sink)
{
    free(sink->suspects);
    sink->suspects = malloc(sink->window.count * sizeof *sink->suspects);
    if (sink->suspects == NULL)
        abort();
    sink->next_suspect = sink->suspect_count = 0;
    for (uint64_t number = sink->window.base, end = sink->window.next; number < end; number++) {
        struct bailey_delivery *delivery = stomp_window_take(&sink->window, number);

        if (delivery != NULL)
            sink->suspects[sink->suspect_count++] = delivery;
    }
}

/* The delivery that an ERROR is about: by the receipt-id, or because nothing else was out. Taken out of the window. */
static struct bailey_delivery *find_culprit(struct sink *sink, struct bailey_bytes receipt)
{
    uint64_t number;

    if (sink->window.count == 1)
        return stomp_window_take(&sink->window, sink->window.base);
    return stomp_receipt_number(receipt, &number) ? stomp_window_take(&sink->window, number) : NULL;
}

/* An ERROR while messages were unconfirmed: it is about one of them. */
static void blame(struct sink *sink, const struct bailey_error *why, struct bailey_bytes receipt)
{
    struct bailey_delivery *culprit = find_culprit(sink, receipt);

    if (culprit != NULL && sink->is_probing) {
        sink->is_probing = false;
        sink->next_suspect++;
    }
    if (culprit != NULL)
        refuse_culprit(sink, culprit, why);
    bailey_held(sink->port, "the broker refused one of the messages, and the connection with it");
    if (culprit == NULL) {
        bailey_log(BAILEY_LOG_WARN, "stomp.culprit_wanted", kv_str("route", sink->port->route),
                   kv_u64("suspects", sink->window.count), kv_error(why));
        suspect_window(sink);
    } else {
        hand_back_window(sink);
    }
    stomp_connection_dial(&sink->conn);
}

/* What the operator must change is no message's fault, if it would meet every message alike. */
static bool is_about_a_message(const struct sink *sink, const struct bailey_error *err, struct bailey_bytes receipt)
{
    return receipt.data != NULL && sink->window.count > 0 &&
           (err->kind != BAILEY_ERR_CONFIG || sink->settings->destination->slot >= 0);
}

/* ---- Failing ---- */

static void finish_close(struct sink *sink)
{
    bailey_again(sink->host, &sink->later);
}

static void fail(struct sink *sink, const struct bailey_error *err)
{
    if (sink->failed)
        return;
    sink->failed = true;
    hand_back_all(sink);
    if (sink->closing)
        finish_close(sink);
    else
        bailey_down(sink->port, err);
}

static void on_lost(struct stomp_connection *conn, const struct bailey_error *err, struct bailey_bytes receipt)
{
    struct sink *sink = (struct sink *)conn;

    bailey_timer_stop(sink->host, &sink->receipt);
    confirm_gathered(sink);
    if (!sink->closing && is_about_a_message(sink, err, receipt))
        blame(sink, err, receipt);
    else
        fail(sink, err);
}

static void receipt_is_late(struct bailey_timer *timer)
{
    struct sink *sink = timer->ctx;

    if (sink->window.count == 0 || sink->conn.state != STOMP_OPEN)
        return;
    if (patience_left_ms(sink) > 0) {
        watch_receipts(sink);
        return;
    }
    stomp_broker_receipts_late(sink->broker, true);
    stomp_connection_break(&sink->conn, "no RECEIPT within %lld ms",
                           (long long)stomp_broker_settings(sink->broker)->receipt_timeout_ms);
}

/* ---- What the connection says ---- */

/* The destination of all messages may be one that this broker cannot take: say so once, not for each. */
static bool refuses_destination(struct sink *sink)
{
    const struct bailey_template *destination = sink->settings->destination;
    struct bailey_error err = {0};

    if (destination->slot >= 0 || may_go(sink, destination->constant, &err))
        return false;
    err.kind = BAILEY_ERR_CONFIG;
    stomp_connection_drop(&sink->conn);
    fail(sink, &err);
    return true;
}

static void on_opened(struct stomp_connection *conn)
{
    struct sink *sink = (struct sink *)conn;

    if (refuses_destination(sink))
        return;
    stomp_window_reset(&sink->window);
    sink->is_alone = sink->wants_empty = false;
    if (has_suspects(sink))
        probe(sink);
    else
        bailey_up(sink->port);
    feed(sink);
}

static void on_message(struct stomp_connection *conn, const struct stomp_parser *frame)
{
    (void)frame;
    stomp_connection_break(conn, "a MESSAGE without a subscription");
}

static void on_body(struct stomp_connection *conn, struct bailey_bytes part, bool last)
{
    (void)conn, (void)part, (void)last;
}

static void on_input_end(struct stomp_connection *conn)
{
    struct sink *sink = (struct sink *)conn;

    confirm_gathered(sink);
    probe(sink);
    feed(sink);
}

static void on_writable(struct stomp_connection *conn)
{
    feed((struct sink *)conn);
}

/* ---- Beginning and end ---- */

static void sink_free(struct sink *sink)
{
    stomp_connection_fini(&sink->conn, sink->failed);
    bailey_again_stop(sink->host, &sink->later);
    bailey_timer_stop(sink->host, &sink->receipt);
    stomp_window_free(&sink->window);
    free(sink->suspects);
    free(sink);
}

static void tell_closed(struct bailey_task *task)
{
    struct sink *sink = task->ctx;
    struct bailey_port *port = sink->port;

    sink_free(sink);
    bailey_closed(port);
}

static void on_closed(struct stomp_connection *conn)
{
    finish_close((struct sink *)conn);
}

/* What is handed back as never sent must not be sent later: then we hang up at once. */
static void sink_close(void *self)
{
    struct sink *sink = self;
    bool was_idle = sink->window.count == 0 && !has_suspects(sink);

    sink->closing = true;
    bailey_timer_stop(sink->host, &sink->receipt);
    hand_back_all(sink);
    if (was_idle && sink->conn.state == STOMP_OPEN) {
        stomp_connection_close(&sink->conn);
        return;
    }
    stomp_connection_drop(&sink->conn);
    finish_close(sink);
}

static const struct stomp_connection_ops sink_ops = {
    .opened = on_opened,
    .message = on_message,
    .body = on_body,
    .receipt = on_receipt,
    .input_end = on_input_end,
    .writable = on_writable,
    .lost = on_lost,
    .closed = on_closed,
};

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    struct sink *sink = calloc(1, sizeof *sink);

    if (sink == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    sink->conn.ops = &sink_ops;
    sink->conn.broker = sink->broker = broker;
    sink->conn.route = port->route;
    sink->conn.purpose = "send";
    sink->conn.body_max = INPUT_BODY_MAX;
    sink->host = stomp_broker_host(broker);
    sink->port = port;
    sink->settings = settings;
    sink->max_unconfirmed =
        (size_t)(sink->settings->max_unconfirmed > 0 ? sink->settings->max_unconfirmed : port->credit_messages);
    sink->later = (struct bailey_task){.run = tell_closed, .ctx = sink};
    sink->receipt = (struct bailey_timer){.fire = receipt_is_late, .ctx = sink};
    stomp_window_reset(&sink->window);
    stomp_connection_init(&sink->conn);
    *self = sink;
    stomp_connection_dial(&sink->conn);
    return true;
}

const struct bailey_sink stomp_sink = {
    .settings_size = sizeof(struct stomp_sink_settings),
    .options = stomp_sink_options,
    .open = sink_open,
    .send = sink_send,
    .close = sink_close,
};
