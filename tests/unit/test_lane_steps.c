/* core/steps.c: keys and addresses from templates, and messages that wait for long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lane_rig.h"
#include "virtual_clock.h"

/* ---- Steps ---- */

static struct template *parse(struct lane_rig *rig, const char *text)
{
    struct bailey_error err;
    struct template *tmpl = template_parse(rig->arena, text, NULL, &err);

    assert_non_null(tmpl);
    return tmpl;
}

static void push_keyed(struct lane_rig *rig, uint64_t number, const char *key, const char *id)
{
    struct bailey_message *msg = lane_rig_message(rig, number, 5);

    if (key != NULL)
        msg->key = bailey_message_copy(msg, key, strlen(key));
    if (id != NULL)
        lane_rig_set_header(msg, "id", id);
    bailey_receive(rig->source, &msg, 1);
}

static void test_steps_fill_key_and_addresses(void **state)
{
    static const char *const texts[] = {"q.${key}", "${route}/${header.id:-none}", "${key}-${header.id:-}"};
    struct lane_rig *rig = *state;
    struct lane_options options = lane_rig_options(rig);
    struct bailey_template slots[3];

    for (int i = 0; i < 3; i++) { /* more than a delivery holds inline */
        rig->templates[i] = parse(rig, texts[i]);
        slots[i] = (struct bailey_template){.slot = i};
    }
    options.templates = rig->templates;
    options.template_count = 3;
    options.key = parse(rig, "${header.id:-k}");
    lane_rig_start(rig, &options);
    push_keyed(rig, 0, "old", "new");
    push_keyed(rig, 1, "old", NULL);
    push_keyed(rig, 2, NULL, "third");
    assert_int_equal(rig->held_count, 3);
    assert_true(bailey_bytes_is(rig->held[0]->message->key, "new"));
    assert_true(bailey_bytes_is(rig->held[1]->message->key, "k"));
    assert_true(bailey_bytes_is(bailey_delivery_text(rig->held[0], &slots[0]), "q.new"));
    assert_true(bailey_bytes_is(bailey_delivery_text(rig->held[1], &slots[1]), "test/none"));
    assert_true(bailey_bytes_is(bailey_delivery_text(rig->held[2], &slots[2]), "third-third"));
    assert_int_equal(rig->held[2]->message->position, 2);
    assert_int_equal(rig->held[2]->message->body.len, 5);
    lane_rig_confirm_all(rig);
    assert_int_equal(rig->settlements, 3);
}

static void test_what_cannot_be_addressed_is_refused(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = lane_rig_options(rig);

    rig->templates[0] = parse(rig, "q.${key}");
    options.templates = rig->templates;
    options.template_count = 1;
    lane_rig_start(rig, &options);
    push_keyed(rig, 0, "a", NULL);
    push_keyed(rig, 1, NULL, NULL);       /* no key */
    push_keyed(rig, 2, "\xff\xfe", NULL); /* no UTF-8 */
    push_keyed(rig, 3, "b", NULL);
    lane_rig_assert_held(rig, 2, (uint64_t[]){0, 3});
    assert_int_equal(rig->status.refused[BAILEY_ERR_PERMANENT], 2);
    lane_rig_settle_down(rig);
    assert_int_equal(rig->status.waiting, 2);
    lane_rig_confirm_all(rig);
    assert_int_equal(rig->settlements, 2);
    UNTIL(rig->loop, rig->status.refused[BAILEY_ERR_PERMANENT] == 4); /* tried again later, alone */
    assert_int_equal(rig->sent, 2);
    lane_drain(rig->lane);
    UNTIL(rig->loop, rig->ended == 1);
    assert_int_equal(rig->settled[1][BAILEY_RELEASED] + rig->settled[2][BAILEY_RELEASED], 2);
}

/* A template that refers to the key is filled once, however often the message is tried. */
static void test_a_key_is_set_once(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = lane_rig_options(rig);

    options.key = parse(rig, "x-${key}");
    lane_rig_start(rig, &options);
    push_keyed(rig, 0, "k", NULL);
    assert_true(bailey_bytes_is(rig->held[0]->message->key, "x-k"));
    lane_rig_refuse(rig, 0, BAILEY_ERR_TRANSIENT);
    UNTIL(rig->loop, rig->sent == 2);
    assert_true(bailey_bytes_is(rig->held[0]->message->key, "x-k"));
    lane_rig_confirm_all(rig);
}

/* Addresses point into the message; one that waits is copied out of its connector's buffer and filled anew. */
static void test_a_waiting_message_pins_no_buffer(void **state)
{
    struct lane_rig *rig = *state;
    struct lane_options options = lane_rig_options(rig);
    struct bailey_template slot = {.slot = 0};
    char *buffer = strdup("keybody");
    struct bailey_message *msg;

    rig->templates[0] = parse(rig, "${key}");
    options.templates = rig->templates;
    options.template_count = 1;
    lane_rig_start(rig, &options);
    rig->room = 0;
    msg = bailey_message_new(rig->source);
    msg->key = (struct bailey_bytes){(uint8_t *)buffer, 3};
    msg->body = (struct bailey_bytes){(uint8_t *)buffer + 3, 4};
    msg->position = 9;
    bailey_message_keep(msg, (void (*)(void *, void *))(void (*)(void))free, buffer, NULL);
    bailey_receive(rig->source, &msg, 1);
    int64_t until_ms = time_ms + 1600; /* the tick after the first second */

    UNTIL(rig->loop, time_ms > until_ms);
    rig->room = SIZE_MAX;
    bailey_writable(rig->sink);
    UNTIL(rig->loop, rig->held_count == 1);
    assert_ptr_not_equal(rig->held[0]->message->key.data, buffer); /* freed by now: the sanitizer would know */
    assert_true(bailey_bytes_is(rig->held[0]->message->key, "key"));
    assert_true(bailey_bytes_is(rig->held[0]->message->body, "body"));
    assert_true(bailey_bytes_is(bailey_delivery_text(rig->held[0], &slot), "key"));
    lane_rig_confirm(rig, 9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lane_rig_new, lane_rig_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_steps_fill_key_and_addresses),
        TEST(test_what_cannot_be_addressed_is_refused),
        TEST(test_a_key_is_set_once),
        TEST(test_a_waiting_message_pins_no_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
