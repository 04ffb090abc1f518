/* Consuming from a broker that does as the test says: acknowledgements in each version and dialect, windows, what is left to the
 * broker, the end of a connection, lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "stomp_peer.h"

static const struct stomp_source_settings settings = {.destination = "/queue/q"};

static struct stomp_rig rig;
static struct stomp_peer peer;

static void start_with(const struct stomp_source_settings *s, const char *server)
{
    stomp_rig_open_source(&rig, s);
    stomp_peer_open_subscribed(&rig, &peer, server);
    end_rig_state(&rig.end, LANE_RUNNING);
}

static void start(const char *server)
{
    stomp_rig_init(&rig);
    start_with(&settings, server);
}

static void finish(void)
{
    stomp_peer_close(&peer);
    end_rig_close(&rig.end);
}

static void expect_ack(const char *id)
{
    stomp_peer_expect(&peer, "ACK");
    stomp_peer_has(&peer, "id", id);
}

static void deliver_numbers(int from, int to)
{
    for (int i = from; i <= to; i++) {
        char id[16];

        snprintf(id, sizeof id, "id-%d", i);
        stomp_peer_deliver(&peer, id, "m");
    }
}

/* The lane stops: play the orderly end, and see that these frames come. */
static void expect_end(bool unsubscribes)
{
    if (unsubscribes)
        stomp_peer_expect(&peer, "UNSUBSCRIBE");
    stomp_peer_expect(&peer, "DISCONNECT");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt"));
    stomp_peer_gone(&peer);
}

/* ---- SUBSCRIBE ---- */

static void each_dialect_subscribes_in_its_way(void **state)
{
    static const struct {
        const char *server, *prefetch, *value;
    } dialects[] = {
        {"ActiveMQ/5.18.3", "activemq.prefetchSize", "200"},
        {"RabbitMQ/3.10.8", "prefetch-count", "200"},
        {"ActiveMQ-Artemis/2.40.0 ActiveMQ Artemis Messaging Engine", "consumer-window-size", "204800"},
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        start(dialects[i].server);
        stomp_peer_has(&peer, "id", "1");
        stomp_peer_has(&peer, "destination", "/queue/q");
        stomp_peer_has(&peer, "ack", "client-individual");
        for (size_t k = 0; k < 3; k++)
            stomp_peer_has(&peer, dialects[k].prefetch, k == i ? dialects[k].value : NULL);
        stomp_peer_has(&peer, "selector", NULL);
        finish();
    }
}

static void options_become_headers(void **state)
{
    static const struct bailey_map_entry entries[] = {{"activemq.exclusive", "true"}, {"x:y", "a\nb"}};
    static const struct stomp_source_settings s = {
        .destination = "/queue/a:b", .selector = "color = 'red'", .prefetch = 7, .headers = {entries, 2}};

    (void)state;
    stomp_rig_init(&rig);
    start_with(&s, "ActiveMQ/5");
    stomp_peer_has(&peer, "destination", "/queue/a\\cb");
    stomp_peer_has(&peer, "selector", "color = 'red'");
    stomp_peer_has(&peer, "activemq.prefetchSize", "7");
    stomp_peer_has(&peer, "activemq.exclusive", "true");
    stomp_peer_has(&peer, "x\\cy", "a\\nb");
    finish();
}

/* ActiveMQ alone is asked for it; on the others the queue itself is that, or is not. */
static void an_exclusive_consumer_is_asked_for(void **state)
{
    static const struct stomp_source_settings s = {.destination = "/queue/q", .exclusive = true};
    static const char *const servers[] = {"ActiveMQ/5", "ActiveMQ-Artemis/2", "RabbitMQ/3"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        stomp_rig_init(&rig);
        start_with(&s, servers[i]);
        stomp_peer_has(&peer, "activemq.exclusive", i == 0 ? "true" : NULL);
        finish();
    }
}

static void a_durable_subscription_has_a_stable_name(void **state)
{
    static const struct stomp_source_settings s = {.destination = "/topic/t", .subscription = "mine"};
    static const struct {
        const char *server, *header, *value;
    } dialects[] = {
        {"ActiveMQ/5", "activemq.subscriptionName", "mine"},
        {"ActiveMQ-Artemis/2", "durable-subscription-name", "mine"},
        {"RabbitMQ/3", "durable", "true"},
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        stomp_rig_init(&rig);
        stomp_rig_open_source(&rig, &s);
        stomp_peer_accept(&rig, &peer);
        stomp_peer_expect(&peer, "CONNECT");
        stomp_peer_has(&peer, "client-id", "bailey.test.r");
        stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nserver:%s\n\n", dialects[i].server);
        stomp_peer_expect(&peer, "SUBSCRIBE");
        stomp_peer_has(&peer, "id", "mine");
        stomp_peer_has(&peer, dialects[i].header, dialects[i].value);
        finish();
    }
}

