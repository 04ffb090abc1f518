/* A lane: from received to settled.
 *
 *     bailey_receive → credit → steps → outlet (ready, sink.send) → (verdict) → source.settle
 *                                         ↑  ↑          │  └ refused for good → outlet of the dead letters → (verdict) → source.settle
 *               back-off of a refused one ┘  └ handed back (connection gone)
 *
 * Nothing is sent while the sink is not up; then the lane has no room either, so its source is held. Calls into the
 * sink and the source from within their own verdicts are avoided by doing them in the next turn (`work`).
 */
#include "core/lane.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "core/lane_impl.h"
#include "message/pool.h"

enum {
    TICK_MS = 250,
    STUCK_MS = 2000,   /* no verdict for that long while some are out: shown as held */
    DETACH_MS = 1000,  /* a message that waits longer owns its bytes, and pins no connector's buffer */
    DETACH_MAX = 1024, /* a tick */
};

/* ---- State, for people ---- */

static enum lane_state end_shows(const struct end *end, bool was_up)
{
    switch (end->state) {
    case END_UP:
        return LANE_RUNNING;
    case END_HELD:
        return LANE_HELD;
    case END_FAILED:
    case END_CLOSING:
    case END_WAITING:
        return LANE_DOWN;
    default: /* opening: it has failed before if there is a reason */
        return end->reason[0] != '\0' || was_up ? LANE_DOWN : LANE_STARTING;
    }
}

static enum lane_state lane_state(const struct lane *lane, char reason[static 320])
{
    enum lane_state from = end_shows(&lane->from, lane->was_up), to = end_shows(&lane->to.end, lane->was_up);

    reason[0] = '\0';
    if (lane->is_ended)
        return lane->is_finishing ? LANE_FINISHED : LANE_STOPPED;
    if (to != LANE_RUNNING && to >= from) {
        snprintf(reason, 320, "sink: %s", lane->to.end.reason[0] ? lane->to.end.reason : "connecting");
        return lane->is_draining ? LANE_DRAINING : to;
    }
    if (lane_dedup_trouble(lane)[0] != '\0') {
        snprintf(reason, 320, "state store: %s", lane_dedup_trouble(lane));
        return lane->is_draining ? LANE_DRAINING : lane->was_up ? LANE_HELD : LANE_STARTING;
    }
    if (lane_schedule_trouble(lane)[0] != '\0') {
        snprintf(reason, 320, "state store: %s", lane_schedule_trouble(lane));
        return lane->is_draining ? LANE_DRAINING : lane->was_up ? LANE_HELD : LANE_STARTING;
    }
    if (lane->is_draining)
        return LANE_DRAINING;
    if (lane_spill_trouble(lane)[0] != '\0') {
        snprintf(reason, 320, "state store: %s", lane_spill_trouble(lane));
        return LANE_HELD;
    }
    if (from != LANE_RUNNING) {
        snprintf(reason, 320, "source: %s", lane->from.reason[0] ? lane->from.reason : "connecting");
        return from;
    }
    if (lane->blocking > 0) {
        snprintf(reason, 320, "%s", lane->block_reason);
        return LANE_BLOCKED;
    }
    if (lane->dying > 0 && lane->dead.end.state != END_UP) {
        snprintf(reason, 320, "dead letters: %s", lane->dead.end.reason[0] ? lane->dead.end.reason : "connecting");
        return LANE_HELD;
    }
    if (lane->stuck != NULL) {
        snprintf(reason, 320, "%s: gives no confirm for what was sent", lane->stuck);
        return LANE_HELD;
    }
    if (lane->stalled != NULL) {
        snprintf(reason, 320, "%s", lane->stalled);
        return LANE_STALLED;
    }
    return LANE_RUNNING;
}

void lane_show_state(struct lane *lane)
{
    struct lane_status *status = lane->options.status;
    char reason[320];
    enum lane_state state = lane_state(lane, reason), before;

    if (state == LANE_RUNNING)
        lane->was_up = true;
    pthread_mutex_lock(&status->lock);
    before = status->state;
    bool changed = before != state || strcmp(status->reason, reason) != 0;

    if (changed) {
        if (before != state)
            status->since_ms = bailey_now_ms(lane->host);
        status->state = state;
        memcpy(status->reason, reason, sizeof reason);
    }
    pthread_mutex_unlock(&status->lock);
    if (changed)
        bailey_log(state >= LANE_HELD ? BAILEY_LOG_WARN : BAILEY_LOG_INFO, "route.state",
                   kv_str("route", lane->options.route), kv_u64("lane", lane->options.lane),
                   kv_str("from", lane_state_names[before]), kv_str("to", lane_state_names[state]),
                   kv_str("reason", reason));
}

