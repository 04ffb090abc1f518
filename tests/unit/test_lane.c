/* core/lane.c, core/end.c and core/steps.c between a scripted source and a scripted sink, on a loop that the test turns.
 *
 * Time is virtual: this program has a clock_gettime() of its own, which the loop gets too, and whoever waits moves it on. So
 * back-offs of seconds take no time, and can be measured to the millisecond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/lane.h"
#include "loop/loop.h"

enum { DEADLINE_MS = 10000, HELD_MAX = 4096, NUMBERS = 4096 };

/* One lane with its two scripted ends. */
struct rig {
    struct bailey_host *loop;
    struct lane *lane;
    struct lane_status status;
    struct arena *arena;
    struct template *templates[4];
    unsigned ended;

    struct bailey_port *source;
    unsigned source_opens, source_closes, resumes, drains;
    unsigned settled[NUMBERS][4]; /* by position and outcome */
    uint32_t settled_group[NUMBERS];
    size_t settlements;
    bool source_manual; /* open() does not say up */

    struct bailey_port *sink;
    struct bailey_delivery *held[HELD_MAX]; /* taken, and without a verdict, in the order of sending */
    size_t held_count, sent, room, flushes; /* sent: over all openings */
    unsigned sink_opens, sink_closes, open_failures;
    bool sink_manual, in_doubt_at_close;
};

/* ---- Time ---- */

static int64_t time_ms = 1000000;

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    (void)clock;
    *ts = (struct timespec){.tv_sec = time_ms / 1000, .tv_nsec = time_ms % 1000 * 1000000};
    return 0;
}

/* Turn the loop, and move time on, until `condition` holds; fails the test at the deadline. */
#define UNTIL(rig, condition)                             \
    do {                                                  \
        int64_t deadline_ms_ = time_ms + DEADLINE_MS;     \
        while (loop_turn((rig)->loop, 0), !(condition)) { \
            assert_true(time_ms < deadline_ms_);          \
            time_ms++;                                    \
        }                                                 \
    } while (0)

/* Turns in which whatever is to happen without waiting for a timer happens. */
static void settle_down(struct rig *rig)
{
    for (int i = 0; i < 5; i++)
        loop_turn(rig->loop, 0);
}

/* ---- The source ---- */

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    struct rig *rig = broker;

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
    ((struct rig *)self)->resumes++;
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct rig *rig = self;

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
    struct rig *rig = self;

    rig->drains++;
    bailey_drained(rig->source);
}

static void source_close(void *self)
{
    struct rig *rig = self;

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
    struct rig *rig = broker;

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
    struct rig *rig = self;
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
    ((struct rig *)self)->flushes++;
}

static void sink_close(void *self)
{
    struct rig *rig = self;
    size_t count = rig->held_count;

    rig->sink_closes++;
    rig->held_count = 0;
    if (count > 0)
        bailey_hand_back(rig->sink, rig->held, count, rig->in_doubt_at_close);
    bailey_closed(rig->sink);
}

static const struct bailey_sink fake_sink = {
    .open = sink_open, .send = sink_send, .flush = sink_flush, .close = sink_close};

/* Take the delivery of position `number` out of what the sink holds. */
static struct bailey_delivery *pick(struct rig *rig, uint64_t number)
{
    for (size_t i = 0; i < rig->held_count; i++) {
        struct bailey_delivery *dlv = rig->held[i];

        if (dlv->message->position != number)
            continue;
        memmove(rig->held + i, rig->held + i + 1, (--rig->held_count - i) * sizeof *rig->held);
        return dlv;
    }
    fail_msg("the sink does not hold message %u", (unsigned)number);
    return NULL;
}

static void confirm(struct rig *rig, uint64_t number)
{
    struct bailey_delivery *dlv = pick(rig, number);

    bailey_confirm(rig->sink, &dlv, 1);
}

static void confirm_all(struct rig *rig)
{
    size_t count = rig->held_count;

    rig->held_count = 0;
    bailey_confirm(rig->sink, rig->held, count);
}

static void refuse(struct rig *rig, uint64_t number, enum bailey_error_kind kind)
{
    struct bailey_error err;

    bailey_fail(&err, kind, "the sink does not want it");
    bailey_refuse(rig->sink, pick(rig, number), &err);
}

