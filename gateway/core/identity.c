/* An id, a position, or chance. */
#include "core/identity.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/lane.h"

enum { TEXT_MAX = 512 };

static struct id of_position(const char *route, const struct bailey_origin *origin)
{
    static const struct id_key no_secret = {{0}}; /* positions are the broker's, no producer chooses them */
    char text[TEXT_MAX];
    int len = snprintf(text, sizeof text, "%s/%.*s/%" PRId32 "/%" PRId64, route, (int)origin->topic.len,
                       (const char *)origin->topic.data, origin->partition, origin->offset);
    size_t used = len < TEXT_MAX ? (size_t)len : TEXT_MAX - 1;

    return id_of(&no_secret, (struct bailey_bytes){(const uint8_t *)text, used});
}

struct id identity_of(const struct lane_options *options, struct bailey_host *host, const struct delivery *dlv)
{
    const struct bailey_origin *origin = &dlv->pub.message->origin;

    if (dlv->holds_slot)
        return dlv->slot.id;
    if (origin->offset >= 0)
        return of_position(options->route, origin);
    return (struct id){{bailey_random(host), bailey_random(host)}};
}
