/* core/recall.h: refusals of messages that their source has taken back, and will give again.
 *
 * A source loses what is unsettled with its connection, or hands it back before its broker's patience ends. How often such a message
 * was refused, and how long it was to wait, is remembered here until it comes again: else one that is given back every half an hour
 * would never have been refused `attempts` times.
 *
 * What comes again has no name that all brokers keep, so it is known by a keyed hash of 64 bits: of its position where that names it for
 * ever (Kafka), else of its body, key, message id, correlation id, time, where it was sent to, and its headers of text, but for those
 * whose names begin with "x-" (there brokers count deliveries). Of two that are alike in all of that the first to come is taken for the
 * one that was refused more often: it may be given up that much earlier, the other that much later.
 *
 * The oldest are forgotten first: when there are too many, and after an hour. Nothing is allocated while nothing is remembered.
 */
#ifndef BAILEY_RECALL_H
#define BAILEY_RECALL_H

#include <bailey/host.h>

enum { RECALL_MAX = 1 << 16, RECALL_MS = 3600 * 1000 };

struct recall;

struct recall_note {
    uint64_t mark;              /* recall_mark() */
    uint32_t attempts, counted; /* refusals, at least one; those that count against the route's `attempts` */
    int64_t first_failed_ms, last_failed_ms; /* wall clock */
    int64_t rest_until_ms;                   /* of bailey_now_ms(): not to be sent before */
};

/* Remembers the last `most` messages, in round numbers, and RECALL_MAX at most. Never NULL. */
struct recall *recall_new(struct bailey_host *host, size_t most);
void recall_free(struct recall *recall); /* NULL is allowed */

/* What `msg` is known by. `with_key`: its key is still the one that it came with. */
uint64_t recall_mark(const struct recall *recall, const struct bailey_message *msg, bool with_key);

void recall_keep(struct recall *recall, const struct recall_note *note);

/* Is anything remembered? Cheap: for each message that comes. */
bool recall_has_some(const struct recall *recall);

/* It has come again: what was remembered of it is forgotten here. False: nothing was. */
bool recall_take(struct recall *recall, uint64_t mark, struct recall_note *note);

#endif
