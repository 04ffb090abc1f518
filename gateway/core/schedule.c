/* schedule.c: what is due, and what is done next; see the header.
 *
 * One write is under way at a time; what is put, done and put again meanwhile is gathered, and goes into the next one. Each write
 * carries the rows of the lane itself (schedule_row.h): how many messages there are, and until when they may be taken. So taking
 * costs no write of its own, and after a crash it is known which messages may have been taken, whatever was done to a clock.
 *
 * A row that was put is in the window only when its write is answered. What a read shows of a write that is not answered is passed over.
 */
#include "core/schedule_impl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <bailey/log.h>

#include "message/codec.h"
#include "message/pool.h"

enum {
    RETRY_MS = 1000,
    LOOK_MS = 1000, /* how often the wall clock is looked at while something waits for it */
    LEAD_MS = 50,   /* a write that is made for the time alone begins so much before it is needed */
};

/* ---- Taken ---- */

static void link_taken(struct schedule *s, struct schedule_entry *entry)
{
    entry->next = s->taken;
    entry->prev = &s->taken;
    if (s->taken != NULL)
        s->taken->prev = &entry->next;
    s->taken = entry;
}

static void unlink_taken(struct schedule_entry *entry)
{
    *entry->prev = entry->next;
    if (entry->next != NULL)
        entry->next->prev = entry->prev;
}

/* ---- Clocks ---- */

int64_t schedule_now_ms(const struct schedule *s, unsigned line)
{
    return line == SCHEDULE_WAIT ? bailey_now_ms(s->o.host) + s->o.table->clock_ms : bailey_wall_ms(s->o.host);
}

uint64_t schedule_next_stamp(struct schedule *s)
{
    uint64_t now = (uint64_t)schedule_now_ms(s, SCHEDULE_WAIT) << STAMP_BITS;

    s->stamp = now > s->stamp ? now : s->stamp + 1;
    return s->stamp;
}

bool schedule_is_in_doubt(const struct schedule *s, const struct row_key *key)
{
    return key->due_ms <= s->doubt_ms[key->line] && key->stamp < s->doubt_stamp;
}

/* ---- Trouble ---- */

static void tell_trouble(struct schedule *s, const char *reason)
{
    if (strcmp(s->trouble, reason) == 0)
        return;
    snprintf(s->trouble, sizeof s->trouble, "%s", reason);
    if (s->state < CLOSING)
        s->o.on_trouble(s->o.ctx, s->trouble);
}

void schedule_note_failure(struct schedule *s, struct difficulty *difficulty, const struct bailey_error *err)
{
    difficulty->fails = difficulty->waits = true;
    bailey_timer_start(s->o.host, &s->retry, RETRY_MS);
    tell_trouble(s, err->text);
}

void schedule_note_success(struct schedule *s, struct difficulty *difficulty)
{
    difficulty->fails = false;
    if (!s->reading.fails && !s->writing.fails)
        tell_trouble(s, "");
}

void schedule_tell_damaged(struct schedule *s, struct bailey_bytes key, const struct bailey_error *err)
{
    char hex[2 * BAILEY_STORE_KEY_MAX + 1] = "";

    for (size_t i = 0; i < key.len; i++)
        snprintf(hex + 2 * i, 3, "%02x", key.data[i]);
    bailey_log(BAILEY_LOG_ERROR, "schedule.damaged", kv_str("route", s->o.route), kv_u64("lane", s->o.lane),
               kv_str("key", hex), kv_error(err));
}

/* Once for each row, though it may be read again. */
static void damaged_row(struct window *window, struct bailey_bytes key, const struct bailey_error *err)
{
    if (window->damaged_len > 0 && key_compare(key, (struct bailey_bytes){window->damaged, window->damaged_len}) <= 0)
        return;
    memcpy(window->damaged, key.data, key.len);
    window->damaged_len = key.len;
    schedule_tell_damaged(window->schedule, key, err);
}

/* ---- What is due ---- */

