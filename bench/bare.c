/* The measure for `make bench`: a copy loop on the bare client libraries, one thread of our own, acknowledged on both sides.
 *
 *     bare FROM TO COUNT     FROM and TO: kafka://HOST:PORT/TOPIC, amqp://HOST:PORT/QUEUE or stomp://HOST:PORT/QUEUE
 *
 * It uses librdkafka as Bailey does (batches, idempotent producer, bodies not copied), rabbitmq-c with its own socket,
 * as its examples do (confirms, prefetch, acks with `multiple`), and a plain blocking STOMP client. It does nothing else: no reconnect, no retry, no mapping of
 * headers between protocols. It asserts what it does not expect.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <librdkafka/rdkafka.h>

#include "bare_stomp.h"

enum { WINDOW = 10000, BATCH = 500, PREFETCH = 2000, CHANNEL = 1 };

enum protocol { KAFKA, AMQP, STOMP };

struct place {
    enum protocol protocol;
    char host[128], name[128];
    int port;
};

static struct place from, to;
static uint64_t sent, confirmed;

/* What to acknowledge at the source, in the order of sending: an offset or a delivery tag; STOMP's are texts. */
enum { TAGS = 1 << 15 };
static uint64_t tags[TAGS];
static char (*stomp_acks)[200];
static uint64_t acknowledged; /* STOMP: one ACK a message */

static rd_kafka_t *consumer, *producer;
static rd_kafka_queue_t *queue;
static rd_kafka_topic_t *topic;
static rd_kafka_topic_partition_list_t *position;
static amqp_connection_state_t source, sink;
static struct bare_stomp *stomp_source, *stomp_sink;
static uint64_t next_publish_tag = 1;
static time_t committed_at;

static struct place parse(const char *url)
{
    struct place place = {.protocol = url[0] == 'k' ? KAFKA : url[0] == 'a' ? AMQP : STOMP};
    int fields = sscanf(strstr(url, "//") + 2, "%127[^:]:%d/%127s", place.host, &place.port, place.name);

    assert(fields == 3);
    return place;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "%s\n", text);
        exit(1);
    }
}

static rd_kafka_conf_t *a_conf(const struct place *place)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char address[160];

    snprintf(address, sizeof address, "%s:%d", place->host, place->port);
    set(conf, "bootstrap.servers", address);
    return conf;
}

