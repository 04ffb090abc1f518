/* ledger.c: see the header for the rules. */
#include "ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "message/pool.h"

#define REQUIRE(ledger, condition, ...)           \
    do {                                          \
        if (!(condition))                         \
            sim_fail((ledger)->sim, __VA_ARGS__); \
    } while (0)

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

        if (handout->slot == slot && handout->group == group && handout->position == position && at > found)
            found = at;
    }
    return found != 0 ? &ledger->handouts[found] : NULL;
}

/* ---- Messages and lanes ---- */

uint32_t ledger_produced(struct ledger *ledger, enum nature nature, uint16_t len, const struct shaping *shaping,
                         uint32_t sink)
{
    struct ledger_message *message;

    WORLD_ROOM(ledger->messages, ledger->message_count, ledger->message_cap);
    message = &ledger->messages[ledger->message_count];
    *message = (struct ledger_message){.shaping = shaping, .sink = sink};
    content_make(&message->content, &ledger->sim->dice, ledger->message_count, nature, len);
    return ledger->message_count++;
}

const struct content *ledger_content(const struct ledger *ledger, uint32_t number)
{
    return &ledger->messages[number].content;
}

uint32_t ledger_add_slot(struct ledger *ledger, int64_t credit_messages, int64_t credit_bytes, bool is_pushed)
{
    WORLD_ROOM(ledger->slots, ledger->slot_count, ledger->slot_cap);
    ledger->slots[ledger->slot_count] =
        (struct ledger_slot){.credit_messages = credit_messages, .credit_bytes = credit_bytes, .is_pushed = is_pushed};
    return ledger->slot_count++;
}

void ledger_lane_begins(struct ledger *ledger, uint32_t slot, const struct lane_status *status, bool has_defaults,
                        int64_t messages_max)
{
    ledger->slots[slot].status = status;
    ledger->slots[slot].has_defaults = has_defaults;
    ledger->slots[slot].left = messages_max > 0 ? messages_max : INT64_MAX;
}

/* The route's templates cannot be filled from it. */
static bool is_stuck(const struct ledger *ledger, uint32_t slot, const struct ledger_message *message)
{
    return message->content.nature == NATURE_SHAPELESS && !ledger->slots[slot].has_defaults &&
           (message->shaping->sets_key || message->shaping->addresses > 0);
}

/* What it counts against credit. */
static int64_t size_of(const struct content *content)
{
    size_t size = MESSAGE_COST + content->len + strlen("number") + 8;

    if (content->has_key)
        size += strlen(content->key);
    if (content->nature != NATURE_SHAPELESS)
        size += strlen("kind") + strlen(content->kind);
    return (int64_t)size;
}

/* It is none of the lane's business any more. */
static void end(struct ledger *ledger, struct ledger_handout *handout)
{
    struct ledger_slot *slot = &ledger->slots[handout->slot];

    if (handout->state == HANDOUT_ENDED)
        return;
    if (handout->state == HANDOUT_CONFIRMED) {
        slot->untold--;
    } else {
        slot->unsettled--;
        slot->bytes -= size_of(&ledger->messages[handout->message].content);
        slot->orphans -= handout->is_orphan;
    }
    slot->out -= handout->state == HANDOUT_OUT;
    slot->waiting -= handout->state == HANDOUT_WAITING;
    handout->state = HANDOUT_ENDED;
}

void ledger_lane_ends(struct ledger *ledger, uint32_t slot)
{
    for (uint32_t i = 1; i < ledger->handout_count; i++)
        if (ledger->handouts[i].slot == slot) {
            end(ledger, &ledger->handouts[i]);
            ledger->handouts[i].is_lost = true;
        }
    ledger->slots[slot].source_is_open = ledger->slots[slot].sink_is_up = false;
    ledger->slots[slot].status = NULL;
}

void ledger_lane_crashes(struct ledger *ledger, uint32_t slot)
{
    int64_t repeated = 0;

    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        const struct ledger_handout *handout = &ledger->handouts[i];
        const struct ledger_message *message = &ledger->messages[handout->message];

        repeated += handout->slot == slot && !handout->is_revoked && !handout->is_lost && message->copies > 0 &&
                    !message->is_done;
    }
    REQUIRE(ledger, !ledger->slots[slot].is_pushed || repeated <= ledger->slots[slot].credit_messages,
            "a crash of lane %u repeats %lld messages, and its credit is %lld", slot, (long long)repeated,
            (long long)ledger->slots[slot].credit_messages);
    ledger_lane_ends(ledger, slot);
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

