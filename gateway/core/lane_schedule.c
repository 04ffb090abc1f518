/* What waits in the store: messages whose time has not come, and refused ones where the route parks them there.
 *
 *     delay, or refused ──→ lane_keep ──written, synced──→ [id recorded as waiting] ──→ settled
 *                                                            ...
 *     its time has come ──→ a new delivery, of the schedule's ──→ steps, sink ──→ [id recorded] ──→ erased
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/units.h"
#include "core/identity.h"
#include "core/lane_impl.h"
#include "core/moment.h"
#include "message/pool.h"

enum {
    WINDOW_MESSAGES = 2048, /* of what is due next, in memory */
    WINDOW_BYTES = 4 << 20,
    TEXT_MAX = 64,
};

#define DELAY_MAX_MS (INT64_C(3660) * 86400000) /* ten years */

/* What the schedule holds while it writes; in the message. */
struct kept {
    struct schedule_slot slot; /* first */
    struct delivery *dlv;
};

int64_t lane_state_ms(const struct lane *lane)
{
    return bailey_now_ms(lane->host) + lane->options.kept->clock_ms;
}

/* ---- Keeping ---- */

void lane_keep(struct lane *lane, struct delivery *dlv, const struct schedule_note *when)
{
    struct kept *kept = bailey_message_alloc(dlv->pub.message, sizeof *kept);

    *kept = (struct kept){.slot = {.note = *when, .message = dlv->pub.message}, .dlv = dlv};
    kept->slot.note.has_id = dlv->holds_slot;
    kept->slot.note.in_doubt = dlv->pub.possible_duplicate;
    kept->slot.note.attempts = dlv->pub.attempts;
    kept->slot.note.counted = dlv->counted;
    kept->slot.note.first_failed_ms = dlv->first_failed_ms;
    kept->slot.note.last_failed_ms = dlv->last_failed_ms;
    kept->slot.note.unique = identity_of(&lane->options, lane->host, dlv);
    if (lane->order != NULL)
        order_leave(lane->order, dlv); /* those behind it do not wait for its time */
    dlv->state = DELIVERY_KEEPING;
    lane->kept->keeping++;
    if (dlv->entry == NULL) {
        schedule_put(lane->kept->schedule, &kept->slot);
        return;
    }
    schedule_again(lane->kept->schedule, dlv->entry, &kept->slot);
    dlv->entry = NULL; /* the new one stands for it, and nobody is to be told */
    dlv->epoch = lane->epoch - 1;
}

static void on_kept(void *ctx, struct schedule_slot *slot)
{
    struct lane *lane = ctx;
    struct delivery *dlv = ((struct kept *)slot)->dlv;

    assert(dlv->state == DELIVERY_KEEPING);
    lane->kept->keeping--;
    status_add(&lane->options.status->scheduled, 1);
    if (dlv->holds_slot) {
        lane_dedup_record(lane, dlv, ID_WAITING);
        return;
    }
    lane_note_end(&lane->kept->ended, dlv, BAILEY_ACCEPTED);
    lane_delivery_free(dlv);
    if (lane->kept->ended.count == BATCH_MAX)
        lane_settle(lane, &lane->kept->ended);
}

static void on_kept_end(void *ctx)
{
    struct lane *lane = ctx;

    lane_settle(lane, &lane->kept->ended);
    lane_flush(lane);
    lane_show_gauges(lane);
    lane_work_soon(lane);
}

/* ---- When ---- */

static bool read_delay(struct lane *lane, struct delivery *dlv, struct schedule_note *when, bool *is_now,
                       struct bailey_error *err)
{
    struct bailey_bytes given;
    char text[TEXT_MAX];
    int64_t delay_ms;

    if (!template_fill(lane->options.delay, dlv->pub.message, lane->options.route, &given, err))
        return false;
    int len = snprintf(text, sizeof text, "%.*s", (int)(given.len < sizeof text ? given.len : sizeof text),
                       (const char *)given.data);

    if (len >= (int)sizeof text || units_duration(text, &delay_ms) != UNITS_OK || delay_ms > DELAY_MAX_MS)
        return bailey_fail(err, BAILEY_ERR_PERMANENT,
                           "the delay \"%.40s\" is no duration such as 1500ms, of ten years at most", text);
    *is_now = delay_ms <= 0;
    *when = (struct schedule_note){.line = SCHEDULE_WAIT, .due_ms = delay_ms};
    return true;
}

static bool read_moment(struct lane *lane, struct delivery *dlv, struct schedule_note *when, bool *is_now,
                        struct bailey_error *err)
{
    struct bailey_bytes given;
    int64_t at_ms;

    if (!template_fill(lane->options.deliver_at, dlv->pub.message, lane->options.route, &given, err))
        return false;
    if (!moment_parse(given, &at_ms))
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "deliver_at \"%.*s\" is neither ms since 1970 nor RFC 3339",
                           (int)(given.len < 40 ? given.len : 40), (const char *)given.data);
    *is_now = at_ms <= bailey_wall_ms(lane->host);
    *when = (struct schedule_note){.line = SCHEDULE_WALL, .due_ms = at_ms};
    return true;
}

