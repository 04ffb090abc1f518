/* Channels of a connection: numbers, opening and closing, and who gets which frame.
 *
 * A channel that we closed keeps its number until the broker's close-ok: frames that were on their way are dropped
 * there. What arrives must be expected: content only after the method that announces it, methods only of those a
 * broker sends.
 */
#include "connection_impl.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Numbers ---- */

static uint16_t take_number(struct amq_connection *conn, struct amq_channel *ch)
{
    size_t id = 1;

    while (id < conn->slot_count && conn->slots[id].used)
        id++;
    if (id > conn->channel_max)
        return 0;
    if (id >= conn->slot_count) {
        size_t count = conn->slot_count ? conn->slot_count * 2 : 8;

        conn->slots = realloc(conn->slots, count * sizeof *conn->slots);
        if (conn->slots == NULL)
            abort();
        memset(conn->slots + conn->slot_count, 0, (count - conn->slot_count) * sizeof *conn->slots);
        conn->slot_count = count;
    }
    conn->slots[id] = (struct channel_slot){ch, true};
    conn->used++;
    return (uint16_t)id;
}

static void free_number(struct amq_connection *conn, uint16_t id)
{
    conn->slots[id] = (struct channel_slot){NULL, false};
    conn->used--;
}

void amq_channels_forget_numbers(struct amq_connection *conn)
{
    if (conn->slots != NULL)
        memset(conn->slots, 0, conn->slot_count * sizeof *conn->slots);
    conn->used = 0;
}

/* ---- Wanting a channel ---- */

static void link_channel(struct amq_connection *conn, struct amq_channel *ch)
{
    ch->conn = conn;
    ch->state = AMQ_CHANNEL_WAITING;
    ch->next = conn->channels;
    ch->prev = &conn->channels;
    if (ch->next != NULL)
        ch->next->prev = &ch->next;
    conn->channels = ch;
    conn->attached++;
}

static void clean(struct amq_connection *conn, struct amq_channel *ch)
{
    for (struct amq_channel **at = &conn->dirty; ch->dirty && *at != NULL; at = &(*at)->dirty_next) {
        if (*at == ch) {
            *at = ch->dirty_next;
            break;
        }
    }
    ch->dirty = false;
    ch->expect = AMQ_EXPECT_METHOD;
}

static void unlink_channel(struct amq_channel *ch)
{
    *ch->prev = ch->next;
    if (ch->next != NULL)
        ch->next->prev = ch->prev;
    clean(ch->conn, ch);
    ch->conn->attached--;
    if (ch->conn->closing_for == ch)
        ch->conn->closing_for = NULL;
}

static void open_channel(struct amq_channel *ch)
{
    struct amq_connection *conn = ch->conn;
    amqp_channel_open_t open = {0};

    ch->id = take_number(conn, ch);
    if (ch->id == 0) { /* channel_max is reached: on another connection */
        unlink_channel(ch);
        ch->state = AMQ_CHANNEL_NONE;
        ch->conn = NULL;
        amq_channel_attach(conn->broker, conn->role, ch);
        return;
    }
    ch->state = AMQ_CHANNEL_OPENING;
    ch->expect = AMQ_EXPECT_METHOD;
    amq_connection_send(conn, ch->id, AMQP_CHANNEL_OPEN_METHOD, &open);
}

void amq_channel_attach(struct amq_broker *broker, enum amq_role role, struct amq_channel *ch)
{
    struct amq_connection *conn = amq_connection_pick(broker, role);

    assert(ch->state == AMQ_CHANNEL_NONE);
    link_channel(conn, ch);
    if (conn->state == CONN_OPEN)
        open_channel(ch);
    else
        amq_connection_want(conn);
}

void amq_channels_open(struct amq_connection *conn)
{
    struct amq_channel *next;

    for (struct amq_channel *ch = conn->channels; ch != NULL; ch = next) {
        next = ch->next;
        if (ch->state == AMQ_CHANNEL_WAITING)
            open_channel(ch);
    }
}

