/* judge_kafka: a Kafka client that is not ours, for tests and the demo: librdkafka's calls and nothing of bailey.
 *
 *     judge_kafka BROKERS create TOPIC PARTITIONS    a new topic; returns when it has leaders
 *     judge_kafka BROKERS delete TOPIC
 *     judge_kafka BROKERS produce TOPIC              records from standard input; fails unless every one is acknowledged
 *     judge_kafka BROKERS dump TOPIC                 all records up to the present end, to standard output
 *     judge_kafka BROKERS count TOPIC [LEAST MS]     sum of (end - begin) of the partitions; waits until it is >= LEAST
 *     judge_kafka BROKERS committed GROUP TOPIC      a line "PARTITION OFFSET" for each, -1 = none
 *
 * A record is, all numbers big-endian: i32 partition (-1: let the library choose), i64 offset, i64 timestamp (ms; to
 * produce: 0 = now), i32 timestamp type, key, value, i32 number of headers, for each: name, value. A key, value or name
 * is an i32 length and that many bytes; length -1 is null. rig/judge.py is the other side.
 */
#include <endian.h>
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CALL_MS = 20000, PARTITIONS_MAX = 256 };

static const char *brokers;

static _Noreturn void __attribute__((format(printf, 1, 2))) die(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fputs("judge_kafka: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        die("%s", text);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char text[256];

    set(conf, "bootstrap.servers", brokers);
    set(conf, "log_level", "0");
    set(conf, "reconnect.backoff.ms", "50");
    set(conf, "reconnect.backoff.max.ms", "500");
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    if (rk == NULL)
        die("%s", text);
    return rk;
}

static rd_kafka_t *consumer(const char *group)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    set(conf, "group.id", group);
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "error");
    set(conf, "fetch.wait.max.ms", "50");
    set(conf, "allow.auto.create.topics", "false");
    return client(RD_KAFKA_CONSUMER, conf);
}

/* The number of partitions, once each has a leader; 0 if the topic does not come within `timeout_ms`. */
static int partitions_of(rd_kafka_t *rk, const char *topic, int timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    int found = 0;

    while (found == 0 && now_ms() < deadline) {
        const struct rd_kafka_metadata *meta;

        if (rd_kafka_metadata(rk, 0, rkt, &meta, 2000) != RD_KAFKA_RESP_ERR_NO_ERROR)
            continue;
        if (meta->topic_cnt == 1 && meta->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            found = meta->topics[0].partition_cnt;
            for (int i = 0; i < meta->topics[0].partition_cnt; i++)
                if (meta->topics[0].partitions[i].leader < 0)
                    found = 0;
        }
        rd_kafka_metadata_destroy(meta);
        if (found == 0)
            rd_kafka_poll(rk, 50);
    }
    rd_kafka_topic_destroy(rkt);
    return found;
}

/* ---- create, delete ---- */

static void check_topic_result(rd_kafka_event_t *event)
{
    const rd_kafka_topic_result_t **results;
    size_t count;

    if (event == NULL)
        die("no answer");
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("%s", rd_kafka_event_error_string(event));
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    else
        results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_topic_result_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
            die("%s: %s", rd_kafka_topic_result_name(results[i]),
                rd_kafka_err2str(rd_kafka_topic_result_error(results[i])));
    rd_kafka_event_destroy(event);
}

static int create(const char *topic, int partitions)
{
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, rd_kafka_conf_new());
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(topic, partitions, -1, NULL, 0);

    rd_kafka_CreateTopics(rk, &wanted, 1, NULL, queue);
    check_topic_result(rd_kafka_queue_poll(queue, CALL_MS));
    if (partitions_of(rk, topic, CALL_MS) != partitions)
        die("%s was created and has no leaders", topic);
    rd_kafka_NewTopic_destroy(wanted);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
    return 0;
}

static int delete_topic(const char *topic)
{
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, rd_kafka_conf_new());
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t *wanted = rd_kafka_DeleteTopic_new(topic);

    rd_kafka_DeleteTopics(rk, &wanted, 1, NULL, queue);
    check_topic_result(rd_kafka_queue_poll(queue, CALL_MS));
    rd_kafka_DeleteTopic_destroy(wanted);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
    return 0;
}

