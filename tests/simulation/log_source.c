/* log_source.c: a consumer of the simulated log, made as connectors/kafka is made: the lane's room decides what is handed over, the
 * watermark of a partition what is committed, at intervals, at a revoke and at the end. With dedup, what another process may have
 * sent of a partition is marked.
 *
 * Groups begin anew with each opening, so that only the lane can tell a settlement of an earlier one.
 */
#include <stdlib.h>
#include <string.h>

#include "connectors/kafka/takeover.h"
#include "connectors/kafka/watermark.h"
#include "endpoints.h"
#include "log_broker.h"
#include "scene.h"

enum { REVOKE_MS = 5000, SLICE_MAX = 64 };

struct part {
    bool is_ours, revoking, fetching;
    uint64_t generation;
    uint32_t group;
    struct watermark mark;
    struct takeover takeover;
    int64_t committed, next_fetch;
    size_t first, count; /* fetched, and not handed over: indices of records */
    size_t out;          /* when it was revoked: still to be settled */
};

struct source {
    struct berth *berth;
    struct bailey_port *port;
    struct bailey_host *host;
    struct link *link; /* NULL: lost */
    struct part parts[LOG_PARTITIONS_MAX];
    uint32_t serial;
    struct bailey_task pump, tell;
    struct bailey_timer commit, revoke;
    bool is_joined, draining, tell_drained, closing, failed;
};

static struct log_broker *broker_of(const struct source *source)
{
    return source->berth->route->log;
}

static void send_with(struct source *source, const struct part *part, enum log_frame kind, uint64_t c, const char *text)
{
    if (source->link != NULL)
        link_to_server(
            source->link,
            (struct frame){
                .kind = kind, .a = (uint64_t)(part - source->parts), .b = part->generation, .c = c, .text = text});
}

static void send(struct source *source, const struct part *part, enum log_frame kind, uint64_t c)
{
    send_with(source, part, kind, c, NULL);
}

/* ---- Receiving ---- */

/* Who has lost the partition and does not know it yet cannot know what its next owner sends. */
static bool is_near(const struct source *source, const struct part *part, const struct log_record *record)
{
    unsigned number = (unsigned)(part - source->parts);

    return log_broker_lag(broker_of(source), number, part->generation, record->offset) < source->port->credit_messages;
}

/* Hand over what was fetched of a partition, as far as there is room. False: no room. */
static bool hand_over(struct source *source, struct part *part)
{
    const struct berth *berth = source->berth;
    const struct log_record *records = log_broker_records(broker_of(source), (unsigned)(part - source->parts));
    struct bailey_message *batch[SLICE_MAX];
    size_t room = bailey_room(source->port), count = 0, slice = berth->route->source_manner.slice;

    ledger_room(berth->scene->ledger, berth->slot, room);
    if (room == 0)
        return false;
    slice = room < slice ? room : slice;
    for (; count < slice && part->count > 0; part->first++, part->count--) {
        const struct log_record *record = &records[part->first];
        const struct content *content = ledger_content(berth->scene->ledger, record->number);
        uint32_t handout;
        bool is_marked;

        if (!watermark_add(&part->mark, record->offset))
            continue;
        is_marked = takeover_marks(&part->takeover, record->offset);
        handout = ledger_received(berth->scene->ledger, berth->slot, record->number, is_marked, part->group,
                                  (uint64_t)record->offset);
        if (is_near(source, part, record))
            ledger_near_position(berth->scene->ledger, handout);
        batch[count] = content_message(content, source->port, handout, berth->route->source_manner.pins);
        batch[count]->redelivered = is_marked;
        batch[count]->group = part->group;
        batch[count++]->position = (uint64_t)record->offset;
    }
    if (count > 0)
        bailey_receive(source->port, batch, count);
    return true;
}

static void fetch_more(struct source *source, struct part *part)
{
    part->fetching = true;
    send(source, part, LOG_FETCH, (uint64_t)part->next_fetch);
}

static void pump(struct bailey_task *task)
{
    struct source *source = task->ctx;
    bool more = false;

    for (unsigned i = 0; i < LOG_PARTITIONS_MAX; i++) {
        struct part *part = &source->parts[i];

        if (!part->is_ours || part->revoking || part->takeover.claims || source->draining || source->closing ||
            source->failed)
            continue;
        if (part->count > 0 && !hand_over(source, part))
            return; /* resume() comes */
        if (part->count > 0)
            more = true;
        else if (!part->fetching)
            fetch_more(source, part);
    }
    if (more)
        bailey_again(source->host, &source->pump);
}

