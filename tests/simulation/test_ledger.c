/* ledger.c: a straight course of events passes; dropping, repeating, swapping or corrupting one of them does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger.h"
#include "message/pool.h"

enum { MESSAGES = 8, RECORDS_MAX = MESSAGES * 8, SINK = 3, WINDOW_MS = 1000, NOW_MS = 5000 };

enum what { RECEIVED, INTENDED, SENT, STORED, CONFIRMED, RECORDED, SETTLED, TOLD };

/* One record of what happened to message `number`. */
struct record {
    enum what what;
    uint32_t number;
    bool is_corrupt; /* a byte of it is another */
};

struct course {
    bool dedups;
    struct kept kept[MESSAGES]; /* by the id's number, which is that of the first message with it */
    struct sim sim;
    struct ledger *ledger;
    struct shaping shaping;
    struct lane_options options;
    int64_t wall_ms;
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

static struct kept *find_kept(void *ctx, const char *id)
{
    (void)ctx;
    return &course.kept[strtoul(id + strlen("id"), NULL, 10)];
}

static uint32_t add_scope(void)
{
    uint32_t scope = ledger_add_scope(
        course.ledger,
        &(struct ledger_scope){.window_ms = WINDOW_MS, .max = MESSAGES, .is_durable = true, .find = find_kept});

    for (uint32_t i = 0; i < MESSAGES; i++)
        course.kept[i] = (struct kept){.id.word[0] = i, .number = NO_ID, .record_ms = -1, .intent_ms = -1};
    ledger_scope_begins(course.ledger, scope, 1, 0);
    return scope;
}

static void begin_course(bool dedups)
{
    memory_drop(NULL);
    memset(&course, 0, sizeof course);
    course.dedups = course.shaping.dedups = dedups;
    course.sim.now_ms = NOW_MS;
    course.ledger = course.sim.ledger = ledger_new(&course.sim);
    course.pool = message_pool_new();
    course.slot = ledger_add_slot(course.ledger, MESSAGES, 1 << 20, false, dedups ? add_scope() : NO_SCOPE);
    ledger_lane_begins(course.ledger, course.slot, &course.options, false, &course.wall_ms);
    ledger_source_opened(course.ledger, course.slot);
    for (enum outlet outlet = TO_SINK; outlet < OUTLETS; outlet++) {
        ledger_sink_opened(course.ledger, course.slot, outlet);
        ledger_sink_is(course.ledger, course.slot, outlet, true);
    }
    for (uint32_t i = 0; i < MESSAGES; i++)
        assert_int_equal(
            ledger_produced(course.ledger, NATURE_PLAIN, 50, &course.shaping, SINK, ledger_new_id(course.ledger)), i);
    for (enum what what = RECEIVED; what <= TOLD; what++)
        for (uint32_t i = 0; i < MESSAGES; i++)
            if (dedups || (what != INTENDED && what != RECORDED))
                record(what, i);
}

static int begin(void **state)
{
    (void)state;
    begin_course(false);
    return 0;
}

static int begin_with_ids(void **state)
{
    (void)state;
    begin_course(true);
    return 0;
}

static size_t place_of(enum what what, uint32_t number)
{
    size_t at = 0;

    while (course.records[at].what != what || course.records[at].number != number)
        at++;
    return at;
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
    msg->hops = 1;
    msg->timestamp_ms = handout;
    return msg;
}

static void corrupt(struct bailey_message *msg)
{
    ((uint8_t *)(uintptr_t)msg->body.data)[msg->body.len - 1] ^= 1;
}

static void write_id(uint32_t id, enum state_change_kind kind, enum id_outcome outcome)
{
    ledger_written(
        course.ledger, 0, &course.kept[id],
        &(struct state_change){.kind = (uint8_t)kind, .outcome = (uint8_t)outcome, .time_ms = course.sim.now_ms});
}

static void intend(uint32_t id)
{
    write_id(id, STATE_INTEND, ID_UNKNOWN);
    course.kept[id].intent_ms = course.sim.now_ms;
    course.kept[id].is_intent_safe = true;
}

static void record_id(uint32_t id, enum id_outcome outcome)
{
    write_id(id, STATE_RECORD, outcome);
    course.kept[id].intent_ms = -1;
    course.kept[id].record_ms = course.sim.now_ms;
    course.kept[id].is_record_safe = true;
}

static void store(uint32_t number, enum outlet outlet, uint64_t hash, bool is_marked)
{
    const struct bailey_message *msg = course.deliveries[number].message;

    ledger_stored(course.ledger, &(struct stored){.sink = SINK,
                                                  .number = number,
                                                  .handout = msg == NULL ? 0 : (uint32_t)msg->timestamp_ms,
                                                  .outlet = outlet,
                                                  .hash = hash,
                                                  .is_marked = is_marked});
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
    case INTENDED:
        intend(what->is_corrupt ? (what->number + 1) % MESSAGES : what->number);
        break;
    case RECORDED:
        record_id(what->is_corrupt ? (what->number + 1) % MESSAGES : what->number, ID_CONFIRMED);
        break;
    case SENT:
        if (delivery->message == NULL)
            sim_fail(&course.sim, "not received");
        if (what->is_corrupt)
            corrupt(delivery->message);
        ledger_sent(ledger, course.slot, TO_SINK, delivery);
        break;
    case STORED:
        store(what->number, TO_SINK, hash ^ what->is_corrupt, false);
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
    bool dedups = course.dedups;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        begin_course(dedups);
        memmove(course.records + i, course.records + i + 1, (count - i - 1) * sizeof *course.records);
        course.count--;
        if (passes())
            fail_msg("without record %zu it passes", i);
    }
}

