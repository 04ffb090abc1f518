/* aging.h: an aging table in memory. The caller locks: writers alone, readers side by side.
 *
 * An id of 16 bytes with a value of 8 takes about 40 bytes: 24 in its block, 11 to 21 in the index. Expired records are not found;
 * their memory is freed by blocks.
 */
#ifndef MEMORY_AGING_H
#define MEMORY_AGING_H

#include <bailey/store.h>

struct aging;

struct aging *aging_new(const struct bailey_table_options *options); /* NULL: out of memory */
void aging_free(struct aging *aging);

/* A put in two steps, so that many can be made or none: prepare gets the memory (false: there is none); when all are prepared, each is
 * put or cancelled. */
bool aging_prepare(struct aging *aging, const uint8_t *key);
void aging_put(struct aging *aging, const uint8_t *key, const uint8_t *value);
void aging_cancel(struct aging *aging, const uint8_t *key);

void aging_get(const struct aging *aging, const uint8_t *keys, uint8_t *values, bool *found, size_t count);

/* Copy up to `room` records (key and value) with numbers from `*next` on, at first 0, and move it. Returns their number; 0: that
 * were all. */
size_t aging_copy(const struct aging *aging, uint64_t *next, uint8_t *records, size_t room);

void aging_expire(struct aging *aging, int64_t before_ms);
int64_t aging_bytes(const struct aging *aging);

#endif
