/* admin/http.c and reply.c: the pages and refusals over a real connection, start and stop. */
#include "admin_rig.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

enum { ROUTES = 1000 }; /* a page of metrics is larger than a socket takes at once */

static struct server shared;

static int start_shared(void **state)
{
    (void)state;
    log_set_level(BAILEY_LOG_ERROR);
    atomic_store(&rig_healthy, true);
    server_start(&shared, "127.0.0.1:0", ROUTES);
    return 0;
}

static int stop_shared(void **state)
{
    (void)state;
    server_stop(&shared);
    return 0;
}

/* ---- The pages ---- */

static void the_live_page_comes_with_its_head(void **state)
{
    struct answer answer = {0};
    int fd = open_to(shared.admin);

    (void)state;
    ask(fd, GET("/healthz"));
    read_answer(fd, &answer);
    assert_string_equal(answer.body.data, "{\"version\":1,\"status\":\"ok\"}\n");
    char *date = strstr(answer.head, "\r\nDate: "), *after = date == NULL ? NULL : strstr(date + 2, "\r\n");
    assert_non_null(after);
    assert_int_equal(after - date, strlen("\r\nDate: Tue, 24 Nov 2026 04:30:32 GMT"));
    *date = '\0';
    assert_string_equal(answer.head, "HTTP/1.1 200 OK");
    assert_string_equal(after, "\r\nContent-Type: application/json"
                               "\r\nContent-Length: 28"
                               "\r\nCache-Control: no-store"
                               "\r\nX-Content-Type-Options: nosniff"
                               "\r\nCross-Origin-Resource-Policy: same-origin"
                               "\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'"
                               "\r\nConnection: keep-alive\r\n\r\n");
    answer_free(&answer);
    close(fd);
}

