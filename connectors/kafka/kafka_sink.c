/* kafka_sink.c: a lane's sink: deliveries become records of the shared producer, reports become verdicts.
 *
 * The body goes to librdkafka by reference: the message lives until the verdict. Key and headers are copied by librdkafka.
 * acks=all, idempotent, without time limit: a broker that is away refuses nothing, it makes us wait. We say `held` when no
 * broker can be reached, and when the producer's queue is full or the broker throttles for more than a second.
 *
 * Of a batch that is too large the broker refuses all messages, and does not say which is to blame: they are handed back, and go
 * again at once, fewer together (room.h). Where it names the one that it does not like (KIP-467), the others go again likewise.
 *
 * Closing with messages under way: wait for their reports (WAIT_MS). Then, if this is the producer's only sink, take them
 * out of the producer, which tells for each whether it may have reached the broker. Other sinks must not suffer from ours: if
 * there are any, the messages stay in the producer as orphans and are handed back in doubt.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "kafka_acl.h"
#include "kafka_conf.h"
#include "kafka_map.h"
#include "kafka_producer.h"

enum { FULL_MS = 1000, WAIT_MS = 1000, PURGE_MS = 2000 };

/* ---- State ---- */

/* Why the sink cannot take messages; NULL = it can. */
static const char *trouble(const struct kafka_sink *sink, char *text, size_t size)
{
    const struct kafka_producer *producer = sink->producer;
    int64_t now = bailey_now_ms(sink->host);

    if (producer->away[0] != '\0')
        return producer->away;
    if (sink->full && now - sink->full_since >= FULL_MS) {
        snprintf(text, size, "the producer's queue is full: %d messages wait", rd_kafka_outq_len(producer->client->rk));
        return text;
    }
    if (now < producer->throttled_until)
        return "the broker throttles the producer";
    return NULL;
}

void kafka_sink_show(struct kafka_sink *sink)
{
    char text[160];
    const char *reason;

    if (sink->failed || sink->closing)
        return;
    reason = trouble(sink, text, sizeof text);
    if (reason == NULL && sink->ready && !sink->shown_up) {
        sink->shown_up = true;
        bailey_up(sink->port);
        sink->shown_held = false;
    } else if (reason != NULL && (!sink->shown_held || sink->away_shown != sink->producer->away_serial)) {
        sink->shown_up = false;
        sink->shown_held = true;
        sink->away_shown = sink->producer->away_serial;
        bailey_held(sink->port, reason);
    }
}

void kafka_sink_fail(struct kafka_sink *sink, const struct bailey_error *err)
{
    if (sink->failed || sink->closing)
        return;
    sink->failed = true;
    bailey_down(sink->port, err);
}

static void topic_ready(void *ctx)
{
    struct kafka_sink *sink = ctx;

    sink->ready = true;
    kafka_sink_show(sink);
}

static void topic_missing(void *ctx, const struct bailey_error *err)
{
    kafka_sink_fail(ctx, err);
}

/* ---- Sending ---- */

/* The length of a varint (Kafka protocol guide, Record): seven bits a byte, zigzag. */
static size_t varint_size(size_t number)
{
    size_t size = 1;

    for (number *= 2; number >= 128; number /= 128)
        size++;
    return size;
}

static size_t bytes_size(struct bailey_bytes bytes)
{
    return varint_size(bytes.len) + bytes.len;
}

struct record_headers {
    rd_kafka_headers_t *list; /* NULL: none */
    size_t size;
};

static void add_header(void *ctx, struct bailey_bytes name, struct bailey_bytes value)
{
    struct record_headers *headers = ctx;

    rd_kafka_header_add(headers->list, (const char *)name.data, (ssize_t)name.len, value.data, (ssize_t)value.len);
    headers->size += bytes_size(name) + bytes_size(value);
}

static struct record_headers headers_of(struct kafka_sink *sink, const struct bailey_delivery *delivery,
                                        struct bailey_message **scratch)
{
    const struct bailey_message *msg = delivery->message;
    struct bailey_marks marks = {delivery->id, delivery->possible_duplicate};
    struct record_headers headers = {0};

