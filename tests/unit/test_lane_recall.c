/* core/recall.h, and a lane that remembers what was refused and comes again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/recall.h"
#include "lane_rig.h"
#include "virtual_clock.h"

enum { ATTEMPTS = 4, BACKOFF_MS = 1000 };

static struct lane_options remembering(void **state)
{
    struct lane_options options = lane_rig_options(*state);

    options.dead_letters = lane_rig_dead_letters(*state);
    options.retry =
        (struct lane_retry){.attempts = ATTEMPTS, .min_ms = BACKOFF_MS, .max_ms = BACKOFF_MS, .multiplier = 1};
    return options;
}

static struct lane_rig *start(void **state, enum bailey_order order)
{
    struct lane_options options = remembering(state);

    options.order = order;
    lane_rig_start(*state, &options);
    return *state;
}

/* With a body and an id of its own. */
static struct bailey_message *message(struct lane_rig *rig, uint64_t number, uint32_t group)
{
    struct bailey_message *msg = lane_rig_message(rig, number, 3);
    char id[16];

    snprintf(id, sizeof id, "%u", (unsigned)number);
    msg->message_id = bailey_message_copy(msg, id, strlen(id));
    msg->key = bailey_message_copy(msg, "k", 1);
    msg->group = group;
    msg->redelivered = group > 1;
    return msg;
}

static void push(struct lane_rig *rig, uint64_t number, uint32_t group)
{
    struct bailey_message *msg = message(rig, number, group);

    bailey_receive(rig->source, &msg, 1);
    lane_rig_settle_down(rig);
}

static void wait_ms(struct lane_rig *rig, int64_t ms)
{
    time_ms += ms;
    lane_rig_settle_down(rig);
}

static void refuse(struct lane_rig *rig, uint64_t number)
{
    lane_rig_refuse(rig, number, BAILEY_ERR_TRANSIENT);
    lane_rig_settle_down(rig);
}

static void assert_dead_after(const struct lane_rig *rig, const char *attempts)
{
    assert_int_equal(rig->dead_count, 1);
    const struct bailey_header *header =
        bailey_message_header(rig->dead_held[0]->message, bailey_bytes_of("bailey-dlq-attempts"));

    assert_non_null(header);
    assert_true(bailey_bytes_is(header->value.bytes, attempts));
}

/* ---- A lane ---- */

static void attempts_are_counted_over_handing_back(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_NONE);

    push(rig, 0, 1);
    for (uint32_t group = 1; group < ATTEMPTS; group++) { /* once refused in each life of the channel */
        refuse(rig, 0);
        bailey_revoke(rig->source, group);
        push(rig, 0, group + 1);
        wait_ms(rig, BACKOFF_MS);
        assert_int_equal(rig->held[0]->attempts, group);
    }
    refuse(rig, 0);
    assert_dead_after(rig, "4");
    lane_rig_bury(rig, 0);
    assert_int_equal(rig->settled[0][BAILEY_ACCEPTED], 1);
}

static void attempts_are_counted_over_a_lost_connection(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_NONE);

    push(rig, 0, 1);
    for (int i = 0; i < ATTEMPTS - 1; i++) {
        refuse(rig, 0);
        wait_ms(rig, BACKOFF_MS);
    }
    unsigned opens = rig->source_opens;

    lane_rig_lose(rig->source); /* while it is out; what becomes of that one is nobody's business any more */
    UNTIL(rig->loop, rig->source_opens > opens);
    lane_rig_settle_down(rig);
    refuse(rig, 0);
    push(rig, 0, 1);
    assert_int_equal(rig->held[0]->attempts, ATTEMPTS - 1);
    refuse(rig, 0);
    assert_dead_after(rig, "4");
    lane_rig_bury(rig, 0);
}

static void what_comes_again_waits_for_the_rest_of_its_backoff(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_NONE);

    push(rig, 0, 1);
    refuse(rig, 0);
    wait_ms(rig, BACKOFF_MS / 4);
    bailey_revoke(rig->source, 1);
    assert_int_equal(rig->status.waiting, 0);
    push(rig, 0, 2);
    push(rig, 1, 2);
    lane_rig_assert_held(rig, 1, (uint64_t[]){1}); /* nothing is known of that one */
    assert_int_equal(rig->status.waiting, 1);
    wait_ms(rig, BACKOFF_MS / 2);
    lane_rig_assert_held(rig, 1, (uint64_t[]){1});
    bailey_revoke(rig->source, 2);
    push(rig, 0, 3);
    wait_ms(rig, BACKOFF_MS / 4 - 1);
    lane_rig_assert_held(rig, 1, (uint64_t[]){1});
    wait_ms(rig, 1);
    lane_rig_assert_held(rig, 2, (uint64_t[]){1, 0});
    lane_rig_confirm_all(rig);
    assert_int_equal(rig->status.waiting, 0);
}

