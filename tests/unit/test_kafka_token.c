/* test_kafka_token.c: what a token server is sent, and what may come back from it: HTTP, JSON, JWT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/kafka/kafka_http.h"
#include "connectors/kafka/kafka_json.h"

/* ---- URL ---- */

static void good_urls(void **state)
{
    static const struct {
        const char *text, *host, *authority, *path;
        uint16_t port;
        bool tls;
    } rows[] = {
        {"https://id.example/oauth/token", "id.example", "id.example", "/oauth/token", 443, true},
        {"HTTPS://id.example", "id.example", "id.example", "/", 443, true},
        {"http://127.0.0.1:8080/t?tenant=a", "127.0.0.1", "127.0.0.1:8080", "/t?tenant=a", 8080, false},
        {"https://[::1]:9443/x", "::1", "[::1]:9443", "/x", 9443, true},
        {"https://[fe80::1]/", "fe80::1", "[fe80::1]", "/", 443, true},
    };
    struct bailey_error err = {0};
    struct kafka_url url;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!kafka_url_parse(rows[i].text, &url, &err))
            fail_msg("%s: %s", rows[i].text, err.text);
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.authority, rows[i].authority);
        assert_string_equal(url.path, rows[i].path);
        assert_int_equal(url.port, rows[i].port);
        assert_int_equal(url.tls, rows[i].tls);
    }
}

static void urls_that_are_refused(void **state)
{
    static const char *const rows[] = {"",
                                       "id.example/token",
                                       "ftp://id.example/",
                                       "https://",
                                       "https:///token",
                                       "https://user:geheim@id.example/",
                                       "https://id.example:0/",
                                       "https://id.example:65536/",
                                       "https://id.example:/",
                                       "https://id.example:12x/",
                                       "https://[::1/",
                                       "https://[::1]x/",
                                       "https://id.example?x=1",
                                       "https://id.example/a b",
                                       "https://id.example/a\r\nX: y",
                                       "https://id.example/#frag"};
    struct kafka_url url;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bailey_error err = {0};

        if (kafka_url_parse(rows[i], &url, &err))
            fail_msg("accepted: %s", rows[i]);
        assert_null(strstr(err.text, "geheim"));
    }
}

/* ---- Request ---- */

static const struct bailey_map_entry audience = {"audience", "kafka & co"};

static void requested(struct kafka_oauth oauth, const char *expected)
{
    struct kafka_secret out = {0};
    struct kafka_url url;

    oauth.client_id = "me:1";
    assert_true(kafka_url_parse("https://id.example:444/token", &url, NULL));
    kafka_http_request(&out, &url, &oauth, "s3cret/+%");
    assert_string_equal(out.data, expected);
    kafka_secret_free(&out);
    assert_null(out.data);
}

#define HEAD(LENGTH)                                                                                     \
    "POST /token HTTP/1.1\r\nHost: id.example:444\r\nUser-Agent: bailey\r\nAccept: application/json\r\n" \
    "Connection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " LENGTH "\r\n"

static void the_secret_goes_into_the_header_or_the_body(void **state)
{
    (void)state;
    /* printf 'me%%3A1:s3cret%%2F%%2B%%25' | base64 */
    requested((struct kafka_oauth){0}, HEAD("29") "Authorization: Basic bWUlM0ExOnMzY3JldCUyRiUyQiUyNQ==\r\n\r\n"
                                                  "grant_type=client_credentials");
    requested((struct kafka_oauth){.scope = "a b", .parameters = {&audience, 1}, .client_auth = KAFKA_CLIENT_POST},
              HEAD("114") "\r\ngrant_type=client_credentials&scope=a%20b&audience=kafka%20%26%20co&client_id=me%3A1&"
                          "client_secret=s3cret%2F%2B%25");
}

/* ---- Answer ---- */

#define OK "HTTP/1.1 200 OK\r\n"

static enum kafka_http_state parse(const char *text, size_t len, bool closed, struct kafka_http_answer *answer)
{
    uint8_t *copy = malloc(len + 1); /* of that size: reading beyond it shows under a sanitizer */

    assert_non_null(copy);
    memcpy(copy, text, len);
    enum kafka_http_state state = kafka_http_parse(copy, len, closed, answer);
    if (state == KAFKA_HTTP_WHOLE) {
        static char body[256];

        assert_true(answer->body.len < sizeof body);
        memcpy(body, answer->body.data, answer->body.len);
        answer->body.data = (const uint8_t *)body;
    }
    free(copy);
    return state;
}

static void whole_answers(void **state)
{
    static const struct {
        const char *text, *body;
        int status;
        bool closed;
    } rows[] = {
        {OK "Content-Length: 2\r\n\r\n{}", "{}", 200, false},
        {OK "content-length:2\r\n\r\n{}trailing", "{}", 200, false},
        {OK "\r\n{}", "{}", 200, true},
        {"HTTP/1.0 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "", 401, false},
        {OK "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n", "{}", 200, false},
        {OK "Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n", "0123456789", 200, false},
    };
    struct kafka_http_answer answer;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (parse(rows[i].text, strlen(rows[i].text), rows[i].closed, &answer) != KAFKA_HTTP_WHOLE)
            fail_msg("not whole: %s", rows[i].text);
        assert_int_equal(answer.status, rows[i].status);
        assert_true(bailey_bytes_is(answer.body, rows[i].body));
    }
}

static void answers_that_come_byte_by_byte(void **state)
{
    static const char text[] = OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    struct kafka_http_answer answer;

    (void)state;
    for (size_t len = 0; len + 1 < sizeof text; len++)
        if (parse(text, len, false, &answer) != KAFKA_HTTP_MORE)
            fail_msg("after %zu bytes", len);
    for (size_t len = 0; len + 1 < sizeof text; len++)
        assert_int_equal(parse(text, len, true, &answer), KAFKA_HTTP_BAD); /* cut off */
}

