/* amqp_fields.h: names and bits that both directions of the mapping share (amqp_map.h explains them). */
#ifndef AMQP_FIELDS_H
#define AMQP_FIELDS_H

#include <stddef.h>

#include "frame.h"
#include "wire.h"

#define AMQ_FIELD_KEY "bailey-key"
#define AMQ_FIELD_NULL "bailey-null"
#define AMQ_FIELD_TS "bailey-ts"
#define AMQ_FIELD_TST "bailey-tst"
#define AMQ_FIELD_HOPS "bailey-hops"
#define AMQ_FIELD_EXPIRES "bailey-expires-at"
#define AMQ_FIELD_HEADERS "bailey-h"
#define AMQ_FIELD_TABLE "bailey-amqp-table"

enum amq_own {
    AMQ_OWN_KEY,
    AMQ_OWN_NULL,
    AMQ_OWN_TS,
    AMQ_OWN_TST,
    AMQ_OWN_HOPS,
    AMQ_OWN_EXPIRES,
    AMQ_OWN_HEADERS,
    AMQ_OWN_FIELDS, /* then come the long properties, in the order of their table */
};

/* Flags of the basic class's properties, in the order in which they are written. 0-9-1, 4.2.6.1. */
enum {
    AMQ_CONTENT_TYPE = 1 << 15,
    AMQ_CONTENT_ENCODING = 1 << 14,
    AMQ_HEADERS = 1 << 13,
    AMQ_DELIVERY_MODE = 1 << 12,
    AMQ_PRIORITY = 1 << 11,
    AMQ_CORRELATION_ID = 1 << 10,
    AMQ_REPLY_TO = 1 << 9,
    AMQ_EXPIRATION = 1 << 8,
    AMQ_MESSAGE_ID = 1 << 7,
    AMQ_TIMESTAMP = 1 << 6,
    AMQ_TYPE = 1 << 5,
    AMQ_USER_ID = 1 << 4,
    AMQ_APP_ID = 1 << 3,
    AMQ_CLUSTER_ID = 1 << 2,
    AMQ_FLAGS_UNKNOWN = 3, /* no 15th property; no second word of flags */
};

/* A property that may be longer than a short string, and then travels as a field. */
struct amq_long_property {
    const char *field;
    size_t offset; /* of its struct bailey_bytes in struct bailey_message */
    unsigned flag;
};
enum { AMQ_LONG_PROPERTIES = 7 };
extern const struct amq_long_property amq_long_properties[AMQ_LONG_PROPERTIES];

/* Which field of ours `name` is (enum amq_own, or AMQ_OWN_FIELDS + index of the long property), or -1. */
int amq_own_field(struct bailey_bytes name);

#endif
