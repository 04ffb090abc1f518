/* ledger_impl.h: what the files of the ledger share: ledger.c (the course of a message, and ids), ledger_dead.c (what is refused,
 * and dead letters), ledger_order.c (who waits for whom), ledger_kept.c (what waits for its time). Private to them. */
#ifndef BAILEY_SIM_LEDGER_IMPL_H
#define BAILEY_SIM_LEDGER_IMPL_H

#include "ledger.h"

#define REQUIRE(ledger, condition, ...)           \
    do {                                          \
        if (!(condition))                         \
            sim_fail((ledger)->sim, __VA_ARGS__); \
    } while (0)

static inline uint32_t number_of(const struct ledger *ledger, const struct ledger_handout *handout)
{
    return (uint32_t)(handout - ledger->handouts);
}

static inline const struct ledger_message *message_of(const struct ledger *ledger, const struct ledger_handout *handout)
{
    return &ledger->messages[handout->message];
}

static inline const struct ledger_slot *slot_of(const struct ledger *ledger, const struct ledger_handout *handout)
{
    return &ledger->slots[handout->slot];
}

/* What is known of its id, where its route deduplicates; NULL: nothing. */
struct ledger_claim *ledger_find_claim(const struct ledger *ledger, uint32_t scope, uint32_t id);

/* It is settled though nobody has it. */
void ledger_drop(struct ledger *ledger, const struct ledger_handout *handout);
/* It is none of the lane's business any more. */
void ledger_end(struct ledger *ledger, struct ledger_handout *handout);
/* The lane has it, now as its youngest. */
void ledger_take_in(struct ledger *ledger, uint32_t handout);
/* Of its id's claim: a mark need not be without a reason. */
bool ledger_may_mark(const struct ledger_claim *claim);

/* ---- ledger_kept.c ---- */

/* The table that its lane keeps it in; NULL: it keeps nothing. */
static inline struct ledger_table *ledger_table_of(const struct ledger *ledger, const struct ledger_slot *lane)
{
    return lane->table == NO_TABLE ? NULL : &ledger->tables[lane->table];
}

/* A table has it, and may give it to a lane. */
static inline bool ledger_is_kept(const struct ledger_handout *handout)
{
    return handout->kept != NULL;
}

/* It, or a later copy of it, is in its lane's table for good. */
bool ledger_is_safely_kept(const struct ledger *ledger, const struct ledger_handout *handout);
/* One with that id is in the table of the claim's lanes for good. */
bool ledger_has_safe(const struct ledger *ledger, const struct ledger_claim *claim);
/* One with that id is in the table, and its time has not come. */
bool ledger_waits(const struct ledger *ledger, const struct ledger_claim *claim);
/* It is past its expiry, by the clock of whoever takes it from its table; or was. */
bool ledger_table_shows_expired(const struct ledger *ledger, const struct ledger_handout *handout);
/* Its time, by its lane's clocks as they are. */
void ledger_set_due(const struct ledger *ledger, struct ledger_handout *handout);
/* May the lane be about to put it into its table? */
bool ledger_may_be_keeping(const struct ledger *ledger, const struct ledger_handout *handout);
/* It is sent, or given up: if a table has it, it came from there. */
void ledger_comes_from_table(struct ledger *ledger, uint32_t slot, struct ledger_handout *handout);
void ledger_check_time(struct ledger *ledger, const struct ledger_handout *handout);
/* That the mark is of the table's making. */
bool ledger_table_may_mark(const struct ledger *ledger, const struct ledger_handout *handout);
/* How many messages the lane may have taken from its table, besides those that it was seen to have. */
int64_t ledger_may_have_taken(const struct ledger *ledger, const struct ledger_slot *lane);
/* What came from its table, and may be left to it again (a lane that drains does that). */
int64_t ledger_count_idle(const struct ledger *ledger, const struct ledger_slot *lane, int64_t *bytes);
/* A lane of the table ends. What it had taken, and the table still has, is taken again. */
void ledger_leaves_table(struct ledger *ledger, uint32_t slot);
/* The clock is about to be set. */
void ledger_note_walls(struct ledger *ledger, uint32_t slot);

