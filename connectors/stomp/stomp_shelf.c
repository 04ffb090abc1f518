/* What lies in the queue of a sink, once: for dead letters.
 *
 *     dial → CONNECTED → SUBSCRIBE → its RECEIPT: up → ... → finished
 *
 * ActiveMQ lets a browser look, which takes nothing and says when it has seen all. Else it is a subscription, whose unacknowledged messages
 * return with the disconnect: STOMP has no word for how much there is, so it has ended when for a second nothing came that there was
 * room for. What is put there meanwhile may come, too.
 */
#include <stdlib.h>

#include "receiver.h"

enum {
    QUIET_MS = 1000,
    BROWSE_MAX = 400, /* ActiveMQ's maxBrowsePageSize, unless it is set: it ends there, whatever is left */
};

struct shelf {
    struct stomp_receiver in; /* first */
    const struct stomp_sink_settings *settings;
    char *destination;
    struct bailey_timer quiet;
    int64_t heard_ms; /* when a message, or the RECEIPT, came last */

    bool browses, is_over, finished;
};

static const struct stomp_dialect_row *row_of(const struct shelf *shelf)
{
    return stomp_dialect_row(shelf->in.conn.dialect);
}

/* ---- The end ---- */

/* More may lie there, which the broker does not show, or not before something is acknowledged. */
static void tell_cut(const struct shelf *shelf)
{
    int64_t most = shelf->browses ? BROWSE_MAX : row_of(shelf)->prefetch_most;
    uint64_t given = shelf->browses ? shelf->in.browsed : stomp_receiver_unacknowledged(&shelf->in);

    if (most <= 0 || given < (uint64_t)most)
        return;
    bailey_log(
        BAILEY_LOG_WARN, "shelf.cut", kv_str("route", shelf->in.port->route), kv_str("destination", shelf->destination),
        kv_u64("messages", given),
        kv_str("hint", "There may be more: the broker gives no more at once. Take some of them, and look again."));
}

static void finish_if_over(struct shelf *shelf)
{
    if (!shelf->is_over || shelf->finished || shelf->in.failed || stomp_receiver_waits(&shelf->in))
        return;
    shelf->finished = shelf->in.leaves = true;
    bailey_timer_stop(shelf->in.host, &shelf->quiet);
    tell_cut(shelf);
    bailey_finished(shelf->in.port);
}

static void on_quiet(struct bailey_timer *timer)
{
    struct shelf *shelf = timer->ctx;
    int64_t now = bailey_now_ms(shelf->in.host);

    if (stomp_receiver_waits(&shelf->in)) /* we do not listen: nothing can be heard */
        shelf->heard_ms = now;
    shelf->is_over = now - shelf->heard_ms >= QUIET_MS;
    if (!shelf->is_over)
        bailey_timer_start(shelf->in.host, timer, shelf->heard_ms + QUIET_MS - now);
    finish_if_over(shelf);
}

/* ---- Receiving ---- */

/* ActiveMQ's last frame of a browser. A message with such a header has what every message has there, too. */
static bool is_end_of_browse(const struct stomp_parser *frame)
{
    return bailey_bytes_is(stomp_frame_header(frame, "browser"), "end") &&
           stomp_frame_header(frame, "expires").data == NULL;
}

static void on_message(struct stomp_connection *conn, const struct stomp_parser *frame)
{
    struct shelf *shelf = (struct shelf *)conn;

    shelf->heard_ms = bailey_now_ms(shelf->in.host);
    if (!shelf->browses)
        stomp_receiver_message(conn, frame);
    else if (is_end_of_browse(frame))
        shelf->is_over = true;
    else
        stomp_receiver_browse(&shelf->in, frame);
}

static void on_body(struct stomp_connection *conn, struct bailey_bytes part, bool last)
{
    struct shelf *shelf = (struct shelf *)conn;

    shelf->heard_ms = bailey_now_ms(shelf->in.host);
    stomp_receiver_body(conn, part, last);
}

