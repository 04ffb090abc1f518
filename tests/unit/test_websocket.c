/* loop/websocket.c and websocket_handshake.c without a socket: what a peer may send, cut anywhere, and what it gets. */
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fail_alloc.h"
#include "loop/websocket.h"

static const struct bailey_websocket stomp = {.path = "/ws?a=b", .protocols = "v12.stomp, v11.stomp"};

static struct websocket *ws;
static struct bailey_error err;

static int ws_setup(void **state)
{
    (void)state;
    ws = websocket_new(&stomp, "broker.example", 61614, false);
    err = (struct bailey_error){0};
    return 0;
}

static int ws_teardown(void **state)
{
    (void)state;
    websocket_free(ws);
    return 0;
}

static void anew(void)
{
    ws_teardown(NULL);
    ws_setup(NULL);
}

static void must_say(const char *text)
{
    if (strstr(err.text, text) == NULL)
        fail_msg("expected '%s', got '%s'", text, err.text);
}

/* ---- Incoming frames ---- */

struct bytes {
    uint8_t *data;
    size_t len;
};

static void add(struct bytes *to, const void *data, size_t len)
{
    to->data = realloc(to->data, to->len + len + 1);
    assert_non_null(to->data);
    memcpy(to->data + to->len, data, len);
    to->len += len;
}

static void add_frame(struct bytes *to, uint8_t first, const void *payload, size_t len)
{
    uint8_t head[10] = {first, (uint8_t)(len < 126 ? len : len < 65536 ? 126 : 127)};
    unsigned size = len < 126 ? 2 : len < 65536 ? 4 : 10;

    for (unsigned i = 0; i < size - 2; i++)
        head[size - 1 - i] = (uint8_t)(len >> (8 * i));
    add(to, head, size);
    add(to, payload, len);
}

/* Unframe `wire` in pieces of `step` bytes, each in memory of its own. */
static struct bytes unframe(const struct bytes *wire, size_t step)
{
    struct bytes got = {0};

    for (size_t at = 0; at < wire->len && err.kind == BAILEY_ERR_NONE; at += step) {
        size_t len = step < wire->len - at ? step : wire->len - at;
        uint8_t *piece = malloc(len);

        assert_non_null(piece);
        memcpy(piece, wire->data + at, len);
        add(&got, piece, websocket_unframe(ws, piece, len, &err));
        free(piece);
    }
    return got;
}

static void frames_are_joined_to_the_stream_wherever_they_are_cut(void **state)
{
    static const size_t steps[] = {1, 2, 3, 5, 7, 64, 1000, 4096, SIZE_MAX / 2};
    static uint8_t body[70000];
    struct bytes wire = {0}, stream = {0};

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 31 ^ i >> 9);
    add_frame(&wire, 0x01, "text in ", 8); /* not final; a ping and an empty fragment come between */
    add_frame(&wire, 0x89, "ping", 4);
    add_frame(&wire, 0x00, "", 0);
    add_frame(&wire, 0x80, "fragments", 9);
    add(&stream, "text in fragments", 17);
    for (size_t len = 0, i = 0; i < 6; len = (size_t[]){1, 125, 126, 65535, 65536, 70000}[i++]) {
        add_frame(&wire, 0x82, body, len);
        add(&stream, body, len);
    }
    add_frame(&wire, 0x8a, "unasked pong", 12);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        anew();
        struct bytes got = unframe(&wire, steps[i]);

        assert_int_equal(err.kind, BAILEY_ERR_NONE);
        assert_int_equal(got.len, stream.len);
        assert_memory_equal(got.data, stream.data, stream.len);
        assert_true(websocket_has_output(ws)); /* the pong */
        free(got.data);
    }
    free(wire.data);
    free(stream.data);
}

#define FRAME(text, bytes)            \
    {                                 \
        text, bytes, sizeof bytes - 1 \
    }
