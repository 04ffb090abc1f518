/* Where a broker's own id stands, and how it is told from a producer's. docs/stomp.md has the facts and their tests. */
#include "ackid.h"

#include <inttypes.h>
#include <stdio.h>

#include "stomp_fields.h"

void stomp_ackid_begin(struct stomp_ackid *ids, enum stomp_dialect dialect, int version, const char *session,
                       const char *subscription)
{
    int len;

    *ids = (struct stomp_ackid){.form = stomp_dialect_row(dialect)->ack_form,
                                .header = version == 12 ? "ack" : "message-id"};
    if (session[0] == '\0')
        return;
    len = snprintf(ids->prefix, sizeof ids->prefix, "T_%s@@%s@@", subscription, session);
    ids->prefix_len = (size_t)len < sizeof ids->prefix ? (size_t)len : 0;
}

/* The only one of that name: of two that differ nobody knows which is the broker's. */
static enum stomp_ackid_verdict by_name(const struct stomp_ackid *ids, const struct stomp_parser *frame,
                                        struct bailey_bytes *id)
{
    for (size_t i = 0; i < frame->header_count; i++) {
        const struct stomp_header *header = &frame->headers[i];

        if (!bailey_bytes_is(header->name, ids->header))
            continue;
        if (id->data != NULL && !bailey_bytes_equal(*id, header->value))
            return STOMP_ACKID_UNKNOWN;
        *id = header->value;
    }
    return id->len > 0 ? STOMP_ACKID_GENUINE : STOMP_ACKID_MISSING;
}

/* The number in an id of this session, which no producer can know. */
static bool is_of_session(const struct stomp_ackid *ids, struct bailey_bytes id, uint64_t *number)
{
    int64_t parsed;

    if (ids->prefix_len == 0 || id.len <= ids->prefix_len || memcmp(id.data, ids->prefix, ids->prefix_len) != 0)
        return false;
    id.data += ids->prefix_len;
    id.len -= ids->prefix_len;
    if (!stomp_parse_number(id, 0, INT64_MAX - 1, &parsed))
        return false;
    *number = (uint64_t)parsed;
    return true;
}

/* The broker numbers what it sends on a connection without a gap. So the id of a message whose headers hide it is known as soon
 * as one before it was seen. */
static enum stomp_ackid_verdict by_session(struct stomp_ackid *ids, const struct stomp_parser *frame,
                                           struct bailey_bytes *id)
{
    int len;

    ids->last++;
    for (size_t i = 0; i < frame->header_count; i++) {
        const struct stomp_header *header = &frame->headers[i];
        uint64_t number;

        if (!(bailey_bytes_is(header->name, "message-id") || bailey_bytes_is(header->name, "ack")) ||
            !is_of_session(ids, header->value, &number))
            continue;
        if (ids->is_anchored && number != ids->last)
            return STOMP_ACKID_OUT_OF_STEP;
        ids->is_anchored = true;
        ids->last = number;
        *id = header->value;
        return STOMP_ACKID_GENUINE;
    }
    if (!ids->is_anchored)
        return STOMP_ACKID_UNKNOWN;
    len = snprintf(ids->made, sizeof ids->made, "%s%" PRIu64, ids->prefix, ids->last);
    *id = (struct bailey_bytes){(const uint8_t *)ids->made, (size_t)len};
    return STOMP_ACKID_MADE;
}

enum stomp_ackid_verdict stomp_ackid_next(struct stomp_ackid *ids, const struct stomp_parser *frame,
                                          struct bailey_bytes *id)
{
    *id = BAILEY_NULL_BYTES;
    switch (ids->form) {
    case STOMP_ACK_BY_SESSION:
        return by_session(ids, frame, id);
    case STOMP_ACK_BY_PLACE:
        *id = stomp_frame_header(frame, "message-id");
        return id->len > 0 ? STOMP_ACKID_GENUINE : STOMP_ACKID_MISSING;
    default:
        return by_name(ids, frame, id);
    }
}
