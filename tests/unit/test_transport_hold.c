/* bailey_transport_hold(): a transport that does not read, on real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "wire_rig.h"

static struct wire_server server;
static struct wire_client client;

static int setup(void **state)
{
    if (wire_setup(state) != 0)
        return -1;
    wire_listen(&server);
    wire_open(&client, server.port, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    wire_close(&client);
    wire_stop(&server);
    return wire_teardown(state);
}

static void connect_both(void)
{
    wire_accept(&server);
    WIRE_UNTIL(client.connected == 1);
}

static int64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void a_held_transport_reads_nothing_and_its_loop_sleeps(void **state)
{
    int64_t began_ms;

    (void)state;
    connect_both();
    bailey_transport_hold(client.transport, true);
    wire_send(&server, "waits", 5);
    wire_turn();
    began_ms = clock_ms();
    loop_turn(wire_loop, 60);
    assert_true(clock_ms() - began_ms >= 50); /* what waits in the socket does not wake it */
    assert_int_equal(client.calls, 0);
    bailey_transport_append(client.transport, "beat", 4); /* it writes all the same */
    wire_expect(&server, 4);
    assert_int_equal(client.calls, 0);

    int64_t read_ms = bailey_transport_last_read_ms(client.transport);
    bailey_transport_hold(client.transport, false);
    assert_true(bailey_transport_last_read_ms(client.transport) > read_ms);
    WIRE_UNTIL(client.len == 5);
    assert_string_equal((char *)client.data, "waits");
}

static void what_on_data_left_is_given_again_without_new_bytes(void **state)
{
    (void)state;
    connect_both();
    client.hold_after = 1;
    client.keeps = true;
    wire_send(&server, "left", 4);
    WIRE_UNTIL(client.calls == 1);
    wire_turn();
    assert_int_equal(client.calls, 1);
    client.keeps = false;
    bailey_transport_hold(client.transport, false); /* and it holds again, inside of on_data */
    WIRE_UNTIL(client.len == 4);
    assert_string_equal((char *)client.data, "left");
    wire_send(&server, "more", 4);
    wire_turn();
    assert_int_equal(client.len, 4);
    client.hold_after = 0;
    bailey_transport_hold(client.transport, false);
    WIRE_UNTIL(client.len == 8);
    assert_string_equal((char *)client.data, "leftmore");
}

static void a_flood_stops_at_the_sockets(void **state)
{
    enum { FLOOD = 64 << 20 };
    char *flood = calloc(1, FLOOD);
    size_t sent = 0, before;

    (void)state;
    assert_non_null(flood);
    connect_both();
    client.hold_after = 1;
    do { /* until neither side moves */
        before = sent;
        ssize_t n = send(server.fd, flood, FLOOD - sent, MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        wire_turn();
    } while (sent != before);
    assert_true(sent < FLOOD);
    assert_true(client.len <= LOOP_READ_BUFFER);
    client.hold_after = 0;
    bailey_transport_hold(client.transport, false);
    WIRE_UNTIL(client.len == sent);
    free(flood);
}

static void an_end_in_order_is_told_when_reading_goes_on_after_what_came_before(void **state)
{
    (void)state;
    connect_both();
    bailey_transport_hold(client.transport, true);
    wire_send(&server, "last words", 10);
    wire_hang_up(&server);
    wire_turn();
    assert_int_equal(client.lost, 0);
    bailey_transport_hold(client.transport, false);
    wire_lost(&client, "the peer closed the connection");
    assert_string_equal((char *)client.data, "last words");
}

static void a_reset_is_told_at_once(void **state)
{
    struct linger at_once = {.l_onoff = 1};

    (void)state;
    connect_both();
    bailey_transport_hold(client.transport, true);
    setsockopt(server.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    wire_hang_up(&server);
    wire_lost(&client, "connection lost to 127.0.0.1");
}

static void one_that_is_held_before_it_is_up_connects_and_reads_nothing(void **state)
{
    (void)state;
    bailey_transport_hold(client.transport, true);
    connect_both();
    wire_send(&server, "early", 5);
    wire_turn();
    assert_int_equal(client.calls, 0);
    bailey_transport_hold(client.transport, false);
    WIRE_UNTIL(client.len == 5);
}

int main(void)
{
#define WITH_PEER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_PEER(a_held_transport_reads_nothing_and_its_loop_sleeps),
        WITH_PEER(what_on_data_left_is_given_again_without_new_bytes),
        WITH_PEER(a_flood_stops_at_the_sockets),
        WITH_PEER(an_end_in_order_is_told_when_reading_goes_on_after_what_came_before),
        WITH_PEER(a_reset_is_told_at_once),
        WITH_PEER(one_that_is_held_before_it_is_up_connects_and_reads_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
