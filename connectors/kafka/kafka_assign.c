/* kafka_assign.c: which partitions the lane has, where it reads them, and what it has committed.
 *
 * librdkafka's rebalance callback only notes what is asked for; librdkafka keeps the membership alive and waits until we call
 * (un)assign, so the answer may take several turns of the loop:
 *
 *     assign: ask for the committed offsets (job) → with dedup, claim → assign with explicit offsets
 *     revoke: nothing more is given out → what is out is settled (bounded) → commit → unassign; nothing of this if the
 *             partitions are lost already: then their next owner may have committed
 *
 * A broker's restart takes all partitions away and brings them back, mostly to the same member. What was settled and could
 * not be committed is remembered for that case (`gone`): if the committed offset is still the one that we wrote, nobody read
 * further in between, and reading goes on at our own watermark.
 *
 * With dedup, commits say whose they are, and a partition that another process committed last is taken over (takeover.h). Such a
 * one, and one that nobody has committed, is claimed: committed in our name where we begin, and not read before the broker
 * confirms that. So whoever comes next sees that somebody read it since, even if we end before the first settlement.
 *
 * auto.offset.reset is `error`: a position that does not exist is told, never jumped over in silence.
 */
#include <stdio.h>
#include <stdlib.h>

#include "kafka_conf.h"
#include "kafka_source.h"

enum { REVOKE_MS = 5000, ASK_MS = 5000, AGAIN_MS = 1000 };

/* ---- The table of partitions ---- */

static int compare(const rd_kafka_topic_t *rkt, int32_t partition, const struct kafka_part *part)
{
    if (rkt != part->rkt)
        return (uintptr_t)rkt < (uintptr_t)part->rkt ? -1 : 1;
    return partition < part->partition ? -1 : partition > part->partition;
}

static int compare_parts(const void *a, const void *b)
{
    const struct kafka_part *const *part = a;

    return compare((*part)->rkt, (*part)->partition, *(struct kafka_part *const *)b);
}

struct kafka_part *kafka_part_find(struct kafka_source *source, const rd_kafka_topic_t *rkt, int32_t partition)
{
    size_t low = 0, high = source->part_count;

    /* Records come in long runs of one partition. */
    if (source->last != NULL && compare(rkt, partition, source->last) == 0)
        return source->last;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(rkt, partition, source->sorted[middle]);

        if (order == 0)
            return source->last = source->sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

struct kafka_part *kafka_part_of_group(const struct kafka_source *source, uint32_t group)
{
    uint32_t slot = group & (KAFKA_PARTS_MAX - 1);
    struct kafka_part *part = slot < source->slot_count ? source->slots[slot] : NULL;

