/* conformance.h: what every connector must do, tested through real lanes, loops and include/bailey only.
 *
 * A subject says how its ends are written in a configuration; each case makes a place (queue, topic) of its own and puts
 * the memory connector at the other side:  memory → subject → memory. Main thread only.
 */
#ifndef BAILEY_TEST_CONFORMANCE_H
#define BAILEY_TEST_CONFORMANCE_H

#include <stdbool.h>

#include "proxy.h"

struct subject {
    const char *name;
    const char *broker; /* flow mapping of an entry of `brokers:` */
    const char *source; /* options of an end, each `@` is the name of the place; without `broker:` */
    const char *sink;
    const char *lossy_source; /* the same ends, which lose their connection after 300 messages, three times; or NULL */
    const char *lossy_sink;
    struct proxy *proxy; /* cuts its connections; or NULL */
    int messages;        /* how many a case moves */
    int openings;        /* how often it is opened and closed in a row */
};

/* Run all cases with each of at most 8 subjects, or those whose name matches BAILEY_TEST_FILTER ("amqp: a_source*"). Returns the
 * number of failures. */
int conformance_run(const char *group, const struct subject *subjects, unsigned count);

#endif
