/* What lies in the topic of a sink, once: for dead letters.
 *
 *     topic there? → (a job) its partitions and their ends → learn → (a job) stop → hand over → finished
 *
 * Nothing can be taken out of a log: a record is removed by a later one with its key and no body, a tombstone, and counts as removed from
 * then on, here; the broker deletes it when it compacts the topic, or with its retention. So all is read twice, up to where the
 * partitions ended when it was opened: the first time to learn which record is the newest of its key (newest.h), the
 * second to hand over those that are and that no tombstone has removed. What comes later is not part of it.
 *
 * The consumer has no group: it reads partitions by their number, commits nothing, and nobody can see it. Each reading has a
 * queue of its own, so that nothing of the first is met in the second.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "kafka_acl.h"
#include "kafka_conf.h"
#include "kafka_record.h"
#include "kafka_topics.h"
#include "newest.h"

enum { ASK_MS = 3000, CLOSE_MS = 4000, SLICE = 500 };
enum { REMOVALS_MAX = 10000 /* under way, before more is handed over */ };

enum phase { ASKING, LEARNING, HANDING, FINISHED };

struct part {
    int64_t low, end;
    bool is_read, done;
};

/* A message that was handed over: what removes it. */
struct out {
    struct shelf *shelf;
    size_t place; /* in `outs` */
    int32_t partition;
    int64_t offset;
    bool has_key, is_settled;
    size_t len;
    uint8_t key[];
};

struct shelf {
    struct bailey_port *port;
    struct bailey_host *host;
    char *topic;
    enum phase phase;
    struct kafka_client *reader, *remover; /* no remover if it only looks */
    rd_kafka_topic_t *read_topic;
    struct kafka_topics topics;
    struct kafka_declare declare;
    struct kafka_request *policy;
    struct bailey_task step;
    struct bailey_timer limit;

    struct bailey_job job;
    bool is_busy; /* the job runs: `parts` and `code` are its own */
    atomic_bool is_hurried;
    rd_kafka_resp_err_t code;
    struct part *parts;
    int32_t part_count, left; /* partitions, and those that are not read to their end */
    bool is_reading;          /* librdkafka reads them */

    struct newest newest;
    int64_t keyless, remaining;

    uint32_t group; /* of this life's messages; their position is a place in `outs` */
    struct out **outs;
    size_t *free_places, free_count, out_count;
    size_t removals; /* tombstones without a report */
    int64_t failures;
    int64_t deadline; /* while closing */
    bool told_keyless, draining, tell_drained, closing, failed;
};

static void fail(struct shelf *shelf, const struct bailey_error *err)
{
    if (shelf->failed || shelf->closing)
        return;
    shelf->failed = true;
    bailey_down(shelf->port, err);
}

static void fail_by(struct shelf *shelf, rd_kafka_resp_err_t code, const char *text)
{
    struct bailey_error err;

    if (kafka_is_denial(code))
        kafka_denied(&err, shelf->reader, code,
                     &(struct kafka_need){KAFKA_TOPIC, shelf->topic, RD_KAFKA_ACL_OPERATION_READ});
    else
        bailey_fail_native(&err, kafka_error_kind(code), "kafka", code, "cannot read topic %.100s: %.110s",
                           shelf->topic, text);
    fail(shelf, &err);
}

/* ---- What is out ---- */

static void add_places(struct shelf *shelf)
{
    size_t more = shelf->out_count == 0 ? 256 : shelf->out_count;

    shelf->outs = realloc(shelf->outs, (shelf->out_count + more) * sizeof(struct out *));
    shelf->free_places = realloc(shelf->free_places, (shelf->out_count + more) * sizeof *shelf->free_places);
    if (shelf->outs == NULL || shelf->free_places == NULL)
        abort(); /* the lane's credit is what bounds it */
    for (size_t i = 0; i < more; i++) {
        shelf->outs[shelf->out_count] = NULL;
        shelf->free_places[shelf->free_count++] = shelf->out_count++;
    }
}

static struct out *out_new(struct shelf *shelf, const rd_kafka_message_t *record)
{
    struct out *out = kafka_alloc(1, sizeof *out + record->key_len);

    if (shelf->free_count == 0)
        add_places(shelf);
    out->shelf = shelf;
    out->place = shelf->free_places[--shelf->free_count];
    out->partition = record->partition;
    out->offset = record->offset;
    out->has_key = record->key != NULL;
    out->len = record->key_len;
    if (record->key_len > 0)
        memcpy(out->key, record->key, record->key_len);
    shelf->outs[out->place] = out;
    return out;
}

