/* newest.c: see newest.h. A table with open addressing, at most three quarters full. */
#include "newest.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum { SLOTS_MIN = 1024 };

struct newest_entry {
    uint64_t hash[2];
    int64_t mark; /* offset + 1; negative for a tombstone; 0: free */
};

static_assert(sizeof(struct newest_entry) == 24, "what newest.h says of memory");

static void hash_of(const struct newest *newest, int32_t partition, struct bailey_bytes key, uint64_t hash[2])
{
    uint8_t digest[EVP_MAX_MD_SIZE];

    if (EVP_DigestInit_ex(newest->sum, NULL, NULL) != 1 ||
        EVP_DigestUpdate(newest->sum, &partition, sizeof partition) != 1 ||
        EVP_DigestUpdate(newest->sum, key.data, key.len) != 1 || EVP_DigestFinal_ex(newest->sum, digest, NULL) != 1)
        abort(); /* no memory */
    memcpy(hash, digest, 2 * sizeof *hash);
}

static bool begin(struct newest *newest)
{
    newest->sum = EVP_MD_CTX_new();
    return newest->sum != NULL && EVP_DigestInit_ex(newest->sum, EVP_sha256(), NULL) == 1;
}

/* Where that hash is, or would be. */
static struct newest_entry *find(struct newest_entry *entries, size_t slots, const uint64_t hash[2])
{
    size_t at = hash[0] & (slots - 1);

    while (entries[at].mark != 0 && (entries[at].hash[0] != hash[0] || entries[at].hash[1] != hash[1]))
        at = (at + 1) & (slots - 1);
    return &entries[at];
}

static bool grow(struct newest *newest)
{
    size_t slots = newest->slots == 0 ? SLOTS_MIN : newest->slots * 2;
    struct newest_entry *entries;

    if (newest->count >= NEWEST_MAX || (entries = calloc(slots, sizeof *entries)) == NULL)
        return false;
    for (size_t i = 0; i < newest->slots; i++)
        if (newest->entries[i].mark != 0)
            *find(entries, slots, newest->entries[i].hash) = newest->entries[i];
    free(newest->entries);
    newest->entries = entries;
    newest->slots = slots;
    return true;
}

bool newest_note(struct newest *newest, int32_t partition, struct bailey_bytes key, int64_t offset, bool removes)
{
    struct newest_entry *entry;
    uint64_t hash[2];

    assert(offset >= 0 && offset < INT64_MAX);
    if (newest->slots == 0 && (!begin(newest) || !grow(newest)))
        return false;
    hash_of(newest, partition, key, hash);
    entry = find(newest->entries, newest->slots, hash);
    if (entry->mark == 0 && newest->count >= newest->slots / 4 * 3) {
        if (!grow(newest))
            return false;
        entry = find(newest->entries, newest->slots, hash);
    }
    if (llabs(entry->mark) > offset)
        return true;
    newest->count += entry->mark == 0;
    newest->live += !removes - (entry->mark > 0);
    *entry = (struct newest_entry){.hash = {hash[0], hash[1]}, .mark = removes ? -(offset + 1) : offset + 1};
    return true;
}

bool newest_is(const struct newest *newest, int32_t partition, struct bailey_bytes key, int64_t offset)
{
    uint64_t hash[2];

    if (newest->slots == 0)
        return false;
    hash_of(newest, partition, key, hash);
    return find(newest->entries, newest->slots, hash)->mark == offset + 1;
}

void newest_clear(struct newest *newest)
{
    EVP_MD_CTX_free(newest->sum);
    free(newest->entries);
    *newest = (struct newest){.entries = NULL};
}
