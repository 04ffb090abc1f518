/* Reading back what lies in a sink's queue, from a broker that does as the test says: how each dialect is asked, when it has ended,
 * what is removed and what is left, which destinations are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log_rig.h"
#include "stomp_peer.h"
#include "virtual_clock.h"

enum { REAL_LIMIT_S = 20 };

#define CONSTANT(text)                                                      \
    {                                                                       \
        .constant = {(const uint8_t *)(text), sizeof(text) - 1}, .slot = -1 \
    }

static const struct bailey_template dead = CONSTANT("/queue/dead");
static const struct stomp_sink_settings settings = {.destination = &dead};

static struct stomp_rig rig;
static struct stomp_peer peer;

static void start(const char *server, bool only_looks)
{
    stomp_rig_init(&rig);
    stomp_rig_open_shelf(&rig, &settings, only_looks);
    stomp_peer_open_subscribed(&rig, &peer, server);
    end_rig_state(&rig.end, LANE_RUNNING);
}

static void finish(void)
{
    stomp_peer_close(&peer);
    end_rig_close(&rig.end);
}

/* The time that it listens. */
static void pass(int64_t ms)
{
    time_ms += ms;
    end_rig_turn(&rig.end);
}

static void expect_end(enum lane_state state)
{
    stomp_peer_expect(&peer, "DISCONNECT");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt"));
    end_rig_state(&rig.end, state);
}

