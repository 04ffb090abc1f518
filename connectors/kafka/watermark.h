/* watermark.h: how far a partition may be committed.
 *
 * A position in Kafka says "everything before this is done", so only the contiguous prefix of what was settled may be
 * committed. Offsets ascend and have gaps (transaction markers, compaction): never assume +1. Pure: no Kafka, no clock.
 * One thread. Memory: 8 bytes for each message that is out.
 */
#ifndef KAFKA_WATERMARK_H
#define KAFKA_WATERMARK_H

#include <stdbool.h>
#include <stdint.h>

enum { WATERMARK_UNKNOWN = -1 };

struct watermark {
    int64_t low;    /* every offset below is settled: may be committed. WATERMARK_UNKNOWN until that means something */
    int64_t next;   /* lowest offset that may be added */
    uint64_t *ring; /* offset << 1 | settled, ascending, from head */
    uint32_t cap;   /* power of two, or 0 */
    uint32_t head, count;
};

/* Begin at `start`, the first offset that will be read, or WATERMARK_UNKNOWN. */
void watermark_init(struct watermark *mark, int64_t start);
void watermark_fini(struct watermark *mark);

/* This offset was given out. False (and nothing happens) if it is not above all that were added before. */
bool watermark_add(struct watermark *mark, int64_t offset);

/* This offset is done. Returns false if it is not out, or was settled before: then nothing happens. */
bool watermark_settle(struct watermark *mark, int64_t offset);

#endif
