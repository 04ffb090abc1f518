/* A running gateway: deals the lanes of all routes to the workers, and reads what they show. */
#include "host/gateway.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/dedup.h"
#include "host/registry.h"
#include "host/worker.h"
#include "state/store.h"

enum { LANES_STOP_MS = 6000 }; /* then the process ends with those that have not closed */

struct route {
    const struct config_route *config;
    struct lane_status *lanes; /* config->lanes of them */
};

struct gateway {
    const struct config *config;
    struct worker **workers;
    size_t worker_count, started;
    struct route *routes;
    struct broker_gauge *gauges;
    struct state_store *state;  /* NULL: no route needs one */
    struct dedup_group *groups; /* one a scope */
    _Atomic int64_t lanes_running;
    int done_fd;
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* at start only, and a few kilobytes */
    return memory;
}

static void on_lane_ended(void *ctx)
{
    struct gateway *gateway = ctx;
    uint64_t one = 1;

    if (atomic_fetch_sub(&gateway->lanes_running, 1) == 1) {
        ssize_t written = write(gateway->done_fd, &one, sizeof one);

        (void)written; /* an eventfd that is already readable is as good */
    }
}

static void make_statuses(struct gateway *gateway)
{
    gateway->routes = must(calloc(gateway->config->route_count + 1, sizeof *gateway->routes));
    for (size_t i = 0; i < gateway->config->route_count; i++) {
        struct route *route = &gateway->routes[i];

        route->config = &gateway->config->routes[i];
        route->lanes = must(calloc((size_t)route->config->lanes, sizeof *route->lanes));
        for (int64_t lane = 0; lane < route->config->lanes; lane++) {
            pthread_mutex_init(&route->lanes[lane].lock, NULL);
            route->lanes[lane].state = LANE_STARTING;
        }
        gateway->lanes_running += route->config->lanes;
    }
}

static void deal_lanes(struct gateway *gateway)
{
    unsigned *shards = must(calloc(gateway->config->scope_count + 1, sizeof *shards)); /* dealt so far, of each scope */
    size_t next = 0;

    for (size_t i = 0; i < gateway->config->route_count; i++) {
        const struct config_route *config = gateway->routes[i].config;

        for (int64_t lane = 0; lane < config->lanes; lane++) {
            struct worker *worker = gateway->workers[next++ % gateway->worker_count];
            struct worker_dedup dedup;

            if (config->dedup != NULL)
                dedup = (struct worker_dedup){
                    .group = &gateway->groups[config->dedup->scope],
                    .state = state_store_scope(gateway->state, config->dedup->scope),
                    .number = shards[config->dedup->scope]++,
                };
            worker_add_lane(worker, config, (unsigned)lane, &gateway->routes[i].lanes[lane],
                            config->dedup == NULL ? NULL : &dedup,
                            config->keeps_messages ? state_store_table(gateway->state, i) : NULL,
                            config->spills ? state_store_spill(gateway->state, i) : NULL);
        }
    }
    free(shards);
}

static bool needs_state(const struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++)
        if (config->routes[i].keeps_messages || config->routes[i].spills)
            return true;
    return config->scope_count > 0;
}

static bool open_state(struct gateway *gateway, struct bailey_error *err)
{
    const struct config *config = gateway->config;

    if (!needs_state(config))
        return true;
    gateway->groups = must(calloc(config->scope_count + 1, sizeof *gateway->groups));
    for (size_t i = 0; i < config->scope_count; i++)
        gateway->groups[i] = (struct dedup_group){
            .count = config->scopes[i].lanes,
            .shards = must(calloc(config->scopes[i].lanes, sizeof(struct dedup_shard *))),
        };
    gateway->state = state_store_open(config, registry_find_store, err);
    return gateway->state != NULL;
}

static bool make_workers(struct gateway *gateway, struct bailey_error *err)
{
    struct worker_options options = {
        .config = gateway->config,
        .gauges = gateway->gauges,
        .lanes_max = (unsigned)(gateway->lanes_running / gateway->config->workers + 1),
        .on_lane_ended = on_lane_ended,
        .ctx = gateway,
    };

    gateway->workers = must(calloc((size_t)gateway->config->workers, sizeof(struct worker *)));
    while (gateway->worker_count < (size_t)gateway->config->workers) {
        struct worker *worker = worker_new(&options, err);

        if (worker == NULL)
            return false;
        gateway->workers[gateway->worker_count++] = worker;
    }
    return true;
}

struct gateway *gateway_start(const struct config *config, struct bailey_error *err)
{
    struct gateway *gateway = must(calloc(1, sizeof *gateway));