/* How many more may be received, as long as the oldest one is not settled. (What the schedule gave has no place there.) */
static int64_t room_ahead(const struct lane *lane)
{
    const struct delivery *oldest = lane->all.next;

    if (lane->options.ahead_max == 0)
        return INT64_MAX;
    while (oldest != &lane->all && oldest->entry != NULL)
        oldest = oldest->next;
    return oldest == &lane->all ? INT64_MAX
                                : lane->options.ahead_max - (int64_t)(lane->next_sequence - oldest->sequence);
}

static const char *stall(const struct lane *lane)
{
    int64_t pending = lane->waiting + order_stuck(lane->order);

    if (pending > 0 && pending >= lane->options.credit_messages / 2)
        return "refused messages, and those that wait behind them, fill half of the credit";
    return room_ahead(lane) <= 0 ? "so many were received behind one that is not settled as retry.hold allows" : NULL;
}

static void see_stall(struct lane *lane)
{
    const char *stalled = stall(lane);

    if (stalled == lane->stalled)
        return;
    lane->stalled = stalled;
    lane_show_state(lane);
}

void lane_show_gauges(struct lane *lane)
{
    struct lane_status *status = lane->options.status;

    atomic_store_explicit(&status->unsettled, lane->unsettled + lane->spilled, memory_order_relaxed);
    atomic_store_explicit(&status->unsettled_bytes, lane->unsettled_bytes, memory_order_relaxed);
    atomic_store_explicit(&status->unconfirmed, lane_out(lane), memory_order_relaxed);
    atomic_store_explicit(&status->waiting, lane->waiting, memory_order_relaxed);
    atomic_store_explicit(&status->held, order_held(lane->order), memory_order_relaxed);
    atomic_store_explicit(&status->spilled, lane->spilled, memory_order_relaxed);
    atomic_store_explicit(&status->dead, lane->dying, memory_order_relaxed);
    atomic_store_explicit(&status->kept, lane_schedule_count(lane), memory_order_relaxed);
    see_stall(lane);
}

/* ---- Deliveries ---- */

static void add_slab(struct lane *lane)
{
    struct slab *slab = calloc(1, sizeof *slab);

    if (slab == NULL)
        abort(); /* the lane's credit bounds this: the machine is out of memory */
    slab->next = lane->slabs;
    lane->slabs = slab;
    for (int i = 0; i < DELIVERIES_A_SLAB; i++) {
        slab->items[i].next = lane->free;
        lane->free = &slab->items[i];
    }
}

struct delivery *lane_delivery_new(struct lane *lane, struct bailey_message *msg)
{
    if (lane->free == NULL)
        add_slab(lane);
    struct delivery *dlv = lane->free;

    lane->free = dlv->next;
    *dlv = (struct delivery){
        .pub = {.message = msg, .possible_duplicate = msg->redelivered},
        .lane = lane,
        .settlement = {.position = msg->position, .group = msg->group},
        .epoch = lane->epoch,
        .sequence = lane->next_sequence++,
        .received_ms = bailey_now_ms(lane->host),
        .size = msg->size,
        .retry = {.fire = lane_wait_over, .ctx = dlv},
        .prev = lane->all.prev,
        .next = &lane->all,
    };
    lane->all.prev->next = dlv;
    lane->all.prev = dlv;
    lane->unsettled++;
    lane->unsettled_bytes += (int64_t)dlv->size;
    return dlv;
}

void lane_unblock(struct delivery *dlv)
{
    struct lane *lane = dlv->lane;

    if (dlv->is_blocking && --lane->blocking == 0)
        lane_show_state(lane);
    dlv->is_blocking = false;
}

void lane_delivery_let_off(struct delivery *dlv)
{
    struct lane *lane = dlv->lane;

    if (dlv->state == DELIVERY_WAITING) {
        bailey_timer_stop(lane->host, &dlv->retry);
        lane->waiting--;
    }
    if (lane->order != NULL)
        order_leave(lane->order, dlv);
    lane_unblock(dlv);
    lane->dying -= dlv->is_dead;
    dlv->is_dead = false;
}

/* It is settled or forgotten. */
void lane_delivery_free(struct delivery *dlv)
{
    struct lane *lane = dlv->lane;

    lane_spill_forget(lane, dlv);
    lane_delivery_let_off(dlv);
    if (dlv->entry != NULL)
        schedule_leave(lane->kept->schedule, dlv->entry, dlv->is_in_doubt);
    lane->unsettled--;
    lane->unsettled_bytes -= (int64_t)dlv->size;
    dlv->prev->next = dlv->next;
    dlv->next->prev = dlv->prev;
    bailey_message_unref(dlv->pub.message);
    dlv->pub.message = NULL;
    dlv->next = lane->free;
    lane->free = dlv;
}

