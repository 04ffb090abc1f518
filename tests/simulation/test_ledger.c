/* ledger.c: a straight course of events passes; dropping, repeating, swapping or corrupting one of them does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/dead_letter.h"
#include "ledger.h"
#include "message/pool.h"

enum { MESSAGES = 8, RECORDS_MAX = MESSAGES * 10, SINK = 3, WINDOW_MS = 1000, NOW_MS = 5000, ATTEMPTS = 3 };

enum what { RECEIVED, INTENDED, SENT, REFUSED, BURIED, STORED, CONFIRMED, RECORDED, SETTLED, TOLD };

/* One record of what happened to message `number`. */
struct record {
    enum what what;
    uint32_t number;
    bool is_corrupt; /* a byte of it is another */
};

/* What the messages of a course have in common. */
struct kind {
    bool dedups;
    bool dies; /* they are refused for good, and become dead letters */
};

struct course {
    struct kind kind;
    struct kept kept[MESSAGES]; /* by the id's number, which is that of the first message with it */
    struct sim sim;
    struct ledger *ledger;
    struct shaping shaping;
    struct lane_options options;
    struct lane_dead_letters dead_letters;
    struct lane_status status;
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

static bool happens(struct kind kind, enum what what)
{
    if (what == INTENDED || what == RECORDED)
        return kind.dedups;
    return kind.dies || (what != REFUSED && what != BURIED);
}

static void begin_lane(void)
{
    ledger_lane_begins(course.ledger, course.slot, &course.options, false, &course.wall_ms);
    ledger_source_opened(course.ledger, course.slot);
    for (enum outlet outlet = TO_SINK; outlet < OUTLETS; outlet++) {
        ledger_sink_opened(course.ledger, course.slot, outlet);
        ledger_sink_is(course.ledger, course.slot, outlet, true);
    }
}

static void begin_course_with(struct kind kind, const struct shaping *shaping)
{
    memory_drop(NULL);
    memset(&course, 0, sizeof course);
    course.kind = kind;
    course.shaping = *shaping;
    course.shaping.dedups = kind.dedups;
    course.options = (struct lane_options){.route = "route",
                                           .from.broker_name = "broker",
                                           .to.broker_name = "broker",
                                           .order = shaping->order,
                                           .hops_max = HOPS_MAX,
                                           .retry.attempts = ATTEMPTS,
                                           .dead_letters = &course.dead_letters,
                                           .status = &course.status};
    course.wall_ms = WALL_MS;
    course.sim.now_ms = NOW_MS;
    course.ledger = course.sim.ledger = ledger_new(&course.sim);
    course.pool = message_pool_new();
    course.slot = ledger_add_slot(course.ledger, MESSAGES, 1 << 20, false, kind.dedups ? add_scope() : NO_SCOPE);
    begin_lane();
    for (uint32_t i = 0; i < MESSAGES; i++) {
        assert_int_equal(
            ledger_produced(course.ledger, NATURE_PLAIN, 50, &course.shaping, SINK, ledger_new_id(course.ledger)), i);
        ledger_placed(course.ledger, i, "topic", 0, i);
    }
    for (enum what what = RECEIVED; what <= TOLD; what++)
        for (uint32_t i = 0; i < MESSAGES; i++)
            if (happens(kind, what))
                record(what, i);
}

static void begin_course(struct kind kind)
{
    begin_course_with(kind, &(struct shaping){0});
}

static int begin(void **state)
{
    (void)state;
    begin_course((struct kind){0});
    return 0;
}

static int begin_with_ids(void **state)
{
    (void)state;
    begin_course((struct kind){.dedups = true});
    return 0;
}

static int begin_dead(void **state)
{
    (void)state;
    begin_course((struct kind){.dies = true});
    return 0;
}

static int begin_dead_with_ids(void **state)
{
    (void)state;
    begin_course((struct kind){.dedups = true, .dies = true});
    return 0;
}

static void begin_in_order(void)
{
    begin_course_with((struct kind){0}, &(struct shaping){.order = BAILEY_ORDER_STRICT});
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
    msg->hops = content->hops + 1;
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

/* What a dead letter says, in the order of its headers. */
enum said { ID, ROUTE, CLASS, REASON, SOURCE, SINK_OF, ATTEMPTED, FIRST, LAST, KEY, SAID };

static const char *const names[SAID] = {
    [ID] = DEAD_LETTER_ID,
    [ROUTE] = DEAD_LETTER_PREFIX "route",
    [CLASS] = DEAD_LETTER_PREFIX "class",
    [REASON] = DEAD_LETTER_PREFIX "reason",
    [SOURCE] = DEAD_LETTER_PREFIX "source",
    [SINK_OF] = DEAD_LETTER_PREFIX "sink",
    [ATTEMPTED] = DEAD_LETTER_PREFIX "attempts",
    [FIRST] = DEAD_LETTER_PREFIX "first-failed",
    [LAST] = DEAD_LETTER_PREFIX "last-failed",
    [KEY] = DEAD_LETTER_KEY,
};

/* The dead letter of a message, but for what `other` (SAID: nothing) says. */
static struct bailey_message *letter_of(uint32_t number, const char *class, unsigned attempts, enum said other)
{
    const struct content *content = ledger_content(course.ledger, number);
    char id[33], source[32], attempted[8];
    const char *texts[SAID] = {id,
                               "route",
                               class,
                               "it says no",
                               source,
                               "broker",
                               attempted,
                               "2026-01-01T00:00:00.000Z",
                               "2026-01-01T00:00:00.000Z",
                               content->key};
    struct bailey_header headers[SAID];
    size_t count = content->has_key ? SAID : KEY;

    snprintf(id, sizeof id, "%016x%016x", number, 0);
    snprintf(source, sizeof source, "broker topic-0-%u", number);
    snprintf(attempted, sizeof attempted, "%u", attempts);
    if (other < SAID)
        texts[other] = other == REASON || other >= FIRST ? "" : "2";
    for (size_t i = 0; i < count; i++)
        headers[i] = (struct bailey_header){bailey_bytes_of(names[i]),
                                            {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of(texts[i])}};
    return message_with_headers(course.deliveries[number].message, bailey_bytes_of(id), DEAD_LETTER_PREFIX, headers,
                                count);
}

static void bury_as(uint32_t number, const char *class, unsigned attempts, enum said other)
{
    struct bailey_delivery letter = course.deliveries[number];

    letter.message = letter_of(number, class, attempts, other);
    ledger_sent(course.ledger, course.slot, TO_DEAD, &letter);
    course.deliveries[number] = letter;
}

static void refuse(uint32_t number, enum bailey_error_kind kind)
{
    ledger_refused(course.ledger, course.slot, &course.deliveries[number], kind);
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

    if (what->what > RECEIVED && what->what <= CONFIRMED && what->what != INTENDED && delivery->message == NULL)
        sim_fail(&course.sim, "not received");
    if (course.kind.dies)
        hash = content_hash(delivery->message == NULL ? &(struct bailey_message){0} : delivery->message);
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
        record_id(what->is_corrupt ? (what->number + 1) % MESSAGES : what->number,
                  course.kind.dies ? ID_DEAD : ID_CONFIRMED);
        break;
    case REFUSED:
        refuse(what->number, what->is_corrupt ? BAILEY_ERR_TRANSIENT : BAILEY_ERR_PERMANENT);
        break;
    case BURIED:
        if (what->is_corrupt)
            corrupt(delivery->message);
        bury_as(what->number, "permanent", 1, SAID);
        break;
    case SENT:
        if (what->is_corrupt)
            corrupt(delivery->message);
        ledger_sent(ledger, course.slot, TO_SINK, delivery);
        break;
    case STORED:
        store(what->number, course.kind.dies ? TO_DEAD : TO_SINK, hash ^ what->is_corrupt, false);
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
    struct kind kind = course.kind;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        begin_course(kind);
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
    struct kind kind = course.kind;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        begin_course(kind);
        enum what what = course.records[i].what;

        insert(i, course.records[i]);
        if (passes() != (what == INTENDED || what == RECORDED))
            fail_msg("with record %zu twice it passes, or not", i);
    }
}

static void test_each_corrupt_record_is_noticed(void **state)
{
    size_t count = course.count;
    struct kind kind = course.kind;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        begin_course(kind);
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
        struct kind kind; /* where that happens */
    } pairs[] = {
        {RECEIVED, SENT, {0}},
        {CONFIRMED, SETTLED, {0}},
        {STORED, TOLD, {0}},
        {INTENDED, SENT, {.dedups = true}},
        {CONFIRMED, RECORDED, {.dedups = true}},
        {STORED, RECORDED, {.dedups = true}},
        {RECORDED, SETTLED, {.dedups = true}},
        {SENT, REFUSED, {.dies = true}},
        {REFUSED, BURIED, {.dies = true}},
        {BURIED, STORED, {.dies = true}},
        {BURIED, CONFIRMED, {.dies = true}},
    };
    struct kind kind = course.kind;

