/* The one copy out of the receive buffer is assembly.c's, the fewest frames are acks.c's: this joins them to channel and lane. */
#include "receiver.h"

#include <assert.h>

#include "setup.h"

enum {
    ACKS_A_TURN = 256,         /* single acks sent at once */
    STRAGGLER_MS = 20,         /* an ack that cannot be gathered waits this long for older ones */
    OUTSTANDING_MAX = 1 << 30, /* more would be nonsense */
};

uint32_t amq_receiver_second(const struct amq_receiver *in)
{
    return (uint32_t)(bailey_now_ms(in->host) / 1000) & (UINT32_MAX >> 2);
}

/* ---- Receiving ---- */

void amq_receiver_drop(struct amq_receiver *in)
{
    amq_assembly_drop(&in->assembly);
    for (size_t i = 0; i < in->batch_count; i++)
        bailey_message_unref(in->batch[i]);
    in->batch_count = 0;
}

void amq_receiver_hand_over(struct amq_receiver *in)
{
    size_t count = in->batch_count;

    in->batch_count = 0;
    if (count > 0)
        bailey_receive(in->port, in->batch, count);
}

void amq_receiver_begin(struct amq_receiver *in, struct amq_reader *r, bool wanted)
{
    uint64_t tag = amq_read_u64(r);
    bool redelivered = amq_read_u8(r) & 1;
    struct bailey_bytes exchange = amq_read_shortstr(r), routing_key = amq_read_shortstr(r);
    struct bailey_message *msg;

    if (r->bad || tag != in->acks.next || amq_acks_outstanding(&in->acks) > OUTSTANDING_MAX) {
        amq_connection_break(in->ch.conn, "a malformed or unexpected message");
        return;
    }
    amq_acks_deliver(&in->acks, amq_receiver_second(in));
    assert(in->assembly.msg == NULL);
    if (!wanted)
        return;
    msg = amq_assembly_begin(&in->assembly, in->port, bailey_bytes_of(in->queue), exchange, routing_key);
    msg->group = in->group;
    msg->position = tag;
    msg->redelivered = redelivered;
}

/* It stays unacknowledged in its queue, and does not stop the others. */
static void refuse_too_large(struct amq_receiver *in, uint64_t body_size, uint64_t limit)
{
    bailey_log(BAILEY_LOG_ERROR, "amqp.message_too_large", kv_str("route", in->port->route), kv_str("queue", in->queue),
               kv_u64("bytes", body_size), kv_u64("limit", limit),
               kv_str("hint", "It stays in the queue, unacknowledged. Raise max_message_size."));
    amq_assembly_drop(&in->assembly);
}

void amq_receiver_header(struct amq_channel *ch, uint64_t body_size, struct bailey_bytes props)
{
    struct amq_receiver *in = (struct amq_receiver *)ch;
    uint64_t limit = (uint64_t)amq_broker_settings(in->broker)->max_message_size;
    enum amq_unmap_result result;

    if (in->assembly.msg == NULL)
        return;
    if (body_size > limit) {
        refuse_too_large(in, body_size, limit);
        return;
    }
    if (in->batch_count == 0)
        in->wall_ms = bailey_wall_ms(in->host);
    result = amq_assembly_header(&in->assembly, body_size, props, in->wall_ms);
    if (result == AMQ_UNMAP_BAD)
        amq_connection_break(ch->conn, "malformed properties in a content header");
    in->opaque_tables += result == AMQ_UNMAP_OPAQUE;
    in->mean += (body_size + props.len + 256) / 64 - in->mean / 64;
}

void amq_receiver_body(struct amq_channel *ch, struct bailey_bytes part, bool last)
{
    struct amq_receiver *in = (struct amq_receiver *)ch;

    if (in->assembly.msg == NULL)
        return;
    amq_assembly_body(&in->assembly, part);
    if (!last)
        return;
    in->batch[in->batch_count++] = amq_assembly_finish(&in->assembly);
    amq_channel_dirty(ch);
    if (in->batch_count == AMQ_RECEIVER_BATCH)
        amq_receiver_hand_over(in);
}

/* ---- Acknowledging ---- */

static void write_ack(struct amq_receiver *in, const struct amq_ack *ack)
{
    enum { SIZE = AMQ_FRAME_OVERHEAD + 13 };
    uint8_t *at = amq_connection_reserve(in->ch.conn, SIZE);

    amq_frame_head(at, AMQ_FRAME_METHOD, in->ch.id, 13);
    amq_put_uint(at + 7, 4, ack->reject ? AMQP_BASIC_REJECT_METHOD : AMQP_BASIC_ACK_METHOD);
    amq_put_uint(at + 11, 8, ack->tag);
    at[19] = ack->multiple; /* for a reject: requeue = false */
    at[20] = AMQ_FRAME_END;
    amq_connection_commit(in->ch.conn, SIZE);
}

