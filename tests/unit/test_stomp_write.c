/* The encoder of STOMP frames: exactly the escapes of the version, never a raw end of line or NUL, never beyond its space, and
 * what it writes the parser reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/stomp/frame.h"
#include "connectors/stomp/write.h"

#define BYTES(literal) ((struct bailey_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

static uint8_t space[1 << 16];

static struct stomp_writer writer(enum stomp_escapes escapes)
{
    return (struct stomp_writer){.at = space, .end = space + sizeof space, .escapes = escapes};
}

static struct bailey_bytes written(const struct stomp_writer *w)
{
    return (struct bailey_bytes){space, (size_t)(w->at - space)};
}

static void assert_bytes(struct bailey_bytes actual, struct bailey_bytes expected)
{
    assert_int_equal(actual.len, expected.len);
    assert_memory_equal(actual.data, expected.data, expected.len);
}

static void writes_frames_as_the_specifications_show_them(void **state)
{
    struct stomp_writer w = writer(STOMP_ESCAPES_12);

    (void)state;
    stomp_write_command(&w, "SEND");
    stomp_write_header(&w, "destination", BYTES("/queue/a"));
    stomp_write_header(&w, "content-type", BYTES("text/plain"));
    stomp_write_header(&w, "empty", BAILEY_NULL_BYTES);
    stomp_write_number(&w, "content-length", 13);
    stomp_write_number(&w, "least", INT64_MIN);
    stomp_write_open(&w, BYTES("parts"));
    stomp_write_part(&w, BYTES("a:"));
    stomp_write_part(&w, BAILEY_NULL_BYTES);
    stomp_write_part(&w, BYTES("b"));
    stomp_write_close(&w);
    stomp_write_end_of_head(&w);
    stomp_write_body(&w, BYTES("hello\nqueue\0a"));
    assert_bytes(written(&w), BYTES("SEND\ndestination:/queue/a\ncontent-type:text/plain\nempty:\ncontent-length:13\n"
                                    "least:-9223372036854775808\nparts:a\\cb\n\nhello\nqueue\0a\0"));
    assert_false(w.full || w.bad);
}

static void escapes_exactly_as_the_version_can(void **state)
{
    static const struct {
        struct bailey_bytes value;
        const char *none, *v11, *v12; /* NULL: it cannot be said */
    } rows[] = {
#define ROW(value, none, v11, v12) {{(const uint8_t *)(value), sizeof(value) - 1}, none, v11, v12}
        ROW("plain", "plain", "plain", "plain"),
        ROW("", "", "", ""),
        ROW(" a ", " a ", " a ", " a "),
        ROW("a:b", "a:b", "a\\cb", "a\\cb"),
        ROW("a\\b", "a\\b", "a\\\\b", "a\\\\b"),
        ROW("\\n", "\\n", "\\\\n", "\\\\n"),
        ROW("a\nb", NULL, "a\\nb", "a\\nb"),
        ROW("a\rb", NULL, NULL, "a\\rb"),
        ROW("\r\n", NULL, NULL, "\\r\\n"),
        ROW("a\0b", NULL, NULL, NULL),
        ROW("\0", NULL, NULL, NULL),
        ROW("\t\x7f\xc3\xa9\xff", "\t\x7f\xc3\xa9\xff", "\t\x7f\xc3\xa9\xff", "\t\x7f\xc3\xa9\xff"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *expected[] = {rows[i].none, rows[i].v11, rows[i].v12, rows[i].v12};

        for (int escapes = STOMP_ESCAPES_NONE; escapes <= STOMP_ESCAPES_LENIENT; escapes++) {
            struct stomp_writer w = writer((enum stomp_escapes)escapes);

            stomp_write_header(&w, "k", rows[i].value);
            assert_int_equal(w.bad, expected[escapes] == NULL);
            assert_false(w.full);
            if (w.bad)
                continue;
            assert_int_equal(w.at - space, strlen(expected[escapes]) + 3);
            assert_memory_equal(space, "k:", 2);
            assert_memory_equal(space + 2, expected[escapes], strlen(expected[escapes]));
            assert_int_equal(w.at[-1], '\n');
        }
    }
}

static void escapes_names_like_values_and_refuses_a_colon_in_1_0(void **state)
{
    static const char *const forbidden[] = {"a:b", "a\nb", "a\rb", ":", "\n"};

    (void)state;
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        struct stomp_writer w = writer(STOMP_ESCAPES_NONE);

        stomp_write_header(&w, forbidden[i], BYTES("v"));
        assert_true(w.bad);
    }
    struct stomp_writer w = writer(STOMP_ESCAPES_12);

    stomp_write_header(&w, "a:b\n\r\\", BYTES("v"));
    assert_bytes(written(&w), BYTES("a\\cb\\n\\r\\\\:v\n"));
    assert_false(w.bad);
}

/* Whatever a header holds, the only raw ends of line in it are its own. */
static void emits_no_raw_control_octet(void **state)
{
    (void)state;
    for (int escapes = STOMP_ESCAPES_NONE; escapes <= STOMP_ESCAPES_LENIENT; escapes++)
        for (int octet = 0; octet < 256; octet++)
            for (int in_name = 0; in_name <= 1; in_name++) {
                struct stomp_writer w = writer((enum stomp_escapes)escapes);
                uint8_t text[] = {'a', (uint8_t)octet, 'b'};
                struct bailey_bytes odd = {text, sizeof text}, plain = BYTES("x");
                size_t len;

                stomp_write_header_named(&w, in_name ? odd : plain, in_name ? plain : odd);
                len = (size_t)(w.at - space);
                assert_ptr_equal(memchr(space, '\n', len), space + len - 1);
                assert_null(memchr(space, '\r', len));
                assert_null(memchr(space, '\0', len));
                if (in_name && !w.bad)
                    assert_ptr_equal(memchr(space, ':', len), space + len - 3);
            }
}

