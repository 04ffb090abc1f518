/* A subscriber: one connection, one subscription, ACKs that follow the lane's settlements.
 *
 *     dial → CONNECTED → SUBSCRIBE → its RECEIPT: up → drain → close
 *
 * UNSUBSCRIBE is no way to drain: on all three brokers it makes what is unacknowledged unacknowledgeable (docs/stomp.md). So a
 * message that comes while draining is simply dropped: it stays unacknowledged, and returns with the DISCONNECT.
 *
 * Brokers bound what is on its way by a number of messages, or of bytes (Artemis), never by both. So when the lane has no room,
 * what came waits here, and nothing more is read: it waits in the network, then the broker waits. NACK is no way to have a
 * message again (dead letters, losses): what is not settled is left alone.
 */
#include <stdio.h>
#include <stdlib.h>

#include "acks.h"
#include "assembly.h"
#include "connection.h"
#include "options.h"

enum {
    RECENT_ACKS = 4096,   /* whose ACK a lost connection may have swallowed */
    PREFETCH_MAX = 65535, /* messages: RabbitMQ counts in 16 bits */
    WINDOW_BYTES_MIN = 64 << 10,
    WINDOW_BYTES_EACH = 1 << 10, /* Artemis: bytes of window for a message of the prefetch */
};

static const char subscribed[] = "subscribed"; /* receipt of SUBSCRIBE */

struct source {
    struct stomp_connection conn; /* first */
    struct stomp_broker *broker;
    struct bailey_host *host;
    struct bailey_port *port;
    const struct stomp_source_settings *settings;
    struct bailey_task later;
    char client_id[256];

    bool is_up; /* the subscription stands */
    bool draining, tell_drained, closing, tell_closed, failed;

    uint32_t group;         /* this connection's life */
    struct stomp_ackid ids; /* where the broker's id of a message stands */
    bool forged_told;
    struct stomp_acks acks;
    uint64_t *recent; /* ring of RECENT_ACKS: numbers of those acknowledged last, if the broker hides what it repeats */
    size_t acked;

    struct stomp_assembly assembly;
    struct bailey_message **waiting; /* [first_waiting, waiting_count): for room in the lane */
    size_t first_waiting, waiting_count, waiting_cap;
};

/* ---- Receiving ---- */

static const char *subscription_id(const struct source *source)
{
    return source->settings->subscription != NULL ? source->settings->subscription : "1";
}

static void drop_waiting(struct source *source)
{
    for (size_t i = source->first_waiting; i < source->waiting_count; i++)
        bailey_message_unref(source->waiting[i]);
    source->first_waiting = source->waiting_count = 0;
}

/* Those that wait, or come just now, are left to the broker. */
static void leave_waiting(struct source *source)
{
    for (size_t i = source->first_waiting; i < source->waiting_count; i++)
        stomp_acks_done(&source->acks, source->waiting[i]->position);
    if (source->assembly.msg != NULL)
        stomp_acks_done(&source->acks, source->assembly.msg->position);
    stomp_assembly_drop(&source->assembly);
    drop_waiting(source);
}

static void add_waiting(struct source *source, struct bailey_message *msg)
{
    if (source->waiting_count == source->waiting_cap) {
        source->waiting_cap = source->waiting_cap ? source->waiting_cap * 2 : 64;
        source->waiting = realloc(source->waiting, source->waiting_cap * sizeof *source->waiting);
        if (source->waiting == NULL)
            abort();
    }
    source->waiting[source->waiting_count++] = msg;
}

/* As much as there is room for; what is left holds the connection. */
static void hand_over(struct source *source)
{
    size_t room = 1;

    while (source->first_waiting < source->waiting_count && (room = bailey_room(source->port)) > 0) {
        struct bailey_message **batch = source->waiting + source->first_waiting;
        size_t count = source->waiting_count - source->first_waiting;

        count = count < room ? count : room;
        source->first_waiting += count;
        bailey_receive(source->port, batch, count);
    }
    if (source->first_waiting == source->waiting_count)
        source->first_waiting = source->waiting_count = 0;
    stomp_connection_hold(&source->conn, room == 0);
}

