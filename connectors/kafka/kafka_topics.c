/* kafka_topics.c: ask by the admin interface (it never creates a topic by asking), create, ask again until all are seen.
 *
 * A topic that was just created is known to some brokers later than to others: hence the patience after CreateTopics.
 */
#include "kafka_topics.h"

#include <stdlib.h>

#include "kafka_acl.h"
#include "kafka_conf.h"

enum { ASK_TIMEOUT_MS = 5000, RETRY_MS = 500, CREATED_RETRY_MS = 100, CREATED_PATIENCE = 100 };

static void ask(struct kafka_topics *topics);

static void retry_now(struct bailey_timer *timer)
{
    ask(timer->ctx);
}

static void again_later(struct kafka_topics *topics, int64_t delay_ms)
{
    bailey_timer_start(topics->client->host, &topics->retry, delay_ms);
}

static void deny(struct kafka_topics *topics, const char *name, rd_kafka_resp_err_t code,
                 rd_kafka_AclOperation_t operation)
{
    struct bailey_error err;

    kafka_denied(&err, topics->client, code, &(struct kafka_need){KAFKA_TOPIC, name, operation});
    topics->missing(topics->ctx, &err);
}

static void refuse(struct kafka_topics *topics, const char *name, rd_kafka_resp_err_t code, const char *what)
{
    struct bailey_error err;

    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        bailey_fail_native(&err, BAILEY_ERR_CONFIG, "kafka", code, "topic %.120s %s at broker %.60s", name, what,
                           topics->client->broker);
        bailey_hint(&err, "create the topic, correct its name, or let bailey create it with `declare: create`");
    } else {
        bailey_fail_native(&err, BAILEY_ERR_CONFIG, "kafka", code, "topic %.100s %s at broker %.50s: %.60s", name, what,
                           topics->client->broker, rd_kafka_err2str(code));
    }
    topics->missing(topics->ctx, &err);
}

/* ---- Create ---- */

static void created(void *ctx, rd_kafka_event_t *event)
{
    struct kafka_topics *topics = ctx;
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
    size_t count = 0;
    const rd_kafka_topic_result_t **each = result != NULL ? rd_kafka_CreateTopics_result_topics(result, &count) : NULL;

    topics->request = NULL;
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        again_later(topics, RETRY_MS);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(each[i]);
        const char *name = rd_kafka_topic_result_name(each[i]);

        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            bailey_log(BAILEY_LOG_INFO, "kafka.topic_created", kv_str("broker", topics->client->broker),
                       kv_str("topic", name));
        else if (kafka_error_kind(code) == BAILEY_ERR_TRANSIENT && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            again_later(topics, RETRY_MS);
            return;
        } else if (kafka_is_denial(code)) {
            deny(topics, name, code, RD_KAFKA_ACL_OPERATION_CREATE);
            return;
        } else if (code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            refuse(topics, name, code, "cannot be created");
            return;
        }
    }
    topics->created = true;
    again_later(topics, CREATED_RETRY_MS);
}

static void create(struct kafka_topics *topics, const char *const *names, size_t count)
{
    const struct kafka_declare *declare = topics->declare;
    rd_kafka_t *rk = topics->client->rk;
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_NewTopic_t **wanted = kafka_alloc(count, sizeof *wanted);
    char text[100];

    for (size_t i = 0; i < count; i++) {
        wanted[i] = rd_kafka_NewTopic_new(names[i], declare->partitions > 0 ? (int)declare->partitions : -1,
                                          declare->replication_factor > 0 ? (int)declare->replication_factor : -1, text,
                                          sizeof text);
        for (size_t j = 0; j < declare->config.count; j++)
            rd_kafka_NewTopic_set_config(wanted[i], declare->config.entries[j].name, declare->config.entries[j].value);
    }
    topics->request = kafka_request_new(topics->client, options, ASK_TIMEOUT_MS, created, topics);
    rd_kafka_CreateTopics(rk, wanted, count, options, topics->client->results);
    rd_kafka_NewTopic_destroy_array(wanted, count);
    free(wanted);
    rd_kafka_AdminOptions_destroy(options);
}

