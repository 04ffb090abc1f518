/* A lane: from received to settled.
 *
 *     bailey_receive → credit → steps → ready ring → sink.send → (verdict) → source.settle
 *                                         ↑  ↑          │
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
    REFUSED_BACKOFF_MIN_MS = 1000,
    REFUSED_BACKOFF_MAX_MS = 60000,
    TICK_MS = 250,
    STUCK_MS = 2000,     /* no verdict for that long while some are out: shown as held */
    DETACH_MS = 1000,    /* a message that waits longer owns its bytes, and pins no connector's buffer */
    DETACH_MAX = 1024,   /* a tick */
    REFUSALS_LOGGED = 5, /* a second; more are counted and told in one line */
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
    enum lane_state from = end_shows(&lane->from, lane->was_up), to = end_shows(&lane->to, lane->was_up);

    reason[0] = '\0';
    if (lane->is_ended)
        return lane->is_finishing ? LANE_FINISHED : LANE_STOPPED;
    if (to != LANE_RUNNING && to >= from) {
        snprintf(reason, 320, "sink: %s", lane->to.reason[0] ? lane->to.reason : "connecting");
        return lane->is_draining ? LANE_DRAINING : to;
    }
    if (lane_dedup_trouble(lane)[0] != '\0') {
        snprintf(reason, 320, "state store: %s", lane_dedup_trouble(lane));
        return lane->is_draining ? LANE_DRAINING : lane->was_up ? LANE_HELD : LANE_STARTING;
    }
    if (lane->is_draining)
        return LANE_DRAINING;
    if (from != LANE_RUNNING) {
        snprintf(reason, 320, "source: %s", lane->from.reason[0] ? lane->from.reason : "connecting");
        return from;
    }
    if (lane->is_stuck) {
        snprintf(reason, 320, "sink: gives no confirm for what was sent");
        return LANE_HELD;
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

void lane_show_gauges(struct lane *lane)
{
    struct lane_status *status = lane->options.status;

    atomic_store_explicit(&status->unsettled, lane->unsettled, memory_order_relaxed);
    atomic_store_explicit(&status->unsettled_bytes, lane->unsettled_bytes, memory_order_relaxed);
    atomic_store_explicit(&status->unconfirmed, lane->out, memory_order_relaxed);
    atomic_store_explicit(&status->waiting, lane->waiting, memory_order_relaxed);
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

static void refused_wait_over(struct bailey_timer *timer);

static struct delivery *delivery_new(struct lane *lane, struct bailey_message *msg)
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
        .retry = {.fire = refused_wait_over, .ctx = dlv},
        .prev = lane->all.prev,
        .next = &lane->all,
    };
    lane->all.prev->next = dlv;
    lane->all.prev = dlv;
    lane->unsettled++;
    lane->unsettled_bytes += (int64_t)dlv->size;
    return dlv;
}

