/* fuzz_codec.c: what is accepted as a kept message must be written as the same bytes, and survive being copied out. */
#include <stdint.h>
#include <stdlib.h>

#include "message/codec.h"
#include "message/pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void release(void *owner, void *cookie)
{
    (void)owner;
    (void)cookie;
}

static void check_same(const struct bailey_message *msg, const uint8_t *data, size_t size)
{
    uint8_t *again = malloc(size);

    if (again == NULL || message_encoded_size(msg) != size)
        abort();
    message_encode(msg, again);
    if (memcmp(again, data, size) != 0)
        abort();
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bailey_pool *pool = message_pool_new();
    struct bailey_message *msg = message_new(pool);
    struct bailey_error err;

    if (message_decode(msg, (struct bailey_bytes){data, size}, &err)) {
        check_same(msg, data, size);
        if (msg->size != message_size(msg))
            abort();
        bailey_message_keep(msg, release, NULL, NULL);
        msg = bailey_message_detach(msg);
        check_same(msg, data, size);
    }
    bailey_message_unref(msg);
    message_pool_free(pool);
    return 0;
}
