/* send.h: one message as a SEND frame with a receipt, in the output of a connection. */
#ifndef STOMP_SEND_H
#define STOMP_SEND_H

#include "connection.h"
#include "stomp_map.h"

struct stomp_send {
    struct bailey_bytes destination;
    uint64_t receipt;
    const struct bailey_map *headers; /* further ones, of the configuration */
    struct stomp_map_options map;
    int64_t wall_ms;
    int64_t deliver_at_ms; /* if it is later: the broker holds it until then */
    struct bailey_marks marks;
};

/* False with `err`: it cannot be expressed, and nothing was sent. A long body is referred to, and its message pinned. */
bool stomp_send(struct stomp_connection *conn, struct bailey_message *msg, const struct stomp_send *send,
                struct bailey_error *err);

#endif
