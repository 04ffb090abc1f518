/* kafka_target.h: the topics that a producer writes to, by name: librdkafka's handle, and how much may be outstanding there.
 *
 * Names from templates come without end, so what is not in use is forgotten when there are many. All functions: worker's thread.
 */
#ifndef KAFKA_TARGET_H
#define KAFKA_TARGET_H

#include "kafka_lib.h"
#include "room.h"

struct kafka_target {
    rd_kafka_topic_t *handle;
    struct room room;
    size_t users; /* sinks that always write here: it is kept. So it is while something is outstanding */
    struct kafka_target *chain;
};

enum { KAFKA_TARGET_BUCKETS = 1024 };

/* Zeroed: none. */
struct kafka_targets {
    struct kafka_target *buckets[KAFKA_TARGET_BUCKETS];
    size_t count;
};

/* The topic of that name, borrowed: until the next call, unless it is kept. NULL: no topic can have that name. `is_compressed`: what
 * is sent there. */
struct kafka_target *kafka_target_of(struct kafka_targets *targets, rd_kafka_t *rk, const void *name, size_t len,
                                     bool is_compressed);

/* Nothing is outstanding any more, or will be told of. */
void kafka_targets_clear(struct kafka_targets *targets);

#endif