/* The one whose time came first, or is the next to come; `wait_ms`: until then, 0 or less: it is due. */
static struct schedule_entry *next_due(const struct schedule *s, int64_t *wait_ms)
{
    int64_t now[SCHEDULE_LINES] = {schedule_now_ms(s, SCHEDULE_WAIT), schedule_now_ms(s, SCHEDULE_WALL)};
    struct schedule_entry *next = NULL;

    for (size_t i = 0; i < s->dealt_count; i++)
        for (unsigned line = 0; line < SCHEDULE_LINES; line++) {
            struct schedule_entry *first = schedule_window_first(&s->dealt[i].windows[line]);
            int64_t left;

            if (first == NULL)
                continue;
            if (__builtin_sub_overflow(first->key.due_ms, now[line], &left))
                left = first->key.due_ms < 0 ? INT64_MIN : INT64_MAX;
            if (next == NULL || left < *wait_ms) {
                next = first;
                *wait_ms = left;
            }
        }
    return next;
}

static bool waits_for_wall(const struct schedule *s)
{
    for (size_t i = 0; i < s->dealt_count; i++)
        if (schedule_window_first(&s->dealt[i].windows[SCHEDULE_WALL]) != NULL)
            return true;
    return false;
}

static bool may_take(const struct schedule *s, const struct schedule_entry *entry)
{
    return entry->key.due_ms <= s->taken_ms[entry->key.line];
}

static void ask_for_time(struct schedule *s)
{
    s->wants_more_time = true;
    bailey_again(s->o.host, &s->go_on);
}

void schedule_look(struct schedule *s)
{
    int64_t wait_ms = 0;
    const struct schedule_entry *next = s->state == RUNNING && !s->has_told ? next_due(s, &wait_ms) : NULL;

    bailey_timer_stop(s->o.host, &s->due);
    if (next == NULL)
        return;
    if (!may_take(s, next)) {
        if (wait_ms <= LEAD_MS) {
            ask_for_time(s); /* when that is written, it looks again */
            return;
        }
        wait_ms -= LEAD_MS;
    }
    if (wait_ms > LOOK_MS && waits_for_wall(s))
        wait_ms = LOOK_MS;
    bailey_timer_start(s->o.host, &s->due, wait_ms > 0 ? wait_ms : 0);
}

static void due_fired(struct bailey_timer *timer)
{
    struct schedule *s = timer->ctx;
    int64_t wait_ms = 0;
    const struct schedule_entry *next = next_due(s, &wait_ms);

    s->has_told = next != NULL && wait_ms <= 0 && may_take(s, next);
    if (s->has_told)
        s->o.on_due(s->o.ctx);
    else
        schedule_look(s);
}

/* ---- Windows ---- */

size_t schedule_share(const struct schedule *s, size_t all)
{
    size_t share = all / (s->dealt_count * SCHEDULE_LINES);

    return share > 0 ? share : 1;
}

static bool is_gone(const struct schedule *s, const struct row_key *key)
{
    for (size_t i = 0; i < s->gone_count; i++)
        if (s->gone[i].stamp == key->stamp && s->gone[i].lane == key->lane)
            return true;
    return false;
}

static bool has(const struct schedule_entry *entry, struct bailey_bytes bytes)
{
    while (entry != NULL && key_compare(entry->bytes, bytes) != 0)
        entry = entry->next;
    return entry != NULL;
}

/* It is taken, or its end is not written. */
static bool is_out(const struct schedule *s, const struct window *window, struct bailey_bytes bytes)
{
    return schedule_window_may_have_removed(window, bytes) &&
           (has(s->taken, bytes) || has(s->ends.first, bytes) || has(s->batch.ends.first, bytes));
}

/* One that is out, or is erased, or is of a write that is not answered yet. */
static bool is_passed_over(const struct schedule *s, const struct window *window, const struct row_key *key,
                           struct bailey_bytes bytes)
{
    const struct recent_event *recent = recent_find(s->recent, key->unique);

    if (is_out(s, window, bytes))
        return true;
    if (key->lane == s->o.lane && s->batch.under_way && key->stamp >= s->batch.first_stamp)
        return true;
    return recent != NULL && recent->key.stamp > key->stamp && is_gone(s, key);
}

