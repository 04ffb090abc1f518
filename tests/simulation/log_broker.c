/* log_broker.c: the group's coordinator and the partitions' leader in one. */
#include "log_broker.h"

#include <stdlib.h>

enum { REVOKE_MS = 12000 }; /* what a member has to finish with a partition */

struct session {
    struct log_broker *broker;
    struct link *link;
    struct session *next;
    bool is_parked[LOG_PARTITIONS_MAX]; /* a fetch that waits for records */
    int64_t parked_from[LOG_PARTITIONS_MAX];
};

struct partition {
    struct log_broker *broker;
    unsigned number;
    struct log_record *records;
    size_t count, cap, told; /* told: those below the committed position */
    int64_t next_offset, committed;
    const char *metadata; /* of that commit; NULL: none */
    uint64_t generation;
    struct session *owner;
    struct event revoked; /* planned while the owner has to give it back: its patience ends */
};

struct log_broker {
    struct sim *sim;
    const char *topic;
    struct partition parts[LOG_PARTITIONS_MAX];
    unsigned count;
    struct session *sessions;
    unsigned session_count;
};

/* ---- Giving partitions ---- */

static void give(struct partition *part)
{
    struct log_broker *broker = part->broker;
    struct session *to = broker->sessions;

    part->owner = NULL;
    part->generation++;
    sim_cancel(broker->sim, &part->revoked);
    if (to == NULL)
        return;
    for (uint64_t skip = dice_below(&broker->sim->dice, broker->session_count); skip > 0; skip--)
        to = to->next;
    part->owner = to;
    to->is_parked[part->number] = false;
    sim_note(broker->sim, "log: gives partition %llu from position %lld", part->number, (uint64_t)part->committed);
    link_to_client(to->link, (struct frame){.kind = LOG_ASSIGN,
                                            .a = part->number,
                                            .b = part->generation,
                                            .c = part->committed < 0 ? LOG_UNKNOWN : (uint64_t)part->committed,
                                            .text = part->metadata});
}

static void take(struct partition *part)
{
    struct frame frame = {.kind = LOG_LOST, .a = part->number, .b = part->generation};

    sim_note(part->broker->sim, "log: takes partition %llu away", part->number, 0);
    link_to_client(part->owner->link, frame);
    give(part);
}

static void patience_ends(struct event *event)
{
    take(event->ctx);
}

static void move(struct partition *part, bool with_drain)
{
    struct frame frame = {.kind = LOG_REVOKE, .a = part->number, .b = part->generation};
    struct sim *sim = part->broker->sim;

    if (part->owner == NULL || part->revoked.place != 0)
        return;
    if (!with_drain) {
        take(part);
        return;
    }
    sim_note(sim, "log: revokes partition %llu", part->number, 0);
    link_to_client(part->owner->link, frame);
    sim_plan(sim, &part->revoked, sim->now_ms + REVOKE_MS);
}

void log_broker_rebalance(struct log_broker *broker, bool with_drain)
{
    move(&broker->parts[dice_below(&broker->sim->dice, broker->count)], with_drain);
}

/* ---- Records ---- */

