/* ledger.c: see the header for the rules. */
#include "ledger_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "message/pool.h"

struct ledger *ledger_new(struct sim *sim)
{
    struct ledger *ledger = world_alloc(1, sizeof *ledger);

    ledger->sim = sim;
    ledger->handout_count = 1;
    return ledger;
}

/* ---- Handouts by position ---- */

static uint32_t bucket(const struct ledger *ledger, uint32_t slot, uint32_t group, uint64_t position)
{
    uint64_t z = (position + ((uint64_t)slot << 40) + ((uint64_t)group << 20)) * UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t)(z >> 32) & (ledger->index_cap - 1);
}

static void index_add(struct ledger *ledger, uint32_t number)
{
    struct ledger_handout *handout = &ledger->handouts[number];
    uint32_t *head = &ledger->index[bucket(ledger, handout->slot, handout->group, handout->position)];

    handout->next = *head;
    *head = number;
}

static void index_grow(struct ledger *ledger)
{
    ledger->index_cap = ledger->index_cap ? ledger->index_cap * 4 : 256;
    free(ledger->index);
    ledger->index = world_alloc(ledger->index_cap, sizeof *ledger->index);
    for (uint32_t i = 1; i < ledger->handout_count; i++)
        index_add(ledger, i);
}

/* The newest of that position: a lane's later life may give the same numbers. */
static struct ledger_handout *find(const struct ledger *ledger, uint32_t slot, uint32_t group, uint64_t position)
{
    uint32_t at = ledger->index_cap > 0 ? ledger->index[bucket(ledger, slot, group, position)] : 0, found = 0;

    for (; at != 0; at = ledger->handouts[at].next) {
        const struct ledger_handout *handout = &ledger->handouts[at];

        if (handout->slot == slot && handout->group == group && handout->position == position &&
            !handout->is_from_table && at > found)
            found = at;
    }
    return found != 0 ? &ledger->handouts[found] : NULL;
}

/* ---- Ids ---- */

enum { PASSING_MS = 3000 }; /* a store that fails is tried again within that time */

uint32_t ledger_new_id(struct ledger *ledger)
{
    WORLD_ROOM(ledger->ids, ledger->id_count, ledger->id_cap);
    ledger->ids[ledger->id_count] = (struct ledger_id){0};
    return ledger->id_count++;
}

uint32_t ledger_add_scope(struct ledger *ledger, const struct ledger_scope *scope)
{
    WORLD_ROOM(ledger->scopes, ledger->scope_count, ledger->scope_cap);
    ledger->scopes[ledger->scope_count] = *scope;
    ledger->scopes[ledger->scope_count].failed_ms = INT64_MIN / 2;
    return ledger->scope_count++;
}

/* The state's clock. */
static int64_t clock_of(const struct ledger *ledger, const struct ledger_scope *scope)
{
    return ledger->sim->now_ms + scope->clock_ms;
}

struct ledger_claim *ledger_find_claim(const struct ledger *ledger, uint32_t scope, uint32_t id)
{
    struct ledger_claim *claim = ledger->ids[id].claims;

    while (claim != NULL && claim->scope != scope)
        claim = claim->next_of_id;
    return claim;
}

/* Of a message of which a lane of that scope knows. */
static struct ledger_claim *claim_of(struct ledger *ledger, const struct ledger_message *message, uint32_t number)
{
    struct ledger_scope *scope = &ledger->scopes[number];
    struct ledger_claim *claim = ledger_find_claim(ledger, number, message->id);
    struct kept *kept;

    if (claim != NULL)
        return claim;
    kept = scope->find(scope->ctx, content_id(&message->content));
    kept->number = message->id;
    claim = world_alloc(1, sizeof *claim);
    *claim = (struct ledger_claim){.next = scope->claims,
                                   .next_of_id = ledger->ids[message->id].claims,
                                   .kept = kept,
                                   .id = message->id,
                                   .scope = number,
                                   .sent_ms = -1,
                                   .confirmed_ms = -1,
                                   .doubt_ms = -1};
    scope->claims = ledger->ids[message->id].claims = claim;
    return claim;
}

/* While the store fails, nothing else can be required of what is in hand than that it goes on. */
static void note_trouble(const struct ledger *ledger, struct ledger_claim *claim)
{
    const struct ledger_scope *scope = &ledger->scopes[claim->scope];

    claim->was_passed |= scope->passes && ledger->sim->now_ms - scope->failed_ms <= PASSING_MS;
}

void ledger_failed(struct ledger *ledger, uint32_t number)
{
    struct ledger_scope *scope = &ledger->scopes[number];

    scope->failed_ms = ledger->sim->now_ms;
    for (struct ledger_claim *claim = scope->claims; claim != NULL; claim = claim->next)
        if (claim->in_hand > 0 || claim->out > 0 || claim->confirmed_ms > claim->kept->record_ms ||
            ledger->ids[claim->id].kept > 0 || /* it may be in a lane, as far as anybody knows */
            (claim->handouts > 0 && claim->received_ms >= claim->answered_ms))
            note_trouble(ledger, claim);
}

/* What was sent, and neither recorded nor handed back for sure, is in doubt. The clock may stand before that: of a machine that was
 * down nobody knows for how long. */
static void begin_claim(struct ledger_claim *claim, int64_t now_ms)
{
    int64_t sent_ms = claim->sent_ms < now_ms ? claim->sent_ms : now_ms;

    if (claim->sent_ms > claim->kept->record_ms && sent_ms > claim->doubt_ms)
        claim->doubt_ms = sent_ms;
    claim->was_left = claim->kept->intent_ms >= 0;
    if (claim->doubt_ms > now_ms)
        claim->doubt_ms = now_ms;
    if (!claim->was_left) /* recorded; or it went with the memory, or the machine */
        claim->doubt_ms = -1;
    claim->out = claim->handouts = 0;
    claim->confirmed_ms = -1;
}

void ledger_scope_begins(struct ledger *ledger, uint32_t scope, unsigned shards, int64_t clock_ms)
{
    struct ledger_scope *kept_by = &ledger->scopes[scope];

    kept_by->shards = shards;
    kept_by->clock_ms = clock_ms;
    for (unsigned i = 0; i < SHARDS_MAX; i++)
        kept_by->expired_ms[i] = INT64_MIN;
    for (struct ledger_claim *claim = kept_by->claims; claim != NULL; claim = claim->next)
        begin_claim(claim, clock_of(ledger, kept_by));
}