static void out_free(struct out *out)
{
    struct shelf *shelf = out->shelf;

    shelf->outs[out->place] = NULL;
    shelf->free_places[shelf->free_count++] = out->place;
    free(out);
}

static struct out *out_of(const struct shelf *shelf, const struct bailey_settlement *ended)
{
    bool is_ours = ended->group == shelf->group && ended->position < shelf->out_count;
    struct out *out = is_ours ? shelf->outs[ended->position] : NULL;

    return out == NULL || out->is_settled ? NULL : out;
}

/* ---- Removing ---- */

/* The first one is told, and at the end how many there were. */
static void not_removed(struct shelf *shelf, const struct out *out, rd_kafka_resp_err_t code, const char *text)
{
    struct bailey_error err;

    if (shelf->failures++ > 0)
        return;
    if (kafka_is_denial(code))
        kafka_denied(&err, shelf->remover, code,
                     &(struct kafka_need){KAFKA_TOPIC, shelf->topic, RD_KAFKA_ACL_OPERATION_WRITE});
    else
        bailey_fail_native(&err, kafka_error_kind(code), "kafka", code, "%s", text);
    bailey_log(BAILEY_LOG_ERROR, "shelf.not_removed", kv_str("route", shelf->port->route),
               kv_str("topic", shelf->topic), kv_i64("partition", out->partition), kv_i64("offset", out->offset),
               kv_error(&err));
}

static void cannot_remove(struct shelf *shelf, const struct out *out)
{
    if (shelf->told_keyless)
        return;
    shelf->told_keyless = true;
    bailey_log(BAILEY_LOG_WARN, "shelf.cannot_remove", kv_str("route", shelf->port->route),
               kv_str("topic", shelf->topic), kv_i64("partition", out->partition), kv_i64("offset", out->offset),
               kv_str("reason", "a record without a key can be removed by no tombstone"));
}

/* Send a record with its key and no body to its partition. */
static void remove_record(struct shelf *shelf, struct out *out)
{
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = shelf->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = out->partition},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {out->key, out->len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = out},
    };
    rd_kafka_error_t *error = rd_kafka_produceva(shelf->remover->rk, parts, sizeof parts / sizeof *parts);

    if (error == NULL) {
        shelf->removals++; /* until its report */
        return;
    }
    not_removed(shelf, out, rd_kafka_error_code(error), rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    out_free(out);
}

static void shelf_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct shelf *shelf = self;

    for (size_t i = 0; i < count && shelf->remover != NULL; i++) {
        struct out *out = out_of(shelf, &ended[i]);

        if (out == NULL)
            continue; /* of a former life */
        out->is_settled = true;
        if (ended[i].outcome == BAILEY_ACCEPTED && out->has_key) {
            remove_record(shelf, out);
            continue;
        }
        if (ended[i].outcome == BAILEY_ACCEPTED)
            cannot_remove(shelf, out);
        out_free(out);
    }
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *record, void *opaque)
{
    struct out *out = record->_private;
    struct shelf *shelf = out->shelf;

    (void)rk, (void)opaque;
    shelf->removals--;
    if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        not_removed(shelf, out, record->err, rd_kafka_err2str(record->err));
    out_free(out);
}

/* ---- Jobs ---- */

static void job_start(struct shelf *shelf, void (*work)(struct bailey_job *job), void (*done)(struct bailey_job *job))
{
    assert(!shelf->is_busy);
    shelf->is_busy = true;
    shelf->job = (struct bailey_job){.work = work, .done = done, .ctx = shelf};
    bailey_job_start(shelf->host, &shelf->job);
}

/* True: the shelf goes on. */
static bool job_ended(struct shelf *shelf)
{
    shelf->is_busy = false;
    if (shelf->closing)
        bailey_again(shelf->host, &shelf->step);
    return !shelf->closing && !shelf->failed;
}

