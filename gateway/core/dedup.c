/* A shard: the ids in flight, and what is known of those before.
 *
 *     LOOKING ──not there──→ INTENDING ──written──→ FLIGHT ──finish──→ RECORDING ──written──→ gone (it is in the filter)
 *        └─ recorded ─→ gone                          ↑ └─ withdrawn ─→ DOUBT, or gone
 *                                                     └───────── asked again ┘
 *
 * What goes to the store is gathered while it works on what came before: one commit and one look-up are on their way at most,
 * so batches grow with the load and the delay of the disk.
 */
#include "core/dedup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bailey/log.h>

#include "base/crash.h"
#include "core/dedup_entries.h"
#include "core/dedup_mail.h"
#include "core/filter.h"

enum {
    RETRY_MS = 1000,  /* of what failed */
    SILENT_MS = 5000, /* no answer for that long: shown */
    AHEAD = 8,        /* ids whose places are fetched before they are needed */
    TIDY_MIN_MS = 1000,
    TIDY_MAX_MS = 60000,
};

/* Changes that are gathered, or being written. */
struct change_list {
    struct state_change *changes;
    struct dedup_entry **entries; /* whose they are; NULL: nobody's */
    size_t count, cap;
};

struct look_list {
    struct id *ids;
    struct state_found *found;
    struct dedup_entry **entries;
    size_t count, cap;
};

struct request_watch {
    bool is_out; /* the state has it */
    bool failed; /* and is to be made again */
    int64_t since_ms;
};

struct dedup_shard {
    struct dedup_shard_options options;
    struct filter *filter; /* NULL: not loaded yet */
    struct state_load load;
    struct dedup_mail *early, **early_last; /* came before that */

    struct dedup_entries entries;
    struct dedup_entry doubts; /* ring */

    struct change_list gathered, written; /* `written` is the commit's */
    struct look_list asked, looked_up;    /* `looked_up` is the look-up's */
    struct state_commit commit;
    struct state_lookup lookup;
    struct request_watch commit_watch, lookup_watch;
    int64_t pass_until_ms; /* passing on failure: the store is not tried before */

    struct dedup_post answers; /* to the clients */
    struct bailey_task work;   /* hands over what the lane beside it has asked for */
    struct bailey_timer tick;
    int64_t tick_ms; /* when it is due; 0: it does not run */
    int64_t tidied_ms;
    char trouble[256];
    void (*on_change)(void *ctx);
    void *watcher;
};

static int64_t now_of(const struct dedup_shard *shard)
{
    return bailey_now_ms(shard->options.host) + shard->options.state->clock_ms;
}

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* the lanes' credit bounds what is asked for: the machine is out of memory */
    return memory;
}

/* ---- What goes out: changes, look-ups, answers ---- */

static void add_change(struct dedup_shard *shard, enum state_change_kind kind, struct id id, struct dedup_entry *entry,
                       enum id_outcome outcome)
{
    struct change_list *list = &shard->gathered;

    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 256;
        list->changes = must(realloc(list->changes, list->cap * sizeof *list->changes));
        list->entries = must(realloc(list->entries, list->cap * sizeof(struct dedup_entry *)));
    }
    list->changes[list->count] =
        (struct state_change){.id = id, .time_ms = now_of(shard), .kind = (uint8_t)kind, .outcome = (uint8_t)outcome};
    list->entries[list->count++] = entry;
}

static void add_lookup(struct dedup_shard *shard, struct dedup_entry *entry)
{
    struct look_list *list = &shard->asked;

    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 256;
        list->ids = must(realloc(list->ids, list->cap * sizeof *list->ids));
        list->found = must(realloc(list->found, list->cap * sizeof *list->found));
        list->entries = must(realloc(list->entries, list->cap * sizeof(struct dedup_entry *)));
    }
    list->ids[list->count] = entry->id;
    list->entries[list->count++] = entry;
}

