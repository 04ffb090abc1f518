/* Reading back what lies in a sink's queue, from a broker that does as the test says: what is got and when it ends, what is removed
 * and what goes back, which queues are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "amqp_peer.h"
#include "log_rig.h"

static const struct bailey_template dead = {.constant = {(const uint8_t *)"dead", 4}, .slot = -1};
static const struct bailey_template made = {.slot = 0};
static const struct amq_sink_settings settings = {.queue = &dead};
static const struct peer_options rabbitmq = {.product = "RabbitMQ"}, other;

static struct bridge bridge;
static struct peer peer;

static void finish(void)
{
    peer_close(&peer);
    end_rig_close(&bridge.end);
}

static void open_channel(uint16_t channel)
{
    amqp_channel_open_ok_t opened = {0};

    peer_expect(&peer, channel, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(&peer, channel, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
}

static void expect_look(uint32_t messages)
{
    amqp_queue_declare_ok_t found = {.queue = amqp_cstring_bytes("dead"), .message_count = messages};
    amqp_queue_declare_t *look = peer_expect(&peer, 1, AMQP_QUEUE_DECLARE_METHOD);

    assert_true(look->passive && look->queue.len == 4 && memcmp(look->queue.bytes, "dead", 4) == 0);
    peer_method(&peer, 1, AMQP_QUEUE_DECLARE_OK_METHOD, &found);
}

/* A shelf over so many messages, of a broker that does not say what it is. */
static void start(uint32_t messages)
{
    bridge_open_shelf(&bridge, &settings, false);
    peer_open(&bridge, &peer, &other);
    open_channel(1);
    expect_look(messages);
}

static void expect_gets(size_t count)
{
    while (count-- > 0) {
        amqp_basic_get_t *get = peer_expect(&peer, 1, AMQP_BASIC_GET_METHOD);

        assert_true(!get->no_ack && get->queue.len == 4);
    }
}

static void nothing_sent(void)
{
    uint8_t byte;

    end_rig_turn(&bridge.end);
    assert_int_equal(peer.len, 0);
    assert_int_equal(recv(peer.fd, &byte, 1, MSG_PEEK), -1);
}

static void give(uint64_t tag, const char *body)
{
    amqp_basic_get_ok_t ok = {.delivery_tag = tag,
                              .redelivered = 1,
                              .exchange = amqp_cstring_bytes("x"),
                              .routing_key = amqp_cstring_bytes("k")};

    peer_method(&peer, 1, AMQP_BASIC_GET_OK_METHOD, &ok);
    peer_content(&peer, 1, (struct bailey_bytes){(const uint8_t *)"\0\0", 2}, bailey_bytes_of(body));
}

static void give_none(void)
{
    amqp_basic_get_empty_t empty = {0};

    peer_method(&peer, 1, AMQP_BASIC_GET_EMPTY_METHOD, &empty);
}

static void expect_end(enum lane_state state)
{
    amqp_channel_close_ok_t closed = {0};
    amqp_connection_close_ok_t bye = {0};

    peer_expect(&peer, 1, AMQP_CHANNEL_CLOSE_METHOD);
    peer_method(&peer, 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &closed);
    peer_expect(&peer, 0, AMQP_CONNECTION_CLOSE_METHOD);
    peer_method(&peer, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &bye);
    end_rig_state(&bridge.end, state);
}

static void what_lies_there_comes_once_and_what_is_accepted_is_removed(void **state)
{
    amqp_basic_ack_t *ack;

    (void)state;
    start(3);
    expect_gets(3);
    nothing_sent(); /* what comes later is not asked for */
    give(1, "a");
    give(2, "b");
    give(3, "c");
    end_rig_taken(&bridge.end, 3);
    assert_true(bailey_bytes_is(bridge.end.taken[1]->message->body, "b"));
    assert_true(bailey_bytes_is(bridge.end.taken[1]->message->origin.queue, "dead"));
    assert_true(bridge.end.taken[1]->message->redelivered);
    nothing_sent();
    end_rig_confirm(&bridge.end, 2);
    ack = peer_expect(&peer, 1, AMQP_BASIC_ACK_METHOD);
    assert_int_equal(ack->delivery_tag, 2);
    assert_true(ack->multiple);
    end_rig_confirm(&bridge.end, 1);
    ack = peer_expect(&peer, 1, AMQP_BASIC_ACK_METHOD);
    assert_int_equal(ack->delivery_tag, 3);
    expect_end(LANE_FINISHED);
    finish();
}

