/* websocket_impl.h: what websocket.c (frames) and websocket_handshake.c share. */
#ifndef BAILEY_WEBSOCKET_IMPL_H
#define BAILEY_WEBSOCKET_IMPL_H

#include "loop/websocket.h"

enum { CONTROL_MAX = 125, HEAD_MAX = 14, KEYS = 16 };

/* The frame that is being read. */
struct incoming {
    uint8_t head[HEAD_MAX - 4]; /* its first bytes, until all of its head is there */
    unsigned head_len;
    bool in_payload, in_message; /* in_message: a data frame without FIN came, and none with it since */
    uint64_t left;               /* bytes of the payload that have not come */
    uint8_t control[CONTROL_MAX];
    unsigned control_len;
};

/* The end of a message in the stream of the owner. */
struct mark {
    uint64_t end;
    bool text;
};

struct outgoing {
    struct mark *marks; /* [first, last) */
    size_t first, last, cap;
    uint64_t taken;  /* bytes of the stream that are in frames */
    uint64_t left;   /* bytes of the frame's payload that are not */
    bool continues;  /* the message has begun in an earlier frame */
    uint8_t key[4];  /* of the frame */
    unsigned key_at; /* its byte that is next */
    uint8_t keys[KEYS * sizeof(uint32_t)];
    size_t keys_left;
};

struct websocket {
    char *path, *protocols, *host; /* host: with its port, as in the header */
    char accept[29];               /* the Sec-WebSocket-Accept that is right */
    char subprotocol[64];
    bool agreed, over, close_sent; /* over: the peer closed, or broke the protocol */
    uint16_t close_code;           /* to answer with; 0: 1000 */
    struct incoming in;
    struct outgoing out;
    bool pong_due;
    uint8_t pong[CONTROL_MAX];
    unsigned pong_len;
};

/* `len` bytes that nobody can foresee. */
void websocket_random(uint8_t *data, size_t len);

#endif
