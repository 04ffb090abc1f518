/* fake_table.h: an ordered table (core/state.h) that a test holds in its hands: what is kept, what of it was synced, when it answers,
 * what fails.
 *
 * One thread: answers come in the loop's next turn, or when the test lets them go. A write is made, and a read looks, when it is
 * answered, in the order in which they were asked.
 */
#ifndef BAILEY_TEST_FAKE_TABLE_H
#define BAILEY_TEST_FAKE_TABLE_H

#include "core/state.h"

enum { FAKE_TABLE_REQUESTS = 64 };

struct fake_rows {
    struct state_row *rows; /* in their order; key and value are one block each, by the key */
    size_t count, cap;
};

struct fake_table {
    struct state_table table; /* first */
    struct fake_rows now, synced;

    bool holds;        /* answers wait for fake_table_release() */
    bool fails_writes; /* "no space left": nothing is made */
    bool fails_syncs;  /* of a write that is to be synced: it is made, and answered as failed */
    bool fails_reads;
    size_t writes, puts, reads, syncs; /* requests, and what was in them */
    size_t rows_read;

    struct bailey_task *held[FAKE_TABLE_REQUESTS], *answered[FAKE_TABLE_REQUESTS];
    size_t held_count, answered_count; /* answered: they run in the loop's next turn */
};

void fake_table_init(struct fake_table *fake);
void fake_table_free(struct fake_table *fake);

/* Let `count` of the requests that wait be made, the oldest first; answers come in the next turn. */
void fake_table_release(struct fake_table *fake, size_t count);

/* The process dies, before its schedule is freed: what waits is never made, and nothing is answered any more. With a power cut what was
 * not synced is lost, too. */
void fake_table_kill(struct fake_table *fake);
void fake_table_power_cut(struct fake_table *fake);

/* The row with the nth key that begins with `prefix`, from 0; NULL: there are not so many. May be changed in place. */
struct state_row *fake_table_row(struct fake_table *fake, struct bailey_bytes prefix, size_t nth);
void fake_table_put(struct fake_table *fake, struct bailey_bytes key, struct bailey_bytes value);

#endif
