/* sink_broker.h: a simulated broker that stores what is published and confirms it: in order or not, at once or late, one by one or many
 * together. It refuses some, and can be blocked. What it has stored it keeps.
 */
#ifndef BAILEY_SIM_SINK_BROKER_H
#define BAILEY_SIM_SINK_BROKER_H

#include "link.h"
#include "scene.h"

/* Frames; d: the channel's tag of the message, from 1. */
enum sink_frame {
    SINK_PUBLISH, /* to the broker. a: message, b: handout, c: hash of its content; flags: 1 if it is marked */
    SINK_READY,   /* to the client: it may publish */
    SINK_CONFIRM, /* flags: 1 if all up to that tag are meant */
    SINK_REFUSE,  /* a: enum bailey_error_kind */
    SINK_BLOCKED, /* publish nothing */
    SINK_UNBLOCKED,
};

struct sink_broker;

struct sink_broker *sink_broker_new(struct sim *sim, uint32_t number, enum outlet outlet);

/* From within a process. */
struct link *sink_broker_connect(const struct way *way, const struct link_client *ops, void *client);

/* Faults. */
void sink_broker_block(struct sink_broker *broker, bool blocked);
void sink_broker_slow(struct sink_broker *broker, bool slow);

#endif
