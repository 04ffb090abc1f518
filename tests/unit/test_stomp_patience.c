/* How long a sink waits for RECEIPTs, to the millisecond: on virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "stomp_peer.h"
#include "virtual_clock.h"

enum { PATIENCE_MS = 30000, REAL_LIMIT_S = 20 };

static const struct bailey_template queue = {.constant = {(const uint8_t *)"/queue/q", 8}, .slot = -1};
static const struct stomp_sink_settings settings = {.destination = &queue, .max_unconfirmed = 1000};

static struct stomp_rig rig;
static struct stomp_peer peer;

/* `count` messages are sent, and none has its RECEIPT yet. */
static void start_with(int count)
{
    stomp_rig_init(&rig);
    rig.broker_settings.receipt_timeout_ms = PATIENCE_MS;
    stomp_rig_open_sink(&rig, &settings);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
    end_rig_state(&rig.end, LANE_RUNNING);
    for (int i = 0; i < count; i++)
        end_rig_push(&rig.end, end_rig_message(&rig.end, "m"));
    for (int i = 0; i < count; i++)
        stomp_peer_expect_send(&peer, "m");
}

static void finish(void)
{
    stomp_peer_close(&peer);
    end_rig_close(&rig.end);
}

static void pass(int64_t ms)
{
    time_ms += ms;
    for (int i = 0; i < 3; i++)
        end_rig_turn(&rig.end);
}

static void receipt(int number, size_t settled)
{
    char id[16];

    snprintf(id, sizeof id, "%d", number);
    stomp_peer_receipt(&peer, id);
    end_rig_settled(&rig.end, settled);
}

static void without_any_it_is_the_time_since_the_oldest_was_sent(void **state)
{
    (void)state;
    start_with(1);
    pass(PATIENCE_MS / 2);
    end_rig_push(&rig.end, end_rig_message(&rig.end, "later"));
    stomp_peer_expect_send(&peer, "later");
    pass(PATIENCE_MS / 2 - 1);
    assert_int_not_equal(rig.end.status.state, LANE_DOWN);
    pass(1);
    end_rig_down(&rig.end, "no RECEIPT within 30000 ms");
    assert_int_equal(rig.end.status.in_doubt, 2);
    finish();
}

/* All were sent at once, and the last RECEIPT comes long after receipt_timeout: no reason to send them again. */
static void a_slow_but_steady_broker_is_in_time(void **state)
{
    enum { COUNT = 6 };

    (void)state;
    start_with(COUNT);
    for (int i = 1; i < COUNT; i++) {
        pass(PATIENCE_MS - 1);
        receipt(i, (size_t)i);
    }
    assert_int_not_equal(rig.end.status.state, LANE_DOWN);
    assert_int_equal(rig.end.status.in_doubt, 0);
    pass(PATIENCE_MS - 1);
    assert_int_not_equal(rig.end.status.state, LANE_DOWN);
    pass(1); /* and then none comes */
    end_rig_down(&rig.end, "no RECEIPT within 30000 ms");
    assert_int_equal(rig.end.status.in_doubt, 1);
    finish();
}

/* RabbitMQ does not tell of a message that it could not store: RECEIPTs of others must not hold that one for ever. */
static void receipts_of_others_do_not_hold_one_that_has_none(void **state)
{
    (void)state;
    start_with(4);
    receipt(1, 1);
    pass(PATIENCE_MS / 2);
    receipt(3, 2);
    pass(PATIENCE_MS / 2 - 1);
    receipt(4, 3);
    assert_int_not_equal(rig.end.status.state, LANE_DOWN);
    pass(1);
    end_rig_down(&rig.end, "no RECEIPT within 30000 ms");
    assert_int_equal(rig.end.status.in_doubt, 1);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_any_it_is_the_time_since_the_oldest_was_sent),
        cmocka_unit_test(a_slow_but_steady_broker_is_in_time),
        cmocka_unit_test(receipts_of_others_do_not_hold_one_that_has_none),
    };

    alarm(REAL_LIMIT_S); /* the deadlines of the rig stand still with the clock */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
