/* Four characters for three bytes. Decoding is strict: one text for each value, so that nothing can hide in it. */
#include "base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void stomp_base64_encode(struct bailey_bytes in, char *out)
{
    size_t i = 0;

    for (; i + 3 <= in.len; i += 3) {
        uint32_t group = (uint32_t)in.data[i] << 16 | (uint32_t)in.data[i + 1] << 8 | in.data[i + 2];

        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = alphabet[group >> 6 & 63];
        *out++ = alphabet[group & 63];
    }
    if (i < in.len) {
        bool two = i + 1 < in.len;
        uint32_t group = (uint32_t)in.data[i] << 16 | (two ? (uint32_t)in.data[i + 1] << 8 : 0);

        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = two ? alphabet[group >> 6 & 63] : '=';
        *out++ = '=';
    }
}

static int sextet(uint8_t octet)
{
    if (octet >= 'A' && octet <= 'Z')
        return octet - 'A';
    if (octet >= 'a' && octet <= 'z')
        return octet - 'a' + 26;
    if (octet >= '0' && octet <= '9')
        return octet - '0' + 52;
    return octet == '+' ? 62 : octet == '/' ? 63 : -1;
}

bool stomp_base64_decode(struct bailey_bytes in, uint8_t *out, size_t *len)
{
    size_t padding = 0;

    *len = 0;
    if (in.len == 0 || in.len % 4 != 0)
        return in.len == 0;
    while (padding < 2 && in.data[in.len - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < in.len; i += 4) {
        size_t pad = i + 4 == in.len ? padding : 0;
        uint32_t group = 0;

        for (size_t j = 0; j < 4; j++) {
            int bits = j + pad < 4 ? sextet(in.data[i + j]) : 0;

            if (bits < 0)
                return false;
            group = group << 6 | (uint32_t)bits;
        }
        if ((pad == 1 && group & 0xff) || (pad == 2 && group & 0xffff))
            return false;
        for (size_t j = 0; j + pad < 3; j++)
            out[(*len)++] = (uint8_t)(group >> (16 - 8 * j));
    }
    return true;
}
