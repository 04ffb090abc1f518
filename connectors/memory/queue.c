/* A queue is a singly linked list in the order of its numbers. What comes back is merged to its old place: all of a batch in
 * one walk. Waiters are told once for each time they asked in vain (armed → posted → woken). */
#include "queue.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct queue {
    struct queue *next;
    char *name;
    pthread_mutex_t lock;
    pthread_cond_t grown; /* monotonic clock */
    struct record *first, **end;
    size_t depth;   /* that wait */
    size_t claimed; /* places: those that wait, that are out at sources, and that sinks have claimed */
    uint64_t next_number;
    struct queue_waiter *waiters;
    int64_t events[QUEUE_EVENTS];
};

static pthread_mutex_t queues_lock = PTHREAD_MUTEX_INITIALIZER;
static struct queue *queues;

static struct queue *queue_new(const char *name)
{
    struct queue *queue = calloc(1, sizeof *queue);
    pthread_condattr_t attr;

    if (queue == NULL || (queue->name = strdup(name)) == NULL)
        abort();
    pthread_mutex_init(&queue->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->grown, &attr);
    pthread_condattr_destroy(&attr);
    queue->end = &queue->first;
    return queue;
}

struct queue *queue_find(const char *name)
{
    struct queue *queue;

    pthread_mutex_lock(&queues_lock);
    for (queue = queues; queue != NULL && strcmp(queue->name, name) != 0;)
        queue = queue->next;
    if (queue == NULL) {
        queue = queue_new(name);
        queue->next = queues;
        queues = queue;
    }
    pthread_mutex_unlock(&queues_lock);
    return queue;
}

/* ---- Waiters ---- */

void queue_join(struct queue *queue, struct queue_waiter *waiter, bool for_space)
{
    pthread_mutex_lock(&queue->lock);
    waiter->for_space = for_space;
    waiter->next = queue->waiters;
    queue->waiters = waiter;
    pthread_mutex_unlock(&queue->lock);
}

void queue_woken(struct queue *queue, struct queue_waiter *waiter)
{
    pthread_mutex_lock(&queue->lock);
    waiter->is_posted = false;
    pthread_mutex_unlock(&queue->lock);
}

bool queue_leave(struct queue *queue, struct queue_waiter *waiter)
{
    struct queue_waiter **at = &queue->waiters;
    bool is_posted;

    pthread_mutex_lock(&queue->lock);
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    is_posted = waiter->is_posted;
    pthread_mutex_unlock(&queue->lock);
    return is_posted;
}

/* With the lock. */
static void wake(struct queue *queue, bool for_space)
{
    for (struct queue_waiter *waiter = queue->waiters; waiter != NULL; waiter = waiter->next) {
        if (waiter->for_space != for_space || !waiter->is_armed || waiter->is_posted)
            continue;
        waiter->is_armed = false;
        waiter->is_posted = true;
        bailey_post(waiter->host, &waiter->task);
    }
    if (!for_space)
        pthread_cond_broadcast(&queue->grown);
}

/* ---- Records ---- */

size_t queue_claim(struct queue *queue, size_t count, size_t capacity, struct queue_waiter *waiter)
{
    pthread_mutex_lock(&queue->lock);
    size_t left = capacity > queue->claimed ? capacity - queue->claimed : 0;

    if (count > left) {
        count = left;
        waiter->is_armed = true;
    }
    queue->claimed += count;
    pthread_mutex_unlock(&queue->lock);
    return count;
}

void queue_append(struct queue *queue, struct record *chain, size_t unused)
{
    pthread_mutex_lock(&queue->lock);
    bool has_grown = chain != NULL;

    *queue->end = chain;
    for (struct record *record = chain; record != NULL; record = record->next) {
        record->number = queue->next_number++;
        queue->end = &record->next;
        queue->depth++;
    }
    assert(queue->claimed >= unused);
    queue->claimed -= unused;
    if (has_grown)
        wake(queue, false);
    if (unused > 0)
        wake(queue, true);
    pthread_mutex_unlock(&queue->lock);
}

size_t queue_take(struct queue *queue, struct record *records[], size_t max, struct queue_waiter *waiter)
{
    size_t count = 0;

    pthread_mutex_lock(&queue->lock);
    while (count < max && queue->first != NULL) {
        records[count] = queue->first;
        queue->first = queue->first->next;
        records[count++]->next = NULL;
    }
    if (queue->first == NULL)
        queue->end = &queue->first;
    queue->depth -= count;
    if (count == 0 && waiter != NULL)
        waiter->is_armed = true;
    pthread_mutex_unlock(&queue->lock);
    return count;
}

void queue_remove(struct queue *queue, struct record *const records[], size_t count)
{
    pthread_mutex_lock(&queue->lock);
    assert(queue->claimed >= count);
    queue->claimed -= count;
    wake(queue, true);
    pthread_mutex_unlock(&queue->lock);
    for (size_t i = 0; i < count; i++)
        record_unref(records[i]);
}

static int by_number(const void *a, const void *b)
{
    const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;

    return x->number < y->number ? -1 : x->number > y->number;
}

void queue_return(struct queue *queue, struct record *const records[], size_t count)
{
    struct record **sorted = malloc((count + 1) * sizeof(struct record *)), **at;

    if (sorted == NULL)
        abort();
    memcpy(sorted, records, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_number);
    pthread_mutex_lock(&queue->lock);
    at = &queue->first;
    for (size_t i = 0; i < count; i++) {
        while (*at != NULL && (*at)->number < sorted[i]->number)
            at = &(*at)->next;
        sorted[i]->redelivered = true;
        sorted[i]->next = *at;
        *at = sorted[i];
        if (sorted[i]->next == NULL)
            queue->end = &sorted[i]->next;
    }
    queue->depth += count;
    if (count > 0)
        wake(queue, false);
    pthread_mutex_unlock(&queue->lock);
    free(sorted);
}

size_t queue_depth(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t depth = queue->depth;

    pthread_mutex_unlock(&queue->lock);
    return depth;
}

bool queue_wait(struct queue *queue, size_t count, int timeout_ms)
{
    struct timespec until;
    bool reached;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&queue->lock);
    while (queue->depth < count)
        if (pthread_cond_timedwait(&queue->grown, &queue->lock, &until) != 0)
            break;
    reached = queue->depth >= count;
    pthread_mutex_unlock(&queue->lock);
    return reached;
}

/* ---- Scripted events ---- */

bool queue_event_happens(struct queue *queue, enum queue_event event, int64_t times)
{
    bool happens;

    pthread_mutex_lock(&queue->lock);
    happens = queue->events[event] < times;
    queue->events[event] += happens;
    pthread_mutex_unlock(&queue->lock);
    return happens;
}

void queue_forget_events(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    memset(queue->events, 0, sizeof queue->events);
    pthread_mutex_unlock(&queue->lock);
}
