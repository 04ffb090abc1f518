/* stomp_map.h: the envelope as the headers of a SEND frame, and a MESSAGE frame's headers as an envelope.
 *
 * STOMP headers are text without a type, and every broker keeps them in a map: only the first of a name survives, and order
 * does not. What the broker has a header for goes there (content-type, correlation-id, priority, persistent, type;
 * expires or RabbitMQ's expiration; timestamp, in seconds on RabbitMQ; reply-to, if it is an address that the broker can
 * read; on RabbitMQ content-encoding, app-id and amqp-message-id). What it cannot hold travels in headers of these
 * names, added only when there is something to say, and taken out again when the message is read:
 *
 *     bailey-content-type -content-encoding -correlation-id -reply-to -message-id -type -app-id -user-id
 *     bailey-priority           0..255, where the broker has 0..9
 *     bailey-durable            1 or 0, where `persistent` says otherwise
 *     bailey-expires            milliseconds since 1970 (RabbitMQ; counts only while the message has an expiration)
 *     bailey-timestamp          milliseconds since 1970, where the broker's header cannot hold it
 *     bailey-timestamp-kind     none or append, where the broker's would say create
 *     bailey-key, -key-b64      the key as text; in base64 if it is none
 *     bailey-null               1: the body is null
 *     bailey-hops               gateways passed
 *     bailey-none               what it does not have though the broker gives it: durable, priority, message-id
 *     bailey-order              names of the headers in order: name, or name=KIND if it is not text (enum bailey_kind);
 *                               "*" stands for the next of bailey-h, "*N" for N of them
 *     bailey-h, -h-1, ...       base64: headers that may not stand under their own name (odd names, repetitions, null, binary
 *                               and nested values, names of the protocol's or of ours, names that steer a broker unless
 *                               `pass_headers` lists them), and properties that are no text or too long
 *     bailey-stomp-text         1: was a TextMessage (came from ActiveMQ without content-length); stays a header
 *     bailey-id                 what a route with `dedup` knows the message by: information for readers, stays a header
 *     bailey-possible-duplicate 1: likewise
 *
 * By bailey-id's side Artemis gets _AMQ_DUPL_ID (duplicate.h): it drops a copy of what it has.
 *
 * All are text and their names are safe, so no broker's dialect loses them. Names under which headers stand are
 * [A-Za-z0-9_.-]+, because brokers differ in how they escape names. Hostile values are left out of the envelope, never trusted.
 */
#ifndef STOMP_MAP_H
#define STOMP_MAP_H

#include <bailey/delivery.h>

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
    const char *dedup_scope;                /* whose id it is, if it has one; or NULL */
};

/* `msg` → headers of a SEND, all but destination, receipt and content-length. EXPIRED: its time is over. Check `w->full` and
 * `w->bad` afterwards: full is also set if they would not fit into any head. Formatted values are allocated in `msg`. */
enum stomp_map_result { STOMP_MAP_OK, STOMP_MAP_EXPIRED };
enum stomp_map_result stomp_map_export(struct stomp_writer *w, struct bailey_message *msg,
                                       const struct stomp_map_options *options, int64_t wall_ms,
                                       const struct bailey_marks *marks);

/* True if it should be sent without content-length, so that ActiveMQ or Artemis makes it a TextMessage, as it was: it is marked
 * by bailey-stomp-text, and nothing of it is lost that way (UTF-8 without NUL). The mark may be forged: then it is text as well. */
bool stomp_map_is_text(const struct bailey_message *msg, enum stomp_dialect dialect);

/* A first guess, in bytes, of what stomp_map_export() needs. */
size_t stomp_map_guess(const struct bailey_message *msg, const struct bailey_marks *marks);

#endif