static struct delivery *own(struct lane *lane, struct bailey_delivery *pub, enum delivery_state expected)
{
    struct delivery *dlv = (struct delivery *)pub;

    assert(dlv->lane == lane);
    assert(dlv->state == expected); /* fails when a sink gives two verdicts */
    return dlv;
}

/* ---- Sending ---- */

static void tick_due(struct bailey_timer *timer);

static void start_tick(struct lane *lane)
{
    if (lane->tick_runs)
        return;
    lane->tick_runs = true;
    bailey_timer_start(lane->host, &lane->tick, TICK_MS);
}

/* Not while it drains: what is refused then is left to the source, and none may pass it. */
static bool may_begin(const struct lane *lane)
{
    return !lane->is_draining || lane->is_finishing;
}

/* Not what is past its expiry, or has a back-off to wait for. What is sent at a slow pace is left at a drain: who interrupts it does not
 * want to see it go on. */
static bool admit(struct delivery *dlv)
{
    const struct bailey_message *msg = dlv->pub.message;
    struct lane *lane = dlv->lane;

    if (!may_begin(lane) && lane->to.is_paced) {
        lane_settle_as(lane, dlv, BAILEY_RELEASED);
        return false;
    }
    if (msg->expires_at_ms != 0 && msg->expires_at_ms <= bailey_wall_ms(lane->host))
        lane_expire(lane, dlv);
    else if (dlv->rest_until_ms != 0 && dlv->rest_until_ms > bailey_now_ms(lane->host))
        lane_rest(lane, dlv);
    else
        return true;
    lane_work_soon(lane); /* those behind it may go on */
    return false;
}

/* Send what is ready, as far as the sinks take it. */
static void dispatch(struct lane *lane)
{
    outlet_send(&lane->to, admit);
    outlet_send(&lane->dead, NULL);
    lane_flush(lane); /* of what was not admitted */
    if (lane_out(lane) + (int64_t)(lane->to.len + lane->dead.len) > 0)
        start_tick(lane);
}

static void check_drained(struct lane *lane);

bool lane_may_send(const struct lane *lane)
{
    return lane->to.end.state == END_UP && lane->blocking == 0 && lane_dedup_trouble(lane)[0] == '\0' &&
           lane_schedule_trouble(lane)[0] == '\0';
}

bool lane_may_receive(const struct lane *lane)
{
    return lane_may_send(lane) && !lane->is_draining;
}

/* Once each opening: one that was lost and came back while the lane drains has to be told, too. */
static void tell_drain(struct lane *lane)
{
    if (lane->drain_told || lane->from.self == NULL || !end_is_open(&lane->from))
        return;
    lane->drain_told = true;
    lane->drain_source = false;
    lane->options.source->drain(lane->from.self);
}

/* Things to do in the next turn, outside of any call of the ends. */
static void do_work(struct bailey_task *task)
{
    struct lane *lane = task->ctx;

    lane_reader_settle(lane);
    lane_take_due(lane);
    lane_go_in_turn(lane);
    dispatch(lane);
    if (lane->drain_source)
        tell_drain(lane);
    if (lane->room_wanted && end_is_open(&lane->from) && lane->from.self != NULL && lane_may_receive(lane) &&
        lane->unsettled <= lane->options.credit_messages / 2 &&
        lane->unsettled_bytes <= lane->options.credit_bytes / 2 && room_ahead(lane) > 0) {
        lane->room_wanted = false;
        lane->options.source->resume(lane->from.self);
    }
    lane_show_gauges(lane); /* also of what changed without a verdict: a back-off that is over, waiting ones let go */
    check_drained(lane);
}

void lane_work_soon(struct lane *lane)
{
    bailey_again(lane->host, &lane->work);
}

/* ---- Receiving ---- */

struct bailey_message *bailey_message_new(struct bailey_port *port)
{
    return message_new(((struct end *)port)->lane->messages);
}

size_t bailey_room(const struct bailey_port *port)
{
    struct lane *lane = ((const struct end *)port)->lane;
    int64_t left = lane->options.credit_messages - lane->unsettled;
    int64_t bytes_left = lane->options.credit_bytes - lane->unsettled_bytes, ahead = room_ahead(lane);

    if (!lane_may_receive(lane) || left <= 0 || bytes_left <= 0 || ahead <= 0) {
        lane->room_wanted = true;
        return 0;
    }
    if (ahead < left)
        left = ahead;
    if (lane->options.messages_max > 0 && lane->options.messages_max - lane->received < left)
        left = lane->options.messages_max - lane->received;
    /* Bytes come in messages of which only the size of earlier ones is known. */
    int64_t by_bytes = bytes_left / (lane->mean_size + 1) + 1;

    return (size_t)(by_bytes < left ? by_bytes : left);
}

