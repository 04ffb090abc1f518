/* core/dedup.h: which message with an id goes on, and which is a duplicate of it.
 *
 * An id belongs to one shard (id_owner), which lives on one worker; a route has a shard for each lane. A lane asks the shard
 * beside it at once, and those of other workers by their mailboxes, a batch at a time. Answers are mail, too, but for a GO that
 * needs nothing of the store.
 *
 *   ask ──→ known already? ── recorded ──────────────────────────→ DEDUP_DUPLICATE
 *            │        └── in flight ─→ DEDUP_FOLLOWS ─→ what its owner gets, or go in its place
 *            └ new: reserve, write the intent ─→ DEDUP_GO ──(sink confirms)── finish ──→ recorded ──→ DEDUP_RECORDED
 *                                                  └──────(left to its source)── withdraw ──→ DEDUP_WITHDRAWN
 *
 * A slot is in the shard's hands from ask until DUPLICATE, RECORDED or WITHDRAWN; it must stay in place until then.
 */
#ifndef BAILEY_DEDUP_H
#define BAILEY_DEDUP_H

#include <bailey/host.h>

#include "core/id.h"
#include "core/state.h"

struct dedup_client;
struct dedup_entry;
struct dedup_mail;
struct dedup_shard;

enum dedup_answer {
    DEDUP_FOLLOWS,   /* one with this id is in flight; another answer follows, perhaps much later */
    DEDUP_GO,        /* reserved: send it */
    DEDUP_GO_MARKED, /* the same, and the sink may have it already */
    DEDUP_DUPLICATE, /* another one with this id is at its end: settle it like that one */
    DEDUP_RECORDED,  /* finish() is durable: settle */
    DEDUP_WITHDRAWN, /* withdraw() is done */
};

/* One message's place; in its delivery. */
struct dedup_slot {
    struct id id;
    struct dedup_client *client; /* who is answered; set by dedup_ask() */
    struct dedup_entry *entry;   /* the shard's */
    struct dedup_slot *next;     /* the shard's */
};

/* The shards of one scope, by number: what lanes ask. Filled before the first message moves; outlives lanes and shards. */
struct dedup_group {
    unsigned count;
    struct dedup_shard **shards;
};

/* ---- A shard ---- */

struct dedup_shard_options {
    struct bailey_host *host;
    const char *route;         /* of the lane beside it: for the log */
    struct dedup_group *group; /* takes its place in it */
    unsigned number;
    struct state *state;
    int64_t window_ms, max; /* `max`: of the whole scope */
    bool pass_on_failure;   /* while the store fails, messages go on, marked; else they wait for it */
};

/* Begins to load what the state has. Never NULL. */
struct dedup_shard *dedup_shard_new(const struct dedup_shard_options *options);

/* Nothing may come any more: no mail is on its way, and the state has let go of the shard's requests. */
void dedup_shard_free(struct dedup_shard *shard);

/* Why it cannot answer now ("" if it can), for people: the lane on the shard's own worker shows it. `on_change` is called when it
 * changes; NULL to end that. */
const char *dedup_shard_trouble(const struct dedup_shard *shard);
void dedup_shard_watch(struct dedup_shard *shard, void (*on_change)(void *ctx), void *ctx);

/* ---- A lane's side. All on the lane's thread ---- */

struct dedup_client_options {
    struct bailey_host *host;
    struct dedup_group *group;
    unsigned number; /* of the lane, which is that of its own shard */
    /* Several slots at once, in the next turn or later. */
    void (*on_answer)(void *ctx, struct dedup_slot *slot, enum dedup_answer answer);
    void (*on_answers_end)(void *ctx); /* after the last of a batch */
    void *ctx;
};

struct dedup_client *dedup_client_new(const struct dedup_client_options *options);
void dedup_client_free(struct dedup_client *client); /* no slot may be in a shard's hands */

/* Gathered, until dedup_flush(). */
bool dedup_ask(struct dedup_client *client,
               struct dedup_slot *slot); /* slot->id is set. True: DEDUP_GO, here and now */
void dedup_finish(struct dedup_client *client, struct dedup_slot *slot, enum id_outcome outcome); /* after GO */
/* At any time in between: it will not be sent (again) by this lane. `in_doubt`: it was sent, and may be at the sink. */
void dedup_withdraw(struct dedup_client *client, struct dedup_slot *slot, bool in_doubt);

void dedup_flush(struct dedup_client *client);

/* Fetch what dedup_ask() will read for this id into the cache: for a batch of them. */
void dedup_prefetch(const struct dedup_client *client, struct id id);

#endif
