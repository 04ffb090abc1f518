/* A consumer: one channel, one queue, acknowledgements that follow the lane's settlements.
 *
 *     channel open → look at or create the queue → (bind) → up ⇄ consumer (none → starting → on → stopping → none)
 *
 * AMQP knows a window of messages (prefetch), none of bytes. So the window is sized by what messages weigh: it begins
 * small, grows by consuming anew once their mean size is known, and when the lane has no room although the window is
 * not used up (bytes, or the sink is away) the consumer is cancelled, until resume(). Up to one window may be on its
 * way meanwhile. Nothing is handed back by nack: what is not settled stays unacknowledged, and returns with the
 * channel's close.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "acks.h"
#include "assembly.h"
#include "connection.h"
#include "setup.h"

enum {
    BATCH_MAX = 256,        /* messages handed over at once */
    ACKS_A_TURN = 256,      /* single acks sent at once */
    STRAGGLER_MS = 20,      /* an ack that cannot be gathered waits this long for older ones */
    TICK_MS = 5000,         /* lag, age of the oldest unsettled */
    LAG_IDLE_TICKS = 6,     /* an idle queue is looked at every so many ticks */
    FIRST_MEAN = 128 << 10, /* bytes a message, until we know better */
    GROWTH = 2,             /* a window is worth changing if it becomes so many times larger */
    PREFETCH_MAX = 65535,   /* basic.qos counts in 16 bits */
};

enum consumer { NONE, STARTING, ON, STOPPING };

struct source {
    struct amq_channel ch; /* first */
    struct amq_broker *broker;
    struct bailey_host *host;
    struct bailey_port *port;
    const struct amq_source_settings *settings;
    struct bailey_task ack_task, later;
    struct bailey_timer stragglers, tick, limit;
    bool stragglers_run;

    bool is_ready; /* the queue is there: bailey_up was told */
    bool creating; /* it was not: create it */
    bool looking;  /* a passive declare for the lag is under way */
    bool draining, tell_drained, closing, tell_closed, paused, failed;
    enum consumer consumer;
    unsigned consumer_number; /* for a tag of its own */
    char tag[AMQ_SHORTSTR_MAX + 1];

    uint32_t group; /* this channel's life */
    struct amq_acks acks;
    uint16_t window;       /* prefetch of the consumer */
    uint64_t mean;         /* bytes a message */
    uint64_t seen_at_look; /* acks.next at the last look at the lag */
    unsigned idle_ticks;
    uint64_t opaque_tables; /* since the last tick */

    struct amq_assembly assembly;
    int64_t wall_ms; /* when the batch began */
    struct bailey_message *batch[BATCH_MAX];
    size_t batch_count;
};

static void adjust(struct source *source);
static int64_t tick_ms(const struct source *source);
static void grow_window(struct source *source);

static uint32_t now_second(const struct source *source)
{
    return (uint32_t)(bailey_now_ms(source->host) / 1000) & (UINT32_MAX >> 2);
}

/* ---- Receiving ---- */

static void drop_input(struct source *source)
{
    amq_assembly_drop(&source->assembly);
    for (size_t i = 0; i < source->batch_count; i++)
        bailey_message_unref(source->batch[i]);
    source->batch_count = 0;
}

/* The lane has no room, and the broker may still send: cancel. When the window is nearly used up, the broker stops by
 * itself. */
static void check_room(struct source *source)
{
    if (source->consumer != ON || source->paused || bailey_room(source->port) > 0)
        return;
    if (amq_acks_since_mark(&source->acks) < source->window - source->window / 4u) {
        source->paused = true;
        adjust(source);
    }
}

static void hand_over(struct source *source)
{
    size_t count = source->batch_count;

    source->batch_count = 0;
    if (count > 0)
        bailey_receive(source->port, source->batch, count);
}

static void on_input_end(struct amq_channel *ch)
{
    struct source *source = (struct source *)ch;

    hand_over(source);
    check_room(source);
    grow_window(source);
}

