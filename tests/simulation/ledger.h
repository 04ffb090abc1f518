/* ledger.h: the judge. It is told by the simulated brokers and at the seam of the lane what really happened, and ends the
 * run (sim_fail) as soon as a rule is broken. It believes nothing that the core says of itself.
 *
 * A message is what a source's broker holds; a handout is one giving of it to a lane. The rules:
 *   - a source's broker is told that a message is done only when the sink's broker has it, or that of the dead letters, or the
 *     route's rules drop it; and once;
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
 * Of what is refused (ledger_dead.c):
 *   - a dead letter has a reason that is true: the sink refused the message for good, or as often as the route's attempts say (an
 *     outage is no refusal), or it cannot be sent at all, or it is past its expiry, or has passed too many gateways;
 *   - such a message is not sent to the sink (again), if it has a dead letter to become;
 *   - a dead letter is the message, unchanged, and says the truth about it;
 *   - what goes to the dead letters is accounted for, and marked, together with what goes to the sink: a message is at both only
 *     if it was in doubt, or was handed out twice;
 *   - a lane is blocked, and receives nothing, while something hopeless has nowhere to go, and only then.
 *
 * Where a route keeps an order (ledger_order.c), a line is what the lane keeps in order, and a domain what its source has in order:
 *   - nothing is sent while an older one of its line in its lane is not at its end ;
 *   - the first arrivals of a domain at the sink keep the order of the source, over everything that happens; dead letters are not
 *     there, so they are left out;
 *   - nothing waits but for an older one of its line.
 *
 * Where a route deduplicates, a scope is what one store keeps of one route, and a claim what is known there of one id:
 *   - an id is recorded only after the confirm of a message with it, and the source told only when that record is safe;
 *   - what has a record within the window (and not `max` newer ones behind it), was confirmed, or is out, is not sent again;
 *   - nothing is sent before its intent is safe, and no intent goes while it may be needed;
 *   - a duplicate is settled only if the sink has one with its id, recorded within the window: others are never swallowed;
 *   - of an id that may be at the sink every further send is marked; of others none.
 * Where a store keeps messages until their time (ledger_kept.c), a table is what one store keeps of one route:
 *   - a source is told that a message is done, and its id recorded as waiting, only when the table has it for good;
 *   - it is not sent before its time, by the clock that its time is of, and is sent at last;
 *   - a table lets go of it only when it is at its end, or for a later copy of it;
 *   - what was sent from a table, and is still there after a crash, is marked then; what cannot have been taken is not.
 * Where dead letters are sent again (ledger_replay.c):
 *   - a letter is removed only when what was in it is at the sink, or a dead letter again, which says how often;
 *   - what was confirmed and settled is not sent again, by no later run; what an earlier one may have sent is marked;
 *   - those of a key go one behind the other, in the order in which they lie there.
 * A store that fails excuses, on a route that passes then, what happened to the ids in hand: but what is sent without an intent is
 * marked.
 */
#ifndef BAILEY_SIM_LEDGER_H
#define BAILEY_SIM_LEDGER_H

#include <bailey/delivery.h>

#include "content.h"
#include "core/lane.h"
#include "core/state.h"
#include "core/status.h"

enum { NO_SCOPE = UINT32_MAX, NO_ID = UINT32_MAX, NO_LINE = UINT32_MAX, NO_TABLE = UINT32_MAX, SHARDS_MAX = 8 };
enum { LEDGER_REPLAYS_MAX = 3 };

/* Where a lane sends. */
enum outlet { TO_SINK, TO_DEAD, OUTLETS };

/* What a store has of an id. */
struct kept {
    struct id id;
    uint32_t number;                     /* of the id, in the ledger */
    int64_t record_ms, intent_ms;        /* of the state's clock; -1: none */
    bool is_record_safe, is_intent_safe; /* as durable as the store's settings say */
    uint8_t outcome;                     /* enum id_outcome, of the record */
};

