/* The parser of STOMP frames against the texts of 1.0, 1.1 and 1.2, cut at every place, and against peers that lie. */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/stomp/frame.h"

enum { BODY_MAX = 64 };

#define BYTES(literal) ((struct bailey_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

/* What a parser said, as text: HB, COMMAND{name=value;...}, [body], BAD. Runs of heart-beats are one; a body counts when it is
 * complete. So the same stream gives the same text, however it was cut. */
struct trace {
    char text[8192];
    size_t len;
    char body[256];
    size_t body_len;
};

static void say(struct trace *trace, const void *data, size_t len)
{
    assert_true(trace->len + len < sizeof trace->text);
    memcpy(trace->text + trace->len, data, len);
    trace->len += len;
    trace->text[trace->len] = '\0';
}

static void say_text(struct trace *trace, const char *text)
{
    say(trace, text, strlen(text));
}

static void say_head(struct trace *trace, const struct stomp_parser *parser)
{
    say(trace, parser->command.data, parser->command.len);
    say_text(trace, "{");
    for (size_t i = 0; i < parser->header_count; i++) {
        say(trace, parser->headers[i].name.data, parser->headers[i].name.len);
        say_text(trace, "=");
        say(trace, parser->headers[i].value.data, parser->headers[i].value.len);
        say_text(trace, ";");
    }
    say_text(trace, "}");
}

static void say_body(struct trace *trace, const struct stomp_parser *parser)
{
    assert_true(trace->body_len + parser->part.len < sizeof trace->body);
    memcpy(trace->body + trace->body_len, parser->part.data, parser->part.len);
    trace->body_len += parser->part.len;
    if (!parser->last)
        return;
    say_text(trace, "[");
    say(trace, trace->body, trace->body_len);
    say_text(trace, "]");
    trace->body_len = 0;
}

static void say_event(struct trace *trace, const struct stomp_parser *parser, enum stomp_event event)
{
    if (event == STOMP_HEAD)
        say_head(trace, parser);
    else if (event == STOMP_BODY)
        say_body(trace, parser);
    else if (event == STOMP_BAD)
        say_text(trace, "BAD");
    else if (event == STOMP_HEARTBEAT && (trace->len < 2 || memcmp(trace->text + trace->len - 2, "HB", 2) != 0))
        say_text(trace, "HB");
}

/* Parse what has arrived of `wire` so far, in memory of exactly its size, which is another one each time. */
static enum stomp_event feed(struct stomp_parser *parser, struct trace *trace, struct bailey_bytes wire, size_t arrived,
                             size_t *taken)
{
    for (;;) {
        size_t len = arrived - *taken, used;
        uint8_t *copy = malloc(len + (len == 0));
        enum stomp_event event;

        assert_non_null(copy);
        memcpy(copy, wire.data + *taken, len);
        event = stomp_parse(parser, copy, len, &used);
        assert_true(used <= len);
        say_event(trace, parser, event);
        free(copy);
        *taken += used;
        if (event == STOMP_MORE || event == STOMP_BAD)
            return event;
    }
}

/* The trace of `wire`, which arrives up to `first`, then up to `second`, then as a whole. */
static enum stomp_event parse_cut(struct trace *trace, struct bailey_bytes wire, enum stomp_escapes escapes,
                                  size_t first, size_t second)
{
    struct stomp_parser parser = {.escapes = escapes, .body_max = BODY_MAX};
    size_t cuts[] = {first, second, wire.len}, taken = 0;
    enum stomp_event event = STOMP_MORE;

    *trace = (struct trace){.len = 0};
    for (size_t i = 0; i < 3 && event == STOMP_MORE; i++)
        event = feed(&parser, trace, wire, cuts[i], &taken);
    assert_true((event == STOMP_BAD) == (parser.why != NULL));
    stomp_parser_fini(&parser);
    return event;
}

static enum stomp_event parse_bytewise(struct trace *trace, struct bailey_bytes wire, enum stomp_escapes escapes)
{
    struct stomp_parser parser = {.escapes = escapes, .body_max = BODY_MAX};
    enum stomp_event event = STOMP_MORE;
    size_t taken = 0;

    *trace = (struct trace){.len = 0};
    for (size_t arrived = 1; arrived <= wire.len && event == STOMP_MORE; arrived++)
        event = feed(&parser, trace, wire, arrived, &taken);
    stomp_parser_fini(&parser);
    return event;
}

