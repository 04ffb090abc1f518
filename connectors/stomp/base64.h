/* base64.h: RFC 4648, section 4, with padding. Pure functions, any thread. */
#ifndef STOMP_BASE64_H
#define STOMP_BASE64_H

#include <stdbool.h>

#include <bailey/message.h>

/* Characters that `len` bytes become. */
static inline size_t stomp_base64_len(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* Encode `in` to `out`, which has stomp_base64_len(in.len) bytes. */
void stomp_base64_encode(struct bailey_bytes in, char *out);

/* Decode `in` to `out`, which has room for in.len / 4 * 3 bytes. False if it is not exactly what the encoder writes: a
 * length that is no multiple of 4, another alphabet, bits behind the end. */
bool stomp_base64_decode(struct bailey_bytes in, uint8_t *out, size_t *len);

#endif