    (void)state;
    for (uint32_t i = 0; i + 1 < MESSAGES; i++) {
        begin_course(kind);
        if (passes_swapped(place_of(SENT, i), place_of(SENT, i + 1)))
            fail_msg("with message %u sent before the one in front of it, it passes", i + 1);
    }
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        begin_course(kind);
        if (kind.dedups >= pairs[i].kind.dedups && kind.dies >= pairs[i].kind.dies &&
            passes_swapped(place_of(pairs[i].cause, 0), place_of(pairs[i].effect, 0)))
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
        if (happens(course.kind, what))
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

/* ---- What is refused ---- */

static bool may_bury(uint32_t number, const char *class, unsigned attempts, enum said other)
{
    if (setjmp(course.sim.broken) != 0)
        return false;
    bury_as(number, class, attempts, other);
    return true;
}

/* Message 0 is sent and refused, so many times. */
static void refuse_often(unsigned times, enum bailey_error_kind kind)
{
    play_one(RECEIVED, 0);
    for (unsigned i = 0; i < times; i++) {
        play_one(SENT, 0);
        refuse(0, kind);
        course.deliveries[0].attempts++;
    }
    course.deliveries[0].attempts = 0; /* of its dead letter */
}

static void test_each_lie_of_a_dead_letter_is_noticed(void **state)
{
    for (enum said other = ID; other < SAID; other++) {
        begin_dead(state);
        uint32_t number = 0;

        while (!ledger_content(course.ledger, number)->has_key)
            number++;
        play_one(RECEIVED, number);
        play_one(SENT, number);
        play_one(REFUSED, number);
        if (may_bury(number, "permanent", 1, other))
            fail_msg("another %s passes", names[other]);
    }
}

static void test_a_dead_letter_is_not_another_message(void **state)
{
    (void)state;
    refuse_often(1, BAILEY_ERR_PERMANENT);
    ((struct bailey_header *)(uintptr_t)course.deliveries[0].message->headers)[1].name = bailey_bytes_of("other");
    assert_false(may_bury(0, "permanent", 1, SAID));
}

static void test_attempts_are_counted(void **state)
{
    for (unsigned times = 1; times <= ATTEMPTS; times++) {
        begin(state);
        refuse_often(times, BAILEY_ERR_TRANSIENT);
        if (may_bury(0, "transient", times, SAID) != (times == ATTEMPTS))
            fail_msg("after %u refusals", times);
    }
}

static void test_an_outage_is_no_attempt(void **state)
{
    (void)state;
    play_one(RECEIVED, 0);
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        play_one(SENT, 0);
        ledger_handed_back(course.ledger, course.slot, &course.deliveries[0], false);
        ledger_sink_opened(course.ledger, course.slot, TO_SINK);
    }
    assert_false(may_bury(0, "transient", ATTEMPTS, SAID));
}

