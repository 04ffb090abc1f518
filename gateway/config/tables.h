/* config/tables.h: the options of the gateway itself, in the same kind of table that connectors have. */
#ifndef BAILEY_CONFIG_TABLES_H
#define BAILEY_CONFIG_TABLES_H

#include <bailey/option.h>

struct top_settings {
    const char *instance;
    int64_t workers; /* 0: one a core */
    const char *listen;
    int log_level, log_format;
    int64_t drain_timeout_ms;
    int state_store, state_processes;
    const char *state_path, *state_sync;
};

struct route_settings {
    const char *name;
    int64_t lanes;
    int64_t credit_messages, credit_bytes;
    const struct bailey_template *key;
    const struct bailey_template *dedup_id;
    int64_t dedup_window_ms, dedup_max;
    const char *dedup_scope;
    int dedup_on_failure;
    int order, expire, unroutable, park;
    int64_t max_hops, attempts, hold;
    const char *backoff, *multiplier, *jitter;
    const struct bailey_template *delay, *deliver_at;
    bool delay_native;
};

extern const struct bailey_option top_options[];
extern const struct bailey_option route_options[];

/* Names beside the tables: brokers and routes; from, to and dead_letter. */
extern const char *const top_others[];
extern const char *const route_others[];
extern const char *const route_required[]; /* those of them that must be there */
extern const char *const broker_others[];
extern const char *const end_others[];

#endif
