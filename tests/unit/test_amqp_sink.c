/* Publishing to a broker that does as the test says: confirms, returns, refusals, the search for a culprit, alarms,
 * lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "amqp_peer.h"

static const struct bailey_template key = {.constant = {(const uint8_t *)"k", 1}, .slot = -1};
static const struct amq_sink_settings settings = {
    .exchange = "x", .routing_key = &key, .max_unconfirmed = 1000, .declare = BAILEY_DECLARE_NEVER};
static const struct peer_options usual;

enum { BIG = 900 << 10 };

static struct bridge bridge;
static struct peer peer;
static struct bailey_bytes props, body;

static void start(void)
{
    bridge_open_sink(&bridge, &settings);
    peer_open(&bridge, &peer, &usual);
    peer_open_publisher(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
}

/* The peer's side of an orderly end. */
static void finish(void)
{
    peer_close(&peer);
    end_rig_close(&bridge.end);
}

static void push(const char *text)
{
    end_rig_push(&bridge.end, end_rig_message(&bridge.end, text));
}

static void expect(const char *text)
{
    peer_expect_publish(&peer, 1, &props, &body);
    assert_true(bailey_bytes_is(body, text));
}

static bool is_marked(void)
{
    return memmem(props.data, props.len, "bailey-possible-duplicate", 25) != NULL;
}

static bool was_settled(uint64_t position)
{
    for (size_t i = 0; i < bridge.end.settled_count; i++)
        if (bridge.end.settled[i].position == position)
            return bridge.end.settled[i].outcome == BAILEY_ACCEPTED;
    return false;
}

static void return_message(const char *text, struct bailey_bytes with)
{
    amqp_basic_return_t back = {.reply_code = 312,
                                .reply_text = amqp_cstring_bytes("NO_ROUTE"),
                                .exchange = amqp_cstring_bytes("x"),
                                .routing_key = amqp_cstring_bytes("k")};

    peer_method(&peer, 1, AMQP_BASIC_RETURN_METHOD, &back);
    peer_content(&peer, 1, with, bailey_bytes_of(text));
}

static void settled_only_when_confirmed(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 5; i++)
        push("m");
    for (int i = 0; i < 5; i++)
        expect("m");
    end_rig_turn(&bridge.end);
    assert_int_equal(bridge.end.settled_count, 0);
    peer_ack(&peer, 1, 4, false);
    end_rig_settled(&bridge.end, 1);
    assert_true(was_settled(4));
    peer_ack(&peer, 1, 5, true);
    end_rig_settled(&bridge.end, 5);
    finish();
}

static void a_nacked_one_is_refused_and_the_others_not(void **state)
{
    amqp_basic_nack_t nack = {.delivery_tag = 2};

    (void)state;
    start();
    push("a");
    push("b");
    push("c");
    expect("a");
    expect("b");
    expect("c");
    peer_method(&peer, 1, AMQP_BASIC_NACK_METHOD, &nack);
    end_rig_refused(&bridge.end, BAILEY_ERR_TRANSIENT, 1);
    peer_ack(&peer, 1, 3, true);
    end_rig_settled(&bridge.end, 2);
    assert_false(was_settled(2));
    finish();
}

/* Equal bodies and keys: the properties tell which one came back. */
static void a_returned_one_is_refused_when_its_ack_comes(void **state)
{
    struct bailey_message *msg;
    uint8_t second[256];
    size_t second_len;

    (void)state;
    start();
    push("same");
    msg = end_rig_message(&bridge.end, "same");
    msg->message_id = bailey_bytes_of("two");
    end_rig_push(&bridge.end, msg);
    push("other");
    expect("same");
    expect("same");
    second_len = props.len;
    memcpy(second, props.data, second_len);
    expect("other");
    return_message("same", (struct bailey_bytes){second, second_len});
    end_rig_turn(&bridge.end);
    assert_int_equal(bridge.end.status.refused[BAILEY_ERR_UNROUTABLE], 0);
    peer_ack(&peer, 1, 3, true);
    end_rig_settled(&bridge.end, 2);
    end_rig_refused(&bridge.end, BAILEY_ERR_UNROUTABLE, 1);
    assert_true(was_settled(1) && !was_settled(2) && was_settled(3));
    finish();
}