/* False: it is kept, or refused. */
static bool may_go_now(struct lane *lane, struct delivery *dlv)
{
    struct schedule_note when = {.line = SCHEDULE_WAIT};
    struct bailey_error err;
    bool is_now = false;

    if (dlv->entry != NULL || dlv->is_timed || dlv->pub.deliver_at_ms != 0) /* its time has come before */
        return true;
    if (lane->kept != NULL && lane->kept->is_closing) /* it goes nowhere any more, and may be in the store already */
        return true;
    if (!(lane->options.delay != NULL ? read_delay : read_moment)(lane, dlv, &when, &is_now, &err)) {
        lane_refuse(lane, dlv, &err);
        return false;
    }
    dlv->is_timed = is_now;
    if (is_now)
        return true;
    if (lane->options.delays_natively) {
        dlv->pub.deliver_at_ms = when.line == SCHEDULE_WALL ? when.due_ms : bailey_wall_ms(lane->host) + when.due_ms;
        return true;
    }
    if (when.line == SCHEDULE_WAIT)
        when.due_ms += lane_state_ms(lane);
    lane_keep(lane, dlv, &when);
    return false;
}

void lane_delay(struct batch *batch)
{
    size_t kept = 0;

    for (size_t i = 0; i < batch->count; i++)
        if (may_go_now(batch->items[i]->lane, batch->items[i]))
            batch->items[kept++] = batch->items[i];
    batch->count = kept;
}

/* ---- Due ---- */

static struct delivery *take(struct lane *lane)
{
    struct bailey_message *msg;
    struct schedule_note note;
    struct schedule_entry *entry = schedule_take(lane->kept->schedule, &msg, &note);
    struct delivery *dlv;

    if (entry == NULL)
        return NULL;
    msg->size = message_size(msg);
    dlv = lane_delivery_new(lane, msg);
    dlv->entry = entry;
    dlv->kept_as = note.unique;
    dlv->pub.possible_duplicate |= note.in_doubt;
    dlv->is_in_doubt = note.in_doubt;
    dlv->pub.attempts = note.attempts;
    dlv->counted = note.counted;
    dlv->first_failed_ms = note.first_failed_ms;
    dlv->last_failed_ms = note.last_failed_ms;
    dlv->is_detached = true;
    dlv->is_keyed = true; /* before it was kept */
    dlv->slot.passes = note.has_id ? ID_WAITING : ID_UNKNOWN;
    status_add(&lane->options.status->due, 1);
    status_add(&lane->options.status->retried, note.attempts > 0);
    return dlv;
}

int64_t lane_schedule_count(const struct lane *lane)
{
    int64_t count = lane->kept == NULL ? 0 : schedule_count(lane->kept->schedule);

    return count < 0 ? 0 : count; /* not read yet */
}

bool lane_schedule_has_some(const struct lane *lane)
{
    return lane->kept != NULL && schedule_count(lane->kept->schedule) != 0;
}

/* A lane whose source has no more goes on until nothing is kept. */
static bool may_take(const struct lane *lane)
{
    return lane_may_send(lane) && (!lane->is_draining || lane->is_finishing);
}

static bool has_credit(const struct lane *lane)
{
    return lane->unsettled < lane->options.credit_messages && lane->unsettled_bytes < lane->options.credit_bytes;
}

void lane_take_due(struct lane *lane)
{
    struct batch batch;

    if (lane->kept == NULL || lane->kept->is_closing)
        return;
    do {
        struct delivery *dlv;

        batch.count = 0;
        while (batch.count < BATCH_MAX && may_take(lane) && has_credit(lane) && (dlv = take(lane)) != NULL)
            batch.items[batch.count++] = dlv;
        if (batch.count > 0)
            lane_run_steps(lane, &batch, 0);
    } while (batch.count > 0);
    lane_flush(lane);
}

static void on_due(void *ctx)
{
    lane_work_soon(ctx);
}

static void on_trouble(void *ctx, const char *reason)
{
    struct lane *lane = ctx;

    snprintf(lane->kept->trouble, sizeof lane->kept->trouble, "%s", reason);
    lane_show_state(lane);
    lane_work_soon(lane);
}

/* ---- Life ---- */

void lane_schedule_begin(struct lane *lane)
{
    if (lane->options.kept == NULL)
        return;
    if ((lane->kept = calloc(1, sizeof *lane->kept)) == NULL)
        abort(); /* at the start */
    lane->kept->schedule = schedule_new(&(struct schedule_options){
        .host = lane->host,
        .table = lane->options.kept,
        .messages = lane->messages,
        .route = lane->options.route,
        .lane = lane->options.lane,
        .lanes = lane->options.lanes,
        .window_messages = WINDOW_MESSAGES,
        .window_bytes = WINDOW_BYTES,
        .on_kept = on_kept,
        .on_kept_end = on_kept_end,
        .on_due = on_due,
        .on_trouble = on_trouble,
        .ctx = lane,
    });
}

static void on_closed(void *ctx)
{
    struct lane *lane = ctx;

    lane->kept->is_closed = true;
    for (struct delivery *dlv = lane->all.next; dlv != &lane->all; dlv = dlv->next)
        if (dlv->state == DELIVERY_KEEPING) /* it could not be written */
            dlv->state = DELIVERY_READY;
    lane->kept->keeping = 0;
    lane_check_ended(lane);
}

bool lane_schedule_closed(struct lane *lane)
{
    if (lane->kept == NULL || lane->kept->is_closed)
        return true;
    if (lane->kept->is_closing)
        return false;
    lane->kept->is_closing = true;
    for (struct delivery *dlv = lane->all.next; dlv != &lane->all; dlv = dlv->next)
        if (dlv->entry != NULL) {
            schedule_leave(lane->kept->schedule, dlv->entry, dlv->is_in_doubt);
            dlv->entry = NULL;
        }
    schedule_close(lane->kept->schedule, on_closed);
    return false;
}

void lane_schedule_end(struct lane *lane)
{
    if (lane->kept == NULL)
        return;
    schedule_free(lane->kept->schedule);
    free(lane->kept);
}