static const struct {
    const char *text, *bytes;
    size_t len;
} broken[] = {
    FRAME("a reserved bit", "\xc2\x01x"),
    FRAME("a reserved bit", "\xa2\x01x"),
    FRAME("a reserved bit", "\x92\x01x"),
    FRAME("a masked frame", "\x82\x81\1\2\3\4x"),
    FRAME("an unknown kind", "\x83\x01x"),
    FRAME("an unknown kind", "\x87\x01x"),
    FRAME("an unknown kind", "\x8b\x01x"),
    FRAME("an unknown kind", "\x8f\x01x"),
    FRAME("a fragmented control frame", "\x09\x01x"),
    FRAME("a fragmented control frame", "\x08\x02\x03\xe8"),
    FRAME("a control frame of more than 125", "\x89\x7e\x00\x7e"),
    FRAME("a control frame of more than 125", "\x8a\x7f\x00\x00\x00\x00\x00\x00\x00\x7e"),
    FRAME("a fragment of no message", "\x80\x01x"),
    FRAME("a fragment of no message", "\x82\x01x\x00\x01y"),
    FRAME("a message within the fragments", "\x02\x01x\x82\x01y"),
    FRAME("a message within the fragments", "\x01\x00\x01\x00"),
    FRAME("a length of more than 63 bits", "\x82\x7f\x80\x00\x00\x00\x00\x01\x00\x00"),
    FRAME("a length in more bytes", "\x82\x7e\x00\x7d"),
    FRAME("a length in more bytes", "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"),
    FRAME("a close frame without a valid code", "\x88\x01\x03"),
    FRAME("a close frame without a valid code", "\x88\x02\x03\xe7"), /* 999 */
    FRAME("a close frame without a valid code", "\x88\x02\x03\xed"), /* 1005 */
    FRAME("a close frame without a valid code", "\x88\x02\x03\xee"), /* 1006 */
    FRAME("a close frame without a valid code", "\x88\x02\x03\xf7"), /* 1015 */
    FRAME("a close frame without a valid code", "\x88\x02\x13\x88"), /* 5000 */
};

static void a_broken_frame_ends_it_with_a_reason_and_what_came_before_is_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        for (size_t step = 1; step <= 16; step += 15) {
            struct bytes wire = {0};

            anew();
            add_frame(&wire, 0x81, "before", 6);
            add(&wire, broken[i].bytes, broken[i].len);
            add_frame(&wire, 0x82, "after", 5);
            struct bytes got = unframe(&wire, step);

            must_say("the peer breaks the WebSocket protocol: ");
            must_say(broken[i].text);
            assert_true(got.len >= 6 && memcmp(got.data, "before", 6) == 0);
            assert_null(memmem(got.data, got.len, "after", 5));
            assert_int_equal(websocket_unframe(ws, wire.data, wire.len, &err), 0); /* over is over */
            free(got.data);
            free(wire.data);
        }
    }
}

static void a_close_tells_its_code_and_what_of_its_reason_is_printable(void **state)
{
    struct bytes wire = {0};

    (void)state;
    add_frame(&wire, 0x82, "ERROR\n\n", 8);
    add_frame(&wire, 0x88, "\x03\xf0no\nway \xc3\xa4", 11);
    struct bytes got = unframe(&wire, wire.len);

    assert_int_equal(got.len, 8);
    must_say("the peer closed the WebSocket: 1008 no?way ??");
    assert_int_equal(err.native, 1008);
    assert_string_equal(err.domain, "websocket");
    free(got.data);

    anew();
    wire.len = 0;
    add_frame(&wire, 0x88, "", 0);
    got = unframe(&wire, 1);
    must_say("the peer closed the WebSocket: 1000");
    free(got.data);

    anew();
    wire.len = 0;
    add_frame(&wire, 0x88, "\x03\xf1", 2);
    got = unframe(&wire, 1);
    assert_int_equal(err.native, 1009);
    assert_string_not_equal(err.hint, "");
    free(got.data);
    free(wire.data);
}

static void a_declared_length_allocates_nothing_and_its_bytes_pass(void **state)
{
    uint8_t huge[] = {0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'a', 'b'};

    (void)state;
    if (!fail_alloc_works())
        skip();
    fail_alloc_arm(0, false);
    assert_int_equal(websocket_unframe(ws, huge, sizeof huge, &err), 2);
    assert_int_equal(fail_alloc_disarm(), 0);
    assert_memory_equal(huge, "ab", 2);
    assert_int_equal(err.kind, BAILEY_ERR_NONE);
}

/* ---- Outgoing frames ---- */

static struct output stream, wire;

static void outputs_free(void)
{
    output_free(&stream);
    output_free(&wire);
}

/* All that is in `wire`, in one piece. */
static struct bytes flat(void)
{
    struct bytes all = {0};

