/* content.c: messages from numbers, and hashes of what came out. */
#include "content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/dead_letter.h"

/* What a message is called by: its own header, which a shapeless one lacks. */
const char *const shaping_texts[2][ADDRESSES_MAX] = {
    {"to.${header.kind}", "q.${key:-nobody}", "${header.kind}.${key:-nobody}"},
    {"to.${header.kind:-none}", "q.${key:-nobody}", "${header.kind:-none}.${key:-nobody}"},
};
const char *const shaping_key[2] = {"${header.kind}", "${header.kind:-none}"};
const char *const shaping_id[2] = {"${header.id}", "${header.id:-none}"};
const char *const shaping_when[] = {NULL, "${header.when:-0}ms", "${header.when:-0}"};
const char shaping_dead[] = "dead.${key}";

enum { BODY_MIN = 12, HEADERS_MAX = 4 };

void content_make(struct content *content, struct dice *dice, uint32_t number, enum nature nature, uint16_t len,
                  uint32_t id)
{
    *content = (struct content){.number = number, .nature = (uint8_t)nature, .partition = -1, .offset = -1};
    content->hops = (uint8_t)(nature == NATURE_LOOPING ? HOPS_MAX + dice_below(dice, 3) : dice_below(dice, 3));
    content->has_key = !dice_percent(dice, 30);
    content->len = len < BODY_MIN ? BODY_MIN : len;
    snprintf(content->key, sizeof content->key, "k%u", number % 5);
    snprintf(content->kind, sizeof content->kind, "kind%u", number % 7);
    snprintf(content->id, sizeof content->id, "id%u", id);
    content->body = world_alloc(content->len + 8u, 1);
    for (size_t i = 0; i < content->len; i += 8)
        memcpy(content->body + i, &(uint64_t){dice_next(dice)}, 8);
    memcpy(content->body, &number, sizeof number);
}

/* Most of them have one; a few soon, and a few not for long. */
void content_set_time(struct content *content, struct dice *dice, enum delays delays, int64_t wall_ms)
{
    static const int64_t most_ms[] = {500, 5000, 5000, 40000};

    if (content->nature == NATURE_TIMELESS) {
        snprintf(content->when, sizeof content->when, "soon");
        return;
    }
    if (dice_percent(dice, 40))
        return;
    content->due_ms = dice_between(dice, delays == DELAYS_UNTIL ? -500 : 0, most_ms[dice_below(dice, 4)]);
    if (delays == DELAYS_UNTIL)
        content->due_ms += wall_ms;
    snprintf(content->when, sizeof content->when, "%lld", (long long)content->due_ms);
}

const char *content_id(const struct content *content)
{
    return content->nature == NATURE_NAMELESS ? "none" : content->id;
}

/* ---- As a message ---- */

static void release(void *owner, void *cookie)
{
    memset(owner, 0xdd, (size_t)(uintptr_t)cookie); /* a view that is still in use shows as a changed message */
    free(owner);
}

static struct bailey_bytes put(uint8_t **at, const void *data, size_t len)
{
    struct bailey_bytes bytes = {memcpy(*at, data, len), len};

    *at += len;
    return bytes;
}

struct bailey_message *content_message(const struct content *content, struct bailey_port *port, uint32_t handout,
                                       bool pinned)
{
    struct bailey_message *msg = bailey_message_new(port);
    size_t kind_len = strlen(content->kind), key_len = strlen(content->key), id_len = strlen(content->id);
    size_t when_len = strlen(content->when), size = content->len + kind_len + key_len + id_len + when_len;
    struct bailey_header *headers = bailey_message_alloc(msg, HEADERS_MAX * sizeof *headers);
    uint8_t *buffer = pinned ? malloc(size) : bailey_message_alloc(msg, size), *at = buffer;

    if (pinned)
        bailey_message_keep(msg, release, buffer, (void *)(uintptr_t)size);
    msg->body = put(&at, content->body, content->len);
    if (content->has_key)
        msg->key = put(&at, content->key, key_len);
    msg->headers = headers;
    headers[msg->header_count++] =
        (struct bailey_header){bailey_bytes_of("number"), {.kind = BAILEY_KIND_U32, .u64 = content->number}};
    if (content->nature != NATURE_SHAPELESS)
        headers[msg->header_count++] = (struct bailey_header){
            bailey_bytes_of("kind"), {.kind = BAILEY_KIND_STRING, .bytes = put(&at, content->kind, kind_len)}};
    if (content->nature != NATURE_NAMELESS)
        headers[msg->header_count++] = (struct bailey_header){
            bailey_bytes_of("id"), {.kind = BAILEY_KIND_STRING, .bytes = put(&at, content->id, id_len)}};
    if (when_len > 0)
        headers[msg->header_count++] = (struct bailey_header){
            bailey_bytes_of("when"), {.kind = BAILEY_KIND_STRING, .bytes = put(&at, content->when, when_len)}};
    if (content->topic != NULL)
        msg->origin.topic = bailey_bytes_of(content->topic);
    msg->origin.partition = content->partition;
    msg->origin.offset = content->offset;
    msg->expires_at_ms = content->expires_at_ms;
    msg->hops = content->hops;
    msg->timestamp_ms = handout;
    return msg;
}

