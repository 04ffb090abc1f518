/* The scripted broker uses rabbitmq-c for its methods, so that the connector does not check itself. */
#include "amqp_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
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

static struct bridge *opening; /* the bridge whose lane opens its ends now */

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
    struct bridge *bridge = self;

    for (size_t i = 0; i < count; i++)
        bridge->settled[bridge->settled_count++ % BRIDGE_MAX] = ended[i];
}

static void own_drain(void *self)
{
    bailey_drained(((struct bridge *)self)->port);
}

static void own_source_close(void *self)
{
    bailey_closed(((struct bridge *)self)->port);
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
    struct bridge *bridge = self;

    for (size_t i = 0; i < count; i++) {
        assert_true(bridge->taken_count < BRIDGE_MAX);
        bridge->taken[bridge->taken_count++] = batch[i];
        bridge->taken_in_all++;
    }
    return count;
}

static void own_sink_close(void *self)
{
    struct bridge *bridge = self;

    bailey_hand_back(bridge->port, bridge->taken, bridge->taken_count, true);
    bridge->taken_count = 0;
    bailey_closed(bridge->port);
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
    *broker = ((struct bridge *)ctx)->broker;
    return true;
}

static void on_ended(struct lane *lane, void *ctx)
{
    (void)lane;
    ((struct bridge *)ctx)->ended = true;
}

/* ---- Bridge ---- */

static void listen_somewhere(struct bridge *bridge)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;

    bridge->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(bridge->listener >= 0);
    assert_int_equal(bind(bridge->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(bridge->listener, 8), 0);
    getsockname(bridge->listener, (struct sockaddr *)&at, &len);
    snprintf(bridge->url, sizeof bridge->url, "amqp://user:SECRET@127.0.0.1:%u/shop", ntohs(at.sin_port));
}

static void open_bridge(struct bridge *bridge)
{
    struct bailey_error err = {0};

    listen_somewhere(bridge);
    bridge->urls[0] = bridge->url;
    bridge->broker_settings = (struct amq_broker_settings){
        .urls = {bridge->urls, 1}, .heartbeat_ms = 30000, .frame_max = 128 << 10, .max_message_size = 1 << 20};
    bridge->loop = loop_new(&(struct loop_options){.seed = 7}, &err);
    assert_non_null(bridge->loop);
    assert_true(amq_broker_open(&bridge->broker, &bridge->broker_settings, "b", "test", bridge->loop, &err));
    pthread_mutex_init(&bridge->status.lock, NULL);
    bridge->options.route = "r";
    bridge->options.instance = "test";
    bridge->options.lanes = 1;
    bridge->options.credit_messages = CREDIT;
    bridge->options.credit_bytes = 4 << 20;
    bridge->options.status = &bridge->status;
    bridge->options.on_ended = on_ended;
    bridge->options.ctx = bridge;
    bridge->options.from.broker_name = bridge->options.to.broker_name = "b";
    bridge->options.from.broker = bridge->options.to.broker = give_broker;
    bridge->options.from.broker_ctx = bridge->options.to.broker_ctx = bridge;
    bridge->lane = lane_new(bridge->loop, &bridge->options);
    opening = bridge;
    lane_start(bridge->lane);
}

void bridge_open_sink(struct bridge *bridge, const struct amq_sink_settings *settings)
{
    *bridge = (struct bridge){.options = {.source = &own_source, .sink = &amq_sink, .to = {.settings = settings}}};
    open_bridge(bridge);
}

void bridge_open_source(struct bridge *bridge, const struct amq_source_settings *settings)
{
    *bridge = (struct bridge){.options = {.source = &amq_source, .sink = &own_sink, .from = {.settings = settings}}};
    open_bridge(bridge);
}

static bool has_ended(struct bridge *bridge)
{
    return bridge->ended;
}

void bridge_close(struct bridge *bridge)
{
    lane_stop(bridge->lane);
    bridge_until(bridge, has_ended);
    amq_broker_close(bridge->broker);
    lane_free(bridge->lane);
    for (int i = 0; i < 3; i++)
        loop_turn(bridge->loop, 0);
    loop_free(bridge->loop);
    close(bridge->listener);
    pthread_mutex_destroy(&bridge->status.lock);
}

void bridge_until(struct bridge *bridge, bool (*done)(struct bridge *bridge))
{
    int64_t end = clock_ms() + PATIENCE_MS;

    while (!done(bridge)) {
        if (clock_ms() > end)
            fail_msg("the lane did not come to what was expected: %zu settled, refused %d transient %d permanent, "
                     "state %d: %s",
                     bridge->settled_count, (int)bridge->status.refused[BAILEY_ERR_TRANSIENT],
                     (int)bridge->status.refused[BAILEY_ERR_PERMANENT], bridge->status.state, bridge->status.reason);
        loop_turn(bridge->loop, 5);
    }
}

