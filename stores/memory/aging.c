/* aging.c: records in blocks, in the order in which they were put, and one index over all of them.
 *
 *     blocks   [ 0: gone ][ 1: gone ][ 2: records ... ][ 3: records, being filled ]
 *     index    hash → tag and number of the record; number / BLOCK is its block
 *
 * To expire is to free blocks, and no more: what the index says of them is stale, which is seen by the missing block. A stale slot is
 * taken by the next put that passes it, or left behind when its part of the index is built anew.
 *
 * The index is open addressing, linear, in parts that grow each for itself: no put waits for all of a large one. The tag is enough
 * to find a slot's place anew, and to tell nearly all other keys, so that a new id costs one cache miss. The hash is keyed, so
 * that nobody can make ids that meet.
 */
#include "aging.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    BLOCK_BITS = 14,
    BLOCK = 1 << BLOCK_BITS, /* records */
    BLOCK_IDS = 1 << 18,     /* that a slot can tell apart; so many blocks hold 4 thousand million records */
    PART_BITS = 6,
    PARTS = 1 << PART_BITS,
    SLOTS_MIN = 16,
    AHEAD = 16, /* keys whose slots are fetched side by side */
};

struct block {
    struct block *next_spare;
    int64_t last_ms; /* the latest time in it */
    uint32_t count;
    uint8_t records[];
};

struct slot {
    uint32_t tag;    /* of the hash; 0: the slot is empty */
    uint32_t number; /* of the record: id of its block, and place in it */
};

struct part {
    struct slot *slots;
    uint32_t capacity, used, promised; /* slots: all, not empty, and prepared for */
};

struct aging {
    uint32_t key_size, value_size, record_size;
    int64_t before_ms; /* what is older has expired */
    uint64_t seed[2];

    struct block **ring; /* block `id` is ring[id % ring_size], or NULL if it has gone */
    uint64_t ring_size;
    uint64_t oldest, next; /* ids: those there are lie between */
    int64_t block_count;
    struct block *spares;
    uint64_t spare_count, prepared;

    struct part parts[PARTS];
};

/* ---- Hash and slots ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash(const struct aging *aging, const uint8_t *key)
{
    uint64_t sum = aging->seed[0], words[2];
    size_t left = aging->key_size;

    for (; left >= 16; left -= 16, key += 16) {
        memcpy(words, key, 16);
        sum = mix(words[0] ^ sum, words[1] ^ aging->seed[1]);
    }
    if (left > 0) {
        words[0] = words[1] = 0;
        memcpy(words, key, left);
        sum = mix(words[0] ^ sum, words[1] ^ aging->seed[1]);
    }
    return mix(sum ^ aging->seed[1], 0x9e3779b97f4a7c15u);
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)hash | 1; /* never 0 */
}

static struct part *part_of(const struct aging *aging, uint64_t hash)
{
    return (struct part *)&aging->parts[hash >> (64 - PART_BITS)];
}

static uint32_t home(const struct part *part, uint32_t tag)
{
    return (tag >> 1) & (part->capacity - 1);
}

static uint32_t after(const struct part *part, uint32_t at)
{
    return (at + 1) & (part->capacity - 1);
}

static struct block **place(const struct aging *aging, uint64_t id)
{
    return &aging->ring[id & (aging->ring_size - 1)];
}

/* The block with the record, or NULL if it has gone. */
static struct block *block_of(const struct aging *aging, uint32_t number)
{
    uint64_t age = ((number >> BLOCK_BITS) - aging->oldest) % BLOCK_IDS;

    return age < aging->next - aging->oldest ? *place(aging, aging->oldest + age) : NULL;
}

static uint8_t *record_in(const struct aging *aging, struct block *block, uint32_t number)
{
    return block->records + (size_t)(number % BLOCK) * aging->record_size;
}

/* The slot of `key`, or NULL; then `*vacant` (which may be NULL) is where a put may take one. */
static struct slot *find(const struct aging *aging, const struct part *part, uint32_t tag, const uint8_t *key,
                         struct slot **vacant)
{
    struct slot *stale = NULL;

    for (uint32_t at = home(part, tag);; at = after(part, at)) {
        struct slot *slot = &part->slots[at];
        if (slot->tag == 0) {
            if (vacant != NULL)
                *vacant = stale != NULL ? stale : slot;
            return NULL;
        }
        struct block *block = block_of(aging, slot->number);
        if (block == NULL)
            stale = stale == NULL ? slot : stale;
        else if (slot->tag == tag && memcmp(record_in(aging, block, slot->number), key, aging->key_size) == 0)
            return slot;
    }
}

/* ---- Memory ---- */

