/* queue_source.c: a consumer of the simulated queue, made as connectors/amqp is made: a window of what may be unacknowledged, cancelled
 * when the lane has no room, acknowledgements by connectors/amqp/acks.c; what is unsettled for too long is handed back with the
 * channel. Or made as a STOMP client: an acknowledgement for each message by itself, at once.
 *
 * Groups begin anew with each opening, so that only the lane can tell a settlement of an earlier one.
 */
#include <stdlib.h>

#include "connectors/amqp/acks.h"
#include "endpoints.h"
#include "queue_broker.h"
#include "scene.h"

enum { BATCH_MAX = 64, ACKS_A_TURN = 16, STRAGGLER_MS = 20 };
enum consumer { NONE, STARTING, ON, STOPPING };

struct source {
    struct berth *berth;
    struct bailey_port *port;
    struct bailey_host *host;
    struct link *link; /* NULL: lost */
    bool acks_each;
    bool is_open, draining, tell_drained, closing, failed, paused, stragglers_run;
    enum consumer consumer;
    uint64_t life;  /* of the channel, as the broker counts; its frames of another life are late */
    uint32_t group; /* the same, as the lane is told */
    struct amq_acks acks;
    size_t window;
    struct bailey_message *batch[BATCH_MAX];
    uint32_t numbers[BATCH_MAX];
    size_t batch_count;
    struct bailey_task hand_over, ack, tell;
    struct bailey_timer stragglers, patience;
};

static void adjust(struct source *source);

static void send(struct source *source, struct frame frame)
{
    frame.b = source->life;
    if (source->link != NULL)
        link_to_server(source->link, frame);
}

/* ---- Receiving ---- */

static size_t room_of(struct source *source)
{
    size_t room = bailey_room(source->port);

    ledger_room(source->berth->scene->ledger, source->berth->slot, room);
    return room;
}

static void check_room(struct source *source)
{
    if (source->consumer != ON || source->paused || room_of(source) > 0)
        return;
    if (amq_acks_since_mark(&source->acks) < source->window - source->window / 4) {
        source->paused = true;
        adjust(source);
    }
}

static void hand_over(struct bailey_task *task)
{
    struct source *source = task->ctx;
    struct ledger *ledger = source->berth->scene->ledger;
    size_t count = source->batch_count;

    source->batch_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct bailey_message *msg = source->batch[i];

        msg->timestamp_ms = ledger_received(ledger, source->berth->slot, source->numbers[i], msg->redelivered,
                                            msg->group, msg->position);
    }
    if (count > 0)
        bailey_receive(source->port, source->batch, count);
    check_room(source);
}

static void drop_input(struct source *source)
{
    for (size_t i = 0; i < source->batch_count; i++)
        bailey_message_unref(source->batch[i]);
    source->batch_count = 0;
}

static void on_deliver(struct source *source, const struct frame *frame)
{
    const struct source_manner *manner = &source->berth->route->source_manner;
    struct bailey_message *msg;

    if (frame->d != source->acks.next)
        sim_fail(source->berth->scene->sim, "tag %llu is delivered, and %llu is expected", (unsigned long long)frame->d,
                 (unsigned long long)source->acks.next);
    amq_acks_deliver(&source->acks, (uint32_t)(bailey_now_ms(source->host) / 1000));
    if (source->draining || source->closing)
        return; /* it stays unacknowledged, and returns with the channel's close */
    msg = content_message(ledger_content(source->berth->scene->ledger, (uint32_t)frame->a), source->port, 0,
                          manner->pins);
    msg->group = source->group;
    msg->position = frame->d;
    msg->redelivered = frame->flags != 0;
    source->numbers[source->batch_count] = (uint32_t)frame->a;
    source->batch[source->batch_count++] = msg;
    if (source->batch_count == BATCH_MAX || source->batch_count >= manner->slice)
        hand_over(&source->hand_over);
    else
        bailey_again(source->host, &source->hand_over);
}

