/* One request at a time; who asks meanwhile waits for its answer. librdkafka looks once a second whether 80 % of a token's life are
 * over: too late for one that is short-lived, so we renew it by a timer of our own, for all that have it. What librdkafka's own OIDC does with libcurl in threads
 * of its own is done here with the transport that the gateway has anyway (docs/decisions/0020).
 *
 *     want ─→ cached and young? ─yes→ set
 *                   │ no
 *     renew ────────┴→ request (transport, TOKEN_MS) ─→ 200 and a token ─→ set for all
 *                                                    └→ failed: the old token is still good? ─yes→ set it once more, so
 *                                                              │ no                              that librdkafka asks again
 *                                                              └→ who works goes on, and asks    when 80 % of the rest is over
 *                                                                 again; who begins fails
 */
#include "kafka_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_conf.h"
#include "kafka_http.h"
#include "kafka_json.h"

enum {
    TOKEN_MS = 10000,
    TOKEN_MAX = 64 << 10,   /* bytes */
    PAYLOAD_MAX = 48 << 10, /* of a JWT of that size */
    LIFE_MS = 300000,       /* of a token that does not say how long it is good */
    LIFE_LEAST_MS = 2000,   /* a shorter one may end before its log-in does */
    LIFE_SHORT_MS = 10000,  /* so that the operator is warned */
    RENEW_MAX_MS = 86400000,
};

struct kafka_tokens {
    struct kafka_broker *broker;
    struct kafka_url url;
    struct kafka_client *clients; /* that have asked, by next_with_token */

    struct bailey_transport *transport; /* NULL: no request is under way */
    struct kafka_secret request, answer;
    struct bailey_timer limit;
    struct bailey_task finish; /* the request is over: outside of the transport's callbacks */
    bool busy;                 /* from the request until then */
    bool closed;               /* by the peer */
    bool warned;
    struct bailey_error failure;

    char *token; /* NULL: none */
    char principal[300];
    int64_t got_ms, good_until_ms; /* wall clock */
    struct bailey_timer renew;
};

static const struct kafka_oauth *settings_of(const struct kafka_tokens *tokens)
{
    return &tokens->broker->settings->oauth;
}

/* ---- Handing it out ---- */

void kafka_tokens_drop(struct kafka_tokens *tokens)
{
    if (tokens->token != NULL)
        explicit_bzero(tokens->token, strlen(tokens->token));
    free(tokens->token);
    tokens->token = NULL;
}

static bool is_good(const struct kafka_tokens *tokens)
{
    return tokens->token != NULL && bailey_wall_ms(tokens->broker->host) + LIFE_LEAST_MS < tokens->good_until_ms;
}

/* When the next one is asked for: before librdkafka would do it. */
static int64_t renew_at_ms(const struct kafka_tokens *tokens)
{
    return tokens->got_ms + (tokens->good_until_ms - tokens->got_ms) / 4 * 3;
}

static bool is_young(const struct kafka_tokens *tokens)
{
    return tokens->token != NULL && bailey_wall_ms(tokens->broker->host) < renew_at_ms(tokens);
}

static void set_token(struct kafka_tokens *tokens, struct kafka_client *client)
{
    const struct bailey_map *extensions = &settings_of(tokens)->extensions;
    const char **pairs = kafka_alloc(extensions->count * 2, sizeof *pairs);
    struct bailey_error err = {0};
    char text[200] = "";

    for (size_t i = 0; i < extensions->count; i++) {
        pairs[2 * i] = extensions->entries[i].name;
        pairs[2 * i + 1] = extensions->entries[i].value;
    }
    rd_kafka_resp_err_t code =
        rd_kafka_oauthbearer_set_token(client->rk, tokens->token, tokens->good_until_ms, tokens->principal, pairs,
                                       extensions->count * 2, text, sizeof text);
    free(pairs);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(client->principal, sizeof client->principal, "User:%s", tokens->principal);
        client->token_until_ms = tokens->good_until_ms;
        return;
    }
    bailey_fail_native(&err, BAILEY_ERR_CONFIG, "kafka", code, "the token of %.120s cannot be used: %s",
                       tokens->url.authority, strstr(text, tokens->token) == NULL ? text : "it is malformed");
    kafka_client_refuse(client, &err);
}

