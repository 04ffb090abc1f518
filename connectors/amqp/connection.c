/* The life of a connection: dial with back-off, heart-beats, close. What it says on channel 0 is handshake.c.
 *
 * rabbitmq-c encodes and decodes the methods; sockets, time and frames are ours. Whatever ends a connection ends in
 * conn_failed() or amq_connection_closed(): the transport is closed, its channels are told, and the next dial is
 * scheduled.
 */
#include "connection_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { METHOD_ROOM = 2048 };

static void conn_dial(struct amq_connection *conn);
static void conn_failed(struct amq_connection *conn, const struct bailey_error *why);

static struct bailey_host *host_of(const struct amq_connection *conn)
{
    return conn->broker->host;
}

/* ---- Broker ---- */

bool amq_broker_open(void **broker, const void *settings, const char *name, const char *instance,
                     struct bailey_host *host, struct bailey_error *err)
{
    struct amq_broker *b = calloc(1, sizeof *b);

    if (b == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    *b = (struct amq_broker){.settings = settings, .name = name, .instance = instance, .host = host};
    b->last_group = (uint32_t)bailey_random(host); /* so that a group of a former life is not met again */
    *broker = b;
    return true;
}

struct bailey_host *amq_broker_host(const struct amq_broker *broker)
{
    return broker->host;
}

const struct amq_broker_settings *amq_broker_settings(const struct amq_broker *broker)
{
    return broker->settings;
}

uint32_t amq_broker_next_group(struct amq_broker *broker)
{
    if (++broker->last_group == 0)
        broker->last_group = 1;
    return broker->last_group;
}

/* ---- Output ---- */

uint8_t *amq_connection_reserve(struct amq_connection *conn, size_t len)
{
    return bailey_transport_reserve(conn->transport, len);
}

void amq_connection_commit(struct amq_connection *conn, size_t len)
{
    bailey_transport_commit(conn->transport, len);
    conn->appended += len;
}

void amq_connection_append(struct amq_connection *conn, const void *data, size_t len)
{
    bailey_transport_append(conn->transport, data, len);
    conn->appended += len;
}

uint64_t amq_connection_appended(const struct amq_connection *conn)
{
    return conn->appended;
}

uint64_t amq_connection_written(const struct amq_connection *conn)
{
    return conn->transport == NULL ? conn->written_at_loss : conn->appended - bailey_transport_backlog(conn->transport);
}

bool amq_connection_full(const struct amq_connection *conn)
{
    return bailey_transport_backlog(conn->transport) >= BAILEY_TRANSPORT_BACKLOG;
}

uint32_t amq_connection_frame_max(const struct amq_connection *conn)
{
    return conn->frame_max;
}

const char *amq_connection_address(const struct amq_connection *conn)
{
    return conn->address;
}

bool amq_connection_is_rabbitmq(const struct amq_connection *conn)
{
    return conn->is_rabbitmq;
}

const char *amq_connection_blocked(const struct amq_connection *conn)
{
    return conn->is_blocked ? conn->blocked : NULL;
}

void amq_connection_pin(struct amq_connection *conn, struct bailey_message *msg)
{
    bailey_transport_pin(conn->transport, msg);
}

bool amq_connection_send(struct amq_connection *conn, uint16_t channel, amqp_method_number_t id, void *method)
{
    for (size_t room = METHOD_ROOM;; room = conn->frame_max) {
        uint8_t *at = amq_connection_reserve(conn, room);
        amqp_bytes_t out = {room - AMQ_FRAME_OVERHEAD - 4, at + AMQ_FRAME_HEAD + 4};
        int len = amqp_encode_method(id, method, out);

        if (len >= 0) {
            amq_frame_head(at, AMQ_FRAME_METHOD, channel, (uint32_t)len + 4);
            amq_put_uint(at + AMQ_FRAME_HEAD, 4, id);
            at[AMQ_FRAME_HEAD + 4 + len] = AMQ_FRAME_END;
            amq_connection_commit(conn, (size_t)len + 4 + AMQ_FRAME_OVERHEAD);
            return true;
        }
        amq_connection_commit(conn, 0);
        if (room == conn->frame_max)
            return false;
    }
}

void *amq_connection_decode(struct amq_connection *conn, uint32_t id, struct bailey_bytes args)
{
    amqp_bytes_t in = {args.len, (void *)(uintptr_t)args.data};
    void *decoded = NULL;

    recycle_amqp_pool(&conn->pool);
    if (amqp_decode_method(id, &conn->pool, in, &decoded) != AMQP_STATUS_OK || decoded == NULL) {
        amq_connection_break(conn, "malformed method %u.%u", id >> 16, id & 0xffff);
        return NULL;
    }
    return decoded;
}

/* ---- Down, and up again ---- */

static void break_now(struct bailey_task *task)
{
    struct amq_connection *conn = task->ctx;
    struct bailey_error why = conn->broken;

    if (conn->broken.kind != BAILEY_ERR_NONE && conn->transport != NULL)
        conn_failed(conn, &why);
}

void amq_connection_break(struct amq_connection *conn, const char *fmt, ...)
{
    char text[160];
    va_list args;

    if (conn->broken.kind != BAILEY_ERR_NONE || conn->transport == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    bailey_fail(&conn->broken, BAILEY_ERR_TRANSIENT, "%.60s: %s", conn->address, text);
    bailey_again(host_of(conn), &conn->breaking);
}

static void count_expected(struct amq_connection *conn, bool expected)
{
    if (conn->counted != expected)
        bailey_connection_expected(host_of(conn), conn->broker->name, expected ? 1 : -1);
    conn->counted = expected;
}

static void drop_transport(struct amq_connection *conn)
{
    conn->written_at_loss = amq_connection_written(conn);
    bailey_transport_close(conn->transport);
    conn->transport = NULL;
    conn->life++;
    bailey_timer_stop(host_of(conn), &conn->timer);
    amq_renew_stop(conn);
    bailey_again_stop(host_of(conn), &conn->breaking);
    conn->broken = (struct bailey_error){0};
    conn->is_blocked = false;
    amq_channels_forget_numbers(conn);
    if (conn->state == CONN_OPEN)
        bailey_connection_up(host_of(conn), conn->broker->name, -1);
}

/* Nobody wants it: it counts no longer, and waits for the next channel. */
static void rest(struct amq_connection *conn)
{
    count_expected(conn, false);
    empty_amqp_pool(&conn->pool);
}

static void dial_later(struct amq_connection *conn, int64_t delay_ms)
{
    conn->state = CONN_DOWN;
    conn->backing_off = true;
    bailey_timer_start(host_of(conn), &conn->timer, delay_ms);
}

int64_t amq_connection_next_delay(struct amq_connection *conn)
{
    conn->url_index = (conn->url_index + 1) % conn->broker->settings->urls.count;
    return bailey_backoff_next(host_of(conn), &conn->backoff, BAILEY_RECONNECT_MIN_MS, BAILEY_RECONNECT_MAX_MS);
}

struct bailey_told_end amq_connection_end(const struct amq_connection *conn)
{
    static const char *const purposes[] = {
        [AMQ_PUBLISH] = "publish", [AMQ_CONSUME] = "consume", [AMQ_BROWSE] = "browse"};

    return (struct bailey_told_end){"", purposes[conn->role]};
}

/* A broker that is stopped closes its connections, too: that refuses nothing. */
static enum bailey_told_phase phase_of(const struct amq_connection *conn, const struct bailey_error *why)
{
    bool refused = why->domain != NULL && strcmp(why->domain, "amqp") == 0 && why->native != AMQP_CONNECTION_FORCED;

    if (conn->state != CONN_OPEN)
        return BAILEY_TOLD_BEFORE;
    return refused ? BAILEY_TOLD_REFUSED : BAILEY_TOLD_BEHIND;
}

/* Once for both connections, and for the same reason not again until it works: the ends say what it means to them. */
void amq_connection_log_failure(struct amq_connection *conn, const struct bailey_error *why, int64_t delay_ms)
{
    struct amq_broker *broker = conn->broker;

    if (!bailey_told_failure(&broker->told, amq_connection_end(conn), phase_of(conn, why), why->text))
        return;
    bailey_log(why->kind == BAILEY_ERR_CONFIG ? BAILEY_LOG_ERROR : BAILEY_LOG_WARN, "amqp.connection_failed",
               kv_str("broker", broker->name), kv_str("address", conn->address), kv_error(why),
               kv_ms("retry_in", delay_ms));
}

void amq_connection_works(struct amq_connection *conn)
{
    if (conn->works || conn->state != CONN_OPEN || conn->broken.kind != BAILEY_ERR_NONE)
        return;
    conn->works = true;
    bailey_told_works(&conn->broker->told, amq_connection_end(conn));
    amq_handshake_tell(conn);
}

/* It could not be made, or was lost. */
static void conn_failed(struct amq_connection *conn, const struct bailey_error *why)
{
    struct bailey_error err = *why;
    int64_t delay_ms = amq_connection_next_delay(conn);

    drop_transport(conn);
    amq_connection_log_failure(conn, &err, delay_ms);
    dial_later(conn, delay_ms);
    amq_channels_lost(conn, &err);
}

/* The end of CLOSING. */
void amq_connection_closed(struct amq_connection *conn)
{
    struct amq_channel *last = conn->closing_for;

    drop_transport(conn);
    conn->state = CONN_DOWN;
    if (conn->redial_ms >= 0) {
        dial_later(conn, conn->redial_ms);
        return;
    }
    if (last != NULL)
        amq_channel_gone(last);
    if (conn->attached > 0)
        conn_dial(conn);
    else
        rest(conn);
}

/* OPEN → CLOSING */
void amq_connection_begin_closing(struct amq_connection *conn, int64_t redial_ms, int64_t limit_ms)
{
    if (conn->state == CONN_OPEN)
        bailey_connection_up(host_of(conn), conn->broker->name, -1);
    conn->state = CONN_CLOSING;
    conn->redial_ms = redial_ms;
    bailey_timer_start(host_of(conn), &conn->timer, limit_ms);
}

void amq_connection_close(struct amq_connection *conn)
{
    amqp_connection_close_t close = {.reply_code = 200, .reply_text = amqp_cstring_bytes("bye")};

    assert(conn->state == CONN_OPEN);
    amq_connection_send(conn, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
    amq_connection_begin_closing(conn, -1, AMQ_CLOSE_MS);
}

static void on_lost(void *ctx, const struct bailey_error *why)
{
    struct amq_connection *conn = ctx;
    struct bailey_error err = *why;

    if (conn->state == CONN_CLOSING) {
        amq_connection_closed(conn);
        return;
    }
    if (conn->state == CONN_HANDSHAKE && conn->expected == AMQP_CONNECTION_START_METHOD)
        bailey_hint(&err, "It hung up before a word of AMQP: check the port, and whether it expects amqps://.");
    else if (conn->state == CONN_HANDSHAKE && conn->expected == AMQP_CONNECTION_TUNE_METHOD)
        bailey_hint(&err, "The broker hung up at the log-in: check user and password.");
    else if (conn->state == CONN_HANDSHAKE && conn->expected == AMQP_CONNECTION_OPEN_OK_METHOD)
        bailey_hint(&err, "The broker hung up at opening the vhost: check the vhost in the URL.");
    conn_failed(conn, &err);
}

/* ---- What the transport says ---- */

static void on_connected(void *ctx)
{
    struct amq_connection *conn = ctx;
    static const uint8_t header[] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

    conn->state = CONN_HANDSHAKE;
    conn->expected = AMQP_CONNECTION_START_METHOD;
    amq_connection_append(conn, header, sizeof header);
    bailey_timer_start(host_of(conn), &conn->timer, AMQ_HANDSHAKE_MS);
}

/* Takes whole frames as long as the connection lives. */
static size_t on_data(void *ctx, const uint8_t *data, size_t len)
{
    struct amq_connection *conn = ctx;
    unsigned life = conn->life;
    size_t used = 0;

    if (conn->state == CONN_HANDSHAKE && conn->expected == AMQP_CONNECTION_START_METHOD &&
        data[0] != AMQ_FRAME_METHOD) {
        if (len < 8 && data[0] == 'A')
            return 0;
        amq_connection_not_amqp(conn, data, len);
    }
    while (conn->broken.kind == BAILEY_ERR_NONE) {
        struct amq_frame frame;
        const char *why;
        enum amq_split split = amq_frame_split(data + used, len - used, conn->frame_max, &frame, &why);

        if (split == AMQ_SPLIT_BAD)
            amq_connection_break(conn, "%s", why);
        if (split != AMQ_SPLIT_FRAME)
            break;
        used += frame.size + AMQ_FRAME_OVERHEAD;
        amq_connection_frame(conn, &frame);
        if (conn->life != life)
            return len; /* gone */
    }
    amq_channels_input_end(conn);
    return conn->life == life && conn->broken.kind == BAILEY_ERR_NONE ? used : len;
}

static void on_writable(void *ctx)
{
    struct amq_connection *conn = ctx;

    if (conn->state == CONN_OPEN)
        amq_channels_writable(conn);
}

/* ---- Time ---- */

static void beat(struct amq_connection *conn)
{
    static const uint8_t heartbeat[] = {AMQ_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, AMQ_FRAME_END};
    int64_t now = bailey_now_ms(host_of(conn)), tick = conn->heartbeat_ms / 4;

    if (now - bailey_transport_last_read_ms(conn->transport) >= 2 * conn->heartbeat_ms) {
        struct bailey_error err = {0};

        bailey_fail(&err, BAILEY_ERR_TRANSIENT, "%.60s: silent for %lld s, twice the heartbeat", conn->address,
                    (long long)(2 * conn->heartbeat_ms / 1000));
        conn_failed(conn, &err);
        return;
    }
    if (now - conn->opened_ms >= BAILEY_TOLD_HOLDS_MS)
        amq_connection_works(conn);
    if (now - bailey_transport_last_write_ms(conn->transport) >= tick && bailey_transport_backlog(conn->transport) == 0)
        amq_connection_append(conn, heartbeat, sizeof heartbeat);
    bailey_timer_start(host_of(conn), &conn->timer, tick);
}

static void on_timer(struct bailey_timer *timer)
{
    struct amq_connection *conn = timer->ctx;
    struct bailey_error err = {0};

    switch (conn->state) {
    case CONN_DOWN:
        conn->backing_off = false;
        if (conn->attached > 0 || bailey_now_ms(host_of(conn)) < conn->wanted_until_ms)
            conn_dial(conn);
        else
            rest(conn);
        break;
    case CONN_OPEN:
        beat(conn);
        break;
    case CONN_CLOSING:
        amq_connection_closed(conn);
        break;
    default:
        bailey_fail(&err, BAILEY_ERR_TRANSIENT, "%.60s: the handshake took longer than %d s", conn->address,
                    AMQ_HANDSHAKE_MS / 1000);
        conn_failed(conn, &err);
    }
}

static void on_linger(struct bailey_timer *timer)
{
    struct amq_connection *conn = timer->ctx;

    if (conn->attached == 0 && conn->state == CONN_OPEN)
        amq_connection_close(conn);
}

/* ---- Dialing ---- */

static const struct bailey_transport_ops transport_ops = {
    .on_connected = on_connected,
    .on_data = on_data,
    .on_writable = on_writable,
    .on_lost = on_lost,
};

static void conn_dial(struct amq_connection *conn)
{
    const struct amq_broker_settings *settings = conn->broker->settings;
    struct bailey_tls tls = {.insecure = !settings->tls_verify,
                             .ca = settings->tls_ca,
                             .cert = settings->tls_cert,
                             .key = settings->tls_key,
                             .key_password = settings->tls_key_password,
                             .broker = conn->broker->name};
    struct amq_url url;

    assert(conn->state == CONN_DOWN && conn->transport == NULL);
    if (!amq_url_parse(settings->urls.items[conn->url_index], &url, NULL)) /* check() has refused such a file */
        return;
    tls.enabled = url.tls;
    snprintf(conn->address, sizeof conn->address, strchr(url.host, ':') ? "[%s]:%u" : "%s:%u", url.host, url.port);
    conn->state = CONN_DIALING;
    conn->frame_max = (uint32_t)settings->frame_max;
    conn->appended = 0;
    count_expected(conn, true);
    conn->transport = bailey_transport_open(host_of(conn), url.host, url.port, &tls, NULL, &transport_ops, conn);
    amq_url_wipe(&url);
}

void amq_connection_want(struct amq_connection *conn)
{
    bailey_timer_stop(host_of(conn), &conn->linger);
    if (conn->state == CONN_DOWN && !conn->backing_off)
        conn_dial(conn);
}

void amq_connection_unwant(struct amq_connection *conn)
{
    if (conn->attached > 0)
        return;
    conn->wanted_until_ms = bailey_now_ms(host_of(conn)) + AMQ_LINGER_MS;
    bailey_timer_start(host_of(conn), &conn->linger, AMQ_LINGER_MS);
}

static struct amq_connection *conn_new(struct amq_broker *broker, enum amq_role role)
{
    struct amq_connection *conn = calloc(1, sizeof *conn), **end = &broker->connections;

    if (conn == NULL)
        abort();
    *conn = (struct amq_connection){.broker = broker, .role = role, .channel_max = 2047 /* RabbitMQ's default */};
    conn->timer = (struct bailey_timer){.fire = on_timer, .ctx = conn};
    conn->linger = (struct bailey_timer){.fire = on_linger, .ctx = conn};
    conn->breaking = (struct bailey_task){.run = break_now, .ctx = conn};
    init_amqp_pool(&conn->pool, 4096);
    while (*end != NULL)
        end = &(*end)->next;
    *end = conn;
    return conn;
}

struct amq_connection *amq_connection_pick(struct amq_broker *broker, enum amq_role role)
{
    for (struct amq_connection *conn = broker->connections; conn != NULL; conn = conn->next) {
        size_t taken = conn->attached > conn->used ? conn->attached : conn->used;

        if (conn->role == role && taken < conn->channel_max)
            return conn;
    }
    return conn_new(broker, role);
}

static void conn_free(struct amq_connection *conn)
{
    assert(conn->attached == 0);
    if (conn->transport != NULL)
        drop_transport(conn);
    bailey_timer_stop(host_of(conn), &conn->timer);
    bailey_timer_stop(host_of(conn), &conn->linger);
    bailey_again_stop(host_of(conn), &conn->breaking);
    count_expected(conn, false);
    empty_amqp_pool(&conn->pool);
    free(conn->slots);
    free(conn);
}

void amq_broker_close(void *broker)
{
    struct amq_broker *b = broker;

    amq_probing_free(b->probing);
    while (b->connections != NULL) {
        struct amq_connection *conn = b->connections;

        b->connections = conn->next;
        conn_free(conn);
    }
    free(b);
}