static void assert_trace_bytes(struct bailey_bytes wire, enum stomp_escapes escapes, struct bailey_bytes expected)
{
    struct trace trace;

    parse_cut(&trace, wire, escapes, wire.len, wire.len);
    if (trace.len != expected.len || memcmp(trace.text, expected.data, expected.len) != 0)
        fail_msg("\"%.*s\": \"%s\", not \"%.*s\"", (int)wire.len, (const char *)wire.data, trace.text,
                 (int)expected.len, (const char *)expected.data);
    parse_bytewise(&trace, wire, escapes);
    assert_int_equal(trace.len, expected.len);
    assert_memory_equal(trace.text, expected.data, expected.len);
    for (size_t cut = 0; cut < wire.len; cut++) {
        parse_cut(&trace, wire, escapes, cut, wire.len);
        assert_int_equal(trace.len, expected.len);
        assert_memory_equal(trace.text, expected.data, expected.len);
    }
}

static void assert_trace(struct bailey_bytes wire, enum stomp_escapes escapes, const char *expected)
{
    assert_trace_bytes(wire, escapes, bailey_bytes_of(expected));
}

/* ---- The specifications ---- */

static void reads_the_frames_of_the_specifications(void **state)
{
    (void)state;
    assert_trace(BYTES("CONNECT\nlogin: <username>\npasscode:<passcode>\n\n\0"), STOMP_ESCAPES_NONE,
                 "CONNECT{login= <username>;passcode=<passcode>;}[]");
    assert_trace(BYTES("CONNECTED\nversion:1.1\n\n\0"), STOMP_ESCAPES_11, "CONNECTED{version=1.1;}[]");
    assert_trace(BYTES("ERROR\nversion:1.2,2.1\ncontent-type:text/plain\n\nSupported protocol versions are 1.2 2.1\0"),
                 STOMP_ESCAPES_12,
                 "ERROR{version=1.2,2.1;content-type=text/plain;}[Supported protocol versions are 1.2 2.1]");
    assert_trace(BYTES("MESSAGE\nsubscription:0\nmessage-id:007\ndestination:/queue/a\ncontent-type:text/plain\n\n"
                       "hello queue a\0"),
                 STOMP_ESCAPES_12,
                 "MESSAGE{subscription=0;message-id=007;destination=/queue/a;content-type=text/plain;}[hello queue a]");
    assert_trace(BYTES("RECEIPT\nreceipt-id:message-12345\n\n\0"), STOMP_ESCAPES_12,
                 "RECEIPT{receipt-id=message-12345;}[]");
    assert_trace(BYTES("SEND\n\n\0"), STOMP_ESCAPES_12, "SEND{}[]");
}

