/* ledger_impl.h: what the files of the ledger share: ledger.c (the course of a message, and ids), ledger_dead.c (what is refused,
 * and dead letters), ledger_order.c (who waits for whom). Private to them. */
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

/* ---- ledger_dead.c ---- */

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
void ledger_count_refusal(const struct ledger *ledger, struct ledger_handout *handout, struct refusal refusal);
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

#endif