/* ---- Acknowledging ---- */

static void send_acks(struct source *source, bool singly)
{
    struct amq_ack ack;

    if (!source->is_open)
        return;
    for (int i = 0; i < ACKS_A_TURN && amq_acks_next(&source->acks, singly, &ack); i++)
        send(source, (struct frame){.kind = QUEUE_ACK, .flags = ack.multiple, .d = ack.tag});
    if (!amq_acks_waiting(&source->acks) || source->stragglers_run)
        return;
    source->stragglers_run = true;
    bailey_timer_start(source->host, &source->stragglers, STRAGGLER_MS);
}

static void ack_soon(struct bailey_task *task)
{
    send_acks(task->ctx, false);
    adjust(task->ctx); /* a consumer may fit again */
}

static void ack_stragglers(struct bailey_timer *timer)
{
    struct source *source = timer->ctx;

    source->stragglers_run = false;
    send_acks(source, true);
}

static void ack_at_once(struct source *source)
{
    struct amq_ack ack;

    while (
        amq_acks_next(&source->acks, true, &ack)) { /* one is settled: one is told, or told by `multiple` of itself */
        send(source, (struct frame){.kind = QUEUE_ACK, .d = ack.tag});
        if (!ack.multiple)
            break;
    }
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct source *source = self;

    process_step(source->berth->process);
    for (size_t i = 0; i < count; i++) {
        ledger_settled(source->berth->scene->ledger, source->berth->slot, &ended[i]);
        if (ended[i].group != source->group)
            continue; /* of an earlier life of the channel */
        if (ended[i].outcome == BAILEY_ACCEPTED)
            amq_acks_settle(&source->acks, ended[i].position, AMQ_SETTLED_ACK);
        if (source->acks_each)
            ack_at_once(source);
    }
    bailey_again(source->host, &source->ack);
}

/* ---- Consuming ---- */

static size_t fitting_window(const struct source *source)
{
    size_t limit = (size_t)source->port->credit_messages, taken = amq_acks_outstanding(&source->acks);

    return limit > taken ? limit - taken : 0;
}

static void adjust(struct source *source)
{
    bool wanted = !source->paused && !source->draining && !source->closing;

    if (!source->is_open)
        return;
    if (source->consumer == NONE && wanted && fitting_window(source) > 0) {
        size_t room = room_of(source); /* less what an earlier channel left out at the sink */

        source->window = fitting_window(source);
        if (room > 0 && room < source->window)
            source->window = room;
        amq_acks_mark(&source->acks);
        source->consumer = STARTING;
        send(source, (struct frame){.kind = QUEUE_CONSUME, .c = source->window});
    } else if (source->consumer == ON && !wanted) {
        source->consumer = STOPPING;
        send(source, (struct frame){.kind = QUEUE_CANCEL});
    }
    if (source->consumer == NONE && source->draining && !source->tell_drained) {
        source->tell_drained = true;
        bailey_again(source->host, &source->tell);
    }
}

static void source_resume(void *self)
{
    struct source *source = self;

    source->paused = false;
    adjust(source);
}

/* ---- The channel's life ---- */

static void forget(struct source *source)
{
    size_t out;

    drop_input(source);
    amq_acks_reset(&source->acks);
    out = bailey_revoke(source->port, source->group);
    ledger_revoked(source->berth->scene->ledger, source->berth->slot, source->group, out);
    source->group++;
    source->consumer = NONE;
    source->is_open = false;
}

/* The broker's patience ends: give back what is unsettled, and consume it again. */
static void patience_due(struct bailey_timer *timer)
{
    struct source *source = timer->ctx;
    int64_t patience_ms = source->berth->route->source_manner.patience_ms;
    uint32_t second;

    bailey_timer_start(source->host, timer, patience_ms);
    if (!source->is_open || source->closing || source->draining || !amq_acks_oldest(&source->acks, &second) ||
        bailey_now_ms(source->host) - (int64_t)second * 1000 < patience_ms)
        return;
    forget(source);
    send(source, (struct frame){.kind = QUEUE_RENEW});
    source->life++;
}

