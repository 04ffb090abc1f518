/* Ids for Artemis. Two ids never become one: a producer who could arrange that would have others' messages dropped. Hence the
 * hash of a long one, and of one that looks like such a hash. */
#include "duplicate.h"

#include <assert.h>

#include <openssl/sha.h>

#define HASHED "sha256:"
enum { HASHED_LEN = sizeof HASHED - 1, SCOPE_MAX = 128 };

static_assert(SCOPE_MAX + 1 + HASHED_LEN + 2 * SHA256_DIGEST_LENGTH <= STOMP_DUPLICATE_ID_MAX, "a hash always fits");

static bool is_plain(struct bailey_bytes id)
{
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] < ' ' || id.data[i] == 0x7f)
            return false;
    return bailey_utf8_valid(id);
}

static bool looks_hashed(struct bailey_bytes id)
{
    return id.len >= HASHED_LEN && memcmp(id.data, HASHED, HASHED_LEN) == 0;
}

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
    memcpy(at, data, len);
    return at + len;
}

static uint8_t *put_hash(uint8_t *at, struct bailey_bytes id)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[SHA256_DIGEST_LENGTH];

    SHA256(id.data, id.len, hash);
    at = put(at, HASHED, HASHED_LEN);
    for (size_t i = 0; i < sizeof hash; i++) {
        *at++ = (uint8_t)digits[hash[i] >> 4];
        *at++ = (uint8_t)digits[hash[i] & 15];
    }
    return at;
}

struct bailey_bytes stomp_duplicate_id(uint8_t text[static STOMP_DUPLICATE_ID_MAX], const char *scope,
                                       struct bailey_bytes id)
{
    size_t scope_len = strlen(scope);
    uint8_t *at;

    assert(scope_len <= SCOPE_MAX);
    at = put(text, scope, scope_len);
    *at++ = '/';
    if (scope_len + 1 + id.len <= STOMP_DUPLICATE_ID_MAX && is_plain(id) && !looks_hashed(id))
        at = put(at, id.data, id.len);
    else
        at = put_hash(at, id);
    return (struct bailey_bytes){text, (size_t)(at - text)};
}
