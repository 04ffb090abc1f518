/* A lane's ids: asked for before a message is sent, recorded after it was confirmed, given back when it is let go.
 *
 * Answers come in batches, outside of any call of the ends.
 */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/lane_impl.h"

static struct delivery *delivery_of(struct dedup_slot *slot)
{
    return (struct delivery *)((char *)slot - offsetof(struct delivery, slot));
}

/* ---- Order: what may go on waits for those that asked before it, but not for copies of others in flight ---- */

static void asked_push(struct lane *lane, struct delivery *dlv)
{
    dlv->asked_prev = lane->ids->asked.asked_prev;
    dlv->asked_next = &lane->ids->asked;
    dlv->asked_prev->asked_next = lane->ids->asked.asked_prev = dlv;
}

static void asked_remove(struct delivery *dlv)
{
    if (dlv->asked_next == NULL)
        return;
    dlv->asked_prev->asked_next = dlv->asked_next;
    dlv->asked_next->asked_prev = dlv->asked_prev;
    dlv->asked_next = dlv->asked_prev = NULL;
}

/* ---- Requests ---- */

/* True: it may go on at once. */
static bool ask(struct delivery *dlv)
{
    struct lane_ids *ids = dlv->lane->ids;
    bool is_granted = dedup_ask(ids->client, &dlv->slot);

    dlv->holds_slot = true;
    ids->slots++;
    if (is_granted && ids->asked.asked_next == &ids->asked)
        return true;
    dlv->state = is_granted ? DELIVERY_GRANTED : DELIVERY_ASKING;
    asked_push(dlv->lane, dlv);
    return false;
}

void lane_ask(struct batch *batch)
{
    size_t kept = 0;

    for (size_t i = 0; i < batch->count; i++)
        dedup_prefetch(batch->items[i]->lane->ids->client, batch->items[i]->slot.id);
    for (size_t i = 0; i < batch->count; i++) {
        struct delivery *dlv = batch->items[i];

        if (dlv->holds_slot || ask(dlv)) /* from an earlier round, or just now */
            batch->items[kept++] = dlv;
    }
    batch->count = kept;
}

/* Nobody reads it any more. It counts as unsettled until the end. */
static void drop_message(struct delivery *dlv)
{
    bailey_message_unref(dlv->pub.message);
    dlv->pub.message = NULL;
}

void lane_dedup_record(struct lane *lane, struct delivery *dlv, enum id_outcome outcome)
{
    lane_delivery_let_off(dlv);
    dlv->state = DELIVERY_RECORDING;
    drop_message(dlv);
    dedup_finish(lane->ids->client, &dlv->slot, outcome);
}

void lane_dedup_leave(struct lane *lane, struct delivery *dlv)
{
    lane_delivery_let_off(dlv);
    asked_remove(dlv);
    dlv->is_in_doubt |=
        dlv->state == DELIVERY_RECORDING; /* its entry stays: the sink has it, and the record may fail */
    dlv->state = DELIVERY_LEAVING;
    drop_message(dlv);
    dedup_withdraw(lane->ids->client, &dlv->slot, dlv->is_in_doubt);
}

void lane_dedup_leave_all(struct lane *lane)
{
    for (struct delivery *dlv = lane->all.next; dlv != &lane->all; dlv = dlv->next)
        if (dlv->holds_slot && dlv->state != DELIVERY_LEAVING && dlv->state != DELIVERY_KEEPING)
            lane_dedup_leave(lane, dlv);
    dedup_flush(lane->ids->client);
}

/* ---- Answers ---- */

static void go_on(struct lane *lane)
{
    struct batch *going = &lane->ids->going, batch;
    bool is_detached = false; /* one of them: the text of its id was part of the message that it had then */

    batch.count = going->count;
    for (size_t i = 0; i < batch.count; i++) {
        batch.items[i] = going->items[i];
        is_detached |= batch.items[i]->is_detached;
    }
    going->count = 0;
    lane_run_steps(lane, &batch, is_detached ? lane->ids->asks_at : lane->ids->asks_at + 1);
}

static void slot_is_free(struct delivery *dlv)
{
    dlv->holds_slot = false;
    dlv->lane->ids->slots--;
}

static void go(struct delivery *dlv)
{
    struct lane *lane = dlv->lane;

    dlv->state = DELIVERY_READY;
    lane->ids->going.items[lane->ids->going.count++] = dlv;
    if (lane->ids->going.count == BATCH_MAX)
        go_on(lane);
}

