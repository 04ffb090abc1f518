/* A queue in an array: what is released leaves a gap at its front, which is closed when it is worth it. */
#include "loop/pins.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_CAP = 16, GAP_MIN = 64 };

void pins_add(struct pins *pins, struct bailey_message *msg, uint64_t end)
{
    assert(pins->count == pins->first || pins->items[pins->count - 1].end <= end);
    if (pins->count == pins->cap) {
        pins->cap = pins->cap > 0 ? pins->cap * 2 : FIRST_CAP;
        pins->items = realloc(pins->items, pins->cap * sizeof *pins->items);
        if (pins->items == NULL)
            abort();
    }
    pins->items[pins->count++] = (struct pin){bailey_message_ref(msg), end};
}

void pins_release(struct pins *pins, uint64_t written)
{
    while (pins->first < pins->count && pins->items[pins->first].end <= written)
        bailey_message_unref(pins->items[pins->first++].msg);
    if (pins->first == pins->count) {
        pins->first = pins->count = 0;
    } else if (pins->first >= GAP_MIN && pins->first * 2 >= pins->count) { /* never empty under load */
        memmove(pins->items, pins->items + pins->first, (pins->count - pins->first) * sizeof *pins->items);
        pins->count -= pins->first;
        pins->first = 0;
    }
}

void pins_free(struct pins *pins)
{
    assert(pins->first == pins->count);
    free(pins->items);
    *pins = (struct pins){0};
}
