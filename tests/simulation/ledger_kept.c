/* ledger_kept.c: messages that a table keeps until their time: what is in it, and who may send it when. */
#include "ledger_impl.h"

#include "core/schedule_row.h"

enum { AHEAD_MS = 1000 }; /* what a write allows to be taken in advance */

/* ---- Tables ---- */

uint32_t ledger_add_table(struct ledger *ledger, const int64_t *wall_ms)
{
    WORLD_ROOM(ledger->tables, ledger->table_count, ledger->table_cap);
    ledger->tables[ledger->table_count] =
        (struct ledger_table){.wall_ms = wall_ms, .ended_ms = {INT64_MIN / 2, INT64_MIN / 2}};
    return ledger->table_count++;
}

void ledger_keeps(struct ledger *ledger, uint32_t slot, uint32_t table)
{
    ledger->slots[slot].table = table;
}

void ledger_table_begins(struct ledger *ledger, uint32_t table, int64_t clock_ms)
{
    ledger->tables[table].clock_ms = clock_ms;
}

static int64_t clock_of(const struct ledger *ledger, const struct ledger_table *table, unsigned line)
{
    return ledger->sim->now_ms + (line == SCHEDULE_WAIT ? table->clock_ms : *table->wall_ms);
}

/* ---- What is in them ---- */

static struct ledger_handout *handout_of(const struct ledger *ledger, const struct ledger_kept *kept)
{
    return &ledger->handouts[kept->handout];
}

static void count(struct ledger *ledger, const struct ledger_kept *kept, int change)
{
    struct ledger_message *message = &ledger->messages[handout_of(ledger, kept)->message];

    message->kept += (uint32_t)change;
    ledger->ids[message->id].kept += (uint32_t)change;
    ledger->tables[kept->table].count += (uint32_t)change;
    ledger->kept += (uint32_t)change;
}

static void set(struct ledger *ledger, struct ledger_kept *kept)
{
    handout_of(ledger, kept)->kept = kept;
    count(ledger, kept, 1);
}

static void clear(struct ledger *ledger, const struct ledger_kept *kept)
{
    struct ledger_handout *handout = handout_of(ledger, kept);

    if (handout->kept == kept)
        handout->kept = NULL;
    count(ledger, kept, -1);
}

static const struct ledger_claim *claim_of(const struct ledger *ledger, const struct ledger_handout *handout)
{
    uint32_t scope = slot_of(ledger, handout)->scope;

    return scope == NO_SCOPE ? NULL : ledger_find_claim(ledger, scope, message_of(ledger, handout)->id);
}

/* Perhaps: it, or one with its id, which names it in the table. */
static bool was_put_before(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);

    return message->handouts > 1 || (message->shaping->dedups && ledger->ids[message->id].handouts > 1);
}

void ledger_put(struct ledger *ledger, struct ledger_kept *kept)
{
    REQUIRE(ledger, kept->handout > 0 && kept->handout < ledger->handout_count, "a table has handout %u, which is none",
            kept->handout);
    struct ledger_handout *handout = handout_of(ledger, kept);
    sim_note(ledger->sim, "table %llu: has handout %llu", kept->table, kept->handout);
    REQUIRE(ledger, slot_of(ledger, handout)->table == kept->table, "handout %u is in table %u, which is not its own",
            kept->handout, kept->table);
    REQUIRE(ledger, handout->kept == NULL, "handout %u is in its table twice", kept->handout);
    kept->tries = handout->tries;
    kept->life = ledger->tables[kept->table].life;
    kept->may_be_marked = handout->was_marked || handout->doubts > 0 || was_put_before(ledger, handout) ||
                          ledger_may_mark(claim_of(ledger, handout));
    set(ledger, kept);
    if (handout->is_from_table) /* and goes back to where it was */
        ledger_end(ledger, handout);
}

void ledger_erased(struct ledger *ledger, struct ledger_kept *kept)
{
    sim_note(ledger->sim, "table %llu: lets go of handout %llu", kept->table, kept->handout);
    clear(ledger, kept);
    kept->next = ledger->erased;
    ledger->erased = kept;
}

/* Somebody has it, or the route's rules drop it. */
static bool is_at_its_end(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);

    return message->shaping->dedups ? ledger->ids[message->id].ends > 0 : message->copies > 0 || message->is_dropped;
}

static bool is_kept_elsewhere(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);

    return message->shaping->dedups ? ledger->ids[message->id].kept > 0 : message->kept > 0;
}

void ledger_put_all(struct ledger *ledger)
{
    for (; ledger->erased != NULL; ledger->erased = ledger->erased->next) {
        struct ledger_handout *handout = handout_of(ledger, ledger->erased);

        if (!is_at_its_end(ledger, handout) && ledger_may_drop(ledger, handout))
            ledger_drop(ledger, handout);
        REQUIRE(ledger, is_at_its_end(ledger, handout) || is_kept_elsewhere(ledger, handout),
                "message %u, handout %u: its table lets go of it, and it is not at its end", handout->message,
                ledger->erased->handout);
        if (handout->kept == NULL && handout->is_from_table && handout->state != HANDOUT_OUT)
            ledger_end(ledger, handout);
    }
}