    return part != NULL && part->group == group ? part : NULL;
}

static bool is_named(const struct kafka_part *part, const rd_kafka_topic_partition_t *wanted)
{
    return part->partition == wanted->partition && strcmp(rd_kafka_topic_name(part->rkt), wanted->topic) == 0;
}

static struct kafka_part *part_named(const struct kafka_source *source, const rd_kafka_topic_partition_t *wanted)
{
    for (size_t i = 0; i < source->part_count; i++)
        if (is_named(source->sorted[i], wanted))
            return source->sorted[i];
    return NULL;
}

static struct kafka_part *gone_named(const struct kafka_source *source, const rd_kafka_topic_partition_t *wanted)
{
    for (size_t i = 0; i < source->slot_count; i++)
        if (source->slots[i] != NULL && source->slots[i]->gone && is_named(source->slots[i], wanted))
            return source->slots[i];
    return NULL;
}

static uint32_t new_group(struct kafka_source *source, size_t slot)
{
    source->serial = (source->serial + 1) & 0xffff;
    if (source->serial == 0)
        source->serial = 1;
    return source->serial << 16 | (uint32_t)slot;
}

/* Room in the table: a free slot's index. */
static size_t free_slot(struct kafka_source *source)
{
    size_t slot = 0;

    while (slot < source->slot_count && source->slots[slot] != NULL)
        slot++;
    if (slot == source->slot_count) {
        size_t count = source->slot_count == 0 ? 16 : source->slot_count * 2;
        struct kafka_part **slots = kafka_alloc(count, sizeof *slots), **sorted = kafka_alloc(count, sizeof *sorted);

        for (size_t i = 0; i < source->slot_count; i++) {
            slots[i] = source->slots[i];
            sorted[i] = source->sorted[i];
        }
        free(source->slots);
        free(source->sorted);
        source->slots = slots;
        source->sorted = sorted;
        source->slot_count = count;
    }
    return slot;
}

/* `start`: where reading begins, if that is a number; `committed`: what the broker has, or -1. */
static struct kafka_part *part_add(struct kafka_source *source, const rd_kafka_topic_partition_t *wanted, int64_t start,
                                   int64_t committed)
{
    size_t slot = free_slot(source);
    struct kafka_part *part = kafka_alloc(1, sizeof *part);

    part->group = new_group(source, slot);
    part->partition = wanted->partition;
    part->rkt = rd_kafka_topic_new(source->client->rk, wanted->topic, NULL);
    part->committed = committed;
    watermark_init(&part->mark, start >= 0 ? start : WATERMARK_UNKNOWN);
    source->slots[slot] = part;
    source->sorted[source->part_count++] = part;
    qsort(source->sorted, source->part_count, sizeof *source->sorted, compare_parts);
    return part;
}

static rd_kafka_topic_partition_t *list_part(rd_kafka_topic_partition_list_t *list, const struct kafka_part *part,
                                             int64_t offset)
{
    rd_kafka_topic_partition_t *entry =
        rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(part->rkt), part->partition);

    entry->offset = offset;
    return entry;
}

static void part_free(struct kafka_source *source, struct kafka_part *part)
{
    source->slots[part->group & (KAFKA_PARTS_MAX - 1)] = NULL;
    watermark_fini(&part->mark);
    rd_kafka_topic_destroy(part->rkt);
    free(part);
}

static void part_remove(struct kafka_source *source, struct kafka_part *part)
{
    size_t i = 0;

    if (part->paused) { /* librdkafka would remember it, and never read it again if it came back to us */
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

        list_part(list, part, 0);
        rd_kafka_resume_partitions(source->client->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
    while (source->sorted[i] != part)
        i++;
    for (source->part_count--; i < source->part_count; i++)
        source->sorted[i] = source->sorted[i + 1];
    source->last = NULL;
    if (part->committed < 0 || (part->mark.low <= part->committed && part->mark.count == 0)) {
        part_free(source, part);
        return;
    }
    part->gone = true;
    part->revoking = part->paused = false;
}

void kafka_parts_clear(struct kafka_source *source)
{
    for (size_t i = 0; i < source->slot_count; i++)
        if (source->slots[i] != NULL)
            part_free(source, source->slots[i]);
    source->part_count = 0;
}

/* ---- Commits ---- */

/* Refusals that a rebalance brings with it: what is still ours then is committed a second later. */
static bool is_of_rebalance(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || code == RD_KAFKA_RESP_ERR__NO_OFFSET;
}

static void committed(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_source *source = opaque;

    (void)rk;
    source->committing = false;
    for (int i = 0; list != NULL && i < list->cnt; i++) {
        struct kafka_part *part = part_named(source, &list->elems[i]);

        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            code = list->elems[i].err;
        if (part == NULL || code != RD_KAFKA_RESP_ERR_NO_ERROR || list->elems[i].offset < part->committed ||
            list->elems[i].offset > part->mark.low)
            continue;
        part->committed = list->elems[i].offset;
        part->takeover.claims = false;
    }
    if (code != source->commit_code && code != RD_KAFKA_RESP_ERR_NO_ERROR)
        bailey_log(is_of_rebalance(code) ? BAILEY_LOG_DEBUG : BAILEY_LOG_WARN, "kafka.commit_failed",
                   kv_str("route", source->port->route), kv_str("broker", source->port->broker),
                   kv_str("reason", rd_kafka_err2str(code)));
    source->commit_code = code;
    bailey_again(source->host, &source->step);
}

/* librdkafka frees the metadata with the list, and copies both for the commit. */
static void list_commit(const struct kafka_source *source, rd_kafka_topic_partition_list_t *list,
                        const struct kafka_part *part)
{
    rd_kafka_topic_partition_t *entry = list_part(list, part, part->mark.low);

    if (source->port->dedup_scope == NULL)
        return;
    entry->metadata = takeover_metadata(&part->takeover, source->port->instance, part->mark.low);
    entry->metadata_size = strlen(entry->metadata);
}

bool kafka_commit(struct kafka_source *source)
{
    rd_kafka_topic_partition_list_t *list = NULL;

    if (source->committing)
        return true;
    for (size_t i = 0; i < source->part_count; i++) {
        const struct kafka_part *part = source->sorted[i];

        if (part->mark.low <= part->committed && !part->takeover.claims)
            continue;
        if (list == NULL)
            list = rd_kafka_topic_partition_list_new((int)source->part_count);
        list_commit(source, list, part);
    }
    if (list == NULL)
        return false;
    source->committing = rd_kafka_commit_queue(source->client->rk, list, source->client->consumer, committed, source) ==
                         RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_destroy(list);
    return source->committing;
}

/* ---- Pausing ---- */

void kafka_pause(struct kafka_source *source)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->part_count + 1);

    for (size_t i = 0; i < source->part_count; i++) {
        struct kafka_part *part = source->sorted[i];

        if (part->paused || part->revoking || !part->reading)
            continue;
        part->paused = true;
        list_part(list, part, 0);
    }
    if (list->cnt > 0)
        rd_kafka_pause_partitions(source->client->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    source->paused = true;
}

void kafka_resume(struct kafka_source *source)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->part_count + 1);

    for (size_t i = 0; i < source->part_count; i++) {
        if (!source->sorted[i]->paused)
            continue;
        source->sorted[i]->paused = false;
        list_part(list, source->sorted[i], 0);
    }
    if (list->cnt > 0)
        rd_kafka_resume_partitions(source->client->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    source->paused = false;
}

