/* core/schedule_window.h: of one line of one lane, the rows that are due next, in memory and in their order.
 *
 * Up to its horizon, the key of a row, the window has every row that the store has; behind it none, but for those that were put while
 * a read is under way: whether they belong to it shows when that is answered.
 */
#ifndef BAILEY_SCHEDULE_WINDOW_H
#define BAILEY_SCHEDULE_WINDOW_H

#include <bailey/store.h>

#include "core/schedule_row.h"

/* Rows of one read, or one that was put; there as long as one of its entries is in a window or taken. */
struct row_block {
    size_t refs;
    struct state_row *rows; /* NULL: the bytes follow the entries */
    struct schedule_entry *entries;
};

struct window;

struct schedule_entry {
    struct row_block *block;
    struct window *window;
    struct bailey_bytes bytes, value; /* key and value as in the store */
    struct row_key key;
    bool has_id;
    struct schedule_slot *again;         /* it is put again as that */
    struct schedule_entry *next, **prev; /* of those that are taken, or of those that end */
};

struct window {
    uint16_t lane;
    uint8_t line;
    struct schedule_entry **entries; /* [first, last) in the order of their keys */
    size_t first, last, cap;
    size_t bytes;
    bool is_whole; /* no row is behind the horizon */
    bool is_reading;
    uint8_t horizon[BAILEY_STORE_KEY_MAX + 1];
    size_t horizon_len;
    struct state_read read;
    uint8_t until[LINE_KEY];
    uint8_t damaged[BAILEY_STORE_KEY_MAX]; /* the last damaged row that was told of */
    size_t damaged_len;
    uint8_t highest[BAILEY_STORE_KEY_MAX]; /* the last row of those that were removed first */
    size_t highest_len;
    struct schedule *schedule;
};

void schedule_window_init(struct window *window, uint16_t lane, uint8_t line, struct schedule *schedule);
void schedule_window_free(struct window *window);

int key_compare(struct bailey_bytes a, struct bailey_bytes b);

/* Is it up to the horizon? */
bool schedule_window_covers(const struct window *window, struct bailey_bytes key);

/* A copy of a row, as a block of one entry. */
struct schedule_entry *entry_new(const struct row_key *key, struct bailey_bytes bytes, struct bailey_bytes value);
/* Room for the entries of `read`, whose rows it takes. */
struct row_block *block_new(struct state_read *read);
void entry_drop(struct schedule_entry *entry);

/* Puts `entry` in; one that is there already is dropped. */
void schedule_window_insert(struct window *window, struct schedule_entry *entry);

/* The first, if it is up to the horizon; NULL: none. */
struct schedule_entry *schedule_window_first(const struct window *window);
void schedule_window_remove_first(struct window *window); /* the entry is the caller's */
/* May it have been removed so? What comes later is before it when a clock was set back, and the horizon may then be, too. */
bool schedule_window_may_have_removed(const struct window *window, struct bailey_bytes key);
/* Drop the entry with that key, if it is there. */
void schedule_window_erase(struct window *window, struct bailey_bytes key);

static inline size_t schedule_window_count(const struct window *window)
{
    return window->last - window->first;
}

/* Drop what is too much: not within `max` entries and `max_bytes`; one may stay whatever its size. Not while it reads. */
void schedule_window_trim(struct window *window, size_t max, size_t max_bytes);

/* A read was answered that began behind the horizon: its last row (null: it had none) is the horizon, and if it was the end there is
 * nothing behind. */
void schedule_window_extend(struct window *window, struct bailey_bytes last, bool is_end);

/* It was not answered: what was put meanwhile, behind the horizon, is read with all else that is there. */
void schedule_window_retreat(struct window *window);

/* Where the next read begins: behind the horizon. */
struct bailey_bytes schedule_window_from(struct window *window);

#endif