void bridge_turn(struct bridge *bridge)
{
    for (int i = 0; i < 5; i++)
        loop_turn(bridge->loop, 2);
}

struct bailey_message *bridge_message(struct bridge *bridge, const char *body)
{
    struct bailey_message *msg = bailey_message_new(bridge->port);

    msg->body = bailey_message_copy(msg, body, strlen(body));
    msg->group = 1;
    msg->position = ++bridge->next_position;
    return msg;
}

void bridge_push(struct bridge *bridge, struct bailey_message *msg)
{
    bailey_receive(bridge->port, &msg, 1);
}

static size_t wanted;
static enum bailey_error_kind wanted_kind;

static bool is_settled(struct bridge *bridge)
{
    return bridge->settled_count >= wanted;
}

void bridge_settled(struct bridge *bridge, size_t count)
{
    wanted = count;
    bridge_until(bridge, is_settled);
    assert_int_equal(bridge->settled_count, count);
}

static bool is_refused(struct bridge *bridge)
{
    return (size_t)bridge->status.refused[wanted_kind] >= wanted;
}

void bridge_refused(struct bridge *bridge, enum bailey_error_kind kind, int64_t count)
{
    wanted_kind = kind;
    wanted = (size_t)count;
    bridge_until(bridge, is_refused);
    assert_int_equal(bridge->status.refused[kind], count);
}

static bool is_in_state(struct bridge *bridge)
{
    return bridge->status.state == (enum lane_state)wanted;
}

void bridge_state(struct bridge *bridge, enum lane_state state)
{
    wanted = state;
    bridge_until(bridge, is_in_state);
}

static bool is_taken(struct bridge *bridge)
{
    return bridge->taken_in_all >= wanted;
}

void bridge_taken(struct bridge *bridge, size_t count)
{
    wanted = count;
    bridge_until(bridge, is_taken);
    assert_int_equal(bridge->taken_in_all, count);
}

void bridge_confirm(struct bridge *bridge, size_t count)
{
    struct bailey_delivery *batch[BRIDGE_MAX];

    assert_true(count <= bridge->taken_count);
    memcpy(batch, bridge->taken, count * sizeof *batch);
    bridge->taken_count -= count;
    memmove(bridge->taken, bridge->taken + count, bridge->taken_count * sizeof *batch);
    bailey_confirm(bridge->port, batch, count);
}

/* ---- Peer: bytes and frames ---- */

static void more_input(struct peer *peer)
{
    int64_t end = clock_ms() + PATIENCE_MS;
    ssize_t got;

    while ((got = recv(peer->fd, peer->in + peer->len, PEER_INPUT - peer->len, 0)) < 0) {
        assert_true(errno == EAGAIN || errno == EINTR);
        if (clock_ms() > end)
            fail_msg("bailey says nothing");
        loop_turn(peer->bridge->loop, 5);
    }
    if (got == 0)
        fail_msg("bailey hung up");
    peer->len += (size_t)got;
}

static void consume(struct peer *peer, size_t len)
{
    memmove(peer->in, peer->in + len, peer->len - len);
    peer->len -= len;
}

void peer_accept(struct bridge *bridge, struct peer *peer)
{
    int64_t end = clock_ms() + PATIENCE_MS;

    *peer = (struct peer){.bridge = bridge, .in = malloc(PEER_INPUT), .held = malloc(PEER_INPUT)};
    assert_true(peer->in != NULL && peer->held != NULL);
    init_amqp_pool(&peer->pool, 4096);
    while ((peer->fd = accept(bridge->listener, NULL, NULL)) < 0) {
        if (clock_ms() > end)
            fail_msg("bailey does not connect");
        loop_turn(bridge->loop, 5);
    }
    fcntl(peer->fd, F_SETFL, O_NONBLOCK);
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    while (peer->len < 8)
        more_input(peer);
    assert_memory_equal(peer->in, "AMQP\0\0\x09\x01", 8);
    consume(peer, 8);
}

void peer_close(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    empty_amqp_pool(&peer->pool);
    free(peer->in);
    free(peer->held);
    *peer = (struct peer){.fd = -1};
}

void peer_gone(struct peer *peer)
{
    int64_t end = clock_ms() + PATIENCE_MS;
    ssize_t got;

    while ((got = recv(peer->fd, peer->in, PEER_INPUT, 0)) != 0) {
        if (got < 0 && errno == ECONNRESET)
            break;
        if (clock_ms() > end)
            fail_msg("bailey does not hang up");
        loop_turn(peer->bridge->loop, 5);
    }
    peer_close(peer);
}

