/* ordered.h: keys in their order, with values of any size; for ordered and live tables. The caller locks: writers alone, readers side by
 * side. */
#ifndef MEMORY_ORDERED_H
#define MEMORY_ORDERED_H

#include <bailey/store.h>

struct ordered;

struct ordered *ordered_new(void); /* NULL: out of memory */
void ordered_free(struct ordered *ordered);

/* A put in two steps, so that many can be made or none: prepare copies the record (false: out of memory); when all are prepared, each
 * is put, in the same order, or all are cancelled. Erasing needs no memory. */
bool ordered_prepare(struct ordered *ordered, struct bailey_bytes key, struct bailey_bytes value);
void ordered_put(struct ordered *ordered);
void ordered_cancel(struct ordered *ordered);
void ordered_erase(struct ordered *ordered, struct bailey_bytes key);

/* The value of `key`, until the next write; null if there is none. */
struct bailey_bytes ordered_get(const struct ordered *ordered, struct bailey_bytes key);

/* Copy the records from `from` on (behind it, if `behind`) into `buffer`, while they fit into `*size`; one behind the other, each as two
 * lengths (size_t), key and value. Returns their number. If not even the first fits, 0, and `*size` is what it needs; 0 and 0:
 * there is none. */
size_t ordered_copy(const struct ordered *ordered, struct bailey_bytes from, bool behind, uint8_t *buffer,
                    size_t *size);

int64_t ordered_bytes(const struct ordered *ordered);

#endif
