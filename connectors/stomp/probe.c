/* `bailey check --connect`: log-in and, on RabbitMQ, what an end names and may do there.
 *
 *     dial ─→ CONNECTED ─→ nothing can be asked: row ─→ DISCONNECT
 *                 └──────→ rehearsal ─→ its ERROR ends the connection ─→ [the next one: dial] ─→ row
 *
 * STOMP has no way to look. ActiveMQ, Artemis and RabbitMQ create what a SUBSCRIBE or SEND names and is not there, so nothing of the kind
 * is sent to the first two. RabbitMQ turns frames into methods of AMQP, which it refuses for their arguments (precondition_failed)
 * only after it has looked for the permission (access_refused) and the thing itself (not_found):
 *
 *     DECLARE   SEND to /queue/NAME with x-expires:-1            needs configure; tells by its words whether the queue is there
 *     READ      SUBSCRIBE to /amq/queue/NAME, which creates      needs read; a queue that is no stream has no offset, and is not
 *               nothing, with x-stream-offset:next               consumed; of a stream nothing is taken out
 *     WRITE     SEND with expiration:none                        needs write; the message is refused in any case
 *
 * Each costs the connection. Versions of which that is not known (dialect.c) are not asked. Any of them that RabbitMQ takes
 * seriously ends the asking.
 */
#include <stdio.h>
#include <stdlib.h>

#include "connection.h"
#include "options.h"

enum { SLACK_MS = 800, QUESTIONS_MAX = 2 };
enum question { DECLARE, READ, WRITE };

struct probed {
    struct stomp_connection conn; /* first */
    struct bailey_probe *asked;
    struct bailey_timer limit;
    struct bailey_task finish;
    unsigned dials; /* in a row that failed */

    struct bailey_bytes destination; /* null: the messages name it */
    const struct bailey_map *headers;
    const char *selector; /* of a source, or NULL */
    bool accepts_loss;    /* a sink's unroutable: accept */
    enum question questions[QUESTIONS_MAX];
    unsigned next, count; /* questions */
    bool is_answering;    /* the next one is sent */
    bool shown;           /* the row is told */
    bool is_missing;      /* and will be created */

    char what[300], found[200]; /* the row in the making */
};

static const char *const permissions[] = {[DECLARE] = "configure", [READ] = "read", [WRITE] = "write"};

static bool is_source(const struct probed *end)
{
    return end->asked->role == BAILEY_SOURCE;
}

/* ---- Rows ---- */

static void row(struct probed *end, enum bailey_probe_result result, const char *detail, const char *hint)
{
    if (end->shown)
        return;
    end->shown = true;
    end->asked->found(
        end->asked,
        &(struct bailey_probe_row){
            .result = result, .address = end->conn.address, .what = end->what, .detail = detail, .hint = hint});
}

static void row_of(struct probed *end, enum bailey_probe_result result, const struct bailey_error *err)
{
    row(end, result, err->text, err->hint);
}

static void finish(struct bailey_task *task)
{
    struct probed *end = task->ctx;
    struct bailey_probe *asked = end->asked;

    bailey_timer_stop(asked->host, &end->limit);
    stomp_connection_fini(&end->conn, false);
    free(end);
    asked->done(asked);
}

static void finish_soon(struct probed *end)
{
    bailey_again(end->asked->host, &end->finish);
}

/* All is told: leave in order, if there is something to leave. */
static void leave(struct probed *end)
{
    if (end->conn.state == STOMP_OPEN)
        stomp_connection_close(&end->conn);
    else
        finish_soon(end);
}

static void too_long(struct bailey_timer *timer)
{
    struct probed *end = timer->ctx;

    row(end, BAILEY_PROBE_UNREACHABLE, "no answer in time", NULL);
    finish_soon(end);
}