/* So many records of its shard were written after `since_ms`. */
static int64_t newer_than(const struct ledger_scope *scope, const struct ledger_claim *claim, int64_t since_ms)
{
    unsigned shard = id_owner(claim->kept->id, scope->shards);
    int64_t count = 0;

    for (size_t i = 0; i < scope->record_count; i++) {
        const struct ledger_record *record = &scope->records[i];

        count += record->time_ms >= since_ms && record->claim != claim &&
                 id_owner(record->claim->kept->id, scope->shards) == shard;
    }
    return count;
}

static bool may_forget(const struct ledger *ledger, const struct ledger_scope *scope, const struct ledger_claim *claim,
                       int64_t since_ms)
{
    int64_t max = scope->max / scope->shards;

    return since_ms < clock_of(ledger, scope) - scope->window_ms ||
           newer_than(scope, claim, since_ms) >= (max > 0 ? max : 1);
}

/* One with this id has come to its end, and that is to be known; or waits in a table (but for `waiting`, which is that one). Once it was
 * taken from there a copy may go in its place: whoever had taken it may have given it back. */
static bool is_known(const struct ledger *ledger, const struct ledger_scope *scope, const struct ledger_claim *claim,
                     bool waiting)
{
    bool is_its_own = claim->kept->outcome == ID_WAITING &&
                      (waiting || claim->was_left || claim->doubt_ms >= 0 || !ledger_waits(ledger, claim));
    int64_t since_ms = claim->is_forgotten || is_its_own ? -1 : claim->kept->record_ms;

    if (claim->confirmed_ms > since_ms)
        since_ms = claim->confirmed_ms;
    return since_ms >= 0 && !may_forget(ledger, scope, claim, since_ms);
}

/* The sink may have it, and that is to be known. */
static bool is_in_doubt(const struct ledger *ledger, const struct ledger_scope *scope, const struct ledger_claim *claim)
{
    return claim->doubt_ms >= 0 && claim->doubt_ms >= clock_of(ledger, scope) - scope->window_ms;
}

void ledger_drop(struct ledger *ledger, const struct ledger_handout *handout)
{
    struct ledger_message *message = &ledger->messages[handout->message];

    ledger->ids[message->id].ends += !message->is_dropped;
    ledger->dropped += !message->is_dropped;
    message->is_dropped = true;
}

/* Is it the record of one that the route drops? Nobody sees that before. */
static void look_for_drop(struct ledger *ledger, struct ledger_claim *claim, int64_t time_ms)
{
    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        const struct ledger_handout *handout = &ledger->handouts[i];

        if (slot_of(ledger, handout)->scope != claim->scope || message_of(ledger, handout)->id != claim->id ||
            !ledger_may_drop(ledger, handout))
            continue;
        ledger_drop(ledger, handout);
        claim->confirmed_ms = time_ms;
        claim->outcome = ID_DEAD;
    }
}

static void check_written_record(struct ledger *ledger, struct ledger_claim *claim, const struct state_change *change)
{
    enum id_outcome outcome = (enum id_outcome)change->outcome;

    if (outcome == ID_WAITING) {
        REQUIRE(ledger, ledger_has_safe(ledger, claim), "id %u is recorded as waiting, and no table has it", claim->id);
        return;
    }
    if (outcome == ID_DEAD && (claim->confirmed_ms < 0 || claim->outcome != ID_DEAD))
        look_for_drop(ledger, claim, change->time_ms);
    REQUIRE(ledger, ledger->ids[claim->id].ends > 0, "id %u is recorded, and no sink has it", claim->id);
    REQUIRE(ledger, claim->confirmed_ms >= 0, "id %u is recorded without a confirm", claim->id);
    REQUIRE(ledger, claim->outcome == outcome || claim->was_passed, "id %u is recorded as %d, and it is %d", claim->id,
            (int)outcome, claim->outcome);
}

void ledger_written(struct ledger *ledger, uint32_t number, const struct kept *kept, const struct state_change *change)
{
    static const char *const what[] = {
        [STATE_INTEND] = "store: intends id %llu of scope %llu",
        [STATE_RECORD] = "store: records id %llu of scope %llu",
        [STATE_FORGET] = "store: forgets the intent of id %llu of scope %llu",
    };
    struct ledger_scope *scope = &ledger->scopes[number];
    struct ledger_claim *claim = kept->number == NO_ID ? NULL : ledger_find_claim(ledger, number, kept->number);

    REQUIRE(ledger, claim != NULL, "a change of an id that no message has");
    sim_note(ledger->sim, what[change->kind], claim->id, number);
    note_trouble(ledger, claim);
    if (change->kind == STATE_RECORD) {
        check_written_record(ledger, claim, change);
        WORLD_ROOM(scope->records, scope->record_count, scope->record_cap);
        scope->records[scope->record_count++] = (struct ledger_record){claim, change->time_ms};
        claim->is_forgotten = claim->was_left = false;
        claim->doubt_ms = -1;
    } else if (change->kind == STATE_FORGET) {
        REQUIRE(ledger, claim->out == 0 || claim->was_passed, "id %u: its intent goes while it is out", claim->id);
        REQUIRE(ledger, !is_in_doubt(ledger, scope, claim) || claim->was_passed,
                "id %u: its intent goes while it is in doubt", claim->id);
        claim->was_left = false;
    }
}

void ledger_answered(struct ledger *ledger, uint32_t scope, const struct kept *kept)
{
    ledger_find_claim(ledger, scope, kept->number)->answered_ms = ledger->sim->now_ms;
}

void ledger_expired(struct ledger *ledger, uint32_t number, unsigned shard, int64_t before_ms)
{
    struct ledger_scope *scope = &ledger->scopes[number];

    if (before_ms <= scope->expired_ms[shard])
        return;
    scope->expired_ms[shard] = before_ms;
    for (struct ledger_claim *claim = scope->claims; claim != NULL; claim = claim->next) {
        int64_t record_ms = claim->kept->record_ms;

        if (record_ms < 0 || record_ms >= before_ms || claim->is_forgotten ||
            id_owner(claim->kept->id, scope->shards) != shard)
            continue;
        REQUIRE(ledger, may_forget(ledger, scope, claim, record_ms),
                "id %u: its record of %lld is forgotten too early, at %lld", claim->id, (long long)record_ms,
                (long long)clock_of(ledger, scope));
        claim->is_forgotten = true;
    }
}

/* It is sent: may it be? */
static void check_claim(struct ledger *ledger, struct ledger_claim *claim, const struct ledger_handout *handout,
                        bool is_marked)
{
    const struct ledger_scope *scope = &ledger->scopes[claim->scope];
    const struct kept *kept = claim->kept;
    bool is_intended = !scope->is_durable || (kept->intent_ms >= 0 && kept->is_intent_safe);

    note_trouble(ledger, claim);
    REQUIRE(ledger, is_intended || (claim->was_passed && is_marked), "id %u is sent before its intent is safe",
            claim->id);
    if (claim->was_passed)
        return;
    REQUIRE(ledger, claim->out == 0, "id %u is sent while another one with it is out", claim->id);
    REQUIRE(ledger, !is_known(ledger, scope, claim, ledger_is_kept(handout)), "id %u is sent again", claim->id);
}

