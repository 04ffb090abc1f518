/* schedule_start.c: what is known of earlier lives: the rows of the lanes, and then the log of each. */
#include "core/schedule_impl.h"

#include <string.h>

#include "base/big_endian.h"

enum { PAGE_ROWS = 4096, PAGE_BYTES = 4 << 20 };

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
        schedule_tell_damaged(s, row->key, &err);
    }
    if (known.stamp > s->stamp)
        s->stamp = known.stamp;
    if (lane % s->o.lanes != s->o.lane)
        return;
    if (schedule_dealt_of(s, lane) == NULL)
        schedule_adopt(s, lane);
    schedule_dealt_of(s, lane)->count = known.count;
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
        s->doubt_stamp = schedule_next_stamp(s);
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
            schedule_remember(s, &event);
    }
    if (fits && recent_end_row(s->recent) == big_endian_get(row->key.data + 4, 8))
        return;
    bailey_fail(&err, BAILEY_ERR_PERMANENT, "a row of the log is damaged");
    schedule_tell_damaged(s, row->key, &err);
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
        schedule_note_failure(s, &s->reading, &read->err);
    else
        schedule_note_success(s, &s->reading);
    free(read->rows);
    read->rows = NULL;
    schedule_go_on(s);
}

void schedule_read_at_start(struct schedule *s)
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
        .max = s->state == READING_LANES ? SCHEDULE_LANES_MAX : PAGE_ROWS,
        .max_bytes = s->state == READING_LANES ? SIZE_MAX : PAGE_BYTES,
        .host = s->o.host,
        .done = start_read_done,
        .ctx = s,
    };
    if (s->state == READING_LANES)
        s->read_from_len = 0; /* it is borrowed until then, but all is read at once */
    s->o.table->read(s->o.table, &s->read);
}
