/* fuzz_value.c: the first byte is a kind, the rest is its text: what is accepted must format to a text that gives an equal
 * value, and must survive being copied. */
#include <stdint.h>
#include <stdlib.h>

#include "message/pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(struct bailey_message *msg, const struct bailey_value *value)
{
    struct bailey_value copy = bailey_value_copy(msg, value), back;
    struct bailey_bytes text = bailey_value_format(msg, &copy);
    struct bailey_header header = {.name = bailey_bytes_of("x"), .value = *value};

    if (!bailey_value_parse(msg, value->kind, text, &back))
        abort();
    if (!bailey_bytes_equal(bailey_value_format(msg, &back), text))
        abort();
    msg->headers = &header;
    msg->header_count = 1;
    if (message_size(msg) < MESSAGE_COST || bailey_message_header(msg, header.name) != &header)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bailey_pool *pool;
    struct bailey_message *msg;
    struct bailey_value value;

    if (size == 0)
        return 0;
    pool = message_pool_new();
    msg = message_new(pool);
    if (bailey_value_parse(msg, (enum bailey_kind)data[0], (struct bailey_bytes){data + 1, size - 1}, &value))
        check_accepted(msg, &value);
    (void)bailey_utf8_valid((struct bailey_bytes){data + 1, size - 1});
    bailey_message_unref(msg);
    message_pool_free(pool);
    return 0;
}