static void orphan(struct ledger *ledger, struct ledger_handout *handout)
{
    if (handout->state == HANDOUT_READY || handout->state == HANDOUT_WAITING) {
        end(ledger, handout);
    } else if (handout->state == HANDOUT_OUT && !handout->is_orphan) {
        handout->is_orphan = true;
        ledger->slots[handout->slot].orphans++;
    }
}

void ledger_source_closed(struct ledger *ledger, uint32_t slot)
{
    sim_note(ledger->sim, "lane %llu: its source is closed", slot, 0);
    ledger->slots[slot].source_is_open = false;
    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        if (ledger->handouts[i].slot != slot)
            continue;
        orphan(ledger, &ledger->handouts[i]);
        if (ledger->handouts[i].state == HANDOUT_CONFIRMED)
            end(ledger, &ledger->handouts[i]);
        ledger->handouts[i].is_lost = true;
    }
}

void ledger_revoked(struct ledger *ledger, uint32_t slot, uint32_t group, size_t out)
{
    size_t counted = 0;

    for (uint32_t i = 1; i < ledger->handout_count; i++) {
        struct ledger_handout *handout = &ledger->handouts[i];

        if (handout->slot != slot || handout->group != group || handout->is_lost)
            continue;
        counted += handout->state == HANDOUT_OUT;
        handout->is_revoked = true;
        orphan(ledger, handout);
    }
    sim_note(ledger->sim, "lane %llu: loses group %llu", slot, group);
    REQUIRE(ledger, counted == out, "lane %u: revoke says that %zu of group %u are out, and %zu are", slot, out, group,
            counted);
}

void ledger_room(const struct ledger *ledger, uint32_t slot, size_t room)
{
    const struct ledger_slot *lane = &ledger->slots[slot];

    if (room == 0)
        return;
    REQUIRE(ledger, lane->sink_is_up, "lane %u has room while its sink is not up", slot);
    REQUIRE(ledger, (int64_t)room <= lane->credit_messages - lane->unsettled && (int64_t)room <= lane->left,
            "lane %u has room for %zu messages, and holds %lld of %lld", slot, room, (long long)lane->unsettled,
            (long long)lane->credit_messages);
    REQUIRE(ledger, lane->bytes < lane->credit_bytes, "lane %u has room, and holds %lld bytes of %lld", slot,
            (long long)lane->bytes, (long long)lane->credit_bytes);
}

uint32_t ledger_received(struct ledger *ledger, uint32_t slot, uint32_t number, bool is_marked, uint32_t group,
                         uint64_t position)
{
    struct ledger_slot *lane = &ledger->slots[slot];
    struct ledger_message *message = &ledger->messages[number];
    int64_t counted;

    WORLD_ROOM(ledger->handouts, ledger->handout_count, ledger->handout_cap);
    ledger->handouts[ledger->handout_count] = (struct ledger_handout){
        .message = number, .slot = slot, .group = group, .position = position, .is_marked = is_marked};
    if (ledger->handout_count >= ledger->index_cap)
        index_grow(ledger);
    index_add(ledger, ledger->handout_count);
    sim_note(ledger->sim, "lane %llu: receives handout %llu", slot, ledger->handout_count);
    message->handouts++;
    message->unmarked_handouts += !is_marked;
    if (is_stuck(ledger, slot, message)) { /* the lane will refuse it, and go on trying */
        ledger->handouts[ledger->handout_count].state = HANDOUT_WAITING;
        lane->waiting++;
    }
    lane->unsettled++;
    lane->bytes += size_of(&message->content);
    counted = lane->unsettled - (lane->is_pushed ? lane->orphans : 0);
    if (lane->left == 0) { /* beyond its messages_max: it is left to its source, without a settlement */
        end(ledger, &ledger->handouts[ledger->handout_count]);
        ledger->handouts[ledger->handout_count].is_lost = true;
    } else if (lane->left != INT64_MAX) {
        lane->left--;
    }
    REQUIRE(ledger, counted <= lane->credit_messages, "lane %u holds %lld messages, and its credit is %lld", slot,
            (long long)counted, (long long)lane->credit_messages);
    return ledger->handout_count++;
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
    REQUIRE(ledger, handout->state != HANDOUT_ENDED,
            "message %u, handout %u: settled twice, or after it was taken away", message, number);
    if (ended->outcome == BAILEY_ACCEPTED)
        REQUIRE(ledger, handout->state == HANDOUT_CONFIRMED, "message %u, handout %u: accepted without a confirm",
                message, number);
    else
        REQUIRE(ledger, ended->outcome == BAILEY_RELEASED && handout->state != HANDOUT_CONFIRMED,
                "message %u, handout %u: settled as %u", message, number, ended->outcome);
    REQUIRE(ledger, handout->state != HANDOUT_OUT, "message %u, handout %u: settled while it is out", message, number);
    end(ledger, handout);
}

