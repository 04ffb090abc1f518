/* core/lane_dedup.c: a lane that deduplicates, between a scripted source, a scripted sink, and a state that the test holds. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/dedup.h"
#include "fail_alloc.h"
#include "fake_state.h"
#include "lane_rig.h"
#include "virtual_clock.h"

static struct fake_state fake;
static struct dedup_shard *shards[2];
static struct dedup_group group = {.count = 1, .shards = shards};
static struct lane_dedup_options dedup;

/* A lane whose ids are the headers `id`. */
static struct lane_rig *started(void **state, bool pass)
{
    struct lane_rig *rig = *state;
    struct lane_options options = lane_rig_options(rig);
    struct bailey_error err;

    fake_state_init(&fake, true);
    dedup_shard_new(&(struct dedup_shard_options){.host = rig->loop,
                                                  .route = "test",
                                                  .group = &group,
                                                  .state = &fake.state,
                                                  .window_ms = 3600000,
                                                  .max = 100000,
                                                  .pass_on_failure = pass});
    dedup = (struct lane_dedup_options){
        .scope = "test",
        .id = template_parse(rig->arena, "${header.id}", NULL, &err),
        .group = &group,
        .shard = shards[0],
        .state = &fake.state,
        .pass_on_failure = pass,
    };
    assert_non_null(dedup.id);
    options.dedup = &dedup;
    options.credit_messages = 100;
    lane_rig_start(rig, &options);
    return rig;
}

/* Ends the lane if it runs; everything must come to its end. */
static int tear_down(void **state)
{
    struct lane_rig *rig = *state;

    if (rig->lane != NULL && !lane_is_ended(rig->lane))
        lane_stop(rig->lane);
    fake.holds = false;
    for (int i = 0; i < 20; i++) {
        fake_state_release(&fake);
        lane_rig_settle_down(rig);
    }
    assert_true(lane_is_ended(rig->lane));
    assert_int_equal(rig->status.unsettled, 0);
    lane_free(rig->lane);
    rig->lane = NULL;
    dedup_shard_free(shards[0]);
    return lane_rig_free(state);
}

/* The message `number` with the id `id`; without one if it is NULL. */
static void push(struct lane_rig *rig, uint64_t number, const char *id)
{
    struct bailey_message *msg = lane_rig_message(rig, number, 10);

    if (id != NULL)
        lane_rig_set_header(msg, "id", id);
    bailey_receive(rig->source, &msg, 1);
    lane_rig_settle_down(rig);
}

static void push_new(struct lane_rig *rig, uint64_t from, uint64_t to)
{
    char id[16];

    for (uint64_t i = from; i < to; i++) {
        snprintf(id, sizeof id, "%d", (int)i);
        push(rig, i, id);
    }
}

static void answer(struct lane_rig *rig)
{
    lane_rig_settle_down(rig);
    fake_state_release(&fake);
    lane_rig_settle_down(rig);
}

/* Until nothing more is asked of the state. */
static void answer_all(struct lane_rig *rig)
{
    do
        answer(rig);
    while (fake.commits_waiting + fake.lookups_waiting > 0);
}

/* ---- The straight way ---- */

static void sent_after_the_intent_and_settled_after_the_record(void **state)
{
    struct lane_rig *rig = started(state, false);

    fake.holds = true;
    push(rig, 0, "a");
    lane_rig_assert_held(rig, 0, NULL);
    answer(rig);
    lane_rig_assert_held(rig, 1, (const uint64_t[]){0});
    assert_true(bailey_bytes_is(rig->held[0]->id, "a"));
    assert_false(rig->held[0]->possible_duplicate);
    lane_rig_confirm(rig, 0);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settlements, 0);
    assert_int_equal(rig->status.delivered, 1);
    assert_int_equal(rig->status.unsettled, 1);
    answer(rig);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->status.unsettled_bytes, 0);
}

