/* Names of the protocol, of its dialects and of ours.
 *
 * A MESSAGE has about ten headers of the protocol's, so their names are told apart by length first; those of ours are few
 * in a frame and share a prefix, so a table does.
 */
#include "stomp_fields.h"

#include <assert.h>

#define PROPERTY(name, member)                                     \
    {                                                              \
        STOMP_PREFIX name, offsetof(struct bailey_message, member) \
    }

const struct stomp_property stomp_properties[STOMP_PROPERTIES] = {
    [STOMP_CONTENT_TYPE] = PROPERTY("content-type", content_type),
    [STOMP_CONTENT_ENCODING] = PROPERTY("content-encoding", content_encoding),
    [STOMP_CORRELATION_ID] = PROPERTY("correlation-id", correlation_id),
    [STOMP_REPLY_TO] = PROPERTY("reply-to", reply_to),
    [STOMP_MESSAGE_ID] = PROPERTY("message-id", message_id),
    [STOMP_TYPE] = PROPERTY("type", type),
    [STOMP_APP_ID] = PROPERTY("app-id", app_id),
    [STOMP_USER_ID] = PROPERTY("user-id", user_id),
};

struct own {
    const char *name;
    size_t len;
};

#define OWN(text)                                        \
    {                                                    \
        STOMP_PREFIX text, sizeof(STOMP_PREFIX text) - 1 \
    }

static const struct own owns[STOMP_FIELDS - STOMP_OWN_PROPERTY] = {
    OWN("content-type"),   OWN("content-encoding"),
    OWN("correlation-id"), OWN("reply-to"),
    OWN("message-id"),     OWN("type"),
    OWN("app-id"),         OWN("user-id"),
    OWN("priority"),       OWN("durable"),
    OWN("expires"),        OWN("timestamp"),
    OWN("timestamp-kind"), OWN("key"),
    OWN("key-b64"),        OWN("null"),
    OWN("hops"),           OWN("none"),
    OWN("order"),          OWN("h"),
};

const char *stomp_own_name(enum stomp_field own)
{
    assert(own >= STOMP_OWN_PROPERTY && own < STOMP_FIELDS);
    return owns[own - STOMP_OWN_PROPERTY].name;
}

static bool has_prefix(struct bailey_bytes name, const char *prefix, size_t len)
{
    return name.len >= len && memcmp(name.data, prefix, len) == 0;
}

static enum stomp_field own_field(struct bailey_bytes name)
{
    for (int i = 0; i < STOMP_FIELDS - STOMP_OWN_PROPERTY; i++)
        if (name.len == owns[i].len && memcmp(name.data, owns[i].name, name.len) == 0)
            return (enum stomp_field)(STOMP_OWN_PROPERTY + i);
    return STOMP_FIELD_USER;
}

int stomp_part_of(struct bailey_bytes name)
{
    static const char first[] = STOMP_PREFIX "h-";
    int64_t part;

    if (!has_prefix(name, first, sizeof first - 1))
        return 0;
    name.data += sizeof first - 1;
    name.len -= sizeof first - 1;
    return stomp_parse_number(name, 1, STOMP_PARTS_MAX - 1, &part) ? (int)part : 0;
}

/* memcmp with a length that the compiler knows. The caller has compared lengths. */
#define SAME(bytes, text) (memcmp((bytes).data, text, sizeof(text) - 1) == 0)

/* Names that mean the same to all. `transaction` and `receipt` of a SEND are handed on by RabbitMQ and Artemis. */
static enum stomp_field common_field(struct bailey_bytes name)
{
    switch (name.len) {
    case 3:
        return SAME(name, "ack") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER;
    case 4:
        return SAME(name, "type") ? (enum stomp_field)STOMP_TYPE : STOMP_FIELD_USER;
    case 7:
        return SAME(name, "receipt") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER;
    case 8:
        if (SAME(name, "reply-to"))
            return (enum stomp_field)STOMP_REPLY_TO;
        return SAME(name, "priority") ? STOMP_FIELD_PRIORITY : STOMP_FIELD_USER;
    case 9:
        return SAME(name, "timestamp") ? STOMP_FIELD_TIMESTAMP : STOMP_FIELD_USER;
    case 10:
        if (SAME(name, "persistent"))
            return STOMP_FIELD_PERSISTENT;
        return SAME(name, "message-id") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER; /* names a delivery */
    case 11:
        if (SAME(name, "destination"))
            return STOMP_FIELD_DESTINATION;
        if (SAME(name, "redelivered"))
            return STOMP_FIELD_REDELIVERED;
        return SAME(name, "transaction") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER;
    case 12:
        if (SAME(name, "content-type"))
            return (enum stomp_field)STOMP_CONTENT_TYPE;
        return SAME(name, "subscription") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER;
    case 14:
        if (SAME(name, "correlation-id"))
            return (enum stomp_field)STOMP_CORRELATION_ID;
        return SAME(name, "content-length") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER;
    default:
        return STOMP_FIELD_USER;
    }
}

