/* What becomes of messages that the sink refuses: attempts, dead letters, a lane that is blocked, expiry, loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lane_rig.h"
#include "virtual_clock.h"

static struct lane_rig *start(void **state, struct lane_options options)
{
    lane_rig_start(*state, &options);
    return *state;
}

/* With dead letters, and waits of some ms. */
static struct lane_options with_dead_letters(void **state)
{
    struct lane_options options = lane_rig_options(*state);

    options.dead_letters = lane_rig_dead_letters(*state);
    options.retry = (struct lane_retry){.min_ms = 5, .max_ms = 5, .multiplier = 1};
    return options;
}

static const struct bailey_message *dead_letter(const struct lane_rig *rig, size_t index)
{
    assert_true(index < rig->dead_count);
    return rig->dead_held[index]->message;
}

static void says(const struct bailey_message *msg, const char *name, const char *value)
{
    const struct bailey_header *header = bailey_message_header(msg, bailey_bytes_of(name));

    if (header == NULL)
        fail_msg("it has no header %s", name);
    if (!bailey_bytes_is(header->value.bytes, value))
        fail_msg("%s is %.*s, not %s", name, (int)header->value.bytes.len, (const char *)header->value.bytes.data,
                 value);
}

static void lacks(const struct bailey_message *msg, const char *name)
{
    assert_null(bailey_message_header(msg, bailey_bytes_of(name)));
}

/* ---- Dead letters ---- */

static void what_is_refused_for_good_is_a_dead_letter(void **state)
{
    struct lane_rig *rig = start(state, with_dead_letters(state));

    lane_rig_push(rig, 0, 3);
    lane_rig_refuse(rig, 1, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->dead_count, 1);
    assert_int_equal(rig->settlements, 0); /* not before the dead-letter sink has it */
    assert_int_equal(rig->status.dead, 1);
    says(dead_letter(rig, 0), "bailey-dlq-route", "test");
    says(dead_letter(rig, 0), "bailey-dlq-class", "permanent");
    says(dead_letter(rig, 0), "bailey-dlq-reason", "the sink does not want it");
    says(dead_letter(rig, 0), "bailey-dlq-attempts", "1");
    says(dead_letter(rig, 0), "bailey-dlq-source", "fake");
    says(dead_letter(rig, 0), "bailey-dlq-sink", "fake");
    lacks(dead_letter(rig, 0), "bailey-dlq-code");
    lacks(dead_letter(rig, 0), "bailey-dlq-key");
    lacks(dead_letter(rig, 0), "bailey-dlq-replays");
    assert_int_equal(dead_letter(rig, 0)->key.len, 32);
    assert_int_equal(dead_letter(rig, 0)->body.len, 10);
    lane_rig_bury(rig, 1);
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settlements, 3);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->status.dead_lettered, 1);
    assert_int_equal(rig->status.delivered, 2);
    assert_int_equal(rig->status.dead, 0);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
}

