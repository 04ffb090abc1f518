/* receiver.h: what the two ends that receive (a consumer, a shelf) have in common on their channel: messages from frames, handed over
 * in batches, acknowledgements that follow the lane's settlements, and how they end. Worker's thread.
 */
#ifndef AMQ_RECEIVER_H
#define AMQ_RECEIVER_H

#include "acks.h"
#include "assembly.h"
#include "connection.h"

enum {
    AMQ_RECEIVER_BATCH = 256,   /* messages handed over at once */
    AMQ_FIRST_MEAN = 128 << 10, /* bytes a message, until we know better */
};

struct amq_receiver {
    /* Set by the end. */
    struct amq_channel ch;                      /* first; its ops */
    void (*forgotten)(struct amq_receiver *in); /* amq_receiver_forget() was called; NULL: it does not matter */
    void (*free_end)(struct amq_receiver *in);  /* it is closed: free the end, after amq_receiver_fini() */

    struct amq_broker *broker;
    struct bailey_host *host;
    struct bailey_port *port;
    const char *queue;
    uint32_t group; /* this channel's life */
    struct amq_acks acks;
    uint64_t mean;          /* bytes a message */
    uint64_t opaque_tables; /* that were counted and not told */
    bool draining, closing, failed;

    /* Private from here on. */
    struct bailey_task ack_task, end_task;
    struct bailey_timer stragglers, close_limit;
    bool drained, closed; /* to be told */
    bool stragglers_run;
    struct amq_assembly assembly;
    int64_t wall_ms; /* when the batch began */
    struct bailey_message *batch[AMQ_RECEIVER_BATCH];
    size_t batch_count;
};

/* Zeroed, but for what the end sets; `queue` must outlive it. */
void amq_receiver_init(struct amq_receiver *in, struct amq_broker *broker, struct bailey_port *port, const char *queue);
/* Leave the channel, and free what it holds. */
void amq_receiver_fini(struct amq_receiver *in);

/* basic.deliver or basic.get-ok came: `r` stands at its delivery tag. If it is not `wanted`, or larger than max_message_size, it stays
 * unacknowledged, and returns to its queue with the channel's close. */
void amq_receiver_begin(struct amq_receiver *in, struct amq_reader *r, bool wanted);
/* Its content: ops of the channel. */
void amq_receiver_header(struct amq_channel *ch, uint64_t body_size, struct bailey_bytes props);
void amq_receiver_body(struct amq_channel *ch, struct bailey_bytes part, bool last);
/* Hand over what was gathered: at input_end, at the latest. */
void amq_receiver_hand_over(struct amq_receiver *in);
/* Drop what was gathered and not handed over. */
void amq_receiver_drop(struct amq_receiver *in);

/* Settlements of an earlier life are ignored; what is neither accepted nor (if it `rejects`) rejected stays unacknowledged. The
 * frames go in the next turn. */
void amq_receiver_settle(struct amq_receiver *in, const struct bailey_settlement *ended, size_t count, bool rejects);
/* The channel is gone, or is given up: its messages are forgotten (bailey_revoke), another life begins. */
void amq_receiver_forget(struct amq_receiver *in);

/* The end is down (bailey_down), or has closed by that. */
void amq_receiver_fail(struct amq_receiver *in, const struct bailey_error *err);
/* The same, if what prepares the channel (setup.h) could not be sent. */
void amq_receiver_must_fit(struct amq_receiver *in, bool sent);

/* Draining is done: told in the next turn, once. */
void amq_receiver_drained(struct amq_receiver *in);

/* The end is to close. True: its acknowledgements are on their way, and it has AMQ_CLOSE_MS to close the channel behind them. */
bool amq_receiver_close(struct amq_receiver *in);
/* The channel is closed: an op of it. */
void amq_receiver_closed(struct amq_channel *ch);

/* Monotonic seconds, as the acks count them. */
uint32_t amq_receiver_second(const struct amq_receiver *in);

#endif
