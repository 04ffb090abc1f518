/* newest.h: of the records of a partition with one key the newest counts, as log compaction has it.
 *
 * A key is known by the first 128 bits of its SHA-256: nobody can make two that look like one. Memory: 64 bytes a
 * key at most, 96 MiB for all that may be. Knows no librdkafka.
 */
#ifndef KAFKA_NEWEST_H
#define KAFKA_NEWEST_H

#include <bailey/message.h>

enum { NEWEST_MAX = 3 << 20 /* keys */ };

/* Zeroed before the first use. */
struct newest {
    struct newest_entry *entries;
    struct evp_md_ctx_st *sum;
    size_t slots, count;
    int64_t live; /* keys whose newest record removes nothing */
};

/* There is a record with that key; `removes`: it is a tombstone. False: there are too many keys, or no memory. */
bool newest_note(struct newest *newest, int32_t partition, struct bailey_bytes key, int64_t offset, bool removes);

/* Is the record at that offset the newest of its key that was noted, and no tombstone? */
bool newest_is(const struct newest *newest, int32_t partition, struct bailey_bytes key, int64_t offset);

void newest_clear(struct newest *newest);

#endif
