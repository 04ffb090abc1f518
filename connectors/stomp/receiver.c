/* Brokers bound what is on its way by a number of messages, or of bytes (Artemis), never by both. So when the lane has no room,
 * what came waits here, and nothing more is read: it waits in the network, then the broker waits. NACK is no way to have a
 * message again (dead letters, losses): what is not settled is left alone.
 */
#include "receiver.h"

#include <stdlib.h>

enum { RECENT_ACKS = 4096 /* whose ACK a lost connection may have swallowed */ };

static const char subscribed[] = "subscribed"; /* receipt of SUBSCRIBE */

/* ---- Receiving ---- */

static void drop_waiting(struct stomp_receiver *in)
{
    for (size_t i = in->first_waiting; i < in->waiting_count; i++)
        bailey_message_unref(in->waiting[i]);
    in->first_waiting = in->waiting_count = 0;
}

/* What comes from now on, what waits, and what comes just now is left to the broker. */
static void leave(struct stomp_receiver *in)
{
    in->leaves = true;
    for (size_t i = in->first_waiting; i < in->waiting_count; i++)
        stomp_acks_done(&in->acks, in->waiting[i]->position);
    if (in->assembly.msg != NULL)
        stomp_acks_done(&in->acks, in->assembly.msg->position);
    stomp_assembly_drop(&in->assembly);
    drop_waiting(in);
}

static void add_waiting(struct stomp_receiver *in, struct bailey_message *msg)
{
    if (in->waiting_count == in->waiting_cap) {
        in->waiting_cap = in->waiting_cap ? in->waiting_cap * 2 : 64;
        in->waiting = realloc(in->waiting, in->waiting_cap * sizeof *in->waiting);
        if (in->waiting == NULL)
            abort();
    }
    in->waiting[in->waiting_count++] = msg;
}

void stomp_receiver_hand_over(struct stomp_receiver *in)
{
    size_t room = 1;

    while (in->first_waiting < in->waiting_count && (room = bailey_room(in->port)) > 0) {
        struct bailey_message **batch = in->waiting + in->first_waiting;
        size_t count = in->waiting_count - in->first_waiting;

        count = count < room ? count : room;
        in->first_waiting += count;
        bailey_receive(in->port, batch, count);
    }
    if (in->first_waiting == in->waiting_count)
        in->first_waiting = in->waiting_count = 0;
    stomp_connection_hold(&in->conn, room == 0);
}

bool stomp_receiver_waits(const struct stomp_receiver *in)
{
    return in->first_waiting < in->waiting_count;
}

/* It stays unacknowledged, and does not stop the others. */
static void refuse_too_large(struct stomp_receiver *in, uint64_t bytes)
{
    uint64_t limit = (uint64_t)stomp_broker_settings(in->broker)->max_message_size;

    bailey_log(BAILEY_LOG_ERROR, "stomp.message_too_large", kv_str("route", in->port->route),
               kv_str("destination", in->destination), kv_u64("bytes", bytes), kv_u64("limit", limit),
               kv_str("hint", "It stays at the broker, unacknowledged. Raise max_message_size."));
    stomp_assembly_drop(&in->assembly);
}

static bool is_too_large(const struct stomp_receiver *in, uint64_t bytes)
{
    return bytes > (uint64_t)stomp_broker_settings(in->broker)->max_message_size;
}

/* Once for a connection. */
static void tell_forged(struct stomp_receiver *in, bool is_left)
{
    if (in->forged_told)
        return;
    in->forged_told = true;
    bailey_log(
        BAILEY_LOG_WARN, "stomp.forged_id", kv_str("route", in->port->route), kv_str("destination", in->destination),
        kv_str("hint", is_left ? "A producer hides the id of its message: it stays at the broker, unacknowledged."
                               : "A producer hides the id of its message: it is acknowledged by its number."));
}

