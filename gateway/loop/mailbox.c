/* A stack that senders push on and the owner takes whole and turns round: no lock, no ABA (nothing is popped singly). */
#include "loop/mailbox.h"

#include <stddef.h>

bool mailbox_post(struct mailbox *mailbox, struct bailey_task *task)
{
    struct bailey_task *top = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);

    do
        task->next = top;
    while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &top, task, memory_order_release,
                                                  memory_order_relaxed));
    return top == NULL;
}

struct bailey_task *mailbox_take(struct mailbox *mailbox)
{
    struct bailey_task *task, *oldest = NULL;

    if (atomic_load_explicit(&mailbox->newest, memory_order_relaxed) == NULL)
        return NULL;
    task = atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire);
    while (task != NULL) {
        struct bailey_task *older = task->next;

        task->next = oldest;
        oldest = task;
        task = older;
    }
    return oldest;
}
