/* The source: makes a slice of messages in each turn of the loop, as far as the lane has room and the rate allows.
 *
 *     number = what a message is called everywhere; ordinal = its place among those of this lane, which is what settlements
 *     and the resume file count (see generate_number).
 */
#include "generate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payload.h"
#include "resume.h"
#include "window.h"

enum {
    SLICE = 256,        /* messages a turn */
    WRITE_MS = 50,      /* how old the resume file may be */
    RATE_TICK_MS = 10,  /* how often a rate is served, where it is high */
    RATE_BURST_MS = 100 /* how much of the rate is made up for after a wait */
};

struct generate {
    const struct generate_settings *settings;
    struct bailey_port *port;
    struct payload payload;

    uint64_t next;   /* ordinal of the next new message */
    uint64_t *again; /* ordinals that were released: made again first, in the order in which they came back */
    size_t again_count, again_cap;
    size_t out;           /* given out and not settled */
    struct window window; /* only with a resume file */
    struct resume resume;

    double rate;       /* this lane's share, in messages a millisecond; 0 = no limit */
    double budget;     /* messages that the rate allows now */
    int64_t budget_ms; /* when that was counted */
    struct bailey_task start, pump;
    struct bailey_timer rate_timer, write_timer;
    bool is_draining, is_finished, write_runs;
};

/* The lane's keys are lane, lane + lanes, ...: how many of `keys`. */
static uint64_t own_keys(uint64_t keys, unsigned lane, unsigned lanes)
{
    return lane < keys ? (keys - lane + lanes - 1) / lanes : 0;
}

uint64_t generate_number(uint64_t ordinal, uint64_t keys, unsigned lane, unsigned lanes)
{
    uint64_t own = own_keys(keys, lane, lanes);

    if (keys == 0)
        return ordinal * lanes + lane;
    return own == 0 ? UINT64_MAX : ordinal / own * keys + ordinal % own * lanes + lane;
}

static double rate_of_lane(const struct generate_settings *settings, const struct bailey_port *port)
{
    double keys = (double)settings->keys;
    double share = settings->keys == 0 ? 1.0 / port->lanes
                                       : (double)own_keys((uint64_t)settings->keys, port->lane, port->lanes) / keys;

    return (double)settings->rate / 1000 * share;
}

static uint64_t number_of(const struct generate *gen, uint64_t ordinal)
{
    return generate_number(ordinal, (uint64_t)gen->settings->keys, gen->port->lane, gen->port->lanes);
}

/* ---- Messages ---- */

static struct bailey_value text_value(struct bailey_message *msg, const char *text, size_t len)
{
    return (struct bailey_value){.kind = BAILEY_KIND_STRING, .bytes = bailey_message_copy(msg, text, len)};
}

static void add_headers(const struct generate *gen, struct bailey_message *msg, uint64_t number)
{
    uint32_t count = (uint32_t)gen->settings->headers;
    struct bailey_header *headers = count ? bailey_message_alloc(msg, count * sizeof *headers) : NULL;
    char text[64];

    for (uint32_t i = 0; i < count; i++) {
        if (i == 0) {
            headers[i].name = bailey_bytes_of("sequence");
            headers[i].value = (struct bailey_value){.kind = BAILEY_KIND_I64, .i64 = (int64_t)number};
        } else if (i == 1) {
            size_t len = payload_put_number(text, gen->payload.seed);

            text[len++] = '-';
            len += payload_put_number(text + len, number);
            headers[i].name = bailey_bytes_of("idempotency-key");
            headers[i].value = text_value(msg, text, len);
        } else {
            size_t len = strlen("header-");

            memcpy(text, "header-", len);
            len += payload_put_number(text + len, i + 1);
            headers[i].name = bailey_message_copy(msg, text, len);
            headers[i].value = text_value(msg, text, len);
        }
    }
    msg->headers = headers;
    msg->header_count = count;
}

