/* amqp:// URLs: what is understood, what is refused, and that no password shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/amqp/url.h"

static void good_urls(void **state)
{
    static const struct {
        const char *text, *host, *vhost, *user, *password;
        uint16_t port;
        bool tls;
    } good[] = {
        {"amqp://localhost", "localhost", "/", "guest", "guest", 5672, false},
        {"amqp://localhost/", "localhost", "/", "guest", "guest", 5672, false},
        {"amqps://h", "h", "/", "guest", "guest", 5671, true},
        {"AMQP://h:1/%2f", "h", "/", "guest", "guest", 1, false},
        {"amqp://u:p@h:65535/shop", "h", "shop", "u", "p", 65535, false},
        {"amqp://u%40x:p%3a%2F%25@h/a%20b", "h", "a b", "u@x", "p:/%", 5672, false},
        {"amqp://u:p@ss@h/v", "h", "v", "u", "p@ss", 5672, false},
        {"amqp://u:@h", "h", "/", "u", "", 5672, false},
        {"amqp://[::1]:5673/v", "::1", "v", "guest", "guest", 5673, false},
        {"amqp://[fe80::1]", "fe80::1", "/", "guest", "guest", 5672, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct bailey_error err = {0};
        struct amq_url url;

        if (!amq_url_parse(good[i].text, &url, &err))
            fail_msg("%s: %s", good[i].text, err.text);
        assert_string_equal(url.host, good[i].host);
        assert_string_equal(url.vhost, good[i].vhost);
        assert_string_equal(url.user, good[i].user);
        assert_string_equal(url.password, good[i].password);
        assert_int_equal(url.port, good[i].port);
        assert_int_equal(url.tls, good[i].tls);
    }
}

static void bad_urls_are_refused_and_show_no_secret(void **state)
{
    static const char *const bad[] = {
        "",
        "amqp:",
        "amqp://",
        "http://u:SECRET@h",
        "u:SECRET@h",
        "amqp://u:SECRET@",
        "amqp://u:SECRET@h:0",
        "amqp://u:SECRET@h:65536",
        "amqp://u:SECRET@h:",
        "amqp://u:SECRET@h:5672x",
        "amqp://u:SECRET@h:-1",
        "amqp://u:SECRET%@h",
        "amqp://u:SECRET%zz@h",
        "amqp://u:SECRET%00@h",
        "amqp://u:SECRET@h/a/b",
        "amqp://u:SECRET@h/v%2",
        "amqp://u:SECRET@h/v?heartbeat=1",
        "amqp://u:SECRET@h#x",
        "amqp://u:SECRET@[::1",
        "amqp://u:SECRET@[::1]5672",
    };
    char text[2000];
    struct amq_url url;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bailey_error err = {0};

        if (amq_url_parse(bad[i], &url, &err))
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
        assert_true(err.text[0] != '\0');
        assert_null(strstr(err.text, "SECRET"));
        assert_null(strstr(err.hint, "SECRET"));
    }
    snprintf(text, sizeof text, "amqp://u:%01200d@h", 7);
    assert_false(amq_url_parse(text, &url, NULL));
    snprintf(text, sizeof text, "amqp://u:p@%0300d", 7);
    assert_false(amq_url_parse(text, &url, NULL));
}

static void wiping_leaves_nothing(void **state)
{
    struct amq_url url, zero;

    (void)state;
    memset(&zero, 0, sizeof zero);
    assert_true(amq_url_parse("amqp://u:SECRET@h", &url, NULL));
    amq_url_wipe(&url);
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