/* ---- Ask ---- */

static void some_missing(struct kafka_topics *topics, const char *const *names, size_t count)
{
    if (topics->created && ++topics->missed < CREATED_PATIENCE)
        again_later(topics, CREATED_RETRY_MS);
    else if (topics->declare->mode == BAILEY_DECLARE_CREATE && !topics->created)
        create(topics, names, count);
    else
        refuse(topics, names[0], RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "does not exist");
}

static void answered_topics(struct kafka_topics *topics, rd_kafka_event_t *event)
{
    const rd_kafka_DescribeTopics_result_t *result = rd_kafka_event_DescribeTopics_result(event);
    size_t count, missing = 0;
    const rd_kafka_TopicDescription_t **each = rd_kafka_DescribeTopics_result_topics(result, &count);
    const char **names = kafka_alloc(count, sizeof *names);

    for (size_t i = 0; i < count; i++) {
        const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(each[i]);
        rd_kafka_resp_err_t code = rd_kafka_error_code(error); /* NULL: no error */
        const char *name = rd_kafka_TopicDescription_name(each[i]);

        if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            names[missing++] = name;
        } else if (kafka_is_denial(code)) {
            deny(topics, name, code, topics->operation);
            goto done;
        } else if (code != RD_KAFKA_RESP_ERR_NO_ERROR && kafka_error_kind(code) != BAILEY_ERR_TRANSIENT) {
            refuse(topics, name, code, "cannot be used");
            goto done;
        } else if (code != RD_KAFKA_RESP_ERR_NO_ERROR) { /* no leader yet: the clients wait for it themselves */
            bailey_log(BAILEY_LOG_DEBUG, "kafka.topic_not_ready", kv_str("topic", name),
                       kv_str("reason", rd_kafka_err2str(code)));
        }
    }
    if (missing > 0)
        some_missing(topics, names, missing);
    else
        topics->ready(topics->ctx);
done:
    free(names);
}

static void answered(void *ctx, rd_kafka_event_t *event)
{
    struct kafka_topics *topics = ctx;

    topics->request = NULL;
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        bailey_log(BAILEY_LOG_DEBUG, "kafka.no_answer", kv_str("broker", topics->client->broker),
                   kv_str("reason", rd_kafka_event_error_string(event)));
        again_later(topics, RETRY_MS);
        return;
    }
    kafka_client_alive(topics->client);
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT)
        answered_topics(topics, event);
    else
        topics->ready(topics->ctx);
}

static void ask(struct kafka_topics *topics)
{
    rd_kafka_t *rk = topics->client->rk;
    bool by_name = topics->count > 0 && topics->declare->mode != BAILEY_DECLARE_NEVER;
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, by_name ? RD_KAFKA_ADMIN_OP_DESCRIBETOPICS : RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER);

    topics->request = kafka_request_new(topics->client, options, ASK_TIMEOUT_MS, answered, topics);
    if (by_name) {
        rd_kafka_TopicCollection_t *names =
            rd_kafka_TopicCollection_of_topic_names((const char **)topics->names, topics->count);

        rd_kafka_DescribeTopics(rk, names, options, topics->client->results);
        rd_kafka_TopicCollection_destroy(names);
    } else {
        rd_kafka_DescribeCluster(rk, options, topics->client->results);
    }
    rd_kafka_AdminOptions_destroy(options);
}

void kafka_topics_start(struct kafka_topics *topics)
{
    topics->retry = (struct bailey_timer){.fire = retry_now, .ctx = topics};
    ask(topics);
}

void kafka_topics_stop(struct kafka_topics *topics)
{
    kafka_request_cancel(topics->request);
    topics->request = NULL;
    if (topics->client != NULL)
        bailey_timer_stop(topics->client->host, &topics->retry);
}