/* What the sink has said of a handout so far. */
struct tries {
    uint32_t refusals, counted; /* counted: against the route's attempts */
    uint32_t last;              /* enum bailey_error_kind; 0: none */
    bool is_hopeless;           /* the last one was for good */
};

/* A message that a table keeps. */
struct ledger_kept {
    uint32_t handout, table;
    uint8_t line; /* enum schedule_line: which clock its time is of */
    int64_t due_ms;
    bool is_safe; /* on the disk */
    bool may_be_marked;
    uint32_t life; /* of the table, when it was put */
    struct tries tries;
    struct ledger_kept *next; /* of those that a write erased */
};

/* A dead letter that was made of a handout. What a table has kept may die in each life of its lane that takes it. */
struct ledger_death {
    uint64_t hash;
    bool is_too_old; /* it says so */
    char failed[32]; /* when, as it says */
    uint32_t letter; /* that lies at the broker, + 1; 0: none */
    struct ledger_death *before;
};

/* What lies at the broker of the dead letters. */
struct ledger_letter {
    uint32_t message;
    uint32_t replays;  /* so often has it been sent again, and died */
    uint32_t handouts; /* to lanes that send it again */
    uint32_t copies;   /* that these have left at the sink, or as another dead letter */
    bool is_confirmed; /* to one of them */
    bool is_settled;
    uint32_t known;  /* of the copies: by lanes that knew its name, and could write it down */
    char failed[32]; /* a part of its name */
    bool is_too_old; /* it, or what it was before, died of that: it has no expiry any more */
};

struct ledger_table {
    const int64_t *wall_ms; /* what the run's time lacks to its machine's clock */
    int64_t clock_ms;       /* and to the state's clock */
    int64_t ended_ms[2];    /* by line: the latest that its clock has shown when a lane ended */
    int64_t wall_high_ms;   /* the latest that the wall clock has shown before it was set back */
    uint32_t life;          /* how many lanes have ended */
    uint32_t count;         /* messages in it */
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
    uint8_t outcome;                  /* enum id_outcome: of what was confirmed last */
};

/* A record that was written. */
struct ledger_record {
    const struct ledger_claim *claim;
    int64_t time_ms;
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
    struct ledger_record *records; /* all that were written: a claim may have several */
    size_t record_count, record_cap;
};

struct ledger_id {
    uint32_t ends; /* at the sink, at the dead letters, or dropped by the route's rules */
    uint32_t kept; /* tables that have one with it */
    uint32_t handouts;
    struct ledger_claim *claims;
};

enum handout_state {
    HANDOUT_READY,     /* in the lane, not sent, or handed back */
    HANDOUT_OUT,       /* sent, and no verdict yet */
    HANDOUT_WAITING,   /* refused */
    HANDOUT_CONFIRMED, /* and not settled: where ids are recorded, the lane goes on having it */
    HANDOUT_ENDED,     /* settled, or none of the lane's business any more; a table may keep it */
};

struct ledger_message {
    struct content content;
    const struct shaping *shaping;
    uint32_t sink; /* number of the sink's broker where it belongs */
    uint32_t id;
    uint32_t handouts, doubts;  /* so far */
    uint32_t unmarked_handouts; /* that no source had marked */
    uint32_t senders;           /* scopes in which it was sent while near: a bit for each */
    uint32_t copies, unmarked;  /* at the sink's broker, and that of the dead letters */
    uint32_t dead;              /* of those: dead letters */
    bool is_done;               /* its source's broker was told so */
    bool is_dropped;            /* by the route's rules */
    uint32_t kept;              /* tables that have it */
    bool was_swallowed;         /* it was settled as a duplicate */
    uint32_t line, domain;      /* NO_LINE: it has none */
    char dead_id[33];           /* of its dead letter, where that must be the same always; "": none yet */
};

/* Of a route: what is kept in order. */
struct ledger_line {
    uint32_t sink;
    int32_t partition; /* -1: whatever it is */
    char key[16];
    uint32_t newest; /* of a domain: the youngest message whose first copy has arrived; + 1 */
};