static void a_dead_letter_keeps_the_message_whole(void **state)
{
    struct lane_rig *rig = start(state, with_dead_letters(state));
    struct bailey_message *msg = lane_rig_message(rig, 7, 5);
    struct bailey_header headers[] = {
        {bailey_bytes_of("x-death"), {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("earlier")}},
        {bailey_bytes_of("bailey-dlq-reason"), {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("forged")}},
        {bailey_bytes_of("x-death"), {.kind = BAILEY_KIND_I64, .i64 = 4}},
    };

    msg->headers = headers;
    msg->header_count = 3;
    msg->key = bailey_bytes_of("k\xff");
    msg->origin.topic = bailey_bytes_of("orders");
    msg->origin.partition = 3;
    msg->origin.offset = 41;
    msg->correlation_id = bailey_bytes_of("c");
    bailey_receive(rig->source, &msg, 1);
    lane_rig_refuse(rig, 7, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    const struct bailey_message *dead = dead_letter(rig, 0);

    assert_true(bailey_bytes_is(dead->headers[0].name, "x-death"));
    assert_true(bailey_bytes_is(dead->headers[1].name, "x-death"));
    assert_int_equal(dead->headers[1].value.i64, 4);
    says(dead, "bailey-dlq-reason", "the sink does not want it"); /* not what came from outside */
    says(dead, "bailey-dlq-key", "k\xff");
    says(dead, "bailey-dlq-source", "fake orders-3-41");
    assert_true(bailey_bytes_is(dead->correlation_id, "c"));
    assert_int_equal(dead->body.len, 5);
    lane_rig_bury(rig, 7);
}

static void a_dead_letter_is_sent_until_it_is_there(void **state)
{
    struct lane_rig *rig = start(state, with_dead_letters(state));

    lane_rig_push(rig, 0, 1);
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    lane_rig_refuse_dead(rig, 0, BAILEY_ERR_TRANSIENT);
    UNTIL(rig->loop, rig->dead_sent == 2);
    rig->in_doubt_at_close = true;
    lane_rig_lose(rig->dead);
    UNTIL(rig->loop, rig->dead_sent == 3);
    assert_true(rig->dead_held[0]->possible_duplicate);
    says(dead_letter(rig, 0), "bailey-dlq-class", "permanent");
    assert_int_equal(rig->settlements, 0);
    assert_int_equal(rig->sent, 1); /* never to the sink again */
    lane_rig_bury(rig, 0);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
}

static void dead_letters_that_are_refused_block_the_lane(void **state)
{
    struct lane_rig *rig = start(state, with_dead_letters(state));

    lane_rig_push(rig, 0, 1);
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    lane_rig_refuse_dead(rig, 0, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_BLOCKED);
    assert_string_equal(rig->status.reason, "dead letters: the cemetery is full");
    assert_int_equal(bailey_room(rig->source), 0);
    UNTIL(rig->loop, rig->dead_sent == 2); /* somebody may have mended it */
    lane_rig_bury(rig, 0);
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    assert_int_equal(rig->resumes, 1);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
}

/* A dead-letter sink that is away holds nothing but what waits for it. */
static void dead_letters_wait_for_their_sink(void **state)
{
    struct lane_options options = with_dead_letters(state);
    struct lane_rig *rig = *state;

    rig->dead_manual = true;
    start(state, options);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    lane_rig_push(rig, 0, 2);
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_rig_confirm(rig, 1);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->dead_sent, 0);
    assert_int_equal(rig->settlements, 1);
    bailey_up(rig->dead);
    lane_rig_settle_down(rig);
    lane_rig_bury(rig, 0);
    assert_int_equal(rig->settlements, 2);
}

/* What cannot be sent to them now is left to its source at a drain, like all that waits. */
static void a_drain_leaves_dead_letters_that_cannot_be_sent(void **state)
{
    struct lane_options options = with_dead_letters(state);
    struct lane_rig *rig = *state;

    rig->dead_manual = true;
    start(state, options);
    lane_rig_push(rig, 0, 2);
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_drain(rig->lane);
    lane_rig_confirm(rig, 1);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1);
}

static void a_drain_leaves_dead_letters_whose_sink_is_lost_meanwhile(void **state)
{
    struct lane_options options = with_dead_letters(state);
    struct lane_rig *rig = start(state, options);

    lane_rig_push(rig, 0, 1);
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->dead_count, 1);
    lane_drain(rig->lane);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 0);
    rig->dead_manual = true; /* it does not come back */
    lane_rig_lose(rig->dead);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
}

/* ---- Without dead letters ---- */

static void without_dead_letters_the_lane_is_blocked(void **state)
{
    struct lane_options options = lane_rig_options(*state);

    options.retry = (struct lane_retry){.min_ms = 5, .max_ms = 5, .multiplier = 1};
    struct lane_rig *rig = start(state, options);

    lane_rig_push(rig, 0, 3);
    lane_rig_refuse(rig, 1, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_BLOCKED);
    assert_int_equal(bailey_room(rig->source), 0);
    lane_rig_confirm(rig, 0); /* what it has received goes on */
    lane_rig_confirm(rig, 2);
    UNTIL(rig->loop, rig->sent == 4);
    lane_rig_confirm(rig, 1); /* mended */
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    assert_int_equal(rig->settlements, 3);
    assert_true(bailey_room(rig->source) > 0);
}

static void a_drain_leaves_the_hopeless_to_its_source(void **state)
{
    struct lane_rig *rig = start(state, lane_rig_options(*state));

    lane_rig_push(rig, 0, 1);
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_drain(rig->lane);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
}

/* ---- Attempts ---- */

static void attempts_end_in_a_dead_letter(void **state)
{
    struct lane_options options = with_dead_letters(state);

    options.retry.attempts = 3;
    struct lane_rig *rig = start(state, options);

    lane_rig_push(rig, 0, 2);
    lane_rig_confirm(rig, 1);
    for (size_t sent = 2; sent < 5; sent++) {
        UNTIL(rig->loop, rig->sent == sent);
        lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    }
    lane_rig_settle_down(rig);
    says(dead_letter(rig, 0), "bailey-dlq-class", "transient");
    says(dead_letter(rig, 0), "bailey-dlq-attempts", "3");
    lane_rig_bury(rig, 0);
    assert_int_equal(rig->sent, 4);
}

