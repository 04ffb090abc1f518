/* schedule_row.c: see the header. */
#include "core/schedule_row.h"

#include "base/big_endian.h"
#include "message/codec.h"

enum { ROW_VERSION = 1, LANE_VERSION = 1, HAS_ID = 1, IN_DOUBT = 2, CLEAN = 1 };

/* ---- Messages ---- */

void row_key_encode(const struct row_key *key, uint8_t out[static ROW_KEY])
{
    big_endian_put(out, key->lane, 2);
    out[2] = key->line;
    big_endian_put_signed(out + 3, key->due_ms);
    big_endian_put(out + 11, key->stamp, 8);
    memcpy(out + 19, &key->unique, sizeof key->unique);
}

bool row_key_decode(struct bailey_bytes bytes, struct row_key *key)
{
    if (bytes.len != ROW_KEY || bytes.data[2] >= SCHEDULE_LINES)
        return false;
    *key = (struct row_key){
        .lane = (uint16_t)big_endian_get(bytes.data, 2),
        .line = bytes.data[2],
        .due_ms = big_endian_get_signed(bytes.data + 3),
        .stamp = big_endian_get(bytes.data + 11, 8),
    };
    memcpy(&key->unique, bytes.data + 19, sizeof key->unique);
    return true;
}

size_t row_size(const struct bailey_message *msg)
{
    return ROW_HEAD + message_encoded_size(msg);
}

void row_encode(const struct schedule_note *note, const struct bailey_message *msg, uint8_t *out)
{
    out[0] = ROW_VERSION;
    out[1] = (uint8_t)((note->has_id ? HAS_ID : 0) | (note->in_doubt ? IN_DOUBT : 0));
    big_endian_put(out + 2, note->attempts, 4);
    big_endian_put(out + 6, note->counted, 4);
    big_endian_put_signed(out + 10, note->first_failed_ms);
    big_endian_put_signed(out + 18, note->last_failed_ms);
    message_encode(msg, out + ROW_HEAD);
}

bool row_decode(struct bailey_bytes value, struct schedule_note *note, struct bailey_bytes *message,
                struct bailey_error *err)
{
    if (value.len >= 1 && value.data[0] > ROW_VERSION) {
        bailey_fail(err, BAILEY_ERR_PERMANENT, "a row is of version %u, this bailey knows version %u", value.data[0],
                    ROW_VERSION);
        return bailey_hint(err, "a newer bailey wrote it: use that one");
    }
    if (value.len < ROW_HEAD || value.data[0] != ROW_VERSION || value.data[1] > (HAS_ID | IN_DOUBT))
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "a row is damaged");
    note->has_id = (value.data[1] & HAS_ID) != 0;
    note->in_doubt = (value.data[1] & IN_DOUBT) != 0;
    note->attempts = (uint32_t)big_endian_get(value.data + 2, 4);
    note->counted = (uint32_t)big_endian_get(value.data + 6, 4);
    note->first_failed_ms = big_endian_get_signed(value.data + 10);
    note->last_failed_ms = big_endian_get_signed(value.data + 18);
    *message = (struct bailey_bytes){value.data + ROW_HEAD, value.len - ROW_HEAD};
    return true;
}

/* ---- Lanes ---- */

void lane_row_encode(const struct lane_row *row, uint8_t out[static LANE_VALUE])
{
    out[0] = LANE_VERSION;
    out[1] = row->is_clean ? CLEAN : 0;
    big_endian_put_signed(out + 2, row->count);
    big_endian_put(out + 10, row->stamp, 8);
    for (size_t line = 0; line < SCHEDULE_LINES; line++) {
        big_endian_put_signed(out + 18 + 16 * line, row->taken_ms[line]);
        big_endian_put_signed(out + 26 + 16 * line, row->doubt_ms[line]);
    }
    big_endian_put(out + 18 + 16 * SCHEDULE_LINES, row->doubt_stamp, 8);
}

bool lane_row_is_newer(struct bailey_bytes value)
{
    return value.len > 0 && value.data[0] > LANE_VERSION;
}

bool lane_row_decode(struct bailey_bytes value, struct lane_row *row)
{
    if (value.len != LANE_VALUE || value.data[0] != LANE_VERSION || value.data[1] > CLEAN)
        return false;
    row->is_clean = value.data[1] == CLEAN;
    row->count = big_endian_get_signed(value.data + 2);
    row->stamp = big_endian_get(value.data + 10, 8);
    for (size_t line = 0; line < SCHEDULE_LINES; line++) {
        row->taken_ms[line] = big_endian_get_signed(value.data + 18 + 16 * line);
        row->doubt_ms[line] = big_endian_get_signed(value.data + 26 + 16 * line);
    }
    row->doubt_stamp = big_endian_get(value.data + 18 + 16 * SCHEDULE_LINES, 8);
    return true;
}
