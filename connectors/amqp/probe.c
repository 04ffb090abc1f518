/* `bailey check --connect`: what an end names, by passive declarations, and permissions, by rehearsals: methods that
 * RabbitMQ must refuse for their arguments (406), but only after it has looked at the permission (403). Each of them costs
 * the channel, which is renewed. Other brokers are not asked that way: they might accept.
 *
 *     look ─→ [missing, declare: create: rehearse a declaration] ─→ rehearse consuming or publishing ─→ row ─→ close
 *
 *     queue.declare  with x-expires = -1                       needs configure
 *     basic.consume  with x-priority = "none"                  needs read
 *     basic.publish  with an expiration that is no number      needs write
 *
 * A channel an end, on the connections that the ends would use. Since set_permissions replaces what a user has, the one
 * command for a broker is made when its last end is done, of all that its ends need.
 */
#include <stdio.h>
#include <stdlib.h>

#include "connection_impl.h"
#include "login.h"
#include "setup.h"

enum { SLACK_MS = 800, PERMISSIONS = 3 };
enum permission { CONFIGURE, WRITE, READ };
enum step { LOOK, REHEARSE_CREATE, REHEARSE_USE, LEAVE };

/* Names that one permission must match: a regular expression in the making. */
struct pattern {
    char *data;
    size_t len, cap;
};

struct amq_probing {
    struct amq_broker *broker;
    struct probed *ends;
    size_t running;
    bool denied;
    struct pattern patterns[PERMISSIONS];
};

struct probed {
    struct amq_channel ch; /* first */
    struct amq_probing *probing;
    struct probed *next;
    struct bailey_probe *asked; /* NULL: done */
    struct bailey_timer limit;
    struct bailey_task finish;
    enum step step;
    unsigned dials;

    /* What is asked for. A queue is looked up as such; with `exchange` it is the exchange. */
    struct bailey_bytes queue; /* null: none that is known beforehand */
    const char *exchange;      /* to publish to; NULL at a source */
    struct bailey_bytes key;   /* routing key of the rehearsal */
    int declare;
    bool shown; /* the row is told */

    char what[300], found[200]; /* the row in the making */
};

static const char *const permission_names[PERMISSIONS] = {"configure", "write", "read"};

static bool is_source(const struct probed *end)
{
    return end->exchange == NULL;
}

static bool has_exchange(const struct probed *end)
{
    return end->exchange != NULL && end->exchange[0] != '\0';
}

/* ---- What is needed ---- */

static void pattern_add(struct pattern *pattern, const char *data, size_t len)
{
    if (pattern->len + len >= pattern->cap) {
        pattern->cap = (pattern->len + len) * 2 + 64;
        pattern->data = realloc(pattern->data, pattern->cap);
        if (pattern->data == NULL)
            abort();
    }
    memcpy(pattern->data + pattern->len, data, len);
    pattern->len += len;
    pattern->data[pattern->len] = '\0';
}

/* A name, escaped, with "|" around it on both sides: so that it is found again. */
static void need(struct amq_probing *probing, enum permission permission, struct bailey_bytes name)
{
    struct pattern word = {0}, *all = &probing->patterns[permission];

    pattern_add(&word, "|", 1);
    for (size_t i = 0; i < name.len; i++) {
        if (memchr("\\^$.|?*+()[]{}", name.data[i], 14) != NULL)
            pattern_add(&word, "\\", 1);
        pattern_add(&word, (const char *)name.data + i, 1);
    }
    pattern_add(&word, "|", 1);
    if (all->data == NULL || strstr(all->data, word.data) == NULL)
        pattern_add(all, all->data == NULL ? word.data : word.data + 1, word.len - (all->data != NULL));
    free(word.data);
}

static void need_exchange(struct amq_probing *probing, enum permission permission, const char *exchange)
{
    need(probing, permission, bailey_bytes_of(exchange[0] != '\0' ? exchange : "amq.default"));
}

