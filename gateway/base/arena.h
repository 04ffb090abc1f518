/* base/arena.h: memory that is freed as a whole (a loaded configuration).
 *
 * One thread at a time. Allocation returns NULL when memory is exhausted: configuration loading survives that.
 * All memory comes from malloc, so that tests can make each allocation fail.
 */
#ifndef BAILEY_ARENA_H
#define BAILEY_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(void); /* NULL: out of memory */
void arena_free(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t len); /* zeroed, aligned to 16 bytes */
char *arena_strdup(struct arena *arena, const char *str);
char *arena_strndup(struct arena *arena, const char *str, size_t len);

#endif