static void stops_at_the_end_of_its_space(void **state)
{
    struct stomp_writer w = writer(STOMP_ESCAPES_12);
    size_t need;

    (void)state;
    for (size_t room = 0;; room++) {
        memset(space, 0xee, 64);
        w = (struct stomp_writer){.at = space, .end = space + room, .escapes = STOMP_ESCAPES_12};
        stomp_write_command(&w, "SEND");
        stomp_write_header(&w, "a:", BYTES("b\n"));
        stomp_write_number(&w, "n", 123);
        stomp_write_end_of_head(&w);
        stomp_write_body(&w, BYTES("body"));
        for (size_t i = room; i < 64; i++)
            assert_int_equal(space[i], 0xee);
        if (!w.full)
            break;
        assert_true(w.at <= w.end);
    }
    need = sizeof "SEND\na\\c:b\\n\nn:123\n\nbody"; /* with the NUL */
    assert_int_equal(w.at - space, need);
    assert_ptr_equal(w.at, w.end); /* the first room that was enough was just enough */
}

static void stays_full(void **state)
{
    struct stomp_writer w = {.at = space, .end = space + 8, .escapes = STOMP_ESCAPES_12};

    (void)state;
    stomp_write_header(&w, "name", BYTES("too long"));
    assert_true(w.full);
    stomp_write_end_of_head(&w);
    assert_true(w.full); /* though one byte would fit */
}

static void guesses_room_that_is_enough(void **state)
{
    struct bailey_bytes worst = BYTES(":\n\r\\:\n\r\\");
    struct stomp_writer w = writer(STOMP_ESCAPES_12);

    (void)state;
    stomp_write_header_named(&w, worst, worst);
    assert_int_equal(w.at - space, stomp_header_room(worst, worst));
}

/* ---- Round trips ---- */

static uint64_t seed = 20240501;

static uint32_t chance(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

/* Of octets that like to go wrong; those that the version cannot say are left out. */
static struct bailey_bytes random_text(uint8_t *at, enum stomp_escapes escapes, bool is_name)
{
    static const char octets[] = "\n:\\rncab -\xc3\xa9\xff\x01\x7f\r";
    size_t len = chance(12), count = sizeof octets - 1;

    if (escapes == STOMP_ESCAPES_11 || escapes == STOMP_ESCAPES_NONE)
        count--;
    for (size_t i = 0; i < len; i++) {
        do
            at[i] = (uint8_t)octets[chance((uint32_t)count)];
        while ((escapes == STOMP_ESCAPES_NONE && (at[i] == '\n' || (is_name && at[i] == ':'))) ||
               (escapes == STOMP_ESCAPES_LENIENT && is_name && strchr(":\\\n\r", at[i]) != NULL));
    }
    return (struct bailey_bytes){at, len};
}

static void reads_back_what_it_wrote(void **state)
{
    (void)state;
    for (int run = 0; run < 20000; run++) {
        enum stomp_escapes escapes = (enum stomp_escapes)chance(STOMP_ESCAPES_LENIENT + 1);
        struct stomp_parser parser = {.escapes = escapes, .body_max = 1 << 20};
        struct stomp_writer w = writer(escapes);
        struct bailey_bytes names[8], values[8], body;
        uint8_t texts[17][12];
        size_t count = chance(9), used;

        stomp_write_command(&w, "MESSAGE");
        for (size_t i = 0; i < count; i++) {
            names[i] = random_text(texts[2 * i], escapes, true);
            values[i] = random_text(texts[2 * i + 1], escapes, false);
            stomp_write_header_named(&w, names[i], values[i]);
        }
        body = random_text(texts[16], STOMP_ESCAPES_12, false);
        stomp_write_number(&w, "content-length", (int64_t)body.len);
        stomp_write_end_of_head(&w);
        stomp_write_body(&w, body);
        assert_false(w.bad || w.full);

        assert_int_equal(stomp_parse(&parser, space, (size_t)(w.at - space), &used), STOMP_HEAD);
        assert_int_equal(parser.header_count, count + 1);
        for (size_t i = 0; i < count; i++) {
            assert_bytes(parser.headers[i].name, names[i]);
            assert_bytes(parser.headers[i].value, values[i]);
        }
        assert_int_equal(stomp_parse(&parser, space + used, (size_t)(w.at - space) - used, &used), STOMP_BODY);
        assert_true(parser.last);
        assert_bytes(parser.part, body);
        stomp_parser_fini(&parser);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_frames_as_the_specifications_show_them),
        cmocka_unit_test(escapes_exactly_as_the_version_can),
        cmocka_unit_test(escapes_names_like_values_and_refuses_a_colon_in_1_0),
        cmocka_unit_test(emits_no_raw_control_octet),
        cmocka_unit_test(stops_at_the_end_of_its_space),
        cmocka_unit_test(stays_full),
        cmocka_unit_test(guesses_room_that_is_enough),
        cmocka_unit_test(reads_back_what_it_wrote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
