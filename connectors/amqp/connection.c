/* The life of a connection: dial with back-off, handshake, heart-beats, close.
 *
 * rabbitmq-c encodes and decodes the methods; sockets, time and frames are ours. Whatever ends a connection ends in conn_failed()
 * or conn_closed(): the transport is closed, its channels are told, and the next dial is scheduled.
 */
#include "connection_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { GOODBYE_MS = 1000 /* for our close-ok to leave, and the broker to hang up */, METHOD_ROOM = 2048, FAILURE_AGAIN_MS = 60000 };

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
    return conn->transport == NULL ? conn->written_at_loss
                                   : conn->appended - bailey_transport_backlog(conn->transport);
}

bool amq_connection_full(const struct amq_connection *conn)
{
    return bailey_transport_backlog(conn->transport) >= BAILEY_TRANSPORT_BACKLOG;
}

uint32_t amq_connection_frame_max(const struct amq_connection *conn)
{
    return conn->frame_max;
}

const char *amq_connection_blocked(const struct amq_connection *conn)
{
    return conn->is_blocked ? conn->blocked : NULL;
}

void amq_connection_pin(struct amq_connection *conn, struct bailey_message *msg)
{
    if (conn->first_pin == conn->pin_count)
        conn->first_pin = conn->pin_count = 0;
    if (conn->pin_count == conn->pin_cap) {
        conn->pin_cap = conn->pin_cap ? conn->pin_cap * 2 : 16;
        conn->pins = realloc(conn->pins, conn->pin_cap * sizeof *conn->pins);
        if (conn->pins == NULL)
            abort();
    }
    conn->pins[conn->pin_count++] = (struct pin){bailey_message_ref(msg), conn->appended};
}

static void release_pins(struct amq_connection *conn)
{
    uint64_t written;

    if (conn->first_pin == conn->pin_count)
        return;
    written = conn->transport == NULL ? conn->appended : amq_connection_written(conn);
    while (conn->first_pin < conn->pin_count && conn->pins[conn->first_pin].end <= written)
        bailey_message_unref(conn->pins[conn->first_pin++].msg);
    if (conn->first_pin >= 64 && conn->first_pin * 2 >= conn->pin_count) { /* never empty under load: move it down */
        memmove(conn->pins, conn->pins + conn->first_pin, (conn->pin_count - conn->first_pin) * sizeof *conn->pins);
        conn->pin_count -= conn->first_pin;
        conn->first_pin = 0;
    }
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
    release_pins(conn);
    bailey_timer_stop(host_of(conn), &conn->timer);
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

static int64_t next_delay(struct amq_connection *conn)
{
    conn->url_index = (conn->url_index + 1) % conn->broker->settings->urls.count;
    return bailey_backoff_next(host_of(conn), &conn->backoff, BAILEY_RECONNECT_MIN_MS, BAILEY_RECONNECT_MAX_MS);
}

/* Once for both connections, and for the same reason not again within a minute: the ends say what it means to them. */
static void log_failure(struct amq_connection *conn, const struct bailey_error *why, int64_t delay_ms)
{
    struct amq_broker *broker = conn->broker;
    int64_t now = bailey_now_ms(broker->host);

    if (strcmp(broker->last_failure, why->text) == 0 && now - broker->last_failure_ms < FAILURE_AGAIN_MS)
        return;
    memcpy(broker->last_failure, why->text, sizeof broker->last_failure);
    broker->last_failure_ms = now;
    bailey_log(why->kind == BAILEY_ERR_CONFIG ? BAILEY_LOG_ERROR : BAILEY_LOG_WARN, "amqp.connection_failed",
               kv_str("broker", broker->name), kv_str("address", conn->address), kv_error(why),
               kv_ms("retry_in", delay_ms));
}

/* It could not be made, or was lost. */
static void conn_failed(struct amq_connection *conn, const struct bailey_error *why)
{
    struct bailey_error err = *why;
    int64_t delay_ms = next_delay(conn);

    drop_transport(conn);
    log_failure(conn, &err, delay_ms);
    dial_later(conn, delay_ms);
    amq_channels_lost(conn, &err);
}

/* The end of CLOSING. */
static void conn_closed(struct amq_connection *conn)
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
static void begin_closing(struct amq_connection *conn, int64_t redial_ms, int64_t limit_ms)
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
    begin_closing(conn, -1, AMQ_CLOSE_MS);
}

