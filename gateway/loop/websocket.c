/* Frames of a WebSocket client.
 *
 * Incoming: the payload of a frame moves down over its head, so the buffer that was read into becomes the byte stream. Text is
 * not checked to be UTF-8: here it is bytes, and whoever reads them checks what it needs.
 *
 * Outgoing: the owner's stream may refer to bodies that others read too, so masking copies. A message whose end is known
 * becomes one frame, a long one several: between them control frames find their place.
 */
#include "loop/websocket.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/big_endian.h"
#include "loop/websocket_impl.h"

enum { FIN = 0x80, RESERVED = 0x70, MASK = 0x80 };
enum { CONTINUATION, TEXT, BINARY, CLOSE = 8, PING, PONG };
enum { CLOSE_NORMAL = 1000, CLOSE_PROTOCOL_ERROR = 1002, CLOSE_TOO_BIG = 1009 };

void websocket_random(uint8_t *data, size_t len)
{
    if (getrandom(data, len, 0) != (ssize_t)len) /* up to 256 bytes it gives all or nothing */
        abort();
}

/* ---- Incoming ---- */

static bool fault(struct websocket *ws, struct bailey_error *err, const char *what)
{
    ws->over = true;
    ws->close_code = CLOSE_PROTOCOL_ERROR;
    return bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "websocket", CLOSE_PROTOCOL_ERROR,
                              "the peer breaks the WebSocket protocol: %s", what);
}

/* The first two bytes of a head. */
static bool check_head(struct websocket *ws, struct bailey_error *err)
{
    const struct incoming *in = &ws->in;
    unsigned opcode = in->head[0] & 0x0f, len = in->head[1] & 0x7f;
    bool final = in->head[0] & FIN;

    if (in->head[0] & RESERVED)
        return fault(ws, err, "a reserved bit is set, and no extension was agreed");
    if (in->head[1] & MASK)
        return fault(ws, err, "a masked frame");
    if (opcode > PONG || (opcode > BINARY && opcode < CLOSE))
        return fault(ws, err, "an unknown kind of frame");
    if (opcode >= CLOSE && !final)
        return fault(ws, err, "a fragmented control frame");
    if (opcode >= CLOSE && len > CONTROL_MAX)
        return fault(ws, err, "a control frame of more than 125 bytes");
    if (opcode == CONTINUATION && !in->in_message)
        return fault(ws, err, "a fragment of no message");
    if ((opcode == TEXT || opcode == BINARY) && in->in_message)
        return fault(ws, err, "a message within the fragments of another");
    return true;
}

/* How long the head is, as far as its first two bytes say. */
static unsigned head_size(const struct incoming *in)
{
    unsigned len = in->head_len < 2 ? 0 : in->head[1] & 0x7f;

    return len == 126 ? 4 : len == 127 ? 10 : 2;
}

static bool read_length(struct websocket *ws, struct bailey_error *err)
{
    struct incoming *in = &ws->in;
    unsigned size = head_size(in), from = size == 2 ? 1 : 2;

    in->left = big_endian_get(in->head + from, size - from);
    if (size == 10 && in->left >> 63)
        return fault(ws, err, "a length of more than 63 bits");
    if ((size == 4 && in->left < 126) || (size == 10 && in->left <= UINT16_MAX))
        return fault(ws, err, "a length in more bytes than it needs");
    return true;
}

/* Take bytes of the head; `*used`: how many. When it is complete, in_payload is set. */
static bool take_head(struct websocket *ws, const uint8_t *data, size_t len, size_t *used, struct bailey_error *err)
{
    struct incoming *in = &ws->in;

    for (*used = 0; *used < len && !in->in_payload;) {
        in->head[in->head_len++] = data[(*used)++];
        if (in->head_len == 2 && !check_head(ws, err))
            return false;
        if (in->head_len < head_size(in))
            continue;
        if (!read_length(ws, err))
            return false;
        in->in_payload = true;
        in->control_len = 0;
    }
    return true;
}

