/* kafka_source.h: a lane's consumer, shared by kafka_source.c (messages, life) and kafka_assign.c (partitions, offsets). */
#ifndef KAFKA_SOURCE_H
#define KAFKA_SOURCE_H

#include "kafka_client.h"
#include "kafka_topics.h"
#include "takeover.h"
#include "watermark.h"

/* A partition during one assignment. */
struct kafka_part {
    uint32_t group; /* what its messages carry: slot in the low 16 bits, a serial number above; never 0 */
    bool revoking;  /* gives out nothing more */
    bool gone;      /* taken away before all of it was committed: kept in case that it comes back untouched */
    bool paused;    /* by us: only what we paused is resumed */
    int32_t partition;
    size_t out;            /* revoking: messages that still have to be settled */
    rd_kafka_topic_t *rkt; /* held: its address identifies the topic in messages */
    struct watermark mark;
    int64_t committed; /* the offset that the broker has, or -1 */
    struct takeover takeover;
    bool reading; /* librdkafka was told to read it */
};

/* What librdkafka asked for, in the order in which it is done. librdkafka waits for our (un)assign call. */
enum kafka_rebalance {
    REBALANCE_NONE,
    REBALANCE_ASSIGN,   /* new: not yet begun */
    REBALANCE_FETCHING, /* a job asks for the committed offsets */
    REBALANCE_CLAIMING, /* the partitions are in the table, and commits in our name are awaited before they are read */
    REBALANCE_REVOKE,   /* new: not yet begun */
    REBALANCE_DRAINING, /* what is out is being settled */
    REBALANCE_COMMITTING,
};

/* What was found out about a partition besides its committed offset. */
struct kafka_found {
    bool is_end;               /* the offset is none that was committed, but the end of the log */
    enum takeover_owner owner; /* with dedup: of the last commit */
    int64_t first, end;        /* of the log; where neither needs them: first is WATERMARK_UNKNOWN */
};

/* A question about offsets that only a blocking call can answer; runs as a job. */
struct kafka_question {
    struct bailey_job job;
    struct kafka_source *source;
    rd_kafka_topic_partition_list_t *list;
    struct kafka_found *found; /* one for each of an assignment's list */
    bool latest;               /* resolve the end of partitions without committed offset */
    uint32_t group;            /* for a lost offset: of which assignment; else 0 */
    uint32_t serial;           /* for an assignment: of which rebalance */
    int64_t low, high;
    rd_kafka_resp_err_t code;
};

enum kafka_source_phase { SOURCE_ASKING, SOURCE_RUNNING, SOURCE_COMMITTING, SOURCE_LEAVING };

enum { KAFKA_SLICE = 500, KAFKA_PARTS_MAX = 1 << 16 };

struct kafka_source {
    const struct kafka_source_settings *settings;
    struct bailey_port *port;
    struct bailey_host *host;
    struct kafka_client *client;
    struct kafka_topics topics;
    struct bailey_timer tick; /* commits, lag, pausing: once a second */
    struct bailey_task step;  /* goes on with closing or a rebalance outside of any callback */
    char *group;

    enum kafka_source_phase phase;
    bool up, draining, drained, closing, failed;
    bool assigned; /* the group gave us partitions (perhaps none) */
    bool paused;
    int64_t blocked_since; /* no room, and nothing read, since then; 0 = not blocked */
    int64_t deadline;      /* of the phase, while closing */

    struct kafka_part **slots;  /* by slot, NULL = free */
    struct kafka_part **sorted; /* by (rkt, partition) */
    size_t slot_count, part_count;
    uint32_t serial;
    struct kafka_part *last; /* of the message before */

    enum kafka_rebalance rebalance;
    rd_kafka_topic_partition_list_t *change; /* of the rebalance */
    uint32_t change_serial;
    int64_t change_deadline; /* of draining and committing; not before, for a repeated question or claim */
    bool change_committed;   /* the commit of what is revoked was sent */
    size_t draining_out;

    bool committing; /* a commit's answer is awaited */
    int64_t next_commit;
    rd_kafka_resp_err_t commit_code; /* of the last commit: a change is logged */
    size_t questions;                /* jobs under way */
};

/* ---- kafka_source.c ---- */

/* The source is of no more use. */
void kafka_source_fail(struct kafka_source *source, const struct bailey_error *err);
/* Tell the port whether it works now. */
void kafka_source_show(struct kafka_source *source, const char *reason);

/* ---- kafka_assign.c ---- */

void kafka_rebalance_cb(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque);
/* Go on with what kafka_rebalance_cb noted; called after each slice and whenever something ended. */
void kafka_rebalance_step(struct kafka_source *source);

/* The assigned partition of a message, or NULL. */
struct kafka_part *kafka_part_find(struct kafka_source *source, const rd_kafka_topic_t *rkt, int32_t partition);
struct kafka_part *kafka_part_of_group(const struct kafka_source *source, uint32_t group);
void kafka_parts_clear(struct kafka_source *source);

/* Commit what moved. Returns true if an answer will come. */
bool kafka_commit(struct kafka_source *source);

/* A partition's position does not exist at the broker any more. */
void kafka_offset_lost(struct kafka_source *source, const rd_kafka_message_t *error);

void kafka_pause(struct kafka_source *source);
void kafka_resume(struct kafka_source *source);
void kafka_report_lag(struct kafka_source *source);

#endif
