/* base/big_endian.h: numbers as bytes, the highest first: the same on every machine, and unsigned ones sort as they count. Any thread. */
#ifndef BAILEY_BIG_ENDIAN_H
#define BAILEY_BIG_ENDIAN_H

#include <assert.h>
#include <endian.h>
#include <stdint.h>
#include <string.h>

/* The lowest `bytes` (1..8) of the number. */
static inline void big_endian_put(uint8_t *out, uint64_t value, size_t bytes)
{
    assert(bytes >= 1 && bytes <= 8);
    uint64_t big = htobe64(value << (64 - 8 * bytes));

    memcpy(out, &big, bytes);
}

static inline uint64_t big_endian_get(const uint8_t *in, size_t bytes)
{
    uint64_t big = 0;

    assert(bytes >= 1 && bytes <= 8);
    memcpy(&big, in, bytes);
    return be64toh(big) >> (64 - 8 * bytes);
}

/* With the highest bit turned: these sort, too. */
static inline void big_endian_put_signed(uint8_t out[static 8], int64_t value)
{
    big_endian_put(out, (uint64_t)value ^ UINT64_C(1) << 63, 8);
}

static inline int64_t big_endian_get_signed(const uint8_t in[static 8])
{
    return (int64_t)(big_endian_get(in, 8) ^ UINT64_C(1) << 63);
}

#endif
