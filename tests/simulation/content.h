/* content.h: what a simulated message says, and what must come out of it at the sink.
 *
 * Key, headers and body follow from the message's number; the body begins with it. The number of a handout (one giving of
 * the message to a lane) travels beside it, as the message's origin, and is seen by the simulation only.
 */
#ifndef BAILEY_SIM_CONTENT_H
#define BAILEY_SIM_CONTENT_H

#include <bailey/delivery.h>
#include <bailey/message.h>

#include "sim.h"

/* What becomes of it. */
enum nature {
    NATURE_PLAIN,
    NATURE_FLAKY,     /* the broker refuses it at first */
    NATURE_POISON,    /* the broker refuses it for good, until the calm */
    NATURE_UNSAYABLE, /* the sink cannot express it, until the calm */
    NATURE_SHAPELESS, /* it lacks the header that the route's templates name, until they have a default */
    NATURE_NAMELESS,  /* it lacks the header with its id, until the route's `id` has a default */
    NATURES
};

struct content {
    uint32_t number;
    uint8_t nature; /* enum nature */
    bool has_key, has_body;
    uint16_t len;
    char key[16], kind[16], id[16];
    uint8_t *body;
};

/* What the route does to messages. */
enum { ADDRESSES_MAX = 3 };
struct shaping {
    bool sets_key;
    size_t addresses;  /* templates of the sink: 0 .. 3 */
    bool dedups;       /* messages with the same id are one */
    bool has_defaults; /* so that no message lacks what the templates name */
};
extern const char *const shaping_texts[2][ADDRESSES_MAX]; /* by has_defaults */
extern const char *const shaping_key[2];
extern const char *const shaping_id[2];

/* `id`: what its header says, if it is not nameless. */
void content_make(struct content *content, struct dice *dice, uint32_t number, enum nature nature, uint16_t len,
                  uint32_t id);

/* The text of its id on a route that deduplicates. */
const char *content_id(const struct content *content);

/* As a message of `port`'s lane. `pinned`: its views point into a buffer of the connector's. */
struct bailey_message *content_message(const struct content *content, struct bailey_port *port, uint32_t handout,
                                       bool pinned);

/* Which message and handout this is. False: none of ours. */
bool content_number(const struct bailey_message *msg, uint32_t *number, uint32_t *handout);

/* All that a sink puts on the wire. */
uint64_t content_hash(const struct bailey_message *msg);
uint64_t content_address_hash(const struct bailey_delivery *delivery, size_t addresses);

/* The same, as it must be. */
uint64_t content_expected(const struct content *content, const struct shaping *shaping);
uint64_t content_expected_address(const struct content *content, const struct shaping *shaping);

#endif