static void unescapes_exactly_what_the_version_knows(void **state)
{
    static const struct {
        const char *wire, *none, *v11, *v12, *lenient; /* a value as it comes, as it is; NULL: BAD */
    } rows[] = {
        {"plain", "plain", "plain", "plain", "plain"},
        {"", "", "", "", ""},
        {" a ", " a ", " a ", " a ", " a "},
        {"a\\nb", "a\\nb", "a\nb", "a\nb", "a\nb"},
        {"a\\cb", "a\\cb", "a:b", "a:b", "a:b"},
        {"a\\\\b", "a\\\\b", "a\\b", "a\\b", "a\\b"},
        {"a\\rb", "a\\rb", NULL, "a\rb", "a\rb"},
        {"\\n\\c\\\\", "\\n\\c\\\\", "\n:\\", "\n:\\", "\n:\\"},
        {"\\\\n", "\\\\n", "\\n", "\\n", "\\n"},
        {"\\\\\\n", "\\\\\\n", "\\\n", "\\\n", "\\\n"},
        {"a\\tb", "a\\tb", NULL, NULL, "a\\tb"},
        {"a\\Nb", "a\\Nb", NULL, NULL, "a\\Nb"},
        {"a\\0b", "a\\0b", NULL, NULL, "a\\0b"},
        {"a\\", "a\\", NULL, NULL, "a\\"},
        {"\\", "\\", NULL, NULL, "\\"},
        {"a:b", "a:b", "a:b", "a:b", "a:b"}, /* RabbitMQ may send it */
        {"::", "::", "::", "::", "::"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *expected[] = {rows[i].none, rows[i].v11, rows[i].v12, rows[i].lenient};

        for (int escapes = STOMP_ESCAPES_NONE; escapes <= STOMP_ESCAPES_LENIENT; escapes++) {
            char wire[64], trace[64];
            int len = snprintf(wire, sizeof wire, "MESSAGE\nk:%s\n\n", rows[i].wire);

            snprintf(trace, sizeof trace, expected[escapes] != NULL ? "MESSAGE{k=%s;}[]" : "BAD", expected[escapes]);
            assert_trace((struct bailey_bytes){(const uint8_t *)wire, (size_t)len + 1}, (enum stomp_escapes)escapes,
                         trace);
        }
    }
}

static void unescapes_names_too_but_not_activemqs(void **state)
{
    struct bailey_bytes wire = BYTES("MESSAGE\na\\cb\\nc\\\\:v\n\n\0");

    (void)state;
    assert_trace(wire, STOMP_ESCAPES_NONE, "MESSAGE{a\\cb\\nc\\\\=v;}[]");
    assert_trace(wire, STOMP_ESCAPES_11, "MESSAGE{a:b\nc\\=v;}[]");
    assert_trace(wire, STOMP_ESCAPES_12, "MESSAGE{a:b\nc\\=v;}[]");
    assert_trace(wire, STOMP_ESCAPES_LENIENT, "MESSAGE{a\\cb\\nc\\\\=v;}[]");
    assert_trace(BYTES("MESSAGE\na\\x:v\n\n\0"), STOMP_ESCAPES_12, "BAD");
}

static void never_unescapes_connected(void **state)
{
    (void)state;
    for (int escapes = STOMP_ESCAPES_NONE; escapes <= STOMP_ESCAPES_LENIENT; escapes++) {
        assert_trace(BYTES("CONNECTED\nsession:a\\cb\\q\\\nserver:x\n\n\0"), (enum stomp_escapes)escapes,
                     "CONNECTED{session=a\\cb\\q\\;server=x;}[]");
        assert_trace(BYTES("CONNECT\npasscode:a\\cb\\q\n\n\0"), (enum stomp_escapes)escapes,
                     "CONNECT{passcode=a\\cb\\q;}[]");
    }
    assert_trace(BYTES("CONNECTEDX\na:\\q\n\n\0"), STOMP_ESCAPES_12, "BAD");
}

static void keeps_repeated_headers_and_counts_the_first(void **state)
{
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = BODY_MAX};
    struct bailey_bytes wire = BYTES("MESSAGE\nfoo:World\nbar:x\nfoo:Hello\n\n\0");
    size_t used;

    (void)state;
    assert_int_equal(stomp_parse(&parser, wire.data, wire.len, &used), STOMP_HEAD);
    assert_int_equal(used, wire.len - 1);
    assert_int_equal(parser.head_len, used);
    assert_int_equal(parser.header_count, 3);
    assert_true(bailey_bytes_is(stomp_frame_header(&parser, "foo"), "World"));
    assert_true(bailey_bytes_is(parser.headers[2].value, "Hello"));
    assert_null(stomp_frame_header(&parser, "fo").data);
    assert_null(stomp_frame_header(&parser, "Foo").data); /* case matters */
    stomp_parser_fini(&parser);
}

static void takes_lf_and_crlf_as_ends_of_line(void **state)
{
    (void)state;
    for (int escapes = STOMP_ESCAPES_NONE; escapes <= STOMP_ESCAPES_LENIENT; escapes++) {
        enum stomp_escapes e = (enum stomp_escapes)escapes;

        assert_trace(BYTES("SEND\r\na:b\r\n\r\nx\0"), e, "SEND{a=b;}[x]");
        assert_trace(BYTES("SEND\na:b\r\n\nx\0"), e, "SEND{a=b;}[x]");
        assert_trace(BYTES("SEND\r\na:b\n\r\nx\0"), e, "SEND{a=b;}[x]");
        assert_trace(BYTES("SEND\n\n\r\n\0\r\nSEND\n\n\0"), e, "SEND{}[\r\n]HBSEND{}[]");
        assert_trace(BYTES("SEND\na:b\rc\n\n\0"), e, "BAD");
        assert_trace(BYTES("SEND\na:b\r\r\n\n\0"), e, "BAD");
        assert_trace(BYTES("SE\rND\n\n\0"), e, "BAD");
        assert_trace(BYTES("SEND\n\r\r\n\0"), e, "BAD");
        assert_trace(BYTES("SEND\n\rx:y\n\n\0"), e, "BAD");
        assert_trace(BYTES("\rSEND\n\n\0"), e, "BAD");
        assert_trace(BYTES("\r"), e, "");
        assert_trace(BYTES("\r\r"), e, "BAD");
    }
}

