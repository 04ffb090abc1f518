/* core/dedup.h: shards against a state that the test holds in its hands, asked by one or more lanes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/dedup.h"
#include "fake_state.h"
#include "loop/loop.h"
#include "virtual_clock.h"

enum { SLOTS = 4096, LANES_MAX = 4, NOTHING = -1, WINDOW_MS = 60000 };

struct rig {
    struct bailey_host *loop;
    struct fake_state fake;
    struct dedup_group group;
    struct dedup_shard *shards[LANES_MAX];
    struct dedup_client *lanes[LANES_MAX];
    struct dedup_slot slots[SLOTS];
    int answers[SLOTS]; /* the last one */
    size_t answered, batches, trouble_changes;
    bool pass;
};

static struct rig rig;

static struct id id_number(uint64_t number)
{
    return id_of(&rig.fake.state.key, (struct bailey_bytes){(const uint8_t *)&number, sizeof number});
}

static void on_answer(void *ctx, struct dedup_slot *slot, enum dedup_answer answer)
{
    (void)ctx;
    rig.answers[slot - rig.slots] = (int)answer;
    rig.answered++;
}

static void on_answers_end(void *ctx)
{
    (void)ctx;
    rig.batches++;
}

static void on_trouble(void *ctx)
{
    (void)ctx;
    rig.trouble_changes++;
}

static void begin(unsigned lanes)
{
    rig.group = (struct dedup_group){.count = lanes, .shards = rig.shards};
    for (int i = 0; i < SLOTS; i++)
        rig.answers[i] = NOTHING;
    for (unsigned i = 0; i < lanes; i++) {
        dedup_shard_new(&(struct dedup_shard_options){
            .host = rig.loop,
            .route = "test",
            .group = &rig.group,
            .number = i,
            .state = &rig.fake.state,
            .window_ms = WINDOW_MS,
            .max = 100000,
            .pass_on_failure = rig.pass,
        });
        rig.lanes[i] = dedup_client_new(&(struct dedup_client_options){
            .host = rig.loop,
            .group = &rig.group,
            .number = i,
            .on_answer = on_answer,
            .on_answers_end = on_answers_end,
        });
    }
}

static void turn(void)
{
    for (int i = 0; i < 8; i++)
        loop_turn(rig.loop, 0);
}

static void wait_ms(int64_t ms)
{
    for (int64_t end = time_ms + ms; time_ms < end; time_ms += 10)
        loop_turn(rig.loop, 0);
    turn();
}

static void end(void)
{
    rig.fake.holds = false;
    fake_state_release(&rig.fake);
    turn();
    for (unsigned i = 0; i < rig.group.count; i++) {
        dedup_client_free(rig.lanes[i]);
        dedup_shard_free(rig.shards[i]);
    }
}

/* The process ends, and begins anew with the same state. */
static void restart(unsigned lanes)
{
    rig.fake.commits_waiting = rig.fake.lookups_waiting = 0; /* let go of, without an answer */
    for (unsigned i = 0; i < rig.group.count; i++) {
        dedup_client_free(rig.lanes[i]);
        dedup_shard_free(rig.shards[i]);
    }
    begin(lanes);
    turn();
}

static int set_up(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig.loop = loop_new(&(struct loop_options){.seed = 7}, NULL);
    fake_state_init(&rig.fake, true);
    return rig.loop == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    end();
    loop_free(rig.loop);
    return 0;
}

/* Slot `slot` of lane `lane` asks for the id `number`. */
static void ask(unsigned lane, int slot, uint64_t number)
{
    rig.answers[slot] = NOTHING;
    rig.slots[slot].id = id_number(number);
    if (dedup_ask(rig.lanes[lane], &rig.slots[slot]))
        rig.answers[slot] = DEDUP_GO;
    dedup_flush(rig.lanes[lane]);
}

