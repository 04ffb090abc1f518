/* core/dedup_entries.h: the ids of a shard that are in flight or in doubt, found by a table of tags with linear probing, so that an id
 * which is new costs one cache line.
 *
 * Entries stay in place until they are freed. One thread.
 */
#ifndef BAILEY_DEDUP_ENTRIES_H
#define BAILEY_DEDUP_ENTRIES_H

#include "core/dedup.h"

enum entry_state {
    ENTRY_LOOKING,   /* in a look-up */
    ENTRY_INTENDING, /* its intent is being written */
    ENTRY_FLIGHT,    /* its owner has it */
    ENTRY_RECORDING, /* at the sink; its record is being written */
    ENTRY_DOUBT,     /* nobody has it, and the sink may have it */
};

struct dedup_entry {
    struct id id;
    struct dedup_entry *prev, *next;  /* in doubt; `next` of the free ones */
    struct dedup_slot *owner;         /* NULL: it was withdrawn */
    struct dedup_slot *first, **last; /* followers, in the order of asking */
    int64_t doubt_ms;                 /* the state's clock: since when it is in doubt */
    uint32_t number;                  /* its place in the slabs */
    uint8_t state;                    /* enum entry_state */
    bool in_doubt;                    /* the sink may have it */
    bool has_intent;                  /* in the store */
};

struct dedup_place;
struct dedup_slab;

struct dedup_entries {
    struct dedup_place *places;
    size_t place_count, count; /* a power of two; at most half of it */
    struct dedup_slab **slabs;
    size_t slab_count;
    struct dedup_entry *free;
};

void dedup_entries_init(struct dedup_entries *entries);
void dedup_entries_fini(struct dedup_entries *entries);

/* The id will be asked for soon. */
void dedup_entries_prefetch(const struct dedup_entries *entries, struct id id);

/* NULL: there is none. */
struct dedup_entry *dedup_entries_find(const struct dedup_entries *entries, struct id id);

/* `owner` (or NULL) has it from now on. There must be none of that id. Never NULL. */
struct dedup_entry *dedup_entries_add(struct dedup_entries *entries, struct id id, struct dedup_slot *owner);

/* It has neither owner nor followers any more. */
void dedup_entries_remove(struct dedup_entries *entries, struct dedup_entry *entry);

/* ---- Who waits for an id ---- */

void dedup_entry_follow(struct dedup_entry *entry, struct dedup_slot *slot);
void dedup_entry_unfollow(struct dedup_entry *entry, struct dedup_slot *slot);

/* The first follower takes the place of an owner that is gone. */
void dedup_entry_promote(struct dedup_entry *entry);

#endif
