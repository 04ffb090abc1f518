#include "route_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "host/registry.h"

void route_rig_load(struct route_rig *rig, const char *file, const char *route)
{
    struct text report = {0};
    struct config_counts counts = {0};

    harness_begin();
    rig->config = config_load(file, registry_find, &report, &counts);
    for (size_t i = 0; rig->config != NULL && i < rig->config->route_count; i++)
        if (strcmp(rig->config->routes[i].name, route) == 0)
            rig->route = &rig->config->routes[i];
    if (rig->route == NULL) {
        printf("down no such route: %s\n", report.data != NULL ? report.data : "");
        exit(1);
    }
    text_free(&report);
}

static bool give_broker(void *ctx, void **broker, struct bailey_error *err)
{
    (void)err;
    *broker = ((struct route_rig *)ctx)->broker;
    return true;
}

static void on_ended(struct lane *lane, void *ctx)
{
    (void)lane;
    ((struct route_rig *)ctx)->ended = true;
}

static void open_broker(struct route_rig *rig)
{
    const struct config_broker *broker = rig->route->to.broker;
    struct bailey_error err = {0};

    rig->loop = loop_new(&(struct loop_options){.seed = 7}, &err);
    if (rig->loop != NULL &&
        broker->connector->broker_open(&rig->broker, broker->settings, broker->name, "conformance", rig->loop, &err))
        return;
    printf("down %s\n", err.text);
    exit(1);
}

void route_rig_start(struct route_rig *rig, const struct bailey_source *source, const struct bailey_sink *sink,
                     int64_t credit_messages)
{
    struct lane_end_options end = {.broker_name = rig->route->to.broker->name,
                                   .settings = rig->route->to.settings,
                                   .broker = give_broker,
                                   .broker_ctx = rig};

    pthread_mutex_init(&rig->status.lock, NULL);
    open_broker(rig);
    rig->lane = lane_new(rig->loop, &(struct lane_options){
                                        .route = rig->route->name,
                                        .instance = "conformance",
                                        .lanes = 1,
                                        .credit_messages = credit_messages,
                                        .credit_bytes = 64 << 20,
                                        .source = source,
                                        .sink = sink,
                                        .from = end,
                                        .to = end,
                                        .status = &rig->status,
                                        .on_ended = on_ended,
                                        .ctx = rig,
                                    });
    lane_start(rig->lane);
}

void route_rig_end(struct route_rig *rig)
{
    enum { TURNS = 100 }; /* for what the connector does behind the close of its ends */

    lane_free(rig->lane);
    rig->route->to.broker->connector->broker_close(rig->broker);
    for (int i = 0; i < TURNS; i++)
        loop_turn(rig->loop, 1);
    loop_free(rig->loop);
    config_free(rig->config);
}