/* On a helper thread. */
static void measure(struct bailey_job *job)
{
    struct shelf *shelf = job->ctx;
    const struct rd_kafka_metadata *found;

    shelf->code = rd_kafka_metadata(shelf->reader->rk, 0, shelf->read_topic, &found, ASK_MS);
    if (shelf->code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    if (found->topic_cnt == 1) {
        shelf->code = found->topics[0].err;
        shelf->part_count = found->topics[0].partition_cnt;
    }
    rd_kafka_metadata_destroy(found);
    shelf->parts = kafka_alloc((size_t)shelf->part_count + 1, sizeof *shelf->parts);
    for (int32_t i = 0; i < shelf->part_count && shelf->code == RD_KAFKA_RESP_ERR_NO_ERROR && !shelf->is_hurried; i++)
        shelf->code = rd_kafka_query_watermark_offsets(shelf->reader->rk, shelf->topic, i, &shelf->parts[i].low,
                                                       &shelf->parts[i].end, ASK_MS);
}

/* On a helper thread: each waits for a thread of librdkafka's. */
static void stop_reading(struct bailey_job *job)
{
    struct shelf *shelf = job->ctx;

    for (int32_t i = 0; i < shelf->part_count; i++)
        if (shelf->parts[i].is_read)
            rd_kafka_consume_stop(shelf->read_topic, i);
}

/* ---- Reading ---- */

static void finish(struct shelf *shelf)
{
    shelf->phase = FINISHED;
    bailey_finished(shelf->port);
}

static void begin_queue(struct shelf *shelf)
{
    static const uint64_t one = 1;
    struct kafka_client *reader = shelf->reader;

    if (reader->consumer != NULL) {
        rd_kafka_queue_io_event_enable(reader->consumer, -1, NULL, 0);
        rd_kafka_queue_destroy(reader->consumer);
    }
    reader->consumer = rd_kafka_queue_new(reader->rk);
    rd_kafka_queue_io_event_enable(reader->consumer, reader->waker.fd, &one, sizeof one);
}

/* From the beginning; what is empty is not read. */
static void begin_reading(struct shelf *shelf, enum phase phase)
{
    shelf->phase = phase;
    shelf->left = 0;
    shelf->is_reading = true;
    begin_queue(shelf);
    for (int32_t i = 0; i < shelf->part_count; i++) {
        struct part *part = &shelf->parts[i];

        part->done = part->low >= part->end;
        part->is_read = !part->done && rd_kafka_consume_start_queue(shelf->read_topic, i, RD_KAFKA_OFFSET_BEGINNING,
                                                                    shelf->reader->consumer) == 0;
        if (!part->done && !part->is_read) {
            fail_by(shelf, rd_kafka_last_error(), rd_kafka_err2str(rd_kafka_last_error()));
            return;
        }
        shelf->left += part->is_read;
    }
    kafka_client_again(shelf->reader);
}

static void stopped(struct bailey_job *job)
{
    struct shelf *shelf = job->ctx;

    shelf->is_reading = false;
    if (job_ended(shelf))
        begin_reading(shelf, HANDING);
}

static void reading_ended(struct shelf *shelf)
{
    if (shelf->phase == HANDING) {
        finish(shelf);
        return;
    }
    shelf->remaining = shelf->newest.live + shelf->keyless;
    bailey_lag(shelf->port, shelf->remaining);
    if (shelf->remaining == 0)
        finish(shelf);
    else
        job_start(shelf, stop_reading, stopped);
}

static void part_reached(struct shelf *shelf, int32_t number, int64_t next)
{
    struct part *part = &shelf->parts[number];

    if (part->done || next < part->end)
        return;
    part->done = true;
    shelf->left--;
}

static struct bailey_bytes key_of(const rd_kafka_message_t *record)
{
    return (struct bailey_bytes){record->key, record->key_len};
}

static void learn(struct shelf *shelf, const rd_kafka_message_t *record)
{
    struct bailey_error err;

    if (record->key == NULL) {
        shelf->keyless += record->payload != NULL;
        return;
    }
    if (newest_note(&shelf->newest, record->partition, key_of(record), record->offset, record->payload == NULL))
        return;
    bailey_fail(&err, BAILEY_ERR_CONFIG, "topic %.100s holds more than %d keys: too many to read it back", shelf->topic,
                NEWEST_MAX);
    bailey_hint(&err, "let the broker compact it: cleanup.policy=compact deletes what was removed");
    fail(shelf, &err);
}

/* Takes the record, or leaves it: NULL. */
static struct bailey_message *to_message(struct shelf *shelf, rd_kafka_message_t *record)
{
    struct bailey_message *msg;

    if (record->payload == NULL ||
        (record->key != NULL && !newest_is(&shelf->newest, record->partition, key_of(record), record->offset)))
        return NULL;
    shelf->remaining--;
    msg = kafka_record_message(shelf->reader, shelf->port, record);
    msg->group = shelf->group;
    msg->position = shelf->remover != NULL ? out_new(shelf, record)->place : (uint64_t)record->offset;
    return msg;
}

static void read_error(struct shelf *shelf, const rd_kafka_message_t *record)
{
    if (record->err == RD_KAFKA_RESP_ERR__FATAL)
        kafka_client_fatal(shelf->reader);
    else if (kafka_is_denial(record->err) || kafka_error_kind(record->err) == BAILEY_ERR_CONFIG)
        fail_by(shelf, record->err, rd_kafka_message_errstr(record));
    else
        bailey_log(BAILEY_LOG_WARN, "kafka.consumer_error", kv_str("route", shelf->port->route),
                   kv_str("topic", shelf->topic), kv_str("reason", rd_kafka_message_errstr(record)));
}

/* The message, if the record is one that is handed over now. Takes the record. */
static struct bailey_message *read_record(struct shelf *shelf, rd_kafka_message_t *record)
{
    bool is_end = record->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    struct bailey_message *msg = NULL;
    int32_t partition = record->partition;
    int64_t next = is_end ? record->offset : record->offset + 1;

    if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR && !is_end) {
        read_error(shelf, record);
    } else if (partition >= 0 && partition < shelf->part_count) {
        if (!is_end && record->offset < shelf->parts[partition].end && shelf->phase == LEARNING)
            learn(shelf, record);
        else if (!is_end && record->offset < shelf->parts[partition].end && !shelf->draining)
            msg = to_message(shelf, record);
        part_reached(shelf, partition, next);
    }
    if (msg == NULL)
        rd_kafka_message_destroy(record);
    return msg;
}

