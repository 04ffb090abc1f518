/* What becomes of a message that cannot go: it waits and is sent again, or it is hopeless and goes to the dead letters.
 *
 *     refused ──may pass──→ waits, alone ──→ sent again
 *        └─hopeless─→ dead letters ──confirmed──→ settled
 *                └─ has none, or they refuse it too ──→ the lane is blocked: it receives nothing, and tries that one again
 *
 * Nothing is given back to the broker to be tried again: that would lose the wait, the count and the order.
 */
#include <assert.h>
#include <stdio.h>

#include "core/dead_letter.h"
#include "core/lane_impl.h"

enum { REFUSALS_LOGGED = 5 }; /* a second; more are counted and told in one line */

/* ---- The log ---- */

static bool may_log(struct lane *lane)
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
        return false;
    }
    lane->refusals_logged++;
    return true;
}

static void log_refusal(struct lane *lane, const struct delivery *dlv, const struct bailey_error *err, int64_t delay_ms)
{
    if (may_log(lane))
        bailey_log(BAILEY_LOG_WARN, dlv->is_dead ? "dead_letter.refused" : "delivery.refused",
                   kv_str("route", lane->options.route), kv_u64("lane", lane->options.lane),
                   kv_u64("attempt", dlv->pub.attempts), kv_ms("backoff", delay_ms), kv_error(err));
}

static void log_given_up(struct lane *lane, const struct delivery *dlv, const struct dead_letter_reason *reason)
{
    if (may_log(lane))
        bailey_log(BAILEY_LOG_WARN, "delivery.given_up", kv_str("route", lane->options.route),
                   kv_u64("lane", lane->options.lane), kv_str("because", reason->class),
                   kv_u64("attempts", dlv->pub.attempts), kv_error(reason->err));
}

/* ---- Waiting ---- */

static int64_t backoff_ms(struct lane *lane, uint32_t attempts)
{
    const struct lane_retry *retry = &lane->options.retry;
    double delay_ms = (double)retry->min_ms;
    double dice = (double)(bailey_random(lane->host) >> 11) / (double)(UINT64_C(1) << 53); /* 0 .. 1 */

    for (uint32_t i = 1; i < attempts && delay_ms < (double)retry->max_ms; i++)
        delay_ms *= retry->multiplier;
    if (delay_ms > (double)retry->max_ms)
        delay_ms = (double)retry->max_ms;
    delay_ms *= 1 + retry->jitter * (2 * dice - 1);
    return delay_ms < 1 ? 1 : (int64_t)delay_ms;
}

static void wait(struct lane *lane, struct delivery *dlv, int64_t delay_ms)
{
    dlv->state = DELIVERY_WAITING;
    lane->waiting++;
    lane_detach(dlv);
    dlv->rest_until_ms = bailey_now_ms(lane->host) + delay_ms;
    bailey_timer_start(lane->host, &dlv->retry, delay_ms);
}

/* It keeps its turn, perhaps for long. */
static void hold_back(struct lane *lane, struct delivery *dlv)
{
    if (lane->order == NULL)
        return;
    order_refused(lane->order, dlv);
    lane_spill_behind(lane, dlv);
}

/* It drains: what is refused from now on is left to the source. One that finishes tries on. */
static bool leaves_all(const struct lane *lane)
{
    return lane->is_draining && !lane->is_finishing;
}

/* Left to its source: the lane ends, or the source has lost it. */
static bool is_leaving(const struct lane *lane, const struct delivery *dlv)
{
    return lane_has_lost(lane, dlv) || leaves_all(lane);
}

static void leave(struct lane *lane, struct delivery *dlv)
{
    if (lane->order != NULL && leaves_all(lane))
        lane_release_waiting(lane); /* none may pass it on the way out */
    lane_settle_as(lane, dlv, BAILEY_RELEASED);
}

/* ---- Hopeless ---- */

/* It has nowhere to go. It is tried again after the longest wait of the route: somebody may have mended it. */
static void block(struct lane *lane, struct delivery *dlv, const char *what, const struct bailey_error *err)
{
    struct bailey_error again = *err;
    int64_t delay_ms = lane->options.retry.max_ms;

    hold_back(lane, dlv);
    lane->blocking += !dlv->is_blocking;
    dlv->is_blocking = true;
    snprintf(lane->block_reason, sizeof lane->block_reason, "%s: %s", what, err->text);
    if (lane->options.dead_letters == NULL)
        bailey_hint(&again, "give the route a dead_letter, or mend the cause: it is tried again now and then");
    bailey_log(BAILEY_LOG_ERROR, "delivery.blocked", kv_str("route", lane->options.route),
               kv_u64("lane", lane->options.lane), kv_u64("attempts", dlv->pub.attempts), kv_ms("backoff", delay_ms),
               kv_error(&again));
    wait(lane, dlv, delay_ms);
    lane_show_state(lane);
}

