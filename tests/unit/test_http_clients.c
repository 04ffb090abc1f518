/* admin/http.c: clients that are many, slow, greedy, broken or gone. */
#include "admin_rig.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
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
    must_be_metrics(&answer, ROUTES);
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
            must_be_metrics(&answer, ROUTES);
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
    must_be_metrics(&answer, ROUTES);
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
    assert_int_equal(poll(&answered, 1, RIG_DEADLINE_MS), 1);
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
    int64_t deadline = now_ms() + RIG_DEADLINE_MS;
    do {
        assert_true(now_ms() < deadline);
        close(fd);
        fd = open_to(shared.admin);
        ask(fd, GET("/metrics"));
        read_answer(fd, &answer);
    } while (answer.status != 200);
    must_be_metrics(&answer, ROUTES);
    answer_free(&answer);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests_name("http_clients", tests, start_shared, stop_shared);
}
