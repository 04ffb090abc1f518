/* core/end.h: one end of a lane: opened, watched over, closed, and opened again after a back-off.
 *
 *     CLOSED → OPENING ⇄ UP ⇄ HELD → FAILED → CLOSING → WAITING → OPENING ...
 *                                     (or drained) → CLOSING → CLOSED
 */
#ifndef BAILEY_END_H
#define BAILEY_END_H

#include <bailey/connector.h>

#include "core/lane.h"

enum end_state {
    END_CLOSED,
    END_OPENING, /* open() was called; not up yet */
    END_UP,
    END_HELD,    /* works, but cannot take messages now */
    END_FAILED,  /* it said bailey_down(); close() follows */
    END_CLOSING, /* close() was called */
    END_WAITING, /* for its back-off */
    END_STATES
};

/* What an end is: by role with a source or a sink. */
struct end_kind {
    enum bailey_role role;
    const char *name; /* for people */
    const struct lane_end_options *options;
    const struct bailey_source *source;
    const struct bailey_sink *sink;
};

struct end {
    struct bailey_port port; /* first: a connector's `struct bailey_port *` is a `struct end *` */
    struct lane *lane;
    struct end_kind kind;
    enum end_state state;
    bool wanted;     /* open it again when it has failed */
    bool is_drained; /* source: pushes no more */
    void *self;      /* the connector's endpoint; NULL unless open */
    int64_t up_since_ms;
    struct bailey_backoff backoff;
    struct bailey_timer retry;
    struct bailey_task close_task;
    char reason[256]; /* why it is held, failed or waiting; "" when up */
};

void end_init(struct end *end, struct lane *lane, const struct end_kind *kind);
void end_open(struct end *end);

/* Close for good; ends in lane_on_end_closed(), perhaps within this call. */
void end_close(struct end *end);

static inline bool end_is_open(const struct end *end)
{
    return end->state == END_OPENING || end->state == END_UP || end->state == END_HELD;
}

/* ---- What a lane is told by its ends (lane.c) ---- */
void lane_on_end_changed(struct lane *lane, struct end *end);
void lane_on_end_lost(struct lane *lane, struct end *end);   /* closed: will be opened again, or not */
void lane_on_end_closed(struct lane *lane, struct end *end); /* closed for good */
void lane_on_drained(struct lane *lane);
void lane_on_finished(struct lane *lane);

#endif
