/* recall.c: a ring of notes, oldest first, found by chains of places in it. What was taken leaves a gap, which goes when it is the
 * oldest. */
#include "core/recall.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { RING_MIN = 64 };

#define NO_PLACE UINT32_MAX

struct place {
    struct recall_note note; /* no attempts: a gap */
    int64_t kept_ms;
    uint32_t chain; /* the next place of its bucket */
};

struct recall {
    struct bailey_host *host;
    unsigned char secret[crypto_shorthash_KEYBYTES];
    size_t cap;           /* a power of two */
    struct place *ring;   /* NULL: nothing is remembered */
    uint32_t *buckets;    /* cap of them */
    uint64_t first, next; /* the oldest, and where the next one comes, counted from the beginning */
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* some MB at most */
    return memory;
}

/* ---- What a message is known by ---- */

static uint64_t mix(const struct recall *recall, uint64_t mark, struct bailey_bytes bytes)
{
    uint64_t words[2] = {mark, bytes.data != NULL};

    if (bytes.data != NULL)
        crypto_shorthash((unsigned char *)&words[1], bytes.data, bytes.len, recall->secret);
    crypto_shorthash((unsigned char *)&mark, (const unsigned char *)words, sizeof words, recall->secret);
    return mark;
}

static uint64_t mix_number(const struct recall *recall, uint64_t mark, int64_t number)
{
    return mix(recall, mark, (struct bailey_bytes){(const uint8_t *)&number, sizeof number});
}

/* Numbers are left out, as are names that brokers give: there they count deliveries. */
static bool is_lasting(const struct bailey_header *header)
{
    bool is_text = header->value.kind == BAILEY_KIND_STRING || header->value.kind == BAILEY_KIND_BYTES;

    return is_text && (header->name.len < 2 || memcmp(header->name.data, "x-", 2) != 0);
}

static uint64_t mark_of_content(const struct recall *recall, const struct bailey_message *msg, bool with_key)
{
    const struct bailey_bytes parts[] = {
        msg->body,
        msg->message_id,
        msg->correlation_id,
        with_key ? msg->key : BAILEY_NULL_BYTES,
        msg->origin.exchange,
        msg->origin.routing_key,
        msg->origin.destination,
    };
    uint64_t mark = mix_number(recall, 0, msg->timestamp_kind == BAILEY_TIMESTAMP_NONE ? 0 : msg->timestamp_ms);

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        mark = mix(recall, mark, parts[i]);
    for (uint32_t i = 0; i < msg->header_count; i++)
        if (is_lasting(&msg->headers[i]))
            mark = mix(recall, mix(recall, mark, msg->headers[i].name), msg->headers[i].value.bytes);
    return mark;
}

uint64_t recall_mark(const struct recall *recall, const struct bailey_message *msg, bool with_key)
{
    const struct bailey_origin *origin = &msg->origin;

    if (origin->offset < 0)
        return mark_of_content(recall, msg, with_key);
    return mix_number(recall, mix_number(recall, mix(recall, 0, origin->topic), origin->partition), origin->offset);
}

/* ---- The ring ---- */

static struct place *place_at(const struct recall *recall, uint64_t number)
{
    return &recall->ring[number & (recall->cap - 1)];
}

static uint32_t *bucket_of(const struct recall *recall, uint64_t mark)
{
    return &recall->buckets[mark & (recall->cap - 1)];
}

static struct place *find(const struct recall *recall, uint64_t mark)
{
    uint32_t at = *bucket_of(recall, mark);

    while (at != NO_PLACE && recall->ring[at].note.mark != mark)
        at = recall->ring[at].chain;
    return at == NO_PLACE ? NULL : &recall->ring[at];
}

static void forget(struct recall *recall, struct place *place)
{
    uint32_t *at = bucket_of(recall, place->note.mark);

    while (&recall->ring[*at] != place)
        at = &recall->ring[*at].chain;
    *at = place->chain;
    place->note.attempts = 0;
}

static void release(struct recall *recall)
{
    free(recall->ring);
    free(recall->buckets);
    recall->ring = NULL;
    recall->buckets = NULL;
}

static void forget_oldest(struct recall *recall)
{
    struct place *oldest = place_at(recall, recall->first++);

    if (oldest->note.attempts > 0)
        forget(recall, oldest);
}

/* Of the oldest: gaps, and what is too old, go. */
static void tidy(struct recall *recall)
{
    int64_t before_ms = bailey_now_ms(recall->host) - RECALL_MS;

    if (recall->ring == NULL)
        return;
    while (recall->first < recall->next && (place_at(recall, recall->first)->note.attempts == 0 ||
                                            place_at(recall, recall->first)->kept_ms <= before_ms))
        forget_oldest(recall);
    if (recall->first == recall->next)
        release(recall);
}

static void make_ring(struct recall *recall)
{
    recall->ring = must(malloc(recall->cap * sizeof *recall->ring));
    recall->buckets = must(malloc(recall->cap * sizeof *recall->buckets));
    memset(recall->buckets, 0xff, recall->cap * sizeof *recall->buckets);
    recall->first = recall->next = 0;
}

void recall_keep(struct recall *recall, const struct recall_note *note)
{
    tidy(recall);
    if (recall->ring == NULL)
        make_ring(recall);
    struct place *known = find(recall, note->mark);

    if (known != NULL) {
        if (known->note.attempts < note->attempts)
            known->note = *note;
        return;
    }
    if (recall->next - recall->first == recall->cap)
        forget_oldest(recall);
    uint32_t *bucket = bucket_of(recall, note->mark);
    struct place *place = place_at(recall, recall->next++);

    *place = (struct place){.note = *note, .kept_ms = bailey_now_ms(recall->host), .chain = *bucket};
    *bucket = (uint32_t)(place - recall->ring);
}

bool recall_has_some(const struct recall *recall)
{
    return recall->ring != NULL;
}

bool recall_take(struct recall *recall, uint64_t mark, struct recall_note *note)
{
    struct place *place;

    tidy(recall);
    if (recall->ring == NULL || (place = find(recall, mark)) == NULL)
        return false;
    *note = place->note;
    forget(recall, place);
    tidy(recall);
    return true;
}

/* ---- Life ---- */

struct recall *recall_new(struct bailey_host *host, size_t most)
{
    struct recall *recall = must(calloc(1, sizeof *recall));

    recall->host = host;
    for (recall->cap = RING_MIN; recall->cap < most && recall->cap < RECALL_MAX; recall->cap *= 2)
        ;
    for (size_t i = 0; i < sizeof recall->secret; i += sizeof(uint64_t)) {
        uint64_t word = bailey_random(host);

        memcpy(recall->secret + i, &word, sizeof word);
    }
    return recall;
}

void recall_free(struct recall *recall)
{
    if (recall == NULL)
        return;
    release(recall);
    free(recall);
}
