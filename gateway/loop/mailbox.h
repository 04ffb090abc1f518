/* loop/mailbox.h: tasks from any thread to one thread, in the order in which each sender posted them.
 *
 * Posting is one atomic exchange: it never blocks, allocates or fails. The task is the caller's, and is in place until it
 * is taken.
 */
#ifndef BAILEY_MAILBOX_H
#define BAILEY_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

#include <bailey/host.h>

struct mailbox {
    _Atomic(struct bailey_task *) newest;
};

/* Any thread. True if the mailbox was empty: then, and only then, the owner must be woken. */
bool mailbox_post(struct mailbox *mailbox, struct bailey_task *task);

/* The owner's thread: all tasks, oldest first, linked by `next`; NULL if none. */
struct bailey_task *mailbox_take(struct mailbox *mailbox);

#endif
