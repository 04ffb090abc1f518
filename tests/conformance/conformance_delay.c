/* Gives messages to a sink whose broker is to hold them, for tests/system/delay_native.py:
 *
 *     conformance_delay FILE ROUTE BODY=MS ...
 *
 * Sends each with a time that many ms from now. Prints `confirmed` when the broker has confirmed all; exit code 1 and the reason if it
 * does not within a minute, or refuses one.
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

enum { PATIENCE_MS = 60000 };

static struct {
    const struct config_route *route;
    struct bailey_host *loop;
    void *broker;
    struct lane_status status;
    struct bailey_port *source;
    char **words;
    int count, settled;
    bool ended;
    int64_t now_ms;
} run;

static const struct config_broker *broker_of(void)
{
    return run.route->to.broker;
}

/* ---- Where the messages come from ---- */

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    (void)broker, (void)settings, (void)err;
    *self = &run;
    run.source = port;
    bailey_up(port);
    return true;
}

static void source_resume(void *self)
{
    (void)self;
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    (void)self;
    for (size_t i = 0; i < count; i++)
        run.settled += ended[i].outcome == BAILEY_ACCEPTED;
}

static void source_drain(void *self)
{
    (void)self;
    bailey_drained(run.source);
}

static void source_close(void *self)
{
    (void)self;
    bailey_closed(run.source);
}

static void push_all(void)
{
    for (int i = 0; i < run.count; i++) {
        struct bailey_message *msg = bailey_message_new(run.source);

        msg->body = bailey_message_copy(msg, run.words[i], strcspn(run.words[i], "="));
        msg->group = 1;
        msg->position = (uint64_t)i;
        bailey_receive(run.source, &msg, 1);
    }
}

/* ---- The sink, told when ---- */

static size_t send_at(void *self, struct bailey_delivery *const batch[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *word = run.words[((const struct bailey_message *)batch[i]->message)->position];

        batch[i]->deliver_at_ms = run.now_ms + strtoll(strchr(word, '=') + 1, NULL, 10);
    }
    return broker_of()->connector->sink->send(self, batch, count);
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

static struct lane *open_lane(void)
{
    static const struct bailey_option no_options[] = {{0}};
    static const struct bailey_source source = {.options = no_options,
                                                .open = source_open,
                                                .resume = source_resume,
                                                .settle = source_settle,
                                                .drain = source_drain,
                                                .close = source_close};
    static struct bailey_sink sink;
    struct bailey_error err = {0};
    struct lane_options options = {
        .route = run.route->name,
        .instance = "delay",
        .lanes = 1,
        .credit_messages = 1000,
        .credit_bytes = 64 << 20,
        .source = &source,
        .sink = &sink,
        .from = {.broker_name = "none", .broker = give_broker},
        .to = {.broker_name = broker_of()->name, .settings = run.route->to.settings, .broker = give_broker},
        .status = &run.status,
        .on_ended = on_ended,
    };
    struct lane *lane;

    sink = *broker_of()->connector->sink;
    sink.send = send_at;
    pthread_mutex_init(&run.status.lock, NULL);
    run.loop = loop_new(&(struct loop_options){.seed = 7}, &err);
    if (run.loop == NULL || !broker_of()->connector->broker_open(&run.broker, broker_of()->settings, broker_of()->name,
                                                                 "delay", run.loop, &err)) {
        printf("%s\n", err.text);
        exit(1);
    }
    lane = lane_new(run.loop, &options);
    lane_start(lane);
    return lane;
}

static bool is_refused(void)
{
    for (int kind = 0; kind < BAILEY_ERR_KINDS; kind++)
        if (run.status.refused[kind] > 0)
            return true;
    return false;
}

static int carry(void)
{
    struct lane *lane = open_lane();
    int64_t end_ms = monotonic_ms() + PATIENCE_MS;
    bool pushed = false;

    while (run.settled < run.count && !is_refused() && monotonic_ms() < end_ms) {
        loop_turn(run.loop, 20);
        if (!pushed && run.status.state == LANE_RUNNING) {
            pushed = true;
            run.now_ms = bailey_wall_ms(run.loop);
            push_all();
        }
    }
    printf("%s\n", run.settled == run.count ? "confirmed" : run.status.reason);
    lane_stop(lane);
    while (!run.ended)
        loop_turn(run.loop, 20);
    lane_free(lane);
    broker_of()->connector->broker_close(run.broker);
    loop_turn(run.loop, 0);
    loop_free(run.loop);
    return run.settled == run.count ? 0 : 1;
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
    if (run.route == NULL) {
        printf("no such route: %s\n", report.data != NULL ? report.data : "");
        return 1;
    }
    run.words = argv + 3;
    run.count = argc - 3;
    result = carry();
    config_free(config);
    text_free(&report);
    return result;
}