/* But what a store is told twice is told once. */
static void test_each_repeated_record_is_noticed(void **state)
{
    size_t count = course.count;
    bool dedups = course.dedups;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        begin_course(dedups);
        enum what what = course.records[i].what;

        insert(i, course.records[i]);
        if (passes() != (what == INTENDED || what == RECORDED))
            fail_msg("with record %zu twice it passes, or not", i);
    }
}

static void test_each_corrupt_record_is_noticed(void **state)
{
    size_t count = course.count;
    bool dedups = course.dedups;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        begin_course(dedups);
        course.records[i].is_corrupt = true;
        if (passes())
            fail_msg("with record %zu corrupt it passes", i);
    }
}

static bool passes_swapped(size_t one, size_t two)
{
    struct record kept = course.records[one];

    course.records[one] = course.records[two];
    course.records[two] = kept;
    return passes();
}

/* Order of sending, and of what happens to one message; not of confirms of different messages. (A confirm that is early is seen
 * when the source is told.) */
static void test_swapped_records_are_noticed(void **state)
{
    static const struct {
        enum what cause, effect;
        bool of_ids;
    } pairs[] = {
        {RECEIVED, SENT, false},     {CONFIRMED, SETTLED, false}, {STORED, TOLD, false},     {INTENDED, SENT, true},
        {CONFIRMED, RECORDED, true}, {STORED, RECORDED, true},    {RECORDED, SETTLED, true},
    };
    bool dedups = course.dedups;

    (void)state;
    for (uint32_t i = 0; i + 1 < MESSAGES; i++) {
        begin_course(dedups);
        if (passes_swapped(place_of(SENT, i), place_of(SENT, i + 1)))
            fail_msg("with message %u sent before the one in front of it, it passes", i + 1);
    }
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        begin_course(dedups);
        if (dedups >= pairs[i].of_ids && passes_swapped(place_of(pairs[i].cause, 0), place_of(pairs[i].effect, 0)))
            fail_msg("with a record %d before its cause it passes", (int)pairs[i].effect);
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
    store(0, TO_SINK, hash, false);
    ledger_handed_back(ledger, course.slot, delivery, true);
    delivery->possible_duplicate = true;
    ledger_sink_opened(ledger, course.slot, TO_SINK);
    ledger_sent(ledger, course.slot, TO_SINK, delivery);
    store(0, TO_SINK, hash, true);
    assert_int_equal(ledger->duplicates, 1);
    assert_int_equal(ledger->marked, 1);
    if (setjmp(course.sim.broken) == 0) {
        store(0, TO_SINK, hash, true);
        fail_msg("a third copy passes");
    }
}

