/* options.h: the option tables of brokers and ends, and what they cannot say: alone, and by asking the broker. */
#ifndef STOMP_OPTIONS_H
#define STOMP_OPTIONS_H

#include "stomp.h"

extern const struct bailey_option stomp_broker_options[], stomp_source_options[], stomp_sink_options[];

/* See connector.h. */
void stomp_check(const void *broker, const void *end, enum bailey_role role, unsigned lanes,
                 struct bailey_report *report);
bool stomp_keeps_order(const void *broker, const void *end, enum bailey_role role, enum bailey_order order,
                       unsigned lanes, struct bailey_error *err);
void stomp_probe(void *broker, const void *settings, struct bailey_probe *asked);

#endif
