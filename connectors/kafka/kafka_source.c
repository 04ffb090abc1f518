/* kafka_source.c: a lane's consumer: from fetched records to messages, and from settlements to watermarks.
 *
 * Messages are views into librdkafka's fetch buffer; the message keeps its record until the last reference goes. The queue
 * is read in slices of KAFKA_SLICE, never more than the lane has room for. With no room it is not read at all; after
 * BLOCKED_MS of that the partitions are paused, so that the queue (rebalances, errors) can be served without messages:
 * this also keeps max.poll.interval.ms. Life: ask whether the topics exist → subscribe → run → commit → leave → end.
 */
#include "kafka_source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "kafka_acl.h"
#include "kafka_conf.h"
#include "kafka_record.h"

enum { BLOCKED_MS = 5000, TICK_MS = 1000, CLOSE_COMMIT_MS = 3000, CLOSE_LEAVE_MS = 2000 };

/* ---- State ---- */

void kafka_source_show(struct kafka_source *source, const char *reason)
{
    if (source->failed || source->closing)
        return;
    if (reason != NULL) {
        source->up = false;
        bailey_held(source->port, reason);
    } else if (!source->up && source->assigned && !source->client->away) {
        source->up = true;
        kafka_client_seen(source->client);
        bailey_up(source->port);
    }
}

void kafka_source_fail(struct kafka_source *source, const struct bailey_error *err)
{
    if (source->failed || source->closing)
        return;
    source->failed = true;
    bailey_down(source->port, err);
}

static void on_reachable(void *ctx, const char *reason)
{
    kafka_source_show(ctx, reason);
}

static void on_failed(void *ctx, const struct bailey_error *err)
{
    kafka_source_fail(ctx, err);
}

/* ---- Receiving ---- */

static struct bailey_message *to_message(struct kafka_source *source, struct kafka_part *part,
                                         rd_kafka_message_t *record)
{
    struct bailey_message *msg = kafka_record_message(source->client, source->port, record);

    msg->redelivered = takeover_marks(&part->takeover, record->offset);
    msg->group = part->group;
    msg->position = (uint64_t)record->offset;
    return msg;
}

static void consumer_error(struct kafka_source *source, const rd_kafka_message_t *record)
{
    const char *topic = record->rkt != NULL ? rd_kafka_topic_name(record->rkt) : NULL;
    struct bailey_error err;

    switch (record->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        kafka_offset_lost(source, record);
        return;
    case RD_KAFKA_RESP_ERR__FATAL:
        kafka_client_fatal(source->client);
        return;
    default:
        break;
    }
    if (kafka_is_denial(record->err)) {
        bool of_topic = record->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;

        kafka_denied(&err, source->client, record->err,
                     &(struct kafka_need){of_topic ? KAFKA_TOPIC : KAFKA_GROUP, of_topic ? topic : source->group,
                                          RD_KAFKA_ACL_OPERATION_READ});
        kafka_source_fail(source, &err);
        return;
    }
    if (kafka_error_kind(record->err) == BAILEY_ERR_CONFIG &&
        !(record->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
          source->settings->declare.mode == BAILEY_DECLARE_NEVER)) {
        bailey_fail_native(&err, BAILEY_ERR_CONFIG, "kafka", record->err, "cannot consume%s%.80s: %.120s",
                           topic != NULL ? " from " : "", topic != NULL ? topic : "", rd_kafka_message_errstr(record));
        kafka_source_fail(source, &err);
        return;
    }
    bailey_log(BAILEY_LOG_WARN, "kafka.consumer_error", kv_str("route", source->port->route), kv_str("topic", topic),
               kv_str("reason", rd_kafka_message_errstr(record)));
}

/* Turn records into messages; those that are not ours to give out are dropped, and so never committed. */
static size_t accept_records(struct kafka_source *source, rd_kafka_message_t **records, size_t count,
                             struct bailey_message **batch)
{
    size_t accepted = 0;

