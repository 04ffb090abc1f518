/* kafka_map.h: the envelope as a Kafka record's headers, and back.
 *
 * A record holds key, value, timestamp and headers natively (null and empty stay apart, headers keep order and
 * repetition). What else the envelope holds travels in headers of these names, added only when there is something to
 * say, and taken out again when the record is read:
 *
 *     bailey-types              kinds of the first headers, one character each, if one is neither bytes nor null
 *     bailey-content-type -content-encoding -correlation-id -reply-to -message-id -type -app-id -user-id
 *     bailey-priority           0..255
 *     bailey-durable            1 or 0
 *     bailey-expires            milliseconds since 1970
 *     bailey-hops               1..255: gateways passed
 *     bailey-timestamp          milliseconds since 1970, where a record cannot hold it (<= 0)
 *     bailey-timestamp-kind     none or append, where the record's would say create
 *     bailey-id                 what a route with `dedup` knows the message by: information for readers, stays a header
 *     bailey-possible-duplicate 1: likewise
 *
 * Knows no librdkafka. Hostile values are left out of the envelope, never trusted.
 */
#ifndef KAFKA_MAP_H
#define KAFKA_MAP_H

#include <bailey/delivery.h>
#include <bailey/message.h>

/* Record → message. `headers` (kinds BYTES and NULL only) lives in `msg`, is rearranged and becomes the message's. Call it
 * after timestamp and timestamp_kind were set. */
void kafka_map_import(struct bailey_message *msg, struct bailey_header *headers, uint32_t count);

/* True if a record of this message needs no headers at all: the usual case, decided without a loop. */
bool kafka_map_is_bare(const struct bailey_message *msg);

/* True if a header's value has to be formatted: then export needs `scratch`. */
bool kafka_map_is_typed(const struct bailey_message *msg);

/* Message → record: call `add` for each header of the record, in order; it copies. `scratch` holds formatted values. */
typedef void kafka_map_add(void *ctx, struct bailey_bytes name, struct bailey_bytes value);
void kafka_map_export(const struct bailey_message *msg, const struct bailey_marks *marks,
                      struct bailey_message *scratch, kafka_map_add *add, void *ctx);

/* The record's timestamp for this message: 0 = let the library take the present. */
int64_t kafka_map_timestamp(const struct bailey_message *msg);

#endif
