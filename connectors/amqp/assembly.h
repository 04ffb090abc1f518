/* assembly.h: a message under construction from the frames of basic.deliver. Zeroed = none. One thread. */
#ifndef AMQ_ASSEMBLY_H
#define AMQ_ASSEMBLY_H

#include "amqp_map.h"

struct amq_assembly {
    struct bailey_message *msg; /* NULL: its frames are dropped */
    bool null_body;
    uint64_t body_size; /* as declared */
    uint8_t *body;      /* in the message, or from malloc while it grows */
    size_t body_len, body_cap;
    bool body_is_heap;
};

/* basic.deliver came. The texts are copied. */
struct bailey_message *amq_assembly_begin(struct amq_assembly *a, struct bailey_port *port, struct bailey_bytes queue,
                                          struct bailey_bytes exchange, struct bailey_bytes routing_key);

/* Its header came. BAD: break off. */
enum amq_unmap_result amq_assembly_header(struct amq_assembly *a, uint64_t body_size, struct bailey_bytes props,
                                          int64_t wall_ms);

/* A part of the body came; the channel has seen to it that it is not more than declared. */
void amq_assembly_body(struct amq_assembly *a, struct bailey_bytes part);

/* All is there: the message, which is the caller's now. */
struct bailey_message *amq_assembly_finish(struct amq_assembly *a);

/* Give up what is there. */
void amq_assembly_drop(struct amq_assembly *a);

#endif
