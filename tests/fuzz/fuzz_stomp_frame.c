/* The STOMP parser: cut at every byte it gives the same events; what it hands out lies within its input; a frame that it has
 * read and the writer has written is read as the same frame. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/stomp/frame.h"
#include "connectors/stomp/write.h"

enum { BODY_MAX = 1024, INPUT_MAX = 4096, RECORD_MAX = 1 << 17 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a parser said: each event's tag, and its bytes behind their length. Runs of heart-beats are one; bodies are whole. */
struct record {
    uint8_t bytes[RECORD_MAX];
    size_t len, body_at;
    char last;
};

static void note(struct record *record, struct bailey_bytes bytes)
{
    assert(record->len + bytes.len + sizeof bytes.len <= RECORD_MAX);
    memcpy(record->bytes + record->len, &bytes.len, sizeof bytes.len);
    record->len += sizeof bytes.len;
    if (bytes.len > 0)
        memcpy(record->bytes + record->len, bytes.data, bytes.len);
    record->len += bytes.len;
}

static void note_tag(struct record *record, char tag)
{
    if (tag == 'H' && record->last == 'H')
        return;
    record->last = tag;
    note(record, (struct bailey_bytes){(const uint8_t *)&tag, 1});
}

static void note_head(struct record *record, const struct stomp_parser *parser)
{
    note_tag(record, 'F');
    note(record, parser->command);
    for (size_t i = 0; i < parser->header_count; i++) {
        note(record, parser->headers[i].name);
        note(record, parser->headers[i].value);
    }
    record->body_at = record->len;
}

/* Parts are gathered without their lengths; a body that does not end is forgotten, because when that is seen depends on the cut. */
static void note_part(struct record *record, const struct stomp_parser *parser)
{
    assert(record->len + parser->part.len <= RECORD_MAX);
    memcpy(record->bytes + record->len, parser->part.data, parser->part.len);
    record->len += parser->part.len;
    if (parser->last) {
        record->body_at = 0;
        note_tag(record, 'B');
    }
}

static void forget_part(struct record *record)
{
    if (record->body_at > 0)
        record->len = record->body_at;
    record->body_at = 0;
}

static enum stomp_event note_event(struct record *record, const struct stomp_parser *parser, enum stomp_event event)
{
    if (event == STOMP_HEAD)
        note_head(record, parser);
    else if (event == STOMP_BODY)
        note_part(record, parser);
    else if (event == STOMP_HEARTBEAT)
        note_tag(record, 'H');
    if (event == STOMP_BAD) {
        forget_part(record);
        note_tag(record, 'X');
    }
    return event;
}

static void assert_within(struct bailey_bytes view, const struct stomp_parser *parser, const uint8_t *data, size_t len)
{
    assert(view.data != NULL);
    assert((view.data >= data && view.data + view.len <= data + len) ||
           (view.data >= parser->scratch && view.data + view.len <= parser->scratch + parser->scratch_cap));
}

static void assert_views(const struct stomp_parser *parser, enum stomp_event event, const uint8_t *data, size_t len)
{
    assert((event == STOMP_BAD) == (parser->why != NULL));
    if (event == STOMP_HEAD) {
        assert(parser->header_count <= STOMP_HEADERS_MAX);
        assert(!parser->has_length || parser->length <= BODY_MAX);
        assert_within(parser->command, parser, data, len);
        for (size_t i = 0; i < parser->header_count; i++) {
            assert_within(parser->headers[i].name, parser, data, len);
            assert_within(parser->headers[i].value, parser, data, len);
        }
    } else if (event == STOMP_BODY) {
        assert_within(parser->part, parser, data, len);
    }
}

static bool has_nul(const struct stomp_parser *parser)
{
    for (size_t i = 0; i < parser->header_count; i++)
        if (memchr(parser->headers[i].name.data, '\0', parser->headers[i].name.len) != NULL ||
            memchr(parser->headers[i].value.data, '\0', parser->headers[i].value.len) != NULL)
            return true;
    return false;
}

