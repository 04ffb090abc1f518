/* Which failures and recoveries of a connection the log shows: one event for each that is news. The rules as such: test_told. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "amqp_peer.h"
#include "log_rig.h"
#include "virtual_clock.h"

enum { REAL_LIMIT_S = 20, ATTEMPTS = 4 };

static const struct bailey_template key = {.constant = {(const uint8_t *)"k", 1}, .slot = -1};
static const struct amq_sink_settings sink_settings = {
    .exchange = "x", .routing_key = &key, .max_unconfirmed = 1000, .declare = BAILEY_DECLARE_NEVER};
static const struct amq_source_settings source_settings = {
    .queue = "q", .consumer_tag = "t", .consumer_timeout_ms = 1800000, .declare = BAILEY_DECLARE_NEVER};
static const struct peer_options usual;

static struct bridge bridge;
static struct peer peer;

static void finish(void)
{
    end_rig_close(&bridge.end);
    log_rig_end();
}

/* Time goes on, until it dials again. */
static void next_attempt(void)
{
    struct pollfd waiting = {.fd = bridge.end.listener, .events = POLLIN};

    for (; poll(&waiting, 1, 0) == 0; time_ms += 1000)
        end_rig_turn(&bridge.end);
    peer_open(&bridge, &peer, &usual);
}

static void close_connection(uint16_t code, const char *text)
{
    amqp_connection_close_t close = {.reply_code = code, .reply_text = amqp_cstring_bytes(text)};

    peer_method(&peer, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
    peer_expect(&peer, 0, AMQP_CONNECTION_CLOSE_OK_METHOD);
    peer_close(&peer);
    end_rig_state(&bridge.end, LANE_DOWN);
}

static void publish_and(void (*end)(void))
{
    struct bailey_bytes props, body;

    peer_open_publisher(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    peer_expect_publish(&peer, 1, &props, &body);
    end();
}

static void refuse(void)
{
    close_connection(501, "FRAME_ERROR - what is this");
}

static void confirm(void)
{
    peer_ack(&peer, 1, 1, false);
    end_rig_settled(&bridge.end, 1);
}

/* The log-in succeeds each time, and says nothing. */
static void a_connection_that_is_refused_again_and_again_is_one_event(void **state)
{
    (void)state;
    log_rig_begin();
    bridge_open_sink(&bridge, &sink_settings);
    end_rig_push(&bridge.end, end_rig_message(&bridge.end, "a"));
    for (int i = 0; i < ATTEMPTS; i++) {
        next_attempt();
        publish_and(refuse);
    }
    assert_int_equal(log_rig_count("amqp.connection_failed"), 1);
    assert_int_equal(log_rig_count("amqp.connected"), 1); /* before it was refused */
    next_attempt();
    publish_and(confirm);
    assert_int_equal(log_rig_count("amqp.connected"), 2);
    end_rig_push(&bridge.end, end_rig_message(&bridge.end, "b"));
    struct bailey_bytes props, body;

    peer_expect_publish(&peer, 1, &props, &body);
    refuse(); /* it had worked: this is news */
    assert_int_equal(log_rig_count("amqp.connection_failed"), 2);
    finish();
}

/* What was said of it may be said again, in turn with something else, while nothing works. */
static void failures_in_turn_are_one_event_each(void **state)
{
    (void)state;
    log_rig_begin();
    bridge_open_source(&bridge, &source_settings);
    for (int i = 0; i < ATTEMPTS; i++) {
        next_attempt();
        peer_open_consumer(&peer, 1);
        end_rig_state(&bridge.end, LANE_RUNNING);
        close_connection(i % 2 == 0 ? 541 : 504, i % 2 == 0 ? "INTERNAL_ERROR" : "CHANNEL_ERROR");
    }
    assert_int_equal(log_rig_count("amqp.connection_failed"), 2);
    next_attempt();
    peer_open_consumer(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    peer_deliver(&peer, 1, 1, "m"); /* it works */
    end_rig_taken(&bridge.end, 1);
    end_rig_confirm(&bridge.end, 1);
    peer_expect(&peer, 1, AMQP_BASIC_ACK_METHOD);
    close_connection(541, "INTERNAL_ERROR");
    assert_int_equal(log_rig_count("amqp.connection_failed"), 3);
    finish();
}

/* Nothing is said on it, but it holds: when it is lost the next time, that is news. A broker that is stopped refuses nothing. */
static void an_idle_connection_that_holds_works(void **state)
{
    (void)state;
    log_rig_begin();
    bridge_open_source(&bridge, &source_settings);
    for (int i = 0; i < ATTEMPTS; i++) {
        next_attempt();
        peer_open_consumer(&peer, 1);
        end_rig_state(&bridge.end, LANE_RUNNING);
        for (int beats = 0; i == 2 && beats < 60; beats++) {
            time_ms += 5000;
            peer_frame(&peer, AMQ_FRAME_HEARTBEAT, 0, "", 0);
            end_rig_turn(&bridge.end);
        }
        close_connection(320, "CONNECTION_FORCED - broker is stopped");
    }
    assert_int_equal(log_rig_count("amqp.connection_failed"), 2); /* the first, and the one behind the long time */
    assert_int_equal(log_rig_count("amqp.connected"), 4);         /* at first, behind each of these, and when it held */
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_is_refused_again_and_again_is_one_event),
        cmocka_unit_test(failures_in_turn_are_one_event_each),
        cmocka_unit_test(an_idle_connection_that_holds_works),
    };

    alarm(REAL_LIMIT_S); /* the deadlines of the rig stand still with the clock */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
