/* core/lane_schedule.c: messages that wait in the store, delayed or parked, in a lane whose table the test holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "core/dedup.h"
#include "fake_state.h"
#include "lane_table.h"
#include "virtual_clock.h"

static struct template *parse(struct lane_rig *rig, const char *text)
{
    struct template *tmpl = template_parse(rig->arena, text, NULL, NULL);

    assert_non_null(tmpl);
    return tmpl;
}

static struct lane_options keeping(struct lane_rig *rig)
{
    struct lane_options options = lane_rig_options(rig);

    options.kept = &lane_table.table;
    options.dead_letters = lane_rig_dead_letters(rig);
    return options;
}

static struct lane_rig *start_delaying(void **state, const char *delay, const char *deliver_at)
{
    struct lane_rig *rig = *state;
    struct lane_options options = keeping(rig);

    options.delay = delay == NULL ? NULL : parse(rig, delay);
    options.deliver_at = deliver_at == NULL ? NULL : parse(rig, deliver_at);
    lane_rig_start(rig, &options);
    return rig;
}

static struct lane_rig *start_parking(void **state)
{
    struct lane_options options = keeping(*state);

    options.parks_in_store = true;
    options.retry = (struct lane_retry){.attempts = 3, .min_ms = 100, .max_ms = 100, .multiplier = 1};
    lane_rig_start(*state, &options);
    return *state;
}

/* Message `number`, with a header `at`. */
static void push(struct lane_rig *rig, uint64_t number, const char *at)
{
    struct bailey_message *msg = lane_rig_message(rig, number, 3);

    lane_rig_set_header(msg, "at", at);
    bailey_receive(rig->source, &msg, 1);
    lane_rig_settle_down(rig);
}

static bool is(const struct lane_rig *rig, size_t index, const char *at)
{
    const struct bailey_header *header = bailey_message_header(rig->held[index]->message, bailey_bytes_of("at"));

    return header != NULL && bailey_bytes_is(header->value.bytes, at);
}

static void confirm_first(struct lane_rig *rig)
{
    struct bailey_delivery *dlv = rig->held[0];

    memmove(rig->held, rig->held + 1, --rig->held_count * sizeof *rig->held);
    bailey_confirm(rig->sink, &dlv, 1);
    lane_rig_settle_down(rig);
}

static void refuse_first(struct lane_rig *rig, enum bailey_error_kind kind)
{
    struct bailey_delivery *dlv = rig->held[0];
    struct bailey_error err;

    bailey_fail(&err, kind, "not now");
    memmove(rig->held, rig->held + 1, --rig->held_count * sizeof *rig->held);
    bailey_refuse(rig->sink, dlv, &err);
    lane_rig_settle_down(rig);
}

/* ---- Delays ---- */

static void a_delayed_message_is_settled_when_it_is_kept(void **state)
{
    struct lane_rig *rig = start_delaying(state, "${header.at}ms", NULL);

    lane_table.holds = true;
    push(rig, 0, "500");
    assert_int_equal(rig->settlements, 0); /* not before it is on the disk */
    lane_table.holds = false;
    fake_table_release(&lane_table, FAKE_TABLE_REQUESTS);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->sent, 0);
    assert_int_equal(rig->status.scheduled, 1);
    int64_t began_ms = time_ms;

    UNTIL(rig->loop, rig->sent == 1);
    assert_in_range(time_ms - began_ms, 490, 520);
    assert_true(is(rig, 0, "500"));
    assert_false(rig->held[0]->possible_duplicate);
    confirm_first(rig);
    assert_int_equal(rig->settlements, 1); /* its source was told long ago */
    assert_int_equal(rig->status.unsettled, 0);
}

static void messages_come_in_the_order_of_their_times(void **state)
{
    struct lane_rig *rig = start_delaying(state, "${header.at:-0}ms", NULL);

    push(rig, 0, "300");
    push(rig, 1, "100");
    push(rig, 2, "0");
    push(rig, 3, "200");
    assert_int_equal(rig->sent, 1);
    assert_true(is(rig, 0, "0"));
    UNTIL(rig->loop, rig->sent == 4);
    assert_true(is(rig, 1, "100") && is(rig, 2, "200") && is(rig, 3, "300"));
    lane_rig_confirm_all(rig);
}

static void a_moment_is_of_the_wall_clock(void **state)
{
    struct lane_rig *rig = start_delaying(state, NULL, "${header.at}");
    char at[32];

    snprintf(at, sizeof at, "%lld", (long long)bailey_wall_ms(rig->loop) + 3600000);
    push(rig, 0, at);
    wall_ahead_ms += 3600000; /* somebody sets the clock */
    UNTIL(rig->loop, rig->sent == 1);
    wall_ahead_ms = 0;
    confirm_first(rig);
    push(rig, 1, "1970-01-01T00:00:00Z"); /* long ago */
    assert_int_equal(rig->held_count, 1);
    confirm_first(rig);
}

