/* octets.h: questions about eight octets at once. Most headers are plain ASCII: they are asked first, and who gets "no" looks at
 * each octet. Independent of byte order.
 */
#ifndef STOMP_OCTETS_H
#define STOMP_OCTETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define STOMP_EACH(octet) (UINT64_C(0x0101010101010101) * (octet))

static inline uint64_t stomp_load(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

/* Four to seven octets: some of them twice. */
static inline uint64_t stomp_load_short(const uint8_t *at, size_t len)
{
    uint32_t first, last;

    memcpy(&first, at, sizeof first);
    memcpy(&last, at + len - sizeof last, sizeof last);
    return (uint64_t)first << 32 | last;
}

/* In each octet, its highest bit: set if one of them is below `limit` (at most 128); right only about whether any is. */
static inline uint64_t stomp_any_below(uint64_t word, uint8_t limit)
{
    return (word - STOMP_EACH((uint64_t)limit)) & ~word & STOMP_EACH(0x80);
}

/* True: no octet is a colon, a backslash or a control character that STOMP escapes. False: one may be. */
static inline bool stomp_needs_no_escape(uint64_t word)
{
    return (stomp_any_below(word, '\r' + 1) | stomp_any_below(word ^ STOMP_EACH(':'), 1) |
            stomp_any_below(word ^ STOMP_EACH('\\'), 1)) == 0;
}

/* True: all octets are printable ASCII. */
static inline bool stomp_is_printable(uint64_t word)
{
    return (stomp_any_below(word, ' ') | stomp_any_below(word ^ STOMP_EACH(0x7f), 1) | (word & STOMP_EACH(0x80))) == 0;
}

#endif
