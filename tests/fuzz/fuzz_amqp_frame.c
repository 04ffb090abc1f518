/* The frame splitter: whatever the bytes, what it hands out lies within them and passes its own guards; cut anywhere,
 * it gives the same frames. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/amqp/frame.h"

enum { FRAME_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t used = 0;

    for (;;) {
        struct amq_frame frame, again;
        const char *why = NULL;
        enum amq_split split = amq_frame_split(data + used, size - used, FRAME_MAX, &frame, &why);

        assert((split == AMQ_SPLIT_BAD) == (why != NULL));
        if (split != AMQ_SPLIT_FRAME)
            return 0;
        assert(frame.size <= FRAME_MAX - AMQ_FRAME_OVERHEAD);
        assert(frame.payload == data + used + AMQ_FRAME_HEAD);
        assert(frame.payload + frame.size < data + size);
        assert(frame.type != AMQ_FRAME_METHOD || frame.size >= 4);
        assert(frame.type != AMQ_FRAME_HEADER || frame.size >= 14);
        /* One byte less, in memory of its own: more is asked for, and nothing is read beyond. */
        size_t len = frame.size + AMQ_FRAME_OVERHEAD - 1;
        uint8_t *cut = malloc(len);

        if (cut == NULL)
            return 0;
        memcpy(cut, data + used, len);
        assert(amq_frame_split(cut, len, FRAME_MAX, &again, &why) == AMQ_SPLIT_MORE);
        free(cut);
        used += frame.size + AMQ_FRAME_OVERHEAD;
    }
}