/* ---- Leaving it ---- */

static void send_close(struct amq_channel *ch)
{
    amqp_channel_close_t close = {.reply_code = 200, .reply_text = amqp_cstring_bytes("bye")};

    amq_connection_send(ch->conn, ch->id, AMQP_CHANNEL_CLOSE_METHOD, &close);
}

/* Leave the number behind until close-ok. */
static void abandon_number(struct amq_channel *ch)
{
    if (ch->id == 0)
        return;
    if (ch->state != AMQ_CHANNEL_CLOSING)
        send_close(ch);
    ch->conn->slots[ch->id].ch = NULL;
    ch->id = 0;
}

void amq_channel_renew(struct amq_channel *ch)
{
    assert(ch->conn != NULL);
    abandon_number(ch);
    clean(ch->conn, ch);
    ch->state = AMQ_CHANNEL_WAITING;
    if (ch->conn->state == CONN_OPEN)
        open_channel(ch);
}

void amq_channel_close(struct amq_channel *ch)
{
    assert(ch->state == AMQ_CHANNEL_OPEN);
    send_close(ch);
    ch->state = AMQ_CHANNEL_CLOSING;
}

void amq_channel_detach(struct amq_channel *ch)
{
    struct amq_connection *conn = ch->conn;

    if (conn == NULL)
        return;
    abandon_number(ch);
    unlink_channel(ch);
    ch->state = AMQ_CHANNEL_NONE;
    ch->conn = NULL;
    amq_connection_unwant(conn);
}

void amq_channels_lost(struct amq_connection *conn, const struct bailey_error *err)
{
    struct amq_channel *lost = conn->channels;

    conn->channels = NULL;
    if (lost != NULL)
        lost->prev = &lost; /* a list of our own: callbacks may attach anew meanwhile */
    while (lost != NULL) {
        struct amq_channel *ch = lost;

        unlink_channel(ch);
        ch->id = 0;
        ch->state = AMQ_CHANNEL_NONE;
        ch->ops->lost(ch, err, true);
        if (ch->conn == conn && ch->state == AMQ_CHANNEL_NONE)
            ch->conn = NULL;
    }
}

void amq_channel_gone(struct amq_channel *ch)
{
    unlink_channel(ch);
    ch->state = AMQ_CHANNEL_NONE;
    ch->conn = NULL;
    ch->ops->closed(ch);
}

/* ---- Telling all ---- */

static void tell_blocked(struct amq_channel *ch, const char *reason)
{
    if (ch->ops->blocked != NULL)
        ch->ops->blocked(ch, reason);
}

void amq_channels_blocked(struct amq_connection *conn, const char *reason)
{
    struct amq_channel *next;

    for (struct amq_channel *ch = conn->channels; ch != NULL; ch = next) {
        next = ch->next;
        tell_blocked(ch, reason);
    }
}

void amq_channels_writable(struct amq_connection *conn)
{
    struct amq_channel *next;

    for (struct amq_channel *ch = conn->channels; ch != NULL; ch = next) {
        next = ch->next;
        if (ch->ops->writable != NULL)
            ch->ops->writable(ch);
    }
}

void amq_channel_dirty(struct amq_channel *ch)
{
    if (ch->dirty)
        return;
    ch->dirty = true;
    ch->dirty_next = ch->conn->dirty;
    ch->conn->dirty = ch;
}

void amq_channels_input_end(struct amq_connection *conn)
{
    while (conn->dirty != NULL) {
        struct amq_channel *ch = conn->dirty;

        conn->dirty = ch->dirty_next;
        ch->dirty = false;
        ch->ops->input_end(ch);
    }
}

/* ---- Frames ---- */

/* What a broker may send on a channel, besides channel.* (handled below). None of them has a table: rabbitmq-c's
 * recursive decoder is never reached by them. */
