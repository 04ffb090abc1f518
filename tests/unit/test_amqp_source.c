/* Consuming from a broker that does as the test says: acknowledgements, windows, the end of a channel, lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "amqp_peer.h"
#include "log_rig.h"

static const struct amq_source_settings settings = {
    .queue = "q", .consumer_tag = "t", .consumer_timeout_ms = 1800000, .declare = BAILEY_DECLARE_NEVER};
static const struct peer_options usual;

static struct bridge bridge;
static struct peer peer;

static void start(void)
{
    bridge_open_source(&bridge, &settings);
    peer_open(&bridge, &peer, &usual);
    peer_open_consumer(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
}

static void finish(void)
{
    peer_close(&peer);
    end_rig_close(&bridge.end);
}

static void nothing_sent(void)
{
    uint8_t byte;

    assert_int_equal(peer.len, 0);
    assert_int_equal(recv(peer.fd, &byte, 1, MSG_PEEK), -1);
}

static void expect_ack(uint64_t tag, bool multiple)
{
    amqp_basic_ack_t *ack = peer_expect(&peer, 1, AMQP_BASIC_ACK_METHOD);

    assert_int_equal(ack->delivery_tag, tag);
    assert_int_equal(ack->multiple, multiple);
}

static void acknowledged_only_when_confirmed_and_in_one_frame(void **state)
{
    (void)state;
    start();
    for (uint64_t tag = 1; tag <= 10; tag++)
        peer_deliver(&peer, 1, tag, "m");
    end_rig_taken(&bridge.end, 10);
    end_rig_turn(&bridge.end);
    nothing_sent();
    end_rig_confirm(&bridge.end, 7);
    expect_ack(7, true);
    end_rig_confirm(&bridge.end, 3);
    expect_ack(10, true);
    finish();
}

static void one_that_waits_does_not_hold_the_others(void **state)
{
    (void)state;
    start();
    for (uint64_t tag = 1; tag <= 4; tag++)
        peer_deliver(&peer, 1, tag, "m");
    end_rig_taken(&bridge.end, 4);
    struct bailey_delivery *first = bridge.end.taken[0];

    memmove(bridge.end.taken, bridge.end.taken + 1, 3 * sizeof *bridge.end.taken);
    bridge.end.taken[3] = first;
    end_rig_confirm(&bridge.end, 3);
    expect_ack(2, false); /* after a moment in which it might have become one frame */
    expect_ack(3, false);
    expect_ack(4, false);
    end_rig_confirm(&bridge.end, 1);
    expect_ack(1, false);
    finish();
}

static void what_the_broker_says_of_a_message_comes_with_it(void **state)
{
    const struct bailey_message *msg;

    (void)state;
    start();
    peer_deliver(&peer, 1, 1, "body");
    peer_deliver(&peer, 1, 2, "");
    end_rig_taken(&bridge.end, 2);
    msg = bridge.end.taken[0]->message;
    assert_true(bailey_bytes_is(msg->body, "body"));
    assert_true(bailey_bytes_is(msg->origin.queue, "q"));
    assert_true(bailey_bytes_is(msg->origin.exchange, "x"));
    assert_true(bailey_bytes_is(msg->origin.routing_key, "k"));
    assert_true(msg->key.data == NULL && msg->durability == BAILEY_DURABILITY_UNKNOWN);
    msg = bridge.end.taken[1]->message;
    assert_true(msg->body.data != NULL && msg->body.len == 0);
    end_rig_confirm(&bridge.end, 2);
    expect_ack(2, true);
    finish();
}

static void a_large_body_comes_in_pieces(void **state)
{
    static uint8_t big[300 << 10];
    uint8_t header[] = {0, 60, 0, 0, 0, 0, 0, 0, 0, 4, 0xb0, 0, 0, 0}; /* 300 KiB, no properties */
    amqp_basic_deliver_t deliver = {.delivery_tag = 1};

    (void)state;
    start();
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i / 11);
    peer_method(&peer, 1, AMQP_BASIC_DELIVER_METHOD, &deliver);
    peer_frame(&peer, AMQ_FRAME_HEADER, 1, header, sizeof header);
    for (size_t at = 0; at < sizeof big; at += 30 << 10) {
        peer_frame(&peer, AMQ_FRAME_BODY, 1, big + at, 30 << 10);
        peer_frame(&peer, AMQ_FRAME_BODY, 1, "", 0); /* an empty one changes nothing */
        if (at >= 270 << 10)
            break;
        end_rig_turn(&bridge.end);
        assert_int_equal(bridge.end.taken_in_all, 0);
    }
    end_rig_taken(&bridge.end, 1);
    assert_int_equal(bridge.end.taken[0]->message->body.len, sizeof big);
    assert_memory_equal(bridge.end.taken[0]->message->body.data, big, sizeof big);
    end_rig_confirm(&bridge.end, 1);
    finish();
}

