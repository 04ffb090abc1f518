/* The life of an endpoint. A connector only ever says that it is down; how long to wait and when to try again is decided
 * here, in one place, alike for every connector. */
#include "core/lane_impl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { STABLE_MS = 5000 }; /* an end that was up that long begins its back-off anew */

static const struct {
    const char *name;
    unsigned may_become;
} end_states[END_STATES] = {
    [END_CLOSED] = {"closed", 1u << END_OPENING},
    [END_OPENING] = {"opening",
                     1u << END_UP | 1u << END_HELD | 1u << END_FAILED | 1u << END_CLOSING | 1u << END_WAITING},
    [END_UP] = {"up", 1u << END_HELD | 1u << END_FAILED | 1u << END_CLOSING},
    [END_HELD] = {"held", 1u << END_UP | 1u << END_FAILED | 1u << END_CLOSING},
    [END_FAILED] = {"failed", 1u << END_CLOSING},
    [END_CLOSING] = {"closing", 1u << END_WAITING | 1u << END_CLOSED},
    [END_WAITING] = {"waiting", 1u << END_OPENING | 1u << END_CLOSED},
};

static void end_move(struct end *end, enum end_state next)
{
    assert(end_states[end->state].may_become & 1u << next);
    end->state = next;
}

static void note_failure(struct end *end, const struct bailey_error *err)
{
    snprintf(end->reason, sizeof end->reason, "%s", err->text);
    bailey_log(BAILEY_LOG_WARN, "end.down", kv_str("route", end->port.route), kv_u64("lane", end->port.lane),
               kv_str("end", end->kind.name), kv_str("broker", end->port.broker), kv_error(err));
}

static void wait_to_open(struct end *end)
{
    int64_t delay_ms =
        bailey_backoff_next(end->port.host, &end->backoff, BAILEY_RECONNECT_MIN_MS, BAILEY_RECONNECT_MAX_MS);

    end_move(end, END_WAITING);
    bailey_timer_start(end->port.host, &end->retry, delay_ms);
    lane_on_end_changed(end->lane, end);
}

static void retry_due(struct bailey_timer *timer)
{
    end_open(timer->ctx);
}

void end_open(struct end *end)
{
    struct bailey_error err = {0};
    void *broker = NULL;
    bool opened;

    end_move(end, END_OPENING);
    end->wanted = true;
    end->is_drained = false;
    opened = end->kind.options->broker(end->kind.options->broker_ctx, &broker, &err);
    if (opened && end->kind.role == BAILEY_SOURCE)
        opened = end->kind.source->open(&end->self, broker, end->kind.options->settings, &end->port, &err);
    else if (opened)
        opened = end->kind.sink->open(&end->self, broker, end->kind.options->settings, &end->port, &err);
    if (!opened) {
        end->self = NULL;
        note_failure(end, &err);
        wait_to_open(end);
    }
}

static void call_close(struct end *end)
{
    end_move(end, END_CLOSING);
    if (end->kind.role == BAILEY_SOURCE)
        end->kind.source->close(end->self);
    else
        end->kind.sink->close(end->self);
}

static void close_failed(struct bailey_task *task)
{
    call_close(task->ctx);
}

void end_close(struct end *end)
{
    end->wanted = false;
    switch (end->state) {
    case END_OPENING:
    case END_UP:
    case END_HELD:
        call_close(end);
        return;
    case END_WAITING:
        bailey_timer_stop(end->port.host, &end->retry);
        end_move(end, END_CLOSED);
        lane_on_end_closed(end->lane, end);
        return;
    case END_CLOSED:
        lane_on_end_closed(end->lane, end);
        return;
    default: /* failed or closing: bailey_closed() will see that it is not wanted */
        return;
    }
}

void end_init(struct end *end, struct lane *lane, const struct end_kind *kind)
{
    const struct lane_options *options = &lane->options;

    *end = (struct end){
        .port = {.host = lane->host,
                 .route = options->route,
                 .broker = kind->options->broker_name,
                 .instance = options->instance,
                 .lane = options->lane,
                 .lanes = options->lanes,
                 .credit_messages = options->credit_messages,
                 .credit_bytes = options->credit_bytes,
                 .dedup_scope = options->dedup == NULL ? NULL : options->dedup->scope,
                 .order = (uint8_t)options->order,
                 .only_looks = options->reader != NULL && options->reader->only_looks},
        .lane = lane,
        .kind = *kind,
    };
    end->retry = (struct bailey_timer){.fire = retry_due, .ctx = end};
    end->close_task = (struct bailey_task){.run = close_failed, .ctx = end};
}

/* ---- What the connector says ---- */

void bailey_up(struct bailey_port *port)
{
    struct end *end = (struct end *)port;

    if (end->state == END_UP || !end_is_open(end))
        return;
    end_move(end, END_UP);
    end->up_since_ms = bailey_now_ms(port->host);
    end->reason[0] = '\0';
    lane_on_end_changed(end->lane, end);
}

void bailey_held(struct bailey_port *port, const char *reason)
{
    struct end *end = (struct end *)port;

    if (!end_is_open(end))
        return;
    snprintf(end->reason, sizeof end->reason, "%s", reason);
    if (end->state != END_HELD)
        end_move(end, END_HELD);
    lane_on_end_changed(end->lane, end);
}

void bailey_down(struct bailey_port *port, const struct bailey_error *err)
{
    struct end *end = (struct end *)port;

    if (!end_is_open(end))
        return;
    if (end->state != END_OPENING && bailey_now_ms(port->host) - end->up_since_ms >= STABLE_MS)
        end->backoff = (struct bailey_backoff){0};
    note_failure(end, err);
    end_move(end, END_FAILED);
    bailey_again(port->host, &end->close_task);
    lane_on_end_changed(end->lane, end);
}

void bailey_closed(struct bailey_port *port)
{
    struct end *end = (struct end *)port;

    assert(end->state == END_CLOSING);
    end->self = NULL;
    lane_on_end_lost(end->lane, end);
    if (end->wanted) {
        wait_to_open(end);
        return;
    }
    end_move(end, END_CLOSED);
    lane_on_end_closed(end->lane, end);
}

void bailey_drained(struct bailey_port *port)
{
    struct end *end = (struct end *)port;

    end->is_drained = true;
    lane_on_drained(end->lane);
}

void bailey_finished(struct bailey_port *port)
{
    struct end *end = (struct end *)port;

    end->is_drained = true;
    lane_on_finished(end->lane);
}