static bool part_rebuild(const struct aging *aging, struct part *part)
{
    uint32_t alive = 0, capacity = SLOTS_MIN;

    for (uint32_t at = 0; at < part->capacity; at++)
        alive += part->slots[at].tag != 0 && block_of(aging, part->slots[at].number) != NULL;
    while (capacity / 2 < alive + part->promised + 1)
        capacity *= 2;

    struct part grown = {
        .slots = calloc(capacity, sizeof *grown.slots), .capacity = capacity, .promised = part->promised};
    if (grown.slots == NULL)
        return false;
    for (uint32_t from = 0; from < part->capacity; from++) {
        const struct slot *slot = &part->slots[from];
        if (slot->tag == 0 || block_of(aging, slot->number) == NULL)
            continue;
        uint32_t at = home(&grown, slot->tag);
        while (grown.slots[at].tag != 0)
            at = after(&grown, at);
        grown.slots[at] = *slot;
        grown.used++;
    }
    free(part->slots);
    *part = grown;
    return true;
}

static struct block *newest(const struct aging *aging)
{
    return aging->next == aging->oldest ? NULL : *place(aging, aging->next - 1);
}

static void block_drop(struct aging *aging, uint64_t id)
{
    struct block **block = place(aging, id);

    aging->block_count -= *block != NULL;
    free(*block);
    *block = NULL;
    while (aging->oldest < aging->next && *place(aging, aging->oldest) == NULL)
        aging->oldest++;
}

static bool ring_grow(struct aging *aging)
{
    struct aging grown = *aging;

    grown.ring_size = aging->ring_size == 0 ? 16 : 2 * aging->ring_size;
    grown.ring = calloc(grown.ring_size, sizeof *grown.ring);
    if (grown.ring == NULL)
        return false;
    for (uint64_t id = aging->oldest; id < aging->next; id++)
        *place(&grown, id) = *place(aging, id);
    free(aging->ring);
    *aging = grown;
    return true;
}

/* Make a place for one more record than is prepared. A time in a far future keeps its block, and with it the count of blocks, up: when
 * that comes to its bound, thousands of millions of records later, the oldest go. */
static bool blocks_prepare(struct aging *aging)
{
    const struct block *block = newest(aging);
    uint64_t room = block == NULL ? 0 : BLOCK - block->count;
    uint64_t needed = aging->prepared < room ? 0 : (aging->prepared - room) / BLOCK + 1;

    while (aging->spare_count < needed) {
        struct block *spare = malloc(sizeof *spare + (size_t)BLOCK * aging->record_size);
        if (spare == NULL)
            return false;
        spare->next_spare = aging->spares;
        aging->spares = spare;
        aging->spare_count++;
    }
    while (aging->next + needed - aging->oldest > aging->ring_size)
        if (aging->ring_size == BLOCK_IDS)
            block_drop(aging, aging->oldest);
        else if (!ring_grow(aging))
            return false;
    return true;
}

/* ---- What the table does ---- */

struct aging *aging_new(const struct bailey_table_options *options)
{
    struct aging *aging = calloc(1, sizeof *aging);

    if (aging == NULL)
        return NULL;
    aging->key_size = options->key_size;
    aging->value_size = options->value_size;
    aging->record_size = options->key_size + options->value_size;
    aging->before_ms = INT64_MIN;
    if (getrandom(aging->seed, sizeof aging->seed, 0) != sizeof aging->seed) {
        free(aging);
        return NULL;
    }
    return aging;
}

void aging_free(struct aging *aging)
{
    if (aging == NULL)
        return;
    while (aging->oldest < aging->next)
        block_drop(aging, aging->oldest);
    for (struct block *spare; (spare = aging->spares) != NULL;) {
        aging->spares = spare->next_spare;
        free(spare);
    }
    for (size_t i = 0; i < PARTS; i++)
        free(aging->parts[i].slots);
    free(aging->ring);
    free(aging);
}

bool aging_prepare(struct aging *aging, const uint8_t *key)
{
    uint64_t sum = hash(aging, key);
    struct part *part = part_of(aging, sum);

    if (part->used + part->promised + 1 > part->capacity / 4 * 3 && !part_rebuild(aging, part))
        return false;
    if (!blocks_prepare(aging))
        return false;
    __builtin_prefetch(&part->slots[home(part, tag_of(sum))]);
    part->promised++;
    aging->prepared++;
    return true;
}

void aging_cancel(struct aging *aging, const uint8_t *key)
{
    struct part *part = part_of(aging, hash(aging, key));

    assert(part->promised > 0 && aging->prepared > 0);
    part->promised--;
    aging->prepared--;
}