static void an_order_holds_over_handing_back(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, 1);
    push(rig, 1, 1);
    refuse(rig, 0);
    bailey_revoke(rig->source, 1);
    push(rig, 0, 2);
    push(rig, 1, 2);
    lane_rig_assert_held(rig, 0, NULL);
    assert_int_equal(rig->status.held, 1);
    wait_ms(rig, BACKOFF_MS);
    lane_rig_assert_held(rig, 1, (uint64_t[]){0});
    lane_rig_confirm(rig, 0);
    lane_rig_settle_down(rig);
    lane_rig_assert_held(rig, 1, (uint64_t[]){1});
    lane_rig_confirm_all(rig);
}

static void a_drain_does_not_wait_for_a_rest(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_KEY);

    push(rig, 0, 1);
    refuse(rig, 0);
    bailey_revoke(rig->source, 1);
    bailey_held(rig->sink, "busy");
    push(rig, 0, 2);
    push(rig, 1, 2);
    lane_drain(rig->lane);
    bailey_up(rig->sink);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->ended, 1);
    assert_int_equal(rig->sent, 1);
    assert_int_equal(rig->settled[0][BAILEY_RELEASED], 1);
    assert_int_equal(rig->settled[1][BAILEY_RELEASED], 1);
}

static void what_was_a_dead_letter_is_tried_once_more(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_NONE);

    rig->dead_manual = true;
    lane_rig_lose(rig->dead);
    UNTIL(rig->loop, rig->dead != NULL && rig->status.restarts > 0);
    push(rig, 0, 1);
    for (int i = 0; i < ATTEMPTS; i++) {
        refuse(rig, 0);
        wait_ms(rig, BACKOFF_MS);
    }
    assert_int_equal(rig->status.dead, 1);
    bailey_revoke(rig->source, 1);
    push(rig, 0, 2);
    assert_int_equal(rig->held[0]->attempts, ATTEMPTS); /* at once */
    refuse(rig, 0);
    UNTIL(rig->loop, rig->dead != NULL);
    bailey_up(rig->dead);
    lane_rig_settle_down(rig);
    assert_dead_after(rig, "5");
    lane_rig_bury(rig, 0);
}

static void what_blocks_its_lane_is_tried_at_once(void **state)
{
    struct lane_options options = remembering(state);

    options.dead_letters = NULL;
    lane_rig_start(*state, &options);
    struct lane_rig *rig = *state;

    push(rig, 0, 1);
    lane_rig_refuse(rig, 0, BAILEY_ERR_PERMANENT);
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_BLOCKED);
    bailey_revoke(rig->source, 1);
    lane_rig_settle_down(rig);
    assert_int_equal(lane_rig_state(rig), LANE_RUNNING);
    push(rig, 0, 2);
    lane_rig_assert_held(rig, 1, (uint64_t[]){0});
    assert_int_equal(rig->held[0]->attempts, 1);
    lane_rig_confirm(rig, 0);
}

static void what_is_settled_is_not_remembered(void **state)
{
    struct lane_rig *rig = start(state, BAILEY_ORDER_NONE);

    push(rig, 0, 1);
    refuse(rig, 0);
    wait_ms(rig, BACKOFF_MS);
    lane_rig_confirm(rig, 0);
    bailey_revoke(rig->source, 1);
    push(rig, 0, 2);
    assert_int_equal(rig->held[0]->attempts, 0);
    lane_rig_confirm(rig, 0);
}

/* ---- What it is known by ---- */

static struct recall_note note_of(uint64_t mark, uint32_t attempts)
{
    return (struct recall_note){.mark = mark, .attempts = attempts};
}

static struct recall *fresh(struct lane_rig *rig, size_t most)
{
    struct lane_options options = remembering((void *[]){rig});

    lane_rig_start(rig, &options);
    return recall_new(rig->loop, most);
}

static void a_position_names_a_message(void **state)
{
    struct lane_rig *rig = *state;
    struct recall *recall = fresh(rig, 10);
    struct bailey_message *one = message(rig, 0, 1), *other = message(rig, 1, 1);

    one->origin.topic = other->origin.topic = bailey_bytes_of("t");
    one->origin.offset = other->origin.offset = 7;
    one->origin.partition = other->origin.partition = 2;
    assert_int_equal(recall_mark(recall, one, true), recall_mark(recall, other, true));
    other->origin.offset = 8;
    assert_int_not_equal(recall_mark(recall, one, true), recall_mark(recall, other, true));
    other->origin.offset = 7;
    other->origin.partition = 3;
    assert_int_not_equal(recall_mark(recall, one, true), recall_mark(recall, other, true));
    bailey_message_unref(one);
    bailey_message_unref(other);
    recall_free(recall);
}

#define DIFFERS(change)                                              \
    do {                                                             \
        struct bailey_message *other = message(rig, 0, 2);           \
        assert_int_equal(recall_mark(recall, other, true), its);     \
        change;                                                      \
        assert_int_not_equal(recall_mark(recall, other, true), its); \
        bailey_message_unref(other);                                 \
    } while (0)

