/* The scripted broker uses rabbitmq-c for its methods, so that the connector does not check itself. */
#include "amqp_peer.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const struct end_rig_connector amqp = {
    .broker_open = amq_broker_open, .broker_close = amq_broker_close, .source = &amq_source, .sink = &amq_sink};
static const struct end_rig_connector reading_back = {
    .broker_open = amq_broker_open, .broker_close = amq_broker_close, .source = &amq_shelf};

/* A shelf of whose port somebody has said that it only looks. */
static bool open_to_look(void **self, void *broker, const void *settings, struct bailey_port *port,
                         struct bailey_error *err)
{
    port->only_looks = true;
    return amq_shelf.open(self, broker, settings, port, err);
}

/* ---- Bridge ---- */

static void open_bridge(struct bridge *bridge, const struct end_rig_connector *connector, enum bailey_role role,
                        const void *settings)
{
    *bridge = (struct bridge){0};
    snprintf(bridge->url, sizeof bridge->url, "amqp://user:SECRET@127.0.0.1:%u/shop",
             end_rig_init(&bridge->end, connector));
    bridge->urls[0] = bridge->url;
    bridge->broker_settings = (struct amq_broker_settings){
        .urls = {bridge->urls, 1}, .heartbeat_ms = 30000, .frame_max = 128 << 10, .max_message_size = 1 << 20};
    end_rig_open(&bridge->end, role, &bridge->broker_settings, settings);
}

void bridge_open_sink(struct bridge *bridge, const struct amq_sink_settings *settings)
{
    open_bridge(bridge, &amqp, BAILEY_SINK, settings);
}

void bridge_open_wrapped_sink(struct bridge *bridge, const struct bailey_sink *sink,
                              const struct amq_sink_settings *settings)
{
    static struct end_rig_connector wrapped;

    wrapped = amqp;
    wrapped.sink = sink;
    open_bridge(bridge, &wrapped, BAILEY_SINK, settings);
}

void bridge_open_source(struct bridge *bridge, const struct amq_source_settings *settings)
{
    open_bridge(bridge, &amqp, BAILEY_SOURCE, settings);
}

void bridge_open_shelf(struct bridge *bridge, const struct amq_sink_settings *settings, bool only_looks)
{
    static struct bailey_source looking;
    static struct end_rig_connector looks;

    looking = amq_shelf;
    looking.open = open_to_look;
    looks = reading_back;
    looks.source = &looking;
    open_bridge(bridge, only_looks ? &looks : &reading_back, BAILEY_SOURCE, settings);
}

/* ---- Peer: bytes and frames ---- */

static void more_input(struct peer *peer)
{
    peer->len += end_rig_receive(&peer->bridge->end, peer->fd, peer->in + peer->len, PEER_INPUT - peer->len);
}

static void consume(struct peer *peer, size_t len)
{
    memmove(peer->in, peer->in + len, peer->len - len);
    peer->len -= len;
}

void peer_accept(struct bridge *bridge, struct peer *peer)
{
    *peer = (struct peer){.bridge = bridge, .in = malloc(PEER_INPUT), .held = malloc(PEER_INPUT)};
    assert_true(peer->in != NULL && peer->held != NULL);
    init_amqp_pool(&peer->pool, 4096);
    peer->fd = end_rig_accept(&bridge->end);
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
    end_rig_hung_up(&peer->bridge->end, peer->fd);
    peer_close(peer);
}

void peer_send(struct peer *peer, const void *data, size_t len)
{
    end_rig_send(&peer->bridge->end, peer->fd, data, len);
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

static void open_channel(struct peer *peer, uint16_t channel)
{
    amqp_channel_open_ok_t opened = {0};

    peer_expect(peer, channel, AMQP_CHANNEL_OPEN_METHOD);
    peer_method(peer, channel, AMQP_CHANNEL_OPEN_OK_METHOD, &opened);
}

void peer_find_queue(struct peer *peer, uint16_t channel, uint32_t consumers)
{
    amqp_queue_declare_ok_t found = {.queue = amqp_cstring_bytes("q"), .consumer_count = consumers};
    amqp_queue_declare_t *look;

    open_channel(peer, channel);
    look = peer_expect(peer, channel, AMQP_QUEUE_DECLARE_METHOD);
    assert_true(look->passive);
    peer_method(peer, channel, AMQP_QUEUE_DECLARE_OK_METHOD, &found);
}

void *peer_start_consumer(struct peer *peer, uint16_t channel, uint16_t *window)
{
    amqp_basic_qos_ok_t qos_ok = {0};
    amqp_basic_consume_ok_t consuming = {.consumer_tag = amqp_cstring_bytes("c")};
    amqp_basic_qos_t *qos = peer_expect(peer, channel, AMQP_BASIC_QOS_METHOD);
    void *consume;

    if (window != NULL)
        *window = qos->prefetch_count;
    peer_method(peer, channel, AMQP_BASIC_QOS_OK_METHOD, &qos_ok);
    consume = peer_expect(peer, channel, AMQP_BASIC_CONSUME_METHOD);
    peer_method(peer, channel, AMQP_BASIC_CONSUME_OK_METHOD, &consuming);
    return consume;
}

void peer_open_consumer(struct peer *peer, uint16_t channel)
{
    open_channel(peer, channel);
    peer_start_consumer(peer, channel, NULL);
}