static bool is_reading(const struct shelf *shelf)
{
    return shelf->is_reading && !shelf->is_busy && shelf->left > 0 && !shelf->closing && !shelf->failed &&
           !(shelf->phase == HANDING && shelf->draining);
}

static bool read_slice(struct shelf *shelf, size_t limit)
{
    rd_kafka_message_t *records[SLICE];
    struct bailey_message *batch[SLICE];
    ssize_t count = rd_kafka_consume_batch_queue(shelf->reader->consumer, 0, records, limit);
    size_t accepted = 0;

    for (ssize_t i = 0; i < count; i++) {
        struct bailey_message *msg = read_record(shelf, records[i]);

        if (msg != NULL)
            batch[accepted++] = msg;
    }
    if (accepted > 0)
        bailey_receive(shelf->port, batch, accepted);
    return count == (ssize_t)limit;
}

static bool on_read(void *ctx)
{
    struct shelf *shelf = ctx;
    size_t limit = SLICE;
    bool more;

    if (!is_reading(shelf))
        return false;
    if (shelf->phase == HANDING) {
        size_t room = shelf->removals < REMOVALS_MAX ? bailey_room(shelf->port) : 0;

        if (room == 0)
            return false; /* resume(), or the reports, come */
        limit = room < limit ? room : limit;
    }
    more = read_slice(shelf, limit);
    if (shelf->failed || shelf->closing)
        return false;
    if (shelf->phase == HANDING)
        bailey_lag(shelf->port, shelf->remaining);
    if (shelf->left == 0)
        reading_ended(shelf);
    return more;
}

static void shelf_resume(void *self)
{
    struct shelf *shelf = self;

    if (!shelf->closing)
        kafka_client_again(shelf->reader);
}

/* Reports were served. */
static bool on_removed(void *ctx)
{
    struct shelf *shelf = ctx;

    if (shelf->closing)
        bailey_again(shelf->host, &shelf->step);
    else if (shelf->phase == HANDING && shelf->removals < REMOVALS_MAX)
        kafka_client_again(shelf->reader);
    return false;
}

/* ---- Before it ---- */

/* Does the broker delete what is removed? */
static void policy_answered(void *ctx, rd_kafka_event_t *event)
{
    struct shelf *shelf = ctx;
    const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
    size_t resources = 0, count = 0;
    const rd_kafka_ConfigResource_t **each =
        result == NULL ? NULL : rd_kafka_DescribeConfigs_result_resources(result, &resources);
    const rd_kafka_ConfigEntry_t **entries = resources == 0 ? NULL : rd_kafka_ConfigResource_configs(each[0], &count);
    char hint[800];

    shelf->policy = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);

        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "cleanup.policy") != 0 || value == NULL ||
            strstr(value, "compact") != NULL)
            continue;
        snprintf(hint, sizeof hint,
                 "what is removed stays in the log until its retention ends: kafka-configs.sh --bootstrap-server "
                 "%.200s --alter "
                 "--topic %s --add-config cleanup.policy=compact",
                 shelf->reader->servers[0], shelf->topic);
        bailey_log(BAILEY_LOG_WARN, "shelf.not_compacted", kv_str("route", shelf->port->route),
                   kv_str("topic", shelf->topic), kv_str("policy", value), kv_str("hint", hint));
    }
}

