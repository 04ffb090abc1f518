/* Sending to a broker that does as the test says: receipts, time-outs, refusals with and without a receipt-id, the search for
 * a culprit, destinations that cannot be proved, lies. */
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

static const struct bailey_template queue = {.constant = {(const uint8_t *)"/queue/q", 8}, .slot = -1};
static const struct bailey_template topic = {.constant = {(const uint8_t *)"/topic/t", 8}, .slot = -1};
static const struct stomp_sink_settings settings = {.destination = &queue, .max_unconfirmed = 1000};

enum { BIG = 200 << 10 };

static struct stomp_rig rig;
static struct stomp_peer peer;

static void start_with(const struct stomp_sink_settings *s, const char *server)
{
    stomp_rig_open_sink(&rig, s);
    stomp_peer_open(&rig, &peer, server);
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

static void push(const char *text)
{
    end_rig_push(&rig.end, end_rig_message(&rig.end, text));
}

static const char *expect(const char *text)
{
    return stomp_peer_expect_send(&peer, text);
}

static bool was_settled(uint64_t position)
{
    for (size_t i = 0; i < rig.end.settled_count; i++)
        if (rig.end.settled[i].position == position)
            return rig.end.settled[i].outcome == BAILEY_ACCEPTED;
    return false;
}

static void a_send_has_all_that_it_must(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    push("a\nb");
    stomp_peer_expect(&peer, "SEND");
    stomp_peer_has(&peer, "destination", "/queue/q");
    stomp_peer_has(&peer, "content-length", "3");
    stomp_peer_has(&peer, "persistent", "true");
    stomp_peer_has(&peer, "receipt", "1");
    stomp_peer_has(&peer, "bailey-possible-duplicate", NULL);
    assert_memory_equal(peer.body, "a\nb", 3);
    push("");
    stomp_peer_expect(&peer, "SEND");
    stomp_peer_has(&peer, "content-length", "0");
    finish();
}

/* content-length would make a BytesMessage of what was a TextMessage. What is no text, or for another broker, has it always. */
static void a_text_message_stays_one(void **state)
{
    static const struct {
        const char *server, *body;
        size_t len;
        bool is_text;
    } cases[] = {
        {"ActiveMQ/5", "gr\xc3\xbc\xc3\x9f\n", 7, true},
        {"ActiveMQ/5", "", 0, true},
        {"ActiveMQ/5", "a\0b", 3, false},
        {"ActiveMQ/5", "\xff", 1, false},
        {"ActiveMQ-Artemis/2", "a", 1, true},
        {"RabbitMQ/3", "a", 1, false},
        {"some/1", "a", 1, false},
    };
    static const struct bailey_header mark = {{(const uint8_t *)"bailey-stomp-text", 17},
                                              {.kind = BAILEY_KIND_STRING, .bytes = {(const uint8_t *)"1", 1}}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bailey_message *msg;
        char len[8];

        start(cases[i].server);
        msg = end_rig_message(&rig.end, "");
        msg->body = bailey_message_copy(msg, cases[i].body, cases[i].len);
        msg->headers = &mark;
        msg->header_count = 1;
        end_rig_push(&rig.end, msg);
        stomp_peer_expect(&peer, "SEND");
        snprintf(len, sizeof len, "%zu", cases[i].len);
        stomp_peer_has(&peer, "content-length", cases[i].is_text ? NULL : len);
        stomp_peer_has(&peer, "bailey-stomp-text", "1");
        assert_int_equal(peer.body_len, cases[i].len);
        assert_memory_equal(peer.body, cases[i].body, cases[i].len);
        finish();
    }
}

/* A long body is referred to: the NUL behind it ends it all the same. */
static void a_long_text_message_stays_one(void **state)
{
    static const struct bailey_header mark = {{(const uint8_t *)"bailey-stomp-text", 17},
                                              {.kind = BAILEY_KIND_STRING, .bytes = {(const uint8_t *)"1", 1}}};
    static char big[BIG];
    struct bailey_message *msg;

    (void)state;
    start("ActiveMQ/5");
    memset(big, 'x', sizeof big);
    msg = end_rig_message(&rig.end, "");
    msg->body = bailey_message_copy(msg, big, sizeof big);
    msg->headers = &mark;
    msg->header_count = 1;
    end_rig_push(&rig.end, msg);
    stomp_peer_expect(&peer, "SEND");
    stomp_peer_has(&peer, "content-length", NULL);
    assert_int_equal(peer.body_len, sizeof big);
    push("next");
    expect("next");
    finish();
}

static void settled_only_when_the_receipt_came_in_any_order(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    for (int i = 0; i < 5; i++)
        push("m");
    for (int i = 0; i < 5; i++)
        expect("m");
    stomp_peer_silent(&peer);
    assert_int_equal(rig.end.settled_count, 0);
    stomp_peer_receipt(&peer, "4");
    end_rig_settled(&rig.end, 1);
    assert_true(was_settled(4));
    stomp_peer_receipt(&peer, "1");
    stomp_peer_receipt(&peer, "5");
    end_rig_settled(&rig.end, 3);
    assert_true(was_settled(1) && was_settled(5) && !was_settled(2));
    finish();
}

/* A RECEIPT that cannot be meant is a protocol error: nothing is settled by it. */
static void receipts_for_what_was_not_sent_end_the_connection(void **state)
{
    static const char *const lies[] = {"2", "0", "-1", "1 ", "", "18446744073709551617"};

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        start("ActiveMQ/5");
        push("a");
        expect("a");
        stomp_peer_receipt(&peer, lies[i]);
        stomp_peer_gone(&peer);
        assert_int_equal(rig.end.settled_count, 0);
        end_rig_close(&rig.end);
    }
}

