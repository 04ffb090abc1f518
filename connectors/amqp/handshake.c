/* Channel 0: the handshake (start, tune, open), being blocked, and being closed by the broker. 0-9-1, 2.2.4; RabbitMQ's
 * extensions in the client's capabilities.
 */
#include "connection_impl.h"
#include "login.h"

#include <stdio.h>

enum { GOODBYE_MS = 1000 /* for our close-ok to leave, and the broker to hang up */ };

/* ---- Handshake ---- */

static void fail_handshake(struct amq_connection *conn, enum bailey_error_kind kind, const char *text, const char *hint)
{
    if (conn->broken.kind != BAILEY_ERR_NONE)
        return;
    bailey_fail(&conn->broken, kind, "%.60s: %s", conn->address, text);
    if (hint != NULL)
        bailey_hint(&conn->broken, "%s", hint);
    bailey_again(conn->broker->host, &conn->breaking);
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
        true_entry("publisher_confirms"),         true_entry("basic.nack"),
        true_entry("consumer_cancel_notify"),     true_entry("connection.blocked"),
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
             amq_connection_end(conn).purpose);
    entries[2] = text_entry("connection_name", name);
    if (!amq_connection_send(conn, 0, AMQP_CONNECTION_START_OK_METHOD, &ok))
        fail_handshake(conn, BAILEY_ERR_CONFIG, "user and password do not fit into a frame", NULL);
}

/* The response of PLAIN (RFC 4616): NUL user NUL password. It leaves no copy in our memory but in the output. */
static void log_in(struct amq_connection *conn)
{
    const struct amq_broker_settings *settings = conn->broker->settings;
    struct bailey_error err = {0};
    struct amq_login login;
    char response[sizeof login.user + sizeof login.password + 2];
    size_t user_len, password_len;

    if (settings->auth == AMQ_AUTH_EXTERNAL) {
        send_start_ok(conn, "EXTERNAL", amqp_empty_bytes);
        return;
    }
    bailey_credential_changed(&settings->password, &conn->secret); /* before it is read: a change in between is seen */
    if (!amq_login_read(settings, conn->url_index, &login, &err)) {
        fail_handshake(conn, BAILEY_ERR_CONFIG, err.text, err.hint[0] != '\0' ? err.hint : NULL);
        return;
    }
    user_len = strlen(login.user);
    password_len = strlen(login.password);
    response[0] = '\0';
    memcpy(response + 1, login.user, user_len + 1);
    memcpy(response + user_len + 2, login.password, password_len);
    send_start_ok(conn, "PLAIN", (amqp_bytes_t){user_len + password_len + 2, response});
    explicit_bzero(response, sizeof response);
    amq_login_wipe(&login);
}

static bool is_product(const amqp_table_t *properties, const char *name)
{
    for (int i = 0; i < properties->num_entries; i++) {
        const amqp_table_entry_t *entry = &properties->entries[i];

        if (entry->key.len == 7 && memcmp(entry->key.bytes, "product", 7) == 0)
            return entry->value.kind == AMQP_FIELD_KIND_UTF8 && entry->value.value.bytes.len == strlen(name) &&
                   memcmp(entry->value.value.bytes.bytes, name, strlen(name)) == 0;
    }
    return false;
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
    conn->is_rabbitmq = is_product(&start->server_properties, "RabbitMQ");
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

void amq_handshake_tell(struct amq_connection *conn)
{
    if (conn->is_told)
        return;
    conn->is_told = true;
    bailey_log(BAILEY_LOG_INFO, "amqp.connected", kv_str("broker", conn->broker->name),
               kv_str("address", conn->address), kv_str("for", amq_connection_end(conn).purpose),
               kv_ms("heartbeat", conn->heartbeat_ms), kv_u64("frame_max", conn->frame_max),
               kv_u64("channel_max", conn->channel_max));
}

static void handle_open_ok(struct amq_connection *conn)
{
    conn->state = CONN_OPEN;
    conn->expected = 0;
    conn->backoff = (struct bailey_backoff){0};
    conn->works = conn->is_told = false;
    conn->opened_ms = bailey_now_ms(conn->broker->host);
    if (bailey_told_connected(&conn->broker->told, amq_connection_end(conn)))
        amq_handshake_tell(conn);
    bailey_connection_up(conn->broker->host, conn->broker->name, 1);
    bailey_timer_start(conn->broker->host, &conn->timer, conn->heartbeat_ms / 4);
    amq_renew_start(conn);
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
    delay_ms = amq_connection_next_delay(conn);
    amq_connection_log_failure(conn, &err, delay_ms);
    amq_connection_begin_closing(conn, delay_ms, GOODBYE_MS);
    amq_channels_lost(conn, &err);
}

/* ---- Frames of the connection itself ---- */

static void connection_method(struct amq_connection *conn, uint32_t id, struct bailey_bytes args)
{
    if (id == AMQP_CONNECTION_CLOSE_METHOD) {
        closed_by_broker(conn, args);
    } else if (conn->state == CONN_CLOSING) {
        if (id == AMQP_CONNECTION_CLOSE_OK_METHOD)
            amq_connection_closed(conn);
    } else if (conn->state == CONN_OPEN && id == AMQP_CONNECTION_BLOCKED_METHOD) {
        handle_blocked(conn, args);
    } else if (conn->state == CONN_OPEN && id == AMQP_CONNECTION_UNBLOCKED_METHOD) {
        handle_unblocked(conn);
    } else if (conn->state == CONN_OPEN && id == AMQ_UPDATE_SECRET_OK && conn->is_renewing) {
        amq_renew_done(conn);
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

void amq_connection_frame(struct amq_connection *conn, const struct amq_frame *frame)
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

void amq_connection_not_amqp(struct amq_connection *conn, const uint8_t *data, size_t len)
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
