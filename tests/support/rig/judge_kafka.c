/* judge_kafka.c: a client of Kafka that is not Bailey's: plain librdkafka, nothing of ours.
 *
 * Tests and the demo put records into topics with it, and read back every field that a record has: null and empty apart,
 * headers in order, repeated, null or binary, the timestamp with its kind. Records travel over standard input and output
 * as frames (little endian), so that bytes stay bytes:
 *
 *     u32 length of the rest | i64 timestamp | u8 its kind (0 none, 1 create, 2 append) | i32 partition (-1 any)
 *     | i64 offset | bytes key | bytes value | u32 headers | that many times: bytes name, bytes value
 *     bytes: i32 length (-1 null), then as many bytes
 *
 * Exit code 0 if all was done, 1 if not.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

enum { FRAME_MAX = 64 << 20, ADMIN_TIMEOUT_MS = 15000, HEADERS_MAX = 10000 };

struct options {
    const char *brokers, *topic, *group;
    const char *settings[32]; /* name=value: of the client, or of the topic that is created */
    int setting_count;
    int partitions;
    int64_t count;   /* consume: wait for so many records; -1: what is there now */
    int64_t wait_ms; /* at most */
    bool tell_acks;  /* produce: the number and the offset of each record that the broker has, two i64, to stdout */
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "judge_kafka: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* ---- Client ---- */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char err[256];

    if (rd_kafka_conf_set(conf, name, value, err, sizeof err) != RD_KAFKA_CONF_OK)
        die(name, err);
}

static rd_kafka_t *client_new(rd_kafka_type_t type, const struct options *o, rd_kafka_conf_t *conf)
{
    char err[256], name[128];
    rd_kafka_t *client;

    set(conf, "bootstrap.servers", o->brokers);
    set(conf, "log_level", "2");
    set(conf, "reconnect.backoff.ms", "20");
    set(conf, "reconnect.backoff.max.ms", "200");
    for (int i = 0; i < o->setting_count; i++) {
        const char *equals = strchr(o->settings[i], '=');

        if (equals == NULL || (size_t)(equals - o->settings[i]) >= sizeof name)
            die(o->settings[i], "not NAME=VALUE");
        snprintf(name, sizeof name, "%.*s", (int)(equals - o->settings[i]), o->settings[i]);
        set(conf, name, equals + 1);
    }
    client = rd_kafka_new(type, conf, err, sizeof err);
    if (client == NULL)
        die("cannot make a client", err);
    return client;
}

static int partition_count(rd_kafka_t *client, const struct options *o)
{
    int64_t deadline = now_ms() + o->wait_ms;
    int count = 0;

    for (;;) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_topic_t *topic = rd_kafka_topic_new(client, o->topic, NULL);
        rd_kafka_resp_err_t err = rd_kafka_metadata(client, 0, topic, &metadata, 1000);

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR && metadata->topic_cnt == 1)
            count = metadata->topics[0].partition_cnt;
        if (metadata != NULL)
            rd_kafka_metadata_destroy(metadata);
        rd_kafka_topic_destroy(topic);
        if (count > 0)
            return count;
        if (now_ms() >= deadline)
            die(o->topic, "no such topic, or no broker");
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

/* ---- Frames ---- */

struct frame {
    uint8_t *data;
    size_t len, size, at;
};

static void put(struct frame *f, const void *data, size_t len)
{
    if (f->len + len > f->size) {
        f->size = 2 * (f->len + len) + 4096;
        f->data = realloc(f->data, f->size);
        if (f->data == NULL)
            die("memory", strerror(errno));
    }
    memcpy(f->data + f->len, data, len);
    f->len += len;
}

static void put_i32(struct frame *f, int32_t value)
{
    put(f, &value, sizeof value);
}

static void put_i64(struct frame *f, int64_t value)
{
    put(f, &value, sizeof value);
}