static void an_outage_is_no_attempt(void **state)
{
    struct lane_options options = with_dead_letters(state);

    options.retry.attempts = 1;
    struct lane_rig *rig = start(state, options);

    lane_rig_push(rig, 0, 1);
    for (size_t sent = 1; sent < 6; sent++) {
        UNTIL(rig->loop, rig->sent == sent);
        if (sent % 2 == 1)
            lane_rig_hand_back(rig, 0, sent == 3);
        else
            lane_rig_refuse(rig, 0, BAILEY_ERR_CONFIG); /* all messages go to this place: it is not about this one */
    }
    UNTIL(rig->loop, rig->sent == 6);
    assert_int_equal(rig->dead_sent, 0);
    lane_rig_confirm(rig, 0);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
}

/* Waits grow from min to max by the multiplier, with no more jitter than that. */
static void waits_grow_as_configured(void **state)
{
    struct lane_options options = lane_rig_options(*state);

    options.retry = (struct lane_retry){.min_ms = 20, .max_ms = 60, .multiplier = 2};
    struct lane_rig *rig = start(state, options);
    static const int64_t waits_ms[] = {20, 40, 60, 60};

    lane_rig_push(rig, 0, 1);
    for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++) {
        int64_t refused_ms = bailey_now_ms(rig->loop);

        lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
        UNTIL(rig->loop, rig->sent == i + 2);
        assert_true(bailey_now_ms(rig->loop) - refused_ms >= waits_ms[i]);
    }
    lane_rig_confirm(rig, 0);
}

/* ---- Unroutable ---- */

static void unroutable(void **state, enum lane_unroutable policy)
{
    struct lane_options options = with_dead_letters(state);

    options.unroutable = policy;
    struct lane_rig *rig = start(state, options);

    lane_rig_push(rig, 0, 1);
    lane_rig_refuse(rig, 0, BAILEY_ERR_UNROUTABLE);
    lane_rig_settle_down(rig);
}

static void the_unroutable_is_a_dead_letter(void **state)
{
    unroutable(state, LANE_UNROUTABLE_DEAD_LETTER);
    says(dead_letter(*state, 0), "bailey-dlq-class", "unroutable");
    lane_rig_bury(*state, 0);
}

static void the_unroutable_is_tried_again(void **state)
{
    struct lane_rig *rig = *state;

    unroutable(state, LANE_UNROUTABLE_RETRY);
    UNTIL(rig->loop, rig->sent == 2);
    assert_int_equal(rig->dead_sent, 0);
    lane_rig_confirm(rig, 0);
}

static void the_unroutable_is_accepted(void **state)
{
    struct lane_rig *rig = *state;

    unroutable(state, LANE_UNROUTABLE_ACCEPT);
    assert_int_equal(rig->dead_sent, 0);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->status.unroutable, 1);
    assert_int_equal(rig->status.delivered, 0);
}

/* ---- Expiry and loops ---- */

static void push_expiring(struct lane_rig *rig, int64_t at_ms)
{
    struct bailey_message *msg = lane_rig_message(rig, 0, 1);

    msg->expires_at_ms = at_ms;
    bailey_receive(rig->source, &msg, 1);
    lane_rig_settle_down(rig);
}

static void what_is_past_its_expiry_is_a_dead_letter(void **state)
{
    struct lane_rig *rig = start(state, with_dead_letters(state));

    push_expiring(rig, bailey_wall_ms(rig->loop));
    assert_int_equal(rig->sent, 0);
    says(dead_letter(rig, 0), "bailey-dlq-class", "expired");
    lane_rig_bury(rig, 0);
}

static void what_is_not_past_its_expiry_is_sent(void **state)
{
    struct lane_rig *rig = start(state, with_dead_letters(state));

    push_expiring(rig, bailey_wall_ms(rig->loop) + 60000);
    lane_rig_confirm(rig, 0);
    assert_int_equal(rig->dead_sent, 0);
}

static void what_is_past_its_expiry_is_dropped_where_that_is_said(void **state)
{
    struct lane_options options = with_dead_letters(state);

    options.expire = LANE_EXPIRE_DROP;
    struct lane_rig *rig = start(state, options);

    push_expiring(rig, 1);
    assert_int_equal(rig->sent + rig->dead_sent, 0);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->status.expired, 1);
}

static void it_expires_while_it_waits(void **state)
{
    struct lane_options options = with_dead_letters(state);

    options.retry.min_ms = options.retry.max_ms = 60;
    struct lane_rig *rig = start(state, options);

    push_expiring(rig, bailey_wall_ms(rig->loop) + 30);
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    UNTIL(rig->loop, rig->dead_count == 1);
    assert_int_equal(rig->sent, 1);
    says(dead_letter(rig, 0), "bailey-dlq-class", "expired");
    says(dead_letter(rig, 0), "bailey-dlq-attempts", "1");
    lane_rig_bury(rig, 0);
}