static void hand_back(struct rig *rig, uint64_t number, bool in_doubt)
{
    struct bailey_delivery *dlv = pick(rig, number);

    bailey_hand_back(rig->sink, &dlv, 1, in_doubt);
}

static void lose(struct bailey_port *port)
{
    struct bailey_error err;

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "connection lost");
    bailey_down(port, &err);
}

/* The sink holds exactly the positions `numbers`, in this order. */
static void assert_held(const struct rig *rig, size_t count, const uint64_t *numbers)
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

static void on_ended(struct lane *lane, void *ctx)
{
    (void)lane;
    ((struct rig *)ctx)->ended++;
}

static int rig_new(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    if (rig == NULL || (rig->loop = loop_new(&(struct loop_options){.seed = 7}, NULL)) == NULL)
        return -1;
    pthread_mutex_init(&rig->status.lock, NULL);
    rig->status.state = LANE_STARTING;
    rig->arena = arena_new();
    rig->room = SIZE_MAX;
    *state = rig;
    return 0;
}

static int rig_free(void **state)
{
    struct rig *rig = *state;

    if (rig->lane != NULL && !lane_is_ended(rig->lane)) {
        lane_stop(rig->lane);
        settle_down(rig);
    }
    lane_free(rig->lane);
    loop_free(rig->loop);
    arena_free(rig->arena);
    pthread_mutex_destroy(&rig->status.lock);
    free(rig);
    return 0;
}

static struct lane_options lane_options(struct rig *rig)
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
        .from = end,
        .to = end,
        .status = &rig->status,
        .on_ended = on_ended,
        .ctx = rig,
    };
}

static void start(struct rig *rig, const struct lane_options *options)
{
    rig->lane = lane_new(rig->loop, options);
    lane_start(rig->lane);
    settle_down(rig);
}

static struct rig *started(void **state)
{
    struct lane_options options = lane_options(*state);

    start(*state, &options);
    return *state;
}

static enum lane_state state_of(struct rig *rig)
{
    return rig->status.state; /* one thread only */
}

static struct bailey_message *message(struct rig *rig, uint64_t number, size_t size)
{
    struct bailey_message *msg = bailey_message_new(rig->source);
    uint8_t *body = bailey_message_alloc(msg, size + 1);

    memset(body, 'b', size + 1);
    msg->body = (struct bailey_bytes){body, size};
    msg->position = number;
    msg->group = 1;
    return msg;
}

static void push_of_group(struct rig *rig, uint64_t from, uint64_t to, uint32_t group)
{
    struct bailey_message *batch[NUMBERS];
    size_t count = 0;

    for (uint64_t number = from; number < to; number++) {
        batch[count] = message(rig, number, 10);
        batch[count++]->group = group;
    }
    bailey_receive(rig->source, batch, count);
}

/* Receive the messages from ... to-1. */
static void push(struct rig *rig, uint64_t from, uint64_t to)
{
    push_of_group(rig, from, to, 1);
}

/* ---- Credit ---- */

static void test_credit_in_messages(void **state)
{
    struct rig *rig = *state;
    struct lane_options options = lane_options(rig);

    options.credit_messages = 10;
    start(rig, &options);
    assert_int_equal(bailey_room(rig->source), 10);
    push(rig, 0, 6);
    assert_int_equal(bailey_room(rig->source), 4);
    push(rig, 6, 10);
    assert_int_equal(bailey_room(rig->source), 0);

    for (uint64_t i = 0; i < 4; i++)
        confirm(rig, i);
    settle_down(rig);
    assert_int_equal(rig->resumes, 0); /* not for every message: only when half is free */
    confirm(rig, 4);
    UNTIL(rig, rig->resumes == 1);
    assert_int_equal(bailey_room(rig->source), 5);
    confirm_all(rig);
    settle_down(rig);
    assert_int_equal(rig->resumes, 1); /* there was room, and the source knows */
}

