/* Ids for Artemis: plain ones can be read, and no two ids become one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/stomp/duplicate.h"

static const char *const scope = "route.orders"; /* 12 bytes, and the slash */

static struct bailey_bytes id_of(struct bailey_bytes id)
{
    static uint8_t text[STOMP_DUPLICATE_ID_MAX];

    return stomp_duplicate_id(text, scope, id);
}

static bool is_hashed(struct bailey_bytes id)
{
    static const char start[] = "route.orders/sha256:";
    struct bailey_bytes out = id_of(id);

    return out.len == sizeof start - 1 + 64 && memcmp(out.data, start, sizeof start - 1) == 0;
}

static void plain_ids_can_be_read(void **state)
{
    (void)state;
    assert_true(bailey_bytes_is(id_of(bailey_bytes_of("7:\\x")), "route.orders/7:\\x"));
    assert_true(bailey_bytes_is(id_of(bailey_bytes_of("gr\303\274n")), "route.orders/gr\303\274n"));
    assert_true(bailey_bytes_is(id_of(BAILEY_EMPTY_BYTES), "route.orders/"));
}

static void what_is_no_plain_text_is_hashed(void **state)
{
    (void)state;
    assert_true(is_hashed((struct bailey_bytes){(const uint8_t *)"\0", 1}));
    assert_true(is_hashed(bailey_bytes_of("a\nb")));
    assert_true(is_hashed(bailey_bytes_of("\x7f")));
    assert_true(is_hashed(bailey_bytes_of("\xff")));
    assert_true(
        bailey_bytes_is(id_of(bailey_bytes_of("\n")),
                        "route.orders/sha256:01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b"));
}

static void a_long_id_is_hashed(void **state)
{
    uint8_t longest[STOMP_DUPLICATE_ID_MAX];
    size_t fits = sizeof longest - strlen(scope) - 1;

    (void)state;
    memset(longest, 'i', sizeof longest);
    assert_int_equal(id_of((struct bailey_bytes){longest, fits}).len, STOMP_DUPLICATE_ID_MAX);
    assert_false(is_hashed((struct bailey_bytes){longest, fits}));
    assert_true(is_hashed((struct bailey_bytes){longest, fits + 1}));
}

/* Else a producer could write the hash of another's id, and Artemis would drop the other's message. */
static void nobody_can_write_the_hash_of_another_id(void **state)
{
    uint8_t first[STOMP_DUPLICATE_ID_MAX];
    struct bailey_bytes hashed, forged;

    (void)state;
    hashed = id_of(bailey_bytes_of("a\nb"));
    memcpy(first, hashed.data, hashed.len);
    forged = (struct bailey_bytes){first + strlen(scope) + 1, hashed.len - strlen(scope) - 1};
    assert_true(is_hashed(forged));
    assert_memory_not_equal(id_of(forged).data, first, hashed.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_ids_can_be_read),
        cmocka_unit_test(what_is_no_plain_text_is_hashed),
        cmocka_unit_test(a_long_id_is_hashed),
        cmocka_unit_test(nobody_can_write_the_hash_of_another_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