/* While the store fails, perhaps one with its id was dropped, and could not be recorded. */
static void look_for_unrecorded(struct ledger *ledger, struct ledger_claim *claim)
{
    note_trouble(ledger, claim);
    if (claim->was_passed)
        look_for_drop(ledger, claim, clock_of(ledger, &ledger->scopes[claim->scope]));
}

/* A message is settled: its id is recorded, by itself or by another one. */
static void check_record(struct ledger *ledger, struct ledger_claim *claim, const struct ledger_handout *handout)
{
    bool may_drop = ledger_may_drop(ledger, handout);

    const struct ledger_scope *scope = &ledger->scopes[claim->scope];
    const struct kept *kept = claim->kept;

    if (handout->state == HANDOUT_CONFIRMED) {
        note_trouble(ledger, claim);
        REQUIRE(ledger, claim->was_passed || (kept->record_ms >= handout->confirmed_ms && kept->is_record_safe),
                "message %u: settled before its record is safe", handout->message);
        return;
    }
    look_for_unrecorded(ledger, claim);
    bool is_kept = ledger_is_safely_kept(ledger, handout);
    REQUIRE(ledger, handout->sends == 0 || may_drop || is_kept,
            "message %u: accepted without a confirm, and it was sent", handout->message);
    REQUIRE(ledger, ledger->ids[claim->id].ends > 0 || is_kept,
            "message %u is lost: settled as a duplicate, and no sink has it", handout->message);
    REQUIRE(ledger,
            claim->was_passed || claim->answered_ms >= handout->received_ms || /* it was in flight then */
                (kept->record_ms >= 0 && kept->record_ms >= handout->received_ms + scope->clock_ms - scope->window_ms),
            "message %u: settled as a duplicate of what is not within the window: id %u of scope %u", handout->message,
            claim->id, claim->scope);
    if (ledger_is_kept(handout))
        return;
    ledger->messages[handout->message].was_swallowed = true;
    ledger->swallowed++;
}

/* ---- Messages and lanes ---- */

uint32_t ledger_produced(struct ledger *ledger, enum nature nature, uint16_t len, const struct shaping *shaping,
                         uint32_t sink, uint32_t id)
{
    struct ledger_message *message;

    WORLD_ROOM(ledger->messages, ledger->message_count, ledger->message_cap);
    message = &ledger->messages[ledger->message_count];
    *message = (struct ledger_message){.shaping = shaping, .sink = sink, .id = id, .line = NO_LINE, .domain = NO_LINE};
    content_make(&message->content, &ledger->sim->dice, ledger->message_count, nature, len, id);
    if (nature == NATURE_EXPIRING)
        message->content.expires_at_ms = WALL_MS + ledger->sim->now_ms + dice_between(&ledger->sim->dice, -1000, 15000);
    if (shaping->delays != DELAYS_NOTHING)
        content_set_time(&message->content, &ledger->sim->dice, shaping->delays, WALL_MS + ledger->sim->now_ms);
    return ledger->message_count++;
}

const struct content *ledger_content(const struct ledger *ledger, uint32_t number)
{
    return &ledger->messages[number].content;
}

uint32_t ledger_add_slot(struct ledger *ledger, int64_t credit_messages, int64_t credit_bytes, bool is_pushed,
                         uint32_t scope)
{
    WORLD_ROOM(ledger->slots, ledger->slot_count, ledger->slot_cap);
    ledger->slots[ledger->slot_count] = (struct ledger_slot){.credit_messages = credit_messages,
                                                             .credit_bytes = credit_bytes,
                                                             .is_pushed = is_pushed,
                                                             .scope = scope,
                                                             .table = NO_TABLE};
    return ledger->slot_count++;
}

void ledger_lane_begins(struct ledger *ledger, uint32_t slot, const struct lane_options *options, bool has_defaults,
                        const int64_t *wall_ms)
{
    struct ledger_slot *lane = &ledger->slots[slot];

    lane->status = options->status;
    lane->options = *options;
    lane->has_defaults = has_defaults;
    lane->wall_ms = wall_ms;
    lane->left = options->messages_max > 0 ? options->messages_max : INT64_MAX;
}

void ledger_clock_set(struct ledger *ledger, uint32_t slot)
{
    struct ledger_slot *lane = &ledger->slots[slot];
    int64_t shown_ms = lane->wall_ms != NULL ? *lane->wall_ms + ledger->sim->now_ms : 0;

    if (shown_ms > lane->wall_high_ms)
        lane->wall_high_ms = shown_ms;
    ledger_note_walls(ledger, slot);
}

/* What it counts against credit, with that key. */
static int64_t size_of(const struct content *content, size_t key_len)
{
    size_t size = MESSAGE_COST + content->len + strlen("number") + 8 + key_len;

    if (content->when[0] != '\0')
        size += strlen("when") + strlen(content->when);
    if (content->nature != NATURE_SHAPELESS)
        size += strlen("kind") + strlen(content->kind);
    if (content->nature != NATURE_NAMELESS)
        size += strlen("id") + strlen(content->id);
    return (int64_t)size;
}

static void take_out(struct ledger *ledger, struct ledger_slot *slot, const struct ledger_handout *handout)
{
    *(handout->older != 0 ? &ledger->handouts[handout->older].younger : &slot->oldest) = handout->younger;
    *(handout->younger != 0 ? &ledger->handouts[handout->younger].older : &slot->youngest) = handout->older;
}

/* The lane records its id before it is settled. */
static bool is_recorded(const struct ledger *ledger, const struct ledger_handout *handout)
{
    return ledger->slots[handout->slot].scope != NO_SCOPE && !handout->has_no_id;
}

void ledger_end(struct ledger *ledger, struct ledger_handout *handout)
{
    struct ledger_slot *slot = &ledger->slots[handout->slot];

    if (handout->state == HANDOUT_ENDED)
        return;
    if (handout->state == HANDOUT_CONFIRMED && !is_recorded(ledger, handout)) {
        slot->untold--;
    } else {
        take_out(ledger, slot, handout);
        slot->unsettled--;
        slot->taken -= handout->is_from_table;
        slot->bytes -= handout->size;
        slot->limbo++;
        slot->limbo_bytes += handout->size;
        if (slot->scope != NO_SCOPE)
            ledger_find_claim(ledger, slot->scope, ledger->messages[handout->message].id)->in_hand--;
    }
    slot->out -= handout->state == HANDOUT_OUT;
    slot->waiting -= handout->state == HANDOUT_WAITING;
    handout->state = HANDOUT_ENDED;
}