static void a_time_that_cannot_be_read_is_hopeless(void **state)
{
    struct lane_rig *rig = start_delaying(state, NULL, "${header.at}");

    push(rig, 0, "tomorrow");
    assert_int_equal(rig->sent, 0);
    assert_int_equal(rig->dead_count, 1);
    assert_int_equal(rig->status.refused[BAILEY_ERR_PERMANENT], 1);
    lane_rig_bury(rig, 0);
}

/* However often it is tried: it is never sent as if its time had come. */
static void a_time_that_cannot_be_read_blocks_without_dead_letters(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = keeping(rig);

    options.dead_letters = NULL;
    options.delay = parse(rig, "${header.at}");
    options.retry = (struct lane_retry){.min_ms = 100, .max_ms = 100, .multiplier = 1};
    lane_rig_start(rig, &options);
    push(rig, 0, "soon");
    UNTIL(rig->loop, rig->status.refused[BAILEY_ERR_PERMANENT] == 3);
    assert_int_equal(rig->sent, 0);
    assert_int_equal(lane_rig_state(rig), LANE_BLOCKED);
}

static void what_is_due_waits_for_credit_and_for_the_sink(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = keeping(rig);

    options.delay = parse(rig, "${header.at}ms");
    options.credit_messages = 2;
    lane_rig_start(rig, &options);
    for (uint64_t i = 0; i < 5; i++)
        push(rig, i, "50");
    UNTIL(rig->loop, rig->sent == 2);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->sent, 2);
    bailey_held(rig->sink, "alarm");
    lane_rig_settle_down(rig);
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->sent, 2);
    bailey_up(rig->sink);
    UNTIL(rig->loop, rig->sent == 4);
    lane_rig_confirm_all(rig);
    UNTIL(rig->loop, rig->sent == 5);
    lane_rig_confirm_all(rig);
}

static void a_table_that_fails_holds_the_source(void **state)
{
    struct lane_rig *rig = start_delaying(state, "50ms", NULL);

    lane_table.fails_writes = true;
    push(rig, 0, "x");
    UNTIL(rig->loop, lane_rig_state(rig) == LANE_HELD);
    assert_non_null(strstr(rig->status.reason, "no space left"));
    assert_int_equal(bailey_room(rig->source), 0);
    assert_int_equal(rig->settlements, 0);
    lane_table.fails_writes = false;
    UNTIL(rig->loop, rig->sent == 1);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
    confirm_first(rig);
}

/* ---- With ids ---- */

static struct fake_state ids;
static struct dedup_shard *shards[1];
static struct dedup_group group = {.count = 1, .shards = shards};
static struct lane_dedup_options dedup;

static struct lane_rig *start_with_ids(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = keeping(rig);

    fake_state_init(&ids, true);
    dedup_shard_new(&(struct dedup_shard_options){
        .host = rig->loop, .route = "test", .group = &group, .state = &ids.state, .window_ms = 3600000, .max = 100000});
    dedup = (struct lane_dedup_options){
        .scope = "test",
        .id = parse(rig, "${header.at}"),
        .group = &group,
        .shard = shards[0],
        .state = &ids.state,
    };
    options.dedup = &dedup;
    options.delay = parse(rig, "${header.at}ms");
    lane_rig_start(rig, &options);
    return rig;
}

static void end_with_ids(struct lane_rig *rig)
{
    lane_stop(rig->lane);
    UNTIL(rig->loop, rig->ended == 1);
    lane_free(rig->lane);
    rig->lane = NULL;
    dedup_shard_free(shards[0]);
}

/* It waits: copies of it are duplicates, and it is none itself when its time comes. */
static void an_id_that_waits_is_sent_once(void **state)
{
    struct lane_rig *rig = start_with_ids(state);

    push(rig, 0, "100");
    UNTIL(rig->loop, rig->settled[0][BAILEY_ACCEPTED] == 1);
    push(rig, 1, "100");
    UNTIL(rig->loop, rig->settled[1][BAILEY_ACCEPTED] == 1);
    assert_int_equal(rig->status.duplicates, 1);
    UNTIL(rig->loop, rig->sent == 1);
    push(rig, 2, "100"); /* while it is under way */
    confirm_first(rig);
    UNTIL(rig->loop, rig->settled[2][BAILEY_ACCEPTED] == 1);
    push(rig, 3, "100");
    UNTIL(rig->loop, rig->settled[3][BAILEY_ACCEPTED] == 1);
    assert_int_equal(rig->sent, 1);
    assert_int_equal(rig->status.duplicates, 3);
    end_with_ids(rig);
}

/* Its time comes before its id is recorded as waiting: it must not be taken for a copy of itself. */
static void a_short_delay_does_not_lose_a_message(void **state)
{
    struct lane_rig *rig = start_with_ids(state);

    for (uint64_t i = 0; i < 50; i++) {
        char at[8];

        snprintf(at, sizeof at, "%d", (int)i + 1);
        push(rig, i, at);
    }
    UNTIL(rig->loop, rig->sent == 50);
    lane_rig_confirm_all(rig);
    UNTIL(rig->loop, rig->status.unsettled == 0);
    assert_int_equal(rig->status.duplicates, 0);
    end_with_ids(rig);
}

