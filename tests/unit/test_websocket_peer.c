/* A transport over a WebSocket, against a listener that may do anything: whatever it does ends that connection once, with a
 * reason, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "loop/websocket.h"
#include "wire_rig.h"

static const struct bailey_websocket stomp = {.path = "/ws", .protocols = "v12.stomp, v11.stomp"};

static struct wire_server server;
static struct wire_client client;

static int setup(void **state)
{
    if (wire_setup(state) != 0)
        return -1;
    wire_listen(&server);
    return 0;
}

static int teardown(void **state)
{
    wire_close(&client);
    wire_stop(&server);
    return wire_teardown(state);
}

static void upgrade(void)
{
    wire_open(&client, server.port, NULL, &stomp);
    wire_upgrade(&server);
    WIRE_UNTIL(client.connected == 1);
}

/* Take the next frame of the client off `server.in`: its first byte; its payload into `payload`, ended by a zero byte. */
static uint8_t next_frame(char *payload, size_t size)
{
    uint8_t key[4], first;
    size_t len, head = 6;

    wire_expect(&server, 6);
    len = server.in[1] & 0x7f;
    assert_true(server.in[1] & 0x80);
    if (len == 126) {
        head = 8;
        len = (size_t)server.in[2] << 8 | server.in[3];
    }
    assert_true(len < size);
    wire_expect(&server, head + len);
    first = server.in[0];
    memcpy(key, server.in + head - 4, 4);
    for (size_t i = 0; i < len; i++)
        payload[i] = (char)(server.in[head + i] ^ key[i & 3]);
    payload[len] = '\0';
    wire_take(&server, head + len);
    return first;
}

static void bytes_go_both_ways_and_the_sub_protocol_is_told(void **state)
{
    char payload[4096];

    (void)state;
    wire_open(&client, server.port, NULL, &stomp);
    bailey_transport_append(client.transport, "CONNECT", 7); /* before it is up */
    bailey_transport_end_message(client.transport, true);
    wire_upgrade(&server);
    assert_int_equal(next_frame(payload, sizeof payload), 0x81);
    assert_string_equal(payload, "CONNECT");
    assert_string_equal(bailey_transport_subprotocol(client.transport), "v12.stomp");
    assert_int_equal(bailey_transport_backlog(client.transport), 0);
    bailey_transport_append(client.transport, "\0\xff", 2);
    bailey_transport_end_message(client.transport, false);
    assert_int_equal(next_frame(payload, sizeof payload), 0x82);
    assert_memory_equal(payload, "\0\xff", 2);

    wire_send(&server, "\x01\x03one\x89\x02hi\x80\x03two\x82\x05three", 21);
    WIRE_UNTIL(client.len == 11);
    assert_string_equal((char *)client.data, "onetwothree");
    assert_int_equal(next_frame(payload, sizeof payload), 0x8a);
    assert_string_equal(payload, "hi");
    bailey_transport_close(client.transport);
    client.transport = NULL;
    assert_int_equal(next_frame(payload, sizeof payload), 0x88);
    assert_memory_equal(payload, "\x03\xe8", 2);
    wire_expect_end(&server);
}

static void frames_that_come_with_the_answer_are_not_lost_and_one_byte_at_a_time_is_enough(void **state)
{
    char request[2048], answer[1024];
    static const char rest[] = "Sec-WebSocket-Protocol: v11.stomp\r\n\r\n\x81\x05hello";

    (void)state;
    for (size_t step = 1; step <= 1024; step *= 32) {
        wire_open(&client, server.port, NULL, &stomp);
        wire_accept(&server);
        wire_read_request(&server, request, sizeof request, answer, sizeof answer);
        memcpy(answer + strlen(answer), rest, sizeof rest);
        for (size_t at = 0, len = strlen(answer); at < len; at += step) {
            wire_send(&server, answer + at, step < len - at ? step : len - at);
            loop_turn(wire_loop, 0);
        }
        WIRE_UNTIL(client.len == 5);
        assert_string_equal((char *)client.data, "hello");
        assert_string_equal(bailey_transport_subprotocol(client.transport), "v11.stomp");
        wire_close(&client);
    }
}

#define FRAME(text, bytes)            \
    {                                 \
        text, bytes, sizeof bytes - 1 \
    }
