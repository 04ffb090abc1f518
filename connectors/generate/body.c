/* Bodies that anybody can verify: a first line of name=value, deterministic filler, CRC-32 in hex at the end. */
#include "body.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crc32.h"

enum { LINE_MAX_LEN = 192, CRC_LEN = 8 };

/* Messages are dealt to lanes by keys; without keys, by numbers. */
static uint64_t period(const struct generate_plan *plan)
{
    return plan->keys > 0 ? plan->keys : plan->lanes;
}

/* How many of 0 .. n-1 belong to the lane. */
static uint64_t own_below(const struct generate_plan *plan, uint64_t n)
{
    return n > plan->lane ? (n - plan->lane - 1) / plan->lanes + 1 : 0;
}

uint64_t generate_lane_total(const struct generate_plan *plan)
{
    uint64_t per = period(plan), own = own_below(plan, per);

    if (own == 0)
        return 0;
    if (plan->count == 0)
        return UINT64_MAX;
    return plan->count / per * own + own_below(plan, plan->count % per);
}

struct generate_number generate_number(const struct generate_plan *plan, uint64_t ordinal)
{
    uint64_t per = period(plan), own = own_below(plan, per);
    uint64_t key = plan->lane + ordinal % own * plan->lanes;

    return (struct generate_number){
        .sequence = ordinal / own * per + key,
        .key = key,
        .key_sequence = ordinal / own,
    };
}

size_t generate_key(char out[GENERATE_KEY_MAX], uint64_t key)
{
    char text[GENERATE_KEY_MAX + 1];
    int len = snprintf(text, sizeof text, "key-%" PRIu64, key);

    memcpy(out, text, (size_t)len);
    return (size_t)len;
}

static size_t first_line(char line[static LINE_MAX_LEN], const struct generate_plan *plan,
                         const struct generate_number *number, size_t len)
{
    int written;

    if (plan->keys > 0)
        written = snprintf(line, LINE_MAX_LEN,
                           "bailey seed=%" PRIu64 " sequence=%" PRIu64 " key=key-%" PRIu64 " key_sequence=%" PRIu64
                           " length=%zu\n",
                           plan->seed, number->sequence, number->key, number->key_sequence, len);
    else
        written = snprintf(line, LINE_MAX_LEN, "bailey seed=%" PRIu64 " sequence=%" PRIu64 " key= length=%zu\n",
                           plan->seed, number->sequence, len);
    return (size_t)written;
}

size_t generate_body_len(const struct generate_plan *plan, const struct generate_number *number)
{
    char line[LINE_MAX_LEN];
    size_t len = plan->size, needed;

    if (len >= LINE_MAX_LEN + CRC_LEN)
        return len;
    /* A longer length may have one more digit, which makes it longer: it settles after a few rounds. */
    while ((needed = first_line(line, plan, number, len) + CRC_LEN) > len)
        len = needed;
    return len;
}

/* Filler: splitmix64 of seed, number and place, eight characters of '0' .. 'o' a step. */
static void fill(uint8_t *out, size_t len, uint64_t state)
{
    while (len > 0) {
        uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
        size_t part = len < 8 ? len : 8;

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        z = htole64(((z ^ (z >> 31)) & UINT64_C(0x3f3f3f3f3f3f3f3f)) + UINT64_C(0x3030303030303030));
        memcpy(out, &z, part);
        out += part;
        len -= part;
    }
}

void generate_body(const struct generate_plan *plan, const struct generate_number *number, uint8_t *out, size_t len)
{
    char line[LINE_MAX_LEN], crc[CRC_LEN + 1];
    size_t line_len = first_line(line, plan, number, len);

    memcpy(out, line, line_len);
    fill(out + line_len, len - line_len - CRC_LEN, plan->seed ^ number->sequence * UINT64_C(0xd1342543de82ef95));
    snprintf(crc, sizeof crc, "%08" PRIx32, generate_crc32(out, len - CRC_LEN));
    memcpy(out + len - CRC_LEN, crc, CRC_LEN);
}
