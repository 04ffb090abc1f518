/* ledger.c: a straight course of events passes; dropping, repeating, swapping or corrupting one of them does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger.h"
#include "message/pool.h"

enum { MESSAGES = 8, RECORDS_MAX = MESSAGES * 5, SINK = 3 };

enum what { RECEIVED, SENT, STORED, CONFIRMED, SETTLED, TOLD };

/* One record of what happened to message `number`. */
struct record {
    enum what what;
    uint32_t number;
    bool is_corrupt; /* a byte of it is another */
};

struct course {
    struct sim sim;
    struct ledger *ledger;
    struct shaping shaping;
    uint32_t slot;
    struct bailey_pool *pool;
    struct bailey_delivery deliveries[MESSAGES];
    struct record records[RECORDS_MAX * 2];
    size_t count;
};

static struct course course; /* not on the stack: read after a longjmp */

struct bailey_port; /* the only one there is: messages come from the pool of the test */

static void record(enum what what, uint32_t number)
{
    course.records[course.count++] = (struct record){.what = what, .number = number};
}

static int begin(void **state)
{
    (void)state;
    memory_drop(NULL);
    memset(&course, 0, sizeof course);
    course.ledger = course.sim.ledger = ledger_new(&course.sim);
    course.pool = message_pool_new();
    course.slot = ledger_add_slot(course.ledger, MESSAGES, 1 << 20, false, NO_SCOPE);
    ledger_lane_begins(course.ledger, course.slot, NULL, false, 0);
    ledger_source_opened(course.ledger, course.slot);
    ledger_sink_opened(course.ledger, course.slot);
    ledger_sink_is(course.ledger, course.slot, true);
    for (uint32_t i = 0; i < MESSAGES; i++)
        assert_int_equal(
            ledger_produced(course.ledger, NATURE_PLAIN, 50, &course.shaping, SINK, ledger_new_id(course.ledger)), i);
    for (uint32_t i = 0; i < MESSAGES; i++)
        record(RECEIVED, i);
    for (uint32_t i = 0; i < MESSAGES; i++)
        record(SENT, i);
    for (enum what what = STORED; what <= TOLD; what++)
        for (uint32_t i = 0; i < MESSAGES; i++)
            record(what, i);
    return 0;
}

static int end(void **state)
{
    (void)state;
    memory_drop(NULL);
    return 0;
}

/* ---- Playing the records ---- */

static struct bailey_message *message_of(uint32_t number, uint32_t handout)
{
    const struct content *content = ledger_content(course.ledger, number);
    struct bailey_message *msg = message_new(course.pool);
    struct bailey_header *headers = bailey_message_alloc(msg, 3 * sizeof *headers);

    headers[0] = (struct bailey_header){bailey_bytes_of("number"), {.kind = BAILEY_KIND_U32, .u64 = number}};
    headers[1] = (struct bailey_header){bailey_bytes_of("kind"),
                                        {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of(content->kind)}};
    headers[2] = (struct bailey_header){bailey_bytes_of("id"),
                                        {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of(content->id)}};
    msg->headers = headers;
    msg->header_count = 3;
    msg->key = content->has_key ? bailey_bytes_of(content->key) : BAILEY_NULL_BYTES;
    msg->body = bailey_message_copy(msg, content->body, content->len);
    msg->origin.offset = handout;
    return msg;
}

static void corrupt(struct bailey_message *msg)
{
    ((uint8_t *)(uintptr_t)msg->body.data)[msg->body.len - 1] ^= 1;
}

static void play(const struct record *what)
{
    struct ledger *ledger = course.ledger;
    struct bailey_delivery *delivery = &course.deliveries[what->number];
    struct bailey_settlement ended = {what->number, 1, what->is_corrupt ? BAILEY_REJECTED : BAILEY_ACCEPTED};
    uint64_t hash = content_expected(ledger_content(ledger, what->number), &course.shaping);

    switch (what->what) {
    case RECEIVED:
        delivery->message =
            message_of(what->number, ledger_received(ledger, course.slot, what->number, false, 1, what->number));
        if (what->is_corrupt)
            corrupt(delivery->message);
        break;
    case SENT:
        if (delivery->message == NULL)
            sim_fail(&course.sim, "not received");
        if (what->is_corrupt)
            corrupt(delivery->message);
        ledger_sent(ledger, course.slot, delivery);
        break;
    case STORED:
        ledger_stored(ledger, SINK, what->number, (uint32_t)delivery->message->origin.offset, hash ^ what->is_corrupt,
                      false);
        break;
    case CONFIRMED:
        if (what->is_corrupt)
            corrupt(delivery->message);
        ledger_confirmed(ledger, course.slot, delivery);
        break;
    case SETTLED:
        ledger_settled(ledger, course.slot, &ended);
        break;
    case TOLD:
        ledger_told(ledger, what->is_corrupt ? (what->number + 1) % MESSAGES : what->number);
        break;
    }
}

static bool passes(void)
{
    if (setjmp(course.sim.broken) != 0)
        return false;
    for (size_t i = 0; i < course.count; i++)
        play(&course.records[i]);
    return ledger_is_complete(course.ledger);
}

static void insert(size_t at, struct record what)
{
    memmove(course.records + at + 1, course.records + at, (course.count - at) * sizeof what);
    course.records[at] = what;
    course.count++;
}