void peer_send(struct peer *peer, const void *data, size_t len)
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
        loop_turn(peer->bridge->loop, 5);
    }
}

void peer_frame(struct peer *peer, int type, uint16_t channel, const void *payload, uint32_t len)
{
    uint8_t *frame = malloc(len + AMQ_FRAME_OVERHEAD);

    assert_non_null(frame);
    amq_frame_head(frame, (enum amq_frame_type)type, channel, len);
    if (len > 0)
        memcpy(frame + AMQ_FRAME_HEAD, payload, len);
    frame[AMQ_FRAME_HEAD + len] = AMQ_FRAME_END;
    peer_send(peer, frame, len + AMQ_FRAME_OVERHEAD);
    free(frame);
}

void peer_method(struct peer *peer, uint16_t channel, amqp_method_number_t id, void *method)
{
    static uint8_t payload[64 << 10];
    int len = amqp_encode_method(id, method, (amqp_bytes_t){sizeof payload - 4, payload + 4});

    assert_true(len >= 0);
    amq_put_uint(payload, 4, id);
    peer_frame(peer, AMQ_FRAME_METHOD, channel, payload, (uint32_t)len + 4);
}

void peer_next(struct peer *peer)
{
    for (;;) {
        struct amq_frame frame;
        const char *why = NULL;
        enum amq_split split = amq_frame_split(peer->in, peer->len, PEER_INPUT, &frame, &why);

        if (split == AMQ_SPLIT_BAD)
            fail_msg("bailey sent nonsense: %s", why);
        if (split == AMQ_SPLIT_MORE) {
            more_input(peer);
            continue;
        }
        memcpy(peer->held, frame.payload, frame.size);
        peer->frame = frame;
        peer->frame.payload = peer->held;
        consume(peer, frame.size + AMQ_FRAME_OVERHEAD);
        if (frame.type != AMQ_FRAME_HEARTBEAT)
            return;
    }
}

void *peer_expect(struct peer *peer, uint16_t channel, amqp_method_number_t id)
{
    void *decoded = NULL;
    uint32_t got;

    peer_next(peer);
    assert_int_equal(peer->frame.type, AMQ_FRAME_METHOD);
    got = (uint32_t)peer->held[0] << 24 | (uint32_t)peer->held[1] << 16 | (uint32_t)peer->held[2] << 8 | peer->held[3];
    if (got != id || peer->frame.channel != channel)
        fail_msg("expected method %u.%u on channel %u, got %u.%u on %u", id >> 16, id & 0xffff, channel, got >> 16,
                 got & 0xffff, peer->frame.channel);
    recycle_amqp_pool(&peer->pool);
    assert_int_equal(
        amqp_decode_method(id, &peer->pool, (amqp_bytes_t){peer->frame.size - 4, peer->held + 4}, &decoded),
        AMQP_STATUS_OK);
    return decoded;
}

/* ---- Peer: what brokers say ---- */

static void expect_login(struct peer *peer, const char *password)
{
    amqp_connection_start_ok_t *log_in = peer_expect(peer, 0, AMQP_CONNECTION_START_OK_METHOD);
    char response[256];
    int len = snprintf(response, sizeof response, "%cuser%c%s", 0, 0, password != NULL ? password : "SECRET");

    assert_memory_equal(log_in->mechanism.bytes, "PLAIN", 5);
    assert_int_equal(log_in->response.len, len);
    assert_memory_equal(log_in->response.bytes, response, (size_t)len);
}