    while (wire.len > 0) {
        struct iovec piece;

        output_peek(&wire, &piece, 1);
        add(&all, piece.iov_base, piece.iov_len);
        output_written(&wire, piece.iov_len);
    }
    return all;
}

struct frame {
    uint8_t first;
    uint8_t key[4];
    uint8_t *payload; /* unmasked where it lies */
    size_t len, size; /* of the payload; of all */
};

static struct frame read_frame(uint8_t *data, size_t len)
{
    struct frame frame = {.first = data[0], .len = data[1] & 0x7f};
    unsigned more = frame.len == 126 ? 2 : frame.len == 127 ? 8 : 0;

    assert_true(len >= 2u + more + 4 && data[1] & 0x80);
    if (more > 0)
        frame.len = 0;
    for (unsigned i = 0; i < more; i++)
        frame.len = frame.len << 8 | data[2 + i];
    assert_true(more == 0 || frame.len >= (more == 2 ? 126 : 65536));
    memcpy(frame.key, data + 2 + more, 4);
    frame.payload = data + 2 + more + 4;
    frame.size = 2 + more + 4 + frame.len;
    assert_true(len >= frame.size);
    for (size_t i = 0; i < frame.len; i++)
        frame.payload[i] ^= frame.key[i & 3];
    return frame;
}

static void messages_become_masked_frames_and_what_is_referred_to_stays_as_it_is(void **state)
{
    static const size_t sizes[] = {1, 3, 125, 126, 2048, 2049, 65535, 65536, WEBSOCKET_FRAME_MAX};
    static uint8_t body[WEBSOCKET_FRAME_MAX], before[WEBSOCKET_FRAME_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 7 ^ i >> 8);
    memcpy(before, body, sizeof body);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bytes all = {0};

        output_append(&stream, body, sizes[i] / 3);
        output_append(&stream, body + sizes[i] / 3, sizes[i] - sizes[i] / 3);
        websocket_end_message(ws, &stream, i % 2 == 0);
        while (websocket_has_output(ws)) {
            assert_true(websocket_frame(ws, &stream, &wire));
            assert_true(wire.len < WEBSOCKET_WIRE_MAX + OUTPUT_CHUNK);
            struct bytes part = flat();
            add(&all, part.data, part.len);
            free(part.data);
        }
        struct frame frame = read_frame(all.data, all.len);

        assert_int_equal(frame.first, i % 2 == 0 ? 0x81 : 0x82);
        assert_int_equal(frame.size, all.len);
        assert_int_equal(frame.len, sizes[i]);
        assert_memory_equal(frame.payload, before, sizes[i]);
        free(all.data);
    }
    assert_memory_equal(body, before, sizeof body);
    outputs_free();
}

static void nothing_goes_before_its_message_ends_and_an_empty_message_is_none(void **state)
{
    (void)state;
    websocket_end_message(ws, &stream, true);
    assert_false(websocket_has_output(ws));
    output_append(&stream, "CONN", 4);
    assert_false(websocket_frame(ws, &stream, &wire));
    output_append(&stream, "ECT", 3);
    websocket_end_message(ws, &stream, true);
    websocket_end_message(ws, &stream, true);
    output_append(&stream, "next", 4);
    assert_true(websocket_frame(ws, &stream, &wire));
    assert_int_equal(stream.len, 4);
    struct bytes all = flat();
    struct frame frame = read_frame(all.data, all.len);

    assert_int_equal(frame.size, all.len);
    assert_int_equal(frame.len, 7);
    assert_memory_equal(frame.payload, "CONNECT", 7);
    free(all.data);
    outputs_free();
}