/* ---- Assign ---- */

static void unassign(struct kafka_source *source, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_t *rk = source->client->rk;

    if (strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0)
        rd_kafka_error_destroy(rd_kafka_incremental_unassign(rk, list));
    else
        rd_kafka_assign(rk, NULL);
}

static void change_done(struct kafka_source *source)
{
    rd_kafka_topic_partition_list_destroy(source->change);
    source->change = NULL;
    source->rebalance = REBALANCE_NONE;
    kafka_client_again(source->client);
}

/* Begin to read what `list` names, at its offsets. */
static bool assign(struct kafka_source *source, rd_kafka_topic_partition_list_t *list, struct bailey_error *err)
{
    rd_kafka_t *rk = source->client->rk;
    rd_kafka_resp_err_t code;
    rd_kafka_error_t *error;

    if (strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") != 0) {
        code = rd_kafka_assign(rk, list);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return true;
        return bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "kafka", code, "cannot assign partitions: %s",
                                  rd_kafka_err2str(code));
    }
    error = rd_kafka_incremental_assign(rk, list);
    if (error == NULL)
        return true;
    bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "kafka", rd_kafka_error_code(error), "cannot assign partitions: %s",
                       rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return false;
}

static void log_change(const struct kafka_source *source, const char *event)
{
    const struct bailey_port *port = source->port;

    bailey_log(BAILEY_LOG_INFO, event, kv_str("route", port->route), kv_u64("lane", port->lane),
               kv_i64("partitions", source->change->cnt), kv_u64("assigned", source->part_count));
}

static void take_over(struct kafka_source *source, struct kafka_part *part, const struct kafka_found *found)
{
    part->takeover = takeover_begin(found->owner, found->end, source->port->credit_messages);
    if (found->owner != TAKEOVER_ANOTHERS)
        return;
    bailey_log(BAILEY_LOG_INFO, "kafka.taken_over", kv_str("route", source->port->route),
               kv_str("topic", rd_kafka_topic_name(part->rkt)), kv_i64("partition", part->partition),
               kv_i64("offset", part->committed), kv_i64("end", found->end));
}

