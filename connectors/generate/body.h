/* body.h: which message is which: numbers, keys and bodies of a run. Pure functions of the settings.
 *
 * All lanes together make the sequence 0, 1, 2 ...; message n has the key number n % keys, and is the (n / keys)th of its
 * key. A key belongs to one lane (key number % lanes), so that its order does not depend on how lanes race. Each lane
 * counts its own messages by ordinals 0, 1, 2 ... without gaps.
 */
#ifndef GENERATE_BODY_H
#define GENERATE_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct generate_plan {
    uint64_t seed;
    uint64_t count; /* of the whole route; 0 = endless */
    uint64_t keys;  /* 0 = null keys */
    uint64_t size;  /* bytes of a body */
    unsigned lane, lanes;
};

struct generate_number {
    uint64_t sequence;
    uint64_t key; /* meaningless if plan.keys is 0, as is the next */
    uint64_t key_sequence;
};

/* How many messages the lane makes in all; UINT64_MAX = endless; 0 if it gets none (more lanes than keys). */
uint64_t generate_lane_total(const struct generate_plan *plan);

/* The lane's message `ordinal`. */
struct generate_number generate_number(const struct generate_plan *plan, uint64_t ordinal);

/* "key-17", at most GENERATE_KEY_MAX bytes, not terminated; returns its length. */
enum { GENERATE_KEY_MAX = 24 };
size_t generate_key(char out[GENERATE_KEY_MAX], uint64_t key);

/* Bytes of the body of this message: plan.size, or as many as its first line and checksum need. */
size_t generate_body_len(const struct generate_plan *plan, const struct generate_number *number);

/* Write the body, `len` bytes as generate_body_len() gave; layout: README.md. */
void generate_body(const struct generate_plan *plan, const struct generate_number *number, uint8_t *out, size_t len);

#endif