void ledger_lane_ends(struct ledger *ledger, uint32_t slot)
{
    ledger_leaves_table(ledger, slot);
    for (uint32_t i = 1; i < ledger->handout_count; i++)
        if (ledger->handouts[i].slot == slot) {
            ledger_end(ledger, &ledger->handouts[i]);
            ledger->handouts[i].is_lost = true;
            ledger->handouts[i].is_remembered = false;
        }
    ledger->slots[slot].source_is_open = false;
    memset(ledger->slots[slot].is_up, 0, sizeof ledger->slots[slot].is_up);
    ledger->slots[slot].status = NULL;
    ledger_clock_set(ledger, slot); /* it looks at it no more */
    ledger->slots[slot].wall_ms = NULL;
}

/* What may be out. What was pushed when there was no room is there beside what had been taken from the table. */
static int64_t credit_of(const struct ledger_slot *lane)
{
    return lane->credit_messages * (1 + (lane->is_pushed && lane->table != NO_TABLE));
}

void ledger_lane_crashes(struct ledger *ledger, uint32_t slot)
{
    int64_t repeated = 0;

    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        const struct ledger_handout *handout = &ledger->handouts[i];
        const struct ledger_message *message = &ledger->messages[handout->message];

        /* What came from the table the source gives as another handout, if it was not told. */
        repeated += handout->slot == slot && !handout->is_revoked && !handout->is_lost && !handout->is_from_table &&
                    message->copies > 0 && !message->is_done;
    }
    REQUIRE(ledger, !ledger->slots[slot].is_pushed || repeated <= ledger->slots[slot].credit_messages,
            "a crash of lane %u repeats %lld messages, and its credit is %lld", slot, (long long)repeated,
            (long long)ledger->slots[slot].credit_messages);
    if (ledger->slots[slot].scope != NO_SCOPE)
        ledger->scopes[ledger->slots[slot].scope].credit += credit_of(&ledger->slots[slot]);
    ledger_lane_ends(ledger, slot);
}

void ledger_scope_crashes(struct ledger *ledger, uint32_t number)
{
    struct ledger_scope *scope = &ledger->scopes[number];
    int64_t in_doubt = 0;

    for (const struct ledger_claim *claim = scope->claims; claim != NULL; claim = claim->next)
        in_doubt += claim->out > 0 || (claim->confirmed_ms > claim->kept->record_ms && !claim->was_passed);
    REQUIRE(ledger, !scope->is_durable || in_doubt <= scope->credit,
            "a crash leaves %lld ids of scope %u in doubt, and the credit is %lld", (long long)in_doubt, number,
            (long long)scope->credit);
    scope->credit = 0;
}

/* ---- The source ---- */

void ledger_source_opened(struct ledger *ledger, uint32_t slot)
{
    sim_note(ledger->sim, "lane %llu: its source is opened", slot, 0);
    ledger->slots[slot].source_is_open = true;
}

void ledger_source_closing(struct ledger *ledger, uint32_t slot)
{
    ledger->slots[slot].source_is_open = false;
}

/* At the sink, or on the way there: it goes on without its source. */
static bool is_away(const struct ledger *ledger, const struct ledger_handout *handout)
{
    return handout->state == HANDOUT_OUT || (handout->state == HANDOUT_CONFIRMED && is_recorded(ledger, handout));
}

static void orphan(struct ledger *ledger, struct ledger_handout *handout)
{
    if (!handout->is_orphan)
        ledger_remember(handout);
    if (handout->state == HANDOUT_READY || handout->state == HANDOUT_WAITING) {
        ledger_end(ledger, handout);
    } else if (is_away(ledger, handout)) {
        handout->is_orphan = true;
    }
}

void ledger_source_closed(struct ledger *ledger, uint32_t slot)
{
    sim_note(ledger->sim, "lane %llu: its source is closed", slot, 0);
    ledger->slots[slot].source_is_open = false;
    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        if (ledger->handouts[i].slot != slot || ledger->handouts[i].is_from_table)
            continue;
        orphan(ledger, &ledger->handouts[i]);
        if (ledger->handouts[i].state == HANDOUT_CONFIRMED)
            ledger_end(ledger, &ledger->handouts[i]);
        ledger->handouts[i].is_lost = true;
    }
}

void ledger_revoked(struct ledger *ledger, uint32_t slot, uint32_t group, size_t out)
{
    bool is_open = ledger->slots[slot].source_is_open;
    size_t counted = 0, recording = 0; /* while it is closing, nobody is told that one is recorded */
    size_t dropping = 0;               /* perhaps: its record is being written, or it is put into a table */

    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        struct ledger_handout *handout = &ledger->handouts[i];

        if (handout->slot != slot || handout->group != group || handout->is_lost || handout->is_from_table)
            continue;
        counted += handout->state == HANDOUT_OUT;
        recording += handout->state != HANDOUT_OUT && is_away(ledger, handout);
        dropping += !is_away(ledger, handout) && is_recorded(ledger, handout) && ledger_may_drop(ledger, handout);
        dropping += !is_away(ledger, handout) && ledger_may_be_keeping(ledger, handout);
        handout->is_revoked = true;
        orphan(ledger, handout);
    }
    sim_note(ledger->sim, "lane %llu: loses group %llu", slot, group);
    REQUIRE(ledger, out <= counted + recording + dropping && out >= counted + (is_open ? recording : 0),
            "lane %u: revoke says that %zu of group %u are out, and %zu are", slot, out, group, counted + recording);
}

void ledger_room(const struct ledger *ledger, uint32_t slot, size_t room)
{
    const struct ledger_slot *lane = &ledger->slots[slot];
    int64_t idle_bytes, idle = ledger_count_idle(ledger, lane, &idle_bytes); /* may be at their end */

    if (room == 0)
        return;
    REQUIRE(ledger, lane->is_up[TO_SINK], "lane %u has room while its sink is not up", slot);
    REQUIRE(ledger, !ledger_has_blocking(ledger, lane), "lane %u has room, and is blocked", slot);
    REQUIRE(ledger, (int64_t)room <= ledger_most_held(lane) - lane->unsettled + idle && (int64_t)room <= lane->left,
            "lane %u has room for %zu messages, and holds %lld of %lld", slot, room, (long long)lane->unsettled,
            (long long)ledger_most_held(lane));
    REQUIRE(ledger, lane->options.spill != NULL || lane->bytes - idle_bytes < lane->credit_bytes,
            "lane %u has room, and holds %lld bytes of %lld", slot, (long long)lane->bytes,
            (long long)lane->credit_bytes);
}