static void test_credit_in_bytes(void **state)
{
    struct rig *rig = *state;
    struct lane_options options = lane_options(rig);
    struct bailey_message *msg;
    uint64_t number = 0;

    options.credit_bytes = 100000;
    start(rig, &options);
    for (; bailey_room(rig->source) > 0; number++) {
        msg = message(rig, number, 10000);
        bailey_receive(rig->source, &msg, 1);
        assert_true(number < 20);
    }
    assert_in_range(number, 9, 10); /* of 1000 messages of credit */
    assert_in_range(rig->status.unsettled_bytes, 90000, 120000);
    confirm_all(rig);
    UNTIL(rig, rig->resumes == 1);
    assert_in_range(bailey_room(rig->source), 1, 100); /* it has learned how large they are */
}

static void test_a_message_larger_than_the_credit_passes(void **state)
{
    struct rig *rig = *state;
    struct lane_options options = lane_options(rig);
    struct bailey_message *msg;

    options.credit_bytes = 1000;
    start(rig, &options);
    assert_in_range(bailey_room(rig->source), 1, 1000);
    msg = message(rig, 1, 50000);
    bailey_receive(rig->source, &msg, 1);
    assert_int_equal(rig->held_count, 1);
    assert_int_equal(bailey_room(rig->source), 0);
    confirm(rig, 1);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1);
    UNTIL(rig, rig->resumes == 1);
    assert_true(bailey_room(rig->source) > 0);
}

/* ---- When to send ---- */

static void test_nothing_is_sent_before_the_sink_is_up(void **state)
{
    struct rig *rig = *state;

    rig->sink_manual = true;
    started(state);
    assert_int_equal(state_of(rig), LANE_STARTING);
    assert_int_equal(bailey_room(rig->source), 0);
    push(rig, 0, 3); /* on its way already: allowed */
    settle_down(rig);
    assert_int_equal(rig->sent, 0);
    assert_int_equal(rig->resumes, 0);

    bailey_up(rig->sink);
    UNTIL(rig, rig->held_count == 3);
    assert_held(rig, 3, (uint64_t[]){0, 1, 2});
    assert_int_equal(rig->resumes, 1);
    assert_int_equal(state_of(rig), LANE_RUNNING);
    assert_true(rig->flushes > 0);
}

static void test_a_held_sink_gets_nothing_and_says_why(void **state)
{
    struct rig *rig = started(state);

    bailey_held(rig->sink, "memory alarm");
    settle_down(rig);
    assert_int_equal(state_of(rig), LANE_HELD);
    assert_string_equal(rig->status.reason, "sink: memory alarm");
    assert_int_equal(bailey_room(rig->source), 0);
    push(rig, 0, 2);
    settle_down(rig);
    assert_int_equal(rig->sent, 0);
    bailey_up(rig->sink);
    UNTIL(rig, rig->held_count == 2 && rig->resumes == 1);
    assert_int_equal(state_of(rig), LANE_RUNNING);
    assert_string_equal(rig->status.reason, "");
    assert_int_equal(rig->held[0]->attempts, 0);
    assert_false(rig->held[0]->possible_duplicate);
}

static void test_a_full_sink_is_left_alone_until_writable(void **state)
{
    struct rig *rig = started(state);

    rig->room = 3;
    push(rig, 0, 8);
    settle_down(rig);
    assert_held(rig, 3, (uint64_t[]){0, 1, 2});
    rig->room = 2; /* it does not say so: nothing comes */
    push(rig, 8, 9);
    settle_down(rig);
    assert_int_equal(rig->sent, 3);
    bailey_writable(rig->sink);
    UNTIL(rig, rig->sent == 5);
    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    UNTIL(rig, rig->sent == 9);
    assert_held(rig, 9, (uint64_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8});
}

/* ---- Verdicts ---- */

static void test_a_confirm_settles_once(void **state)
{
    struct rig *rig = started(state);

    push_of_group(rig, 10, 600, 77);
    assert_int_equal(rig->settlements, 0); /* received and sent is not done */
    assert_int_equal(rig->status.unconfirmed, 590);
    confirm(rig, 300);
    assert_int_equal(rig->settlements, 1);
    assert_int_equal(rig->settled[300][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->settled_group[300], 77);
    confirm_all(rig);
    assert_int_equal(rig->settlements, 590);
    for (uint64_t i = 10; i < 600; i++)
        assert_int_equal(rig->settled[i][BAILEY_ACCEPTED], 1);
    settle_down(rig);
    assert_int_equal(rig->status.delivered, 590);
    assert_int_equal(rig->status.received, 590);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.unsettled_bytes, 0);
}