void ledger_unput(struct ledger *ledger, struct ledger_kept *kept)
{
    sim_note(ledger->sim, "table %llu: loses handout %llu", kept->table, kept->handout);
    clear(ledger, kept);
}

/* What was sent meanwhile will be sent again. */
void ledger_unerased(struct ledger *ledger, struct ledger_kept *kept)
{
    struct ledger_handout *handout = handout_of(ledger, kept);

    sim_note(ledger->sim, "table %llu: has handout %llu again", kept->table, kept->handout);
    set(ledger, kept);
    if (handout->sends == 0)
        return;
    handout->doubts++;
    ledger->messages[handout->message].doubts++;
}

static bool is_safe_in(const struct ledger_handout *handout, uint32_t table)
{
    return handout->kept != NULL && handout->kept->is_safe && handout->kept->table == table;
}

static bool is_of(const struct ledger *ledger, const struct ledger_handout *handout, const struct ledger_claim *claim)
{
    return slot_of(ledger, handout)->scope == claim->scope && message_of(ledger, handout)->id == claim->id;
}

bool ledger_has_safe(const struct ledger *ledger, const struct ledger_claim *claim)
{
    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        const struct ledger_handout *handout = &ledger->handouts[i];

        if (is_of(ledger, handout, claim) && is_safe_in(handout, slot_of(ledger, handout)->table))
            return true;
    }
    return false;
}

bool ledger_is_safely_kept(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);
    uint32_t table = slot_of(ledger, handout)->table;

    if (handout->kept != NULL || table == NO_TABLE)
        return is_safe_in(handout, table);
    for (uint32_t i = 1; i < ledger->handout_count && is_kept_elsewhere(ledger, handout); i++) {
        const struct ledger_handout *other = &ledger->handouts[i];
        const struct ledger_message *its = message_of(ledger, other);

        if (is_safe_in(other, table) && (its == message || (message->shaping->dedups && its->id == message->id)))
            return true;
    }
    return false;
}

/* ---- Time ---- */

bool ledger_table_shows_expired(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_table *table = ledger_table_of(ledger, slot_of(ledger, handout));
    int64_t expires_at_ms = message_of(ledger, handout)->content.expires_at_ms;

    return table != NULL && expires_at_ms > 0 &&
           (expires_at_ms <= handout->wall_high_ms || expires_at_ms <= clock_of(ledger, table, SCHEDULE_WALL));
}

static bool is_timed(const struct ledger *ledger, const struct ledger_handout *handout)
{
    return message_of(ledger, handout)->content.due_ms != 0 && slot_of(ledger, handout)->table != NO_TABLE;
}

void ledger_set_due(const struct ledger *ledger, struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);

    if (!is_timed(ledger, handout))
        return;
    handout->due_ms = message->content.due_ms;
    if (message->shaping->delays == DELAYS_BY)
        handout->due_ms += clock_of(ledger, ledger_table_of(ledger, slot_of(ledger, handout)), SCHEDULE_WAIT);
}

/* What its clock shows, or has shown. */
static int64_t latest_of(const struct ledger *ledger, const struct ledger_handout *handout, unsigned line)
{
    int64_t now_ms = clock_of(ledger, ledger_table_of(ledger, slot_of(ledger, handout)), line);

    return line == SCHEDULE_WALL && handout->wall_high_ms > now_ms ? handout->wall_high_ms : now_ms;
}

bool ledger_waits(const struct ledger *ledger, const struct ledger_claim *claim)
{
    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        const struct ledger_handout *handout = &ledger->handouts[i];

        if (handout->kept != NULL && is_of(ledger, handout, claim) &&
            handout->kept->due_ms > latest_of(ledger, handout, handout->kept->line))
            return true;
    }
    return false;
}

static void check_clock(struct ledger *ledger, const struct ledger_handout *handout, unsigned line, int64_t due_ms)
{
    int64_t now_ms = latest_of(ledger, handout, line);

    REQUIRE(ledger, now_ms >= due_ms, "message %u, handout %u: sent %lld ms before its time", handout->message,
            number_of(ledger, handout), (long long)(due_ms - now_ms));
}

void ledger_check_time(struct ledger *ledger, const struct ledger_handout *handout)
{
    enum delays delays = message_of(ledger, handout)->shaping->delays;

    if (is_timed(ledger, handout))
        check_clock(ledger, handout, delays == DELAYS_BY ? SCHEDULE_WAIT : SCHEDULE_WALL, handout->due_ms);
    if (handout->kept != NULL)
        check_clock(ledger, handout, handout->kept->line, handout->kept->due_ms);
}