/* Whatever stood in a head can be written, but for a NUL, and is read as the same. */
static void assert_comes_back(const struct stomp_parser *parser)
{
    static uint8_t space[4 * STOMP_HEAD_MAX];
    struct stomp_writer w = {.at = space, .end = space + sizeof space, .escapes = parser->escapes};
    struct stomp_parser again = {
        .escapes = parser->escapes, .length_place = parser->length_place, .body_max = BODY_MAX};
    bool unescaped = bailey_bytes_is(parser->command, "CONNECT") || bailey_bytes_is(parser->command, "CONNECTED");
    char command[STOMP_COMMAND_MAX + 1] = {0};
    size_t used;

    if (unescaped)
        w.escapes = STOMP_ESCAPES_NONE;
    else if (parser->escapes == STOMP_ESCAPES_LENIENT)
        w.escapes = again.escapes = STOMP_ESCAPES_12; /* ActiveMQ's names may hold what only an escape can say */
    memcpy(command, parser->command.data, parser->command.len);
    stomp_write_command(&w, command);
    for (size_t i = 0; i < parser->header_count; i++)
        stomp_write_header_named(&w, parser->headers[i].name, parser->headers[i].value);
    stomp_write_end_of_head(&w);
    assert(!w.full && w.bad == has_nul(parser));
    if (w.bad)
        return;
    assert(memchr(space, '\0', (size_t)(w.at - space)) == NULL && memchr(space, '\r', (size_t)(w.at - space)) == NULL);
    if ((size_t)(w.at - space) > STOMP_HEAD_MAX)
        return;
    if (stomp_parse(&again, space, (size_t)(w.at - space), &used) != STOMP_HEAD) {
        assert(strstr(again.why, "too long") != NULL); /* escapes have made it so */
        stomp_parser_fini(&again);
        return;
    }
    assert(used == (size_t)(w.at - space));
    assert(again.header_count == parser->header_count && again.has_length == parser->has_length &&
           again.length == parser->length && bailey_bytes_equal(again.command, parser->command));
    for (size_t i = 0; i < parser->header_count; i++) {
        assert(bailey_bytes_equal(again.headers[i].name, parser->headers[i].name));
        assert(bailey_bytes_equal(again.headers[i].value, parser->headers[i].value));
    }
    stomp_parser_fini(&again);
}

static void parse_whole(struct record *record, struct stomp_parser parser, const uint8_t *data, size_t size)
{
    enum stomp_event event;
    size_t at = 0, used;

    do {
        event = note_event(record, &parser, stomp_parse(&parser, data + at, size - at, &used));
        assert(used <= size - at);
        assert_views(&parser, event, data + at, size - at);
        assert((event == STOMP_MORE || event == STOMP_BAD) == (used == 0));
        if (event == STOMP_HEAD)
            assert_comes_back(&parser);
        at += used;
    } while (event != STOMP_MORE && event != STOMP_BAD);
    forget_part(record);
    stomp_parser_fini(&parser);
}

/* One byte more at a time, each time in memory of its own size, so that a byte read too far is seen. */
static void parse_bytewise(struct record *record, struct stomp_parser parser, const uint8_t *data, size_t size)
{
    enum stomp_event event = STOMP_MORE;
    size_t at = 0, used;

    for (size_t arrived = 1; arrived <= size && event != STOMP_BAD; arrived++) {
        do {
            size_t len = arrived - at;
            uint8_t *copy = malloc(len + (len == 0));

            assert(copy != NULL);
            memcpy(copy, data + at, len);
            event = note_event(record, &parser, stomp_parse(&parser, copy, len, &used));
            assert_views(&parser, event, copy, len);
            free(copy);
            at += used;
        } while (event != STOMP_MORE && event != STOMP_BAD);
    }
    forget_part(record);
    stomp_parser_fini(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct record whole, bytewise;
    struct stomp_parser fresh = {.body_max = BODY_MAX};

    if (size == 0 || size > INPUT_MAX)
        return 0;
    fresh.escapes = (enum stomp_escapes)(data[0] % 4);
    fresh.length_place = (enum stomp_length_place)(data[0] / 4 % 3);
    whole.len = whole.body_at = bytewise.len = bytewise.body_at = 0;
    whole.last = bytewise.last = '\0';
    parse_whole(&whole, fresh, data + 1, size - 1);
    parse_bytewise(&bytewise, fresh, data + 1, size - 1);
    assert(whole.len == bytewise.len && memcmp(whole.bytes, bytewise.bytes, whole.len) == 0);
    return 0;
}