/* What the operator must change there is no fault of a message, if all go to the same place. */
static void test_the_sink_s_settings_are_no_attempt(void **state)
{
    for (size_t addresses = 0; addresses < 2; addresses++) {
        begin(state);
        course.options.template_count = addresses;
        begin_lane();
        refuse_often(ATTEMPTS, BAILEY_ERR_CONFIG);
        if (may_bury(0, "configuration", ATTEMPTS, SAID) != (addresses > 0))
            fail_msg("with %zu addresses", addresses);
    }
}

static void test_what_is_hopeless_is_not_sent_again(void **state)
{
    (void)state;
    refuse_often(1, BAILEY_ERR_PERMANENT);
    course.deliveries[0].attempts = 1;
    assert_false(may(SENT, 0, false));
}

static void test_a_dead_letter_is_not_sent_to_the_sink(void **state)
{
    (void)state;
    refuse_often(1, BAILEY_ERR_PERMANENT);
    assert_true(may_bury(0, "permanent", 1, SAID));
    refuse(0, BAILEY_ERR_TRANSIENT);
    course.deliveries[0].attempts = 1;
    assert_false(may(SENT, 0, false));
}

static void test_what_is_delivered_is_no_dead_letter(void **state)
{
    (void)state;
    play_one(RECEIVED, 0);
    play_one(SENT, 0);
    store(0, TO_SINK, content_hash(course.deliveries[0].message), false);
    refuse(0, BAILEY_ERR_PERMANENT); /* it says so, and has it */
    assert_true(may_bury(0, "permanent", 1, SAID));
    if (setjmp(course.sim.broken) == 0) {
        store(0, TO_DEAD, content_hash(course.deliveries[0].message), false);
        fail_msg("it is both, and not in doubt");
    }
}

