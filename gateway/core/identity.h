/* core/identity.h: what names a delivery, the same if its source gives it again: for what is kept of it in a store or at a broker. */
#ifndef BAILEY_IDENTITY_H
#define BAILEY_IDENTITY_H

#include "core/delivery.h"

/* The id of the route's dedup if it holds one; else the source's position where that names a message for ever (Kafka); else
 * it is random, and another one each time. */
struct id identity_of(const struct lane_options *options, struct bailey_host *host, const struct delivery *dlv);

#endif
