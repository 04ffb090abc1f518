/* core/lane_impl.h: what the files of a lane share: lane.c (its life), lane_refuse.c (what is refused), lane_schedule.c (what
 * waits in the store), lane_spill.c (what waits behind a refused one), lane_dedup.c (its ids).
 * Private to them. */
#ifndef BAILEY_LANE_IMPL_H
#define BAILEY_LANE_IMPL_H

#include "core/dedup.h"
#include "core/delivery.h"
#include "core/end.h"
#include "core/lane.h"
#include "core/order.h"
#include "core/outlet.h"
#include "core/recall.h"
#include "core/schedule.h"

enum { DELIVERIES_A_SLAB = 64 };

struct slab {
    struct slab *next;
    struct delivery items[DELIVERIES_A_SLAB];
};

/* Told to the source, many at once. */
struct settled {
    size_t count;
    struct bailey_settlement items[BATCH_MAX];
};

/* What a lane that keeps messages in the store has besides. */
struct lane_kept {
    struct schedule *schedule;
    int64_t keeping; /* being written */
    struct settled ended;
    bool is_closing, is_closed;
    char trouble[256]; /* why nothing can be kept now; "" if it can */
};

/* What a lane that reads dead letters back has besides. */
struct lane_reader {
    struct settled picked; /* left or removed: told in the next turn */
    bool has_enough;
    struct bailey_timer pace;
    int64_t paced_ms;
};

/* What a lane that deduplicates has besides. */
struct lane_ids {
    struct dedup_client *client;
    size_t asks_at;        /* the step that asks for the ids; what goes on goes on behind it */
    int64_t slots;         /* in the hands of shards */
    struct delivery asked; /* head of the ring of those that are to go on in the order of asking */
    struct batch going;    /* answered just now: these go on */
    struct settled ended;  /* and these are to be settled */
};

struct lane {
    struct lane_options options;
    struct bailey_host *host;
    struct end from;
    struct outlet to;
    struct outlet dead; /* closed for ever where the route has no dead letters */
    struct step steps[STEPS_MAX];
    size_t step_count;
    struct bailey_pool *messages;

    struct slab *slabs;
    struct delivery *free;
    struct delivery all; /* head of the ring of all deliveries, oldest first */

    uint64_t next_sequence;
    uint32_t epoch;                                /* openings of the source so far */
    int64_t unsettled, unsettled_bytes, mean_size; /* what takes credit */
    int64_t spilled, spilling;                     /* unsettled, too: on disk; on the way there, and still in memory */
    int64_t waiting;                               /* for their next attempt */
    int64_t dying;                                 /* on their way to the dead letters */
    int64_t blocking;                              /* hopeless, and with nowhere to go */
    int64_t received;                              /* of options.messages_max */

    bool room_wanted;    /* the source was told that there is no room */
    const char *stuck;   /* which outlet gives no verdict; NULL: none */
    const char *stalled; /* why no more is received, or soon; NULL: no reason */
    bool is_draining, is_finishing, is_stopping, is_ended;
    bool drain_source; /* to be told in the next turn */
    bool drain_told;   /* this opening of the source was told */
    bool was_up;       /* both ends have been up at least once */
    struct bailey_task work;
    struct bailey_timer tick;
    bool tick_runs;

    struct lane_ids *ids;       /* NULL: the route does not deduplicate */
    struct lane_kept *kept;     /* NULL: it keeps no messages */
    struct lane_spill *spill;   /* NULL: what is held stays in memory */
    struct lane_reader *reader; /* NULL: it reads no dead letters back */
    struct recall *recall;      /* NULL: nothing from the source was refused so far */
    struct order *order;        /* NULL: it keeps none */
    size_t order_at;            /* the step that keeps it; who was held goes on behind it */
    char block_reason[256];

    int64_t refusals_since_ms; /* of the current second of logging */
    unsigned refusals_logged, refusals_silent;
};

/* ---- lane.c ---- */

/* Through the steps from number `first` on, then ready. */
void lane_run_steps(struct lane *lane, struct batch *batch, size_t first);
/* Note how it ended, for whoever gave it: its source, or the schedule. `settled` has room. */
void lane_note_end(struct settled *settled, struct delivery *dlv, enum bailey_outcome outcome);
/* Tell the source what was noted, and begin anew. */
void lane_settle(struct lane *lane, struct settled *settled);
/* A new delivery of `msg`, which it takes; the last of all. */
struct delivery *lane_delivery_new(struct lane *lane, struct bailey_message *msg);
/* Its source need not be told (any more). */
void lane_let_go(struct lane *lane, struct delivery *dlv);
/* Those of `batch` have their turn, and go on behind the step that keeps the order. */
void lane_go_behind_order(struct lane *lane, struct batch *batch);
void lane_settle_as(struct lane *lane, struct delivery *dlv, enum bailey_outcome outcome);
/* It is at its end, as `outcome`: recorded where the route deduplicates, then settled as accepted. */
void lane_finish(struct lane *lane, struct delivery *dlv, enum id_outcome outcome);
/* It has somewhere to go again, or is gone. */
void lane_unblock(struct delivery *dlv);
/* It no longer waits, has a turn, or is on its way to the dead letters. */
void lane_delivery_let_off(struct delivery *dlv);
void lane_delivery_free(struct delivery *dlv);
/* Is there nothing that holds what could be sent? */
bool lane_may_send(const struct lane *lane);
/* Is there nothing that holds the source, but for the credit? */
bool lane_may_receive(const struct lane *lane);
/* From now on its message owns its bytes. */
void lane_detach(struct delivery *dlv);
/* Let those whose turn has come go on. */
void lane_go_in_turn(struct lane *lane);
/* Give to the source what waits, and what waits behind it. */
void lane_release_waiting(struct lane *lane);
void lane_show_gauges(struct lane *lane);
void lane_show_state(struct lane *lane);
void lane_work_soon(struct lane *lane);
void lane_check_ended(struct lane *lane);