/* A client that works goes on, as its sessions do, and asks again in 10 s; the others have nothing to begin with. */
static void set_failure(struct kafka_client *client, const struct bailey_error *err)
{
    if (client->counted_up)
        rd_kafka_oauthbearer_set_token_failure(client->rk, err->text);
    else
        kafka_client_refuse(client, err);
}

/* All get the token, or those that wait the error. What they do about it may ask for the next one, but no client goes. */
static void answer_all(struct kafka_tokens *tokens, const struct bailey_error *err)
{
    for (struct kafka_client *client = tokens->clients; client != NULL; client = client->next_with_token) {
        bool waited = client->waits_for_token;

        client->waits_for_token = false;
        if (err == NULL)
            set_token(tokens, client);
        else if (waited)
            set_failure(client, err);
    }
}

/* ---- The request ---- */

static void drop_request(struct kafka_tokens *tokens)
{
    bailey_transport_close(tokens->transport);
    tokens->transport = NULL;
    kafka_secret_free(&tokens->request); /* after the transport, which may refer to it */
    kafka_secret_free(&tokens->answer);
    bailey_timer_stop(tokens->broker->host, &tokens->limit);
}

static void finish_soon(struct kafka_tokens *tokens)
{
    bailey_again(tokens->broker->host, &tokens->finish);
}

static void on_connected(void *ctx)
{
    struct kafka_tokens *tokens = ctx;

    bailey_transport_append(tokens->transport, tokens->request.data, tokens->request.len);
}

static size_t on_data(void *ctx, const uint8_t *data, size_t len)
{
    struct kafka_tokens *tokens = ctx;
    struct kafka_http_answer answer;
    size_t room = KAFKA_HTTP_MAX + 1 - tokens->answer.len;

    kafka_secret_add(&tokens->answer, data, len < room ? len : room);
    if (kafka_http_parse((uint8_t *)tokens->answer.data, tokens->answer.len, false, &answer) != KAFKA_HTTP_MORE)
        finish_soon(tokens);
    return len;
}

static void on_writable(void *ctx)
{
    (void)ctx;
}

static void on_lost(void *ctx, const struct bailey_error *err)
{
    struct kafka_tokens *tokens = ctx;

    tokens->closed = true;
    if (tokens->answer.len == 0) {
        bailey_fail_native(&tokens->failure, err->kind, err->domain, err->native, "no token from %.80s: %.140s",
                           tokens->url.authority, err->text);
        bailey_hint(&tokens->failure, "%s", err->hint);
    }
    finish_soon(tokens);
}

static void too_late(struct bailey_timer *timer)
{
    struct kafka_tokens *tokens = timer->ctx;

    bailey_fail(&tokens->failure, BAILEY_ERR_TRANSIENT, "no token from %.80s: no answer within %d s",
                tokens->url.authority, TOKEN_MS / 1000);
    finish_soon(tokens);
}

static void request(struct kafka_tokens *tokens)
{
    static const struct bailey_transport_ops ops = {
        .on_connected = on_connected, .on_data = on_data, .on_writable = on_writable, .on_lost = on_lost};
    const struct kafka_oauth *oauth = settings_of(tokens);
    struct bailey_tls tls = {.enabled = tokens->url.tls, .ca = oauth->ca};
    struct bailey_host *host = tokens->broker->host;
    char secret[KAFKA_CREDENTIAL_MAX];

    tokens->busy = true;
    tokens->closed = false;
    tokens->failure = (struct bailey_error){0};
    if (!bailey_credential_read(&oauth->client_secret, secret, sizeof secret, &tokens->failure)) {
        finish_soon(tokens);
        return;
    }
    kafka_http_request(&tokens->request, &tokens->url, oauth, secret);
    explicit_bzero(secret, sizeof secret);
    bailey_timer_start(host, &tokens->limit, TOKEN_MS);
    tokens->transport = bailey_transport_open(host, tokens->url.host, tokens->url.port, &tls, NULL, &ops, tokens);
}

/* ---- The answer ---- */

