/* What waits behind a refused message of its key, on disk instead of in the lane's credit, so that other keys go on.
 *
 *     held ──(its key is stuck, and such fill much of the credit)──→ gathered ──→ writing ──written──→ stored: takes no credit
 *       ↑                                                                                                 │
 *       └──────────── in memory again ←── reading ←──(its turn has come: wanted; or one before it, of its key)
 *
 * These are copies: the source has all of them, as unsettled. So nothing is synced, what an earlier process left is erased when the
 * store is opened, and a copy that is damaged or gone is no loss: the source is opened anew, and gives them again.
 *
 * One write and one read are under way at a time; what comes meanwhile goes into the next. A write that fails leaves its messages in
 * memory; after a while others are tried. A read that fails is tried again.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/big_endian.h"
#include "core/lane_impl.h"
#include "message/codec.h"
#include "message/pool.h"

enum {
    KEY_SIZE = 22, /* lane (2), key (8), sequence (8): those of a key lie together, in their order; stamp (4) */
    WRITE_MAX = 256,
    READ_MAX = 64,
    READ_BYTES = 1 << 20,
    RETRY_MS = 1000,
    BUFFER_KEPT = 2 << 20,
};

struct row_key {
    uint8_t bytes[KEY_SIZE];
};

struct lane_spill {
    struct delivery gathered, writing, wanted, reading; /* heads of rings */
    uint32_t stamp;                                     /* so that no erasure meets a later row of the same message */

    struct state_write write;
    struct state_put puts[2 * WRITE_MAX];
    struct row_key keys[WRITE_MAX]; /* of what is written */
    uint8_t *bytes;
    size_t byte_cap;
    struct row_key *erased, *erasing; /* rows that nobody needs any more; of those: in the write */
    size_t erased_count, erased_cap, erasing_count;
    bool writes, waits_to_write;

    struct state_read read;
    struct row_key from, until;
    bool reads, waits_to_read;

    struct bailey_timer retry;
    bool is_closing;
    char trouble[240];
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ---- Rings ---- */

static void ring_init(struct delivery *head)
{
    head->spill_next = head->spill_prev = head;
}

static bool ring_is_empty(const struct delivery *head)
{
    return head->spill_next == head;
}

static void ring_add(struct delivery *head, struct delivery *dlv, enum delivery_spill spill)
{
    dlv->spill = spill;
    dlv->spill_next = head;
    dlv->spill_prev = head->spill_prev;
    head->spill_prev->spill_next = dlv;
    head->spill_prev = dlv;
}

static void ring_remove(struct delivery *dlv, enum delivery_spill spill)
{
    assert(dlv->spill_prev != NULL && dlv->spill_next != NULL);
    dlv->spill = spill;
    dlv->spill_prev->spill_next = dlv->spill_next;
    dlv->spill_next->spill_prev = dlv->spill_prev;
    dlv->spill_next = dlv->spill_prev = NULL;
}

/* ---- Rows ---- */

static struct row_key row_key(const struct lane *lane, uint64_t key, uint64_t sequence, uint32_t stamp)
{
    struct row_key row;

