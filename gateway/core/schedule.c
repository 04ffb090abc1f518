/* schedule.c: see the header.
 *
 * One write is under way at a time; what is put, done and put again meanwhile is gathered, and goes into the next one. Each write
 * carries the rows of the lane itself (schedule_row.h): how many messages there are, and until when they may be taken. So taking
 * costs no write of its own, and after a crash it is known which messages may have been taken, whatever was done to a clock.
 *
 * A row that was put is in the window only when its write is answered. What a read shows of a write that is not answered is passed over.
 */
#include "core/schedule.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include <bailey/log.h>

#include "base/big_endian.h"
#include "core/schedule_recent.h"
#include "core/schedule_row.h"
#include "core/schedule_window.h"
#include "message/codec.h"
#include "message/pool.h"

enum {
    RETRY_MS = 1000,
    LOOK_MS = 1000,  /* how often the wall clock is looked at while something waits for it */
    AHEAD_MS = 1000, /* a write allows that much to be taken in advance */
    LEAD_MS = 50,    /* a write that is made for that alone begins so much before it is needed */
    WRITE_BYTES = 1 << 20,
    BUFFER_KEPT = 2 * WRITE_BYTES, /* bytes of a buffer that is not given back */
    LANES_MAX = ROW_RECENT,
    PAGE_ROWS = 4096,
    PAGE_BYTES = 4 << 20,
};

enum schedule_state { READING_LANES, READING_RECENT, OPENING, RUNNING, CLOSING, CLOSED };

/* A lane of this or an earlier dealing, whose rows are ours. */
struct dealt {
    uint16_t lane;
    int64_t count;
    struct window windows[SCHEDULE_LINES];
};

struct list {
    struct schedule_slot *first, **end;
};

struct entries {
    struct schedule_entry *first, **end;
};

/* The write that is under way, or fails. */
struct batch {
    struct state_write write;
    struct list slots;
    struct entries ends; /* erased, or put again */
    size_t slot_count, end_count, message_bytes;
    struct state_put *puts;
    uint8_t *bytes;
    size_t put_cap, byte_cap;
    uint64_t first_stamp; /* of its rows */
    int64_t taken_ms[SCHEDULE_LINES];
    bool is_last; /* the end is clean */
    bool under_way, failed;
};

/* A row. The lanes of one moment give the same stamps. */
struct gone {
    uint64_t stamp;
    uint16_t lane;
};

struct difficulty {
    bool fails; /* the last one did */
    bool waits; /* until it is tried again */
};

struct schedule {
    struct schedule_options o;
    enum schedule_state state;
    struct dealt *dealt; /* the first is this lane */
    size_t dealt_count;
    struct recent *recent;

    uint64_t stamp; /* the last one given */
    int64_t taken_ms[SCHEDULE_LINES];
    int64_t doubt_ms[SCHEDULE_LINES];
    uint64_t doubt_stamp;

    struct list slots;
    struct entries ends;
    uint8_t (*erased)[RECENT_KEY]; /* rows of the log that have become useless */
    size_t erased_count, erased_cap;
    struct gone *gone; /* rows that were erased by writes which a read may not have seen */
    size_t gone_count, gone_cap;
    struct schedule_entry *taken;
    bool wants_write, wants_more_time;
    bool is_open;            /* it is written that this life has begun */
    bool has_ended, gave_up; /* that it has ended in order; that cannot be written */
    struct batch batch;

    struct state_read read; /* at the start */
    uint8_t read_from[RECENT_KEY + 1], read_until[LANE_KEY];
    size_t read_from_len; /* 0: from the first on */
    size_t read_dealt;    /* whose log is read */
    bool is_reading, has_told;
    struct difficulty reading, writing;
    char trouble[240];
    struct bailey_timer due, retry;
    struct bailey_task go_on;
    void (*on_closed)(void *ctx);
};

static void go_on(struct schedule *s);

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ---- Lists ---- */