static size_t find_offset(const struct partition *part, int64_t offset)
{
    size_t low = 0, high = part->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (part->records[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Answer a fetch, or park it. */
static void fetch(struct session *session, struct partition *part, int64_t from)
{
    size_t first = find_offset(part, from);

    session->is_parked[part->number] = first == part->count;
    session->parked_from[part->number] = from;
    if (first == part->count)
        return;
    link_to_client(session->link, (struct frame){.kind = LOG_RECORDS,
                                                 .a = part->number,
                                                 .b = part->generation,
                                                 .c = first,
                                                 .d = 1 + dice_below(&part->broker->sim->dice, part->count - first)});
}

void log_broker_append(struct log_broker *broker, uint32_t number)
{
    struct partition *part = &broker->parts[dice_below(&broker->sim->dice, broker->count)];

    if (dice_percent(&broker->sim->dice, 15)) /* transaction markers, compaction */
        part->next_offset += dice_between(&broker->sim->dice, 1, 5);
    ledger_placed(broker->sim->ledger, number, broker->topic, (int32_t)part->number, part->next_offset);
    WORLD_ROOM(part->records, part->count, part->cap);
    part->records[part->count++] = (struct log_record){part->next_offset++, number};
    if (part->owner != NULL && part->owner->is_parked[part->number])
        fetch(part->owner, part, part->owner->parked_from[part->number]);
}

static void commit(struct session *session, struct partition *part, const struct frame *frame)
{
    struct sim *sim = part->broker->sim;
    struct frame answer = *frame;

    answer.kind = LOG_COMMITTED;
    answer.flags = part->owner != session || part->generation != frame->b;
    link_to_client(session->link, answer);
    if (answer.flags != 0)
        return;
    sim_note(sim, "log: partition %llu is committed to %llu", part->number, frame->c);
    if ((int64_t)frame->c < part->committed)
        sim_fail(sim, "partition %u: committed back from %lld to %lld", part->number, (long long)part->committed,
                 (long long)frame->c);
    part->committed = (int64_t)frame->c;
    part->metadata = frame->text;
    for (; part->told < part->count && part->records[part->told].offset < part->committed; part->told++)
        ledger_told(sim->ledger, part->records[part->told].number);
}

/* ---- Sessions ---- */

static void on_frame(void *ctx, const struct frame *frame)
{
    struct session *session = ctx;
    struct partition *part = &session->broker->parts[frame->a];
    bool is_owner = part->owner == session && part->generation == frame->b;

    if (frame->kind == LOG_COMMIT)
        commit(session, part, frame);
    else if (frame->kind == LOG_FETCH && is_owner && part->revoked.place == 0)
        fetch(session, part, (int64_t)frame->c);
    else if (frame->kind == LOG_RELEASED && is_owner)
        give(part);
}

static void on_gone(void *ctx)
{
    struct session *session = ctx, **at = &session->broker->sessions;
    struct log_broker *broker = session->broker;

    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    broker->session_count--;
    for (unsigned i = 0; i < broker->count; i++)
        if (broker->parts[i].owner == session)
            give(&broker->parts[i]);
    free(session);
}

static const struct link_server server_ops = {.frame = on_frame, .gone = on_gone};

/* A newcomer gets its share. */
static void share(struct log_broker *broker)
{
    for (unsigned i = 0; i < broker->count; i++) {
        struct partition *part = &broker->parts[i];

        if (part->owner == NULL)
            give(part);
        else if (dice_below(&broker->sim->dice, broker->session_count) == 0)
            move(part, true);
    }
}

struct link *log_broker_connect(struct log_broker *broker, struct bailey_host *host, const struct link_client *ops,
                                void *client)
{
    struct session *session;
    struct link *link;

    process_step(host->process);
    session = world_alloc(1, sizeof *session);
    *session = (struct session){.broker = broker, .next = broker->sessions};
    link = link_open(host, ops, client, &server_ops, session);
    session->link = link;
    broker->sessions = session;
    broker->session_count++;
    link_to_client(link, (struct frame){.kind = LOG_JOINED});
    share(broker);
    return link;
}

/* ---- The broker ---- */

struct log_broker *log_broker_new(struct sim *sim, const char *topic, unsigned partitions, bool begins_unknown)
{
    struct log_broker *broker = world_alloc(1, sizeof *broker);

    broker->sim = sim;
    broker->topic = topic;
    broker->count = partitions;
    for (unsigned i = 0; i < partitions; i++) {
        struct partition *part = &broker->parts[i];

        *part = (struct partition){.broker = broker, .number = i, .revoked = {.run = patience_ends, .ctx = part}};
        part->next_offset = dice_percent(&sim->dice, 30) ? dice_between(&sim->dice, 1, 1000) : 0;
        part->committed = begins_unknown ? -1 : part->next_offset;
    }
    return broker;
}

const struct log_record *log_broker_records(const struct log_broker *broker, unsigned partition)
{
    return broker->parts[partition].records;
}

unsigned log_broker_partitions(const struct log_broker *broker)
{
    return broker->count;
}

int64_t log_broker_lag(const struct log_broker *broker, unsigned partition, uint64_t generation, int64_t offset)
{
    const struct partition *part = &broker->parts[partition];

    return generation == part->generation ? (int64_t)find_offset(part, offset) - (int64_t)part->told : INT64_MAX;
}

int64_t log_broker_begin(const struct log_broker *broker, unsigned partition)
{
    const struct partition *part = &broker->parts[partition];

    return part->count > 0 ? part->records[0].offset : part->next_offset;
}

int64_t log_broker_end(const struct log_broker *broker, unsigned partition)
{
    return broker->parts[partition].next_offset;
}

bool log_broker_is_done(const struct log_broker *broker)
{
    for (unsigned i = 0; i < broker->count; i++)
        if (broker->parts[i].told < broker->parts[i].count)
            return false;
    return true;
}
