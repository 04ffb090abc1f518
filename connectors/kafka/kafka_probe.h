/* kafka_probe.h: `bailey check --connect`: topics, group and permissions of an end, by the admin interface. */
#ifndef KAFKA_PROBE_H
#define KAFKA_PROBE_H

#include "kafka_client.h"

/* The descriptor's probe(). */
void kafka_probe(void *broker, const void *end, struct bailey_probe *asked);

/* With the broker, when all is answered. NULL is allowed. */
void kafka_probing_free(struct kafka_probing *probing);

#endif
