/* Order: who waits for whom, in a lane that keeps one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lane_rig.h"
#include "virtual_clock.h"

static struct lane_rig *start(void **state, enum bailey_order order)
{
    struct lane_options options = lane_rig_options(*state);

    options.order = order;
    options.retry = (struct lane_retry){.min_ms = 5, .max_ms = 5, .multiplier = 1};
    options.dead_letters = lane_rig_dead_letters(*state);
    lane_rig_start(*state, &options);
    return *state;
}

/* Message i has the i-th letter of `keys` as its key; "-" is none. */
static void push(struct lane_rig *rig, uint64_t first, const char *keys)
{
    struct bailey_message *batch[64];
    size_t count = 0;

    for (; keys[count] != '\0'; count++) {
        batch[count] = lane_rig_message(rig, first + count, 1);
        if (keys[count] != '-')
            batch[count]->key = bailey_message_copy(batch[count], keys + count, 1);
    }
    bailey_receive(rig->source, batch, count);
    lane_rig_settle_down(rig);
}

static void confirm(struct lane_rig *rig, uint64_t number)
{
    lane_rig_confirm(rig, number);
    lane_rig_settle_down(rig);
}

/* ---- One at a time ---- */

static void one_of_a_key_is_out(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, "aabac-b-");
    lane_rig_assert_held(rig, 5, (uint64_t[]){0, 2, 4, 5, 7});
    assert_int_equal(rig->status.held, 3);
    confirm(rig, 0);
    lane_rig_assert_held(rig, 5, (uint64_t[]){2, 4, 5, 7, 1});
    confirm(rig, 2);
    confirm(rig, 1);
    lane_rig_assert_held(rig, 5, (uint64_t[]){4, 5, 7, 6, 3});
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settlements, 8);
    assert_int_equal(rig->status.held, 0);
}

static void those_behind_a_refused_one_wait(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, "ab");
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    push(rig, 2, "abac");
    lane_rig_assert_held(rig, 2, (uint64_t[]){1, 5});
    confirm(rig, 1);
    UNTIL(rig->loop, rig->sent == 5); /* 0 again */
    lane_rig_assert_held(rig, 3, (uint64_t[]){5, 3, 0});
    confirm(rig, 0);
    confirm(rig, 2);
    lane_rig_assert_held(rig, 3, (uint64_t[]){5, 3, 4});
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settlements, 6);
}

static void those_behind_a_dead_letter_wait_for_its_confirm(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, "aa");
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 0, NULL);
    lane_rig_bury(rig, 0);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (uint64_t[]){1});
    confirm(rig, 1);
}

static void a_lost_connection_keeps_the_order(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, "aab");
    lane_rig_hand_back(rig, 2, false);
    lane_rig_hand_back(rig, 0, true);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 2, (uint64_t[]){0, 2});
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (uint64_t[]){1});
    confirm(rig, 1);
}

/* ---- Other orders ---- */

static void push_of_partitions(struct lane_rig *rig, const char *partitions)
{
    for (uint64_t i = 0; partitions[i] != '\0'; i++) {
        struct bailey_message *msg = lane_rig_message(rig, i, 1);

        msg->origin.topic = bailey_bytes_of("t");
        msg->origin.partition = partitions[i] - '0';
        bailey_receive(rig->source, &msg, 1);
    }
    lane_rig_settle_down(rig);
}

static void partitions_do_not_wait_for_each_other(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_PARTITION);

    push_of_partitions(rig, "0011");
    lane_rig_assert_held(rig, 2, (uint64_t[]){0, 2});
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 2, (uint64_t[]){1, 3});
    lane_rig_confirm_all(rig);
}

static void the_whole_lane_waits(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_STRICT);

    push(rig, 0, "a-b");
    for (uint64_t i = 0; i < 3; i++) {
        lane_rig_assert_held(rig, 1, &i);
        confirm(rig, i);
    }
}

/* ---- Ends ---- */

