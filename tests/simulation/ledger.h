/* ledger.h: the judge. It is told by the simulated brokers and at the seam of the lane what really happened, and ends the
 * run (sim_fail) as soon as a rule is broken. It believes nothing that the core says of itself.
 *
 * A message is what a source's broker holds; a handout is one giving of it to a lane. The rules:
 *   - a source's broker is told that a message is done only when the sink's broker has it, and once;
 *   - the sink's broker has no message that nobody sent, and none that differs in a byte;
 *   - it has no more copies of a message than handouts, and sends that got lost in doubt, account for;
 *   - a send that repeats one in doubt, or a delivery that the source marked, is marked; no other is;
 *   - the first sends of a lane keep the order in which it received, as do repetitions after a lost connection;
 *   - nothing is sent twice without a verdict in between, after it was confirmed, after it was taken away, while the sink
 *     is not up, or into another address;
 *   - each handout is settled once at most, never when its source is gone, and accepted only after its confirm;
 *   - a lane never holds more messages than its credit, has no room when its bytes are used up, and its gauges say what it
 *     holds;
 *   - a crash repeats no more than `bailey explain` says, where it names a number: the credit of the lanes.
 *
 * Where a route deduplicates, a scope is what one store keeps of one route, and a claim what is known there of one id:
 *   - an id is recorded only after the confirm of a message with it, and the source told only when that record is safe;
 *   - what has a record within the window (and not `max` newer ones behind it), was confirmed, or is out, is not sent again;
 *   - nothing is sent before its intent is safe, and no intent goes while it may be needed;
 *   - a duplicate is settled only if the sink has one with its id, recorded within the window: others are never swallowed;
 *   - of an id that may be at the sink every further send is marked; of others none.
 * A store that fails excuses, on a route that passes then, what happened to the ids in hand: but what is sent without an intent is
 * marked.
 */
#ifndef BAILEY_SIM_LEDGER_H
#define BAILEY_SIM_LEDGER_H

#include <bailey/delivery.h>

#include "content.h"
#include "core/state.h"
#include "core/status.h"

enum { NO_SCOPE = UINT32_MAX, NO_ID = UINT32_MAX, SHARDS_MAX = 8 };

/* What a store has of an id. */
struct kept {
    struct id id;
    uint32_t number;                     /* of the id, in the ledger */
    int64_t record_ms, intent_ms;        /* of the state's clock; -1: none */
    bool is_record_safe, is_intent_safe; /* as durable as the store's settings say */
};

/* What is known of an id in a scope. */
struct ledger_claim {
    struct ledger_claim *next, *next_of_id;
    const struct kept *kept;
    uint32_t id, scope;
    uint32_t handouts;                /* in this life of the process */
    uint32_t in_hand;                 /* of those, what a lane has */
    uint32_t out;                     /* of those: sent, and no verdict yet */
    int64_t sent_ms;                  /* the last time; all of the state's clock; -1: never */
    int64_t confirmed_ms, doubt_ms;   /* the last time in this life; since when the sink may have it */
    int64_t received_ms, answered_ms; /* the run's time: of the last handout; when its shard knew of the last record */
    bool was_left;                    /* an intent, by an earlier life */
    bool is_forgotten;                /* the record: nobody asks for it any more */
    bool was_passed;                  /* the store failed while it was in hand */
};

struct ledger_scope {
    int64_t window_ms, max;
    bool is_durable, passes;
    unsigned shards;
    int64_t clock_ms;                                /* what the run's time lacks to the state's clock */
    int64_t failed_ms;                               /* the run's time */
    int64_t credit;                                  /* while it crashes: of its lanes */
    int64_t expired_ms[SHARDS_MAX];                  /* of each shard */
    struct kept *(*find)(void *ctx, const char *id); /* in the store; never NULL */
    void *ctx;
    struct ledger_claim *claims;
};

struct ledger_id {
    uint32_t copies; /* at the sink */
    struct ledger_claim *claims;
};

enum handout_state {
    HANDOUT_READY,     /* in the lane, not sent, or handed back */
    HANDOUT_OUT,       /* sent, and no verdict yet */
    HANDOUT_WAITING,   /* refused */
    HANDOUT_CONFIRMED, /* and not settled: where ids are recorded, the lane goes on having it */
    HANDOUT_ENDED,     /* settled, or none of the lane's business any more */
};

struct ledger_message {
    struct content content;
    const struct shaping *shaping;
    uint32_t sink; /* number of the sink's broker where it belongs */
    uint32_t id;
    uint32_t handouts, doubts;  /* so far */
    uint32_t unmarked_handouts; /* that no source had marked */
    uint32_t senders;           /* scopes in which it was sent while near: a bit for each */
    uint32_t copies, unmarked;  /* at the sink's broker */
    bool is_done;               /* its source's broker was told so */
};

struct ledger_handout {
    uint32_t message, slot, group;
    uint64_t position;
    uint8_t state; /* enum handout_state */
    bool is_marked;
    bool is_near;         /* the committed position: whoever takes over marks it */
    bool is_revoked;      /* its group was taken away */
    bool is_orphan;       /* its source has lost it while it was out */
    bool is_lost;         /* its source is closed: nobody can be told */
    int64_t received_ms;  /* the run's time */
    int64_t confirmed_ms; /* the state's clock */
    uint32_t refusals, doubts, sends, copies;
    uint32_t next; /* in its bucket of `index` */
};