void ledger_take_in(struct ledger *ledger, uint32_t number)
{
    struct ledger_handout *handout = &ledger->handouts[number];
    struct ledger_slot *lane = &ledger->slots[handout->slot];
    const struct ledger_message *message = message_of(ledger, handout);
    const struct content *content = &message->content;
    struct bailey_bytes key = content->has_key ? bailey_bytes_of(content->key) : BAILEY_NULL_BYTES;

    if (handout->is_from_table) /* with the key that the route had set */
        key = content_key(content, message->shaping);
    handout->size = size_of(content, key.len);
    handout->older = lane->youngest;
    *(lane->youngest != 0 ? &ledger->handouts[lane->youngest].younger : &lane->oldest) = number;
    lane->youngest = number;
    handout->younger = 0;
    lane->unsettled++;
    lane->taken += handout->is_from_table;
    lane->bytes += handout->size;
    if (lane->scope != NO_SCOPE)
        ledger_find_claim(ledger, lane->scope, message->id)->in_hand++;
}

/* It came from its source. */
static void hand_in(struct ledger *ledger, struct ledger_slot *lane, uint32_t number)
{
    struct ledger_handout *handout = &ledger->handouts[number];
    const struct ledger_message *message = message_of(ledger, handout);
    bool may_be_held = message->content.due_ms != 0 && lane->options.order != BAILEY_ORDER_NONE;

    ledger_take_in(ledger, number);
    ledger_set_due(ledger, handout);
    if (lane->left > 0)
        ledger_recall(ledger, handout);
    handout->has_no_id = ledger_is_refused_early(ledger, handout->slot, message);
    handout->is_blocking =
        handout->has_no_id && lane->options.dead_letters == NULL && message->line == NO_LINE && !may_be_held;
    if (handout->has_no_id || ledger_is_stuck(ledger, handout->slot, message) ||
        handout->tries.refusals > 0) { /* the lane will refuse it, or lets it rest */
        handout->state = HANDOUT_WAITING;
        lane->waiting++;
    }
}

uint32_t ledger_received(struct ledger *ledger, uint32_t slot, uint32_t number, bool is_marked, uint32_t group,
                         uint64_t position)
{
    struct ledger_slot *lane = &ledger->slots[slot];
    struct ledger_message *message = &ledger->messages[number];
    int64_t held;

    WORLD_ROOM(ledger->handouts, ledger->handout_count, ledger->handout_cap);
    ledger->handouts[ledger->handout_count] = (struct ledger_handout){.message = number,
                                                                      .slot = slot,
                                                                      .group = group,
                                                                      .position = position,
                                                                      .is_marked = is_marked,
                                                                      .received_ms = ledger->sim->now_ms};
    if (lane->scope != NO_SCOPE) {
        struct ledger_claim *claim = claim_of(ledger, message, lane->scope);

        claim->handouts++;
        claim->received_ms = ledger->sim->now_ms;
        note_trouble(ledger, claim);
    }
    if (ledger->handout_count >= ledger->index_cap)
        index_grow(ledger);
    index_add(ledger, ledger->handout_count);
    sim_note(ledger->sim, "lane %llu: receives handout %llu", slot, ledger->handout_count);
    message->handouts++;
    ledger->ids[message->id].handouts++;
    message->unmarked_handouts += !is_marked;
    hand_in(ledger, lane, ledger->handout_count);
    held = lane->unsettled - (lane->is_pushed ? lane->taken : 0);
    if (lane->left == 0) { /* beyond its messages_max: it is left to its source, without a settlement */
        ledger_end(ledger, &ledger->handouts[ledger->handout_count]);
        ledger->handouts[ledger->handout_count].is_lost = true;
    } else if (lane->left != INT64_MAX) {
        lane->left--;
    }
    REQUIRE(ledger, held <= ledger_most_held(lane), "lane %u holds %lld messages, and may hold %lld", slot,
            (long long)held, (long long)ledger_most_held(lane));
    return ledger->handout_count++;
}

void ledger_near_position(struct ledger *ledger, uint32_t number)
{
    struct ledger_handout *handout = &ledger->handouts[number];
    const struct ledger_message *message = &ledger->messages[handout->message];
    uint32_t scope = ledger->slots[handout->slot].scope;

    handout->is_near = true;
    REQUIRE(ledger, handout->is_marked || scope == NO_SCOPE || (message->senders & ~(1u << scope)) == 0,
            "message %u: not marked, though another process has sent it", handout->message);
}

void ledger_settled(struct ledger *ledger, uint32_t slot, const struct bailey_settlement *ended)
{
    struct ledger_handout *handout = find(ledger, slot, ended->group, ended->position);

    REQUIRE(ledger, handout != NULL, "lane %u settles what it never received: position %llu of group %u", slot,
            (unsigned long long)ended->position, ended->group);
    uint32_t number = (uint32_t)(handout - ledger->handouts), message = handout->message;

    sim_note(ledger->sim,
             ended->outcome == BAILEY_ACCEPTED ? "lane %llu: accepts handout %llu" : "lane %llu: releases handout %llu",
             slot, number);
    REQUIRE(ledger, !handout->is_lost && ledger->slots[slot].source_is_open,
            "message %u, handout %u: settled at a source that does not know it, or is closing", message, number);
    bool is_kept = ended->outcome == BAILEY_ACCEPTED &&
                   (ledger_is_safely_kept(ledger, handout) || ledger_was_replayed(ledger, handout));
    if (handout->state == HANDOUT_ENDED && handout->is_revoked &&
        (is_kept || (is_recorded(ledger, handout) && ledger_may_drop(ledger, handout)))) {
        if (!is_kept)
            look_for_unrecorded(ledger,
                                ledger_find_claim(ledger, ledger->slots[slot].scope, ledger->messages[message].id));
        return; /* its record was being written, or it was put into a table */
    }
    REQUIRE(ledger, handout->state != HANDOUT_ENDED,
            "message %u, handout %u: settled twice, or after it was taken away", message, number);
    if (ended->outcome == BAILEY_ACCEPTED && is_recorded(ledger, handout))
        check_record(ledger, ledger_find_claim(ledger, ledger->slots[slot].scope, ledger->messages[message].id),
                     handout);
    else if (ended->outcome == BAILEY_ACCEPTED && handout->state != HANDOUT_CONFIRMED &&
             ledger_may_drop(ledger, handout))
        ledger_drop(ledger, handout);
    else if (ended->outcome == BAILEY_ACCEPTED)
        REQUIRE(ledger, handout->state == HANDOUT_CONFIRMED || is_kept,
                "message %u, handout %u: accepted without a confirm", message, number);
    else
        REQUIRE(ledger, ended->outcome == BAILEY_RELEASED && handout->state != HANDOUT_CONFIRMED,
                "message %u, handout %u: settled as %u", message, number, ended->outcome);
    REQUIRE(ledger, handout->state != HANDOUT_OUT, "message %u, handout %u: settled while it is out", message, number);
    if (ended->outcome == BAILEY_ACCEPTED)
        ledger_letter_settled(ledger, handout);
    ledger_end(ledger, handout);
}

