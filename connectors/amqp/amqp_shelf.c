/* What lies in the queue of a sink, once: for dead letters.
 *
 *     channel open → (ask for the queue's type → renewed) → look at the queue: so many → up → basic.get ... → finished
 *
 * basic.get, many on their way, and not a consumer: each says whether there was a message, so the end is certain, also when other
 * consumers take some; nothing that we do not want is on its way. As many as lay there at the look are got, then it is over: what
 * comes later is not part of it. Of a quorum queue without a leader RabbitMQ says at the look that it is empty: so one is got even then. What was not settled as accepted stays unacknowledged, and returns with the channel's close: to its
 * place in a classic queue, to the head of a quorum queue, in any order (tried with RabbitMQ 3.10: singly by basic.reject, too).
 *
 * A quorum queue counts each return as a delivery, and a stream has no basic.get: RabbitMQ answers that with the end of the
 * connection, which is why a shelf does not share the consumers'. No method tells a queue's type, but a declaration with a type
 * that there is not: it changes nothing, whatever it finds, and its refusal names the type that the queue has. It needs the
 * permission to configure; without it, the type stays unknown.
 *
 * RabbitMQ holds acks to a quorum queue back when more than 32 commands are on their way to its log, and forgets them with the
 * channel (rabbit_fifo_client: settle/3 while `slow`). A basic.get waits for the log: the first one at the end until those on their
 * way are written, when what was held back is sent, the second until that is written. What they return goes back with the rest.
 */
#include <stdlib.h>

#include "receiver.h"
#include "setup.h"

enum {
    GETS_MAX = 256, /* on their way */
    ANSWER_MS = 5000,
    WAITS = 2, /* basic.get, one after the other, until a quorum queue has written all acks */
};

enum queue_type { TYPE_UNKNOWN, TYPE_CLASSIC, TYPE_QUORUM };
enum step { ASK, LOOK, GET };

struct shelf {
    struct amq_receiver in; /* first */
    char queue[AMQ_SHORTSTR_MAX + 1];
    enum step step;
    enum queue_type type;

    uint64_t left;  /* how many are still to be asked for */
    size_t asked;   /* basic.get sent and not answered */
    unsigned waits; /* basic.get still to be sent before the channel is closed */
    struct bailey_timer patience;
    bool patience_runs, answered; /* answered: since it began to run */
    bool said_empty;              /* it looked so */
    bool finished;
    bool acks; /* some were sent, or will be */
};

/* ---- Getting ---- */

/* How many may be on their way: by their number, and by what they weigh. */
static size_t window(const struct shelf *shelf)
{
    const struct bailey_port *port = shelf->in.port;
    uint64_t fits = (uint64_t)port->credit_bytes / (shelf->in.mean + 1);

    return fits < 1 ? 1 : fits < GETS_MAX ? (size_t)fits : GETS_MAX;
}

static void be_patient(struct shelf *shelf)
{
    shelf->patience_runs = true;
    shelf->answered = false;
    bailey_timer_start(shelf->in.host, &shelf->patience, ANSWER_MS);
}

/* RabbitMQ leaves a basic.get from a quorum queue that has no leader yet without an answer for a minute, also if it has one soon. */
static void on_patience(struct bailey_timer *timer)
{
    struct shelf *shelf = timer->ctx;

    shelf->patience_runs = false;
    if (shelf->asked == 0)
        return;
    if (shelf->answered)
        be_patient(shelf);
    else
        amq_connection_break(shelf->in.ch.conn, "no answer to a basic.get: the queue may have no leader");
}

static void get(struct shelf *shelf)
{
    amqp_basic_get_t get = {.queue = amqp_cstring_bytes(shelf->queue)};

    amq_channel_send(&shelf->in.ch, AMQP_BASIC_GET_METHOD, &get);
    shelf->asked++;
    if (!shelf->patience_runs)
        be_patient(shelf);
}

static void get_more(struct shelf *shelf)
{
    size_t room, most = window(shelf);

    if (shelf->step != GET || shelf->in.draining || shelf->in.closing || shelf->in.failed)
        return;
    room = bailey_room(shelf->in.port);
    most = room < most ? room : most;
    for (; shelf->left > 0 && shelf->asked < most; shelf->left--)
        get(shelf);
    if (shelf->left == 0 && shelf->asked == 0 && !shelf->finished) {
        shelf->finished = true;
        bailey_finished(shelf->in.port);
    }
}

/* Close the channel when all acks are written. */
static void close_channel(struct shelf *shelf)
{
    if (shelf->asked > 0)
        return; /* its answer comes here again */
    if (shelf->waits == 0) {
        amq_channel_close(&shelf->in.ch);
        return;
    }
    shelf->waits--;
    get(shelf);
}

