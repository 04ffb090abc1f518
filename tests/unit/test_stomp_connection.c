/* Connections to a broker that does as the test says: log-in in both forms, versions, heart-beats, refusals, silence, and what
 * does not speak STOMP at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "stomp_peer.h"

static const struct bailey_template destination = {.constant = {(const uint8_t *)"/queue/q", 8}, .slot = -1};
static const struct stomp_sink_settings settings = {.destination = &destination, .max_unconfirmed = 1000};

static struct stomp_rig rig;
static struct stomp_peer peer;

static void start(void)
{
    stomp_rig_open_sink(&rig, &settings);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
}

static void finish(void)
{
    stomp_peer_close(&peer);
    end_rig_close(&rig.end);
}

static void says_who_it_is_and_what_it_wants(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.vhost = "shop:1";
    rig.broker_settings.heartbeat_ms = 12000;
    start();
    stomp_peer_has(&peer, "accept-version", "1.2,1.1");
    stomp_peer_has(&peer, "host", "shop:1"); /* CONNECT is not escaped */
    stomp_peer_has(&peer, "login", "user");
    stomp_peer_has(&peer, "passcode", "SECRET");
    stomp_peer_has(&peer, "heart-beat", "12000,12000");
    stomp_peer_has(&peer, "client-id", NULL);
    assert_int_equal(peer.body_len, 0);
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\n\n");
    end_rig_state(&rig.end, LANE_RUNNING);
    finish();
}

static void without_a_login_none_is_sent(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.login.value = rig.broker_settings.passcode.value = NULL;
    start();
    stomp_peer_has(&peer, "login", NULL);
    stomp_peer_has(&peer, "passcode", NULL);
    finish();
}

static void the_login_may_stand_in_the_url(void **state)
{
    char url[128];

    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.login.value = rig.broker_settings.passcode.value = NULL;
    snprintf(url, sizeof url, "stomp://me:s%%3acret@%.90s", rig.url + strlen("stomp://"));
    rig.urls[0] = url;
    start();
    stomp_peer_has(&peer, "login", "me");
    stomp_peer_has(&peer, "passcode", "s:cret");
    finish();
}

static const char *expected;

static bool is_told(struct end_rig *r)
{
    return strstr(r->status.reason, expected) != NULL;
}

/* A secret that is rotated serves the next connection; one that is gone is told. */
static void the_passcode_is_read_again_for_each_connection(void **state)
{
    char path[] = "/tmp/bailey-passcode-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0 && write(fd, "first\n", 6) == 6);
    stomp_rig_init(&rig);
    rig.broker_settings.passcode = (struct bailey_credential){.value = "first", .file = path};
    start();
    stomp_peer_has(&peer, "passcode", "first");
    assert_true(pwrite(fd, "other\n", 6, 0) == 6);
    stomp_peer_close(&peer);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_has(&peer, "passcode", "other");
    unlink(path);
    stomp_peer_close(&peer);
    stomp_peer_accept(&rig, &peer);
    expected = path;
    end_rig_until(&rig.end, is_told);
    finish();
    close(fd);
}

static void a_refused_login_is_told_and_shows_no_secret(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    start();
    stomp_peer_say(&peer, "ERROR\nmessage:Bad\\c CONNECT\n\nAccess refused for user with SECRET\n");
    end_rig_down(&rig.end, "Bad: CONNECT: Access refused for user with ******");
    stomp_peer_gone(&peer);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5"); /* it tries again by itself */
    end_rig_state(&rig.end, LANE_RUNNING);
    finish();
}

/* The broker hangs up within its ERROR: what there is of it is told. */
static void an_error_that_is_cut_off_is_told(void **state)
{
    static const char frame[] = "ERROR\nmessage:shutting down\ncontent-length:1000\n\nnot all of it";

    (void)state;
    stomp_rig_init(&rig);
    start();
    stomp_peer_send(&peer, frame, sizeof frame - 1);
    end_rig_turn(&rig.end);
    stomp_peer_close(&peer);
    end_rig_down(&rig.end, "shutting down: not all of it");
    end_rig_close(&rig.end);
}

/* A backslash in CONNECT: the specification's form first, then RabbitMQ's; what succeeded is remembered. */
static void a_backslash_in_the_passcode_is_sent_in_two_forms(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.passcode.value = "a\\b:c";
    start();
    stomp_peer_has(&peer, "passcode", "a\\b:c");
    stomp_peer_close(&peer); /* as RabbitMQ does: no ERROR */
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_has(&peer, "passcode", "a\\\\b\\cc");
    assert_int_equal(rig.end.status.state, LANE_STARTING); /* not a failure yet */
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nserver:RabbitMQ/3.10.8\n\n");
    end_rig_state(&rig.end, LANE_RUNNING);
    stomp_peer_close(&peer);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_has(&peer, "passcode", "a\\\\b\\cc");
    finish();
}