static void on_deliver(struct source *source, struct bailey_bytes args)
{
    struct amq_reader r = {args.data, args.data + args.len, false};
    struct bailey_bytes exchange, routing_key;
    struct bailey_message *msg;
    uint64_t tag;
    bool redelivered;

    amq_read_shortstr(&r); /* consumer tag: a former consumer's deliveries count alike */
    tag = amq_read_u64(&r);
    redelivered = amq_read_u8(&r) & 1;
    exchange = amq_read_shortstr(&r);
    routing_key = amq_read_shortstr(&r);
    if (r.bad || tag != source->acks.next || amq_acks_outstanding(&source->acks) > 2u * PREFETCH_MAX) {
        amq_connection_break(source->ch.conn, "malformed or unexpected basic.deliver");
        return;
    }
    amq_acks_deliver(&source->acks, now_second(source));
    assert(source->assembly.msg == NULL);
    if (source->draining || source->closing)
        return; /* it stays unacknowledged, and returns to the queue with the channel's close */
    msg = amq_assembly_begin(&source->assembly, source->port, bailey_bytes_of(source->settings->queue), exchange,
                             routing_key);
    msg->group = source->group;
    msg->position = tag;
    msg->redelivered = redelivered;
}

/* It stays unacknowledged in its queue, and does not stop the others. */
static void refuse_too_large(struct source *source, uint64_t body_size, uint64_t limit)
{
    bailey_log(BAILEY_LOG_ERROR, "amqp.message_too_large", kv_str("route", source->port->route),
               kv_str("queue", source->settings->queue), kv_u64("bytes", body_size), kv_u64("limit", limit),
               kv_str("hint", "It stays in the queue, unacknowledged. Raise max_message_size."));
    amq_assembly_drop(&source->assembly);
}

static void on_header(struct amq_channel *ch, uint64_t body_size, struct bailey_bytes props)
{
    struct source *source = (struct source *)ch;
    uint64_t limit = (uint64_t)amq_broker_settings(source->broker)->max_message_size;
    enum amq_unmap_result result;

    if (source->assembly.msg == NULL)
        return;
    if (body_size > limit) {
        refuse_too_large(source, body_size, limit);
        return;
    }
    if (source->batch_count == 0)
        source->wall_ms = bailey_wall_ms(source->host);
    result = amq_assembly_header(&source->assembly, body_size, props, source->wall_ms);
    if (result == AMQ_UNMAP_BAD)
        amq_connection_break(ch->conn, "malformed properties in a content header");
    source->opaque_tables += result == AMQ_UNMAP_OPAQUE;
    source->mean += (body_size + props.len + 256) / 64 - source->mean / 64;
}

static void on_body(struct amq_channel *ch, struct bailey_bytes part, bool last)
{
    struct source *source = (struct source *)ch;

    if (source->assembly.msg == NULL)
        return;
    amq_assembly_body(&source->assembly, part);
    if (!last)
        return;
    source->batch[source->batch_count++] = amq_assembly_finish(&source->assembly);
    amq_channel_dirty(ch);
    if (source->batch_count == BATCH_MAX)
        hand_over(source);
}

/* ---- Acknowledging ---- */

static void write_ack(struct source *source, const struct amq_ack *ack)
{
    enum { SIZE = AMQ_FRAME_OVERHEAD + 13 };
    uint8_t *at = amq_connection_reserve(source->ch.conn, SIZE);

    amq_frame_head(at, AMQ_FRAME_METHOD, source->ch.id, 13);
    amq_put_uint(at + 7, 4, ack->reject ? AMQP_BASIC_REJECT_METHOD : AMQP_BASIC_ACK_METHOD);
    amq_put_uint(at + 11, 8, ack->tag);
    at[19] = ack->multiple; /* for a reject: requeue = false */
    at[20] = AMQ_FRAME_END;
    amq_connection_commit(source->ch.conn, SIZE);
}