    big_endian_put(row.bytes, lane->options.lane, 2);
    big_endian_put(row.bytes + 2, key, 8);
    big_endian_put(row.bytes + 10, sequence, 8);
    big_endian_put(row.bytes + 18, stamp, 4);
    return row;
}

static struct row_key row_of(const struct delivery *dlv)
{
    assert(dlv != NULL);
    return row_key(dlv->lane, order_key_number(dlv), dlv->sequence, dlv->spill_stamp);
}

static struct bailey_bytes bytes_of(const struct row_key *row)
{
    return (struct bailey_bytes){row->bytes, KEY_SIZE};
}

static void erase(struct lane_spill *spill, struct row_key row)
{
    if (spill->erased_count == spill->erased_cap) {
        spill->erased_cap = spill->erased_cap == 0 ? 64 : 2 * spill->erased_cap;
        spill->erased = must(realloc(spill->erased, spill->erased_cap * sizeof *spill->erased));
    }
    spill->erased[spill->erased_count++] = row;
}

/* ---- Trouble ---- */

const char *lane_spill_trouble(const struct lane *lane)
{
    return lane->spill == NULL ? "" : lane->spill->trouble;
}

static void tell_trouble(struct lane *lane, const char *reason)
{
    if (strcmp(lane->spill->trouble, reason) == 0)
        return;
    snprintf(lane->spill->trouble, sizeof lane->spill->trouble, "%s", reason);
    lane_show_state(lane);
}

static void retry_due(struct bailey_timer *timer)
{
    struct lane *lane = timer->ctx;

    lane->spill->waits_to_write = lane->spill->waits_to_read = false;
    lane_spill_flush(lane);
}

static void after_request(struct lane *lane)
{
    if (lane->spill->is_closing)
        lane_check_ended(lane);
    else
        lane_work_soon(lane);
}

/* ---- Writing ---- */

static bool is_much(const struct lane *lane)
{
    int64_t pending = lane->waiting + order_stuck(lane->order);

    return pending >= lane->options.credit_messages / 4 || lane->unsettled_bytes >= lane->options.credit_bytes / 4;
}

static bool may_put(const struct lane *lane)
{
    const struct lane_spill *spill = lane->spill;

    return spill != NULL && !spill->waits_to_write && !lane->is_draining &&
           lane->spilled + lane->spilling < lane->options.ahead_max && is_much(lane);
}

/* What waits for its time (of the schedule), or was sent before, stays in memory. */
static void put(struct lane *lane, struct delivery *dlv)
{
    if (dlv->state != DELIVERY_HELD || dlv->spill != SPILL_NONE || dlv->entry != NULL || dlv->holds_slot ||
        dlv->pub.attempts > 0 || dlv->is_in_doubt)
        return;
    dlv->spill_stamp = lane->spill->stamp++;
    ring_add(&lane->spill->gathered, dlv, SPILL_GATHERED);
    order_moved(lane->order, dlv, false);
    lane->spilling++;
}

void lane_spill_put(struct lane *lane, struct delivery *dlv)
{
    if (may_put(lane) && order_is_stuck(dlv))
        put(lane, dlv);
}

void lane_spill_behind(struct lane *lane, const struct delivery *dlv)
{
    if (lane->spill == NULL || dlv->turn == NULL)
        return;
    for (struct delivery *held = order_first_held(dlv); held != NULL && may_put(lane); held = held->held_next)
        put(lane, held);
}

/* Its message is on disk. */
static void store(struct lane *lane, struct delivery *dlv)
{
    ring_remove(dlv, SPILL_STORED);
    lane->spilling--;
    lane->unsettled--;
    lane->unsettled_bytes -= (int64_t)dlv->size;
    lane->spilled++;
    bailey_message_unref(dlv->pub.message);
    dlv->pub.message = NULL;
    dlv->is_prepared = false; /* what was made of it pointed into it */
    dlv->is_detached = true;
}

/* It was not written, and stays in memory. */
static void stay(struct lane *lane, struct delivery *dlv)
{
    ring_remove(dlv, SPILL_NONE);
    order_moved(lane->order, dlv, true);
    lane->spilling--;
}

static void write_failed(struct lane *lane, const struct bailey_error *err)
{
    struct lane_spill *spill = lane->spill;

    bailey_log(BAILEY_LOG_WARN, "spill.failed", kv_str("route", lane->options.route),
               kv_u64("lane", lane->options.lane), kv_error(err));
    while (!ring_is_empty(&spill->writing)) {
        erase(spill, row_of(spill->writing.spill_next)); /* it may be there all the same */
        stay(lane, spill->writing.spill_next);
    }
    while (!ring_is_empty(&spill->gathered))
        stay(lane, spill->gathered.spill_next);
    if (spill->is_closing)
        return;
    spill->waits_to_write = true;
    bailey_timer_start(lane->host, &spill->retry, RETRY_MS);
}

static void written(struct lane *lane)
{
    struct lane_spill *spill = lane->spill;

    if (spill->erasing_count > 0) {
        spill->erased_count -= spill->erasing_count;
        memmove(spill->erased, spill->erased + spill->erasing_count, spill->erased_count * sizeof *spill->erased);
    }
    while (!ring_is_empty(&spill->writing))
        store(lane, spill->writing.spill_next);
}

static void has_written(struct state_write *write)
{
    struct lane *lane = write->ctx;
    struct lane_spill *spill = lane->spill;

    spill->writes = false;
    if (write->failed)
        write_failed(lane, &write->err);
    else
        written(lane);
    free(spill->erasing);
    spill->erasing = NULL;
    if (spill->byte_cap > BUFFER_KEPT) {
        free(spill->bytes);
        spill->bytes = NULL;
        spill->byte_cap = 0;
    }
    lane_spill_flush(lane);
    after_request(lane);
}

static void make_room(struct lane_spill *spill, size_t needed)
{
    if (needed <= spill->byte_cap)
        return;
    free(spill->bytes);
    spill->bytes = must(malloc(needed));
    spill->byte_cap = needed;
}

/* The rows of what was gathered; returns how many. */
static size_t encode(struct lane_spill *spill)
{
    size_t count = 0, size = 0;
    struct delivery *dlv;

    for (dlv = spill->gathered.spill_next; dlv != &spill->gathered && count < WRITE_MAX; dlv = dlv->spill_next, count++)
        size += message_encoded_size(dlv->pub.message);
    make_room(spill, size);
    for (size_t i = 0, at = 0; i < count; i++) {
        dlv = spill->gathered.spill_next;
        size = message_encoded_size(dlv->pub.message);
        message_encode(dlv->pub.message, spill->bytes + at);
        spill->keys[i] = row_of(dlv);
        spill->puts[i] = (struct state_put){.key = bytes_of(&spill->keys[i]), .value = {spill->bytes + at, size}};
        at += size;
        ring_remove(dlv, SPILL_NONE);
        ring_add(&spill->writing, dlv, SPILL_WRITING);
    }
    return count;
}

/* Rows are written once: none is erased before it is there. */
static size_t add_erased(struct lane_spill *spill, size_t count)
{
    size_t erasing = spill->erased_count < WRITE_MAX ? spill->erased_count : WRITE_MAX;

    spill->erasing_count = erasing;
    if (erasing == 0)
        return count;
    spill->erasing = must(malloc(erasing * sizeof *spill->erasing)); /* `erased` may grow meanwhile */
    memcpy(spill->erasing, spill->erased, erasing * sizeof *spill->erasing);
    for (size_t i = 0; i < erasing; i++)
        spill->puts[count++] = (struct state_put){.key = bytes_of(&spill->erasing[i])};
    return count;
}

static void start_write(struct lane *lane)
{
    struct lane_spill *spill = lane->spill;

    if (spill->writes || spill->waits_to_write ||
        (ring_is_empty(&spill->gathered) && spill->erased_count < WRITE_MAX / 4))
        return;
    spill->write = (struct state_write){
        .puts = spill->puts,
        .count = add_erased(spill, encode(spill)),
        .host = lane->host,
        .done = has_written,
        .ctx = lane,
    };
    spill->writes = true;
    lane->options.spill->write(lane->options.spill, &spill->write);
}

/* ---- Reading ---- */

static void want(struct lane_spill *spill, struct delivery *dlv)
{
    ring_add(&spill->wanted, dlv, SPILL_WANTED);
    dlv->state = DELIVERY_LOADING;
}

/* What was not read stays on disk. */
static void put_back(struct lane_spill *spill)
{
    while (!ring_is_empty(&spill->reading)) {
        struct delivery *dlv = spill->reading.spill_next;

        ring_remove(dlv, SPILL_STORED);
        if (dlv->state == DELIVERY_LOADING)
            want(spill, dlv);
    }
}

/* Its message is in memory again. */
static void load(struct lane *lane, struct delivery *dlv, struct bailey_message *msg)
{
    erase(lane->spill, row_of(dlv));
    ring_remove(dlv, SPILL_NONE);
    if (dlv->state == DELIVERY_HELD)
        order_moved(lane->order, dlv, true);
    msg->group = dlv->settlement.group;
    msg->position = dlv->settlement.position;
    dlv->pub.message = msg;
    lane->spilled--;
    lane->unsettled++;
    lane->unsettled_bytes += (int64_t)dlv->size;
}

/* False with `err`: a copy is damaged. */
static bool take_row(struct lane *lane, const struct state_row *row, struct batch *going, struct bailey_error *err)
{
    struct delivery *dlv = lane->spill->reading.spill_next;
    struct bailey_message *msg;

    while (dlv != &lane->spill->reading && memcmp(row_of(dlv).bytes, row->key.data, KEY_SIZE) != 0)
        dlv = dlv->spill_next;
    if (dlv == &lane->spill->reading)
        return true; /* of one that has been let go of, or that was not asked for */
    msg = message_new(lane->messages);
    if (!message_decode(msg, row->value, err)) {
        bailey_message_unref(msg);
        return false;
    }
    load(lane, dlv, msg);
    if (dlv->state == DELIVERY_LOADING) {
        dlv->state = DELIVERY_READY;
        going->items[going->count++] = dlv;
    }
    return true;
}

/* They are not to be had: the source gives them again. */
static void give_up(struct lane *lane, const struct bailey_error *err)
{
    put_back(lane->spill);
    bailey_log(BAILEY_LOG_ERROR, "spill.damaged", kv_str("route", lane->options.route),
               kv_u64("lane", lane->options.lane), kv_error(err));
    if (end_is_open(&lane->from))
        bailey_down(&lane->from.port, err);
}

static bool take_rows(struct lane *lane, const struct state_read *read, struct batch *going, struct bailey_error *err)
{
    const struct delivery *first = lane->spill->reading.spill_next;
    bool is_first_alive = first != &lane->spill->reading && first->state == DELIVERY_LOADING;

    for (size_t i = 0; i < read->count; i++)
        if (!take_row(lane, &read->rows[i], going, err))
            return false;
    if (is_first_alive && going->count == 0)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "a message that waits for its key is not in the store");
    return true;
}

