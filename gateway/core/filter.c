#include "core/filter.h"

#include <assert.h>
#include <stdlib.h>

enum {
    QUARTERS = 4,
    BLOCK_WORDS = 8, /* 512 bits: one cache line */
    BITS_AN_ID = 16,
    PROBES = 7, /* of 9 bits each */
    GROWTH = 4, /* of a generation that filled up before its quarter was over, to the next */
};

struct generation {
    uint64_t (*blocks)[BLOCK_WORDS];
    uint64_t block_count;
    int64_t count, capacity;
    int64_t first_ms, last_ms; /* of the ids in it */
};

struct filter {
    int64_t window_ms, max;
    int64_t total;
    unsigned count;
    struct generation items[FILTER_GENERATIONS_MAX]; /* oldest first; ids are added to the last */
    int64_t counts[QUARTERS];                        /* while it is filled: records by age */
    struct generation *by_age[QUARTERS];
};

struct filter *filter_new(int64_t window_ms, int64_t max)
{
    struct filter *filter = calloc(1, sizeof *filter);

    assert(window_ms > 0 && max > 0);
    if (filter == NULL)
        abort();
    filter->window_ms = window_ms;
    filter->max = max;
    return filter;
}

void filter_free(struct filter *filter)
{
    if (filter == NULL)
        return;
    for (unsigned i = 0; i < filter->count; i++)
        free(filter->items[i].blocks);
    free(filter);
}

/* ---- Generations ---- */

/* False: there is no room for one more, or no memory: then the last one takes more than it was made for. */
static bool begin_generation(struct filter *filter, int64_t capacity)
{
    struct generation *gen = &filter->items[filter->count];
    uint64_t blocks = ((uint64_t)capacity * BITS_AN_ID + 64 * BLOCK_WORDS - 1) / (64 * BLOCK_WORDS);

    if (filter->count == FILTER_GENERATIONS_MAX)
        return false;
    *gen =
        (struct generation){.blocks = calloc(blocks, sizeof *gen->blocks), .block_count = blocks, .capacity = capacity};
    if (gen->blocks == NULL) {
        if (filter->count == 0)
            abort();
        return false;
    }
    filter->count++;
    return true;
}

static void drop_oldest(struct filter *filter)
{
    filter->total -= filter->items[0].count;
    free(filter->items[0].blocks);
    filter->count--;
    for (unsigned i = 0; i < filter->count; i++)
        filter->items[i] = filter->items[i + 1];
}

static int64_t at_least(int64_t value, int64_t least)
{
    return value > least ? value : least;
}

/* What the next generation is made for: as much as the last one took, or more if that filled up early; and not so little
 * that a burst would need many of them. */
static int64_t next_capacity(const struct filter *filter)
{
    int64_t most = at_least(filter->max / QUARTERS, FILTER_GENERATION_MIN), wanted = FILTER_GENERATION_MIN;

    if (filter->count > 0) {
        const struct generation *last = &filter->items[filter->count - 1];

        wanted = at_least(wanted, last->count >= last->capacity ? last->capacity * GROWTH : last->count * 2);
    }
    for (unsigned i = 0; i < filter->count; i++)
        wanted = at_least(wanted, filter->items[i].capacity / GROWTH);
    return wanted < most ? wanted : most;
}

/* The one that takes an id of `time_ms`. */
static struct generation *current(struct filter *filter, int64_t time_ms)
{
    if (filter->count > 0) {
        const struct generation *last = &filter->items[filter->count - 1];

        if (last->count < last->capacity && time_ms - last->first_ms < at_least(filter->window_ms / QUARTERS, 1))
            return &filter->items[filter->count - 1];
    }
    begin_generation(filter, next_capacity(filter));
    return &filter->items[filter->count - 1];
}

/* ---- Bits ---- */

static uint64_t *block_of(const struct generation *gen, struct id id)
{
    return gen->blocks[(id.word[0] >> 32) * gen->block_count >> 32];
}

/* 63 bits of the id that choose neither its block nor its owner. */
static uint64_t probes_of(struct id id)
{
    return id.word[0] << 32 | (id.word[1] & 0xffffffff);
}

static void put(struct filter *filter, struct generation *gen, struct id id, int64_t time_ms)
{
    uint64_t *block = block_of(gen, id), bits = probes_of(id);

    for (int i = 0; i < PROBES; i++, bits >>= 9)
        block[bits >> 6 & 7] |= UINT64_C(1) << (bits & 63);
    if (gen->count == 0 || time_ms < gen->first_ms)
        gen->first_ms = time_ms;
    if (gen->count == 0 || time_ms > gen->last_ms)
        gen->last_ms = time_ms;
    gen->count++;
    filter->total++;
}

void filter_add(struct filter *filter, struct id id, int64_t time_ms)
{
    put(filter, current(filter, time_ms), id, time_ms);
}

static bool block_has(const uint64_t *block, uint64_t bits)
{
    for (int i = 0; i < PROBES; i++, bits >>= 9)
        if ((block[bits >> 6 & 7] >> (bits & 63) & 1) == 0)
            return false;
    return true;
}

bool filter_may_have(const struct filter *filter, struct id id)
{
    uint64_t bits = probes_of(id);

    for (unsigned i = filter->count; i-- > 0;)
        if (block_has(block_of(&filter->items[i], id), bits))
            return true;
    return false;
}

void filter_prefetch(const struct filter *filter, struct id id)
{
    for (unsigned i = 0; i < filter->count; i++)
        __builtin_prefetch(block_of(&filter->items[i], id));
}

void filter_prefetch_newest(const struct filter *filter, struct id id)
{
    if (filter->count > 0)
        __builtin_prefetch(block_of(&filter->items[filter->count - 1], id), 1);
}

int64_t filter_expire(struct filter *filter, int64_t now_ms)
{
    while (filter->count > 0 && (filter->items[0].last_ms < now_ms - filter->window_ms ||
                                 filter->total - filter->items[0].count >= filter->max))
        drop_oldest(filter);
    return filter->count == 0 ? -1 : filter->items[0].first_ms;
}

/* ---- Filling ---- */

/* 0: the youngest quarter of the window; QUARTERS: too old. */
static int64_t quarter_of(const struct filter *filter, int64_t time_ms, int64_t now_ms)
{
    int64_t age_ms = now_ms - time_ms;

    if (age_ms < 0)
        return 0;
    if (age_ms > filter->window_ms)
        return QUARTERS;
    return age_ms == filter->window_ms ? QUARTERS - 1
                                       : age_ms / at_least((filter->window_ms + QUARTERS - 1) / QUARTERS, 1);
}

void filter_count(struct filter *filter, int64_t time_ms, int64_t now_ms)
{
    int64_t quarter = quarter_of(filter, time_ms, now_ms);

    if (quarter < QUARTERS)
        filter->counts[quarter]++;
}

void filter_counted(struct filter *filter)
{
    for (int i = QUARTERS - 1; i >= 0; i--)
        if (filter->counts[i] > 0 && begin_generation(filter, filter->counts[i]))
            filter->by_age[i] = &filter->items[filter->count - 1];
}

void filter_fill(struct filter *filter, struct id id, int64_t time_ms, int64_t now_ms)
{
    int64_t quarter = quarter_of(filter, time_ms, now_ms);

    if (quarter < QUARTERS && filter->by_age[quarter] != NULL)
        put(filter, filter->by_age[quarter], id, time_ms);
}

size_t filter_size(const struct filter *filter)
{
    size_t size = sizeof *filter;

    for (unsigned i = 0; i < filter->count; i++)
        size += filter->items[i].block_count * sizeof *filter->items[i].blocks;
    return size;
}
