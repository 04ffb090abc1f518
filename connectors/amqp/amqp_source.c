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

#include "receiver.h"
#include "setup.h"

enum {
    TICK_MS = 5000,       /* lag, age of the oldest unsettled */
    LAG_IDLE_TICKS = 6,   /* an idle queue is looked at every so many ticks */
    GROWTH = 2,           /* a window is worth changing if it becomes so many times larger */
    PREFETCH_MAX = 65535, /* basic.qos counts in 16 bits */
};

enum consumer { NONE, STARTING, ON, STOPPING };

struct source {
    struct amq_receiver in; /* first */
    const struct amq_source_settings *settings;
    struct bailey_timer tick;

    bool is_ready; /* the queue is there: bailey_up was told */
    bool creating; /* it was not: create it */
    bool looking;  /* a passive declare for the lag is under way */
    bool paused;   /* there is no room: resume() will come */
    enum consumer consumer;
    unsigned consumer_number; /* for a tag of its own */
    char tag[AMQ_SHORTSTR_MAX + 1];

    uint16_t window;       /* prefetch of the consumer */
    uint64_t seen_at_look; /* acks.next at the last look at the lag */
    unsigned idle_ticks;
};

static void adjust(struct source *source);
static int64_t tick_ms(const struct source *source);
static void grow_window(struct source *source);

/* ---- Receiving ---- */

/* The lane has no room, and the broker may still send: cancel. When the window is nearly used up, the broker stops by
 * itself. */
static void check_room(struct source *source)
{
    if (source->consumer != ON || source->paused || bailey_room(source->in.port) > 0)
        return;
    if (amq_acks_since_mark(&source->in.acks) < source->window - source->window / 4u) {
        source->paused = true;
        adjust(source);
    }
}

static void on_input_end(struct amq_channel *ch)
{
    struct source *source = (struct source *)ch;

    amq_receiver_hand_over(&source->in);
    check_room(source);
    grow_window(source);
}

static void on_deliver(struct source *source, struct bailey_bytes args)
{
    struct amq_reader r = {args.data, args.data + args.len, false};

    if (amq_acks_outstanding(&source->in.acks) > 2u * PREFETCH_MAX) {
        amq_connection_break(source->in.ch.conn, "more messages than any prefetch allows");
        return;
    }
    amq_read_shortstr(&r); /* consumer tag: a former consumer's deliveries count alike */
    amq_receiver_begin(&source->in, &r, !source->in.draining && !source->in.closing);
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct source *source = self;

    amq_receiver_settle(&source->in, ended, count, true);
}

/* ---- Failing ---- */

static void forgotten(struct amq_receiver *in)
{
    struct source *source = (struct source *)in;

    source->consumer = NONE;
    source->looking = false;
}

static void on_lost(struct amq_channel *ch, const struct bailey_error *err, bool connection)
{
    struct source *source = (struct source *)ch;
    bool missing = !connection && !source->is_ready && err->native == AMQP_NOT_FOUND;

    if (missing && source->settings->declare == BAILEY_DECLARE_CREATE && !source->creating && !source->in.closing) {
        source->creating = true;
        amq_channel_renew(ch);
        return;
    }
    struct bailey_error named = *err;

    amq_name_permission(&named, source->creating && !source->is_ready ? "configure" : "read");
    amq_receiver_fail(&source->in, &named);
}

/* ---- Preparing ---- */

static void ready(struct source *source)
{
    source->is_ready = true;
    source->paused = bailey_room(source->in.port) == 0; /* the sink is not there yet: resume() will tell */
    bailey_up(source->in.port);
    bailey_timer_start(source->in.host, &source->tick, tick_ms(source));
    adjust(source);
}

static void on_opened(struct amq_channel *ch)
{
    struct source *source = (struct source *)ch;
    const struct amq_source_settings *s = source->settings;
    struct bailey_bytes queue = bailey_bytes_of(s->queue);

    amq_acks_reset(&source->in.acks);
    if (s->declare == BAILEY_DECLARE_NEVER || source->is_ready)
        ready(source);
    else if (source->creating)
        amq_receiver_must_fit(&source->in,
                              amq_queue_create(ch, queue, s->queue_type, s->durable, s->single_active, &s->arguments));
    else
        amq_receiver_must_fit(&source->in, amq_queue_look(ch, queue));
}

