/* kafka_topics.h: do the topics that an end names exist, as its `declare:` asks? Create them if it asks for that. */
#ifndef KAFKA_TOPICS_H
#define KAFKA_TOPICS_H

#include "kafka_client.h"

/* Belongs to the end; zeroed before start; stays in place until stop. */
struct kafka_topics {
    struct kafka_client *client;
    const char *const *names; /* exact names; none: only find out whether a broker answers */
    size_t count;
    const struct kafka_declare *declare;
    rd_kafka_AclOperation_t operation; /* what the end does with them: named when that is not allowed */
    void (*ready)(void *ctx);
    void (*missing)(void *ctx, const struct bailey_error *err); /* kind CONFIG */
    void *ctx;

    struct bailey_timer retry; /* private from here on */
    struct kafka_request *request;
    bool created;
    unsigned missed;
};

/* Begin to ask; asks again while no broker answers. Then ready() or missing(), once, from a later turn of the loop. */
void kafka_topics_start(struct kafka_topics *topics);

/* Ask no more. Also on one that is not running. */
void kafka_topics_stop(struct kafka_topics *topics);

#endif
