/* stomp_map.h: the envelope as the headers of a SEND frame, and a MESSAGE frame's headers as an envelope.
 *
 * STOMP headers are text without a type; names here are limited to [A-Za-z0-9_.-] because brokers differ in how they escape
 * names (ActiveMQ does not). What a header cannot hold travels in headers of ours, added only when there is something to
 * say, and taken out again when the message is read. No broker's dialect loses them: all are text, their names are safe.
 *
 * docs/stomp.md and the table in stomp_map.c say which; hostile values are left out of the envelope, never trusted.
 */
#ifndef STOMP_MAP_H
#define STOMP_MAP_H

#include "frame.h"
#include "stomp.h"
#include "write.h"

/* A MESSAGE's headers → msg, which gets copies of what it keeps (one allocation). Reserved headers of the protocol and of the
 * dialect (destination, message-id, subscription, ack, content-length, receipt ...) become properties or are dropped; all
 * others are the user's, in order, with all repetitions. `wall_ms` is now, for RabbitMQ's relative `expiration`. `*null_body`
 * gets whether the body is null, if it comes empty: a foreign frame may claim it of any body. */
void stomp_map_import(struct bailey_message *msg, const struct stomp_parser *frame, enum stomp_dialect dialect,
                      int64_t wall_ms, bool *null_body);

struct stomp_map_options {
    enum stomp_dialect dialect;
    int persistent;                         /* enum stomp_persistent */
    const struct bailey_list *pass_headers; /* names that steer a broker and may pass all the same; or NULL */
};

/* `msg` → headers of a SEND, all but destination, receipt and content-length. EXPIRED: its time is over. Check `w->full` and
 * `w->bad` afterwards. `scratch` (may be msg itself) holds formatted values. */
enum stomp_map_result { STOMP_MAP_OK, STOMP_MAP_EXPIRED };
enum stomp_map_result stomp_map_export(struct stomp_writer *w, struct bailey_message *msg,
                                       const struct stomp_map_options *options, int64_t wall_ms,
                                       bool possible_duplicate);

/* A first guess, in bytes, of what stomp_map_export() needs. */
size_t stomp_map_guess(const struct bailey_message *msg);

#endif