static void a_pong_passes_between_the_fragments_of_a_long_message(void **state)
{
    enum { LEN = 3 * WEBSOCKET_FRAME_MAX - 1 };
    static const uint8_t expected[] = {0x01, 0x8a, 0x00, 0x80};
    uint8_t *body = malloc(LEN), ping[] = {0x89, 2, 'h', 'i'}, old_ping[] = {0x89, 3, 'o', 'l', 'd'};
    struct bytes all = {0}, text = {0};

    (void)state;
    assert_non_null(body);
    memset(body, 'x', LEN);
    output_append(&stream, body, LEN);
    websocket_end_message(ws, &stream, true);
    websocket_frame(ws, &stream, &wire); /* the first frame has begun */
    assert_int_equal(websocket_unframe(ws, old_ping, sizeof old_ping, &err), 0);
    assert_int_equal(websocket_unframe(ws, ping, sizeof ping, &err), 0); /* only the latest is answered */
    do {
        websocket_frame(ws, &stream, &wire);
        struct bytes part = flat();
        add(&all, part.data, part.len);
        free(part.data);
    } while (websocket_has_output(ws));

    size_t at = 0;
    for (size_t i = 0; i < sizeof expected; i++) {
        struct frame frame = read_frame(all.data + at, all.len - at);

        assert_int_equal(frame.first, expected[i]);
        if (expected[i] == 0x8a)
            assert_true(frame.len == 2 && memcmp(frame.payload, "hi", 2) == 0);
        else
            add(&text, frame.payload, frame.len);
        at += frame.size;
    }
    assert_int_equal(at, all.len);
    assert_int_equal(text.len, LEN);
    assert_memory_equal(text.data, body, LEN);
    free(text.data);
    free(all.data);
    free(body);
    outputs_free();
}

static void each_frame_has_a_key_of_its_own(void **state)
{
    enum { FRAMES = 1000 };
    static uint32_t keys[FRAMES];
    uint32_t ones = 0, zeros = 0;

    (void)state;
    for (size_t i = 0; i < FRAMES; i++) {
        output_append(&stream, "x", 1);
        websocket_end_message(ws, &stream, true);
        websocket_frame(ws, &stream, &wire);
        struct bytes all = flat();

        memcpy(&keys[i], read_frame(all.data, all.len).key, 4);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(keys[i], keys[k]); /* by chance once in 8,600 runs */
        ones |= keys[i];
        zeros |= ~keys[i];
        free(all.data);
    }
    assert_int_equal(ones & zeros, UINT32_MAX); /* each bit was both */
    outputs_free();
}

/* ---- Handshake ---- */

static char *request_of(struct websocket *of)
{
    struct bytes all;

    websocket_request(of, &wire);
    all = flat();
    add(&all, "", 1);
    outputs_free();
    return (char *)all.data;
}

static void the_request_names_host_path_key_and_protocols(void **state)
{
    static const struct {
        const char *host, *expected;
        uint16_t port;
        bool secure;
    } hosts[] = {{"h", "\r\nHost: h:443\r\n", 443, false},
                 {"h", "\r\nHost: h\r\n", 443, true},
                 {"h", "\r\nHost: h\r\n", 80, false},
                 {"::1", "\r\nHost: [::1]:80\r\n", 80, true}};
    static const struct bailey_websocket odd = {.path = "/a b\r\nX: \xc3\xa4"};
    char *request = request_of(ws), *key;

    (void)state;
    assert_ptr_equal(strstr(request, "GET /ws?a=b HTTP/1.1\r\nHost: broker.example:61614\r\n"), request);
    assert_non_null(strstr(request, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr(request, "\r\nConnection: Upgrade\r\n"));
    assert_non_null(strstr(request, "\r\nSec-WebSocket-Version: 13\r\n"));
    assert_non_null(strstr(request, "\r\nSec-WebSocket-Protocol: v12.stomp, v11.stomp\r\n"));
    key = strstr(request, "\r\nSec-WebSocket-Key: ");
    assert_non_null(key);
    assert_int_equal(strcspn(key + 21, "\r"), 24);
    char *again = request_of(ws);
    assert_string_not_equal(request, again);
    free(again);
    free(request);

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct websocket *other = websocket_new(&odd, hosts[i].host, hosts[i].port, hosts[i].secure);

        request = request_of(other);
        assert_non_null(strstr(request, hosts[i].expected));
        assert_ptr_equal(strstr(request, "GET /a%20b%0D%0AX:%20%C3%A4 HTTP/1.1\r\n"), request);
        assert_null(strstr(request, "Protocol"));
        free(request);
        websocket_free(other);
    }
}