static void send_acks(struct source *source, bool singly)
{
    struct amq_ack ack;

    if (source->ch.state != AMQ_CHANNEL_OPEN)
        return;
    for (int i = 0; i < ACKS_A_TURN; i++) {
        if (!amq_acks_next(&source->acks, singly, &ack))
            break;
        write_ack(source, &ack);
    }
    if (!amq_acks_waiting(&source->acks) || source->stragglers_run)
        return;
    source->stragglers_run = true;
    bailey_timer_start(source->host, &source->stragglers, STRAGGLER_MS);
}

static void ack_soon(struct bailey_task *task)
{
    send_acks(task->ctx, false);
}

static void ack_stragglers(struct bailey_timer *timer)
{
    struct source *source = timer->ctx;

    source->stragglers_run = false;
    send_acks(source, true);
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct source *source = self;

    for (size_t i = 0; i < count; i++) {
        if (ended[i].group != source->group)
            continue;
        if (ended[i].outcome == BAILEY_ACCEPTED)
            amq_acks_settle(&source->acks, ended[i].position, AMQ_SETTLED_ACK);
        else if (ended[i].outcome == BAILEY_REJECTED)
            amq_acks_settle(&source->acks, ended[i].position, AMQ_SETTLED_REJECT);
        /* released, modified: it stays unacknowledged */
    }
    bailey_again(source->host, &source->ack_task);
}

/* ---- Failing ---- */

static void forget(struct source *source)
{
    drop_input(source);
    amq_acks_reset(&source->acks);
    bailey_revoke(source->port, source->group);
    source->group = amq_broker_next_group(source->broker);
    source->consumer = NONE;
    source->looking = false;
}

static void finish_close(struct source *source);

static void fail(struct source *source, const struct bailey_error *err)
{
    if (source->failed)
        return;
    source->failed = true;
    forget(source);
    if (source->closing)
        finish_close(source);
    else
        bailey_down(source->port, err);
}

static void on_lost(struct amq_channel *ch, const struct bailey_error *err, bool connection)
{
    struct source *source = (struct source *)ch;
    bool missing = !connection && !source->is_ready && err->native == AMQP_NOT_FOUND;

    if (missing && source->settings->declare == BAILEY_DECLARE_CREATE && !source->creating && !source->closing) {
        source->creating = true;
        amq_channel_renew(ch);
        return;
    }
    if (source->draining && !source->tell_drained) {
        source->tell_drained = true;
        bailey_again(source->host, &source->later);
    }
    struct bailey_error named = *err;

    amq_name_permission(&named, source->creating && !source->is_ready ? "configure" : "read");
    fail(source, &named);
}

/* ---- Preparing ---- */

static void must_fit(struct source *source, bool sent)
{
    struct bailey_error err = {0};

    if (sent)
        return;
    amq_setup_too_big(&err);
    fail(source, &err);
}

static void ready(struct source *source)
{
    source->is_ready = true;
    source->paused = bailey_room(source->port) == 0; /* the sink is not there yet: resume() will tell */
    bailey_up(source->port);
    bailey_timer_start(source->host, &source->tick, tick_ms(source));
    adjust(source);
}

static void on_opened(struct amq_channel *ch)
{
    struct source *source = (struct source *)ch;
    const struct amq_source_settings *s = source->settings;
    struct bailey_bytes queue = bailey_bytes_of(s->queue);

    amq_acks_reset(&source->acks);
    if (s->declare == BAILEY_DECLARE_NEVER || source->is_ready)
        ready(source);
    else if (source->creating)
        must_fit(source, amq_queue_create(ch, queue, s->queue_type, s->durable, s->single_active, &s->arguments));
    else
        must_fit(source, amq_queue_look(ch, queue));
}

