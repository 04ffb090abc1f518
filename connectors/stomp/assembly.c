/* A message from its frame: one copy out of the receive buffer.
 *
 * A body of which the first part is all goes into the message. One that comes in parts gets its memory as it arrives,
 * whatever length is declared, and the message keeps the block.
 */
#include "assembly.h"

#include <stdlib.h>

enum { FIRST_CAP = 64 << 10 };

void stomp_assembly_begin(struct stomp_assembly *a, struct bailey_port *port, const struct stomp_parser *frame,
                          enum stomp_dialect dialect, int64_t wall_ms)
{
    *a = (struct stomp_assembly){.msg = bailey_message_new(port), .declared = frame->length};
    stomp_map_import(a->msg, frame, dialect, wall_ms, &a->null_body);
    a->msg->body = BAILEY_EMPTY_BYTES;
}

/* Doubles, up to the declared length. */
static void grow(struct stomp_assembly *a, size_t need)
{
    size_t cap = a->body_cap ? a->body_cap * 2 : FIRST_CAP;

    if (a->declared > 0 && cap > a->declared)
        cap = a->declared;
    if (cap < need)
        cap = need;
    a->body = realloc(a->body, cap);
    if (a->body == NULL)
        abort();
    a->body_cap = cap;
}

void stomp_assembly_body(struct stomp_assembly *a, struct bailey_bytes part)
{
    if (part.len == 0)
        return;
    if (a->body == NULL && (part.len == a->declared || a->declared == 0) && a->msg->body.len == 0) {
        a->msg->body = bailey_message_copy(a->msg, part.data, part.len);
        a->body_len = part.len;
        return;
    }
    if (a->body_len + part.len > a->body_cap)
        grow(a, a->body_len + part.len);
    if (a->msg->body.len > 0) /* no length was declared, and it goes on */
        memcpy(a->body, a->msg->body.data, a->msg->body.len);
    a->msg->body.len = 0;
    memcpy(a->body + a->body_len, part.data, part.len);
    a->body_len += part.len;
}

static void free_body(void *owner, void *cookie)
{
    (void)cookie;
    free(owner);
}

struct bailey_message *stomp_assembly_finish(struct stomp_assembly *a)
{
    struct bailey_message *msg = a->msg;

    if (a->body != NULL) {
        msg->body = (struct bailey_bytes){a->body, a->body_len};
        bailey_message_keep(msg, free_body, a->body, NULL);
    } else if (a->body_len == 0 && a->null_body) {
        msg->body = BAILEY_NULL_BYTES;
    }
    *a = (struct stomp_assembly){0};
    return msg;
}

void stomp_assembly_drop(struct stomp_assembly *a)
{
    free(a->body);
    bailey_message_unref(a->msg);
    *a = (struct stomp_assembly){0};
}
