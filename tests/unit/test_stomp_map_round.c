/* Random envelopes through models of every broker: what is sent is harmless, and what comes back is the same. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stomp_brokers.h"

/* ---- Random envelopes ---- */

static struct bailey_bytes random_bytes(struct bailey_message *msg, size_t len)
{
    uint8_t *at = bailey_message_alloc(msg, len + 1);

    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)chance(256);
    return (struct bailey_bytes){at, len};
}

static struct bailey_bytes random_text(struct bailey_message *msg)
{
    static const char *const texts[] = {"",
                                        "a",
                                        "text with blanks",
                                        " blank ",
                                        "a:b",
                                        "a\\b",
                                        "a\nb",
                                        "a\rb",
                                        "\r\n",
                                        "\x01",
                                        "\xff",
                                        "\xc3\xa9\xf0\x9f\x98\x80",
                                        "\xed\xa0\x80",
                                        "0",
                                        "-1",
                                        "\t",
                                        "x\x7f",
                                        "/queue/",
                                        "/queue/a.b",
                                        "/temp-queue/x",
                                        "/topic/",
                                        "reply.to",
                                        "/reply-queue/q",
                                        "/exchange/e",
                                        "/queue/a,b",
                                        "4",
                                        "true",
                                        "none",
                                        "1,2",
                                        "*",
                                        "a=S",
                                        "\\n",
                                        "\\c\\r\\q\\\\"};

    switch (chance(12)) {
    case 0:
        return random_bytes(msg, chance(40));
    case 1:
        return chance(8) == 0 ? random_bytes(msg, 3000 + chance(9000)) : random_bytes(msg, 300);
    case 2: {
        struct bailey_bytes bytes = random_bytes(msg, chance(6000));

        memset((uint8_t *)(uintptr_t)bytes.data, ':', bytes.len);
        return bytes;
    }
    default:
        return text(texts[chance(sizeof texts / sizeof *texts)]);
    }
}

static struct bailey_bytes random_name(struct bailey_message *msg)
{
    static const char *const names[] = {"a",
                                        "b",
                                        "color",
                                        "Color",
                                        "x-request-id",
                                        "trace.id_1",
                                        "version",
                                        "message",
                                        "host",
                                        /* anybody's */ "destination",
                                        "message-id",
                                        "subscription",
                                        "ack",
                                        "content-length",
                                        "content-type",
                                        "receipt",
                                        "transaction",
                                        "correlation-id",
                                        "reply-to",
                                        "priority",
                                        "persistent",
                                        "expires",
                                        "expiration",
                                        "timestamp",
                                        "type",
                                        "redelivered",
                                        "amqp-message-id",
                                        "user-id",
                                        "app-id",
                                        "content-encoding",
                                        "destination-type",
                                        "amq-msg-type",
                                        "JMSXUserID",
                                        "JMSXGroupID",
                                        "JMSType",
                                        "AMQ_SCHEDULED_DELAY",
                                        "_AMQ_DUPL_ID",
                                        "CC",
                                        "BCC",
                                        "x-death",
                                        "x-delay",
                                        "transformation",
                                        "selector",
                                        "x-message-ttl",
                                        "durable",
                                        /* a broker's */ "bailey-key",
                                        "bailey-h",
                                        "bailey-h-1",
                                        "bailey-order",
                                        "bailey-none",
                                        "bailey-null",
                                        "bailey-types",
                                        "bailey-possible-duplicate",
                                        "bailey-stomp-text",
                                        "bailey-h-99",
                                        "bailey-",
                                        "bailey-whatever",
                                        /* ours, or nearly */ "",
                                        " ",
                                        "a b",
                                        "a:b",
                                        "a\nb",
                                        "a\\b",
                                        "\xc3\xa9",
                                        "\xff",
                                        "*",
                                        "a,b",
                                        "a=I" /* odd */};

    return chance(20) == 0 ? random_bytes(msg, chance(300)) : text(names[chance(sizeof names / sizeof *names)]);
}

static struct bailey_value random_value(struct bailey_message *msg, int depth)
{
    static const char kinds[] = "SSSSSSxVtbBsuIilfdDTFA";
    struct bailey_value value = {.kind = (enum bailey_kind)kinds[chance(sizeof kinds - (depth < 3 ? 1 : 3))]};
    uint64_t bits = (uint64_t)chance(UINT32_MAX) << 32 | chance(UINT32_MAX);
    struct bailey_header *fields;
    struct bailey_value *items;

    switch (value.kind) {
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        value.bytes = random_text(msg);
        break;
    case BAILEY_KIND_BOOL:
        value.boolean = bits & 1;
        break;
    case BAILEY_KIND_I8:
        value.i64 = (int8_t)bits;
        break;
    case BAILEY_KIND_I16:
        value.i64 = (int16_t)bits;
        break;
    case BAILEY_KIND_I32:
        value.i64 = (int32_t)bits;
        break;
    case BAILEY_KIND_U8:
        value.u64 = (uint8_t)bits;
        break;
    case BAILEY_KIND_U16:
        value.u64 = (uint16_t)bits;
        break;
    case BAILEY_KIND_U32:
        value.u64 = (uint32_t)bits;
        break;
    case BAILEY_KIND_DECIMAL:
        value.u64 = bits & UINT64_C(0xffffffffff);
        break;
    case BAILEY_KIND_F32:
        value.f64 = (double)((float)(int32_t)bits / 1024.0F);
        break;
    case BAILEY_KIND_F64:
        value.f64 = (double)(int64_t)bits / 3.0;
        break;
    case BAILEY_KIND_TABLE:
        value.count = chance(4);
        value.fields = fields = bailey_message_alloc(msg, value.count * sizeof *fields + 1);
        for (uint32_t i = 0; i < value.count; i++)
            fields[i] = (struct bailey_header){random_name(msg), random_value(msg, depth + 1)};
        break;
    case BAILEY_KIND_ARRAY:
        value.count = chance(4);
        value.items = items = bailey_message_alloc(msg, value.count * sizeof *items + 1);
        for (uint32_t i = 0; i < value.count; i++)
            items[i] = random_value(msg, depth + 1);
        break;
    default:
        value.u64 = bits;
    }
    return value;
}

