/* The WebSocket's reader: whatever the bytes, the payload that comes out lies within them, and is the same however they are cut;
 * over is over; the answer to the handshake is judged without reading beyond it. The first byte chooses. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "loop/websocket_impl.h"

static const struct bailey_websocket stomp = {.path = "/ws", .protocols = "v12.stomp, v11.stomp"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    uint8_t *stream;
    size_t len;
    struct bailey_error err;
};

/* Unframe in pieces of `step` bytes, each in memory of its own. */
static struct result unframe(const uint8_t *data, size_t size, size_t step)
{
    struct websocket *ws = websocket_new(&stomp, "h", 80, false);
    struct result result = {.stream = malloc(size + 1)};
    struct output stream = {0}, wire = {0};

    assert(result.stream != NULL);
    for (size_t at = 0; at < size; at += step) {
        size_t len = step < size - at ? step : size - at, out;
        bool was_over = result.err.kind != BAILEY_ERR_NONE;
        uint8_t *piece = malloc(len);

        assert(piece != NULL);
        memcpy(piece, data + at, len);
        out = websocket_unframe(ws, piece, len, &result.err);
        assert(out <= len && (!was_over || out == 0));
        memcpy(result.stream + result.len, piece, out);
        result.len += out;
        free(piece);
        websocket_frame(ws, &stream, &wire); /* a pong */
        assert(wire.len <= 131);
        output_free(&wire);
    }
    websocket_free(ws);
    return result;
}

static void cut_anywhere(const uint8_t *data, size_t size, size_t step)
{
    struct result whole = unframe(data, size, size), cut = unframe(data, size, step);

    assert(whole.len == cut.len && memcmp(whole.stream, cut.stream, cut.len) == 0);
    assert(whole.err.kind == cut.err.kind && strcmp(whole.err.text, cut.err.text) == 0);
    free(whole.stream);
    free(cut.stream);
}

/* `data` in memory of its own, so that reading beyond is seen. */
static enum websocket_answer answer(const uint8_t *data, size_t size, size_t *used, struct bailey_error *err)
{
    struct websocket *ws = websocket_new(&stomp, "h", 80, false);
    struct output wire = {0};
    uint8_t *copy = malloc(size + !size);
    enum websocket_answer result;

    assert(copy != NULL);
    memcpy(copy, data, size);
    websocket_request(ws, &wire);
    memcpy(ws->accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof ws->accept); /* that of the example in RFC 6455, 1.3 */
    result = websocket_answer(ws, copy, size, used, err);
    assert(result != WEBSOCKET_AGREED || strstr("v12.stomp, v11.stomp", websocket_subprotocol(ws)) != NULL);
    output_free(&wire);
    websocket_free(ws);
    free(copy);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bailey_error err = {0};
    size_t used = 0;

    if (size < 2)
        return 0;
    if (data[0] & 1) {
        enum websocket_answer result = answer(data + 1, size - 1, &used, &err);

        assert((result == WEBSOCKET_REFUSED) == (err.kind != BAILEY_ERR_NONE));
        assert(result != WEBSOCKET_AGREED || used <= size - 1);
    } else {
        cut_anywhere(data + 1, size - 1, 1 + (data[0] >> 1));
    }
    return 0;
}