static void answer(struct dedup_shard *shard, struct dedup_slot *slot, enum dedup_answer what)
{
    struct dedup_client *client = slot->client;
    unsigned number = dedup_client_number(client);

    if (what == DEDUP_DUPLICATE || what == DEDUP_RECORDED || what == DEDUP_WITHDRAWN)
        slot->entry = NULL;
    if (!dedup_post_is_open(&shard->answers, number))
        dedup_post_begin(&shard->answers, number, client, dedup_client_host(client), number == shard->options.number,
                         dedup_client_receive);
    dedup_post_add(&shard->answers, number, &(struct dedup_item){.slot = slot, .what = (uint8_t)what});
}

/* `outcome` is recorded: followers are duplicates, but for those that it was recorded for. Returns these, as a list. */
static struct dedup_slot *answer_followers(struct dedup_shard *shard, struct dedup_entry *entry,
                                           enum id_outcome outcome)
{
    struct dedup_slot *passing = NULL, **last = &passing;

    while (entry->first != NULL) {
        struct dedup_slot *slot = entry->first;

        dedup_entry_unfollow(entry, slot);
        if (outcome == ID_UNKNOWN || slot->passes != outcome) {
            answer(shard, slot, DEDUP_DUPLICATE);
            continue;
        }
        slot->next = NULL;
        *last = slot;
        last = &slot->next;
    }
    return passing;
}

/* ---- The way of an entry ---- */

static void doubt(struct dedup_shard *shard, struct dedup_entry *entry)
{
    entry->state = ENTRY_DOUBT;
    entry->in_doubt = true;
    entry->doubt_ms = now_of(shard);
    entry->prev = shard->doubts.prev;
    entry->next = &shard->doubts;
    entry->prev->next = entry->next->prev = entry;
}

static void no_more_doubt(struct dedup_entry *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
}

/* Nobody has it any more, and it is not at its end. */
static void forget(struct dedup_shard *shard, struct dedup_entry *entry)
{
    if (entry->has_intent)
        add_change(shard, STATE_FORGET, entry->id, NULL, ID_UNKNOWN);
    dedup_entries_remove(&shard->entries, entry);
}

/* Reserved: its owner may send it. */
static void go(struct dedup_shard *shard, struct dedup_entry *entry)
{
    dedup_entry_promote(entry);
    entry->state = ENTRY_FLIGHT;
    if (entry->owner != NULL)
        answer(shard, entry->owner, entry->in_doubt ? DEDUP_GO_MARKED : DEDUP_GO);
    else if (entry->in_doubt)
        doubt(shard, entry);
    else
        forget(shard, entry);
}

/* It is not recorded: reserve it. */
static void reserve(struct dedup_shard *shard, struct dedup_entry *entry)
{
    dedup_entry_promote(entry);
    if (entry->owner == NULL) {
        forget(shard, entry);
        return;
    }
    if (!shard->options.state->is_durable) { /* an intent would be gone with the process */
        go(shard, entry);
        return;
    }
    entry->state = ENTRY_INTENDING;
    add_change(shard, STATE_INTEND, entry->id, entry, ID_UNKNOWN);
}

/* The next one with an id that was let go of before its end. Its intent is in the store, unless that failed then. */
static void go_on(struct dedup_shard *shard, struct dedup_entry *entry)
{
    dedup_entry_promote(entry);
    if (entry->owner != NULL && !entry->has_intent)
        reserve(shard, entry);
    else
        go(shard, entry);
}

static bool ask(struct dedup_shard *shard, struct dedup_slot *slot);

/* It is at its end: recorded now as `outcome` (`owner` waits for that), or long ago. */
static void end(struct dedup_shard *shard, struct dedup_entry *entry, enum dedup_answer owner, enum id_outcome outcome)
{
    if (entry->owner != NULL)
        answer(shard, entry->owner, owner);
    entry->owner = NULL;
    struct dedup_slot *passing = answer_followers(shard, entry, outcome);

    dedup_entries_remove(&shard->entries, entry);
    while (passing != NULL) {
        struct dedup_slot *slot = passing;

        passing = slot->next;
        if (ask(shard, slot))
            answer(shard, slot, DEDUP_GO);
    }
}

