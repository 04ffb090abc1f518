/* core/dead_letter.h: a message that will not succeed, with the reason, for whoever looks into it.
 *
 * Body and headers are the original's, byte for byte. These headers are added, texts on every broker; those of an earlier time
 * (the message was replayed, and failed again) are replaced:
 *
 *     bailey-dlq-id            names this dead letter: 32 hexadecimal digits
 *     bailey-dlq-route         the route that gave it up
 *     bailey-dlq-class         transient, permanent, configuration, unroutable, expired, loop
 *     bailey-dlq-code          of the library or protocol: amqp:312, kafka:10; absent if there is none
 *     bailey-dlq-reason        in words
 *     bailey-dlq-source        where it was read: broker, and TOPIC-PARTITION-OFFSET, queue or destination
 *     bailey-dlq-sink          where it was to go: broker, and its address as far as that depends on the message
 *     bailey-dlq-attempts      how often it was refused
 *     bailey-dlq-first-failed, bailey-dlq-last-failed   RFC 3339, UTC
 *     bailey-dlq-key           the message's own key; absent if it had none: the dead letter's key is its id
 *     bailey-dlq-keyed         1 if that key was set by the route (`key:`), which is not to do it again
 *     bailey-dlq-replays       how often it was replayed; absent if never
 *
 * The id is its identity (identity.h): the same, as a rule, when a crash made it be written twice.
 */
#ifndef BAILEY_DEAD_LETTER_H
#define BAILEY_DEAD_LETTER_H

#include "core/delivery.h"

#define DEAD_LETTER_PREFIX "bailey-dlq-"
#define DEAD_LETTER_ID DEAD_LETTER_PREFIX "id"
#define DEAD_LETTER_KEY DEAD_LETTER_PREFIX "key"
#define DEAD_LETTER_KEYED DEAD_LETTER_PREFIX "keyed"
#define DEAD_LETTER_REPLAYS DEAD_LETTER_PREFIX "replays"

struct dead_letter_reason {
    const char *class;
    const struct bailey_error *err;
};

/* The dead letter of `dlv`: a new message that keeps a reference to that of `dlv`. */
struct bailey_message *dead_letter_new(const struct lane_options *options, struct bailey_host *host,
                                       const struct delivery *dlv, const struct dead_letter_reason *reason);

#endif