static void refuse_dead(struct lane *lane, struct delivery *dlv, const struct bailey_error *err)
{
    dlv->pub.attempts++;
    if (is_leaving(lane, dlv)) {
        leave(lane, dlv);
    } else if (err->kind == BAILEY_ERR_TRANSIENT) {
        int64_t delay_ms = backoff_ms(lane, dlv->pub.attempts);

        log_refusal(lane, dlv, err, delay_ms);
        wait(lane, dlv, delay_ms);
    } else {
        block(lane, dlv, "dead letters", err);
    }
}

static void send_dead(struct lane *lane, struct delivery *dlv)
{
    const struct lane_dead_letters *dead = lane->options.dead_letters;
    struct bailey_error err;

    if (!address_fill(dlv, dead->templates, dead->template_count, lane->options.route, &err)) {
        refuse_dead(lane, dlv, &err);
        return;
    }
    dlv->state = DELIVERY_READY;
    dlv->is_prepared = true;
    outlet_push(&lane->dead, dlv, true);
    lane_work_soon(lane);
}

static void give_up(struct lane *lane, struct delivery *dlv, const struct dead_letter_reason *reason)
{
    struct bailey_message *msg = dlv->pub.message;

    if (lane->options.dead_letters == NULL) {
        block(lane, dlv, "a message cannot be delivered, and the route has no dead_letter", reason->err);
        return;
    }
    log_given_up(lane, dlv, reason);
    dlv->pub.message = dead_letter_new(&lane->options, lane->host, dlv, reason);
    bailey_message_unref(msg);       /* the dead letter holds it */
    dlv->pub.id = BAILEY_NULL_BYTES; /* the dead letter has one of its own */
    dlv->given_up_after = dlv->pub.attempts;
    dlv->pub.attempts = 0;
    dlv->is_detached = false;
    lane->dying += !dlv->is_dead;
    dlv->is_dead = true;
    send_dead(lane, dlv);
}

static void note_failure(struct lane *lane, struct delivery *dlv)
{
    dlv->last_failed_ms = bailey_wall_ms(lane->host);
    if (dlv->first_failed_ms == 0)
        dlv->first_failed_ms = dlv->last_failed_ms;
}

void lane_expire(struct lane *lane, struct delivery *dlv)
{
    struct bailey_error err;

    if (lane->options.expire == LANE_EXPIRE_DROP) {
        status_add(&lane->options.status->expired, 1);
        lane_finish(lane, dlv, ID_DEAD);
        return;
    }
    if (is_leaving(lane, dlv)) {
        leave(lane, dlv);
        return;
    }
    hold_back(lane, dlv);
    note_failure(lane, dlv);
    bailey_fail(&err, BAILEY_ERR_PERMANENT, "it is past its expiry");
    give_up(lane, dlv, &(struct dead_letter_reason){"expired", &err});
}

void lane_refuse_loop(struct lane *lane, struct delivery *dlv)
{
    struct bailey_error err;

    if (is_leaving(lane, dlv)) {
        leave(lane, dlv);
        return;
    }
    note_failure(lane, dlv);
    status_add(&lane->options.status->refused[BAILEY_ERR_PERMANENT], 1);
    bailey_fail(&err, BAILEY_ERR_PERMANENT, "it has passed %u gateways, and max_hops is %u: a loop",
                dlv->pub.message->hops - 1u, lane->options.hops_max);
    give_up(lane, dlv, &(struct dead_letter_reason){"loop", &err});
}

/* ---- Remembered, while its source has it ---- */

/* A message of the source's own, which it may give again. */
static bool is_the_source_s(const struct lane *lane, const struct delivery *dlv)
{
    return dlv->entry == NULL && lane->reader == NULL;
}

/* At its first refusal: later its message may be on disk, or a dead letter. */
static void mark(struct lane *lane, struct delivery *dlv)
{
    if (!is_the_source_s(lane, dlv))
        return;
    if (lane->recall == NULL)
        lane->recall = recall_new(lane->host, (size_t)lane->options.credit_messages);
    dlv->mark = recall_mark(lane->recall, dlv->pub.message, lane->options.key == NULL);
}