static void test_a_refused_message_alone_is_sent_again(void **state)
{
    struct rig *rig = started(state);
    int64_t refused_ms;

    push(rig, 0, 5);
    refused_ms = time_ms;
    refuse(rig, 2, BAILEY_ERR_TRANSIENT);
    assert_int_equal(rig->status.refused[BAILEY_ERR_TRANSIENT], 1);
    confirm_all(rig); /* the others go on */
    push(rig, 5, 7);
    settle_down(rig);
    confirm_all(rig);
    assert_int_equal(rig->settlements, 6);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 0);
    assert_int_equal(rig->status.waiting, 1);

    UNTIL(rig, rig->held_count == 1);
    assert_in_range(time_ms - refused_ms, 800, 1210); /* 1 s, jitter 0.8 to 1.2 */
    assert_held(rig, 1, (uint64_t[]){2});
    assert_int_equal(rig->held[0]->attempts, 1);
    assert_false(rig->held[0]->possible_duplicate);
    assert_int_equal(rig->held[0]->message->body.len, 10);
    assert_int_equal(rig->status.retried, 1);
    confirm_all(rig);
    settle_down(rig);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->settlements, 7);
    assert_int_equal(rig->sent, 8); /* nothing else was sent twice */
    assert_int_equal(rig->status.waiting, 0);
}

static void test_what_is_handed_back_goes_first_and_in_order(void **state)
{
    struct rig *rig = started(state);

    push(rig, 0, 6);
    confirm(rig, 1);
    rig->room = 0;
    push(rig, 6, 8);
    hand_back(rig, 5, false); /* never sent */
    hand_back(rig, 4, true);
    hand_back(rig, 0, true);
    hand_back(rig, 3, true);
    hand_back(rig, 2, true);
    lose(rig->sink);
    rig->room = SIZE_MAX;
    UNTIL(rig, rig->sink_opens == 2 && rig->held_count == 7);
    assert_held(rig, 7, (uint64_t[]){0, 2, 3, 4, 5, 6, 7});
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(rig->held[i]->attempts, 0);
        assert_int_equal(rig->held[i]->possible_duplicate, i < 4);
    }
    assert_int_equal(rig->status.in_doubt, 4);
    confirm_all(rig);
    assert_int_equal(rig->settlements, 8);
}

static void test_a_redelivered_message_is_marked(void **state)
{
    struct rig *rig = started(state);
    struct bailey_message *msg = message(rig, 1, 1);

    msg->redelivered = true;
    bailey_receive(rig->source, &msg, 1);
    assert_true(rig->held[0]->possible_duplicate);
}

static void test_a_silent_sink_is_shown(void **state)
{
    struct rig *rig = started(state);

    push(rig, 0, 1);
    UNTIL(rig, state_of(rig) == LANE_HELD);
    assert_non_null(strstr(rig->status.reason, "confirm"));
    confirm(rig, 0);
    UNTIL(rig, state_of(rig) == LANE_RUNNING);
}

/* Run `child` in a process of its own; true if an assertion ended it. */
static bool aborts(struct rig *rig, void (*child)(struct rig *rig))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        fclose(stderr);
        signal(SIGABRT, SIG_DFL);
        child(rig);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void give_two_verdicts(struct rig *rig)
{
    struct bailey_delivery *dlv = pick(rig, 0);

    bailey_hand_back(rig->sink, &dlv, 1, false);
    bailey_hand_back(rig->sink, &dlv, 1, false);
}

static void close_without_verdict(struct rig *rig)
{
    rig->held_count = 0;
    lane_stop(rig->lane);
    settle_down(rig);
}

static void test_wrong_sinks_are_caught(void **state)
{
    struct rig *rig = started(state);

    push(rig, 0, 1);
    assert_true(aborts(rig, give_two_verdicts));
    assert_true(aborts(rig, close_without_verdict));
    confirm(rig, 0);
}

