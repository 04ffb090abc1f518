/* kafka_acl.h: who we are to Kafka's authorizer, what we may not do, and the command that would allow it. */
#ifndef KAFKA_ACL_H
#define KAFKA_ACL_H

#include "kafka_client.h"

enum kafka_resource { KAFKA_TOPIC, KAFKA_GROUP, KAFKA_CLUSTER };

/* What an end must be allowed. */
struct kafka_need {
    enum kafka_resource resource;
    const char *name; /* of the topic or group */
    rd_kafka_AclOperation_t operation;
};

/* The principal that follows from the settings: "User:NAME" by user name, "User:SUBJECT" of the client's certificate
 * (RFC 2253; the broker may map it to something shorter), "User:ANONYMOUS". Of a token it is known when there is one. */
void kafka_principal(const struct kafka_broker_settings *settings, char *out, size_t size);

/* True if the code says that an authorizer refused. */
bool kafka_is_denial(rd_kafka_resp_err_t code);

/* "Read" ... as kafka-acls.sh calls it. */
const char *kafka_operation_name(rd_kafka_AclOperation_t operation);

/* The command that gives it: for a shell. */
enum { KAFKA_GRANT_MAX = 1600 };
void kafka_grant(const struct kafka_client *client, const struct kafka_need *need, char out[KAFKA_GRANT_MAX]);

/* "User:alice may not Read topic orders at broker k", with the command as the hint where it fits. Returns false always. */
bool kafka_denied(struct bailey_error *err, const struct kafka_client *client, rd_kafka_resp_err_t code,
                  const struct kafka_need *need);

#endif