void peer_open(struct bridge *bridge, struct peer *peer, const struct peer_options *options)
{
    amqp_table_entry_t product = {
        amqp_cstring_bytes("product"),
        {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(options->product ? options->product : "")}};
    amqp_connection_start_t start = {.version_minor = 9,
                                     .server_properties = {options->product != NULL, &product},
                                     .mechanisms = amqp_cstring_bytes("AMQPLAIN PLAIN"),
                                     .locales = amqp_cstring_bytes("en_US")};
    amqp_connection_tune_t tune = {.channel_max = options->channel_max ? options->channel_max : 2047,
                                   .frame_max = options->frame_max ? options->frame_max : 128 << 10,
                                   .heartbeat = options->heartbeat};
    amqp_connection_open_ok_t ok = {0};
    amqp_connection_open_t *open;

    peer_accept(bridge, peer);
    peer_method(peer, 0, AMQP_CONNECTION_START_METHOD, &start);
    expect_login(peer, options->password);
    peer_method(peer, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
    peer_expect(peer, 0, AMQP_CONNECTION_TUNE_OK_METHOD);
    open = peer_expect(peer, 0, AMQP_CONNECTION_OPEN_METHOD);
    assert_memory_equal(open->virtual_host.bytes, "shop", 4);
    peer_method(peer, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &ok);
}

void peer_ack(struct peer *peer, uint16_t channel, uint64_t tag, bool multiple)
{
    amqp_basic_ack_t ack = {.delivery_tag = tag, .multiple = multiple};

    peer_method(peer, channel, AMQP_BASIC_ACK_METHOD, &ack);
}

void peer_content(struct peer *peer, uint16_t channel, struct bailey_bytes props, struct bailey_bytes body)
{
    uint8_t *header = malloc(12 + props.len);

    assert_non_null(header);
    amq_put_uint(header, 2, 60);
    amq_put_uint(header + 2, 2, 0);
    amq_put_uint(header + 4, 8, body.len);
    memcpy(header + 12, props.data, props.len);
    peer_frame(peer, AMQ_FRAME_HEADER, channel, header, (uint32_t)(12 + props.len));
    if (body.len > 0)
        peer_frame(peer, AMQ_FRAME_BODY, channel, body.data, (uint32_t)body.len);
    free(header);
}

void peer_deliver(struct peer *peer, uint16_t channel, uint64_t tag, const char *body)
{
    amqp_basic_deliver_t deliver = {.consumer_tag = amqp_cstring_bytes("c"),
                                    .delivery_tag = tag,
                                    .exchange = amqp_cstring_bytes("x"),
                                    .routing_key = amqp_cstring_bytes("k")};

    peer_method(peer, channel, AMQP_BASIC_DELIVER_METHOD, &deliver);
    peer_content(peer, channel, (struct bailey_bytes){(const uint8_t *)"\0\0", 2}, bailey_bytes_of(body));
}

void peer_close_channel(struct peer *peer, uint16_t channel, uint16_t code, const char *text)
{
    amqp_channel_close_t close = {.reply_code = code, .reply_text = amqp_cstring_bytes(text)};

    peer_method(peer, channel, AMQP_CHANNEL_CLOSE_METHOD, &close);
    peer_expect(peer, channel, AMQP_CHANNEL_CLOSE_OK_METHOD);
}

void peer_expect_publish(struct peer *peer, uint16_t channel, struct bailey_bytes *props, struct bailey_bytes *body)
{
    static uint8_t kept[PEER_INPUT];
    uint64_t size;

    amqp_basic_publish_t *publish = peer_expect(peer, channel, AMQP_BASIC_PUBLISH_METHOD);

    assert_true(publish->mandatory);
    assert_false(publish->immediate);
    peer_next(peer);
    assert_int_equal(peer->frame.type, AMQ_FRAME_HEADER);
    assert_int_equal(peer->frame.channel, channel);
    memcpy(kept, peer->held, peer->frame.size);
    *props = (struct bailey_bytes){kept + 12, peer->frame.size - 12};
    size = (uint64_t)kept[8] << 24 | (uint64_t)kept[9] << 16 | (uint64_t)kept[10] << 8 | kept[11];
    *body = BAILEY_EMPTY_BYTES;
    if (size == 0)
        return;
    peer_next(peer);
    assert_int_equal(peer->frame.type, AMQ_FRAME_BODY);
    *body = (struct bailey_bytes){peer->held, peer->frame.size};
}

void peer_open_publisher(struct peer *peer, uint16_t channel)
{
    amqp_channel_open_ok_t opened = {0};
    amqp_confirm_select_ok_t selected = {0};

    peer_expect(peer, channel, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(peer, channel, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
    peer_expect(peer, channel, AMQP_CONFIRM_SELECT_METHOD);
    peer_method(peer, channel, AMQP_CONFIRM_SELECT_OK_METHOD, &selected);
}

void peer_open_consumer(struct peer *peer, uint16_t channel)
{
    amqp_channel_open_ok_t opened = {0};
    amqp_basic_qos_ok_t qos = {0};
    amqp_basic_consume_ok_t consuming = {.consumer_tag = amqp_cstring_bytes("c")};

    peer_expect(peer, channel, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(peer, channel, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
    peer_expect(peer, channel, AMQP_BASIC_QOS_METHOD);
    peer_method(peer, channel, AMQP_BASIC_QOS_OK_METHOD, &qos);
    peer_expect(peer, channel, AMQP_BASIC_CONSUME_METHOD);
    peer_method(peer, channel, AMQP_BASIC_CONSUME_OK_METHOD, &consuming);
}
