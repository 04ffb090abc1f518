/* Bodies are written without printf: at a few hundred thousand messages a second a generator must not be what is measured.
 * The CRC is computed eight bytes at a time by eight tables ("slicing by 8"), about 2 GB/s. */
#include "payload.h"

#include <pthread.h>
#include <string.h>

/* ---- CRC-32 ---- */

enum { SLICES = 8 };
static uint32_t crc_tables[SLICES][256];

static void make_crc_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        crc_tables[0][i] = crc;
    }
    for (int slice = 1; slice < SLICES; slice++)
        for (int i = 0; i < 256; i++) {
            uint32_t before = crc_tables[slice - 1][i];

            crc_tables[slice][i] = before >> 8 ^ crc_tables[0][before & 255];
        }
}

uint32_t payload_crc32(const void *data, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const uint8_t *p = data;
    uint32_t crc = 0xFFFFFFFFu;

    pthread_once(&once, make_crc_tables);
    for (; len >= SLICES; p += SLICES, len -= SLICES) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);

        crc = crc_tables[7][low & 255] ^ crc_tables[6][low >> 8 & 255] ^ crc_tables[5][low >> 16 & 255] ^
              crc_tables[4][low >> 24] ^ crc_tables[3][p[4]] ^ crc_tables[2][p[5]] ^ crc_tables[1][p[6]] ^
              crc_tables[0][p[7]];
    }
    for (; len > 0; p++, len--)
        crc = crc >> 8 ^ crc_tables[0][(crc ^ *p) & 255];
    return ~crc;
}

/* ---- The text ---- */

/* splitmix64 (Vigna, 2015) */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

void payload_init(struct payload *payload, uint64_t seed, uint64_t keys, size_t size)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t state = seed;

    payload->seed = seed;
    payload->keys = keys;
    payload->size = size;
    for (size_t i = 0; i < sizeof payload->filler; i++)
        payload->filler[i] = alphabet[next_random(&state) & 63];
}

size_t payload_put_number(char *to, uint64_t value)
{
    char digits[20];
    size_t len = 0;

    do
        digits[len++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    for (size_t i = 0; i < len; i++)
        to[i] = digits[len - 1 - i];
    return len;
}

size_t payload_key(const struct payload *payload, uint64_t number, char key[static PAYLOAD_KEY_MAX])
{
    if (payload->keys == 0)
        return 0;
    memcpy(key, "key-", 4);
    return 4 + payload_put_number(key + 4, number % payload->keys);
}

static size_t put_first_line(const struct payload *payload, uint64_t number, char *to)
{
    static const char word[] = "bailey 1 ";
    char *at = to;
    size_t key_len;

    memcpy(at, word, sizeof word - 1);
    at += sizeof word - 1;
    at += payload_put_number(at, payload->seed);
    *at++ = ' ';
    at += payload_put_number(at, number);
    *at++ = ' ';
    key_len = payload_key(payload, number, at);
    if (key_len == 0)
        at[key_len++] = '-';
    at += key_len;
    *at++ = ' ';
    at += payload_put_number(at, payload->keys > 0 ? number / payload->keys : number);
    *at++ = ' ';
    at += payload_put_number(at, payload->size);
    *at++ = '\n';
    return (size_t)(at - to);
}

void payload_write(const struct payload *payload, uint64_t number, char *body)
{
    static const char hex[] = "0123456789abcdef";
    size_t end = payload->size - 8, len = put_first_line(payload, number, body);
    size_t from = (size_t)(number * 37 % PAYLOAD_FILLER);
    uint32_t crc;

    while (len < end) {
        size_t part = PAYLOAD_FILLER - from < end - len ? PAYLOAD_FILLER - from : end - len;

        memcpy(body + len, payload->filler + from, part);
        len += part;
        from = 0;
    }
    crc = payload_crc32(body, end);
    for (int i = 0; i < 8; i++)
        body[end + i] = hex[crc >> (28 - 4 * i) & 15];
}