static void closed_by_broker(struct amq_connection *conn, struct bailey_bytes args)
{
    amqp_connection_close_t *close = amq_connection_decode(conn, AMQP_CONNECTION_CLOSE_METHOD, args);
    amqp_connection_close_ok_t ok = {0};
    struct bailey_error reply = {0}, err = {0};
    int64_t delay_ms;

    if (close == NULL)
        return;
    amq_reply_error(&reply, close->reply_code, close->reply_text);
    bailey_fail_native(&err, reply.kind, reply.domain, reply.native, "%.60s: %.170s", conn->address, reply.text);
    if (reply.hint[0] != '\0')
        bailey_hint(&err, "%s", reply.hint);
    amq_connection_send(conn, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
    if (conn->state == CONN_CLOSING)
        return;
    delay_ms = next_delay(conn);
    log_failure(conn, &err, delay_ms);
    begin_closing(conn, delay_ms, GOODBYE_MS);
    amq_channels_lost(conn, &err);
}

static void on_lost(void *ctx, const struct bailey_error *why)
{
    struct amq_connection *conn = ctx;
    struct bailey_error err = *why;

    if (conn->state == CONN_CLOSING) {
        conn_closed(conn);
        return;
    }
    if (conn->state == CONN_HANDSHAKE && conn->expected == AMQP_CONNECTION_START_METHOD)
        bailey_hint(&err, "It hung up before a word of AMQP: check the port, and whether it expects amqps://.");
    else if (conn->state == CONN_HANDSHAKE && conn->expected == AMQP_CONNECTION_TUNE_METHOD)
        bailey_hint(&err, "The broker hung up at the log-in: check user and password in the URL.");
    else if (conn->state == CONN_HANDSHAKE && conn->expected == AMQP_CONNECTION_OPEN_OK_METHOD)
        bailey_hint(&err, "The broker hung up at opening the vhost: check the vhost in the URL.");
    conn_failed(conn, &err);
}

/* ---- Handshake ---- */

static void fail_handshake(struct amq_connection *conn, enum bailey_error_kind kind, const char *text, const char *hint)
{
    if (conn->broken.kind != BAILEY_ERR_NONE)
        return;
    bailey_fail(&conn->broken, kind, "%.60s: %s", conn->address, text);
    if (hint != NULL)
        bailey_hint(&conn->broken, "%s", hint);
    bailey_again(host_of(conn), &conn->breaking);
}

static void on_connected(void *ctx)
{
    struct amq_connection *conn = ctx;
    static const uint8_t header[] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

    conn->state = CONN_HANDSHAKE;
    conn->expected = AMQP_CONNECTION_START_METHOD;
    amq_connection_append(conn, header, sizeof header);
    bailey_timer_start(host_of(conn), &conn->timer, AMQ_HANDSHAKE_MS);
}

static bool has_word(amqp_bytes_t list, const char *word)
{
    const char *at = list.bytes, *end = at + list.len;
    size_t len = strlen(word);

    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *stop = space != NULL ? space : end;

        if ((size_t)(stop - at) == len && memcmp(at, word, len) == 0)
            return true;
        at = stop + 1;
    }
    return false;
}

static amqp_table_entry_t text_entry(const char *key, const char *text)
{
    return (amqp_table_entry_t){amqp_cstring_bytes(key),
                                {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(text)}};
}