/* False: nobody asked. */
static bool is_answer(struct shelf *shelf)
{
    if (shelf->asked == 0) {
        amq_connection_break(shelf->in.ch.conn, "an answer to a basic.get that was not sent");
        return false;
    }
    shelf->asked--;
    shelf->answered = true;
    return true;
}

static void on_get_ok(struct shelf *shelf, struct bailey_bytes args)
{
    struct amq_reader r = {args.data, args.data + args.len, false};

    if (!is_answer(shelf))
        return;
    if (shelf->said_empty) { /* look again: now it has a leader */
        amq_connection_break(shelf->in.ch.conn, "the queue was said to be empty, and is not");
        return;
    }
    amq_receiver_begin(&shelf->in, &r, !shelf->in.draining && !shelf->in.closing);
    if (shelf->in.closing)
        close_channel(shelf);
}

/* Somebody else took the rest. */
static void on_get_empty(struct shelf *shelf)
{
    if (!is_answer(shelf))
        return;
    shelf->left = 0;
    if (shelf->in.closing)
        close_channel(shelf);
    else
        amq_channel_dirty(&shelf->in.ch); /* get_more() */
}

static void on_input_end(struct amq_channel *ch)
{
    struct shelf *shelf = (struct shelf *)ch;

    amq_receiver_hand_over(&shelf->in);
    get_more(shelf);
}

static void shelf_resume(void *self)
{
    get_more(self);
}

static void shelf_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct shelf *shelf = self;

    if (shelf->in.port->only_looks)
        return;
    shelf->acks = true;
    amq_receiver_settle(&shelf->in, ended, count, false);
}

static void fail_stream(struct shelf *shelf)
{
    struct bailey_error err = {0};

    bailey_fail(&err, BAILEY_ERR_CONFIG, "queue %.120s is a stream: messages cannot be taken out of it", shelf->queue);
    bailey_hint(&err, "Use a quorum or classic queue.");
    amq_receiver_fail(&shelf->in, &err);
}

/* ---- The queue's type ---- */

static void found_type(struct shelf *shelf, enum queue_type type)
{
    shelf->type = type;
    if (type == TYPE_CLASSIC || !shelf->in.port->only_looks)
        return;
    bailey_log(
        BAILEY_LOG_WARN, "shelf.counted", kv_str("route", shelf->in.port->route), kv_str("queue", shelf->queue),
        kv_str("hint",
               type == TYPE_QUORUM
                   ? "A quorum queue counts each look as a delivery (delivery-limit), and may change their order."
                   : "If it is a quorum queue, it counts each look as a delivery, and may change their order. "
                     "Without the permission to configure it, its type cannot be told."));
}

/* The refusal of a type that there is not: "... 'x-queue-type' for queue 'q' ...: received 'bailey-looks' but current is 'quorum'". The
 * name of the queue comes before it and may hold anything: the last words count. */
static void on_type(struct shelf *shelf, const struct bailey_error *err)
{
    static const char words[] = "but current is ";
    const char *at = err->text, *type = NULL;

    for (; (at = strstr(at, words)) != NULL; at += sizeof words - 1)
        type = at + sizeof words - 1;
    if (type != NULL && strstr(type, "stream") != NULL)
        fail_stream(shelf);
    else if (type != NULL)
        found_type(shelf, strstr(type, "quorum") != NULL ? TYPE_QUORUM : TYPE_CLASSIC);
    else if (err->native == AMQP_ACCESS_REFUSED || strstr(err->text, "inequivalent") != NULL) /* cut short */
        found_type(shelf, TYPE_UNKNOWN);
    /* else it is not there: the look will say so */
}

/* ---- Preparing ---- */

static void on_opened(struct amq_channel *ch)
{
    struct shelf *shelf = (struct shelf *)ch;

    amq_acks_reset(&shelf->in.acks);
    if (!amq_connection_is_rabbitmq(ch->conn))
        shelf->step = LOOK;
    if (shelf->step == ASK)
        amq_receiver_must_fit(&shelf->in, amq_queue_ask_type(ch, bailey_bytes_of(shelf->queue)));
    else
        amq_receiver_must_fit(&shelf->in, amq_queue_look(ch, bailey_bytes_of(shelf->queue)));
}

static void on_declared(struct shelf *shelf, struct bailey_bytes args)
{
    struct amq_reader r = {args.data, args.data + args.len, false};

    if (shelf->step == ASK) { /* a broker that does not mind the type */
        found_type(shelf, TYPE_UNKNOWN);
        shelf->step = LOOK;
        amq_receiver_must_fit(&shelf->in, amq_queue_look(&shelf->in.ch, bailey_bytes_of(shelf->queue)));
        return;
    }
    amq_read_shortstr(&r);
    shelf->left = amq_read_u32(&r);
    if (r.bad || shelf->step == GET) {
        amq_connection_break(shelf->in.ch.conn, "malformed or unexpected queue.declare-ok");
        return;
    }
    shelf->step = GET;
    shelf->said_empty = shelf->left == 0;
    bailey_lag(shelf->in.port, (int64_t)shelf->left);
    bailey_up(shelf->in.port);
    if (shelf->said_empty)
        shelf->left = 1;
    amq_channel_dirty(&shelf->in.ch); /* get_more() */
}