static void test_the_unroutable_are_settled_if_the_route_says_so(void **state)
{
    static const enum lane_unroutable policies[] = {LANE_UNROUTABLE_DEAD_LETTER, LANE_UNROUTABLE_RETRY,
                                                    LANE_UNROUTABLE_ACCEPT};

    for (size_t i = 0; i < 3; i++) {
        begin(state);
        course.options.unroutable = policies[i];
        begin_lane();
        refuse_often(1, BAILEY_ERR_UNROUTABLE);
        if (may(SETTLED, 0, false) != (policies[i] == LANE_UNROUTABLE_ACCEPT))
            fail_msg("policy %d", (int)policies[i]);
    }
    play_one(TOLD, 0);
    assert_int_equal(course.ledger->dropped, 1);
}

static void test_the_expired_are_not_sent(void **state)
{
    static const enum lane_expire policies[] = {LANE_EXPIRE_DEAD_LETTER, LANE_EXPIRE_DROP};

    for (size_t i = 0; i < 2; i++) {
        for (int64_t left_ms = -1; left_ms <= 1; left_ms++) {
            begin(state);
            course.options.expire = policies[i];
            begin_lane();
            course.ledger->messages[0].content.expires_at_ms = WALL_MS + NOW_MS + left_ms;
            play_one(RECEIVED, 0);
            if (may_bury(0, "expired", 0, SAID) != (left_ms <= 0))
                fail_msg("a dead letter, %d ms before its expiry", (int)left_ms);
            begin(state);
            course.options.expire = policies[i];
            begin_lane();
            course.ledger->messages[0].content.expires_at_ms = WALL_MS + NOW_MS + left_ms;
            play_one(RECEIVED, 0);
            if (may(SETTLED, 0, false) != (left_ms <= 0 && policies[i] == LANE_EXPIRE_DROP))
                fail_msg("settled, %d ms before its expiry", (int)left_ms);
            if (left_ms <= 0)
                assert_false(may(SENT, 0, false));
        }
    }
}

static void test_what_goes_in_a_circle_is_not_sent(void **state)
{
    (void)state;
    course.ledger->messages[0].content.hops = HOPS_MAX;
    play_one(RECEIVED, 0);
    course.deliveries[0].message->hops = HOPS_MAX + 1;
    assert_false(may(SENT, 0, false));
    begin(state);
    course.ledger->messages[0].content.hops = HOPS_MAX;
    play_one(RECEIVED, 0);
    assert_true(may_bury(0, "loop", 0, SAID));
}

static void test_the_dead_are_recorded_as_such(void **state)
{
    (void)state;
    for (enum what what = RECEIVED; what <= CONFIRMED; what++)
        play_one(what, 0);
    if (setjmp(course.sim.broken) == 0) {
        record_id(0, ID_CONFIRMED);
        fail_msg("recorded as if the sink had it");
    }
}

/* ---- Blocked ---- */

static bool may_look(enum lane_state state)
{
    const struct ledger_slot *lane = &course.ledger->slots[course.slot];

    if (setjmp(course.sim.broken) != 0)
        return false;
    course.status.state = state;
    course.status.unsettled = lane->unsettled;
    course.status.unsettled_bytes = lane->bytes;
    course.status.unconfirmed = lane->out;
    course.status.waiting = lane->waiting;
    ledger_check_gauges(course.ledger, course.slot);
    return true;
}

static bool may_have_room(void)
{
    if (setjmp(course.sim.broken) != 0)
        return false;
    ledger_room(course.ledger, course.slot, 1);
    return true;
}

static void test_a_lane_is_blocked_by_what_has_nowhere_to_go(void **state)
{
    for (int has_dead_letters = 0; has_dead_letters < 2; has_dead_letters++) {
        begin(state);
        if (!has_dead_letters)
            course.options.dead_letters = NULL;
        begin_lane();
        assert_false(may_look(LANE_BLOCKED));
        refuse_often(1, BAILEY_ERR_PERMANENT);
        if (may_look(LANE_BLOCKED) == has_dead_letters || may_have_room() != has_dead_letters)
            fail_msg("dead letters: %d", has_dead_letters);
    }
    bury_as(0, "permanent", 1, SAID);
    refuse(0, BAILEY_ERR_PERMANENT);
    assert_false(may_have_room());
    assert_false(may_look(LANE_BLOCKED)); /* it shows none on its way to the dead letters */
    course.status.dead = 1;
    assert_true(may_look(LANE_BLOCKED));
}

/* ---- Order ---- */