/* Its dead-letter sink may be away for long, and who was behind it must not pass it. */
static void what_expires_in_a_drain_is_left_to_its_source(void **state)
{
    struct lane_options options = with_dead_letters(state);
    struct lane_rig *rig = *state;

    options.order = BAILEY_ORDER_STRICT;
    rig->dead_manual = true;
    start(state, options);
    rig->room = 0;
    push_expiring(rig, bailey_wall_ms(rig->loop) + 30);
    lane_rig_push(rig, 1, 2);
    assert_int_equal(rig->sent, 0);
    lane_drain(rig->lane);
    int64_t expired_ms = bailey_now_ms(rig->loop) + 40;
    UNTIL(rig->loop, bailey_now_ms(rig->loop) > expired_ms);
    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->sent, 0);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    assert_int_equal(rig->settled[1][BAILEY_RELEASED], 1);
}

static void a_message_that_goes_in_a_circle_is_a_dead_letter(void **state)
{
    struct lane_options options = with_dead_letters(state);

    options.hops_max = 8;
    struct lane_rig *rig = start(state, options);
    struct bailey_message *batch[2];

    for (uint64_t i = 0; i < 2; i++) {
        batch[i] = lane_rig_message(rig, i, 1);
        batch[i]->hops = (uint8_t)(7 + i);
    }
    bailey_receive(rig->source, batch, 2);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (uint64_t[]){0});
    assert_int_equal(rig->held[0]->message->hops, 8);
    says(dead_letter(rig, 0), "bailey-dlq-class", "loop");
    lane_rig_confirm(rig, 0);
    lane_rig_bury(rig, 1);
}

static void what_goes_in_a_circle_is_left_to_its_source_in_a_drain(void **state)
{
    struct lane_options options = with_dead_letters(state);
    struct lane_rig *rig = *state;

    options.hops_max = 8;
    rig->dead_manual = true;
    start(state, options);
    lane_rig_push(rig, 0, 1);
    lane_drain(rig->lane);
    struct bailey_message *msg = lane_rig_message(rig, 1, 1);
    msg->hops = 8;
    bailey_receive(rig->source, &msg, 1);
    lane_rig_confirm(rig, 0);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settled[1][BAILEY_RELEASED], 1);
}

static void a_message_that_goes_in_a_circle_blocks_without_dead_letters(void **state)
{
    struct lane_options options = lane_rig_options(*state);

    options.hops_max = 8;
    options.retry = (struct lane_retry){.min_ms = 5, .max_ms = 5, .multiplier = 1};
    struct lane_rig *rig = start(state, options);
    struct bailey_message *msg = lane_rig_message(rig, 0, 1);

    msg->hops = 8;
    bailey_receive(rig->source, &msg, 1);
    UNTIL(rig->loop, rig->status.retried == 2);
    assert_int_equal(rig->sent, 0);
    assert_int_equal(lane_rig_state(rig), LANE_BLOCKED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lane_rig_new, lane_rig_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_refused_for_good_is_a_dead_letter),
        TEST(a_dead_letter_keeps_the_message_whole),
        TEST(a_dead_letter_is_sent_until_it_is_there),
        TEST(dead_letters_that_are_refused_block_the_lane),
        TEST(dead_letters_wait_for_their_sink),
        TEST(a_drain_leaves_dead_letters_that_cannot_be_sent),
        TEST(a_drain_leaves_dead_letters_whose_sink_is_lost_meanwhile),
        TEST(without_dead_letters_the_lane_is_blocked),
        TEST(a_drain_leaves_the_hopeless_to_its_source),
        TEST(attempts_end_in_a_dead_letter),
        TEST(an_outage_is_no_attempt),
        TEST(waits_grow_as_configured),
        TEST(the_unroutable_is_a_dead_letter),
        TEST(the_unroutable_is_tried_again),
        TEST(the_unroutable_is_accepted),
        TEST(what_is_past_its_expiry_is_a_dead_letter),
        TEST(what_is_not_past_its_expiry_is_sent),
        TEST(what_is_past_its_expiry_is_dropped_where_that_is_said),
        TEST(it_expires_while_it_waits),
        TEST(what_expires_in_a_drain_is_left_to_its_source),
        TEST(a_message_that_goes_in_a_circle_is_a_dead_letter),
        TEST(what_goes_in_a_circle_is_left_to_its_source_in_a_drain),
        TEST(a_message_that_goes_in_a_circle_blocks_without_dead_letters),
    };

    return cmocka_run_group_tests_name("refused messages", tests, NULL, NULL);
}
