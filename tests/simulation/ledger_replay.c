/* ledger_replay.c: dead letters that are sent again. */
#include "ledger_impl.h"

#include "core/delivery.h"

void ledger_is_replayer(struct ledger *ledger, uint32_t slot)
{
    ledger->slots[slot].is_replayer = true;
}

static struct ledger_letter *letter_of(const struct ledger *ledger, const struct ledger_handout *handout)
{
    return handout->letter == 0 ? NULL : &ledger->letters[handout->letter - 1];
}

uint32_t ledger_letter(struct ledger *ledger, uint32_t number, uint64_t hash)
{
    struct ledger_handout *handout = &ledger->handouts[number];
    struct ledger_death *death = ledger_find_death(handout, hash);

    if (death->letter != 0) /* in doubt, it was sent once more: the two are one */
        return death->letter - 1;
    WORLD_ROOM(ledger->letters, ledger->letter_count, ledger->letter_cap);
    ledger->letters[ledger->letter_count] =
        (struct ledger_letter){.message = handout->message,
                               .is_too_old = death->is_too_old || ledger_is_ageless(ledger, handout),
                               .replays = ledger_replay_number(ledger, handout)};
    memcpy(ledger->letters[ledger->letter_count].failed, death->failed, sizeof death->failed);
    death->letter = ++ledger->letter_count;
    return death->letter - 1;
}

void ledger_replays(struct ledger *ledger, uint32_t handout, uint32_t letter, size_t size)
{
    struct ledger_handout *taken = &ledger->handouts[handout];

    sim_note(ledger->sim, "handout %llu is dead letter %llu", handout, letter);
    ledger->slots[taken->slot].bytes += (int64_t)size - taken->size;
    taken->size = (int64_t)size;
    taken->letter = letter + 1;
    ledger->letters[letter].handouts++;
}

void ledger_letter_stored(struct ledger *ledger, const struct ledger_handout *handout)
{
    struct ledger_letter *letter = letter_of(ledger, handout);

    if (letter == NULL)
        return;
    letter->copies++;
    letter->known += !handout->has_no_id; /* the others are refused before that: a later run knows nothing of them */
}

void ledger_letter_confirmed(struct ledger *ledger, const struct ledger_handout *handout)
{
    struct ledger_letter *letter = letter_of(ledger, handout);

    if (letter != NULL)
        letter->is_confirmed = true;
}

/* The letter, or another one of its message that died as often and at the same moment: they may have the same name. */
static bool is_done(const struct ledger *ledger, const struct ledger_letter *letter)
{
    for (uint32_t i = 0; i < ledger->letter_count; i++) {
        const struct ledger_letter *other = &ledger->letters[i];

        if (other->message == letter->message && other->replays == letter->replays &&
            strcmp(other->failed, letter->failed) == 0 && other->is_confirmed)
            return true;
    }
    return false;
}

bool ledger_was_replayed(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_letter *letter = letter_of(ledger, handout);

    return letter != NULL && is_done(ledger, letter);
}

void ledger_letter_settled(struct ledger *ledger, const struct ledger_handout *handout)
{
    struct ledger_letter *letter = letter_of(ledger, handout);

    if (letter != NULL) /* one that was refused before it had its id is not written down: its twin may come */
        letter->is_settled |= !handout->has_no_id;
}

void ledger_letter_removed(struct ledger *ledger, uint32_t number)
{
    const struct ledger_letter *letter = &ledger->letters[number];

    sim_note(ledger->sim, "dead letter %llu is removed", number, 0);
    REQUIRE(ledger, letter->copies > 0 || is_done(ledger, letter) || ledger->messages[letter->message].is_dropped,
            "message %u: dead letter %u is removed, and nobody has what was in it", letter->message, number);
}

bool ledger_is_ageless(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_letter *letter = letter_of(ledger, handout);

    return letter != NULL && letter->is_too_old;
}

uint32_t ledger_replay_number(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_letter *letter = letter_of(ledger, handout);

    return letter == NULL ? 0 : letter->replays + 1;
}

bool ledger_was_sent_by_replay(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_letter *letter = letter_of(ledger, handout);

    return letter != NULL && letter->known > handout->copies && !handout->has_no_id;
}

bool ledger_replay_may_mark(const struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_letter *letter = letter_of(ledger, handout);

    return letter != NULL && letter->handouts > 1;
}

/* One of a key at a time, in the order of the shelf. */
static void check_turn(struct ledger *ledger, const struct ledger_handout *handout)
{
    const struct ledger_message *message = message_of(ledger, handout);
    struct bailey_bytes key = content_key(&message->content, message->shaping);
    uint32_t number = number_of(ledger, handout);

    if (slot_of(ledger, handout)->options.order != BAILEY_ORDER_KEY || key.data == NULL)
        return;
    for (uint32_t at = slot_of(ledger, handout)->oldest; at != 0 && at < number; at = ledger->handouts[at].younger) {
        const struct ledger_handout *older = &ledger->handouts[at];
        const struct ledger_message *its = message_of(ledger, older);

        REQUIRE(ledger,
                older->state == HANDOUT_CONFIRMED || ledger_may_drop(ledger, older) ||
                    ledger_was_replayed(ledger, older) ||
                    !bailey_bytes_equal(content_key(&its->content, its->shaping), key),
                "message %u, handout %u: replayed before handout %u of its key is at its end", handout->message, number,
                at);
    }
}

void ledger_check_replay(struct ledger *ledger, const struct ledger_handout *handout, enum outlet outlet)
{
    const struct ledger_letter *letter = letter_of(ledger, handout);

    if (letter == NULL)
        return;
    REQUIRE(ledger, !letter->is_settled || handout->has_no_id,
            "message %u: its dead letter is replayed, and was before", handout->message);
    REQUIRE(ledger, letter->replays < LEDGER_REPLAYS_MAX, "message %u: it is replayed for the %u. time",
            handout->message, letter->replays + 1);
    if (outlet == TO_SINK)
        check_turn(ledger, handout);
}
