/* route_rig.h: where a route of a configuration sends to, on its real broker, for a program that is the other end of a lane: a source
 * for its sink, or a sink for its shelf. One loop, main thread only.
 */
#ifndef BAILEY_TEST_ROUTE_RIG_H
#define BAILEY_TEST_ROUTE_RIG_H

#include "config/config.h"
#include "core/lane.h"
#include "loop/loop.h"

struct route_rig {
    struct config *config;
    const struct config_route *route;
    struct bailey_host *loop;
    void *broker;
    struct lane *lane;
    struct lane_status status;
    bool ended;
};

/* Zeroed. Find the route in the file; exits with 1 and `down REASON` if it is not there. */
void route_rig_load(struct route_rig *rig, const char *file, const char *route);

/* Start a lane with these two ends, each with the settings of the route's `to`: the program's own ignores them. Exits as above if the
 * broker cannot be opened. */
void route_rig_start(struct route_rig *rig, const struct bailey_source *source, const struct bailey_sink *sink,
                     int64_t credit_messages);

/* When it has ended. */
void route_rig_end(struct route_rig *rig);

#endif
