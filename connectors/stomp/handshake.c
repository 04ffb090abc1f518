/* CONNECT and CONNECTED: log-in, version, heart-beats, and which dialect the broker speaks.
 *
 * The specification leaves CONNECT unescaped; RabbitMQ unescapes it all the same. Whose form is right is not known before
 * CONNECTED, and matters only for a backslash: then one form is tried, and after a refusal the other, once. What succeeded is
 * remembered.
 */
#include "connection_impl.h"

#include <stdio.h>

enum { HEARTBEAT_MAX_MS = 86400000 /* who beats less often than once a day does not beat */ };

struct credentials {
    char login[STOMP_LOGIN_MAX], passcode[STOMP_LOGIN_MAX];
    bool given; /* a login, be it an empty one */
};

/* The one place that reads them: the broker's options, from their files as they are now; else the URL's userinfo. Wipe after
 * use. False with `err` (which may be NULL) if a file cannot be read. */
static bool read_credentials(const struct stomp_connection *conn, struct credentials *c, struct bailey_error *err)
{
    const struct stomp_broker_settings *settings = conn->broker->settings;
    struct stomp_url url = {0};

    *c = (struct credentials){.given = true};
    if (settings->login.value != NULL || settings->passcode.value != NULL)
        return bailey_credential_read(&settings->login, c->login, sizeof c->login, err) &&
               bailey_credential_read(&settings->passcode, c->passcode, sizeof c->passcode, err);
    stomp_url_parse(settings->urls.items[conn->url_index], &url, NULL);
    c->given = url.has_login;
    memcpy(c->login, url.login, sizeof url.login);
    memcpy(c->passcode, url.passcode, sizeof url.passcode);
    stomp_url_wipe(&url);
    return true;
}

void stomp_handshake_mask(const struct stomp_connection *conn, char *text)
{
    struct credentials c;
    size_t len;

    read_credentials(conn, &c, NULL);
    len = strlen(c.passcode);
    for (char *at = text; len > 0 && (at = strstr(at, c.passcode)) != NULL; at += len)
        memset(at, '*', len);
    explicit_bzero(&c, sizeof c);
}

/* ---- CONNECT ---- */

void stomp_handshake_prepare(struct stomp_connection *conn)
{
    enum stomp_dialect dialect = (enum stomp_dialect)conn->broker->settings->dialect;

    conn->other_form_tried = false;
    conn->connect_escaped =
        dialect == STOMP_AUTO ? conn->broker->escapes_in_connect : stomp_dialect_row(dialect)->reads_escapes_in_connect;
}

bool stomp_handshake_other_form(struct stomp_connection *conn)
{
    const struct stomp_broker_settings *settings = conn->broker->settings;
    struct credentials c;
    bool matters;

    if (settings->dialect != STOMP_AUTO || !conn->connect_sent || conn->other_form_tried)
        return false;
    read_credentials(conn, &c, NULL);
    matters =
        strchr(c.login, '\\') != NULL || strchr(c.passcode, '\\') != NULL || strchr(settings->vhost, '\\') != NULL;
    explicit_bzero(&c, sizeof c);
    if (matters) {
        conn->other_form_tried = true;
        conn->connect_escaped = !conn->connect_escaped;
    }
    return matters;
}

static void write_connect(struct stomp_connection *conn, struct stomp_writer *w, const struct credentials *c)
{
    const struct stomp_broker_settings *settings = conn->broker->settings;
    char heartbeat[48];

    snprintf(heartbeat, sizeof heartbeat, "%lld,%lld", (long long)settings->heartbeat_ms,
             (long long)settings->heartbeat_ms);
    stomp_write_command(w, "CONNECT");
    stomp_write_header(w, "accept-version",
                       bailey_bytes_of(settings->dialect == STOMP_GENERIC ? "1.2,1.1,1.0" : "1.2,1.1"));
    stomp_write_header(w, "host", bailey_bytes_of(settings->vhost));
    stomp_write_header(w, "heart-beat", bailey_bytes_of(heartbeat));
    if (c->given) {
        stomp_write_header(w, "login", bailey_bytes_of(c->login));
        stomp_write_header(w, "passcode", bailey_bytes_of(c->passcode));
    }
    if (conn->client_id != NULL)
        stomp_write_header(w, "client-id", bailey_bytes_of(conn->client_id));
    stomp_write_end_of_head(w);
    stomp_write_body(w, BAILEY_EMPTY_BYTES);
}

void stomp_handshake_begin(struct stomp_connection *conn)
{
    enum { ROOM = 16 << 10 }; /* check() bounds what goes in */
    struct bailey_error err = {0};
    struct credentials c;
    struct stomp_writer w;
    const uint8_t *from;

    if (!read_credentials(conn, &c, &err)) {
        stomp_connection_give_up(conn, &err);
        return;
    }
    conn->escapes = conn->connect_escaped ? STOMP_ESCAPES_12 : STOMP_ESCAPES_NONE;
    w = stomp_connection_reserve(conn, ROOM);
    from = w.at;
    write_connect(conn, &w, &c);
    explicit_bzero(&c, sizeof c);
    if (w.full || w.bad) {
        bailey_fail(&err, BAILEY_ERR_CONFIG, "%.60s: login, passcode, vhost or client id cannot be sent",
                    conn->address);
        bailey_hint(&err, "They hold an end of line or a zero byte, or are too long.");
        w.at = (uint8_t *)(uintptr_t)from;
        stomp_connection_give_up(conn, &err);
    }
    stomp_connection_commit(conn, from, &w);
    stomp_connection_end_frame(conn, true);
    conn->connect_sent = true;
}