static void has_read(struct state_read *read)
{
    struct lane *lane = read->ctx;
    struct lane_spill *spill = lane->spill;
    struct batch going;
    struct bailey_error err;

    going.count = 0;
    spill->reads = false;
    if (spill->is_closing) {
        /* nobody waits for them any more */
    } else if (read->failed) {
        spill->waits_to_read = true;
        bailey_timer_start(lane->host, &spill->retry, RETRY_MS);
        tell_trouble(lane, read->err.text);
    } else {
        tell_trouble(lane, "");
        if (!take_rows(lane, read, &going, &err))
            give_up(lane, &err);
    }
    put_back(spill); /* what did not fit into the answer */
    free(read->rows);
    if (going.count > 0)
        lane_go_behind_order(lane, &going);
    lane_flush(lane);
    after_request(lane);
}

/* How many there is room for. */
static size_t read_most(const struct lane *lane)
{
    int64_t room = lane->options.credit_messages - lane->unsettled;

    return room < 1 ? 1 : room < READ_MAX ? (size_t)room : READ_MAX;
}

/* The first whose turn has come, and of its key those behind it. */
static size_t begin_reading(struct lane *lane)
{
    struct lane_spill *spill = lane->spill;
    struct delivery *first = spill->wanted.spill_next, *held = order_first_held(first);
    size_t count = 1, most = read_most(lane);

    ring_remove(first, SPILL_STORED);
    ring_add(&spill->reading, first, SPILL_READING);
    for (; held != NULL && held->spill == SPILL_STORED && count < most; held = held->held_next, count++)
        ring_add(&spill->reading, held, SPILL_READING);
    return count;
}