static void take_rows(struct schedule *s, struct window *window, struct state_read *read)
{
    struct row_block *block = block_new(read);
    size_t count = 0;

    for (size_t i = 0; i < read->count; i++) {
        const struct state_row *row = &block->rows[i];
        struct schedule_entry *entry = &block->entries[count];
        struct bailey_error err;

        *entry = (struct schedule_entry){.block = block, .bytes = row->key, .value = row->value};
        if (row_key_decode(row->key, &entry->key)) {
            count += !is_passed_over(s, window, &entry->key, row->key);
            continue;
        }
        bailey_fail(&err, BAILEY_ERR_PERMANENT, "a row's key is damaged");
        damaged_row(window, row->key, &err);
    }
    block->refs = count + 1;
    for (size_t i = 0; i < count; i++)
        schedule_window_insert(window, &block->entries[i]);
    schedule_window_extend(window, read->count > 0 ? block->rows[read->count - 1].key : BAILEY_NULL_BYTES,
                           read->is_end);
    if (--block->refs == 0) {
        free(block->rows);
        free(block);
    }
}

static void window_read(struct state_read *read)
{
    struct window *window = read->ctx;
    struct schedule *s = window->schedule;

    window->is_reading = false;
    if (read->failed) {
        schedule_window_retreat(window);
        schedule_note_failure(s, &s->reading, &read->err);
    } else {
        schedule_note_success(s, &s->reading);
        take_rows(s, window, read);
        schedule_window_trim(window, schedule_share(s, s->o.window_messages), schedule_share(s, s->o.window_bytes));
    }
    schedule_look(s);
    schedule_go_on(s);
}

static void refill(struct schedule *s, struct window *window)
{
    size_t max = schedule_share(s, s->o.window_messages), max_bytes = schedule_share(s, s->o.window_bytes);

    if (window->is_whole || window->is_reading || s->reading.waits || schedule_window_count(window) > max / 2 ||
        window->bytes > max_bytes / 2)
        return;
    window->is_reading = true;
    window->read = (struct state_read){
        .from = schedule_window_from(window),
        .until = {window->until, sizeof window->until},
        .max = max - schedule_window_count(window),
        .max_bytes = max_bytes - window->bytes,
        .host = s->o.host,
        .done = window_read,
        .ctx = window,
    };
    s->o.table->read(s->o.table, &window->read);
}

static void refill_all(struct schedule *s)
{
    for (size_t i = 0; i < s->dealt_count; i++)
        for (unsigned line = 0; line < SCHEDULE_LINES; line++)
            refill(s, &s->dealt[i].windows[line]);
}

bool schedule_reads(const struct schedule *s)
{
    if (s->is_reading)
        return true;
    for (size_t i = 0; i < s->dealt_count; i++)
        for (unsigned line = 0; line < SCHEDULE_LINES; line++)
            if (s->dealt[i].windows[line].is_reading)
                return true;
    return false;
}

struct dealt *schedule_dealt_of(struct schedule *s, uint16_t lane)
{
    for (size_t i = 0; i < s->dealt_count; i++)
        if (s->dealt[i].lane == lane)
            return &s->dealt[i];
    return NULL;
}

void schedule_adopt(struct schedule *s, uint16_t lane)
{
    s->dealt = must(realloc(s->dealt, (s->dealt_count + 1) * sizeof *s->dealt));
    s->dealt[s->dealt_count] = (struct dealt){.lane = lane};
    s->dealt_count++;
}

/* ---- Going on ---- */

static void write_on(struct schedule *s)
{
    if (s->batch.failed) {
        if (s->writing.waits)
            return;
        s->batch.failed = false;
        s->o.table->write(s->o.table, &s->batch.write);
    } else if (!s->batch.under_way && (s->wants_write || s->wants_more_time)) {
        schedule_write(s);
    }
}

static void end(struct schedule *s)
{
    s->state = CLOSED;
    bailey_timer_stop(s->o.host, &s->retry);
    s->on_closed(s->o.ctx);
}

