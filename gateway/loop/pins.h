/* loop/pins.h: messages that a transport keeps alive, because its output refers to their bytes. */
#ifndef BAILEY_PINS_H
#define BAILEY_PINS_H

#include <bailey/message.h>

struct pin {
    struct bailey_message *msg;
    uint64_t end; /* offset in the output behind its last byte */
};

/* Oldest first; zeroed = empty. */
struct pins {
    struct pin *items; /* [first, count) */
    size_t first, count, cap;
};

/* Hold a reference to `msg` until pins_release() is told of `end`, which never falls. */
void pins_add(struct pins *pins, struct bailey_message *msg, uint64_t end);

/* All bytes before `written` have left. UINT64_MAX: none will be read any more. */
void pins_release(struct pins *pins, uint64_t written);

/* After the last release. */
void pins_free(struct pins *pins);

#endif
