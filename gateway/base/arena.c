/* base/arena.c: chunks from calloc, handed out piece by piece and freed together.
 *
 * Chunks are small, so that a failing allocator (tests) finds many places to fail. What is larger than a quarter of a
 * chunk gets a chunk of its own, put behind the current one, whose rest stays in use.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_SIZE = 8192, ALIGNMENT = 16 };

struct chunk {
    struct chunk *next;
    size_t used, size; /* bytes of data */
    alignas(ALIGNMENT) unsigned char data[];
};

struct arena {
    struct chunk *current; /* the others hang behind it */
};

struct arena *arena_new(void)
{
    return calloc(1, sizeof(struct arena));
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    for (struct chunk *chunk = arena->current, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(arena);
}

static struct chunk *chunk_new(size_t size)
{
    struct chunk *chunk = calloc(1, sizeof *chunk + size);

    if (chunk != NULL)
        chunk->size = size;
    return chunk;
}

static void *alloc_large(struct arena *arena, size_t len)
{
    struct chunk *chunk = chunk_new(len);

    if (chunk == NULL)
        return NULL;
    chunk->used = len;
    if (arena->current == NULL) {
        arena->current = chunk;
    } else {
        chunk->next = arena->current->next;
        arena->current->next = chunk;
    }
    return chunk->data;
}

void *arena_alloc(struct arena *arena, size_t len)
{
    if (len > SIZE_MAX / 2)
        return NULL;
    len = len == 0 ? ALIGNMENT : (len + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (len > CHUNK_SIZE / 4)
        return alloc_large(arena, len);

    struct chunk *chunk = arena->current;
    if (chunk == NULL || chunk->size - chunk->used < len) {
        chunk = chunk_new(CHUNK_SIZE);
        if (chunk == NULL)
            return NULL;
        chunk->next = arena->current;
        arena->current = chunk;
    }
    void *data = chunk->data + chunk->used;
    chunk->used += len;
    return data;
}

char *arena_strdup(struct arena *arena, const char *str)
{
    return arena_strndup(arena, str, strlen(str));
}

char *arena_strndup(struct arena *arena, const char *str, size_t len)
{
    char *copy = len < SIZE_MAX / 2 ? arena_alloc(arena, len + 1) : NULL;

    if (copy != NULL && len > 0)
        memcpy(copy, str, len);
    return copy;
}