static void add_slot(struct list *list, struct schedule_slot *slot)
{
    slot->next = NULL;
    *list->end = slot;
    list->end = &slot->next;
}

static struct schedule_slot *take_slot(struct list *list)
{
    struct schedule_slot *slot = list->first;

    list->first = slot->next;
    if (list->first == NULL)
        list->end = &list->first;
    return slot;
}

static void add_end(struct entries *list, struct schedule_entry *entry)
{
    entry->next = NULL;
    *list->end = entry;
    list->end = &entry->next;
}

static struct schedule_entry *take_end(struct entries *list)
{
    struct schedule_entry *entry = list->first;

    list->first = entry->next;
    if (list->first == NULL)
        list->end = &list->first;
    return entry;
}

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

static int64_t now_ms(const struct schedule *s, unsigned line)
{
    return line == SCHEDULE_WAIT ? bailey_now_ms(s->o.host) + s->o.table->clock_ms : bailey_wall_ms(s->o.host);
}

static uint64_t next_stamp(struct schedule *s)
{
    uint64_t now = (uint64_t)now_ms(s, SCHEDULE_WAIT) << STAMP_BITS;

    s->stamp = now > s->stamp ? now : s->stamp + 1;
    return s->stamp;
}

static bool is_in_doubt(const struct schedule *s, const struct row_key *key)
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

static void note_failure(struct schedule *s, struct difficulty *difficulty, const struct bailey_error *err)
{
    difficulty->fails = difficulty->waits = true;
    bailey_timer_start(s->o.host, &s->retry, RETRY_MS);
    tell_trouble(s, err->text);
}

static void note_success(struct schedule *s, struct difficulty *difficulty)
{
    difficulty->fails = false;
    if (!s->reading.fails && !s->writing.fails)
        tell_trouble(s, "");
}

static void tell_damaged(struct schedule *s, struct bailey_bytes key, const struct bailey_error *err)
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
    tell_damaged(window->schedule, key, err);
}

/* ---- What is due ---- */

/* The one whose time came first, or is the next to come; `wait_ms`: until then, 0 or less: it is due. */
static struct schedule_entry *next_due(const struct schedule *s, int64_t *wait_ms)
{
    int64_t now[SCHEDULE_LINES] = {now_ms(s, SCHEDULE_WAIT), now_ms(s, SCHEDULE_WALL)};
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

/* Wait until there is something to be told. */
static void look(struct schedule *s)
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
        look(s);
}

/* ---- Windows ---- */

static size_t window_share(const struct schedule *s, size_t all)
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
        note_failure(s, &s->reading, &read->err);
    } else {
        note_success(s, &s->reading);
        take_rows(s, window, read);
        schedule_window_trim(window, window_share(s, s->o.window_messages), window_share(s, s->o.window_bytes));
    }
    look(s);
    go_on(s);
}

static void refill(struct schedule *s, struct window *window)
{
    size_t max = window_share(s, s->o.window_messages), max_bytes = window_share(s, s->o.window_bytes);

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

static bool reads(const struct schedule *s)
{
    if (s->is_reading)
        return true;
    for (size_t i = 0; i < s->dealt_count; i++)
        for (unsigned line = 0; line < SCHEDULE_LINES; line++)
            if (s->dealt[i].windows[line].is_reading)
                return true;
    return false;
}

static struct dealt *dealt_of(struct schedule *s, uint16_t lane)
{
    for (size_t i = 0; i < s->dealt_count; i++)
        if (s->dealt[i].lane == lane)
            return &s->dealt[i];
    return NULL;
}

/* ---- Writing ---- */

static void *reserve(void *block, size_t *cap, size_t needed, size_t size)
{
    if (needed <= *cap)
        return block;
    *cap = needed + needed / 2;
    free(block);
    return must(malloc(*cap * size));
}

static void remember(struct schedule *s, const struct recent_event *event)
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
    remember(s, &event);
}