static void a_receipt_counts_once(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    push("a");
    push("b");
    expect("a");
    expect("b");
    stomp_peer_receipt(&peer, "1");
    stomp_peer_receipt(&peer, "1");
    stomp_peer_gone(&peer);
    assert_int_equal(rig.end.settled_count, 1);
    end_rig_close(&rig.end);
}

static void a_lost_connection_sends_again_marked(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    push("a");
    expect("a");
    stomp_peer_close(&peer);
    end_rig_state(&rig.end, LANE_DOWN);
    assert_int_equal(rig.end.settled_count, 0);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
    expect("a");
    stomp_peer_has(&peer, "bailey-possible-duplicate", "1");
    stomp_peer_has(&peer, "receipt", "1"); /* receipts count anew */
    stomp_peer_receipt(&peer, "1");
    end_rig_settled(&rig.end, 1);
    assert_int_equal(rig.end.status.in_doubt, 1);
    finish();
}

/* The connection is given up, and the next one begins with a single message until there is a RECEIPT. */
static void without_a_receipt_it_is_in_doubt(void **state)
{
    int64_t began;

    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.receipt_timeout_ms = 300;
    start_with(&settings, "RabbitMQ/3");
    began = end_rig_clock_ms();
    push("a");
    push("b");
    push("c");
    expect("a");
    expect("b");
    expect("c");
    stomp_peer_receipt(&peer, "1");
    end_rig_settled(&rig.end, 1);
    end_rig_down(&rig.end, "no RECEIPT within 300 ms");
    assert_in_range(end_rig_clock_ms() - began, 290, 3000);
    assert_int_equal(rig.end.status.in_doubt, 2);
    stomp_peer_gone(&peer);
    stomp_peer_open(&rig, &peer, "RabbitMQ/3");
    expect("b");
    stomp_peer_has(&peer, "bailey-possible-duplicate", "1");
    stomp_peer_silent(&peer);
    stomp_peer_receipt(&peer, "1");
    expect("c");
    push("d");
    expect("d"); /* it trusts again */
    finish();
}

