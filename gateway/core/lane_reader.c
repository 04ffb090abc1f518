/* A lane that reads dead letters back: each is sent again, left, or removed, as whoever runs it picks. */
#include <stdlib.h>

#include "core/lane_impl.h"
#include "core/replay.h"

enum { PACE_MS = 50 };

/* Told in the next turn: now the source is handing over. */
static void note(struct lane *lane, struct delivery *dlv, enum bailey_outcome outcome)
{
    struct settled *picked = &lane->reader->picked;

    lane_note_end(picked, dlv, outcome);
    lane_delivery_free(dlv);
    if (picked->count == BATCH_MAX)
        lane_settle(lane, picked);
    lane_work_soon(lane);
}

bool lane_pick(struct lane *lane, struct delivery *dlv)
{
    const struct lane_dead_reader *how = lane->options.reader;

    switch (lane->reader->has_enough ? LANE_PICK_STOP : how->pick(how->ctx, dlv->pub.message)) {
    case LANE_PICK_SEND:
        replay_unwrap(&lane->options, lane->host, dlv);
        return true;
    case LANE_PICK_REMOVE:
        note(lane, dlv, BAILEY_ACCEPTED);
        return false;
    case LANE_PICK_STOP:
        if (!lane->reader->has_enough) {
            lane->reader->has_enough = true;
            lane_finish_receiving(lane);
        }
        break;
    case LANE_PICK_LEAVE:
        break;
    }
    note(lane, dlv, BAILEY_RELEASED);
    return false;
}

void lane_reader_settle(struct lane *lane)
{
    if (lane->reader != NULL)
        lane_settle(lane, &lane->reader->picked);
}

/* ---- Rate ---- */

static void pace(struct bailey_timer *timer)
{
    struct lane *lane = timer->ctx;
    int64_t rate = lane->options.reader->rate, now_ms = bailey_now_ms(lane->host);
    int64_t more = (now_ms - lane->reader->paced_ms) * rate / 1000;

    if (more > 0) {
        lane->reader->paced_ms += more * 1000 / rate;
        lane->to.allowance += more;
        if (lane->to.allowance > rate)
            lane->to.allowance = rate; /* what was not used is not saved up for long */
        lane_work_soon(lane);
    }
    bailey_timer_start(lane->host, &lane->reader->pace, PACE_MS);
}

/* ---- Life ---- */

void lane_reader_begin(struct lane *lane)
{
    if (lane->options.reader == NULL)
        return;
    if ((lane->reader = calloc(1, sizeof *lane->reader)) == NULL)
        abort(); /* at the start */
    lane->reader->pace = (struct bailey_timer){.fire = pace, .ctx = lane};
    if (lane->options.reader->rate == 0)
        return;
    lane->to.is_paced = true;
    lane->reader->paced_ms = bailey_now_ms(lane->host);
    bailey_timer_start(lane->host, &lane->reader->pace, PACE_MS);
}

void lane_reader_end(struct lane *lane)
{
    if (lane->reader == NULL)
        return;
    bailey_timer_stop(lane->host, &lane->reader->pace);
    free(lane->reader);
}
