/* A message from its frames: one copy out of the receive buffer.
 *
 * A body up to WHOLE_MAX gets its memory inside of the message at once; a larger one gets it as it arrives, whatever
 * size is declared, and the message keeps the block.
 */
#include "assembly.h"

#include <stdlib.h>

enum { WHOLE_MAX = 64 << 10, FIRST_CAP = 256 << 10 };

/* The origin's texts share one block. */
struct bailey_message *amq_assembly_begin(struct amq_assembly *a, struct bailey_port *port, struct bailey_bytes queue,
                                          struct bailey_bytes exchange, struct bailey_bytes routing_key)
{
    struct bailey_message *msg = bailey_message_new(port);
    uint8_t *at = bailey_message_alloc(msg, queue.len + exchange.len + routing_key.len + 1);

    memcpy(at, queue.data, queue.len);
    msg->origin.queue = (struct bailey_bytes){at, queue.len};
    at += queue.len;
    memcpy(at, exchange.data, exchange.len);
    msg->origin.exchange = (struct bailey_bytes){at, exchange.len};
    at += exchange.len;
    memcpy(at, routing_key.data, routing_key.len);
    msg->origin.routing_key = (struct bailey_bytes){at, routing_key.len};
    a->msg = msg;
    return msg;
}

enum amq_unmap_result amq_assembly_header(struct amq_assembly *a, uint64_t body_size, struct bailey_bytes props,
                                          int64_t wall_ms)
{
    a->body_size = body_size;
    a->body_len = 0;
    a->body_cap = body_size <= WHOLE_MAX ? body_size : 0;
    a->body = a->body_cap > 0 ? bailey_message_alloc(a->msg, a->body_cap) : NULL;
    return amq_map_decode(a->msg, bailey_message_copy(a->msg, props.data, props.len), wall_ms, &a->null_body);
}

/* Doubles, up to the declared size. */
static void grow(struct amq_assembly *a, size_t need)
{
    size_t cap = a->body_cap ? a->body_cap * 2 : FIRST_CAP;

    if (cap < need)
        cap = need;
    if (cap > a->body_size)
        cap = a->body_size;
    a->body = realloc(a->body, cap);
    if (a->body == NULL)
        abort();
    a->body_cap = cap;
    a->body_is_heap = true;
}

void amq_assembly_body(struct amq_assembly *a, struct bailey_bytes part)
{
    if (a->body_len + part.len > a->body_cap)
        grow(a, a->body_len + part.len);
    if (part.len > 0)
        memcpy(a->body + a->body_len, part.data, part.len);
    a->body_len += part.len;
}

static void free_body(void *owner, void *cookie)
{
    (void)cookie;
    free(owner);
}

struct bailey_message *amq_assembly_finish(struct amq_assembly *a)
{
    struct bailey_message *msg = a->msg;

    if (a->body_size > 0)
        msg->body = (struct bailey_bytes){a->body, a->body_len};
    else
        msg->body = a->null_body ? BAILEY_NULL_BYTES : BAILEY_EMPTY_BYTES;
    if (a->body_is_heap)
        bailey_message_keep(msg, free_body, a->body, NULL);
    *a = (struct amq_assembly){0};
    return msg;
}

void amq_assembly_drop(struct amq_assembly *a)
{
    if (a->body_is_heap)
        free(a->body);
    bailey_message_unref(a->msg);
    *a = (struct amq_assembly){0};
}