/* ---- ledger_replay.c ---- */

/* What is replayed is at the sink, or a dead letter again; that was confirmed; it is told. */
void ledger_letter_stored(struct ledger *ledger, const struct ledger_handout *handout);
void ledger_letter_confirmed(struct ledger *ledger, const struct ledger_handout *handout);
void ledger_letter_settled(struct ledger *ledger, const struct ledger_handout *handout);
/* It was confirmed, perhaps to an earlier run. */
bool ledger_was_replayed(const struct ledger *ledger, const struct ledger_handout *handout);
/* It had died of age: whoever replays it wants it all the same. */
bool ledger_is_ageless(const struct ledger *ledger, const struct ledger_handout *handout);
/* How often it is replayed with this time. */
uint32_t ledger_replay_number(const struct ledger *ledger, const struct ledger_handout *handout);
/* An earlier run left a copy of it somewhere, and could know. */
bool ledger_was_sent_by_replay(const struct ledger *ledger, const struct ledger_handout *handout);
bool ledger_replay_may_mark(const struct ledger *ledger, const struct ledger_handout *handout);
/* It is sent: may it be? */
void ledger_check_replay(struct ledger *ledger, const struct ledger_handout *handout, enum outlet outlet);

/* ---- ledger_dead.c ---- */

/* The dead letter with that hash; NULL: nobody made one. */
struct ledger_death *ledger_find_death(const struct ledger_handout *handout, uint64_t hash);

/* The route's templates cannot be filled from it. */
bool ledger_is_stuck(const struct ledger *ledger, uint32_t slot, const struct ledger_message *message);
/* It is refused before it is asked what its id is. */
bool ledger_is_refused_early(const struct ledger *ledger, uint32_t slot, const struct ledger_message *message);
bool ledger_loops(const struct ledger_slot *lane, const struct content *content);
bool ledger_is_expired(const struct ledger *ledger, const struct ledger_slot *lane, const struct content *content);
/* It was, at some time. */
bool ledger_was_expired(const struct ledger *ledger, const struct ledger_slot *lane, const struct content *content);
/* The route's rules let it be settled though nobody has it. */
bool ledger_may_drop(const struct ledger *ledger, const struct ledger_handout *handout);
/* Of a refusal by the sink: count it, and see whether it is for good. */
void ledger_count_refusal(const struct ledger *ledger, struct ledger_handout *handout, enum bailey_error_kind kind);
/* Of one that its source takes back, or gives again: what the lane remembers of its refusals. */
void ledger_remember(struct ledger_handout *handout);
void ledger_recall(struct ledger *ledger, struct ledger_handout *handout);
void ledger_check_hope(struct ledger *ledger, const struct ledger_handout *handout);
void ledger_check_dead_letter(struct ledger *ledger, struct ledger_handout *handout,
                              const struct bailey_delivery *delivery);
void ledger_check_blocked(const struct ledger *ledger, const struct ledger_slot *lane, uint32_t slot);
void ledger_check_dying(const struct ledger *ledger, const struct ledger_slot *lane, uint32_t slot);
bool ledger_has_blocking(const struct ledger *ledger, const struct ledger_slot *lane);

/* ---- ledger_order.c ---- */

/* One that is younger waits for it. */
bool ledger_has_older(const struct ledger *ledger, const struct ledger_handout *handout);
void ledger_check_turn(struct ledger *ledger, const struct ledger_handout *handout);
/* The sink has it for the first time. */
void ledger_check_arrival(struct ledger *ledger, uint32_t number);
/* Nothing of the lane waits without a reason. */
void ledger_check_flow(const struct ledger *ledger, const struct ledger_slot *lane, uint32_t slot);

/* What waits on disk, as a copy, takes no credit. */
static inline int64_t ledger_most_held(const struct ledger_slot *lane)
{
    return lane->credit_messages + (lane->options.spill != NULL ? lane->options.ahead_max : 0);
}

#endif
