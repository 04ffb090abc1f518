#include "fake_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- What is kept ---- */

static struct fake_record *find(struct fake_record *list, size_t count, struct id id)
{
    for (size_t i = 0; i < count; i++)
        if (id_equal(list[i].id, id))
            return &list[i];
    return NULL;
}

static void put(struct fake_record *list, size_t *count, struct id id, struct state_found found)
{
    struct fake_record *record = find(list, *count, id);

    if (record == NULL) {
        assert_true(*count < FAKE_KEPT_MAX);
        record = &list[(*count)++];
    }
    *record = (struct fake_record){id, found};
}

static void erase(struct fake_record *list, size_t *count, struct id id)
{
    struct fake_record *record = find(list, *count, id);

    if (record != NULL)
        *record = list[--*count];
}

bool fake_state_has_record(const struct fake_state *fake, struct id id)
{
    return find((struct fake_record *)fake->records, fake->record_count, id) != NULL;
}

bool fake_state_has_intent(const struct fake_state *fake, struct id id)
{
    return find((struct fake_record *)fake->intents, fake->intent_count, id) != NULL;
}

/* ---- Answers ---- */

static void commit_done(struct bailey_task *task)
{
    struct state_commit *commit = task->ctx;

    commit->done(commit);
}

static void answer_commit(struct fake_state *fake, struct state_commit *commit)
{
    commit->failed = fake->fails_commits;
    if (fake->fails_commits)
        bailey_fail(&commit->err, BAILEY_ERR_TRANSIENT, "no space left");
    for (size_t i = 0; !commit->failed && i < commit->count; i++) {
        const struct state_change *change = &commit->changes[i];

        if (change->kind == STATE_INTEND) {
            assert_true(fake->state.is_durable);
            put(fake->intents, &fake->intent_count, change->id, (struct state_found){.time_ms = change->time_ms});
            continue;
        }
        if (change->kind == STATE_RECORD)
            put(fake->records, &fake->record_count, change->id, (struct state_found){change->time_ms, change->outcome});
        erase(fake->intents, &fake->intent_count, change->id);
    }
    fake->expire_ms = commit->expire_ms;
    commit->task = (struct bailey_task){.run = commit_done, .ctx = commit};
    bailey_again(commit->host, &commit->task);
}

static void lookup_done(struct bailey_task *task)
{
    struct state_lookup *lookup = task->ctx;

    lookup->done(lookup);
}

static void answer_lookup(struct fake_state *fake, struct state_lookup *lookup)
{
    lookup->failed = fake->fails_lookups;
    if (fake->fails_lookups)
        bailey_fail(&lookup->err, BAILEY_ERR_TRANSIENT, "input/output error");
    for (size_t i = 0; i < lookup->count; i++) {
        const struct fake_record *record = find(fake->records, fake->record_count, lookup->ids[i]);

        lookup->found[i] = record == NULL ? (struct state_found){0} : record->found;
    }
    lookup->job.task = (struct bailey_task){.run = lookup_done, .ctx = lookup};
    bailey_again(lookup->host, &lookup->job.task);
}

static void load_done(struct bailey_task *task)
{
    struct state_load *load = task->ctx;

    load->done(load);
}

static void answer_load(struct fake_state *fake, struct state_load *load)
{
    int64_t now_ms = bailey_now_ms(load->host) + fake->state.clock_ms;

    load->filter = filter_new(load->window_ms, load->max);
    for (size_t i = 0; i < fake->record_count; i++)
        if (id_owner(fake->records[i].id, load->shards) == load->shard)
            filter_count(load->filter, fake->records[i].found.time_ms, now_ms);
    filter_counted(load->filter);
    for (size_t i = 0; i < fake->record_count; i++)
        if (id_owner(fake->records[i].id, load->shards) == load->shard)
            filter_fill(load->filter, fake->records[i].id, fake->records[i].found.time_ms, now_ms);
    load->intents = calloc(fake->intent_count + 1, sizeof *load->intents);
    load->intent_count = 0;
    for (size_t i = 0; i < fake->intent_count; i++)
        if (id_owner(fake->intents[i].id, load->shards) == load->shard)
            load->intents[load->intent_count++] = fake->intents[i].id;
    load->task = (struct bailey_task){.run = load_done, .ctx = load};
    bailey_again(load->host, &load->task);
}

/* ---- Requests ---- */

static void commit(struct state *state, struct state_commit *commit)
{
    struct fake_state *fake = (struct fake_state *)state;

    fake->commits++;
    fake->changes += commit->count;
    assert_true(fake->commits_waiting < FAKE_REQUESTS_MAX);
    if (fake->holds)
        fake->commits_held[fake->commits_waiting++] = commit;
    else
        answer_commit(fake, commit);
}

static bool peek(struct state *state, struct id id, struct state_found *found)
{
    struct fake_state *fake = (struct fake_state *)state;
    const struct fake_record *record = find(fake->records, fake->record_count, id);

    if (fake->fails_lookups)
        return false;
    fake->peeks++;
    *found = record == NULL ? (struct state_found){0} : record->found;
    return true;
}

static void look_up(struct state *state, struct state_lookup *lookup)
{
    struct fake_state *fake = (struct fake_state *)state;

    fake->lookups++;
    fake->looked_up += lookup->count;
    assert_true(fake->lookups_waiting < FAKE_REQUESTS_MAX);
    if (fake->holds)
        fake->lookups_held[fake->lookups_waiting++] = lookup;
    else
        answer_lookup(fake, lookup);
}

static void load(struct state *state, struct state_load *load)
{
    struct fake_state *fake = (struct fake_state *)state;

    assert_true(fake->loads_waiting < FAKE_REQUESTS_MAX);
    if (fake->holds_loads)
        fake->loads_held[fake->loads_waiting++] = load;
    else
        answer_load(fake, load);
}

void fake_state_init(struct fake_state *fake, bool is_durable)
{
    *fake = (struct fake_state){
        .state = {.commit = commit,
                  .look_up = look_up,
                  .peek = is_durable ? NULL : peek,
                  .load = load,
                  .is_durable = is_durable,
                  .clock_ms = INT64_C(1700000000000),
                  .key = {"fifteen letters"}},
    };
}

void fake_state_release(struct fake_state *fake)
{
    size_t commits = fake->commits_waiting, lookups = fake->lookups_waiting;

    fake->commits_waiting = fake->lookups_waiting = 0;
    for (size_t i = 0; i < commits; i++)
        answer_commit(fake, fake->commits_held[i]);
    for (size_t i = 0; i < lookups; i++)
        answer_lookup(fake, fake->lookups_held[i]);
}

void fake_state_load(struct fake_state *fake)
{
    size_t loads = fake->loads_waiting;

    fake->loads_waiting = 0;
    for (size_t i = 0; i < loads; i++)
        answer_load(fake, fake->loads_held[i]);
}
