/* test_text.c: the text buffer, what is masked, the nearest name, and the lines of the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/text.h"

static void text_grows(void **state)
{
    struct text text = {0};

    (void)state;
    for (int i = 0; i < 10000; i++)
        text_printf(&text, "%04d ", i);
    assert_int_equal(text.len, 50000);
    assert_int_equal(strlen(text.data), 50000);
    assert_string_equal(text.data + 49990, "9998 9999 ");
    text_free(&text);
    assert_null(text.data);
    assert_false(text_reserve(&text, (size_t)-1));
}

static void json_strings(void **state)
{
    struct text text = {0};

    (void)state;
    text_add_json(&text, "a\"\\\n\x01\x7f\xc3\xa4\xff\xed\xa0\x80z", 13);
    assert_string_equal(text.data,
                        "\"a\\\"\\\\\\u000a\\u0001\\u007f\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
    text_free(&text);
    text_add_json(&text, NULL, 0);
    assert_string_equal(text.data, "\"\"");
    text_free(&text);
}

static void masks(const char *str, const char *expected)
{
    char out[200];

    text_mask(out, sizeof out, str);
    assert_string_equal(out, expected);
}

static void passwords_are_masked(void **state)
{
    char small[12];

    (void)state;
    masks("amqp://guest:secret@host:5672/%2f", "amqp://guest:***@host:5672/%2f");
    masks("amqp://guest:se/cr@e?t@host/v", "amqp://guest:***@host/v");
    masks("amqp://host:5672/v", "amqp://host:5672/v");
    masks("amqp://guest@host:5672", "amqp://guest@host:5672");
    masks("amqp://:s@h and amqp://u:t@i.", "amqp://:***@h and amqp://u:***@i.");
    masks("no url: user:secret@host", "no url: user:secret@host");
    masks("a\nb\x1b[0m\xff", "a?b?[0m?");
    text_mask(small, sizeof small, "amqp://u:secret@h");
    assert_null(strstr(small, "s@"));
    assert_true(strlen(small) < sizeof small);
}

static void nearest(void **state)
{
    static const char *const names[] = {"exchange", "routing_key", "queue", "url", "start"};
    enum { COUNT = sizeof names / sizeof *names };

    (void)state;
    assert_string_equal(nearest_name("excahnge", names, COUNT), "exchange");
    assert_string_equal(nearest_name("routingkey", names, COUNT), "routing_key");
    assert_string_equal(nearest_name("Queue", names, COUNT), "queue");
    assert_string_equal(nearest_name("ulr", names, COUNT), "url");
    assert_null(nearest_name("topic", names, COUNT));
    assert_null(nearest_name("", names, COUNT));
    assert_null(nearest_name("x", names, COUNT));
}

static void arena_gives_zeroed_aligned_memory(void **state)
{
    struct arena *arena = arena_new();

    (void)state;
    assert_non_null(arena);
    for (size_t len = 0; len < 20000; len += 97) {
        unsigned char *data = arena_alloc(arena, len);
        assert_non_null(data);
        assert_int_equal((uintptr_t)data % 16, 0);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(data[i], 0);
        memset(data, 0xff, len);
    }
    assert_null(arena_alloc(arena, (size_t)-1));
    assert_string_equal(arena_strndup(arena, "abc", 2), "ab");
    arena_free(arena);
    arena_free(NULL);
}

/* What one event prints. */
static const char *logged(bool json, const struct bailey_kv *pairs, size_t count)
{
    static char line[LOG_LINE_MAX + 1];
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    log_set_fd(fds[1]);
    log_set_json(json);
    bailey_log_event(BAILEY_LOG_WARN, "delivery.refused", pairs, count);
    log_set_fd(STDERR_FILENO);
    ssize_t len = read(fds[0], line, LOG_LINE_MAX);
    assert_true(len > 25);
    line[len] = '\0';
    close(fds[0]);
    close(fds[1]);
    return line;
}

