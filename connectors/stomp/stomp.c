/* STOMP 1.1 and 1.2 (ActiveMQ Classic, Artemis, RabbitMQ): the descriptor.
 *
 * Options are in stomp_options.c. The codec is frame.c and write.c, the mapping of messages stomp_map.c; connection.c and
 * handshake.c are a connection's life over the gateway's transport, dialect.c what brokers do differently. The ends are
 * stomp_source.c and stomp_sink.c; probe.c is check --connect.
 */
#include "connection.h"
#include "options.h"

static const char *const schemes[] = {"stomp", "stomp+ssl", NULL};

static const struct bailey_url_form url_form = {
    .schemes = schemes,
    .broker_option = "url",
    .whole_url = true,
    .source_path_option = "destination",
    .sink_path_option = "destination",
    .example = "stomp://localhost:61613/queue/orders",
};

static const struct bailey_connector stomp_connector = {
    .size = sizeof stomp_connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .abi_minor = BAILEY_ABI_MINOR,
    .name = "stomp",
    .traits = BAILEY_DELAYS,
    .summary = "STOMP queues and topics (ActiveMQ Classic, Artemis, RabbitMQ).",
    .broker_settings_size = sizeof(struct stomp_broker_settings),
    .broker_options = stomp_broker_options,
    .broker_open = stomp_broker_open,
    .broker_close = stomp_broker_close,
    .source = &stomp_source,
    .sink = &stomp_sink,
    .url = &url_form,
    .check = stomp_check,
    .probe = stomp_probe,
    .shelf = &stomp_shelf,
    .keeps_order = stomp_keeps_order,
};

const struct bailey_connector *bailey_connector_entry(void)
{
    return &stomp_connector;
}
