/* stomp_fields.h: the names that both directions of the mapping share (stomp_map.h explains them). */
#ifndef STOMP_FIELDS_H
#define STOMP_FIELDS_H

#include "frame.h"
#include "stomp.h"

#define STOMP_PREFIX "bailey-"
enum { STOMP_PREFIX_LEN = sizeof STOMP_PREFIX - 1 };

#define STOMP_TEXT STOMP_PREFIX "stomp-text"
#define STOMP_REPLY_QUEUE "/reply-queue/" /* RabbitMQ puts it before a reply-to that begins with no prefix of its own */

/* The envelope's texts, in the order of stomp_properties. */
enum {
    STOMP_CONTENT_TYPE,
    STOMP_CONTENT_ENCODING,
    STOMP_CORRELATION_ID,
    STOMP_REPLY_TO,
    STOMP_MESSAGE_ID,
    STOMP_TYPE,
    STOMP_APP_ID,
    STOMP_USER_ID,
    STOMP_PROPERTIES
};

struct stomp_property {
    const char *own; /* the header of ours */
    size_t offset;   /* of its struct bailey_bytes in struct bailey_message */
};
extern const struct stomp_property stomp_properties[STOMP_PROPERTIES];

static inline struct bailey_bytes stomp_property_value(const struct bailey_message *msg, int property)
{
    return *(const struct bailey_bytes *)((const char *)msg + stomp_properties[property].offset);
}

/* What a header means. Properties stand first, so that a property's number is its native field's number. */
enum stomp_field {
    STOMP_FIELD_DESTINATION = STOMP_PROPERTIES,
    STOMP_FIELD_REDELIVERED,
    STOMP_FIELD_PRIORITY,
    STOMP_FIELD_PERSISTENT,
    STOMP_FIELD_EXPIRES,    /* milliseconds since 1970 */
    STOMP_FIELD_EXPIRATION, /* milliseconds from now */
    STOMP_FIELD_TIMESTAMP,
    STOMP_FIELD_TEXT,    /* amq-msg-type: says that a body with a length is text */
    STOMP_FIELD_DROPPED, /* of the protocol, of no interest beyond the connection */

    STOMP_OWN_PROPERTY, /* the first of ours: properties, in their order */
    STOMP_OWN_PRIORITY = STOMP_OWN_PROPERTY + STOMP_PROPERTIES,
    STOMP_OWN_DURABLE,
    STOMP_OWN_EXPIRES,
    STOMP_OWN_TIMESTAMP,
    STOMP_OWN_TIMESTAMP_KIND,
    STOMP_OWN_KEY,
    STOMP_OWN_KEY_B64,
    STOMP_OWN_NULL,
    STOMP_OWN_HOPS,
    STOMP_OWN_NONE,
    STOMP_OWN_ORDER,
    STOMP_OWN_HEADERS, /* the first part */
    STOMP_FIELDS,

    STOMP_FIELD_USER = STOMP_FIELDS /* not ours, not the protocol's */
};

/* What a header of that name is in a frame of that dialect. */
enum stomp_field stomp_field_of(struct bailey_bytes name, enum stomp_dialect dialect);

/* The name of one of our fields. */
const char *stomp_own_name(enum stomp_field own);

/* Which further part of bailey-h `name` is: bailey-h-1 is 1; 0 if it is none. */
enum { STOMP_PARTS_MAX = 32 };
int stomp_part_of(struct bailey_bytes name);

/* True if a header of that name changes what some broker does with a message. */
bool stomp_name_steers(struct bailey_bytes name);

/* A decimal number in the only form that we write: no sign but a leading "-", no leading zero, no blank. False leaves
 * `*value` alone. */
bool stomp_parse_number(struct bailey_bytes text, int64_t min, int64_t max, int64_t *value);

/* Headers that stand under their own names, at most: the rest goes into bailey-h. Brokers have limits (RabbitMQ 100). */
enum { STOMP_PLAIN_MAX = 64 };

/* Headers in bailey-h, at most. */
enum { STOMP_ODD_MAX = BAILEY_VALUE_COUNT_MAX };

/* Tag of an entry of bailey-h that is no header but a property or the key. */
enum { STOMP_ODD_PROPERTY = 'P' };

#endif