static void answers_that_are_none(void **state)
{
    static const char *const rows[] = {"SSH-2.0-OpenSSH",
                                       "HTTP/2 200\r\n\r\n",
                                       "HTTP/1.1 abc\r\n\r\n",
                                       "HTTP/1.1 99 x\r\n\r\n",
                                       "HTTP/1.1\r\n\r\n",
                                       OK "Content-Length: -1\r\n\r\n",
                                       OK "Content-Length: 99999999\r\n\r\n",
                                       OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
                                       OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                                       OK "Transfer-Encoding: gzip\r\n\r\n{}",
                                       OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
                                       OK "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
                                       OK "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n",
                                       OK "Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n"};
    struct kafka_http_answer answer;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (parse(rows[i], strlen(rows[i]), false, &answer) != KAFKA_HTTP_BAD)
            fail_msg("accepted: %s", rows[i]);
}

static void an_endless_head_has_an_end(void **state)
{
    static char text[KAFKA_HTTP_HEAD_MAX];
    struct kafka_http_answer answer;

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, OK, strlen(OK));
    assert_int_equal(kafka_http_parse((uint8_t *)text, sizeof text - 1, false, &answer), KAFKA_HTTP_MORE);
    assert_int_equal(kafka_http_parse((uint8_t *)text, sizeof text, false, &answer), KAFKA_HTTP_BAD);
}

/* ---- JSON ---- */

static void members_are_found(void **state)
{
    struct bailey_bytes object = bailey_bytes_of(
        " { \"a\\\"b\" : \"x\", \"nested\" : {\"t\":[1,{\"t\":\"no\"}],\"s\":\"}\\\"]\"}, \"n\": 12.5 , \"s\":\"300\","
        "\"t\":\"gr\\u00fcn \\u20ac\\n\\/\",\"e\":\"\",\"z\":\"a\\u0000b\",\"bad\":\"\\q\",\"half\":\"\\ud83d\", "
        "\"l\":[ ] }");
    char out[32];

    (void)state;
    assert_true(kafka_json_text(object, "t", out, sizeof out));
    assert_string_equal(out, "gr\xc3\xbcn \xe2\x82\xac\n/");
    assert_true(kafka_json_text(object, "e", out, sizeof out));
    assert_string_equal(out, "");
    assert_true(kafka_json_text(object, "half", out, sizeof out));
    assert_string_equal(out, "?");
    assert_int_equal(kafka_json_number(object, "n"), 12);
    assert_int_equal(kafka_json_number(object, "s"), 300);
    assert_int_equal(kafka_json_number(object, "t"), -1);
    assert_int_equal(kafka_json_number(object, "nested"), -1);
    assert_int_equal(kafka_json_number(object, "l"), -1);
    assert_false(kafka_json_text(object, "n", out, sizeof out));
    assert_false(kafka_json_text(object, "z", out, sizeof out));
    assert_false(kafka_json_text(object, "bad", out, sizeof out));
    assert_false(kafka_json_text(object, "none", out, sizeof out));
    assert_false(kafka_json_text(object, "t", out, 5)); /* too long is not there: never half a token */
}

static void what_is_no_object_has_no_members(void **state)
{
    static const char *const rows[] = {
        "",     "null", "[]",           "{",           "{\"t\"",       "{\"t\":",
        "{\"t", "{t:1", "{\"t\":\"abc", "{\"t\":\"\\", "{\"x\":[\"t}", "{\"x\" 1,\"t\":\"y\"}"};
    char out[32];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i]);
        uint8_t *copy = malloc(len + 1);

        assert_non_null(copy);
        memcpy(copy, rows[i], len);
        assert_false(kafka_json_text((struct bailey_bytes){copy, len}, "t", out, sizeof out));
        free(copy);
    }
    assert_int_equal(kafka_json_number(bailey_bytes_of("{\"t\":99999999999999999999}"), "t"), -1);
    assert_int_equal(kafka_json_number(bailey_bytes_of("{\"t\":-5}"), "t"), -1);
}

static void the_payload_of_a_token_is_read(void **state)
{
    uint8_t out[64];
    char subject[16];
    /* {"sub":"bailey","exp":2000000000} */
    struct bailey_bytes payload =
        kafka_jwt_payload("e30.eyJzdWIiOiJiYWlsZXkiLCJleHAiOjIwMDAwMDAwMDB9.c2ln", out, sizeof out);

    (void)state;
    assert_true(kafka_json_text(payload, "sub", subject, sizeof subject));
    assert_string_equal(subject, "bailey");
    assert_int_equal(kafka_json_number(payload, "exp"), 2000000000);
    assert_null(kafka_jwt_payload("opaque-token", out, sizeof out).data);
    assert_null(kafka_jwt_payload("a.b", out, sizeof out).data);
    assert_null(kafka_jwt_payload("e30.e!0.x", out, sizeof out).data);
    assert_null(kafka_jwt_payload("e30.eyJzdWIiOiJiYWlsZXkifQ.x", out, 4).data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls),
        cmocka_unit_test(urls_that_are_refused),
        cmocka_unit_test(the_secret_goes_into_the_header_or_the_body),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(answers_that_come_byte_by_byte),
        cmocka_unit_test(answers_that_are_none),
        cmocka_unit_test(an_endless_head_has_an_end),
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(what_is_no_object_has_no_members),
        cmocka_unit_test(the_payload_of_a_token_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
