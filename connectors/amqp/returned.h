/* returned.h: a message that comes back by basic.return, and which of the unconfirmed it is. Zeroed = none. One
 * thread. */
#ifndef AMQ_RETURNED_H
#define AMQ_RETURNED_H

#include "amqp_map.h"
#include "window.h"

struct amq_returned {
    uint8_t *data; /* routing key, properties, body */
    size_t len, cap, props_at, body_at;
    unsigned code; /* of the last one */
    char text[100];
};

/* basic.return came; false: malformed. */
bool amq_returned_begin(struct amq_returned *r, struct bailey_bytes args);
void amq_returned_header(struct amq_returned *r, struct bailey_bytes props);
void amq_returned_body(struct amq_returned *r, struct bailey_bytes part);

/* Frees what a large one took; may be used again. */
void amq_returned_end(struct amq_returned *r);
void amq_returned_free(struct amq_returned *r);

/* What it is compared with. */
struct amq_returned_among {
    const struct amq_window *window;
    const struct amq_map_options *map;
    struct bailey_bytes (*routing_key)(const void *ctx, const struct bailey_delivery *delivery);
    const void *ctx;
    int64_t wall_ms;
};

/* The tag of the unconfirmed message that this is, 0: none. Returns come in the order of publishing and name no tag:
 * the oldest with the same routing key, body and properties counts, else the oldest with the same routing key and
 * body. */
uint64_t amq_returned_find(const struct amq_returned *r, const struct amq_returned_among *among);

#endif