/* It stays unacknowledged, and does not stop the others. */
static void refuse_too_large(struct source *source, uint64_t bytes)
{
    uint64_t limit = (uint64_t)stomp_broker_settings(source->broker)->max_message_size;

    bailey_log(BAILEY_LOG_ERROR, "stomp.message_too_large", kv_str("route", source->port->route),
               kv_str("destination", source->settings->destination), kv_u64("bytes", bytes), kv_u64("limit", limit),
               kv_str("hint", "It stays at the broker, unacknowledged. Raise max_message_size."));
    stomp_assembly_drop(&source->assembly);
}

static bool is_too_large(const struct source *source, uint64_t bytes)
{
    return bytes > (uint64_t)stomp_broker_settings(source->broker)->max_message_size;
}

/* Once for a connection. */
static void tell_forged(struct source *source, bool is_left)
{
    if (source->forged_told)
        return;
    source->forged_told = true;
    bailey_log(BAILEY_LOG_WARN, "stomp.forged_id", kv_str("route", source->port->route),
               kv_str("destination", source->settings->destination),
               kv_str("hint", is_left
                                  ? "A producer hides the id of its message: it stays at the broker, unacknowledged."
                                  : "A producer hides the id of its message: it is acknowledged by its number."));
}

/* The id by which to acknowledge it. False: it is left to the broker, unacknowledged, or the connection is given up. */
static bool take_id(struct source *source, const struct stomp_parser *frame, struct bailey_bytes *id)
{
    enum stomp_ackid_verdict verdict = stomp_ackid_next(&source->ids, frame, id);

    switch (verdict) {
    case STOMP_ACKID_MISSING:
        stomp_connection_break(&source->conn, "a MESSAGE that cannot be acknowledged");
        return false;
    case STOMP_ACKID_OUT_OF_STEP:
        stomp_connection_break(&source->conn, "a MESSAGE out of step: a producer has disturbed the frames");
        return false;
    case STOMP_ACKID_MADE:
    case STOMP_ACKID_UNKNOWN:
        tell_forged(source, verdict == STOMP_ACKID_UNKNOWN);
        return verdict == STOMP_ACKID_MADE;
    default:
        return true;
    }
}

static void on_message(struct stomp_connection *conn, const struct stomp_parser *frame)
{
    struct source *source = (struct source *)conn;
    struct bailey_message *msg;
    struct bailey_bytes id;

    if (!take_id(source, frame, &id) || source->draining || source->closing)
        return; /* it stays unacknowledged */
    if (frame->has_length && is_too_large(source, frame->length)) {
        refuse_too_large(source, frame->length);
        return;
    }
    stomp_assembly_begin(&source->assembly, source->port, frame, conn->dialect, bailey_wall_ms(source->host));
    msg = source->assembly.msg;
    msg->group = source->group;
    msg->position = stomp_acks_deliver(&source->acks, id);
    if (stomp_dialect_row(conn->dialect)->hides_redelivery &&
        stomp_lost_take(stomp_broker_lost(source->broker), stomp_lost_number(id)))
        msg->redelivered = true;
}

static void on_body(struct stomp_connection *conn, struct bailey_bytes part, bool last)
{
    struct source *source = (struct source *)conn;

    if (source->assembly.msg == NULL)
        return;
    if (is_too_large(source, source->assembly.body_len + part.len)) {
        stomp_acks_done(&source->acks, source->assembly.msg->position);
        refuse_too_large(source, source->assembly.body_len + part.len);
        return;
    }
    stomp_assembly_body(&source->assembly, part);
    if (last)
        add_waiting(source, stomp_assembly_finish(&source->assembly));
}

static void on_input_end(struct stomp_connection *conn)
{
    hand_over((struct source *)conn);
}

static void source_resume(void *self)
{
    hand_over(self);
}

/* ---- Acknowledging ---- */

