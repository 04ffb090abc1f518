/* A message becomes one frame. The head, and a short body, are encoded in one piece of the output; a long body is referred
 * to. With content-length, but for a TextMessage of ActiveMQ's, which would become a BytesMessage by it: its body is UTF-8
 * without a NUL, so that it ends where it should. */
#include "send.h"

static size_t guess(const struct bailey_message *msg, const struct stomp_send *send)
{
    size_t room =
        192 + stomp_header_room(bailey_bytes_of("destination"), send->destination) + stomp_map_guess(msg, &send->marks);

    for (size_t i = 0; i < send->headers->count; i++)
        room += stomp_header_room(bailey_bytes_of(send->headers->entries[i].name),
                                  bailey_bytes_of(send->headers->entries[i].value));
    return room;
}

static void write_delay(struct stomp_writer *w, const struct stomp_connection *conn, const struct stomp_send *send)
{
    const struct stomp_dialect_row *row = stomp_dialect_row(conn->dialect);

    if (send->deliver_at_ms > send->wall_ms)
        stomp_write_number(w, row->delay,
                           row->delay_is_time ? send->deliver_at_ms : send->deliver_at_ms - send->wall_ms);
}

static enum stomp_map_result write_head(struct stomp_writer *w, const struct stomp_connection *conn,
                                        struct bailey_message *msg, const struct stomp_send *send, bool is_text)
{
    enum stomp_map_result result;

    stomp_write_command(w, "SEND");
    stomp_write_header(w, "destination", send->destination);
    stomp_write_number(w, "receipt", (int64_t)send->receipt);
    write_delay(w, conn, send);
    if (!is_text)
        stomp_write_number(w, "content-length", (int64_t)msg->body.len);
    for (size_t i = 0; i < send->headers->count; i++)
        stomp_write_header(w, send->headers->entries[i].name, bailey_bytes_of(send->headers->entries[i].value));
    result = stomp_map_export(w, msg, &send->map, send->wall_ms, &send->marks);
    stomp_write_end_of_head(w);
    return result;
}

/* Where it cannot, the message must not go before its time. */
static bool can_hold(const struct stomp_connection *conn, const struct stomp_send *send, struct bailey_error *err)
{
    if (send->deliver_at_ms <= send->wall_ms || stomp_dialect_row(conn->dialect)->delay != NULL)
        return true;
    bailey_fail(err, BAILEY_ERR_CONFIG, "%s does not hold messages until their time over STOMP",
                stomp_dialect_row(conn->dialect)->name);
    return bailey_hint(err, "Without delay_native the state store holds them.");
}

/* The body stays where it is; the NUL behind it is ours. */
static void append_body(struct stomp_connection *conn, struct bailey_message *msg)
{
    struct stomp_writer w;
    const uint8_t *from;

    stomp_connection_append(conn, msg->body);
    w = stomp_connection_reserve(conn, 1);
    from = w.at;
    stomp_write_body(&w, BAILEY_EMPTY_BYTES);
    stomp_connection_commit(conn, from, &w);
    stomp_connection_pin(conn, msg);
}

/* Over WebSocket: can it go as text, and must it? False with `err` if it must and cannot. */
static bool may_go(const struct stomp_connection *conn, struct bailey_bytes head, struct bailey_bytes body, bool *text,
                   struct bailey_error *err)
{
    *text = !conn->is_websocket || (bailey_utf8_valid(head) && bailey_utf8_valid(body));
    if (*text || !stomp_dialect_row(conn->dialect)->text_over_websocket)
        return true;
    bailey_fail(err, BAILEY_ERR_PERMANENT, "it is not UTF-8, and %s takes only that over WebSocket",
                stomp_dialect_row(conn->dialect)->name);
    return bailey_hint(err, "Use a stomp:// or stomp+ssl:// URL.");
}

bool stomp_send(struct stomp_connection *conn, struct bailey_message *msg, const struct stomp_send *send,
                struct bailey_error *err)
{
    bool copy = msg->body.len <= STOMP_COPY_MAX;
    size_t body = copy ? msg->body.len + 1 : 0;
    bool text, is_text = stomp_map_is_text(msg, conn->dialect);

    if (!can_hold(conn, send, err))
        return false;
    for (size_t room = guess(msg, send);; room = STOMP_HEAD_MAX) {
        struct stomp_writer w = stomp_connection_reserve(conn, room + body);
        uint8_t *from = w.at;
        enum stomp_map_result result = write_head(&w, conn, msg, send, is_text);
        struct bailey_bytes head = {from, (size_t)(w.at - from)};
        bool fits, goes;

        if (copy && !w.full)
            stomp_write_body(&w, msg->body);
        fits = result == STOMP_MAP_OK && !w.full && !w.bad;
        goes = fits && may_go(conn, head, msg->body, &text, err);
        if (!goes)
            w.at = from;
        stomp_connection_commit(conn, from, &w);
        if (goes && !copy)
            append_body(conn, msg);
        if (goes)
            stomp_connection_end_frame(conn, text);
        if (fits)
            return goes;
        if (result == STOMP_MAP_EXPIRED)
            return bailey_fail(err, BAILEY_ERR_PERMANENT, "expired: its time was over before it could be sent");
        if (w.bad)
            return bailey_fail(err, BAILEY_ERR_PERMANENT, "destination or headers hold what STOMP cannot express");
        if (room >= STOMP_HEAD_MAX)
            return bailey_fail(err, BAILEY_ERR_PERMANENT, "headers and properties do not fit into %d bytes",
                               STOMP_HEAD_MAX);
    }
}