/* ---- Tests ---- */

static void test_a_straight_course_passes(void **state)
{
    (void)state;
    assert_true(passes());
    assert_int_equal(course.ledger->done, MESSAGES);
    assert_int_equal(course.ledger->duplicates, 0);
}

static void test_each_dropped_record_is_missed(void **state)
{
    size_t count = course.count;

    for (size_t i = 0; i < count; i++) {
        begin(state);
        memmove(course.records + i, course.records + i + 1, (count - i - 1) * sizeof *course.records);
        course.count--;
        if (passes())
            fail_msg("without record %zu it passes", i);
    }
}

static void test_each_repeated_record_is_noticed(void **state)
{
    size_t count = course.count;

    for (size_t i = 0; i < count; i++) {
        begin(state);
        insert(i, course.records[i]);
        if (passes())
            fail_msg("with record %zu twice it passes", i);
    }
}

static void test_each_corrupt_record_is_noticed(void **state)
{
    size_t count = course.count;

    for (size_t i = 0; i < count; i++) {
        begin(state);
        course.records[i].is_corrupt = true;
        if (passes())
            fail_msg("with record %zu corrupt it passes", i);
    }
}

/* Order of sending, and of what happens to one message; not of confirms of different messages. */
static void test_swapped_records_are_noticed(void **state)
{
    for (size_t i = MESSAGES; i + 1 < MESSAGES * 2; i++) {
        begin(state);
        struct record kept = course.records[i];

        course.records[i] = course.records[i + 1];
        course.records[i + 1] = kept;
        if (passes())
            fail_msg("with message %zu sent before the one in front of it, it passes", i + 1 - MESSAGES);
    }
    for (enum what what = SENT; what <= TOLD; what++) {
        begin(state);
        size_t one = (size_t)(what - 1) * MESSAGES, two = (size_t)what * MESSAGES;
        struct record kept = course.records[one];

        if (what == TOLD) /* the broker knows it before the lane does: of the store it matters */
            one = (size_t)STORED * MESSAGES, kept = course.records[one];
        if (what == CONFIRMED || what == STORED)
            continue; /* a confirm that is early is seen when the source is told */
        course.records[one] = course.records[two];
        course.records[two] = kept;
        if (passes())
            fail_msg("with a record %d before its cause it passes", (int)what);
    }
}

static void test_a_second_copy_must_be_in_doubt_and_marked(void **state)
{
    (void)state;
    struct bailey_delivery *delivery = &course.deliveries[0];
    struct ledger *ledger = course.ledger;
    uint64_t hash = content_expected(ledger_content(ledger, 0), &course.shaping);

    for (size_t i = 0; i <= MESSAGES; i++)
        play(&course.records[i]); /* all received, the first is sent */
    if (setjmp(course.sim.broken) != 0)
        fail_msg("%s", course.sim.why);
    ledger_stored(ledger, SINK, 0, 1, hash, false);
    ledger_handed_back(ledger, course.slot, delivery, true);
    delivery->possible_duplicate = true;
    ledger_sink_opened(ledger, course.slot);
    ledger_sent(ledger, course.slot, delivery);
    ledger_stored(ledger, SINK, 0, 1, hash, true);
    assert_int_equal(ledger->duplicates, 1);
    assert_int_equal(ledger->marked, 1);
    if (setjmp(course.sim.broken) == 0) {
        ledger_stored(ledger, SINK, 0, 1, hash, true);
        fail_msg("a third copy passes");
    }
}

static void test_a_lost_mark_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i <= MESSAGES; i++)
        play(&course.records[i]);
    ledger_handed_back(course.ledger, course.slot, &course.deliveries[0], true);
    ledger_sink_opened(course.ledger, course.slot);
    if (setjmp(course.sim.broken) == 0) {
        ledger_sent(course.ledger, course.slot, &course.deliveries[0]);
        fail_msg("it passes unmarked");
    }
}

static void test_credit_is_a_limit(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGES; i++)
        play(&course.records[i]);
    if (setjmp(course.sim.broken) == 0) {
        ledger_received(course.ledger, course.slot, 0, false, 1, 100);
        fail_msg("one more than credit passes");
    }
}

static void test_what_is_taken_away_is_not_sent(void **state)
{
    (void)state;
    for (size_t i = 0; i <= MESSAGES; i++)
        play(&course.records[i]);
    ledger_revoked(course.ledger, course.slot, 1, 1);
    if (setjmp(course.sim.broken) == 0) {
        ledger_sent(course.ledger, course.slot, &course.deliveries[1]);
        fail_msg("it passes");
    }
    if (setjmp(course.sim.broken) == 0) {
        ledger_revoked(course.ledger, course.slot, 1, 0);
        fail_msg("a wrong count of what is out passes");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_straight_course_passes),        TEST(test_each_dropped_record_is_missed),
        TEST(test_each_repeated_record_is_noticed), TEST(test_each_corrupt_record_is_noticed),
        TEST(test_swapped_records_are_noticed),     TEST(test_a_second_copy_must_be_in_doubt_and_marked),
        TEST(test_a_lost_mark_is_noticed),          TEST(test_credit_is_a_limit),
        TEST(test_what_is_taken_away_is_not_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