/* The id by which to acknowledge it. False: it is left to the broker, unacknowledged, or the connection is given up. */
static bool take_id(struct stomp_receiver *in, const struct stomp_parser *frame, struct bailey_bytes *id)
{
    enum stomp_ackid_verdict verdict = stomp_ackid_next(&in->ids, frame, id);

    switch (verdict) {
    case STOMP_ACKID_MISSING:
        stomp_connection_break(&in->conn, "a MESSAGE that cannot be acknowledged");
        return false;
    case STOMP_ACKID_OUT_OF_STEP:
        stomp_connection_break(&in->conn, "a MESSAGE out of step: a producer has disturbed the frames");
        return false;
    case STOMP_ACKID_MADE:
    case STOMP_ACKID_UNKNOWN:
        tell_forged(in, verdict == STOMP_ACKID_UNKNOWN);
        return verdict == STOMP_ACKID_MADE;
    default:
        return true;
    }
}

/* False: it is left to the broker. */
static bool begin(struct stomp_receiver *in, const struct stomp_parser *frame)
{
    if (frame->has_length && is_too_large(in, frame->length)) {
        refuse_too_large(in, frame->length);
        return false;
    }
    stomp_assembly_begin(&in->assembly, in->port, frame, in->conn.dialect, bailey_wall_ms(in->host));
    in->assembly.msg->group = in->group;
    return true;
}

void stomp_receiver_browse(struct stomp_receiver *in, const struct stomp_parser *frame)
{
    if (!in->leaves && begin(in, frame))
        in->assembly.msg->position = ++in->browsed;
}

void stomp_receiver_message(struct stomp_connection *conn, const struct stomp_parser *frame)
{
    struct stomp_receiver *in = (struct stomp_receiver *)conn;
    struct bailey_message *msg;
    struct bailey_bytes id;

    if (!take_id(in, frame, &id) || in->leaves || !begin(in, frame))
        return; /* it stays unacknowledged */
    msg = in->assembly.msg;
    msg->position = stomp_acks_deliver(&in->acks, id);
    if (stomp_dialect_row(conn->dialect)->hides_redelivery &&
        stomp_lost_take(stomp_broker_lost(in->broker), stomp_lost_number(id)))
        msg->redelivered = true;
}

void stomp_receiver_body(struct stomp_connection *conn, struct bailey_bytes part, bool last)
{
    struct stomp_receiver *in = (struct stomp_receiver *)conn;

    if (in->assembly.msg == NULL)
        return;
    if (is_too_large(in, in->assembly.body_len + part.len)) {
        stomp_acks_done(&in->acks, in->assembly.msg->position);
        refuse_too_large(in, in->assembly.body_len + part.len);
        return;
    }
    stomp_assembly_body(&in->assembly, part);
    if (last)
        add_waiting(in, stomp_assembly_finish(&in->assembly));
}

/* ---- Acknowledging ---- */

static void write_answer(struct stomp_receiver *in, const char *command, struct bailey_bytes id, const char *header)
{
    struct stomp_connection *conn = &in->conn;
    size_t room = 96 + stomp_header_room(bailey_bytes_of(""), id);
    struct stomp_writer w = stomp_connection_reserve(conn, room);
    const uint8_t *from = w.at;

    stomp_write_command(&w, command);
    stomp_write_header(&w, conn->version == 12 ? "id" : "message-id", id);
    if (conn->version == 11)
        stomp_write_header(&w, "subscription", bailey_bytes_of(in->subscription));
    if (header[0] != '\0')
        stomp_write_header_named(&w, (struct bailey_bytes){(const uint8_t *)header, strcspn(header, ":")},
                                 bailey_bytes_of(strchr(header, ':') + 1));
    stomp_write_end_of_head(&w);
    stomp_write_body(&w, BAILEY_EMPTY_BYTES);
    if (w.full || w.bad)
        w.at = (uint8_t *)(uintptr_t)from;
    stomp_connection_commit(conn, from, &w);
    stomp_connection_end_frame(conn, true);
}

static void note_acked(struct stomp_receiver *in, struct bailey_bytes id)
{
    if (!stomp_dialect_row(in->conn.dialect)->hides_redelivery)
        return;
    if (in->recent == NULL)
        in->recent = calloc(RECENT_ACKS, sizeof *in->recent);
    if (in->recent == NULL)
        abort();
    in->recent[in->acked++ % RECENT_ACKS] = stomp_lost_number(id);
}