    for (size_t i = 0; i < count; i++) {
        rd_kafka_message_t *record = records[i];
        struct kafka_part *part = NULL;

        if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            consumer_error(source, record);
        else
            part = kafka_part_find(source, record->rkt, record->partition);
        if (part != NULL && !part->revoking && !source->draining && !source->closing && !source->failed &&
            watermark_add(&part->mark, record->offset))
            batch[accepted++] = to_message(source, part, record);
        else
            rd_kafka_message_destroy(record);
    }
    return accepted;
}

static bool read_slice(struct kafka_source *source, size_t limit)
{
    rd_kafka_message_t *records[KAFKA_SLICE];
    struct bailey_message *batch[KAFKA_SLICE];
    ssize_t count = rd_kafka_consume_batch_queue(source->client->consumer, 0, records, limit);
    size_t accepted;

    if (count < 0)
        return false;
    accepted = accept_records(source, records, (size_t)count, batch);
    if (accepted > 0) {
        kafka_client_seen(source->client);
        bailey_receive(source->port, batch, accepted);
    }
    return (size_t)count == limit;
}

static void go_on(struct kafka_source *source);

/* One slice of the consumer's queue. */
static bool on_serve(void *ctx)
{
    struct kafka_source *source = ctx;
    size_t limit = KAFKA_SLICE;
    bool more;

    /* Without partitions, paused, draining or closing: what comes is no message (or is dropped): served freely. */
    if (source->part_count > 0 && !source->paused && !source->draining && !source->closing && !source->failed) {
        size_t room = bailey_room(source->port);

        if (room == 0) {
            if (source->blocked_since == 0)
                source->blocked_since = bailey_now_ms(source->host);
            return false; /* resume() comes, or the tick pauses */
        }
        limit = room < limit ? room : limit;
    }
    source->blocked_since = 0;
    more = read_slice(source, limit);
    go_on(source);
    return more;
}

static void source_resume(void *self)
{
    struct kafka_source *source = self;

    if (source->closing)
        return;
    source->blocked_since = 0;
    if (source->paused && !source->draining)
        kafka_resume(source);
    kafka_client_again(source->client);
}

/* ---- Settling ---- */

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct kafka_source *source = self;
    bool drained = false;

    for (size_t i = 0; i < count; i++) {
        struct kafka_part *part = kafka_part_of_group(source, ended[i].group);

        if (part == NULL)
            continue; /* of an assignment that is gone: its next owner does it again */
        if (ended[i].outcome == BAILEY_ACCEPTED || ended[i].outcome == BAILEY_REJECTED)
            watermark_settle(&part->mark, (int64_t)ended[i].position);
        if (part->revoking && part->out > 0) {
            part->out--;
            drained |= --source->draining_out == 0;
        }
    }
    if (drained)
        bailey_again(source->host, &source->step);
}

/* ---- Life ---- */

static void subscribe(void *ctx)
{
    struct kafka_source *source = ctx;
    const struct bailey_list *topics = &source->settings->topics;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)topics->count);
    struct bailey_error err;
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < topics->count; i++)
        rd_kafka_topic_partition_list_add(list, topics->items[i], RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(source->client->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    source->phase = SOURCE_RUNNING;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        bailey_fail_native(&err, BAILEY_ERR_CONFIG, "kafka", code, "cannot subscribe: %s", rd_kafka_err2str(code));
        kafka_source_fail(source, &err);
    }
}

static void topic_missing(void *ctx, const struct bailey_error *err)
{
    kafka_source_fail(ctx, err);
}

static int64_t tick_ms(const struct kafka_source *source)
{
    int64_t commit_ms = source->settings->commit_interval_ms;

    return commit_ms < TICK_MS ? commit_ms : TICK_MS;
}