struct ledger_handout {
    uint32_t message, slot, group;
    uint64_t position;
    uint8_t state; /* enum handout_state */
    bool is_marked;
    bool is_near;       /* the committed position: whoever takes over marks it */
    bool is_revoked;    /* its group was taken away */
    bool is_orphan;     /* its source has lost it while it was out */
    bool is_lost;       /* its source is closed: nobody can be told */
    bool is_dead;       /* it was sent to the dead letters */
    bool is_blocking;   /* it is hopeless, and has nowhere to go */
    bool has_no_id;     /* where the route deduplicates: it never gets as far as that */
    bool is_from_table; /* it came to the lane from there */
    bool is_finished;   /* it was at its end, once at least, since it came from there */
    bool was_marked;
    bool is_remembered; /* its lane lost it, and knows how often it was refused until then: `left` */
    struct tries tries, left;
    struct ledger_kept *kept; /* NULL: no table has it */
    uint32_t letter;          /* the dead letter that it was, + 1; 0: none */
    int64_t received_ms;      /* the run's time */
    int64_t confirmed_ms;     /* the state's clock */
    int64_t due_ms;           /* of its time: the state's clock, or the wall clock */
    int64_t wall_high_ms;     /* the latest that the wall clock has shown before it was set back */
    int64_t size;
    uint32_t doubts, sends, copies;
    uint32_t dead_refusals;
    struct ledger_death *deaths; /* the last one first */
    uint32_t next;               /* in its bucket of `index` */
    uint32_t older, younger;     /* that its lane has; 0: none */
};

/* One lane, over all of its lives. */
struct ledger_slot {
    uint32_t scope; /* NO_SCOPE: it does not deduplicate */
    uint32_t table; /* NO_TABLE: it keeps nothing */
    int64_t credit_messages, credit_bytes;
    int64_t left;                /* of the lane's messages_max; INT64_MAX: no such limit */
    bool is_pushed;              /* its source's broker sends without asking: by window, not by room */
    bool is_replayer;            /* of dead letters */
    bool has_defaults;           /* its templates can be filled from every message */
    struct lane_options options; /* what it is to do */
    const int64_t *wall_ms;      /* what the run's time lacks to its machine's clock */
    int64_t wall_high_ms;        /* the latest that this clock has shown before it was set back */
    bool is_up[OUTLETS], is_full[OUTLETS];
    bool source_is_open;
    uint32_t oldest, youngest; /* handout that it has */
    int64_t unsettled, out, waiting, bytes;
    int64_t taken;              /* of the unsettled: from its table */
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
    struct ledger_letter *letters;
    uint32_t letter_count, letter_cap;
    struct ledger_table *tables;
    uint32_t table_count, table_cap;
    struct ledger_kept *erased; /* by the write that is made */
    uint32_t kept;              /* messages in tables */
    struct ledger_id *ids;
    uint32_t id_count, id_cap;
    uint32_t *index; /* handouts by slot, group and position */
    uint32_t index_cap;
    struct ledger_line *lines;
    uint32_t line_count, line_cap;
    uint64_t duplicates, marked, swallowed, done, dead, dropped;
};

struct ledger *ledger_new(struct sim *sim);

/* An id: messages with the same are one, where the route deduplicates. */
uint32_t ledger_new_id(struct ledger *ledger);

/* A source's broker got a message with that id for the sink's broker `sink`; returns its number. */
uint32_t ledger_produced(struct ledger *ledger, enum nature nature, uint16_t len, const struct shaping *shaping,
                         uint32_t sink, uint32_t id);
const struct content *ledger_content(const struct ledger *ledger, uint32_t number);
/* Where its source's broker has it; `topic` NULL: in a queue. */
void ledger_placed(struct ledger *ledger, uint32_t number, const char *topic, int32_t partition, int64_t offset);