static amqp_table_entry_t true_entry(const char *key)
{
    return (amqp_table_entry_t){amqp_cstring_bytes(key), {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static void send_start_ok(struct amq_connection *conn, const char *mechanism, amqp_bytes_t response)
{
    char name[256];
    amqp_table_entry_t capabilities[] = {
        true_entry("publisher_confirms"),     true_entry("basic.nack"),
        true_entry("consumer_cancel_notify"), true_entry("connection.blocked"),
        true_entry("exchange_exchange_bindings"), true_entry("authentication_failure_close"),
    };
    amqp_table_entry_t entries[] = {
        text_entry("product", "bailey"),
        text_entry("platform", "C"),
        text_entry("connection_name", name),
        {amqp_cstring_bytes("capabilities"),
         {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {sizeof capabilities / sizeof *capabilities, capabilities}}},
    };
    amqp_connection_start_ok_t ok = {
        .client_properties = {sizeof entries / sizeof *entries, entries},
        .mechanism = amqp_cstring_bytes(mechanism),
        .response = response,
        .locale = amqp_cstring_bytes("en_US"),
    };

    snprintf(name, sizeof name, "bailey %s/%s %s", conn->broker->instance, conn->broker->name,
             conn->role == AMQ_PUBLISH ? "publish" : "consume");
    entries[2] = text_entry("connection_name", name);
    if (!amq_connection_send(conn, 0, AMQP_CONNECTION_START_OK_METHOD, &ok))
        fail_handshake(conn, BAILEY_ERR_CONFIG, "user and password do not fit into a frame", NULL);
}

/* The response of PLAIN (RFC 4616): NUL user NUL password. It leaves no copy in our memory but in the output. */
static void log_in(struct amq_connection *conn)
{
    struct amq_url url;
    char response[sizeof url.user + sizeof url.password + 2];
    size_t user_len, password_len;

    if (conn->broker->settings->auth == AMQ_AUTH_EXTERNAL) {
        send_start_ok(conn, "EXTERNAL", amqp_empty_bytes);
        return;
    }
    if (!amq_url_parse(conn->broker->settings->urls.items[conn->url_index], &url, NULL))
        return;
    user_len = strlen(url.user);
    password_len = strlen(url.password);
    response[0] = '\0';
    memcpy(response + 1, url.user, user_len + 1);
    memcpy(response + user_len + 2, url.password, password_len);
    send_start_ok(conn, "PLAIN", (amqp_bytes_t){user_len + password_len + 2, response});
    explicit_bzero(response, sizeof response);
    amq_url_wipe(&url);
}

static void handle_start(struct amq_connection *conn, struct bailey_bytes args)
{
    const char *mechanism = conn->broker->settings->auth == AMQ_AUTH_EXTERNAL ? "EXTERNAL" : "PLAIN";
    amqp_connection_start_t *start;
    size_t used;

    if (args.len < 2 || !amq_table_guard(args.data + 2, args.len - 2, &used)) {
        amq_connection_break(conn, "malformed server properties");
        return;
    }
    start = amq_connection_decode(conn, AMQP_CONNECTION_START_METHOD, args);
    if (start == NULL)
        return;
    if (!has_word(start->mechanisms, mechanism)) {
        char text[120];

        snprintf(text, sizeof text, "the broker does not offer the log-in mechanism %s, but: %.*s", mechanism,
                 (int)(start->mechanisms.len < 60 ? start->mechanisms.len : 60), (const char *)start->mechanisms.bytes);
        fail_handshake(conn, BAILEY_ERR_CONFIG, text, "Set `auth` to one that it offers.");
        return;
    }
    conn->expected = AMQP_CONNECTION_TUNE_METHOD;
    log_in(conn);
}

static uint32_t lower_nonzero(uint32_t a, uint32_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void send_open(struct amq_connection *conn)
{
    struct amq_url url;
    amqp_connection_open_t open = {0};

    if (!amq_url_parse(conn->broker->settings->urls.items[conn->url_index], &url, NULL))
        return;
    open.virtual_host = amqp_cstring_bytes(url.vhost);
    amq_connection_send(conn, 0, AMQP_CONNECTION_OPEN_METHOD, &open);
    amq_url_wipe(&url);
}

static void handle_tune(struct amq_connection *conn, struct bailey_bytes args)
{
    const struct amq_broker_settings *settings = conn->broker->settings;
    amqp_connection_tune_t *tune = amq_connection_decode(conn, AMQP_CONNECTION_TUNE_METHOD, args);
    amqp_connection_tune_ok_t ok = {0};

    if (tune == NULL)
        return;
    ok.channel_max = (uint16_t)lower_nonzero(tune->channel_max, UINT16_MAX);
    ok.frame_max = lower_nonzero(tune->frame_max, (uint32_t)settings->frame_max);
    ok.heartbeat = (uint16_t)lower_nonzero(tune->heartbeat, (uint32_t)((settings->heartbeat_ms + 999) / 1000));
    if (ok.frame_max < AMQ_FRAME_MIN) {
        amq_connection_break(conn, "frame_max %u is below what the protocol allows", ok.frame_max);
        return;
    }
    amq_connection_send(conn, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &ok);
    conn->channel_max = ok.channel_max;
    conn->frame_max = ok.frame_max;
    conn->heartbeat_ms = ok.heartbeat * 1000;
    conn->expected = AMQP_CONNECTION_OPEN_OK_METHOD;
    send_open(conn);
}

static void handle_open_ok(struct amq_connection *conn)
{
    conn->state = CONN_OPEN;
    conn->expected = 0;
    conn->backoff = (struct bailey_backoff){0};
    conn->broker->last_failure[0] = '\0';
    bailey_connection_up(host_of(conn), conn->broker->name, 1);
    bailey_log(BAILEY_LOG_INFO, "amqp.connected", kv_str("broker", conn->broker->name), kv_str("address", conn->address),
               kv_str("for", conn->role == AMQ_PUBLISH ? "publish" : "consume"),
               kv_ms("heartbeat", conn->heartbeat_ms), kv_u64("frame_max", conn->frame_max),
               kv_u64("channel_max", conn->channel_max));
    bailey_timer_start(host_of(conn), &conn->timer, conn->heartbeat_ms / 4);
    amq_channels_open(conn);
    if (conn->attached == 0)
        amq_connection_unwant(conn);
}

static void handle_blocked(struct amq_connection *conn, struct bailey_bytes args)
{
    struct amq_reader r = {args.data, args.data + args.len, false};
    struct bailey_bytes reason = amq_read_shortstr(&r);

    conn->is_blocked = true;
    snprintf(conn->blocked, sizeof conn->blocked, "blocked by the broker: %.*s",
             (int)(reason.len < 120 ? reason.len : 120), (const char *)reason.data);
    bailey_log(BAILEY_LOG_WARN, "amqp.blocked", kv_str("broker", conn->broker->name), kv_str("address", conn->address),
               kv_bytes("reason", reason.data, reason.len));
    amq_channels_blocked(conn, conn->blocked);
}

static void handle_unblocked(struct amq_connection *conn)
{
    conn->is_blocked = false;
    bailey_log(BAILEY_LOG_INFO, "amqp.unblocked", kv_str("broker", conn->broker->name),
               kv_str("address", conn->address));
    amq_channels_blocked(conn, NULL);
}

/* ---- Frames of the connection itself ---- */

static void connection_method(struct amq_connection *conn, uint32_t id, struct bailey_bytes args)
{
    if (id == AMQP_CONNECTION_CLOSE_METHOD) {
        closed_by_broker(conn, args);
    } else if (conn->state == CONN_CLOSING) {
        if (id == AMQP_CONNECTION_CLOSE_OK_METHOD)
            conn_closed(conn);
    } else if (conn->state == CONN_OPEN && id == AMQP_CONNECTION_BLOCKED_METHOD) {
        handle_blocked(conn, args);
    } else if (conn->state == CONN_OPEN && id == AMQP_CONNECTION_UNBLOCKED_METHOD) {
        handle_unblocked(conn);
    } else if (conn->state == CONN_HANDSHAKE && id == conn->expected) {
        if (id == AMQP_CONNECTION_START_METHOD)
            handle_start(conn, args);
        else if (id == AMQP_CONNECTION_TUNE_METHOD)
            handle_tune(conn, args);
        else
            handle_open_ok(conn);
    } else if (conn->state == CONN_HANDSHAKE && id == AMQP_CONNECTION_SECURE_METHOD) {
        fail_handshake(conn, BAILEY_ERR_CONFIG, "the broker asks for a log-in of several steps", NULL);
    } else {
        amq_connection_break(conn, "unexpected method %u.%u on channel 0", id >> 16, id & 0xffff);
    }
}

static void dispatch(struct amq_connection *conn, const struct amq_frame *frame)
{
    struct amq_reader r = {frame->payload, frame->payload + frame->size, false};

    if (frame->type == AMQ_FRAME_HEARTBEAT)
        return;
    if (frame->channel == 0) {
        uint32_t id = amq_read_u32(&r);

        connection_method(conn, id, (struct bailey_bytes){r.at, amq_left(&r)});
    } else if (conn->state == CONN_OPEN) {
        amq_channel_frame(conn, frame);
    } else if (conn->state == CONN_HANDSHAKE) {
        amq_connection_break(conn, "a frame on a channel during the handshake");
    }
}

static void not_amqp(struct amq_connection *conn, const uint8_t *data, size_t len)
{
    if (len >= 8 && memcmp(data, "AMQP", 4) == 0) {
        char text[80];

        snprintf(text, sizeof text, "the broker speaks AMQP %u.%u.%u, not 0-9-1", data[5], data[6], data[7]);
        fail_handshake(conn, BAILEY_ERR_CONFIG, text, NULL);
    } else {
        fail_handshake(conn, BAILEY_ERR_CONFIG, "what answers does not speak AMQP 0-9-1",
                       "Check the port in the URL; use amqps:// if the broker expects TLS there.");
    }
}

/* Takes whole frames as long as the connection lives. */
static size_t on_data(void *ctx, const uint8_t *data, size_t len)
{
    struct amq_connection *conn = ctx;
    unsigned life = conn->life;
    size_t used = 0;

    if (conn->state == CONN_HANDSHAKE && conn->expected == AMQP_CONNECTION_START_METHOD && data[0] != AMQ_FRAME_METHOD) {
        if (len < 8 && data[0] == 'A')
            return 0;
        not_amqp(conn, data, len);
    }
    release_pins(conn);
    while (conn->broken.kind == BAILEY_ERR_NONE) {
        struct amq_frame frame;
        const char *why;
        enum amq_split split = amq_frame_split(data + used, len - used, conn->frame_max, &frame, &why);

        if (split == AMQ_SPLIT_BAD)
            amq_connection_break(conn, "%s", why);
        if (split != AMQ_SPLIT_FRAME)
            break;
        used += frame.size + AMQ_FRAME_OVERHEAD;
        dispatch(conn, &frame);
        if (conn->life != life)
            return len; /* gone */
    }
    amq_channels_input_end(conn);
    return conn->life == life && conn->broken.kind == BAILEY_ERR_NONE ? used : len;
}

static void on_writable(void *ctx)
{
    struct amq_connection *conn = ctx;

    release_pins(conn);
    if (conn->state == CONN_OPEN)
        amq_channels_writable(conn);
}

/* ---- Time ---- */

static void beat(struct amq_connection *conn)
{
    static const uint8_t heartbeat[] = {AMQ_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, AMQ_FRAME_END};
    int64_t now = bailey_now_ms(host_of(conn)), tick = conn->heartbeat_ms / 4;

    release_pins(conn);
    if (now - bailey_transport_last_read_ms(conn->transport) >= 2 * conn->heartbeat_ms) {
        struct bailey_error err = {0};

        bailey_fail(&err, BAILEY_ERR_TRANSIENT, "%.60s: silent for %lld s, twice the heartbeat", conn->address,
                    (long long)(2 * conn->heartbeat_ms / 1000));
        conn_failed(conn, &err);
        return;
    }
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
        conn_closed(conn);
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
    struct bailey_tls tls = {
        .insecure = !settings->tls_verify, .ca = settings->tls_ca, .cert = settings->tls_cert, .key = settings->tls_key};
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
    conn->transport = bailey_transport_open(host_of(conn), url.host, url.port, &tls, &transport_ops, conn);
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
    free(conn->pins);
    free(conn->slots);
    free(conn);
}

void amq_broker_close(void *broker)
{
    struct amq_broker *b = broker;

    while (b->connections != NULL) {
        struct amq_connection *conn = b->connections;

        b->connections = conn->next;
        conn_free(conn);
    }
    free(b);
}
