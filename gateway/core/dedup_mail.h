/* core/dedup_mail.h: what lanes and shards send each other. Private to dedup.c, dedup_client.c and dedup_mail.c.
 *
 * A mail is allocated for a batch by its sender and freed by its receiver. Those from one sender to one receiver come in the
 * order in which they were sent.
 */
#ifndef BAILEY_DEDUP_MAIL_H
#define BAILEY_DEDUP_MAIL_H

#include "core/dedup.h"

enum dedup_request { DEDUP_ASK, DEDUP_FINISH, DEDUP_WITHDRAW };

struct dedup_item {
    struct dedup_slot *slot;
    uint8_t what;    /* enum dedup_request, or enum dedup_answer */
    uint8_t outcome; /* enum id_outcome, of DEDUP_FINISH */
    bool in_doubt;   /* of DEDUP_WITHDRAW */
};

enum { DEDUP_MAIL_MAX = 256 };

struct dedup_mail {
    struct bailey_task task;  /* its ctx is the mail */
    void *to;                 /* struct dedup_shard or struct dedup_client */
    struct bailey_host *host; /* the receiver's */
    bool is_near;             /* of the sender's own lane: in the next turn, without the mailbox */
    struct dedup_mail *next;  /* the receiver's */
    size_t count;
    struct dedup_item items[DEDUP_MAIL_MAX];
};

/* ---- What a lane or a shard has to send: a mail that is being filled for each receiver ---- */

struct dedup_post {
    unsigned count;           /* of receivers */
    struct dedup_mail **open; /* by the receiver's number; NULL: none */
    unsigned *written;        /* numbers of those with an open mail, perhaps among others */
    unsigned written_count;
};

void dedup_post_init(struct dedup_post *post, unsigned count);
void dedup_post_fini(struct dedup_post *post);

/* Is there a mail that can take one more for this receiver? Else begin one. */
static inline bool dedup_post_is_open(const struct dedup_post *post, unsigned number)
{
    return post->open[number] != NULL;
}
void dedup_post_begin(struct dedup_post *post, unsigned number, void *to, struct bailey_host *host, bool is_near,
                      void (*receive)(struct bailey_task *task));

/* A mail that is full is sent at once. */
void dedup_post_add(struct dedup_post *post, unsigned number, const struct dedup_item *item);
void dedup_post_send(struct dedup_post *post);

/* ---- Receivers ---- */

struct bailey_host *dedup_shard_host(const struct dedup_shard *shard);
void dedup_shard_receive(struct bailey_task *task);

/* From the lane beside it, without mail. True: what was asked for may go, and no answer says so. */
bool dedup_shard_take(struct dedup_shard *shard, const struct dedup_item *item);
void dedup_shard_flush(struct dedup_shard *shard); /* that was all, for now */
void dedup_shard_prefetch(const struct dedup_shard *shard, struct id id);

unsigned dedup_client_number(const struct dedup_client *client);
struct bailey_host *dedup_client_host(const struct dedup_client *client);
void dedup_client_receive(struct bailey_task *task);

#endif
