/* probe_rig.h: a question of `bailey check --connect` for one end, and what the connector answered. One thread. */
#ifndef BAILEY_TEST_PROBE_RIG_H
#define BAILEY_TEST_PROBE_RIG_H

#include <bailey/connector.h>

struct probe_rig {
    struct bailey_probe probe; /* first */

    /* The last row, and how many came. */
    enum bailey_probe_result result;
    char address[64], what[64], detail[400], hint[200];
    int rows;

    char grant[300]; /* the last command */
    bool done;
};

/* Of route r with one lane. Fails the test when done() comes twice. */
void probe_rig_init(struct probe_rig *rig, struct bailey_host *host, enum bailey_role role, int64_t timeout_ms);

#endif