static struct bailey_message *make_message(const struct generate *gen, uint64_t ordinal)
{
    struct bailey_message *msg = bailey_message_new(gen->port);
    uint64_t number = number_of(gen, ordinal);
    char key[PAYLOAD_KEY_MAX], *body = bailey_message_alloc(msg, gen->payload.size);
    size_t key_len = payload_key(&gen->payload, number, key);

    payload_write(&gen->payload, number, body);
    msg->body = (struct bailey_bytes){(const uint8_t *)body, gen->payload.size};
    if (key_len > 0)
        msg->key = bailey_message_copy(msg, key, key_len);
    add_headers(gen, msg, number);
    msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
    msg->timestamp_ms = bailey_wall_ms(gen->port->host);
    msg->position = ordinal;
    return msg;
}

/* ---- How many, and when ---- */

static bool is_exhausted(const struct generate *gen)
{
    uint64_t number = number_of(gen, gen->next);

    return number == UINT64_MAX || (gen->settings->count > 0 && number >= (uint64_t)gen->settings->count);
}

/* Messages that the rate allows now; 0: a timer will call. What a wait kept back is made up for only in part. */
static size_t allowed_by_rate(struct generate *gen)
{
    int64_t now_ms = bailey_now_ms(gen->port->host);
    double burst = gen->rate * RATE_BURST_MS > 1 ? gen->rate * RATE_BURST_MS : 1;

    if (gen->rate == 0)
        return SLICE;
    gen->budget += gen->rate * (double)(now_ms - gen->budget_ms);
    gen->budget_ms = now_ms;
    if (gen->budget > burst)
        gen->budget = burst;
    if (gen->budget >= 1)
        return (size_t)gen->budget;
    int64_t wait_ms = (int64_t)((1 - gen->budget) / gen->rate) + 1;

    bailey_timer_start(gen->port->host, &gen->rate_timer, wait_ms > RATE_TICK_MS ? wait_ms : RATE_TICK_MS);
    return 0;
}

static void finish(struct generate *gen)
{
    gen->is_finished = true;
    bailey_finished(gen->port);
}

static size_t make_batch(struct generate *gen, struct bailey_message *batch[], size_t max)
{
    size_t count = 0, again = 0;

    while (count < max && again < gen->again_count)
        batch[count++] = make_message(gen, gen->again[again++]);
    gen->again_count -= again;
    if (again > 0 && gen->again_count > 0)
        memmove(gen->again, gen->again + again, gen->again_count * sizeof *gen->again);
    while (count < max && !is_exhausted(gen) &&
           (gen->settings->resume == NULL || window_has_room(&gen->window, gen->next)))
        batch[count++] = make_message(gen, gen->next++);
    return count;
}

static void pump(struct bailey_task *task)
{
    struct generate *gen = task->ctx;
    struct bailey_message *batch[SLICE];
    size_t room, allowed, count;

    if (gen->is_draining || gen->is_finished)
        return;
    if (is_exhausted(gen) && gen->again_count == 0) {
        if (gen->out == 0) /* before that one may still come back */
            finish(gen);
        return;
    }
    room = bailey_room(gen->port);
    if (room == 0 || (allowed = allowed_by_rate(gen)) == 0)
        return; /* generate_resume() or the timer goes on */
    room = room < allowed ? room : allowed;
    count = make_batch(gen, batch, room < SLICE ? room : SLICE);
    if (count == 0)
        return; /* the window is full: a settlement goes on */
    gen->budget -= (double)count;
    gen->out += count;
    bailey_receive(gen->port, batch, count);
    bailey_again(gen->port->host, &gen->pump);
}

static void rate_due(struct bailey_timer *timer)
{
    struct generate *gen = timer->ctx;

    bailey_again(gen->port->host, &gen->pump);
}

void generate_resume(void *self)
{
    struct generate *gen = self;

    bailey_again(gen->port->host, &gen->pump);
}

/* ---- Settlements ---- */

