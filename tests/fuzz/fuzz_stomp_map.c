/* The headers of any MESSAGE become an envelope; what is sent of it is harmless, and comes back as the same envelope. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/stomp/stomp_map.h"
#include "message/pool.h"

enum { WALL_MS = 1700000000, BODY_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t first[4 * STOMP_HEAD_MAX], second[4 * STOMP_HEAD_MAX];

/* The first frame's envelope, or NULL. */
static struct bailey_message *import(struct bailey_pool *pool, struct bailey_bytes frame, enum stomp_dialect dialect,
                                     enum stomp_escapes escapes)
{
    struct stomp_parser parser = {.escapes = escapes, .body_max = BODY_MAX};
    struct bailey_message *msg = NULL;
    size_t used;
    bool null_body;

    if (stomp_parse(&parser, frame.data, frame.len, &used) == STOMP_HEAD) {
        msg = message_new(pool);
        stomp_map_import(msg, &parser, dialect, WALL_MS, &null_body);
        msg->body = null_body ? BAILEY_NULL_BYTES : BAILEY_EMPTY_BYTES;
    }
    stomp_parser_fini(&parser);
    return msg;
}

/* A header that says what a SEND's own header says, or steers; each name once, each of plain octets. */
static void assert_harmless(struct bailey_bytes frame, enum stomp_escapes escapes)
{
    static const char *const never[] = {
        "destination", "receipt", "content-length",      "message-id",   "transaction", "CC",
        "BCC",         "x-death", "AMQ_SCHEDULED_DELAY", "_AMQ_DUPL_ID", "JMSXGroupID", "transformation"};
    struct stomp_parser parser = {.escapes = escapes, .body_max = BODY_MAX};
    size_t used;

    assert(stomp_parse(&parser, frame.data, frame.len, &used) == STOMP_HEAD && used == frame.len);
    for (size_t i = 0; i < parser.header_count; i++) {
        struct bailey_bytes name = parser.headers[i].name;

        for (size_t j = 0; j < sizeof never / sizeof *never; j++)
            assert(!bailey_bytes_is(name, never[j]));
        for (size_t j = 0; j < i; j++)
            assert(!bailey_bytes_equal(name, parser.headers[j].name));
        assert(name.len > 0 && memchr(name.data, '\\', name.len) == NULL && memchr(name.data, ':', name.len) == NULL);
        assert(bailey_utf8_valid(parser.headers[i].value));
    }
    stomp_parser_fini(&parser);
}

/* The head of a frame that a broker would hand on as it is; empty if no head could hold it. */
static struct bailey_bytes export(struct bailey_message *msg, const struct bailey_marks *marks,
                                  enum stomp_dialect dialect, enum stomp_escapes escapes, uint8_t *space)
{
    struct stomp_map_options options = {dialect, STOMP_PERSISTENT_AS_MESSAGE, NULL, NULL};
    struct stomp_writer w = {.at = space, .end = space + sizeof first, .escapes = escapes};

    stomp_write_command(&w, "MESSAGE");
    if (stomp_map_export(&w, msg, &options, WALL_MS, marks) != STOMP_MAP_OK)
        return BAILEY_EMPTY_BYTES;
    stomp_write_end_of_head(&w);
    assert(!w.bad);
    if (w.full || (size_t)(w.at - space) > STOMP_HEAD_MAX)
        return BAILEY_EMPTY_BYTES;
    return (struct bailey_bytes){space, (size_t)(w.at - space)};
}

static void comes_back(struct bailey_pool *pool, struct bailey_message *msg, enum stomp_dialect dialect,
                       enum stomp_escapes escapes)
{
    static const struct bailey_marks none;
    struct bailey_bytes frame = export(msg, &none, dialect, escapes, first), again;
    struct bailey_message *back;

    if (frame.len == 0)
        return;
    assert_harmless(frame, escapes);
    back = import(pool, frame, dialect, escapes);
    assert(back != NULL);
    assert(bailey_bytes_equal(back->key, msg->key));
    assert(bailey_bytes_equal(back->body, msg->body));
    assert(back->header_count >=
           msg->header_count); /* ActiveMQ's frame has no content-length here: one more marks text */
    again = export(back, &none, dialect, escapes, second);
    if (back->header_count == msg->header_count)
        assert(bailey_bytes_equal(frame, again));
    bailey_message_unref(back);
}

/* An id is a producer's, too. */
static void id_is_harmless(struct bailey_message *msg, struct bailey_bytes id, enum stomp_dialect dialect,
                           enum stomp_escapes escapes)
{
    struct bailey_marks marks = {id, true};
    struct bailey_bytes frame = export(msg, &marks, dialect, escapes, first);

    if (frame.len > 0)
        assert_harmless(frame, escapes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bailey_pool *pool;
    struct bailey_message *msg;
    enum stomp_dialect dialect;
    enum stomp_escapes escapes;

    if (size == 0)
        return 0;
    dialect = (enum stomp_dialect)(STOMP_ACTIVEMQ + data[0] % 4);
    escapes = (enum stomp_escapes)(data[0] / 4 % 4);
    pool = message_pool_new();
    msg = import(pool, (struct bailey_bytes){data + 1, size - 1}, dialect, escapes);
    if (msg != NULL) {
        comes_back(pool, msg, dialect, escapes);
        id_is_harmless(msg, (struct bailey_bytes){data + size / 2, size - size / 2}, dialect, escapes);
        bailey_message_unref(msg);
    }
    message_pool_free(pool);
    return 0;
}