void lane_run_steps(struct lane *lane, struct batch *batch, size_t first)
{
    for (size_t i = first; i < lane->step_count && batch->count > 0; i++)
        lane->steps[i].run(&lane->steps[i], batch);
    for (size_t i = 0; i < batch->count; i++) {
        batch->items[i]->is_prepared = true;
        outlet_push(&lane->to, batch->items[i], true);
    }
}

/* ---- Order ---- */

/* While the lane drains none begins: one before it may have been left to the source already. */
void lane_line_up(struct batch *batch)
{
    struct lane *lane = batch->items[0]->lane;
    size_t kept = 0;

    for (size_t i = 0; i < batch->count; i++) {
        struct delivery *dlv = batch->items[i];

        if (!may_begin(lane) && order_is_new(lane->order, dlv))
            lane_settle_as(lane, dlv, BAILEY_RELEASED);
        else if (order_enter(lane->order, dlv))
            batch->items[kept++] = dlv;
        else
            lane_spill_put(lane, dlv);
    }
    batch->count = kept;
}

/* Behind the step that held them; if the message of one was replaced meanwhile, with all steps. */
void lane_go_behind_order(struct lane *lane, struct batch *batch)
{
    bool is_detached = false;

    for (size_t i = 0; i < batch->count; i++)
        is_detached |= batch->items[i]->is_detached;
    lane_run_steps(lane, batch, is_detached ? 0 : lane->order_at + 1);
}

void lane_go_in_turn(struct lane *lane)
{
    struct batch batch;

    if (lane->order == NULL)
        return;
    do { /* a step may refuse one, and with that let another one go on */
        struct delivery *dlv;

        batch.count = 0;
        while (batch.count < BATCH_MAX && (dlv = order_next(lane->order)) != NULL)
            if (lane_spill_back(lane, dlv))
                batch.items[batch.count++] = dlv;
        if (batch.count > 0)
            lane_go_behind_order(lane, &batch);
    } while (batch.count > 0);
}

/* ---- Receiving, in batches ---- */

void lane_finish_receiving(struct lane *lane)
{
    lane->is_draining = lane->is_finishing = lane->drain_source = true;
    lane_show_state(lane);
    lane_work_soon(lane);
}

/* One gateway more. */
static void count_hop(struct bailey_message *msg)
{
    if (msg->hops < UINT8_MAX)
        msg->hops++;
}

static void receive_batch(struct lane *lane, struct bailey_message *const messages[], size_t count)
{
    struct batch batch;
    int64_t bytes = 0;

    batch.count = 0; /* and the rest as it is: it has room for many */
    for (size_t i = 0; i < count; i++) {
        messages[i]->size = message_size(messages[i]);
        bytes += (int64_t)messages[i]->size;
        struct delivery *dlv = lane_delivery_new(lane, messages[i]);

        if (lane->reader != NULL && !lane_pick(lane, dlv))
            continue;
        count_hop(messages[i]);
        if (lane->recall != NULL && recall_has_some(lane->recall))
            lane_recall(lane, dlv);
        if (lane_loops(dlv))
            lane_refuse_loop(lane, dlv);
        else
            batch.items[batch.count++] = dlv;
    }
    lane->mean_size += (bytes / (int64_t)count - lane->mean_size) / 8;
    status_add(&lane->options.status->received, (int64_t)count);
    status_add(&lane->options.status->received_bytes, bytes);
    lane_run_steps(lane, &batch, 0);
}

/* With messages_max: what is beyond it goes back unsettled, and the lane finishes. Returns how many count. */
static size_t limit(struct lane *lane, struct bailey_message *const batch[], size_t count)
{
    size_t left = (size_t)(lane->options.messages_max - lane->received);
    size_t kept = count < left ? count : left;

    for (size_t i = kept; i < count; i++)
        bailey_message_unref(batch[i]);
    lane->received += (int64_t)kept;
    if (kept == left && !lane->is_draining)
        lane_finish_receiving(lane);
    return kept;
}

void bailey_receive(struct bailey_port *source, struct bailey_message *const batch[], size_t count)
{
    struct lane *lane = ((struct end *)source)->lane;

    assert(source == &lane->from.port);
    if (lane->options.messages_max > 0)
        count = limit(lane, batch, count);
    for (size_t done = 0; done < count; done += BATCH_MAX)
        receive_batch(lane, batch + done, count - done < BATCH_MAX ? count - done : BATCH_MAX);
    if (count > 0) {
        lane_flush(lane);
        dispatch(lane);
        if (lane_slots(lane) > 0)
            start_tick(lane);
        lane_show_gauges(lane);
    }
}