static void test_a_lost_mark_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i <= MESSAGES; i++)
        play(&course.records[i]);
    ledger_handed_back(course.ledger, course.slot, &course.deliveries[0], true);
    ledger_sink_opened(course.ledger, course.slot, TO_SINK);
    if (setjmp(course.sim.broken) == 0) {
        ledger_sent(course.ledger, course.slot, TO_SINK, &course.deliveries[0]);
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
        ledger_sent(course.ledger, course.slot, TO_SINK, &course.deliveries[1]);
        fail_msg("it passes");
    }
    if (setjmp(course.sim.broken) == 0) {
        ledger_revoked(course.ledger, course.slot, 1, 0);
        fail_msg("a wrong count of what is out passes");
    }
}

/* ---- Ids ---- */

static void play_one(enum what what, uint32_t number)
{
    play(&(struct record){.what = what, .number = number});
}

/* Message 0 up to `last`; messages 1 and 2, with the same id, are received. */
static void begin_copies(enum what last)
{
    for (uint32_t i = 1; i <= 2; i++)
        course.ledger->messages[i].id = 0;
    for (enum what what = RECEIVED; what <= last; what++)
        play_one(what, 0);
    play_one(RECEIVED, 1);
    play_one(RECEIVED, 2);
}

static bool may(enum what what, uint32_t number, bool marked)
{
    if (setjmp(course.sim.broken) != 0)
        return false;
    course.deliveries[number].possible_duplicate = marked;
    play_one(what, number);
    return true;
}

static void test_a_copy_is_settled_when_its_id_is_recorded(void **state)
{
    for (enum what last = INTENDED; last <= RECORDED; last++) {
        begin_with_ids(state);
        begin_copies(last);
        if (may(SETTLED, 1, false) != (last == RECORDED))
            fail_msg("after step %d", (int)last);
    }
    play_one(TOLD, 1);
    assert_int_equal(course.ledger->swallowed, 1);
}

static void test_a_copy_is_not_sent_while_the_first_is_out_or_known(void **state)
{
    for (enum what last = SENT; last <= SETTLED; last++) {
        begin_with_ids(state);
        begin_copies(last);
        course.kept[0].intent_ms = NOW_MS;
        if (may(SENT, 1, false))
            fail_msg("after step %d", (int)last);
    }
}

static void test_what_is_older_than_the_window_is_new(void **state)
{
    (void)state;
    begin_copies(SETTLED);
    course.sim.now_ms += WINDOW_MS + 1;
    course.ledger->messages[3].id = 0;
    play_one(RECEIVED, 3);
    assert_false(may(SETTLED, 3, false));
    intend(0);
    assert_true(may(SENT, 1, false));
}

static void test_another_id_is_not_swallowed(void **state)
{
    (void)state;
    begin_copies(RECORDED);
    play_one(RECEIVED, 3);
    assert_false(may(SETTLED, 3, false));
}

static void test_what_a_crash_left_in_doubt_is_marked(void **state)
{
    for (int marked = 0; marked < 2; marked++) {
        begin_with_ids(state);
        begin_copies(SENT);
        ledger_scope_begins(course.ledger, 0, 1, 0);
        if (may(SENT, 1, marked) != marked)
            fail_msg("marked: %d", marked);
    }
}

static void test_what_nobody_left_is_not_marked(void **state)
{
    (void)state;
    begin_copies(INTENDED);
    assert_false(may(SENT, 0, true));
}