static void a_selector_that_would_be_ignored_is_refused(void **state)
{
    static const struct stomp_source_settings s = {.destination = "/queue/q", .selector = "a = 1"};

    (void)state;
    stomp_rig_init(&rig);
    stomp_rig_open_source(&rig, &s);
    stomp_peer_open(&rig, &peer, "RabbitMQ/3");
    end_rig_down(&rig.end, "rabbitmq has no selectors");
    finish();
}

static void a_refused_subscription_is_told(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    stomp_rig_open_source(&rig, &settings);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
    stomp_peer_expect(&peer, "SUBSCRIBE");
    assert_int_equal(rig.end.status.state, LANE_STARTING); /* not up before its RECEIPT */
    stomp_peer_say(&peer, "ERROR\nreceipt-id:%s\nmessage:bad selector\n\n", stomp_peer_header(&peer, "receipt"));
    end_rig_down(&rig.end, "bad selector");
    finish();
}

/* ---- Acknowledging ---- */

static void acknowledged_only_when_confirmed(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    deliver_numbers(1, 5);
    end_rig_taken(&rig.end, 5);
    stomp_peer_silent(&peer);
    end_rig_confirm(&rig.end, 2);
    expect_ack("id-1");
    expect_ack("id-2");
    stomp_peer_silent(&peer);
    end_rig_confirm(&rig.end, 3);
    expect_ack("id-3");
    expect_ack("id-4");
    expect_ack("id-5");
    finish();
}

static void one_that_waits_does_not_hold_the_others(void **state)
{
    struct bailey_delivery *first;

    (void)state;
    start("ActiveMQ/5");
    deliver_numbers(1, 3);
    end_rig_taken(&rig.end, 3);
    first = rig.end.taken[0];
    memmove(rig.end.taken, rig.end.taken + 1, 2 * sizeof *rig.end.taken);
    rig.end.taken[2] = first;
    end_rig_confirm(&rig.end, 2);
    expect_ack("id-2");
    expect_ack("id-3");
    end_rig_confirm(&rig.end, 1);
    expect_ack("id-1");
    finish();
}

