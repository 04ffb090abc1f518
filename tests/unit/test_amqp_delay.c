/* Where RabbitMQ holds messages until their time: the steps, and what is sent for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp_peer.h"
#include "connectors/amqp/delay.h"

static const struct bailey_template key = {.constant = {(const uint8_t *)"k", 1}, .slot = -1};
static const struct amq_sink_settings settings = {
    .exchange = "x", .routing_key = &key, .max_unconfirmed = 1000, .declare = BAILEY_DECLARE_NEVER};
static const struct peer_options rabbitmq = {.product = "RabbitMQ"}, other;

static struct bridge bridge;
static struct peer peer;
static int64_t hold_ms; /* of each message that is sent */

static size_t send_at(void *self, struct bailey_delivery *const batch[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        batch[i]->deliver_at_ms = bailey_wall_ms(bridge.end.loop) + hold_ms;
    return amq_sink.send(self, batch, count);
}

static void start(const struct peer_options *options)
{
    static struct bailey_sink sink;

    sink = amq_sink;
    sink.send = send_at;
    bridge_open_wrapped_sink(&bridge, &sink, &settings);
    peer_open(&bridge, &peer, options);
    peer_open_publisher(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
}

static void finish(void)
{
    peer_close(&peer);
    end_rig_close(&bridge.end);
}

static void push(const char *text, int64_t expires_in_ms)
{
    struct bailey_message *msg = end_rig_message(&bridge.end, text);

    msg->expires_at_ms = expires_in_ms > 0 ? bailey_wall_ms(bridge.end.loop) + expires_in_ms : 0;
    end_rig_push(&bridge.end, msg);
}

static void expect_declared(const char *name)
{
    amqp_exchange_declare_ok_t exchange_ok = {0};
    amqp_queue_declare_ok_t queue_ok = {0};
    amqp_queue_bind_ok_t bind_ok = {0};
    amqp_exchange_declare_t *exchange = peer_expect(&peer, 1, AMQP_EXCHANGE_DECLARE_METHOD);
    amqp_queue_declare_t *queue;

    assert_int_equal(exchange->exchange.len, strlen(name));
    assert_memory_equal(exchange->exchange.bytes, name, strlen(name));
    assert_true(exchange->durable && !exchange->passive && memcmp(exchange->type.bytes, "fanout", 6) == 0);
    queue = peer_expect(&peer, 1, AMQP_QUEUE_DECLARE_METHOD);
    assert_true(queue->durable && queue->arguments.num_entries == 4);
    assert_non_null(memmem(peer.held, peer.frame.size, "x-dead-letter-exchangeS\0\0\0\1x", 28));
    peer_expect(&peer, 1, AMQP_QUEUE_BIND_METHOD);
    peer_method(&peer, 1, AMQP_EXCHANGE_DECLARE_OK_METHOD, &exchange_ok);
    peer_method(&peer, 1, AMQP_QUEUE_DECLARE_OK_METHOD, &queue_ok);
    peer_method(&peer, 1, AMQP_QUEUE_BIND_OK_METHOD, &bind_ok);
}

/* The frames of a publish; `text` must be in its properties, or the other one. */
static void expect_publish(const char *exchange, const char *text, const char * or)
{
    amqp_basic_publish_t *publish = peer_expect(&peer, 1, AMQP_BASIC_PUBLISH_METHOD);

    assert_int_equal(publish->exchange.len, strlen(exchange));
    assert_memory_equal(publish->exchange.bytes, exchange, strlen(exchange));
    assert_true(publish->mandatory && publish->routing_key.len == 1);
    peer_next(&peer);
    if (text != NULL && memmem(peer.held, peer.frame.size, or, strlen(or)) == NULL)
        assert_non_null(memmem(peer.held, peer.frame.size, text, strlen(text)));
    peer_next(&peer);
}

static void a_step_holds_and_is_no_more_than_an_eighth_too_long(void **state)
{
    (void)state;
    assert_int_equal(amq_delay_step_ms(0), 1000);
    assert_int_equal(amq_delay_step_ms(1), 1125);
    assert_int_equal(amq_delay_step_ms(8), 2000);
    for (unsigned step = 1; step < AMQ_DELAY_STEPS; step++) {
        int64_t before = amq_delay_step_ms(step - 1), here = amq_delay_step_ms(step);

        assert_true(here > before && (here - before) * 8 <= before);
        assert_int_equal(amq_delay_step(here), step);
        assert_int_equal(amq_delay_step(before + 1), step);
    }
    assert_int_equal(amq_delay_step(1), 0);
    assert_true(amq_delay_step_ms(AMQ_DELAY_STEPS - 1) < UINT32_MAX);
}

static void a_place_is_made_once_and_the_message_goes_there(void **state)
{
    (void)state;
    start(&rabbitmq);
    hold_ms = 60000;
    push("a", 0);
    expect_declared("bailey.delay.x.60000");
    expect_publish("bailey.delay.x.60000", "\00560000", "\0055999");
    push("b", 3600000); /* its expiry is no expiration while it is held */
    expect_publish("bailey.delay.x.60000", "bailey-expires-at", "bailey-expires-at");
    hold_ms = 0;
    push("at once", 0);
    expect_publish("x", NULL, NULL);
    peer_ack(&peer, 1, 3, true);
    end_rig_settled(&bridge.end, 3);
    finish();
}

static void what_is_deleted_is_made_again(void **state)
{
    amqp_basic_return_t back = {.reply_code = 312,
                                .reply_text = amqp_cstring_bytes("NO_ROUTE"),
                                .exchange = amqp_cstring_bytes("bailey.delay.x.60000"),
                                .routing_key = amqp_cstring_bytes("k")};

    (void)state;
    start(&rabbitmq);
    hold_ms = 60000;
    push("a", 0);
    expect_declared("bailey.delay.x.60000");
    expect_publish("bailey.delay.x.60000", NULL, NULL);
    peer_method(&peer, 1, AMQP_BASIC_RETURN_METHOD, &back);
    peer_content(&peer, 1, (struct bailey_bytes){(const uint8_t *)"\0\0", 2}, bailey_bytes_of("a"));
    peer_ack(&peer, 1, 1, false);
    end_rig_refused(&bridge.end, BAILEY_ERR_UNROUTABLE, 1);
    push("b", 0);
    expect_declared("bailey.delay.x.60000");
    expect_publish("bailey.delay.x.60000", NULL, NULL);
    finish();
}

static void what_cannot_be_held_is_refused(void **state)
{
    static const struct {
        int64_t hold_ms, expires_in_ms;
        bool is_rabbitmq;
        enum bailey_error_kind kind;
    } cases[] = {
        {60000, 30000, true, BAILEY_ERR_PERMANENT},              /* its time is over before */
        {(int64_t)49 * 86400000, 0, true, BAILEY_ERR_PERMANENT}, /* too long */
        {60000, 0, false, BAILEY_ERR_CONFIG},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start(cases[i].is_rabbitmq ? &rabbitmq : &other);
        hold_ms = cases[i].hold_ms;
        push("a", cases[i].expires_in_ms);
        end_rig_refused(&bridge.end, cases[i].kind, 1);
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_holds_and_is_no_more_than_an_eighth_too_long),
        cmocka_unit_test(a_place_is_made_once_and_the_message_goes_there),
        cmocka_unit_test(what_is_deleted_is_made_again),
        cmocka_unit_test(what_cannot_be_held_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