/* A word of a shell's line, in quotes if it is not plain. */
static void add_word(struct pattern *command, const char *word)
{
    bool plain = word[0] != '\0' &&
                 word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./@")] == '\0';

    pattern_add(command, plain ? " " : " '", plain ? 1 : 2);
    for (; *word != '\0'; word++)
        pattern_add(command, *word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
    if (!plain)
        pattern_add(command, "'", 1);
}

/* "^(a|b)$", or "^$" for nothing. */
static void add_pattern(struct pattern *command, const struct pattern *names)
{
    struct pattern text = {0};

    pattern_add(&text, "^", 1);
    if (names->data != NULL) {
        pattern_add(&text, "(", 1);
        pattern_add(&text, names->data + 1, names->len - 2);
        pattern_add(&text, ")", 1);
    }
    pattern_add(&text, "$", 1);
    add_word(command, text.data);
    free(text.data);
}

static void grant(struct amq_probing *probing, struct bailey_probe *asked)
{
    const struct amq_broker_settings *settings = probing->broker->settings;
    struct pattern command = {0};
    struct amq_login login;
    struct amq_url url;

    if (!probing->denied || settings->auth == AMQ_AUTH_EXTERNAL || !amq_login_read(settings, 0, &login, NULL))
        return;
    amq_url_parse(settings->urls.items[0], &url, NULL);
    pattern_add(&command, "rabbitmqctl set_permissions -p", 30);
    add_word(&command, url.vhost);
    add_word(&command, login.user);
    for (int i = 0; i < PERMISSIONS; i++)
        add_pattern(&command, &probing->patterns[i]);
    asked->grant(asked, command.data);
    amq_url_wipe(&url);
    amq_login_wipe(&login);
    free(command.data);
}

/* ---- Rows ---- */

static void row(struct probed *end, enum bailey_probe_result result, const char *detail, const char *hint)
{
    if (end->shown)
        return;
    end->shown = true;
    end->asked->found(end->asked, &(struct bailey_probe_row){
                                      .result = result,
                                      .address = end->ch.conn != NULL ? amq_connection_address(end->ch.conn) : NULL,
                                      .what = end->what,
                                      .detail = detail,
                                      .hint = hint});
}

static void finish(struct bailey_task *task)
{
    struct probed *end = task->ctx;
    struct bailey_probe *asked = end->asked;

    if (asked == NULL)
        return;
    amq_channel_detach(&end->ch);
    bailey_timer_stop(end->probing->broker->host, &end->limit);
    end->asked = NULL;
    if (--end->probing->running == 0)
        grant(end->probing, asked);
    asked->done(asked);
}

static void finish_soon(struct probed *end)
{
    bailey_again(end->probing->broker->host, &end->finish);
}

static void too_long(struct bailey_timer *timer)
{
    struct probed *end = timer->ctx;
    const char *blocked = end->ch.conn != NULL ? amq_connection_blocked(end->ch.conn) : NULL;

    row(end, BAILEY_PROBE_UNREACHABLE, blocked != NULL ? blocked : "no answer in time", NULL);
    finish_soon(end);
}

/* With the permission that was found to be there or not to be told. */
static void row_found(struct probed *end, const char *permission, const char *is)
{
    char detail[400];

    snprintf(detail, sizeof detail, "%s%s%s %s", end->found, end->found[0] != '\0' ? "; " : "", permission, is);
    row(end, BAILEY_PROBE_OK, detail, NULL);
}

static void row_denied(struct probed *end, const struct bailey_error *err, enum permission permission)
{
    struct bailey_error named = *err;

    amq_name_permission(&named, permission_names[permission]);
    row(end, BAILEY_PROBE_DENIED, named.text,
        end->probing->broker->settings->auth == AMQ_AUTH_EXTERNAL
            ? "Give the certificate's user the permission that is named."
            : "The command below replaces what the user may do on this vhost: add what others need of it.");
    end->probing->denied = true;
}

/* ---- Steps ---- */

static enum permission use_of(const struct probed *end)
{
    return is_source(end) ? READ : WRITE;
}

static bool send_consume(struct probed *end)
{
    amqp_table_entry_t wrong = {amqp_cstring_bytes("x-priority"),
                                {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("none")}};
    amqp_basic_consume_t consume = {.queue = {end->queue.len, (void *)(uintptr_t)end->queue.data},
                                    .arguments = {1, &wrong}};

    return amq_channel_send(&end->ch, AMQP_BASIC_CONSUME_METHOD, &consume);
}

/* An empty message with an expiration that is no number, in the name of somebody else; then basic.qos, whose answer would
 * show that the broker took it. */
static bool send_publish(struct probed *end)
{
    static const uint8_t header[] = {0,    60,   0,   0,   0,   0, 0,   0,   0,   0,   0,   0, /* class, weight, size */
                                     0x01, 0x10,                                               /* expiration, user-id */
                                     4,    'n',  'o', 'n', 'e', 6, 'n', 'o', 'b', 'o', 'd', 'y'};
    amqp_basic_publish_t publish = {.exchange = amqp_cstring_bytes(end->exchange),
                                    .routing_key = {end->key.len, (void *)(uintptr_t)end->key.data}};
    amqp_basic_qos_t qos = {.prefetch_count = 1};
    uint8_t *at;

    if (!amq_channel_send(&end->ch, AMQP_BASIC_PUBLISH_METHOD, &publish))
        return false;
    at = amq_connection_reserve(end->ch.conn, sizeof header + AMQ_FRAME_OVERHEAD);
    amq_frame_head(at, AMQ_FRAME_HEADER, end->ch.id, sizeof header);
    memcpy(at + AMQ_FRAME_HEAD, header, sizeof header);
    at[AMQ_FRAME_HEAD + sizeof header] = AMQ_FRAME_END;
    amq_connection_commit(end->ch.conn, sizeof header + AMQ_FRAME_OVERHEAD);
    return amq_channel_send(&end->ch, AMQP_BASIC_QOS_METHOD, &qos);
}

static bool send_create(struct probed *end)
{
    amqp_table_entry_t wrong = {amqp_cstring_bytes("x-expires"), {.kind = AMQP_FIELD_KIND_I64, .value.i64 = -1}};
    amqp_queue_declare_t declare = {.queue = {end->queue.len, (void *)(uintptr_t)end->queue.data},
                                    .arguments = {1, &wrong}};

    return amq_channel_send(&end->ch, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

static bool send_look(struct probed *end)
{
    return has_exchange(end) ? amq_exchange_look(&end->ch, end->exchange) : amq_queue_look(&end->ch, end->queue);
}

static void take_step(struct probed *end)
{
    bool rabbit = amq_connection_is_rabbitmq(end->ch.conn), sent = true;
    struct bailey_error err = {0};

    if (end->step == LOOK && !has_exchange(end) && end->queue.data == NULL)
        end->step = REHEARSE_USE;                                       /* a queue that the messages name */
    if (end->step == REHEARSE_CREATE && (!rabbit || has_exchange(end))) /* an exchange takes any argument */
        end->step = REHEARSE_USE;
    if (end->step == REHEARSE_USE && !rabbit) {
        row_found(end, permission_names[use_of(end)], "can only be told by trying");
        end->step = LEAVE;
    }
    if (end->step == LEAVE)
        amq_channel_close(&end->ch);
    else if (end->step == LOOK)
        sent = send_look(end);
    else if (end->step == REHEARSE_CREATE)
        sent = send_create(end);
    else
        sent = is_source(end) ? send_consume(end) : send_publish(end);
    if (sent)
        return;
    amq_setup_too_big(&err);
    row(end, BAILEY_PROBE_REFUSED, err.text, NULL);
    finish_soon(end);
}

/* ---- What the broker says ---- */

static void on_opened(struct amq_channel *ch)
{
    take_step((struct probed *)ch);
}

static void looked_at_queue(struct probed *end, struct bailey_bytes args)
{
    struct amq_reader r = {args.data, args.data + args.len, false};
    uint32_t messages, consumers;

    amq_read_shortstr(&r);
    messages = amq_read_u32(&r);
    consumers = amq_read_u32(&r);
    snprintf(end->found, sizeof end->found, "%u message%s waiting, %u consumer%s", messages, messages == 1 ? "" : "s",
             consumers, consumers == 1 ? "" : "s");
}

static void on_method(struct amq_channel *ch, uint32_t id, struct bailey_bytes args)
{
    struct probed *end = (struct probed *)ch;

    if (end->step == LOOK && (id == AMQP_QUEUE_DECLARE_OK_METHOD || id == AMQP_EXCHANGE_DECLARE_OK_METHOD)) {
        if (id == AMQP_QUEUE_DECLARE_OK_METHOD)
            looked_at_queue(end, args);
        end->step = REHEARSE_USE;
    } else { /* a rehearsal was taken seriously: leave at once, so that nothing comes of it */
        row_found(end, permission_names[use_of(end)], "can only be told by trying");
        end->step = LEAVE;
    }
    take_step(end);
}

/* 404 at the look. */
static void missing(struct probed *end, const struct bailey_error *err)
{
    if (end->declare != BAILEY_DECLARE_CREATE) {
        row(end, BAILEY_PROBE_MISSING, err->text, err->hint);
        end->step = LEAVE;
        return;
    }
    snprintf(end->found, sizeof end->found, "does not exist; bailey will create it%s (declare: create)",
             has_exchange(end) ? ", if it may" : "");
    end->step = REHEARSE_CREATE;
}

/* A rehearsal is over: 406 is what was wanted, 404 comes after the permission as well. */
static void rehearsed(struct probed *end, const struct bailey_error *err, enum permission permission, enum step next)
{
    end->step = LEAVE;
    if (err->native == AMQP_ACCESS_REFUSED) {
        row_denied(end, err, permission);
    } else if (err->native != AMQP_PRECONDITION_FAILED && err->native != AMQP_NOT_FOUND) {
        row(end, BAILEY_PROBE_REFUSED, err->text, err->hint);
    } else {
        end->step = next;
        if (next == LEAVE)
            row_found(end, permission_names[permission], "allowed");
    }
}

static void channel_lost(struct probed *end, const struct bailey_error *err)
{
    if (end->step == LOOK && err->native == AMQP_NOT_FOUND) {
        missing(end, err);
    } else if (end->step == LOOK) {
        row(end, err->native == AMQP_ACCESS_REFUSED ? BAILEY_PROBE_DENIED : BAILEY_PROBE_REFUSED, err->text, err->hint);
        end->step = LEAVE;
    } else if (end->step == REHEARSE_CREATE) {
        rehearsed(end, err, CONFIGURE, REHEARSE_USE);
    } else {
        rehearsed(end, err, use_of(end), LEAVE);
    }
    amq_channel_renew(&end->ch);
}

static void connection_lost(struct probed *end, const struct bailey_error *err)
{
    const struct amq_broker *broker = end->probing->broker;

    if (!end->shown && ++end->dials < broker->settings->urls.count) { /* the next URL's turn */
        enum amq_role role = end->ch.conn->role;

        end->ch.conn = NULL;
        amq_channel_attach(end->probing->broker, role, &end->ch);
        return;
    }
    end->what[0] = '\0';
    if (err->native == AMQP_NOT_ALLOWED && strstr(err->text, "refused for user") != NULL) /* no permission at all */
        row_denied(end, err, use_of(end));
    else
        row(end, err->kind == BAILEY_ERR_CONFIG ? BAILEY_PROBE_REFUSED : BAILEY_PROBE_UNREACHABLE, err->text,
            err->hint);
    finish_soon(end);
}

static void on_lost(struct amq_channel *ch, const struct bailey_error *err, bool connection)
{
    struct probed *end = (struct probed *)ch;

    if (end->asked == NULL)
        return;
    if (connection)
        connection_lost(end, err);
    else
        channel_lost(end, err);
}

static void on_closed(struct amq_channel *ch)
{
    amq_channel_detach(ch); /* so that the next one that closes is the last, and closes the connection */
    finish_soon((struct probed *)ch);
}

static void on_header(struct amq_channel *ch, uint64_t body_size, struct bailey_bytes props)
{
    (void)ch, (void)body_size,
        (void)props; /* nothing is consumed: what may come in spite of that stays unacknowledged */
}

static void on_body(struct amq_channel *ch, struct bailey_bytes part, bool last)
{
    (void)ch, (void)part, (void)last;
}

static void on_nothing(struct amq_channel *ch)
{
    (void)ch;
}

/* ---- Begin and end ---- */

static void name_it(struct probed *end)
{
    if (has_exchange(end))
        snprintf(end->what, sizeof end->what, "exchange %s", end->exchange);
    else if (end->queue.data != NULL)
        snprintf(end->what, sizeof end->what, "queue %.*s", (int)end->queue.len, (const char *)end->queue.data);
    else
        snprintf(end->what, sizeof end->what, "queue ${...}");
}

static void set_source(struct probed *end, const struct amq_source_settings *settings)
{
    end->queue = bailey_bytes_of(settings->queue);
    end->declare = settings->declare;
    need(end->probing, READ, end->queue);
    if (settings->declare != BAILEY_DECLARE_CREATE)
        return;
    need(end->probing, CONFIGURE, end->queue);
    if (settings->bind_exchange != NULL) {
        need(end->probing, WRITE, end->queue);
        need_exchange(end->probing, READ, settings->bind_exchange);
    }
}

static struct bailey_bytes constant_of(const struct bailey_template *text)
{
    return text != NULL && text->slot < 0 ? text->constant : BAILEY_NULL_BYTES;
}

static void set_sink(struct probed *end, const struct amq_sink_settings *settings)
{
    bool by_queue = settings->queue != NULL || settings->exchange == NULL || settings->exchange[0] == '\0';

    end->exchange = by_queue ? "" : settings->exchange;
    end->declare = settings->declare;
    if (by_queue)
        end->queue = constant_of(settings->queue != NULL ? settings->queue : settings->routing_key);
    end->key = constant_of(settings->queue != NULL ? settings->queue : settings->routing_key);
    need_exchange(end->probing, WRITE, end->exchange);
    if (settings->declare != BAILEY_DECLARE_CREATE)
        return;
    if (!by_queue)
        need_exchange(end->probing, CONFIGURE, end->exchange);
    else if (end->queue.data != NULL)
        need(end->probing, CONFIGURE, end->queue);
}

static struct amq_probing *probing_of(struct amq_broker *broker)
{
    if (broker->probing == NULL) {
        broker->probing = calloc(1, sizeof *broker->probing);
        if (broker->probing == NULL)
            abort();
        broker->probing->broker = broker;
    }
    return broker->probing;
}

void amq_probe(void *self, const void *settings, struct bailey_probe *asked)
{
    static const struct amq_channel_ops ops = {.opened = on_opened,
                                               .method = on_method,
                                               .header = on_header,
                                               .body = on_body,
                                               .input_end = on_nothing,
                                               .lost = on_lost,
                                               .closed = on_closed};
    struct amq_probing *probing = probing_of(self);
    struct probed *end = calloc(1, sizeof *end);

    if (end == NULL)
        abort();
    *end = (struct probed){.ch.ops = &ops, .probing = probing, .next = probing->ends, .asked = asked};
    probing->ends = end;
    probing->running++;
    end->limit = (struct bailey_timer){.fire = too_long, .ctx = end};
    end->finish = (struct bailey_task){.run = finish, .ctx = end};
    if (asked->role == BAILEY_SOURCE)
        set_source(end, settings);
    else
        set_sink(end, settings);
    name_it(end);
    bailey_timer_start(asked->host, &end->limit, asked->timeout_ms - SLACK_MS);
    amq_channel_attach(self, asked->role == BAILEY_SOURCE ? AMQ_CONSUME : AMQ_PUBLISH, &end->ch);
}

void amq_probing_free(struct amq_probing *probing)
{
    if (probing == NULL)
        return;
    while (probing->ends != NULL) {
        struct probed *end = probing->ends;

        probing->ends = end->next;
        free(end);
    }
    for (int i = 0; i < PERMISSIONS; i++)
        free(probing->patterns[i].data);
    free(probing);
}
