/* fake_connector.h: connectors that are only tables, for tests of the configuration.
 *
 * "fake" receives and sends and has an option of every type; "drain" only sends, has positions, and no options.
 */
#ifndef BAILEY_TEST_FAKE_CONNECTOR_H
#define BAILEY_TEST_FAKE_CONNECTOR_H

#include "config/config.h"

struct fake_broker {
    const char *url;
    struct bailey_credential password;
    const char *ca;
    int64_t heartbeat_ms;
    struct bailey_map extra;
};

struct fake_source {
    struct bailey_list topic;
    int start;
    int64_t prefetch;
};

struct fake_sink {
    const char *exchange;
    const struct bailey_template *routing_key;
    const struct bailey_template *type;
    bool persistent;
    int64_t max_size;
    int declare;
    const char *queue_type;
    int64_t partitions;
};

extern const struct bailey_connector fake_connector, drain_connector;

/* A config_find that knows "fake" and "drain". */
const struct bailey_connector *fake_find(const char *name, struct bailey_error *err);

#endif