static void returns_of_equal_messages_match_one_each(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 3; i++)
        push("same");
    for (int i = 0; i < 3; i++)
        expect("same");
    return_message("same", props);
    return_message("same", props);
    return_message("same", props);
    peer_ack(&peer, 1, 3, true);
    end_rig_refused(&bridge.end, BAILEY_ERR_UNROUTABLE, 3);
    assert_int_equal(bridge.end.settled_count, 0);
    finish();
}

/* A message came back that is none of those that are out, byte by byte: then nothing of them may count as delivered
 * by the acks that follow. They are sent again, one at a time. */
static void an_unknown_return_confirms_nothing(void **state)
{
    amqp_channel_close_ok_t closed = {0};

    (void)state;
    start();
    push("a");
    push("b");
    expect("a");
    expect("b");
    return_message("changed on the way", props);
    peer_ack(&peer, 1, 2, true);
    peer_expect(&peer, 1, AMQP_CHANNEL_CLOSE_METHOD);
    peer_open_publisher(&peer, 2);
    peer_method(&peer, 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &closed);
    assert_int_equal(bridge.end.settled_count, 0);
    peer_expect_publish(&peer, 2, &props, &body);
    assert_true(bailey_bytes_is(body, "a"));
    peer_ack(&peer, 2, 1, false);
    end_rig_settled(&bridge.end, 1);
    peer_expect_publish(&peer, 2, &props, &body);
    peer_ack(&peer, 2, 2, false);
    end_rig_settled(&bridge.end, 2);
    end_rig_state(&bridge.end, LANE_RUNNING);
    finish();
}

static void the_culprit_is_found_and_the_others_delivered(void **state)
{
    (void)state;
    start();
    push("a");
    push("bad");
    push("c");
    expect("a");
    expect("bad");
    expect("c");
    peer_close_channel(&peer, 1, 406, "PRECONDITION_FAILED - no");
    peer_open_publisher(&peer, 1);
    expect("a"); /* alone, and marked: the broker may have it */
    assert_true(is_marked());
    end_rig_turn(&bridge.end);
    assert_int_equal(bridge.end.status.state, LANE_HELD);
    peer_ack(&peer, 1, 1, false);
    end_rig_settled(&bridge.end, 1);
    expect("bad");
    peer_close_channel(&peer, 1, 406, "PRECONDITION_FAILED - no");
    end_rig_refused(&bridge.end, BAILEY_ERR_PERMANENT, 1);
    peer_open_publisher(&peer, 1);
    expect("c");
    peer_ack(&peer, 1, 1, false);
    end_rig_settled(&bridge.end, 2);
    end_rig_state(&bridge.end, LANE_BLOCKED);

    /* The lane tries it again after a while: alone, while what is new waits for its verdict. */
    push("d");
    expect("d");
    end_rig_turn(&bridge.end);
    peer_ack(&peer, 1, 2, false);
    expect("bad");
    push("e");
    end_rig_turn(&bridge.end);
    peer_close_channel(&peer, 1, 406, "PRECONDITION_FAILED - no");
    end_rig_refused(&bridge.end, BAILEY_ERR_PERMANENT, 2);
    peer_open_publisher(&peer, 1);
    expect("e");
    peer_ack(&peer, 1, 1, false);
    end_rig_settled(&bridge.end, 4);
    finish();
}

