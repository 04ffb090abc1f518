/* endpoints.h: the simulated connectors: sources and a sink, as a lane sees them. Their `broker` is the lane's berth, and of a
 * sink one of its two ways. */
#ifndef BAILEY_SIM_ENDPOINTS_H
#define BAILEY_SIM_ENDPOINTS_H

#include <bailey/connector.h>

extern const struct bailey_source log_source;   /* with connectors/kafka/watermark.c */
extern const struct bailey_source queue_source; /* with connectors/amqp/acks.c, or an ack for each message */
extern const struct bailey_source shelf_source; /* of dead letters */
extern const struct bailey_sink sim_sink;

#endif