static void test_a_recorded_id_is_known_after_a_crash(void **state)
{
    (void)state;
    begin_copies(RECORDED);
    ledger_scope_begins(course.ledger, 0, 1, 0);
    intend(0);
    assert_false(may(SENT, 1, true));
}

static bool may_write(enum state_change_kind kind, uint32_t id)
{
    if (setjmp(course.sim.broken) != 0)
        return false;
    write_id(id, kind, ID_UNKNOWN);
    return true;
}

static void test_an_intent_stays_while_it_is_needed(void **state)
{
    (void)state;
    begin_copies(INTENDED);
    assert_true(may_write(STATE_FORGET, 0)); /* it is not sent yet */
    play_one(SENT, 0);
    assert_false(may_write(STATE_FORGET, 0));
    ledger_handed_back(course.ledger, course.slot, &course.deliveries[0], true);
    assert_false(may_write(STATE_FORGET, 0));
    course.sim.now_ms += WINDOW_MS + 1;
    assert_true(may_write(STATE_FORGET, 0));
    assert_false(may_write(STATE_INTEND, 5)); /* of a message that no lane has */
}

static bool may_expire(int64_t before_ms)
{
    if (setjmp(course.sim.broken) != 0)
        return false;
    ledger_expired(course.ledger, 0, 0, before_ms);
    return true;
}

static void test_a_record_stays_for_the_window(void **state)
{
    (void)state;
    begin_copies(RECORDED);
    assert_true(may_expire(NOW_MS));
    assert_false(may_expire(NOW_MS + 1));
    course.sim.now_ms += WINDOW_MS + 1;
    assert_true(may_expire(NOW_MS + 2));
}

static void test_a_record_that_is_not_safe_is_none(void **state)
{
    (void)state;
    begin_copies(RECORDED);
    course.kept[0].is_record_safe = false;
    assert_false(may(SETTLED, 0, false));
}

static void test_a_store_that_fails_excuses_if_the_route_passes(void **state)
{
    for (int passing = 0; passing < 2; passing++) {
        begin_with_ids(state);
        course.ledger->scopes[0].passes = passing;
        begin_copies(RECEIVED);
        ledger_failed(course.ledger, 0);
        assert_false(may(SENT, 0, false)); /* without an intent it is marked */
        if (may(SENT, 0, true) != passing)
            fail_msg("passing: %d", passing);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define TEST_IDS(name)                                  \
    {                                                   \
#name " (ids)", name, begin_with_ids, end, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_straight_course_passes),
        TEST(test_each_dropped_record_is_missed),
        TEST(test_each_repeated_record_is_noticed),
        TEST(test_each_corrupt_record_is_noticed),
        TEST(test_swapped_records_are_noticed),
        TEST(test_a_second_copy_must_be_in_doubt_and_marked),
        TEST(test_a_lost_mark_is_noticed),
        TEST(test_credit_is_a_limit),
        TEST(test_what_is_taken_away_is_not_sent),
        TEST_IDS(test_a_straight_course_passes),
        TEST_IDS(test_each_dropped_record_is_missed),
        TEST_IDS(test_each_repeated_record_is_noticed),
        TEST_IDS(test_each_corrupt_record_is_noticed),
        TEST_IDS(test_swapped_records_are_noticed),
        TEST_IDS(test_a_copy_is_settled_when_its_id_is_recorded),
        TEST_IDS(test_a_copy_is_not_sent_while_the_first_is_out_or_known),
        TEST_IDS(test_what_is_older_than_the_window_is_new),
        TEST_IDS(test_another_id_is_not_swallowed),
        TEST_IDS(test_what_a_crash_left_in_doubt_is_marked),
        TEST_IDS(test_what_nobody_left_is_not_marked),
        TEST_IDS(test_a_recorded_id_is_known_after_a_crash),
        TEST_IDS(test_an_intent_stays_while_it_is_needed),
        TEST_IDS(test_a_record_stays_for_the_window),
        TEST_IDS(test_a_record_that_is_not_safe_is_none),
        TEST_IDS(test_a_store_that_fails_excuses_if_the_route_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