/* Ids come escaped, and are escaped again; a long one is as good as a short one. */
static void ids_are_kept_as_they_are(void **state)
{
    char id[300];

    (void)state;
    start("ActiveMQ/5");
    memset(id, 'x', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    stomp_peer_deliver(&peer, "ID\\cvm-1\\\\2\\c3", "m");
    stomp_peer_deliver(&peer, id, "m");
    end_rig_taken(&rig.end, 2);
    end_rig_confirm(&rig.end, 2);
    expect_ack("ID\\cvm-1\\\\2\\c3");
    expect_ack(id);
    finish();
}

static void version_1_1_acknowledges_by_message_id(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    stomp_rig_open_source(&rig, &settings);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_say(&peer, "CONNECTED\nversion:1.1\nserver:ActiveMQ/5\n\n");
    stomp_peer_expect(&peer, "SUBSCRIBE");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt"));
    stomp_peer_say(&peer, "MESSAGE\nsubscription:1\nmessage-id:m\\c7\ndestination:/queue/q\n\nx");
    end_rig_taken(&rig.end, 1);
    end_rig_confirm(&rig.end, 1);
    stomp_peer_expect(&peer, "ACK");
    stomp_peer_has(&peer, "message-id", "m\\c7");
    stomp_peer_has(&peer, "subscription", "1");
    stomp_peer_has(&peer, "id", NULL);
    finish();
}

#define SESSION "session-secret"

static void start_rabbitmq(void)
{
    stomp_rig_init(&rig);
    stomp_rig_open_source(&rig, &settings);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nserver:RabbitMQ/9.9\nsession:" SESSION "\n\n");
    stomp_peer_expect(&peer, "SUBSCRIBE");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt"));
    end_rig_state(&rig.end, LANE_RUNNING);
}

/* A producer's headers in the place of the broker's: nothing that it names is acknowledged, and nothing is lost. */
static void a_forged_id_acknowledges_nothing_else(void **state)
{
    (void)state;
    start_rabbitmq();
    stomp_peer_say(&peer, "MESSAGE\nsubscription:evil\nmessage-id:T_1@@x@@3\nack:T_1@@x@@3\n\ntoo early");
    stomp_peer_deliver(&peer, "T_1@@" SESSION "@@2", "honest");
    stomp_peer_say(&peer, "MESSAGE\nsubscription:evil\nmessage-id:T_1@@" SESSION "\nack:T_1@@x@@2\n\nforged");
    stomp_peer_deliver(&peer, "T_1@@" SESSION "@@4", "honest");
    end_rig_taken(&rig.end, 3); /* whose number nobody knows is left to the broker */
    end_rig_confirm(&rig.end, 3);
    expect_ack("T_1@@" SESSION "@@2");
    expect_ack("T_1@@" SESSION "@@3");
    expect_ack("T_1@@" SESSION "@@4");
    stomp_peer_silent(&peer);
    finish();
}

/* A frame that another has swallowed: nothing more is acknowledged on this connection. */
static void out_of_step_ends_the_connection(void **state)
{
    (void)state;
    start_rabbitmq();
    stomp_peer_deliver(&peer, "T_1@@" SESSION "@@1", "one");
    end_rig_taken(&rig.end, 1);
    stomp_peer_deliver(&peer, "T_1@@" SESSION "@@3", "three");
    end_rig_down(&rig.end, "a MESSAGE out of step");
    stomp_peer_gone(&peer);
    assert_int_equal(rig.end.taken_in_all, 1);
    end_rig_close(&rig.end);
}

/* As Artemis 2.40 sends it: a producer's properties stand between its own headers and the ack. */
static void artemis_is_believed_what_stands_first(void **state)
{
    (void)state;
    start("ActiveMQ-Artemis/2");
    stomp_peer_say(
        &peer, "MESSAGE\nsubscription:1\ncontent-length:3\nmessage-id:28,21\ndestination:/queue/q\nredelivered:true\n"
               "ack:28,99\nmessage-id:28,98\nsubscription:evil\nack:28,21\n\none");
    stomp_peer_say(&peer, "MESSAGE\nsubscription:1\nmessage-id:28,22\ncontent-length:1000\nack:28,22\n\n");
    stomp_peer_say(&peer, "MESSAGE\nsubscription:1\nmessage-id:28,23\nack:28,23\ncontent-length:5\n\nthree");
    end_rig_taken(&rig.end, 3);
    assert_int_equal(rig.end.taken[1]->message->body.len, 0);
    end_rig_confirm(&rig.end, 3);
    expect_ack("28,21");
    expect_ack("28,22");
    expect_ack("28,23");
    finish();
}

/* Of a broker that is not known, an ambiguous message stays there, and the others go on. */
static void two_ids_are_none(void **state)
{
    (void)state;
    start("some/1");
    stomp_peer_say(&peer, "MESSAGE\nsubscription:1\nmessage-id:1\nack:a\nack:b\n\nwhose?");
    stomp_peer_deliver(&peer, "c", "fine");
    end_rig_taken(&rig.end, 1);
    end_rig_confirm(&rig.end, 1);
    expect_ack("c");
    finish();
}

/* Settlements of a lost connection must not acknowledge ids of the next one. */
static void ids_of_a_lost_connection_mean_nothing_on_the_next(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    stomp_peer_deliver(&peer, "one", "first life");
    end_rig_taken(&rig.end, 1);
    stomp_peer_close(&peer);
    end_rig_state(&rig.end, LANE_DOWN);
    stomp_peer_open_subscribed(&rig, &peer, "ActiveMQ/5");
    end_rig_state(&rig.end, LANE_RUNNING);
    stomp_peer_deliver(&peer, "two", "second life");
    end_rig_taken(&rig.end, 2);
    end_rig_confirm(&rig.end, 1); /* the first life's */
    stomp_peer_silent(&peer);
    end_rig_confirm(&rig.end, 1);
    expect_ack("two");
    finish();
}

/* Artemis does not say what it gives again: not what was out, and not what was acknowledged on a connection that was lost. */
static void what_artemis_gives_again_is_marked(void **state)
{
    (void)state;
    start("ActiveMQ-Artemis/2");
    stomp_peer_deliver(&peer, "40,101", "acknowledged");
    stomp_peer_deliver(&peer, "40,102", "out");
    end_rig_taken(&rig.end, 2);
    end_rig_confirm(&rig.end, 1);
    expect_ack("40,101");
    stomp_peer_close(&peer);
    end_rig_state(&rig.end, LANE_DOWN);
    stomp_peer_open_subscribed(&rig, &peer, "ActiveMQ-Artemis/2");
    stomp_peer_deliver(&peer, "41,101", "acknowledged");
    stomp_peer_deliver(&peer, "41,102", "out");
    stomp_peer_deliver(&peer, "41,103", "new");
    stomp_peer_deliver(&peer, "41,102", "out"); /* only once */
    end_rig_taken(&rig.end, 6);
    assert_false(rig.end.taken[0]->message->redelivered);
    assert_true(rig.end.taken[1]->message->redelivered);
    assert_true(rig.end.taken[2]->message->redelivered);
    assert_false(rig.end.taken[3]->message->redelivered);
    assert_false(rig.end.taken[4]->message->redelivered);
    finish();
}

/* ---- Bodies ---- */

static void a_body_may_come_in_pieces(void **state)
{
    enum { SIZE = 300 << 10 };
    static char big[SIZE];
    char head[160];
    int len =
        snprintf(head, sizeof head,
                 "MESSAGE\nsubscription:1\nack:1\nmessage-id:1\ndestination:/queue/q\ncontent-length:%d\n\n", SIZE);

    (void)state;
    start("ActiveMQ/5");
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i / 11);
    stomp_peer_send(&peer, head, (size_t)len);
    for (size_t at = 0; at < sizeof big; at += 30 << 10) {
        stomp_peer_send(&peer, big + at, 30 << 10);
        end_rig_turn(&rig.end);
        assert_int_equal(rig.end.taken_in_all, 0);
    }
    stomp_peer_send(&peer, "", 1);
    end_rig_taken(&rig.end, 1);
    assert_int_equal(rig.end.taken[0]->message->body.len, sizeof big);
    assert_memory_equal(rig.end.taken[0]->message->body.data, big, sizeof big);
    finish();
}

