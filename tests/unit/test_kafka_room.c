/* How a sink finds the record that is too large, and lets its neighbours go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/kafka/room.h"

enum { RECORDS = 2000 };

/* A topic that refuses batches of more than `max` bytes. */
struct topic {
    struct room room;
    size_t max;
    int64_t now_ms;
    size_t sizes[RECORDS];
    bool is_taken[RECORDS], is_refused[RECORDS];
    size_t sends, batches_refused;
};

static void topic_open(struct topic *topic, size_t max, bool is_exact)
{
    *topic = (struct topic){.max = max};
    room_init(&topic->room, is_exact);
}

/* Send what may go together, as one batch. False: nothing is left to be sent. */
static bool send_batch(struct topic *topic, size_t count)
{
    size_t batch[RECORDS], len = 0, bytes = 0;
    uint64_t numbers[RECORDS];

    for (size_t i = 0; i < count; i++) {
        enum room_answer answer;

        if (topic->is_taken[i] || topic->is_refused[i])
            continue;
        answer = room_ask(&topic->room, topic->sizes[i], topic->now_ms);
        if (answer == ROOM_WAIT)
            break;
        if (answer == ROOM_TOO_LARGE) {
            topic->is_refused[i] = true;
            continue;
        }
        numbers[len] = room_sent(&topic->room, topic->sizes[i]);
        batch[len++] = i;
        bytes += topic->sizes[i];
    }
    topic->sends += len;
    topic->batches_refused += bytes > topic->max;
    for (size_t i = 0; i < len; i++) {
        size_t size = topic->sizes[batch[i]];

        if (bytes <= topic->max) {
            topic->is_taken[batch[i]] = true;
            room_taken(&topic->room, size);
        } else if (room_refused(&topic->room, numbers[i], size, topic->now_ms) == ROOM_TO_BLAME) {
            topic->is_refused[batch[i]] = true;
        }
        room_back(&topic->room, size);
    }
    return len > 0;
}

static void send_all(struct topic *topic, size_t count)
{
    for (size_t rounds = 0; send_batch(topic, count); rounds++)
        assert_true(rounds < 10 * RECORDS);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(topic->is_refused[i], topic->sizes[i] > topic->max);
        assert_int_equal(topic->is_taken[i], topic->sizes[i] <= topic->max);
    }
}

static void fill(struct topic *topic, size_t count, size_t size, size_t poison)
{
    for (size_t i = 0; i < count; i++)
        topic->sizes[i] = poison > 0 && i % 100 == 50 ? poison : size;
}

static void open_room_lets_all_go(void **state)
{
    struct topic topic;

    (void)state;
    topic_open(&topic, SIZE_MAX, true);
    fill(&topic, RECORDS, 1 << 20, 0);
    assert_true(send_batch(&topic, RECORDS));
    assert_int_equal(topic.sends, RECORDS);
}

/* The first one costs its neighbours a second try, and the room turns out to be a little less than half of that; later ones are known. */
static void those_that_are_too_large_are_found(void **state)
{
    struct topic topic;

    (void)state;
    topic_open(&topic, 64 << 10, true);
    fill(&topic, RECORDS, 100, 128 << 10);
    send_all(&topic, 100); /* narrows */
    assert_int_equal(topic.batches_refused, 2);
    topic.sends = topic.batches_refused = 0;
    send_all(&topic, RECORDS);
    assert_int_equal(topic.batches_refused, 1); /* of small ones, and none for the sake of a large one */
    assert_in_range(topic.sends, RECORDS - 100 - RECORDS / 100, 2 * RECORDS);
}

/* What is compressed may be taken though it is larger: each one is tried, and alone. */
static void compressed_ones_are_tried_alone(void **state)
{
    struct topic topic;

    (void)state;
    topic_open(&topic, 64 << 10, false);
    fill(&topic, RECORDS, 100, 128 << 10);
    send_all(&topic, RECORDS);
    assert_in_range(topic.batches_refused, 1 + RECORDS / 100, 3 + RECORDS / 100);
}

/* Many small records are too large together: half of them, and half of that ... */
static void small_ones_go_in_smaller_batches(void **state)
{
    struct topic topic;

    (void)state;
    topic_open(&topic, 10000, true);
    fill(&topic, RECORDS, 100, 0);
    send_all(&topic, RECORDS);
    assert_in_range(topic.room.limit, 5000, 10000);
    assert_in_range(topic.batches_refused, 1, 6);
}

static void no_size_is_too_strange(void **state)
{
    static const size_t limits[] = {0, 1, 99, 100, 101, 1000};
    struct topic topic;

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (int exact = 0; exact < 2; exact++) {
            topic_open(&topic, limits[i], exact);
            fill(&topic, 300, 100, 101);
            topic.sizes[7] = 0;
            send_all(&topic, 300);
        }
}

/* The operator raises the limit: what was too large is tried after a while, and the room opens again. */
static void a_raised_limit_is_found(void **state)
{
    struct topic topic;

    (void)state;
    topic_open(&topic, 64 << 10, true);
    fill(&topic, 200, 100, 128 << 10);
    send_all(&topic, 100);
    topic.max = 256 << 10;
    topic.is_refused[50] = false;
    assert_int_equal(room_ask(&topic.room, 128 << 10, topic.now_ms), ROOM_TOO_LARGE);
    topic.now_ms += ROOM_BELIEVED_MS;
    send_all(&topic, 200);
    assert_int_equal(room_ask(&topic.room, 200 << 10, topic.now_ms), ROOM_GO);
    for (int i = 0; i < 20; i++) {
        topic.now_ms += ROOM_WIDEN_MS;
        room_ask(&topic.room, 1, topic.now_ms);
    }
    assert_true(topic.room.limit == SIZE_MAX);
}

/* Beside one that goes alone nothing may go, also when the room has become wider meanwhile. */
static void alone_is_alone(void **state)
{
    struct room room;
    uint64_t first;

    (void)state;
    room_init(&room, true);
    first = room_sent(&room, 1000);
    room_sent(&room, 1000);
    assert_int_equal(room_refused(&room, first, 1000, 0), ROOM_NARROWED);
    assert_int_equal(room_refused(&room, first + 1, 1000, 0), ROOM_NARROW_BEFORE);
    room_back(&room, 1000);
    room_back(&room, 1000);
    assert_int_equal(room.limit, 1000);
    assert_int_equal(room_ask(&room, 1001, 0), ROOM_GO);
    room_sent(&room, 1001);
    assert_int_equal(room_ask(&room, 1, 100 * ROOM_WIDEN_MS), ROOM_WAIT);
    room_back(&room, 1001);
    assert_int_equal(room_ask(&room, 1, 0), ROOM_GO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_room_lets_all_go),
        cmocka_unit_test(those_that_are_too_large_are_found),
        cmocka_unit_test(compressed_ones_are_tried_alone),
        cmocka_unit_test(small_ones_go_in_smaller_batches),
        cmocka_unit_test(no_size_is_too_strange),
        cmocka_unit_test(a_raised_limit_is_found),
        cmocka_unit_test(alone_is_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
