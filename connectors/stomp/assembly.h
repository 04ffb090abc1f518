/* assembly.h: a message under construction from the parts of a MESSAGE frame. Zeroed = none. One thread. */
#ifndef STOMP_ASSEMBLY_H
#define STOMP_ASSEMBLY_H

#include "stomp_map.h"

struct stomp_assembly {
    struct bailey_message *msg; /* NULL: its parts are dropped */
    bool null_body;
    uint8_t *body; /* from malloc while it grows; NULL: all of it has come in one part, or nothing yet */
    size_t body_len, body_cap;
    uint64_t declared; /* its content-length, or 0 */
};

/* The head came. The message gets copies of what it keeps. */
void stomp_assembly_begin(struct stomp_assembly *a, struct bailey_port *port, const struct stomp_parser *frame,
                          enum stomp_dialect dialect, int64_t wall_ms);

/* A part of the body came. */
void stomp_assembly_body(struct stomp_assembly *a, struct bailey_bytes part);

/* All is there: the message, which is the caller's now. */
struct bailey_message *stomp_assembly_finish(struct stomp_assembly *a);

/* Give up what is there. */
void stomp_assembly_drop(struct stomp_assembly *a);

#endif