/* What is gathered is written, then that the end was clean: it was not if something is still taken. What fails is tried once more. */
static void close_on(struct schedule *s)
{
    struct batch *batch = &s->batch;

    if (schedule_reads(s))
        return;
    if (batch->failed && !s->gave_up) {
        s->gave_up = true;
        batch->failed = false;
        s->o.table->write(s->o.table, &batch->write);
        return;
    }
    if (batch->under_way && !batch->failed)
        return;
    if (!s->is_open || s->has_ended || batch->failed) {
        end(s);
        return;
    }
    batch->is_last = s->slots.first == NULL && s->ends.first == NULL && s->taken == NULL;
    bool has_more = s->slots.first != NULL || s->ends.first != NULL;
    if (batch->is_last || has_more)
        schedule_write(s);
    else
        end(s);
}

void schedule_go_on(struct schedule *s)
{
    switch (s->state) {
    case READING_LANES:
    case READING_RECENT:
        schedule_read_at_start(s);
        return;
    case OPENING:
        s->wants_more_time = true;
        write_on(s);
        return;
    case RUNNING:
        refill_all(s);
        write_on(s);
        return;
    case CLOSING:
        close_on(s);
        return;
    case CLOSED:
        return;
    }
}

static void go_on_task(struct bailey_task *task)
{
    schedule_go_on(task->ctx);
}

static void retry_fired(struct bailey_timer *timer)
{
    struct schedule *s = timer->ctx;

    s->reading.waits = s->writing.waits = false;
    schedule_go_on(s);
}

/* ---- What the lane calls ---- */

struct schedule *schedule_new(const struct schedule_options *options)
{
    struct schedule *s = must(calloc(1, sizeof *s));

    assert(options->lane < options->lanes && options->lanes < SCHEDULE_LANES_MAX);
    s->o = *options;
    s->slots.end = &s->slots.first;
    s->ends.end = &s->ends.first;
    s->batch.slots.end = &s->batch.slots.first;
    s->batch.ends.end = &s->batch.ends.first;
    s->recent = recent_new();
    s->due = (struct bailey_timer){.fire = due_fired, .ctx = s};
    s->retry = (struct bailey_timer){.fire = retry_fired, .ctx = s};
    s->go_on = (struct bailey_task){.run = go_on_task, .ctx = s};
    for (unsigned line = 0; line < SCHEDULE_LINES; line++)
        s->taken_ms[line] = s->doubt_ms[line] = INT64_MIN;
    schedule_adopt(s, (uint16_t)s->o.lane);
    bailey_again(s->o.host, &s->go_on);
    return s;
}

void schedule_put(struct schedule *s, struct schedule_slot *slot)
{
    assert(slot->note.line < SCHEDULE_LINES);
    add_slot(&s->slots, slot);
}

void schedule_flush(struct schedule *s)
{
    if (s->slots.first == NULL && s->ends.first == NULL)
        return;
    s->wants_write = true;
    if (s->state == RUNNING)
        write_on(s);
}

static struct bailey_message *make_message(struct schedule *s, const struct schedule_entry *entry,
                                           struct schedule_note *note)
{
    struct bailey_bytes bytes = BAILEY_NULL_BYTES;
    struct bailey_error err;

    *note = (struct schedule_note){.due_ms = entry->key.due_ms, .line = entry->key.line, .unique = entry->key.unique};
    struct bailey_message *msg = message_new(s->o.messages);
    if (row_decode(entry->value, note, &bytes, &err) && message_decode(msg, bytes, &err)) {
        note->in_doubt |= schedule_is_in_doubt(s, &entry->key);
        return msg;
    }
    bailey_message_unref(msg);
    damaged_row(entry->window, entry->bytes, &err);
    return NULL;
}

static void mark_recent(struct schedule *s, const struct schedule_entry *entry, enum recent_state state)
{
    struct recent_event *recent = recent_find(s->recent, entry->key.unique);

    if (recent != NULL && recent->key.stamp == entry->key.stamp)
        recent->state = (uint8_t)state;
}

