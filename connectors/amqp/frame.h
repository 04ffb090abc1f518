/* frame.h: from a byte stream to frames, and the guards that stand before any decoder.
 *
 * 0-9-1, 2.3.5: type (1), channel (2), size (4), payload, 0xCE. All input is hostile here: nothing is allocated,
 * nothing is read beyond `len`, and what passes is of a known type, within the negotiated size, and long enough for
 * its type. Pure functions, any thread.
 */
#ifndef AMQ_FRAME_H
#define AMQ_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum amq_frame_type { AMQ_FRAME_METHOD = 1, AMQ_FRAME_HEADER = 2, AMQ_FRAME_BODY = 3, AMQ_FRAME_HEARTBEAT = 8 };
enum { AMQ_FRAME_HEAD = 7, AMQ_FRAME_OVERHEAD = 8, AMQ_FRAME_END = 0xCE };

struct amq_frame {
    uint8_t type; /* enum amq_frame_type */
    uint16_t channel;
    uint32_t size;          /* bytes of payload */
    const uint8_t *payload; /* in the input */
};

enum amq_split { AMQ_SPLIT_FRAME, AMQ_SPLIT_MORE, AMQ_SPLIT_BAD };

/* The first frame of `data`: it takes AMQ_FRAME_OVERHEAD + size bytes. MORE: not all of it is there yet. BAD: `*why`
 * says what is wrong with it; the stream is lost. `frame_max` is the largest whole frame allowed, in bytes. */
enum amq_split amq_frame_split(const uint8_t *data, size_t len, uint32_t frame_max, struct amq_frame *frame,
                               const char **why);

/* Write the head of a frame with `size` bytes of payload to `at` (AMQ_FRAME_HEAD bytes). */
void amq_frame_head(uint8_t *at, enum amq_frame_type type, uint16_t channel, uint32_t size);

/* True if `data` is a field table (with its 4 bytes of length) that rabbitmq-c may decode: lengths consistent, kinds
 * known, at most BAILEY_VALUE_DEPTH_MAX deep and BAILEY_VALUE_COUNT_MAX values in all. rabbitmq-c 0.11 recurses
 * without limit. `*used` gets its length in bytes. */
bool amq_table_guard(const uint8_t *data, size_t len, size_t *used);

/* Bytes that a field value of `kind` takes if that is fixed, -1 if it has a length of 4 bytes before it, -2 if the kind
 * is unknown. The RabbitMQ errata's kinds, with `L` besides. */
int amq_kind_width(uint8_t kind);

#endif