static const struct {
    const char *text, *bytes;
    size_t len;
} hostile[] = {
    FRAME("a masked frame", "\x81\x81\1\2\3\4x"),
    FRAME("a reserved bit", "\xc1\x01x"),
    FRAME("an unknown kind", "\x8f\x00"),
    FRAME("a fragmented control frame", "\x09\x00"),
    FRAME("a control frame of more than 125", "\x89\x7e\x01\x00"),
    FRAME("a fragment of no message", "\x80\x00"),
    FRAME("a message within the fragments", "\x01\x01x\x01\x01y"),
    FRAME("a length of more than 63 bits", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"),
    FRAME("a close frame without a valid code", "\x88\x02\x03\xee"),
};

static void a_fault_ends_that_connection_once_and_the_peer_is_told_1002(void **state)
{
    char payload[4096], expected[160];

    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        upgrade();
        wire_send(&server, hostile[i].bytes, hostile[i].len);
        wire_send(&server,
                  "\x81\x05"
                  "after",
                  7);
        snprintf(expected, sizeof expected, "127.0.0.1:%u: the peer breaks the WebSocket protocol: %s", server.port,
                 hostile[i].text);
        wire_lost(&client, expected);
        assert_true(client.data == NULL || strstr((char *)client.data, "after") == NULL);
        assert_int_equal(next_frame(payload, sizeof payload), 0x88);
        assert_memory_equal(payload, "\x03\xea", 2);
        wire_expect_end(&server);
        wire_close(&client);
    }
}

static void what_came_before_a_close_is_given_and_the_close_is_answered(void **state)
{
    char payload[4096];

    (void)state;
    upgrade();
    wire_send(&server,
              "\x81\x05"
              "ERROR\x88\x08\x03\xf0policy",
              17);
    wire_lost(&client, ": the peer closed the WebSocket: 1008 policy");
    assert_string_equal((char *)client.data, "ERROR");
    assert_int_equal(next_frame(payload, sizeof payload), 0x88);
    assert_memory_equal(payload, "\x03\xf0", 2);
    wire_expect_end(&server);
}