static void put_bytes(struct frame *f, const void *data, size_t len)
{
    put_i32(f, data == NULL ? -1 : (int32_t)len);
    if (data != NULL)
        put(f, data, len);
}

static const void *take(struct frame *f, size_t len)
{
    const void *data = f->data + f->at;

    if (len > f->len - f->at)
        die("standard input", "short frame");
    f->at += len;
    return data;
}

static int32_t take_i32(struct frame *f)
{
    int32_t value;

    memcpy(&value, take(f, sizeof value), sizeof value);
    return value;
}

static int64_t take_i64(struct frame *f)
{
    int64_t value;

    memcpy(&value, take(f, sizeof value), sizeof value);
    return value;
}

static const void *take_bytes(struct frame *f, size_t *len)
{
    int32_t given = take_i32(f);

    *len = given < 0 ? 0 : (size_t)given;
    return given < 0 ? NULL : take(f, *len);
}

static bool read_frame(struct frame *f)
{
    uint32_t len;

    if (fread(&len, 1, sizeof len, stdin) != sizeof len)
        return false;
    if (len > FRAME_MAX)
        die("standard input", "frame too large");
    if (len > f->size) {
        f->size = len;
        f->data = realloc(f->data, f->size);
        if (f->data == NULL)
            die("memory", strerror(errno));
    }
    if (fread(f->data, 1, len, stdin) != len)
        die("standard input", "ends within a frame");
    f->len = len;
    f->at = 0;
    return true;
}

/* ---- produce ---- */

static int64_t produced, confirmed, failed;

static void on_report(rd_kafka_t *client, const rd_kafka_message_t *msg, void *opaque)
{
    const struct options *o = opaque;
    int64_t ack[2] = {(int64_t)(intptr_t)msg->_private, msg->offset};

    (void)client;
    confirmed++;
    if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR && failed++ == 0)
        fprintf(stderr, "judge_kafka: refused: %s\n", rd_kafka_err2str(msg->err));
    if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR && o->tell_acks && fwrite(ack, sizeof ack, 1, stdout) != 1)
        die("standard output", strerror(errno));
}

static void produce_record(rd_kafka_t *client, const struct options *o, struct frame *f)
{
    int64_t timestamp = take_i64(f);
    bool stamped = *(const uint8_t *)take(f, 1) != 0;
    int32_t partition = take_i32(f);
    size_t key_len, value_len, name_len, header_len;

    take_i64(f); /* offset: the broker's to give */
    const void *key = take_bytes(f, &key_len), *value = take_bytes(f, &value_len);
    int32_t header_count = take_i32(f);
    rd_kafka_headers_t *headers = rd_kafka_headers_new((size_t)header_count);
    for (int32_t i = 0; i < header_count; i++) {
        const void *name = take_bytes(f, &name_len), *header = take_bytes(f, &header_len);

        rd_kafka_header_add(headers, name, (ssize_t)name_len, header, header == NULL ? -1 : (ssize_t)header_len);
    }
    for (;;) {
        rd_kafka_resp_err_t err = rd_kafka_producev(
            client, RD_KAFKA_V_TOPIC(o->topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key, key_len),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value_len), RD_KAFKA_V_TIMESTAMP(stamped ? timestamp : 0),
            RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE((void *)(intptr_t)produced),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die("cannot produce", rd_kafka_err2str(err));
        rd_kafka_poll(client, 20);
    }
    produced++;
}

static int produce(const struct options *o)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    struct frame f = {0};

    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "2");
    set(conf, "message.max.bytes", "20000000");
    rd_kafka_conf_set_opaque(conf, (void *)(uintptr_t)o);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_t *client = client_new(RD_KAFKA_PRODUCER, o, conf);
    while (read_frame(&f)) {
        produce_record(client, o, &f);
        rd_kafka_poll(client, 0);
        fflush(stdout);
    }
    rd_kafka_flush(client, (int)o->wait_ms);
    if (confirmed < produced || failed > 0)
        fprintf(stderr, "judge_kafka: %" PRId64 " of %" PRId64 " records confirmed, %" PRId64 " refused\n", confirmed,
                produced, failed);
    bool done = confirmed == produced && failed == 0;
    if (done)
        rd_kafka_destroy(client);
    free(f.data);
    return done ? 0 : 1;
}