static void finish_as(unsigned lane, int slot, enum id_outcome outcome)
{
    rig.answers[slot] = NOTHING;
    dedup_finish(rig.lanes[lane], &rig.slots[slot], outcome);
    dedup_flush(rig.lanes[lane]);
}

static void finish(unsigned lane, int slot)
{
    finish_as(lane, slot, ID_CONFIRMED);
}

static void withdraw(unsigned lane, int slot, bool in_doubt)
{
    rig.answers[slot] = NOTHING;
    dedup_withdraw(rig.lanes[lane], &rig.slots[slot], in_doubt);
    dedup_flush(rig.lanes[lane]);
}

static void expect(int slot, int answer)
{
    turn();
    assert_int_equal(rig.answers[slot], answer);
}

/* ---- One lane ---- */

static void a_new_id_goes_after_its_intent_and_settles_after_its_record(void **state)
{
    (void)state;
    begin(1);
    turn();
    rig.fake.holds = true;
    ask(0, 0, 1);
    expect(0, NOTHING); /* the intent is on its way */
    assert_int_equal(rig.fake.commits_waiting, 1);
    fake_state_release(&rig.fake);
    expect(0, DEDUP_GO);
    assert_true(fake_state_has_intent(&rig.fake, id_number(1)));
    finish(0, 0);
    expect(0, NOTHING);
    fake_state_release(&rig.fake);
    expect(0, DEDUP_RECORDED);
    assert_true(fake_state_has_record(&rig.fake, id_number(1)));
    assert_false(fake_state_has_intent(&rig.fake, id_number(1)));
    assert_int_equal(rig.fake.lookups, 0); /* the filter knew that it is new */
}

static void a_recorded_id_is_a_duplicate(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    finish(0, 0);
    expect(0, DEDUP_RECORDED);
    ask(0, 1, 1);
    expect(1, DEDUP_DUPLICATE);
    ask(0, 2, 2);
    expect(2, DEDUP_GO);
    withdraw(0, 2, false);
    expect(2, DEDUP_WITHDRAWN);
}

/* In the dead letters, or in the schedule: a copy has nothing to add, now and after a restart. */
static void whatever_an_id_came_to_a_copy_is_a_duplicate(void **state)
{
    static const enum id_outcome outcomes[] = {ID_CONFIRMED, ID_DEAD, ID_WAITING};

    (void)state;
    begin(1);
    for (int i = 0; i < 3; i++) {
        ask(0, i, (uint64_t)i);
        expect(i, DEDUP_GO);
        finish_as(0, i, outcomes[i]);
        expect(i, DEDUP_RECORDED);
        assert_int_equal(rig.fake.records[i].found.outcome, outcomes[i]);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            ask(0, 3 + i, (uint64_t)i);
            expect(3 + i, DEDUP_DUPLICATE);
        }
        restart(1);
    }
}

static void copies_of_one_in_flight_get_its_outcome(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    ask(0, 1, 1);
    expect(0, DEDUP_GO);
    ask(0, 2, 1);
    expect(1, DEDUP_FOLLOWS);
    expect(2, DEDUP_FOLLOWS);
    rig.fake.holds = true;
    finish(0, 0);
    turn();
    ask(0, 3, 1); /* while it is being recorded */
    expect(3, DEDUP_FOLLOWS);
    fake_state_release(&rig.fake);
    expect(0, DEDUP_RECORDED);
    for (int slot = 1; slot <= 3; slot++)
        expect(slot, DEDUP_DUPLICATE);
}

static void a_copy_goes_in_the_place_of_one_that_is_withdrawn(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    ask(0, 1, 1);
    ask(0, 2, 1);
    expect(0, DEDUP_GO);
    withdraw(0, 0, false);
    expect(0, DEDUP_WITHDRAWN);
    expect(1, DEDUP_GO); /* nothing was sent */
    withdraw(0, 1, true);
    expect(1, DEDUP_WITHDRAWN);
    expect(2, DEDUP_GO_MARKED); /* the sink may have it */
    finish(0, 2);
    expect(2, DEDUP_RECORDED);
}

