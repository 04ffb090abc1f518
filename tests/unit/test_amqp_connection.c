/* Connections to a broker that does as the test says: log-in, refusals, sharing, silence, and what does not speak
 * AMQP at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "amqp_peer.h"

static const struct bailey_template key = {.constant = {(const uint8_t *)"k", 1}, .slot = -1};
static const struct amq_sink_settings settings = {
    .exchange = "x", .routing_key = &key, .max_unconfirmed = 1000, .declare = BAILEY_DECLARE_NEVER};
static const struct peer_options usual;

static struct bridge bridge;
static struct peer peer;

static void finish(void)
{
    peer_close(&peer);
    end_rig_close(&bridge.end);
}

static void send_start(const char *mechanisms)
{
    amqp_connection_start_t start = {
        .version_minor = 9, .mechanisms = amqp_cstring_bytes(mechanisms), .locales = amqp_cstring_bytes("en_US")};

    peer_method(&peer, 0, AMQP_CONNECTION_START_METHOD, &start);
}

static void expect_reason(const char *text)
{
    end_rig_state(&bridge.end, LANE_DOWN);
    if (strstr(bridge.end.status.reason, text) == NULL)
        fail_msg("reason is: %s", bridge.end.status.reason);
    assert_null(strstr(bridge.end.status.reason, "SECRET"));
}

static void says_who_it_is_and_what_it_can(void **state)
{
    amqp_connection_start_ok_t *ok;
    static const char *const capabilities[] = {"publisher_confirms", "basic.nack", "consumer_cancel_notify",
                                               "connection.blocked", "authentication_failure_close"};

    (void)state;
    bridge_open_sink(&bridge, &settings);
    peer_accept(&bridge, &peer);
    send_start("PLAIN");
    ok = peer_expect(&peer, 0, AMQP_CONNECTION_START_OK_METHOD);
    assert_int_equal(ok->client_properties.num_entries, 4);
    assert_non_null(memmem(peer.held, peer.frame.size, "bailey test/b publish", 21));
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        assert_non_null(memmem(peer.held, peer.frame.size, capabilities[i], strlen(capabilities[i])));
    finish();
}

static void a_wrong_password_is_told_and_not_shown(void **state)
{
    amqp_connection_close_t close = {.reply_code = 403,
                                     .reply_text = amqp_cstring_bytes("ACCESS_REFUSED - Login refused")};

    (void)state;
    bridge_open_sink(&bridge, &settings);
    peer_accept(&bridge, &peer);
    send_start("PLAIN");
    peer_expect(&peer, 0, AMQP_CONNECTION_START_OK_METHOD);
    peer_method(&peer, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
    peer_expect(&peer, 0, AMQP_CONNECTION_CLOSE_OK_METHOD);
    expect_reason("403 ACCESS_REFUSED");
    peer_gone(&peer);
    peer_open(&bridge, &peer, &usual); /* it tries again by itself */
    peer_open_publisher(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    finish();
}

static void a_mechanism_that_is_not_offered(void **state)
{
    (void)state;
    bridge_open_sink(&bridge, &settings);
    peer_accept(&bridge, &peer);
    send_start("EXTERNAL PLAINER");
    expect_reason("does not offer the log-in mechanism PLAIN");
    finish();
}

static void what_does_not_speak_amqp(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *reason;
    } answers[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", 28, "does not speak AMQP"},
        {"AMQP\3\1\0\0", 8, "speaks AMQP 1.0.0"},
        {"\1\0\0\xff\xff\xff\xff", 7, "frame larger than negotiated"},
        {"\1\0\0\0\0\0\3", 7, "method frame too short"},
        {"\2\0\1\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\0\0\0\xce", 22, "does not speak AMQP"},
        {"\1\0\1\0\0\0\4\0\x14\0\x0b\xce", 12, "a frame on a channel during the handshake"},
        {"\1\0\0\0\0\0\4\0\x0a\0\x29\xce", 12, "unexpected method 10.41"},
        {"\1\0\0\0\0\0\4\0\x0a\0\x0a\xce", 12, "malformed server properties"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        bridge_open_sink(&bridge, &settings);
        peer_accept(&bridge, &peer);
        peer_send(&peer, answers[i].bytes, answers[i].len);
        expect_reason(answers[i].reason);
        finish();
    }
}

/* Server properties nested 2,000 deep: rabbitmq-c alone would recurse as deep. */
static void deep_server_properties_are_not_decoded(void **state)
{
    enum { DEPTH = 2000 };
    static uint8_t payload[64 << 10];
    size_t len = 6 + 7 * DEPTH;

    (void)state;
    memcpy(payload, "\0\x0a\0\x0a\0\x09", 6);
    for (size_t i = 0; i < DEPTH; i++) {
        amq_put_uint(payload + 6 + 7 * i, 4, i + 1 < DEPTH ? len - 6 - 7 * i - 4 - 3 : 0);
        memcpy(payload + 6 + 7 * i + 4, "\1kF", 3);
    }
    bridge_open_sink(&bridge, &settings);
    peer_accept(&bridge, &peer);
    peer_frame(&peer, AMQ_FRAME_METHOD, 0, payload, (uint32_t)len);
    expect_reason("malformed server properties");
    finish();
}

