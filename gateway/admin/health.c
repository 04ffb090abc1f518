/* The JSON pages. A reason is a broker's own text: text_add_json makes it safe to show. */
#include "admin/health.h"

#include <inttypes.h>
#include <string.h>

static void add_string(struct text *out, const char *str)
{
    text_add_json(out, str, strlen(str));
}

static void add_route(struct text *out, const struct route_status *route)
{
    text_add(out, "{\"name\":");
    add_string(out, route->name);
    text_printf(out, ",\"state\":\"%s\",\"reason\":", lane_state_names[route->state]);
    add_string(out, route->reason);
    text_printf(out, ",\"since_seconds\":%" PRId64 ".%03d,\"unsettled\":%" PRId64 ",\"unconfirmed\":%" PRId64 "}",
                route->since_ms / 1000, (int)(route->since_ms % 1000), route->unsettled, route->unconfirmed);
}

static void add_broker(struct text *out, const struct connection_status *broker)
{
    text_add(out, "{\"name\":");
    add_string(out, broker->broker);
    text_printf(out, ",\"connections\":%" PRId64 ",\"expected\":%" PRId64 "}", broker->up, broker->expected);
}

void health_render_live(struct text *out)
{
    text_add(out, "{\"version\":1,\"status\":\"ok\"}\n");
}

void health_render_ready(struct text *out, const struct snapshot *snapshot)
{
    text_printf(out, "{\"version\":1,\"ready\":%s,\"instance\":", snapshot_ready(snapshot) ? "true" : "false");
    add_string(out, snapshot->instance);
    text_add(out, ",\"routes\":[");
    for (size_t i = 0; i < snapshot->route_count; i++) {
        text_add(out, i > 0 ? "," : "");
        add_route(out, &snapshot->routes[i]);
    }
    text_add(out, "],\"brokers\":[");
    for (size_t i = 0; i < snapshot->broker_count; i++) {
        text_add(out, i > 0 ? "," : "");
        add_broker(out, &snapshot->brokers[i]);
    }
    text_add(out, "]}\n");
}

void health_render_error(struct text *out, const char *error)
{
    text_add(out, "{\"version\":1,\"error\":");
    add_string(out, error);
    text_add(out, "}\n");
}
