/* A publisher: one channel with confirms, a window of what is unconfirmed, one verdict for each delivery.
 *
 *     channel open → look at or create exchange or queue → confirm.select → up ⇄ held
 *                                                              ↑ renewed         │ closed because of a message
 *                                                              └──── suspects ───┘
 *
 * Always `mandatory`: what no queue takes comes back by basic.return, before its ack, and is refused. When the broker
 * closes the channel because of one message (406, 311, 403 for its routing key), nobody says which: all that were unconfirmed are
 * suspects, and are sent again one at a time on a new channel until the culprit has closed it alone; it is refused,
 * the others go on. When the lane tries a known culprit again, it is sent while nothing else is unconfirmed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "delay.h"
#include "publish.h"
#include "returned.h"
#include "setup.h"

enum {
    BATCH_MAX = 256,   /* verdicts given at once */
    CULPRITS_MAX = 32, /* that are remembered */
    FLUSH_TICK_MS = 20,
    FLUSH_TICKS = 100, /* 2 s for what is in the output to leave, at close */
};

struct sink {
    struct amq_channel ch; /* first */
    struct amq_broker *broker;
    struct bailey_host *host;
    struct bailey_port *port;
    const struct amq_sink_settings *settings;
    struct amq_publisher publisher;
    struct amq_delay delay;
    struct bailey_task later;
    struct bailey_timer limit;
    int64_t wall_ms; /* of this call of send() */

    bool creating;   /* what was not there */
    bool is_ready;   /* confirm.select is done: publishing is possible */
    bool is_starved; /* send() took less than it was given */
    bool failed, closing, flow_stopped;
    struct amq_window window;
    uint64_t pinned_until; /* offset in the output behind the last body that is referred to */
    unsigned flush_ticks;

    struct bailey_delivery *confirmed[BATCH_MAX]; /* gathered in this turn */
    size_t confirmed_count;

    struct bailey_delivery **suspects; /* [next_suspect, suspect_count) */
    size_t next_suspect, suspect_count;
    bool is_probing;                    /* the next suspect is out, alone */
    const void *culprits[CULPRITS_MAX]; /* addresses of deliveries, to be compared only: one may be of another by now */
    unsigned next_culprit;
    bool wants_empty; /* a known culprit waits until nothing is unconfirmed */
    bool is_alone;    /* it is out, and nothing else may be */

    struct amq_returned returned;
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

static void refuse_returned(struct sink *sink, struct bailey_delivery *delivery)
{
    struct bailey_error err = {0};
    bool no_route = sink->returned.code == AMQP_NO_ROUTE;

    amq_delay_forget(&sink->delay); /* perhaps it was to be held, and what should hold it was deleted */
    bailey_fail_native(&err, no_route ? BAILEY_ERR_UNROUTABLE : BAILEY_ERR_PERMANENT, "amqp", (int)sink->returned.code,
                       "unroutable: %u %s", sink->returned.code, sink->returned.text);
    bailey_hint(&err, "No queue is bound for this message: bind one to the exchange, or create the queue.");
    bailey_refuse(sink->port, delivery, &err);
}

static void refuse_nacked(struct sink *sink, struct bailey_delivery *delivery)
{
    struct bailey_error err = {0};

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "the broker did not take it (basic.nack)");
    bailey_hint(&err, "A queue that is full (x-overflow: reject-publish), or has no leader now, does that.");
    bailey_refuse(sink->port, delivery, &err);
}

static bool has_suspects(const struct sink *sink)
{
    return sink->next_suspect < sink->suspect_count;
}

static void verdict(struct sink *sink, struct bailey_delivery *delivery, bool nack, bool returned)
{
    if (sink->is_probing) {
        sink->is_probing = false;
        sink->next_suspect++;
    }
    if (nack)
        refuse_nacked(sink, delivery);
    else if (returned)
        refuse_returned(sink, delivery);
    else
        gather_confirm(sink, delivery);
}

static void on_confirm(struct sink *sink, struct bailey_bytes args, bool nack)
{
    struct amq_reader r = {args.data, args.data + args.len, false};
    uint64_t tag = amq_read_u64(&r), first, last;
    bool multiple = amq_read_u8(&r) & 1;

    if (r.bad || !amq_window_range(&sink->window, tag, multiple, &first, &last)) {
        amq_connection_break(sink->ch.conn, "a confirm for tag %llu, which was not sent", (unsigned long long)tag);
        return;
    }
    for (uint64_t t = first; t <= last; t++) {
        bool returned = false;
        struct bailey_delivery *delivery = amq_window_take(&sink->window, t, &returned);

        if (delivery != NULL)
            verdict(sink, delivery, nack, returned);
    }
    amq_channel_dirty(&sink->ch);
}