/* The same message was put before: the later entry replaces the earlier, or may be a copy of what is at the sink. */
static void replace_earlier(struct schedule *s, struct filling *f, struct schedule_note *note)
{
    const struct recent_event *earlier = recent_find(s->recent, note->unique);

    if (earlier == NULL)
        return;
    note->in_doubt |= earlier->state != RECENT_KEPT || is_in_doubt(s, &earlier->key);
    if (earlier->state != RECENT_KEPT)
        return;
    struct bailey_bytes key = {fill(f, ROW_KEY), ROW_KEY};
    row_key_encode(&earlier->key, f->at - ROW_KEY);
    note_gone(s, &earlier->key);
    fill_put(f, key, BAILEY_NULL_BYTES);
    struct dealt *dealt = dealt_of(s, earlier->key.lane);
    schedule_window_erase(&dealt->windows[earlier->key.line], key);
    dealt->count--;
}

static void fill_row(struct schedule *s, struct filling *f, const struct schedule_slot *slot)
{
    struct row_key key = {.lane = (uint16_t)s->o.lane,
                          .line = slot->note.line,
                          .due_ms = slot->note.due_ms,
                          .stamp = next_stamp(s),
                          .unique = slot->note.unique};
    size_t size = row_size(slot->message);
    uint8_t *bytes = fill(f, ROW_KEY), *value = fill(f, size);

    row_key_encode(&key, bytes);
    row_encode(&slot->note, slot->message, value);
    fill_put(f, (struct bailey_bytes){bytes, ROW_KEY}, (struct bailey_bytes){value, size});
    log_event(s, f, key, RECENT_KEPT);
    s->dealt[0].count++;
}

/* Is it what was put last of its `unique`, or is nothing known of that? */
static bool is_newest(const struct schedule *s, const struct schedule_entry *entry)
{
    const struct recent_event *recent = recent_find(s->recent, entry->key.unique);

    return recent == NULL || recent->key.stamp <= entry->key.stamp;
}

static void fill_end(struct schedule *s, struct filling *f, const struct schedule_entry *entry)
{
    struct row_key key = entry->key;

    fill_put(f, entry->bytes, BAILEY_NULL_BYTES);
    note_gone(s, &entry->key);
    dealt_of(s, key.lane)->count--;
    if (entry->again != NULL) {
        if (!is_newest(s, entry))
            replace_earlier(s, f, &entry->again->note);
        fill_row(s, f, entry->again);
    } else if (is_newest(s, entry)) {
        key.lane = (uint16_t)s->o.lane;
        key.stamp = next_stamp(s);
        log_event(s, f, key, RECENT_DONE);
    }
}