/* The answer about one partition has come: into the table with it. Leaves in `entry` where it is to be read. */
static void adopt(struct kafka_source *source, rd_kafka_topic_partition_t *entry, const struct kafka_found *found)
{
    struct kafka_part *known = part_named(source, entry), *gone;
    int64_t committed = found->is_end || entry->offset < 0 ? -1 : entry->offset, start;

    if (known != NULL)
        part_remove(source, known);
    gone = gone_named(source, entry);
    if (gone != NULL && committed >= 0 && gone->committed == committed && gone->mark.low > committed)
        entry->offset = gone->mark.low;
    if (gone != NULL)
        part_free(source, gone);
    start = entry->offset >= 0 ? entry->offset : found->first;
    if (entry->offset < 0)
        entry->offset = RD_KAFKA_OFFSET_BEGINNING; /* `first` may be gone when it is read */
    take_over(source, part_add(source, entry, start, committed), found);
}

/* The answer has come: `question->list` holds the committed offsets, and the ends where `start: latest` asked for them. */
static void apply_assignment(struct kafka_source *source, struct kafka_question *question)
{
    rd_kafka_topic_partition_list_destroy(source->change);
    source->change = question->list;
    question->list = NULL;
    for (int i = 0; i < source->change->cnt; i++)
        adopt(source, &source->change->elems[i], &question->found[i]);
    source->change_deadline = 0;
    source->rebalance = REBALANCE_CLAIMING;
    kafka_rebalance_step(source);
}

static void begin_reading(struct kafka_source *source)
{
    struct bailey_error err;

    if (!assign(source, source->change, &err)) {
        kafka_source_fail(source, &err);
        return;
    }
    for (size_t i = 0; i < source->part_count; i++)
        source->sorted[i]->reading = true;
    if (source->paused || source->draining)
        kafka_pause(source);
    source->assigned = true;
    log_change(source, "kafka.assigned");
    change_done(source);
    kafka_commit(source); /* of `start: latest` */
    kafka_source_show(source, NULL);
}

static bool is_claiming(const struct kafka_source *source)
{
    for (size_t i = 0; i < source->part_count; i++)
        if (source->sorted[i]->takeover.claims)
            return true;
    return false;
}

/* Without dedup nobody asks. */
static enum takeover_owner owner_of(const struct kafka_source *source, const rd_kafka_topic_partition_t *entry)
{
    struct bailey_bytes metadata = {entry->metadata, entry->metadata_size};

    if (source->port->dedup_scope == NULL)
        return TAKEOVER_OURS;
    return takeover_owner(entry->offset >= 0 ? &metadata : NULL, source->port->instance);
}

/* What else is to be known about a partition of which `entry` has the committed offset, or none. */
static rd_kafka_resp_err_t look_further(const struct kafka_question *question, rd_kafka_topic_partition_t *entry,
                                        struct kafka_found *found)
{
    rd_kafka_t *rk = question->source->client->rk;
    rd_kafka_resp_err_t code;

    *found = (struct kafka_found){
        .is_end = entry->offset < 0 && question->latest,
        .owner = owner_of(question->source, entry),
        .first = WATERMARK_UNKNOWN,
    };
    if (!found->is_end && found->owner == TAKEOVER_OURS)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    code = rd_kafka_query_watermark_offsets(rk, entry->topic, entry->partition, &found->first, &found->end, ASK_MS);
    if (found->is_end)
        entry->offset = found->end;
    return code;
}

/* On a helper thread. */
static void ask_committed(struct bailey_job *job)
{
    struct kafka_question *question = job->ctx;

    question->code = rd_kafka_committed(question->source->client->rk, question->list, ASK_MS);
    for (int i = 0; question->code == RD_KAFKA_RESP_ERR_NO_ERROR && i < question->list->cnt; i++) {
        question->code = question->list->elems[i].err;
        if (question->code == RD_KAFKA_RESP_ERR_NO_ERROR)
            question->code = look_further(question, &question->list->elems[i], &question->found[i]);
    }
}

