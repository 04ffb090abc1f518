/* amqp_peer.h: an AMQP 0-9-1 broker that says only what a test tells it to, on a free port of the loopback, and a
 * lane of which one end is the amqp connector and the other end the test.
 *
 * Everything runs on the test's thread: each expectation drives the loop until it is met, or fails after a few
 * seconds.
 */
#ifndef AMQP_PEER_H
#define AMQP_PEER_H

#include <amqp.h>
#include <amqp_framing.h>

#include "connectors/amqp/connection.h"
#include "end_rig.h"

enum { PEER_INPUT = 4 << 20 };

struct peer_options {
    uint16_t channel_max, heartbeat; /* 0: 2,047 channels, no heartbeat */
    uint32_t frame_max;              /* 0: 128 KiB */
    const char *product;             /* NULL: it does not say */
    const char *password;            /* that is expected; NULL: SECRET, the URL's */
};

/* One connection of the peer. */
struct peer {
    struct bridge *bridge;
    int fd;
    uint8_t *in;
    size_t len;
    struct amq_frame frame; /* the last one; its payload lies in `held` */
    uint8_t *held;
    amqp_pool_t pool;
};

struct bridge {
    struct end_rig end;
    char url[96];
    const char *urls[1];
    struct amq_broker_settings broker_settings;
};

/* An amqp sink behind a source of the test, or an amqp source before a sink of the test. `settings` must outlive it. */
void bridge_open_sink(struct bridge *bridge, const struct amq_sink_settings *settings);
void bridge_open_source(struct bridge *bridge, const struct amq_source_settings *settings);
/* The same, with something between lane and sink: `sink` is a copy of amq_sink, changed, and outlives it. */
void bridge_open_wrapped_sink(struct bridge *bridge, const struct bailey_sink *sink,
                              const struct amq_sink_settings *settings);
/* The shelf over what a sink's settings name, before a sink of the test. */
void bridge_open_shelf(struct bridge *bridge, const struct amq_sink_settings *settings, bool only_looks);

/* ---- The broker's side ---- */

/* Wait for a connection and its protocol header. */
void peer_accept(struct bridge *bridge, struct peer *peer);
/* Accept, and play the handshake to its end. */
void peer_open(struct bridge *bridge, struct peer *peer, const struct peer_options *options);
void peer_close(struct peer *peer);
/* Wait until bailey hangs up. */
void peer_gone(struct peer *peer);

void peer_send(struct peer *peer, const void *data, size_t len);
void peer_frame(struct peer *peer, int type, uint16_t channel, const void *payload, uint32_t len);
void peer_method(struct peer *peer, uint16_t channel, amqp_method_number_t id, void *method);
void peer_ack(struct peer *peer, uint16_t channel, uint64_t tag, bool multiple);
void peer_content(struct peer *peer, uint16_t channel, struct bailey_bytes props, struct bailey_bytes body);
void peer_deliver(struct peer *peer, uint16_t channel, uint64_t tag, const char *body);
void peer_close_channel(struct peer *peer, uint16_t channel, uint16_t code, const char *text);

/* The next frame (heartbeats are skipped), in peer->frame. */
void peer_next(struct peer *peer);
/* The next frame must be this method on this channel: decoded, valid until the next call. */
void *peer_expect(struct peer *peer, uint16_t channel, amqp_method_number_t id);
/* The next frames must be a publish; `props` and `body` (one frame at most) are in peer->held. */
void peer_expect_publish(struct peer *peer, uint16_t channel, struct bailey_bytes *props, struct bailey_bytes *body);
/* channel.open ... confirm.select of a sink that declares nothing, or channel.open of a source, qos, consume. */
void peer_open_publisher(struct peer *peer, uint16_t channel);
void peer_open_consumer(struct peer *peer, uint16_t channel);
/* channel.open of a source, and its look at the queue, which has so many consumers. */
void peer_find_queue(struct peer *peer, uint16_t channel, uint32_t consumers);
/* qos (its prefetch, unless NULL) and consume, which is returned. */
void *peer_start_consumer(struct peer *peer, uint16_t channel, uint16_t *window);

#endif
