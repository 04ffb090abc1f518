/* core/replay.h: a dead letter becomes the message again that it was. */
#ifndef BAILEY_REPLAY_H
#define BAILEY_REPLAY_H

#include "core/delivery.h"

/* Replaces the message of `dlv`, a dead letter, by the one that it was; notes how often it has been replayed, this time included, and
 * names it (dlv->letter): another one if it dies again. A foreign dead letter, without our headers, stays as it is. */
void replay_unwrap(const struct lane_options *options, struct bailey_host *host, struct delivery *dlv);

/* How often it has been replayed so far. */
unsigned replay_count(const struct bailey_message *letter);

#endif
