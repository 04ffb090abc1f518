/* shelf.c: a source over what lies at the broker of the dead letters: once, oldest first, then it is finished. What is accepted is
 * removed there, the rest stays.
 */
#include <stdlib.h>

#include "endpoints.h"
#include "message/codec.h"
#include "message/pool.h"
#include "replayer.h"
#include "sink_broker.h"

enum { SLICE = 16 };

struct source {
    struct berth *berth;
    struct bailey_port *port;
    struct bailey_host *host;
    size_t next, end; /* letters */
    bool closing, draining;
    struct bailey_task pump, tell;
};

static const struct sink_broker *broker_of(const struct source *source)
{
    return source->berth->route->sinks[TO_DEAD];
}

/* As it lies there; where the simulation sees it, with the number of this handout. */
static struct bailey_message *take(struct source *source, size_t number)
{
    const struct dead_letter *letter = sink_broker_letter(broker_of(source), number);
    struct bailey_message *msg = bailey_message_new(source->port);
    struct ledger *ledger = source->berth->scene->ledger;
    struct bailey_error err;
    uint32_t handout;

    if (!message_decode(msg, letter->bytes, &err))
        sim_fail(source->berth->scene->sim, "a dead letter cannot be read: %s", err.text);
    handout = ledger_received(ledger, source->berth->slot, letter->message, false, 0, number);
    ledger_replays(ledger, handout, letter->number, message_size(msg));
    msg->timestamp_ms = handout;
    msg->group = 0;
    msg->position = number;
    return msg;
}

static void pump(struct bailey_task *task)
{
    struct source *source = task->ctx;
    struct bailey_message *batch[SLICE];
    size_t count = 0, room;

    if (source->closing || source->draining)
        return;
    room = bailey_room(source->port);
    ledger_room(source->berth->scene->ledger, source->berth->slot, room);
    for (; count < room && count < SLICE && source->next < source->end; source->next++)
        if (!sink_broker_letter(broker_of(source), source->next)->is_removed)
            batch[count++] = take(source, source->next);
    if (count > 0)
        bailey_receive(source->port, batch, count);
    if (source->next == source->end)
        bailey_finished(source->port);
    else if (room > 0)
        bailey_again(source->host, &source->pump);
}

static void source_resume(void *self)
{
    struct source *source = self;

    bailey_again(source->host, &source->pump);
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct source *source = self;

    for (size_t i = 0; i < count; i++) {
        process_step(source->berth->process);
        ledger_settled(source->berth->scene->ledger, source->berth->slot, &ended[i]);
        if (ended[i].outcome == BAILEY_ACCEPTED)
            sink_broker_remove(source->berth->route->sinks[TO_DEAD], (size_t)ended[i].position);
    }
}

static void tell(struct bailey_task *task)
{
    struct source *source = task->ctx;
    struct bailey_port *port = source->port;
    const struct berth *berth = source->berth;

    if (!source->closing) {
        if (source->draining)
            bailey_drained(port);
        else
            bailey_up(port);
        return;
    }
    bailey_again_stop(source->host, &source->pump);
    free(source);
    ledger_source_closed(berth->scene->ledger, berth->slot);
    bailey_closed(port);
}

static void source_drain(void *self)
{
    struct source *source = self;

    source->draining = true;
    bailey_again(source->host, &source->tell);
}

static void source_close(void *self)
{
    struct source *source = self;

    process_step(source->berth->process);
    ledger_source_closing(source->berth->scene->ledger, source->berth->slot);
    source->closing = true;
    bailey_again(source->host, &source->tell);
}

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
    *source = (struct source){.berth = berth, .port = port, .host = port->host};
    source->end = sink_broker_letters(broker_of(source));
    source->pump = (struct bailey_task){.run = pump, .ctx = source};
    source->tell = (struct bailey_task){.run = tell, .ctx = source};
    ledger_source_opened(berth->scene->ledger, berth->slot);
    bailey_again(source->host, &source->tell);
    bailey_again(source->host, &source->pump);
    *self = source;
    return true;
}

const struct bailey_source shelf_source = {
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};
