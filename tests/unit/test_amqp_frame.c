/* The AMQP frame splitter and the guards before the decoders: what may pass, and above all what may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <amqp.h>

#include "connectors/amqp/frame.h"
#include "connectors/amqp/wire.h"

enum { FRAME_MAX = 4096 };

static enum amq_split split(const uint8_t *data, size_t len, struct amq_frame *frame)
{
    const char *why = NULL;
    enum amq_split result = amq_frame_split(data, len, FRAME_MAX, frame, &why);

    assert_true((result == AMQ_SPLIT_BAD) == (why != NULL));
    return result;
}

static size_t make_frame(uint8_t *at, int type, uint16_t channel, uint32_t size)
{
    amq_frame_head(at, (enum amq_frame_type)type, channel, size);
    memset(at + AMQ_FRAME_HEAD, 0x55, size);
    at[AMQ_FRAME_HEAD + size] = AMQ_FRAME_END;
    return size + AMQ_FRAME_OVERHEAD;
}

static void whole_frames_pass_and_parts_wait(void **state)
{
    static const struct {
        int type;
        uint16_t channel;
        uint32_t size;
    } good[] = {{1, 0, 4}, {1, 7, 100}, {2, 1, 14}, {3, 1, 0}, {3, 65535, FRAME_MAX - 8}, {8, 0, 0}};
    uint8_t data[FRAME_MAX + 8];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t len = make_frame(data, good[i].type, good[i].channel, good[i].size);
        struct amq_frame frame;

        for (size_t part = 0; part < len; part++)
            assert_int_equal(split(data, part, &frame), AMQ_SPLIT_MORE);
        assert_int_equal(split(data, len, &frame), AMQ_SPLIT_FRAME);
        assert_int_equal(frame.type, good[i].type);
        assert_int_equal(frame.channel, good[i].channel);
        assert_int_equal(frame.size, good[i].size);
        assert_ptr_equal(frame.payload, data + AMQ_FRAME_HEAD);
    }
}

static void bad_heads_are_refused_before_their_payload_comes(void **state)
{
    static const struct {
        int type;
        uint16_t channel;
        uint32_t size;
    } bad[] = {
        {0, 0, 4},           {4, 0, 4},  {9, 0, 4},  {255, 0, 4},           {1, 0, 0},          {1, 0, 3}, {2, 1, 13},
        {2, 1, 0},           {2, 0, 14}, {3, 0, 10}, {3, 1, FRAME_MAX - 7}, {3, 1, UINT32_MAX}, {8, 1, 0}, {8, 0, 1},
        {1, 0, 0x80000000u},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t head[AMQ_FRAME_HEAD];
        struct amq_frame frame;

        amq_frame_head(head, (enum amq_frame_type)bad[i].type, bad[i].channel, bad[i].size);
        assert_int_equal(split(head, sizeof head, &frame), AMQ_SPLIT_BAD);
    }
}

static void a_frame_needs_its_end_mark(void **state)
{
    uint8_t data[64];
    size_t len = make_frame(data, 1, 1, 10);
    struct amq_frame frame;

    (void)state;
    data[len - 1] = 0xCD;
    assert_int_equal(split(data, len, &frame), AMQ_SPLIT_BAD);
}

/* ---- Tables ---- */

/* A table that holds a table that holds ... `depth` levels in all. */
static size_t nested_table(uint8_t *at, int depth)
{
    size_t inner = 0;

    if (depth > 1) {
        inner = nested_table(at + 4 + 2 + 1, depth - 1) + 3;
        at[4] = 1;
        at[5] = 'k';
        at[6] = 'F';
    }
    amq_put_uint(at, 4, inner);
    return inner + 4;
}

static bool decodes(uint8_t *data, size_t len)
{
    amqp_pool_t pool;
    amqp_table_t table;
    size_t offset = 0;
    int status;

    init_amqp_pool(&pool, 4096);
    status = amqp_decode_table((amqp_bytes_t){len, data}, &pool, &table, &offset);
    empty_amqp_pool(&pool);
    return status == AMQP_STATUS_OK;
}

