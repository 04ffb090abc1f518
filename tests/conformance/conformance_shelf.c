/* Reads back what lies where a route of a configuration sends to, for tests/system/shelf.py:
 *
 *     conformance_shelf FILE ROUTE look | take [BODY...] | hang COUNT
 *
 * look prints all; take removes those bodies, and leaves the rest; hang removes the first, prints COUNT in all, and then does nothing until
 * it is killed. Prints a line `message BODY` for each and `finished` at the end; exit code 1 and `down REASON` if it fails.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "core/lane.h"
#include "harness.h"
#include "host/registry.h"
#include "loop/loop.h"

enum { MESSAGES_MAX = 20000 };

static struct {
    const struct config_route *route;
    struct bailey_host *loop;
    struct lane *lane;
    void *broker;
    struct lane_status status;
    struct bailey_port *sink;
    char **bodies; /* to be removed */
    int body_count;
    bool looks, hangs, ended;
    struct bailey_delivery *left[MESSAGES_MAX];
    size_t left_count, seen, hang_at;
} run;

static const struct bailey_source *shelf(void)
{
    return run.route->to.broker->connector->shelf;
}

static bool open_shelf(void **self, void *broker, const void *settings, struct bailey_port *port,
                       struct bailey_error *err)
{
    port->only_looks = run.looks;
    return shelf()->open(self, broker, settings, port, err);
}

/* ---- Where the messages go ---- */

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    (void)broker, (void)settings, (void)err;
    *self = &run;
    run.sink = port;
    bailey_up(port);
    return true;
}

static bool is_wanted(struct bailey_bytes body)
{
    if (run.looks)
        return true;
    if (run.hangs)
        return run.seen == 1;
    for (int i = 0; i < run.body_count; i++)
        if (bailey_bytes_is(body, run.bodies[i]))
            return true;
    return false;
}

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    (void)self;
    for (size_t i = 0; i < count; i++) {
        struct bailey_bytes body = batch[i]->message->body;
        struct bailey_delivery *delivery = batch[i];

        run.seen++;
        if (!run.hangs || run.seen <= run.hang_at)
            printf("message %.*s\n", (int)body.len, (const char *)body.data);
        if (is_wanted(body))
            bailey_confirm(run.sink, &delivery, 1);
        else if (run.left_count < MESSAGES_MAX)
            run.left[run.left_count++] = delivery;
        else
            abort();
    }
    fflush(stdout);
    return count;
}

static void sink_close(void *self)
{
    (void)self;
    bailey_hand_back(run.sink, run.left, run.left_count, false);
    run.left_count = 0;
    bailey_closed(run.sink);
}

/* ---- The lane ---- */

static bool give_broker(void *ctx, void **broker, struct bailey_error *err)
{
    (void)ctx, (void)err;
    *broker = run.broker;
    return true;
}

static void on_ended(struct lane *lane, void *ctx)
{
    (void)lane, (void)ctx;
    run.ended = true;
}

static void open_lane(void)
{
    static const struct bailey_option no_options[] = {{0}};
    static const struct bailey_sink sink = {
        .options = no_options, .open = sink_open, .send = sink_send, .close = sink_close};
    static struct bailey_source source;
    const struct config_broker *broker = run.route->to.broker;
    struct bailey_error err = {0};
    struct lane_options options = {
        .route = run.route->name,
        .instance = "shelf",
        .lanes = 1,
        .credit_messages = MESSAGES_MAX,
        .credit_bytes = 64 << 20,
        .source = &source,
        .sink = &sink,
        .from = {.broker_name = broker->name, .settings = run.route->to.settings, .broker = give_broker},
        .to = {.broker_name = broker->name, .broker = give_broker},
        .status = &run.status,
        .on_ended = on_ended,
    };

    source = *shelf();
    source.open = open_shelf;
    pthread_mutex_init(&run.status.lock, NULL);
    run.loop = loop_new(&(struct loop_options){.seed = 7}, &err);
    if (run.loop == NULL ||
        !broker->connector->broker_open(&run.broker, broker->settings, broker->name, "shelf", run.loop, &err)) {
        printf("down %s\n", err.text);
        exit(1);
    }
    run.lane = lane_new(run.loop, &options);
    lane_start(run.lane);
}

static int carry(void)
{
    int result = 0;

    while (!run.ended) {
        loop_turn(run.loop, 20);
        if (run.status.state == LANE_DOWN && result == 0) {
            printf("down %s\n", run.status.reason);
            result = 1;
            lane_stop(run.lane);
        } else if (run.status.state == LANE_DRAINING && !run.hangs) { /* that was all: the rest is left */
            lane_stop(run.lane);
        }
    }
    if (result == 0)
        printf("finished\n");
    lane_free(run.lane);
    run.route->to.broker->connector->broker_close(run.broker);
    for (int i = 0; i < 100; i++)
        loop_turn(run.loop, 1);
    loop_free(run.loop);
    return result;
}

int main(int argc, char **argv)
{
    struct text report = {0};
    struct config_counts counts = {0};
    struct config *config;
    int result;

    if (argc < 4)
        return 2;
    harness_begin();
    config = config_load(argv[1], registry_find, &report, &counts);
    for (size_t i = 0; config != NULL && i < config->route_count; i++)
        if (strcmp(config->routes[i].name, argv[2]) == 0)
            run.route = &config->routes[i];
    if (run.route == NULL || shelf() == NULL) {
        printf("down no such route, or no shelf: %s\n", report.data != NULL ? report.data : "");
        return 1;
    }
    run.looks = strcmp(argv[3], "look") == 0;
    run.hangs = strcmp(argv[3], "hang") == 0;
    run.hang_at = run.hangs && argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    run.bodies = argv + 4;
    run.body_count = argc - 4;
    open_lane();
    result = carry();
    config_free(config);
    text_free(&report);
    return result;
}
