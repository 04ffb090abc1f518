/* A subscriber: one connection, one subscription, ACKs that follow the lane's settlements.
 *
 *     dial → CONNECTED → SUBSCRIBE → its RECEIPT: up → drain → close
 *
 * UNSUBSCRIBE is no way to drain: on all three brokers it makes what is unacknowledged unacknowledgeable (docs/stomp.md). So a
 * message that comes while draining is simply dropped: it stays unacknowledged, and returns with the DISCONNECT.
 */
#include <stdio.h>
#include <stdlib.h>

#include "options.h"
#include "receiver.h"

enum {
    PREFETCH_MAX = 65535, /* messages: RabbitMQ counts in 16 bits */
    WINDOW_BYTES_MIN = 64 << 10,
    WINDOW_BYTES_EACH = 1 << 10, /* Artemis: bytes of window for a message of the prefetch */
};

struct source {
    struct stomp_receiver in; /* first */
    const struct stomp_source_settings *settings;
    char client_id[256];
};

/* ---- Receiving ---- */

static void on_input_end(struct stomp_connection *conn)
{
    stomp_receiver_hand_over((struct stomp_receiver *)conn);
}

static void source_resume(void *self)
{
    stomp_receiver_hand_over(self);
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    stomp_receiver_settle(self, ended, count, true);
}

/* ---- Subscribing ---- */

static int64_t prefetch(const struct source *source)
{
    int64_t limit = source->in.port->credit_messages;

    if (source->settings->prefetch > 0 && source->settings->prefetch < limit)
        limit = source->settings->prefetch;
    return limit < 1 ? 1 : limit > PREFETCH_MAX ? PREFETCH_MAX : limit;
}

/* Artemis counts a message with all that it stores of it. */
static int64_t prefetch_bytes(const struct source *source)
{
    int64_t bytes = prefetch(source) * WINDOW_BYTES_EACH;

    if (bytes > source->in.port->credit_bytes)
        bytes = source->in.port->credit_bytes;
    return bytes < WINDOW_BYTES_MIN ? WINDOW_BYTES_MIN : bytes;
}

static void write_prefetch(struct source *source, struct stomp_writer *w, const struct stomp_dialect_row *row)
{
    if (row->prefetch_unit == STOMP_PREFETCH_MESSAGES)
        stomp_write_number(w, row->prefetch, prefetch(source));
    else if (row->prefetch_unit == STOMP_PREFETCH_BYTES)
        stomp_write_number(w, row->prefetch, prefetch_bytes(source));
}

static void write_durable(struct stomp_writer *w, const struct stomp_dialect_row *row, const char *name)
{
    if (row->durable != NULL)
        stomp_write_header(w, row->durable, bailey_bytes_of(name));
    if (row->durable_by_headers) {
        stomp_write_header(w, "durable", bailey_bytes_of("true"));
        stomp_write_header(w, "auto-delete", bailey_bytes_of("false"));
    }
}

static void write_headers(void *ctx, struct stomp_writer *w)
{
    struct source *source = ctx;
    const struct stomp_source_settings *s = source->settings;
    const struct stomp_dialect_row *row = stomp_dialect_row(source->in.conn.dialect);

    write_prefetch(source, w, row);
    if (s->selector != NULL)
        stomp_write_header(w, row->selector, bailey_bytes_of(s->selector));
    if (s->subscription != NULL)
        write_durable(w, row, s->subscription);
    if (s->exclusive && row->exclusive != NULL)
        stomp_write_header(w, row->exclusive, bailey_bytes_of("true"));
    for (size_t i = 0; i < s->headers.count; i++)
        stomp_write_header(w, s->headers.entries[i].name, bailey_bytes_of(s->headers.entries[i].value));
}

/* A selector that the broker would ignore lets messages through that nobody meant. */
static bool refuses_selector(struct source *source)
{
    struct bailey_error err = {0};

    if (source->settings->selector == NULL || stomp_dialect_row(source->in.conn.dialect)->selector != NULL)
        return false;
    bailey_fail(&err, BAILEY_ERR_CONFIG, "%.60s: %s has no selectors, it would ignore this one",
                source->in.conn.address, stomp_dialect_row(source->in.conn.dialect)->name);
    bailey_hint(&err, "Remove selector, and filter in the route or by a binding.");
    stomp_receiver_fail(&source->in, &err);
    return true;
}

static void on_opened(struct stomp_connection *conn)
{
    struct source *source = (struct source *)conn;
    struct bailey_error err = {0};

    if (!refuses_selector(source) &&
        !stomp_receiver_subscribe(&source->in, "client-individual", write_headers, source, &err))
        stomp_receiver_fail(&source->in, &err);
}

static void on_receipt(struct stomp_connection *conn, struct bailey_bytes id)
{
    stomp_receiver_subscribed((struct stomp_receiver *)conn, id);
}

/* ---- Beginning and end ---- */

static void free_source(struct stomp_receiver *in)
{
    stomp_receiver_fini(in);
    free(in); /* the first of it */
}

static const struct stomp_connection_ops source_ops = {
    .opened = on_opened,
    .message = stomp_receiver_message,
    .body = stomp_receiver_body,
    .receipt = on_receipt,
    .input_end = on_input_end,
    .lost = stomp_receiver_lost,
    .closed = stomp_receiver_closed,
};

/* A durable subscription belongs to a client id, which must be the same after a restart. */
static void name_client(struct source *source)
{
    const struct stomp_source_settings *s = source->settings;

    if (s->client_id != NULL)
        source->in.conn.client_id = s->client_id;
    if (s->client_id != NULL || s->subscription == NULL)
        return;
    snprintf(source->client_id, sizeof source->client_id, "bailey.%.120s.%.120s", source->in.port->instance,
             source->in.port->route);
    source->in.conn.client_id = source->client_id;
}

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    struct source *source = calloc(1, sizeof *source);

    if (source == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    source->in.conn.ops = &source_ops;
    source->in.conn.purpose = "receive";
    source->in.free_end = free_source;
    source->settings = settings;
    stomp_receiver_init(&source->in, broker, port, source->settings->destination,
                        source->settings->subscription != NULL ? source->settings->subscription : "1");
    name_client(source);
    *self = source;
    stomp_connection_dial(&source->in.conn);
    return true;
}

const struct bailey_source stomp_source = {
    .settings_size = sizeof(struct stomp_source_settings),
    .options = stomp_source_options,
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = stomp_receiver_drain,
    .close = stomp_receiver_close,
};