/* ---- consume ---- */

static void write_record(struct frame *f, const rd_kafka_message_t *msg)
{
    rd_kafka_timestamp_type_t kind;
    rd_kafka_headers_t *headers;
    int64_t timestamp = rd_kafka_message_timestamp(msg, &kind);
    uint8_t kind_byte = kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? 0 : kind == RD_KAFKA_TIMESTAMP_CREATE_TIME ? 1 : 2;
    bool has_headers = rd_kafka_message_headers(msg, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR;

    f->len = 0;
    put_i32(f, 0);
    put_i64(f, timestamp);
    put(f, &kind_byte, 1);
    put_i32(f, msg->partition);
    put_i64(f, msg->offset);
    put_bytes(f, msg->key, msg->key_len);
    put_bytes(f, msg->payload, msg->len);
    put_i32(f, has_headers ? (int32_t)rd_kafka_header_cnt(headers) : 0);
    const char *name;
    const void *value;
    size_t len;
    for (size_t i = 0; has_headers && rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++) {
        put_bytes(f, name, strlen(name));
        put_bytes(f, value, len);
    }
    uint32_t rest = (uint32_t)f->len - 4;
    memcpy(f->data, &rest, sizeof rest);
    if (fwrite(f->data, 1, f->len, stdout) != f->len)
        exit(1); /* the reader has gone */
}

/* All partitions from their beginning. Without a count: to the end that each has now. With one: until so many records
 * were read and every partition is at its end, so that one too many is seen as well. */
static int consume(const struct options *o)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int64_t deadline = now_ms() + o->wait_ms, read = 0;
    int at_end = 0;
    struct frame f = {0};

    set(conf, "group.id", "judge");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.partition.eof", "true");
    set(conf, "fetch.wait.max.ms", "20");
    set(conf, "fetch.message.max.bytes", "20000000");
    set(conf, "auto.offset.reset", "earliest");
    rd_kafka_t *client = client_new(RD_KAFKA_CONSUMER, o, conf);
    rd_kafka_poll_set_consumer(client);
    int partitions = partition_count(client, o);
    bool *ended = calloc((size_t)partitions, sizeof *ended);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, o->topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(client, list);
    rd_kafka_topic_partition_list_destroy(list);

    while (now_ms() < deadline && (at_end < partitions || read < o->count)) {
        rd_kafka_message_t *msg = rd_kafka_consumer_poll(client, 50);

        if (msg == NULL) {
            fflush(stdout);
            continue;
        }
        if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            at_end += !ended[msg->partition];
            ended[msg->partition] = true;
        } else if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            at_end -= ended[msg->partition];
            ended[msg->partition] = false;
            write_record(&f, msg);
            read++;
        }
        rd_kafka_message_destroy(msg);
    }
    fflush(stdout);
    bool done = at_end == partitions && read >= o->count;
    if (!done)
        fprintf(stderr, "judge_kafka: %" PRId64 " records of %s read in time\n", read, o->topic);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    free(ended);
    free(f.data);
    return done ? 0 : 1;
}

/* ---- offsets, committed: `PARTITION LOW HIGH` and `PARTITION OFFSET METADATA` a line ---- */

static int offsets(const struct options *o)
{
    rd_kafka_t *client = client_new(RD_KAFKA_CONSUMER, o, rd_kafka_conf_new());
    int partitions = partition_count(client, o);

    for (int i = 0; i < partitions; i++) {
        int64_t low, high;
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(client, o->topic, i, &low, &high, (int)o->wait_ms);

        if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
            die(o->topic, rd_kafka_err2str(err));
        printf("%d %" PRId64 " %" PRId64 "\n", i, low, high);
    }
    rd_kafka_destroy(client);
    return 0;
}