static void a_passcode_that_is_wrong_in_both_forms_is_refused(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.passcode.value = "a\\b";
    start();
    stomp_peer_say(&peer, "ERROR\nmessage:password is invalid\n\n");
    stomp_peer_gone(&peer);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_say(&peer, "ERROR\nmessage:password is invalid\n\n");
    end_rig_down(&rig.end, "password is invalid");
    finish();
}

static void a_configured_dialect_knows_the_form(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.passcode.value = "a\\b";
    rig.broker_settings.dialect = STOMP_RABBITMQ;
    start();
    stomp_peer_has(&peer, "passcode", "a\\\\b");
    finish();
    stomp_rig_init(&rig);
    rig.broker_settings.passcode.value = "a\\b";
    rig.broker_settings.dialect = STOMP_ACTIVEMQ;
    start();
    stomp_peer_has(&peer, "passcode", "a\\b");
    stomp_peer_close(&peer);
    end_rig_down(&rig.end, "closed the connection"); /* no other form is tried */
    end_rig_close(&rig.end);
}

static void what_does_not_speak_stomp_as_we_do(void **state)
{
    static const struct {
        const char *bytes;
        const char *reason;
    } answers[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak STOMP"},
        {"AMQP\3\1", "does not speak STOMP"},
        {"CONNECTED\nnocolon\n\n", "does not speak STOMP"},
        {"MESSAGE\nsubscription:1\n\n", "unexpected frame MESSAGE during the handshake"},
        {"RECEIPT\nreceipt-id:1\n\n", "unexpected frame RECEIPT during the handshake"},
        {"CONNECTED\nversion:1.3\n\n", "a version that was not offered"},
        {"CONNECTED\nversion:1.0\n\n", "speaks STOMP 1.0 only"},
        {"CONNECTED\nserver:old/1\n\n", "speaks STOMP 1.0 only"},
        {"CONNECTED\nversion:1.2\nheart-beat:x\n\n", "malformed heart-beat"},
        {"CONNECTED\nversion:1.2\nheart-beat:1\n\n", "malformed heart-beat"},
        {"CONNECTED\nversion:1.2\nheart-beat:1,-1\n\n", "malformed heart-beat"},
        {"CONNECTED\nversion:1.2\nheart-beat:1,1,\n\n", "malformed heart-beat"},
        {"CONNECTED\nversion:1.2\nheart-beat:,\n\n", "malformed heart-beat"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        stomp_rig_init(&rig);
        start();
        stomp_peer_send(&peer, answers[i].bytes, strlen(answers[i].bytes) + 1);
        end_rig_down(&rig.end, answers[i].reason);
        finish();
    }
}

static void version_1_0_is_for_generic_only(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.dialect = STOMP_GENERIC;
    start();
    stomp_peer_has(&peer, "accept-version", "1.2,1.1,1.0");
    stomp_peer_say(&peer, "CONNECTED\nsession:1\n\n");
    end_rig_state(&rig.end, LANE_RUNNING);
    finish();
}

/* Two frames at once, and byte by byte. */
static void connected_may_come_in_pieces(void **state)
{
    static const char frame[] = "CONNECTED\r\nversion:1.2\r\nheart-beat:0,0\r\n\r\n";

    (void)state;
    stomp_rig_init(&rig);
    start();
    for (size_t i = 0; i < sizeof frame; i++) {
        stomp_peer_send(&peer, frame + i, 1);
        end_rig_turn(&rig.end);
    }
    end_rig_state(&rig.end, LANE_RUNNING);
    finish();
}

static bool has_beaten(struct end_rig *r)
{
    char byte;

    (void)r;
    return recv(peer.fd, &byte, 1, MSG_DONTWAIT) == 1;
}

/* We send within half of what was agreed; the larger of what both say counts. */
static void heartbeats_are_sent(void **state)
{
    int64_t began;

    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.heartbeat_ms = 100;
    start();
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nheart-beat:0,400\n\n");
    end_rig_state(&rig.end, LANE_RUNNING);
    began = end_rig_clock_ms();
    for (int i = 0; i < 4; i++)
        end_rig_until(&rig.end, has_beaten);
    assert_in_range(end_rig_clock_ms() - began, 300,
                    1200); /* four of at most 200 ms, and not as often as 100 ms says */
    finish();
}

static void a_silent_broker_is_lost(void **state)
{
    int64_t began;

    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.heartbeat_ms = 100;
    start();
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nheart-beat:200,0\n\n");
    end_rig_state(&rig.end, LANE_RUNNING);
    began = end_rig_clock_ms();
    end_rig_down(&rig.end, "silent for 400 ms, twice the heart-beat");
    assert_in_range(end_rig_clock_ms() - began, 350, 900);
    finish();
}

static void heartbeats_of_the_broker_keep_it(void **state)
{
    int64_t began;

    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.heartbeat_ms = 100;
    start();
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nheart-beat:100,0\n\n");
    end_rig_state(&rig.end, LANE_RUNNING);
    for (began = end_rig_clock_ms(); end_rig_clock_ms() - began < 600;) {
        stomp_peer_send(&peer, "\n", 1);
        end_rig_turn(&rig.end);
    }
    assert_int_equal(rig.end.status.state, LANE_RUNNING);
    finish();
}

/* Values beyond any sense are no heart-beat: neither a flood nor an overflow. */
static void huge_heartbeats_are_none(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.broker_settings.heartbeat_ms = 100;
    start();
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nheart-beat:99999999999999999999999999,4294967296\n\n");
    end_rig_state(&rig.end, LANE_RUNNING);
    stomp_peer_silent(&peer);
    assert_int_equal(rig.end.status.state, LANE_RUNNING);
    finish();
}

/* The listener of `a` becomes that of `b`, and the other way round. */
static void swap_listeners(struct stomp_rig *a, struct stomp_rig *b)
{
    int listener = a->end.listener;

    a->end.listener = b->end.listener;
    b->end.listener = listener;
}

static void a_list_of_urls_is_tried_in_turn(void **state)
{
    struct stomp_rig second;

    (void)state;
    stomp_rig_init(&second);
    stomp_rig_init(&rig);
    rig.urls[1] = second.url;
    rig.broker_settings.urls.count = 2;
    start();
    stomp_peer_close(&peer);
    swap_listeners(&rig, &second);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5"); /* at the second's port */
    end_rig_state(&rig.end, LANE_RUNNING);
    stomp_peer_close(&peer);
    swap_listeners(&rig, &second);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5"); /* and at the first's again */
    finish();
    close(second.end.listener);
}

/* What comes behind an ERROR is not looked at: not its RECEIPTs, not nonsense. */
static void frames_after_an_error_do_not_count(void **state)
{
    static const char frames[] = "ERROR\nmessage:over\n\n\0RECEIPT\nreceipt-id:1\n\n\0\x01\x02";

    (void)state;
    stomp_rig_init(&rig);
    start();
    stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nserver:RabbitMQ/3\n\n");
    end_rig_state(&rig.end, LANE_RUNNING);
    end_rig_push(&rig.end, end_rig_message(&rig.end, "a"));
    stomp_peer_expect_send(&peer, "a");
    stomp_peer_send(&peer, frames, sizeof frames - 1);
    end_rig_refused(&rig.end, BAILEY_ERR_PERMANENT, 1); /* it was out alone, so it was the culprit */
    assert_int_equal(rig.end.settled_count, 0);
    finish();
}

static void malformed_frames_end_the_connection(void **state)
{
    static const char *const frames[] = {
        "receipt\n\n",
        "RECEIPT\nnocolon\n\n",
        "RECEIPT\nreceipt-id:1\ncontent-length:-1\n\n",
        "RECEIPT\n\n",
        "RECEIPT\nreceipt-id:bye\n\n",
        "RECEIPT\nreceipt-id:1\\t\n\n",
        "RECEIPT\nreceipt-id:01\n\n",
        "CONNECTED\nversion:1.2\n\n",
        "MESSAGE\nsubscription:1\nack:1\nmessage-id:1\n\n",
        "RECEIPT\nreceipt-id:99999999999999999999999999\n\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        stomp_rig_init(&rig);
        start();
        stomp_peer_say(&peer, "CONNECTED\nversion:1.2\nserver:RabbitMQ/3\n\n");
        end_rig_state(&rig.end, LANE_RUNNING);
        end_rig_push(&rig.end, end_rig_message(&rig.end, "a"));
        stomp_peer_expect_send(&peer, "a");
        stomp_peer_say(&peer, "%s", frames[i]);
        stomp_peer_gone(&peer);
        assert_int_equal(rig.end.settled_count, 0);
        assert_int_equal(rig.end.status.state, LANE_DOWN);
        end_rig_close(&rig.end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_who_it_is_and_what_it_wants),
        cmocka_unit_test(without_a_login_none_is_sent),
        cmocka_unit_test(the_login_may_stand_in_the_url),
        cmocka_unit_test(the_passcode_is_read_again_for_each_connection),
        cmocka_unit_test(a_refused_login_is_told_and_shows_no_secret),
        cmocka_unit_test(an_error_that_is_cut_off_is_told),
        cmocka_unit_test(a_backslash_in_the_passcode_is_sent_in_two_forms),
        cmocka_unit_test(a_passcode_that_is_wrong_in_both_forms_is_refused),
        cmocka_unit_test(a_configured_dialect_knows_the_form),
        cmocka_unit_test(what_does_not_speak_stomp_as_we_do),
        cmocka_unit_test(version_1_0_is_for_generic_only),
        cmocka_unit_test(connected_may_come_in_pieces),
        cmocka_unit_test(heartbeats_are_sent),
        cmocka_unit_test(a_silent_broker_is_lost),
        cmocka_unit_test(heartbeats_of_the_broker_keep_it),
        cmocka_unit_test(huge_heartbeats_are_none),
        cmocka_unit_test(a_list_of_urls_is_tried_in_turn),
        cmocka_unit_test(frames_after_an_error_do_not_count),
        cmocka_unit_test(malformed_frames_end_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