static void row_found(struct probed *end, enum question question, const char *is)
{
    char detail[300];

    snprintf(detail, sizeof detail, "%s%s%s %s", end->found, end->found[0] != '\0' ? "; " : "", permissions[question],
             is);
    row(end, BAILEY_PROBE_OK, detail, NULL);
}

static void row_denied(struct probed *end, enum question question, const struct bailey_error *err)
{
    char detail[300], hint[120];

    snprintf(detail, sizeof detail, "%s (it needs %s)", err->text, permissions[question]);
    snprintf(hint, sizeof hint, "Give the user the %s permission: rabbitmqctl set_permissions.", permissions[question]);
    row(end, BAILEY_PROBE_DENIED, detail, hint);
}

/* ---- What can be asked ---- */

/* The name behind `prefix`, or null. */
static struct bailey_bytes behind(struct bailey_bytes destination, const char *prefix)
{
    size_t len = strlen(prefix);

    if (destination.len <= len || memcmp(destination.data, prefix, len) != 0)
        return BAILEY_NULL_BYTES;
    return (struct bailey_bytes){destination.data + len, destination.len - len};
}

/* A stream is declared with arguments of its own. */
static bool declares_stream(const struct probed *end)
{
    for (size_t i = 0; i < end->headers->count; i++)
        if (strcmp(end->headers->entries[i].name, "x-queue-type") == 0 &&
            strcmp(end->headers->entries[i].value, "stream") == 0)
            return true;
    return false;
}

static void add(struct probed *end, enum question question)
{
    end->questions[end->count++] = question;
}

/* Each destination that a SUBSCRIBE does not make a queue for. */
static void choose_questions(struct probed *end)
{
    bool is_queue = behind(end->destination, "/queue/").data != NULL;

    if (!stomp_dialect_rehearses(end->conn.dialect, end->conn.server) || declares_stream(end) ||
        end->conn.is_websocket) /* there it hangs up without its ERROR */
        return;
    if (is_queue)
        add(end, DECLARE);
    if (!is_source(end))
        add(end, WRITE);
    else if (is_queue || behind(end->destination, "/amq/queue/").data != NULL)
        add(end, READ);
}

static void row_unchecked(struct probed *end)
{
    const char *name = stomp_dialect_row(end->conn.dialect)->name;
    char detail[240];

    if (end->destination.data == NULL)
        snprintf(detail, sizeof detail, "logged in; the messages name the destination");
    else if (end->conn.dialect == STOMP_GENERIC)
        snprintf(detail, sizeof detail, "logged in; not looked up: STOMP has no way to");
    else
        snprintf(detail, sizeof detail,
                 "logged in; not looked up: %s creates what is missing, and whether it may be used can only be told by "
                 "using it",
                 name);
    row(end, BAILEY_PROBE_UNCHECKED, detail, NULL);
}

/* What the end itself would say before it sends anything. */
static bool is_impossible(struct probed *end, struct bailey_error *err)
{
    if (is_source(end) && end->selector != NULL && stomp_dialect_row(end->conn.dialect)->selector == NULL) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%s has no selectors, it would ignore this one",
                    stomp_dialect_row(end->conn.dialect)->name);
        return bailey_hint(err, "Remove selector, and filter in the route or by a binding."), true;
    }
    return !is_source(end) && !end->accepts_loss && end->destination.data != NULL &&
           !stomp_dialect_takes(end->conn.dialect, end->destination, err);
}

/* ---- Asking ---- */

/* The destination that makes no queue. */
static void write_destination(const struct probed *end, struct stomp_writer *w, enum question question)
{
    struct bailey_bytes name = behind(end->destination, "/queue/");

    if (question == DECLARE || name.data == NULL) {
        stomp_write_header(w, "destination", end->destination);
        return;
    }
    stomp_write_open(w, bailey_bytes_of("destination"));
    stomp_write_part(w, bailey_bytes_of("/amq/queue/"));
    stomp_write_part(w, name);
    stomp_write_close(w);
}

