/* crc.c: the processor's instruction where it has one (x86-64 with SSE 4.2, ARMv8 with CRC32), else a table. */
#include "crc.h"

#include <pthread.h>
#include <string.h>

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#elif defined(__x86_64__)
#include <nmmintrin.h>
#endif

static uint32_t table[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        table[i] = crc;
    }
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *at = data;

    pthread_once(&once, fill_table);
    for (crc = ~crc; len > 0; len--)
        crc = crc >> 8 ^ table[(crc ^ *at++) & 255];
    return ~crc;
}

#if defined(__ARM_FEATURE_CRC32)

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *at = data;

    for (crc = ~crc; len >= 8; at += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, at, sizeof word);
        crc = __crc32cd(crc, word);
    }
    for (; len > 0; len--)
        crc = __crc32cb(crc, *at++);
    return ~crc;
}

#elif defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(uint32_t crc, const uint8_t *at, size_t len)
{
    uint64_t wide = ~crc;

    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, at, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    for (; len > 0; len--)
        wide = _mm_crc32_u8((uint32_t)wide, *at++);
    return ~(uint32_t)wide;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse(crc, data, len) : crc32c_table(crc, data, len);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return crc32c_table(crc, data, len);
}

#endif
