/* core/lane.c: credit, sending, verdicts; and all at once by chance. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lane_rig.h"
#include "virtual_clock.h"

/* ---- Credit ---- */

static void test_credit_in_messages(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = lane_rig_options(rig);

    options.credit_messages = 10;
    lane_rig_start(rig, &options);
    assert_int_equal(bailey_room(rig->source), 10);
    lane_rig_push(rig, 0, 6);
    assert_int_equal(bailey_room(rig->source), 4);
    lane_rig_push(rig, 6, 10);
    assert_int_equal(bailey_room(rig->source), 0);

    for (uint64_t i = 0; i < 4; i++)
        lane_rig_confirm(rig, i);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->resumes, 0); /* not for every message: only when half is free */
    lane_rig_confirm(rig, 4);
    UNTIL(rig->loop, rig->resumes == 1);
    assert_int_equal(bailey_room(rig->source), 5);
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->resumes, 1); /* there was room, and the source knows */
}

static void test_credit_in_bytes(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = lane_rig_options(rig);
    struct bailey_message *msg;
    uint64_t number = 0;

    options.credit_bytes = 100000;
    lane_rig_start(rig, &options);
    for (; bailey_room(rig->source) > 0; number++) {
        msg = lane_rig_message(rig, number, 10000);
        bailey_receive(rig->source, &msg, 1);
        assert_true(number < 20);
    }
    assert_in_range(number, 9, 10); /* of 1000 messages of credit */
    assert_in_range(rig->status.unsettled_bytes, 90000, 120000);
    lane_rig_confirm_all(rig);
    UNTIL(rig->loop, rig->resumes == 1);
    assert_in_range(bailey_room(rig->source), 1, 100); /* it has learned how large they are */
}

static void test_a_message_larger_than_the_credit_passes(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = lane_rig_options(rig);
    struct bailey_message *msg;

    options.credit_bytes = 1000;
    lane_rig_start(rig, &options);
    assert_in_range(bailey_room(rig->source), 1, 1000);
    msg = lane_rig_message(rig, 1, 50000);
    bailey_receive(rig->source, &msg, 1);
    assert_int_equal(rig->held_count, 1);
    assert_int_equal(bailey_room(rig->source), 0);
    lane_rig_confirm(rig, 1);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1);
    UNTIL(rig->loop, rig->resumes == 1);
    assert_true(bailey_room(rig->source) > 0);
}

/* ---- When to send ---- */

static void test_nothing_is_sent_before_the_sink_is_up(void **state)
{
    struct lane_rig *rig = *state;

    rig->sink_manual = true;
    lane_rig_started(state);
    assert_int_equal(lane_rig_state(rig), LANE_STARTING);
    assert_int_equal(bailey_room(rig->source), 0);
    lane_rig_push(rig, 0, 3); /* on its way already: allowed */
    lane_rig_settle_down(rig);
    assert_int_equal(rig->sent, 0);
    assert_int_equal(rig->resumes, 0);

    bailey_up(rig->sink);
    UNTIL(rig->loop, rig->held_count == 3);
    lane_rig_assert_held(rig, 3, (uint64_t[]){0, 1, 2});
    assert_int_equal(rig->resumes, 1);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    assert_true(rig->flushes > 0);
}

static void test_a_held_sink_gets_nothing_and_says_why(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    bailey_held(rig->sink, "memory alarm");
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_HELD);
    assert_string_equal(rig->status.reason, "sink: memory alarm");
    assert_int_equal(bailey_room(rig->source), 0);
    lane_rig_push(rig, 0, 2);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->sent, 0);
    bailey_up(rig->sink);
    UNTIL(rig->loop, rig->held_count == 2 && rig->resumes == 1);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    assert_string_equal(rig->status.reason, "");
    assert_int_equal(rig->held[0]->attempts, 0);
    assert_false(rig->held[0]->possible_duplicate);
}

