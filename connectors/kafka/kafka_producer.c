/* kafka_producer.c: see kafka_producer.h.
 *
 * Flights come from blocks that are kept until the producer ends, so a message costs no allocation here, and a late report
 * always finds valid memory. A producer that had a fatal error is retired: its sinks go down, are opened anew by the
 * gateway, and find a new one.
 */
#include "kafka_producer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "kafka_conf.h"

enum { FLIGHTS_A_BLOCK = 1000, WATCH_MS = 250, THROTTLED_MS = 1000 };

struct kafka_flight_block {
    struct kafka_flight_block *next;
    struct kafka_flight flights[FLIGHTS_A_BLOCK];
};

/* ---- Flights ---- */

static void add_block(struct kafka_producer *producer)
{
    struct kafka_flight_block *block = kafka_alloc(1, sizeof *block);

    block->next = producer->blocks;
    producer->blocks = block;
    for (size_t i = FLIGHTS_A_BLOCK; i-- > 0;)
        kafka_flight_free(producer, &block->flights[i]);
}

struct kafka_flight *kafka_flight_new(struct kafka_sink *sink, struct bailey_delivery *delivery,
                                      struct kafka_target *target, size_t size)
{
    struct kafka_producer *producer = sink->producer;
    struct kafka_flight *flight;

    if (producer->free_flights == NULL)
        add_block(producer);
    flight = producer->free_flights;
    producer->free_flights = flight->next_free;
    flight->sink = sink;
    flight->delivery = delivery;
    flight->target = target;
    flight->size = size;
    flight->number = room_sent(&target->room, size);
    return flight;
}

void kafka_flight_free(struct kafka_producer *producer, struct kafka_flight *flight)
{
    if (flight->target != NULL)
        room_back(&flight->target->room, flight->size);
    flight->target = NULL;
    flight->sink = NULL;
    flight->delivery = NULL;
    flight->message = NULL;
    flight->next_free = producer->free_flights;
    producer->free_flights = flight;
}

void kafka_flights_orphan(struct kafka_sink *sink)
{
    for (struct kafka_flight_block *block = sink->producer->blocks; block != NULL; block = block->next) {
        for (size_t i = 0; i < FLIGHTS_A_BLOCK; i++) {
            struct kafka_flight *flight = &block->flights[i];
            struct bailey_delivery *delivery = flight->delivery;

            if (flight->sink != sink)
                continue;
            flight->message = bailey_message_ref(delivery->message);
            flight->sink = NULL;
            flight->delivery = NULL;
            sink->outstanding--;
            bailey_hand_back(sink->port, &delivery, 1, true);
        }
    }
    assert(sink->outstanding == 0);
}

static void free_flights(struct kafka_producer *producer)
{
    while (producer->blocks != NULL) {
        struct kafka_flight_block *block = producer->blocks;

        for (size_t i = 0; i < FLIGHTS_A_BLOCK; i++)
            bailey_message_unref(block->flights[i].message);
        producer->blocks = block->next;
        free(block);
    }
}

/* ---- Topics ---- */

struct kafka_target *kafka_producer_target(struct kafka_producer *producer, const void *name, size_t len)
{
    return kafka_target_of(&producer->targets, producer->client->rk, name, len,
                           producer->key.compression != KAFKA_PLAIN);
}

/* ---- Reports ---- */

static void report_cb(rd_kafka_t *rk, const rd_kafka_message_t *record, void *opaque)
{
    struct kafka_client *client = opaque;
    struct kafka_producer *producer = client->ctx;
    struct kafka_flight *flight = record->_private;

    (void)rk;
    if (flight->sink != NULL)
        kafka_sink_report(flight->sink, flight, record);
    else
        bailey_message_unref(flight->message);
    kafka_flight_free(producer, flight);
}

static bool on_serve(void *ctx)
{
    struct kafka_producer *producer = ctx;
    struct kafka_sink *sink, *next;

    for (sink = producer->sinks; sink != NULL; sink = next) {
        next = sink->next;
        kafka_sink_reported(sink);
    }
    return false;
}

static void show_all(struct kafka_producer *producer)
{
    for (struct kafka_sink *sink = producer->sinks; sink != NULL; sink = sink->next)
        kafka_sink_show(sink);
}

static void on_reachable(void *ctx, const char *reason)
{
    struct kafka_producer *producer = ctx;

    snprintf(producer->away, sizeof producer->away, "%s", reason != NULL ? reason : "");
    producer->away_serial++;
    show_all(producer);
}

static void on_failed(void *ctx, const struct bailey_error *err)
{
    struct kafka_producer *producer = ctx;

    kafka_producer_retire(producer);
    for (struct kafka_sink *sink = producer->sinks; sink != NULL; sink = sink->next)
        kafka_sink_fail(sink, err);
}

static void on_throttled(void *ctx, const char *server, int milliseconds)
{
    struct kafka_producer *producer = ctx;

    if (milliseconds < THROTTLED_MS)
        return;
    bailey_log(BAILEY_LOG_DEBUG, "kafka.throttled", kv_str("broker", producer->client->broker),
               kv_str("server", server), kv_ms("for", milliseconds));
    producer->throttled_until = bailey_now_ms(producer->client->host) + milliseconds;
    show_all(producer);
}