static int committed(const struct options *o)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    if (o->group == NULL)
        die("committed", "needs -g GROUP");
    set(conf, "group.id", o->group);
    rd_kafka_t *client = client_new(RD_KAFKA_CONSUMER, o, conf);
    int partitions = partition_count(client, o);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, o->topic, i);
    rd_kafka_resp_err_t err = rd_kafka_committed(client, list, (int)o->wait_ms);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        die(o->group, rd_kafka_err2str(err));
    for (int i = 0; i < list->cnt; i++)
        printf("%" PRId32 " %" PRId64 " %.*s\n", list->elems[i].partition, list->elems[i].offset,
               (int)list->elems[i].metadata_size,
               list->elems[i].metadata == NULL ? "" : (const char *)list->elems[i].metadata);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
    return 0;
}

/* ---- create, delete ---- */

static rd_kafka_event_t *admin_result(rd_kafka_queue_t *queue, const char *what)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ADMIN_TIMEOUT_MS + 1000);

    if (event == NULL)
        die(what, "no answer");
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        die(what, rd_kafka_event_error_string(event));
    return event;
}

static int check_topics(const rd_kafka_topic_result_t *const *results, size_t count, rd_kafka_resp_err_t allowed)
{
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t err = rd_kafka_topic_result_error(results[i]);

        if (err != RD_KAFKA_RESP_ERR_NO_ERROR && err != allowed)
            die(rd_kafka_topic_result_name(results[i]), rd_kafka_err2str(err));
    }
    return 0;
}

/* -t A,B,C: several topics at once, with the same settings. */
static int admin(const struct options *given, bool create)
{
    struct options o = *given;
    char *names = strdup(o.topic), *rest = names, *name, err[256], setting[128];
    rd_kafka_NewTopic_t *topics[256];
    rd_kafka_DeleteTopic_t *doomed[256];
    size_t count = 0, results;

    o.setting_count = 0; /* they are the topic's, not the client's */
    rd_kafka_t *client = client_new(RD_KAFKA_PRODUCER, &o, rd_kafka_conf_new());
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    for (; (name = strsep(&rest, ",")) != NULL && count < 256; count++) {
        if (!create) {
            doomed[count] = rd_kafka_DeleteTopic_new(name);
            continue;
        }
        topics[count] = rd_kafka_NewTopic_new(name, o.partitions, 1, err, sizeof err);
        if (topics[count] == NULL)
            die(name, err);
        for (int i = 0; i < given->setting_count; i++) {
            const char *equals = strchr(given->settings[i], '=');

            snprintf(setting, sizeof setting, "%.*s", (int)(equals - given->settings[i]), given->settings[i]);
            rd_kafka_NewTopic_set_config(topics[count], setting, equals + 1);
        }
    }
    if (create) {
        rd_kafka_CreateTopics(client, topics, count, NULL, queue);
        rd_kafka_event_t *event = admin_result(queue, "cannot create topics");
        const rd_kafka_topic_result_t **made =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &results);
        check_topics(made, results, RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_event_destroy(event);
        rd_kafka_NewTopic_destroy_array(topics, count);
    } else {
        rd_kafka_DeleteTopics(client, doomed, count, NULL, queue);
        rd_kafka_event_t *event = admin_result(queue, "cannot delete topics");
        const rd_kafka_topic_result_t **gone =
            rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &results);
        check_topics(gone, results, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteTopic_destroy_array(doomed, count);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
    free(names);
    return 0;
}

/* ---- Permissions ---- */

static const char *setting(const struct options *o, const char *name)
{
    size_t len = strlen(name);

    for (int i = 0; i < o->setting_count; i++)
        if (strncmp(o->settings[i], name, len) == 0 && o->settings[i][len] == '=')
            return o->settings[i] + len + 1;
    die("missing -c", name);
    return NULL;
}

static rd_kafka_AclOperation_t operation_of(const char *name)
{
    for (int op = RD_KAFKA_ACL_OPERATION_ALL; op < RD_KAFKA_ACL_OPERATION__CNT; op++)
        if (strcasecmp(rd_kafka_AclOperation_name(op), name) == 0)
            return op;
    die("no such operation", name);
    return RD_KAFKA_ACL_OPERATION_UNKNOWN;
}

static rd_kafka_ResourceType_t kind_of(const char *name)
{
    if (strcmp(name, "topic") == 0)
        return RD_KAFKA_RESOURCE_TOPIC;
    return strcmp(name, "group") == 0 ? RD_KAFKA_RESOURCE_GROUP : RD_KAFKA_RESOURCE_BROKER;
}

/* Allow a principal an operation on the topic, group or cluster -t. */
static int allow(const struct options *o)
{
    struct options plain = {.brokers = o->brokers, .topic = o->topic};
    char err[256] = "";
    rd_kafka_AclBinding_t *acl = rd_kafka_AclBinding_new(
        kind_of(setting(o, "kind")), o->topic, RD_KAFKA_RESOURCE_PATTERN_LITERAL, setting(o, "principal"), "*",
        operation_of(setting(o, "operation")), RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, err, sizeof err);
    rd_kafka_t *client = client_new(RD_KAFKA_PRODUCER, &plain, rd_kafka_conf_new());
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    size_t count;

    if (acl == NULL)
        die("wrong ACL", err);
    rd_kafka_CreateAcls(client, &acl, 1, NULL, queue);
    rd_kafka_event_t *event = admin_result(queue, "cannot create the ACL");
    const rd_kafka_acl_result_t **made =
        rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &count);
    if (count != 1 || rd_kafka_acl_result_error(made[0]) != NULL)
        die("cannot create the ACL", count == 1 ? rd_kafka_error_string(rd_kafka_acl_result_error(made[0])) : "");
    rd_kafka_event_destroy(event);
    rd_kafka_AclBinding_destroy(acl);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
    return 0;
}

