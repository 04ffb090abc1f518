/* lane_rig.h: one lane between a scripted source and a scripted sink, on a loop that the test turns.
 *
 * The sink keeps what it is sent until the test gives a verdict; the source notes what is settled. One thread.
 */
#ifndef BAILEY_TEST_LANE_RIG_H
#define BAILEY_TEST_LANE_RIG_H

#include "core/lane.h"
#include "loop/loop.h"

enum { HELD_MAX = 4096, NUMBERS = 4096 };

/* One lane with its two scripted ends. */
struct lane_rig {
    struct bailey_host *loop;
    struct lane *lane;
    struct lane_status status;
    struct arena *arena;
    struct template *templates[4];
    unsigned ended;

    struct bailey_port *source;
    unsigned source_opens, source_closes, resumes, drains;
    unsigned settled[NUMBERS][4]; /* by position and outcome */
    uint32_t settled_group[NUMBERS];
    size_t settlements;
    bool source_manual; /* open() does not say up */

    struct bailey_port *sink;
    struct bailey_delivery *held[HELD_MAX]; /* taken, and without a verdict, in the order of sending */
    size_t held_count, sent, room, flushes; /* sent: over all openings */
    unsigned sink_opens, sink_closes, open_failures;
    bool sink_manual, in_doubt_at_close;

    struct bailey_port *dead; /* the dead-letter sink, if lane_rig_dead_letters() is asked for */
    struct bailey_delivery *dead_held[HELD_MAX];
    size_t dead_count, dead_sent;
    bool dead_manual; /* open() does not say up */
    struct lane_dead_letters dead_letters;
};

/* Set-up and tear-down of a test: `*state` is the rig. */
int lane_rig_new(void **state);
int lane_rig_free(void **state);

/* Options of its lane, for a test that wants others; then lane_rig_start(). lane_rig_started() does both with those. */
struct lane_options lane_rig_options(struct lane_rig *rig);
void lane_rig_start(struct lane_rig *rig, const struct lane_options *options);
struct lane_rig *lane_rig_started(void **state);

/* The rig's dead-letter sink, for lane_options.dead_letters. */
const struct lane_dead_letters *lane_rig_dead_letters(struct lane_rig *rig);

/* Turns in which whatever is to happen without waiting for a timer happens. */
void lane_rig_settle_down(struct lane_rig *rig);

enum lane_state lane_rig_state(struct lane_rig *rig);

/* ---- What the source does ---- */

/* A message of group 1 at position `number`, with a body of `size` bytes. */
struct bailey_message *lane_rig_message(struct lane_rig *rig, uint64_t number, size_t size);

/* Its one header. */
void lane_rig_set_header(struct bailey_message *msg, const char *name, const char *text);

/* Receive the messages from ... to-1. */
void lane_rig_push_of_group(struct lane_rig *rig, uint64_t from, uint64_t to, uint32_t group);
void lane_rig_push(struct lane_rig *rig, uint64_t from, uint64_t to); /* of group 1 */

/* ---- What the sink does ---- */

/* Take the delivery of position `number` out of what the sink holds. */
struct bailey_delivery *lane_rig_pick(struct lane_rig *rig, uint64_t number);

void lane_rig_confirm(struct lane_rig *rig, uint64_t number);
void lane_rig_confirm_all(struct lane_rig *rig);
void lane_rig_refuse(struct lane_rig *rig, uint64_t number, enum bailey_error_kind kind);
void lane_rig_hand_back(struct lane_rig *rig, uint64_t number, bool in_doubt);

/* Verdicts of the dead-letter sink. */
void lane_rig_bury(struct lane_rig *rig, uint64_t number);
void lane_rig_refuse_dead(struct lane_rig *rig, uint64_t number, enum bailey_error_kind kind);

/* The sink holds exactly the positions `numbers`, in this order. */
void lane_rig_assert_held(const struct lane_rig *rig, size_t count, const uint64_t *numbers);

/* An end says that it is down. */
void lane_rig_lose(struct bailey_port *port);

#endif