    if (marks.id.data == NULL && !marks.possible_duplicate && kafka_map_is_bare(msg))
        return headers;
    if (*scratch == NULL && kafka_map_is_typed(msg))
        *scratch = bailey_message_new(sink->port);
    headers.list = rd_kafka_headers_new(msg->header_count + 4);
    kafka_map_export(msg, &marks, *scratch, add_header, &headers);
    return headers;
}

static struct kafka_target *target_of(struct kafka_sink *sink, const struct bailey_delivery *delivery,
                                      struct bailey_error *err)
{
    struct bailey_bytes name;
    struct kafka_target *target;

    if (sink->constant_target != NULL)
        return sink->constant_target;
    name = bailey_delivery_text(delivery, sink->settings->topic);
    target = kafka_producer_target(sink->producer, name.data, name.len);
    if (target == NULL)
        bailey_fail(err, BAILEY_ERR_PERMANENT, "\"%.*s\" is no topic name", (int)(name.len < 100 ? name.len : 100),
                    name.data == NULL ? "" : (const char *)name.data);
    return target;
}

/* A refusal: what the code means for this message. */
static void explain(struct bailey_error *err, const struct kafka_sink *sink, rd_kafka_resp_err_t code, const char *text,
                    const char *topic)
{
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        kafka_denied(err, sink->producer->client, code,
                     &(struct kafka_need){KAFKA_TOPIC, topic, RD_KAFKA_ACL_OPERATION_WRITE});
        return;
    }
    bailey_fail_native(err, kafka_error_kind(code), "kafka", code, "topic %.100s: %.110s", topic, text);
}

static rd_kafka_error_t *produce(struct kafka_sink *sink, struct bailey_delivery *delivery, rd_kafka_headers_t *headers,
                                 struct kafka_flight *flight)
{
    const struct bailey_message *msg = delivery->message;
    bool as_source = sink->settings->partition == KAFKA_BY_SOURCE && msg->origin.partition >= 0;
    rd_kafka_vu_t parts[7] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = flight->target->handle},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = as_source ? msg->origin.partition : RD_KAFKA_PARTITION_UA},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)msg->body.data, msg->body.len}},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)msg->key.data, msg->key.len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = kafka_map_timestamp(msg)},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = flight},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };

    return rd_kafka_produceva(sink->producer->client->rk, parts, headers != NULL ? 7 : 6);
}

/* False: the producer is full. */
static bool put(struct kafka_sink *sink, struct bailey_delivery *delivery, struct kafka_target *target,
                const struct record_headers *headers, size_t size)
{
    struct kafka_flight *flight = kafka_flight_new(sink, delivery, target, size);
    rd_kafka_error_t *error = produce(sink, delivery, headers->list, flight);
    struct bailey_error err;

    if (error == NULL) {
        sink->outstanding++;
        return true;
    }

    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool is_full = code == RD_KAFKA_RESP_ERR__QUEUE_FULL || code == RD_KAFKA_RESP_ERR__FATAL; /* error_cb follows */
    kafka_flight_free(sink->producer, flight);
    if (headers->list != NULL)
        rd_kafka_headers_destroy(headers->list); /* ours still, since it failed */
    if (!is_full) {
        explain(&err, sink, code, rd_kafka_error_string(error), rd_kafka_topic_name(target->handle));
        bailey_refuse(sink->port, delivery, &err);
    }
    rd_kafka_error_destroy(error);
    if (is_full && !sink->full) {
        sink->full = true;
        sink->full_since = bailey_now_ms(sink->host);
        sink->full_at = rd_kafka_outq_len(sink->producer->client->rk);
    }
    return !is_full;
}

static void refuse_too_large(struct kafka_sink *sink, struct bailey_delivery *delivery,
                             const struct kafka_target *target, size_t size)
{
    struct bailey_error err;
    char text[110];

    snprintf(text, sizeof text, "%zu bytes are too large: a record of %zu was refused alone", size,
             target->room.too_large);
    explain(&err, sink, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, text, rd_kafka_topic_name(target->handle));
    bailey_refuse(sink->port, delivery, &err);
}