static void send_acks(struct amq_receiver *in, bool singly)
{
    struct amq_ack ack;

    if (in->ch.state != AMQ_CHANNEL_OPEN)
        return;
    for (int i = 0; i < ACKS_A_TURN; i++) {
        if (!amq_acks_next(&in->acks, singly, &ack))
            break;
        write_ack(in, &ack);
    }
    if (!amq_acks_waiting(&in->acks) || in->stragglers_run)
        return;
    in->stragglers_run = true;
    bailey_timer_start(in->host, &in->stragglers, STRAGGLER_MS);
}

static void ack_soon(struct bailey_task *task)
{
    send_acks(task->ctx, false);
}

static void ack_stragglers(struct bailey_timer *timer)
{
    struct amq_receiver *in = timer->ctx;

    in->stragglers_run = false;
    send_acks(in, true);
}

void amq_receiver_settle(struct amq_receiver *in, const struct bailey_settlement *ended, size_t count, bool rejects)
{
    for (size_t i = 0; i < count; i++) {
        if (ended[i].group != in->group)
            continue;
        if (ended[i].outcome == BAILEY_ACCEPTED)
            amq_acks_settle(&in->acks, ended[i].position, AMQ_SETTLED_ACK);
        else if (ended[i].outcome == BAILEY_REJECTED && rejects)
            amq_acks_settle(&in->acks, ended[i].position, AMQ_SETTLED_REJECT);
        /* released, modified: it stays unacknowledged */
    }
    bailey_again(in->host, &in->ack_task);
}

/* Before the channel's close. */
static void flush(struct amq_receiver *in)
{
    do
        send_acks(in, true);
    while (in->ch.state == AMQ_CHANNEL_OPEN && amq_acks_waiting(&in->acks));
}

/* ---- Life ---- */

void amq_receiver_forget(struct amq_receiver *in)
{
    amq_receiver_drop(in);
    amq_acks_reset(&in->acks);
    bailey_revoke(in->port, in->group);
    in->group = amq_broker_next_group(in->broker);
    if (in->forgotten != NULL)
        in->forgotten(in);
}

/* What must not be done from within a call of the gateway's. */
static void tell(struct bailey_task *task)
{
    struct amq_receiver *in = task->ctx;
    struct bailey_port *port = in->port;

    if (in->closed) {
        in->free_end(in);
        bailey_closed(port);
    } else if (in->drained) {
        bailey_drained(port);
    }
}

static void finish_close(struct amq_receiver *in)
{
    bailey_timer_stop(in->host, &in->close_limit);
    in->closed = true;
    bailey_again(in->host, &in->end_task);
}

void amq_receiver_closed(struct amq_channel *ch)
{
    finish_close((struct amq_receiver *)ch);
}

static void on_close_limit(struct bailey_timer *timer)
{
    finish_close(timer->ctx);
}

void amq_receiver_drained(struct amq_receiver *in)
{
    if (in->drained)
        return;
    in->drained = true;
    bailey_again(in->host, &in->end_task);
}

void amq_receiver_fail(struct amq_receiver *in, const struct bailey_error *err)
{
    if (in->failed)
        return;
    in->failed = true;
    amq_receiver_forget(in);
    if (in->draining)
        amq_receiver_drained(in);
    if (in->closing)
        finish_close(in);
    else
        bailey_down(in->port, err);
}

void amq_receiver_must_fit(struct amq_receiver *in, bool sent)
{
    struct bailey_error err = {0};

    if (sent)
        return;
    amq_setup_too_big(&err);
    amq_receiver_fail(in, &err);
}

bool amq_receiver_close(struct amq_receiver *in)
{
    in->closing = true;
    amq_receiver_drop(in);
    if (in->failed || in->ch.state != AMQ_CHANNEL_OPEN) {
        finish_close(in);
        return false;
    }
    flush(in);
    bailey_timer_start(in->host, &in->close_limit, AMQ_CLOSE_MS);
    return true;
}

void amq_receiver_init(struct amq_receiver *in, struct amq_broker *broker, struct bailey_port *port, const char *queue)
{
    in->broker = broker;
    in->host = amq_broker_host(broker);
    in->port = port;
    in->queue = queue;
    in->group = amq_broker_next_group(broker);
    in->mean = AMQ_FIRST_MEAN;
    in->ack_task = (struct bailey_task){.run = ack_soon, .ctx = in};
    in->end_task = (struct bailey_task){.run = tell, .ctx = in};
    in->stragglers = (struct bailey_timer){.fire = ack_stragglers, .ctx = in};
    in->close_limit = (struct bailey_timer){.fire = on_close_limit, .ctx = in};
    amq_acks_reset(&in->acks);
}

void amq_receiver_fini(struct amq_receiver *in)
{
    amq_receiver_drop(in);
    amq_channel_detach(&in->ch);
    bailey_again_stop(in->host, &in->ack_task);
    bailey_again_stop(in->host, &in->end_task);
    bailey_timer_stop(in->host, &in->stragglers);
    bailey_timer_stop(in->host, &in->close_limit);
    amq_acks_free(&in->acks);
}
