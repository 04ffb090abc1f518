/* test_amqp_login.c: whose password counts, and how a broker is told of a new one on the open connection. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "amqp_peer.h"
#include "connectors/amqp/login.h"

static char file[] = "/tmp/bailey-login-XXXXXX";

static void put_secret(const char *secret)
{
    char fresh[64];
    int fd;

    snprintf(fresh, sizeof fresh, "%s.new", file);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, secret, strlen(secret)), strlen(secret));
    close(fd);
    assert_int_equal(rename(fresh, file), 0); /* as secrets are rotated: whole or not at all */
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(file);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file);
}

/* ---- Who ---- */

static const char *const urls[] = {"amqp://bob:of-url@h/", "amqp://h/"};

static void logs_in_as(const struct amq_broker_settings *settings, size_t url, const char *user, const char *password)
{
    struct amq_login login;
    struct bailey_error err = {0};

    if (!amq_login_read(settings, url, &login, &err))
        fail_msg("%s", err.text);
    assert_string_equal(login.user, user);
    assert_string_equal(login.password, password);
    amq_login_wipe(&login);
    assert_int_equal(login.password[0], 0);
}

static void options_come_before_the_url(void **state)
{
    struct amq_broker_settings settings = {.urls = {urls, 2}};

    (void)state;
    logs_in_as(&settings, 0, "bob", "of-url");
    logs_in_as(&settings, 1, "guest", "guest");
    settings.password.value = "of-option";
    logs_in_as(&settings, 0, "bob", "of-option");
    settings.username.value = "eve";
    logs_in_as(&settings, 1, "eve", "of-option");
    put_secret("of-file\n");
    settings.password.file = file;
    logs_in_as(&settings, 0, "eve", "of-file");
}

static void a_file_that_is_gone_is_named(void **state)
{
    struct amq_broker_settings settings = {.urls = {urls, 2}, .password = {.value = "geheim", .file = "/nowhere/pw"}};
    struct amq_login login;
    struct bailey_error err = {0};

    (void)state;
    assert_false(amq_login_read(&settings, 0, &login, &err));
    assert_non_null(strstr(err.text, "/nowhere/pw"));
    assert_null(strstr(err.text, "geheim"));
    assert_int_equal(login.password[0], 0);
}

/* ---- The frame ---- */

static void the_frame_is_as_rabbitmq_reads_it(void **state)
{
    static const uint8_t expected[] = {1, 0, 0, 0, 0,   0,   14,  0, 10,  0,   70,
                                       0, 0, 0, 3, 'n', 'e', 'w', 2, 'w', 'y', 0xCE};
    uint8_t out[64];
    struct bailey_bytes secret = bailey_bytes_of("new"), reason = bailey_bytes_of("wy");

    (void)state;
    assert_int_equal(amq_update_secret_frame(out, sizeof out, secret, reason), sizeof expected);
    assert_memory_equal(out, expected, sizeof expected);
    for (size_t room = 0; room < sizeof expected; room++)
        assert_int_equal(amq_update_secret_frame(out, room, secret, reason), 0);
}

/* ---- On a connection ---- */

static const struct bailey_template key = {.constant = {(const uint8_t *)"k", 1}, .slot = -1};
static const struct amq_sink_settings settings = {
    .exchange = "x", .routing_key = &key, .max_unconfirmed = 1000, .declare = BAILEY_DECLARE_NEVER};
static struct bridge bridge;
static struct peer peer;

static void open_with_file(const char *secret)
{
    struct peer_options options = {.password = secret};

    put_secret(secret);
    bridge_open_sink(&bridge, &settings);
    bridge.broker_settings.password = (struct bailey_credential){.value = secret, .file = file};
    peer_open(&bridge, &peer, &options);
    peer_open_publisher(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
}

static void expect_secret(const char *secret)
{
    uint32_t len = (uint32_t)strlen(secret);

    peer_next(&peer);
    assert_int_equal(peer.frame.type, AMQ_FRAME_METHOD);
    assert_int_equal(peer.frame.channel, 0);
    assert_memory_equal(peer.held, "\0\x0a\0\x46", 4);
    assert_int_equal(peer.held[7], len);
    assert_memory_equal(peer.held + 8, secret, len);
}

static void a_changed_file_is_told_on_the_open_connection(void **state)
{
    (void)state;
    open_with_file("first");
    put_secret("second\n");
    expect_secret("second");
    peer_frame(&peer, AMQ_FRAME_METHOD, 0, "\0\x0a\0\x47", 4);
    put_secret("third\n");
    expect_secret("third");
    assert_int_equal(bridge.end.status.state, LANE_RUNNING);
    peer_close(&peer);
    end_rig_close(&bridge.end);
}

static void a_broker_that_refuses_gets_a_new_log_in(void **state)
{
    struct peer_options second = {.password = "second"};
    amqp_connection_close_t close = {.reply_code = 530,
                                     .reply_text = amqp_cstring_bytes("NOT_ALLOWED - no such secret")};

    (void)state;
    open_with_file("first");
    put_secret("second");
    expect_secret("second");
    peer_method(&peer, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
    peer_expect(&peer, 0, AMQP_CONNECTION_CLOSE_OK_METHOD);
    end_rig_state(&bridge.end, LANE_DOWN);
    assert_non_null(strstr(bridge.end.status.reason, "no such secret"));
    peer_gone(&peer);
    peer_open(&bridge, &peer, &second);
    peer_open_publisher(&peer, 1);
    end_rig_state(&bridge.end, LANE_RUNNING);
    peer_close(&peer);
    end_rig_close(&bridge.end);
}

static void an_answer_that_nobody_asked_for_ends_the_connection(void **state)
{
    (void)state;
    open_with_file("first");
    peer_frame(&peer, AMQ_FRAME_METHOD, 0, "\0\x0a\0\x47", 4);
    end_rig_state(&bridge.end, LANE_DOWN);
    assert_non_null(strstr(bridge.end.status.reason, "unexpected method 10.71"));
    peer_close(&peer);
    end_rig_close(&bridge.end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_come_before_the_url),
        cmocka_unit_test(a_file_that_is_gone_is_named),
        cmocka_unit_test(the_frame_is_as_rabbitmq_reads_it),
        cmocka_unit_test(a_changed_file_is_told_on_the_open_connection),
        cmocka_unit_test(a_broker_that_refuses_gets_a_new_log_in),
        cmocka_unit_test(an_answer_that_nobody_asked_for_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
