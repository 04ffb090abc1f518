/* loop/output.c: what is added comes out byte for byte, whatever the sizes of the additions and of the writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loop/output.h"

static void short_additions_become_one_piece(void **state)
{
    struct output output = {0};
    struct iovec iov[4];

    (void)state;
    for (int i = 0; i < 100; i++)
        output_append(&output, "0123456789", 10);
    assert_int_equal(output.len, 1000);
    assert_int_equal(output_peek(&output, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 1000);
    output_free(&output);
}

static void long_additions_are_not_copied(void **state)
{
    static char body[OUTPUT_COPY_MAX + 1];
    struct output output = {0};
    struct iovec iov[4];

    (void)state;
    output_append(&output, "head", 4);
    output_append(&output, body, sizeof body);
    output_append(&output, "tail", 4);
    assert_int_equal(output_peek(&output, iov, 4), 3);
    assert_ptr_equal(iov[1].iov_base, body);
    output_free(&output);
}

static void nothing_is_kept_when_all_is_written(void **state)
{
    struct output output = {0};

    (void)state;
    memcpy(output_reserve(&output, 100000), "abc", 3);
    output_commit(&output, 3);
    output_written(&output, 3);
    assert_null(output.current);
    assert_int_equal(output.len, 0);
    output_free(&output);
}

/* Random additions and partial writes against one flat copy. */
static void bytes_come_out_as_they_were_added(void **state)
{
    enum { TOTAL = 4 << 20 };
    struct output output = {0};
    uint8_t *source = malloc(TOTAL), *seen = malloc(TOTAL);
    size_t added = 0, written = 0;

    (void)state;
    srand(11);
    for (size_t i = 0; i < TOTAL; i++)
        source[i] = (uint8_t)rand();
    while (written < TOTAL) {
        size_t len = (size_t)rand() % (rand() % 10 ? 600 : 60000);
        struct iovec iov[8];

        if (added + len > TOTAL)
            len = TOTAL - added;
        if (rand() % 2) {
            memcpy(output_reserve(&output, len + 10), source + added, len);
            output_commit(&output, len);
        } else {
            output_append(&output, source + added, len);
        }
        added += len;
        assert_int_equal(output.len, added - written);
        if (rand() % 3 && added < TOTAL)
            continue;
        int count = output_peek(&output, iov, 8);
        size_t room = (size_t)rand() % 50000 + 1, done = 0;

        for (int i = 0; i < count && done < room; i++) {
            size_t part = iov[i].iov_len < room - done ? iov[i].iov_len : room - done;

            memcpy(seen + written + done, iov[i].iov_base, part);
            done += part;
        }
        output_written(&output, done);
        written += done;
    }
    assert_memory_equal(source, seen, TOTAL);
    output_free(&output);
    free(source);
    free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_additions_become_one_piece),
        cmocka_unit_test(long_additions_are_not_copied),
        cmocka_unit_test(nothing_is_kept_when_all_is_written),
        cmocka_unit_test(bytes_come_out_as_they_were_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
