/* One thread with one loop, which runs many lanes. Brokers are opened when the first lane wants them and closed with the
 * last lane, all on this thread. */
#include "host/worker.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/dedup.h"
#include "loop/loop.h"
#include "loop/thread.h"

enum { JOBS_END_MS = 6000 }; /* for jobs of connectors that close in the background */

struct worker_broker {
    struct worker *worker;
    const struct config_broker *config;
    void *self; /* NULL: not open */
};

struct worker {
    struct worker_options options;
    struct bailey_host *loop;
    pthread_t thread;
    struct worker_broker *brokers;
    struct lane **lanes;
    struct lane_dedup_options *dedups;      /* one a lane; .shard is NULL without */
    struct lane_dead_letters *dead_letters; /* one a lane */
    struct lane_dead_reader reader;         /* of `bailey dlq` */
    unsigned lane_count, ended;
    bool is_stopping;
    struct bailey_task start, drain, stop;
};

/* ---- Brokers ---- */

static bool broker_open(void *ctx, void **self, struct bailey_error *err)
{
    struct worker_broker *broker = ctx;
    const struct config_broker *config = broker->config;

    if (broker->self == NULL &&
        !config->connector->broker_open(&broker->self, config->settings, config->name,
                                        broker->worker->options.config->instance, broker->worker->loop, err)) {
        broker->self = NULL;
        return false;
    }
    *self = broker->self;
    return true;
}

static void close_brokers(struct worker *worker)
{
    for (size_t i = 0; i < worker->options.config->broker_count; i++) {
        struct worker_broker *broker = &worker->brokers[i];

        if (broker->self != NULL)
            broker->config->connector->broker_close(broker->self);
        broker->self = NULL;
    }
}

static struct broker_gauge *gauge_of(struct bailey_host *host, const char *name)
{
    const struct worker *worker = loop_user(host);

    for (size_t i = 0; worker != NULL && i < worker->options.config->broker_count; i++)
        if (strcmp(worker->options.config->brokers[i].name, name) == 0)
            return &worker->options.gauges[i];
    return NULL;
}

void bailey_connection_expected(struct bailey_host *host, const char *broker, int change)
{
    struct broker_gauge *gauge = gauge_of(host, broker);

    if (gauge != NULL)
        atomic_fetch_add_explicit(&gauge->expected, change, memory_order_relaxed);
}

void bailey_connection_up(struct bailey_host *host, const char *broker, int change)
{
    struct broker_gauge *gauge = gauge_of(host, broker);

    if (gauge != NULL)
        atomic_fetch_add_explicit(&gauge->up, change, memory_order_relaxed);
}

/* ---- On the worker's thread ---- */

static void start_lanes(struct bailey_task *task)
{
    struct worker *worker = task->ctx;

    for (unsigned i = 0; i < worker->lane_count && !worker->is_stopping; i++)
        lane_start(worker->lanes[i]);
}

static void drain_lanes(struct bailey_task *task)
{
    struct worker *worker = task->ctx;

    for (unsigned i = 0; i < worker->lane_count; i++)
        lane_drain(worker->lanes[i]);
}

static void stop_lanes(struct bailey_task *task)
{
    struct worker *worker = task->ctx;

    worker->is_stopping = true;
    for (unsigned i = 0; i < worker->lane_count; i++)
        lane_stop(worker->lanes[i]);
}

static void on_lane_ended(struct lane *lane, void *ctx)
{
    struct worker *worker = ctx;

    (void)lane;
    worker->ended++;
    worker->options.on_lane_ended(worker->options.ctx);
}

static void *run(void *ctx)
{
    struct worker *worker = ctx;

    pthread_setname_np(pthread_self(), "bailey-worker");
    loop_run(worker->loop);
    return NULL;
}

/* ---- From other threads ---- */

static struct lane_end_options end_options(struct worker *worker, const struct config_end *end)
{
    return (struct lane_end_options){
        .broker_name = end->broker->name,
        .settings = end->settings,
        .broker = broker_open,
        .broker_ctx = &worker->brokers[end->broker->index],
    };
}

