/* schedule_write.c: one write: what was put, what is erased, the log of both, and the rows of the lanes. */
#include "core/schedule_impl.h"

#include <string.h>

#include "base/big_endian.h"

enum {
    WRITE_BYTES = 1 << 20,
    BUFFER_KEPT = 2 * WRITE_BYTES, /* bytes of a buffer that is not given back */
};

static void *reserve(void *block, size_t *cap, size_t needed, size_t size)
{
    if (needed <= *cap)
        return block;
    *cap = needed + needed / 2;
    free(block);
    return must(malloc(*cap * size));
}

void schedule_remember(struct schedule *s, const struct recent_event *event)
{
    uint8_t key[RECENT_KEY];

    if (!recent_add(s->recent, event, key))
        return;
    if (s->erased_count == s->erased_cap) {
        s->erased_cap = s->erased_cap > 0 ? 2 * s->erased_cap : 16;
        s->erased = must(realloc(s->erased, s->erased_cap * sizeof *s->erased));
    }
    memcpy(s->erased[s->erased_count++], key, sizeof key);
}

static void note_gone(struct schedule *s, const struct row_key *key)
{
    if (s->gone_count == s->gone_cap) {
        s->gone_cap = s->gone_cap > 0 ? 2 * s->gone_cap : 64;
        s->gone = must(realloc(s->gone, s->gone_cap * sizeof *s->gone));
    }
    s->gone[s->gone_count++] = (struct gone){key->stamp, key->lane};
}

/* Move what is gathered into the batch, as much as a write should hold; one at least. */
static void gather(struct schedule *s)
{
    struct batch *batch = &s->batch;

    batch->slot_count = batch->end_count = batch->message_bytes = 0;
    for (; s->slots.first != NULL && batch->message_bytes < WRITE_BYTES; batch->slot_count++) {
        batch->message_bytes += ROW_KEY + row_size(s->slots.first->message);
        add_slot(&batch->slots, take_slot(&s->slots));
    }
    for (; s->ends.first != NULL && batch->message_bytes < WRITE_BYTES; batch->end_count++) {
        batch->message_bytes += ROW_KEY;
        if (s->ends.first->again != NULL)
            batch->message_bytes += row_size(s->ends.first->again->message);
        add_end(&batch->ends, take_end(&s->ends));
    }
}

/* Where a batch is written to. */
struct filling {
    struct batch *batch;
    size_t count; /* of puts */
    uint8_t *at;  /* in its bytes */
    uint8_t *log; /* events, for the row of the log */
    size_t events;
};

static uint8_t *fill(struct filling *f, size_t len)
{
    f->at += len;
    return f->at - len;
}

static void fill_put(struct filling *f, struct bailey_bytes key, struct bailey_bytes value)
{
    f->batch->puts[f->count++] = (struct state_put){key, value};
}

static void log_event(struct schedule *s, struct filling *f, struct row_key key, enum recent_state state)
{
    struct recent_event event = {.key = key, .state = (uint8_t)state};

    recent_event_encode(&event, f->log + RECENT_EVENT * f->events++);
    schedule_remember(s, &event);
}

/* The same message was put before: the later entry replaces the earlier, or may be a copy of what is at the sink. */
static void replace_earlier(struct schedule *s, struct filling *f, struct schedule_note *note)
{
    const struct recent_event *earlier = recent_find(s->recent, note->unique);

    if (earlier == NULL)
        return;
    note->in_doubt |= earlier->state != RECENT_KEPT || schedule_is_in_doubt(s, &earlier->key);
    if (earlier->state != RECENT_KEPT)
        return;
    struct bailey_bytes key = {fill(f, ROW_KEY), ROW_KEY};
    row_key_encode(&earlier->key, f->at - ROW_KEY);
    note_gone(s, &earlier->key);
    fill_put(f, key, BAILEY_NULL_BYTES);
    struct dealt *dealt = schedule_dealt_of(s, earlier->key.lane);
    schedule_window_erase(&dealt->windows[earlier->key.line], key);
    dealt->count--;
}

