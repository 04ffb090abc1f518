/* map.h: records of one size in memory, found by their key, in one block: a key, then its value.
 *
 * Records lie in the order in which they came, but for erase, which moves the last into the gap: who walks a map that is
 * changed meanwhile walks from the last to the first, and misses none. No locks: the owner has one.
 */
#ifndef SLICES_MAP_H
#define SLICES_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAP_RECORDS_MAX = 1 << 30 };

struct map {
    uint32_t key_size, record_size; /* bytes */
    uint32_t count, capacity;       /* records */
    uint32_t promised;              /* records for which there is room, and that are not put yet */
    uint32_t mask;                  /* slots - 1; a power of two, of which at most three quarters are in use */
    uint8_t *records;
    uint32_t *slots; /* number of a record + 1; 0: free */
};

void map_init(struct map *map, uint32_t key_size, uint32_t value_size);
void map_fini(struct map *map);

/* Room for `more` records beyond those that are there. False without memory; nothing has changed then. */
bool map_reserve(struct map *map, size_t more);

/* Room for one more record than was promised, so that map_put cannot fail; the owner takes all promises back by promised = 0. */
bool map_promise(struct map *map);

void map_put(struct map *map, const uint8_t *key, const uint8_t *value);
void map_erase(struct map *map, const uint8_t *key);

/* Bring what map_put, map_erase and map_find of that key will read into the cache. */
void map_prefetch(const struct map *map, const uint8_t *key);

/* The record, or NULL. */
const uint8_t *map_find(const struct map *map, const uint8_t *key);

static inline const uint8_t *map_record(const struct map *map, uint32_t number)
{
    return map->records + (size_t)number * map->record_size;
}

/* Bytes held. */
size_t map_memory(const struct map *map);

/* The numbers of all records, in the order of their keys (memcmp); to be freed. NULL without memory. An empty map has none. */
uint32_t *map_order(const struct map *map);

#endif
