/* payload.h: what a generated message holds: a text that says which message it is, and proves that it came whole.
 *
 *     bailey 1 SEED NUMBER KEY KEY-NUMBER SIZE\n   KEY is "-" where there is none, KEY-NUMBER counts the messages of a key
 *     filler                                       printable, without spaces or line feeds, made of seed and number
 *     CRC-32                                       of all that stands before it (that of zlib, IEEE 802.3): 8 hex digits
 *
 * README.md shows how to check it. Message NUMBER has key NUMBER % keys; nothing else decides what it holds, so that a
 * number made again is equal byte by byte. One thread an object.
 */
#ifndef GENERATE_PAYLOAD_H
#define GENERATE_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

enum {
    PAYLOAD_MIN = 128, /* bytes: the longest first line and the CRC fit */
    PAYLOAD_KEY_MAX = 32,
    PAYLOAD_FILLER = 4096,
};

struct payload {
    uint64_t seed, keys; /* keys: 0 = none */
    size_t size;
    char filler[PAYLOAD_FILLER];
};

/* `size` is at least PAYLOAD_MIN. */
void payload_init(struct payload *payload, uint64_t seed, uint64_t keys, size_t size);

/* Write the key of message `number`, "key-N", and return its length; 0 where there are no keys. */
size_t payload_key(const struct payload *payload, uint64_t number, char key[static PAYLOAD_KEY_MAX]);

/* Write the body of message `number`: payload->size bytes. */
void payload_write(const struct payload *payload, uint64_t number, char *body);

/* Write `value` in decimal; returns its length, at most 20. */
size_t payload_put_number(char *to, uint64_t value);

/* CRC-32 as in zlib and IEEE 802.3 (reflected, polynomial 0xEDB88320). Any thread. */
uint32_t payload_crc32(const void *data, size_t len);

#endif