static void each_dialect_is_asked_in_its_way(void **state)
{
    static const struct {
        const char *server;
        bool only_looks;
        const char *ack, *header, *value;
    } cases[] = {
        {"ActiveMQ/5", true, "auto", "browser", "true"},
        {"ActiveMQ/5", false, "client-individual", "activemq.prefetchSize", "65535"},
        {"ActiveMQ-Artemis/2", true, "client-individual", "consumer-window-size", "-1"},
        {"RabbitMQ/3", true, "client-individual", "prefetch-count", "65535"},
        {"Other/1", false, "client-individual", "browser", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start(cases[i].server, cases[i].only_looks);
        stomp_peer_has(&peer, "destination", "/queue/dead");
        stomp_peer_has(&peer, "ack", cases[i].ack);
        stomp_peer_has(&peer, cases[i].header, cases[i].value);
        finish();
    }
}

static void it_has_ended_when_nothing_comes_for_a_second(void **state)
{
    (void)state;
    start("Other/1", false);
    pass(900);
    stomp_peer_deliver(&peer, "1", "a");
    end_rig_taken(&rig.end, 1);
    pass(900);
    stomp_peer_deliver(&peer, "2", "b");
    end_rig_taken(&rig.end, 2);
    pass(900);
    assert_int_equal(rig.end.status.state, LANE_RUNNING);
    pass(200);
    end_rig_state(&rig.end, LANE_DRAINING);
    stomp_peer_deliver(&peer, "3", "too late");
    end_rig_turn(&rig.end);
    end_rig_confirm(&rig.end, 1);
    stomp_peer_expect(&peer, "ACK");
    lane_stop(rig.end.lane); /* the other one is left */
    expect_end(LANE_STOPPED);
    assert_int_equal(rig.end.taken_in_all, 2);
    finish();
}

/* What waits for room is not heard, and silence says nothing then. */
static void without_room_silence_is_no_end(void **state)
{
    char id[32];

    (void)state;
    start("Other/1", false);
    for (int i = 1; i <= END_RIG_CREDIT + 5; i++) {
        snprintf(id, sizeof id, "%d", i);
        stomp_peer_deliver(&peer, id, "m");
    }
    end_rig_taken(&rig.end, END_RIG_CREDIT);
    for (int i = 0; i < 5; i++)
        pass(1000);
    assert_int_not_equal(rig.end.status.state, LANE_DRAINING);
    end_rig_confirm(&rig.end, END_RIG_CREDIT);
    for (int i = 0; i < END_RIG_CREDIT; i++)
        stomp_peer_expect(&peer, "ACK");
    end_rig_taken(&rig.end, END_RIG_CREDIT + 5);
    end_rig_confirm(&rig.end, 5);
    for (int i = 0; i < 5; i++)
        stomp_peer_expect(&peer, "ACK");
    pass(1000);
    pass(1000);
    expect_end(LANE_FINISHED);
    finish();
}

static void browse(const char *id, const char *more, const char *body)
{
    stomp_peer_say(&peer, "MESSAGE\nsubscription:1\nmessage-id:%s\ndestination:/queue/dead\nexpires:0\n%s\n%s", id,
                   more, body);
}

/* ActiveMQ says when a browser has seen all; a message cannot say it. */
static void a_browser_ends_when_the_broker_says_so(void **state)
{
    (void)state;
    start("ActiveMQ/5", true);
    browse("ID:1", "", "a");
    browse("ID:2", "browser:end\n", "b");
    end_rig_taken(&rig.end, 2);
    pass(5000); /* however long it takes */
    browse("ID:3", "", "c");
    end_rig_taken(&rig.end, 3);
    end_rig_confirm(&rig.end, 3);
    end_rig_turn(&rig.end);
    assert_int_equal(rig.end.status.state, LANE_RUNNING);
    stomp_peer_say(&peer, "MESSAGE\nsubscription:1\nmessage-id:0\ndestination:/queue/dead\nbrowser:end\n\n");
    expect_end(LANE_FINISHED); /* without an ACK */
    finish();
}

static void a_look_removes_nothing(void **state)
{
    (void)state;
    log_rig_begin();
    start("Other/1", true);
    stomp_peer_deliver(&peer, "1", "a");
    end_rig_taken(&rig.end, 1);
    end_rig_confirm(&rig.end, 1);
    pass(1000);
    pass(1000);
    expect_end(LANE_FINISHED); /* without an ACK */
    assert_int_equal(log_rig_count("shelf.counted"), 1);
    finish();
    log_rig_end();
}

static void a_broker_that_shows_no_more_is_told(void **state)
{
    (void)state;
    log_rig_begin();
    start("ActiveMQ/5", true);
    for (size_t i = 1; i <= 400; i++) {
        browse("ID:1", "", "m");
        if (i % 100 != 0)
            continue;
        end_rig_taken(&rig.end, i);
        end_rig_confirm(&rig.end, 100);
    }
    stomp_peer_say(&peer, "MESSAGE\nsubscription:1\nmessage-id:0\ndestination:/queue/dead\nbrowser:end\n\n");
    expect_end(LANE_FINISHED);
    assert_int_equal(log_rig_count("shelf.cut"), 1);
    finish();
    log_rig_end();
}

/* On RabbitMQ a subscription declares the queue: it must do so as the sink does. */
static void the_queue_is_declared_as_the_sink_does(void **state)
{
    static const struct bailey_map_entry entries[] = {
        {"x-queue-type", "quorum"}, {"durable", "true"}, {"priority", "5"}};
    struct stomp_sink_settings quorum = settings;

    (void)state;
    quorum.headers = (struct bailey_map){entries, 3};
    log_rig_begin();
    stomp_rig_init(&rig);
    stomp_rig_open_shelf(&rig, &quorum, true);
    stomp_peer_open_subscribed(&rig, &peer, "RabbitMQ/3");
    stomp_peer_has(&peer, "x-queue-type", "quorum");
    stomp_peer_has(&peer, "durable", "true");
    stomp_peer_has(&peer, "priority", NULL);
    end_rig_state(&rig.end, LANE_RUNNING);
    assert_int_equal(log_rig_count("shelf.counted"), 1);
    finish();
    log_rig_end();
}

static void only_destinations_that_are_one_queue(void **state)
{
    static const struct bailey_template made = {.slot = 0}, topic = CONSTANT("/topic/x"),
                                        exchange = CONSTANT("/exchange/x/y"), bare = CONSTANT("jms.x");
    static const struct bailey_map_entry multicast[] = {{"destination-type", "MULTICAST"}};
    const struct {
        struct stomp_sink_settings settings;
        const char *server, *reason;
    } cases[] = {
        {{.destination = &made}, NULL, "names no one queue"},
        {{.destination = &topic}, NULL, "/topic/x is no queue"},
        {{.destination = &exchange}, NULL, "/exchange/x/y is no queue"},
        {{.destination = &bare, .headers = {multicast, 1}}, NULL, "jms.x is no queue"},
        {{.destination = &bare}, "RabbitMQ/3", "jms.x is no queue"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stomp_rig_init(&rig);
        stomp_rig_open_shelf(&rig, &cases[i].settings, false);
        if (cases[i].server != NULL)
            stomp_peer_open(&rig, &peer, cases[i].server);
        end_rig_down(&rig.end, cases[i].reason);
        finish();
    }
}

static void a_refused_subscription_is_told(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    stomp_rig_open_shelf(&rig, &settings, false);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
    stomp_peer_expect(&peer, "SUBSCRIBE");
    stomp_peer_say(&peer, "ERROR\nreceipt-id:%s\nmessage:not authorized to read\n\n",
                   stomp_peer_header(&peer, "receipt"));
    end_rig_down(&rig.end, "not authorized to read");
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_dialect_is_asked_in_its_way),
        cmocka_unit_test(it_has_ended_when_nothing_comes_for_a_second),
        cmocka_unit_test(without_room_silence_is_no_end),
        cmocka_unit_test(a_browser_ends_when_the_broker_says_so),
        cmocka_unit_test(a_look_removes_nothing),
        cmocka_unit_test(a_broker_that_shows_no_more_is_told),
        cmocka_unit_test(the_queue_is_declared_as_the_sink_does),
        cmocka_unit_test(only_destinations_that_are_one_queue),
        cmocka_unit_test(a_refused_subscription_is_told),
    };

    peer.fd = -1;
    alarm(REAL_LIMIT_S); /* the deadlines of the rig stand still with the clock */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
