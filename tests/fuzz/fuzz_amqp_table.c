/* Tables and properties from outside. What the guard lets pass rabbitmq-c can decode; what the connector makes of
 * properties can be encoded, and comes back the same. */
#include <amqp.h>
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/amqp/amqp_map.h"
#include "connectors/amqp/frame.h"
#include "message/pool.h"

enum { WALL_MS = 1700000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void guarded_tables_decode(const uint8_t *data, size_t size)
{
    size_t used = 0, offset = 0;
    amqp_pool_t pool;
    amqp_table_t table;

    if (!amq_table_guard(data, size, &used))
        return;
    assert(used <= size);
    init_amqp_pool(&pool, 4096);
    assert(amqp_decode_table((amqp_bytes_t){size, (void *)(uintptr_t)data}, &pool, &table, &offset) == AMQP_STATUS_OK);
    assert(offset == used);
    empty_amqp_pool(&pool);
}

/* Encode `msg`; returns the length, 0 if it cannot be. */
static size_t encode(const struct bailey_message *msg, uint8_t *out, size_t room)
{
    static const char *const names[] = {"x-death", "x-delay"};
    static const struct bailey_list list = {names, 2};
    struct amq_map_options options = {.pass_headers = &list};
    static const struct bailey_marks marks;
    struct amq_writer w = {out, out + room, false};

    return amq_map_encode(&w, msg, &options, WALL_MS, &marks) == AMQ_MAP_OK ? (size_t)(w.at - out) : 0;
}

static void properties_come_back(const uint8_t *data, size_t size)
{
    static uint8_t first[1 << 20], second[1 << 20];
    struct bailey_pool *pool = message_pool_new();
    struct bailey_message *msg = message_new(pool), *again = message_new(pool);
    bool null_body;
    size_t first_len, second_len;

    if (amq_map_decode(msg, (struct bailey_bytes){data, size}, WALL_MS, &null_body) != AMQ_UNMAP_BAD) {
        msg->body = null_body ? BAILEY_NULL_BYTES : BAILEY_EMPTY_BYTES;
        first_len = encode(msg, first, sizeof first);
        if (first_len > 0) {
            enum amq_unmap_result result =
                amq_map_decode(again, (struct bailey_bytes){first, first_len}, WALL_MS, &null_body);

            assert(result != AMQ_UNMAP_BAD);
            again->body = null_body ? BAILEY_NULL_BYTES : BAILEY_EMPTY_BYTES;
            second_len = encode(again, second, sizeof second);
            /* A table near the limits may pass them by what is added to it. */
            if (result == AMQ_UNMAP_OK && second_len > 0)
                assert(second_len == first_len && memcmp(first, second, first_len) == 0);
        }
    }
    bailey_message_unref(again);
    bailey_message_unref(msg);
    message_pool_free(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size + (size == 0)); /* so that a byte too much is seen */

    if (exact == NULL)
        return 0;
    memcpy(exact, data, size);
    guarded_tables_decode(exact, size);
    properties_come_back(exact, size);
    free(exact);
    return 0;
}