static void else_all_that_a_broker_does_not_change_does(void **state)
{
    struct lane_rig *rig = *state;
    struct recall *recall = fresh(rig, 10);
    struct bailey_message *one = message(rig, 0, 1);
    uint64_t its = recall_mark(recall, one, true);
    struct bailey_header text = {bailey_bytes_of("kind"), {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("a")}};
    struct bailey_header count = {bailey_bytes_of("x-delivery-count"),
                                  {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("1")}};
    struct bailey_header number = {bailey_bytes_of("deliveries"), {.kind = BAILEY_KIND_I64, .i64 = 1}};

    DIFFERS(other->body = bailey_bytes_of("c"));
    DIFFERS(other->body = BAILEY_NULL_BYTES);
    DIFFERS(other->key = bailey_bytes_of("l"));
    DIFFERS(other->message_id = bailey_bytes_of("z"));
    DIFFERS(other->correlation_id = bailey_bytes_of("z"));
    DIFFERS(other->origin.routing_key = bailey_bytes_of("z"));
    DIFFERS(other->origin.destination = bailey_bytes_of("z"));
    DIFFERS((other->timestamp_kind = BAILEY_TIMESTAMP_CREATE, other->timestamp_ms = 1));
    DIFFERS((other->headers = &text, other->header_count = 1));
    one->headers = &count;
    one->header_count = 1;
    assert_int_equal(recall_mark(recall, one, true), its);
    one->headers = &number;
    assert_int_equal(recall_mark(recall, one, true), its);
    bailey_message_unref(one);
    recall_free(recall);
}

/* ---- How much is remembered ---- */

static void the_oldest_is_forgotten_first(void **state)
{
    struct recall *recall = fresh(*state, 10);
    struct recall_note note;

    for (uint64_t i = 0; i < 65; i++)                                              /* one more than there is room for */
        recall_keep(recall, &(struct recall_note){.mark = i * 64, .attempts = 1}); /* in one chain */
    assert_false(recall_take(recall, 0, &note));
    for (uint64_t i = 65; i-- > 1;)
        assert_true(recall_take(recall, i * 64, &note));
    assert_false(recall_has_some(recall));
    recall_free(recall);
}

static void it_is_forgotten_after_an_hour(void **state)
{
    struct recall *recall = fresh(*state, 10);
    struct recall_note note = note_of(1, 1);

    recall_keep(recall, &note);
    wait_ms(*state, RECALL_MS / 2);
    note = note_of(2, 1);
    recall_keep(recall, &note);
    wait_ms(*state, RECALL_MS / 2);
    assert_false(recall_take(recall, 1, &note));
    assert_true(recall_take(recall, 2, &note));
    assert_false(recall_has_some(recall));
    recall_free(recall);
}

static void of_two_that_are_alike_the_larger_count_is_kept(void **state)
{
    struct recall *recall = fresh(*state, 10);
    struct recall_note note;

    for (uint32_t attempts = 1; attempts <= 3; attempts++) {
        note = note_of(1, attempts % 3 + 1);
        recall_keep(recall, &note);
    }
    assert_true(recall_take(recall, 1, &note));
    assert_int_equal(note.attempts, 3);
    assert_false(recall_take(recall, 1, &note));
    recall_free(recall);
}

/* Beside a list of them, over many rounds of the ring. */
static void it_agrees_with_a_list(void **state)
{
    enum { MARKS = 150, ROOM = 64 };
    struct recall *recall = fresh(*state, ROOM);
    bool is_kept[MARKS] = {false};
    uint64_t seed = 11;
    size_t kept = 0;

    for (int step = 0; step < 20000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint64_t mark = (seed >> 33) % MARKS;
        struct recall_note note = note_of(mark, 1);

        if (is_kept[mark]) {
            assert_true(recall_take(recall, mark, &note));
            assert_int_equal(note.mark, mark);
            is_kept[mark] = false;
            kept--;
        } else if (kept < ROOM / 4) { /* so few that gaps, and not they, are what is forgotten */
            assert_false(recall_take(recall, mark, &note));
            recall_keep(recall, &note);
            is_kept[mark] = true;
            kept++;
        } else {
            for (uint64_t any = 0; any < MARKS; any++)
                if (is_kept[any])
                    is_kept[any] = !recall_take(recall, any, &note);
            kept = 0;
        }
        assert_int_equal(recall_has_some(recall), kept > 0);
    }
    recall_free(recall);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lane_rig_new, lane_rig_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(attempts_are_counted_over_handing_back),
        TEST(attempts_are_counted_over_a_lost_connection),
        TEST(what_comes_again_waits_for_the_rest_of_its_backoff),
        TEST(an_order_holds_over_handing_back),
        TEST(a_drain_does_not_wait_for_a_rest),
        TEST(what_was_a_dead_letter_is_tried_once_more),
        TEST(what_blocks_its_lane_is_tried_at_once),
        TEST(what_is_settled_is_not_remembered),
        TEST(a_position_names_a_message),
        TEST(else_all_that_a_broker_does_not_change_does),
        TEST(the_oldest_is_forgotten_first),
        TEST(it_is_forgotten_after_an_hour),
        TEST(of_two_that_are_alike_the_larger_count_is_kept),
        TEST(it_agrees_with_a_list),
    };

    return cmocka_run_group_tests_name("remembered refusals", tests, NULL, NULL);
}