/* Of `template`, with %s where the right Sec-WebSocket-Accept goes. */
static enum websocket_answer answer_with(const char *template, size_t *used)
{
    char *request = request_of(ws), *key = strstr(request, "Sec-WebSocket-Key: ") + 19, text[128], answer[1024];
    unsigned char digest[EVP_MAX_MD_SIZE], accept[64];
    unsigned len;

    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL);
    EVP_EncodeBlock(accept, digest, (int)len);
    snprintf(answer, sizeof answer, template, accept);
    free(request);

    char *end = strstr(answer, "\r\n\r\n");
    for (size_t cut = 0; end != NULL && cut < (size_t)(end - answer) + 4; cut++) { /* judged when it is complete */
        enum websocket_answer early = websocket_answer(ws, (uint8_t *)answer, cut, used, &err);

        if (early == WEBSOCKET_REFUSED)
            return early;
        assert_int_equal(early, WEBSOCKET_INCOMPLETE);
    }
    return websocket_answer(ws, (uint8_t *)answer, strlen(answer), used, &err);
}

#define UPGRADE "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: %s\r\n"
#define AGREE "Sec-WebSocket-Protocol: v12.stomp\r\n"

static void a_right_answer_is_taken_in_any_case_and_ends_where_it_ends(void **state)
{
    static const char *const answers[] = {
        UPGRADE ACCEPT AGREE "\r\n\x81\x01x",
        "HTTP/1.1 101\r\nserver: x\r\nUPGRADE:WebSocket\r\nconnection: keep-alive, upgrade\r\nsec-websocket-accept:  "
        "%s \t\r\n"
        "sec-websocket-PROTOCOL: v12.stomp\r\n\r\n\x81\x01x",
    };
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        anew();
        if (answer_with(answers[i], &used) != WEBSOCKET_AGREED)
            fail_msg("%zu: %s", i, err.text);
        assert_string_equal(websocket_subprotocol(ws), "v12.stomp");
        assert_true(used > 90);
    }
}

static const struct {
    const char *answer, *text;
    enum bailey_error_kind kind;
} refused[] = {
    {"CONNECTED\n", "does not speak HTTP", BAILEY_ERR_TRANSIENT},
    {"HTTP/2 101 x\r\n\r\n", "does not speak HTTP", BAILEY_ERR_TRANSIENT},
    {"HTTP/1.1 1O1 x\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {"HTTP/1.1 1011\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {"HTTP/1.1\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT AGREE " folded: x\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT AGREE "no colon\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT AGREE "bad name: x\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT AGREE ": x\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT AGREE "a: b\nc: d\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT AGREE "a: b\rc: d\r\n\r\n", "malformed", BAILEY_ERR_TRANSIENT},
    {UPGRADE "Sec-WebSocket-Accept: aaaaaaaaaaaaaaaaaaaaaaaaaaa=\r\n" AGREE "\r\n", "Accept is wrong",
     BAILEY_ERR_TRANSIENT},
    {UPGRADE AGREE "\r\n", "Accept is wrong", BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT "Sec-WebSocket-Accept: x\r\n" AGREE "\r\n", "Accept is wrong", BAILEY_ERR_TRANSIENT},
    {"HTTP/1.1 101 x\r\nConnection: Upgrade\r\n" ACCEPT AGREE "\r\n", "does not upgrade", BAILEY_ERR_TRANSIENT},
    {"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" ACCEPT AGREE "\r\n", "does not upgrade",
     BAILEY_ERR_TRANSIENT},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: close\r\n" ACCEPT AGREE "\r\n", "does not upgrade",
     BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT AGREE "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "an extension that was not offered",
     BAILEY_ERR_TRANSIENT},
    {UPGRADE ACCEPT "\r\n", "chose none of the sub-protocols v12.stomp, v11.stomp", BAILEY_ERR_CONFIG},
    {UPGRADE ACCEPT "Sec-WebSocket-Protocol: mqtt\r\n\r\n", "chose the sub-protocol 'mqtt'", BAILEY_ERR_CONFIG},
    {UPGRADE ACCEPT "Sec-WebSocket-Protocol: V12.STOMP\r\n\r\n", "chose the sub-protocol", BAILEY_ERR_CONFIG},
    {UPGRADE ACCEPT "Sec-WebSocket-Protocol: v12.stomp, v11.stomp\r\n\r\n", "chose the sub-protocol",
     BAILEY_ERR_CONFIG},
    {UPGRADE ACCEPT "Sec-WebSocket-Protocol:\r\n\r\n", "chose the sub-protocol ''", BAILEY_ERR_CONFIG},
    {UPGRADE ACCEPT AGREE AGREE "\r\n", "chose the sub-protocol", BAILEY_ERR_CONFIG},
    {"HTTP/1.1 404 Not\tFound\r\n\r\n", "the peer answers 404 Not?Found", BAILEY_ERR_CONFIG},
    {"HTTP/1.1 401 Unauthorized\r\n\r\n", "the peer answers 401", BAILEY_ERR_CONFIG},
    {"HTTP/1.1 302 Found\r\nLocation: https://other/\r\n\r\n", "the peer answers 302", BAILEY_ERR_CONFIG},
    {"HTTP/1.1 200 OK\r\n\r\n", "the peer answers 200", BAILEY_ERR_TRANSIENT},
    {"HTTP/1.1 503 Busy\r\n\r\n", "the peer answers 503 Busy", BAILEY_ERR_TRANSIENT},
};

