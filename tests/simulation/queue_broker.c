/* queue_broker.c: the queue, and a channel for each session. */
#include "queue_broker.h"

#include <stdlib.h>
#include <string.h>

struct item {
    uint32_t number, place; /* place: in the order of arrival */
    bool was_delivered;
};

struct unacked {
    struct item item;
    uint64_t tag;
};

struct session {
    struct queue_broker *broker;
    struct link *link;
    struct session *next;
    struct unacked *unacked; /* by tag, ascending */
    size_t count, cap;
    uint64_t life, next_tag;
    uint64_t consumer_tag; /* first tag of the present consumer */
    size_t prefetch;       /* 0: it does not consume */
};

struct queue_broker {
    struct sim *sim;
    struct item *items;
    size_t count, cap;
    uint32_t arrived;
    bool shuffles, is_exclusive;
    struct session *sessions;
    struct session *active; /* of an exclusive queue: who consumes; NULL: nobody yet */
};

/* ---- Delivering ---- */

static bool has_room(const struct session *session)
{
    size_t own = session->count;

    if (session->broker->is_exclusive && session->broker->active != session)
        return false;
    while (own > 0 && session->unacked[session->count - own].tag < session->consumer_tag)
        own--;
    return own < session->prefetch;
}

static void deliver(struct session *session)
{
    struct queue_broker *broker = session->broker;
    struct item item = broker->items[0];

    memmove(broker->items, broker->items + 1, --broker->count * sizeof item);
    link_to_client(session->link, (struct frame){.kind = QUEUE_DELIVER,
                                                 .flags = item.was_delivered,
                                                 .a = item.number,
                                                 .b = session->life,
                                                 .d = session->next_tag});
    item.was_delivered = true;
    WORLD_ROOM(session->unacked, session->count, session->cap);
    session->unacked[session->count++] = (struct unacked){item, session->next_tag++};
}

/* To whom it likes, as long as somebody takes. */
static void deliver_all(struct queue_broker *broker)
{
    bool taken = true;

    while (broker->count > 0 && taken) {
        taken = false;
        for (struct session *session = broker->sessions; session != NULL && broker->count > 0;
             session = session->next) {
            if (!has_room(session))
                continue;
            taken = true;
            if (dice_percent(&broker->sim->dice, 60))
                deliver(session);
        }
    }
}

static void insert(struct queue_broker *broker, size_t at, struct item item)
{
    WORLD_ROOM(broker->items, broker->count, broker->cap);
    memmove(broker->items + at + 1, broker->items + at, (broker->count - at) * sizeof item);
    broker->items[at] = item;
    broker->count++;
}

void queue_broker_append(struct queue_broker *broker, uint32_t number)
{
    ledger_placed(broker->sim->ledger, number, NULL, -1, -1);
    insert(broker, broker->count, (struct item){.number = number, .place = broker->arrived++});
    deliver_all(broker);
}

/* All that a channel has not acknowledged returns. */
static void give_back(struct session *session)
{
    struct queue_broker *broker = session->broker;

    for (size_t i = 0; i < session->count; i++) {
        struct item item = session->unacked[i].item;
        size_t at = 0;

        if (broker->shuffles)
            at = (size_t)dice_below(&broker->sim->dice, broker->count + 1);
        while (!broker->shuffles && at < broker->count && broker->items[at].place < item.place)
            at++;
        insert(broker, at, item);
    }
    session->count = 0;
    session->prefetch = 0;
}

/* ---- Acknowledging ---- */

static void acknowledge(struct session *session, const struct frame *frame)
{
    struct sim *sim = session->broker->sim;
    size_t last = 0, first;

    while (last < session->count && session->unacked[last].tag != frame->d)
        last++;
    if (last == session->count) /* RabbitMQ: 406 PRECONDITION_FAILED - unknown delivery tag */
        sim_fail(sim, "tag %llu is acknowledged, and is not outstanding", (unsigned long long)frame->d);
    sim_note(sim, "queue: tag %llu is acknowledged", frame->d, 0);
    first = frame->flags ? 0 : last;
    for (size_t i = first; i <= last; i++)
        ledger_told(sim->ledger, session->unacked[i].item.number);
    session->count -= last + 1 - first;
    memmove(session->unacked + first, session->unacked + last + 1, (session->count - first) * sizeof *session->unacked);
}

/* ---- Sessions ---- */

static void open_channel(struct session *session)
{
    session->life++;
    session->next_tag = session->consumer_tag = 1;
    link_to_client(session->link, (struct frame){.kind = QUEUE_OPENED, .b = session->life});
}

static void on_frame(void *ctx, const struct frame *frame)
{
    struct session *session = ctx;

    switch ((enum queue_frame)frame->kind) {
    case QUEUE_CONSUME:
        session->prefetch = frame->c;
        if (session->broker->active == NULL)
            session->broker->active = session;
        session->consumer_tag = session->next_tag;
        link_to_client(session->link, (struct frame){.kind = QUEUE_STARTED, .b = session->life});
        break;
    case QUEUE_CANCEL:
        session->prefetch = 0;
        link_to_client(session->link, (struct frame){.kind = QUEUE_CANCELED, .b = session->life});
        break;
    case QUEUE_ACK:
        acknowledge(session, frame);
        break;
    case QUEUE_RENEW:
        give_back(session);
        open_channel(session);
        break;
    default:
        break;
    }
    deliver_all(session->broker);
}

/* To another one that consumes. */
static void pass_on(struct queue_broker *broker)
{
    broker->active = broker->sessions;
    while (broker->active != NULL && broker->active->prefetch == 0)
        broker->active = broker->active->next;
}

static void on_gone(void *ctx)
{
    struct session *session = ctx, **at = &session->broker->sessions;

    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    give_back(session);
    if (session->broker->active == session)
        pass_on(session->broker);
    deliver_all(session->broker);
    free(session->unacked);
    free(session);
}

static const struct link_server server_ops = {.frame = on_frame, .gone = on_gone};

struct link *queue_broker_connect(struct queue_broker *broker, struct bailey_host *host, const struct link_client *ops,
                                  void *client)
{
    struct session *session;

    process_step(host->process);
    session = world_alloc(1, sizeof *session);
    *session = (struct session){.broker = broker, .next = broker->sessions};
    session->link = link_open(host, ops, client, &server_ops, session);
    broker->sessions = session;
    open_channel(session);
    return session->link;
}

struct queue_broker *queue_broker_new(struct sim *sim, bool shuffles, bool is_exclusive)
{
    struct queue_broker *broker = world_alloc(1, sizeof *broker);

    *broker = (struct queue_broker){.sim = sim, .shuffles = shuffles, .is_exclusive = is_exclusive};
    return broker;
}
