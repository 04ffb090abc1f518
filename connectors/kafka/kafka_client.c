/* kafka_client.c: see kafka_client.h.
 *
 * librdkafka reconnects by itself and never says that a connection is back. So when it reports that all brokers are down,
 * we ask for the cluster's description again and again: the first answer is the sign. Nothing is asked while all is well.
 *
 * rd_kafka_destroy() blocks, and for a consumer it waits for ever while one of its messages is still in use somewhere: it
 * runs on a helper thread, and only after the last message was given back (kafka_client_keep).
 */
#include "kafka_client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syslog.h>

#include "kafka_acl.h"
#include "kafka_conf.h"
#include "kafka_reason.h"
#include "kafka_token.h"

enum { PROBE_EVERY_MS = 500, PROBE_TIMEOUT_MS = 5000, RENEW_EVERY_MS = 2000, TOKEN_END_MS = 500 };

/* Is it told otherwise, or of no interest?
 * - FAIL, FATAL and ERROR come to error_cb, too, and SSLCERTVRFY as one of them;
 * - a time-out before a broker was there ends in a FAIL; that none of our certificates is wanted, in a refusal;
 * - CONFWARN says that a consumer property is of no use to a producer. */
static bool is_told(const struct kafka_client *client, const char *facility, const char *text)
{
    static const char *const always[] = {"FAIL", "FATAL", "ERROR", "SSLCERTVRFY", "CONFWARN"};

    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (strcmp(facility, always[i]) == 0)
            return true;
    return (strcmp(facility, "REQTMOUT") == 0 && !client->counted_up) ||
           strstr(text, "No matching issuer found") != NULL;
}

static void log_cb(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct kafka_client *client = rd_kafka_opaque(rk);
    bool failure = strcmp(facility, "FAIL") == 0;

    if (failure && client->trouble[0] == '\0') /* a disconnection comes as a log only */
        kafka_reason_text(client->disconnected, sizeof client->disconnected, text, client->verified);
    bailey_log(level <= LOG_WARNING && !is_told(client, facility, text) ? BAILEY_LOG_WARN : BAILEY_LOG_DEBUG,
               "kafka.library", kv_str("broker", client->broker), kv_str("facility", facility), kv_str("text", text));
}

void kafka_client_refuse(struct kafka_client *client, const struct bailey_error *err)
{
    if (client->failed)
        return;
    client->failed = true;
    if (client->ctx != NULL)
        client->ops->failed(client->ctx, err);
}

static void count_up(struct kafka_client *client, bool up)
{
    if (client->counted_up == up)
        return;
    client->counted_up = up;
    client->was_up |= up;
    bailey_connection_up(client->host, client->broker, up ? 1 : -1);
}

void kafka_client_alive(struct kafka_client *client)
{
    count_up(client, true);
    if (!client->away)
        return;
    client->away = false;
    client->trouble[0] = client->disconnected[0] = '\0';
    bailey_timer_stop(client->host, &client->probe);
    bailey_log(BAILEY_LOG_INFO, "kafka.broker_up", kv_str("broker", client->broker));
    if (client->ctx != NULL)
        client->ops->reachable(client->ctx, NULL);
}

void kafka_client_seen(struct kafka_client *client)
{
    if (!client->away)
        count_up(client, true);
}

static void probe_answered(void *ctx, rd_kafka_event_t *event)
{
    struct kafka_client *client = ctx;

    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR)
        kafka_client_alive(client);
    else if (client->away)
        bailey_timer_start(client->host, &client->probe, PROBE_EVERY_MS);
}

static void probe_now(struct bailey_timer *timer)
{
    struct kafka_client *client = timer->ctx;
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client->rk, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER);

    kafka_request_new(client, options, PROBE_TIMEOUT_MS, probe_answered, client);
    rd_kafka_DescribeCluster(client->rk, options, client->results);
    rd_kafka_AdminOptions_destroy(options);
}

/* librdkafka has no word for it: the broker took the connection and closed it again. */
static void say_closed(struct kafka_client *client, char *reason, size_t size)
{
    struct bailey_error err;

    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "%.200s closed the connection%s", client->servers[0],
                client->was_up ? "" : "; perhaps it expects tls or sasl");
    if (!client->was_up)
        bailey_hint(&err, "check the port, and whether that listener wants `tls` or `sasl`");
    bailey_log(BAILEY_LOG_WARN, "kafka.broker_down", kv_str("broker", client->broker), kv_error(&err));
    snprintf(reason, size, "no broker can be reached: %s", err.text);
}