static void nesting_is_limited(void **state)
{
    uint8_t data[4096];
    size_t used, len = nested_table(data, BAILEY_VALUE_DEPTH_MAX);

    (void)state;
    assert_true(amq_table_guard(data, len, &used));
    assert_int_equal(used, len);
    assert_true(decodes(data, len));
    len = nested_table(data, BAILEY_VALUE_DEPTH_MAX + 1);
    assert_false(amq_table_guard(data, len, &used));
    len = nested_table(data, 500);
    assert_false(amq_table_guard(data, len, &used));
}

static size_t void_fields(uint8_t *at, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        memcpy(at + 4 + 3 * i, "\1kV", 3);
    amq_put_uint(at, 4, 3 * count);
    return 4 + 3 * count;
}

static void the_number_of_values_is_limited(void **state)
{
    uint8_t *data = malloc(4 + 3 * (BAILEY_VALUE_COUNT_MAX + 1));
    size_t used;

    (void)state;
    assert_non_null(data);
    assert_true(amq_table_guard(data, void_fields(data, BAILEY_VALUE_COUNT_MAX), &used));
    assert_false(amq_table_guard(data, void_fields(data, BAILEY_VALUE_COUNT_MAX + 1), &used));
    free(data);
}

/* One field of each kind, with a value of zeros of the kind's width. */
static size_t one_field(uint8_t *at, uint8_t kind)
{
    int width = amq_kind_width(kind);
    size_t len = width >= 0 ? (size_t)width : 4;

    memset(at, 0, 7 + len);
    amq_put_uint(at, 4, 3 + len);
    at[4] = 1;
    at[5] = 'k';
    at[6] = kind;
    return 7 + len;
}

static void known_kinds_pass_and_what_passes_can_be_decoded(void **state)
{
    uint8_t data[32];
    size_t used;
    int known = 0;

    (void)state;
    for (int kind = 0; kind < 256; kind++) {
        bool good = kind != 0 && strchr("tbBsuIilLfdDSxAFTV", kind) != NULL;
        size_t len;

        if (!good) {
            assert_int_equal(amq_kind_width((uint8_t)kind), -2);
            memcpy(data, "\0\0\0\3\1k", 6);
            data[6] = (uint8_t)kind;
            assert_false(amq_table_guard(data, 7, &used));
            continue;
        }
        known++;
        len = one_field(data, (uint8_t)kind);
        assert_true(amq_table_guard(data, len, &used));
        assert_true(decodes(data, len));
        for (size_t part = 0; part < len; part++)
            assert_false(amq_table_guard(data, part, &used));
        amq_put_uint(data, 4, len - 4 - 1); /* the table ends within the value */
        if (len > 7)
            assert_false(amq_table_guard(data, len, &used));
    }
    assert_int_equal(known, 18);
}

static void the_reader_stops_at_the_end(void **state)
{
    static const uint8_t data[] = {0, 0, 0, 5, 'a', 'b'};
    struct amq_reader r = {data, data + sizeof data, false};

    (void)state;
    assert_int_equal(amq_read_longstr(&r).len, 0);
    assert_true(r.bad);
    assert_int_equal(amq_read_u64(&r), 0);
    assert_int_equal(amq_read_u8(&r), 0);
}

static void the_writer_stops_at_the_end(void **state)
{
    uint8_t data[8] = {0};
    struct amq_writer w = {data, data + 4, false};

    (void)state;
    amq_write_uint(&w, 4, 0x01020304);
    assert_false(w.full);
    amq_write_uint(&w, 1, 9);
    assert_true(w.full);
    assert_int_equal(data[3], 4);
    assert_int_equal(data[4], 0);
    w = (struct amq_writer){data, data + 8, false};
    amq_write_shortstr(&w, (struct bailey_bytes){data, 256});
    assert_true(w.full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_frames_pass_and_parts_wait),
        cmocka_unit_test(bad_heads_are_refused_before_their_payload_comes),
        cmocka_unit_test(a_frame_needs_its_end_mark),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(the_number_of_values_is_limited),
        cmocka_unit_test(known_kinds_pass_and_what_passes_can_be_decoded),
        cmocka_unit_test(the_reader_stops_at_the_end),
        cmocka_unit_test(the_writer_stops_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