bool content_number(const struct bailey_message *msg, uint32_t *number, uint32_t *handout)
{
    if (msg->body.len < BODY_MIN || msg->timestamp_ms < 0 || msg->timestamp_ms > UINT32_MAX)
        return false;
    memcpy(number, msg->body.data, sizeof *number);
    *handout = (uint32_t)msg->timestamp_ms;
    return true;
}

/* ---- Hashes ---- */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 32;
}

static uint64_t mix_bytes(uint64_t hash, struct bailey_bytes bytes)
{
    size_t at = 0;

    hash = mix(hash, bytes.data == NULL ? UINT64_MAX : bytes.len);
    for (; at + 8 <= bytes.len; at += 8) {
        uint64_t word;

        memcpy(&word, bytes.data + at, 8);
        hash = mix(hash, word);
    }
    for (; at < bytes.len; at++)
        hash = mix(hash, bytes.data[at]);
    return hash;
}

uint64_t content_hash(const struct bailey_message *msg)
{
    uint64_t hash = mix_bytes(mix_bytes(0, msg->key), msg->body);

    for (uint32_t i = 0; i < msg->header_count; i++) {
        const struct bailey_header *header = &msg->headers[i];

        hash = mix_bytes(hash, header->name);
        hash = mix(hash, (uint64_t)header->value.kind);
        if (header->value.kind == BAILEY_KIND_STRING)
            hash = mix_bytes(hash, header->value.bytes);
        else
            hash = mix(hash, header->value.u64);
    }
    return hash;
}

uint64_t content_address_hash(const struct bailey_delivery *delivery, size_t addresses)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < addresses; i++)
        hash = mix_bytes(hash, bailey_delivery_text(delivery, &(struct bailey_template){.slot = (int)i}));
    return hash;
}

/* ---- As it must be ---- */

static const char *kind_of(const struct content *content)
{
    return content->nature == NATURE_SHAPELESS ? "none" : content->kind;
}

struct bailey_bytes content_key(const struct content *content, const struct shaping *shaping)
{
    if (shaping->sets_key)
        return bailey_bytes_of(kind_of(content));
    return content->has_key ? bailey_bytes_of(content->key) : BAILEY_NULL_BYTES;
}

bool content_loops(const struct content *content, const struct shaping *shaping)
{
    return shaping->hops_max > 0 && content->hops >= shaping->hops_max;
}

bool content_is_in(const struct content *content, const struct shaping *shaping, const struct bailey_message *msg)
{
    struct bailey_message own = *msg;

    own.key = content_key(content, shaping);
    own.header_count = 0;
    while (own.header_count < msg->header_count && strncmp((const char *)msg->headers[own.header_count].name.data,
                                                           DEAD_LETTER_PREFIX, strlen(DEAD_LETTER_PREFIX)) != 0)
        own.header_count++;
    return content_hash(&own) == content_expected(content, shaping);
}

uint64_t content_expected(const struct content *content, const struct shaping *shaping)
{
    struct bailey_header headers[HEADERS_MAX] = {
        {bailey_bytes_of("number"), {.kind = BAILEY_KIND_U32, .u64 = content->number}},
    };
    struct bailey_message msg = {
        .key = content_key(content, shaping),
        .body = {content->body, content->len},
        .headers = headers,
        .header_count = 1,
    };

    if (content->nature != NATURE_SHAPELESS)
        headers[msg.header_count++] = (struct bailey_header){
            bailey_bytes_of("kind"), {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of(content->kind)}};
    if (content->nature != NATURE_NAMELESS)
        headers[msg.header_count++] = (struct bailey_header){
            bailey_bytes_of("id"), {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of(content->id)}};
    if (content->when[0] != '\0')
        headers[msg.header_count++] = (struct bailey_header){
            bailey_bytes_of("when"), {.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of(content->when)}};
    return content_hash(&msg);
}

uint64_t content_expected_address(const struct content *content, const struct shaping *shaping)
{
    struct bailey_bytes key = content_key(content, shaping), parts[ADDRESSES_MAX];
    char text[ADDRESSES_MAX][48];
    const char *name = key.data != NULL ? (const char *)key.data : "nobody";
    struct bailey_delivery delivery = {.address = parts};

    snprintf(text[0], sizeof text[0], "to.%s", kind_of(content));
    snprintf(text[1], sizeof text[1], "q.%s", name);
    snprintf(text[2], sizeof text[2], "%s.%s", kind_of(content), name);
    for (size_t i = 0; i < ADDRESSES_MAX; i++)
        parts[i] = bailey_bytes_of(text[i]);
    return content_address_hash(&delivery, shaping->addresses);
}