/* error_cb was not told, and so nobody was. */
static void say_disconnected(struct kafka_client *client, char *reason, size_t size)
{
    bailey_log(BAILEY_LOG_WARN, "kafka.broker_down", kv_str("broker", client->broker),
               kv_str("reason", client->disconnected));
    snprintf(reason, size, "no broker can be reached: %s", client->disconnected);
}

static void say_away(struct kafka_client *client)
{
    char reason[300];

    if (client->trouble[0] != '\0')
        snprintf(reason, sizeof reason, "no broker can be reached: %s", client->trouble);
    else if (client->disconnected[0] != '\0')
        say_disconnected(client, reason, sizeof reason);
    else
        say_closed(client, reason, sizeof reason);
    if (client->ctx != NULL)
        client->ops->reachable(client->ctx, reason);
}

static void all_down(struct kafka_client *client)
{
    if (client->away)
        return;
    client->away = true;
    count_up(client, false);
    bailey_timer_start(client->host, &client->probe, PROBE_EVERY_MS);
    say_away(client);
}

static void refused(struct kafka_client *client, int code, const char *text)
{
    struct bailey_error err;
    char reason[200];

    kafka_reason_text(reason, sizeof reason, text, client->verified);
    if (client->tokens != NULL && code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
        kafka_tokens_drop(client->tokens);
    bailey_fail_native(&err, BAILEY_ERR_CONFIG, "kafka", code, "%s", reason);
    bailey_hint(&err, "broker %.50s: %s", client->broker, kafka_reason_hint(code, reason, client->verified));
    kafka_client_refuse(client, &err);
}

/* One connection failed; librdkafka tells a repeated reason every 30 seconds only. */
static void connection_failed(struct kafka_client *client, const char *text)
{
    bool first = client->trouble[0] == '\0';

    if (kafka_reason_is_tls(text, client->counted_up, client->was_up)) {
        refused(client, RD_KAFKA_RESP_ERR__SSL, text);
        return;
    }
    kafka_reason_text(client->trouble, sizeof client->trouble, text, client->verified);
    if (client->away && first)
        say_away(client); /* now with the reason */
    else if (!client->away)
        bailey_log(BAILEY_LOG_WARN, "kafka.broker_down", kv_str("broker", client->broker), kv_str("reason", text));
}

void kafka_client_fatal(struct kafka_client *client)
{
    char text[200];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(client->rk, text, sizeof text);
    struct bailey_error err;

    if (code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED) { /* no producer id: not one topic may be written to */
        bailey_fail_native(&err, BAILEY_ERR_CONFIG, "kafka", code, "%.80s may not Write any topic at broker %.60s",
                           client->principal, client->broker);
        bailey_hint(&err, "give it Write on the sink's topic: `bailey check --connect` prints the command, but for "
                          "topics with ${...}");
        kafka_client_refuse(client, &err);
        return;
    }
    bailey_fail_native(&err, BAILEY_ERR_TRANSIENT, "kafka", code, "%s", text);
    /* A member is also fenced by its own join that a frozen broker answered too late: then once. */
    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        bailey_hint(&err,
                    "if this repeats, another gateway uses the same `instance:` for this route: give each its own");
    kafka_client_refuse(client, &err);
}

static void login_failed(struct kafka_client *client, const char *text)
{
    bool ended = client->token_until_ms > 0 && bailey_wall_ms(client->host) + TOKEN_END_MS >= client->token_until_ms;

    switch (kafka_login_failure(text, client->counted_up, ended)) {
    case KAFKA_LOGIN_REFUSED:
        refused(client, RD_KAFKA_RESP_ERR__AUTHENTICATION, text);
        break;
    case KAFKA_LOGIN_CUT_OFF:
        connection_failed(client, text);
        break;
    case KAFKA_LOGIN_AGAIN:
        break;
    }
}

static void error_cb(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    struct kafka_client *client = opaque;

    (void)rk;
    switch (code) {
    case RD_KAFKA_RESP_ERR__FATAL:
        kafka_client_fatal(client);
        break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        login_failed(client, text);
        break;
    case RD_KAFKA_RESP_ERR__SSL:
        refused(client, code, text);
        break;
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        all_down(client);
        break;
    default:
        connection_failed(client, text);
    }
}

/* On a thread of librdkafka's: what OpenSSL found wrong with a certificate, which librdkafka only says to be so. */
static int verify_cb(rd_kafka_t *rk, const char *name, int32_t id, int *verified, int depth, const char *cert,
                     size_t len, char *text, size_t size, void *opaque)
{
    struct kafka_client *client = opaque;

    (void)rk, (void)name, (void)id, (void)depth, (void)cert, (void)len;
    if (*verified == 0)
        return 1;
    client->verified = *verified;
    snprintf(text, size, "refused");
    return 0;
}

static void throttle_cb(rd_kafka_t *rk, const char *server, int32_t id, int milliseconds, void *opaque)
{
    struct kafka_client *client = opaque;

    (void)rk, (void)id;
    if (client->ctx != NULL && client->ops->throttled != NULL)
        client->ops->throttled(client->ctx, server, milliseconds);
}

/* ---- Log-in ---- */

static void refresh_cb(rd_kafka_t *rk, const char *config, void *opaque)
{
    struct kafka_client *client = opaque;

    (void)rk, (void)config;
    if (client->tokens != NULL)
        kafka_tokens_want(client->tokens, client);
}

static bool has_files(const struct kafka_broker_settings *settings)
{
    return settings->sasl_username.file != NULL || settings->sasl_password.file != NULL;
}

/* True if either is another than at the last call; at the first call the stamps are taken. */
static bool files_changed(struct kafka_client *client)
{
    bool user = bailey_credential_changed(&client->settings->sasl_username, &client->user_stamp);
    bool password = bailey_credential_changed(&client->settings->sasl_password, &client->password_stamp);

    return user || password;
}

/* librdkafka logs in with what it has: tell it what is new before it connects the next time. */
static void renew_now(struct bailey_timer *timer)
{
    struct kafka_client *client = timer->ctx;
    char user[KAFKA_CREDENTIAL_MAX], password[KAFKA_CREDENTIAL_MAX];

    bailey_timer_start(client->host, timer, RENEW_EVERY_MS);
    if (!files_changed(client))
        return;
    if (bailey_credential_read(&client->settings->sasl_username, user, sizeof user, NULL) &&
        bailey_credential_read(&client->settings->sasl_password, password, sizeof password, NULL)) {
        rd_kafka_error_destroy(rd_kafka_sasl_set_credentials(client->rk, user, password));
        bailey_log(BAILEY_LOG_INFO, "kafka.credentials_renewed", kv_str("broker", client->broker));
    }
    explicit_bzero(password, sizeof password);
}

/* ---- Requests ---- */

struct kafka_request *kafka_request_new(struct kafka_client *client, rd_kafka_AdminOptions_t *options, int timeout_ms,
                                        void (*done)(void *ctx, rd_kafka_event_t *event), void *ctx)
{
    struct kafka_request *request = kafka_alloc(1, sizeof *request);

    *request = (struct kafka_request){.done = done, .ctx = ctx, .next = client->requests, .prev = &client->requests};
    if (request->next != NULL)
        request->next->prev = &request->next;
    client->requests = request;
    rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, NULL, 0);
    rd_kafka_AdminOptions_set_opaque(options, request);
    return request;
}

