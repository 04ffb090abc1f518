/* What a broker's reply codes mean to the operator (0-9-1, 1.2 constants; RabbitMQ's use of them). */
#include "connection_impl.h"

#include <stdio.h>

static enum bailey_error_kind reply_kind(unsigned code, const char *text)
{
    switch (code) {
    case AMQP_PRECONDITION_FAILED: /* of arguments, or of the acks of a channel */
        return strstr(text, "timed out") != NULL || strstr(text, "delivery tag") != NULL ? BAILEY_ERR_TRANSIENT
                                                                                         : BAILEY_ERR_CONFIG;
    case AMQP_NO_ROUTE:
    case AMQP_CONTENT_TOO_LARGE:
        return BAILEY_ERR_PERMANENT;
    case AMQP_ACCESS_REFUSED:
    case AMQP_NOT_FOUND:
    case AMQP_RESOURCE_LOCKED:
    case AMQP_NOT_ALLOWED:
    case AMQP_NOT_IMPLEMENTED:
    case 402: /* invalid path */
        return BAILEY_ERR_CONFIG;
    default:
        return BAILEY_ERR_TRANSIENT;
    }
}

static const char *reply_hint(unsigned code, const char *text)
{
    switch (code) {
    case AMQP_ACCESS_REFUSED:
        if (strstr(text, "in exclusive use") != NULL)
            return "The queue has another consumer, or a single active one: then `exclusive` is refused.";
        return strstr(text, "ogin") != NULL ? "Check user and password: those in the URL, or `username` and `password`."
                                            : "Give the user the permission that is named.";
    case AMQP_NOT_FOUND:
        return "Check the name and the vhost, create it at the broker, or let bailey do so: `declare: create`.";
    case AMQP_RESOURCE_LOCKED:
        return "Another connection uses it exclusively.";
    case AMQP_NOT_ALLOWED:
        return strstr(text, "vhost") != NULL ? "Check the vhost in the URL, and the user's permissions on it." : "";
    case AMQP_PRECONDITION_FAILED:
        return strstr(text, "inequivalent") != NULL
                   ? "It exists with other arguments: change those of `declare: create`, or use `declare: assert`."
                   : "";
    default:
        return "";
    }
}

void amq_name_permission(struct bailey_error *err, const char *permission)
{
    size_t len = strlen(err->text);

    if (err->native != AMQP_ACCESS_REFUSED || strstr(err->text, "refused for user") == NULL)
        return;
    if (strstr(err->text, permission) == NULL)
        snprintf(err->text + len, sizeof err->text - len, " (it needs %s)", permission);
    bailey_hint(err, "`bailey check --connect` prints the command that allows it.");
}

bool amq_reply_error(struct bailey_error *err, unsigned code, amqp_bytes_t text)
{
    char copy[200];
    const char *hint;

    snprintf(copy, sizeof copy, "%.*s", (int)(text.len < 190 ? text.len : 190), (const char *)text.bytes);
    bailey_fail_native(err, reply_kind(code, copy), "amqp", (int)code, "%u %s", code, copy);
    hint = reply_hint(code, copy);
    if (hint[0] != '\0')
        bailey_hint(err, "%s", hint);
    return false;
}