/* ---- Settling ---- */

void lane_note_end(struct settled *settled, struct delivery *dlv, enum bailey_outcome outcome)
{
    struct lane *lane = dlv->lane;

    if (dlv->entry != NULL && outcome == BAILEY_ACCEPTED) {
        schedule_done(lane->kept->schedule, dlv->entry);
        dlv->entry = NULL;
    } else if (dlv->entry == NULL && dlv->epoch == lane->epoch) {
        settled->items[settled->count] = dlv->settlement;
        settled->items[settled->count++].outcome = outcome;
    }
}

void lane_settle(struct lane *lane, struct settled *settled)
{
    size_t count = settled->count;

    settled->count = 0;
    if (count > 0 && lane->from.self != NULL && lane->from.state != END_CLOSING) {
        CRASH_POINT(before_settle, lane->options.route);
        lane->options.source->settle(lane->from.self, settled->items, count);
    }
}

void lane_let_go(struct lane *lane, struct delivery *dlv)
{
    if (dlv->holds_slot)
        lane_dedup_leave(lane, dlv);
    else
        lane_delivery_free(dlv);
}

void lane_settle_as(struct lane *lane, struct delivery *dlv, enum bailey_outcome outcome)
{
    struct settled ended;

    ended.count = 0;
    lane_note_end(&ended, dlv, outcome);
    lane_let_go(lane, dlv);
    lane_settle(lane, &ended);
}

void lane_finish(struct lane *lane, struct delivery *dlv, enum id_outcome outcome)
{
    if (dlv->holds_slot)
        lane_dedup_record(lane, dlv, outcome);
    else
        lane_settle_as(lane, dlv, BAILEY_ACCEPTED);
}

static void note_latency(struct lane_status *status, int64_t took_ms)
{
    int bucket = 0;

    while (bucket < LATENCY_BUCKETS - 1 && took_ms > latency_bounds_ms[bucket])
        bucket++;
    status_add(&status->latency_count[bucket], 1);
    status_add(&status->latency_sum_ms, took_ms);
}

static void after_verdicts(struct lane *lane, struct outlet *outlet)
{
    outlet->last_verdict_ms = bailey_now_ms(lane->host);
    lane_go_in_turn(lane);
    lane_flush(lane);
    if (lane->stuck != NULL) {
        lane->stuck = NULL;
        lane_show_state(lane);
    }
    lane_show_gauges(lane);
    if (lane->room_wanted || lane->is_draining || lane->to.len > 0 || lane->dead.len > 0 || lane->kept != NULL)
        lane_work_soon(lane);
}

static void confirm_batch(struct lane *lane, struct bailey_delivery *const batch[], size_t count)
{
    struct settled ended;
    int64_t now_ms = bailey_now_ms(lane->host);

    ended.count = 0;
    for (size_t i = 0; i < count; i++) {
        struct delivery *dlv = own(lane, batch[i], DELIVERY_OUT);

        note_latency(lane->options.status, now_ms - dlv->received_ms);
        if (dlv->holds_slot) {
            lane_dedup_record(lane, dlv, dlv->is_dead ? ID_DEAD : ID_CONFIRMED);
            continue;
        }
        lane_note_end(&ended, dlv, BAILEY_ACCEPTED);
        lane_delivery_free(dlv);
    }
    lane_settle(lane, &ended);
}

void bailey_confirm(struct bailey_port *sink, struct bailey_delivery *const batch[], size_t count)
{
    struct outlet *outlet = (struct outlet *)sink;
    struct lane *lane = outlet->end.lane;
    struct lane_status *status = lane->options.status;

    CRASH_POINT(before_confirm, lane->options.route);
    for (size_t done = 0; done < count; done += BATCH_MAX)
        confirm_batch(lane, batch + done, count - done < BATCH_MAX ? count - done : BATCH_MAX);
    outlet->out -= (int64_t)count;
    status_add(outlet == &lane->to ? &status->delivered : &status->dead_lettered, (int64_t)count);
    if (lane->ids != NULL)
        CRASH_POINT(before_record, lane->options.route);
    after_verdicts(lane, outlet);
}

void bailey_hand_back(struct bailey_port *sink, struct bailey_delivery *const batch[], size_t count, bool in_doubt)
{
    struct outlet *outlet = (struct outlet *)sink;
    struct lane *lane = outlet->end.lane;

    for (size_t i = 0; i < count; i++) {
        struct delivery *dlv = own(lane, batch[i], DELIVERY_OUT);

        outlet->out--;
        dlv->state = DELIVERY_READY;
        dlv->is_in_doubt |= in_doubt;
        if (lane_has_lost(lane, dlv)) { /* its source gives it to someone else, or once more */
            lane_settle_as(lane, dlv, BAILEY_RELEASED);
            continue;
        }
        if (in_doubt) {
            dlv->pub.possible_duplicate = true;
            status_add(&lane->options.status->in_doubt, 1);
        }
        outlet_push(outlet, dlv, false);
    }
    after_verdicts(lane, outlet);
}