/* Any producer can put a NUL there; ActiveMQ 5.18, Artemis 2.40 and RabbitMQ 3.10 hand it on as it is. */
static void takes_a_nul_in_a_header_of_a_message(void **state)
{
    (void)state;
    assert_trace_bytes(BYTES("MESSAGE\nk:a\0b\ncontent-length:1\n\nx\0\nMESSAGE\r\n\0:\0\r\n\r\n\0"), STOMP_ESCAPES_12,
                       BYTES("MESSAGE{k=a\0b;content-length=1;}[x]HBMESSAGE{\0=\0;}[]"));
    assert_trace(BYTES("MESSAGE\ncontent-length:1\0\n\nx\0"), STOMP_ESCAPES_12, "BAD");
}

static void takes_any_number_of_heartbeats(void **state)
{
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = BODY_MAX};
    size_t used;

    (void)state;
    assert_trace(BYTES("\n"), STOMP_ESCAPES_12, "HB");
    assert_trace(BYTES("\n\r\n\n\nSEND\n\n\0\n\n\r\nSEND\n\n\0\n"), STOMP_ESCAPES_12, "HBSEND{}[]HBSEND{}[]HB");
    assert_trace(BYTES("SEND\n\n\0SEND\n\n\0"), STOMP_ESCAPES_12, "SEND{}[]SEND{}[]");
    assert_int_equal(stomp_parse(&parser, (const uint8_t *)"\n\r\n\n\r", 5, &used), STOMP_HEARTBEAT);
    assert_int_equal(used, 4); /* all at once; what is no end of line yet stays */
    assert_int_equal(stomp_parse(&parser, (const uint8_t *)"\r", 1, &used), STOMP_MORE);
    assert_int_equal(used, 0);
    stomp_parser_fini(&parser);
}

static void ends_a_body_as_its_head_says(void **state)
{
    (void)state;
    assert_trace_bytes(BYTES("SEND\ncontent-length:3\n\na\0b\0"), STOMP_ESCAPES_12,
                       BYTES("SEND{content-length=3;}[a\0b]"));
    assert_trace_bytes(BYTES("SEND\ncontent-length:3\n\n\0\0\0\0\nSEND\n\n\0"), STOMP_ESCAPES_12,
                       BYTES("SEND{content-length=3;}[\0\0\0]HBSEND{}[]"));
    assert_trace(BYTES("SEND\ncontent-length:0\n\n\0"), STOMP_ESCAPES_12, "SEND{content-length=0;}[]");
    assert_trace(BYTES("SEND\ncontent-length:0003\n\nabc\0"), STOMP_ESCAPES_12, "SEND{content-length=0003;}[abc]");
    assert_trace(BYTES("SEND\ncontent-length:3\ncontent-length:3\n\nabc\0"), STOMP_ESCAPES_12,
                 "SEND{content-length=3;content-length=3;}[abc]");
    assert_trace(BYTES("SEND\ncontent-length:3\n\nabcd\0"), STOMP_ESCAPES_12, "SEND{content-length=3;}BAD");
    assert_trace(BYTES("SEND\ncontent-length:3\n\nab\0"), STOMP_ESCAPES_12, "SEND{content-length=3;}");
    assert_trace(BYTES("SEND\n\nab\0c\0"), STOMP_ESCAPES_12, "SEND{}[ab]BAD"); /* "c" begins no frame */
    assert_trace(BYTES("SEND\nContent-Length:3\n\nab\0"), STOMP_ESCAPES_12, "SEND{Content-Length=3;}[ab]");
}

/* Does a MESSAGE with these headers, and this length, end where the broker says? */
static void assert_length(enum stomp_length_place place, const char *head, bool has_length, uint64_t length)
{
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .length_place = place, .body_max = BODY_MAX};
    size_t used;

    assert_int_equal(stomp_parse(&parser, (const uint8_t *)head, strlen(head), &used), STOMP_HEAD);
    if (parser.has_length != has_length || parser.length != length)
        fail_msg("\"%s\": %d, %d", head, parser.has_length, (int)parser.length);
    stomp_parser_fini(&parser);
}