/* ---- Lost by the source ---- */

static void test_revoke_forgets_what_is_not_sent(void **state)
{
    struct rig *rig = started(state);

    rig->room = 4;
    push_of_group(rig, 0, 3, 1);
    push_of_group(rig, 3, 5, 2); /* 3 is sent, 4 is not */
    push_of_group(rig, 5, 8, 1);
    refuse(rig, 0, BAILEY_ERR_TRANSIENT);               /* waits */
    assert_int_equal(bailey_revoke(rig->source, 1), 2); /* 1 and 2 are out */
    assert_int_equal(rig->settlements, 0);

    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    UNTIL(rig, rig->held_count == 4);
    assert_held(rig, 4, (uint64_t[]){1, 2, 3, 4});
    assert_int_equal(rig->status.waiting, 0);
    confirm(rig, 1);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1); /* it is told, and knows what that means to it */
    hand_back(rig, 2, true);
    assert_int_equal(rig->settled[2][BAILEY_RELEASED], 1); /* not sent again: somebody else has it */
    confirm_all(rig);
    settle_down(rig);
    assert_int_equal(rig->held_count, 0);
    assert_int_equal(rig->settlements, 4);
    assert_int_equal(rig->status.unsettled, 0);
}

static void test_a_refused_orphan_is_left_to_its_source(void **state)
{
    struct rig *rig = started(state);

    push(rig, 0, 2);
    assert_int_equal(bailey_revoke(rig->source, 1), 2);
    refuse(rig, 0, BAILEY_ERR_PERMANENT);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    assert_int_equal(bailey_revoke(rig->source, 1), 1);
    confirm(rig, 1);
}

static void test_a_lost_source_begins_anew(void **state)
{
    struct rig *rig = started(state);

    rig->room = 2;
    push(rig, 0, 4);
    lose(rig->source);
    UNTIL(rig, rig->source_opens == 2);
    assert_int_equal(rig->source_closes, 1);
    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    push(rig, 100, 102); /* in the new life */
    settle_down(rig);
    assert_held(rig, 4, (uint64_t[]){0, 1, 100, 101}); /* 2 and 3 come again from the broker */
    confirm(rig, 0);
    assert_int_equal(rig->settlements, 0); /* the life that knew it is over */
    hand_back(rig, 1, true);
    confirm_all(rig);
    settle_down(rig);
    assert_int_equal(rig->sent, 4);
    assert_int_equal(rig->settlements, 2);
    assert_int_equal(rig->settled[100][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.restarts, 1);
}

/* ---- A sink that fails ---- */

static void test_a_failed_sink_is_opened_anew(void **state)
{
    struct rig *rig = started(state);
    int64_t lost_ms = time_ms;

    push(rig, 0, 2);
    rig->in_doubt_at_close = true;
    rig->open_failures = 1;
    lose(rig->sink);
    settle_down(rig);
    assert_int_equal(rig->sink_closes, 1);
    assert_int_equal(state_of(rig), LANE_DOWN);
    assert_string_equal(rig->status.reason, "sink: connection lost");
    assert_int_equal(bailey_room(rig->source), 0);
    UNTIL(rig, rig->sink_opens == 2);
    assert_in_range(time_ms - lost_ms, 200, 310);
    settle_down(rig);
    assert_int_equal(state_of(rig), LANE_DOWN); /* the first attempt fails */
    assert_string_equal(rig->status.reason, "sink: no such queue");
    UNTIL(rig, rig->sink_opens == 3 && rig->held_count == 2);
    assert_in_range(time_ms - lost_ms, 200 + 400, 310 + 610);
    assert_int_equal(state_of(rig), LANE_RUNNING);
    assert_int_equal(rig->held[0]->attempts, 0); /* the sink being away is no failure of a message */
    assert_true(rig->held[0]->possible_duplicate);
    assert_true(rig->resumes > 0);
    assert_int_equal(rig->source_opens, 1);
    confirm_all(rig);
    assert_int_equal(rig->settlements, 2);
}

/* ---- Ends ---- */

static void test_drain_finishes_what_is_out(void **state)
{
    struct rig *rig = started(state);

    push(rig, 0, 4);
    refuse(rig, 3, BAILEY_ERR_PERMANENT);
    lane_drain(rig->lane);
    settle_down(rig);
    assert_int_equal(rig->drains, 1);
    assert_int_equal(rig->settled[3][BAILEY_RELEASED], 1); /* it would wait for long: left to its source */
    assert_int_equal(bailey_room(rig->source), 0);
    assert_int_equal(rig->source_closes, 0);
    assert_int_equal(state_of(rig), LANE_DRAINING);
    refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    confirm_all(rig);
    UNTIL(rig, rig->ended == 1);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->source_closes, 1);
    assert_int_equal(rig->sink_closes, 1);
    assert_int_equal(state_of(rig), LANE_STOPPED);
}