static void test_a_full_sink_is_left_alone_until_writable(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    rig->room = 3;
    lane_rig_push(rig, 0, 8);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 3, (uint64_t[]){0, 1, 2});
    rig->room = 2; /* it does not say so: nothing comes */
    lane_rig_push(rig, 8, 9);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->sent, 3);
    bailey_writable(rig->sink);
    UNTIL(rig->loop, rig->sent == 5);
    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    UNTIL(rig->loop, rig->sent == 9);
    lane_rig_assert_held(rig, 9, (uint64_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8});
}

/* Of a batch it took a part; others were ready behind that batch. */
static void test_what_a_full_sink_did_not_take_goes_first(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);
    uint64_t all[600];

    rig->room = 100;
    lane_rig_push(rig, 0, 600);
    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    UNTIL(rig->loop, rig->sent == 600);
    for (uint64_t i = 0; i < 600; i++)
        all[i] = i;
    lane_rig_assert_held(rig, 600, all);
}

/* ---- Verdicts ---- */

static void test_a_confirm_settles_once(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push_of_group(rig, 10, 600, 77);
    assert_int_equal(rig->settlements, 0); /* received and sent is not done */
    assert_int_equal(rig->status.unconfirmed, 590);
    lane_rig_confirm(rig, 300);
    assert_int_equal(rig->settlements, 1);
    assert_int_equal(rig->settled[300][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->settled_group[300], 77);
    lane_rig_confirm_all(rig);
    assert_int_equal(rig->settlements, 590);
    for (uint64_t i = 10; i < 600; i++)
        assert_int_equal(rig->settled[i][BAILEY_ACCEPTED], 1);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.delivered, 590);
    assert_int_equal(rig->status.received, 590);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.unsettled_bytes, 0);
}

static void test_a_refused_message_alone_is_sent_again(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);
    int64_t refused_ms;

    lane_rig_push(rig, 0, 5);
    refused_ms = time_ms;
    lane_rig_refuse(rig, 2, BAILEY_ERR_TRANSIENT);
    assert_int_equal(rig->status.refused[BAILEY_ERR_TRANSIENT], 1);
    lane_rig_confirm_all(rig); /* the others go on */
    lane_rig_push(rig, 5, 7);
    lane_rig_settle_down(rig);
    lane_rig_confirm_all(rig);
    assert_int_equal(rig->settlements, 6);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 0);
    assert_int_equal(rig->status.waiting, 1);

    UNTIL(rig->loop, rig->held_count == 1);
    assert_in_range(time_ms - refused_ms, 800, 1210); /* 1 s, jitter 0.8 to 1.2 */
    lane_rig_assert_held(rig, 1, (uint64_t[]){2});
    assert_int_equal(rig->held[0]->attempts, 1);
    assert_false(rig->held[0]->possible_duplicate);
    assert_int_equal(rig->held[0]->message->body.len, 10);
    assert_int_equal(rig->status.retried, 1);
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->settlements, 7);
    assert_int_equal(rig->sent, 8); /* nothing else was sent twice */
    assert_int_equal(rig->status.waiting, 0);
}

static void test_what_is_handed_back_goes_first_and_in_order(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 6);
    lane_rig_confirm(rig, 1);
    rig->room = 0;
    lane_rig_push(rig, 6, 8);
    lane_rig_hand_back(rig, 5, false); /* never sent */
    lane_rig_hand_back(rig, 4, true);
    lane_rig_hand_back(rig, 0, true);
    lane_rig_hand_back(rig, 3, true);
    lane_rig_hand_back(rig, 2, true);
    lane_rig_lose(rig->sink);
    rig->room = SIZE_MAX;
    UNTIL(rig->loop, rig->sink_opens == 2 && rig->held_count == 7);
    lane_rig_assert_held(rig, 7, (uint64_t[]){0, 2, 3, 4, 5, 6, 7});
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(rig->held[i]->attempts, 0);
        assert_int_equal(rig->held[i]->possible_duplicate, i < 4);
    }
    assert_int_equal(rig->status.in_doubt, 4);
    lane_rig_confirm_all(rig);
    assert_int_equal(rig->settlements, 8);
}

static void test_a_redelivered_message_is_marked(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);
    struct bailey_message *msg = lane_rig_message(rig, 1, 1);

    msg->redelivered = true;
    bailey_receive(rig->source, &msg, 1);
    assert_true(rig->held[0]->possible_duplicate);
}