/* False: not now. */
static bool send_one(struct kafka_sink *sink, struct bailey_delivery *delivery, struct bailey_message **scratch)
{
    struct bailey_error err;
    struct kafka_target *target = target_of(sink, delivery, &err);
    struct record_headers headers;
    enum room_answer answer;
    size_t size;

    if (target == NULL) {
        bailey_refuse(sink->port, delivery, &err);
        return true;
    }
    headers = headers_of(sink, delivery, scratch);
    size = bytes_size(delivery->message->key) + bytes_size(delivery->message->body) + headers.size;
    answer = room_ask(&target->room, size, bailey_now_ms(sink->host));
    if (answer == ROOM_GO)
        return put(sink, delivery, target, &headers, size);
    if (headers.list != NULL)
        rd_kafka_headers_destroy(headers.list);
    if (answer == ROOM_TOO_LARGE)
        refuse_too_large(sink, delivery, target, size);
    else
        sink->waits_for_reports = true; /* until others are back */
    return answer == ROOM_TOO_LARGE;
}

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct kafka_sink *sink = self;
    struct bailey_message *scratch = NULL;
    size_t taken = 0;

    while (taken < count && send_one(sink, batch[taken], &scratch))
        taken++;
    bailey_message_unref(scratch);
    return taken;
}

/* ---- Reports ---- */

static void confirm(struct kafka_sink *sink)
{
    size_t count = sink->confirmed_count;

    sink->confirmed_count = 0;
    if (count > 0)
        bailey_confirm(sink->port, sink->confirmed, count);
}

/* Its batch was too large. Was it this one? */
static bool is_to_blame(struct kafka_sink *sink, const struct kafka_flight *flight)
{
    struct room *room = &flight->target->room;

    switch (room_refused(room, flight->number, flight->size, bailey_now_ms(sink->host))) {
    case ROOM_TO_BLAME:
        return true;
    case ROOM_NARROWED:
        bailey_log(BAILEY_LOG_INFO, "kafka.batch_too_large", kv_str("route", sink->port->route),
                   kv_str("topic", rd_kafka_topic_name(flight->target->handle)), kv_u64("bytes_together", room->limit));
        return false;
    default:
        return false;
    }
}

/* Refused, but for another one's sake. */
static bool is_innocent(struct kafka_sink *sink, const struct kafka_flight *flight, rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return !is_to_blame(sink, flight);
    case RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD:
        return true;
    default:
        return false;
    }
}

static void refused(struct kafka_sink *sink, const struct kafka_flight *flight, const rd_kafka_message_t *record)
{
    struct bailey_delivery *delivery = flight->delivery;
    bool in_doubt = rd_kafka_message_status(record) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
    struct bailey_error err;

    switch (record->err) {
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
        bailey_hand_back(sink->port, &delivery, 1, in_doubt);
        return;
    default:
        break;
    }
    if (is_innocent(sink, flight, record->err)) {
        bailey_hand_back(sink->port, &delivery, 1, in_doubt);
        return;
    }
    /* Not rd_kafka_message_produce_errstr(): the broker's own words are freed before we are told (librdkafka 2.15.1,
     * rd_kafka_handle_Produce). */
    explain(&err, sink, record->err, rd_kafka_err2str(record->err), rd_kafka_topic_name(record->rkt));
    if (in_doubt && err.kind == BAILEY_ERR_TRANSIENT)
        bailey_hand_back(sink->port, &delivery, 1, true);
    else
        bailey_refuse(sink->port, delivery, &err);
}

void kafka_sink_report(struct kafka_sink *sink, struct kafka_flight *flight, const rd_kafka_message_t *record)
{
    sink->outstanding--;
    if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        refused(sink, flight, record);
        return;
    }
    room_taken(&flight->target->room, flight->size);
    sink->confirmed[sink->confirmed_count++] = flight->delivery;
    if (sink->confirmed_count == KAFKA_CONFIRM_MAX)
        confirm(sink);
}