/* The number of a new record for `key`. */
static uint32_t append(struct aging *aging, const uint8_t *key)
{
    struct block *block = newest(aging);

    if (block == NULL || block->count == BLOCK) {
        block = aging->spares;
        assert(block != NULL);
        aging->spares = block->next_spare;
        aging->spare_count--;
        block->last_ms = INT64_MIN;
        block->count = 0;
        *place(aging, aging->next++) = block;
        aging->block_count++;
    }
    memcpy(record_in(aging, block, block->count), key, aging->key_size);
    return (uint32_t)((aging->next - 1) % BLOCK_IDS) << BLOCK_BITS | block->count++;
}

/* In place where the record lies in the newest block: an older one should not live longer for it. */
void aging_put(struct aging *aging, const uint8_t *key, const uint8_t *value)
{
    uint64_t sum = hash(aging, key);
    struct part *part = part_of(aging, sum);
    struct slot *vacant = NULL, *slot = find(aging, part, tag_of(sum), key, &vacant);
    int64_t time = bailey_aging_time(value);

    part->promised--;
    aging->prepared--;
    if (slot == NULL) {
        slot = vacant;
        part->used += slot->tag == 0;
        slot->tag = tag_of(sum);
        slot->number = append(aging, key);
    } else if (block_of(aging, slot->number) != newest(aging)) {
        slot->number = append(aging, key);
    }
    struct block *block = newest(aging);
    memcpy(record_in(aging, block, slot->number) + aging->key_size, value, aging->value_size);
    block->last_ms = time > block->last_ms ? time : block->last_ms;
}

static bool has_expired(const struct aging *aging, const uint8_t *record)
{
    return bailey_aging_time(record + aging->key_size) < aging->before_ms;
}

static bool get(const struct aging *aging, uint64_t sum, const uint8_t *key, uint8_t *value)
{
    const struct part *part = part_of(aging, sum);
    struct slot *slot = part->capacity == 0 ? NULL : find(aging, part, tag_of(sum), key, NULL);

    if (slot == NULL)
        return false;
    const uint8_t *record = record_in(aging, block_of(aging, slot->number), slot->number);
    if (has_expired(aging, record))
        return false;
    memcpy(value, record + aging->key_size, aging->value_size);
    return true;
}

void aging_get(const struct aging *aging, const uint8_t *keys, uint8_t *values, bool *found, size_t count)
{
    uint64_t sums[AHEAD];

    for (size_t begin = 0; begin < count; begin += AHEAD) {
        size_t some = count - begin < AHEAD ? count - begin : AHEAD;
        for (size_t i = 0; i < some; i++) {
            sums[i] = hash(aging, keys + (begin + i) * aging->key_size);
            const struct part *part = part_of(aging, sums[i]);
            if (part->capacity > 0)
                __builtin_prefetch(&part->slots[home(part, tag_of(sums[i]))]);
        }
        for (size_t i = 0; i < some; i++)
            found[begin + i] =
                get(aging, sums[i], keys + (begin + i) * aging->key_size, values + (begin + i) * aging->value_size);
    }
}

size_t aging_copy(const struct aging *aging, uint64_t *next, uint8_t *records, size_t room)
{
    uint64_t id = *next / BLOCK, at = *next % BLOCK;
    size_t copied = 0;

    if (id < aging->oldest)
        id = aging->oldest, at = 0;
    for (; id < aging->next && copied < room; id++, at = 0) {
        struct block *block = *place(aging, id);
        for (; block != NULL && at < block->count && copied < room; at++) {
            const uint8_t *record = record_in(aging, block, (uint32_t)at);
            if (!has_expired(aging, record))
                memcpy(records + copied++ * aging->record_size, record, aging->record_size);
        }
        *next = block != NULL && at < block->count ? id * BLOCK + at : (id + 1) * BLOCK;
    }
    return copied;
}

void aging_expire(struct aging *aging, int64_t before_ms)
{
    aging->before_ms = before_ms > aging->before_ms ? before_ms : aging->before_ms;
    for (uint64_t id = aging->oldest; id < aging->next; id++) {
        const struct block *block = *place(aging, id);
        if (block != NULL && block->last_ms < aging->before_ms)
            block_drop(aging, id);
    }
}

int64_t aging_bytes(const struct aging *aging)
{
    int64_t block = (int64_t)sizeof(struct block) + (int64_t)BLOCK * aging->record_size;
    int64_t bytes = (int64_t)sizeof *aging + (aging->block_count + (int64_t)aging->spare_count) * block +
                    (int64_t)(aging->ring_size * sizeof *aging->ring);

    for (size_t i = 0; i < PARTS; i++)
        bytes += (int64_t)(aging->parts[i].capacity * sizeof(struct slot));
    return bytes;
}