/* As RabbitMQ 3.10 and Artemis 2.40 write them. */
static void a_producers_length_does_not_count(void **state)
{
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = BODY_MAX};
    struct bailey_bytes two = BYTES("MESSAGE\nmessage-id:1\ncontent-length:7\nack:1\ncontent-length:3\n\n");
    size_t used;

    (void)state;
    assert_length(STOMP_LENGTH_OUTSIDE, "MESSAGE\ncontent-length:3\nmessage-id:1\ncontent-length:7\nack:1\n\n", true,
                  3);
    assert_length(STOMP_LENGTH_OUTSIDE, "MESSAGE\nmessage-id:1\ncontent-length:7\nack:1\n\n", false, 0);
    assert_length(STOMP_LENGTH_OUTSIDE, "MESSAGE\nmessage-id:1\nack:x\ncontent-length:7\nack:1\ncontent-length:3\n\n",
                  true, 3);
    assert_length(STOMP_LENGTH_OUTSIDE, "MESSAGE\nmessage-id:1\ncontent-length:x\nack:1\n\n", false, 0);
    assert_length(STOMP_LENGTH_LAST, "MESSAGE\nmessage-id:1\nack:1\ncontent-length:7\nx:y\ncontent-length:3\n\n", true,
                  3);
    assert_length(STOMP_LENGTH_LAST, "MESSAGE\ncontent-length:7\nmessage-id:1\n\n", false, 0);
    assert_length(STOMP_LENGTH_LAST, "ERROR\ncontent-length:7\nmessage:x\n\n", true, 7); /* no producer's */
    assert_length(STOMP_LENGTH_ANYWHERE, "MESSAGE\ncontent-length:7\nmessage-id:1\n\n", true, 7);
    assert_int_equal(stomp_parse(&parser, two.data, two.len, &used), STOMP_BAD);
    stomp_parser_fini(&parser);
}

static void bounds_a_body(void **state)
{
    char wire[128];

    (void)state;
    for (int excess = 0; excess <= 1; excess++) {
        struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = BODY_MAX};
        size_t len = (size_t)snprintf(wire, sizeof wire, "SEND\n\n%0*d", BODY_MAX + excess, 0), used;
        struct trace trace;

        assert_int_equal(parse_bytewise(&trace, (struct bailey_bytes){(uint8_t *)wire, len + 1}, STOMP_ESCAPES_12),
                         excess ? STOMP_BAD : STOMP_MORE);
        len = (size_t)snprintf(wire, sizeof wire, "SEND\ncontent-length:%d\n\n", BODY_MAX + excess);
        assert_int_equal(stomp_parse(&parser, (uint8_t *)wire, len, &used), excess ? STOMP_BAD : STOMP_HEAD);
        if (!excess)
            assert_int_equal(parser.length, BODY_MAX);
        stomp_parser_fini(&parser);
    }
}

static void hands_on_what_has_arrived_of_a_body(void **state)
{
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = INT64_MAX};
    struct bailey_bytes head = BYTES("SEND\ncontent-length:9223372036854775807\n\n");
    size_t used;

    (void)state;
    assert_int_equal(stomp_parse(&parser, head.data, head.len, &used),
                     STOMP_HEAD); /* and nothing was allocated for it */
    assert_true(parser.length == INT64_MAX);
    assert_int_equal(stomp_parse(&parser, head.data, 0, &used), STOMP_MORE);
    assert_int_equal(stomp_parse(&parser, (const uint8_t *)"abc", 3, &used), STOMP_BODY);
    assert_int_equal(used, 3);
    assert_int_equal(parser.part.len, 3);
    assert_false(parser.last);
    assert_int_equal(parser.scratch_cap, 0);
    stomp_parser_reset(&parser); /* a new connection */
    assert_int_equal(stomp_parse(&parser, (const uint8_t *)"SEND\n\n", 6, &used), STOMP_HEAD);
    assert_false(parser.has_length);
    stomp_parser_fini(&parser);
}

/* ---- Limits ---- */