static void a_body_without_a_length_may_come_in_pieces(void **state)
{
    static const char head[] = "MESSAGE\nsubscription:1\nack:1\nmessage-id:1\ndestination:/queue/q\n\n";
    static char part[50 << 10];

    (void)state;
    start("ActiveMQ/5");
    memset(part, 'x', sizeof part);
    stomp_peer_send(&peer, head, sizeof head - 1);
    for (int i = 0; i < 4; i++) {
        stomp_peer_send(&peer, part, sizeof part);
        end_rig_turn(&rig.end);
    }
    stomp_peer_send(&peer, "end", 4);
    end_rig_taken(&rig.end, 1);
    assert_int_equal(rig.end.taken[0]->message->body.len, 4 * sizeof part + 3);
    assert_memory_equal(rig.end.taken[0]->message->body.data + 4 * sizeof part, "end", 3);
    assert_int_equal(rig.end.taken[0]->message->body.data[3 * sizeof part - 1], 'x');
    finish();
}

static void send_part(char *part, size_t len, int times)
{
    for (int i = 0; i < times; i++)
        stomp_peer_send(&peer, part, len);
}

/* Nothing is allocated for a size that is only declared; the message stays at the broker, and the next ones come. */
static void a_message_beyond_the_limit_is_left_to_the_broker(void **state)
{
    static const char head[] = "MESSAGE\nsubscription:1\nack:1\nmessage-id:1\ndestination:/queue/q\n";
    static char part[64 << 10];

    (void)state;
    start("ActiveMQ/5");
    memset(part, 'x', sizeof part);
    stomp_peer_send(&peer, head, sizeof head - 1);
    stomp_peer_send(&peer, "content-length:2097152\n\n", 24);
    send_part(part, sizeof part, 32);
    stomp_peer_send(&peer, "", 1);
    stomp_peer_deliver(&peer, "2", "small");
    end_rig_taken(&rig.end, 1);
    stomp_peer_send(&peer, head, sizeof head - 1); /* and one that does not declare it */
    stomp_peer_send(&peer, "\n", 1);
    send_part(part, sizeof part, 32);
    stomp_peer_send(&peer, "", 1);
    stomp_peer_deliver(&peer, "4", "small");
    end_rig_taken(&rig.end, 2);
    end_rig_confirm(&rig.end, 2);
    expect_ack("2");
    expect_ack("4");
    finish();
}

