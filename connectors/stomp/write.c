/* The encoder of frames that go. Every octet of a header passes emit(); nothing else writes into a head.
 * Nearly all need no escape, so they are looked at eight at a time first. */
#include "write.h"

#include <assert.h>

#include "octets.h"

enum { NAME, VALUE };

static void put(struct stomp_writer *w, const void *data, size_t len)
{
    if (w->full || (size_t)(w->end - w->at) < len) {
        w->full = true;
        return;
    }
    if (len > 0)
        memcpy(w->at, data, len);
    w->at += len;
}

static void put_octet(struct stomp_writer *w, uint8_t octet)
{
    if (w->full || w->at == w->end)
        w->full = true;
    else
        *w->at++ = octet;
}

/* What may not stand in a header as it is: 1 = never in a 1.0 header, 2 = nor anywhere in 1.1 and 1.2, 4 = in no 1.0 name. */
static const uint8_t special[256] = {['\0'] = 3, ['\n'] = 3, ['\r'] = 3, [':'] = 6, ['\\'] = 2};

static void put_escape(struct stomp_writer *w, uint8_t octet)
{
    switch (octet) {
    case '\n':
        put(w, "\\n", 2);
        break;
    case ':':
        put(w, "\\c", 2);
        break;
    case '\\':
        put(w, "\\\\", 2);
        break;
    case '\r':
        put(w, "\\r", 2);
        w->bad |= w->escapes == STOMP_ESCAPES_11; /* has no escape for it */
        break;
    default:
        w->bad = true; /* NUL: no version can say it */
    }
}

/* True if surely no octet needs an escape. */
static bool is_plain(struct bailey_bytes bytes)
{
    size_t last = bytes.len - sizeof(uint64_t);

    if (bytes.len < sizeof(uint64_t))
        return bytes.len >= sizeof(uint32_t) && stomp_needs_no_escape(stomp_load_short(bytes.data, bytes.len));
    for (size_t i = 0; i < last; i += sizeof(uint64_t))
        if (!stomp_needs_no_escape(stomp_load(bytes.data + i)))
            return false;
    return stomp_needs_no_escape(stomp_load(bytes.data + last));
}

static void emit(struct stomp_writer *w, struct bailey_bytes bytes, int part)
{
    unsigned mask = w->escapes != STOMP_ESCAPES_NONE ? 2 : part == NAME ? 5 : 1;
    const uint8_t *at = bytes.data, *end = at + bytes.len;

    if (is_plain(bytes)) {
        put(w, at, bytes.len);
        return;
    }
    while (at < end) {
        const uint8_t *plain = at;

        while (at < end && !(special[*at] & mask))
            at++;
        put(w, plain, (size_t)(at - plain));
        if (at == end)
            break;
        if (w->escapes == STOMP_ESCAPES_NONE)
            w->bad = true;
        else
            put_escape(w, *at);
        at++;
    }
}

void stomp_write_command(struct stomp_writer *w, const char *command)
{
    assert(command[0] >= 'A' && command[0] <= 'Z');
    put(w, command, strlen(command));
    put_octet(w, '\n');
}

void stomp_write_open(struct stomp_writer *w, struct bailey_bytes name)
{
    emit(w, name, NAME);
    put_octet(w, ':');
}

void stomp_write_part(struct stomp_writer *w, struct bailey_bytes part)
{
    emit(w, part, VALUE);
}

void stomp_write_close(struct stomp_writer *w)
{
    put_octet(w, '\n');
}

void stomp_write_header_named(struct stomp_writer *w, struct bailey_bytes name, struct bailey_bytes value)
{
    stomp_write_open(w, name);
    stomp_write_part(w, value);
    stomp_write_close(w);
}

void stomp_write_header(struct stomp_writer *w, const char *name, struct bailey_bytes value)
{
    stomp_write_header_named(w, bailey_bytes_of(name), value);
}

void stomp_write_number(struct stomp_writer *w, const char *name, int64_t value)
{
    uint8_t text[24], *at = text + sizeof text;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;

    do
        *--at = (uint8_t)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (value < 0)
        *--at = '-';
    stomp_write_header(w, name, (struct bailey_bytes){at, (size_t)(text + sizeof text - at)});
}

void stomp_write_end_of_head(struct stomp_writer *w)
{
    put_octet(w, '\n');
}

void stomp_write_body(struct stomp_writer *w, struct bailey_bytes body)
{
    put(w, body.data, body.len);
    put_octet(w, '\0');
}

size_t stomp_header_room(struct bailey_bytes name, struct bailey_bytes value)
{
    return 2 * (name.len + value.len) + 2;
}
