/* The source: takes from its queue as much as the lane has room for, and keeps what it took until it is settled: what is not
 * settled when it is closed goes back to where it stood. */
#include "memory.h"

#include <assert.h>
#include <stdlib.h>

#include "queue.h"

enum { SLICE = 256 }; /* messages a turn */

struct slot {
    struct record *record; /* NULL: free */
    size_t next_free;
};

struct memory_source {
    const struct memory_source_settings *settings;
    struct bailey_port *port;
    struct queue *queue;
    struct queue_waiter waiter;
    struct slot *slots; /* given out: a message's position is its slot */
    size_t slot_cap, slot_free;
    int64_t received;
    struct bailey_task pump;
    struct bailey_timer up;
    bool is_up, is_draining, is_lost, is_closing;
};

enum { NO_SLOT = -1 };

static size_t slot_new(struct memory_source *source, struct record *record)
{
    if (source->slot_free == (size_t)NO_SLOT) {
        size_t cap = source->slot_cap ? source->slot_cap * 2 : 64;

        source->slots = realloc(source->slots, cap * sizeof *source->slots);
        if (source->slots == NULL)
            abort(); /* the lane's credit bounds it: the machine is out of memory */
        for (size_t i = cap; i-- > source->slot_cap;) {
            source->slots[i] = (struct slot){.next_free = source->slot_free};
            source->slot_free = i;
        }
        source->slot_cap = cap;
    }
    size_t slot = source->slot_free;

    source->slot_free = source->slots[slot].next_free;
    source->slots[slot].record = record;
    return slot;
}

static struct record *slot_take(struct memory_source *source, size_t slot)
{
    assert(slot < source->slot_cap && source->slots[slot].record != NULL); /* fails when it is settled twice */
    struct record *record = source->slots[slot].record;

    source->slots[slot] = (struct slot){.next_free = source->slot_free};
    source->slot_free = slot;
    return record;
}

/* ---- Receiving ---- */

static void lose(struct memory_source *source)
{
    struct bailey_error err = {0};

    source->is_lost = true;
    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "the script lost the connection");
    bailey_down(source->port, &err);
}

/* How many more messages until the script loses the connection; SLICE if it does not. */
static size_t left_by_script(const struct memory_source *source)
{
    int64_t left = source->settings->lose_after - source->received;

    return source->settings->lose_after == 0 || left <= 0 || left > SLICE ? SLICE : (size_t)left;
}

static void pump(struct bailey_task *task)
{
    struct memory_source *source = task->ctx;
    struct record *records[SLICE];
    struct bailey_message *batch[SLICE];
    size_t room, max = left_by_script(source), count;

    if (!source->is_up || source->is_draining || source->is_lost || source->is_closing)
        return;
    room = bailey_room(source->port);
    if (room == 0)
        return; /* memory_source_resume() goes on */
    count = queue_take(source->queue, records, room < max ? room : max, &source->waiter);
    if (count == 0)
        return; /* the waiter goes on */
    for (size_t i = 0; i < count; i++) {
        batch[i] = bailey_message_new(source->port);
        record_show(records[i], batch[i]);
        batch[i]->origin.queue = bailey_bytes_of(source->settings->queue);
        batch[i]->position = slot_new(source, records[i]);
    }
    source->received += (int64_t)count;
    bailey_lag(source->port, (int64_t)queue_depth(source->queue));
    bailey_receive(source->port, batch, count);
    if (source->received == source->settings->lose_after &&
        queue_event_happens(source->queue, QUEUE_SOURCE_LOST, source->settings->lose_times))
        lose(source);
    else
        bailey_again(source->port->host, &source->pump);
}

static void source_resume(void *self)
{
    struct memory_source *source = self;

    bailey_again(source->port->host, &source->pump);
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct memory_source *source = self;

    for (size_t done = 0; done < count;) {
        struct record *removed[SLICE], *returned[SLICE];
        size_t removes = 0, returns = 0;

        for (size_t i = 0; i < SLICE && done < count; i++, done++) {
            struct record *record = slot_take(source, ended[done].position);
            bool is_done = ended[done].outcome == BAILEY_ACCEPTED || ended[done].outcome == BAILEY_REJECTED;

            if (is_done)
                removed[removes++] = record;
            else
                returned[returns++] = record;
        }
        if (removes > 0)
            queue_remove(source->queue, removed, removes);
        if (returns > 0)
            queue_return(source->queue, returned, returns);
    }
}