/* ---- Requests ---- */

static bool is_recorded(const struct state_found *found, int64_t since_ms)
{
    return found->outcome != ID_UNKNOWN && found->time_ms >= since_ms;
}

/* Nothing in flight has this id. True: it may go. */
static bool ask_new(struct dedup_shard *shard, struct dedup_slot *slot)
{
    struct dedup_entry *entry = dedup_entries_add(&shard->entries, slot->id, slot);
    struct state *state = shard->options.state;
    bool may_be_recorded = filter_may_have(shard->filter, slot->id);
    struct state_found found;

    if (may_be_recorded && (state->peek == NULL || !state->peek(state, slot->id, &found))) {
        entry->state = ENTRY_LOOKING;
        add_lookup(shard, entry);
        return false;
    }
    if (may_be_recorded && is_recorded(&found, now_of(shard) - shard->options.window_ms) &&
        slot->passes != found.outcome) {
        end(shard, entry, DEDUP_DUPLICATE, (enum id_outcome)found.outcome);
        return false;
    }
    if (state->is_durable) {
        reserve(shard, entry);
        return false;
    }
    entry->state = ENTRY_FLIGHT;
    return true;
}

/* True: it may go; else it is answered in time. */
static bool ask(struct dedup_shard *shard, struct dedup_slot *slot)
{
    struct dedup_entry *entry = dedup_entries_find(&shard->entries, slot->id);

    if (entry == NULL)
        return ask_new(shard, slot);
    dedup_entry_follow(entry, slot);
    if (entry->state == ENTRY_DOUBT) {
        no_more_doubt(entry);
        go_on(shard, entry);
    } else {
        answer(shard, slot, DEDUP_FOLLOWS);
    }
    return false;
}

static void finish(struct dedup_shard *shard, struct dedup_slot *slot, enum id_outcome outcome)
{
    struct dedup_entry *entry = slot->entry;

    assert(entry != NULL && entry->owner == slot && entry->state == ENTRY_FLIGHT);
    entry->state = ENTRY_RECORDING;
    add_change(shard, STATE_RECORD, entry->id, entry, outcome);
}

static void withdraw(struct dedup_shard *shard, struct dedup_slot *slot, bool in_doubt)
{
    struct dedup_entry *entry = slot->entry;

    answer(shard, slot, DEDUP_WITHDRAWN);
    if (entry == NULL) /* it was answered in the meantime */
        return;
    if (entry->owner != slot) {
        dedup_entry_unfollow(entry, slot);
        return;
    }
    entry->owner = NULL;
    entry->in_doubt |= in_doubt;
    if (entry->state == ENTRY_FLIGHT)
        go_on(shard, entry);
    /* Else what it waits for comes, and sees who is there then. */
}

static void submit(struct dedup_shard *shard);

static bool take(struct dedup_shard *shard, const struct dedup_item *item)
{
    switch ((enum dedup_request)item->what) {
    case DEDUP_ASK:
        return ask(shard, item->slot);
    case DEDUP_FINISH:
        finish(shard, item->slot, (enum id_outcome)item->outcome);
        break;
    case DEDUP_WITHDRAW:
        withdraw(shard, item->slot, item->in_doubt);
        break;
    }
    return false;
}

static void take_mail(struct dedup_shard *shard, struct dedup_mail *mail)
{
    for (size_t i = 0; i < mail->count; i++)
        if (mail->items[i].what == DEDUP_ASK)
            dedup_shard_prefetch(shard, mail->items[i].slot->id);
    for (size_t i = 0; i < mail->count; i++)
        if (take(shard, &mail->items[i]))
            answer(shard, mail->items[i].slot, DEDUP_GO);
    free(mail);
}

static void keep_early(struct dedup_shard *shard, struct dedup_mail *mail)
{
    *shard->early_last = mail;
    shard->early_last = &mail->next;
}

