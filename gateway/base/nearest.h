/* base/nearest.h: what somebody may have meant who wrote an unknown name. */
#ifndef BAILEY_NEAREST_H
#define BAILEY_NEAREST_H

#include <stddef.h>

/* The name nearest to `given` by edit distance (insert, remove, replace, swap of neighbours; case counts little),
 * or NULL if none is near enough to be meant. `names` ends after `count`. */
const char *nearest_name(const char *given, const char *const names[], size_t count);

#endif