static void test_drain_survives_a_lost_sink(void **state)
{
    struct rig *rig = started(state);

    push(rig, 0, 3);
    lane_drain(rig->lane);
    rig->in_doubt_at_close = true;
    lose(rig->sink);
    UNTIL(rig, rig->sink_opens == 2 && rig->held_count == 3);
    assert_int_equal(rig->ended, 0);
    confirm_all(rig);
    UNTIL(rig, rig->ended == 1);
    assert_int_equal(rig->settlements, 3);
}

static void test_drain_of_an_idle_lane_ends_at_once(void **state)
{
    struct rig *rig = started(state);

    lane_drain(rig->lane);
    UNTIL(rig, rig->ended == 1);
    assert_int_equal(rig->source_closes, 1);
    assert_int_equal(rig->sink_closes, 1);
}

static void test_drain_while_the_ends_are_away(void **state)
{
    struct rig *rig = *state;

    rig->open_failures = 100;
    rig->source_manual = true;
    started(state);
    lane_drain(rig->lane);
    UNTIL(rig, rig->ended == 1);
    assert_int_equal(rig->source_closes, 1);
    assert_int_equal(rig->sink_closes, 0);
}

static void test_stop_settles_nothing(void **state)
{
    struct rig *rig = started(state);

    push(rig, 0, 4);
    refuse(rig, 1, BAILEY_ERR_TRANSIENT);
    rig->in_doubt_at_close = true;
    lane_stop(rig->lane);
    UNTIL(rig, rig->ended == 1);
    assert_int_equal(rig->settlements, 0);
    assert_int_equal(rig->source_closes, 1);
    assert_int_equal(rig->sink_closes, 1);
    assert_int_equal(state_of(rig), LANE_STOPPED);
}

static void test_a_finished_source_ends_the_lane(void **state)
{
    struct rig *rig = started(state);

    push(rig, 0, 3);
    bailey_finished(rig->source);
    settle_down(rig);
    assert_int_equal(rig->ended, 0);
    confirm(rig, 0);
    confirm(rig, 2);
    refuse(rig, 1, BAILEY_ERR_TRANSIENT); /* nothing is lost at the end: it is sent again */
    settle_down(rig);
    assert_int_equal(rig->ended, 0);
    UNTIL(rig, rig->held_count == 1);
    confirm(rig, 1);
    UNTIL(rig, rig->ended == 1);
    assert_int_equal(state_of(rig), LANE_FINISHED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig->settled[i][BAILEY_ACCEPTED], 1);
}

/* ---- Steps ---- */

static struct template *parse(struct rig *rig, const char *text)
{
    struct bailey_error err;
    struct template *tmpl = template_parse(rig->arena, text, NULL, &err);

    assert_non_null(tmpl);
    return tmpl;
}

static void push_keyed(struct rig *rig, uint64_t number, const char *key, const char *id)
{
    struct bailey_message *msg = message(rig, number, 5);
    struct bailey_header *header = bailey_message_alloc(msg, sizeof *header);

    if (key != NULL)
        msg->key = bailey_message_copy(msg, key, strlen(key));
    if (id != NULL) {
        *header = (struct bailey_header){.name = bailey_bytes_of("id"), .value = {.kind = BAILEY_KIND_STRING}};
        header->value.bytes = bailey_message_copy(msg, id, strlen(id));
        msg->headers = header;
        msg->header_count = 1;
    }
    bailey_receive(rig->source, &msg, 1);
}

