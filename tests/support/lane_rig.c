/* lane_rig.c: see the header. The ends do nothing by themselves but to say that they are up, drained and closed. */
#include "lane_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void lane_rig_settle_down(struct lane_rig *rig)
{
    for (int i = 0; i < 5; i++)
        loop_turn(rig->loop, 0);
}

/* ---- The source ---- */

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    struct lane_rig *rig = broker;

    (void)settings, (void)err;
    *self = rig;
    rig->source = port;
    rig->source_opens++;
    if (!rig->source_manual)
        bailey_up(port);
    return true;
}

static void source_resume(void *self)
{
    ((struct lane_rig *)self)->resumes++;
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct lane_rig *rig = self;

    for (size_t i = 0; i < count; i++) {
        assert_true(ended[i].position < NUMBERS);
        assert_true(ended[i].outcome < 4);
        rig->settled[ended[i].position][ended[i].outcome]++;
        rig->settled_group[ended[i].position] = ended[i].group;
        rig->settlements++;
    }
}

static void source_drain(void *self)
{
    struct lane_rig *rig = self;

    rig->drains++;
    bailey_drained(rig->source);
}

static void source_close(void *self)
{
    struct lane_rig *rig = self;

    rig->source_closes++;
    bailey_closed(rig->source);
}

static const struct bailey_source fake_source = {
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};

/* ---- The sink ---- */

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    struct lane_rig *rig = broker;

    (void)settings;
    rig->sink_opens++;
    if (rig->open_failures > 0) {
        rig->open_failures--;
        return bailey_fail(err, BAILEY_ERR_CONFIG, "no such queue");
    }
    *self = rig;
    rig->sink = port;
    if (!rig->sink_manual)
        bailey_up(port);
    return true;
}

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct lane_rig *rig = self;
    size_t taken = count < rig->room ? count : rig->room;

    assert_true(rig->held_count + taken <= HELD_MAX);
    memcpy(rig->held + rig->held_count, batch, taken * sizeof *batch);
    rig->held_count += taken;
    rig->sent += taken;
    rig->room -= taken;
    return taken;
}

static void sink_flush(void *self)
{
    ((struct lane_rig *)self)->flushes++;
}

static void sink_close(void *self)
{
    struct lane_rig *rig = self;
    size_t count = rig->held_count;

    rig->sink_closes++;
    rig->held_count = 0;
    if (count > 0)
        bailey_hand_back(rig->sink, rig->held, count, rig->in_doubt_at_close);
    bailey_closed(rig->sink);
}

static const struct bailey_sink fake_sink = {
    .open = sink_open, .send = sink_send, .flush = sink_flush, .close = sink_close};

static struct bailey_delivery *pick(struct bailey_delivery **held, size_t *count, uint64_t number)
{
    for (size_t i = 0; i < *count; i++) {
        struct bailey_delivery *dlv = held[i];

        if (dlv->message->position != number)
            continue;
        memmove(held + i, held + i + 1, (--*count - i) * sizeof *held);
        return dlv;
    }
    fail_msg("the sink does not hold message %u", (unsigned)number);
    return NULL;
}

struct bailey_delivery *lane_rig_pick(struct lane_rig *rig, uint64_t number)
{
    return pick(rig->held, &rig->held_count, number);
}

/* ---- The dead-letter sink ---- */

static bool dead_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    struct lane_rig *rig = broker;

    (void)settings, (void)err;
    *self = rig;
    rig->dead = port;
    if (!rig->dead_manual)
        bailey_up(port);
    return true;
}

static size_t dead_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct lane_rig *rig = self;

    memcpy(rig->dead_held + rig->dead_count, batch, count * sizeof *batch);
    rig->dead_count += count;
    rig->dead_sent += count;
    return count;
}

static void dead_close(void *self)
{
    struct lane_rig *rig = self;
    size_t count = rig->dead_count;

    rig->dead_count = 0;
    if (count > 0)
        bailey_hand_back(rig->dead, rig->dead_held, count, rig->in_doubt_at_close);
    bailey_closed(rig->dead);
}

static const struct bailey_sink dead_sink = {.open = dead_open, .send = dead_send, .close = dead_close};

void lane_rig_bury(struct lane_rig *rig, uint64_t number)
{
    struct bailey_delivery *dlv = pick(rig->dead_held, &rig->dead_count, number);

    bailey_confirm(rig->dead, &dlv, 1);
}

void lane_rig_refuse_dead(struct lane_rig *rig, uint64_t number, enum bailey_error_kind kind)
{
    struct bailey_error err;

    bailey_fail(&err, kind, "the cemetery is full");
    bailey_refuse(rig->dead, pick(rig->dead_held, &rig->dead_count, number), &err);
}

/* ---- Verdicts ---- */

void lane_rig_confirm(struct lane_rig *rig, uint64_t number)
{
    struct bailey_delivery *dlv = lane_rig_pick(rig, number);

    bailey_confirm(rig->sink, &dlv, 1);
}

void lane_rig_confirm_all(struct lane_rig *rig)
{
    size_t count = rig->held_count;

    rig->held_count = 0;
    bailey_confirm(rig->sink, rig->held, count);
}

