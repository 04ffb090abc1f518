/* core/schedule_impl.h: what the files of a schedule share: schedule.c (when what is taken), schedule_write.c, schedule_start.c. */
#ifndef BAILEY_SCHEDULE_IMPL_H
#define BAILEY_SCHEDULE_IMPL_H

#include <stdlib.h>

#include "core/schedule.h"
#include "core/schedule_recent.h"
#include "core/schedule_row.h"
#include "core/schedule_window.h"

enum {
    SCHEDULE_AHEAD_MS = 1000, /* a write allows that much to be taken in advance */
    SCHEDULE_LANES_MAX = ROW_RECENT,
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

static inline void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static inline void add_slot(struct list *list, struct schedule_slot *slot)
{
    slot->next = NULL;
    *list->end = slot;
    list->end = &slot->next;
}

static inline struct schedule_slot *take_slot(struct list *list)
{
    struct schedule_slot *slot = list->first;

    list->first = slot->next;
    if (list->first == NULL)
        list->end = &list->first;
    return slot;
}

static inline void add_end(struct entries *list, struct schedule_entry *entry)
{
    entry->next = NULL;
    *list->end = entry;
    list->end = &entry->next;
}

static inline struct schedule_entry *take_end(struct entries *list)
{
    struct schedule_entry *entry = list->first;

    list->first = entry->next;
    if (list->first == NULL)
        list->end = &list->first;
    return entry;
}

/* ---- schedule.c ---- */

int64_t schedule_now_ms(const struct schedule *s, unsigned line);
uint64_t schedule_next_stamp(struct schedule *s);
/* May its row have been sent by an earlier life? */
bool schedule_is_in_doubt(const struct schedule *s, const struct row_key *key);

void schedule_note_failure(struct schedule *s, struct difficulty *difficulty, const struct bailey_error *err);
void schedule_note_success(struct schedule *s, struct difficulty *difficulty);
void schedule_tell_damaged(struct schedule *s, struct bailey_bytes key, const struct bailey_error *err);

/* NULL: none of ours. */
struct dealt *schedule_dealt_of(struct schedule *s, uint16_t lane);
void schedule_adopt(struct schedule *s, uint16_t lane);
/* What one window may have of `all`. */
size_t schedule_share(const struct schedule *s, size_t all);
/* Is a read under way? */
bool schedule_reads(const struct schedule *s);

/* Wait until there is something to be told. */
void schedule_look(struct schedule *s);
/* Do what is next. */
void schedule_go_on(struct schedule *s);

/* ---- schedule_write.c ---- */

/* Begin to write what is gathered, as much as a write should hold. None is under way. */
void schedule_write(struct schedule *s);
/* One more event of the log; what leaves it for that is erased by the next write. */
void schedule_remember(struct schedule *s, const struct recent_event *event);
/* Is it what was put last of its `unique`, or is nothing known of that? */
bool schedule_is_newest(const struct schedule *s, const struct schedule_entry *entry);

/* ---- schedule_start.c ---- */

/* Read the rows of the lanes and the logs, a part at a time; ends in OPENING. */
void schedule_read_at_start(struct schedule *s);

#endif