/* A sink has it or one with its id, or a table, or the route drops it. */
static bool is_somewhere(const struct ledger *ledger, const struct ledger_message *message)
{
    return message->shaping->dedups ? ledger->ids[message->id].ends + ledger->ids[message->id].kept > 0
                                    : message->copies + message->kept > 0 || message->is_dropped;
}

void ledger_told(struct ledger *ledger, uint32_t number)
{
    struct ledger_message *message = &ledger->messages[number];

    REQUIRE(ledger, is_somewhere(ledger, message),
            "message %u is lost: its source was told that it is done, and no sink has it", number);
    REQUIRE(ledger, !message->is_done, "message %u: its source was told twice that it is done", number);
    message->is_done = true;
    ledger->done++;
}

/* ---- The sinks ---- */

void ledger_sink_opened(struct ledger *ledger, uint32_t slot, enum outlet outlet)
{
    ledger->slots[slot].is_full[outlet] = false;
    if (outlet == TO_SINK)
        ledger->slots[slot].last_sent = 0;
}

void ledger_sink_is(struct ledger *ledger, uint32_t slot, enum outlet outlet, bool up)
{
    static const char *const what[OUTLETS][2] = {
        {"lane %llu: its sink is not up", "lane %llu: its sink is up"},
        {"lane %llu: its dead letters are not up", "lane %llu: its dead letters are up"},
    };

    sim_note(ledger->sim, what[outlet][up], slot, 0);
    ledger->slots[slot].is_up[outlet] = up;
}

void ledger_full(struct ledger *ledger, uint32_t slot, enum outlet outlet, bool full)
{
    ledger->slots[slot].is_full[outlet] = full;
}

static struct ledger_handout *handout_of(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery)
{
    uint32_t message, number;
    struct ledger_handout *handout;

    REQUIRE(ledger, content_number(delivery->message, &message, &number), "lane %u: a message that nobody produced",
            slot);
    REQUIRE(ledger, number > 0 && number < ledger->handout_count && message == ledger->handouts[number].message,
            "lane %u: message %u as handout %u, which it is not", slot, message, number);
    handout = &ledger->handouts[number];
    REQUIRE(ledger, handout->slot == slot || ledger_is_kept(handout), "message %u, handout %u of lane %u is in lane %u",
            message, number, handout->slot, slot);
    return handout;
}

static void check_content(struct ledger *ledger, const struct ledger_handout *handout,
                          const struct bailey_delivery *delivery)
{
    const struct ledger_message *message = &ledger->messages[handout->message];
    const struct shaping *shaping = message->shaping;

    if (handout->is_dead) {
        REQUIRE(ledger, content_hash(delivery->message) == handout->deaths->hash,
                "message %u: its dead letter is changed in the lane", handout->message);
        return;
    }
    REQUIRE(ledger, content_hash(delivery->message) == content_expected(&message->content, shaping),
            "message %u is changed in the lane", handout->message);
    REQUIRE(ledger,
            slot_of(ledger, handout)->is_replayer ||
                delivery->message->hops == message->content.hops + (message->content.hops < UINT8_MAX),
            "message %u has passed %u gateways, and says %u", handout->message, message->content.hops + 1u,
            delivery->message->hops);
    REQUIRE(ledger,
            content_address_hash(delivery, shaping->addresses) == content_expected_address(&message->content, shaping),
            "message %u has another address", handout->message);
    REQUIRE(ledger, !ledger_is_stuck(ledger, handout->slot, message),
            "message %u is sent without what its templates need", handout->message);
}

/* In the order of receiving: first sends, and what is repeated. But what has to wait for another one with its id goes when it may. */
static void check_order(struct ledger *ledger, struct ledger_slot *lane, const struct ledger_handout *handout,
                        const struct ledger_claim *claim)
{
    uint32_t number = (uint32_t)(handout - ledger->handouts);

    if ((claim != NULL && ledger->ids[claim->id].handouts > 1) || lane->options.order != BAILEY_ORDER_NONE ||
        ledger_was_expired(ledger, lane, &message_of(ledger, handout)->content) || handout->is_from_table)
        return; /* it waited for better times */
    REQUIRE(ledger, number > lane->last_sent, "message %u, handout %u: sent after handout %u, out of order",
            handout->message, number, lane->last_sent);
    lane->last_sent = number;
}

/* Why it must be marked; NULL: it need not. */
static const char *reason_to_mark(const struct ledger *ledger, const struct ledger_handout *handout,
                                  const struct ledger_claim *claim)
{
    if (handout->doubts > 0)
        return "it is in doubt";
    if (handout->is_marked)
        return "its source had marked it";
    if (ledger_was_sent_by_replay(ledger, handout))
        return "an earlier replay sent it";
    if (claim != NULL && !claim->was_passed && is_in_doubt(ledger, &ledger->scopes[claim->scope], claim))
        return "its id is in doubt";
    return NULL;
}

/* It may be: of doubts that are too old nobody need know, and of an intent nobody can tell whether it was sent. */
bool ledger_may_mark(const struct ledger_claim *claim)
{
    return claim != NULL && (claim->was_left || claim->doubt_ms >= 0 || claim->was_passed);
}

/* To the sink: may it go there? */
static void check_way(struct ledger *ledger, struct ledger_slot *lane, const struct ledger_handout *handout,
                      const struct bailey_delivery *delivery, const struct ledger_claim *claim)
{
    REQUIRE(ledger, !handout->is_dead, "message %u: sent to the sink, and it is a dead letter", handout->message);
    ledger_check_hope(ledger, handout);
    ledger_check_time(ledger, handout);
    REQUIRE(ledger, delivery->attempts >= handout->tries.refusals,
            "message %u, handout %u: %u attempts, refused %u times", handout->message, number_of(ledger, handout),
            delivery->attempts, handout->tries.refusals);
    if (delivery->attempts == 0)
        check_order(ledger, lane, handout, claim);
    ledger_check_turn(ledger, handout);
}