void bailey_refuse(struct bailey_port *sink, struct bailey_delivery *pub, const struct bailey_error *err)
{
    struct outlet *outlet = (struct outlet *)sink;
    struct lane *lane = outlet->end.lane;
    struct delivery *dlv = own(lane, pub, DELIVERY_OUT);

    outlet->out--;
    dlv->state = DELIVERY_READY;
    lane_refuse(lane, dlv, err);
    after_verdicts(lane, outlet);
}

/* ---- Lost by the source ---- */

static bool is_not_orphan(const struct delivery *dlv)
{
    return !dlv->is_orphan;
}

/* At the sink, in the store, or on the way there: it goes on without its source. */
static bool is_away(const struct delivery *dlv)
{
    return dlv->state == DELIVERY_OUT || dlv->state == DELIVERY_RECORDING || dlv->state == DELIVERY_KEEPING;
}

/* Forget what has not been sent of a group, or of the whole source. Returns how many are still out. */
static size_t forget(struct lane *lane, bool all_groups, uint32_t group)
{
    size_t out = 0, ready = 0;

    for (struct delivery *dlv = lane->all.next; dlv != &lane->all; dlv = dlv->next) {
        if (dlv->entry != NULL || dlv->epoch != lane->epoch || (!all_groups && dlv->settlement.group != group) ||
            dlv->state == DELIVERY_LEAVING)
            continue;
        if (!dlv->is_orphan && dlv->state != DELIVERY_RECORDING)
            lane_remember(lane, dlv);
        dlv->is_orphan = true;
        out += is_away(dlv);
        ready += dlv->state == DELIVERY_READY;
    }
    if (ready > 0) {
        outlet_rebuild(&lane->to, is_not_orphan);
        outlet_rebuild(&lane->dead, is_not_orphan);
    }
    for (struct delivery *dlv = lane->all.next, *next; dlv != &lane->all; dlv = next) {
        next = dlv->next;
        if (dlv->is_orphan && !is_away(dlv) && dlv->state != DELIVERY_LEAVING)
            lane_let_go(lane, dlv);
    }
    lane_flush(lane);
    lane_show_gauges(lane);
    lane_work_soon(lane);
    return out;
}

size_t bailey_revoke(struct bailey_port *source, uint32_t group)
{
    return forget(((struct end *)source)->lane, false, group);
}

/* ---- The tick: while something is out or held ---- */

void lane_detach(struct delivery *dlv)
{
    if (dlv->is_detached)
        return;
    dlv->pub.message = bailey_message_detach(dlv->pub.message);
    dlv->is_detached = true;
    dlv->is_prepared = false; /* its address and its id pointed into the old one */
    dlv->pub.id = BAILEY_NULL_BYTES;
}

static void detach_old(struct lane *lane, struct outlet *outlet)
{
    int64_t before_ms = bailey_now_ms(lane->host) - DETACH_MS;
    size_t done = 0;

    for (size_t i = 0; i < outlet->len && done < DETACH_MAX; i++) {
        struct delivery *dlv = outlet_at(outlet, i);

        if (dlv->received_ms > before_ms || dlv->is_detached)
            continue;
        lane_detach(dlv);
        done++;
    }
    if (done == 0)
        return;
    /* Addresses pointed into what was let go: they are made anew for what was detached. */
    size_t len = outlet->len;

    for (size_t i = 0; i < len; i++) {
        struct delivery *dlv = outlet_pop(outlet);

        if (dlv->is_prepared)
            outlet_push(outlet, dlv, true);
        else
            lane_prepare_again(lane, dlv);
    }
}

/* What waits for its id (for another one with the same id, perhaps), or for its turn, is at no place that the steps would have to
 * see again. */
static void detach_pending(struct lane *lane)
{
    int64_t before_ms = bailey_now_ms(lane->host) - DETACH_MS;
    size_t done = 0;

    for (struct delivery *dlv = lane->all.next; dlv != &lane->all && dlv->received_ms <= before_ms && done < DETACH_MAX;
         dlv = dlv->next)
        if ((dlv->state == DELIVERY_ASKING || dlv->state == DELIVERY_HELD) && !dlv->is_detached) {
            lane_detach(dlv);
            done++;
        }
}

static void see_silence(struct lane *lane, const struct outlet *outlet, const char *name)
{
    if (lane->stuck != NULL || outlet->out == 0 || bailey_now_ms(lane->host) - outlet->last_verdict_ms < STUCK_MS)
        return;
    lane->stuck = name;
    lane_show_state(lane);
}