static void on_tick(struct bailey_timer *timer)
{
    struct kafka_source *source = timer->ctx;
    int64_t now = bailey_now_ms(source->host);

    if (now >= source->next_commit) {
        source->next_commit = now + source->settings->commit_interval_ms;
        kafka_commit(source);
    }
    if (source->phase == SOURCE_RUNNING && !source->closing)
        kafka_report_lag(source);
    if (!source->paused && source->blocked_since != 0 && now - source->blocked_since >= BLOCKED_MS)
        kafka_pause(source);
    if (source->paused || source->closing || source->rebalance != REBALANCE_NONE)
        kafka_client_again(source->client);
    go_on(source);
    bailey_timer_start(source->host, &source->tick, tick_ms(source));
}

static void source_drain(void *self)
{
    struct kafka_source *source = self;

    source->draining = true;
    kafka_topics_stop(&source->topics);
    kafka_pause(source);
    kafka_client_again(source->client);
    bailey_again(source->host, &source->step);
}

/* The last step of closing: nothing of the source is left; the instance lives on while its messages are in use. */
static void finish(struct kafka_source *source)
{
    struct bailey_port *port = source->port;

    bailey_timer_stop(source->host, &source->tick);
    bailey_again_stop(source->host, &source->step);
    kafka_parts_clear(source);
    if (source->change != NULL)
        rd_kafka_topic_partition_list_destroy(source->change);
    kafka_client_free(source->client, NULL, NULL);
    free(source->slots);
    free(source->sorted);
    free(source->group);
    free(source);
    bailey_closed(port);
}

static void leave(struct kafka_source *source, int64_t now)
{
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(source->client->rk, source->client->consumer);

    source->phase = SOURCE_LEAVING;
    source->deadline = error != NULL ? now : now + CLOSE_LEAVE_MS; /* after a fatal error there is nothing to leave */
    rd_kafka_error_destroy(error);
    kafka_client_again(source->client);
}

/* commit → leave → end, each step bounded: a broker that is away must not hold up the end. */
static void step_close(struct kafka_source *source)
{
    int64_t now = bailey_now_ms(source->host);

    if (source->phase == SOURCE_ASKING || source->phase == SOURCE_RUNNING) {
        source->phase = SOURCE_COMMITTING;
        source->deadline = now + (source->client->away ? 0 : CLOSE_COMMIT_MS);
    }
    if (source->phase == SOURCE_COMMITTING) {
        if ((source->committing || kafka_commit(source)) && now < source->deadline)
            return;
        leave(source, now);
    }
    if (source->phase == SOURCE_LEAVING && (rd_kafka_consumer_closed(source->client->rk) || now >= source->deadline) &&
        source->questions == 0)
        finish(source);
}

/* Whatever waits for its turn. May free the source. */
static void go_on(struct kafka_source *source)
{
    kafka_rebalance_step(source);
    if (source->draining && !source->drained && !source->closing) {
        source->drained = true;
        bailey_drained(source->port);
    }
    if (source->closing)
        bailey_again(source->host, &source->step);
}

static void on_step(struct bailey_task *task)
{
    struct kafka_source *source = task->ctx;

    kafka_rebalance_step(source);
    if (source->closing)
        step_close(source);
    else
        go_on(source);
}

static void source_close(void *self)
{
    struct kafka_source *source = self;

    source->closing = true;
    kafka_topics_stop(&source->topics);
    bailey_again(source->host, &source->step);
}

/* ---- Opening ---- */

static bool configure(struct kafka_source *source, const struct kafka_broker *broker, rd_kafka_conf_t *conf,
                      struct bailey_error *err)
{
    const struct kafka_source_settings *settings = source->settings;
    const struct bailey_port *port = source->port;
    char text[512], name[180], member[200];

