/* config/config.h: the whole configuration, read, checked and filled into settings.
 *
 * YAML text → tree with positions (yaml.c) → settings by option tables (option.c) → this model. All mistakes are reported
 * in one run; nothing starts until all is valid. Immutable once loaded: read by any thread.
 */
#ifndef BAILEY_CONFIG_H
#define BAILEY_CONFIG_H

#include <bailey/connector.h>

#include "base/arena.h"
#include "base/text.h"
#include "message/template.h"

struct config_position {
    const char *file;
    unsigned line, column; /* from 1; 0 = unknown */
};

struct config_broker {
    const char *name;
    const struct bailey_connector *connector;
    const void *settings; /* connector->broker_settings_size bytes */
    size_t index;         /* in config.brokers */
    struct config_position at;
};

struct config_end {
    const struct config_broker *broker;
    const void *settings;              /* source->settings_size or sink->settings_size bytes */
    struct template *const *templates; /* sink: those that are not constant, by slot */
    size_t template_count;
    const char *warnings; /* what the connector warned of, as sentences' parts joined by "; "; NULL: of nothing */
    struct config_position at;
};

enum config_state_store { CONFIG_STATE_NONE, CONFIG_STATE_MEMORY, CONFIG_STATE_ROCKSDB };

enum { CONFIG_SYNC_BATCH = 0, CONFIG_SYNC_NONE = -1 }; /* else ms */

enum config_processes { CONFIG_PROCESSES_UNKNOWN, CONFIG_PROCESSES_ONE, CONFIG_PROCESSES_SEVERAL };

struct config_state {
    enum config_state_store store;
    const char *path; /* absolute; NULL in memory */
    int64_t sync_ms;  /* how often what was written is made durable */
    enum config_processes processes;
};

/* The ids of one or more routes, told apart from all others. */
struct config_scope {
    const char *name;
    int64_t window_ms, max;
    unsigned lanes; /* of all its routes */
};

struct config_dedup {
    struct template *id;
    size_t scope; /* in config.scopes */
    bool pass_on_failure;
};

enum config_expire { CONFIG_EXPIRE_DEAD_LETTER, CONFIG_EXPIRE_DROP };

enum config_unroutable { CONFIG_UNROUTABLE_DEAD_LETTER, CONFIG_UNROUTABLE_RETRY, CONFIG_UNROUTABLE_ACCEPT };

struct config_retry {
    bool is_given;
    int64_t attempts; /* 0: for ever */
    int64_t min_ms, max_ms;
    double multiplier, jitter;
    bool parks_in_store;
    int64_t hold; /* messages behind the oldest unsettled one, from a source that commits positions */
};

struct config_delay {
    struct template *delay, *deliver_at; /* one of them, or none */
    bool is_native;
};

/* What a reader of dead letters does with one. */
enum config_pick {
    CONFIG_PICK_SEND,   /* replay it */
    CONFIG_PICK_LEAVE,  /* where it is */
    CONFIG_PICK_REMOVE, /* for good */
    CONFIG_PICK_STOP,   /* leave it, and all behind it */
};

/* A route that reads dead letters back (bailey dlq): its `from` has the settings of a sink. Set by the command, not by a file. */
struct config_dead_reader {
    enum config_pick (*pick)(void *ctx, const struct bailey_message *letter); /* on a worker's thread */
    void *ctx;
    bool only_looks;                /* picks LEAVE or STOP only */
    int64_t rate;                   /* messages a second at most; 0: no limit */
    const struct bailey_sink *sink; /* instead of that of `to`; NULL: that one */
};

struct config_route {
    const char *name;
    int64_t lanes;
    int64_t credit_messages;
    int64_t credit_bytes;
    struct template *key;             /* or NULL */
    const struct config_dedup *dedup; /* or NULL */
    enum bailey_order order;
    struct config_retry retry;
    struct config_delay delay;
    enum config_expire expire;
    enum config_unroutable unroutable;
    int64_t max_hops; /* 0: no limit */
    struct config_end from, to;
    const struct config_end *dead_letter;         /* or NULL */
    const struct config_dead_reader *dead_reader; /* NULL: an ordinary route */
    bool spills;         /* what waits behind a refused message may lie in a table of its own */
    bool keeps_messages; /* it delays or parks them: it needs a table for them */
    struct config_position at;
};

enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };

struct config {
    struct arena *arena;
    const char *file;
    const char *instance;
    int64_t workers;
    int64_t messages_max; /* a lane finishes after so many; 0: never. Set by `copy --count`, not by a file */
    int64_t drain_timeout_ms;
    const char *admin_address; /* NULL: off */
    uint16_t admin_port;       /* 0: any free one, printed in the log */
    enum bailey_log_level log_level;
    enum config_log_format log_format;
    const struct config_broker *brokers;
    size_t broker_count;
    const struct config_route *routes;
    size_t route_count;
    struct config_state state;
    const struct config_scope *scopes;
    size_t scope_count;
};

enum { CONFIG_FILE_MAX = 16 << 20, CONFIG_DEPTH_MAX = 64, CONFIG_NODES_MAX = 100000, CONFIG_LANES_MAX = 4096 };

struct config_counts {
    size_t errors, warnings;
};

/* Finds the connectors: registry_find, or a test's own. */
typedef const struct bailey_connector *config_find(const char *name, struct bailey_error *err);

/* Load `path`. Findings are appended to `report` as lines `FILE:LINE:COL: error: ...` (or `warning:`), with an indented
 * `hint:` line where there is one. NULL if there was an error or memory ran out (a finding says so, if it still can). */
struct config *config_load(const char *path, config_find *find, struct text *report, struct config_counts *counts);

/* Same, from memory; `path` names it in findings, and relative paths are relative to its folder. */
struct config *config_load_text(const char *yaml, size_t len, const char *path, config_find *find, struct text *report,
                                struct config_counts *counts);

void config_free(struct config *config);

#endif