static void test_a_silent_sink_is_shown(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 1);
    UNTIL(rig->loop, lane_rig_state(rig) == LANE_HELD);
    assert_non_null(strstr(rig->status.reason, "confirm"));
    lane_rig_confirm(rig, 0);
    UNTIL(rig->loop, lane_rig_state(rig) == LANE_RUNNING);
}

/* Run `child` in a process of its own; true if an assertion ended it. */
static bool aborts(struct lane_rig *rig, void (*child)(struct lane_rig *rig))
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

static void give_two_verdicts(struct lane_rig *rig)
{
    struct bailey_delivery *dlv = lane_rig_pick(rig, 0);

    bailey_hand_back(rig->sink, &dlv, 1, false);
    bailey_hand_back(rig->sink, &dlv, 1, false);
}

static void close_without_verdict(struct lane_rig *rig)
{
    rig->held_count = 0;
    lane_stop(rig->lane);
    lane_rig_settle_down(rig);
}

static void test_wrong_sinks_are_caught(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 1);
    assert_true(aborts(rig, give_two_verdicts));
    assert_true(aborts(rig, close_without_verdict));
    lane_rig_confirm(rig, 0);
}

/* ---- All at once ---- */

static uint64_t random_below(uint64_t *seed, uint64_t limit)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (*seed >> 33) % limit;
}

static void random_verdict(struct lane_rig *rig, uint64_t *seed, unsigned *refusals)
{
    uint64_t number = rig->held[random_below(seed, rig->held_count)]->message->position;

    switch (random_below(seed, 12)) {
    case 0:
        if ((*refusals)++ < 20) {
            lane_rig_refuse(rig, number, BAILEY_ERR_TRANSIENT);
            return;
        }
        break;
    case 1:
        lane_rig_hand_back(rig, number, true);
        return;
    case 2:
        lane_rig_hand_back(rig, number, false);
        return;
    default:
        break;
    }
    lane_rig_confirm(rig, number);
}

/* Whatever the sink does, each message is settled as accepted exactly once, and what it holds is in order of sending. */
static void test_any_schedule_settles_each_once(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);
    uint64_t seed = 20240517, next = 0;
    unsigned refusals = 0, losses = 0;
    int64_t deadline_ms = time_ms + 6 * VIRTUAL_DEADLINE_MS;

    rig->in_doubt_at_close = true;
    while (rig->settlements < 3000) {
        assert_true(time_ms < deadline_ms);
        for (uint64_t i = random_below(&seed, 40); i > 0 && next < 3000 && bailey_room(rig->source) > 0; i--, next++)
            lane_rig_push(rig, next, next + 1);
        for (uint64_t i = random_below(&seed, 40); i > 0 && rig->held_count > 0; i--)
            random_verdict(rig, &seed, &refusals);
        rig->room = random_below(&seed, 30);
        bailey_writable(rig->sink);
        if (next >= 1000 * (losses + 1) && losses < 2) {
            losses++;
            lane_rig_lose(rig->sink);
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
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.unsettled_bytes, 0);
    assert_int_equal(rig->status.waiting, 0);
    assert_int_equal(rig->status.delivered, 3000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lane_rig_new, lane_rig_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_credit_in_messages),
        TEST(test_credit_in_bytes),
        TEST(test_a_message_larger_than_the_credit_passes),
        TEST(test_nothing_is_sent_before_the_sink_is_up),
        TEST(test_a_held_sink_gets_nothing_and_says_why),
        TEST(test_a_full_sink_is_left_alone_until_writable),
        TEST(test_what_a_full_sink_did_not_take_goes_first),
        TEST(test_a_confirm_settles_once),
        TEST(test_a_refused_message_alone_is_sent_again),
        TEST(test_what_is_handed_back_goes_first_and_in_order),
        TEST(test_a_redelivered_message_is_marked),
        TEST(test_a_silent_sink_is_shown),
        TEST(test_wrong_sinks_are_caught),
        TEST(test_any_schedule_settles_each_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