static void a_message_that_cannot_be_acknowledged_ends_the_connection(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    stomp_peer_say(&peer, "MESSAGE\nsubscription:1\nmessage-id:1\ndestination:/queue/q\n\nx");
    end_rig_down(&rig.end, "a MESSAGE that cannot be acknowledged");
    assert_int_equal(rig.end.taken_in_all, 0);
    finish();
}

static void a_receipt_for_nothing_ends_the_connection(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    stomp_peer_receipt(&peer, "subscribed");
    end_rig_down(&rig.end, "a RECEIPT for nothing that was sent");
    finish();
}

/* ---- The window ---- */

/* The broker sends more than the lane may hold: it waits, in order, and is handed over as there is room. */
static void what_the_lane_has_no_room_for_waits(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.end.options.credit_messages = 10;
    start_with(&settings, "ActiveMQ-Artemis/2");
    deliver_numbers(1, 25);
    end_rig_taken(&rig.end, 10);
    stomp_peer_silent(&peer);
    assert_int_equal(rig.end.taken_in_all, 10);
    assert_int_equal(rig.end.status.unsettled, 10);
    end_rig_confirm(&rig.end, 10);
    end_rig_taken(&rig.end, 20);
    end_rig_confirm(&rig.end, 10);
    end_rig_taken(&rig.end, 25);
    end_rig_confirm(&rig.end, 5);
    for (int i = 1; i <= 25; i++) {
        char id[16];

        snprintf(id, sizeof id, "id-%d", i);
        expect_ack(id);
    }
    finish();
}

static bool is_full(struct end_rig *r)
{
    return r->taken_count >= 4;
}

static void send_big(int number, const char *big, size_t len)
{
    char head[160];
    int head_len = snprintf(
        head, sizeof head,
        "MESSAGE\nsubscription:1\nack:id-%d\nmessage-id:1\ndestination:/queue/q\ncontent-length:%zu\n\n", number, len);

    stomp_peer_send(&peer, head, (size_t)head_len);
    stomp_peer_send(&peer, big, len);
    stomp_peer_send(&peer, "", 1);
}

/* Bodies fill the lane's bytes long before the window of messages is used up: nothing more is read until there is room. Heart-beats
 * of the broker are not missed meanwhile, and ours go on. */
static void without_room_nothing_is_read(void **state)
{
    enum { BODY = 250 << 10 };
    static char big[BODY];
    size_t sent = 0;
    int64_t began;

    (void)state;
    memset(big, 'x', sizeof big);
    stomp_rig_init(&rig);
    rig.end.options.credit_bytes = 1 << 20;
    rig.broker_settings.heartbeat_ms = 250;
    stomp_rig_open_source(&rig, &settings);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nserver:ActiveMQ/5\nheart-beat:250,250\n\n");
    stomp_peer_expect(&peer, "SUBSCRIBE");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt"));
    for (int i = 1; i <= 6; i++)
        send_big(i, big, sizeof big);
    end_rig_until(&rig.end, is_full);
    for (ssize_t done = 0; sent < 64 << 20 && done >= 0; sent += done > 0 ? (size_t)done : 0) { /* an endless body */
        static const char head[] = "MESSAGE\nsubscription:1\nack:endless\nmessage-id:1\ndestination:/queue/q\n\n";

        done = sent == 0 ? send(peer.fd, head, sizeof head - 1, MSG_NOSIGNAL)
                         : send(peer.fd, big, sizeof big, MSG_NOSIGNAL);
        end_rig_turn(&rig.end);
    }
    assert_true(sent < 32 << 20);
    began = end_rig_clock_ms();
    while (end_rig_clock_ms() - began < 1250)
        end_rig_turn(&rig.end);
    assert_int_equal(rig.end.status.state, LANE_RUNNING);
    assert_in_range(rig.end.taken_count, 4, 5);
    end_rig_confirm(&rig.end, rig.end.taken_count);
    end_rig_taken(&rig.end, 6);
    stomp_peer_expect(&peer, "ACK");
    assert_true(peer.beats > 3);
    finish();
}

/* ---- The end ---- */