void ledger_told(struct ledger *ledger, uint32_t number)
{
    struct ledger_message *message = &ledger->messages[number];

    REQUIRE(ledger, message->copies > 0, "message %u is lost: its source was told that it is done, and no sink has it",
            number);
    REQUIRE(ledger, !message->is_done, "message %u: its source was told twice that it is done", number);
    message->is_done = true;
    ledger->done++;
}

/* ---- The sink ---- */

void ledger_sink_opened(struct ledger *ledger, uint32_t slot)
{
    ledger->slots[slot].last_sent = 0;
}

void ledger_sink_is(struct ledger *ledger, uint32_t slot, bool up)
{
    sim_note(ledger->sim, up ? "lane %llu: its sink is up" : "lane %llu: its sink is not up", slot, 0);
    ledger->slots[slot].sink_is_up = up;
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
    REQUIRE(ledger, handout->slot == slot, "message %u, handout %u of lane %u is in lane %u", message, number,
            handout->slot, slot);
    return handout;
}

static void check_content(struct ledger *ledger, const struct ledger_handout *handout,
                          const struct bailey_delivery *delivery)
{
    const struct ledger_message *message = &ledger->messages[handout->message];
    const struct shaping *shaping = message->shaping;

    REQUIRE(ledger, content_hash(delivery->message) == content_expected(&message->content, shaping),
            "message %u is changed in the lane", handout->message);
    REQUIRE(ledger,
            content_address_hash(delivery, shaping->addresses) == content_expected_address(&message->content, shaping),
            "message %u has another address", handout->message);
    REQUIRE(ledger, !is_stuck(ledger, handout->slot, message), "message %u is sent without what its templates need",
            handout->message);
}

void ledger_sent(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery)
{
    struct ledger_handout *handout = handout_of(ledger, slot, delivery);
    struct ledger_slot *lane = &ledger->slots[slot];
    uint32_t number = (uint32_t)(handout - ledger->handouts), message = handout->message;
    bool must_mark = handout->is_marked || handout->doubts > 0;

    sim_note(ledger->sim,
             delivery->possible_duplicate ? "lane %llu: sends handout %llu, marked" : "lane %llu: sends handout %llu",
             slot, number);
    REQUIRE(ledger, lane->sink_is_up, "message %u, handout %u: sent while the sink is not up", message, number);
    REQUIRE(ledger, handout->state != HANDOUT_OUT, "message %u, handout %u: sent twice", message, number);
    REQUIRE(ledger, handout->state != HANDOUT_ENDED && handout->state != HANDOUT_CONFIRMED && !handout->is_orphan,
            "message %u, handout %u: sent after it was %s", message, number,
            handout->state == HANDOUT_CONFIRMED ? "confirmed" : "settled or taken away");
    REQUIRE(ledger, delivery->possible_duplicate || !must_mark, "message %u, handout %u: not marked, though %s",
            message, number, handout->doubts > 0 ? "it is in doubt" : "its source had marked it");
    REQUIRE(ledger, !delivery->possible_duplicate || must_mark, "message %u, handout %u: marked without a reason",
            message, number);
    REQUIRE(ledger, delivery->attempts >= handout->refusals, "message %u, handout %u: %u attempts, refused %u times",
            message, number, delivery->attempts, handout->refusals);
    if (delivery->attempts == 0) {
        REQUIRE(ledger, number > lane->last_sent, "message %u, handout %u: sent after handout %u, out of order",
                message, number, lane->last_sent);
        lane->last_sent = number;
    }
    check_content(ledger, handout, delivery);
    if (handout->state == HANDOUT_WAITING)
        lane->waiting--;
    handout->state = HANDOUT_OUT;
    handout->sends++;
    lane->out++;
}

/* A verdict on it: it is no longer out. */
static struct ledger_handout *judged(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery,
                                     const char *what)
{
    struct ledger_handout *handout = handout_of(ledger, slot, delivery);

    sim_note(ledger->sim, what, slot, (uint64_t)(handout - ledger->handouts));
    REQUIRE(ledger, handout->state == HANDOUT_OUT, "message %u: a verdict, and it is not out", handout->message);
    check_content(ledger, handout, delivery); /* it was the sink's, unchanged, until now */
    return handout;
}

