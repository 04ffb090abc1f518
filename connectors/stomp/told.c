/* A small table, searched as a whole: an end fails, connects and begins to work seldom, and a broker has few failures at a time. When
 * it is full the oldest entry makes room: then one failure more is logged than must be, and none less.
 */
#include "told.h"

#include <stdio.h>
#include <string.h>

static bool is_of(const struct stomp_failure *failure, struct stomp_end end)
{
    return strcmp(failure->end.route, end.route) == 0 && strcmp(failure->end.purpose, end.purpose) == 0;
}

static void forget(struct stomp_told *told, size_t i)
{
    told->failures[i] = told->failures[--told->count];
}

static struct stomp_failure *add(struct stomp_told *told)
{
    return &told->failures[told->count < STOMP_TOLD_MAX ? told->count++ : told->next++ % STOMP_TOLD_MAX];
}

bool stomp_told_failure(struct stomp_told *told, struct stomp_end end, enum stomp_phase phase, const char *text)
{
    struct stomp_failure *failure;
    bool is_known = false;

    for (size_t i = 0; i < told->count; i++) {
        failure = &told->failures[i];
        if (strncmp(failure->text, text, sizeof failure->text - 1) != 0)
            continue;
        is_known = true;
        if (phase == STOMP_BEFORE_CONNECTED || is_of(failure, end))
            return false;
    }
    failure = add(told);
    *failure = (struct stomp_failure){.end = end, .phase = phase};
    snprintf(failure->text, sizeof failure->text, "%s", text);
    return !is_known;
}

bool stomp_told_connected(struct stomp_told *told, struct stomp_end end)
{
    bool is_news = true;

    for (size_t i = told->count; i-- > 0;) {
        struct stomp_failure *failure = &told->failures[i];

        if (failure->phase == STOMP_BEFORE_CONNECTED) {
            forget(told, i);
        } else if (is_of(failure, end)) {
            is_news &= failure->phase != STOMP_REFUSED && !failure->is_answered;
            failure->is_answered = true;
        }
    }
    return is_news;
}

void stomp_told_works(struct stomp_told *told, struct stomp_end end)
{
    for (size_t i = told->count; i-- > 0;)
        if (told->failures[i].phase != STOMP_BEFORE_CONNECTED && is_of(&told->failures[i], end))
            forget(told, i);
}
