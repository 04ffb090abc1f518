/* kafka_target.c: see kafka_target.h. */
#include "kafka_target.h"

#include <stdlib.h>
#include <string.h>

#include "kafka_conf.h"

enum { KEPT_MAX = 1000 }; /* more only while they are in use */

static struct kafka_target **bucket_of(struct kafka_targets *targets, const char *name, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a; no secret needed: the chains are short as long as the names are few */

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return &targets->buckets[hash % KAFKA_TARGET_BUCKETS];
}

static void forget(struct kafka_targets *targets, struct kafka_target **at)
{
    struct kafka_target *target = *at;

    *at = target->chain;
    targets->count--;
    rd_kafka_topic_destroy(target->handle); /* what is under way has its own references */
    free(target);
}

static void forget_unused(struct kafka_targets *targets)
{
    for (size_t i = 0; i < KAFKA_TARGET_BUCKETS; i++)
        for (struct kafka_target **at = &targets->buckets[i]; *at != NULL;) {
            if ((*at)->users == 0 && (*at)->room.count == 0)
                forget(targets, at);
            else
                at = &(*at)->chain;
        }
}

struct kafka_target *kafka_target_of(struct kafka_targets *targets, rd_kafka_t *rk, const void *name, size_t len,
                                     bool is_compressed)
{
    struct kafka_target **bucket, *target;
    char text[256];

    if (!kafka_topic_name_valid(name, len))
        return NULL;
    memcpy(text, name, len);
    text[len] = '\0';
    bucket = bucket_of(targets, text, len);
    for (target = *bucket; target != NULL; target = target->chain)
        if (strcmp(rd_kafka_topic_name(target->handle), text) == 0)
            return target;
    if (targets->count >= KEPT_MAX)
        forget_unused(targets);
    target = kafka_alloc(1, sizeof *target);
    target->handle = rd_kafka_topic_new(rk, text, NULL);
    room_init(&target->room, !is_compressed);
    target->chain = *bucket;
    *bucket = target;
    targets->count++;
    return target;
}

void kafka_targets_clear(struct kafka_targets *targets)
{
    for (size_t i = 0; i < KAFKA_TARGET_BUCKETS; i++)
        while (targets->buckets[i] != NULL)
            forget(targets, &targets->buckets[i]);
}
