/* end_rig.h: a lane of which one end is a socket connector and the other end the test, with a port to listen on for the broker
 * that the test plays.
 *
 * Everything runs on the test's thread: each expectation drives the loop until it is met, or fails after 10 s.
 */
#ifndef BAILEY_TEST_END_RIG_H
#define BAILEY_TEST_END_RIG_H

#include "core/lane.h"
#include "loop/loop.h"

enum { END_RIG_MAX = 4096, END_RIG_PATIENCE_MS = 10000, END_RIG_CREDIT = 200 };

/* The connector. */
struct end_rig_connector {
    bool (*broker_open)(void **broker, const void *settings, const char *name, const char *instance,
                        struct bailey_host *host, struct bailey_error *err);
    void (*broker_close)(void *broker);
    const struct bailey_source *source;
    const struct bailey_sink *sink;
};

struct end_rig {
    const struct end_rig_connector *connector;
    struct bailey_host *loop;
    int listener;
    void *broker;
    struct lane *lane;
    struct lane_status status;
    bool ended;
    struct lane_options options; /* credit may be changed before the lane is opened */
    uint64_t next_position;

    /* The test's own end. */
    struct bailey_port *port;
    struct bailey_settlement settled[END_RIG_MAX]; /* as a source */
    size_t settled_count;
    struct bailey_delivery *taken[END_RIG_MAX]; /* as a sink: no verdict given yet */
    size_t taken_count, taken_in_all;
};

int64_t end_rig_clock_ms(void);

/* Listen on a free port of the loopback: returns it. */
uint16_t end_rig_init(struct end_rig *rig, const struct end_rig_connector *connector);
/* A sink of the connector behind a source of the test, or a source of it before a sink of the test. The settings must outlive it. */
void end_rig_open(struct end_rig *rig, enum bailey_role role, const void *broker_settings, const void *settings);
void end_rig_close(struct end_rig *rig);

/* Run the loop until `done` says so. */
void end_rig_until(struct end_rig *rig, bool (*done)(struct end_rig *rig));
/* A few turns: enough for what is already there. */
void end_rig_turn(struct end_rig *rig);

/* Sink: push a message into the lane; its position counts from 1. */
struct bailey_message *end_rig_message(struct end_rig *rig, const char *body);
void end_rig_push(struct end_rig *rig, struct bailey_message *msg);
/* Wait until so many are settled, refused (by kind), or the lane is in that state. */
void end_rig_settled(struct end_rig *rig, size_t count);
void end_rig_refused(struct end_rig *rig, enum bailey_error_kind kind, int64_t count);
void end_rig_state(struct end_rig *rig, enum lane_state state);
/* Wait for the lane to be down for a reason with this text in it, and without SECRET. */
void end_rig_down(struct end_rig *rig, const char *reason);
/* Source: wait for so many deliveries (in all); confirm the oldest `count`. */
void end_rig_taken(struct end_rig *rig, size_t count);
void end_rig_confirm(struct end_rig *rig, size_t count);
/* Source: refuse the oldest, for a reason that passes. */
void end_rig_refuse(struct end_rig *rig);

/* ---- The broker's side of a connection ---- */

/* Wait for a connection: its descriptor, which does not block. */
int end_rig_accept(struct end_rig *rig);
/* Wait for bytes, at most `room`: how many. Fails if bailey hangs up. */
size_t end_rig_receive(struct end_rig *rig, int fd, void *out, size_t room);
/* Send all, unless bailey hangs up: what comes next in the test will tell. */
void end_rig_send(struct end_rig *rig, int fd, const void *data, size_t len);
/* Wait until bailey hangs up. */
void end_rig_hung_up(struct end_rig *rig, int fd);

#endif