    snprintf(text, sizeof text, "%s-%s-%u", port->instance, port->route, port->lane);
    kafka_safe_name(name, sizeof name, text);
    /* A static member that comes back gets its old partitions at once, even if it asks for other topics now: with other
     * topics it is another member, and the old one's session ends by itself. */
    snprintf(member, sizeof member, "%s-%08x", name, kafka_hash(settings->topics.items, settings->topics.count));
    rd_kafka_conf_set_rebalance_cb(conf, kafka_rebalance_cb);
    return kafka_conf_set(conf, "group.id", source->group, err) &&
           kafka_conf_set(conf, "group.instance.id", member, err) &&
           kafka_conf_set(conf, "enable.auto.commit", "false", err) &&
           kafka_conf_set(conf, "enable.auto.offset.store", "false", err) &&
           kafka_conf_set(conf, "auto.offset.reset", "error", err) &&
           kafka_conf_set_number(conf, "session.timeout.ms", settings->session_timeout_ms, err) &&
           /* Also how soon a member learns of a rebalance; librdkafka's 3 s would not do for a session of 3 s. */
           kafka_conf_set_number(conf, "heartbeat.interval.ms", settings->session_timeout_ms / 10, err) &&
           kafka_conf_set(conf, "partition.assignment.strategy",
                          settings->assignment == KAFKA_COOPERATIVE ? "cooperative-sticky" : "range,roundrobin", err) &&
           kafka_conf_set(conf, "isolation.level",
                          settings->isolation == KAFKA_READ_COMMITTED ? "read_committed" : "read_uncommitted", err) &&
           kafka_conf_default(conf, broker->settings, "queued.max.messages.kbytes", "16384", err) &&
           kafka_conf_default(conf, broker->settings, "queued.min.messages", "10000", err) &&
           kafka_conf_default(conf, broker->settings, "fetch.queue.backoff.ms", "20", err) &&
           kafka_conf_default(conf, broker->settings, "fetch.max.bytes", "8388608", err);
}

static void subscribe_when_there(struct kafka_source *source)
{
    const struct kafka_source_settings *settings = source->settings;
    bool pattern = false;

    for (size_t i = 0; i < settings->topics.count; i++)
        pattern |= settings->topics.items[i][0] == '^';
    source->topics = (struct kafka_topics){
        .client = source->client,
        .names = settings->topics.items,
        .count = pattern ? 0 : settings->topics.count, /* a pattern may match nothing yet */
        .declare = &settings->declare,
        .operation = RD_KAFKA_ACL_OPERATION_READ,
        .ready = subscribe,
        .missing = topic_missing,
        .ctx = source,
    };
    kafka_topics_start(&source->topics);
}

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    static const struct kafka_client_ops ops = {.serve = on_serve, .reachable = on_reachable, .failed = on_failed};
    struct kafka_source *source = kafka_alloc(1, sizeof *source);
    rd_kafka_conf_t *conf = NULL;

    source->settings = settings;
    source->port = port;
    source->host = port->host;
    source->tick = (struct bailey_timer){.fire = on_tick, .ctx = source};
    source->step = (struct bailey_task){.run = on_step, .ctx = source};
    source->commit_code = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (asprintf(&source->group, source->settings->group != NULL ? "%s" : "bailey-%s",
                 source->settings->group != NULL ? source->settings->group : port->route) < 0)
        abort();

    conf = kafka_conf_new(((struct kafka_broker *)broker)->settings, err);
    if (conf == NULL)
        goto free_source;
    if (!configure(source, broker, conf, err)) {
        rd_kafka_conf_destroy(conf);
        goto free_source;
    }
    source->client = kafka_client_new(broker, conf, RD_KAFKA_CONSUMER, &ops, source, err);
    if (source->client == NULL)
        goto free_source;
    bailey_timer_start(source->host, &source->tick, TICK_MS);
    subscribe_when_there(source);
    *self = source;
    return true;

free_source:
    free(source->group);
    free(source);
    return false;
}

const struct bailey_source kafka_source = {
    .settings_size = sizeof(struct kafka_source_settings),
    .options = kafka_source_options,
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};
