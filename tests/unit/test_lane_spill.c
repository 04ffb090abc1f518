/* core/lane_spill.c: what waits behind a refused message, on disk instead of in the credit, in a lane whose table the test holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lane_table.h"
#include "log_rig.h"
#include "virtual_clock.h"

enum { CREDIT = 16, AHEAD = 100, KEY_BYTE_OF_SEQUENCE = 17 };

static struct lane_rig *start(void **state)
{
    struct lane_options options = lane_rig_options(*state);

    options.order = BAILEY_ORDER_KEY;
    options.credit_messages = CREDIT;
    options.ahead_max = AHEAD;
    options.spill = &lane_table.table;
    options.retry = (struct lane_retry){.min_ms = 60000, .max_ms = 60000, .multiplier = 1};
    options.dead_letters = lane_rig_dead_letters(*state);
    lane_rig_start(*state, &options);
    return *state;
}

/* Message `number`: its key is the letter, its header and body tell its number. */
static void push(struct lane_rig *rig, uint64_t number, char key)
{
    struct bailey_message *msg = lane_rig_message(rig, number, 3);
    char text[24];
    size_t len = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)number);

    lane_rig_set_header(msg, "n", text);
    msg->body = bailey_message_copy(msg, text, len);
    msg->key = bailey_message_copy(msg, &key, 1);
    bailey_receive(rig->source, &msg, 1);
}

static void push_all(struct lane_rig *rig, uint64_t from, uint64_t to, char key)
{
    for (; from < to; from++)
        push(rig, from, key);
    lane_rig_settle_down(rig);
}

/* 0 is refused, 1 .. count wait behind it; as many of them as may are on disk. */
static struct lane_rig *stuck(void **state, uint64_t count)
{
    struct lane_rig *rig = start(state);

    push_all(rig, 0, 1, 'a');
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    push_all(rig, 1, count + 1, 'a');
    return rig;
}

/* All that the sink holds is `number`, and as it was. */
static void assert_only(struct lane_rig *rig, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    lane_rig_assert_held(rig, 1, &number);
    const struct bailey_message *msg = rig->held[0]->message;
    const struct bailey_header *header = bailey_message_header(msg, bailey_bytes_of("n"));

    assert_true(bailey_bytes_is(msg->body, text));
    assert_true(header != NULL && bailey_bytes_is(header->value.bytes, text));
    assert_true(bailey_bytes_is(msg->key, "a"));
    assert_int_equal(rig->held[0]->attempts, 0);
    assert_false(rig->held[0]->possible_duplicate);
}

static void confirm_only(struct lane_rig *rig, uint64_t number)
{
    assert_only(rig, number);
    lane_rig_confirm(rig, number);
    lane_rig_settle_down(rig);
}

/* The refused one goes at last. */
static void unstick(struct lane_rig *rig)
{
    time_ms += 60001;
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (uint64_t[]){0});
    lane_rig_confirm(rig, 0);
    lane_rig_settle_down(rig);
}

/* ---- Out and back ---- */

static void what_waits_takes_no_credit_and_comes_back_in_order(void **state)
{
    struct lane_rig *rig = stuck(state, 40);

    assert_int_equal(rig->status.held, 40);
    assert_int_equal(rig->status.spilled, 38); /* less than a quarter of the credit stays: the refused one, and two */
    assert_int_equal(rig->status.unsettled, 41);
    assert_true(rig->status.unsettled_bytes < 3 * 200);
    assert_int_equal(lane_table.now.count, 38);
    assert_int_equal(lane_table.syncs, 0);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    push_all(rig, 41, 51, 'b'); /* others go on */
    for (uint64_t number = 41; number < 51; number++) {
        lane_rig_assert_held(rig, 1, &number);
        lane_rig_confirm(rig, number);
        lane_rig_settle_down(rig);
    }
    unstick(rig);
    for (uint64_t number = 1; number <= 40; number++)
        confirm_only(rig, number);
    assert_int_equal(rig->settlements, 51);
    assert_int_equal(rig->status.spilled, 0);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.held, 0);
}

