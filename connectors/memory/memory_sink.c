/* The sink: appends to its queue, and confirms in a later turn, as a broker would: at once or after a delay, and with the
 * failures that its script asks for.
 *
 *     send → pending ring (what has no verdict yet, in order) → confirmed | handed back when the connection is lost
 */
#include "memory.h"

#include <stdlib.h>

#include "queue.h"

enum { SLICE = 256 }; /* confirms a call */

struct pending {
    struct bailey_delivery *delivery;
    struct record *record; /* NULL if it stands in the queue already */
    int64_t due_ms;
};

struct memory_sink {
    const struct memory_sink_settings *settings;
    struct bailey_port *port;
    struct queue *queue;
    struct queue_waiter waiter;
    struct pending *pending; /* ring of `cap`, a power of two */
    size_t cap, head, len;
    int64_t taken; /* in this opening */
    int64_t sent;  /* first attempts in this opening: which of them the script refuses */
    struct bailey_task confirm, lose;
    struct bailey_timer up, due, release;
    bool is_lost, is_closing;
};

static struct pending *pending_at(const struct memory_sink *sink, size_t i)
{
    return &sink->pending[(sink->head + i) & (sink->cap - 1)];
}

static void pending_push(struct memory_sink *sink, struct pending item)
{
    if (sink->len == sink->cap) {
        size_t cap = sink->cap ? sink->cap * 2 : 256;
        struct pending *ring = malloc(cap * sizeof *ring);

        if (ring == NULL)
            abort(); /* the lane's credit bounds it: the machine is out of memory */
        for (size_t i = 0; i < sink->len; i++)
            ring[i] = *pending_at(sink, i);
        free(sink->pending);
        sink->pending = ring;
        sink->cap = cap;
        sink->head = 0;
    }
    sink->len++;
    *pending_at(sink, sink->len - 1) = item;
}

/* A list of records to be appended at once. */
struct chain {
    struct record *first, **end;
};

static void chain_add(struct chain *chain, struct record *record)
{
    record->next = NULL;
    *(chain->end != NULL ? chain->end : &chain->first) = record;
    chain->end = &record->next;
}

/* ---- Confirming ---- */

static void confirm_due(struct memory_sink *sink)
{
    struct bailey_delivery *batch[SLICE];
    struct chain chain = {0};
    int64_t now_ms = bailey_now_ms(sink->port->host);
    size_t count = 0;

    while (count < SLICE && sink->len > 0 && pending_at(sink, 0)->due_ms <= now_ms) {
        struct pending *item = pending_at(sink, 0);

        if (item->record != NULL)
            chain_add(&chain, item->record);
        batch[count++] = item->delivery;
        sink->head = (sink->head + 1) & (sink->cap - 1);
        sink->len--;
    }
    if (chain.first != NULL)
        queue_append(sink->queue, chain.first, 0);
    if (count > 0)
        bailey_confirm(sink->port, batch, count);
    if (sink->len == 0)
        return;
    if (pending_at(sink, 0)->due_ms <= now_ms)
        bailey_again(sink->port->host, &sink->confirm);
    else
        bailey_timer_start(sink->port->host, &sink->due, pending_at(sink, 0)->due_ms - now_ms);
}

static void confirm_task(struct bailey_task *task)
{
    confirm_due(task->ctx);
}

static void confirm_timer(struct bailey_timer *timer)
{
    confirm_due(timer->ctx);
}

/* What has no verdict is in doubt. A copy that is not in the queue yet is lost with the connection. */
static void hand_back_all(struct memory_sink *sink)
{
    size_t unused = 0;

    while (sink->len > 0) {
        struct bailey_delivery *batch[SLICE];
        size_t count = 0;

        for (; count < SLICE && sink->len > 0; sink->len--) {
            struct pending *item = pending_at(sink, 0);

            unused += item->record != NULL;
            record_unref(item->record);
            batch[count++] = item->delivery;
            sink->head = (sink->head + 1) & (sink->cap - 1);
        }
        bailey_hand_back(sink->port, batch, count, true);
    }
    if (unused > 0)
        queue_append(sink->queue, NULL, unused);
}

/* ---- The script ---- */

