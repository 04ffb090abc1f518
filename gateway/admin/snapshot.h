/* admin/snapshot.h: all that the admin pages show, taken at one moment.
 *
 * The pages are rendered from this alone, so that they need no running gateway and the numbers of one page agree.
 * Belongs to its owner; one thread.
 */
#ifndef BAILEY_SNAPSHOT_H
#define BAILEY_SNAPSHOT_H

#include "host/gateway.h"

struct snapshot {
    const char *instance, *version;
    struct route_status *routes;
    size_t route_count;
    struct connection_status *brokers;
    size_t broker_count;
    int64_t resident_bytes, open_fds; /* of this process; -1 = the system does not say */
    int64_t cpu_us;                   /* user and system */
};

/* Any thread that may call gateway_status. The names in it belong to `config` and to `gateway`. */
void snapshot_take(struct snapshot *snapshot, struct gateway *gateway, const struct config *config);
void snapshot_free(struct snapshot *snapshot);

/* True if every route runs or is finished: what gateway_ready says, of this moment. */
bool snapshot_ready(const struct snapshot *snapshot);

#endif