/* They were received before it was refused. */
static void those_that_were_there_already_go_too(void **state)
{
    struct lane_rig *rig = start(state);

    push_all(rig, 0, CREDIT, 'a');
    assert_int_equal(bailey_room(rig->source), 0);
    assert_int_equal(rig->status.spilled, 0);            /* a key that is only slow needs no disk, */
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING); /* and is no stall */
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    lane_rig_settle_down(rig);
    assert_true(rig->status.spilled >= CREDIT / 2);
    assert_int_equal(rig->resumes, 1);
    assert_true(bailey_room(rig->source) > 0);
    unstick(rig);
    for (uint64_t number = 1; number < CREDIT; number++)
        confirm_only(rig, number);
}

static void a_short_wait_needs_no_disk(void **state)
{
    struct lane_rig *rig = stuck(state, 2);

    assert_int_equal(lane_table.writes, 0);
    unstick(rig);
    for (uint64_t number = 1; number <= 2; number++)
        confirm_only(rig, number);
}

static void no_more_is_received_than_may_be_held(void **state)
{
    struct lane_rig *rig = stuck(state, AHEAD - 1);

    assert_int_equal(bailey_room(rig->source), 0);
    assert_int_equal(lane_rig_state(rig), LANE_STALLED);
    unstick(rig);
    confirm_only(rig, 1);
    assert_int_equal(rig->resumes, 1);
    assert_int_equal(bailey_room(rig->source), 2);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
}

static void a_turn_that_comes_during_the_write_takes_it_from_memory(void **state)
{
    struct lane_rig *rig = start(state);

    push_all(rig, 0, 1, 'a');
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    lane_table.holds = true;
    push_all(rig, 1, 8, 'a');
    assert_int_equal(lane_table.held_count, 1);
    assert_int_equal(rig->status.spilled, 0);
    lane_rig_bury(rig, 0);
    lane_rig_settle_down(rig);
    for (uint64_t number = 1; number < 8; number++)
        confirm_only(rig, number);
    assert_int_equal(lane_table.reads, 0);
    fake_table_release(&lane_table, 1);
    lane_table.holds = false;
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.spilled, 0);
    assert_int_equal(rig->settlements, 8);
}

/* What was read back is put out again when the first of those is refused, too; and what is erased then is not the new row. */
static void a_key_can_be_stuck_twice(void **state)
{
    struct lane_rig *rig = stuck(state, 60);

    unstick(rig);
    for (uint64_t number = 1; number <= 10; number++)
        confirm_only(rig, number);
    assert_only(rig, 11);
    lane_rig_refuse(rig, 11, BAILEY_ERR_TRANSIENT);
    lane_rig_settle_down(rig);
    push_all(rig, 61, 80, 'a');
    time_ms += 60001;
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (uint64_t[]){11});
    lane_rig_confirm(rig, 11);
    lane_rig_settle_down(rig);
    for (uint64_t number = 12; number < 80; number++)
        confirm_only(rig, number);
    assert_int_equal(rig->settlements, 80);
}

/* ---- The source loses them ---- */

static void a_partition_that_is_taken_away_takes_its_copies_along(void **state)
{
    struct lane_rig *rig = stuck(state, 40);

    assert_int_equal(bailey_revoke(rig->source, 1), 0);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.spilled, 0);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.held, 0);
    for (uint64_t first = 100; first < 1100; first += 100) { /* their rows are erased with later writes */
        push_all(rig, first, first + 1, 'a');
        lane_rig_refuse(rig, first, BAILEY_ERR_TRANSIENT);
        push_all(rig, first + 1, first + 41, 'a');
        assert_true(rig->status.spilled > 30);
        bailey_revoke(rig->source, 1);
        lane_rig_settle_down(rig);
    }
    assert_true(lane_table.now.count < 100);
}

static void one_that_is_taken_away_while_it_is_read_is_not_sent(void **state)
{
    struct lane_rig *rig = stuck(state, 40);

    time_ms += 60001;
    lane_rig_settle_down(rig);
    lane_rig_confirm(rig, 0);
    lane_rig_settle_down(rig);
    for (uint64_t number = 1; number <= 2; number++)
        confirm_only(rig, number);
    assert_only(rig, 3);
    lane_table.holds = true;
    for (uint64_t number = 3; rig->held_count > 0; number++)
        confirm_only(rig, number);
    assert_true(lane_table.held_count > 0);
    bailey_revoke(rig->source, 1);
    lane_table.holds = false;
    fake_table_release(&lane_table, lane_table.held_count);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 0, NULL);
    assert_int_equal(rig->status.spilled, 0);
    assert_int_equal(rig->status.unsettled, 0);
}