static void test_steps_fill_key_and_addresses(void **state)
{
    static const char *const texts[] = {"q.${key}", "${route}/${header.id:-none}", "${key}-${header.id:-}"};
    struct rig *rig = *state;
    struct lane_options options = lane_options(rig);
    struct bailey_template slots[3];

    for (int i = 0; i < 3; i++) { /* more than a delivery holds inline */
        rig->templates[i] = parse(rig, texts[i]);
        slots[i] = (struct bailey_template){.slot = i};
    }
    options.templates = rig->templates;
    options.template_count = 3;
    options.key = parse(rig, "${header.id:-k}");
    start(rig, &options);
    push_keyed(rig, 0, "old", "new");
    push_keyed(rig, 1, "old", NULL);
    push_keyed(rig, 2, NULL, "third");
    assert_int_equal(rig->held_count, 3);
    assert_true(bailey_bytes_is(rig->held[0]->message->key, "new"));
    assert_true(bailey_bytes_is(rig->held[1]->message->key, "k"));
    assert_true(bailey_bytes_is(bailey_delivery_text(rig->held[0], &slots[0]), "q.new"));
    assert_true(bailey_bytes_is(bailey_delivery_text(rig->held[1], &slots[1]), "test/none"));
    assert_true(bailey_bytes_is(bailey_delivery_text(rig->held[2], &slots[2]), "third-third"));
    assert_int_equal(rig->held[2]->message->position, 2);
    assert_int_equal(rig->held[2]->message->body.len, 5);
    confirm_all(rig);
    assert_int_equal(rig->settlements, 3);
}

static void test_what_cannot_be_addressed_is_refused(void **state)
{
    struct rig *rig = *state;
    struct lane_options options = lane_options(rig);

    rig->templates[0] = parse(rig, "q.${key}");
    options.templates = rig->templates;
    options.template_count = 1;
    start(rig, &options);
    push_keyed(rig, 0, "a", NULL);
    push_keyed(rig, 1, NULL, NULL);       /* no key */
    push_keyed(rig, 2, "\xff\xfe", NULL); /* no UTF-8 */
    push_keyed(rig, 3, "b", NULL);
    assert_held(rig, 2, (uint64_t[]){0, 3});
    assert_int_equal(rig->status.refused[BAILEY_ERR_PERMANENT], 2);
    settle_down(rig);
    assert_int_equal(rig->status.waiting, 2);
    confirm_all(rig);
    assert_int_equal(rig->settlements, 2);
    UNTIL(rig, rig->status.refused[BAILEY_ERR_PERMANENT] == 4); /* tried again later, alone */
    assert_int_equal(rig->sent, 2);
    lane_drain(rig->lane);
    UNTIL(rig, rig->ended == 1);
    assert_int_equal(rig->settled[1][BAILEY_RELEASED] + rig->settled[2][BAILEY_RELEASED], 2);
}

/* Addresses point into the message; one that waits is copied out of its connector's buffer and filled anew. */
static void test_a_waiting_message_pins_no_buffer(void **state)
{
    struct rig *rig = *state;
    struct lane_options options = lane_options(rig);
    struct bailey_template slot = {.slot = 0};
    char *buffer = strdup("keybody");
    struct bailey_message *msg;

    rig->templates[0] = parse(rig, "${key}");
    options.templates = rig->templates;
    options.template_count = 1;
    start(rig, &options);
    rig->room = 0;
    msg = bailey_message_new(rig->source);
    msg->key = (struct bailey_bytes){(uint8_t *)buffer, 3};
    msg->body = (struct bailey_bytes){(uint8_t *)buffer + 3, 4};
    msg->position = 9;
    bailey_message_keep(msg, (void (*)(void *, void *))(void (*)(void))free, buffer, NULL);
    bailey_receive(rig->source, &msg, 1);
    int64_t until_ms = time_ms + 1600; /* the tick after the first second */

    UNTIL(rig, time_ms > until_ms);
    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    UNTIL(rig, rig->held_count == 1);
    assert_ptr_not_equal(rig->held[0]->message->key.data, buffer); /* freed by now: the sanitizer would know */
    assert_true(bailey_bytes_is(rig->held[0]->message->key, "key"));
    assert_true(bailey_bytes_is(rig->held[0]->message->body, "body"));
    assert_true(bailey_bytes_is(bailey_delivery_text(rig->held[0], &slot), "key"));
    confirm(rig, 9);
}

