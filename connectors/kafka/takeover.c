/* The metadata is "bailey 1 INSTANCE"; 1 is the version of this form. What says anything else is not ours. */
#include "takeover.h"

#include <stdio.h>
#include <stdlib.h>

#define OURS "bailey 1 "
#define TAKING_OVER ", taking over" /* no name of an instance has a comma */

enum takeover_owner takeover_owner(const struct bailey_bytes *metadata, const char *instance)
{
    size_t start = sizeof OURS - 1, len = strlen(instance);

    if (metadata == NULL)
        return TAKEOVER_NOBODYS;
    if (metadata->len != start + len || memcmp(metadata->data, OURS, start) != 0 ||
        memcmp(metadata->data + start, instance, len) != 0)
        return TAKEOVER_ANOTHERS;
    return TAKEOVER_OURS;
}

struct takeover takeover_begin(enum takeover_owner owner, int64_t end, int64_t credit)
{
    struct takeover takeover = {.claims = owner != TAKEOVER_OURS};

    if (owner == TAKEOVER_ANOTHERS) {
        takeover.end = end;
        takeover.left = credit;
    }
    return takeover;
}

bool takeover_marks(struct takeover *takeover, int64_t offset)
{
    if (takeover->left == 0 || offset >= takeover->end)
        return false;
    if (--takeover->left == 0)
        takeover->end = offset + 1;
    return true;
}

char *takeover_metadata(const struct takeover *takeover, const char *instance, int64_t low)
{
    char *text;

    if (asprintf(&text, OURS "%s%s", instance, low < takeover->end ? TAKING_OVER : "") < 0)
        abort();
    return text;
}