/* ActiveMQ and Artemis say which one: the others go on. */
static void an_error_with_a_receipt_refuses_that_message(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    push("a");
    push("bad");
    push("c");
    expect("a");
    expect("bad");
    expect("c");
    stomp_peer_say(&peer, "ERROR\nreceipt-id:2\nmessage:no such thing\n\njava.lang.Exception: no such thing\n\tat x");
    end_rig_refused(&rig.end, BAILEY_ERR_PERMANENT, 1);
    stomp_peer_gone(&peer);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
    expect("a");
    stomp_peer_has(&peer, "bailey-possible-duplicate", "1");
    expect("c");
    stomp_peer_has(&peer, "bailey-possible-duplicate", "1");
    stomp_peer_receipt(&peer, "1");
    stomp_peer_receipt(&peer, "2");
    end_rig_settled(&rig.end, 2);
    assert_true(was_settled(1) && was_settled(3));
    end_rig_state(&rig.end, LANE_BLOCKED);

    /* The lane tries it again after a while: alone, while what is new waits for its verdict. */
    expect("bad");
    push("d");
    stomp_peer_silent(&peer);
    stomp_peer_receipt(&peer, "3");
    expect("d");
    end_rig_settled(&rig.end, 3);
    finish();
}

static int64_t due_ms; /* what the sink is told of each message */