/* ---- produce ---- */

struct blob {
    char *data; /* NULL: null */
    size_t len;
};

static bool get(void *out, size_t len)
{
    return fread(out, 1, len, stdin) == len;
}

static int32_t get_i32(void)
{
    uint32_t raw;

    if (!get(&raw, sizeof raw))
        die("a record ends too early");
    return (int32_t)be32toh(raw);
}

static int64_t get_i64(void)
{
    uint64_t raw;

    if (!get(&raw, sizeof raw))
        die("a record ends too early");
    return (int64_t)be64toh(raw);
}

static struct blob get_blob(void)
{
    int32_t len = get_i32();
    struct blob blob = {NULL, 0};

    if (len < 0)
        return blob;
    blob.len = (size_t)len;
    blob.data = malloc(blob.len + 1);
    if (blob.data == NULL || !get(blob.data, blob.len))
        die("a record ends too early");
    return blob;
}

static rd_kafka_headers_t *get_headers(void)
{
    int32_t count = get_i32();
    rd_kafka_headers_t *headers = count > 0 ? rd_kafka_headers_new((size_t)count) : NULL;

    for (int32_t i = 0; i < count; i++) {
        struct blob name = get_blob(), value = get_blob();

        rd_kafka_header_add(headers, name.data, (ssize_t)name.len, value.data, (ssize_t)value.len);
        free(name.data);
        free(value.data);
    }
    return headers;
}

static int failures;

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *ctx)
{
    (void)rk, (void)ctx;
    if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR && failures++ < 5)
        fprintf(stderr, "judge_kafka: %s\n", rd_kafka_err2str(msg->err));
}

static void produce_one(rd_kafka_t *rk, const char *topic, int32_t partition)
{
    get_i64(); /* offset: the broker gives it */
    int64_t timestamp = get_i64();
    get_i32();
    struct blob key = get_blob(), value = get_blob();
    rd_kafka_headers_t *headers = get_headers();

    for (;;) {
        rd_kafka_headers_t *copy = headers != NULL ? rd_kafka_headers_copy(headers) : NULL;
        rd_kafka_resp_err_t err = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY(key.data, key.len), RD_KAFKA_V_VALUE(value.data, value.len), RD_KAFKA_V_TIMESTAMP(timestamp),
            RD_KAFKA_V_HEADERS(copy), RD_KAFKA_V_END);

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        if (copy != NULL)
            rd_kafka_headers_destroy(copy);
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die("%s", rd_kafka_err2str(err));
        rd_kafka_poll(rk, 50);
    }
    if (headers != NULL)
        rd_kafka_headers_destroy(headers);
    free(key.data);
    free(value.data);
    rd_kafka_poll(rk, 0);
}