/* Nothing is allocated for a size that is only declared; the message stays in its queue, and the next ones come. */
static void a_message_beyond_the_limit_is_left_to_its_queue(void **state)
{
    uint8_t header[] = {0, 60, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0}; /* 2 MiB, the limit is 1 */
    static uint8_t part[128 << 10];
    amqp_basic_deliver_t deliver = {.delivery_tag = 1};

    (void)state;
    start();
    peer_method(&peer, 1, AMQP_BASIC_DELIVER_METHOD, &deliver);
    peer_frame(&peer, AMQ_FRAME_HEADER, 1, header, sizeof header);
    for (int i = 0; i < 32; i++)
        peer_frame(&peer, AMQ_FRAME_BODY, 1, part, 64 << 10);
    peer_deliver(&peer, 1, 2, "small");
    end_rig_taken(&bridge.end, 1);
    end_rig_confirm(&bridge.end, 1);
    expect_ack(2, false);
    finish();
}

static void a_cancelled_consumer_is_down_and_comes_back(void **state)
{
    amqp_basic_cancel_t cancel = {.consumer_tag = amqp_cstring_bytes("c"), .nowait = 1};

    (void)state;
    start();
    peer_method(&peer, 1, AMQP_BASIC_CANCEL_METHOD, &cancel);
    end_rig_state(&bridge.end, LANE_DOWN);
    assert_non_null(strstr(bridge.end.status.reason, "cancelled the consumer of queue q"));
    peer_expect(&peer, 1, AMQP_CHANNEL_CLOSE_METHOD);
    peer_open_consumer(&peer, 2);
    end_rig_state(&bridge.end, LANE_RUNNING);
    finish();
}