static struct lane_retry retry_of(const struct config_retry *retry)
{
    return (struct lane_retry){
        .attempts = (uint32_t)retry->attempts,
        .min_ms = retry->min_ms,
        .max_ms = retry->max_ms,
        .multiplier = retry->multiplier,
        .jitter = retry->jitter,
    };
}

static enum lane_unroutable unroutable_of(enum config_unroutable unroutable)
{
    static const enum lane_unroutable as[] = {
        [CONFIG_UNROUTABLE_DEAD_LETTER] = LANE_UNROUTABLE_DEAD_LETTER,
        [CONFIG_UNROUTABLE_RETRY] = LANE_UNROUTABLE_RETRY,
        [CONFIG_UNROUTABLE_ACCEPT] = LANE_UNROUTABLE_ACCEPT,
    };

    return as[unroutable];
}

static enum lane_pick pick(void *ctx, const struct bailey_message *letter)
{
    static const enum lane_pick as[] = {
        [CONFIG_PICK_SEND] = LANE_PICK_SEND,
        [CONFIG_PICK_LEAVE] = LANE_PICK_LEAVE,
        [CONFIG_PICK_REMOVE] = LANE_PICK_REMOVE,
        [CONFIG_PICK_STOP] = LANE_PICK_STOP,
    };
    const struct config_dead_reader *reader = ctx;

    return as[reader->pick(reader->ctx, letter)];
}

static const struct lane_dead_reader *set_reader(struct worker *worker, const struct config_dead_reader *reader)
{
    worker->reader = (struct lane_dead_reader){
        .pick = pick,
        .ctx = (void *)(uintptr_t)reader,
        .only_looks = reader->only_looks,
        .rate = reader->rate,
    };
    return &worker->reader;
}

static const struct lane_dead_letters *add_dead_letters(struct worker *worker, const struct config_end *end)
{
    struct lane_dead_letters *dead = &worker->dead_letters[worker->lane_count];

    *dead = (struct lane_dead_letters){
        .sink = end->broker->connector->sink,
        .to = end_options(worker, end),
        .templates = end->templates,
        .template_count = end->template_count,
    };
    return dead;
}

static const struct lane_dedup_options *add_shard(struct worker *worker, const struct config_route *route,
                                                  const struct worker_dedup *dedup)
{
    const struct config_scope *scope = &worker->options.config->scopes[route->dedup->scope];
    struct lane_dedup_options *options = &worker->dedups[worker->lane_count];

    *options = (struct lane_dedup_options){
        .scope = scope->name,
        .id = route->dedup->id,
        .group = dedup->group,
        .number = dedup->number,
        .state = dedup->state,
        .pass_on_failure = route->dedup->pass_on_failure,
    };
    options->shard = dedup_shard_new(&(struct dedup_shard_options){
        .host = worker->loop,
        .route = route->name,
        .group = dedup->group,
        .number = dedup->number,
        .state = dedup->state,
        .window_ms = scope->window_ms,
        .max = scope->max,
        .pass_on_failure = route->dedup->pass_on_failure,
    });
    return options;
}

void worker_add_lane(struct worker *worker, const struct config_route *route, unsigned lane, struct lane_status *status,
                     const struct worker_dedup *dedup, struct state_table *kept, struct state_table *spill)
{
    const struct config_dead_reader *reader = route->dead_reader;

    assert(worker->lane_count < worker->options.lanes_max);
    struct lane_options options = {
        .route = route->name,
        .instance = worker->options.config->instance,
        .lane = lane,
        .lanes = (unsigned)route->lanes,
        .credit_messages = route->credit_messages,
        .credit_bytes = route->credit_bytes,
        .ahead_max = route->retry.hold,
        .messages_max = worker->options.config->messages_max,
        .key = route->key,
        .dedup = dedup == NULL ? NULL : add_shard(worker, route, dedup),
        .order = route->order,
        .hops_max = (unsigned)route->max_hops,
        .retry = retry_of(&route->retry),
        .parks_in_store = route->retry.parks_in_store,
        .delay = route->delay.delay,
        .deliver_at = route->delay.deliver_at,
        .delays_natively = route->delay.is_native,
        .kept = kept,
        .spill = spill,
        .expire = route->expire == CONFIG_EXPIRE_DROP ? LANE_EXPIRE_DROP : LANE_EXPIRE_DEAD_LETTER,
        .unroutable = unroutable_of(route->unroutable),
        .dead_letters = route->dead_letter == NULL ? NULL : add_dead_letters(worker, route->dead_letter),
        .templates = route->to.templates,
        .template_count = route->to.template_count,
        .reader = reader == NULL ? NULL : set_reader(worker, reader),
        .source = reader == NULL ? route->from.broker->connector->source : route->from.broker->connector->shelf,
        .sink = reader != NULL && reader->sink != NULL ? reader->sink : route->to.broker->connector->sink,
        .from = end_options(worker, &route->from),
        .to = end_options(worker, &route->to),
        .status = status,
        .on_ended = on_lane_ended,
        .ctx = worker,
    };

    worker->lanes[worker->lane_count++] = lane_new(worker->loop, &options);
}

