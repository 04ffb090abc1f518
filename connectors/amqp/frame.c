/* The frame splitter and the guards before the decoders.
 *
 * What rabbitmq-c got wrong over the years (sizes that overflow, frames shorter than their type, tables nested without
 * limit) is refused here, before a byte reaches it.
 */
#include "frame.h"

#include <bailey/message.h>

#include "wire.h"

enum { METHOD_MIN = 4, HEADER_MIN = 14 /* class, weight, body size, one word of flags */ };

static const char *head_fault(const struct amq_frame *frame, uint32_t frame_max)
{
    if (frame->size > frame_max - AMQ_FRAME_OVERHEAD)
        return "frame larger than negotiated";
    switch (frame->type) {
    case AMQ_FRAME_METHOD:
        return frame->size < METHOD_MIN ? "method frame too short" : NULL;
    case AMQ_FRAME_HEADER:
        if (frame->channel == 0)
            return "content on channel 0";
        return frame->size < HEADER_MIN ? "content header too short" : NULL;
    case AMQ_FRAME_BODY:
        return frame->channel == 0 ? "content on channel 0" : NULL;
    case AMQ_FRAME_HEARTBEAT:
        if (frame->channel != 0)
            return "heartbeat on a channel";
        return frame->size != 0 ? "heartbeat with a payload" : NULL;
    default:
        return "unknown frame type";
    }
}

enum amq_split amq_frame_split(const uint8_t *data, size_t len, uint32_t frame_max, struct amq_frame *frame,
                               const char **why)
{
    if (len < AMQ_FRAME_HEAD)
        return AMQ_SPLIT_MORE;
    *frame = (struct amq_frame){
        .type = data[0],
        .channel = (uint16_t)(data[1] << 8 | data[2]),
        .size = (uint32_t)data[3] << 24 | (uint32_t)data[4] << 16 | (uint32_t)data[5] << 8 | data[6],
        .payload = data + AMQ_FRAME_HEAD,
    };
    *why = head_fault(frame, frame_max);
    if (*why != NULL)
        return AMQ_SPLIT_BAD;
    if (len < (size_t)frame->size + AMQ_FRAME_OVERHEAD)
        return AMQ_SPLIT_MORE;
    if (frame->payload[frame->size] != AMQ_FRAME_END) {
        *why = "frame without its end mark";
        return AMQ_SPLIT_BAD;
    }
    return AMQ_SPLIT_FRAME;
}

void amq_frame_head(uint8_t *at, enum amq_frame_type type, uint16_t channel, uint32_t size)
{
    at[0] = (uint8_t)type;
    amq_put_uint(at + 1, 2, channel);
    amq_put_uint(at + 3, 4, size);
}

int amq_kind_width(uint8_t kind)
{
    switch (kind) {
    case 'V':
        return 0;
    case 't':
    case 'b':
    case 'B':
        return 1;
    case 's':
    case 'u':
        return 2;
    case 'I':
    case 'i':
    case 'f':
        return 4;
    case 'D':
        return 5;
    case 'l':
    case 'L':
    case 'd':
    case 'T':
        return 8;
    case 'S':
    case 'x':
    case 'A':
    case 'F':
        return -1;
    default:
        return -2;
    }
}

/* Walks the fields of a table or the items of an array. `budget` counts the values that are still allowed. Recursion is
 * bounded by BAILEY_VALUE_DEPTH_MAX. */
static bool guard_values(struct amq_reader r, bool named, int depth, unsigned *budget)
{
    if (depth > BAILEY_VALUE_DEPTH_MAX)
        return false;
    while (!r.bad && amq_left(&r) > 0) {
        if ((*budget)-- == 0)
            return false;
        if (named)
            amq_read_shortstr(&r);
        uint8_t kind = amq_read_u8(&r);
        int width = amq_kind_width(kind);

        if (r.bad || width == -2)
            return false;
        struct bailey_bytes value = width >= 0 ? amq_read_bytes(&r, (size_t)width) : amq_read_longstr(&r);

        if (r.bad)
            return false;
        if ((kind == 'F' || kind == 'A') &&
            !guard_values((struct amq_reader){value.data, value.data + value.len, false}, kind == 'F', depth + 1,
                          budget))
            return false;
    }
    return !r.bad;
}

bool amq_table_guard(const uint8_t *data, size_t len, size_t *used)
{
    struct amq_reader r = {data, data + len, false};
    struct bailey_bytes fields = amq_read_longstr(&r);
    unsigned budget = BAILEY_VALUE_COUNT_MAX;

    if (r.bad || !guard_values((struct amq_reader){fields.data, fields.data + fields.len, false}, true, 1, &budget))
        return false;
    *used = fields.len + 4;
    return true;
}
