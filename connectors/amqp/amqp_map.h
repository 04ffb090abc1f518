/* amqp_map.h: the envelope as an AMQP content header (basic properties with the header table), and back.
 *
 * What AMQP cannot hold natively travels as fields of the header table that are ours, and are taken out again on the
 * way back:
 *     bailey-key  x     the key; absent: none              bailey-ts  l  timestamp in ms, if it is no whole second
 *     bailey-null t     the body is null                   bailey-tst S  "append", if the broker's clock gave it
 *     bailey-hops I     gateways passed                    bailey-expires-at l  ms, if `expiration` cannot say it
 *     bailey-content-type, -content-encoding, -correlation-id, -reply-to, -message-id, -type, -app-id
 *                 x     those properties, if longer than 255 bytes, or the name that RabbitMQ takes for the channel itself
 *     bailey-h    A     headers that may not stand in the table under their own name, as {i: index, n: name, v: value}:
 *                       names longer than 255 bytes, names that steer RabbitMQ (CC, BCC, x-death, x-delay) unless the
 *                       sink's `pass_headers` lists them, and names that would be read as one of ours
 * `bailey-possible-duplicate` (S, "1") is added to a message in doubt and stays an ordinary header. What a route with `dedup` knows
 * the message by becomes its message-id, if it has none and that can hold it, else the ordinary header `bailey-id` (S or x).
 *
 * The wire is written and read here directly, without rabbitmq-c: one bounded pass, no intermediate copy, no pools.
 */
#ifndef AMQP_MAP_H
#define AMQP_MAP_H

#include <bailey/delivery.h>

#include "amq.h"
#include "wire.h"

enum { AMQ_CLASS_BASIC = 60 };

enum amq_unmap_result { AMQ_UNMAP_BAD, AMQ_UNMAP_OK, AMQ_UNMAP_OPAQUE };

/* Decode flags and properties (what follows the body size in a content header) into `msg`. `props` must live as long
 * as `msg`, whose views point into it. `wall_ms` is now, for `expiration`. `*null_body` gets whether the body is
 * null. BAD: the properties themselves are malformed. OPAQUE: the header table is malformed, too deep or too big: it
 * comes as the one header `bailey-amqp-table` (BYTES), so that one producer's odd message cannot stop a queue. */
enum amq_unmap_result amq_map_decode(struct bailey_message *msg, struct bailey_bytes props, int64_t wall_ms,
                                     bool *null_body);

struct amq_map_options {
    int persistent;                         /* enum amq_persistent */
    const struct bailey_list *pass_headers; /* or NULL */
    int64_t
        hold_ms; /* > 0: `expiration` says how long the broker holds it, and bailey-expires-at when its time is over */
};

enum amq_map_result { AMQ_MAP_OK, AMQ_MAP_FULL, AMQ_MAP_EXPIRED, AMQ_MAP_BAD_CC };

/* Write flags and properties of `msg`. FULL: they do not fit into `w`. EXPIRED: its time is over. BAD_CC: a listed CC
 * or BCC is no array of strings, for which RabbitMQ would close the channel. */
enum amq_map_result amq_map_encode(struct amq_writer *w, const struct bailey_message *msg,
                                   const struct amq_map_options *options, int64_t wall_ms,
                                   const struct bailey_marks *marks);

/* A first guess, in bytes, of what amq_map_encode() needs; nested values may need more. */
size_t amq_map_guess(const struct bailey_message *msg, const struct bailey_marks *marks);

#endif
