/* memory.c: malloc with an owner: each block is on the list of whoever ran when it was allocated. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

struct memory_block {
    struct memory_block *next, **prev;
    struct memory *owner;
    size_t size; /* without this head: 32 bytes, so that what follows is aligned as malloc's */
};

static_assert(sizeof(struct memory_block) % 16 == 0, "malloc's alignment");

static struct memory world;
static struct memory *current = &world;

void *__real_malloc(size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);
void __wrap_free(void *data);
int __wrap_asprintf(char **text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void link_in(struct memory_block *block, struct memory *owner, size_t size)
{
    block->owner = owner;
    block->size = size;
    block->next = owner->first;
    block->prev = &owner->first;
    if (block->next != NULL)
        block->next->prev = &block->next;
    owner->first = block;
    owner->blocks++;
    owner->bytes += size;
}

static void take_out(struct memory_block *block)
{
    *block->prev = block->next;
    if (block->next != NULL)
        block->next->prev = block->prev;
    block->owner->blocks--;
    block->owner->bytes -= block->size;
}

static void *take(struct memory *owner, size_t size)
{
    struct memory_block *block = __real_malloc(sizeof *block + size);

    if (block == NULL)
        abort();
    link_in(block, owner, size);
    return block + 1;
}

static struct memory_block *block_of(void *data)
{
    return (struct memory_block *)data - 1;
}

void *__wrap_malloc(size_t size)
{
    return take(current, size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memset(take(current, count * size), 0, count * size);
}

void __wrap_free(void *data)
{
    if (data == NULL)
        return;
    take_out(block_of(data));
    __real_free(block_of(data));
}

static void *resize(struct memory *owner, void *data, size_t size)
{
    struct memory_block *block;

    if (data == NULL)
        return take(owner, size);
    block = block_of(data);
    owner = block->owner;
    take_out(block);
    block = __real_realloc(block, sizeof *block + size);
    if (block == NULL)
        abort();
    link_in(block, owner, size);
    return block + 1;
}

void *__wrap_realloc(void *data, size_t size)
{
    return resize(current, data, size);
}

/* The C library's own would not give a block of ours. */
int __wrap_asprintf(char **text, const char *fmt, ...)
{
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    *text = take(current, (size_t)len + 1);
    va_start(args, fmt);
    vsnprintf(*text, (size_t)len + 1, fmt, args);
    va_end(args);
    return len;
}

struct memory *memory_of(struct memory *owner)
{
    struct memory *was = current;

    current = owner != NULL ? owner : &world;
    return was;
}

void *world_alloc(size_t count, size_t size)
{
    return memset(take(&world, count * size), 0, count * size);
}

void *world_grow(void *array, size_t count, size_t size)
{
    return resize(&world, array, count * size);
}

const struct memory *memory_world(void)
{
    return &world;
}

void memory_drop(struct memory *owner)
{
    if (owner == NULL)
        owner = &world;
    while (owner->first != NULL)
        __wrap_free(owner->first + 1);
}
