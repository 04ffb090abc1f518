#include "core/id.h"

#include <assert.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <string.h>

static_assert(sizeof(struct id) == crypto_shorthash_siphashx24_BYTES, "an id is what the hash gives");
static_assert(sizeof(struct id_key) == crypto_shorthash_siphashx24_KEYBYTES, "a key is what the hash takes");

struct id id_of(const struct id_key *key, struct bailey_bytes text)
{
    struct id id;

    crypto_shorthash_siphashx24((uint8_t *)&id, text.data, text.len, key->bytes);
    return id;
}

struct id_key id_scope_key(const struct id_key *secret, const char *scope)
{
    uint8_t text[2 + 256] = {ID_VERSION};
    size_t len = strlen(scope);
    struct id_key key;

    if (len > sizeof text - 2)
        len = sizeof text - 2; /* names are checked: at most 100 characters */
    text[1] = (uint8_t)len;
    memcpy(text + 2, scope, len);
    struct id id = id_of(secret, (struct bailey_bytes){text, len + 2});
    memcpy(key.bytes, &id, sizeof key.bytes);
    return key;
}
