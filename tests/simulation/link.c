/* link.c: pipes with delays. A link is freed when both sides know that it is over. */
#include "link.h"

#include <assert.h>
#include <stdlib.h>

struct pipe {
    struct frame *ring;
    size_t cap, head, count; /* cap: a power of two, or 0 */
    struct event event;
    int64_t last_ms; /* when the newest frame arrives */
};

struct link {
    struct sim *sim;
    struct bailey_host *host; /* the client's; NULL: it crashed */
    const struct link_client *client_ops;
    const struct link_server *server_ops;
    void *client, *session; /* NULL: this side knows that it is over */
    struct pipe up, down;   /* to the server, to the client */
    struct event lost, gone;
    int64_t delay_ms;
    bool is_cut;
    struct link *next, **prev; /* of the process */
};

static void take_out(struct link *link)
{
    if (link->prev == NULL)
        return;
    *link->prev = link->next;
    if (link->next != NULL)
        link->next->prev = link->prev;
    link->prev = NULL;
}

static void free_if_over(struct link *link)
{
    if (link->client != NULL || link->session != NULL)
        return;
    take_out(link);
    sim_cancel(link->sim, &link->up.event);
    sim_cancel(link->sim, &link->down.event);
    sim_cancel(link->sim, &link->lost);
    sim_cancel(link->sim, &link->gone);
    free(link->up.ring);
    free(link->down.ring);
    free(link);
}

/* ---- Frames ---- */

static void push(struct link *link, struct pipe *pipe, struct frame frame)
{
    if (pipe->count == pipe->cap) {
        size_t cap = pipe->cap ? pipe->cap * 2 : 16;
        struct frame *ring = world_alloc(cap, sizeof *ring);

        for (size_t i = 0; i < pipe->count; i++)
            ring[i] = pipe->ring[(pipe->head + i) & (pipe->cap - 1)];
        free(pipe->ring);
        pipe->ring = ring;
        pipe->cap = cap;
        pipe->head = 0;
    }
    frame.due_ms = link->sim->now_ms + dice_between(&link->sim->dice, 0, link->delay_ms);
    if (frame.due_ms < pipe->last_ms)
        frame.due_ms = pipe->last_ms;
    pipe->last_ms = frame.due_ms;
    pipe->ring[(pipe->head + pipe->count++) & (pipe->cap - 1)] = frame;
    if (pipe->event.place == 0)
        sim_plan(link->sim, &pipe->event, frame.due_ms);
}

static bool pop(struct link *link, struct pipe *pipe, struct frame *frame)
{
    if (pipe->count == 0 || pipe->ring[pipe->head].due_ms > link->sim->now_ms)
        return false;
    *frame = pipe->ring[pipe->head];
    pipe->head = (pipe->head + 1) & (pipe->cap - 1);
    pipe->count--;
    return true;
}

void link_to_server(struct link *link, struct frame frame)
{
    process_step(link->host->process);
    if (!link->is_cut)
        push(link, &link->up, frame);
}

void link_to_client(struct link *link, struct frame frame)
{
    if (!link->is_cut && link->client != NULL)
        push(link, &link->down, frame);
}

static void up_due(struct event *event)
{
    struct link *link = event->ctx;
    struct frame frame;

    while (link->session != NULL && pop(link, &link->up, &frame))
        link->server_ops->frame(link->session, &frame);
    if (link->up.count > 0 && link->session != NULL)
        sim_plan(link->sim, event, link->up.ring[link->up.head].due_ms);
}

static void deliver(void *ctx)
{
    struct link *link = ctx;
    struct frame frame;

    while (link->client != NULL && pop(link, &link->down, &frame))
        link->client_ops->frame(link->client, &frame);
}

/* The link may be over, but is not freed, within the call: its session is there until `gone`, which is an event. */
static void down_due(struct event *event)
{
    struct link *link = event->ctx;

    if (link->sim->now_ms < link->host->stalled_until_ms) {
        sim_plan(link->sim, event, link->host->stalled_until_ms);
        return;
    }
    process_run(link->host, deliver, link);
    if (link->client != NULL && link->down.count > 0)
        sim_plan(link->sim, event, link->down.ring[link->down.head].due_ms);
}