/* rabbit_stomp_util.erl: what becomes a property of basic. */
static enum stomp_field rabbitmq_field(struct bailey_bytes name)
{
    switch (name.len) {
    case 6:
        return SAME(name, "app-id") ? (enum stomp_field)STOMP_APP_ID : STOMP_FIELD_USER;
    case 7:
        return SAME(name, "user-id") ? (enum stomp_field)STOMP_USER_ID : STOMP_FIELD_USER;
    case 10:
        return SAME(name, "expiration") ? STOMP_FIELD_EXPIRATION : STOMP_FIELD_USER;
    case 15:
        return SAME(name, "amqp-message-id") ? (enum stomp_field)STOMP_MESSAGE_ID : STOMP_FIELD_USER;
    case 16:
        return SAME(name, "content-encoding") ? (enum stomp_field)STOMP_CONTENT_ENCODING : STOMP_FIELD_USER;
    default:
        return STOMP_FIELD_USER;
    }
}

/* ActiveMQ's FrameTranslator.java, Artemis's StompUtils.java. */
static enum stomp_field jms_field(struct bailey_bytes name, bool is_artemis)
{
    switch (name.len) {
    case 7:
        return SAME(name, "expires") ? STOMP_FIELD_EXPIRES : STOMP_FIELD_USER;
    case 10:
        return SAME(name, "JMSXUserID") ? (enum stomp_field)STOMP_USER_ID : STOMP_FIELD_USER;
    case 12:
        return !is_artemis && SAME(name, "amq-msg-type") ? STOMP_FIELD_TEXT : STOMP_FIELD_USER;
    case 15: /* Artemis adds it to a large message */
        return is_artemis && SAME(name, "_AMQ_LARGE_SIZE") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER;
    case 16:
        return is_artemis && SAME(name, "destination-type") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER;
    case 17:
        return is_artemis && SAME(name, "ingress-timestamp") ? STOMP_FIELD_DROPPED : STOMP_FIELD_USER;
    default:
        return STOMP_FIELD_USER;
    }
}

enum stomp_field stomp_field_of(struct bailey_bytes name, enum stomp_dialect dialect)
{
    enum stomp_field field;

    if (has_prefix(name, STOMP_PREFIX, STOMP_PREFIX_LEN))
        return own_field(name);
    field = common_field(name);
    if (field == STOMP_FIELD_DROPPED && dialect == STOMP_ACTIVEMQ && bailey_bytes_is(name, "message-id"))
        return (enum stomp_field)STOMP_MESSAGE_ID; /* the JMSMessageID: stays the same however often it is delivered */
    if (field != STOMP_FIELD_USER)
        return field;
    if (dialect == STOMP_RABBITMQ)
        return rabbitmq_field(name);
    if (dialect == STOMP_GENERIC)
        return bailey_bytes_is(name, "expires") ? STOMP_FIELD_EXPIRES : STOMP_FIELD_USER;
    return jms_field(name, dialect == STOMP_ARTEMIS);
}

/* ---- Names that steer ---- */

struct steering {
    const char *name;
    size_t len;
    bool is_prefix;
};

#define NAME(text)                    \
    {                                 \
        text, sizeof(text) - 1, false \
    }
#define PREFIX(text)                 \
    {                                \
        text, sizeof(text) - 1, true \
    }

/* JMS*: setters of ActiveMQ's (JMSDeliveryMode, JMSReplyTo, JMSXGroupID ...). */
static const struct steering in_capitals[] = {
    PREFIX("JMS"), PREFIX("AMQ_"), PREFIX("_AMQ_"), PREFIX("__AMQ"), NAME("CC"), NAME("BCC"), {0},
};

/* Arguments with which RabbitMQ declares the queue of a SEND, and what its exchanges, streams and plug-ins look at. */
static const struct steering with_x[] = {
    PREFIX("x-stream-"), PREFIX("x-max-"),     PREFIX("x-dead-letter-"),       NAME("x-death"),
    NAME("x-delay"),     NAME("x-expires"),    NAME("x-message-ttl"),          NAME("x-queue-name"),
    NAME("x-priority"),  NAME("x-queue-type"), NAME("x-deduplication-header"), {0},
};

/* durable, exclusive, auto-delete: as with_x. destination-type: Artemis's routing. transformation, amq-msg-type: ActiveMQ's. */
static const struct steering others[] = {
    PREFIX("activemq."),
    NAME("amq-msg-type"),
    NAME("auto-delete"),
    NAME("browser"),
    NAME("consumer-window-size"),
    NAME("destination-type"),
    NAME("durable"),
    NAME("exclusive"),
    NAME("prefetch-count"),
    NAME("receipt-id"),
    NAME("scheduledJobId"),
    NAME("selector"),
    NAME("subscription-type"),
    NAME("transformation"),
    NAME("transformation-error"),
    {0},
};

bool stomp_name_steers(struct bailey_bytes name)
{
    const struct steering *entry;

    if (name.len == 0)
        return false;
    entry = name.data[0] < 'a' ? in_capitals : name.data[0] == 'x' ? with_x : others;
    for (; entry->name != NULL; entry++)
        if ((entry->is_prefix ? name.len >= entry->len : name.len == entry->len) &&
            memcmp(name.data, entry->name, entry->len) == 0)
            return true;
    return false;
}

bool stomp_parse_number(struct bailey_bytes text, int64_t min, int64_t max, int64_t *value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t number = 0;

    if (text.len == i || text.len > 20 || (text.data[i] == '0' && text.len > 1))
        return false;
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, text.data[i] - '0', &number))
            return false;
    }
    number = negative ? -number : number;
    if (number < min || number > max)
        return false;
    *value = number;
    return true;
}