static void write_due(struct bailey_timer *timer)
{
    struct generate *gen = timer->ctx;
    struct bailey_error err = {0};

    gen->write_runs = false;
    if (!resume_write(&gen->resume, gen->window.low, &err))
        bailey_down(gen->port, &err);
}

static void note_settled(struct generate *gen, uint64_t ordinal)
{
    uint64_t low = gen->window.low;

    window_settle(&gen->window, ordinal);
    if (gen->window.low != low && !gen->write_runs) {
        gen->write_runs = true;
        bailey_timer_start(gen->port->host, &gen->write_timer, WRITE_MS);
    }
}

static void make_again(struct generate *gen, uint64_t ordinal)
{
    if (gen->again_count == gen->again_cap) {
        gen->again_cap = gen->again_cap ? gen->again_cap * 2 : 64;
        gen->again = realloc(gen->again, gen->again_cap * sizeof *gen->again);
        if (gen->again == NULL)
            abort(); /* the lane's credit bounds it: the machine is out of memory */
    }
    gen->again[gen->again_count++] = ordinal;
}

void generate_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct generate *gen = self;

    gen->out -= count;
    for (size_t i = 0; i < count; i++) {
        bool is_done = ended[i].outcome == BAILEY_ACCEPTED || ended[i].outcome == BAILEY_REJECTED;

        if (!is_done)
            make_again(gen, ended[i].position);
        else if (gen->settings->resume != NULL)
            note_settled(gen, ended[i].position);
    }
    if (!gen->is_draining && !gen->is_finished &&
        (gen->out == 0 || gen->again_count > 0 || gen->settings->resume != NULL))
        bailey_again(gen->port->host, &gen->pump);
}

/* ---- Life ---- */

static void start(struct bailey_task *task)
{
    struct generate *gen = task->ctx;

    bailey_up(gen->port);
    if (!gen->is_draining)
        pump(&gen->pump);
}

bool generate_open(void **self, void *broker, const void *settings, struct bailey_port *port, struct bailey_error *err)
{
    const struct generate_settings *given = settings;
    struct generate *gen = calloc(1, sizeof *gen);
    struct resume_owner owner = {(uint64_t)given->seed, (uint64_t)given->keys, port->lane, port->lanes};

    (void)broker;
    if (gen == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    gen->resume.fd = -1;
    if (given->resume != NULL && !resume_open(&gen->resume, given->resume, &owner, &gen->next, err)) {
        free(gen);
        return false;
    }
    gen->settings = given;
    gen->port = port;
    payload_init(&gen->payload, owner.seed, owner.keys, (size_t)given->size);
    window_init(&gen->window, gen->next);
    gen->start = (struct bailey_task){.run = start, .ctx = gen};
    gen->pump = (struct bailey_task){.run = pump, .ctx = gen};
    gen->rate_timer = (struct bailey_timer){.fire = rate_due, .ctx = gen};
    gen->write_timer = (struct bailey_timer){.fire = write_due, .ctx = gen};
    gen->rate = rate_of_lane(given, port);
    gen->budget_ms = bailey_now_ms(port->host);
    *self = gen;
    bailey_again(port->host, &gen->start);
    return true;
}

void generate_drain(void *self)
{
    struct generate *gen = self;

    gen->is_draining = true;
    bailey_drained(gen->port);
}

void generate_close(void *self)
{
    struct generate *gen = self;
    struct bailey_port *port = gen->port;
    struct bailey_error err = {0};

    bailey_again_stop(port->host, &gen->start);
    bailey_again_stop(port->host, &gen->pump);
    bailey_timer_stop(port->host, &gen->rate_timer);
    bailey_timer_stop(port->host, &gen->write_timer);
    if (gen->resume.fd >= 0 && gen->write_runs && !resume_write(&gen->resume, gen->window.low, &err))
        bailey_log(BAILEY_LOG_WARN, "generate.resume_failed", kv_str("route", port->route), kv_error(&err));
    resume_close(&gen->resume);
    window_fini(&gen->window);
    free(gen->again);
    free(gen);
    bailey_closed(port);
}