static void on_watch(struct bailey_timer *timer)
{
    struct kafka_producer *producer = timer->ctx;

    show_all(producer);
    bailey_timer_start(producer->client->host, timer, WATCH_MS);
}

/* ---- Begin and end ---- */

static bool configure(rd_kafka_conf_t *conf, const struct kafka_broker_settings *broker,
                      const struct kafka_settings_key *key, struct bailey_error *err)
{
    static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};

    rd_kafka_conf_set_dr_msg_cb(conf, report_cb);
    return kafka_conf_set(conf, "enable.idempotence", "true", err) && kafka_conf_set(conf, "acks", "all", err) &&
           kafka_conf_set(conf, "message.timeout.ms", "0", err) && /* for ever */
           kafka_conf_set(conf, "compression.codec", codecs[key->compression], err) &&
           kafka_conf_set(conf, "partitioner", "murmur2_random", err) && /* as Java's clients do it */
           kafka_conf_set_number(conf, "queue.buffering.max.ms", key->linger_ms, err) &&
           kafka_conf_set_number(conf, "message.max.bytes", key->max_message_size, err) &&
           kafka_conf_default(conf, broker, "allow.auto.create.topics", key->auto_create ? "true" : "false", err) &&
           kafka_conf_default(conf, broker, "topic.metadata.propagation.max.ms", "5000", err) &&
           kafka_conf_default(conf, broker, "queue.buffering.max.messages", "50000", err) &&
           kafka_conf_default(conf, broker, "queue.buffering.max.kbytes", "65536", err);
}

static struct kafka_producer *producer_new(struct kafka_broker *broker, const struct kafka_settings_key *key,
                                           struct bailey_error *err)
{
    static const struct kafka_client_ops ops = {
        .serve = on_serve, .reachable = on_reachable, .failed = on_failed, .throttled = on_throttled};
    rd_kafka_conf_t *conf = kafka_conf_new(broker->settings, err);
    struct kafka_producer *producer;

    if (conf == NULL)
        return NULL;
    if (!configure(conf, broker->settings, key, err)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    producer = kafka_alloc(1, sizeof *producer);
    producer->client = kafka_client_new(broker, conf, RD_KAFKA_PRODUCER, &ops, producer, err);
    if (producer->client == NULL) {
        free(producer);
        return NULL;
    }
    producer->broker = broker;
    producer->key = *key;
    producer->next = broker->producers;
    broker->producers = producer;
    producer->watch = (struct bailey_timer){.fire = on_watch, .ctx = producer};
    bailey_timer_start(broker->host, &producer->watch, WATCH_MS);
    return producer;
}

static bool same_key(const struct kafka_settings_key *a, const struct kafka_settings_key *b)
{
    return a->linger_ms == b->linger_ms && a->max_message_size == b->max_message_size &&
           a->compression == b->compression && a->auto_create == b->auto_create;
}

struct kafka_producer *kafka_producer_join(struct kafka_broker *broker, struct kafka_sink *sink,
                                           const struct kafka_settings_key *key, struct bailey_error *err)
{
    struct kafka_producer *producer = broker->producers;

    while (producer != NULL && !same_key(&producer->key, key))
        producer = producer->next;
    if (producer == NULL)
        producer = producer_new(broker, key, err);
    if (producer == NULL)
        return NULL;
    sink->producer = producer;
    sink->next = producer->sinks;
    sink->prev = &producer->sinks;
    if (sink->next != NULL)
        sink->next->prev = &sink->next;
    producer->sinks = sink;
    producer->sink_count++;
    return producer;
}

void kafka_producer_leave(struct kafka_sink *sink)
{
    struct kafka_producer *producer = sink->producer;

    assert(sink->outstanding == 0);
    *sink->prev = sink->next;
    if (sink->next != NULL)
        sink->next->prev = sink->prev;
    if (--producer->sink_count == 0 && producer->broker == NULL)
        kafka_producer_free(producer);
}

void kafka_producer_retire(struct kafka_producer *producer)
{
    struct kafka_producer **at;

    if (producer->broker == NULL)
        return;
    for (at = &producer->broker->producers; *at != producer; at = &(*at)->next)
        ;
    *at = producer->next;
    producer->broker = NULL;
}

void kafka_producer_purge(struct kafka_producer *producer)
{
    if (producer->purged)
        return;
    producer->purged = true;
    rd_kafka_purge(producer->client->rk,
                   RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

static void ended(void *arg)
{
    struct kafka_producer *producer = arg;

    free_flights(producer);
    free(producer);
}

void kafka_producer_free(struct kafka_producer *producer)
{
    assert(producer->sink_count == 0);
    kafka_producer_retire(producer);
    bailey_timer_stop(producer->client->host, &producer->watch);
    kafka_targets_clear(&producer->targets);
    kafka_client_free(producer->client, ended, producer);
}
