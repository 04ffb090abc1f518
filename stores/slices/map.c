/* map.c: an open-addressing table of numbers of records. The hash is seeded, so that nobody can choose keys that collide. */
#include "map.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "bytes.h"

enum { CAPACITY_MIN = 24 };

static uint64_t seed;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15;
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t hash_of(const struct map *map, const uint8_t *key)
{
    uint32_t len = map->key_size;
    uint64_t hash = seed ^ len, word;

    for (; len >= 8; key += 8, len -= 8) {
        memcpy(&word, key, sizeof word);
        hash = fold(hash ^ word, 0xa0761d6478bd642f);
    }
    if (len > 0) {
        word = 0;
        memcpy(&word, key, len);
        hash = fold(hash ^ word, 0xe7037ed1a0b428db);
    }
    return (uint32_t)fold(hash ^ seed, 0x8ebc6af09c88c6e3);
}

void map_init(struct map *map, uint32_t key_size, uint32_t value_size)
{
    pthread_once(&once, make_seed);
    *map = (struct map){.key_size = key_size, .record_size = key_size + value_size};
}

void map_fini(struct map *map)
{
    free(map->records);
    free(map->slots);
    map_init(map, map->key_size, map->record_size - map->key_size);
}

size_t map_memory(const struct map *map)
{
    return (size_t)map->capacity * map->record_size + (map->slots == NULL ? 0 : (map->mask + 1) * sizeof *map->slots);
}

/* The slot of `key`, or the free one where it would go. */
static inline uint32_t slot_of(const struct map *map, const uint8_t *key)
{
    uint32_t slot = hash_of(map, key) & map->mask;

    while (map->slots[slot] != 0 && memcmp(map_record(map, map->slots[slot] - 1), key, map->key_size) != 0)
        slot = (slot + 1) & map->mask;
    return slot;
}

bool map_reserve(struct map *map, size_t more)
{
    size_t needed = map->count + more, capacity = map->capacity, slots = (size_t)map->mask + 1;
    uint32_t *table;
    uint8_t *records;

    if (needed > MAP_RECORDS_MAX)
        return false;
    if (needed <= capacity)
        return true;
    capacity = capacity * 3 / 2 > needed ? capacity * 3 / 2 : needed > CAPACITY_MIN ? needed : CAPACITY_MIN;
    while (slots / 4 * 3 < capacity)
        slots *= 2;
    records = realloc(map->records, capacity * map->record_size);
    if (records == NULL)
        return false;
    map->records = records;
    if (slots > (size_t)map->mask + 1) {
        table = calloc(slots, sizeof *table);
        if (table == NULL)
            return false;
        free(map->slots);
        map->slots = table;
        map->mask = (uint32_t)slots - 1;
        for (uint32_t i = 0; i < map->count; i++)
            table[slot_of(map, map_record(map, i))] = i + 1;
    }
    map->capacity = (uint32_t)capacity;
    return true;
}

bool map_promise(struct map *map)
{
    if (map->count + map->promised >= map->capacity && !map_reserve(map, (size_t)map->promised + 1))
        return false;
    map->promised++;
    return true;
}

void map_put(struct map *map, const uint8_t *key, const uint8_t *value)
{
    uint32_t slot = slot_of(map, key);
    uint8_t *record;

    if (map->slots[slot] == 0) {
        assert(map->count < map->capacity);
        map->slots[slot] = ++map->count;
        memcpy(map->records + (size_t)(map->count - 1) * map->record_size, key, map->key_size);
    }
    record = map->records + (size_t)(map->slots[slot] - 1) * map->record_size;
    memcpy(record + map->key_size, value, map->record_size - map->key_size);
}

/* What stands behind a slot that becomes free moves up, as far as its own place allows. */
static void free_slot(struct map *map, uint32_t slot)
{
    for (uint32_t next = (slot + 1) & map->mask; map->slots[next] != 0; next = (next + 1) & map->mask) {
        uint32_t home = hash_of(map, map_record(map, map->slots[next] - 1)) & map->mask;

        if (((next - home) & map->mask) >= ((next - slot) & map->mask)) {
            map->slots[slot] = map->slots[next];
            slot = next;
        }
    }
    map->slots[slot] = 0;
}