void ledger_note_walls(struct ledger *ledger, uint32_t slot)
{
    struct ledger_table *table = ledger_table_of(ledger, &ledger->slots[slot]);

    if (table == NULL)
        return;
    int64_t shown_ms = clock_of(ledger, table, SCHEDULE_WALL);
    if (shown_ms > table->wall_high_ms)
        table->wall_high_ms = shown_ms;
    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        struct ledger_handout *handout = &ledger->handouts[i];

        if (handout->slot == slot && handout->wall_high_ms < shown_ms)
            handout->wall_high_ms = shown_ms;
    }
}

/* ---- In a lane ---- */

bool ledger_may_be_keeping(const struct ledger *ledger, const struct ledger_handout *handout)
{
    if (slot_of(ledger, handout)->table == NO_TABLE || handout->is_dead)
        return false;
    return is_timed(ledger, handout) || (message_of(ledger, handout)->shaping->parks && handout->tries.refusals > 0);
}

static bool is_in_lane(const struct ledger_handout *handout)
{
    return handout->is_from_table && handout->state != HANDOUT_ENDED;
}

/* It stands there as it did when it was put. Rows of another number of lanes are dealt among those that there are. */
void ledger_comes_from_table(struct ledger *ledger, uint32_t slot, struct ledger_handout *handout)
{
    const struct ledger_slot *lane = &ledger->slots[slot];

    if (handout->kept == NULL || is_in_lane(handout))
        return;
    REQUIRE(ledger, lane->table == handout->kept->table,
            "message %u, handout %u: lane %u sends it from another's table", handout->message,
            number_of(ledger, handout), slot);
    REQUIRE(ledger, handout->kept->is_safe, "message %u, handout %u: sent from a table that may lose it",
            handout->message, number_of(ledger, handout));
    ledger_end(ledger, handout);
    handout->slot = slot;
    handout->is_from_table = true;
    handout->is_orphan = handout->is_lost = handout->is_revoked = handout->is_near = false;
    handout->is_dead = handout->is_blocking = handout->is_finished = false;
    handout->dead_refusals = 0;
    handout->tries = handout->kept->tries;
    handout->state = HANDOUT_READY;
    ledger_take_in(ledger, number_of(ledger, handout));
    int64_t held = lane->is_pushed ? lane->taken : lane->unsettled; /* what was pushed since nobody could refuse */
    REQUIRE(ledger, held <= lane->credit_messages, "lane %u holds %lld messages, and its credit is %lld", slot,
            (long long)held, (long long)lane->credit_messages);
}

bool ledger_table_may_mark(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_kept *kept = handout->kept;

    if (kept == NULL) /* perhaps one with its id was in doubt, and it goes in its place */
        return slot_of(ledger, handout)->table != NO_TABLE && message_of(ledger, handout)->shaping->dedups &&
               was_put_before(ledger, handout);
    const struct ledger_table *table = &ledger->tables[kept->table];
    return kept->may_be_marked || (table->life > kept->life && kept->due_ms <= table->ended_ms[kept->line] + AHEAD_MS);
}

int64_t ledger_may_have_taken(const struct ledger *ledger, const struct ledger_slot *lane)
{
    const struct ledger_table *table = ledger_table_of(ledger, lane);

    return table == NULL ? 0 : (int64_t)table->count;
}

int64_t ledger_count_idle(const struct ledger *ledger, const struct ledger_slot *lane, int64_t *bytes)
{
    int64_t count = 0;

    *bytes = 0;
    for (uint32_t at = lane->taken > 0 ? lane->oldest : 0; at != 0; at = ledger->handouts[at].younger) {
        const struct ledger_handout *handout = &ledger->handouts[at];
        bool is_idle = handout->is_from_table && handout->state != HANDOUT_OUT;

        count += is_idle;
        *bytes += is_idle ? handout->size : 0;
    }
    return count;
}

void ledger_leaves_table(struct ledger *ledger, uint32_t slot)
{
    struct ledger_table *table = ledger_table_of(ledger, &ledger->slots[slot]);

    if (table == NULL)
        return;
    table->life++;
    for (unsigned line = 0; line < SCHEDULE_LINES; line++)
        if (clock_of(ledger, table, line) > table->ended_ms[line])
            table->ended_ms[line] = clock_of(ledger, table, line);
    if (table->wall_high_ms > table->ended_ms[SCHEDULE_WALL])
        table->ended_ms[SCHEDULE_WALL] = table->wall_high_ms;
    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        struct ledger_handout *handout = &ledger->handouts[i];
        bool is_away = handout->state == HANDOUT_OUT || handout->is_finished;

        if (handout->slot != slot || handout->kept == NULL || !handout->is_from_table || !is_away)
            continue;
        handout->doubts++;
        ledger->messages[handout->message].doubts++;
    }
}