void dedup_shard_receive(struct bailey_task *task)
{
    struct dedup_mail *mail = task->ctx;
    struct dedup_shard *shard = mail->to;

    if (shard->filter == NULL) {
        keep_early(shard, mail);
        return;
    }
    take_mail(shard, mail);
    submit(shard);
}

static void submit_all(struct bailey_task *task)
{
    submit(task->ctx);
}

bool dedup_shard_take(struct dedup_shard *shard, const struct dedup_item *item)
{
    if (shard->filter == NULL) { /* hardly ever: the lane holds its source until then */
        struct dedup_mail *mail = must(calloc(1, sizeof *mail));

        mail->items[mail->count++] = *item;
        keep_early(shard, mail);
        return false;
    }
    return take(shard, item);
}

void dedup_shard_flush(struct dedup_shard *shard)
{
    if (shard->filter != NULL)
        bailey_again(shard->options.host, &shard->work);
}

void dedup_shard_prefetch(const struct dedup_shard *shard, struct id id)
{
    dedup_entries_prefetch(&shard->entries, id);
    if (shard->filter != NULL)
        filter_prefetch(shard->filter, id);
}

/* ---- Trouble ---- */

static void show_trouble(struct dedup_shard *shard, const char *reason)
{
    if (strcmp(shard->trouble, reason) == 0)
        return;
    snprintf(shard->trouble, sizeof shard->trouble, "%s", reason);
    if (shard->on_change != NULL)
        shard->on_change(shard->watcher);
}

static void failed(struct dedup_shard *shard, struct request_watch *watch, const struct bailey_error *err)
{
    if (!watch->failed)
        bailey_log(BAILEY_LOG_ERROR, "state.failed", kv_str("route", shard->options.route),
                   kv_u64("shard", shard->options.number), kv_error(err));
    watch->failed = true;
    shard->pass_until_ms = bailey_now_ms(shard->options.host) + RETRY_MS;
    show_trouble(shard, err->text);
}

static void succeeded(struct dedup_shard *shard, struct request_watch *watch)
{
    bool was = watch->failed;

    watch->failed = false;
    if (shard->commit_watch.failed || shard->lookup_watch.failed)
        return;
    if (was)
        bailey_log(BAILEY_LOG_INFO, "state.works_again", kv_str("route", shard->options.route),
                   kv_u64("shard", shard->options.number));
    show_trouble(shard, "");
}

static bool is_silent(const struct dedup_shard *shard, const struct request_watch *watch)
{
    return watch->is_out && bailey_now_ms(shard->options.host) - watch->since_ms >= SILENT_MS;
}

/* ---- Look-ups ---- */

static void look_up(struct dedup_shard *shard)
{
    shard->lookup.ids = shard->looked_up.ids;
    shard->lookup.found = shard->looked_up.found;
    shard->lookup.count = shard->looked_up.count;
    shard->lookup.failed = false;
    shard->lookup_watch.is_out = true;
    shard->lookup_watch.since_ms = bailey_now_ms(shard->options.host);
    shard->options.state->look_up(shard->options.state, &shard->lookup);
}

/* What is recorded of its own: it waited, and now its time has come. It goes before copies of it. */
static bool passes(struct dedup_shard *shard, struct dedup_entry *entry, enum id_outcome outcome)
{
    struct dedup_slot *slot = entry->owner;

    if (slot != NULL && slot->passes == outcome)
        return true;
    for (slot = entry->first; slot != NULL && slot->passes != outcome; slot = slot->next)
        ;
    if (slot == NULL)
        return false;
    dedup_entry_unfollow(entry, slot);
    if (entry->owner != NULL) {
        dedup_entry_follow(entry, entry->owner);
        answer(shard, entry->owner, DEDUP_FOLLOWS);
    }
    entry->owner = slot;
    return true;
}

