/* setup.h: methods that both ends send to prepare a channel. Each returns false if it does not fit into a frame. */
#ifndef AMQ_SETUP_H
#define AMQ_SETUP_H

#include "connection.h"

/* queue.declare: passive (only look), or create it. `single_active`: one consumer at a time gets messages. */
bool amq_queue_look(struct amq_channel *ch, struct bailey_bytes queue);
/* Asks for a type that there is not: the refusal, "inequivalent arg", names the type that the queue has. Changes nothing. */
bool amq_queue_ask_type(struct amq_channel *ch, struct bailey_bytes queue);
bool amq_queue_create(struct amq_channel *ch, struct bailey_bytes queue, int queue_type, bool durable,
                      bool single_active, const struct bailey_map *arguments);
bool amq_queue_bind(struct amq_channel *ch, const char *queue, const char *exchange, const char *routing_key);
bool amq_exchange_look(struct amq_channel *ch, const char *exchange);
bool amq_exchange_create(struct amq_channel *ch, const char *exchange, const char *type, bool durable,
                         const struct bailey_map *arguments);

/* "could not prepare": for the sends above. */
bool amq_setup_too_big(struct bailey_error *err);

#endif
