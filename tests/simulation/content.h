/* content.h: what a simulated message says, and what must come out of it at the sink.
 *
 * Key, headers and body follow from the message's number; the body begins with it. The number of a handout (one giving of
 * the message to a lane) travels beside it, as a timestamp that means nothing, and is seen by the simulation only.
 */
#ifndef BAILEY_SIM_CONTENT_H
#define BAILEY_SIM_CONTENT_H

#include <bailey/delivery.h>
#include <bailey/message.h>

#include "sim.h"

/* What becomes of it. */
enum nature {
    NATURE_PLAIN,
    NATURE_FLAKY,      /* the broker refuses it at first */
    NATURE_POISON,     /* the broker refuses it for good, until the calm */
    NATURE_STUBBORN,   /* the broker refuses it for a reason that may pass, until the calm */
    NATURE_UNROUTABLE, /* nobody at the broker takes it, until the calm */
    NATURE_UNSAYABLE,  /* the sink cannot express it, until the calm */
    NATURE_EXPIRING,   /* its time ends, soon or long ago */
    NATURE_LOOPING,    /* it has passed too many gateways */
    NATURE_TIMELESS,   /* when it is to be delivered cannot be read */
    NATURE_SHAPELESS,  /* it lacks the header that the route's templates name, until they have a default */
    NATURE_NAMELESS,   /* it lacks the header with its id, until the route's `id` has a default */
    NATURES
};

struct content {
    uint32_t number;
    uint8_t nature; /* enum nature */
    bool has_key, has_body;
    uint16_t len;
    char key[16], kind[16], id[16];
    char when[24];  /* what its header says of its time; "": it has none */
    int64_t due_ms; /* what that means: a delay, or a moment of the wall clock; 0: it may go at once */
    uint8_t *body;
    int64_t expires_at_ms; /* wall clock; 0: never */
    uint8_t hops;          /* gateways passed */
    const char *topic;     /* where the source's broker has it; NULL: in a queue */
    int32_t partition;     /* -1: in a queue */
    int64_t offset;
};

/* What the route does to messages. */
enum { ADDRESSES_MAX = 3, HOPS_MAX = 8 };
enum delays { DELAYS_NOTHING, DELAYS_BY, DELAYS_UNTIL };
struct shaping {
    bool sets_key;
    size_t addresses;  /* templates of the sink: 0 .. 3 */
    bool names_dead;   /* the sink of the dead letters has a template */
    bool dedups;       /* messages with the same id are one */
    bool has_defaults; /* so that no message lacks what the templates name */
    enum bailey_order order;
    unsigned hops_max;  /* 0: no limit */
    enum delays delays; /* `delay`, or `deliver_at` */
    bool parks;         /* what is refused waits in the store */
};
extern const char *const shaping_texts[2][ADDRESSES_MAX]; /* by has_defaults */
extern const char *const shaping_key[2];
extern const char *const shaping_id[2];
extern const char *const shaping_when[DELAYS_UNTIL + 1];
extern const char shaping_dead[];

/* What the clocks of all machines lack, at first, to the run's time. */
#define WALL_MS INT64_C(1700000000000)

/* `id`: what its header says, if it is not nameless. */
void content_make(struct content *content, struct dice *dice, uint32_t number, enum nature nature, uint16_t len,
                  uint32_t id);

/* Give it a time, which the route is to keep. */
void content_set_time(struct content *content, struct dice *dice, enum delays delays, int64_t wall_ms);

/* Does a store keep messages of the route until their time? */
static inline bool shaping_keeps(const struct shaping *shaping)
{
    return shaping->delays != DELAYS_NOTHING || shaping->parks;
}

/* Its key on the route, once that can be made. */
struct bailey_bytes content_key(const struct content *content, const struct shaping *shaping);
/* It has passed too many gateways. */
bool content_loops(const struct content *content, const struct shaping *shaping);

/* The text of its id on a route that deduplicates. */
const char *content_id(const struct content *content);

/* As a message of `port`'s lane. `pinned`: its views point into a buffer of the connector's. */
struct bailey_message *content_message(const struct content *content, struct bailey_port *port, uint32_t handout,
                                       bool pinned);

/* Which message and handout this is. False: none of ours. */
bool content_number(const struct bailey_message *msg, uint32_t *number, uint32_t *handout);

/* Is `msg` that message but for headers of dead letters behind its own, and its key? */
bool content_is_in(const struct content *content, const struct shaping *shaping, const struct bailey_message *msg);

/* All that a sink puts on the wire. */
uint64_t content_hash(const struct bailey_message *msg);
uint64_t content_address_hash(const struct bailey_delivery *delivery, size_t addresses);

/* The same, as it must be. */
uint64_t content_expected(const struct content *content, const struct shaping *shaping);
uint64_t content_expected_address(const struct content *content, const struct shaping *shaping);

#endif