static void ask_policy(struct shelf *shelf)
{
    rd_kafka_t *rk = shelf->reader->rk;
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_ConfigResource_t *topic = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, shelf->topic);

    shelf->policy = kafka_request_new(shelf->reader, options, ASK_MS, policy_answered, shelf);
    rd_kafka_DescribeConfigs(rk, &topic, 1, options, shelf->reader->results);
    rd_kafka_ConfigResource_destroy(topic);
    rd_kafka_AdminOptions_destroy(options);
}

static void measured(struct bailey_job *job)
{
    struct shelf *shelf = job->ctx;

    if (!job_ended(shelf))
        return;
    if (shelf->code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fail_by(shelf, shelf->code, rd_kafka_err2str(shelf->code));
        return;
    }
    if (shelf->remover != NULL)
        ask_policy(shelf);
    bailey_up(shelf->port);
    begin_reading(shelf, LEARNING);
    if (!shelf->failed && shelf->left == 0)
        reading_ended(shelf);
}

static void topic_ready(void *ctx)
{
    struct shelf *shelf = ctx;

    if (!shelf->failed && !shelf->closing)
        job_start(shelf, measure, measured);
}

static void topic_missing(void *ctx, const struct bailey_error *err)
{
    fail(ctx, err);
}

static void on_reachable(void *ctx, const char *reason)
{
    struct shelf *shelf = ctx;

    if (shelf->failed || shelf->closing)
        return;
    if (reason != NULL)
        bailey_held(shelf->port, reason);
    else if (shelf->phase != ASKING)
        bailey_up(shelf->port);
}

static void on_failed(void *ctx, const struct bailey_error *err)
{
    fail(ctx, err);
}

/* ---- Life ---- */

static void shelf_free(struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->out_count; i++)
        free(shelf->outs[i]);
    newest_clear(&shelf->newest);
    free(shelf->outs);
    free(shelf->free_places);
    free(shelf->parts);
    free(shelf->topic);
    free(shelf);
}

static void say_what_stayed(const struct shelf *shelf)
{
    if (shelf->failures > 1 || shelf->removals > 0)
        bailey_log(BAILEY_LOG_ERROR, "shelf.not_removed", kv_str("route", shelf->port->route),
                   kv_str("topic", shelf->topic), kv_i64("failed", shelf->failures),
                   kv_u64("without_answer", shelf->removals));
}

static void end(struct shelf *shelf)
{
    struct bailey_port *port = shelf->port;

    say_what_stayed(shelf);
    bailey_not_removed(port, shelf->failures + (int64_t)shelf->removals);
    bailey_again_stop(shelf->host, &shelf->step);
    bailey_timer_stop(shelf->host, &shelf->limit);
    rd_kafka_topic_destroy(shelf->read_topic);
    kafka_client_free(shelf->reader, NULL, NULL);
    if (shelf->remover != NULL)
        kafka_client_free(shelf->remover, NULL, NULL);
    shelf_free(shelf);
    bailey_closed(port);
}

/* removals → reading stopped → end. */
static void step_close(struct shelf *shelf)
{
    int64_t now = bailey_now_ms(shelf->host);

    if (shelf->is_busy)
        return;
    if (shelf->removals > 0 && now < shelf->deadline && !shelf->remover->failed)
        bailey_timer_start(shelf->host, &shelf->limit, shelf->deadline - now);
    else if (shelf->is_reading)
        job_start(shelf, stop_reading, stopped);
    else
        end(shelf);
}

/* What must not be done from within a call of the gateway's. */
static void on_step(struct bailey_task *task)
{
    struct shelf *shelf = task->ctx;

    if (shelf->tell_drained) {
        shelf->tell_drained = false;
        bailey_drained(shelf->port);
    }
    if (shelf->closing)
        step_close(shelf);
}

static void on_limit(struct bailey_timer *timer)
{
    step_close(timer->ctx);
}

static void shelf_drain(void *self)
{
    struct shelf *shelf = self;

    shelf->draining = shelf->tell_drained = true;
    bailey_again(shelf->host, &shelf->step);
}