/* A head of `headers` headers of `line` bytes each, the command of `command` bytes. */
static enum stomp_event parse_sized(size_t command, size_t headers, size_t line, bool bytewise)
{
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = BODY_MAX};
    size_t len = command + 1 + headers * (line + 1) + 1, at = command + 1, used = 0;
    uint8_t *wire = malloc(len);
    enum stomp_event event = STOMP_MORE;

    assert_non_null(wire);
    memset(wire, 'A', len);
    wire[command] = '\n';
    for (size_t i = 0; i < headers; i++, at += line + 1) {
        wire[at] = ':';
        wire[at + line] = '\n';
    }
    wire[at] = '\n';
    for (size_t arrived = bytewise ? 1 : len; arrived <= len && event == STOMP_MORE; arrived++) {
        event = stomp_parse(&parser, wire, arrived, &used);
        if (event == STOMP_MORE) {
            assert_int_equal(used, 0);
            assert_int_equal(parser.scanned, arrived); /* the next call looks at new bytes only */
        }
    }
    stomp_parser_fini(&parser);
    free(wire);
    return event;
}

static void bounds_a_head(void **state)
{
    (void)state;
    for (int bytewise = 0; bytewise <= 1; bytewise++) {
        assert_int_equal(parse_sized(STOMP_COMMAND_MAX, 0, 0, bytewise), STOMP_HEAD);
        assert_int_equal(parse_sized(STOMP_COMMAND_MAX + 1, 0, 0, bytewise), STOMP_BAD);
        assert_int_equal(parse_sized(4, 1, STOMP_HEADER_MAX, bytewise), STOMP_HEAD);
        assert_int_equal(parse_sized(4, 1, STOMP_HEADER_MAX + 1, bytewise), STOMP_BAD);
        assert_int_equal(parse_sized(4, STOMP_HEADERS_MAX, 9, bytewise), STOMP_HEAD);
        assert_int_equal(parse_sized(4, STOMP_HEADERS_MAX + 1, 9, bytewise), STOMP_BAD);
        assert_int_equal(parse_sized(4, 4, (STOMP_HEAD_MAX - 6) / 4 - 1, bytewise), STOMP_HEAD); /* 256 KiB less 2 */
        assert_int_equal(parse_sized(6, 4, (STOMP_HEAD_MAX - 6) / 4 - 1, bytewise), STOMP_HEAD); /* 256 KiB */
        assert_int_equal(parse_sized(7, 4, (STOMP_HEAD_MAX - 6) / 4 - 1, bytewise), STOMP_BAD);
    }
}

static void gives_up_endless_heads_early(void **state)
{
    static uint8_t endless[STOMP_HEAD_MAX + 16];
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = BODY_MAX};
    size_t used, len = 0;

    (void)state;
    memset(endless, 'X', sizeof endless);
    assert_int_equal(stomp_parse(&parser, endless, STOMP_COMMAND_MAX, &used), STOMP_MORE);
    assert_int_equal(stomp_parse(&parser, endless, STOMP_COMMAND_MAX + 1, &used), STOMP_BAD);
    stomp_parser_reset(&parser);
    memcpy(endless, "SEND\nx:", 7);
    assert_int_equal(stomp_parse(&parser, endless, 5 + STOMP_HEADER_MAX, &used), STOMP_MORE);
    assert_int_equal(stomp_parse(&parser, endless, 5 + STOMP_HEADER_MAX + 1, &used), STOMP_BAD);
    stomp_parser_reset(&parser);
    for (len = 5; len + 1024 < sizeof endless; len += 1024)
        memcpy(endless + len, "\nx:", 3);
    memcpy(endless, "SEND\n", 5);
    endless[5] = 'x';
    assert_int_equal(stomp_parse(&parser, endless, STOMP_HEAD_MAX - 1, &used), STOMP_MORE);
    assert_int_equal(stomp_parse(&parser, endless, STOMP_HEAD_MAX, &used), STOMP_BAD);
    stomp_parser_fini(&parser);
}

static void stays_bad(void **state)
{
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = BODY_MAX};
    struct bailey_bytes good = BYTES("SEND\n\n\0");
    const char *why;
    size_t used;

    (void)state;
    assert_int_equal(stomp_parse(&parser, (const uint8_t *)"get /\n", 6, &used), STOMP_BAD);
    why = parser.why;
    assert_string_equal(why, "not a command");
    assert_int_equal(stomp_parse(&parser, good.data, good.len, &used), STOMP_BAD);
    assert_ptr_equal(parser.why, why);
    stomp_parser_reset(&parser);
    assert_int_equal(stomp_parse(&parser, good.data, good.len, &used), STOMP_HEAD);
    stomp_parser_fini(&parser);
}

/* ---- Cuts ---- */