/* ---- All at once ---- */

static uint64_t random_below(uint64_t *seed, uint64_t limit)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (*seed >> 33) % limit;
}

static void random_verdict(struct rig *rig, uint64_t *seed, unsigned *refusals)
{
    uint64_t number = rig->held[random_below(seed, rig->held_count)]->message->position;

    switch (random_below(seed, 12)) {
    case 0:
        if ((*refusals)++ < 20) {
            refuse(rig, number, BAILEY_ERR_TRANSIENT);
            return;
        }
        break;
    case 1:
        hand_back(rig, number, true);
        return;
    case 2:
        hand_back(rig, number, false);
        return;
    default:
        break;
    }
    confirm(rig, number);
}

/* Whatever the sink does, each message is settled as accepted exactly once, and what it holds is in order of sending. */
static void test_any_schedule_settles_each_once(void **state)
{
    struct rig *rig = started(state);
    uint64_t seed = 20240517, next = 0;
    unsigned refusals = 0, losses = 0;
    int64_t deadline_ms = time_ms + 6 * DEADLINE_MS;

    rig->in_doubt_at_close = true;
    while (rig->settlements < 3000) {
        assert_true(time_ms < deadline_ms);
        for (uint64_t i = random_below(&seed, 40); i > 0 && next < 3000 && bailey_room(rig->source) > 0; i--, next++)
            push(rig, next, next + 1);
        for (uint64_t i = random_below(&seed, 40); i > 0 && rig->held_count > 0; i--)
            random_verdict(rig, &seed, &refusals);
        rig->room = random_below(&seed, 30);
        bailey_writable(rig->sink);
        if (next >= 1000 * (losses + 1) && losses < 2) {
            losses++;
            lose(rig->sink);
        }
        loop_turn(rig->loop, 0);
        time_ms++;
    }
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(rig->settled[i][BAILEY_ACCEPTED], 1);
        assert_int_equal(rig->settled[i][BAILEY_RELEASED], 0);
    }
    assert_true(refusals >= 20);
    assert_true(rig->sink_opens >= 2);
    assert_int_equal(rig->status.retried, 20);
    settle_down(rig);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.unsettled_bytes, 0);
    assert_int_equal(rig->status.waiting, 0);
    assert_int_equal(rig->status.delivered, 3000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_new, rig_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_credit_in_messages),
        TEST(test_credit_in_bytes),
        TEST(test_a_message_larger_than_the_credit_passes),
        TEST(test_nothing_is_sent_before_the_sink_is_up),
        TEST(test_a_held_sink_gets_nothing_and_says_why),
        TEST(test_a_full_sink_is_left_alone_until_writable),
        TEST(test_a_confirm_settles_once),
        TEST(test_a_refused_message_alone_is_sent_again),
        TEST(test_what_is_handed_back_goes_first_and_in_order),
        TEST(test_a_redelivered_message_is_marked),
        TEST(test_a_silent_sink_is_shown),
        TEST(test_wrong_sinks_are_caught),
        TEST(test_revoke_forgets_what_is_not_sent),
        TEST(test_a_refused_orphan_is_left_to_its_source),
        TEST(test_a_lost_source_begins_anew),
        TEST(test_a_failed_sink_is_opened_anew),
        TEST(test_drain_finishes_what_is_out),
        TEST(test_drain_survives_a_lost_sink),
        TEST(test_drain_of_an_idle_lane_ends_at_once),
        TEST(test_drain_while_the_ends_are_away),
        TEST(test_stop_settles_nothing),
        TEST(test_a_finished_source_ends_the_lane),
        TEST(test_steps_fill_key_and_addresses),
        TEST(test_what_cannot_be_addressed_is_refused),
        TEST(test_a_waiting_message_pins_no_buffer),
        TEST(test_any_schedule_settles_each_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
