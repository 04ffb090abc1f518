/* memory: queues inside this process, for tests and demonstrations: two routes may meet in one, on different workers. What is
 * in a queue is gone with the process. Ends can be scripted to fail. Read it from the bottom up. */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

#include "queue.h"

/* ---- What tests may do ---- */

static void put(const char *name, const struct bailey_message *const batch[], size_t count)
{
    struct queue *queue = queue_find(name);
    struct record *first = NULL, **end = &first;

    for (size_t i = 0; i < count; i++) {
        *end = record_new(batch[i], &(struct bailey_marks){0});
        end = &(*end)->next;
    }
    queue_claim(queue, count, SIZE_MAX, NULL);
    queue_append(queue, first, 0);
}

static size_t depth(const char *name)
{
    return queue_depth(queue_find(name));
}

static bool wait_for(const char *name, size_t count, int timeout_ms)
{
    return queue_wait(queue_find(name), count, timeout_ms);
}

static size_t take(const char *name, size_t max, void (*each)(void *ctx, const struct bailey_message *msg), void *ctx)
{
    struct queue *queue = queue_find(name);
    struct record *record;
    size_t count = 0;

    for (; count < max && queue_take(queue, &record, 1, NULL) == 1; count++) {
        record->envelope.redelivered = record->redelivered;
        each(ctx, &record->envelope);
        queue_remove(queue, &record, 1);
    }
    return count;
}

static void ignore(void *ctx, const struct bailey_message *msg)
{
    (void)ctx, (void)msg;
}

static void clear(const char *name)
{
    take(name, SIZE_MAX, ignore, NULL);
    queue_forget_events(queue_find(name));
}

extern const struct memory_api memory_api;
__attribute__((visibility("default"))) const struct memory_api memory_api = {
    .put = put,
    .depth = depth,
    .wait = wait_for,
    .take = take,
    .clear = clear,
};

/* ---- The connector ---- */

struct memory_broker {
    struct bailey_host *host;
    const char *name;
};

static bool broker_open(void **broker, const void *settings, const char *name, const char *instance,
                        struct bailey_host *host, struct bailey_error *err)
{
    struct memory_broker *memory = calloc(1, sizeof *memory);

    (void)settings, (void)instance;
    if (memory == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    *memory = (struct memory_broker){.host = host, .name = name};
    bailey_connection_expected(host, name, 1); /* there is nothing to connect to: always up */
    bailey_connection_up(host, name, 1);
    *broker = memory;
    return true;
}

static void broker_close(void *broker)
{
    struct memory_broker *memory = broker;

    bailey_connection_up(memory->host, memory->name, -1);
    bailey_connection_expected(memory->host, memory->name, -1);
    free(memory);
}

/* A queue is made by whoever names it first. */
static void probe(void *broker, const void *end, struct bailey_probe *asked)
{
    const char *queue = asked->role == BAILEY_SOURCE ? ((const struct memory_source_settings *)end)->queue
                                                     : ((const struct memory_sink_settings *)end)->queue;
    char what[160];

    (void)broker;
    snprintf(what, sizeof what, "queue %.150s", queue);
    asked->found(asked, &(struct bailey_probe_row){
                            .result = BAILEY_PROBE_OK, .what = what, .detail = "inside the process, made at start"});
    asked->done(asked);
}

static const struct bailey_connector memory_connector = {
    .size = sizeof memory_connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .abi_minor = BAILEY_ABI_MINOR,
    .name = "memory",
    .summary =
        "Queues inside this process, gone with it: for tests and demonstrations. Its ends can be scripted to fail.",
    .broker_open = broker_open,
    .broker_close = broker_close,
    .source = &memory_source,
    .sink = &memory_sink,
    .probe = probe,
};

const struct bailey_connector *bailey_connector_entry(void)
{
    return &memory_connector;
}