static struct kafka_question *question_new(struct kafka_source *source, rd_kafka_topic_partition_list_t *list,
                                           void (*work)(struct bailey_job *job), void (*done)(struct bailey_job *job))
{
    struct kafka_question *question = kafka_alloc(1, sizeof *question);

    question->source = source;
    question->list = list;
    question->job = (struct bailey_job){.work = work, .done = done, .ctx = question};
    source->questions++;
    return question;
}

static void question_free(struct kafka_question *question)
{
    question->source->questions--;
    bailey_again(question->source->host, &question->source->step);
    if (question->list != NULL)
        rd_kafka_topic_partition_list_destroy(question->list);
    free(question->found);
    free(question);
}

static void answer_committed(struct bailey_job *job)
{
    struct kafka_question *question = job->ctx;
    struct kafka_source *source = question->source;
    struct bailey_error err;

    if (source->rebalance != REBALANCE_FETCHING || question->serial != source->change_serial || source->closing ||
        source->failed) {
        /* overtaken by another rebalance, or by the end */
    } else if (question->code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        apply_assignment(source, question);
    } else if (kafka_error_kind(question->code) == BAILEY_ERR_CONFIG) {
        bailey_fail_native(&err, BAILEY_ERR_CONFIG, "kafka", question->code,
                           "cannot read the offsets of group %.80s: %s", source->group,
                           rd_kafka_err2str(question->code));
        kafka_source_fail(source, &err);
    } else {
        bailey_log(BAILEY_LOG_WARN, "kafka.offsets_unknown", kv_str("route", source->port->route),
                   kv_str("group", source->group), kv_str("reason", rd_kafka_err2str(question->code)));
        source->rebalance = REBALANCE_ASSIGN;
        source->change_deadline = bailey_now_ms(source->host) + AGAIN_MS;
    }
    question_free(question);
}

static void begin_assign(struct kafka_source *source)
{
    struct kafka_question *question;

    if (rd_kafka_assignment_lost(source->client->rk)) { /* while we had not answered yet */
        unassign(source, source->change);
        change_done(source);
        return;
    }
    if (source->change->cnt == 0) { /* more members than partitions */
        begin_reading(source);
        return;
    }
    if (bailey_now_ms(source->host) < source->change_deadline)
        return;
    question =
        question_new(source, rd_kafka_topic_partition_list_copy(source->change), ask_committed, answer_committed);
    question->found = kafka_alloc((size_t)question->list->cnt, sizeof *question->found);
    question->latest = source->settings->start == KAFKA_START_LATEST;
    question->serial = source->change_serial;
    source->rebalance = REBALANCE_FETCHING;
    bailey_job_start(source->host, &question->job);
}

/* Until librdkafka is answered it asks nothing else, but the assignment may be lost meanwhile. */
static void claim(struct kafka_source *source, int64_t now)
{
    if (!is_claiming(source)) {
        begin_reading(source);
    } else if (!source->committing && now >= source->change_deadline) {
        source->change_deadline = now + AGAIN_MS;
        kafka_commit(source);
    }
}

/* ---- Revoke ---- */

static void begin_revoke(struct kafka_source *source)
{
    bool lost = rd_kafka_assignment_lost(source->client->rk);

    source->draining_out = 0;
    for (int i = 0; i < source->change->cnt; i++) {
        struct kafka_part *part = part_named(source, &source->change->elems[i]);

        if (part == NULL || part->revoking)
            continue;
        part->revoking = true;
        part->out = bailey_revoke(source->port, part->group);
        source->draining_out += part->out;
    }
    source->change_committed = lost;
    source->change_deadline = bailey_now_ms(source->host) + (lost ? 0 : REVOKE_MS);
    source->rebalance = lost ? REBALANCE_COMMITTING : REBALANCE_DRAINING;
}