static void grant(struct delivery *dlv, bool is_marked)
{
    dlv->pub.possible_duplicate |= is_marked;
    if (dlv->asked_next != NULL)
        dlv->state = DELIVERY_GRANTED;
    else /* it followed another one: its place in the order is long gone */
        go(dlv);
}

/* Those at the front that have their answer. */
static void go_in_order(struct lane *lane)
{
    struct delivery *dlv;

    while ((dlv = lane->ids->asked.asked_next) != &lane->ids->asked && dlv->state == DELIVERY_GRANTED) {
        asked_remove(dlv);
        go(dlv);
    }
}

/* Its id is recorded: by itself, or by another one before it. */
static void accept(struct delivery *dlv)
{
    struct lane *lane = dlv->lane;

    asked_remove(dlv);
    slot_is_free(dlv);
    lane_note_end(&lane->ids->ended, dlv, BAILEY_ACCEPTED);
    lane_delivery_free(dlv);
    if (lane->ids->ended.count == BATCH_MAX)
        lane_settle(lane, &lane->ids->ended);
}

static void on_answer(void *ctx, struct dedup_slot *slot, enum dedup_answer answer)
{
    struct delivery *dlv = delivery_of(slot);

    (void)ctx;
    if (answer == DEDUP_WITHDRAWN) {
        assert(dlv->state == DELIVERY_LEAVING);
        slot_is_free(dlv);
        lane_delivery_free(dlv);
        return;
    }
    if (dlv->state == DELIVERY_LEAVING) /* the answers have crossed */
        return;
    switch (answer) {
    case DEDUP_FOLLOWS:
        asked_remove(dlv);
        break;
    case DEDUP_GO:
    case DEDUP_GO_MARKED:
        assert(dlv->state == DELIVERY_ASKING);
        grant(dlv, answer == DEDUP_GO_MARKED);
        break;
    case DEDUP_DUPLICATE:
        assert(dlv->state == DELIVERY_ASKING);
        status_add(&dlv->lane->options.status->duplicates, 1);
        accept(dlv);
        break;
    case DEDUP_RECORDED:
        assert(dlv->state == DELIVERY_RECORDING);
        accept(dlv);
        break;
    case DEDUP_WITHDRAWN:
        break;
    }
}

static void on_answers_end(void *ctx)
{
    struct lane *lane = ctx;

    if (lane->is_ended)
        return;
    go_in_order(lane);
    if (lane->ids->going.count > 0)
        go_on(lane);
    lane_settle(lane, &lane->ids->ended);
    lane_flush(lane); /* a step behind the ids may have refused some, and let them go */
    lane_work_soon(lane);
    lane_check_ended(lane);
}

/* ---- Trouble ---- */

const char *lane_dedup_trouble(const struct lane *lane)
{
    if (lane->ids == NULL || lane->options.dedup->pass_on_failure)
        return "";
    return dedup_shard_trouble(lane->options.dedup->shard);
}

static void on_trouble(void *ctx)
{
    struct lane *lane = ctx;

    lane_show_state(lane);
    lane_work_soon(lane);
}

/* ---- Life ---- */

void lane_dedup_begin(struct lane *lane)
{
    const struct lane_dedup_options *options = lane->options.dedup;
    struct lane_ids *ids;

    if (options == NULL)
        return;
    if ((ids = calloc(1, sizeof *ids)) == NULL)
        abort(); /* at the start */
    ids->asked.asked_next = ids->asked.asked_prev = &ids->asked;
    ids->asks_at = (size_t)(lane->options.key != NULL) + (lane->options.order != BAILEY_ORDER_NONE); /* steps.c */
    ids->client = dedup_client_new(&(struct dedup_client_options){
        .host = lane->host,
        .group = options->group,
        .number = options->number,
        .on_answer = on_answer,
        .on_answers_end = on_answers_end,
        .ctx = lane,
    });
    lane->ids = ids;
    dedup_shard_watch(options->shard, on_trouble, lane);
}

void lane_dedup_end(struct lane *lane)
{
    if (lane->ids == NULL)
        return;
    dedup_shard_watch(lane->options.dedup->shard, NULL, NULL);
    dedup_client_free(lane->ids->client);
    free(lane->ids);
}