static void log_lines(void **state)
{
    struct bailey_error err = {0};

    (void)state;
    bailey_fail_native(&err, BAILEY_ERR_TRANSIENT, "kafka", 7, "queue %s", "full");
    bailey_hint(&err, "wait");
    const struct bailey_kv pairs[] = {
        kv_str("route", "orders"),
        kv_str("empty", ""),
        kv_str("none", NULL),
        kv_str("odd", "a b=\"c\"\n\x1b"),
        kv_i64("n", -3),
        kv_u64("attempt", UINT64_MAX),
        kv_ms("delay", 1500),
        kv_error(&err),
        kv_bytes("key", "a\0\xff", 3),
    };
    enum { COUNT = sizeof pairs / sizeof *pairs };
    const char *line = logged(false, pairs, COUNT);
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24,
                        " warn delivery.refused route=orders empty=\"\" none=null odd=\"a b=\\\"c\\\"\\n\\x1b\" n=-3 "
                        "attempt=18446744073709551615 delay=1500ms error=\"queue full\" class=transient "
                        "hint=wait key=\"a\\x00\\xff\"\n");
    line = logged(true, pairs, COUNT);
    assert_string_equal(
        strstr(line, "\"level\""),
        "\"level\":\"warn\",\"event\":\"delivery.refused\",\"route\":\"orders\",\"empty\":\"\",\"none\":null,"
        "\"odd\":\"a b=\\\"c\\\"\\n\\u001b\",\"n\":-3,\"attempt\":18446744073709551615,\"delay_ms\":1500,"
        "\"error\":\"queue full\",\"class\":\"transient\",\"hint\":\"wait\",\"key\":\"a\\u0000\\ufffd\"}\n");
}

static void log_lines_are_cut_and_stay_whole(void **state)
{
    static char large[3 * LOG_LINE_MAX];

    (void)state;
    for (int json = 0; json < 2; json++) {
        for (size_t len = LOG_LINE_MAX - 200; len < LOG_LINE_MAX + 50; len++) {
            memset(large, json ? '"' : 'x', sizeof large);
            large[len] = '\0';
            const struct bailey_kv pairs[] = {kv_str("a", large), kv_str("b", "tail"), kv_u64("c", 1)};
            const char *line = logged(json, pairs, 3);
            size_t got = strlen(line);
            assert_true(got <= LOG_LINE_MAX);
            assert_int_equal(line[got - 1], '\n');
            if (json)
                assert_int_equal(line[got - 2], '}');
            if (strstr(line, json ? "\"c\":1" : " c=1") == NULL)
                assert_non_null(strstr(line, json ? ",\"truncated\":true}\n" : " truncated=true\n"));
        }
    }
}

static void log_levels(void **state)
{
    (void)state;
    log_set_level(BAILEY_LOG_WARN);
    assert_false(bailey_log_wants(BAILEY_LOG_INFO));
    assert_true(bailey_log_wants(BAILEY_LOG_WARN));
    assert_true(bailey_log_wants(BAILEY_LOG_ERROR));
    log_set_level(BAILEY_LOG_INFO);
}

static void errors_are_cut_to_their_size(void **state)
{
    char large[1000];
    struct bailey_error err = {0};

    (void)state;
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    assert_false(bailey_fail(&err, BAILEY_ERR_CONFIG, "%s", large));
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_false(bailey_fail(&err, BAILEY_ERR_CONFIG, "again: %s", err.text)); /* its own text as an argument */
    assert_int_equal(strncmp(err.text, "again: xxx", 10), 0);
    assert_false(bailey_hint(&err, "%s", large));
    assert_int_equal(strlen(err.hint), sizeof err.hint - 1);
    assert_false(bailey_fail(NULL, BAILEY_ERR_CONFIG, "x"));
    assert_string_equal(bailey_error_kind_name(BAILEY_ERR_CONFIG), "configuration");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_grows),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(passwords_are_masked),
        cmocka_unit_test(nearest),
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(log_lines),
        cmocka_unit_test(log_lines_are_cut_and_stay_whole),
        cmocka_unit_test(log_levels),
        cmocka_unit_test(errors_are_cut_to_their_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