void ledger_confirmed(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery)
{
    struct ledger_handout *handout = judged(ledger, slot, delivery, "lane %llu: handout %llu is confirmed");

    end(ledger, handout);
    if (handout->is_lost)
        return;
    handout->state = HANDOUT_CONFIRMED;
    ledger->slots[slot].untold++;
}

void ledger_refused(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery)
{
    struct ledger_handout *handout = judged(ledger, slot, delivery, "lane %llu: handout %llu is refused");

    handout->refusals++;
    ledger->slots[slot].out--;
    handout->state = HANDOUT_WAITING;
    ledger->slots[slot].waiting++;
    if (handout->is_lost)
        end(ledger, handout);
}

void ledger_handed_back(struct ledger *ledger, uint32_t slot, const struct bailey_delivery *delivery, bool in_doubt)
{
    struct ledger_handout *handout =
        judged(ledger, slot, delivery,
               in_doubt ? "lane %llu: handout %llu is in doubt" : "lane %llu: handout %llu was not sent");

    ledger->slots[slot].out--;
    handout->state = HANDOUT_READY;
    if (in_doubt) {
        handout->doubts++;
        ledger->messages[handout->message].doubts++;
    }
    if (handout->is_lost)
        end(ledger, handout);
}

void ledger_stored(struct ledger *ledger, uint32_t sink, uint32_t number, uint32_t handout, uint64_t hash,
                   bool is_marked)
{
    REQUIRE(ledger,
            number < ledger->message_count && handout > 0 && handout < ledger->handout_count &&
                ledger->handouts[handout].message == number,
            "sink %u has message %u of handout %u, which nobody sent", sink, number, handout);
    struct ledger_message *message = &ledger->messages[number];

    REQUIRE(ledger, message->sink == sink, "message %u is at sink %u, and belongs to %u", number, sink, message->sink);
    REQUIRE(ledger, hash == content_expected(&message->content, message->shaping), "message %u is changed at the sink",
            number);
    message->copies++;
    message->unmarked += !is_marked;
    ledger->handouts[handout].copies++;
    ledger->duplicates += message->copies > 1;
    ledger->marked += message->copies > 1 && is_marked;
    REQUIRE(ledger, ledger->handouts[handout].copies <= ledger->handouts[handout].doubts + 1,
            "message %u is at the sink %u times from one handout, and was in doubt %u times", number,
            ledger->handouts[handout].copies, ledger->handouts[handout].doubts);
    REQUIRE(ledger, message->copies <= message->handouts + message->doubts, "message %u is at the sink %u times",
            number, message->copies);
    REQUIRE(ledger, message->unmarked <= message->unmarked_handouts, "message %u is at the sink %u times unmarked",
            number, message->unmarked);
}

/* ---- Looking ---- */

void ledger_check_gauges(const struct ledger *ledger, uint32_t slot)
{
    const struct ledger_slot *lane = &ledger->slots[slot];
    const struct lane_status *status = lane->status;

    if (status == NULL || !lane->source_is_open)
        return; /* while the source is closing nobody can say what was told to it */
    REQUIRE(ledger, status->unsettled == lane->unsettled, "lane %u shows %lld unsettled, and has %lld", slot,
            (long long)status->unsettled, (long long)lane->unsettled);
    REQUIRE(ledger, status->unsettled_bytes == lane->bytes, "lane %u shows %lld bytes unsettled, and has %lld", slot,
            (long long)status->unsettled_bytes, (long long)lane->bytes);
    REQUIRE(ledger, status->unconfirmed == lane->out, "lane %u shows %lld unconfirmed, and has %lld", slot,
            (long long)status->unconfirmed, (long long)lane->out);
    /* Of those that wait some may be ready again, and not be sent yet. */
    REQUIRE(ledger, status->waiting >= 0 && status->waiting <= lane->waiting,
            "lane %u shows %lld waiting, and has %lld", slot, (long long)status->waiting, (long long)lane->waiting);
}

bool ledger_is_complete(const struct ledger *ledger)
{
    if (ledger->done < ledger->message_count)
        return false;
    for (uint32_t i = 0; i < ledger->slot_count; i++)
        if (ledger->slots[i].unsettled > 0 || ledger->slots[i].untold > 0)
            return false;
    return true;
}