static amqp_connection_state_t amqp_connect(const struct place *place)
{
    amqp_connection_state_t conn = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(conn);

    if (amqp_socket_open(socket, place->host, place->port) != 0)
        exit(1);
    amqp_login(conn, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
    amqp_channel_open(conn, CHANNEL);
    assert(amqp_get_rpc_reply(conn).reply_type == AMQP_RESPONSE_NORMAL);
    return conn;
}

/* ---- Source ---- */

static void open_source(void)
{
    char text[256];

    if (from.protocol == STOMP) {
        stomp_acks = calloc(TAGS, sizeof *stomp_acks);
        stomp_source = bare_stomp_open(from.host, from.port);
        bare_stomp_subscribe(stomp_source, from.name, PREFETCH);
        return;
    }
    if (from.protocol == KAFKA) {
        rd_kafka_conf_t *conf = a_conf(&from);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

        snprintf(text, sizeof text, "bare-%ld", (long)getpid()); /* from the start, each time */
        set(conf, "group.id", text);
        set(conf, "enable.auto.commit", "false");
        set(conf, "auto.offset.reset", "earliest");
        set(conf, "queued.max.messages.kbytes", "16384");
        consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
        rd_kafka_poll_set_consumer(consumer);
        queue = rd_kafka_queue_get_consumer(consumer);
        rd_kafka_topic_partition_list_add(list, from.name, RD_KAFKA_PARTITION_UA);
        rd_kafka_subscribe(consumer, list);
        position = list;
        rd_kafka_topic_partition_list_del(position, from.name, RD_KAFKA_PARTITION_UA);
        rd_kafka_topic_partition_list_add(position, from.name, 0);
        return;
    }
    source = amqp_connect(&from);
    amqp_basic_qos(source, CHANNEL, 0, PREFETCH, 0);
    amqp_basic_consume(source, CHANNEL, amqp_cstring_bytes(from.name), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
}

/* `upto`: tag of the last message whose copy is confirmed, with all before it. */
static void acknowledge(uint64_t upto, bool last)
{
    if (from.protocol == STOMP) {
        while (acknowledged < confirmed)
            bare_stomp_ack(stomp_source, stomp_acks[acknowledged++ % TAGS]);
        return;
    }
    if (from.protocol == AMQP) {
        amqp_basic_ack(source, CHANNEL, upto, 1);
        return;
    }
    time_t now = time(NULL);

    if (now == committed_at && !last)
        return;
    committed_at = now;
    position->elems[0].offset = (int64_t)upto + 1;
    rd_kafka_commit(consumer, position, !last);
}

/* ---- Sink ---- */

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *report, void *opaque)
{
    (void)rk, (void)opaque;
    assert(report->err == 0);
    confirmed++;
    if (from.protocol == KAFKA)
        rd_kafka_message_destroy(report->_private);
    else if (from.protocol == AMQP)
        amqp_bytes_free((amqp_bytes_t){report->len, report->payload});
    /* else librdkafka had its own copy */
}

static void open_sink(void)
{
    char text[256];

    if (to.protocol == STOMP) {
        stomp_sink = bare_stomp_open(to.host, to.port);
        return;
    }
    if (to.protocol == KAFKA) {
        rd_kafka_conf_t *conf = a_conf(&to);

        set(conf, "enable.idempotence", "true");
        set(conf, "linger.ms", "5");
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
        producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
        topic = rd_kafka_topic_new(producer, to.name, NULL);
        return;
    }
    sink = amqp_connect(&to);
    amqp_confirm_select(sink, CHANNEL);
}

static void read_confirms(bool wait)
{
    struct timeval none = {0}, second = {1, 0};
    amqp_frame_t frame;

    while (amqp_simple_wait_frame_noblock(sink, &frame, wait ? &second : &none) == AMQP_STATUS_OK) {
        assert(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD);
        confirmed = ((amqp_basic_ack_t *)frame.payload.method.decoded)->delivery_tag;
        wait = false;
    }
    amqp_maybe_release_buffers(sink);
}

static void read_receipts(bool wait)
{
    uint64_t number;

    while ((number = bare_stomp_receipt(stomp_sink, wait)) != 0) {
        assert(number == confirmed + 1);
        confirmed = number;
        wait = false;
    }
}

static void collect(bool wait)
{
    uint64_t before = confirmed;

    if (to.protocol == KAFKA)
        rd_kafka_poll(producer, wait ? 100 : 0);
    else if (to.protocol == AMQP)
        read_confirms(wait);
    else
        read_receipts(wait);
    if (confirmed > before)
        acknowledge(tags[(confirmed - 1) % TAGS], false);
}

static void send_kafka(const rd_kafka_message_t *msg, void *body, size_t len, int flags)
{
    rd_kafka_headers_t *headers = NULL, *copy = NULL;
    rd_kafka_resp_err_t err;

    if (msg != NULL && rd_kafka_message_headers(msg, &headers) == 0)
        copy = rd_kafka_headers_copy(headers);
    do {
        err = rd_kafka_producev(producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(0),
                                RD_KAFKA_V_KEY(msg ? msg->key : NULL, msg ? msg->key_len : 0),
                                RD_KAFKA_V_VALUE(body, len), RD_KAFKA_V_MSGFLAGS(flags),
                                RD_KAFKA_V_OPAQUE((void *)(uintptr_t)msg), RD_KAFKA_V_HEADERS(copy), RD_KAFKA_V_END);
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(producer, 10);
    } while (err == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    assert(err == 0);
}

static void send_amqp(const void *body, size_t len, const amqp_basic_properties_t *properties)
{
    amqp_basic_properties_t durable = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
    int status = amqp_basic_publish(sink, CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(to.name), 1, 0,
                                    properties ? properties : &durable, (amqp_bytes_t){len, (void *)(uintptr_t)body});

    assert(status == AMQP_STATUS_OK);
    next_publish_tag++;
}

static void note(uint64_t tag)
{
    tags[sent++ % TAGS] = tag;
}

static void copy_from_kafka(void)
{
    rd_kafka_message_t *batch[BATCH];
    ssize_t count = rd_kafka_consume_batch_queue(queue, 100, batch, BATCH);

    for (ssize_t i = 0; i < count; i++) {
        assert(batch[i]->err == 0);
        note((uint64_t)batch[i]->offset);
        if (to.protocol == KAFKA) {
            send_kafka(batch[i], batch[i]->payload, batch[i]->len, 0);
            continue;
        }
        if (to.protocol == AMQP)
            send_amqp(batch[i]->payload, batch[i]->len, NULL);
        else
            bare_stomp_send(stomp_sink, to.name, batch[i]->payload, batch[i]->len, sent);
        rd_kafka_message_destroy(batch[i]);
    }
}

static void copy_from_amqp(void)
{
    amqp_envelope_t envelope;
    amqp_rpc_reply_t reply;
    struct timeval timeout = {0, 100000};

    amqp_maybe_release_buffers(source);
    for (int i = 0; i < BATCH; i++) {
        reply = amqp_consume_message(source, &envelope, &timeout, 0);
        if (reply.reply_type != AMQP_RESPONSE_NORMAL)
            return;
        note(envelope.delivery_tag);
        if (to.protocol == KAFKA) {
            send_kafka(NULL, envelope.message.body.bytes, envelope.message.body.len, 0);
            envelope.message.body = amqp_empty_bytes; /* freed with its report */
        } else if (to.protocol == STOMP) {
            bare_stomp_send(stomp_sink, to.name, envelope.message.body.bytes, envelope.message.body.len, sent);
        } else {
            send_amqp(envelope.message.body.bytes, envelope.message.body.len, &envelope.message.properties);
        }
        amqp_destroy_envelope(&envelope);
        timeout = (struct timeval){0, 0};
    }
}

static void copy_from_stomp(void)
{
    struct bare_message message;

    for (int i = 0; i < BATCH && bare_stomp_receive(stomp_source, &message, i == 0 ? 100 : 0); i++) {
        strcpy(stomp_acks[sent % TAGS], message.ack);
        note(0);
        if (to.protocol == KAFKA)
            send_kafka(NULL, (void *)(uintptr_t)message.body, message.len, RD_KAFKA_MSG_F_COPY);
        else if (to.protocol == AMQP)
            send_amqp(message.body, message.len, NULL);
        else
            bare_stomp_send(stomp_sink, to.name, message.body, message.len, sent);
    }
}

int main(int argc, char **argv)
{
    uint64_t count = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;

    if (count == 0) {
        fprintf(stderr, "usage: bare FROM TO COUNT\n");
        return 2;
    }
    from = parse(argv[1]);
    to = parse(argv[2]);
    open_source();
    open_sink();
    while (confirmed < count) {
        if (sent < count && sent - confirmed < (from.protocol == KAFKA ? WINDOW : PREFETCH - BATCH)) {
            if (from.protocol == KAFKA)
                copy_from_kafka();
            else if (from.protocol == AMQP)
                copy_from_amqp();
            else
                copy_from_stomp();
            collect(false);
        } else {
            collect(true);
        }
    }
    acknowledge(tags[(confirmed - 1) % TAGS], true);
    if (source != NULL)
        amqp_connection_close(source, AMQP_REPLY_SUCCESS);
    if (stomp_source != NULL)
        bare_stomp_close(stomp_source);
    return 0;
}