static void fill_row(struct schedule *s, struct filling *f, const struct schedule_slot *slot)
{
    struct row_key key = {.lane = (uint16_t)s->o.lane,
                          .line = slot->note.line,
                          .due_ms = slot->note.due_ms,
                          .stamp = schedule_next_stamp(s),
                          .unique = slot->note.unique};
    size_t size = row_size(slot->message);
    uint8_t *bytes = fill(f, ROW_KEY), *value = fill(f, size);

    row_key_encode(&key, bytes);
    row_encode(&slot->note, slot->message, value);
    fill_put(f, (struct bailey_bytes){bytes, ROW_KEY}, (struct bailey_bytes){value, size});
    log_event(s, f, key, RECENT_KEPT);
    s->dealt[0].count++;
}

bool schedule_is_newest(const struct schedule *s, const struct schedule_entry *entry)
{
    const struct recent_event *recent = recent_find(s->recent, entry->key.unique);

    return recent == NULL || recent->key.stamp <= entry->key.stamp;
}

static void fill_end(struct schedule *s, struct filling *f, const struct schedule_entry *entry)
{
    struct row_key key = entry->key;

    fill_put(f, entry->bytes, BAILEY_NULL_BYTES);
    note_gone(s, &entry->key);
    schedule_dealt_of(s, key.lane)->count--;
    if (entry->again != NULL) {
        if (!schedule_is_newest(s, entry))
            replace_earlier(s, f, &entry->again->note);
        fill_row(s, f, entry->again);
    } else if (schedule_is_newest(s, entry)) {
        key.lane = (uint16_t)s->o.lane;
        key.stamp = schedule_next_stamp(s);
        log_event(s, f, key, RECENT_DONE);
    }
}

static void fill_lanes(struct schedule *s, struct filling *f)
{
    struct lane_row row = {.is_clean = f->batch->is_last, .stamp = s->stamp, .doubt_stamp = s->doubt_stamp};

    for (unsigned line = 0; line < SCHEDULE_LINES; line++) {
        int64_t ahead_ms = schedule_now_ms(s, line) + SCHEDULE_AHEAD_MS;

        if (ahead_ms > f->batch->taken_ms[line])
            f->batch->taken_ms[line] = ahead_ms;
        row.taken_ms[line] = f->batch->taken_ms[line];
        row.doubt_ms[line] = s->doubt_ms[line];
    }
    for (size_t i = 0; i < s->dealt_count; i++) {
        uint8_t *key = fill(f, LANE_KEY), *value = fill(f, LANE_VALUE);

        row.count = s->dealt[i].count;
        big_endian_put(key, ROW_LANE, 2);
        big_endian_put(key + 2, s->dealt[i].lane, 2);
        lane_row_encode(&row, value);
        fill_put(f, (struct bailey_bytes){key, LANE_KEY}, (struct bailey_bytes){value, LANE_VALUE});
    }
}

static void fill_log(struct schedule *s, struct filling *f)
{
    if (f->events > 0) {
        uint8_t *key = fill(f, RECENT_KEY);

        recent_key_encode((uint16_t)s->o.lane, recent_end_row(s->recent), key);
        fill_put(f, (struct bailey_bytes){key, RECENT_KEY}, (struct bailey_bytes){f->log, RECENT_EVENT * f->events});
    }
    for (size_t i = 0; i < s->erased_count; i++) {
        uint8_t *key = fill(f, RECENT_KEY);

        memcpy(key, s->erased[i], RECENT_KEY);
        fill_put(f, (struct bailey_bytes){key, RECENT_KEY}, BAILEY_NULL_BYTES);
    }
    s->erased_count = 0;
}

/* The longest that a batch can become. */
static void make_batch_room(struct schedule *s)
{
    struct batch *batch = &s->batch;
    size_t count = batch->slot_count + batch->end_count, useless = s->erased_count + count;
    size_t bytes = batch->message_bytes + count * (ROW_KEY + ROW_KEY + RECENT_EVENT) + RECENT_KEY * (useless + 1) +
                   s->dealt_count * (LANE_KEY + LANE_VALUE);

    batch->puts = reserve(batch->puts, &batch->put_cap, 3 * count + s->dealt_count + 1 + useless, sizeof *batch->puts);
    batch->bytes = reserve(batch->bytes, &batch->byte_cap, bytes, 1);
}

