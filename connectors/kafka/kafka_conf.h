/* kafka_conf.h: settings → librdkafka configuration. No I/O. */
#ifndef KAFKA_CONF_H
#define KAFKA_CONF_H

#include "kafka.h"
#include "kafka_lib.h"

enum { KAFKA_CREDENTIAL_MAX = 4096 }; /* bytes of a user name, password or secret, with its end */

/* A configuration with everything of the broker's settings, `librdkafka:` included, for either role; credentials as
 * their files are now. NULL with `err` (kind CONFIG). */
rd_kafka_conf_t *kafka_conf_new(const struct kafka_broker_settings *settings, struct bailey_error *err);

/* Set one property that the connector itself chose. False with `err` if librdkafka refuses it. */
bool kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct bailey_error *err);
bool kafka_conf_set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct bailey_error *err);

/* The same unless the operator set it under `librdkafka:`. */
bool kafka_conf_default(rd_kafka_conf_t *conf, const struct kafka_broker_settings *settings, const char *name,
                        const char *value, struct bailey_error *err);

/* The descriptor's check(). */
void kafka_check(const void *broker, const void *end, enum bailey_role role, unsigned lanes,
                 struct bailey_report *report);

/* True if `name` is a topic name: [a-zA-Z0-9._-]{1,249}, not "." or "..". */
bool kafka_topic_name_valid(const char *name, size_t len);

/* What follows from a librdkafka error code for the one who met it. */
enum bailey_error_kind kafka_error_kind(rd_kafka_resp_err_t code);

#endif