static void on_opened(struct source *source)
{
    source->is_open = true;
    source->paused = room_of(source) == 0; /* the sink is not there yet: resume() will tell */
    bailey_up(source->port);
    adjust(source);
}

static void on_frame(void *ctx, const struct frame *frame)
{
    struct source *source = ctx;

    if (frame->b != source->life || source->closing)
        return; /* of the channel that is closed */
    if (frame->kind == QUEUE_DELIVER) {
        on_deliver(source, frame);
        return;
    }
    if (frame->kind == QUEUE_OPENED)
        on_opened(source);
    else if (frame->kind == QUEUE_STARTED)
        source->consumer = ON;
    else if (frame->kind == QUEUE_CANCELED)
        source->consumer = NONE;
    adjust(source);
}

/* ---- The end ---- */

static void on_lost(void *ctx)
{
    struct source *source = ctx;
    struct bailey_error err;

    source->link = NULL;
    source->failed = true;
    forget(source);
    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "connection lost");
    bailey_down(source->port, &err);
}

static void source_drain(void *self)
{
    struct source *source = self;

    source->draining = true;
    if (source->is_open) {
        adjust(source);
        return;
    }
    source->tell_drained = true;
    bailey_again(source->host, &source->tell);
}

static void source_free(struct source *source)
{
    if (source->link != NULL)
        link_close(source->link);
    bailey_again_stop(source->host, &source->hand_over);
    bailey_again_stop(source->host, &source->ack);
    bailey_timer_stop(source->host, &source->stragglers);
    bailey_timer_stop(source->host, &source->patience);
    amq_acks_free(&source->acks);
    free(source);
}

static void tell(struct bailey_task *task)
{
    struct source *source = task->ctx;
    struct bailey_port *port = source->port;
    const struct berth *berth = source->berth;

    if (!source->closing) {
        bailey_drained(port);
        return;
    }
    source_free(source);
    ledger_source_closed(berth->scene->ledger, berth->slot);
    bailey_closed(port);
}

static void source_close(void *self)
{
    struct source *source = self;

    process_step(source->berth->process);
    ledger_source_closing(source->berth->scene->ledger, source->berth->slot);
    source->closing = true;
    drop_input(source);
    for (int i = 0; i < 1000 && source->is_open && amq_acks_waiting(&source->acks); i++)
        send_acks(source, true);
    send_acks(source, true);
    bailey_again(source->host, &source->tell);
}

static const struct link_client client_ops = {.frame = on_frame, .lost = on_lost};

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    struct berth *berth = broker;
    struct source *source;

    (void)settings;
    process_step(berth->process);
    if (!berth->scene->sim->is_calm && dice_percent(&berth->scene->sim->dice, 10))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "no such queue");
    source = calloc(1, sizeof *source);
    source->berth = berth;
    source->port = port;
    source->host = port->host;
    source->acks_each = berth->route->kind == SOURCE_EACH;
    source->life = source->group = 1;
    source->hand_over = (struct bailey_task){.run = hand_over, .ctx = source};
    source->ack = (struct bailey_task){.run = ack_soon, .ctx = source};
    source->tell = (struct bailey_task){.run = tell, .ctx = source};
    source->stragglers = (struct bailey_timer){.fire = ack_stragglers, .ctx = source};
    source->patience = (struct bailey_timer){.fire = patience_due, .ctx = source};
    amq_acks_reset(&source->acks);
    source->link = queue_broker_connect(berth->route->queue, source->host, &client_ops, source);
    if (berth->route->source_manner.patience_ms > 0)
        bailey_timer_start(source->host, &source->patience, berth->route->source_manner.patience_ms);
    ledger_source_opened(berth->scene->ledger, berth->slot);
    *self = source;
    return true;
}

const struct bailey_source queue_source = {
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};