struct worker *worker_new(const struct worker_options *options, struct bailey_error *err)
{
    struct worker *worker = calloc(1, sizeof *worker);
    size_t brokers = options->config->broker_count;

    if (worker == NULL)
        abort();
    worker->options = *options;
    worker->brokers = calloc(brokers + 1, sizeof *worker->brokers);
    worker->lanes = calloc(options->lanes_max + 1, sizeof(struct lane *));
    worker->dedups = calloc(options->lanes_max + 1, sizeof *worker->dedups);
    worker->dead_letters = calloc(options->lanes_max + 1, sizeof *worker->dead_letters);
    if (worker->brokers == NULL || worker->lanes == NULL || worker->dedups == NULL || worker->dead_letters == NULL)
        abort();
    for (size_t i = 0; i < brokers; i++)
        worker->brokers[i] = (struct worker_broker){.worker = worker, .config = &options->config->brokers[i]};
    worker->start = (struct bailey_task){.run = start_lanes, .ctx = worker};
    worker->drain = (struct bailey_task){.run = drain_lanes, .ctx = worker};
    worker->stop = (struct bailey_task){.run = stop_lanes, .ctx = worker};
    /* A lane needs a few descriptors of its own at most (wakers of a client library), a broker a few connections. */
    worker->loop =
        loop_new(&(struct loop_options){.fds_max = 256 + options->lanes_max * 4 + (unsigned)brokers * 8}, err);
    if (worker->loop == NULL) {
        free(worker->dedups);
        free(worker->dead_letters);
        free(worker->lanes);
        free(worker->brokers);
        free(worker);
        return NULL;
    }
    loop_set_user(worker->loop, worker);
    return worker;
}

bool worker_start(struct worker *worker, struct bailey_error *err)
{
    int failed = thread_start_joinable(&worker->thread, run, worker);

    if (failed)
        return bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "errno", failed, "cannot start a thread: %s",
                                  strerror(failed));
    bailey_post(worker->loop, &worker->start);
    return true;
}

void worker_drain(struct worker *worker)
{
    bailey_post(worker->loop, &worker->drain);
}

void worker_stop(struct worker *worker)
{
    bailey_post(worker->loop, &worker->stop);
}

void worker_end(struct worker *worker)
{
    loop_stop(worker->loop);
}

/* What is left to do once the lanes are closed (jobs of connectors that close in the background), for a bounded time. */
static void finish_jobs(struct worker *worker)
{
    enum { TURN_MS = 10, TURNS = JOBS_END_MS / TURN_MS };

    for (int i = 0; i < TURNS && loop_jobs(worker->loop) > 0; i++)
        loop_turn(worker->loop, TURN_MS);
}

bool worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    return worker->ended == worker->lane_count;
}

void worker_free(struct worker *worker)
{
    loop_turn(worker->loop, 0);
    close_brokers(worker);
    finish_jobs(worker);
    loop_turn(worker->loop, 0);
    if (loop_jobs(worker->loop) > 0)
        return; /* a library call hangs: its memory must stay */
    for (unsigned i = 0; i < worker->lane_count; i++) {
        lane_free(worker->lanes[i]);
        dedup_shard_free(worker->dedups[i].shard);
    }
    loop_free(worker->loop);
    free(worker->dedups);
    free(worker->dead_letters);
    free(worker->lanes);
    free(worker->brokers);
    free(worker);
}