/* One lane, over all of its lives. */
struct ledger_slot {
    uint32_t scope; /* NO_SCOPE: it does not deduplicate */
    int64_t credit_messages, credit_bytes;
    int64_t left;      /* of the lane's messages_max; INT64_MAX: no such limit */
    bool is_pushed;    /* its source's broker sends without asking: by window, not by room */
    bool has_defaults; /* its templates can be filled from every message */
    bool sink_is_up, source_is_open;
    int64_t unsettled, out, waiting, bytes;
    int64_t untold;             /* confirmed, and not settled */
    int64_t limbo, limbo_bytes; /* at most: ended, and their ids are still to be given back or recorded */
    uint32_t last_sent;         /* highest handout of this connection to the sink that was never refused */
    const struct lane_status *status;
};

struct ledger {
    struct sim *sim;
    struct ledger_message *messages;
    uint32_t message_count, message_cap;
    struct ledger_handout *handouts; /* from 1 */
    uint32_t handout_count, handout_cap;
    struct ledger_slot *slots;
    uint32_t slot_count, slot_cap;
    struct ledger_scope *scopes;
    uint32_t scope_count, scope_cap;
    struct ledger_id *ids;
    uint32_t id_count, id_cap;
    uint32_t *index; /* handouts by slot, group and position */
    uint32_t index_cap;
    uint64_t duplicates, marked, swallowed, done;
};

struct ledger *ledger_new(struct sim *sim);

/* An id: messages with the same are one, where the route deduplicates. */
uint32_t ledger_new_id(struct ledger *ledger);

/* A source's broker got a message with that id for the sink's broker `sink`; returns its number. */
uint32_t ledger_produced(struct ledger *ledger, enum nature nature, uint16_t len, const struct shaping *shaping,
                         uint32_t sink, uint32_t id);
const struct content *ledger_content(const struct ledger *ledger, uint32_t number);

/* A scope: its number. Of `scope` window, max, the two flags, find and ctx are set. */
uint32_t ledger_add_scope(struct ledger *ledger, const struct ledger_scope *scope);
/* A process begins to use it: what was in hand when the last one went is in doubt. */
void ledger_scope_begins(struct ledger *ledger, uint32_t scope, unsigned shards, int64_t clock_ms);

/* A lane: its number. It comes (with its status) and goes. */
uint32_t ledger_add_slot(struct ledger *ledger, int64_t credit_messages, int64_t credit_bytes, bool is_pushed,
                         uint32_t scope);
void ledger_lane_begins(struct ledger *ledger, uint32_t slot, const struct lane_status *status, bool has_defaults,
                        int64_t messages_max);
/* Its process is gone: what of it is at the sink will be there twice. */
void ledger_lane_crashes(struct ledger *ledger, uint32_t slot);
/* When all of its lanes have. */
void ledger_scope_crashes(struct ledger *ledger, uint32_t scope);
void ledger_lane_ends(struct ledger *ledger, uint32_t slot); /* orderly, or with its process */

/* ---- The source ---- */
void ledger_source_opened(struct ledger *ledger, uint32_t slot);
void ledger_source_closing(struct ledger *ledger, uint32_t slot); /* what ends from now on is told to nobody */
void ledger_source_closed(struct ledger *ledger, uint32_t slot);
/* bailey_room() says so. */
void ledger_room(const struct ledger *ledger, uint32_t slot, size_t room);
/* Just before bailey_receive(): the handout's number. */
uint32_t ledger_received(struct ledger *ledger, uint32_t slot, uint32_t number, bool is_marked, uint32_t group,
                         uint64_t position);
/* It is among the first behind the committed position of its partition, as many as the credit: if another process has sent it
 * from there, it is marked. */
void ledger_near_position(struct ledger *ledger, uint32_t handout);
void ledger_revoked(struct ledger *ledger, uint32_t slot, uint32_t group, size_t out);
void ledger_settled(struct ledger *ledger, uint32_t slot, const struct bailey_settlement *ended);
/* The source's broker knows that it is done. */
void ledger_told(struct ledger *ledger, uint32_t number);

/* ---- The sink ---- */
void ledger_sink_is(struct ledger *ledger, uint32_t slot, bool up);
void ledger_sink_opened(struct ledger *ledger, uint32_t slot);
/* Taken by send(). */
void ledger_sent(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery);
void ledger_confirmed(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery);
void ledger_refused(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery);
void ledger_handed_back(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery, bool in_doubt);
/* The sink's broker has it for good. */
void ledger_stored(struct ledger *ledger, uint32_t sink, uint32_t number, uint32_t handout, uint64_t hash,
                   bool is_marked);

/* ---- The state store ---- */

/* A change is written, and not yet to be seen in `kept`. */
void ledger_written(struct ledger *ledger, uint32_t scope, const struct kept *kept, enum state_change_kind kind);
/* Who has asked for that record knows of it. */
void ledger_answered(struct ledger *ledger, uint32_t scope, const struct kept *kept);
/* A shard asks no more for what was recorded before. */
void ledger_expired(struct ledger *ledger, uint32_t scope, unsigned shard, int64_t before_ms);
/* It did not do what it was asked for. */
void ledger_failed(struct ledger *ledger, uint32_t scope);

/* ---- Looking ---- */

/* The lane has nothing to do at the moment: its gauges must be right. */
void ledger_check_gauges(struct ledger *ledger, uint32_t slot);
/* All is done that can be. */
bool ledger_is_complete(const struct ledger *ledger);

#endif