/* Ask until the page begins as it should. */
static void wait_for_ready_page(const struct admin *admin, int status, struct answer *answer)
{
    int64_t deadline = now_ms() + RIG_DEADLINE_MS;

    do {
        int fd = open_to(admin);

        assert_true(now_ms() < deadline);
        ask(fd, "GET /readyz HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
        read_answer(fd, answer);
        must_end(fd);
    } while (answer->status != status || (status == 503 && strstr(answer->body.data, "\"state\":\"down\"") == NULL));
}

static void the_ready_page_follows_the_routes(void **state)
{
    struct server own;
    struct answer answer = {0};

    (void)state;
    atomic_store(&rig_healthy, false);
    server_start(&own, "127.0.0.1:0", 1);
    wait_for_ready_page(own.admin, 503, &answer);
    assert_non_null(strstr(answer.body.data, "{\"version\":1,\"ready\":false,\"instance\":\"gw-1\",\"routes\":["
                                             "{\"name\":\"route-0000\",\"state\":\"down\",\"reason\":\""));
    assert_non_null(strstr(answer.body.data, "there is no \\\"queue\\\""));
    atomic_store(&rig_healthy, true);
    wait_for_ready_page(own.admin, 200, &answer);
    assert_non_null(strstr(answer.body.data,
                           "{\"version\":1,\"ready\":true,\"instance\":\"gw-1\",\"routes\":["
                           "{\"name\":\"route-0000\",\"state\":\"running\",\"reason\":\"\",\"since_seconds\":"));
    answer_free(&answer);
    server_stop(&own);
}

static void head_is_get_without_the_body(void **state)
{
    struct answer answer = {0};
    int fd = open_to(shared.admin);

    (void)state;
    ask(fd, "HEAD /healthz HTTP/1.1\r\n" HOST "\r\n");
    read_head(fd, &answer);
    assert_int_equal(answer.length, 28);
    ask(fd, "HEAD /metrics HTTP/1.1\r\n" HOST "\r\n");
    read_head(fd, &answer);
    assert_in_range(answer.length, 100000, 100000000);
    assert_non_null(strstr(answer.head, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    must_answer(fd, GET("/healthz"), 200, "ok"); /* nothing came in between */
    close(fd);
}

static void refusals_are_json_with_a_reason(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *body;
        bool ends;
    } cases[] = {
        {GET("/"), 404, "{\"version\":1,\"error\":\"no such page", false},
        {GET("/metricsx"), 404, "no such page", false},
        {GET("/metrics/"), 404, "no such page", false},
        {"HEAD /nothing HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 404, "", true},
        {"DELETE /metrics HTTP/1.1\r\n" HOST "\r\n", 405, "only GET and HEAD", false},
        {"POST /readyz HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 405, "only GET and HEAD", true},
        {"CONNECT /metrics HTTP/1.1\r\n" HOST "\r\n", 405, "only GET and HEAD", false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 413, "no body", true},
        {"GET /metrics HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413, "no body", true},
        {"GET /metrics HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\n\r\n", 403, "Origin", false},
        {"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "Host", false},
        {"GET http://evil.example/metrics HTTP/1.1\r\n" HOST "\r\n", 403, "Host", false},
        {"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 403, "Host", false},
        {"GET /healthz HTTP/1.1\r\n\r\n", 400, "well-formed", true},
        {"rubbish\r\n\r\n", 400, "well-formed", true},
        {"\x16\x03\x01\x02\x01\xfc\n", 400, "well-formed", true}, /* TLS */
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1", true},
        {"GET /healthz HTTP/1.0\r\n\r\n", 200, "ok", true},
        {"GET /healthz HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", 200, "ok", false},
        {"GET /healthz HTTP/1.1\r\n" HOST
         "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
         200, "ok", false},
        {"GET /healthz HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         200, "ok", false},
    };
    struct answer answer = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = open_to(shared.admin);

        ask(fd, cases[i].request);
        read_head(fd, &answer);
        if (strncmp(cases[i].request, "HEAD", 4) != 0)
            read_body(fd, &answer, SIZE_MAX);
        if (answer.status != cases[i].status ||
            (answer.body.len > 0 && strstr(answer.body.data, cases[i].body) == NULL))
            fail_msg("%s\n%s%s", cases[i].request, answer.head, answer.body.len > 0 ? answer.body.data : "");
        assert_int_equal(strstr(answer.head, "\r\nAllow: GET, HEAD\r\n") != NULL, cases[i].status == 405);
        assert_int_equal(strstr(answer.head, "\r\nConnection: close\r\n") != NULL, cases[i].ends);
        if (cases[i].ends) {
            must_end(fd);
            continue;
        }
        must_answer(fd, GET("/healthz"), 200, "ok");
        close(fd);
    }
    answer_free(&answer);
}

/* ---- Start and stop ---- */

static void it_stops_with_requests_open(void **state)
{
    struct server own;
    struct answer answer = {0};
    char data[4096];
    ssize_t got;

    (void)state;
    server_start(&own, "127.0.0.1:0", ROUTES);
    int half = open_to(own.admin), reader = open_to_with(own.admin, 4096), silent = open_to(own.admin);
    ask(half, "GET /metrics HTTP/1.1\r\nHost: lo");
    ask(reader, GET("/metrics"));
    read_head(reader, &answer); /* the answer has begun */
    int64_t began = now_ms();
    admin_stop(own.admin);
    assert_in_range(now_ms() - began, 0, 5000);
    own.admin = NULL;
    assert_true(recv(half, data, 1, 0) <= 0);
    assert_true(recv(silent, data, 1, 0) <= 0);
    while ((got = recv(reader, data, sizeof data, 0)) > 0)
        continue;
    server_stop(&own);
    close(half);
    close(reader);
    close(silent);
}

static void it_stops_at_once_after_the_start(void **state)
{
    struct bailey_error err = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct admin *admin = admin_start(shared.gateway, shared.config, &err);

        assert_non_null(admin);
        admin_stop(admin);
    }
    admin_stop(NULL);
}

static void without_an_address_there_is_no_server(void **state)
{
    struct config config = *shared.config;
    struct bailey_error err = {0};

    (void)state;
    config.admin_address = NULL;
    assert_null(admin_start(shared.gateway, &config, &err));
    assert_int_equal(err.kind, BAILEY_ERR_NONE);
}

static void an_address_that_cannot_be_had_is_a_clear_error(void **state)
{
    struct config config = *shared.config;
    struct bailey_error err = {0};
    char expected[128];

    (void)state;
    config.admin_port = admin_port(shared.admin);
    assert_null(admin_start(shared.gateway, &config, &err));
    snprintf(expected, sizeof expected, "cannot listen on 127.0.0.1:%u: Address already in use", config.admin_port);
    assert_string_equal(err.text, expected);
    assert_string_equal(err.hint, "another process listens there: choose another port under admin.listen");
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);

    config.admin_address = "192.0.2.1"; /* TEST-NET-1: nobody's */
    assert_null(admin_start(shared.gateway, &config, &err));
    assert_non_null(strstr(err.text, "cannot listen on 192.0.2.1:"));
    assert_non_null(strstr(err.hint, "address of this machine"));

    config.admin_address = "no such name";
    assert_null(admin_start(shared.gateway, &config, &err));
    assert_non_null(strstr(err.text, "cannot listen on no such name:"));
}

static void it_listens_on_ipv6_and_says_where(void **state)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), log[2];
    char line[512], expected[64];
    struct server own;

    (void)state;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        if (fd >= 0)
            close(fd);
        skip(); /* a machine without IPv6 */
    }
    close(fd);
    assert_int_equal(pipe(log), 0);
    log_set_fd(log[1]);
    log_set_level(BAILEY_LOG_INFO);
    server_start(&own, "[::1]:0", 1);
    log_set_level(BAILEY_LOG_ERROR);
    log_set_fd(STDERR_FILENO);
    ssize_t got = read(log[0], line, sizeof line - 1);
    assert_true(got > 0);
    line[got] = '\0';
    snprintf(expected, sizeof expected, " info admin.listening address=[::1]:%u\n", admin_port(own.admin));
    for (int64_t deadline = now_ms() + RIG_DEADLINE_MS; strstr(line, expected) == NULL;) {
        assert_true(now_ms() < deadline); /* other events may come first, line by line */
        assert_true((got = read(log[0], line, sizeof line - 1)) > 0);
        line[got] = '\0';
    }

    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin6_port = htons(admin_port(own.admin));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    must_answer(fd, GET("/healthz"), 200, "ok");
    close(fd);
    server_stop(&own);
    close(log[0]);
    close(log[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_live_page_comes_with_its_head),
        cmocka_unit_test(the_ready_page_follows_the_routes),
        cmocka_unit_test(head_is_get_without_the_body),
        cmocka_unit_test(refusals_are_json_with_a_reason),
        cmocka_unit_test(it_stops_with_requests_open),
        cmocka_unit_test(it_stops_at_once_after_the_start),
        cmocka_unit_test(without_an_address_there_is_no_server),
        cmocka_unit_test(an_address_that_cannot_be_had_is_a_clear_error),
        cmocka_unit_test(it_listens_on_ipv6_and_says_where),
    };

    return cmocka_run_group_tests_name("http", tests, start_shared, stop_shared);
}