/* Settlements of a lost channel must not acknowledge tags of the next one. */
static void tags_of_a_lost_channel_mean_nothing_on_the_next(void **state)
{
    (void)state;
    start();
    peer_deliver(&peer, 1, 1, "first life");
    end_rig_taken(&bridge.end, 1);
    peer_close_channel(&peer, 1, 406, "PRECONDITION_FAILED - timed out");
    end_rig_state(&bridge.end, LANE_DOWN);
    peer_open_consumer(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    peer_deliver(&peer, 1, 1, "second life");
    end_rig_taken(&bridge.end, 2);
    end_rig_confirm(&bridge.end, 1); /* the first life's */
    end_rig_turn(&bridge.end);
    end_rig_turn(&bridge.end);
    nothing_sent();
    end_rig_confirm(&bridge.end, 1);
    expect_ack(1, false);
    finish();
}

/* The broker would close the channel soon: what is unsettled goes back, on a channel of its own life, and comes anew. What
 * was out meanwhile may be confirmed; that must not acknowledge the new channel's tags. */
static void before_the_consumer_timeout_everything_is_handed_back(void **state)
{
    static const struct amq_source_settings impatient = {
        .queue = "q", .consumer_tag = "t", .consumer_timeout_ms = 1500, .declare = BAILEY_DECLARE_NEVER};
    amqp_channel_close_ok_t closed = {0};

    (void)state;
    bridge_open_source(&bridge, &impatient);
    peer_open(&bridge, &peer, &usual);
    peer_open_consumer(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    peer_deliver(&peer, 1, 1, "slow");
    end_rig_taken(&bridge.end, 1);
    peer_expect(&peer, 1, AMQP_CHANNEL_CLOSE_METHOD);
    peer_open_consumer(&peer, 2);
    peer_method(&peer, 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &closed);
    peer_deliver(&peer, 2, 1, "slow");
    end_rig_taken(&bridge.end, 2);
    end_rig_confirm(&bridge.end, 1); /* of the first life */
    end_rig_turn(&bridge.end);
    end_rig_turn(&bridge.end);
    nothing_sent();
    end_rig_confirm(&bridge.end, 1);
    amqp_basic_ack_t *ack = peer_expect(&peer, 2, AMQP_BASIC_ACK_METHOD);

    assert_int_equal(ack->delivery_tag, 1);
    assert_int_equal(bridge.end.status.state, LANE_RUNNING);
    finish();
}

/* While the sink is away, what was handed back is left to the broker: its patience is no matter then, however long it takes. */
static void what_is_handed_back_is_taken_again_when_there_is_room(void **state)
{
    static const struct amq_source_settings impatient = {
        .queue = "q", .consumer_tag = "t", .consumer_timeout_ms = 1000, .declare = BAILEY_DECLARE_NEVER};
    amqp_channel_open_ok_t opened = {0};

    (void)state;
    log_rig_begin();
    bridge_open_source(&bridge, &impatient);
    peer_open(&bridge, &peer, &usual);
    peer_open_consumer(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    peer_deliver(&peer, 1, 1, "m");
    end_rig_taken(&bridge.end, 1);
    bailey_held(bridge.end.port, "away");
    peer_expect(&peer, 1, AMQP_CHANNEL_CLOSE_METHOD);
    peer_expect(&peer, 2, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(&peer, 2, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
    for (int64_t end = end_rig_clock_ms() + 3 * impatient.consumer_timeout_ms; end_rig_clock_ms() < end;)
        end_rig_turn(&bridge.end);
    nothing_sent();
    assert_int_equal(log_rig_count("amqp.handed_back"), 1);
    bailey_up(bridge.end.port);
    peer_expect(&peer, 2, AMQP_BASIC_QOS_METHOD);
    peer_expect(&peer, 2, AMQP_BASIC_CONSUME_METHOD);
    finish();
    log_rig_end();
}

/* Bodies fill the lane's bytes long before the window of messages is used up: the consumer is cancelled, and comes
 * back with a smaller window when there is room. */
static void without_room_for_bytes_the_consumer_is_cancelled(void **state)
{
    static char big[(128 << 10) - 16];
    amqp_basic_cancel_ok_t cancelled = {.consumer_tag = amqp_cstring_bytes("c")};
    amqp_basic_qos_ok_t qos_ok = {0};
    amqp_basic_qos_t *qos;

    (void)state;
    memset(big, 'x', sizeof big - 1);
    bridge_open_source(&bridge, &settings);
    peer_open(&bridge, &peer, &usual);
    amqp_channel_open_ok_t opened = {0};
    amqp_basic_consume_ok_t consuming = {.consumer_tag = amqp_cstring_bytes("c")};

    peer_expect(&peer, 1, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(&peer, 1, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
    qos = peer_expect(&peer, 1, AMQP_BASIC_QOS_METHOD);
    assert_int_equal(qos->prefetch_count,
                     31); /* 4 MiB of credit for messages of 128 KiB, as long as nothing else is known */
    peer_method(&peer, 1, AMQP_BASIC_QOS_OK_METHOD, &qos_ok);
    peer_expect(&peer, 1, AMQP_BASIC_CONSUME_METHOD);
    peer_method(&peer, 1, AMQP_BASIC_CONSUME_OK_METHOD, &consuming);
    end_rig_state(&bridge.end, LANE_RUNNING);

    /* Small ones: the window grows by a new consumer, once it is used up. */
    for (uint64_t tag = 1; tag <= 31; tag++)
        peer_deliver(&peer, 1, tag, "small");
    end_rig_taken(&bridge.end, 31);
    end_rig_turn(&bridge.end);
    end_rig_confirm(&bridge.end, 31);
    expect_ack(31, true);
    for (uint64_t tag = 32; tag <= 62; tag++)
        peer_deliver(&peer, 1, tag, "small");
    end_rig_taken(&bridge.end, 62);
    peer_expect(&peer, 1, AMQP_BASIC_CANCEL_METHOD);
    peer_method(&peer, 1, AMQP_BASIC_CANCEL_OK_METHOD, &cancelled);
    qos = peer_expect(&peer, 1, AMQP_BASIC_QOS_METHOD);
    assert_true(qos->prefetch_count >= 50 && qos->prefetch_count < 200 - 31);
    uint64_t window = qos->prefetch_count;

    peer_method(&peer, 1, AMQP_BASIC_QOS_OK_METHOD, &qos_ok);
    peer_expect(&peer, 1, AMQP_BASIC_CONSUME_METHOD);
    peer_method(&peer, 1, AMQP_BASIC_CONSUME_OK_METHOD, &consuming);

    /* Large ones: 33 of them fill 4 MiB. */
    for (uint64_t tag = 63; tag <= 63 + 33; tag++)
        peer_deliver(&peer, 1, tag, big);
    peer_expect(&peer, 1, AMQP_BASIC_CANCEL_METHOD);
    peer_method(&peer, 1, AMQP_BASIC_CANCEL_OK_METHOD, &cancelled);
    end_rig_taken(&bridge.end, 96);
    end_rig_turn(&bridge.end);
    nothing_sent(); /* until there is room */
    end_rig_confirm(&bridge.end, bridge.end.taken_count);
    do
        peer_next(&peer); /* acks */
    while (memcmp(peer.held, "\0\x3c\0\x0a", 4) != 0);
    assert_true((uint64_t)(peer.held[8] << 8 | peer.held[9]) < window);
    finish();
}

/* The drain's way out: the consumer is cancelled already. */
static void expect_end(void)
{
    amqp_channel_close_ok_t closed = {0};
    amqp_connection_close_ok_t bye = {0};

    peer_expect(&peer, 1, AMQP_CHANNEL_CLOSE_METHOD);
    peer_method(&peer, 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &closed);
    peer_expect(&peer, 0, AMQP_CONNECTION_CLOSE_METHOD);
    peer_method(&peer, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &bye);
    end_rig_state(&bridge.end, LANE_STOPPED);
}

static void a_drain_cancels_and_leaves_the_rest_to_the_queue(void **state)
{
    amqp_basic_cancel_ok_t cancelled = {.consumer_tag = amqp_cstring_bytes("c")};

    (void)state;
    start();
    peer_deliver(&peer, 1, 1, "before");
    end_rig_taken(&bridge.end, 1);
    lane_drain(bridge.end.lane);
    peer_expect(&peer, 1, AMQP_BASIC_CANCEL_METHOD);
    peer_deliver(&peer, 1, 2, "on its way");
    peer_method(&peer, 1, AMQP_BASIC_CANCEL_OK_METHOD, &cancelled);
    end_rig_turn(&bridge.end);
    end_rig_confirm(&bridge.end, 1);
    expect_ack(1, false);
    expect_end();
    assert_int_equal(bridge.end.taken_in_all, 1);
    finish();
}

/* It was refused, and waits: the drain lets go of it. An ack would be its loss. */
static void what_was_refused_goes_back_at_a_drain(void **state)
{
    amqp_basic_cancel_ok_t cancelled = {.consumer_tag = amqp_cstring_bytes("c")};

    (void)state;
    start();
    peer_deliver(&peer, 1, 1, "refused");
    peer_deliver(&peer, 1, 2, "good");
    end_rig_taken(&bridge.end, 2);
    end_rig_refuse(&bridge.end);
    lane_drain(bridge.end.lane);
    peer_expect(&peer, 1, AMQP_BASIC_CANCEL_METHOD);
    peer_method(&peer, 1, AMQP_BASIC_CANCEL_OK_METHOD, &cancelled);
    end_rig_confirm(&bridge.end, 1);
    expect_ack(2, false); /* alone: 1 stays unacknowledged */
    expect_end();
    finish();
}

static void deliver_nonsense(int round)
{
    static const uint8_t opaque[] = {0x20, 0, 0, 0, 0, 3, 1, 'k', '?'};
    amqp_basic_deliver_t deliver = {.delivery_tag = 1};
    amqp_basic_ack_t ack = {.delivery_tag = 1};
    uint8_t header[14] = {0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0};

    switch (round) {
    case 0: /* a tag that is not the next */
        peer_deliver(&peer, 1, 2, "m");
        break;
    case 1: /* a header that nothing announced */
        peer_content(&peer, 1, (struct bailey_bytes){(const uint8_t *)"\0\0", 2}, bailey_bytes_of("m"));
        break;
    case 2: /* a method in the middle of a message */
        peer_method(&peer, 1, AMQP_BASIC_DELIVER_METHOD, &deliver);
        peer_method(&peer, 1, AMQP_BASIC_DELIVER_METHOD, &deliver);
        break;
    case 3: /* more body than declared */
        peer_method(&peer, 1, AMQP_BASIC_DELIVER_METHOD, &deliver);
        peer_frame(&peer, AMQ_FRAME_HEADER, 1, header, sizeof header);
        peer_frame(&peer, AMQ_FRAME_BODY, 1, "123456", 6);
        break;
    case 4: /* properties that end too soon */
        header[12] = 0x80;
        peer_method(&peer, 1, AMQP_BASIC_DELIVER_METHOD, &deliver);
        peer_frame(&peer, AMQ_FRAME_HEADER, 1, header, sizeof header);
        break;
    case 5: /* a publisher's method */
        peer_method(&peer, 1, AMQP_BASIC_ACK_METHOD, &ack);
        break;
    case 6: /* a client's method */
        peer_frame(&peer, AMQ_FRAME_METHOD, 1, "\0\x32\0\x0a", 4);
        break;
    case 7: /* a deliver that ends too soon */
        peer_frame(&peer, AMQ_FRAME_METHOD, 1, "\0\x3c\0\x3c\xff", 5);
        break;
    case 8: /* another class's content */
        header[1] = 61;
        peer_method(&peer, 1, AMQP_BASIC_DELIVER_METHOD, &deliver);
        peer_frame(&peer, AMQ_FRAME_HEADER, 1, header, sizeof header);
        break;
    default: /* no nonsense at all: a table that nobody may decode is carried as it is */
        peer_method(&peer, 1, AMQP_BASIC_DELIVER_METHOD, &deliver);
        peer_content(&peer, 1, (struct bailey_bytes){opaque, sizeof opaque}, bailey_bytes_of("m"));
    }
}

static void nonsense_ends_the_connection_and_nothing_else(void **state)
{
    (void)state;
    for (int round = 0; round < 9; round++) {
        start();
        deliver_nonsense(round);
        peer_gone(&peer);
        assert_int_equal(bridge.end.taken_in_all, 0);
        end_rig_state(&bridge.end, LANE_DOWN);
        peer_open(&bridge, &peer, &usual); /* and it comes back */
        peer_open_consumer(&peer, 1);
        end_rig_state(&bridge.end, LANE_RUNNING);
        finish();
    }
    start();
    deliver_nonsense(9);
    end_rig_taken(&bridge.end, 1);
    assert_true(bailey_bytes_is(bridge.end.taken[0]->message->headers[0].name, "bailey-amqp-table"));
    finish();
}

/* Its predecessor's end is seen late by the broker: what lies behind its messages must not come before they come back. */
static void an_exclusive_consumer_waits_until_the_other_has_gone(void **state)
{
    static const struct amq_source_settings exclusive = {.queue = "q",
                                                         .consumer_tag = "t",
                                                         .consumer_timeout_ms = 1800000,
                                                         .declare = BAILEY_DECLARE_ASSERT,
                                                         .exclusive = true};
    amqp_basic_consume_t *consume;

    (void)state;
    bridge_open_source(&bridge, &exclusive);
    peer_open(&bridge, &peer, &usual);
    peer_find_queue(&peer, 1, 2);
    end_rig_down(&bridge.end, "queue q has another consumer");
    peer_expect(&peer, 1, AMQP_CHANNEL_CLOSE_METHOD);
    peer_find_queue(&peer, 2, 0);
    consume = peer_start_consumer(&peer, 2, NULL);
    assert_true(consume->exclusive);
    end_rig_state(&bridge.end, LANE_RUNNING);
    finish();
}

/* A quorum queue gives back out of order what came back to it in parts. */
static void in_order_from_a_quorum_queue_the_window_stays_as_it_was(void **state)
{
    static const struct amq_source_settings in_order = {.queue = "q",
                                                        .consumer_tag = "t",
                                                        .consumer_timeout_ms = 1800000,
                                                        .declare = BAILEY_DECLARE_CREATE,
                                                        .queue_type = AMQ_QUEUE_QUORUM,
                                                        .durable = true,
                                                        .single_active = true};
    uint16_t window;
    uint64_t tag = 1;

    (void)state;
    bridge_open_source(&bridge, &in_order);
    peer_open(&bridge, &peer, &usual);
    peer_find_queue(&peer, 1, 1); /* a single active one may wait behind another */
    peer_start_consumer(&peer, 1, &window);
    assert_int_equal(window, 31);
    for (int round = 0; round < 3; round++) {
        for (uint64_t last = tag + window; tag < last; tag++)
            peer_deliver(&peer, 1, tag, "small");
        end_rig_taken(&bridge.end, tag - 1);
        end_rig_turn(&bridge.end);
        nothing_sent(); /* no basic.cancel */
        end_rig_confirm(&bridge.end, window);
        expect_ack(tag - 1, true);
    }
    finish();
}

static const struct bailey_map_entry single_active = {"x-single-active-consumer", "true"};
static const struct bailey_map_entry classic = {"x-queue-type", "classic"};

static void an_order_needs_a_single_consumer(void **state)
{
    static const struct {
        struct amq_source_settings settings;
        unsigned lanes;
        const char *reason, *hint; /* NULL: it has an order */
    } cases[] = {
        {{.exclusive = true}, 1, NULL, NULL},
        {{.declare = BAILEY_DECLARE_CREATE, .single_active = true}, 1, NULL, NULL},
        {{.declare = BAILEY_DECLARE_CREATE, .arguments = {&single_active, 1}}, 1, NULL, NULL},
        {{.declare = BAILEY_DECLARE_CREATE, .queue_type = AMQ_QUEUE_CLASSIC, .exclusive = true}, 1, NULL, NULL},
        {{.declare = BAILEY_DECLARE_CREATE, .arguments = {&classic, 1}, .exclusive = true}, 1, NULL, NULL},
        {{.declare = BAILEY_DECLARE_CREATE, .exclusive = true}, 1, "other consumers", "single_active: true"},
        {{.declare = BAILEY_DECLARE_CREATE}, 1, "other consumers", "single_active: true"},
        {{.exclusive = true}, 2, "2 lanes", "lanes: 1"},
        {{.declare = BAILEY_DECLARE_ASSERT, .single_active = true}, 1, "other consumers", "exclusive: true"},
        {{.queue = "q"}, 1, "other consumers", "exclusive: true"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int order = BAILEY_ORDER_KEY; order <= BAILEY_ORDER_STRICT; order++) {
            struct bailey_error err = {0};
            bool kept = amq_keeps_order(NULL, &cases[i].settings, BAILEY_SOURCE, (enum bailey_order)order,
                                        cases[i].lanes, &err);

            assert_int_equal(kept, cases[i].reason == NULL);
            assert_true(kept || (strstr(err.text, cases[i].reason) != NULL && strstr(err.hint, cases[i].hint) != NULL));
        }
        assert_true(amq_keeps_order(NULL, &cases[i].settings, BAILEY_SOURCE, BAILEY_ORDER_NONE, cases[i].lanes, NULL));
    }
    assert_true(amq_keeps_order(NULL, NULL, BAILEY_SINK, BAILEY_ORDER_STRICT, 4, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_only_when_confirmed_and_in_one_frame),
        cmocka_unit_test(one_that_waits_does_not_hold_the_others),
        cmocka_unit_test(what_the_broker_says_of_a_message_comes_with_it),
        cmocka_unit_test(a_large_body_comes_in_pieces),
        cmocka_unit_test(a_message_beyond_the_limit_is_left_to_its_queue),
        cmocka_unit_test(a_cancelled_consumer_is_down_and_comes_back),
        cmocka_unit_test(tags_of_a_lost_channel_mean_nothing_on_the_next),
        cmocka_unit_test(before_the_consumer_timeout_everything_is_handed_back),
        cmocka_unit_test(what_is_handed_back_is_taken_again_when_there_is_room),
        cmocka_unit_test(without_room_for_bytes_the_consumer_is_cancelled),
        cmocka_unit_test(a_drain_cancels_and_leaves_the_rest_to_the_queue),
        cmocka_unit_test(what_was_refused_goes_back_at_a_drain),
        cmocka_unit_test(nonsense_ends_the_connection_and_nothing_else),
        cmocka_unit_test(an_exclusive_consumer_waits_until_the_other_has_gone),
        cmocka_unit_test(in_order_from_a_quorum_queue_the_window_stays_as_it_was),
        cmocka_unit_test(an_order_needs_a_single_consumer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