static void judge(struct dedup_shard *shard, struct dedup_entry *entry, const struct state_found *found,
                  int64_t since_ms)
{
    if (is_recorded(found, since_ms) && !passes(shard, entry, (enum id_outcome)found->outcome))
        end(shard, entry, DEDUP_DUPLICATE, (enum id_outcome)found->outcome);
    else
        reserve(shard, entry);
}

static void looked_up(struct state_lookup *lookup)
{
    struct dedup_shard *shard = lookup->ctx;
    struct look_list *list = &shard->looked_up;
    int64_t since_ms = now_of(shard) - shard->options.window_ms;

    shard->lookup_watch.is_out = false;
    if (lookup->failed) {
        failed(shard, &shard->lookup_watch, &lookup->err);
        if (!shard->options.pass_on_failure)
            return; /* the tick makes it again */
        for (size_t i = 0; i < list->count; i++) {
            list->entries[i]->in_doubt = true; /* it may be at the sink since long */
            reserve(shard, list->entries[i]);
        }
    } else {
        succeeded(shard, &shard->lookup_watch);
        for (size_t i = 0; i < list->count; i++)
            judge(shard, list->entries[i], &list->found[i], since_ms);
    }
    list->count = 0;
    submit(shard);
}

/* ---- Commits ---- */

static void make_commit(struct dedup_shard *shard)
{
    int64_t now_ms = now_of(shard), oldest_ms = filter_expire(shard->filter, now_ms);

    shard->commit.changes = shard->written.changes;
    shard->commit.count = shard->written.count;
    shard->commit.expire_ms = oldest_ms < 0 ? now_ms - shard->options.window_ms : oldest_ms;
    shard->commit.failed = false;
    shard->commit_watch.is_out = true;
    shard->commit_watch.since_ms = bailey_now_ms(shard->options.host);
    shard->options.state->commit(shard->options.state, &shard->commit);
}

/* Written, with nothing told to anybody yet: the points where a test build may die. */
static void pass_crash_points(const struct dedup_shard *shard, const struct change_list *list)
{
    bool has_intent = false, has_record = false;

    for (size_t i = 0; i < list->count; i++) {
        has_intent |= list->changes[i].kind == STATE_INTEND;
        has_record |= list->changes[i].kind == STATE_RECORD;
    }
    if (has_intent)
        CRASH_POINT(after_intent, shard->options.route);
    if (has_record)
        CRASH_POINT(after_record, shard->options.route);
}

/* `list` is in the store, or goes on without it. */
static void apply(struct dedup_shard *shard, struct change_list *list, bool is_written)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct state_change *change = &list->changes[i];
        struct dedup_entry *entry = list->entries[i];

        if (i + AHEAD < list->count) {
            dedup_entries_prefetch(&shard->entries, list->changes[i + AHEAD].id);
            filter_prefetch_newest(shard->filter, list->changes[i + AHEAD].id);
        }
        if (change->kind == STATE_INTEND) {
            entry->has_intent = is_written;
            entry->in_doubt |= !is_written; /* marked: after a crash nobody would know of it */
            go(shard, entry);
        } else if (change->kind == STATE_RECORD) {
            if (is_written)
                filter_add(shard->filter, entry->id, change->time_ms);
            end(shard, entry, DEDUP_RECORDED, (enum id_outcome)change->outcome);
        }
    }
    list->count = 0;
}

static void committed(struct state_commit *commit)
{
    struct dedup_shard *shard = commit->ctx;

    shard->commit_watch.is_out = false;
    if (commit->failed) {
        failed(shard, &shard->commit_watch, &commit->err);
        if (!shard->options.pass_on_failure)
            return; /* the tick makes it again */
    } else {
        succeeded(shard, &shard->commit_watch);
        pass_crash_points(shard, &shard->written);
    }
    apply(shard, &shard->written, !commit->failed);
    submit(shard);
}

/* ---- The turn's end ---- */