void map_erase(struct map *map, const uint8_t *key)
{
    uint32_t slot, number, last;

    if (map->count == 0 || map->slots[slot = slot_of(map, key)] == 0)
        return;
    number = map->slots[slot] - 1;
    last = map->count - 1;
    free_slot(map, slot);
    if (number != last) {
        map->slots[slot_of(map, map_record(map, last))] = number + 1;
        memcpy(map->records + (size_t)number * map->record_size, map_record(map, last), map->record_size);
    }
    map->count = last;
}

void map_prefetch(const struct map *map, const uint8_t *key)
{
    if (map->slots != NULL)
        __builtin_prefetch(&map->slots[hash_of(map, key) & map->mask]);
}

const uint8_t *map_find(const struct map *map, const uint8_t *key)
{
    uint32_t number = map->count == 0 ? 0 : map->slots[slot_of(map, key)];

    return number == 0 ? NULL : map_record(map, number - 1);
}

/* ---- In order: by the first 8 bytes, a byte of them after the other, where they lie; then by the whole keys ---- */

struct item {
    uint32_t high, low; /* the first 8 bytes of the key; two halves, so that an item takes 12 bytes */
    uint32_t number;
};

enum { FEW = 24, DIGITS = 8 };

static inline uint64_t prefix_of_item(const struct item *item)
{
    return (uint64_t)item->high << 32 | item->low;
}

static inline bool before(const struct map *map, const struct item *a, const struct item *b)
{
    uint64_t x = prefix_of_item(a), y = prefix_of_item(b);

    return x != y ? x < y : memcmp(map_record(map, a->number), map_record(map, b->number), map->key_size) < 0;
}

static void insertion_sort(const struct map *map, struct item *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct item item = items[i];
        size_t at = i;

        for (; at > 0 && before(map, &item, &items[at - 1]); at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

static int compare(const void *a, const void *b, void *map)
{
    return before(map, a, b) ? -1 : before(map, b, a);
}

static inline unsigned digit_of(const struct item *item, unsigned digit)
{
    return prefix_of_item(item) >> (56 - 8 * digit) & 255;
}

static void radix_sort(const struct map *map, struct item *items, size_t count, unsigned digit)
{
    size_t begin[257] = {0}, next[256];

    if (count <= FEW) {
        insertion_sort(map, items, count);
        return;
    }
    if (digit == DIGITS) { /* many keys that begin alike: not hashes */
        qsort_r(items, count, sizeof *items, compare, (void *)map);
        return;
    }
    for (size_t i = 0; i < count; i++)
        begin[digit_of(&items[i], digit) + 1]++;
    for (unsigned i = 0; i < 256; i++) {
        begin[i + 1] += begin[i];
        next[i] = begin[i];
    }
    for (unsigned i = 0; i < 256; i++) {
        while (next[i] < begin[i + 1]) {
            struct item item = items[next[i]];

            for (unsigned to; (to = digit_of(&item, digit)) != i;) {
                struct item other = items[next[to]];

                items[next[to]++] = item;
                item = other;
            }
            items[next[i]++] = item;
        }
    }
    for (unsigned i = 0; i < 256; i++)
        radix_sort(map, items + begin[i], begin[i + 1] - begin[i], digit + 1);
}

uint32_t *map_order(const struct map *map)
{
    struct item *items = malloc(map->count * sizeof *items + 1);
    uint32_t *order = (uint32_t *)items;

    if (items == NULL)
        return NULL;
    for (uint32_t i = 0; i < map->count; i++) {
        uint64_t prefix = prefix_of(map_record(map, i), map->key_size);

        items[i] = (struct item){.high = (uint32_t)(prefix >> 32), .low = (uint32_t)prefix, .number = i};
    }
    radix_sort(map, items, map->count, 0);
    for (uint32_t i = 0; i < map->count; i++)
        order[i] = items[i].number; /* in the same block: never overtakes what is read */
    return order;
}
