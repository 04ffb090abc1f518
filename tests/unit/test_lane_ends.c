/* core/lane.c and core/end.c: ends that fail and are opened again, messages that are taken away, draining and stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lane_rig.h"
#include "virtual_clock.h"

/* ---- Lost by the source ---- */

static void test_revoke_forgets_what_is_not_sent(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    rig->room = 4;
    lane_rig_push_of_group(rig, 0, 3, 1);
    lane_rig_push_of_group(rig, 3, 5, 2); /* 3 is sent, 4 is not */
    lane_rig_push_of_group(rig, 5, 8, 1);
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);      /* waits */
    assert_int_equal(bailey_revoke(rig->source, 1), 2); /* 1 and 2 are out */
    assert_int_equal(rig->settlements, 0);

    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    UNTIL(rig->loop, rig->held_count == 4);
    lane_rig_assert_held(rig, 4, (uint64_t[]){1, 2, 3, 4});
    assert_int_equal(rig->status.waiting, 0);
    lane_rig_confirm(rig, 1);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1); /* it is told, and knows what that means to it */
    lane_rig_hand_back(rig, 2, true);
    assert_int_equal(rig->settled[2][BAILEY_RELEASED], 1); /* not sent again: somebody else has it */
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->held_count, 0);
    assert_int_equal(rig->settlements, 4);
    assert_int_equal(rig->status.unsettled, 0);
}

static void test_a_refused_orphan_is_left_to_its_source(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 2);
    assert_int_equal(bailey_revoke(rig->source, 1), 2);
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    assert_int_equal(bailey_revoke(rig->source, 1), 1);
    lane_rig_confirm(rig, 1);
}

static void test_a_lost_source_begins_anew(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    rig->room = 2;
    lane_rig_push(rig, 0, 4);
    lane_rig_lose(rig->source);
    UNTIL(rig->loop, rig->source_opens == 2);
    assert_int_equal(rig->source_closes, 1);
    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    lane_rig_push(rig, 100, 102); /* in the new life */
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 4, (uint64_t[]){0, 1, 100, 101}); /* 2 and 3 come again from the broker */
    lane_rig_confirm(rig, 0);
    assert_int_equal(rig->settlements, 0); /* the life that knew it is over */
    lane_rig_hand_back(rig, 1, true);
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->sent, 4);
    assert_int_equal(rig->settlements, 2);
    assert_int_equal(rig->settled[100][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.restarts, 1);
}

/* ---- A sink that fails ---- */

static void test_a_failed_sink_is_opened_anew(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);
    int64_t lost_ms = time_ms;

    lane_rig_push(rig, 0, 2);
    rig->in_doubt_at_close = true;
    rig->open_failures = 1;
    lane_rig_lose(rig->sink);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->sink_closes, 1);
    assert_int_equal(lane_rig_state(rig), LANE_DOWN);
    assert_string_equal(rig->status.reason, "sink: connection lost");
    assert_int_equal(bailey_room(rig->source), 0);
    UNTIL(rig->loop, rig->sink_opens == 2);
    assert_in_range(time_ms - lost_ms, 200, 310);
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_DOWN); /* the first attempt fails */
    assert_string_equal(rig->status.reason, "sink: no such queue");
    UNTIL(rig->loop, rig->sink_opens == 3 && rig->held_count == 2);
    assert_in_range(time_ms - lost_ms, 200 + 400, 310 + 610);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    assert_int_equal(rig->held[0]->attempts, 0); /* the sink being away is no failure of a message */
    assert_true(rig->held[0]->possible_duplicate);
    assert_true(rig->resumes > 0);
    assert_int_equal(rig->source_opens, 1);
    lane_rig_confirm_all(rig);
    assert_int_equal(rig->settlements, 2);
}

/* ---- Ends ---- */

