/* core/id.h: the id of a message, as deduplication knows it: 128 bits of a keyed hash.
 *
 * SipHash-2-4 with 128 bits of output (libsodium: crypto_shorthash_siphashx24) under a key that no producer knows: nobody can
 * make two ids collide, and a collision would lose a message. By chance two of 10^10 ids collide once in 10^18 times.
 */
#ifndef BAILEY_ID_H
#define BAILEY_ID_H

#include <stdbool.h>
#include <stdint.h>

#include <bailey/message.h>

/* How an id is made from scope and text; kept in the store beside the key. Another way is another version. */
enum { ID_VERSION = 1 };

struct id {
    uint64_t word[2];
};

struct id_key {
    uint8_t bytes[16];
};

/* The key of one scope, from the store's secret: hash of the version, the length of `scope`, and `scope`. */
struct id_key id_scope_key(const struct id_key *secret, const char *scope);

/* The id of `text` in the scope of `key`. */
struct id id_of(const struct id_key *key, struct bailey_bytes text);

static inline bool id_equal(struct id a, struct id b)
{
    return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

/* Which of `shards` owns the id. (Bits that neither tables nor filters look at first.) */
static inline unsigned id_owner(struct id id, unsigned shards)
{
    return (unsigned)((id.word[1] >> 32) * shards >> 32);
}

#endif