static void a_follower_can_be_withdrawn(void **state)
{
    (void)state;
    begin(1);
    for (int slot = 0; slot < 4; slot++)
        ask(0, slot, 1);
    turn();
    withdraw(0, 2, false); /* from the middle, and from the end */
    withdraw(0, 3, false);
    expect(2, DEDUP_WITHDRAWN);
    expect(3, DEDUP_WITHDRAWN);
    ask(0, 4, 1);
    turn();
    withdraw(0, 0, false);
    expect(1, DEDUP_GO);
    finish(0, 1);
    expect(1, DEDUP_RECORDED);
    expect(4, DEDUP_DUPLICATE);
    expect(2, DEDUP_WITHDRAWN);
}

static void what_was_not_sent_leaves_nothing(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    withdraw(0, 0, false);
    expect(0, DEDUP_WITHDRAWN);
    assert_false(fake_state_has_intent(&rig.fake, id_number(1)));
    ask(0, 1, 1);
    expect(1, DEDUP_GO);
    withdraw(0, 1, false);
    turn();
}

static void what_is_in_doubt_is_marked_when_it_comes_again(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    withdraw(0, 0, true);
    expect(0, DEDUP_WITHDRAWN);
    assert_true(fake_state_has_intent(&rig.fake, id_number(1)));
    ask(0, 1, 1);
    ask(0, 2, 1);
    expect(1, DEDUP_GO_MARKED);
    withdraw(0, 1, false); /* not sent this time: it is in doubt all the same */
    expect(2, DEDUP_GO_MARKED);
    finish(0, 2);
    expect(2, DEDUP_RECORDED);
    assert_false(fake_state_has_intent(&rig.fake, id_number(1)));
}

/* Withdrawn at each stage, with and without a follower; and crossing with an answer. */
static void withdrawing_is_answered_at_every_stage(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    finish(0, 0);
    expect(0, DEDUP_RECORDED);
    rig.fake.holds = true;

    ask(0, 1, 1); /* looking */
    turn();
    assert_int_equal(rig.fake.lookups_waiting, 1);
    withdraw(0, 1, false);
    expect(1, DEDUP_WITHDRAWN);
    ask(0, 2, 1); /* it is still being looked up */
    fake_state_release(&rig.fake);
    expect(2, DEDUP_DUPLICATE);

    ask(0, 3, 2); /* intending */
    turn();
    withdraw(0, 3, false);
    expect(3, DEDUP_WITHDRAWN);
    ask(0, 4, 2);
    fake_state_release(&rig.fake);
    expect(4, DEDUP_GO);

    finish(0, 4); /* recording */
    turn();
    withdraw(0, 4, true);
    expect(4, DEDUP_WITHDRAWN);
    ask(0, 5, 2);
    fake_state_release(&rig.fake);
    expect(5, DEDUP_DUPLICATE);

    ask(0, 6, 3); /* intending, and nobody follows */
    turn();
    withdraw(0, 6, false);
    fake_state_release(&rig.fake);
    expect(6, DEDUP_WITHDRAWN);
    fake_state_release(&rig.fake);
    turn();
    assert_false(fake_state_has_intent(&rig.fake, id_number(3)));

    rig.fake.holds = false;
    ask(0, 7, 1);           /* a duplicate ... */
    loop_turn(rig.loop, 0); /* ... which the shard knows by now, perhaps */
    withdraw(0, 7, false);
    expect(7, DEDUP_WITHDRAWN); /* the last word, whatever crossed with it */
}

/* ---- The window ---- */

static void after_the_window_an_id_is_new(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    finish(0, 0);
    expect(0, DEDUP_RECORDED);
    wait_ms(WINDOW_MS - 5000);
    ask(0, 1, 1);
    expect(1, DEDUP_DUPLICATE);
    wait_ms(5000 + 100);
    ask(0, 2, 1); /* the record is there yet; it is too old */
    expect(2, DEDUP_GO);
    finish(0, 2);
    expect(2, DEDUP_RECORDED);
    assert_true(rig.fake.expire_ms > 0);
}