static void order_is_kept(void **state)
{
    enum { COUNT = 90 };
    struct lane_rig *rig = started(state, false);

    push_new(rig, 0, COUNT);
    assert_int_equal(rig->held_count, COUNT);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(rig->held[i]->message->position, i);
    lane_rig_confirm_all(rig);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settlements, COUNT);
}

/* The first of them has to be looked up, which takes longer; a copy of one in flight holds up nobody. */
static void a_late_answer_does_not_change_the_order(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, "a");
    lane_rig_confirm(rig, 0);
    push(rig, 1, "b");
    lane_rig_assert_held(rig, 1, (const uint64_t[]){1});
    fake.record_count = 0; /* the filter says perhaps, the store no */
    fake.holds = true;
    push(rig, 2, "a");
    push(rig, 3, "b");
    push(rig, 4, "c");
    fake.holds = false;
    assert_int_equal(fake.lookups_waiting, 1);
    struct state_lookup *late = fake.lookups_held[0];
    fake.lookups_waiting = 0;
    answer_all(rig);
    lane_rig_assert_held(rig, 1, (const uint64_t[]){1}); /* 4 waits for 2, not for 3 */
    fake.lookups_held[fake.lookups_waiting++] = late;
    answer_all(rig);
    lane_rig_assert_held(rig, 3, (const uint64_t[]){1, 2, 4});
}

static void duplicates_are_settled_and_counted(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, "a");
    push(rig, 1, "a"); /* of one in flight */
    lane_rig_assert_held(rig, 1, (const uint64_t[]){0});
    assert_int_equal(rig->settlements, 0);
    lane_rig_confirm(rig, 0);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1);
    push(rig, 2, "a"); /* of a recorded one */
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->sent, 1);
    assert_int_equal(rig->status.duplicates, 2);
    assert_int_equal(rig->status.delivered, 1);
}

static void an_id_that_cannot_be_filled_is_a_permanent_failure(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, NULL);
    push(rig, 1, "");
    push(rig, 2, "a");
    lane_rig_assert_held(rig, 1, (const uint64_t[]){2});
    assert_int_equal(rig->status.refused[BAILEY_ERR_PERMANENT], 2);
    assert_int_equal(rig->status.waiting, 2);
    assert_int_equal(rig->settlements, 0);
}

/* ---- What does not go straight ---- */

static void a_refused_one_keeps_its_id(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, "a");
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    push(rig, 1, "a");
    lane_rig_assert_held(rig, 0, NULL); /* 1 follows 0, which waits */
    UNTIL(rig->loop, rig->held_count == 1);
    lane_rig_assert_held(rig, 1, (const uint64_t[]){0});
    assert_true(bailey_bytes_is(rig->held[0]->id, "a"));
    assert_int_equal(fake.commits, 1); /* it did not ask again */
    lane_rig_confirm(rig, 0);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settlements, 2);
}

static void one_in_doubt_is_sent_again_with_its_mark(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, "a");
    lane_rig_hand_back(rig, 0, true);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (const uint64_t[]){0});
    assert_true(rig->held[0]->possible_duplicate);
    lane_rig_confirm(rig, 0);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
}

static void what_the_source_lost_gives_its_id_to_the_copy(void **state)
{
    struct lane_rig *rig = started(state, false);

    rig->room = 0;
    push(rig, 0, "a"); /* ready, not sent */
    assert_int_equal(bailey_revoke(rig->source, 1), 0);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(fake.intent_count, 0);
    rig->room = 100;
    bailey_writable(rig->sink);
    push(rig, 1, "a");
    lane_rig_assert_held(rig, 1, (const uint64_t[]){1});
    assert_false(rig->held[0]->possible_duplicate);

    assert_int_equal(bailey_revoke(rig->source, 1), 1); /* 1 is out */
    push(rig, 2, "a");
    lane_rig_assert_held(rig, 1, (const uint64_t[]){1});
    lane_rig_confirm(rig, 1);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 1); /* with the outcome of the other copy */
    assert_int_equal(rig->sent, 1);
}