static void the_reason_of_a_close_is_told_though_a_write_fails_first(void **state)
{
    struct linger at_once = {.l_onoff = 1};

    (void)state;
    upgrade();
    wire_send(&server,
              "\x88\x05\x03\xf1"
              "big",
              7);
    setsockopt(server.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    wire_hang_up(&server); /* a reset: the write of this turn, which comes before its reads, fails */
    bailey_transport_append(client.transport, "more", 4);
    bailey_transport_end_message(client.transport, true);
    wire_lost(&client, "the peer closed the WebSocket: 1009 big");
    assert_string_not_equal(client.err.hint, "");
}

static void a_refused_handshake_is_told_with_status_and_hint(void **state)
{
    static const struct {
        const char *answer, *text, *hint;
    } cases[] = {
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ": WebSocket: the peer answers 404 Not Found", "/ws"},
        {"ERROR\nmessage:bad\n\n", ": WebSocket: what answers does not speak HTTP", "wss://"},
        {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
         "Sec-WebSocket-Accept is wrong", ""},
        {"", "connection lost during the WebSocket handshake to 127.0.0.1", "port"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire_open(&client, server.port, NULL, &stomp);
        wire_accept(&server);
        wire_send(&server, cases[i].answer, strlen(cases[i].answer));
        if (cases[i].answer[0] == '\0') {
            char request[2048], answer[512];

            wire_read_request(&server, request, sizeof request, answer, sizeof answer);
            wire_hang_up(&server);
        }
        wire_lost(&client, cases[i].text);
        assert_int_equal(client.connected, 0);
        assert_non_null(strstr(client.err.hint, cases[i].hint));
        wire_close(&client);
    }
}

static void a_wrong_sub_protocol_is_a_mistake_of_the_configuration(void **state)
{
    char request[2048], answer[512];

    (void)state;
    wire_open(&client, server.port, NULL, &stomp);
    wire_accept(&server);
    wire_read_request(&server, request, sizeof request, answer, sizeof answer);
    wire_send(&server, answer, strlen(answer));
    wire_send(&server, "Sec-WebSocket-Protocol: stomp\r\n\r\n", 33);
    wire_lost(&client, "the peer chose the sub-protocol 'stomp', offered: v12.stomp, v11.stomp");
    assert_int_equal(client.err.kind, BAILEY_ERR_CONFIG);
    wire_expect_end(&server);
    assert_int_equal(server.len, 0); /* and no close frame, as there is no WebSocket */
}

static void headers_without_end_are_cut_off(void **state)
{
    char header[1024], request[2048], answer[512];

    (void)state;
    memset(header, 'a', sizeof header);
    memcpy(header, "X-A: ", 5);
    memcpy(header + sizeof header - 2, "\r\n", 2);
    wire_open(&client, server.port, NULL, &stomp);
    wire_accept(&server);
    wire_read_request(&server, request, sizeof request, answer, sizeof answer);
    wire_send(&server, answer, strlen(answer));
    for (int i = 0; i < 64; i++)
        wire_send(&server, header, sizeof header);
    wire_lost(&client, "the answer to the handshake is longer than 16 KiB");
}

static void fragments_without_end_are_a_stream_of_flat_memory(void **state)
{
    enum { FRAGMENTS = 2000, LEN = 1000 };
    char fragment[LEN + 4] = {0x00, 126, LEN >> 8, (char)(LEN & 0xff)};
    char pings[] = "\x89\x01p";

    (void)state;
    upgrade();
    wire_send(&server, "\x02\x00", 2);
    for (int i = 0; i < FRAGMENTS; i++) {
        wire_send(&server, fragment, sizeof fragment);
        wire_send(&server, "\x00\x00", 2);
        wire_send(&server, pings, 3);
    }
    WIRE_UNTIL(client.len == (size_t)FRAGMENTS * LEN);
    assert_int_equal(client.lost, 0);
}

static void a_peer_that_pings_and_reads_nothing_costs_one_pong(void **state)
{
    enum { PINGS = 200000 };
    char *pings = malloc((size_t)PINGS * 3);

    (void)state;
    assert_non_null(pings);
    for (size_t i = 0; i < PINGS; i++)
        memcpy(pings + i * 3, "\x89\x01p", 3);
    upgrade();
    wire_send(&server, pings, (size_t)PINGS * 3);
    wire_send(&server,
              "\x81\x03"
              "end",
              5);
    WIRE_UNTIL(client.len == 3);
    wire_turn();
    wire_expect(&server, 7);
    assert_true(server.len < 7 * 1000); /* not one for each */
    assert_int_equal(client.lost, 0);
    free(pings);
}

static void a_slow_reader_holds_the_backlog_and_all_arrives(void **state)
{
    enum { MESSAGES = 2000, LEN = 10000 }; /* 20 MB: more than the buffers of two sockets grow to */
    static char body[LEN], payload[65536];
    unsigned messages = 0;

    (void)state;
    memset(body, 'b', sizeof body);
    upgrade();
    for (int i = 0; i < MESSAGES; i++) {
        bailey_transport_append(client.transport, body, sizeof body);
        bailey_transport_end_message(client.transport, true);
    }
    assert_true(bailey_transport_backlog(client.transport) >= BAILEY_TRANSPORT_BACKLOG);
    wire_turn();
    assert_true(bailey_transport_backlog(client.transport) > 0); /* what the sockets do not take stays here */
    for (; messages < MESSAGES; messages++) {
        assert_int_equal(next_frame(payload, sizeof payload), 0x81);
        assert_int_equal(strlen(payload), LEN);
    }
    assert_int_equal(client.writable, 1);
    assert_int_equal(bailey_transport_backlog(client.transport), 0);
}

static void a_held_websocket_reads_nothing_and_goes_on_where_it_was(void **state)
{
    (void)state;
    upgrade();
    client.hold_after = 3;
    wire_send(&server, "\x81\x03one\x81\x03two", 10);
    WIRE_UNTIL(client.len >= 3);
    size_t before = client.len;
    wire_send(&server, "\x81\x05three", 7);
    wire_turn();
    assert_int_equal(client.len, before);
    client.hold_after = 0;
    bailey_transport_hold(client.transport, false);
    WIRE_UNTIL(client.len == 11);
    assert_string_equal((char *)client.data, "onetwothree");
}

static void one_that_is_held_from_the_start_shakes_hands_and_gives_nothing(void **state)
{
    (void)state;
    wire_open(&client, server.port, NULL, &stomp);
    bailey_transport_hold(client.transport, true);
    wire_upgrade(&server);
    wire_send(&server, "\x81\x05hello", 7);
    WIRE_UNTIL(client.connected == 1);
    wire_turn();
    assert_int_equal(client.calls, 0);
    bailey_transport_hold(client.transport, false);
    WIRE_UNTIL(client.len == 5);
}

int main(void)
{
#define WITH_PEER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_PEER(bytes_go_both_ways_and_the_sub_protocol_is_told),
        WITH_PEER(frames_that_come_with_the_answer_are_not_lost_and_one_byte_at_a_time_is_enough),
        WITH_PEER(a_fault_ends_that_connection_once_and_the_peer_is_told_1002),
        WITH_PEER(what_came_before_a_close_is_given_and_the_close_is_answered),
        WITH_PEER(the_reason_of_a_close_is_told_though_a_write_fails_first),
        WITH_PEER(a_refused_handshake_is_told_with_status_and_hint),
        WITH_PEER(a_wrong_sub_protocol_is_a_mistake_of_the_configuration),
        WITH_PEER(headers_without_end_are_cut_off),
        WITH_PEER(fragments_without_end_are_a_stream_of_flat_memory),
        WITH_PEER(a_peer_that_pings_and_reads_nothing_costs_one_pong),
        WITH_PEER(a_slow_reader_holds_the_backlog_and_all_arrives),
        WITH_PEER(a_held_websocket_reads_nothing_and_goes_on_where_it_was),
        WITH_PEER(one_that_is_held_from_the_start_shakes_hands_and_gives_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