static void a_wrong_answer_is_refused_with_its_reason(void **state)
{
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        anew();
        if (answer_with(refused[i].answer, &used) != WEBSOCKET_REFUSED)
            fail_msg("accepted: %s", refused[i].answer);
        must_say(refused[i].text);
        assert_int_equal(err.kind, refused[i].kind);
        assert_string_equal(websocket_subprotocol(ws), "");
    }
}

static void an_answer_without_end_is_refused_at_16_kib(void **state)
{
    static uint8_t endless[WEBSOCKET_HEAD_MAX + 100];
    size_t used;

    (void)state;
    memset(endless, 'a', sizeof endless);
    memcpy(endless, "HTTP/1.1 101 x\r\nX: ", 19);
    assert_int_equal(websocket_answer(ws, endless, WEBSOCKET_HEAD_MAX - 1, &used, &err), WEBSOCKET_INCOMPLETE);
    assert_int_equal(websocket_answer(ws, endless, WEBSOCKET_HEAD_MAX, &used, &err), WEBSOCKET_REFUSED);
    must_say("longer than 16 KiB");
    memcpy(endless + sizeof endless - 4, "\r\n\r\n", 4); /* an end beyond the limit is none */
    assert_int_equal(websocket_answer(ws, endless, sizeof endless, &used, &err), WEBSOCKET_REFUSED);
    must_say("longer than 16 KiB");
}

static void close_is_sent_once_after_the_handshake_and_with_the_right_code(void **state)
{
    uint8_t bad[] = {0x83, 0};
    size_t used;

    (void)state;
    websocket_close(ws, &wire);
    assert_int_equal(wire.len, 0); /* the peer would not understand */
    assert_int_equal(answer_with(UPGRADE ACCEPT AGREE "\r\n", &used), WEBSOCKET_AGREED);
    assert_int_equal(websocket_unframe(ws, bad, sizeof bad, &err), 0);
    websocket_close(ws, &wire);
    websocket_close(ws, &wire);
    struct bytes all = flat();
    struct frame frame = read_frame(all.data, all.len);

    assert_int_equal(frame.size, all.len);
    assert_int_equal(frame.first, 0x88);
    assert_memory_equal(frame.payload, "\x03\xea", 2); /* 1002 */
    free(all.data);
    outputs_free();
}

int main(void)
{
#define WITH_WS(test) cmocka_unit_test_setup_teardown(test, ws_setup, ws_teardown)
    const struct CMUnitTest tests[] = {
        WITH_WS(frames_are_joined_to_the_stream_wherever_they_are_cut),
        WITH_WS(a_broken_frame_ends_it_with_a_reason_and_what_came_before_is_kept),
        WITH_WS(a_close_tells_its_code_and_what_of_its_reason_is_printable),
        WITH_WS(a_declared_length_allocates_nothing_and_its_bytes_pass),
        WITH_WS(messages_become_masked_frames_and_what_is_referred_to_stays_as_it_is),
        WITH_WS(nothing_goes_before_its_message_ends_and_an_empty_message_is_none),
        WITH_WS(a_pong_passes_between_the_fragments_of_a_long_message),
        WITH_WS(each_frame_has_a_key_of_its_own),
        WITH_WS(the_request_names_host_path_key_and_protocols),
        WITH_WS(a_right_answer_is_taken_in_any_case_and_ends_where_it_ends),
        WITH_WS(a_wrong_answer_is_refused_with_its_reason),
        WITH_WS(an_answer_without_end_is_refused_at_16_kib),
        WITH_WS(close_is_sent_once_after_the_handshake_and_with_the_right_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
