/* loop/websocket.h: a WebSocket client (RFC 6455): handshake and frames, without a socket, clock or thread.
 *
 * What came is unframed where it lies; what goes is copied, masked, into frames. Neither allocates for a length that the
 * peer declares: a frame is passed on as its bytes come. Errors name no address: the caller knows it.
 */
#ifndef BAILEY_WEBSOCKET_H
#define BAILEY_WEBSOCKET_H

#include <bailey/host.h>

#include "loop/output.h"

enum {
    WEBSOCKET_HEAD_MAX = 16 << 10, /* bytes of the answer to the handshake */
    WEBSOCKET_FRAME_MAX =
        256 << 10, /* payload of a frame of ours: longer messages are fragmented, so that a pong can pass */
    WEBSOCKET_WIRE_MAX = 64 << 10, /* bytes in frames that wait to be written */
};

struct websocket;

/* `host` and `port` are of the URL; `secure`: over TLS. Strings are copied. */
struct websocket *websocket_new(const struct bailey_websocket *options, const char *host, uint16_t port, bool secure);
void websocket_free(struct websocket *ws); /* NULL is allowed */

/* ---- Handshake ---- */

void websocket_request(struct websocket *ws, struct output *wire);

enum websocket_answer { WEBSOCKET_INCOMPLETE, WEBSOCKET_AGREED, WEBSOCKET_REFUSED };

/* The answer from its first byte on, as far as it has come. AGREED: its first `*used` bytes were the answer. REFUSED: `err`. */
enum websocket_answer websocket_answer(struct websocket *ws, const uint8_t *data, size_t len, size_t *used,
                                       struct bailey_error *err);

/* What the peer chose; "" if nothing was offered. */
const char *websocket_subprotocol(const struct websocket *ws);

/* ---- Incoming ---- */

/* Take the payload of all data frames out of `data`, which is overwritten with it: returns its length. When the peer closed, or
 * broke the protocol, `err` says so: what is returned came before that, and the connection is over. */
size_t websocket_unframe(struct websocket *ws, uint8_t *data, size_t len, struct bailey_error *err);

/* ---- Outgoing ---- */

/* A message ends where `stream` ends now. */
void websocket_end_message(struct websocket *ws, const struct output *stream, bool text);

/* Move bytes of ended messages, and a pong that is due, from `stream` into frames in `wire`, as long as that is shorter than
 * WEBSOCKET_WIRE_MAX. True if bytes of messages were moved. */
bool websocket_frame(struct websocket *ws, struct output *stream, struct output *wire);

/* True if websocket_frame() would have something to do. */
bool websocket_has_output(const struct websocket *ws);

/* Add the close frame, if the peer can understand one now: after the handshake, between two frames, once. Its code answers
 * the peer's close or fault if there was one. */
void websocket_close(struct websocket *ws, struct output *wire);

#endif
