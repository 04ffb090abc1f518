/* room.c: see room.h. */
#include "room.h"

#include <assert.h>

enum { BATCH_BYTES = 1000000 }; /* librdkafka's batch.size: no batch of several records is larger */

void room_init(struct room *room, bool is_exact)
{
    *room = (struct room){.is_exact = is_exact, .limit = SIZE_MAX, .too_large = SIZE_MAX};
}

static void widen(struct room *room, int64_t now_ms)
{
    if (room->limit == SIZE_MAX || now_ms - room->narrowed_ms < ROOM_WIDEN_MS)
        return;
    room->narrowed_ms = now_ms;
    room->limit = room->limit < BATCH_BYTES / 2 ? room->limit * 2 + 1 : SIZE_MAX;
}

static bool goes_alone(const struct room *room, size_t size)
{
    return size > room->limit || size >= room->too_large;
}

enum room_answer room_ask(struct room *room, size_t size, int64_t now_ms)
{
    widen(room, now_ms);
    if (room->is_exact && size >= room->too_large && now_ms - room->too_large_ms < ROOM_BELIEVED_MS)
        return ROOM_TOO_LARGE;
    if (room->count == 0)
        return ROOM_GO;
    if (room->is_alone || goes_alone(room, size) || room->bytes + size > room->limit)
        return ROOM_WAIT;
    return ROOM_GO;
}

uint64_t room_sent(struct room *room, size_t size)
{
    if (room->count == 0) {
        room->began = room->sent;
        room->is_alone = goes_alone(room, size);
    }
    room->count++;
    room->bytes += size;
    return room->sent++;
}

void room_taken(struct room *room, size_t size)
{
    if (size >= room->too_large) /* the limit was raised, or this one compresses better */
        room->too_large = SIZE_MAX;
}

static void narrow(struct room *room, int64_t now_ms)
{
    size_t together = room->bytes < BATCH_BYTES ? room->bytes : BATCH_BYTES;

    room->limit = (together < room->limit ? together : room->limit) / 2;
    room->narrowed_at = room->sent;
    room->narrowed_ms = now_ms;
}

enum room_blame room_refused(struct room *room, uint64_t number, size_t size, int64_t now_ms)
{
    if (number == room->began && number + 1 == room->sent) {
        room->too_large = size < room->too_large ? size : room->too_large;
        room->too_large_ms = now_ms;
        return ROOM_TO_BLAME;
    }
    if (number < room->narrowed_at)
        return ROOM_NARROW_BEFORE;
    narrow(room, now_ms);
    return ROOM_NARROWED;
}

void room_back(struct room *room, size_t size)
{
    assert(room->count > 0 && room->bytes >= size);
    room->count--;
    room->bytes -= size;
}
