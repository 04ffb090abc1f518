/* The lane is a real one; only the other side of the wire and the other end of the lane are the test's. */
#include "stomp_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 10000, CREDIT = 200 };

static int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The test's end of the lane ---- */

static struct stomp_rig *opening; /* the rig whose lane opens its ends now */

static bool own_source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                            struct bailey_error *err)
{
    (void)broker, (void)settings, (void)err;
    *self = opening;
    opening->port = port;
    bailey_up(port);
    return true;
}

static void own_resume(void *self)
{
    (void)self;
}

static void own_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct stomp_rig *rig = self;

    for (size_t i = 0; i < count; i++)
        rig->settled[rig->settled_count++ % STOMP_RIG_MAX] = ended[i];
}

static void own_drain(void *self)
{
    bailey_drained(((struct stomp_rig *)self)->port);
}

static void own_source_close(void *self)
{
    bailey_closed(((struct stomp_rig *)self)->port);
}

static const struct bailey_option no_options[] = {{0}};

static const struct bailey_source own_source = {
    .options = no_options,
    .open = own_source_open,
    .resume = own_resume,
    .settle = own_settle,
    .drain = own_drain,
    .close = own_source_close,
};

static size_t own_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct stomp_rig *rig = self;

    for (size_t i = 0; i < count; i++) {
        assert_true(rig->taken_count < STOMP_RIG_MAX);
        rig->taken[rig->taken_count++] = batch[i];
        rig->taken_in_all++;
    }
    return count;
}

static void own_sink_close(void *self)
{
    struct stomp_rig *rig = self;

    bailey_hand_back(rig->port, rig->taken, rig->taken_count, true);
    rig->taken_count = 0;
    bailey_closed(rig->port);
}

static const struct bailey_sink own_sink = {
    .options = no_options,
    .open = own_source_open,
    .send = own_send,
    .close = own_sink_close,
};

static bool give_broker(void *ctx, void **broker, struct bailey_error *err)
{
    (void)err;
    *broker = ((struct stomp_rig *)ctx)->broker;
    return true;
}

static void on_ended(struct lane *lane, void *ctx)
{
    (void)lane;
    ((struct stomp_rig *)ctx)->ended = true;
}

/* ---- The lane ---- */