static struct ledger_claim *claim_of_handout(const struct ledger *ledger, const struct ledger_handout *handout)
{
    return is_recorded(ledger, handout)
               ? ledger_find_claim(ledger, slot_of(ledger, handout)->scope, message_of(ledger, handout)->id)
               : NULL;
}

void ledger_sent(struct ledger *ledger, uint32_t slot, enum outlet outlet, const struct bailey_delivery *delivery)
{
    static const char *const what[OUTLETS][2] = {
        {"lane %llu: sends handout %llu", "lane %llu: sends handout %llu, marked"},
        {"lane %llu: gives up handout %llu", "lane %llu: gives up handout %llu, marked"},
    };
    struct ledger_handout *handout = handout_of(ledger, slot, delivery);
    struct ledger_slot *lane = &ledger->slots[slot];
    uint32_t number = number_of(ledger, handout), message = handout->message;
    const char *reason;

    ledger_comes_from_table(ledger, slot, handout);
    struct ledger_claim *claim = claim_of_handout(ledger, handout);
    sim_note(ledger->sim, what[outlet][delivery->possible_duplicate], slot, number);
    REQUIRE(ledger, lane->is_up[outlet], "message %u, handout %u: sent while the sink is not up", message, number);
    REQUIRE(ledger, handout->state != HANDOUT_OUT, "message %u, handout %u: sent twice", message, number);
    REQUIRE(ledger, handout->state != HANDOUT_ENDED && handout->state != HANDOUT_CONFIRMED && !handout->is_orphan,
            "message %u, handout %u: sent after it was %s", message, number,
            handout->state == HANDOUT_CONFIRMED ? "confirmed" : "settled or taken away");
    if (claim != NULL)
        check_claim(ledger, claim, handout, delivery->possible_duplicate);
    reason = reason_to_mark(ledger, handout, claim);
    REQUIRE(ledger, delivery->possible_duplicate || reason == NULL, "message %u, handout %u: not marked, though %s",
            message, number, reason);
    REQUIRE(ledger,
            !delivery->possible_duplicate || reason != NULL || ledger_may_mark(claim) ||
                ledger_table_may_mark(ledger, handout) || ledger_replay_may_mark(ledger, handout),
            "message %u, handout %u: marked without a reason", message, number);
    ledger_check_replay(ledger, handout, outlet);
    if (outlet == TO_SINK)
        check_way(ledger, lane, handout, delivery, claim);
    else
        ledger_check_dead_letter(ledger, handout, delivery);
    check_content(ledger, handout, delivery);
    if (handout->state == HANDOUT_WAITING)
        lane->waiting--;
    handout->state = HANDOUT_OUT;
    handout->was_marked |= delivery->possible_duplicate;
    handout->sends++;
    lane->out++;
    if (claim != NULL) {
        ledger->messages[message].senders |= (uint32_t)handout->is_near << claim->scope;
        claim->out++;
        claim->sent_ms = clock_of(ledger, &ledger->scopes[claim->scope]);
    }
}

/* A verdict on it: it is no longer out. */
static struct ledger_handout *judged(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery,
                                     const char *what)
{
    struct ledger_handout *handout = handout_of(ledger, slot, delivery);
    struct ledger_slot *lane = &ledger->slots[slot];

    sim_note(ledger->sim, what, slot, (uint64_t)(handout - ledger->handouts));
    REQUIRE(ledger, handout->state == HANDOUT_OUT, "message %u: a verdict, and it is not out", handout->message);
    check_content(ledger, handout, delivery); /* it was the sink's, unchanged, until now */
    if (claim_of_handout(ledger, handout) != NULL)
        claim_of_handout(ledger, handout)->out--;
    lane->out--;
    return handout;
}

/* What was sent is not at the sink; what was sent before is as it was. */
static void was_not_stored(const struct ledger *ledger, const struct ledger_handout *handout)
{
    struct ledger_claim *claim = claim_of_handout(ledger, handout);

    if (claim != NULL)
        claim->sent_ms = claim->doubt_ms;
}

/* It is at its end: a broker has it, or the route drops it. */
static void finish(struct ledger *ledger, struct ledger_handout *handout, enum id_outcome outcome)
{
    struct ledger_slot *lane = &ledger->slots[handout->slot];
    struct ledger_claim *claim = claim_of_handout(ledger, handout);

    handout->state = HANDOUT_READY; /* it is out no more */
    handout->is_blocking = false;
    handout->is_finished = true;
    if (claim == NULL)
        ledger_end(ledger, handout);
    if (claim == NULL && (handout->is_lost || handout->is_from_table))
        return;
    lane->untold += claim == NULL;
    handout->state = HANDOUT_CONFIRMED;
    if (claim == NULL)
        return;
    note_trouble(ledger, claim);
    claim->outcome = (uint8_t)outcome;
    claim->confirmed_ms = handout->confirmed_ms = clock_of(ledger, &ledger->scopes[lane->scope]);
    if (handout->is_lost || handout->is_from_table)
        ledger_end(ledger, handout);
}

void ledger_confirmed(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery)
{
    struct ledger_handout *handout = judged(ledger, slot, delivery, "lane %llu: handout %llu is confirmed");

    ledger_letter_confirmed(ledger, handout);
    finish(ledger, handout, handout->is_dead ? ID_DEAD : ID_CONFIRMED);
}

void ledger_refused(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery,
                    enum bailey_error_kind kind)
{
    struct ledger_handout *handout = judged(ledger, slot, delivery, "lane %llu: handout %llu is refused");

    was_not_stored(ledger, handout);
    ledger_count_refusal(ledger, handout, kind);
    if (!handout->is_dead && kind == BAILEY_ERR_UNROUTABLE && ledger_may_drop(ledger, handout)) {
        ledger_drop(ledger, handout);
        finish(ledger, handout, ID_CONFIRMED);
        return;
    }
    handout->state = HANDOUT_WAITING;
    ledger->slots[slot].waiting++;
    if (handout->is_lost)
        ledger_end(ledger, handout);
}

void ledger_handed_back(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery, bool in_doubt)
{
    struct ledger_handout *handout =
        judged(ledger, slot, delivery,
               in_doubt ? "lane %llu: handout %llu is in doubt" : "lane %llu: handout %llu was not sent");
    struct ledger_claim *claim = claim_of_handout(ledger, handout);

    handout->state = HANDOUT_READY;
    if (in_doubt) {
        handout->doubts++;
        ledger->messages[handout->message].doubts++;
        if (claim != NULL)
            claim->doubt_ms = clock_of(ledger, &ledger->scopes[claim->scope]);
    } else {
        was_not_stored(ledger, handout);
    }
    if (handout->is_lost)
        ledger_end(ledger, handout);
}