static bool expected_method(uint32_t id)
{
    switch (id) {
    case AMQP_EXCHANGE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_BIND_OK_METHOD:
    case AMQP_BASIC_QOS_OK_METHOD:
    case AMQP_BASIC_CONSUME_OK_METHOD:
    case AMQP_BASIC_CANCEL_METHOD:
    case AMQP_BASIC_CANCEL_OK_METHOD:
    case AMQP_BASIC_RETURN_METHOD:
    case AMQP_BASIC_DELIVER_METHOD:
    case AMQP_BASIC_GET_OK_METHOD:
    case AMQP_BASIC_GET_EMPTY_METHOD:
    case AMQP_BASIC_ACK_METHOD:
    case AMQP_BASIC_NACK_METHOD:
    case AMQP_CONFIRM_SELECT_OK_METHOD:
        return true;
    default:
        return false;
    }
}

/* The broker has done what the connection is for. */
static bool proves_work(uint32_t id)
{
    return id == AMQP_BASIC_DELIVER_METHOD || id == AMQP_BASIC_GET_OK_METHOD || id == AMQP_BASIC_GET_EMPTY_METHOD ||
           id == AMQP_BASIC_ACK_METHOD || id == AMQP_BASIC_NACK_METHOD;
}

static void closed_by_broker(struct amq_connection *conn, struct amq_channel *ch, uint16_t number,
                             struct bailey_bytes args)
{
    amqp_channel_close_t *close = amq_connection_decode(conn, AMQP_CHANNEL_CLOSE_METHOD, args);
    amqp_channel_close_ok_t ok = {0};
    struct bailey_error err = {0};