static size_t send_at(void *self, struct bailey_delivery *const batch[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        batch[i]->deliver_at_ms = due_ms;
    return stomp_sink.send(self, batch, count);
}

/* The broker holds a message until its time, in its own words; one whose time has come goes without a word. */
static void a_broker_that_can_holds_a_message(void **state)
{
    static const struct {
        const char *server, *header;
        bool is_time;
    } cases[] = {{"ActiveMQ/5", "AMQ_SCHEDULED_DELAY", false}, {"ActiveMQ-Artemis/2", "AMQ_SCHEDULED_TIME", true}};
    struct bailey_sink sink = stomp_sink;
    struct end_rig_connector connector;
    int64_t now_ms;
    const char *value;

    (void)state;
    sink.send = send_at;
    for (size_t i = 0; i < 2; i++) {
        stomp_rig_init(&rig);
        connector = *rig.end.connector;
        connector.sink = &sink;
        rig.end.connector = &connector;
        start_with(&settings, cases[i].server);
        now_ms = bailey_wall_ms(rig.end.loop);
        due_ms = now_ms + 3600000;
        push("later");
        expect("later");
        value = stomp_peer_header(&peer, cases[i].header);
        assert_non_null(value);
        if (cases[i].is_time)
            assert_int_equal(strtoll(value, NULL, 10), due_ms);
        else
            assert_in_range(strtoll(value, NULL, 10), 3590000, 3600000);
        due_ms = now_ms - 1;
        push("overdue");
        expect("overdue");
        stomp_peer_has(&peer, cases[i].header, NULL);
        finish();
    }
}

static void a_broker_that_cannot_gets_nothing_before_its_time(void **state)
{
    struct bailey_sink sink = stomp_sink;
    struct end_rig_connector connector;

    (void)state;
    sink.send = send_at;
    stomp_rig_init(&rig);
    connector = *rig.end.connector;
    connector.sink = &sink;
    rig.end.connector = &connector;
    start_with(&settings, "RabbitMQ/3");
    due_ms = bailey_wall_ms(rig.end.loop) + 3600000;
    push("later");
    end_rig_refused(&rig.end, BAILEY_ERR_CONFIG, 1);
    stomp_peer_silent(&peer);
    finish();
}

/* What is not there takes no message: a refusal of its own class. */
static void a_destination_that_is_not_there(void **state)
{
    static const char *const words[] = {"AMQ339001: Destination does not exist: closed\n",
                                        "not_found\n\nNOT_FOUND - no exchange 'x'"};

    (void)state;
    start("ActiveMQ-Artemis/2");
    push("a");
    for (int i = 0; i < 2; i++) {
        expect("a");
        stomp_peer_say(&peer, "ERROR\nreceipt-id:1\nmessage:%s\n", words[i]);
        end_rig_refused(&rig.end, BAILEY_ERR_UNROUTABLE, i + 1);
        stomp_peer_gone(&peer);
        stomp_peer_open(&rig, &peer, "ActiveMQ-Artemis/2");
    }
    assert_int_equal(rig.end.status.refused[BAILEY_ERR_PERMANENT], 0);
    finish();
}

static void next_life(const char *server)
{
    stomp_peer_gone(&peer);
    stomp_peer_open(&rig, &peer, server);
}

static bool is_retried(struct end_rig *r)
{
    return r->status.retried > 0;
}

/* RabbitMQ does not say which one. */
static void without_a_receipt_the_culprit_is_found(void **state)
{
    (void)state;
    start("RabbitMQ/3");
    push("a");
    push("bad");
    push("c");
    expect("a");
    expect("bad");
    expect("c");
    stomp_peer_say(&peer, "ERROR\nmessage:Invalid header\n\nno\n");
    next_life("RabbitMQ/3");
    expect("a"); /* alone, and marked: the broker may have it */
    stomp_peer_has(&peer, "bailey-possible-duplicate", "1");
    stomp_peer_silent(&peer);
    assert_int_equal(rig.end.status.state, LANE_HELD);
    stomp_peer_receipt(&peer, "1");
    end_rig_settled(&rig.end, 1);
    expect("bad");
    stomp_peer_say(&peer, "ERROR\nmessage:Invalid header\n\nno\n");
    end_rig_refused(&rig.end, BAILEY_ERR_PERMANENT, 1);
    next_life("RabbitMQ/3");
    expect("c");
    stomp_peer_receipt(&peer, "1");
    end_rig_settled(&rig.end, 2);
    end_rig_state(&rig.end, LANE_BLOCKED);
    assert_true(was_settled(1) && !was_settled(2) && was_settled(3));

    /* The lane tries it again after a while: it waits until nothing else is unconfirmed. */
    push("d");
    expect("d");
    end_rig_until(&rig.end, is_retried);
    stomp_peer_silent(&peer);
    stomp_peer_receipt(&peer, "2");
    expect("bad");
    finish();
}

/* Suspects of whom the connection is lost in the middle are in doubt like others. */
static void a_loss_while_suspects_are_probed_loses_none(void **state)
{
    (void)state;
    start("RabbitMQ/3");
    push("a");
    push("b");
    expect("a");
    expect("b");
    stomp_peer_say(&peer, "ERROR\nmessage:Invalid header\n\n");
    next_life("RabbitMQ/3");
    expect("a");
    stomp_peer_close(&peer);
    end_rig_state(&rig.end, LANE_DOWN);
    stomp_peer_open(&rig, &peer, "RabbitMQ/3");
    expect("a");
    expect("b");
    stomp_peer_receipt(&peer, "1");
    stomp_peer_receipt(&peer, "2");
    end_rig_settled(&rig.end, 2);
    finish();
}

/* What would meet every message alike takes the sink down, with the reason. */
static void a_refusal_that_is_the_operators_takes_the_sink_down(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    push("a");
    expect("a");
    stomp_peer_say(&peer, "ERROR\nreceipt-id:1\nmessage:User bob is not authorized to write to: queue://q\n\n");
    end_rig_down(&rig.end, "User bob is not authorized to write to");
    assert_int_equal(rig.end.status.refused[BAILEY_ERR_PERMANENT], 0);
    stomp_peer_gone(&peer);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
    expect("a");
    stomp_peer_receipt(&peer, "1");
    end_rig_settled(&rig.end, 1);
    finish();
}

static void an_error_while_nothing_is_out_takes_the_sink_down(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    stomp_peer_say(&peer, "ERROR\nmessage:broker is stopping\n\n");
    end_rig_down(&rig.end, "broker is stopping");
    finish();
}

/* ---- Destinations ---- */

static void on_rabbitmq_only_a_queue_is_taken(void **state)
{
    struct stomp_sink_settings to_topic = {.destination = &topic, .max_unconfirmed = 10};

    (void)state;
    stomp_rig_init(&rig);
    stomp_rig_open_sink(&rig, &to_topic);
    stomp_peer_open(&rig, &peer, "RabbitMQ/3");
    end_rig_down(&rig.end, "proves no route for /topic/t");
    finish();
    stomp_rig_init(&rig);
    to_topic.unroutable = STOMP_UNROUTABLE_ACCEPT;
    start_with(&to_topic, "RabbitMQ/3");
    push("a");
    expect("a");
    stomp_peer_has(&peer, "destination", "/topic/t");
    finish();
    stomp_rig_init(&rig);
    to_topic.unroutable = STOMP_UNROUTABLE_REFUSE;
    start_with(&to_topic, "ActiveMQ/5"); /* a topic is what was asked for */
    finish();
}

static void which_destinations_prove_a_route(void **state)
{
    static const struct {
        enum stomp_dialect dialect;
        const char *destination;
        bool taken;
    } cases[] = {
        {STOMP_RABBITMQ, "/queue/a", true},
        {STOMP_RABBITMQ, "/queue/a%2Fb", true},
        {STOMP_RABBITMQ, "/queue/", false},
        {STOMP_RABBITMQ, "/queue/a/b", false},
        {STOMP_RABBITMQ, "/queue", false},
        {STOMP_RABBITMQ, "/amq/queue/a", false},
        {STOMP_RABBITMQ, "/exchange/x/k", false},
        {STOMP_RABBITMQ, "/topic/a", false},
        {STOMP_RABBITMQ, "/temp-queue/a", false},
        {STOMP_RABBITMQ, "", false},
        {STOMP_ACTIVEMQ, "", false},
        {STOMP_ACTIVEMQ, "/topic/a", true},
        {STOMP_ARTEMIS, "anything", true},
        {STOMP_ARTEMIS, "", false},
        {STOMP_GENERIC, "x", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bailey_error err = {0};

        if (stomp_dialect_takes(cases[i].dialect, bailey_bytes_of(cases[i].destination), &err) != cases[i].taken)
            fail_msg("%s", cases[i].destination);
        assert_int_equal(err.kind, cases[i].taken ? BAILEY_ERR_NONE : BAILEY_ERR_PERMANENT);
    }
}

/* ---- What cannot be sent ---- */

static void what_cannot_be_sent_is_refused_before(void **state)
{
    struct bailey_message *msg;

    (void)state;
    start("ActiveMQ/5");
    msg = end_rig_message(&rig.end, "too much header");
    msg->key = (struct bailey_bytes){bailey_message_alloc(msg, 300 << 10), 300 << 10};
    memset((uint8_t *)(uintptr_t)msg->key.data, 'k', msg->key.len);
    end_rig_push(&rig.end, msg);
    end_rig_refused(&rig.end, BAILEY_ERR_PERMANENT, 1);
    push("good");
    expect("good");
    stomp_peer_has(&peer, "receipt", "1"); /* those have used none */
    stomp_peer_receipt(&peer, "1");
    end_rig_settled(&rig.end, 1);
    finish();
}

static void no_more_than_the_window_is_out(void **state)
{
    static const struct stomp_sink_settings three = {.destination = &queue, .max_unconfirmed = 3};

    (void)state;
    stomp_rig_init(&rig);
    start_with(&three, "ActiveMQ/5");
    for (int i = 0; i < 5; i++)
        push("m");
    for (int i = 0; i < 3; i++)
        expect("m");
    stomp_peer_silent(&peer);
    stomp_peer_receipt(&peer, "2");
    expect("m");
    stomp_peer_silent(&peer);
    finish();
}

/* ---- Long bodies ---- */

enum { BODIES = 60 };

static void push_big(int number)
{
    static uint8_t big[BIG];
    struct bailey_message *msg = end_rig_message(&rig.end, "");

    memset(big, number, sizeof big);
    msg->body = bailey_message_copy(msg, big, sizeof big);
    end_rig_push(&rig.end, msg);
}

/* Push many, of which the peer reads none: the network is full, and some wait here. Returns how many the sink has. */
static int push_until_stuck(void)
{
    int small = 16 << 10;
    int64_t out = -1;

    setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < BODIES; i++)
        push_big(i + 1);
    while (out != rig.end.status.unconfirmed) {
        out = rig.end.status.unconfirmed;
        for (int i = 0; i < 20; i++)
            end_rig_turn(&rig.end);
    }
    assert_in_range(out, 3, BODIES - 1);
    return (int)out;
}

static void start_with_room(void)
{
    stomp_rig_init(&rig);
    rig.end.options.credit_bytes = 256 << 20;
    start_with(&settings, "ActiveMQ/5");
}

/* A long body is written by reference. The peer lies that it has what still waits here to be written. */
static void a_body_outlives_a_lying_receipt(void **state)
{
    int out, large = 4 << 20;

    (void)state;
    start_with_room();
    out = push_until_stuck();
    for (int i = 1; i <= out; i++) {
        char number[16];

        snprintf(number, sizeof number, "%d", i);
        stomp_peer_receipt(&peer, number);
    }
    for (int i = 0; i < 4; i++)
        end_rig_turn(&rig.end);
    assert_int_equal(rig.end.settled_count, out);
    for (int i = BODIES; i < BODIES + out; i++)
        push_big(i + 1); /* takes the memory, if it was given back */
    setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    for (int i = 0; i < BODIES + out; i++) {
        stomp_peer_expect(&peer, "SEND");
        assert_int_equal(peer.body_len, BIG);
        for (size_t at = 0; at < BIG; at += 97)
            assert_int_equal(peer.body[at], (char)(i + 1));
    }
    finish();
}

/* Of those that the sink had when the connection went, the last were not written. */
static void those_not_written_are_handed_back_unmarked(void **state)
{
    int out, marked = 0;

    (void)state;
    start_with_room();
    out = push_until_stuck();
    stomp_peer_close(&peer);
    end_rig_state(&rig.end, LANE_DOWN);
    assert_in_range(rig.end.status.in_doubt, 1, out - 1);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
    for (int i = 0; i < BODIES; i++) {
        stomp_peer_expect(&peer, "SEND");
        assert_int_equal(peer.body[0], i + 1);
        assert_int_equal(stomp_peer_header(&peer, "bailey-possible-duplicate") != NULL, i < rig.end.status.in_doubt);
        marked += stomp_peer_header(&peer, "bailey-possible-duplicate") != NULL;
    }
    assert_int_equal(marked, rig.end.status.in_doubt);
    finish();
}

static void an_idle_end_leaves_in_order(void **state)
{
    (void)state;
    start("ActiveMQ/5");
    lane_stop(rig.end.lane);
    stomp_peer_expect(&peer, "DISCONNECT");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt"));
    stomp_peer_gone(&peer);
    end_rig_close(&rig.end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_has_all_that_it_must),
        cmocka_unit_test(a_text_message_stays_one),
        cmocka_unit_test(a_long_text_message_stays_one),
        cmocka_unit_test(settled_only_when_the_receipt_came_in_any_order),
        cmocka_unit_test(receipts_for_what_was_not_sent_end_the_connection),
        cmocka_unit_test(a_receipt_counts_once),
        cmocka_unit_test(a_lost_connection_sends_again_marked),
        cmocka_unit_test(without_a_receipt_it_is_in_doubt),
        cmocka_unit_test(an_error_with_a_receipt_refuses_that_message),
        cmocka_unit_test(a_destination_that_is_not_there),
        cmocka_unit_test(a_broker_that_can_holds_a_message),
        cmocka_unit_test(a_broker_that_cannot_gets_nothing_before_its_time),
        cmocka_unit_test(without_a_receipt_the_culprit_is_found),
        cmocka_unit_test(a_loss_while_suspects_are_probed_loses_none),
        cmocka_unit_test(a_refusal_that_is_the_operators_takes_the_sink_down),
        cmocka_unit_test(an_error_while_nothing_is_out_takes_the_sink_down),
        cmocka_unit_test(on_rabbitmq_only_a_queue_is_taken),
        cmocka_unit_test(which_destinations_prove_a_route),
        cmocka_unit_test(what_cannot_be_sent_is_refused_before),
        cmocka_unit_test(no_more_than_the_window_is_out),
        cmocka_unit_test(a_body_outlives_a_lying_receipt),
        cmocka_unit_test(those_not_written_are_handed_back_unmarked),
        cmocka_unit_test(an_idle_end_leaves_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
