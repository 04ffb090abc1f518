/* sink_broker.h: a simulated broker that stores what is published and confirms it: in order or not, at once or late, one by one or many
 * together. It refuses some, and can be blocked. What it has stored it keeps.
 */
#ifndef BAILEY_SIM_SINK_BROKER_H
#define BAILEY_SIM_SINK_BROKER_H

#include "link.h"
#include "scene.h"

/* Frames; d: the channel's tag of the message, from 1. */
enum sink_frame {
    /* To the broker. a: message, b: handout, c: hash of its content; flags: 1 if it is marked; text: a dead letter's bytes. */
    SINK_PUBLISH,
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

/* What lies at the broker of the dead letters, oldest first. */
struct dead_letter {
    uint32_t message;
    uint32_t number; /* in the ledger */
    struct bailey_bytes bytes;
    bool is_removed;
};
size_t sink_broker_letters(const struct sink_broker *broker);
const struct dead_letter *sink_broker_letter(const struct sink_broker *broker, size_t number);
void sink_broker_remove(struct sink_broker *broker, size_t number);
/* How many of them a replay would send. */
size_t sink_broker_unreplayed(const struct sink_broker *broker);

/* A dead letter for SINK_PUBLISH. */
const char *sink_broker_encode(const struct bailey_message *msg);

/* Faults. */
void sink_broker_block(struct sink_broker *broker, bool blocked);
void sink_broker_slow(struct sink_broker *broker, bool slow);

#endif