static void finish_revoke(struct kafka_source *source)
{
    for (int i = 0; i < source->change->cnt; i++) {
        struct kafka_part *part = part_named(source, &source->change->elems[i]);

        if (part != NULL)
            part_remove(source, part);
    }
    unassign(source, source->change);
    log_change(source, "kafka.revoked");
    change_done(source);
}

static void commit_revoked(struct kafka_source *source, bool late)
{
    if (source->committing && !late)
        return;
    if (!source->change_committed && !late && !rd_kafka_assignment_lost(source->client->rk)) {
        source->change_committed = true;
        if (kafka_commit(source))
            return;
    }
    finish_revoke(source);
}

void kafka_rebalance_step(struct kafka_source *source)
{
    int64_t now = bailey_now_ms(source->host);
    bool late = now >= source->change_deadline;

    if (source->rebalance == REBALANCE_NONE)
        return;
    if (source->phase == SOURCE_LEAVING || source->failed ||
        (source->closing && source->rebalance <= REBALANCE_CLAIMING) ||
        (source->rebalance == REBALANCE_CLAIMING && rd_kafka_assignment_lost(source->client->rk))) {
        finish_revoke(source); /* nothing will be read of it */
        return;
    }
    if (source->rebalance == REBALANCE_ASSIGN)
        begin_assign(source);
    if (source->rebalance == REBALANCE_CLAIMING)
        claim(source, now);
    if (source->rebalance == REBALANCE_REVOKE) {
        begin_revoke(source);
        late = now >= source->change_deadline;
    }
    if (source->rebalance == REBALANCE_DRAINING && (source->draining_out == 0 || late || source->closing)) {
        if (source->draining_out > 0)
            bailey_log(BAILEY_LOG_WARN, "kafka.revoked_unsettled", kv_str("route", source->port->route),
                       kv_u64("messages", source->draining_out));
        source->rebalance = REBALANCE_COMMITTING;
        source->change_deadline = now + REVOKE_MS;
        late = false;
    }
    if (source->rebalance == REBALANCE_COMMITTING)
        commit_revoked(source, late);
}

void kafka_rebalance_cb(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_client *client = opaque;
    struct kafka_source *source = client->ctx;

    if (source == NULL) {
        rd_kafka_assign(rk, NULL);
        return;
    }
    if (source->change != NULL)
        rd_kafka_topic_partition_list_destroy(source->change); /* overtaken: librdkafka asks one thing at a time */
    source->change = rd_kafka_topic_partition_list_copy(list);
    source->change_serial++;
    source->change_deadline = 0;
    source->rebalance = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? REBALANCE_ASSIGN : REBALANCE_REVOKE;
}

/* ---- Lost offsets ---- */

/* On a helper thread. */
static void ask_range(struct bailey_job *job)
{
    struct kafka_question *question = job->ctx;
    const rd_kafka_topic_partition_t *entry = &question->list->elems[0];

    question->code = rd_kafka_query_watermark_offsets(question->source->client->rk, entry->topic, entry->partition,
                                                      &question->low, &question->high, ASK_MS);
}

static void describe_loss(const struct kafka_question *question, const rd_kafka_topic_partition_t *entry,
                          struct bailey_error *err)
{
    if (entry->offset < question->low)
        bailey_fail_native(
            err, BAILEY_ERR_CONFIG, "kafka", RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
            "offsets [%lld, %lld) of %.120s [%d] are lost: the broker deleted them before they were read",
            (long long)entry->offset, (long long)question->low, entry->topic, (int)entry->partition);
    else
        bailey_fail_native(err, BAILEY_ERR_CONFIG, "kafka", RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
                           "offset %lld of %.120s [%d] is lost: its log ends at %lld, it was cut or made anew",
                           (long long)entry->offset, entry->topic, (int)entry->partition, (long long)question->high);
    bailey_hint(err, "accept it by `on_offset_lost: earliest` or `latest`, or reset the offsets of the group");
}

/* Where a partition goes on after it was assigned again. */
static int64_t position_of(const struct kafka_part *part)
{
    return part->mark.low < 0 && part->mark.next == 0 ? RD_KAFKA_OFFSET_BEGINNING : part->mark.next;
}