void kafka_request_cancel(struct kafka_request *request)
{
    if (request != NULL)
        request->ctx = NULL;
}

static void request_free(struct kafka_request *request)
{
    *request->prev = request->next;
    if (request->next != NULL)
        request->next->prev = request->prev;
    free(request);
}

static void serve_results(struct kafka_client *client)
{
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(client->results, 0)) != NULL) {
        struct kafka_request *request = rd_kafka_event_opaque(event);

        if (request != NULL) {
            if (request->ctx != NULL)
                request->done(request->ctx, event);
            request_free(request);
        }
        rd_kafka_event_destroy(event);
    }
}

/* ---- Serving ---- */

static void serve(struct kafka_client *client)
{
    serve_results(client);
    rd_kafka_poll(client->rk, 0); /* everything: bounded by what was asked for */
    if (client->ctx != NULL && client->ops->serve(client->ctx))
        bailey_again(client->host, &client->again);
}

static void on_wake(struct bailey_waker *waker)
{
    serve(waker->ctx);
}

static void on_again(struct bailey_task *task)
{
    serve(task->ctx);
}

void kafka_client_again(struct kafka_client *client)
{
    bailey_again(client->host, &client->again);
}

/* ---- Begin and end ---- */

static bool open_queues(struct kafka_client *client, rd_kafka_type_t type, struct bailey_error *err)
{
    static const uint64_t one = 1; /* what an eventfd takes */

    rd_kafka_set_log_queue(client->rk, NULL);
    client->main = rd_kafka_queue_get_main(client->rk);
    client->consumer = type == RD_KAFKA_CONSUMER ? rd_kafka_queue_get_consumer(client->rk) : NULL;
    client->results = rd_kafka_queue_new(client->rk);
    if (!bailey_waker_open(client->host, &client->waker, err))
        return false;
    rd_kafka_queue_io_event_enable(client->main, client->waker.fd, &one, sizeof one);
    if (client->consumer != NULL)
        rd_kafka_queue_io_event_enable(client->consumer, client->waker.fd, &one, sizeof one);
    rd_kafka_queue_io_event_enable(client->results, client->waker.fd, &one, sizeof one);
    return true;
}