/* ---- Parked ---- */

static void a_parked_message_is_settled_and_comes_again(void **state)
{
    struct lane_rig *rig = start_parking(state);

    push(rig, 0, "a");
    refuse_first(rig, BAILEY_ERR_TRANSIENT);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->status.unsettled, 0);
    UNTIL(rig->loop, rig->sent == 2);
    assert_int_equal(rig->held[0]->attempts, 1);
    assert_int_equal(rig->status.retried, 1);
    refuse_first(rig, BAILEY_ERR_TRANSIENT);
    UNTIL(rig->loop, rig->sent == 3);
    refuse_first(rig, BAILEY_ERR_TRANSIENT); /* the third: hopeless */
    assert_int_equal(rig->dead_count, 1);
    assert_true(bailey_bytes_is(
        bailey_message_header(rig->dead_held[0]->message, bailey_bytes_of("bailey-dlq-attempts"))->value.bytes, "3"));
    bailey_confirm(rig->dead, rig->dead_held, 1);
    rig->dead_count = 0;
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settlements, 1);
    assert_int_equal(rig->status.unsettled, 0);
}

/* What all messages of the route lack is no attempt of one, before it is parked and after. */
static void a_parked_message_is_not_blamed_for_its_route(void **state)
{
    struct lane_rig *rig = start_parking(state);

    push(rig, 0, "a");
    refuse_first(rig, BAILEY_ERR_TRANSIENT);
    for (size_t sent = 2; sent < 6; sent++) {
        UNTIL(rig->loop, rig->sent == sent);
        refuse_first(rig, BAILEY_ERR_CONFIG);
    }
    UNTIL(rig->loop, rig->sent == 6);
    assert_int_equal(rig->held[0]->attempts, 5);
    refuse_first(rig, BAILEY_ERR_TRANSIENT);
    UNTIL(rig->loop, rig->sent == 7);
    assert_int_equal(rig->dead_count, 0);
    confirm_first(rig);
}

/* ---- Ends ---- */

static struct lane_rig *live_again(void **state)
{
    assert_int_equal(lane_rig_free(state), 0);
    assert_int_equal(lane_rig_new(state), 0);
    return start_delaying(state, "${header.at}ms", NULL);
}

static void a_drain_leaves_what_is_kept_to_the_next_run(void **state)
{
    struct lane_rig *rig = start_delaying(state, "${header.at}ms", NULL);

    push(rig, 0, "200");
    lane_drain(rig->lane);
    UNTIL(rig->loop, rig->ended == 1);
    rig = live_again(state);
    UNTIL(rig->loop, rig->sent == 1);
    assert_true(is(rig, 0, "200"));
    assert_false(rig->held[0]->possible_duplicate);
    confirm_first(rig);
}

static void what_was_out_at_the_stop_comes_again_marked(void **state)
{
    struct lane_rig *rig = start_delaying(state, "${header.at}ms", NULL);

    push(rig, 0, "50");
    UNTIL(rig->loop, rig->sent == 1);
    rig->in_doubt_at_close = true;
    lane_stop(rig->lane);
    UNTIL(rig->loop, rig->ended == 1);
    rig = live_again(state);
    UNTIL(rig->loop, rig->sent == 1);
    assert_true(rig->held[0]->possible_duplicate);
    confirm_first(rig);
}

static void a_source_that_is_lost_takes_nothing_kept_with_it(void **state)
{
    struct lane_rig *rig = start_delaying(state, "${header.at}ms", NULL);

    push(rig, 0, "100");
    push(rig, 1, "50");
    UNTIL(rig->loop, rig->sent == 1);
    lane_rig_lose(rig->source);
    UNTIL(rig->loop, rig->source_opens == 2);
    confirm_first(rig);
    UNTIL(rig->loop, rig->sent == 2);
    confirm_first(rig);
    assert_int_equal(rig->status.unsettled, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lane_table_new, lane_table_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_delayed_message_is_settled_when_it_is_kept),
        TEST(messages_come_in_the_order_of_their_times),
        TEST(a_moment_is_of_the_wall_clock),
        TEST(a_time_that_cannot_be_read_is_hopeless),
        TEST(a_time_that_cannot_be_read_blocks_without_dead_letters),
        TEST(what_is_due_waits_for_credit_and_for_the_sink),
        TEST(a_table_that_fails_holds_the_source),
        TEST(an_id_that_waits_is_sent_once),
        TEST(a_short_delay_does_not_lose_a_message),
        TEST(a_parked_message_is_settled_and_comes_again),
        TEST(a_parked_message_is_not_blamed_for_its_route),
        TEST(a_drain_leaves_what_is_kept_to_the_next_run),
        TEST(what_was_out_at_the_stop_comes_again_marked),
        TEST(a_source_that_is_lost_takes_nothing_kept_with_it),
    };

    return cmocka_run_group_tests_name("messages that wait in the store", tests, NULL, NULL);
}
