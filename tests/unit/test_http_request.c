/* admin/request.c: well-formed heads, each way of being malformed, and the hosts that are let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/request.h"

#define HOST "Host: localhost\r\n"

static struct request request;

static int parse(const char *data)
{
    return request_parse(data, strlen(data), &request);
}

static void must_be(const char *data, size_t len, const char *word)
{
    if (len != strlen(word) || memcmp(data, word, len) != 0)
        fail_msg("expected %s, got %.*s", word, (int)len, data);
}

static void a_request_is_read(void **state)
{
    static const char data[] = "GET /metrics?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept:\t*/* \r\n\r\n";

    (void)state;
    assert_int_equal(parse(data), strlen(data));
    assert_int_equal(request.method, REQUEST_GET);
    must_be(request.path, request.path_len, "/metrics");
    must_be(request.host, request.host_len, "127.0.0.1:8080");
    assert_true(request.keep_alive);
    assert_false(request.has_body || request.has_origin);
}

static void methods_are_told_apart_by_case(void **state)
{
    (void)state;
    assert_true(parse("HEAD / HTTP/1.1\r\n" HOST "\r\n") > 0);
    assert_int_equal(request.method, REQUEST_HEAD);
    assert_true(parse("get / HTTP/1.1\r\n" HOST "\r\n") > 0);
    assert_int_equal(request.method, REQUEST_OTHER);
    assert_true(parse("CONNECT / HTTP/1.1\r\n" HOST "\r\n") > 0);
    assert_int_equal(request.method, REQUEST_OTHER);
}

static void a_request_can_come_in_any_pieces(void **state)
{
    static const char data[] = "\r\nGET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\r\nGET /next";
    size_t whole = sizeof data - 1 - strlen("GET /next");

    (void)state;
    for (size_t len = 0; len < sizeof data; len++)
        assert_int_equal(request_parse(data, len, &request), len < whole ? 0 : (int)whole);
}

static void the_connection_is_kept_as_version_and_fields_say(void **state)
{
    static const struct {
        const char *data;
        bool keep;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: x, CLOSE ,y\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(parse(cases[i].data) > 0);
        if (request.keep_alive != cases[i].keep)
            fail_msg("%s", cases[i].data);
    }
}

static void an_absolute_target_names_the_host(void **state)
{
    (void)state;
    assert_true(parse("GET HTTP://evil.example:80/readyz?a HTTP/1.1\r\n" HOST "\r\n") > 0);
    must_be(request.path, request.path_len, "/readyz");
    must_be(request.host, request.host_len, "evil.example:80");
}

static void a_body_and_an_origin_are_seen(void **state)
{
    (void)state;
    assert_true(parse("POST / HTTP/1.1\r\n" HOST "content-length: 007\r\n\r\n") > 0);
    assert_true(request.has_body);
    assert_true(parse("GET / HTTP/1.1\r\n" HOST "oRiGiN:\r\n\r\n") > 0);
    assert_true(request.has_origin);
}