static void write_answer(struct source *source, const char *command, struct bailey_bytes id, const char *header)
{
    struct stomp_connection *conn = &source->conn;
    size_t room = 96 + stomp_header_room(bailey_bytes_of(""), id);
    struct stomp_writer w = stomp_connection_reserve(conn, room);
    const uint8_t *from = w.at;

    stomp_write_command(&w, command);
    stomp_write_header(&w, conn->version == 12 ? "id" : "message-id", id);
    if (conn->version == 11)
        stomp_write_header(&w, "subscription", bailey_bytes_of(subscription_id(source)));
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

static void note_acked(struct source *source, struct bailey_bytes id)
{
    if (!stomp_dialect_row(source->conn.dialect)->hides_redelivery)
        return;
    if (source->recent == NULL)
        source->recent = calloc(RECENT_ACKS, sizeof *source->recent);
    if (source->recent == NULL)
        abort();
    source->recent[source->acked++ % RECENT_ACKS] = stomp_lost_number(id);
}

/* One frame a message: what is settled between those that are not cannot be told by a cumulative one. */
static void answer(struct source *source, const struct bailey_settlement *ended)
{
    const struct stomp_dialect_row *row = stomp_dialect_row(source->conn.dialect);
    struct bailey_bytes id = stomp_acks_id(&source->acks, ended->position);

    if (id.data == NULL)
        return;
    if (ended->outcome == BAILEY_ACCEPTED) {
        write_answer(source, "ACK", id, "");
        note_acked(source, id);
    } else if (ended->outcome == BAILEY_REJECTED && row->reject != NULL) {
        write_answer(source, "NACK", id, row->reject);
    } /* else released, modified, or there is no dead letter: it stays unacknowledged, and returns with the disconnect */
    stomp_acks_done(&source->acks, ended->position);
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct source *source = self;

    if (source->conn.state != STOMP_OPEN)
        return;
    for (size_t i = 0; i < count; i++)
        if (ended[i].group == source->group)
            answer(source, &ended[i]);
}

/* ---- Failing ---- */

/* Those that are out may come again, be it to another lane, and must say so; and those whose ACK was on its way. */
static void note_lost(struct source *source)
{
    struct stomp_lost *lost = stomp_broker_lost(source->broker);

    if (source->conn.dialect == STOMP_AUTO || !stomp_dialect_row(source->conn.dialect)->hides_redelivery)
        return;
    for (uint64_t position = source->acks.base; position < source->acks.next; position++)
        stomp_lost_add(lost, stomp_lost_number(stomp_acks_id(&source->acks, position)));
    for (size_t i = 0; source->recent != NULL && i < source->acked && i < RECENT_ACKS; i++)
        stomp_lost_add(lost, source->recent[i]);
    source->acked = 0;
}

/* What belongs to this life of the connection. */
static void forget(struct source *source)
{
    note_lost(source);
    stomp_assembly_drop(&source->assembly);
    drop_waiting(source);
    stomp_acks_reset(&source->acks);
    bailey_revoke(source->port, source->group);
    source->group = stomp_broker_next_group(source->broker);
    source->is_up = false;
}

static void finish_close(struct source *source)
{
    source->tell_closed = true;
    bailey_again(source->host, &source->later);
}

static void fail(struct source *source, const struct bailey_error *err)
{
    if (source->failed)
        return;
    source->failed = true;
    stomp_connection_drop(&source->conn);
    forget(source);
    if (source->closing)
        finish_close(source);
    else
        bailey_down(source->port, err);
}

static void tell_drained_soon(struct source *source)
{
    if (source->tell_drained)
        return;
    source->tell_drained = true;
    bailey_again(source->host, &source->later);
}

static void on_lost(struct stomp_connection *conn, const struct bailey_error *err, struct bailey_bytes receipt)
{
    struct source *source = (struct source *)conn;
    struct bailey_error why = *err;

    if (receipt.data != NULL && bailey_bytes_is(receipt, subscribed)) {
        why.kind = BAILEY_ERR_CONFIG;
        bailey_hint(&why,
                    "The broker refused the subscription: check destination and selector, and what the login may.");
    }
    if (source->draining)
        tell_drained_soon(source);
    fail(source, &why);
}

/* ---- Subscribing ---- */

static int64_t prefetch(const struct source *source)
{
    int64_t limit = source->port->credit_messages;

    if (source->settings->prefetch > 0 && source->settings->prefetch < limit)
        limit = source->settings->prefetch;
    return limit < 1 ? 1 : limit > PREFETCH_MAX ? PREFETCH_MAX : limit;
}

/* Artemis counts a message with all that it stores of it. */
static int64_t prefetch_bytes(const struct source *source)
{
    int64_t bytes = prefetch(source) * WINDOW_BYTES_EACH;

    if (bytes > source->port->credit_bytes)
        bytes = source->port->credit_bytes;
    return bytes < WINDOW_BYTES_MIN ? WINDOW_BYTES_MIN : bytes;
}

static void write_prefetch(struct source *source, struct stomp_writer *w, const struct stomp_dialect_row *row)
{
    if (row->prefetch_unit == STOMP_PREFETCH_MESSAGES)
        stomp_write_number(w, row->prefetch, prefetch(source));
    else if (row->prefetch_unit == STOMP_PREFETCH_BYTES)
        stomp_write_number(w, row->prefetch, prefetch_bytes(source));
}

static void write_durable(struct stomp_writer *w, const struct stomp_dialect_row *row, const char *name)
{
    if (row->durable != NULL)
        stomp_write_header(w, row->durable, bailey_bytes_of(name));
    if (row->durable_by_headers) {
        stomp_write_header(w, "durable", bailey_bytes_of("true"));
        stomp_write_header(w, "auto-delete", bailey_bytes_of("false"));
    }
}

static void write_subscribe(struct source *source, struct stomp_writer *w)
{
    const struct stomp_source_settings *s = source->settings;
    const struct stomp_dialect_row *row = stomp_dialect_row(source->conn.dialect);

    stomp_write_command(w, "SUBSCRIBE");
    stomp_write_header(w, "id", bailey_bytes_of(subscription_id(source)));
    stomp_write_header(w, "destination", bailey_bytes_of(s->destination));
    stomp_write_header(w, "ack", bailey_bytes_of("client-individual"));
    stomp_write_header(w, "receipt", bailey_bytes_of(subscribed));
    write_prefetch(source, w, row);
    if (s->selector != NULL)
        stomp_write_header(w, row->selector, bailey_bytes_of(s->selector));
    if (s->subscription != NULL)
        write_durable(w, row, s->subscription);
    for (size_t i = 0; i < s->headers.count; i++)
        stomp_write_header(w, s->headers.entries[i].name, bailey_bytes_of(s->headers.entries[i].value));
    stomp_write_end_of_head(w);
    stomp_write_body(w, BAILEY_EMPTY_BYTES);
}

/* A selector that the broker would ignore lets messages through that nobody meant. */
static bool refuses_selector(struct source *source)
{
    struct bailey_error err = {0};

    if (source->settings->selector == NULL || stomp_dialect_row(source->conn.dialect)->selector != NULL)
        return false;
    bailey_fail(&err, BAILEY_ERR_CONFIG, "%.60s: %s has no selectors, it would ignore this one", source->conn.address,
                stomp_dialect_row(source->conn.dialect)->name);
    bailey_hint(&err, "Remove selector, and filter in the route or by a binding.");
    fail(source, &err);
    return true;
}

static void on_opened(struct stomp_connection *conn)
{
    enum { ROOM = 64 << 10 };
    struct source *source = (struct source *)conn;
    struct bailey_error err = {0};
    struct stomp_writer w;
    const uint8_t *from;

    if (refuses_selector(source))
        return;
    stomp_ackid_begin(&source->ids, conn->dialect, conn->version, conn->session, subscription_id(source));
    source->forged_told = false;
    w = stomp_connection_reserve(conn, ROOM);
    from = w.at;
    write_subscribe(source, &w);
    if (w.full || w.bad) {
        bailey_fail(&err, BAILEY_ERR_CONFIG,
                    "destination, selector or headers of the subscription cannot be expressed");
        w.at = (uint8_t *)(uintptr_t)from;
        stomp_connection_commit(conn, from, &w);
        fail(source, &err);
        return;
    }
    stomp_connection_commit(conn, from, &w);
    stomp_connection_end_frame(conn, true);
}

static void on_receipt(struct stomp_connection *conn, struct bailey_bytes id)
{
    struct source *source = (struct source *)conn;

    if (source->is_up || !bailey_bytes_is(id, subscribed)) {
        stomp_connection_break(conn, "a RECEIPT for nothing that was sent");
        return;
    }
    source->is_up = true;
    bailey_up(source->port);
}

/* ---- Beginning and end ---- */

static void write_unsubscribe(struct source *source)
{
    struct stomp_writer w = stomp_connection_reserve(&source->conn, 512);
    const uint8_t *from = w.at;

    stomp_write_command(&w, "UNSUBSCRIBE");
    stomp_write_header(&w, "id", bailey_bytes_of(subscription_id(source)));
    stomp_write_end_of_head(&w);
    stomp_write_body(&w, BAILEY_EMPTY_BYTES);
    stomp_connection_commit(&source->conn, from, &w);
    stomp_connection_end_frame(&source->conn, true);
}

static void leave_in_order(struct source *source)
{
    if (source->is_up && stomp_dialect_row(source->conn.dialect)->counts_disconnects)
        write_unsubscribe(source);
    stomp_connection_close(&source->conn);
}

static void on_closed(struct stomp_connection *conn)
{
    struct source *source = (struct source *)conn;

    forget(source);
    finish_close(source);
}

static void on_writable(struct stomp_connection *conn)
{
    (void)conn; /* ACKs are few: they wait for nothing */
}

static void source_free(struct source *source)
{
    stomp_assembly_drop(&source->assembly);
    drop_waiting(source);
    free(source->waiting);
    free(source->recent);
    stomp_connection_fini(&source->conn, source->failed);
    bailey_again_stop(source->host, &source->later);
    stomp_acks_free(&source->acks);
    free(source);
}

/* What must not be done from within a call of the gateway's. */
static void tell_later(struct bailey_task *task)
{
    struct source *source = task->ctx;
    struct bailey_port *port = source->port;

    if (source->tell_closed) {
        source_free(source);
        bailey_closed(port);
        return;
    }
    if (source->tell_drained)
        bailey_drained(port);
}

static void source_drain(void *self)
{
    struct source *source = self;

    source->draining = true;
    leave_waiting(source);
    stomp_connection_hold(&source->conn, false); /* what comes is dropped, and what the broker says is heard */
    tell_drained_soon(source);
}

static void source_close(void *self)
{
    struct source *source = self;

    source->closing = true;
    stomp_assembly_drop(&source->assembly);
    drop_waiting(source);
    if (source->conn.state == STOMP_OPEN) {
        leave_in_order(source);
    } else if (source->conn.state != STOMP_CLOSING) {
        stomp_connection_drop(&source->conn);
        finish_close(source);
    }
}

static const struct stomp_connection_ops source_ops = {
    .opened = on_opened,
    .message = on_message,
    .body = on_body,
    .receipt = on_receipt,
    .input_end = on_input_end,
    .writable = on_writable,
    .lost = on_lost,
    .closed = on_closed,
};

/* A durable subscription belongs to a client id, which must be the same after a restart. */
static void name_client(struct source *source)
{
    const struct stomp_source_settings *s = source->settings;

    if (s->client_id != NULL)
        source->conn.client_id = s->client_id;
    if (s->client_id != NULL || s->subscription == NULL)
        return;
    snprintf(source->client_id, sizeof source->client_id, "bailey.%.120s.%.120s", source->port->instance,
             source->port->route);
    source->conn.client_id = source->client_id;
}

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    struct source *source = calloc(1, sizeof *source);

    if (source == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    source->conn.ops = &source_ops;
    source->conn.broker = source->broker = broker;
    source->conn.route = port->route;
    source->conn.purpose = "receive";
    source->conn.body_max = INT64_MAX; /* our own limit leaves a message at the broker, instead of hanging up */
    source->host = stomp_broker_host(broker);
    source->port = port;
    source->settings = settings;
    source->group = stomp_broker_next_group(broker);
    source->later = (struct bailey_task){.run = tell_later, .ctx = source};
    stomp_acks_reset(&source->acks);
    name_client(source);
    stomp_connection_init(&source->conn);
    *self = source;
    stomp_connection_dial(&source->conn);
    return true;
}

const struct bailey_source stomp_source = {
    .settings_size = sizeof(struct stomp_source_settings),
    .options = stomp_source_options,
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};