static void the_store_is_told_what_has_expired(void **state)
{
    int64_t recorded_ms;

    (void)state;
    begin(1);
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    finish(0, 0);
    expect(0, DEDUP_RECORDED);
    recorded_ms = time_ms + rig.fake.state.clock_ms;
    wait_ms(WINDOW_MS / 2);
    assert_in_range(rig.fake.expire_ms, recorded_ms - WINDOW_MS, recorded_ms);
    wait_ms(WINDOW_MS); /* without any message */
    assert_true(rig.fake.expire_ms > recorded_ms);
}

static void a_doubt_ends_with_the_window(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    withdraw(0, 0, true);
    turn();
    wait_ms(WINDOW_MS + WINDOW_MS / 8);
    assert_false(fake_state_has_intent(&rig.fake, id_number(1)));
    ask(0, 1, 1);
    expect(1, DEDUP_GO);
    withdraw(0, 1, false);
    turn();
}

/* ---- Restarts ---- */

static void after_a_restart_exactly_what_was_in_doubt_is_marked(void **state)
{
    (void)state;
    begin(1);
    ask(0, 0, 1);
    ask(0, 1, 2);
    ask(0, 2, 3);
    turn();
    finish(0, 0); /* 1: recorded. 2: sent. 3: confirmed, and its record is lost */
    expect(0, DEDUP_RECORDED);
    rig.fake.holds = true;
    finish(0, 2);
    turn();
    restart(1);
    rig.fake.holds = false;
    for (int slot = 0; slot < 4; slot++)
        ask(0, slot, (uint64_t)slot + 1);
    expect(0, DEDUP_DUPLICATE);
    expect(1, DEDUP_GO_MARKED);
    expect(2, DEDUP_GO_MARKED);
    expect(3, DEDUP_GO); /* was never asked for */
    for (int slot = 1; slot < 4; slot++) {
        finish(0, slot);
        expect(slot, DEDUP_RECORDED);
    }
    assert_int_equal(rig.fake.intent_count, 0);
}

static void more_lanes_after_a_restart_know_the_same(void **state)
{
    enum { IDS = 100 };

    (void)state;
    begin(1);
    for (int i = 0; i < 2 * IDS; i++)
        ask(0, i, (uint64_t)i);
    turn();
    for (int i = 0; i < IDS; i++)
        finish(0, i);
    turn();
    restart(3);
    for (int i = 0; i < 2 * IDS; i++)
        ask((unsigned)i % 3, i, (uint64_t)i);
    for (int i = 0; i < 2 * IDS; i++)
        expect(i, i < IDS ? DEDUP_DUPLICATE : DEDUP_GO_MARKED);
    for (int i = IDS; i < 2 * IDS; i++)
        withdraw((unsigned)i % 3, i, false);
    turn();
}

static void mail_that_comes_before_the_load_waits(void **state)
{
    (void)state;
    rig.fake.holds_loads = true;
    begin(1);
    assert_string_equal(dedup_shard_trouble(rig.shards[0]), "reads the ids of an earlier run");
    ask(0, 0, 1);
    ask(0, 1, 2);
    withdraw(0, 1, false);
    expect(0, NOTHING);
    fake_state_load(&rig.fake);
    expect(0, DEDUP_GO);
    expect(1, DEDUP_WITHDRAWN);
    assert_string_equal(dedup_shard_trouble(rig.shards[0]), "");
    withdraw(0, 0, false);
    turn();
}

/* ---- Several lanes ---- */

