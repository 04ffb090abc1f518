/* The lane is a real one; only the other side of the wire and the other end of the lane are the test's. */
#include "end_rig.h"

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

int64_t end_rig_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The test's end of the lane ---- */

static struct end_rig *opening; /* the one whose lane opens its ends now */

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
    struct end_rig *rig = self;

    for (size_t i = 0; i < count; i++)
        rig->settled[rig->settled_count++ % END_RIG_MAX] = ended[i];
}

static void own_drain(void *self)
{
    bailey_drained(((struct end_rig *)self)->port);
}

static void own_source_close(void *self)
{
    bailey_closed(((struct end_rig *)self)->port);
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
    struct end_rig *rig = self;

    for (size_t i = 0; i < count; i++) {
        assert_true(rig->taken_count < END_RIG_MAX);
        rig->taken[rig->taken_count++] = batch[i];
        rig->taken_in_all++;
    }
    return count;
}

static void own_sink_close(void *self)
{
    struct end_rig *rig = self;

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
    *broker = ((struct end_rig *)ctx)->broker;
    return true;
}

static void on_ended(struct lane *lane, void *ctx)
{
    (void)lane;
    ((struct end_rig *)ctx)->ended = true;
}

/* ---- The lane ---- */

uint16_t end_rig_init(struct end_rig *rig, const struct end_rig_connector *connector)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;

    *rig = (struct end_rig){.connector = connector,
                            .listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                            .options = {.credit_messages = END_RIG_CREDIT,
                                        .credit_bytes = 4 << 20,
                                        .retry = {.min_ms = 1000, .max_ms = 1000, .multiplier = 1}}};
    assert_true(rig->listener >= 0);
    assert_int_equal(bind(rig->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(rig->listener, 8), 0);
    getsockname(rig->listener, (struct sockaddr *)&at, &len);
    return ntohs(at.sin_port);
}

void end_rig_open(struct end_rig *rig, enum bailey_role role, const void *broker_settings, const void *settings)
{
    const struct end_rig_connector *connector = rig->connector;
    struct bailey_error err = {0};

    rig->loop = loop_new(&(struct loop_options){.seed = 7}, &err);
    assert_non_null(rig->loop);
    assert_true(connector->broker_open(&rig->broker, broker_settings, "b", "test", rig->loop, &err));
    pthread_mutex_init(&rig->status.lock, NULL);
    rig->options.route = "r";
    rig->options.instance = "test";
    rig->options.lanes = 1;
    rig->options.status = &rig->status;
    rig->options.on_ended = on_ended;
    rig->options.ctx = rig;
    rig->options.source = role == BAILEY_SOURCE ? connector->source : &own_source;
    rig->options.sink = role == BAILEY_SINK ? connector->sink : &own_sink;
    *(role == BAILEY_SOURCE ? &rig->options.from.settings : &rig->options.to.settings) = settings;
    rig->options.from.broker_name = rig->options.to.broker_name = "b";
    rig->options.from.broker = rig->options.to.broker = give_broker;
    rig->options.from.broker_ctx = rig->options.to.broker_ctx = rig;
    rig->lane = lane_new(rig->loop, &rig->options);
    opening = rig;
    lane_start(rig->lane);
}

static bool has_ended(struct end_rig *rig)
{
    return rig->ended;
}

void end_rig_close(struct end_rig *rig)
{
    lane_stop(rig->lane);
    end_rig_until(rig, has_ended);
    rig->connector->broker_close(rig->broker);
    lane_free(rig->lane);
    for (int i = 0; i < 3; i++)
        loop_turn(rig->loop, 0);
    loop_free(rig->loop);
    close(rig->listener);
    pthread_mutex_destroy(&rig->status.lock);
}

void end_rig_until(struct end_rig *rig, bool (*done)(struct end_rig *rig))
{
    int64_t end = end_rig_clock_ms() + END_RIG_PATIENCE_MS;

    while (!done(rig)) {
        if (end_rig_clock_ms() > end)
            fail_msg("the lane did not come to what was expected: %zu settled, refused %d transient %d permanent, "
                     "state %d: %s",
                     rig->settled_count, (int)rig->status.refused[BAILEY_ERR_TRANSIENT],
                     (int)rig->status.refused[BAILEY_ERR_PERMANENT], rig->status.state, rig->status.reason);
        loop_turn(rig->loop, 5);
    }
}

void end_rig_turn(struct end_rig *rig)
{
    for (int i = 0; i < 5; i++)
        loop_turn(rig->loop, 2);
}

struct bailey_message *end_rig_message(struct end_rig *rig, const char *body)
{
    struct bailey_message *msg = bailey_message_new(rig->port);

