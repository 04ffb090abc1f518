/* URLs of STOMP brokers: what is understood, what is refused, and that no passcode shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/stomp/url.h"

static void good_urls(void **state)
{
    static const struct {
        const char *text, *host, *path, *login, *passcode;
        uint16_t port;
        bool tls, websocket, has_login;
    } good[] = {
        {"stomp://localhost", "localhost", "", "", "", 61613, false, false, false},
        {"stomp://localhost/", "localhost", "", "", "", 61613, false, false, false},
        {"stomp+ssl://h", "h", "", "", "", 61614, true, false, false},
        {"STOMP://h:1", "h", "", "", "", 1, false, false, false},
        {"stomp://u:p@h:65535", "h", "", "u", "p", 65535, false, false, true},
        {"stomp://u%40x:p%3a%2F%25@h", "h", "", "u@x", "p:/%", 61613, false, false, true},
        {"stomp://u:p@ss@h", "h", "", "u", "p@ss", 61613, false, false, true},
        {"stomp://u:@h", "h", "", "u", "", 61613, false, false, true},
        {"stomp://[::1]:61", "::1", "", "", "", 61, false, false, false},
        {"ws://h", "h", "/", "", "", 80, false, true, false},
        {"ws://h:15674/ws", "h", "/ws", "", "", 15674, false, true, false},
        {"wss://u:p@h/stomp/websocket?a=b%20c", "h", "/stomp/websocket?a=b%20c", "u", "p", 443, true, true, true},
        {"ws://h?a", "h", "/?a", "", "", 80, false, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct bailey_error err = {0};
        struct stomp_url url;

        if (!stomp_url_parse(good[i].text, &url, &err))
            fail_msg("%s: %s", good[i].text, err.text);
        assert_string_equal(url.host, good[i].host);
        assert_string_equal(url.path, good[i].path);
        assert_string_equal(url.login, good[i].login);
        assert_string_equal(url.passcode, good[i].passcode);
        assert_int_equal(url.port, good[i].port);
        assert_int_equal(url.tls, good[i].tls);
        assert_int_equal(url.websocket, good[i].websocket);
        assert_int_equal(url.has_login, good[i].has_login);
    }
}

static void bad_urls_are_refused_and_show_no_secret(void **state)
{
    static const char *const bad[] = {
        "",
        "stomp:",
        "stomp://",
        "http://u:SECRET@h",
        "u:SECRET@h",
        "stomp://u:SECRET@",
        "stomp://u:SECRET@h:0",
        "stomp://u:SECRET@h:65536",
        "stomp://u:SECRET@h:",
        "stomp://u:SECRET@h:61613x",
        "stomp://u:SECRET@h:-1",
        "stomp://u:SECRET%@h",
        "stomp://u:SECRET%zz@h",
        "stomp://u:SECRET%00@h",
        "stomp://u:SECRET@h/queue/a",
        "stomp://u:SECRET@h?heartbeat=1",
        "stomp://u:SECRET@h#x",
        "stomp://u:SECRET@[::1",
        "stomp://u:SECRET@[::1]61613",
        "ws://u:SECRET@h/a b",
        "ws://u:SECRET@h/a\r\nX: y",
        "ws://u:SECRET@h/a#b",
        "ws://u:SECRET@h#b",
    };
    struct stomp_url url;
    char text[2000];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bailey_error err = {0};

        if (stomp_url_parse(bad[i], &url, &err))
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
        assert_true(err.text[0] != '\0');
        assert_null(strstr(err.text, "SECRET"));
        assert_null(strstr(err.hint, "SECRET"));
    }
    snprintf(text, sizeof text, "stomp://u:%01200d@h", 7);
    assert_false(stomp_url_parse(text, &url, NULL));
    snprintf(text, sizeof text, "stomp://u:p@%0300d", 7);
    assert_false(stomp_url_parse(text, &url, NULL));
    snprintf(text, sizeof text, "ws://h/%0600d", 7);
    assert_false(stomp_url_parse(text, &url, NULL));
}

static void wiping_leaves_nothing(void **state)
{
    struct stomp_url url, zero;

    (void)state;
    memset(&zero, 0, sizeof zero);
    assert_true(stomp_url_parse("stomp://u:SECRET@h", &url, NULL));
    stomp_url_wipe(&url);
    assert_memory_equal(&url, &zero, sizeof url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls),
        cmocka_unit_test(bad_urls_are_refused_and_show_no_secret),
        cmocka_unit_test(wiping_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
