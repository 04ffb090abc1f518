/* schedule_recent.c: a ring that grows to RECENT_MAX, and a table (open addressing, linear probing) of places in it. */
#include "core/schedule_recent.h"

#include <stdlib.h>

#include "base/big_endian.h"

enum { RING_MIN = 256 };

#define NO_PLACE UINT32_MAX

struct recent {
    struct recent_event *ring;
    size_t cap, count; /* cap: a power of two */
    size_t first;      /* the oldest */
    uint32_t *table;   /* of 2 cap */
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* a few MB at most */
    return memory;
}

struct recent *recent_new(void)
{
    return must(calloc(1, sizeof(struct recent)));
}

void recent_free(struct recent *recent)
{
    if (recent == NULL)
        return;
    free(recent->ring);
    free(recent->table);
    free(recent);
}

/* ---- The table ---- */

static size_t home(const struct recent *recent, struct id unique)
{
    return (size_t)((unique.word[0] ^ unique.word[1]) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (2 * recent->cap - 1);
}

static size_t behind(const struct recent *recent, size_t slot)
{
    return (slot + 1) & (2 * recent->cap - 1);
}

/* Where `unique` is in the table, or would be. */
static size_t slot_of(const struct recent *recent, struct id unique)
{
    size_t slot = home(recent, unique);

    while (recent->table[slot] != NO_PLACE && !id_equal(recent->ring[recent->table[slot]].key.unique, unique))
        slot = behind(recent, slot);
    return slot;
}

/* What follows moves up, so that no gap cuts off what lies behind it. */
static void clear_slot(struct recent *recent, size_t slot)
{
    size_t mask = 2 * recent->cap - 1;

    for (size_t next = behind(recent, slot); recent->table[next] != NO_PLACE; next = behind(recent, next)) {
        size_t wanted = home(recent, recent->ring[recent->table[next]].key.unique);

        if (((next - wanted) & mask) < ((next - slot) & mask))
            continue;
        recent->table[slot] = recent->table[next];
        slot = next;
    }
    recent->table[slot] = NO_PLACE;
}

/* The newest of each counts. After the lanes were dealt anew, the logs of several are read, one behind the other. */
static void point_to(struct recent *recent, uint32_t place)
{
    const struct recent_event *event = &recent->ring[place];
    uint32_t *known = &recent->table[slot_of(recent, event->key.unique)];

    if (*known == NO_PLACE || recent->ring[*known].key.stamp <= event->key.stamp)
        *known = place;
}

static void grow(struct recent *recent)
{
    size_t cap = recent->cap == 0 ? RING_MIN : 2 * recent->cap;
    struct recent_event *ring = must(malloc(cap * sizeof *ring));

    for (size_t i = 0; i < recent->count; i++)
        ring[i] = recent->ring[(recent->first + i) & (recent->cap - 1)];
    free(recent->ring);
    free(recent->table);
    recent->ring = ring;
    recent->cap = cap;
    recent->first = 0;
    recent->table = must(malloc(2 * cap * sizeof *recent->table));
    memset(recent->table, 0xff, 2 * cap * sizeof *recent->table);
    for (uint32_t i = 0; i < recent->count; i++)
        point_to(recent, i);
}

/* ---- Events ---- */

struct recent_event *recent_find(const struct recent *recent, struct id unique)
{
    if (recent->count == 0)
        return NULL;
    uint32_t place = recent->table[slot_of(recent, unique)];
    return place == NO_PLACE ? NULL : &recent->ring[place];
}

static bool drop_oldest(struct recent *recent, uint8_t ended[static RECENT_KEY])
{
    const struct recent_event *oldest = &recent->ring[recent->first];
    size_t slot = slot_of(recent, oldest->key.unique);

    if (recent->table[slot] == recent->first)
        clear_slot(recent, slot);
    recent->first = (recent->first + 1) & (recent->cap - 1);
    recent->count--;
    if (oldest->ends_row)
        recent_key_encode(oldest->key.lane, oldest->key.stamp, ended);
    return oldest->ends_row;
}

bool recent_add(struct recent *recent, const struct recent_event *event, uint8_t ended[static RECENT_KEY])
{
    bool has_ended = false;

    if (recent->count == recent->cap && recent->cap < RECENT_MAX)
        grow(recent);
    if (recent->count == recent->cap)
        has_ended = drop_oldest(recent, ended);
    size_t place = (recent->first + recent->count++) & (recent->cap - 1);
    recent->ring[place] = *event;
    point_to(recent, (uint32_t)place);
    return has_ended;
}

uint64_t recent_end_row(struct recent *recent)
{
    struct recent_event *newest = &recent->ring[(recent->first + recent->count - 1) & (recent->cap - 1)];

    newest->ends_row = true;
    return newest->key.stamp;
}

/* ---- As bytes ---- */

void recent_key_encode(uint16_t lane, uint64_t stamp, uint8_t out[static RECENT_KEY])
{
    big_endian_put(out, ROW_RECENT, 2);
    big_endian_put(out + 2, lane, 2);
    big_endian_put(out + 4, stamp, 8);
}

void recent_event_encode(const struct recent_event *event, uint8_t out[static RECENT_EVENT])
{
    out[0] = (uint8_t)(event->key.line | (event->state == RECENT_DONE ? 2 : 0));
    big_endian_put_signed(out + 1, event->key.due_ms);
    big_endian_put(out + 9, event->key.stamp, 8);
    memcpy(out + 17, &event->key.unique, sizeof event->key.unique);
}

bool recent_event_decode(const uint8_t in[static RECENT_EVENT], uint16_t lane, struct recent_event *event)
{
    if (in[0] > 3)
        return false;
    *event = (struct recent_event){
        .key = {.lane = lane,
                .line = in[0] & 1,
                .due_ms = big_endian_get_signed(in + 1),
                .stamp = big_endian_get(in + 9, 8)},
        .state = (in[0] & 2) != 0 ? RECENT_DONE : RECENT_KEPT,
    };
    memcpy(&event->key.unique, in + 17, sizeof event->key.unique);
    return true;
}