static void source_resume(void *self)
{
    struct source *source = self;

    bailey_again(source->host, &source->pump);
}

/* ---- Committing ---- */

/* With dedup it says whose it is. */
static void commit(struct source *source, struct part *part, int64_t position)
{
    char *own = NULL, *text = NULL;

    part->committed = position;
    if (source->port->dedup_scope != NULL) {
        own = takeover_metadata(&part->takeover, source->port->instance, position);
        text = memcpy(world_alloc(strlen(own) + 1, 1), own, strlen(own));
        free(own);
    }
    send_with(source, part, LOG_COMMIT, (uint64_t)position, text);
}

static void commit_part(struct source *source, struct part *part)
{
    if (part->is_ours && part->mark.low > part->committed)
        commit(source, part, part->mark.low);
}

static void commit_all(struct source *source)
{
    for (unsigned i = 0; i < LOG_PARTITIONS_MAX; i++)
        commit_part(source, &source->parts[i]);
}

/* Now and then it is away for a moment: that holds nobody but itself. */
static void show(struct source *source)
{
    struct sim *sim = source->berth->scene->sim;

    if (!source->is_joined || source->closing || source->failed)
        return;
    if (!sim->is_calm && dice_percent(&sim->dice, 3))
        bailey_held(source->port, "the broker is away");
    else
        bailey_up(source->port);
}

static void commit_due(struct bailey_timer *timer)
{
    struct source *source = timer->ctx;

    commit_all(source);
    show(source);
    bailey_timer_start(source->host, timer, source->berth->route->source_manner.commit_ms);
}

/* ---- Partitions come and go ---- */

static void part_end(struct part *part)
{
    watermark_fini(&part->mark);
    *part = (struct part){0};
}

static void forget(struct source *source, struct part *part)
{
    part->out = bailey_revoke(source->port, part->group);
    ledger_revoked(source->berth->scene->ledger, source->berth->slot, part->group, part->out);
}

static void release(struct source *source, struct part *part)
{
    commit_part(source, part);
    send(source, part, LOG_RELEASED, 0);
    part_end(part);
}

static void revoke_late(struct bailey_timer *timer)
{
    struct source *source = timer->ctx;

    for (unsigned i = 0; i < LOG_PARTITIONS_MAX; i++)
        if (source->parts[i].revoking)
            release(source, &source->parts[i]);
}

static void on_revoke(struct source *source, struct part *part)
{
    part->revoking = true;
    part->count = 0;
    forget(source, part);
    if (part->out == 0)
        release(source, part);
    else
        bailey_timer_start(source->host, &source->revoke, REVOKE_MS);
}

/* If the last commit was another process's: mark what that one may have sent. Tell whoever comes next that it was ours, too. */
static void take_over(struct source *source, struct part *part, const struct frame *frame)
{
    struct bailey_bytes metadata = frame->text != NULL ? bailey_bytes_of(frame->text) : BAILEY_NULL_BYTES;
    enum takeover_owner owner = takeover_owner(frame->c == LOG_UNKNOWN ? NULL : &metadata, source->port->instance);

    part->takeover =
        takeover_begin(owner, log_broker_end(broker_of(source), (unsigned)frame->a), source->port->credit_messages);
    if (part->takeover.claims)
        commit(source, part, part->mark.low);
}

static void on_assign(struct source *source, struct part *part, const struct frame *frame)
{
    bool is_known = frame->c != LOG_UNKNOWN, dedups = source->port->dedup_scope != NULL;
    int64_t begin = dedups ? log_broker_begin(broker_of(source), (unsigned)frame->a) : WATERMARK_UNKNOWN;
    int64_t start = is_known ? (int64_t)frame->c : begin;

    *part = (struct part){.is_ours = true, .generation = frame->b, .committed = is_known ? start : -1};
    part->group = ++source->serial << 8 | (uint32_t)frame->a;
    part->next_fetch = start < 0 ? 0 : start;
    watermark_init(&part->mark, start);
    if (dedups)
        take_over(source, part, frame);
    bailey_again(source->host, &source->pump);
}

static void on_records(struct source *source, struct part *part, const struct frame *frame)
{
    part->fetching = false;
    part->first = frame->c;
    part->count = frame->d;
    part->next_fetch = log_broker_records(broker_of(source), (unsigned)frame->a)[frame->c + frame->d - 1].offset + 1;
    bailey_again(source->host, &source->pump);
}

