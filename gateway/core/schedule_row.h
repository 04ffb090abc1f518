/* core/schedule_row.h: the rows of a schedule as bytes. All numbers are big-endian; signed ones with their highest bit turned, so that
 * they sort.
 *
 *     a message     lane u16, line u8, due i64, stamp u64, unique 16 bytes  → version u8, flags u8, attempts u32, counted u32,
 *                                                                             first and last failed i64 each, the message
 *                                                                             (message/codec.h)
 *     0xFFFD        lane u16, stamp u64                                     → what one write put and erased (schedule_recent.h)
 *     0xFFFE        lane u16                                                → version u8, flags u8, count i64, stamp u64, may have been
 *                                                                             taken until i64 a line, in doubt until i64 a line, and
 *                                                                             below stamp u64
 *
 * A stamp is the state's clock and a count: of the messages of one moment the first that was put comes first.
 */
#ifndef BAILEY_SCHEDULE_ROW_H
#define BAILEY_SCHEDULE_ROW_H

#include "core/schedule.h"

enum {
    SCHEDULE_LINES = 2,
    ROW_RECENT = 0xFFFD, /* where the lanes' numbers end */
    ROW_LANE = 0xFFFE,
    ROW_KEY = 2 + 1 + 8 + 8 + 16,
    ROW_HEAD = 1 + 1 + 4 + 4 + 8 + 8, /* of the value, before the message */
    LINE_KEY = 2 + 1,                 /* what all rows of a line begin with */
    LANE_KEY = 2 + 2,
    LANE_VALUE = 1 + 1 + 8 + 8 + SCHEDULE_LINES * 16 + 8,
    RECENT_KEY = 2 + 2 + 8,
    STAMP_BITS = 20, /* of the count in a stamp */
};

struct row_key {
    uint16_t lane;
    uint8_t line;
    int64_t due_ms;
    uint64_t stamp;
    struct id unique;
};

void row_key_encode(const struct row_key *key, uint8_t out[static ROW_KEY]);
/* False: these bytes are no key of a message. */
bool row_key_decode(struct bailey_bytes bytes, struct row_key *key);

size_t row_size(const struct bailey_message *msg); /* of the value */
void row_encode(const struct schedule_note *note, const struct bailey_message *msg, uint8_t *out);
/* `message`: the part for message_decode(). All of the note but what the key says. False with `err`: damaged, or of a later version. */
bool row_decode(struct bailey_bytes value, struct schedule_note *note, struct bailey_bytes *message,
                struct bailey_error *err);

/* What is told of all rows of a lane. */
struct lane_row {
    bool is_clean; /* it ended in order */
    int64_t count;
    uint64_t stamp;                   /* no later one was given */
    int64_t taken_ms[SCHEDULE_LINES]; /* none that is due later has been taken */
    int64_t doubt_ms[SCHEDULE_LINES]; /* those due until then may be at the sink, */
    uint64_t doubt_stamp;             /* if their stamp is lower */
};

void lane_row_encode(const struct lane_row *row, uint8_t out[static LANE_VALUE]);
bool lane_row_is_newer(struct bailey_bytes value);
bool lane_row_decode(struct bailey_bytes value, struct lane_row *row);

#endif