static void start_read(struct lane *lane)
{
    struct lane_spill *spill = lane->spill;

    if (spill->reads || spill->waits_to_read || ring_is_empty(&spill->wanted))
        return;
    struct delivery *first = spill->wanted.spill_next;

    spill->from = row_of(first);
    spill->until = row_key(lane, order_key_number(first), UINT64_MAX, 0);
    spill->read = (struct state_read){
        .from = bytes_of(&spill->from),
        .until = bytes_of(&spill->until),
        .max = begin_reading(lane) + spill->erased_count, /* rows that are still there */
        .max_bytes = READ_BYTES,
        .host = lane->host,
        .done = has_read,
        .ctx = lane,
    };
    spill->reads = true;
    lane->options.spill->read(lane->options.spill, &spill->read);
}

bool lane_spill_back(struct lane *lane, struct delivery *dlv)
{
    struct lane_spill *spill = lane->spill;

    switch ((enum delivery_spill)dlv->spill) {
    case SPILL_NONE:
        return true;
    case SPILL_WRITING:
        erase(spill, row_of(dlv));
        __attribute__((fallthrough));
    case SPILL_GATHERED:
        ring_remove(dlv, SPILL_NONE);
        lane->spilling--;
        return true;
    case SPILL_STORED:
        want(spill, dlv);
        return false;
    default: /* being read for one before it */
        dlv->state = DELIVERY_LOADING;
        return false;
    }
}

void lane_spill_forget(struct lane *lane, struct delivery *dlv)
{
    struct lane_spill *spill = lane->spill;

    if (dlv->spill == SPILL_NONE)
        return;
    if (dlv->state == DELIVERY_HELD)
        order_moved(lane->order, dlv, true);
    if (dlv->spill == SPILL_GATHERED || dlv->spill == SPILL_WRITING) {
        lane_spill_back(lane, dlv);
        return;
    }
    erase(spill, row_of(dlv));
    if (dlv->spill != SPILL_STORED)
        ring_remove(dlv, SPILL_STORED);
    dlv->spill = SPILL_NONE;
    lane->spilled--;
    lane->unsettled++;
    lane->unsettled_bytes += (int64_t)dlv->size;
}

void lane_spill_flush(struct lane *lane)
{
    if (lane->spill->is_closing)
        return;
    start_write(lane);
    start_read(lane);
}

/* ---- Life ---- */

void lane_spill_begin(struct lane *lane)
{
    struct lane_spill *spill;

    if (lane->options.spill == NULL)
        return;
    spill = lane->spill = must(calloc(1, sizeof *spill));
    ring_init(&spill->gathered);
    ring_init(&spill->writing);
    ring_init(&spill->wanted);
    ring_init(&spill->reading);
    spill->retry = (struct bailey_timer){.fire = retry_due, .ctx = lane};
}

bool lane_spill_closed(struct lane *lane)
{
    if (lane->spill == NULL)
        return true;
    lane->spill->is_closing = true;
    bailey_timer_stop(lane->host, &lane->spill->retry);
    return !lane->spill->writes && !lane->spill->reads;
}

void lane_spill_end(struct lane *lane)
{
    struct lane_spill *spill = lane->spill;

    if (spill == NULL)
        return;
    assert(!spill->writes && !spill->reads);
    free(spill->bytes);
    free(spill->erased);
    free(spill->erasing);
    free(spill);
}