    if (close == NULL)
        return;
    amq_connection_send(conn, number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    if (ch == NULL) /* it crossed with our own close, whose close-ok is still to come */
        return;
    amq_reply_error(&err, close->reply_code, close->reply_text);
    clean(conn, ch);
    ch->id = 0;
    if (ch->state == AMQ_CHANNEL_CLOSING) { /* crossed as well */
        conn->slots[number].ch = NULL;
        ch->state = AMQ_CHANNEL_NONE;
        ch->ops->closed(ch);
        return;
    }
    free_number(conn, number);
    ch->state = AMQ_CHANNEL_NONE;
    ch->ops->lost(ch, &err, false);
}

static void close_ok(struct amq_connection *conn, struct amq_channel *ch, uint16_t number)
{
    if (ch != NULL && ch->state != AMQ_CHANNEL_CLOSING) {
        amq_connection_break(conn, "channel.close-ok for a channel that is not closing");
        return;
    }
    free_number(conn, number);
    if (ch == NULL)
        return;
    ch->id = 0;
    if (conn->attached == 1 && conn->state == CONN_OPEN) {
        conn->closing_for = ch;
        amq_connection_close(conn);
        return;
    }
    ch->state = AMQ_CHANNEL_NONE;
    ch->ops->closed(ch);
}

static void flow(struct amq_connection *conn, struct amq_channel *ch, struct bailey_bytes args)
{
    amqp_channel_flow_t *asked = amq_connection_decode(conn, AMQP_CHANNEL_FLOW_METHOD, args);
    amqp_channel_flow_ok_t ok = {0};

    if (asked == NULL)
        return;
    ok.active = asked->active;
    amq_connection_send(conn, ch->id, AMQP_CHANNEL_FLOW_OK_METHOD, &ok);
    tell_blocked(ch, ok.active ? NULL : "the broker stopped the channel's flow");
}

static void method_frame(struct amq_connection *conn, struct amq_channel *ch, const struct amq_frame *frame)
{
    struct amq_reader r = {frame->payload, frame->payload + frame->size, false};
    uint32_t id = amq_read_u32(&r);
    struct bailey_bytes args = {r.at, amq_left(&r)};

    if (id == AMQP_CHANNEL_CLOSE_METHOD) {
        closed_by_broker(conn, ch, frame->channel, args);
    } else if (id == AMQP_CHANNEL_CLOSE_OK_METHOD) {
        close_ok(conn, ch, frame->channel);
    } else if (ch == NULL || ch->state == AMQ_CHANNEL_CLOSING) {
        return; /* was on its way */
    } else if (ch->expect != AMQ_EXPECT_METHOD) {
        amq_connection_break(conn, "a method in the middle of a message's frames");
    } else if (id == AMQP_CHANNEL_OPEN_OK_METHOD && ch->state == AMQ_CHANNEL_OPENING) {
        ch->state = AMQ_CHANNEL_OPEN;
        ch->ops->opened(ch);
    } else if (ch->state != AMQ_CHANNEL_OPEN) {
        amq_connection_break(conn, "method %u.%u on a channel that is not open", id >> 16, id & 0xffff);
    } else if (id == AMQP_CHANNEL_FLOW_METHOD) {
        flow(conn, ch, args);
    } else if (expected_method(id)) {
        if (id == AMQP_BASIC_DELIVER_METHOD || id == AMQP_BASIC_GET_OK_METHOD || id == AMQP_BASIC_RETURN_METHOD)
            ch->expect = AMQ_EXPECT_HEADER;
        ch->ops->method(ch, id, args);
        if (proves_work(id))
            amq_connection_works(conn);
    } else {
        amq_connection_break(conn, "unexpected method %u.%u", id >> 16, id & 0xffff);
    }
}

static void header_frame(struct amq_connection *conn, struct amq_channel *ch, const struct amq_frame *frame)
{
    struct amq_reader r = {frame->payload, frame->payload + frame->size, false};
    unsigned class = amq_read_u16(&r);
    uint64_t size;

    amq_read_u16(&r); /* weight: unused */
    size = amq_read_u64(&r);
    if (ch->expect != AMQ_EXPECT_HEADER || class != 60) {
        amq_connection_break(conn, "a content header that nothing announced");
        return;
    }
    ch->body_left = size;
    ch->expect = size > 0 ? AMQ_EXPECT_BODY : AMQ_EXPECT_METHOD;
    ch->ops->header(ch, size, (struct bailey_bytes){r.at, amq_left(&r)});
    if (size == 0 && ch->state == AMQ_CHANNEL_OPEN)
        ch->ops->body(ch, BAILEY_EMPTY_BYTES, true);
}

static void body_frame(struct amq_connection *conn, struct amq_channel *ch, const struct amq_frame *frame)
{
    if (ch->expect != AMQ_EXPECT_BODY || frame->size > ch->body_left) {
        amq_connection_break(conn, "a body frame that nothing announced, or longer than announced");
        return;
    }
    ch->body_left -= frame->size;
    if (ch->body_left == 0)
        ch->expect = AMQ_EXPECT_METHOD;
    ch->ops->body(ch, (struct bailey_bytes){frame->payload, frame->size}, ch->body_left == 0);
}

void amq_channel_frame(struct amq_connection *conn, const struct amq_frame *frame)
{
    struct channel_slot *slot = frame->channel < conn->slot_count ? &conn->slots[frame->channel] : NULL;

    if (slot == NULL || !slot->used) {
        amq_connection_break(conn, "a frame on channel %u, which is not open", frame->channel);
        return;
    }
    if (frame->type == AMQ_FRAME_METHOD)
        method_frame(conn, slot->ch, frame);
    else if (slot->ch == NULL || slot->ch->state == AMQ_CHANNEL_CLOSING)
        return; /* was on its way */
    else if (frame->type == AMQ_FRAME_HEADER)
        header_frame(conn, slot->ch, frame);
    else
        body_frame(conn, slot->ch, frame);
}

bool amq_channel_send(struct amq_channel *ch, amqp_method_number_t id, void *method)
{
    return amq_connection_send(ch->conn, ch->id, id, method);
}

void *amq_channel_decode(struct amq_channel *ch, uint32_t id, struct bailey_bytes args)
{
    return amq_connection_decode(ch->conn, id, args);
}
