/* bailey/message.h: the neutral envelope.
 *
 * A message is immutable once its source has handed it over (bailey_receive), and is counted. Its key, body and
 * header views point into the message itself, or into the buffer in which the connector received it, which the
 * message keeps alive (bailey_message_keep). Nobody writes to it later; a change makes a new message.
 *
 * A message belongs to one lane: all functions here are called on that lane's worker thread only.
 */
#ifndef BAILEY_MESSAGE_H
#define BAILEY_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <bailey/error.h>

/* A view of bytes. `data == NULL` is null (a tombstone's body, a missing key); empty has data and len 0. */
struct bailey_bytes {
    const uint8_t *data;
    size_t len;
};

#define BAILEY_NULL_BYTES ((struct bailey_bytes){NULL, 0})
#define BAILEY_EMPTY_BYTES ((struct bailey_bytes){(const uint8_t *)"", 0})

static inline struct bailey_bytes bailey_bytes_of(const char *text)
{
    return (struct bailey_bytes){(const uint8_t *)text, strlen(text)};
}
static inline bool bailey_bytes_equal(struct bailey_bytes a, struct bailey_bytes b)
{
    return (a.data == NULL) == (b.data == NULL) && a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
static inline bool bailey_bytes_is(struct bailey_bytes a, const char *text)
{
    return a.data != NULL && a.len == strlen(text) && memcmp(a.data, text, a.len) == 0;
}

/* Kinds of a header value: the set of AMQP 0-9-1 field types (RabbitMQ errata), in which Kafka's (BYTES) and STOMP's
 * (STRING) are contained. The character is the tag that names the kind in `bailey-types`. */
enum bailey_kind {
    BAILEY_KIND_NULL = 'V',
    BAILEY_KIND_BOOL = 't',
    BAILEY_KIND_I8 = 'b',
    BAILEY_KIND_U8 = 'B',
    BAILEY_KIND_I16 = 's',
    BAILEY_KIND_U16 = 'u',
    BAILEY_KIND_I32 = 'I',
    BAILEY_KIND_U32 = 'i',
    BAILEY_KIND_I64 = 'l',
    BAILEY_KIND_F32 = 'f',
    BAILEY_KIND_F64 = 'd',
    BAILEY_KIND_DECIMAL = 'D', /* value = u64 >> 8 (unsigned 32 bit) scaled by 10^-(u64 & 255) */
    BAILEY_KIND_STRING = 'S',  /* text; UTF-8 is usual, not promised */
    BAILEY_KIND_BYTES = 'x',
    BAILEY_KIND_TIMESTAMP = 'T', /* u64: seconds since 1970 */
    BAILEY_KIND_TABLE = 'F',
    BAILEY_KIND_ARRAY = 'A',
};

struct bailey_header;

struct bailey_value {
    enum bailey_kind kind;
    uint32_t count; /* TABLE: fields, ARRAY: items */
    union {
        bool boolean;
        int64_t i64;                        /* I8 I16 I32 I64 */
        uint64_t u64;                       /* U8 U16 U32 TIMESTAMP DECIMAL */
        double f64;                         /* F32 F64 */
        struct bailey_bytes bytes;          /* STRING BYTES; never null */
        const struct bailey_header *fields; /* TABLE, ordered, names may repeat */
        const struct bailey_value *items;   /* ARRAY */
    };
};

/* Names are bytes (UTF-8 is usual, may be empty, may repeat) and are never rewritten. */
struct bailey_header {
    struct bailey_bytes name;
    struct bailey_value value;
};

enum bailey_timestamp_kind {
    BAILEY_TIMESTAMP_NONE,
    BAILEY_TIMESTAMP_CREATE, /* the producer's clock */
    BAILEY_TIMESTAMP_APPEND, /* the broker's clock when it stored the message */
};

enum bailey_durability { BAILEY_DURABILITY_UNKNOWN, BAILEY_DURABLE, BAILEY_TRANSIENT };

/* Where the message was read. Views are null where the protocol has no such thing. */
struct bailey_origin {
    struct bailey_bytes topic;       /* Kafka */
    struct bailey_bytes queue;       /* AMQP */
    struct bailey_bytes exchange;    /* AMQP; empty = default exchange */
    struct bailey_bytes routing_key; /* AMQP */
    struct bailey_bytes destination; /* STOMP */
    int32_t partition;               /* Kafka; -1 elsewhere */
    int64_t offset;                  /* Kafka; -1 elsewhere */
};

struct bailey_message {
    uint32_t magic; /* private */
    uint32_t refs;  /* private */

    struct bailey_bytes key;  /* null = none */
    struct bailey_bytes body; /* null = tombstone */

    const struct bailey_header *headers; /* in order, names may repeat */
    uint32_t header_count;
    int16_t priority;       /* 0..255; -1 = none */
    uint8_t timestamp_kind; /* enum bailey_timestamp_kind */
    uint8_t durability;     /* enum bailey_durability */
    bool redelivered;       /* the source says that it may have delivered this before */
    uint8_t hops;           /* gateways passed so far */
    int64_t timestamp_ms;   /* since 1970; meaningless if timestamp_kind is NONE */
    int64_t expires_at_ms;  /* since 1970; 0 = never */

    struct bailey_bytes content_type; /* null = none, as are all below */
    struct bailey_bytes content_encoding;
    struct bailey_bytes correlation_id;
    struct bailey_bytes reply_to;
    struct bailey_bytes message_id;
    struct bailey_bytes type;
    struct bailey_bytes app_id;
    struct bailey_bytes user_id; /* information only: never asserted to a sink */

    struct bailey_origin origin;

    /* The source's own words about where this came from, handed back in its settlement (delivery.h).
     * `group`: what can be lost as a whole (a Kafka assignment, an AMQP channel's life); see bailey_revoke().
     * `position`: within the group (offset, delivery tag). Opaque to everybody else. */
    uint32_t group;
    uint64_t position;

    size_t size; /* bytes it counts against credit; set by bailey_receive: key + body + headers */

    struct bailey_pool *pool; /* private from here on */
    void (*release)(void *owner, void *cookie);
    void *release_owner;
    void *release_cookie;
    struct bailey_chunk *chunks;
    uint32_t inline_used;
};

struct bailey_port;

/* A new message with one reference, of `port`'s lane; all views null, priority -1, origin.partition and offset -1.
 * Never fails: the process ends when memory is exhausted (the lane's credit is what bounds it). */
struct bailey_message *bailey_message_new(struct bailey_port *port);

/* `len` bytes (8-byte aligned, uninitialised) that live as long as `msg`: header arrays, decoded values, copies. */
void *bailey_message_alloc(struct bailey_message *msg, size_t len);

/* A copy of `data` inside `msg`. `data == NULL` gives null. */
struct bailey_bytes bailey_message_copy(struct bailey_message *msg, const void *data, size_t len);

/* Call release(owner, cookie) once, when the last reference goes: for the buffer that the views point into.
 * At most once for a message. May also be called earlier, if the message is copied out (bailey_message_detach). */
void bailey_message_keep(struct bailey_message *msg, void (*release)(void *owner, void *cookie), void *owner,
                         void *cookie);

/* One more reference; returns `msg`. */
struct bailey_message *bailey_message_ref(struct bailey_message *msg);

/* One reference less; the last frees it. NULL is allowed. */
void bailey_message_unref(struct bailey_message *msg);

/* A new message, all of whose bytes are its own: for one that waits and must not pin its connector's buffer.
 * Takes `msg`. Returns `msg` itself if it already owns all its bytes. */
struct bailey_message *bailey_message_detach(struct bailey_message *msg);

/* A new message equal to `msg` but for its key, sharing all else; holds a reference to `msg`. `key` is copied. */
struct bailey_message *bailey_message_with_key(struct bailey_message *msg, struct bailey_bytes key);

/* The first header of that name, or NULL. */
const struct bailey_header *bailey_message_header(const struct bailey_message *msg, struct bailey_bytes name);

/* Deep limits for values that come from outside: nesting and the number of values in one tree. */
enum { BAILEY_VALUE_DEPTH_MAX = 32, BAILEY_VALUE_COUNT_MAX = 4096 };

/* Deep copy of `value` into `msg`. */
struct bailey_value bailey_value_copy(struct bailey_message *msg, const struct bailey_value *value);

/* Exact text of a value, for protocols whose headers are text or bytes: integers in decimal, F32 with 9 and F64 with 17
 * significant digits, BOOL true or false, STRING and BYTES as they are, NULL empty, DECIMAL as "unscaled:scale",
 * TABLE and ARRAY in a compact binary form of ours (tag, then big-endian lengths).
 * The bytes live in `msg` (or are those of the value itself). */
struct bailey_bytes bailey_value_format(struct bailey_message *scratch, const struct bailey_value *value);

/* The inverse, for a value of `kind` whose bytes come from outside: false if they are not of that form, too deep or too
 * many. The result lives in `msg` and may point into `bytes`. */
bool bailey_value_parse(struct bailey_message *msg, enum bailey_kind kind, struct bailey_bytes bytes,
                        struct bailey_value *value);

/* True if `kind` is one of enum bailey_kind: for tags that come from outside. */
bool bailey_kind_valid(int kind);

/* True if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool bailey_utf8_valid(struct bailey_bytes bytes);

#endif
