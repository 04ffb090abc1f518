/* base/nearest.c: optimal string alignment distance over short names, with three rows on the stack.
 *
 * Near enough is a third of the length, and never less than one edit. Longer names than NAME_MAX_LEN have no
 * neighbour: what is given may be hostile.
 */
#include "base/nearest.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_LEN = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int lower(char c)
{
    return tolower((unsigned char)c);
}

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b_len; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t cost = lower(a[i - 1]) != lower(b[j - 1]);
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + cost);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_len];
}

const char *nearest_name(const char *given, const char *const names[], size_t count)
{
    size_t len = strlen(given), best = len / 3 > 1 ? len / 3 : 1;
    const char *found = NULL;

    if (len < 2 || len > NAME_MAX_LEN)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t name_len = strlen(names[i]);
        if (name_len > NAME_MAX_LEN || name_len > len + best || len > name_len + best)
            continue;
        size_t edits = distance(given, len, names[i], name_len);
        if (edits < best || (edits == best && found == NULL)) {
            best = edits;
            found = names[i];
        }
    }
    return found;
}