/* The exchange is denied to all messages: none of them is to blame. */
static void a_denied_exchange_takes_the_sink_down(void **state)
{
    (void)state;
    start();
    push("a");
    expect("a");
    peer_close_channel(&peer, 1, 403, "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'u'");
    end_rig_state(&bridge.end, LANE_DOWN);
    assert_non_null(strstr(bridge.end.status.reason, "403 ACCESS_REFUSED"));
    assert_int_equal(bridge.end.status.refused[BAILEY_ERR_PERMANENT], 0);
    peer_open_publisher(&peer, 1);
    expect("a");
    peer_ack(&peer, 1, 1, false);
    end_rig_settled(&bridge.end, 1);
    finish();
}

/* The routing key is the message's own: it is refused, and the route goes on. */
static void a_denied_routing_key_is_refused(void **state)
{
    (void)state;
    start();
    push("a");
    expect("a");
    peer_close_channel(&peer, 1, 403,
                       "ACCESS_REFUSED - access to topic 'k' in exchange 'x' in vhost '/' refused for user 'u'");
    end_rig_refused(&bridge.end, BAILEY_ERR_PERMANENT, 1);
    finish();
}

static void a_missing_exchange_takes_the_sink_down(void **state)
{
    (void)state;
    start();
    push("a");
    expect("a");
    peer_close_channel(&peer, 1, 404, "NOT_FOUND - no exchange 'x'");
    end_rig_state(&bridge.end, LANE_DOWN);
    assert_non_null(strstr(bridge.end.status.reason, "404 NOT_FOUND"));
    peer_open_publisher(&peer, 1);
    expect("a");
    peer_ack(&peer, 1, 1, false);
    end_rig_settled(&bridge.end, 1);
    finish();
}

static void an_alarm_holds_the_lane(void **state)
{
    amqp_connection_blocked_t blocked = {.reason = amqp_cstring_bytes("low on memory")};
    amqp_connection_unblocked_t unblocked = {0};

    (void)state;
    start();
    peer_method(&peer, 0, AMQP_CONNECTION_BLOCKED_METHOD, &blocked);
    end_rig_state(&bridge.end, LANE_HELD);
    assert_non_null(strstr(bridge.end.status.reason, "low on memory"));
    push("a");
    end_rig_turn(&bridge.end);
    peer_method(&peer, 0, AMQP_CONNECTION_UNBLOCKED_METHOD, &unblocked);
    expect("a");
    end_rig_state(&bridge.end, LANE_RUNNING);
    finish();
}

static void a_lost_connection_sends_again_marked(void **state)
{
    (void)state;
    start();
    push("a");
    expect("a");
    assert_false(is_marked());
    peer_close(&peer);
    end_rig_state(&bridge.end, LANE_DOWN);
    assert_int_equal(bridge.end.settled_count, 0);
    peer_open(&bridge, &peer, &usual);
    peer_open_publisher(&peer, 1);
    expect("a");
    assert_true(is_marked());
    peer_ack(&peer, 1, 1, false);
    end_rig_settled(&bridge.end, 1);
    assert_int_equal(bridge.end.status.in_doubt, 1);
    finish();
}

/* Confirms that cannot be meant are a protocol error: nothing is settled by them. */
static void confirms_for_what_was_not_sent_end_the_connection(void **state)
{
    static const struct {
        uint64_t tag;
        bool multiple;
    } lies[] = {{2, false}, {2, true}, {0, false}, {UINT64_MAX, true}};

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        start();
        push("a");
        expect("a");
        peer_ack(&peer, 1, lies[i].tag, lies[i].multiple);
        peer_gone(&peer);
        assert_int_equal(bridge.end.settled_count, 0);
        end_rig_close(&bridge.end);
    }
}

static void push_big(char letter)
{
    static uint8_t big[BIG];
    struct bailey_message *msg = end_rig_message(&bridge.end, "");

    memset(big, letter, sizeof big);
    msg->body = bailey_message_copy(msg, big, sizeof big);
    end_rig_push(&bridge.end, msg);
}

static bool some_settled(struct end_rig *b)
{
    return b->settled_count > 0;
}

