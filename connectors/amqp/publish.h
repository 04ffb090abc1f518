/* publish.h: one message as the frames of basic.publish, written into a connection's output. */
#ifndef AMQ_PUBLISH_H
#define AMQ_PUBLISH_H

#include "amqp_map.h"
#include "connection.h"

enum { AMQ_COPY_MAX = 2048 }; /* bodies up to here are copied beside their header: as the transport would */

struct amq_publisher {
    struct amq_channel *ch;
    struct amq_map_options map;
    uint8_t head[AMQ_FRAME_HEAD + 4 + 2 + 1 +
                 AMQ_SHORTSTR_MAX]; /* method frame up to the exchange, but for channel and size */
    size_t head_len;
};

/* `exchange` at most 255 bytes. */
void amq_publisher_init(struct amq_publisher *p, struct amq_channel *ch, const char *exchange,
                        const struct amq_map_options *map);

/* Write `msg`, with `mandatory`. The body is referred to if it is long (and `msg` pinned). False: it cannot be
 * expressed, nothing was written, and `err` says why (PERMANENT). */
bool amq_publish(struct amq_publisher *p, struct bailey_message *msg, struct bailey_bytes routing_key, int64_t wall_ms,
                 const struct bailey_marks *marks, struct bailey_error *err);

#endif
