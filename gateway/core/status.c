/* Names and bounds of what a lane shows. */
#include "core/status.h"

const char *const lane_state_names[LANE_STATES] = {
    [LANE_FINISHED] = "finished", [LANE_STOPPED] = "stopped",   [LANE_RUNNING] = "running",
    [LANE_DRAINING] = "draining", [LANE_STARTING] = "starting", [LANE_STALLED] = "stalled",
    [LANE_HELD] = "held",         [LANE_BLOCKED] = "blocked",   [LANE_DOWN] = "down",
};

const int64_t latency_bounds_ms[LATENCY_BUCKETS - 1] = {1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10000, 60000};
