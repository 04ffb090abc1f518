/* queue.h: named queues of this process, shared by all its workers.
 *
 * A queue lives from its first use to the end of the process. All functions may be called on any thread; each takes the
 * queue's lock once, for a whole batch.
 */
#ifndef MEMORY_QUEUE_H
#define MEMORY_QUEUE_H

#include <bailey/host.h>

#include "record.h"

struct queue;

/* The queue of that name, made on first use. Never NULL. */
struct queue *queue_find(const char *name);

/* Somebody who is told on its worker, by `task`, when what it asked for and did not get may be there. Zeroed, then `host`, `task`
 * and queue_join(). */
struct queue_waiter {
    struct bailey_host *host;
    struct bailey_task task; /* its `run` calls queue_woken() first */
    struct queue_waiter *next;
    bool for_space, is_armed, is_posted; /* guarded by the queue's lock */
};
void queue_join(struct queue *queue, struct queue_waiter *waiter, bool for_space);
void queue_woken(struct queue *queue, struct queue_waiter *waiter);

/* Returns true if the task is still on its way: the waiter must stay until it has run. */
bool queue_leave(struct queue *queue, struct queue_waiter *waiter);

/* Sink: claim places for `count` records; returns how many there are within `capacity` messages. If fewer, `waiter` is told
 * when there is space again. */
size_t queue_claim(struct queue *queue, size_t count, size_t capacity, struct queue_waiter *waiter);

/* Use claimed places: append the chain (takes the references), and give back `unused` places. */
void queue_append(struct queue *queue, struct record *chain, size_t unused);

/* Source: take up to `max` records in order, with their references. If there is none, `waiter` is told. */
size_t queue_take(struct queue *queue, struct record *records[], size_t max, struct queue_waiter *waiter);

/* Source: these are settled: takes the references, frees their places. */
void queue_remove(struct queue *queue, struct record *const records[], size_t count);

/* Source: these are not: back to where they stood, marked as redelivered. Takes the references. */
void queue_return(struct queue *queue, struct record *const records[], size_t count);

/* Records that wait. */
size_t queue_depth(struct queue *queue);

/* Blocks (tests only) until at least `count` wait, or `timeout_ms` passed. */
bool queue_wait(struct queue *queue, size_t count, int timeout_ms);

/* The scripted events of the queue's ends, which outlive an end: counts `event`, true for the first `times` of them. */
enum queue_event { QUEUE_SOURCE_LOST, QUEUE_SINK_LOST, QUEUE_SINK_HELD, QUEUE_OPEN_FAILED, QUEUE_EVENTS };
bool queue_event_happens(struct queue *queue, enum queue_event event, int64_t times);
void queue_forget_events(struct queue *queue);

#endif
