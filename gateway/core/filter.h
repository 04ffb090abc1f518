/* core/filter.h: "was this id recorded within the window?" answered in memory: no, or perhaps.
 *
 * Bloom filters in generations. Ids are added to the newest; a generation ends after a quarter of the window, or when it
 * holds a quarter of `max`, and leaves as a whole when all in it are too old, or too many came after it. So an id is
 * remembered for `window_ms` and until `max` newer ones came, whichever ends first, and a quarter longer at most. Sixteen bits an id,
 * in blocks of one cache line each: about 1 in 500 of the ids that are new is "perhaps" for each generation.
 *
 * Times are of the state's clock. Belongs to one thread.
 */
#ifndef BAILEY_FILTER_H
#define BAILEY_FILTER_H

#include <stddef.h>

#include "core/id.h"

enum { FILTER_GENERATIONS_MAX = 16, FILTER_GENERATION_MIN = 4096 /* ids */ };

struct filter;

/* Of a window of `window_ms` > 0 and `max` > 0 ids. Never NULL. */
struct filter *filter_new(int64_t window_ms, int64_t max);
void filter_free(struct filter *filter);

/* `time_ms` must not be before that of the last call. */
void filter_add(struct filter *filter, struct id id, int64_t time_ms);

bool filter_may_have(const struct filter *filter, struct id id);

/* Fetch what filter_may_have(id) will read into the cache: for a batch of them. */
void filter_prefetch(const struct filter *filter, struct id id);

/* The same for what filter_add(id) will write. */
void filter_prefetch_newest(const struct filter *filter, struct id id);

/* Let go of what is too old at `now_ms`, and tell from when on ids are remembered: -1 if there are none. */
int64_t filter_expire(struct filter *filter, int64_t now_ms);

/* ---- Filling a new filter with records that come in any order: all are counted first, then all are filled in ---- */

void filter_count(struct filter *filter, int64_t time_ms, int64_t now_ms);
void filter_counted(struct filter *filter);
void filter_fill(struct filter *filter, struct id id, int64_t time_ms, int64_t now_ms);

/* Bytes of memory. */
size_t filter_size(const struct filter *filter);

#endif
