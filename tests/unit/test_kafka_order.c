/* Which order a Kafka end can keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/kafka/kafka.h"

static void a_source_keeps_any_order_with_any_lanes(void **state)
{
    (void)state;
    for (int order = BAILEY_ORDER_NONE; order <= BAILEY_ORDER_STRICT; order++)
        assert_true(kafka_keeps_order(NULL, NULL, BAILEY_SOURCE, (enum bailey_order)order, 8, NULL));
}

static void a_sink_keeps_partitions_together_only_by_their_number(void **state)
{
    struct kafka_sink_settings sink = {.partition = KAFKA_BY_KEY};
    struct bailey_error err = {0};

    (void)state;
    assert_false(kafka_keeps_order(NULL, &sink, BAILEY_SINK, BAILEY_ORDER_PARTITION, 1, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    assert_non_null(strstr(err.hint, "partition: source"));
    assert_true(kafka_keeps_order(NULL, &sink, BAILEY_SINK, BAILEY_ORDER_NONE, 1, NULL));
    assert_true(kafka_keeps_order(NULL, &sink, BAILEY_SINK, BAILEY_ORDER_KEY, 1, NULL));
    assert_true(kafka_keeps_order(NULL, &sink, BAILEY_SINK, BAILEY_ORDER_STRICT, 1, NULL));
    sink.partition = KAFKA_BY_SOURCE;
    assert_true(kafka_keeps_order(NULL, &sink, BAILEY_SINK, BAILEY_ORDER_PARTITION, 4, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_keeps_any_order_with_any_lanes),
        cmocka_unit_test(a_sink_keeps_partitions_together_only_by_their_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
