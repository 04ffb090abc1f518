/* stomp_peer.h: a STOMP broker that says only what a test tells it to, on a free port of the loopback, and a lane of which one
 * end is the stomp connector and the other end the test.
 *
 * Everything runs on the test's thread: each expectation drives the loop until it is met, or fails after a few seconds.
 * The peer reads frames with a parser of its own, so that the connector does not check itself.
 */
#ifndef STOMP_PEER_H
#define STOMP_PEER_H

#include "connectors/stomp/connection.h"
#include "end_rig.h"

enum { STOMP_PEER_INPUT = 8 << 20 };

struct stomp_rig {
    struct end_rig end;
    char url[96], second_url[96];
    const char *urls[2];
    struct stomp_broker_settings broker_settings; /* set by stomp_rig_init(), to be changed before the lane is opened */
};

/* One connection of the peer. */
struct stomp_peer {
    struct stomp_rig *rig;
    int fd;
    char *in;
    size_t len;
    size_t beats; /* ends of line between frames so far */

    /* The last frame: its head as a text, as it was sent (not unescaped), and its body. */
    char *head;
    char *body;
    size_t body_len;
};

/* Listen, with settings as usual: login user, passcode SECRET, no heart-beats, 30 s for a receipt. */
void stomp_rig_init(struct stomp_rig *rig);
/* A stomp sink behind a source of the test, or a stomp source before a sink of the test. `settings` must outlive it. */
void stomp_rig_open_sink(struct stomp_rig *rig, const struct stomp_sink_settings *settings);
void stomp_rig_open_source(struct stomp_rig *rig, const struct stomp_source_settings *settings);
/* The shelf over what a sink's settings name, before a sink of the test. */
void stomp_rig_open_shelf(struct stomp_rig *rig, const struct stomp_sink_settings *settings, bool only_looks);

/* ---- The broker's side ---- */

void stomp_peer_accept(struct stomp_rig *rig, struct stomp_peer *peer);
/* Accept, and play the handshake to its end; `server` is the header's value. */
void stomp_peer_open(struct stomp_rig *rig, struct stomp_peer *peer, const char *server);
/* The same, then SUBSCRIBE and its RECEIPT; the frame of SUBSCRIBE stays the last. */
void stomp_peer_open_subscribed(struct stomp_rig *rig, struct stomp_peer *peer, const char *server);
void stomp_peer_close(struct stomp_peer *peer);
/* Wait until bailey hangs up. */
void stomp_peer_gone(struct stomp_peer *peer);
/* No frame has come, after some turns. */
void stomp_peer_silent(struct stomp_peer *peer);

void stomp_peer_send(struct stomp_peer *peer, const void *data, size_t len);
/* A whole frame as a text, without its NUL. */
void stomp_peer_say(struct stomp_peer *peer, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void stomp_peer_receipt(struct stomp_peer *peer, const char *id);
/* A MESSAGE with ack and message-id `id`, of subscription 1. */
void stomp_peer_deliver(struct stomp_peer *peer, const char *id, const char *body);

/* The next frame, which must have this command. */
void stomp_peer_expect(struct stomp_peer *peer, const char *command);
/* The next frame must be a SEND with this body; returns its receipt, valid until the frame after the next. */
const char *stomp_peer_expect_send(struct stomp_peer *peer, const char *body);
/* A header of the last frame, as it was sent; NULL if there is none. One of a few static buffers. */
const char *stomp_peer_header(struct stomp_peer *peer, const char *name);
void stomp_peer_has(struct stomp_peer *peer, const char *name, const char *value); /* NULL: has not */

#endif