static void an_orphan_in_doubt_marks_the_copy(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, "a");
    bailey_revoke(rig->source, 1);
    lane_rig_hand_back(rig, 0, true);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.unsettled, 0);
    push(rig, 1, "a");
    lane_rig_assert_held(rig, 1, (const uint64_t[]){1});
    assert_true(rig->held[0]->possible_duplicate);
}

static void what_asks_and_is_lost_by_its_source_is_not_sent(void **state)
{
    struct lane_rig *rig = started(state, false);

    fake.holds = true;
    push(rig, 0, "a");
    push(rig, 1, "b");
    assert_int_equal(bailey_revoke(rig->source, 1), 0);
    answer_all(rig);
    assert_int_equal(rig->sent, 0);
    assert_int_equal(rig->status.unsettled, 0);
    assert_int_equal(rig->settlements, 0);
    assert_int_equal(fake.intent_count, 0);
}

static void recording_goes_on_when_the_source_is_lost(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, "a");
    fake.holds = true;
    lane_rig_confirm(rig, 0);
    lane_rig_lose(rig->source);
    answer(rig);
    assert_int_equal(rig->settlements, 0); /* nobody to be told */
    assert_int_equal(rig->status.unsettled, 0);
    fake.holds = false;
    UNTIL(rig->loop, rig->source_opens == 2);
    push(rig, 1, "a"); /* it comes again */
    assert_int_equal(rig->settled[1][BAILEY_ACCEPTED], 1);
    assert_int_equal(rig->sent, 1);
}

/* ---- The store ---- */

static void a_failing_store_holds_the_source_with_its_reason(void **state)
{
    struct lane_rig *rig = started(state, false);

    fake.fails_commits = true;
    push(rig, 0, "a");
    assert_int_equal(lane_rig_state(rig), LANE_HELD);
    assert_string_equal(rig->status.reason, "state store: no space left");
    assert_int_equal(bailey_room(rig->source), 0);
    assert_int_equal(rig->sent, 0);
    fake.fails_commits = false;
    UNTIL(rig->loop, rig->held_count == 1);
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    assert_int_equal(rig->resumes, 1);
    assert_true(bailey_room(rig->source) > 0);
}

static void a_failing_store_that_is_passed_holds_nothing(void **state)
{
    struct lane_rig *rig = started(state, true);

    fake.fails_commits = true;
    push(rig, 0, "a");
    lane_rig_assert_held(rig, 1, (const uint64_t[]){0});
    assert_true(rig->held[0]->possible_duplicate);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    lane_rig_confirm(rig, 0);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
}

/* ---- The end ---- */

static void a_drain_waits_for_the_records(void **state)
{
    struct lane_rig *rig = started(state, false);

    push_new(rig, 0, 10);
    fake.holds = true;
    lane_rig_confirm_all(rig);
    lane_drain(rig->lane);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 0);
    answer(rig);
    assert_int_equal(rig->settlements, 10);
    assert_int_equal(rig->ended, 1);
}

/* At every stage there is one: it stays at its source, and nothing is left in the shard. */
static void a_stop_gives_all_ids_back(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, "waits");
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    push(rig, 1, "recording");
    push(rig, 2, "out");
    rig->room = 0;
    push(rig, 3, "ready");
    push(rig, 4, "ready"); /* follows */
    fake.holds = true;
    lane_rig_confirm(rig, 1);
    push(rig, 5, "asks");
    rig->in_doubt_at_close = true;
    lane_stop(rig->lane);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 1); /* without an answer of the store */
    assert_int_equal(rig->settlements, 0);
    assert_int_equal(rig->status.unsettled, 0);
    answer_all(rig);
    assert_int_equal(fake.record_count, 1);
    assert_int_equal(fake.intent_count, 1); /* "out" */
}