static bool is_close_code(unsigned code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

static bool take_close(struct websocket *ws, struct bailey_error *err)
{
    const struct incoming *in = &ws->in;
    unsigned code = in->control_len >= 2 ? (unsigned)in->control[0] << 8 | in->control[1] : CLOSE_NORMAL;
    char reason[CONTROL_MAX];
    unsigned len = 0;

    if (in->control_len == 1 || !is_close_code(code))
        return fault(ws, err, "a close frame without a valid code");
    for (unsigned i = 2; i < in->control_len; i++)
        reason[len++] = in->control[i] >= 0x20 && in->control[i] < 0x7f ? (char)in->control[i] : '?';
    reason[len] = '\0';
    ws->over = true;
    ws->close_code = (uint16_t)code;
    bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "websocket", (int)code, "the peer closed the WebSocket: %u%s%s", code,
                       len > 0 ? " " : "", reason);
    if (code == CLOSE_TOO_BIG)
        bailey_hint(err, "A message was larger than the peer takes: raise its limit for WebSocket messages.");
    return false;
}

/* The payload is complete. */
static bool end_frame(struct websocket *ws, struct bailey_error *err)
{
    struct incoming *in = &ws->in;
    unsigned opcode = in->head[0] & 0x0f;

    in->in_payload = false;
    in->head_len = 0;
    if (opcode < CLOSE) {
        in->in_message = !(in->head[0] & FIN);
    } else if (opcode == CLOSE) {
        return take_close(ws, err);
    } else if (opcode == PING) { /* of several that wait only the latest need be answered */
        memcpy(ws->pong, in->control, in->control_len);
        ws->pong_len = in->control_len;
        ws->pong_due = true;
    }
    return true;
}

size_t websocket_unframe(struct websocket *ws, uint8_t *data, size_t len, struct bailey_error *err)
{
    struct incoming *in = &ws->in;
    size_t at = 0, out = 0;

    while (!ws->over && (at < len || (in->in_payload && in->left == 0))) {
        size_t used;

        if (!in->in_payload) {
            if (!take_head(ws, data + at, len - at, &used, err))
                break;
            at += used;
            continue;
        }
        used = in->left < len - at ? (size_t)in->left : len - at;
        if ((in->head[0] & 0x0f) >= CLOSE) {
            memcpy(in->control + in->control_len, data + at, used);
            in->control_len += (unsigned)used;
        } else {
            memmove(data + out, data + at, used);
            out += used;
        }
        at += used;
        in->left -= used;
        if (in->left == 0 && !end_frame(ws, err))
            break;
    }
    return out;
}

/* ---- Outgoing ---- */

void websocket_end_message(struct websocket *ws, const struct output *stream, bool text)
{
    struct outgoing *out = &ws->out;
    uint64_t end = out->taken + stream->len;

    if (end == (out->last > out->first ? out->marks[out->last - 1].end : out->taken))
        return;
    if (out->first == out->last)
        out->first = out->last = 0;
    if (out->last == out->cap && out->first > out->cap / 2) {
        memmove(out->marks, out->marks + out->first, (out->last - out->first) * sizeof *out->marks);
        out->last -= out->first;
        out->first = 0;
    } else if (out->last == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 16;
        out->marks = realloc(out->marks, out->cap * sizeof *out->marks);
        if (out->marks == NULL)
            abort();
    }
    out->marks[out->last++] = (struct mark){end, text};
}

/* RFC 6455, 5.3: a fresh key for each frame, that whoever chose the payload cannot foresee. */
static void next_key(struct outgoing *out)
{
    if (out->keys_left == 0) {
        websocket_random(out->keys, sizeof out->keys);
        out->keys_left = KEYS;
    }
    memcpy(out->key, out->keys + --out->keys_left * sizeof out->key, sizeof out->key);
    out->key_at = 0;
}