static void what_is_malformed_is_refused(void **state)
{
    static const struct {
        int status;
        const char *data;
    } cases[] = {
        {-400, "GET / HTTP/1.1\nHost: h\n\n"},
        {-400, "GET / HTTP/1.1\n"},
        {-400, "\n"},
        {-400, "\r\n\r\n\r\n\r\n\r\n"},
        {-400, "GET /\r\n\r\n"},
        {-400, "GET\r\n\r\n"},
        {-400, " GET / HTTP/1.1\r\n" HOST "\r\n"},
        {-400, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
        {-400, "GET / HTTP/1.1 \r\n" HOST "\r\n"},
        {-400, "GET / http/1.1\r\n" HOST "\r\n"},
        {-400, "G@T / HTTP/1.1\r\n" HOST "\r\n"},
        {-400, "GET readyz HTTP/1.1\r\n" HOST "\r\n"},
        {-400, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"},
        {-400, "GET http://host HTTP/1.1\r\n" HOST "\r\n"},
        {-400, "GET /\x01 HTTP/1.1\r\n" HOST "\r\n"},
        {-400, "GET / HTTP/1.1\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST "X : y\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST ": y\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST "X: a\r\n folded\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST "X: \x7f\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n"},
        {-400, "GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"},
        {-505, "GET / HTTP/1.2\r\n" HOST "\r\n"},
        {-505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {-505, "GET / HTTP/9.9\r\n" HOST "\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse(cases[i].data) != cases[i].status)
            fail_msg("not %d: %s", cases[i].status, cases[i].data);
    assert_int_equal(request_parse("GET / HTTP/1.1\r\nX: \0\r\n\r\n", 24, &request), -400);
}

static void a_head_has_limits(void **state)
{
    static char data[REQUEST_HEAD_MAX + 8] = "GET / HTTP/1.1\r\n" HOST;
    size_t len = strlen(data);

    (void)state;
    for (int i = 0; i < REQUEST_FIELDS_MAX - 1; i++, len += 5)
        memcpy(data + len, "A:b\r\n", 5);
    memcpy(data + len, "\r\n", 2);
    assert_int_equal(request_parse(data, len + 2, &request), (int)len + 2);
    memcpy(data + len, "A:b\r\n\r\n", 7);
    assert_int_equal(request_parse(data, len + 7, &request), -431);

    len = strlen("GET / HTTP/1.1\r\n" HOST);
    memset(data + len, 'x', sizeof data - len);
    memcpy(data + len, "X:", 2);
    assert_int_equal(request_parse(data, REQUEST_HEAD_MAX - 1, &request), 0);
    assert_int_equal(request_parse(data, REQUEST_HEAD_MAX, &request), -431);
    memcpy(data + REQUEST_HEAD_MAX - 4, "\r\n\r\n", 4);
    assert_int_equal(request_parse(data, REQUEST_HEAD_MAX, &request), REQUEST_HEAD_MAX);
    memcpy(data + REQUEST_HEAD_MAX - 4, "xx\r\n\r\n", 6);
    assert_int_equal(request_parse(data, REQUEST_HEAD_MAX + 2, &request), -431);
}

/* Every prefix of a head with one byte changed: no read outside, and a result that makes sense. */
static void no_change_of_a_byte_confuses_the_reader(void **state)
{
    static const char model[] =
        "GET http://h/p?q HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    size_t len = sizeof model - 1;

    (void)state;
    for (size_t at = 0; at < len; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char *copy = malloc(len); /* exactly as long, so that a sanitizer sees what is read beyond */

            assert_non_null(copy);
            memcpy(copy, model, len);
            copy[at] = (char)byte;
            int result = request_parse(copy, len, &request);
            assert_true(result <= (int)len && (result >= 0 || result == -400 || result == -431 || result == -505));
            if (result > 0 && request.host != NULL)
                assert_true(request.host >= copy && request.host + request.host_len <= copy + len);
            if (result > 0)
                assert_true(request.path >= copy && request.path + request.path_len <= copy + len);
            if (result > 0 && request.host != NULL)
                request_host_allowed(request.host, request.host_len, (const char *const[]){"h", NULL});
            free(copy);
        }
    }
}

static void only_hosts_of_ours_are_let_in(void **state)
{
    static const char *const names[] = {"Bailey.internal", "", NULL};
    static const struct {
        const char *host;
        bool allowed;
    } cases[] = {
        {"127.0.0.1", true},
        {"127.0.0.1:8080", true},
        {"10.1.2.3:1", true},
        {"[::1]", true},
        {"[::1]:8080", true},
        {"[fe80::1:2]:9", true},
        {"localhost", true},
        {"LOCALHOST:8080", true},
        {"bailey.INTERNAL", true},
        {"bailey.internal:8080", true},
        {"", false},
        {":8080", false},
        {"evil.example", false},
        {"evil.example:8080", false},
        {"127.0.0.1.evil.example", false},
        {"localhost.evil.example", false},
        {"127.0.0.1:80x", false},
        {"127.0.0.1:123456", false},
        {"127.0.0.1:80:80", false},
        {"127.1", false},
        {"::1", false},
        {"[::1", false},
        {"[::1]x", false},
        {"[127.0.0.1]", false},
        {"[localhost]", false},
        {"[]", false},
        {"localhost ", false},
        {"local", false},
        {"user@localhost", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (request_host_allowed(cases[i].host, strlen(cases[i].host), names) != cases[i].allowed)
            fail_msg("%s", cases[i].host);
    assert_false(request_host_allowed("127.0.0.1\0.evil", 15, names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read),
        cmocka_unit_test(methods_are_told_apart_by_case),
        cmocka_unit_test(a_request_can_come_in_any_pieces),
        cmocka_unit_test(the_connection_is_kept_as_version_and_fields_say),
        cmocka_unit_test(an_absolute_target_names_the_host),
        cmocka_unit_test(a_body_and_an_origin_are_seen),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(a_head_has_limits),
        cmocka_unit_test(no_change_of_a_byte_confuses_the_reader),
        cmocka_unit_test(only_hosts_of_ours_are_let_in),
    };

    return cmocka_run_group_tests_name("http_request", tests, NULL, NULL);
}