/* ---- CONNECTED ---- */

static void refuse(struct stomp_connection *conn, const char *text, const char *hint)
{
    struct bailey_error err = {0};

    bailey_fail(&err, BAILEY_ERR_CONFIG, "%.60s: %s", conn->address, text);
    bailey_hint(&err, "%s", hint);
    stomp_connection_give_up(conn, &err);
}

/* 10, 11, 12; 0: none that we offered. 1.0 has no such header. */
static int agreed_version(const struct stomp_connection *conn)
{
    struct bailey_bytes version = stomp_frame_header(&conn->parser, "version");

    if (bailey_bytes_is(version, "1.2"))
        return 12;
    if (bailey_bytes_is(version, "1.1"))
        return 11;
    return version.data == NULL || bailey_bytes_is(version, "1.0") ? 10 : 0;
}

/* Digits up to `stop`; false if there is none. Too many are more than any limit. */
static bool read_ms(const uint8_t **at, const uint8_t *end, char stop, int64_t *ms)
{
    const uint8_t *from = *at;

    *ms = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at)
        *ms = *ms > HEARTBEAT_MAX_MS ? *ms : *ms * 10 + (**at - '0');
    if (*at == from || (stop != '\0' ? *at == end || **at != (uint8_t)stop : *at != end))
        return false;
    *at += stop != '\0';
    return true;
}

static int64_t agreed_ms(int64_t ours, int64_t theirs)
{
    if (ours == 0 || theirs == 0 || theirs > HEARTBEAT_MAX_MS)
        return 0;
    return ours > theirs ? ours : theirs;
}

/* What the broker can send, and what it wants. */
static bool agree_heartbeats(struct stomp_connection *conn)
{
    int64_t ours = conn->broker->settings->heartbeat_ms, can = 0, wants = 0;
    struct bailey_bytes header = stomp_frame_header(&conn->parser, "heart-beat");
    const uint8_t *at = header.data, *end = at + header.len;

    if (header.data != NULL && !(read_ms(&at, end, ',', &can) && read_ms(&at, end, '\0', &wants)))
        return false;
    conn->send_ms = agreed_ms(ours, wants);
    conn->receive_ms = agreed_ms(ours, can);
    return true;
}

void stomp_handshake_tell(struct stomp_connection *conn)
{
    char version[] = {'1', '.', (char)('0' + conn->version % 10), '\0'};

    if (conn->is_told)
        return;
    conn->is_told = true;
    bailey_log(BAILEY_LOG_INFO, "stomp.connected", kv_str("broker", conn->broker->name),
               kv_str("address", conn->address), kv_str("for", conn->purpose), kv_str("server", conn->server),
               kv_str("version", version), kv_str("dialect", stomp_dialect_row(conn->dialect)->name),
               kv_ms("heartbeat_send", conn->send_ms), kv_ms("heartbeat_receive", conn->receive_ms));
}

static void keep_names(struct stomp_connection *conn)
{
    struct bailey_bytes session = stomp_frame_header(&conn->parser, "session");
    struct bailey_bytes server = stomp_frame_header(&conn->parser, "server");
    bool fits =
        session.len > 0 && session.len < sizeof conn->session && memchr(session.data, '\0', session.len) == NULL;

    if (fits)
        memcpy(conn->session, session.data, session.len);
    conn->session[fits ? session.len : 0] = '\0';
    snprintf(conn->server, sizeof conn->server, "%.*s",
             (int)(server.len < sizeof conn->server ? server.len : sizeof conn->server - 1),
             server.len > 0 ? (const char *)server.data : "");
}

void stomp_handshake_connected(struct stomp_connection *conn)
{
    enum stomp_dialect dialect = (enum stomp_dialect)conn->broker->settings->dialect;

    conn->version = agreed_version(conn);
    if (conn->version == 0 || (conn->version == 10 && dialect != STOMP_GENERIC)) {
        refuse(conn,
               conn->version == 0 ? "the broker chose a version that was not offered"
                                  : "the broker speaks STOMP 1.0 only",
               "Bailey speaks 1.2 and 1.1; with dialect: generic also 1.0, where a producer can forge headers.");
        return;
    }
    if (!agree_heartbeats(conn)) {
        stomp_connection_break(conn, "malformed heart-beat in CONNECTED");
        return;
    }
    conn->dialect = dialect != STOMP_AUTO ? dialect : stomp_dialect_guess(stomp_frame_header(&conn->parser, "server"));
    conn->broker->escapes_in_connect = conn->connect_escaped;
    keep_names(conn);
    conn->parser.length_place = stomp_dialect_row(conn->dialect)->length_place;
    conn->parser.escapes = stomp_dialect_escapes(conn->dialect, conn->version);
    conn->escapes = conn->version == 10   ? STOMP_ESCAPES_NONE
                    : conn->version == 11 ? STOMP_ESCAPES_11
                                          : STOMP_ESCAPES_12;
    stomp_connection_opened(conn);
}
