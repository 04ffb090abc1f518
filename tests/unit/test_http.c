/* admin/http.c: a real server on a free port, a real gateway of a thousand routes behind it, and clients that are raw sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/http.h"
#include "base/log.h"

enum { ROUTES = 1000, DEADLINE_MS = 20000 };

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

/* ---- A connector whose ends are up, or fail with a reason: as the test says ---- */

static atomic_bool healthy;

static bool end_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                     struct bailey_error *err)
{
    (void)broker, (void)settings;
    if (!atomic_load(&healthy))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "there is no \"queue\"");
    *self = port;
    bailey_up(port);
    return true;
}

static void end_nothing(void *self)
{
    (void)self;
}

static void end_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    (void)self, (void)ended, (void)count;
}

static size_t end_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    (void)self, (void)batch;
    return count;
}

static void end_drain(void *self)
{
    bailey_drained(self);
}

static void end_close(void *self)
{
    bailey_closed(self);
}

static bool broker_open(void **broker, const void *settings, const char *name, const char *instance,
                        struct bailey_host *host, struct bailey_error *err)
{
    (void)settings, (void)name, (void)instance, (void)err;
    *broker = host;
    return true;
}

static const struct bailey_option no_options[] = {{0}};
static const struct bailey_source test_source = {.options = no_options,
                                                 .open = end_open,
                                                 .resume = end_nothing,
                                                 .settle = end_settle,
                                                 .drain = end_drain,
                                                 .close = end_close};
static const struct bailey_sink test_sink = {
    .options = no_options, .open = end_open, .send = end_send, .close = end_close};
static const struct bailey_connector test_connector = {.size = sizeof test_connector,
                                                       .abi_major = BAILEY_ABI_MAJOR,
                                                       .abi_minor = BAILEY_ABI_MINOR,
                                                       .name = "switch",
                                                       .summary = "Up or not.",
                                                       .broker_options = no_options,
                                                       .broker_open = broker_open,
                                                       .broker_close = end_nothing,
                                                       .source = &test_source,
                                                       .sink = &test_sink};

static const struct bailey_connector *find(const char *name, struct bailey_error *err)
{
    (void)name, (void)err;
    return &test_connector;
}

/* ---- The server ---- */

struct server {
    struct config *config;
    struct gateway *gateway;
    struct admin *admin;
};

static struct server shared;

static struct config *make_config(const char *listen, int routes)
{
    struct text yaml = {0}, report = {0};
    struct config_counts counts;
    struct config *config;

    text_printf(
        &yaml,
        "instance: gw-1\nworkers: 1\nadmin: { listen: \"%s\" }\nbrokers: { b: { connector: switch } }\nroutes:\n",
        listen);
    for (int i = 0; i < routes; i++)
        text_printf(&yaml, "  - { name: route-%04d, from: { broker: b }, to: { broker: b } }\n", i);
    config = config_load_text(yaml.data, yaml.len, "test.yaml", find, &report, &counts);
    if (config == NULL)
        fail_msg("%s", report.data);
    text_free(&yaml);
    text_free(&report);
    return config;
}

static void server_start(struct server *server, const char *listen, int routes)
{
    struct bailey_error err = {0};

    server->config = make_config(listen, routes);
    server->gateway = gateway_start(server->config, &err);
    assert_non_null(server->gateway);
    server->admin = admin_start(server->gateway, server->config, &err);
    if (server->admin == NULL)
        fail_msg("%s", err.text);
}

static void server_stop(struct server *server)
{
    admin_stop(server->admin);
    gateway_stop(server->gateway);
    config_free(server->config);
}

static int start_shared(void **state)
{
    (void)state;
    log_set_level(BAILEY_LOG_ERROR);
    atomic_store(&healthy, true);
    server_start(&shared, "127.0.0.1:0", ROUTES);
    return 0;
}

static int stop_shared(void **state)
{
    (void)state;
    server_stop(&shared);
    return 0;
}