static void hand_over(struct shelf *shelf)
{
    stomp_receiver_hand_over(&shelf->in);
    finish_if_over(shelf);
}

static void on_input_end(struct stomp_connection *conn)
{
    hand_over((struct shelf *)conn);
}

static void shelf_resume(void *self)
{
    hand_over(self);
}

static void shelf_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct shelf *shelf = self;

    if (!shelf->in.port->only_looks)
        stomp_receiver_settle(&shelf->in, ended, count, false);
}

/* ---- Subscribing ---- */

static const char *header_of(const struct shelf *shelf, const char *name)
{
    const struct bailey_map *headers = &shelf->settings->headers;

    for (size_t i = 0; i < headers->count; i++)
        if (strcmp(headers->entries[i].name, name) == 0)
            return headers->entries[i].value;
    return NULL;
}

/* The subscription declares the queue as the sink does. */
static void write_queue_arguments(struct shelf *shelf, struct stomp_writer *w)
{
    static const char *const names[] = {"durable", "auto-delete", "exclusive"};
    const struct bailey_map *headers = &shelf->settings->headers;

    for (size_t i = 0; i < headers->count; i++) {
        const char *name = headers->entries[i].name;
        bool is_one = strncmp(name, "x-", 2) == 0;

        for (size_t n = 0; n < sizeof names / sizeof *names; n++)
            is_one |= strcmp(name, names[n]) == 0;
        if (is_one)
            stomp_write_header(w, name, bailey_bytes_of(headers->entries[i].value));
    }
}

static void write_headers(void *ctx, struct stomp_writer *w)
{
    struct shelf *shelf = ctx;
    const struct stomp_dialect_row *row = row_of(shelf);

    if (shelf->browses)
        stomp_write_header(w, row->browser, bailey_bytes_of("true"));
    else if (row->prefetch != NULL)
        stomp_write_number(w, row->prefetch, row->prefetch_most);
    if (shelf->in.conn.dialect == STOMP_ARTEMIS && header_of(shelf, "destination-type") != NULL)
        stomp_write_header(w, "subscription-type", bailey_bytes_of("ANYCAST"));
    if (shelf->in.conn.dialect == STOMP_RABBITMQ)
        write_queue_arguments(shelf, w);
}

/* Artemis does not count what UNSUBSCRIBE gives back; RabbitMQ counts it in quorum queues, whose type the sink's headers name. */
static void tell_counted(const struct shelf *shelf)
{
    const char *type = header_of(shelf, "x-queue-type");
    bool is_classic = strncmp(shelf->destination, "/queue/", 7) == 0 && (type == NULL || strcmp(type, "classic") == 0);
    bool counts = shelf->in.conn.dialect == STOMP_RABBITMQ ? !is_classic : shelf->in.conn.dialect == STOMP_GENERIC;

    if (shelf->in.port->only_looks && counts)
        bailey_log(BAILEY_LOG_WARN, "shelf.counted", kv_str("route", shelf->in.port->route),
                   kv_str("destination", shelf->destination),
                   kv_str("hint", "The broker may count each look as a delivery (a quorum queue does)."));
}

/* Queues have names of their own on RabbitMQ. */
static bool is_no_queue(const struct shelf *shelf)
{
    return shelf->in.conn.dialect == STOMP_RABBITMQ && strncmp(shelf->destination, "/queue/", 7) != 0 &&
           strncmp(shelf->destination, "/amq/queue/", 11) != 0;
}

static bool fail_no_queue(struct bailey_error *err, struct bailey_bytes destination)
{
    bailey_fail(err, BAILEY_ERR_CONFIG, "%.*s is no queue: what was sent there cannot be read back",
                (int)(destination.len < 120 ? destination.len : 120), (const char *)destination.data);
    return bailey_hint(err, "Name a queue: /queue/NAME.");
}