/* Read `part` from `offset` on. A partition that stands after an error cannot be sought, so it is assigned anew. */
static void start_anew(struct kafka_source *source, struct kafka_part *part, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->part_count);
    bool cooperative = strcmp(rd_kafka_rebalance_protocol(source->client->rk), "COOPERATIVE") == 0;
    struct bailey_error err;

    bailey_revoke(source->port, part->group);
    watermark_fini(&part->mark);
    watermark_init(&part->mark, offset);
    part->group = new_group(source, part->group & (KAFKA_PARTS_MAX - 1));
    part->committed = -1;
    for (size_t i = 0; i < source->part_count; i++) {
        struct kafka_part *each = source->sorted[i];

        if (each == part || !cooperative)
            list_part(list, each, position_of(each));
        if (each == part || !cooperative)
            each->paused = false;
    }
    if (cooperative)
        rd_kafka_error_destroy(rd_kafka_incremental_unassign(source->client->rk, list));
    if (!assign(source, list, &err))
        kafka_source_fail(source, &err);
    else if (source->paused || source->draining)
        kafka_pause(source);
    rd_kafka_topic_partition_list_destroy(list);
}

static void answer_range(struct bailey_job *job)
{
    struct kafka_question *question = job->ctx;
    struct kafka_source *source = question->source;
    const rd_kafka_topic_partition_t *entry = &question->list->elems[0];
    struct kafka_part *part = kafka_part_of_group(source, question->group);
    struct bailey_error err;

    if (part == NULL || part->gone || part->revoking || source->closing || source->failed) {
        /* no concern of ours any more */
    } else if (question->code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        bailey_fail_native(&err, BAILEY_ERR_TRANSIENT, "kafka", question->code,
                           "offset %lld of %.120s [%d] is out of range, and the range unknown: %s",
                           (long long)entry->offset, entry->topic, (int)entry->partition,
                           rd_kafka_err2str(question->code));
        kafka_source_fail(source, &err);
    } else if (source->settings->on_offset_lost == KAFKA_LOST_STOP) {
        describe_loss(question, entry, &err);
        kafka_source_fail(source, &err);
    } else {
        int64_t target = source->settings->on_offset_lost == KAFKA_LOST_EARLIEST ? question->low : question->high;

        describe_loss(question, entry, &err);
        err.hint[0] = '\0';
        bailey_log(BAILEY_LOG_WARN, "kafka.offset_lost", kv_str("route", source->port->route),
                   kv_str("topic", entry->topic), kv_i64("partition", entry->partition), kv_i64("from", entry->offset),
                   kv_i64("goes_on_at", target), kv_error(&err));
        start_anew(source, part, target);
    }
    question_free(question);
}

void kafka_offset_lost(struct kafka_source *source, const rd_kafka_message_t *error)
{
    struct kafka_part *part = error->rkt != NULL ? kafka_part_find(source, error->rkt, error->partition) : NULL;
    struct kafka_question *question;
    rd_kafka_topic_partition_list_t *list;

    if (part == NULL || part->revoking)
        return;
    list = rd_kafka_topic_partition_list_new(1);
    list_part(list, part, error->offset >= 0 ? error->offset : position_of(part));
    question = question_new(source, list, ask_range, answer_range);
    question->group = part->group;
    bailey_job_start(source->host, &question->job);
}

/* ---- Lag ---- */

void kafka_report_lag(struct kafka_source *source)
{
    int64_t lag = 0;

    for (size_t i = 0; i < source->part_count; i++) {
        const struct kafka_part *part = source->sorted[i];
        int64_t low, high, next = position_of(part);

        if (rd_kafka_get_watermark_offsets(source->client->rk, rd_kafka_topic_name(part->rkt), part->partition, &low,
                                           &high) != RD_KAFKA_RESP_ERR_NO_ERROR ||
            high < 0)
            continue; /* nothing fetched yet */
        if (next < 0)
            next = low < 0 ? 0 : low;
        lag += high > next ? high - next : 0;
    }
    bailey_lag(source->port, lag);
}
