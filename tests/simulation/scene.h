/* scene.h: what takes part in a run: brokers, routes, processes, and the places of lanes in them. Drawn from the seed. */
#ifndef BAILEY_SIM_SCENE_H
#define BAILEY_SIM_SCENE_H

#include "content.h"
#include "core/dedup.h"
#include "core/lane.h"
#include "ledger.h"
#include "link.h"
#include "process.h"
#include "state.h"
#include "tables.h"

enum source_kind { SOURCE_LOG, SOURCE_QUEUE, SOURCE_EACH, SOURCE_KINDS };

/* How the sink's connector and its broker behave on a route. */
struct sink_manner {
    size_t window;         /* most that are unconfirmed */
    size_t written_a_time; /* what leaves at once; the rest stays in the output for a moment */
    bool gathers;          /* gives its confirms a turn later */
    bool in_order;         /* the broker confirms in order */
    int64_t confirm_ms;    /* at most, if it is not slow */
    unsigned refuses;      /* percent of messages that are refused once, for no reason */
    unsigned rejects;      /* the same, for good; until the calm */
};

/* How the source's connector and its broker behave. */
struct source_manner {
    size_t slice;        /* most that is handed over at once */
    int64_t commit_ms;   /* log */
    bool shuffles;       /* queue: what comes back is in another order */
    int64_t patience_ms; /* queue: the connector hands back what is unsettled for that long; 0: never */
    bool pins;           /* its messages point into its buffers */
    bool begins_unknown; /* log: there is no committed position at first */
};

/* How a route deduplicates. */
struct dedup_manner {
    int64_t window_ms, max;
    bool passes;      /* while the store fails */
    unsigned repeats; /* percent of messages whose id an earlier one had */
};

/* What becomes of what is refused, and of order. */
struct refusal_manner {
    struct lane_retry retry;
    enum lane_expire expire;
    enum lane_unroutable unroutable;
    bool has_dead_letters;
    unsigned poison; /* per mille of messages that will not succeed */
};

struct route {
    struct scene *scene;
    char name[16];
    enum source_kind kind;
    struct log_broker *log;
    struct queue_broker *queue;
    struct sink_broker *sinks[OUTLETS];
    struct source_manner source_manner;
    struct sink_manner sink_manners[OUTLETS];
    struct refusal_manner refusals;
    struct shaping shaping;
    unsigned lanes; /* of each process */
    int64_t credit_messages, credit_bytes, ahead_max;
    bool spills;
    uint16_t len_max;
    struct dedup_manner dedup;
    uint32_t *ids; /* of what was produced */
    uint32_t id_count, id_cap, nameless;
    struct template *key[2], *id[2];              /* without and with defaults */
    struct template *templates[2][ADDRESSES_MAX]; /* the same */
    struct template *dead_templates[1];
    struct template *when; /* NULL: it does not delay */
    bool is_replayed;
};

/* One of the two ways out of a lane. */
struct way {
    struct berth *berth;
    enum outlet outlet;
};

/* The place of a lane in a process. */
struct berth {
    struct scene *scene;
    struct process *process;
    struct bailey_host *host; /* its worker, in this life of the process */
    struct route *route;
    struct scope *scope;              /* NULL: it does not deduplicate */
    struct state_table *kept, *spill; /* NULL: it has none */
    unsigned lane;
    uint32_t slot;        /* in the ledger */
    struct lane *running; /* NULL: none */
    struct lane_status *status;
    struct lane_dedup_options dedup;
    struct lane_dead_letters dead_letters;
    struct way ways[OUTLETS];
    bool has_ended, is_draining;
    struct event event; /* free what has ended, begin anew */
};

enum { ROUTES_MAX = 3, PROCESSES_MAX = 3, LANES_MAX = 4 };

/* The ids of a route in a process. */
struct scope {
    struct store_scope *store;
    uint32_t number; /* in the ledger */
    struct state *state;
    struct dedup_group group;
    struct dedup_shard *shards[LANES_MAX];
};

enum { BERTHS_MAX = ROUTES_MAX * PROCESSES_MAX * LANES_MAX };

struct replayer;

struct scene {
    struct sim *sim;
    struct ledger *ledger;
    struct route routes[ROUTES_MAX];
    size_t route_count;
    struct process processes[PROCESSES_MAX];
    struct event restarts[PROCESSES_MAX], closings[PROCESSES_MAX];
    bool ends[PROCESSES_MAX];        /* the process ends when its lanes have */
    unsigned machine[PROCESSES_MAX]; /* where it runs */
    struct store *stores[PROCESSES_MAX];
    struct scope scopes[PROCESSES_MAX][ROUTES_MAX];
    unsigned lanes[PROCESSES_MAX][ROUTES_MAX]; /* in this life */
    int64_t wall_ms[PROCESSES_MAX];            /* of a machine: what the run's time lacks to its clock */
    size_t process_count;
    struct berth berths[BERTHS_MAX];
    size_t berth_count;
    struct replayer *replayer; /* NULL: there is none */
    struct event producer, faults;
    uint32_t to_produce;
    int64_t faults_until_ms;
    unsigned fault_every_ms;
    bool
        has_shapeless; /* what some messages need is configured in the calm only: templates with defaults, dead letters */
    bool keeps;        /* some routes keep messages in a store, so all stores are on a disk */
    bool is_over;      /* nothing begins anew */
    struct arena *arena;
    uint64_t crashes, fault_count;
};

/* Draw the scene of `sim`'s seed, and begin. */
struct scene *scene_new(struct sim *sim);

/* Something goes wrong (faults.c): draw what. */
void fault_strike(struct scene *scene);
/* All that is broken works again. */
void fault_cease(struct scene *scene);

/* ---- Processes and lanes (fleet.c) ---- */
void fleet_begin(struct scene *scene);
void berth_drain(struct berth *berth);
void berth_stop(struct berth *berth);
/* Drain or stop all lanes of a process, and end it. */
void fleet_end(struct scene *scene, struct process *process, bool drain);
/* The machine goes down, with all that runs on it, and what it had not synced. */
void fleet_crash_machine(struct scene *scene, unsigned machine);
/* Its clock is set. */
void fleet_set_clock(struct scene *scene, unsigned machine, int64_t change_ms);
/* All clocks are right again. */
void fleet_mend_clocks(struct scene *scene);
/* No process is left. */
bool fleet_is_gone(const struct scene *scene);

#endif
