/* ledger_dead.c: what is refused, and what becomes of it. */
#include "ledger_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/dead_letter.h"

enum { ID_TEXT = 32, TEXT_MAX = 128 };

/* ---- What cannot go ---- */

bool ledger_is_stuck(const struct ledger *ledger, uint32_t slot, const struct ledger_message *message)
{
    const struct shaping *shaping = message->shaping;

    if (message->content.nature == NATURE_TIMELESS)
        return !ledger->slots[slot].is_replayer;
    if (ledger->slots[slot].has_defaults)
        return false;
    return message->content.nature == NATURE_NAMELESS
               ? shaping->dedups
               : message->content.nature == NATURE_SHAPELESS && (shaping->sets_key || shaping->addresses > 0);
}

bool ledger_loops(const struct ledger_slot *lane, const struct content *content)
{
    return lane->options.hops_max > 0 && content->hops >= lane->options.hops_max;
}

bool ledger_is_refused_early(const struct ledger *ledger, uint32_t slot, const struct ledger_message *message)
{
    bool is_keyless = message->content.nature == NATURE_SHAPELESS && message->shaping->sets_key;

    return ledger_loops(&ledger->slots[slot], &message->content) ||
           (ledger_is_stuck(ledger, slot, message) && (is_keyless || message->content.nature == NATURE_NAMELESS));
}

static int64_t wall_of(const struct ledger *ledger, const struct ledger_slot *lane)
{
    return lane->wall_ms == NULL ? 0 : *lane->wall_ms + ledger->sim->now_ms;
}

bool ledger_is_expired(const struct ledger *ledger, const struct ledger_slot *lane, const struct content *content)
{
    return content->expires_at_ms > 0 && content->expires_at_ms <= wall_of(ledger, lane);
}

bool ledger_was_expired(const struct ledger *ledger, const struct ledger_slot *lane, const struct content *content)
{
    return ledger_is_expired(ledger, lane, content) ||
           (content->expires_at_ms > 0 && content->expires_at_ms <= lane->wall_high_ms);
}

bool ledger_may_drop(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_slot *lane = slot_of(ledger, handout);

    if (lane->options.unroutable == LANE_UNROUTABLE_ACCEPT && handout->tries.last == BAILEY_ERR_UNROUTABLE)
        return true;
    return lane->options.expire == LANE_EXPIRE_DROP &&
           (ledger_was_expired(ledger, lane, &message_of(ledger, handout)->content) ||
            ledger_table_shows_expired(ledger, handout));
}

/* ---- Refusals ---- */

static bool is_for_good(const struct ledger_slot *lane, const struct ledger_handout *handout)
{
    uint32_t attempts = lane->options.retry.attempts;

    return handout->tries.last == BAILEY_ERR_PERMANENT ||
           (handout->tries.last == BAILEY_ERR_UNROUTABLE && lane->options.unroutable == LANE_UNROUTABLE_DEAD_LETTER) ||
           (attempts > 0 && handout->tries.counted >= attempts);
}

void ledger_count_refusal(const struct ledger *ledger, struct ledger_handout *handout, enum bailey_error_kind kind)
{
    const struct ledger_slot *lane = slot_of(ledger, handout);

    if (handout->is_dead) {
        handout->dead_refusals++;
        handout->is_blocking |= kind != BAILEY_ERR_TRANSIENT;
        return;
    }
    handout->tries.last = kind;
    handout->tries.refusals++;
    handout->tries.counted += kind != BAILEY_ERR_CONFIG || lane->options.template_count > 0;
    handout->tries.is_hopeless = is_for_good(lane, handout);
    handout->is_blocking =
        handout->tries.is_hopeless && lane->options.dead_letters == NULL && !ledger_has_older(ledger, handout);
}

/* Its source takes it back. */
void ledger_remember(struct ledger_handout *handout)
{
    bool is_in_hand =
        handout->state == HANDOUT_READY || handout->state == HANDOUT_WAITING || handout->state == HANDOUT_OUT;

    if (!is_in_hand || handout->tries.refusals == 0)
        return;
    handout->is_remembered = true;
    handout->left = handout->tries;
}

/* And gave it once more: to the same lane, which has not ended since. */
void ledger_recall(struct ledger *ledger, struct ledger_handout *handout)
{
    for (uint32_t i = number_of(ledger, handout); message_of(ledger, handout)->handouts > 1 && --i > 0;) {
        struct ledger_handout *earlier = &ledger->handouts[i];

        if (earlier->message != handout->message || earlier->slot != handout->slot || !earlier->is_remembered)
            continue;
        earlier->is_remembered = false;
        handout->tries.refusals = earlier->left.refusals;
        handout->tries.counted = earlier->left.counted;
        return;
    }
}