static void end_work(struct bailey_job *job)
{
    struct kafka_client *client = job->ctx;

    rd_kafka_queue_destroy(client->results);
    if (client->consumer != NULL)
        rd_kafka_queue_destroy(client->consumer);
    rd_kafka_queue_destroy(client->main);
    rd_kafka_destroy_flags(client->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

static void end_done(struct bailey_job *job)
{
    struct kafka_client *client = job->ctx;

    while (client->requests != NULL)
        request_free(client->requests);
    if (client->ended != NULL)
        client->ended(client->ended_arg);
    free(client->broker);
    free(client);
}

static void end_if_unused(struct kafka_client *client)
{
    if (client->ctx == NULL && client->kept == 0)
        bailey_job_start(client->host, &client->end);
}

void kafka_client_drop(struct kafka_client *client)
{
    assert(client->kept > 0);
    client->kept--;
    end_if_unused(client);
}

void kafka_client_free(struct kafka_client *client, void (*ended)(void *arg), void *arg)
{
    client->ctx = NULL;
    client->ended = ended;
    client->ended_arg = arg;
    rd_kafka_queue_io_event_enable(client->main, -1, NULL, 0);
    if (client->consumer != NULL)
        rd_kafka_queue_io_event_enable(client->consumer, -1, NULL, 0);
    rd_kafka_queue_io_event_enable(client->results, -1, NULL, 0);
    bailey_waker_close(&client->waker);
    bailey_again_stop(client->host, &client->again);
    bailey_timer_stop(client->host, &client->probe);
    bailey_timer_stop(client->host, &client->renew);
    if (client->tokens != NULL)
        kafka_tokens_forget(client->tokens, client);
    client->tokens = NULL; /* the client may outlive the broker */
    client->settings = NULL;
    count_up(client, false);
    bailey_connection_expected(client->host, client->broker, -1);
    end_if_unused(client);
}

struct kafka_client *kafka_client_new(const struct kafka_broker *broker, rd_kafka_conf_t *conf, rd_kafka_type_t type,
                                      const struct kafka_client_ops *ops, void *ctx, struct bailey_error *err)
{
    struct kafka_client *client = kafka_alloc(1, sizeof *client);
    char text[200];

    assert(ctx != NULL);
    client->host = broker->host;
    client->servers = broker->settings->bootstrap_servers.items;
    client->ops = ops;
    client->ctx = ctx;
    client->broker = strdup(broker->name);
    client->waker = (struct bailey_waker){.on_wake = on_wake, .ctx = client};
    client->again = (struct bailey_task){.run = on_again, .ctx = client};
    client->probe = (struct bailey_timer){.fire = probe_now, .ctx = client};
    client->renew = (struct bailey_timer){.fire = renew_now, .ctx = client};
    client->settings = broker->settings;
    client->tokens = broker->tokens;
    kafka_principal(client->settings, client->principal, sizeof client->principal);
    client->end = (struct bailey_job){.work = end_work, .done = end_done, .ctx = client};
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_log_cb(conf, log_cb);
    rd_kafka_conf_set_error_cb(conf, error_cb);
    rd_kafka_conf_set_throttle_cb(conf, throttle_cb);
    if (client->settings->tls.verify)
        rd_kafka_conf_set_ssl_cert_verify_cb(conf, verify_cb);
    if (client->tokens != NULL)
        rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, refresh_cb);

    client->rk = rd_kafka_new(type, conf, text, sizeof text);
    if (client->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        bailey_fail(err, BAILEY_ERR_CONFIG, "librdkafka refuses the configuration: %s", text);
        goto free_client;
    }
    if (!open_queues(client, type, err))
        goto destroy;
    bailey_connection_expected(client->host, client->broker, 1);
    if (has_files(client->settings)) {
        files_changed(client);
        bailey_timer_start(client->host, &client->renew, RENEW_EVERY_MS);
    }
    kafka_client_again(client);
    return client;

destroy:
    end_work(&client->end);
free_client:
    free(client->broker);
    free(client);
    return NULL;
}