static void tick_due(struct bailey_timer *timer)
{
    struct lane *lane = timer->ctx;

    lane->tick_runs = false;
    see_silence(lane, &lane->to, "sink");
    see_silence(lane, &lane->dead, "dead letters");
    detach_old(lane, &lane->to);
    detach_old(lane, &lane->dead);
    if (lane_slots(lane) + order_held(lane->order) > 0)
        detach_pending(lane);
    if (lane_out(lane) + (int64_t)(lane->to.len + lane->dead.len) + lane_slots(lane) + order_held(lane->order) > 0)
        start_tick(lane);
}

/* ---- What the ends tell ---- */

static bool is_outlet(const struct lane *lane, const struct end *end)
{
    return end != &lane->from;
}

void lane_on_end_changed(struct lane *lane, struct end *end)
{
    if (is_outlet(lane, end) && end->state == END_UP)
        ((struct outlet *)end)->is_full = false;
    if (is_outlet(lane, end) && end->state != END_UP)
        lane->stuck = NULL;
    if (end == &lane->from && end->state == END_UP && lane->is_draining && !end->is_drained)
        lane->drain_source = true;
    lane_show_state(lane);
    lane_work_soon(lane);
}

/* While it drains, dead letters that cannot be sent now are left to their source. */
static void release_dead(struct lane *lane)
{
    while (lane->dead.len > 0 && !outlet_is_up(&lane->dead))
        lane_settle_as(lane, outlet_pop(&lane->dead), BAILEY_RELEASED);
}

void lane_on_end_lost(struct lane *lane, struct end *end)
{
    if (is_outlet(lane, end)) {
        assert(((struct outlet *)end)->out == 0); /* fails when a sink closes without a verdict for each delivery */
        ((struct outlet *)end)->is_full = false;
        if (!may_begin(lane))
            release_dead(lane);
    } else {
        forget(lane, true, 0);
        lane->epoch++; /* what is still out is settled with nobody */
        lane->room_wanted = lane->drain_told = false;
    }
    if (end->wanted)
        status_add(&lane->options.status->restarts, 1);
}

static bool outlets_are_closed(const struct lane *lane)
{
    return lane->to.end.state == END_CLOSED && lane->dead.end.state == END_CLOSED;
}

/* All ends are closed, and no shard has anything of this lane. */
void lane_check_ended(struct lane *lane)
{
    if (lane->is_ended || lane->from.state != END_CLOSED || !outlets_are_closed(lane))
        return;
    lane->to.len = lane->dead.len = 0; /* nothing is sent any more, and what was ready may be let go of */
    if (lane_slots(lane) > 0)
        lane_dedup_leave_all(lane);            /* answered by lane_check_ended() */
    if (lane_slots(lane) > lane_keeping(lane)) /* what the schedule writes keeps its id until that is answered */
        return;
    if (!lane_schedule_closed(lane) || !lane_spill_closed(lane) || lane_slots(lane) > 0)
        return;
    lane->is_ended = true;
    bailey_again_stop(lane->host, &lane->work);
    bailey_timer_stop(lane->host, &lane->tick);
    lane->tick_runs = false;
    lane_show_gauges(lane);
    lane_show_state(lane);
    lane->options.on_ended(lane, lane->options.ctx);
}

static void close_outlets(struct lane *lane)
{
    if (lane->dead.end.state != END_CLOSED)
        end_close(&lane->dead.end);
    end_close(&lane->to.end);
}

void lane_on_end_closed(struct lane *lane, struct end *end)
{
    if (lane->is_ended)
        return;
    if (lane->from.state == END_CLOSED && outlets_are_closed(lane))
        lane_check_ended(lane);
    else if (end == &lane->from && !lane->is_stopping)
        close_outlets(lane);
    else if (is_outlet(lane, end) &&
             outlets_are_closed(lane)) /* stopping: sinks were closed first, so that nothing is out */
        end_close(&lane->from);
}

void bailey_writable(struct bailey_port *port)
{
    struct outlet *outlet = (struct outlet *)port;

    if (!outlet->is_full)
        return;
    outlet->is_full = false;
    lane_work_soon(outlet->end.lane);
}

void bailey_lag(struct bailey_port *port, int64_t messages)
{
    atomic_store_explicit(&((struct end *)port)->lane->options.status->source_lag, messages, memory_order_relaxed);
}

void bailey_not_removed(struct bailey_port *port, int64_t messages)
{
    atomic_store_explicit(&((struct end *)port)->lane->options.status->not_removed, messages, memory_order_relaxed);
}

/* ---- Draining and stopping ---- */

