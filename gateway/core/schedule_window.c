/* schedule_window.c: an array of pointers in order: what is put is nearly always due after most of what is there, or before. */
#include "core/schedule_window.h"

#include <stdlib.h>

#include "base/big_endian.h"

enum { ENTRIES_MIN = 64 };

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* the window bounds it: the machine is out of memory */
    return memory;
}

void schedule_window_init(struct window *window, uint16_t lane, uint8_t line, struct schedule *schedule)
{
    *window = (struct window){.lane = lane, .line = line, .schedule = schedule, .horizon_len = LINE_KEY};
    big_endian_put(window->horizon, lane, 2);
    window->horizon[2] = line;
    big_endian_put(window->until, ((unsigned)lane << 8) + line + 1u, LINE_KEY);
}

void schedule_window_free(struct window *window)
{
    for (size_t i = window->first; i < window->last; i++)
        entry_drop(window->entries[i]);
    free(window->entries);
}

int key_compare(struct bailey_bytes a, struct bailey_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static struct bailey_bytes horizon(const struct window *window)
{
    return (struct bailey_bytes){window->horizon, window->horizon_len};
}

bool schedule_window_covers(const struct window *window, struct bailey_bytes key)
{
    return window->is_whole || key_compare(key, horizon(window)) <= 0;
}

static void set_horizon(struct window *window, struct bailey_bytes key)
{
    memmove(window->horizon, key.data, key.len);
    window->horizon_len = key.len;
}

struct bailey_bytes schedule_window_from(struct window *window)
{
    window->horizon[window->horizon_len] = 0;
    return (struct bailey_bytes){window->horizon, window->horizon_len + 1};
}

/* ---- Entries ---- */

struct schedule_entry *entry_new(const struct row_key *key, struct bailey_bytes bytes, struct bailey_bytes value)
{
    struct row_block *block = must(malloc(sizeof *block + sizeof(struct schedule_entry) + bytes.len + value.len));
    struct schedule_entry *entry = (struct schedule_entry *)(block + 1);
    uint8_t *copy = (uint8_t *)(entry + 1);

    *block = (struct row_block){.refs = 1, .entries = entry};
    memcpy(copy, bytes.data, bytes.len);
    memcpy(copy + bytes.len, value.data, value.len);
    *entry = (struct schedule_entry){
        .block = block, .key = *key, .bytes = {copy, bytes.len}, .value = {copy + bytes.len, value.len}};
    return entry;
}

struct row_block *block_new(struct state_read *read)
{
    struct row_block *block = must(malloc(sizeof *block + read->count * sizeof *block->entries));

    *block = (struct row_block){.rows = read->rows, .entries = (struct schedule_entry *)(block + 1)};
    read->rows = NULL;
    return block;
}

void entry_drop(struct schedule_entry *entry)
{
    struct row_block *block = entry->block;

    if (--block->refs > 0)
        return;
    free(block->rows);
    free(block);
}

static size_t entry_size(const struct schedule_entry *entry)
{
    return sizeof *entry + entry->bytes.len + entry->value.len;
}

/* ---- The array ---- */

static void make_room(struct window *window)
{
    if (window->last < window->cap)
        return;
    size_t count = schedule_window_count(window);
    if (count <= window->cap / 2 && window->cap > 0) {
        memmove(window->entries, window->entries + window->first, count * sizeof(struct schedule_entry *));
    } else {
        size_t cap = window->cap > 0 ? 2 * window->cap : ENTRIES_MIN;
        struct schedule_entry **entries = must(malloc(cap * sizeof *entries));

        if (count > 0)
            memcpy(entries, window->entries + window->first, count * sizeof *entries);
        free(window->entries);
        window->entries = entries;
        window->cap = cap;
    }
    window->first = 0;
    window->last = count;
}

/* The first place whose key is not before `key`. */
static size_t place_of(const struct window *window, struct bailey_bytes key)
{
    size_t low = window->first, high = window->last;

    if (high > low && key_compare(window->entries[high - 1]->bytes, key) < 0)
        return high; /* as usual */
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (key_compare(window->entries[middle]->bytes, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct window *window, size_t place, struct bailey_bytes key)
{
    return place < window->last && key_compare(window->entries[place]->bytes, key) == 0;
}

void schedule_window_insert(struct window *window, struct schedule_entry *entry)
{
    make_room(window);
    size_t place = place_of(window, entry->bytes);
    if (is_at(window, place, entry->bytes)) {
        entry_drop(entry);
        return;
    }
    entry->window = window;
    window->bytes += entry_size(entry);
    if (place == window->first && window->first > 0) {
        window->entries[--window->first] = entry;
        return;
    }
    memmove(window->entries + place + 1, window->entries + place,
            (window->last - place) * sizeof(struct schedule_entry *));
    window->entries[place] = entry;
    window->last++;
}

static void remove_at(struct window *window, size_t place)
{
    window->bytes -= entry_size(window->entries[place]);
    if (place == window->first) {
        window->first++;
        return;
    }
    memmove(window->entries + place, window->entries + place + 1,
            (window->last - place - 1) * sizeof(struct schedule_entry *));
    window->last--;
}

struct schedule_entry *schedule_window_first(const struct window *window)
{
    if (window->first == window->last || !schedule_window_covers(window, window->entries[window->first]->bytes))
        return NULL;
    return window->entries[window->first];
}

void schedule_window_remove_first(struct window *window)
{
    struct bailey_bytes key = window->entries[window->first]->bytes;

    if (!schedule_window_may_have_removed(window, key)) {
        memcpy(window->highest, key.data, key.len);
        window->highest_len = key.len;
    }
    remove_at(window, window->first);
}

bool schedule_window_may_have_removed(const struct window *window, struct bailey_bytes key)
{
    return key_compare(key, (struct bailey_bytes){window->highest, window->highest_len}) <= 0;
}

void schedule_window_erase(struct window *window, struct bailey_bytes key)
{
    size_t place = place_of(window, key);

    if (!is_at(window, place, key))
        return;
    struct schedule_entry *entry = window->entries[place];
    remove_at(window, place);
    entry_drop(entry);
}

static void drop_last(struct window *window)
{
    struct schedule_entry *entry = window->entries[window->last - 1];

    remove_at(window, window->last - 1);
    entry_drop(entry);
}

void schedule_window_trim(struct window *window, size_t max, size_t max_bytes)
{
    bool has_dropped = false;

    while (schedule_window_count(window) > 1 && (schedule_window_count(window) > max || window->bytes > max_bytes)) {
        drop_last(window);
        has_dropped = true;
    }
    if (has_dropped) {
        set_horizon(window, window->entries[window->last - 1]->bytes);
        window->is_whole = false;
    }
}

void schedule_window_extend(struct window *window, struct bailey_bytes last, bool is_end)
{
    if (last.data != NULL)
        set_horizon(window, last);
    window->is_whole = is_end;
    schedule_window_retreat(window);
}

void schedule_window_retreat(struct window *window)
{
    while (schedule_window_count(window) > 0 &&
           !schedule_window_covers(window, window->entries[window->last - 1]->bytes))
        drop_last(window);
}
