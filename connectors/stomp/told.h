/* told.h: what was logged of a broker's connections, so that attempts that fail alike are logged once.
 *
 * A failure before CONNECTED is the broker's, and over with the next CONNECTED, of whichever end. One behind it is an end's (what
 * it may not do, a RECEIPT that does not come), and over only when that end's connection works: by a RECEIPT or a MESSAGE,
 * or because it holds for minutes.
 * CONNECTED alone says nothing then, and is not logged at each attempt. Pure, one thread. Zeroed = nothing was told.
 */
#ifndef STOMP_TOLD_H
#define STOMP_TOLD_H

#include <stdbool.h>
#include <stddef.h>

enum {
    STOMP_TOLD_MAX = 16,
    STOMP_TOLD_TEXT = 240
}; /* failures that are remembered: of more, the oldest may be told again */

/* An end, by the names of its route and purpose, which outlive this. */
struct stomp_end {
    const char *route, *purpose;
};

enum stomp_phase {
    STOMP_BEFORE_CONNECTED,
    STOMP_BEHIND_CONNECTED, /* it was lost */
    STOMP_REFUSED,          /* likewise, by an ERROR */
};

struct stomp_failure {
    char text[STOMP_TOLD_TEXT];
    struct stomp_end end;
    enum stomp_phase phase;
    bool is_answered; /* CONNECTED was logged since then */
};

struct stomp_told {
    struct stomp_failure failures[STOMP_TOLD_MAX];
    size_t count, next;
};

/* It failed: true if that is to be logged. */
bool stomp_told_failure(struct stomp_told *told, struct stomp_end end, enum stomp_phase phase, const char *text);

/* CONNECTED came: true if that is to be logged. */
bool stomp_told_connected(struct stomp_told *told, struct stomp_end end);

/* The end's connection works: forget what it has met. */
void stomp_told_works(struct stomp_told *told, struct stomp_end end);

#endif