/* What the server says about a refusal (RFC 6749, 5.2), unless it repeats our secret. */
static void refusal(struct kafka_tokens *tokens, int status, struct bailey_bytes body)
{
    char code[60] = "", text[120] = "", secret[KAFKA_CREDENTIAL_MAX];
    bool shown;

    kafka_json_text(body, "error", code, sizeof code);
    kafka_json_text(body, "error_description", text, sizeof text);
    shown = bailey_credential_read(&settings_of(tokens)->client_secret, secret, sizeof secret, NULL) &&
            (secret[0] == '\0' || (strstr(text, secret) == NULL && strstr(code, secret) == NULL));
    explicit_bzero(secret, sizeof secret);
    bailey_fail_native(&tokens->failure, status == 429 || status >= 500 ? BAILEY_ERR_TRANSIENT : BAILEY_ERR_CONFIG,
                       "http", status, "no token from %.60s: it answers %d%s%s%s%s", tokens->url.authority, status,
                       shown && code[0] != '\0' ? " " : "", shown ? code : "", shown && text[0] != '\0' ? ": " : "",
                       shown ? text : "");
    if (status == 400 || status == 401 || status == 403)
        bailey_hint(&tokens->failure, "check client_id, client_secret and scope in `sasl.oauth` of broker %.60s",
                    tokens->broker->name);
    else if (status < 500)
        bailey_hint(&tokens->failure, "check token_url in `sasl.oauth` of broker %.60s", tokens->broker->name);
}

/* How long it is good: the shorter of what the answer and the token say. */
static int64_t life_ms(struct bailey_bytes body, struct bailey_bytes payload, int64_t now_ms)
{
    int64_t seconds = kafka_json_number(body, "expires_in"), expires = kafka_json_number(payload, "exp");
    int64_t life = seconds >= 0 ? seconds * 1000 : LIFE_MS;

    if (expires >= 0 && (seconds < 0 || expires * 1000 - now_ms < life))
        life = expires * 1000 - now_ms;
    return life;
}

/* It serves from now on, and is renewed in time. */
static void begin_life(struct kafka_tokens *tokens, int64_t now_ms, int64_t life_ms)
{
    struct bailey_host *host = tokens->broker->host;
    int64_t renew_ms;

    tokens->got_ms = now_ms;
    tokens->good_until_ms = now_ms + life_ms;
    if (life_ms < LIFE_LEAST_MS) {
        if (life_ms <= 0)
            bailey_fail(&tokens->failure, BAILEY_ERR_TRANSIENT, "the token of %.80s has already expired",
                        tokens->url.authority);
        else
            bailey_fail(&tokens->failure, BAILEY_ERR_CONFIG, "the token of %.80s is good for less than %d s",
                        tokens->url.authority, LIFE_LEAST_MS / 1000);
        bailey_hint(&tokens->failure, "let tokens live for a minute at least, and check the clocks of both machines");
        return;
    }
    if (life_ms < LIFE_SHORT_MS && !tokens->warned)
        bailey_log(BAILEY_LOG_WARN, "kafka.token_short_lived", kv_str("broker", tokens->broker->name),
                   kv_ms("life", life_ms), kv_str("hint", "each connection logs in anew before its token ends"));
    tokens->warned |= life_ms < LIFE_SHORT_MS;
    renew_ms = renew_at_ms(tokens) - now_ms;
    bailey_timer_start(host, &tokens->renew, renew_ms < RENEW_MAX_MS ? renew_ms : RENEW_MAX_MS);
}

static void accept_token(struct kafka_tokens *tokens, struct bailey_bytes body)
{
    char *token = kafka_alloc(TOKEN_MAX, 1);
    uint8_t *decoded = kafka_alloc(PAYLOAD_MAX, 1);
    int64_t now_ms = bailey_wall_ms(tokens->broker->host);

    if (kafka_json_text(body, "access_token", token, TOKEN_MAX) && token[0] != '\0') {
        struct bailey_bytes payload = kafka_jwt_payload(token, decoded, PAYLOAD_MAX);

        kafka_tokens_drop(tokens);
        tokens->token = token;
        if (!kafka_json_text(payload, "sub", tokens->principal, sizeof tokens->principal) || !tokens->principal[0])
            snprintf(tokens->principal, sizeof tokens->principal, "%s", settings_of(tokens)->client_id);
        begin_life(tokens, now_ms, life_ms(body, payload, now_ms));
    } else {
        free(token);
        bailey_fail(&tokens->failure, BAILEY_ERR_CONFIG, "no token from %.80s: its answer holds no access_token",
                    tokens->url.authority);
        bailey_hint(&tokens->failure, "check token_url in `sasl.oauth` of broker %.60s", tokens->broker->name);
    }
    explicit_bzero(decoded, PAYLOAD_MAX);
    free(decoded);
}

