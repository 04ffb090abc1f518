/* bytes.h: integers in files are little-endian. */
#ifndef SLICES_BYTES_H
#define SLICES_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void put_u16(uint8_t *to, uint16_t value)
{
    value = htole16(value);
    memcpy(to, &value, sizeof value);
}
static inline void put_u32(uint8_t *to, uint32_t value)
{
    value = htole32(value);
    memcpy(to, &value, sizeof value);
}
static inline void put_u64(uint8_t *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}
static inline uint16_t get_u16(const uint8_t *from)
{
    uint16_t value;

    memcpy(&value, from, sizeof value);
    return le16toh(value);
}
static inline uint32_t get_u32(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof value);
    return le32toh(value);
}
static inline uint64_t get_u64(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

/* The first 8 bytes of a key as a number that orders as they do; a shorter key is filled with zeros. */
static inline uint64_t prefix_of(const uint8_t *key, uint32_t key_size)
{
    uint64_t prefix = 0;

    memcpy(&prefix, key, key_size < sizeof prefix ? key_size : sizeof prefix);
    return be64toh(prefix);
}

#endif