/* Quorum queues ignore `exclusive`, silently. Whoever consumes beside the one before him, whose end the broker has not seen yet, gets
 * what lies behind the messages that come back from that one. So he who wants to be the only one begins when there is none. */
static void wait_for_the_other(struct source *source)
{
    struct bailey_error err = {0};

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "queue %.120s has another consumer, and this one is exclusive",
                source->settings->queue);
    bailey_hint(&err, "It begins by itself when the other one has gone.");
    amq_receiver_fail(&source->in, &err);
}

static void on_declared(struct source *source, struct bailey_bytes args)
{
    struct amq_reader r = {args.data, args.data + args.len, false};
    const struct amq_source_settings *s = source->settings;
    uint32_t messages, consumers;

    amq_read_shortstr(&r);
    messages = amq_read_u32(&r);
    consumers = amq_read_u32(&r);
    if (r.bad) {
        amq_connection_break(source->in.ch.conn, "malformed queue.declare-ok");
        return;
    }
    bailey_lag(source->in.port, messages);
    source->idle_ticks = messages > 0 ? LAG_IDLE_TICKS : 0;
    if (source->looking || source->is_ready)
        source->looking = false;
    else if (s->exclusive && consumers > 0)
        wait_for_the_other(source);
    else if (s->declare == BAILEY_DECLARE_CREATE && s->bind_exchange != NULL)
        amq_receiver_must_fit(&source->in,
                              amq_queue_bind(&source->in.ch, s->queue, s->bind_exchange, s->bind_routing_key));
    else
        ready(source);
}

/* ---- Consuming ---- */

/* A steady window is the one with which the next consumer begins. */
static uint16_t largest_window(const struct source *source)
{
    const struct amq_source_settings *s = source->settings;
    int64_t limit = s->prefetch > 0 ? s->prefetch : source->in.port->credit_messages;

    if (limit > source->in.port->credit_messages)
        limit = source->in.port->credit_messages;
    if (amq_needs_steady_window(s) && limit > source->in.port->credit_bytes / (AMQ_FIRST_MEAN + 1))
        limit = source->in.port->credit_bytes / (AMQ_FIRST_MEAN + 1);
    return (uint16_t)(limit < 1 ? 1 : limit > PREFETCH_MAX ? PREFETCH_MAX : limit);
}

/* What fits for a consumer, beside what earlier ones still have out. */
static uint16_t fitting_window(const struct source *source)
{
    uint64_t fits = (uint64_t)source->in.port->credit_bytes / (source->in.mean + 1), limit = largest_window(source);
    uint64_t taken =
        amq_acks_outstanding(&source->in.acks) - (source->consumer == ON ? amq_acks_since_mark(&source->in.acks) : 0);

    fits = fits > limit ? limit : fits;
    return (uint16_t)(fits > taken ? fits - taken : 1);
}

/* And beside what an earlier channel left out at the sink. */
static uint16_t window_now(const struct source *source)
{
    uint16_t fits = fitting_window(source);
    size_t room = bailey_room(source->in.port);

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
    amq_acks_mark(&source->in.acks);
    snprintf(source->tag, sizeof source->tag, "%.100s.%.100s.%u.%u", s->consumer_tag, source->in.port->route,
             source->in.port->lane, ++source->consumer_number);
    consume.consumer_tag = amqp_cstring_bytes(source->tag);
    if (s->priority != 0)
        consume.arguments = (amqp_table_t){1, &priority};
    source->consumer = STARTING;
    amq_receiver_must_fit(&source->in, amq_channel_send(&source->in.ch, AMQP_BASIC_QOS_METHOD, &qos) &&
                                           amq_channel_send(&source->in.ch, AMQP_BASIC_CONSUME_METHOD, &consume));
}

static void stop_consumer(struct source *source)
{
    amqp_basic_cancel_t cancel = {.consumer_tag = amqp_cstring_bytes(source->tag)};

    source->consumer = STOPPING;
    amq_channel_send(&source->in.ch, AMQP_BASIC_CANCEL_METHOD, &cancel);
}

/* Messages turned out so much smaller than thought that a larger window is worth a new consumer. Only at a moment
 * when the old window is used up, so that nothing is on its way: what the broker sent to a consumer that is being
 * cancelled it takes back, and marks as redelivered. */
static void grow_window(struct source *source)
{
    if (source->consumer == ON && source->in.ch.state == AMQ_CHANNEL_OPEN &&
        amq_acks_since_mark(&source->in.acks) == source->window && fitting_window(source) / GROWTH >= source->window)
        stop_consumer(source);
}

