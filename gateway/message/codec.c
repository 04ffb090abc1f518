/* codec.c: version, fixed part, views, headers.
 *
 *     version u8
 *     flags u8 (1: redelivered), hops u8, timestamp kind u8, durability u8, priority i16, timestamp i64, expiry i64,
 *     partition i32, offset i64
 *     which views are not null u16 (bit 0 is the first of message_views), and each of these: length u32, bytes
 *     number of headers u32, and each: length of its name u32, name, value (binary.h)
 */
#include "message/codec.h"

#include <assert.h>

#include "message/binary.h"
#include "message/pool.h"

enum { REDELIVERED = 1, HEADER_MIN = 5 }; /* HEADER_MIN: bytes of the shortest header */

static_assert(MESSAGE_VIEWS <= 16, "a bit a view");

/* ---- Encoding ---- */

static struct bailey_bytes view(const struct bailey_message *msg, size_t i)
{
    return *(const struct bailey_bytes *)((const char *)msg + message_views[i]);
}

static void put_fixed(struct binary_writer *w, const struct bailey_message *msg)
{
    binary_put_uint(w, CODEC_VERSION, 1);
    binary_put_uint(w, msg->redelivered ? REDELIVERED : 0, 1);
    binary_put_uint(w, msg->hops, 1);
    binary_put_uint(w, msg->timestamp_kind, 1);
    binary_put_uint(w, msg->durability, 1);
    binary_put_uint(w, (uint16_t)msg->priority, 2);
    binary_put_uint(w, (uint64_t)msg->timestamp_ms, 8);
    binary_put_uint(w, (uint64_t)msg->expires_at_ms, 8);
    binary_put_uint(w, (uint32_t)msg->origin.partition, 4);
    binary_put_uint(w, (uint64_t)msg->origin.offset, 8);
}

static void put_views(struct binary_writer *w, const struct bailey_message *msg)
{
    uint64_t present = 0;

    for (size_t i = 0; i < MESSAGE_VIEWS; i++)
        present |= (uint64_t)(view(msg, i).data != NULL) << i;
    binary_put_uint(w, present, 2);
    for (size_t i = 0; i < MESSAGE_VIEWS; i++)
        if ((present >> i & 1) != 0)
            binary_put_bytes(w, view(msg, i));
}

static void put_message(struct binary_writer *w, const struct bailey_message *msg)
{
    put_fixed(w, msg);
    put_views(w, msg);
    binary_put_uint(w, msg->header_count, 4);
    for (uint32_t i = 0; i < msg->header_count; i++) {
        binary_put_bytes(w, msg->headers[i].name);
        binary_put_value(w, &msg->headers[i].value, 0);
    }
}

size_t message_encoded_size(const struct bailey_message *msg)
{
    struct binary_writer w = {0};

    put_message(&w, msg);
    return w.len;
}

void message_encode(const struct bailey_message *msg, uint8_t *out)
{
    put_message(&(struct binary_writer){.to = out}, msg);
}

/* ---- Decoding ---- */

static bool get_fixed(struct binary_reader *r, struct bailey_message *msg)
{
    uint64_t flags, hops, timestamp_kind, durability, priority, timestamp, expires, partition, offset;

    if (!binary_get_uint(r, 1, &flags) || !binary_get_uint(r, 1, &hops) || !binary_get_uint(r, 1, &timestamp_kind) ||
        !binary_get_uint(r, 1, &durability) || !binary_get_uint(r, 2, &priority) ||
        !binary_get_uint(r, 8, &timestamp) || !binary_get_uint(r, 8, &expires) || !binary_get_uint(r, 4, &partition) ||
        !binary_get_uint(r, 8, &offset))
        return false;
    msg->redelivered = flags == REDELIVERED;
    msg->hops = (uint8_t)hops;
    msg->timestamp_kind = (uint8_t)timestamp_kind;
    msg->durability = (uint8_t)durability;
    msg->priority = (int16_t)priority;
    msg->timestamp_ms = (int64_t)timestamp;
    msg->expires_at_ms = (int64_t)expires;
    msg->origin.partition = (int32_t)partition;
    msg->origin.offset = (int64_t)offset;
    return flags <= REDELIVERED && timestamp_kind <= BAILEY_TIMESTAMP_APPEND && durability <= BAILEY_TRANSIENT &&
           msg->priority >= -1 && msg->priority <= 255;
}

static bool get_views(struct binary_reader *r, struct bailey_message *msg)
{
    uint64_t present;

    if (!binary_get_uint(r, 2, &present) || present >> MESSAGE_VIEWS != 0)
        return false;
    for (size_t i = 0; i < MESSAGE_VIEWS; i++)
        if ((present >> i & 1) != 0 && !binary_get_bytes(r, (struct bailey_bytes *)((char *)msg + message_views[i])))
            return false;
    return true;
}

static bool get_headers(struct binary_reader *r, struct bailey_message *msg)
{
    uint64_t count;

    if (!binary_get_uint(r, 4, &count) || count > r->left / HEADER_MIN)
        return false;
    struct bailey_header *headers = count > 0 ? bailey_message_alloc(msg, count * sizeof *headers) : NULL;
    msg->headers = headers;
    for (uint64_t i = 0; i < count; i++) {
        r->values = 0;
        if (!binary_get_bytes(r, &headers[i].name) || !binary_get_value(r, &headers[i].value, 0))
            return false;
        msg->header_count++;
    }
    return true;
}

bool message_decode(struct bailey_message *msg, struct bailey_bytes bytes, struct bailey_error *err)
{
    struct bailey_bytes own = bailey_message_copy(msg, bytes.data, bytes.len);
    struct binary_reader r = {.msg = msg, .at = own.data, .left = own.len};
    uint64_t version;

    if (!binary_get_uint(&r, 1, &version) || version == 0)
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "a kept message is damaged");
    if (version > CODEC_VERSION) {
        bailey_fail(err, BAILEY_ERR_PERMANENT, "a kept message is of version %u, this bailey knows version %u",
                    (unsigned)version, CODEC_VERSION);
        return bailey_hint(err, "a newer bailey wrote it: use that one");
    }
    if (!get_fixed(&r, msg) || !get_views(&r, msg) || !get_headers(&r, msg) || r.left != 0)
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "a kept message is damaged");
    msg->size = message_size(msg);
    return true;
}