/* The claim comes first; a refused one is followed by LOG_LOST. */
static void on_committed(struct source *source, struct part *part, const struct frame *frame)
{
    if (!part->takeover.claims || frame->flags != 0)
        return;
    part->takeover.claims = false;
    bailey_again(source->host, &source->pump);
}

static void on_frame(void *ctx, const struct frame *frame)
{
    struct source *source = ctx;
    struct part *part = &source->parts[frame->a];

    if (source->closing)
        return;
    if (frame->kind == LOG_JOINED) {
        source->is_joined = true;
        show(source);
    } else if (frame->kind == LOG_ASSIGN) {
        on_assign(source, part, frame);
    } else if (part->is_ours && part->generation == frame->b) {
        if (frame->kind == LOG_RECORDS && !part->revoking)
            on_records(source, part, frame);
        else if (frame->kind == LOG_COMMITTED)
            on_committed(source, part, frame);
        else if (frame->kind == LOG_REVOKE && !part->revoking)
            on_revoke(source, part);
        else if (frame->kind == LOG_LOST) {
            forget(source, part);
            part_end(part);
        }
    }
}

/* ---- Settling ---- */

static void settle_one(struct source *source, const struct bailey_settlement *ended)
{
    struct part *part = &source->parts[ended->group & 0xff];

    if (!part->is_ours || part->group != ended->group)
        return; /* of an assignment that is gone: its next owner does it again */
    if (ended->outcome == BAILEY_ACCEPTED || ended->outcome == BAILEY_REJECTED)
        watermark_settle(&part->mark, (int64_t)ended->position);
    if (part->revoking && part->out > 0 && --part->out == 0)
        release(source, part);
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct source *source = self;

    process_step(source->berth->process);
    for (size_t i = 0; i < count; i++) {
        ledger_settled(source->berth->scene->ledger, source->berth->slot, &ended[i]);
        settle_one(source, &ended[i]);
    }
}

/* ---- The end ---- */

static void on_lost(void *ctx)
{
    struct source *source = ctx;
    struct bailey_error err;

    source->link = NULL;
    source->failed = true;
    bailey_fail(&err, BAILEY_ERR_TRANSIENT, "connection lost");
    bailey_down(source->port, &err);
}

static void source_drain(void *self)
{
    struct source *source = self;

    source->draining = source->tell_drained = true;
    bailey_again(source->host, &source->tell);
}

static void tell(struct bailey_task *task)
{
    struct source *source = task->ctx;
    struct bailey_port *port = source->port;
    const struct berth *berth = source->berth;

    if (source->tell_drained) {
        source->tell_drained = false;
        bailey_drained(port);
    }
    if (!source->closing)
        return;
    if (source->link != NULL)
        link_close(source->link);
    bailey_again_stop(source->host, &source->pump);
    bailey_timer_stop(source->host, &source->commit);
    bailey_timer_stop(source->host, &source->revoke);
    for (unsigned i = 0; i < LOG_PARTITIONS_MAX; i++)
        part_end(&source->parts[i]);
    free(source);
    ledger_source_closed(berth->scene->ledger, berth->slot);
    bailey_closed(port);
}

static void source_close(void *self)
{
    struct source *source = self;

    process_step(source->berth->process);
    ledger_source_closing(source->berth->scene->ledger, source->berth->slot);
    source->closing = true;
    commit_all(source);
    bailey_again(source->host, &source->tell);
}

static const struct link_client client_ops = {.frame = on_frame, .lost = on_lost};

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    struct berth *berth = broker;
    struct source *source;

    (void)settings;
    process_step(berth->process);
    if (!berth->scene->sim->is_calm && dice_percent(&berth->scene->sim->dice, 10))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "no such topic");
    source = calloc(1, sizeof *source);
    source->berth = berth;
    source->port = port;
    source->host = port->host;
    source->pump = (struct bailey_task){.run = pump, .ctx = source};
    source->tell = (struct bailey_task){.run = tell, .ctx = source};
    source->commit = (struct bailey_timer){.fire = commit_due, .ctx = source};
    source->revoke = (struct bailey_timer){.fire = revoke_late, .ctx = source};
    source->link = log_broker_connect(berth->route->log, source->host, &client_ops, source);
    bailey_timer_start(source->host, &source->commit, berth->route->source_manner.commit_ms);
    ledger_source_opened(berth->scene->ledger, berth->slot);
    *self = source;
    return true;
}

const struct bailey_source log_source = {
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};