/* It is settled or forgotten. */
void lane_delivery_free(struct delivery *dlv)
{
    struct lane *lane = dlv->lane;

    if (dlv->state == DELIVERY_WAITING) {
        bailey_timer_stop(lane->host, &dlv->retry);
        lane->waiting--;
    }
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

/* ---- The ready ring ---- */

static void ready_push(struct lane *lane, struct delivery *dlv)
{
    if (lane->ready_len == lane->ready_cap) {
        size_t cap = lane->ready_cap ? lane->ready_cap * 2 : 64;
        struct bailey_delivery **ring = malloc(cap * sizeof *ring);

        if (ring == NULL)
            abort();
        for (size_t i = 0; i < lane->ready_len; i++)
            ring[i] = lane->ready[(lane->ready_head + i) & (lane->ready_cap - 1)];
        free(lane->ready);
        lane->ready = ring;
        lane->ready_cap = cap;
        lane->ready_head = 0;
    }
    lane->ready[(lane->ready_head + lane->ready_len++) & (lane->ready_cap - 1)] = &dlv->pub;
}

static int by_sequence(const void *a, const void *b)
{
    const struct delivery *x = *(struct delivery *const *)a, *y = *(struct delivery *const *)b;

    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

/* Put what stands in the ring at its front, dropping what `keep` refuses; restores the order of receiving if needed. */
static void ready_rebuild(struct lane *lane, bool (*keep)(struct lane *, struct delivery *))
{
    size_t kept = 0;
    struct bailey_delivery **flat = malloc((lane->ready_len + 1) * sizeof *flat);

    if (flat == NULL)
        abort();
    for (size_t i = 0; i < lane->ready_len; i++) {
        struct bailey_delivery *pub = lane->ready[(lane->ready_head + i) & (lane->ready_cap - 1)];

        if (keep == NULL || keep(lane, (struct delivery *)pub))
            flat[kept++] = pub;
    }
    if (lane->ready_unsorted && kept > 1)
        qsort(flat, kept, sizeof *flat, by_sequence);
    if (kept > 0)
        memcpy(lane->ready, flat, kept * sizeof *flat);
    lane->ready_head = 0;
    lane->ready_len = kept;
    lane->ready_unsorted = false;
    free(flat);
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

static void mark_batch(struct bailey_delivery **batch, size_t count, enum delivery_state state)
{
    for (size_t i = 0; i < count; i++)
        ((struct delivery *)batch[i])->state = state;
}

/* Send what is ready, as far as the sink takes it. */
static void dispatch(struct lane *lane)
{
    bool sent = false;

    if (lane->ready_len == 0 || lane->to.state != END_UP || lane->sink_is_full || lane->to.self == NULL)
        return;
    if (lane->ready_unsorted)
        ready_rebuild(lane, NULL);
    start_tick(lane);
    if (lane->out == 0)
        lane->last_verdict_ms = bailey_now_ms(lane->host); /* none is owed before */
    while (lane->ready_len > 0 && lane->to.state == END_UP && !lane->sink_is_full) {
        struct bailey_delivery *batch[BATCH_MAX]; /* a copy: verdicts inside send() may grow the ring */
        size_t count = 0, taken;

        while (count < BATCH_MAX && count < lane->ready_len) {
            batch[count] = lane->ready[(lane->ready_head + count) & (lane->ready_cap - 1)];
            count++;
        }
        mark_batch(batch, count, DELIVERY_OUT);
        lane->out += (int64_t)count;
        lane->ready_head = (lane->ready_head + count) & (lane->ready_cap - 1);
        lane->ready_len -= count;
        taken = lane->options.sink->send(lane->to.self, batch, count);
        assert(taken <= count);
        sent = true;
        if (taken < count) { /* back to where they stood */
            mark_batch(batch + taken, count - taken, DELIVERY_READY);
            lane->out -= (int64_t)(count - taken);
            lane->ready_head = (lane->ready_head - (count - taken)) & (lane->ready_cap - 1);
            lane->ready_len += count - taken;
            lane->sink_is_full = true;
        }
    }
    if (sent && lane->options.sink->flush != NULL && lane->to.self != NULL)
        lane->options.sink->flush(lane->to.self);
    if (lane->out > 0)
        CRASH_POINT(after_send, lane->options.route);
}

static void check_drained(struct lane *lane);

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

    dispatch(lane);
    if (lane->drain_source)
        tell_drain(lane);
    if (lane->room_wanted && end_is_open(&lane->from) && lane->from.self != NULL && lane->to.state == END_UP &&
        !lane->is_draining && lane_dedup_trouble(lane)[0] == '\0' &&
        lane->unsettled <= lane->options.credit_messages / 2 &&
        lane->unsettled_bytes <= lane->options.credit_bytes / 2) {
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
    int64_t bytes_left = lane->options.credit_bytes - lane->unsettled_bytes;

    if (lane->to.state != END_UP || lane->is_draining || left <= 0 || bytes_left <= 0 ||
        lane_dedup_trouble(lane)[0] != '\0') {
        lane->room_wanted = true;
        return 0;
    }
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
        ready_push(lane, batch->items[i]);
    }
}

static void receive_batch(struct lane *lane, struct bailey_message *const messages[], size_t count)
{
    struct batch batch;
    int64_t bytes = 0;

    batch.count = count;
    for (size_t i = 0; i < count; i++) {
        messages[i]->size = message_size(messages[i]);
        bytes += (int64_t)messages[i]->size;
        batch.items[i] = delivery_new(lane, messages[i]);
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
    if (kept == left && !lane->is_draining) {
        lane->is_draining = lane->is_finishing = lane->drain_source = true;
        lane_show_state(lane);
        lane_work_soon(lane);
    }
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
        lane_dedup_flush(lane);
        dispatch(lane);
        if (lane_slots(lane) > 0)
            start_tick(lane);
        lane_show_gauges(lane);
    }
}

/* ---- Settling ---- */

void lane_settle(struct lane *lane, const struct bailey_settlement *ended, size_t count)
{
    if (count > 0 && lane->from.self != NULL && lane->from.state != END_CLOSING) {
        CRASH_POINT(before_settle, lane->options.route);
        lane->options.source->settle(lane->from.self, ended, count);
    }
}

/* Its source need not be told any more. */
static void let_go(struct lane *lane, struct delivery *dlv)
{
    if (dlv->holds_slot)
        lane_dedup_leave(lane, dlv);
    else
        lane_delivery_free(dlv);
}

static void settle_as(struct lane *lane, struct delivery *dlv, enum bailey_outcome outcome)
{
    struct bailey_settlement ended = dlv->settlement;
    bool is_known = dlv->epoch == lane->epoch;

    ended.outcome = outcome;
    let_go(lane, dlv);
    if (is_known)
        lane_settle(lane, &ended, 1);
}

static void note_latency(struct lane_status *status, int64_t took_ms)
{
    int bucket = 0;

    while (bucket < LATENCY_BUCKETS - 1 && took_ms > latency_bounds_ms[bucket])
        bucket++;
    status_add(&status->latency_count[bucket], 1);
    status_add(&status->latency_sum_ms, took_ms);
}

static void after_verdicts(struct lane *lane)
{
    lane->last_verdict_ms = bailey_now_ms(lane->host);
    lane_dedup_flush(lane);
    if (lane->is_stuck) {
        lane->is_stuck = false;
        lane_show_state(lane);
    }
    lane_show_gauges(lane);
    if (lane->room_wanted || lane->is_draining || lane->ready_len > 0)
        lane_work_soon(lane);
}

static void confirm_batch(struct lane *lane, struct bailey_delivery *const batch[], size_t count)
{
    struct bailey_settlement ended[BATCH_MAX];
    int64_t now_ms = bailey_now_ms(lane->host);
    size_t known = 0;

    for (size_t i = 0; i < count; i++) {
        struct delivery *dlv = own(lane, batch[i], DELIVERY_OUT);

        note_latency(lane->options.status, now_ms - dlv->received_ms);
        if (dlv->holds_slot) {
            lane_dedup_record(lane, dlv);
            continue;
        }
        ended[known] = dlv->settlement;
        ended[known].outcome = BAILEY_ACCEPTED;
        known += dlv->epoch == lane->epoch;
        lane_delivery_free(dlv);
    }
    lane->out -= (int64_t)count;
    status_add(&lane->options.status->delivered, (int64_t)count);
    lane_settle(lane, ended, known);
}

void bailey_confirm(struct bailey_port *sink, struct bailey_delivery *const batch[], size_t count)
{
    struct lane *lane = ((struct end *)sink)->lane;

    CRASH_POINT(before_confirm, lane->options.route);
    for (size_t done = 0; done < count; done += BATCH_MAX)
        confirm_batch(lane, batch + done, count - done < BATCH_MAX ? count - done : BATCH_MAX);
    if (lane->ids != NULL)
        CRASH_POINT(before_record, lane->options.route);
    after_verdicts(lane);
}

void bailey_hand_back(struct bailey_port *sink, struct bailey_delivery *const batch[], size_t count, bool in_doubt)
{
    struct lane *lane = ((struct end *)sink)->lane;

    for (size_t i = 0; i < count; i++) {
        struct delivery *dlv = own(lane, batch[i], DELIVERY_OUT);

        lane->out--;
        dlv->state = DELIVERY_READY;
        dlv->is_in_doubt |= in_doubt;
        if (dlv->is_orphan || dlv->epoch != lane->epoch) { /* its source gives it to someone else, or once more */
            settle_as(lane, dlv, BAILEY_RELEASED);
            continue;
        }
        if (in_doubt) {
            dlv->pub.possible_duplicate = true;
            status_add(&lane->options.status->in_doubt, 1);
        }
        lane->ready_unsorted = true;
        ready_push(lane, dlv);
    }
    after_verdicts(lane);
}

/* ---- Refused ---- */

static void log_refusal(struct lane *lane, const struct delivery *dlv, const struct bailey_error *err, int64_t delay_ms)
{
    int64_t now_ms = bailey_now_ms(lane->host);

    if (now_ms - lane->refusals_since_ms >= 1000) {
        if (lane->refusals_silent > 0)
            bailey_log(BAILEY_LOG_WARN, "delivery.refused_more", kv_str("route", lane->options.route),
                       kv_u64("messages", lane->refusals_silent));
        lane->refusals_since_ms = now_ms;
        lane->refusals_logged = lane->refusals_silent = 0;
    }
    if (lane->refusals_logged == REFUSALS_LOGGED) {
        lane->refusals_silent++;
        return;
    }
    lane->refusals_logged++;
    bailey_log(BAILEY_LOG_WARN, "delivery.refused", kv_str("route", lane->options.route),
               kv_u64("lane", lane->options.lane), kv_u64("attempt", dlv->pub.attempts), kv_ms("backoff", delay_ms),
               kv_error(err));
}

static void detach(struct delivery *dlv)
{
    if (dlv->is_detached)
        return;
    dlv->pub.message = bailey_message_detach(dlv->pub.message);
    dlv->is_detached = true;
    dlv->is_prepared = false; /* its address and its id pointed into the old one */
    dlv->pub.id = BAILEY_NULL_BYTES;
}

void lane_refuse(struct lane *lane, struct delivery *dlv, const struct bailey_error *err)
{
    struct bailey_backoff backoff = {.failures = dlv->pub.attempts++};
    int64_t delay_ms = bailey_backoff_next(lane->host, &backoff, REFUSED_BACKOFF_MIN_MS, REFUSED_BACKOFF_MAX_MS);

    status_add(&lane->options.status->refused[err->kind], 1);
    log_refusal(lane, dlv, err, delay_ms);
    if (dlv->is_orphan || dlv->epoch != lane->epoch || (lane->is_draining && !lane->is_finishing)) {
        dlv->state = DELIVERY_READY;
        settle_as(lane, dlv, BAILEY_RELEASED); /* left to its source */
        return;
    }
    dlv->state = DELIVERY_WAITING;
    lane->waiting++;
    detach(dlv);
    bailey_timer_start(lane->host, &dlv->retry, delay_ms);
}

void bailey_refuse(struct bailey_port *sink, struct bailey_delivery *pub, const struct bailey_error *err)
{
    struct lane *lane = ((struct end *)sink)->lane;
    struct delivery *dlv = own(lane, pub, DELIVERY_OUT);

    lane->out--;
    lane_refuse(lane, dlv, err);
    after_verdicts(lane);
}

static void prepare_again(struct lane *lane, struct delivery *dlv)
{
    struct batch batch = {.count = 1, .items = {dlv}};

    dlv->state = DELIVERY_READY;
    lane_run_steps(lane, &batch, 0);
}

static void refused_wait_over(struct bailey_timer *timer)
{
    struct delivery *dlv = timer->ctx;
    struct lane *lane = dlv->lane;

    lane->waiting--;
    status_add(&lane->options.status->retried, 1);
    prepare_again(lane, dlv);
    lane_dedup_flush(lane);
    lane_work_soon(lane);
}

/* ---- Lost by the source ---- */

static bool is_not_orphan(struct lane *lane, struct delivery *dlv)
{
    (void)lane;
    return !dlv->is_orphan;
}

/* At the sink, or on the way there: it goes on without its source. */
static bool is_away(const struct delivery *dlv)
{
    return dlv->state == DELIVERY_OUT || dlv->state == DELIVERY_RECORDING;
}

/* Forget what has not been sent of a group, or of the whole source. Returns how many are still out. */
static size_t forget(struct lane *lane, bool all_groups, uint32_t group)
{
    size_t out = 0, ready = 0;

    for (struct delivery *dlv = lane->all.next; dlv != &lane->all; dlv = dlv->next) {
        if (dlv->epoch != lane->epoch || (!all_groups && dlv->settlement.group != group) ||
            dlv->state == DELIVERY_LEAVING)
            continue;
        dlv->is_orphan = true;
        out += is_away(dlv);
        ready += dlv->state == DELIVERY_READY;
    }
    if (ready > 0)
        ready_rebuild(lane, is_not_orphan);
    for (struct delivery *dlv = lane->all.next, *next; dlv != &lane->all; dlv = next) {
        next = dlv->next;
        if (dlv->is_orphan && !is_away(dlv) && dlv->state != DELIVERY_LEAVING)
            let_go(lane, dlv);
    }
    lane_dedup_flush(lane);
    lane_show_gauges(lane);
    lane_work_soon(lane);
    return out;
}

size_t bailey_revoke(struct bailey_port *source, uint32_t group)
{
    return forget(((struct end *)source)->lane, false, group);
}

/* ---- The tick: while something is out or held ---- */

static void detach_old(struct lane *lane)
{
    int64_t before_ms = bailey_now_ms(lane->host) - DETACH_MS;
    size_t done = 0;

    for (size_t i = 0; i < lane->ready_len && done < DETACH_MAX; i++) {
        struct delivery *dlv = (struct delivery *)lane->ready[(lane->ready_head + i) & (lane->ready_cap - 1)];

        if (dlv->received_ms > before_ms || dlv->is_detached)
            continue;
        detach(dlv);
        done++;
    }
    if (done == 0 || lane->step_count == 0)
        return;
    /* Addresses pointed into what was let go: the steps run again over what was detached. */
    size_t len = lane->ready_len;

    for (size_t i = 0; i < len; i++) {
        struct delivery *dlv = (struct delivery *)lane->ready[lane->ready_head];

        lane->ready_head = (lane->ready_head + 1) & (lane->ready_cap - 1);
        lane->ready_len--;
        if (dlv->is_prepared)
            ready_push(lane, dlv);
        else
            prepare_again(lane, dlv);
    }
}

/* What waits for its id (for another one with the same id, perhaps) is at no place that the steps would have to see again. */
static void detach_asking(struct lane *lane)
{
    int64_t before_ms = bailey_now_ms(lane->host) - DETACH_MS;
    size_t done = 0;

    for (struct delivery *dlv = lane->all.next; dlv != &lane->all && dlv->received_ms <= before_ms && done < DETACH_MAX;
         dlv = dlv->next)
        if (dlv->state == DELIVERY_ASKING && !dlv->is_detached) {
            detach(dlv);
            done++;
        }
}

static void tick_due(struct bailey_timer *timer)
{
    struct lane *lane = timer->ctx;
    int64_t now_ms = bailey_now_ms(lane->host);

    lane->tick_runs = false;
    if (lane->out > 0 && !lane->is_stuck && now_ms - lane->last_verdict_ms >= STUCK_MS) {
        lane->is_stuck = true;
        lane_show_state(lane);
    }
    if (lane->ready_len > 0)
        detach_old(lane);
    if (lane_slots(lane) > 0)
        detach_asking(lane);
    if (lane->out > 0 || lane->ready_len > 0 || lane_slots(lane) > 0) {
        lane->tick_runs = true;
        bailey_timer_start(lane->host, &lane->tick, TICK_MS);
    }
}

/* ---- What the ends tell ---- */

void lane_on_end_changed(struct lane *lane, struct end *end)
{
    if (end == &lane->to && end->state == END_UP)
        lane->sink_is_full = false;
    if (end == &lane->to && end->state != END_UP && lane->is_stuck)
        lane->is_stuck = false;
    if (end == &lane->from && end->state == END_UP && lane->is_draining && !end->is_drained)
        lane->drain_source = true;
    lane_show_state(lane);
    lane_work_soon(lane);
}

void lane_on_end_lost(struct lane *lane, struct end *end)
{
    if (end == &lane->to) {
        assert(lane->out == 0); /* fails when a sink closes without a verdict for each delivery */
        lane->sink_is_full = false;
    } else {
        forget(lane, true, 0);
        lane->epoch++; /* what is still out is settled with nobody */
        lane->room_wanted = lane->drain_told = false;
    }
    if (end->wanted)
        status_add(&lane->options.status->restarts, 1);
}

/* Both ends are closed, and no shard has anything of this lane. */
void lane_check_ended(struct lane *lane)
{
    if (lane->is_ended || lane->from.state != END_CLOSED || lane->to.state != END_CLOSED)
        return;
    if (lane_slots(lane) > 0) {
        lane_dedup_leave_all(lane); /* answered by lane_check_ended() */
        return;
    }
    lane->is_ended = true;
    bailey_again_stop(lane->host, &lane->work);
    bailey_timer_stop(lane->host, &lane->tick);
    lane->tick_runs = false;
    lane_show_gauges(lane);
    lane_show_state(lane);
    lane->options.on_ended(lane, lane->options.ctx);
}

void lane_on_end_closed(struct lane *lane, struct end *end)
{
    if (lane->is_ended)
        return;
    if (lane->from.state == END_CLOSED && lane->to.state == END_CLOSED)
        lane_check_ended(lane);
    else if (end == &lane->from && !lane->is_stopping)
        end_close(&lane->to);
    else if (end == &lane->to) /* stopping: the sink was closed first, so that nothing is out */
        end_close(&lane->from);
}

void bailey_writable(struct bailey_port *port)
{
    struct lane *lane = ((struct end *)port)->lane;

    if (!lane->sink_is_full)
        return;
    lane->sink_is_full = false;
    lane_work_soon(lane);
}

void bailey_lag(struct bailey_port *port, int64_t messages)
{
    atomic_store_explicit(&((struct end *)port)->lane->options.status->source_lag, messages, memory_order_relaxed);
}

/* ---- Draining and stopping ---- */

static void check_drained(struct lane *lane)
{
    if (!lane->is_draining || lane->is_stopping || lane->is_ended || lane->unsettled > 0)
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

static void release_waiting(struct lane *lane)
{
    for (struct delivery *dlv = lane->all.next, *next; dlv != &lane->all; dlv = next) {
        next = dlv->next;
        if (dlv->state == DELIVERY_WAITING)
            settle_as(lane, dlv, BAILEY_RELEASED);
    }
    lane_dedup_flush(lane);
}

void lane_drain(struct lane *lane)
{
    if (lane->is_ended || lane->is_stopping)
        return;
    lane->is_draining = true;
    lane->is_finishing = false;
    release_waiting(lane);
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
    end_close(&lane->to);
}

/* ---- Life ---- */

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
    lane->work = (struct bailey_task){.run = do_work, .ctx = lane};
    lane->tick = (struct bailey_timer){.fire = tick_due, .ctx = lane};
    end_init(&lane->from, lane, BAILEY_SOURCE, host, &lane->options);
    end_init(&lane->to, lane, BAILEY_SINK, host, &lane->options);
    return lane;
}

void lane_start(struct lane *lane)
{
    end_open(&lane->to); /* first: there is no room until it is up */
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
    lane_dedup_end(lane);
    message_pool_free(lane->messages);
    free(lane->ready);
    free(lane);
}