/* What blocks its lane, and what was a dead letter already, is tried at once when it comes again. */
void lane_remember(struct lane *lane, const struct delivery *dlv)
{
    uint32_t attempts = dlv->is_dead ? dlv->given_up_after : dlv->pub.attempts;

    if (attempts == 0 || !is_the_source_s(lane, dlv))
        return;
    recall_keep(lane->recall, &(struct recall_note){
                                  .mark = dlv->mark,
                                  .attempts = attempts,
                                  .counted = dlv->counted,
                                  .first_failed_ms = dlv->first_failed_ms,
                                  .last_failed_ms = dlv->last_failed_ms,
                                  .rest_until_ms = dlv->is_dead || dlv->is_blocking ? 0 : dlv->rest_until_ms,
                              });
}

void lane_recall(struct lane *lane, struct delivery *dlv)
{
    struct recall_note note;

    if (!is_the_source_s(lane, dlv))
        return;
    dlv->mark = recall_mark(lane->recall, dlv->pub.message, lane->options.key == NULL);
    if (!recall_take(lane->recall, dlv->mark, &note))
        return;
    dlv->pub.attempts = note.attempts;
    dlv->counted = note.counted;
    dlv->first_failed_ms = note.first_failed_ms;
    dlv->last_failed_ms = note.last_failed_ms;
    dlv->rest_until_ms = note.rest_until_ms;
}

void lane_rest(struct lane *lane, struct delivery *dlv)
{
    if (is_leaving(lane, dlv)) {
        leave(lane, dlv);
        return;
    }
    hold_back(lane, dlv);
    wait(lane, dlv, dlv->rest_until_ms - bailey_now_ms(lane->host));
}

/* ---- Refused ---- */

/* Is it about this message? Where every message goes to the same place, what the operator must change there is not. */
static bool counts(const struct lane *lane, const struct bailey_error *err)
{
    return err->kind != BAILEY_ERR_CONFIG || lane->options.template_count > 0;
}

static bool is_for_good(const struct lane *lane, const struct bailey_error *err)
{
    return err->kind == BAILEY_ERR_PERMANENT ||
           (err->kind == BAILEY_ERR_UNROUTABLE && lane->options.unroutable == LANE_UNROUTABLE_DEAD_LETTER);
}

static void wait_for_next(struct lane *lane, struct delivery *dlv, const struct bailey_error *err)
{
    int64_t delay_ms = backoff_ms(lane, dlv->pub.attempts);

    log_refusal(lane, dlv, err, delay_ms);
    lane_unblock(dlv);
    if (lane->options.parks_in_store)
        lane_keep(lane, dlv, &(struct schedule_note){.line = SCHEDULE_WAIT, .due_ms = lane_state_ms(lane) + delay_ms});
    else
        wait(lane, dlv, delay_ms);
}

static void refuse(struct lane *lane, struct delivery *dlv, const struct bailey_error *err)
{
    bool is_hopeless = is_for_good(lane, err);

    if (is_leaving(lane, dlv)) {
        leave(lane, dlv);
        return;
    }
    hold_back(lane, dlv);
    note_failure(lane, dlv);
    if (dlv->pub.attempts++ == 0)
        mark(lane, dlv);
    dlv->counted += counts(lane, err);
    is_hopeless |= lane->options.retry.attempts > 0 && dlv->counted >= lane->options.retry.attempts;
    if (is_hopeless)
        give_up(lane, dlv, &(struct dead_letter_reason){bailey_error_kind_name(err->kind), err});
    else
        wait_for_next(lane, dlv, err);
}

void lane_refuse(struct lane *lane, struct delivery *dlv, const struct bailey_error *err)
{
    status_add(&lane->options.status->refused[err->kind], 1);
    if (dlv->is_dead) {
        refuse_dead(lane, dlv, err);
    } else if (err->kind == BAILEY_ERR_UNROUTABLE && lane->options.unroutable == LANE_UNROUTABLE_ACCEPT) {
        status_add(&lane->options.status->unroutable, 1);
        lane_finish(lane, dlv, ID_CONFIRMED);
    } else {
        refuse(lane, dlv, err);
    }
}

/* ---- Again ---- */

void lane_prepare_again(struct lane *lane, struct delivery *dlv)
{
    struct batch batch;

    batch.count = 1;
    batch.items[0] = dlv;
    dlv->state = DELIVERY_READY;
    if (dlv->is_dead)
        send_dead(lane, dlv);
    else if (lane_loops(dlv))
        lane_refuse_loop(lane, dlv);
    else
        lane_run_steps(lane, &batch, 0);
}

void lane_wait_over(struct bailey_timer *timer)
{
    struct delivery *dlv = timer->ctx;
    struct lane *lane = dlv->lane;

    lane->waiting--;
    dlv->state = DELIVERY_READY;
    status_add(&lane->options.status->retried, 1);
    lane_prepare_again(lane, dlv);
    lane_flush(lane);
    lane_work_soon(lane);
}