static void test_one_behind_waits(void **state)
{
    (void)state;
    begin_in_order();
    for (uint32_t i = 0; i < 4; i++)
        play_one(RECEIVED, i);
    play_one(SENT, 0);
    assert_false(may(SENT, 1, false));
    refuse(0, BAILEY_ERR_TRANSIENT);
    assert_false(may(SENT, 2, false));
    course.deliveries[0].attempts = 1;
    assert_true(may(SENT, 0, false));
}

static void test_one_behind_a_dead_letter_waits_for_its_confirm(void **state)
{
    (void)state;
    begin_in_order();
    refuse_often(1, BAILEY_ERR_PERMANENT);
    play_one(RECEIVED, 2);
    bury_as(0, "permanent", 1, SAID);
    assert_false(may(SENT, 2, false));
}

static void test_what_arrives_late_is_noticed(void **state)
{
    (void)state;
    for (int dead = 0; dead < 2; dead++) {
        begin_in_order();
        play_one(RECEIVED, 0);
        play_one(SENT, 0);
        uint64_t first = content_hash(course.deliveries[0].message);

        ledger_revoked(course.ledger, course.slot, 1, 1); /* none waits for it any more */
        play_one(RECEIVED, 1);
        play_one(SENT, 1);

        if (dead) {
            course.ledger->messages[0].dead = 1; /* by another lane, that had it before */
            course.ledger->messages[0].copies = 1;
            course.ledger->messages[0].handouts = course.ledger->messages[0].unmarked_handouts = 2;
        }
        store(1, TO_SINK, content_hash(course.deliveries[1].message), false);
        bool broke = setjmp(course.sim.broken) != 0;

        if (!broke)
            store(0, TO_SINK, first, false);
        if (broke == dead)
            fail_msg("dead: %d", dead);
    }
}

static void test_nothing_waits_without_a_reason(void **state)
{
    (void)state;
    begin_in_order();
    play_one(RECEIVED, 0);
    assert_false(may_look(LANE_RUNNING));
    play_one(SENT, 0);
    play_one(RECEIVED, 1);
    assert_true(may_look(LANE_RUNNING)); /* it waits for the first */
    begin(state);
    play_one(RECEIVED, 0);
    play_one(RECEIVED, 1);
    play_one(SENT, 0);
    assert_false(may_look(LANE_RUNNING));
    ledger_full(course.ledger, course.slot, TO_SINK, true);
    assert_true(may_look(LANE_RUNNING));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define TEST_IDS(name)                                  \
    {                                                   \
#name " (ids)", name, begin_with_ids, end, NULL \
    }
#define TEST_DEAD(name)                              \
    {                                                \
#name " (dead)", name, begin_dead, end, NULL \
    }
#define TEST_DEAD_IDS(name)                                        \
    {                                                              \
#name " (dead, ids)", name, begin_dead_with_ids, end, NULL \
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
        TEST_DEAD(test_a_straight_course_passes),
        TEST_DEAD(test_each_dropped_record_is_missed),
        TEST_DEAD(test_each_repeated_record_is_noticed),
        TEST_DEAD(test_each_corrupt_record_is_noticed),
        TEST_DEAD(test_swapped_records_are_noticed),
        TEST_DEAD_IDS(test_a_straight_course_passes),
        TEST_DEAD_IDS(test_each_dropped_record_is_missed),
        TEST_DEAD_IDS(test_each_repeated_record_is_noticed),
        TEST_DEAD_IDS(test_each_corrupt_record_is_noticed),
        TEST_DEAD_IDS(test_swapped_records_are_noticed),
        TEST(test_each_lie_of_a_dead_letter_is_noticed),
        TEST(test_a_dead_letter_is_not_another_message),
        TEST(test_attempts_are_counted),
        TEST(test_an_outage_is_no_attempt),
        TEST(test_the_sink_s_settings_are_no_attempt),
        TEST(test_what_is_hopeless_is_not_sent_again),
        TEST(test_a_dead_letter_is_not_sent_to_the_sink),
        TEST(test_what_is_delivered_is_no_dead_letter),
        TEST(test_the_unroutable_are_settled_if_the_route_says_so),
        TEST(test_the_expired_are_not_sent),
        TEST(test_what_goes_in_a_circle_is_not_sent),
        TEST_DEAD_IDS(test_the_dead_are_recorded_as_such),
        TEST(test_a_lane_is_blocked_by_what_has_nowhere_to_go),
        TEST(test_one_behind_waits),
        TEST(test_one_behind_a_dead_letter_waits_for_its_confirm),
        TEST(test_what_arrives_late_is_noticed),
        TEST(test_nothing_waits_without_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