static void two_copies_on_two_lanes_give_one(void **state)
{
    enum { IDS = 200 };

    (void)state;
    begin(4);
    for (int i = 0; i < IDS; i++) {
        ask((unsigned)i % 4, 2 * i, (uint64_t)i);
        ask((unsigned)(i / 4) % 4, 2 * i + 1, (uint64_t)i);
    }
    turn();
    for (int i = 0; i < IDS; i++) {
        int first = rig.answers[2 * i] == DEDUP_GO ? 2 * i : 2 * i + 1, other = 4 * i + 1 - first;

        assert_int_equal(rig.answers[first], DEDUP_GO);
        assert_int_equal(rig.answers[other], DEDUP_FOLLOWS);
        finish(first == 2 * i ? (unsigned)i % 4 : (unsigned)(i / 4) % 4, first);
        expect(first, DEDUP_RECORDED);
        expect(other, DEDUP_DUPLICATE);
    }
}

/* ---- A store that fails ---- */

static void a_store_that_fails_stops_and_goes_on_by_itself(void **state)
{
    (void)state;
    begin(1);
    turn();
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    dedup_shard_watch(rig.shards[0], on_trouble, NULL);
    rig.fake.fails_commits = true;
    finish(0, 0);
    ask(0, 1, 2);
    wait_ms(5000);
    expect(0, NOTHING);
    expect(1, NOTHING);
    assert_string_equal(dedup_shard_trouble(rig.shards[0]), "no space left");
    assert_int_equal(rig.trouble_changes, 1);
    assert_in_range(rig.fake.commits, 4, 10); /* once a second, not more */
    rig.fake.fails_commits = false;
    wait_ms(1500);
    expect(0, DEDUP_RECORDED);
    expect(1, DEDUP_GO);
    assert_string_equal(dedup_shard_trouble(rig.shards[0]), "");
    assert_int_equal(rig.trouble_changes, 2);

    rig.fake.fails_lookups = true;
    ask(0, 2, 1);
    wait_ms(3000);
    expect(2, NOTHING);
    assert_string_equal(dedup_shard_trouble(rig.shards[0]), "input/output error");
    rig.fake.fails_lookups = false;
    wait_ms(1500);
    expect(2, DEDUP_DUPLICATE);
    finish(0, 1);
    turn();
}

static void a_store_that_is_silent_is_shown(void **state)
{
    (void)state;
    begin(1);
    turn();
    rig.fake.holds = true;
    ask(0, 0, 1);
    wait_ms(7000);
    assert_string_equal(dedup_shard_trouble(rig.shards[0]), "it gives no answer");
    fake_state_release(&rig.fake);
    expect(0, DEDUP_GO);
    assert_string_equal(dedup_shard_trouble(rig.shards[0]), "");
    rig.fake.holds = false;
    finish(0, 0);
    turn();
}

static void passing_marks_what_goes_without_the_store(void **state)
{
    (void)state;
    rig.pass = true;
    begin(1);
    ask(0, 0, 1);
    expect(0, DEDUP_GO);
    finish(0, 0);
    expect(0, DEDUP_RECORDED);
    rig.fake.fails_commits = rig.fake.fails_lookups = true;
    ask(0, 1, 2);
    expect(1, DEDUP_GO_MARKED);
    ask(0, 2, 1); /* cannot be looked up */
    expect(2, DEDUP_GO_MARKED);
    finish(0, 1);
    expect(1, DEDUP_RECORDED); /* is at the sink; nothing can be recorded */
    finish(0, 2);
    expect(2, DEDUP_RECORDED);
    wait_ms(4000);
    assert_in_range(rig.fake.commits + rig.fake.lookups, 2, 20); /* it is not asked for each message */
    rig.fake.fails_commits = rig.fake.fails_lookups = false;
    wait_ms(2000);
    assert_string_equal(dedup_shard_trouble(rig.shards[0]), "");
    ask(0, 3, 1);
    expect(3, DEDUP_DUPLICATE);
    ask(0, 4, 3);
    expect(4, DEDUP_GO);
    finish(0, 4);
    expect(4, DEDUP_RECORDED);
}

/* ---- In memory ---- */