static bool is_refused_by_script(struct memory_sink *sink, const struct bailey_delivery *delivery,
                                 struct bailey_error *err)
{
    static const enum bailey_error_kind kinds[] = {BAILEY_ERR_TRANSIENT, BAILEY_ERR_PERMANENT, BAILEY_ERR_CONFIG};
    const struct memory_sink_settings *script = sink->settings;

    if (script->fail_every == 0)
        return false;
    if (delivery->attempts == 0 && ++sink->sent % script->fail_every != 0)
        return false;
    if (script->fail_times > 0 && delivery->attempts >= script->fail_times)
        return false;
    bailey_fail(err, kinds[script->fail_kind], "the script refuses message %lld", (long long)sink->sent);
    return true;
}

static void lose(struct bailey_task *task)
{
    struct memory_sink *sink = task->ctx;
    struct bailey_error err = {0};

    hand_back_all(sink);
    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "the script lost the connection");
    bailey_down(sink->port, &err);
}

static void release_due(struct bailey_timer *timer)
{
    struct memory_sink *sink = timer->ctx;

    bailey_up(sink->port);
}

/* After a message was taken: does something happen now? */
static void run_script(struct memory_sink *sink)
{
    const struct memory_sink_settings *script = sink->settings;

    sink->taken++;
    if (sink->taken == script->lose_after && queue_event_happens(sink->queue, QUEUE_SINK_LOST, script->lose_times)) {
        sink->is_lost = true;
        bailey_again(sink->port->host, &sink->lose);
    }
    if (sink->taken == script->hold_after && queue_event_happens(sink->queue, QUEUE_SINK_HELD, script->hold_times)) {
        bailey_held(sink->port, "the script holds");
        bailey_timer_start(sink->port->host, &sink->release, script->hold_ms);
    }
}

/* ---- Sending ---- */

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct memory_sink *sink = self;
    bool stores_now = sink->settings->store == MEMORY_STORE_SENT;
    int64_t due_ms = bailey_now_ms(sink->port->host) + sink->settings->delay_ms;
    size_t places, taken = 0, used = 0;
    struct chain chain = {0};

    if (sink->is_lost)
        return 0;
    places = queue_claim(sink->queue, count, (size_t)sink->settings->capacity, &sink->waiter);
    for (; taken < places && !sink->is_lost; taken++) {
        struct bailey_error err = {0};

        if (is_refused_by_script(sink, batch[taken], &err)) {
            bailey_refuse(sink->port, batch[taken], &err);
            continue;
        }
        struct bailey_marks marks = {batch[taken]->id, batch[taken]->possible_duplicate};
        struct record *record = record_new(batch[taken]->message, &marks);

        used++;
        if (stores_now)
            chain_add(&chain, record);
        pending_push(sink, (struct pending){batch[taken], stores_now ? NULL : record, due_ms});
        run_script(sink);
    }
    if (chain.first != NULL || places > used)
        queue_append(sink->queue, chain.first, places - used);
    if (used > 0 && sink->settings->delay_ms == 0)
        bailey_again(sink->port->host, &sink->confirm);
    else if (used > 0 && sink->len == used)
        bailey_timer_start(sink->port->host, &sink->due, sink->settings->delay_ms);
    return taken;
}

/* ---- Life ---- */

static void up_due(struct bailey_timer *timer)
{
    struct memory_sink *sink = timer->ctx;

    bailey_up(sink->port);
}

static void sink_free(struct memory_sink *sink)
{
    struct bailey_port *port = sink->port;

    free(sink->pending);
    free(sink);
    bailey_closed(port);
}

static void woken(struct bailey_task *task)
{
    struct memory_sink *sink = task->ctx;

    queue_woken(sink->queue, &sink->waiter);
    if (sink->is_closing)
        sink_free(sink);
    else
        bailey_writable(sink->port);
}

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    const struct memory_sink_settings *given = settings;
    struct queue *queue = queue_find(given->queue);
    struct memory_sink *sink;

    (void)broker;
    if (queue_event_happens(queue, QUEUE_OPEN_FAILED, given->fail_opens))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the script lets the sink of '%s' not open", given->queue);
    sink = calloc(1, sizeof *sink);
    if (sink == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    sink->settings = given;
    sink->port = port;
    sink->queue = queue;
    sink->confirm = (struct bailey_task){.run = confirm_task, .ctx = sink};
    sink->lose = (struct bailey_task){.run = lose, .ctx = sink};
    sink->up = (struct bailey_timer){.fire = up_due, .ctx = sink};
    sink->due = (struct bailey_timer){.fire = confirm_timer, .ctx = sink};
    sink->release = (struct bailey_timer){.fire = release_due, .ctx = sink};
    sink->waiter = (struct queue_waiter){.host = port->host, .task = {.run = woken, .ctx = sink}};
    queue_join(queue, &sink->waiter, true);
    *self = sink;
    bailey_timer_start(port->host, &sink->up, given->open_delay_ms);
    return true;
}