static void what_waits_fills_the_credit_and_is_shown(void **state)
{
    struct lane_options options = lane_rig_options(*state);
    struct lane_rig *rig = *state;

    options.order = BAILEY_ORDER_KEY;
    options.credit_messages = 6;
    lane_rig_start(rig, &options);
    push(rig, 0, "aaa");
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_STALLED);
    UNTIL(rig->loop, rig->sent == 2);
    confirm(rig, 0);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    confirm(rig, 1);
    confirm(rig, 2);
}

/* None may pass the one that it waits for on the way out. */
static void a_drain_gives_back_those_that_wait_behind(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, "aab");
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    lane_drain(rig->lane);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (uint64_t[]){2});
    lane_rig_confirm_all(rig);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    assert_int_equal(rig->settled[1][BAILEY_RELEASED], 1);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 1);
}

static void none_begins_in_a_drain(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, "ab");
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    lane_drain(rig->lane);
    push(rig, 2, "a-"); /* its source had them on the way */
    lane_rig_assert_held(rig, 2, (uint64_t[]){1, 3});
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    assert_int_equal(rig->settled[2][BAILEY_RELEASED], 1);
    lane_rig_confirm_all(rig);
    UNTIL(rig->loop, rig->ended == 1);
}

/* Nothing else happens that would let it go. */
static void what_expires_lets_go_who_waits_behind_it(void **state)
{
    struct lane_options options = lane_rig_options(*state);
    struct lane_rig *rig = *state;
    struct bailey_message *batch[2];

    options.order = BAILEY_ORDER_STRICT;
    options.expire = LANE_EXPIRE_DROP;
    lane_rig_start(rig, &options);
    for (uint64_t i = 0; i < 2; i++)
        batch[i] = lane_rig_message(rig, i, 1);
    batch[0]->expires_at_ms = 1;
    bailey_receive(rig->source, batch, 2);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.expired, 1);
    lane_rig_assert_held(rig, 1, (uint64_t[]){1});
    confirm(rig, 1);
}

static void a_refusal_during_a_drain_gives_back_those_behind(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, "aa");
    lane_drain(rig->lane);
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->sent, 1);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    assert_int_equal(rig->settled[1][BAILEY_RELEASED], 1);
}

/* 0 and 1 are of one group, 2 of another one; all have one key. */
static void push_two_groups(struct lane_rig *rig)
{
    struct bailey_message *msg;

    push(rig, 0, "aa");
    msg = lane_rig_message(rig, 2, 1);
    msg->group = 2;
    msg->key = bailey_bytes_of("a");
    bailey_receive(rig->source, &msg, 1);
}

static void what_the_source_lost_holds_nobody(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push_two_groups(rig);
    assert_int_equal(bailey_revoke(rig->source, 1), 1); /* 0 is out, 1 is forgotten */
    confirm(rig, 0);
    lane_rig_assert_held(rig, 1, (uint64_t[]){2});
    confirm(rig, 2);
}

/* The turn comes to 1, which is let go of, and then to 2. */
static void what_is_lost_when_its_turn_comes_holds_nobody(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push_two_groups(rig);
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    assert_int_equal(bailey_revoke(rig->source, 1), 0);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (uint64_t[]){2});
    assert_int_equal(rig->status.held, 0);
    confirm(rig, 2);
    assert_int_equal(rig->settlements, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lane_rig_new, lane_rig_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_of_a_key_is_out),
        TEST(those_behind_a_refused_one_wait),
        TEST(those_behind_a_dead_letter_wait_for_its_confirm),
        TEST(a_lost_connection_keeps_the_order),
        TEST(partitions_do_not_wait_for_each_other),
        TEST(the_whole_lane_waits),
        TEST(what_waits_fills_the_credit_and_is_shown),
        TEST(a_drain_gives_back_those_that_wait_behind),
        TEST(none_begins_in_a_drain),
        TEST(what_expires_lets_go_who_waits_behind_it),
        TEST(a_refusal_during_a_drain_gives_back_those_behind),
        TEST(what_the_source_lost_holds_nobody),
        TEST(what_is_lost_when_its_turn_comes_holds_nobody),
    };

    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