/* ---- The end of it ---- */

static void tell_lost(void *ctx)
{
    struct link *link = ctx;
    void *client = link->client;

    link->client = NULL;
    take_out(link);
    link->client_ops->lost(client);
}

static void lost_due(struct event *event)
{
    struct link *link = event->ctx;

    if (link->sim->now_ms < link->host->stalled_until_ms) {
        sim_plan(link->sim, event, link->host->stalled_until_ms);
        return;
    }
    process_run(link->host, tell_lost, link);
    free_if_over(link);
}

/* What was sent arrives first. */
static void gone_due(struct event *event)
{
    struct link *link = event->ctx;
    void *session = link->session;

    if (link->up.count > 0) {
        int64_t now_ms =
            link->sim->now_ms; /* not again now: that may be in front of what arrives, any number of times */

        sim_plan(link->sim, event, link->up.last_ms > now_ms ? link->up.last_ms : now_ms + 1);
        return;
    }
    link->session = NULL;
    if (session != NULL)
        link->server_ops->gone(session);
    free_if_over(link);
}

static void plan_gone(struct link *link, int64_t delay_ms)
{
    if (link->session != NULL && link->gone.place == 0)
        sim_plan(link->sim, &link->gone, link->sim->now_ms + delay_ms);
}

/* Of what is on its way to the server a part arrives. */
static void lose_tail(struct link *link)
{
    if (link->up.count > 0)
        link->up.count = (size_t)dice_below(&link->sim->dice, link->up.count + 1);
    link->down.count = 0;
    sim_cancel(link->sim, &link->down.event);
    link->is_cut = true;
}

void link_cut(struct link *link)
{
    struct dice *dice = &link->sim->dice;

    if (link->is_cut)
        return;
    lose_tail(link);
    if (link->client != NULL)
        sim_plan(link->sim, &link->lost, link->sim->now_ms + dice_between(dice, 0, dice_percent(dice, 20) ? 3000 : 20));
    plan_gone(link, dice_between(dice, 0, dice_percent(dice, 20) ? 3000 : 20));
}

void link_close(struct link *link)
{
    process_step(link->host->process);
    link->client = NULL;
    take_out(link);
    sim_cancel(link->sim, &link->lost);
    sim_cancel(link->sim, &link->down.event);
    link->down.count = 0;
    plan_gone(link, 0);
    if (link->session == NULL) /* it was cut, and the server knows: freed in the next event */
        sim_plan(link->sim, &link->gone, link->sim->now_ms);
}

void link_crash(struct link *link)
{
    struct dice *dice = &link->sim->dice;

    if (!link->is_cut)
        lose_tail(link);
    link->client = NULL;
    link->host = NULL;
    take_out(link);
    sim_cancel(link->sim, &link->lost);
    plan_gone(link, dice_between(dice, 0, dice_percent(dice, 20) ? 6000 : 50));
    free_if_over(link);
}

void link_set_delay(struct link *link, int64_t delay_ms)
{
    link->delay_ms = delay_ms;
}

struct link *link_next(const struct link *link)
{
    return link->next;
}

bool link_is_cut(const struct link *link)
{
    return link->is_cut;
}

struct link *link_open(struct bailey_host *host, const struct link_client *ops, void *client,
                       const struct link_server *server_ops, void *session)
{
    struct process *process = host->process;
    struct sim *sim = process->sim;
    struct link *link = world_alloc(1, sizeof *link);

    *link = (struct link){
        .sim = sim,
        .host = host,
        .client_ops = ops,
        .server_ops = server_ops,
        .client = client,
        .session = session,
        .up.event = {.run = up_due, .ctx = link},
        .down.event = {.run = down_due, .ctx = link},
        .lost = {.run = lost_due, .ctx = link},
        .gone = {.run = gone_due, .ctx = link},
        .delay_ms = dice_percent(&sim->dice, 10) ? 150 : dice_between(&sim->dice, 0, 5),
        .next = process->links,
        .prev = &process->links,
    };
    if (link->next != NULL)
        link->next->prev = &link->next;
    process->links = link;
    return link;
}
