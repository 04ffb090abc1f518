/* kafka_producer.h: the producer that the sinks of a worker share, and its deliveries under way.
 *
 * Sinks with equal producer settings (linger, size limit, compression) to one broker share one librdkafka
 * producer: its threads, connections, batches. All functions: worker's thread.
 */
#ifndef KAFKA_PRODUCER_H
#define KAFKA_PRODUCER_H

#include "kafka_client.h"
#include "kafka_target.h"
#include "kafka_topics.h"

/* One message inside librdkafka: its opaque. The body is used in place until the report, so the message must live until
 * then even if its sink has gone: then the flight is an orphan, and holds a reference of its own. */
struct kafka_flight {
    struct kafka_sink *sink;          /* NULL: orphan */
    struct bailey_delivery *delivery; /* while it has a sink */
    struct bailey_message *message;   /* orphan: its reference */
    struct kafka_target *target;      /* where to */
    size_t size;                      /* of the record, as the target's room counts it */
    uint64_t number;                  /* the room's */
    struct kafka_flight *next_free;
};

struct kafka_settings_key {
    int64_t linger_ms, max_message_size;
    int compression;  /* enum kafka_compression */
    bool auto_create; /* leave it to the broker whether an unknown topic is created */
};

struct kafka_producer {
    struct kafka_broker *broker; /* NULL: retired, no new sinks */
    struct kafka_client *client;
    struct kafka_producer *next;
    struct kafka_settings_key key;
    struct kafka_sink *sinks;
    size_t sink_count;
    struct kafka_flight *free_flights;
    struct kafka_flight_block *blocks;
    struct kafka_targets targets;
    struct bailey_timer watch; /* finds out what stalls */
    int64_t throttled_until;
    bool purged;
    char away[300];       /* why no broker can be reached, or "" */
    unsigned away_serial; /* counts its changes */
};

enum { KAFKA_CONFIRM_MAX = 256 };

struct kafka_sink {
    const struct kafka_sink_settings *settings;
    struct bailey_port *port;
    struct bailey_host *host;
    struct kafka_producer *producer;
    struct kafka_sink *next, **prev; /* of the producer */
    struct kafka_topics topics;
    char *constant_name; /* the topic, if it is no template */
    struct kafka_target *constant_target;
    struct bailey_task step; /* goes on with closing */
    struct bailey_timer later;

    bool ready; /* its topic exists, or need not */
    bool shown_up, shown_held, failed, closing;
    unsigned away_shown; /* of the producer's away_serial */
    bool full;           /* send() took less than it was given */
    int64_t full_since;
    int full_at;            /* messages that were in the producer then */
    bool waits_for_reports; /* send() took less than it was given: the room of a topic is full */
    int64_t deadline;       /* while closing */
    size_t outstanding;

    struct bailey_delivery *confirmed[KAFKA_CONFIRM_MAX]; /* gathered from reports */
    size_t confirmed_count;
};

/* The producer for these settings, made if there is none; NULL with `err`. Adds the sink to it. */
struct kafka_producer *kafka_producer_join(struct kafka_broker *broker, struct kafka_sink *sink,
                                           const struct kafka_settings_key *key, struct bailey_error *err);
/* The sink goes; it must have nothing outstanding. The last one ends a retired producer. */
void kafka_producer_leave(struct kafka_sink *sink);

/* No new sink shall get this producer. */
void kafka_producer_retire(struct kafka_producer *producer);
/* Take everything out of its queue and its requests: reports follow. */
void kafka_producer_purge(struct kafka_producer *producer);
/* After its last sink left: end it. */
void kafka_producer_free(struct kafka_producer *producer);

/* A record of `size` bytes goes to `target`. */
struct kafka_flight *kafka_flight_new(struct kafka_sink *sink, struct bailey_delivery *delivery,
                                      struct kafka_target *target, size_t size);
void kafka_flight_free(struct kafka_producer *producer, struct kafka_flight *flight);
/* Every flight of the sink becomes an orphan; each delivery is handed back, in doubt. */
void kafka_flights_orphan(struct kafka_sink *sink);

/* The topic of that name (kafka_target_of()); NULL if the name is none. */
struct kafka_target *kafka_producer_target(struct kafka_producer *producer, const void *name, size_t len);

/* ---- kafka_sink.c ---- */

/* Tell the port whether the sink can take messages, and why not. */
void kafka_sink_show(struct kafka_sink *sink);
void kafka_sink_fail(struct kafka_sink *sink, const struct bailey_error *err);
/* A report. */
void kafka_sink_report(struct kafka_sink *sink, struct kafka_flight *flight, const rd_kafka_message_t *record);
/* The end of a round of reports. */
void kafka_sink_reported(struct kafka_sink *sink);

#endif
