/* ordered.c: a skip list. Each record is one block: its links, key and value. */
#include "ordered.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS = 16 }; /* a quarter of the records of each level is in the next one: enough for 4^16 */

struct node {
    struct bailey_bytes key, value;
    unsigned levels;
    struct node *next[]; /* then the bytes */
};

struct ordered {
    struct node *first[LEVELS];
    struct node *prepared, **prepared_end; /* linked by next[0] */
    uint64_t chance;
    int64_t bytes;
};

static int compare(struct bailey_bytes a, struct bailey_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

struct ordered *ordered_new(void)
{
    struct ordered *ordered = calloc(1, sizeof *ordered);

    if (ordered == NULL)
        return NULL;
    ordered->prepared_end = &ordered->prepared;
    ordered->chance = (uintptr_t)ordered | 1;
    return ordered;
}

static size_t node_size(const struct node *node)
{
    return sizeof *node + node->levels * sizeof *node->next + node->key.len + node->value.len;
}

static void free_all(struct node *node)
{
    for (struct node *next; node != NULL; node = next) {
        next = node->next[0];
        free(node);
    }
}

void ordered_free(struct ordered *ordered)
{
    if (ordered == NULL)
        return;
    free_all(ordered->first[0]);
    free_all(ordered->prepared);
    free(ordered);
}

static unsigned draw_levels(struct ordered *ordered)
{
    unsigned levels = 1;

    ordered->chance ^= ordered->chance << 13; /* xorshift64 */
    ordered->chance ^= ordered->chance >> 7;
    ordered->chance ^= ordered->chance << 17;
    for (uint64_t bits = ordered->chance; levels < LEVELS && (bits & 3) == 0; bits >>= 2)
        levels++;
    return levels;
}

/* For each level the link that leads to the first record with a key >= `key`. */
static void search(struct ordered *ordered, struct bailey_bytes key, struct node **links[LEVELS])
{
    struct node **next = ordered->first;

    for (int level = LEVELS - 1; level >= 0; level--) {
        while (next[level] != NULL && compare(next[level]->key, key) < 0)
            next = next[level]->next;
        links[level] = &next[level];
    }
}

static const struct node *at_least(const struct ordered *ordered, struct bailey_bytes key)
{
    struct node *const *next = ordered->first;

    for (int level = LEVELS - 1; level >= 0; level--)
        while (next[level] != NULL && compare(next[level]->key, key) < 0)
            next = next[level]->next;
    return next[0];
}

bool ordered_prepare(struct ordered *ordered, struct bailey_bytes key, struct bailey_bytes value)
{
    unsigned levels = draw_levels(ordered);
    struct node *node = malloc(sizeof *node + levels * sizeof *node->next + key.len + value.len);

    if (node == NULL)
        return false;
    uint8_t *bytes = (uint8_t *)&node->next[levels];
    node->levels = levels;
    node->key = (struct bailey_bytes){bytes, key.len};
    node->value = (struct bailey_bytes){bytes + key.len, value.len};
    memcpy(bytes, key.data, key.len);
    if (value.len > 0)
        memcpy(bytes + key.len, value.data, value.len);
    node->next[0] = NULL;
    *ordered->prepared_end = node;
    ordered->prepared_end = &node->next[0];
    return true;
}

void ordered_cancel(struct ordered *ordered)
{
    free_all(ordered->prepared);
    ordered->prepared = NULL;
    ordered->prepared_end = &ordered->prepared;
}

static void remove_found(struct ordered *ordered, struct node **links[LEVELS], struct bailey_bytes key)
{
    struct node *node = *links[0];

    if (node == NULL || compare(node->key, key) != 0)
        return;
    for (unsigned level = 0; level < node->levels; level++)
        *links[level] = node->next[level];
    ordered->bytes -= (int64_t)node_size(node);
    free(node);
}

void ordered_put(struct ordered *ordered)
{
    struct node *node = ordered->prepared, **links[LEVELS];

    assert(node != NULL);
    ordered->prepared = node->next[0];
    if (ordered->prepared == NULL)
        ordered->prepared_end = &ordered->prepared;
    search(ordered, node->key, links);
    remove_found(ordered, links, node->key);
    for (unsigned level = 0; level < node->levels; level++) {
        node->next[level] = *links[level];
        *links[level] = node;
    }
    ordered->bytes += (int64_t)node_size(node);
}

void ordered_erase(struct ordered *ordered, struct bailey_bytes key)
{
    struct node **links[LEVELS];

    search(ordered, key, links);
    remove_found(ordered, links, key);
}

struct bailey_bytes ordered_get(const struct ordered *ordered, struct bailey_bytes key)
{
    const struct node *node = at_least(ordered, key);

    return node != NULL && compare(node->key, key) == 0 ? node->value : BAILEY_NULL_BYTES;
}

size_t ordered_copy(const struct ordered *ordered, struct bailey_bytes from, bool behind, uint8_t *buffer, size_t *size)
{
    const struct node *node = from.data == NULL ? ordered->first[0] : at_least(ordered, from);
    size_t filled = 0, count = 0;

    if (behind && node != NULL && compare(node->key, from) == 0)
        node = node->next[0];
    for (; node != NULL; node = node->next[0], count++) {
        size_t lens[] = {node->key.len, node->value.len}, needed = sizeof lens + lens[0] + lens[1];
        if (needed > *size - filled) {
            *size = needed;
            return count;
        }
        memcpy(buffer + filled, lens, sizeof lens);
        memcpy(buffer + filled + sizeof lens, node->key.data, lens[0]);
        memcpy(buffer + filled + sizeof lens + lens[0], node->value.data, lens[1]);
        filled += needed;
    }
    if (count == 0)
        *size = 0;
    return count;
}

int64_t ordered_bytes(const struct ordered *ordered)
{
    return (int64_t)sizeof *ordered + ordered->bytes;
}