static void what_is_not_accepted_goes_back_with_the_channel(void **state)
{
    (void)state;
    start(3);
    expect_gets(3);
    give(1, "a");
    give(2, "b");
    give(3, "c");
    end_rig_taken(&bridge.end, 3);
    end_rig_refuse(&bridge.end);
    end_rig_confirm(&bridge.end, 1);
    lane_stop(bridge.end.lane);
    amqp_basic_ack_t *ack = peer_expect(&peer, 1, AMQP_BASIC_ACK_METHOD);

    assert_int_equal(ack->delivery_tag, 2);
    assert_false(ack->multiple);
    expect_end(LANE_STOPPED); /* no ack, reject or nack of the others */
    finish();
}

/* Whatever becomes of it elsewhere. */
static void a_look_removes_nothing(void **state)
{
    (void)state;
    bridge_open_shelf(&bridge, &settings, true);
    peer_open(&bridge, &peer, &other);
    open_channel(1);
    expect_look(1);
    expect_gets(1);
    give(1, "a");
    end_rig_taken(&bridge.end, 1);
    end_rig_confirm(&bridge.end, 1);
    expect_end(LANE_FINISHED); /* no ack comes first */
    finish();
}

/* Other consumers may take some: the end is certain all the same. */
static void an_empty_queue_is_the_end(void **state)
{
    (void)state;
    start(3);
    expect_gets(3);
    give(1, "a");
    give_none();
    give_none();
    end_rig_taken(&bridge.end, 1);
    end_rig_confirm(&bridge.end, 1);
    peer_expect(&peer, 1, AMQP_BASIC_ACK_METHOD);
    expect_end(LANE_FINISHED);
    finish();

    start(0);
    expect_gets(1);
    give_none();
    expect_end(LANE_FINISHED);
    finish();
}

/* RabbitMQ says so of a quorum queue that has no leader at that moment. */
static void a_queue_that_only_said_it_was_empty_is_looked_at_again(void **state)
{
    (void)state;
    start(0);
    expect_gets(1);
    give(1, "a");
    end_rig_down(&bridge.end, "said to be empty");
    assert_int_equal(bridge.end.taken_in_all, 0);
    finish();
}

static void no_more_is_asked_for_than_there_is_room_for(void **state)
{
    (void)state;
    start(500);
    expect_gets(31); /* 4 MiB of credit for messages of 128 KiB, as long as nothing else is known */
    nothing_sent();
    for (uint64_t tag = 1; tag <= 31; tag++)
        give(tag, "small");
    end_rig_taken(&bridge.end, 31);
    for (uint64_t tag = 32; tag <= END_RIG_CREDIT; tag++) {
        expect_gets(1);
        give(tag, "small");
    }
    end_rig_taken(&bridge.end, END_RIG_CREDIT);
    nothing_sent(); /* the lane's credit is used up */
    end_rig_confirm(&bridge.end, END_RIG_CREDIT / 2);
    amqp_basic_ack_t *ack = peer_expect(&peer, 1, AMQP_BASIC_ACK_METHOD);

    assert_int_equal(ack->delivery_tag, END_RIG_CREDIT / 2);
    expect_gets(END_RIG_CREDIT / 2);
    nothing_sent();
    finish();
}

/* RabbitMQ names the type of a queue only when it refuses another one. */
static void ask_for_type(bool only_looks, uint16_t code, const char *answer)
{
    amqp_queue_declare_t *ask;

    bridge_open_shelf(&bridge, &settings, only_looks);
    peer_open(&bridge, &peer, &rabbitmq);
    open_channel(1);
    ask = peer_expect(&peer, 1, AMQP_QUEUE_DECLARE_METHOD);
    assert_true(!ask->passive && ask->durable && ask->arguments.num_entries == 1);
    assert_memory_equal(ask->arguments.entries[0].key.bytes, "x-queue-type", 12);
    peer_close_channel(&peer, 1, code, answer);
}

