/* loop/transport.c and loop/loop.c on real loopback sockets: an echoing peer on a thread of the test. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/loop.h"

enum { DEADLINE_MS = 10000 };

struct peer {
    int listener;
    uint16_t port;
    size_t echo_max; /* bytes after which it closes; 0: it accepts and closes at once */
    pthread_t thread;
};

static void *echo(void *ctx)
{
    struct peer *peer = ctx;
    static char buffer[65536];
    int fd = accept(peer->listener, NULL, NULL);
    size_t echoed = 0;

    while (echoed < peer->echo_max) {
        ssize_t got = read(fd, buffer, sizeof buffer);

        if (got <= 0)
            break;
        for (ssize_t done = 0; done < got;) {
            ssize_t sent = send(fd, buffer + done, (size_t)(got - done), MSG_NOSIGNAL);

            if (sent <= 0)
                break;
            done += sent;
        }
        echoed += (size_t)got;
    }
    close(fd);
    return NULL;
}

static void peer_start(struct peer *peer, size_t echo_max)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    peer->echo_max = echo_max;
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(peer->listener, 4), 0);
    getsockname(peer->listener, (struct sockaddr *)&address, &len);
    peer->port = ntohs(address.sin_port);
    pthread_create(&peer->thread, NULL, echo, peer);
}

static void peer_stop(struct peer *peer)
{
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}

struct client {
    struct bailey_transport *transport;
    bool connected, lost, writable, close_on_data;
    size_t received, consume_max, given_max;
    uint32_t sum;
    struct bailey_error err;
};

static uint32_t sum_of(uint32_t sum, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + data[i];
    return sum;
}

static void on_connected(void *ctx)
{
    ((struct client *)ctx)->connected = true;
}

static size_t on_data(void *ctx, const uint8_t *data, size_t len)
{
    struct client *client = ctx;
    size_t used = client->consume_max && len > client->consume_max ? client->consume_max : len;

    if (len > client->given_max)
        client->given_max = len;
    if (client->close_on_data) {
        bailey_transport_close(client->transport);
        client->transport = NULL;
        client->lost = true;
        return 0;
    }
    client->sum = sum_of(client->sum, data, used);
    client->received += used;
    return used;
}

static void on_writable(void *ctx)
{
    ((struct client *)ctx)->writable = true;
}

static void on_lost(void *ctx, const struct bailey_error *err)
{
    struct client *client = ctx;

    client->lost = true;
    client->err = *err;
}

static const struct bailey_transport_ops ops = {on_connected, on_data, on_writable, on_lost};

static struct bailey_host *loop;

static int loop_setup(void **state)
{
    struct bailey_error err;

    (void)state;
    loop = loop_new(&(struct loop_options){.seed = 1}, &err);
    return loop == NULL;
}

static int loop_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 1000 && loop_jobs(loop) > 0; i++)
        loop_turn(loop, 10);
    loop_free(loop);
    return 0;
}

#define TURN_UNTIL(condition)                                                 \
    for (int64_t until = bailey_wall_ms(loop) + DEADLINE_MS; !(condition);) { \
        assert_true(bailey_wall_ms(loop) < until);                            \
        loop_turn(loop, 20);                                                  \
    }

static void bytes_are_echoed_through_small_and_large_writes(void **state)
{
    enum { TOTAL = 8 << 20 };
    struct peer peer;
    struct client client = {0};
    uint8_t *data = malloc(TOTAL);

    (void)state;
    for (size_t i = 0; i < TOTAL; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 11));
    peer_start(&peer, TOTAL);
    client.transport = bailey_transport_open(loop, "127.0.0.1", peer.port, NULL, NULL, &ops, &client);
    for (size_t done = 0, part = 1; done < TOTAL; done += part, part = part * 3 % 70001 + 1)
        bailey_transport_append(client.transport, data + done, part < TOTAL - done ? part : TOTAL - done);
    assert_int_equal(bailey_transport_backlog(client.transport), TOTAL);
    TURN_UNTIL(client.received == TOTAL);
    assert_int_equal(client.sum, sum_of(0, data, TOTAL));
    assert_true(client.connected && client.writable);
    TURN_UNTIL(client.lost);
    bailey_transport_close(client.transport);
    peer_stop(&peer);
    free(data);
}

static void what_is_not_consumed_is_given_again_with_what_follows(void **state)
{
    static uint8_t data[100000];
    struct peer peer;
    struct client client = {.consume_max = 30000};

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i ^ i >> 8);
    peer_start(&peer, sizeof data);
    client.transport = bailey_transport_open(loop, "localhost", peer.port, NULL, NULL, &ops, &client);
    bailey_transport_append(client.transport, data, sizeof data);
    TURN_UNTIL(client.lost);
    /* The peer closed after the last echo; what was left unconsumed is dropped with the connection. */
    assert_true(client.received >= 30000);
    assert_int_equal(client.sum, sum_of(0, data, client.received));
    bailey_transport_close(client.transport);
    peer_stop(&peer);
}

static void a_refused_connection_is_told_with_its_address(void **state)
{
    struct peer peer;
    struct client client = {0};

    (void)state;
    peer_start(&peer, 0);
    uint16_t port = peer.port;
    struct client other = {0};

    other.transport = bailey_transport_open(loop, "127.0.0.1", port, NULL, NULL, &ops, &other);
    TURN_UNTIL(other.lost);
    bailey_transport_close(other.transport);
    peer_stop(&peer);

    client.transport = bailey_transport_open(loop, "127.0.0.1", port, NULL, NULL, &ops, &client);
    TURN_UNTIL(client.lost);
    assert_false(client.connected);
    assert_non_null(strstr(client.err.text, "cannot connect to 127.0.0.1"));
    assert_non_null(strstr(client.err.text, "refused"));
    assert_int_equal(client.err.kind, BAILEY_ERR_TRANSIENT);
    bailey_transport_close(client.transport);
}