static void fill_lanes(struct schedule *s, struct filling *f)
{
    struct lane_row row = {.is_clean = f->batch->is_last, .stamp = s->stamp, .doubt_stamp = s->doubt_stamp};

    for (unsigned line = 0; line < SCHEDULE_LINES; line++) {
        int64_t ahead_ms = now_ms(s, line) + AHEAD_MS;

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

static void start_write(struct schedule *s)
{
    struct batch *batch = &s->batch;
    struct filling f = {.batch = batch};

    if (!reads(s))
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
            schedule_window_trim(&s->dealt[0].windows[line], window_share(s, s->o.window_messages),
                                 window_share(s, s->o.window_bytes));
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
        note_failure(s, &s->writing, &write->err);
        go_on(s);
        return;
    }
    note_success(s, &s->writing);
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
    look(s);
    go_on(s);
}

/* ---- The start ---- */

static void adopt(struct schedule *s, uint16_t lane)
{
    s->dealt = must(realloc(s->dealt, (s->dealt_count + 1) * sizeof *s->dealt));
    s->dealt[s->dealt_count] = (struct dealt){.lane = lane};
    s->dealt_count++;
}

static void init_windows(struct schedule *s)
{
    for (size_t i = 0; i < s->dealt_count; i++)
        for (unsigned line = 0; line < SCHEDULE_LINES; line++)
            schedule_window_init(&s->dealt[i].windows[line], s->dealt[i].lane, (uint8_t)line, s);
}

/* A lane of an earlier life. One of which nothing can be known may have sent all that it had. */
static void take_lane(struct schedule *s, const struct state_row *row, bool *is_unclean)
{
    uint16_t lane = row->key.len == LANE_KEY ? (uint16_t)big_endian_get(row->key.data + 2, 2) : (uint16_t)s->o.lane;
    struct lane_row known = {.taken_ms = {INT64_MIN, INT64_MIN}, .doubt_ms = {INT64_MAX, INT64_MAX}};
    struct bailey_error err;

    if (row->key.len != LANE_KEY || !lane_row_decode(row->value, &known)) {
        bailey_fail(&err, BAILEY_ERR_PERMANENT, "a lane's row is damaged");
        tell_damaged(s, row->key, &err);
    }
    if (known.stamp > s->stamp)
        s->stamp = known.stamp;
    if (lane % s->o.lanes != s->o.lane)
        return;
    if (dealt_of(s, lane) == NULL)
        adopt(s, lane);
    dealt_of(s, lane)->count = known.count;
    *is_unclean |= !known.is_clean;
    if (known.doubt_stamp > s->doubt_stamp)
        s->doubt_stamp = known.doubt_stamp;
    for (unsigned line = 0; line < SCHEDULE_LINES; line++) {
        if (known.taken_ms[line] > s->taken_ms[line])
            s->taken_ms[line] = known.taken_ms[line];
        if (known.doubt_ms[line] > s->doubt_ms[line])
            s->doubt_ms[line] = known.doubt_ms[line];
        if (!known.is_clean && known.taken_ms[line] > s->doubt_ms[line])
            s->doubt_ms[line] = known.taken_ms[line];
    }
}

static bool take_lanes(struct schedule *s, const struct state_read *read, struct bailey_error *err)
{
    bool is_unclean = false;

    for (size_t i = 0; i < read->count; i++)
        if (lane_row_is_newer(read->rows[i].value)) {
            bailey_fail(err, BAILEY_ERR_CONFIG, "the kept messages of route %.100s are of a later version", s->o.route);
            return bailey_hint(err, "a newer bailey wrote them: use that one");
        }
    for (size_t i = 0; i < read->count; i++)
        take_lane(s, &read->rows[i], &is_unclean);
    if (is_unclean)
        s->doubt_stamp = next_stamp(s);
    init_windows(s);
    s->state = READING_RECENT;
    return true;
}

static void take_log_row(struct schedule *s, const struct state_row *row, uint16_t lane)
{
    size_t count = row->value.len / RECENT_EVENT;
    bool fits = row->key.len == RECENT_KEY && count > 0 && row->value.len % RECENT_EVENT == 0;
    struct bailey_error err;

    for (size_t i = 0; i < count && fits; i++) {
        struct recent_event event;

        fits = recent_event_decode(row->value.data + i * RECENT_EVENT, lane, &event);
        if (fits)
            remember(s, &event);
    }
    if (fits && recent_end_row(s->recent) == big_endian_get(row->key.data + 4, 8))
        return;
    bailey_fail(&err, BAILEY_ERR_PERMANENT, "a row of the log is damaged");
    tell_damaged(s, row->key, &err);
}

static void take_log(struct schedule *s, const struct state_read *read)
{
    for (size_t i = 0; i < read->count; i++)
        take_log_row(s, &read->rows[i], s->dealt[s->read_dealt].lane);
    if (!read->is_end && read->count > 0) {
        struct bailey_bytes last = read->rows[read->count - 1].key;

        s->read_from_len = last.len < sizeof s->read_from ? last.len : sizeof s->read_from - 1;
        memcpy(s->read_from, last.data, s->read_from_len);
        s->read_from[s->read_from_len++] = 0;
        return;
    }
    s->read_from_len = 0;
    if (++s->read_dealt == s->dealt_count)
        s->state = OPENING;
}

static void start_read_done(struct state_read *read)
{
    struct schedule *s = read->ctx;

    s->is_reading = false;
    if (!read->failed && s->state == READING_LANES)
        read->failed = !take_lanes(s, read, &read->err);
    else if (!read->failed && s->state == READING_RECENT)
        take_log(s, read);
    if (read->failed)
        note_failure(s, &s->reading, &read->err);
    else
        note_success(s, &s->reading);
    free(read->rows);
    read->rows = NULL;
    go_on(s);
}

static void read_at_start(struct schedule *s)
{
    unsigned lane = s->state == READING_RECENT ? s->dealt[s->read_dealt].lane : 0;

    if (s->is_reading || s->reading.waits)
        return;
    s->is_reading = true;
    if (s->read_from_len == 0) {
        big_endian_put(s->read_from, s->state == READING_LANES ? ROW_LANE : ROW_RECENT, 2);
        big_endian_put(s->read_from + 2, lane, 2);
        s->read_from_len = LANE_KEY;
    }
    big_endian_put(s->read_until,
                   s->state == READING_LANES ? (ROW_LANE + 1u) << 16 : ((unsigned)ROW_RECENT << 16) + lane + 1,
                   LANE_KEY);
    s->read = (struct state_read){
        .from = {s->read_from, s->read_from_len},
        .until = {s->read_until, sizeof s->read_until},
        .max = s->state == READING_LANES ? LANES_MAX : PAGE_ROWS,
        .max_bytes = s->state == READING_LANES ? SIZE_MAX : PAGE_BYTES,
        .host = s->o.host,
        .done = start_read_done,
        .ctx = s,
    };
    if (s->state == READING_LANES)
        s->read_from_len = 0; /* it is borrowed until then, but all is read at once */
    s->o.table->read(s->o.table, &s->read);
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
        start_write(s);
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

    if (reads(s))
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
        start_write(s);
    else
        end(s);
}

static void go_on(struct schedule *s)
{
    switch (s->state) {
    case READING_LANES:
    case READING_RECENT:
        read_at_start(s);
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
    go_on(task->ctx);
}

static void retry_fired(struct bailey_timer *timer)
{
    struct schedule *s = timer->ctx;

    s->reading.waits = s->writing.waits = false;
    go_on(s);
}

/* ---- What the lane calls ---- */

struct schedule *schedule_new(const struct schedule_options *options)
{
    struct schedule *s = must(calloc(1, sizeof *s));

    assert(options->lane < options->lanes && options->lanes < LANES_MAX);
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
    adopt(s, (uint16_t)s->o.lane);
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
        note->in_doubt |= is_in_doubt(s, &entry->key);
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
        if (!is_newest(
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
        if (entry->key.due_ms > s->taken_ms[entry->key.line] - AHEAD_MS / 2 && !s->wants_more_time)
            ask_for_time(s); /* before it is over */
        mark_recent(s, entry, RECENT_OUT);
        link_taken(s, entry);
        return entry;
    }
    s->has_told = false;
    look(s);
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

    if (!is_newest(s, entry)) { /* it was given again, and that is kept */
        schedule_done(s, entry);
        return;
    }
    unlink_taken(entry);
    mark_recent(s, entry, RECENT_KEPT);
    if (in_doubt) {
        if (key.due_ms > s->doubt_ms[key.line])
            s->doubt_ms[key.line] = key.due_ms;
        s->doubt_stamp = next_stamp(s);
    }
    if (schedule_window_covers(entry->window, entry->bytes))
        schedule_window_insert(entry->window, entry);
    else
        entry_drop(entry);
    look(s);
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
