/* test_amqp_probe.c: `check --connect` against a broker that does as the test says: what is sent, and what becomes of the
 * answers. Nothing that is sent may create or consume. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp_peer.h"
#include "probe_rig.h"

static const struct peer_options rabbit = {.product = "RabbitMQ"}, other = {.product = "LavinMQ"};
static const struct bailey_template key = {.constant = {(const uint8_t *)"k", 1}, .slot = -1};
static const struct amq_sink_settings nothing = {
    .exchange = "x", .routing_key = &key, .max_unconfirmed = 1000, .declare = BAILEY_DECLARE_NEVER};
static const struct amq_sink_settings to_exchange = {.exchange = "or.ders", .routing_key = &key};
static const struct amq_source_settings from_queue = {.queue = "in"};
static const struct amq_source_settings from_new_queue = {.queue = "in", .declare = BAILEY_DECLARE_CREATE};

static struct bridge bridge; /* its own sink takes the first channel for publishing */
static struct peer idle, peer;
static uint16_t number; /* of the channel that asks */

static struct probe_rig asked;

static void ask(enum bailey_role role, const void *settings, const struct peer_options *options, int64_t timeout_ms)
{
    bridge_open_sink(&bridge, &nothing);
    probe_rig_init(&asked, bridge.end.loop, role, timeout_ms);
    peer_open(&bridge, &idle, options);
    peer_open_publisher(&idle, 1);
    amq_probe(bridge.end.broker, settings, &asked.probe);
    number = role == BAILEY_SINK ? 2 : 1;
    if (role == BAILEY_SINK)
        peer = idle;
    else
        peer_open(&bridge, &peer, options);
}

static void open_channel(void)
{
    amqp_channel_open_ok_t opened = {0};

    peer_expect(&peer, number, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(&peer, number, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
}

/* The channel is closed for a reason; bailey opens it again. */
static void refuse(uint16_t code, const char *text)
{
    peer_close_channel(&peer, number, code, text);
    open_channel();
}

static void let_it_leave(void)
{
    amqp_channel_close_ok_t closed = {0};

    peer_expect(&peer, number, AMQP_CHANNEL_CLOSE_METHOD);
    peer_method(&peer, number, AMQP_CHANNEL_CLOSE_OK_METHOD, &closed);
    if (number > 1) /* the connection has another channel */
        return;
    peer_expect(&peer, 0, AMQP_CONNECTION_CLOSE_METHOD);
    peer_method(&peer, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &(amqp_connection_close_ok_t){0});
}

static bool is_done(struct end_rig *b)
{
    (void)b;
    return asked.done;
}

static void finish(void)
{
    end_rig_until(&bridge.end, is_done);
    if (peer.fd != idle.fd)
        peer_close(&peer);
    peer_close(&idle);
    end_rig_close(&bridge.end);
    assert_int_equal(asked.rows, 1);
}

static void answer_look_at_queue(uint32_t messages)
{
    amqp_queue_declare_ok_t there = {.queue = amqp_cstring_bytes("in"), .message_count = messages, .consumer_count = 1};
    amqp_queue_declare_t *look = peer_expect(&peer, number, AMQP_QUEUE_DECLARE_METHOD);

    assert_true(look->passive);
    peer_method(&peer, number, AMQP_QUEUE_DECLARE_OK_METHOD, &there);
}

static void answer_look_at_exchange(void)
{
    amqp_exchange_declare_ok_t there = {0};
    amqp_exchange_declare_t *look = peer_expect(&peer, number, AMQP_EXCHANGE_DECLARE_METHOD);

    assert_true(look->passive);
    peer_method(&peer, number, AMQP_EXCHANGE_DECLARE_OK_METHOD, &there);
}

/* No broker may consume, publish or declare what these say. */
static void expect_impossible_consume(void)
{
    amqp_basic_consume_t *consume = peer_expect(&peer, number, AMQP_BASIC_CONSUME_METHOD);

    assert_int_equal(consume->arguments.num_entries, 1);
    assert_memory_equal(consume->arguments.entries[0].key.bytes, "x-priority", 10);
    assert_int_equal(consume->arguments.entries[0].value.kind, AMQP_FIELD_KIND_UTF8);
}

static void expect_impossible_publish(void)
{
    amqp_basic_publish_t *publish = peer_expect(&peer, number, AMQP_BASIC_PUBLISH_METHOD);

    assert_memory_equal(publish->exchange.bytes, "or.ders", 7);
    peer_next(&peer);
    assert_int_equal(peer.frame.type, AMQ_FRAME_HEADER);
    assert_memory_equal(peer.held + 12, "\x01\x10\4none\6nobody", 14);
    peer_expect(&peer, number, AMQP_BASIC_QOS_METHOD);
}

static void expect_impossible_declare(void)
{
    amqp_queue_declare_t *declare = peer_expect(&peer, number, AMQP_QUEUE_DECLARE_METHOD);

    assert_false(declare->passive);
    assert_memory_equal(declare->arguments.entries[0].key.bytes, "x-expires", 9);
    assert_true(declare->arguments.entries[0].value.value.i64 < 0);
}

static void a_queue_and_the_right_to_read_it(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_queue, &rabbit, 10000);
    open_channel();
    answer_look_at_queue(7);
    expect_impossible_consume();
    refuse(406, "PRECONDITION_FAILED - invalid arg 'x-priority'");
    let_it_leave();
    finish();
    assert_int_equal(asked.result, BAILEY_PROBE_OK);
    assert_string_equal(asked.what, "queue in");
    assert_string_equal(asked.detail, "7 messages waiting, 1 consumer; read allowed");
    assert_non_null(strstr(asked.address, "127.0.0.1:"));
}

static void a_denial_names_what_is_needed_and_how_it_is_given(void **state)
{
    (void)state;
    ask(BAILEY_SINK, &to_exchange, &rabbit, 10000);
    open_channel();
    answer_look_at_exchange();
    expect_impossible_publish();
    refuse(403, "ACCESS_REFUSED - access to exchange 'or.ders' in vhost 'shop' refused for user 'user'");
    let_it_leave();
    finish();
    assert_int_equal(asked.result, BAILEY_PROBE_DENIED);
    assert_non_null(strstr(asked.detail, "refused for user 'user' (it needs write)"));
    assert_string_equal(asked.grant, "rabbitmqctl set_permissions -p shop user '^$' '^(or\\.ders)$' '^$'");
}

static void what_is_to_be_created_is_rehearsed(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_new_queue, &rabbit, 10000);
    open_channel();
    peer_expect(&peer, number, AMQP_QUEUE_DECLARE_METHOD);
    refuse(404, "NOT_FOUND - no queue 'in'");
    expect_impossible_declare();
    refuse(406, "PRECONDITION_FAILED - invalid arg 'x-expires'");
    expect_impossible_consume();
    refuse(404, "NOT_FOUND - no queue 'in'");
    let_it_leave();
    finish();
    assert_int_equal(asked.result, BAILEY_PROBE_OK);
    assert_string_equal(asked.detail, "does not exist; bailey will create it (declare: create); read allowed");
}