static void sink_close(void *self)
{
    struct memory_sink *sink = self;
    struct bailey_host *host = sink->port->host;

    sink->is_closing = true;
    bailey_again_stop(host, &sink->confirm);
    bailey_again_stop(host, &sink->lose);
    bailey_timer_stop(host, &sink->up);
    bailey_timer_stop(host, &sink->due);
    bailey_timer_stop(host, &sink->release);
    hand_back_all(sink);
    if (!queue_leave(sink->queue, &sink->waiter))
        sink_free(sink);
}

/* ---- Options ---- */

#define SINK(member) .offset = offsetof(struct memory_sink_settings, member)
#define SCRIPT_COUNT(NAME, MEMBER, INITIAL, UNIT, SUMMARY)                                                       \
    {                                                                                                            \
        .name = NAME, .type = BAILEY_OPT_INT, SINK(MEMBER), .initial = INITIAL, .max = 1000000000, .unit = UNIT, \
        .summary = "Script: " SUMMARY                                                                            \
    }
#define SCRIPT_TIME(NAME, MEMBER, INITIAL, SUMMARY)                                                 \
    {                                                                                               \
        .name = NAME, .type = BAILEY_OPT_DURATION, SINK(MEMBER), .initial = INITIAL, .max = 600000, \
        .summary = "Script: " SUMMARY                                                               \
    }

static const char *const stores[] = {"sent", "confirmed", NULL};
static const char *const kinds[] = {"transient", "permanent", "configuration", NULL};

static const struct bailey_option options[] = {
    {.name = "queue",
     .type = BAILEY_OPT_STRING,
     SINK(queue),
     .flags = BAILEY_OPT_REQUIRED,
     .min = 1,
     .max = 200,
     .summary = "Queue of this process to send to."},
    {.name = "capacity",
     .type = BAILEY_OPT_INT,
     SINK(capacity),
     .initial = "1M",
     .min = 1,
     .max = 1000000000,
     .unit = "messages",
     .summary = "How many messages the queue holds at most, those not settled included; then the sink is full."},
    {.name = "store",
     .type = BAILEY_OPT_ENUM,
     SINK(store),
     .initial = "sent",
     .choices = stores,
     .summary = "When a message stands in the queue: when it is sent, or when it is confirmed."},
    SCRIPT_TIME("delay", delay_ms, "0ms", "how long a confirm takes."),
    SCRIPT_TIME("open_delay", open_delay_ms, "0ms", "how long opening takes."),
    SCRIPT_COUNT("fail_opens", fail_opens, "0", "openings", "how many openings of an end of this queue fail first."),
    SCRIPT_COUNT("fail_every", fail_every, "0", "messages", "each of so many messages is refused. 0: none."),
    SCRIPT_COUNT("fail_times", fail_times, "1", "attempts", "how often such a message is refused. 0: always."),
    {.name = "fail_kind",
     .type = BAILEY_OPT_ENUM,
     SINK(fail_kind),
     .initial = "transient",
     .choices = kinds,
     .summary = "Script: the class of these refusals."},
    SCRIPT_COUNT("lose_after", lose_after, "0", "messages",
                 "after how many messages of an opening the connection is lost. 0: never."),
    SCRIPT_COUNT("lose_times", lose_times, "1", "losses", "how many times the connection is lost in all."),
    SCRIPT_COUNT("hold_after", hold_after, "0", "messages",
                 "after how many messages of an opening the sink takes no more for a while. 0: never."),
    SCRIPT_COUNT("hold_times", hold_times, "1", "times", "how many times it does so in all."),
    SCRIPT_TIME("hold_for", hold_ms, "100ms", "how long it then takes no more."),
    {0},
};

const struct bailey_sink memory_sink = {
    .settings_size = sizeof(struct memory_sink_settings),
    .options = options,
    .open = sink_open,
    .send = sink_send,
    .close = sink_close,
};