static void a_look_that_is_counted_is_told(void **state)
{
    static const struct {
        uint16_t code;
        const char *answer;
        int warnings;
    } cases[] = {
        {406,
         "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'dead': received 'bailey-looks' but current "
         "is 'quorum'",
         1},
        {406,
         "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'dead': received 'bailey-looks' but current "
         "is 'classic'",
         0},
        {406,
         "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'but current is 'quorum'': received the "
         "value 'bailey-looks' of type 'longstr' but current is none",
         0},
        {406,
         "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'dead': received 'true' but current is 'false'",
         0},
        {406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'a name as long as names may", 1},
        {403, "ACCESS_REFUSED - access to queue 'dead' in vhost '/' refused for user 'user'", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        log_rig_begin();
        ask_for_type(true, cases[i].code, cases[i].answer);
        open_channel(1);
        expect_look(0);
        expect_gets(1);
        give_none();
        expect_end(LANE_FINISHED);
        if (log_rig_count("shelf.counted") != cases[i].warnings)
            fail_msg("of case %zu there are %d warnings", i, log_rig_count("shelf.counted"));
        finish();
        log_rig_end();
    }
}

/* Its acks may be forgotten with the channel until a basic.get after them, and one more, are answered. */
static void a_quorum_queue_has_written_the_acks_before_the_end(void **state)
{
    (void)state;
    ask_for_type(false, 406,
                 "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'dead': received 'bailey-looks' but "
                 "current is 'quorum'");
    open_channel(1);
    expect_look(1);
    expect_gets(1);
    give(1, "a");
    end_rig_taken(&bridge.end, 1);
    end_rig_confirm(&bridge.end, 1);
    peer_expect(&peer, 1, AMQP_BASIC_ACK_METHOD);
    expect_gets(1);
    nothing_sent();
    give(2, "came later");
    expect_gets(1);
    nothing_sent();
    give_none();
    expect_end(LANE_FINISHED);
    assert_int_equal(bridge.end.taken_in_all, 1);
    finish();
}

static void a_stream_is_refused(void **state)
{
    (void)state;
    ask_for_type(true, 406,
                 "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'dead': received 'bailey-looks' "
                 "but current is 'stream'");
    end_rig_down(&bridge.end, "queue dead is a stream");
    finish();

    start(1); /* whose type nobody told */
    expect_gets(1);
    amqp_connection_close_t close = {.reply_code = 540,
                                     .reply_text = amqp_cstring_bytes("NOT_IMPLEMENTED - basic.get not supported")};

    peer_method(&peer, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
    end_rig_down(&bridge.end, "queue dead is a stream");
    finish();
}

static void a_missing_queue_is_told(void **state)
{
    (void)state;
    bridge_open_shelf(&bridge, &settings, false);
    peer_open(&bridge, &peer, &other);
    open_channel(1);
    peer_expect(&peer, 1, AMQP_QUEUE_DECLARE_METHOD);
    peer_close_channel(&peer, 1, 404, "NOT_FOUND - no queue 'dead' in vhost 'shop'");
    end_rig_down(&bridge.end, "no queue 'dead'");
    finish();
}

static void an_answer_to_nothing_ends_the_connection(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        start(1);
        expect_gets(1);
        give(1, "a");
        end_rig_taken(&bridge.end, 1);
        if (i == 0)
            give(2, "m");
        else
            give_none();
        peer_gone(&peer);
        assert_int_equal(bridge.end.taken_in_all, 1);
        finish();
    }
}

/* So does RabbitMQ with a quorum queue that has no leader: for a minute. */
static void no_answer_ends_the_connection(void **state)
{
    int64_t began_ms;

    (void)state;
    start(1);
    expect_gets(1);
    began_ms = bailey_now_ms(bridge.end.loop);
    peer_gone(&peer);
    assert_in_range(bailey_now_ms(bridge.end.loop) - began_ms, 4000, 10000);
    finish();
}

static void only_settings_that_name_one_queue(void **state)
{
    static const struct {
        struct amq_sink_settings settings;
        const char *text; /* NULL: it can be opened */
    } cases[] = {
        {{.queue = &dead}, NULL},
        {{.exchange = "", .routing_key = &dead}, NULL},
        {{.queue = &made}, "names no one queue"},
        {{.exchange = "", .routing_key = &made}, "names no one queue"},
        {{.exchange = "orders", .routing_key = &dead}, "names an exchange"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bridge_open_shelf(&bridge, &cases[i].settings, false);
        if (cases[i].text != NULL) {
            end_rig_down(&bridge.end, cases[i].text);
        } else {
            peer_open(&bridge, &peer, &other);
            open_channel(1);
            expect_look(0);
        }
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_there_comes_once_and_what_is_accepted_is_removed),
        cmocka_unit_test(what_is_not_accepted_goes_back_with_the_channel),
        cmocka_unit_test(a_look_removes_nothing),
        cmocka_unit_test(an_empty_queue_is_the_end),
        cmocka_unit_test(a_queue_that_only_said_it_was_empty_is_looked_at_again),
        cmocka_unit_test(no_more_is_asked_for_than_there_is_room_for),
        cmocka_unit_test(a_look_that_is_counted_is_told),
        cmocka_unit_test(a_quorum_queue_has_written_the_acks_before_the_end),
        cmocka_unit_test(a_stream_is_refused),
        cmocka_unit_test(a_missing_queue_is_told),
        cmocka_unit_test(an_answer_to_nothing_ends_the_connection),
        cmocka_unit_test(no_answer_ends_the_connection),
        cmocka_unit_test(only_settings_that_name_one_queue),
    };

    peer.fd = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