/* One frame a message: what is settled between those that are not cannot be told by a cumulative one. */
static void answer(struct stomp_receiver *in, const struct bailey_settlement *ended, bool rejects)
{
    const struct stomp_dialect_row *row = stomp_dialect_row(in->conn.dialect);
    struct bailey_bytes id = stomp_acks_id(&in->acks, ended->position);

    if (id.data == NULL)
        return;
    if (ended->outcome == BAILEY_ACCEPTED) {
        write_answer(in, "ACK", id, "");
        note_acked(in, id);
    } else if (ended->outcome == BAILEY_REJECTED && rejects && row->reject != NULL) {
        write_answer(in, "NACK", id, row->reject);
    } /* else released, modified, or there is no dead letter: it stays unacknowledged, and returns with the disconnect */
    stomp_acks_done(&in->acks, ended->position);
}

void stomp_receiver_settle(struct stomp_receiver *in, const struct bailey_settlement *ended, size_t count, bool rejects)
{
    if (in->conn.state != STOMP_OPEN)
        return;
    for (size_t i = 0; i < count; i++)
        if (ended[i].group == in->group)
            answer(in, &ended[i], rejects);
}

uint64_t stomp_receiver_unacknowledged(const struct stomp_receiver *in)
{
    return in->acks.count;
}

/* ---- Life ---- */

/* Those that are out may come again, be it to another lane, and must say so; and those whose ACK was on its way. */
static void note_lost(struct stomp_receiver *in)
{
    struct stomp_lost *lost = stomp_broker_lost(in->broker);

    if (in->conn.dialect == STOMP_AUTO || !stomp_dialect_row(in->conn.dialect)->hides_redelivery)
        return;
    for (uint64_t position = in->acks.base; position < in->acks.next; position++)
        stomp_lost_add(lost, stomp_lost_number(stomp_acks_id(&in->acks, position)));
    for (size_t i = 0; in->recent != NULL && i < in->acked && i < RECENT_ACKS; i++)
        stomp_lost_add(lost, in->recent[i]);
    in->acked = 0;
}

/* What belongs to this life of the connection; another one begins. */
static void forget(struct stomp_receiver *in)
{
    note_lost(in);
    stomp_assembly_drop(&in->assembly);
    drop_waiting(in);
    stomp_acks_reset(&in->acks);
    bailey_revoke(in->port, in->group);
    in->group = stomp_broker_next_group(in->broker);
    in->is_up = false;
}

static void write_unsubscribe(struct stomp_receiver *in)
{
    struct stomp_writer w = stomp_connection_reserve(&in->conn, 512);
    const uint8_t *from = w.at;

    stomp_write_command(&w, "UNSUBSCRIBE");
    stomp_write_header(&w, "id", bailey_bytes_of(in->subscription));
    stomp_write_end_of_head(&w);
    stomp_write_body(&w, BAILEY_EMPTY_BYTES);
    stomp_connection_commit(&in->conn, from, &w);
    stomp_connection_end_frame(&in->conn, true);
}

bool stomp_receiver_subscribe(struct stomp_receiver *in, const char *ack,
                              void (*more)(void *ctx, struct stomp_writer *w), void *ctx, struct bailey_error *err)
{
    enum { ROOM = 64 << 10 };
    struct stomp_connection *conn = &in->conn;
    struct stomp_writer w = stomp_connection_reserve(conn, ROOM);
    const uint8_t *from = w.at;
    bool fits;

    stomp_ackid_begin(&in->ids, conn->dialect, conn->version, conn->session, in->subscription);
    in->forged_told = false;
    stomp_write_command(&w, "SUBSCRIBE");
    stomp_write_header(&w, "id", bailey_bytes_of(in->subscription));
    stomp_write_header(&w, "destination", bailey_bytes_of(in->destination));
    stomp_write_header(&w, "ack", bailey_bytes_of(ack));
    stomp_write_header(&w, "receipt", bailey_bytes_of(subscribed));
    more(ctx, &w);
    stomp_write_end_of_head(&w);
    stomp_write_body(&w, BAILEY_EMPTY_BYTES);
    fits = !w.full && !w.bad;
    if (!fits)
        w.at = (uint8_t *)(uintptr_t)from;
    stomp_connection_commit(conn, from, &w);
    if (fits)
        stomp_connection_end_frame(conn, true);
    return fits || bailey_fail(err, BAILEY_ERR_CONFIG,
                               "destination, selector or headers of the subscription cannot be expressed");
}