static void check_drained(struct lane *lane)
{
    if (!lane->is_draining || lane->is_stopping || lane->is_ended || lane->unsettled + lane->spilled > 0 ||
        (lane->is_finishing && lane_schedule_has_some(lane)))
        return;
    bool is_receiving = lane->from.state == END_UP || lane->from.state == END_HELD;

    if (lane->from.wanted && (lane->from.is_drained || !is_receiving))
        end_close(&lane->from);
}

void lane_on_drained(struct lane *lane)
{
    lane_work_soon(lane);
}

void lane_on_finished(struct lane *lane)
{
    if (lane->is_draining)
        return;
    lane->is_draining = lane->is_finishing = true;
    lane_show_state(lane);
    lane_work_soon(lane);
}

static void release(struct lane *lane, enum delivery_state state)
{
    for (struct delivery *dlv = lane->all.next, *next; dlv != &lane->all; dlv = next) {
        next = dlv->next;
        if (dlv->state == state)
            lane_settle_as(lane, dlv, BAILEY_RELEASED);
    }
}

void lane_release_waiting(struct lane *lane)
{
    release(lane, DELIVERY_HELD); /* first: none may pass the one that it waits for */
    release(lane, DELIVERY_LOADING);
    release(lane, DELIVERY_WAITING);
    release_dead(lane);
    lane_flush(lane);
}

void lane_drain(struct lane *lane)
{
    if (lane->is_ended || lane->is_stopping)
        return;
    lane->is_draining = true;
    lane->is_finishing = false;
    lane_release_waiting(lane);
    if (!lane->from.is_drained)
        tell_drain(lane);
    lane_show_state(lane);
    lane_work_soon(lane);
}

void lane_stop(struct lane *lane)
{
    if (lane->is_ended || lane->is_stopping)
        return;
    lane->is_draining = lane->is_stopping = true;
    lane->is_finishing = false;
    close_outlets(lane);
}

/* ---- Life ---- */

static void make_ends(struct lane *lane)
{
    const struct lane_options *options = &lane->options;
    const struct lane_dead_letters *dead = options->dead_letters;

    end_init(&lane->from, lane, &(struct end_kind){BAILEY_SOURCE, "source", &options->from, options->source, NULL});
    end_init(&lane->to.end, lane, &(struct end_kind){BAILEY_SINK, "sink", &options->to, NULL, options->sink});
    if (dead != NULL)
        end_init(&lane->dead.end, lane, &(struct end_kind){BAILEY_SINK, "dead letters", &dead->to, NULL, dead->sink});
}

static void make_order(struct lane *lane)
{
    const struct lane_options *options = &lane->options;

    if (options->order == BAILEY_ORDER_NONE)
        return;
    lane->order = order_new(options->order, lane->host);
    lane->order_at = options->key != NULL; /* steps.c: behind the key */
}

struct lane *lane_new(struct bailey_host *host, const struct lane_options *options)
{
    struct lane *lane = calloc(1, sizeof *lane);

    if (lane == NULL)
        abort();
    lane->options = *options;
    lane->host = host;
    lane->all.next = lane->all.prev = &lane->all;
    lane->messages = message_pool_new();
    lane->step_count = steps_build(lane->steps, &lane->options);
    lane_dedup_begin(lane);
    lane_schedule_begin(lane);
    lane_spill_begin(lane);
    lane_reader_begin(lane);
    make_order(lane);
    lane->work = (struct bailey_task){.run = do_work, .ctx = lane};
    lane->tick = (struct bailey_timer){.fire = tick_due, .ctx = lane};
    make_ends(lane);
    return lane;
}

void lane_start(struct lane *lane)
{
    end_open(&lane->to.end); /* first: there is no room until it is up */
    if (lane->options.dead_letters != NULL)
        end_open(&lane->dead.end);
    end_open(&lane->from);
    lane_show_state(lane);
}

bool lane_is_ended(const struct lane *lane)
{
    return lane->is_ended;
}

void lane_free(struct lane *lane)
{
    if (lane == NULL)
        return;
    assert(lane->is_ended);
    while (lane->all.next != &lane->all)
        lane_delivery_free(lane->all.next);
    while (lane->slabs != NULL) {
        struct slab *slab = lane->slabs;

        lane->slabs = slab->next;
        free(slab);
    }
    bailey_again_stop(lane->host, &lane->work);
    bailey_timer_stop(lane->host, &lane->tick); /* a wait that was over since may have started it */
    lane_dedup_end(lane);
    lane_schedule_end(lane);
    lane_spill_end(lane);
    lane_reader_end(lane);
    recall_free(lane->recall);
    order_free(lane->order);
    message_pool_free(lane->messages);
    outlet_free(&lane->to);
    outlet_free(&lane->dead);
    free(lane);
}
