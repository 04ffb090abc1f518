/* sink.c: a publisher to the simulated broker, made as connectors/amqp is made: a window of what is unconfirmed, an output of which a part may
 * not have left yet when the connection goes. What has left is in doubt then; the rest was never sent.
 */
#include <stdlib.h>

#include "endpoints.h"
#include "sink_broker.h"

enum { REFUSED_MAX = 256 }; /* as many as a lane gives at once */

struct sink {
    struct berth *berth;
    enum outlet outlet;
    const struct sink_manner *manner;
    struct bailey_port *port;
    struct bailey_host *host;
    struct link *link;               /* NULL: lost */
    struct bailey_delivery **window; /* by tag modulo its size; NULL: has its verdict */
    uint64_t base, next, written;    /* tags: [base, next) may be unconfirmed, those below `written` have left */
    struct bailey_delivery **confirmed;
    size_t confirmed_count;
    struct bailey_task tell, give;
    struct bailey_timer write;
    bool is_ready, is_blocked, is_starved, closing, failed;
};

static struct ledger *ledger_of(const struct sink *sink)
{
    return sink->berth->scene->ledger;
}

static size_t window_size(const struct sink *sink)
{
    return sink->manner->window;
}

static struct bailey_delivery **at(const struct sink *sink, uint64_t tag)
{
    return &sink->window[tag % window_size(sink)];
}

/* Take it out of the window; NULL if it has its verdict. */
static struct bailey_delivery *take(struct sink *sink, uint64_t tag)
{
    struct bailey_delivery *delivery = *at(sink, tag);

    *at(sink, tag) = NULL;
    while (sink->base < sink->next && *at(sink, sink->base) == NULL)
        sink->base++;
    return delivery;
}

/* ---- State ---- */

static void show(struct sink *sink)
{
    bool is_up = sink->is_ready && !sink->is_blocked;

    if (!sink->is_ready || sink->failed || sink->closing)
        return;
    ledger_sink_is(ledger_of(sink), sink->berth->slot, sink->outlet, is_up);
    if (is_up)
        bailey_up(sink->port);
    else
        bailey_held(sink->port, "the broker is blocked");
}

static void feed(struct sink *sink)
{
    if (!sink->is_starved || sink->next - sink->base == window_size(sink))
        return;
    sink->is_starved = false;
    ledger_full(ledger_of(sink), sink->berth->slot, sink->outlet, false);
    bailey_writable(sink->port);
}

/* ---- Verdicts ---- */

static void give_confirms(struct sink *sink)
{
    size_t count = sink->confirmed_count;

    sink->confirmed_count = 0;
    for (size_t i = 0; i < count; i++)
        ledger_confirmed(ledger_of(sink), sink->berth->slot, sink->confirmed[i]);
    process_step(sink->berth->process);
    if (count > 0)
        bailey_confirm(sink->port, sink->confirmed, count);
}

static void give_due(struct bailey_task *task)
{
    struct sink *sink = task->ctx;

    give_confirms(sink);
    feed(sink);
}

static void refuse(struct sink *sink, struct bailey_delivery *delivery, enum bailey_error_kind kind)
{
    struct bailey_error err;

    bailey_fail(&err, kind, "the broker does not want it");
    ledger_refused(ledger_of(sink), sink->berth->slot, delivery, kind);
    bailey_refuse(sink->port, delivery, &err);
}

static void on_confirm(struct sink *sink, const struct frame *frame)
{
    for (uint64_t tag = frame->flags ? sink->base : frame->d; tag <= frame->d; tag++) {
        struct bailey_delivery *delivery = *at(sink, tag);

        if (delivery == NULL)
            continue;
        take(sink, tag);
        if (sink->confirmed_count == window_size(sink)) /* others were sent while those waited */
            give_confirms(sink);
        sink->confirmed[sink->confirmed_count++] = delivery;
    }
    if (sink->manner->gathers && sink->confirmed_count < window_size(sink))
        bailey_again(sink->host, &sink->give);
    else
        give_due(&sink->give);
}

/* Hand back a run of what is unconfirmed: [from, to). */
static void hand_back(struct sink *sink, uint64_t from, uint64_t to, bool in_doubt)
{
    struct bailey_delivery **batch = malloc((size_t)(to - from + 1) * sizeof *batch);
    size_t count = 0;

    for (uint64_t tag = from; tag < to; tag++) {
        struct bailey_delivery *delivery = take(sink, tag);

        if (delivery == NULL)
            continue;
        ledger_handed_back(ledger_of(sink), sink->berth->slot, delivery, in_doubt);
        batch[count++] = delivery;
    }
    if (count > 0)
        bailey_hand_back(sink->port, batch, count, in_doubt);
    free(batch);
}

static void hand_back_all(struct sink *sink)
{
    uint64_t from = sink->base, written = sink->written > from ? sink->written : from;

    give_confirms(sink);
    hand_back(sink, from, written, true);
    hand_back(sink, written, sink->next, false);
    sink->written = sink->next;
}

/* ---- Publishing ---- */