static bool is_subscribed(struct bailey_bytes receipt)
{
    return receipt.data != NULL && bailey_bytes_is(receipt, subscribed);
}

bool stomp_receiver_subscribed(struct stomp_receiver *in, struct bailey_bytes receipt)
{
    if (in->is_up || !is_subscribed(receipt)) {
        stomp_connection_break(&in->conn, "a RECEIPT for nothing that was sent");
        return false;
    }
    in->is_up = true;
    bailey_up(in->port);
    return true;
}

/* ---- The end ---- */

/* What must not be done from within a call of the gateway's. */
static void tell(struct bailey_task *task)
{
    struct stomp_receiver *in = task->ctx;
    struct bailey_port *port = in->port;

    if (in->closed) {
        in->free_end(in);
        bailey_closed(port);
    } else if (in->drained) {
        bailey_drained(port);
    }
}

static void finish_close(struct stomp_receiver *in)
{
    in->closed = true;
    bailey_again(in->host, &in->end_task);
}

static void drained(struct stomp_receiver *in)
{
    if (in->drained)
        return;
    in->drained = true;
    bailey_again(in->host, &in->end_task);
}

void stomp_receiver_fail(struct stomp_receiver *in, const struct bailey_error *err)
{
    if (in->failed)
        return;
    in->failed = true;
    stomp_connection_drop(&in->conn);
    forget(in);
    if (in->draining)
        drained(in);
    if (in->closing)
        finish_close(in);
    else
        bailey_down(in->port, err);
}

void stomp_receiver_lost(struct stomp_connection *conn, const struct bailey_error *err, struct bailey_bytes receipt)
{
    struct bailey_error why = *err;

    if (is_subscribed(receipt)) { /* an ERROR that names it */
        why.kind = BAILEY_ERR_CONFIG;
        bailey_hint(&why,
                    "The broker refused the subscription: check destination and selector, and what the login may.");
    }
    stomp_receiver_fail((struct stomp_receiver *)conn, &why);
}

void stomp_receiver_closed(struct stomp_connection *conn)
{
    struct stomp_receiver *in = (struct stomp_receiver *)conn;

    forget(in);
    finish_close(in);
}

void stomp_receiver_drain(void *self)
{
    struct stomp_receiver *in = self;

    in->draining = true;
    leave(in);
    stomp_connection_hold(&in->conn, false); /* what comes is dropped, and what the broker says is heard */
    drained(in);
}

void stomp_receiver_close(void *self)
{
    struct stomp_receiver *in = self;

    in->closing = true;
    leave(in);
    if (in->conn.state == STOMP_OPEN) {
        if (in->is_up && stomp_dialect_row(in->conn.dialect)->counts_disconnects)
            write_unsubscribe(in);
        stomp_connection_close(&in->conn);
    } else if (in->conn.state != STOMP_CLOSING) {
        stomp_connection_drop(&in->conn);
        finish_close(in);
    }
}

void stomp_receiver_init(struct stomp_receiver *in, struct stomp_broker *broker, struct bailey_port *port,
                         const char *destination, const char *subscription)
{
    in->broker = in->conn.broker = broker;
    in->conn.route = port->route;
    in->conn.body_max = INT64_MAX; /* our own limit leaves a message at the broker, instead of hanging up */
    in->host = stomp_broker_host(broker);
    in->port = port;
    in->destination = destination;
    in->subscription = subscription;
    in->group = stomp_broker_next_group(broker);
    in->end_task = (struct bailey_task){.run = tell, .ctx = in};
    stomp_acks_reset(&in->acks);
    stomp_connection_init(&in->conn);
}

void stomp_receiver_fini(struct stomp_receiver *in)
{
    bailey_again_stop(in->host, &in->end_task);
    stomp_assembly_drop(&in->assembly);
    drop_waiting(in);
    free(in->waiting);
    free(in->recent);
    stomp_connection_fini(&in->conn, in->failed); /* then another end will take its place */
    stomp_acks_free(&in->acks);
}
