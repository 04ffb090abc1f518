/* Which failures and recoveries an end's log shows: one event for each that is news. The rules as such: test_told. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "log_rig.h"
#include "stomp_peer.h"
#include "virtual_clock.h"

enum { REAL_LIMIT_S = 20, ATTEMPTS = 4 };

static struct stomp_rig rig;
static struct stomp_peer peer;

static void finish(void)
{
    end_rig_close(&rig.end);
    log_rig_end();
}

/* Time goes on, until the end is tried again. */
static void next_attempt(void)
{
    struct pollfd waiting = {.fd = rig.end.listener, .events = POLLIN};

    for (; poll(&waiting, 1, 0) == 0; time_ms += 1000)
        end_rig_turn(&rig.end);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
}

static void refuse(const char *words)
{
    stomp_peer_say(&peer, "ERROR\nreceipt-id:%s\nmessage:%s\n\n", stomp_peer_header(&peer, "receipt"), words);
    stomp_peer_gone(&peer);
    end_rig_state(&rig.end, LANE_DOWN);
}

static void a_refused_subscription_is_one_event(void **state)
{
    static const struct stomp_source_settings settings = {.destination = "/queue/q"};

    (void)state;
    log_rig_begin();
    stomp_rig_init(&rig);
    stomp_rig_open_source(&rig, &settings);
    for (int i = 0; i < ATTEMPTS; i++) {
        next_attempt();
        stomp_peer_expect(&peer, "SUBSCRIBE");
        refuse("not authorized to read");
    }
    assert_int_equal(log_rig_count("stomp.error"), 1);
    assert_int_equal(log_rig_count("stomp.connected"), 1); /* before it was refused */
    next_attempt();
    stomp_peer_expect(&peer, "SUBSCRIBE");
    refuse("selector");
    assert_int_equal(log_rig_count("stomp.error"), 2);
    next_attempt();
    stomp_peer_expect(&peer, "SUBSCRIBE");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt")); /* it holds */
    end_rig_state(&rig.end, LANE_RUNNING);
    assert_int_equal(log_rig_count("stomp.connected"), 2);
    stomp_peer_say(&peer, "ERROR\nmessage:not authorized to read\n\n");
    stomp_peer_gone(&peer);
    assert_int_equal(log_rig_count("stomp.error"), 3);
    finish();
}

static void a_refused_message_is_one_event(void **state)
{
    static const struct bailey_template queue = {.constant = {(const uint8_t *)"/queue/q", 8}, .slot = -1};
    static const struct stomp_sink_settings settings = {.destination = &queue, .max_unconfirmed = 10};

    (void)state;
    log_rig_begin();
    stomp_rig_init(&rig);
    stomp_rig_open_sink(&rig, &settings);
    for (int i = 0; i < ATTEMPTS; i++) {
        next_attempt();
        if (i == 0) {
            end_rig_state(&rig.end, LANE_RUNNING);
            end_rig_push(&rig.end, end_rig_message(&rig.end, "a"));
        }
        stomp_peer_expect_send(&peer, "a");
        refuse("not authorized to write");
    }
    assert_int_equal(log_rig_count("stomp.error"), 1);
    assert_int_equal(log_rig_count("stomp.connected"), 1);
    next_attempt();
    stomp_peer_receipt(&peer, stomp_peer_expect_send(&peer, "a"));
    end_rig_settled(&rig.end, 1);
    assert_int_equal(log_rig_count("stomp.connected"), 2);
    stomp_peer_close(&peer);
    finish();
}

/* Nothing is said on it, but it holds: when it is lost the next time, that is news. */
static void an_idle_connection_that_holds_works(void **state)
{
    static const struct bailey_template queue = {.constant = {(const uint8_t *)"/queue/q", 8}, .slot = -1};
    static const struct stomp_sink_settings settings = {.destination = &queue, .max_unconfirmed = 10};

    (void)state;
    log_rig_begin();
    stomp_rig_init(&rig);
    stomp_rig_open_sink(&rig, &settings);
    for (int i = 0; i < ATTEMPTS; i++) {
        next_attempt();
        end_rig_state(&rig.end, LANE_RUNNING);
        if (i == 2)
            time_ms += 300000;
        end_rig_turn(&rig.end);
        stomp_peer_close(&peer);
        end_rig_state(&rig.end, LANE_DOWN);
    }
    assert_int_equal(log_rig_count("stomp.connection_failed"), 2); /* the first, and the one behind the long time */
    assert_int_equal(log_rig_count("stomp.connected"), 4); /* at first, behind each of these, and when it held */
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_subscription_is_one_event),
        cmocka_unit_test(a_refused_message_is_one_event),
        cmocka_unit_test(an_idle_connection_that_holds_works),
    };

    alarm(REAL_LIMIT_S); /* the deadlines of the rig stand still with the clock */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