/* What makes it impossible stands first: the first of a name counts. */
static void write_question(const struct probed *end, struct stomp_writer *w, enum question question)
{
    stomp_write_command(w, question == READ ? "SUBSCRIBE" : "SEND");
    if (question == READ) {
        stomp_write_header(w, "id", bailey_bytes_of("1"));
        stomp_write_header(w, "ack", bailey_bytes_of("client-individual"));
        stomp_write_header(w, "prefetch-count", bailey_bytes_of("1"));
        stomp_write_header(w, "x-stream-offset", bailey_bytes_of("next"));
    } else {
        stomp_write_header(w, "expiration", bailey_bytes_of("none"));
    }
    if (question == DECLARE)
        stomp_write_header(w, "x-expires", bailey_bytes_of("-1"));
    write_destination(end, w, question);
    stomp_write_header(w, "receipt", bailey_bytes_of("rehearsal"));
    for (size_t i = 0; question == DECLARE && i < end->headers->count; i++)
        stomp_write_header(w, end->headers->entries[i].name, bailey_bytes_of(end->headers->entries[i].value));
    stomp_write_end_of_head(w);
    stomp_write_body(w, BAILEY_EMPTY_BYTES);
}

static void ask(struct probed *end)
{
    enum { ROOM = 64 << 10 };
    struct stomp_writer w = stomp_connection_reserve(&end->conn, ROOM);
    uint8_t *from = w.at;

    write_question(end, &w, end->questions[end->next]);
    if (w.full || w.bad) {
        row(end, BAILEY_PROBE_REFUSED, "destination or headers cannot be expressed", NULL);
        w.at = from;
    }
    stomp_connection_commit(&end->conn, from, &w);
    if (end->shown) {
        leave(end);
        return;
    }
    stomp_connection_end_frame(&end->conn, true);
    end->is_answering = true;
}

static void on_opened(struct stomp_connection *conn)
{
    struct probed *end = (struct probed *)conn;
    struct bailey_error err = {0};

    end->dials = 0;
    if (end->count == 0)
        choose_questions(end);
    if (is_impossible(end, &err))
        row_of(end, BAILEY_PROBE_REFUSED, &err);
    else if (end->count == 0)
        row_unchecked(end);
    if (end->shown)
        leave(end);
    else
        ask(end);
}

/* ---- Answers ---- */

static bool says(const struct bailey_error *err, const char *words)
{
    return strstr(err->text, words) != NULL;
}

/* True if the next question may be asked. */
static bool declared(struct probed *end, const struct bailey_error *err)
{
    if (says(err, "invalid arg 'x-expires'")) {
        end->is_missing = true;
        snprintf(end->found, sizeof end->found, "does not exist; it will be created");
    } else if (says(err, "inequivalent arg 'x-expires'")) {
        snprintf(end->found, sizeof end->found, "exists");
    } else {
        row_of(end, BAILEY_PROBE_REFUSED, err); /* the words say in what it differs from what Bailey would declare */
        return false;
    }
    return true;
}

static bool used(struct probed *end, enum question question, const struct bailey_error *err)
{
    bool was_there = says(err, ": precondition_failed: ");

    if (!was_there && !says(err, ": not_found: ")) {
        row_of(end, BAILEY_PROBE_REFUSED, err);
    } else if (!was_there && !end->is_missing) {
        row_of(end, BAILEY_PROBE_MISSING, err);
    } else {
        if (end->found[0] == '\0' && behind(end->destination, "/amq/queue/").data != NULL)
            snprintf(end->found, sizeof end->found, "%s",
                     question == READ ? "exists" : "whether it exists cannot be told");
        return true;
    }
    return false;
}