/* It is sent to the sink: is it not too late for that? */
void ledger_check_hope(struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_slot *lane = slot_of(ledger, handout);
    const struct content *content = &message_of(ledger, handout)->content;
    bool has_a_way = lane->options.dead_letters != NULL;

    REQUIRE(ledger, !handout->tries.is_hopeless || !has_a_way, "message %u: sent again, though it was refused for good",
            handout->message);
    REQUIRE(ledger, !ledger_loops(lane, content), "message %u: sent, and it has passed %u gateways", handout->message,
            content->hops);
    REQUIRE(ledger, !ledger_is_expired(ledger, lane, content) || ledger_is_ageless(ledger, handout),
            "message %u: sent past its expiry", handout->message);
}

/* ---- Blocked ---- */

bool ledger_has_blocking(const struct ledger *ledger, const struct ledger_slot *lane)
{
    for (uint32_t at = lane->oldest; at != 0; at = ledger->handouts[at].younger)
        if (ledger->handouts[at].is_blocking && !ledger_may_drop(ledger, &ledger->handouts[at]))
            return true;
    return false;
}

static bool may_block(const struct ledger *ledger, const struct ledger_slot *lane, const struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);

    return handout->is_blocking ||
           (lane->options.dead_letters == NULL &&
            (handout->tries.is_hopeless || handout->has_no_id || ledger_is_stuck(ledger, handout->slot, message) ||
             ledger_was_expired(ledger, lane, &message->content)));
}

void ledger_check_blocked(const struct ledger *ledger, const struct ledger_slot *lane, uint32_t slot)
{
    if (lane->status->state != LANE_BLOCKED) {
        REQUIRE(ledger,
                (lane->status->state != LANE_RUNNING && lane->status->state != LANE_STALLED) ||
                    !ledger_has_blocking(ledger, lane),
                "lane %u has something hopeless that can go nowhere, and does not say so", slot);
        return;
    }
    if (ledger_may_have_taken(ledger, lane) > 0)
        return;
    for (uint32_t at = lane->oldest; at != 0; at = ledger->handouts[at].younger)
        if (may_block(ledger, lane, &ledger->handouts[at]))
            return;
    REQUIRE(ledger, false, "lane %u is blocked, and has nothing hopeless", slot);
}

/* ---- Dead letters ---- */

static bool may_be_dead(const struct ledger *ledger, const struct ledger_slot *lane,
                        const struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);

    return lane->options.dead_letters != NULL &&
           (handout->tries.is_hopeless || handout->has_no_id || ledger_is_stuck(ledger, handout->slot, message) ||
            ledger_was_expired(ledger, lane, &message->content));
}

/* How many are on their way there: some of them have been given up, and not been sent yet. */
void ledger_check_dying(const struct ledger *ledger, const struct ledger_slot *lane, uint32_t slot)
{
    int64_t least = 0, most = ledger_may_have_taken(ledger, lane), shown = lane->status->dead;

    for (uint32_t at = lane->oldest; at != 0; at = ledger->handouts[at].younger) {
        const struct ledger_handout *handout = &ledger->handouts[at];
        bool is_dying = handout->is_dead && handout->state != HANDOUT_CONFIRMED;

        least += is_dying && !handout->is_from_table;
        most += is_dying || (!handout->is_dead && may_be_dead(ledger, lane, handout));
    }
    REQUIRE(ledger, shown >= least && shown <= most, "lane %u shows %lld dead, and has %lld to %lld", slot,
            (long long)shown, (long long)least, (long long)most);
}

struct letter {
    struct ledger *ledger;
    struct ledger_handout *handout;
    const struct ledger_slot *lane;
    const struct content *content;
    const struct shaping *shaping;
    const struct bailey_message *msg;
};

/* What a header of it says; null: it has none. */
static struct bailey_bytes said(const struct letter *letter, const char *name)
{
    const struct bailey_header *header = bailey_message_header(letter->msg, bailey_bytes_of(name));

    return header == NULL ? BAILEY_NULL_BYTES : header->value.bytes;
}