struct schedule_entry *schedule_take(struct schedule *s, struct bailey_message **message, struct schedule_note *note)
{
    struct schedule_entry *entry;
    int64_t wait_ms = 0;

    while (s->state == RUNNING && (entry = next_due(s, &wait_ms)) != NULL && wait_ms <= 0 && may_take(s, entry)) {
        schedule_window_remove_first(entry->window);
        if (!schedule_is_newest(
                s, entry)) { /* it was given again after an earlier life had taken it, which did not get to erase it */
            add_end(&s->ends, entry);
            schedule_flush(s);
            continue;
        }
        *message = make_message(s, entry, note);
        if (*message == NULL) {
            entry_drop(entry); /* it stays in the store */
            continue;
        }
        refill(s, entry->window);
        if (entry->key.due_ms > s->taken_ms[entry->key.line] - SCHEDULE_AHEAD_MS / 2 && !s->wants_more_time)
            ask_for_time(s); /* before it is over */
        mark_recent(s, entry, RECENT_OUT);
        link_taken(s, entry);
        return entry;
    }
    s->has_told = false;
    schedule_look(s);
    if (s->state == RUNNING)
        refill_all(s);
    return NULL;
}

void schedule_done(struct schedule *s, struct schedule_entry *entry)
{
    unlink_taken(entry);
    add_end(&s->ends, entry);
}

void schedule_again(struct schedule *s, struct schedule_entry *entry, struct schedule_slot *slot)
{
    assert(slot->note.line < SCHEDULE_LINES);
    slot->note.unique = entry->key.unique;
    entry->again = slot;
    schedule_done(s, entry);
}

void schedule_leave(struct schedule *s, struct schedule_entry *entry, bool in_doubt)
{
    struct row_key key = entry->key;

    if (!schedule_is_newest(s, entry)) { /* it was given again, and that is kept */
        schedule_done(s, entry);
        return;
    }
    unlink_taken(entry);
    mark_recent(s, entry, RECENT_KEPT);
    if (in_doubt) {
        if (key.due_ms > s->doubt_ms[key.line])
            s->doubt_ms[key.line] = key.due_ms;
        s->doubt_stamp = schedule_next_stamp(s);
    }
    if (schedule_window_covers(entry->window, entry->bytes))
        schedule_window_insert(entry->window, entry);
    else
        entry_drop(entry);
    schedule_look(s);
}

int64_t schedule_count(const struct schedule *s)
{
    int64_t count = 0;

    if (s->state < READING_RECENT || (s->state >= CLOSING && !s->is_open))
        return -1;
    for (size_t i = 0; i < s->dealt_count; i++)
        count += s->dealt[i].count;
    return count;
}

void schedule_close(struct schedule *s, void (*on_closed)(void *ctx))
{
    s->state = CLOSING;
    s->on_closed = on_closed;
    bailey_timer_stop(s->o.host, &s->due);
    bailey_timer_stop(s->o.host, &s->retry);
    bailey_again(s->o.host, &s->go_on);
}

static void drop_all(struct schedule_entry *entry)
{
    for (struct schedule_entry *next; entry != NULL; entry = next) {
        next = entry->next;
        entry_drop(entry);
    }
}

void schedule_free(struct schedule *s)
{
    if (s == NULL)
        return;
    bailey_timer_stop(s->o.host, &s->due);
    bailey_timer_stop(s->o.host, &s->retry);
    bailey_again_stop(s->o.host, &s->go_on);
    drop_all(s->taken);
    drop_all(s->ends.first);
    drop_all(s->batch.ends.first);
    for (size_t i = 0; i < s->dealt_count && s->state >= READING_RECENT; i++)
        for (unsigned line = 0; line < SCHEDULE_LINES; line++)
            schedule_window_free(&s->dealt[i].windows[line]);
    recent_free(s->recent);
    free(s->dealt);
    free(s->erased);
    free(s->gone);
    free(s->batch.puts);
    free(s->batch.bytes);
    free(s);
}