/* ---- Life ---- */

static void up_due(struct bailey_timer *timer)
{
    struct memory_source *source = timer->ctx;

    source->is_up = true;
    bailey_up(source->port);
    bailey_again(source->port->host, &source->pump);
}

static void source_free(struct memory_source *source)
{
    struct bailey_port *port = source->port;

    free(source->slots);
    free(source);
    bailey_closed(port);
}

static void woken(struct bailey_task *task)
{
    struct memory_source *source = task->ctx;

    queue_woken(source->queue, &source->waiter);
    if (source->is_closing)
        source_free(source);
    else
        pump(&source->pump);
}

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    const struct memory_source_settings *given = settings;
    struct queue *queue = queue_find(given->queue);
    struct memory_source *source;

    (void)broker;
    if (queue_event_happens(queue, QUEUE_OPEN_FAILED, given->fail_opens))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the script lets the source of '%s' not open", given->queue);
    source = calloc(1, sizeof *source);
    if (source == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    source->settings = given;
    source->port = port;
    source->queue = queue;
    source->slot_free = (size_t)NO_SLOT;
    source->pump = (struct bailey_task){.run = pump, .ctx = source};
    source->up = (struct bailey_timer){.fire = up_due, .ctx = source};
    source->waiter = (struct queue_waiter){.host = port->host, .task = {.run = woken, .ctx = source}};
    queue_join(queue, &source->waiter, false);
    *self = source;
    bailey_timer_start(port->host, &source->up, given->open_delay_ms);
    return true;
}

static void source_drain(void *self)
{
    struct memory_source *source = self;

    source->is_draining = true;
    bailey_drained(source->port);
}

static void source_close(void *self)
{
    struct memory_source *source = self;
    struct record **unsettled = malloc((source->slot_cap + 1) * sizeof(struct record *));
    size_t count = 0;

    if (unsettled == NULL)
        abort();
    source->is_closing = true;
    bailey_again_stop(source->port->host, &source->pump);
    bailey_timer_stop(source->port->host, &source->up);
    for (size_t i = 0; i < source->slot_cap; i++)
        if (source->slots[i].record != NULL)
            unsettled[count++] = source->slots[i].record;
    bool is_woken = queue_leave(source->queue, &source->waiter);

    queue_return(source->queue, unsettled, count);
    free(unsettled);
    if (!is_woken)
        source_free(source);
}

/* ---- Options ---- */

#define SOURCE(member) .offset = offsetof(struct memory_source_settings, member)

static const struct bailey_option options[] = {
    {.name = "queue",
     .type = BAILEY_OPT_STRING,
     SOURCE(queue),
     .flags = BAILEY_OPT_REQUIRED,
     .min = 1,
     .max = 200,
     .summary = "Queue of this process to receive from."},
    {.name = "open_delay",
     .type = BAILEY_OPT_DURATION,
     SOURCE(open_delay_ms),
     .initial = "0ms",
     .max = 600000,
     .summary = "Script: how long opening takes."},
    {.name = "fail_opens",
     .type = BAILEY_OPT_INT,
     SOURCE(fail_opens),
     .initial = "0",
     .max = 1000000,
     .unit = "openings",
     .summary = "Script: how many openings of an end of this queue fail first."},
    {.name = "lose_after",
     .type = BAILEY_OPT_INT,
     SOURCE(lose_after),
     .initial = "0",
     .max = 1000000000,
     .unit = "messages",
     .summary = "Script: after how many messages of an opening the connection is lost. 0: never."},
    {.name = "lose_times",
     .type = BAILEY_OPT_INT,
     SOURCE(lose_times),
     .initial = "1",
     .max = 1000000,
     .unit = "losses",
     .summary = "Script: how many times the connection is lost in all."},
    {0},
};

const struct bailey_source memory_source = {
    .settings_size = sizeof(struct memory_source_settings),
    .options = options,
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};
