/* log_broker.h: a simulated log with a group of consumers, as Kafka's: partitions whose offsets have gaps, a committed position
 * for each, and members to which the partitions are given.
 *
 * A partition is taken from a member either with its knowledge (REVOKE: it has time to finish and to commit) or without (LOST:
 * it learns of it later, and what it commits meanwhile is refused).
 */
#ifndef BAILEY_SIM_LOG_BROKER_H
#define BAILEY_SIM_LOG_BROKER_H

#include "ledger.h"
#include "link.h"

/* Frames; a: partition, b: generation of its assignment; text: the metadata of the commit. */
enum log_frame {
    LOG_FETCH,     /* to the broker. c: from this offset */
    LOG_COMMIT,    /* c: position */
    LOG_RELEASED,  /* answers REVOKE */
    LOG_JOINED,    /* to the client */
    LOG_ASSIGN,    /* c: committed position, or LOG_UNKNOWN */
    LOG_REVOKE,    /* finish, commit, release */
    LOG_LOST,      /* it is somebody else's already */
    LOG_RECORDS,   /* c: index of the first, d: how many */
    LOG_COMMITTED, /* c: position; flags: 1 if it was refused */
};
#define LOG_UNKNOWN UINT64_MAX

enum { LOG_PARTITIONS_MAX = 4 };

struct log_record {
    int64_t offset;
    uint32_t number; /* of the message */
};

struct log_broker;

struct log_broker *log_broker_new(struct sim *sim, const char *topic, unsigned partitions, bool begins_unknown);
void log_broker_append(struct log_broker *broker, uint32_t number);

/* From within a worker. */
struct link *log_broker_connect(struct log_broker *broker, struct bailey_host *host, const struct link_client *ops,
                                void *client);

/* What a RECORDS frame names. */
const struct log_record *log_broker_records(const struct log_broker *broker, unsigned partition);
unsigned log_broker_partitions(const struct log_broker *broker);
/* How many records there are from the committed position to that offset; INT64_MAX if that assignment is over. */
int64_t log_broker_lag(const struct log_broker *broker, unsigned partition, uint64_t generation, int64_t offset);
/* The offset of the first record, or of what will be that. */
int64_t log_broker_begin(const struct log_broker *broker, unsigned partition);
/* The offset of what will be appended next. */
int64_t log_broker_end(const struct log_broker *broker, unsigned partition);

/* A fault: move a partition to another member, or to the same again. */
void log_broker_rebalance(struct log_broker *broker, bool with_drain);

/* Every record is committed. */
bool log_broker_is_done(const struct log_broker *broker);

#endif
