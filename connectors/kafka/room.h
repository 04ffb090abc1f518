/* room.h: how much of a topic may be outstanding together, once its broker refuses batches as too large.
 *
 * A broker measures a whole batch against the topic's max.message.bytes, refuses all of it, and does not say which message is to
 * blame (Kafka, LogValidator; the client library does not split the batch). So after a refusal less is outstanding: half of what was, and
 * again half, until a batch is taken, or a message is refused that was alone, which proves that it is too large itself. Messages that are
 * larger than the room go alone from then on, and harm no others; so does one as large as was refused alone. That
 * one need not even be sent: it is known to be too large, for a while, since the operator may raise the limit. The room grows
 * again in time.
 *
 *     open ──a batch is refused──→ narrow ⟲ ──(10 s)──→ twice as wide ... open
 *
 * Sizes are those of records as they are written to a batch, uncompressed. Knows no librdkafka.
 */
#ifndef KAFKA_ROOM_H
#define KAFKA_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROOM_WIDEN_MS = 10000, ROOM_BELIEVED_MS = 10000 };

struct room {
    bool is_exact; /* what is sent is not compressed: a record as large as one that was refused is refused, too */

    size_t count, bytes;  /* outstanding */
    uint64_t sent;        /* records, ever: a record's number is how many went before it */
    uint64_t began;       /* the number of the last that went when nothing was outstanding */
    bool is_alone;        /* what is outstanding must stay alone */
    size_t limit;         /* so many bytes may be outstanding together */
    uint64_t narrowed_at; /* what was sent before that one says nothing about this limit */
    int64_t narrowed_ms;
    size_t too_large; /* the least that was refused alone; SIZE_MAX: none */
    int64_t too_large_ms;
};

enum room_answer { ROOM_GO, ROOM_WAIT, ROOM_TOO_LARGE };

/* Open. */
void room_init(struct room *room, bool is_exact);

/* May a record of `size` bytes go? WAIT: not before others are back. TOO_LARGE: it would be refused. `now_ms`: monotonic. */
enum room_answer room_ask(struct room *room, size_t size, int64_t now_ms);

/* It went. Returns its number, for room_refused(). */
uint64_t room_sent(struct room *room, size_t size);

/* The broker has it. */
void room_taken(struct room *room, size_t size);

enum room_blame {
    ROOM_TO_BLAME,     /* it was alone */
    ROOM_NARROWED,     /* perhaps another one: the room is narrower now */
    ROOM_NARROW_BEFORE /* perhaps another one: the room became narrower after it had been sent */
};

/* The batch of the record with this number was refused as too large. */
enum room_blame room_refused(struct room *room, uint64_t number, size_t size, int64_t now_ms);

/* It is no longer outstanding; comes last. */
void room_back(struct room *room, size_t size);

#endif