    msg->body = bailey_message_copy(msg, body, strlen(body));
    msg->group = 1;
    msg->position = ++rig->next_position;
    return msg;
}

void end_rig_push(struct end_rig *rig, struct bailey_message *msg)
{
    bailey_receive(rig->port, &msg, 1);
}

static size_t wanted;
static enum bailey_error_kind wanted_kind;

static bool is_settled(struct end_rig *rig)
{
    return rig->settled_count >= wanted;
}

void end_rig_settled(struct end_rig *rig, size_t count)
{
    wanted = count;
    end_rig_until(rig, is_settled);
    assert_int_equal(rig->settled_count, count);
}

static bool is_refused(struct end_rig *rig)
{
    return (size_t)rig->status.refused[wanted_kind] >= wanted;
}

void end_rig_refused(struct end_rig *rig, enum bailey_error_kind kind, int64_t count)
{
    wanted_kind = kind;
    wanted = (size_t)count;
    end_rig_until(rig, is_refused);
    assert_int_equal(rig->status.refused[kind], count);
}

static bool is_in_state(struct end_rig *rig)
{
    return rig->status.state == (enum lane_state)wanted;
}

void end_rig_state(struct end_rig *rig, enum lane_state state)
{
    wanted = state;
    end_rig_until(rig, is_in_state);
}

void end_rig_down(struct end_rig *rig, const char *reason)
{
    end_rig_state(rig, LANE_DOWN);
    if (strstr(rig->status.reason, reason) == NULL)
        fail_msg("reason is: %s", rig->status.reason);
    assert_null(strstr(rig->status.reason, "SECRET"));
}

static bool is_taken(struct end_rig *rig)
{
    return rig->taken_in_all >= wanted;
}

void end_rig_taken(struct end_rig *rig, size_t count)
{
    wanted = count;
    end_rig_until(rig, is_taken);
    assert_int_equal(rig->taken_in_all, count);
}

/* The oldest `count` get their verdict. */
static void take_out(struct end_rig *rig, struct bailey_delivery **batch, size_t count)
{
    assert_true(count <= rig->taken_count);
    memcpy(batch, rig->taken, count * sizeof *batch);
    rig->taken_count -= count;
    memmove(rig->taken, rig->taken + count, rig->taken_count * sizeof *batch);
}

void end_rig_confirm(struct end_rig *rig, size_t count)
{
    struct bailey_delivery *batch[END_RIG_MAX];

    take_out(rig, batch, count);
    bailey_confirm(rig->port, batch, count);
}

void end_rig_refuse(struct end_rig *rig)
{
    struct bailey_delivery *delivery;
    struct bailey_error err = {0};

    take_out(rig, &delivery, 1);
    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "the test says no");
    bailey_refuse(rig->port, delivery, &err);
}

/* ---- The broker's side ---- */

int end_rig_accept(struct end_rig *rig)
{
    int64_t end = end_rig_clock_ms() + END_RIG_PATIENCE_MS;
    int fd;

    while ((fd = accept(rig->listener, NULL, NULL)) < 0) {
        if (end_rig_clock_ms() > end)
            fail_msg("bailey does not connect");
        loop_turn(rig->loop, 5);
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

size_t end_rig_receive(struct end_rig *rig, int fd, void *out, size_t room)
{
    int64_t end = end_rig_clock_ms() + END_RIG_PATIENCE_MS;
    ssize_t got;

    while ((got = recv(fd, out, room, 0)) < 0) {
        assert_true(errno == EAGAIN || errno == EINTR);
        if (end_rig_clock_ms() > end)
            fail_msg("bailey says nothing");
        loop_turn(rig->loop, 5);
    }
    if (got == 0)
        fail_msg("bailey hung up");
    return (size_t)got;
}

void end_rig_send(struct end_rig *rig, int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    int64_t end = end_rig_clock_ms() + END_RIG_PATIENCE_MS;

    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

        if (sent > 0) {
            at += sent;
            len -= (size_t)sent;
            continue;
        }
        if (errno != EAGAIN)
            return;
        if (end_rig_clock_ms() > end)
            fail_msg("bailey does not read");
        loop_turn(rig->loop, 5);
    }
}

void end_rig_hung_up(struct end_rig *rig, int fd)
{
    int64_t end = end_rig_clock_ms() + END_RIG_PATIENCE_MS;
    uint8_t unread[4096];
    ssize_t got;

    while ((got = recv(fd, unread, sizeof unread, 0)) != 0) {
        if (got < 0 && errno == ECONNRESET)
            break;
        if (end_rig_clock_ms() > end)
            fail_msg("bailey does not hang up");
        loop_turn(rig->loop, 5);
    }
}
