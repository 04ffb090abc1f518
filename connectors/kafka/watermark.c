/* watermark.c: a ring of the offsets that are out, in ascending order; the settled ones leave at its head.
 *
 * Finding an offset costs one look where there are no gaps: it lies at most (offset - head) entries behind the head, and
 * exactly there without gaps. With gaps it is a binary search in front of that place.
 */
#include "watermark.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { RING_FIRST = 64 };

void watermark_init(struct watermark *mark, int64_t start)
{
    *mark = (struct watermark){.low = start, .next = start < 0 ? 0 : start};
}

void watermark_fini(struct watermark *mark)
{
    free(mark->ring);
    *mark = (struct watermark){.low = WATERMARK_UNKNOWN};
}

static uint64_t *entry(const struct watermark *mark, uint32_t index)
{
    return &mark->ring[(mark->head + index) & (mark->cap - 1)];
}

static void grow(struct watermark *mark)
{
    uint32_t cap = mark->cap == 0 ? RING_FIRST : mark->cap * 2;
    uint64_t *ring = calloc(cap, sizeof *ring);

    if (ring == NULL)
        abort(); /* the lane's credit bounds this: memory is exhausted */
    for (uint32_t i = 0; i < mark->count; i++)
        ring[i] = *entry(mark, i);
    free(mark->ring);
    mark->ring = ring;
    mark->cap = cap;
    mark->head = 0;
}

bool watermark_add(struct watermark *mark, int64_t offset)
{
    if (offset < mark->next || offset > INT64_MAX / 2)
        return false;
    if (mark->count == mark->cap)
        grow(mark);
    *entry(mark, mark->count++) = (uint64_t)offset << 1;
    mark->next = offset + 1;
    return true;
}

/* The entry of `offset`, or NULL. */
static uint64_t *find(const struct watermark *mark, int64_t offset)
{
    if (mark->count == 0)
        return NULL;

    int64_t first = (int64_t)(*entry(mark, 0) >> 1);
    if (offset < first || offset >= mark->next)
        return NULL;

    uint64_t distance = (uint64_t)(offset - first);
    uint32_t low = 0, high = distance < mark->count ? (uint32_t)distance : mark->count - 1;

    if ((int64_t)(*entry(mark, high) >> 1) == offset)
        return entry(mark, high);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if ((int64_t)(*entry(mark, middle) >> 1) < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return (int64_t)(*entry(mark, low) >> 1) == offset ? entry(mark, low) : NULL;
}

bool watermark_settle(struct watermark *mark, int64_t offset)
{
    uint64_t *found = find(mark, offset);

    if (found == NULL || (*found & 1) != 0)
        return false;
    *found |= 1;
    while (mark->count > 0 && (*entry(mark, 0) & 1) != 0) {
        mark->low = (int64_t)(*entry(mark, 0) >> 1) + 1;
        mark->head = (mark->head + 1) & (mark->cap - 1);
        mark->count--;
    }
    assert(mark->low <= mark->next);
    return true;
}
