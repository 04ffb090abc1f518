/* See admin_rig.h. */
#include "admin_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- A connector whose ends are up, or fail with a reason: as the test says ---- */

atomic_bool rig_healthy;

static bool end_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                     struct bailey_error *err)
{
    (void)broker, (void)settings;
    if (!atomic_load(&rig_healthy))
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

void server_start(struct server *server, const char *listen, int routes)
{
    struct bailey_error err = {0};

    server->config = make_config(listen, routes);
    server->gateway = gateway_start(server->config, &err);
    assert_non_null(server->gateway);
    server->admin = admin_start(server->gateway, server->config, &err);
    if (server->admin == NULL)
        fail_msg("%s", err.text);
}

void server_stop(struct server *server)
{
    admin_stop(server->admin);
    gateway_stop(server->gateway);
    config_free(server->config);
}

/* ---- A client ---- */

int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int open_to_with(const struct admin *admin, int receive_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(admin_port(admin))};
    struct timeval limit = {.tv_sec = RIG_DEADLINE_MS / 1000};
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

int open_to(const struct admin *admin)
{
    return open_to_with(admin, 0);
}

void say(int fd, const char *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

void ask(int fd, const char *data)
{
    say(fd, data, strlen(data));
}

void answer_free(struct answer *answer)
{
    text_free(&answer->body);
    *answer = (struct answer){0};
}

void read_head(int fd, struct answer *answer)
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

void read_body(int fd, struct answer *answer, size_t piece)
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

void read_answer(int fd, struct answer *answer)
{
    read_head(fd, answer);
    read_body(fd, answer, SIZE_MAX);
}

void must_end(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    if (got != 0)
        fail_msg("expected the end, got %zd (%s)", got, strerror(errno));
    close(fd);
}

void must_answer(int fd, const char *request, int status, const char *body)
{
    struct answer answer = {0};

    ask(fd, request);
    read_answer(fd, &answer);
    if (answer.status != status || strstr(answer.body.data, body) == NULL)
        fail_msg("%s\n%s%s", request, answer.head, answer.body.data);
    answer_free(&answer);
}

void must_be_metrics(const struct answer *answer, int routes)
{
    static const char last[] = "\nprocess_open_fds ";
    char name[64];

    assert_int_equal(answer->status, 200);
    snprintf(name, sizeof name, "bailey_unsettled{route=\"route-%04d\"} 0\n", routes - 1);
    assert_non_null(strstr(answer->body.data, name));
    assert_non_null(strstr(answer->body.data, last));
    assert_int_equal(answer->body.data[answer->body.len - 1], '\n');
}
