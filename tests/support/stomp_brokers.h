/* stomp_brokers.h: what ActiveMQ, Artemis, RabbitMQ and a broker of no name make of a SEND, as models: for tests of the mapping.
 *
 * Read from FrameTranslator.java, StompUtils.java and rabbit_stomp_util.erl. Each keeps headers in a map: the first of a
 * name, in an order that is drawn anew for each message.
 */
#ifndef STOMP_BROKERS_H
#define STOMP_BROKERS_H

#include "connectors/stomp/stomp_map.h"
#include "message/pool.h"

#define WALL_MS INT64_C(1700000000000)

/* How a message goes through a broker. */
struct way {
    enum stomp_dialect dialect;
    enum stomp_escapes escapes;
    int persistent;
    const struct bailey_list *pass;
    bool doubt;
    struct bailey_bytes id; /* of a route with dedup; its scope is `scope` */
    const char *scope;
};

/* Each dialect, with the escapes and the persistence that it can have. */
enum { WAYS = 9 };
extern const struct way ways[WAYS];
const struct way *way_of(enum stomp_dialect dialect);

/* Where the messages below live: fixtures of a group. */
extern struct bailey_pool *stomp_pool;
int stomp_pool_open(void **state);
int stomp_pool_close(void **state);

/* Draws from [0, below); `chance_seed` says what. */
extern uint64_t chance_seed;
uint32_t chance(uint32_t below);

/* The SEND of `msg`, as the sink writes it. Valid until the next call. */
struct bailey_bytes send_frame(struct bailey_message *msg, const struct way *way);

/* The MESSAGE that the broker makes of it. Likewise. */
struct bailey_bytes message_frame(struct bailey_bytes sent, const struct way *way);

/* The envelope of a MESSAGE, with its body, as the source takes it. Nothing of `frame` is needed later. */
struct bailey_message *receive_frame(struct bailey_bytes frame, const struct way *way);

struct bailey_message *there_and_back(struct bailey_message *msg, const struct way *way);

/* A parser that has read the frame; its views point into `frame`. */
struct stomp_parser parse_frame(struct bailey_bytes frame, enum stomp_escapes escapes, struct bailey_bytes *body);

/* The name of what differs in two envelopes, or NULL. */
const char *message_difference(const struct bailey_message *a, const struct bailey_message *b);

static inline struct bailey_bytes text(const char *str)
{
    return str == NULL ? BAILEY_NULL_BYTES : bailey_bytes_of(str);
}

static inline bool is_one_of(struct bailey_bytes name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (bailey_bytes_is(name, *names))
            return true;
    return false;
}

#endif