static bool was_written(const struct sink *sink, const struct bailey_delivery *delivery)
{
    return delivery->sink_tag < amq_connection_written(sink->ch.conn);
}

/* Hand back what is unconfirmed: in doubt, if a byte of it may have left; those not written at all are the newest. */
static void hand_back_window(struct sink *sink)
{
    struct bailey_delivery *batch[BATCH_MAX];
    bool in_doubt = true;
    size_t count = 0;

    for (uint64_t tag = sink->window.base; tag < sink->window.next; tag++) {
        bool returned;
        struct bailey_delivery *delivery = amq_window_take(&sink->window, tag, &returned);

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
    bool returned;

    if (sink->is_probing) /* it is in the window too */
        amq_window_take(&sink->window, sink->window.base, &returned);
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

/* ---- Publishing ---- */

static struct bailey_bytes routing_key_of(const struct sink *sink, const struct bailey_delivery *delivery)
{
    const struct amq_sink_settings *s = sink->settings;

    if (s->queue != NULL)
        return bailey_delivery_text(delivery, s->queue);
    return s->routing_key != NULL ? bailey_delivery_text(delivery, s->routing_key) : BAILEY_EMPTY_BYTES;
}

/* To where it is held, if its time has not come. */
static bool publish_in_time(struct sink *sink, struct bailey_delivery *delivery, const struct bailey_marks *marks,
                            struct bailey_error *err)
{
    int64_t hold_ms = delivery->deliver_at_ms - sink->wall_ms;
    struct bailey_bytes routing_key = routing_key_of(sink, delivery);
    struct amq_map_options map = sink->publisher.map;
    struct amq_publisher held;

    if (hold_ms <= 0)
        return amq_publish(&sink->publisher, delivery->message, routing_key, sink->wall_ms, marks, err);
    if (!amq_delay_prepare(&sink->delay, &sink->ch, hold_ms, err))
        return false;
    map.hold_ms = hold_ms;
    amq_publisher_init(&held, &sink->ch, sink->delay.name, &map);
    return amq_publish(&held, delivery->message, routing_key, sink->wall_ms, marks, err);
}

/* False: refused. */
static bool publish(struct sink *sink, struct bailey_delivery *delivery, bool again)
{
    struct bailey_error err = {0};
    struct amq_connection *conn = sink->ch.conn;
    uint64_t start = amq_connection_appended(conn);
    struct bailey_marks marks = {delivery->id, again || delivery->possible_duplicate};

    if (!publish_in_time(sink, delivery, &marks, &err)) {
        bailey_refuse(sink->port, delivery, &err);
        return false;
    }
    delivery->sink_tag = start;
    if (delivery->message->body.len > AMQ_COPY_MAX)
        sink->pinned_until = amq_connection_appended(conn);
    amq_window_push(&sink->window, delivery);
    return true;
}

static bool has_room(const struct sink *sink)
{
    return sink->window.count < (size_t)sink->settings->max_unconfirmed && !amq_connection_full(sink->ch.conn);
}

static bool takes(const struct sink *sink)
{
    return sink->is_ready && !sink->is_alone && !has_suspects(sink) && !sink->flow_stopped &&
           sink->ch.state == AMQ_CHANNEL_OPEN && amq_connection_blocked(sink->ch.conn) == NULL;
}

static bool is_known_culprit(const struct sink *sink, const struct bailey_delivery *delivery)
{
    for (size_t i = 0; delivery->attempts > 0 && i < CULPRITS_MAX; i++)
        if (sink->culprits[i] == delivery)
            return true;
    return false;
}

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct sink *sink = self;
    size_t taken = 0;

    sink->wall_ms = bailey_wall_ms(sink->host);
    sink->wants_empty = false;
    while (taken < count && takes(sink) && has_room(sink)) {
        bool alone = is_known_culprit(sink, batch[taken]);

        sink->wants_empty = alone && sink->window.count > 0;
        if (sink->wants_empty)
            break;
        sink->is_alone = publish(sink, batch[taken++], false) && alone;
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

/* Tell the lane whether we take messages. */
static void show(struct sink *sink)
{
    const char *blocked;

    if (!sink->is_ready || sink->failed || sink->closing || sink->ch.conn == NULL)
        return;
    blocked = amq_connection_blocked(sink->ch.conn);
    if (blocked != NULL)
        bailey_held(sink->port, blocked);
    else if (sink->flow_stopped)
        bailey_held(sink->port, "the broker stopped the channel's flow");
    else if (!has_suspects(sink))
        bailey_up(sink->port);
}

/* ---- The culprit ---- */

/* Send the next suspect, alone. */
static void probe(struct sink *sink)
{
    if (!sink->is_ready || sink->is_probing)
        return;
    sink->wall_ms = bailey_wall_ms(sink->host);
    while (has_suspects(sink) && !sink->is_probing) {
        sink->is_probing = true;
        if (!publish(sink, sink->suspects[sink->next_suspect], true)) { /* expired meanwhile */
            sink->is_probing = false;
            sink->next_suspect++;
        }
    }
    if (!has_suspects(sink)) {
        sink->next_suspect = sink->suspect_count = 0;
        show(sink);
        feed(sink);
    }
}

static void refuse_culprit(struct sink *sink, struct bailey_delivery *delivery, const struct bailey_error *why)
{
    struct bailey_error err = *why;

    err.kind = BAILEY_ERR_PERMANENT;
    sink->culprits[sink->next_culprit++ % CULPRITS_MAX] = delivery;
    bailey_refuse(sink->port, delivery, &err);
}

static void suspect_window(struct sink *sink)
{
    free(sink->suspects);
    sink->suspects = malloc(sink->window.count * sizeof *sink->suspects);
    if (sink->suspects == NULL)
        abort();
    sink->next_suspect = sink->suspect_count = 0;
    for (uint64_t tag = sink->window.base, end = sink->window.next; tag < end; tag++) {
        bool returned;
        struct bailey_delivery *delivery = amq_window_take(&sink->window, tag, &returned);

        if (delivery != NULL)
            sink->suspects[sink->suspect_count++] = delivery;
    }
}

/* Because of `why` those that are unconfirmed are sent again, alone; one that was alone already is `proven` guilty. */
static void find_culprit(struct sink *sink, const struct bailey_error *why, bool proven)
{
    bool returned;

    sink->is_ready = false;
    if (sink->is_probing) {
        struct bailey_delivery *culprit = amq_window_take(&sink->window, sink->window.base, &returned);

        sink->is_probing = false;
        sink->next_suspect++;
        refuse_culprit(sink, culprit, why);
    } else if (proven && sink->window.count == 1) {
        refuse_culprit(sink, amq_window_take(&sink->window, sink->window.base, &returned), why);
    } else {
        bailey_log(BAILEY_LOG_WARN, "amqp.culprit_wanted", kv_str("route", sink->port->route),
                   kv_u64("suspects", sink->window.count), kv_error(why));
        bailey_held(sink->port, "the broker refused one of the messages: sending them one at a time to find it");
        suspect_window(sink);
    }
    amq_channel_renew(&sink->ch);
}

/* Who may write to a topic exchange may still not write with each routing key; without the exchange nothing goes at all. */
static bool is_routing_key_denied(const struct bailey_error *err)
{
    return err->native == AMQP_ACCESS_REFUSED && strstr(err->text, "access to topic") != NULL;
}

static bool is_about_a_message(const struct sink *sink, const struct bailey_error *err)
{
    return sink->is_ready && sink->window.count > 0 &&
           (err->native == AMQP_PRECONDITION_FAILED || err->native == AMQP_CONTENT_TOO_LARGE ||
            is_routing_key_denied(err));
}

/* ---- Failing ---- */

static void finish_close(struct sink *sink);

static void fail(struct sink *sink, const struct bailey_error *err)
{
    if (sink->failed)
        return;
    sink->failed = true;
    sink->is_ready = false;
    hand_back_all(sink);
    if (sink->closing)
        finish_close(sink);
    else
        bailey_down(sink->port, err);
}

static void on_lost(struct amq_channel *ch, const struct bailey_error *err, bool connection)
{
    struct sink *sink = (struct sink *)ch;
    bool missing = !connection && !sink->is_ready && err->native == AMQP_NOT_FOUND;
    struct bailey_error named = *err;

    amq_name_permission(&named, sink->creating && !sink->is_ready ? "configure" : "write");
    confirm_gathered(sink);
    if (missing && sink->settings->declare == BAILEY_DECLARE_CREATE && !sink->creating && !sink->closing) {
        sink->creating = true;
        amq_channel_renew(ch);
    } else if (!connection && !sink->closing && !sink->failed && is_about_a_message(sink, err)) {
        find_culprit(sink, &named, true);
    } else {
        fail(sink, &named);
    }
}

/* ---- Preparing ---- */

static void must_fit(struct sink *sink, bool sent)
{
    struct bailey_error err = {0};

    if (sent)
        return;
    amq_setup_too_big(&err);
    fail(sink, &err);
}

static void select_confirms(struct sink *sink)
{
    amqp_confirm_select_t select = {0};

    must_fit(sink, amq_channel_send(&sink->ch, AMQP_CONFIRM_SELECT_METHOD, &select));
}

/* The queue that all messages go to, or null. */
static struct bailey_bytes constant_queue(const struct sink *sink)
{
    const struct bailey_template *queue = sink->settings->queue;

    return queue != NULL && queue->slot < 0 ? queue->constant : BAILEY_NULL_BYTES;
}

static void on_opened(struct amq_channel *ch)
{
    struct sink *sink = (struct sink *)ch;
    const struct amq_sink_settings *s = sink->settings;
    struct bailey_bytes queue = constant_queue(sink);
    bool has_exchange = s->queue == NULL && s->exchange != NULL && s->exchange[0] != '\0';

    amq_window_reset(&sink->window);
    amq_delay_forget(&sink->delay);
    if (s->declare == BAILEY_DECLARE_NEVER || (queue.data == NULL && !has_exchange))
        select_confirms(sink);
    else if (has_exchange && sink->creating)
        must_fit(sink, amq_exchange_create(ch, s->exchange, s->exchange_type, s->durable, &s->arguments));
    else if (has_exchange)
        must_fit(sink, amq_exchange_look(ch, s->exchange));
    else if (sink->creating)
        must_fit(sink, amq_queue_create(ch, queue, s->queue_type, s->durable, false, &s->arguments));
    else
        must_fit(sink, amq_queue_look(ch, queue));
}

static void on_selected(struct sink *sink)
{
    sink->is_ready = true;
    sink->creating = false;
    show(sink);
    probe(sink);
    feed(sink);
}

/* ---- Messages that come back ---- */

static void on_header(struct amq_channel *ch, uint64_t body_size, struct bailey_bytes props)
{
    struct sink *sink = (struct sink *)ch;

    if (body_size > (uint64_t)amq_broker_settings(sink->broker)->max_message_size)
        amq_connection_break(ch->conn, "a returned message is larger than max_message_size");
    else
        amq_returned_header(&sink->returned, props);
}

static struct bailey_bytes routing_key_for(const void *ctx, const struct bailey_delivery *delivery)
{
    return routing_key_of(ctx, delivery);
}

static uint64_t find_returned(struct sink *sink)
{
    struct amq_returned_among among = {
        .window = &sink->window,
        .map = &sink->publisher.map,
        .routing_key = routing_key_for,
        .ctx = sink,
        .wall_ms = bailey_wall_ms(sink->host),
    };

    return sink->is_probing ? sink->window.base : amq_returned_find(&sink->returned, &among);
}

/* Nothing must be confirmed that may be the one that came back: start over, one at a time. */
static void lost_track(struct sink *sink)
{
    struct bailey_error err = {0};

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "the broker returned a message that cannot be told from the others");
    if (sink->window.count == 0)
        amq_connection_break(sink->ch.conn, "a message was returned that was not sent");
    else
        find_culprit(sink, &err, false);
}

static void on_body(struct amq_channel *ch, struct bailey_bytes part, bool last)
{
    struct sink *sink = (struct sink *)ch;
    uint64_t tag;

    amq_returned_body(&sink->returned, part);
    if (!last)
        return;
    tag = find_returned(sink);
    if (tag != 0)
        amq_window_mark_returned(&sink->window, tag);
    else
        lost_track(sink);
    amq_returned_end(&sink->returned);
}

/* ---- What the connection says ---- */

static void on_method(struct amq_channel *ch, uint32_t id, struct bailey_bytes args)
{
    struct sink *sink = (struct sink *)ch;

    switch (id) {
    case AMQP_BASIC_ACK_METHOD:
        on_confirm(sink, args, false);
        break;
    case AMQP_BASIC_NACK_METHOD:
        on_confirm(sink, args, true);
        break;
    case AMQP_BASIC_RETURN_METHOD:
        if (!amq_returned_begin(&sink->returned, args))
            amq_connection_break(ch->conn, "malformed basic.return");
        break;
    case AMQP_EXCHANGE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        if (!sink->is_ready) /* else it is of the delay's */
            select_confirms(sink);
        break;
    case AMQP_QUEUE_BIND_OK_METHOD:
        break;
    case AMQP_CONFIRM_SELECT_OK_METHOD:
        on_selected(sink);
        break;
    default:
        amq_connection_break(ch->conn, "unexpected method %u.%u at a publisher", id >> 16, id & 0xffff);
    }
}

static void on_input_end(struct amq_channel *ch)
{
    struct sink *sink = (struct sink *)ch;

    confirm_gathered(sink);
    probe(sink);
    feed(sink);
}

static void on_writable(struct amq_channel *ch)
{
    feed((struct sink *)ch);
}

static void on_blocked(struct amq_channel *ch, const char *reason)
{
    struct sink *sink = (struct sink *)ch;

    if (amq_connection_blocked(ch->conn) == NULL) /* or it is the channel's own flow */
        sink->flow_stopped = reason != NULL;
    show(sink);
    feed(sink);
}

/* ---- Beginning and end ---- */

static void sink_free(struct sink *sink)
{
    amq_channel_detach(&sink->ch);
    bailey_again_stop(sink->host, &sink->later);
    bailey_timer_stop(sink->host, &sink->limit);
    amq_window_free(&sink->window);
    free(sink->suspects);
    amq_returned_free(&sink->returned);
    free(sink);
}

static void tell_closed(struct bailey_task *task)
{
    struct sink *sink = task->ctx;
    struct bailey_port *port = sink->port;

    sink_free(sink);
    bailey_closed(port);
}

static void finish_close(struct sink *sink)
{
    bailey_timer_stop(sink->host, &sink->limit);
    bailey_again(sink->host, &sink->later);
}

/* Bodies that the output refers to belong to the lane: it must not end before they have left. */
static void wait_for_output(struct sink *sink)
{
    struct amq_connection *conn = sink->ch.conn;

    if (conn == NULL || amq_connection_written(conn) >= sink->pinned_until) {
        finish_close(sink);
        return;
    }
    if (++sink->flush_ticks == FLUSH_TICKS)
        amq_connection_break(conn, "the output is stuck");
    bailey_timer_start(sink->host, &sink->limit, FLUSH_TICK_MS);
}

static void on_limit(struct bailey_timer *timer)
{
    struct sink *sink = timer->ctx;

    if (sink->ch.state == AMQ_CHANNEL_CLOSING) { /* no close-ok came */
        sink->failed = true;
        sink->flush_ticks = FLUSH_TICKS - 1;
    }
    wait_for_output(sink);
}

static void on_closed(struct amq_channel *ch)
{
    finish_close((struct sink *)ch);
}

static void sink_close(void *self)
{
    struct sink *sink = self;

    sink->closing = true;
    hand_back_all(sink);
    if (!sink->failed && sink->ch.state == AMQ_CHANNEL_OPEN) {
        amq_channel_close(&sink->ch);
        bailey_timer_start(sink->host, &sink->limit, AMQ_CLOSE_MS);
        return;
    }
    wait_for_output(sink);
}

static const struct amq_channel_ops sink_ops = {
    .opened = on_opened,
    .method = on_method,
    .header = on_header,
    .body = on_body,
    .input_end = on_input_end,
    .writable = on_writable,
    .blocked = on_blocked,
    .lost = on_lost,
    .closed = on_closed,
};

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    struct sink *sink = calloc(1, sizeof *sink);
    const struct amq_sink_settings *s = settings;
    struct amq_map_options map = {s->persistent, &s->pass_headers, 0};
    const char *exchange = s->queue != NULL || s->exchange == NULL ? "" : s->exchange;

    if (sink == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    sink->ch.ops = &sink_ops;
    sink->broker = broker;
    sink->host = amq_broker_host(broker);
    sink->port = port;
    sink->settings = s;
    sink->later = (struct bailey_task){.run = tell_closed, .ctx = sink};
    sink->limit = (struct bailey_timer){.fire = on_limit, .ctx = sink};
    sink->delay.exchange = exchange;
    amq_publisher_init(&sink->publisher, &sink->ch, exchange, &map);
    amq_window_reset(&sink->window);
    *self = sink;
    amq_channel_attach(broker, AMQ_PUBLISH, &sink->ch);
    return true;
}

extern const struct bailey_option amq_sink_options[];

const struct bailey_sink amq_sink = {
    .settings_size = sizeof(struct amq_sink_settings),
    .options = amq_sink_options,
    .open = sink_open,
    .send = sink_send,
    .close = sink_close,
};