static void written(struct state_write *write);

void schedule_write(struct schedule *s)
{
    struct batch *batch = &s->batch;
    struct filling f = {.batch = batch};

    if (!schedule_reads(s))
        s->gone_count = 0;
    gather(s);
    make_batch_room(s);
    f.at = batch->bytes;
    f.log = fill(&f, (batch->slot_count + batch->end_count) * RECENT_EVENT);
    batch->first_stamp = s->stamp + 1;
    memcpy(batch->taken_ms, s->taken_ms, sizeof batch->taken_ms);
    bool is_synced = batch->slot_count > 0 || s->wants_more_time || batch->is_last;
    for (struct schedule_slot *slot = batch->slots.first; slot != NULL; slot = slot->next) {
        replace_earlier(s, &f, &slot->note);
        fill_row(s, &f, slot);
    }
    for (const struct schedule_entry *entry = batch->ends.first; entry != NULL; entry = entry->next) {
        is_synced |= entry->again != NULL;
        fill_end(s, &f, entry);
    }
    fill_log(s, &f);
    fill_lanes(s, &f);
    s->wants_more_time = false;
    s->wants_write = s->slots.first != NULL || s->ends.first != NULL;
    batch->under_way = true;
    batch->write = (struct state_write){
        .puts = batch->puts, .count = f.count, .is_synced = is_synced, .host = s->o.host, .done = written, .ctx = s};
    s->o.table->write(s->o.table, &batch->write);
}

/* What was put, and is due before the horizon, is in its window from now on. */
static void take_over(struct schedule *s)
{
    for (size_t i = 0; i < s->batch.write.count; i++) {
        const struct state_put *put = &s->batch.puts[i];
        struct row_key key;

        if (put->value.data == NULL || !row_key_decode(put->key, &key) || key.lane != s->o.lane)
            continue;
        struct window *window = &s->dealt[0].windows[key.line];
        const struct recent_event *recent = recent_find(s->recent, key.unique);
        if ((window->is_reading || schedule_window_covers(window, put->key)) &&
            (recent == NULL || recent->key.stamp == key.stamp))
            schedule_window_insert(window, entry_new(&key, put->key, put->value));
    }
    for (unsigned line = 0; line < SCHEDULE_LINES; line++)
        if (!s->dealt[0].windows[line].is_reading)
            schedule_window_trim(&s->dealt[0].windows[line], schedule_share(s, s->o.window_messages),
                                 schedule_share(s, s->o.window_bytes));
}

static void tell_kept(struct schedule *s)
{
    struct batch *batch = &s->batch;
    bool any = batch->slots.first != NULL || batch->ends.first != NULL || !s->is_open;

    while (batch->slots.first != NULL)
        s->o.on_kept(s->o.ctx, take_slot(&batch->slots));
    while (batch->ends.first != NULL) {
        struct schedule_entry *entry = take_end(&batch->ends);
        struct schedule_slot *again = entry->again;

        entry_drop(entry);
        if (again != NULL)
            s->o.on_kept(s->o.ctx, again);
    }
    if (any)
        s->o.on_kept_end(s->o.ctx);
}

static void shrink(struct batch *batch)
{
    if (batch->byte_cap <= BUFFER_KEPT)
        return;
    free(batch->bytes);
    batch->bytes = NULL;
    batch->byte_cap = 0;
}

static void written(struct state_write *write)
{
    struct schedule *s = write->ctx;
    struct batch *batch = &s->batch;

    if (write->failed) {
        batch->failed = true;
        schedule_note_failure(s, &s->writing, &write->err);
        schedule_go_on(s);
        return;
    }
    schedule_note_success(s, &s->writing);
    if (write->is_synced)
        memcpy(s->taken_ms, batch->taken_ms, sizeof s->taken_ms);
    take_over(s);
    tell_kept(s);
    shrink(batch);
    batch->under_way = false;
    s->has_ended = batch->is_last;
    if (!s->is_open) {
        s->is_open = true;
        if (s->state == OPENING)
            s->state = RUNNING;
    }
    schedule_look(s);
    schedule_go_on(s);
}