/* ---- Command line ---- */

static int usage(void)
{
    fprintf(stderr, "usage: judge_kafka create|delete|allow|produce|consume|offsets|committed -b BROKERS -t TOPIC\n"
                    "  [-c NAME=VALUE]... [-p PARTITIONS] [-n COUNT] [-w WAIT_MS] [-g GROUP] [-a]\n");
    return 1;
}

static bool parse(struct options *o, int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "b:t:c:p:n:w:g:a")) != -1;) {
        switch (c) {
        case 'b':
            o->brokers = optarg;
            break;
        case 't':
            o->topic = optarg;
            break;
        case 'c':
            if (o->setting_count == 32)
                return false;
            o->settings[o->setting_count++] = optarg;
            break;
        case 'p':
            o->partitions = atoi(optarg);
            break;
        case 'n':
            o->count = atoll(optarg);
            break;
        case 'w':
            o->wait_ms = atoll(optarg);
            break;
        case 'g':
            o->group = optarg;
            break;
        case 'a':
            o->tell_acks = true;
            break;
        default:
            return false;
        }
    }
    return o->brokers != NULL && o->topic != NULL && optind == argc;
}

int main(int argc, char **argv)
{
    struct options o = {.partitions = 1, .count = -1, .wait_ms = 30000};

    if (argc < 2 || !parse(&o, argc - 1, argv + 1))
        return usage();
    if (strcmp(argv[1], "create") == 0)
        return admin(&o, true);
    if (strcmp(argv[1], "delete") == 0)
        return admin(&o, false);
    if (strcmp(argv[1], "allow") == 0)
        return allow(&o);
    if (strcmp(argv[1], "produce") == 0)
        return produce(&o);
    if (strcmp(argv[1], "consume") == 0)
        return consume(&o);
    if (strcmp(argv[1], "offsets") == 0)
        return offsets(&o);
    if (strcmp(argv[1], "committed") == 0)
        return committed(&o);
    return usage();
}