static bool is_passing(const struct dedup_shard *shard)
{
    return shard->options.pass_on_failure && (shard->commit_watch.failed || shard->lookup_watch.failed) &&
           bailey_now_ms(shard->options.host) < shard->pass_until_ms;
}

/* The store is not asked while it fails: what is gathered goes on without it. */
static void pass(struct dedup_shard *shard)
{
    struct look_list asked = shard->asked;

    shard->asked = (struct look_list){0};
    for (size_t i = 0; i < asked.count; i++) {
        asked.entries[i]->in_doubt = true;
        reserve(shard, asked.entries[i]);
    }
    free(asked.ids);
    free(asked.found);
    free(asked.entries);
    while (shard->gathered.count > 0) { /* what goes on may ask for more: intents that are forgotten at once */
        struct change_list gathered = shard->gathered;

        shard->gathered = (struct change_list){0};
        apply(shard, &gathered, false);
        free(gathered.changes);
        free(gathered.entries);
    }
}

static void start_tick(struct dedup_shard *shard);

/* Hand over what was gathered, if the store has nothing else of ours. */
static void submit(struct dedup_shard *shard)
{
    if (is_passing(shard) && !shard->commit_watch.is_out && !shard->lookup_watch.is_out)
        pass(shard);
    if (!shard->lookup_watch.is_out && shard->looked_up.count == 0 && shard->asked.count > 0) {
        struct look_list swap = shard->looked_up;

        shard->looked_up = shard->asked;
        shard->asked = swap;
        look_up(shard);
    }
    if (!shard->commit_watch.is_out && shard->written.count == 0 && shard->gathered.count > 0) {
        struct change_list swap = shard->written;

        shard->written = shard->gathered;
        shard->gathered = swap;
        make_commit(shard);
    }
    dedup_post_send(&shard->answers);
    start_tick(shard);
}

/* Doubts that are older than the window are none any more: their id may be given anew. */
static void tidy(struct dedup_shard *shard)
{
    int64_t before_ms = now_of(shard) - shard->options.window_ms;

    for (struct dedup_entry *entry = shard->doubts.next, *next; entry != &shard->doubts; entry = next) {
        next = entry->next;
        if (entry->doubt_ms >= before_ms)
            continue;
        no_more_doubt(entry);
        forget(shard, entry);
    }
    shard->tidied_ms = bailey_now_ms(shard->options.host);
    if (!shard->commit_watch.is_out && shard->written.count == 0 && shard->gathered.count == 0)
        make_commit(shard); /* an empty one: tells what has expired */
}

static int64_t tidy_period_ms(const struct dedup_shard *shard)
{
    int64_t period_ms = shard->options.window_ms / 16;

    return period_ms < TIDY_MIN_MS ? TIDY_MIN_MS : period_ms > TIDY_MAX_MS ? TIDY_MAX_MS : period_ms;
}

static void tick_due(struct bailey_timer *timer)
{
    struct dedup_shard *shard = timer->ctx;

    shard->tick_ms = 0;
    if (shard->commit_watch.failed && !shard->commit_watch.is_out)
        make_commit(shard); /* perhaps an empty one, to see whether it works again */
    if (shard->lookup_watch.failed && !shard->lookup_watch.is_out)
        look_up(shard);
    if (is_silent(shard, &shard->commit_watch) || is_silent(shard, &shard->lookup_watch))
        show_trouble(shard, "it gives no answer");
    if (bailey_now_ms(shard->options.host) - shard->tidied_ms >= tidy_period_ms(shard))
        tidy(shard);
    submit(shard);
}

/* Each second while the store has something of ours or fails, else when it is time to tidy. */
static void start_tick(struct dedup_shard *shard)
{
    bool is_busy = shard->commit_watch.is_out || shard->lookup_watch.is_out || shard->commit_watch.failed ||
                   shard->lookup_watch.failed;
    int64_t now_ms = bailey_now_ms(shard->options.host);
    int64_t delay_ms = is_busy ? RETRY_MS : shard->tidied_ms + tidy_period_ms(shard) - now_ms;

    if (delay_ms < 0)
        delay_ms = 0;
    if (shard->tick_ms != 0 && shard->tick_ms <= now_ms + delay_ms)
        return;
    shard->tick_ms = now_ms + delay_ms;
    bailey_timer_start(shard->options.host, &shard->tick, delay_ms);
}

