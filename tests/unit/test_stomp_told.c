/* Which failures and recoveries are logged: one event for each that is news. The rules as such, and then what an end's log shows. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "connectors/stomp/told.h"
#include "stomp_peer.h"
#include "virtual_clock.h"

enum { REAL_LIMIT_S = 20, ATTEMPTS = 4 };

static const struct stomp_end send_a = {"a", "send"}, receive_a = {"a", "receive"}, send_b = {"b", "send"};

/* ---- The rules ---- */

static void what_fails_before_connected_is_the_brokers(void **state)
{
    struct stomp_told told = {0};

    (void)state;
    assert_true(stomp_told_failure(&told, send_a, STOMP_BEFORE_CONNECTED, "refused"));
    assert_false(stomp_told_failure(&told, send_b, STOMP_BEFORE_CONNECTED, "refused"));
    assert_true(stomp_told_failure(&told, send_b, STOMP_BEFORE_CONNECTED, "wrong password"));
    assert_false(stomp_told_failure(&told, send_a, STOMP_BEFORE_CONNECTED, "refused")); /* in turn: still no news */
    assert_true(stomp_told_connected(&told, receive_a));
    assert_true(stomp_told_failure(&told, send_a, STOMP_BEFORE_CONNECTED, "refused"));
}

static void a_refusal_is_over_when_its_end_works(void **state)
{
    struct stomp_told told = {0};

    (void)state;
    assert_true(stomp_told_failure(&told, send_a, STOMP_REFUSED, "may not"));
    assert_false(stomp_told_connected(&told, send_a)); /* proves nothing */
    assert_false(stomp_told_failure(&told, send_a, STOMP_REFUSED, "may not"));
    assert_true(stomp_told_failure(&told, send_a, STOMP_REFUSED, "something else"));
    assert_true(stomp_told_connected(&told, receive_a)); /* another end has nothing to do with it */
    stomp_told_works(&told, receive_a);
    stomp_told_works(&told, send_b);
    assert_false(stomp_told_failure(&told, send_a, STOMP_REFUSED, "may not"));
    stomp_told_works(&told, send_a);
    assert_true(stomp_told_connected(&told, send_a));
    assert_true(stomp_told_failure(&told, send_a, STOMP_REFUSED, "may not"));
}

/* The same words for two ends are one event, and neither is told that it is connected. */
static void two_ends_may_be_refused_alike(void **state)
{
    struct stomp_told told = {0};

    (void)state;
    assert_true(stomp_told_failure(&told, send_a, STOMP_REFUSED, "may not"));
    assert_false(stomp_told_failure(&told, send_b, STOMP_REFUSED, "may not"));
    assert_false(stomp_told_connected(&told, send_b));
}

static void a_loss_is_answered_once(void **state)
{
    struct stomp_told told = {0};

    (void)state;
    assert_true(stomp_told_failure(&told, send_a, STOMP_BEHIND_CONNECTED, "reset"));
    assert_true(stomp_told_connected(&told, send_a));
    assert_false(stomp_told_failure(&told, send_a, STOMP_BEHIND_CONNECTED, "reset"));
    assert_false(stomp_told_connected(&told, send_a));
}

static void what_is_remembered_is_bounded(void **state)
{
    struct stomp_told told = {0};
    char text[300];

    (void)state;
    for (int i = 0; i < 3 * STOMP_TOLD_MAX; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_true(stomp_told_failure(&told, send_a, STOMP_REFUSED, text));
        assert_false(stomp_told_failure(&told, send_a, STOMP_REFUSED, text));
    }
    assert_int_equal(told.count, STOMP_TOLD_MAX);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_true(stomp_told_failure(&told, send_a, STOMP_REFUSED, text));
    assert_false(stomp_told_failure(&told, send_a, STOMP_REFUSED, text)); /* though it does not fit */
    stomp_told_works(&told, send_a);
    assert_int_equal(told.count, 0);
}

/* ---- The log ---- */

static struct stomp_rig rig;
static struct stomp_peer peer;
static FILE *log_file;

static void begin_log(void)
{
    log_file = tmpfile();
    assert_non_null(log_file);
    log_set_fd(fileno(log_file));
}

/* How often the log has had this word. */
static int logged(const char *word)
{
    char line[LOG_LINE_MAX];
    int count = 0;

    rewind(log_file);
    while (fgets(line, sizeof line, log_file) != NULL)
        count += strstr(line, word) != NULL;
    return count;
}

static void finish(void)
{
    end_rig_close(&rig.end);
    log_set_fd(STDERR_FILENO);
    fclose(log_file);
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
    begin_log();
    stomp_rig_init(&rig);
    stomp_rig_open_source(&rig, &settings);
    for (int i = 0; i < ATTEMPTS; i++) {
        next_attempt();
        stomp_peer_expect(&peer, "SUBSCRIBE");
        refuse("not authorized to read");
    }
    assert_int_equal(logged("stomp.error"), 1);
    assert_int_equal(logged("stomp.connected"), 1); /* before it was refused */
    next_attempt();
    stomp_peer_expect(&peer, "SUBSCRIBE");
    refuse("selector");
    assert_int_equal(logged("stomp.error"), 2);
    next_attempt();
    stomp_peer_expect(&peer, "SUBSCRIBE");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt")); /* it holds */
    end_rig_state(&rig.end, LANE_RUNNING);
    assert_int_equal(logged("stomp.connected"), 2);
    stomp_peer_say(&peer, "ERROR\nmessage:not authorized to read\n\n");
    stomp_peer_gone(&peer);
    assert_int_equal(logged("stomp.error"), 3);
    finish();
}

static void a_refused_message_is_one_event(void **state)
{
    static const struct bailey_template queue = {.constant = {(const uint8_t *)"/queue/q", 8}, .slot = -1};
    static const struct stomp_sink_settings settings = {.destination = &queue, .max_unconfirmed = 10};

    (void)state;
    begin_log();
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
    assert_int_equal(logged("stomp.error"), 1);
    assert_int_equal(logged("stomp.connected"), 1);
    next_attempt();
    stomp_peer_receipt(&peer, stomp_peer_expect_send(&peer, "a"));
    end_rig_settled(&rig.end, 1);
    assert_int_equal(logged("stomp.connected"), 2);
    stomp_peer_close(&peer);
    finish();
}

/* Nothing is said on it, but it holds: when it is lost the next time, that is news. */
static void an_idle_connection_that_holds_works(void **state)
{
    static const struct bailey_template queue = {.constant = {(const uint8_t *)"/queue/q", 8}, .slot = -1};
    static const struct stomp_sink_settings settings = {.destination = &queue, .max_unconfirmed = 10};

    (void)state;
    begin_log();
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
    assert_int_equal(logged("stomp.connection_failed"), 2); /* the first, and the one behind the long time */
    assert_int_equal(logged("stomp.connected"), 4);         /* at first, behind each of these, and when it held */
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fails_before_connected_is_the_brokers),
        cmocka_unit_test(a_refusal_is_over_when_its_end_works),
        cmocka_unit_test(two_ends_may_be_refused_alike),
        cmocka_unit_test(a_loss_is_answered_once),
        cmocka_unit_test(what_is_remembered_is_bounded),
        cmocka_unit_test(a_refused_subscription_is_one_event),
        cmocka_unit_test(a_refused_message_is_one_event),
        cmocka_unit_test(an_idle_connection_that_holds_works),
    };

    alarm(REAL_LIMIT_S); /* the deadlines of the rig stand still with the clock */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