static void a_drain_leaves_them_to_the_source(void **state)
{
    struct lane_rig *rig = stuck(state, 40);

    lane_drain(rig->lane);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 1);
    assert_int_equal(rig->settlements, 41);
    for (uint64_t number = 0; number <= 40; number++)
        assert_int_equal(rig->settled[number][BAILEY_RELEASED], 1);
}

/* The store answers after the ends are closed. */
static void the_lane_ends_after_the_store_has_answered(void **state)
{
    struct lane_rig *rig = start(state);

    push_all(rig, 0, 1, 'a');
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    lane_table.holds = true;
    push_all(rig, 1, 10, 'a');
    lane_stop(rig->lane);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 0);
    lane_table.holds = false;
    lane_table.fails_writes = true; /* nor is it tried again then */
    fake_table_release(&lane_table, lane_table.held_count);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 1);
}

/* ---- The store fails ---- */

static void a_write_that_fails_leaves_them_in_memory(void **state)
{
    struct lane_rig *rig;

    log_rig_begin();
    lane_table.fails_writes = true;
    rig = stuck(state, CREDIT - 1);
    assert_int_equal(rig->status.spilled, 0);
    assert_int_equal(lane_rig_state(rig), LANE_STALLED);
    assert_int_equal(log_rig_count("spill.failed"), 1);
    lane_table.fails_writes = false;
    unstick(rig);
    for (uint64_t number = 1; number < CREDIT; number++)
        confirm_only(rig, number);
    log_rig_end();
}

static void a_read_that_fails_is_tried_again(void **state)
{
    struct lane_rig *rig = stuck(state, 40);

    lane_table.fails_reads = true;
    unstick(rig);
    for (uint64_t number = 1; number <= 2; number++)
        confirm_only(rig, number);
    lane_rig_assert_held(rig, 0, NULL);
    assert_int_equal(lane_rig_state(rig), LANE_HELD);
    lane_table.fails_reads = false;
    time_ms += 1001;
    lane_rig_settle_down(rig);
    for (uint64_t number = 3; number <= 40; number++)
        confirm_only(rig, number);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
}

static void spoil(size_t nth, bool is_gone)
{
    struct state_row *row = fake_table_row(&lane_table, bailey_bytes_of(""), nth);

    assert_non_null(row);
    if (is_gone)
        ((uint8_t *)row->key.data)[KEY_BYTE_OF_SEQUENCE] ^= 1;
    else
        ((uint8_t *)row->value.data)[0] ^= 0xff;
}

static void check_reopened(void **state, bool is_gone)
{
    struct lane_rig *rig = stuck(state, 40);

    log_rig_begin();
    spoil(0, is_gone);
    unstick(rig);
    for (uint64_t number = 1; number <= 2; number++)
        confirm_only(rig, number);
    assert_int_equal(log_rig_count("spill.damaged"), 1);
    UNTIL(rig->loop, rig->source_opens == 2);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 0, NULL);
    assert_int_equal(rig->settlements, 3);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.spilled, 0);
    log_rig_end();
}

static void a_damaged_copy_is_had_from_the_source_again(void **state)
{
    check_reopened(state, false);
}

static void a_lost_copy_is_had_from_the_source_again(void **state)
{
    check_reopened(state, true);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, lane_table_new, lane_table_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_waits_takes_no_credit_and_comes_back_in_order),
        TEST(those_that_were_there_already_go_too),
        TEST(a_short_wait_needs_no_disk),
        TEST(no_more_is_received_than_may_be_held),
        TEST(a_turn_that_comes_during_the_write_takes_it_from_memory),
        TEST(a_key_can_be_stuck_twice),
        TEST(a_partition_that_is_taken_away_takes_its_copies_along),
        TEST(one_that_is_taken_away_while_it_is_read_is_not_sent),
        TEST(a_drain_leaves_them_to_the_source),
        TEST(the_lane_ends_after_the_store_has_answered),
        TEST(a_write_that_fails_leaves_them_in_memory),
        TEST(a_read_that_fails_is_tried_again),
        TEST(a_damaged_copy_is_had_from_the_source_again),
        TEST(a_lost_copy_is_had_from_the_source_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