static void test_drain_finishes_what_is_out(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 4);
    lane_rig_refuse(rig, 3, BAILEY_ERR_PERMANENT);
    lane_drain(rig->lane);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->drains, 1);
    assert_int_equal(rig->settled[3][BAILEY_RELEASED], 1); /* it would wait for long: left to its source */
    assert_int_equal(bailey_room(rig->source), 0);
    assert_int_equal(rig->source_closes, 0);
    assert_int_equal(lane_rig_state(rig), LANE_DRAINING);
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    lane_rig_confirm_all(rig);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->source_closes, 1);
    assert_int_equal(rig->sink_closes, 1);
    assert_int_equal(lane_rig_state(rig), LANE_STOPPED);
}

static void test_gauges_follow_what_a_drain_lets_go(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 2);
    lane_rig_refuse(rig, 1, BAILEY_ERR_TRANSIENT);
    assert_int_equal(rig->status.waiting, 1);
    lane_drain(rig->lane);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.waiting, 0); /* and not only after the next verdict */
    assert_int_equal(rig->status.unsettled, 1);
}

static void test_drain_survives_a_lost_sink(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 3);
    lane_drain(rig->lane);
    rig->in_doubt_at_close = true;
    lane_rig_lose(rig->sink);
    UNTIL(rig->loop, rig->sink_opens == 2 && rig->held_count == 3);
    assert_int_equal(rig->ended, 0);
    lane_rig_confirm_all(rig);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settlements, 3);
}

static void test_drain_survives_a_lost_source(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 2);
    lane_drain(rig->lane);
    lane_rig_lose(rig->source);
    UNTIL(rig->loop, rig->source_opens == 2); /* what is out holds the lane */
    lane_rig_settle_down(rig);
    assert_int_equal(rig->drains, 2); /* the new one must not receive either, and says when it is drained */
    bailey_held(rig->source, "away");
    bailey_up(rig->source);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->drains, 2);
    assert_int_equal(rig->ended, 0);
    lane_rig_confirm_all(rig);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->source_closes, 2);
}

static void test_drain_of_an_idle_lane_ends_at_once(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_drain(rig->lane);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->source_closes, 1);
    assert_int_equal(rig->sink_closes, 1);
}

static void test_drain_while_the_ends_are_away(void **state)
{
    struct lane_rig *rig = *state;

    rig->open_failures = 100;
    rig->source_manual = true;
    lane_rig_started(state);
    lane_drain(rig->lane);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->source_closes, 1);
    assert_int_equal(rig->sink_closes, 0);
}

static void test_stop_settles_nothing(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 4);
    lane_rig_refuse(rig, 1, BAILEY_ERR_TRANSIENT);
    rig->in_doubt_at_close = true;
    lane_stop(rig->lane);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settlements, 0);
    assert_int_equal(rig->source_closes, 1);
    assert_int_equal(rig->sink_closes, 1);
    assert_int_equal(lane_rig_state(rig), LANE_STOPPED);
}

static void test_a_finished_source_ends_the_lane(void **state)
{
    struct lane_rig *rig = lane_rig_started(state);

    lane_rig_push(rig, 0, 3);
    bailey_finished(rig->source);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 0);
    lane_rig_confirm(rig, 0);
    lane_rig_confirm(rig, 2);
    lane_rig_refuse(rig, 1, BAILEY_ERR_TRANSIENT); /* nothing is lost at the end: it is sent again */
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 0);
    UNTIL(rig->loop, rig->held_count == 1);
    lane_rig_confirm(rig, 1);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(lane_rig_state(rig), LANE_FINISHED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig->settled[i][BAILEY_ACCEPTED], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lane_rig_new, lane_rig_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_revoke_forgets_what_is_not_sent),
        TEST(test_a_refused_orphan_is_left_to_its_source),
        TEST(test_a_lost_source_begins_anew),
        TEST(test_a_failed_sink_is_opened_anew),
        TEST(test_drain_finishes_what_is_out),
        TEST(test_gauges_follow_what_a_drain_lets_go),
        TEST(test_drain_survives_a_lost_sink),
        TEST(test_drain_survives_a_lost_source),
        TEST(test_drain_of_an_idle_lane_ends_at_once),
        TEST(test_drain_while_the_ends_are_away),
        TEST(test_stop_settles_nothing),
        TEST(test_a_finished_source_ends_the_lane),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