static void on_declared(struct source *source, struct bailey_bytes args)
{
    struct amq_reader r = {args.data, args.data + args.len, false};
    const struct amq_source_settings *s = source->settings;
    uint32_t messages;

    amq_read_shortstr(&r);
    messages = amq_read_u32(&r);
    if (r.bad) {
        amq_connection_break(source->ch.conn, "malformed queue.declare-ok");
        return;
    }
    bailey_lag(source->port, messages);
    source->idle_ticks = messages > 0 ? LAG_IDLE_TICKS : 0;
    if (source->looking || source->is_ready)
        source->looking = false;
    else if (s->declare == BAILEY_DECLARE_CREATE && s->bind_exchange != NULL)
        must_fit(source, amq_queue_bind(&source->ch, s->queue, s->bind_exchange, s->bind_routing_key));
    else
        ready(source);
}

/* ---- Consuming ---- */

static uint16_t largest_window(const struct source *source)
{
    int64_t limit = source->settings->prefetch > 0 ? source->settings->prefetch : source->port->credit_messages;

    if (limit > source->port->credit_messages)
        limit = source->port->credit_messages;
    return (uint16_t)(limit < 1 ? 1 : limit > PREFETCH_MAX ? PREFETCH_MAX : limit);
}

/* What fits for a consumer, beside what earlier ones still have out. */
static uint16_t fitting_window(const struct source *source)
{
    uint64_t fits = (uint64_t)source->port->credit_bytes / (source->mean + 1), limit = largest_window(source);
    uint64_t taken =
        amq_acks_outstanding(&source->acks) - (source->consumer == ON ? amq_acks_since_mark(&source->acks) : 0);

    fits = fits > limit ? limit : fits;
    return (uint16_t)(fits > taken ? fits - taken : 1);
}

/* And beside what an earlier channel left out at the sink. */
static uint16_t window_now(const struct source *source)
{
    uint16_t fits = fitting_window(source);
    size_t room = bailey_room(source->port);

    return room < fits && room > 0 ? (uint16_t)room : fits;
}

static void start_consumer(struct source *source)
{
    const struct amq_source_settings *s = source->settings;
    amqp_basic_qos_t qos = {.prefetch_count = window_now(source)};
    amqp_table_entry_t priority = {amqp_cstring_bytes("x-priority"),
                                   {.kind = AMQP_FIELD_KIND_I32, .value.i32 = (int32_t)s->priority}};
    amqp_basic_consume_t consume = {.queue = amqp_cstring_bytes(s->queue), .exclusive = s->exclusive};

    source->window = qos.prefetch_count;
    amq_acks_mark(&source->acks);
    snprintf(source->tag, sizeof source->tag, "%.100s.%.100s.%u.%u", s->consumer_tag, source->port->route,
             source->port->lane, ++source->consumer_number);
    consume.consumer_tag = amqp_cstring_bytes(source->tag);
    if (s->priority != 0)
        consume.arguments = (amqp_table_t){1, &priority};
    source->consumer = STARTING;
    must_fit(source, amq_channel_send(&source->ch, AMQP_BASIC_QOS_METHOD, &qos) &&
                         amq_channel_send(&source->ch, AMQP_BASIC_CONSUME_METHOD, &consume));
}

static void stop_consumer(struct source *source)
{
    amqp_basic_cancel_t cancel = {.consumer_tag = amqp_cstring_bytes(source->tag)};

    source->consumer = STOPPING;
    amq_channel_send(&source->ch, AMQP_BASIC_CANCEL_METHOD, &cancel);
}

/* Messages turned out so much smaller than thought that a larger window is worth a new consumer. Only at a moment
 * when the old window is used up, so that nothing is on its way: what the broker sent to a consumer that is being
 * cancelled it takes back, and marks as redelivered. */
static void grow_window(struct source *source)
{
    if (source->consumer == ON && source->ch.state == AMQ_CHANNEL_OPEN &&
        amq_acks_since_mark(&source->acks) == source->window && fitting_window(source) / GROWTH >= source->window)
        stop_consumer(source);
}

