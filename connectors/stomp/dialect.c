/* What was found by trying: ActiveMQ 5.18.3, Artemis 2.40.0, RabbitMQ 3.10.8 (docs/stomp.md). */
#include "dialect.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

static const struct stomp_dialect_row rows[] = {
    [STOMP_ACTIVEMQ] =
        {
            .name = "activemq",
            .server = "ActiveMQ/",
            .prefetch = "activemq.prefetchSize",
            .prefetch_unit = STOMP_PREFETCH_MESSAGES,
            .prefetch_most = 65535,
            .browser = "browser",
            .exclusive = "activemq.exclusive",
            .delay = "AMQ_SCHEDULED_DELAY",
            .durable = "activemq.subscriptionName",
            .wants_client_id = true,
            .selector = "selector",
            .reject = "", /* to DLQ.<queue> */
            .text_over_websocket = true,
            .lenient_escapes = true,
            .needs_version = true,
            .receipt_proves_route = true,
        },
    [STOMP_ARTEMIS] =
        {
            .name = "artemis",
            .server = "ActiveMQ-Artemis/",
            .prefetch = "consumer-window-size",
            .prefetch_unit = STOMP_PREFETCH_BYTES,
            .prefetch_most = -1,
            .durable = "durable-subscription-name",
            .wants_client_id = true,
            .delay = "AMQ_SCHEDULED_TIME",
            .delay_is_time = true,
            .selector = "selector",
            .ack_form = STOMP_ACK_BY_PLACE,
            .length_place = STOMP_LENGTH_OUTSIDE,
            .reject =
                NULL, /* NACK discards: what is rejected stays unacknowledged, and goes its way by delivery attempts */
            .counts_disconnects = true,
            .hides_redelivery = true,
            .needs_version = true,
            .receipt_proves_route = true,
        },
    [STOMP_RABBITMQ] =
        {
            .name = "rabbitmq",
            .server = "RabbitMQ/",
            .prefetch = "prefetch-count",
            .prefetch_unit = STOMP_PREFETCH_MESSAGES,
            .prefetch_most = 65535,
            .durable_by_headers = true,
            .ack_form = STOMP_ACK_BY_SESSION,
            .length_place = STOMP_LENGTH_LAST,
            .reject = "requeue:false", /* to the queue's dead-letter exchange */
            .reads_escapes_in_connect = true,
            .needs_version = true,
        },
    [STOMP_GENERIC] =
        {
            .name = "generic",
            .durable = "durable-subscription-name",
            .wants_client_id = true,
            .selector = "selector",
            .receipt_proves_route = true,
        },
};

const struct stomp_dialect_row *stomp_dialect_row(enum stomp_dialect dialect)
{
    assert(dialect > STOMP_AUTO && dialect <= STOMP_GENERIC);
    return &rows[dialect];
}

enum stomp_dialect stomp_dialect_guess(struct bailey_bytes server)
{
    for (enum stomp_dialect d = STOMP_ACTIVEMQ; d < STOMP_GENERIC; d++) {
        size_t len = strlen(rows[d].server);

        if (server.len >= len && strncasecmp((const char *)server.data, rows[d].server, len) == 0)
            return d;
    }
    return STOMP_GENERIC;
}

/* RabbitMQ 3.10 is the first that refuses arguments that a queue's type does not have. 3.10 was tried, 3.11 to 4.3 were read:
 * rabbit_channel.erl looks at the arguments of basic.publish and basic.consume behind the permission. */
bool stomp_dialect_rehearses(enum stomp_dialect dialect, const char *server)
{
    int major, minor;

    return dialect == STOMP_RABBITMQ && sscanf(server, "RabbitMQ/%d.%d", &major, &minor) == 2 &&
           ((major == 3 && minor >= 10) || (major == 4 && minor <= 3));
}

enum stomp_escapes stomp_dialect_escapes(enum stomp_dialect dialect, int version)
{
    if (version == 10)
        return STOMP_ESCAPES_NONE;
    if (rows[dialect].lenient_escapes)
        return STOMP_ESCAPES_LENIENT;
    return version == 11 ? STOMP_ESCAPES_11 : STOMP_ESCAPES_12;
}

static bool begins_with(struct bailey_bytes bytes, const char *text)
{
    size_t len = strlen(text);

    return bytes.len >= len && memcmp(bytes.data, text, len) == 0;
}

bool stomp_dialect_takes(enum stomp_dialect dialect, struct bailey_bytes destination, struct bailey_error *err)
{
    static const char queue[] = "/queue/";
    size_t skip = sizeof queue - 1;

    if (destination.len == 0)
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "the destination is empty");
    if (rows[dialect].receipt_proves_route)
        return true;
    if (!begins_with(destination, queue)) {
        bailey_fail(err, BAILEY_ERR_PERMANENT, "on RabbitMQ a RECEIPT proves no route for %.*s",
                    (int)(destination.len < 120 ? destination.len : 120), (const char *)destination.data);
        return bailey_hint(err, "Send to /queue/NAME, or set unroutable: accept and lose what no queue takes.");
    }
    if (destination.len == skip || memchr(destination.data + skip, '/', destination.len - skip) != NULL) {
        bailey_fail(err, BAILEY_ERR_PERMANENT, "%.*s is no destination of RabbitMQ's",
                    (int)(destination.len < 120 ? destination.len : 120), (const char *)destination.data);
        return bailey_hint(err, "Write it /queue/NAME; a / inside of NAME is written %%2F.");
    }
    return true;
}
