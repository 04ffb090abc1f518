/* A password that expires, mostly a token: when its !file has changed, the broker is told on the open connection by
 * connection.update-secret, before it closes the connection because the old one has expired. A broker that does not know
 * the method, or does not like the secret, closes the connection, which then logs in anew. */
#include "connection_impl.h"
#include "login.h"

#include <stdlib.h>

static void send_secret(struct amq_connection *conn)
{
    static const char reason[] = "the file has changed";
    struct bailey_error err = {0};
    struct amq_login login;
    uint8_t *frame;
    size_t len;

    if (!amq_login_read(conn->broker->settings, conn->url_index, &login, &err)) {
        bailey_log(BAILEY_LOG_WARN, "amqp.secret_unreadable", kv_str("broker", conn->broker->name), kv_error(&err));
        return;
    }
    frame = amq_connection_reserve(conn, conn->frame_max);
    len = amq_update_secret_frame(frame, conn->frame_max, bailey_bytes_of(login.password), bailey_bytes_of(reason));
    amq_connection_commit(conn, len);
    conn->is_renewing = len > 0;
    amq_login_wipe(&login);
    if (len == 0)
        bailey_log(BAILEY_LOG_WARN, "amqp.secret_too_long", kv_str("broker", conn->broker->name),
                   kv_u64("frame_max", conn->frame_max));
}

static void look(struct bailey_timer *timer)
{
    struct amq_connection *conn = timer->ctx;

    bailey_timer_start(conn->broker->host, timer, AMQ_RENEW_MS);
    if (conn->state == CONN_OPEN && !conn->is_renewing &&
        bailey_credential_changed(&conn->broker->settings->password, &conn->secret))
        send_secret(conn);
}

void amq_renew_start(struct amq_connection *conn)
{
    const struct amq_broker_settings *settings = conn->broker->settings;

    if (settings->auth != AMQ_AUTH_PLAIN || settings->password.file == NULL)
        return;
    conn->renew.fire = look;
    conn->renew.ctx = conn;
    bailey_timer_start(conn->broker->host, &conn->renew, AMQ_RENEW_MS);
}

void amq_renew_stop(struct amq_connection *conn)
{
    conn->is_renewing = false;
    bailey_timer_stop(conn->broker->host, &conn->renew);
}

void amq_renew_done(struct amq_connection *conn)
{
    conn->is_renewing = false;
    bailey_log(BAILEY_LOG_INFO, "amqp.secret_renewed", kv_str("broker", conn->broker->name),
               kv_str("address", conn->address), kv_str("for", conn->role == AMQ_PUBLISH ? "publish" : "consume"));
}
