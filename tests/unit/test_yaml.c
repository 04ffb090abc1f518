/* test_yaml.c: the tree: its shape, and where each node says that it stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/yaml.h"

static struct arena *arena;
static struct findings findings;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    findings_init(&findings, "f.yaml");
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    findings_fini(&findings);
    arena_free(arena);
    return 0;
}

static const struct yaml_node *read_tree(const char *yaml)
{
    return yaml_read(arena, yaml, strlen(yaml), "/tmp", &findings);
}

static void stands_at(struct place at, unsigned line, unsigned column)
{
    if (at.line != line || at.column != column)
        fail_msg("stands at %u:%u, not at %u:%u", at.line, at.column, line, column);
}

static void nodes_know_their_place(void **state)
{
    const struct yaml_node *root = read_tree("a: 1\n\nb:\n  - x\n  - { c: 'y', d: [] }\n\xc3\xa4: \"z\"\n");

    (void)state;
    assert_non_null(root);
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->count, 3);
    stands_at(root->at, 1, 1);
    const struct yaml_node *a = yaml_child(root, "a"), *b = yaml_child(root, "b");
    stands_at(a->key_at, 1, 1);
    stands_at(a->at, 1, 4);
    assert_string_equal(a->text, "1");
    stands_at(b->at, 4, 3);
    assert_int_equal(b->kind, YAML_LIST);
    assert_int_equal(b->count, 2);
    stands_at(b->first->at, 4, 5);
    stands_at(b->last->at, 5, 5);
    stands_at(yaml_child(b->last, "c")->at, 5, 10);
    stands_at(yaml_child(b->last, "d")->at, 5, 18);
    stands_at(yaml_child(root, "\xc3\xa4")->at, 6, 4); /* columns are characters */
    assert_null(yaml_child(root, "x"));
    assert_null(yaml_child(a, "x"));
    assert_int_equal(root->height, 4);
    assert_int_equal(root->weight, 8);
}

static void places_inside_of_texts(void **state)
{
    const struct yaml_node *root =
        read_tree("a: plain ${x}\nb: \"quoted ${x}\"\nc: \"escaped\\t${x}\"\nd: >\n  folded\n  ${x}\n");

    (void)state;
    assert_non_null(root);
    stands_at(yaml_place(yaml_child(root, "a"), 6), 1, 10);
    stands_at(yaml_place(yaml_child(root, "b"), 7), 2, 12);
    stands_at(yaml_place(yaml_child(root, "c"), 8), 3, 4); /* not known: where it begins */
    stands_at(yaml_place(yaml_child(root, "d"), 7), 4, 4);
}

static void nulls_are_known(void **state)
{
    const struct yaml_node *root = read_tree("a:\nb: ~\nc: null\nd: \"\"\ne: 'null'\nf: nil\n");

    (void)state;
    assert_non_null(root);
    assert_true(yaml_child(root, "a")->null);
    assert_true(yaml_child(root, "b")->null);
    assert_true(yaml_child(root, "c")->null);
    assert_false(yaml_child(root, "d")->null);
    assert_false(yaml_child(root, "e")->null);
    assert_false(yaml_child(root, "f")->null);
}

static void an_alias_is_the_anchors_value(void **state)
{
    const struct yaml_node *root = read_tree("a: &x [1, { k: v }]\nb: *x\nc: [*x]\nd: &y t\ne: *y\n");

    (void)state;
    assert_non_null(root);
    const struct yaml_node *b = yaml_child(root, "b");
    assert_int_equal(b->count, 2);
    assert_string_equal(yaml_child(b->last, "k")->text, "v");
    assert_string_equal(b->next->key, "c");
    assert_null(yaml_child(root, "c")->first->next);
    assert_int_equal(root->weight, 1 + 4 + 4 + 1 + 4 + 1 + 1);
    stands_at(yaml_child(root, "e")->at, 5, 4);
    assert_int_equal(findings.counts.errors, 0);
}

static void the_two_forms_of_a_text(void **state)
{
    setenv("BAILEY_TEST_Y", "v${k}$", 1);
    const struct yaml_node *root = read_tree("a: \"${BAILEY_TEST_Y}{key}$${x}${topic}\"\n");

    (void)state;
    assert_non_null(root);
    const struct yaml_node *a = yaml_child(root, "a");
    assert_string_equal(a->text, "v${k}${key}${x}${topic}");
    assert_string_equal(a->pattern, "v\x01{k}\x01{key}$${x}${topic}");
    assert_string_equal(a->shown, "${BAILEY_TEST_Y}{key}$${x}${topic}");
}

static void anchors_have_a_limit(void **state)
{
    struct text yaml = {0};

    (void)state;
    for (int i = 0; i < 1001; i++)
        text_printf(&yaml, "k%d: &a%d v\n", i, i);
    assert_null(read_tree(yaml.data));
    assert_string_equal(findings.first->text, "more than 1000 anchors (&name)");
    assert_int_equal(findings.first->at.line, 1001);
    text_free(&yaml);
}

static void a_mistake_does_not_hide_the_next(void **state)
{
    unsetenv("BAILEY_TEST_UNSET");
    const struct yaml_node *root = read_tree("a: ${BAILEY_TEST_UNSET}\na: !x y\n<<: 1\nb: !file /nonexistent\n");

    (void)state;
    assert_non_null(root);
    findings_sort(&findings);
    assert_int_equal(findings.counts.errors, 5);
    assert_int_equal(findings.first->at.line, 1);
    assert_true(yaml_child(root, "a")->bad);
    assert_null(yaml_child(root, "<<"));
    assert_true(yaml_child(root, "b")->bad);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nodes_know_their_place),           TEST(places_inside_of_texts),  TEST(nulls_are_known),
        TEST(an_alias_is_the_anchors_value),    TEST(the_two_forms_of_a_text), TEST(anchors_have_a_limit),
        TEST(a_mistake_does_not_hide_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