static struct bailey_bytes maybe(struct bailey_message *msg, uint32_t odds)
{
    return chance(odds) == 0 ? random_text(msg) : BAILEY_NULL_BYTES;
}

static void add_random_headers(struct bailey_message *msg)
{
    uint32_t count = chance(4) == 0 ? 0 : chance(3) == 0 ? chance(100) : chance(6);
    struct bailey_header *headers = bailey_message_alloc(msg, count * sizeof *headers + 1);

    for (uint32_t i = 0; i < count; i++)
        headers[i] = (struct bailey_header){random_name(msg), random_value(msg, 0)};
    msg->headers = headers;
    msg->header_count = count;
}

static void add_random_timestamp(struct bailey_message *msg)
{
    static const int64_t odd[] = {0, 1, -1, 999, 1000, INT64_MAX, INT64_MIN + 1, 1700000000000, 1700000000123};

    msg->timestamp_kind = (uint8_t)chance(3);
    if (msg->timestamp_kind != BAILEY_TIMESTAMP_NONE)
        msg->timestamp_ms = odd[chance(sizeof odd / sizeof *odd)];
}

static struct bailey_message *random_message(void)
{
    static const int64_t expiries[] = {WALL_MS + 1, WALL_MS + 60000, WALL_MS + INT64_C(4000000000), INT64_MAX};
    struct bailey_message *msg = message_new(stomp_pool);

    add_random_headers(msg);
    add_random_timestamp(msg);
    msg->key = maybe(msg, 2);
    msg->body = maybe(msg, 2);
    msg->content_type = maybe(msg, 4);
    msg->content_encoding = maybe(msg, 4);
    msg->correlation_id = maybe(msg, 4);
    msg->reply_to = maybe(msg, 2);
    msg->message_id = maybe(msg, 4);
    msg->type = maybe(msg, 4);
    msg->app_id = maybe(msg, 4);
    msg->user_id = maybe(msg, 4);
    msg->priority = (int16_t)((int)chance(257) - 1);
    if (chance(2) == 0)
        msg->priority = (int16_t)((int)chance(11) - 1);
    msg->durability = (uint8_t)chance(3);
    msg->expires_at_ms = chance(3) == 0 ? expiries[chance(4)] : 0;
    msg->hops = chance(3) == 0 ? (uint8_t)chance(256) : 0;
    return msg;
}

/* ---- What a SEND may hold ---- */

static void assert_harmless(struct bailey_bytes frame, const struct way *way)
{
    static const char *const never[] = {"JMSXUserID",   "JMSXGroupID",
                                        "JMSType",      "AMQ_SCHEDULED_DELAY",
                                        "_AMQ_DUPL_ID", "CC",
                                        "BCC",          "x-death",
                                        "x-delay",      "transformation",
                                        "selector",     "x-message-ttl",
                                        "durable",      "message-id",
                                        "subscription", "ack",
                                        "transaction",  "redelivered",
                                        "amq-msg-type", NULL};
    struct bailey_bytes body;
    struct stomp_parser parser = parse_frame(frame, way->escapes, &body);

    for (size_t i = 0; i < parser.header_count; i++) {
        struct bailey_bytes name = parser.headers[i].name;

        assert_false(is_one_of(name, never));
        assert_true(name.len > 0 && name.len <= 128);
        for (size_t j = 0; j < name.len; j++)
            assert_non_null(strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", name.data[j]));
        for (size_t j = 0; j < i; j++)
            assert_false(bailey_bytes_equal(parser.headers[j].name, name)); /* only the first would survive */
        assert_true(bailey_utf8_valid(parser.headers[i].value));
    }
    stomp_parser_fini(&parser);
    for (const uint8_t *at = frame.data, *lf; at < body.data; at = lf + 1) {
        lf = memchr(at, '\n', (size_t)(body.data - at));
        assert_true(lf - at <= 10240); /* ActiveMQ's limit of a line */
    }
}

static void brings_back_any_envelope_through_every_dialect(void **state)
{
    (void)state;
    for (int run = 0; run < 1500; run++)
        for (int i = 0; i < WAYS; i++) {
            uint64_t at = chance_seed;
            struct bailey_message *msg = random_message(), *back;
            struct bailey_bytes frame = send_frame(msg, &ways[i]);
            const char *what;

            assert_harmless(frame, &ways[i]);
            back = there_and_back(msg, &ways[i]);
            what = message_difference(msg, back);
            if (what != NULL)
                fail_msg("chance_seed %" PRIu64 ", way %d: %s differs", at, i, what);
            assert_true(bailey_bytes_is(back->origin.destination, "/queue/q"));
            bailey_message_unref(back);
            bailey_message_unref(msg);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_back_any_envelope_through_every_dialect),
    };

    return cmocka_run_group_tests(tests, stomp_pool_open, stomp_pool_close);
}
