/* lost.h: ids of messages that were unsettled when a connection was lost, for brokers that give them again without saying so.
 *
 * A set of numbers that forgets: an id is taken out when it is asked for and there, and the older half goes when it grows beyond
 * its bound. Pure, one thread. Zeroed = empty.
 */
#ifndef STOMP_LOST_H
#define STOMP_LOST_H

#include <bailey/message.h>

enum { STOMP_LOST_MAX = 1 << 16 }; /* of each half: the largest prefetch */

struct stomp_lost_half {
    uint64_t *slots; /* open addressing; 0: free, 1: taken out */
    size_t cap, used;
};

struct stomp_lost {
    struct stomp_lost_half young, old;
};

void stomp_lost_free(struct stomp_lost *lost);

/* The number in an id of Artemis', "consumer,message": the same in each delivery of the message; 0 if it is not of that form. */
uint64_t stomp_lost_number(struct bailey_bytes id);

void stomp_lost_add(struct stomp_lost *lost, uint64_t number);

/* Was it there? */
bool stomp_lost_take(struct stomp_lost *lost, uint64_t number);

#endif