static void write_some(struct sink *sink, size_t most)
{
    for (; sink->link != NULL && most > 0 && sink->written < sink->next; most--, sink->written++) {
        const struct bailey_delivery *delivery = *at(sink, sink->written);
        uint32_t message, handout;

        const char *text =
            sink->outlet == TO_DEAD && sink->berth->route->is_replayed ? sink_broker_encode(delivery->message) : NULL;

        content_number(delivery->message, &message, &handout);
        link_to_server(sink->link, (struct frame){.kind = SINK_PUBLISH,
                                                  .flags = delivery->possible_duplicate,
                                                  .a = message,
                                                  .b = handout,
                                                  .c = content_hash(delivery->message),
                                                  .d = sink->written,
                                                  .text = text});
    }
    if (sink->link != NULL && sink->written < sink->next)
        bailey_timer_start(sink->host, &sink->write, 2);
}

static void write_due(struct bailey_timer *timer)
{
    struct sink *sink = timer->ctx;

    write_some(sink, sink->manner->written_a_time);
}

static bool is_sayable(const struct sink *sink, const struct bailey_delivery *delivery)
{
    const struct sim *sim = sink->berth->scene->sim;
    uint32_t message, handout;

    return sim->is_calm || sink->outlet != TO_SINK || !content_number(delivery->message, &message, &handout) ||
           ledger_content(sim->ledger, message)->nature != NATURE_UNSAYABLE;
}

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct sink *sink = self;
    struct bailey_delivery *refused[REFUSED_MAX];
    size_t taken = 0, refused_count = 0;

    process_step(sink->berth->process);
    for (; taken < count && sink->next - sink->base < window_size(sink) && refused_count < REFUSED_MAX; taken++) {
        struct bailey_delivery *delivery = batch[taken];

        ledger_sent(ledger_of(sink), sink->berth->slot, sink->outlet, delivery);
        if (!is_sayable(sink, delivery)) {
            refused[refused_count++] = delivery;
            continue;
        }
        delivery->sink_tag = sink->next;
        *at(sink, sink->next++) = delivery;
    }
    sink->is_starved = taken < count;
    ledger_full(ledger_of(sink), sink->berth->slot, sink->outlet, sink->is_starved);
    for (size_t i = 0; i < refused_count; i++)
        refuse(sink, refused[i], BAILEY_ERR_PERMANENT);
    return taken;
}

static void sink_flush(void *self)
{
    write_due(&((struct sink *)self)->write);
}

/* ---- What the broker says ---- */

static void on_frame(void *ctx, const struct frame *frame)
{
    struct sink *sink = ctx;

    if (sink->closing)
        return; /* all is handed back */
    switch ((enum sink_frame)frame->kind) {
    case SINK_READY:
        sink->is_ready = true;
        break;
    case SINK_BLOCKED:
    case SINK_UNBLOCKED:
        sink->is_blocked = frame->kind == SINK_BLOCKED;
        break;
    case SINK_CONFIRM:
        on_confirm(sink, frame);
        return;
    case SINK_REFUSE:
        refuse(sink, take(sink, frame->d), (enum bailey_error_kind)frame->a);
        feed(sink);
        return;
    case SINK_PUBLISH:
        break;
    }
    show(sink);
}

static void on_lost(void *ctx)
{
    struct sink *sink = ctx;
    struct bailey_error err;

    sink->link = NULL;
    sink->failed = true;
    ledger_sink_is(ledger_of(sink), sink->berth->slot, sink->outlet, false);
    if (dice_percent(&sink->berth->scene->sim->dice, 50)) /* or when it is closed */
        hand_back_all(sink);
    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "connection lost");
    bailey_down(sink->port, &err);
}

/* ---- Beginning and end ---- */

static void tell_closed(struct bailey_task *task)
{
    struct sink *sink = task->ctx;
    struct bailey_port *port = sink->port;

    if (sink->link != NULL)
        link_close(sink->link);
    bailey_again_stop(sink->host, &sink->give);
    bailey_timer_stop(sink->host, &sink->write);
    free(sink->window);
    free(sink->confirmed);
    free(sink);
    bailey_closed(port);
}

static void sink_close(void *self)
{
    struct sink *sink = self;

    process_step(sink->berth->process);
    sink->closing = true;
    ledger_sink_is(ledger_of(sink), sink->berth->slot, sink->outlet, false);
    hand_back_all(sink);
    bailey_again(sink->host, &sink->tell);
}

static const struct link_client client_ops = {.frame = on_frame, .lost = on_lost};

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    const struct way *way = broker;
    struct berth *berth = way->berth;
    struct sink *sink;

    (void)settings;
    process_step(berth->process);
    if (!berth->scene->sim->is_calm && dice_percent(&berth->scene->sim->dice, 10))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "no such exchange");
    sink = calloc(1, sizeof *sink);
    sink->berth = berth;
    sink->outlet = way->outlet;
    sink->manner = &berth->route->sink_manners[way->outlet];
    sink->port = port;
    sink->host = port->host;
    sink->base = sink->next = sink->written = 1;
    sink->window = calloc(window_size(sink), sizeof(struct bailey_delivery *));
    sink->confirmed = calloc(window_size(sink), sizeof(struct bailey_delivery *));
    sink->tell = (struct bailey_task){.run = tell_closed, .ctx = sink};
    sink->give = (struct bailey_task){.run = give_due, .ctx = sink};
    sink->write = (struct bailey_timer){.fire = write_due, .ctx = sink};
    sink->link = sink_broker_connect(way, &client_ops, sink);
    ledger_sink_opened(ledger_of(sink), berth->slot, sink->outlet);
    *self = sink;
    return true;
}

const struct bailey_sink sim_sink = {
    .open = sink_open,
    .send = sink_send,
    .flush = sink_flush,
    .close = sink_close,
};