/* Bring the consumer to what it should be. */
static void adjust(struct source *source)
{
    bool wanted = !source->paused && !source->draining && !source->closing;

    if (!source->is_ready || source->failed || source->ch.state != AMQ_CHANNEL_OPEN)
        return;
    if (source->consumer == NONE && wanted)
        start_consumer(source);
    else if (source->consumer == ON && !wanted)
        stop_consumer(source);
    if (source->consumer == NONE && source->draining && !source->tell_drained) {
        source->tell_drained = true;
        bailey_again(source->host, &source->later);
    }
}

/* The broker took the consumer away: the queue was deleted, or its leader moved. */
static void cancelled_by_broker(struct source *source)
{
    struct bailey_error err = {0};

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "the broker cancelled the consumer of queue %.120s",
                source->settings->queue);
    bailey_hint(&err, "The queue was deleted, or its leader moved to another node.");
    fail(source, &err);
}

static void on_method(struct amq_channel *ch, uint32_t id, struct bailey_bytes args)
{
    struct source *source = (struct source *)ch;

    switch (id) {
    case AMQP_BASIC_DELIVER_METHOD:
        on_deliver(source, args);
        break;
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        on_declared(source, args);
        break;
    case AMQP_QUEUE_BIND_OK_METHOD:
        if (!source->is_ready)
            ready(source);
        break;
    case AMQP_BASIC_QOS_OK_METHOD:
        break;
    case AMQP_BASIC_CONSUME_OK_METHOD:
        if (source->consumer == STARTING)
            source->consumer = ON;
        adjust(source);
        break;
    case AMQP_BASIC_CANCEL_OK_METHOD:
        if (source->consumer == STOPPING)
            source->consumer = NONE;
        adjust(source);
        break;
    case AMQP_BASIC_CANCEL_METHOD:
        cancelled_by_broker(source);
        break;
    default:
        amq_connection_break(ch->conn, "unexpected method %u.%u at a consumer", id >> 16, id & 0xffff);
    }
}

static void source_resume(void *self)
{
    struct source *source = self;

    source->paused = false;
    adjust(source);
}

/* ---- Every few seconds ---- */

/* The broker's patience ends (consumer_timeout): give back what is unsettled, and consume it again. */
static void renew_before_timeout(struct source *source)
{
    int64_t limit_ms = source->settings->consumer_timeout_ms;
    uint32_t second;

    if (!amq_acks_oldest(&source->acks, &second) ||
        (int64_t)(now_second(source) - second) * 1000 < limit_ms * 8 / 10 - tick_ms(source))
        return;
    bailey_log(BAILEY_LOG_WARN, "amqp.handed_back", kv_str("route", source->port->route),
               kv_str("queue", source->settings->queue), kv_u64("messages", amq_acks_outstanding(&source->acks)),
               kv_str("reason", "unsettled for nearly the broker's consumer_timeout"));
    forget(source);
    amq_channel_renew(&source->ch);
}

static void tell_opaque_tables(struct source *source)
{
    if (source->opaque_tables > 0)
        bailey_log(BAILEY_LOG_WARN, "amqp.header_tables_unreadable", kv_str("route", source->port->route),
                   kv_str("queue", source->settings->queue), kv_u64("messages", source->opaque_tables),
                   kv_str("hint", "Malformed, too deep or too large: carried as the header bailey-amqp-table."));
    source->opaque_tables = 0;
}

/* How many messages wait; seldom for a queue where nothing happens. */
static void look_at_lag(struct source *source)
{
    bool busy = source->acks.next != source->seen_at_look;

    source->seen_at_look = source->acks.next;
    if (source->looking || source->settings->declare == BAILEY_DECLARE_NEVER)
        return;
    if (!busy && ++source->idle_ticks < LAG_IDLE_TICKS)
        return;
    source->idle_ticks = 0;
    source->looking = amq_queue_look(&source->ch, bailey_bytes_of(source->settings->queue));
}