/* Bring the consumer to what it should be. */
static void adjust(struct source *source)
{
    bool wanted = !source->paused && !source->in.draining && !source->in.closing;

    if (!source->is_ready || source->in.failed || source->in.ch.state != AMQ_CHANNEL_OPEN)
        return;
    if (source->consumer == NONE && wanted)
        start_consumer(source);
    else if (source->consumer == ON && !wanted)
        stop_consumer(source);
    if (source->consumer == NONE && source->in.draining)
        amq_receiver_drained(&source->in);
}

/* The broker took the consumer away: the queue was deleted, or its leader moved. */
static void cancelled_by_broker(struct source *source)
{
    struct bailey_error err = {0};

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "the broker cancelled the consumer of queue %.120s",
                source->settings->queue);
    bailey_hint(&err, "The queue was deleted, or its leader moved to another node.");
    amq_receiver_fail(&source->in, &err);
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

    if (!amq_acks_oldest(&source->in.acks, &second) ||
        (int64_t)(amq_receiver_second(&source->in) - second) * 1000 < limit_ms * 8 / 10 - tick_ms(source))
        return;
    bailey_log(BAILEY_LOG_WARN, "amqp.handed_back", kv_str("route", source->in.port->route),
               kv_str("queue", source->settings->queue), kv_u64("messages", amq_acks_outstanding(&source->in.acks)),
               kv_str("reason", "unsettled for nearly the broker's consumer_timeout"));
    amq_receiver_forget(&source->in);
    amq_channel_renew(&source->in.ch);
}

static void tell_opaque_tables(struct source *source)
{
    if (source->in.opaque_tables > 0)
        bailey_log(BAILEY_LOG_WARN, "amqp.header_tables_unreadable", kv_str("route", source->in.port->route),
                   kv_str("queue", source->settings->queue), kv_u64("messages", source->in.opaque_tables),
                   kv_str("hint", "Malformed, too deep or too large: carried as the header bailey-amqp-table."));
    source->in.opaque_tables = 0;
}

/* How many messages wait; seldom for a queue where nothing happens. */
static void look_at_lag(struct source *source)
{
    bool busy = source->in.acks.next != source->seen_at_look;

    source->seen_at_look = source->in.acks.next;
    if (source->looking || source->settings->declare == BAILEY_DECLARE_NEVER)
        return;
    if (!busy && ++source->idle_ticks < LAG_IDLE_TICKS)
        return;
    source->idle_ticks = 0;
    source->looking = amq_queue_look(&source->in.ch, bailey_bytes_of(source->settings->queue));
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

    if (source->in.failed || source->in.closing)
        return;
    bailey_timer_start(source->in.host, timer, tick_ms(source));
    tell_opaque_tables(source);
    if (source->in.ch.state != AMQ_CHANNEL_OPEN)
        return;
    renew_before_timeout(source);
    if (source->in.ch.state == AMQ_CHANNEL_OPEN)
        look_at_lag(source);
}

/* ---- Beginning and end ---- */

static void source_drain(void *self)
{
    struct source *source = self;

    source->in.draining = true;
    if (!source->is_ready || source->in.failed || source->in.ch.state != AMQ_CHANNEL_OPEN)
        amq_receiver_drained(&source->in);
    else
        adjust(source);
}

static void source_close(void *self)
{
    struct source *source = self;

    if (amq_receiver_close(&source->in))
        amq_channel_close(&source->in.ch);
}

static void free_source(struct amq_receiver *in)
{
    struct source *source = (struct source *)in;

    amq_receiver_fini(in);
    bailey_timer_stop(in->host, &source->tick);
    free(source);
}

static const struct amq_channel_ops source_ops = {
    .opened = on_opened,
    .method = on_method,
    .header = amq_receiver_header,
    .body = amq_receiver_body,
    .input_end = on_input_end,
    .lost = on_lost,
    .closed = amq_receiver_closed,
};

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    struct source *source = calloc(1, sizeof *source);

    if (source == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    source->settings = settings;
    source->in.ch.ops = &source_ops;
    source->in.forgotten = forgotten;
    source->in.free_end = free_source;
    amq_receiver_init(&source->in, broker, port, source->settings->queue);
    source->tick = (struct bailey_timer){.fire = on_tick, .ctx = source};
    *self = source;
    amq_channel_attach(broker, AMQ_CONSUME, &source->in.ch);
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
