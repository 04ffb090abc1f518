/* memory.h: settings of the memory connector, and what tests may do with its queues.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <bailey/connector.h>

struct memory_source_settings {
    const char *queue;
    int64_t open_delay_ms;
    int64_t fail_opens;
    int64_t lose_after, lose_times; /* messages of one opening; 0 = never */
};

enum memory_store { MEMORY_STORE_SENT, MEMORY_STORE_CONFIRMED };

struct memory_sink_settings {
    const char *queue;
    int64_t capacity; /* messages */
    int64_t delay_ms; /* between send and confirm */
    int store;        /* enum memory_store */
    int64_t open_delay_ms;
    int64_t fail_opens;
    int64_t fail_every, fail_times; /* messages; 0 = never; attempts, 0 = for ever */
    int fail_kind;                  /* 0 transient, 1 permanent, 2 configuration */
    int64_t lose_after, lose_times;
    int64_t hold_after, hold_times, hold_ms;
};

/* The one symbol besides the entry that memory.so exports, `memory_api`: how a test's own thread puts messages in and looks
 * at what came out. Any thread; a queue is made on first use. */
struct memory_api {
    /* Append deep copies; `msg` stays the caller's. */
    void (*put)(const char *queue, const struct bailey_message *const batch[], size_t count);

    /* Messages that wait: not those that a source has taken and not settled. */
    size_t (*depth)(const char *queue);

    /* Block until at least `count` wait; false after `timeout_ms`. */
    bool (*wait)(const char *queue, size_t count, int timeout_ms);

    /* Take and remove up to `max` in order, each shown to `each` (views are valid during the call). Returns how many. */
    size_t (*take)(const char *queue, size_t max, void (*each)(void *ctx, const struct bailey_message *msg), void *ctx);

    /* Remove all that wait, and let scripted events (lose_times ...) begin anew. */
    void (*clear)(const char *queue);
};

/* The endpoints: see bailey/connector.h. */
extern const struct bailey_source memory_source;
extern const struct bailey_sink memory_sink;

#endif