void lane_rig_refuse(struct lane_rig *rig, uint64_t number, enum bailey_error_kind kind)
{
    struct bailey_error err;

    bailey_fail(&err, kind, "the sink does not want it");
    bailey_refuse(rig->sink, lane_rig_pick(rig, number), &err);
}

void lane_rig_hand_back(struct lane_rig *rig, uint64_t number, bool in_doubt)
{
    struct bailey_delivery *dlv = lane_rig_pick(rig, number);

    bailey_hand_back(rig->sink, &dlv, 1, in_doubt);
}

void lane_rig_lose(struct bailey_port *port)
{
    struct bailey_error err;

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "connection lost");
    bailey_down(port, &err);
}

void lane_rig_assert_held(const struct lane_rig *rig, size_t count, const uint64_t *numbers)
{
    assert_int_equal(rig->held_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(rig->held[i]->message->position, numbers[i]);
}

/* ---- A rig ---- */

static bool find_broker(void *ctx, void **broker, struct bailey_error *err)
{
    (void)err;
    *broker = ctx;
    return true;
}

const struct lane_dead_letters *lane_rig_dead_letters(struct lane_rig *rig)
{
    rig->dead_letters = (struct lane_dead_letters){
        .sink = &dead_sink,
        .to = {.broker_name = "grave", .broker = find_broker, .broker_ctx = rig},
    };
    return &rig->dead_letters;
}

static void on_ended(struct lane *lane, void *ctx)
{
    (void)lane;
    ((struct lane_rig *)ctx)->ended++;
}

int lane_rig_new(void **state)
{
    struct lane_rig *rig = calloc(1, sizeof *rig);

    if (rig == NULL || (rig->loop = loop_new(&(struct loop_options){.seed = 7}, NULL)) == NULL)
        return -1;
    pthread_mutex_init(&rig->status.lock, NULL);
    rig->status.state = LANE_STARTING;
    rig->arena = arena_new();
    rig->room = SIZE_MAX;
    *state = rig;
    return 0;
}

int lane_rig_free(void **state)
{
    struct lane_rig *rig = *state;

    if (rig->lane != NULL && !lane_is_ended(rig->lane)) {
        lane_stop(rig->lane);
        lane_rig_settle_down(rig);
    }
    lane_free(rig->lane);
    loop_free(rig->loop);
    arena_free(rig->arena);
    pthread_mutex_destroy(&rig->status.lock);
    free(rig);
    return 0;
}

struct lane_options lane_rig_options(struct lane_rig *rig)
{
    struct lane_end_options end = {.broker_name = "fake", .broker = find_broker, .broker_ctx = rig};

    return (struct lane_options){
        .route = "test",
        .instance = "unit",
        .lanes = 1,
        .credit_messages = 1000,
        .credit_bytes = 1 << 20,
        .source = &fake_source,
        .sink = &fake_sink,
        .retry = {.min_ms = 1000, .max_ms = 2000, .multiplier = 2, .jitter = 0.2},
        .from = end,
        .to = end,
        .status = &rig->status,
        .on_ended = on_ended,
        .ctx = rig,
    };
}

void lane_rig_start(struct lane_rig *rig, const struct lane_options *options)
{
    rig->lane = lane_new(rig->loop, options);
    lane_start(rig->lane);
    lane_rig_settle_down(rig);
}

struct lane_rig *lane_rig_started(void **state)
{
    struct lane_options options = lane_rig_options(*state);

    lane_rig_start(*state, &options);
    return *state;
}

enum lane_state lane_rig_state(struct lane_rig *rig)
{
    return rig->status.state; /* one thread only */
}

struct bailey_message *lane_rig_message(struct lane_rig *rig, uint64_t number, size_t size)
{
    struct bailey_message *msg = bailey_message_new(rig->source);
    uint8_t *body = bailey_message_alloc(msg, size + 1);

    memset(body, 'b', size + 1);
    msg->body = (struct bailey_bytes){body, size};
    msg->position = number;
    msg->group = 1;
    return msg;
}

void lane_rig_set_header(struct bailey_message *msg, const char *name, const char *text)
{
    struct bailey_header *header = bailey_message_alloc(msg, sizeof *header);

    *header = (struct bailey_header){
        .name = bailey_message_copy(msg, name, strlen(name)),
        .value = {.kind = BAILEY_KIND_STRING, .bytes = bailey_message_copy(msg, text, strlen(text))},
    };
    msg->headers = header;
    msg->header_count = 1;
}

void lane_rig_push_of_group(struct lane_rig *rig, uint64_t from, uint64_t to, uint32_t group)
{
    struct bailey_message *batch[NUMBERS];
    size_t count = 0;

    for (uint64_t number = from; number < to; number++) {
        batch[count] = lane_rig_message(rig, number, 10);
        batch[count++]->group = group;
    }
    bailey_receive(rig->source, batch, count);
}

void lane_rig_push(struct lane_rig *rig, uint64_t from, uint64_t to)
{
    lane_rig_push_of_group(rig, from, to, 1);
}