    gateway->config = config;
    gateway->gauges = must(calloc(config->broker_count + 1, sizeof *gateway->gauges));
    gateway->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (gateway->done_fd < 0) {
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "cannot make an eventfd");
        return NULL; /* the process ends: nothing to tidy up */
    }
    make_statuses(gateway);
    if (!open_state(gateway, err) || !make_workers(gateway, err))
        return NULL;
    deal_lanes(gateway);
    if (gateway->state != NULL && !state_store_start(gateway->state, err))
        return NULL;
    while (gateway->started < gateway->worker_count) {
        if (!worker_start(gateway->workers[gateway->started], err))
            return NULL;
        gateway->started++;
    }
    return gateway;
}

void gateway_drain(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->worker_count; i++)
        worker_drain(gateway->workers[i]);
}

int gateway_done_fd(const struct gateway *gateway)
{
    return gateway->done_fd;
}

static void free_all(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->worker_count; i++)
        worker_free(gateway->workers[i]);
    state_store_close(gateway->state);
    for (size_t i = 0; i < gateway->config->scope_count; i++)
        free(gateway->groups[i].shards);
    for (size_t i = 0; i < gateway->config->route_count; i++) {
        for (int64_t lane = 0; lane < gateway->routes[i].config->lanes; lane++)
            pthread_mutex_destroy(&gateway->routes[i].lanes[lane].lock);
        free(gateway->routes[i].lanes);
    }
    close(gateway->done_fd);
    free(gateway->groups);
    free(gateway->routes);
    free(gateway->gauges);
    free(gateway->workers);
    free(gateway);
}

bool gateway_stop(struct gateway *gateway)
{
    bool drained = atomic_load(&gateway->lanes_running) == 0, ended = true;
    struct pollfd done = {.fd = gateway->done_fd, .events = POLLIN};

    for (size_t i = 0; i < gateway->worker_count; i++)
        worker_stop(gateway->workers[i]);
    while (poll(&done, 1, LANES_STOP_MS) < 0 &&
           errno == EINTR) /* the lanes serve each other until the last has ended */
        ;
    for (size_t i = 0; i < gateway->worker_count; i++)
        worker_end(gateway->workers[i]);
    for (size_t i = 0; i < gateway->worker_count; i++)
        ended = worker_join(gateway->workers[i]) && ended;
    if (gateway->state != NULL)
        state_store_stop(gateway->state);
    if (!ended)
        return false; /* what still runs (threads of libraries) refers to our memory: the process ends soon */
    free_all(gateway);
    return drained;
}

/* ---- What it shows ---- */

static int64_t monotonic_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void add_lane_status(struct route_status *sum, struct lane_status *lane, bool first)
{
    int64_t for_ms;

#define METRIC(name, type, label, help) sum->name += atomic_load_explicit(&lane->name, memory_order_relaxed);
#include "core/metrics.def"
#undef METRIC
    for (int i = 0; i < BAILEY_ERR_KINDS; i++)
        sum->refused[i] += atomic_load_explicit(&lane->refused[i], memory_order_relaxed);
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        sum->latency_count[i] += atomic_load_explicit(&lane->latency_count[i], memory_order_relaxed);
    sum->not_removed += atomic_load_explicit(&lane->not_removed, memory_order_relaxed);
    sum->latency_sum_ms += atomic_load_explicit(&lane->latency_sum_ms, memory_order_relaxed);
    pthread_mutex_lock(&lane->lock);
    for_ms = lane->since_ms > 0 ? monotonic_ms() - lane->since_ms : 0;
    if (first || lane->state > sum->state) {
        sum->state = lane->state;
        sum->since_ms = for_ms;
        memcpy(sum->reason, lane->reason, sizeof sum->reason);
    }
    pthread_mutex_unlock(&lane->lock);
}

size_t gateway_route_count(const struct gateway *gateway)
{
    return gateway->config->route_count;
}

void gateway_status(struct gateway *gateway, size_t route, struct route_status *status)
{
    assert(route < gateway->config->route_count);
    *status = (struct route_status){.name = gateway->routes[route].config->name};
    for (int64_t i = 0; i < gateway->routes[route].config->lanes; i++)
        add_lane_status(status, &gateway->routes[route].lanes[i], i == 0);
}

size_t gateway_broker_count(const struct gateway *gateway)
{
    return gateway->config->broker_count;
}

void gateway_connection(struct gateway *gateway, size_t broker, struct connection_status *status)
{
    assert(broker < gateway->config->broker_count);
    *status = (struct connection_status){
        .broker = gateway->config->brokers[broker].name,
        .expected = atomic_load_explicit(&gateway->gauges[broker].expected, memory_order_relaxed),
        .up = atomic_load_explicit(&gateway->gauges[broker].up, memory_order_relaxed),
    };
}

bool gateway_ready(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->config->route_count; i++) {
        struct route_status status;

        gateway_status(gateway, i, &status);
        if (status.state != LANE_RUNNING && status.state != LANE_FINISHED)
            return false;
    }
    return true;
}