/* ---- A client ---- */

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int open_to_with(const struct admin *admin, int receive_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(admin_port(admin))};
    struct timeval limit = {.tv_sec = DEADLINE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int open_to(const struct admin *admin)
{
    return open_to_with(admin, 0);
}

static void say(int fd, const char *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

static void ask(int fd, const char *data)
{
    say(fd, data, strlen(data));
}

struct answer {
    int status;
    char head[2048];
    struct text body;
    size_t length; /* as Content-Length says */
};

static void answer_free(struct answer *answer)
{
    text_free(&answer->body);
    *answer = (struct answer){0};
}

/* Exactly the head, byte by byte: what follows belongs to the body or the next answer. */
static void read_head(int fd, struct answer *answer)
{
    const char *length;
    size_t len = 0;

    answer_free(answer);
    while (len < 4 || memcmp(answer->head + len - 4, "\r\n\r\n", 4) != 0) {
        assert_true(len < sizeof answer->head - 1);
        if (recv(fd, answer->head + len, 1, 0) != 1)
            fail_msg("no answer (%s): %.*s", strerror(errno), (int)len, answer->head);
        len++;
    }
    assert_int_equal(strncmp(answer->head, "HTTP/1.1 ", 9), 0);
    answer->status = atoi(answer->head + 9);
    length = strstr(answer->head, "\r\nContent-Length: ");
    assert_non_null(length);
    answer->length = strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
}

static void read_body(int fd, struct answer *answer, size_t piece)
{
    char data[65536];

    while (answer->body.len < answer->length) {
        size_t left = answer->length - answer->body.len, most = piece < sizeof data ? piece : sizeof data;
        ssize_t got = recv(fd, data, left < most ? left : most, 0);

        if (got <= 0)
            fail_msg("the body ended after %zu of %zu bytes", answer->body.len, answer->length);
        text_add_len(&answer->body, data, (size_t)got);
    }
}

static void read_answer(int fd, struct answer *answer)
{
    read_head(fd, answer);
    read_body(fd, answer, SIZE_MAX);
}

/* The peer closes, in good order. */
static void must_end(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    if (got != 0)
        fail_msg("expected the end, got %zd (%s)", got, strerror(errno));
    close(fd);
}

static void must_answer(int fd, const char *request, int status, const char *body)
{
    struct answer answer = {0};

    ask(fd, request);
    read_answer(fd, &answer);
    if (answer.status != status || strstr(answer.body.data, body) == NULL)
        fail_msg("%s\n%s%s", request, answer.head, answer.body.data);
    answer_free(&answer);
}

/* A whole page of metrics: all routes, and the last line. */
static void must_be_metrics(const struct answer *answer)
{
    static const char last[] = "\nprocess_open_fds ";
    char name[64];

    assert_int_equal(answer->status, 200);
    snprintf(name, sizeof name, "bailey_unsettled{route=\"route-%04d\"} 0\n", ROUTES - 1);
    assert_non_null(strstr(answer->body.data, name));
    assert_non_null(strstr(answer->body.data, last));
    assert_int_equal(answer->body.data[answer->body.len - 1], '\n');
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
    int64_t deadline = now_ms() + DEADLINE_MS;

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
    atomic_store(&healthy, false);
    server_start(&own, "127.0.0.1:0", 1);
    wait_for_ready_page(own.admin, 503, &answer);
    assert_non_null(strstr(answer.body.data, "{\"version\":1,\"ready\":false,\"instance\":\"gw-1\",\"routes\":["
                                             "{\"name\":\"route-0000\",\"state\":\"down\",\"reason\":\""));
    assert_non_null(strstr(answer.body.data, "there is no \\\"queue\\\""));
    atomic_store(&healthy, true);
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

/* ---- Connections ---- */

static void requests_in_one_packet_are_answered_in_order(void **state)
{
    static const char requests[] = "GET /healthz HTTP/1.1\r\n" HOST "\r\n"
                                   "GET /nothing HTTP/1.1\r\n" HOST "\r\n"
                                   "\r\nHEAD /metrics HTTP/1.1\r\n" HOST "\r\n"
                                   "GET /metrics HTTP/1.1\r\n" HOST "\r\n"
                                   "GET /healthz HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"
                                   "GET /never HTTP/1.1\r\n" HOST "\r\n";
    struct answer answer = {0};
    int fd = open_to(shared.admin);

    (void)state;
    ask(fd, requests);
    read_answer(fd, &answer);
    assert_int_equal(answer.status, 200);
    read_answer(fd, &answer);
    assert_int_equal(answer.status, 404);
    read_head(fd, &answer);
    assert_int_equal(answer.status, 200);
    read_answer(fd, &answer);
    must_be_metrics(&answer);
    read_answer(fd, &answer);
    assert_string_equal(answer.body.data, "{\"version\":1,\"status\":\"ok\"}\n");
    must_end(fd);
    answer_free(&answer);
}

static void a_connection_is_not_kept_for_ever(void **state)
{
    struct answer answer = {0};
    int fd = open_to(shared.admin);

    (void)state;
    for (int i = 1; i <= ADMIN_REQUESTS_MAX; i++) {
        ask(fd, GET("/healthz"));
        read_answer(fd, &answer);
        assert_int_equal(strstr(answer.head, "\r\nConnection: close\r\n") != NULL, i == ADMIN_REQUESTS_MAX);
    }
    must_end(fd);
    answer_free(&answer);
}

static void a_client_of_single_bytes_keeps_no_one_waiting(void **state)
{
    static const char request[] = GET("/healthz");
    struct answer answer = {0};
    int slow = open_to(shared.admin), other = open_to(shared.admin);

    (void)state;
    for (size_t i = 0; i < sizeof request - 1; i++) {
        say(slow, request + i, 1);
        must_answer(other, GET("/healthz"), 200, "ok");
        if (i % 64 == 63) { /* a connection has a number of requests */
            close(other);
            other = open_to(shared.admin);
        }
    }
    read_answer(slow, &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    close(slow);
    close(other);
}

static void a_head_that_is_too_large_is_refused_readably(void **state)
{
    static char data[1 << 19];
    struct answer answer = {0};
    int fd = open_to(shared.admin);

    (void)state;
    memset(data, 'x', sizeof data);
    memcpy(data, "GET /healthz HTTP/1.1\r\nX: ", 26);
    say(fd, data, sizeof data); /* more is sent than the server reads before it answers */
    read_answer(fd, &answer);
    assert_int_equal(answer.status, 431);
    shutdown(fd, SHUT_WR);
    must_end(fd);
    answer_free(&answer);
}

static void a_large_page_reaches_slow_readers_whole(void **state)
{
    enum { READERS = 4 };
    struct answer answer = {0};
    int fds[READERS];

    (void)state;
    for (int i = 0; i < READERS; i++) {
        fds[i] = open_to_with(shared.admin, 4096);
        ask(fds[i], GET("/metrics") GET("/metrics"));
    }
    int other = open_to(shared.admin);
    must_answer(other, GET("/healthz"), 200, "ok"); /* while four wait for their readers */
    close(other);
    for (int i = 0; i < READERS; i++) {
        for (int page = 0; page < 2; page++) {
            read_head(fds[i], &answer);
            read_body(fds[i], &answer, 1000);
            must_be_metrics(&answer);
        }
        close(fds[i]);
    }
    answer_free(&answer);
}

/* Who shuts its half down after asking is answered all the same. */
static void a_client_that_half_closes_is_answered(void **state)
{
    struct answer answer = {0};
    int fd = open_to_with(shared.admin, 4096);

    (void)state;
    ask(fd, GET("/metrics"));
    shutdown(fd, SHUT_WR);
    read_answer(fd, &answer);
    must_be_metrics(&answer);
    must_end(fd);
    answer_free(&answer);
}

static void clients_that_vanish_do_no_harm(void **state)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    (void)state;
    for (int i = 0; i < 50; i++) {
        int fd = open_to(shared.admin);

        ask(fd, i % 2 ? GET("/metrics") : "GET /metr");
        if (i % 3 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    int fd = open_to(shared.admin);
    must_answer(fd, GET("/healthz"), 200, "ok");
    close(fd);
}

static void a_hundred_clients_are_all_answered(void **state)
{
    enum { CLIENTS = 100 };
    struct answer answer = {0};
    int fds[CLIENTS];

    (void)state;
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = open_to(shared.admin);
    for (int i = 0; i < CLIENTS; i++)
        ask(fds[i], GET("/readyz"));
    for (int i = 0; i < CLIENTS; i++) {
        read_answer(fds[i], &answer);
        assert_int_equal(answer.status, 200);
    }
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    answer_free(&answer);
}

/* All places are taken: by readers who do not read on but have asked more, by half heads, and by silence. */
static int64_t take_all_places(int fds[ADMIN_CLIENTS_MAX])
{
    struct answer answer = {0};

    for (int i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        fds[i] = open_to_with(shared.admin, 4096);
        if (i < 4) {
            ask(fds[i], GET("/metrics"));
            read_head(fds[i], &answer);
            ask(fds[i], GET("/metrics"));
            if (i % 2 == 0)
                shutdown(fds[i], SHUT_WR);
        } else if (i % 2 == 0) {
            ask(fds[i], "GET /he");
        }
    }
    answer_free(&answer);
    return now_ms();
}

static int64_t cpu_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void silent_clients_give_up_their_places_and_cost_no_time(void **state)
{
    int fds[ADMIN_CLIENTS_MAX];
    int64_t began = take_all_places(fds), cpu = cpu_ms();
    int fd = open_to(shared.admin);

    (void)state;
    must_answer(fd, GET("/healthz"), 200, "ok");
    /* Long before their usual time is over, and without spinning on what cannot be read or written now. */
    assert_in_range(now_ms() - began, 0, ADMIN_HEAD_S * 1000 - 2000);
    assert_in_range(cpu_ms() - cpu, 0, ADMIN_HURRY_S * 1000 / 2);
    close(fd);
    for (int i = 0; i < ADMIN_CLIENTS_MAX; i++)
        close(fds[i]);
}

/* All places but one are silent; who comes and goes at the last one does not renew their time. */
static void silent_clients_leave_however_busy_the_others_are(void **state)
{
    int fds[ADMIN_CLIENTS_MAX - 1];
    struct pollfd first = {.events = POLLIN};
    int64_t began = now_ms();

    (void)state;
    for (int i = 0; i < ADMIN_CLIENTS_MAX - 1; i++)
        fds[i] = open_to(shared.admin);
    first.fd = fds[0];
    while (poll(&first, 1, 0) == 0) {
        int fd = open_to(shared.admin);

        assert_in_range(now_ms() - began, 0, ADMIN_HEAD_S * 1000 - 2000);
        must_answer(fd, GET("/healthz"), 200, "ok");
        close(fd);
    }
    for (int i = 0; i < ADMIN_CLIENTS_MAX - 1; i++)
        close(fds[i]);
}

/* accept(2) fails while the connection still waits: no spinning then, and it is served once there is room again. */
static void no_descriptor_left_is_waited_out(void **state)
{
    struct pollfd answered = {.events = POLLIN};
    struct rlimit limit, few;
    int fillers[256], count = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int served = open_to(shared.admin);
    must_answer(served, GET("/healthz"), 200, "ok"); /* it has been accepted */
    few = limit;
    few.rlim_cur = 200;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    answered.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (count < 256 && (fillers[count] = dup(STDIN_FILENO)) >= 0)
        count++;

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(admin_port(shared.admin))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int64_t cpu = cpu_ms();
    assert_int_equal(connect(answered.fd, (struct sockaddr *)&address, sizeof address), 0);
    ask(answered.fd, GET("/healthz"));
    assert_int_equal(poll(&answered, 1, 300), 0);
    assert_in_range(cpu_ms() - cpu, 0, 150);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (count > 0)
        close(fillers[--count]);
    assert_int_equal(poll(&answered, 1, DEADLINE_MS), 1);
    close(answered.fd);
    close(served);
}

static void answers_that_nobody_takes_are_limited(void **state)
{
    struct answer answer = {0};
    int fds[ADMIN_CLIENTS_MAX - 1], count = 0, status;

    (void)state;
    do { /* each asks a large page and does not read it */
        assert_true(count < ADMIN_CLIENTS_MAX - 1);
        fds[count] = open_to_with(shared.admin, 4096);
        ask(fds[count], GET("/metrics"));
        read_head(fds[count++], &answer);
        status = answer.status;
    } while (status == 200);
    assert_int_equal(status, 503);
    assert_true(count > 3);
    int fd = open_to(shared.admin);
    must_answer(fd, GET("/healthz"), 200, "ok");
    for (int i = 0; i < count; i++)
        close(fds[i]);
    int64_t deadline = now_ms() + DEADLINE_MS;
    do {
        assert_true(now_ms() < deadline);
        close(fd);
        fd = open_to(shared.admin);
        ask(fd, GET("/metrics"));
        read_answer(fd, &answer);
    } while (answer.status != 200);
    must_be_metrics(&answer);
    answer_free(&answer);
    close(fd);
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
    for (int64_t deadline = now_ms() + DEADLINE_MS; strstr(line, expected) == NULL;) {
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
        cmocka_unit_test(requests_in_one_packet_are_answered_in_order),
        cmocka_unit_test(a_connection_is_not_kept_for_ever),
        cmocka_unit_test(a_client_of_single_bytes_keeps_no_one_waiting),
        cmocka_unit_test(a_head_that_is_too_large_is_refused_readably),
        cmocka_unit_test(a_large_page_reaches_slow_readers_whole),
        cmocka_unit_test(a_client_that_half_closes_is_answered),
        cmocka_unit_test(clients_that_vanish_do_no_harm),
        cmocka_unit_test(a_hundred_clients_are_all_answered),
        cmocka_unit_test(silent_clients_give_up_their_places_and_cost_no_time),
        cmocka_unit_test(silent_clients_leave_however_busy_the_others_are),
        cmocka_unit_test(no_descriptor_left_is_waited_out),
        cmocka_unit_test(answers_that_nobody_takes_are_limited),
        cmocka_unit_test(it_stops_with_requests_open),
        cmocka_unit_test(it_stops_at_once_after_the_start),
        cmocka_unit_test(without_an_address_there_is_no_server),
        cmocka_unit_test(an_address_that_cannot_be_had_is_a_clear_error),
        cmocka_unit_test(it_listens_on_ipv6_and_says_where),
    };

    return cmocka_run_group_tests_name("http", tests, start_shared, stop_shared);
}