static void read_answer(struct kafka_tokens *tokens)
{
    struct kafka_http_answer answer;
    enum kafka_http_state state =
        kafka_http_parse((uint8_t *)tokens->answer.data, tokens->answer.len, tokens->closed, &answer);

    if (state != KAFKA_HTTP_WHOLE) {
        bailey_fail(&tokens->failure, tokens->closed && answer.status > 0 ? BAILEY_ERR_TRANSIENT : BAILEY_ERR_CONFIG,
                    "no token from %.80s: what it says is no whole answer of HTTP", tokens->url.authority);
        bailey_hint(&tokens->failure, "check token_url in `sasl.oauth` of broker %.60s: http or https, and the port",
                    tokens->broker->name);
    } else if (answer.status == 200) {
        accept_token(tokens, answer.body);
    } else {
        refusal(tokens, answer.status, answer.body);
    }
}

static void finish(struct bailey_task *task)
{
    struct kafka_tokens *tokens = task->ctx;
    struct bailey_error err;

    if (tokens->failure.kind == BAILEY_ERR_NONE)
        read_answer(tokens);
    drop_request(tokens);
    tokens->busy = false;
    err = tokens->failure;
    if (err.kind == BAILEY_ERR_NONE) {
        answer_all(tokens, NULL);
        return;
    }
    bailey_log(BAILEY_LOG_WARN, "kafka.token_failed", kv_str("broker", tokens->broker->name), kv_error(&err));
    if (!is_good(tokens))
        kafka_tokens_drop(tokens);
    answer_all(tokens, tokens->token != NULL ? NULL : &err);
}

/* ---- From outside ---- */

static void renew_now(struct bailey_timer *timer)
{
    struct kafka_tokens *tokens = timer->ctx;

    if (tokens->clients != NULL && !tokens->busy)
        request(tokens);
}

void kafka_tokens_want(struct kafka_tokens *tokens, struct kafka_client *client)
{
    if (!client->takes_tokens) {
        client->takes_tokens = true;
        client->next_with_token = tokens->clients;
        tokens->clients = client;
    }
    if (client->waits_for_token)
        return;
    if (is_young(tokens)) {
        set_token(tokens, client);
        return;
    }
    client->waits_for_token = true;
    if (!tokens->busy)
        request(tokens);
}

void kafka_tokens_forget(struct kafka_tokens *tokens, struct kafka_client *client)
{
    struct kafka_client **at = &tokens->clients;

    if (!client->takes_tokens)
        return;
    while (*at != client)
        at = &(*at)->next_with_token;
    *at = client->next_with_token;
    client->takes_tokens = client->waits_for_token = false;
}

struct kafka_tokens *kafka_tokens_new(struct kafka_broker *broker)
{
    struct kafka_tokens *tokens = kafka_alloc(1, sizeof *tokens);

    tokens->broker = broker;
    kafka_url_parse(broker->settings->oauth.token_url, &tokens->url, NULL); /* check() has refused such a file */
    tokens->limit = (struct bailey_timer){.fire = too_late, .ctx = tokens};
    tokens->renew = (struct bailey_timer){.fire = renew_now, .ctx = tokens};
    tokens->finish = (struct bailey_task){.run = finish, .ctx = tokens};
    return tokens;
}

void kafka_tokens_free(struct kafka_tokens *tokens)
{
    if (tokens == NULL)
        return;
    drop_request(tokens);
    bailey_timer_stop(tokens->broker->host, &tokens->renew);
    bailey_again_stop(tokens->broker->host, &tokens->finish);
    kafka_tokens_drop(tokens);
    free(tokens);
}