static void a_frame_size_below_the_protocols_is_refused(void **state)
{
    amqp_connection_tune_t tune = {.channel_max = 10, .frame_max = 8};

    (void)state;
    bridge_open_sink(&bridge, &settings);
    peer_accept(&bridge, &peer);
    send_start("PLAIN");
    peer_expect(&peer, 0, AMQP_CONNECTION_START_OK_METHOD);
    peer_method(&peer, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
    expect_reason("frame_max 8");
    finish();
}

static void a_broker_lowers_our_limits_and_never_raises_them(void **state)
{
    amqp_connection_tune_t tune = {.channel_max = 0, .frame_max = UINT32_MAX, .heartbeat = UINT16_MAX};
    amqp_connection_tune_ok_t *ok;

    (void)state;
    bridge_open_sink(&bridge, &settings);
    peer_accept(&bridge, &peer);
    send_start("PLAIN");
    peer_expect(&peer, 0, AMQP_CONNECTION_START_OK_METHOD);
    peer_method(&peer, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
    ok = peer_expect(&peer, 0, AMQP_CONNECTION_TUNE_OK_METHOD);
    assert_int_equal(ok->channel_max, UINT16_MAX);
    assert_int_equal(ok->frame_max, 128 << 10);
    assert_int_equal(ok->heartbeat, 30);
    finish();
}

static void a_silent_broker_is_found_within_two_and_a_half_heartbeats(void **state)
{
    struct peer_options options = {.heartbeat = 1};
    int64_t began;

    (void)state;
    bridge_open_sink(&bridge, &settings);
    peer_open(&bridge, &peer, &options);
    peer_open_publisher(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    began = end_rig_clock_ms();
    expect_reason("silent for 2 s");
    assert_in_range(end_rig_clock_ms() - began, 1500, 3200); /* 2.25 s, and what a busy machine adds */
    assert_true(bridge.end.status.state == LANE_DOWN);
    peer_gone(&peer);
    end_rig_close(&bridge.end);
}

static size_t beats;

static bool beaten(struct end_rig *b)
{
    uint8_t frame[AMQ_FRAME_OVERHEAD];
    static const uint8_t beat[] = {8, 0, 0, 0, 0, 0, 0, 0xCE};

    (void)b;
    while (recv(peer.fd, frame, sizeof frame, 0) == sizeof frame) {
        assert_memory_equal(frame, beat, sizeof beat);
        peer_send(&peer, beat, sizeof beat);
        beats++;
    }
    return beats >= 6;
}

static void heartbeats_keep_an_idle_connection(void **state)
{
    struct peer_options options = {.heartbeat = 2}; /* s: a machine that stalls for 4 s loses the connection, rightly */
    int64_t began = end_rig_clock_ms();

    (void)state;
    bridge_open_sink(&bridge, &settings);
    peer_open(&bridge, &peer, &options);
    peer_open_publisher(&peer, 1);
    beats = 0;
    end_rig_until(&bridge.end, beaten);
    assert_in_range(end_rig_clock_ms() - began, 2400, 20000); /* not many more than two an interval */
    assert_int_equal(bridge.end.status.state, LANE_RUNNING);
    finish();
}

static void nonsense_on_an_open_connection_ends_it(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *reason;
    } rows[] = {
        {"\1\0\2\0\0\0\4\0\x3c\0\x50\xce", 12, "channel 2, which is not open"},
        {"\1\xff\xff\0\0\0\4\0\x3c\0\x50\xce", 12, "channel 65535"},
        {"\1\0\1\0\0\0\4\0\x14\0\x29\xce", 12, "close-ok for a channel that is not closing"},
        {"\1\0\1\0\0\0\4\0\x14\0\x28\xce", 12, "malformed method 20.40"},
        {"\1\0\1\0\0\0\4\0\x14\0\x0b\xce", 12, "unexpected method 20.11"},
        {"\1\0\1\0\0\0\4\xff\xff\xff\xff\xce", 12, "unexpected method 65535.65535"},
        {"\3\0\1\0\0\0\1x\xce", 9, "a body frame that nothing announced"},
        {"\1\0\1\0\0\0\4\0\x3c\0\x50\xcd", 12, "without its end mark"},
        {"\1\0\0\0\0\0\4\0\x0a\0\x1e\xce", 12, "unexpected method 10.30"},
        {"\7\0\0\0\0\0\0\xce", 8, "unknown frame type"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bridge_open_sink(&bridge, &settings);
        peer_open(&bridge, &peer, &usual);
        peer_open_publisher(&peer, 1);
        end_rig_state(&bridge.end, LANE_RUNNING);
        peer_send(&peer, rows[i].bytes, rows[i].len);
        expect_reason(rows[i].reason);
        finish();
    }
}

/* ---- Sharing ---- */

enum { ENDS = 3 };

static struct {
    struct amq_channel ch;
    int opened, lost;
} ends[ENDS];

static void on_opened(struct amq_channel *ch)
{
    ends[(struct amq_channel *)ch == &ends[0].ch ? 0 : ch == &ends[1].ch ? 1 : 2].opened++;
}

static void on_lost(struct amq_channel *ch, const struct bailey_error *err, bool connection)
{
    (void)err, (void)connection;
    ends[ch == &ends[0].ch ? 0 : ch == &ends[1].ch ? 1 : 2].lost++;
}

static void on_nothing(struct amq_channel *ch)
{
    (void)ch;
}

static void on_blocked(struct amq_channel *ch, const char *reason)
{
    (void)ch, (void)reason;
}

static const struct amq_channel_ops ops = {.opened = on_opened,
                                           .input_end = on_nothing,
                                           .writable = on_nothing,
                                           .blocked = on_blocked,
                                           .lost = on_lost,
                                           .closed = on_nothing};

static bool all_open(struct end_rig *b)
{
    (void)b;
    return ends[0].opened && ends[1].opened && ends[2].opened;
}

/* The lane's own sink takes one channel; two are allowed on a connection, so the other three need one more and
 * another. */
static void when_channel_max_is_reached_another_connection_is_opened(void **state)
{
    struct peer_options two = {.channel_max = 2};
    struct peer second;
    amqp_channel_open_ok_t opened = {0};

    (void)state;
    memset(ends, 0, sizeof ends);
    bridge_open_sink(&bridge, &settings);
    for (int i = 0; i < ENDS; i++) {
        ends[i].ch.ops = &ops;
        amq_channel_attach(bridge.end.broker, AMQ_PUBLISH, &ends[i].ch);
    }
    peer_open(&bridge, &peer, &two);
    for (uint16_t i = 1; i <= 2; i++) {
        peer_expect(&peer, i, AMQP_CHANNEL_OPEN_METHOD);
        peer_method(&peer, i, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
    }
    peer_open(&bridge, &second, &two);
    for (uint16_t i = 1; i <= 2; i++) {
        peer_expect(&second, i, AMQP_CHANNEL_OPEN_METHOD);
        peer_method(&second, i, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
    }
    end_rig_until(&bridge.end, all_open);
    for (int i = 0; i < ENDS; i++)
        amq_channel_detach(&ends[i].ch);
    peer_close(&second);
    finish();
}

/* A channel that left may still get what was on its way; its number is free again only after close-ok. */
static void a_number_is_used_again_only_after_close_ok(void **state)
{
    amqp_channel_open_ok_t opened = {0};
    amqp_channel_close_ok_t closed = {0};

    (void)state;
    memset(ends, 0, sizeof ends);
    bridge_open_sink(&bridge, &settings);
    peer_open(&bridge, &peer, &usual);
    peer_open_publisher(&peer, 1);
    ends[0].ch.ops = ends[1].ch.ops = ends[2].ch.ops = &ops;
    amq_channel_attach(bridge.end.broker, AMQ_PUBLISH, &ends[0].ch);
    peer_expect(&peer, 2, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(&peer, 2, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
    end_rig_turn(&bridge.end);
    amq_channel_detach(&ends[0].ch);
    peer_expect(&peer, 2, AMQP_CHANNEL_CLOSE_METHOD);
    peer_deliver(&peer, 2, 77, "on its way");
    amq_channel_attach(bridge.end.broker, AMQ_PUBLISH, &ends[1].ch);
    peer_expect(&peer, 3, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(&peer, 2, AMQP_CHANNEL_CLOSE_OK_METHOD, &closed);
    end_rig_turn(&bridge.end);
    amq_channel_attach(bridge.end.broker, AMQ_PUBLISH, &ends[2].ch);
    peer_expect(&peer, 2, AMQP_CHANNEL_OPEN_METHOD);
    assert_int_equal(bridge.end.status.state, LANE_RUNNING);
    amq_channel_detach(&ends[1].ch);
    amq_channel_detach(&ends[2].ch);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_who_it_is_and_what_it_can),
        cmocka_unit_test(a_wrong_password_is_told_and_not_shown),
        cmocka_unit_test(a_mechanism_that_is_not_offered),
        cmocka_unit_test(what_does_not_speak_amqp),
        cmocka_unit_test(deep_server_properties_are_not_decoded),
        cmocka_unit_test(a_frame_size_below_the_protocols_is_refused),
        cmocka_unit_test(a_broker_lowers_our_limits_and_never_raises_them),
        cmocka_unit_test(a_silent_broker_is_found_within_two_and_a_half_heartbeats),
        cmocka_unit_test(heartbeats_keep_an_idle_connection),
        cmocka_unit_test(nonsense_on_an_open_connection_ends_it),
        cmocka_unit_test(when_channel_max_is_reached_another_connection_is_opened),
        cmocka_unit_test(a_number_is_used_again_only_after_close_ok),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
