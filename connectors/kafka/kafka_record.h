/* kafka_record.h: a fetched record as a message. */
#ifndef KAFKA_RECORD_H
#define KAFKA_RECORD_H

#include "kafka_client.h"

/* The message is a view into the record, which it takes and keeps, and with it the client, until its last reference goes. The
 * caller sets `group`, `position` and `redelivered`. */
struct bailey_message *kafka_record_message(struct kafka_client *client, struct bailey_port *port,
                                            rd_kafka_message_t *record);

#endif
