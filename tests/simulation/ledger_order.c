/* ledger_order.c: who waits for whom, and in which order what arrives. */
#include "ledger_impl.h"

#include <stdio.h>
#include <string.h>

/* ---- Lines ---- */

static uint32_t line_of(struct ledger *ledger, uint32_t sink, int32_t partition, const char *key)
{
    struct ledger_line *line;

    for (uint32_t i = 0; i < ledger->line_count; i++) {
        line = &ledger->lines[i];
        if (line->sink == sink && line->partition == partition && strcmp(line->key, key) == 0)
            return i;
    }
    WORLD_ROOM(ledger->lines, ledger->line_count, ledger->line_cap);
    line = &ledger->lines[ledger->line_count];
    *line = (struct ledger_line){.sink = sink, .partition = partition};
    snprintf(line->key, sizeof line->key, "%s", key);
    return ledger->line_count++;
}

/* What is refused before the route looks for its order has none, and what has a time goes then. */
static bool has_a_line(const struct ledger_message *message)
{
    const struct shaping *shaping = message->shaping;
    const struct content *content = &message->content;

    return shaping->order != BAILEY_ORDER_NONE && content->due_ms == 0 && !content_loops(content, shaping) &&
           !(content->nature == NATURE_SHAPELESS && shaping->sets_key) &&
           (shaping->order != BAILEY_ORDER_KEY || content_key(content, shaping).data != NULL);
}

void ledger_placed(struct ledger *ledger, uint32_t number, const char *topic, int32_t partition, int64_t offset)
{
    struct ledger_message *message = &ledger->messages[number];
    struct content *content = &message->content;
    enum bailey_order order = message->shaping->order;
    const char *key = "";

    content->topic = topic;
    content->partition = partition;
    content->offset = offset;
    if (!has_a_line(message))
        return;
    if (order == BAILEY_ORDER_KEY)
        key = (const char *)content_key(content, message->shaping).data;
    message->line = line_of(ledger, message->sink, order == BAILEY_ORDER_PARTITION ? partition : -1, key);
    message->domain = line_of(ledger, message->sink, partition, key);
}

/* ---- In a lane ---- */

/* Those behind it in its line may be sent. */
static bool is_ahead(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_slot *lane = slot_of(ledger, handout);

    return handout->state == HANDOUT_CONFIRMED ||
           (lane->scope != NO_SCOPE && ledger_may_drop(ledger, handout)); /* its record is being written, perhaps */
}

void ledger_check_turn(struct ledger *ledger, const struct ledger_handout *handout)
{
    uint32_t number = number_of(ledger, handout), line = message_of(ledger, handout)->line;

    if (line == NO_LINE)
        return;
    for (uint32_t at = slot_of(ledger, handout)->oldest; at != 0 && at < number; at = ledger->handouts[at].younger) {
        const struct ledger_handout *older = &ledger->handouts[at];

        REQUIRE(ledger, message_of(ledger, older)->line != line || older->is_orphan || is_ahead(ledger, older),
                "message %u, handout %u: sent before handout %u of its line is at its end", handout->message, number,
                at);
    }
}

bool ledger_has_older(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_slot *lane = slot_of(ledger, handout);
    uint32_t number = number_of(ledger, handout), line = message_of(ledger, handout)->line;

    if (lane->options.order == BAILEY_ORDER_NONE)
        return false;
    if (ledger_may_have_taken(ledger, lane) > 0)
        return true;
    for (uint32_t at = lane->oldest; at != 0 && at < number; at = ledger->handouts[at].younger) {
        const struct ledger_handout *older = &ledger->handouts[at];
        uint32_t its = message_of(ledger, older)->line;

        if (its == line || message_of(ledger, older)->content.due_ms != 0 ||
            (its == NO_LINE && lane->options.order != BAILEY_ORDER_KEY))
            return true;
    }
    return false;
}

/* It could be sent now, for all that is known. */
static bool is_free(const struct ledger *ledger, const struct ledger_slot *lane, const struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);

    return handout->state == HANDOUT_READY && !ledger_may_be_keeping(ledger, handout) && !handout->is_orphan &&
           !handout->is_dead && !ledger_was_expired(ledger, lane, &message->content) &&
           (lane->options.order == BAILEY_ORDER_NONE || message->line != NO_LINE) && !ledger_has_older(ledger, handout);
}

void ledger_check_flow(const struct ledger *ledger, const struct ledger_slot *lane, uint32_t slot)
{
    if (lane->scope != NO_SCOPE || lane->is_replayer || !lane->is_up[TO_SINK] || lane->is_full[TO_SINK] ||
        lane->status->spilled > 0) /* it may be on its way back from the disk */
        return;
    for (uint32_t at = lane->oldest; at != 0; at = ledger->handouts[at].younger)
        REQUIRE(ledger, !is_free(ledger, lane, &ledger->handouts[at]),
                "message %u, handout %u: waits in lane %u, and nothing holds it", ledger->handouts[at].message, at,
                slot);
}

/* ---- At the sink ---- */

/* What was at its end elsewhere (dead, dropped, a duplicate) has no place there: another process may know nothing of it. */
void ledger_check_arrival(struct ledger *ledger, uint32_t number)
{
    const struct ledger_message *message = &ledger->messages[number];
    struct ledger_line *domain;

    if (message->domain == NO_LINE || message->dead > 0 || message->is_dropped || message->was_swallowed ||
        message->content.expires_at_ms > 0)
        return;
    domain = &ledger->lines[message->domain];
    REQUIRE(ledger, number + 1 > domain->newest, "message %u arrives after message %u of its key, out of order", number,
            domain->newest - 1);
    domain->newest = number + 1;
}