/* A scope: its number. Of `scope` window, max, the two flags, find and ctx are set. */
uint32_t ledger_add_scope(struct ledger *ledger, const struct ledger_scope *scope);
/* A process begins to use it: what was in hand when the last one went is in doubt. */
void ledger_scope_begins(struct ledger *ledger, uint32_t scope, unsigned shards, int64_t clock_ms);

/* A lane: its number. It comes (with its status) and goes. */
uint32_t ledger_add_slot(struct ledger *ledger, int64_t credit_messages, int64_t credit_bytes, bool is_pushed,
                         uint32_t scope);
void ledger_lane_begins(struct ledger *ledger, uint32_t slot, const struct lane_options *options, bool has_defaults,
                        const int64_t *wall_ms);
/* The clock of its machine is about to be set. */
void ledger_clock_set(struct ledger *ledger, uint32_t slot);
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

/* ---- The sinks ---- */
void ledger_sink_is(struct ledger *ledger, uint32_t slot, enum outlet outlet, bool up);
void ledger_sink_opened(struct ledger *ledger, uint32_t slot, enum outlet outlet);
/* It takes no more for now. */
void ledger_full(struct ledger *ledger, uint32_t slot, enum outlet outlet, bool full);
/* Taken by send(). */
void ledger_sent(struct ledger *ledger, uint32_t slot, enum outlet outlet, const struct bailey_delivery *delivery);
void ledger_confirmed(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery);
void ledger_refused(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery,
                    enum bailey_error_kind kind);
void ledger_handed_back(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery, bool in_doubt);

/* What a broker has for good. */
struct stored {
    uint32_t sink, number, handout;
    enum outlet outlet;
    uint64_t hash;
    bool is_marked;
};
void ledger_stored(struct ledger *ledger, const struct stored *stored);

/* ---- The state store ---- */

/* A change is written, and not yet to be seen in `kept`. */
void ledger_written(struct ledger *ledger, uint32_t scope, const struct kept *kept, const struct state_change *change);
/* Who has asked for that record knows of it. */
void ledger_answered(struct ledger *ledger, uint32_t scope, const struct kept *kept);
/* A shard asks no more for what was recorded before. */
void ledger_expired(struct ledger *ledger, uint32_t scope, unsigned shard, int64_t before_ms);
/* It did not do what it was asked for. */
void ledger_failed(struct ledger *ledger, uint32_t scope);

/* ---- Dead letters that are sent again ---- */

/* The lane does that. */
void ledger_is_replayer(struct ledger *ledger, uint32_t slot);
/* A broker has the dead letter of that handout with that hash: its number. */
uint32_t ledger_letter(struct ledger *ledger, uint32_t handout, uint64_t hash);
/* That handout, just received, is that letter, which counts that much against credit. */
void ledger_replays(struct ledger *ledger, uint32_t handout, uint32_t letter, size_t size);
void ledger_letter_removed(struct ledger *ledger, uint32_t letter);

/* ---- Tables of kept messages ---- */

/* `wall_ms`: what the run's time lacks to its machine's clock. Its number. */
uint32_t ledger_add_table(struct ledger *ledger, const int64_t *wall_ms);
/* The lane keeps its messages there. */
void ledger_keeps(struct ledger *ledger, uint32_t slot, uint32_t table);
void ledger_table_begins(struct ledger *ledger, uint32_t table, int64_t clock_ms);
/* It is in the table; or no longer. */
void ledger_put(struct ledger *ledger, struct ledger_kept *kept);
void ledger_erased(struct ledger *ledger, struct ledger_kept *kept);
/* All of a write has been told. */
void ledger_put_all(struct ledger *ledger);
/* A crash of the machine undoes it. */
void ledger_unput(struct ledger *ledger, struct ledger_kept *kept);
void ledger_unerased(struct ledger *ledger, struct ledger_kept *kept);

/* ---- Looking ---- */

/* The lane has nothing to do at the moment: its gauges must be right. */
void ledger_check_gauges(struct ledger *ledger, uint32_t slot);
/* All is done that can be. */
bool ledger_is_complete(const struct ledger *ledger);

#endif
