/* Crash points: see crash.h. Nothing without BAILEY_CRASH_POINTS. */
#include "base/crash.h"

#ifdef BAILEY_CRASH_POINTS

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[CRASH_POINTS] = {
#define POINT(name, with_dedup, what) [CRASH_##name] = #name,
#include "base/crash.def"
#undef POINT
};

/* Set before there is a second thread, and only read afterwards. */
static enum crash_point armed = CRASH_POINTS;
static const char *armed_route; /* NULL: any */
static atomic_long passages_left;

static enum crash_point point_named(const char *name, size_t len)
{
    enum crash_point point = 0;

    while (point < CRASH_POINTS && (strlen(names[point]) != len || memcmp(names[point], name, len) != 0))
        point++;
    return point;
}

/* POINT:N[@ROUTE] */
static bool arm(const char *text)
{
    const char *colon = strchr(text, ':');
    char *end;

    if (colon == NULL || colon[1] < '1' || colon[1] > '9')
        return false;
    errno = 0;
    long passages = strtol(colon + 1, &end, 10);
    if (errno != 0 || (*end != '\0' && (*end != '@' || end[1] == '\0')))
        return false;
    armed = point_named(text, (size_t)(colon - text));
    armed_route = *end == '@' ? end + 1 : NULL;
    atomic_store(&passages_left, passages);
    return armed < CRASH_POINTS;
}

void crash_arm(void)
{
    const char *text = getenv("BAILEY_CRASH");

    if (text == NULL || arm(text))
        return;
    fprintf(stderr, "BAILEY_CRASH=%s: not POINT:N[@ROUTE]; points:", text);
    for (int point = 0; point < CRASH_POINTS; point++)
        fprintf(stderr, " %s", names[point]);
    fputc('\n', stderr);
    exit(2);
}

void crash_pass(enum crash_point point, const char *route)
{
    if (point != armed || (armed_route != NULL && (route == NULL || strcmp(route, armed_route) != 0)))
        return;
    if (atomic_fetch_sub_explicit(&passages_left, 1, memory_order_relaxed) != 1)
        return;
    dprintf(STDERR_FILENO, "crash point=%s route=%s\n", names[point], route != NULL ? route : "-");
    kill(getpid(), SIGKILL);
    for (;;) /* it comes at once, and nothing of the work behind this point may be done until then */
        pause();
}

#endif
