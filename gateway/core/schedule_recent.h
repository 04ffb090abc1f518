/* core/schedule_recent.h: what was put into a schedule lately, by its `unique`: a source can give again only what it has not been told
 * to be done, or not known, and that was put a short while ago.
 *
 * A ring of the last RECENT_MAX events, the newest of each `unique` found by its hash. It is kept in the store as a log, one row a
 * write, so that it is known after a crash; rows leave it as their events leave the ring.
 */
#ifndef BAILEY_SCHEDULE_RECENT_H
#define BAILEY_SCHEDULE_RECENT_H

#include "core/schedule_row.h"

enum { RECENT_MAX = 1 << 17, RECENT_EVENT = 1 + 16 + 8 + 8 }; /* events; bytes of one in the log */

enum recent_state {
    RECENT_KEPT,
    RECENT_OUT,  /* taken: it may be at the sink */
    RECENT_DONE, /* erased: it is there, or a dead letter */
};

struct recent_event {
    struct row_key key; /* of its row */
    uint8_t state;      /* enum recent_state */
    bool ends_row;      /* the last of its row in the log, which has this stamp */
};

struct recent;

struct recent *recent_new(void);
void recent_free(struct recent *recent);

/* The newest of that `unique`, to be changed in place; valid until the next event. NULL: none. */
struct recent_event *recent_find(const struct recent *recent, struct id unique);

/* One more. True if the oldest, which leaves for it, ended a row: `ended` is its key, to be erased. */
bool recent_add(struct recent *recent, const struct recent_event *event, uint8_t ended[static RECENT_KEY]);

/* The newest ends a row of the log; returns its stamp, by which the row is named. */
uint64_t recent_end_row(struct recent *recent);

void recent_key_encode(uint16_t lane, uint64_t stamp, uint8_t out[static RECENT_KEY]);
/* An event in the log: of OUT as KEPT. */
void recent_event_encode(const struct recent_event *event, uint8_t out[static RECENT_EVENT]);
/* The lane is that of the log. */
bool recent_event_decode(const uint8_t in[static RECENT_EVENT], uint16_t lane, struct recent_event *event);

#endif
