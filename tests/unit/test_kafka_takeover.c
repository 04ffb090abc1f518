/* Whose commit it is, and which messages another process may have sent: the marks are for those only, and survive our own end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/kafka/takeover.h"

static enum takeover_owner owner_of(struct bailey_bytes metadata)
{
    return takeover_owner(&metadata, "shop-1");
}

static bool is_needed(const char *metadata)
{
    return owner_of(bailey_bytes_of(metadata)) == TAKEOVER_ANOTHERS;
}

static void our_own_commit_is_taken_over_by_nobody(void **state)
{
    const struct takeover none = {0};
    char *metadata = takeover_metadata(&none, "shop-1", 100);

    (void)state;
    assert_string_equal(metadata, "bailey 1 shop-1");
    assert_int_equal(owner_of(bailey_bytes_of(metadata)), TAKEOVER_OURS);
    free(metadata);
}

static void every_other_commit_is_taken_over(void **state)
{
    static const char *const others[] = {
        "",         "bailey 1 shop-2", "bailey 1 shop", "bailey 1 shop-10", "bailey 2 shop-1",
        "bailey 1", "shop-1",          "consumer-1",    "bailey 1 shop-1 ", "Bailey 1 shop-1"};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_true(is_needed(others[i]));
    assert_int_equal(owner_of(BAILEY_NULL_BYTES), TAKEOVER_ANOTHERS);
    assert_int_equal(owner_of((struct bailey_bytes){(const uint8_t *)"bailey 1 shop-1\0", 16}), TAKEOVER_ANOTHERS);
}

static void what_nobody_committed_is_nobody_s(void **state)
{
    (void)state;
    assert_int_equal(takeover_owner(NULL, "shop-1"), TAKEOVER_NOBODYS);
}

/* Else whoever has it next could not tell that we may have sent some of it. */
static void what_is_not_ours_is_claimed(void **state)
{
    (void)state;
    assert_false(takeover_begin(TAKEOVER_OURS, 1000, 3).claims);
    assert_true(takeover_begin(TAKEOVER_NOBODYS, 1000, 3).claims);
    assert_true(takeover_begin(TAKEOVER_ANOTHERS, 1000, 3).claims);
}

static void only_what_another_had_is_marked(void **state)
{
    struct takeover ours = takeover_begin(TAKEOVER_OURS, 1000, 3), nobody_s = takeover_begin(TAKEOVER_NOBODYS, 1000, 3),
                    another_s = takeover_begin(TAKEOVER_ANOTHERS, 1000, 3);

    (void)state;
    assert_false(takeover_marks(&ours, 10));
    assert_false(takeover_marks(&nobody_s, 10));
    assert_true(takeover_marks(&another_s, 10));
    assert_int_equal(another_s.end, 1000);
    assert_int_equal(another_s.left, 2);
}

/* The claim itself says whose it is: a claim of what nobody had is like any commit of ours, for ourselves too. */
static void a_claim_says_whose_it_is(void **state)
{
    struct takeover takeover = takeover_begin(TAKEOVER_NOBODYS, 0, 3);
    char *metadata = takeover_metadata(&takeover, "shop-1", 0);
    struct bailey_bytes bytes = bailey_bytes_of(metadata);

    (void)state;
    assert_int_equal(takeover_owner(&bytes, "shop-1"), TAKEOVER_OURS);
    assert_int_equal(takeover_owner(&bytes, "shop-2"), TAKEOVER_ANOTHERS);
    free(metadata);
}

static void the_first_messages_up_to_the_credit_are_marked(void **state)
{
    struct takeover takeover = {.end = 1000, .left = 3};

    (void)state;
    assert_true(takeover_marks(&takeover, 10));
    assert_true(takeover_marks(&takeover, 11));
    assert_true(takeover_marks(&takeover, 15)); /* offsets have gaps: messages count */
    for (int64_t offset = 16; offset < 2000; offset++)
        assert_false(takeover_marks(&takeover, offset));
}

static void what_came_later_is_not_marked(void **state)
{
    struct takeover takeover = {.end = 12, .left = 100};

    (void)state;
    assert_true(takeover_marks(&takeover, 10));
    assert_true(takeover_marks(&takeover, 11));
    assert_false(takeover_marks(&takeover, 12));
    assert_false(takeover_marks(&takeover, 13));
}

/* A rebalance or a crash before they are settled must not make them ours: they are marked again. */
static void commits_say_so_until_the_marked_ones_are_settled(void **state)
{
    struct takeover takeover = {.end = 1000, .left = 2};
    static const struct {
        int64_t low;
        bool is_needed;
    } rows[] = {{10, true}, {11, true}, {20, true}, {21, false}, {1000, false}};

    (void)state;
    takeover_marks(&takeover, 10);
    takeover_marks(&takeover, 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *metadata = takeover_metadata(&takeover, "shop-1", rows[i].low);

        assert_int_equal(is_needed(metadata), rows[i].is_needed);
        free(metadata);
    }
}

static void nothing_waits_and_nothing_is_taken_over(void **state)
{
    struct takeover takeover = {.end = 10, .left = 100}; /* another one's commit, at the end of the log */
    char *metadata = takeover_metadata(&takeover, "shop-1", 10);

    (void)state;
    assert_false(is_needed(metadata));
    assert_false(takeover_marks(&takeover, 10));
    free(metadata);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_commit_is_taken_over_by_nobody),
        cmocka_unit_test(every_other_commit_is_taken_over),
        cmocka_unit_test(what_nobody_committed_is_nobody_s),
        cmocka_unit_test(what_is_not_ours_is_claimed),
        cmocka_unit_test(only_what_another_had_is_marked),
        cmocka_unit_test(a_claim_says_whose_it_is),
        cmocka_unit_test(the_first_messages_up_to_the_credit_are_marked),
        cmocka_unit_test(what_came_later_is_not_marked),
        cmocka_unit_test(commits_say_so_until_the_marked_ones_are_settled),
        cmocka_unit_test(nothing_waits_and_nothing_is_taken_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