static void on_lost(struct amq_channel *ch, const struct bailey_error *err, bool connection)
{
    struct shelf *shelf = (struct shelf *)ch;
    struct bailey_error named = *err;

    if (!connection && shelf->step == ASK && !shelf->in.failed && !shelf->in.closing) {
        shelf->step = LOOK;
        on_type(shelf, err);
        if (!shelf->in.failed)
            amq_channel_renew(ch);
        return;
    }
    if (err->native == AMQP_NOT_IMPLEMENTED && shelf->step == GET) {
        fail_stream(shelf);
        return;
    }
    amq_name_permission(&named, "read");
    if (err->native == AMQP_RESOURCE_LOCKED && strstr(err->text, "single active consumer") != NULL)
        bailey_hint(&named, "Messages of a quorum queue with a single active consumer can only be consumed.");
    amq_receiver_fail(&shelf->in, &named);
}

static void on_method(struct amq_channel *ch, uint32_t id, struct bailey_bytes args)
{
    struct shelf *shelf = (struct shelf *)ch;

    switch (id) {
    case AMQP_BASIC_GET_OK_METHOD:
        on_get_ok(shelf, args);
        break;
    case AMQP_BASIC_GET_EMPTY_METHOD:
        on_get_empty(shelf);
        break;
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        on_declared(shelf, args);
        break;
    default:
        amq_connection_break(ch->conn, "unexpected method %u.%u at a shelf", id >> 16, id & 0xffff);
    }
}

/* ---- Beginning and end ---- */

static void shelf_drain(void *self)
{
    struct shelf *shelf = self;

    shelf->in.draining = true; /* what is still answered stays unacknowledged */
    amq_receiver_drop(&shelf->in);
    amq_receiver_drained(&shelf->in);
}

static void shelf_close(void *self)
{
    struct shelf *shelf = self;

    if (!amq_receiver_close(&shelf->in))
        return;
    if (shelf->acks && shelf->type != TYPE_CLASSIC && amq_connection_is_rabbitmq(shelf->in.ch.conn))
        shelf->waits = WAITS;
    close_channel(shelf);
}

static void free_shelf(struct amq_receiver *in)
{
    bailey_timer_stop(in->host, &((struct shelf *)in)->patience);
    amq_receiver_fini(in);
    free(in); /* the first of it */
}

static const struct amq_channel_ops shelf_ops = {
    .opened = on_opened,
    .method = on_method,
    .header = amq_receiver_header,
    .body = amq_receiver_body,
    .input_end = on_input_end,
    .lost = on_lost,
    .closed = amq_receiver_closed,
};

/* The one queue that the sink sends to, or null with `err`. */
static struct bailey_bytes queue_of(const struct amq_sink_settings *s, struct bailey_error *err)
{
    bool by_default = s->queue == NULL && (s->exchange == NULL || s->exchange[0] == '\0');
    const struct bailey_template *name = by_default ? s->routing_key : s->queue;

    if (name != NULL && name->slot < 0 && name->constant.len <= AMQ_SHORTSTR_MAX)
        return name->constant;
    if (s->queue == NULL && !by_default)
        bailey_fail(err, BAILEY_ERR_CONFIG, "the sink names an exchange: its messages lie in whatever is bound to it");
    else
        bailey_fail(err, BAILEY_ERR_CONFIG, "the sink names no one queue: it is made of each message");
    bailey_hint(err, "Name a `queue` without ${...}.");
    return BAILEY_NULL_BYTES;
}

static bool shelf_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                       struct bailey_error *err)
{
    struct bailey_bytes queue = queue_of(settings, err);
    struct shelf *shelf;

    if (queue.data == NULL)
        return false;
    shelf = calloc(1, sizeof *shelf);
    if (shelf == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    memcpy(shelf->queue, queue.data, queue.len);
    shelf->in.ch.ops = &shelf_ops;
    shelf->in.free_end = free_shelf;
    shelf->patience = (struct bailey_timer){.fire = on_patience, .ctx = shelf};
    amq_receiver_init(&shelf->in, broker, port, shelf->queue);
    *self = shelf;
    amq_channel_attach(broker, AMQ_BROWSE, &shelf->in.ch);
    return true;
}

const struct bailey_source amq_shelf = {
    .open = shelf_open,
    .resume = shelf_resume,
    .settle = shelf_settle,
    .drain = shelf_drain,
    .close = shelf_close,
};