static void a_store_in_memory_needs_no_intents(void **state)
{
    (void)state;
    fake_state_init(&rig.fake, false);
    begin(1);
    turn();
    rig.fake.holds = true;
    ask(0, 0, 1);
    expect(0, DEDUP_GO); /* at once */
    withdraw(0, 0, true);
    ask(0, 1, 1);
    expect(1, DEDUP_GO_MARKED);
    finish(0, 1);
    expect(1, NOTHING);
    fake_state_release(&rig.fake);
    expect(1, DEDUP_RECORDED);
    assert_int_equal(rig.fake.commits, 1);
}

static void a_store_in_memory_is_looked_into_at_once(void **state)
{
    (void)state;
    fake_state_init(&rig.fake, false);
    begin(1);
    turn();
    ask(0, 0, 1);
    assert_int_equal(rig.answers[0], DEDUP_GO); /* without a turn */
    finish(0, 0);
    expect(0, DEDUP_RECORDED);
    ask(0, 1, 1);
    expect(1, DEDUP_DUPLICATE);
    assert_int_equal(rig.fake.peeks, 1);
    assert_int_equal(rig.fake.lookups, 0);
    wait_ms(WINDOW_MS + 100);
    ask(0, 2, 1);
    assert_int_equal(rig.answers[2], DEDUP_GO);
    finish(0, 2);
    expect(2, DEDUP_RECORDED);

    rig.fake.fails_lookups = true; /* then it is asked until it answers */
    ask(0, 3, 1);
    expect(3, NOTHING);
    rig.fake.fails_lookups = false;
    wait_ms(2000);
    expect(3, DEDUP_DUPLICATE);
    assert_true(rig.fake.lookups > 0);
}

/* ---- Load ---- */

static void batches_are_shared(void **state)
{
    enum { IDS = 1000 };

    (void)state;
    begin(1);
    turn();
    for (int i = 0; i < IDS; i++) {
        rig.slots[i].id = id_number((uint64_t)i);
        dedup_ask(rig.lanes[0], &rig.slots[i]);
    }
    dedup_flush(rig.lanes[0]);
    expect(IDS - 1, DEDUP_GO);
    for (int i = 0; i < IDS; i++)
        dedup_finish(rig.lanes[0], &rig.slots[i], ID_CONFIRMED);
    dedup_flush(rig.lanes[0]);
    for (int i = 0; i < IDS; i++)
        expect(i, DEDUP_RECORDED);
    assert_in_range(rig.fake.commits, 2, 12);
    assert_in_range(rig.batches, 2, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_new_id_goes_after_its_intent_and_settles_after_its_record),
        TEST(a_recorded_id_is_a_duplicate),
        TEST(whatever_an_id_came_to_a_copy_is_a_duplicate),
        TEST(copies_of_one_in_flight_get_its_outcome),
        TEST(a_copy_goes_in_the_place_of_one_that_is_withdrawn),
        TEST(a_follower_can_be_withdrawn),
        TEST(what_was_not_sent_leaves_nothing),
        TEST(what_is_in_doubt_is_marked_when_it_comes_again),
        TEST(withdrawing_is_answered_at_every_stage),
        TEST(after_the_window_an_id_is_new),
        TEST(the_store_is_told_what_has_expired),
        TEST(a_doubt_ends_with_the_window),
        TEST(after_a_restart_exactly_what_was_in_doubt_is_marked),
        TEST(more_lanes_after_a_restart_know_the_same),
        TEST(mail_that_comes_before_the_load_waits),
        TEST(two_copies_on_two_lanes_give_one),
        TEST(a_store_that_fails_stops_and_goes_on_by_itself),
        TEST(a_store_that_is_silent_is_shown),
        TEST(passing_marks_what_goes_without_the_store),
        TEST(a_store_in_memory_needs_no_intents),
        TEST(a_store_in_memory_is_looked_into_at_once),
        TEST(batches_are_shared),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