/* Often enough for the consumer_timeout. */
static int64_t tick_ms(const struct source *source)
{
    int64_t tenth = source->settings->consumer_timeout_ms / 10;

    return tenth < TICK_MS ? tenth : TICK_MS;
}

static void on_tick(struct bailey_timer *timer)
{
    struct source *source = timer->ctx;

    if (source->failed || source->closing)
        return;
    bailey_timer_start(source->host, timer, tick_ms(source));
    tell_opaque_tables(source);
    if (source->ch.state != AMQ_CHANNEL_OPEN)
        return;
    renew_before_timeout(source);
    if (source->ch.state == AMQ_CHANNEL_OPEN)
        look_at_lag(source);
}

/* ---- Beginning and end ---- */

static void on_writable(struct amq_channel *ch)
{
    (void)ch; /* acks are few: they wait for nothing */
}

static void on_blocked(struct amq_channel *ch, const char *reason)
{
    (void)ch; /* an alarm stops publishers only */
    (void)reason;
}

static void source_free(struct source *source)
{
    drop_input(source);
    amq_channel_detach(&source->ch);
    bailey_again_stop(source->host, &source->ack_task);
    bailey_again_stop(source->host, &source->later);
    bailey_timer_stop(source->host, &source->stragglers);
    bailey_timer_stop(source->host, &source->tick);
    bailey_timer_stop(source->host, &source->limit);
    amq_acks_free(&source->acks);
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
    if (source->tell_drained && source->draining)
        bailey_drained(port);
}

static void finish_close(struct source *source)
{
    bailey_timer_stop(source->host, &source->limit);
    source->tell_closed = true;
    bailey_again(source->host, &source->later);
}

static void on_closed(struct amq_channel *ch)
{
    finish_close((struct source *)ch);
}

static void on_limit(struct bailey_timer *timer)
{
    finish_close(timer->ctx);
}

static void source_drain(void *self)
{
    struct source *source = self;

    source->draining = true;
    if (!source->is_ready || source->failed || source->ch.state != AMQ_CHANNEL_OPEN) {
        source->tell_drained = true;
        bailey_again(source->host, &source->later);
        return;
    }
    adjust(source);
}

static void source_close(void *self)
{
    struct source *source = self;

    source->closing = true;
    drop_input(source);
    if (source->failed || source->ch.state != AMQ_CHANNEL_OPEN) {
        finish_close(source);
        return;
    }
    for (int i = 0; i < PREFETCH_MAX && amq_acks_waiting(&source->acks); i += ACKS_A_TURN)
        send_acks(source, true);
    send_acks(source, true);
    amq_channel_close(&source->ch);
    bailey_timer_start(source->host, &source->limit, AMQ_CLOSE_MS);
}

static const struct amq_channel_ops source_ops = {
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

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    struct source *source = calloc(1, sizeof *source);

    if (source == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    source->ch.ops = &source_ops;
    source->broker = broker;
    source->host = amq_broker_host(broker);
    source->port = port;
    source->settings = settings;
    source->group = amq_broker_next_group(broker);
    source->mean = FIRST_MEAN;
    source->ack_task = (struct bailey_task){.run = ack_soon, .ctx = source};
    source->later = (struct bailey_task){.run = tell_later, .ctx = source};
    source->stragglers = (struct bailey_timer){.fire = ack_stragglers, .ctx = source};
    source->tick = (struct bailey_timer){.fire = on_tick, .ctx = source};
    source->limit = (struct bailey_timer){.fire = on_limit, .ctx = source};
    amq_acks_reset(&source->acks);
    *self = source;
    amq_channel_attach(broker, AMQ_CONSUME, &source->ch);
    return true;
}

extern const struct bailey_option amq_source_options[];

const struct bailey_source amq_source = {
    .settings_size = sizeof(struct amq_source_settings),
    .options = amq_source_options,
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};
