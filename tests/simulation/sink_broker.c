/* sink_broker.c: stores at once, answers later. */
#include "sink_broker.h"

#include <stdlib.h>
#include <string.h>

#include "message/codec.h"

enum { SLOW_MS = 4000 };

struct answer {
    uint64_t tag;
    uint32_t refusal; /* enum bailey_error_kind; 0: it is stored */
};

struct session {
    struct sink_broker *broker;
    const struct sink_manner *manner;
    struct link *link;
    struct session *next;
    struct answer *answers; /* that are due, in the order of publishing */
    size_t count, cap;
    struct event event;
};

struct sink_broker {
    struct sim *sim;
    uint32_t number;
    enum outlet outlet;
    struct session *sessions;
    bool is_blocked, is_slow;
    struct dead_letter *letters;
    size_t letter_count, letter_cap;
};

/* ---- Answers ---- */

static void plan_answer(struct session *session)
{
    struct sim *sim = session->broker->sim;
    int64_t most = session->broker->is_slow ? SLOW_MS : session->manner->confirm_ms;

    if (session->count > 0 && session->event.place == 0)
        sim_plan(sim, &session->event, sim->now_ms + dice_between(&sim->dice, 0, most));
}

static void send_answer(struct session *session, const struct answer *answer, bool multiple)
{
    link_to_client(session->link, (struct frame){.kind = answer->refusal ? SINK_REFUSE : SINK_CONFIRM,
                                                 .flags = multiple,
                                                 .a = answer->refusal,
                                                 .d = answer->tag});
}

static void drop_answers(struct session *session, size_t first, size_t count)
{
    session->count -= count;
    memmove(session->answers + first, session->answers + first + count,
            (session->count - first) * sizeof *session->answers);
}

/* Those that are stored, from the oldest on, by one frame. False: the oldest is refused. */
static bool answer_together(struct session *session)
{
    size_t count = 0, most = 1 + dice_below(&session->broker->sim->dice, session->count);

    while (count < most && session->answers[count].refusal == 0)
        count++;
    if (count == 0)
        return false;
    send_answer(session, &session->answers[count - 1], count > 1);
    drop_answers(session, 0, count);
    return true;
}

static void answer_due(struct event *event)
{
    struct session *session = event->ctx;
    struct dice *dice = &session->broker->sim->dice;

    if (!session->manner->in_order) {
        for (uint64_t some = 1 + dice_below(dice, session->count); some > 0; some--) {
            size_t which = (size_t)dice_below(dice, session->count);

            send_answer(session, &session->answers[which], false);
            drop_answers(session, which, 1);
        }
    } else if (!answer_together(session)) {
        send_answer(session, &session->answers[0], false);
        drop_answers(session, 0, 1);
    }
    plan_answer(session);
}

/* ---- Publishing ---- */

static uint32_t some_trouble(struct dice *dice)
{
    static const uint32_t kinds[] = {BAILEY_ERR_PERMANENT, BAILEY_ERR_CONFIG, BAILEY_ERR_UNROUTABLE};

    return kinds[dice_below(dice, 3)];
}

static uint32_t kind_of_refusal(struct session *session, enum nature nature)
{
    struct dice *dice = &session->broker->sim->dice;

    if (session->broker->outlet == TO_DEAD)
        nature = NATURE_PLAIN;
    if (nature == NATURE_POISON)
        return BAILEY_ERR_PERMANENT;
    if (nature == NATURE_UNROUTABLE)
        return BAILEY_ERR_UNROUTABLE;
    if (nature == NATURE_STUBBORN)
        return BAILEY_ERR_TRANSIENT;
    if (nature == NATURE_FLAKY && dice_percent(dice, 70))
        return dice_percent(dice, 50) ? BAILEY_ERR_TRANSIENT : BAILEY_ERR_CONFIG;
    if (dice_percent(dice, session->manner->rejects))
        return some_trouble(dice);
    return dice_percent(dice, session->manner->refuses) ? BAILEY_ERR_TRANSIENT : 0;
}

/* ---- Dead letters ---- */

const char *sink_broker_encode(const struct bailey_message *msg)
{
    uint32_t size = (uint32_t)message_encoded_size(msg);
    char *text = world_alloc(sizeof size + size, 1);

    memcpy(text, &size, sizeof size);
    message_encode(msg, (uint8_t *)text + sizeof size);
    return text;
}