/* The ERROR that a rehearsal is for. */
static void answered(struct probed *end, const struct bailey_error *err)
{
    enum question question = end->questions[end->next++];
    bool goes_on = false;

    end->is_answering = false;
    if (says(err, ": access_refused: "))
        row_denied(end, question, err);
    else
        goes_on = question == DECLARE ? declared(end, err) : used(end, question, err);
    if (goes_on && end->next < end->count) {
        stomp_connection_dial(&end->conn);
        return;
    }
    if (goes_on)
        row_found(end, question, "allowed");
    leave(end);
}

static void on_lost(struct stomp_connection *conn, const struct bailey_error *err, struct bailey_bytes receipt)
{
    struct probed *end = (struct probed *)conn;
    bool is_silent;

    if (end->is_answering && receipt.data != NULL) {
        answered(end, err);
        return;
    }
    end->is_answering = false;
    if (!end->shown && ++end->dials < stomp_broker_settings(conn->broker)->urls.count) { /* the next URL's turn */
        stomp_connection_dial(conn);
        return;
    }
    is_silent = err->kind != BAILEY_ERR_CONFIG && !conn->connect_sent;
    row_of(end, is_silent ? BAILEY_PROBE_UNREACHABLE : BAILEY_PROBE_REFUSED, err);
    finish_soon(end);
}

/* A rehearsal was taken seriously: leave at once, so that nothing comes of it. */
static void on_receipt(struct stomp_connection *conn, struct bailey_bytes id)
{
    struct probed *end = (struct probed *)conn;

    (void)id;
    if (!end->is_answering)
        return;
    end->is_answering = false;
    row_found(end, end->questions[end->next], "can only be told by trying");
    stomp_connection_drop(conn);
    finish_soon(end);
}

static void on_message(struct stomp_connection *conn, const struct stomp_parser *frame)
{
    (void)conn, (void)frame; /* nothing is consumed: what may come in spite of that stays unacknowledged */
}

static void on_body(struct stomp_connection *conn, struct bailey_bytes part, bool last)
{
    (void)conn, (void)part, (void)last;
}

static void on_nothing(struct stomp_connection *conn)
{
    (void)conn;
}

static void on_closed(struct stomp_connection *conn)
{
    finish_soon((struct probed *)conn);
}

static const struct stomp_connection_ops ops = {
    .opened = on_opened,
    .message = on_message,
    .body = on_body,
    .receipt = on_receipt,
    .input_end = on_nothing,
    .lost = on_lost,
    .closed = on_closed,
};

/* ---- Begin ---- */

static void set_source(struct probed *end, const struct stomp_source_settings *settings)
{
    end->destination = bailey_bytes_of(settings->destination);
    end->headers = &settings->headers;
    end->selector = settings->selector;
}

static void set_sink(struct probed *end, const struct stomp_sink_settings *settings)
{
    if (settings->destination->slot < 0)
        end->destination = settings->destination->constant;
    end->headers = &settings->headers;
    end->accepts_loss = settings->unroutable == STOMP_UNROUTABLE_ACCEPT;
}

void stomp_probe(void *broker, const void *settings, struct bailey_probe *asked)
{
    enum { BODY_MAX = 1 << 20 };
    struct probed *end = calloc(1, sizeof *end);

    if (end == NULL)
        abort();
    *end = (struct probed){
        .conn = {.ops = &ops, .broker = broker, .route = asked->route, .purpose = "check", .body_max = BODY_MAX},
        .asked = asked};
    end->limit = (struct bailey_timer){.fire = too_long, .ctx = end};
    end->finish = (struct bailey_task){.run = finish, .ctx = end};
    if (asked->role == BAILEY_SOURCE)
        set_source(end, settings);
    else
        set_sink(end, settings);
    if (end->destination.data != NULL)
        snprintf(end->what, sizeof end->what, "%.*s", (int)end->destination.len, (const char *)end->destination.data);
    else
        snprintf(end->what, sizeof end->what, "${...}");
    stomp_connection_init(&end->conn);
    bailey_timer_start(asked->host, &end->limit, asked->timeout_ms - SLACK_MS);
    stomp_connection_dial(&end->conn);
}
