/* record.h: a message as a queue keeps it: a deep copy in one block that belongs to no lane.
 *
 * Immutable but for its counts, which are guarded by its queue. References may be taken and given back on any thread.
 */
#ifndef MEMORY_RECORD_H
#define MEMORY_RECORD_H

#include <bailey/delivery.h>

struct record {
    struct record *next;
    uint64_t number;  /* its place in the queue, kept when it comes back */
    bool redelivered; /* it was given out before */
    _Atomic unsigned refs;
    struct bailey_message envelope; /* its views point behind this struct; not a message to be counted */
};

/* A copy of `msg`, marked, with one reference. Never NULL. */
struct record *record_new(const struct bailey_message *msg, const struct bailey_marks *marks);
struct record *record_ref(struct record *record);
void record_unref(struct record *record); /* NULL is allowed */

/* Let the new message `msg` show what the record holds, and keep the record alive while it lives. */
void record_show(struct record *record, struct bailey_message *msg);

#endif