static void shelve(struct sink_broker *broker, const struct frame *frame)
{
    uint32_t size;

    memcpy(&size, frame->text, sizeof size);
    WORLD_ROOM(broker->letters, broker->letter_count, broker->letter_cap);
    broker->letters[broker->letter_count++] = (struct dead_letter){
        .message = (uint32_t)frame->a,
        .number = ledger_letter(broker->sim->ledger, (uint32_t)frame->b, frame->c),
        .bytes = {(const uint8_t *)frame->text + sizeof size, size},
    };
}

size_t sink_broker_letters(const struct sink_broker *broker)
{
    return broker->letter_count;
}

const struct dead_letter *sink_broker_letter(const struct sink_broker *broker, size_t number)
{
    return &broker->letters[number];
}

void sink_broker_remove(struct sink_broker *broker, size_t number)
{
    struct dead_letter *letter = &broker->letters[number];

    ledger_letter_removed(broker->sim->ledger, letter->number);
    letter->is_removed = true;
}

size_t sink_broker_unreplayed(const struct sink_broker *broker)
{
    size_t count = 0;

    for (size_t i = 0; i < broker->letter_count; i++)
        count += !broker->letters[i].is_removed &&
                 broker->sim->ledger->letters[broker->letters[i].number].replays < LEDGER_REPLAYS_MAX;
    return count;
}

static void store(struct sink_broker *broker, const struct frame *frame)
{
    ledger_stored(broker->sim->ledger, &(struct stored){.sink = broker->number,
                                                        .number = (uint32_t)frame->a,
                                                        .handout = (uint32_t)frame->b,
                                                        .outlet = broker->outlet,
                                                        .hash = frame->c,
                                                        .is_marked = frame->flags});
    if (frame->text != NULL)
        shelve(broker, frame);
}

static void on_frame(void *ctx, const struct frame *frame)
{
    static const char *const what[OUTLETS][2] = {
        {"sink: has message %llu of handout %llu", "sink: refuses message %llu of handout %llu"},
        {"dead letters: have message %llu of handout %llu", "dead letters: refuse message %llu of handout %llu"},
    };
    struct session *session = ctx;
    struct sink_broker *broker = session->broker;
    struct answer answer = {.tag = frame->d};

    if (frame->a < broker->sim->ledger->message_count && !broker->sim->is_calm)
        answer.refusal =
            kind_of_refusal(session, (enum nature)ledger_content(broker->sim->ledger, (uint32_t)frame->a)->nature);
    sim_note(broker->sim, what[broker->outlet][answer.refusal != 0], frame->a, frame->b);
    if (answer.refusal == 0)
        store(broker, frame);
    WORLD_ROOM(session->answers, session->count, session->cap);
    session->answers[session->count++] = answer;
    plan_answer(session);
}

static void on_gone(void *ctx)
{
    struct session *session = ctx, **at = &session->broker->sessions;

    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    sim_cancel(session->broker->sim, &session->event);
    free(session->answers);
    free(session);
}

static const struct link_server server_ops = {.frame = on_frame, .gone = on_gone};

struct link *sink_broker_connect(const struct way *way, const struct link_client *ops, void *client)
{
    const struct berth *berth = way->berth;
    struct sink_broker *broker = berth->route->sinks[way->outlet];
    struct session *session;

    process_step(berth->process);
    session = world_alloc(1, sizeof *session);
    *session = (struct session){
        .broker = broker, .manner = &berth->route->sink_manners[way->outlet], .next = broker->sessions};
    session->event = (struct event){.run = answer_due, .ctx = session};
    session->link = link_open(berth->host, ops, client, &server_ops, session);
    broker->sessions = session;
    link_to_client(session->link, (struct frame){.kind = SINK_READY});
    if (broker->is_blocked)
        link_to_client(session->link, (struct frame){.kind = SINK_BLOCKED});
    return session->link;
}

/* ---- The broker ---- */

void sink_broker_block(struct sink_broker *broker, bool blocked)
{
    if (broker->is_blocked == blocked)
        return;
    broker->is_blocked = blocked;
    sim_note(broker->sim, blocked ? "sink %llu: is blocked" : "sink %llu: is unblocked", broker->number, 0);
    for (struct session *session = broker->sessions; session != NULL; session = session->next)
        link_to_client(session->link, (struct frame){.kind = blocked ? SINK_BLOCKED : SINK_UNBLOCKED});
}

void sink_broker_slow(struct sink_broker *broker, bool slow)
{
    broker->is_slow = slow;
}

struct sink_broker *sink_broker_new(struct sim *sim, uint32_t number, enum outlet outlet)
{
    struct sink_broker *broker = world_alloc(1, sizeof *broker);

    *broker = (struct sink_broker){.sim = sim, .number = number, .outlet = outlet};
    return broker;
}