/* `to` may not overlap `from`. */
static void mask(struct outgoing *out, uint8_t *to, const uint8_t *from, size_t len)
{
    uint8_t key[8];
    uint64_t wide, word;
    size_t i = 0;

    for (unsigned k = 0; k < sizeof key; k++)
        key[k] = out->key[(out->key_at + k) & 3];
    memcpy(&wide, key, sizeof wide);
    for (; i + sizeof word <= len; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        word ^= wide;
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < len; i++)
        to[i] = from[i] ^ key[i & 7];
    out->key_at = (out->key_at + (unsigned)(len & 3)) & 3;
}

static void add_head(struct outgoing *out, struct output *wire, unsigned first, size_t len)
{
    uint8_t *head = output_reserve(wire, HEAD_MAX);
    unsigned size = len < 126 ? 2 : len <= UINT16_MAX ? 4 : 10;

    next_key(out);
    head[0] = (uint8_t)first;
    head[1] = (uint8_t)(MASK | (size == 2 ? len : size == 4 ? 126 : 127));
    for (unsigned i = size - 1; i >= 2; i--, len >>= 8)
        head[i] = (uint8_t)len;
    memcpy(head + size, out->key, sizeof out->key);
    output_commit(wire, size + sizeof out->key);
}

static void add_control(struct websocket *ws, struct output *wire, unsigned opcode, const uint8_t *data, size_t len)
{
    add_head(&ws->out, wire, FIN | opcode, len);
    mask(&ws->out, output_reserve(wire, CONTROL_MAX), data, len);
    output_commit(wire, len);
}

/* The head of the next frame of the first message. */
static void begin_frame(struct outgoing *out, struct output *wire)
{
    const struct mark *mark = &out->marks[out->first];
    uint64_t rest = mark->end - out->taken;

    out->left = rest < WEBSOCKET_FRAME_MAX ? rest : WEBSOCKET_FRAME_MAX;
    add_head(out, wire,
             (out->left == rest ? FIN : 0) | (unsigned)(out->continues ? CONTINUATION
                                                        : mark->text   ? TEXT
                                                                       : BINARY),
             (size_t)out->left);
    out->continues = out->left < rest;
}

/* Some bytes of the frame that was begun. */
static void add_payload(struct outgoing *out, struct output *stream, struct output *wire)
{
    struct iovec piece;
    size_t len;

    output_peek(stream, &piece, 1);
    len = piece.iov_len < OUTPUT_CHUNK / 2 ? piece.iov_len : OUTPUT_CHUNK / 2;
    if (len > out->left)
        len = (size_t)out->left;
    mask(out, output_reserve(wire, len), piece.iov_base, len);
    output_commit(wire, len);
    output_written(stream, len);
    out->taken += len;
    out->left -= len;
    if (out->left == 0 && out->taken == out->marks[out->first].end)
        out->first++;
}

bool websocket_frame(struct websocket *ws, struct output *stream, struct output *wire)
{
    struct outgoing *out = &ws->out;
    uint64_t before = out->taken;

    while (!ws->close_sent && wire->len < WEBSOCKET_WIRE_MAX) {
        if (out->left > 0) {
            add_payload(out, stream, wire);
        } else if (ws->pong_due) {
            add_control(ws, wire, PONG, ws->pong, ws->pong_len);
            ws->pong_due = false;
        } else if (out->first < out->last) {
            begin_frame(out, wire);
        } else {
            break;
        }
    }
    return out->taken != before;
}

bool websocket_has_output(const struct websocket *ws)
{
    return ws->pong_due || ws->out.first < ws->out.last;
}

void websocket_close(struct websocket *ws, struct output *wire)
{
    unsigned code = ws->close_code != 0 ? ws->close_code : CLOSE_NORMAL;
    uint8_t data[2] = {(uint8_t)(code >> 8), (uint8_t)code};

    if (!ws->agreed || ws->close_sent || ws->out.left > 0)
        return;
    add_control(ws, wire, CLOSE, data, sizeof data);
    ws->close_sent = true;
}
