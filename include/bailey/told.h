/* bailey/told.h: what a connector has logged of a broker's connections, so that attempts that fail alike are logged once.
 *
 * A failure before the log-in was accepted is the broker's, and over with the next log-in, of whichever end. One behind it is an end's
 * (what it may not do, an answer that does not come), and over only when that end's connection works: by a message or a confirm, or
 * because it holds for minutes. The log-in alone says nothing then, and is not logged at each attempt. Pure, one thread.
 * Zeroed = nothing was told.
 */
#ifndef BAILEY_TOLD_H
#define BAILEY_TOLD_H

#include <stdbool.h>
#include <stddef.h>

enum {
    BAILEY_TOLD_MAX = 16, /* failures that are remembered: of more, the oldest may be told again */
    BAILEY_TOLD_TEXT = 240,
    BAILEY_TOLD_HOLDS_MS = 300000, /* open for so long: it works, though nothing was said on it */
};

/* Whose connection it is, by names that outlive this: a route ("" = all of the worker share it), and what it is for. */
struct bailey_told_end {
    const char *route, *purpose;
};

enum bailey_told_phase {
    BAILEY_TOLD_BEFORE,  /* it could not be made */
    BAILEY_TOLD_BEHIND,  /* it was lost */
    BAILEY_TOLD_REFUSED, /* likewise, and the broker said why */
};

struct bailey_told_entry {
    char text[BAILEY_TOLD_TEXT];
    struct bailey_told_end end;
    enum bailey_told_phase phase;
    bool is_answered; /* a log-in was logged since then */
};

struct bailey_told {
    struct bailey_told_entry entries[BAILEY_TOLD_MAX];
    size_t count, next;
};

/* It failed: true if that is to be logged. */
bool bailey_told_failure(struct bailey_told *told, struct bailey_told_end end, enum bailey_told_phase phase,
                         const char *text);

/* It is logged in: true if that is to be logged. */
bool bailey_told_connected(struct bailey_told *told, struct bailey_told_end end);

/* The end's connection works: forget what it has met. */
void bailey_told_works(struct bailey_told *told, struct bailey_told_end end);

#endif
