/* core/schedule.h: messages that wait in the store until their time, of one lane.
 *
 *     put ──written, synced──→ kept ──(time)──→ due ──→ the lane sends it ──→ done: erased
 *                               ↑                        └── refused ──→ again, later ┘
 *
 * The store holds all of them, in the order of their times; only what is due in the next moments is in memory, so memory does not
 * grow with their number. There are two time lines: that of the state's clock, for waits (no setting of the wall clock shortens or
 * prolongs one), and that of the wall clock, for moments that a message names.
 *
 * What may have been taken when the process last died may have been sent: after a start that follows no clean end such entries are
 * marked. It is written in advance until when messages may be taken, so no jump of a clock hides one, and what became due while nothing
 * ran is not marked (but for the last second).
 * All on the lane's thread. Calls no clock but its host's and the table's. Rows: core/schedule_row.h.
 */
#ifndef BAILEY_SCHEDULE_H
#define BAILEY_SCHEDULE_H

#include <bailey/host.h>

#include "core/id.h"
#include "core/state.h"

struct schedule;

enum schedule_line {
    SCHEDULE_WAIT, /* due_ms is of the state's clock: bailey_now_ms() + table->clock_ms */
    SCHEDULE_WALL, /* due_ms is of the wall clock: ms since 1970 */
};

/* What is told of a message besides its bytes. */
struct schedule_note {
    int64_t due_ms;
    uint8_t line;               /* enum schedule_line */
    bool has_id;                /* its id (of the route's dedup) waits in the shard: it passes by ID_WAITING */
    bool in_doubt;              /* it may be at the sink */
    uint32_t attempts, counted; /* refusals; those that count against the route's `attempts` */
    int64_t first_failed_ms, last_failed_ms; /* wall clock; 0: it has not failed */
    /* The same for a message that its source gives again. The later entry replaces the earlier, or is marked if that was taken: of
     * the lane's last 65,000 or so. */
    struct id unique;
};

/* A message that is to be kept; in its delivery, stays in place until on_kept(). */
struct schedule_slot {
    struct schedule_note note;
    struct bailey_message *message; /* borrowed */
    struct schedule_slot *next;     /* the schedule's */
};

/* One that is due; the schedule's, until schedule_done() or schedule_again(). */
struct schedule_entry;

struct schedule_options {
    struct bailey_host *host;
    struct state_table *table;
    struct bailey_pool *messages; /* that due messages are made in */
    const char *route;            /* for the log */
    unsigned lane, lanes; /* a row of lane L belongs to lane L mod lanes, however many there were when it was written */
    size_t window_messages, window_bytes; /* in memory at most */
    /* These are durable now: settle. Several at once, never within a call. */
    void (*on_kept)(void *ctx, struct schedule_slot *slot);
    void (*on_kept_end)(void *ctx); /* also when schedule_count() has become known, or less */
    /* There may be something for schedule_take(). */
    void (*on_due)(void *ctx);
    /* Why it cannot work now (the store fails: tried again each second), "" when it can. Only when that changes. */
    void (*on_trouble)(void *ctx, const char *reason);
    void *ctx;
};

/* Begins to read. Never NULL. */
struct schedule *schedule_new(const struct schedule_options *options);

/* Gathered, until schedule_flush(): one write, one sync. */
void schedule_put(struct schedule *schedule, struct schedule_slot *slot);
void schedule_flush(struct schedule *schedule);

/* The next message whose time has come, in the order of times; NULL: none now (on_due() tells when there is). The caller gets the
 * message (one reference). A lane takes as many as it has credit for: what it leaves stays in the store. */
struct schedule_entry *schedule_take(struct schedule *schedule, struct bailey_message **message,
                                     struct schedule_note *note);

/* It has been sent, or is a dead letter: erase it (gathered, until schedule_flush()). */
void schedule_done(struct schedule *schedule, struct schedule_entry *entry);

/* It was refused: keep it until slot->note says (`unique` is that of the entry), in place of the entry; one write, gathered as above.
 * Answered by on_kept(slot). */
void schedule_again(struct schedule *schedule, struct schedule_entry *entry, struct schedule_slot *slot);

/* It was not sent, and is taken again later or by the next process: the lane drains. */
void schedule_leave(struct schedule *schedule, struct schedule_entry *entry, bool in_doubt);

/* How many messages are kept, taken ones included; a part of each write, so known after a crash. -1: not read yet. */
int64_t schedule_count(const struct schedule *schedule);

/* Nothing is asked from now on. What is gathered is written, and on_kept() called for it; `on_closed` when the table has let go of every
 * request, and it is written that the end was clean: unless an entry is still taken, or the store fails twice. */
void schedule_close(struct schedule *schedule, void (*on_closed)(void *ctx));
void schedule_free(struct schedule *schedule);

#endif