void kafka_sink_reported(struct kafka_sink *sink)
{
    if (sink->confirmed_count > 0) {
        kafka_client_seen(sink->producer->client);
        confirm(sink);
    }
    if (sink->closing) {
        bailey_again(sink->host, &sink->step);
        return;
    }
    if (sink->waits_for_reports) {
        sink->waits_for_reports = false;
        bailey_writable(sink->port);
    }
    if (sink->full && rd_kafka_outq_len(sink->producer->client->rk) * 4 <= sink->full_at * 3) {
        sink->full = false;
        kafka_sink_show(sink);
        bailey_writable(sink->port);
    } else if (!sink->shown_up) {
        kafka_sink_show(sink);
    }
}

/* ---- Life ---- */

static void finish(struct kafka_sink *sink)
{
    struct bailey_port *port = sink->port;

    bailey_again_stop(sink->host, &sink->step);
    bailey_timer_stop(sink->host, &sink->later);
    if (sink->constant_target != NULL)
        sink->constant_target->users--;
    kafka_producer_leave(sink);
    free(sink->constant_name);
    free(sink);
    bailey_closed(port);
}

static void step_close(struct kafka_sink *sink)
{
    struct kafka_producer *producer = sink->producer;
    int64_t now = bailey_now_ms(sink->host);
    bool hopeless = producer->broker == NULL || producer->away[0] != '\0' || now >= sink->deadline;

    if (sink->outstanding > 0 && hopeless && !producer->purged &&
        (producer->broker == NULL || producer->sink_count == 1)) {
        kafka_producer_retire(producer);
        kafka_producer_purge(producer);
        sink->deadline = now + PURGE_MS;
        hopeless = false;
    }
    if (sink->outstanding > 0 && hopeless && now >= sink->deadline)
        kafka_flights_orphan(sink);
    if (sink->outstanding == 0)
        finish(sink);
    else
        bailey_timer_start(sink->host, &sink->later, sink->deadline > now ? sink->deadline - now : 0);
}

static void on_step(struct bailey_task *task)
{
    step_close(task->ctx);
}

static void on_later(struct bailey_timer *timer)
{
    step_close(timer->ctx);
}

static void sink_close(void *self)
{
    struct kafka_sink *sink = self;

    sink->closing = true;
    sink->deadline = bailey_now_ms(sink->host) + WAIT_MS;
    kafka_topics_stop(&sink->topics);
    bailey_again(sink->host, &sink->step);
}

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    const struct kafka_sink_settings *wanted = settings;
    bool constant = wanted->topic->slot < 0;
    struct kafka_settings_key key = {
        .linger_ms = wanted->linger_ms,
        .max_message_size = wanted->max_message_size,
        .compression = wanted->compression,
        .auto_create = wanted->declare.mode == BAILEY_DECLARE_NEVER ||
                       (wanted->declare.mode == BAILEY_DECLARE_CREATE && !constant),
    };
    struct kafka_sink *sink = kafka_alloc(1, sizeof *sink);

    sink->settings = wanted;
    sink->port = port;
    sink->host = port->host;
    sink->step = (struct bailey_task){.run = on_step, .ctx = sink};
    sink->later = (struct bailey_timer){.fire = on_later, .ctx = sink};
    if (kafka_producer_join(broker, sink, &key, err) == NULL) {
        free(sink);
        return false;
    }
    if (constant) {
        sink->constant_name = strndup((const char *)wanted->topic->constant.data, wanted->topic->constant.len);
        sink->constant_target = kafka_producer_target(sink->producer, sink->constant_name, strlen(sink->constant_name));
        assert(sink->constant_target != NULL); /* `check` has seen to that */
        sink->constant_target->users++;
    }
    sink->topics = (struct kafka_topics){
        .client = sink->producer->client,
        .names = (const char *const *)&sink->constant_name,
        .count = constant ? 1 : 0,
        .declare = &wanted->declare,
        .operation = RD_KAFKA_ACL_OPERATION_WRITE,
        .ready = topic_ready,
        .missing = topic_missing,
        .ctx = sink,
    };
    kafka_topics_start(&sink->topics);
    *self = sink;
    return true;
}

const struct bailey_sink kafka_sink = {
    .settings_size = sizeof(struct kafka_sink_settings),
    .options = kafka_sink_options,
    .open = sink_open,
    .send = sink_send,
    .close = sink_close,
};