static void require_says(const struct letter *letter, const char *name, struct bailey_bytes expected)
{
    struct bailey_bytes value = said(letter, name);

    REQUIRE(letter->ledger, bailey_bytes_equal(value, expected), "message %u: its dead letter says %s %.*s, not %.*s",
            letter->handout->message, name, (int)value.len, (const char *)value.data, (int)expected.len,
            (const char *)expected.data);
}

/* Is that why? */
static bool is_true(const struct letter *letter, struct bailey_bytes class)
{
    const struct ledger_handout *handout = letter->handout;
    const struct ledger_message *message = message_of(letter->ledger, handout);

    if (bailey_bytes_is(class, "expired"))
        return ledger_was_expired(letter->ledger, letter->lane, letter->content) &&
               !ledger_is_ageless(letter->ledger, handout);
    if (bailey_bytes_is(class, "loop"))
        return ledger_loops(letter->lane, letter->content);
    if (ledger_is_stuck(letter->ledger, handout->slot, message))
        return bailey_bytes_is(class, "permanent");
    return handout->tries.last != 0 && is_for_good(letter->lane, handout) &&
           bailey_bytes_is(class, bailey_error_kind_name((enum bailey_error_kind)handout->tries.last));
}

static void check_attempts(const struct letter *letter)
{
    const struct ledger_handout *handout = letter->handout;
    bool is_refused_by_lane = bailey_bytes_is(said(letter, DEAD_LETTER_PREFIX "class"), "permanent") &&
                              ledger_is_stuck(letter->ledger, handout->slot, message_of(letter->ledger, handout));
    uint32_t times = message_of(letter->ledger, handout)->handouts, least = handout->tries.refusals,
             most =
                 least + (is_refused_by_lane ? times : 0); /* once each time that it came, as far as it is remembered */
    struct bailey_bytes text = said(letter, DEAD_LETTER_PREFIX "attempts");
    char given[16];

    snprintf(given, sizeof given, "%.*s", (int)text.len, (const char *)text.data);
    unsigned long told = strtoul(given, NULL, 10);
    REQUIRE(letter->ledger, told <= most && told >= least + is_refused_by_lane,
            "message %u: its dead letter tells of %s attempts, and there were %" PRIu32 " to %" PRIu32,
            handout->message, given, least + is_refused_by_lane, most);
}

/* What names it: the id of its route, or its position where that names it for ever; else by chance. */
static void check_id(const struct letter *letter)
{
    struct ledger_message *message = &letter->ledger->messages[letter->handout->message];
    const struct ledger_claim *claim =
        letter->handout->has_no_id ? NULL : ledger_find_claim(letter->ledger, letter->lane->scope, message->id);
    struct bailey_bytes id = said(letter, DEAD_LETTER_ID);
    char expected[ID_TEXT + 1];

    REQUIRE(letter->ledger, id.len == ID_TEXT && bailey_bytes_equal(id, letter->msg->key),
            "message %u: the key of its dead letter is not its id", letter->handout->message);
    if (letter->lane->scope != NO_SCOPE && claim != NULL) {
        snprintf(expected, sizeof expected, "%016" PRIx64 "%016" PRIx64, claim->kept->id.word[0],
                 claim->kept->id.word[1]);
        require_says(letter, DEAD_LETTER_ID, bailey_bytes_of(expected));
    } else if (letter->lane->is_replayer) {
        return; /* another one */
    } else if (letter->content->topic != NULL && message->dead_id[0] != '\0') {
        require_says(letter, DEAD_LETTER_ID, bailey_bytes_of(message->dead_id));
    } else if (letter->content->topic != NULL) {
        memcpy(message->dead_id, id.data, ID_TEXT);
    }
}

static void check_source(const struct letter *letter)
{
    const struct content *content = letter->content;
    const char *broker = letter->lane->options.from.broker_name;
    char text[TEXT_MAX];

    if (content->topic != NULL)
        snprintf(text, sizeof text, "%s %s-%" PRId32 "-%" PRId64, broker, content->topic, content->partition,
                 content->offset);
    else
        snprintf(text, sizeof text, "%s", broker);
    require_says(letter, DEAD_LETTER_PREFIX "source", bailey_bytes_of(text));
}

/* Its own, where the route's was not made yet. */
static struct bailey_bytes key_of(const struct letter *letter)
{
    const struct content *content = letter->content;
    bool is_unshaped =
        ledger_loops(letter->lane, content) ||
        (letter->shaping->sets_key && content->nature == NATURE_SHAPELESS && !letter->lane->has_defaults);