void stomp_rig_init(struct stomp_rig *rig)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;

    *rig = (struct stomp_rig){.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    assert_true(rig->listener >= 0);
    assert_int_equal(bind(rig->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(rig->listener, 8), 0);
    getsockname(rig->listener, (struct sockaddr *)&at, &len);
    snprintf(rig->url, sizeof rig->url, "stomp://127.0.0.1:%u", ntohs(at.sin_port));
    rig->urls[0] = rig->url;
    rig->broker_settings = (struct stomp_broker_settings){.urls = {rig->urls, 1},
                                                          .login = {.value = "user"},
                                                          .passcode = {.value = "SECRET"},
                                                          .vhost = "/",
                                                          .receipt_timeout_ms = 30000,
                                                          .max_message_size = 1 << 20};
    rig->options.credit_messages = CREDIT;
    rig->options.credit_bytes = 4 << 20;
}

static void open_lane(struct stomp_rig *rig)
{
    struct bailey_error err = {0};

    rig->loop = loop_new(&(struct loop_options){.seed = 7}, &err);
    assert_non_null(rig->loop);
    assert_true(stomp_broker_open(&rig->broker, &rig->broker_settings, "b", "test", rig->loop, &err));
    pthread_mutex_init(&rig->status.lock, NULL);
    rig->options.route = "r";
    rig->options.instance = "test";
    rig->options.lanes = 1;
    rig->options.status = &rig->status;
    rig->options.on_ended = on_ended;
    rig->options.ctx = rig;
    rig->options.from.broker_name = rig->options.to.broker_name = "b";
    rig->options.from.broker = rig->options.to.broker = give_broker;
    rig->options.from.broker_ctx = rig->options.to.broker_ctx = rig;
    rig->lane = lane_new(rig->loop, &rig->options);
    opening = rig;
    lane_start(rig->lane);
}

void stomp_rig_open_sink(struct stomp_rig *rig, const struct stomp_sink_settings *settings)
{
    rig->options.source = &own_source;
    rig->options.sink = &stomp_sink;
    rig->options.to.settings = settings;
    open_lane(rig);
}

void stomp_rig_open_source(struct stomp_rig *rig, const struct stomp_source_settings *settings)
{
    rig->options.source = &stomp_source;
    rig->options.sink = &own_sink;
    rig->options.from.settings = settings;
    open_lane(rig);
}

static bool has_ended(struct stomp_rig *rig)
{
    return rig->ended;
}

void stomp_rig_close(struct stomp_rig *rig)
{
    lane_stop(rig->lane);
    stomp_rig_until(rig, has_ended);
    stomp_broker_close(rig->broker);
    lane_free(rig->lane);
    for (int i = 0; i < 3; i++)
        loop_turn(rig->loop, 0);
    loop_free(rig->loop);
    close(rig->listener);
    pthread_mutex_destroy(&rig->status.lock);
}

void stomp_rig_until(struct stomp_rig *rig, bool (*done)(struct stomp_rig *rig))
{
    int64_t end = clock_ms() + PATIENCE_MS;

    while (!done(rig)) {
        if (clock_ms() > end)
            fail_msg("the lane did not come to what was expected: %zu settled, refused %d transient %d permanent, "
                     "state %d: %s",
                     rig->settled_count, (int)rig->status.refused[BAILEY_ERR_TRANSIENT],
                     (int)rig->status.refused[BAILEY_ERR_PERMANENT], rig->status.state, rig->status.reason);
        loop_turn(rig->loop, 5);
    }
}

void stomp_rig_turn(struct stomp_rig *rig)
{
    for (int i = 0; i < 5; i++)
        loop_turn(rig->loop, 2);
}

struct bailey_message *stomp_rig_message(struct stomp_rig *rig, const char *body)
{
    struct bailey_message *msg = bailey_message_new(rig->port);

    msg->body = bailey_message_copy(msg, body, strlen(body));
    msg->group = 1;
    msg->position = ++rig->next_position;
    return msg;
}

void stomp_rig_push(struct stomp_rig *rig, struct bailey_message *msg)
{
    bailey_receive(rig->port, &msg, 1);
}

static size_t wanted;
static enum bailey_error_kind wanted_kind;

static bool is_settled(struct stomp_rig *rig)
{
    return rig->settled_count >= wanted;
}

void stomp_rig_settled(struct stomp_rig *rig, size_t count)
{
    wanted = count;
    stomp_rig_until(rig, is_settled);
    assert_int_equal(rig->settled_count, count);
}

static bool is_refused(struct stomp_rig *rig)
{
    return (size_t)rig->status.refused[wanted_kind] >= wanted;
}

void stomp_rig_refused(struct stomp_rig *rig, enum bailey_error_kind kind, int64_t count)
{
    wanted_kind = kind;
    wanted = (size_t)count;
    stomp_rig_until(rig, is_refused);
    assert_int_equal(rig->status.refused[kind], count);
}

static bool is_in_state(struct stomp_rig *rig)
{
    return rig->status.state == (enum lane_state)wanted;
}

void stomp_rig_state(struct stomp_rig *rig, enum lane_state state)
{
    wanted = state;
    stomp_rig_until(rig, is_in_state);
}

void stomp_rig_down(struct stomp_rig *rig, const char *reason)
{
    stomp_rig_state(rig, LANE_DOWN);
    if (strstr(rig->status.reason, reason) == NULL)
        fail_msg("reason is: %s", rig->status.reason);
    assert_null(strstr(rig->status.reason, "SECRET"));
}

static bool is_taken(struct stomp_rig *rig)
{
    return rig->taken_in_all >= wanted;
}

void stomp_rig_taken(struct stomp_rig *rig, size_t count)
{
    wanted = count;
    stomp_rig_until(rig, is_taken);
    assert_int_equal(rig->taken_in_all, count);
}

void stomp_rig_confirm(struct stomp_rig *rig, size_t count)
{
    struct bailey_delivery *batch[STOMP_RIG_MAX];

    assert_true(count <= rig->taken_count);
    memcpy(batch, rig->taken, count * sizeof *batch);
    rig->taken_count -= count;
    memmove(rig->taken, rig->taken + count, rig->taken_count * sizeof *batch);
    bailey_confirm(rig->port, batch, count);
}

/* ---- Peer: bytes and frames ---- */

static void more_input(struct stomp_peer *peer)
{
    int64_t end = clock_ms() + PATIENCE_MS;
    ssize_t got;

    while ((got = recv(peer->fd, peer->in + peer->len, STOMP_PEER_INPUT - peer->len, 0)) < 0) {
        assert_true(errno == EAGAIN || errno == EINTR);
        if (clock_ms() > end)
            fail_msg("bailey says nothing");
        loop_turn(peer->rig->loop, 5);
    }
    if (got == 0)
        fail_msg("bailey hung up");
    peer->len += (size_t)got;
}

static void consume(struct stomp_peer *peer, size_t len)
{
    memmove(peer->in, peer->in + len, peer->len - len);
    peer->len -= len;
}

void stomp_peer_accept(struct stomp_rig *rig, struct stomp_peer *peer)
{
    int64_t end = clock_ms() + PATIENCE_MS;

    *peer = (struct stomp_peer){.rig = rig,
                                .in = malloc(STOMP_PEER_INPUT),
                                .head = calloc(1, STOMP_PEER_INPUT),
                                .body = malloc(STOMP_PEER_INPUT)};
    assert_true(peer->in != NULL && peer->head != NULL && peer->body != NULL);
    while ((peer->fd = accept(rig->listener, NULL, NULL)) < 0) {
        if (clock_ms() > end)
            fail_msg("bailey does not connect");
        loop_turn(rig->loop, 5);
    }
    fcntl(peer->fd, F_SETFL, O_NONBLOCK);
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

void stomp_peer_close(struct stomp_peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    free(peer->in);
    free(peer->head);
    free(peer->body);
    *peer = (struct stomp_peer){.fd = -1};
}

void stomp_peer_gone(struct stomp_peer *peer)
{
    int64_t end = clock_ms() + PATIENCE_MS;
    ssize_t got;

    while ((got = recv(peer->fd, peer->in, STOMP_PEER_INPUT, 0)) != 0) {
        if (got < 0 && errno == ECONNRESET)
            break;
        if (clock_ms() > end)
            fail_msg("bailey does not hang up");
        loop_turn(peer->rig->loop, 5);
    }
    stomp_peer_close(peer);
}

void stomp_peer_silent(struct stomp_peer *peer)
{
    uint8_t byte;

    for (int i = 0; i < 3; i++)
        stomp_rig_turn(peer->rig);
    assert_int_equal(peer->len, 0);
    assert_int_equal(recv(peer->fd, &byte, 1, MSG_PEEK), -1);
}

void stomp_peer_send(struct stomp_peer *peer, const void *data, size_t len)
{
    const uint8_t *at = data;
    int64_t end = clock_ms() + PATIENCE_MS;

    while (len > 0) {
        ssize_t sent = send(peer->fd, at, len, MSG_NOSIGNAL);

        if (sent > 0) {
            at += sent;
            len -= (size_t)sent;
            continue;
        }
        if (errno != EAGAIN)
            return; /* it hung up: what comes next in the test will tell */
        if (clock_ms() > end)
            fail_msg("bailey does not read");
        loop_turn(peer->rig->loop, 5);
    }
}

void stomp_peer_say(struct stomp_peer *peer, const char *fmt, ...)
{
    char *frame;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vasprintf(&frame, fmt, args);
    va_end(args);
    assert_true(len >= 0);
    stomp_peer_send(peer, frame, (size_t)len + 1);
    free(frame);
}

/* The head's end, behind the empty line; 0: it is not there yet. */
static size_t head_end(const struct stomp_peer *peer)
{
    const char *end = memmem(peer->in, peer->len, "\n\n", 2);

    return end == NULL ? 0 : (size_t)(end - peer->in) + 2;
}

/* True if a whole frame is there: then it is the last frame. */
static bool take_frame(struct stomp_peer *peer)
{
    size_t head, body;
    const char *length;

    for (; peer->len > 0 && peer->in[0] == '\n'; peer->beats++)
        consume(peer, 1);
    head = head_end(peer);
    if (head == 0)
        return false;
    memcpy(peer->head, peer->in, head);
    peer->head[head] = '\0';
    length = stomp_peer_header(peer, "content-length");
    if (length != NULL) {
        body = strtoul(length, NULL, 10);
    } else {
        const char *nul = memchr(peer->in + head, '\0', peer->len - head);

        body = nul == NULL ? peer->len : (size_t)(nul - peer->in) - head;
    }
    if (peer->len < head + body + 1)
        return false;
    assert_int_equal(peer->in[head + body], '\0');
    memcpy(peer->body, peer->in + head, body);
    peer->body_len = body;
    consume(peer, head + body + 1);
    return true;
}

void stomp_peer_expect(struct stomp_peer *peer, const char *command)
{
    size_t len = strlen(command);

    while (!take_frame(peer))
        more_input(peer);
    if (strncmp(peer->head, command, len) != 0 || peer->head[len] != '\n')
        fail_msg("expected %s, got: %s", command, peer->head);
}

const char *stomp_peer_header(struct stomp_peer *peer, const char *name)
{
    static char values[8][8192];
    static unsigned next;
    size_t len = strlen(name);

    for (const char *line = strchr(peer->head, '\n'); line != NULL; line = strchr(line, '\n')) {
        line++;
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            char *value = values[next++ % 8];

            snprintf(value, sizeof values[0], "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
            return value;
        }
    }
    return NULL;
}

void stomp_peer_has(struct stomp_peer *peer, const char *name, const char *value)
{
    const char *got = stomp_peer_header(peer, name);

    if ((got == NULL) != (value == NULL) || (got != NULL && strcmp(got, value) != 0))
        fail_msg("header %s: expected %s, got %s", name, value ? value : "none", got ? got : "none");
}

/* ---- Peer: what brokers say ---- */

void stomp_peer_open(struct stomp_rig *rig, struct stomp_peer *peer, const char *server)
{
    stomp_peer_accept(rig, peer);
    stomp_peer_expect(peer, "CONNECT");
    stomp_peer_has(peer, "login", "user");
    stomp_peer_has(peer, "passcode", "SECRET");
    stomp_peer_say(peer, "CONNECTED\nversion:1.2\nserver:%s\nheart-beat:0,0\n\n", server);
}

void stomp_peer_open_subscribed(struct stomp_rig *rig, struct stomp_peer *peer, const char *server)
{
    stomp_peer_open(rig, peer, server);
    stomp_peer_expect(peer, "SUBSCRIBE");
    stomp_peer_receipt(peer, stomp_peer_header(peer, "receipt"));
}

void stomp_peer_receipt(struct stomp_peer *peer, const char *id)
{
    stomp_peer_say(peer, "RECEIPT\nreceipt-id:%s\n\n", id);
}

void stomp_peer_deliver(struct stomp_peer *peer, const char *id, const char *body)
{
    stomp_peer_say(peer,
                   "MESSAGE\nsubscription:1\nmessage-id:%s\nack:%s\ndestination:/queue/q\ncontent-length:%zu\n\n%s", id,
                   id, strlen(body), body);
}

const char *stomp_peer_expect_send(struct stomp_peer *peer, const char *body)
{
    stomp_peer_expect(peer, "SEND");
    if (peer->body_len != strlen(body) || memcmp(peer->body, body, peer->body_len) != 0)
        fail_msg("expected the body %s, got %.*s", body, (int)peer->body_len, peer->body);
    return stomp_peer_header(peer, "receipt");
}