static void on_opened(struct stomp_connection *conn)
{
    struct shelf *shelf = (struct shelf *)conn;
    struct bailey_error err = {0};

    if (is_no_queue(shelf)) {
        fail_no_queue(&err, bailey_bytes_of(shelf->destination));
        stomp_receiver_fail(&shelf->in, &err);
        return;
    }
    shelf->browses = shelf->in.port->only_looks && row_of(shelf)->browser != NULL;
    tell_counted(shelf);
    if (!stomp_receiver_subscribe(&shelf->in, shelf->browses ? "auto" : "client-individual", write_headers, shelf,
                                  &err))
        stomp_receiver_fail(&shelf->in, &err);
}

static void on_receipt(struct stomp_connection *conn, struct bailey_bytes id)
{
    struct shelf *shelf = (struct shelf *)conn;

    if (!stomp_receiver_subscribed(&shelf->in, id))
        return;
    shelf->heard_ms = bailey_now_ms(shelf->in.host);
    if (!shelf->browses)
        bailey_timer_start(shelf->in.host, &shelf->quiet, QUIET_MS);
}

/* ---- Beginning and end ---- */

static void shelf_close(void *self)
{
    struct shelf *shelf = self;

    bailey_timer_stop(shelf->in.host, &shelf->quiet);
    stomp_receiver_close(&shelf->in);
}

static void free_shelf(struct stomp_receiver *in)
{
    struct shelf *shelf = (struct shelf *)in;

    stomp_receiver_fini(in);
    bailey_timer_stop(in->host, &shelf->quiet);
    free(shelf->destination);
    free(shelf);
}

static const struct stomp_connection_ops shelf_ops = {
    .opened = on_opened,
    .message = on_message,
    .body = on_body,
    .receipt = on_receipt,
    .input_end = on_input_end,
    .lost = stomp_receiver_lost,
    .closed = stomp_receiver_closed,
};

static bool is_a_topic(const struct stomp_sink_settings *s)
{
    static const char *const prefixes[] = {"/topic/", "topic://", "/exchange/", "/temp-", "/reply-queue/"};
    struct bailey_bytes name = s->destination->constant;

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (name.len >= strlen(prefixes[i]) && memcmp(name.data, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    for (size_t i = 0; i < s->headers.count; i++)
        if (strcmp(s->headers.entries[i].name, "destination-type") == 0 &&
            strcmp(s->headers.entries[i].value, "MULTICAST") == 0)
            return true;
    return false;
}

/* False with `err`, if it is not one queue. */
static bool names_a_queue(const struct stomp_sink_settings *s, struct bailey_error *err)
{
    if (s->destination->slot >= 0) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the sink names no one queue: its destination is made of each message");
        return bailey_hint(err, "Name a `destination` without ${...}.");
    }
    return !is_a_topic(s) || fail_no_queue(err, s->destination->constant);
}

static bool shelf_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                       struct bailey_error *err)
{
    const struct stomp_sink_settings *s = settings;
    struct shelf *shelf;

    if (!names_a_queue(s, err))
        return false;
    shelf = calloc(1, sizeof *shelf);
    if (shelf != NULL)
        shelf->destination = strndup((const char *)s->destination->constant.data, s->destination->constant.len);
    if (shelf == NULL || shelf->destination == NULL) {
        free(shelf);
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    }
    shelf->settings = s;
    shelf->quiet = (struct bailey_timer){.fire = on_quiet, .ctx = shelf};
    shelf->in.conn.ops = &shelf_ops;
    shelf->in.conn.purpose = "browse";
    shelf->in.free_end = free_shelf;
    stomp_receiver_init(&shelf->in, broker, port, shelf->destination, "1");
    *self = shelf;
    stomp_connection_dial(&shelf->in.conn);
    return true;
}

const struct bailey_source stomp_shelf = {
    .open = shelf_open,
    .resume = shelf_resume,
    .settle = shelf_settle,
    .drain = stomp_receiver_drain,
    .close = shelf_close,
};