/* What is at the sink, and what is a dead letter, is accounted for together. */
static void account(struct ledger *ledger, const struct stored *stored)
{
    struct ledger_handout *handout = &ledger->handouts[stored->handout];
    struct ledger_message *message = &ledger->messages[stored->number];
    uint32_t number = stored->number;

    message->copies++;
    message->dead += stored->outlet == TO_DEAD;
    ledger->dead += stored->outlet == TO_DEAD;
    ledger->ids[message->id].ends++;
    message->unmarked += !stored->is_marked;
    handout->copies++;
    ledger_letter_stored(ledger, handout);
    ledger->duplicates += message->copies > 1;
    ledger->marked += message->copies > 1 && stored->is_marked;
    REQUIRE(ledger, handout->copies <= handout->doubts + 1,
            "message %u is at the sink %u times from one handout, and was in doubt %u times", number, handout->copies,
            handout->doubts);
    REQUIRE(ledger, message->copies <= message->handouts + message->doubts, "message %u is at the sink %u times",
            number, message->copies);
    REQUIRE(ledger, message->unmarked <= message->unmarked_handouts, "message %u is at the sink %u times unmarked",
            number, message->unmarked);
}

void ledger_stored(struct ledger *ledger, const struct stored *stored)
{
    uint32_t number = stored->number, sink = stored->sink, handout = stored->handout;

    REQUIRE(ledger,
            number < ledger->message_count && handout > 0 && handout < ledger->handout_count &&
                ledger->handouts[handout].message == number,
            "sink %u has message %u of handout %u, which nobody sent", sink, number, handout);
    struct ledger_message *message = &ledger->messages[number];
    const struct ledger_handout *sent = &ledger->handouts[handout];
    bool is_whole = stored->outlet == TO_DEAD ? ledger_find_death(sent, stored->hash) != NULL
                                              : stored->hash == content_expected(&message->content, message->shaping);

    REQUIRE(ledger, message->sink == sink, "message %u is at sink %u, and belongs to %u", number, sink, message->sink);
    REQUIRE(ledger, stored->outlet == TO_SINK || sent->deaths != NULL, "message %u is a dead letter, which nobody sent",
            number);
    REQUIRE(ledger, is_whole, "message %u is changed at the sink", number);
    account(ledger, stored);
    if (stored->outlet == TO_SINK && message->copies - message->dead == 1)
        ledger_check_arrival(ledger, number);
}

/* ---- Looking ---- */

/* What is shown of what the lane has. Where ids are given back it may have a little more, for the moment. */
static void check_gauge(const struct ledger *ledger, uint32_t slot, const char *what, int64_t shown, int64_t had,
                        int64_t limbo)
{
    REQUIRE(ledger, shown >= had && shown <= had + limbo, "lane %u shows %lld %s, and has %lld", slot, (long long)shown,
            what, (long long)had);
}

static int64_t count_expired(const struct ledger *ledger, const struct ledger_slot *lane)
{
    int64_t count = 0;

    for (uint32_t at = lane->oldest; at != 0; at = ledger->handouts[at].younger) {
        const struct ledger_handout *handout = &ledger->handouts[at];

        count +=
            handout->state == HANDOUT_READY && ledger_was_expired(ledger, lane, &message_of(ledger, handout)->content);
    }
    return count;
}

enum { SPILL_READ_MAX = 64 }; /* at once: lane_spill.c */

/* What is on disk is none of the bytes; of what is read back there may be some more than the credit has room for. */
static void check_spilled(const struct ledger *ledger, uint32_t slot)
{
    const struct ledger_slot *lane = &ledger->slots[slot];
    const struct lane_status *status = lane->status;

    REQUIRE(ledger, status->spilled == 0 || lane->options.spill != NULL, "lane %u shows %lld on disk, and has no table",
            slot, (long long)status->spilled);
    REQUIRE(ledger,
            lane->options.spill == NULL ||
                status->unsettled - status->spilled <= lane->credit_messages + SPILL_READ_MAX,
            "lane %u has %lld in memory, and its credit is %lld", slot,
            (long long)(status->unsettled - status->spilled), (long long)lane->credit_messages);
}

void ledger_check_gauges(struct ledger *ledger, uint32_t slot)
{
    struct ledger_slot *lane = &ledger->slots[slot];
    const struct lane_status *status = lane->status;
    int64_t taken = ledger_may_have_taken(ledger, lane), bytes = taken > 0 ? INT64_MAX / 4 : 0;
    int64_t idle_bytes, idle = ledger_count_idle(ledger, lane, &idle_bytes);
    bool in_limbo = lane->scope != NO_SCOPE || lane->table != NO_TABLE || lane->is_replayer;

    if (status == NULL || !lane->source_is_open)
        return; /* while the source is closing nobody can say what was told to it */
    check_gauge(ledger, slot, "unsettled", status->unsettled, lane->unsettled - idle,
                idle + taken + (in_limbo ? lane->limbo : 0));
    check_spilled(ledger, slot);
    check_gauge(ledger, slot, "bytes unsettled", status->unsettled_bytes + (status->spilled > 0 ? lane->bytes : 0),
                lane->bytes - idle_bytes,
                idle_bytes + bytes + (in_limbo ? lane->limbo_bytes : 0) + (status->spilled > 0 ? lane->bytes : 0));
    check_gauge(ledger, slot, "unconfirmed", status->unconfirmed, lane->out, 0);
    /* Of those that wait some may be ready again, and not be sent yet; what has expired may wait. */
    REQUIRE(ledger, status->waiting >= 0 && status->waiting <= lane->waiting + count_expired(ledger, lane) + taken,
            "lane %u shows %lld waiting, and has %lld", slot, (long long)status->waiting, (long long)lane->waiting);
    ledger_check_blocked(ledger, lane, slot);
    ledger_check_dying(ledger, lane, slot);
    ledger_check_flow(ledger, lane, slot);
    if (status->unsettled == lane->unsettled)
        lane->limbo = lane->limbo_bytes = 0;
}

static bool is_empty(const struct ledger_slot *lane)
{
    return lane->unsettled == 0 && lane->untold == 0 && (lane->status == NULL || lane->status->unsettled == 0);
}

bool ledger_is_complete(const struct ledger *ledger)
{
    if (ledger->done < ledger->message_count || ledger->kept > 0)
        return false;
    for (uint32_t i = 0; i < ledger->slot_count; i++)
        if (!is_empty(&ledger->slots[i]))
            return false;
    for (uint32_t i = 0; i < ledger->message_count; i++)
        REQUIRE(ledger, is_somewhere(ledger, &ledger->messages[i]),
                "message %u is lost: it is done, and no sink has it", i);
    return true;
}
