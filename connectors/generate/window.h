/* window.h: which numbers are settled, and below which all are.
 *
 * One bit for each number from the lowest unsettled one on. A message that is refused for long lets it grow up to
 * WINDOW_MAX; then the generator waits, so that its memory stays flat. One thread.
 */
#ifndef GENERATE_WINDOW_H
#define GENERATE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WINDOW_MAX = 1 << 20 }; /* numbers: 128 KiB */

struct window {
    uint64_t low;   /* all below are settled */
    uint64_t *bits; /* a ring of `cap` bits, a power of two */
    size_t cap;
};

void window_init(struct window *window, uint64_t low);
void window_fini(struct window *window);

/* May `number` be given out? */
static inline bool window_has_room(const struct window *window, uint64_t number)
{
    return number - window->low < WINDOW_MAX;
}

/* `number` is settled. What is settled already is ignored. */
void window_settle(struct window *window, uint64_t number);

#endif