static void what_is_out_is_finished_at_a_drain_and_the_rest_left(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.end.options.credit_messages = 3;
    start_with(&settings, "ActiveMQ/5");
    deliver_numbers(1, 5);
    end_rig_taken(&rig.end, 3);
    lane_drain(rig.end.lane);
    end_rig_turn(&rig.end);
    deliver_numbers(6, 7);
    end_rig_turn(&rig.end);
    end_rig_confirm(&rig.end, 3);
    expect_ack("id-1");
    expect_ack("id-2");
    expect_ack("id-3");
    expect_end(false);
    assert_int_equal(rig.end.taken_in_all, 3);
    end_rig_close(&rig.end);
}

/* There is room, and yet it is not taken: the lane would have to finish it. */
static void what_comes_during_a_drain_is_left(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    deliver_numbers(1, 3);
    end_rig_taken(&rig.end, 3);
    lane_drain(rig.end.lane);
    deliver_numbers(4, 5);
    for (int i = 0; i < 3; i++)
        end_rig_turn(&rig.end);
    assert_int_equal(rig.end.taken_in_all, 3);
    end_rig_confirm(&rig.end, 3);
    for (int i = 0; i < 3; i++)
        stomp_peer_expect(&peer, "ACK");
    expect_end(false);
    end_rig_close(&rig.end);
}

/* It was refused, and waits: the drain lets go of it. An ACK would be its loss. */
static void what_was_refused_goes_back_at_a_drain(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    deliver_numbers(1, 2);
    end_rig_taken(&rig.end, 2);
    end_rig_refuse(&rig.end);
    lane_drain(rig.end.lane);
    end_rig_confirm(&rig.end, 1);
    expect_ack("id-2");
    expect_end(false); /* nothing before it */
    end_rig_close(&rig.end);
}

/* UNSUBSCRIBE before DISCONNECT: else Artemis counts a failed delivery of what is left. */
static void artemis_is_left_with_unsubscribe(void **state)
{
    (void)state;
    start("ActiveMQ-Artemis/2");
    deliver_numbers(1, 2);
    end_rig_taken(&rig.end, 2);
    lane_stop(rig.end.lane);
    expect_end(true);
    end_rig_close(&rig.end);
}

static bool has_ended(struct end_rig *r)
{
    return r->ended;
}

/* A broker that does not answer the DISCONNECT holds nobody for long. */
static void a_broker_that_does_not_answer_is_left(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    lane_stop(rig.end.lane);
    stomp_peer_expect(&peer, "DISCONNECT");
    end_rig_until(&rig.end, has_ended);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_dialect_subscribes_in_its_way),
        cmocka_unit_test(options_become_headers),
        cmocka_unit_test(an_exclusive_consumer_is_asked_for),
        cmocka_unit_test(a_durable_subscription_has_a_stable_name),
        cmocka_unit_test(a_selector_that_would_be_ignored_is_refused),
        cmocka_unit_test(a_refused_subscription_is_told),
        cmocka_unit_test(acknowledged_only_when_confirmed),
        cmocka_unit_test(one_that_waits_does_not_hold_the_others),
        cmocka_unit_test(ids_are_kept_as_they_are),
        cmocka_unit_test(version_1_1_acknowledges_by_message_id),
        cmocka_unit_test(a_forged_id_acknowledges_nothing_else),
        cmocka_unit_test(out_of_step_ends_the_connection),
        cmocka_unit_test(artemis_is_believed_what_stands_first),
        cmocka_unit_test(two_ids_are_none),
        cmocka_unit_test(ids_of_a_lost_connection_mean_nothing_on_the_next),
        cmocka_unit_test(what_artemis_gives_again_is_marked),
        cmocka_unit_test(a_body_may_come_in_pieces),
        cmocka_unit_test(a_body_without_a_length_may_come_in_pieces),
        cmocka_unit_test(a_message_beyond_the_limit_is_left_to_the_broker),
        cmocka_unit_test(a_message_that_cannot_be_acknowledged_ends_the_connection),
        cmocka_unit_test(a_receipt_for_nothing_ends_the_connection),
        cmocka_unit_test(what_the_lane_has_no_room_for_waits),
        cmocka_unit_test(without_room_nothing_is_read),
        cmocka_unit_test(what_is_out_is_finished_at_a_drain_and_the_rest_left),
        cmocka_unit_test(what_comes_during_a_drain_is_left),
        cmocka_unit_test(what_was_refused_goes_back_at_a_drain),
        cmocka_unit_test(artemis_is_left_with_unsubscribe),
        cmocka_unit_test(a_broker_that_does_not_answer_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