/* ---- The start ---- */

static void load_waits(struct state_load *load, const char *reason)
{
    show_trouble(load->ctx, reason);
}

static void loaded(struct state_load *load)
{
    struct dedup_shard *shard = load->ctx;
    struct dedup_mail *early = shard->early;

    shard->filter = load->filter;
    for (size_t i = 0; i < load->intent_count; i++) {
        if (dedup_entries_find(&shard->entries, load->intents[i]) != NULL)
            continue;
        struct dedup_entry *entry = dedup_entries_add(&shard->entries, load->intents[i], NULL);

        entry->has_intent = true;
        doubt(shard, entry);
    }
    free(load->intents);
    shard->tidied_ms = bailey_now_ms(shard->options.host);
    shard->early = NULL;
    shard->early_last = &shard->early;
    while (early != NULL) {
        struct dedup_mail *next = early->next;

        take_mail(shard, early);
        early = next;
    }
    show_trouble(shard, "");
    submit(shard);
}

/* ---- Life ---- */

struct dedup_shard *dedup_shard_new(const struct dedup_shard_options *options)
{
    struct dedup_shard *shard = must(calloc(1, sizeof *shard));
    unsigned count = options->group->count;
    int64_t max = options->max / count;

    shard->options = *options;
    shard->early_last = &shard->early;
    dedup_entries_init(&shard->entries);
    shard->doubts.prev = shard->doubts.next = &shard->doubts;
    dedup_post_init(&shard->answers, count);
    shard->commit =
        (struct state_commit){.shard = options->number, .host = options->host, .done = committed, .ctx = shard};
    shard->lookup = (struct state_lookup){.host = options->host, .done = looked_up, .ctx = shard};
    shard->load = (struct state_load){
        .shard = options->number,
        .shards = count,
        .window_ms = options->window_ms,
        .max = max > 0 ? max : 1,
        .host = options->host,
        .waiting = load_waits,
        .done = loaded,
        .ctx = shard,
    };
    shard->work = (struct bailey_task){.run = submit_all, .ctx = shard};
    shard->tick = (struct bailey_timer){.fire = tick_due, .ctx = shard};
    snprintf(shard->trouble, sizeof shard->trouble, "reads the ids of an earlier run");
    options->group->shards[options->number] = shard;
    options->state->load(options->state, &shard->load);
    return shard;
}

void dedup_shard_free(struct dedup_shard *shard)
{
    if (shard == NULL)
        return;
    bailey_timer_stop(shard->options.host, &shard->tick);
    bailey_again_stop(shard->options.host, &shard->work);
    dedup_post_fini(&shard->answers);
    while (shard->early != NULL) {
        struct dedup_mail *mail = shard->early;

        shard->early = mail->next;
        free(mail);
    }
    dedup_entries_fini(&shard->entries);
    free(shard->gathered.changes);
    free(shard->gathered.entries);
    free(shard->written.changes);
    free(shard->written.entries);
    free(shard->asked.ids);
    free(shard->asked.found);
    free(shard->asked.entries);
    free(shard->looked_up.ids);
    free(shard->looked_up.found);
    free(shard->looked_up.entries);
    filter_free(shard->filter);
    shard->options.group->shards[shard->options.number] = NULL;
    free(shard);
}

struct bailey_host *dedup_shard_host(const struct dedup_shard *shard)
{
    return shard->options.host;
}

const char *dedup_shard_trouble(const struct dedup_shard *shard)
{
    return shard->trouble;
}

void dedup_shard_watch(struct dedup_shard *shard, void (*on_change)(void *ctx), void *ctx)
{
    shard->on_change = on_change;
    shard->watcher = ctx;
}
