/* ackid.h: by which id a message is acknowledged: one that its producer cannot have written.
 *
 * Brokers hand a producer's headers on, also those that are named like theirs: ack, message-id, subscription. Who believes
 * these acknowledges what the producer wants. What is the broker's is known by its place, or by what only the broker can know
 * (enum stomp_ack_form in dialect.h). Pure, one thread.
 */
#ifndef STOMP_ACKID_H
#define STOMP_ACKID_H

#include "dialect.h"

enum { STOMP_SESSION_MAX = 64, STOMP_ACK_PREFIX_MAX = 256 };

struct stomp_ackid {
    enum stomp_ack_form form;
    const char *header; /* STOMP_ACK_BY_NAME: which */

    /* STOMP_ACK_BY_SESSION: how each id begins, and the number of the last one, if any was seen. */
    char prefix[STOMP_ACK_PREFIX_MAX];
    size_t prefix_len;
    bool is_anchored;
    uint64_t last;
    char made[STOMP_ACK_PREFIX_MAX + 24];
};

/* A connection's life begins. `version` as agreed; `session` of CONNECTED, or ""; `subscription` as in SUBSCRIBE. */
void stomp_ackid_begin(struct stomp_ackid *ids, enum stomp_dialect dialect, int version, const char *session,
                       const char *subscription);

enum stomp_ackid_verdict {
    STOMP_ACKID_GENUINE,
    STOMP_ACKID_MADE,        /* the producer's stand where the broker's should: it is the one behind the last */
    STOMP_ACKID_UNKNOWN,     /* likewise, and it cannot be told: leave the message unacknowledged */
    STOMP_ACKID_MISSING,     /* there is none at all */
    STOMP_ACKID_OUT_OF_STEP, /* the broker's, and not the next one: frames are not read as the broker wrote them */
};

/* The id of the next MESSAGE that came: each must be shown, also one that is not wanted. `*id` is valid until the next call, or
 * as long as the frame. */
enum stomp_ackid_verdict stomp_ackid_next(struct stomp_ackid *ids, const struct stomp_parser *frame,
                                          struct bailey_bytes *id);

#endif
