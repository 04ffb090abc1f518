/* A small table, searched as a whole: an end fails, connects and begins to work seldom, and a broker has few failures at a time. When
 * it is full the oldest entry makes room: then one failure more is logged than must be, and none less.
 */
#include <bailey/told.h>

#include <stdio.h>
#include <string.h>

static bool is_of(const struct bailey_told_entry *failure, struct bailey_told_end end)
{
    return strcmp(failure->end.route, end.route) == 0 && strcmp(failure->end.purpose, end.purpose) == 0;
}

static void forget(struct bailey_told *told, size_t i)
{
    told->entries[i] = told->entries[--told->count];
}

static struct bailey_told_entry *add(struct bailey_told *told)
{
    return &told->entries[told->count < BAILEY_TOLD_MAX ? told->count++ : told->next++ % BAILEY_TOLD_MAX];
}

bool bailey_told_failure(struct bailey_told *told, struct bailey_told_end end, enum bailey_told_phase phase,
                         const char *text)
{
    struct bailey_told_entry *failure;
    bool is_known = false;

    for (size_t i = 0; i < told->count; i++) {
        failure = &told->entries[i];
        if (strncmp(failure->text, text, sizeof failure->text - 1) != 0)
            continue;
        is_known = true;
        if (phase == BAILEY_TOLD_BEFORE || is_of(failure, end))
            return false;
    }
    failure = add(told);
    *failure = (struct bailey_told_entry){.end = end, .phase = phase};
    snprintf(failure->text, sizeof failure->text, "%s", text);
    return !is_known;
}

bool bailey_told_connected(struct bailey_told *told, struct bailey_told_end end)
{
    bool is_news = true;

    for (size_t i = told->count; i-- > 0;) {
        struct bailey_told_entry *failure = &told->entries[i];

        if (failure->phase == BAILEY_TOLD_BEFORE) {
            forget(told, i);
        } else if (is_of(failure, end)) {
            is_news &= failure->phase != BAILEY_TOLD_REFUSED && !failure->is_answered;
            failure->is_answered = true;
        }
    }
    return is_news;
}

void bailey_told_works(struct bailey_told *told, struct bailey_told_end end)
{
    for (size_t i = told->count; i-- > 0;)
        if (told->entries[i].phase != BAILEY_TOLD_BEFORE && is_of(&told->entries[i], end))
            forget(told, i);
}