/* A long body is written by reference. The peer lies that it has what still waits here to be written. */
static void a_body_outlives_a_lying_ack(void **state)
{
    static const char letters[] = "abcdef";
    int small = 64 << 10, large = 4 << 20;

    (void)state;
    start();
    setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); /* so that the kernel does not take it all */
    for (size_t i = 0; i < 3; i++)
        push_big(letters[i]);
    end_rig_turn(&bridge.end);
    peer_ack(&peer, 1, 0, true); /* all */
    end_rig_until(&bridge.end, some_settled);
    for (size_t i = 3; i < 6; i++)
        push_big(letters[i]); /* takes the memory, if it was given back */
    setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    for (size_t i = 0; i < 6; i++) {
        peer_expect(&peer, 1, AMQP_BASIC_PUBLISH_METHOD);
        peer_next(&peer);
        for (size_t got = 0; got < BIG; got += peer.frame.size) {
            peer_next(&peer);
            assert_int_equal(peer.frame.type, AMQ_FRAME_BODY);
            for (uint32_t at = 0; at < peer.frame.size; at += 97)
                assert_int_equal(peer.held[at], letters[i]);
        }
    }
    finish();
}

static void what_cannot_be_sent_is_refused_before(void **state)
{
    static char long_key[300];
    struct bailey_message *msg;

    (void)state;
    start();
    memset(long_key, 'k', sizeof long_key);
    msg = end_rig_message(&bridge.end, "too much header");
    msg->key = (struct bailey_bytes){bailey_message_alloc(msg, 200 << 10), 200 << 10};
    memset((uint8_t *)(uintptr_t)msg->key.data, 'k', msg->key.len);
    end_rig_push(&bridge.end, msg);
    end_rig_refused(&bridge.end, BAILEY_ERR_PERMANENT, 1);
    push("good");
    expect("good");
    peer_ack(&peer, 1, 1, false);
    end_rig_settled(&bridge.end, 1);
    finish();
}

static void bodies_are_cut_at_the_frame_size(void **state)
{
    static uint8_t big[10000];
    struct peer_options small = {.frame_max = 4096};
    struct bailey_message *msg;
    size_t got = 0;

    (void)state;
    bridge_open_sink(&bridge, &settings);
    peer_open(&bridge, &peer, &small);
    peer_open_publisher(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i / 7);
    msg = end_rig_message(&bridge.end, "");
    msg->body = bailey_message_copy(msg, big, sizeof big);
    end_rig_push(&bridge.end, msg);
    peer_expect(&peer, 1, AMQP_BASIC_PUBLISH_METHOD);
    peer_next(&peer);
    while (got < sizeof big) {
        peer_next(&peer);
        assert_int_equal(peer.frame.type, AMQ_FRAME_BODY);
        assert_true(peer.frame.size <= 4096 - 8);
        assert_memory_equal(peer.held, big + got, peer.frame.size);
        got += peer.frame.size;
    }
    assert_int_equal(got, sizeof big);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settled_only_when_confirmed),
        cmocka_unit_test(a_nacked_one_is_refused_and_the_others_not),
        cmocka_unit_test(a_returned_one_is_refused_when_its_ack_comes),
        cmocka_unit_test(returns_of_equal_messages_match_one_each),
        cmocka_unit_test(an_unknown_return_confirms_nothing),
        cmocka_unit_test(the_culprit_is_found_and_the_others_delivered),
        cmocka_unit_test(a_denied_exchange_takes_the_sink_down),
        cmocka_unit_test(a_denied_routing_key_is_refused),
        cmocka_unit_test(a_missing_exchange_takes_the_sink_down),
        cmocka_unit_test(an_alarm_holds_the_lane),
        cmocka_unit_test(a_lost_connection_sends_again_marked),
        cmocka_unit_test(confirms_for_what_was_not_sent_end_the_connection),
        cmocka_unit_test(a_body_outlives_a_lying_ack),
        cmocka_unit_test(what_cannot_be_sent_is_refused_before),
        cmocka_unit_test(bodies_are_cut_at_the_frame_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