static void one_that_waits_for_another_owns_its_bytes(void **state)
{
    struct lane_rig *rig = started(state, false);

    push(rig, 0, "a");
    push(rig, 1, "a");
    lane_rig_confirm(rig, 0); /* the state answers at once; hold it back */
    fake.holds = true;
    push(rig, 2, "b");
    for (int i = 0; i < 200; i++, time_ms += 10)
        loop_turn(rig->loop, 0);
    fake.holds = false;
    answer(rig);
    UNTIL(rig->loop, rig->held_count == 1);
    assert_int_equal(rig->held[0]->message->position, 2);
    assert_true(bailey_bytes_is(rig->held[0]->id, "b"));
    lane_rig_confirm(rig, 2);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->settled[2][BAILEY_ACCEPTED], 1);
}

/* ---- Memory runs out: the process ends, and nothing was settled that is not at the sink and recorded ---- */

enum { SWEEP = 12, DIED = 4, LIED = 5 };

static struct lane_rig *swept;
static bool confirmed[SWEEP];

static bool is_honest(void)
{
    for (uint64_t i = 0; i < SWEEP; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "%d", (int)i);
        struct id id = id_of(&fake.state.key, (struct bailey_bytes){(const uint8_t *)text, (size_t)len});

        if (swept->settled[i][BAILEY_ACCEPTED] > 0 && (!confirmed[i] || !fake_state_has_record(&fake, id)))
            return false;
    }
    return true;
}

static void died(int signal)
{
    (void)signal;
    _exit(is_honest() ? DIED : LIED);
}

/* In a child: the nth allocation fails. */
static void play(struct lane_rig *rig, size_t nth)
{
    swept = rig;
    signal(SIGABRT, died);
    fail_alloc_arm(nth, false);
    push_new(rig, 0, SWEEP / 2);
    lane_rig_refuse(rig, 1, BAILEY_ERR_TRANSIENT);
    lane_rig_hand_back(rig, 2, true);
    lane_rig_settle_down(rig);
    for (uint64_t i = 3; i < SWEEP / 2; i++) {
        confirmed[i] = true;
        lane_rig_confirm(rig, i);
    }
    lane_rig_settle_down(rig);
    push_new(rig, 0, SWEEP); /* copies, and new ones */
    bailey_revoke(rig->source, 1);
    lane_rig_settle_down(rig);
    lane_stop(rig->lane);
    lane_rig_settle_down(rig);
    size_t seen = fail_alloc_disarm();
    _exit(!is_honest() ? LIED : seen >= nth ? DIED : 0);
}

static void when_memory_runs_out_nothing_was_settled_early(void **state)
{
    struct lane_rig *rig = started(state, false);
    int status = DIED;
    size_t nth = 0;

    if (!fail_alloc_works())
        return;
    fflush(NULL);
    while (status == DIED) {
        pid_t child = fork();

        nth++;
        assert_true(child >= 0);
        if (child == 0)
            play(rig, nth);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        status = WEXITSTATUS(status);
        assert_int_not_equal(status, LIED);
    }
    assert_int_equal(status, 0); /* it got through without the nth allocation */
    assert_true(nth > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, lane_rig_new, tear_down)
        TEST(sent_after_the_intent_and_settled_after_the_record),
        TEST(order_is_kept),
        TEST(a_late_answer_does_not_change_the_order),
        TEST(duplicates_are_settled_and_counted),
        TEST(an_id_that_cannot_be_filled_is_a_permanent_failure),
        TEST(a_refused_one_keeps_its_id),
        TEST(one_in_doubt_is_sent_again_with_its_mark),
        TEST(what_the_source_lost_gives_its_id_to_the_copy),
        TEST(an_orphan_in_doubt_marks_the_copy),
        TEST(what_asks_and_is_lost_by_its_source_is_not_sent),
        TEST(recording_goes_on_when_the_source_is_lost),
        TEST(a_failing_store_holds_the_source_with_its_reason),
        TEST(a_failing_store_that_is_passed_holds_nothing),
        TEST(a_drain_waits_for_the_records),
        TEST(a_stop_gives_all_ids_back),
        TEST(one_that_waits_for_another_owns_its_bytes),
        TEST(when_memory_runs_out_nothing_was_settled_early),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