    if (!is_unshaped)
        return content_key(content, letter->shaping);
    return content->has_key ? bailey_bytes_of(content->key) : BAILEY_NULL_BYTES;
}

static void check_address(const struct letter *letter, const struct bailey_delivery *delivery)
{
    char text[TEXT_MAX];
    struct bailey_bytes part;
    struct bailey_delivery expected = {.address = &part};

    snprintf(text, sizeof text, "dead.%.*s", (int)letter->msg->key.len, (const char *)letter->msg->key.data);
    part = bailey_bytes_of(text);
    REQUIRE(letter->ledger,
            content_address_hash(delivery, letter->shaping->names_dead) ==
                content_address_hash(&expected, letter->shaping->names_dead),
            "message %u: its dead letter has another address", letter->handout->message);
}

/* What is for people: why, where and when. */
static void check_words(const struct letter *letter)
{
    const char *broker = letter->lane->options.to.broker_name;
    struct bailey_bytes sink = said(letter, DEAD_LETTER_PREFIX "sink");

    REQUIRE(letter->ledger,
            said(letter, DEAD_LETTER_PREFIX "reason").len > 0 &&
                said(letter, DEAD_LETTER_PREFIX "first-failed").len == strlen("2026-01-01T00:00:00.000Z") &&
                said(letter, DEAD_LETTER_PREFIX "last-failed").len == strlen("2026-01-01T00:00:00.000Z"),
            "message %u: its dead letter does not say why or when", letter->handout->message);
    REQUIRE(letter->ledger, sink.len >= strlen(broker) && memcmp(sink.data, broker, strlen(broker)) == 0,
            "message %u: its dead letter says another sink", letter->handout->message);
}

static void check_replays(const struct letter *letter)
{
    uint32_t replays = ledger_replay_number(letter->ledger, letter->handout);
    char text[16];

    snprintf(text, sizeof text, "%" PRIu32, replays);
    require_says(letter, DEAD_LETTER_REPLAYS, replays == 0 ? BAILEY_NULL_BYTES : bailey_bytes_of(text));
}

struct ledger_death *ledger_find_death(const struct ledger_handout *handout, uint64_t hash)
{
    struct ledger_death *death = handout->deaths;

    while (death != NULL && death->hash != hash)
        death = death->before;
    return death;
}

void ledger_check_dead_letter(struct ledger *ledger, struct ledger_handout *handout,
                              const struct bailey_delivery *delivery)
{
    const struct ledger_message *message = message_of(ledger, handout);
    const struct letter letter = {ledger,           handout,          slot_of(ledger, handout), &message->content,
                                  message->shaping, delivery->message};
    struct bailey_bytes class = said(&letter, DEAD_LETTER_PREFIX "class");

    check_address(&letter, delivery);
    REQUIRE(ledger, delivery->attempts == handout->dead_refusals,
            "message %u: %u attempts at its dead letter, and %u refusals", handout->message, delivery->attempts,
            handout->dead_refusals);
    if (handout->is_dead)
        return; /* it must be the same */
    REQUIRE(ledger, letter.lane->options.dead_letters != NULL, "message %u: a dead letter, and the route has none",
            handout->message);
    REQUIRE(ledger, content_is_in(&message->content, message->shaping, delivery->message),
            "message %u: its dead letter is another one", handout->message);
    REQUIRE(ledger, is_true(&letter, class),
            "message %u: a dead letter (%.*s) after %u refusals, %u counted, without a reason", handout->message,
            (int)class.len, (const char *)class.data, handout->tries.refusals, handout->tries.counted);
    check_attempts(&letter);
    check_id(&letter);
    check_source(&letter);
    require_says(&letter, DEAD_LETTER_PREFIX "route", bailey_bytes_of(letter.lane->options.route));
    require_says(&letter, DEAD_LETTER_KEY, key_of(&letter));
    check_words(&letter);
    check_replays(&letter);
    handout->is_dead = true;
    struct ledger_death *death = world_alloc(1, sizeof *death);
    struct bailey_bytes failed = said(&letter, DEAD_LETTER_PREFIX "last-failed");
    *death = (struct ledger_death){.hash = content_hash(delivery->message),
                                   .is_too_old = bailey_bytes_is(class, "expired"),
                                   .before = handout->deaths};
    snprintf(death->failed, sizeof death->failed, "%.*s", (int)failed.len, (const char *)failed.data);
    handout->deaths = death;
}