static void what_does_not_exist_is_missing(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_queue, &rabbit, 10000);
    open_channel();
    peer_expect(&peer, number, AMQP_QUEUE_DECLARE_METHOD);
    refuse(404, "NOT_FOUND - no queue 'in'");
    let_it_leave();
    finish();
    assert_int_equal(asked.result, BAILEY_PROBE_MISSING);
    assert_string_equal(asked.grant, "");
}

static void another_broker_is_not_put_to_the_test(void **state)
{
    (void)state;
    ask(BAILEY_SINK, &to_exchange, &other, 10000);
    open_channel();
    answer_look_at_exchange();
    let_it_leave();
    finish();
    assert_int_equal(asked.result, BAILEY_PROBE_OK);
    assert_string_equal(asked.detail, "write can only be told by trying");
}

static void a_rehearsal_that_is_taken_seriously_ends_at_once(void **state)
{
    amqp_basic_consume_ok_t consuming = {.consumer_tag = amqp_cstring_bytes("c")};

    (void)state;
    ask(BAILEY_SOURCE, &from_queue, &rabbit, 10000);
    open_channel();
    answer_look_at_queue(1);
    expect_impossible_consume();
    peer_method(&peer, number, AMQP_BASIC_CONSUME_OK_METHOD, &consuming);
    let_it_leave(); /* not a word of basic.ack */
    finish();
    assert_string_equal(asked.detail, "1 message waiting, 1 consumer; read can only be told by trying");
}

static void silence_has_an_end(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_queue, &rabbit, 1000);
    open_channel();
    peer_expect(&peer, number, AMQP_QUEUE_DECLARE_METHOD);
    finish();
    assert_int_equal(asked.result, BAILEY_PROBE_UNREACHABLE);
    assert_string_equal(asked.detail, "no answer in time");
}

static void a_connection_that_breaks_is_told(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_queue, &rabbit, 10000);
    peer_expect(&peer, number, AMQP_CHANNEL_OPEN_METHOD);
    peer_frame(&peer, 7, 0, "", 0);
    finish();
    assert_int_equal(asked.result, BAILEY_PROBE_UNREACHABLE);
    assert_non_null(strstr(asked.detail, "unknown frame type"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_and_the_right_to_read_it),
        cmocka_unit_test(a_denial_names_what_is_needed_and_how_it_is_given),
        cmocka_unit_test(what_is_to_be_created_is_rehearsed),
        cmocka_unit_test(what_does_not_exist_is_missing),
        cmocka_unit_test(another_broker_is_not_put_to_the_test),
        cmocka_unit_test(a_rehearsal_that_is_taken_seriously_ends_at_once),
        cmocka_unit_test(silence_has_an_end),
        cmocka_unit_test(a_connection_that_breaks_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