/* ---- lane_refuse.c ---- */

/* Past its expiry: as the route says. */
void lane_expire(struct lane *lane, struct delivery *dlv);
/* It has passed too many gateways. */
static inline bool lane_loops(const struct delivery *dlv)
{
    unsigned most = dlv->lane->options.hops_max;

    return most > 0 && dlv->pub.message->hops > most;
}
void lane_refuse_loop(struct lane *lane, struct delivery *dlv);
/* Its source has lost it, and may give it again: remember how often it was refused. */
void lane_remember(struct lane *lane, const struct delivery *dlv);
/* It came just now: perhaps once more. */
void lane_recall(struct lane *lane, struct delivery *dlv);
/* It has waited for a part of its back-off when it came before: now for the rest. */
void lane_rest(struct lane *lane, struct delivery *dlv);
/* Its wait is over. */
void lane_wait_over(struct bailey_timer *timer);
/* Its message has been replaced by one that owns its bytes: what pointed into the old one is made anew, and it is ready. */
void lane_prepare_again(struct lane *lane, struct delivery *dlv);

/* ---- lane_reader.c ---- */

void lane_reader_begin(struct lane *lane);
void lane_reader_end(struct lane *lane);
/* A dead letter: false if it is not to be sent. */
bool lane_pick(struct lane *lane, struct delivery *dlv);
/* Tell the source what was picked. */
void lane_reader_settle(struct lane *lane);
/* Enough was received: what is in flight is finished, then the lane ends. */
void lane_finish_receiving(struct lane *lane);

/* ---- lane_schedule.c ---- */

void lane_schedule_begin(struct lane *lane);
void lane_schedule_end(struct lane *lane);
/* Keep it until `due_ms` (of the state's clock, or of the wall clock), then settle it as if the sink had it. */
void lane_keep(struct lane *lane, struct delivery *dlv, const struct schedule_note *when);
/* Let those whose time has come go, as far as there is credit. */
void lane_take_due(struct lane *lane);
/* Are messages kept in the store, whose time will come? */
bool lane_schedule_has_some(const struct lane *lane);
/* How many are kept; 0 while that is not known. */
int64_t lane_schedule_count(const struct lane *lane);
/* The lane ends: true when the schedule has ended, too; else lane_check_ended() is called when it has. */
bool lane_schedule_closed(struct lane *lane);

/* The state's clock. */
int64_t lane_state_ms(const struct lane *lane);

/* How many are being written to the schedule. */
static inline int64_t lane_keeping(const struct lane *lane)
{
    return lane->kept == NULL ? 0 : lane->kept->keeping;
}

/* Why nothing can be kept now, so that the source must be held; "" if it can. */
static inline const char *lane_schedule_trouble(const struct lane *lane)
{
    return lane->kept == NULL ? "" : lane->kept->trouble;
}

/* ---- lane_spill.c ---- */

void lane_spill_begin(struct lane *lane);
void lane_spill_end(struct lane *lane);
/* It is held: let it wait on disk, if it waits for a refused one, and such fill much of the credit. */
void lane_spill_put(struct lane *lane, struct delivery *dlv);
/* It was refused: so those behind it. */
void lane_spill_behind(struct lane *lane, const struct delivery *dlv);
/* Its turn has come. False: it is on disk, and goes on by itself when it has been read. */
bool lane_spill_back(struct lane *lane, struct delivery *dlv);
/* It is settled or forgotten. */
void lane_spill_forget(struct lane *lane, struct delivery *dlv);
void lane_spill_flush(struct lane *lane);
/* Why what is on disk cannot be read now; "" if it can. */
const char *lane_spill_trouble(const struct lane *lane);
/* The lane ends: true when nothing is asked of the store; else lane_check_ended() is called when it has answered. */
bool lane_spill_closed(struct lane *lane);

/* ---- lane_dedup.c ---- */

void lane_dedup_begin(struct lane *lane);
void lane_dedup_end(struct lane *lane);

/* It is at its end: record its id, then settle. */
void lane_dedup_record(struct lane *lane, struct delivery *dlv, enum id_outcome outcome);

/* It is not to be sent (again): give its id back, then free it. */
void lane_dedup_leave(struct lane *lane, struct delivery *dlv);

/* The lane ends: give all ids back, but for those of what is being written to the schedule. */
void lane_dedup_leave_all(struct lane *lane);

/* Why ids cannot be asked for now, so that the source must be held; "" if they can. */
const char *lane_dedup_trouble(const struct lane *lane);

/* Hand over what was gathered, for the shards and for the schedule: at the end of whatever may have asked. */
static inline void lane_flush(struct lane *lane)
{
    if (lane->ids != NULL)
        dedup_flush(lane->ids->client);
    if (lane->kept != NULL)
        schedule_flush(lane->kept->schedule);
    if (lane->spill != NULL)
        lane_spill_flush(lane);
}

/* Did it come from an opening of the source that is gone, or has the source lost it? Then it gives it again, to whomever. */
static inline bool lane_has_lost(const struct lane *lane, const struct delivery *dlv)
{
    return dlv->entry == NULL && (dlv->is_orphan || dlv->epoch != lane->epoch);
}

/* Sent, and without a verdict. */
static inline int64_t lane_out(const struct lane *lane)
{
    return lane->to.out + lane->dead.out;
}

/* How many ids shards hold for the lane. */
static inline int64_t lane_slots(const struct lane *lane)
{
    return lane->ids == NULL ? 0 : lane->ids->slots;
}

#endif