static void gives_the_same_events_however_it_is_cut(void **state)
{
    static const char wire[] = "CONNECTED\r\nversion:1.2\r\nheart-beat:1,2\r\n\r\n\0\n"
                               "MESSAGE\na\\c:\\r\\n\nb:\ncontent-length:5\n\na\0\nb\n\0\r\n\n"
                               "RECEIPT\nreceipt-id:1\n\n\0MESSAGE\nx:y\n\nbody\0ERROR\n\n\0\n";
    struct bailey_bytes bytes = {(const uint8_t *)wire, sizeof wire - 1};
    struct trace whole, cut;

    (void)state;
    parse_cut(&whole, bytes, STOMP_ESCAPES_12, bytes.len, bytes.len);
    assert_non_null(strstr(whole.text, "CONNECTED{version=1.2;heart-beat=1,2;}[]HBMESSAGE{a:=\r\n;b=;"));
    for (size_t first = 0; first <= bytes.len; first++)
        for (size_t second = first; second <= bytes.len; second++) {
            parse_cut(&cut, bytes, STOMP_ESCAPES_12, first, second);
            assert_int_equal(cut.len, whole.len);
            assert_memory_equal(cut.text, whole.text, whole.len);
        }
}

/* ---- Peers that lie ---- */

static void is_not_fooled(void **state)
{
    static const struct {
        struct bailey_bytes wire;
        const char *trace;
    } rows[] = {
#define ROW(wire, trace) {{(const uint8_t *)(wire), sizeof(wire) - 1}, trace}
        /* content-length: no number, or two */
        ROW("SEND\ncontent-length:-1\n\nx\0", "BAD"), ROW("SEND\ncontent-length:+1\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length: 1\n\nx\0", "BAD"), ROW("SEND\ncontent-length:1 \n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:\t1\n\nx\0", "BAD"), ROW("SEND\ncontent-length:\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:0x1\n\nx\0", "BAD"), ROW("SEND\ncontent-length:1e0\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:1.0\n\nx\0", "BAD"), ROW("SEND\ncontent-length:1,1\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:\\n1\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:\xd9\xa1\n\nx\0", "BAD"), /* an Arabic 1 */
        ROW("SEND\ncontent-length:1\ncontent-length:2\n\nxy\0", "BAD"),
        ROW("SEND\ncontent-length:2\nx:y\ncontent-length:1\n\nxy\0", "BAD"),
        ROW("SEND\ncontent-length:1\ncontent-length:\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:1\ncontent-length:x\n\nx\0", "BAD"), ROW("SEND\ncontent-length:65\n\n", "BAD"),
        ROW("SEND\ncontent-length:4294967297\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:9223372036854775808\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:18446744073709551615\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:18446744073709551616\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:18446744073709551617\n\nx\0", "BAD"),
        ROW("SEND\ncontent-length:99999999999999999999999999\n\nx\0", "BAD"),
        /* a length against a NUL */
        ROW("SEND\ncontent-length:1\n\nxSEND\n\n\0", "SEND{content-length=1;}BAD"),
        ROW("SEND\ncontent-length:1\n\nx\n\0", "SEND{content-length=1;}BAD"),
        ROW("SEND\ncontent-length:0\n\nx\0", "SEND{content-length=0;}BAD"), ROW("SEND\n\nx\0\0", "SEND{}[x]BAD"),
        ROW("SEND\n\n\0MESSAGE\n\n\0\0", "SEND{}[]MESSAGE{}[]BAD"),
        /* an encoded end of line stays inside its value: it makes no header and no frame */
        ROW("SEND\nk:a\\nb\\cc\n\n\0", "SEND{k=a\nb:c;}[]"),
        ROW("SEND\nk:a\\n\\ncontent-length\\c5\n\nx\0", "SEND{k=a\n\ncontent-length:5;}[x]"),
        ROW("SEND\na\\nb:c\n\nx\0", "SEND{a\nb=c;}[x]"),
        ROW("SEND\nk:\\r\\n\\r\\nBODY\n\nx\0", "SEND{k=\r\n\r\nBODY;}[x]"),
        ROW("SEND\nk:\\\\n\n\nx\0", "SEND{k=\\n;}[x]"),
        /* unknown escapes */
        ROW("SEND\nk:\\0\n\n\0", "BAD"), ROW("SEND\nk:\\x0a\n\n\0", "BAD"), ROW("SEND\nk:\\u000a\n\n\0", "BAD"),
        ROW("SEND\nk:\\N\n\n\0", "BAD"), ROW("SEND\nk:\\:\n\n\0", "BAD"), ROW("SEND\nk:\\ \n\n\0", "BAD"),
        ROW("SEND\nk:\\\n\n\0", "BAD"), /* would escape the end of line */
        ROW("SEND\nk:\\\r\n\n\0", "BAD"), ROW("SEND\nk\\:v\n\n\0", "BAD"),
        /* raw control octets */
        ROW("SEND\nk:a\0b\n\n\0", "BAD"), ROW("SEND\nk\0:b\n\n\0", "BAD"), ROW("SEND\n\0\n\n\0", "BAD"),
        ROW("SEND\0\n\n\0", "BAD"), ROW("SEND\nk:v\0", "BAD"), /* a frame that ends inside its head */
        ROW("SEND\nk:a\rb\n\n\0", "BAD"), ROW("SEND\nk:a\r", ""), ROW("SEND\nk:a\rX", "BAD"),
        /* headers */
        ROW("SEND\nnocolon\n\n\0", "BAD"), ROW("SEND\n \n\n\0", "BAD"), ROW("SEND\n\t\n\n\0", "BAD"),
        ROW("SEND\nk:v\n folded\n\n\0", "BAD"), ROW("SEND\n:\n\n\0", "SEND{=;}[]"),
        ROW("SEND\n:v\n\n\0", "SEND{=v;}[]"), ROW("SEND\nk :v\n\n\0", "SEND{k =v;}[]"), /* not the header k */
        ROW("SEND\ncontent-length :1\n\nabc\0", "SEND{content-length =1;}[abc]"),
        ROW("SEND\n content-length:1\n\nabc\0", "SEND{ content-length=1;}[abc]"),
        ROW("SEND\nk:v\xff\xfe\n\n\0", "SEND{k=v\xff\xfe;}[]"), /* no UTF-8: who uses it must look */
        ROW("SEND\nk:\xc0\x8a\n\n\0", "SEND{k=\xc0\x8a;}[]"),   /* an overlong LF is no LF */
        ROW("SEND\ndestination:/queue/a\ndestination:/queue/b\n\n\0",
            "SEND{destination=/queue/a;destination=/queue/b;}[]"),
        /* commands */
        ROW("send\n\n\0", "BAD"), ROW("SEND \n\n\0", "BAD"), ROW(" SEND\n\n\0", "BAD"), ROW("SEND:x\n\n\0", "BAD"),
        ROW("\0", "BAD"), ROW("\0SEND\n\n\0", "BAD"), ROW("\xef\xbb\xbfSEND\n\n\0", "BAD"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "BAD"), ROW("HTTP/1.1 400 Bad Request\r\n\r\n", "BAD"),
        ROW("\x15\x03\x01\x00\x02\x02\x46", "BAD"),                                /* a TLS alert */
        ROW("AMQP\x00\x00\x09\x01", "BAD"), ROW("WHATEVER\n\n\0", "WHATEVER{}[]"), /* the caller judges */
    };

    (void)state;
    static_assert(sizeof rows / sizeof *rows >= 60, "every class of smuggling");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_trace(rows[i].wire, STOMP_ESCAPES_12, rows[i].trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_frames_of_the_specifications),
        cmocka_unit_test(unescapes_exactly_what_the_version_knows),
        cmocka_unit_test(unescapes_names_too_but_not_activemqs),
        cmocka_unit_test(never_unescapes_connected),
        cmocka_unit_test(keeps_repeated_headers_and_counts_the_first),
        cmocka_unit_test(takes_lf_and_crlf_as_ends_of_line),
        cmocka_unit_test(takes_a_nul_in_a_header_of_a_message),
        cmocka_unit_test(takes_any_number_of_heartbeats),
        cmocka_unit_test(ends_a_body_as_its_head_says),
        cmocka_unit_test(a_producers_length_does_not_count),
        cmocka_unit_test(bounds_a_body),
        cmocka_unit_test(hands_on_what_has_arrived_of_a_body),
        cmocka_unit_test(bounds_a_head),
        cmocka_unit_test(gives_up_endless_heads_early),
        cmocka_unit_test(stays_bad),
        cmocka_unit_test(gives_the_same_events_however_it_is_cut),
        cmocka_unit_test(is_not_fooled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