static int produce(const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    uint32_t partition;

    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "5");
    set(conf, "message.max.bytes", "10000000");
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
    while (get(&partition, sizeof partition))
        produce_one(rk, topic, (int32_t)be32toh(partition));
    if (rd_kafka_flush(rk, 60000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("not all records were acknowledged");
    rd_kafka_destroy(rk);
    if (failures > 0)
        die("%d records were refused", failures);
    return 0;
}

/* ---- dump, count, committed ---- */

static void put_i32(int32_t value)
{
    uint32_t raw = htobe32((uint32_t)value);

    fwrite(&raw, sizeof raw, 1, stdout);
}

static void put_i64(int64_t value)
{
    uint64_t raw = htobe64((uint64_t)value);

    fwrite(&raw, sizeof raw, 1, stdout);
}

static void put_blob(const void *data, size_t len)
{
    put_i32(data == NULL ? -1 : (int32_t)len);
    if (data != NULL)
        fwrite(data, 1, len, stdout);
}

static void put_record(const rd_kafka_message_t *msg)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(msg, &type);
    rd_kafka_headers_t *headers = NULL;
    const char *name;
    const void *value;
    size_t len, count = 0;

    put_i32(msg->partition);
    put_i64(msg->offset);
    put_i64(timestamp);
    put_i32((int32_t)type);
    put_blob(msg->key, msg->key_len);
    put_blob(msg->payload, msg->len);
    if (rd_kafka_message_headers(msg, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
        count = rd_kafka_header_cnt(headers);
    put_i32((int32_t)count);
    for (size_t i = 0; i < count && rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++) {
        put_blob(name, strlen(name));
        put_blob(value, len);
    }
}

/* Begin and end of each partition, as the broker has them now. Returns the number of records between them. */
static int64_t ends_of(rd_kafka_t *rk, const char *topic, int partitions, int64_t begin[], int64_t end[])
{
    int64_t total = 0;

    for (int i = 0; i < partitions; i++) {
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(rk, topic, i, &begin[i], &end[i], CALL_MS);

        if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
            die("%s [%d]: %s", topic, i, rd_kafka_err2str(err));
        total += end[i] - begin[i];
    }
    return total;
}

static rd_kafka_t *reader(const char *group, const char *topic, int *partitions)
{
    rd_kafka_t *rk = consumer(group);

    *partitions = partitions_of(rk, topic, CALL_MS);
    if (*partitions == 0 || *partitions > PARTITIONS_MAX)
        die("no such topic: %s", topic);
    return rk;
}

static int dump(const char *topic)
{
    int64_t begin[PARTITIONS_MAX], end[PARTITIONS_MAX], deadline = now_ms() + 60000;
    int partitions, open = 0;
    rd_kafka_t *rk = reader("judge", topic, &partitions);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);

    ends_of(rk, topic, partitions, begin, end);
    for (int i = 0; i < partitions; i++) {
        if (begin[i] == end[i])
            continue;
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = begin[i];
        open++;
    }
    if (rd_kafka_assign(rk, list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("cannot read %s", topic);
    while (open > 0) {
        rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, 1000);

        if (now_ms() > deadline)
            die("%s cannot be read to its end", topic);
        if (msg == NULL)
            continue;
        if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR && msg->offset < end[msg->partition]) {
            put_record(msg);
            if (msg->offset + 1 == end[msg->partition])
                open--;
        }
        rd_kafka_message_destroy(msg);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int count(const char *topic, int64_t least, int64_t timeout_ms)
{
    int64_t begin[PARTITIONS_MAX], end[PARTITIONS_MAX], total, deadline = now_ms() + timeout_ms;
    int partitions;
    rd_kafka_t *rk = reader("judge", topic, &partitions);

    while ((total = ends_of(rk, topic, partitions, begin, end)) < least && now_ms() < deadline)
        rd_kafka_poll(rk, 50);
    printf("%lld\n", (long long)total);
    rd_kafka_destroy(rk);
    return total >= least ? 0 : 1;
}

static int committed(const char *group, const char *topic)
{
    int partitions;
    rd_kafka_t *rk = reader(group, topic, &partitions);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);

    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i);
    rd_kafka_resp_err_t err = rd_kafka_committed(rk, list, CALL_MS);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("%s: %s", group, rd_kafka_err2str(err));
    for (int i = 0; i < partitions; i++)
        printf("%d %lld\n", i, (long long)(list->elems[i].offset < 0 ? -1 : list->elems[i].offset));
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[2] : "";

    brokers = argc > 1 ? argv[1] : "";
    if (argc == 5 && strcmp(verb, "create") == 0)
        return create(argv[3], atoi(argv[4]));
    if (argc == 4 && strcmp(verb, "delete") == 0)
        return delete_topic(argv[3]);
    if (argc == 4 && strcmp(verb, "produce") == 0)
        return produce(argv[3]);
    if (argc == 4 && strcmp(verb, "dump") == 0)
        return dump(argv[3]);
    if ((argc == 4 || argc == 6) && strcmp(verb, "count") == 0)
        return count(argv[3], argc == 6 ? atoll(argv[4]) : 0, argc == 6 ? atoll(argv[5]) : 0);
    if (argc == 5 && strcmp(verb, "committed") == 0)
        return committed(argv[3], argv[4]);
    fputs("usage: judge_kafka BROKERS create|delete|produce|dump|count|committed ...\n", stderr);
    return 2;
}
