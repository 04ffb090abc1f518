/* kafka_record.c: see kafka_record.h. */
#include "kafka_record.h"

#include "kafka_map.h"

static void release_record(void *owner, void *cookie)
{
    rd_kafka_message_destroy(cookie);
    kafka_client_drop(owner);
}

static void map_headers(struct bailey_message *msg, rd_kafka_message_t *record)
{
    rd_kafka_headers_t *list;
    struct bailey_header *headers;
    size_t count;

    if (rd_kafka_message_headers(record, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    count = rd_kafka_header_cnt(list);
    if (count == 0)
        return;
    headers = bailey_message_alloc(msg, count * sizeof *headers);
    for (size_t i = 0; i < count; i++) {
        const char *name;
        const void *value;
        size_t len;

        if (rd_kafka_header_get_all(list, i, &name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        headers[i].name = bailey_bytes_of(name);
        headers[i].value = value == NULL ? (struct bailey_value){.kind = BAILEY_KIND_NULL}
                                         : (struct bailey_value){.kind = BAILEY_KIND_BYTES, .bytes = {value, len}};
    }
    kafka_map_import(msg, headers, (uint32_t)count);
}

struct bailey_message *kafka_record_message(struct kafka_client *client, struct bailey_port *port,
                                            rd_kafka_message_t *record)
{
    struct bailey_message *msg = bailey_message_new(port);
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(record, &type);

    if (record->key != NULL)
        msg->key = (struct bailey_bytes){record->key, record->key_len};
    if (record->payload != NULL)
        msg->body = (struct bailey_bytes){record->payload, record->len};
    msg->timestamp_kind = type == RD_KAFKA_TIMESTAMP_CREATE_TIME       ? BAILEY_TIMESTAMP_CREATE
                          : type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? BAILEY_TIMESTAMP_APPEND
                                                                       : BAILEY_TIMESTAMP_NONE;
    msg->timestamp_ms = timestamp;
    msg->origin.topic = bailey_bytes_of(rd_kafka_topic_name(record->rkt));
    msg->origin.partition = record->partition;
    msg->origin.offset = record->offset;
    map_headers(msg, record);
    kafka_client_keep(client);
    bailey_message_keep(msg, release_record, client, record);
    return msg;
}