static void a_name_that_does_not_exist_is_told(void **state)
{
    struct client client = {0};

    (void)state;
    client.transport = bailey_transport_open(loop, "no-such-host.invalid", 5672, NULL, NULL, &ops, &client);
    TURN_UNTIL(client.lost);
    assert_non_null(strstr(client.err.text, "no-such-host.invalid"));
    bailey_transport_close(client.transport);
}

static void closing_inside_a_callback_and_during_a_look_up_is_safe(void **state)
{
    struct peer peer;
    struct client client = {.close_on_data = true}, never = {0};

    (void)state;
    peer_start(&peer, 10);
    client.transport = bailey_transport_open(loop, "127.0.0.1", peer.port, NULL, NULL, &ops, &client);
    bailey_transport_append(client.transport, "0123456789", 10);
    TURN_UNTIL(client.lost);
    peer_stop(&peer);

    never.transport = bailey_transport_open(loop, "no-such-host.invalid", 1, NULL, NULL, &ops, &never);
    bailey_transport_close(never.transport);
    TURN_UNTIL(loop_jobs(loop) == 0);
    assert_false(never.lost);
}

static void tls_to_a_peer_that_speaks_none_fails_clearly(void **state)
{
    struct peer peer;
    struct client client = {0};
    struct bailey_tls tls = {.enabled = true};

    (void)state;
    peer_start(&peer, 1000);
    client.transport = bailey_transport_open(loop, "127.0.0.1", peer.port, &tls, NULL, &ops, &client);
    TURN_UNTIL(client.lost);
    assert_false(client.connected);
    assert_string_not_equal(client.err.text, "");
    bailey_transport_close(client.transport);
    peer_stop(&peer);
}

static struct bailey_task tasks[2];
static int order[4], orders;

static void note_task(struct bailey_task *task)
{
    order[orders++] = (int)(intptr_t)task->ctx;
    if (orders == 1)
        bailey_again(loop, task);
}

static void again_tasks_run_in_order_and_what_they_add_waits_for_the_next_turn(void **state)
{
    (void)state;
    orders = 0;
    tasks[0] = (struct bailey_task){.run = note_task, .ctx = (void *)1};
    tasks[1] = (struct bailey_task){.run = note_task, .ctx = (void *)2};
    bailey_again(loop, &tasks[0]);
    bailey_again(loop, &tasks[0]); /* queued once */
    bailey_again(loop, &tasks[1]);
    loop_turn(loop, 0);
    assert_int_equal(orders, 2);
    assert_int_equal(order[1], 2);
    loop_turn(loop, 0);
    assert_int_equal(orders, 3);
    assert_int_equal(order[2], 1);
}

static int fires;

static void count_fire(struct bailey_timer *timer)
{
    (void)timer;
    fires++;
}

static void a_timer_is_never_early_even_when_started_after_a_long_wait(void **state)
{
    struct bailey_timer timer = {.fire = count_fire};

    (void)state;
    loop_turn(loop, 50);
    fires = 0;
    int64_t began_ms = bailey_now_ms(loop);

    bailey_timer_start(loop, &timer, 30);
    TURN_UNTIL(fires == 1);
    assert_true(bailey_now_ms(loop) - began_ms >= 30);
}

static void *post_from_elsewhere(void *ctx)
{
    bailey_post(loop, ctx);
    return NULL;
}

static void a_post_from_another_thread_ends_the_wait(void **state)
{
    struct bailey_task task = {.run = note_task, .ctx = (void *)9};
    pthread_t thread;

    (void)state;
    orders = 3; /* note_task adds nothing */
    pthread_create(&thread, NULL, post_from_elsewhere, &task);
    int64_t began_ms = bailey_wall_ms(loop);

    loop_turn(loop, DEADLINE_MS); /* it is woken, whether the post came before or during the wait */
    assert_true(bailey_wall_ms(loop) - began_ms < DEADLINE_MS);
    TURN_UNTIL(orders == 4);
    assert_int_equal(order[3], 9);
    pthread_join(thread, NULL);
}

static int wakes;

static void on_wake(struct bailey_waker *waker)
{
    (void)waker;
    wakes++;
}

static void a_waker_wakes_and_is_reset(void **state)
{
    struct bailey_waker waker = {.on_wake = on_wake};
    struct bailey_error err;
    uint64_t one = 1;

    (void)state;
    wakes = 0;
    assert_true(bailey_waker_open(loop, &waker, &err));
    assert_int_equal(write(waker.fd, &one, sizeof one), sizeof one);
    TURN_UNTIL(wakes == 1);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    assert_int_equal(wakes, 1);
    bailey_waker_close(&waker);
}

int main(void)
{
#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, loop_setup, loop_teardown)
    const struct CMUnitTest tests[] = {
        WITH_LOOP(bytes_are_echoed_through_small_and_large_writes),
        WITH_LOOP(what_is_not_consumed_is_given_again_with_what_follows),
        WITH_LOOP(a_refused_connection_is_told_with_its_address),
        WITH_LOOP(a_name_that_does_not_exist_is_told),
        WITH_LOOP(closing_inside_a_callback_and_during_a_look_up_is_safe),
        WITH_LOOP(tls_to_a_peer_that_speaks_none_fails_clearly),
        WITH_LOOP(again_tasks_run_in_order_and_what_they_add_waits_for_the_next_turn),
        WITH_LOOP(a_timer_is_never_early_even_when_started_after_a_long_wait),
        WITH_LOOP(a_post_from_another_thread_ends_the_wait),
        WITH_LOOP(a_waker_wakes_and_is_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
