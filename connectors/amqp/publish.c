/* A message becomes a method frame, a header frame and body frames. The first two, and a short body, are encoded in
 * one piece of the output; a long body is referred to, cut at frame_max.
 */
#include "publish.h"

void amq_publisher_init(struct amq_publisher *p, struct amq_channel *ch, const char *exchange,
                        const struct amq_map_options *map)
{
    struct amq_writer w = {p->head, p->head + sizeof p->head, false};

    p->ch = ch;
    p->map = *map;
    amq_write_space(&w, AMQ_FRAME_HEAD);
    amq_write_uint(&w, 4, AMQP_BASIC_PUBLISH_METHOD);
    amq_write_uint(&w, 2, 0); /* ticket */
    amq_write_shortstr(&w, bailey_bytes_of(exchange));
    p->head_len = (size_t)(w.at - p->head);
}

static void close_frame(struct amq_writer *w, uint8_t *head, enum amq_frame_type type, uint16_t channel)
{
    if (w->full)
        return;
    amq_frame_head(head, type, channel, (uint32_t)(w->at - head - AMQ_FRAME_HEAD));
    amq_write_uint(w, 1, AMQ_FRAME_END);
}

static void write_method(const struct amq_publisher *p, struct amq_writer *w, struct bailey_bytes routing_key)
{
    uint8_t *head = w->at;

    amq_write_bytes(w, p->head, p->head_len);
    amq_write_shortstr(w, routing_key);
    amq_write_uint(w, 1, 1); /* mandatory */
    close_frame(w, head, AMQ_FRAME_METHOD, p->ch->id);
}

static enum amq_map_result write_header(const struct amq_publisher *p, struct amq_writer *w,
                                        const struct bailey_message *msg, int64_t wall_ms,
                                        const struct bailey_marks *marks)
{
    uint8_t *head = amq_write_space(w, AMQ_FRAME_HEAD);
    enum amq_map_result result;

    amq_write_uint(w, 2, AMQ_CLASS_BASIC);
    amq_write_uint(w, 2, 0); /* weight */
    amq_write_uint(w, 8, msg->body.len);
    result = amq_map_encode(w, msg, &p->map, wall_ms, marks);
    if (result == AMQ_MAP_OK && (size_t)(w->at - head) + 1 > amq_connection_frame_max(p->ch->conn))
        result = AMQ_MAP_FULL;
    if (result == AMQ_MAP_OK)
        close_frame(w, head, AMQ_FRAME_HEADER, p->ch->id);
    return w->full ? AMQ_MAP_FULL : result;
}

static void write_short_body(const struct amq_publisher *p, struct amq_writer *w, struct bailey_bytes body)
{
    uint8_t *head = amq_write_space(w, AMQ_FRAME_HEAD);

    amq_write_bytes(w, body.data, body.len);
    close_frame(w, head, AMQ_FRAME_BODY, p->ch->id);
}

/* Body frames whose payload stays where it is; the end of one frame and the head of the next are one piece. */
static void append_body(struct amq_publisher *p, struct bailey_message *msg)
{
    struct amq_connection *conn = p->ch->conn;
    size_t frame = amq_connection_frame_max(conn) - AMQ_FRAME_OVERHEAD;

    for (size_t at = 0; at < msg->body.len; at += frame) {
        size_t len = msg->body.len - at < frame ? msg->body.len - at : frame;
        uint8_t *head = amq_connection_reserve(conn, AMQ_FRAME_HEAD);
        uint8_t *end;

        amq_frame_head(head, AMQ_FRAME_BODY, p->ch->id, (uint32_t)len);
        amq_connection_commit(conn, AMQ_FRAME_HEAD);
        amq_connection_append(conn, msg->body.data + at, len);
        end = amq_connection_reserve(conn, 1);
        *end = AMQ_FRAME_END;
        amq_connection_commit(conn, 1);
    }
    amq_connection_pin(conn, msg);
}

static bool cannot_express(enum amq_map_result result, uint32_t frame_max, struct bailey_error *err)
{
    switch (result) {
    case AMQ_MAP_EXPIRED:
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "expired: its time was over before it could be sent");
    case AMQ_MAP_BAD_CC:
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "its CC or BCC header is no array of strings");
    default:
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "headers and properties do not fit into a frame of %u bytes",
                           frame_max);
    }
}

bool amq_publish(struct amq_publisher *p, struct bailey_message *msg, struct bailey_bytes routing_key, int64_t wall_ms,
                 const struct bailey_marks *marks, struct bailey_error *err)
{
    struct amq_connection *conn = p->ch->conn;
    uint32_t frame_max = amq_connection_frame_max(conn);
    bool copy = msg->body.len > 0 && msg->body.len <= AMQ_COPY_MAX && msg->body.len + AMQ_FRAME_OVERHEAD <= frame_max;
    size_t fixed = p->head_len + routing_key.len + 64 + (copy ? msg->body.len + AMQ_FRAME_OVERHEAD : 0);
    size_t guess = amq_map_guess(msg, marks), room = guess < frame_max ? guess : frame_max;

    if (routing_key.len > AMQ_SHORTSTR_MAX)
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "routing key of %zu bytes, AMQP allows 255", routing_key.len);
    for (;;) {
        uint8_t *at = amq_connection_reserve(conn, fixed + room);
        struct amq_writer w = {at, at + fixed + room, false};
        enum amq_map_result result;

        write_method(p, &w, routing_key);
        result = write_header(p, &w, msg, wall_ms, marks);
        if (result == AMQ_MAP_OK && copy)
            write_short_body(p, &w, msg->body);
        if (result == AMQ_MAP_OK && !w.full) {
            amq_connection_commit(conn, (size_t)(w.at - at));
            if (msg->body.len > 0 && !copy)
                append_body(p, msg);
            return true;
        }
        amq_connection_commit(conn, 0);
        if (room == frame_max || (result != AMQ_MAP_FULL && result != AMQ_MAP_OK))
            return cannot_express(result, frame_max, err);
        room = frame_max;
    }
}