static void shelf_close(void *self)
{
    struct shelf *shelf = self;

    shelf->closing = true;
    shelf->is_hurried = true;
    shelf->deadline = bailey_now_ms(shelf->host) + CLOSE_MS;
    kafka_topics_stop(&shelf->topics);
    kafka_request_cancel(shelf->policy);
    bailey_again(shelf->host, &shelf->step);
}

/* ---- Opening ---- */

static struct kafka_client *open_reader(struct shelf *shelf, const struct kafka_broker *broker,
                                        struct bailey_error *err)
{
    static const struct kafka_client_ops ops = {.serve = on_read, .reachable = on_reachable, .failed = on_failed};
    rd_kafka_conf_t *conf = kafka_conf_new(broker->settings, err);

    if (conf == NULL)
        return NULL;
    if (!kafka_conf_set(conf, "enable.auto.commit", "false", err) ||
        !kafka_conf_set(conf, "enable.auto.offset.store", "false", err) ||
        !kafka_conf_set(conf, "auto.offset.reset", "earliest", err) ||
        !kafka_conf_set(conf, "enable.partition.eof", "true", err) ||
        !kafka_conf_default(conf, broker->settings, "queued.max.messages.kbytes", "16384", err) ||
        !kafka_conf_default(conf, broker->settings, "fetch.queue.backoff.ms", "20", err) ||
        !kafka_conf_default(conf, broker->settings, "fetch.max.bytes", "8388608", err)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    return kafka_client_new(broker, conf, RD_KAFKA_CONSUMER, &ops, shelf, err);
}

static struct kafka_client *open_remover(struct shelf *shelf, const struct kafka_broker *broker,
                                         struct bailey_error *err)
{
    static const struct kafka_client_ops ops = {.serve = on_removed, .reachable = on_reachable, .failed = on_failed};
    rd_kafka_conf_t *conf = kafka_conf_new(broker->settings, err);

    if (conf == NULL)
        return NULL;
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    if (!kafka_conf_set(conf, "enable.idempotence", "true", err) || !kafka_conf_set(conf, "acks", "all", err) ||
        !kafka_conf_set(conf, "message.timeout.ms", "0", err) || /* for ever: close() bounds it */
        !kafka_conf_set(conf, "allow.auto.create.topics", "false", err) ||
        !kafka_conf_set(conf, "queue.buffering.max.messages", "1000000", err)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    return kafka_client_new(broker, conf, RD_KAFKA_PRODUCER, &ops, shelf, err);
}

static void ask_for_topic(struct shelf *shelf)
{
    shelf->declare = (struct kafka_declare){.mode = BAILEY_DECLARE_ASSERT};
    shelf->topics = (struct kafka_topics){
        .client = shelf->reader,
        .names = (const char *const *)&shelf->topic,
        .count = 1,
        .declare = &shelf->declare,
        .operation = RD_KAFKA_ACL_OPERATION_READ,
        .ready = topic_ready,
        .missing = topic_missing,
        .ctx = shelf,
    };
    kafka_topics_start(&shelf->topics);
}

static bool shelf_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                       struct bailey_error *err)
{
    const struct kafka_sink_settings *sink = settings;
    struct shelf *shelf;

    if (sink->topic->slot >= 0) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the sink names no one topic: it is made of each message");
        return bailey_hint(err, "name a `topic` without ${...}");
    }
    shelf = kafka_alloc(1, sizeof *shelf);
    shelf->port = port;
    shelf->host = port->host;
    shelf->group = (uint32_t)bailey_random(port->host); /* so that a group of a former life is not met again */
    shelf->step = (struct bailey_task){.run = on_step, .ctx = shelf};
    shelf->limit = (struct bailey_timer){.fire = on_limit, .ctx = shelf};
    shelf->topic = strndup((const char *)sink->topic->constant.data, sink->topic->constant.len);
    shelf->reader = open_reader(shelf, broker, err);
    if (shelf->reader == NULL) {
        shelf_free(shelf);
        return false;
    }
    shelf->remover = port->only_looks ? NULL : open_remover(shelf, broker, err);
    if (!port->only_looks && shelf->remover == NULL) {
        kafka_client_free(shelf->reader, NULL, NULL);
        shelf_free(shelf);
        return false;
    }
    shelf->read_topic = rd_kafka_topic_new(shelf->reader->rk, shelf->topic, NULL);
    ask_for_topic(shelf);
    *self = shelf;
    return true;
}

const struct bailey_source kafka_shelf = {
    .open = shelf_open,
    .resume = shelf_resume,
    .settle = shelf_settle,
    .drain = shelf_drain,
    .close = shelf_close,
};
