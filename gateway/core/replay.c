/* Takes off what dead_letter.c put on. */
#include "core/replay.h"

#include <stdlib.h>
#include <string.h>

#include "core/dead_letter.h"
#include "core/identity.h"
#include "core/lane.h"
#include "message/pool.h"

enum { REPLAYS_MAX = 255 };

static struct bailey_bytes text_of(const struct bailey_message *msg, const char *name)
{
    const struct bailey_header *header = bailey_message_header(msg, bailey_bytes_of(name));

    if (header == NULL || (header->value.kind != BAILEY_KIND_STRING && header->value.kind != BAILEY_KIND_BYTES))
        return BAILEY_NULL_BYTES;
    return header->value.bytes;
}

unsigned replay_count(const struct bailey_message *letter)
{
    struct bailey_bytes text = text_of(letter, DEAD_LETTER_REPLAYS);
    unsigned count = 0;

    for (size_t i = 0; i < text.len && count < REPLAYS_MAX; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        count = count * 10 + (text.data[i] - '0');
    }
    return count < REPLAYS_MAX ? count : REPLAYS_MAX;
}

/* One that dies again has another time and count: it is another dead letter. So is one that a crash wrote a second time, since an id alone
 * may also come back as another message: when its window is over, or its topic made anew. That one must not be taken for replayed. */
static struct id name_of(const struct bailey_message *letter)
{
    static const struct id_key no_secret = {{0}};
    const char *const parts[] = {DEAD_LETTER_ID, DEAD_LETTER_PREFIX "last-failed", DEAD_LETTER_REPLAYS};
    uint8_t text[256];
    size_t used = 0;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct bailey_bytes part = text_of(letter, parts[i]);
        size_t len = part.len < 64 ? part.len : 64;

        if (len > 0)
            memcpy(text + used, part.data, len);
        used += len;
        text[used++] = '/';
    }
    return id_of(&no_secret, (struct bailey_bytes){text, used});
}

void replay_unwrap(const struct lane_options *options, struct bailey_host *host, struct delivery *dlv)
{
    struct bailey_message *letter = dlv->pub.message;

    dlv->pub.possible_duplicate = false; /* that others have looked at it makes it no duplicate */
    if (text_of(letter, DEAD_LETTER_ID).data == NULL) {
        dlv->kept_as = identity_of(options, host, dlv);
        return;
    }
    dlv->kept_as = name_of(letter);
    dlv->replays = (uint8_t)(replay_count(letter) < REPLAYS_MAX ? replay_count(letter) + 1 : REPLAYS_MAX);
    dlv->pub.message = message_with_headers(letter, text_of(letter, DEAD_LETTER_KEY), DEAD_LETTER_PREFIX, NULL, 0);
    dlv->is_keyed = bailey_bytes_is(text_of(letter, DEAD_LETTER_KEYED), "1");
    if (bailey_bytes_is(text_of(letter, DEAD_LETTER_PREFIX "class"), "expired"))
        dlv->pub.message->expires_at_ms = 0; /* whoever replays it wants it all the same */
    bailey_message_unref(letter);            /* the message holds it */
}
